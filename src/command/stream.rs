//! Streams: adding, trimming, deleting and reading entries. Groups are in `stream_group.rs`, XREAD and XREADGROUP in
//! `stream_read.rs`, XINFO in `stream_info.rs`.
//! Source: the documentation of Redis and the replies of redis-server 8.0; for KEEPREF, DELREF, ACKED and XDELEX the
//! documentation of Redis 8.2.

use super::*;
use crate::container::PackItem;
use crate::engine::EventClass;
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::types::stream::block::BLOCK_BYTES_MAX;
use crate::types::stream::{
    BlockLimit, Gone, PLACEHOLDER, ParsedId, Record, References, Trim, TrimTo, Trimmed,
};
use crate::types::{Kind, Stream, StreamId, StreamMut};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("xadd", -5, xadd)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | UPDATE)
            .notes("UPDATE instead of INSERT because of the optional trimming feature")])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(1), and O(N) for trimming where N is the number of entries evicted",
            "Appends an entry to a stream, which is created if need be.",
        )
        .syntax("key [NOMKSTREAM{@6.2.0}] [KEEPREF | DELREF | ACKED]{=condition @8.2.0} [<MAXLEN | \
             MINID{@6.2.0}>{=strategy} [={=equal} | ~{=approximately}]{=operator} threshold{:string} [LIMIT \
             count{@6.2.0}]]{=trim} <*{=auto-id} | id>{=id-selector} <field value>{=data} ...")
        .history(&[
            (
                "6.2.0",
                "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option.",
            ),
            (
                "7.0.0",
                "Added support for the `<ms>-*` explicit ID form.",
            ),
            ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
        ])
        .tips(&["nondeterministic_output"]),
    Command::new("xtrim", -4, xtrim)
        .flags(WRITE)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(N) where N is the number of entries evicted",
            "Removes entries from the beginning of a stream.",
        )
        .syntax("key <<MAXLEN | MINID{@6.2.0}>{=strategy} [={=equal} | ~{=approximately}]{=operator} \
             threshold{:string} [LIMIT count{@6.2.0}] [KEEPREF | DELREF | ACKED]{=condition @8.2.0}>{=trim}")
        .history(&[
            (
                "6.2.0",
                "Added the `MINID` trimming strategy and the `LIMIT` option.",
            ),
            ("8.2.0", "Added the `KEEPREF`, `DELREF` and `ACKED` options."),
        ])
        .tips(&["nondeterministic_output"]),
    Command::new("xlen", 2, xlen)
        .flags(READONLY | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RO)])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(1)",
            "Counts the entries of a stream.",
        )
        .syntax("key"),
    RANGE
        .named("xrange", xrange)
        .doc(
            Group::Stream,
            "5.0.0",
            "O(log S+N) where S is the number of blocks and N that of the entries returned",
            "Reads the entries of a range of ids.",
        )
        .syntax("key start{:string} end{:string} [COUNT count]"),
    RANGE
        .named("xrevrange", xrevrange)
        .doc(
            Group::Stream,
            "5.0.0",
            "O(log S+N) where S is the number of blocks and N that of the entries returned",
            "Reads the entries of a range of ids, the last first.",
        )
        .syntax("key end{:string} start{:string} [COUNT count]"),
    Command::new("xdel", -3, xdel)
        .flags(WRITE | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(log S) for each id, where S is the number of blocks",
            "Removes entries of a stream.",
        )
        .syntax("key id [id ...]"),
    Command::new("xdelex", -5, xdelex)
        .flags(WRITE | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::Stream,
            "8.2.0",
            "O(log S+G) for each id, where S is the number of blocks and G that of groups",
            "Removes entries of a stream, minding what consumer groups have of them.",
        )
        .syntax("key [KEEPREF | DELREF | ACKED]{=condition} IDS <numids{:integer} id [id ...]>{=ids}"),
    Command::new("xsetid", -3, xsetid)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(1)",
            "Sets the last id of a stream; replication uses it.",
        )
        .syntax("key last-id [ENTRIESADDED entries-added{:integer @7.0.0}] [MAXDELETEDID \
                 max-deleted-id{@7.0.0}]")
        .history(&[(
            "7.0.0",
            "Added the `entries_added` and `max_deleted_entry_id` arguments.",
        )]),
];

