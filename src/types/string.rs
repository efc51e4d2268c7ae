//! What can be read of a string value, whatever its encoding.
//!
//! Ranges and lengths are in bytes. Source of the behaviour: Redis documentation of GETRANGE, STRLEN,
//! OBJECT ENCODING.

use std::cmp::Ordering;
use std::ops::Range;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::chunks::Chunks;
use crate::container::PackItem;

/// Bytes up to which a string that was set whole is called `embstr`.
pub const EMBSTR_BYTES_MAX: usize = 44;
/// Bytes of the longest decimal 64-bit integer.
const INT_BYTES_MAX: usize = 20;

/// A string value, borrowed from its entry.
#[derive(Clone, Copy, Debug)]
pub enum StringRef<'a> {
    /// Set as the decimal form of this integer.
    Int(i64),
    /// Up to 64 KiB.
    Bytes(&'a [u8]),
    /// Longer.
    Chunked(&'a Chunks),
}

/// OBJECT ENCODING of a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StringEncoding {
    /// A decimal 64-bit integer.
    Int,
    /// At most 44 bytes, never changed in part.
    Embstr,
    /// Longer, or changed by APPEND, SETRANGE and the like.
    Raw,
}

impl StringEncoding {
    /// The name that OBJECT ENCODING answers.
    pub fn name(self) -> &'static str {
        match self {
            StringEncoding::Int => "int",
            StringEncoding::Embstr => "embstr",
            StringEncoding::Raw => "raw",
        }
    }
}

impl<'a> StringRef<'a> {
    /// Bytes of the string (STRLEN).
    pub fn len(&self) -> usize {
        match self {
            StringRef::Int(number) => itoa::Buffer::new().format(*number).len(),
            StringRef::Bytes(bytes) => bytes.len(),
            StringRef::Chunked(chunks) => chunks.len(),
        }
    }

    /// True for the empty string.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the whole string to `out`.
    pub fn push_to(&self, out: &mut Vec<u8>) {
        match self {
            StringRef::Int(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            StringRef::Bytes(bytes) => out.extend_from_slice(bytes),
            StringRef::Chunked(chunks) => {
                out.reserve(chunks.len());
                chunks
                    .pieces(0, chunks.len())
                    .for_each(|piece| out.extend_from_slice(piece));
            }
        }
    }

    /// Appends the bytes from `start` to before `end`. Panics when out of range.
    pub fn push_range(&self, start: usize, end: usize, out: &mut Vec<u8>) {
        match self {
            StringRef::Int(number) => {
                let mut buffer = itoa::Buffer::new();
                out.extend_from_slice(&buffer.format(*number).as_bytes()[start..end]);
            }
            StringRef::Bytes(bytes) => out.extend_from_slice(&bytes[start..end]),
            StringRef::Chunked(chunks) => {
                chunks
                    .pieces(start, end)
                    .for_each(|piece| out.extend_from_slice(piece));
            }
        }
    }

    /// The bytes in one piece: borrowed where they are, else put into `scratch`.
    pub fn as_bytes<'s>(&self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        match self {
            StringRef::Bytes(bytes) => bytes,
            StringRef::Int(_) | StringRef::Chunked(_) => {
                scratch.clear();
                self.push_to(scratch);
                scratch
            }
        }
    }

    /// Calls `each` with the pieces of the whole string, in order: no copy for any encoding.
    pub fn for_each_piece(&self, mut each: impl FnMut(&[u8])) {
        match self {
            StringRef::Int(number) => each(itoa::Buffer::new().format(*number).as_bytes()),
            StringRef::Bytes(bytes) => each(bytes),
            StringRef::Chunked(chunks) => chunks.pieces(0, chunks.len()).for_each(each),
        }
    }

    /// The same bytes, an integer's digits put into `digits`: what is read byte by byte.
    pub fn in_bytes<'s>(self, digits: &'s mut itoa::Buffer) -> StringRef<'s>
    where
        'a: 's,
    {
        match self {
            StringRef::Int(number) => StringRef::Bytes(digits.format(number).as_bytes()),
            StringRef::Bytes(_) | StringRef::Chunked(_) => self,
        }
    }

    /// The bytes of a range in pieces, in order. Panics when out of range, or for an integer: see
    /// [`StringRef::in_bytes`].
    pub fn pieces(self, range: Range<usize>) -> impl Iterator<Item = &'a [u8]> {
        let (whole, chunks) = match self {
            StringRef::Int(_) => unreachable!("an integer has no pieces"),
            StringRef::Bytes(bytes) => (Some(&bytes[range.clone()]), None),
            StringRef::Chunked(chunks) => (None, Some(chunks.pieces(range.start, range.end))),
        };
        whole.into_iter().chain(chunks.into_iter().flatten())
    }

    /// The byte at `index`. Panics when out of range.
    pub fn byte(&self, index: usize) -> u8 {
        match self {
            StringRef::Int(number) => itoa::Buffer::new().format(*number).as_bytes()[index],
            StringRef::Bytes(bytes) => bytes[index],
            StringRef::Chunked(chunks) => chunks.byte(index),
        }
    }

    /// Copies the bytes from `start` on into `out`, as many as there are and fit; the rest of `out` stays.
    pub fn copy_from(self, start: usize, out: &mut [u8]) {
        let mut digits = itoa::Buffer::new();
        let string = self.in_bytes(&mut digits);
        let start = start.min(string.len());
        let end = string.len().min(start + out.len());
        let mut at = 0;
        for piece in string.pieces(start..end) {
            out[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
    }

    /// The XXH3 hash of 64 bits (DIGEST).
    pub fn digest(&self) -> u64 {
        let mut hash = Xxh3::new();
        match self {
            StringRef::Bytes(bytes) => return xxh3_64(bytes),
            StringRef::Int(_) | StringRef::Chunked(_) => {
                self.for_each_piece(|piece| hash.update(piece));
            }
        }
        hash.digest()
    }

    /// The integer that the string is, by Redis's strict rules.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            StringRef::Int(number) => Some(*number),
            StringRef::Bytes(bytes) => int_of(bytes),
            StringRef::Chunked(_) => None,
        }
    }

    /// Whether both hold the same bytes.
    pub fn equals(&self, bytes: &[u8]) -> bool {
        if self.len() != bytes.len() {
            return false;
        }
        let mut rest = bytes;
        let mut equal = true;
        self.for_each_piece(|piece| {
            let (head, tail) = rest.split_at(piece.len());
            equal &= head == piece;
            rest = tail;
        });
        equal
    }

    /// Orders strings by their bytes.
    #[inline]
    pub fn compare(self, other: StringRef<'_>) -> Ordering {
        if let (StringRef::Bytes(bytes), StringRef::Bytes(others)) = (self, other) {
            return bytes.cmp(others);
        }
        let (mut digits, mut other_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (string, other) = (
            self.in_bytes(&mut digits),
            other.in_bytes(&mut other_digits),
        );
        let bytes = string.pieces(0..string.len()).flatten();
        bytes.cmp(other.pieces(0..other.len()).flatten())
    }

    /// The first eight bytes as a number that orders as they do, zeros behind a shorter string.
    #[inline]
    pub fn prefix(self) -> u64 {
        let mut prefix = [0; 8];
        match self {
            StringRef::Bytes(bytes) if bytes.len() >= 8 => prefix.copy_from_slice(&bytes[..8]),
            string => string.copy_from(0, &mut prefix),
        }
        u64::from_be_bytes(prefix)
    }

    /// The byte range that GETRANGE `start` `end` means for a string of `len` bytes: negative positions count
    /// from the end, what is out of range is cut. `None` when nothing is left.
    pub fn clamp_range(len: usize, start: i64, end: i64) -> Option<(usize, usize)> {
        if start < 0 && end < 0 && start > end {
            return None;
        }
        let len = len as i64;
        let from_end = |at: i64| {
            if at < 0 {
                at.saturating_add(len).max(0)
            } else {
                at
            }
        };
        let (start, end) = (from_end(start), from_end(end).min(len - 1));
        (start <= end && len > 0).then(|| (start as usize, end as usize + 1))
    }
}

