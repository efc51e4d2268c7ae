//! [`Pack`]: a compact sequence of integers and strings in one run of bytes, the format called listpack.
//!
//! Small hashes, lists, sets and sorted sets and the nodes of streams are packs. The bytes are those that
//! Redis keeps and writes into RDB files: loading is a check and a copy, saving a copy.
//!
//! ```text
//! total bytes: u32 LE | count: u16 LE, 65535 = walk to know | element … | 0xFF
//! element: head | the string's bytes, if any | backward length
//!
//! head (first byte in bits)                     content
//! 0vvvvvvv                                      integer 0 to 127
//! 10llllll                                      string of up to 63 bytes
//! 110vvvvv vvvvvvvv                             integer of 13 bits, signed
//! 1110llll llllllll                             string of up to 4095 bytes
//! 11110000 l l l l       (u32 LE)               longer string
//! 11110001 … 11110100    (2, 3, 4, 8 bytes LE)  integer of 16, 24, 32, 64 bits, signed
//! ```
//!
//! The backward length counts head and string, 7 bits a byte, most significant first; all bytes but the
//! first have their high bit set, so that it is read from the right. Text that is a canonical decimal `i64` is
//! stored as an integer, in the shortest head that holds it; readers accept longer heads.
//!
//! Source: the format as it is described in public, and payloads of DUMP by redis-server 8.0.

#[cfg(test)]
mod tests;

use super::buffer::{Buffer, Corrupt};
use crate::base::num::parse_i64;

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
/// The count in a header that says: walk.
const COUNT_UNKNOWN: usize = 0xffff;
/// The most that head and backward length add to a string's, or an integer's text's, own bytes.
const OVERHEAD_MAX: usize = 10;
/// Edits whose elements surely fit in this are encoded on the stack.
const SCRATCH_BYTES: usize = 256;

const STRING_6: u8 = 0x80;
const INT_13: u8 = 0xc0;
const STRING_12: u8 = 0xe0;
const STRING_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;

/// A valid pack, to be read. Methods panic when the bytes are not one, or a position is not of one of its elements.
#[derive(Clone, Copy, Debug)]
pub struct Pack<'a> {
    /// Invariant: what [`Pack::check`] accepts.
    bytes: &'a [u8],
}

/// Where an element begins: an offset in the pack's bytes. An edit invalidates positions behind it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position(u32);

impl Position {
    /// Of an offset below 4 GiB, as all in a pack are.
    #[inline]
    fn at(offset: usize) -> Position {
        Position(offset as u32)
    }

    /// In bytes from the pack's start.
    #[inline]
    pub fn offset(self) -> usize {
        self.0 as usize
    }
}

/// One element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PackItem<'a> {
    /// Text that is a canonical decimal.
    Int(i64),
    /// Any other text (from a foreign writer perhaps also a decimal).
    Bytes(&'a [u8]),
}

impl<'a> Pack<'a> {
    /// A pack without elements.
    pub const EMPTY: [u8; 7] = [7, 0, 0, 0, 0, 0, END];

