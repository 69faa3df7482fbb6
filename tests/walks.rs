//! Random walks prove themselves on the model: nothing on a device that conforms, and the faults that a walk can meet,
//! each found as what it is and brought down to a few steps.
//!
//! ```text
//! cargo test --release --test walks -- --nocapture      a million steps on each capability set, with their speed
//! ```

mod in_process;

use std::time::Instant;

use vfio_conform::device::model::{Fault, ModelSpec};
use vfio_conform::harness::bench::{Bench, Detail, Host};
use vfio_conform::uapi::state::Capabilities;
use vfio_conform::walk::{Operation, Shortened, Tried, Violation, plan, shorten};

/// A million steps in a release build, fewer where each costs ten times as much.
const SEGMENTS: u64 = if cfg!(debug_assertions) { 4 } else { 1000 };
/// Within so many thousand steps each of the faults is to be found.
const SEGMENTS_TO_A_FAULT: u64 = 12;
/// More steps than that are no explanation.
const FEW: usize = 6;

/// The faults that a walk can see, and how the requirements may be called that it accuses.
const SEEN: [(Fault, &[&str]); 63] = [
    (Fault::ArgszUnchecked, &["discover.header.argsz_small"]),
    (Fault::RefusedCallActs, &["discover.refusal.changes_nothing"]),
    (Fault::DataSizePositiveReturn, &["discover.success.zero"]),
    (Fault::UnknownFlagsAccepted, &["discover.header.unknown_flags"]),
    (Fault::WrongDirectionAccepted, &["discover.header.wrong_direction"]),
    (Fault::GetAndSetAccepted, &["discover.header.get_and_set", "discover.header.wrong_direction"]),
    (Fault::UnknownFeatureAccepted, &["discover.feature.unknown"]),
    (Fault::ProbeActs, &["discover.probe.changes_nothing"]),
    (Fault::EfaultIgnored, &["session.fd.not_handed_over", "discover.memory.efault"]),
    (Fault::DataSizeNeedsSession, &["stop_copy."]),
    (Fault::DataSizeAbsurd, &["stop_copy."]),
    (Fault::ErrorIsATarget, &["fsm.refuse.error_as_target"]),
    (Fault::UnadvertisedAccepted, &["fsm.refuse.not_advertised"]),
    (Fault::OutOfRangeAccepted, &["fsm.refuse.out_of_range"]),
    (Fault::BlockedArcAllowed, &["fsm.refuse.blocked_arc"]),
    (Fault::ArcStopsShort, &["fsm.combination.ends_there"]),
    (Fault::StateUnchangedBySuccess, &["fsm.combination.ends_there", "fsm.arc.ends_there"]),
    (Fault::GetChangesState, &["fsm.get.only_looks"]),
    (Fault::StateDrifts, &["fsm.get.only_looks", "fsm.state.steady"]),
    (Fault::RefusalMovesToError, &["fsm.refuse.keeps_state"]),
    (Fault::ErrorLeavesBySet, &["fsm.refuse.from_error"]),
    (Fault::PositiveReturn, &["fsm.combination.ends_there", "fsm.arc.ends_there", "fsm.same_state.no_effect"]),
    (Fault::GetReturnsFd, &["fsm.get.only_looks"]),
    (Fault::NoFdOnPreCopy, &["session.fd.comes"]),
    (Fault::NoFdOnResuming, &["session.fd.comes"]),
    (Fault::FdInsideSavingGroup, &["session.fd.absent"]),
    (Fault::FdOnSameState, &["fsm.same_state.no_effect"]),
    (Fault::OldFdSurvives, &["session.end.", "reset.ends_session"]),
    (Fault::OldFdAnswersEof, &["session.end.", "reset.ends_session"]),
    (Fault::SessionDiesInsideSavingGroup, &["session.saving_group.same"]),
    (Fault::SameStateEndsSession, &["fsm.same_state.no_effect"]),
    (Fault::RefusalEndsSession, &["fsm.refuse.keeps_session"]),
    (Fault::NewSessionDiesOfOldFd, &["session.new.works"]),
    (Fault::EarlyCloseFails, &["session.close.early"]),
    (Fault::EndOfPreCopyReadsZero, &["precopy."]),
    (Fault::PrecopyInfoRefusedInP2p, &["precopy."]),
    (Fault::PrecopyInfoInStopCopy, &["precopy."]),
    (Fault::PrecopyInfoArgszUnchecked, &["precopy."]),
    (Fault::PrecopyInfoPositiveReturn, &["precopy."]),
    (Fault::InitialBytesZero, &["precopy."]),
    (Fault::InitialBytesGrow, &["precopy."]),
    (Fault::PromisedDataIsMissing, &["precopy."]),
    (Fault::EndOfStopCopyIsEnomsg, &["stop_copy."]),
    (Fault::UnreadableAtEndOfStopCopy, &["stop_copy."]),
    (Fault::SplitWritesRefused, &["resume."]),
    (Fault::TruncatedStreamAccepted, &["resume."]),
    (Fault::ResetKeepsState, &["reset.leads_to_running"]),
    (Fault::ResetKeepsSession, &["reset.ends_session"]),
    (Fault::ResetKeepsError, &["reset.leads_to_running"]),
    (Fault::ResetInStopDooms, &["reset.works_afterwards"]),
    (Fault::ReopenKeepsState, &["fsm.open.running"]),
    (Fault::ReopenKeepsSession, &["session.end.device_closed"]),
    (Fault::DuplicateDies, &["session.fd.duplicate", "session.new.works"]),
    (Fault::NonblockingEndsSession, &["precopy.eos.temporary"]),
    (Fault::VectorsRefused, &["stop_copy.read.any_size", "resume.write.any_segmentation"]),
    (Fault::EmptyReadEndsSession, &["stop_copy.read.zero_length"]),
    (Fault::EmptyWriteRefused, &["resume.write.zero_length"]),
    (Fault::ReinitUnsaid, &["precopy."]),
    (Fault::LogStartsTwice, &["dma_logging.start.twice"]),
    (Fault::LogReportWithoutStart, &["dma_logging.report.without_start"]),
    (Fault::LogForgetsNothing, &["dma_logging.report.forgets"]),
    (Fault::LogReadsLogged, &["dma_logging.reads_unlogged"]),
    (Fault::LogOnlyInRunning, &["dma_logging."]),
];

