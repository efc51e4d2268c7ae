//! Sets.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::sample::Source;
use super::scan::{Page, ScanOptions, Scanned};
use super::string::bulk_string;
use super::texts::Texts;
use super::*;
use crate::base::hash::HashSeed;
use crate::base::prng::Prng;
use crate::container::{IntSet, Pack};
use crate::engine::EventClass;
use crate::keyspace::{Key, Keyspace};
use crate::types::hyperloglog::{self, Hit};
use crate::types::set::{Window, text_of};
use crate::types::{Kind, SetLimits, SetMut, SetRef, StringRef, Value};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("sadd", -3, sadd)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RW | INSERT)])
        .element(2)
        .doc(
            Group::Set,
            "1.0.0",
            "O(1) for each member",
            "Adds members to a set, which is created if need be.",
        )
        .syntax("key member [member ...]")
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")]),
    Command::new("scard", 2, scard)
        .flags(READONLY | FAST)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RO)])
        .doc(Group::Set, "1.0.0", "O(1)", "Counts the members of a set.")
        .syntax("key"),
    Command::new("sdiff", -2, sdiff)
        .flags(READONLY)
        .categories(CAT_SET)
        .keys(&[KeySpec::range(1, -1, 1, RO | ACCESS)])
        .doc(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members of all sets",
            "Returns the members of the first set that no other set has.",
        )
        .syntax("key [key ...]")
        .tips(&["nondeterministic_output_order"]),
    Command::new("sdiffcard", -3, sdiffcard)
        .flags(READONLY | MOVABLE_KEYS)
        .categories(CAT_SET)
        .keys(&[KeySpec::numbered(1, RO | ACCESS)])
        .doc(
            Group::Set,
            "8.10.0",
            "O(N) where N is the number of members of all sets",
            "Counts the members of the first set that no other set has.",
        )
        .syntax("numkeys key [key ...] [LIMIT limit{:integer}]"),
    Command::new("sdiffstore", -3, sdiffstore)
        .flags(WRITE | DENYOOM)
        .categories(CAT_SET)
        .keys(STORE_KEYS)
        .doc(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members of all sets",
            "Stores the members of the first set that no other set has.",
        )
        .syntax("destination key [key ...]"),
    Command::new("sinter", -2, sinter)
        .flags(READONLY)
        .categories(CAT_SET)
        .keys(&[KeySpec::range(1, -1, 1, RO | ACCESS)])
        .doc(
            Group::Set,
            "1.0.0",
            "O(N*M) where N is the size of the smallest set and M the number of sets",
            "Returns the members that all sets have.",
        )
        .syntax("key [key ...]")
        .tips(&["nondeterministic_output_order"]),
    Command::new("sintercard", -3, sintercard)
        .flags(READONLY | MOVABLE_KEYS)
        .categories(CAT_SET)
        .keys(&[KeySpec::numbered(1, RO | ACCESS)])
        .doc(
            Group::Set,
            "7.0.0",
            "O(N*M) where N is the size of the smallest set and M the number of sets",
            "Counts the members that all sets have.",
        )
        .syntax("numkeys key [key ...] [LIMIT limit{:integer}]"),
    Command::new("sinterstore", -3, sinterstore)
        .flags(WRITE | DENYOOM)
        .categories(CAT_SET)
        .keys(STORE_KEYS)
        .doc(
            Group::Set,
            "1.0.0",
            "O(N*M) where N is the size of the smallest set and M the number of sets",
            "Stores the members that all sets have.",
        )
        .syntax("destination key [key ...]"),
    Command::new("sismember", 3, sismember)
        .flags(READONLY | FAST)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RO)])
        .element(2)
        .doc(
            Group::Set,
            "1.0.0",
            "O(1)",
            "Tells whether a set has a member.",
        )
        .syntax("key member"),
    Command::new("smembers", 2, smembers)
        .flags(READONLY)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Set,
            "1.0.0",
            "O(N) where N is the size of the set",
            "Returns all members of a set.",
        )
        .syntax("key")
        .tips(&["nondeterministic_output_order"]),
    Command::new("smismember", -3, smismember)
        .flags(READONLY | FAST)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .element(2)
        .doc(
            Group::Set,
            "6.2.0",
            "O(N) where N is the number of members asked for",
            "Tells of each of several members whether a set has it.",
        )
        .syntax("key member [member ...]"),
    Command::new("smove", 4, smove)
        .flags(WRITE | FAST)
        .categories(CAT_SET)
        .keys(&[
            KeySpec::range(1, 0, 1, RW | ACCESS | DELETE),
            KeySpec::range(2, 0, 1, RW | INSERT),
        ])
        .doc(
            Group::Set,
            "1.0.0",
            "O(1)",
            "Moves a member from one set to another.",
        )
        .syntax("source destination member"),
    Command::new("spop", -2, spop)
        .flags(WRITE | FAST)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RW | ACCESS | DELETE)])
        .doc(
            Group::Set,
            "1.0.0",
            "O(1) without a count, else O(N) where N is the count",
            "Removes random members of a set and returns them.",
        )
        .syntax("key [count{@3.2.0}]")
        .history(&[("3.2.0", "Added the `count` argument.")])
        .tips(&["nondeterministic_output"]),
    Command::new("srandmember", -2, srandmember)
        .flags(READONLY)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Set,
            "1.0.0",
            "O(1) without a count, else O(N) where N is the absolute count",
            "Returns random members of a set.",
        )
        .syntax("key [count{@2.6.0}]")
        .history(&[("2.6.0", "Added the optional `count` argument.")])
        .tips(&["nondeterministic_output"]),
    Command::new("srem", -3, srem)
        .flags(WRITE | FAST)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RW | DELETE)])
        .element(2)
        .doc(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members to be removed",
            "Removes members of a set, and the set with its last member.",
        )
        .syntax("key member [member ...]")
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")]),
    Command::new("sscan", -3, sscan)
        .flags(READONLY)
        .categories(CAT_SET)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Set,
            "2.8.0",
            "O(1) for every call, O(N) for a whole iteration over N members",
            "Iterates over the members of a set.",
        )
        .syntax("key cursor [MATCH pattern] [COUNT count]")
        .tips(&["nondeterministic_output"]),
    Command::new("sunion", -2, sunion)
        .flags(READONLY)
        .categories(CAT_SET)
        .keys(&[KeySpec::range(1, -1, 1, RO | ACCESS)])
        .doc(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members of all sets",
            "Returns the members that any of the sets has.",
        )
        .syntax("key [key ...]")
        .tips(&["nondeterministic_output_order"]),
    Command::new("sunioncard", -3, sunioncard)
        .flags(READONLY | MOVABLE_KEYS)
        .categories(CAT_SET)
        .keys(&[KeySpec::numbered(1, RO | ACCESS)])
        .doc(
            Group::Set,
            "8.10.0",
            "O(N) where N is the number of members of all sets",
            "Counts the members that any of the sets has.",
        )
        .syntax("numkeys key [key ...] [APPROX] [LIMIT limit{:integer}]"),
    Command::new("sunionstore", -3, sunionstore)
        .flags(WRITE | DENYOOM)
        .categories(CAT_SET)
        .keys(STORE_KEYS)
        .doc(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members of all sets",
            "Stores the members that any of the sets has.",
        )
        .syntax("destination key [key ...]"),
];

