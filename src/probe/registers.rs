//! The target's user registers, as `REGISTERS.md` describes them.

use std::thread;
use std::time::{Duration, Instant};

use vfio_conform_pci_target::registers::{layout, user, value};

use super::{Doing, ProbeError};
use crate::device::Device;

/// Longer than the device takes for anything.
const BOUND: Duration = Duration::from_secs(60);
const CONFIG_REGION: u32 = 7;
const COMMAND: u64 = 4;
const MEMORY_AND_MASTER: u16 = 0x6;

/// The registers of an open device.
#[derive(Clone, Copy)]
pub struct Registers<'a> {
    device: &'a dyn Device,
}

impl<'a> Registers<'a> {
    /// Those of this device.
    pub fn of(device: &'a dyn Device) -> Registers<'a> {
        Registers { device }
    }

    /// Reads one.
    pub fn read(&self, offset: u32) -> Result<u32, ProbeError> {
        let mut word = [0; 4];
        let read = self.device.region_read(layout::REGISTER_BAR, u64::from(offset), &mut word);
        read.doing(&format!("read the register at {offset:#x}"))?;
        Ok(u32::from_le_bytes(word))
    }

    /// Reads two that are halves of one number.
    pub fn read64(&self, low: u32) -> Result<u64, ProbeError> {
        Ok(u64::from(self.read(low)?) | u64::from(self.read(low + 4)?) << 32)
    }

    /// Writes one.
    pub fn write(&self, offset: u32, word: u32) -> Result<(), ProbeError> {
        let written = self.device.region_write(layout::REGISTER_BAR, u64::from(offset), &word.to_le_bytes());
        written.doing(&format!("write the register at {offset:#x}")).map(drop)
    }

    /// Writes two that are halves of one number.
    pub fn write64(&self, low: u32, number: u64) -> Result<(), ProbeError> {
        self.write(low, number as u32)?;
        self.write(low + 4, (number >> 32) as u32)
    }

    /// Waits until a register has another value, and returns that.
    pub fn wait_while(&self, offset: u32, busy: u32) -> Result<u32, ProbeError> {
        let end = Instant::now() + BOUND;
        loop {
            let word = self.read(offset)?;
            if word != busy {
                return Ok(word);
            }
            if Instant::now() > end {
                return Err(ProbeError::other(
                    "wait for the device",
                    format!("the register at {offset:#x} stays {busy}"),
                ));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets the function do DMA, as its user has to after every reset.
    pub fn master(&self) -> Result<(), ProbeError> {
        let written = self.device.region_write(CONFIG_REGION, COMMAND, &MEMORY_AND_MASTER.to_le_bytes());
        written.doing("make the function a bus master").map(drop)
    }

    /// Fills device memory.
    pub fn fill(&self, seed: u32) -> Result<(), ProbeError> {
        self.write(user::MEMORY_SEED, seed)?;
        self.command_memory(value::MEMORY_FILL)
    }

    /// What the device itself says its memory holds.
    pub fn digest(&self) -> Result<u32, ProbeError> {
        self.command_memory(value::MEMORY_DIGEST)?;
        self.read(user::DIGEST)
    }

    fn command_memory(&self, command: u32) -> Result<(), ProbeError> {
        self.write(user::MEMORY_COMMAND, command)?;
        match self.wait_while(user::MEMORY_STATUS, value::MEMORY_BUSY)? {
            value::MEMORY_DONE => Ok(()),
            status => Err(ProbeError::other("work on device memory", format!("its status is {status}"))),
        }
    }
}
