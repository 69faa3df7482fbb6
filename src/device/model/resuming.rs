//! What a data_fd of RESUMING takes in.

use std::collections::BTreeSet;

use super::fault::Fault;
use super::memory::{MEMORY_BYTES, Memory, PAGE_BYTES, PAGES};
use super::record::{self, Kind, Record};
use super::spec::ModelSpec;
use super::variation::Variation;
use crate::uapi::Errno;

/// No stream is longer, and nobody has to hold what is.
const LONGEST_WRITE_BYTES: usize = 64 << 20;

/// With [`Variation::ShortWrites`], a write takes at most so much.
const SHORT_WRITE_BYTES: usize = 61;

/// The stream of one resuming session. The device's memory changes only once all of it was found good.
#[derive(Debug, Clone)]
pub(super) struct Resuming {
    spec: ModelSpec,
    /// The beginning of a record whose rest has not been written yet.
    pending: Vec<u8>,
    image: Vec<u8>,
    missing: BTreeSet<usize>,
    progress: Progress,
    broken_inside: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing came yet.
    Empty,
    /// The record that begins a stream was there.
    Begun,
    /// The record that ends a stream was there.
    Ended,
    /// Something was wrong; nothing mends that.
    Failed,
    /// The load was ended by a write that was no part of it.
    CalledOff,
}

impl Resuming {
    /// Waits for a stream.
    pub(super) fn new(spec: ModelSpec) -> Resuming {
        Resuming {
            spec,
            pending: Vec::new(),
            image: vec![0; MEMORY_BYTES],
            missing: (0..PAGES).collect(),
            progress: Progress::Empty,
            broken_inside: false,
        }
    }