const STORE_KEYS: &[KeySpec] = &[
    KeySpec::range(1, 0, 1, OW | UPDATE),
    KeySpec::range(2, -1, 1, RO | ACCESS),
];

/// Members of one SREM that SPOP propagates.
const MEMBERS_PROPAGATED: usize = 1024;

/// A key that is not there.
const ABSENT: &[u8] = &Pack::EMPTY;

/// Bounds of small sets.
fn limits(ctx: &Context<'_>) -> SetLimits {
    SetLimits::of(&ctx.engine.encodings())
}

/// After members went: an empty set goes too.
fn removed(ctx: &mut Context<'_>, key: Key<'_>, event: &'static str, empty: bool) {
    if empty {
        ctx.engine.keyspace.remove(ctx.client.db, key);
    }
    ctx.changed(key.bytes, EventClass::Set, event);
    if empty {
        let db = ctx.client.db;
        ctx.engine.notify(EventClass::Generic, "del", key.bytes, db);
    }
}

/// SADD key member [member …]. Reply: how many are new. Errors: WRONGTYPE. O(members).
fn sadd(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let (limits, count) = (limits(ctx), args.left());
    let first = args.peek().unwrap_or_default();
    let empty = SetMut::empty(first, count, limits);
    let (body, new) = ctx.engine.body_or_new(ctx.client, key, empty)?;
    let mut set = SetMut::new(body, limits);
    set.expect(count);
    let from = args.position();
    let added = set.extend((from..args.count()).map(|index| args.at(index)));
    drop(set);
    if new {
        ctx.created(ctx.client.db, key.bytes);
    }
    if added > 0 {
        ctx.changed(key.bytes, EventClass::Set, "sadd");
        ctx.engine.dirty += added as u64 - 1;
    }
    ctx.reply().int(added as i64);
    Ok(())
}

