//! Probes: what the bundled PCI target is built to do, proven in a guest.
//!
//! They look at our own fixture and not at a device under test, so they are no checks: a probe opens the device, works its
//! registers, and prints what it saw as JSON, for a test on the host to judge.

mod dma;
mod pace;
mod registers;
mod streaming;
mod transcript;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device::{Device, DeviceName};
use crate::lab::pci;
use crate::uapi::Errno;

/// The name of the hidden subcommand that is a probe in a guest.
pub const SUBCOMMAND: &str = "probe";

/// What is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// How fast the whole of device memory is read and written, and whether it comes back.
    Streaming,
    /// Where DMA goes through the IOMMU, and where it faults.
    Dma,
    /// The same in one transfer, while the kernel logs it.
    DmaLogged,
    /// What a reset in the middle of a DMA transfer leaves behind.
    ResetUnderDma,
    /// What a walk costs above the calls that it makes.
    Pace,
}

/// What a probe in a guest is started with.
#[derive(Debug, Clone, clap::Args)]
pub struct ProbeArguments {
    /// What is to be seen
    #[arg(value_enum)]
    pub probe: Probe,
    /// The program of fixtures/plain to compare with
    #[arg(long)]
    pub plain: Option<PathBuf>,
}

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The device would not do something.
    #[error("failed to {what}: {errno}")]
    Device {
        /// What.
        what: String,
        /// The errno as it came.
        errno: Errno,
    },
    /// Anything else.
    #[error("failed to {what}: {why}")]
    Other {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
}

impl ProbeError {
    fn other(what: &str, why: impl std::fmt::Display) -> ProbeError {
        ProbeError::Other { what: what.to_owned(), why: why.to_string() }
    }
}

/// Says what failed where the kernel only gives an errno.
trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, ProbeError>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, what: &str) -> Result<T, ProbeError> {
        self.map_err(|errno| ProbeError::Device { what: what.to_owned(), errno })
    }
}

/// Runs a probe on the bundled target in this kernel, and returns what it saw.
///
/// # Errors
/// Why it saw nothing.
pub fn run(arguments: &ProbeArguments) -> Result<Value, ProbeError> {
    let device = open()?;
    let seen = match arguments.probe {
        Probe::Streaming => serde_json::to_value(streaming::run(device.as_ref(), arguments.plain.as_deref())?),
        Probe::Dma => serde_json::to_value(dma::run(device.as_ref())?),
        Probe::DmaLogged => serde_json::to_value(dma::run_logged(device.as_ref())?),
        Probe::ResetUnderDma => serde_json::to_value(dma::reset_under(device.as_ref())?),
        Probe::Pace => serde_json::to_value(pace::run(device, arguments.plain.as_deref())?),
    };
    seen.map_err(|error| ProbeError::other("tell what was seen", error))
}

fn open() -> Result<Box<dyn Device>, ProbeError> {
    let name: DeviceName = pci::address(0).parse().map_err(|error| ProbeError::other("name the device", error))?;
    crate::device::open(&name, None, None).map_err(|error| ProbeError::other("begin", error))
}
