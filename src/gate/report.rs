//! What a comparison came to.

use serde::Serialize;

use super::compare::{Change, Kind};
use super::doubt::{Doubt, WhichSide};
use super::patch::Patch;
use super::trial::{Obstacle, Tested};
use super::uapi::UapiChanges;
use crate::harness::verdict::Exit;
use crate::report::{console, is_incident};

/// The version of the form of gate.json. It grows when an old reader would misread a new report.
pub const FORMAT: u32 = 1;

/// A whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateReport {
    /// The version of this form.
    pub format: u32,
    /// What it comes to.
    pub outcome: Outcome,
    /// What was there before.
    pub base: Side,
    /// What is judged.
    pub head: Side,
    /// The patches of the head, with the mails that each was made from.
    pub patches: Vec<Patch>,
    /// What the head says otherwise of the protocol.
    pub uapi: UapiChanges,
    /// What stands in the way of a comparison, if anything does.
    pub obstacle: Option<Blocked>,
    /// Every check that differs, the worst news first.
    pub changes: Vec<Change>,
    /// How many checks are as they were.
    pub unchanged: usize,
    /// How many checks each question was answered for.
    pub extent: Extent,
    /// Checks that were judged on neither side, by the reason that the head gives.
    pub unjudged: Vec<Unjudged>,
    /// Why it cannot tell, or can only tell of a regression.
    pub doubts: Vec<Doubt>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// For what.
    pub phases: Phases,
}

/// How many of the checks were compared. What goes wrong outside checks is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// All checks that one side or the other planned.
    pub checks: usize,
    /// Those that were judged on both sides.
    pub compared: usize,
    /// Those that apply to neither side.
    pub skipped: usize,
}

impl Extent {
    /// What these changes cover.
    pub fn of(changes: &[Change]) -> Extent {
        let count =
            |is: fn(&Change) -> bool| changes.iter().filter(|change| !is_incident(&change.check) && is(change)).count();
        Extent { checks: count(|_| true), compared: count(Change::is_compared), skipped: count(Change::is_skipped) }
    }
}

/// Checks that were judged on neither side, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unjudged {
    /// The reason, as the head has it.
    pub why: String,
    /// Their names.
    pub checks: Vec<String>,
}

impl Unjudged {
    /// Those among these changes, the most frequent reason first.
    pub fn of(changes: &[Change]) -> Vec<Unjudged> {
        let mut all: Vec<Unjudged> = Vec::new();
        for change in changes.iter().filter(|change| change.kind == Kind::Unjudged) {
            match all.iter_mut().find(|unjudged| unjudged.why == change.message) {
                Some(unjudged) => unjudged.checks.push(change.check.clone()),
                None => all.push(Unjudged { why: change.message.clone(), checks: vec![change.check.clone()] }),
            }
        }
        all.sort_by_key(|unjudged| std::cmp::Reverse(unjudged.checks.len()));
        all
    }
}

/// How long the parts of a comparison took, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Both sides were built.
    pub build: f64,
    /// The base was tested.
    pub base: f64,
    /// The head was tested.
    pub head: f64,
    /// The head was asked again about what seemed to be a regression.
    pub again: f64,
}

impl Phases {
    /// Those that took any time worth a word, each with its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let Phases { build, base, head, again } = *self;
        [("build", build), ("base", base), ("head", head), ("asking again", again)]
            .into_iter()
            .filter(|(_, seconds)| *seconds >= 0.1)
    }
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing got worse.
    NoRegression,
    /// Something got worse.
    Regression,
    /// One side could not be tested, or what matters could not be judged.
    CannotTell,
}

/// A side that could not be tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// Which side.
    pub side: WhichSide,
    /// What stands in its way.
    #[serde(flatten)]
    pub obstacle: Obstacle,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// As it was named.
    pub name: String,
    /// What was tested, in a line; `None` if nothing was.
    pub subject: Option<String>,
    /// The folders of its runs.
    pub runs: Vec<String>,
    /// How many of them were finished before.
    pub reused: u32,
}

