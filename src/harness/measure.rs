//! What a device takes for what it does: samples that checks leave behind, from which reports make their figures.

use serde::{Deserialize, Serialize};

use crate::uapi::state::State;

/// One thing that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// One arc that succeeded.
    Arc {
        /// Where it began.
        from: State,
        /// Where it ended.
        to: State,
        /// How long the ioctl took.
        micros: f64,
    },
    /// A stream that was read to its permanent end.
    Save {
        /// How long it was.
        bytes: u64,
        /// How long reading it took.
        micros: f64,
    },
    /// A stream that was written.
    Load {
        /// How long it was.
        bytes: u64,
        /// How long writing it took.
        micros: f64,
    },
    /// What MIG_DATA_SIZE said at the beginning of STOP_COPY, and what was streamed then.
    DataSize {
        /// The estimate.
        estimated: u64,
        /// The stream.
        streamed: u64,
    },
    /// What PRECOPY_INFO said, and what could be read until ENOMSG then.
    Precopy {
        /// initial_bytes and dirty_bytes.
        estimated: u64,
        /// What came.
        read: u64,
    },
    /// What PRECOPY_INFO said at one moment of a session that is followed.
    Estimates {
        /// Seconds since the check began.
        at: f64,
        /// Initial data that is left to read.
        initial_bytes: u64,
        /// Data that was dirtied since it was read.
        dirty_bytes: u64,
    },
}
