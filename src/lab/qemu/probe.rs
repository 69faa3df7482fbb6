//! A guest that looks at one thing of the bundled PCI target and powers off.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::wire::Reply;
use crate::lab::environment::{Environment, ModuleOptions};
use crate::lab::initramfs::{self, GuestPlan};
use crate::lab::{LabError, Progress, pci};
use crate::probe::Probe;

use super::vm::{Machine, PciDevices, Vm, boot_patiently};
use super::{BOOT_BOUND, OPEN_BOUND, QemuOptions, SILENT, Target, accelerator, scratch};

/// Room for a stream of 512 MiB beside everything else.
const MEMORY: &str = "2G";
/// Hundreds of MiB several times over, on a machine that does something else too.
const BOUND: Duration = Duration::from_secs(480);

/// Boots a guest with the bundled PCI target, and returns what the probe saw there.
///
/// # Errors
/// Why it saw nothing.
pub fn probe(options: &QemuOptions, probe: Probe, plain_read: Option<&Path>) -> Result<Value, LabError> {
    let progress = Progress::new();
    let mut tell = |step: &str| progress.step(step);
    let mut environment = Environment::new(&mut tell);
    let qemu = environment.qemu()?;
    let kernel = environment.kernel(&options.kernel)?;
    let folder = scratch()?;
    let driver = folder.path().join("driver");
    pci::write_driver(&driver)?;
    let module_options =
        ModuleOptions { driver: Some(driver), extra: options.extra.clone(), ..ModuleOptions::default() };
    let modules = environment.modules(&options.kernel, &Target::Pci.to_string(), &module_options)?;
    let plan = GuestPlan::Probe { modules: modules.names(), probe, has_plain_read: plain_read.is_some() };
    let initramfs = folder.path().join("initramfs");
    initramfs::write_with(&initramfs, &modules, &plan, plain_read)?;
    let machine = Machine {
        qemu,
        image: kernel.image.clone(),
        initramfs,
        sockets: folder.path().to_owned(),
        console: folder.path().join("console.log"),
        append: options.words(),
        memory: MEMORY,
        pci: Some(PciDevices { count: 1, memory: options.device_memory.clone() }),
    };
    let (mut vm, _) = accelerator::start_on(options.accel, BOOT_BOUND, |accelerator, bound| {
        progress.step(&format!("booting {} under {accelerator}", kernel.release));
        let boot = |bound| {
            let mut vm = Vm::start(&machine, accelerator.name())?;
            vm.wait_until_up(bound)?;
            Ok(vm)
        };
        boot_patiently(bound, boot, || progress.step(SILENT))
    })?;
    progress.step("looking at the device");
    match vm.receive(OPEN_BOUND + BOUND) {
        Ok(Reply::Probed(seen)) => seen.map_err(|why| LabError(vm.device_end().unwrap_or(why))),
        other => Err(vm.explain("look at the device in the guest", other)),
    }
}
