//! What a run says of every pair of states: what the oracle wants of it, what the device did, and how often it was seen.

use crate::fsm::table::ORDER;
use crate::fsm::{Arc, Refusal, Route, arcs, route};
use crate::harness::measure::Sample;
use crate::harness::outcome::ObservedPath;
use crate::uapi::state::{Capabilities, State};

use super::run::{CheckRun, Run};

/// The state machine of the device under test, as the run saw it.
pub struct Transitions<'a> {
    /// Which states and arcs it has.
    pub capabilities: Capabilities,
    /// Every pair of states, row by row in the order of [`ORDER`].
    pub pairs: Vec<Pair<'a>>,
}

/// A request for one state in another.
pub struct Pair<'a> {
    /// Where it begins.
    pub from: State,
    /// What is asked for.
    pub to: State,
    /// What the oracle says of it.
    pub route: Route,
    /// The check that asks for just this; `None` if the run had none.
    pub check: Option<&'a CheckRun>,
    /// How often it was taken by a request of its own. Only direct arcs are counted.
    pub alone: usize,
    /// How often the kernel was seen to take it as a step of a combination.
    pub inside: usize,
}

/// What kind of answer a request wants, for legends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The driver itself goes there.
    Arc,
    /// The VFIO core puts so many arcs of the driver together.
    Combination(usize),
    /// Nothing happens.
    Stay,
    /// The uAPI forbids it although there would be a way.
    Blocked,
    /// It is refused for another reason.
    Refused(Refusal),
}

impl<'a> Transitions<'a> {
    /// The state machine of a run; `None` if nothing is known of the device, or if it cannot migrate.
    pub fn of(run: &'a Run) -> Option<Transitions<'a>> {
        let capabilities = run.ready.as_ref()?.capabilities?;
        let (alone, inside) = (steps_alone(run), steps_inside(run));
        let pair = |from: State, to: State| {
            let name = format!("fsm::{}_to_{}", from.name(), to.name()).to_ascii_lowercase();
            let count = |steps: &[Arc]| steps.iter().filter(|step| (step.from, step.to) == (from, to)).count();
            Pair {
                from,
                to,
                route: route(capabilities, from, to.number()),
                check: run.checks.iter().find(|check| check.name == name),
                alone: count(&alone),
                inside: count(&inside),
            }
        };
        let pairs = ORDER.into_iter().flat_map(|from| ORDER.into_iter().map(move |to| (from, to)));
        Some(Transitions { capabilities, pairs: pairs.map(|(from, to)| pair(from, to)).collect() })
    }

    /// Whether the run judged any of the pairs.
    pub fn are_judged(&self) -> bool {
        self.pairs.iter().any(|pair| pair.check.is_some())
    }

    /// The driver's own arcs.
    pub fn arcs(&self) -> impl Iterator<Item = &Pair<'a>> {
        let arcs = arcs(self.capabilities);
        self.pairs.iter().filter(move |pair| arcs.contains(&Arc { from: pair.from, to: pair.to }))
    }

    /// The arcs that the uAPI forbids.
    pub fn blocked(&self) -> impl Iterator<Item = &Pair<'a>> {
        self.pairs.iter().filter(|pair| pair.kind() == Kind::Blocked)
    }

    /// The combinations that the device was accused of.
    pub fn broken_combinations(&self) -> impl Iterator<Item = &Pair<'a>> {
        self.pairs.iter().filter(|pair| {
            let accused = pair.check.is_some_and(|check| check.outcome.verdict.is_finding());
            accused && matches!(pair.kind(), Kind::Combination(_))
        })
    }
}

impl Pair<'_> {
    /// What kind of answer the request wants.
    pub fn kind(&self) -> Kind {
        match &self.route {
            Route::Stay => Kind::Stay,
            Route::Refused(Refusal::Blocked) => Kind::Blocked,
            Route::Refused(refusal) => Kind::Refused(*refusal),
            Route::Path(path) if path.len() == 2 => Kind::Arc,
            Route::Path(path) => Kind::Combination(path.len().saturating_sub(1)),
        }
    }
}

