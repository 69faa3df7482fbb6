//! Makes the guest's initramfs: this program as init, the modules, and what the guest is to do.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, ModeFileType};
use serde::{Deserialize, Serialize};

use super::LabError;
use super::environment::Modules;
use super::qemu::Target;
use super::room::hint_if_full;
use crate::harness::keeper::ExecutorSpec;
use crate::probe::Probe;

/// Where the guest finds [`GuestPlan`].
pub const PLAN: &str = "/guest.json";
/// Where the guest finds its modules.
pub const MODULES: &str = "/modules";

/// Where a guest finds the program that its probe compares with.
pub const PLAIN: &str = "/plain";
/// Where a guest finds its script.
pub const SCRIPT: &str = "/script";

/// What the guest's init is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum GuestPlan {
    /// Power off at once.
    PowerOff,
    /// Bring the target up and run the checks that the host asks for.
    Check {
        /// The emulated device.
        target: Target,
        /// File names in [`MODULES`], in the order of loading.
        modules: Vec<String>,
        /// How to start the executor of each device.
        executors: Vec<ExecutorSpec>,
    },
    /// Bring the bundled PCI target up and look at one thing of it.
    Probe {
        /// File names in [`MODULES`], in the order of loading.
        modules: Vec<String>,
        /// What to look at.
        probe: Probe,
        /// Whether [`PLAIN`] is there.
        has_plain: bool,
    },
    /// Run [`SCRIPT`].
    Script,
}

/// Writes an initramfs to a file.
///
/// # Errors
/// Why it cannot be made.
pub fn write(path: &Path, modules: &Modules, plan: &GuestPlan) -> Result<(), LabError> {
    write_with(path, modules, plan, &[])
}

/// Writes an initramfs that also holds these files, each named where it is to be and where it is.
///
/// # Errors
/// Why it cannot be made.
pub fn write_with(
    path: &Path,
    modules: &Modules,
    plan: &GuestPlan,
    files: &[(PathBuf, PathBuf)],
) -> Result<(), LabError> {
    let failed = |error: std::io::Error| {
        let full = path.parent().map(hint_if_full).unwrap_or_default();
        LabError::failed("make the initramfs", format!("{error}{full}"))
    };
    let program = super::local::this_program().and_then(fs::read).map_err(failed)?;
    if is_dynamic(&program) {
        return Err(LabError::failed(
            "make the initramfs",
            "this vfio-conform is linked to shared libraries, which a guest does not have; build it in the project's \
             folder, whose .cargo/config.toml links it statically",
        ));
    }
    let file = fs::File::create(path).map_err(failed)?;
    let mut archive = Archive { out: BufWriter::new(file), next: 1, folders: BTreeSet::new() };
    for folder in ["dev", "proc", "sys", "tmp", "modules"] {
        archive.folder(Path::new(folder)).map_err(failed)?;
    }
    archive.console().map_err(failed)?;
    archive.file("init", 0o755, &program).map_err(failed)?;
    let plan = serde_json::to_vec(plan).map_err(|error| failed(error.into()))?;
    archive.file(PLAN, 0o644, &plan).map_err(failed)?;
    for (name, file) in files {
        archive.copy(name, file).map_err(failed)?;
    }
    for module in &modules.files {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let bytes = fs::read(module).map_err(failed)?;
        archive.file(&format!("{MODULES}/{name}"), 0o644, &bytes).map_err(failed)?;
    }
    archive.finish().map_err(failed)
}

struct Archive<W: Write> {
    out: W,
    next: u32,
    folders: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    fn entry(&mut self, name: &str, mode: u32) -> Builder {
        self.next += 1;
        Builder::new(name.trim_start_matches('/')).ino(self.next).nlink(1).mode(mode)
    }

    fn folder(&mut self, path: &Path) -> std::io::Result<()> {
        if !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        let entry = self.entry(&path.to_string_lossy(), 0o755).set_mode_file_type(ModeFileType::Directory);
        entry.write(&mut self.out, 0).finish().map(drop)
    }

    /// Puts a file with its mode there, and the folders that it is in.
    fn copy(&mut self, name: &Path, file: &Path) -> std::io::Result<()> {
        let name = name.strip_prefix("/").unwrap_or(name);
        let folders: Vec<&Path> = name.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
        folders.into_iter().rev().try_for_each(|folder| self.folder(folder))?;
        let mode = fs::metadata(file)?.permissions().mode() & 0o777;
        self.file(&name.to_string_lossy(), mode, &fs::read(file)?)
    }

    /// The kernel opens it for its init's standard output.
    fn console(&mut self) -> std::io::Result<()> {
        let entry = self.entry("dev/console", 0o600).set_mode_file_type(ModeFileType::Char).rdev_major(5).rdev_minor(1);
        entry.write(&mut self.out, 0).finish().map(drop)
    }

    fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
        let size =
            u32::try_from(bytes.len()).map_err(|_| std::io::Error::other(format!("{name} is larger than 4 GiB")))?;
        let entry = self.entry(name, mode).set_mode_file_type(ModeFileType::Regular);
        let mut writer = entry.write(&mut self.out, size);
        writer.write_all(bytes)?;
        writer.finish().map(drop)
    }

    fn finish(mut self) -> std::io::Result<()> {
        cpio::newc::trailer(&mut self.out)?;
        self.out.flush()
    }
}

/// Whether an ELF program names an interpreter, so that it needs shared libraries.
fn is_dynamic(program: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, bytes: usize| {
        let slice = program.get(at..at + bytes)?;
        Some(slice.iter().rev().fold(0u64, |value, byte| (value << 8) | u64::from(*byte)))
    };
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return false;
    };
    (0..count).any(|index| number((table + index * size) as usize, 4) == Some(u64::from(INTERPRETER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_can_be_read_back() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let module = folder.path().join("vfio.ko");
        fs::write(&module, b"module")?;
        let path = folder.path().join("initramfs");
        let files = ["/bin/sh", "/usr/lib/a", "/usr/lib/b", "/tmp/c"].map(|name| (name.into(), module.clone()));
        write_with(&path, &Modules { files: vec![module.clone()] }, &GuestPlan::Script, &files)?;
        let mut names = Vec::new();
        let mut rest = fs::File::open(&path)?;
        loop {
            let reader = cpio::newc::Reader::new(rest)?;
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            rest = reader.finish()?;
        }
        assert!(names.contains(&"init".to_owned()), "{names:?}");
        assert!(names.contains(&"modules/vfio.ko".to_owned()), "{names:?}");
        // The kernel unpacks a file only where its folder is there already.
        let added: Vec<&str> = names.iter().map(String::as_str).skip_while(|name| *name != "bin").take(7).collect();
        assert_eq!(added, ["bin", "bin/sh", "usr", "usr/lib", "usr/lib/a", "usr/lib/b", "tmp/c"]);
        Ok(())
    }
}
