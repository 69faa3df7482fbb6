//! The whole suite in one go, without libtest: for what is made of runs, where nobody filters and nobody reads along.

use super::{RunError, RunFolder, RunOptions, Supervisor, begin, plan_of};
use crate::lab::{Lab, Surroundings};
use crate::report;
use crate::suites;

/// A run of the whole suite, and where it was.
#[derive(Debug)]
pub struct Whole {
    /// The run.
    pub run: report::Run,
    /// Where it was.
    pub surroundings: Surroundings,
}

/// Runs every check in a lab, and makes the reports. `tell` is told before each check how many are over, and which comes
/// now.
///
/// # Errors
/// Why the run could not begin, or its reports not be made.
pub fn whole(
    options: &RunOptions,
    folder: &RunFolder,
    lab: Box<dyn Lab>,
    tell: &mut dyn FnMut(usize, &str),
) -> Result<Whole, RunError> {
    let planned = plan_of(&suites::all());
    let journal = begin(options, folder, &planned, Some(planned.len()))?;
    let mut supervisor = Supervisor::new(lab, journal, planned.len());
    let is_open = supervisor.start()?.is_some();
    let surroundings = supervisor.lab.surroundings();
    for (over, check) in planned.iter().enumerate().filter(|_| is_open) {
        tell(over, &check.name);
        if supervisor.run(&check.name).is_none() {
            break;
        }
    }
    Ok(Whole { run: supervisor.finish(folder)?, surroundings })
}
