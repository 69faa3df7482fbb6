//! Random walks: everything that a user may do to a device, in an order that nobody thought of, judged step by step by
//! the oracle and by what is known of the sessions.
//!
//! What a walk does follows from its seed alone and never from what the device answers ([`plan`]). So a seed is enough
//! to have the same walk again, any part of it can be left out to find what matters ([`shorten`]), and a walk that was
//! cut off by a hang or a crash is known to its last step. What a step means in the device's state at hand, and whether
//! its answer is one that the protocol allows, is the [`world`]'s matter.

mod answer;
mod features;
mod list;
mod operation;
mod plan;
mod rules;
mod sessions;
mod shorten;
mod traffic;
mod vector;
mod world;

use crate::requirement::Requirement;

pub use answer::Answer;
pub use list::{ListError, WalkList};
pub use operation::{Malformation, Operation, Portion};
pub use plan::{SEGMENT, plan};
pub use shorten::{Shortened, Tried, shorten};
pub use traffic::{AREA_BYTES, IOVA, Traffic};
pub use world::{Step, World};

/// What a step broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The requirement.
    pub requirement: &'static Requirement,
    /// What kind of surprise it was. While a walk is shortened this stays the same; which requirement is accused can
    /// change, since fewer steps leave fewer suspects.
    pub symptom: Symptom,
    /// What was asked of the device.
    pub asked: String,
    /// What the protocol has it answer.
    pub expected: String,
    /// What it answered.
    pub actual: String,
}

/// A kind of surprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Symptom {
    /// What had to be refused was not.
    NotRefused,
    /// What had to succeed did not.
    Failed,
    /// A success that is not 0.
    PositiveReturn,
    /// The device is in another state than it has to be.
    WrongState,
    /// A data_fd came that should not, or none came.
    WrongFd,
    /// A session that goes on is dead.
    Dead,
    /// A session that has ended is not dead.
    Undead,
    /// A stream ended in the wrong way, or not where it should.
    WrongEnd,
    /// An estimate that cannot be.
    WrongEstimate,
    /// A log of DMA that tells of other pages than were written.
    WrongLog,
}
