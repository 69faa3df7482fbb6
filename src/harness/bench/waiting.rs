//! Threads that wait for a session while the check does something.
//!
//! Such a thread may never come back, which is then the finding. It is left behind; it owns all that it needs.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::Bench;
use super::stimuli::into_interruption;
use super::tell::{errno_name, tell_readiness, tell_return, tell_size};
use crate::device::{EpollSet, Stream};
use crate::harness::check::{Environment, Interruption, Judgement};
use crate::harness::session::{Direction, Session};
use crate::requirement::{Requirement, precopy, stop_copy};
use crate::stimulus::{ProfileKey, Stimulus};
use crate::uapi::Errno;
use crate::uapi::process::Thread;
use crate::uapi::state::State;
use crate::uapi::stream::{Interest, Readiness, Trigger};

/// Who is told to wait does so within this, if it waits at all.
const WAITS_WITHIN: Duration = Duration::from_secs(1);

/// A wait that ends by itself, so that a thread that was left behind goes away some time.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How often a thread asks for STOP_COPY or RUNNING while the device is reset.
const TURNS: usize = 10;

/// Who waits for the moment that somebody reads looks again and again for so long.
const LOOKS_FOR: Duration = Duration::from_micros(50);

/// How long it sleeps then, at most.
const DOZE: Duration = Duration::from_millis(1);

/// How long a race may take where the device is too slow for all of its rounds, unless the user wants it worn out.
const RACE_LIMIT: Duration = Duration::from_secs(3);

/// How a thread waits for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// In poll.
    Poll,
    /// In epoll_wait, for a level.
    EpollLevel,
    /// In epoll_wait, for an edge.
    EpollEdge,
    /// It does not wait but reads again and again, so that a device whose reads wait has one that does.
    Read,
}

impl Wait {
    /// All ways to wait for data, and two at once in the commonest.
    pub const POLLS: [Wait; 4] = [Wait::Poll, Wait::Poll, Wait::EpollLevel, Wait::EpollEdge];

    /// The requirement that a session breaks on which nothing can wait like this.
    fn needs(self, state: Option<State>) -> &'static Requirement {
        match (self, state) {
            (Wait::Poll | Wait::EpollLevel | Wait::EpollEdge, _) => &precopy::POLL_QUIET,
            (Wait::Read, Some(State::PreCopy | State::PreCopyP2p)) => &precopy::EOS_ENOMSG,
            (Wait::Read, _) => &stop_copy::END_PERMANENT,
        }
    }
}

/// What a thread that waited came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// How it waited.
    pub wait: Wait,
    /// How it ended.
    pub end: WaitEnd,
}

/// How waiting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitEnd {
    /// Before anything was done, with this answer, so it did not wait at all.
    AtOnce(String),
    /// After what was done, with this answer.
    Woken(String),
    /// Not at all.
    Never,
}

/// What came of a race between a device that changes and a user who waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raced {
    /// Each of so many changes was seen.
    AllSeen(usize),
    /// After so many that were, there was one that woke nobody, although there is data.
    Lost(usize),
    /// After so many that were, there was one that brought no data.
    Unstreamed(usize),
    /// The user could not go on, for this reason.
    Stopped(String),
}

/// A thread that waits.
struct Waiter {
    wait: Wait,
    thread: Option<Thread>,
    calls: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    answers: Receiver<Said>,
}

/// What a thread that waits has to say.
enum Said {
    /// It is about to wait.
    Begins(Thread),
    /// It does not wait any more.
    Ended(String),
}

impl Bench {
    /// Has threads wait for the session, and once they do, does something. Says what each of them came to.
    ///
    /// # Errors
    /// What the action answered, or that no thread could be had.
    pub fn while_waiting(
        &mut self,
        session: &Session,
        waits: &[Wait],
        action: impl FnOnce(&mut Bench) -> Judgement,
    ) -> Judgement<Vec<Waited>> {
        let number = session.stream().number();
        self.waited_in = self.stands_in;
        let begin = |wait: &Wait| Waiter::begin(*wait, session);
        let mut waiters = waits.iter().map(begin).collect::<Judgement<Vec<Waiter>>>()?;
        let begun: Vec<Option<String>> = waiters.iter_mut().map(Waiter::until_it_waits).collect();
        for (waiter, ended) in waiters.iter().zip(&begun) {
            let told = ended.clone().unwrap_or_else(|| "waits".to_owned());
            self.recorder.operation(
                format!("another thread: {} data_fd {number}", waiter.wait),
                || told,
                String::clone,
            );
        }
        let done = action(self);
        // One for all of them: several that sleep on are waited for no longer than one.
        let end = Instant::now() + self.host.patience;
        let ends = waiters.iter().zip(begun).map(|(waiter, begun)| match begun {
            Some(answer) => WaitEnd::AtOnce(answer),
            None => waiter.ends_by(end),
        });
        let waited: Vec<Waited> = ends.zip(waits).map(|(end, wait)| Waited { wait: *wait, end }).collect();
        for Waited { wait, end } in &waited {
            self.recorder.operation(format!("the other thread in {wait}"), || end.to_string(), String::clone);
        }
        done.map(|()| waited)
    }