    /// Of bytes made here or checked. O(1).
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Pack<'a> {
        debug_assert_eq!(bytes.len(), header(bytes).0);
        Pack { bytes }
    }

    /// Of any bytes: every element, backward length, the count and the end are checked. O(bytes).
    pub fn check(bytes: &'a [u8]) -> Result<Pack<'a>, Corrupt> {
        if bytes.len() <= HEADER_BYTES || header(bytes).0 != bytes.len() {
            return Err(Corrupt { offset: 0 });
        }
        let end = bytes.len() - 1;
        let mut at = HEADER_BYTES;
        let mut count = 0;
        while at < end {
            let corrupt = Corrupt { offset: at };
            let extent = extent(bytes, at).ok_or(corrupt)?;
            let mut expected = [0; 5];
            let expected = write_backward(extent, &mut expected);
            let next = at + extent + expected.len();
            if next > end || bytes[at + extent..next] != *expected {
                return Err(corrupt);
            }
            at = next;
            count += 1;
        }
        if bytes[end] != END {
            return Err(Corrupt { offset: end });
        }
        match header(bytes).1 {
            stored if stored == count || stored == COUNT_UNKNOWN => Ok(Pack { bytes }),
            _ => Err(Corrupt { offset: 4 }),
        }
    }

    /// Bytes that `item` takes as an element.
    pub fn encoded_len(item: &[u8]) -> usize {
        Encoded::of(item).len()
    }

    /// The whole pack, as it is stored.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Length of the whole pack.
    #[inline]
    pub fn bytes_len(self) -> usize {
        self.bytes.len()
    }

    /// Elements. O(1) up to 65534, else a walk.
    #[inline]
    pub fn len(self) -> usize {
        self.len_known().unwrap_or_else(|| self.positions().count())
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.len() <= Pack::EMPTY.len()
    }

    /// The count, where the header knows it.
    #[inline]
    fn len_known(self) -> Option<usize> {
        match header(self.bytes).1 {
            COUNT_UNKNOWN => None,
            count => Some(count),
        }
    }

    /// The first element.
    #[inline]
    pub fn first(self) -> Option<Position> {
        (!self.is_empty()).then_some(Position::at(HEADER_BYTES))
    }

    /// The last element.
    #[inline]
    pub fn last(self) -> Option<Position> {
        self.prev(self.end())
    }

    /// Behind the last element: where an insertion appends.
    #[inline]
    pub fn end(self) -> Position {
        Position::at(self.bytes.len() - 1)
    }

    /// The element after `at`.
    #[inline]
    pub fn next(self, at: Position) -> Option<Position> {
        let next = after(self.bytes, at.offset());
        (self.bytes[next] != END).then_some(Position::at(next))
    }

    /// The element before `at`, which may be [`Pack::end`].
    #[inline]
    pub fn prev(self, at: Position) -> Option<Position> {
        let at = at.offset();
        (at > HEADER_BYTES).then(|| Position::at(before(self.bytes, at)))
    }

    /// The element at `at`.
    #[inline]
    pub fn get(self, at: Position) -> PackItem<'a> {
        decode(self.bytes, at.offset()).0
    }

    /// The element of an index; negative ones count from the end, -1 the last. Walks from the nearer end.
    pub fn seek(self, index: i64) -> Option<Position> {
        let mut index = index;
        if let Some(len) = self.len_known() {
            let len = len as i64;
            if index >= len || index < -len {
                return None;
            }
            if index > len / 2 {
                index -= len;
            } else if index < -(len / 2) {
                index += len;
            }
        }
        if index >= 0 {
            let mut at = self.first()?;
            for _ in 0..index {
                at = self.next(at)?;
            }
            Some(at)
        } else {
            let mut at = self.last()?;
            for _ in index..-1 {
                at = self.prev(at)?;
            }
            Some(at)
        }
    }

    /// The elements in order; the size hint is exact where the count is known.
    #[inline]
    pub fn iter(self) -> PackIter<'a> {
        PackIter(self.positions())
    }

    /// The elements from `from` on, which may be [`Pack::end`].
    #[inline]
    pub fn iter_from(self, from: Position) -> PackIter<'a> {
        PackIter(PackPositions {
            front: from.offset(),
            left: None,
            ..self.positions()
        })
    }

    /// Where the elements begin, in order.
    #[inline]
    pub fn positions(self) -> PackPositions<'a> {
        PackPositions {
            bytes: self.bytes,
            front: HEADER_BYTES,
            back: self.bytes.len() - 1,
            left: self.len_known(),
        }
    }

    /// The first of every `step`-th element, beginning with that at `from`, whose text is `item`: step 2 searches the
    /// fields of field-value pairs. `from` may be [`Pack::end`]; `step` is at least 1.
    pub fn find(self, from: Position, item: &[u8], step: usize) -> Option<Position> {
        let bytes = self.bytes;
        let int = parse_i64(item);
        // Names differ at their ends more than elsewhere. An empty string ends with its own head.
        let tail = item.last().copied().unwrap_or(STRING_6);
        let mut at = from.offset();
        loop {
            let head = bytes[at];
            let (found, next) = match head {
                0..STRING_6 => (int == Some(i64::from(head)), at + 2),
                STRING_6..INT_13 => {
                    let len = usize::from(head & 0x3f);
                    let found = len == item.len()
                        && bytes[at + len] == tail
                        && bytes[at + 1..at + 1 + len] == *item;
                    (found, at + 1 + len + 1)
                }
                END => return None,
                _ => {
                    let (element, extent) = decode(bytes, at);
                    let found = match element {
                        PackItem::Int(value) => int == Some(value),
                        PackItem::Bytes(bytes) => bytes == item,
                    };
                    (found, at + extent + backward_bytes(extent))
                }
            };
            if found {
                return Some(Position::at(at));
            }
            at = next;
            for _ in 1..step {
                at = after(bytes, at);
            }
        }
    }
}

