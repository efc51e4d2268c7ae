//! [`IntSet`]: a sorted run of distinct integers, the format called intset.
//!
//! Small sets of integers only. The bytes are those that Redis keeps and writes into RDB files.
//!
//! ```text
//! width: u32 LE, 2, 4 or 8 bytes | count: u32 LE | integer …, each `width` bytes LE, signed, ascending
//! ```
//!
//! An integer that does not fit widens all; removals leave the width.
//!
//! Source: payloads of DUMP.

use super::buffer::{Buffer, Corrupt};

const HEADER_BYTES: usize = 8;

/// A valid set, to be read. Methods panic when the bytes are not one.
#[derive(Clone, Copy, Debug)]
pub struct IntSet<'a> {
    /// The integers, ascending, in their width.
    ints: Ints<'a>,
    bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
enum Ints<'a> {
    Two(&'a [[u8; 2]]),
    Four(&'a [[u8; 4]]),
    Eight(&'a [[u8; 8]]),
}

impl<'a> IntSet<'a> {
    /// A set without integers.
    pub const EMPTY: [u8; HEADER_BYTES] = [2, 0, 0, 0, 0, 0, 0, 0];

    /// Of bytes made here or checked. O(1).
    #[inline]
    pub fn of(bytes: &'a [u8]) -> IntSet<'a> {
        IntSet::framed(bytes).expect("a whole set of integers")
    }

    /// Of any bytes: width, count and order are checked. O(bytes).
    pub fn check(bytes: &'a [u8]) -> Result<IntSet<'a>, Corrupt> {
        let set = IntSet::framed(bytes)?;
        match (1..set.len()).find(|&index| set.at(index - 1) >= set.at(index)) {
            Some(index) => Err(Corrupt {
                offset: HEADER_BYTES + index * set.width(),
            }),
            None => Ok(set),
        }
    }

    /// Checks width and count.
    #[inline]
    fn framed(bytes: &'a [u8]) -> Result<IntSet<'a>, Corrupt> {
        let (header, body) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Corrupt { offset: 0 })?;
        let &[a, b, c, d, count @ ..] = header;
        let (ints, rest) = match u32::from_le_bytes([a, b, c, d]) {
            2 => {
                let (ints, rest) = body.as_chunks();
                (Ints::Two(ints), rest)
            }
            4 => {
                let (ints, rest) = body.as_chunks();
                (Ints::Four(ints), rest)
            }
            8 => {
                let (ints, rest) = body.as_chunks();
                (Ints::Eight(ints), rest)
            }
            _ => return Err(Corrupt { offset: 0 }),
        };
        let set = IntSet { ints, bytes };
        if !rest.is_empty() || set.len() != u32::from_le_bytes(count) as usize {
            return Err(Corrupt { offset: 4 });
        }
        Ok(set)
    }

    /// The whole set, as it is stored.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Integers in it.
    #[inline]
    pub fn len(self) -> usize {
        match self.ints {
            Ints::Two(ints) => ints.len(),
            Ints::Four(ints) => ints.len(),
            Ints::Eight(ints) => ints.len(),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Bytes of one integer.
    #[inline]
    fn width(self) -> usize {
        match self.ints {
            Ints::Two(_) => 2,
            Ints::Four(_) => 4,
            Ints::Eight(_) => 8,
        }
    }

    /// The integer of rank `index`, from the least.
    #[inline]
    pub fn get(self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| self.at(index))
    }

    #[inline]
    fn at(self, index: usize) -> i64 {
        match self.ints {
            Ints::Two(ints) => two(&ints[index]),
            Ints::Four(ints) => four(&ints[index]),
            Ints::Eight(ints) => eight(&ints[index]),
        }
    }

    /// The rank of `value`, or else the rank that it would have. O(log n).
    #[inline]
    pub fn position(self, value: i64) -> Result<usize, usize> {
        match self.ints {
            Ints::Two(ints) => ints.binary_search_by_key(&value, two),
            Ints::Four(ints) => ints.binary_search_by_key(&value, four),
            Ints::Eight(ints) => ints.binary_search_by_key(&value, eight),
        }
    }

    /// Whether `value` is in it. O(log n).
    #[inline]
    pub fn contains(self, value: i64) -> bool {
        self.position(value).is_ok()
    }

    /// The integers, ascending.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + 'a {
        (0..self.len()).map(move |index| self.at(index))
    }
}

/// A valid set, to be edited. One above 4 GiB of integers panics; callers bound their sets far below.
pub struct IntSetMut<'b, B: Buffer + ?Sized> {
    buffer: &'b mut B,
}

impl<'b, B: Buffer + ?Sized> IntSetMut<'b, B> {
    /// Of a buffer that holds bytes made here or checked.
    #[inline]
    pub fn of(buffer: &'b mut B) -> IntSetMut<'b, B> {
        IntSetMut { buffer }
    }

    /// To read it.
    #[inline]
    pub fn set(&self) -> IntSet<'_> {
        IntSet::of(self.buffer.bytes())
    }

    /// Adds `value`; false when it is there already. O(n).
    pub fn insert(&mut self, value: i64) -> bool {
        let set = self.set();
        let Err(index) = set.position(value) else {
            return false;
        };
        let (width, needed, count) = (set.width(), width_of(value), set.len() + 1);
        if needed > width {
            self.widen(needed);
        }
        let width = width.max(needed);
        let at = HEADER_BYTES + index * width;
        self.buffer.splice(at, 0, &value.to_le_bytes()[..width]);
        self.write_count(count);
        true
    }

    /// Removes `value`; false when it is not there. O(n).
    pub fn remove(&mut self, value: i64) -> bool {
        let set = self.set();
        let Ok(index) = set.position(value) else {
            return false;
        };
        let (width, count) = (set.width(), set.len() - 1);
        self.buffer.splice(HEADER_BYTES + index * width, width, &[]);
        self.write_count(count);
        true
    }

    /// Keeps the integers for whose rank `keep` holds, asked in order. O(n).
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let (bytes, width) = (self.buffer.bytes(), self.set().width());
        let (header, ints) = bytes.split_at(HEADER_BYTES);
        let mut kept = header.to_vec();
        for (rank, int) in ints.chunks_exact(width).enumerate() {
            if keep(rank) {
                kept.extend_from_slice(int);
            }
        }
        let (len, count) = (bytes.len(), (kept.len() - HEADER_BYTES) / width);
        self.buffer.splice(0, len, &kept);
        self.write_count(count);
    }

    /// Gives every integer `width` bytes.
    fn widen(&mut self, width: usize) {
        let set = self.set();
        let mut wide = Vec::with_capacity(HEADER_BYTES + set.len() * width);
        wide.extend_from_slice(&self.buffer.bytes()[..HEADER_BYTES]);
        wide[0] = width as u8;
        for value in set.iter() {
            wide.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        self.buffer.splice(0, self.buffer.bytes().len(), &wide);
    }

    fn write_count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("a set of integers has less than 4 Gi of them");
        self.buffer.write(4, &count.to_le_bytes());
    }
}

/// The least width that holds `value`.
#[inline]
fn width_of(value: i64) -> usize {
    match value {
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

#[inline]
fn two(bytes: &[u8; 2]) -> i64 {
    i64::from(i16::from_le_bytes(*bytes))
}

#[inline]
fn four(bytes: &[u8; 4]) -> i64 {
    i64::from(i32::from_le_bytes(*bytes))
}

#[inline]
fn eight(bytes: &[u8; 8]) -> i64 {
    i64::from_le_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::prng::Prng;

    /// A value of any width, more often a narrow one, near a boundary.
    fn random_value(prng: &mut Prng) -> i64 {
        let edges = [0, 1 << 15, -1 << 15, 1 << 31, -1 << 31, i64::MAX, i64::MIN];
        let widest = 1 + prng.below(edges.len() as u64);
        let edge = edges[prng.below(widest) as usize];
        edge.wrapping_add(prng.below(60) as i64 - 30)
    }

    fn built(values: impl IntoIterator<Item = i64>) -> Vec<u8> {
        let mut bytes = IntSet::EMPTY.to_vec();
        for value in values {
            assert!(IntSetMut::of(&mut bytes).insert(value));
        }
        bytes
    }

    #[test]
    fn redis_writes_the_same_bytes() {
        // SADD of a Redis 8.0.6; the intset inside of the DUMP payload.
        let two: &[u8] = b"\x02\0\0\0\x03\0\0\0\xfe\xff\x01\0\x2c\x01";
        assert_eq!(built([1, -2, 300]), two);
        let four: &[u8] = b"\x04\0\0\0\x03\0\0\0\xfe\xff\xff\xff\x01\0\0\0\x70\x11\x01\0";
        assert_eq!(built([1, -2, 70_000]), four);
        let eight: &[u8] = b"\x08\0\0\0\x03\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\
            \x01\0\0\0\0\0\0\0\0\xf2\x05\x2a\x01\0\0\0";
        assert_eq!(built([1, -2, 5_000_000_000]), eight);
        for bytes in [two, four, eight, &IntSet::EMPTY] {
            assert!(IntSet::check(bytes).is_ok());
        }
    }

    #[test]
    fn random_edits_match_a_tree() {
        for seed in 0..200 {
            let mut prng = Prng::new(seed);
            let mut bytes = IntSet::EMPTY.to_vec();
            let mut twin = BTreeSet::new();
            for _ in 0..200 {
                let value = random_value(&mut prng);
                let mut set = IntSetMut::of(&mut bytes);
                if prng.below(5) < 3 {
                    assert_eq!(set.insert(value), twin.insert(value));
                } else {
                    assert_eq!(set.remove(value), twin.remove(&value));
                }
                let set = IntSet::check(&bytes).unwrap();
                assert!(set.iter().eq(twin.iter().copied()));
                assert!(set.iter().rev().eq(twin.iter().rev().copied()));
                assert_eq!((set.len(), set.is_empty()), (twin.len(), twin.is_empty()));
                let value = random_value(&mut prng);
                let rank = twin.range(..value).count();
                assert_eq!(set.contains(value), twin.contains(&value));
                assert_eq!(set.position(value).unwrap_or_else(|rank| rank), rank);
                assert_eq!(set.get(rank), twin.range(value..).next().copied());
            }
        }
    }

    #[test]
    fn faults_are_found() {
        for (bytes, offset) in [
            (&b""[..], 0),
            (b"\x02\0\0\0\0\0\0", 0),
            (b"\x03\0\0\0\0\0\0\0", 0),
            (b"\x02\0\0\x01\0\0\0\0", 0),
            (b"\x02\0\0\0\x01\0\0\0", 4),
            (b"\x02\0\0\0\x01\0\0\0\0", 4),
            (b"\x02\0\0\0\x01\0\0\0\0\0\0\0", 4),
            (b"\x02\0\0\0\x00\0\0\x80", 4),
            (b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0", 10),
            (b"\x02\0\0\0\x03\0\0\0\x01\0\x02\0\xff\xff", 12),
        ] {
            assert_eq!(IntSet::check(bytes).err(), Some(Corrupt { offset }));
        }
    }

    #[test]
    fn mutated_bytes_never_panic() {
        let mut prng = Prng::new(3);
        for _ in 0..20_000 {
            let values: BTreeSet<_> = (0..prng.below(8))
                .map(|_| random_value(&mut prng))
                .collect();
            let mut bytes = built(values);
            let at = prng.below(bytes.len() as u64) as usize;
            match prng.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, prng.below(256) as u8),
                _ => bytes[at] ^= 1 << prng.below(8),
            }
            if let Ok(set) = IntSet::check(&bytes) {
                assert!(set.iter().is_sorted());
                assert!(
                    set.iter()
                        .enumerate()
                        .all(|(rank, value)| set.position(value) == Ok(rank))
                );
            }
        }
    }
}