    /// Every thread that waited was woken.
    ///
    /// # Errors
    /// That one was not, or never waited.
    pub fn expect_woken(&mut self, requirement: &'static Requirement, asked: &str, waited: &[Waited]) -> Judgement {
        for Waited { wait, end } in waited {
            if let WaitEnd::AtOnce(answer) = end {
                let why = format!("{wait} does not wait where there is nothing to read: it answered {answer}");
                return Err(Interruption::blocked_by(wait.needs(self.waited_in), why));
            }
            let asked = format!("{asked}, while another thread is in {wait}");
            let expected = format!("{wait} to come back of it within {:?}", self.host.patience);
            self.judge(requirement, *end != WaitEnd::Never, asked, expected, end.to_string())?;
        }
        Ok(())
    }

    /// Changes device state again and again, while another thread waits for each change and reads it.
    ///
    /// # Errors
    /// The skip where nothing changes the device, or that no thread could be had.
    pub fn race_with_poller(&mut self, session: &Session, rounds: usize) -> Judgement<Raced> {
        self.require(ProfileKey::Dirty)?;
        let poller = Arc::new(RacingPoller::default());
        let (stream, mine) = (session.shared_stream(), Arc::clone(&poller));
        spawn(move || mine.run(stream.as_ref()))?;
        let what = format!("change device state {rounds} times, while another thread polls and reads it");
        let device = self.device.as_ref();
        let bounds = RaceBounds { rounds, limit: race_limit(self.host.wear), patience: self.host.patience };
        let raced = self.recorder.operation(
            what,
            || {
                let raced = race(&poller, bounds, || device.stimulate(Stimulus::Dirty(1)));
                // Looked at before the poller is woken, who takes what there is.
                let has_data = session.stream().poll(Interest::Read, Duration::ZERO).is_ok_and(|ready| ready.readable);
                let raced = raced.map(|raced| match raced {
                    Raced::Lost(rounds) if !has_data => Raced::Unstreamed(rounds),
                    other => other,
                });
                poller.stop.store(true, Ordering::Relaxed);
                // One change more, for a poller that waits.
                let _ = device.stimulate(Stimulus::Dirty(1));
                raced
            },
            |raced| match raced {
                Ok(raced) => raced.to_string(),
                Err(error) => error.to_string(),
            },
        );
        raced.map_err(into_interruption)
    }

    /// Resets the device so many times, each while another thread asks for STOP_COPY and RUNNING by turns. Says what the
    /// first reset answered that did not answer 0.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn reset_during_transitions(&mut self, resets: usize) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        let ask = |turn: usize| {
            let state = if turn.is_multiple_of(2) { State::StopCopy } else { State::Running };
            // Some of them fail, since a reset comes in between.
            drop(device.set_state(state.number()));
        };
        let reset_meanwhile = |_| amid(TURNS, ask, || device.reset());
        self.recorder.operation(
            format!("RESET {resets} times, while another thread asks for STOP_COPY and RUNNING by turns"),
            || {
                let answers: Vec<_> = (0..resets).map(reset_meanwhile).collect();
                answers.into_iter().find(|answer| *answer != Ok(0)).unwrap_or(Ok(0))
            },
            tell_return,
        )
    }
}