impl Side {
    /// A side with what came of it.
    pub fn new(name: String, tested: Option<&Tested>) -> Side {
        Side {
            name,
            subject: tested.and_then(|tested| tested.runs.first()).map(console::subject),
            runs: tested
                .into_iter()
                .flat_map(|tested| &tested.folders)
                .map(|path| path.display().to_string())
                .collect(),
            reused: tested.map_or(0, |tested| tested.reused),
        }
    }
}

/// Judges the changes, as far as the doubts permit.
pub fn judge(changes: &[Change], doubts: &[Doubt]) -> Outcome {
    match changes.iter().any(|change| change.kind == Kind::Regression) {
        true if !doubts.iter().any(Doubt::outweighs_a_regression) => Outcome::Regression,
        false if doubts.is_empty() => Outcome::NoRegression,
        _ => Outcome::CannotTell,
    }
}

impl Blocked {
    /// What it comes to. A kernel that boots and has no device any more, where the base has one, got worse.
    pub fn outcome(&self) -> Outcome {
        match (self.side, &self.obstacle) {
            (WhichSide::Head, Obstacle::NoDevice(_)) => Outcome::Regression,
            _ => Outcome::CannotTell,
        }
    }
}

impl Outcome {
    /// The exit code, as `git bisect run` wants to hear it.
    pub fn exit(self) -> Exit {
        match self {
            Outcome::NoRegression => Exit::Conforms,
            Outcome::Regression => Exit::Findings,
            Outcome::CannotTell => Exit::NothingTested,
        }
    }
}

impl GateReport {
    /// The changes of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: Kind) -> Change {
        Change {
            check: "fsm::a".to_owned(),
            kind,
            was: Vec::new(),
            is: Vec::new(),
            requirements: Vec::new(),
            message: String::new(),
            reproduce: String::new(),
        }
    }

    #[test]
    fn exit_codes_are_those_of_git_bisect_run() {
        let exit = |kinds: &[Kind], doubts: &[Doubt]| {
            judge(&kinds.iter().copied().map(change).collect::<Vec<_>>(), doubts).exit() as u8
        };
        let unclear = || Doubt::Unclear { checks: vec!["fsm::a".to_owned()] };
        assert_eq!(exit(&[Kind::Unchanged, Kind::Fixed, Kind::Flaky, Kind::New], &[]), 0);
        assert_eq!(exit(&[Kind::Unchanged, Kind::Regression, Kind::Unclear], &[unclear()]), 1);
        assert_eq!(exit(&[Kind::Unchanged, Kind::Unclear], &[unclear()]), 125);
        assert_eq!(exit(&[], &[Doubt::NothingCompared]), 125);
    }

    #[test]
    fn unjudged_checks_stand_together_by_reason() {
        let because = |check: &str, why: &str| Change {
            check: check.to_owned(),
            message: why.to_owned(),
            ..change(Kind::Unjudged)
        };
        let changes = [because("fsm::a", "EIO"), because("fsm::b", "EBUSY"), because("fsm::c", "EBUSY")];
        let unjudged = Unjudged::of(&changes);
        assert_eq!(unjudged.iter().map(|one| one.checks.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(unjudged[0].why, "EBUSY");
        assert_eq!(Extent::of(&changes), Extent { checks: 3, compared: 0, skipped: 0 });
    }

    #[test]
    fn only_a_head_without_a_device_got_worse() {
        let no_device = Obstacle::NoDevice("EBUSY".to_owned());
        let exit = |side, obstacle| Blocked { side, obstacle }.outcome().exit() as u8;
        assert_eq!(exit(WhichSide::Head, no_device.clone()), 1);
        assert_eq!(exit(WhichSide::Base, no_device), 125);
        assert_eq!(exit(WhichSide::Head, Obstacle::DoesNotBoot("silence".to_owned())), 125);
    }
}
