use super::*;
use crate::requirement::{discover, fsm, health, session, wear};

/// The outcome of a check that passed, and so proved these.
fn proves(requirements: &[&'static Requirement]) -> Outcome {
    let proven = requirements.iter().map(|requirement| requirement.id.to_owned()).collect();
    Outcome { proven, ..Outcome::without_judgement(Verdict::Pass, "") }
}

fn played(keys: &[ProfileKey], outcome: Outcome) -> Outcome {
    Outcome { played: keys.iter().copied().collect(), ..outcome }
}

/// The outcome of a check that was skipped for this key.
fn without(key: ProfileKey) -> Outcome {
    Outcome { lacked: [key].into(), ..Outcome::skipped(Skip::without_key(key)) }
}

type Checked = (Vec<&'static Requirement>, Outcome);

fn coverage_of(checks: &[Checked], required: Option<VerdictLevel>) -> Coverage {
    let mut tally = Tally::new(Some(checks.len()), required);
    for (requirements, outcome) in checks {
        tally.take(requirements.iter().map(|requirement| requirement.id), outcome);
    }
    tally.coverage()
}

const STATE_KEYS: [ProfileKey; 2] = [ProfileKey::Dirty, ProfileKey::Compare];
const DMA_KEYS: [ProfileKey; 2] = [ProfileKey::DmaToMemory, ProfileKey::FinishDma];

#[test]
fn every_key_belongs_to_a_level_above_protocol() {
    for key in ProfileKey::ALL {
        assert!(VerdictLevel::of(key) > VerdictLevel::Protocol, "{key}");
    }
}

#[test]
fn level_is_the_highest_whose_keys_were_played_and_none_lacked() {
    let protocol: Checked = (vec![&fsm::ARC], proves(&[&fsm::ARC]));
    let state: Checked = (vec![&fsm::FROM_ERROR], played(&STATE_KEYS, proves(&[&fsm::FROM_ERROR])));
    let dma: Checked = (vec![&health::LOG], played(&DMA_KEYS, proves(&[&health::LOG])));
    let lacks = |key| -> Checked { (vec![&session::FD_COMES], without(key)) };
    for (checks, level) in [
        (vec![protocol.clone()], VerdictLevel::Protocol),
        (vec![protocol.clone(), state.clone()], VerdictLevel::State),
        (vec![protocol.clone(), state.clone(), dma.clone()], VerdictLevel::Dma),
        // DMA without state is no level.
        (vec![protocol.clone(), dma.clone()], VerdictLevel::Protocol),
        (vec![protocol.clone(), state.clone(), dma.clone(), lacks(ProfileKey::Progress)], VerdictLevel::Protocol),
        (vec![protocol.clone(), state.clone(), dma.clone(), lacks(ProfileKey::Interrupt)], VerdictLevel::State),
    ] {
        assert_eq!(coverage_of(&checks, None).level, Some(level), "{checks:?}");
    }
}

#[test]
fn a_key_lacking_in_a_check_that_passed_lowers_the_level_too() {
    let judged_less = Outcome { lacked: [ProfileKey::Compare].into(), ..proves(&[&fsm::ARC]) };
    let coverage = coverage_of(&[(vec![&fsm::ARC], played(&[ProfileKey::Dirty], judged_less))], None);
    assert_eq!(coverage.level, Some(VerdictLevel::Protocol));
    assert_eq!(coverage.lacks_for(VerdictLevel::State).collect::<Vec<_>>(), [ProfileKey::Compare]);
}

#[test]
fn blocked_must_lowers_the_level_of_its_check_unless_another_check_judged_it() {
    let state: Checked = (vec![&fsm::FROM_ERROR], played(&STATE_KEYS, proves(&[&fsm::FROM_ERROR])));
    let blocked = played(&STATE_KEYS, Outcome::without_judgement(Verdict::Blocked, ""));
    let level = |must: &'static Requirement| coverage_of(&[state.clone(), (vec![must], blocked.clone())], None).level;
    assert_eq!(level(&fsm::ARC), Some(VerdictLevel::Protocol));
    assert_eq!(level(&fsm::FROM_ERROR), Some(VerdictLevel::State));
}

#[test]
fn run_of_part_of_the_suite_has_no_level_and_leaves_the_other_musts_unjudged() {
    let mut tally = Tally::new(Some(2), None);
    tally.take([fsm::ARC.id], &proves(&[&fsm::ARC]));
    let coverage = tally.coverage();
    assert_eq!((coverage.level, coverage.ran, coverage.planned, coverage.suite), (None, 1, 1, 2));
    let all = requirement::all().filter(|requirement| requirement.level == Level::Must).count();
    assert_eq!(coverage.not_judged.len(), all - 1);
    assert!(coverage.not_judged.iter().all(|not_judged| not_judged.why == Why::NotSelected));
}

#[test]
fn correctly_absent_musts_do_not_count_as_not_judged() {
    let absent = Outcome::skipped(Skip::CorrectlyAbsent { what: String::new() });
    let left = Outcome::skipped(Skip::DoesNotApply { why: String::new() });
    let coverage = coverage_of(&[(vec![&fsm::ARC], absent.clone()), (vec![&fsm::COMBINATION], left)], None);
    assert_eq!(coverage.not_judged, []);
    assert_eq!((coverage.text.all, coverage.text.absent), (2, 2));
    // Where another check of the same must lacks something, it is not judged.
    let coverage = coverage_of(&[(vec![&fsm::ARC], absent), (vec![&fsm::ARC], without(ProfileKey::Dirty))], None);
    assert_eq!((coverage.text.all, coverage.text.not_judged), (1, 1));
}

#[test]
fn must_is_judged_if_one_of_its_checks_proved_or_broke_it() {
    let broken = || {
        let mut outcome = Outcome::without_judgement(Verdict::Fail, "");
        outcome.accuse(&health::LOG, String::new());
        outcome
    };
    let coverage = coverage_of(
        &[
            (vec![&health::LOG, &discover::FLAGS], broken()),
            (vec![&discover::FLAGS], without(ProfileKey::Dirty)),
            (vec![&session::FD_COMES], proves(&[&session::FD_COMES])),
            (vec![&session::FD_COMES], Outcome::without_judgement(Verdict::Blocked, "")),
        ],
        None,
    );
    assert_eq!(coverage.ran, 2);
    assert_eq!((coverage.ruling.broken, coverage.text.kept, coverage.text.not_judged), (1, 1, 1));
    // The reason that a user can mend is the one that counts.
    let reasons = coverage.reasons();
    let what = Lack::Profile { key: ProfileKey::Dirty };
    assert_eq!(reasons, [(&Why::Lacks { what }, 1)]);
}

#[test]
fn must_that_a_passing_check_left_out_is_not_judged_for_its_reason() {
    let left_out = |skip: Skip| {
        let left_out = [(fsm::PATH.id.to_owned(), skip)].into();
        coverage_of(&[(vec![&fsm::ARC, &fsm::PATH], Outcome { left_out, ..proves(&[&fsm::ARC]) })], None)
    };
    let what = Lack::Tracing { why: String::new() };
    let coverage = left_out(Skip::Lacks { what: what.clone() });
    assert_eq!(coverage.reasons(), [(&Why::Lacks { what }, 1)]);
    assert_eq!(left_out(Skip::DoesNotApply { why: String::new() }).text.absent, 1);
    // One that does not say why is not taken for one that does not apply.
    let coverage = coverage_of(&[(vec![&fsm::ARC, &fsm::PATH], proves(&[&fsm::ARC]))], None);
    assert_eq!(coverage.reasons(), [(&Why::Ended, 1)]);
}

#[test]
fn musts_of_the_text_and_by_ruling_are_counted_apart() {
    assert_eq!((fsm::ARC.basis, wear::REBIND.basis), (Basis::Text, Basis::Ruling));
    let both: [&'static Requirement; 2] = [&fsm::ARC, &wear::REBIND];
    let coverage = coverage_of(&[(both.into(), proves(&both))], None);
    let one = Musts { all: 1, kept: 1, ..Musts::default() };
    assert_eq!((coverage.text, coverage.ruling), (one, one));
}

#[test]
fn level_below_the_required_one_keeps_a_run_from_conforming() {
    let protocol: Checked = (vec![&fsm::ARC], proves(&[&fsm::ARC]));
    let judged = |verdicts: &[Verdict], required| {
        judge(verdicts, Extent::Whole, false, &coverage_of(std::slice::from_ref(&protocol), required))
    };
    let (protocol, state) = (Some(VerdictLevel::Protocol), Some(VerdictLevel::State));
    assert_eq!(judged(&[Verdict::Pass], None), (RunVerdict::Conforms, Exit::Conforms));
    assert_eq!(judged(&[Verdict::Pass], protocol), (RunVerdict::Conforms, Exit::Conforms));
    assert_eq!(judged(&[Verdict::Pass], state), (RunVerdict::BelowLevel, Exit::NothingTested));
    // A finding is one at any level.
    assert_eq!(judged(&[Verdict::Fail], state), (RunVerdict::DoesNotConform, Exit::Findings));
}

#[test]
fn journal_without_typed_skips_has_no_level() {
    let old = Outcome::without_judgement(Verdict::Skip, "needs a stimulus");
    let coverage = coverage_of(&[(vec![&fsm::ARC], proves(&[&fsm::ARC])), (vec![&fsm::COMBINATION], old)], None);
    assert_eq!(coverage.level, None);
    assert_eq!(coverage.reasons(), [(&Why::Unrecorded, 1)]);
}
