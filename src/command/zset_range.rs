//! Sorted sets: ranks, and ranges by rank, score or member.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use std::ops::Range;

use super::string::bulk_string;
use super::zset::{Members, limits, read, removed, reply_pairs, score};
use super::*;
use crate::types::{Kind, ZsetMut, ZsetRef};

/// What the rows that read one sorted set have in common.
const READ: Command = Command::new("", -4, zrange)
    .flags(READONLY)
    .categories(CAT_SORTEDSET)
    .keys(&[KeySpec::first(RO | ACCESS)]);

/// What the rows that count have in common.
const COUNT: Command = Command {
    arity: 4,
    flags: READONLY | FAST,
    ..READ
};

/// What the rows that remove a range have in common.
const REMOVE: Command = Command::new("", 4, zremrangebyrank)
    .flags(WRITE)
    .categories(CAT_SORTEDSET)
    .keys(&[KeySpec::first(RW | DELETE)]);

const LOG: &str = "O(log(N)) where N is the size of the sorted set";
const LOG_AND_RANGE: &str =
    "O(log(N)+M) where N is the size of the sorted set and M that of the range";

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    COUNT
        .named("zcount", zcount)
        .doc(
            Group::SortedSet,
            "2.0.0",
            LOG,
            "Counts the members of a sorted set whose scores are within a range.",
        )
        .syntax("key min{:double} max{:double}"),
    COUNT
        .named("zlexcount", zlexcount)
        .doc(
            Group::SortedSet,
            "2.8.9",
            LOG,
            "Counts the members of a sorted set between two strings.",
        )
        .syntax("key min max"),
    READ.named("zrange", zrange)
        .doc(
            Group::SortedSet,
            "1.2.0",
            LOG_AND_RANGE,
            "Returns the members of a sorted set within a range.",
        )
        .syntax("key start{:string} stop [BYSCORE | BYLEX]{=sortby @6.2.0} [REV{@6.2.0}] [LIMIT <offset \
                 count>{=limit @6.2.0}] [WITHSCORES]")
        .history(&[(
            "6.2.0",
            "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.",
        )]),
    READ.named("zrangebylex", zrangebylex)
        .doc(
            Group::SortedSet,
            "2.8.9",
            LOG_AND_RANGE,
            "Returns the members of a sorted set between two strings.",
        )
        .syntax("key min max [LIMIT <offset count>{=limit}]")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    READ.named("zrangebyscore", zrangebyscore)
        .doc(
            Group::SortedSet,
            "1.0.5",
            LOG_AND_RANGE,
            "Returns the members of a sorted set whose scores are within a range.",
        )
        .syntax("key min{:double} max{:double} [WITHSCORES{@2.0.0}] [LIMIT <offset count>{=limit}]")
        .history(&[("2.0.0", "Added the `WITHSCORES` modifier.")])
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    Command::new("zrangestore", -5, zrangestore)
        .flags(WRITE | DENYOOM)
        .categories(CAT_SORTEDSET)
        .keys(&[
            KeySpec::first(OW | UPDATE),
            KeySpec::range(2, 0, 1, RO | ACCESS),
        ])
        .doc(
            Group::SortedSet,
            "6.2.0",
            LOG_AND_RANGE,
            "Stores the members of a sorted set within a range as another sorted set.",
        )
        .syntax("dst{:key} src{:key} min max [BYSCORE | BYLEX]{=sortby} [REV] [LIMIT <offset \
                 count>{=limit}]"),
    Command {
        arity: -3,
        flags: READONLY | FAST,
        ..READ
    }
    .named("zrank", zrank)
    .element(2)
    .doc(
        Group::SortedSet,
        "2.0.0",
        LOG,
        "Tells how many members of a sorted set stand before a member.",
    )
    .syntax("key member [WITHSCORE]")
    .history(&[("7.2.0", "Added the optional `WITHSCORE` argument.")]),
    REMOVE
        .named("zremrangebylex", zremrangebylex)
        .doc(
            Group::SortedSet,
            "2.8.9",
            LOG_AND_RANGE,
            "Removes the members of a sorted set between two strings.",
        )
        .syntax("key min max"),
    REMOVE
        .named("zremrangebyrank", zremrangebyrank)
        .doc(
            Group::SortedSet,
            "2.0.0",
            LOG_AND_RANGE,
            "Removes the members of a sorted set within a range of ranks.",
        )
        .syntax("key start stop{:integer}"),
    REMOVE
        .named("zremrangebyscore", zremrangebyscore)
        .doc(
            Group::SortedSet,
            "1.2.0",
            LOG_AND_RANGE,
            "Removes the members of a sorted set whose scores are within a range.",
        )
        .syntax("key min{:double} max{:double}"),
    READ.named("zrevrange", zrevrange)
        .doc(
            Group::SortedSet,
            "1.2.0",
            LOG_AND_RANGE,
            "Returns the members of a sorted set within a range of ranks counted from the last.",
        )
        .syntax("key start stop{:integer} [WITHSCORES]")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument"),
    READ.named("zrevrangebylex", zrevrangebylex)
        .doc(
            Group::SortedSet,
            "2.8.9",
            LOG_AND_RANGE,
            "Returns the members of a sorted set between two strings, the last first.",
        )
        .syntax("key max min [LIMIT <offset count>{=limit}]")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    READ.named("zrevrangebyscore", zrevrangebyscore)
        .doc(
            Group::SortedSet,
            "2.2.0",
            LOG_AND_RANGE,
            "Returns the members of a sorted set whose scores are within a range, the last first.",
        )
        .syntax("key max{:double} min{:double} [WITHSCORES] [LIMIT <offset count>{=limit}]")
        .history(&[("2.1.6", "`min` and `max` can be exclusive.")])
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
    Command {
        arity: -3,
        flags: READONLY | FAST,
        ..READ
    }
    .named("zrevrank", zrevrank)
    .element(2)
    .doc(
        Group::SortedSet,
        "2.0.0",
        LOG,
        "Tells how many members of a sorted set stand behind a member.",
    )
    .syntax("key member [WITHSCORE]")
    .history(&[("7.2.0", "Added the optional `WITHSCORE` argument.")]),
];

