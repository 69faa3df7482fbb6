//! Calls from several threads at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Bench;
use super::tell::{tell_return, tell_size};
use super::waiting::until;
use crate::device::{Device, Stream};
use crate::harness::check::{Interruption, Judgement};
use crate::harness::session::Session;
use crate::requirement::{Requirement, reset};
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::process::Thread;
use crate::uapi::state::{State, name_of};
use crate::uapi::stream::Interest;

/// What a read or write of a crowd moves.
const PART_BYTES: usize = 4096;

/// How long a poll of a crowd waits.
const POLL: Duration = Duration::from_millis(5);

/// How long who closes under a call waits for one, at most.
const CALL_WITHIN: Duration = Duration::from_millis(50);

/// One call. Those on a session go to the one that began last, whichever thread asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Ask for a state.
    Set(State),
    /// Ask which state it is.
    Get,
    /// Ask for the estimate of the stream.
    DataSize,
    /// Ask what the device is made of.
    Info,
    /// Reset.
    Reset,
    /// Read from the session.
    Read,
    /// Write to the session.
    Write,
    /// Poll the session.
    Poll,
    /// Ask the session for the estimates of PRE_COPY.
    PrecopyInfo,
    /// Close the session's data_fd, once nobody is in a call on it.
    Close,
    /// Close it while somebody waits for it, if there is nothing to read and anybody polls it.
    CloseAtOnce,
}

/// What was seen in a crowd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How many calls were made.
    pub calls: usize,
    /// How many data_fds came.
    pub data_fds: usize,
    /// The states that GET answered.
    pub states: BTreeSet<u32>,
}

impl Seen {
    fn tell(&self) -> String {
        let states: Vec<String> = self.states.iter().map(|state| name_of(*state).to_string()).collect();
        format!("{} calls came back, {} data_fds, states {}", self.calls, self.data_fds, states.join(", "))
    }
}

impl Bench {
    /// Has a thread for each script do it again and again at once: the first one that many times, the others until the
    /// first is done, but at least once. What is answered is not judged, and all sessions are closed in the end.
    pub fn crowd(&mut self, scripts: &[&[Act]], rounds: usize) -> Seen {
        let crowd = Crowd::new(self.device.as_ref(), scripts.len());
        let what = format!("{} threads at once, the first one {rounds} times: {scripts:?}", scripts.len());
        self.recorder.operation(
            what,
            || {
                thread::scope(|scope| {
                    for (number, script) in scripts.iter().enumerate() {
                        let crowd = &crowd;
                        scope.spawn(move || match number {
                            0 => crowd.lead(script, rounds),
                            _ => crowd.follow(script),
                        });
                    }
                });
                crowd.seen()
            },
            Seen::tell,
        )
    }

    /// Writes the same bytes to a session from two threads at once.
    pub fn write_twice_at_once(&mut self, session: &Session, bytes: &[u8]) {
        let stream = session.stream();
        let start = Barrier::new(2);
        let write = || {
            start.wait();
            bytes.chunks(PART_BYTES).try_fold(0, |done, part| stream.write(part).map(|count| done + count))
        };
        let what = format!("write {} to data_fd {} from two threads at once", bytes.len(), stream.number());
        let _ = self.recorder.operation(
            what,
            || {
                thread::scope(|scope| {
                    let other = scope.spawn(write);
                    (write(), other.join())
                })
            },
            |(one, other)| match other {
                Ok(other) => format!("{} and {}", tell_size(one), tell_size(other)),
                Err(_) => format!("{} and a panic", tell_size(one)),
            },
        );
    }

    /// After a crowd the device can be brought to RUNNING and saved. What keeps a device from that anyway is for other
    /// checks to judge.
    ///
    /// # Errors
    /// That it cannot.
    pub fn expect_survived(&mut self, requirement: &'static Requirement, asked: &str) -> Judgement {
        let before = self.get_state();
        let returned = self.return_by_reset(true).map_err(|reset| {
            let answered = tell_return(&reset);
            Interruption::blocked_by(
                &reset::RUNNING,
                format!("the device could not be brought back to RUNNING: reset answered {answered}"),
            )
        });
        let survived = returned.and_then(|()| self.can_be_saved());
        let (kept, actual) = match survived {
            Ok(()) => (true, String::new()),
            Err(Interruption::Blocked { why, .. }) => (false, why),
            Err(other) => return Err(other),
        };
        if !kept {
            self.unless_reset_never_helps(before.ok())?;
            self.can_be_saved()?;
        }
        self.judge(requirement, kept, asked, "the device to be brought to RUNNING and saved", actual)
    }

