//! What a guest says of its kernel outside checks, and what only its console shows.
//!
//! A guest that lives reads its own kernel log. One that dies, or powers off, leaves its console, which has each report
//! too: the time stamp tells which of them the guest has already sent.

use std::collections::HashSet;

use crate::harness::incident::{Incident, Phase};
use crate::harness::kernel_log::{Said, is_report, stamp};
use crate::harness::wire::Done;

/// Follows a guest from the moment that its init is up. What the kernel reported before is not the driver's doing.
#[derive(Debug)]
pub struct ConsoleWatch {
    /// What the guest is doing.
    pub phase: Phase,
    /// Where its console begins to matter, in bytes.
    pub from: u64,
    /// The reports that the guest has sent itself, by their time stamps.
    sent: HashSet<String>,
    incidents: Vec<Incident>,
}

impl ConsoleWatch {
    /// Begins at this place of the console.
    pub fn new(phase: Phase, from: u64) -> ConsoleWatch {
        ConsoleWatch { phase, from, sent: HashSet::new(), incidents: Vec::new() }
    }

    /// The guest has sent an incident.
    pub fn incident(&mut self, incident: Incident) {
        self.sent(&incident.kernel_log);
        self.incidents.push(incident);
    }

    /// The guest has sent a result, whose findings are the check's.
    pub fn done(&mut self, done: &Done) {
        self.sent(&done.outcome.evidence.kernel_log);
    }

    fn sent(&mut self, lines: &[String]) {
        let reports = lines.iter().filter(|line| is_report(line));
        self.sent.extend(reports.filter_map(|line| stamp(line)).map(str::to_owned));
    }

    /// What only the console has: its lines from the first report on that the guest did not send. Each is found once.
    pub fn unsent(&mut self, console: Vec<String>) -> Said {
        let is_unsent = |line: &String| is_report(line) && !stamp(line).is_some_and(|stamp| self.sent.contains(stamp));
        let Some(first) = console.iter().position(is_unsent) else {
            return Said::default();
        };
        let lines = console[first..].to_vec();
        self.sent(&lines);
        Said { report: lines.first().cloned(), lines, new_taint: 0 }
    }

    /// The incidents so far, each once.
    pub fn take(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.incidents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::outcome::Outcome;
    use crate::harness::verdict::Verdict;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn report_that_the_guest_sent_is_not_found_again() {
        let mut watch = ConsoleWatch::new(Phase::Load, 0);
        let warned = lines(&["[    3.000001] WARNING: CPU: 0 PID: 1 at a.c:1", "[    3.000002] Modules linked in:"]);
        let said = Said { lines: warned.clone(), report: Some(warned[0].clone()), new_taint: 0 };
        Incident::of(Phase::Load, None, said, Vec::new()).into_iter().for_each(|incident| watch.incident(incident));
        assert_eq!(watch.unsent(warned), Said::default());
        assert_eq!(watch.take().len(), 1);
        assert!(watch.take().is_empty());
    }

    #[test]
    fn report_of_a_check_is_not_found_again() {
        let mut watch = ConsoleWatch::new(Phase::BetweenChecks, 0);
        let mut outcome = Outcome::without_judgement(Verdict::Fail, "");
        outcome.evidence.kernel_log = lines(&["[    3.000001] BUG: kernel NULL pointer dereference"]);
        let log = outcome.evidence.kernel_log.clone();
        watch.done(&Done { outcome, lost: None });
        assert_eq!(watch.unsent(log), Said::default());
    }

    #[test]
    fn report_that_only_the_console_has_is_found_once_with_what_follows() {
        let mut watch = ConsoleWatch::new(Phase::PowerOff, 0);
        let console = || lines(&["[    9.1] mtty: bye", "[    9.2] WARNING: CPU: 0 PID: 1 at a.c:1", "[    9.3] RIP"]);
        let said = watch.unsent(console());
        assert_eq!(said.lines, console()[1..]);
        assert_eq!(said.report.as_deref(), Some("[    9.2] WARNING: CPU: 0 PID: 1 at a.c:1"));
        assert_eq!(watch.unsent(console()), Said::default());
    }
}
