//! What can be done with a data_fd beside reading and writing it. Each is written down.

use std::fmt;
use std::time::Duration;

use super::Bench;
use super::tell::{errno_name, placement_name, tell_readiness, tell_return, tell_size};
use crate::harness::check::{Environment, Interruption, Judgement};
use crate::harness::measure::Sample;
use crate::harness::session::{Direction, EndedSession, Session};
use crate::harness::stream::StreamEnd;
use crate::requirement::precopy;
use crate::uapi::Errno;
use crate::uapi::feature::{FeatureCall, Placement};
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::state::State;
use crate::uapi::stream::{Interest, Readiness};

/// New data that is on its way is there within this.
const DATA_COMES_WITHIN: Duration = Duration::from_secs(1);

/// How often a device that is never idle may be readable at the temporary end.
const QUIET_TRIES: usize = 5;

/// The estimates of PRECOPY_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimates {
    /// Initial data that is left to read.
    pub initial_bytes: u64,
    /// Data that was dirtied since it was read.
    pub dirty_bytes: u64,
}

impl Estimates {
    /// Both together.
    pub fn sum(self) -> u64 {
        self.initial_bytes.saturating_add(self.dirty_bytes)
    }
}

impl fmt::Display for Estimates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "initial_bytes {}, dirty_bytes {}", self.initial_bytes, self.dirty_bytes)
    }
}

