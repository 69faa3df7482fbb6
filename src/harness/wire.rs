//! Lines of JSON between supervisor, keeper and executor, read with a bound on time.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::incident::{Incident, Phase};
use super::journal::LabReady;
use super::outcome::Outcome;
use super::stopwatch::{Stopwatch, TICK};
use super::verdict::Verdict;
use crate::lab::Surroundings;
use crate::uapi::stop;

/// What is asked of an executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Run this check.
    Run(String),
    /// Put everything away and end.
    End,
}

/// What is asked of a guest, until its host switches it off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestRequest {
    /// Have a device run a check.
    Run {
        /// The device's number, from 0 on.
        device: usize,
        /// The check's name.
        check: String,
    },
    /// Tell where the device of this name is.
    Surroundings(String),
    /// Close the devices.
    Close,
    /// Unbind the devices, and unload what was loaded.
    Unbind,
    /// Power off.
    PowerOff,
    /// Close the devices, set these parameters of modules, and open them again.
    SetParameters(Vec<Parameter>),
}

/// A parameter of a module that is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// The module's name.
    pub module: String,
    /// The parameter's name.
    pub name: String,
    /// What it is set to.
    pub value: String,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The guest's init runs, and goes on talking over this channel.
    Up(Channel),
    /// The guest begins this phase.
    Entered(Phase),
    /// Something went wrong while no check ran.
    Incident(Box<Incident>),
    /// The guest has closed or unbound its devices.
    Finished(Phase),
    /// The device is open.
    Ready(Box<LabReady>),
    /// The device cannot be opened.
    NotReady(String),
    /// A key of the profile is tried before the check goes on, whose time begins anew.
    Calibrating,
    /// A check is over.
    Done(Box<Done>),
    /// A check is over, and the executor ends: what the check left in it would be in the way of the next one.
    Last(Box<Done>),
    /// A check is over on one of a guest's devices.
    Ran {
        /// The device's number.
        device: usize,
        /// What came of it.
        done: Box<Done>,
    },
    /// Where the device is.
    Surroundings(Box<Surroundings>),
    /// What a probe saw or a script said, or why there is nothing.
    Probed(Result<Value, String>),
}

/// Over what a guest and its host talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The second serial port, which every kernel has. Each byte costs an exit from the guest.
    Serial,
    /// A virtio-serial port, where the kernel has the driver.
    Virtio,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What it came to.
    pub outcome: Outcome,
    /// Why the device, or the lab, cannot be used any more, if it cannot.
    pub lost: Option<String>,
}

impl Done {
    /// The result of a check that took the device or the lab with it, or never had it.
    pub fn lost(verdict: Verdict, why: impl Into<String>) -> Done {
        let why = why.into();
        Done { outcome: Outcome::without_judgement(verdict, why.clone()), lost: Some(why) }
    }
}

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The other side was stopped by a signal, and nobody continued it.
    #[error("the other side was stopped by a signal, and not continued")]
    Stopped,
    /// The other side is gone.
    #[error("the other side is gone")]
    Closed,
    /// This process was asked to stop, and nothing came in the time that was left.
    #[error("it was asked to stop")]
    AskedToStop,
    /// Reading or writing failed.
    #[error("failed to talk to the other side: {0}")]
    Io(#[from] std::io::Error),
    /// What came is no message.
    #[error("an answer that is no message: {0:?}")]
    Garbage(String),
}

