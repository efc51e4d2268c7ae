//! Sorted sets: members and their scores. Ranges are in `zset_range.rs`, what combines several sets in `zset_algebra.rs`,
//! what takes members out of the ends in `zset_pop.rs`.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::sample::Source;
use super::scan::{self, Page, ScanOptions, Scanned};
use super::string::bulk_string;
use super::*;
use crate::base::num;
use crate::base::prng::Prng;
use crate::config::Config;
use crate::container::Pack;
use crate::engine::EventClass;
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::types::{Kind, Limits, StringRef, Value, ZsetMut, ZsetRef, ZsetTable};

/// What the rows that read one sorted set have in common.
const READ: Command = Command::new("", 0, zcard)
    .flags(READONLY)
    .categories(CAT_SORTEDSET)
    .keys(&[KeySpec::first(RO | ACCESS)]);

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("zadd", -4, zadd)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_SORTEDSET)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .element(3)
        .doc(
            Group::SortedSet,
            "1.2.0",
            "O(log(N)) for each member, where N is the size of the sorted set",
            "Adds members to a sorted set, or changes their scores; creates it if need be.",
        )
        .syntax(
            "key [NX | XX]{=condition @3.0.2} [GT | LT]{=comparison @6.2.0} [CH{=change @3.0.2}] \
                 [INCR{=increment @3.0.2}] <score{:double} member>{=data} ...",
        )
        .history(&[
            ("2.4.0", "Accepts multiple elements."),
            ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
            ("6.2.0", "Added the `GT` and `LT` options."),
        ]),
    Command::new("zcard", 2, zcard)
        .flags(READONLY | FAST)
        .categories(CAT_SORTEDSET)
        .keys(&[KeySpec::first(RO)])
        .doc(
            Group::SortedSet,
            "1.2.0",
            "O(1)",
            "Counts the members of a sorted set.",
        )
        .syntax("key"),
    Command::new("zincrby", 4, zadd)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_SORTEDSET)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .element(3)
        .named("zincrby", zincrby)
        .doc(
            Group::SortedSet,
            "1.2.0",
            "O(log(N)) where N is the size of the sorted set",
            "Adds to the score of a member of a sorted set.",
        )
        .syntax("key increment member"),
    Command {
        arity: -3,
        flags: READONLY | FAST,
        ..READ
    }
    .named("zmscore", zmscore)
    .element(2)
    .doc(
        Group::SortedSet,
        "6.2.0",
        "O(N) where N is the number of members asked for",
        "Reads the scores of members of a sorted set.",
    )
    .syntax("key member [member ...]"),
    Command { arity: -2, ..READ }
        .named("zrandmember", zrandmember)
        .doc(
            Group::SortedSet,
            "6.2.0",
            "O(N) where N is the number of members returned",
            "Returns random members of a sorted set.",
        )
        .syntax("key [count [WITHSCORES]]{=options}")
        .tips(&["nondeterministic_output"]),
    Command::new("zrem", -3, zrem)
        .flags(WRITE | FAST)
        .categories(CAT_SORTEDSET)
        .keys(&[KeySpec::first(RW | DELETE)])
        .element(2)
        .doc(
            Group::SortedSet,
            "1.2.0",
            "O(M*log(N)) for M members removed and a set of N",
            "Removes members of a sorted set, and the set with its last member.",
        )
        .syntax("key member [member ...]")
        .history(&[("2.4.0", "Accepts multiple elements.")]),
    Command { arity: -3, ..READ }
        .named("zscan", zscan)
        .doc(
            Group::SortedSet,
            "2.8.0",
            "O(1) for every call, O(N) for a whole iteration",
            "Iterates over the members and scores of a sorted set.",
        )
        .syntax("key cursor [MATCH pattern] [COUNT count]")
        .tips(&["nondeterministic_output"]),
    Command {
        arity: 3,
        flags: READONLY | FAST,
        ..READ
    }
    .named("zscore", zscore)
    .element(2)
    .doc(
        Group::SortedSet,
        "1.2.0",
        "O(1)",
        "Reads the score of a member of a sorted set.",
    )
    .syntax("key member"),
];

