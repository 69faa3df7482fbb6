//! The proof that checks can fail, as far as the model has the faults: each is found, and found as what it is.
//!
//! For each fault of the model, the checks that should notice it accuse what the catalogue says that it breaks, and nothing
//! else. A device that conforms is never accused. `vfio-conform faults run` does the same for all other places, and with
//! `--full` with all checks.

mod in_process;
mod program;

use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use vfio_conform::device::model::{self, ModelSpec};
use vfio_conform::fault::catalogue::{Catalogue, Fault, Place};
use vfio_conform::fault::judge::judge;
use vfio_conform::harness::check::Check;
use vfio_conform::harness::executor;
use vfio_conform::harness::outcome::Outcome;
use vfio_conform::harness::verdict::Verdict;
use vfio_conform::suites;
use vfio_conform::uapi::state::Capabilities;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Much of each trial is waiting.
    arguments.test_threads.get_or_insert(8);
    let checks = Arc::new(suites::all());
    let catalogue = match Catalogue::bundled(&checks) {
        Ok(catalogue) => catalogue,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let of_model = catalogue.faults.into_iter().filter(|fault| fault.place == Place::Model);
    let mut trials: Vec<Trial> = of_model.map(|fault| trial_of(fault, Arc::clone(&checks))).collect();
    trials.extend(Capabilities::ALL.map(|set| trial_of_conforming(set, Arc::clone(&checks))));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial_of(fault: Fault, checks: Arc<Vec<Check>>) -> Trial {
    Trial::test(fault.name.clone(), move || match fault.ends {
        None => is_found(&fault, &checks),
        Some(_) => is_found_by_the_program(&fault),
    })
}

fn is_found(fault: &Fault, checks: &[Check]) -> Result<(), Failed> {
    let known = model::Fault::from_name(&fault.name).ok_or("the model does not have it")?;
    let outcomes =
        outcomes_on(ModelSpec { capabilities: Some(fault.caps), fault: Some(known) }, &fault.noticed_by(checks));
    let finding = judge(fault, &outcomes);
    require(finding.is_right(), || format!("missed {:?}, blamed without cause {:?}", finding.missed, finding.blamed))
}

/// What hangs or crashes takes an executor with it, so it takes the whole program.
fn is_found_by_the_program(fault: &Fault) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut command = program::vfio_conform(folder.path());
    command.args(["faults", "run", "--only", &fault.id(), "--out", "out"]).stderr(Stdio::null());
    let output = command.output()?;
    require(output.status.success(), || String::from_utf8_lossy(&output.stdout).into_owned())
}

fn trial_of_conforming(set: Capabilities, checks: Arc<Vec<Check>>) -> Trial {
    Trial::test(format!("conforming_{set}"), move || {
        let all: Vec<&Check> = checks.iter().collect();
        for (check, outcome) in outcomes_on(ModelSpec::conforming(set), &all) {
            let accuses_nobody = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip);
            require(accuses_nobody, || format!("{}: {}: {}", check.name(), outcome.verdict, outcome.message))?;
        }
        Ok(())
    })
}

/// Runs checks in their order on one device, as an executor does.
fn outcomes_on<'a>(spec: ModelSpec, checks: &[&'a Check]) -> Vec<(&'a Check, Outcome)> {
    let mut bench = in_process::bench(spec);
    checks.iter().map(|check| (*check, executor::run(&mut bench, Some(check)).outcome)).collect()
}

fn require(kept: bool, complaint: impl FnOnce() -> String) -> Result<(), Failed> {
    if kept { Ok(()) } else { Err(complaint().into()) }
}
