//! A run as reports see it.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::fold;
use super::journal_error::{JournalError, JournalFault};
use super::text::plural;
use crate::baseline::Applied;
use crate::harness::coverage::Coverage;
use crate::harness::incident::Phase;
use crate::harness::journal::{LabReady, RunStarted};
use crate::harness::outcome::Outcome;
use crate::harness::verdict::{Exit, Extent, RunVerdict, Verdict};
use crate::uapi::stop::StopSignal;

/// Everything that a report says about a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What the run set out to do.
    pub began: RunStarted,
    /// What the lab found out when it was ready for the first time; `None` if it never was.
    pub ready: Option<LabReady>,
    /// Why the lab could not be started; `None` if it was, or if the run was cut off before that was known.
    pub lab_failure: Option<LabFailure>,
    /// When what was reached.
    pub timeline: Timeline,
    /// Each time that the lab was lost and started again.
    pub restarts: Vec<Restart>,
    /// Every planned check, in the planned order, then what went wrong while no check ran, as a check for each phase.
    pub checks: Vec<CheckRun>,
    /// Whether the journal ends before the run did.
    pub cut_off: bool,
    /// The signal that asked the run to stop before it was done, if one did.
    pub stopped_by: Option<StopSignal>,
    /// What `run --resume` would run.
    pub left: Remaining,
    /// Remarks about the journal itself.
    pub notes: Vec<String>,
    /// Whether it came to all of its checks.
    pub extent: Extent,
    /// What of it was expected, if a baseline says so.
    pub baseline: Option<Applied>,
    /// How much of the protocol was judged.
    pub coverage: Coverage,
    /// What the run came to, judged anew from its checks.
    pub verdict: RunVerdict,
    /// The exit code that goes with it.
    pub exit: Exit,
}

/// How many checks have no verdict yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Remaining {
    /// `run --resume` runs them.
    pub waiting: usize,
    /// They were running when the run or its lab was lost; `run --resume --retry` runs them too.
    pub interrupted: usize,
}

/// A planned check and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRun {
    /// `chapter::check_name`.
    pub name: String,
    /// The ids of the requirements that it can prove.
    pub requirements: Vec<String>,
    /// What it came to. A check that did not finish is `blocked`.
    pub outcome: Outcome,
}

/// When what was reached, in seconds since the run began; `None` if it never was.
///
/// After a restart some stages come again. The stages up to `device_ready` are given as they were reached first, the
/// ones after it as they were reached last, so that nothing is left out between `power_on` and `verdict`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Environment, kernel and modules were there.
    pub environment_ready: Option<f64>,
    /// The guest was switched on.
    pub power_on: Option<f64>,
    /// The guest's kernel had started its init.
    pub guest_up: Option<f64>,
    /// The device was open.
    pub device_ready: Option<f64>,
    /// The last check was over.
    pub checks_done: Option<f64>,
    /// The guest was off.
    pub power_off: Option<f64>,
    /// The run was judged.
    pub verdict: Option<f64>,
    /// From `power_on` to `verdict`, restarts included.
    pub power_on_to_verdict: Option<f64>,
    /// The last event that the journal holds.
    pub last_event: f64,
}

/// Why a lab could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabFailure {
    /// In words.
    pub reason: String,
    /// Whether a signal from outside ended its guest.
    pub killed: bool,
}

/// The lab was lost and started again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Restart {
    /// When it was lost, in seconds since the run began.
    pub at: f64,
    /// When it could run checks again, in seconds since the run began; `None` if it never could.
    pub ready: Option<f64>,
    /// Why, in one sentence.
    pub reason: String,
}

/// How many checks came to which verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// The kernel or the executor died under them.
    pub crash: usize,
    /// A call did not come back.
    pub hang: usize,
    /// A must is broken.
    pub fail: usize,
    /// A should is broken.
    pub warn: usize,
    /// They could not run, or not to their end.
    pub blocked: usize,
    /// They do not apply, or need what is not there.
    pub skip: usize,
    /// The device keeps what they prove.
    pub pass: usize,
}

