//! Who is named by a check that cannot judge: on every model with a fault, the requirement that the fault breaks, or one
//! that follows from it, and on no model anything that the check does not declare.
//!
//! Each trial runs all checks on one fault of the model, in this process. `cargo test --test faults` runs only the checks
//! that should notice a fault.

mod devices;
mod in_process;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use vfio_conform::device::model::{self, ModelSpec};
use vfio_conform::fault::catalogue::{Catalogue, Fault, Place};
use vfio_conform::harness::check::{Check, Environment};
use vfio_conform::harness::outcome::Outcome;
use vfio_conform::harness::verdict::Verdict;
use vfio_conform::suites;

use devices::outcomes_on;

/// A sleeper that nothing wakes is abandoned after this: the model wakes one within a millisecond.
const PATIENCE: Duration = Duration::from_millis(400);
/// So often a fault is tried of which something is complained. On a busy machine a thread of one check may live into the
/// next one, which never happens twice; what is complained of each time is a defect.
const TRIES: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Much of each trial is waiting.
    arguments.test_threads.get_or_insert(4);
    let checks = Arc::new(suites::all());
    let catalogue = match Catalogue::bundled(&checks) {
        Ok(catalogue) => catalogue,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    // What hangs or crashes takes its process with it; those faults are tried by the program, in tests/faults.rs.
    let of_model = catalogue.faults.into_iter().filter(|fault| fault.place == Place::Model && fault.ends.is_none());
    let trials = of_model.map(|fault| {
        let checks = Arc::clone(&checks);
        Trial::test(fault.name.clone(), move || blocks_rightly(&fault, &checks))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn blocks_rightly(fault: &Fault, checks: &[Check]) -> Result<(), Failed> {
    let known = model::Fault::from_name(&fault.name).ok_or("the model does not have it")?;
    let spec = ModelSpec { capabilities: fault.capabilities(), fault: Some(known), ..ModelSpec::default() };
    let mut complaints = BTreeMap::new();
    for _ in 0..TRIES {
        complaints = complaints_on(spec, fault, checks);
        if complaints.is_empty() {
            return Ok(());
        }
    }
    Err(format!("{complaints:#?}").into())
}

/// Each complaint, with the checks and what they said.
fn complaints_on(spec: ModelSpec, fault: &Fault, checks: &[Check]) -> BTreeMap<String, Vec<String>> {
    let mut complaints: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (check, outcome) in outcomes_on(spec, PATIENCE, &checks.iter().collect::<Vec<_>>()) {
        for complaint in complaints_about(fault, check, &outcome) {
            complaints.entry(complaint).or_default().push(format!("{}: {}", check.name(), outcome.message));
        }
    }
    complaints
}

fn complaints_about(fault: &Fault, check: &Check, outcome: &Outcome) -> Vec<String> {
    let mut complaints = Vec::new();
    let declares = |id: &String| check.requirements().iter().any(|requirement| requirement.id == id);
    let is_of_fault = |id: &String| fault.breaks.contains(id) || fault.follows.contains_key(id);
    let accused = || outcome.broken.iter().map(|broken| &broken.requirement).filter(|_| !check.may_accuse_any());
    let judged = outcome.proven.iter().chain(accused());
    complaints.extend(judged.filter(|id| !declares(id)).map(|id| format!("{id} is judged and not declared")));
    let accused = outcome.broken.iter().map(|broken| &broken.requirement);
    complaints.extend(accused.filter(|id| !is_of_fault(id)).map(|id| format!("{id} is accused")));
    if outcome.verdict != Verdict::Blocked {
        return complaints;
    }
    if outcome.blocked_by_key.is_some() {
        return complaints;
    }
    match (&outcome.blocked_by, outcome.hindered_by) {
        (Some(id), None) if is_of_fault(id) => {}
        (Some(id), None) => complaints.push(format!("{id} is named by a blocked check")),
        (None, Some(Environment::Resources | Environment::Timing)) => {}
        (None, Some(Environment::Defect)) => complaints.push("the check has a defect".to_owned()),
        _ => complaints.push("a blocked check names nothing".to_owned()),
    }
    complaints
}
