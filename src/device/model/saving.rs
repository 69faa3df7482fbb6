//! What a data_fd of the saving group streams.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::memory::{Memory, PAGE_BYTES, PAGES};
use super::record;
use super::spec::ModelSpec;
use super::variation::Variation;
use crate::uapi::Errno;

/// With [`Fault::SmallReadsRepeat`], reads of less than this are small.
const SMALL_READ_BYTES: usize = 16;

/// With [`Variation::ShortReads`], a read returns at most so much.
const SHORT_READ_BYTES: usize = 61;

/// With [`Variation::DirtyBytesNeeded`], a page needs so much more than it takes.
const NEEDED_BYTES: u64 = 256;

/// With [`Variation::InitialBytesRounded`], initial_bytes is a multiple of this.
const ROUNDED_TO_BYTES: u64 = 1024;

/// With [`Variation::EstimatesLate`], estimates are at most so old.
const ESTIMATES_LAST: Duration = Duration::from_millis(20);

/// The initial data of every session: the beginning, and all pages once.
const INITIAL_BYTES: usize = record::BEGIN_RECORD_BYTES + PAGES * record::PAGE_RECORD_BYTES;

/// The stream of one saving session.
///
/// It begins with all pages as they are at the entry, which are the initial data. Pages that change later are
/// streamed again. Entering STOP_COPY appends what is left, and the end.
#[derive(Debug, Clone)]
pub(super) struct Saving {
    spec: ModelSpec,
    /// Which session this is, counted from the first one.
    serial: u32,
    /// What is already put into records and not read yet. Initial data comes first.
    queue: VecDeque<u8>,
    /// How many bytes of the queue are initial data.
    initial: usize,
    /// Pages that changed since they were put into a record.
    dirty: BTreeSet<usize>,
    /// Whether there is new initial data of which nobody was told.
    reinit: bool,
    /// Whether there ever was.
    reinited: bool,
    /// Whether the queue holds everything that will ever come.
    complete: bool,
    /// How often a read met an end, temporary or permanent.
    ends_met: u32,
    /// How many small reads there were.
    small_reads: u32,
    /// How many bytes were handed over.
    handed_over: usize,
    /// How often the estimates were asked for.
    asked: u64,
    /// How many pages were marked dirty in all.
    marked: u64,
    /// The last estimates and when they were made, where they are not made each time.
    last: Option<(Instant, Estimate)>,
}

/// The estimates of PRECOPY_INFO. Here they are exact: what can be read until ENOMSG if nothing changes any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Estimate {
    pub(super) initial_bytes: u64,
    pub(super) dirty_bytes: u64,
}

impl Saving {
    /// Begins to save this memory.
    pub(super) fn new(spec: ModelSpec, memory: &Memory, serial: u32) -> Saving {
        let mut saving = Saving {
            spec,
            serial,
            queue: VecDeque::from(record::begin()),
            initial: 0,
            dirty: BTreeSet::new(),
            reinit: false,
            reinited: false,
            complete: false,
            ends_met: 0,
            small_reads: 0,
            handed_over: 0,
            asked: 0,
            marked: 0,
            last: None,
        };
        saving.enqueue_all(memory);
        saving.initial = saving.queue.len();
        saving
    }

    /// Has all pages streamed: at once, or in STOP_COPY where PRE_COPY has a header only.
    fn enqueue_all(&mut self, memory: &Memory) {
        if self.spec.varies(Variation::HeaderOnlyPreCopy) {
            self.dirty.extend(0..PAGES);
            return;
        }
        if self.spec.varies(Variation::OneRecord) {
            self.queue.extend(record::image(memory.all()));
            return;
        }
        for page in 0..PAGES {
            self.enqueue(page, memory);
        }
    }

    /// What a session streams that begins in STOP_COPY.
    pub(super) const fn bytes_of_all() -> u64 {
        (INITIAL_BYTES + record::END_RECORD_BYTES) as u64
    }

    /// Takes note of pages that changed. Once the stream is complete nothing can be added to it.
    pub(super) fn mark_dirty(&mut self, pages: impl IntoIterator<Item = usize>) {
        if self.complete {
            return;
        }
        let dirty_before = self.dirty.len();
        self.dirty.extend(pages);
        self.marked += (self.dirty.len() - dirty_before) as u64;
    }

    /// Drops what was put into records and not read.
    pub(super) fn forget_unread(&mut self) {
        self.queue.clear();
        self.initial = 0;
    }

    /// The device was reconfigured: all of it is initial data again, and the user is told so if that was agreed on.
    pub(super) fn reinit(&mut self, tells: bool, memory: &Memory) {
        if self.complete {
            return;
        }
        if !tells {
            return self.mark_dirty(0..PAGES);
        }
        if !self.has(Fault::ReinitKeepsDirty) {
            self.dirty.clear();
        }
        let other = self.has(Fault::ReinitStreamsOther).then(Memory::after_reset);
        for page in 0..PAGES {
            self.enqueue(page, other.as_ref().unwrap_or(memory));
        }
        self.initial = self.queue.len();
        self.last = None;
        self.reinited = true;
        self.reinit = !self.has(Fault::ReinitUnsaid);
    }

