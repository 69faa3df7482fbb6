//! The processes that a run has started.

use std::fs;

use nix::unistd::Pid;

/// The executors that a supervisor has started, also those that have another parent by now: their command line names the
/// supervisor's record. A zombie has no command line.
pub fn executors_of(supervisor: u32) -> Vec<Pid> {
    let record = format!("/proc/{supervisor}/fd/");
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| {
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word.starts_with(record.as_bytes()))
    })
    .map(Pid::from_raw)
    .collect()
}
