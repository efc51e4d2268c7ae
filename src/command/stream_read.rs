//! XREAD and XREADGROUP: entries behind an id of several streams; who wants can wait for them.
//!
//! A client that waits is answered by running its command again (`dispatch/blocked.rs`), so `$` is replaced by the id that
//! it stood for. XREADGROUP is run again too when its stream or group goes, and then answers the error.
//! Source: the documentation of Redis and the replies of redis-server 8.0; for CLAIM the documentation of Redis 8.4.

use super::stream::{push_fields, push_id, push_record, push_records, strict_id};
use super::stream_group::{
    Claim, TOO_MANY_CONSUMERS, consumer_made, no_key_or_group, release_gone, replicate_claims,
    replicate_progress, seen_consumer,
};
use super::*;
use crate::base::num;
use crate::base::time::UnixMs;
use crate::engine::Want;
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::types::stream::{ConsumerKey, Meta, Pending};
use crate::types::{Kind, Stream, StreamId, StreamMut};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("xread", -4, xread)
        .flags(READONLY | BLOCKING | MOVABLE_KEYS)
        .categories(CAT_STREAM | CAT_BLOCKING)
        .keys(&[KEYS])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(N) where N is the number of entries returned",
            "Reads the entries of streams behind ids; waits for them.",
        )
        .syntax("[COUNT count] [BLOCK milliseconds] STREAMS <key [key ...] id [id ...]>{=streams}"),
    Command::new("xreadgroup", -7, xreadgroup)
        .flags(WRITE | BLOCKING | MOVABLE_KEYS)
        .categories(CAT_STREAM | CAT_BLOCKING)
        .keys(&[KeySpec {
            begin: Begin::Keyword("STREAMS", 4),
            ..KEYS
        }])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(N) where N is the number of entries returned",
            "Delivers entries of streams to a consumer of a group; waits for them.",
        )
        .syntax(
            "GROUP <group consumer>{=group-block} [COUNT count] [BLOCK milliseconds] [CLAIM \
             min-idle-time{:integer @8.4.0}] [NOACK] STREAMS <key [key ...] id [id ...]>{=streams}",
        )
        .history(&[("8.4.0", "Added the `CLAIM` option.")]),
];

const KEYS: KeySpec = KeySpec {
    begin: Begin::Keyword("STREAMS", 1),
    find: Find::Range {
        last: -1,
        step: 1,
        limit: 2,
    },
    flags: RO | ACCESS,
    notes: "",
};

/// Pending entries that are looked at in one go.
const CLAIMED_AT_ONCE: usize = 1024;

/// What both commands' options say.
struct ReadOptions<'a> {
    /// Entries of a stream at most.
    count: usize,
    /// Monotonic milliseconds, 0 for never; None: not to wait.
    deadline_ms: Option<u64>,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// Pending entries idle so long are delivered too.
    claim_idle_ms: Option<i64>,
    /// The arguments that are keys; as many ids follow.
    keys: std::ops::Range<usize>,
}

