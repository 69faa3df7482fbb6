//! The proof that checks can fail: every fault of the model is found, and found as what it is.
//!
//! For each fault that touches a chapter, a run of all checks must accuse the requirements that the table here names. A
//! device that conforms is never accused. And the other way round: a requirement that no fault proves stands in a list,
//! with the reason, so that the list can only shrink knowingly.

mod in_process;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

use vfio_conform::device::model::{Fault, ModelSpec};
use vfio_conform::harness::check::Check;
use vfio_conform::harness::executor;
use vfio_conform::harness::outcome::Outcome;
use vfio_conform::harness::verdict::{Exit, Verdict};
use vfio_conform::report::{JOURNAL, Run};
use vfio_conform::requirement::{
    self, Requirement, concurrency, discover, dma_logging, fsm, health, precopy, quiesce, reset, resume, session,
    stop_copy, wear,
};
use vfio_conform::suites;
use vfio_conform::uapi::state::Capabilities;

/// What a run of all checks makes of a fault.
enum Found {
    /// These requirements are among the broken ones.
    Breaks(Vec<&'static Requirement>),
    /// The checks that meet it hang.
    Hangs,
    /// The checks that meet it kill the executor.
    Crashes,
    /// Nothing accuses it yet: what it touches has no chapter.
    Later(&'static str),
}

fn found(fault: Fault) -> Found {
    use Found::*;
    match fault {
        Fault::UndefinedCapabilityFlags => Breaks(vec![&discover::FLAGS]),
        Fault::ArgszUnchecked => Breaks(vec![&discover::ARGSZ_SMALL]),
        Fault::LargeArgszRefused => Breaks(vec![&discover::ARGSZ_LARGE]),
        Fault::RefusedCallActs => Breaks(vec![&discover::REFUSAL_CHANGES_NOTHING]),
        Fault::DataSizePositiveReturn => Breaks(vec![&discover::SUCCESS_IS_ZERO]),
        Fault::UnknownFlagsAccepted => Breaks(vec![&discover::UNKNOWN_FLAGS]),
        Fault::WrongDirectionAccepted => Breaks(vec![&discover::WRONG_DIRECTION, &discover::PROBE]),
        Fault::GetAndSetAccepted => Breaks(vec![&discover::GET_AND_SET]),
        Fault::UnknownFeatureAccepted => Breaks(vec![&discover::UNKNOWN_FEATURE]),
        Fault::ProbeLies => Breaks(vec![&discover::PROBE]),
        Fault::ProbeActs => Breaks(vec![&discover::PROBE_CHANGES_NOTHING]),
        Fault::EfaultIgnored => Breaks(vec![&discover::BAD_MEMORY, &session::LOST_FD]),

        Fault::ErrorIsATarget => Breaks(vec![&fsm::ERROR_AS_TARGET]),
        Fault::UnadvertisedAccepted => Breaks(vec![&fsm::NOT_ADVERTISED]),
        Fault::OutOfRangeAccepted => Breaks(vec![&fsm::OUT_OF_RANGE]),
        Fault::BlockedArcAllowed => Breaks(vec![&fsm::BLOCKED]),
        Fault::BlockedArcHangs => Hangs,
        Fault::ArcStopsShort => Breaks(vec![&fsm::COMBINATION]),
        Fault::StateUnchangedBySuccess => Breaks(vec![&fsm::ARC, &fsm::COMBINATION]),
        Fault::GetChangesState => Breaks(vec![&fsm::GET_ONLY_LOOKS]),
        Fault::StateDrifts => Breaks(vec![&fsm::STEADY]),
        Fault::RefusalMovesToError => Breaks(vec![&fsm::REFUSAL_KEEPS_STATE]),
        Fault::ErrorLeavesBySet => Breaks(vec![&fsm::FROM_ERROR]),
        Fault::PositiveReturn => Breaks(vec![&fsm::ARC, &fsm::COMBINATION, &fsm::SAME_STATE]),
        Fault::Crash => Crashes,

        Fault::GetReturnsFd => Breaks(vec![&fsm::GET_ONLY_LOOKS]),
        Fault::NoFdOnPreCopy | Fault::NoFdOnResuming => Breaks(vec![&session::FD_COMES]),
        Fault::FdInsideSavingGroup => Breaks(vec![&session::FD_ABSENT]),
        Fault::FdOnSameState | Fault::SameStateEndsSession => Breaks(vec![&fsm::SAME_STATE]),
        Fault::FdWithoutCloexec => Breaks(vec![&session::CLOSE_ON_EXEC]),
        Fault::OldFdSurvives => {
            Breaks(vec![&session::ENDED, &session::ENDED_ENODEV, &session::STAYS_DEAD, &reset::ENDS_SESSION])
        }
        Fault::OldFdAnswersEof => Breaks(vec![&session::ENDED]),
        Fault::SessionDiesInsideSavingGroup => Breaks(vec![&session::SAME_SESSION]),
        Fault::NewSessionDiesOfOldFd => Breaks(vec![&session::NEW_WORKS]),
        Fault::EarlyCloseFails => Breaks(vec![&session::EARLY_CLOSE]),
        Fault::RefusalEndsSession => Breaks(vec![&fsm::REFUSAL_KEEPS_SESSION]),
        Fault::SavingFdWritable | Fault::ResumingFdReadable => Breaks(vec![&session::ONE_DIRECTION]),

        Fault::DmaWhileStopped => Breaks(vec![&quiesce::NO_DMA]),
        Fault::DmaInP2p => Breaks(vec![&quiesce::P2P_NO_DMA]),
        Fault::InterruptsWhileStopped => Breaks(vec![&quiesce::NO_INTERRUPT]),
        Fault::WorksWhileStopped => Breaks(vec![&quiesce::FROZEN]),
        Fault::MovingDmaNotAwaited => Breaks(vec![&quiesce::STOP_WAITS, &quiesce::P2P_WAITS]),
        Fault::PendingDmaDropped => Breaks(vec![&quiesce::CONTINUES]),
        Fault::PendingInterruptDropped => Breaks(vec![&quiesce::INTERRUPT_COMES]),
        Fault::StoppedDeviceDeaf => Breaks(vec![&quiesce::ANSWERS]),
        Fault::TouchedWhileStoppedWedges => Breaks(vec![&quiesce::TOUCH_HARMLESS]),
        Fault::PreCopyIdles => Breaks(vec![&quiesce::OPERATIONAL]),

        Fault::LogWithoutRanges => Breaks(vec![&dma_logging::START_NO_RANGES]),
        Fault::LogRangesUnchecked => Breaks(vec![&dma_logging::START_BAD_RANGES]),
        Fault::LogPageSizeUnchecked => Breaks(vec![&dma_logging::START_PAGE_SIZE]),
        Fault::LogTooManyRangesAccepted => Breaks(vec![&dma_logging::START_TOO_MANY]),
        Fault::LogFewRanges => Breaks(vec![&dma_logging::START_MANY]),
        Fault::LogPageSizeNotAnswered => Breaks(vec![&dma_logging::START_SELECTS]),
        Fault::LogStartsTwice => Breaks(vec![&dma_logging::START_TWICE]),
        Fault::LogStopIgnored | Fault::LogSurvivesStop => Breaks(vec![&dma_logging::STOP_ENDS]),
        Fault::LogStopAloneRefused => Breaks(vec![&dma_logging::STOP_ALONE]),
        Fault::LogReportWithoutStart => Breaks(vec![&dma_logging::REPORT_WITHOUT_START]),
        Fault::LogClearsBits => Breaks(vec![&dma_logging::ONLY_SETS]),
        Fault::LogForgetsNothing => Breaks(vec![&dma_logging::FORGETS]),
        Fault::LogForgetsAll => Breaks(vec![&dma_logging::SUB_RANGE]),
        Fault::LogFirstPageLost | Fault::LogLastPageLost | Fault::LogNeighbourReported => {
            Breaks(vec![&dma_logging::EXACT])
        }
        Fault::LogBitsFromZero => Breaks(vec![&dma_logging::BIT_OF_PAGE]),
        Fault::LogOnePageOfBitmap => Breaks(vec![&dma_logging::LARGE_BITMAP]),
        Fault::LogUnalignedBitmapLost | Fault::LogTailLost => Breaks(vec![&dma_logging::ANY_ALIGNMENT]),
        Fault::LogLargePagesLost => Breaks(vec![&dma_logging::ANY_PAGE_SIZE]),
        Fault::LogUnwritableIgnored => Breaks(vec![&dma_logging::UNWRITABLE]),
        Fault::LogReadsLogged => Breaks(vec![&dma_logging::READS]),
        Fault::LogOnlyInRunning => Breaks(vec![&dma_logging::ANY_STATE]),
        Fault::LogEndsWithReset => Breaks(vec![&dma_logging::ACROSS_RESET]),
        Fault::DataSizeNeedsSession => Breaks(vec![&stop_copy::SIZE_ANY_STATE]),
        Fault::DataSizeAbsurd => Breaks(vec![&stop_copy::SIZE_SANE, &stop_copy::SIZE_ESTIMATE]),
        Fault::DataSizeTenfold => Breaks(vec![&stop_copy::SIZE_ESTIMATE]),
        Fault::EndOfStopCopyIsEnomsg => Breaks(vec![&stop_copy::NO_ENOMSG]),
        Fault::EndOfStopCopyIsOnce => Breaks(vec![&stop_copy::END_PERMANENT]),
        Fault::UnreadableAtEndOfStopCopy => Breaks(vec![&stop_copy::END_READABLE]),
        Fault::LastPageLost | Fault::DirtyPageLost => Breaks(vec![&stop_copy::COMPLETE, &precopy::LEAVE]),
        Fault::SmallReadsRepeat => Breaks(vec![&stop_copy::ANY_READ]),
        Fault::EmptyReadTakesByte => Breaks(vec![&stop_copy::EMPTY_READ]),
        Fault::NextSessionGoesOn => Breaks(vec![&stop_copy::AGAIN]),
        Fault::StaleBytes => Breaks(vec![&stop_copy::SAME_BYTES]),

        Fault::SplitWritesRefused => Breaks(vec![&resume::ANY_WRITE]),
        Fault::EmptyWriteRefused => Breaks(vec![&resume::EMPTY_WRITE]),
        Fault::EmptyStreamAccepted => Breaks(vec![&resume::EMPTY]),
        Fault::TruncatedStreamAccepted => Breaks(vec![&resume::TRUNCATED]),
        Fault::ForeignStreamAccepted => Breaks(vec![&resume::FOREIGN]),
        Fault::TrailingDataAccepted => Breaks(vec![&resume::TRAILING]),
        Fault::FailedWriteForgotten => Breaks(vec![&resume::FAILURE_STICKS]),
        Fault::RegistersNotRestored => Breaks(vec![&resume::RESTORES, &stop_copy::COMPLETE, &precopy::LEAVE]),
        Fault::PristinePagesNotRestored => Breaks(vec![&resume::REPLACES]),
        Fault::RefusedLoadLandsInStop => Breaks(vec![&resume::REFUSED_LANDS]),
        Fault::CorruptStreamWedges => Breaks(vec![&resume::FLIPS]),
        Fault::HalfLoadSurvivesReset => Breaks(vec![&resume::ABORT_RESET]),
        Fault::HalfLoadSurvivesReopen => Breaks(vec![&resume::ABORT_REOPEN]),
        Fault::SecondWriterWedges => Breaks(vec![&resume::TWO_WRITERS]),
        Fault::HugeWriteTaken => Breaks(vec![&resume::HUGE_WRITE]),

        Fault::SecondThreadWedges => Breaks(vec![&concurrency::COME_BACK]),
        Fault::GetSeesNoState => Breaks(vec![&concurrency::REAL_STATE]),
        Fault::SecondOwner => Breaks(vec![&concurrency::ONE_OWNER]),
        Fault::DescriptorsLeak => Breaks(vec![&wear::DESCRIPTORS]),
        Fault::MemoryLeaks => Breaks(vec![&wear::MEMORY]),
        Fault::ModuleReferencesLeak | Fault::ResetLeaksReferences => Breaks(vec![&wear::MODULE]),

        Fault::ResetKeepsState => Breaks(vec![&reset::RUNNING]),
        Fault::ResetKeepsSession => Breaks(vec![&reset::ENDS_SESSION]),
        Fault::ResetKeepsError => Breaks(vec![&reset::RUNNING, &fsm::FAILURE_LANDS]),
        Fault::ResetNotAdvertised => Breaks(vec![&reset::AVAILABLE]),
        Fault::SecondResetRefused => Breaks(vec![&reset::REPEATED]),
        Fault::ResetInStopDooms => Breaks(vec![&reset::WORKS_AFTERWARDS]),
        Fault::ReopenKeepsState => Breaks(vec![&fsm::OPENS_RUNNING]),

        Fault::PrecopyInfoV2WithoutPreCopy => Breaks(vec![&precopy::V2_NEEDS_PRE_COPY]),
        Fault::EndOfPreCopyReadsZero => Breaks(vec![&precopy::EOS_ENOMSG]),
        Fault::EndOfPreCopyIsFinal => Breaks(vec![&precopy::EOS_TEMPORARY]),
        Fault::ReadableAtEndOfPreCopy => Breaks(vec![&precopy::POLL_QUIET]),
        Fault::PrecopyInfoRefusedInP2p => Breaks(vec![&precopy::INFO_WORKS]),
        Fault::PrecopyInfoInStopCopy => Breaks(vec![&precopy::INFO_ELSEWHERE]),
        Fault::PrecopyInfoArgszUnchecked => Breaks(vec![&precopy::INFO_ARGSZ_SMALL]),
        Fault::PrecopyInfoLargeArgszRefused => Breaks(vec![&precopy::INFO_ARGSZ_LARGE]),
        Fault::PrecopyInfoPositiveReturn => Breaks(vec![&precopy::INFO_EFAULT]),
        Fault::PrecopyInfoEchoesFlags => Breaks(vec![&precopy::V2_FLAGS]),
        Fault::PrecopyInfoV2Refused => Breaks(vec![&precopy::V2_OPT_IN]),
        Fault::PrecopyInfoV2SurvivesReopen => Breaks(vec![&precopy::V2_ENDS]),
        Fault::ReinitWithoutOptIn => Breaks(vec![&precopy::REINIT_NEEDS_OPT_IN]),
        Fault::ReinitUnsaid => Breaks(vec![&precopy::REINIT_SAID]),
        Fault::ReinitKeepsDirty => Breaks(vec![&precopy::REINIT_RESTARTS]),
        Fault::InitialBytesZero => Breaks(vec![&precopy::INITIAL_AT_FIRST, &precopy::ZERO_IS_END]),
        Fault::InitialBytesGrow => Breaks(vec![&precopy::INITIAL_NEVER_GROWS]),
        Fault::InitialBytesNeverFall => Breaks(vec![&precopy::INITIAL_FALLS]),
        Fault::InitialBytesNeverReachZero => Breaks(vec![&precopy::INITIAL_REACHES_ZERO, &precopy::PROMISE]),
        Fault::InitialBytesFallUnread => Breaks(vec![&precopy::INITIAL_UNREAD]),
        Fault::DirtyBytesAtFirst => Breaks(vec![&precopy::DIRTY_AT_FIRST]),
        Fault::DirtyBytesGrowUnasked => Breaks(vec![&precopy::DIRTY_UNCHANGED]),
        Fault::DirtyBytesNeverGrow => Breaks(vec![&precopy::ZERO_IS_END, &precopy::CHANGE_STREAMED]),
        Fault::DirtyBytesNeverFall => Breaks(vec![&precopy::DIRTY_FALLS]),
        Fault::DirtyBytesWithoutHeaders => Breaks(vec![&precopy::EXACT]),
        Fault::PromisedDataIsMissing => Breaks(vec![&precopy::PROMISE]),
        Fault::ChangesWaitForStopCopy => Breaks(vec![&precopy::CHANGE_STREAMED]),
        Fault::UnreadableWithData => Breaks(vec![&precopy::POLL_READABLE]),
        Fault::EdgesLost => Breaks(vec![&precopy::POLL_EDGE]),
        Fault::OneWaiterWoken => Breaks(vec![&precopy::POLL_EVERYONE]),
        Fault::WakeupLost => Breaks(vec![&precopy::POLL_RACE]),
        Fault::StopCopyWakesNobody => Breaks(vec![&precopy::POLL_WAKES_ON_STOP_COPY]),
        Fault::PollerNotWoken => {
            Breaks(vec![&precopy::POLL_WAKES_ON_DATA, &precopy::POLL_WAKES_ON_STOP_COPY, &session::WAKES_POLLER])
        }
        Fault::NonblockingReadsZero => Breaks(vec![&precopy::NONBLOCK]),
        Fault::EarlyLeaveTruncates => Breaks(vec![&precopy::LEAVE]),
        Fault::PreCopyLeaksDescriptor => Breaks(vec![&precopy::CANCEL]),
        Fault::LostDescriptorStaysOpen => Breaks(vec![&session::LOST_LEAVES_NOTHING]),
        Fault::FullTableIgnored => Breaks(vec![&session::NONE_FREE]),
        Fault::SeekableFd | Fault::PositionedCalls => Breaks(vec![&session::NO_SEEK]),
        Fault::DuplicateDies => Breaks(vec![&session::DUPLICATE]),
        Fault::OtherProcessRefused => Breaks(vec![&session::OTHER_PROCESS]),
        Fault::ReaderNotWoken => Breaks(vec![&session::WAKES_READER, &reset::WAKES]),
        Fault::SessionEndWakesNobody | Fault::CloseWakesNobody => Breaks(vec![&session::WAKES_POLLER]),
        Fault::ResetWakesNobody => Breaks(vec![&reset::WAKES]),
        Fault::ResetDuringTransitionDooms => Breaks(vec![&reset::DURING_TRANSITION]),
        Fault::ReopenKeepsSession => Breaks(vec![&session::DEVICE_CLOSED]),
    }
}

/// Requirements that no fault proves, each with the reason.
static UNPROVEN: [(&Requirement, &str); 4] = [
    (&discover::NOT_MIGRATABLE, "faults are of devices with migration"),
    (&fsm::PATH, "only a kernel shows its path"),
    (&health::LOG, "only a kernel has a log; the keeper's own tests prove it"),
    (&health::TAINT, "only a kernel has a taint; the keeper's own tests prove it"),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Much of each run is waiting.
    arguments.test_threads.get_or_insert(16);
    let mut trials: Vec<Trial> = Fault::ALL.map(trial_of).into();
    trials.extend(Capabilities::ALL.map(trial_of_conforming));
    trials.push(Trial::test("every_other_requirement_is_proven", every_other_requirement_is_proven));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial_of(fault: Fault) -> Trial {
    Trial::test(fault.name(), move || match found(fault) {
        Found::Breaks(requirements) => is_found(fault, &requirements),
        Found::Later(chapter) => is_not_found_yet(fault, chapter),
        Found::Hangs => is_met_by(fault, Verdict::Hang, &asks_for_a_blocked_arc),
        Found::Crashes => is_met_by(fault, Verdict::Crash, &asks_for_resuming),
    })
}

fn is_found(fault: Fault, requirements: &[&Requirement]) -> Result<(), Failed> {
    let outcomes = outcomes_on(ModelSpec::faulty(fault));
    let broken = broken_by(&outcomes);
    let missed: Vec<&str> = requirements.iter().map(|r| r.id).filter(|id| !broken.contains(*id)).collect();
    require(missed.is_empty(), || format!("{missed:?} are not accused, but only {broken:?}"))
}

fn is_not_found_yet(fault: Fault, chapter: &str) -> Result<(), Failed> {
    let outcomes = outcomes_on(ModelSpec::faulty(fault));
    let broken = broken_by(&outcomes);
    require(broken.is_empty(), || {
        format!(
            "{broken:?} are accused, so it does not wait for a chapter ({chapter}) any more: name them in the table"
        )
    })
}

fn trial_of_conforming(set: Capabilities) -> Trial {
    Trial::test(format!("conforming_{set}"), move || {
        for (check, outcome) in outcomes_on(ModelSpec::conforming(set)) {
            let accuses_nobody = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip);
            require(accuses_nobody, || format!("{check}: {}: {}", outcome.verdict, outcome.message))?;
        }
        Ok(())
    })
}

fn every_other_requirement_is_proven() -> Result<(), Failed> {
    let proven = Fault::ALL.map(found).into_iter().flat_map(|found| match found {
        Found::Breaks(requirements) => requirements,
        _ => Vec::new(),
    });
    let proven: BTreeSet<&str> = proven.map(|requirement| requirement.id).collect();
    let unproven: BTreeSet<&str> = requirement::all().map(|r| r.id).filter(|id| !proven.contains(id)).collect();
    let listed: BTreeSet<&str> = UNPROVEN.iter().map(|(requirement, _)| requirement.id).collect();
    require(unproven == listed, || format!("no fault proves {unproven:?}, but UNPROVEN says {listed:?}"))
}

/// The verdicts of a run through executor and supervisor: this one for the checks that meet the fault, and for all
/// others the one that they have on a device that conforms.
fn is_met_by(fault: Fault, verdict: Verdict, meets: &dyn Fn(&str, &Outcome) -> bool) -> Result<(), Failed> {
    let conforming = outcomes_on(ModelSpec { fault: None, ..ModelSpec::faulty(fault) });
    let expected: BTreeMap<String, Verdict> = conforming
        .into_iter()
        .map(|(check, outcome)| {
            let expected = if meets(&check, &outcome) { verdict } else { outcome.verdict };
            (check, expected)
        })
        .collect();
    let (run, code) = run_through_the_program(ModelSpec::faulty(fault))?;
    for check in &run.checks {
        let (expected, came) = (expected[&check.name], check.outcome.verdict);
        require(came == expected, || format!("{}: {came} instead of {expected}", check.name))?;
    }
    require(run.checks.len() == expected.len(), || "checks are missing".to_owned())?;
    require(code == Some(Exit::Unfinished as i32), || format!("the exit code is {code:?}"))
}

/// What the journal of a whole run says, and the run's exit code.
fn run_through_the_program(spec: ModelSpec) -> Result<(Run, Option<i32>), Failed> {
    let folder = tempfile::tempdir()?;
    let device = format!("model:{spec}");
    let mut command = program::vfio_conform(folder.path());
    command.args(["run", &device, "--deadline", "3", "--out", "out"]).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status()?;
    Ok((Run::read(&folder.path().join("out").join(JOURNAL))?, status.code()))
}

fn asks_for_a_blocked_arc(check: &str, _: &Outcome) -> bool {
    check.starts_with("fsm::stop_copy_to_pre_copy")
}

/// Checks that ask with calls of their own, whose target or success the record of operations does not show.
const ASKING_OTHERWISE: [&str; 5] = [
    "concurrency::one_owner_of_resuming",
    "concurrency::resets_while_loading",
    "fsm::lost_answer_of_resuming",
    "session::none_free_resuming",
    "session::not_handed_over_resuming",
];

fn asks_for_resuming(check: &str, outcome: &Outcome) -> bool {
    let mut operations = outcome.evidence.operations.iter();
    let succeeds = |result: &Option<String>| result.as_ref().is_some_and(|result| result.starts_with("success"));
    operations.any(|operation| operation.what == "SET RESUMING" && succeeds(&operation.result))
        || ASKING_OTHERWISE.contains(&check)
}

/// Runs all checks in their order on one device, as an executor does.
fn outcomes_on(spec: ModelSpec) -> Vec<(String, Outcome)> {
    let mut bench = in_process::bench(spec);
    let mut run = |check: &Check| (check.name().to_owned(), executor::run(&mut bench, Some(check)).outcome);
    suites::all().iter().map(&mut run).collect()
}

fn broken_by(outcomes: &[(String, Outcome)]) -> BTreeSet<&str> {
    let broken = outcomes.iter().flat_map(|(_, outcome)| &outcome.broken);
    broken.map(|broken| broken.requirement.as_str()).collect()
}

fn require(kept: bool, complaint: impl FnOnce() -> String) -> Result<(), Failed> {
    if kept { Ok(()) } else { Err(complaint().into()) }
}
