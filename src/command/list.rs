//! Lists. What moves elements is in `list_move.rs`.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::string::bulk_string;
use super::*;
use crate::container::Pack;
use crate::engine::EventClass;
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::types::list::{End, ListLimit, ListMut, ListRef, Sought};
use crate::types::{Kind, StringRef, Value};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("lindex", 3, lindex)
        .flags(READONLY)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::List,
            "1.0.0",
            "O(log N)",
            "Reads an element of a list by its index.",
        )
        .syntax("key index"),
    Command::new("linsert", 5, linsert)
        .flags(WRITE | DENYOOM)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | INSERT)])
        .doc(
            Group::List,
            "2.2.0",
            "O(N) where N is the number of elements before the pivot",
            "Puts an element before or after another one of a list.",
        )
        .syntax("key <BEFORE | AFTER>{=where} pivot element"),
    Command::new("llen", 2, llen)
        .flags(READONLY | FAST)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RO)])
        .doc(
            Group::List,
            "1.0.0",
            "O(1)",
            "Counts the elements of a list.",
        )
        .syntax("key"),
    Command::new("lmpop", -4, lmpop)
        .flags(WRITE | MOVABLE_KEYS)
        .categories(CAT_LIST)
        .keys(&[KeySpec::numbered(1, RW | ACCESS | DELETE)])
        .doc(
            Group::List,
            "7.0.0",
            "O(N+M) where N is the number of keys and M that of the elements removed",
            "Removes elements at an end of the first list that is not empty.",
        )
        .syntax("numkeys key [key ...] <LEFT | RIGHT>{=where} [COUNT count]"),
    Command::new("lpop", -2, lpop)
        .flags(WRITE | FAST)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | ACCESS | DELETE)])
        .doc(
            Group::List,
            "1.0.0",
            "O(N) where N is the number of elements removed",
            "Removes elements at the head of a list.",
        )
        .syntax("key [count{@6.2.0}]")
        .history(&[("6.2.0", "Added the `count` argument.")]),
    Command::new("lpos", -3, lpos)
        .flags(READONLY)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::List,
            "6.0.6",
            "O(N) where N is the number of elements compared",
            "Finds the indices of elements of a list.",
        )
        .syntax("key element [RANK rank{:integer}] [COUNT num-matches{:integer}] [MAXLEN len]"),
    Command::new("lpush", -3, lpush)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | INSERT)])
        .doc(
            Group::List,
            "1.0.0",
            "O(1) for each element",
            "Puts elements at the head of a list, which is created if need be.",
        )
        .syntax("key element [element ...]")
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")]),
    Command::new("lpushx", -3, lpushx)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | INSERT)])
        .doc(
            Group::List,
            "2.2.0",
            "O(1) for each element",
            "Puts elements at the head of a list that exists.",
        )
        .syntax("key element [element ...]")
        .history(&[("4.0.0", "Accepts multiple `element` arguments.")]),
    Command::new("lrange", 4, lrange)
        .flags(READONLY)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::List,
            "1.0.0",
            "O(log S+N) where S is the start index and N the number of elements read",
            "Reads a range of a list.",
        )
        .syntax("key start stop{:integer}"),
    Command::new("lrem", 4, lrem)
        .flags(WRITE)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::List,
            "1.0.0",
            "O(N) where N is the length of the list",
            "Removes elements of a list that equal another.",
        )
        .syntax("key count element"),
    Command::new("lset", 4, lset)
        .flags(WRITE | DENYOOM)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::List,
            "1.0.0",
            "O(log N)",
            "Replaces an element of a list by its index.",
        )
        .syntax("key index element"),
    Command::new("ltrim", 4, ltrim)
        .flags(WRITE)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::List,
            "1.0.0",
            "O(N) where N is the number of elements removed",
            "Removes the elements of a list outside of a range.",
        )
        .syntax("key start stop{:integer}"),
    Command::new("rpop", -2, rpop)
        .flags(WRITE | FAST)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | ACCESS | DELETE)])
        .doc(
            Group::List,
            "1.0.0",
            "O(N) where N is the number of elements removed",
            "Removes elements at the tail of a list.",
        )
        .syntax("key [count{@6.2.0}]")
        .history(&[("6.2.0", "Added the `count` argument.")]),
    Command::new("rpush", -3, rpush)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | INSERT)])
        .doc(
            Group::List,
            "1.0.0",
            "O(1) for each element",
            "Puts elements at the tail of a list, which is created if need be.",
        )
        .syntax("key element [element ...]")
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")]),
    Command::new("rpushx", -3, rpushx)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_LIST)
        .keys(&[KeySpec::first(RW | INSERT)])
        .doc(
            Group::List,
            "2.2.0",
            "O(1) for each element",
            "Puts elements at the tail of a list that exists.",
        )
        .syntax("key element [element ...]")
        .history(&[("4.0.0", "Accepts multiple `element` arguments.")]),
    Command::new("blmpop", -5, blmpop)
        .flags(WRITE | BLOCKING | MOVABLE_KEYS)
        .categories(CAT_LIST | CAT_BLOCKING)
        .keys(&[KeySpec::numbered(2, RW | ACCESS | DELETE)])
        .doc(
            Group::List,
            "7.0.0",
            "O(N+M) where N is the number of keys and M that of the elements removed",
            "Removes elements at an end of the first list that is not empty; waits for one.",
        )
        .syntax("timeout{:double} numkeys key [key ...] <LEFT | RIGHT>{=where} [COUNT count]"),
    Command::new("blpop", -3, blpop)
        .flags(WRITE | BLOCKING)
        .categories(CAT_LIST | CAT_BLOCKING)
        .keys(&[KeySpec::range(1, -2, 1, RW | ACCESS | DELETE)])
        .doc(
            Group::List,
            "2.0.0",
            "O(N) where N is the number of keys",
            "Removes the first element of the first list that is not empty; waits for one.",
        )
        .syntax("key [key ...] timeout{:double}")
        .history(&[(
            "6.0.0",
            "`timeout` is interpreted as a double instead of an integer.",
        )]),
    Command::new("brpop", -3, brpop)
        .flags(WRITE | BLOCKING)
        .categories(CAT_LIST | CAT_BLOCKING)
        .keys(&[KeySpec::range(1, -2, 1, RW | ACCESS | DELETE)])
        .doc(
            Group::List,
            "2.0.0",
            "O(N) where N is the number of keys",
            "Removes the last element of the first list that is not empty; waits for one.",
        )
        .syntax("key [key ...] timeout{:double}")
        .history(&[(
            "6.0.0",
            "`timeout` is interpreted as a double instead of an integer.",
        )]),
];

