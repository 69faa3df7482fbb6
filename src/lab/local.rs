//! The local lab: this host, with a device that is already bound to its variant driver, or the model.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::device::DeviceName;
use crate::harness::incident::Incident;
use crate::harness::journal::{LabReady, Stage};
use crate::harness::keeper::{ExecutorSpec, Keeper};
use crate::harness::stopwatch::Repeats;
use crate::harness::verdict::Verdict;
use crate::uapi::stop;

use super::{Answer, Lab, LabError, Surroundings, Watch};

/// Checks run on this host.
#[derive(Debug)]
pub struct LocalLab {
    device: DeviceName,
    keeper: Keeper,
}

impl LocalLab {
    /// A lab whose executor is this program. What the kernel says during checks is written to `console`.
    ///
    /// # Errors
    /// What stands in the way of starting an executor.
    pub fn new(spec: ExecutorSpec, console: &Path) -> Result<LocalLab, LabError> {
        let failed = |error: std::io::Error| LabError::failed("prepare the executor", error);
        // A run that is resumed has one already.
        let console = File::options().create(true).append(true).open(console).map_err(failed)?;
        let device = spec.device.parse().map_err(|error| LabError::failed("prepare the executor", error))?;
        let keeper = Keeper::new(this_program().map_err(failed)?, spec, Some(console)).map_err(failed)?;
        Ok(LocalLab { device, keeper })
    }
}

/// The running program itself, even if its file was replaced meanwhile.
///
/// # Errors
/// What the system answered.
pub fn this_program() -> std::io::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    match link.exists() {
        true => std::env::current_exe().map(|path| if path.exists() { path } else { link }),
        false => std::env::current_exe(),
    }
}

impl Lab for LocalLab {
    fn start(&mut self, watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        watch.stage(Stage::EnvironmentReady);
        watch.step("opening the device");
        let ready = self.keeper.start().map_err(LabError)?;
        watch.stage(Stage::DeviceReady);
        Ok(ready)
    }

    fn run(&mut self, check: &str) -> Answer {
        let mut repeats = Repeats::default();
        loop {
            let done = self.keeper.run(check);
            // What the kernel reported until then is a finding all the same.
            if self.keeper.was_stopped() && done.outcome.verdict == Verdict::Blocked {
                return Answer::Stopped;
            }
            let is_lost = done.lost.is_some();
            // Where a call is stuck in the kernel, nothing can be run again on this host.
            if is_lost && done.outcome.verdict == Verdict::Hang {
                return done.into();
            }
            if let Some(done) = repeats.take(done) {
                return done.into();
            }
            if stop::requested().is_some() {
                return Answer::Stopped;
            }
            if is_lost {
                self.keeper.stop();
            }
        }
    }

    fn recover(&mut self, _watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        self.keeper.start().map_err(LabError)
    }

    fn surroundings(&mut self) -> Surroundings {
        Surroundings::of(&self.device)
    }

    fn incidents(&mut self) -> Vec<Incident> {
        self.keeper.take_incidents()
    }

    fn stop(&mut self, _watch: &mut dyn Watch) {
        self.keeper.stop();
    }
}
