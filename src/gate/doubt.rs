//! Why a comparison cannot tell, whatever its changes are.

use std::fmt;

use serde::Serialize;

use super::compare::{Change, Kind};
use crate::harness::verdict::{Extent, Verdict};
use crate::report::{Run, is_incident};

/// A reason why no answer can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "doubt", rename_all = "snake_case")]
pub enum Doubt {
    /// A run of this side was cut off, or ended before it had run all of its checks.
    Unfinished {
        /// Which side.
        side: WhichSide,
        /// The number of the run, from 1.
        run: usize,
        /// Whether its journal ends before the run did.
        cut_off: bool,
        /// How many checks were judged or skipped.
        judged: usize,
        /// How many were planned.
        planned: usize,
    },
    /// Not one check was judged on both sides.
    NothingCompared,
    /// More checks are blocked on both sides than could be compared.
    FewCompared {
        /// How many were judged on both sides.
        compared: usize,
        /// How many were judged on neither.
        unjudged: usize,
    },
    /// These checks are judged on one side alone, where the other would decide.
    Unclear {
        /// Their names.
        checks: Vec<String>,
    },
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichSide {
    /// The base.
    Base,
    /// The head.
    Head,
}

impl fmt::Display for WhichSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            WhichSide::Base => "base",
            WhichSide::Head => "head",
        })
    }
}

/// How many names of unclear checks a sentence has.
const NAMES: usize = 6;

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Unfinished { side, run, cut_off, judged, planned } => {
                let how = if *cut_off { "was cut off" } else { "ended early" };
                write!(f, "run {run} of the {side} {how}: {judged} of {planned} checks have a result")
            }
            Doubt::NothingCompared => f.write_str("no check was judged on both sides"),
            Doubt::FewCompared { compared, unjudged } => {
                write!(f, "only {compared} checks were judged on both sides, and {unjudged} on neither")
            }
            Doubt::Unclear { checks } => {
                let names = checks.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = checks.len().saturating_sub(NAMES);
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                write!(f, "judged on one side alone, so that a regression may be hidden: {names}{more}")
            }
        }
    }
}

impl Doubt {
    /// Whether a regression that was seen all the same counts. A base that is not whole is no measure of anything; what the
    /// head breaks of a whole base stays broken however the run of the head ended.
    pub fn outweighs_a_regression(&self) -> bool {
        matches!(self, Doubt::Unfinished { side: WhichSide::Base, .. })
    }
}

/// All reasons to doubt the comparison of these runs, which has these changes.
pub fn doubts(base: &[Run], head: &[Run], changes: &[Change]) -> Vec<Doubt> {
    let of_sides = unfinished(WhichSide::Base, base).chain(unfinished(WhichSide::Head, head));
    of_sides.chain(of_changes(changes)).collect()
}

fn unfinished(side: WhichSide, runs: &[Run]) -> impl Iterator<Item = Doubt> {
    let runs = runs.iter().enumerate().filter(|(_, run)| !is_finished(run));
    runs.map(move |(index, run)| Doubt::Unfinished {
        side,
        run: index + 1,
        cut_off: run.cut_off,
        judged: run.checks.iter().filter(|check| is_judged(&check.name, check.outcome.verdict)).count(),
        planned: run.began.planned.len(),
    })
}

fn is_judged(check: &str, verdict: Verdict) -> bool {
    verdict != Verdict::Blocked && !is_incident(check)
}

/// Whether a run was neither cut off nor asked to stop, and gave each check its turn.
pub fn is_finished(run: &Run) -> bool {
    !run.cut_off && run.stopped_by.is_none() && run.extent == Extent::Whole
}

/// The doubts that the changes themselves give.
pub fn of_changes(changes: &[Change]) -> Vec<Doubt> {
    let checks = || changes.iter().filter(|change| !is_incident(&change.check));
    let compared = checks().filter(|change| change.is_compared()).count();
    let unjudged = checks().filter(|change| change.kind == Kind::Unjudged).count();
    // An incident that is new or gone shows a difference although no check could run.
    let tells = |change: &Change| matches!(change.kind, Kind::Regression | Kind::Fixed);
    let unclear: Vec<String> =
        changes.iter().filter(|change| change.kind == Kind::Unclear).map(|change| change.check.clone()).collect();
    let mut doubts = Vec::new();
    if compared == 0 && !changes.iter().any(tells) {
        doubts.push(Doubt::NothingCompared);
    } else if unjudged > compared {
        doubts.push(Doubt::FewCompared { compared, unjudged });
    }
    if !unclear.is_empty() {
        doubts.push(Doubt::Unclear { checks: unclear });
    }
    doubts
}

#[cfg(test)]
mod tests {
    use Verdict::*;

    use super::*;
    use crate::gate::compare::compare;
    use crate::gate::report::{Outcome, judge};
    use crate::harness::incident::{Phase, Stop};
    use crate::harness::journal::Event;
    use crate::harness::verdict::{Exit, RunVerdict};
    use crate::report::sample::{self, finish, finished, journal, outcome, start};

    const CHECKS: [&str; 3] = ["fsm::a", "fsm::b", "fsm::c"];

    /// A run that ends by itself, in which the checks have these verdicts.
    fn whole(verdicts: [Verdict; 3]) -> Run {
        run(&verdicts, true)
    }

