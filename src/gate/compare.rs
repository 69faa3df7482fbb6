//! What differs between the runs of two kernels, check by check.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::harness::incident::Phase;
use crate::harness::verdict::Verdict;
use crate::report::{CheckRun, Run, is_incident};
use crate::requirement::{self, Level};

/// How a check came out on the head, compared with the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It was kept, and is broken, worse than it was, or not there any more.
    Regression,
    /// It was broken, and is kept.
    Fixed,
    /// Runs of the same side disagree, or the head's do when it is asked again.
    Flaky,
    /// It is judged on one side alone, and what the other side would show decides: it is blocked on the head, or was
    /// blocked or absent on the base and breaks something on the head.
    Unclear,
    /// It is judged on the head only, and breaks nothing there.
    New,
    /// It was judged on the base only, or does not apply any more where it was broken.
    Gone,
    /// Judged on neither side, so that nothing can be said of it.
    Unjudged,
    /// As it was.
    Unchanged,
}

impl Kind {
    /// All of them, the worst news first.
    pub const ALL: [Kind; 8] = [
        Kind::Regression,
        Kind::Fixed,
        Kind::Flaky,
        Kind::Unclear,
        Kind::New,
        Kind::Gone,
        Kind::Unjudged,
        Kind::Unchanged,
    ];

    /// The one word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Regression => "regression",
            Kind::Fixed => "fixed",
            Kind::Flaky => "flaky",
            Kind::Unclear => "unclear",
            Kind::New => "new",
            Kind::Gone => "gone",
            Kind::Unjudged => "not judged",
            Kind::Unchanged => "unchanged",
        }
    }
}

/// One check on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `chapter::check_name`.
    pub check: String,
    /// How it came out.
    pub kind: Kind,
    /// What it came to in each run of the base.
    pub was: Vec<Verdict>,
    /// What it came to in each run of the head.
    pub is: Vec<Verdict>,
    /// The requirements that are meant: those broken where something is broken, else those that the check can prove.
    pub requirements: Vec<Meant>,
    /// Why it came to its verdict on the head, or on the base where the head has nothing to say.
    pub message: String,
    /// The command that shows it again.
    pub reproduce: String,
}

impl Change {
    /// Whether the check was judged on both sides, so that it says what differs between them.
    pub fn is_compared(&self) -> bool {
        let judged = |verdicts: &[Verdict]| verdicts.iter().any(|verdict| badness(*verdict).is_some());
        matches!(self.kind, Kind::Regression | Kind::Fixed) || (judged(&self.was) && judged(&self.is))
    }

    /// Whether the check applies to neither side: every run skipped it.
    pub fn is_skipped(&self) -> bool {
        self.kind == Kind::Unchanged && self.was.iter().chain(&self.is).all(|verdict| *verdict == Verdict::Skip)
    }
}

/// A requirement that a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meant {
    /// Its id.
    pub id: String,
    /// Its sentence, if this version's catalogue has it.
    pub statement: Option<&'static str>,
    /// What came instead, where it was judged.
    pub came: Option<String>,
}

/// Compares the runs of the base with those of the head. The checks stand in the order of the head's plan; those that
/// only the base has follow.
pub fn compare(base: &[Run], head: &[Run]) -> Vec<Change> {
    let was = by_check(base);
    let is = by_check(head);
    let only_in_base = names(base).filter(|name| !is.contains_key(name));
    let checks = names(head).chain(only_in_base).filter(|name| !is_incident(name));
    let incidents = Phase::ALL.map(Phase::test_name).into_iter();
    let incidents = incidents.filter(|name| was.contains_key(name) || is.contains_key(name));
    checks
        .chain(incidents)
        .map(|name| {
            let (was, is) = (Side::of(&was, name, base.len()), Side::of(&is, name, head.len()));
            change(name, &was, &is)
        })
        .collect()
}

/// What one check came to on one side.
struct Side<'a, 'b> {
    seen: &'b [(&'a Run, &'a CheckRun)],
    /// In each run; nothing went wrong outside checks in those that do not say so.
    verdicts: Vec<Verdict>,
}

