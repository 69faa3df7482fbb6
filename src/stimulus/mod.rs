//! What makes a device do something. A stimulus is asked for by what it should bring about; how a kind of device is
//! brought to that is the profile's matter.

pub mod profile;

use std::fmt;

use crate::uapi::Errno;
use profile::Region;

/// Something that a device can be made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stimulus {
    /// Change at least this many bytes of internal state, now.
    Dirty(usize),
    /// Have the next transition that is asked for fail and leave the device in ERROR.
    EnterError,
}

impl fmt::Display for Stimulus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stimulus::Dirty(bytes) => write!(f, "change {bytes} bytes of device state"),
            Stimulus::EnterError => f.write_str("fail the next transition into ERROR"),
        }
    }
}

/// Why a stimulus did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StimulusError {
    /// The profile of this device does not say how.
    #[error("needs a stimulus that the profile lacks: {0}")]
    Lacking(Stimulus),
    /// A step of the profile failed.
    #[error("failed to {stimulus}: writing {region:?} at {offset:#x} answered {why:?}")]
    Failed {
        /// What was to happen.
        stimulus: Stimulus,
        /// Where the step writes.
        region: Region,
        /// Where in the region, in bytes.
        offset: u64,
        /// What the write answered.
        why: Errno,
    },
}
