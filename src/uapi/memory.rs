//! Memory of special kinds: what the kernel may not touch as it would like, what a device may reach, huge zeroes.
#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

const PAGE_BYTES: usize = 4096;
// The protections are set in steps of the largest page size that Linux uses on the machines that have VFIO.
const STEP_BYTES: usize = 16 * PAGE_BYTES;

/// What may be done with the first part of [`GuardedPages`]; the second part allows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Read and write.
    ReadWrite,
    /// Read only.
    ReadOnly,
    /// Nothing.
    None,
}

/// Two stretches of memory of our own mapping: the first with a chosen protection, the second inaccessible.
///
/// No Rust value lives in it, so whatever the kernel does to it is harmless.
#[derive(Debug)]
pub struct GuardedPages {
    base: NonNull<std::ffi::c_void>,
    offset: usize,
}

impl GuardedPages {
    /// Places `bytes`. With `before_end` 0 they stand at the beginning; otherwise that many of them end the first
    /// stretch, and the rest would be in the inaccessible one.
    ///
    /// # Errors
    /// The errno of the mapping.
    pub fn new(bytes: &[u8], before_end: usize, protection: Protection) -> Result<GuardedPages, Errno> {
        let length = NonZeroUsize::new(2 * STEP_BYTES).ok_or(Errno::EINVAL)?;
        let readable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { mmap_anonymous(None, length, readable, MapFlags::MAP_PRIVATE)? };
        let (offset, fits) = match before_end {
            0 => (0, bytes.len().min(STEP_BYTES)),
            kept => (STEP_BYTES - kept, kept.min(bytes.len())),
        };
        let pages = GuardedPages { base, offset };
        // SAFETY: `offset + fits` is within the first stretch of the mapping that was just made writable.
        unsafe {
            let target = base.as_ptr().cast::<u8>().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, fits);
        }
        let first = match protection {
            Protection::ReadWrite => readable,
            Protection::ReadOnly => ProtFlags::PROT_READ,
            Protection::None => ProtFlags::PROT_NONE,
        };
        // SAFETY: both stretches belong to this mapping, which nothing else refers to.
        unsafe {
            mprotect(base, STEP_BYTES, first)?;
            let second = base.byte_add(STEP_BYTES);
            mprotect(second, STEP_BYTES, ProtFlags::PROT_NONE)?;
        }
        Ok(pages)
    }

    /// Where the bytes begin.
    pub fn address(&self) -> usize {
        self.base.as_ptr() as usize + self.offset
    }
}

/// Memory that a device may be allowed to reach: page aligned, zeroed, at an address that does not move.
///
/// The device writes to it behind Rust's back, so no Rust value lives in it but atomic bytes. A clone is the same memory,
/// which lives as long as one of them does.
#[derive(Debug, Clone)]
pub struct DmaMemory(Arc<Mapping>);

#[derive(Debug)]
struct Mapping {
    base: NonNull<std::ffi::c_void>,
    bytes: usize,
}

// SAFETY: the mapping belongs to no thread, and what lies in it is only touched as atomic bytes.
unsafe impl Send for Mapping {}
// SAFETY: as above; atomic bytes may be touched by several threads at once.
unsafe impl Sync for Mapping {}

impl DmaMemory {
    /// Maps that many bytes, rounded up to whole pages.
    ///
    /// # Errors
    /// The errno of the mapping.
    pub fn new(bytes: usize) -> Result<DmaMemory, Errno> {
        let bytes = bytes.max(1).next_multiple_of(STEP_BYTES);
        let length = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE)? };
        Ok(DmaMemory(Arc::new(Mapping { base, bytes })))
    }

    /// Maps that many bytes of a file, or of a window of a device, which others may have mapped too.
    ///
    /// # Errors
    /// The errno of the mapping.
    pub fn shared(file: impl AsFd, bytes: usize) -> Result<DmaMemory, Errno> {
        let length = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing; whoever else changes what lies in
        // it changes atomic bytes.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0)? };
        Ok(DmaMemory(Arc::new(Mapping { base, bytes })))
    }

    /// Where it begins in this process.
    pub fn address(&self) -> usize {
        self.0.base.as_ptr() as usize
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// What is there now, from `offset` on, as far as the memory goes.
    pub fn read(&self, offset: usize, bytes: usize) -> Vec<u8> {
        let part = self.part(offset, bytes);
        part.iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    /// Puts bytes there, as far as the memory goes.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        for (slot, byte) in self.part(offset, bytes.len()).iter().zip(bytes) {
            slot.store(*byte, Ordering::Relaxed);
        }
    }

    fn part(&self, offset: usize, bytes: usize) -> &[AtomicU8] {
        // SAFETY: the mapping is readable and writable for all of its length, lives as long as `self`, holds nothing but
        // bytes that are only touched atomically, and an atomic byte is as large and as aligned as a byte.
        let all = unsafe { std::slice::from_raw_parts(self.0.base.as_ptr().cast::<AtomicU8>(), self.0.bytes) };
        let start = offset.min(all.len());
        &all[start..start.saturating_add(bytes).min(all.len())]
    }
}

/// Zeroes that take up no memory, however many they are: what a call of a huge length needs.
#[derive(Debug)]
pub struct ZeroPages {
    base: NonNull<std::ffi::c_void>,
    bytes: usize,
}

impl ZeroPages {
    /// Maps that many, at least one.
    ///
    /// # Errors
    /// The errno of the mapping.
    pub fn new(bytes: usize) -> Result<ZeroPages, Errno> {
        let length = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ, flags)? };
        Ok(ZeroPages { base, bytes })
    }

    /// All of them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is of this length, lives as long as `self`, and is readable; since it is private and
        // cannot be written, it never changes.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast(), self.bytes) }
    }
}

impl Drop for ZeroPages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and nothing refers to it any more. A failure would leave it
        // mapped, which harms nobody.
        let _ = unsafe { munmap(self.base, self.bytes) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and nothing refers to it any more; what a device still has of
        // it the IOMMU driver has pinned for itself.
        let _ = unsafe { munmap(self.base, self.bytes) };
    }
}

impl Drop for GuardedPages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and nothing refers to it any more. A failure would leave it
        // mapped, which harms nobody.
        let _ = unsafe { munmap(self.base, 2 * STEP_BYTES) };
    }
}
