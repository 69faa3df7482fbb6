//! The data_fd of a data transfer session.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::precopy::PrecopyInfoCall;

/// What a poll of a data_fd waits for, or said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// POLLIN.
    pub readable: bool,
    /// POLLOUT.
    pub writable: bool,
    /// POLLERR.
    pub error: bool,
    /// POLLHUP.
    pub hang_up: bool,
}

impl From<PollFlags> for Readiness {
    fn from(flags: PollFlags) -> Self {
        Readiness {
            readable: flags.contains(PollFlags::POLLIN),
            writable: flags.contains(PollFlags::POLLOUT),
            error: flags.contains(PollFlags::POLLERR),
            hang_up: flags.contains(PollFlags::POLLHUP),
        }
    }
}

/// A data_fd of the kernel. It is closed when it is dropped.
#[derive(Debug)]
pub struct DataFd(OwnedFd);

impl DataFd {
    /// Takes over a descriptor that SET of the device state has just answered.
    pub(crate) fn adopt(number: i32) -> DataFd {
        DataFd(super::sys::adopt(number))
    }

    /// Gives it away, so that another process can read it.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Its number in this process.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Reads from the session.
    ///
    /// # Errors
    /// The errno as it came: ENOMSG is the temporary end of the stream, ENODEV by custom that the session is over.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        nix::unistd::read(&self.0, buffer)
    }

    /// Writes to the session.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        nix::unistd::write(&self.0, bytes)
    }

    /// Waits until the session can be read or written, at most this long.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn poll(&self, timeout: Duration) -> Result<Readiness, Errno> {
        let interest = PollFlags::POLLIN | PollFlags::POLLOUT;
        let mut fds = [PollFd::new(self.0.as_fd(), interest)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        poll(&mut fds, timeout)?;
        Ok(fds[0].revents().unwrap_or(PollFlags::empty()).into())
    }

    /// Asks for the PRE_COPY estimates.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn precopy_info(&self, call: &mut PrecopyInfoCall) -> Result<i32, Errno> {
        call.make(self.0.as_fd())
    }

    /// Whether the descriptor goes away when the process executes another program.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn is_close_on_exec(&self) -> Result<bool, Errno> {
        let flags = fcntl(&self.0, FcntlArg::F_GETFD)?;
        Ok(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC))
    }
}
