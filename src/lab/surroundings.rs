//! Where a run is: the kernel, its configuration, and the hardware around the device. What a certificate says about it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::device::{DeviceName, Hardware};

/// Where a run is, as far as it can be asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surroundings {
    /// The kernel.
    pub kernel: KernelBuild,
    /// What is known of the device beside VFIO; `None` for the model, which is in no kernel.
    pub hardware: Option<Hardware>,
    /// Where the kernel's configuration can be read on this machine.
    #[serde(skip)]
    pub configuration: Option<PathBuf>,
}

/// Which kernel it is, as `uname` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelBuild {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `uname -m`.
    pub machine: String,
    /// What it was started with, as far as it is about PCI, IOMMU or VFIO; the rest may be nobody's business.
    pub command_line: String,
}

impl Surroundings {
    /// Where a device of the kernel that we run on is.
    pub fn of(device: &DeviceName) -> Surroundings {
        let kernel = KernelBuild::running();
        let (hardware, configuration) = match device {
            DeviceName::Model(_) => (None, None),
            DeviceName::Kernel(name) => (Some(Hardware::of(name)), configuration(&kernel.release)),
        };
        Surroundings { kernel, hardware, configuration }
    }
}

impl KernelBuild {
    /// The kernel that we run on.
    fn running() -> KernelBuild {
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        let command_line = about_devices(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
        match nix::sys::utsname::uname() {
            Ok(name) => KernelBuild {
                release: text(name.release()),
                version: text(name.version()),
                machine: text(name.machine()),
                command_line,
            },
            Err(_) => KernelBuild { command_line, ..KernelBuild::default() },
        }
    }
}

fn about_devices(command_line: &str) -> String {
    let is_about = |word: &&str| ["iommu", "vfio", "pci"].iter().any(|part| word.contains(part));
    let words: Vec<&str> = command_line.split_whitespace().filter(is_about).collect();
    words.join(" ")
}

/// Where the running kernel's configuration is: the kernel's own word before that of a file that somebody put there.
fn configuration(release: &str) -> Option<PathBuf> {
    let places = [PathBuf::from("/proc/config.gz"), Path::new("/boot").join(format!("config-{release}"))];
    places.into_iter().find(|path| fs::File::open(path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_command_line_only_devices_are_told() {
        let words = "BOOT_IMAGE=/vmlinuz root=UUID=1 token=secret intel_iommu=on iommu=pt vfio-pci.ids=1:2\n";
        assert_eq!(about_devices(words), "intel_iommu=on iommu=pt vfio-pci.ids=1:2");
    }
}