/// What XRANGE and XREVRANGE have in common.
const RANGE: Command = Command::new("xrange", -4, xrange)
    .flags(READONLY)
    .categories(CAT_STREAM)
    .keys(&[KeySpec::first(RO | ACCESS)])
    .history(&[("6.2.0", "Added exclusive ranges.")]);

const INVALID_ID: CommandError =
    CommandError::text("ERR Invalid stream ID specified as stream command argument");
const TOP_ITEM: CommandError = CommandError::text(
    "ERR The ID specified in XADD is equal or smaller than the target stream top item",
);
/// Entries that trimming with `~` takes, at most (with ACKED: looks at), whatever the configuration says.
const LIMIT_MAX: i64 = 1_000_000;
/// Ids that one propagated command names.
const IDS_MAX: usize = 1000;
/// As [`LIMIT_MAX`], where blocks have any number of entries.
const LIMIT_DEFAULT: i64 = 10_000;

// ---- ids and entries -----------------------------------------------------------------------

/// An id that names one entry.
pub(super) fn strict_id(word: &[u8]) -> Result<StreamId, CommandError> {
    match new_id(word)? {
        ParsedId { any_seq: true, .. } => Err(INVALID_ID),
        ParsedId { id, .. } => Ok(id),
    }
}

fn new_id(word: &[u8]) -> Result<ParsedId, CommandError> {
    StreamId::parse(word, 0, true).ok_or(INVALID_ID)
}

/// An end of an interval and whether it is left out.
fn interval_end(word: &[u8], missing: u64) -> Result<(StreamId, bool), CommandError> {
    let parsed = match word {
        [b'(', id @ ..] if !id.is_empty() => {
            StreamId::parse(id, missing, true).map(|parsed| (parsed, true))
        }
        _ => StreamId::parse(word, missing, false).map(|parsed| (parsed, false)),
    };
    match parsed {
        Some((parsed, left_out)) if !parsed.any_seq => Ok((parsed.id, left_out)),
        _ => Err(INVALID_ID),
    }
}

/// The first id of an interval.
pub(super) fn interval_start(word: &[u8]) -> Result<StreamId, CommandError> {
    match interval_end(word, 0)? {
        (id, false) => Ok(id),
        (id, true) => id
            .next()
            .ok_or(CommandError::text("ERR invalid start ID for the interval")),
    }
}

/// The last id of an interval.
pub(super) fn interval_last(word: &[u8]) -> Result<StreamId, CommandError> {
    match interval_end(word, u64::MAX)? {
        (id, false) => Ok(id),
        (id, true) => id
            .prev()
            .ok_or(CommandError::text("ERR invalid end ID for the interval")),
    }
}

/// All arguments that are left as ids.
pub(super) fn strict_ids(args: &mut Args<'_>) -> Result<Vec<StreamId>, CommandError> {
    let mut ids = Vec::with_capacity(args.left());
    while !args.is_empty() {
        ids.push(strict_id(args.bytes()?)?);
    }
    Ok(ids)
}

#[inline]
pub(super) fn push_id(reply: &mut Reply, id: StreamId) {
    reply.bulk(id.text().as_bytes());
}

#[inline]
fn push_item(reply: &mut Reply, item: PackItem<'_>) {
    match item {
        PackItem::Bytes(bytes) => reply.bulk(bytes),
        PackItem::Int(value) => reply.bulk_int(value),
    }
}

/// The fields and values of an entry.
#[inline]
pub(super) fn push_fields(reply: &mut Reply, record: &Record<'_>) {
    reply.array(2 * record.fields.len());
    for (field, value) in record.fields.clone() {
        push_item(reply, field);
        push_item(reply, value);
    }
}

/// An entry: its id, its fields and values.
#[inline]
pub(super) fn push_record(reply: &mut Reply, record: &Record<'_>) {
    reply.array(2);
    push_id(reply, record.id);
    push_fields(reply, record);
}

