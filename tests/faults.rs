//! The proof that checks can fail, as far as the model has the faults: each is found, and found as what it is.
//!
//! For each fault of the model, the checks that should notice it accuse what the catalogue says that it breaks, and nothing
//! else. That a device which conforms is never accused is what the chapters show. `vfio-conform faults run` does the same
//! for all other places, and with `--full` with all checks.

mod devices;
mod in_process;
mod program;
mod trials;

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use vfio_conform::device::model::{self, ModelSpec};
use vfio_conform::fault::catalogue::{Catalogue, Fault, Place};
use vfio_conform::fault::judge::judge;
use vfio_conform::harness::check::Check;
use vfio_conform::suites;

use devices::outcomes_on;
use trials::{Retries, Try};

/// A sleeper that nobody wakes is given up after this: the model wakes one within a millisecond.
const PATIENCE: Duration = Duration::from_millis(400);
/// Only a fault that was missed is tried again. A requirement that is blamed without cause is wrong at once.
const RETRIES: Retries = Retries {
    tries: 3,
    since: "a machine that is busy may hide a race",
    a_miss_means: "the checks do not find this fault",
};

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
    let trials = of_model.map(|fault| trial_of(fault, Arc::clone(&checks))).collect();
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
    let spec = ModelSpec { capabilities: fault.capabilities(), ..ModelSpec::faulty(known) };
    let found = RETRIES.run(&fault.name, || {
        let finding = judge(fault, &outcomes_on(spec, PATIENCE, &fault.noticed_by(checks)), &[]);
        let told = || format!("missed {:?}, blamed without cause {:?}", finding.missed, finding.blamed);
        Ok(match (finding.is_right(), finding.blamed.is_empty()) {
            (true, _) => Try::Right(()),
            (false, true) => Try::Missed(told()),
            (false, false) => Try::Wrong(told()),
        })
    });
    found.map_err(|why| why.to_string().into())
}

/// What hangs or crashes takes an executor with it, so it takes the whole program.
fn is_found_by_the_program(fault: &Fault) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut command = program::vfio_conform(folder.path());
    command.args(["faults", "run", "--only", &fault.id(), "--out", "out"]).stderr(Stdio::null());
    let output = command.output()?;
    require(output.status.success(), || String::from_utf8_lossy(&output.stdout).into_owned())
}

fn require(kept: bool, complaint: impl FnOnce() -> String) -> Result<(), Failed> {
    if kept { Ok(()) } else { Err(complaint().into()) }
}