impl<'a> ReadOptions<'a> {
    fn parse(
        ctx: &Context<'_>,
        args: &mut Args<'a>,
        grouped: bool,
    ) -> Result<ReadOptions<'a>, CommandError> {
        let mut options = ReadOptions {
            count: usize::MAX,
            deadline_ms: None,
            group: None,
            no_ack: false,
            claim_idle_ms: None,
            keys: 0..0,
        };
        let only_group = |option: &str| {
            CommandError::owned(format!(
                "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
            ))
        };
        while !args.is_empty() {
            let left = args.left();
            if left > 1 && args.take("block") {
                options.deadline_ms = Some(deadline(ctx, args.bytes()?)?);
            } else if left > 1 && args.take("count") {
                options.count = match args.int()? {
                    count @ 1.. => count as usize,
                    _ => usize::MAX,
                };
            } else if left > 1 && args.take("streams") {
                options.keys = keys(args, grouped)?;
                break;
            } else if left > 2 && args.take("group") {
                if !grouped {
                    return Err(only_group("GROUP"));
                }
                options.group = Some((args.bytes()?, args.bytes()?));
            } else if args.take("noack") {
                if !grouped {
                    return Err(only_group("NOACK"));
                }
                options.no_ack = true;
            } else if left > 1 && grouped && args.take("claim") {
                let error = CommandError::text("ERR min-idle-time is not an integer");
                let idle = args.int_in(i64::MIN, i64::MAX, error)?;
                if idle < 0 {
                    return Err(CommandError::text(
                        "ERR min-idle-time must be a positive integer",
                    ));
                }
                options.claim_idle_ms = Some(idle);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.keys.is_empty() {
            return Err(CommandError::Syntax);
        }
        if grouped && options.group.is_none() {
            return Err(CommandError::text(
                "ERR Missing GROUP option for XREADGROUP",
            ));
        }
        Ok(options)
    }
}

/// Milliseconds to wait: the deadline in monotonic milliseconds, 0 for never.
fn deadline(ctx: &Context<'_>, word: &[u8]) -> Result<u64, CommandError> {
    let timeout_ms = num::parse_i64(word).ok_or(CommandError::text(
        "ERR timeout is not an integer or out of range",
    ))?;
    let Ok(wait_ms) = u64::try_from(timeout_ms) else {
        return Err(CommandError::text("ERR timeout is negative"));
    };
    if timeout_ms > i64::MAX - ctx.now() {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    Ok(match wait_ms {
        0 => 0,
        wait_ms => ctx.engine.clock.wait_begins_ms().saturating_add(wait_ms),
    })
}

/// The arguments behind STREAMS that are keys.
fn keys(args: &Args<'_>, grouped: bool) -> Result<std::ops::Range<usize>, CommandError> {
    let left = args.left();
    if !left.is_multiple_of(2) {
        return Err(CommandError::text(match grouped {
            false => {
                "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
            }
            true => {
                "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
            }
        }));
    }
    let start = args.position();
    Ok(start..start + left / 2)
}

/// Counts a second look at each key, as Redis takes one to serve them: `found` of them are there, these are `missed`.
fn look_again(ctx: &mut Context<'_>, args: &Args<'_>, found: usize, missed: &[usize]) {
    ctx.engine.stats.keyspace_hits += found as u64;
    for at in missed {
        ctx.read(args.key_at(*at));
    }
}

/// A key of a reply; its entries follow.
fn push_key(reply: &mut Reply, key: &[u8]) {
    if !reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(key);
}

/// Begins the reply for so many streams.
fn push_streams(reply: &mut Reply, count: usize) {
    match reply.is_resp3() {
        true => reply.map(count),
        false => reply.array(count),
    }
}

// ---- XREAD ---------------------------------------------------------------------------------

/// XREAD [COUNT n] [BLOCK ms] STREAMS key [key …] id [id …]. Reply: a map (an array of pairs in RESP2) of streams to their
/// entries behind the ids, null without any. Errors: WRONGTYPE, invalid ids, syntax error, timeouts.
/// O(entries + log blocks).
fn xread(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let options = ReadOptions::parse(ctx, args, false)?;
    let keys = options.keys.clone();
    // For each key the id to read behind, and where to begin; none where nothing is.
    let (mut behind, mut starts) = (
        Vec::with_capacity(keys.len()),
        Vec::with_capacity(keys.len()),
    );
    let mut missed = Vec::new();
    for at in keys.clone() {
        let key = args.key_at(at);
        let found = ctx.engine.read_kind(ctx.client, key, Kind::Stream)?;
        let stream = found.map(Stream::of);
        if stream.is_none() {
            missed.push(at);
        }
        let id = match args.at(at + keys.len()) {
            b"$" => stream.map_or(StreamId::MIN, |stream| stream.meta().last_id),
            b"+" => {
                let last = stream.map_or(StreamId::MIN, Stream::last_live_id);
                last.prev().unwrap_or(StreamId::MIN)
            }
            b">" => {
                return Err(CommandError::text(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            word => strict_id(word)?,
        };
        let serves = stream.is_some_and(|stream| stream.last_live_id() > id);
        behind.push(id);
        starts.push(id.next().filter(|_| serves));
    }
    look_again(ctx, args, keys.len() - missed.len(), &missed);
    let served = starts.iter().flatten().count();
    if served == 0 {
        // A `$` is what is last now, not when the command is run again.
        let behind: Vec<_> = behind.into_iter().map(StreamId::text).collect();
        let mut words: Vec<&[u8]> = args.iter().collect();
        for (word, id) in words[keys.end..].iter_mut().zip(&behind) {
            if *word == b"$" {
                *word = id.as_bytes();
            }
        }
        return wait_for_entries(ctx, args, &words, &options);
    }
    let most = ctx.reply_bytes_max();
    let reply = &mut ctx.client.reply;
    push_streams(reply, served);
    for (at, start) in keys.zip(starts) {
        if reply.buf.len() > most {
            break;
        }
        let key = args.key_at(at);
        let found = ctx.engine.keyspace.find(ctx.client.db, key);
        if let (Some(start), Some(entry)) = (start, found) {
            push_key(reply, key.bytes);
            let range = Stream::of(entry).range(start, StreamId::MAX);
            push_records(reply, range.take(options.count), most);
        }
    }
    Ok(())
}

/// Nothing to read: waits if that is wanted, to run `words` again, or answers null.
fn wait_for_entries(
    ctx: &mut Context<'_>,
    args: &Args<'_>,
    words: &[&[u8]],
    options: &ReadOptions<'_>,
) -> Result<(), CommandError> {
    if let Some(deadline_ms) = options.deadline_ms {
        let retry_ms = retry_ms(ctx, args, options);
        let want = Want {
            kind: Kind::Stream,
            or_none: options.group.is_some(),
            claims: options.claim_idle_ms.is_some(),
            timed: retry_ms > 0,
        };
        if ctx.wait(words, options.keys.clone(), want, deadline_ms, retry_ms) {
            return Ok(());
        }
    }
    ctx.reply().null_array();
    Ok(())
}

/// When a pending entry will have been idle for the time of CLAIM, monotonic milliseconds; 0 for never.
fn retry_ms(ctx: &mut Context<'_>, args: &Args<'_>, options: &ReadOptions<'_>) -> u64 {
    let (Some(min_idle_ms), Some((group, _))) = (options.claim_idle_ms, options.group) else {
        return 0;
    };
    let mut first: Option<UnixMs> = None;
    for at in options.keys.clone() {
        if args.at(at + options.keys.len()) == b">" {
            let next = next_claim_ms(ctx, args.key_at(at), group, min_idle_ms);
            first = next.into_iter().chain(first).min();
        }
    }
    first.map_or(0, |at_ms| {
        let wait_ms = u64::try_from(at_ms.saturating_sub(ctx.now())).unwrap_or(0);
        ctx.engine.clock.mono_ms().saturating_add(wait_ms.max(1))
    })
}

// ---- XREADGROUP ----------------------------------------------------------------------------

/// XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [CLAIM min-idle-ms] [NOACK] STREAMS key [key …] id [id …]. Reply: as
/// XREAD; with `>` entries that the group has not delivered yet, with an id those that are pending for the consumer; with
/// CLAIM each entry has also its idle time and its deliveries so far. Errors: NOGROUP, those of XREAD. Propagates: XCLAIM
/// for each entry, XGROUP SETID, XGROUP CREATECONSUMER. O(entries · log pending).
fn xreadgroup(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let options = ReadOptions::parse(ctx, args, true)?;
    let keys = options.keys.clone();
    let (group, _) = options.group.unwrap_or_default();
    // None: `>`.
    let mut starts: Vec<Option<StreamId>> = Vec::with_capacity(keys.len());
    for at in keys.clone() {
        let key = args.key_at(at);
        let found = ctx.engine.read_kind(ctx.client, key, Kind::Stream)?;
        if found.is_none_or(|entry| Stream::of(entry).group(group).is_none()) {
            let after = " in XREADGROUP with GROUP option";
            return Err(no_key_or_group(key.bytes, group, after));
        }
        starts.push(match args.at(at + keys.len()) {
            word @ (b"$" | b"+") => return Err(meaningless(word)),
            b">" => None,
            word => Some(strict_id(word)?).filter(|id| *id != StreamId::MAX),
        });
    }
    // All are there, or their groups would be missing.
    look_again(ctx, args, keys.len(), &[]);
    ctx.replicate_nothing();
    let reply = &mut ctx.client.reply;
    let (mark, mut served) = (reply.begin_array(), 0);
    for (at, start) in keys.zip(starts) {
        served += usize::from(serve_group(ctx, args.key_at(at), start, &options)?);
    }
    if served == 0 {
        let words: Vec<&[u8]> = args.iter().collect();
        return wait_for_entries(ctx, args, &words, &options);
    }
    match ctx.reply().is_resp3() {
        true => ctx.reply().end_map(mark, served),
        false => ctx.reply().end_array(mark, served),
    }
    Ok(())
}

fn meaningless(word: &[u8]) -> CommandError {
    let word = String::from_utf8_lossy(word);
    CommandError::owned(format!(
        "ERR The {word} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
         specifying a proper ID, or use the > ID to get new messages. The {word} ID would just return an empty result set."
    ))
}

/// What a consumer got of one stream, for replicas.
#[derive(Default)]
struct Delivered {
    served: bool,
    /// One change, however many entries were delivered, as Redis counts.
    dirty: u64,
    claims: Vec<Claim>,
    /// Where the group stands now, if it moved.
    progress: Option<(StreamId, Option<u64>)>,
}

/// Serves a group's consumer from one stream; false when there is nothing for it.
fn serve_group(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    start: Option<StreamId>,
    options: &ReadOptions<'_>,
) -> Result<bool, CommandError> {
    let now = ctx.now();
    let (group, consumer_name) = options.group.unwrap_or_default();
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Stream)? else {
        return Ok(false);
    };
    let mut stream = StreamMut::new(body);
    let seen = stream.group(group, |group, domain| {
        let (consumer, made) = seen_consumer(group, domain, consumer_name, now)?;
        Some((consumer, made, group.last_id))
    });
    let (consumer, made, last_id) = seen.flatten().ok_or(TOO_MANY_CONSUMERS)?;
    let mut delivery = Delivery {
        stream,
        group,
        consumer,
        now,
        key: key.bytes,
        options,
        delivered: Delivered::default(),
    };
    let reply = &mut ctx.client.reply;
    match start {
        Some(id) => delivery.history(reply, id),
        None => delivery.fresh(reply, last_id),
    }
    let delivered = std::mem::take(&mut delivery.delivered);
    drop(delivery);
    ctx.engine.dirty += delivered.dirty;
    if made {
        consumer_made(ctx, key.bytes);
    }
    if made && options.no_ack {
        ctx.replicate_as(&[
            b"XGROUP",
            b"CREATECONSUMER",
            key.bytes,
            group,
            consumer_name,
        ]);
    }
    if !delivered.claims.is_empty() {
        replicate_claims(ctx, key.bytes, group, consumer_name, &delivered.claims);
    }
    if let Some((last_id, read)) = delivered.progress {
        replicate_progress(ctx, key.bytes, group, last_id, read);
    }
    if delivered.served {
        ctx.engine.signal_claimers(ctx.client.db, key.bytes, false);
    }
    Ok(delivered.served)
}

/// When the next pending entry of a stream will have been idle for the time of CLAIM.
fn next_claim_ms(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    group: &[u8],
    min_idle_ms: i64,
) -> Option<UnixMs> {
    let latest_ms = ctx.now().saturating_sub(min_idle_ms);
    let body = ctx.engine.body(ctx.client, key, Kind::Stream).ok()??;
    let next = StreamMut::new(body).group(group, |group, domain| {
        let behind = Some((latest_ms, StreamId::MAX));
        group.delivered_after(domain, behind).next()
    });
    let (delivered_ms, _) = next.flatten()?;
    Some(delivered_ms.saturating_add(min_idle_ms))
}

/// The delivery from one stream to one consumer.
struct Delivery<'a> {
    stream: StreamMut<'a>,
    group: &'a [u8],
    consumer: ConsumerKey,
    now: UnixMs,
    key: &'a [u8],
    options: &'a ReadOptions<'a>,
    delivered: Delivered,
}

impl Delivery<'_> {
    /// What is pending for the consumer behind an id.
    fn history(&mut self, reply: &mut Reply, after: StreamId) {
        let (consumer, now) = (self.consumer, self.now);
        let group = self.stream.get().group(self.group);
        let ids: Vec<StreamId> = match (group, after.next()) {
            (Some(group), Some(start)) => {
                let pending = group.consumer(consumer).pending_from(start);
                pending.take(self.options.count).copied().collect()
            }
            _ => Vec::new(),
        };
        self.delivered.served = true;
        push_key(reply, self.key);
        reply.array(ids.len());
        for id in ids {
            let Some(record) = self.stream.get().get(id) else {
                reply.array(2);
                push_id(reply, id);
                reply.null_array();
                continue;
            };
            push_record(reply, &record);
            self.stream.group(self.group, |group, domain| {
                let count = group.pending(id).map_or(1, Pending::next_count);
                group.assign(domain, consumer, id, now, count);
            });
        }
    }

    /// What the group has not delivered yet, behind what was idle for the time of CLAIM.
    fn fresh(&mut self, reply: &mut Reply, last_id: StreamId) {
        let idle = self.idle();
        let left = self.options.count - idle.len();
        let has_fresh = left > 0 && self.stream.get().last_live_id() > last_id;
        if idle.is_empty() && !has_fresh {
            return;
        }
        self.delivered.served = true;
        push_key(reply, self.key);
        let (mark, mut count) = (reply.begin_array(), 0);
        for id in idle {
            count += usize::from(self.claim(reply, id));
        }
        if has_fresh && let Some(start) = last_id.next() {
            let mut ids = Vec::new();
            for record in self.stream.get().range(start, StreamId::MAX).take(left) {
                ids.push(record.id);
                if self.options.claim_idle_ms.is_none() {
                    push_record(reply, &record);
                    continue;
                }
                reply.array(4);
                push_id(reply, record.id);
                push_fields(reply, &record);
                reply.int(0);
                reply.int(0);
            }
            count += ids.len();
            self.deliver(&ids);
        }
        reply.end_array(mark, count);
    }

    /// Pending entries that are idle for the time of CLAIM, the longest first. Those that the stream has no more are
    /// released, as by XAUTOCLAIM: no later call meets them again.
    fn idle(&mut self) -> Vec<StreamId> {
        let mut idle = Vec::new();
        let Some(min_idle_ms) = self.options.claim_idle_ms else {
            return idle;
        };
        let latest_ms = self.now.saturating_sub(min_idle_ms);
        let mut after = None;
        while idle.len() < self.options.count {
            let most = (self.options.count - idle.len()).min(CLAIMED_AT_ONCE);
            let found = self.stream.group(self.group, |group, domain| {
                let delivered = group.delivered_after(domain, after);
                let idle = delivered.take_while(|(at_ms, _)| *at_ms <= latest_ms);
                idle.take(most).collect::<Vec<_>>()
            });
            let found = found.unwrap_or_default();
            if found.is_empty() {
                break;
            }
            after = found.last().copied();
            for (_, id) in found {
                match self.stream.get().get(id) {
                    Some(_) => idle.push(id),
                    None => self.release(id),
                }
            }
        }
        idle
    }

    /// Releases a pending entry that the stream has no more.
    fn release(&mut self, id: StreamId) {
        let released = self
            .stream
            .group(self.group, |group, domain| release_gone(group, domain, id));
        if let Some(claim) = released.flatten() {
            self.delivered.dirty = 1;
            self.delivered.claims.push(claim);
        }
    }

    /// Delivers a pending entry again, to this consumer.
    fn claim(&mut self, reply: &mut Reply, id: StreamId) -> bool {
        let (consumer, now) = (self.consumer, self.now);
        let claimed = self.stream.group(self.group, |group, domain| {
            let old = *group.pending(id)?;
            let count = old.next_count();
            group.assign(domain, consumer, id, now, count);
            group.update_consumer(domain, consumer, |consumer| consumer.active_ms = Some(now));
            Some((old, group.last_id))
        });
        let (Some((old, last_id)), Some(record)) = (claimed.flatten(), self.stream.get().get(id))
        else {
            return false;
        };
        reply.array(4);
        push_id(reply, id);
        push_fields(reply, &record);
        reply.int(old.idle_ms(now));
        reply.int(old.count as i64);
        self.delivered.dirty = 1;
        self.delivered.claims.push(Claim {
            id,
            consumer: None,
            delivered_ms: now,
            count: old.next_count(),
            last_id,
        });
        true
    }

    /// The group moves on over these entries.
    fn deliver(&mut self, ids: &[StreamId]) {
        let meta = *self.stream.get().meta();
        let (consumer, now, no_ack) = (self.consumer, self.now, self.options.no_ack);
        let delivered = &mut self.delivered;
        self.stream.group(self.group, |group, domain| {
            for &id in ids {
                if id > group.last_id {
                    group.entries_read = read_with(&meta, group.entries_read, group.last_id, id);
                    group.last_id = id;
                    delivered.progress = Some((id, group.entries_read));
                }
                if !no_ack {
                    group.assign(domain, consumer, id, now, 1);
                    delivered.claims.push(Claim {
                        id,
                        consumer: None,
                        delivered_ms: now,
                        count: 1,
                        last_id: group.last_id,
                    });
                }
            }
            if !no_ack {
                group.update_consumer(domain, consumer, |consumer| consumer.active_ms = Some(now));
            }
        });
        delivered.dirty = 1;
    }
}

/// How many of all entries ever added a group has read with this one, behind that of `last_id`. What ENTRIESREAD made
/// too large stays at the largest that replicas can be told; Redis's count goes on below zero, which its replicas refuse.
fn read_with(meta: &Meta, read: Option<u64>, last_id: StreamId, id: StreamId) -> Option<u64> {
    match read {
        Some(read) if last_id >= meta.first_id && !meta.has_gap_from(last_id) => {
            Some(read.saturating_add(1).min(i64::MAX as u64))
        }
        read if meta.entries_added == 0 => read,
        _ => meta.distance_to(id),
    }
}