    /// Whether there is new initial data of which nobody was told. Asking is being told.
    pub(super) fn tell_reinit(&mut self) -> bool {
        std::mem::take(&mut self.reinit)
    }

    /// The device has stopped: this memory is what the stream must restore.
    pub(super) fn complete(&mut self, memory: &Memory) {
        if self.complete {
            return;
        }
        if self.has(Fault::DirtyPageLost) {
            self.dirty.pop_last();
        }
        while let Some(page) = self.dirty.pop_first() {
            self.enqueue(page, memory);
        }
        let stale = if self.has(Fault::StaleBytes) { self.serial } else { 0 };
        self.queue.extend(record::end(stale));
        self.complete = true;
    }

    /// Hands over what fits.
    ///
    /// # Errors
    /// ENOMSG at the temporary end.
    pub(super) fn read(&mut self, buffer: &mut [u8], memory: &Memory) -> Result<usize, Errno> {
        self.refill(buffer.len(), memory);
        let most = if self.spec.varies(Variation::ShortReads) { SHORT_READ_BYTES } else { usize::MAX };
        let bytes = buffer.len().min(self.queue.len()).min(most);
        if bytes == 0 {
            return self.meet_the_end();
        }
        buffer[..bytes].copy_from_slice(&self.queue.make_contiguous()[..bytes]);
        self.handed_over += bytes;
        if !self.repeats(bytes) {
            self.queue.drain(..bytes);
            self.initial = self.initial.saturating_sub(bytes);
        }
        Ok(bytes)
    }

