//! The kernel's own health, watched during every check.

use super::Level::Must;
use super::{Basis, Requirement};

/// Nothing in the kernel log.
pub static LOG: Requirement = Requirement {
    id: "health.kernel_log.clean",
    level: Must,
    statement: "nothing that a user does to a device makes the kernel report an oops, a WARN, or a lockdep, KASAN, \
                UBSAN, refcount or hung-task finding",
    source: "rules of the kernel for every driver",
    basis: Basis::Ruling,
    ruling: Some("No user may bring down the kernel, whatever the protocol; such a report says that this one could."),
};

/// No new taint.
pub static TAINT: Requirement = Requirement {
    id: "health.taint.unchanged",
    level: Must,
    statement: "nothing that a user does to a device taints the kernel",
    source: "rules of the kernel for every driver",
    basis: Basis::Ruling,
    ruling: Some(
        "No user may bring down the kernel, whatever the protocol; a taint says that the kernel no longer trusts \
         itself.",
    ),
};

pub(super) static ALL: &[&Requirement] = &[&LOG, &TAINT];
