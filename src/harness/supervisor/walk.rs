//! Long random walks, and walks that were saved: one planned check that the lab runs in many portions.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use libtest_mimic::Arguments;

use super::{Lost, RunError, RunFolder, RunOptions, Supervisor, begin, say, summarize};
use crate::harness::journal::{Event, PlannedCheck};
use crate::harness::outcome::Outcome;
use crate::harness::verdict::{Exit, Verdict};
use crate::lab::Lab;
use crate::report::{self, Run};
use crate::requirement::walk::ALLOWED;
use crate::stimulus::KeyUse;
use crate::suites::walk::Order;
use crate::uapi::state::Capabilities;
use crate::walk::{Operation, SEGMENT, Tried, WalkList, plan, shorten};

/// The file in a run's folder that a walk which failed is saved to.
const LIST: &str = "walk.txt";
/// How long a walk that ends in a hang or a crash is shortened, restarts included.
const BOUND: Duration = Duration::from_secs(120);
/// A try may take so many times what its steps have taken before.
const SLOWER: f64 = 4.0;
/// A step takes no longer than this, on average, if nothing is known yet: a reset of a PCI function takes a tenth of a
/// second, and one of fifty steps is one.
const STEP_SECONDS: f64 = 0.005;
/// What a try may take beside its steps: a stream is saved, and the device is opened again.
const TRY: Duration = Duration::from_secs(3);
/// How often people are told how far it is.
const TELL: Duration = Duration::from_secs(10);

/// A walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// What it follows from.
    pub seed: u64,
    /// How long it is.
    pub length: Length,
}

impl Walk {
    /// The name of the one check of its run.
    pub fn name(self) -> String {
        format!("walk::seed_{}", self.seed)
    }
}

/// How long a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many steps.
    Steps(u64),
    /// As many as there are in this time.
    For(Duration),
}

impl Length {
    /// How many steps the next segment has; `None` if the walk is over.
    fn next(self, taken: u64, began: Instant) -> Option<usize> {
        match self {
            Length::Steps(steps) if taken < steps => Some(SEGMENT.min((steps - taken) as usize)),
            Length::For(time) if began.elapsed() < time => Some(SEGMENT),
            Length::Steps(_) | Length::For(_) => None,
        }
    }
}

/// Walks until something is found or the walk is over, and makes the reports.
///
/// # Errors
/// Why the run could not begin, or its reports not be made.
pub fn walk(options: &RunOptions, folder: &RunFolder, walk: Walk, lab: Box<dyn Lab>) -> Result<Exit, RunError> {
    let run = walk_silently(options, folder, walk, lab)?;
    summarize(&run, folder, &Arguments::default());
    Ok(run.exit)
}

/// The same without the summary.
///
/// # Errors
/// Why the run could not begin, or its reports not be made.
pub fn walk_silently(options: &RunOptions, folder: &RunFolder, walk: Walk, lab: Box<dyn Lab>) -> Result<Run, RunError> {
    say(&format!("a random walk with seed {}", walk.seed));
    run_one(options, folder, &walk.name(), lab, |supervisor, capabilities| {
        let device = &options.device;
        let mut walker =
            Walker { supervisor, capabilities, seed: walk.seed, folder, device, step_seconds: STEP_SECONDS };
        walker.go(walk.length)
    })
}

/// Runs a list of operations once, and makes the reports.
///
/// # Errors
/// Why the run could not begin, or its reports not be made.
pub fn replay(
    options: &RunOptions,
    folder: &RunFolder,
    operations: Vec<Operation>,
    lab: Box<dyn Lab>,
) -> Result<Exit, RunError> {
    let run = run_one(options, folder, "walk::replay", lab, |supervisor, _| {
        supervisor.outcome_of(&Order::Replay(operations).to_string())
    })?;
    summarize(&run, folder, &Arguments::default());
    Ok(run.exit)
}

/// A run with one planned check that is not one of the suites'.
fn run_one(
    options: &RunOptions,
    folder: &RunFolder,
    name: &str,
    lab: Box<dyn Lab>,
    go: impl FnOnce(&mut Supervisor, Option<Capabilities>) -> Option<Outcome>,
) -> Result<Run, RunError> {
    let planned = [PlannedCheck { name: name.to_owned(), requirements: vec![ALLOWED.id.to_owned()] }];
    let journal = begin(options, folder, &planned, None)?;
    let mut supervisor = Supervisor::new(lab, journal, planned.len());
    let Some(ready) = supervisor.start()? else {
        return supervisor.finish(folder);
    };
    supervisor.write(Event::CheckStarted { check: name.to_owned() });
    if let Some(outcome) = go(&mut supervisor, ready.capabilities) {
        supervisor.conclude(name, &outcome);
    }
    supervisor.finish(folder)
}

struct Walker<'a> {
    supervisor: &'a mut Supervisor,
    capabilities: Option<Capabilities>,
    seed: u64,
    folder: &'a RunFolder,
    device: &'a str,
    /// What a step takes, in the slowest segment so far.
    step_seconds: f64,
}

