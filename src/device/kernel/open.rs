//! The two ways to a device, and what stands in the way of each.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use crate::uapi::Errno;
use crate::uapi::group::{Container, Group};
use crate::uapi::iommu::Type1Container;
use crate::uapi::iommufd::{IoasId, Iommufd, UnboundDevice};
use crate::uapi::memory::DmaMemory;
use crate::uapi::vfio_device::VfioDevice;

use super::super::{OpenError, OpenFailure, Via, WRONG_PROFILE_REMEDY};
use super::before::Before;
use super::sysfs::Found;

/// What stays open beside the device, so that it can be opened again.
#[derive(Debug)]
pub enum Way {
    /// Through its group, which is in the container.
    Group { group: Group, container: Type1Container },
    /// Through its character device.
    Cdev { path: PathBuf, iommufd: Iommufd, ioas: IoasId },
}

impl Way {
    /// Which of the two it is.
    pub fn via(&self) -> Via {
        match self {
            Way::Group { .. } => Via::Group,
            Way::Cdev { .. } => Via::Cdev,
        }
    }

    /// Lets the device reach memory through an I/O address.
    pub fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        match self {
            Way::Group { container, .. } => container.map(iova, memory),
            Way::Cdev { iommufd, ioas, .. } => iommufd.map(*ioas, iova, memory),
        }
    }

    /// Takes that away. Returns how many bytes were unmapped.
    pub fn unmap(&self, iova: u64, bytes: u64) -> Result<u64, Errno> {
        match self {
            Way::Group { container, .. } => container.unmap(iova, bytes),
            Way::Cdev { iommufd, ioas, .. } => iommufd.unmap(*ioas, iova, bytes),
        }
    }

    /// Opens the device itself.
    pub fn device(&self, found: &Found) -> Result<VfioDevice, OpenError> {
        let refused = |step: &str| {
            let step = step.to_owned();
            move |errno| found.failed(OpenFailure::Refused(step, errno))
        };
        match self {
            Way::Group { group, .. } => group.device(&found.name).map_err(refused("VFIO_GROUP_GET_DEVICE_FD")),
            Way::Cdev { path, iommufd, ioas } => UnboundDevice::open(path)
                .map_err(|error| found.unopenable(path, &error))?
                .bind(iommufd, *ioas)
                .map_err(refused("VFIO_DEVICE_BIND_IOMMUFD")),
        }
    }
}

/// Opens a device the way that was asked for, or else the newest that the host has.
pub fn open(found: &Found, via: Option<Via>) -> Result<(Way, VfioDevice), OpenError> {
    found.is_driven_by_vfio()?;
    let way = match via {
        Some(Via::Group) => by_group(found),
        Some(Via::Cdev) => by_cdev(found),
        None if found.has_cdev() => by_cdev(found),
        None => by_group(found),
    }?;
    let device = way.device(found)?;
    Ok((way, device))
}

fn by_cdev(found: &Found) -> Result<Way, OpenError> {
    if !found.has_cdev() {
        return Err(found.failed(OpenFailure::NoSuchWay(Via::Cdev)));
    }
    let path = found.cdev_path();
    let iommufd = Iommufd::open().map_err(|error| found.unopenable(Path::new("/dev/iommu"), &error))?;
    let ioas =
        iommufd.alloc_ioas().map_err(|errno| found.failed(OpenFailure::Refused("IOMMU_IOAS_ALLOC".into(), errno)))?;
    Ok(Way::Cdev { path, iommufd, ioas })
}

fn by_group(found: &Found) -> Result<Way, OpenError> {
    let number = found.group.ok_or_else(|| found.failed(OpenFailure::NoIommu))?;
    let refused = |step: &str| {
        let step = step.to_owned();
        move |errno| found.failed(OpenFailure::Refused(step, errno))
    };
    let container = Container::open().map_err(|error| found.unopenable(Path::new("/dev/vfio/vfio"), &error))?;
    container.api_version().map_err(refused("VFIO_GET_API_VERSION"))?;
    if !container.has_type1v2().map_err(refused("VFIO_CHECK_EXTENSION"))? {
        return Err(found.failed(OpenFailure::NoSuchWay(Via::Group)));
    }
    let path = PathBuf::from(format!("/dev/vfio/{number}"));
    let group = Group::open(&path).map_err(|error| found.unopenable(&path, &error))?;
    if !group.is_viable().map_err(refused("VFIO_GROUP_GET_STATUS"))? {
        let neighbours = found.foreign_neighbours();
        return Err(found.failed(OpenFailure::GroupNotViable(number, neighbours)));
    }
    group.set_container(&container).map_err(refused("VFIO_GROUP_SET_CONTAINER"))?;
    let container = container.into_type1().map_err(refused("VFIO_SET_IOMMU"))?;
    Ok(Way::Group { group, container })
}

