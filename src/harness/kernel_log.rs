//! Watches the kernel log and the taint mask: what the kernel itself says went wrong.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Taint bits that the kernel sets for what goes wrong: bad page (B), oops (D), WARN (W), soft lockup (L). The others
/// say what is loaded.
pub const TROUBLE: u64 = (1 << 5) | OOPS | (1 << 9) | (1 << 14);
/// The taint bit of an oops.
pub const OOPS: u64 = 1 << 7;

/// What the kernel prints when it kills a process for its memory; the process's number follows.
const OUT_OF_MEMORY: [&str; 2] = ["Out of memory: Killed process ", "Memory cgroup out of memory: Killed process "];

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
    in_check: bool,
}

/// What those who watch one kernel side by side have told of it so far.
#[derive(Debug, Default)]
pub struct Told(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    // All records below this number.
    below: u64,
    taint: u64,
    // How many of them run a check.
    checks: usize,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        KernelLog { kmsg, taint: taint(), kept: Vec::new(), told: Arc::default(), in_check: false }
    }

    /// From here on there are others who watch it too.
    pub fn share(&mut self, told: &Arc<Told>) {
        self.told = Arc::clone(told);
    }

    /// Whether the log can be read, and not only the taint.
    pub fn is_readable(&self) -> bool {
        self.kmsg.is_some()
    }

    /// The taint mask at the last look.
    pub fn taint_before(&self) -> u64 {
        self.taint
    }

    /// A check begins. Returns what was logged while no check ran; while another one runs, that is left to the checks.
    pub fn begin_check(&mut self) -> Said {
        let news = self.records();
        self.begin_with(news, taint())
    }

    /// The check is over. Returns what was logged meanwhile.
    pub fn end_check(&mut self) -> Said {
        let news = self.records();
        self.kept.extend(news);
        self.end_with(taint())
    }

    /// What was logged while no check ran, if none runs now.
    pub fn outside_checks(&mut self) -> Said {
        let news = self.records();
        self.outside_with(news, taint())
    }

    fn begin_with(&mut self, news: Vec<Record>, now: u64) -> Said {
        let said = self.outside_with(news, now);
        if !std::mem::replace(&mut self.in_check, true) {
            self.told.lock().checks += 1;
        }
        said
    }

    fn end_with(&mut self, now: u64) -> Said {
        let told = Arc::clone(&self.told);
        let mut shared = told.lock();
        if std::mem::take(&mut self.in_check) {
            shared.checks = shared.checks.saturating_sub(1);
        }
        self.tell(&mut shared, now)
    }

    /// Forgets what somebody else has told, and tells what is left, unless another check runs: its doing it may be.
    fn outside_with(&mut self, news: Vec<Record>, now: u64) -> Said {
        self.kept.extend(news);
        let told = Arc::clone(&self.told);
        let mut shared = told.lock();
        self.kept.retain(|record| record.sequence >= shared.below);
        self.taint |= shared.taint;
        let runs_beside = shared.checks > usize::from(self.in_check);
        match runs_beside {
            true => Said::default(),
            false => self.tell(&mut shared, now),
        }
    }

    fn tell(&mut self, shared: &mut Shared, now: u64) -> Said {
        let records = std::mem::take(&mut self.kept);
        if let Some(last) = records.last() {
            shared.below = shared.below.max(last.sequence + 1);
        }
        let new_taint = now & !self.taint;
        shared.taint |= now;
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
    let mut log = KernelLog { kmsg: Some(kmsg), taint: 0, kept: Vec::new(), told: Arc::default(), in_check: false };
    Some(log.records().into_iter().map(|record| record.line + "\n").collect())
}

/// The line that says that the kernel killed this process for its memory.
pub fn killed_for_memory(lines: &[String], process: u32) -> Option<&String> {
    let is_of = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next() == Some(process.to_string().as_str());
    lines.iter().find(|line| {
        let text = strip_stamp(line);
        OUT_OF_MEMORY.iter().any(|begin| text.strip_prefix(begin).is_some_and(is_of))
    })
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

/// The time stamp of a line, which no two reports of a kernel share.
pub fn stamp(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(stamp, _)| stamp.trim())
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
        KernelLog { kmsg: None, taint: 0, kept: Vec::new(), told: Arc::clone(told), in_check: false }
    }

    fn warning(sequence: u64) -> Record {
        Record { sequence, line: format!("WARNING: {sequence}") }
    }

    #[test]
    fn record_of_another_check_is_not_reported_again() {
        let told = Arc::default();
        let (mut one, mut other) = (log(&told), log(&told));
        one.begin_with(Vec::new(), 0);
        one.kept = vec![warning(7), warning(8)];
        assert_eq!(one.end_with(0x200).lines, ["WARNING: 7", "WARNING: 8"]);
        let said = other.begin_with(vec![warning(7), warning(8), warning(9)], 0x280);
        assert_eq!(said.lines, ["WARNING: 9"]);
        assert_eq!(said.report.as_deref(), Some("WARNING: 9"));
        assert_eq!(said.new_taint, 0x80);
        assert_eq!(other.end_with(0x280), Said::default());
    }

    #[test]
    fn record_between_checks_belongs_to_neither() {
        let mut log = log(&Arc::default());
        log.begin_with(Vec::new(), 0);
        assert_eq!(log.end_with(0), Said::default());
        assert_eq!(log.begin_with(vec![warning(3)], 0x200).lines, ["WARNING: 3"]);
        log.kept = vec![warning(4)];
        let said = log.end_with(0x200);
        assert_eq!((said.lines, said.new_taint), (vec!["WARNING: 4".to_owned()], 0));
        assert_eq!(log.outside_with(vec![warning(5)], 0x200).lines, ["WARNING: 5"]);
    }

    #[test]
    fn record_while_another_check_runs_belongs_to_the_checks() {
        let told = Arc::default();
        let (mut one, mut other) = (log(&told), log(&told));
        one.begin_with(Vec::new(), 0);
        assert_eq!(other.outside_with(vec![warning(7)], 0x200), Said::default());
        assert_eq!(other.begin_with(Vec::new(), 0x200), Said::default());
        one.kept = vec![warning(7)];
        for log in [&mut one, &mut other] {
            let said = log.end_with(0x200);
            assert_eq!((said.lines.len(), said.new_taint), (1, 0x200));
        }
    }

    #[test]
    fn record_at_the_opening_of_two_devices_is_reported_once() {
        let told = Arc::default();
        let (mut one, mut other) = (log(&told), log(&told));
        assert_eq!(one.outside_with(vec![warning(7)], 0x200).lines.len(), 1);
        assert_eq!(other.outside_with(vec![warning(7)], 0x200), Said::default());
    }

    #[test]
    fn memory_killer_is_known_by_its_victim() {
        let line = "[   12.3] Out of memory: Killed process 412 (init) total-vm:12kB".to_owned();
        let group = "[   12.3] Memory cgroup out of memory: Killed process 41 (vfio-conform)".to_owned();
        let lines = [line.clone(), group.clone()];
        assert_eq!(killed_for_memory(&lines, 412), Some(&line));
        assert_eq!(killed_for_memory(&lines, 41), Some(&group));
        assert_eq!(killed_for_memory(&lines, 4), None);
    }

    #[test]
    fn taint_bits_have_letters() {
        assert_eq!(taint_letters((1 << 12) | (1 << 9)), "WO");
    }
}