impl<'a> PackItem<'a> {
    /// Bytes of its text.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            PackItem::Int(value) => {
                let digits = value
                    .unsigned_abs()
                    .checked_ilog10()
                    .map_or(1, |log| log + 1);
                digits as usize + usize::from(value < 0)
            }
            PackItem::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether its text is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self, PackItem::Bytes([]))
    }

    /// Appends its text.
    #[inline]
    pub fn push_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes(&mut [0; 20]));
    }

    /// Whether its text is `text`.
    #[inline]
    pub fn equals(&self, text: &[u8]) -> bool {
        match *self {
            PackItem::Int(value) => parse_i64(text) == Some(value),
            PackItem::Bytes(bytes) => bytes == text,
        }
    }

    /// Its value, if its text is a canonical decimal.
    #[inline]
    pub fn as_int(&self) -> Option<i64> {
        match *self {
            PackItem::Int(value) => Some(value),
            PackItem::Bytes(bytes) => parse_i64(bytes),
        }
    }

    /// Its text: in the pack, or of an integer written into `scratch`.
    #[inline]
    pub fn as_bytes<'s>(&self, scratch: &'s mut [u8; 20]) -> &'s [u8]
    where
        'a: 's,
    {
        match *self {
            PackItem::Int(value) => {
                let mut text = itoa::Buffer::new();
                let text = text.format(value).as_bytes();
                let scratch = &mut scratch[..text.len()];
                scratch.copy_from_slice(text);
                scratch
            }
            PackItem::Bytes(bytes) => bytes,
        }
    }
}

/// The elements of a pack, from both ends.
#[derive(Clone, Debug)]
pub struct PackIter<'a>(PackPositions<'a>);

impl PackIter<'_> {
    /// Where the next element begins, or the end.
    #[inline]
    pub fn place(&self) -> Position {
        Position::at(self.0.front.min(self.0.bytes.len() - 1))
    }
}

impl<'a> Iterator for PackIter<'a> {
    type Item = PackItem<'a>;

    #[inline]
    fn next(&mut self) -> Option<PackItem<'a>> {
        let positions = &mut self.0;
        if positions.front >= positions.back {
            return None;
        }
        let (item, extent) = decode(positions.bytes, positions.front);
        positions.front += extent + backward_bytes(extent);
        positions.count_one();
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for PackIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let at = self.0.next_back()?;
        Some(decode(self.0.bytes, at.offset()).0)
    }
}

/// The positions of a pack's elements, from both ends.
#[derive(Clone, Debug)]
pub struct PackPositions<'a> {
    bytes: &'a [u8],
    /// Where the next element begins.
    front: usize,
    /// Behind the next element from the back.
    back: usize,
    /// Elements between them, where known.
    left: Option<usize>,
}

impl PackPositions<'_> {
    #[inline]
    fn count_one(&mut self) {
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
    }
}

