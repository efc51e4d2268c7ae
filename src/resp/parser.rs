//! The incremental request parser: RESP multibulk requests and inline commands.
//!
//! Invariants:
//! - Zero-copy: a command is a list of [`Range`]s into the caller's buffer. Only an inline command whose words
//!   need unescaping is decoded, into a small buffer of the parser that such a range points to.
//! - Bytes are read once: progress inside the one incomplete command is kept, relative to its first byte, so the
//!   caller may move the bytes between calls.
//! - The result does not depend on how the bytes were cut. (Redis's does for lines of 64 to 80 KiB, which it
//!   accepts when their end arrives in the right read.)
//!
//! Source: the protocol specification, and the replies of redis-server 8.0.6 (tests/wire/protocol.rs). What the
//! specification does not say: a NUL byte hides the end of a line; the byte after `\r` and the two after a bulk
//! are skipped unseen; negative multibulk lengths are empty commands.

use std::fmt;

use memchr::memchr2;

use crate::base::num::parse_i64;
use crate::base::quote;

/// A range of bytes: an argument's place in the buffer, or among the parser's decoded words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First byte. The top bit marks decoded words: see [`Range::of`].
    pub start: usize,
    /// One past the last byte, without the mark.
    pub end: usize,
}

/// Marks a range into the decoded words of an inline command.
const DECODED: usize = 1 << (usize::BITS - 1);

impl Range {
    /// The argument's bytes: `buf` is the buffer given to [`Parser::next`], `decoded` is [`Parser::decoded`].
    /// Empty when the range lies outside (a caller's mistake).
    #[inline]
    pub fn of<'a>(self, buf: &'a [u8], decoded: &'a [u8]) -> &'a [u8] {
        let source = if self.start & DECODED == 0 {
            buf
        } else {
            decoded
        };
        let bytes = source.get(self.start & !DECODED..self.end);
        debug_assert!(bytes.is_some(), "range outside its buffer");
        bytes.unwrap_or_default()
    }

    /// Whether the range points among the decoded words instead of into the buffer.
    #[inline]
    pub fn is_decoded(self) -> bool {
        self.start & DECODED != 0
    }

    /// Length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.end - (self.start & !DECODED)
    }

    /// Whether the argument is empty.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The range after the bytes of the buffer moved: what stood at `from` now stands at `to`.
    #[inline]
    pub fn rebased(self, from: usize, to: usize) -> Range {
        if self.is_decoded() {
            return self;
        }
        Range {
            start: self.start - from + to,
            end: self.end - from + to,
        }
    }
}

/// What a link may send at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// False: the link has to authenticate first, and gets the small limits.
    pub authenticated: bool,
    /// Largest bulk in bytes (`proto-max-bulk-len`; `i64::MAX` for the link to the master).
    pub bulk_bytes_max: i64,
    /// Most arguments of a command.
    pub multibulk_max: i64,
    /// Longest line in bytes, without its end.
    pub line_bytes_max: usize,
}

impl Limits {
    /// `proto-max-bulk-len` as shipped.
    pub const BULK_BYTES_MAX: i64 = 512 << 20;
    /// Arguments before authentication.
    pub const UNAUTHENTICATED_MULTIBULK_MAX: i64 = 10;
    /// Bytes of a bulk before authentication.
    pub const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16384;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            authenticated: true,
            bulk_bytes_max: Limits::BULK_BYTES_MAX,
            multibulk_max: i32::MAX as i64,
            line_bytes_max: 64 * 1024,
        }
    }
}

