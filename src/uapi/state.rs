//! The states of the migration state machine and the capability sets, under the uAPI's own names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vfio_bindings::bindings::vfio as raw;

/// A state of `enum vfio_device_mig_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(u32)]
pub enum State {
    /// The device has failed and must be reset.
    Error = raw::vfio_device_mig_state_VFIO_DEVICE_STATE_ERROR,
    /// The device does not change anything: no DMA, no interrupts, no progress.
    Stop = raw::vfio_device_mig_state_VFIO_DEVICE_STATE_STOP,
    /// The device works normally.
    Running = raw::vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING,
    /// Stopped, and its state can be read from the data_fd.
    StopCopy = raw::vfio_device_mig_state_VFIO_DEVICE_STATE_STOP_COPY,
    /// Stopped, and a state can be written to the data_fd.
    Resuming = raw::vfio_device_mig_state_VFIO_DEVICE_STATE_RESUMING,
    /// Running without peer to peer DMA.
    #[serde(rename = "RUNNING_P2P")]
    RunningP2p = raw::vfio_device_mig_state_VFIO_DEVICE_STATE_RUNNING_P2P,
    /// Running while its state is already streamed.
    PreCopy = raw::vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY,
    /// PRE_COPY without peer to peer DMA.
    #[serde(rename = "PRE_COPY_P2P")]
    PreCopyP2p = raw::vfio_device_mig_state_VFIO_DEVICE_STATE_PRE_COPY_P2P,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [State; 8] = [
        State::Error,
        State::Stop,
        State::Running,
        State::StopCopy,
        State::Resuming,
        State::RunningP2p,
        State::PreCopy,
        State::PreCopyP2p,
    ];

    /// The number that the uAPI gives the state.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The state of that number, if there is one.
    pub fn from_number(number: u32) -> Option<State> {
        State::ALL.into_iter().find(|state| state.number() == number)
    }

    /// The uAPI's name without its `VFIO_DEVICE_STATE_` prefix.
    pub const fn name(self) -> &'static str {
        match self {
            State::Error => "ERROR",
            State::Stop => "STOP",
            State::Running => "RUNNING",
            State::StopCopy => "STOP_COPY",
            State::Resuming => "RESUMING",
            State::RunningP2p => "RUNNING_P2P",
            State::PreCopy => "PRE_COPY",
            State::PreCopyP2p => "PRE_COPY_P2P",
        }
    }

    /// Whether the state belongs to the saving group, whose states share one data transfer session.
    pub const fn is_saving(self) -> bool {
        matches!(self, State::StopCopy | State::PreCopy | State::PreCopyP2p)
    }

    /// Whether the device runs, with peer-to-peer DMA or without.
    pub const fn is_running(self) -> bool {
        matches!(self, State::Running | State::RunningP2p | State::PreCopy | State::PreCopyP2p)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A state number as the kernel or a check names it: a known state by its name, any other as a number.
pub fn name_of(number: u32) -> String {
    match State::from_number(number) {
        Some(state) => state.name().to_owned(),
        None if number > 0xffff => format!("{number:#x}"),
        None => number.to_string(),
    }
}

/// One of the four capability sets that `VFIO_DEVICE_FEATURE_MIGRATION` may answer. STOP_COPY is in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Capabilities {
    /// `VFIO_MIGRATION_P2P`: RUNNING_P2P is there.
    pub p2p: bool,
    /// `VFIO_MIGRATION_PRE_COPY`: PRE_COPY is there, and PRE_COPY_P2P if P2P is there too.
    pub pre_copy: bool,
}

impl Capabilities {
    /// The four sets, the smallest first.
    pub const ALL: [Capabilities; 4] = [
        Capabilities { p2p: false, pre_copy: false },
        Capabilities { p2p: true, pre_copy: false },
        Capabilities { p2p: false, pre_copy: true },
        Capabilities { p2p: true, pre_copy: true },
    ];

    /// The set with everything in it.
    pub const FULL: Capabilities = Capabilities { p2p: true, pre_copy: true };

    /// Reads the flags of `struct vfio_device_feature_migration`; `None` if the uAPI does not define the combination.
    pub fn from_flags(flags: u64) -> Option<Capabilities> {
        Capabilities::ALL.into_iter().find(|set| set.flags() == flags)
    }

    /// The flags of `struct vfio_device_feature_migration`.
    pub fn flags(self) -> u64 {
        let mut flags = raw::VFIO_MIGRATION_STOP_COPY;
        if self.p2p {
            flags |= raw::VFIO_MIGRATION_P2P;
        }
        if self.pre_copy {
            flags |= raw::VFIO_MIGRATION_PRE_COPY;
        }
        u64::from(flags)
    }

    /// Whether the set has this state.
    pub fn has(self, state: State) -> bool {
        match state {
            State::RunningP2p => self.p2p,
            State::PreCopy => self.pre_copy,
            State::PreCopyP2p => self.p2p && self.pre_copy,
            _ => true,
        }
    }

    /// Reads the form that [`Display`](fmt::Display) writes, as command lines and device specs have it.
    pub fn parse(text: &str) -> Option<Capabilities> {
        Capabilities::ALL.into_iter().find(|set| set.to_string() == text)
    }
}

impl FromStr for Capabilities {
    type Err = String;

    fn from_str(text: &str) -> Result<Capabilities, String> {
        let sets = || Capabilities::ALL.map(|set| set.to_string()).join(", ");
        Capabilities::parse(text).ok_or_else(|| format!("it is none of {}", sets()))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stop_copy")?;
        if self.p2p {
            f.write_str("+p2p")?;
        }
        if self.pre_copy {
            f.write_str("+pre_copy")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_states_agree() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state.number() as usize, number);
            assert_eq!(State::from_number(number as u32), Some(state));
        }
        assert_eq!(State::from_number(8), None);
    }

    #[test]
    fn only_defined_flag_combinations_are_capability_sets() {
        let defined: Vec<u64> = (0..16).filter(|flags| Capabilities::from_flags(*flags).is_some()).collect();
        assert_eq!(defined, [1, 3, 5, 7]);
    }

    #[test]
    fn capability_sets_read_back_what_they_print() {
        for set in Capabilities::ALL {
            assert_eq!(Capabilities::parse(&set.to_string()), Some(set));
        }
        assert_eq!(Capabilities::parse("p2p"), None);
    }

    #[test]
    fn unknown_numbers_are_shown_as_numbers() {
        assert_eq!(name_of(7), "PRE_COPY_P2P");
        assert_eq!(name_of(9), "9");
        assert_eq!(name_of(0x8000_0000), "0x80000000");
    }
}
