//! Looks at a journal more closely than a report has to: whether vfio-conform can have written it, line by line.
//!
//! A report is made of whatever a run left, also of one that died. A certificate is made of runs that ended, so here
//! everything has to be in its place.

use serde_json::Value;

use super::judge::PartName;
use super::refusal::{Flaw, Refusal};
use crate::harness::journal::{Entry, Event, PlannedCheck};
use crate::harness::outcome::{Broken, Outcome};
use crate::harness::verdict::{Exit, RunVerdict, Verdict};
use crate::report::Run;
use crate::requirement::{self, Level};

/// Why a journal that a run could be made of is still not to be trusted.
pub fn audit(part: PartName, bytes: &[u8], run: &Run) -> Vec<Refusal> {
    let mut audit =
        Audit { planned: &run.began.planned, before: 0.0, next: 0, running: false, ready: false, end: None };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut refusals = Vec::new();
    for (index, line) in lines.enumerate() {
        if let Err(flaw) = audit.line(line) {
            refusals.push(Refusal::Line { part, line: index + 1, flaw });
            // What follows a line that is out of its place is out of its place too.
            return refusals;
        }
    }
    let Some((verdict, exit)) = audit.end.filter(|_| bytes.ends_with(b"\n")) else {
        return vec![Refusal::CutOff(part)];
    };
    if (verdict, exit) != (run.verdict, run.exit) {
        refusals.push(Refusal::End { part, written: verdict.to_string(), judged: run.verdict.to_string() });
    }
    refusals
}

/// How far a journal was read.
struct Audit<'a> {
    planned: &'a [PlannedCheck],
    before: f64,
    /// The check that runs, or comes next.
    next: usize,
    running: bool,
    ready: bool,
    end: Option<(RunVerdict, Exit)>,
}

impl Audit<'_> {
    fn line(&mut self, line: &[u8]) -> Result<(), Flaw> {
        let entry: Entry = serde_json::from_slice(line).map_err(|_| Flaw::Alien)?;
        if !is_all_of(&entry, line) {
            return Err(Flaw::Alien);
        }
        // A time that is no number is also not later.
        if !(entry.t >= self.before && entry.t.is_finite()) {
            return Err(Flaw::Backwards);
        }
        self.before = entry.t;
        self.event(&entry.event)
    }

    fn event(&mut self, event: &Event) -> Result<(), Flaw> {
        match event {
            Event::RunStarted(_) | Event::Stage { .. } | Event::LabFailed { .. } | Event::LabRestarted { .. } => {}
            Event::Incident(incident) if !incident.says_something() => return Err(Flaw::Alien),
            Event::Incident(_) => {}
            Event::RunResumed { .. } => return Err(Flaw::Resumed),
            Event::LabReady(_) => self.ready = true,
            Event::CheckStarted { check } if self.running => return Err(self.out_of_turn(check)),
            Event::CheckStarted { check } => {
                self.expect(check)?;
                self.running = true;
            }
            Event::CheckFinished { check, outcome } => {
                let planned = self.expect(check)?;
                if !self.running {
                    return Err(self.out_of_turn(check));
                }
                examine(planned, outcome)?;
                self.running = false;
                self.next += 1;
            }
            Event::RunFinished { verdict, exit, .. } => {
                if let Some(planned) = self.planned.get(self.next) {
                    return Err(Flaw::NoResult(planned.name.clone()));
                }
                self.end = Some((*verdict, *exit));
            }
        }
        Ok(())
    }

    /// The planned check whose turn it is, which has to be this one.
    fn expect(&self, check: &str) -> Result<&PlannedCheck, Flaw> {
        match self.planned.get(self.next) {
            _ if !self.ready => Err(Flaw::NotReady),
            Some(planned) if planned.name == check => Ok(planned),
            _ => Err(self.out_of_turn(check)),
        }
    }

    fn out_of_turn(&self, found: &str) -> Flaw {
        let expected = match (self.planned.get(self.next), self.running) {
            (Some(planned), true) => format!("the result of {}", planned.name),
            (Some(planned), false) => format!("the beginning of {}", planned.name),
            (None, _) => "the end of the run".to_owned(),
        };
        Flaw::OutOfTurn { found: found.to_owned(), expected }
    }
}

/// Whether a line says what the event says and nothing more. Another order of its keys, or another way to write a
/// number, is not worth a refusal.
fn is_all_of(entry: &Entry, line: &[u8]) -> bool {
    let same_bytes = serde_json::to_vec(entry).is_ok_and(|bytes| bytes == line);
    same_bytes || serde_json::to_value(entry).ok() == serde_json::from_slice::<Value>(line).ok()
}

/// Whether a check can have come to this.
fn examine(planned: &PlannedCheck, outcome: &Outcome) -> Result<(), Flaw> {
    let name = || planned.name.clone();
    if let Some(other) = outcome.proven.iter().find(|id| !planned.requirements.contains(id)) {
        return Err(Flaw::ProvesOther(name(), other.clone()));
    }
    if outcome.verdict == Verdict::Pass && outcome.proven.is_empty() && outcome.broken.is_empty() {
        return Err(Flaw::ProvesNothing(name()));
    }
    if let Some(broken) = outcome.broken.iter().find(|broken| !is_catalogued(broken)) {
        return Err(Flaw::NotCatalogued(broken.requirement.clone()));
    }
    if let Some(id) = outcome.blocked_by.as_ref().filter(|id| requirement::find(id).is_none()) {
        return Err(Flaw::NotCatalogued(id.clone()));
    }
    if outcome.verdict != Verdict::Blocked && (outcome.blocked_by.is_some() || outcome.hindered_by.is_some()) {
        return Err(Flaw::WrongVerdict(name()));
    }
    let breaks = |level: Level| outcome.broken.iter().any(|broken| broken.level == level);
    let follows = match outcome.verdict {
        Verdict::Fail => breaks(Level::Must),
        Verdict::Warn => breaks(Level::Should) && !breaks(Level::Must),
        Verdict::Pass | Verdict::Skip | Verdict::Blocked => !breaks(Level::Must) && !breaks(Level::Should),
        Verdict::Hang | Verdict::Crash => true,
    };
    // A skip without its reason would hide what was not judged.
    let follows = follows && (outcome.verdict == Verdict::Skip) == outcome.skip.is_some();
    match follows {
        true => Ok(()),
        false => Err(Flaw::WrongVerdict(name())),
    }
}

fn is_catalogued(broken: &Broken) -> bool {
    requirement::find(&broken.requirement)
        .is_some_and(|known| known.level == broken.level && known.statement == broken.statement)
}
