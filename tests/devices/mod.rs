//! Checks that several models share.

use std::thread;
use std::time::Duration;

use vfio_conform::device::model::ModelSpec;
use vfio_conform::harness::check::Check;
use vfio_conform::harness::executor;
use vfio_conform::harness::outcome::Outcome;

use crate::in_process;

/// How many models share the checks.
const DEVICES: usize = 10;

/// Runs checks on a few devices at once: a check that waits for what never comes holds up few others. A sleeper that
/// nothing wakes is abandoned after `patience`.
pub fn outcomes_on<'a>(spec: ModelSpec, patience: Duration, checks: &[&'a Check]) -> Vec<(&'a Check, Outcome)> {
    thread::scope(|scope| {
        let parts = checks.chunks(checks.len().div_ceil(DEVICES).max(1));
        let running: Vec<_> = parts.map(|part| scope.spawn(move || outcomes_on_one(spec, patience, part))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

/// Runs checks in their order, as an executor does.
fn outcomes_on_one<'a>(spec: ModelSpec, patience: Duration, checks: &[&'a Check]) -> Vec<(&'a Check, Outcome)> {
    let mut bench = in_process::bench(spec, patience);
    checks.iter().map(|check| (*check, executor::run(&mut bench, Some(check)).outcome)).collect()
}
