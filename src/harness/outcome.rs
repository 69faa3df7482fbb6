//! What a check leaves behind: a verdict with all that led to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::{Environment, Obstacle};
use super::measure::Sample;
use super::skip::Skip;
use super::verdict::Verdict;
use crate::requirement::{Level, Requirement};
use crate::stimulus::ProfileKey;
use crate::uapi::state::State;

/// The whole result of one check on one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What it came to.
    pub verdict: Verdict,
    /// Why, in one sentence; empty on a plain pass.
    pub message: String,
    /// The id of the broken requirement that keeps a blocked check from judging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// What else keeps a blocked check from judging. A check that the lab blocks has neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindered_by: Option<Environment>,
    /// How long it took, in seconds, putting the device back included.
    pub seconds: f64,
    /// The requirements that were judged and kept.
    pub proven: Vec<String>,
    /// The requirements that were broken.
    pub broken: Vec<Broken>,
    /// What was seen on the way.
    pub evidence: Evidence,
    /// What was measured on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// Why the check was skipped; `None` if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
    /// The key of the profile that blocked it: it does not do what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by_key: Option<ProfileKey>,
    /// Requirements of the check that it did not judge though it ran to its end, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, Skip>,
    /// Keys of the profile that the check asked for and played.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub played: BTreeSet<ProfileKey>,
    /// Keys of the profile that the check asked for and the profile lacks, whether it was skipped for that or judged less.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lacked: BTreeSet<ProfileKey>,
    /// That the result depends on what ran on a sibling device; `None` if it does not, or if nothing ran there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sibling: Option<Sibling>,
}

/// A check that has another result beside a sibling device in the same machine than alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sibling {
    /// The checks that ran on the other devices meanwhile, in alphabetical order.
    pub checks: Vec<String>,
    /// The verdict beside them.
    pub beside: Verdict,
    /// The verdict with nothing beside it.
    pub alone: Verdict,
    /// Why, of the verdict that the outcome does not have.
    pub message: String,
}

impl fmt::Display for Sibling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sibling { checks, beside, alone, message } = self;
        let checks = checks.join(", ");
        write!(f, "depends on the sibling device: {beside} while {checks} ran there, {alone} alone")?;
        match message.is_empty() {
            true => Ok(()),
            false => write!(f, " ({message})"),
        }
    }
}

/// A requirement that a device broke, in words for someone who does not know the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Its id.
    pub requirement: String,
    /// Its level.
    pub level: Level,
    /// The requirement itself, in one sentence.
    pub statement: String,
    /// What was asked of the device.
    pub asked: String,
    /// What the protocol has it answer.
    pub expected: String,
    /// What it answered.
    pub actual: String,
}

/// What was seen while a check ran.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Every operation on the device in order.
    pub operations: Vec<Operation>,
    /// The steps that the kernel itself took, where tracing is available.
    pub paths: Vec<ObservedPath>,
    /// The kernel log since the check began, where it has anything to say.
    pub kernel_log: Vec<String>,
    /// Remarks: broken advice, what was not observed and why.
    pub notes: Vec<String>,
    /// How many seconds the suite, the device or the machine stood still while the check ran.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub stood_still: f64,
}

fn is_nothing(seconds: &f64) -> bool {
    *seconds == 0.0
}

/// One operation on the device, in protocol words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Seconds since the check began.
    pub at: f64,
    /// `SET STOP_COPY`, `read 4096`, `RESET`.
    pub what: String,
    /// `ok, data_fd 7`, `EINVAL`; `None` if it never came back.
    pub result: Option<String>,
    /// How long it took, in microseconds; `None` if it never came back.
    pub micros: Option<f64>,
}

/// The kernel's own path of one transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedPath {
    /// Where it was asked to go.
    pub to: State,
    /// The states that the kernel stood in when it chose each next step, beginning with the origin.
    pub through: Vec<State>,
}

impl Outcome {
    /// An outcome of a check that never judged anything.
    pub fn without_judgement(verdict: Verdict, message: impl Into<String>) -> Outcome {
        Outcome {
            verdict,
            message: message.into(),
            blocked_by: None,
            hindered_by: None,
            seconds: 0.0,
            proven: Vec::new(),
            broken: Vec::new(),
            evidence: Evidence::default(),
            samples: Vec::new(),
            skip: None,
            blocked_by_key: None,
            left_out: BTreeMap::new(),
            played: BTreeSet::new(),
            lacked: BTreeSet::new(),
            sibling: None,
        }
    }