/// A new sorted set.
const EMPTY: Value<'_> = Value::Packed(Kind::Zset, &Pack::EMPTY, false);

const NOT_A_NUMBER: CommandError = CommandError::text("ERR resulting score is not a number (NaN)");

/// Bounds of a small sorted set.
pub(super) fn limits(config: &Config) -> Limits {
    Limits::of(
        config.zset_max_listpack_entries,
        config.zset_max_listpack_value,
    )
}

/// A score as replies carry it.
pub(super) fn score(reply: &mut Reply, score: f64) {
    match (is_negative_zero(score), reply.is_resp3()) {
        (false, _) => reply.double(score),
        (true, false) => reply.bulk(b"-0"),
        (true, true) => reply.raw(b",-0\r\n"),
    }
}

/// Appends the text of a score.
pub(super) fn push_score(text: &mut Vec<u8>, score: f64) {
    if is_negative_zero(score) {
        text.push(b'-');
    }
    num::push_f64(text, score);
}

fn is_negative_zero(score: f64) -> bool {
    score == 0.0 && score.is_sign_negative()
}

/// The sorted set of a key, for reading.
pub(super) fn read<'a>(
    ctx: &'a mut Context<'_>,
    key: Key<'_>,
) -> Result<(Option<ZsetRef<'a>>, &'a mut Reply), CommandError> {
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Zset)?;
    Ok((found.map(ZsetRef::of), &mut ctx.client.reply))
}

/// After `count` members went: an empty sorted set goes too.
pub(super) fn removed(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    event: &'static str,
    count: usize,
    empty: bool,
) {
    let db = ctx.client.db;
    if empty {
        ctx.engine.keyspace.remove(db, key);
    }
    ctx.changed(key.bytes, EventClass::SortedSet, event);
    if empty {
        ctx.engine.notify(EventClass::Generic, "del", key.bytes, db);
    }
    ctx.engine.dirty += count as u64 - 1;
}

/// Members with scores, copied out of sorted sets.
#[derive(Default)]
pub(super) struct Members {
    bytes: Vec<u8>,
    /// Where each member begins and ends, and its score.
    items: Vec<(usize, usize, f64)>,
}

impl Members {
    /// Appends one.
    pub fn push(&mut self, member: StringRef<'_>, score: f64) {
        let start = self.bytes.len();
        member.push_to(&mut self.bytes);
        self.items.push((start, self.bytes.len(), score));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// In the order they are kept in.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.items
            .iter()
            .map(|&(start, end, score)| (&self.bytes[start..end], score))
    }

    /// Makes one of members that are there several times, with a score made of theirs in the order they came.
    pub fn merge(&mut self, combine: impl Fn(f64, f64) -> f64) {
        let bytes = &self.bytes;
        let before = self.items.len();
        self.items
            .sort_by(|a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
        self.items.dedup_by(|next, kept| {
            let same = bytes[next.0..next.1] == bytes[kept.0..kept.1];
            if same {
                kept.2 = combine(kept.2, next.2);
            }
            same
        });
        if self.items.len() == before {
            return;
        }
        let mut kept = Vec::new();
        for (start, end, _) in &mut self.items {
            let at = kept.len();
            kept.extend_from_slice(&bytes[*start..*end]);
            (*start, *end) = (at, kept.len());
        }
        self.bytes = kept;
    }

    /// Puts them in the order of a sorted set.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        self.items.sort_by(|a, b| {
            let scores = a.2.partial_cmp(&b.2).unwrap_or(std::cmp::Ordering::Equal);
            scores.then_with(|| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]))
        });
    }

    /// Makes them the sorted set of a key, whatever is there; without any the key goes. Replies how many.
    pub fn store(&self, ctx: &mut Context<'_>, key: Key<'_>, event: &'static str) {
        let (db, limits) = (ctx.client.db, limits(&ctx.engine.config));
        ctx.engine.drop_due(ctx.client, key);
        let existed = ctx.engine.keyspace.remove(db, key);
        if self.items.is_empty() {
            if existed {
                ctx.changed(key.bytes, EventClass::Generic, "del");
            }
            return ctx.reply().int(0);
        }
        let (body, _) = ctx.engine.keyspace.body_or_new(db, key, EMPTY);
        let mut zset = ZsetMut::new(body, limits);
        let longest = self.items.iter().map(|(start, end, _)| end - start).max();
        zset.expect(self.items.len(), longest.unwrap_or(0));
        for (member, score) in self.iter() {
            zset.set(member, score);
        }
        drop(zset);
        if !existed {
            ctx.created(db, key.bytes);
        }
        ctx.changed(key.bytes, EventClass::SortedSet, event);
        ctx.reply().int(self.items.len() as i64);
    }
}