impl Bench {
    /// PRECOPY_INFO, whatever the call holds.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn precopy_info(&mut self, session: &Session, call: &mut PrecopyInfoCall) -> Result<i32, Errno> {
        let mut what = format!("PRECOPY_INFO argsz {} flags {:#x}", call.argsz, call.flags);
        if call.placement != Placement::Ordinary {
            what += &format!(" in {}", placement_name(call.placement));
        }
        let stream = session.stream();
        let (answer, _) = self.recorder.operation(
            what,
            || (stream.precopy_info(call), *call),
            |(answer, call)| match answer {
                Ok(0) => format!("success (0): flags {:#x}, {}", call.flags, estimates_of(call)),
                answer => tell_return(answer),
            },
        );
        answer
    }

    /// PRECOPY_INFO on a session that has ended.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn precopy_info_of_ended(&mut self, ended: &EndedSession) -> Result<i32, Errno> {
        let stream = ended.stream();
        let what = format!("PRECOPY_INFO on data_fd {} of the ended session", stream.number());
        self.recorder.operation(what, || stream.precopy_info(&mut PrecopyInfoCall::default()), tell_return)
    }

    /// The estimates, where PRECOPY_INFO is bound to work.
    ///
    /// # Errors
    /// That it does not.
    pub fn estimates(&mut self, session: &Session) -> Judgement<Estimates> {
        let mut call = PrecopyInfoCall::default();
        match self.precopy_info(session, &mut call) {
            Ok(0) => Ok(estimates_of(&call)),
            answer => {
                let why = format!("nothing is known of the estimates: PRECOPY_INFO answered {}", tell_return(&answer));
                Err(Interruption::blocked_by(self.broken_by_info(answer), why))
            }
        }
    }

    /// The estimates as one more point of a course that reports draw. All points of a check are of one session.
    ///
    /// # Errors
    /// That PRECOPY_INFO does not work.
    pub fn follow_estimates(&mut self, session: &Session) -> Judgement<Estimates> {
        let estimates = self.estimates(session)?;
        let Estimates { initial_bytes, dirty_bytes } = estimates;
        self.samples.extend(self.recorder.last_end().map(|at| Sample::Estimates { at, initial_bytes, dirty_bytes }));
        Ok(estimates)
    }

    /// Brings the device to a state of PRE_COPY, and reads all that there is for the moment.
    ///
    /// # Errors
    /// The skip, or what stood in the way.
    pub fn bring_to_temporary_end(&mut self, state: State) -> Judgement<Session> {
        let session = self.bring_to_session(state)?;
        match self.drain(&session).end {
            // Which of the two it says is for one check to judge, and no reason to keep all others from theirs.
            StreamEnd::Temporary | StreamEnd::Permanent => Ok(session),
            end => Err(Interruption::blocked_by(
                self.broken_by_end(state, &end),
                format!("the temporary end was not reached: read came to {end}"),
            )),
        }
    }

    /// The same, where poll waits. On a data_fd without poll, or whose poll is always readable, nothing can wait, and that
    /// is one finding of one check.
    ///
    /// # Errors
    /// The skip, or what stood in the way.
    pub fn bring_to_quiet_end(&mut self, state: State) -> Judgement<Session> {
        let session = self.bring_to_temporary_end(state)?;
        for _ in 0..QUIET_TRIES {
            let ready = self.poll(&session);
            if !matches!(ready, Ok(ready) if ready.readable) {
                return Ok(session);
            }
            // Data of a device that is never idle is a good reason to be readable.
            self.drain(&session);
        }
        Err(Interruption::blocked_by(&precopy::POLL_QUIET, "poll is readable at the temporary end, so nothing waits"))
    }

    /// What poll says of the session at once.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn poll(&mut self, session: &Session) -> Result<Readiness, Errno> {
        self.poll_for(session, Duration::ZERO)
    }

    /// Reads once, and if there is nothing yet, once more when poll says so or should have.
    ///
    /// # Errors
    /// The errno of the last read, as it came.
    pub fn read_when_ready(&mut self, session: &Session, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.read(session, buffer) {
            Err(Errno::ENOMSG | Errno::EAGAIN) => {}
            answer => return answer,
        }
        // What it answers shows in the read.
        let _ = self.poll_for(session, DATA_COMES_WITHIN);
        self.read(session, buffer)
    }

    fn poll_for(&mut self, session: &Session, timeout: Duration) -> Result<Readiness, Errno> {
        let stream = session.stream();
        let interest = match session.direction() {
            Direction::Saving => Interest::Read,
            Direction::Resuming => Interest::Write,
        };
        let what = match timeout.is_zero() {
            true => format!("poll data_fd {}", stream.number()),
            false => format!("poll data_fd {} for {timeout:?}", stream.number()),
        };
        self.recorder.operation(what, || stream.poll(interest, timeout), tell_readiness)
    }

    /// Has reads fail instead of wait.
    ///
    /// # Errors
    /// That it cannot be had.
    pub fn set_nonblocking(&mut self, session: &Session) -> Judgement {
        let stream = session.stream();
        let what = format!("set O_NONBLOCK on data_fd {}", stream.number());
        self.recorder.operation(what, || stream.set_nonblocking(true), tell_done).map_err(blocked("set O_NONBLOCK"))
    }

    /// Another descriptor of the same session.
    ///
    /// # Errors
    /// That there is none to be had.
    pub fn duplicate(&mut self, session: &Session) -> Judgement<Session> {
        let stream = session.stream();
        let what = format!("dup data_fd {}", stream.number());
        let duplicate = self.recorder.operation(
            what,
            || stream.duplicate(),
            |duplicate| match duplicate {
                Ok(duplicate) => format!("data_fd {}", duplicate.number()),
                Err(errno) => errno_name(*errno),
            },
        );
        Ok(Session::new(duplicate.map_err(blocked("dup"))?, session.direction()))
    }

    /// Moves the file position.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn seek(&mut self, session: &Session) -> Result<u64, Errno> {
        let stream = session.stream();
        let tell = |answer: &Result<u64, Errno>| tell_size(&answer.map(|position| position as usize));
        self.recorder.operation(format!("lseek data_fd {} to 0", stream.number()), || stream.seek(), tell)
    }

    /// Reads or writes, as the session goes, at a place that the call names.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn transfer_at(&mut self, session: &Session) -> Result<usize, Errno> {
        let stream = session.stream();
        let mut byte = [0u8];
        match session.direction() {
            Direction::Saving => {
                let what = format!("pread 1 at 0 from data_fd {}", stream.number());
                self.recorder.operation(what, || stream.pread(&mut byte), tell_size)
            }
            Direction::Resuming => {
                let what = format!("pwrite 1 at 0 to data_fd {}", stream.number());
                self.recorder.operation(what, || stream.pwrite(&byte), tell_size)
            }
        }
    }

    /// Reads in another process, which has inherited the data_fd.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn read_in_child(&mut self, session: &Session, bytes: usize) -> Result<Vec<u8>, Errno> {
        let stream = session.stream();
        let what = format!("fork, and in the child read {bytes} from data_fd {}", stream.number());
        let tell = |answer: &Result<Vec<u8>, Errno>| tell_size(&answer.as_ref().map(Vec::len).map_err(|errno| *errno));
        self.recorder.operation(what, || stream.read_in_child(bytes), tell)
    }

    /// Makes a feature call while no descriptor is to be had.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn feature_without_descriptors(&mut self, call: &mut FeatureCall) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        let what = format!("{}, with no descriptor free", call.describe());
        self.recorder.operation(what, || device.feature_without_descriptors(call), tell_return)
    }

    /// How many descriptors are open where the device is.
    ///
    /// # Errors
    /// That they cannot be counted.
    pub fn open_descriptors(&mut self) -> Judgement<usize> {
        let device = self.device.as_ref();
        let tell = |count: &Result<usize, Errno>| match count {
            Ok(count) => count.to_string(),
            Err(errno) => errno_name(*errno),
        };
        let count = self.recorder.operation("count open descriptors".into(), || device.open_descriptors(), tell);
        count.map_err(blocked("count descriptors"))
    }
}

fn estimates_of(call: &PrecopyInfoCall) -> Estimates {
    Estimates { initial_bytes: call.initial_bytes, dirty_bytes: call.dirty_bytes }
}

fn tell_done(answer: &Result<(), Errno>) -> String {
    match answer {
        Ok(()) => "ok".to_owned(),
        Err(errno) => errno_name(*errno),
    }
}

fn blocked(what: &str) -> impl Fn(Errno) -> Interruption {
    let what = what.to_owned();
    move |errno| {
        let why = format!("this process cannot {what}: {}", errno_name(errno));
        Interruption::hindered(Environment::Resources, why)
    }
}