/// A new list.
pub(super) const EMPTY: Value<'_> = Value::Packed(Kind::List, &Pack::EMPTY, false);
const NUMKEYS: CommandError = CommandError::text("ERR numkeys should be greater than 0");
const COUNT: CommandError = CommandError::text("ERR count should be greater than 0");
const RANK: CommandError = CommandError::text(
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from \
     the end of the list",
);

/// How large a small list may be.
pub(super) fn limit(ctx: &Context<'_>) -> ListLimit {
    ListLimit::of(ctx.engine.config.list_max_listpack_size)
}

/// The event of a pop.
pub(super) fn popped(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

/// The command that pops, as it is propagated.
pub(super) fn pop_name(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

/// The event of a push.
pub(super) fn pushed(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

/// LEFT or RIGHT.
pub(super) fn end_of(args: &mut Args<'_>) -> Result<End, CommandError> {
    if args.take("left") {
        Ok(End::Front)
    } else if args.take("right") {
        Ok(End::Back)
    } else {
        Err(CommandError::Syntax)
    }
}

/// After `count` elements went: an empty list goes too.
pub(super) fn removed(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    event: &'static str,
    count: usize,
    empty: bool,
) {
    if empty {
        ctx.engine.keyspace.remove(ctx.client.db, key);
    }
    ctx.changed(key.bytes, EventClass::List, event);
    ctx.engine.dirty = ctx.engine.dirty - 1 + count as u64;
    if empty {
        let db = ctx.client.db;
        ctx.engine.notify(EventClass::Generic, "del", key.bytes, db);
    }
}

/// The range of indices that two of them mean in a list of `len` elements, negative ones from the end: start and count.
fn range_of(len: usize, start: i64, stop: i64) -> (usize, usize) {
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    match start <= stop {
        true => (start as usize, (stop - start + 1) as usize),
        false => (0, 0),
    }
}

/// The index that a number means in a list of `len` elements; none beyond its ends.
fn index_of(len: usize, index: i64) -> Option<usize> {
    let index = if index < 0 {
        index.checked_add(len as i64)?
    } else {
        index
    };
    usize::try_from(index).ok().filter(|&index| index < len)
}

// ---- pushing ---------------------------------------------------------------------------------

/// LPUSH key element [element …]. Reply: the length after. Errors: WRONGTYPE. O(elements).
fn lpush(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    push(ctx, args, End::Front, false)
}

/// RPUSH key element [element …]. As LPUSH.
fn rpush(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    push(ctx, args, End::Back, false)
}

/// LPUSHX key element [element …]. As LPUSH; without such a list nothing, and 0.
fn lpushx(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    push(ctx, args, End::Front, true)
}

/// RPUSHX key element [element …]. As LPUSHX.
fn rpushx(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    push(ctx, args, End::Back, true)
}

#[inline]
fn push(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    end: End,
    only_existing: bool,
) -> Result<(), CommandError> {
    let key = args.key()?;
    let limit = limit(ctx);
    let (body, new) = if only_existing {
        let Some(body) = ctx.engine.body(ctx.client, key, Kind::List)? else {
            ctx.reply().int(0);
            return Ok(());
        };
        (body, false)
    } else {
        ctx.engine.body_or_new(ctx.client, key, EMPTY)?
    };
    let mut list = ListMut::new(body, limit);
    let count = args.left();
    let elements = args.position()..args.count();
    list.expect(elements.clone().map(|at| args.at(at).len()).sum(), count);
    for at in elements {
        list.push_expected(end, args.at(at));
    }
    let len = list.get().len();
    drop(list);
    if new {
        ctx.created(ctx.client.db, key.bytes);
    }
    ctx.changed(key.bytes, EventClass::List, pushed(end));
    ctx.engine.dirty += count as u64 - 1;
    ctx.reply().int(len as i64);
    Ok(())
}

// ---- popping ---------------------------------------------------------------------------------

/// LPOP key [count]. Reply: the element or null; with a count an array, null without the list. Errors: WRONGTYPE, value
/// is out of range, must be positive. O(count).
fn lpop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    pop(ctx, args, End::Front)
}

/// RPOP key [count]. As LPOP.
fn rpop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    pop(ctx, args, End::Back)
}

fn pop(ctx: &mut Context<'_>, args: &mut Args<'_>, end: End) -> Result<(), CommandError> {
    let key = args.key()?;
    if args.left() > 1 {
        return Err(ctx.wrong_arity());
    }
    let count = match args.is_empty() {
        true => None,
        false => Some(args.int_in(0, i64::MAX, CommandError::NotPositive)?),
    };
    let limit = limit(ctx);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::List)? else {
        match count {
            Some(_) => ctx.reply().null_array(),
            None => ctx.reply().null(),
        }
        return Ok(());
    };
    if count == Some(0) {
        drop(body);
        ctx.reply().array(0);
        return Ok(());
    }
    let list = ListMut::new(body, limit);
    let reply = &mut ctx.client.reply;
    let taken = match count {
        Some(count) => (count as usize).min(list.get().len()),
        None => 1,
    };
    if count.is_some() {
        reply.array(taken);
    }
    let empty = take(list, reply, end, taken);
    removed(ctx, key, popped(end), taken, empty);
    Ok(())
}

