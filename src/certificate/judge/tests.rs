use std::sync::LazyLock;

use super::super::document::Tool;
use super::super::waiver::Waivers;
use super::*;
use crate::harness::check::Obstacle;
use crate::harness::journal::Event;
use crate::harness::outcome::Outcome;
use crate::lab::surroundings::KernelBuild;
use crate::report::sample::{self, finish, journal, ready, start};
use crate::requirement::{Requirement, fsm, precopy, session};

const A: &str = "fsm::a";
const B: &str = "fsm::b";

/// One for another driver, one for what is broken in these tests, and one for what is not.
const WAIVERS: [(&str, &Requirement); 3] = [("mlx5", &fsm::ARC), ("mtty", &fsm::ARC), ("mtty", &fsm::STEADY)];

fn waivers(of: &[(&str, &Requirement)]) -> Vec<Waiver> {
    let text: String = of
        .iter()
        .map(|(driver, requirement)| {
            format!(
                "[[waiver]]\nrequirement = {:?}\ndriver = [{driver:?}]\nreason = \"it is known\"\n\
                 link = \"https://example.org/1\"\nexpires = 2098-06-30\n",
                requirement.id
            )
        })
        .collect();
    Waivers::parse(&text).expect("a good file").all
}

/// Nothing is known of it.
static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    let tool = Tool { version: "0.1.0".to_owned(), digest: String::new() };
    Environment { tool, kernel: KernelBuild::default(), hardware: None, firmware_stated: None }
});

/// A run in which these checks came to this; what came to nothing was never run.
fn run(strict: bool, checks: &[(&str, Option<Outcome>)]) -> Run {
    let names: Vec<&str> = checks.iter().map(|(name, _)| *name).collect();
    let mut began = sample::began(&names);
    if let Event::RunStarted(began) = &mut began {
        began.strict = strict;
    }
    let ended = checks.iter().filter_map(|(name, outcome)| Some((*name, outcome.clone()?)));
    let events = ended.flat_map(|(name, outcome)| [start(name), finish(name, outcome)]);
    Run::of(&journal([began, ready()].into_iter().chain(events).collect())).expect("a good journal")
}

fn pass() -> Option<Outcome> {
    Some(Outcome { proven: vec![fsm::STEADY.id.to_owned()], ..sample::outcome(Verdict::Pass, "") })
}

fn came_to(verdict: Verdict) -> Option<Outcome> {
    Some(sample::outcome(verdict, "it is so"))
}

fn blocked_by(requirement: &'static Requirement) -> Option<Outcome> {
    Some(Outcome::blocked(Obstacle::Requirement(requirement), "it cannot be seen"))
}