/// Sends one message as one line.
///
/// # Errors
/// What writing answered.
pub fn send(mut to: impl Write, message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads messages, a line each.
#[derive(Debug)]
pub struct Receiver<R> {
    from: R,
    pending: VecDeque<u8>,
}

impl<R: Read + AsFd> Receiver<R> {
    /// Reads from this descriptor.
    pub fn new(from: R) -> Receiver<R> {
        Receiver { from, pending: VecDeque::new() }
    }

    /// The next message, however long it takes.
    ///
    /// # Errors
    /// Why none came.
    pub fn receive_next<M: DeserializeOwned>(&mut self) -> Result<M, WireError> {
        let line = self.line(|receiver| receiver.fill(PollTimeout::NONE).map(drop))?;
        understand(&line)
    }

    /// The next message, if it is there already.
    ///
    /// # Errors
    /// Why none comes any more.
    pub fn receive_ready<M: DeserializeOwned>(&mut self) -> Result<Option<M>, WireError> {
        let nothing = || WireError::TimedOut(Duration::ZERO);
        let line = self.line(|receiver| receiver.fill(PollTimeout::ZERO)?.then_some(()).ok_or_else(nothing));
        match line {
            Err(WireError::TimedOut(_)) => Ok(None),
            line => understand(&line?).map(Some),
        }
    }

    /// The next message, if it comes within the bound. Time in which this process stood still does not count.
    ///
    /// # Errors
    /// Why none came.
    pub fn receive<M: DeserializeOwned>(&mut self, bound: Duration) -> Result<M, WireError> {
        self.receive_by(&mut Stopwatch::start([]), bound)
    }

    /// The same by a stopwatch that sees who else may stand still.
    ///
    /// # Errors
    /// Why none came.
    pub fn receive_by<M: DeserializeOwned>(&mut self, watch: &mut Stopwatch, bound: Duration) -> Result<M, WireError> {
        let end = watch.ran() + bound;
        let line = self.line(|receiver| {
            let left = end.saturating_sub(watch.ran());
            // Rounded up, or the last millisecond would be spent in a loop.
            let slept = left.min(TICK) + Duration::from_millis(1);
            let filled = receiver.fill(PollTimeout::try_from(slept).unwrap_or(PollTimeout::MAX));
            watch.look(slept);
            match filled {
                Ok(false) if watch.is_stopped_for_good() => Err(WireError::Stopped),
                Ok(false) if watch.ran() >= end => Err(WireError::TimedOut(bound)),
                Ok(false) if stop::grace_left() == Some(Duration::ZERO) => Err(WireError::AskedToStop),
                filled => filled.map(drop),
            }
        })?;
        understand(&line)
    }

    fn line(&mut self, mut fill: impl FnMut(&mut Self) -> Result<(), WireError>) -> Result<Vec<u8>, WireError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending.iter().skip(searched).position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.pending.drain(..=searched + at).collect();
                line.pop();
                return Ok(line);
            }
            searched = self.pending.len();
            fill(self)?;
        }
    }

    /// Reads what there is within this time, and says whether there was anything.
    fn fill(&mut self, timeout: PollTimeout) -> Result<bool, WireError> {
        let mut fds = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(errno) => return Err(WireError::Io(errno.into())),
        }
        let mut chunk = [0u8; 4096];
        match self.from.read(&mut chunk) {
            Ok(0) => Err(WireError::Closed),
            Ok(count) => {
                self.pending.extend(&chunk[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(false),
            Err(error) if error.raw_os_error() == Some(Errno::ECONNRESET as i32) => Err(WireError::Closed),
            Err(error) => Err(WireError::Io(error)),
        }
    }
}

fn understand<M: DeserializeOwned>(line: &[u8]) -> Result<M, WireError> {
    serde_json::from_slice(line).map_err(|_| WireError::Garbage(String::from_utf8_lossy(line).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn messages_arrive_whole_however_they_are_cut() -> Result<(), WireError> {
        let (mut near, far) = UnixStream::pair()?;
        let mut receiver = Receiver::new(far);
        near.write_all(b"{\"run\":\"fsm::a\"}\n\"en")?;
        let bound = Duration::from_secs(5);
        assert_eq!(receiver.receive::<Request>(bound)?, Request::Run("fsm::a".into()));
        let late = receiver.receive::<Request>(Duration::from_millis(5));
        assert!(matches!(late, Err(WireError::TimedOut(_))));
        near.write_all(b"d\"\n")?;
        assert_eq!(receiver.receive::<Request>(bound)?, Request::End);
        assert!(matches!(receiver.receive_ready::<Request>(), Ok(None)));
        near.write_all(b"\"end\"\n\"end\"\n")?;
        assert_eq!(receiver.receive_next::<Request>()?, Request::End);
        assert_eq!(receiver.receive_ready::<Request>()?, Some(Request::End));
        drop(near);
        let gone = receiver.receive::<Request>(bound);
        assert!(matches!(gone, Err(WireError::Closed)));
        Ok(())
    }
}