impl<'a, 'b> Side<'a, 'b> {
    fn of(all: &'b BTreeMap<&str, Seen<'a>>, name: &str, runs: usize) -> Side<'a, 'b> {
        let seen = all.get(name).map_or(&[][..], Vec::as_slice);
        let mut verdicts: Vec<Verdict> = seen.iter().map(|(_, check)| check.outcome.verdict).collect();
        if is_incident(name) {
            verdicts.resize(runs.max(verdicts.len()), Verdict::Pass);
        }
        Side { seen, verdicts }
    }
}

/// What one check came to in the runs of one side.
type Seen<'a> = Vec<(&'a Run, &'a CheckRun)>;

fn by_check(runs: &[Run]) -> BTreeMap<&str, Seen<'_>> {
    let mut seen: BTreeMap<&str, Seen<'_>> = BTreeMap::new();
    for run in runs {
        for check in &run.checks {
            seen.entry(&check.name).or_default().push((run, check));
        }
    }
    seen
}

/// Every run of a side plans the same checks.
fn names(runs: &[Run]) -> impl Iterator<Item = &str> {
    runs.iter().take(1).flat_map(|run| run.checks.iter().map(|check| check.name.as_str()))
}

fn change(name: &str, was: &Side<'_, '_>, is: &Side<'_, '_>) -> Change {
    let kind = match judge(&was.verdicts, &is.verdicts) {
        Kind::Unchanged if breaks_more(was.seen, is.seen) => Kind::Regression,
        kind => kind,
    };
    // The run that shows it: of the head's the worst, or of the base's where only that has something to show.
    let worst = |seen: &[(&Run, &CheckRun)]| -> Option<usize> {
        (0..seen.len()).max_by_key(|index| badness(seen[*index].1.outcome.verdict))
    };
    let shown = match kind {
        Kind::Fixed | Kind::Gone => worst(was.seen).map(|index| was.seen[index]),
        _ => worst(is.seen).map(|index| is.seen[index]),
    };
    Change {
        check: name.to_owned(),
        kind,
        was: was.verdicts.clone(),
        is: is.verdicts.clone(),
        requirements: shown.map(|(_, check)| meant(check)).unwrap_or_default(),
        message: shown.map(|(_, check)| check.outcome.reason()).unwrap_or_default(),
        reproduce: shown.map(|(run, _)| run.reproduce(name)).unwrap_or_default(),
    }
}

/// The requirements that a check's outcome is about.
fn meant(check: &CheckRun) -> Vec<Meant> {
    let broken: Vec<Meant> = check
        .outcome
        .broken
        .iter()
        .filter(|broken| broken.level != Level::Advice)
        .map(|broken| in_words(&broken.requirement, Some(broken.actual.clone())))
        .collect();
    match broken.is_empty() {
        true => check.requirements.iter().map(|id| in_words(id, None)).collect(),
        false => broken,
    }
}

fn in_words(id: &str, came: Option<String>) -> Meant {
    Meant { id: id.to_owned(), statement: requirement::find(id).map(|known| known.statement), came }
}

/// Whether the head accuses a check of something that no run of the base accuses it of.
fn breaks_more(was: &[(&Run, &CheckRun)], is: &[(&Run, &CheckRun)]) -> bool {
    let broken = |seen: &[(&Run, &CheckRun)]| -> Vec<String> {
        let all = seen.iter().flat_map(|(_, check)| &check.outcome.broken);
        all.filter(|broken| broken.level != Level::Advice).map(|broken| broken.requirement.clone()).collect()
    };
    let known = broken(was);
    broken(is).iter().any(|id| !known.contains(id))
}

/// How bad a verdict is for the device; none for what says nothing of it.
fn badness(verdict: Verdict) -> Option<u8> {
    match verdict {
        Verdict::Pass => Some(0),
        Verdict::Warn => Some(1),
        Verdict::Fail => Some(2),
        Verdict::Hang => Some(3),
        Verdict::Crash => Some(4),
        Verdict::Skip | Verdict::Blocked => None,
    }
}

