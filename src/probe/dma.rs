//! DMA through the IOMMU: what is mapped is written and logged, what is not faults, and a reset ends it.

use std::time::Instant;

use serde::Serialize;
use vfio_conform_pci_target::registers::{layout, user, value};

use super::registers::Registers;
use super::{Doing, ProbeError};
use crate::device::Device;
use crate::uapi::dma_logging::{IovaRange, LoggingReport, LoggingStart};
use crate::uapi::memory::DmaMemory;

const PAGE: usize = 4096;
const BUFFER_PAGES: usize = 16;
const IOVA: u64 = 0x10_0000;
const SEED: u32 = 0xd0a;
/// A log reaches so many pages further than the buffer, on either side.
const LOG_MARGIN_PAGES: usize = 4;
/// Where in the buffer the logged transfer begins: it writes only the end of its first page.
const LOGGED_FIRST: usize = 14 * PAGE - 4;

/// How one transfer ended.
#[derive(Debug, Serialize)]
struct Transfer {
    /// `DMA_STATUS`.
    status: u32,
    /// `DMA_FAULT`.
    fault: u64,
    /// `DMA_COMPLETED`.
    completed: u32,
    /// The pages of the buffer that hold something else than before, by number.
    changed: Vec<usize>,
}

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Dma {
    /// Three pages in the middle of the buffer.
    mapped: Transfer,
    /// Whether those pages hold what device memory holds.
    exact: bool,
    /// Two pages, of which the second is behind the buffer's end.
    over_the_end: Transfer,
    /// The page before the buffer.
    before: Transfer,
    /// The same pages as the first transfer, after the buffer was unmapped.
    unmapped: Transfer,
}

/// Has the device write to I/O addresses that are mapped and to some that are not.
pub fn run(device: &dyn Device) -> Result<Dma, ProbeError> {
    let mut bench = Bench::new(device)?;
    let first = IOVA + 4 * PAGE as u64;
    let mapped = bench.transfer(first, 3)?;
    let exact = bench.pages_are_of_device_memory(4, 3)?;
    let end = IOVA + (BUFFER_PAGES * PAGE) as u64;
    let over_the_end = bench.transfer(end - PAGE as u64, 2)?;
    let before = bench.transfer(IOVA - PAGE as u64, 1)?;
    device.unmap(IOVA, (BUFFER_PAGES * PAGE) as u64).doing("unmap the buffer")?;
    let unmapped = bench.transfer(first, 3)?;
    Ok(Dma { mapped, exact, over_the_end, before, unmapped })
}

/// What one transfer over the end of what is mapped left behind.
#[derive(Debug, Serialize)]
pub struct LoggedDma {
    /// From the last bytes of page 13 of the buffer to a page behind its end.
    transfer: Transfer,
    /// Whether the buffer holds device memory from the transfer's first byte on, and before it what it held.
    exact: bool,
    /// The pages that REPORT had bits for, counted from the beginning of the buffer.
    logged: Vec<i64>,
    /// The same for a second REPORT, between which and the first one nothing was written.
    logged_again: Vec<i64>,
}

/// Has the device write to mapped and unmapped I/O addresses in one transfer, while both are logged.
pub fn run_logged(device: &dyn Device) -> Result<LoggedDma, ProbeError> {
    let mut bench = Bench::new(device)?;
    let margin = (LOG_MARGIN_PAGES * PAGE) as u64;
    let log = IovaRange { iova: IOVA - margin, length: (BUFFER_PAGES * PAGE) as u64 + 2 * margin };
    let mut start = LoggingStart::new(PAGE as u64, vec![log]);
    device.dma_logging_start(&mut start).doing("start a log (the kernel needs DMA logging: --kernel debug-7.3)")?;
    let before = bench.seen.clone();
    let mapped = BUFFER_PAGES * PAGE - LOGGED_FIRST;
    let transfer = bench.transfer_bytes(IOVA + LOGGED_FIRST as u64, mapped + PAGE)?;
    let exact = bench.seen[..LOGGED_FIRST] == before[..LOGGED_FIRST]
        && bench.seen[LOGGED_FIRST..] == bench.device_memory(mapped)?;
    let logged = bench.report(log)?;
    let logged_again = bench.report(log)?;
    device.dma_logging_stop().doing("stop the log")?;
    Ok(LoggedDma { transfer, exact, logged, logged_again })
}

/// What a reset in the middle of a transfer left.
#[derive(Debug, Serialize)]
pub struct ResetUnderDma {
    /// `DMA_STATUS` before the reset.
    before: u32,
    /// How long the reset took.
    reset_seconds: f64,
    /// The state of migration after it.
    state: u32,
    /// `DMA_STATUS` and `DMA_COMPLETED` after it.
    after: [u32; 2],
    /// Pages of the buffer that were written after the reset.
    changed: Vec<usize>,
    /// A transfer that was started afterwards.
    next: Transfer,
}

