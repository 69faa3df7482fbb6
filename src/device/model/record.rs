//! The form of the model's migration stream: records, each with a header of [`HEADER_BYTES`] and contents.
//!
//! A stream is one [`Kind::Begin`], then pages in any order, each of them at least once and the newest contents last,
//! then one [`Kind::End`] and nothing more. All numbers are little endian.
//!
//! | header bytes | what |
//! |---|---|
//! | 0..4 | magic |
//! | 4..6 | version |
//! | 6..8 | kind |
//! | 8..12 | page: its number |
//! | 12..16 | length of the contents |
//! | 16..20 | checksum of header and contents |

use super::memory::{MEMORY_BYTES, PAGE_BYTES};
use crate::uapi::Errno;

const MAGIC: [u8; 4] = *b"VCMS";
const VERSION: u16 = 1;

/// Bytes of a record before its contents.
pub(super) const HEADER_BYTES: usize = 20;

/// Bytes of the record that begins a stream.
pub(super) const BEGIN_RECORD_BYTES: usize = HEADER_BYTES + size_of::<u32>();

/// Bytes of the record of a page.
pub(super) const PAGE_RECORD_BYTES: usize = HEADER_BYTES + PAGE_BYTES;

/// Bytes of the record that ends a stream.
pub(super) const END_RECORD_BYTES: usize = HEADER_BYTES;

/// What a record is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Says for which device the stream is: the contents are its memory's size.
    Begin,
    /// The contents of one page.
    Page,
    /// The stream is complete.
    End,
    /// The contents of all pages.
    Image,
}

impl Kind {
    fn from_number(number: u16) -> Option<Kind> {
        [Kind::Begin, Kind::Page, Kind::End, Kind::Image].into_iter().find(|kind| *kind as u16 == number)
    }

    /// Bytes of the contents; no kind leaves a choice.
    fn content_bytes(self) -> usize {
        match self {
            Kind::Begin => size_of::<u32>(),
            Kind::Page => PAGE_BYTES,
            Kind::End => 0,
            Kind::Image => MEMORY_BYTES,
        }
    }
}

/// One record that was found whole and sound.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// What it is there for.
    pub(super) kind: Kind,
    /// Which page; without a meaning, and 0, for the other kinds.
    pub(super) page: u32,
    /// What follows its header.
    pub(super) contents: &'a [u8],
}

impl Record<'_> {
    /// Bytes that it takes in the stream.
    pub(super) fn bytes(&self) -> usize {
        HEADER_BYTES + self.contents.len()
    }
}

/// The first record of every stream.
pub(super) fn begin() -> Vec<u8> {
    encode(Kind::Begin, 0, &(MEMORY_BYTES as u32).to_le_bytes())
}

/// The record of a page.
pub(super) fn page(number: usize, contents: &[u8]) -> Vec<u8> {
    encode(Kind::Page, number as u32, contents)
}

/// The record of all pages, which some devices begin with.
pub(super) fn image(contents: &[u8]) -> Vec<u8> {
    encode(Kind::Image, 0, contents)
}

/// The last record of every stream. What stands in its unused field makes no difference.
pub(super) fn end(unused: u32) -> Vec<u8> {
    encode(Kind::End, unused, &[])
}

fn encode(kind: Kind, page: u32, contents: &[u8]) -> Vec<u8> {
    let mut record = MAGIC.to_vec();
    record.extend(VERSION.to_le_bytes());
    record.extend((kind as u16).to_le_bytes());
    record.extend(page.to_le_bytes());
    record.extend((contents.len() as u32).to_le_bytes());
    let checksum = checksum(&record, contents);
    record.extend(checksum.to_le_bytes());
    record.extend(contents);
    record
}

/// The place of the fault that does not look at magic and version.
pub(super) fn make_ours(bytes: &mut [u8]) {
    let ours = MAGIC.into_iter().chain(VERSION.to_le_bytes());
    bytes.iter_mut().zip(ours).for_each(|(byte, ours)| *byte = ours);
}

/// Finds the first record in these bytes; `None` if it is not whole yet.
///
/// # Errors
/// EINVAL if this is not, or cannot become, a record of ours.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Record<'_>>, Errno> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Ok(None);
    };
    if header[0..4] != MAGIC || u16_at(header, 4) != VERSION {
        return Err(Errno::EINVAL);
    }
    let kind = Kind::from_number(u16_at(header, 6)).ok_or(Errno::EINVAL)?;
    if u32_at(header, 12) as usize != kind.content_bytes() {
        return Err(Errno::EINVAL);
    }
    let Some(contents) = rest.get(..kind.content_bytes()) else {
        return Ok(None);
    };
    if u32_at(header, 16) != checksum(&header[..16], contents) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(Record { kind, page: u32_at(header, 8), contents }))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// FNV-1a over words of four bytes: no two records that differ in one bit have the same.
fn checksum(header: &[u8], contents: &[u8]) -> u32 {
    let mut sum = 0x811c_9dc5_u32;
    for part in [header, contents] {
        for word in part.as_chunks().0 {
            sum = (sum ^ u32::from_le_bytes(*word)).wrapping_mul(0x0100_0193);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back() {
        let contents = [7; PAGE_BYTES];
        let bytes = page(3, &contents);
        assert_eq!(bytes.len(), PAGE_RECORD_BYTES);
        let record = Record { kind: Kind::Page, page: 3, contents: &contents };
        assert_eq!(record.bytes(), bytes.len());
        assert_eq!(decode(&bytes), Ok(Some(record)));
        assert_eq!(begin().len(), BEGIN_RECORD_BYTES);
        assert_eq!(end(0).len(), END_RECORD_BYTES);
    }

    #[test]
    fn a_record_that_is_not_whole_has_to_wait() {
        let bytes = begin();
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let bytes = page(0, &[0; PAGE_BYTES]);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(!matches!(decode(&flipped), Ok(Some(_))), "byte {at}");
        }
    }
}
