//! The older way to a device: container, group, device.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use vfio_bindings::bindings::vfio as raw;

use super::iommu::Type1Container;
use super::sys::{Argument, adopt, ioctl, ioctl_struct, vfio_request};
use super::vfio_device::VfioDevice;

const GET_API_VERSION: u8 = 0;
const CHECK_EXTENSION: u8 = 1;
const SET_IOMMU: u8 = 2;
const GROUP_GET_STATUS: u8 = 3;
const GROUP_SET_CONTAINER: u8 = 4;
const GROUP_GET_DEVICE_FD: u8 = 6;

/// An open group.
#[derive(Debug)]
pub struct Group(File);

impl Group {
    /// Opens `/dev/vfio/<number>` or whatever path the group has.
    ///
    /// # Errors
    /// What opening the file answered.
    pub fn open(path: &Path) -> std::io::Result<Group> {
        OpenOptions::new().read(true).write(true).open(path).map(Group)
    }

    /// Whether every device of the group is bound to a VFIO driver or to none.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn is_viable(&self) -> Result<bool, Errno> {
        let mut status =
            raw::vfio_group_status { argsz: size_of::<raw::vfio_group_status>() as u32, ..Default::default() };
        ioctl_struct(self.0.as_fd(), vfio_request(GROUP_GET_STATUS), &mut status)?;
        Ok(status.flags & raw::VFIO_GROUP_FLAGS_VIABLE != 0)
    }

    /// Puts the group into a container.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn set_container(&self, container: &Container) -> Result<i32, Errno> {
        let mut number = container.0.as_raw_fd();
        ioctl_struct(self.0.as_fd(), vfio_request(GROUP_SET_CONTAINER), &mut number)
    }

    /// Opens a device of the group by the name that sysfs gives it.
    ///
    /// # Errors
    /// The errno as it came; EINVAL for a name that no device can have.
    pub fn device(&self, name: &str) -> Result<VfioDevice, Errno> {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        let argument = Argument::Address(name.as_ptr() as usize);
        let number = ioctl(self.0.as_fd(), vfio_request(GROUP_GET_DEVICE_FD), argument)?;
        Ok(VfioDevice::new(adopt(number)))
    }
}

/// A container that has no IOMMU yet.
#[derive(Debug)]
pub struct Container(File);

impl Container {
    /// Opens `/dev/vfio/vfio`.
    ///
    /// # Errors
    /// What opening the file answered.
    pub fn open() -> std::io::Result<Container> {
        OpenOptions::new().read(true).write(true).open("/dev/vfio/vfio").map(Container)
    }

    /// The version of the container's interface; 0 is the only one there is.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn api_version(&self) -> Result<i32, Errno> {
        ioctl(self.0.as_fd(), vfio_request(GET_API_VERSION), Argument::Number(0))
    }

    /// Whether the kernel has the second version of the type1 IOMMU.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn has_type1v2(&self) -> Result<bool, Errno> {
        let argument = Argument::Number(raw::VFIO_TYPE1v2_IOMMU.into());
        Ok(ioctl(self.0.as_fd(), vfio_request(CHECK_EXTENSION), argument)? > 0)
    }

    /// Gives the container, which holds at least one group by now, a type1 IOMMU.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn into_type1(self) -> Result<Type1Container, Errno> {
        let argument = Argument::Number(raw::VFIO_TYPE1v2_IOMMU.into());
        ioctl(self.0.as_fd(), vfio_request(SET_IOMMU), argument)?;
        Ok(Type1Container::new(self.0))
    }
}
