//! The newer way to a device: its own character device, bound to an iommufd.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use vfio_bindings::bindings::vfio as raw;

use super::sys::{ioctl_struct, vfio_request};
use super::vfio_device::VfioDevice;

const DEVICE_BIND_IOMMUFD: u8 = 18;
const DEVICE_ATTACH_IOMMUFD_PT: u8 = 19;

// include/uapi/linux/iommufd.h: _IO(';', IOMMUFD_CMD_...). vfio-bindings has no iommufd, so its one command that is
// needed here is spelled out.
const IOMMUFD_CMD_IOAS_ALLOC: u64 = 0x81;
const fn iommufd_request(nr: u64) -> u64 {
    ((b';' as u64) << 8) | nr
}

/// `struct iommu_ioas_alloc`.
#[repr(C)]
#[derive(Debug, Default)]
struct IoasAlloc {
    size: u32,
    flags: u32,
    out_ioas_id: u32,
}

/// An open `/dev/iommu`.
#[derive(Debug)]
pub struct Iommufd(File);

/// The number of an address space of an [`Iommufd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoasId(u32);

impl Iommufd {
    /// Opens `/dev/iommu`.
    ///
    /// # Errors
    /// What opening the file answered.
    pub fn open() -> std::io::Result<Iommufd> {
        OpenOptions::new().read(true).write(true).open("/dev/iommu").map(Iommufd)
    }

    /// Makes an address space.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn alloc_ioas(&self) -> Result<IoasId, Errno> {
        let mut alloc = IoasAlloc { size: size_of::<IoasAlloc>() as u32, ..Default::default() };
        let request = iommufd_request(IOMMUFD_CMD_IOAS_ALLOC);
        ioctl_struct(self.0.as_fd(), request, &mut alloc)?;
        Ok(IoasId(alloc.out_ioas_id))
    }
}

/// A device's character device, not bound yet: the kernel refuses everything but the binding.
#[derive(Debug)]
pub struct UnboundDevice(File);

impl UnboundDevice {
    /// Opens `/dev/vfio/devices/vfioN`.
    ///
    /// # Errors
    /// What opening the file answered.
    pub fn open(path: &Path) -> std::io::Result<UnboundDevice> {
        OpenOptions::new().read(true).write(true).open(path).map(UnboundDevice)
    }

    /// Binds the device, which opens it in the sense of the protocol, and attaches it to an address space.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn bind(self, iommufd: &Iommufd, ioas: IoasId) -> Result<VfioDevice, Errno> {
        let mut bind = raw::vfio_device_bind_iommufd {
            // Without the token pointer, which kernels before 6.17 do not know.
            argsz: 16,
            iommufd: iommufd.0.as_raw_fd(),
            ..Default::default()
        };
        let request = vfio_request(DEVICE_BIND_IOMMUFD);
        ioctl_struct(self.0.as_fd(), request, &mut bind)?;
        let mut attach = raw::vfio_device_attach_iommufd_pt {
            // Without the PASID, which kernels before 6.15 do not know.
            argsz: 12,
            pt_id: ioas.0,
            ..Default::default()
        };
        let request = vfio_request(DEVICE_ATTACH_IOMMUFD_PT);
        ioctl_struct(self.0.as_fd(), request, &mut attach)?;
        Ok(VfioDevice::new(OwnedFd::from(self.0)))
    }
}
