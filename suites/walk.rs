//! Random walks. A long one is `vfio-conform walk`; a short one is part of every run.
//!
//! What `walk` and `replay` ask for comes as the name of a check that is made on demand, so that deadlines, the watch of
//! the kernel log and all else that guards checks guards walks too.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::harness::bench::{Bench, Detail};
use crate::harness::check::{Check, Interruption, Judgement};
use crate::requirement::walk::*;
use crate::walk::{Operation, Symptom, Tried, Violation, plan, shorten};

/// The walk of every run. The same one each time, so that a finding comes again.
const SEED: u64 = 1;
/// Enough for every kind of operation, few enough for a second under emulation.
const STEPS: usize = 300;
/// How long the walk of every run is shortened if it fails: well below any deadline.
const SHORT: Duration = Duration::from_secs(2);
/// How long any other walk is shortened.
const LONG: Duration = Duration::from_secs(25);

/// The deadline that goes with a walk on demand.
pub const DEADLINE: Duration = Duration::from_secs(60);

const SEGMENT_NAME: &str = "walk::segment ";
const EVERYDAY_NAME: &str = "walk::everyday ";
const REPLAY_NAME: &str = "walk::replay ";
/// What an order begins with that says how long it may take, in milliseconds.
const WITHIN: &str = "within ";

/// What is asked of an executor that walks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The first steps of a segment of the walk with this seed. If it fails, it is shortened.
    Segment {
        /// The seed.
        seed: u64,
        /// Which segment.
        segment: u64,
        /// How many steps of it.
        steps: usize,
    },
    /// Those of its operations that any user makes.
    Everyday {
        /// The seed.
        seed: u64,
        /// Which segment.
        segment: u64,
    },
    /// These operations, as they are.
    Replay(Vec<Operation>),
    /// The same, for whoever knows how long they may take.
    ReplayWithin(Vec<Operation>, Duration),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Segment { seed, segment, steps } => write!(f, "{SEGMENT_NAME}{seed} {segment} {steps}"),
            Order::Everyday { seed, segment } => write!(f, "{EVERYDAY_NAME}{seed} {segment}"),
            Order::Replay(operations) => write!(f, "{REPLAY_NAME}{}", joined(operations)),
            Order::ReplayWithin(operations, bound) => {
                write!(f, "{REPLAY_NAME}{WITHIN}{};{}", bound.as_millis(), joined(operations))
            }
        }
    }
}

fn joined(operations: &[Operation]) -> String {
    let operations: Vec<String> = operations.iter().map(ToString::to_string).collect();
    operations.join(";")
}

fn split(operations: &str) -> Result<Vec<Operation>, String> {
    operations.split(';').map(str::parse).collect()
}

/// The bound of an order that has one, and what stands behind it.
fn bound(order: &str) -> Option<(Duration, &str)> {
    let (millis, operations) = order.strip_prefix(REPLAY_NAME)?.strip_prefix(WITHIN)?.split_once(';')?;
    Some((Duration::from_millis(millis.parse().ok()?), operations))
}

/// How long the walk of an order may take, if it says so.
pub fn bound_of(order: &str) -> Option<Duration> {
    bound(order).map(|(bound, _)| bound)
}

impl FromStr for Order {
    type Err = String;

    fn from_str(name: &str) -> Result<Order, String> {
        if let Some((bound, operations)) = bound(name) {
            return split(operations).map(|operations| Order::ReplayWithin(operations, bound));
        }
        if let Some(operations) = name.strip_prefix(REPLAY_NAME) {
            return split(operations).map(Order::Replay);
        }
        let is_everyday = name.starts_with(EVERYDAY_NAME);
        let numbers =
            name.strip_prefix(if is_everyday { EVERYDAY_NAME } else { SEGMENT_NAME }).ok_or("it is no walk")?;
        let numbers: Result<Vec<u64>, _> = numbers.split(' ').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([seed, segment]) if is_everyday => Ok(Order::Everyday { seed: *seed, segment: *segment }),
            Ok([seed, segment, steps]) if !is_everyday => {
                Ok(Order::Segment { seed: *seed, segment: *segment, steps: *steps as usize })
            }
            _ => Err("it is no segment".to_owned()),
        }
    }
}

pub(super) fn checks() -> Vec<Check> {
    vec![Check::new("walk::three_hundred_steps", &[&ALLOWED], three_hundred_steps).accusing_any()]
}