impl Waiter {
    fn begin(wait: Wait, session: &Session) -> Judgement<Waiter> {
        let (tell, answers) = sync_channel(2);
        let (calls, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let waiter = Waiter { wait, thread: None, calls: Arc::clone(&calls), stop: Arc::clone(&stop), answers };
        let stream = session.shared_stream();
        let interest = match session.direction() {
            Direction::Saving => Interest::Read,
            Direction::Resuming => Interest::Write,
        };
        let no_set = |errno| {
            let why = format!("no epoll set could be made: {}", errno_name(errno));
            match errno {
                // The file has no poll.
                Errno::EPERM => Interruption::blocked_by(&precopy::POLL_QUIET, why),
                _ => Interruption::hindered(Environment::Resources, why),
            }
        };
        match wait {
            Wait::Poll => spawn(move || say(&tell, || tell_readiness(&stream.poll(interest, LONGEST_WAIT))))?,
            Wait::EpollLevel | Wait::EpollEdge => {
                let trigger = if wait == Wait::EpollEdge { Trigger::Edge } else { Trigger::Level };
                let set = stream.epoll(trigger).map_err(no_set)?;
                // The stream keeps the descriptor open, and with it the set's only member.
                spawn(move || say(&tell, || wait_in_set(set.as_ref(), stream.as_ref())))?;
            }
            Wait::Read => spawn(move || say(&tell, || read_on(stream.as_ref(), &calls, &stop)))?,
        }
        Ok(waiter)
    }

    /// Returns once the thread waits; or what it answered, if it did not wait.
    fn until_it_waits(&mut self) -> Option<String> {
        let mut answer = None;
        until(WAITS_WITHIN, || {
            answer = self.hear();
            answer.is_some() || self.waits()
        });
        // A thread that is gone seems to wait, and has said before what it was answered.
        answer.or_else(|| self.hear())
    }

    /// What the thread has to say by now; what it was answered, if it does not wait any more.
    fn hear(&mut self) -> Option<String> {
        while let Ok(said) = self.answers.try_recv() {
            match said {
                Said::Begins(thread) => self.thread = Some(thread),
                Said::Ended(answer) => return Some(answer),
            }
        }
        None
    }

    fn waits(&self) -> bool {
        let sleeps = |thread: Thread| thread.sleeps() != Some(false);
        self.thread.is_some_and(sleeps) || self.calls.load(Ordering::Relaxed) > 0
    }

    fn ends_by(&self, end: Instant) -> WaitEnd {
        self.stop.store(true, Ordering::Relaxed);
        loop {
            match self.answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Said::Begins(_)) => {}
                Ok(Said::Ended(answer)) => return WaitEnd::Woken(answer),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return WaitEnd::Never,
            }
        }
    }
}

/// Waits, with a word before and after it. Nobody may be there any more to hear the second one.
fn say(tell: &SyncSender<Said>, wait: impl FnOnce() -> String) {
    let _ = tell.send(Said::Begins(Thread::current()));
    let _ = tell.send(Said::Ended(wait()));
}

fn wait_in_set(set: &dyn EpollSet, _member: &dyn Stream) -> String {
    tell_readiness(&set.wait(LONGEST_WAIT))
}

/// Reads until the session is over, or until it was told to stop.
fn read_on(stream: &dyn Stream, calls: &AtomicU32, stop: &AtomicBool) -> String {
    let mut buffer = vec![0u8; 4096];
    loop {
        let answer = stream.read(&mut buffer);
        calls.fetch_add(1, Ordering::Relaxed);
        let goes_on = matches!(answer, Ok(_) | Err(Errno::ENOMSG | Errno::EAGAIN | Errno::EINTR));
        if !goes_on || stop.load(Ordering::Relaxed) {
            return tell_size(&answer);
        }
    }
}

/// Lets the others run until something has come about, or until it is not to be expected any more.
pub(super) fn until(limit: Duration, mut arrived: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !arrived() && Instant::now() < end {
        thread::yield_now();
    }
}

/// Has another thread take turns, and does something once the first of them is over, while the others go on.
fn amid<R>(turns: usize, turn: impl Fn(usize) + Sync, action: impl FnOnce() -> R) -> R {
    let begun = AtomicUsize::new(0);
    let take_turns = || {
        for number in 0..turns {
            begun.fetch_add(1, Ordering::Relaxed);
            turn(number);
        }
    };
    thread::scope(|scope| {
        scope.spawn(take_turns);
        until(WAITS_WITHIN, || begun.load(Ordering::Relaxed) > 1);
        action()
    })
}

fn spawn(run: impl FnOnce() + Send + 'static) -> Judgement {
    let spawned = thread::Builder::new().spawn(run);
    spawned
        .map(drop)
        .map_err(|error| Interruption::hindered(Environment::Resources, format!("failed to start a thread: {error}")))
}

