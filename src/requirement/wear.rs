//! Wear: what is left of many sessions, and of opening the device many times.

use super::Level::Must;
use super::{Basis, Requirement};

const CUSTOM: &str = "rules of the kernel for every driver; the text says nothing of resources";

/// No descriptor is left.
pub static DESCRIPTORS: Requirement = Requirement {
    id: "wear.descriptors.none_left",
    level: Must,
    statement: "sessions that have ended and were closed, and devices that were closed or bound again, leave no file descriptor",
    source: "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE",
    basis: Basis::Ruling,
    ruling: Some("The text makes the user close each data_fd, which only works for those that the user is told of."),
};

/// No memory is left.
pub static MEMORY: Requirement = Requirement {
    id: "wear.memory.none_left",
    level: Must,
    statement: "sessions that have ended, and devices that were closed or bound again, leave no kernel memory",
    source: CUSTOM,
    basis: Basis::Ruling,
    ruling: Some(
        "Other things on the machine take and give memory too. So only a steady growth is judged, in each of three \
         batches, that is still there when all that was freed is given back, and that is not there while nothing is done: \
         by 64 KiB or more for each session, or by an object of one of the kinds that drivers allocate (kmalloc, open \
         files) for every third session or more. Each processor keeps some of those prepared, so what seems to be left is \
         looked for once more, after 600 sessions or as many as fit into four seconds. \
         Root asks the kernel to put those back, so that they can be counted; for other users `--wear N` shows more, which makes \
         batches of N sessions. What is left then is measured a second time, with nothing beside it, and only the second \
         figures count.",
    ),
};

/// No reference is left.
pub static MODULE: Requirement = Requirement {
    id: "wear.module.none_left",
    level: Must,
    statement: "sessions that have ended and were closed, and devices that were closed or bound again, leave no reference to \
                the driver's module",
    source: CUSTOM,
    basis: Basis::Ruling,
    ruling: Some(
        "A module that is referred to for ever cannot be unloaded until the machine is rebooted. Other devices of the \
         driver come and go meanwhile, so what is judged is one reference or more for each session, in each of three \
         batches, and again when that is measured a second time with nothing beside it.",
    ),
};

/// A device can be bound again.
pub static REBIND: Requirement = Requirement {
    id: "wear.rebind.works",
    level: Must,
    statement: "a device that its driver has given up and taken again is in RUNNING when it is opened, and can be saved",
    source: CUSTOM,
    basis: Basis::Ruling,
    ruling: Some("Hosts bind functions to VFIO and back for each guest, without a reboot in between."),
};

/// Sessions do not run out.
pub static BEGINS_AGAIN: Requirement = Requirement {
    id: "wear.sessions.begin_again",
    level: Must,
    statement: "a device opens and begins a session as at first, however many sessions have ended before",
    source: CUSTOM,
    basis: Basis::Ruling,
    ruling: Some(
        "The text sets no limit to how often a device migrates. A device has a limit to how many sessions go on at once, \
         which a session that has ended does not count against.",
    ),
};

pub(super) static ALL: &[&Requirement] = &[&DESCRIPTORS, &MEMORY, &MODULE, &REBIND, &BEGINS_AGAIN];
