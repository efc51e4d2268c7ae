//! What the compact encodings share: [`Buffer`], where they are edited, and [`Corrupt`], what a check says.

use std::fmt;

/// Bytes that a compact encoding is edited in: a vector, or the body of a key's entry.
pub trait Buffer {
    /// All of them: one whole encoding.
    fn bytes(&self) -> &[u8];

    /// Replaces `removed` bytes at `at` by `inserted`. Panics when `at + removed` is beyond the end.
    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]);

    /// Overwrites `bytes.len()` bytes in place. Panics when they reach beyond the end.
    fn write(&mut self, at: usize, bytes: &[u8]);
}

impl Buffer for Vec<u8> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }

    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) {
        let (old, tail, moved) = (self.len(), at + removed, at + inserted.len());
        assert!(tail <= old, "the removed bytes exist");
        if moved > tail {
            self.resize(old + (moved - tail), 0);
        }
        self.copy_within(tail..old, moved);
        self.truncate(moved + (old - tail));
        self[at..moved].copy_from_slice(inserted);
    }

    #[inline]
    fn write(&mut self, at: usize, bytes: &[u8]) {
        self[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Bytes are not the encoding that they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt {
    /// Where the first fault was seen: the start of the header field or element.
    pub offset: usize,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt at byte {}", self.offset)
    }
}

impl std::error::Error for Corrupt {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_spliced() {
        for (at, removed, inserted, expected) in [
            (0, 0, "xy", "xyabcdef"),
            (6, 0, "xy", "abcdefxy"),
            (2, 3, "x", "abxf"),
            (2, 1, "xyz", "abxyzdef"),
            (1, 2, "xy", "axydef"),
            (0, 6, "", ""),
        ] {
            let mut bytes = b"abcdef".to_vec();
            Buffer::splice(&mut bytes, at, removed, inserted.as_bytes());
            assert_eq!(bytes, expected.as_bytes());
        }
        let mut bytes = b"abcdef".to_vec();
        bytes.write(4, b"xy");
        assert_eq!(bytes, b"abcdxy");
    }
}