    /// A run in which the first checks have these verdicts.
    fn run(verdicts: &[Verdict], ends: bool) -> Run {
        let of_checks = CHECKS.iter().zip(verdicts);
        let of_checks = of_checks.flat_map(|(check, verdict)| [start(check), finish(check, outcome(*verdict, "why"))]);
        let end = ends.then(|| finished(RunVerdict::Conforms, Exit::Conforms));
        let events: Vec<Event> =
            [sample::began(&CHECKS), sample::ready()].into_iter().chain(of_checks).chain(end).collect();
        Run::of(&journal(events)).unwrap()
    }

    fn exit(base: &Run, head: &Run) -> (u8, Vec<Doubt>) {
        let (base, head) = (std::slice::from_ref(base), std::slice::from_ref(head));
        let changes = compare(base, head);
        let doubts = doubts(base, head, &changes);
        (judge(&changes, &doubts).exit() as u8, doubts)
    }

    #[test]
    fn what_was_judged_on_neither_side_is_no_answer() {
        let blocked = whole([Blocked; 3]);
        assert_eq!(exit(&blocked, &blocked), (125, vec![Doubt::NothingCompared]));
        let skipped = whole([Skip; 3]);
        assert_eq!(exit(&skipped, &skipped), (125, vec![Doubt::NothingCompared]));
        let few = whole([Pass, Blocked, Blocked]);
        assert_eq!(exit(&few, &few), (125, vec![Doubt::FewCompared { compared: 1, unjudged: 2 }]));
        let most = whole([Pass, Pass, Blocked]);
        assert_eq!(exit(&most, &most), (0, vec![]));
    }

    #[test]
    fn unfinished_side_is_no_answer() {
        let good = whole([Pass; 3]);
        let unfinished = |side, cut_off| Doubt::Unfinished { side, run: 1, cut_off, judged: 2, planned: 3 };
        for (part, cut_off) in [(run(&[Pass, Pass], false), true), (run(&[Pass, Pass], true), false)] {
            // The run without an end has its last check blocked, which hides what the head breaks there.
            let bad = whole([Pass, Pass, Fail]);
            let unclear = Doubt::Unclear { checks: vec!["fsm::c".to_owned()] };
            assert_eq!(exit(&part, &bad), (125, vec![unfinished(WhichSide::Base, cut_off), unclear.clone()]));
            assert_eq!(exit(&part, &good), (125, vec![unfinished(WhichSide::Base, cut_off)]));
            assert_eq!(exit(&good, &part), (125, vec![unfinished(WhichSide::Head, cut_off), unclear]));
            assert_eq!(exit(&part, &part).0, 125);
        }
    }

    #[test]
    fn regression_counts_beside_an_unfinished_head_and_not_beside_an_unfinished_base() {
        let good = whole([Pass; 3]);
        assert_eq!(exit(&good, &run(&[Fail, Pass], false)).0, 1);
        assert_eq!(exit(&run(&[Pass, Pass], false), &whole([Fail, Pass, Pass])).0, 125);
    }

    #[test]
    fn check_that_only_one_side_judges_is_named() {
        let unclear = |names: &[&str]| Doubt::Unclear { checks: names.iter().map(|name| (*name).to_owned()).collect() };
        let good = whole([Pass; 3]);
        assert_eq!(exit(&good, &whole([Pass, Pass, Blocked])), (125, vec![unclear(&["fsm::c"])]));
        assert_eq!(exit(&whole([Pass, Pass, Blocked]), &whole([Pass, Pass, Fail])), (125, vec![unclear(&["fsm::c"])]));
        assert_eq!(exit(&whole([Pass, Pass, Blocked]), &good), (0, vec![]));
        assert_eq!(exit(&good, &whole([Pass, Fail, Blocked])), (1, vec![unclear(&["fsm::c"])]));
        let many: Vec<String> = (0..8).map(|number| format!("fsm::{number}")).collect();
        assert!(Doubt::Unclear { checks: many }.to_string().ends_with("fsm::5 and 2 more"));
    }

    #[test]
    fn driver_that_keeps_its_device_shut_on_one_side_decides_without_any_check() {
        let crash = sample::incident(Phase::Open, Some(Stop::Panic), None);
        let end = finished(RunVerdict::DoesNotConform, Exit::Findings);
        let shut = Run::of(&journal(vec![sample::began(&CHECKS), crash, end])).unwrap();
        let good = whole([Pass; 3]);
        assert_eq!(exit(&good, &shut).0, 1);
        assert_eq!(exit(&shut, &good), (0, vec![]));
        assert_eq!(exit(&shut, &shut), (125, vec![Doubt::NothingCompared]));
    }

    #[test]
    fn only_a_base_that_is_not_whole_outweighs_a_regression() {
        let side = |side| Doubt::Unfinished { side, run: 1, cut_off: true, judged: 0, planned: 1 };
        assert!(side(WhichSide::Base).outweighs_a_regression());
        assert!(!side(WhichSide::Head).outweighs_a_regression());
        assert_eq!(judge(&[], &[]), Outcome::NoRegression);
        assert_eq!(judge(&[], &[Doubt::NothingCompared]), Outcome::CannotTell);
    }
}
