//! The model's device memory: a page of registers and pages of data.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | identification, read only |
//! | 8..16 | bytes that work has changed since the reset, read only |
//! | 16..24 | not 0 while the device works by itself, read and write |
//! | 24..32 | while the device is stopped: microseconds until its interrupt comes, and 1; 0 if none is pending; read only |
//! | 32..72 | while the device is stopped: the DMA transfer that waits, read only |
//! | 72..512 | registers without a meaning, read and write |
//! | 512.. | data, read and write; work happens here |
//!
//! All of it is device state: a migration carries it over.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use super::dma::Suspended;
use crate::stimulus::DmaDirection;
use crate::uapi::Errno;

/// The granularity of dirty tracking and of the stream.
pub(super) const PAGE_BYTES: usize = 512;

/// How many pages there are, the registers' included.
pub(super) const PAGES: usize = 32;

/// All of it.
pub(super) const MEMORY_BYTES: usize = PAGE_BYTES * PAGES;

const DATA_BYTES: usize = MEMORY_BYTES - PAGE_BYTES;
const IDENTIFICATION: [u8; 8] = *b"vfiomodl";
const WORK_DONE: Range<usize> = 8..16;
const WORKER: Range<usize> = 16..24;
const INTERRUPT: Range<usize> = 24..32;
const TRANSFER: Range<usize> = 32..72;

/// What a device that is stopped does once it runs again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct InFlight {
    /// How long it is until the interrupt comes.
    pub(super) interrupt: Option<Duration>,
    /// The transfer that waits.
    pub(super) transfer: Option<Suspended>,
}

/// What the device remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory(Vec<u8>);

impl Memory {
    /// The contents after a reset: every word says where it is, so no two pages are equal.
    pub(super) fn after_reset() -> Memory {
        static FRESH: LazyLock<Memory> = LazyLock::new(Memory::fresh);
        FRESH.clone()
    }

    fn fresh() -> Memory {
        let mut bytes = vec![0; MEMORY_BYTES];
        for (number, word) in bytes.chunks_exact_mut(4).enumerate() {
            word.copy_from_slice(&(0xc0de_0000 | (4 * number) as u32).to_le_bytes());
        }
        bytes[..IDENTIFICATION.len()].copy_from_slice(&IDENTIFICATION);
        bytes[WORK_DONE].fill(0);
        bytes[WORKER].fill(0);
        bytes[INTERRUPT].fill(0);
        bytes[TRANSFER].fill(0);
        Memory(bytes)
    }

    /// The contents that a stream has brought.
    pub(super) fn from_image(image: Vec<u8>) -> Memory {
        Memory(image)
    }

    /// The place of the fault that does not restore what it takes for untouched.
    pub(super) fn keep_where_pristine(&mut self, before: &Memory) {
        let pristine = Memory::after_reset();
        for page in (0..PAGES).filter(|page| self.page(*page) == pristine.page(*page)).collect::<Vec<_>>() {
            self.0[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].copy_from_slice(before.page(page));
        }
    }

    /// One page.
    pub(super) fn page(&self, page: usize) -> &[u8] {
        &self.0[page * PAGE_BYTES..(page + 1) * PAGE_BYTES]
    }