/// SREM key member [member …]. Reply: how many were there. Errors: WRONGTYPE. O(members).
fn srem(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let limits = limits(ctx);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Set)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let (mut set, mut count) = (SetMut::new(body, limits), 0);
    while !args.is_empty() && !set.get().is_empty() {
        count += i64::from(set.remove(args.bytes()?));
    }
    let empty = set.get().is_empty();
    drop(set);
    if count > 0 {
        removed(ctx, key, "srem", empty);
        ctx.engine.dirty += count as u64 - 1;
    }
    ctx.reply().int(count);
    Ok(())
}

/// SISMEMBER key member. Reply: 1 or 0. Errors: WRONGTYPE. O(1).
fn sismember(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, member) = (args.key()?, args.bytes()?);
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Set)?;
    let has = found.is_some_and(|entry| SetRef::of(entry).contains(member));
    ctx.reply().int(i64::from(has));
    Ok(())
}

/// SMISMEMBER key member [member …]. Reply: an array of 1 and 0. Errors: WRONGTYPE. O(members).
fn smismember(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Set)?;
    let set = found.map(SetRef::of);
    let reply = &mut ctx.client.reply;
    reply.array(args.left());
    while !args.is_empty() {
        let member = args.bytes()?;
        let has = set.is_some_and(|set| set.contains(member));
        reply.int(i64::from(has));
    }
    Ok(())
}

/// SCARD key. Reply: the number of members. Errors: WRONGTYPE. O(1).
fn scard(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Set)?;
    let len = found.map_or(0, |entry| SetRef::of(entry).len());
    ctx.reply().int(len as i64);
    Ok(())
}

/// SMEMBERS key. Reply: a set of members. Errors: WRONGTYPE. O(members).
fn smembers(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let most = ctx.reply_bytes_max();
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Set)?;
    let reply = &mut ctx.client.reply;
    let Some(entry) = found else {
        reply.set(0);
        return Ok(());
    };
    let set = SetRef::of(entry);
    reply.set(set.len());
    set.for_each(|member| {
        if reply.buf.len() <= most {
            bulk_string(reply, member);
        }
    });
    Ok(())
}

/// SMOVE source destination member. Reply: 1, or 0 when the member is not in source. Errors: WRONGTYPE. O(1).
fn smove(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (from, to, member) = (args.key()?, args.key()?, args.bytes()?);
    let has = match ctx.write(from) {
        None => false,
        Some(entry) if entry.kind() != Kind::Set => return Err(CommandError::WrongType),
        Some(entry) => {
            let has = SetRef::of(entry).contains(member);
            if ctx.write(to).is_some_and(|entry| entry.kind() != Kind::Set) {
                return Err(CommandError::WrongType);
            }
            has
        }
    };
    if has && from.bytes != to.bytes {
        move_member(ctx, from, to, member)?;
    }
    ctx.reply().int(i64::from(has));
    Ok(())
}

fn move_member(
    ctx: &mut Context<'_>,
    from: Key<'_>,
    to: Key<'_>,
    member: &[u8],
) -> Result<(), CommandError> {
    let limits = limits(ctx);
    let Some(body) = ctx.engine.body(ctx.client, from, Kind::Set)? else {
        return Ok(());
    };
    let mut set = SetMut::new(body, limits);
    set.remove(member);
    let empty = set.get().is_empty();
    drop(set);
    removed(ctx, from, "srem", empty);
    let empty = SetMut::empty(member, 1, limits);
    let (body, new) = ctx.engine.body_or_new(ctx.client, to, empty)?;
    let added = SetMut::new(body, limits).add(member);
    if new {
        ctx.created(ctx.client.db, to.bytes);
    }
    if added {
        ctx.changed(to.bytes, EventClass::Set, "sadd");
    }
    Ok(())
}