impl Walker<'_> {
    /// Walks; `None` if the run was asked to stop before anything was found.
    fn go(&mut self, length: Length) -> Option<Outcome> {
        let began = Instant::now();
        let (mut taken, mut segment, mut told) = (0, 0, Instant::now());
        let mut keys = KeyUse::default();
        while let Some(steps) = length.next(taken, began) {
            let order = Order::Segment { seed: self.seed, segment, steps };
            let Some(outcome) = self.supervisor.outcome_of(&order.to_string()) else {
                say(&format!("{taken} steps with seed {} until then, nothing found", self.seed));
                return None;
            };
            keys.extend(KeyUse { played: outcome.played.clone(), lacked: outcome.lacked.clone() });
            match outcome.verdict {
                Verdict::Pass => {}
                Verdict::Hang | Verdict::Crash => return Some(self.shorten(outcome, segment, steps)),
                Verdict::Fail | Verdict::Warn => return Some(self.save(outcome, None)),
                Verdict::Skip | Verdict::Blocked => return Some(outcome),
            }
            let average = outcome.seconds / steps as f64;
            self.step_seconds = if segment == 0 { average } else { self.step_seconds.max(average) };
            taken += steps as u64;
            segment += 1;
            if told.elapsed() > TELL {
                told = Instant::now();
                say(&format!("{taken} steps in {:.0} s, nothing found", began.elapsed().as_secs_f64()));
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let mut outcome = Outcome::without_judgement(Verdict::Pass, "");
        outcome.seconds = seconds;
        (outcome.played, outcome.lacked) = (keys.played, keys.lacked);
        outcome.proven.push(ALLOWED.id.to_owned());
        let speed = taken as f64 / seconds;
        let note =
            format!("{taken} steps with seed {} in {seconds:.2} s ({speed:.0} a second), nothing found", self.seed);
        say(&note);
        outcome.evidence.notes.push(note);
        Some(outcome)
    }

    /// Shortens a walk that killed what walked. What it was doing is known from the seed, and how far it came from the
    /// record, unless that died too.
    fn shorten(&mut self, outcome: Outcome, segment: u64, steps: usize) -> Outcome {
        let Some(capabilities) = self.capabilities else {
            return outcome;
        };
        say(&format!("{}: {}; shortening the walk", outcome.verdict, outcome.message));
        let mut operations = plan(capabilities, self.seed, segment);
        // What came of a step is not written down, unlike what came of all that was done before the walk.
        let begun = outcome.evidence.operations.iter().filter(|operation| operation.result.is_none()).count();
        operations.truncate(if begun == 0 { steps } else { begun.min(steps) });
        let (whole, end) = (operations.len(), Instant::now() + BOUND);
        let shortened = shorten(operations, |operations| self.try_once(operations, outcome.verdict, end));
        self.supervisor.recover();
        let mut found = shortened.finding.unwrap_or(outcome);
        let notes = &mut found.evidence.notes;
        notes.push(format!("found by a random walk, seed {}, segment {segment}", self.seed));
        let left = shortened.operations.len();
        notes.push(format!("{left} of its {whole} steps matter ({} tries)", shortened.tries));
        if !shortened.fails_always {
            notes.push("it does not fail each time".to_owned());
        }
        self.save(found, Some(shortened.operations))
    }

    /// How long so many steps may take until they count as hung: not as long as a walk of which nothing is known.
    fn patience(&self, steps: usize) -> Duration {
        TRY + Duration::from_secs_f64(SLOWER * self.step_seconds * steps as f64)
    }

    fn try_once(&mut self, operations: &[Operation], verdict: Verdict, end: Instant) -> Tried<Outcome> {
        self.supervisor.recover();
        if Instant::now() >= end || matches!(self.supervisor.lost, Some(Lost::ForGood(_))) {
            return Tried::NotTried;
        }
        let order = Order::ReplayWithin(operations.to_vec(), self.patience(operations.len()));
        let Some(outcome) = self.supervisor.outcome_of(&order.to_string()) else {
            return Tried::NotTried;
        };
        match outcome.verdict == verdict {
            true => Tried::Fails { step: operations.len() - 1, finding: outcome },
            false => Tried::Passes,
        }
    }

    /// Saves the operations that matter, which are those of the evidence unless they are given.
    fn save(&mut self, mut outcome: Outcome, operations: Option<Vec<Operation>>) -> Outcome {
        let recorded = outcome.evidence.operations.iter().filter_map(|operation| operation.what.parse().ok());
        let operations = operations.unwrap_or_else(|| recorded.collect());
        let mut remarks = vec![format!("{}: {}", outcome.verdict, outcome.message)];
        remarks.extend(outcome.broken.iter().map(|broken| format!("breaks {}", broken.requirement)));
        remarks.extend(outcome.evidence.notes.iter().cloned());
        remarks.push("vfio-conform replay FILE [DEVICE] runs it again".to_owned());
        let list = WalkList { device: Some(self.device.to_owned()), remarks, operations };
        let path: PathBuf = self.folder.path().join(LIST);
        let note = match report::write_whole(self.folder.path(), LIST, list.to_string().as_bytes()) {
            Ok(()) => format!("saved as {0}; `vfio-conform replay {0}` runs it again", path.display()),
            Err(error) => format!("failed to save the walk as {}: {error}", path.display()),
        };
        outcome.evidence.notes.push(note);
        outcome
    }
}