/// Answers so many elements at an end and removes them; whether the list is empty then.
fn take(mut list: ListMut<'_>, reply: &mut Reply, end: End, count: usize) -> bool {
    let elements = list.get();
    let len = elements.len();
    let mut left = count;
    let each = |item: StringRef<'_>| {
        bulk_string(reply, item);
        left -= 1;
        left > 0
    };
    match end {
        End::Front => elements.walk(0, each),
        End::Back => elements.walk_back(len - 1, each),
    }
    if count < len {
        list.pop(end, count);
    }
    count == len
}

/// LMPOP numkeys key [key …] LEFT | RIGHT [COUNT n]. Reply: the key and an array of elements of the first list that is
/// not empty, or null. Errors: WRONGTYPE, syntax error, numkeys or count should be greater than 0. Propagates: LPOP or
/// RPOP with a count. O(keys + count).
fn lmpop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (keys, end, count) = many(args)?;
    for at in keys {
        if pop_many(ctx, args.key_at(at), end, count)? {
            return Ok(());
        }
    }
    ctx.reply().null_array();
    Ok(())
}

/// numkeys key [key …] LEFT | RIGHT [COUNT n]: the arguments that are keys, the end and the count.
fn many(args: &mut Args<'_>) -> Result<(std::ops::Range<usize>, End, usize), CommandError> {
    let count = args.int_in(1, i64::MAX, NUMKEYS)?;
    let first = args.position();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count >= args.left() {
        return Err(CommandError::Syntax);
    }
    args.skip(count);
    let end = end_of(args)?;
    let mut elements = 1;
    if !args.is_empty() {
        if args.left() != 2 || !args.take("count") {
            return many_error(args);
        }
        elements = args.int_in(1, i64::MAX, COUNT)?;
    }
    Ok((first..first + count, end, elements as usize))
}