/// An end of a range of scores.
#[derive(Clone, Copy)]
struct ScoreBound {
    value: f64,
    exclusive: bool,
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Result<ScoreBound, CommandError> {
        let (exclusive, number) = match text {
            [b'(', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        // As strtod reads it: what follows a NUL does not count.
        let number = number.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(number).ok();
        let value = match number.is_empty() {
            true => Some(0.0),
            false => text.and_then(|text| text.parse::<f64>().ok()),
        };
        match value.filter(|value| !value.is_nan()) {
            Some(value) => Ok(ScoreBound { value, exclusive }),
            None => Err(CommandError::text("ERR min or max is not a float")),
        }
    }
}

/// An end of a range of members.
#[derive(Clone, Copy)]
enum LexBound<'a> {
    Lowest,
    Highest,
    Member { bytes: &'a [u8], exclusive: bool },
}

impl<'a> LexBound<'a> {
    fn parse(text: &'a [u8]) -> Result<LexBound<'a>, CommandError> {
        match text {
            b"-" => Ok(LexBound::Lowest),
            b"+" => Ok(LexBound::Highest),
            [b'[', bytes @ ..] => Ok(LexBound::Member {
                bytes,
                exclusive: false,
            }),
            [b'(', bytes @ ..] => Ok(LexBound::Member {
                bytes,
                exclusive: true,
            }),
            _ => Err(CommandError::text(
                "ERR min or max not valid string range item",
            )),
        }
    }

    /// Whether a member is before the range that begins here.
    fn is_before(self, member: &[u8]) -> bool {
        match self {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Member { bytes, exclusive } => {
                member < bytes || (exclusive && member == bytes)
            }
        }
    }

    /// Whether a member is not behind the range that ends here.
    fn reaches(self, member: &[u8]) -> bool {
        match self {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Member { bytes, exclusive } => {
                member < bytes || (!exclusive && member == bytes)
            }
        }
    }
}

/// What a range is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// The ends of a range.
#[derive(Clone, Copy)]
enum Bounds<'a> {
    /// Negative ranks count from the end.
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl<'a> Bounds<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, CommandError> {
        let rank = |text| crate::base::num::parse_i64(text).ok_or(CommandError::NotInteger);
        Ok(match by {
            By::Rank => Bounds::Rank(rank(min)?, rank(max)?),
            By::Score => Bounds::Score(ScoreBound::parse(min)?, ScoreBound::parse(max)?),
            By::Lex => Bounds::Lex(LexBound::parse(min)?, LexBound::parse(max)?),
        })
    }

    /// The ranks, of a set read backwards if `reverse`: then those of [`Bounds::Rank`] count from the last member.
    fn ranks(&self, zset: ZsetRef<'_>, reverse: bool) -> Range<usize> {
        let len = zset.len();
        let (start, end) = match *self {
            Bounds::Rank(start, stop) => {
                let (length, from_end) = (len as i64, |at: i64| {
                    if at < 0 {
                        at.saturating_add(len as i64)
                    } else {
                        at
                    }
                });
                let (start, stop) = (from_end(start).max(0), from_end(stop).min(length - 1));
                if start > stop {
                    return 0..0;
                }
                let (start, end) = (start as usize, stop as usize + 1);
                match reverse {
                    true => (len - end, len - start),
                    false => (start, end),
                }
            }
            Bounds::Score(min, max) => (
                zset.partition(|_, score| {
                    score < min.value || (min.exclusive && score == min.value)
                }),
                zset.partition(|_, score| {
                    score < max.value || (!max.exclusive && score == max.value)
                }),
            ),
            Bounds::Lex(min, max) => {
                let start = zset.partition(|member, _| min.is_before(member));
                let mut rank = 0;
                let end = match zset {
                    // Members with different scores have no order of their own: from the first one on, as far as it goes.
                    ZsetRef::Pack(_) => zset.partition(|member, _| {
                        rank += 1;
                        rank <= start || max.reaches(member)
                    }),
                    ZsetRef::Table(_) => zset.partition(|member, _| max.reaches(member)),
                };
                (start, end)
            }
        };
        start..end.max(start)
    }
}

/// The options of the ZRANGE family, with the range.
struct Query<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    /// Members to skip. Negative: in a large set all but so many, in a small one all, as Redis does.
    offset: i64,
    /// Members at most; negative: no limit.
    count: i64,
    with_scores: bool,
}

