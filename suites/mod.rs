//! The checks, a file a chapter. A check reads as: bring the device there, do one thing, judge.

mod concurrency;
mod discover;
mod dma_logging;
mod fsm;
mod health;
mod precopy;
mod quiesce;
mod reset;
mod resume;
mod session;
mod stop_copy;
pub mod walk;
mod wear;

use std::time::Duration;

use crate::harness::bench::Bench;
use crate::harness::check::{Check, Interruption, Judgement, Lack, Skip, chapter_of};
use crate::requirement::dma_logging as logging_rules;
use crate::requirement::quiesce as quiesce_rules;
use crate::stimulus::Stimulus;
use crate::uapi::Errno;
use crate::uapi::feature::{Feature, FeatureCall, MigState, Placement, Verb};
use crate::uapi::state::State;

/// Long enough for a device that works to change all of its state, whose size nobody but its profile knows, and of which
/// no event tells.
const WORKS_FOR: Duration = Duration::from_millis(60);

/// Every check, chapter by chapter, in the order in which they run.
pub fn all() -> Vec<Check> {
    of_each_chapter!(checks()).into_iter().flatten().collect()
}

/// How long a check may take where others may take so long.
pub fn deadline(check: &str, ordinary: Duration) -> Duration {
    match (chapter_of(check), walk::bound_of(check)) {
        (_, Some(bound)) => bound.min(ordinary),
        ("wear", _) => ordinary + wear::WAITS,
        _ => ordinary,
    }
}

/// Whether a check mostly waits for what must not happen.
pub fn waits(check: &str) -> bool {
    chapter_of(check) == "quiesce"
}

/// A state's name as a part of a check's name.
fn lower(state: State) -> String {
    state.name().to_ascii_lowercase()
}

/// A resuming session shows that it is alive by taking a stream, so there has to be one before it begins.
fn stream_for(bench: &mut Bench, state: State) -> Judgement<Vec<u8>> {
    match state {
        State::Resuming => bench.saved_stream(),
        _ => Ok(Vec::new()),
    }
}

/// Asks for a state from RUNNING, in memory where the kernel cannot write its answer. Returns what was asked, in words,
/// and what came back.
fn set_unanswerable(bench: &mut Bench, to: State) -> (String, Result<i32, Errno>) {
    let wanted = MigState { device_state: to.number(), data_fd: -1 };
    let mut call = FeatureCall::new(Feature::MigDeviceState, Verb::Set)
        .with_payload(wanted.to_bytes())
        .placed(Placement::ReadOnly);
    let answer = bench.feature(&mut call);
    (format!("SET {to} in RUNNING, in memory that cannot be written"), answer)
}

/// Starts work, and lets the device change its state by itself, everywhere.
fn start_to_work(bench: &mut Bench) -> Judgement {
    let before = progress(bench)?;
    bench.stimulate(Stimulus::StartWork)?;
    bench.watch(WORKS_FOR);
    match before.is_some() && progress(bench)? == before {
        true => Err(Interruption::blocked_by(&quiesce_rules::OPERATIONAL, "work was started, but nothing moves")),
        false => Ok(()),
    }
}

/// What moves by itself; `None` where the profile does not say how to see it.
fn progress(bench: &mut Bench) -> Judgement<Option<Vec<u8>>> {
    match bench.progress() {
        Err(Interruption::Skip(_)) => Ok(None),
        progress => progress.map(Some),
    }
}

/// The uAPI leaves the matter to the driver, and this one does not do what the check is about.
fn does_not_apply(why: &str) -> Interruption {
    Interruption::Skip(Skip::DoesNotApply { why: why.to_owned() })
}

/// The suite cannot judge it on this device, whatever profile, kernel or options it is given.
fn no_method(why: &str) -> Interruption {
    Interruption::Skip(Skip::Lacks { what: Lack::Method { why: why.to_owned() } })
}

/// What stands in the way of a check that needs a log of DMA, and could not start one.
fn no_log(errno: Errno) -> Interruption {
    let why = format!("a log could not be started: START answered {errno:?}");
    Interruption::blocked_by(&logging_rules::START_SELECTS, why)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::requirement;

    #[test]
    fn names_are_unique_and_carry_their_chapter() {
        let mut seen = BTreeSet::new();
        for check in all() {
            assert!(check.name().contains("::"), "{}", check.name());
            assert!(seen.insert(check.name().to_owned()), "{} stands twice", check.name());
        }
    }

    #[test]
    fn every_requirement_has_a_check_and_every_check_a_requirement() {
        let judged: BTreeSet<&str> = all()
            .iter()
            .flat_map(|check| {
                assert!(!check.requirements().is_empty(), "{}", check.name());
                check.requirements().iter().map(|r| r.id).collect::<Vec<_>>()
            })
            .collect();
        let catalogued: BTreeSet<&str> = requirement::all().map(|r| r.id).collect();
        assert_eq!(judged, catalogued);
    }

    #[test]
    fn requirement_ids_begin_with_their_chapter_and_are_unique() {
        let chapters: BTreeSet<String> = all().iter().map(|c| c.chapter().to_owned()).collect();
        let mut seen = BTreeSet::new();
        for requirement in requirement::all() {
            let chapter = requirement.id.split('.').next().unwrap_or_default();
            assert!(chapters.contains(chapter), "{}", requirement.id);
            assert!(seen.insert(requirement.id), "{}", requirement.id);
        }
    }
}
