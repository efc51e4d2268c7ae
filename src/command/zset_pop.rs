//! Sorted sets: members taken from an end, at once or when there are some.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::string::bulk_string;
use super::zset::{limits, removed, reply_pairs, score};
use super::*;
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::types::{Kind, StringRef, ZsetMut};

/// What the rows that take members out of one sorted set have in common.
const POP: Command = Command::new("", -2, zpopmin)
    .flags(WRITE | FAST)
    .categories(CAT_SORTEDSET)
    .keys(&[KeySpec::first(RW | ACCESS | DELETE)])
    .syntax("key [count]");

/// What the rows that wait for one of several have in common.
const WAIT: Command = Command::new("", -3, bzpopmin)
    .flags(WRITE | FAST | BLOCKING)
    .categories(CAT_SORTEDSET | CAT_BLOCKING)
    .keys(&[KeySpec::range(1, -2, 1, RW | ACCESS | DELETE)])
    .syntax("key [key ...] timeout{:double}")
    .history(&[(
        "6.0.0",
        "`timeout` is interpreted as a double instead of an integer.",
    )]);

const OF_ENDS: &str = "O(log(N)*M) for M members popped and a set of N";
const OF_ONE: &str = "O(log(N)) where N is the size of the sorted set";
const OF_SEVERAL: &str = "O(K) + O(M*log(N)) for K keys, M members popped and sets of N members";

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command {
        arity: -5,
        flags: WRITE | BLOCKING | MOVABLE_KEYS,
        history: &[],
        ..WAIT
    }
    .named("bzmpop", bzmpop)
    .keys(&[KeySpec::numbered(2, RW | ACCESS | DELETE)])
    .doc(
        Group::SortedSet,
        "7.0.0",
        OF_SEVERAL,
        "Removes and returns the first or last members of the first sorted set that has any; waits for one.",
    )
    .syntax("timeout{:double} numkeys key [key ...] <MIN | MAX>{=where} [COUNT count]"),
    WAIT.named("bzpopmax", bzpopmax).doc(
        Group::SortedSet,
        "5.0.0",
        OF_ONE,
        "Removes and returns the member with the highest score of the first sorted set that has any; waits for one.",
    ),
    WAIT.named("bzpopmin", bzpopmin).doc(
        Group::SortedSet,
        "5.0.0",
        OF_ONE,
        "Removes and returns the member with the lowest score of the first sorted set that has any; waits for one.",
    ),
    Command {
        arity: -4,
        flags: WRITE | MOVABLE_KEYS,
        ..POP
    }
    .named("zmpop", zmpop)
    .keys(&[KeySpec::numbered(1, RW | ACCESS | DELETE)])
    .doc(
        Group::SortedSet,
        "7.0.0",
        OF_SEVERAL,
        "Removes and returns the first or last members of the first sorted set that has any.",
    )
    .syntax("numkeys key [key ...] <MIN | MAX>{=where} [COUNT count]"),
    POP.named("zpopmax", zpopmax).doc(
        Group::SortedSet,
        "5.0.0",
        OF_ENDS,
        "Removes and returns the members of a sorted set that have the highest scores.",
    ),
    POP.named("zpopmin", zpopmin).doc(
        Group::SortedSet,
        "5.0.0",
        OF_ENDS,
        "Removes and returns the members of a sorted set that have the lowest scores.",
    ),
];

/// Which members are taken first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Those with the lowest scores.
    Min,
    /// Those with the highest.
    Max,
}

impl End {
    /// MIN or MAX.
    fn parse(args: &mut Args<'_>) -> Result<End, CommandError> {
        match () {
            () if args.take("min") => Ok(End::Min),
            () if args.take("max") => Ok(End::Max),
            () => Err(CommandError::Syntax),
        }
    }

    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    /// The command that takes them, as it is propagated.
    fn command(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }
}

/// ZPOPMIN key [count]. Reply: an array of members and scores, in RESP3 of pairs if `count` is given.
/// Errors: WRONGTYPE, out of range. O(count · log n).
fn zpopmin(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    zpop(ctx, args, End::Min)
}

/// ZPOPMAX key [count]. As ZPOPMIN, from the other end.
fn zpopmax(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    zpop(ctx, args, End::Max)
}

fn zpop(ctx: &mut Context<'_>, args: &mut Args<'_>, end: End) -> Result<(), CommandError> {
    let key = args.key()?;
    let count = match args.left() {
        0 => None,
        1 => Some(args.int_in(0, i64::MAX, CommandError::NotPositive)? as usize),
        _ => return Err(CommandError::Syntax),
    };
    let write = |reply: &mut Reply, popped, members: &mut Members<'_>| match count {
        Some(_) => reply_pairs(reply, popped, members, usize::MAX),
        None => {
            reply.array(2);
            reply_each(reply, members);
        }
    };
    if pop(ctx, key, end, count.unwrap_or(1), write)? == 0 {
        ctx.reply().array(0);
    }
    Ok(())
}

/// Members on their way into a reply.
type Members<'m> = dyn Iterator<Item = (StringRef<'m>, f64)> + 'm;

/// Members and scores one after the other.
fn reply_each(reply: &mut Reply, members: &mut Members<'_>) {
    for (member, value) in members {
        bulk_string(reply, member);
        score(reply, value);
    }
}

