//! A check: one test that proves requirements on one device.

use serde::{Deserialize, Serialize};

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
    /// The check cannot judge. Another check judges what stands in the way, so this one accuses nothing.
    Blocked {
        /// What stands in the way.
        by: Obstacle,
        /// What the check saw of it, in one sentence.
        why: String,
    },
    /// A key of the profile does not do what it is for, so what the check would see says nothing of the driver.
    BlockedByKey {
        /// The key.
        key: ProfileKey,
        /// What was seen of it.
        why: String,
    },
}

/// What keeps a check from judging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The device breaks this requirement, which another check judges. Its waiver or baseline covers the blocked check.
    Requirement(&'static Requirement),
    /// The device has no part in it. No waiver covers that.
    Environment(Environment),
}

/// What keeps a check from judging although no requirement is known to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// This process or its machine lacks memory, a descriptor or a thread.
    Resources,
    /// The machine or the device is too slow for what the check times.
    Timing,
    /// The check has a defect.
    Defect,
}

impl Interruption {
    /// A broken requirement keeps the check from judging.
    pub fn blocked_by(requirement: &'static Requirement, why: impl Into<String>) -> Interruption {
        Interruption::Blocked { by: Obstacle::Requirement(requirement), why: why.into() }
    }

    /// Whether this requirement keeps the check from judging.
    pub fn is_by(&self, requirement: &Requirement) -> bool {
        matches!(self, Interruption::Blocked { by: Obstacle::Requirement(by), .. } if *by == requirement)
    }

    /// The environment keeps the check from judging.
    pub fn hindered(environment: Environment, why: impl Into<String>) -> Interruption {
        Interruption::Blocked { by: Obstacle::Environment(environment), why: why.into() }
    }
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
    accuses_any: bool,
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
            accuses_any: false,
            hangs_without: None,
            body: Box::new(body),
        }
    }

    /// The same check with other needs.
    pub fn needing(mut self, needs: Needs) -> Check {
        self.needs = needs;
        self
    }

    /// The same check, which may meet a breach of any rule on its way. It proves only what it declares.
    pub fn accusing_any(mut self) -> Check {
        self.accuses_any = true;
        self
    }

    /// Whether it may accuse a device of breaking a requirement that it does not declare.
    pub fn may_accuse_any(&self) -> bool {
        self.accuses_any
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
