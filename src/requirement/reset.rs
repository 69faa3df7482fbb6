//! Reset: the way out of everything.

use super::Level::Must;
use super::{Basis, Requirement};

const STATES: &str = "enum vfio_device_mig_state";

/// Reset is there.
pub static AVAILABLE: Requirement = Requirement {
    id: "reset.available",
    level: Must,
    statement: "a device with migration can be reset",
    source: STATES,
    basis: Basis::Text,
    ruling: Some("The text names reset as the only way out of ERROR and out of a RESUMING that is given up."),
};

/// Reset leads to RUNNING.
pub static RUNNING: Requirement = Requirement {
    id: "reset.leads_to_running",
    level: Must,
    statement: "after a reset the device is in RUNNING, whatever state it was in",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Reset ends sessions.
pub static ENDS_SESSION: Requirement = Requirement {
    id: "reset.ends_session",
    level: Must,
    statement: "a reset ends an open session",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "A reset leads to RUNNING, which has no session. The text names reset as a way to end a session for \
         RESUMING only.",
    ),
};

/// After a reset everything works.
pub static WORKS_AFTERWARDS: Requirement = Requirement {
    id: "reset.works_afterwards",
    level: Must,
    statement: "after a reset the device can be brought to every state again",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The text gives RUNNING as the state after a reset, and every arc from RUNNING is open to its user."),
};

/// Resets can be repeated.
pub static REPEATED: Requirement = Requirement {
    id: "reset.repeated",
    level: Must,
    statement: "many resets in a row all succeed and leave the device in RUNNING",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The text sets no limit to how often a device is reset."),
};

/// Nobody is left waiting.
pub static WAKES: Requirement = Requirement {
    id: "reset.wakes",
    level: Must,
    statement: "reads and polls that are going on when the device is reset come back",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The session has ended with the reset, so a reader or poller that still waits would wait for ever."),
};

/// Transitions are no obstacle.
pub static DURING_TRANSITION: Requirement = Requirement {
    id: "reset.during_transition",
    level: Must,
    statement: "a reset during a transition comes back, and so does the transition; after another reset the device works",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "What either of the two answers is left open: a transition may fail of it, a reset may be asked to wait.",
    ),
};

pub(super) static ALL: &[&Requirement] =
    &[&AVAILABLE, &RUNNING, &ENDS_SESSION, &WORKS_AFTERWARDS, &REPEATED, &WAKES, &DURING_TRANSITION];
