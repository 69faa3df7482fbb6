//! What is known of a device beside VFIO: its PCI ids, firmware, modules and IOMMU, as sysfs and devlink tell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sysfs::{self, Found, entries, file_name, link_name};
use crate::device::name::KernelName;

/// The modules that decide about migration beside the driver's own.
const VFIO_MODULES: [&str; 5] = ["vfio", "vfio_pci_core", "vfio_iommu_type1", "iommufd", "mdev"];

/// A device and what is around it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Of a PCI function.
    pub pci: Option<PciIds>,
    /// The version of its firmware, where it can be asked.
    pub firmware: Option<String>,
    /// The driver's module, which is first, and those of VFIO, as far as they are modules.
    pub modules: Vec<Module>,
    /// What stands between the device and memory.
    pub iommu: Option<Iommu>,
}

/// What a PCI function calls itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PciIds {
    /// `vendor:device`.
    pub id: String,
    /// `vendor:device` of the subsystem.
    pub subsystem: Option<String>,
    /// The revision, in two digits.
    pub revision: Option<String>,
    /// The class, in six digits.
    pub class: Option<String>,
}

/// A loaded module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The version that its author gave it, if any.
    pub version: Option<String>,
    /// The digest of its source, where the kernel is built to have it.
    pub srcversion: Option<String>,
    /// What its linker made of its code, which tells builds apart where nothing else does.
    pub build_id: Option<String>,
}

/// An IOMMU as a device meets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iommu {
    /// The group.
    pub group: u32,
    /// What the group's default domain does: `DMA`, `DMA-FQ`, `identity`.
    pub domain: Option<String>,
    /// The unit, as the kernel calls it: `dmar0`, `ivhd0`.
    pub unit: Option<String>,
}

impl Hardware {
    /// What is known of a device; nothing, if there is none of that name.
    pub fn of(name: &KernelName) -> Hardware {
        let Ok(found) = sysfs::find(name) else {
            return Hardware::default();
        };
        Hardware { pci: pci_ids(&found), firmware: firmware(&found), modules: modules(&found), iommu: iommu(&found) }
    }
}

fn pci_ids(found: &Found) -> Option<PciIds> {
    let subsystem = || {
        Some(format!("{}:{}", hex(&found.path.join("subsystem_vendor"))?, hex(&found.path.join("subsystem_device"))?))
    };
    Some(PciIds {
        id: found.pci_id()?,
        subsystem: subsystem(),
        revision: hex(&found.path.join("revision")),
        class: hex(&found.path.join("class")),
    })
}

fn modules(found: &Found) -> Vec<Module> {
    let own = found.path.join("driver/module").canonicalize().ok();
    let others = VFIO_MODULES.iter().map(|name| Path::new("/sys/module").join(name));
    // What is built into the kernel may have a folder too, but no `initstate`.
    let is_module = |path: &PathBuf| path.join("initstate").exists();
    own.into_iter().chain(others).filter(is_module).map(|path| module(&path)).collect()
}

fn module(path: &Path) -> Module {
    Module {
        name: file_name(path),
        version: text(&path.join("version")),
        srcversion: text(&path.join("srcversion")),
        build_id: fs::read(path.join("notes/.note.gnu.build-id")).ok().as_deref().and_then(build_id),
    }
}

/// The id in an ELF note: three numbers of 32 bits (how long the name is, how long the id is, what kind it is), the name
/// `GNU` with its zero, the id.
fn build_id(note: &[u8]) -> Option<String> {
    let id = note.get(16..).filter(|id| !id.is_empty() && note.get(12..16) == Some(b"GNU\0"))?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn iommu(found: &Found) -> Option<Iommu> {
    let group = found.group?;
    let folder = Path::new("/sys/kernel/iommu_groups").join(group.to_string());
    Some(Iommu { group, domain: text(&folder.join("type")), unit: link_name(&found.path.join("iommu")) })
}

/// The firmware of a virtual function is that of its physical one, which is often the only one that can be asked.
fn firmware(found: &Found) -> Option<String> {
    let physical = found.path.join("physfn").canonicalize().ok();
    let mut functions = std::iter::once(found.path.clone()).chain(physical);
    functions.find_map(|function| firmware_in_sysfs(&function).or_else(|| firmware_by_devlink(&file_name(&function))))
}

fn firmware_in_sysfs(function: &Path) -> Option<String> {
    let rdma = function.join("infiniband");
    let of_rdma = entries(&rdma).into_iter().map(|name| rdma.join(name).join("fw_ver"));
    let own = ["fw_version", "firmware_version", "firmware_rev"].map(|name| function.join(name));
    of_rdma.chain(own).find_map(|path| text(&path))
}

/// Asks the kernel through iproute2's `devlink`, where it is installed.
fn firmware_by_devlink(address: &str) -> Option<String> {
    let mut command = Command::new("devlink");
    command.args(["-j", "dev", "info"]).arg(format!("pci/{address}"));
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    devlink_versions(&serde_json::from_slice(&output.stdout).ok()?)
}

/// The running version of what the kernel calls the firmware as a whole.
fn devlink_versions(told: &Value) -> Option<String> {
    let device = told.get("info")?.as_object()?.values().next()?;
    let running = device.pointer("/versions/running")?;
    let version = ["fw.version", "fw", "fw.mgmt"].iter().find_map(|name| running.get(name)?.as_str())?;
    Some(version.to_owned())
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn hex(path: &Path) -> Option<String> {
    text(path).map(|text| text.trim_start_matches("0x").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devlink_tells_the_firmware_that_runs() -> Result<(), Box<dyn std::error::Error>> {
        let told = r#"{"info":{"pci/0000:65:00.0":{"driver":"mlx5_core","versions":{"fixed":{"fw.psid":"MT_1"},
                       "running":{"fw.version":"28.39.1002","fw":"28.39.1002"},"stored":{"fw":"28.40.1000"}}}}}"#;
        assert_eq!(devlink_versions(&serde_json::from_str(told)?).as_deref(), Some("28.39.1002"));
        assert_eq!(devlink_versions(&serde_json::from_str("{\"info\":{}}")?), None);
        Ok(())
    }

    #[test]
    fn a_build_id_is_read_from_its_note() {
        let note = b"\x04\0\0\0\x03\0\0\0\x03\0\0\0GNU\0\xab\x01\xcd";
        assert_eq!(build_id(note).as_deref(), Some("ab01cd"));
        assert_eq!(build_id(&note[..16]), None);
        assert_eq!(build_id(b"nonsense"), None);
    }

    #[test]
    fn firmware_is_found_where_rdma_devices_tell_it() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let rdma = folder.path().join("infiniband/mlx5_0");
        fs::create_dir_all(&rdma)?;
        assert_eq!(firmware_in_sysfs(folder.path()), None);
        fs::write(rdma.join("fw_ver"), "28.39.1002\n")?;
        assert_eq!(firmware_in_sysfs(folder.path()).as_deref(), Some("28.39.1002"));
        Ok(())
    }
}