impl Found {
    /// Whether it can be opened through its own character device.
    pub fn has_cdev(&self) -> bool {
        self.vfio_dev.is_some() && self.cdev_path().exists() && self.root.join("dev/iommu").exists()
    }

    /// Its own character device.
    pub fn cdev_path(&self) -> PathBuf {
        let name = self.vfio_dev.clone().unwrap_or_default();
        self.root.join("dev/vfio/devices").join(name)
    }

    /// That a VFIO driver drives it.
    ///
    /// # Errors
    /// Which driver does instead.
    pub fn is_driven_by_vfio(&self) -> Result<(), OpenError> {
        match (&self.vfio_dev, &self.driver) {
            (Some(_), _) => Ok(()),
            _ if !self.root.join("dev/vfio/vfio").exists() => Err(self.failed(OpenFailure::NoVfio)),
            (None, driver) => Err(self.failed(OpenFailure::WrongDriver(driver.clone()))),
        }
    }

    fn unopenable(&self, path: &Path, error: &Error) -> OpenError {
        let why = match error.kind() {
            ErrorKind::PermissionDenied => OpenFailure::NoPermission(path.to_owned()),
            ErrorKind::ResourceBusy => OpenFailure::Busy(path.to_owned()),
            ErrorKind::NotFound => OpenFailure::NoVfio,
            _ => {
                let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
                OpenFailure::Refused(format!("opening {}", path.display()), errno)
            }
        };
        self.failed(why)
    }

    /// A failure with what would mend it.
    pub fn failed(&self, why: OpenFailure) -> OpenError {
        OpenError { device: self.name.clone(), remedy: self.remedy(&why), why }
    }

    /// What to type.
    fn remedy(&self, why: &OpenFailure) -> Vec<String> {
        let line = |text: &str| vec![text.to_owned()];
        match why {
            OpenFailure::NoVfio => line("modprobe vfio_iommu_type1 vfio-pci"),
            OpenFailure::NoIommu => {
                line("boot with intel_iommu=on (or amd_iommu=on) and the IOMMU enabled in the firmware")
            }
            OpenFailure::WrongDriver(None) if Before::driver_lost_by_a_run(self).is_some() => {
                vec![format!(
                    "sudo vfio-conform unbind {}    # a run that was killed had taken it from its driver",
                    self.name
                )]
            }
            OpenFailure::WrongDriver(_) if self.is_pci() => self.look(),
            OpenFailure::WrongDriver(_) => line("create the device with a driver that has migration"),
            OpenFailure::NoPermission(path) => {
                vec![format!("run as root, or: sudo chown $USER {}", path.display())]
            }
            OpenFailure::GroupNotViable(_, neighbours) => neighbours
                .iter()
                .map(|name| format!("echo {name} > /sys/bus/pci/devices/{name}/driver/unbind"))
                .collect(),
            OpenFailure::Busy(path) => vec![format!("fuser -v {}    # shows who", path.display())],
            OpenFailure::NoSuchWay(Via::Cdev) => {
                line("use --via group, or a kernel with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV")
            }
            OpenFailure::NoSuchWay(Via::Group) => line("modprobe vfio_iommu_type1"),
            OpenFailure::WrongProfile(_) => line(WRONG_PROFILE_REMEDY),
            OpenFailure::NoSuchDevice
            | OpenFailure::ForeignGroup(..)
            | OpenFailure::Ambiguous(_)
            | OpenFailure::Refused(..) => Vec::new(),
        }
    }

    /// It may be a disk that this host runs from, so nobody is led to take it from its driver without a look.
    fn look(&self) -> Vec<String> {
        vec![format!("vfio-conform doctor {}    # shows who uses it, and which VFIO driver fits", self.name)]
    }
}
