//! RESUMING: what is written there, what has to be refused, and the way to abort.

use super::Level::{Must, Should};
use super::{Basis, Requirement};

const STATES: &str = "enum vfio_device_mig_state";
const DEVICE_STATE: &str = "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE";

/// A good stream loads.
pub static RESTORES: Requirement = Requirement {
    id: "resume.load.restores",
    level: Must,
    statement: "a whole stream of the same device loads: RESUMING -> STOP succeeds, and the device state is the one that \
                was saved",
    source: STATES,
    basis: Basis::Text,
    ruling: Some("Compared is what a user can see of the state, as far as the profile says how."),
};

/// It replaces everything.
pub static REPLACES: Requirement = Requirement {
    id: "resume.load.replaces",
    level: Must,
    statement: "what the device held before it was loaded has no influence on the state that comes of it",
    source: STATES,
    basis: Basis::Text,
    ruling: Some("The text has a new internal state loaded, and leaves it to the driver to reset the old one first."),
};

/// Writes may be of any size.
pub static ANY_WRITE: Requirement = Requirement {
    id: "resume.write.any_segmentation",
    level: Must,
    statement: "a stream loads however it is cut into writes: single bytes, odd sizes, all at once, vectors",
    source: DEVICE_STATE,
    basis: Basis::Text,
    ruling: Some(
        "Streams can be huge: only the first KiB is written byte by byte, and the first 64 KiB in odd pieces.",
    ),
};

/// Writes of nothing.
pub static EMPTY_WRITE: Requirement = Requirement {
    id: "resume.write.zero_length",
    level: Should,
    statement: "a write of no bytes answers 0 and disturbs nothing",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some("The text is silent; a piece of no bytes is a segmentation too, if a strange one."),
};

/// Nothing is no stream.
pub static EMPTY: Requirement = Requirement {
    id: "resume.empty.refused",
    level: Must,
    statement: "if nothing was written, RESUMING -> STOP fails",
    source: STATES,
    basis: Basis::Text,
    ruling: Some("No device state is what nothing can restore, so it counts as incomplete data."),
};

/// A stream needs its end.
pub static TRUNCATED: Requirement = Requirement {
    id: "resume.truncated.refused",
    level: Must,
    statement: "a stream that lacks its end, wherever it was cut off, is refused by RESUMING -> STOP",
    source: STATES,
    basis: Basis::Text,
    ruling: Some(
        "Where the pieces of a stream begin and end is the driver's secret, so it is cut behind its first bytes, at \
         thirds and before its last bytes. A profile can say that the device cannot tell.",
    ),
};

/// A stream of another kind of device.
pub static FOREIGN: Requirement = Requirement {
    id: "resume.foreign.refused",
    level: Must,
    statement: "a stream whose first bytes are not the ones of this device's streams is refused, by write or by RESUMING \
                -> STOP",
    source: STATES,
    basis: Basis::Text,
    ruling: Some(
        "Streams begin with what says which device and which version they are for, or nobody could refuse those of \
         another one. A profile can say that the device cannot tell.",
    ),
};

/// Nothing stands behind the end.
pub static TRAILING: Requirement = Requirement {
    id: "resume.trailing.refused",
    level: Must,
    statement: "data behind the end of a stream is refused, by write or by RESUMING -> STOP",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "What is longer than the stream of one session is not the stream of one session. A profile can say that the \
         device cannot tell.",
    ),
};

/// A failure is remembered.
pub static FAILURE_STICKS: Requirement = Requirement {
    id: "resume.write.failure_sticks",
    level: Must,
    statement: "once a write was refused for what was in it, RESUMING -> STOP fails too, whatever was written later",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "The text has the transition fail if data is found to be invalid, and a write that refuses data has found it so. \
         A driver that forgets would run a device on a stream with a hole.",
    ),
};

/// Where a refusal leaves the device.
pub static REFUSED_LANDS: Requirement = Requirement {
    id: "resume.refused.lands",
    level: Must,
    statement: "a RESUMING -> STOP that was refused leaves the device in RESUMING or in ERROR",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Wrong bits do no harm.
pub static FLIPS: Requirement = Requirement {
    id: "resume.corrupt.harmless",
    level: Must,
    statement: "whatever is wrong in a stream, a reset leads back to RUNNING and a good stream loads",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "Users are not trusted, and neither is the network that a stream came over. Whether a wrong stream is refused is \
         not judged here: many a bit of it may mean nothing.",
    ),
};

/// Reset aborts.
pub static ABORT_RESET: Requirement = Requirement {
    id: "resume.abort.reset",
    level: Must,
    statement: "a reset aborts RESUMING at any point, and nothing of what was written is left: a good stream loads \
                afterwards",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// So does closing.
pub static ABORT_REOPEN: Requirement = Requirement {
    id: "resume.abort.reopen",
    level: Must,
    statement: "a device that is closed in RESUMING, half loaded, is in RUNNING when it is opened again, and a good stream \
                loads",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "The text does not say which state an open finds; a new user must not meet another one's half of a stream.",
    ),
};

/// Two writers.
pub static TWO_WRITERS: Requirement = Requirement {
    id: "resume.writers.together",
    level: Must,
    statement: "two threads that write to one session at once do no harm: their writes come back, and after a reset a good \
                stream loads",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some("The order of what they wrote is nobody's promise, so whether it loads is not judged."),
};

/// A huge write.
pub static HUGE_WRITE: Requirement = Requirement {
    id: "resume.write.huge",
    level: Must,
    statement: "a write of the largest length that the kernel lets through is not taken for a stream: the write or RESUMING -> \
                STOP fails, and a reset leads back to RUNNING",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "All of it is zeroes. Lengths like this one are where a sum overflows or a sign is lost. Which of the two fails is open. \
         A profile can say that the device cannot tell such a stream.",
    ),
};

pub(super) static ALL: &[&Requirement] = &[
    &RESTORES,
    &REPLACES,
    &ANY_WRITE,
    &EMPTY_WRITE,
    &EMPTY,
    &TRUNCATED,
    &FOREIGN,
    &TRAILING,
    &FAILURE_STICKS,
    &REFUSED_LANDS,
    &FLIPS,
    &ABORT_RESET,
    &ABORT_REOPEN,
    &TWO_WRITERS,
    &HUGE_WRITE,
];
