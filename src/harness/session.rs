//! Sessions as checks hold them: one that is going on, and one that has ended.

use std::sync::Arc;

use crate::device::Stream;

/// A data transfer session that is going on.
pub struct Session {
    // Shared with the threads that wait for it, which may never come back.
    stream: Arc<dyn Stream>,
    direction: Direction,
}

/// Which way a session moves data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Out of the device.
    Saving,
    /// Into the device.
    Resuming,
}

impl Session {
    pub(super) fn new(stream: Box<dyn Stream>, direction: Direction) -> Session {
        Session { stream: Arc::from(stream), direction }
    }

    pub(super) fn stream(&self) -> &dyn Stream {
        self.stream.as_ref()
    }

    /// The same, for another thread.
    pub(super) fn shared_stream(&self) -> Arc<dyn Stream> {
        Arc::clone(&self.stream)
    }

    /// Which way it moves data.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The check has done what ends the session. From here on only its death can be looked at.
    pub fn ended(self) -> EndedSession {
        EndedSession(self)
    }
}

/// A session that has ended while its data_fd is still open. It cannot be read or written, only seen to be dead.
pub struct EndedSession(Session);

impl EndedSession {
    pub(super) fn stream(&self) -> &dyn Stream {
        self.0.stream()
    }

    /// Which way it moved data.
    pub fn direction(&self) -> Direction {
        self.0.direction
    }
}
