//! [`StreamId`]: what orders a stream's entries: milliseconds, then a sequence number.
//! Source: the documentation of streams, and what redis-server 8.0 accepts.

use crate::container::Item;

/// The id of an entry, written `ms-seq`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct StreamId {
    /// Unix milliseconds, as a rule.
    pub ms: u64,
    /// Tells entries of one millisecond apart.
    pub seq: u64,
}

/// Bytes of the longest text of an id.
const TEXT_BYTES_MAX: usize = 41;
/// Longer text is no id, whatever it says.
const PARSED_BYTES_MAX: usize = 127;

/// An id as a client wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParsedId {
    /// The id; without a sequence number, that of [`StreamId::parse`]'s `missing`.
    pub id: StreamId,
    /// `ms-*`: the sequence number is to be found.
    pub any_seq: bool,
}

// SAFETY: plain bits that own nothing.
#[allow(unsafe_code)]
unsafe impl Item for StreamId {}

impl StreamId {
    /// 0-0, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The last id.
    pub const MAX: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };
    /// Bytes of [`StreamId::to_bytes`].
    pub const BYTES: usize = 16;

    /// From its parts.
    pub const fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// Whether it is 0-0.
    #[inline]
    pub fn is_min(self) -> bool {
        self == StreamId::MIN
    }

    /// The next id; none after the last.
    #[inline]
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId::new(self.ms.checked_add(1)?, 0)),
        }
    }

    /// The id before; none before the first.
    pub fn prev(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId::new(self.ms.checked_sub(1)?, u64::MAX)),
        }
    }

    /// Big-endian, so that bytes order as ids do.
    pub fn to_bytes(self) -> [u8; StreamId::BYTES] {
        let mut bytes = [0; StreamId::BYTES];
        bytes[..8].copy_from_slice(&self.ms.to_be_bytes());
        bytes[8..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// As [`StreamId::to_bytes`] wrote it; None unless there are as many bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<StreamId> {
        let (ms, seq) = bytes.split_at_checked(8)?;
        let ms = u64::from_be_bytes(ms.try_into().ok()?);
        let seq = u64::from_be_bytes(seq.try_into().ok()?);
        Some(StreamId { ms, seq })
    }

    /// Its text.
    #[inline]
    pub fn text(self) -> IdText {
        let mut text = IdText {
            bytes: [0; TEXT_BYTES_MAX],
            len: 0,
        };
        let mut digits = itoa::Buffer::new();
        text.push(digits.format(self.ms).as_bytes());
        text.push(b"-");
        text.push(digits.format(self.seq).as_bytes());
        text
    }

    /// An id as a client writes it: `ms`, `ms-seq`, `ms-*`; a sequence number that is not written is `missing`. `-` and
    /// `+`, the ends of an interval, unless it is `strict`.
    pub fn parse(text: &[u8], missing: u64, strict: bool) -> Option<ParsedId> {
        let known = |id| ParsedId { id, any_seq: false };
        match text {
            b"-" if !strict => return Some(known(StreamId::MIN)),
            b"+" if !strict => return Some(known(StreamId::MAX)),
            _ if text.len() > PARSED_BYTES_MAX => return None,
            _ => {}
        }
        let end = text.iter().position(|&byte| byte == 0);
        let text = &text[..end.unwrap_or(text.len())];
        let Some(dash) = text.iter().position(|&byte| byte == b'-') else {
            return Some(known(StreamId::new(parse_u64(text)?, missing)));
        };
        let ms = parse_u64(&text[..dash])?;
        match &text[dash + 1..] {
            b"*" => Some(ParsedId {
                id: StreamId::new(ms, 0),
                any_seq: true,
            }),
            seq => Some(known(StreamId::new(ms, parse_u64(seq)?))),
        }
    }
}

/// A number as C's `strtoull` reads it, which is how Redis does: blanks and a sign may stand before it.
fn parse_u64(text: &[u8]) -> Option<u64> {
    let blanks = text
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r'))
        .count();
    let (digits, negative) = match &text[blanks..] {
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        digits => (digits, false),
    };
    // A well-formed number below zero is refused; others are taken modulo 2^64.
    let formed = negative && blanks == 0 && digits.first().is_some_and(|digit| *digit != b'0');
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    match negative {
        true if formed && value <= 1 << 63 => None,
        true => Some(value.wrapping_neg()),
        false => Some(value),
    }
}

/// The text of an id.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; TEXT_BYTES_MAX],
    len: u8,
}

impl IdText {
    #[inline]
    fn push(&mut self, part: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_written() {
        let parse = |text: &str| {
            StreamId::parse(text.as_bytes(), 7, true)
                .map(|parsed| (parsed.id.ms, parsed.id.seq, parsed.any_seq))
        };
        assert_eq!(parse("5"), Some((5, 7, false)));
        assert_eq!(parse("5-9"), Some((5, 9, false)));
        assert_eq!(parse("5-*"), Some((5, 0, true)));
        assert_eq!(parse("005-+9"), Some((5, 9, false)));
        let max = u64::MAX.to_string();
        assert_eq!(
            parse(&format!("{max}-{max}")),
            Some((u64::MAX, u64::MAX, false))
        );
        for bad in [
            "",
            "-",
            "+",
            "-5",
            "5-",
            "5--1",
            "x",
            "5-x",
            "5-1-1",
            "18446744073709551616",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(
            StreamId::parse(b"+", 0, false).map(|it| it.id),
            Some(StreamId::MAX)
        );
        for id in [StreamId::MIN, StreamId::new(12, 345), StreamId::MAX] {
            let text = id.text();
            let parsed = StreamId::parse(text.as_bytes(), 0, true);
            assert_eq!(parsed.map(|it| it.id), Some(id));
            assert_eq!(StreamId::from_bytes(&id.to_bytes()), Some(id));
            assert_eq!(id.next().and_then(StreamId::prev), id.next().map(|_| id));
        }
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.prev(), None);
    }
}
