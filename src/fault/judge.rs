//! Whether the suite was right about a fault: everything that it breaks is accused, and nothing else.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalogue::Fault;
use crate::harness::check::Check;
use crate::harness::outcome::Outcome;
use crate::harness::verdict::Verdict;
use crate::report::CheckRun;

/// What the suite made of one fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Each requirement that was rightly accused, with the first check that did, in words that lead to the defect.
    pub caught: BTreeMap<String, Caught>,
    /// Each requirement that was accused since it follows, in the same way.
    pub followed: BTreeMap<String, Caught>,
    /// Requirements that the fault breaks and nothing accused.
    pub missed: Vec<String>,
    /// Accusations without cause: the requirement, or the verdict that came, and the check.
    pub blamed: BTreeMap<String, String>,
    /// What each check said, whose words explain what was missed.
    pub said: BTreeMap<String, String>,
}

/// How a fault was caught.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caught {
    /// By which check.
    pub check: String,
    /// What it said.
    pub message: String,
}

impl Finding {
    /// Whether all is accused that should be, and nothing else.
    pub fn is_right(&self) -> bool {
        self.missed.is_empty() && self.blamed.is_empty()
    }
}

/// Judges what checks said on a device with this fault, and what went wrong while none ran.
pub fn judge(fault: &Fault, outcomes: &[(&Check, Outcome)], incidents: &[CheckRun]) -> Finding {
    let mut caught = BTreeMap::new();
    let mut followed = BTreeMap::new();
    let mut blamed = BTreeMap::new();
    let of_checks = outcomes.iter().map(|(check, outcome)| {
        let proves = check.requirements().iter().map(|requirement| requirement.id).collect();
        (check.name(), proves, outcome)
    });
    let of_incidents = incidents.iter().map(|incident| {
        let proves = incident.requirements.iter().map(String::as_str).collect();
        (incident.name.as_str(), proves, &incident.outcome)
    });
    let all: Vec<(&str, Vec<&str>, &Outcome)> = of_checks.chain(of_incidents).collect();
    for (name, proves, outcome) in &all {
        for (requirement, message) in accusations(fault, proves, outcome) {
            let name = (*name).to_owned();
            if fault.breaks.contains(&requirement) {
                caught.entry(requirement).or_insert(Caught { check: name, message });
            } else if fault.follows.contains_key(&requirement) {
                followed.entry(requirement).or_insert(Caught { check: name, message });
            } else {
                blamed.entry(requirement).or_insert(name);
            }
        }
    }
    let missed = fault.breaks.iter().filter(|requirement| !caught.contains_key(*requirement)).cloned().collect();
    let said = all.iter().map(|(name, _, outcome)| {
        let words = format!("{} {}", outcome.verdict, outcome.message);
        ((*name).to_owned(), words.trim_end().to_owned())
    });
    Finding { caught, followed, missed, blamed, said: said.collect() }
}

/// What an outcome accuses, with what it says. A check that did not come to its end, as this fault would have it, stands
/// for all that it proves and the fault breaks.
fn accusations(fault: &Fault, proves: &[&str], outcome: &Outcome) -> Vec<(String, String)> {
    let broken = outcome.broken.iter().map(|broken| {
        let message = format!("{}: expected {}, got {}", broken.asked, broken.expected, broken.actual);
        (broken.requirement.clone(), message)
    });
    let mut accused: Vec<_> = broken.collect();
    if !matches!(outcome.verdict, Verdict::Hang | Verdict::Crash) {
        return accused;
    }
    if fault.ends == Some(outcome.verdict) {
        let proven = proves.iter().filter(|proves| fault.breaks.iter().any(|id| id == *proves));
        accused.extend(proven.map(|id| ((*id).to_owned(), outcome.message.clone())));
    } else {
        accused.push((outcome.verdict.to_string(), outcome.message.clone()));
    }
    accused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::catalogue::Place;
    use crate::requirement::{fsm, session};

    fn fault(ends: Option<Verdict>) -> Fault {
        Fault {
            place: Place::Model,
            name: "x".to_owned(),
            defect: String::new(),
            breaks: vec![fsm::ARC.id.to_owned()],
            follows: BTreeMap::from([(session::FD_COMES.id.to_owned(), "no arc, no data_fd".to_owned())]),
            by: Vec::new(),
            ends,
            caps: None,
            needs_no_migration: false,
            needs: None,
            origin: String::new(),
        }
    }

    fn check() -> Check {
        Check::new("fsm::x", &[&fsm::ARC], |_| Ok(()))
    }

    fn accusing(requirements: &[&'static crate::requirement::Requirement]) -> Outcome {
        let mut outcome = Outcome::without_judgement(Verdict::Fail, "");
        requirements.iter().for_each(|requirement| outcome.accuse(requirement, "EIO".to_owned()));
        outcome
    }

    #[test]
    fn what_is_broken_must_be_accused_what_follows_may_and_nothing_else() {
        let check = check();
        let judge = |outcome| judge(&fault(None), &[(&check, outcome)], &[]);
        let right = judge(accusing(&[&fsm::ARC, &session::FD_COMES]));
        assert!(right.is_right());
        assert_eq!(right.followed[session::FD_COMES.id].check, "fsm::x");
        assert!(right.caught[fsm::ARC.id].message.contains("EIO"));
        assert_eq!(judge(accusing(&[&session::FD_COMES])).missed, [fsm::ARC.id]);
        let blamed = judge(accusing(&[&fsm::ARC, &fsm::STEADY])).blamed;
        assert_eq!(blamed.keys().collect::<Vec<_>>(), [fsm::STEADY.id]);
    }

    #[test]
    fn one_that_was_missed_or_blamed_is_enough_to_be_wrong() {
        let check = check();
        let judge = |outcome| judge(&fault(None), &[(&check, outcome)], &[]);
        assert!(!judge(accusing(&[])).is_right());
        assert!(!judge(accusing(&[&fsm::ARC, &fsm::STEADY])).is_right());
    }

    #[test]
    fn a_hang_counts_for_faults_that_hang_and_is_a_false_alarm_for_others() {
        let check = check();
        let hang = || Outcome::without_judgement(Verdict::Hang, "SET STOP did not come back");
        assert!(judge(&fault(Some(Verdict::Hang)), &[(&check, hang())], &[]).is_right());
        let other = judge(&fault(None), &[(&check, hang())], &[]);
        assert_eq!(other.missed, [fsm::ARC.id]);
        assert_eq!(other.blamed["hang"], "fsm::x");
    }
}
