//! Random walks: what no single check asks for.

use super::Level::Must;
use super::{Basis, Requirement};

/// Whatever the order.
pub static ALLOWED: Requirement = Requirement {
    id: "walk.answers.allowed",
    level: Must,
    statement: "in whatever order operations come, each answer is one that the protocol allows at that point",
    source: "enum vfio_device_mig_state, and all that it refers to",
    basis: Basis::Text,
    ruling: Some(
        "What a walk finds is accused by the requirement that the step breaks; this one is proven by a walk that finds \
         nothing.",
    ),
};

pub(super) static ALL: &[&Requirement] = &[&ALLOWED];
