//! Reset: the way out of everything.

use super::Level::Must;
use super::Requirement;

const STATES: &str = "enum vfio_device_mig_state";

/// Reset is there.
pub static AVAILABLE: Requirement = Requirement {
    id: "reset.available",
    level: Must,
    statement: "a device with migration can be reset",
    source: STATES,
    ruling: Some("The text names reset as the only way out of ERROR and out of a RESUMING that is given up."),
};

/// Reset leads to RUNNING.
pub static RUNNING: Requirement = Requirement {
    id: "reset.leads_to_running",
    level: Must,
    statement: "after a reset the device is in RUNNING, whatever state it was in",
    source: STATES,
    ruling: None,
};

/// Reset ends sessions.
pub static ENDS_SESSION: Requirement = Requirement {
    id: "reset.ends_session",
    level: Must,
    statement: "a reset ends an open session",
    source: STATES,
    ruling: None,
};

/// After a reset everything works.
pub static WORKS_AFTERWARDS: Requirement = Requirement {
    id: "reset.works_afterwards",
    level: Must,
    statement: "after a reset the device can be brought to every state again",
    source: STATES,
    ruling: None,
};

/// Resets can be repeated.
pub static REPEATED: Requirement = Requirement {
    id: "reset.repeated",
    level: Must,
    statement: "many resets in a row all succeed and leave the device in RUNNING",
    source: STATES,
    ruling: None,
};

/// Nobody is left waiting.
pub static WAKES: Requirement = Requirement {
    id: "reset.wakes",
    level: Must,
    statement: "reads and polls that are going on when the device is reset come back",
    source: STATES,
    ruling: None,
};

/// Transitions are no obstacle.
pub static DURING_TRANSITION: Requirement = Requirement {
    id: "reset.during_transition",
    level: Must,
    statement: "a reset during a transition comes back, and so does the transition; after another reset the device works",
    source: STATES,
    ruling: Some(
        "What either of the two answers is left open: a transition may fail of it, a reset may be asked to wait.",
    ),
};

pub(super) static ALL: &[&Requirement] =
    &[&AVAILABLE, &RUNNING, &ENDS_SESSION, &WORKS_AFTERWARDS, &REPEATED, &WAKES, &DURING_TRANSITION];
