//! The model's DMA engine: one transfer at a time, piece by piece, through what the user has mapped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::memory::Memory;
use crate::stimulus::DmaDirection;
use crate::uapi::Errno;
use crate::uapi::memory::DmaMemory;

/// What is moved at once, at most; never more than one page of I/O addresses.
const PIECE_BYTES: u64 = 4096;

/// From piece to piece.
const PACE: Duration = Duration::from_micros(500);

/// What the user lets the device reach: I/O addresses, with the memory that lies there.
#[derive(Debug, Default)]
pub(super) struct Mappings(BTreeMap<u64, DmaMemory>);

impl Mappings {
    /// As type1 does: no overlap.
    pub(super) fn map(&mut self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        let end = iova.checked_add(memory.bytes() as u64).ok_or(Errno::EINVAL)?;
        if self.0.iter().any(|(start, memory)| *start < end && iova < start + memory.bytes() as u64) {
            return Err(Errno::EEXIST);
        }
        self.0.insert(iova, memory.clone());
        Ok(0)
    }

    /// As type1 does: takes away what lies wholly within. Returns how many bytes that was.
    pub(super) fn unmap(&mut self, iova: u64, bytes: u64) -> Result<u64, Errno> {
        let end = iova.checked_add(bytes).ok_or(Errno::EINVAL)?;
        let before = self.bytes();
        self.0.retain(|start, memory| *start < iova || start + memory.bytes() as u64 > end);
        Ok(before - self.bytes())
    }

    fn bytes(&self) -> u64 {
        self.0.values().map(|memory| memory.bytes() as u64).sum()
    }

    /// The memory at an address, with how far into it that is.
    fn find(&self, iova: u64) -> Option<(&DmaMemory, usize)> {
        let (start, memory) = self.0.range(..=iova).next_back()?;
        let offset = usize::try_from(iova - start).ok()?;
        (offset < memory.bytes()).then_some((memory, offset))
    }
}

/// A transfer that has begun and is not over.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    direction: DmaDirection,
    iova: u64,
    bytes: u64,
    moved: u64,
    due: Instant,
}

/// A transfer that waits until the device runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspended {
    pub(super) direction: DmaDirection,
    pub(super) iova: u64,
    pub(super) bytes: u64,
    /// How much was moved already.
    pub(super) moved: u64,
    /// How long it is until the next piece moves.
    pub(super) left: Duration,
}

/// The engine.
#[derive(Debug, Default)]
pub(super) struct Engine {
    transfer: Option<Transfer>,
    /// How much later than it should the last piece of a transfer moves.
    lingers: Duration,
    /// What became of the last transfer that is over.
    outcome: Option<Result<(), String>>,
}

/// What the engine did to the rest of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moved {
    /// It wrote so many bytes at this I/O address.
    Out(u64, u64),
    /// It read so many bytes there, and changed device memory.
    In(u64, u64, Vec<usize>),
}

impl Engine {
    /// An engine whose transfers end so much late.
    pub(super) fn lingering(lingers: Duration) -> Engine {
        Engine { lingers, ..Engine::default() }
    }

    /// Begins a transfer. A later one takes the place of one that is not over.
    pub(super) fn begin(&mut self, direction: DmaDirection, iova: u64, bytes: u64, due: Instant) {
        self.transfer = Some(Transfer { direction, iova, bytes, moved: 0, due });
        self.outcome = None;
    }

    /// Whether a transfer is not over.
    pub(super) fn is_busy(&self) -> bool {
        self.transfer.is_some()
    }

    /// Whether data has moved and more is to come.
    pub(super) fn is_moving(&self) -> bool {
        self.transfer.is_some_and(|transfer| transfer.moved > 0)
    }

    /// What became of the last transfer; `None` if it is not over.
    pub(super) fn outcome(&self) -> Option<Result<(), String>> {
        match self.is_busy() {
            true => None,
            false => Some(self.outcome.clone().unwrap_or_else(|| Err("no transfer was begun".to_owned()))),
        }
    }

    /// Gives up what is not over.
    pub(super) fn drop_transfer(&mut self) {
        if self.transfer.take().is_some() {
            self.outcome = Some(Err("the transfer was dropped".to_owned()));
        }
    }

    /// What is not over, as it stands now.
    pub(super) fn suspended(&self, now: Instant) -> Option<Suspended> {
        let Transfer { direction, iova, bytes, moved, due } = self.transfer?;
        Some(Suspended { direction, iova, bytes, moved, left: due.saturating_duration_since(now) })
    }

