//! `VFIO_MIG_GET_PRECOPY_INFO` on the data_fd.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use vfio_bindings::bindings::vfio::{self as raw, vfio_precopy_info};

use super::feature::Placement;
use super::memory::{GuardedPages, Protection};
use super::sys::{Argument, ioctl, vfio_request};

const REQUEST: u8 = 21;

/// Bytes of `argsz` and `flags`.
const HEADER_BYTES: usize = 8;

/// What an absurd `argsz` is backed with.
const MOST_BYTES: usize = 1 << 20;

/// The flag that says that new initial data is there.
pub const PRECOPY_INFO_REINIT: u32 = raw::VFIO_PRECOPY_INFO_REINIT;

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
    /// The memory that the call is made with.
    pub placement: Placement,
}

impl Default for PrecopyInfoCall {
    fn default() -> Self {
        PrecopyInfoCall {
            argsz: PRECOPY_INFO_BYTES,
            flags: 0,
            initial_bytes: 0,
            dirty_bytes: 0,
            placement: Placement::Ordinary,
        }
    }
}

impl PrecopyInfoCall {
    /// Makes the call.
    ///
    /// # Errors
    /// The errno as it came.
    pub(crate) fn make(&mut self, data_fd: BorrowedFd<'_>) -> Result<i32, Errno> {
        match self.placement {
            Placement::Ordinary => self.make_ordinary(data_fd),
            Placement::ReadOnly => self.make_guarded(data_fd, Protection::ReadOnly, 0),
            Placement::Unmapped => self.make_guarded(data_fd, Protection::None, 0),
            Placement::HeaderOnly => self.make_guarded(data_fd, Protection::ReadWrite, HEADER_BYTES),
        }
    }

    fn make_ordinary(&mut self, data_fd: BorrowedFd<'_>) -> Result<i32, Errno> {
        // A driver may look at all of the bytes that `argsz` claims, so they are there; absurd sizes are not backed,
        // since no kernel copies that much of so small a structure.
        let claimed = (self.argsz as usize).clamp(PRECOPY_INFO_BYTES as usize, MOST_BYTES);
        let mut words = vec![0u64; claimed.div_ceil(8)];
        words[0] = u64::from_ne_bytes(self.header());
        words[1] = self.initial_bytes;
        words[2] = self.dirty_bytes;
        let result = ioctl(data_fd, vfio_request(REQUEST), Argument::Memory(&mut words));
        let [_, _, _, _, flags @ ..] = words[0].to_ne_bytes();
        self.flags = u32::from_ne_bytes(flags);
        self.initial_bytes = words[1];
        self.dirty_bytes = words[2];
        result
    }

    /// `before_end` bytes lie just before the end of the accessible memory, the rest behind it; 0 puts all in front.
    fn make_guarded(&self, data_fd: BorrowedFd<'_>, protection: Protection, before_end: usize) -> Result<i32, Errno> {
        let mut bytes = self.header().to_vec();
        bytes.extend([0; PRECOPY_INFO_BYTES as usize - HEADER_BYTES]);
        let pages = GuardedPages::new(&bytes, before_end, protection)?;
        ioctl(data_fd, vfio_request(REQUEST), Argument::Address(pages.address()))
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d] = self.argsz.to_ne_bytes();
        let [e, f, g, h] = self.flags.to_ne_bytes();
        [a, b, c, d, e, f, g, h]
    }
}
