//! Strings as arrays of bits: BITCOUNT, BITPOS, BITOP, BITFIELD.
//!
//! Bit 0 is the most significant one of byte 0. A long string is read piece by piece; none of these
//! functions copies it. What lies beyond a string's end counts as zeros.
//! Source of the behaviour: Redis documentation of the commands named.

use std::ops::Range;

use super::chunks::CHUNK_BYTES;
use super::string::StringRef;
use crate::sys::popcount;

/// A range of bits: parts of a byte at both ends, and whole bytes between.
struct Span {
    /// (index, mask)
    head: Option<(usize, u8)>,
    body: Range<usize>,
    tail: Option<(usize, u8)>,
}

impl Span {
    fn new(bits: Range<u64>) -> Span {
        let byte = |bit: u64| (bit / 8) as usize;
        let (from, to) = (0xff_u8 >> (bits.start % 8), !(0xff_u8 >> (bits.end % 8)));
        let (first, last) = (byte(bits.start), byte(bits.end));
        if bits.is_empty() {
            return Span {
                head: None,
                body: 0..0,
                tail: None,
            };
        }
        if first == last {
            return Span {
                head: Some((first, from & to)),
                body: first..first,
                tail: None,
            };
        }
        let head = (from != 0xff).then_some((first, from));
        Span {
            head,
            body: first + usize::from(head.is_some())..last,
            tail: (to != 0).then_some((last, to)),
        }
    }
}

/// Bits set in this range of bits, which must be inside the string.
pub fn count_ones(string: StringRef<'_>, bits: Range<u64>) -> u64 {
    let mut digits = itoa::Buffer::new();
    let string = string.in_bytes(&mut digits);
    let span = Span::new(bits);
    let edge = |edge: Option<(usize, u8)>| match edge {
        Some((index, mask)) => u64::from((string.byte(index) & mask).count_ones()),
        None => 0,
    };
    let body = string.pieces(span.body).map(popcount::count_ones);
    edge(span.head) + body.sum::<u64>() + edge(span.tail)
}

/// The first bit with this value in a range of bits, which must be inside the string.
pub fn find(string: StringRef<'_>, bit: bool, bits: Range<u64>) -> Option<u64> {
    let mut digits = itoa::Buffer::new();
    let string = string.in_bytes(&mut digits);
    // Bytes in which every bit has the other value.
    let skip = if bit { 0x00 } else { 0xff };
    let in_byte = |index: usize, byte: u8, mask: u8| {
        let hits = (byte ^ skip) & mask;
        (hits != 0).then(|| index as u64 * 8 + u64::from(hits.leading_zeros()))
    };
    let edge =
        |edge: Option<(usize, u8)>| edge.and_then(|(at, mask)| in_byte(at, string.byte(at), mask));
    let span = Span::new(bits);
    edge(span.head)
        .or_else(|| {
            let mut start = span.body.start;
            for piece in string.pieces(span.body.clone()) {
                if let Some(at) = first_other(piece, skip) {
                    return in_byte(start + at, piece[at], 0xff);
                }
                start += piece.len();
            }
            None
        })
        .or_else(|| edge(span.tail))
}

/// The first byte that is another one than `skip`.
fn first_other(bytes: &[u8], skip: u8) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<64>();
    let other = |block: &[u8; 64]| block.iter().fold(0, |all, byte| all | (byte ^ skip)) != 0;
    let start = 64 * blocks.iter().position(other).unwrap_or(blocks.len());
    let found = bytes[start..].iter().position(|&byte| byte != skip);
    found.map(|at| start + at)
}

/// What BITOP does with its sources X, Y1, Y2, …
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Set in all.
    And,
    /// Set in any.
    Or,
    /// Set in an odd number.
    Xor,
    /// Not set in the only source.
    Not,
    /// Set in X and in no Y.
    Diff,
    /// Set in some Y and not in X.
    Diff1,
    /// Set in X and in some Y.
    AndOr,
    /// Set in exactly one.
    One,
}

