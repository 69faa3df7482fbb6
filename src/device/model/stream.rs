//! A data_fd of the model.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::Shared;
use super::fault::Fault;
use super::machine::Machine;
use super::session::Transfer;
use crate::device::Stream;
use crate::uapi::Errno;
use crate::uapi::precopy::{PRECOPY_INFO_BYTES, PRECOPY_INFO_REINIT, PrecopyInfoCall};
use crate::uapi::stream::Readiness;

/// A data_fd of the model. It is closed when it is dropped.
pub(super) struct ModelStream {
    shared: Arc<Shared>,
    number: i32,
    /// Whether this stream is the one that holds the descriptor.
    owns: bool,
}

impl ModelStream {
    /// Takes over a descriptor. If there is none to be had under that number, every call answers EBADF.
    pub(super) fn take(shared: Arc<Shared>, number: i32) -> ModelStream {
        let owns = shared.lock().sessions.take(number);
        ModelStream { shared, number, owns }
    }

    /// Does something with the machine, unless the descriptor is not open.
    fn with<R>(&self, action: impl FnOnce(&mut Machine) -> Result<R, Errno>) -> Result<R, Errno> {
        if !self.owns {
            return Err(Errno::EBADF);
        }
        self.shared.change(action)
    }
}

impl Drop for ModelStream {
    fn drop(&mut self) {
        if self.owns {
            self.shared.change(|machine| machine.close(self.number));
        }
    }
}

impl Stream for ModelStream {
    fn number(&self) -> i32 {
        self.number
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.with(|machine| machine.read(self.number, buffer))
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.with(|machine| machine.write(self.number, bytes))
    }

    fn poll(&self, timeout: Duration) -> Result<Readiness, Errno> {
        if !self.owns {
            return Err(Errno::EBADF);
        }
        let readiness = |machine: &Machine| machine.readiness(self.number);
        let now = readiness(&self.shared.lock())?;
        if now == Readiness::default() && self.shared.lock().has(Fault::PollerNotWoken) {
            thread::sleep(timeout);
            return Ok(now);
        }
        self.shared.wait(timeout, readiness)
    }

    fn precopy_info(&self, call: &mut PrecopyInfoCall) -> Result<i32, Errno> {
        self.with(|machine| machine.precopy_info(self.number, call))
    }

    fn is_close_on_exec(&self) -> Result<bool, Errno> {
        self.with(|machine| Ok(!machine.has(Fault::FdWithoutCloexec)))
    }
}

/// The calls on a data_fd.
impl Machine {
    fn read(&mut self, number: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
        let spec = self.spec;
        let session = self.sessions.get_mut(number).ok_or(Errno::EBADF)?;
        let is_dead = session.is_dead(spec);
        let Transfer::Saving(saving) = &mut session.transfer else {
            spec.refuse_unless(Fault::ResumingFdReadable, Errno::EBADF)?;
            return Ok(0);
        };
        if is_dead {
            spec.refuse_unless(Fault::OldFdAnswersEof, Errno::ENODEV)?;
            return Ok(0);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        saving.read(buffer, &self.memory)
    }

    fn write(&mut self, number: i32, bytes: &[u8]) -> Result<usize, Errno> {
        let spec = self.spec;
        let session = self.sessions.get_mut(number).ok_or(Errno::EBADF)?;
        let is_dead = session.is_dead(spec);
        let Transfer::Resuming(resuming) = &mut session.transfer else {
            spec.refuse_unless(Fault::SavingFdWritable, Errno::EBADF)?;
            return Ok(bytes.len());
        };
        if is_dead {
            return Err(Errno::ENODEV);
        }
        resuming.write(bytes)
    }

    /// What poll says at once; all false if it has to wait.
    fn readiness(&self, number: i32) -> Result<Readiness, Errno> {
        let session = self.sessions.get(number).ok_or(Errno::EBADF)?;
        let mut readiness = Readiness::default();
        match &session.transfer {
            _ if session.is_dead(self.spec) => {
                readiness.error = true;
                readiness.hang_up = true;
            }
            Transfer::Saving(saving) => readiness.readable = saving.is_readable(),
            Transfer::Resuming(_) => readiness.writable = true,
        }
        Ok(readiness)
    }

    fn precopy_info(&mut self, number: i32, call: &mut PrecopyInfoCall) -> Result<i32, Errno> {
        let spec = self.spec;
        let permitted = self.permits_precopy_info();
        let session = self.sessions.get_mut(number).ok_or(Errno::EBADF)?;
        let is_dead = session.is_dead(spec);
        let Transfer::Saving(saving) = &mut session.transfer else {
            return Err(Errno::ENOTTY);
        };
        if !spec.capabilities.is_some_and(|set| set.pre_copy) {
            return Err(Errno::ENOTTY);
        }
        if call.argsz < PRECOPY_INFO_BYTES {
            spec.refuse_unless(Fault::PrecopyInfoArgszUnchecked, Errno::EINVAL)?;
        }
        if is_dead {
            return Err(Errno::ENODEV);
        }
        if !permitted {
            return Err(Errno::EINVAL);
        }
        if !call.writable {
            spec.refuse_unless(Fault::PrecopyInfoPositiveReturn, Errno::EFAULT)?;
            return Ok(PRECOPY_INFO_BYTES as i32);
        }
        // Without the opt-in the flags have no meaning, and kernels hand them back as they came in.
        if self.precopy_info_v2 && !spec.has(Fault::PrecopyInfoEchoesFlags) {
            call.flags = if saving.tell_reinit() { PRECOPY_INFO_REINIT } else { 0 };
        }
        let estimate = saving.estimate();
        call.initial_bytes = estimate.initial_bytes;
        call.dirty_bytes = estimate.dirty_bytes;
        Ok(0)
    }
}
