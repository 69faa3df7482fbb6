//! The floor that run times are compared with.

use std::fmt;
use std::time::Instant;

use super::vm::{INITRAMFS, Machine, Vm, boot_patiently};
use super::{BOOT_BOUND, GUEST_MEMORY, QemuOptions, SILENT, accelerator};
use crate::lab::environment::{Environment, Modules};
use crate::lab::initramfs::{self, GuestPlan};
use crate::lab::scratch::Scratch;
use crate::lab::{LabError, Progress};

/// What a bare boot took.
#[derive(Debug, Clone, PartialEq)]
pub struct Bare {
    /// The kernel's release.
    pub kernel: String,
    /// How the processors were made.
    pub accelerator: &'static str,
    /// From power-on to power-off.
    pub seconds: f64,
}

impl fmt::Display for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bare { kernel, accelerator, seconds } = self;
        write!(f, "bare boot of {kernel} under {accelerator}: {seconds:.2} s from power-on to power-off")
    }
}

/// Boots a guest that powers off at once: the floor that run times are compared with.
///
/// # Errors
/// Why the guest did not boot.
pub fn bare(options: &QemuOptions) -> Result<Bare, LabError> {
    let progress = Progress::new();
    let mut tell = |step: &str| progress.step(step);
    let mut environment = Environment::new(&mut tell);
    let qemu = environment.qemu()?;
    let kernel = environment.kernel(&options.kernel)?;
    let folder = Scratch::new()?;
    initramfs::write(&folder.path().join(INITRAMFS), &Modules { files: Vec::new() }, &GuestPlan::PowerOff)?;
    let machine =
        Machine { append: options.append.clone(), ..Machine::plain(qemu, &kernel.image, folder.path(), GUEST_MEMORY) };
    let (seconds, accelerator) = accelerator::start_on(options.accel, BOOT_BOUND, |accelerator, bound| {
        progress.step(&format!("booting {} under {accelerator}", kernel.release));
        let boot = |bound| {
            let began = Instant::now();
            Vm::start(&machine, accelerator.name())?.wait_for_end(bound)?;
            Ok(began.elapsed().as_secs_f64())
        };
        boot_patiently(bound, boot, || progress.step(SILENT))
    })?;
    Ok(Bare { kernel: kernel.release, accelerator: accelerator.name(), seconds })
}
