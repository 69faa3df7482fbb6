//! What sysfs tells about a device: where it is, what drives it, in which group it is.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::name::KernelName;
use super::super::{OpenError, OpenFailure};

const PCI_DEVICES: &str = "sys/bus/pci/devices";
const MDEV_DEVICES: &str = "sys/bus/mdev/devices";
const GROUPS: &str = "sys/kernel/iommu_groups";
const CDEVS: &str = "sys/class/vfio-dev";

/// Drivers that leave DMA alone, so that VFIO lets them share a group.
const HARMLESS_DRIVERS: [&str; 2] = ["pcieport", "pci-stub"];

/// A device as sysfs shows it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where the host's file system begins; `/` but in tests.
    pub root: PathBuf,
    /// The name that sysfs and `VFIO_GROUP_GET_DEVICE_FD` know it by.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// The driver that it is bound to.
    pub driver: Option<String>,
    /// Its IOMMU group.
    pub group: Option<u32>,
    /// Its name among the VFIO devices; there is one exactly if a VFIO driver drives it.
    pub vfio_dev: Option<String>,
}

/// Finds a device by what the user called it, in order to open it.
pub fn find(name: &KernelName) -> Result<Found, OpenError> {
    find_to_open(Path::new("/"), name)
}

/// The same, of a host whose file system begins there. A number is easily typed for something else, so the device of a
/// group is taken only if a VFIO driver has it.
pub(crate) fn find_to_open(root: &Path, name: &KernelName) -> Result<Found, OpenError> {
    let found = find_in(root, name)?;
    match name {
        KernelName::Group(group) if found.vfio_dev.is_none() => Err(OpenError {
            device: group.to_string(),
            why: OpenFailure::ForeignGroup(*group, found.name.clone(), found.driver.clone()),
            remedy: vec![
                "name a device by its address; vfio-conform doctor    # lists those that can be tested".to_owned(),
                format!("vfio-conform doctor {}    # shows what this one is, and who uses it", found.name),
            ],
        }),
        _ => Ok(found),
    }
}

/// The same, of a host whose file system begins there.
pub fn find_in(root: &Path, name: &KernelName) -> Result<Found, OpenError> {
    let path = match name {
        KernelName::Pci(address) => root.join(PCI_DEVICES).join(address),
        KernelName::Mdev(uuid) => root.join(MDEV_DEVICES).join(uuid),
        KernelName::Group(number) => only_device_of(root, *number)?,
        KernelName::Cdev(cdev) => root.join(CDEVS).join(cdev).join("device"),
    };
    let Ok(path) = path.canonicalize() else {
        return Err(absent(name));
    };
    Ok(Found::at(root.to_owned(), path))
}

fn absent(name: &KernelName) -> OpenError {
    let look = match name {
        KernelName::Pci(_) => "ls /sys/bus/pci/devices",
        KernelName::Mdev(_) => "ls /sys/bus/mdev/devices",
        KernelName::Group(_) => "ls /sys/kernel/iommu_groups",
        KernelName::Cdev(_) => "ls /sys/class/vfio-dev",
    };
    OpenError {
        device: name.to_string(),
        why: OpenFailure::NoSuchDevice,
        remedy: vec![format!("{look}    # shows those that there are")],
    }
}

fn only_device_of(root: &Path, group: u32) -> Result<PathBuf, OpenError> {
    let folder = root.join(GROUPS).join(group.to_string()).join("devices");
    let mut names = entries(&folder);
    match names.len() {
        0 => Err(absent(&KernelName::Group(group))),
        1 => Ok(folder.join(names.remove(0))),
        _ => Err(OpenError {
            device: format!("group {group}"),
            why: OpenFailure::Ambiguous(names.iter().map(|name| with_driver(&folder, name)).collect()),
            remedy: vec![format!("name the device instead: {}", names.join(" or "))],
        }),
    }
}

/// `0000:65:00.1 (mlx5_core)`.
fn with_driver(folder: &Path, name: &str) -> String {
    let driver = link_name(&folder.join(name).join("driver"));
    format!("{name} ({})", driver.as_deref().unwrap_or("no driver"))
}

impl Found {
    fn at(root: PathBuf, path: PathBuf) -> Found {
        Found {
            root,
            name: file_name(&path),
            driver: link_name(&path.join("driver")),
            group: link_name(&path.join("iommu_group")).and_then(|number| number.parse().ok()),
            vfio_dev: entries(&path.join("vfio-dev")).into_iter().next(),
            path,
        }
    }

    /// The same device as sysfs shows it now.
    ///
    /// # Errors
    /// That it is gone.
    pub fn again(&self) -> Result<Found, OpenError> {
        match self.path.exists() {
            true => Ok(Found::at(self.root.clone(), self.path.clone())),
            false => Err(self.failed(OpenFailure::NoSuchDevice)),
        }
    }

    /// The other devices of its group that a driver holds which is none of VFIO's and does DMA.
    pub fn foreign_neighbours(&self) -> Vec<String> {
        let Some(group) = self.group else {
            return Vec::new();
        };
        let folder = self.root.join(GROUPS).join(group.to_string()).join("devices");
        entries(&folder)
            .into_iter()
            .filter(|name| {
                let path = folder.join(name);
                let driver = link_name(&path.join("driver"));
                driver.is_some_and(|driver| !HARMLESS_DRIVERS.contains(&driver.as_str()))
                    && entries(&path.join("vfio-dev")).is_empty()
            })
            .collect()
    }

    /// `version` and `srcversion` of the driver's module, as far as they are there.
    pub fn driver_version(&self) -> Option<String> {
        let module = self.path.join("driver/module");
        let parts: Vec<String> = ["version", "srcversion"]
            .iter()
            .filter_map(|name| fs::read_to_string(module.join(name)).ok())
            .map(|text| text.trim().to_owned())
            .collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    /// `vendor:device` of a PCI function.
    pub fn pci_id(&self) -> Option<String> {
        let id = |name: &str| {
            let text = fs::read_to_string(self.path.join(name)).ok()?;
            Some(text.trim().trim_start_matches("0x").to_owned())
        };
        Some(format!("{}:{}", id("vendor")?, id("device")?))
    }

    /// Whether it is a PCI function.
    pub fn is_pci(&self) -> bool {
        // A folder of this name is an mdev's, with what its driver has to tell.
        self.path.join("vendor").is_file()
    }
}

pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub(crate) fn link_name(link: &Path) -> Option<String> {
    fs::read_link(link).ok().map(|target| file_name(&target))
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
