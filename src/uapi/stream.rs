//! The data_fd of a data transfer session.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::{Whence, lseek};

use super::precopy::PrecopyInfoCall;
use super::{process, sys};

/// What a poll of a data_fd waits for. Errors and hang-ups are always waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// POLLIN.
    Read,
    /// POLLOUT.
    Write,
}

/// When an epoll set says that a descriptor is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Whenever it is.
    Level,
    /// Once for each time that something new happened (EPOLLET).
    Edge,
}

/// What a poll of a data_fd said.
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

impl Readiness {
    /// Whether there is anything to say.
    pub fn is_any(self) -> bool {
        self != Readiness::default()
    }

    /// What a poll with this interest says of it.
    pub fn seen_with(self, interest: Interest) -> Readiness {
        match interest {
            Interest::Read => Readiness { writable: false, ..self },
            Interest::Write => Readiness { readable: false, ..self },
        }
    }
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
    /// Closes the file at once, though other threads may be in a call on it. Its number stays ours, and is one of
    /// `/dev/null` from here on, so that nobody else can get it while those threads still use it.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn close_at_once(&self) -> Result<(), Errno> {
        process::replace_by_null(self.0.as_fd())
    }

    /// Takes over a descriptor that SET of the device state has just answered.
    pub(crate) fn adopt(number: i32) -> DataFd {
        DataFd(sys::adopt(number))
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

    /// Reads from the session into memory that cannot be written.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn read_into_unwritable(&self, bytes: usize) -> Result<usize, Errno> {
        sys::read_into_unwritable(self.0.as_fd(), bytes)
    }

    /// Writes to the session from memory that cannot be read.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn write_from_unreadable(&self, bytes: usize) -> Result<usize, Errno> {
        sys::write_from_unreadable(self.0.as_fd(), bytes)
    }

    /// Reads from the session into several buffers.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn readv(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        nix::sys::uio::readv(&self.0, buffers)
    }

    /// Writes to the session from several buffers.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn writev(&self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        nix::sys::uio::writev(&self.0, buffers)
    }

    /// Waits until the session is ready for that, at most this long.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn poll(&self, interest: Interest, timeout: Duration) -> Result<Readiness, Errno> {
        let interest = match interest {
            Interest::Read => PollFlags::POLLIN,
            Interest::Write => PollFlags::POLLOUT,
        };
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

    /// Makes an epoll set with nothing but this descriptor, to wait for data.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn epoll(&self, trigger: Trigger) -> Result<EpollSet, Errno> {
        let events = match trigger {
            Trigger::Level => EpollFlags::EPOLLIN,
            Trigger::Edge => EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
        };
        let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        set.add(&self.0, EpollEvent::new(events, 0))?;
        Ok(EpollSet(set))
    }

    /// Has calls fail instead of wait, or wait again (O_NONBLOCK).
    ///
    /// # Errors
    /// The errno as it came.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<(), Errno> {
        let mut flags = OFlag::from_bits_retain(fcntl(&self.0, FcntlArg::F_GETFL)?);
        flags.set(OFlag::O_NONBLOCK, nonblocking);
        fcntl(&self.0, FcntlArg::F_SETFL(flags)).map(drop)
    }

    /// Another descriptor of the same open file.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn duplicate(&self) -> Result<DataFd, Errno> {
        fcntl(&self.0, FcntlArg::F_DUPFD_CLOEXEC(0)).map(DataFd::adopt)
    }

    /// Moves the file position to the beginning.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn seek(&self) -> Result<u64, Errno> {
        lseek(&self.0, 0, Whence::SeekSet).map(|position| position as u64)
    }

    /// Reads from the beginning, whatever the file position is.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn pread(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        pread(&self.0, buffer, 0)
    }

    /// Writes to the beginning, whatever the file position is.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn pwrite(&self, bytes: &[u8]) -> Result<usize, Errno> {
        pwrite(&self.0, bytes, 0)
    }

    /// Reads at most so many bytes in a process of its own, which inherits the descriptor.
    ///
    /// # Errors
    /// The errno of that read, or of what it takes to have another process.
    pub fn read_in_child(&self, bytes: usize) -> Result<Vec<u8>, Errno> {
        process::read_in_child(self.0.as_fd(), bytes)
    }
}

/// An epoll set of the kernel with one data_fd in it.
#[derive(Debug)]
pub struct EpollSet(Epoll);

impl EpollSet {
    /// Waits until the descriptor is ready, at most this long. Nothing is what it says when the time is up.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn wait(&self, timeout: Duration) -> Result<Readiness, Errno> {
        let mut events = [EpollEvent::empty()];
        let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::NONE);
        let count = self.0.wait(&mut events, timeout)?;
        let said = if count == 0 { EpollFlags::empty() } else { events[0].events() };
        Ok(Readiness {
            readable: said.contains(EpollFlags::EPOLLIN),
            writable: said.contains(EpollFlags::EPOLLOUT),
            error: said.contains(EpollFlags::EPOLLERR),
            hang_up: said.contains(EpollFlags::EPOLLHUP),
        })
    }
}
