//! Permitted differences, as `fixtures/variations` has them: what no check may accuse.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::harness::check::Check;
use crate::harness::outcome::Outcome;
use crate::harness::verdict::Verdict;
use crate::requirement::{self, Level};

const MODEL: &str = include_str!("../../fixtures/variations/model.toml");

/// One deliberate, permitted difference.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    /// Its name, unique in the file.
    pub name: String,
    /// The one thing that differs, in one sentence.
    pub difference: String,
    /// Why the protocol permits it.
    pub permitted: String,
    /// The requirements of which the suite may have a finding, each with the reason. None of them is a must.
    #[serde(default)]
    pub may: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    variation: Vec<Variation>,
}

impl Variation {
    /// The variations of the model.
    ///
    /// # Errors
    /// What is wrong with the bundled file, and in which entry.
    pub fn of_model() -> Result<Vec<Variation>, String> {
        read(MODEL).map_err(|why| format!("failed to read fixtures/variations/model.toml: {why}"))
    }

    /// The findings that the suite must not have on a device with this difference, each with the check that has it: what is
    /// not listed, and every check that did not come to its end.
    pub fn accusations(&self, outcomes: &[(&Check, Outcome)]) -> BTreeSet<String> {
        let of_one = |(check, outcome): &(&Check, Outcome)| {
            let is_listed = |id: &str| self.may.contains_key(id);
            let broken = outcome.broken.iter().filter(|broken| !is_listed(&broken.requirement));
            let mut wrong: Vec<String> = broken
                .map(|b| format!("{} by {}: {}, got {}", b.requirement, check.name(), b.asked, b.actual))
                .collect();
            if matches!(outcome.verdict, Verdict::Blocked | Verdict::Hang | Verdict::Crash) {
                wrong.push(format!("{} of {}: {}", outcome.verdict, check.name(), outcome.message));
            }
            wrong
        };
        outcomes.iter().flat_map(of_one).collect()
    }

    /// The listed findings that the suite does not have.
    pub fn missing<'a>(&'a self, outcomes: &[(&Check, Outcome)]) -> BTreeSet<&'a str> {
        let is_found =
            |id: &&str| outcomes.iter().any(|(_, outcome)| outcome.broken.iter().any(|b| b.requirement == **id));
        self.may.keys().map(String::as_str).filter(|id| !is_found(id)).collect()
    }
}

fn read(text: &str) -> Result<Vec<Variation>, String> {
    let File { variation: all } = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut seen = BTreeSet::new();
    for one in &all {
        if !seen.insert(one.name.as_str()) {
            return Err(format!("{} stands twice", one.name));
        }
        for id in one.may.keys() {
            match requirement::find(id).map(|requirement| requirement.level) {
                None => return Err(format!("{}: {id:?} is no requirement; see vfio-conform list", one.name)),
                Some(Level::Must) => {
                    return Err(format!("{}: {id:?} is a must, which no permitted difference breaks", one.name));
                }
                Some(Level::Should | Level::Advice) => {}
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::model;
    use crate::requirement::{fsm, session};

    #[test]
    fn the_file_and_the_model_have_the_same_variations() {
        let all = Variation::of_model().unwrap();
        let listed: BTreeSet<&str> = all.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(listed, model::Variation::ALL.iter().map(|one| one.name()).collect());
    }

    #[test]
    fn a_must_is_no_permitted_finding() {
        let text = |id| {
            let entry = "name = 'a'\ndifference = 'b'\npermitted = 'c'\n";
            format!("[[variation]]\n{entry}[variation.may]\n\"{id}\" = 'd'\n")
        };
        assert!(read(&text(fsm::ARC.id)).unwrap_err().contains("is a must"));
        assert!(read(&text("fsm.nothing")).unwrap_err().contains("no requirement"));
        assert!(read(&text(session::ENDED_ENODEV.id)).is_ok());
        assert!(read(&text(session::ENDED_ENODEV.id).repeat(2)).unwrap_err().contains("twice"));
    }

    #[test]
    fn what_is_not_listed_and_what_does_not_end_is_an_accusation() {
        let check = Check::new("session::x", &[&session::ENDED], |_| Ok(()));
        let may = BTreeMap::from([(session::ENDED_ENODEV.id.to_owned(), "custom".to_owned())]);
        let one = Variation { name: "a".into(), difference: "b".into(), permitted: "c".into(), may };
        let mut outcome = Outcome::without_judgement(Verdict::Warn, "");
        outcome.accuse(&session::ENDED_ENODEV, "EIO".to_owned());
        let outcomes = |outcome: Outcome| vec![(&check, outcome)];
        assert!(one.accusations(&outcomes(outcome.clone())).is_empty());
        assert!(one.missing(&outcomes(outcome.clone())).is_empty());
        outcome.accuse(&session::ENDED, "0".to_owned());
        assert_eq!(one.accusations(&outcomes(outcome)).len(), 1);
        let blocked = Outcome::without_judgement(Verdict::Blocked, "no session");
        assert_eq!(one.accusations(&outcomes(blocked.clone())).len(), 1);
        assert_eq!(one.missing(&outcomes(blocked)), BTreeSet::from([session::ENDED_ENODEV.id]));
    }
}
