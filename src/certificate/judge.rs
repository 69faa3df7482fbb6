//! Judges the runs of a certificate together, with what is waived.

use std::collections::BTreeSet;
use std::fmt;

use super::document::{CertifiedVerdict, Environment};
use super::waiver::{Subject, Waiver};
use crate::harness::coverage::{self, Coverage};
use crate::harness::outcome::Broken;
use crate::harness::verdict::{Exit, Extent, RunVerdict, Verdict};
use crate::report::{CheckRun, Run};
use crate::requirement::{self, Level};

/// A run of a certificate.
#[derive(Debug)]
pub struct Part {
    /// Which.
    pub name: PartName,
    /// What it came to by itself.
    pub run: Run,
}

/// Which run of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartName {
    /// The whole suite for this time, counted from 1.
    Suite(u32),
    /// The walk.
    Walk,
}

impl PartName {
    /// Every run of a certificate with so many repetitions, in the order in which they are run.
    pub fn all(repetitions: u32) -> impl Iterator<Item = PartName> {
        (1..=repetitions).map(PartName::Suite).chain(std::iter::once(PartName::Walk))
    }

    /// Its folder in the bundle.
    pub fn folder(self) -> String {
        match self {
            PartName::Suite(number) => format!("runs/{number}"),
            PartName::Walk => "walk".to_owned(),
        }
    }

    /// What its journal calls the run, which is the last part of its folder.
    pub fn run(self) -> String {
        match self {
            PartName::Suite(number) => number.to_string(),
            PartName::Walk => "walk".to_owned(),
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartName::Suite(number) => write!(f, "run {number}"),
            PartName::Walk => f.write_str("the walk"),
        }
    }
}

/// What became of a check in each run that has it.
pub type Seen = Vec<(PartName, Verdict)>;

/// A check that accuses the device in any of the runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// `chapter::check_name`.
    pub check: &'a str,
    /// What became of it in each run.
    pub seen: Seen,
    /// What it broke, in any of the runs, and which waiver accepts that.
    pub broken: Vec<(&'a str, Level, Option<usize>)>,
}

/// What a waiver is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Its requirement was broken.
    Used,
    /// It is for this device, firmware and kernel, but its requirement was not broken.
    NotNeeded,
    /// It is for another device, firmware or kernel.
    Elsewhere,
}

/// What all runs come to.
#[derive(Debug)]
pub struct Judgement<'a> {
    /// The verdict.
    pub verdict: CertifiedVerdict,
    /// The exit code that goes with it.
    pub exit: Exit,
    /// Every check that accuses the device.
    pub findings: Vec<Finding<'a>>,
    /// Every check that did not come to the same in each repetition.
    pub unsteady: Vec<(&'a str, Seen)>,
    /// The use of each waiver.
    pub uses: Vec<Use>,
    /// The coverage of the run of the suite that covers least.
    pub coverage: Option<&'a Coverage>,
    /// The requirements that no check proved and none broke.
    pub untested: Vec<&'static str>,
}

/// Judges runs together.
pub fn judge<'a>(parts: &'a [Part], waivers: &[Waiver], environment: &'a Environment) -> Judgement<'a> {
    let applicable = applicable(parts, waivers, environment);
    let waiver_of = |id: &str| applicable.iter().copied().find(|index| waivers[*index].requirement() == id);
    let checks = by_check(parts);
    let findings: Vec<Finding<'_>> = checks.iter().filter_map(|runs| finding(runs, &waiver_of)).collect();
    let used: BTreeSet<usize> =
        findings.iter().flat_map(|finding| finding.broken.iter().filter_map(|(_, _, waiver)| *waiver)).collect();
    let use_of = |index: usize| match (used.contains(&index), applicable.contains(&index)) {
        (true, _) => Use::Used,
        (false, true) => Use::NotNeeded,
        (false, false) => Use::Elsewhere,
    };
    let (verdict, exit) = verdict(parts, &waiver_of);
    Judgement {
        verdict,
        exit,
        findings,
        unsteady: checks.iter().filter_map(|runs| unsteady(runs)).collect(),
        uses: (0..waivers.len()).map(use_of).collect(),
        coverage: least(parts),
        untested: untested(parts),
    }
}

/// What the run of the suite covers that covers least: of the lowest level, and with the most musts that were not judged.
fn least(parts: &[Part]) -> Option<&Coverage> {
    let suites = parts.iter().filter(|part| part.name != PartName::Walk).map(|part| &part.run.coverage);
    suites.min_by_key(|coverage| (coverage.level, std::cmp::Reverse(coverage.not_judged.len())))
}

/// The waivers that are for this device, firmware and kernel.
fn applicable(parts: &[Part], waivers: &[Waiver], environment: &Environment) -> Vec<usize> {
    let Some(ready) = parts.iter().find_map(|part| part.run.ready.as_ref()) else {
        return Vec::new();
    };
    let subject = Subject {
        pci: ready.identity.pci_id.as_deref(),
        driver: &ready.identity.driver,
        firmware: environment.firmware(),
        kernel: &ready.kernel,
    };
    (0..waivers.len()).filter(|index| waivers[*index].fits(&subject)).collect()
}

/// The runs of each check, in the order of the plans.
fn by_check(parts: &[Part]) -> Vec<Vec<(PartName, &CheckRun)>> {
    let mut places = std::collections::HashMap::new();
    let mut checks: Vec<Vec<(PartName, &CheckRun)>> = Vec::new();
    for part in parts {
        for check in &part.run.checks {
            let place = *places.entry(check.name.as_str()).or_insert(checks.len());
            match checks.get_mut(place) {
                Some(runs) => runs.push((part.name, check)),
                None => checks.push(vec![(part.name, check)]),
            }
        }
    }
    checks
}