/// More options than one COUNT: a wrong number in the first is told first.
fn many_error<T>(args: &mut Args<'_>) -> Result<T, CommandError> {
    if args.take("count") && !args.is_empty() {
        args.int_in(1, i64::MAX, COUNT)?;
    }
    Err(CommandError::Syntax)
}

/// Pops up to `count` elements of a list with the key in the reply; false when there is no such list.
fn pop_many(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
) -> Result<bool, CommandError> {
    let limit = limit(ctx);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::List)? else {
        return Ok(false);
    };
    let list = ListMut::new(body, limit);
    let taken = count.min(list.get().len());
    let reply = &mut ctx.client.reply;
    reply.array(2);
    reply.bulk(key.bytes);
    reply.array(taken);
    let empty = take(list, reply, end, taken);
    removed(ctx, key, popped(end), taken, empty);
    ctx.replicate_as(&[
        pop_name(end),
        key.bytes,
        itoa::Buffer::new().format(taken).as_bytes(),
    ]);
    Ok(true)
}

// ---- reading ---------------------------------------------------------------------------------

/// LLEN key. Reply: the number of elements. Errors: WRONGTYPE. O(1).
fn llen(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::List)?;
    let len = found.map_or(0, |entry| ListRef::of(entry).len());
    ctx.reply().int(len as i64);
    Ok(())
}

/// LRANGE key start stop. Reply: an array. Errors: WRONGTYPE, not an integer. O(log start + elements).
fn lrange(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, start, stop) = (args.key()?, args.int()?, args.int()?);
    let most = ctx.reply_bytes_max();
    let found = ctx.engine.read_kind(ctx.client, key, Kind::List)?;
    let reply = &mut ctx.client.reply;
    let Some(entry) = found else {
        reply.array(0);
        return Ok(());
    };
    let list = ListRef::of(entry);
    let (start, mut left) = range_of(list.len(), start, stop);
    reply.array(left);
    if left > 0 {
        list.walk(start, |item| {
            bulk_string(reply, item);
            left -= 1;
            left > 0 && reply.buf.len() <= most
        });
    }
    Ok(())
}

/// LINDEX key index. Reply: the element or null. Errors: WRONGTYPE, not an integer. O(log n).
fn lindex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::List)?;
    let reply = &mut ctx.client.reply;
    let Some(entry) = found else {
        reply.null();
        return Ok(());
    };
    let list = ListRef::of(entry);
    let index = index_of(list.len(), args.int()?);
    match index.and_then(|index| list.get(index)) {
        Some(item) => bulk_string(reply, item),
        None => reply.null(),
    }
    Ok(())
}

/// What LPOS asks for.
struct PositionOptions {
    rank: i64,
    /// None: one index, not an array.
    count: Option<i64>,
    /// Elements compared at most; 0 for all.
    max: i64,
}

