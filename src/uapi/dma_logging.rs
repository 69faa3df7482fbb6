//! DMA logging: which pages a device has written. Its features point at further memory of the caller, so they are
//! calls of their own beside [`super::feature::FeatureCall`].

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::feature::{Feature, FeatureCall, Shape, Verb};
use super::memory::{GuardedPages, Protection};

/// A stretch of I/O addresses, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IovaRange {
    /// Where it begins.
    pub iova: u64,
    /// How long it is.
    pub length: u64,
}

/// `VFIO_DEVICE_FEATURE_DMA_LOGGING_START`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingStart {
    /// In: the page size asked for, in bytes. Out: the one that the device logs with.
    pub page_size: u64,
    /// What to log.
    pub ranges: Vec<IovaRange>,
    /// How many ranges the call claims, if that is to be a lie.
    pub claimed_ranges: Option<u32>,
    /// Whether the kernel can read the ranges.
    pub readable: bool,
    /// How the call is made.
    pub shape: Shape,
}

/// `VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingReport {
    /// Of what to report.
    pub range: IovaRange,
    /// What one bit stands for, in bytes.
    pub page_size: u64,
    /// In: bits that are there already. Out: with those of the pages that were written since the last report.
    pub bitmap: Vec<u64>,
    /// Whether the kernel can write to the bitmap.
    pub writable: bool,
    /// How many bytes behind the beginning of a page of memory the bitmap begins; a multiple of 8.
    pub misaligned_by: usize,
    /// Out: whether something was written just before or behind the bitmap.
    pub overran: bool,
    /// How the call is made.
    pub shape: Shape,
}

/// As large as the largest page of memory that bitmaps are aligned to.
const MEMORY_PAGE_BYTES: usize = 4096;

/// What stands before and behind a bitmap, so that a write there shows.
const GUARD: u64 = 0x5a5a_a5a5_5a5a_a5a5;

impl LoggingStart {
    /// Asks for these ranges.
    pub fn new(page_size: u64, ranges: Vec<IovaRange>) -> LoggingStart {
        LoggingStart { page_size, ranges, claimed_ranges: None, readable: true, shape: Shape::default() }
    }

    /// The call as bytes, with ranges that lie at this address.
    pub(crate) fn call(&self, ranges: u64) -> FeatureCall {
        let claimed = self.claimed_ranges.unwrap_or(self.ranges.len() as u32);
        let payload = self.payload(claimed, ranges);
        FeatureCall::new(Feature::DmaLoggingStart, Verb::Set).with_payload(payload).shaped(self.shape)
    }

    /// Makes the call.
    ///
    /// # Errors
    /// The errno as it came.
    pub(crate) fn make(&mut self, device: BorrowedFd<'_>) -> Result<i32, Errno> {
        if !self.readable {
            let guarded = GuardedPages::new(&[], 0, Protection::None)?;
            return self.call(guarded.address() as u64).make(device);
        }
        let ranges: Vec<u64> = self.ranges.iter().flat_map(|range| [range.iova, range.length]).collect();
        let mut call = self.call(ranges.as_ptr() as u64);
        let result = call.make(device);
        if let Some(page_size) = super::feature::u64_from_bytes(&call.payload) {
            self.page_size = page_size;
        }
        result
    }

    /// `struct vfio_device_feature_dma_logging_control`.
    fn payload(&self, claimed: u32, ranges: u64) -> Vec<u8> {
        let mut bytes = self.page_size.to_ne_bytes().to_vec();
        bytes.extend(claimed.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(ranges.to_ne_bytes());
        bytes
    }
}

impl LoggingReport {
    /// Asks for a report of a range into an empty bitmap of the right size.
    pub fn new(range: IovaRange, page_size: u64) -> LoggingReport {
        let bits = range.length.div_ceil(page_size.max(1));
        let bitmap = vec![0; usize::try_from(bits.div_ceil(64)).unwrap_or_default()];
        LoggingReport {
            range,
            page_size,
            bitmap,
            writable: true,
            misaligned_by: 0,
            overran: false,
            shape: Shape::default(),
        }
    }

    /// The call as bytes, with a bitmap that lies at this address.
    pub(crate) fn call(&self, bitmap: u64) -> FeatureCall {
        let call = FeatureCall::new(Feature::DmaLoggingReport, Verb::Get);
        call.with_payload(self.payload(bitmap)).shaped(self.shape)
    }

    /// Makes the call.
    ///
    /// # Errors
    /// The errno as it came.
    pub(crate) fn make(&mut self, device: BorrowedFd<'_>) -> Result<i32, Errno> {
        if !self.writable {
            let guarded = GuardedPages::new(&[], 0, Protection::ReadOnly)?;
            return self.make_at(guarded.address(), device);
        }
        // Room for a page boundary, the way to the misaligned place, and a guard on either side.
        let page_words = MEMORY_PAGE_BYTES / 8;
        let mut room = vec![GUARD; 2 * page_words + self.misaligned_by / 8 + self.bitmap.len() + 2];
        let base = room.as_mut_ptr() as usize;
        // At least one word before the bitmap.
        let skip = ((base + 8).next_multiple_of(MEMORY_PAGE_BYTES) - base + self.misaligned_by) / 8;
        let end = skip + self.bitmap.len();
        room[skip..end].copy_from_slice(&self.bitmap);
        let answer = self.make_at(room.as_mut_ptr() as usize + 8 * skip, device);
        self.bitmap.copy_from_slice(&room[skip..end]);
        self.overran = room[skip - 1] != GUARD || room[end] != GUARD;
        answer
    }

    fn make_at(&self, bitmap: usize, device: BorrowedFd<'_>) -> Result<i32, Errno> {
        self.call(bitmap as u64).make(device)
    }

    /// `struct vfio_device_feature_dma_logging_report`.
    fn payload(&self, bitmap: u64) -> Vec<u8> {
        [self.range.iova, self.range.length, self.page_size, bitmap]
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_as_long_as_the_structures_of_the_uapi() {
        let range = IovaRange { iova: 0x1000, length: 0x3000 };
        let start = LoggingStart::new(4096, vec![range]);
        assert_eq!(start.payload(1, 0).len() as u32, Feature::DmaLoggingStart.payload_bytes());
        let report = LoggingReport::new(range, 4096);
        assert_eq!(report.payload(0).len() as u32, Feature::DmaLoggingReport.payload_bytes());
    }

    #[test]
    fn a_bitmap_has_a_bit_for_every_page() {
        let words = |length| LoggingReport::new(IovaRange { iova: 0, length }, 4096).bitmap.len();
        assert_eq!(words(4096), 1);
        assert_eq!(words(64 * 4096), 1);
        assert_eq!(words(64 * 4096 + 1), 2);
    }
}