/// Walks until something is found, segment by segment. Returns the operations of the last segment and what they broke.
fn walk(bench: &mut Bench, seed: u64, segments: u64) -> Option<(Vec<Operation>, Violation)> {
    for segment in 0..segments {
        let mut operations = plan(bench.capabilities(), seed, segment);
        let walked = bench.walk(&operations, Detail::Begun).expect("the model begins in RUNNING");
        if let Some(violation) = walked.violation {
            operations.truncate(walked.steps);
            return Some((operations, violation));
        }
    }
    None
}

fn shortest(bench: &mut Bench, operations: Vec<Operation>, violation: &Violation) -> Shortened<Violation> {
    shorten(operations, |operations| {
        let Ok(walked) = bench.walk(operations, Detail::Begun) else {
            return Tried::Passes;
        };
        match walked.violation.filter(|found| found.symptom == violation.symptom) {
            Some(finding) => Tried::Fails { step: walked.steps - 1, finding },
            None => Tried::Passes,
        }
    })
}

fn words(operations: &[Operation]) -> String {
    let words: Vec<String> = operations.iter().map(ToString::to_string).collect();
    words.join("; ")
}

#[test]
fn a_device_that_conforms_is_never_accused() {
    for set in Capabilities::ALL {
        let mut bench = in_process::bench(ModelSpec::conforming(set), Host::PATIENCE);
        let began = Instant::now();
        let found = walk(&mut bench, 1, SEGMENTS);
        let seconds = began.elapsed().as_secs_f64();
        if let Some((operations, violation)) = found {
            let shortened = shortest(&mut bench, operations, &violation);
            panic!("{set}: {violation:#?}\n{}", words(&shortened.operations));
        }
        let steps = SEGMENTS as f64 * 1000.0;
        println!("{set}: {steps} steps in {seconds:.2} s, {:.0} a second", steps / seconds);
    }
}

