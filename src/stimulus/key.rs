//! The keys of a profile that make a device do something, or show what it did.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DmaDirection, Observation, Stimulus, StimulusError};

/// A key of a profile whose steps a check plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileKey {
    /// `stimulus.enter_error`
    EnterError,
    /// `stimulus.dirty`
    Dirty,
    /// `stimulus.start_work`
    StartWork,
    /// `stimulus.stop_work`
    StopWork,
    /// `stimulus.reconfigure`
    Reconfigure,
    /// `state.compare`
    Compare,
    /// `state.progress`
    Progress,
    /// `stimulus.interrupt`, with `[interrupt]`
    Interrupt,
    /// `stimulus.dma_to_memory`
    DmaToMemory,
    /// `stimulus.dma_from_memory`
    DmaFromMemory,
    /// `stimulus.finish_dma`
    FinishDma,
}

impl ProfileKey {
    /// All keys, those of the lowest verdict level first.
    pub const ALL: [ProfileKey; 11] = [
        ProfileKey::EnterError,
        ProfileKey::Dirty,
        ProfileKey::StartWork,
        ProfileKey::StopWork,
        ProfileKey::Reconfigure,
        ProfileKey::Compare,
        ProfileKey::Progress,
        ProfileKey::Interrupt,
        ProfileKey::DmaToMemory,
        ProfileKey::DmaFromMemory,
        ProfileKey::FinishDma,
    ];

    /// The name inside its table, as profiles write it.
    pub const fn name(self) -> &'static str {
        match self {
            ProfileKey::EnterError => "enter_error",
            ProfileKey::Dirty => "dirty",
            ProfileKey::StartWork => "start_work",
            ProfileKey::StopWork => "stop_work",
            ProfileKey::Reconfigure => "reconfigure",
            ProfileKey::Compare => "compare",
            ProfileKey::Progress => "progress",
            ProfileKey::Interrupt => "interrupt",
            ProfileKey::DmaToMemory => "dma_to_memory",
            ProfileKey::DmaFromMemory => "dma_from_memory",
            ProfileKey::FinishDma => "finish_dma",
        }
    }

    /// The table of the profile that holds it.
    pub const fn table(self) -> &'static str {
        match self {
            ProfileKey::Compare | ProfileKey::Progress => "state",
            _ => "stimulus",
        }
    }
}

/// The key with its table: `stimulus.dirty`.
impl fmt::Display for ProfileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table(), self.name())
    }
}

impl From<Stimulus> for ProfileKey {
    fn from(stimulus: Stimulus) -> ProfileKey {
        match stimulus {
            Stimulus::Dirty(_) => ProfileKey::Dirty,
            Stimulus::EnterError => ProfileKey::EnterError,
            Stimulus::StartWork => ProfileKey::StartWork,
            Stimulus::StopWork => ProfileKey::StopWork,
            Stimulus::Reconfigure => ProfileKey::Reconfigure,
            Stimulus::Interrupt { .. } => ProfileKey::Interrupt,
            Stimulus::Dma { direction: DmaDirection::ToMemory, .. } => ProfileKey::DmaToMemory,
            Stimulus::Dma { direction: DmaDirection::FromMemory, .. } => ProfileKey::DmaFromMemory,
            Stimulus::FinishDma => ProfileKey::FinishDma,
        }
    }
}

impl From<Observation> for ProfileKey {
    fn from(observation: Observation) -> ProfileKey {
        match observation {
            Observation::State => ProfileKey::Compare,
            Observation::Progress => ProfileKey::Progress,
        }
    }
}

/// Which keys something asked a profile for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// The profile had them, and their steps were played.
    pub played: BTreeSet<ProfileKey>,
    /// The profile lacks them, or their program declined.
    pub lacked: BTreeSet<ProfileKey>,
}

impl KeyUse {
    /// Takes down what came of asking for a key.
    pub fn note<T>(&mut self, key: ProfileKey, result: &Result<T, StimulusError>) {
        match result {
            Err(StimulusError::Lacking(_) | StimulusError::Declined(_)) => self.lacked.insert(key),
            Err(StimulusError::Failed { .. }) | Ok(_) => self.played.insert(key),
            Err(StimulusError::Unproven { .. }) => false,
        };
    }

    /// Takes over what another use was.
    pub fn extend(&mut self, other: KeyUse) {
        self.played.extend(other.played);
        self.lacked.extend(other.lacked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_stored_under_the_name_that_profiles_use() {
        for key in ProfileKey::ALL {
            assert_eq!(serde_json::to_value(key).unwrap(), key.name());
        }
        assert_eq!(ProfileKey::Compare.to_string(), "state.compare");
        assert_eq!(ProfileKey::DmaToMemory.to_string(), "stimulus.dma_to_memory");
    }
}