/// Judges the verdicts of a check on both sides.
///
/// A blocked run says nothing of the device. So a check that is blocked in all runs of a side is not judged there, and one
/// that then breaks something on the head is unclear: the base may break it as well.
fn judge(was: &[Verdict], is: &[Verdict]) -> Kind {
    if is.is_empty() {
        return if judged(was).is_empty() { Kind::Unjudged } else { Kind::Gone };
    }
    let (known, seen) = (judged(was), judged(is));
    match (known.is_empty(), seen.is_empty()) {
        (true, true) => Kind::Unjudged,
        (true, false) => judge_head(was, &seen),
        (false, true) => Kind::Unclear,
        (false, false) => judge_both(&known, &seen, known.len() < was.len() || seen.len() < is.len()),
    }
}

/// The verdicts that say something: of the device, or that the check does not apply to it.
fn judged(verdicts: &[Verdict]) -> Vec<Verdict> {
    verdicts.iter().copied().filter(|verdict| *verdict != Verdict::Blocked).collect()
}

/// Where the base does not say anything. A check that was blocked there may have been one that the device has and keeps,
/// so that neither a finding nor a skip on the head is harmless.
fn judge_head(was: &[Verdict], seen: &[Verdict]) -> Kind {
    let is_blocked_on_base = !was.is_empty();
    let is_harmless = |verdict: &Verdict| match verdict {
        Verdict::Pass => true,
        Verdict::Skip => !is_blocked_on_base,
        _ => false,
    };
    match seen.iter().all(is_harmless) {
        true => Kind::New,
        false => Kind::Unclear,
    }
}

/// Where both sides have runs that say something: the sides differ only if each run of one differs so from each of the
/// other.
fn judge_both(was: &[Verdict], is: &[Verdict], some_are_blocked: bool) -> Kind {
    let mut kinds = was.iter().flat_map(|was| is.iter().map(|is| judge_pair(*was, *is)));
    let first = kinds.next().unwrap_or(Kind::Unjudged);
    let is_one_kind = kinds.all(|kind| kind == first);
    let is_steady = uniform(was) && uniform(is) && !some_are_blocked;
    match first {
        Kind::Regression if is_one_kind => first,
        Kind::Fixed if is_one_kind && !some_are_blocked => first,
        _ if is_one_kind && is_steady => first,
        _ => Kind::Flaky,
    }
}

fn uniform(verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(|verdict| verdicts.first() == Some(verdict))
}