fn seen(runs: &[(PartName, &CheckRun)]) -> Seen {
    runs.iter().map(|(name, check)| (*name, check.outcome.verdict)).collect()
}

fn finding<'a>(runs: &[(PartName, &'a CheckRun)], waiver_of: &dyn Fn(&str) -> Option<usize>) -> Option<Finding<'a>> {
    let (_, first) = runs.iter().find(|(_, check)| check.outcome.verdict.is_finding())?;
    let mut broken: Vec<(&str, Level, Option<usize>)> = Vec::new();
    for breach in runs.iter().flat_map(|(_, check)| &check.outcome.broken).filter(|b| b.level != Level::Advice) {
        if !broken.iter().any(|(id, ..)| *id == breach.requirement) {
            broken.push((&breach.requirement, breach.level, waiver_of(&breach.requirement)));
        }
    }
    Some(Finding { check: &first.name, seen: seen(runs), broken })
}

fn unsteady<'a>(runs: &[(PartName, &'a CheckRun)]) -> Option<(&'a str, Seen)> {
    let (_, first) = runs.first()?;
    let differs = runs.iter().any(|(_, check)| check.outcome.verdict != first.outcome.verdict);
    differs.then(|| (first.name.as_str(), seen(runs)))
}

/// The worst of all runs, where a finding whose every broken requirement is waived counts as none. A check that such a
/// requirement blocks counts as skipped, if the requirement was really seen to be broken. A hang or a crash is never
/// waived: it may hide anything.
fn verdict(parts: &[Part], waiver_of: &dyn Fn(&str) -> Option<usize>) -> (CertifiedVerdict, Exit) {
    let mut waives = false;
    let broken = broken(parts);
    let mut judged: Vec<(CertifiedVerdict, Exit)> = Vec::new();
    for Part { run, .. } in parts {
        let strict = run.began.strict;
        let verdicts: Vec<Verdict> = run
            .checks
            .iter()
            .map(|check| match check.outcome.verdict {
                found @ (Verdict::Fail | Verdict::Warn) if is_waived(check, strict, waiver_of) => {
                    waives |= found == Verdict::Fail || strict;
                    Verdict::Pass
                }
                Verdict::Blocked if is_covered(check, &broken, waiver_of) => {
                    waives = true;
                    Verdict::Skip
                }
                verdict => verdict,
            })
            .collect();
        // Where a run with findings is not finished, not every check had its turn; a waiver does not change that.
        let extent = match (run.verdict, run.exit) {
            (RunVerdict::DoesNotConform, Exit::Unfinished) => Extent::Part,
            _ => Extent::Whole,
        };
        let (verdict, exit) = coverage::judge(&verdicts, extent, strict, &run.coverage);
        let verdict = match verdict {
            RunVerdict::Conforms => CertifiedVerdict::Conforms,
            RunVerdict::DoesNotConform => CertifiedVerdict::DoesNotConform,
            RunVerdict::Incomplete => CertifiedVerdict::Incomplete,
            RunVerdict::BelowLevel => CertifiedVerdict::BelowLevel,
            RunVerdict::NothingTested => CertifiedVerdict::NothingTested,
        };
        judged.push((verdict, exit));
    }
    let bad = [
        CertifiedVerdict::DoesNotConform,
        CertifiedVerdict::Incomplete,
        CertifiedVerdict::NothingTested,
        CertifiedVerdict::BelowLevel,
    ];
    let worst = bad.into_iter().find(|bad| judged.iter().any(|(verdict, _)| verdict == bad));
    let Some(worst) = worst else {
        let verdict = if waives { CertifiedVerdict::ConformsWithWaivers } else { CertifiedVerdict::Conforms };
        return (verdict, Exit::Conforms);
    };
    let unfinished = judged.iter().any(|(_, exit)| *exit == Exit::Unfinished);
    let exit = match worst {
        _ if unfinished => Exit::Unfinished,
        CertifiedVerdict::DoesNotConform => Exit::Findings,
        _ => Exit::NothingTested,
    };
    (worst, exit)
}

/// Whether everything that counts against the device in a check is waived.
fn is_waived(check: &CheckRun, strict: bool, waiver_of: &dyn Fn(&str) -> Option<usize>) -> bool {
    let counts = |broken: &&Broken| broken.level == Level::Must || (strict && broken.level == Level::Should);
    let mut counting = check.outcome.broken.iter().filter(counts).peekable();
    counting.peek().is_some() && counting.all(|broken| waiver_of(&broken.requirement).is_some())
}

/// The requirements that any check of any run saw broken.
fn broken(parts: &[Part]) -> BTreeSet<&str> {
    let outcomes = parts.iter().flat_map(|part| &part.run.checks).map(|check| &check.outcome);
    outcomes.flat_map(|outcome| &outcome.broken).map(|broken| broken.requirement.as_str()).collect()
}

/// Whether a requirement blocks the check that was seen to be broken, and is waived.
fn is_covered(check: &CheckRun, broken: &BTreeSet<&str>, waiver_of: &dyn Fn(&str) -> Option<usize>) -> bool {
    check.outcome.blocked_by.as_deref().is_some_and(|id| broken.contains(id) && waiver_of(id).is_some())
}

fn untested(parts: &[Part]) -> Vec<&'static str> {
    let outcomes = || parts.iter().flat_map(|part| &part.run.checks).map(|check| &check.outcome);
    let mut judged: BTreeSet<&str> = outcomes().flat_map(|outcome| outcome.proven.iter().map(String::as_str)).collect();
    judged.extend(outcomes().flat_map(|outcome| outcome.broken.iter().map(|broken| broken.requirement.as_str())));
    requirement::all().map(|requirement| requirement.id).filter(|id| !judged.contains(id)).collect()
}

#[cfg(test)]
mod tests;