impl<'a> From<PackItem<'a>> for StringRef<'a> {
    fn from(item: PackItem<'a>) -> StringRef<'a> {
        match item {
            PackItem::Int(number) => StringRef::Int(number),
            PackItem::Bytes(bytes) => StringRef::Bytes(bytes),
        }
    }
}

/// The integer that these bytes are the decimal form of.
pub(super) fn int_of(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > INT_BYTES_MAX {
        return None;
    }
    crate::base::num::parse_i64(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamps_ranges_as_getrange_does() {
        let range = |start, end| StringRef::clamp_range(11, start, end);
        assert_eq!(range(0, -1), Some((0, 11)));
        assert_eq!(range(-3, -1), Some((8, 11)));
        assert_eq!(range(0, 100), Some((0, 11)));
        assert_eq!(range(-100, 2), Some((0, 3)));
        assert_eq!(range(5, 4), None);
        assert_eq!(range(11, 12), None);
        assert_eq!(range(-1, -3), None);
        assert_eq!(range(i64::MIN, i64::MAX), Some((0, 11)));
        assert_eq!(StringRef::clamp_range(0, 0, -1), None);
    }

    #[test]
    fn reads_all_encodings_alike() {
        let long: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let chunks = Chunks::new(&long);
        for (value, bytes) in [
            (StringRef::Int(-15), b"-15".as_slice()),
            (StringRef::Bytes(b"abc"), b"abc"),
            (StringRef::Chunked(&chunks), &long),
        ] {
            let mut out = Vec::new();
            value.push_to(&mut out);
            assert_eq!((out.as_slice(), value.len()), (bytes, bytes.len()));
            assert!(value.equals(bytes) && !value.equals(b"ab"));
            out.clear();
            value.push_range(1, 3, &mut out);
            assert_eq!(out, &bytes[1..3]);
            assert_eq!(value.as_bytes(&mut Vec::new()), bytes);
        }
        assert_eq!(
            StringRef::Chunked(&chunks).digest(),
            StringRef::Bytes(&long).digest()
        );
        assert_eq!(
            StringRef::Int(-15).digest(),
            StringRef::Bytes(b"-15").digest()
        );
        let ordered = [
            StringRef::Bytes(b""),
            StringRef::Int(-15),
            StringRef::Bytes(b"-2"),
            StringRef::Chunked(&chunks),
            StringRef::Int(1),
            StringRef::Bytes(b"1\0"),
            StringRef::Int(12),
            StringRef::Bytes(b"abcdefgh"),
            StringRef::Bytes(b"abcdefghi"),
        ];
        let mut sorted = ordered;
        sorted.sort_by(|a, b| a.prefix().cmp(&b.prefix()).then(a.compare(*b)));
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for string in sorted {
            let mut text = Vec::new();
            string.push_to(&mut text);
            texts.push(text);
        }
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(StringRef::Bytes(b"012").as_int(), None);
        assert_eq!(StringRef::Bytes(b"12").as_int(), Some(12));
    }
}
