//! The newer way to a device: its own character device, bound to an iommufd.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use vfio_bindings::bindings::vfio as raw;

use super::memory::DmaMemory;
use super::sys::{ioctl_struct, vfio_request};
use super::vfio_device::VfioDevice;

const DEVICE_BIND_IOMMUFD: u8 = 18;
const DEVICE_ATTACH_IOMMUFD_PT: u8 = 19;

// include/uapi/linux/iommufd.h: _IO(';', IOMMUFD_CMD_...). vfio-bindings has no iommufd, so the few commands that are
// needed here are spelled out.
const IOMMUFD_CMD_IOAS_ALLOC: u64 = 0x81;
const IOMMUFD_CMD_IOAS_MAP: u64 = 0x85;
const IOMMUFD_CMD_IOAS_UNMAP: u64 = 0x86;
const IOMMU_IOAS_MAP_FIXED_IOVA: u32 = 1 << 0;
const IOMMU_IOAS_MAP_WRITEABLE: u32 = 1 << 1;
const IOMMU_IOAS_MAP_READABLE: u32 = 1 << 2;

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

/// `struct iommu_ioas_map`.
#[repr(C)]
#[derive(Debug, Default)]
struct IoasMap {
    size: u32,
    flags: u32,
    ioas_id: u32,
    reserved: u32,
    user_va: u64,
    length: u64,
    iova: u64,
}

/// `struct iommu_ioas_unmap`.
#[repr(C)]
#[derive(Debug, Default)]
struct IoasUnmap {
    size: u32,
    ioas_id: u32,
    iova: u64,
    length: u64,
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

    /// Lets the devices of an address space read and write memory through the I/O address `iova`.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn map(&self, ioas: IoasId, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        let mut map = IoasMap {
            size: size_of::<IoasMap>() as u32,
            flags: IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE,
            ioas_id: ioas.0,
            user_va: memory.address() as u64,
            length: memory.bytes() as u64,
            iova,
            ..Default::default()
        };
        ioctl_struct(self.0.as_fd(), iommufd_request(IOMMUFD_CMD_IOAS_MAP), &mut map)
    }

    /// Takes a mapping away. Returns how many bytes were unmapped.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn unmap(&self, ioas: IoasId, iova: u64, bytes: u64) -> Result<u64, Errno> {
        let mut unmap = IoasUnmap { size: size_of::<IoasUnmap>() as u32, ioas_id: ioas.0, iova, length: bytes };
        ioctl_struct(self.0.as_fd(), iommufd_request(IOMMUFD_CMD_IOAS_UNMAP), &mut unmap)?;
        Ok(unmap.length)
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
