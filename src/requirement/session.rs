//! The data transfer session: when its data_fd comes, how long it lives, and what it can do.

use super::Level::{Must, Should};
use super::{Basis, Requirement};

const STATES: &str = "enum vfio_device_mig_state";
const DEVICE_STATE: &str = "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE";

/// A descriptor comes when a session begins.
pub static FD_COMES: Requirement = Requirement {
    id: "session.fd.comes",
    level: Must,
    statement: "entering the saving group from outside, and STOP -> RESUMING, bring a new data_fd",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// And at no other time.
pub static FD_ABSENT: Requirement = Requirement {
    id: "session.fd.absent",
    level: Must,
    statement: "every other successful transition answers data_fd -1",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some(
        "The text has data_fd carry the descriptor of a new session; a user that closes what it is given must not \
         be given another one's.",
    ),
};

/// Inside the saving group the session goes on.
pub static SAME_SESSION: Requirement = Requirement {
    id: "session.saving_group.same",
    level: Must,
    statement: "moving inside the saving group keeps the data_fd working",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Leaving ends it.
pub static ENDED: Requirement = Requirement {
    id: "session.end.dead",
    level: Must,
    statement: "once the session has ended, read or write on its data_fd fails and moves no data",
    source: STATES,
    basis: Basis::Text,
    ruling: Some("An end of stream (0) from a dead session could be taken for a complete one, so it counts as data."),
};

/// With the customary errno.
pub static ENDED_ENODEV: Requirement = Requirement {
    id: "session.end.enodev",
    level: Should,
    statement: "the errno of a dead session is ENODEV",
    source: "custom of the drivers in the kernel; the text names none",
    basis: Basis::Ruling,
    ruling: None,
};

/// Old descriptors stay dead.
pub static STAYS_DEAD: Requirement = Requirement {
    id: "session.end.stays_dead",
    level: Must,
    statement: "a new session does not bring the data_fd of an earlier one back to life",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// A new session works beside a dead one.
pub static NEW_WORKS: Requirement = Requirement {
    id: "session.new.works",
    level: Must,
    statement: "a new session works while the data_fd of an earlier one is still open",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("Each session is a transfer of its own in the text, and users may be slow to close what they have."),
};

/// The user may close early.
pub static EARLY_CLOSE: Requirement = Requirement {
    id: "session.close.early",
    level: Must,
    statement: "closing the data_fd before the session ends does no harm: the device can be brought to RUNNING",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some("The text makes closing the user's business and sets no time for it."),
};

/// Descriptors are not inherited.
pub static CLOSE_ON_EXEC: Requirement = Requirement {
    id: "session.fd.close_on_exec",
    level: Should,
    statement: "the data_fd is close-on-exec",
    source: "custom of the VFIO core; the text is silent",
    basis: Basis::Ruling,
    ruling: None,
};

/// Sessions have one direction.
pub static ONE_DIRECTION: Requirement = Requirement {
    id: "session.fd.one_direction",
    level: Should,
    statement: "the data_fd of a saving session cannot be written, that of a resuming session cannot be read",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: None,
};

/// A bad buffer is reported.
pub static BAD_BUFFER: Requirement = Requirement {
    id: "session.io.efault",
    level: Must,
    statement: "read() into memory that cannot be written and write() from memory that cannot be read fail with EFAULT",
    source: "rules of the kernel for every driver; the text is silent",
    basis: Basis::Ruling,
    ruling: Some("A success would be data that is lost, or data that was never given."),
};

/// And costs no data.
pub static AFTER_EFAULT: Requirement = Requirement {
    id: "session.io.continues_after_efault",
    level: Should,
    statement: "after a read() that failed with EFAULT the next read() continues where the stream was",
    source: "custom of the drivers in the kernel; the text is silent",
    basis: Basis::Ruling,
    ruling: Some("mlx5 counts what it copied before a later page faulted, so a user cannot rely on it."),
};

/// A descriptor that cannot be handed over.
pub static LOST_FD: Requirement = Requirement {
    id: "session.fd.not_handed_over",
    level: Must,
    statement: "a SET whose answer cannot be written fails with EFAULT, and the device can be brought back to RUNNING",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some(
        "A session whose descriptor the user never got could not be ended by the user, so the device must not be \
         stuck in it.",
    ),
};

/// Or that finds no place.
pub static NONE_FREE: Requirement = Requirement {
    id: "session.fd.none_free",
    level: Must,
    statement: "a SET whose data_fd finds no free descriptor fails with EMFILE, and the device can be brought back to \
                RUNNING",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some(
        "A session whose descriptor the user never got could not be ended by the user, so the device must not be \
         stuck in it.",
    ),
};

/// Either way nothing is left of it.
pub static LOST_LEAVES_NOTHING: Requirement = Requirement {
    id: "session.fd.lost_leaves_nothing",
    level: Must,
    statement: "a data_fd that could not be handed over leaves no descriptor behind, however often that happens",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some("The user can close only what it was given, so the kernel has to close the rest."),
};

/// A stream has no places to go to.
pub static NO_SEEK: Requirement = Requirement {
    id: "session.fd.no_seek",
    level: Should,
    statement: "lseek, pread and pwrite on a data_fd fail",
    source: "custom of the drivers in the kernel; the text is silent",
    basis: Basis::Ruling,
    ruling: Some("What was read is gone, so a place in the stream means nothing; drivers have met bugs in trying."),
};

/// Descriptors can be duplicated.
pub static DUPLICATE: Requirement = Requirement {
    id: "session.fd.duplicate",
    level: Must,
    statement: "of two descriptors of one session each works while the session goes on, also after the other one was \
                closed, and none after it has ended",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some("The text speaks of a file descriptor, and this is what users can do with any."),
};

/// And given away.
pub static OTHER_PROCESS: Requirement = Requirement {
    id: "session.fd.other_process",
    level: Must,
    statement: "another process that was given the data_fd can read it, and the stream goes on where it stopped",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some("The text speaks of a file descriptor, and this is what users can do with any."),
};

/// Nobody is left in a read.
pub static WAKES_READER: Requirement = Requirement {
    id: "session.end.wakes_reader",
    level: Must,
    statement: "a read that is going on when the session ends comes back",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The text ends the session; a reader that waits for it would wait for ever."),
};

/// Nor in a poll.
pub static WAKES_POLLER: Requirement = Requirement {
    id: "session.end.wakes_poller",
    level: Must,
    statement: "whatever waits in poll or epoll when the session ends comes back",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("Nothing will ever come, and a read would say so at once."),
};

/// Closing the device is an end too.
pub static DEVICE_CLOSED: Requirement = Requirement {
    id: "session.end.device_closed",
    level: Must,
    statement: "closing the device ends its session: the data_fd, still open, fails and moves no data, and after opening \
                the device again there can be a new one",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "A device that is opened is in RUNNING, which has no session; drivers have used a device that was gone through a \
         data_fd that was left open.",
    ),
};

pub(super) static ALL: &[&Requirement] = &[
    &FD_COMES,
    &FD_ABSENT,
    &SAME_SESSION,
    &ENDED,
    &ENDED_ENODEV,
    &STAYS_DEAD,
    &NEW_WORKS,
    &EARLY_CLOSE,
    &CLOSE_ON_EXEC,
    &ONE_DIRECTION,
    &BAD_BUFFER,
    &AFTER_EFAULT,
    &LOST_FD,
    &NONE_FREE,
    &LOST_LEAVES_NOTHING,
    &NO_SEEK,
    &DUPLICATE,
    &OTHER_PROCESS,
    &WAKES_READER,
    &WAKES_POLLER,
    &DEVICE_CLOSED,
];
