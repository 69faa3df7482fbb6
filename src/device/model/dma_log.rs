//! The model's log of pages written by DMA, with what the VFIO core does around it.

use std::collections::BTreeSet;

use super::fault::Fault;
use super::spec::ModelSpec;
use super::variation::Variation;
use crate::uapi::Errno;
use crate::uapi::dma_logging::{IovaRange, LoggingReport, LoggingStart};

/// The unit of the log, whatever is asked for.
const PAGE_BYTES: u64 = 4096;

/// With [`Variation::LogCoarsePages`], the unit of the log.
const COARSE_PAGE_BYTES: u64 = 64 << 10;

/// As many ranges as fit into a page of memory.
const RANGES: usize = 256;

/// With [`Fault::LogFewRanges`], more are refused.
const FEW_RANGES: usize = 64;

/// Bits of a bitmap that lie in its first page of memory.
const BITS_OF_A_PAGE: u64 = 8 * 4096;

/// With [`Fault::LogLargePagesLost`], pages from here on are large.
const LARGE_PAGE_BYTES: u64 = 1 << 30;

/// The log.
#[derive(Debug, Default)]
pub(super) struct DmaLog {
    active: Option<Vec<IovaRange>>,
    /// The page size that was asked for.
    asked_page_size: u64,
    /// Numbers of pages that were written and not reported.
    pages: BTreeSet<u64>,
    /// Whether a REPORT of this log, or of one before it since the device was opened, has failed.
    has_failed: bool,
}

/// The unit of the log.
fn granule(spec: ModelSpec) -> u64 {
    if spec.varies(Variation::LogCoarsePages) { COARSE_PAGE_BYTES } else { PAGE_BYTES }
}

impl DmaLog {
    /// Begins.
    ///
    /// # Errors
    /// The errno that a kernel would return.
    pub(super) fn start(&mut self, spec: ModelSpec, start: &mut LoggingStart) -> Result<i32, Errno> {
        self.begin(spec, start).inspect_err(|_| {
            if spec.has(Fault::LogBadStartActs) && self.active.is_none() {
                self.active = Some(start.ranges.clone());
            }
        })
    }

    fn begin(&mut self, spec: ModelSpec, start: &mut LoggingStart) -> Result<i32, Errno> {
        let count = start.claimed_ranges.map_or(start.ranges.len(), |claimed| claimed as usize);
        if count == 0 {
            spec.refuse_unless(Fault::LogWithoutRanges, Errno::EINVAL)?;
        }
        if count > RANGES || (count > FEW_RANGES && spec.has(Fault::LogFewRanges)) {
            spec.refuse_unless(Fault::LogTooManyRangesAccepted, Errno::E2BIG)?;
        }
        if !start.page_size.is_power_of_two() {
            spec.refuse_unless(Fault::LogPageSizeUnchecked, Errno::EINVAL)?;
        }
        check_ranges(&start.ranges, start.page_size)
            .or_else(|errno| spec.refuse_unless(Fault::LogRangesUnchecked, errno))?;
        if self.active.is_some() {
            spec.refuse_unless(Fault::LogStartsTwice, Errno::EBUSY)?;
        }
        if self.has_failed && spec.has(Fault::LogFailedReportSticks) {
            return Err(Errno::EIO);
        }
        self.has_failed = false;
        if !spec.has(Fault::LogSurvivesStop) {
            self.pages.clear();
        }
        self.active = Some(start.ranges.clone());
        self.asked_page_size = start.page_size;
        start.page_size = if spec.has(Fault::LogPageSizeNotAnswered) { 0 } else { granule(spec) };
        Ok(0)
    }

    /// Ends; without a log there is nothing to do.
    ///
    /// # Errors
    /// None, but for a fault.
    pub(super) fn stop(&mut self, spec: ModelSpec) -> Result<i32, Errno> {
        if self.active.is_none() && spec.has(Fault::LogStopAloneRefused) {
            return Err(Errno::EINVAL);
        }
        if !spec.has(Fault::LogStopIgnored) {
            self.active = None;
        }
        Ok(0)
    }

    /// Forgets everything, as when the device is closed.
    pub(super) fn clear(&mut self) {
        *self = DmaLog::default();
    }

    /// Notes a write.
    pub(super) fn wrote(&mut self, spec: ModelSpec, iova: u64, bytes: u64) {
        let Some(ranges) = self.active.as_ref().filter(|_| bytes > 0) else {
            return;
        };
        let (first, last) = (iova / granule(spec), (iova + (bytes - 1)) / granule(spec));
        let pages_of_granule = granule(spec) / PAGE_BYTES;
        for page in first * pages_of_granule..(last + 1) * pages_of_granule {
            let start = page * PAGE_BYTES;
            let Some(range) = ranges.iter().find(|range| start >= range.iova && start - range.iova < range.length)
            else {
                continue;
            };
            let is_first = start == range.iova;
            let is_last = start - range.iova + PAGE_BYTES == range.length;
            let lost = (is_first && spec.has(Fault::LogFirstPageLost)) || (is_last && spec.has(Fault::LogLastPageLost));
            if !lost {
                self.pages.insert(page);
            }
            if spec.has(Fault::LogNeighbourReported) {
                self.pages.insert(page + 1);
            }
        }
    }

    /// Reports, and forgets what was reported.
    ///
    /// # Errors
    /// The errno that a kernel would return.
    pub(super) fn report(&mut self, spec: ModelSpec, report: &mut LoggingReport) -> Result<i32, Errno> {
        if self.has_failed && spec.varies(Variation::LogCorruptAfterError) {
            return Err(Errno::EIO);
        }
        self.look_up(spec, report).inspect_err(|_| self.fail_report())
    }

