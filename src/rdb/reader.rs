//! A bounded reader over the bytes that are there: every read is checked, and what is not there
//! yet is told apart from what is wrong.

use super::error::RdbErrorKind;
use super::{lzf, string_form};
use crate::base::num::push_i64;

/// Why a read did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// So many bytes, counted from the reader's start, would let it go on.
    Missing(u64),
    /// The bytes are wrong.
    Bad(RdbErrorKind),
}

impl From<RdbErrorKind> for Stop {
    fn from(kind: RdbErrorKind) -> Stop {
        Stop::Bad(kind)
    }
}

/// What a batch holds at most when a whole string is added: [`Span`]s count in 32 bits, and a list's node may stand in it a
/// second time, cut into chunks, which takes up to a hundredth more. Of all strings only values may be longer, which come
/// in pieces.
pub(super) const WHOLE_BYTES_MAX: u64 = (2 << 30) - (32 << 20);
const _: () = assert!(2 * WHOLE_BYTES_MAX + WHOLE_BYTES_MAX / 100 < 1 << 32);

/// Bytes of a batch: offset and count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub(super) start: u32,
    pub(super) count: u32,
}

impl Span {
    /// From `start` to the end of `bytes`.
    pub(super) fn since(start: usize, bytes: &[u8]) -> Span {
        Span {
            start: start as u32,
            count: (bytes.len() - start) as u32,
        }
    }

    /// How many bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        self.count as usize
    }

    /// The bytes in the buffer they were made for.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes
            .get(start..start + self.count as usize)
            .unwrap_or_default()
    }
}

/// How a string starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringHead {
    /// A number.
    Int(i64),
    /// So many bytes.
    Plain(u64),
    /// So many compressed bytes, standing for so many.
    Lzf { packed: u64, length: u64 },
}

/// A position in the bytes that are there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Invariant: at most `bytes.len()`.
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Bytes used.
    pub fn used(&self) -> usize {
        self.at
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes over at most `count` bytes and gives them.
    pub fn take_some(&mut self, count: usize) -> &'a [u8] {
        let rest = self.rest();
        let (some, _) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        self.at += some.len();
        some
    }

    /// Exactly `count` bytes.
    #[inline]
    pub fn take(&mut self, count: u64) -> Result<&'a [u8], Stop> {
        let end = (self.at as u64).saturating_add(count);
        let taken = usize::try_from(end)
            .ok()
            .and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Stop::Missing(end))?;
        self.at += taken.len();
        Ok(taken)
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8, Stop> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// A length; a string form in its place is an error.
    #[inline]
    pub fn length(&mut self) -> Result<u64, Stop> {
        let first = self.byte()?;
        self.length_from(first)
    }

    #[inline]
    fn length_from(&mut self, first: u8) -> Result<u64, Stop> {
        match first {
            0x00..=0x3f => Ok(u64::from(first)),
            0x40..=0x7f => Ok(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            0x80 => Ok(u64::from(u32::from_be_bytes(self.array()?))),
            0x81 => Ok(u64::from_be_bytes(self.array()?)),
            _ => Err(RdbErrorKind::LengthForm(first).into()),
        }
    }

    /// The head of a string, its bytes not yet taken; lengths are at most `bytes_max`.
    #[inline]
    pub fn string_head(&mut self, bytes_max: u64) -> Result<StringHead, Stop> {
        let first = self.byte()?;
        let head = match first {
            string_form::INT8 => StringHead::Int(i64::from(i8::from_le_bytes(self.array()?))),
            string_form::INT16 => StringHead::Int(i64::from(i16::from_le_bytes(self.array()?))),
            string_form::INT32 => StringHead::Int(i64::from(i32::from_le_bytes(self.array()?))),
            string_form::LZF => StringHead::Lzf {
                packed: self.length()?,
                length: self.length()?,
            },
            0xc4.. => return Err(RdbErrorKind::StringForm(first).into()),
            _ => StringHead::Plain(self.length_from(first)?),
        };
        match head {
            StringHead::Plain(length) if length > bytes_max => {
                Err(RdbErrorKind::StringTooLong(length).into())
            }
            StringHead::Lzf { packed, length } if packed.max(length) > bytes_max => {
                Err(RdbErrorKind::StringTooLong(packed.max(length)).into())
            }
            _ => Ok(head),
        }
    }

    /// A whole string, appended to `out`: nothing is allocated for bytes that are not there. `out` stays within
    /// [`WHOLE_BYTES_MAX`].
    #[inline]
    pub fn string(&mut self, bytes_max: u64, out: &mut Vec<u8>) -> Result<Span, Stop> {
        let start = out.len();
        let room = WHOLE_BYTES_MAX.saturating_sub(start as u64);
        let head = self.string_head(bytes_max.min(room))?;
        match head {
            StringHead::Int(value) => push_i64(out, value),
            StringHead::Plain(length) => out.extend_from_slice(self.take(length)?),
            StringHead::Lzf { packed, length } => {
                let stream = self.take(packed)?;
                let length = usize::try_from(length).map_err(|_| RdbErrorKind::Lzf)?;
                lzf::decompress(stream, out, length).map_err(|lzf::Corrupt| RdbErrorKind::Lzf)?;
            }
        }
        Ok(Span::since(start, out))
    }
}
