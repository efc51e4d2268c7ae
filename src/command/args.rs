//! A command's arguments: ranges into the buffer they arrived in, and a typed cursor over them.
//!
//! Nothing is copied: an argument lives as long as the call. What is stored, queued or
//! propagated is copied by whoever stores it.

use super::CommandError;
use crate::base::hash::HashSeed;
use crate::base::long_double::LongDouble;
use crate::base::num;
use crate::engine::{Clock, QueuedCommand};
use crate::keyspace::Key;
use crate::resp::parser::Range;

/// The arguments of one command and a cursor that starts behind the name.
#[derive(Clone)]
pub struct Args<'a> {
    bytes: &'a [u8],
    /// Unescaped words of an inline command; empty for others.
    decoded: &'a [u8],
    ranges: &'a [Range],
    next: usize,
    seed: HashSeed,
    /// (argument index, hash): what the dispatcher has hashed for its prefetch.
    hashed: (usize, u64),
}

impl<'a> Args<'a> {
    /// `ranges` point into `bytes` (or `decoded`); `hashed` is (index, hash) of an argument already hashed,
    /// index 0 for none.
    #[inline]
    pub fn new(
        bytes: &'a [u8],
        decoded: &'a [u8],
        ranges: &'a [Range],
        seed: HashSeed,
        hashed: (usize, u64),
    ) -> Args<'a> {
        Args {
            bytes,
            decoded,
            ranges,
            next: 1,
            seed,
            hashed,
        }
    }

    /// Those of a command that was kept to be run later.
    pub fn queued(command: &'a QueuedCommand, seed: HashSeed) -> Args<'a> {
        Args::new(&command.bytes, &[], &command.ranges, seed, (0, 0))
    }

    /// Number of arguments, the name included.
    #[inline]
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Argument `index` (0 is the name). Panics beyond the count.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.ranges[index].of(self.bytes, self.decoded)
    }

    /// All arguments, the name first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + '_ + use<'a, '_> {
        let (bytes, decoded) = (self.bytes, self.decoded);
        self.ranges
            .iter()
            .map(move |range| range.of(bytes, decoded))
    }

    /// Where the arguments lie when their bytes stand one behind the other.
    pub fn lengths_as_ranges(&self) -> Vec<Range> {
        let mut start = 0;
        let ranges = self.iter().map(|argument| {
            let range = Range {
                start,
                end: start + argument.len(),
            };
            start = range.end;
            range
        });
        ranges.collect()
    }

    /// Seconds to wait, as a double: the deadline in monotonic milliseconds, 0 for never. By the wall clock it must be
    /// a time that 64 bits hold.
    pub fn deadline(&mut self, clock: Clock) -> Result<u64, CommandError> {
        let seconds = seconds(self.bytes()?).ok_or(CommandError::text(
            "ERR timeout is not a float or out of range",
        ))?;
        let timeout_ms = (seconds * 1000.0).ceil();
        if timeout_ms < 0.0 {
            return Err(CommandError::text("ERR timeout is negative"));
        }
        if timeout_ms >= (i64::MAX - clock.unix_ms()) as f64 {
            return Err(CommandError::text("ERR timeout is out of range"));
        }
        match timeout_ms as u64 {
            0 => Ok(0),
            timeout_ms => Ok(clock.wait_begins_ms().saturating_add(timeout_ms)),
        }
    }

    /// Index of the argument the cursor stands before.
    #[inline]
    pub fn position(&self) -> usize {
        self.next
    }

    /// Moves the cursor (a container's handler starts behind the subcommand's name).
    #[inline]
    pub fn seek(&mut self, index: usize) {
        self.next = index;
    }

    /// Moves the cursor on by so many arguments, at most to the end.
    #[inline]
    pub fn skip(&mut self, count: usize) {
        self.next = (self.next + count).min(self.ranges.len());
    }

    /// Arguments left.
    #[inline]
    pub fn left(&self) -> usize {
        self.ranges.len().saturating_sub(self.next)
    }

    /// Whether none is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// The next argument, or a syntax error.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], CommandError> {
        if self.next >= self.ranges.len() {
            return Err(CommandError::Syntax);
        }
        let argument = self.at(self.next);
        self.next += 1;
        Ok(argument)
    }

    /// The next argument without moving.
    #[inline]
    pub fn peek(&self) -> Option<&'a [u8]> {
        (self.next < self.ranges.len()).then(|| self.at(self.next))
    }

    /// The next argument as a key with its hash.
    #[inline]
    pub fn key(&mut self) -> Result<Key<'a>, CommandError> {
        let index = self.next;
        let bytes = self.bytes()?;
        Ok(self.hash(index, bytes))
    }

    /// Argument `index` as a key with its hash.
    #[inline]
    pub fn key_at(&self, index: usize) -> Key<'a> {
        self.hash(index, self.at(index))
    }

    #[inline]
    fn hash(&self, index: usize, bytes: &'a [u8]) -> Key<'a> {
        let hash = if self.hashed.0 == index {
            self.hashed.1
        } else {
            self.seed.hash(bytes)
        };
        Key { bytes, hash }
    }

    /// The next argument as an integer; `value is not an integer or out of range` otherwise.
    #[inline]
    pub fn int(&mut self) -> Result<i64, CommandError> {
        num::parse_i64(self.bytes()?).ok_or(CommandError::NotInteger)
    }

    /// The next argument as an integer of 32 bits, with Redis's text for one that has more.
    pub fn int32(&mut self) -> Result<i64, CommandError> {
        match self.int()? {
            value if i32::try_from(value).is_ok() => Ok(value),
            _ => Err(CommandError::text(
                "ERR value is out of range, value must between -2147483648 and 2147483647",
            )),
        }
    }

    /// The next argument as an integer within bounds; the given error otherwise.
    pub fn int_in(
        &mut self,
        low: i64,
        high: i64,
        error: CommandError,
    ) -> Result<i64, CommandError> {
        match num::parse_i64(self.bytes()?) {
            Some(value) if (low..=high).contains(&value) => Ok(value),
            _ => Err(error),
        }
    }

    /// The next argument as a double; `value is not a valid float` otherwise.
    pub fn float(&mut self) -> Result<f64, CommandError> {
        num::parse_f64(self.bytes()?).ok_or(CommandError::NotFloat)
    }

    /// Takes the next argument if it equals `word`, ASCII case aside.
    #[inline]
    pub fn take(&mut self, word: &str) -> bool {
        match self.peek() {
            Some(argument) if argument.eq_ignore_ascii_case(word.as_bytes()) => {
                self.next += 1;
                true
            }
            _ => false,
        }
    }

    /// Errs with a syntax error unless all arguments have been read.
    #[inline]
    pub fn end(&self) -> Result<(), CommandError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(CommandError::Syntax)
        }
    }
}

/// A number of seconds. Redis reads it as a `long double`: what a double cannot hold is endless, or next to nothing.
fn seconds(text: &[u8]) -> Option<f64> {
    if let Some(seconds) = num::parse_f64(text) {
        return Some(seconds);
    }
    let number = LongDouble::parse(text)?;
    let one = LongDouble::from_i64(1);
    Some(
        match (
            number.is_below(LongDouble::from_i64(0)),
            number.is_below(one),
        ) {
            (true, _) if number.is_below(-one) => f64::NEG_INFINITY,
            (true, _) => -f64::MIN_POSITIVE,
            (false, true) => f64::MIN_POSITIVE,
            (false, false) => f64::INFINITY,
        },
    )
}
