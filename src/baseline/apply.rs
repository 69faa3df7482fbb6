//! What a baseline makes of a run.

use serde::Serialize;

use super::{Baseline, Entry, Version};
use crate::harness::coverage::judge;
use crate::harness::journal::LabReady;
use crate::harness::outcome::Outcome;
use crate::harness::verdict::Verdict;
use crate::report::{CheckRun, Run};
use crate::requirement::Level;

/// What of a run was expected, and what was not seen though it was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Applied {
    /// Each finding, or check that was blocked, that was expected.
    pub expected: Vec<Expected>,
    /// What was expected and did not come.
    pub gone: Vec<Gone>,
}

/// A finding that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// The check.
    pub check: String,
    /// Why it was expected.
    pub reason: String,
    /// The upstream commit that mends it.
    pub fixed: Option<String>,
}

/// A finding that did not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gone {
    /// The check.
    pub check: String,
    /// What was expected of it.
    pub expected: Verdict,
    /// What came.
    pub came: Verdict,
    /// Why it was expected.
    pub reason: String,
    /// The file that expects it.
    pub file: String,
}

impl Applied {
    /// Whether what this check came to was expected.
    pub fn has(&self, check: &str) -> bool {
        self.expected.iter().any(|expected| expected.check == check)
    }
}

impl Baseline {
    /// Judges a run anew: what is expected does not count, and what is expected and did not come counts like a broken
    /// should.
    pub fn apply(&self, run: &mut Run) {
        let applied = self.applied(run);
        let mut verdicts: Vec<Verdict> = run.checks.iter().map(|check| counted(check, &applied)).collect();
        verdicts.extend(applied.gone.iter().map(|_| Verdict::Warn));
        (run.verdict, run.exit) = judge(&verdicts, run.extent, run.began.strict, &run.coverage);
        run.baseline = Some(applied);
    }

    /// Whether what a check came to there is expected, and accuses of nothing else.
    pub fn explains(&self, there: &LabReady, check: &str, outcome: &Outcome) -> bool {
        let about = self.about(there);
        about.iter().any(|entry| (entry.names(check) && entry.explains(outcome)) || entry.blocks(outcome))
    }

    /// What is said of this driver and kernel.
    fn about(&self, ready: &LabReady) -> Vec<&Entry> {
        let version = Version::of_release(&ready.kernel);
        self.entries.iter().filter(|entry| entry.is_about(&ready.identity.driver, version.as_ref())).collect()
    }

    fn applied(&self, run: &Run) -> Applied {
        let mut applied = Applied::default();
        let Some(ready) = &run.ready else { return applied };
        let meant = self.about(ready);
        for check in &run.checks {
            let entries = meant.iter().copied().filter(|entry| entry.names(&check.name));
            let blocking = || blocking(&meant, run, &check.outcome);
            match entries.clone().find(|entry| entry.explains(&check.outcome)).or_else(|| blocking().copied()) {
                Some(entry) => applied.expected.push(Expected {
                    check: check.name.clone(),
                    reason: entry.reason.clone(),
                    fixed: entry.fixed.clone(),
                }),
                None => applied.gone.extend(entries.filter(|entry| entry.is_refuted_by(check)).map(|entry| Gone {
                    check: check.name.clone(),
                    expected: entry.verdict,
                    came: check.outcome.verdict,
                    reason: entry.reason.clone(),
                    file: entry.file.display().to_string(),
                })),
            }
        }
        applied
    }
}

/// What expects the requirement to be broken that blocks a check, unless this run has shown that it is kept.
fn blocking<'a, 'b>(meant: &'b [&'a Entry], run: &Run, outcome: &Outcome) -> Option<&'b &'a Entry> {
    let is_refuted = |entry: &Entry| {
        let mut named = run.checks.iter().filter(|check| entry.names(&check.name)).peekable();
        named.peek().is_some() && !named.any(|check| entry.explains(&check.outcome))
    };
    meant.iter().find(|entry| entry.blocks(outcome) && !is_refuted(entry))
}

/// What a check counts as.
fn counted(check: &CheckRun, applied: &Applied) -> Verdict {
    match check.outcome.verdict {
        verdict if !applied.has(&check.name) => verdict,
        // It could not be judged, and was not expected to be, by itself or since a requirement that blocks it is broken.
        Verdict::Blocked => Verdict::Skip,
        _ => Verdict::Pass,
    }
}

impl Entry {
    fn is_about(&self, driver: &str, version: Option<&Version>) -> bool {
        let is_driver = self.driver.as_ref().is_none_or(|meant| meant == driver);
        let is_kernel = self.kernel.as_ref().is_none_or(|kernels| version.is_some_and(|version| kernels.has(version)));
        is_driver && is_kernel
    }

    fn names(&self, check: &str) -> bool {
        self.checks.iter().any(|named| named == check)
    }

    /// Whether what a check came to is what was expected, and accuses of nothing else.
    fn explains(&self, outcome: &Outcome) -> bool {
        let mut broken = outcome.broken.iter().filter(|broken| broken.level != Level::Advice);
        let is_known = self.breaks.is_empty() || broken.all(|broken| self.breaks.contains(&broken.requirement));
        outcome.verdict == self.verdict && is_known
    }

    /// Whether the requirement that blocks a check is one that is expected to be broken.
    fn blocks(&self, outcome: &Outcome) -> bool {
        outcome.blocked_by.as_ref().is_some_and(|id| self.breaks.contains(id))
    }

    /// Whether a check found all kept, though it was expected to accuse each time. Another finding than the
    /// expected one says so itself.
    fn is_refuted_by(&self, check: &CheckRun) -> bool {
        !self.sometimes && check.outcome.verdict == Verdict::Pass
    }
}
