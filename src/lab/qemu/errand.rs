//! A guest with the bundled PCI target that does one thing and powers off.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::harness::wire::Reply;
use crate::lab::environment::{Environment, ModuleOptions, Modules};
use crate::lab::initramfs::{self, GuestPlan, PLAIN};
use crate::lab::scratch::Scratch;
use crate::lab::{LabError, Progress, pci};
use crate::probe::Probe;

use super::vm::{INITRAMFS, Machine, PciDevices, Vm};
use super::{BOOT_BOUND, OPEN_BOUND, QemuOptions, SILENT, Target, accelerator};

/// Room for a stream of 512 MiB beside everything else.
const MEMORY: &str = "2G";
/// Hundreds of MiB several times over, on a machine that does something else too.
const BOUND: Duration = Duration::from_secs(480);

/// What the guest does.
#[derive(Debug, Clone, Copy)]
pub enum Errand<'a> {
    /// It brings the target up and looks at one thing of it.
    Probe {
        /// What to look at.
        probe: Probe,
        /// A program to compare with.
        plain: Option<&'a Path>,
    },
    /// It loads no module and binds nothing, but runs the shell script `script` of this folder, whose files are put into
    /// its root: a host as its user finds it.
    Script(&'a Path),
}

impl Errand<'_> {
    /// The modules that the guest's init loads.
    fn modules(self, options: &QemuOptions, environment: &mut Environment<'_>) -> Result<Modules, LabError> {
        if let Errand::Script(_) = self {
            return Ok(Modules { files: Vec::new() });
        }
        let folder = Scratch::new()?;
        let driver = folder.path().join("driver");
        pci::write_driver(&driver)?;
        let module_options =
            ModuleOptions { driver: Some(driver), extra: options.extra.clone(), ..ModuleOptions::default() };
        Ok(environment.modules(&options.kernel, &Target::Pci.to_string(), &module_options)?)
    }

    fn plan(self, modules: &Modules) -> GuestPlan {
        match self {
            Errand::Probe { probe, plain } => {
                GuestPlan::Probe { modules: modules.names(), probe, has_plain: plain.is_some() }
            }
            Errand::Script(_) => GuestPlan::Script,
        }
    }

    /// The files that the guest finds beside those that every guest has: where, and what.
    fn files(self) -> Result<Vec<(PathBuf, PathBuf)>, LabError> {
        match self {
            Errand::Probe { plain, .. } => {
                Ok(plain.map(|program| (PLAIN.into(), program.to_owned())).into_iter().collect())
            }
            Errand::Script(root) => {
                let failed = |error| LabError::failed(&format!("read {}", root.display()), error);
                let mut files = Vec::new();
                collect(root, Path::new("/"), &mut files).map_err(failed)?;
                Ok(files)
            }
        }
    }
}

/// The files below a folder, each with the name that it has in the guest.
fn collect(folder: &Path, name: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = name.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), &name, files)?,
            false => files.push((name, entry.path())),
        }
    }
    Ok(())
}

/// Boots a guest with the bundled PCI target, and returns what came of its errand.
///
/// # Errors
/// Why nothing did.
pub fn run(options: &QemuOptions, errand: Errand<'_>) -> Result<Value, LabError> {
    let progress = Progress::new();
    let mut tell = |step: &str| progress.step(step);
    let mut environment = Environment::new(&mut tell);
    let qemu = environment.qemu()?;
    let kernel = environment.kernel(&options.kernel)?;
    let modules = errand.modules(options, &mut environment)?;
    let folder = Scratch::new()?;
    initramfs::write_with(&folder.path().join(INITRAMFS), &modules, &errand.plan(&modules), &errand.files()?)?;
    let machine = Machine {
        append: options.words(),
        pci: Some(PciDevices { count: 1, memory: options.device_memory.clone() }),
        ..Machine::plain(qemu, &kernel.image, folder.path(), MEMORY)
    };
    let (mut vm, _) = accelerator::start_on(options.accel, BOOT_BOUND, |accelerator, bound| {
        progress.step(&format!("booting {} under {accelerator}", kernel.release));
        Vm::boot(&machine, accelerator.name(), bound, || progress.step(SILENT))
    })?;
    progress.step("waiting for the guest");
    match vm.receive(OPEN_BOUND + BOUND) {
        Ok(Reply::Probed(seen)) => seen.map_err(|why| LabError(vm.device_end().unwrap_or(why))),
        other => Err(vm.explain("have the guest do its errand", other)),
    }
}
