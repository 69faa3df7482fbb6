//! DMA logging: which pages a device has written, said once, exactly and in the form that was asked for.

use super::Level::{Advice, Must};
use super::{Basis, Requirement};

const START: &str = "VFIO_DEVICE_FEATURE_DMA_LOGGING_START";
const STOP: &str = "VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP";
const REPORT: &str = "VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT";

/// There have to be ranges.
pub static START_NO_RANGES: Requirement = Requirement {
    id: "dma_logging.start.no_ranges",
    level: Must,
    statement: "START without ranges is refused",
    source: START,
    basis: Basis::Ruling,
    ruling: Some("The text does not say so; the VFIO core does, and a log of nothing would report nothing for ever."),
};

/// Ranges have to make sense.
pub static START_BAD_RANGES: Requirement = Requirement {
    id: "dma_logging.start.bad_ranges",
    level: Must,
    statement: "START with ranges that are not aligned to the page size, overlap, or run beyond the address space is refused",
    source: START,
    basis: Basis::Ruling,
    ruling: Some("As the VFIO core has it; the errno is left open."),
};

/// Page sizes are powers of two.
pub static START_PAGE_SIZE: Requirement = Requirement {
    id: "dma_logging.start.page_size",
    level: Advice,
    statement: "START fails with a page size that is 0 or no power of two",
    source: START,
    basis: Basis::Ruling,
    ruling: Some(
        "The text calls the page size a hint, so a driver may as well select one that it supports. What it selects then is \
         judged as after any START.",
    ),
};

/// There is a limit.
pub static START_TOO_MANY: Requirement = Requirement {
    id: "dma_logging.start.too_many",
    level: Must,
    statement: "START with more ranges than the kernel can take answers E2BIG",
    source: START,
    basis: Basis::Ruling,
    ruling: Some("The text lets users try; E2BIG is how the VFIO core tells them to give up."),
};

/// And up to there all is well.
pub static START_MANY: Requirement = Requirement {
    id: "dma_logging.start.a_page_of_ranges",
    level: Must,
    statement: "START takes as many ranges as fit into a page of memory (256 in 4 KiB), and logs in all of them",
    source: START,
    basis: Basis::Text,
    ruling: Some("The text guarantees the number; a driver whose device has fewer registers has to combine ranges."),
};

/// The page size comes back.
pub static START_SELECTS: Requirement = Requirement {
    id: "dma_logging.start.selects_page_size",
    level: Must,
    statement: "START returns the page size that the device has selected, which is a power of two",
    source: START,
    basis: Basis::Text,
    ruling: Some("The page size that is asked for is a hint, so the one that is selected may be any other."),
};

/// One log at a time.
pub static START_TWICE: Requirement = Requirement {
    id: "dma_logging.start.twice",
    level: Must,
    statement: "a second START without STOP is refused, and the log goes on",
    source: START,
    basis: Basis::Text,
    ruling: None,
};

/// STOP ends it.
pub static STOP_ENDS: Requirement = Requirement {
    id: "dma_logging.stop.ends",
    level: Must,
    statement: "after STOP, REPORT is refused, START works again, and the new log is empty",
    source: STOP,
    basis: Basis::Text,
    ruling: None,
};

/// Closing ends it.
pub static CLOSE_ENDS: Requirement = Requirement {
    id: "dma_logging.close.ends",
    level: Must,
    statement: "closing the device ends its log: opened again, REPORT is refused, START works, and the new log is empty",
    source: START,
    basis: Basis::Ruling,
    ruling: Some("The text is silent; another user, who knows nothing of the log, must not meet it."),
};

/// STOP alone.
pub static STOP_ALONE: Requirement = Requirement {
    id: "dma_logging.stop.alone",
    level: Advice,
    statement: "STOP without START answers success",
    source: STOP,
    basis: Basis::Ruling,
    ruling: Some("The text is silent; a VMM that cleans up after a failure likes to stop whatever there may be."),
};

/// REPORT needs a log.
pub static REPORT_WITHOUT_START: Requirement = Requirement {
    id: "dma_logging.report.without_start",
    level: Must,
    statement: "REPORT without START is refused",
    source: REPORT,
    basis: Basis::Text,
    ruling: None,
};

/// REPORT looks at what it is asked.
pub static REPORT_BAD: Requirement = Requirement {
    id: "dma_logging.report.bad_arguments",
    level: Must,
    statement: "REPORT with a page size that is 0 or no power of two, or with a range beyond the end of the address space, is \
                refused",
    source: REPORT,
    basis: Basis::Ruling,
    ruling: Some("The text asks this of START; the core of every kernel that has DMA logging asks it of REPORT, too."),
};

/// A failed REPORT is the end of one log, not of all.
pub static FAILED_REPORT_RECOVERS: Requirement = Requirement {
    id: "dma_logging.report.failure_recovers",
    level: Must,
    statement: "after a REPORT that failed, STOP succeeds and a new START gives a log that works",
    source: REPORT,
    basis: Basis::Text,
    ruling: Some(
        "The text has users take the log for corrupted after any error, and start it again. Nothing else is asked of the old \
         log.",
    ),
};

