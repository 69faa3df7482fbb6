//! The one place where an ioctl is made.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_ulong, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use vfio_bindings::bindings::vfio::{VFIO_BASE, VFIO_TYPE};

use super::memory::{GuardedPages, Protection};

/// An ioctl request number of the VFIO family: `_IO(VFIO_TYPE, VFIO_BASE + nr)`.
///
/// VFIO numbers all its ioctls with `_IO`, so the direction and size bits are zero.
pub const fn vfio_request(nr: u8) -> c_ulong {
    ((VFIO_TYPE as c_ulong) << 8) | (VFIO_BASE as c_ulong + nr as c_ulong)
}

/// What an ioctl gets as its argument.
pub enum Argument<'a> {
    /// A plain number.
    Number(c_ulong),
    /// The address of memory that the kernel may read and write, as far as the call's `argsz` says.
    Memory(&'a mut [u64]),
    /// An address that the kernel is meant to refuse, or a page of [`super::memory`], which outlives the call.
    Address(usize),
}

/// Makes one ioctl. Returns the number that the kernel returned, which is not negative, or the errno.
///
/// # Errors
/// The errno of the call, as it came.
pub fn ioctl(fd: BorrowedFd<'_>, request: c_ulong, argument: Argument<'_>) -> Result<i32, Errno> {
    let pointer = match argument {
        Argument::Number(number) => number as *mut c_void,
        Argument::Memory(words) => words.as_mut_ptr().cast(),
        Argument::Address(address) => address as *mut c_void,
    };
    // SAFETY: the descriptor is borrowed and thus open. Every caller in this room passes a buffer at least as large
    // as the `argsz` that it states, or an address of memory that no Rust value lives in (see `Argument`), so the
    // kernel can only write where that is allowed.
    let returned: c_int = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, pointer) };
    Errno::result(returned)
}

/// Makes one ioctl whose argument is a plain structure of the uAPI.
///
/// # Errors
/// The errno of the call, as it came.
pub fn ioctl_struct<T>(fd: BorrowedFd<'_>, request: c_ulong, structure: &mut T) -> Result<i32, Errno> {
    let pointer: *mut T = structure;
    // SAFETY: the structure is the one that the uAPI defines for this request, its `argsz` (where it has one) is its
    // own size, and the kernel writes no more than that.
    let returned: c_int = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, pointer.cast::<c_void>()) };
    Errno::result(returned)
}

/// Most that is moved to or from memory that the kernel is meant to refuse.
const MOST_REFUSED_BYTES: usize = 4096;

/// Reads into memory that cannot be written. Returns how many bytes the kernel says that it has moved there.
///
/// # Errors
/// The errno of the call, as it came, or of making such memory.
pub fn read_into_unwritable(fd: BorrowedFd<'_>, bytes: usize) -> Result<usize, Errno> {
    let pages = GuardedPages::new(&[], 0, Protection::ReadOnly)?;
    let (address, bytes) = (pages.address() as *mut c_void, bytes.min(MOST_REFUSED_BYTES));
    // SAFETY: the descriptor is borrowed and thus open. The pages are mapped for longer than the call takes, are larger than
    // `bytes`, and no Rust value lives in them.
    Errno::result(unsafe { libc::read(fd.as_raw_fd(), address, bytes) }).map(isize::cast_unsigned)
}

/// Writes from memory that cannot be read. Returns how many bytes the kernel says that it has taken from there.
///
/// # Errors
/// The errno of the call, as it came, or of making such memory.
pub fn write_from_unreadable(fd: BorrowedFd<'_>, bytes: usize) -> Result<usize, Errno> {
    let pages = GuardedPages::new(&[], 0, Protection::None)?;
    let (address, bytes) = (pages.address() as *const c_void, bytes.min(MOST_REFUSED_BYTES));
    // SAFETY: the descriptor is borrowed and thus open. The pages are mapped for longer than the call takes, are larger than
    // `bytes`, and no Rust value lives in them.
    Errno::result(unsafe { libc::write(fd.as_raw_fd(), address, bytes) }).map(isize::cast_unsigned)
}

/// Takes ownership of a descriptor that the kernel has just created for us and told us by number.
///
/// The caller has the number from an answer of the kernel and hands it over here exactly once.
pub fn adopt(number: i32) -> OwnedFd {
    // SAFETY: the number comes from an ioctl that installs a new descriptor in our table and names it in its answer;
    // nothing else in this process knows it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