impl Iterator for PackPositions<'_> {
    type Item = Position;

    #[inline]
    fn next(&mut self) -> Option<Position> {
        let at = self.front;
        if at >= self.back {
            return None;
        }
        self.front = after(self.bytes, at);
        self.count_one();
        Some(Position::at(at))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self.left {
            Some(left) => (left, Some(left)),
            // No element has less than 2 bytes.
            None => (0, Some(self.back.saturating_sub(self.front) / 2)),
        }
    }
}

impl DoubleEndedIterator for PackPositions<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Position> {
        if self.front >= self.back {
            return None;
        }
        self.back = before(self.bytes, self.back);
        self.count_one();
        Some(Position::at(self.back))
    }
}

/// A valid pack, to be edited: each edit is one splice and one write of the header. What an edit would grow
/// beyond 4 GiB panics; callers bound their packs far below.
pub struct PackMut<'b, B: Buffer + ?Sized> {
    buffer: &'b mut B,
}

impl<'b, B: Buffer + ?Sized> PackMut<'b, B> {
    /// Of a buffer that holds bytes made here or checked.
    #[inline]
    pub fn of(buffer: &'b mut B) -> PackMut<'b, B> {
        PackMut { buffer }
    }

    /// To read it.
    #[inline]
    pub fn pack(&self) -> Pack<'_> {
        Pack::of(self.buffer.bytes())
    }

    /// Inserts `items` before the element at `at`, or at the end.
    pub fn insert(&mut self, at: Position, items: &[&[u8]]) {
        let known = self.pack().len_known();
        let count = known.map_or(COUNT_UNKNOWN, |count| count + items.len());
        encode(items, |encoded| self.edit(at.offset(), 0, encoded, count));
    }

    /// Appends an element.
    #[inline]
    pub fn push_back(&mut self, item: &[u8]) {
        self.insert(self.pack().end(), &[item]);
    }

    /// Puts an element before all others.
    #[inline]
    pub fn push_front(&mut self, item: &[u8]) {
        self.insert(Position::at(HEADER_BYTES), &[item]);
    }

    /// Replaces the element at `at`, which stays its position; in place when the encoding keeps its length.
    pub fn replace(&mut self, at: Position, item: &[u8]) {
        let at = at.offset();
        let bytes = self.buffer.bytes();
        let removed = after(bytes, at) - at;
        let count = header(bytes).1;
        encode(&[item], |encoded| {
            if encoded.len() == removed {
                self.buffer.write(at, encoded);
            } else {
                self.edit(at, removed, encoded, count);
            }
        });
    }

    /// Removes up to `count` elements, beginning with that at `at`, and returns how many. `at` is then the position
    /// of the element behind them, or the end.
    pub fn remove(&mut self, at: Position, count: usize) -> usize {
        let pack = self.pack();
        let from = at.offset();
        let (mut to, mut removed) = (from, 0);
        while removed < count && pack.bytes[to] != END {
            to = after(pack.bytes, to);
            removed += 1;
        }
        let left = pack.len() - removed;
        self.edit(from, to - from, &[], left);
        removed
    }

    /// Removes up to `count` elements from an index on (negative: from the end) and returns how many:
    /// `remove_range(index, usize::MAX)` truncates.
    pub fn remove_range(&mut self, index: i64, count: usize) -> usize {
        match self.pack().seek(index) {
            Some(at) => self.remove(at, count),
            None => 0,
        }
    }

    /// Moves the elements from `index` on into a pack of their own; none when there are not as many.
    pub fn split_off(&mut self, index: usize) -> Vec<u8> {
        let pack = self.pack();
        let at = i64::try_from(index).ok().and_then(|index| pack.seek(index));
        let Some(at) = at.map(Position::offset) else {
            return Pack::EMPTY.to_vec();
        };
        let len = pack.len();
        let mut tail = PackBuilder::new();
        tail.bytes
            .extend_from_slice(&pack.bytes[at..pack.bytes.len() - 1]);
        tail.count = len - index;
        let removed = pack.end().offset() - at;
        self.edit(at, removed, &[], index);
        tail.finish()
    }