/// What is wrong with the bytes; the link is closed after the reply. `Display` gives Redis's text without `-ERR `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The number after `*` is no number or too large.
    MultibulkLength,
    /// More arguments than allowed before authentication.
    UnauthenticatedMultibulkLength,
    /// Another byte in place of `$`.
    ExpectedDollar(u8),
    /// The number after `$` is no number, negative or too large.
    BulkLength,
    /// A larger bulk than allowed before authentication.
    UnauthenticatedBulkLength,
    /// A `*` line without an end.
    MultibulkCountTooBig,
    /// A `$` line without an end.
    BulkCountTooBig,
    /// An inline line without an end.
    InlineTooBig,
    /// An inline line with an open quote, or a closing quote inside a word.
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The error reply's bytes after `-`, without CRLF: `ERR Protocol error: …`. The byte of `expected '$'` is
    /// sent as it came, except that CR and LF become spaces.
    pub fn reply(&self) -> Vec<u8> {
        let mut out = b"ERR Protocol error: ".to_vec();
        match self {
            ProtocolError::ExpectedDollar(byte) => {
                out.extend_from_slice(b"expected '$', got '");
                out.push(if matches!(byte, b'\r' | b'\n') {
                    b' '
                } else {
                    *byte
                });
                out.push(b'\'');
            }
            other => out.extend_from_slice(other.detail().as_bytes()),
        }
        out
    }

    /// The text after `Protocol error: `; for [`ProtocolError::ExpectedDollar`] without the byte.
    pub fn detail(&self) -> &'static str {
        match self {
            ProtocolError::MultibulkLength => "invalid multibulk length",
            ProtocolError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            ProtocolError::ExpectedDollar(_) => "expected $ but got something else",
            ProtocolError::BulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            ProtocolError::MultibulkCountTooBig => "too big mbulk count string",
            ProtocolError::BulkCountTooBig => "too big bulk count string",
            ProtocolError::InlineTooBig => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
        }
    }

    /// What Redis's log calls it, which is not always what the reply says.
    pub fn logged(&self) -> &'static str {
        match self {
            ProtocolError::MultibulkLength => "invalid mbulk count",
            ProtocolError::UnauthenticatedMultibulkLength => "unauth mbulk count",
            ProtocolError::UnauthenticatedBulkLength => "unauth bulk length",
            ProtocolError::ExpectedDollar(_)
            | ProtocolError::BulkLength
            | ProtocolError::MultibulkCountTooBig
            | ProtocolError::BulkCountTooBig
            | ProtocolError::InlineTooBig
            | ProtocolError::UnbalancedQuotes => self.detail(),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::ExpectedDollar(byte) => {
                let shown = if matches!(byte, b'\r' | b'\n') {
                    ' '
                } else {
                    char::from(*byte)
                };
                write!(out, "Protocol error: expected '$', got '{shown}'")
            }
            other => write!(out, "Protocol error: {}", other.detail()),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// The state of one link's parser: progress inside one incomplete command.
#[derive(Debug, Default)]
pub struct Parser {
    /// Offset of the next unread byte, relative to the command's first byte.
    offset: usize,
    /// Bytes from `offset` on that are known to hold no end of line.
    scanned: usize,
    /// Arguments still to come, once the `*` line was read.
    remaining: u64,
    /// Length of the bulk being waited for, once its `$` line was read.
    bulk: Option<usize>,
    /// Bytes missing for that bulk and its CRLF at the last call.
    missing: usize,
    /// Ranges of the arguments read so far, relative to the command's first byte.
    pending: Vec<Range>,
    /// Unescaped words of inline commands.
    decoded: Vec<u8>,
}

/// `pending` and `decoded` keep at most this capacity between commands.
const KEPT_CAPACITY_MAX: usize = 1024;

/// How far a command got.
enum Step {
    /// It is whole; one past its last byte.
    Whole(usize),
    /// Bytes are missing.
    Incomplete,
}

impl Parser {
    /// A parser at the start of a command.
    pub fn new() -> Parser {
        Parser::default()
    }

    /// Reads one command of `buf[start..]`.
    ///
    /// `Ok(Some(end))`: a whole command, `buf[start..end]`; its arguments' ranges were appended to `args` (none: an
    /// empty command, to be ignored). `Ok(None)`: incomplete; `args` is as before, and the next call must give
    /// the same bytes and more, at whatever `start`. `Err`: reply and close; the parser is not to be used again
    /// before [`Parser::reset`].
    ///
    /// Decoded words of inline commands stay until a call with empty `args`.
    #[inline]
    pub fn next(
        &mut self,
        buf: &[u8],
        start: usize,
        limits: &Limits,
        args: &mut Vec<Range>,
    ) -> Result<Option<usize>, ProtocolError> {
        if self.offset == 0 && self.scanned == 0 {
            // The common case: a whole small command.
            let args_before = args.len();
            if let Some(end) = quick(buf, start, limits, args) {
                return Ok(Some(end));
            }
            args.truncate(args_before);
        }
        self.next_slowly(buf, start, limits, args)
    }

    /// Bytes still missing for the bulk being read, with its CRLF; 0 when the parser waits for a line.
    pub fn wanted(&self) -> usize {
        self.missing
    }

    /// Bytes of the incomplete command that belong to whole arguments and lines: what follows them is still unread.
    pub fn read_bytes(&self) -> usize {
        self.offset
    }

    /// Whether a command has been read in part, so that its first bytes must be kept.
    pub fn is_partial(&self) -> bool {
        self.offset != 0 || self.scanned != 0
    }

    /// Forgets the incomplete command: the next call starts at a command's first byte.
    pub fn reset(&mut self) {
        self.offset = 0;
        self.scanned = 0;
        self.remaining = 0;
        self.bulk = None;
        self.missing = 0;
        self.pending.clear();
        self.pending.shrink_to(KEPT_CAPACITY_MAX);
    }

    /// The unescaped words of inline commands, for [`Range::of`].
    #[inline]
    pub fn decoded(&self) -> &[u8] {
        &self.decoded
    }

    /// Takes the unescaped words away, for a caller that cannot keep the parser borrowed.
    pub fn take_decoded(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.decoded)
    }

    #[inline(never)]
    fn next_slowly(
        &mut self,
        buf: &[u8],
        start: usize,
        limits: &Limits,
        args: &mut Vec<Range>,
    ) -> Result<Option<usize>, ProtocolError> {
        let command = buf.get(start..).unwrap_or_default();
        let Some(&first) = command.first() else {
            return Ok(None);
        };
        let step = if first == b'*' {
            self.multibulk(command, limits)?
        } else {
            return self.inline(command, start, limits, args);
        };
        match step {
            Step::Incomplete => Ok(None),
            Step::Whole(end) => {
                args.extend(self.pending.iter().map(|range| range.rebased(0, start)));
                self.reset();
                Ok(Some(start + end))
            }
        }
    }

    /// The `\r` line at `offset`: Some(its end, offset of `\r`), or None when it has not arrived.
    fn line(
        &mut self,
        command: &[u8],
        limits: &Limits,
        error: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let rest = command.get(self.offset..).unwrap_or_default();
        let unseen = rest.get(self.scanned..).unwrap_or_default();
        match memchr2(b'\r', 0, unseen) {
            Some(index) if unseen.get(index) == Some(&b'\r') => {
                let index = self.scanned + index;
                if index > limits.line_bytes_max {
                    return Err(error);
                }
                self.scanned = index;
                // One byte more belongs to the line, whatever it is.
                Ok((index + 2 <= rest.len()).then_some(self.offset + index))
            }
            found => {
                // A NUL is never passed: what follows stays hidden.
                self.scanned += found.unwrap_or(unseen.len());
                if rest.len() > limits.line_bytes_max {
                    Err(error)
                } else {
                    Ok(None)
                }
            }
        }
    }

    fn multibulk(&mut self, command: &[u8], limits: &Limits) -> Result<Step, ProtocolError> {
        if self.offset == 0 {
            let Some(end) = self.line(command, limits, ProtocolError::MultibulkCountTooBig)? else {
                return Ok(Step::Incomplete);
            };
            let count = command.get(1..end).and_then(parse_i64);
            let count = count
                .filter(|&count| count <= limits.multibulk_max)
                .ok_or(ProtocolError::MultibulkLength)?;
            if count > Limits::UNAUTHENTICATED_MULTIBULK_MAX && !limits.authenticated {
                return Err(ProtocolError::UnauthenticatedMultibulkLength);
            }
            self.offset = end + 2;
            self.scanned = 0;
            self.remaining = u64::try_from(count).unwrap_or(0);
        }
        while self.remaining > 0 {
            let bulk = match self.bulk {
                Some(bulk) => bulk,
                None => {
                    let Some(end) = self.line(command, limits, ProtocolError::BulkCountTooBig)?
                    else {
                        return Ok(Step::Incomplete);
                    };
                    let bulk =
                        bulk_length(command.get(self.offset..end).unwrap_or_default(), limits)?;
                    self.offset = end + 2;
                    self.scanned = 0;
                    self.bulk = Some(bulk);
                    bulk
                }
            };
            let available = command.len() - self.offset;
            if available < bulk.saturating_add(2) {
                self.missing = bulk.saturating_add(2) - available;
                return Ok(Step::Incomplete);
            }
            self.pending.push(Range {
                start: self.offset,
                end: self.offset + bulk,
            });
            self.offset += bulk + 2;
            self.bulk = None;
            self.missing = 0;
            self.remaining -= 1;
        }
        Ok(Step::Whole(self.offset))
    }

    fn inline(
        &mut self,
        command: &[u8],
        start: usize,
        limits: &Limits,
        args: &mut Vec<Range>,
    ) -> Result<Option<usize>, ProtocolError> {
        let unseen = command.get(self.scanned..).unwrap_or_default();
        let newline = match memchr2(b'\n', 0, unseen) {
            Some(index) if unseen.get(index) == Some(&b'\n') => self.scanned + index,
            found => {
                self.scanned += found.unwrap_or(unseen.len());
                if without_return(command).len() > limits.line_bytes_max {
                    return Err(ProtocolError::InlineTooBig);
                }
                return Ok(None);
            }
        };
        let line = without_return(command.get(..newline).unwrap_or_default());
        if line.len() > limits.line_bytes_max {
            return Err(ProtocolError::InlineTooBig);
        }
        if args.is_empty() {
            self.decoded.clear();
            self.decoded.shrink_to(KEPT_CAPACITY_MAX);
        }
        let mut rest = line;
        loop {
            let word = quote::next_word(rest).ok_or(ProtocolError::UnbalancedQuotes)?;
            let Some((word, after)) = word else {
                break;
            };
            args.push(match word {
                std::borrow::Cow::Borrowed(word) => {
                    // The word ends where the rest begins.
                    let end = start + line.len() - after.len();
                    Range {
                        start: end - word.len(),
                        end,
                    }
                }
                std::borrow::Cow::Owned(word) => {
                    let at = self.decoded.len();
                    self.decoded.extend_from_slice(&word);
                    Range {
                        start: at | DECODED,
                        end: self.decoded.len(),
                    }
                }
            });
            rest = after;
        }
        self.reset();
        Ok(Some(start + newline + 1))
    }
}