/// Gives the result of an operation in order, in blocks of at most [`CHUNK_BYTES`]: as many bytes as the longest source
/// has. An absent source is an empty one. Panics without a source.
pub fn combine(operation: Operation, sources: &[StringRef<'_>], mut each: impl FnMut(&[u8])) {
    let mut digits = vec![itoa::Buffer::new(); sources.len()];
    let sources: Vec<StringRef<'_>> = sources
        .iter()
        .zip(&mut digits)
        .map(|(source, digits)| source.in_bytes(digits))
        .collect();
    let len = sources.iter().map(StringRef::len).max().unwrap_or(0);
    let mut block = vec![0; len.min(CHUNK_BYTES)];
    let mut twice = match operation {
        Operation::One => block.clone(),
        _ => Vec::new(),
    };
    for start in (0..len).step_by(CHUNK_BYTES) {
        let end = len.min(start + CHUNK_BYTES);
        let block = &mut block[..end - start];
        let mut parts = sources.iter().map(|source| {
            let end = end.min(source.len());
            let piece = source.pieces(start.min(end)..end).next();
            piece.unwrap_or_default()
        });
        let first = parts.next().unwrap_or_default();
        match operation {
            Operation::And => {
                set(block, first);
                parts.for_each(|part| and(block, part));
            }
            Operation::Or => {
                set(block, first);
                parts.for_each(|part| or(block, part));
            }
            Operation::Xor => {
                set(block, first);
                parts.for_each(|part| update(block, part, |a, b| a ^ b));
            }
            Operation::Not => {
                set(block, first);
                block.iter_mut().for_each(|byte| *byte = !*byte);
            }
            Operation::Diff => {
                set(block, first);
                parts.for_each(|part| update(block, part, |a, b| a & !b));
            }
            Operation::Diff1 => {
                block.fill(0);
                parts.for_each(|part| or(block, part));
                update(block, first, |a, b| a & !b);
            }
            Operation::AndOr => {
                block.fill(0);
                parts.for_each(|part| or(block, part));
                and(block, first);
            }
            Operation::One => {
                set(block, first);
                let twice = &mut twice[..block.len()];
                twice.fill(0);
                for part in parts {
                    for ((once, twice), byte) in block.iter_mut().zip(&mut *twice).zip(part) {
                        *twice |= *once & byte;
                        *once |= byte;
                    }
                }
                update(block, twice, |a, b| a & !b);
            }
        }
        each(block);
    }
}

/// Makes the block this source, zeros behind its end.
fn set(block: &mut [u8], source: &[u8]) {
    let (head, tail) = block.split_at_mut(source.len());
    head.copy_from_slice(source);
    tail.fill(0);
}

fn and(block: &mut [u8], source: &[u8]) {
    update(block, source, |a, b| a & b);
    block[source.len()..].fill(0);
}

fn or(block: &mut [u8], source: &[u8]) {
    update(block, source, |a, b| a | b);
}

/// Changes what of the block the source covers.
#[inline]
fn update(block: &mut [u8], source: &[u8], change: impl Fn(u8, u8) -> u8) {
    for (byte, other) in block.iter_mut().zip(source) {
        *byte = change(*byte, *other);
    }
}

/// The type of a field: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldType {
    signed: bool,
    /// Invariant: 1 to 64, of an unsigned one to 63.
    bits: u32,
}

/// What becomes of a value that a field cannot hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// Its low bits are taken.
    Wrap,
    /// The nearest value that the field can hold is.
    Saturate,
    /// Nothing is written.
    Fail,
}

/// Bytes that a field touches at most, wherever it begins.
const FIELD_BYTES_MAX: usize = 9;

impl FieldType {
    /// `None` for bits that no field has.
    pub fn new(signed: bool, bits: u32) -> Option<FieldType> {
        let max = if signed { 64 } else { 63 };
        (1..=max)
            .contains(&bits)
            .then_some(FieldType { signed, bits })
    }

    /// The number of bits.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The index behind the last byte of a field that begins at bit `offset`.
    pub fn end_byte(self, offset: u64) -> usize {
        ((offset + u64::from(self.bits) - 1) / 8) as usize + 1
    }

    /// The field that begins at bit `offset`.
    pub fn read(self, string: StringRef<'_>, offset: u64) -> i64 {
        let mut window = [0; 16];
        string.copy_from((offset / 8) as usize, &mut window[..FIELD_BYTES_MAX]);
        let aligned = u128::from_be_bytes(window) << (offset % 8);
        match self.signed {
            true => (aligned as i128 >> (128 - self.bits)) as i64,
            false => (aligned >> (128 - self.bits)) as i64,
        }
    }

