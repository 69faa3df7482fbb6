//! The bundled PCI target: its device process on the host, and its driver's source for the guest.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::harness::stopwatch::Stopwatch;
use crate::uapi::process::die_with_parent;

use super::qemu::BootError;
use super::{LabError, local};

/// The name of the hidden subcommand that is the device.
pub const SUBCOMMAND: &str = "pci-target";
/// The driver that the function is bound to.
pub const DRIVER: &str = "vfio_conform_pci";
/// As many as anyone has asked for; each is a process and a slot.
pub const MOST_DEVICES: u8 = 8;

/// The driver's source is part of the program, as the environment's recipe is.
const SOURCE: [(&str, &str); 9] = [
    ("Makefile", include_str!("../../fixtures/driver/Makefile")),
    ("conform.h", include_str!("../../fixtures/driver/conform.h")),
    ("conform_regs.h", include_str!("../../fixtures/driver/conform_regs.h")),
    ("hw.c", include_str!("../../fixtures/driver/hw.c")),
    ("log.c", include_str!("../../fixtures/driver/log.c")),
    ("main.c", include_str!("../../fixtures/driver/main.c")),
    ("migration.c", include_str!("../../fixtures/driver/migration.c")),
    ("resume.c", include_str!("../../fixtures/driver/resume.c")),
    ("save.c", include_str!("../../fixtures/driver/save.c")),
];

/// The faults of the driver, each behind its module parameter `fault`.
const FAULTS: &str = include_str!("../../fixtures/faults/driver.patch");

/// The device listens as soon as it runs.
const LISTEN_BOUND: Duration = Duration::from_secs(10);

/// Beyond the slots of what else the guest has.
const FIRST_SLOT: u8 = 0x10;

/// Where a function is on the guest's first bus.
pub fn slot(index: u8) -> u8 {
    FIRST_SLOT + index
}

/// What the guest calls a function.
pub fn address(index: u8) -> String {
    format!("0000:00:{:02x}.0", slot(index))
}

/// Writes the driver's source to a folder that kbuild can build.
///
/// # Errors
/// Why it cannot be written.
pub fn write_driver(folder: &Path) -> Result<(), LabError> {
    let failed = |error| LabError::failed("write the driver's source", error);
    fs::create_dir_all(folder).map_err(failed)?;
    SOURCE.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text)).map_err(failed)
}

/// The names of the faults that the driver's patch has, as often as it asks for them.
#[cfg(test)]
pub fn fault_names() -> impl Iterator<Item = &'static str> {
    FAULTS.split("conform_fault(\"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(name, _)| name)
}

/// Writes the driver's source with the faults in it, of which none is switched on.
///
/// # Errors
/// Why it cannot be written, or why the faults do not fit into the driver.
pub fn write_faulty_driver(folder: &Path) -> Result<(), LabError> {
    write_driver(folder)?;
    for (name, patch) in by_file(FAULTS) {
        let path = folder.join(name);
        let failed = |why: String| LabError::failed(&format!("put the faults into {name}"), why);
        let patch = diffy::Patch::from_str(patch).map_err(|error| failed(error.to_string()))?;
        let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let faulty = diffy::apply(&text, &patch).map_err(|error| failed(error.to_string()))?;
        fs::write(&path, faulty).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// The parts of a patch, each with the name of the file that it is for.
fn by_file(patch: &str) -> impl Iterator<Item = (&str, &str)> {
    let heads: Vec<usize> = patch.match_indices("--- a/").map(|(at, _)| at).collect();
    let ends = heads.iter().copied().skip(1).chain([patch.len()]).collect::<Vec<_>>();
    heads.into_iter().zip(ends).filter_map(|(from, to)| {
        let part = &patch[from..to];
        let name = part.strip_prefix("--- a/")?.lines().next()?;
        Some((name, part))
    })
}

/// A device process. Dropping it ends it.
pub struct PciTarget {
    child: Child,
    errors: PathBuf,
}

impl PciTarget {
    /// Starts a device, and waits until QEMU can connect to it.
    ///
    /// # Errors
    /// Why it did not start.
    pub fn start(socket: &Path, memory: &str) -> Result<PciTarget, BootError> {
        let failed = |error: std::io::Error| LabError::failed("start the emulated device", error);
        // Left over from the guest before.
        let _ = fs::remove_file(socket);
        let errors = socket.with_extension("stderr");
        let mut command = Command::new(local::this_program().map_err(failed)?);
        command.arg(SUBCOMMAND).arg("--socket").arg(socket).args(["--memory", memory]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors).map_err(failed)?);
        let child = die_with_parent(&mut command).spawn().map_err(failed)?;
        let mut target = PciTarget { child, errors };
        let period = Duration::from_millis(5);
        let mut watch = Stopwatch::start([target.id()]);
        while !socket.exists() {
            if target.is_killed() {
                return Err(BootError::Killed(LabError(target.end())));
            }
            if target.has_ended() {
                return Err(LabError(target.end()).into());
            }
            if watch.ran() > LISTEN_BOUND || watch.is_stopped_for_good() {
                return Err(LabError::failed("start the emulated device", "it does not listen").into());
            }
            std::thread::sleep(period);
            watch.look(period);
        }
        Ok(target)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the device ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok()?
    }

    /// Whether the device is gone.
    pub fn has_ended(&mut self) -> bool {
        self.status().is_some()
    }

    /// Whether a signal ended it, which nothing of ours sends to it while its guest is needed.
    pub fn is_killed(&mut self) -> bool {
        self.status().is_some_and(|status| status.signal().is_some())
    }

    /// Why the device is gone, if it is and that is not because QEMU went away.
    pub fn failed(&mut self) -> Option<String> {
        self.status().filter(|status| !status.success()).map(|_| self.end())
    }

    /// How the device ended, in a sentence.
    pub fn end(&mut self) -> String {
        let status = self.status().map_or_else(|| "no status".to_owned(), |status| status.to_string());
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        format!("the emulated device ended ({status}) and said: {}", said.trim())
    }
}

impl Drop for PciTarget {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faults_fit_into_the_driver() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        write_faulty_driver(folder.path())?;
        assert_eq!(
            by_file(FAULTS).map(|(_, part)| part).collect::<String>(),
            FAULTS,
            "the patch has a part of no file"
        );
        let texts = SOURCE.iter().map(|(name, _)| fs::read_to_string(folder.path().join(name)));
        let faulty = texts.collect::<Result<String, _>>()?;
        assert!(fault_names().count() > 0 && fault_names().all(|name| faulty.contains(&format!("\"{name}\""))));
        Ok(())
    }

    #[test]
    fn the_driver_itself_has_no_fault() {
        for (name, text) in SOURCE.iter().filter(|(name, _)| *name != "conform_regs.h") {
            assert!(!text.contains("conform_fault") && !text.contains("CTL_FAULT"), "{name}");
        }
    }

    #[test]
    fn the_whole_driver_is_carried() -> std::io::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/driver");
        let names: Vec<_> = SOURCE.iter().map(|(name, _)| *name).collect();
        for file in fs::read_dir(folder)? {
            let name = file?.file_name();
            let name = name.to_string_lossy();
            let is_source = name.ends_with(".c") || name.ends_with(".h") || name == "Makefile";
            assert!(!is_source || names.contains(&&*name) || name.ends_with(".mod.c"), "{name} is not carried");
        }
        Ok(())
    }
}