    /// Goes on with that, whatever there was before.
    pub(super) fn go_on(&mut self, suspended: Option<Suspended>, now: Instant) {
        match suspended {
            None => self.drop_transfer(),
            Some(Suspended { direction, iova, bytes, moved, left }) => {
                self.begin(direction, iova, bytes, now + left);
                self.transfer = self.transfer.map(|transfer| Transfer { moved, ..transfer });
            }
        }
    }

    /// Moves what is due.
    pub(super) fn advance(&mut self, now: Instant, memory: &mut Memory, mappings: &Mappings) -> Vec<Moved> {
        let mut all = Vec::new();
        while let Some(due) = self.transfer.map(|transfer| transfer.due).filter(|due| *due <= now) {
            all.extend(self.step(memory, mappings));
            if let Some(transfer) = &mut self.transfer {
                let is_last = transfer.bytes - transfer.moved <= PIECE_BYTES;
                transfer.due = due + PACE + if is_last { self.lingers } else { Duration::ZERO };
            }
        }
        all
    }

    /// Moves all that is left of a transfer, due or not.
    pub(super) fn finish(&mut self, memory: &mut Memory, mappings: &Mappings) -> Vec<Moved> {
        let mut all = Vec::new();
        while self.transfer.is_some() {
            all.extend(self.step(memory, mappings));
        }
        all
    }

    fn step(&mut self, memory: &mut Memory, mappings: &Mappings) -> Option<Moved> {
        let transfer = self.transfer.as_mut()?;
        let iova = transfer.iova.wrapping_add(transfer.moved);
        let length = (PIECE_BYTES - iova % PIECE_BYTES).min(transfer.bytes - transfer.moved);
        let Some((host, offset)) = mappings.find(iova) else {
            self.transfer = None;
            self.outcome = Some(Err(format!("the device may not reach the I/O address {iova:#x}")));
            return None;
        };
        let place = transfer.moved as usize;
        let moved = match transfer.direction {
            DmaDirection::ToMemory => {
                host.write(offset, &memory.data(place, length as usize));
                Moved::Out(iova, length)
            }
            DmaDirection::FromMemory => {
                let touched = memory.put_data(place, &host.read(offset, length as usize));
                Moved::In(iova, length, touched.into_iter().collect())
            }
        };
        transfer.moved += length;
        if transfer.moved >= transfer.bytes {
            self.transfer = None;
            self.outcome = Some(Ok(()));
        }
        Some(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(iova: u64) -> Result<(Mappings, DmaMemory), Errno> {
        let memory = DmaMemory::new(1)?;
        let mut mappings = Mappings::default();
        mappings.map(iova, &memory)?;
        Ok((mappings, memory))
    }

    #[test]
    fn a_transfer_moves_when_it_is_due_and_piece_by_piece() -> Result<(), Errno> {
        let (mappings, host) = mapped(0x1_0000)?;
        let (mut engine, mut memory, begun) = (Engine::default(), Memory::after_reset(), Instant::now());
        engine.begin(DmaDirection::ToMemory, 0x1_0ffe, 4, begun + PACE);
        assert_eq!(engine.advance(begun, &mut memory, &mappings), []);
        assert_eq!(engine.advance(begun + PACE, &mut memory, &mappings), [Moved::Out(0x1_0ffe, 2)]);
        assert!(engine.is_moving());
        assert_eq!(engine.finish(&mut memory, &mappings), [Moved::Out(0x1_1000, 2)]);
        assert_eq!(engine.outcome(), Some(Ok(())));
        assert_eq!(host.read(0xffe, 4), memory.data(0, 4));
        Ok(())
    }

    #[test]
    fn what_is_not_mapped_ends_a_transfer() -> Result<(), Errno> {
        let (mappings, _host) = mapped(0x1_0000)?;
        let (mut engine, mut memory) = (Engine::default(), Memory::after_reset());
        engine.begin(DmaDirection::FromMemory, 0x1_fffe, 4, Instant::now());
        assert_eq!(engine.finish(&mut memory, &mappings).len(), 1);
        assert!(matches!(engine.outcome(), Some(Err(why)) if why.contains("0x20000")));
        Ok(())
    }

    #[test]
    fn mappings_do_not_overlap_and_go_away_whole() -> Result<(), Errno> {
        let (mut mappings, host) = mapped(0x1_0000)?;
        assert_eq!(mappings.map(0x1_f000, &host), Err(Errno::EEXIST));
        assert_eq!(mappings.unmap(0x1_1000, 0x1_0000), Ok(0));
        assert_eq!(mappings.unmap(0, 0x4_0000), Ok(host.bytes() as u64));
        Ok(())
    }
}
