//! What a key of a profile was seen to do.

use serde::{Deserialize, Serialize};

use super::{ProfileKey, StimulusError};

/// One key of a profile, played on a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyTrial {
    /// The key.
    pub key: ProfileKey,
    /// Its steps, as they were played last.
    pub steps: Vec<StepDone>,
    /// What the steps brought about.
    pub effect: Effect,
    /// How long that took, in seconds, with all that it took to see it.
    pub seconds: f64,
}

/// One step that was played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepDone {
    /// What it does: `write 0x1 to bar0 at 0x50`.
    pub what: String,
    /// What was read, or why it failed; `None` if nothing is to be said.
    pub result: Option<String>,
    /// How long it took, in microseconds.
    pub micros: f64,
}

/// Whether the effect of a key was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was: what was seen.
    Seen(String),
    /// It was not, or could not be played.
    Unseen(StimulusError),
    /// On this device, or this kernel, there is no way to see it.
    NotTried(String),
}
