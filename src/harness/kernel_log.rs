//! Watches the kernel log and the taint mask: what the kernel itself says went wrong.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    // What was read and is not told yet.
    kept: Vec<Record>,
    told: Arc<Told>,
}

/// What those who watch one kernel side by side have told of it so far.
#[derive(Debug, Default)]
pub struct Told {
    // All records below this number.
    below: AtomicU64,
    taint: AtomicU64,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    sequence: u64,
    line: String,
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
        KernelLog { kmsg, taint: taint(), kept: Vec::new(), told: Arc::default() }
    }

    /// From here on there are others who watch it too.
    pub fn share(&mut self, told: &Arc<Told>) {
        self.told = Arc::clone(told);
    }

    /// Forgets what somebody else has told since the last look. Whatever nobody has told stays.
    pub fn forget_what_was_told(&mut self) {
        let news = self.records();
        self.kept.extend(news);
        let below = self.told.below.load(Ordering::Relaxed);
        self.kept.retain(|record| record.sequence >= below);
        self.taint |= self.told.taint.load(Ordering::Relaxed);
    }

    /// What was said since the last look.
    pub fn look(&mut self) -> Said {
        let news = self.records();
        self.kept.extend(news);
        self.tell(taint())
    }

    fn tell(&mut self, now: u64) -> Said {
        let records = std::mem::take(&mut self.kept);
        if let Some(last) = records.last() {
            self.told.below.fetch_max(last.sequence + 1, Ordering::Relaxed);
        }
        let new_taint = now & !self.taint;
        self.told.taint.fetch_or(now, Ordering::Relaxed);
        self.taint = now;
        let lines: Vec<String> = records.into_iter().map(|record| record.line).collect();
        let report = lines.iter().find(|line| is_report(line)).cloned();
        Said { lines, report, new_taint }
    }

    fn records(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let Some(kmsg) = &mut self.kmsg else {
            return records;
        };
        let mut text = [0u8; 8192];
        loop {
            match kmsg.read(&mut text) {
                Ok(bytes @ 1..) => records.extend(record(&String::from_utf8_lossy(&text[..bytes]))),
                // The log overtook us: what is left of it comes next.
                Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
                Ok(0) | Err(_) => return records,
            }
        }
    }
}

/// All that the kernel still has in its log; `None` where it may not be read.
pub fn whole() -> Option<String> {
    let mut options = OpenOptions::new();
    let kmsg = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/dev/kmsg").ok()?;
    let mut log = KernelLog { kmsg: Some(kmsg), taint: 0, kept: Vec::new(), told: Arc::default() };
    Some(log.records().into_iter().map(|record| record.line + "\n").collect())
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

/// A record of /dev/kmsg, `6,1234,5678900,-;text`, with the line that dmesg shows.
fn record(text: &str) -> Option<Record> {
    let (head, text) = text.split_once(';')?;
    let mut numbers = head.split(',').skip(1).map(str::parse::<u64>);
    let (Ok(sequence), Ok(micros)) = (numbers.next()?, numbers.next()?) else {
        return None;
    };
    let text = text.lines().next().unwrap_or_default();
    let line = format!("[{:>5}.{:06}] {text}", micros / 1_000_000, micros % 1_000_000);
    Some(Record { sequence, line })
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
        let text = "6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n";
        let line = "[    5.140900] NET: Registered".to_owned();
        assert_eq!(record(text), Some(Record { sequence: 339, line }));
        assert_eq!(record("nonsense;"), None);
    }

    /// A log of nothing but what a test puts into it.
    fn log(told: &Arc<Told>) -> KernelLog {
        KernelLog { kmsg: None, taint: 0, kept: Vec::new(), told: Arc::clone(told) }
    }

    fn warning(sequence: u64) -> Record {
        Record { sequence, line: format!("WARNING: {sequence}") }
    }

    #[test]
    fn what_another_has_told_is_not_told_again_and_nothing_else_is_lost() {
        let told = Arc::default();
        let (mut one, mut other) = (log(&told), log(&told));
        one.kept = vec![warning(7), warning(8)];
        assert_eq!(one.tell(0x200).lines, ["WARNING: 7", "WARNING: 8"]);
        other.kept = vec![warning(7), warning(8), warning(9)];
        other.forget_what_was_told();
        let said = other.tell(0x280);
        assert_eq!(said.lines, ["WARNING: 9"]);
        assert_eq!(said.report.as_deref(), Some("WARNING: 9"));
        assert_eq!(said.new_taint, 0x80);
    }

    #[test]
    fn what_was_said_while_both_ran_is_told_by_both() {
        let told = Arc::default();
        let (mut one, mut other) = (log(&told), log(&told));
        one.forget_what_was_told();
        other.forget_what_was_told();
        for log in [&mut one, &mut other] {
            log.kept = vec![warning(7)];
            let said = log.tell(0x200);
            assert_eq!((said.lines.len(), said.new_taint), (1, 0x200));
        }
    }

    #[test]
    fn taint_bits_have_letters() {
        assert_eq!(taint_letters((1 << 12) | (1 << 9)), "WO");
    }
}