/// Resets the device while a transfer moves, again and again.
pub fn reset_under(device: &dyn Device) -> Result<ResetUnderDma, ProbeError> {
    let mut bench = Bench::new(device)?;
    let registers = bench.registers;
    bench.start(IOVA, BUFFER_PAGES * PAGE, value::DMA_REPEAT)?;
    registers.wait_while(user::DMA_COMPLETED, 0)?;
    let before = registers.read(user::DMA_STATUS)?;
    let began = Instant::now();
    device.reset().doing("reset the device in the middle of DMA")?;
    let reset_seconds = began.elapsed().as_secs_f64();
    registers.master()?;
    // Whatever is written from here on, the reset did not end.
    bench.note_pages();
    let after = [registers.read(user::DMA_STATUS)?, registers.read(user::DMA_COMPLETED)?];
    let changed = bench.changed_pages();
    let state = device.state().doing("ask for the state")?.device_state;
    registers.fill(SEED + 1)?;
    let next = bench.transfer(IOVA, 1)?;
    Ok(ResetUnderDma { before, reset_seconds, state, after, changed, next })
}

struct Bench<'a> {
    registers: Registers<'a>,
    device: &'a dyn Device,
    buffer: DmaMemory,
    seen: Vec<u8>,
}

impl<'a> Bench<'a> {
    fn new(device: &'a dyn Device) -> Result<Bench<'a>, ProbeError> {
        let registers = Registers::of(device);
        let buffer = DmaMemory::new(BUFFER_PAGES * PAGE).doing("get a buffer")?;
        device.map(IOVA, &buffer).doing("map the buffer")?;
        registers.master()?;
        registers.fill(SEED)?;
        let mut bench = Bench { registers, device, buffer, seen: Vec::new() };
        bench.note_pages();
        Ok(bench)
    }

    fn start(&self, iova: u64, bytes: usize, command: u32) -> Result<(), ProbeError> {
        let registers = self.registers;
        registers.write64(user::DMA_MEMORY_LO, 0)?;
        registers.write64(user::DMA_IOVA_LO, iova)?;
        registers.write(user::DMA_LENGTH, bytes as u32)?;
        registers.write(user::DMA_LATENCY, 0)?;
        registers.write(user::DMA_PACE, 0)?;
        registers.write(user::DMA_COMMAND, command | value::DMA_START)
    }

    fn transfer(&mut self, iova: u64, pages: usize) -> Result<Transfer, ProbeError> {
        self.transfer_bytes(iova, pages * PAGE)
    }

    fn transfer_bytes(&mut self, iova: u64, bytes: usize) -> Result<Transfer, ProbeError> {
        self.start(iova, bytes, 0)?;
        let status = self.registers.wait_while(user::DMA_STATUS, value::DMA_BUSY)?;
        let fault = self.registers.read64(user::DMA_FAULT_LO)?;
        let completed = self.registers.read(user::DMA_COMPLETED)?;
        Ok(Transfer { status, fault, completed, changed: self.changed_pages() })
    }

    fn note_pages(&mut self) {
        self.seen = self.buffer.read(0, BUFFER_PAGES * PAGE);
    }

    /// Which pages have changed since they were looked at last.
    fn changed_pages(&mut self) -> Vec<usize> {
        let before = std::mem::take(&mut self.seen);
        self.note_pages();
        let pages = before.chunks(PAGE).zip(self.seen.chunks(PAGE)).enumerate();
        pages.filter(|(_, (before, now))| before != now).map(|(number, _)| number).collect()
    }

    fn pages_are_of_device_memory(&self, first: usize, pages: usize) -> Result<bool, ProbeError> {
        Ok(self.seen[first * PAGE..(first + pages) * PAGE] == self.device_memory(pages * PAGE)?)
    }

    /// The pages that were written since the last report, counted from the beginning of the buffer.
    fn report(&self, range: IovaRange) -> Result<Vec<i64>, ProbeError> {
        let mut report = LoggingReport::new(range, PAGE as u64);
        self.device.dma_logging_report(&mut report).doing("have the log reported")?;
        let has_bit = |page: &usize| report.bitmap.get(page / 64).is_some_and(|word| word >> (page % 64) & 1 == 1);
        Ok((0..report.bitmap.len() * 64).filter(has_bit).map(|page| page as i64 - LOG_MARGIN_PAGES as i64).collect())
    }

    /// The first bytes of device memory.
    fn device_memory(&self, bytes: usize) -> Result<Vec<u8>, ProbeError> {
        let mut memory = vec![0; bytes];
        let mut done = 0;
        while done < memory.len() {
            done += self
                .device
                .region_read(layout::MEMORY_BAR, done as u64, &mut memory[done..])
                .doing("read device memory")?;
        }
        Ok(memory)
    }
}