// ---- random members ---------------------------------------------------------------------------

impl<'a> Source for SetRef<'a> {
    type Item = StringRef<'a>;

    fn len(&self) -> usize {
        SetRef::len(self)
    }

    fn is_large(&self) -> bool {
        matches!(self, SetRef::Table(_))
    }

    fn draw(&self, prng: &mut Prng) -> Option<StringRef<'a>> {
        self.random(prng)
    }

    fn address(member: StringRef<'a>) -> usize {
        match member {
            StringRef::Bytes(bytes) => bytes.as_ptr().addr(),
            StringRef::Int(_) | StringRef::Chunked(_) => 0,
        }
    }

    fn for_each(&self, each: impl FnMut(StringRef<'a>)) {
        SetRef::for_each(self, each);
    }
}

/// SPOP key [count]
/// Reply: a random member or null; with a count a set of members. Errors: WRONGTYPE, out of range, syntax error.
/// Propagates: SREM, or with a count that takes all DEL (UNLINK with lazyfree-lazy-server-del). O(count).
fn spop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    if !args.is_empty() {
        return spop_count(ctx, key, args);
    }
    let (limits, mut prng) = (limits(ctx), prng(ctx));
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Set)? else {
        ctx.reply().null();
        return Ok(());
    };
    let mut set = SetMut::new(body, limits);
    let reply = &mut ctx.client.reply;
    let mut len = 0;
    if let Some(member) = set.get().random(&mut prng) {
        len = member.len();
        bulk_string(reply, member);
    }
    // The member as it stands in the reply.
    let end = reply.buf.len() - b"\r\n".len();
    let range = end - len..end;
    set.remove(&reply.buf[range.clone()]);
    let empty = set.get().is_empty();
    drop(set);
    ctx.engine.propagation_replaced = true;
    let srem = [b"SREM", key.bytes, &ctx.client.reply.buf[range]];
    ctx.engine.propagate(ctx.client.db, srem.into_iter());
    removed(ctx, key, "spop", empty);
    Ok(())
}

fn spop_count(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    args: &mut Args<'_>,
) -> Result<(), CommandError> {
    if args.left() > 1 {
        return Err(CommandError::Syntax);
    }
    let out_of_range = CommandError::text("ERR value is out of range, must be positive");
    let count = args.int_in(0, i64::MAX, out_of_range)? as usize;
    let (limits, mut prng) = (limits(ctx), prng(ctx));
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Set)? else {
        ctx.reply().set(0);
        return Ok(());
    };
    let mut set = SetMut::new(body, limits);
    let len = set.get().len();
    let reply = &mut ctx.client.reply;
    reply.set(count.min(len));
    if count == 0 {
        return Ok(());
    }
    if count >= len {
        set.get().for_each(|member| bulk_string(reply, member));
        drop(set);
        let unlinks = ctx.engine.config.lazyfree_lazy_server_del;
        let name: &[u8] = if unlinks { b"UNLINK" } else { b"DEL" };
        ctx.replicate_as(&[name, key.bytes]);
        removed(ctx, key, "spop", true);
        ctx.engine.dirty += len as u64 - 1;
        return Ok(());
    }
    let mut popped = Texts::default();
    set.pop(count, &mut prng, |member| {
        bulk_string(reply, member);
        popped.push(member);
    });
    drop(set);
    removed(ctx, key, "spop", false);
    ctx.engine.dirty += count as u64 - 1;
    ctx.replicate_nothing();
    if ctx.engine.propagates() {
        let members: Vec<&[u8]> = popped.iter().collect();
        for batch in members.chunks(MEMBERS_PROPAGATED) {
            ctx.replicate_as(&[&[b"SREM", key.bytes], batch].concat());
        }
    }
    Ok(())
}

/// A generator for one command, while the engine is lent out.
pub(super) fn prng(ctx: &mut Context<'_>) -> Prng {
    Prng::new(ctx.engine.prng.next_u64())
}

