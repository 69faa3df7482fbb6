//! The steps of a walk, and how they are written down.

use std::fmt;
use std::str::FromStr;

use crate::stimulus::{DmaDirection, ProfileKey};
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
    /// Reads so many bytes from the session; none is a read too.
    Read(u32),
    /// The same, into a vector of buffers.
    ReadVector(u32),
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
    /// Writes on from where the last write of a good stream ended; no bytes are a write too.
    Write(Portion),
    /// The same, from a vector of buffers.
    WriteVector(Portion),
    /// The same, with one bit flipped.
    WriteCorrupt(u32),
    /// Reads from a session that is to be written, or writes to one that is to be read.
    AgainstDirection,
    /// Sets O_NONBLOCK on the session's data_fd, or clears it.
    Nonblocking(bool),
    /// Duplicates the session's data_fd, and uses the duplicate from here on.
    Duplicate,
    /// Uses the other one of two descriptors from here on.
    UseOther,
    /// Closes the other one of two descriptors.
    CloseOther,
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
    /// Reconfigures device memory, so that it has to be saved anew.
    Reconfigure,
    /// Has a later transition fail.
    EnterError,
    /// Has the device move a page of its memory by DMA.
    Dma(DmaDirection, u32),
    /// Has the device raise an interrupt.
    Interrupt,
    /// Begins to log pages written by DMA.
    StartLog,
    /// Ends that log.
    StopLog,
    /// Asks which pages were written.
    ReportLog,
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

impl Portion {
    /// How many bytes that is at most.
    pub(super) const fn most(self) -> usize {
        match self {
            Portion::Bytes(bytes) => bytes as usize,
            Portion::Rest => usize::MAX,
        }
    }
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
        matches!(self, Operation::Write(_) | Operation::WriteVector(_) | Operation::WriteCorrupt(_))
    }

    /// Whether it is one of those that any user makes: calls on the device and one data_fd, with one buffer each.
    pub const fn is_everyday(self) -> bool {
        !matches!(
            self,
            Operation::ReadVector(_)
                | Operation::WriteVector(_)
                | Operation::Nonblocking(_)
                | Operation::Duplicate
                | Operation::UseOther
                | Operation::CloseOther
                | Operation::Dma(..)
                | Operation::Interrupt
                | Operation::StartLog
                | Operation::StopLog
                | Operation::ReportLog
        )
    }

    /// The key of the profile that it plays.
    pub const fn key(self) -> Option<ProfileKey> {
        match self {
            Operation::Dirty(_) => Some(ProfileKey::Dirty),
            Operation::EnterError => Some(ProfileKey::EnterError),
            Operation::Reconfigure => Some(ProfileKey::Reconfigure),
            Operation::Dma(DmaDirection::ToMemory, _) => Some(ProfileKey::DmaToMemory),
            Operation::Dma(DmaDirection::FromMemory, _) => Some(ProfileKey::DmaFromMemory),
            Operation::Interrupt => Some(ProfileKey::Interrupt),
            _ => None,
        }
    }

    /// Whether it needs memory that the device can reach.
    pub const fn needs_memory(self) -> bool {
        matches!(self, Operation::Dma(..))
    }

    /// Whether it needs somebody who listens to interrupts.
    pub const fn needs_listener(self) -> bool {
        matches!(self, Operation::Interrupt)
    }
}

/// What the operations without an argument are called.
const PLAIN: [(Operation, &str); 25] = [
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
    (Operation::Nonblocking(true), "set O_NONBLOCK"),
    (Operation::Nonblocking(false), "clear O_NONBLOCK"),
    (Operation::Duplicate, "dup data_fd"),
    (Operation::UseOther, "use other data_fd"),
    (Operation::CloseOther, "close other data_fd"),
    (Operation::Reconfigure, "reconfigure"),
    (Operation::Interrupt, "interrupt"),
    (Operation::StartLog, "DMA_LOGGING_START"),
    (Operation::StopLog, "DMA_LOGGING_STOP"),
    (Operation::ReportLog, "DMA_LOGGING_REPORT"),
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
            Operation::ReadVector(bytes) => write!(f, "readv {bytes}"),
            Operation::Write(portion) => write!(f, "write {portion}"),
            Operation::WriteVector(portion) => write!(f, "writev {portion}"),
            Operation::Dma(direction, page) => write!(f, "DMA {direction} page {page}"),
            Operation::WriteCorrupt(bytes) => write!(f, "write {bytes} corrupt"),
            Operation::Malformed(feature, how) => write!(f, "malformed {} {}", feature.name(), how.word()),
            Operation::Dirty(bytes) => write!(f, "dirty {bytes}"),
            Operation::EnterError => f.write_str("enter_error"),
            plain => f.write_str(PLAIN.iter().find(|(one, _)| one == plain).map_or("", |(_, name)| name)),
        }
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Portion::Bytes(bytes) => bytes.fmt(f),
            Portion::Rest => f.write_str("the rest"),
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
            ["readv", bytes] => bytes.parse().ok().map(Operation::ReadVector),
            ["write", "the", "rest"] => Some(Operation::Write(Portion::Rest)),
            ["write", bytes] => bytes.parse().ok().map(|bytes| Operation::Write(Portion::Bytes(bytes))),
            ["writev", "the", "rest"] => Some(Operation::WriteVector(Portion::Rest)),
            ["writev", bytes] => bytes.parse().ok().map(|bytes| Operation::WriteVector(Portion::Bytes(bytes))),
            ["DMA", direction, "page", page] => dma(direction, page),
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

fn dma(direction: &str, page: &str) -> Option<Operation> {
    let direction =
        [DmaDirection::ToMemory, DmaDirection::FromMemory].into_iter().find(|one| one.to_string() == direction)?;
    Some(Operation::Dma(direction, page.parse().ok()?))
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
    fn what_an_operation_needs_is_known_before_it_is_done() {
        let needs = |text: &str| {
            let operation: Operation = text.parse().expect("an operation");
            (operation.needs_stream(), operation.needs_memory(), operation.needs_listener())
        };
        for text in ["write 3", "writev the rest", "write 3 corrupt"] {
            assert_eq!(needs(text), (true, false, false), "{text}");
        }
        assert_eq!(needs("DMA write page 3"), (false, true, false));
        assert_eq!(needs("interrupt"), (false, false, true));
        assert_eq!(needs("read 3"), (false, false, false));
        let everyday: Vec<bool> = ["read 3", "readv 3", "GET", "dup data_fd", "interrupt"]
            .map(|text| text.parse().is_ok_and(Operation::is_everyday))
            .into();
        assert_eq!(everyday, [true, false, true, false, false]);
    }

    #[test]
    fn operations_read_back_what_they_print() {
        let planned = (0..20).flat_map(|segment| super::super::plan(Capabilities::FULL, 1, segment));
        for operation in planned.chain(PLAIN.map(|(operation, _)| operation)) {
            let text = operation.to_string();
            assert!(!text.is_empty(), "{operation:?}");
            assert_eq!(text.parse(), Ok(operation), "{text}");
        }
        for wrong in ["", "SET", "SET RUNING", "read", "read -1", "write a lot", "malformed MIGRATION oddly", "DMA"] {
            assert!(wrong.parse::<Operation>().is_err(), "{wrong}");
        }
    }
}