/// Replies members with their scores: pairs in RESP3, one after the other in RESP2. No more of them when the output is
/// longer than `most` (see [`Context::reply_bytes_max`]).
pub(super) fn reply_pairs<'a>(
    reply: &mut Reply,
    count: usize,
    members: impl Iterator<Item = (StringRef<'a>, f64)>,
    most: usize,
) {
    let nested = reply.is_resp3();
    reply.array(if nested { count } else { 2 * count });
    for (member, value) in members {
        if reply.buf.len() > most {
            break;
        }
        if nested {
            reply.array(2);
        }
        bulk_string(reply, member);
        score(reply, value);
    }
}

/// The options of ZADD.
#[derive(Default)]
pub(super) struct AddOptions {
    /// NX: only members that are not there.
    pub not_existing: bool,
    /// XX: only members that are there.
    pub only_existing: bool,
    /// GT: only to a higher score.
    pub greater: bool,
    /// LT: only to a lower score.
    pub less: bool,
    /// CH: changed members count too.
    pub count_changed: bool,
    /// INCR: the score is added.
    pub increment: bool,
}

impl AddOptions {
    /// Reads the options in front of the pairs.
    fn parse(args: &mut Args<'_>) -> AddOptions {
        let mut options = AddOptions::default();
        loop {
            let flag = match args.peek() {
                Some(word) if word.len() > 4 => return options,
                _ if args.take("nx") => &mut options.not_existing,
                _ if args.take("xx") => &mut options.only_existing,
                _ if args.take("gt") => &mut options.greater,
                _ if args.take("lt") => &mut options.less,
                _ if args.take("ch") => &mut options.count_changed,
                _ if args.take("incr") => &mut options.increment,
                _ => return options,
            };
            *flag = true;
        }
    }

