//! LZF, the compression that RDB strings use: a compressor that is cheap on short values and
//! decompressors for bytes from anywhere.
//!
//! The stream is a run of tokens (facts from liblzf's documentation):
//!
//! ```text
//! 000LLLLL                      L+1 literal bytes follow
//! LLLooooo oooooooo             copy L+2 bytes (L = 1..6) from o+1 bytes back
//! 111ooooo LLLLLLLL oooooooo    copy L+9 bytes from o+1 bytes back
//! ```
//!
//! Why not a crate: both published ones clear a table of 64 Ki slots for each call (3 to 6 µs for
//! a value of 100 bytes, measured); a save has 0.2 µs a key to spend. Here the table is kept
//! between calls: a slot holds `base + position`, and `base` moves past every position used, so
//! that slots of earlier calls read as empty without being cleared.

/// Longest distance a copy token can reach back.
pub const DISTANCE_MAX: usize = 1 << 13;
/// Longest copy of one token.
const COPY_MAX: usize = 264;
/// Longest run of literals of one token.
const LITERAL_MAX: usize = 32;
/// Longest token: a full run of literals and its control byte.
pub const TOKEN_MAX: usize = LITERAL_MAX + 1;
/// The most bytes that one byte of a stream can stand for: three bytes copy 264.
pub const EXPANSION_MAX: u64 = 88;

/// Table bits for short inputs (16 KiB of table, which stays in the first-level cache).
const SHORT_BITS: u32 = 12;
/// Table bits for inputs of more than `SHORT_BYTES`.
const LONG_BITS: u32 = 14;
const SHORT_BYTES: usize = 4096;

/// The search's step grows by one byte for each `1 << SKIP_SHIFT` literals without a match.
const SKIP_SHIFT: u32 = 5;

/// A stream that is not LZF, or does not have the length it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

/// The compressor. Keep one for a whole save: making it costs 64 KiB.
pub struct Compressor {
    /// Invariant: every slot is below `base` when no call is running.
    slots: Box<[u32]>,
    base: u32,
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor::new()
    }
}

impl Compressor {
    /// An empty table.
    pub fn new() -> Compressor {
        Compressor {
            slots: vec![0; 1 << LONG_BITS].into_boxed_slice(),
            base: 1,
        }
    }

    /// Appends a stream that stands for `data`, even if it is longer, and returns its length.
    pub fn stream(&mut self, data: &[u8], out: &mut Vec<u8>) -> usize {
        self.compress(data, out, usize::MAX).unwrap_or_else(|| {
            let start = out.len();
            push_literals(out, data);
            out.len() - start
        })
    }