    /// Takes all of these bytes, wherever records begin and end in them.
    ///
    /// # Errors
    /// EINVAL if they cannot be part of a good stream, and from then on always.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if matches!(self.progress, Progress::Failed | Progress::CalledOff) {
            return Err(Errno::EINVAL);
        }
        if bytes.is_empty() && self.has(Fault::EmptyWriteRefused) {
            return Err(Errno::EINVAL);
        }
        if bytes.len() > LONGEST_WRITE_BYTES {
            return self.take_huge(bytes.len());
        }
        let most = if self.spec.varies(Variation::ShortWrites) { SHORT_WRITE_BYTES } else { usize::MAX };
        let bytes = &bytes[..bytes.len().min(most)];
        self.pending.extend(bytes);
        let taken = self.take_records();
        self.broken_inside = taken.is_err() && self.progress == Progress::Begun;
        if taken.is_err() && !self.has(Fault::FailedWriteForgotten) {
            self.progress = Progress::Failed;
        }
        taken.map(|()| bytes.len())
    }

    /// The memory that the stream has brought, whatever was there before.
    ///
    /// # Errors
    /// EINVAL if the stream was not good or is not whole.
    pub(super) fn finish(&self, before: &Memory) -> Result<Memory, Errno> {
        if self.progress == Progress::CalledOff {
            return Ok(before.clone());
        }
        let good = match self.progress {
            Progress::Empty if self.pending.is_empty() => self.has(Fault::EmptyStreamAccepted),
            Progress::Empty | Progress::Begun => self.has(Fault::TruncatedStreamAccepted),
            Progress::Ended => true,
            Progress::Failed | Progress::CalledOff => false,
        };
        if !good {
            return Err(Errno::EINVAL);
        }
        let mut image = self.image.clone();
        if self.has(Fault::RegistersNotRestored) {
            image[..PAGE_BYTES].fill(0);
        }
        let mut memory = Memory::from_image(image);
        if self.has(Fault::PristinePagesNotRestored) {
            memory.keep_where_pristine(before);
        }
        Ok(memory)
    }

    /// A write that is longer than any stream.
    fn take_huge(&mut self, bytes: usize) -> Result<usize, Errno> {
        match self.spec.variation {
            Some(Variation::HugeWriteShort) => {
                self.progress = Progress::Failed;
                return Ok(LONGEST_WRITE_BYTES);
            }
            Some(Variation::HugeWriteEndsLoad) => {
                self.progress = Progress::CalledOff;
                return Err(Errno::EFBIG);
            }
            _ => {}
        }
        if !self.has(Fault::HugeWriteTaken) {
            self.progress = Progress::Failed;
            return Err(Errno::EINVAL);
        }
        self.progress = Progress::Ended;
        Ok(bytes)
    }

    /// What was written and is not part of a whole record yet.
    pub(super) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// The place of the faults that do not forget what another session was given.
    pub(super) fn begin_with(&mut self, left_over: Vec<u8>) {
        self.pending = left_over;
    }

    /// Whether a write was refused for what stands between the beginning of a stream and its end.
    pub(super) fn is_broken_inside(&self) -> bool {
        self.broken_inside
    }

    /// The same for its last quarter.
    pub(super) fn is_broken_late(&self) -> bool {
        self.broken_inside && self.missing.len() * 4 <= PAGES
    }

    fn take_records(&mut self) -> Result<(), Errno> {
        let mut pending = std::mem::take(&mut self.pending);
        if self.progress == Progress::Empty && self.has(Fault::ForeignStreamAccepted) {
            record::make_ours(&mut pending);
        }
        let mut rest = pending.as_slice();
        while self.progress != Progress::Ended
            && let Some(record) = record::decode(rest)?
        {
            self.take(&record)?;
            rest = &rest[record.bytes()..];
        }
        if rest.is_empty() {
            return Ok(());
        }
        if self.progress == Progress::Ended && !self.has(Fault::TrailingDataAccepted) {
            return Err(Errno::EINVAL);
        }
        if self.has(Fault::SplitWritesRefused) {
            return Err(Errno::EINVAL);
        }
        self.pending = rest.to_vec();
        Ok(())
    }

    fn has(&self, fault: Fault) -> bool {
        self.spec.has(fault)
    }

    fn take(&mut self, record: &Record<'_>) -> Result<(), Errno> {
        match (self.progress, record.kind) {
            (Progress::Empty, Kind::Begin) => self.take_begin(record),
            (Progress::Begun, Kind::Page) => self.take_page(record),
            (Progress::Begun, Kind::End) => self.take_end(),
            (Progress::Begun, Kind::Image) if self.spec.varies(Variation::OneRecord) => {
                self.image.copy_from_slice(record.contents);
                self.missing.clear();
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn take_begin(&mut self, record: &Record<'_>) -> Result<(), Errno> {
        if record.contents != (MEMORY_BYTES as u32).to_le_bytes() {
            return Err(Errno::EINVAL);
        }
        self.progress = Progress::Begun;
        Ok(())
    }

    fn take_page(&mut self, record: &Record<'_>) -> Result<(), Errno> {
        let page = record.page as usize;
        if page >= PAGES {
            return Err(Errno::EINVAL);
        }
        self.image[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].copy_from_slice(record.contents);
        self.missing.remove(&page);
        Ok(())
    }

    fn take_end(&mut self) -> Result<(), Errno> {
        if !self.missing.is_empty() {
            return Err(Errno::EINVAL);
        }
        self.progress = Progress::Ended;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good_stream() -> (Memory, Vec<u8>) {
        let mut memory = Memory::after_reset();
        memory.work(5000);
        let mut stream = record::begin();
        for page in 0..PAGES {
            stream.extend(record::page(page, memory.page(page)));
        }
        stream.extend(record::end(0));
        (memory, stream)
    }

    /// Where records begin, and a byte more or less, and the middle of each part of a page's record.
    fn interesting_places(stream: &[u8]) -> BTreeSet<usize> {
        let mut places = BTreeSet::from([0]);
        let mut at = 0;
        while let Ok(Some(record)) = record::decode(&stream[at..]) {
            let middle = at + record.bytes() / 2;
            places.extend([at.saturating_sub(1), at, at + 1, at + 8, at + record::HEADER_BYTES, middle]);
            at += record.bytes();
        }
        places.insert(stream.len() - 1);
        places.retain(|place| *place < stream.len());
        places
    }

    fn load<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> Result<Memory, Errno> {
        let mut resuming = Resuming::new(ModelSpec::default());
        for segment in segments {
            assert_eq!(resuming.write(segment)?, segment.len());
        }
        resuming.finish(&Memory::after_reset())
    }

    #[test]
    fn any_segmentation_restores_the_memory() {
        let (memory, stream) = good_stream();
        for segment in [1, 7, 509, 532, stream.len()] {
            assert_eq!(load(stream.chunks(segment)), Ok(memory.clone()), "{segment}");
        }
        assert_eq!(load([&[], &stream[..], &[]]), Ok(memory));
    }

    #[test]
    fn truncated_streams_are_refused() {
        let (_, stream) = good_stream();
        for place in interesting_places(&stream) {
            assert_eq!(load([&stream[..place]]), Err(Errno::EINVAL), "{place}");
        }
    }

    #[test]
    fn missing_and_repeated_records_are_refused() {
        let (_, stream) = good_stream();
        let begin = record::begin().len();
        let page = begin..begin + record::PAGE_RECORD_BYTES;
        assert_eq!(load([&stream[begin..]]), Err(Errno::EINVAL));
        assert_eq!(load([&stream[..page.start], &stream[page.end..]]), Err(Errno::EINVAL));
        assert_eq!(load([&stream[..], &[0]]), Err(Errno::EINVAL));
        assert_eq!(load([&stream[..], &stream[..]]), Err(Errno::EINVAL));
        let strange_page = record::page(PAGES, &[0; PAGE_BYTES]);
        assert_eq!(load([&stream[..begin], &strange_page]), Err(Errno::EINVAL));
    }

    #[test]
    fn a_failed_write_is_never_forgotten() {
        let (_, stream) = good_stream();
        let mut resuming = Resuming::new(ModelSpec::default());
        assert_eq!(resuming.write(&[0; 20]), Err(Errno::EINVAL));
        assert_eq!(resuming.write(&stream), Err(Errno::EINVAL));
        assert_eq!(resuming.write(&[]), Err(Errno::EINVAL));
        assert_eq!(resuming.finish(&Memory::after_reset()), Err(Errno::EINVAL));
    }
}
