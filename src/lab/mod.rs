//! The place where a run happens: this host, or a guest that we boot.

pub mod environment;
pub mod guest;
pub mod initramfs;
pub mod local;
pub mod pci;
pub mod progress;
pub mod qemu;
mod room;
mod scratch;
pub mod surroundings;

use crate::harness::bench::Fix;
use crate::harness::check::Check;
use crate::harness::incident::Incident;
use crate::harness::journal::{LabReady, Stage};
use crate::harness::wire::Done;
use crate::suites;

pub use progress::Progress;
pub use surroundings::Surroundings;

/// A place where checks run.
pub trait Lab: Send {
    /// Prepares the lab and opens the device.
    ///
    /// # Errors
    /// Why no check can run.
    fn start(&mut self, watch: &mut dyn Watch) -> Result<LabReady, LabError>;

    /// Hears which checks will be asked for, in order, so that several devices can share them.
    fn announce(&mut self, _checks: Vec<Announced>) {}

    /// Runs one check, whatever becomes of the lab.
    fn run(&mut self, check: &str) -> Answer;

    /// Makes the lab usable again after a check that lost it.
    ///
    /// # Errors
    /// Why no further check can run.
    fn recover(&mut self, watch: &mut dyn Watch) -> Result<LabReady, LabError>;

    /// Where the run is, as far as it can be asked while the device is open.
    fn surroundings(&mut self) -> Surroundings;

    /// What went wrong while no check ran, since this was last asked.
    fn incidents(&mut self) -> Vec<Incident>;

    /// Puts everything away.
    fn stop(&mut self, watch: &mut dyn Watch);
}

/// A check that will be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// `chapter::check_name`.
    pub name: String,
    /// The fix without which it wedges the kernel, and all that runs beside it.
    pub hangs_without: Option<&'static Fix>,
    /// It mostly waits for what must not happen, so that something else can be done meanwhile.
    pub waits: bool,
}

impl From<&Check> for Announced {
    fn from(check: &Check) -> Announced {
        Announced {
            name: check.name().to_owned(),
            hangs_without: check.hangs_without(),
            waits: suites::waits(check.name()),
        }
    }
}

/// What a lab has to say of a check.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was run, and this came of it.
    Done(Box<Done>),
    /// The lab was lost for this reason while more than one check ran. It wants to be asked again once it is recovered.
    Again(String),
    /// This process was asked to stop, and the check was ended without a result.
    Stopped,
}

impl From<Done> for Answer {
    fn from(done: Done) -> Answer {
        Answer::Done(Box::new(done))
    }
}

/// Who is told what a lab does while it does it.
pub trait Watch {
    /// A part of the timeline is reached.
    fn stage(&mut self, stage: Stage);
    /// What is being done now, for people.
    fn step(&mut self, what: &str);
    /// A signal from outside ended the guest before its device was open. That says nothing of the kernel.
    fn guest_killed(&mut self) {}
}

/// Why a lab cannot run checks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LabError(pub String);

impl LabError {
    /// A sentence that begins with what failed: `failed to boot: ...`.
    pub fn failed(what: &str, why: impl std::fmt::Display) -> LabError {
        LabError(format!("failed to {what}: {why}"))
    }
}
