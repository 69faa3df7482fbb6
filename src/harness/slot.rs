//! Where an executor writes its record of operations: memory that it shares with its keeper, or that a guest shares with its
//! host. To write there costs next to nothing, and whatever the executor or the guest's kernel dies of, somebody is left
//! who reads what was being done.

use std::fs::OpenOptions;
use std::path::Path;

use super::outcome::Operation;
use super::record;
use crate::uapi::memory::DmaMemory;

/// The size of a slot: the last so many bytes of a record are kept.
pub const SLOT_BYTES: usize = 128 << 10;
/// How much was written in all stands before the rest.
const HEADER_BYTES: usize = size_of::<u64>();
const ROOM: usize = SLOT_BYTES - HEADER_BYTES;

/// The slot of an executor.
#[derive(Debug)]
pub struct Slot {
    memory: DmaMemory,
    at: usize,
    written: u64,
}

impl Slot {
    /// The slot of that number, in memory that holds it.
    pub fn new(memory: DmaMemory, slot: usize) -> Slot {
        Slot { memory, at: slot * SLOT_BYTES, written: 0 }
    }

    /// The slot of that number, in a file or the window of a device that holds it.
    ///
    /// # Errors
    /// Why it cannot be mapped.
    pub fn open(path: &Path, slot: usize) -> std::io::Result<Slot> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or_default();
        Ok(Slot::new(DmaMemory::shared(&file, bytes)?, slot))
    }

    /// What was done by whoever wrote to it and is gone.
    pub(super) fn operations(&self) -> Vec<Operation> {
        read_back(&self.memory.read(self.at, SLOT_BYTES), 0)
    }

    /// Nothing was written.
    pub(super) fn clear(&mut self) {
        self.written = 0;
        self.tell();
    }

    /// Writes on; what is oldest goes away if there is no room.
    pub(super) fn append(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let place = (self.written % ROOM as u64) as usize;
            let (part, later) = rest.split_at(rest.len().min(ROOM - place));
            self.memory.write(self.at + HEADER_BYTES + place, part);
            self.written += part.len() as u64;
            rest = later;
        }
        self.tell();
    }

    /// Comes last, so that whoever reads it finds all that it says.
    fn tell(&self) {
        self.memory.write(self.at, &self.written.to_le_bytes());
    }
}

/// Reads the slot of that number, once who wrote it is gone. What has no slot did nothing.
pub fn read_back(memory: &[u8], slot: usize) -> Vec<Operation> {
    let Some((header, text)) = memory.get(slot * SLOT_BYTES..).and_then(|rest| rest.split_at_checked(HEADER_BYTES))
    else {
        return Vec::new();
    };
    let Some(text) = text.get(..ROOM) else {
        return Vec::new();
    };
    let written = header.try_into().map(u64::from_le_bytes).unwrap_or_default();
    let place = (written % ROOM as u64) as usize;
    let text = match usize::try_from(written) {
        Ok(written) if written <= ROOM => text[..written].to_vec(),
        // The first line has lost its beginning, unless it ended just there.
        _ => [&text[place..], &text[..place]].concat(),
    };
    record::read_back(&String::from_utf8_lossy(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(memory: &DmaMemory, slot: usize) -> Vec<String> {
        let operations = read_back(&memory.read(0, memory.bytes()), slot);
        operations.into_iter().map(|operation| operation.what).collect()
    }

    #[test]
    fn what_was_done_last_is_read_from_the_slot_that_it_was_written_to() {
        let memory = DmaMemory::new(2 * SLOT_BYTES).expect("memory");
        let (mut first, mut second) = (Slot::new(memory.clone(), 0), Slot::new(memory.clone(), 1));
        first.append(">0\tRESET\n<1\t0\n>0.5\tSET STOP\n");
        second.append(">0\tGET\n");
        assert_eq!((read(&memory, 0), read(&memory, 1)), (vec!["RESET".into(), "SET STOP".into()], vec!["GET".into()]));
        first.clear();
        assert_eq!((read(&memory, 0).len(), read(&memory, 1).len(), read(&memory, 2).len()), (0, 1, 0));
    }

    #[test]
    fn of_more_than_there_is_room_for_the_last_is_kept() {
        let memory = DmaMemory::new(SLOT_BYTES).expect("memory");
        let mut slot = Slot::new(memory.clone(), 0);
        for number in 0..20_000 {
            slot.append(&format!(">0\tread {number}\n"));
        }
        let seen = read(&memory, 0);
        assert_eq!(seen.last().map(String::as_str), Some("read 19999"));
        assert!(seen.len() > ROOM / 20 && seen.len() < 20_000, "{}", seen.len());
    }
}
