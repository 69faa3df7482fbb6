//! The table of data_fds and the sessions behind them.

use std::collections::BTreeMap;
use std::thread::{self, ThreadId};

use super::fault::Fault;
use super::resuming::Resuming;
use super::saving::Saving;
use super::spec::ModelSpec;

/// The first data_fd. Large, so that nobody takes it for a descriptor of this process.
const FIRST_NUMBER: i32 = 1000;

/// One session, under the number of its first data_fd.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// What flows through it.
    pub(super) transfer: Transfer,
    /// Whether the session goes on.
    alive: bool,
    /// How many descriptors of it the user holds.
    descriptors: usize,
    /// Whether a stream was made of the first one.
    taken: bool,
    /// The thread that has written to it first.
    writer: Option<ThreadId>,
    /// O_NONBLOCK.
    pub(super) nonblocking: bool,
}

impl Session {
    fn new(transfer: Transfer, alive: bool) -> Session {
        Session { transfer, alive, descriptors: 1, taken: false, writer: None, nonblocking: false }
    }

    /// Whether the session behind the descriptor is over.
    pub(super) fn is_dead(&self, spec: ModelSpec) -> bool {
        !self.alive && !spec.has(Fault::OldFdSurvives)
    }

    /// Somebody writes: whether somebody else did before.
    pub(super) fn is_second_writer(&mut self) -> bool {
        let this = thread::current().id();
        *self.writer.get_or_insert(this) != this
    }
}

/// The two directions of a session.
#[derive(Debug, Clone)]
pub(super) enum Transfer {
    /// Out of the device.
    Saving(Saving),
    /// Into the device.
    Resuming(Resuming),
}

/// All data_fds that are open, and the sessions that go on. In a conforming device at most one goes on; with some
/// faults an older one does not end.
#[derive(Debug)]
pub(super) struct Sessions {
    table: BTreeMap<i32, Session>,
    next: i32,
    /// Descriptors that were closed and are still there.
    leaked: usize,
    /// Whether no descriptor is to be had.
    pub(super) is_full: bool,
    /// How often those who wait were woken.
    wakes: u64,
    /// How many may still wake up of it, with [`Fault::OneWaiterWoken`].
    turns: usize,
}

impl Sessions {
    /// None yet.
    pub(super) fn new() -> Sessions {
        Sessions { table: BTreeMap::new(), next: FIRST_NUMBER, leaked: 0, is_full: false, wakes: 0, turns: 0 }
    }

    /// Begins a session. Says its data_fd.
    pub(super) fn begin(&mut self, transfer: Transfer) -> i32 {
        self.install(Session::new(transfer, true))
    }

    /// Hands out one more data_fd: for what goes on, or else for a session that has ended already.
    pub(super) fn begin_needlessly(&mut self, ended: Transfer) -> i32 {
        let copy = self.alive().last().cloned();
        let session = copy.unwrap_or_else(|| Session::new(ended, false));
        self.install(Session { descriptors: 1, taken: false, ..session })
    }

    fn install(&mut self, session: Session) -> i32 {
        let number = self.next_number();
        self.table.insert(number, session);
        number
    }

    fn next_number(&mut self) -> i32 {
        self.next += 1;
        self.next - 1
    }

    /// Makes one more descriptor of a session that is open. Says its number.
    pub(super) fn duplicate(&mut self, session: i32) -> Option<i32> {
        self.get_mut(session)?.descriptors += 1;
        Some(self.next_number())
    }

    /// How many descriptors the user holds.
    pub(super) fn descriptors(&self) -> usize {
        self.table.values().map(|session| session.descriptors).sum::<usize>() + self.leaked
    }

    /// Wakes those who wait for a data_fd.
    pub(super) fn wake(&mut self) {
        self.wakes += 1;
        self.turns = 1;
    }

    /// How often those who wait were woken.
    pub(super) fn wakes(&self) -> u64 {
        self.wakes
    }

    /// Takes the only turn that there is, if it is still to be had.
    pub(super) fn take_turn(&mut self) -> bool {
        std::mem::take(&mut self.turns) > 0
    }

