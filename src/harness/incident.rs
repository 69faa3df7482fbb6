//! Incidents: what goes wrong in the kernel, or with the executor, while no check runs.
//!
//! Loading and binding the driver, opening and closing the device, unbinding and powering off belong to no check. What the
//! kernel reports there is a finding of the run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kernel_log::{OOPS, Said, TROUBLE};
use super::outcome::Operation;
use super::verdict::Verdict;

/// The part of a run that belongs to no check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The kernel modules are loaded. Whatever the kernel reported before is not the driver's doing.
    Load,
    /// The device is bound to its driver.
    Bind,
    /// The executor opens the device.
    Open,
    /// The device is open, and no check runs.
    BetweenChecks,
    /// The executor closes the device.
    Close,
    /// The device is unbound and its modules are unloaded.
    Unbind,
    /// The guest powers off.
    PowerOff,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Phase; 7] =
        [Phase::Load, Phase::Bind, Phase::Open, Phase::BetweenChecks, Phase::Close, Phase::Unbind, Phase::PowerOff];

    /// The name under which reports and baselines have the findings of this phase, as if it were a check.
    pub const fn test_name(self) -> &'static str {
        match self {
            Phase::Load => "run::load",
            Phase::Bind => "run::bind",
            Phase::Open => "run::open",
            Phase::BetweenChecks => "run::between_checks",
            Phase::Close => "run::close",
            Phase::Unbind => "run::unbind",
            Phase::PowerOff => "run::power_off",
        }
    }

    /// Whether the device is not open yet.
    pub fn is_before_checks(self) -> bool {
        self <= Phase::Open
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Load => "while the modules were loaded",
            Phase::Bind => "while the driver was bound",
            Phase::Open => "while the device was opened",
            Phase::BetweenChecks => "while no check ran",
            Phase::Close => "while the device was closed",
            Phase::Unbind => "while the driver was unbound and unloaded",
            Phase::PowerOff => "while the guest powered off",
        })
    }
}

/// Something that stopped while no check ran.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Stop {
    /// A signal killed the executor.
    Killed {
        /// Its number.
        signal: i32,
    },
    /// The executor ended by itself after a report of the kernel.
    Ended {
        /// Its exit code.
        code: i32,
    },
    /// The executor did not finish in time.
    Late {
        /// The bound, in seconds.
        seconds: f64,
        /// Whether it survived SIGKILL, so that a call is stuck in the kernel.
        stuck: bool,
    },
    /// The guest's kernel panicked.
    Panic,
    /// The guest powered off without being asked to.
    GuestDown,
    /// The guest did not answer in time.
    GuestSilent {
        /// The bound, in seconds.
        seconds: f64,
    },
}

impl Stop {
    /// What it counts as.
    pub fn verdict(self) -> Verdict {
        match self {
            Stop::Killed { .. } | Stop::Ended { .. } | Stop::Panic | Stop::GuestDown => Verdict::Crash,
            Stop::Late { .. } | Stop::GuestSilent { .. } => Verdict::Hang,
        }
    }
}

/// Something that went wrong while no check ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// When.
    pub phase: Phase,
    /// On which device, where there are several.
    pub device: Option<String>,
    /// What stopped; `None` if everything continued.
    pub stop: Option<Stop>,
    /// The first line of the kernel log that is a report.
    pub report: Option<String>,
    /// Taint bits that are new and that the kernel sets for what goes wrong.
    pub new_taint: u64,
    /// The kernel log of the phase.
    pub kernel_log: Vec<String>,
    /// What the executor did last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
}

impl Incident {
    /// An incident of this phase, if something stopped or the kernel reports something.
    pub fn of(phase: Phase, stop: Option<Stop>, said: Said, operations: Vec<Operation>) -> Option<Incident> {
        let Said { lines, report, new_taint } = said;
        let new_taint = new_taint & TROUBLE;
        let incident = Incident { phase, device: None, stop, report, new_taint, kernel_log: lines, operations };
        incident.says_something().then_some(incident)
    }

    /// Whether there is anything to report.
    pub fn says_something(&self) -> bool {
        self.stop.is_some() || self.report.is_some() || self.new_taint != 0
    }

    /// Whether the device is not open because of it, until it is known to be. Where the device was open before, a report
    /// alone does not say so: it may follow from what a check did.
    pub fn keeps_shut(&self, was_open: bool) -> bool {
        self.phase.is_before_checks() && (self.stop.is_some() || !was_open)
    }

    /// What it counts as.
    pub fn verdict(&self) -> Verdict {
        match self.stop {
            None => Verdict::Fail,
            // A process that an oops kills may be stuck in its own end, on a lock that it held.
            Some(Stop::Late { .. }) if self.new_taint & OOPS != 0 => Verdict::Crash,
            Some(stop) => stop.verdict(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_ordered_and_named_apart() {
        assert!(Phase::ALL.is_sorted());
        let mut names = Phase::ALL.map(Phase::test_name).to_vec();
        names.dedup();
        assert_eq!(names.len(), Phase::ALL.len());
        assert!(names.iter().all(|name| name.starts_with("run::")));
    }

    #[test]
    fn stop_decides_between_crash_and_hang() {
        let verdict = |stop| Incident::of(Phase::Open, Some(stop), Said::default(), Vec::new()).map(|i| i.verdict());
        assert_eq!(verdict(Stop::Panic), Some(Verdict::Crash));
        let late = Stop::Late { seconds: 60.0, stuck: true };
        assert_eq!(verdict(late), Some(Verdict::Hang));
        let oopsed = Said { new_taint: OOPS, ..Said::default() };
        let after_oops = Incident::of(Phase::Open, Some(late), oopsed, Vec::new());
        assert_eq!(after_oops.map(|incident| incident.verdict()), Some(Verdict::Crash));
    }

    #[test]
    fn report_after_an_oops_keeps_no_device_shut() {
        let of = |phase, stop| {
            let said = Said { report: Some("BUG: x".to_owned()), ..Said::default() };
            let incident = Incident::of(phase, stop, said, Vec::new()).unwrap();
            [false, true].map(|was_open| incident.keeps_shut(was_open))
        };
        assert_eq!(of(Phase::Open, Some(Stop::Panic)), [true, true]);
        assert_eq!(of(Phase::Bind, None), [true, false]);
        assert_eq!(of(Phase::Close, Some(Stop::Panic)), [false, false]);
    }

    #[test]
    fn only_reports_and_taint_of_trouble_are_incidents() {
        let of = |said| Incident::of(Phase::Load, None, said, Vec::new());
        let chatter = || vec!["[    3.0] mtty: loading out-of-tree module taints kernel.".to_owned()];
        // Loading a module that is out of tree and not signed.
        assert_eq!(of(Said { lines: chatter(), report: None, new_taint: (1 << 12) | (1 << 13) }), None);
        let warned = of(Said { lines: chatter(), report: None, new_taint: (1 << 12) | (1 << 9) });
        assert_eq!(warned.map(|incident| (incident.verdict(), incident.new_taint)), Some((Verdict::Fail, 1 << 9)));
        let report = "WARNING: CPU: 0 PID: 1 at x.c:1".to_owned();
        assert!(of(Said { lines: vec![report.clone()], report: Some(report), new_taint: 0 }).is_some());
    }
}
