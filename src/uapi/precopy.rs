//! `VFIO_MIG_GET_PRECOPY_INFO` on the data_fd.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use vfio_bindings::bindings::vfio::vfio_precopy_info;

use super::memory::{GuardedPages, Protection};
use super::sys::{Argument, ioctl, ioctl_struct, vfio_request};

const REQUEST: u8 = 21;

/// `VFIO_PRECOPY_INFO_REINIT`, which vfio-bindings does not have yet.
pub const PRECOPY_INFO_REINIT: u32 = 1 << 0;

/// Bytes of `struct vfio_precopy_info`: the least `argsz`.
pub const PRECOPY_INFO_BYTES: u32 = size_of::<vfio_precopy_info>() as u32;

/// One PRECOPY_INFO call: what goes in, and after the call what came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrecopyInfoCall {
    /// Bytes that the caller claims.
    pub argsz: u32,
    /// In: should be ignored. Out: 0, or REINIT after the opt-in to v2.
    pub flags: u32,
    /// Out: bytes of the initial data left to read.
    pub initial_bytes: u64,
    /// Out: bytes of data dirtied since it was read.
    pub dirty_bytes: u64,
    /// Whether the kernel can write its answer.
    pub writable: bool,
}

impl Default for PrecopyInfoCall {
    fn default() -> Self {
        PrecopyInfoCall { argsz: PRECOPY_INFO_BYTES, flags: 0, initial_bytes: 0, dirty_bytes: 0, writable: true }
    }
}

impl PrecopyInfoCall {
    /// Makes the call.
    ///
    /// # Errors
    /// The errno as it came.
    pub(crate) fn make(&mut self, data_fd: BorrowedFd<'_>) -> Result<i32, Errno> {
        let mut info = vfio_precopy_info {
            argsz: self.argsz,
            flags: self.flags,
            initial_bytes: self.initial_bytes,
            dirty_bytes: self.dirty_bytes,
        };
        if !self.writable {
            let mut bytes = info.argsz.to_ne_bytes().to_vec();
            bytes.extend(info.flags.to_ne_bytes());
            bytes.extend([0; 16]);
            let pages = GuardedPages::new(&bytes, 0, Protection::ReadOnly)?;
            let address = Argument::Address(pages.address());
            return ioctl(data_fd, vfio_request(REQUEST), address);
        }
        let result = ioctl_struct(data_fd, vfio_request(REQUEST), &mut info);
        self.flags = info.flags;
        self.initial_bytes = info.initial_bytes;
        self.dirty_bytes = info.dirty_bytes;
        result
    }
}