    /// The result of a check that ran beside others first, and then alone. A finding is never lost; what was only blocked
    /// beside the others is judged by the run alone.
    pub fn beside_and_alone(beside: Outcome, alone: Outcome, checks: Vec<String>) -> Outcome {
        if beside.verdict == alone.verdict || alone.verdict.is_finding() && beside.verdict.is_finding() {
            return alone;
        }
        let mut sibling = Sibling { checks, beside: beside.verdict, alone: alone.verdict, message: String::new() };
        let mut counts = alone;
        let mut other = beside;
        if other.verdict.is_finding() {
            std::mem::swap(&mut counts, &mut other);
        }
        sibling.message = other.message;
        counts.evidence.notes.insert(0, sibling.to_string());
        counts.sibling = Some(sibling);
        counts
    }

    /// An outcome of a check that was skipped.
    pub fn skipped(skip: Skip) -> Outcome {
        Outcome { skip: Some(skip.clone()), ..Outcome::without_judgement(Verdict::Skip, skip.to_string()) }
    }

    /// An outcome of a check that something keeps from judging.
    pub fn blocked(by: Obstacle, message: impl Into<String>) -> Outcome {
        let (blocked_by, hindered_by) = match by {
            Obstacle::Requirement(requirement) => (Some(requirement.id.to_owned()), None),
            Obstacle::Environment(environment) => (None, Some(environment)),
        };
        Outcome { blocked_by, hindered_by, ..Outcome::without_judgement(Verdict::Blocked, message) }
    }

    /// The message, with the requirement that blocks the check in front of it where there is one.
    pub fn reason(&self) -> String {
        match &self.blocked_by {
            Some(requirement) => format!("blocked by {requirement}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// Writes down that the kernel itself reported something. What that makes of the verdict is the caller's matter.
    pub fn accuse(&mut self, requirement: &'static Requirement, actual: String) {
        self.proven.retain(|id| id != requirement.id);
        self.broken.push(Broken {
            requirement: requirement.id.to_owned(),
            level: requirement.level,
            statement: requirement.statement.to_owned(),
            asked: "watch the kernel while the check runs".to_owned(),
            expected: "no report and no new taint".to_owned(),
            actual,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::health;

    #[test]
    fn what_is_accused_is_not_proven_any_more_and_all_else_is() {
        let ids = || [health::LOG.id, health::TAINT.id].map(str::to_owned).to_vec();
        let mut outcome = Outcome { proven: ids(), ..Outcome::without_judgement(Verdict::Pass, "") };
        outcome.accuse(&health::LOG, "WARNING".to_owned());
        assert_eq!(outcome.proven, [health::TAINT.id]);
        assert_eq!(outcome.broken.iter().map(|broken| &*broken.requirement).collect::<Vec<_>>(), [health::LOG.id]);
    }

    #[test]
    fn what_a_sibling_changes_is_named_and_no_finding_is_lost() {
        use Verdict::*;
        let of = |verdict: Verdict| Outcome::without_judgement(verdict, verdict.word());
        let both = |beside, alone| Outcome::beside_and_alone(of(beside), of(alone), vec!["session::x".to_owned()]);
        for (beside, alone, counts, depends) in [
            (Fail, Pass, Fail, true),
            (Warn, Pass, Warn, true),
            (Fail, Blocked, Fail, true),
            (Blocked, Pass, Pass, true),
            (Blocked, Fail, Fail, true),
            (Blocked, Skip, Skip, true),
            (Fail, Fail, Fail, false),
            (Fail, Crash, Crash, false),
            (Blocked, Blocked, Blocked, false),
        ] {
            let outcome = both(beside, alone);
            assert_eq!((outcome.verdict, outcome.sibling.is_some()), (counts, depends), "{beside}, {alone}");
        }
        let note = "depends on the sibling device: blocked while session::x ran there, pass alone (blocked)";
        assert_eq!(both(Blocked, Pass).evidence.notes, [note]);
    }
}