    fn can_be_saved(&mut self) -> Judgement {
        let session = self.bring_to_session(State::StopCopy)?;
        self.save(&session).map(drop)
    }
}

struct Crowd<'a> {
    device: &'a dyn Device,
    start: Barrier,
    led: AtomicBool,
    polling: Mutex<Vec<Thread>>,
    session: Mutex<Option<Arc<dyn Stream>>>,
    calls: AtomicUsize,
    data_fds: AtomicUsize,
    states: Mutex<BTreeSet<u32>>,
}

impl Crowd<'_> {
    fn new(device: &dyn Device, threads: usize) -> Crowd<'_> {
        Crowd {
            device,
            start: Barrier::new(threads),
            led: AtomicBool::new(false),
            polling: Mutex::new(Vec::new()),
            session: Mutex::new(None),
            calls: AtomicUsize::new(0),
            data_fds: AtomicUsize::new(0),
            states: Mutex::new(BTreeSet::new()),
        }
    }

    fn lead(&self, script: &[Act], rounds: usize) {
        self.start.wait();
        for _ in 0..rounds {
            script.iter().for_each(|act| self.act(*act));
        }
        self.led.store(true, Ordering::Release);
    }

    fn follow(&self, script: &[Act]) {
        self.start.wait();
        loop {
            script.iter().for_each(|act| self.act(*act));
            if self.led.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Nobody can say what is right to be answered, so nothing is made of it but what [`Seen`] holds.
    fn act(&self, act: Act) {
        match act {
            Act::Set(state) => self.set(state),
            Act::Get => {
                if let Ok(answer) = self.device.state() {
                    self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(answer.device_state);
                }
            }
            Act::DataSize => drop(self.device.mig_data_size()),
            Act::Info => drop(self.device.info()),
            Act::Reset => drop(self.device.reset()),
            Act::Close => drop(self.change_session(None)),
            Act::CloseAtOnce => self.with_session(|stream| {
                // Nobody waits for what has something to read.
                if stream.poll(Interest::Read, Duration::ZERO).is_ok_and(|ready| !ready.readable) {
                    until(CALL_WITHIN, || self.is_waited_for());
                }
                stream.close_at_once()
            }),
            Act::Read => self.with_session(|stream| stream.read(&mut [0; PART_BYTES])),
            Act::Write => self.with_session(|stream| stream.write(&[0; PART_BYTES])),
            Act::Poll => self.with_session(|stream| {
                let me = Thread::current();
                self.polling().push(me);
                let _ = stream.poll(Interest::Read, POLL);
                self.polling().retain(|thread| *thread != me);
            }),
            Act::PrecopyInfo => self.with_session(|stream| stream.precopy_info(&mut PrecopyInfoCall::default())),
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn polling(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.polling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody who polls sleeps by now.
    fn is_waited_for(&self) -> bool {
        // A copy, since who waits to be put down or struck off would seem to wait for the session.
        let polling = self.polling().clone();
        polling.iter().any(|thread| thread.sleeps() == Some(true))
    }

    fn set(&self, state: State) {
        let Ok(transition) = self.device.set_state(state.number()) else {
            return;
        };
        if let Some(stream) = transition.stream {
            self.data_fds.fetch_add(1, Ordering::Relaxed);
            drop(self.change_session(Some(Arc::from(stream))));
        }
    }

    /// Puts another session in its place. The old one is closed when nobody is in a call on it any more.
    fn change_session(&self, session: Option<Arc<dyn Stream>>) -> Option<Arc<dyn Stream>> {
        let mut current = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, session)
    }

    fn with_session<T>(&self, call: impl FnOnce(&dyn Stream) -> T) {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(stream) = session {
            let _ = call(stream.as_ref());
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            calls: self.calls.load(Ordering::Relaxed),
            data_fds: self.data_fds.load(Ordering::Relaxed),
            states: self.states.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