impl<'a> Query<'a> {
    /// Reads min, max and options. `by` and `reverse` are fixed in the old commands; `stores`: no WITHSCORES.
    fn parse(
        args: &mut Args<'a>,
        by: Option<By>,
        reverse: Option<bool>,
        stores: bool,
    ) -> Result<Query<'a>, CommandError> {
        let (first, second) = (args.bytes()?, args.bytes()?);
        let (mut asked_by, mut asked_reverse) = (by, reverse);
        let (mut offset, mut count, mut with_scores) = (0, -1, false);
        while !args.is_empty() {
            if !stores && args.take("withscores") {
                with_scores = true;
            } else if args.left() >= 3 && args.take("limit") {
                (offset, count) = (args.int()?, args.int()?);
            } else if asked_reverse.is_none() && args.take("rev") {
                asked_reverse = Some(true);
            } else if asked_by.is_none() && args.take("bylex") {
                asked_by = Some(By::Lex);
            } else if asked_by.is_none() && args.take("byscore") {
                asked_by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, reverse) = (asked_by.unwrap_or(By::Rank), asked_reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (min, max) = match reverse && by != By::Rank {
            true => (second, first),
            false => (first, second),
        };
        let bounds = Bounds::parse(by, min, max)?;
        Ok(Query {
            bounds,
            reverse,
            offset,
            count,
            with_scores,
        })
    }

    /// The ranks to return.
    fn ranks(&self, zset: ZsetRef<'_>) -> Range<usize> {
        let ranks = self.bounds.ranks(zset, self.reverse);
        if matches!(self.bounds, Bounds::Rank(..)) {
            return ranks;
        }
        let skipped = match (usize::try_from(self.offset), zset) {
            (Ok(offset), _) => offset,
            (Err(_), ZsetRef::Pack(_)) => usize::MAX,
            (Err(_), ZsetRef::Table(_)) => {
                let last = usize::try_from(self.offset.unsigned_abs()).unwrap_or(usize::MAX);
                ranks.len().checked_sub(last).unwrap_or(usize::MAX)
            }
        };
        let skipped = skipped.min(ranks.len());
        let taken = usize::try_from(self.count).unwrap_or(usize::MAX);
        let taken = taken.min(ranks.len() - skipped);
        match self.reverse {
            true => ranks.end - skipped - taken..ranks.end - skipped,
            false => ranks.start + skipped..ranks.start + skipped + taken,
        }
    }
}

fn range(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    by: Option<By>,
    reverse: Option<bool>,
) -> Result<(), CommandError> {
    let key = args.key()?;
    let query = Query::parse(args, by, reverse, false)?;
    let most = ctx.reply_bytes_max();
    let (zset, reply) = read(ctx, key)?;
    let Some(zset) = zset else {
        reply.array(0);
        return Ok(());
    };
    let ranks = query.ranks(zset);
    let (count, members) = (ranks.len(), zset.range(ranks, query.reverse));
    if query.with_scores {
        reply_pairs(reply, count, members, most);
    } else {
        reply.array(count);
        for (member, _) in members {
            if reply.buf.len() > most {
                break;
            }
            bulk_string(reply, member);
        }
    }
    Ok(())
}

/// ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
/// Reply: an array of members, with scores of pairs in RESP3. Errors: WRONGTYPE, syntax error, invalid bounds.
/// O(log n + members returned).
fn zrange(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    range(ctx, args, None, None)
}

/// ZREVRANGE key start stop [WITHSCORES]. As ZRANGE … REV.
fn zrevrange(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    range(ctx, args, Some(By::Rank), Some(true))
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]. As ZRANGE … BYSCORE.
fn zrangebyscore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    range(ctx, args, Some(By::Score), Some(false))
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]. As ZRANGE … BYSCORE REV.
fn zrevrangebyscore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    range(ctx, args, Some(By::Score), Some(true))
}

