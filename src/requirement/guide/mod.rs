//! What people want to know of a requirement beside its rule: what it needs, why a migrating VM depends on it, and what
//! drivers typically get wrong.
//!
//! A table of its own, a file a chapter, so that a rule stays a few lines in the chapter's file.

mod concurrency;
mod discover;
mod dma_logging;
mod fsm;
mod health;
mod precopy;
mod quiesce;
mod reset;
mod resume;
mod session;
mod stop_copy;
mod walk;
mod wear;

use std::fmt;

use super::Requirement;
use crate::uapi::feature::Feature;

/// The guide to one requirement.
#[derive(Debug)]
pub struct Guide {
    /// The requirement.
    pub requirement: &'static Requirement,
    /// What a device, its profile or its kernel must have for the requirement to say anything about it.
    pub needs: &'static [Need],
    /// Why it matters to a VM that migrates.
    pub why: &'static str,
    /// What typically goes wrong.
    pub goes_wrong: &'static str,
}

/// Something that not every device, profile or kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The capability P2P.
    P2p,
    /// The capability PRE_COPY.
    PreCopy,
    /// A feature of `VFIO_DEVICE_FEATURE`.
    Feature(Feature),
    /// A device that cannot migrate.
    NoMigration,
    /// A stimulus, by its name in a profile.
    Stimulus(&'static str),
    /// This kernel, or a later one.
    Kernel(u32, u32),
    /// A device of a kernel, so not the model.
    AnyKernel,
    /// A kernel whose functions can be traced.
    Tracing,
}

impl Guide {
    const fn new(requirement: &'static Requirement, why: &'static str, goes_wrong: &'static str) -> Guide {
        Guide { requirement, needs: &[], why, goes_wrong }
    }

    const fn needing(self, needs: &'static [Need]) -> Guide {
        Guide { needs, ..self }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::P2p => f.write_str("capability P2P"),
            Need::PreCopy => f.write_str("capability PRE_COPY"),
            Need::Feature(feature) => write!(f, "feature {}", feature.name()),
            Need::NoMigration => f.write_str("a device without migration"),
            Need::Stimulus(name) => write!(f, "stimulus {name} of the profile"),
            Need::Kernel(major, minor) => write!(f, "kernel {major}.{minor}"),
            Need::AnyKernel => f.write_str("a device of a kernel, not the model"),
            Need::Tracing => f.write_str("a kernel that can be traced (tracefs, kprobes)"),
        }
    }
}

fn all() -> impl Iterator<Item = &'static Guide> {
    of_each_chapter!(ALL).into_iter().flatten()
}

/// The guide to a requirement; `None` where nobody has written it yet.
pub fn of(requirement: &Requirement) -> Option<&'static Guide> {
    all().find(|guide| guide.requirement.id == requirement.id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::requirement;

    #[test]
    fn every_requirement_has_a_guide() {
        let lacks = |requirement: &&Requirement| of(requirement).is_none();
        let lacking: Vec<&str> = requirement::all().filter(lacks).map(|requirement| requirement.id).collect();
        assert!(lacking.is_empty(), "say why these matter and what goes wrong: {lacking:#?}");
    }

    #[test]
    fn guides_are_sentences_and_stand_once() {
        let mut seen = BTreeSet::new();
        for guide in all() {
            let id = guide.requirement.id;
            assert!(seen.insert(id), "{id} has two guides");
            for text in [guide.why, guide.goes_wrong] {
                assert!(text.ends_with('.') && text.len() > 30, "{id}: {text}");
            }
        }
    }
}