fn steps_alone(run: &Run) -> Vec<Arc> {
    let samples = run.checks.iter().flat_map(|check| &check.outcome.samples);
    let arcs = samples.filter_map(|sample| match *sample {
        Sample::Arc { from, to, .. } => Some(Arc { from, to }),
        _ => None,
    });
    arcs.collect()
}

fn steps_inside(run: &Run) -> Vec<Arc> {
    let paths = run.checks.iter().flat_map(|check| &check.outcome.evidence.paths);
    paths.filter(|path| path.through.len() > 1).flat_map(steps_of).collect()
}

/// The steps of a path: from each state that the kernel stood in to the next, and from the last to the target.
fn steps_of(path: &ObservedPath) -> Vec<Arc> {
    let stations: Vec<State> = path.through.iter().copied().chain([path.to]).collect();
    stations.windows(2).map(|pair| Arc { from: pair[0], to: pair[1] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fold::fold;
    use crate::report::sample::{self, journal};
    use State::*;

    fn with<T>(look: impl FnOnce(&Transitions<'_>) -> T) -> T {
        let names = ["fsm::running_to_stop_copy", "fsm::stop_copy_to_pre_copy", "fsm::stop_to_stop_copy"];
        let mut failed = sample::failed("SET STOP_COPY in RUNNING");
        failed.samples = vec![Sample::Arc { from: Stop, to: StopCopy, micros: 1.0 }];
        let mut events = vec![sample::began(&names), sample::ready()];
        for (name, outcome) in names.into_iter().zip([failed, sample::hung()]) {
            events.extend([sample::start(name), sample::finish(name, outcome)]);
        }
        let run = fold(&journal(events)).unwrap();
        look(&Transitions::of(&run).unwrap())
    }

    fn pair<'a>(all: &'a Transitions<'_>, from: State, to: State) -> &'a Pair<'a> {
        all.pairs.iter().find(|pair| (pair.from, pair.to) == (from, to)).unwrap()
    }

    #[test]
    fn every_pair_has_the_answer_that_the_oracle_wants() {
        with(|all| {
            assert_eq!(all.pairs.len(), 64);
            assert_eq!(pair(all, Stop, StopCopy).kind(), Kind::Arc);
            assert_eq!(pair(all, Running, StopCopy).kind(), Kind::Combination(3));
            assert_eq!(pair(all, StopCopy, PreCopy).kind(), Kind::Blocked);
            assert_eq!(pair(all, Stop, Stop).kind(), Kind::Stay);
            assert_eq!(pair(all, Stop, Error).kind(), Kind::Refused(Refusal::ErrorAsTarget));
            assert_eq!(all.arcs().count(), arcs(all.capabilities).len());
        });
    }

    #[test]
    fn what_the_kernel_took_inside_a_combination_is_told_apart() {
        with(|all| {
            let arc = pair(all, Stop, StopCopy);
            assert_eq!((arc.alone, arc.inside), (1, 1));
            let skipped = pair(all, RunningP2p, Stop);
            assert_eq!((skipped.alone, skipped.inside), (0, 0));
        });
    }

    #[test]
    fn a_pair_has_the_verdict_of_its_check() {
        with(|all| {
            let broken: Vec<_> = all.broken_combinations().map(|pair| (pair.from, pair.to)).collect();
            assert_eq!(broken, [(Running, StopCopy)]);
            assert_eq!(all.blocked().filter(|pair| pair.check.is_some()).count(), 1);
        });
    }

    #[test]
    fn each_pair_has_a_check_of_its_name() {
        let names: Vec<String> = crate::suites::all().iter().map(|check| check.name().to_owned()).collect();
        for from in State::ALL {
            for to in State::ALL {
                let name = format!("fsm::{from}_to_{to}").to_ascii_lowercase();
                assert!(names.contains(&name), "{name}");
            }
        }
    }
}