/// A line without the `\r` of its end.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The length in a bulk's line (`$…` without its end).
fn bulk_length(line: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    // An empty line is seen as its `\r`.
    let digits = match line.split_first() {
        Some((b'$', digits)) => digits,
        Some((&other, _)) => return Err(ProtocolError::ExpectedDollar(other)),
        None => return Err(ProtocolError::ExpectedDollar(b'\r')),
    };
    let length = parse_i64(digits)
        .filter(|length| (0..=limits.bulk_bytes_max).contains(length))
        .ok_or(ProtocolError::BulkLength)?;
    if length > Limits::UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    usize::try_from(length).map_err(|_| ProtocolError::BulkLength)
}

/// A whole multibulk command of at most 99 arguments (9 before authentication) of at most 9999 bytes, in canonical form;
/// None for anything else, which the careful path then reads. Within these bounds every limit holds.
#[inline(always)]
fn quick(buf: &[u8], start: usize, limits: &Limits, args: &mut Vec<Range>) -> Option<usize> {
    if limits.bulk_bytes_max < 9999 {
        return None;
    }
    let mut rest = buf.get(start..)?;
    let (count, after) = match rest {
        [b'*', digit @ b'1'..=b'9', b'\r', b'\n', after @ ..] => (digit - b'0', after),
        [
            b'*',
            ten @ b'1'..=b'9',
            one @ b'0'..=b'9',
            b'\r',
            b'\n',
            after @ ..,
        ] if limits.authenticated => ((ten - b'0') * 10 + (one - b'0'), after),
        _ => return None,
    };
    rest = after;
    for _ in 0..count {
        let (length, after) = match rest {
            [b'$', a @ b'0'..=b'9', b'\r', b'\n', after @ ..] => (usize::from(a - b'0'), after),
            [
                b'$',
                a @ b'1'..=b'9',
                b @ b'0'..=b'9',
                b'\r',
                b'\n',
                after @ ..,
            ] => (usize::from(a - b'0') * 10 + usize::from(b - b'0'), after),
            [
                b'$',
                a @ b'1'..=b'9',
                b @ b'0'..=b'9',
                c @ b'0'..=b'9',
                b'\r',
                b'\n',
                after @ ..,
            ] => (
                usize::from(a - b'0') * 100 + usize::from(b - b'0') * 10 + usize::from(c - b'0'),
                after,
            ),
            [
                b'$',
                a @ b'1'..=b'9',
                b @ b'0'..=b'9',
                c @ b'0'..=b'9',
                d @ b'0'..=b'9',
                b'\r',
                b'\n',
                after @ ..,
            ] => (
                usize::from(a - b'0') * 1000
                    + usize::from(b - b'0') * 100
                    + usize::from(c - b'0') * 10
                    + usize::from(d - b'0'),
                after,
            ),
            _ => return None,
        };
        let at = buf.len() - after.len();
        rest = after.get(length + 2..)?;
        args.push(Range {
            start: at,
            end: at + length,
        });
    }
    Some(buf.len() - rest.len())
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    type Parsed = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

    fn parse(bytes: &[u8], limits: &Limits) -> Parsed {
        let (mut parser, mut start, mut commands) = (Parser::new(), 0, Vec::new());
        loop {
            let mut args = Vec::new();
            match parser.next(bytes, start, limits, &mut args) {
                Ok(None) => return (commands, None),
                Err(error) => return (commands, Some(error)),
                Ok(Some(end)) => {
                    start = end;
                    commands.push(
                        args.iter()
                            .map(|arg| arg.of(bytes, parser.decoded()).to_vec())
                            .collect(),
                    );
                }
            }
        }
    }

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn whole_commands() {
        let limits = Limits::default();
        let (commands, error) = parse(
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\n*0\r\n*-1\r\nset  k \"a b\" 'c\\'d' \"\\x41\"\n*1\r\n$4\r\nQUIT\r\n",
            &limits,
        );
        assert_eq!(error, None);
        assert_eq!(
            commands,
            [
                words(&["GET", "k"]),
                words(&["PING"]),
                vec![],
                vec![],
                vec![],
                words(&["set", "k", "a b", "c'd", "A"]),
                words(&["QUIT"])
            ]
        );
    }

    #[test]
    fn errors() {
        let limits = Limits::default();
        let before = Limits {
            authenticated: false,
            ..limits
        };
        for (bytes, limits, text) in [
            (&b"*x\r\n"[..], &limits, "invalid multibulk length"),
            (b"*2147483648\r\n", &limits, "invalid multibulk length"),
            (b"*1\r\nx1\r\n", &limits, "expected '$', got 'x'"),
            (b"*1\r\n\r\n", &limits, "expected '$', got ' '"),
            (b"*1\r\n$-1\r\n", &limits, "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", &limits, "invalid bulk length"),
            (b"*11\r\n", &before, "unauthenticated multibulk length"),
            (b"*1\r\n$16385\r\n", &before, "unauthenticated bulk length"),
            (b"\"x\n", &limits, "unbalanced quotes in request"),
        ] {
            let error = parse(bytes, limits).1.unwrap().to_string();
            assert_eq!(error, format!("Protocol error: {text}"));
        }
        let long = vec![b'1'; 65_600];
        for (prefix, text) in [
            ("", "too big inline request"),
            ("*", "too big mbulk count string"),
            ("*1\r\n$", "too big bulk count string"),
        ] {
            let bytes = [prefix.as_bytes(), &long].concat();
            assert_eq!(
                parse(&bytes, &limits).1.unwrap().to_string(),
                format!("Protocol error: {text}")
            );
        }
        // The line's end does not count.
        for end in ["\n", "\r\n"] {
            let line = |len: usize| [vec![b'A'; len], end.into()].concat();
            let (commands, error) = parse(&line(65_536), &limits);
            assert_eq!((commands.len(), error), (1, None));
            assert_eq!(
                parse(&line(65_537), &limits).1,
                Some(ProtocolError::InlineTooBig)
            );
        }
    }
}