    /// Reads what there is from `offset` on.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let range = clip(offset, buffer.len())?;
        buffer[..range.len()].copy_from_slice(&self.0[range.clone()]);
        Ok(range.len())
    }

    /// Writes what there is room for from `offset` on, except for what is read only. Says which bytes that were.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<Range<usize>, Errno> {
        let range = clip(offset, bytes.len())?;
        for (at, byte) in range.clone().zip(bytes) {
            if !is_read_only(at) {
                self.0[at] = *byte;
            }
        }
        Ok(range)
    }

    /// Changes that many bytes of data, as far as there are so many, in a way that follows from the contents alone.
    /// Says which pages are no longer what they were.
    pub(super) fn work(&mut self, bytes: usize) -> BTreeSet<usize> {
        let mut touched = BTreeSet::new();
        if bytes == 0 {
            return touched;
        }
        let done = self.work_done();
        let start = scatter(done);
        for step in 0..bytes.min(DATA_BYTES) {
            let at = PAGE_BYTES + (start + step) % DATA_BYTES;
            // Never 0, so the byte does change.
            self.0[at] ^= scatter(done + step as u64) as u8 | 1;
            touched.insert(at / PAGE_BYTES);
        }
        let done = done.wrapping_add(bytes as u64);
        self.0[WORK_DONE].copy_from_slice(&done.to_le_bytes());
        touched.insert(0);
        touched
    }

    /// All of it.
    pub(super) fn all(&self) -> &[u8] {
        &self.0
    }

    /// That many bytes of data from here on, over and over.
    pub(super) fn data(&self, offset: usize, bytes: usize) -> Vec<u8> {
        let (head, tail) = self.0[PAGE_BYTES..].split_at(offset % DATA_BYTES);
        tail.iter().chain(head).copied().cycle().take(bytes).collect()
    }

    /// Changes data from here on, over and over. Says which pages those are.
    pub(super) fn put_data(&mut self, offset: usize, bytes: &[u8]) -> BTreeSet<usize> {
        let mut touched = BTreeSet::new();
        for (step, byte) in bytes.iter().enumerate() {
            let at = PAGE_BYTES + (offset + step) % DATA_BYTES;
            self.0[at] = *byte;
            touched.insert(at / PAGE_BYTES);
        }
        touched
    }

    /// Whether the device works by itself.
    pub(super) fn is_working(&self) -> bool {
        self.0[WORKER].iter().any(|byte| *byte != 0)
    }

    /// Begins or ends that. Says which page has changed.
    pub(super) fn set_working(&mut self, working: bool) -> usize {
        self.0[WORKER].copy_from_slice(&u64::from(working).to_le_bytes());
        WORKER.start / PAGE_BYTES
    }

    /// What a device that is stopped has not done yet.
    pub(super) fn in_flight(&self) -> InFlight {
        let [interrupt] = self.words(INTERRUPT.start);
        let [direction, iova, bytes, moved, left] = self.words(TRANSFER.start);
        let direction = match direction {
            0 => None,
            1 => Some(DmaDirection::ToMemory),
            _ => Some(DmaDirection::FromMemory),
        };
        InFlight {
            interrupt: interrupt.checked_sub(1).map(Duration::from_micros),
            transfer: direction.map(|direction| Suspended {
                direction,
                iova,
                bytes,
                moved,
                left: Duration::from_micros(left),
            }),
        }
    }

    /// Keeps that. Says which page has changed, if one has.
    pub(super) fn set_in_flight(&mut self, in_flight: InFlight) -> Option<usize> {
        let micros = |left: Duration| left.as_micros() as u64;
        let transfer = in_flight.transfer.map_or([0; 5], |transfer| {
            let direction = match transfer.direction {
                DmaDirection::ToMemory => 1,
                DmaDirection::FromMemory => 2,
            };
            [direction, transfer.iova, transfer.bytes, transfer.moved, micros(transfer.left)]
        });
        let interrupt = in_flight.interrupt.map_or(0, |left| micros(left) + 1);
        let before = self.0[INTERRUPT.start..TRANSFER.end].to_vec();
        for (number, word) in [interrupt].into_iter().chain(transfer).enumerate() {
            let at = INTERRUPT.start + 8 * number;
            self.0[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        (self.0[INTERRUPT.start..TRANSFER.end] != before).then_some(0)
    }

    fn words<const COUNT: usize>(&self, start: usize) -> [u64; COUNT] {
        std::array::from_fn(|number| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&self.0[start + 8 * number..start + 8 * number + 8]);
            u64::from_le_bytes(eight)
        })
    }

    /// The bytes that work has changed since the reset.
    pub(super) fn work_done(&self) -> u64 {
        let [done] = self.words(WORK_DONE.start);
        done
    }
}

