//! The state machine: which requests lead where, by which path, and which must fail.

use super::Level::Must;
use super::{Basis, Requirement};

const STATES: &str = "enum vfio_device_mig_state";
const DEVICE_STATE: &str = "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE";

/// A fresh device runs.
pub static OPENS_RUNNING: Requirement = Requirement {
    id: "fsm.open.running",
    level: Must,
    statement: "a device is in RUNNING when it is opened, whatever state it was closed in",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The text does not say which state an open finds; a new user must not meet another one's migration."),
};

/// GET only looks.
pub static GET_ONLY_LOOKS: Requirement = Requirement {
    id: "fsm.get.only_looks",
    level: Must,
    statement: "GET of the device state answers the state and data_fd -1, and changes nothing",
    source: DEVICE_STATE,
    basis: Basis::Text,
    ruling: None,
};

/// Arcs end where they should.
pub static ARC: Requirement = Requirement {
    id: "fsm.arc.ends_there",
    level: Must,
    statement: "a direct arc succeeds, and the device is in the state asked for when the ioctl returns",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Combinations end where they should.
pub static COMBINATION: Requirement = Requirement {
    id: "fsm.combination.ends_there",
    level: Must,
    statement: "a combination of arcs succeeds, and the device is in the state asked for when the ioctl returns",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// By the right path.
pub static PATH: Requirement = Requirement {
    id: "fsm.combination.path",
    level: Must,
    statement: "a request takes the shortest path, with no state of the saving group inside it unless it stays in the group",
    source: STATES,
    basis: Basis::Text,
    ruling: Some(
        "Judged by the steps of vfio_mig_get_next_state where the kernel can be traced; PRE_COPY -> STOP_COPY goes \
         through PRE_COPY_P2P because every other way would end the session.",
    ),
};

/// Asking for the current state.
pub static SAME_STATE: Requirement = Requirement {
    id: "fsm.same_state.no_effect",
    level: Must,
    statement: "asking for the current state succeeds, brings no data_fd and leaves an open session alone",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The shortest path to the state that a device is in has no arcs, so nothing is done on it."),
};

/// The forbidden arcs.
pub static BLOCKED: Requirement = Requirement {
    id: "fsm.refuse.blocked_arc",
    level: Must,
    statement: "STOP_COPY -> PRE_COPY and STOP_COPY -> PRE_COPY_P2P are refused with an error",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// ERROR cannot be asked for.
pub static ERROR_AS_TARGET: Requirement = Requirement {
    id: "fsm.refuse.error_as_target",
    level: Must,
    statement: "ERROR as the state asked for is refused",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Optional states need their capability.
pub static NOT_ADVERTISED: Requirement = Requirement {
    id: "fsm.refuse.not_advertised",
    level: Must,
    statement: "a state whose capability is not advertised is refused",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Numbers beyond the states.
pub static OUT_OF_RANGE: Requirement = Requirement {
    id: "fsm.refuse.out_of_range",
    level: Must,
    statement: "a number that is no state is refused",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some("The text lists the states, and has nothing that a driver could do for another number."),
};

/// From ERROR only reset helps.
pub static FROM_ERROR: Requirement = Requirement {
    id: "fsm.refuse.from_error",
    level: Must,
    statement: "in ERROR every state asked for is refused; only a reset leads out",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Refusals have no effect on the state.
pub static REFUSAL_KEEPS_STATE: Requirement = Requirement {
    id: "fsm.refuse.keeps_state",
    level: Must,
    statement: "a refused request leaves the state as it was",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("A request that is refused because of what it asks never begins, so ERROR is no excuse."),
};

/// Refusals have no effect on the session.
pub static REFUSAL_KEEPS_SESSION: Requirement = Requirement {
    id: "fsm.refuse.keeps_session",
    level: Must,
    statement: "a refused request leaves an open session usable",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("A request that is refused because of what it asks never begins, so it cannot end a session."),
};

/// Failures leave the device somewhere sensible.
pub static FAILURE_LANDS: Requirement = Requirement {
    id: "fsm.failure.lands_on_path",
    level: Must,
    statement: "a transition that fails leaves the device in its origin, in a state on the path, or in ERROR, and the \
                way out of that state works",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Nobody else changes the state.
pub static STEADY: Requirement = Requirement {
    id: "fsm.state.steady",
    level: Must,
    statement: "the state does not change by itself",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

pub(super) static ALL: &[&Requirement] = &[
    &OPENS_RUNNING,
    &GET_ONLY_LOOKS,
    &ARC,
    &COMBINATION,
    &PATH,
    &SAME_STATE,
    &BLOCKED,
    &ERROR_AS_TARGET,
    &NOT_ADVERTISED,
    &OUT_OF_RANGE,
    &FROM_ERROR,
    &REFUSAL_KEEPS_STATE,
    &REFUSAL_KEEPS_SESSION,
    &FAILURE_LANDS,
    &STEADY,
];
