//! The steps of a walk, and how they are written down.

use std::fmt;
use std::str::FromStr;

use crate::uapi::feature::Feature;
use crate::uapi::state::{State, name_of};

/// One step of a walk. What it asks for is fixed; in a situation where there is nothing to do it to (no session to read
/// from) it does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Asks for the state of this number.
    Set(u32),
    /// The same, in memory where the answer cannot be written.
    SetUnanswerable(u32),
    /// Asks where the device is.
    Get,
    /// Resets the device.
    Reset,
    /// Closes the device and opens it again.
    Reopen,
    /// Closes the data_fd of the session that goes on.
    Close,
    /// Reads so many bytes from the session.
    Read(u32),
    /// Reads the session to its end.
    ReadAll,
    /// Polls the session, without waiting.
    Poll,
    /// Asks for the estimates of PRE_COPY.
    Info,
    /// The same, with an `argsz` that is too small.
    InfoSmall,
    /// The same, in memory where the answer cannot be written.
    InfoUnwritable,
    /// Writes on from where the last write of a good stream ended.
    Write(Portion),
    /// The same, with one bit flipped.
    WriteCorrupt(u32),
    /// Reads from a session that is to be written, or writes to one that is to be read.
    AgainstDirection,
    /// Reads from the newest session that has ended, or writes to it.
    UseOld,
    /// Polls it.
    PollOld,
    /// Closes the oldest data_fd of a session that has ended.
    CloseOld,
    /// Asks for the estimate of STOP_COPY.
    DataSize,
    /// Opts in to PRECOPY_INFOv2.
    OptIn,
    /// A call that must be refused, or must have no effect.
    Malformed(Feature, Malformation),
    /// Changes so many bytes of device state.
    Dirty(u32),
    /// Has a later transition fail.
    EnterError,
}

/// How much of a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// So many bytes.
    Bytes(u32),
    /// All that is left of it.
    Rest,
}

/// What is wrong with a feature call, or why it must have no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformation {
    /// `argsz` is below what is needed.
    Small,
    /// A flag that is not defined.
    UnknownFlag,
    /// GET and SET at once.
    GetAndSet,
    /// Neither GET nor SET.
    Neither,
    /// The direction that the feature does not have.
    WrongDirection,
    /// In memory that is not there.
    Unmapped,
    /// A number that is no feature.
    UnknownFeature,
    /// Nothing is wrong, but it is only a PROBE.
    Probe,
}

impl Malformation {
    /// All of them.
    pub const ALL: [Malformation; 8] = [
        Malformation::Small,
        Malformation::UnknownFlag,
        Malformation::GetAndSet,
        Malformation::Neither,
        Malformation::WrongDirection,
        Malformation::Unmapped,
        Malformation::UnknownFeature,
        Malformation::Probe,
    ];

    /// The one word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Malformation::Small => "argsz_small",
            Malformation::UnknownFlag => "unknown_flag",
            Malformation::GetAndSet => "get_and_set",
            Malformation::Neither => "neither",
            Malformation::WrongDirection => "wrong_direction",
            Malformation::Unmapped => "unmapped",
            Malformation::UnknownFeature => "unknown_feature",
            Malformation::Probe => "probe",
        }
    }
}

impl Operation {
    /// Whether it needs a stream that was saved before.
    pub const fn needs_stream(self) -> bool {
        matches!(self, Operation::Write(_) | Operation::WriteCorrupt(_))
    }
}

/// What the operations without an argument are called.
const PLAIN: [(Operation, &str); 15] = [
    (Operation::Get, "GET"),
    (Operation::Reset, "RESET"),
    (Operation::Reopen, "reopen"),
    (Operation::Close, "close data_fd"),
    (Operation::ReadAll, "read to the end"),
    (Operation::Poll, "poll"),
    (Operation::Info, "PRECOPY_INFO"),
    (Operation::InfoSmall, "PRECOPY_INFO argsz_small"),
    (Operation::InfoUnwritable, "PRECOPY_INFO unwritable"),
    (Operation::AgainstDirection, "use against direction"),
    (Operation::UseOld, "use old data_fd"),
    (Operation::PollOld, "poll old data_fd"),
    (Operation::CloseOld, "close old data_fd"),
    (Operation::DataSize, "MIG_DATA_SIZE"),
    (Operation::OptIn, "MIG_PRECOPY_INFOv2"),
];

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Set(number) => match State::from_number(*number) {
                Some(state) => write!(f, "SET {state}"),
                None => write!(f, "SET {}", name_of(*number)),
            },
            Operation::SetUnanswerable(number) => write!(f, "SET {} unanswerable", name_of(*number)),
            Operation::Read(bytes) => write!(f, "read {bytes}"),
            Operation::Write(Portion::Bytes(bytes)) => write!(f, "write {bytes}"),
            Operation::Write(Portion::Rest) => f.write_str("write the rest"),
            Operation::WriteCorrupt(bytes) => write!(f, "write {bytes} corrupt"),
            Operation::Malformed(feature, how) => write!(f, "malformed {} {}", feature.name(), how.word()),
            Operation::Dirty(bytes) => write!(f, "dirty {bytes}"),
            Operation::EnterError => f.write_str("enter_error"),
            plain => f.write_str(PLAIN.iter().find(|(one, _)| one == plain).map_or("", |(_, name)| name)),
        }
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Operation, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let joined = words.join(" ");
        if let Some((operation, _)) = PLAIN.iter().find(|(_, name)| *name == joined) {
            return Ok(*operation);
        }
        let parsed = match words[..] {
            ["SET", state] => state_number(state).map(Operation::Set),
            ["SET", state, "unanswerable"] => state_number(state).map(Operation::SetUnanswerable),
            ["read", bytes] => bytes.parse().ok().map(Operation::Read),
            ["write", "the", "rest"] => Some(Operation::Write(Portion::Rest)),
            ["write", bytes] => bytes.parse().ok().map(|bytes| Operation::Write(Portion::Bytes(bytes))),
            ["write", bytes, "corrupt"] => bytes.parse().ok().map(Operation::WriteCorrupt),
            ["malformed", feature, how] => malformed(feature, how),
            ["dirty", bytes] => bytes.parse().ok().map(Operation::Dirty),
            ["enter_error"] => Some(Operation::EnterError),
            _ => None,
        };
        parsed.ok_or_else(|| format!("{joined:?} is no operation of a walk"))
    }
}

fn state_number(text: &str) -> Option<u32> {
    if let Some(state) = State::ALL.into_iter().find(|state| state.name() == text) {
        return Some(state.number());
    }
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn malformed(feature: &str, how: &str) -> Option<Operation> {
    let feature = Feature::ALL.into_iter().find(|one| one.name() == feature)?;
    let how = Malformation::ALL.into_iter().find(|one| one.word() == how)?;
    Some(Operation::Malformed(feature, how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::state::Capabilities;

    #[test]
    fn operations_read_back_what_they_print() {
        let planned = (0..20).flat_map(|segment| super::super::plan(Capabilities::FULL, 1, segment));
        for operation in planned.chain(PLAIN.map(|(operation, _)| operation)) {
            let text = operation.to_string();
            assert!(!text.is_empty(), "{operation:?}");
            assert_eq!(text.parse(), Ok(operation), "{text}");
        }
        for wrong in ["", "SET", "SET RUNING", "read", "read -1", "write a lot", "malformed MIGRATION oddly"] {
            assert!(wrong.parse::<Operation>().is_err(), "{wrong}");
        }
    }
}
