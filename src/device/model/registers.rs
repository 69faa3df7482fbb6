//! Registers through which a profile stimulates the model, as it would hardware.
//!
//! They lie in `bar2`, which only profiles reach: VFIO shows one region, the device memory. So a profile can be tried,
//! and a wrong one shown to be blocked, without a guest. As in hardware, an offset without a register reads as 0, and
//! writing to it does nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{MEMORY_REGION, Shared};
use crate::stimulus::profile::Port;
use crate::stimulus::{DmaDirection, Observation, Stimulus};
use crate::uapi::Errno;
use crate::uapi::memory::DmaMemory;

/// The region of the registers.
const REGISTERS: u32 = 2;

/// `BREAK_MAGIC` here has the next transition fail.
const BREAK: u64 = 0x00;
/// 1 begins work, 0 ends it.
const WORK: u64 = 0x08;
/// 1 reconfigures device memory.
const RECONFIGURE: u64 = 0x10;
/// Microseconds until an interrupt arrives.
const INTERRUPT_DELAY: u64 = 0x18;
/// The vector to raise; there is only 0.
const INTERRUPT_TRIGGER: u64 = 0x20;
/// The I/O address of a transfer.
const DMA_IOVA: u64 = 0x28;
/// Its length in bytes.
const DMA_BYTES: u64 = 0x30;
/// Microseconds until its first byte moves.
const DMA_DELAY: u64 = 0x38;
/// 1 begins to write memory, 3 to read it.
const DMA_START: u64 = 0x40;
/// 0 none, 1 busy, 2 complete, 4 ended badly. Read only.
const DMA_STATUS: u64 = 0x48;
/// Bytes that work has changed. Read only.
const PROGRESS: u64 = 0x50;
/// Changes that many bytes of device memory.
const CHANGE: u64 = 0x58;

const BREAK_MAGIC: u64 = 0x4b52_4f57;

/// What was written and waits for the register that begins something.
#[derive(Debug, Default)]
pub(super) struct Registers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    interrupt_delay: u64,
    iova: u64,
    bytes: u64,
    dma_delay: u64,
    has_begun: bool,
}

/// The model as the steps of a profile reach it.
pub(super) struct ModelPort<'a> {
    pub(super) name: &'a str,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) registers: &'a Registers,
}

impl Port for ModelPort<'_> {
    fn read(&self, region: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        match region {
            MEMORY_REGION => self.shared.change(|machine| machine.memory.read(offset, buffer)),
            REGISTERS => {
                let bytes = self.register(offset).to_le_bytes();
                let count = buffer.len().min(bytes.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                Ok(count)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn write(&self, region: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        match region {
            MEMORY_REGION => self.shared.change(|machine| machine.write_memory(offset, bytes)),
            REGISTERS => {
                let count = bytes.len().min(8);
                let mut eight = [0; 8];
                eight[..count].copy_from_slice(&bytes[..count]);
                self.set_register(offset, u64::from_le_bytes(eight));
                Ok(count)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        self.shared.lock().map(iova, memory)
    }

    fn name(&self) -> &str {
        self.name
    }
}

impl ModelPort<'_> {
    fn register(&self, offset: u64) -> u64 {
        match offset {
            DMA_STATUS if !self.with(|waiting| waiting.has_begun) => 0,
            DMA_STATUS => self.shared.change(|machine| match machine.dma_outcome() {
                None => 1,
                Some(Ok(())) => 2,
                Some(Err(_)) => 4,
            }),
            PROGRESS => self.shared.change(|machine| {
                let bytes = machine.observe(Observation::Progress);
                bytes.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
            }),
            _ => 0,
        }
    }

    fn set_register(&self, offset: u64, value: u64) {
        let micros = Duration::from_micros;
        let stimulus = self.with(|waiting| {
            match (offset, value) {
                (INTERRUPT_DELAY, delay) => waiting.interrupt_delay = delay,
                (DMA_IOVA, iova) => waiting.iova = iova,
                (DMA_BYTES, bytes) => waiting.bytes = bytes,
                (DMA_DELAY, delay) => waiting.dma_delay = delay,
                (BREAK, BREAK_MAGIC) => return Some(Stimulus::EnterError),
                (WORK, 1) => return Some(Stimulus::StartWork),
                (WORK, 0) => return Some(Stimulus::StopWork),
                (RECONFIGURE, 1) => return Some(Stimulus::Reconfigure),
                (CHANGE, bytes) => return Some(Stimulus::Dirty(usize::try_from(bytes).unwrap_or(usize::MAX))),
                (INTERRUPT_TRIGGER, 0) => return Some(Stimulus::Interrupt { after: micros(waiting.interrupt_delay) }),
                (DMA_START, 1 | 3) => {
                    waiting.has_begun = true;
                    let direction = if value == 1 { DmaDirection::ToMemory } else { DmaDirection::FromMemory };
                    let Waiting { iova, bytes, dma_delay, .. } = *waiting;
                    return Some(Stimulus::Dma { direction, iova, bytes, after: micros(dma_delay) });
                }
                _ => {}
            }
            None
        });
        if let Some(stimulus) = stimulus {
            self.shared.change(|machine| machine.stimulate(stimulus));
        }
    }

    fn with<T>(&self, action: impl FnOnce(&mut Waiting) -> T) -> T {
        action(&mut self.registers.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
