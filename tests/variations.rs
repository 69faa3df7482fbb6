//! The proof that no check accuses what the protocol permits, as far as the model has the differences: all checks on a model with
//! each variation have no other findings than those that `fixtures/variations/model.toml` lists, and all of those.

mod devices;
mod in_process;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use vfio_conform::device::model::{self, ModelSpec};
use vfio_conform::fault::variations::Variation;
use vfio_conform::harness::check::Check;
use vfio_conform::harness::executor;
use vfio_conform::harness::verdict::Verdict;
use vfio_conform::suites;

use devices::outcomes_on;

/// Waiters that are not woken are waited for as long as in a run.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Much of each trial is waiting.
    arguments.test_threads.get_or_insert(4);
    let all = match Variation::of_model() {
        Ok(all) => all,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let checks = Arc::new(suites::all());
    let mut trials: Vec<Trial> = all.into_iter().map(|one| trial_of(one, Arc::clone(&checks))).collect();
    trials.push(Trial::test("memory_that_others_take_once_is_a_note", memory_that_others_take_once_is_a_note));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial_of(variation: Variation, checks: Arc<Vec<Check>>) -> Trial {
    Trial::test(variation.name.clone(), move || {
        let known = model::Variation::from_name(&variation.name).ok_or("the model does not have it")?;
        let outcomes = outcomes_on(ModelSpec::varying(known), PATIENCE, &checks.iter().collect::<Vec<_>>());
        let accusations = variation.accusations(&outcomes);
        require(accusations.is_empty(), || format!("accused of what is permitted: {accusations:#?}"))?;
        let missing = variation.missing(&outcomes);
        require(missing.is_empty(), || format!("listed and not found: {missing:?}"))
    })
}

/// The second measurement counts, and the first one is in the evidence.
fn memory_that_others_take_once_is_a_note() -> Result<(), Failed> {
    let checks = suites::all();
    let check = checks.iter().find(|check| check.name() == "wear::sessions_of_stop_copy").ok_or("no such check")?;
    let spec = ModelSpec::varying(model::Variation::OthersTakeMemory);
    let outcome = executor::run(&mut in_process::bench(spec, PATIENCE), Some(check)).outcome;
    require(outcome.verdict == Verdict::Pass, || format!("{}: {}", outcome.verdict, outcome.message))?;
    let notes = outcome.evidence.notes;
    require(notes.iter().any(|note| note.starts_with("measured twice: first ")), || format!("{notes:?}"))
}

fn require(kept: bool, complaint: impl FnOnce() -> String) -> Result<(), Failed> {
    if kept { Ok(()) } else { Err(complaint().into()) }
}
