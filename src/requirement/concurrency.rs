//! Calls from several threads at once.

use super::Level::Must;
use super::{Basis, Requirement};

const STATES: &str = "enum vfio_device_mig_state";
const DEVICE_STATE: &str = "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE";
const SILENT: &str = "rules of the kernel for every driver; the text says nothing of threads";

/// Everything comes back, and the device is as good as before.
pub static COME_BACK: Requirement = Requirement {
    id: "concurrency.calls.come_back",
    level: Must,
    statement: "calls from several threads at once all come back, and the device can then be brought to RUNNING and saved",
    source: SILENT,
    basis: Basis::Ruling,
    ruling: Some(
        "What each call answers is open, since nobody knows in which order they are served; that the device survives \
         them is not.",
    ),
};

/// GET never sees what is no state.
pub static REAL_STATE: Requirement = Requirement {
    id: "concurrency.state.real",
    level: Must,
    statement: "GET answers a state of the capability set, or an error, whatever other threads do meanwhile",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The text has GET return the state; a number that is none, or not the device's, is not one."),
};

/// A session has one owner.
pub static ONE_OWNER: Requirement = Requirement {
    id: "concurrency.session.one_owner",
    level: Must,
    statement: "when threads ask for the same state at once, the session that begins brings one data_fd, to one of them",
    source: DEVICE_STATE,
    basis: Basis::Ruling,
    ruling: Some("Whoever comes second asks for the state that the device is in, which begins nothing."),
};

pub(super) static ALL: &[&Requirement] = &[&COME_BACK, &REAL_STATE, &ONE_OWNER];
