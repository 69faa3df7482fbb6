use super::Guide;
use crate::requirement::wear::*;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &DESCRIPTORS,
        "A VMM that migrates often runs out of descriptors, and then fails somewhere else altogether.",
        "A file is installed in the table of the process on a path that never tells the user its number.",
    ),
    Guide::new(
        &MEMORY,
        "A host lives for years and migrates daily. What each migration leaves behind adds up.",
        "The buffer of a session is freed when the session ends in the ordinary way, and forgotten when it is left early.",
    ),
    Guide::new(
        &MODULE,
        "A driver that cannot be unloaded cannot be replaced without a reboot of the host.",
        "The file of a session holds a reference that closing the device should have given back.",
    ),
    Guide::new(
        &BEGINS_AGAIN,
        "A VM whose migration is cancelled is migrated later. A device that has run out of sessions by then cannot be moved.",
        "A slot of firmware or a reference is taken when a session begins, and returned on one of the ways out of it only.",
    ),
    Guide::new(
        &REBIND,
        "A function goes from the host to a guest and back many times in the life of a host.",
        "What remove() should undo is left for the next probe() to find; xe's release did not call the core's, which leaked.",
    ),
];
