//! What a device says about itself, and how the feature ioctl treats what it does not understand.

use super::Level::Must;
use super::{Basis, Requirement};

const FEATURE: &str = "struct vfio_device_feature";

/// The capability set is one of the four.
pub static FLAGS: Requirement = Requirement {
    id: "discover.flags.defined",
    level: Must,
    statement: "GET MIGRATION answers STOP_COPY, alone or with P2P, PRE_COPY or both, and nothing else",
    source: "VFIO_DEVICE_FEATURE_MIGRATION",
    basis: Basis::Text,
    ruling: None,
};

/// PROBE tells the truth.
pub static PROBE: Requirement = Requirement {
    id: "discover.probe.agrees",
    level: Must,
    statement: "PROBE of a feature succeeds exactly if the feature is there, with GET or SET exactly if that works on it",
    source: FEATURE,
    basis: Basis::Text,
    ruling: Some(
        "A feature that is not there answers ENOTTY to PROBE and to use alike; one that is there may still refuse its \
         arguments. EINVAL is accepted for MIG_PRECOPY_INFOv2 where PRE_COPY is not advertised, as the VFIO core has it, \
         and from kernels before 6.18, which do not know it.",
    ),
};

/// PROBE has no effect.
pub static PROBE_CHANGES_NOTHING: Requirement = Requirement {
    id: "discover.probe.changes_nothing",
    level: Must,
    statement: "PROBE changes nothing",
    source: FEATURE,
    basis: Basis::Ruling,
    ruling: Some("The text calls it a way to ask whether a feature is there; a question must not act."),
};

/// An unknown feature is said to be unknown.
pub static UNKNOWN_FEATURE: Requirement = Requirement {
    id: "discover.feature.unknown",
    level: Must,
    statement: "a feature number that the kernel does not know answers ENOTTY",
    source: FEATURE,
    basis: Basis::Ruling,
    ruling: Some(
        "Kernels before 6.18 answer EINVAL from drivers that have no features of their own; that is accepted there.",
    ),
};

/// `argsz` is looked at.
pub static ARGSZ_SMALL: Requirement = Requirement {
    id: "discover.header.argsz_small",
    level: Must,
    statement: "an argsz below the header, or below what the feature needs, answers EINVAL",
    source: FEATURE,
    basis: Basis::Ruling,
    ruling: Some(
        "The text gives the structure an argsz and names no errno; every ioctl of VFIO treats one that is too \
         small so.",
    ),
};

/// A newer caller works.
pub static ARGSZ_LARGE: Requirement = Requirement {
    id: "discover.header.argsz_large",
    level: Must,
    statement: "an argsz larger than needed works like the exact one",
    source: FEATURE,
    basis: Basis::Ruling,
    ruling: Some("Only so can the structure grow, which is what argsz is for."),
};

/// Unknown flags are refused.
pub static UNKNOWN_FLAGS: Requirement = Requirement {
    id: "discover.header.unknown_flags",
    level: Must,
    statement: "flag bits that are not defined answer EINVAL",
    source: FEATURE,
    basis: Basis::Ruling,
    ruling: Some("The text defines three flags; a flag that is ignored today could never get a meaning."),
};

/// GET and SET exclude each other.
pub static GET_AND_SET: Requirement = Requirement {
    id: "discover.header.get_and_set",
    level: Must,
    statement: "GET together with SET, or neither of them, answers EINVAL unless PROBE is there",
    source: FEATURE,
    basis: Basis::Text,
    ruling: None,
};

/// The direction is looked at.
pub static WRONG_DIRECTION: Requirement = Requirement {
    id: "discover.header.wrong_direction",
    level: Must,
    statement: "GET of a feature that can only be set, or SET of one that can only be got, answers EINVAL",
    source: FEATURE,
    basis: Basis::Ruling,
    ruling: Some("The text has a feature support GET, SET or both, and names no errno for the other."),
};

/// Bad memory is reported.
pub static BAD_MEMORY: Requirement = Requirement {
    id: "discover.memory.efault",
    level: Must,
    statement: "a structure that cannot be read, or an answer that cannot be written, is EFAULT and no other result",
    source: FEATURE,
    basis: Basis::Ruling,
    ruling: Some("A positive return is a broken EFAULT: some drivers leaked the number of bytes not copied."),
};

/// Refusals have no effect.
pub static REFUSAL_CHANGES_NOTHING: Requirement = Requirement {
    id: "discover.refusal.changes_nothing",
    level: Must,
    statement: "a refused feature call changes nothing",
    source: FEATURE,
    basis: Basis::Ruling,
    ruling: Some("The text has an error mean that the call failed; a user that got one goes on from the state before."),
};

/// No migration means none of it.
pub static NOT_MIGRATABLE: Requirement = Requirement {
    id: "discover.absent.enotty",
    level: Must,
    statement: "a device without migration answers ENOTTY to each of its features",
    source: "VFIO_DEVICE_FEATURE_MIGRATION",
    basis: Basis::Ruling,
    ruling: Some(
        "The text has a successful GET of MIGRATION say that there is migration, and names no errno for its \
         absence.",
    ),
};

/// Success is 0.
pub static SUCCESS_IS_ZERO: Requirement = Requirement {
    id: "discover.success.zero",
    level: Must,
    statement: "a feature call that succeeds returns 0",
    source: FEATURE,
    basis: Basis::Text,
    ruling: None,
};

pub(super) static ALL: &[&Requirement] = &[
    &FLAGS,
    &PROBE,
    &PROBE_CHANGES_NOTHING,
    &UNKNOWN_FEATURE,
    &ARGSZ_SMALL,
    &ARGSZ_LARGE,
    &UNKNOWN_FLAGS,
    &GET_AND_SET,
    &WRONG_DIRECTION,
    &BAD_MEMORY,
    &REFUSAL_CHANGES_NOTHING,
    &NOT_MIGRATABLE,
    &SUCCESS_IS_ZERO,
];