impl PositionOptions {
    fn parse(args: &mut Args<'_>) -> Result<PositionOptions, CommandError> {
        let mut options = PositionOptions {
            rank: 1,
            count: None,
            max: 0,
        };
        while !args.is_empty() {
            let word = args.bytes()?;
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if args.is_empty() {
                return Err(CommandError::Syntax);
            }
            if is(b"rank") {
                options.rank = match args.int()? {
                    0 => return Err(RANK),
                    i64::MIN => return Err(CommandError::text(WHOLE_RANGE)),
                    rank => rank,
                };
            } else if is(b"count") {
                let error = CommandError::text("ERR COUNT can't be negative");
                options.count = Some(args.int_in(0, i64::MAX, error)?);
            } else if is(b"maxlen") {
                let error = CommandError::text("ERR MAXLEN can't be negative");
                options.max = args.int_in(0, i64::MAX, error)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

const WHOLE_RANGE: &str =
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";

/// LPOS key element [RANK rank] [COUNT n] [MAXLEN n]. Reply: the index or null; with COUNT an array. Errors: WRONGTYPE,
/// syntax error, RANK can't be zero, COUNT or MAXLEN can't be negative. O(n).
fn lpos(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, item) = (args.key()?, Sought::new(args.bytes()?));
    let options = PositionOptions::parse(args)?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::List)?;
    let reply = &mut ctx.client.reply;
    let mark = options.count.map(|_| reply.begin_array());
    let wanted = match options.count {
        None => 1,
        Some(0) => u64::MAX,
        Some(count) => count.unsigned_abs(),
    };
    let mut replied = 0;
    if let Some(entry) = found {
        let list = ListRef::of(entry);
        let len = list.len();
        let mut to_skip = options.rank.unsigned_abs() - 1;
        let most = match options.max {
            0 => len,
            max => len.min(max as usize),
        };
        let mut seen = 0;
        let each = |other: StringRef<'_>| {
            if item.is(other) {
                if to_skip > 0 {
                    to_skip -= 1;
                } else {
                    let index = if options.rank > 0 {
                        seen
                    } else {
                        len - 1 - seen
                    };
                    reply.int(index as i64);
                    replied += 1;
                }
            }
            seen += 1;
            seen < most && replied < wanted
        };
        match options.rank > 0 {
            true => list.walk(0, each),
            false => list.walk_back(len - 1, each),
        }
    }
    match mark {
        Some(mark) => reply.end_array(mark, replied as usize),
        None if replied == 0 => reply.null(),
        None => {}
    }
    Ok(())
}

// ---- changing --------------------------------------------------------------------------------

/// LSET key index element. Reply: OK. Errors: no such key, WRONGTYPE, not an integer, index out of range. O(log n).
fn lset(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let limit = limit(ctx);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::List)? else {
        return Err(CommandError::NoSuchKey);
    };
    // Redis keeps the lower 32 bits.
    let (index, item) = (i64::from(args.int()? as i32), args.bytes()?);
    let mut list = ListMut::new(body, limit);
    list.expect(item.len(), 1);
    let len = list.get().len();
    let index = index_of(len, index).ok_or(CommandError::IndexOutOfRange)?;
    list.set(index, item);
    list.settle(true);
    drop(list);
    ctx.reply().ok();
    ctx.changed(key.bytes, EventClass::List, "lset");
    Ok(())
}

/// LINSERT key BEFORE | AFTER pivot element. Reply: the length after, -1 without the pivot, 0 without the list. Errors:
/// WRONGTYPE, syntax error. O(elements before the pivot).
fn linsert(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let after = if args.take("after") {
        1
    } else if args.take("before") {
        0
    } else {
        return Err(CommandError::Syntax);
    };
    let (pivot, item) = (Sought::new(args.bytes()?), args.bytes()?);
    let limit = limit(ctx);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::List)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let mut list = ListMut::new(body, limit);
    list.expect(item.len(), 1);
    let mut index = 0;
    let mut found = false;
    list.get().walk(0, |other| {
        found = pivot.is(other);
        index += usize::from(!found);
        !found
    });
    if !found {
        drop(list);
        ctx.reply().int(-1);
        return Ok(());
    }
    list.insert(index + after, item);
    let len = list.get().len();
    drop(list);
    ctx.changed(key.bytes, EventClass::List, "linsert");
    ctx.reply().int(len as i64);
    Ok(())
}