    /// Errs where they do not go together, or with so many pairs.
    fn check(&self, pairs: usize) -> Result<(), CommandError> {
        if self.not_existing && self.only_existing {
            return Err(CommandError::text(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if (self.not_existing && (self.greater || self.less)) || (self.greater && self.less) {
            return Err(CommandError::text(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.increment && pairs > 1 {
            return Err(CommandError::text(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }

    /// The score that a member with the score `old` gets of `score`; the same or none for no change.
    fn decide(&self, old: Option<f64>, score: f64, done: &mut Done) -> Option<f64> {
        let Some(old) = old else {
            if self.only_existing {
                return None;
            }
            done.added += 1;
            done.score = Some(score);
            return Some(score);
        };
        if self.not_existing {
            return Some(old);
        }
        let score = if self.increment { old + score } else { score };
        if score.is_nan() {
            done.not_a_number = true;
            return Some(old);
        }
        if (self.greater && score <= old) || (self.less && score >= old) {
            return Some(old);
        }
        done.score = Some(score);
        if score == old {
            return Some(old);
        }
        done.updated += 1;
        Some(score)
    }
}

/// What ZADD did.
#[derive(Default)]
struct Done {
    added: usize,
    updated: usize,
    /// Of the last member, unless an option kept it from being set.
    score: Option<f64>,
    not_a_number: bool,
}

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member …]
/// Reply: how many members are new, or with CH new or changed; with INCR the score, or null when an option forbade it.
/// Errors: WRONGTYPE, not a float, options that exclude each other, a sum of infinities. O(log n) a member.
fn zadd(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    add_args(ctx, args, false)
}

/// ZINCRBY key increment member. Reply: the score. Errors: as ZADD. O(log n).
fn zincrby(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    add_args(ctx, args, true)
}

fn add_args(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    increment: bool,
) -> Result<(), CommandError> {
    let key = args.key()?;
    let mut options = AddOptions::parse(args);
    options.increment |= increment;
    if args.is_empty() || !args.left().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let (first, pairs) = (args.position(), args.left() / 2);
    options.check(pairs)?;
    // All scores are read before anything is done.
    for _ in 0..pairs {
        args.float()?;
        args.skip(1);
    }
    let pair = |index: usize| {
        let at = first + 2 * index;
        (num::parse_f64(args.at(at)).unwrap_or(0.0), args.at(at + 1))
    };
    add(ctx, key, &options, (0..pairs).map(pair))
}

/// Adds pairs of scores and members and replies.
pub(super) fn add<'m>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    options: &AddOptions,
    pairs: impl ExactSizeIterator<Item = (f64, &'m [u8])> + Clone,
) -> Result<(), CommandError> {
    let done = add_pairs(ctx, key, options, pairs)?;
    let changed = done.added + done.updated;
    if changed > 0 {
        let event = if options.increment { "zincr" } else { "zadd" };
        ctx.changed(key.bytes, EventClass::SortedSet, event);
        ctx.engine.dirty += changed as u64 - 1;
    }
    if done.not_a_number {
        return Err(NOT_A_NUMBER);
    }
    let reply = ctx.reply();
    match (options.increment, done.score) {
        (true, Some(value)) => score(reply, value),
        (true, None) => reply.null(),
        (false, _) if options.count_changed => reply.int(changed as i64),
        (false, _) => reply.int(done.added as i64),
    }
    Ok(())
}

fn add_pairs<'m>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    options: &AddOptions,
    pairs: impl ExactSizeIterator<Item = (f64, &'m [u8])> + Clone,
) -> Result<Done, CommandError> {
    let (limits, mut done) = (limits(&ctx.engine.config), Done::default());
    let (body, new) = if options.only_existing {
        match ctx.engine.body(ctx.client, key, Kind::Zset)? {
            Some(body) => (body, false),
            None => return Ok(done),
        }
    } else {
        ctx.engine.body_or_new(ctx.client, key, EMPTY)?
    };
    let mut zset = ZsetMut::new(body, limits);
    // How long the members are counts at first only.
    let longest = match new {
        true => pairs.clone().map(|(_, member)| member.len()).max(),
        false => None,
    };
    zset.expect(pairs.len(), longest.unwrap_or(0));
    for (score, member) in pairs {
        zset.update(member, |old| options.decide(old, score, &mut done));
    }
    drop(zset);
    if new {
        ctx.created(ctx.client.db, key.bytes);
    }
    Ok(done)
}

/// ZREM key member [member …]. Reply: how many were there. Errors: WRONGTYPE. O(members · log n).
fn zrem(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let limits = limits(&ctx.engine.config);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Zset)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let (mut zset, mut count) = (ZsetMut::new(body, limits), 0);
    while !args.is_empty() && !zset.get().is_empty() {
        count += usize::from(zset.remove(args.bytes()?));
    }
    let empty = zset.get().is_empty();
    drop(zset);
    if count > 0 {
        removed(ctx, key, "zrem", count, empty);
    }
    ctx.reply().int(count as i64);
    Ok(())
}

/// ZCARD key. Reply: the number of members. Errors: WRONGTYPE. O(1).
fn zcard(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (zset, reply) = read(ctx, args.key()?)?;
    reply.int(zset.map_or(0, |zset| zset.len()) as i64);
    Ok(())
}

/// ZSCORE key member. Reply: the score or null. Errors: WRONGTYPE. O(1).
fn zscore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, member) = (args.key()?, args.bytes()?);
    let (zset, reply) = read(ctx, key)?;
    match zset.and_then(|zset| zset.score(member)) {
        Some(value) => score(reply, value),
        None => reply.null(),
    }
    Ok(())
}

/// ZMSCORE key member [member …]. Reply: an array of scores and nulls. Errors: WRONGTYPE. O(members).
fn zmscore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let (zset, reply) = read(ctx, key)?;
    reply.array(args.left());
    while !args.is_empty() {
        let member = args.bytes()?;
        match zset.and_then(|zset| zset.score(member)) {
            Some(value) => score(reply, value),
            None => reply.null(),
        }
    }
    Ok(())
}

/// ZRANDMEMBER key [count [WITHSCORES]]
/// Reply: a member or null; with a count an array, of different members or, if it is negative, drawn one by one.
/// Errors: WRONGTYPE, not an integer, syntax error. O(count), or O(members) when most of them are asked for.
fn zrandmember(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let (mut prng, most) = (Prng::new(ctx.engine.prng.next_u64()), ctx.reply_bytes_max());
    if args.is_empty() {
        let (zset, reply) = read(ctx, key)?;
        match zset.and_then(|zset| zset.random(&mut prng)) {
            Some((member, _)) => bulk_string(reply, member),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = sample::count(args)?;
    let with_scores = args.take("withscores");
    args.end()?;
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::OutOfRange);
    }
    let (zset, reply) = read(ctx, key)?;
    let Some(zset) = zset else {
        reply.array(0);
        return Ok(());
    };
    let len = sample::len_of(&zset, count);
    let pairs = with_scores && reply.is_resp3();
    reply.array(if with_scores && !pairs { 2 * len } else { len });
    sample::each(&zset, count, &mut prng, |(member, value)| {
        if pairs {
            reply.array(2);
        }
        bulk_string(reply, member);
        if with_scores {
            score(reply, value);
        }
        reply.buf.len() <= most
    });
    Ok(())
}

impl<'a> Source for ZsetRef<'a> {
    type Item = (StringRef<'a>, f64);

    fn len(&self) -> usize {
        ZsetRef::len(self)
    }

    fn is_large(&self) -> bool {
        matches!(self, ZsetRef::Table(_))
    }

    fn draw(&self, prng: &mut Prng) -> Option<Self::Item> {
        self.random(prng)
    }

    fn address((member, _): Self::Item) -> usize {
        match member {
            StringRef::Bytes(bytes) => bytes.as_ptr().addr(),
            StringRef::Int(_) | StringRef::Chunked(_) => 0,
        }
    }

    /// From the highest score down, as Redis gives them.
    fn for_each(&self, each: impl FnMut(Self::Item)) {
        self.range(0..ZsetRef::len(self), true).for_each(each);
    }
}

/// ZSCAN key cursor [MATCH pattern] [COUNT count]
/// Reply: the next cursor (0 at the end) and an array of members and scores. Errors: WRONGTYPE, invalid cursor, syntax
/// error, not an integer. A small set comes whole. O(count).
fn zscan(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let cursor = scan::cursor(args)?;
    let (zset, reply) = read(ctx, key)?;
    let Some(zset) = zset else {
        Page::absent(reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, Scanned::Other)?;
    let mut text = Vec::new();
    // Scores of a large sorted set are given with all their digits, as Redis does.
    let push_score = match zset {
        ZsetRef::Table(_) => num::push_f64_17,
        ZsetRef::Pack(_) => push_score,
    };
    let mut push = |page: &mut Page<'_>, member: StringRef<'_>, score: f64| {
        if page.push(member) {
            text.clear();
            push_score(&mut text, score);
            page.push_value(StringRef::Bytes(&text));
        }
    };
    let mut page = Page::new(&options, reply);
    let next = match zset {
        ZsetRef::Table(table) => page.fill(table.members(), cursor, |page, entry| {
            let member = StringRef::Bytes(entry.key());
            push(page, member, ZsetTable::score_of(entry));
        }),
        ZsetRef::Pack(_) => {
            zset.iter()
                .for_each(|(member, score)| push(&mut page, member, score));
            0
        }
    };
    page.finish(reply, next);
    Ok(())
}