/// A check that came to this and broke that.
fn breaks(verdict: Verdict, requirements: &[&'static Requirement]) -> Option<Outcome> {
    let mut outcome = sample::outcome(verdict, "it is broken");
    requirements.iter().for_each(|requirement| outcome.accuse(requirement, "EIO".to_owned()));
    Some(outcome)
}

fn fails(requirements: &[&'static Requirement]) -> Option<Outcome> {
    breaks(Verdict::Fail, requirements)
}

/// A requirement that may be broken.
fn advice() -> &'static Requirement {
    requirement::all().find(|requirement| requirement.level == Level::Advice).expect("some advice")
}

fn parts(runs: Vec<Run>) -> Vec<Part> {
    let names = PartName::all(u32::try_from(runs.len()).expect("few") - 1);
    names.zip(runs).map(|(name, run)| Part { name, run }).collect()
}

#[test]
fn each_run_has_its_name_and_its_folder() {
    let all: Vec<PartName> = PartName::all(2).collect();
    assert_eq!(all, [PartName::Suite(1), PartName::Suite(2), PartName::Walk]);
    let told = all.iter().map(|name| [name.folder(), name.run(), name.to_string()]);
    assert_eq!(
        told.collect::<Vec<_>>(),
        [["runs/1", "1", "run 1"], ["runs/2", "2", "run 2"], ["walk", "walk", "the walk"]]
    );
}

#[test]
fn only_a_finding_of_which_all_that_counts_is_waived_is_forgiven() {
    use CertifiedVerdict::{Conforms, ConformsWithWaivers, DoesNotConform, Incomplete, NothingTested};
    let (arc, other, should) = (&fsm::ARC, &fsm::SAME_STATE, &session::CLOSE_ON_EXEC);
    for (strict, checks, verdict, exit) in [
        (false, vec![(A, pass())], Conforms, Exit::Conforms),
        (false, vec![(A, fails(&[arc]))], ConformsWithWaivers, Exit::Conforms),
        (false, vec![(A, fails(&[arc])), (B, pass())], ConformsWithWaivers, Exit::Conforms),
        (false, vec![(A, fails(&[other]))], DoesNotConform, Exit::Findings),
        (false, vec![(A, fails(&[arc, other]))], DoesNotConform, Exit::Findings),
        (false, vec![(A, fails(&[arc])), (B, fails(&[other]))], DoesNotConform, Exit::Findings),
        (false, vec![(A, fails(&[arc, advice()]))], ConformsWithWaivers, Exit::Conforms),
        (false, vec![(A, fails(&[arc, should]))], ConformsWithWaivers, Exit::Conforms),
        (true, vec![(A, fails(&[arc, should]))], DoesNotConform, Exit::Findings),
        (true, vec![(A, fails(&[arc, advice()]))], ConformsWithWaivers, Exit::Conforms),
        (false, vec![(A, breaks(Verdict::Warn, &[should]))], Conforms, Exit::Conforms),
        (true, vec![(A, breaks(Verdict::Warn, &[should]))], DoesNotConform, Exit::Findings),
        // What nobody says anything of cannot be waived.
        (false, vec![(A, came_to(Verdict::Fail))], DoesNotConform, Exit::Findings),
        (false, vec![(A, breaks(Verdict::Hang, &[arc]))], DoesNotConform, Exit::Findings),
        (false, vec![(A, breaks(Verdict::Crash, &[arc]))], DoesNotConform, Exit::Findings),
        (false, vec![(A, fails(&[arc])), (B, came_to(Verdict::Blocked))], Incomplete, Exit::Unfinished),
        (false, vec![(A, fails(&[arc])), (B, blocked_by(arc))], ConformsWithWaivers, Exit::Conforms),
        // Neither waived, nor seen to be broken.
        (false, vec![(A, fails(&[arc])), (B, blocked_by(other))], Incomplete, Exit::Unfinished),
        (false, vec![(A, pass()), (B, blocked_by(arc))], Incomplete, Exit::Unfinished),
        (false, vec![(A, fails(&[other])), (B, blocked_by(arc))], DoesNotConform, Exit::Findings),
        (false, vec![(A, fails(&[arc])), (B, None)], Incomplete, Exit::Unfinished),
        (false, vec![(A, fails(&[other])), (B, None)], DoesNotConform, Exit::Unfinished),
        (false, vec![(A, fails(&[other])), (B, came_to(Verdict::Blocked))], DoesNotConform, Exit::Findings),
        (false, vec![(A, came_to(Verdict::Skip))], NothingTested, Exit::NothingTested),
    ] {
        let parts = parts(vec![run(strict, &checks), run(strict, &[(A, pass())])]);
        let judged = judge(&parts, &waivers(&WAIVERS), &ENVIRONMENT);
        assert_eq!((judged.verdict, judged.exit), (verdict, exit), "strict {strict}: {checks:?}");
    }
}

#[test]
fn a_waived_should_matters_only_where_it_counts() {
    let waived = waivers(&[("mtty", &session::CLOSE_ON_EXEC)]);
    let verdict = |strict: bool| {
        let broken = run(strict, &[(A, breaks(Verdict::Warn, &[&session::CLOSE_ON_EXEC]))]);
        judge(&parts(vec![broken, run(strict, &[(A, pass())])]), &waived, &ENVIRONMENT).verdict
    };
    assert_eq!([false, true].map(verdict), [CertifiedVerdict::Conforms, CertifiedVerdict::ConformsWithWaivers]);
    // A waiver that was good for one finding is not taken back by the next, which needs none.
    let both = [(A, fails(&[&fsm::ARC])), (B, breaks(Verdict::Warn, &[&session::CLOSE_ON_EXEC]))];
    let waived = waivers(&[("mtty", &fsm::ARC), ("mtty", &session::CLOSE_ON_EXEC)]);
    let judged = judge(&parts(vec![run(false, &both), run(false, &[(A, pass())])]), &waived, &ENVIRONMENT).verdict;
    assert_eq!(judged, CertifiedVerdict::ConformsWithWaivers);
}

#[test]
fn the_worst_run_counts() {
    use CertifiedVerdict::{DoesNotConform, Incomplete, NothingTested};
    let [good, bad, blocked, nothing] =
        [pass(), fails(&[&fsm::SAME_STATE]), came_to(Verdict::Blocked), came_to(Verdict::Skip)];
    for (suite, walk, verdict, exit) in [
        (&good, &bad, DoesNotConform, Exit::Findings),
        (&bad, &good, DoesNotConform, Exit::Findings),
        (&bad, &blocked, DoesNotConform, Exit::Unfinished),
        (&good, &blocked, Incomplete, Exit::Unfinished),
        (&nothing, &blocked, Incomplete, Exit::Unfinished),
        (&good, &nothing, NothingTested, Exit::NothingTested),
    ] {
        let parts = parts([suite, walk].map(|outcome| run(false, &[(A, outcome.clone())])).to_vec());
        let judged = judge(&parts, &[], &ENVIRONMENT);
        assert_eq!((judged.verdict, judged.exit), (verdict, exit), "{suite:?}, {walk:?}");
    }
}

#[test]
fn a_finding_says_what_was_seen_in_each_run_and_which_waiver_accepts_it() {
    let first = run(false, &[(A, pass()), (B, fails(&[&fsm::ARC, &precopy::EOS_ENOMSG, advice()]))]);
    let second = run(false, &[(A, pass()), (B, fails(&[&precopy::EOS_ENOMSG, &fsm::ARC]))]);
    let (walk, waivers) = (run(false, &[("walk::seed_1", pass())]), waivers(&WAIVERS));
    let parts = parts(vec![first, second, walk]);
    let judged = judge(&parts, &waivers, &ENVIRONMENT);
    let seen = vec![(PartName::Suite(1), Verdict::Fail), (PartName::Suite(2), Verdict::Fail)];
    let broken = vec![(fsm::ARC.id, Level::Must, Some(1)), (precopy::EOS_ENOMSG.id, Level::Must, None)];
    assert_eq!(judged.findings, [Finding { check: B, seen, broken }]);
    assert_eq!(judged.unsteady, []);
    assert_eq!(judged.uses, [Use::Elsewhere, Use::Used, Use::NotNeeded]);
}

#[test]
fn a_check_that_comes_to_this_and_to_that_is_told() {
    let parts = parts(vec![
        run(false, &[(A, pass()), (B, pass())]),
        run(false, &[(A, pass()), (B, came_to(Verdict::Skip))]),
        run(false, &[("walk::seed_1", pass())]),
    ]);
    let judged = judge(&parts, &[], &ENVIRONMENT);
    let seen = vec![(PartName::Suite(1), Verdict::Pass), (PartName::Suite(2), Verdict::Skip)];
    assert_eq!(judged.unsteady, [(B, seen)]);
    assert_eq!(judged.findings, []);
}

#[test]
fn without_a_device_no_waiver_is_for_it() {
    let events = vec![sample::began(&[A]), start(A), finish(A, fails(&[&fsm::ARC]).expect("an outcome"))];
    let run = Run::of(&journal(events)).expect("a good journal");
    let parts = [Part { name: PartName::Suite(1), run }];
    let waivers = waivers(&WAIVERS);
    let judged = judge(&parts, &waivers, &ENVIRONMENT);
    assert_eq!(judged.verdict, CertifiedVerdict::DoesNotConform);
    assert_eq!(judged.uses, [Use::Elsewhere; 3]);
}

#[test]
fn what_was_neither_proven_nor_broken_is_untested() {
    let parts = parts(vec![run(false, &[(A, pass())]), run(false, &[(B, fails(&[&fsm::ARC]))])]);
    let untested = judge(&parts, &[], &ENVIRONMENT).untested;
    assert_eq!(untested.len(), requirement::all().count() - 2);
    assert!(!untested.contains(&fsm::STEADY.id) && !untested.contains(&fsm::ARC.id));
    assert!(untested.contains(&fsm::SAME_STATE.id));
}