impl Run {
    /// Reads the journal of a run, which may have been cut off at any point.
    ///
    /// # Errors
    /// Why no truthful report can be made from it.
    pub fn read(path: &Path) -> Result<Run, JournalError> {
        std::fs::read(path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => JournalFault::Missing,
                _ => JournalFault::Unreadable(error),
            })
            .and_then(|bytes| fold::fold(&bytes))
            .map_err(|fault| JournalError { path: path.to_owned(), fault })
    }

    /// Makes a run of the bytes of its journal.
    ///
    /// # Errors
    /// Why no truthful report can be made from it.
    pub fn of(journal: &[u8]) -> Result<Run, JournalFault> {
        fold::fold(journal)
    }

    /// Whether a baseline expects what this check came to.
    pub fn is_expected(&self, check: &CheckRun) -> bool {
        self.baseline.as_ref().is_some_and(|baseline| baseline.has(&check.name))
    }

    /// What the verdict leaves out of account: `, but for 3 expected findings`, or nothing.
    pub fn but_for(&self) -> String {
        match self.baseline.as_ref().map_or(0, |baseline| baseline.expected.len()) {
            0 => String::new(),
            count => format!(", but for {}", plural(count, "expected finding")),
        }
    }

    /// How many checks came to what, the worst news first: `1 crash`, `17 fail`.
    pub fn tally(&self) -> Vec<String> {
        Verdict::ALL
            .into_iter()
            .map(|verdict| (self.with_verdict(verdict).count(), verdict))
            .filter(|(count, _)| *count > 0)
            .map(|(count, verdict)| format!("{count} {verdict}"))
            .collect()
    }

    /// What `run --resume` would run; `None` where this run cannot be resumed.
    pub fn remaining(&self) -> Option<Remaining> {
        let Remaining { waiting, interrupted } = self.left;
        let left = match self.began.guest {
            // A guest cannot take its host down, so nothing is left out.
            Some(_) => Remaining { waiting: waiting + interrupted, interrupted: 0 },
            None => self.left,
        };
        self.began.can_be_resumed().then_some(left)
    }

    /// The command that runs just this check again, beside those on the sibling devices that its result depends on. A
    /// finding that belongs to no check needs any check, since each run loads, opens and closes; what was seen between checks
    /// needs all of them.
    pub fn reproduce(&self, check: &str) -> String {
        let command = &self.began.reproduce;
        match (is_incident(check), self.began.planned.first()) {
            (false, _) => self.beside_siblings(check).replace("{check}", check),
            (true, Some(any)) if check != Phase::BetweenChecks.test_name() => command.replace("{check}", &any.name),
            (true, _) => command.replace(" -- --exact {check}", ""),
        }
    }

    /// The command for a check, with the checks that are to run beside it.
    fn beside_siblings(&self, check: &str) -> String {
        let command = self.began.reproduce.clone();
        let outcome = self.checks.iter().find(|known| known.name == check).map(|known| &known.outcome);
        let Some(sibling) = outcome.and_then(|outcome| outcome.sibling.as_ref()) else { return command };
        let has_devices = self.began.guest.as_ref().is_some_and(|guest| guest.devices.is_some());
        let devices = if has_devices { "" } else { " --devices 2" };
        let beside: String = sibling.checks.iter().map(|check| format!(" --beside {check}")).collect();
        command.replace(" -- --exact", &format!("{devices}{beside} -- --exact"))
    }

    /// What a check came to, if the run has it. Where nothing went wrong outside checks, that is a pass.
    pub fn verdict_of(&self, name: &str) -> Option<Verdict> {
        let check = self.checks.iter().find(|check| check.name == name);
        check.map(|check| check.outcome.verdict).or(is_incident(name).then_some(Verdict::Pass))
    }

    /// Whether something went wrong while no check ran.
    pub fn has_incidents(&self) -> bool {
        self.checks.iter().any(|check| is_incident(&check.name))
    }

    /// How many checks came to which verdict.
    pub fn counts(&self) -> Counts {
        let count = |verdict: Verdict| self.with_verdict(verdict).count();
        Counts {
            crash: count(Verdict::Crash),
            hang: count(Verdict::Hang),
            fail: count(Verdict::Fail),
            warn: count(Verdict::Warn),
            blocked: count(Verdict::Blocked),
            skip: count(Verdict::Skip),
            pass: count(Verdict::Pass),
        }
    }

    /// The checks that came to this verdict, in the planned order.
    pub fn with_verdict(&self, verdict: Verdict) -> impl Iterator<Item = &CheckRun> {
        self.checks.iter().filter(move |check| check.outcome.verdict == verdict)
    }

    /// Why checks came to this verdict that nobody expects, the most frequent reason first. What the same requirement
    /// blocks has one reason, in the words of the first check.
    pub fn reasons(&self, verdict: Verdict) -> Vec<(String, Vec<&CheckRun>)> {
        let mut reasons: Vec<Vec<&CheckRun>> = Vec::new();
        for check in self.with_verdict(verdict).filter(|check| !self.is_expected(check)) {
            match reasons.iter_mut().find(|checks| has_one_reason(&checks[0].outcome, &check.outcome)) {
                Some(checks) => checks.push(check),
                None => reasons.push(vec![check]),
            }
        }
        reasons.sort_by_key(|checks| std::cmp::Reverse(checks.len()));
        reasons.into_iter().map(|checks| (checks[0].outcome.reason(), checks)).collect()
    }

    /// The chapters, in the order in which their first checks are planned.
    pub fn chapters(&self) -> Vec<&str> {
        let mut chapters = Vec::new();
        for check in &self.checks {
            if !chapters.contains(&check.chapter()) {
                chapters.push(check.chapter());
            }
        }
        chapters
    }
}

/// Whether this name stands for what went wrong while no check ran.
pub fn is_incident(name: &str) -> bool {
    Phase::ALL.iter().any(|phase| phase.test_name() == name)
}

fn has_one_reason(one: &Outcome, other: &Outcome) -> bool {
    match (&one.blocked_by, &other.blocked_by) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.message == other.message,
        _ => false,
    }
}

impl CheckRun {
    /// The chapter that the check belongs to.
    pub fn chapter(&self) -> &str {
        self.name.split_once("::").map_or("", |(chapter, _)| chapter)
    }

    /// The check's name without its chapter.
    pub fn short_name(&self) -> &str {
        self.name.split_once("::").map_or(self.name.as_str(), |(_, name)| name)
    }
}
