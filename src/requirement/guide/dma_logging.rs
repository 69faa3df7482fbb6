use super::{Guide, Need};
use crate::requirement::dma_logging::*;
use crate::uapi::feature::Feature;

const START: &[Need] = &[Need::Feature(Feature::DmaLoggingStart)];
const REPORT: &[Need] =
    &[Need::Feature(Feature::DmaLoggingReport), Need::Stimulus("dma_to_memory"), Need::Stimulus("finish_dma")];
const READS_TOO: &[Need] =
    &[Need::Feature(Feature::DmaLoggingReport), Need::Stimulus("dma_from_memory"), Need::Stimulus("finish_dma")];

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &START_NO_RANGES,
        "A VMM that made a mistake learns of it before it relies on a log of nothing.",
        "A driver that is not behind the VFIO core's check allocates tables of no entries.",
    )
    .needing(START),
    Guide::new(
        &START_BAD_RANGES,
        "Ranges come from guest memory layouts; a bad one must not become a log with holes.",
        "The end of a range is computed with an overflow, or a sub-range is cut down to whole pages in silence.",
    )
    .needing(START),
    Guide::new(
        &START_PAGE_SIZE,
        "Every later computation divides by the page size or shifts by its logarithm.",
        "A size of 0 reaches a logarithm or a division.",
    )
    .needing(START),
    Guide::new(
        &START_TOO_MANY,
        "The VMM combines ranges and tries again, if it is told that there were too many.",
        "The count is multiplied before it is checked, and the product overflows.",
    )
    .needing(START),
    Guide::new(
        &START_MANY,
        "A guest with memory that is hot-plugged in many pieces has as many ranges.",
        "The device has a few range registers, and the driver refuses instead of combining.",
    )
    .needing(REPORT),
    Guide::new(
        &START_SELECTS,
        "The VMM computes from it how much it has to send again.",
        "The page size that was asked for comes back untouched.",
    )
    .needing(START),
    Guide::new(
        &START_TWICE,
        "A second owner would take away pages that the first one has not seen.",
        "The tables are replaced, and the old ones leak.",
    )
    .needing(REPORT),
    Guide::new(
        &STOP_ENDS,
        "A migration that was given up is tried again, and pays for every page that is reported without need.",
        "The tracker is destroyed in the firmware and not in the driver, or the other way round.",
    )
    .needing(REPORT),
    Guide::new(
        &CLOSE_ENDS,
        "A VMM that dies in the middle of a migration leaves a log behind, and the next guest's VMM cannot start its own.",
        "The log ends with STOP and with nothing else, or closing frees it and leaves the mark that there is one.",
    )
    .needing(REPORT),
    Guide::new(
        &STOP_ALONE,
        "Cleaning up is simple if it can be done without knowing how far one came.",
        "The driver asks the firmware to destroy what was never created.",
    )
    .needing(START),
    Guide::new(
        &REPORT_WITHOUT_START,
        "An empty report would be taken for a device that writes nothing.",
        "The driver finds no tracker, sets no bits, and says that all is well.",
    )
    .needing(START),
    Guide::new(
        &REPORT_BAD,
        "A bitmap that is read with another page size than it was written with sends the wrong pages.",
        "The page size goes into a shift without a look, and the log is read and cleared for nothing.",
    )
    .needing(REPORT),
    Guide::new(
        &FAILED_REPORT_RECOVERS,
        "A VMM takes all memory for dirty after an error and starts the log again. If it cannot, the migration fails.",
        "The error path leaves the log locked or half stopped, so that the next START finds one that is still on.",
    )
    .needing(REPORT),
    Guide::new(
        &ONLY_SETS,
        "One bitmap collects what several devices have written.",
        "The driver builds words of its own and stores them instead of adding bits.",
    )
    .needing(REPORT),
    Guide::new(
        &FORGETS,
        "Pre-copy never converges if pages are reported for ever.",
        "The log is read without the flag that clears it.",
    )
    .needing(REPORT),
    Guide::new(
        &SUB_RANGE,
        "VMMs ask for guest memory section by section, and count on what they have not asked for yet.",
        "The offset into the log is taken from 0 and not from the log's beginning (pds), or all of it is cleared.",
    )
    .needing(REPORT),
    Guide::new(
        &EXACT,
        "A page that is missed is guest memory that is wrong on the destination.",
        "The last byte of a range is taken for the first one behind it (mlx5).",
    )
    .needing(REPORT),
    Guide::new(
        &BIT_OF_PAGE,
        "The VMM sends the page that the bit stands for.",
        "Somebody implements the formula of the header.",
    )
    .needing(REPORT),
    Guide::new(
        &LARGE_BITMAP,
        "128 MiB of guest memory fill a page of bitmap; every real guest has more.",
        "The mapping of the user's bitmap advances by the wrong number of bits.",
    )
    .needing(REPORT),
    Guide::new(
        &ANY_ALIGNMENT,
        "VMMs ask for parts of a larger bitmap, which begin wherever they begin.",
        "The offset within the first page, or the tail within the last word, is forgotten (iova_bitmap had both).",
    )
    .needing(REPORT),
    Guide::new(
        &ANY_PAGE_SIZE,
        "Memory in huge pages is sent in huge pages.",
        "A shift in 32 bits loses the page size from 2 GiB on.",
    )
    .needing(REPORT),
    Guide::new(
        &UNWRITABLE,
        "Whoever is told can send everything; whoever is not loses the page.",
        "The page of the bitmap cannot be pinned, and the void function that sets bits has nobody to tell: the iova_bitmap of \
         Linux 7.3 loses the page like that, whatever the driver.",
    )
    .needing(REPORT),
    Guide::new(
        &READS,
        "Pages that are only read would be sent again and again.",
        "The log is taken from a table of translations that does not know the direction.",
    )
    .needing(READS_TOO),
    Guide::new(
        &ANY_STATE,
        "The last report is made in STOP_COPY, when nothing is written any more, and it has to be complete.",
        "The firmware answers no queries while it is suspended.",
    )
    .needing(REPORT),
    Guide::new(
        &ACROSS_RESET,
        "A guest may reset its device in the middle of a migration.",
        "The reset takes the tracker with it, and with it what it knew.",
    )
    .needing(REPORT),
];
