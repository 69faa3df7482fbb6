//! Tries faults, one after another, and says what is being done.

use std::time::Instant;

use serde::Serialize;

use super::catalogue::{Fault, Need};
use super::judge::{Finding, judge};
use super::lane::Lane;
use crate::harness::check::{Check, Skip};
use crate::harness::incident::{Incident, Phase};
use crate::harness::journal::Stage;
use crate::harness::outcome::Outcome;
use crate::lab::{Progress, Watch};
use crate::report::tests_of;
use crate::uapi::stop;

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
    /// Nothing can be seen of it on this kernel, for this reason.
    LeftOut(String),
}

impl Tried {
    /// Whether the suite was right about it.
    pub fn is_right(&self) -> bool {
        matches!(&self.result, TriedResult::Judged(finding) if finding.is_right())
    }
}

/// Tries faults in a lane: with the checks that should notice each, or with `full` all of them. Once this process is asked
/// to stop, those whose checks are over are returned.
pub fn run(
    lane: &mut dyn Lane,
    faults: &[&Fault],
    checks: &[Check],
    full: bool,
    progress: &mut Forecast,
) -> Vec<Tried> {
    let mut tried = Vec::new();
    // Once a kernel was seen to lack something, no further fault is tried that needs it.
    let mut lacking: Option<(Need, String)> = None;
    for fault in faults {
        if stop::requested().is_some() {
            break;
        }
        progress.begin(fault);
        let began = Instant::now();
        let wanted: Vec<&Check> = if full { checks.iter().collect() } else { fault.noticed_by(checks) };
        let known = lacking.as_ref().filter(|(need, _)| fault.needs == Some(*need));
        let result = match known {
            Some((_, why)) => TriedResult::LeftOut(why.clone()),
            None => {
                let tried = try_one(lane, fault, &wanted, progress);
                match fault.needs.filter(|need| tried.is_ok() && lane.is_built_without(*need)) {
                    Some(need) => TriedResult::LeftOut(left_out(need)),
                    None => result_of(fault, tried),
                }
            }
        };
        if stop::requested().is_some() {
            // Its checks may not be over.
            break;
        }
        if let (Some(need), TriedResult::LeftOut(why)) = (fault.needs, &result) {
            lacking = Some((need, why.clone()));
        }
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

/// What checks said, and what went wrong while none ran.
struct Said<'a> {
    outcomes: Vec<(&'a Check, Outcome)>,
    incidents: Vec<Incident>,
}

fn result_of(fault: &Fault, tried: Result<Said<'_>, String>) -> TriedResult {
    let Said { outcomes, incidents } = match tried {
        Ok(said) => said,
        Err(why) => return TriedResult::NotTried(why),
    };
    match fault.needs.and_then(|need| lacks(need, fault, &outcomes)) {
        Some(why) => TriedResult::LeftOut(why),
        None => TriedResult::Judged(judge(fault, &outcomes, &tests_of(&incidents))),
    }
}

fn left_out(need: Need) -> String {
    if need == Need::TwoDevices {
        return "faults are tried on one device; `cargo test --test faults_in_guests -- --ignored sibling` shows it on two"
            .to_owned();
    }
    format!("this kernel has no {need}; give --kernel debug-7.3")
}

/// Why nothing can be seen of a fault, if every check on what it breaks found that the kernel rightly lacks what it needs.
fn lacks(need: Need, fault: &Fault, outcomes: &[(&Check, Outcome)]) -> Option<String> {
    let is_about = |check: &Check| check.requirements().iter().any(|r| fault.breaks.iter().any(|id| id == r.id));
    let mut about = outcomes.iter().filter(|(check, _)| is_about(check)).map(|(_, outcome)| outcome).peekable();
    about.peek()?;
    let is_absent = |outcome: &Outcome| matches!(outcome.skip, Some(Skip::CorrectlyAbsent { .. }));
    about.all(is_absent).then(|| left_out(need))
}

fn try_one<'a>(
    lane: &mut dyn Lane,
    fault: &Fault,
    checks: &[&'a Check],
    watch: &mut dyn Watch,
) -> Result<Said<'a>, String> {
    let entered = lane.enter(fault, watch);
    let mut said = Said { outcomes: Vec::new(), incidents: lane.incidents() };
    if let Err(error) = entered {
        // A device that the fault keeps shut is what was to be seen.
        return if said.incidents.is_empty() { Err(error.to_string()) } else { Ok(said) };
    }
    for (left, check) in (0..checks.len()).rev().zip(checks) {
        let done = lane.run(check.name());
        said.incidents.extend(lane.incidents());
        said.outcomes.push((*check, done.outcome));
        if stop::requested().is_some() {
            return Ok(said);
        }
        if done.lost.is_some() && left > 0 {
            lane.recover(watch).map_err(|error| error.to_string())?;
            said.incidents.extend(lane.incidents());
        }
    }
    if [Phase::Close, Phase::Unbind, Phase::PowerOff].iter().any(|phase| fault.shows_in(*phase)) {
        lane.leave(watch);
        said.incidents.extend(lane.incidents());
    }
    Ok(said)
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
    began: Option<Instant>,
    // How long each took, in seconds.
    took: Vec<f64>,
    all: usize,
}

impl Forecast {
    /// A forecast for so many faults.
    pub fn new(all: usize) -> Forecast {
        Forecast { progress: Progress::new(), began: None, took: Vec::new(), all }
    }

    fn begin(&mut self, fault: &Fault) {
        let before = self.began.replace(Instant::now());
        self.took.extend(before.map(|before| before.elapsed().as_secs_f64()));
        let done = self.took.len();
        let left = self.left().map(|seconds| format!(", about {seconds:.0} s left")).unwrap_or_default();
        self.progress.step(&format!("{} of {}: {}{left}", done + 1, self.all, fault.id()));
    }

    /// How many seconds the rest may take. The slowest one waited for its guest, which is not needed again for each.
    fn left(&self) -> Option<f64> {
        let slowest = self.took.iter().copied().max_by(f64::total_cmp)?;
        let others = self.took.len().checked_sub(1).filter(|others| *others > 0)?;
        let mean = (self.took.iter().sum::<f64>() - slowest) / others as f64;
        Some(mean * self.all.saturating_sub(self.took.len()) as f64)
    }

    /// Says what else is being done.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::catalogue::{Catalogue, Place};
    use crate::harness::verdict::Verdict;
    use crate::harness::wire::Done;
    use crate::lab::LabError;
    use crate::stimulus::ProfileKey;
    use crate::suites;

    /// A kernel on which every check comes to the same, and which counts them.
    struct Everywhere(Verdict, Option<Skip>, usize);

    impl Lane for Everywhere {
        fn enter(&mut self, _fault: &Fault, _watch: &mut dyn Watch) -> Result<(), LabError> {
            Ok(())
        }

        fn run(&mut self, _check: &str) -> Done {
            self.2 += 1;
            let mut done = Done { lost: None, ..Done::lost(self.0, "") };
            done.outcome.skip = self.1.clone();
            done
        }

        fn recover(&mut self, _watch: &mut dyn Watch) -> Result<(), LabError> {
            Ok(())
        }

        fn leave(&mut self, _watch: &mut dyn Watch) {}

        fn is_built_without(&mut self, _need: Need) -> bool {
            false
        }

        fn incidents(&mut self) -> Vec<Incident> {
            Vec::new()
        }
    }

    #[test]
    fn a_fault_is_left_out_where_the_kernel_rightly_lacks_what_it_needs() -> Result<(), String> {
        let checks = suites::all();
        let catalogue = Catalogue::of_places(&[Place::Device].into(), &checks)?;
        let ends_log = |fault: &&Fault| ["log-ends-with-reset", "log-gives-twice"].contains(&fault.name.as_str());
        let faults: Vec<&Fault> = catalogue.faults.iter().filter(ends_log).collect();
        let tried = |lane: &mut Everywhere| run(lane, &faults, &checks, false, &mut Forecast::new(2));
        let correctly_absent = Skip::CorrectlyAbsent { what: "it is not there".to_owned() };
        let mut absent = Everywhere(Verdict::Skip, Some(correctly_absent), 0);
        let results = tried(&mut absent);
        assert!(results.iter().all(|tried| matches!(&tried.result, TriedResult::LeftOut(why) if why.contains("DMA"))));
        assert_eq!(absent.2, 1, "the second fault needs no look");
        let lacks = Some(Skip::without_key(ProfileKey::Dirty));
        for (verdict, skip) in [(Verdict::Skip, lacks), (Verdict::Pass, None), (Verdict::Blocked, None)] {
            let results = tried(&mut Everywhere(verdict, skip, 0));
            assert!(results.iter().all(|tried| matches!(tried.result, TriedResult::Judged(_)) && !tried.is_right()));
        }
        Ok(())
    }

    #[test]
    fn the_first_guest_does_not_spoil_the_forecast() {
        let mut forecast = Forecast::new(12);
        assert_eq!(forecast.left(), None);
        forecast.took = vec![60.0];
        assert_eq!(forecast.left(), None);
        forecast.took = vec![60.0, 0.5];
        assert_eq!(forecast.left(), Some(5.0));
    }
}