    /// A REPORT of this log fails.
    pub(super) fn fail_report(&mut self) {
        self.has_failed |= self.active.is_some();
    }

    fn look_up(&mut self, spec: ModelSpec, report: &mut LoggingReport) -> Result<i32, Errno> {
        if report.page_size < PAGE_BYTES || !report.page_size.is_power_of_two() {
            return spec.refuse_unless(Fault::LogReportUnchecked, Errno::EINVAL).map(|()| 0);
        }
        let IovaRange { iova, length } = report.range;
        iova.checked_add(length).ok_or(Errno::EOVERFLOW)?;
        if self.active.is_none() {
            spec.refuse_unless(Fault::LogReportWithoutStart, Errno::EINVAL)?;
        }
        if length == 0 {
            return Ok(0);
        }
        let asked = iova / PAGE_BYTES..=(iova + (length - 1)) / PAGE_BYTES;
        let pages: Vec<u64> = self.pages.range(asked).copied().collect();
        if !report.writable && !pages.is_empty() {
            spec.refuse_unless(Fault::LogUnwritableIgnored, Errno::EFAULT)?;
        }
        if spec.has(Fault::LogClearsBits) {
            report.bitmap.fill(0);
        }
        let is_finer = report.page_size < self.asked_page_size;
        for page in pages.iter().filter(|_| !is_finer || !spec.has(Fault::LogFinerReportEmpty)) {
            set_bit(spec, report, *page);
        }
        match spec.effect() {
            Some(Fault::LogForgetsNothing) => {}
            Some(Fault::LogForgetsAll) => self.pages.clear(),
            _ => self.pages.retain(|page| !pages.contains(page)),
        }
        Ok(0)
    }
}

fn check_ranges(ranges: &[IovaRange], page_size: u64) -> Result<(), Errno> {
    let mut ends: Vec<(u64, u64)> = Vec::new();
    for range in ranges {
        let page_size = page_size.max(PAGE_BYTES);
        if range.length == 0 || !range.iova.is_multiple_of(page_size) || !range.length.is_multiple_of(page_size) {
            return Err(Errno::EINVAL);
        }
        let end = range.iova.checked_add(range.length).ok_or(Errno::EOVERFLOW)?;
        if ends.iter().any(|(other, other_end)| *other < end && range.iova < *other_end) {
            return Err(Errno::EINVAL);
        }
        ends.push((range.iova, end));
    }
    Ok(())
}

/// Sets the bit of a page: bit n is page n from the beginning of what was asked for.
fn set_bit(spec: ModelSpec, report: &mut LoggingReport, page: u64) {
    let from_start = (page * PAGE_BYTES).saturating_sub(report.range.iova) / report.page_size;
    let bits = report.range.length.div_ceil(report.page_size);
    let tail = bits - bits % 64;
    let lost = match spec.effect() {
        Some(Fault::LogOnePageOfBitmap) => from_start >= BITS_OF_A_PAGE,
        Some(Fault::LogUnalignedBitmapLost) => report.misaligned_by != 0,
        Some(Fault::LogTailLost) => tail > 0 && from_start >= tail,
        Some(Fault::LogLargePagesLost) => report.page_size >= LARGE_PAGE_BYTES,
        _ => false,
    };
    if lost {
        return;
    }
    let bit = match spec.has(Fault::LogBitsFromZero) {
        true => from_start - from_start % 64 + page * PAGE_BYTES / report.page_size % 64,
        false => from_start,
    };
    if let Some(word) = usize::try_from(bit / 64).ok().and_then(|word| report.bitmap.get_mut(word)) {
        *word |= 1 << (bit % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IOVA: u64 = 0x40_0000;
    const SPEC: ModelSpec = ModelSpec { capabilities: None, fault: None, variation: None };

    fn log(pages: u64) -> DmaLog {
        let mut log = DmaLog::default();
        let mut start = LoggingStart::new(1 << 13, vec![IovaRange { iova: IOVA, length: pages * PAGE_BYTES }]);
        assert_eq!(log.start(SPEC, &mut start), Ok(0));
        assert_eq!(start.page_size, PAGE_BYTES);
        log
    }

    fn report(log: &mut DmaLog, iova: u64, pages: u64, page_size: u64) -> Vec<u64> {
        let mut report = LoggingReport::new(IovaRange { iova, length: pages * PAGE_BYTES }, page_size);
        assert_eq!(log.report(SPEC, &mut report), Ok(0));
        report.bitmap
    }

    #[test]
    fn pages_are_reported_once_and_as_they_are_asked_for() {
        let mut log = log(128);
        log.wrote(SPEC, IOVA - 1, 2);
        log.wrote(SPEC, IOVA + 65 * PAGE_BYTES - 1, 2);
        log.wrote(SPEC, IOVA + 128 * PAGE_BYTES, 1);
        assert_eq!(report(&mut log, IOVA + 64 * PAGE_BYTES, 64, PAGE_BYTES), [0b11]);
        assert_eq!(report(&mut log, IOVA, 128, PAGE_BYTES), [1, 0]);
        assert_eq!(report(&mut log, IOVA, 128, PAGE_BYTES), [0, 0]);
    }

    #[test]
    fn larger_pages_stand_for_all_that_they_cover() {
        let mut log = log(128);
        log.wrote(SPEC, IOVA + 33 * PAGE_BYTES, 1);
        assert_eq!(report(&mut log, IOVA, 128, 16 * PAGE_BYTES), [0b100]);
    }
}
