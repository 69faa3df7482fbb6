//! Deliberate differences that the protocol permits, to prove that no check accuses them.

use super::fault::Fault;
use super::named::named;

named! {
    /// One permitted difference. `fixtures/variations/model.toml` has the reason for each, and the findings that it may have.
    Variation;

    // Streaming.
    /// A read returns at most 61 bytes.
    ShortReads = "short-reads",
    /// A write takes at most 61 bytes.
    ShortWrites = "short-writes",
    /// All device memory is one record of the stream.
    OneRecord = "one-record",
    /// PRE_COPY streams a header only; device memory follows in STOP_COPY.
    HeaderOnlyPreCopy = "header-only-pre-copy",
    /// Streams of the same state differ in a few bytes that have no meaning.
    StreamWithNonce = "stream-with-nonce",

    // Estimates.
    /// dirty_bytes is always 0, and changes are streamed in STOP_COPY.
    DirtyBytesZero = "dirty-bytes-zero",
    /// dirty_bytes is always 0, and changes are streamed in PRE_COPY.
    DirtyBytesZeroStreamed = "dirty-bytes-zero-streamed",
    /// dirty_bytes counts the space that a change needs, of which the stream uses a part.
    DirtyBytesNeeded = "dirty-bytes-needed",
    /// initial_bytes is rounded up to a multiple of 1 KiB.
    InitialBytesRounded = "initial-bytes-rounded",
    /// initial_bytes falls while nothing is read.
    InitialBytesFallUnread = "initial-bytes-fall-unread",
    /// PRECOPY_INFO returns estimates that are up to 20 ms old.
    EstimatesLate = "estimates-late",
    /// A REINIT whose answer could not be written is not repeated.
    ReinitConsumedByEfault = "reinit-consumed-by-efault",
    /// PRECOPY_INFO outside PRE_COPY fails with EPERM.
    InfoElsewhereEperm = "info-elsewhere-eperm",

    // Sessions that have ended.
    /// Calls on the data_fd of a session that has ended fail with EIO.
    EndedSessionEio = "ended-session-eio",
    /// Calls on the data_fd of a session that has ended fail with EBADFD.
    EndedSessionEbadfd = "ended-session-ebadfd",
    /// The data_fd is not close-on-exec.
    FdInherited = "fd-inherited",
    /// A read that failed with EFAULT has taken what it would have read out of the stream.
    ReadMovesOnAtEfault = "read-moves-on-at-efault",
    /// lseek on the data_fd succeeds.
    FdSeekable = "fd-seekable",

    // RESUMING.
    /// RESUMING -> STOP takes 50 ms.
    SlowLoad = "slow-load",
    /// A write near the limit of its type takes 64 MiB, and RESUMING -> STOP fails.
    HugeWriteShort = "huge-write-short",
    /// A write near the limit of its type fails and ends the load: RESUMING -> STOP succeeds with the state of before.
    HugeWriteEndsLoad = "huge-write-ends-load",
    /// A write of no bytes fails.
    EmptyWriteRefused = "empty-write-refused",

    // Work that the user requests in a quiet state.
    /// In STOP and STOP_COPY it takes effect at once.
    StoppedWorkTakesEffect = "stopped-work-takes-effect",
    /// After it, in STOP or STOP_COPY, only a reset leads to RUNNING.
    StoppedWorkNeedsReset = "stopped-work-needs-reset",
    /// Work that the user requests in a P2P state has no effect.
    P2pWorkIgnored = "p2p-work-ignored",

    // DMA logging.
    /// START takes a page size that is 0 or no power of two, and selects 4 KiB.
    LogAnyPageSize = "log-any-page-size",
    /// The log has pages of 64 KiB, whatever START asks for.
    LogCoarsePages = "log-coarse-pages",
    /// STOP without START fails.
    LogStopAloneRefused = "log-stop-alone-refused",
    /// After a REPORT that failed, REPORT fails until STOP and START.
    LogCorruptAfterError = "log-corrupt-after-error",

    // The machine around the device.
    /// Something else takes kernel memory while it is measured for the first time.
    OthersTakeMemory = "others-take-memory",
}

impl Variation {
    /// The fault that makes the same difference: one that breaks no must is a fault to the check that finds it, and permitted
    /// all the same.
    pub(super) const fn same_as(self) -> Option<Fault> {
        match self {
            Variation::StreamWithNonce => Some(Fault::StaleBytes),
            Variation::DirtyBytesZero | Variation::HeaderOnlyPreCopy => Some(Fault::ChangesWaitForStopCopy),
            Variation::DirtyBytesZeroStreamed => Some(Fault::DirtyBytesNeverGrow),
            Variation::InitialBytesFallUnread => Some(Fault::InitialBytesFallUnread),
            Variation::ReinitConsumedByEfault => Some(Fault::LostReinitForgotten),
            Variation::InfoElsewhereEperm => Some(Fault::PrecopyInfoElsewhereEperm),
            Variation::FdInherited => Some(Fault::FdWithoutCloexec),
            Variation::ReadMovesOnAtEfault => Some(Fault::BadBufferLosesData),
            Variation::FdSeekable => Some(Fault::SeekableFd),
            Variation::EmptyWriteRefused => Some(Fault::EmptyWriteRefused),
            Variation::LogAnyPageSize => Some(Fault::LogPageSizeUnchecked),
            Variation::LogStopAloneRefused => Some(Fault::LogStopAloneRefused),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_in_form_and_all_different() {
        for variation in Variation::ALL {
            let name = variation.name();
            assert!(name.bytes().all(|b| b == b'-' || b.is_ascii_lowercase() || b.is_ascii_digit()), "{name}");
            assert_eq!(Variation::from_name(name), Some(variation));
        }
    }
}