/// LREM key count element: removes so many from the head, from the tail if negative, or all if 0. Reply: how many went.
/// Errors: WRONGTYPE, not an integer. O(n).
fn lrem(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, count, item) = (args.key()?, args.int()?, args.bytes()?);
    if count == i64::MIN {
        return Err(CommandError::text(WHOLE_RANGE));
    }
    let limit = limit(ctx);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::List)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let mut list = ListMut::new(body, limit);
    let (end, most) = match count {
        0 => (End::Front, usize::MAX),
        1.. => (End::Front, count as usize),
        _ => (End::Back, count.unsigned_abs() as usize),
    };
    let count = list.remove_equal(item, end, most);
    let empty = list.get().is_empty();
    if count > 0 {
        list.settle(true);
    }
    drop(list);
    if count > 0 {
        removed(ctx, key, "lrem", count, empty);
    }
    ctx.reply().int(count as i64);
    Ok(())
}

/// LTRIM key start stop. Reply: OK. Errors: WRONGTYPE, not an integer. O(elements removed).
fn ltrim(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, start, stop) = (args.key()?, args.int()?, args.int()?);
    let limit = limit(ctx);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::List)? else {
        ctx.reply().ok();
        return Ok(());
    };
    let mut list = ListMut::new(body, limit);
    let len = list.get().len();
    let (start, kept) = range_of(len, start, stop);
    if kept > 0 {
        list.remove_range(start + kept, len);
        list.remove_range(0, start);
        list.settle(true);
    }
    drop(list);
    removed(ctx, key, "ltrim", len - kept, kept == 0);
    ctx.reply().ok();
    Ok(())
}

// ---- waiting ---------------------------------------------------------------------------------

/// BLPOP key [key …] timeout. Reply: the key and the first element of the first list that is not empty; null when the
/// time is over. Errors: WRONGTYPE, timeout is not a float or out of range, timeout is negative. Propagates: LPOP.
/// O(keys).
fn blpop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    pop_or_wait(ctx, args, End::Front)
}

/// BRPOP key [key …] timeout. As BLPOP with the last element. Propagates: RPOP.
fn brpop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    pop_or_wait(ctx, args, End::Back)
}

fn pop_or_wait(ctx: &mut Context<'_>, args: &mut Args<'_>, end: End) -> Result<(), CommandError> {
    let keys = 1..args.count() - 1;
    args.seek(keys.end);
    let deadline_ms = args.deadline(ctx.engine.clock)?;
    let limit = limit(ctx);
    for at in keys.clone() {
        let key = args.key_at(at);
        let Some(body) = ctx.engine.body(ctx.client, key, Kind::List)? else {
            continue;
        };
        let list = ListMut::new(body, limit);
        let reply = &mut ctx.client.reply;
        reply.array(2);
        reply.bulk(key.bytes);
        let empty = take(list, reply, end, 1);
        removed(ctx, key, popped(end), 1, empty);
        ctx.replicate_as(&[pop_name(end), key.bytes]);
        return Ok(());
    }
    if !ctx.wait_for_keys(args, keys, Kind::List, deadline_ms) {
        ctx.reply().null_array();
    }
    Ok(())
}

/// BLMPOP timeout numkeys key [key …] LEFT | RIGHT [COUNT n]. As LMPOP; null when the time is over.
fn blmpop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut timeout = args.clone();
    args.skip(1);
    let (keys, end, count) = many(args)?;
    let deadline_ms = timeout.deadline(ctx.engine.clock)?;
    for at in keys.clone() {
        if pop_many(ctx, args.key_at(at), end, count)? {
            return Ok(());
        }
    }
    if !ctx.wait_for_keys(args, keys, Kind::List, deadline_ms) {
        ctx.reply().null_array();
    }
    Ok(())
}