/// SRANDMEMBER key [count]
/// Reply: a random member or null; with a count an array of members that differ, or with a negative one of so many that
/// may repeat. Errors: WRONGTYPE, not an integer, out of range, syntax error. O(count).
fn srandmember(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let count = match args.left() {
        0 => None,
        1 => Some(sample::count(args)?),
        _ => return Err(CommandError::Syntax),
    };
    let (mut prng, most) = (prng(ctx), ctx.reply_bytes_max());
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Set)?;
    let reply = &mut ctx.client.reply;
    let set = found.map(SetRef::of);
    match (set, count) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => match set.random(&mut prng) {
            Some(member) => bulk_string(reply, member),
            None => reply.null(),
        },
        (Some(set), Some(count)) => {
            reply.array(sample::len_of(&set, count));
            sample::each(&set, count, &mut prng, |member| {
                bulk_string(reply, member);
                reply.buf.len() <= most
            });
        }
    }
    Ok(())
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
/// Reply: the next cursor (0 at the end) and an array of members. Errors: WRONGTYPE, invalid cursor, syntax error, not an
/// integer. O(count); O(members) when small.
fn sscan(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let cursor = scan::cursor(args)?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Set)?;
    let reply = &mut ctx.client.reply;
    let Some(entry) = found else {
        Page::absent(reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, Scanned::Other)?;
    let mut page = Page::new(&options, reply);
    let next = match SetRef::of(entry) {
        SetRef::Table(set) => page.fill(set.members(), cursor, |page, entry| {
            page.push(StringRef::Bytes(entry.key()));
        }),
        small => {
            small.for_each(|member| {
                page.push(member);
            });
            0
        }
    };
    page.finish(reply, next);
    Ok(())
}

// ---- set algebra ------------------------------------------------------------------------------

/// What is made of several sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// The keys of sets that may be absent.
struct Sources<'a> {
    /// With whether it is there for this client.
    keys: Vec<(Key<'a>, bool)>,
}

impl<'a> Sources<'a> {
    /// The next `count` arguments. Errors: WRONGTYPE, also behind a key that is absent.
    fn read(
        ctx: &mut Context<'_>,
        args: &mut Args<'a>,
        count: usize,
    ) -> Result<Sources<'a>, CommandError> {
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            let key = args.key()?;
            let found = ctx.engine.read_kind(ctx.client, key, Kind::Set)?;
            keys.push((key, found.is_some()));
        }
        Ok(Sources { keys })
    }

    /// The sets, in order; an absent one is empty.
    fn sets<'k>(&self, keyspace: &'k Keyspace, db: usize) -> Vec<SetRef<'k>> {
        let found = |&(key, there): &(Key<'_>, bool)| {
            let entry = keyspace.find(db, key).filter(|_| there);
            entry.map_or(SetRef::Pack(Pack::of(ABSENT)), SetRef::of)
        };
        self.keys.iter().map(found).collect()
    }
}

/// Gives each member of the result once, until `each` returns false.
fn combine<'a>(
    operation: Operation,
    mut sets: Vec<SetRef<'a>>,
    seed: HashSeed,
    mut each: impl FnMut(StringRef<'a>) -> bool,
) {
    match operation {
        Operation::Inter => {
            // The smallest is walked, the others are asked, beginning with the one that is likely to lack most.
            sets.sort_by_key(SetRef::len);
            let Some((first, others)) = sets.split_first() else {
                return;
            };
            narrow(first, others, true, each);
        }
        Operation::Union => {
            sets.retain(|set| !set.is_empty());
            if let [only] = sets[..] {
                only.for_each_run(|run| run.iter().all(|&member| each(member)));
                return;
            }
            let most = sets.iter().map(SetRef::len).max().unwrap_or(0);
            let mut seen = Seen::new(seed, most);
            let mut goes_on = true;
            for set in &sets {
                set.for_each_run(|run| {
                    goes_on = run
                        .iter()
                        .all(|&member| !seen.insert(member) || each(member));
                    goes_on
                });
                if !goes_on {
                    return;
                }
            }
        }
        Operation::Diff => {
            let first = sets.remove(0);
            sets.retain(|set| !set.is_empty());
            sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
            // Asking the others of each member is work for the first's size times their number, on average half of it;
            // taking their members away for the sum of sizes.
            let others: usize = sets.iter().map(SetRef::len).sum();
            if first.len().saturating_mul(sets.len()) / 2 <= first.len() + others {
                narrow(&first, &sets, false, each);
                return;
            }
            let mut left = Seen::new(seed, first.len());
            first.for_each(|member| {
                left.insert(member);
            });
            for set in &sets {
                set.for_each(|member| left.remove(member));
            }
            left.members.iter().all(|member| each(member.text));
        }
    }
}

