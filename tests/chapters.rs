//! Every check of every chapter on every conforming model, as trials named `<capability set>::<chapter>::<check>`.
//!
//! ```text
//! cargo test --test chapters                                      all of them
//! cargo test --test chapters -- stop_copy+p2p::fsm::              one chapter on one capability set
//! cargo nextest run --test chapters                               each in a process of its own
//! ```
//!
//! A check that does not apply to a set is ignored, with its reason. One last trial makes sure that each check passes
//! somewhere: a check that is always skipped proves nothing.

mod in_process;

use std::collections::BTreeSet;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use vfio_conform::device::model::ModelSpec;
use vfio_conform::harness::check::Check;
use vfio_conform::harness::executor;
use vfio_conform::harness::outcome::Outcome;
use vfio_conform::harness::verdict::Verdict;
use vfio_conform::report::finding_text;
use vfio_conform::suites;
use vfio_conform::uapi::state::Capabilities;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = devices().flat_map(trials_on).collect();
    trials.push(Trial::test("every_check_passes_somewhere", every_check_passes_somewhere));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// All models that keep the protocol, the one without migration included.
fn devices() -> impl Iterator<Item = ModelSpec> {
    let sets = Capabilities::ALL.into_iter().map(Some).chain([None]);
    sets.map(|capabilities| ModelSpec { capabilities, fault: None })
}

fn trials_on(spec: ModelSpec) -> Vec<Trial> {
    let trial = |check: Check| {
        let name = format!("{spec}::{}", check.name());
        Trial::ignorable_test(name, move || completion(&outcome_on(spec, &check)))
    };
    suites::all().into_iter().map(trial).collect()
}

fn outcome_on(spec: ModelSpec, check: &Check) -> Outcome {
    executor::run(&mut in_process::bench(spec), Some(check)).outcome
}

/// On a device that conforms a broken should is a defect of the check too.
fn completion(outcome: &Outcome) -> Result<Completion, Failed> {
    match outcome.verdict {
        Verdict::Pass => Ok(Completion::Completed),
        Verdict::Skip => Ok(Completion::ignored_with(&outcome.message)),
        _ => Err(finding_text(outcome).into()),
    }
}

fn every_check_passes_somewhere() -> Result<(), Failed> {
    let passing = devices().flat_map(passing_on).collect::<BTreeSet<String>>();
    let mut wrong = String::new();
    for check in suites::all() {
        if !passing.contains(check.name()) {
            wrong += &format!("{} passes on no model\n", check.name());
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

fn passing_on(spec: ModelSpec) -> Vec<String> {
    let passes = |check: &Check| outcome_on(spec, check).verdict == Verdict::Pass;
    suites::all().into_iter().filter(passes).map(|check| check.name().to_owned()).collect()
}
