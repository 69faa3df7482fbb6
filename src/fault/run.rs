//! Tries faults, one after another, and says what is being done.

use std::time::Instant;

use serde::Serialize;

use super::catalogue::Fault;
use super::judge::{Finding, judge};
use super::lane::Lane;
use crate::harness::check::Check;
use crate::harness::journal::Stage;
use crate::harness::outcome::Outcome;
use crate::lab::{Progress, Watch};

/// One fault that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// Its id.
    pub fault: String,
    /// The one thing that is wrong.
    pub defect: String,
    /// Where the idea comes from.
    pub origin: String,
    /// How many checks were run on it.
    pub checks: usize,
    /// How long that took, in seconds.
    pub seconds: f64,
    /// What came of it.
    pub result: TriedResult,
}

/// What came of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TriedResult {
    /// Checks were run, and said this.
    Judged(Finding),
    /// There was no device with it, for this reason.
    NotTried(String),
}

impl Tried {
    /// Whether the suite was right about it.
    pub fn is_right(&self) -> bool {
        matches!(&self.result, TriedResult::Judged(finding) if finding.is_right())
    }
}

/// Tries faults in a lane: with the checks that should notice each, or with `full` all of them.
pub fn run(
    lane: &mut dyn Lane,
    faults: &[&Fault],
    checks: &[Check],
    full: bool,
    progress: &mut Forecast,
) -> Vec<Tried> {
    let mut tried = Vec::new();
    for fault in faults {
        progress.begin(fault);
        let began = Instant::now();
        let wanted: Vec<&Check> = if full { checks.iter().collect() } else { fault.noticed_by(checks) };
        let result = match try_one(lane, fault, &wanted, progress) {
            Ok(outcomes) => TriedResult::Judged(judge(fault, &outcomes)),
            Err(why) => TriedResult::NotTried(why),
        };
        tried.push(Tried {
            fault: fault.id(),
            defect: fault.defect.clone(),
            origin: fault.origin.clone(),
            checks: wanted.len(),
            seconds: began.elapsed().as_secs_f64(),
            result,
        });
    }
    tried
}

fn try_one<'a>(
    lane: &mut dyn Lane,
    fault: &Fault,
    checks: &[&'a Check],
    watch: &mut dyn Watch,
) -> Result<Vec<(&'a Check, Outcome)>, String> {
    lane.enter(fault, watch).map_err(|error| error.to_string())?;
    let mut outcomes = Vec::new();
    for (left, check) in (0..checks.len()).rev().zip(checks) {
        let done = lane.run(check.name());
        outcomes.push((*check, done.outcome));
        if done.lost.is_some() && left > 0 {
            lane.recover(watch).map_err(|error| error.to_string())?;
        }
    }
    Ok(outcomes)
}

impl Watch for Forecast {
    fn stage(&mut self, _stage: Stage) {}

    fn step(&mut self, what: &str) {
        self.progress.step(what);
    }
}

/// Tells which fault is tried, and about how long the rest will take.
pub struct Forecast {
    progress: Progress,
    began: Instant,
    done: usize,
    all: usize,
}

impl Forecast {
    /// A forecast for so many faults.
    pub fn new(all: usize) -> Forecast {
        Forecast { progress: Progress::new(), began: Instant::now(), done: 0, all }
    }

    fn begin(&mut self, fault: &Fault) {
        let so_far = self.began.elapsed().as_secs_f64();
        let left = match self.done {
            0 => String::new(),
            done => format!(", about {:.0} s left", so_far / done as f64 * (self.all - done) as f64),
        };
        self.done += 1;
        self.progress.step(&format!("{} of {}: {}{left}", self.done, self.all, fault.id()));
    }

    /// Says what else is being done.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}