/// ZRANGEBYLEX key min max [LIMIT offset count]. As ZRANGE … BYLEX.
fn zrangebylex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    range(ctx, args, Some(By::Lex), Some(false))
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count]. As ZRANGE … BYLEX REV.
fn zrevrangebylex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    range(ctx, args, Some(By::Lex), Some(true))
}

/// ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]
/// Reply: how many members dst has now; without any it is deleted. Errors: as ZRANGE. O(log n + m log m).
fn zrangestore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (to, from) = (args.key()?, args.key()?);
    let query = Query::parse(args, None, None, true)?;
    let (zset, _) = read(ctx, from)?;
    let mut members = Members::default();
    if let Some(zset) = zset {
        zset.range(query.ranks(zset), false)
            .for_each(|(member, score)| members.push(member, score));
    }
    members.store(ctx, to, "zrangestore");
    Ok(())
}

fn count(ctx: &mut Context<'_>, args: &mut Args<'_>, by: By) -> Result<(), CommandError> {
    let key = args.key()?;
    let bounds = Bounds::parse(by, args.bytes()?, args.bytes()?)?;
    let (zset, reply) = read(ctx, key)?;
    let count = zset.map_or(0, |zset| bounds.ranks(zset, false).len());
    reply.int(count as i64);
    Ok(())
}

/// ZCOUNT key min max. Reply: how many members have scores within the range. Errors: WRONGTYPE, not a float. O(log n).
fn zcount(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    count(ctx, args, By::Score)
}

/// ZLEXCOUNT key min max. Reply: how many members are between the strings. Errors: WRONGTYPE, invalid bounds. O(log n).
fn zlexcount(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    count(ctx, args, By::Lex)
}

fn rank(ctx: &mut Context<'_>, args: &mut Args<'_>, reverse: bool) -> Result<(), CommandError> {
    let (key, member) = (args.key()?, args.bytes()?);
    if args.left() > 1 {
        return Err(ctx.wrong_arity());
    }
    let with_score = args.take("withscore");
    args.end()?;
    let (zset, reply) = read(ctx, key)?;
    let found = zset.and_then(|zset| Some((zset, zset.rank(member)?)));
    let Some((zset, rank)) = found else {
        match with_score {
            true => reply.null_array(),
            false => reply.null(),
        }
        return Ok(());
    };
    let rank = if reverse { zset.len() - 1 - rank } else { rank };
    if with_score {
        reply.array(2);
    }
    reply.int(rank as i64);
    if let Some(value) = zset.score(member).filter(|_| with_score) {
        score(reply, value);
    }
    Ok(())
}

/// ZRANK key member [WITHSCORE]. Reply: the rank, with its score on request, or null. Errors: WRONGTYPE, syntax error.
/// O(log n).
fn zrank(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    rank(ctx, args, false)
}

/// ZREVRANK key member [WITHSCORE]. As ZRANK, counted from the last.
fn zrevrank(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    rank(ctx, args, true)
}

fn remove(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    by: By,
    event: &'static str,
) -> Result<(), CommandError> {
    let key = args.key()?;
    let bounds = Bounds::parse(by, args.bytes()?, args.bytes()?)?;
    let limits = limits(&ctx.engine.config);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Zset)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let mut zset = ZsetMut::new(body, limits);
    let ranks = bounds.ranks(zset.get(), false);
    let count = ranks.len();
    // All of them go with the key.
    let empty = count == zset.get().len();
    if count > 0 && !empty {
        zset.remove_range(ranks);
    }
    drop(zset);
    if count > 0 {
        removed(ctx, key, event, count, empty);
    }
    ctx.reply().int(count as i64);
    Ok(())
}

/// ZREMRANGEBYRANK key start stop. Reply: how many were removed. Errors: WRONGTYPE, not an integer.
/// O(members removed · log n).
fn zremrangebyrank(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    remove(ctx, args, By::Rank, "zremrangebyrank")
}

/// ZREMRANGEBYSCORE key min max. Reply: how many were removed. Errors: WRONGTYPE, not a float.
/// O(members removed · log n).
fn zremrangebyscore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    remove(ctx, args, By::Score, "zremrangebyscore")
}

/// ZREMRANGEBYLEX key min max. Reply: how many were removed. Errors: WRONGTYPE, invalid bounds.
/// O(members removed · log n).
fn zremrangebylex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    remove(ctx, args, By::Lex, "zremrangebylex")
}