/// Gives the members of `first` that all `others` have, or that none has.
fn narrow<'a>(
    first: &SetRef<'a>,
    others: &[SetRef<'_>],
    having: bool,
    mut each: impl FnMut(StringRef<'a>) -> bool,
) {
    if having && others.iter().any(SetRef::is_empty) {
        return;
    }
    first.for_each_run(|run| {
        Window::each(run, |window| {
            for other in others {
                window.keep(other, having);
                if window.is_empty() {
                    return true;
                }
            }
            window.alive().all(&mut each)
        })
    });
}

/// Members that were met, where they are kept.
struct Seen<'a> {
    members: HashSet<Member<'a>, BuildHasherDefault<Identity>>,
    seed: HashSeed,
}

impl<'a> Seen<'a> {
    fn new(seed: HashSeed, capacity: usize) -> Seen<'a> {
        let members = HashSet::with_capacity_and_hasher(capacity, BuildHasherDefault::default());
        Seen { members, seed }
    }

    fn member<'m>(&self, text: StringRef<'m>) -> Member<'m> {
        let hash = self.seed.hash(text_of(text, &mut itoa::Buffer::new()));
        Member { hash, text }
    }

    /// True when it is new.
    fn insert(&mut self, member: StringRef<'a>) -> bool {
        self.members.insert(self.member(member))
    }

    fn remove(&mut self, member: StringRef<'a>) {
        self.members.remove(&self.member(member));
    }
}

/// A member with the hash of its text.
struct Member<'a> {
    hash: u64,
    text: StringRef<'a>,
}

impl PartialEq for Member<'_> {
    fn eq(&self, other: &Member<'_>) -> bool {
        self.hash == other.hash
            && text_of(self.text, &mut itoa::Buffer::new())
                == text_of(other.text, &mut itoa::Buffer::new())
    }
}

impl Eq for Member<'_> {}

impl std::hash::Hash for Member<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The hash is one already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        unreachable!("{} bytes instead of a hash", bytes.len())
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// SUNION key [key …]. Reply: a set of the members that any of the sets has. Errors: WRONGTYPE. O(members of all).
fn sunion(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    answer(ctx, args, Operation::Union)
}

/// SINTER key [key …]. Reply: a set of the members that all sets have. Errors: WRONGTYPE. O(smallest set, times sets).
fn sinter(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    answer(ctx, args, Operation::Inter)
}

/// SDIFF key [key …]. Reply: a set of the first set's members that no other has. Errors: WRONGTYPE. O(members of all).
fn sdiff(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    answer(ctx, args, Operation::Diff)
}

fn answer(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    operation: Operation,
) -> Result<(), CommandError> {
    let sources = Sources::read(ctx, args, args.left())?;
    let keyspace = &ctx.engine.keyspace;
    let sets = sources.sets(keyspace, ctx.client.db);
    let reply = &mut ctx.client.reply;
    let (mark, mut count) = (reply.begin_array(), 0);
    combine(operation, sets, keyspace.seed(), |member| {
        bulk_string(reply, member);
        count += 1;
        true
    });
    reply.end_set(mark, count);
    Ok(())
}

/// SINTERCARD numkeys key [key …] [LIMIT limit]
/// Reply: how many members all sets have, counted up to the limit if it is not 0. Errors: WRONGTYPE, of the numbers,
/// syntax error. O(smallest set, times sets).
fn sintercard(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    count(ctx, args, Operation::Inter)
}

/// SUNIONCARD numkeys key [key …] [APPROX] [LIMIT limit]
/// Reply: how many members any of the sets has, or with APPROX an estimate by a HyperLogLog, up to the limit if it is not
/// 0. Errors: as SINTERCARD. O(members of all).
fn sunioncard(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    count(ctx, args, Operation::Union)
}

/// SDIFFCARD numkeys key [key …] [LIMIT limit]
/// Reply: how many of the first set's members no other has, counted up to the limit if it is not 0. Errors: as
/// SINTERCARD. O(members of all).
fn sdiffcard(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    count(ctx, args, Operation::Diff)
}

