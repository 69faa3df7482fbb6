//! The two ways to read and write: one buffer, or a vector of them.

use std::io::{IoSlice, IoSliceMut};

use crate::device::Stream;
use crate::uapi::Errno;

/// How many buffers a vector has, if there are bytes for so many.
const BUFFERS: usize = 3;

/// In how many buffers a call moves data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// `read` and `write`: one.
    Plain,
    /// `readv` and `writev`: several.
    Vector,
}

impl Call {
    /// What the call for reading is called.
    pub(super) const fn reads(self) -> &'static str {
        match self {
            Call::Plain => "read",
            Call::Vector => "readv",
        }
    }

    pub(super) fn read(self, stream: &dyn Stream, buffer: &mut [u8]) -> Result<usize, Errno> {
        let part = part_of(buffer.len());
        match self {
            Call::Plain => stream.read(buffer),
            Call::Vector => stream.readv(&mut buffer.chunks_mut(part).map(IoSliceMut::new).collect::<Vec<_>>()),
        }
    }

    pub(super) fn write(self, stream: &dyn Stream, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Call::Plain => stream.write(bytes),
            Call::Vector => stream.writev(&bytes.chunks(part_of(bytes.len())).map(IoSlice::new).collect::<Vec<_>>()),
        }
    }
}

/// Uneven, so that no part ends where data of an even size does.
fn part_of(bytes: usize) -> usize {
    bytes / BUFFERS + 1
}