    /// Appends all elements of another pack.
    pub fn append(&mut self, other: Pack) {
        let pack = self.pack();
        let count = match (pack.len_known(), other.len_known()) {
            (Some(here), Some(there)) => here + there,
            _ => COUNT_UNKNOWN,
        };
        let elements = &other.bytes[HEADER_BYTES..other.bytes.len() - 1];
        self.edit(pack.end().offset(), 0, elements, count);
    }

    /// Replaces `removed` bytes by elements, after which there are `count` in all.
    fn edit(&mut self, at: usize, removed: usize, inserted: &[u8], count: usize) {
        let len = self.buffer.bytes().len();
        assert!((HEADER_BYTES..len).contains(&at) && removed < len - at);
        let total = self.buffer.bytes().len() - removed + inserted.len();
        let header = header_of(total, count);
        self.buffer.splice(at, removed, inserted);
        self.buffer.write(0, &header);
    }
}

/// Appends elements to a pack in a vector; its header is written once, when this is dropped.
pub struct PackAppender<'v> {
    /// Invariant: a pack without its end mark.
    bytes: &'v mut Vec<u8>,
    count: Option<usize>,
}

impl<'v> PackAppender<'v> {
    /// To a vector that holds a pack made here or checked.
    #[inline]
    pub fn of(bytes: &'v mut Vec<u8>) -> PackAppender<'v> {
        let count = Pack::of(bytes).len_known();
        bytes.pop();
        PackAppender { bytes, count }
    }

    /// Appends text.
    #[inline]
    pub fn push(&mut self, item: &[u8]) {
        self.push_encoded(&Encoded::of(item));
    }

    /// Appends an integer.
    #[inline]
    pub fn push_int(&mut self, value: i64) {
        match value {
            0..=0x7f => {
                self.bytes.extend_from_slice(&[value as u8, 1]);
                self.count = self.count.map(|count| count + 1);
            }
            _ => self.push_encoded(&Encoded::int(value)),
        }
    }

    #[inline]
    fn push_encoded(&mut self, encoded: &Encoded<'_>) {
        let extent = encoded.head_bytes + encoded.body.len();
        self.bytes
            .extend_from_slice(&encoded.head[..encoded.head_bytes]);
        self.bytes.extend_from_slice(encoded.body);
        let mut backward = [0; 5];
        self.bytes
            .extend_from_slice(write_backward(extent, &mut backward));
        self.count = self.count.map(|count| count + 1);
    }
}

impl Drop for PackAppender<'_> {
    fn drop(&mut self) {
        self.bytes.push(END);
        let header = header_of(self.bytes.len(), self.count.unwrap_or(COUNT_UNKNOWN));
        self.bytes[..HEADER_BYTES].copy_from_slice(&header);
    }
}

/// Makes a pack element by element.
#[derive(Debug)]
pub struct PackBuilder {
    /// Invariant: room for the header, then `count` elements.
    bytes: Vec<u8>,
    count: usize,
}

impl Default for PackBuilder {
    fn default() -> PackBuilder {
        PackBuilder::new()
    }
}

impl PackBuilder {
    /// Without elements.
    pub fn new() -> PackBuilder {
        PackBuilder::with_capacity(64)
    }

    /// Without elements, with room for a whole pack of `bytes`.
    pub fn with_capacity(bytes: usize) -> PackBuilder {
        let mut buffer = Vec::with_capacity(bytes.max(Pack::EMPTY.len()));
        buffer.extend_from_slice(&Pack::EMPTY[..HEADER_BYTES]);
        PackBuilder {
            bytes: buffer,
            count: 0,
        }
    }

    /// Appends text.
    pub fn push(&mut self, item: &[u8]) {
        self.push_encoded(&Encoded::of(item));
    }

    /// Appends an integer.
    pub fn push_int(&mut self, value: i64) {
        self.push_encoded(&Encoded::int(value));
    }

    fn push_encoded(&mut self, encoded: &Encoded) {
        let at = self.bytes.len();
        self.bytes.resize(at + encoded.len(), 0);
        encoded.write(&mut self.bytes[at..]);
        self.count += 1;
    }

