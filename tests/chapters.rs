//! Every check of every chapter on every conforming model, as trials named `<capability set>::<chapter>::<check>`.
//!
//! ```text
//! cargo test --test chapters                                      all of them
//! cargo test --test chapters -- stop_copy+p2p::fsm::              one chapter on one capability set
//! cargo nextest run --test chapters                               each in a process of its own
//! ```
//!
//! A check that does not apply to a set is ignored, with its reason. After a run of everything each check must have passed
//! somewhere: a check that is always skipped proves nothing.

mod in_process;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use vfio_conform::device::model::ModelSpec;
use vfio_conform::harness::bench::Host;
use vfio_conform::harness::check::Check;
use vfio_conform::harness::executor;
use vfio_conform::harness::outcome::Outcome;
use vfio_conform::harness::verdict::Verdict;
use vfio_conform::report::finding_text;
use vfio_conform::suites;
use vfio_conform::uapi::state::Capabilities;

/// How many checks go on at once: much of each is waiting.
const AT_ONCE: usize = 8;

/// The checks that have passed on some model.
type Passing = Arc<Mutex<BTreeSet<String>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let passing = Passing::default();
    let trials: Vec<Trial> = devices().flat_map(|spec| trials_on(spec, &passing)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.has_failed() || conclusion.num_filtered_out > 0 || arguments.list {
        return conclusion.exit_code();
    }
    every_check_passes_somewhere(&passing)
}

/// All models that keep the protocol, the one without migration included.
fn devices() -> impl Iterator<Item = ModelSpec> {
    let sets = Capabilities::ALL.into_iter().map(Some).chain([None]);
    sets.map(|capabilities| ModelSpec { capabilities, ..ModelSpec::default() })
}

fn trials_on(spec: ModelSpec, passing: &Passing) -> Vec<Trial> {
    let trial = |check: Check| {
        let name = format!("{spec}::{}", check.name());
        let passing = Arc::clone(passing);
        Trial::ignorable_test(name, move || {
            let outcome = executor::run(&mut in_process::bench(spec, Host::PATIENCE), Some(&check)).outcome;
            if outcome.verdict == Verdict::Pass {
                passing.lock().unwrap_or_else(PoisonError::into_inner).insert(check.name().to_owned());
            }
            completion(&outcome)
        })
    };
    suites::all().into_iter().map(trial).collect()
}

/// On a device that conforms a broken should is a defect of the check too.
fn completion(outcome: &Outcome) -> Result<Completion, Failed> {
    match outcome.verdict {
        Verdict::Pass => Ok(Completion::Completed),
        Verdict::Skip => Ok(Completion::ignored_with(&outcome.message)),
        _ => Err(finding_text(outcome).into()),
    }
}

fn every_check_passes_somewhere(passing: &Passing) -> ExitCode {
    let passing = passing.lock().unwrap_or_else(PoisonError::into_inner);
    let suites = suites::all();
    let idle: Vec<&str> = suites.iter().map(Check::name).filter(|name| !passing.contains(*name)).collect();
    for name in &idle {
        eprintln!("{name} passes on no model");
    }
    if idle.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