fn is_read_only(at: usize) -> bool {
    at < WORK_DONE.end || (INTERRUPT.start..TRANSFER.end).contains(&at)
}

/// The pages that a range of bytes lies in.
pub(super) fn pages_of(range: Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES)
}

/// The part of an access that lies in the memory; one that begins behind its end is refused.
fn clip(offset: u64, length: usize) -> Result<Range<usize>, Errno> {
    let start = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
    if start >= MEMORY_BYTES {
        return Err(Errno::EINVAL);
    }
    Ok(start..start + length.min(MEMORY_BYTES - start))
}

/// A number that looks random and is always the same.
fn scatter(seed: u64) -> usize {
    (seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_changes_as_many_bytes_as_asked_for_and_says_where() {
        for bytes in [1, 100, PAGE_BYTES * 3, DATA_BYTES, DATA_BYTES * 2] {
            let before = Memory::after_reset();
            let mut after = before.clone();
            let touched = after.work(bytes);
            let differing = |range: Range<usize>| range.filter(|at| before.0[*at] != after.0[*at]);
            assert_eq!(differing(PAGE_BYTES..MEMORY_BYTES).count(), bytes.min(DATA_BYTES));
            let pages: BTreeSet<usize> = differing(0..MEMORY_BYTES).map(|at| at / PAGE_BYTES).collect();
            assert_eq!(pages, touched);
        }
        assert!(Memory::after_reset().work(0).is_empty());
    }

    #[test]
    fn work_follows_from_the_contents() {
        let (mut one, mut two) = (Memory::after_reset(), Memory::after_reset());
        one.work(7);
        two.work(7);
        assert_eq!(one, two);
        one.work(7);
        assert_ne!(one, two);
    }

    #[test]
    fn accesses_end_where_the_memory_ends() {
        let mut memory = Memory::after_reset();
        let end = MEMORY_BYTES as u64;
        let mut buffer = [0; 8];
        assert_eq!(memory.read(end - 3, &mut buffer), Ok(3));
        assert_eq!(memory.write(end - 3, &[1; 8]), Ok(MEMORY_BYTES - 3..MEMORY_BYTES));
        assert_eq!(memory.read(end, &mut buffer), Err(Errno::EINVAL));
        assert_eq!(memory.write(u64::MAX, &[1]), Err(Errno::EINVAL));
    }

    #[test]
    fn a_range_lies_in_the_pages_that_it_touches() {
        let page = PAGE_BYTES;
        assert_eq!(pages_of(3..3), 0..0);
        assert_eq!(pages_of(0..page), 0..1);
        assert_eq!(pages_of(page - 1..page + 1), 0..2);
        assert_eq!(pages_of(MEMORY_BYTES - 1..MEMORY_BYTES), PAGES - 1..PAGES);
    }

    #[test]
    fn what_is_in_flight_is_kept_and_is_not_the_users() {
        let mut memory = Memory::after_reset();
        assert_eq!(memory.in_flight(), InFlight::default());
        assert_eq!(memory.set_in_flight(InFlight::default()), None);
        let in_flight = InFlight {
            interrupt: Some(Duration::ZERO),
            transfer: Some(Suspended {
                direction: DmaDirection::FromMemory,
                iova: 0x1000,
                bytes: 7,
                moved: 3,
                left: Duration::from_micros(5),
            }),
        };
        assert_eq!(memory.set_in_flight(in_flight), Some(0));
        assert_eq!(memory.write(0, &[0xff; PAGE_BYTES]), Ok(0..PAGE_BYTES));
        assert_eq!(memory.in_flight(), in_flight);
    }

    #[test]
    fn the_identification_stays() {
        let mut memory = Memory::after_reset();
        assert_eq!(memory.write(0, &[0xff; 17]), Ok(0..17));
        assert_eq!(memory.page(0)[..8], IDENTIFICATION);
        assert_eq!(memory.page(0)[8..17], [0, 0, 0, 0, 0, 0, 0, 0, 0xff]);
    }
}
