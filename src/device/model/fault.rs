//! Deliberate defects, to prove that checks can fail.

use super::named::named;
use crate::uapi::state::Capabilities;

named! {
    /// One defect. The model keeps the protocol in everything that the defect does not touch.
    Fault;

    // What can be discovered.
    /// GET MIGRATION has a flag that no uAPI defines.
    UndefinedCapabilityFlags = "undefined-capability-flags",
    /// An `argsz` below the minimum is not refused.
    ArgszUnchecked = "argsz-unchecked",
    /// An `argsz` above the minimum is refused.
    LargeArgszRefused = "large-argsz-refused",
    /// A SET of the state whose header is refused happens all the same.
    RefusedCallActs = "refused-call-acts",
    /// GET MIG_DATA_SIZE returns the bytes that it wrote instead of 0.
    DataSizePositiveReturn = "data-size-positive-return",
    /// Unknown bits in the flags are not refused.
    UnknownFlagsAccepted = "unknown-flags-accepted",
    /// SET of a feature that can only be got, and GET of one that can only be set, answer success.
    WrongDirectionAccepted = "wrong-direction-accepted",
    /// GET together with SET, without PROBE, is not refused; it does what GET does.
    GetAndSetAccepted = "get-and-set-accepted",
    /// A feature number that is none answers success.
    UnknownFeatureAccepted = "unknown-feature-accepted",
    /// A device that cannot migrate answers EINVAL to MIG_DEVICE_STATE.
    AbsentIsEinval = "absent-is-einval",
    /// PROBE is refused without the data that a use needs.
    ProbeNeedsData = "probe-needs-data",
    /// PROBE finds no MIG_DATA_SIZE, which GET answers.
    ProbeLies = "probe-lies",
    /// PROBE SET of MIG_DEVICE_STATE does what SET does.
    ProbeActs = "probe-acts",
    /// Memory that cannot be read or written goes unnoticed.
    EfaultIgnored = "efault-ignored",
    /// MIG_DATA_SIZE is refused while no session goes on.
    DataSizeNeedsSession = "data-size-needs-session",
    /// MIG_DATA_SIZE answers the largest number there is.
    DataSizeAbsurd = "data-size-absurd",
    /// MIG_PRECOPY_INFOv2 can be set on a device without PRE_COPY.
    PrecopyInfoV2WithoutPreCopy = "precopy-info-v2-without-pre-copy",

    // The state machine.
    /// SET ERROR succeeds and leads there.
    ErrorIsATarget = "error-is-a-target",
    /// SET of a state that is not advertised succeeds and leads there.
    UnadvertisedAccepted = "unadvertised-accepted",
    /// SET of a number that is no state answers success and does nothing.
    OutOfRangeAccepted = "out-of-range-accepted",
    /// STOP_COPY -> PRE_COPY and STOP_COPY -> PRE_COPY_P2P work.
    BlockedArcAllowed = "blocked-arc-allowed",
    /// SET for STOP_COPY -> PRE_COPY and STOP_COPY -> PRE_COPY_P2P never returns.
    BlockedArcHangs = "blocked-arc-hangs",
    /// A combination transition ends one arc early and answers success.
    ArcStopsShort = "arc-stops-short",
    /// SET RUNNING answers success and does nothing.
    StateUnchangedBySuccess = "state-unchanged-by-success",
    /// GET of the state in STOP moves the device to RUNNING.
    GetChangesState = "get-changes-state",
    /// The fourth GET of the state in a row ends the session.
    GetEndsSession = "get-ends-session",
    /// In PRE_COPY the device is found in RUNNING after a few looks at it.
    StateDrifts = "state-drifts",
    /// A SET that is refused moves the device to ERROR.
    RefusalMovesToError = "refusal-moves-to-error",
    /// A transition out of PRE_COPY that fails leads to RUNNING.
    FailureCancelsPreCopy = "failure-cancels-pre-copy",
    /// From ERROR, SET STOP works.
    ErrorLeavesBySet = "error-leaves-by-set",
    /// The device changes by itself in states in which it is stopped.
    WorksWhileStopped = "works-while-stopped",
    /// A successful SET of the state returns 1.
    PositiveReturn = "positive-return",
    /// SET RESUMING kills the process.
    Crash = "crash",

    // Sessions.
    /// GET of the state answers a data_fd.
    GetReturnsFd = "get-returns-fd",
    /// The arc into PRE_COPY answers no data_fd.
    NoFdOnPreCopy = "no-fd-on-pre-copy",
    /// The arc into RESUMING answers no data_fd.
    NoFdOnResuming = "no-fd-on-resuming",
    /// A move inside the saving group answers another data_fd.
    FdInsideSavingGroup = "fd-inside-saving-group",
    /// SET of the state that the device is in answers a data_fd.
    FdOnSameState = "fd-on-same-state",
    /// A data_fd goes away only when it is closed, and not when another program is executed.
    FdWithoutCloexec = "fd-without-cloexec",
    /// The data_fd of a session that ended goes on to work.
    OldFdSurvives = "old-fd-survives",
    /// A read on the data_fd of a session that ended answers 0 instead of an error.
    OldFdAnswersEof = "old-fd-answers-eof",
    /// Moving inside the saving group ends the session.
    SessionDiesInsideSavingGroup = "session-dies-inside-saving-group",
    /// SET of the state that the device is in ends the session.
    SameStateEndsSession = "same-state-ends-session",
    /// A SET that is refused ends the session.
    RefusalEndsSession = "refusal-ends-session",
    /// A new session is dead from the beginning if the data_fd of an earlier one is still open.
    NewSessionDiesOfOldFd = "new-session-dies-of-old-fd",
    /// Once a data_fd was closed before its session had ended, the device fails on the next arc.
    EarlyCloseFails = "early-close-fails",
    /// A write on a data_fd of the saving group answers success.
    SavingFdWritable = "saving-fd-writable",
    /// A read on the data_fd of RESUMING answers 0.
    ResumingFdReadable = "resuming-fd-readable",
    /// A data_fd that could not be handed over stays in the table, where nobody knows of it.
    LostDescriptorStaysOpen = "lost-descriptor-stays-open",
    /// A session whose data_fd finds no place in the table begins with success all the same, and no data_fd.
    FullTableIgnored = "full-table-ignored",
    /// A read or write whose buffer cannot be reached answers success.
    BadBufferIgnored = "bad-buffer-ignored",
    /// A read whose buffer cannot be written takes what it would have read out of the stream.
    BadBufferLosesData = "bad-buffer-loses-data",
    /// The file position of a data_fd can be moved.
    SeekableFd = "seekable-fd",
    /// pread and pwrite on a data_fd answer success.
    PositionedCalls = "positioned-calls",
    /// Closing one of two descriptors of a session ends the session.
    DuplicateDies = "duplicate-dies",
    /// A data_fd does not work in another process.
    OtherProcessRefused = "other-process-refused",
    /// A read that is going on when its session ends comes back much later than anybody waits for it.
    ReaderNotWoken = "reader-not-woken",
    /// A poll or an epoll that has to wait sleeps through its timeout, whatever happens.
    PollerNotWoken = "poller-not-woken",
    /// A transition that ends a session wakes nobody.
    SessionEndWakesNobody = "session-end-wakes-nobody",
    /// Closing the device wakes nobody who waits for its session.
    CloseWakesNobody = "close-wakes-nobody",
    /// A reset wakes nobody who waits for a session.
    ResetWakesNobody = "reset-wakes-nobody",

    // Streaming in PRE_COPY.
    /// The temporary end of the stream reads as 0.
    EndOfPreCopyReadsZero = "end-of-pre-copy-reads-zero",
    /// After the temporary end nothing more is streamed until STOP_COPY.
    EndOfPreCopyIsFinal = "end-of-pre-copy-is-final",
    /// poll says readable at the temporary end.
    ReadableAtEndOfPreCopy = "readable-at-end-of-pre-copy",
    /// A data_fd has no poll: epoll refuses it with EPERM, and poll always says readable and writable.
    NoPoll = "no-poll",
    /// PRE_COPY -> PRE_COPY_P2P makes all of the device initial data again.
    P2pStartsAnew = "p2p-starts-anew",
    /// PRE_COPY_P2P -> PRE_COPY drops what was not read.
    WayBackDropsUnread = "way-back-drops-unread",
    /// What changes in PRE_COPY_P2P wakes nobody.
    P2pWakesNobody = "p2p-wakes-nobody",
    /// PRECOPY_INFO is refused in PRE_COPY_P2P.
    PrecopyInfoRefusedInP2p = "precopy-info-refused-in-p2p",
    /// PRECOPY_INFO works in STOP_COPY too.
    PrecopyInfoInStopCopy = "precopy-info-in-stop-copy",
    /// PRECOPY_INFO outside PRE_COPY fails with EPERM.
    PrecopyInfoElsewhereEperm = "precopy-info-elsewhere-eperm",
    /// PRECOPY_INFO takes any `argsz`.
    PrecopyInfoArgszUnchecked = "precopy-info-argsz-unchecked",
    /// PRECOPY_INFO returns the bytes that it could not write instead of EFAULT.
    PrecopyInfoPositiveReturn = "precopy-info-positive-return",
    /// After the opt-in to v2 the flags of PRECOPY_INFO come back as they went in.
    PrecopyInfoEchoesFlags = "precopy-info-echoes-flags",
    /// The opt-in to v2 outlives the closing of the device.
    PrecopyInfoV2SurvivesReopen = "precopy-info-v2-survives-reopen",
    /// An opt-in to v2 whose header is refused counts all the same.
    RefusedOptInCounts = "refused-opt-in-counts",
    /// initial_bytes is always 0.
    InitialBytesZero = "initial-bytes-zero",
    /// initial_bytes grows when the device changes.
    InitialBytesGrow = "initial-bytes-grow",
    /// initial_bytes stays what it was at first.
    InitialBytesNeverFall = "initial-bytes-never-fall",
    /// dirty_bytes is not 0 before anything was dirtied.
    DirtyBytesAtFirst = "dirty-bytes-at-first",
    /// dirty_bytes is always 0.
    DirtyBytesNeverGrow = "dirty-bytes-never-grow",
    /// dirty_bytes counts the pages and not what is streamed along with them.
    DirtyBytesWithoutHeaders = "dirty-bytes-without-headers",
    /// Where nothing is left to read, dirty_bytes promises a page.
    PromisedDataIsMissing = "promised-data-is-missing",
    /// initial_bytes stays above 0 when all initial data was read.
    InitialBytesNeverReachZero = "initial-bytes-never-reach-zero",
    /// initial_bytes falls each time that it is asked for.
    InitialBytesFallUnread = "initial-bytes-fall-unread",
    /// After the temporary end dirty_bytes grows each time that it is asked for.
    DirtyBytesGrowUnasked = "dirty-bytes-grow-unasked",
    /// dirty_bytes counts what was read already, too.
    DirtyBytesNeverFall = "dirty-bytes-never-fall",
    /// What changes in PRE_COPY is neither announced nor streamed before STOP_COPY.
    ChangesWaitForStopCopy = "changes-wait-for-stop-copy",
    /// poll says nothing while there is data.
    UnreadableWithData = "unreadable-with-data",
    /// An edge-triggered epoll set says nothing of what happens after it was made.
    EdgesLost = "edges-lost",
    /// Of several that wait, one is woken.
    OneWaiterWoken = "one-waiter-woken",
    /// What happens between looking for data and sleeping wakes nobody.
    WakeupLost = "wakeup-lost",
    /// Entering STOP_COPY wakes nobody.
    StopCopyWakesNobody = "stop-copy-wakes-nobody",
    /// With O_NONBLOCK the temporary end reads as 0.
    NonblockingReadsZero = "nonblocking-reads-zero",
    /// With O_NONBLOCK the temporary end ends the session.
    NonblockingEndsSession = "nonblocking-ends-session",
    /// PRECOPY_INFO refuses an `argsz` above the minimum.
    PrecopyInfoLargeArgszRefused = "precopy-info-large-argsz-refused",
    /// MIG_PRECOPY_INFOv2 cannot be set.
    PrecopyInfoV2Refused = "precopy-info-v2-refused",
    /// New initial data is announced to users who have not opted in to v2.
    ReinitWithoutOptIn = "reinit-without-opt-in",
    /// New initial data is there, and REINIT is not said.
    ReinitUnsaid = "reinit-unsaid",
    /// REINIT counts as said though the answer that said it could not be written.
    LostReinitForgotten = "lost-reinit-forgotten",
    /// dirty_bytes goes on where it was when there is new initial data.
    ReinitKeepsDirty = "reinit-keeps-dirty",
    /// After REINIT initial_bytes stays above 0 when all initial data was read.
    ReinitNeverReachesZero = "reinit-never-reaches-zero",
    /// After REINIT the device is streamed as it is after a reset.
    ReinitStreamsOther = "reinit-streams-other",
    /// Leaving PRE_COPY for STOP_COPY drops what was not read.
    EarlyLeaveTruncates = "early-leave-truncates",
    /// Each session that begins in PRE_COPY leaves a descriptor of which nobody knows.
    PreCopyLeaksDescriptor = "pre-copy-leaks-descriptor",
    /// A session that goes from PRE_COPY to RUNNING keeps its slot until the device is stopped or reset, and the slots are
    /// few.
    CancelledSessionKeepsSlot = "cancelled-session-keeps-slot",

    // Streaming in STOP_COPY.
    /// The permanent end of the stream reads as ENOMSG.
    EndOfStopCopyIsEnomsg = "end-of-stop-copy-is-enomsg",
    /// The permanent end of the stream can be read once; after that a read is refused.
    EndOfStopCopyIsOnce = "end-of-stop-copy-is-once",
    /// poll says nothing at the permanent end.
    UnreadableAtEndOfStopCopy = "unreadable-at-end-of-stop-copy",
    /// The last page is always streamed as zeroes.
    LastPageLost = "last-page-lost",
    /// One of the pages that are dirty on the arc into STOP_COPY is not streamed again.
    DirtyPageLost = "dirty-page-lost",
    /// Every other small read does not advance in the stream.
    SmallReadsRepeat = "small-reads-repeat",
    /// A part of the stream that has no meaning differs from one session to the next.
    StaleBytes = "stale-bytes",
    /// A read of no bytes takes a byte out of the stream.
    EmptyReadTakesByte = "empty-read-takes-byte",
    /// A read of no bytes ends the session.
    EmptyReadEndsSession = "empty-read-ends-session",
    /// A data_fd is neither read nor written by a vector of buffers.
    VectorsRefused = "vectors-refused",
    /// A session that begins in STOP_COPY goes on where the last one was left.
    NextSessionGoesOn = "next-session-goes-on",
    /// MIG_DATA_SIZE answers ten times what there is.
    DataSizeTenfold = "data-size-tenfold",

    // Restoring.
    /// A write that does not end where a part of the stream ends is refused.
    SplitWritesRefused = "split-writes-refused",
    /// A stream of no bytes is taken for a good one.
    EmptyStreamAccepted = "empty-stream-accepted",
    /// A stream that lacks its end is taken for a good one.
    TruncatedStreamAccepted = "truncated-stream-accepted",
    /// Data behind the end of the stream is ignored.
    TrailingDataAccepted = "trailing-data-accepted",
    /// After a write that failed, RESUMING -> STOP can succeed.
    FailedWriteForgotten = "failed-write-forgotten",
    /// The registers are not restored.
    RegistersNotRestored = "registers-not-restored",
    /// Pages that are in the stream as they are after a reset are not restored.
    PristinePagesNotRestored = "pristine-pages-not-restored",
    /// A write of no bytes is refused.
    EmptyWriteRefused = "empty-write-refused",
    /// The magic and the version of a stream are not looked at.
    ForeignStreamAccepted = "foreign-stream-accepted",
    /// A RESUMING -> STOP that is refused leads to STOP all the same.
    RefusedLoadLandsInStop = "refused-load-lands-in-stop",
    /// Once there was a wrong byte in a stream, a reset leads to ERROR.
    CorruptStreamWedges = "corrupt-stream-wedges",
    /// Once there was a wrong byte in the last quarter of a stream, a reset leads to ERROR.
    LateFlipWedges = "late-flip-wedges",
    /// What was written before a reset comes before what is written after it.
    HalfLoadSurvivesReset = "half-load-survives-reset",
    /// What was written before the device was closed comes before what is written after it was opened again.
    HalfLoadSurvivesReopen = "half-load-survives-reopen",
    /// Once two threads have written to one session, a reset leads to ERROR.
    SecondWriterWedges = "second-writer-wedges",
    /// A write that is longer than any stream is taken for a whole one.
    HugeWriteTaken = "huge-write-taken",

    // Quiet states.
    /// DMA goes on in states in which the device is stopped.
    DmaWhileStopped = "dma-while-stopped",
    /// The arcs from PRE_COPY to PRE_COPY_P2P and on to STOP_COPY leave DMA as it is.
    DmaWhileSaving = "dma-while-saving",
    /// A device runs in STOP once it was loaded.
    LoadStartsDevice = "load-starts-device",
    /// What was in flight when a stream was saved is forgotten when the device that has loaded it is started.
    LoadDropsWork = "load-drops-work",
    /// DMA goes on in RUNNING_P2P if that is entered from STOP.
    DmaInP2pAfterStop = "dma-in-p2p-after-stop",
    /// DMA goes on in RUNNING_P2P and PRE_COPY_P2P.
    DmaInP2p = "dma-in-p2p",
    /// Interrupts come in states in which the device is stopped.
    InterruptsWhileStopped = "interrupts-while-stopped",
    /// An arc into a quiet state returns while a transfer moves, which goes on.
    MovingDmaNotAwaited = "moving-dma-not-awaited",
    /// A transfer that has not begun to move is dropped on the arc into a quiet state.
    PendingDmaDropped = "pending-dma-dropped",
    /// An interrupt that has not come yet is dropped on the arc into STOP.
    PendingInterruptDropped = "pending-interrupt-dropped",
    /// In STOP and STOP_COPY interrupts cannot be set up.
    StoppedDeviceDeaf = "stopped-device-deaf",
    /// A device that is touched in STOP or STOP_COPY cannot be brought to another state, not by reset either.
    TouchedWhileStoppedWedges = "touched-while-stopped-wedges",
    /// In PRE_COPY there is neither DMA nor an interrupt, and no work.
    PreCopyIdles = "pre-copy-idles",
    /// In PRE_COPY there is no DMA if it was entered from PRE_COPY_P2P.
    PreCopyIdlesAfterP2p = "pre-copy-idles-after-p2p",

    // The log of pages written by DMA.
    /// START and REPORT do what they can, whatever their header says.
    LogHeaderUnchecked = "log-header-unchecked",
    /// A START whose header is refused begins a log all the same.
    LogRefusedStartActs = "log-refused-start-acts",
    /// A STOP whose header is refused ends the log all the same.
    LogRefusedStopActs = "log-refused-stop-acts",
    /// A START that is refused for what it asks begins a log all the same.
    LogBadStartActs = "log-bad-start-acts",
    /// REPORT in pages of a size that is none answers success.
    LogReportUnchecked = "log-report-unchecked",
    /// After a REPORT that failed no log can be started until the device is closed.
    LogFailedReportSticks = "log-failed-report-sticks",
    /// A REPORT in smaller pages than START asked for is empty.
    LogFinerReportEmpty = "log-finer-report-empty",
    /// What is written in PRE_COPY is not logged.
    LogPausesInPreCopy = "log-pauses-in-pre-copy",
    /// What is written while a quiet state is entered is not logged.
    LogMissesDrain = "log-misses-drain",
    /// A log goes on when the device is closed.
    LogSurvivesClose = "log-survives-close",
    /// A log of no ranges can be started.
    LogWithoutRanges = "log-without-ranges",
    /// Ranges that are misaligned, overlap or run over the end of the address space are taken.
    LogRangesUnchecked = "log-ranges-unchecked",
    /// A page size that is no power of two is taken.
    LogPageSizeUnchecked = "log-page-size-unchecked",
    /// More ranges than there can be are taken.
    LogTooManyRangesAccepted = "log-too-many-ranges-accepted",
    /// Fewer ranges than fit into a page of memory are refused as too many.
    LogFewRanges = "log-few-ranges",
    /// START answers 0 for the page size that was selected.
    LogPageSizeNotAnswered = "log-page-size-not-answered",
    /// A second START is taken.
    LogStartsTwice = "log-starts-twice",
    /// STOP answers success and does nothing.
    LogStopIgnored = "log-stop-ignored",
    /// STOP without START is refused.
    LogStopAloneRefused = "log-stop-alone-refused",
    /// A new log begins with what the last one had not reported.
    LogSurvivesStop = "log-survives-stop",
    /// REPORT without START answers success.
    LogReportWithoutStart = "log-report-without-start",
    /// REPORT clears the bitmap before it sets bits.
    LogClearsBits = "log-clears-bits",
    /// REPORT forgets nothing.
    LogForgetsNothing = "log-forgets-nothing",
    /// REPORT of a part forgets all of the log.
    LogForgetsAll = "log-forgets-all",
    /// The first page of a range is never logged.
    LogFirstPageLost = "log-first-page-lost",
    /// The last page of a range is never logged.
    LogLastPageLost = "log-last-page-lost",
    /// The page behind one that was written is reported too.
    LogNeighbourReported = "log-neighbour-reported",
    /// Bits are counted from I/O address 0 instead of from the beginning of the range that is asked for.
    LogBitsFromZero = "log-bits-from-zero",
    /// Bits beyond the first page of the bitmap are lost.
    LogOnePageOfBitmap = "log-one-page-of-bitmap",
    /// Bits are lost if the bitmap is not aligned to a page.
    LogUnalignedBitmapLost = "log-unaligned-bitmap-lost",
    /// The bits of a last word that is not full are lost.
    LogTailLost = "log-tail-lost",
    /// Reports in large pages are empty.
    LogLargePagesLost = "log-large-pages-lost",
    /// A bitmap that cannot be written goes unnoticed.
    LogUnwritableIgnored = "log-unwritable-ignored",
    /// Reads by DMA are logged too.
    LogReadsLogged = "log-reads-logged",
    /// REPORT works in RUNNING only.
    LogOnlyInRunning = "log-only-in-running",
    /// A reset ends the log.
    LogEndsWithReset = "log-ends-with-reset",

    // Reset and reopening.
    /// A reset leaves the state as it was.
    ResetKeepsState = "reset-keeps-state",
    /// A reset does not end the session.
    ResetKeepsSession = "reset-keeps-session",
    /// A reset does not lead out of ERROR.
    ResetKeepsError = "reset-keeps-error",
    /// The device does not say that it can be reset.
    ResetNotAdvertised = "reset-not-advertised",
    /// A reset of a device that was just reset is refused.
    SecondResetRefused = "second-reset-refused",
    /// After a reset in STOP the next arc fails.
    ResetInStopDooms = "reset-in-stop-dooms",
    /// After a reset that came while a transition went on, no arc works any more.
    ResetDuringTransitionDooms = "reset-during-transition-dooms",
    /// Closing and opening leaves the state as it was.
    ReopenKeepsState = "reopen-keeps-state",
    /// Closing and opening does not end the session.
    ReopenKeepsSession = "reopen-keeps-session",

    // Several threads, and wear.
    /// Once two threads have asked for states, a reset leads to ERROR.
    SecondThreadWedges = "second-thread-wedges",
    /// Once a data_fd was closed while somebody waited for it, a reset leads to ERROR.
    CloseUnderCallWedges = "close-under-call-wedges",
    /// GET answers a number that is no state if another thread asked for the state last.
    GetSeesNoState = "get-sees-no-state",
    /// SET of the state that the device is in answers a data_fd if another thread has brought it there.
    SecondOwner = "second-owner",
    /// A data_fd that is closed after its session has ended keeps its descriptor.
    DescriptorsLeak = "descriptors-leak",
    /// A session keeps its memory.
    MemoryLeaks = "memory-leaks",
    /// A session keeps a small object of its own.
    SmallObjectsLeak = "small-objects-leak",
    /// A device that is opened keeps a small object when it is closed.
    OpeningLeaks = "opening-leaks",
    /// A session that goes on when the device is closed keeps a reference to the driver.
    ModuleReferencesLeak = "module-references-leak",
    /// A session that goes on when the device is reset keeps a reference to the driver.
    ResetLeaksReferences = "reset-leaks-references",
    /// A driver that gives the device up leaves memory behind.
    RebindLeaksMemory = "rebind-leaks-memory",
    /// A driver that takes the device again leaves it in STOP.
    RebindStops = "rebind-stops",

    // Outside checks, where a process opens or closes the device.
    /// Opening the device kills the process.
    OpenCrashes = "open-crashes",
    /// Opening the device never returns.
    OpenHangs = "open-hangs",
    /// Closing the device kills the process.
    CloseCrashes = "close-crashes",
}

impl Fault {
    /// A capability set on which the fault can be seen; `None` if that is a device that cannot migrate.
    pub const fn seen_with(self) -> Option<Capabilities> {
        match self {
            Fault::AbsentIsEinval => None,
            // Nothing is left out of the full set.
            Fault::UnadvertisedAccepted | Fault::PrecopyInfoV2WithoutPreCopy => {
                Some(Capabilities { p2p: false, pre_copy: false })
            }
            _ => Some(Capabilities::FULL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_in_form_and_all_different() {
        for fault in Fault::ALL {
            let name = fault.name();
            assert!(name.bytes().all(|b| b == b'-' || b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
            assert_eq!(Fault::from_name(name), Some(fault));
        }
    }
}