    /// The place of the fault that goes on where another session was left.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.queue.drain(..bytes.min(self.queue.len()));
        self.initial = self.initial.saturating_sub(bytes);
    }

    /// How much was handed over, unless it was everything.
    pub(super) fn left_at(&self) -> usize {
        if self.queue.is_empty() { 0 } else { self.handed_over }
    }

    fn refill(&mut self, wanted: usize, memory: &Memory) {
        if self.has(Fault::EndOfPreCopyIsFinal) && self.ends_met > 0 {
            return;
        }
        if self.has(Fault::ChangesWaitForStopCopy) {
            return;
        }
        while self.queue.len() < wanted {
            let Some(page) = self.dirty.pop_first() else {
                return;
            };
            self.enqueue(page, memory);
        }
    }

    fn enqueue(&mut self, page: usize, memory: &Memory) {
        let contents =
            if self.has(Fault::LastPageLost) && page == PAGES - 1 { &[0; PAGE_BYTES] } else { memory.page(page) };
        self.queue.extend(record::page(page, contents));
    }

    fn meet_the_end(&mut self) -> Result<usize, Errno> {
        self.ends_met += 1;
        match (self.complete, self.spec.effect()) {
            (false, Some(Fault::EndOfPreCopyReadsZero)) => Ok(0),
            (false, _) => Err(Errno::ENOMSG),
            (true, Some(Fault::EndOfStopCopyIsEnomsg)) => Err(Errno::ENOMSG),
            (true, Some(Fault::EndOfStopCopyIsOnce)) if self.ends_met > 1 => Err(Errno::EIO),
            (true, _) => Ok(0),
        }
    }

    fn repeats(&mut self, bytes: usize) -> bool {
        if !self.has(Fault::SmallReadsRepeat) || bytes >= SMALL_READ_BYTES {
            return false;
        }
        self.small_reads += 1;
        self.small_reads % 2 == 1
    }

    /// Whether a read would deliver data, or the permanent end.
    pub(super) fn is_readable(&self) -> bool {
        let waits = self.has(Fault::ChangesWaitForStopCopy) || self.dirty.is_empty();
        let has_data = (!self.queue.is_empty() || !waits) && !self.has(Fault::UnreadableWithData);
        let has_end = if self.complete {
            !self.has(Fault::UnreadableAtEndOfStopCopy)
        } else {
            self.has(Fault::ReadableAtEndOfPreCopy)
        };
        has_data || has_end
    }

    /// What PRECOPY_INFO answers.
    pub(super) fn estimate(&mut self) -> Estimate {
        let is_fresh = |(made, _): &(Instant, Estimate)| made.elapsed() < ESTIMATES_LAST;
        if self.spec.varies(Variation::EstimatesLate)
            && let Some((_, estimate)) = self.last.filter(is_fresh)
        {
            return estimate;
        }
        let mut estimate = self.estimate_now();
        let Estimate { initial_bytes, dirty_bytes } = &mut estimate;
        match self.spec.variation {
            Some(Variation::DirtyBytesNeeded) => *dirty_bytes += NEEDED_BYTES * self.dirty.len() as u64,
            Some(Variation::InitialBytesRounded) => *initial_bytes = initial_bytes.next_multiple_of(ROUNDED_TO_BYTES),
            _ => {}
        }
        self.last = Some((Instant::now(), estimate));
        estimate
    }

    fn estimate_now(&mut self) -> Estimate {
        self.asked += 1;
        let mut estimate = self.exact();
        let Estimate { initial_bytes, dirty_bytes } = &mut estimate;
        match self.spec.effect() {
            Some(Fault::InitialBytesZero) => *initial_bytes = 0,
            Some(Fault::InitialBytesGrow) => *initial_bytes += std::mem::take(dirty_bytes),
            Some(Fault::InitialBytesNeverFall) => *initial_bytes = INITIAL_BYTES as u64,
            Some(Fault::InitialBytesNeverReachZero) => *initial_bytes = (*initial_bytes).max(1),
            Some(Fault::ReinitNeverReachesZero) if self.reinited => *initial_bytes = (*initial_bytes).max(1),
            Some(Fault::InitialBytesFallUnread) => *initial_bytes = initial_bytes.saturating_sub(self.asked),
            Some(Fault::DirtyBytesGrowUnasked) if self.ends_met > 0 => *dirty_bytes += self.asked,
            Some(Fault::DirtyBytesNeverFall) => *dirty_bytes = self.marked * record::PAGE_RECORD_BYTES as u64,
            Some(Fault::ChangesWaitForStopCopy) => *dirty_bytes = 0,
            Some(Fault::DirtyBytesAtFirst) if self.initial == INITIAL_BYTES => *dirty_bytes += 1,
            Some(Fault::DirtyBytesNeverGrow) => *dirty_bytes = 0,
            Some(Fault::DirtyBytesWithoutHeaders) => {
                *dirty_bytes -= (self.dirty.len() * record::HEADER_BYTES) as u64;
            }
            Some(Fault::PromisedDataIsMissing) if !self.is_readable() => {
                *dirty_bytes = record::PAGE_RECORD_BYTES as u64;
            }
            _ => {}
        }
        estimate
    }

    fn exact(&self) -> Estimate {
        let waiting = self.queue.len() - self.initial;
        let dirty = self.dirty.len() * record::PAGE_RECORD_BYTES;
        Estimate { initial_bytes: self.initial as u64, dirty_bytes: (waiting + dirty) as u64 }
    }

    /// What would be read until the permanent end if the device stopped now.
    pub(super) fn bytes_to_the_end(&self) -> u64 {
        let Estimate { initial_bytes, dirty_bytes } = self.exact();
        let end = if self.complete { 0 } else { record::END_RECORD_BYTES as u64 };
        initial_bytes + dirty_bytes + end
    }

    fn has(&self, fault: Fault) -> bool {
        self.spec.has(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(memory: &Memory) -> Saving {
        Saving::new(ModelSpec::default(), memory, 0)
    }

    fn drain(saving: &mut Saving, memory: &Memory, step: usize) -> Vec<u8> {
        let mut stream = Vec::new();
        let mut buffer = vec![0; step];
        loop {
            match saving.read(&mut buffer, memory) {
                Ok(0) | Err(_) => return stream,
                Ok(bytes) => stream.extend(&buffer[..bytes]),
            }
        }
    }

    #[test]
    fn the_size_of_reads_does_not_matter() {
        let memory = Memory::after_reset();
        let whole = drain(&mut new(&memory), &memory, 1 << 20);
        assert_eq!(drain(&mut new(&memory), &memory, 1), whole);
        assert_eq!(drain(&mut new(&memory), &memory, 1021), whole);
    }

    #[test]
    fn estimates_are_what_can_be_read() {
        let mut memory = Memory::after_reset();
        let mut saving = new(&memory);
        let begun = saving.estimate();
        assert!(begun.initial_bytes > 0);
        assert_eq!(begun.dirty_bytes, 0);

        saving.mark_dirty(memory.work(3000));
        let worked = saving.estimate();
        assert_eq!(worked.initial_bytes, begun.initial_bytes);
        assert!(worked.dirty_bytes > 3000);

        let mut buffer = [0; 1000];
        assert_eq!(saving.read(&mut buffer, &memory), Ok(1000));
        assert_eq!(saving.estimate().initial_bytes, begun.initial_bytes - 1000);

        let left = saving.estimate().initial_bytes + saving.estimate().dirty_bytes;
        assert_eq!(drain(&mut saving, &memory, 100).len() as u64, left);
        assert!(!saving.is_readable());
    }

    #[test]
    fn completing_appends_what_is_left_and_the_end_once() {
        let mut memory = Memory::after_reset();
        let mut saving = new(&memory);
        drain(&mut saving, &memory, 4096);
        saving.mark_dirty(memory.work(1));
        let announced = saving.bytes_to_the_end();
        saving.complete(&memory);
        saving.complete(&memory);
        assert_eq!(saving.bytes_to_the_end(), announced);
        assert_eq!(drain(&mut saving, &memory, 77).len() as u64, announced);
        assert!(saving.is_readable());
    }
}