/// The stream of a key, for reading.
pub(super) fn find<'e>(
    ctx: &'e mut Context<'_>,
    key: Key<'_>,
) -> Result<Option<&'e Stream>, CommandError> {
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Stream)?;
    Ok(found.map(Stream::of))
}

/// The stream of a key, for changing it.
pub(super) fn find_mut<'e>(
    ctx: &'e mut Context<'_>,
    key: Key<'_>,
) -> Result<Option<StreamMut<'e>>, CommandError> {
    let body = ctx.engine.body(ctx.client, key, Kind::Stream)?;
    Ok(body.map(StreamMut::new))
}

// ---- adding and trimming -------------------------------------------------------------------

/// What XADD and XTRIM have in common, and XADD's id.
struct TrimOptions {
    /// Where to end, and the threshold's argument.
    to: Option<(TrimTo, usize)>,
    approximate: bool,
    limit: i64,
    /// With the argument's place.
    references: Option<(References, usize)>,
    no_make: bool,
    /// None: `*`, or the end of the arguments.
    id: Option<ParsedId>,
}

/// KEEPREF, DELREF or ACKED.
fn take_references(args: &mut Args<'_>) -> Option<References> {
    [
        ("keepref", References::Keep),
        ("delref", References::Delete),
        ("acked", References::Acknowledged),
    ]
    .into_iter()
    .find_map(|(word, references)| args.take(word).then_some(references))
}

impl TrimOptions {
    /// Reads options; for XADD up to the id and with it.
    #[inline]
    fn parse(
        ctx: &Context<'_>,
        args: &mut Args<'_>,
        adds: bool,
    ) -> Result<TrimOptions, CommandError> {
        let mut options = TrimOptions {
            to: None,
            approximate: false,
            limit: 0,
            references: None,
            no_make: false,
            id: None,
        };
        if adds && args.peek() == Some(b"*") {
            args.skip(1);
            return Ok(options);
        }
        options.read(args, adds)?;
        options.check(ctx, adds)?;
        Ok(options)
    }