    /// Makes the descriptor one that a stream owns. Whether there was one to be had.
    pub(super) fn take(&mut self, number: i32) -> bool {
        match self.table.get_mut(&number) {
            Some(session) if session.descriptors > 0 && !session.taken => {
                session.taken = true;
                true
            }
            _ => false,
        }
    }

    /// The session of a data_fd that is open.
    pub(super) fn get(&self, number: i32) -> Option<&Session> {
        self.table.get(&number).filter(|session| session.descriptors > 0)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, number: i32) -> Option<&mut Session> {
        self.table.get_mut(&number).filter(|session| session.descriptors > 0)
    }

    /// The user closes a descriptor. The session goes on without it.
    pub(super) fn close(&mut self, number: i32) {
        if let Some(session) = self.table.get_mut(&number) {
            session.descriptors = session.descriptors.saturating_sub(1);
        }
        self.forget();
    }

    /// Whether a data_fd is open.
    pub(super) fn is_any_open(&self) -> bool {
        self.descriptors() > 0
    }

    /// Whether this is the last descriptor of a session that goes on.
    pub(super) fn is_last_of_alive(&self, number: i32) -> bool {
        self.table.get(&number).is_some_and(|session| session.alive && session.descriptors == 1)
    }

    /// Ends what goes on, and wakes those who wait for it.
    pub(super) fn end(&mut self) {
        self.end_in_silence();
        self.wake();
    }

    /// Ends what goes on.
    pub(super) fn end_in_silence(&mut self) {
        for session in self.table.values_mut() {
            session.alive = false;
        }
        self.forget();
    }

    /// Drops what neither goes on nor is open.
    fn forget(&mut self) {
        self.table.retain(|_, session| session.alive || session.descriptors > 0);
    }

    /// A descriptor stays behind.
    pub(super) fn leak(&mut self) {
        self.leaked += 1;
    }

    /// How many are open or go on.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.table.len()
    }

    /// What goes on.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Session> {
        self.table.values().filter(|session| session.alive)
    }

    /// The saving session that goes on.
    pub(super) fn saving(&self) -> Option<&Saving> {
        let saving = self.alive().filter_map(|session| match &session.transfer {
            Transfer::Saving(saving) => Some(saving),
            Transfer::Resuming(_) => None,
        });
        saving.last()
    }

    /// The saving sessions that go on, to change them.
    pub(super) fn saving_mut(&mut self) -> impl Iterator<Item = &mut Saving> {
        let alive = self.table.values_mut().filter(|session| session.alive);
        alive.filter_map(|session| match &mut session.transfer {
            Transfer::Saving(saving) => Some(saving),
            Transfer::Resuming(_) => None,
        })
    }

    /// The resuming session that goes on.
    pub(super) fn resuming(&self) -> Option<&Resuming> {
        let resuming = self.alive().filter_map(|session| match &session.transfer {
            Transfer::Resuming(resuming) => Some(resuming),
            Transfer::Saving(_) => None,
        });
        resuming.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &mut Sessions) -> i32 {
        sessions.begin(Transfer::Resuming(Resuming::new(ModelSpec::default())))
    }

    #[test]
    fn nothing_is_left_once_a_session_ended_and_is_closed() {
        let mut sessions = Sessions::new();
        let first = begin(&mut sessions);
        sessions.end();
        sessions.close(first);
        let second = begin(&mut sessions);
        sessions.close(second);
        sessions.end();
        assert_eq!(sessions.count(), 0);
        assert_ne!(first, second);
    }

    #[test]
    fn a_session_goes_on_when_its_descriptor_is_closed() {
        let mut sessions = Sessions::new();
        let number = begin(&mut sessions);
        sessions.close(number);
        assert!(sessions.get(number).is_none());
        assert!(sessions.resuming().is_some());
    }

    #[test]
    fn a_descriptor_is_taken_once() {
        let mut sessions = Sessions::new();
        let number = begin(&mut sessions);
        assert!(sessions.take(number));
        assert!(!sessions.take(number));
        assert!(!sessions.take(number + 1));
    }
}
