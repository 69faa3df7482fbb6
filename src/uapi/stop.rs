//! Requests to stop: SIGINT, SIGTERM and SIGHUP. The first one is remembered, so that whoever works can end in order; a
//! second one ends the process at once.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use serde::{Deserialize, Serialize};

/// How long a check may go on once the run was asked to stop. Most checks end by themselves within it.
pub const GRACE: Duration = Duration::from_secs(2);
/// A request that is repeated within this is the same one: `timeout` signals its child and then the child's group.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// The first request: milliseconds of the monotonic clock, and the number of the signal in the lowest byte; 0 if there was
/// none. One value, so that a handler never sees half of it.
static REQUEST: AtomicU64 = AtomicU64::new(0);
/// The process group that a request is passed on to; 0 for none.
static PASS_ON_TO: AtomicI32 = AtomicI32::new(0);

/// A signal that asks a process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    /// The terminal is gone.
    #[serde(rename = "SIGHUP")]
    Hangup,
    /// Ctrl-C.
    #[serde(rename = "SIGINT")]
    Interrupt,
    /// What `kill` and `timeout` send.
    #[serde(rename = "SIGTERM")]
    Terminate,
}

impl StopSignal {
    const ALL: [StopSignal; 3] = [StopSignal::Hangup, StopSignal::Interrupt, StopSignal::Terminate];

    fn signal(self) -> Signal {
        match self {
            StopSignal::Hangup => Signal::SIGHUP,
            StopSignal::Interrupt => Signal::SIGINT,
            StopSignal::Terminate => Signal::SIGTERM,
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.signal().as_str())
    }
}

/// From here on requests to stop are remembered. A signal that whoever started us ignores, as `nohup` does, stays ignored.
pub fn watch() {
    let action = SigAction::new(SigHandler::Handler(on_signal), SaFlags::empty(), SigSet::empty());
    for signal in StopSignal::ALL.map(StopSignal::signal) {
        // SAFETY: the handler makes async-signal-safe system calls only, and touches nothing but atomics and errno.
        let before = unsafe { sigaction(signal, &action) };
        if let Ok(before) = before
            && matches!(before.handler(), SigHandler::SigIgn)
        {
            // SAFETY: ignoring a signal runs no code.
            let _ = unsafe { sigaction(signal, &before) };
        }
    }
}

/// The signal that asked this process to stop, if one did.
pub fn requested() -> Option<StopSignal> {
    let number = (REQUEST.load(Ordering::SeqCst) & 0xff) as i32;
    StopSignal::ALL.into_iter().find(|stop| stop.signal() as i32 == number)
}

/// How much is left of [`GRACE`]; `None` if nothing asked this process to stop.
pub fn grace_left() -> Option<Duration> {
    let request = REQUEST.load(Ordering::SeqCst);
    (request != 0).then(|| GRACE.saturating_sub(now().saturating_sub(Duration::from_millis(request >> 8))))
}

/// A process group that is asked to stop when this process is, until the value is dropped. There is one at a time.
#[derive(Debug)]
pub struct PassOn(());

/// Passes requests on to the group of a child that was started as the leader of its own.
pub fn pass_on_to(child: &std::process::Child) -> PassOn {
    PASS_ON_TO.store(i32::try_from(child.id()).unwrap_or_default(), Ordering::SeqCst);
    if requested().is_some() {
        pass_on();
    }
    PassOn(())
}

impl Drop for PassOn {
    fn drop(&mut self) {
        PASS_ON_TO.store(0, Ordering::SeqCst);
    }
}

fn pass_on() {
    let group = PASS_ON_TO.load(Ordering::SeqCst);
    if group > 1 {
        // SAFETY: kill is async-signal-safe and involves no memory; the group is one that we have started.
        let _ = unsafe { libc::kill(-group, libc::SIGTERM) };
    }
}

fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime is async-signal-safe and writes the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A request for now. It is never 0, since no signal has that number.
fn request(now: Duration, number: libc::c_int) -> u64 {
    (u64::try_from(now.as_millis()).unwrap_or_default() << 8) | u64::from(number.unsigned_abs() & 0xff)
}

/// Whether a signal at this moment is a second request.
fn is_second(first: u64, now: Duration) -> bool {
    now.saturating_sub(Duration::from_millis(first >> 8)) >= SAME_REQUEST
}

extern "C" fn on_signal(number: libc::c_int) {
    let now = now();
    // SAFETY: errno is this thread's own; whatever was interrupted finds it as it was.
    let errno = unsafe { *libc::__errno_location() };
    match REQUEST.compare_exchange(0, request(now, number), Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => pass_on(),
        Err(first) if is_second(first, now) => {
            // SAFETY: both are async-signal-safe, and the default action runs no code of ours.
            unsafe {
                libc::signal(number, libc::SIG_DFL);
                libc::raise(number);
            }
        }
        Err(_) => {}
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_signal_is_the_same_request_for_a_moment_only() {
        let at = Duration::from_millis;
        let first = request(at(10_000), libc::SIGTERM);
        assert_eq!(first & 0xff, libc::SIGTERM as u64);
        assert!(!is_second(first, at(10_000)) && !is_second(first, at(10_400)));
        assert!(is_second(first, at(10_500)) && is_second(first, at(60_000)));
    }

    #[test]
    fn stop_signals_have_the_names_of_the_shell() -> serde_json::Result<()> {
        for stop in StopSignal::ALL {
            assert_eq!(serde_json::to_string(&stop)?, format!("\"{stop}\""));
        }
        Ok(())
    }
}
