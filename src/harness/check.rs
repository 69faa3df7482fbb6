//! A check: one test that proves requirements on one device.

use crate::requirement::Requirement;
use crate::stimulus::ProfileKey;

use super::bench::{Bench, Fix};
pub use super::skip::{Lack, Skip};

/// How a check ends: judged to its end, or stopped on the way.
pub type Judgement<T = ()> = Result<T, Interruption>;

/// Why a check stopped on the way. The `?` of a check's body carries it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// A must is broken; the bench has the particulars.
    Broken,
    /// The check does not apply.
    Skip(Skip),
    /// The device could not be brought to where the check begins. What stands in the way is for another check to
    /// judge, so this one accuses nobody.
    Blocked(String),
    /// A key of the profile does not do what it is for, so what the check would see says nothing of the driver.
    BlockedByKey {
        /// The key.
        key: ProfileKey,
        /// What was seen of it.
        why: String,
    },
}

/// What a check asks of a device before it makes sense at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// A device with migration.
    Migration,
    /// A device without migration.
    NoMigration,
    /// Any device.
    Nothing,
}

type Body = Box<dyn Fn(&mut Bench) -> Judgement + Send + Sync>;

/// One test, named `chapter::check_name`.
pub struct Check {
    name: String,
    requirements: Vec<&'static Requirement>,
    needs: Needs,
    hangs_without: Option<&'static Fix>,
    body: Body,
}

impl Check {
    /// A check of a device with migration.
    pub fn new(
        name: impl Into<String>,
        requirements: &[&'static Requirement],
        body: impl Fn(&mut Bench) -> Judgement + Send + Sync + 'static,
    ) -> Check {
        Check {
            name: name.into(),
            requirements: requirements.to_vec(),
            needs: Needs::Migration,
            hangs_without: None,
            body: Box::new(body),
        }
    }

    /// The same check with other needs.
    pub fn needing(mut self, needs: Needs) -> Check {
        self.needs = needs;
        self
    }

    /// The same check, known to wedge kernels without this fix, whatever the device.
    pub fn hanging_without(mut self, fix: &'static Fix) -> Check {
        self.hangs_without = Some(fix);
        self
    }

    /// `chapter::check_name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part of the name before `::`.
    pub fn chapter(&self) -> &str {
        chapter_of(&self.name)
    }

    /// What it can prove.
    pub fn requirements(&self) -> &[&'static Requirement] {
        &self.requirements
    }

    /// What it asks of a device.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// The fix that a kernel needs not to be wedged by it.
    pub fn hangs_without(&self) -> Option<&'static Fix> {
        self.hangs_without
    }

    /// Runs the body. [`Bench::run`] does so with everything around it.
    pub(super) fn body(&self, bench: &mut Bench) -> Judgement {
        (self.body)(bench)
    }
}

/// The chapter of a check's name.
pub fn chapter_of(check: &str) -> &str {
    check.split_once("::").map_or(check, |(chapter, _)| chapter)
}
