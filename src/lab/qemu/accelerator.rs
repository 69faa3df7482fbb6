//! KVM where it really works, TCG elsewhere. The device node alone proves nothing: some hosts have it and still stop
//! a guest at its first instructions. So KVM is tried once with a bound, and what came of it is remembered until the
//! host is booted again.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BootError, LabError};
use crate::lab::environment;
use crate::uapi::stop;

/// A guest under KVM says hello within a few seconds, or never.
const TRY_BOUND: Duration = Duration::from_secs(20);

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum AcceleratorChoice {
    /// KVM if it works, else TCG.
    Auto,
    /// KVM, or nothing.
    Kvm,
    /// TCG.
    Tcg,
}

/// What a guest runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// An emulated one.
    Tcg {
        /// Why not KVM; empty if nobody asked for it.
        why: String,
    },
}

impl Accelerator {
    /// QEMU's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg { .. } => "tcg",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Accelerator::Kvm => f.write_str("KVM"),
            Accelerator::Tcg { why } if why.is_empty() => f.write_str("TCG"),
            Accelerator::Tcg { why } => write!(f, "TCG (no KVM: {why})"),
        }
    }
}

/// What to do about it.
enum Choice {
    /// This one, whatever comes.
    Use(Accelerator),
    /// KVM with a bound, then TCG.
    TryKvm,
}

/// Starts a guest on what was asked for: on KVM if that works, which is found out and remembered, else on TCG.
///
/// `start` is given the accelerator and how long the guest may take, at most `bound`.
///
/// # Errors
/// Why the guest did not start on the last accelerator that was tried.
pub fn start_on<T>(
    asked: AcceleratorChoice,
    bound: Duration,
    mut start: impl FnMut(&Accelerator, Duration) -> Result<T, BootError>,
) -> Result<(T, Accelerator), BootError> {
    let accelerator = match choose(asked) {
        Choice::Use(accelerator) => accelerator,
        Choice::TryKvm => match start(&Accelerator::Kvm, TRY_BOUND) {
            Ok(started) => {
                remember(Ok(()));
                return Ok((started, Accelerator::Kvm));
            }
            // That says nothing of KVM.
            Err(BootError::Killed(error)) => return Err(BootError::Killed(error)),
            Err(error) if stop::requested().is_some() => return Err(error),
            Err(BootError::Silent(error) | BootError::Failed(error)) => {
                let why = why_not(&error);
                remember(Err(&why));
                Accelerator::Tcg { why }
            }
        },
    };
    start(&accelerator, bound).map(|started| (started, accelerator))
}

/// Decides by what was asked, what the host has, and what was seen before.
fn choose(asked: AcceleratorChoice) -> Choice {
    match asked {
        AcceleratorChoice::Kvm => return Choice::Use(Accelerator::Kvm),
        AcceleratorChoice::Tcg => return Choice::Use(Accelerator::Tcg { why: String::new() }),
        AcceleratorChoice::Auto => {}
    }
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        let why = format!("/dev/kvm cannot be opened: {error}");
        return Choice::Use(Accelerator::Tcg { why });
    }
    match memory().and_then(|path| fs::read_to_string(path).ok()).as_deref() {
        Some("works") => Choice::Use(Accelerator::Kvm),
        Some(why) => Choice::Use(Accelerator::Tcg { why: why.to_owned() }),
        None => Choice::TryKvm,
    }
}

/// Remembers what a try came to. A memory that cannot be written costs another try.
fn remember(tried: Result<(), &str>) {
    if let Some(path) = memory() {
        let _ = fs::write(path, tried.err().unwrap_or("works"));
    }
}

/// The first line of an error, as a reason.
fn why_not(error: &LabError) -> String {
    let line = error.0.lines().next().unwrap_or_default();
    line.split_once(": ").map_or(line, |(_, why)| why).to_owned()
}

fn memory() -> Option<PathBuf> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(environment::cache()?.join(format!("kvm-{}", boot.trim())))
}