fn count(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    operation: Operation,
) -> Result<(), CommandError> {
    let not_positive = CommandError::text("ERR numkeys should be greater than 0");
    let keys = args.int_in(1, i64::MAX, not_positive)? as usize;
    if keys > args.left() {
        return Err(CommandError::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let first = args.position();
    args.skip(keys);
    let (mut limit, mut approximate) = (0, false);
    while !args.is_empty() {
        if operation == Operation::Union && args.take("approx") {
            approximate = true;
            continue;
        }
        if args.left() < 2 || !args.take("limit") {
            return Err(CommandError::Syntax);
        }
        let negative = CommandError::text("ERR LIMIT can't be negative");
        limit = args.int_in(0, i64::MAX, negative)?;
    }
    args.seek(first);
    let sources = Sources::read(ctx, args, keys)?;
    let keyspace = &ctx.engine.keyspace;
    let sets = sources.sets(keyspace, ctx.client.db);
    let mut count = 0;
    if approximate {
        let most = if limit == 0 { i64::MAX } else { limit };
        count = estimate(&sets).min(most);
    } else {
        combine(operation, sets, keyspace.seed(), |_| {
            count += 1;
            count != limit
        });
    }
    ctx.reply().int(count);
    Ok(())
}

/// About how many members the sets have together.
fn estimate(sets: &[SetRef<'_>]) -> i64 {
    let mut registers = Box::new([0; hyperloglog::REGISTERS]);
    let mut digits = itoa::Buffer::new();
    for set in sets {
        set.for_each(|member| {
            Hit::of(text_of(member, &mut digits)).raise(&mut registers);
        });
    }
    i64::try_from(hyperloglog::count(&registers)).unwrap_or(i64::MAX)
}

/// SUNIONSTORE destination key [key …]. Reply: the size of the result. Errors: WRONGTYPE. O(members of all).
fn sunionstore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    store(ctx, args, Operation::Union, "sunionstore")
}

/// SINTERSTORE destination key [key …]. Reply: the size of the result. Errors: WRONGTYPE. O(smallest set, times sets).
fn sinterstore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    store(ctx, args, Operation::Inter, "sinterstore")
}

/// SDIFFSTORE destination key [key …]. Reply: the size of the result. Errors: WRONGTYPE. O(members of all).
fn sdiffstore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    store(ctx, args, Operation::Diff, "sdiffstore")
}

/// Puts the result in the place of whatever the destination holds; an empty one removes that.
fn store(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    operation: Operation,
    event: &'static str,
) -> Result<(), CommandError> {
    let to = args.key()?;
    let (db, limits) = (ctx.client.db, limits(ctx));
    let sources = Sources::read(ctx, args, args.left())?;
    let sets = sources.sets(&ctx.engine.keyspace, db);
    let smallest = sets.iter().min_by_key(|set| set.len());
    let from_ints = matches!(smallest, Some(SetRef::Ints(_)));
    let (mut members, mut ints) = (Texts::default(), true);
    combine(operation, sets, ctx.engine.keyspace.seed(), |member| {
        ints &= member.as_int().is_some();
        members.push(member);
        true
    });
    let count = members.len();
    let there = ctx.write(to).is_some();
    if count == 0 {
        if there {
            ctx.engine.keyspace.remove(db, to);
            ctx.changed(to.bytes, EventClass::Generic, "del");
        }
        ctx.reply().int(0);
        return Ok(());
    }
    // An intersection of tables takes the form that fits it in the end, all others what their members make of integers.
    let as_ints = match operation {
        Operation::Inter => from_ints || (ints && count <= limits.ints),
        Operation::Union | Operation::Diff => true,
    };
    let empty = match as_ints {
        true => Value::Packed(Kind::Set, &IntSet::EMPTY, true),
        false => Value::Packed(Kind::Set, &Pack::EMPTY, false),
    };
    let keyspace = &mut ctx.engine.keyspace;
    let workshop = keyspace.workshop();
    let (body, _) = keyspace.body_or_new(workshop, to, empty);
    SetMut::new(body, limits).extend(members.iter());
    keyspace.rename(workshop, to, db, to);
    if !there {
        ctx.created(db, to.bytes);
    }
    ctx.changed(to.bytes, EventClass::Set, event);
    ctx.reply().int(count as i64);
    Ok(())
}