    /// Gives the bytes that hold the field that begins at bit `offset` once `value` is written to it, for the byte
    /// `offset / 8` on.
    pub fn write<R>(
        self,
        string: StringRef<'_>,
        offset: u64,
        value: i64,
        give: impl FnOnce(&[u8]) -> R,
    ) -> R {
        let start = (offset / 8) as usize;
        let mut window = [0; 16];
        string.copy_from(start, &mut window[..FIELD_BYTES_MAX]);
        let shift = 128 - self.bits - (offset % 8) as u32;
        let ones = u128::MAX >> (128 - self.bits);
        let old = u128::from_be_bytes(window);
        let new = old & !(ones << shift) | (value as u128 & ones) << shift;
        give(&new.to_be_bytes()[..self.end_byte(offset) - start])
    }

    /// What the field holds once `increment` is added to `old`; `None` when nothing is to be written.
    pub fn add(self, old: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.fit(i128::from(old) + i128::from(increment), overflow)
    }

    /// What the field holds once it is set to `value`. To an unsigned one a negative value is too high. So is, as in
    /// Redis, one that is more than 2^63 - 1 below the highest of a signed one: replicas must agree on what is stored.
    pub fn set(self, value: i64, overflow: Overflow) -> Option<i64> {
        if !self.signed {
            return self.fit(i128::from(value as u64), overflow);
        }
        let max = i64::MAX >> (64 - self.bits);
        if overflow == Overflow::Saturate && self.bits < 64 && max.checked_sub(value).is_none() {
            return Some(max);
        }
        self.fit(i128::from(value), overflow)
    }

    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = match self.signed {
            true => (-1_i128 << (self.bits - 1), (1_i128 << (self.bits - 1)) - 1),
            false => (0, (1_i128 << self.bits) - 1),
        };
        if (min..=max).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate => Some(value.clamp(min, max) as i64),
            Overflow::Wrap => {
                let high = value << (128 - self.bits);
                Some(match self.signed {
                    true => (high >> (128 - self.bits)) as i64,
                    false => (high as u128 >> (128 - self.bits)) as i64,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Chunks;
    use super::*;
    use crate::base::prng::Prng;

    fn bit_of(bytes: &[u8], at: u64) -> bool {
        let byte = bytes.get((at / 8) as usize).copied().unwrap_or(0);
        byte & (0x80 >> (at % 8)) != 0
    }

    /// Bytes that are mostly one value, so that searches are long.
    fn sparse(prng: &mut Prng, len: usize) -> Vec<u8> {
        let mut bytes = vec![[0x00, 0xff][prng.below(2) as usize]; len];
        for _ in 0..prng.below(4) {
            if len > 0 {
                bytes[prng.below(len as u64) as usize] = prng.next_u64() as u8;
            }
        }
        bytes
    }

    #[test]
    fn counts_and_finds_as_one_bit_at_a_time() {
        let mut prng = Prng::new(7);
        for _ in 0..300 {
            let len = [1, 3, 70, 2 * CHUNK_BYTES + 9][prng.below(4) as usize];
            let bytes = sparse(&mut prng, len);
            let chunks = Chunks::new(&bytes);
            let bits = len as u64 * 8;
            let start = prng.below(bits);
            let end = start + prng.below(bits - start + 1);
            for string in [StringRef::Bytes(&bytes), StringRef::Chunked(&chunks)] {
                let ones = (start..end).filter(|&at| bit_of(&bytes, at)).count();
                assert_eq!(count_ones(string, start..end), ones as u64);
                for bit in [false, true] {
                    let first = (start..end).find(|&at| bit_of(&bytes, at) == bit);
                    assert_eq!(find(string, bit, start..end), first, "{start}..{end}");
                }
            }
        }
        // "-15" is 00101101 00110001 00110101.
        assert_eq!(count_ones(StringRef::Int(-15), 0..24), 4 + 3 + 4);
        assert_eq!(find(StringRef::Int(-15), true, 6..24), Some(7));
    }

    #[test]
    fn combines_as_one_bit_at_a_time() {
        let mut prng = Prng::new(8);
        let operations = [
            Operation::And,
            Operation::Or,
            Operation::Xor,
            Operation::Diff,
            Operation::Diff1,
            Operation::AndOr,
            Operation::One,
            Operation::Not,
        ];
        for round in 0..64 {
            let operation = operations[round % 8];
            let count = match operation {
                Operation::Not => 1,
                _ => 1 + prng.below(5) as usize,
            };
            let texts: Vec<Vec<u8>> = (0..count)
                .map(|_| {
                    let len = [0, 5, 300, CHUNK_BYTES + 77][prng.below(4) as usize];
                    let mut bytes = vec![0; len];
                    prng.fill(&mut bytes);
                    bytes
                })
                .collect();
            let chunks: Vec<Chunks> = texts.iter().map(|text| Chunks::new(text)).collect();
            let sources: Vec<StringRef<'_>> = chunks.iter().map(StringRef::Chunked).collect();
            let mut result = Vec::new();
            combine(operation, &sources, |block| result.extend_from_slice(block));
            let len = texts.iter().map(Vec::len).max().unwrap_or(0);
            assert_eq!(result.len(), len);
            for (at, &byte) in result.iter().enumerate() {
                let of = |text: &Vec<u8>| text.get(at).copied().unwrap_or(0);
                let rest = || texts[1..].iter().map(of);
                let first = of(&texts[0]);
                let expected = match operation {
                    Operation::And => rest().fold(first, |a, b| a & b),
                    Operation::Or => rest().fold(first, |a, b| a | b),
                    Operation::Xor => rest().fold(first, |a, b| a ^ b),
                    Operation::Not => !first,
                    Operation::Diff => first & !rest().fold(0, |a, b| a | b),
                    Operation::Diff1 => !first & rest().fold(0, |a, b| a | b),
                    Operation::AndOr => first & rest().fold(0, |a, b| a | b),
                    Operation::One => (0..8)
                        .filter(|bit| texts.iter().filter(|t| of(t) >> bit & 1 == 1).count() == 1)
                        .fold(0, |byte, bit| byte | 1 << bit),
                };
                assert_eq!(byte, expected, "{operation:?} at {at}");
            }
        }
    }

    #[test]
    fn fields_are_read_as_they_were_written() {
        let mut prng = Prng::new(9);
        for _ in 0..2000 {
            let mut bytes = vec![0; prng.below(20) as usize + 9];
            prng.fill(&mut bytes);
            let signed = prng.below(2) == 0;
            let bits = 1 + prng.below(63) as u32;
            let field = FieldType::new(signed, bits).expect("1 to 63 bits");
            let offset = prng.below(bytes.len() as u64 * 8 - 64);
            let value = field
                .set(prng.next_u64() as i64, Overflow::Wrap)
                .expect("it wraps");
            let before = bytes.clone();
            let written = field.write(StringRef::Bytes(&before), offset, value, <[u8]>::to_vec);
            let start = (offset / 8) as usize;
            bytes[start..start + written.len()].copy_from_slice(&written);
            assert_eq!(field.read(StringRef::Bytes(&bytes), offset), value);
            let inside = offset..offset + u64::from(bits);
            for at in 0..bytes.len() as u64 * 8 {
                let expected = match inside.contains(&at) {
                    true => value >> (inside.end - 1 - at) & 1 == 1,
                    false => bit_of(&before, at),
                };
                assert_eq!(bit_of(&bytes, at), expected);
            }
        }
    }

    #[test]
    fn overflow_modes() {
        let field = |signed, bits| FieldType::new(signed, bits).expect("a type");
        let (i8, u8, long) = (field(true, 8), field(false, 8), field(true, 64));
        assert_eq!(i8.add(127, 1, Overflow::Wrap), Some(-128));
        assert_eq!(i8.add(127, 1, Overflow::Saturate), Some(127));
        assert_eq!(i8.add(-128, -1, Overflow::Saturate), Some(-128));
        assert_eq!(i8.add(127, 1, Overflow::Fail), None);
        assert_eq!(u8.add(0, -1, Overflow::Wrap), Some(255));
        assert_eq!(u8.add(0, -1, Overflow::Saturate), Some(0));
        assert_eq!(u8.set(-1, Overflow::Saturate), Some(255));
        assert_eq!(i8.set(i64::MIN, Overflow::Saturate), Some(127));
        assert_eq!(i8.set(i64::MIN + 200, Overflow::Saturate), Some(-128));
        assert_eq!(long.add(i64::MAX, 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(long.add(i64::MIN, -1, Overflow::Saturate), Some(i64::MIN));
        assert!(FieldType::new(false, 64).is_none() && FieldType::new(true, 65).is_none());
        assert!(FieldType::new(true, 0).is_none());
    }
}
