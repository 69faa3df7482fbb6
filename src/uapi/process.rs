//! Processes and threads: how they end, what they hold open, whether they sleep, and one that reads for us.
#![allow(unsafe_code)]

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, gettid};

/// A thread of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread(Pid);

impl Thread {
    /// The one that asks.
    pub fn current() -> Thread {
        Thread(gettid())
    }

    /// Whether it waits for something; `None` if the kernel does not say, or the thread is gone.
    pub fn sleeps(self) -> Option<bool> {
        let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", self.0)).ok()?;
        // The name, which may hold anything, is in parentheses; the state follows.
        let (_, after_name) = stat.rsplit_once(')')?;
        Some(after_name.trim_start().starts_with(['S', 'D']))
    }
}

/// Makes a descriptor one of `/dev/null`, which closes what it was one of before.
///
/// # Errors
/// The errno as it came.
pub fn replace_by_null(descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let null = fs::File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    // SAFETY: both descriptors are open, and whoever owns this one goes on to own its number; no memory is involved.
    let answer = unsafe { libc::dup3(null.as_raw_fd(), descriptor.as_raw_fd(), libc::O_CLOEXEC) };
    Errno::result(answer).map(drop)
}

/// How many descriptors this process has open.
///
/// # Errors
/// The errno of looking.
pub fn open_descriptors() -> Result<usize, Errno> {
    let entries = fs::read_dir("/proc/self/fd").map_err(errno_of)?;
    // The one that we are looking with is open for the moment.
    let shown = entries.count().saturating_sub(1);
    // A number that was taken for a file that never came is not shown, but nobody else gets it.
    Ok(shown.max(next_descriptor()?))
}

/// The number that the next descriptor will have: the kernel gives the lowest one that is free.
fn next_descriptor() -> Result<usize, Errno> {
    let next = std::io::stdin().as_fd().try_clone_to_owned().map_err(errno_of)?;
    Ok(usize::try_from(next.as_raw_fd()).unwrap_or_default())
}

/// Whether more than half of the descriptors that this process may have are in use, or none is to be had any more.
pub fn is_short_of_descriptors() -> bool {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return false;
    };
    next_descriptor().map_or(true, |next| next as u64 > limit / 2)
}

/// Does something while this process can open no descriptor: whatever asks for one gets EMFILE.
///
/// # Errors
/// The errno of changing the limit; then it was not done.
pub fn without_free_descriptors<R>(action: impl FnOnce() -> R) -> Result<R, Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard)?;
    let result = action();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    Ok(result)
}

/// Reads at most so many bytes from a descriptor, in a child process that inherits it and then ends.
///
/// # Errors
/// The errno of that read, or of what it takes to have a child.
pub fn read_in_child(fd: BorrowedFd<'_>, bytes: usize) -> Result<Vec<u8>, Errno> {
    let (mut from_child, to_parent) = std::io::pipe().map_err(errno_of)?;
    let mut buffer = vec![0u8; bytes];
    // SAFETY: the child makes async-signal-safe system calls only, on memory that was allocated before it began, and
    // ends without running anything else of ours.
    match unsafe { fork() }? {
        ForkResult::Child => unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0);
            let count = libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), bytes);
            if count < 0 {
                libc::_exit(*libc::__errno_location());
            }
            libc::write(to_parent.as_raw_fd(), buffer.as_ptr().cast(), count as usize);
            libc::_exit(0)
        },
        ForkResult::Parent { child } => {
            drop(to_parent);
            buffer.clear();
            let received = from_child.read_to_end(&mut buffer).map_err(errno_of);
            match waitpid(child, None)? {
                WaitStatus::Exited(_, 0) => received.map(|_| buffer),
                WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
                _ => Err(Errno::EINTR),
            }
        }
    }
}

fn errno_of(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Has the kernel kill the child when the thread that starts it ends, so that no QEMU and no executor is left behind
/// however we die. The child leads a process group of its own: Ctrl-C at a terminal reaches us alone, so that we can end
/// it in order.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    command.process_group(0);
    // SAFETY: the closure runs in the child between fork and exec and makes async-signal-safe system calls only.
    unsafe {
        command.pre_exec(move || {
            let signal = libc::SIGKILL as libc::c_ulong;
            if libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // A parent that is gone already sends nothing any more.
            match u32::try_from(libc::getppid()) == Ok(parent) {
                true => Ok(()),
                false => Err(std::io::Error::from_raw_os_error(libc::ESRCH)),
            }
        })
    }
}

/// Has a closed pipe end this process in silence, as people expect of a program that only prints.
pub fn end_with_reader() {
    // SAFETY: the default action runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_child_reads_for_us() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"hello").unwrap();
        assert_eq!(read_in_child(reader.as_fd(), 3), Ok(b"hel".to_vec()));
        assert_eq!(read_in_child(reader.as_fd(), 30), Ok(b"lo".to_vec()));
        assert_eq!(read_in_child(writer.as_fd(), 3), Err(Errno::EBADF));
    }

    #[test]
    fn a_thread_that_waits_is_seen_to() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let waiter = std::thread::spawn(move || {
            tell.send(Thread::current()).unwrap();
            let _ = ended.recv();
        });
        let thread = told.recv().unwrap();
        while thread.sleeps() != Some(true) {
            std::thread::yield_now();
        }
        drop(end);
        waiter.join().unwrap();
        assert_eq!(Thread::current().sleeps(), Some(false));
    }
}
