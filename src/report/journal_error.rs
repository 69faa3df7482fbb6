//! Why no report can be made from a journal.

use std::path::PathBuf;

use crate::harness::journal::FORMAT;

/// A journal from which no truthful report can be made. Reads as one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the journal {}: {fault}", .path.display())]
pub struct JournalError {
    /// The file.
    pub path: PathBuf,
    /// What is the matter with it.
    #[source]
    pub fault: JournalFault,
}

/// What is the matter with a journal. A last line that was cut off is no fault: it is left out, and the report says so.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// There is no such file.
    #[error("there is no such file; name the folder of a run, which holds its journal.jsonl")]
    Missing,
    /// The system does not let us read it.
    #[error("{0}; make it a file that this user can read")]
    Unreadable(#[source] std::io::Error),
    /// Not one line is whole.
    #[error("it has no complete line, so the run ended before its first event; start the run again")]
    Empty,
    /// A later version of vfio-conform wrote it.
    #[error(
        "its form {found} is newer than the form {FORMAT} that this vfio-conform {} knows (line 1); \
         use vfio-conform {tool}, which wrote it, or a later one", env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The version of its form.
        found: u32,
        /// The version of vfio-conform that wrote it.
        tool: String,
    },
    /// A line is not an event.
    #[error("it holds something that is no event: {why} (line {line}); {REMEDY}")]
    Garbled {
        /// Counts from 1.
        line: usize,
        /// What the JSON reader says.
        why: String,
    },
    /// Lines are missing or come again.
    #[error("it has event {found} where event {expected} belongs (line {line}); {REMEDY}")]
    OutOfSequence {
        /// Counts from 1.
        line: usize,
        /// The number that the event should have.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// The events contradict each other.
    #[error("{what} (line {line}); {REMEDY}")]
    Contradictory {
        /// Counts from 1.
        line: usize,
        /// How.
        what: Contradiction,
    },
}

/// How the events of a journal contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The first event is not the beginning of a run.
    #[error("its first event is not run_started")]
    NotBegun,
    /// The run begins a second time.
    #[error("the run begins a second time")]
    BegunTwice,
    /// The date of the run cannot be read.
    #[error("the run began at {0:?}, which is no RFC 3339 date")]
    NoDate(String),
    /// One name stands for two checks.
    #[error("the check {0} is planned twice")]
    PlannedTwice(String),
    /// A check that is not among the planned ones.
    #[error("the check {0} was not planned")]
    Unplanned(String),
    /// A check starts though it is running or over.
    #[error("the check {0} starts a second time")]
    StartedTwice(String),
    /// A check has two results.
    #[error("the check {0} finishes a second time")]
    FinishedTwice(String),
    /// A check has a result that it cannot have without running.
    #[error("the check {0} has a result that only running could give, but was not running")]
    FinishedUnstarted(String),
    /// A check passes although it broke a requirement.
    #[error("the check {0} broke a requirement, but its verdict is no finding")]
    KeptAndBroken(String),
    /// Something happens after the end of the run.
    #[error("an event comes after run_finished")]
    AfterTheEnd,
}

/// What to do about a journal that is not as it was written.
const REMEDY: &str = "the journal was changed or damaged: take an undamaged copy, or start the run again";