/// Judges one run of each side, neither of which is blocked.
fn judge_pair(was: Verdict, is: Verdict) -> Kind {
    match (was, is) {
        (was, is) if was == is => Kind::Unchanged,
        // What the device had and has no more is a loss to its user, however orderly.
        (Verdict::Pass, Verdict::Skip) => Kind::Regression,
        (Verdict::Skip, is) if is.is_finding() => Kind::Regression,
        (Verdict::Skip, _) => Kind::New,
        (_, Verdict::Skip) => Kind::Gone,
        (_, Verdict::Pass) => Kind::Fixed,
        (was, is) if badness(is) > badness(was) => Kind::Regression,
        // Better than it was, and not kept yet.
        _ => Kind::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use Verdict::*;

    use super::*;
    use crate::harness::incident::Stop;
    use crate::harness::journal::Event;
    use crate::harness::outcome::{Broken, Outcome};
    use crate::report::sample::{self, finish, journal, start};
    use crate::requirement::{Requirement, fsm};

    #[test]
    fn one_run_of_each_side() {
        for (was, is, kind) in [
            (Pass, Pass, Kind::Unchanged),
            (Fail, Fail, Kind::Unchanged),
            (Skip, Skip, Kind::Unchanged),
            (Blocked, Blocked, Kind::Unjudged),
            (Pass, Fail, Kind::Regression),
            (Pass, Warn, Kind::Regression),
            (Warn, Fail, Kind::Regression),
            (Fail, Hang, Kind::Regression),
            (Pass, Skip, Kind::Regression),
            (Skip, Crash, Kind::Regression),
            (Hang, Pass, Kind::Fixed),
            (Warn, Pass, Kind::Fixed),
            // Not kept yet.
            (Hang, Fail, Kind::Unchanged),
            (Pass, Blocked, Kind::Unclear),
            (Skip, Pass, Kind::New),
            (Skip, Blocked, Kind::Unclear),
            (Fail, Blocked, Kind::Unclear),
            (Blocked, Pass, Kind::New),
            (Blocked, Skip, Kind::Unclear),
            (Blocked, Warn, Kind::Unclear),
            (Blocked, Fail, Kind::Unclear),
            (Blocked, Crash, Kind::Unclear),
            (Fail, Skip, Kind::Gone),
        ] {
            assert_eq!(judge(&[was], &[is]), kind, "{was} -> {is}");
        }
    }

    #[test]
    fn check_of_one_side_is_new_or_gone_unless_it_breaks_something_or_is_blocked() {
        assert_eq!(judge(&[], &[Pass]), Kind::New);
        assert_eq!(judge(&[], &[Skip]), Kind::New);
        assert_eq!(judge(&[], &[Fail]), Kind::Unclear);
        assert_eq!(judge(&[], &[Blocked]), Kind::Unjudged);
        assert_eq!(judge(&[Fail], &[]), Kind::Gone);
        assert_eq!(judge(&[Blocked], &[]), Kind::Unjudged);
    }

    #[test]
    fn blocked_runs_of_several_neither_acquit_nor_hide() {
        assert_eq!(judge(&[Pass, Pass], &[Blocked, Fail]), Kind::Regression);
        assert_eq!(judge(&[Blocked, Pass], &[Fail, Fail]), Kind::Regression);
        assert_eq!(judge(&[Pass, Pass], &[Skip, Fail]), Kind::Regression);
        assert_eq!(judge(&[Pass, Pass], &[Blocked, Blocked]), Kind::Unclear);
        assert_eq!(judge(&[Blocked, Blocked], &[Blocked, Fail]), Kind::Unclear);
        assert_eq!(judge(&[Blocked, Blocked], &[Blocked, Pass]), Kind::New);
        assert_eq!(judge(&[Fail, Fail], &[Pass, Blocked]), Kind::Flaky);
        assert_eq!(judge(&[Blocked, Blocked], &[Blocked, Blocked]), Kind::Unjudged);
    }

    #[test]
    fn a_side_that_disagrees_with_itself_is_flaky_unless_the_other_is_always_worse() {
        assert_eq!(judge(&[Pass, Pass], &[Pass, Fail]), Kind::Flaky);
        assert_eq!(judge(&[Pass, Fail], &[Fail, Fail]), Kind::Flaky);
        assert_eq!(judge(&[Pass, Fail], &[Pass, Pass]), Kind::Flaky);
        assert_eq!(judge(&[Pass, Pass], &[Pass, Blocked]), Kind::Flaky);
        assert_eq!(judge(&[Pass, Pass], &[Fail, Hang]), Kind::Regression);
        assert_eq!(judge(&[Fail, Hang], &[Pass, Pass]), Kind::Fixed);
        assert_eq!(judge(&[Pass, Pass], &[Fail, Fail]), Kind::Regression);
    }

    const A: &str = "fsm::a";
    const B: &str = "fsm::b";
    const C: &str = "fsm::c";

    /// A run in which these checks came to this.
    fn run(outcomes: &[(&str, Outcome)]) -> Run {
        let names: Vec<&str> = outcomes.iter().map(|(name, _)| *name).collect();
        let ends = outcomes.iter().flat_map(|(name, outcome)| [start(name), finish(name, outcome.clone())]);
        Run::of(&journal([sample::began(&names), sample::ready()].into_iter().chain(ends).collect())).unwrap()
    }

    fn pass() -> Outcome {
        sample::outcome(Pass, "")
    }

    /// A check that found these requirements broken, and some advice not followed.
    fn breaks(requirements: &[&'static Requirement]) -> Outcome {
        let mut outcome = sample::outcome(Fail, &format!("{} are broken", requirements.len()));
        requirements.iter().for_each(|requirement| outcome.accuse(requirement, "EIO".to_owned()));
        outcome.broken.push(Broken { level: Level::Advice, ..outcome.broken[0].clone() });
        outcome.broken.last_mut().unwrap().requirement = "fsm.advice".to_owned();
        outcome
    }

    fn only(base: &[Run], head: &[Run]) -> Change {
        let mut changes = compare(base, head);
        assert_eq!(changes.len(), 1);
        changes.remove(0)
    }

    #[test]
    fn the_checks_of_the_head_come_first_and_each_comes_once() {
        let base = run(&[(B, pass()), (C, pass())]);
        let head = run(&[(A, pass()), (B, pass())]);
        let changes = compare(&[base.clone(), base], &[head]);
        let told: Vec<_> =
            changes.iter().map(|change| (&*change.check, change.kind, change.was.len(), change.is.len())).collect();
        assert_eq!(told, [(A, Kind::New, 0, 1), (B, Kind::Unchanged, 2, 1), (C, Kind::Gone, 2, 0)]);
    }

    #[test]
    fn incident_of_the_head_alone_is_a_regression() {
        let run = |incidents: &[Event]| {
            let events = [&[sample::began(&[A])], incidents, &[sample::ready(), start(A), finish(A, pass())]].concat();
            Run::of(&journal(events)).unwrap()
        };
        let crash = sample::incident(Phase::Bind, Some(Stop::Panic), None);
        let (clean, crashed) = (run(&[]), run(&[crash]));
        let kinds = |base: &[Run], head: &[Run]| -> Vec<(String, Kind)> {
            compare(base, head).into_iter().map(|change| (change.check, change.kind)).collect()
        };
        let (a, bind) = (|kind| (A.to_owned(), kind), |kind| ("run::bind".to_owned(), kind));
        let (old, new) = (std::slice::from_ref(&clean), std::slice::from_ref(&crashed));
        assert_eq!(kinds(old, new), [a(Kind::Unchanged), bind(Kind::Regression)]);
        assert_eq!(kinds(new, old), [a(Kind::Unchanged), bind(Kind::Fixed)]);
        assert_eq!(kinds(new, new), [a(Kind::Unchanged), bind(Kind::Unchanged)]);
        assert_eq!(kinds(old, &[clean.clone(), crashed.clone()]), [a(Kind::Unchanged), bind(Kind::Flaky)]);
        assert_eq!(kinds(old, old), [a(Kind::Unchanged)]);
    }

    #[test]
    fn what_breaks_more_than_before_is_a_regression_and_advice_is_not_counted() {
        let kind = |was: Outcome, is: Outcome| only(&[run(&[(A, was)])], &[run(&[(A, is)])]).kind;
        let (one, both) = (|| breaks(&[&fsm::ARC]), || breaks(&[&fsm::ARC, &fsm::STEADY]));
        assert_eq!(kind(one(), one()), Kind::Unchanged);
        assert_eq!(kind(one(), both()), Kind::Regression);
        assert_eq!(kind(both(), one()), Kind::Unchanged);
        let mut without_advice = one();
        without_advice.broken.pop();
        assert_eq!(kind(without_advice, one()), Kind::Unchanged);
    }

    #[test]
    fn what_is_shown_is_of_the_run_that_shows_it() {
        let is_broken = || breaks(&[&fsm::ARC]);
        let worse = only(&[run(&[(A, pass())])], &[run(&[(A, is_broken())]), run(&[(A, sample::hung())])]);
        assert_eq!((worse.kind, worse.message), (Kind::Regression, sample::hung().message));
        assert_eq!(worse.reproduce, "./ci/emulated --target mtty --kernel 7.3 -- --exact fsm::a");

        let fixed = only(&[run(&[(A, is_broken())])], &[run(&[(A, pass())])]);
        assert_eq!((fixed.kind, &*fixed.message), (Kind::Fixed, "1 are broken"));
        let came = Some("EIO".to_owned());
        assert_eq!(
            fixed.requirements,
            [Meant { id: fsm::ARC.id.to_owned(), statement: Some(fsm::ARC.statement), came }]
        );

        // Where nothing is broken, what the check proves is meant.
        let hangs = only(&[run(&[(A, pass())])], &[run(&[(A, sample::hung())])]);
        assert_eq!(hangs.requirements, [Meant { id: "fsm.a.proved".to_owned(), statement: None, came: None }]);
    }
}