/// The user in a race: waits for data, and reads it to its end.
#[derive(Default)]
struct RacingPoller {
    /// How many reads have delivered data.
    reads: AtomicUsize,
    /// Whether the user should go home.
    stop: AtomicBool,
    /// Why the user cannot go on.
    stopped: OnceLock<String>,
    /// Who wants to know of each read.
    watcher: OnceLock<thread::Thread>,
}

impl RacingPoller {
    fn run(&self, stream: &dyn Stream) {
        let mut buffer = vec![0u8; 64 << 10];
        while !self.stop.load(Ordering::Relaxed) {
            let stopped = match stream.poll(Interest::Read, LONGEST_WAIT) {
                Ok(ready) if ready == Readiness::default() => Some("poll came back without an answer".to_owned()),
                Ok(_) => self.read_to_the_end(stream, &mut buffer),
                Err(errno) => Some(format!("poll answered {}", errno_name(errno))),
            };
            if let Some(why) = stopped {
                self.stopped.get_or_init(|| why);
                return self.tell();
            }
        }
    }

    /// Reads what there is; says why there is no more than that, if it is not the temporary end.
    fn read_to_the_end(&self, stream: &dyn Stream, buffer: &mut [u8]) -> Option<String> {
        loop {
            match stream.read(buffer) {
                Ok(1..) => {
                    self.reads.fetch_add(1, Ordering::Relaxed);
                    self.tell();
                }
                // Which of the two ends read says is judged where nothing else is.
                Ok(0) | Err(Errno::ENOMSG) => return None,
                answer => return Some(format!("read answered {}", tell_size(&answer))),
            }
        }
    }

    fn tell(&self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.unpark();
        }
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// Whether more is read than that, sooner or later. Looks again and again at first, so as not to miss the moment. Where
    /// that has passed it sleeps: on a small machine, who only looks keeps the device and the user from their work.
    fn reads_more_than(&self, reads: usize, patience: Duration) -> bool {
        let began = Instant::now();
        while self.reads() <= reads && self.stopped.get().is_none() && began.elapsed() < patience {
            match began.elapsed() >= LOOKS_FOR {
                // Not for all of its patience: who cannot go on may have come between the look and the sleep.
                true => thread::park_timeout(patience.saturating_sub(began.elapsed()).min(DOZE)),
                false => std::hint::spin_loop(),
            }
        }
        self.reads() > reads
    }
}

/// How long a race may take: as long as it needs, if the user wants the device worn out by so many sessions.
fn race_limit(wear: Option<usize>) -> Duration {
    wear.map_or(RACE_LIMIT, |_| Duration::MAX)
}

/// How much of a race there is.
#[derive(Debug, Clone, Copy)]
struct RaceBounds {
    /// So many rounds.
    rounds: usize,
    /// Or as many as begin within this.
    limit: Duration,
    /// How long a change may go unseen.
    patience: Duration,
}

/// Each round changes the device the moment that the user was seen to read, and thus while it goes back to waiting.
fn race<E>(poller: &RacingPoller, bounds: RaceBounds, change: impl Fn() -> Result<(), E>) -> Result<Raced, E> {
    poller.watcher.get_or_init(thread::current);
    let began = Instant::now();
    for round in 0..bounds.rounds {
        if began.elapsed() > bounds.limit {
            return Ok(Raced::AllSeen(round));
        }
        let reads = poller.reads();
        change()?;
        if poller.reads_more_than(reads, bounds.patience) {
            continue;
        }
        return Ok(match poller.stopped.get() {
            Some(why) => Raced::Stopped(why.clone()),
            None => Raced::Lost(round),
        });
    }
    Ok(Raced::AllSeen(bounds.rounds))
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wait::Poll => "poll",
            Wait::EpollLevel => "epoll_wait",
            Wait::EpollEdge => "epoll_wait (edge)",
            Wait::Read => "read",
        })
    }
}

impl fmt::Display for Raced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raced::AllSeen(changes) => write!(f, "{changes} changes, each seen"),
            Raced::Lost(changes) => write!(f, "change {} woke nobody", changes + 1),
            Raced::Unstreamed(changes) => write!(f, "change {} brought no data", changes + 1),
            Raced::Stopped(why) => write!(f, "stopped: {why}"),
        }
    }
}

impl fmt::Display for WaitEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitEnd::AtOnce(answer) => write!(f, "{answer}, at once"),
            WaitEnd::Woken(answer) => f.write_str(answer),
            WaitEnd::Never => f.write_str("no answer"),
        }
    }
}

#[cfg(test)]
mod tests;
