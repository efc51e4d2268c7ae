//! What SCAN, SSCAN, HSCAN and ZSCAN share: the cursor, the options, and the page that is answered. A small collection
//! answers everything with cursor 0.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::string::bulk_string;
use super::{Args, CommandError};
use crate::base::{glob, num};
use crate::container::{self, CowTable};
use crate::resp::reply::Reply;
use crate::types::StringRef;

/// What is collected when no COUNT is given.
const COUNT_DEFAULT: usize = 10;
/// Segments that a page visits at most for each element that was asked for: few places may be filled.
const STEPS_PER_ELEMENT: usize = 10;

/// What is scanned: options differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scanned {
    /// A database: TYPE.
    Keys,
    /// A hash: NOVALUES.
    Hash,
    /// Another collection.
    Other,
}

/// `[MATCH pattern] [COUNT count] [TYPE type] [NOVALUES]`
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    /// Elements to collect.
    pub count: usize,
    /// Of keys: the only type wanted.
    pub type_name: Option<&'a [u8]>,
    /// Of hashes: without their values.
    pub no_values: bool,
}

/// A cursor as Redis reads it: an unsigned integer, which may have white space and a sign before it; a minus
/// wraps round, unless the number fits a signed integer. Errors: invalid cursor.
pub(super) fn cursor(args: &mut Args<'_>) -> Result<u64, CommandError> {
    parse_cursor(args.bytes()?).ok_or(CommandError::text("ERR invalid cursor"))
}

fn parse_cursor(text: &[u8]) -> Option<u64> {
    if let Some(number) = num::parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+"));
    let digits = digits.unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(match text.starts_with(b"-") {
        true => number.wrapping_neg(),
        false => number,
    })
}

impl<'a> ScanOptions<'a> {
    /// The arguments behind the cursor. Errors: syntax error, not an integer, NOVALUES where there are none.
    pub fn parse(args: &mut Args<'a>, scanned: Scanned) -> Result<ScanOptions<'a>, CommandError> {
        let mut options = ScanOptions {
            pattern: None,
            count: COUNT_DEFAULT,
            type_name: None,
            no_values: false,
        };
        while !args.is_empty() {
            let pair = args.left() >= 2;
            if pair && args.take("count") {
                let count = args.int()?;
                if count < 1 {
                    return Err(CommandError::Syntax);
                }
                options.count = count as usize;
            } else if pair && args.take("match") {
                options.pattern = Some(args.bytes()?).filter(|pattern| pattern != b"*");
            } else if pair && scanned == Scanned::Keys && args.take("type") {
                options.type_name = Some(args.bytes()?);
            } else if args.take("novalues") {
                if scanned != Scanned::Hash {
                    return Err(CommandError::text(
                        "ERR NOVALUES option can only be used in HSCAN",
                    ));
                }
                options.no_values = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether a name matches the pattern.
    pub fn takes(&self, name: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, name, false))
    }
}

/// The elements of one answer.
pub(super) struct Page<'a> {
    options: &'a ScanOptions<'a>,
    elements: Reply,
    count: usize,
}

impl<'a> Page<'a> {
    /// The answer about a key that is absent.
    pub fn absent(reply: &mut Reply) {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
    }

    /// An empty page for an answer in the protocol of `reply`.
    pub fn new(options: &'a ScanOptions<'a>, reply: &Reply) -> Page<'a> {
        Page {
            options,
            elements: Reply::new(reply.protocol()),
            count: 0,
        }
    }

    /// Visits entries of a large collection from `cursor` on, as many as asked for but bounded work; the cursor to go on
    /// with.
    pub fn fill<E: container::Entry>(
        &mut self,
        table: &CowTable<E>,
        mut cursor: u64,
        mut visit: impl FnMut(&mut Self, &E),
    ) -> u64 {
        let mut visited = 0;
        let mut steps = self.options.count.saturating_mul(STEPS_PER_ELEMENT);
        loop {
            let left = self.options.count - visited;
            cursor = table.scan(cursor, left, |entry| {
                visited += 1;
                visit(self, entry);
            });
            steps -= 1;
            if cursor == 0 || visited >= self.options.count || steps == 0 {
                return cursor;
            }
        }
    }

    /// Adds a member or field if it matches; whether it did.
    pub fn push(&mut self, member: StringRef<'_>) -> bool {
        let takes =
            self.options.pattern.is_none() || self.options.takes(member.as_bytes(&mut Vec::new()));
        if takes {
            self.push_value(member);
        }
        takes
    }

    /// Adds what belongs to the member that was added last.
    pub fn push_value(&mut self, value: StringRef<'_>) {
        bulk_string(&mut self.elements, value);
        self.count += 1;
    }

    /// Answers the page with the cursor to go on with.
    pub fn finish(self, reply: &mut Reply, cursor: u64) {
        reply.array(2);
        reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
        reply.array(self.count);
        reply.raw(&self.elements.buf);
    }
}
