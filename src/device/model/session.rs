//! The table of data_fds and the sessions behind them.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::resuming::Resuming;
use super::saving::Saving;
use super::spec::ModelSpec;

/// The first data_fd. Large, so that nobody takes it for a descriptor of this process.
const FIRST_NUMBER: i32 = 1000;

/// One data_fd.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// What flows through it.
    pub(super) transfer: Transfer,
    /// Whether the session goes on.
    alive: bool,
    /// Whether the user holds the descriptor.
    open: bool,
    /// Whether a stream was made of it.
    taken: bool,
}

impl Session {
    /// Whether the session behind the descriptor is over.
    pub(super) fn is_dead(&self, spec: ModelSpec) -> bool {
        !self.alive && !spec.has(Fault::OldFdSurvives)
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
}

impl Sessions {
    /// None yet.
    pub(super) fn new() -> Sessions {
        Sessions { table: BTreeMap::new(), next: FIRST_NUMBER }
    }

    /// Begins a session. Says its data_fd.
    pub(super) fn begin(&mut self, transfer: Transfer) -> i32 {
        self.install(Session { transfer, alive: true, open: true, taken: false })
    }

    /// Hands out one more data_fd: for what goes on, or else for a session that has ended already.
    pub(super) fn begin_needlessly(&mut self, ended: Transfer) -> i32 {
        let copy = self.alive().last().cloned();
        let session = copy.unwrap_or(Session { transfer: ended, alive: false, open: true, taken: false });
        self.install(Session { open: true, taken: false, ..session })
    }

    fn install(&mut self, session: Session) -> i32 {
        let number = self.next;
        self.next += 1;
        self.table.insert(number, session);
        number
    }

    /// Makes the descriptor one that a stream owns. Whether there was one to be had.
    pub(super) fn take(&mut self, number: i32) -> bool {
        match self.table.get_mut(&number) {
            Some(session) if session.open && !session.taken => {
                session.taken = true;
                true
            }
            _ => false,
        }
    }

    /// The session of a data_fd that is open.
    pub(super) fn get(&self, number: i32) -> Option<&Session> {
        self.table.get(&number).filter(|session| session.open)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, number: i32) -> Option<&mut Session> {
        self.table.get_mut(&number).filter(|session| session.open)
    }

    /// The user closes a descriptor. The session goes on without it.
    pub(super) fn close(&mut self, number: i32) {
        if let Some(session) = self.table.get_mut(&number) {
            session.open = false;
        }
        self.forget();
    }

    /// Whether a data_fd is open.
    pub(super) fn is_any_open(&self) -> bool {
        self.table.values().any(|session| session.open)
    }

    /// Whether this is the data_fd of a session that goes on.
    pub(super) fn is_alive(&self, number: i32) -> bool {
        self.table.get(&number).is_some_and(|session| session.alive)
    }

    /// Ends what goes on.
    pub(super) fn end(&mut self) {
        for session in self.table.values_mut() {
            session.alive = false;
        }
        self.forget();
    }

    /// Drops what neither goes on nor is open.
    fn forget(&mut self) {
        self.table.retain(|_, session| session.alive || session.open);
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