    fn read(&mut self, args: &mut Args<'_>, adds: bool) -> Result<(), CommandError> {
        let mut limited = false;
        while let Some(word) = args.peek() {
            let more = args.left() > 1;
            if adds && word == b"*" {
                args.skip(1);
                break;
            }
            if more && args.take("maxlen") {
                self.threshold(args, |args| match args.int()? {
                    length @ 0.. => Ok(TrimTo::Length(length as u64)),
                    _ => Err(CommandError::text("ERR The MAXLEN argument must be >= 0.")),
                })?;
            } else if more && args.take("minid") {
                self.threshold(args, |args| Ok(TrimTo::Id(strict_id(args.bytes()?)?)))?;
            } else if more && args.take("limit") {
                self.limit = args.int()?;
                limited = true;
                if self.limit < 0 {
                    return Err(CommandError::text("ERR The LIMIT argument must be >= 0."));
                }
            } else if adds && args.take("nomkstream") {
                self.no_make = true;
            } else if let Some(references) = take_references(args) {
                let at = args.position() - 1;
                if self.references.replace((references, at)).is_some() {
                    return Err(CommandError::Syntax);
                }
            } else if adds {
                self.id = Some(new_id(args.bytes()?)?);
                break;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if !limited {
            self.limit = -1;
        }
        Ok(())
    }

    fn threshold(
        &mut self,
        args: &mut Args<'_>,
        read: impl FnOnce(&mut Args<'_>) -> Result<TrimTo, CommandError>,
    ) -> Result<(), CommandError> {
        if self.to.is_some() {
            return Err(CommandError::text(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        self.approximate = false;
        if args.left() > 1 {
            self.approximate = args.take("~");
            if !self.approximate {
                args.take("=");
            }
        }
        let at = args.position();
        self.to = Some((read(args)?, at));
        Ok(())
    }

    /// What options need each other; sets the limit that nobody gave.
    fn check(&mut self, ctx: &Context<'_>, adds: bool) -> Result<(), CommandError> {
        if self.limit > 0 && self.to.is_none() {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if !adds && self.to.is_none() {
            return Err(CommandError::text(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        if ctx.client.must_obey() {
            // The master's threshold is what its limit led to.
            self.limit = 0;
        } else if self.limit >= 0 {
            if !self.approximate {
                return Err(CommandError::text(
                    "ERR syntax error, LIMIT cannot be used without the special ~ option",
                ));
            }
        } else if self.approximate {
            let entries = ctx.engine.config.stream_node_max_entries;
            self.limit = match entries.saturating_mul(100) {
                1.. => entries.saturating_mul(100).min(LIMIT_MAX),
                _ => LIMIT_DEFAULT,
            };
        } else {
            self.limit = 0;
        }
        Ok(())
    }

    fn trim(&self) -> Option<Trim> {
        self.to.map(|(to, _)| Trim {
            to,
            approximate: self.approximate,
            limit: self.limit.max(0) as u64,
            references: self
                .references
                .map_or(References::Keep, |(references, _)| references),
        })
    }

    /// KEEPREF or DELREF, if given: older servers do not know the words, and both trim alike.
    fn references_at(&self) -> std::ops::Range<usize> {
        self.references.map_or(0..0, |(_, at)| at..at + 1)
    }

    /// The exact threshold that approximate trimming came to, and the place of its argument.
    fn exact(&self, stream: &Stream, trimmed: &Trimmed) -> Option<(usize, Vec<u8>)> {
        let (to, at) = self.to.filter(|_| self.approximate)?;
        let text = match to {
            TrimTo::Length(_) => stream.meta().length.to_string().into_bytes(),
            TrimTo::Id(_) => {
                // As in Redis, an entry that is only marked as deleted counts.
                let rest = trimmed.rest.unwrap_or(StreamId::MAX);
                rest.text().as_bytes().to_vec()
            }
        };
        Some((at, text))
    }
}

/// The id of a new entry.
fn next_id(asked: Option<ParsedId>, last: StreamId, now_ms: u64) -> Result<StreamId, CommandError> {
    if last == StreamId::MAX {
        return Err(CommandError::text(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let id = match asked {
        None if now_ms > last.ms => Some(StreamId::new(now_ms, 0)),
        None => last.next(),
        Some(ParsedId { id, any_seq: true }) if id.ms == last.ms => {
            last.next().filter(|next| next.ms == last.ms)
        }
        Some(ParsedId { id, .. }) => Some(id),
    };
    id.filter(|id| *id > last).ok_or(TOP_ITEM)
}

/// XADD key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value …
/// Reply: the id, or null with NOMKSTREAM and no such key. Errors: WRONGTYPE, invalid ids, ids that do not ascend.
/// Propagates: itself with the id, and with the exact threshold where it trimmed approximately; XACK and XDEL of what went
/// with DELREF and ACKED. O(1), and of trimming O(entries that go).
fn xadd(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let options = TrimOptions::parse(ctx, args, true)?;
    let fields_at = args.position();
    if args.left() < 2 || !args.left().is_multiple_of(2) {
        return Err(ctx.wrong_arity());
    }
    if options
        .id
        .is_some_and(|asked| asked.id.is_min() && !asked.any_seq)
    {
        return Err(CommandError::text(
            "ERR The ID specified in XADD must be greater than 0-0",
        ));
    }
    let config = &ctx.engine.config;
    let limit = BlockLimit::of(config.stream_node_max_bytes, config.stream_node_max_entries);
    let now_ms = u64::try_from(ctx.now()).unwrap_or(0);
    let (body, new) = if options.no_make {
        let Some(body) = ctx.engine.body(ctx.client, key, Kind::Stream)? else {
            ctx.reply().null();
            return Ok(());
        };
        (body, false)
    } else {
        ctx.engine.body_or_new(ctx.client, key, PLACEHOLDER)?
    };
    let mut stream = StreamMut::new(body);
    let id = next_id(options.id, stream.get().meta().last_id, now_ms)?;
    let words = args.clone();
    let fields = (fields_at..args.count()).map(|at| words.at(at));
    if fields.clone().map(<[u8]>::len).sum::<usize>() > BLOCK_BYTES_MAX {
        drop(stream);
        if new {
            ctx.engine.keyspace.remove(ctx.client.db, key);
        }
        return Err(CommandError::text(
            "ERR Elements are too large to be stored",
        ));
    }
    stream.append(limit, id, fields, args.left() / 2);
    let trim = options.trim();
    let trimmed = trim.map(|trim| stream.trim(&trim)).unwrap_or_default();
    let exact = options.exact(stream.get(), &trimmed);
    drop(stream);
    if new {
        ctx.created(ctx.client.db, key.bytes);
    }
    let id = id.text();
    ctx.reply().bulk(id.as_bytes());
    ctx.changed(key.bytes, EventClass::Stream, "xadd");
    if trimmed.removed > 0 {
        let db = ctx.client.db;
        ctx.engine
            .notify(EventClass::Stream, "xtrim", key.bytes, db);
    }
    let made = options.id.is_none_or(|asked| asked.any_seq);
    let id = made.then_some((fields_at - 1, id.as_bytes()));
    if let Some((References::Acknowledged, _)) = options.references {
        replicate_exact(ctx, args, 2..fields_at - 1, None, id);
    } else {
        replicate_exact(ctx, args, options.references_at(), exact, id);
    }
    replicate_gone(ctx, key, &trimmed.gone);
    Ok(())
}

/// Propagates the command without some arguments, with a threshold in place of an approximate one, and an id.
fn replicate_exact(
    ctx: &mut Context<'_>,
    args: &Args<'_>,
    without: std::ops::Range<usize>,
    exact: Option<(usize, Vec<u8>)>,
    id: Option<(usize, &[u8])>,
) {
    let (at, threshold) = exact.unwrap_or_default();
    let kept = (0..args.count() - without.len()).map(|index| match index < without.start {
        true => index,
        false => index + without.len(),
    });
    let words = kept.map(|index| match id {
        _ if at > 0 && index == at => threshold.as_slice(),
        _ if at > 0 && index == at - 1 => b"=",
        Some((at, id)) if index == at => id,
        _ => args.at(index),
    });
    ctx.engine.propagation_replaced = true;
    ctx.engine.propagate(ctx.client.db, words);
}

/// Propagates what went where references were minded, in words that every server knows.
pub(super) fn replicate_gone(ctx: &mut Context<'_>, key: Key<'_>, gone: &Gone) {
    for (group, ids) in &gone.references {
        replicate_ids(ctx, &[b"XACK", key.bytes, group], ids);
    }
    replicate_ids(ctx, &[b"XDEL", key.bytes], &gone.entries);
}

fn replicate_ids(ctx: &mut Context<'_>, head: &[&[u8]], ids: &[StreamId]) {
    for ids in ids.chunks(IDS_MAX) {
        let ids: Vec<_> = ids.iter().map(|id| id.text()).collect();
        let ids = ids.iter().map(|id| id.as_bytes());
        let words: Vec<&[u8]> = head.iter().copied().chain(ids).collect();
        ctx.replicate_as(&words);
    }
}

/// XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]. Reply: how many entries went.
/// Errors: WRONGTYPE, syntax error. Propagates: itself with the exact threshold, of references XACK; with ACKED only XDEL.
/// O(entries that go).
fn xtrim(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let options = TrimOptions::parse(ctx, args, false)?;
    let trim = options.trim();
    let Some(mut stream) = find_mut(ctx, key)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let trimmed = trim.map(|trim| stream.trim(&trim)).unwrap_or_default();
    let (removed, exact) = (trimmed.removed, options.exact(stream.get(), &trimmed));
    drop(stream);
    if removed > 0 {
        ctx.changed(key.bytes, EventClass::Stream, "xtrim");
        ctx.engine.dirty += removed - 1;
        match options.references {
            Some((References::Acknowledged, _)) => ctx.replicate_nothing(),
            _ => replicate_exact(ctx, args, options.references_at(), exact, None),
        }
        replicate_gone(ctx, key, &trimmed.gone);
    }
    ctx.reply().int(removed as i64);
    Ok(())
}

// ---- reading -------------------------------------------------------------------------------

/// XLEN key. Reply: the number of entries. Errors: WRONGTYPE. O(1).
fn xlen(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let length = find(ctx, key)?.map_or(0, |stream| stream.meta().length);
    ctx.reply().int(length as i64);
    Ok(())
}

/// XRANGE key start end [COUNT n]. Reply: an array of entries. Errors: WRONGTYPE, invalid ids, syntax error.
/// O(log blocks + entries).
fn xrange(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    range(ctx, args, false)
}

/// XREVRANGE key end start [COUNT n]. As XRANGE, the last first.
fn xrevrange(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    range(ctx, args, true)
}

fn range(ctx: &mut Context<'_>, args: &mut Args<'_>, back: bool) -> Result<(), CommandError> {
    let key = args.key()?;
    let (one, other) = (args.bytes()?, args.bytes()?);
    let (start, end) = if back { (other, one) } else { (one, other) };
    let (start, end) = (interval_start(start)?, interval_last(end)?);
    let mut count = None;
    while !args.is_empty() {
        if args.left() < 2 || !args.take("count") {
            return Err(CommandError::Syntax);
        }
        count = Some(args.int()?.max(0));
    }
    let bytes_max = ctx.reply_bytes_max();
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Stream)?;
    let reply = &mut ctx.client.reply;
    let Some(entry) = found else {
        reply.array(0);
        return Ok(());
    };
    if count == Some(0) {
        reply.null_array();
        return Ok(());
    }
    let most = count.map_or(usize::MAX, |count| count as usize);
    let stream = Stream::of(entry);
    match back {
        false => push_records(reply, stream.range(start, end).take(most), bytes_max),
        true => push_records(reply, stream.range_back(start, end).take(most), bytes_max),
    };
    Ok(())
}

/// An array of entries; no more of them when the reply is longer than `bytes_max` (see [`Context::reply_bytes_max`]).
pub(super) fn push_records<'a>(
    reply: &mut Reply,
    records: impl Iterator<Item = Record<'a>>,
    bytes_max: usize,
) {
    let mark = reply.begin_array();
    let mut count = 0;
    for record in records {
        if reply.buf.len() > bytes_max {
            break;
        }
        push_record(reply, &record);
        count += 1;
    }
    reply.end_array(mark, count);
}

// ---- deleting ------------------------------------------------------------------------------

/// XDEL key id [id …]. Reply: how many were there. Errors: WRONGTYPE, invalid ids. O(ids · log blocks).
fn xdel(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let Some(mut stream) = find_mut(ctx, key)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let ids = strict_ids(args)?;
    let removed = stream.remove(&ids);
    drop(stream);
    if removed > 0 {
        ctx.changed(key.bytes, EventClass::Stream, "xdel");
        ctx.engine.dirty += removed - 1;
    }
    ctx.reply().int(removed as i64);
    Ok(())
}

/// [KEEPREF | DELREF | ACKED] IDS numids id [id …], in any order.
pub(super) fn references_and_ids(
    args: &mut Args<'_>,
) -> Result<(References, Vec<StreamId>), CommandError> {
    let (mut references, mut ids) = (None, None);
    while !args.is_empty() {
        if let Some(one) = take_references(args) {
            if references.replace(one).is_some() {
                return Err(CommandError::Syntax);
            }
        } else if ids.is_none() && args.take("ids") {
            let error = CommandError::text("ERR Number of IDs must be a positive integer");
            let count = args.int_in(1, i64::MAX, error)?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if count > args.left() {
                return Err(CommandError::text(
                    "ERR The `numids` parameter must match the number of arguments",
                ));
            }
            let mut all = Vec::with_capacity(count);
            for _ in 0..count {
                all.push(strict_id(args.bytes()?)?);
            }
            ids = Some(all);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let ids = ids.ok_or(CommandError::Syntax)?;
    Ok((references.unwrap_or(References::Keep), ids))
}

/// What XDELEX answers for an id.
pub(super) const NOT_FOUND: i64 = -1;
const DELETED: i64 = 1;
const REFERRED_TO: i64 = 2;

/// Deletes one entry, minding references; what the reply says of it. Notes in `gone` what went.
pub(super) fn delete(
    stream: &mut StreamMut<'_>,
    id: StreamId,
    references: References,
    gone: &mut Gone,
) -> i64 {
    if references == References::Delete {
        stream.forget_references(id, gone);
    }
    if stream.get().get(id).is_none() {
        return NOT_FOUND;
    }
    if references == References::Acknowledged && stream.is_referred_to(id) {
        return REFERRED_TO;
    }
    stream.remove(&[id]);
    gone.entries.push(id);
    DELETED
}

/// XDELEX key [KEEPREF | DELREF | ACKED] IDS numids id [id …]. Reply: an array with 1 (deleted), -1 (not there) or 2
/// (kept, as a group refers to it) for each id. Errors: WRONGTYPE, invalid ids, syntax error, numids. Propagates: XACK for
/// each group that referred to some, XDEL. O(ids · (log blocks + groups)).
fn xdelex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let (references, ids) = references_and_ids(args)?;
    let Some(mut stream) = find_mut(ctx, key)? else {
        push_results(ctx, &vec![NOT_FOUND; ids.len()]);
        return Ok(());
    };
    let mut gone = Gone::default();
    let delete = |id: &StreamId| delete(&mut stream, *id, references, &mut gone);
    let results: Vec<i64> = ids.iter().map(delete).collect();
    drop(stream);
    gone_from(ctx, key, &gone);
    push_results(ctx, &results);
    Ok(())
}

/// Entries and references went from a stream: counts and tells what did.
pub(super) fn gone_from(ctx: &mut Context<'_>, key: Key<'_>, gone: &Gone) {
    let released: usize = gone.references.values().map(Vec::len).sum();
    ctx.engine.dirty += released as u64;
    if let Some(others) = gone.entries.len().checked_sub(1) {
        ctx.changed(key.bytes, EventClass::Stream, "xdel");
        ctx.engine.dirty += others as u64;
    }
    ctx.replicate_nothing();
    replicate_gone(ctx, key, gone);
}

pub(super) fn push_results(ctx: &mut Context<'_>, results: &[i64]) {
    let reply = ctx.reply();
    reply.array(results.len());
    results.iter().for_each(|result| reply.int(*result));
}

/// XSETID key last-id [ENTRIESADDED n] [MAXDELETEDID id]. Reply: OK. Errors: WRONGTYPE, no such key, syntax error, ids and
/// numbers that contradict the entries. O(1).
fn xsetid(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let id = strict_id(args.bytes()?)?;
    let (mut entries_added, mut max_deleted_id) = (None, StreamId::MIN);
    while !args.is_empty() {
        let more = args.left() > 1;
        if more && args.take("entriesadded") {
            let added = args.int()?;
            let positive = u64::try_from(added).ok();
            let error = CommandError::text("ERR entries_added must be positive");
            entries_added = Some(positive.ok_or(error)?);
        } else if more && args.take("maxdeletedid") {
            max_deleted_id = strict_id(args.bytes()?)?;
            if id < max_deleted_id {
                return Err(CommandError::text(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let mut stream = find_mut(ctx, key)?.ok_or(CommandError::NoSuchKey)?;
    let meta = *stream.get().meta();
    if id < meta.max_deleted_id {
        return Err(CommandError::text(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if meta.length > 0 {
        if id < stream.get().last_live_id() {
            return Err(CommandError::text(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if entries_added.is_some_and(|added| added < meta.length) {
            return Err(CommandError::text(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    stream.set_last_id(id);
    let meta = stream.meta_mut();
    if let Some(added) = entries_added {
        meta.entries_added = added;
    }
    if !max_deleted_id.is_min() {
        meta.max_deleted_id = max_deleted_id;
    }
    drop(stream);
    ctx.reply().ok();
    ctx.engine.dirty += 1;
    let db = ctx.client.db;
    ctx.engine
        .notify(EventClass::Stream, "xsetid", key.bytes, db);
    Ok(())
}