    /// Elements so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the pack, if it were finished now.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len() + 1
    }

    /// The pack. Panics above 4 GiB.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let header = header_of(self.bytes.len(), self.count);
        self.bytes[..HEADER_BYTES].copy_from_slice(&header);
        self.bytes
    }
}

/// Total bytes and count as the header says. `bytes` has a header.
#[inline]
fn header(bytes: &[u8]) -> (usize, usize) {
    (
        u32::from_le_bytes(array(bytes, 0)) as usize,
        usize::from(u16::from_le_bytes(array(bytes, 4))),
    )
}

/// The header of a pack of `total` bytes and `count` elements, which saturates. Panics above 4 GiB.
#[inline]
fn header_of(total: usize, count: usize) -> [u8; HEADER_BYTES] {
    let total = u32::try_from(total).expect("a pack has less than 4 GiB");
    let [a, b, c, d] = total.to_le_bytes();
    let [e, f] = (count.min(COUNT_UNKNOWN) as u16).to_le_bytes();
    [a, b, c, d, e, f]
}

#[inline]
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("a whole pack")
}

/// Bytes of head and string of the element at `at`, going by its head alone; none where no element begins, or its
/// head is cut off.
#[inline]
fn extent(bytes: &[u8], at: usize) -> Option<usize> {
    let head = *bytes.get(at)?;
    Some(match head {
        0..STRING_6 => 1,
        STRING_6..INT_13 => 1 + usize::from(head & 0x3f),
        INT_13..STRING_12 => 2,
        STRING_12..STRING_32 => {
            2 + (usize::from(head & 0xf) << 8 | usize::from(*bytes.get(at + 1)?))
        }
        STRING_32 => 5 + u32::from_le_bytes(*bytes.get(at + 1..)?.first_chunk()?) as usize,
        INT_16 => 3,
        INT_24 => 4,
        INT_32 => 5,
        INT_64 => 9,
        0xf5..=END => return None,
    })
}

/// Where the element after that at `at` begins; `at` itself at the end.
#[inline]
fn after(bytes: &[u8], at: usize) -> usize {
    extent(bytes, at).map_or(at, |extent| at + extent + backward_bytes(extent))
}

/// Where the element that ends before `at` begins.
#[inline]
fn before(bytes: &[u8], at: usize) -> usize {
    let (mut extent, mut shift, mut from) = (0, 0, at);
    loop {
        from -= 1;
        extent |= usize::from(bytes[from] & 0x7f) << shift;
        shift += 7;
        if bytes[from] < 0x80 {
            return from - extent;
        }
    }
}

/// The element at `at`, and its [`extent`].
#[inline]
fn decode(bytes: &[u8], at: usize) -> (PackItem<'_>, usize) {
    let extent = extent(bytes, at).expect("a position of an element");
    let head = bytes[at];
    let string = |head_bytes| PackItem::Bytes(&bytes[at + head_bytes..at + extent]);
    let item = match head {
        0..STRING_6 => PackItem::Int(i64::from(head)),
        STRING_6..INT_13 => string(1),
        INT_13..STRING_12 => {
            let value = i16::from_be_bytes([head << 3, 0]) | i16::from(bytes[at + 1]) << 3;
            PackItem::Int(i64::from(value >> 3))
        }
        STRING_12..STRING_32 => string(2),
        STRING_32 => string(5),
        INT_16 => PackItem::Int(i64::from(i16::from_le_bytes(array(bytes, at + 1)))),
        INT_24 => {
            let [a, b, c] = array(bytes, at + 1);
            PackItem::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
        }
        INT_32 => PackItem::Int(i64::from(i32::from_le_bytes(array(bytes, at + 1)))),
        INT_64.. => PackItem::Int(i64::from_le_bytes(array(bytes, at + 1))),
    };
    (item, extent)
}

