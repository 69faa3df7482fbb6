//! Who died first: QEMU, an emulated device, or the guest's kernel. Each takes the others with it, so that it is found out
//! from how each of them ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::libc;

/// What QEMU says when a signal asked it to end, after which it ends as if all was well.
const ASKED_TO_END: &str = "terminating on signal";

/// Who died first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The guest went down, by a panic or by itself.
    Guest,
    /// QEMU.
    Qemu,
    /// The emulated device of this number.
    Device(usize),
    /// QEMU and the device of this number, killed one as the other.
    Both(usize),
}

/// Finds out who died first, from how QEMU and the devices have ended, if they have; `said` is what QEMU said last.
pub fn first(qemu: Option<ExitStatus>, said: &str, devices: &[Option<ExitStatus>]) -> Option<First> {
    let device = |is: fn(ExitStatus) -> bool| devices.iter().position(|status| status.is_some_and(is));
    let killed = device(|status| status.signal().is_some());
    let Some(qemu) = qemu else {
        // QEMU goes on without a device.
        return device(|_| true).map(First::Device);
    };
    // A device whose QEMU is gone ends by itself, and may complain; no signal reaches it.
    match (qemu.signal(), killed) {
        (Some(libc::SIGABRT), Some(device)) => Some(First::Device(device)),
        (Some(_), Some(device)) => Some(First::Both(device)),
        (Some(libc::SIGABRT), None) => Some(device(|status| !status.success()).map_or(First::Qemu, First::Device)),
        (Some(_), None) => Some(First::Qemu),
        (None, Some(device)) => Some(First::Device(device)),
        (None, None) if qemu.success() && said.contains(ASKED_TO_END) => Some(First::Qemu),
        (None, None) if qemu.success() => Some(First::Guest),
        (None, None) => Some(device(|status| !status.success()).map_or(First::Qemu, First::Device)),
    }
}

/// Whether a signal from outside ended it, and not what it did itself.
pub fn is_killed(status: ExitStatus, said: &str) -> bool {
    status.signal().is_some() || (status.success() && said.contains(ASKED_TO_END))
}

/// How a process ended, with the signal's name.
pub fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = nix::sys::signal::Signal::try_from(signal).map_or("unknown", |signal| signal.as_str());
            format!("was killed by signal {signal} ({name})")
        }
        (None, code) => format!("ended with code {}", code.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(signal: i32) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(signal))
    }

    fn code(code: i32) -> Option<ExitStatus> {
        Some(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn a_killed_qemu_is_not_laid_to_the_device_that_ends_after_it() {
        for device in [None, code(0), code(2)] {
            assert_eq!(first(signal(libc::SIGKILL), "", &[None, device]), Some(First::Qemu));
            assert_eq!(first(signal(libc::SIGBUS), "", &[device, None]), Some(First::Qemu));
        }
    }

    #[test]
    fn a_killed_device_is_not_laid_to_the_qemu_that_ends_after_it() {
        for qemu in [None, signal(libc::SIGABRT), code(1), code(0)] {
            assert_eq!(first(qemu, "", &[None, signal(libc::SIGKILL)]), Some(First::Device(1)), "{qemu:?}");
        }
        for device in [code(2), code(101)] {
            assert_eq!(first(code(1), "connection reset", &[device]), Some(First::Device(0)));
            assert_eq!(first(signal(libc::SIGABRT), "", &[device]), Some(First::Device(0)));
        }
        assert_eq!(first(None, "", &[code(0)]), Some(First::Device(0)), "QEMU runs on without it");
    }

    #[test]
    fn whoever_kills_both_is_said_to_have() {
        assert_eq!(first(signal(libc::SIGKILL), "", &[None, signal(libc::SIGKILL)]), Some(First::Both(1)));
    }

    #[test]
    fn a_guest_that_goes_down_takes_qemu_and_devices_with_it() {
        assert_eq!(first(code(0), "", &[code(0), None]), Some(First::Guest));
        let said = "qemu-system-x86_64: terminating on signal 15 from pid 7 (kill)";
        assert_eq!(first(code(0), said, &[code(0)]), Some(First::Qemu), "it was asked to");
        assert_eq!(first(None, "", &[None]), None);
    }

    #[test]
    fn an_end_says_its_signal() {
        assert_eq!(describe(ExitStatus::from_raw(libc::SIGBUS)), "was killed by signal 7 (SIGBUS)");
        assert_eq!(describe(ExitStatus::from_raw(2 << 8)), "ended with code 2");
        assert!(is_killed(ExitStatus::from_raw(libc::SIGKILL), ""));
        assert!(!is_killed(ExitStatus::from_raw(0), "") && !is_killed(ExitStatus::from_raw(1 << 8), ""));
    }
}