/// Takes up to `count` members from one end and gives them to `write`, if there are any; how many.
fn pop(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
    write: impl FnOnce(&mut Reply, usize, &mut Members<'_>),
) -> Result<usize, CommandError> {
    let limits = limits(&ctx.engine.config);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Zset)? else {
        return Ok(0);
    };
    let mut zset = ZsetMut::new(body, limits);
    let len = zset.get().len();
    let count = count.min(len);
    if count == 0 {
        return Ok(0);
    }
    let max = end == End::Max;
    let ranks = if max { len - count..len } else { 0..count };
    write(
        &mut ctx.client.reply,
        count,
        &mut zset.get().range(ranks.clone(), max),
    );
    // All of them go with the key.
    if count < len {
        zset.remove_range(ranks);
    }
    drop(zset);
    removed(ctx, key, end.event(), count, count == len);
    Ok(count)
}

/// numkeys key [key …] MIN | MAX [COUNT n].
struct Several {
    /// The arguments that are keys.
    keys: std::ops::Range<usize>,
    end: End,
    count: usize,
}

impl Several {
    fn parse(args: &mut Args<'_>) -> Result<Several, CommandError> {
        let not_positive = CommandError::text("ERR numkeys should be greater than 0");
        let numkeys = args.int_in(1, i64::MAX, not_positive)? as usize;
        if numkeys >= args.left() {
            return Err(CommandError::Syntax);
        }
        let first = args.position();
        args.skip(numkeys);
        let end = End::parse(args)?;
        let mut count = None;
        while !args.is_empty() {
            if count.is_some() || args.left() < 2 || !args.take("count") {
                return Err(CommandError::Syntax);
            }
            let not_positive = CommandError::text("ERR count should be greater than 0");
            count = Some(args.int_in(1, i64::MAX, not_positive)? as usize);
        }
        Ok(Several {
            keys: first..first + numkeys,
            end,
            count: count.unwrap_or(1),
        })
    }

    /// Answers with members of the first sorted set that has any; false when there is none.
    fn pop(&self, ctx: &mut Context<'_>, args: &Args<'_>) -> Result<bool, CommandError> {
        for at in self.keys.clone() {
            let key = args.key_at(at);
            let write = |reply: &mut Reply, count, members: &mut Members<'_>| {
                reply.array(2);
                reply.bulk(key.bytes);
                reply.array(count);
                for (member, value) in members {
                    reply.array(2);
                    bulk_string(reply, member);
                    score(reply, value);
                }
            };
            let popped = pop(ctx, key, self.end, self.count, write)?;
            if popped > 0 {
                let mut digits = itoa::Buffer::new();
                let count = digits.format(popped).as_bytes();
                ctx.replicate_as(&[self.end.command(), key.bytes, count]);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// ZMPOP numkeys key [key …] MIN | MAX [COUNT count]
/// Reply: the key and an array of pairs, or a null array. Errors: WRONGTYPE, syntax error, numkeys or count not
/// positive. Propagates: ZPOPMIN or ZPOPMAX key count. O(keys + count · log n).
fn zmpop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let several = Several::parse(args)?;
    if !several.pop(ctx, args)? {
        ctx.reply().null_array();
    }
    Ok(())
}

/// BZMPOP timeout numkeys key [key …] MIN | MAX [COUNT count]. As ZMPOP; a null array when the time is over.
fn bzmpop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut timeout = args.clone();
    args.skip(1);
    let several = Several::parse(args)?;
    let deadline_ms = timeout.deadline(ctx.engine.clock)?;
    if several.pop(ctx, args)? {
        return Ok(());
    }
    if !ctx.wait_for_keys(args, several.keys, Kind::Zset, deadline_ms) {
        ctx.reply().null_array();
    }
    Ok(())
}

/// BZPOPMIN key [key …] timeout. Reply: the key, the member with the lowest score of the first sorted set that has any,
/// and its score; a null array when the time is over. Errors: WRONGTYPE, timeout is not a float or out of range, timeout
/// is negative. Propagates: ZPOPMIN key. O(keys + log n).
fn bzpopmin(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    pop_or_wait(ctx, args, End::Min)
}

/// BZPOPMAX key [key …] timeout. As BZPOPMIN with the highest score. Propagates: ZPOPMAX key.
fn bzpopmax(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    pop_or_wait(ctx, args, End::Max)
}

fn pop_or_wait(ctx: &mut Context<'_>, args: &mut Args<'_>, end: End) -> Result<(), CommandError> {
    let keys = 1..args.count() - 1;
    args.seek(keys.end);
    let deadline_ms = args.deadline(ctx.engine.clock)?;
    for at in keys.clone() {
        let key = args.key_at(at);
        let write = |reply: &mut Reply, _, members: &mut Members<'_>| {
            reply.array(3);
            reply.bulk(key.bytes);
            reply_each(reply, members);
        };
        if pop(ctx, key, end, 1, write)? > 0 {
            ctx.replicate_as(&[end.command(), key.bytes]);
            return Ok(());
        }
    }
    if !ctx.wait_for_keys(args, keys, Kind::Zset, deadline_ms) {
        ctx.reply().null_array();
    }
    Ok(())
}
