//! Watches the kernel log and the taint mask: what the kernel itself says went wrong.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;

/// Beginnings of what the kernel prints when something is wrong with itself. A colon or a word of the same line
/// follows, so that a driver's own chatter about "warnings" is no report.
const REPORTS: [&str; 22] = [
    "BUG: ",
    "WARNING: ",
    "Oops: ",
    "Oops ",
    "general protection fault",
    "Unable to handle kernel",
    "Internal error: ",
    "kernel BUG at ",
    "Kernel panic - not syncing",
    "KASAN: ",
    "UBSAN: ",
    "KCSAN: ",
    "KFENCE: ",
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
    "INFO: task ",
    "INFO: possible ",
    "INFO: rcu",
    "rcu: INFO: ",
    "watchdog: BUG: ",
    "DEBUG_LOCKS_WARN_ON",
];

/// Begins the lines that are put into a copy of the kernel log, so that whoever reads it knows which check was running.
pub const MARK: &str = "vfio-conform: ";

/// Reads what the kernel logs from now on.
#[derive(Debug)]
pub struct KernelLog {
    kmsg: Option<File>,
    taint: u64,
}

/// What the kernel said since the last look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// All lines.
    pub lines: Vec<String>,
    /// The first line that is a report, if there is one.
    pub report: Option<String>,
    /// Taint bits that are new.
    pub new_taint: u64,
}

impl KernelLog {
    /// Begins at the end of the log. Where it may not be read, only the taint is watched.
    pub fn open() -> KernelLog {
        let kmsg = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open("/dev/kmsg")
            .and_then(|mut kmsg| kmsg.seek(SeekFrom::End(0)).map(|_| kmsg))
            .ok();
        KernelLog { kmsg, taint: taint() }
    }

    /// What was said since the last look.
    pub fn look(&mut self) -> Said {
        let lines = self.lines();
        let report = lines.iter().find(|line| is_report(line)).cloned();
        let now = taint();
        let new_taint = now & !self.taint;
        self.taint = now;
        Said { lines, report, new_taint }
    }

    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(kmsg) = &mut self.kmsg else {
            return lines;
        };
        let mut record = [0u8; 8192];
        loop {
            match kmsg.read(&mut record) {
                Ok(bytes @ 1..) => {
                    lines.extend(message(&String::from_utf8_lossy(&record[..bytes])));
                }
                // The log overtook us: what is left of it comes next.
                Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
                Ok(0) | Err(_) => return lines,
            }
        }
    }
}

/// All that the kernel still has in its log; `None` where it may not be read.
pub fn whole() -> Option<String> {
    let mut options = OpenOptions::new();
    let kmsg = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/dev/kmsg").ok()?;
    let lines = KernelLog { kmsg: Some(kmsg), taint: 0 }.lines();
    Some(lines.into_iter().map(|line| line + "\n").collect())
}

/// Whether a line of a copy is no line of the kernel's.
pub fn is_mark(line: &str) -> bool {
    strip_stamp(line).starts_with(MARK)
}

/// Whether a line of the kernel log reports that something is wrong with the kernel.
pub fn is_report(line: &str) -> bool {
    let text = strip_stamp(line);
    REPORTS.iter().any(|report| text.starts_with(report))
}

fn strip_stamp(line: &str) -> &str {
    match line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, text)) => text,
        None => line,
    }
}

/// A record of /dev/kmsg, `6,1234,5678900,-;text`, as the line that dmesg shows.
fn message(record: &str) -> Option<String> {
    let (head, text) = record.split_once(';')?;
    let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
    let text = text.lines().next().unwrap_or_default();
    Some(format!("[{:>5}.{:06}] {text}", micros / 1_000_000, micros % 1_000_000))
}

/// The taint mask as it is now.
pub fn taint() -> u64 {
    fs::read_to_string("/proc/sys/kernel/tainted").ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

/// The letters of a taint mask, as the kernel prints them.
pub fn taint_letters(mask: u64) -> String {
    "PFSRMBUDAWCIOELKXTN"
        .chars()
        .enumerate()
        .filter(|(bit, _)| mask & (1 << bit) != 0)
        .map(|(_, letter)| letter)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_from_chatter() {
        for line in [
            "[   12.345678] WARNING: CPU: 1 PID: 71 at drivers/vfio/vfio_main.c:999",
            "[   12.345678] BUG: kernel NULL pointer dereference, address: 0",
            "[    1.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[   12.3] Kernel panic - not syncing: Attempted to kill init!",
            "UBSAN: shift-out-of-bounds in x.c:1:2",
        ] {
            assert!(is_report(line), "{line}");
        }
        for line in [
            "[    3.0] mtty_reset: called",
            "[    3.0] mtty: loading out-of-tree module taints kernel.",
            "[    3.0] thermal: no warnings",
        ] {
            assert!(!is_report(line), "{line}");
        }
    }

    #[test]
    fn a_record_becomes_the_line_that_dmesg_shows() {
        let record = "6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n";
        assert_eq!(message(record).as_deref(), Some("[    5.140900] NET: Registered"));
    }

    #[test]
    fn taint_bits_have_letters() {
        assert_eq!(taint_letters((1 << 12) | (1 << 9)), "WO");
    }
}
