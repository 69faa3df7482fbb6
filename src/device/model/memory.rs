//! The model's device memory: a page of registers and pages of data.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | identification, read only |
//! | 8..16 | bytes that work has changed since the reset, read only |
//! | 16..24 | not 0 while the device works by itself, read and write |
//! | 24..512 | registers without a meaning, read and write |
//! | 512.. | data, read and write; work happens here |
//!
//! All of it is device state: a migration carries it over.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

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
const READ_ONLY_BYTES: usize = WORK_DONE.end;

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
            if at >= READ_ONLY_BYTES {
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

    /// The bytes that work has changed since the reset.
    pub(super) fn work_done(&self) -> u64 {
        let mut eight = [0; 8];
        eight.copy_from_slice(&self.0[WORK_DONE]);
        u64::from_le_bytes(eight)
    }
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
    fn the_identification_stays() {
        let mut memory = Memory::after_reset();
        assert_eq!(memory.write(0, &[0xff; 17]), Ok(0..17));
        assert_eq!(memory.page(0)[..8], IDENTIFICATION);
        assert_eq!(memory.page(0)[8..17], [0, 0, 0, 0, 0, 0, 0, 0, 0xff]);
    }
}
