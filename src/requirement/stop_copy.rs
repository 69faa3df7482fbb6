//! STOP_COPY: what is streamed there, and how it ends.

use super::Level::{Advice, Must};
use super::{Basis, Requirement};

const STATES: &str = "enum vfio_device_mig_state";
const PRECOPY_INFO: &str = "VFIO_MIG_GET_PRECOPY_INFO";
const DATA_SIZE: &str = "VFIO_DEVICE_FEATURE_MIG_DATA_SIZE";

/// The end stays.
pub static END_PERMANENT: Requirement = Requirement {
    id: "stop_copy.end.permanent",
    level: Must,
    statement: "once read has returned 0 in STOP_COPY, every later read returns 0",
    source: PRECOPY_INFO,
    basis: Basis::Text,
    ruling: None,
};

/// The end is no temporary one.
pub static NO_ENOMSG: Requirement = Requirement {
    id: "stop_copy.end.no_enomsg",
    level: Must,
    statement: "in STOP_COPY read never answers ENOMSG",
    source: PRECOPY_INFO,
    basis: Basis::Text,
    ruling: None,
};

/// The end can be seen by poll.
pub static END_READABLE: Requirement = Requirement {
    id: "stop_copy.end.readable",
    level: Must,
    statement: "at the permanent end poll says readable, however often it is asked",
    source: PRECOPY_INFO,
    basis: Basis::Text,
    ruling: None,
};

/// Everything is in the stream.
pub static COMPLETE: Requirement = Requirement {
    id: "stop_copy.stream.complete",
    level: Must,
    statement: "what was read until the end in STOP_COPY is the entire device state: loaded into the device after a \
                reset, it gives the state that was saved",
    source: STATES,
    basis: Basis::Text,
    ruling: Some(
        "What a user can see of the state is compared, as far as the profile says how; where it says nothing, that the \
         device takes its own stream is all that can be judged. Whether saving or loading lost something cannot be \
         told from outside, so both are accused.",
    ),
};

/// Reads may be of any size.
pub static ANY_READ: Requirement = Requirement {
    id: "stop_copy.read.any_size",
    level: Must,
    statement: "the size of the reads makes no difference to the stream: single bytes, odd sizes, one read that asks \
                for more than there is, and vectors deliver what large reads deliver",
    source: "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE",
    basis: Basis::Ruling,
    ruling: Some(
        "The text only says that the stream's order matters and its segmentation does not. A device may word the same \
         state differently each time, so a stream with other bytes is good if the same state comes of it. Streams can \
         be huge: only the first KiB is read byte by byte.",
    ),
};

/// Reads of nothing.
pub static EMPTY_READ: Requirement = Requirement {
    id: "stop_copy.read.zero_length",
    level: Must,
    statement: "a read of no bytes answers 0, and takes nothing out of the stream",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The text is silent; this is what read of no bytes means everywhere, and nobody may lose data by it."),
};

/// Another session in the same state.
pub static AGAIN: Requirement = Requirement {
    id: "stop_copy.again.restores",
    level: Must,
    statement: "after STOP_COPY -> STOP -> STOP_COPY the new session streams the whole state from its beginning, \
                however far the last one was read",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "Each session is a transfer of its own, and the text says that the stream of a single one is to be loaded.",
    ),
};

/// The same bytes again.
pub static SAME_BYTES: Requirement = Requirement {
    id: "stop_copy.again.same_bytes",
    level: Advice,
    statement: "two sessions without a change between them stream the same bytes",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "No rule says so. Bytes that differ where nothing has changed are often memory of the kernel that was never \
         written, which leaks what is none of the user's business.",
    ),
};

/// The estimate is there in every state.
pub static SIZE_ANY_STATE: Requirement = Requirement {
    id: "stop_copy.size.any_state",
    level: Must,
    statement: "MIG_DATA_SIZE answers in every state",
    source: DATA_SIZE,
    basis: Basis::Text,
    ruling: Some("In ERROR there is nothing left to stream, so an errno will do there too."),
};

/// The estimate is a size.
pub static SIZE_SANE: Requirement = Requirement {
    id: "stop_copy.size.sane",
    level: Must,
    statement: "MIG_DATA_SIZE never answers more than a file can hold (2^63 - 1)",
    source: DATA_SIZE,
    basis: Basis::Ruling,
    ruling: Some("The text calls it an estimate of a length; a number above that is a negative one, or none."),
};

/// The estimate is near the truth.
pub static SIZE_ESTIMATE: Requirement = Requirement {
    id: "stop_copy.size.estimate",
    level: Advice,
    statement: "what MIG_DATA_SIZE answers at the beginning of a session in STOP_COPY is between half and twice what is \
                then streamed",
    source: DATA_SIZE,
    basis: Basis::Ruling,
    ruling: Some(
        "It is an estimate, and the text gives no bound. Users compute the time that a migration will take from it, \
         and one that is off by more than a factor of two misleads them.",
    ),
};

pub(super) static ALL: &[&Requirement] = &[
    &END_PERMANENT,
    &NO_ENOMSG,
    &END_READABLE,
    &COMPLETE,
    &ANY_READ,
    &EMPTY_READ,
    &AGAIN,
    &SAME_BYTES,
    &SIZE_ANY_STATE,
    &SIZE_SANE,
    &SIZE_ESTIMATE,
];