/// Bits are added.
pub static ONLY_SETS: Requirement = Requirement {
    id: "dma_logging.report.only_sets",
    level: Must,
    statement: "REPORT sets bits in the bitmap and clears none",
    source: REPORT,
    basis: Basis::Text,
    ruling: None,
};

/// Each page once.
pub static FORGETS: Requirement = Requirement {
    id: "dma_logging.report.forgets",
    level: Must,
    statement: "REPORT forgets what it has reported: without a new write the next one is empty",
    source: REPORT,
    basis: Basis::Text,
    ruling: None,
};

/// Nothing else is forgotten.
pub static SUB_RANGE: Requirement = Requirement {
    id: "dma_logging.report.sub_range",
    level: Must,
    statement: "REPORT of a part of the log tells of that part and forgets no other",
    source: REPORT,
    basis: Basis::Text,
    ruling: None,
};

/// Every page, and no other.
pub static EXACT: Requirement = Requirement {
    id: "dma_logging.report.exact",
    level: Must,
    statement: "REPORT tells of every page that was written, the first and the last of a range too, and of no other page \
                beyond the page size that START has answered",
    source: REPORT,
    basis: Basis::Text,
    ruling: None,
};

/// Where a page's bit is.
pub static BIT_OF_PAGE: Requirement = Requirement {
    id: "dma_logging.report.bit_of_page",
    level: Must,
    statement: "bit n of the bitmap stands for page n from the beginning of the range that is asked for",
    source: REPORT,
    basis: Basis::Ruling,
    ruling: Some(
        "The formula in the text takes the bit from the address itself, which would make neighbours collide; every \
         implementation counts pages from the range's beginning.",
    ),
};

/// Large bitmaps.
pub static LARGE_BITMAP: Requirement = Requirement {
    id: "dma_logging.report.large_bitmap",
    level: Must,
    statement: "a bitmap that takes more than a page of memory is filled in as a small one is, runs across its pages too",
    source: REPORT,
    basis: Basis::Text,
    ruling: None,
};

/// Bitmaps anywhere.
pub static ANY_ALIGNMENT: Requirement = Requirement {
    id: "dma_logging.report.any_alignment",
    level: Must,
    statement: "a bitmap may begin at any u64, may end within one, and nothing is written around it",
    source: REPORT,
    basis: Basis::Ruling,
    ruling: Some("The text calls the bitmap an array of u64s, and nothing but that is the kernel's to write."),
};

/// Pages of any size.
pub static ANY_PAGE_SIZE: Requirement = Requirement {
    id: "dma_logging.report.any_page_size",
    level: Must,
    statement: "REPORT works with any page size that is a power of two, from 4 KiB on, whatever START has answered",
    source: REPORT,
    basis: Basis::Text,
    ruling: Some("Smaller ones are refused by the VFIO core, since no IOMMU has them."),
};

/// Lost bits are told.
pub static UNWRITABLE: Requirement = Requirement {
    id: "dma_logging.report.unwritable",
    level: Must,
    statement: "REPORT of written pages into memory that cannot be written is an error",
    source: REPORT,
    basis: Basis::Ruling,
    ruling: Some("A success would be a page lost in silence: the log has forgotten it."),
};

/// Reads do not count.
pub static READS: Requirement = Requirement {
    id: "dma_logging.reads_unlogged",
    level: Must,
    statement: "what a device reads by DMA is not reported",
    source: START,
    basis: Basis::Text,
    ruling: None,
};

/// Whatever the state.
pub static ANY_STATE: Requirement = Requirement {
    id: "dma_logging.any_state",
    level: Must,
    statement: "the log works in every state, and transitions neither end it nor make it forget",
    source: START,
    basis: Basis::Text,
    ruling: None,
};

/// Across reset.
pub static ACROSS_RESET: Requirement = Requirement {
    id: "dma_logging.across_reset",
    level: Advice,
    statement: "a reset neither ends the log nor makes it forget",
    source: START,
    basis: Basis::Ruling,
    ruling: Some("The text is silent; what was written before the reset is still in guest memory and has to be sent."),
};

pub(super) static ALL: &[&Requirement] = &[
    &START_NO_RANGES,
    &START_BAD_RANGES,
    &START_PAGE_SIZE,
    &START_TOO_MANY,
    &START_MANY,
    &START_SELECTS,
    &START_TWICE,
    &STOP_ENDS,
    &CLOSE_ENDS,
    &STOP_ALONE,
    &REPORT_WITHOUT_START,
    &REPORT_BAD,
    &FAILED_REPORT_RECOVERS,
    &ONLY_SETS,
    &FORGETS,
    &SUB_RANGE,
    &EXACT,
    &BIT_OF_PAGE,
    &LARGE_BITMAP,
    &ANY_ALIGNMENT,
    &ANY_PAGE_SIZE,
    &UNWRITABLE,
    &READS,
    &ANY_STATE,
    &ACROSS_RESET,
];