/// The check that an order stands for; `None` if the name is no order.
pub fn on_demand(name: &str) -> Option<Check> {
    let order: Order = name.parse().ok()?;
    Some(Check::new(name, &[&ALLOWED], move |bench| match &order {
        Order::Segment { seed, segment, steps } => walk_segment(bench, *seed, *segment, *steps, LONG),
        Order::Everyday { seed, segment } => walk_everyday(bench, *seed, *segment),
        Order::Replay(operations) | Order::ReplayWithin(operations, _) => replay(bench, operations),
    }))
}

fn three_hundred_steps(bench: &mut Bench) -> Judgement {
    walk_segment(bench, SEED, 0, STEPS, SHORT)
}

fn walk_segment(bench: &mut Bench, seed: u64, segment: u64, steps: usize, bound: Duration) -> Judgement {
    let mut operations = plan(bench.capabilities(), seed, segment);
    operations.truncate(steps);
    let walked = bench.walk(&operations, Detail::Begun)?;
    let Some(violation) = walked.violation else {
        return kept(bench, operations.len());
    };
    operations.truncate(walked.steps);
    bench.note(format!("found by a random walk, seed {seed}, segment {segment}, at step {}", walked.steps));
    accuse(bench, operations, violation, bound)
}

fn walk_everyday(bench: &mut Bench, seed: u64, segment: u64) -> Judgement {
    let mut operations = plan(bench.capabilities(), seed, segment);
    operations.retain(|operation| operation.is_everyday());
    let walked = bench.walk(&operations, Detail::Begun)?;
    match walked.violation {
        None => kept(bench, operations.len()),
        Some(violation) => broken(bench, violation),
    }
}

fn replay(bench: &mut Bench, operations: &[Operation]) -> Judgement {
    let walked = bench.walk(operations, Detail::Everything)?;
    match walked.violation {
        None => kept(bench, operations.len()),
        Some(violation) => broken(bench, violation),
    }
}

fn kept(bench: &mut Bench, steps: usize) -> Judgement {
    let asked = format!("a walk of {steps} steps");
    bench.judge(&ALLOWED, true, asked, "only answers that the protocol allows", "")
}

/// Says what is broken by the shortest list of operations that breaks it.
fn accuse(bench: &mut Bench, operations: Vec<Operation>, violation: Violation, bound: Duration) -> Judgement {
    let (whole, end) = (operations.len(), Instant::now() + bound);
    let shortened = shorten(operations, |operations| try_once(bench, operations, violation.symptom, end));
    bench.note(format!("{} of its {whole} steps matter ({} tries)", shortened.operations.len(), shortened.tries));
    if !shortened.fails_always {
        bench.note("it does not fail each time");
    }
    if !shortened.is_minimal {
        bench.note("there was no time to leave out more");
    }
    // Once more, with all that comes of each step.
    bench.forget_operations();
    let last = bench.walk(&shortened.operations, Detail::Everything)?;
    broken(bench, last.violation.or(shortened.finding).unwrap_or(violation))
}

fn broken(bench: &mut Bench, violation: Violation) -> Judgement {
    bench.judge(violation.requirement, false, violation.asked, violation.expected, violation.actual)?;
    Err(Interruption::Broken)
}

fn try_once(bench: &mut Bench, operations: &[Operation], symptom: Symptom, end: Instant) -> Tried<Violation> {
    if Instant::now() >= end {
        return Tried::NotTried;
    }
    match bench.walk(operations, Detail::Begun) {
        Err(_) => Tried::NotTried,
        Ok(walked) => match walked.violation.filter(|violation| violation.symptom == symptom) {
            Some(finding) => Tried::Fails { step: walked.steps - 1, finding },
            None => Tried::Passes,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_back() {
        let replay = Order::Replay(plan(crate::uapi::state::Capabilities::FULL, 5, 1));
        let operations = plan(crate::uapi::state::Capabilities::FULL, 5, 2);
        let bounded = Order::ReplayWithin(operations, Duration::from_millis(3500));
        assert_eq!(bound_of(&bounded.to_string()), Some(Duration::from_millis(3500)));
        assert_eq!(bound_of(&replay.to_string()), None);
        let segment = Order::Segment { seed: u64::MAX, segment: 3, steps: 17 };
        for order in [segment, Order::Everyday { seed: 7, segment: 3 }, replay, bounded] {
            assert_eq!(order.to_string().parse(), Ok(order.clone()));
            assert!(on_demand(&order.to_string()).is_some());
        }
        assert!(on_demand("walk::three_hundred_steps").is_none());
    }
}