/// Bytes of the backward length of an [`extent`]. From two bytes on, Redis takes one more for the largest
/// value that would just fit.
#[inline]
fn backward_bytes(extent: usize) -> usize {
    match extent {
        0..=0x7f => 1,
        0x80..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0xfff_ffff => 4,
        _ => 5,
    }
}

/// Writes the backward length of an [`extent`] to the beginning of `out`, and returns that part.
fn write_backward(extent: usize, out: &mut [u8]) -> &[u8] {
    let out = &mut out[..backward_bytes(extent)];
    let mut rest = extent;
    for byte in out.iter_mut().rev() {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out[0] &= 0x7f;
    out
}

/// Encodes `items` and hands over their bytes.
fn encode(items: &[&[u8]], then: impl FnOnce(&[u8])) {
    let bytes_max = items.iter().map(|item| item.len() + OVERHEAD_MAX).sum();
    let (mut small, mut large) = ([0; SCRATCH_BYTES], Vec::new());
    let scratch = if bytes_max <= small.len() {
        &mut small[..]
    } else {
        large.resize(bytes_max, 0);
        &mut large
    };
    let mut filled = 0;
    for item in items {
        filled += Encoded::of(item).write(&mut scratch[filled..]);
    }
    then(&scratch[..filled]);
}

/// An element to be written: a head, and a string's bytes behind it.
struct Encoded<'a> {
    head: [u8; 9],
    head_bytes: usize,
    body: &'a [u8],
}

impl<'a> Encoded<'a> {
    #[inline]
    fn of(item: &'a [u8]) -> Encoded<'a> {
        match parse_i64(item) {
            Some(value) => Encoded::int(value),
            None => Encoded::string(item),
        }
    }

    fn int(value: i64) -> Encoded<'static> {
        let mut head = [0; 9];
        let [a, b, c, d, ..] = value.to_le_bytes();
        let head_bytes = match value {
            0..=0x7f => {
                head[0] = a;
                1
            }
            -0x1000..=0xfff => {
                head[..2].copy_from_slice(&[INT_13 | (b & 0x1f), a]);
                2
            }
            -0x8000..=0x7fff => {
                head[..3].copy_from_slice(&[INT_16, a, b]);
                3
            }
            -0x80_0000..=0x7f_ffff => {
                head[..4].copy_from_slice(&[INT_24, a, b, c]);
                4
            }
            -0x8000_0000..=0x7fff_ffff => {
                head[..5].copy_from_slice(&[INT_32, a, b, c, d]);
                5
            }
            _ => {
                head[0] = INT_64;
                head[1..].copy_from_slice(&value.to_le_bytes());
                9
            }
        };
        Encoded {
            head,
            head_bytes,
            body: &[],
        }
    }

    /// A string above 4 GiB gets a head cut short; its pack is refused for its size.
    #[inline]
    fn string(body: &'a [u8]) -> Encoded<'a> {
        let mut head = [0; 9];
        let [a, b, c, d] = (body.len() as u32).to_le_bytes();
        let head_bytes = match body.len() {
            0..=0x3f => {
                head[0] = STRING_6 | a;
                1
            }
            0x40..=0xfff => {
                head[..2].copy_from_slice(&[STRING_12 | b, a]);
                2
            }
            _ => {
                head[..5].copy_from_slice(&[STRING_32, a, b, c, d]);
                5
            }
        };
        Encoded {
            head,
            head_bytes,
            body,
        }
    }

    /// Bytes of the whole element.
    #[inline]
    fn len(&self) -> usize {
        let extent = self.head_bytes + self.body.len();
        extent + backward_bytes(extent)
    }

    /// Writes the element to the beginning of `out`, and returns its length.
    #[inline]
    fn write(&self, out: &mut [u8]) -> usize {
        let extent = self.head_bytes + self.body.len();
        out[..self.head_bytes].copy_from_slice(&self.head[..self.head_bytes]);
        out[self.head_bytes..extent].copy_from_slice(self.body);
        extent + write_backward(extent, &mut out[extent..]).len()
    }
}
