//! LCS: the longest common subsequence of two strings. Its row is in `string.rs`.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::string::string_of;
use super::*;
use crate::keyspace::Key;

#[derive(Default)]
struct Options {
    len: bool,
    ranges: bool,
    match_len: bool,
    match_len_min: i64,
}

impl Options {
    fn parse(args: &mut Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options::default();
        while !args.is_empty() {
            if args.take("idx") {
                options.ranges = true;
            } else if args.take("len") {
                options.len = true;
            } else if args.take("withmatchlen") {
                options.match_len = true;
            } else if args.left() >= 2 && args.take("minmatchlen") {
                options.match_len_min = args.int()?.max(0);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.ranges && options.len {
            return Err(CommandError::text(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN length] [WITHMATCHLEN]
/// Reply: the subsequence; with LEN its length; with IDX a map of `matches` (from the end of the strings to
/// their start, each the range in either string, with its length if wanted) and `len`.
/// Errors: not strings, syntax error, LEN with IDX, too much transient memory. O(N*M) time and memory.
pub(super) fn lcs(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (first, second) = (args.key()?, args.key()?);
    let lengths = (length(ctx, first)?, length(ctx, second)?);
    let options = Options::parse(args)?;
    // Before the strings are copied.
    let bytes_max = ctx.engine.config.proto_max_bulk_len as u64;
    Table::check_size(lengths.0, lengths.1, bytes_max)?;
    let a = copied(ctx, first, lengths.0);
    let b = copied(ctx, second, lengths.1);
    let table = Table::new(&a, &b);
    let reply = &mut ctx.client.reply;
    let len = table.at(a.len(), b.len());
    if options.len {
        reply.int(i64::from(len));
        return Ok(());
    }
    if !options.ranges {
        let mut common = vec![0; len as usize];
        let mut at = common.len();
        table.walk_back(&a, &b, |run| {
            common[at - run.len..at].copy_from_slice(&a[run.a..run.a + run.len]);
            at -= run.len;
        });
        reply.bulk(&common);
        return Ok(());
    }
    reply.map(2);
    reply.bulk(b"matches");
    let mark = reply.begin_array();
    let mut count = 0;
    table.walk_back(&a, &b, |run| {
        if (run.len as i64) < options.match_len_min {
            return;
        }
        count += 1;
        reply.array(2 + usize::from(options.match_len));
        for start in [run.a, run.b] {
            reply.array(2);
            reply.int(start as i64);
            reply.int((start + run.len - 1) as i64);
        }
        if options.match_len {
            reply.int(run.len as i64);
        }
    });
    reply.end_array(mark, count);
    reply.bulk(b"len");
    reply.int(i64::from(len));
    Ok(())
}

/// The length of a key's string; 0 when it is absent.
fn length(ctx: &mut Context<'_>, key: Key<'_>) -> Result<usize, CommandError> {
    match ctx.read(key) {
        None => Ok(0),
        Some(entry) => string_of(entry)
            .map(|value| value.len())
            .map_err(|_| CommandError::text("ERR The specified keys must contain string values")),
    }
}

/// The string of a key, of which [`length`] has told `bytes`.
fn copied(ctx: &Context<'_>, key: Key<'_>, bytes: usize) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes);
    let found = ctx.engine.keyspace.find(ctx.client.db, key);
    if let Some(value) = found.filter(|_| bytes > 0).map(string_of) {
        value.iter().for_each(|value| value.push_to(&mut copy));
    }
    copy
}

/// A run of bytes common to both strings: where it starts in each, and its length.
struct Run {
    a: usize,
    b: usize,
    len: usize,
}

/// Lengths of the longest common subsequences of all pairs of prefixes.
struct Table {
    lengths: Vec<u32>,
    width: usize,
}

impl Table {
    /// Errs when the table of strings of these lengths would be too large.
    fn check_size(a: usize, b: usize, bytes_max: u64) -> Result<(), CommandError> {
        let too_long = u64::from(u32::MAX) - 1;
        if a as u64 >= too_long || b as u64 >= too_long {
            return Err(CommandError::text("ERR String too long for LCS"));
        }
        let cells = (a as u128 + 1) * (b as u128 + 1);
        if cells * 4 > u128::from(bytes_max) {
            return Err(CommandError::text(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ));
        }
        Ok(())
    }

    fn new(a: &[u8], b: &[u8]) -> Table {
        let width = b.len() + 1;
        let mut lengths = vec![0u32; (a.len() + 1) * width];
        for (i, &byte) in a.iter().enumerate() {
            let (above, row) = lengths[i * width..(i + 2) * width].split_at_mut(width);
            for (j, &other) in b.iter().enumerate() {
                row[j + 1] = match byte == other {
                    true => above[j] + 1,
                    false => above[j + 1].max(row[j]),
                };
            }
        }
        Table { lengths, width }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * self.width + j]
    }

    /// Gives the runs of one longest common subsequence, the last first.
    fn walk_back(&self, a: &[u8], b: &[u8], mut each: impl FnMut(Run)) {
        let (mut i, mut j) = (a.len(), b.len());
        let mut run = 0;
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j, run) = (i - 1, j - 1, run + 1);
                continue;
            }
            if run > 0 {
                each(Run {
                    a: i,
                    b: j,
                    len: run,
                });
                run = 0;
            }
            match self.at(i - 1, j) > self.at(i, j - 1) {
                true => i -= 1,
                false => j -= 1,
            }
        }
        if run > 0 {
            each(Run {
                a: i,
                b: j,
                len: run,
            });
        }
    }
}
