//! A data_fd of the model.

use std::io::{IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::Shared;
use super::fault::Fault;
use super::machine::Machine;
use super::session::Transfer;
use super::spec::ModelSpec;
use super::variation::Variation;
use crate::device::{EpollSet, Stream};
use crate::uapi::Errno;
use crate::uapi::feature::Placement;
use crate::uapi::precopy::{PRECOPY_INFO_BYTES, PRECOPY_INFO_REINIT, PrecopyInfoCall};
use crate::uapi::stream::{Interest, Readiness, Trigger};

/// How long a read takes, at most, with [`Fault::ReaderNotWoken`].
const SLOW_READ: Duration = Duration::from_millis(1);

/// How long it takes when it has missed the end of its session: longer than any check waits for it, and not for ever, since
/// a crowd of threads waits for its slowest member.
const LOST_READ: Duration = Duration::from_secs(5);

/// A data_fd of the model. It is closed when it is dropped.
pub(super) struct ModelStream {
    shared: Arc<Shared>,
    /// The descriptor's number.
    number: i32,
    /// The number of the first descriptor of the same session.
    session: i32,
    /// Whether this stream is the one that holds the descriptor.
    owns: AtomicBool,
}

impl ModelStream {
    /// Takes over a descriptor. If there is none to be had under that number, every call answers EBADF.
    pub(super) fn take(shared: Arc<Shared>, number: i32) -> ModelStream {
        let owns = shared.lock().sessions.take(number);
        ModelStream { shared, number, session: number, owns: owns.into() }
    }

    /// Looks at the machine, unless the descriptor is not open.
    fn look<R>(&self, look: impl FnOnce(&Machine) -> Result<R, Errno>) -> Result<R, Errno> {
        self.require_open()?;
        look(&self.shared.lock())
    }

    /// Does something with the machine, unless the descriptor is not open.
    fn with<R>(&self, action: impl FnOnce(&mut Machine) -> Result<R, Errno>) -> Result<R, Errno> {
        self.require_open()?;
        self.shared.change(action)
    }

    fn require_open(&self) -> Result<(), Errno> {
        if self.owns.load(Ordering::SeqCst) { Ok(()) } else { Err(Errno::EBADF) }
    }

    fn takes_vectors(&self) -> Result<(), Errno> {
        match self.shared.lock().has(Fault::VectorsRefused) {
            true => Err(Errno::EINVAL),
            false => Ok(()),
        }
    }

    /// The place of the fault that fetches data from the device before it hands it over, and misses the session's end
    /// meanwhile.
    fn fetch_slowly(&self) {
        let ends = |machine: &Machine| machine.sessions.get(self.session).is_none_or(|s| s.is_dead(machine.spec));
        if !self.shared.lock().has(Fault::ReaderNotWoken) || ends(&self.shared.lock()) {
            return;
        }
        self.shared.wait_until(SLOW_READ, ends);
        if ends(&self.shared.lock()) {
            thread::sleep(LOST_READ);
        }
    }
}

impl Drop for ModelStream {
    fn drop(&mut self) {
        if self.owns.swap(false, Ordering::SeqCst) {
            self.shared.change(|machine| machine.close(self.session));
        }
    }
}

impl Stream for ModelStream {
    fn number(&self) -> i32 {
        self.number
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.fetch_slowly();
        self.with(|machine| machine.read(self.session, buffer))
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.with(|machine| machine.write(self.session, bytes))
    }

    fn read_into_unwritable(&self, bytes: usize) -> Result<usize, Errno> {
        self.with(|machine| machine.read_into_unwritable(self.session, bytes))
    }

    fn write_from_unreadable(&self, bytes: usize) -> Result<usize, Errno> {
        self.with(|machine| machine.write_from_unreadable(self.session, bytes))
    }

    // Part for part, and on to the next one only if a part was full, as the kernel does for a driver without vectors.
    fn readv(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        self.takes_vectors()?;
        in_parts(buffers.iter_mut().map(|buffer| (buffer.len(), self.read(buffer))))
    }

    fn writev(&self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.takes_vectors()?;
        in_parts(buffers.iter().map(|bytes| (bytes.len(), self.write(bytes))))
    }

    // A stream has no place to go to, so nothing is looked at but the descriptor.
    fn pread(&self, _buffer: &mut [u8]) -> Result<usize, Errno> {
        self.look(|machine| machine.spec.refuse_unless(Fault::PositionedCalls, Errno::ESPIPE).map(|()| 0))
    }

    fn pwrite(&self, _bytes: &[u8]) -> Result<usize, Errno> {
        self.look(|machine| machine.spec.refuse_unless(Fault::PositionedCalls, Errno::ESPIPE).map(|()| 0))
    }

    fn seek(&self) -> Result<u64, Errno> {
        self.look(|machine| machine.spec.refuse_unless(Fault::SeekableFd, Errno::ESPIPE).map(|()| 0))
    }

    // To a driver it makes no difference which process it is.
    fn read_in_child(&self, bytes: usize) -> Result<Vec<u8>, Errno> {
        if self.shared.lock().has(Fault::OtherProcessRefused) {
            return Err(Errno::EPERM);
        }
        let mut buffer = vec![0; bytes];
        let count = self.read(&mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn poll(&self, interest: Interest, timeout: Duration) -> Result<Readiness, Errno> {
        self.require_open()?;
        self.shared.poll(timeout, |machine| Ok(machine.readiness(self.session)?.seen_with(interest)))
    }

    fn epoll(&self, trigger: Trigger) -> Result<Box<dyn EpollSet>, Errno> {
        self.require_open()?;
        if self.with(|machine| Ok(machine.has(Fault::NoPoll)))? {
            return Err(Errno::EPERM);
        }
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(ModelEpollSet { shared, session: self.session, trigger, said: Mutex::new(None) }))
    }

    fn set_nonblocking(&self, nonblocking: bool) -> Result<(), Errno> {
        self.with(|machine| {
            let session = machine.sessions.get_mut(self.session).ok_or(Errno::EBADF)?;
            session.nonblocking = nonblocking;
            Ok(())
        })
    }

    fn duplicate(&self) -> Result<Box<dyn Stream>, Errno> {
        let number = self.with(|machine| machine.sessions.duplicate(self.session).ok_or(Errno::EBADF))?;
        Ok(Box::new(ModelStream { shared: Arc::clone(&self.shared), number, session: self.session, owns: true.into() }))
    }

    fn close_at_once(&self) -> Result<(), Errno> {
        if !self.owns.swap(false, Ordering::SeqCst) {
            return Err(Errno::EBADF);
        }
        let is_waited_for = self.shared.waiting.load(Ordering::SeqCst) > 0;
        self.shared.change(|machine| {
            machine.close(self.session);
            if is_waited_for && machine.has(Fault::CloseUnderCallWedges) {
                machine.wedge();
            }
        });
        Ok(())
    }

    fn precopy_info(&self, call: &mut PrecopyInfoCall) -> Result<i32, Errno> {
        self.with(|machine| machine.precopy_info(self.session, call))
    }

    fn is_close_on_exec(&self) -> Result<bool, Errno> {
        self.look(|machine| Ok(!machine.has(Fault::FdWithoutCloexec)))
    }
}

/// An epoll set of the model.
struct ModelEpollSet {
    shared: Arc<Shared>,
    session: i32,
    trigger: Trigger,
    /// The wakeup after which the set last looked; none before it looked for the first time.
    said: Mutex<Option<u64>>,
}

impl EpollSet for ModelEpollSet {
    fn wait(&self, timeout: Duration) -> Result<Readiness, Errno> {
        self.shared.poll(timeout, |machine| {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            let last = said.replace(machine.sessions.wakes());
            let is_news = match self.trigger {
                Trigger::Level => true,
                Trigger::Edge if machine.has(Fault::EdgesLost) => last.is_none(),
                Trigger::Edge => last != *said,
            };
            match is_news {
                true => Ok(machine.readiness(self.session)?.seen_with(Interest::Read)),
                false => Ok(Readiness::default()),
            }
        })
    }
}

/// What a call answers that was made in parts, each with what was asked for and what came.
fn in_parts(parts: impl Iterator<Item = (usize, Result<usize, Errno>)>) -> Result<usize, Errno> {
    let mut done = 0;
    for (asked, answer) in parts {
        match answer {
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
            Ok(count) => done += count,
        }
        if answer != Ok(asked) {
            break;
        }
    }
    Ok(done)
}

/// What calls on the data_fd of a session that has ended fail with.
fn errno_of_ended(spec: ModelSpec) -> Errno {
    match spec.variation {
        Some(Variation::EndedSessionEio) => Errno::EIO,
        Some(Variation::EndedSessionEbadfd) => Errno::EBADFD,
        _ => Errno::ENODEV,
    }
}

/// The calls on a data_fd.
impl Machine {
    fn read(&mut self, number: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
        let spec = self.spec;
        let session = self.sessions.get_mut(number).ok_or(Errno::EBADF)?;
        let (is_dead, nonblocking) = (session.is_dead(spec), session.nonblocking);
        let Transfer::Saving(saving) = &mut session.transfer else {
            spec.refuse_unless(Fault::ResumingFdReadable, Errno::EBADF)?;
            return Ok(0);
        };
        if is_dead {
            spec.refuse_unless(Fault::OldFdAnswersEof, errno_of_ended(spec))?;
            return Ok(0);
        }
        if buffer.is_empty() {
            saving.skip(usize::from(spec.has(Fault::EmptyReadTakesByte)));
            if spec.has(Fault::EmptyReadEndsSession) {
                self.sessions.end();
            }
            return Ok(0);
        }
        let answer = saving.read(buffer, &self.memory);
        match (answer, spec.effect()) {
            (Err(Errno::ENOMSG), Some(Fault::NonblockingReadsZero)) if nonblocking => return Ok(0),
            (Err(Errno::ENOMSG), Some(Fault::NonblockingEndsSession)) if nonblocking => self.sessions.end(),
            _ => {}
        }
        answer
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
            return Err(errno_of_ended(spec));
        }
        let written = resuming.write(bytes);
        let (is_corrupt, is_late) = (resuming.is_broken_inside(), resuming.is_broken_late());
        let is_second = session.is_second_writer();
        let wedges = is_second && spec.has(Fault::SecondWriterWedges)
            || is_corrupt && spec.has(Fault::CorruptStreamWedges)
            || is_late && spec.has(Fault::LateFlipWedges);
        if wedges {
            self.wedge();
        }
        written
    }

    /// What a good read would answer, but no data can be handed over.
    fn read_into_unwritable(&mut self, number: i32, bytes: usize) -> Result<usize, Errno> {
        let before = self.sessions.get(number).map(|session| session.transfer.clone());
        let count = self.read(number, &mut vec![0; bytes])?;
        if count == 0 || self.has(Fault::BadBufferIgnored) {
            return Ok(count);
        }
        if let (false, Some(before), Some(session)) =
            (self.has(Fault::BadBufferLosesData), before, self.sessions.get_mut(number))
        {
            session.transfer = before;
        }
        Err(Errno::EFAULT)
    }

    /// What a good write would answer if it had to fail, but no data can be taken.
    fn write_from_unreadable(&mut self, number: i32, bytes: usize) -> Result<usize, Errno> {
        let session = self.sessions.get(number).ok_or(Errno::EBADF)?;
        match &session.transfer {
            Transfer::Saving(_) => Err(Errno::EBADF),
            Transfer::Resuming(_) if session.is_dead(self.spec) => Err(errno_of_ended(self.spec)),
            Transfer::Resuming(_) if self.has(Fault::BadBufferIgnored) => Ok(bytes),
            Transfer::Resuming(_) => Err(Errno::EFAULT),
        }
    }

    /// What poll says at once; all false if it has to wait.
    fn readiness(&self, number: i32) -> Result<Readiness, Errno> {
        let session = self.sessions.get(number).ok_or(Errno::EBADF)?;
        let mut readiness = Readiness::default();
        if self.has(Fault::NoPoll) {
            (readiness.readable, readiness.writable) = (true, true);
            return Ok(readiness);
        }
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
        if matches!(call.placement, Placement::Unmapped | Placement::HeaderOnly) {
            spec.refuse_unless(Fault::PrecopyInfoPositiveReturn, Errno::EFAULT)?;
            return Ok(PRECOPY_INFO_BYTES as i32);
        }
        if call.argsz > PRECOPY_INFO_BYTES && spec.has(Fault::PrecopyInfoLargeArgszRefused) {
            return Err(Errno::EINVAL);
        }
        if call.argsz < PRECOPY_INFO_BYTES {
            spec.refuse_unless(Fault::PrecopyInfoArgszUnchecked, Errno::EINVAL)?;
        }
        if is_dead {
            return Err(errno_of_ended(spec));
        }
        if !permitted {
            return Err(if spec.has(Fault::PrecopyInfoElsewhereEperm) { Errno::EPERM } else { Errno::EINVAL });
        }
        if call.placement != Placement::Ordinary {
            if spec.has(Fault::LostReinitForgotten) {
                saving.tell_reinit();
            }
            spec.refuse_unless(Fault::PrecopyInfoPositiveReturn, Errno::EFAULT)?;
            return Ok(PRECOPY_INFO_BYTES as i32);
        }
        // Without the opt-in the flags have no meaning, and kernels hand them back as they came in.
        let says_reinit = self.precopy_info_v2 || spec.has(Fault::ReinitWithoutOptIn);
        if says_reinit && !spec.has(Fault::PrecopyInfoEchoesFlags) {
            call.flags = if saving.tell_reinit() { PRECOPY_INFO_REINIT } else { 0 };
        }
        let estimate = saving.estimate();
        call.initial_bytes = estimate.initial_bytes;
        call.dirty_bytes = estimate.dirty_bytes;
        Ok(0)
    }
}