#[test]
fn faults_are_found_as_what_they_are_and_explained_in_a_few_steps() {
    let mut wrong = String::new();
    for (fault, requirements) in SEEN {
        let mut bench = in_process::bench(ModelSpec::faulty(fault), Host::PATIENCE);
        let Some((operations, violation)) = walk(&mut bench, 1, SEGMENTS_TO_A_FAULT) else {
            wrong += &format!("{} was not found\n", fault.name());
            continue;
        };
        let steps = operations.len();
        let shortened = shortest(&mut bench, operations, &violation);
        let found = shortened.finding.unwrap_or(violation);
        let id = found.requirement.id;
        let told = format!("{} at step {steps}: {id}: {}\n", fault.name(), words(&shortened.operations));
        print!("{told}");
        let is_named_rightly = requirements.iter().any(|name| id.starts_with(name));
        if !is_named_rightly || shortened.operations.len() > FEW || !shortened.fails_always {
            wrong += &told;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Those that a walk finds only by waiting for what does not come, or by steps that seldom come together.
#[test]
fn what_is_seldom_met_is_judged_where_it_may_be() {
    for (fault, steps, broken) in [
        (None, "DMA write page 1; interrupt; reopen; interrupt; DMA read page 2; SET PRE_COPY; interrupt", None),
        (None, "DMA write page 1; DMA_LOGGING_START; RESET; DMA_LOGGING_START; DMA_LOGGING_STOP", None),
        (Some(Fault::LogEndsWithReset), "DMA write page 1; DMA_LOGGING_START; RESET; DMA_LOGGING_REPORT", None),
        (Some(Fault::LogStartsTwice), "DMA_LOGGING_START; DMA_LOGGING_START", None),
        (Some(Fault::PreCopyIdles), "SET PRE_COPY; DMA write page 1", Some("quiesce.running.operational")),
        (Some(Fault::PreCopyIdles), "SET PRE_COPY; interrupt", Some("quiesce.running.operational")),
        (Some(Fault::PreCopyIdles), "SET PRE_COPY; enter_error; interrupt; DMA write page 1", None),
        (
            Some(Fault::LogOnlyInRunning),
            "DMA_LOGGING_START; DMA write page 1; SET STOP; DMA_LOGGING_REPORT",
            Some("dma_logging.any_state"),
        ),
        (
            Some(Fault::LogSurvivesStop),
            "DMA_LOGGING_START; DMA write page 1; DMA_LOGGING_STOP; DMA_LOGGING_START; DMA_LOGGING_REPORT",
            Some("dma_logging.stop.ends"),
        ),
        (
            Some(Fault::LogFirstPageLost),
            "DMA_LOGGING_START; DMA write page 0; DMA_LOGGING_REPORT",
            Some("dma_logging.report.exact"),
        ),
        (
            Some(Fault::LogNeighbourReported),
            "DMA_LOGGING_START; DMA write page 0; DMA_LOGGING_REPORT",
            Some("dma_logging.report.exact"),
        ),
        (
            Some(Fault::LostReinitForgotten),
            "SET PRE_COPY; MIG_PRECOPY_INFOv2; PRECOPY_INFO; reconfigure; PRECOPY_INFO unwritable; PRECOPY_INFO",
            None,
        ),
    ] {
        let spec = fault.map_or_else(ModelSpec::default, ModelSpec::faulty);
        let operations: Vec<Operation> = steps.split("; ").map(|step| step.parse().expect("an operation")).collect();
        let walked = in_process::bench(spec, Host::PATIENCE).walk(&operations, Detail::Begun).expect("it begins");
        let found = walked.violation.map(|violation| violation.requirement.id);
        assert_eq!(found, broken, "{fault:?}: {steps}");
    }
}
