//! What makes a device do something, and what shows that it did. A stimulus is asked for by what it should bring
//! about; how a kind of device is brought to that is the profile's matter.

mod key;
pub mod nature;
pub mod profile;
pub mod trial;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use key::{KeyUse, ProfileKey};

/// Something that a device can be made to do. What says `after` is begun now and happens then, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stimulus {
    /// Change at least this many bytes of internal state, now.
    Dirty(usize),
    /// Have the next transition that is asked for fail and leave the device in ERROR.
    EnterError,
    /// Begin work that changes internal state by itself, again and again, while the device runs.
    StartWork,
    /// End that work.
    StopWork,
    /// Reconfigure device memory, so that what was saved of it in PRE_COPY has to be saved anew (REINIT).
    Reconfigure,
    /// Raise one interrupt after a while.
    Interrupt {
        /// The while.
        after: Duration,
    },
    /// Begin one DMA transfer, which moves its first byte after a while.
    Dma {
        /// Which way.
        direction: DmaDirection,
        /// Where in the I/O address space.
        iova: u64,
        /// How many bytes.
        bytes: u64,
        /// The while.
        after: Duration,
    },
    /// Wait until the transfer that was begun is complete. One that ended badly is an error.
    FinishDma,
}

/// Which way a device moves data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaDirection {
    /// The device writes memory.
    ToMemory,
    /// The device reads memory.
    FromMemory,
}

/// Something that a device can be asked to show of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Internal state that can be compared: equal bytes before a save and after the restore.
    State,
    /// Internal state that moves by itself while the device runs: unequal bytes a moment later.
    Progress,
}

impl fmt::Display for Stimulus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stimulus::Dirty(bytes) => write!(f, "change {bytes} bytes of device state"),
            Stimulus::EnterError => f.write_str("fail the next transition into ERROR"),
            Stimulus::StartWork => f.write_str("start work"),
            Stimulus::StopWork => f.write_str("stop work"),
            Stimulus::Reconfigure => f.write_str("reconfigure device memory"),
            Stimulus::Interrupt { after } => write!(f, "raise an interrupt after {after:?}"),
            Stimulus::Dma { direction, iova, bytes, after } => {
                write!(f, "{direction} {bytes} bytes at {iova:#x} by DMA after {after:?}")
            }
            Stimulus::FinishDma => f.write_str("finish the DMA"),
        }
    }
}

impl fmt::Display for DmaDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DmaDirection::ToMemory => "write",
            DmaDirection::FromMemory => "read",
        })
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Observation::State => "show internal state that can be compared",
            Observation::Progress => "show internal state that moves by itself",
        })
    }
}

/// Why a stimulus or an observation did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum StimulusError {
    /// The profile of this device does not have the key.
    #[error("the profile has no `{0}`")]
    Lacking(ProfileKey),
    /// The profile has the key, but its program exited with the code for "not on this device".
    #[error("the program of `{0}` cannot do it on this device")]
    Declined(ProfileKey),
    /// A step of the profile failed.
    #[error("failed to {what}: {why}")]
    Failed {
        /// The key that the step belongs to.
        key: ProfileKey,
        /// What was to happen.
        what: String,
        /// What stood in the way.
        why: String,
    },
    /// Every step worked, but the effect was not seen in RUNNING.
    #[error("`{key}` was not seen to work: {why}")]
    Unproven {
        /// The key.
        key: ProfileKey,
        /// What was seen instead.
        why: String,
    },
}

impl StimulusError {
    /// Whether the profile has the key, and it does not work.
    pub fn is_wrong(&self) -> bool {
        match self {
            StimulusError::Failed { .. } | StimulusError::Unproven { .. } => true,
            StimulusError::Lacking(_) | StimulusError::Declined(_) => false,
        }
    }
}