    /// Appends the compressed form of `data` to `out` and returns its length; returns `None` and
    /// leaves `out` as it was when that would take more than `bytes_max` bytes.
    ///
    /// Runs of literals are searched with growing steps, and a match has at least four bytes (one
    /// of three would save at most one): incompressible input costs little.
    // Indexes come from positions inside `data` that the loop has bounded, and slots are masked.
    #[allow(clippy::indexing_slicing)]
    pub fn compress(&mut self, data: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Option<usize> {
        let start = out.len();
        let length = u32::try_from(data.len()).ok().filter(|&n| n < 1 << 31)?;
        if length < 4 {
            return None;
        }
        if self.base.checked_add(length).is_none() {
            self.slots.fill(0);
            self.base = 1;
        }
        let base = self.base;
        self.base += length;
        let bits = if data.len() > SHORT_BYTES {
            LONG_BITS
        } else {
            SHORT_BITS
        };

        // The last bytes are left to the literals, so that four bytes can always be read.
        let end = data.len() - 4;
        let mut literals = 0; // where the literals not yet written start
        let mut position = 0;
        while position <= end {
            let word = word(data, position);
            let slot = (word.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize;
            let seen = self.slots[slot];
            self.slots[slot] = base + position as u32;
            // A slot of an earlier call wraps to a huge number or to a place not before this one.
            let reference = seen.wrapping_sub(base) as usize;
            if reference >= position
                || position - reference > DISTANCE_MAX
                || self::word(data, reference) != word
            {
                position += 1 + ((position - literals) >> SKIP_SHIFT);
                continue;
            }
            let longest = COPY_MAX.min(data.len() - position);
            let count = matching(
                &data[reference + 4..],
                &data[position + 4..position + longest],
            ) + 4;
            push_literals(out, &data[literals..position]);
            push_copy(out, count, position - reference);
            if out.len() - start > bytes_max {
                out.truncate(start);
                return None;
            }
            position += count;
            literals = position;
        }
        push_literals(out, &data[literals..]);
        if out.len() - start > bytes_max {
            out.truncate(start);
            return None;
        }
        Some(out.len() - start)
    }
}

/// Four bytes of `data` at `position`, which the caller has bounded.
#[inline(always)]
#[allow(clippy::indexing_slicing)]
fn word(data: &[u8], position: usize) -> u32 {
    let bytes = &data[position..position + 4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// How many leading bytes are equal.
#[inline]
fn matching(left: &[u8], right: &[u8]) -> usize {
    let mut count = 0;
    for (l, r) in left.chunks_exact(8).zip(right.chunks_exact(8)) {
        let mut a = [0; 8];
        let mut b = [0; 8];
        a.copy_from_slice(l);
        b.copy_from_slice(r);
        let difference = u64::from_le_bytes(a) ^ u64::from_le_bytes(b);
        if difference != 0 {
            return count + (difference.trailing_zeros() / 8) as usize;
        }
        count += 8;
    }
    let tail = left.iter().skip(count).zip(right.iter().skip(count));
    count + tail.take_while(|(l, r)| l == r).count()
}

#[inline]
fn push_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERAL_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

#[inline]
fn push_copy(out: &mut Vec<u8>, count: usize, distance: usize) {
    assert!((3..=COPY_MAX).contains(&count));
    let back = distance - 1;
    let high = (back >> 8) as u8;
    if count < 9 {
        out.extend_from_slice(&[((count - 2) as u8) << 5 | high, back as u8]);
    } else {
        out.extend_from_slice(&[7 << 5 | high, (count - 9) as u8, back as u8]);
    }
}

/// One token of a stream.
enum Token<'a> {
    Literals(&'a [u8]),
    Copy { count: usize, distance: usize },
}

/// Takes the next token from `input`; `None` if it is not all there.
#[inline]
fn next_token<'a>(input: &mut &'a [u8]) -> Option<Token<'a>> {
    let (&control, rest) = input.split_first()?;
    let control = usize::from(control);
    if control < LITERAL_MAX {
        let (run, rest) = rest.split_at_checked(control + 1)?;
        *input = rest;
        return Some(Token::Literals(run));
    }
    let mut count = (control >> 5) + 2;
    let mut rest = rest;
    if count == 9 {
        let (&more, after) = rest.split_first()?;
        count += usize::from(more);
        rest = after;
    }
    let (&low, rest) = rest.split_first()?;
    *input = rest;
    let distance = ((control & 0x1f) << 8 | usize::from(low)) + 1;
    Some(Token::Copy { count, distance })
}

/// Appends `count` bytes that stand `distance` back in `out`; they may overlap what is appended.
#[inline]
fn copy_back(out: &mut Vec<u8>, count: usize, distance: usize) {
    let from = out.len() - distance;
    if distance >= count {
        out.extend_from_within(from..from + count);
        return;
    }
    // What repeats grows with each round, so a long run takes few of them.
    let mut left = count;
    while left > 0 {
        let piece = left.min(out.len() - from);
        out.extend_from_within(from..from + piece);
        left -= piece;
    }
}

/// Appends to `out` what `input` stands for: exactly `length` bytes, or an error (`out` then has
/// some of them). Memory grows with what has been produced, at most `length`.
pub fn decompress(mut input: &[u8], out: &mut Vec<u8>, length: usize) -> Result<(), Corrupt> {
    let start = out.len();
    if length as u64 > (input.len() as u64).saturating_mul(EXPANSION_MAX) {
        return Err(Corrupt);
    }
    out.reserve(length);
    while !input.is_empty() {
        let room = length - (out.len() - start);
        match next_token(&mut input).ok_or(Corrupt)? {
            Token::Literals(run) if run.len() <= room => out.extend_from_slice(run),
            Token::Copy { count, distance } if count <= room && distance <= out.len() - start => {
                copy_back(out, count, distance);
            }
            Token::Literals(_) | Token::Copy { .. } => return Err(Corrupt),
        }
    }
    if out.len() - start == length {
        Ok(())
    } else {
        Err(Corrupt)
    }
}

/// A decompressor for streams that are too long to be held: it takes what input there is and
/// gives pieces of output, keeping `DISTANCE_MAX` bytes of history.
#[derive(Debug)]
pub struct Streaming {
    /// History, then what the next `take_piece` gives.
    window: Vec<u8>,
    /// Where in `window` the bytes start that nobody took.
    fresh: usize,
    input_left: u64,
    output_left: u64,
}

impl Streaming {
    /// For a stream of `input_bytes` that claims to stand for `output_bytes`.
    pub fn new(input_bytes: u64, output_bytes: u64) -> Result<Streaming, Corrupt> {
        if output_bytes > input_bytes.saturating_mul(EXPANSION_MAX) {
            return Err(Corrupt);
        }
        Ok(Streaming {
            window: Vec::new(),
            fresh: 0,
            input_left: input_bytes,
            output_left: output_bytes,
        })
    }

    /// Bytes of the stream not yet taken.
    pub fn input_left(&self) -> u64 {
        self.input_left
    }

    /// Decompresses from `input` (which may hold bytes behind the stream) until it holds no whole
    /// token or `piece_bytes` of output wait; returns how many bytes of input were used.
    pub fn feed(&mut self, input: &[u8], piece_bytes: usize) -> Result<usize, Corrupt> {
        let mine = usize::try_from(self.input_left)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let Some(mut rest) = input.get(..mine) else {
            return Err(Corrupt);
        };
        let last = mine as u64 == self.input_left;
        while !rest.is_empty() && self.window.len() - self.fresh < piece_bytes {
            let made = self.window.len();
            let before = rest.len();
            match next_token(&mut rest) {
                Some(Token::Literals(run)) => self.window.extend_from_slice(run),
                Some(Token::Copy { count, distance }) if distance <= made => {
                    copy_back(&mut self.window, count, distance);
                }
                Some(Token::Copy { .. }) => return Err(Corrupt),
                None if last => return Err(Corrupt),
                None => break,
            }
            let made = (self.window.len() - made) as u64;
            self.output_left = self.output_left.checked_sub(made).ok_or(Corrupt)?;
            self.input_left -= (before - rest.len()) as u64;
        }
        if self.input_left == 0 && self.output_left > 0 {
            return Err(Corrupt);
        }
        Ok(mine - rest.len())
    }

    /// Gives the waiting output to `take` and forgets what no token can reach any more.
    pub fn take_piece<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> T {
        let result = take(self.window.get(self.fresh..).unwrap_or_default());
        let spare = self.window.len().saturating_sub(DISTANCE_MAX);
        self.window.drain(..spare);
        self.fresh = self.window.len();
        result
    }

    /// Bytes that wait for `take_piece`.
    pub fn waiting(&self) -> usize {
        self.window.len() - self.fresh
    }

    /// True when the whole stream went in and all its output was taken.
    pub fn is_done(&self) -> bool {
        self.input_left == 0 && self.waiting() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    /// Data with runs, repeats near and far, and noise.
    fn sample(seed: &mut u64, length: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < length {
            let count = (next(seed) % 400) as usize;
            match next(seed) % 4 {
                0 => data.extend((0..count).map(|_| next(seed) as u8)),
                1 => data.extend(std::iter::repeat_n(next(seed) as u8, count)),
                2 => data.extend_from_slice(b"{\"id\":12,\"name\":\"somebody\"}"),
                _ if data.is_empty() => {}
                _ => {
                    let from = next(seed) as usize % data.len();
                    let end = data.len().min(from + count);
                    data.extend_from_within(from..end);
                }
            }
        }
        data.truncate(length);
        data
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let mut seed = 0x5eed_1234_5678;
        let mut compressor = Compressor::new();
        let mut shrunk = 0;
        for round in 0..3000 {
            let length = if round % 50 == 0 {
                100_000
            } else {
                round % 700
            };
            let data = sample(&mut seed, length);
            let mut packed = vec![7; 3];
            let Some(count) = compressor.compress(&data, &mut packed, data.len().saturating_sub(4))
            else {
                assert_eq!(packed, [7; 3]);
                continue;
            };
            shrunk += 1;
            assert_eq!(count, packed.len() - 3);
            let mut back = vec![9; 2];
            decompress(&packed[3..], &mut back, data.len()).unwrap();
            assert_eq!(&back[2..], data);

            let mut stream = Streaming::new(count as u64, data.len() as u64).unwrap();
            let (mut from, mut to, mut streamed) = (3, 3, Vec::new());
            while !stream.is_done() {
                to = packed.len().min(to + 1 + next(&mut seed) as usize % 5000);
                from += stream.feed(&packed[from..to], 1000).unwrap();
                stream.take_piece(|piece| streamed.extend_from_slice(piece));
            }
            assert_eq!(streamed, data);
        }
        assert!(shrunk > 1500, "{shrunk}");
    }

    #[test]
    fn slots_of_an_earlier_call_are_not_seen() {
        let mut compressor = Compressor::new();
        compressor.base = u32::MAX - 1000;
        for _ in 0..20 {
            let mut packed = Vec::new();
            let data = b"abcabcabcabcabcabcabcabcabcabcabc the same again: abcabcabcabcabcabc";
            compressor.compress(data, &mut packed, data.len()).unwrap();
            let mut back = Vec::new();
            decompress(&packed, &mut back, data.len()).unwrap();
            assert_eq!(back, data);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_decoded_without_a_panic() {
        let mut seed = 0xfeed_f00d;
        for _ in 0..20_000 {
            let count = next(&mut seed) as usize % 60;
            let bytes: Vec<u8> = (0..count).map(|_| next(&mut seed) as u8 & 0x7f).collect();
            let length = next(&mut seed) as usize % 300;
            let mut whole = Vec::new();
            let one = decompress(&bytes, &mut whole, length);
            assert!(whole.len() <= length);
            let Ok(mut stream) = Streaming::new(count as u64, length as u64) else {
                assert!(one.is_err());
                continue;
            };
            let other = stream.feed(&bytes, usize::MAX);
            assert_eq!(one.is_ok(), other.is_ok());
            if other.is_ok() {
                stream.take_piece(|piece| assert_eq!(piece, whole));
            }
        }
    }

    #[test]
    fn lengths_that_no_stream_can_reach_are_refused_before_any_allocation() {
        assert_eq!(
            decompress(&[0, b'a'], &mut Vec::new(), usize::MAX),
            Err(Corrupt)
        );
        assert!(Streaming::new(10, 1 << 40).is_err());
    }
}
