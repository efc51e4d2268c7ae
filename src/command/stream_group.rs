//! Consumer groups of streams: XGROUP, XACK, XACKDEL, XPENDING, XCLAIM, XAUTOCLAIM.
//!
//! What changes a group but not the entries does not wake those who WATCH the key, as in Redis.
//! Source: the documentation of Redis and the replies of redis-server 8.0; for XACKDEL the documentation of Redis 8.2.

use super::stream::{
    NOT_FOUND, delete, find, find_mut, gone_from, interval_last, interval_start, push_id,
    push_record, push_results, references_and_ids, strict_id, strict_ids,
};
use super::*;
use crate::base::time::UnixMs;
use crate::container::Domain;
use crate::engine::EventClass;
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::types::stream::{ConsumerKey, Gone, Group as StreamGroup, PLACEHOLDER, Pending};
use crate::types::{Kind, Stream, StreamId, StreamMut};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("xgroup", -2, container)
        .doc(
            Group::Stream,
            "5.0.0",
            "Depends on the subcommand",
            "Holds the commands that change consumer groups.",
        )
        .subcommands(&[
            CHANGE
                .named("create", create)
                .arity(-5)
                .flags(WRITE | DENYOOM)
                .keys(&[KeySpec::range(2, 0, 1, RW | INSERT)])
                .doc(Group::Stream, "5.0.0", "O(1)", "Makes a consumer group.")
                .syntax("key group <id | ${=new-id}>{=id-selector} [MKSTREAM] [ENTRIESREAD \
                 entries-read{=entriesread :integer}]")
                .history(&[("7.0.0", "Added the `entries_read` named argument.")]),
            CHANGE
                .named("createconsumer", create_consumer)
                .arity(5)
                .flags(WRITE | DENYOOM)
                .keys(&[KeySpec::range(2, 0, 1, RW | INSERT)])
                .doc(
                    Group::Stream,
                    "6.2.0",
                    "O(1)",
                    "Makes a consumer of a group.",
                )
                .syntax("key group consumer"),
            CHANGE
                .named("delconsumer", delete_consumer)
                .arity(5)
                .keys(&[KeySpec::range(2, 0, 1, RW | DELETE)])
                .doc(
                    Group::Stream,
                    "5.0.0",
                    "O(N) where N is the number of its pending entries",
                    "Removes a consumer from its group.",
                )
                .syntax("key group consumer"),
            CHANGE
                .named("destroy", destroy)
                .arity(4)
                .keys(&[KeySpec::range(2, 0, 1, RW | DELETE)])
                .doc(
                    Group::Stream,
                    "5.0.0",
                    "O(N) where N is the number of pending entries",
                    "Removes a consumer group.",
                )
                .syntax("key group"),
            Command::new("help", 2, help)
                .flags(LOADING | STALE)
                .categories(CAT_STREAM)
                .doc(
                    Group::Stream,
                    "5.0.0",
                    "O(1)",
                    "Describes the subcommands.",
                ),
            CHANGE
                .named("setid", set_id)
                .arity(-5)
                .keys(&[KeySpec::range(2, 0, 1, RW | UPDATE)])
                .doc(
                    Group::Stream,
                    "5.0.0",
                    "O(1)",
                    "Sets the last entry that a group has delivered.",
                )
                .syntax("key group <id | ${=new-id}>{=id-selector} [ENTRIESREAD entries-read{=entriesread \
                 :integer}]")
                .history(&[("7.0.0", "Added the optional `entries_read` argument.")]),
        ]),
    Command::new("xack", -4, xack)
        .flags(WRITE | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(log N) for each id, where N is the number of pending entries",
            "Acknowledges entries that a group delivered.",
        )
        .syntax("key group id [id ...]"),
    Command::new("xackdel", -6, xackdel)
        .flags(WRITE | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::Stream,
            "8.2.0",
            "O(log N) for each id, where N is the number of pending entries",
            "Acknowledges entries that a group delivered, and removes them.",
        )
        .syntax("key group [KEEPREF | DELREF | ACKED]{=condition} IDS <numids{:integer} id [id ...]>{=ids}"),
    Command::new("xpending", -3, xpending)
        .flags(READONLY)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(N) where N is the number of entries looked at, or of consumers",
            "Lists the entries that a group delivered and that are not acknowledged.",
        )
        .syntax("key group [[IDLE min-idle-time{:integer @6.2.0}] start{:string} end{:string} count \
                 [consumer]]{=filters}")
        .history(&[(
            "6.2.0",
            "Added the `IDLE` option and exclusive range intervals.",
        )])
        .tips(&["nondeterministic_output"]),
    Command::new("xclaim", -6, xclaim)
        .flags(WRITE | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::Stream,
            "5.0.0",
            "O(log N) for each id, where N is the number of pending entries",
            "Takes pending entries over for a consumer.",
        )
        .syntax("key group consumer min-idle-time id [id ...] [IDLE ms{:integer}] [TIME \
                 unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]")
        .tips(&["nondeterministic_output"]),
    Command::new("xautoclaim", -6, xautoclaim)
        .flags(WRITE | FAST)
        .categories(CAT_STREAM)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::Stream,
            "6.2.0",
            "O(1) if COUNT is small",
            "Takes over pending entries that nobody touched for a time.",
        )
        .syntax("key group consumer min-idle-time start{:string} [COUNT count] [JUSTID]")
        .history(&[(
            "7.0.0",
            "Added an element to the reply array, containing deleted entries the command cleared from the PEL",
        )])
        .tips(&["nondeterministic_output"]),
];

/// What XGROUP's subcommands have in common.
const CHANGE: Command = Command::new("create", -5, create)
    .flags(WRITE)
    .categories(CAT_STREAM);

/// XAUTOCLAIM looks at so many entries for each that it may answer.
const ATTEMPTS: u64 = 10;
/// XAUTOCLAIM's highest COUNT.
const AUTOCLAIM_COUNT_MAX: i64 = i64::MAX / 16;

/// A text with two of a client's words.
fn naming(before: &str, one: &[u8], between: &str, two: &[u8], after: &str) -> CommandError {
    let until_nul =
        |word: &[u8]| -> Vec<u8> { word.iter().copied().take_while(|&byte| byte != 0).collect() };
    CommandError::Bytes(
        [
            before.as_bytes(),
            &until_nul(one),
            between.as_bytes(),
            &until_nul(two),
            after.as_bytes(),
        ]
        .concat(),
    )
}

/// NOGROUP, where the key is there.
pub(super) fn no_such_group(group: &[u8], key: &[u8]) -> CommandError {
    naming(
        "NOGROUP No such consumer group '",
        group,
        "' for key name '",
        key,
        "'",
    )
}

/// NOGROUP, where the key may be missing too.
pub(super) fn no_key_or_group(key: &[u8], group: &[u8], after: &str) -> CommandError {
    let after = format!("'{after}");
    naming(
        "NOGROUP No such key '",
        key,
        "' or consumer group '",
        group,
        &after,
    )
}

/// A change that watchers of the key do not see.
fn group_changed(ctx: &mut Context<'_>, key: &[u8], event: &'static str) {
    ctx.engine.dirty += 1;
    let db = ctx.client.db;
    ctx.engine.notify(EventClass::Stream, event, key, db);
}

/// A consumer was made.
pub(super) fn consumer_made(ctx: &mut Context<'_>, key: &[u8]) {
    group_changed(ctx, key, "xgroup-createconsumer");
}

// ---- propagation ---------------------------------------------------------------------------

/// A pending entry that changed hands or was delivered again, as replicas are told.
pub(super) struct Claim {
    pub id: StreamId,
    /// None: the consumer that the command names took it over. Else it was this one's, and is released: its stream has it no
    /// more.
    pub consumer: Option<Box<[u8]>>,
    pub delivered_ms: UnixMs,
    pub count: u64,
    /// The group's last id then.
    pub last_id: StreamId,
}

impl Claim {
    fn is_taken(&self) -> bool {
        self.consumer.is_none()
    }
}

/// Propagates claims, as XCLAIM.
pub(super) fn replicate_claims(
    ctx: &mut Context<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    claims: &[Claim],
) {
    ctx.replicate_nothing();
    for claim in claims {
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        ctx.replicate_as(&[
            b"XCLAIM",
            key,
            group,
            claim.consumer.as_deref().unwrap_or(consumer),
            b"0",
            claim.id.text().as_bytes(),
            b"TIME",
            time.format(claim.delivered_ms).as_bytes(),
            b"RETRYCOUNT",
            count.format(claim.count).as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            claim.last_id.text().as_bytes(),
        ]);
    }
}

/// Propagates how far a group has read, as XGROUP SETID.
pub(super) fn replicate_progress(
    ctx: &mut Context<'_>,
    key: &[u8],
    group: &[u8],
    last_id: StreamId,
    entries_read: Option<u64>,
) {
    // Those that it is for refuse numbers below -1; a file can hold larger ones.
    let read = entries_read.map_or(-1, |read| i64::try_from(read).unwrap_or(i64::MAX));
    ctx.replicate_as(&[
        b"XGROUP",
        b"SETID",
        key,
        group,
        last_id.text().as_bytes(),
        b"ENTRIESREAD",
        itoa::Buffer::new().format(read).as_bytes(),
    ]);
}

// ---- groups and consumers ------------------------------------------------------------------

struct GroupOptions {
    make: bool,
    entries_read: Option<u64>,
}

impl GroupOptions {
    /// `creates`: MKSTREAM is an option. An option may be there twice only where the command gets no longer by it than by
    /// all of them.
    fn parse(args: &mut Args<'_>, creates: bool) -> Result<GroupOptions, CommandError> {
        let mut options = GroupOptions {
            make: false,
            entries_read: None,
        };
        while !args.is_empty() {
            if creates && args.take("mkstream") {
                options.make = true;
            } else if args.left() > 1 && args.take("entriesread") {
                options.entries_read = match args.int()? {
                    -1 => None,
                    read @ 0.. => Some(read as u64),
                    _ => {
                        return Err(CommandError::text(
                            "ERR value for ENTRIESREAD must be positive or -1",
                        ));
                    }
                };
            } else {
                return Err(CommandError::subcommand_syntax("xgroup", args.at(1)));
            }
        }
        let count_max = if creates { 8 } else { 7 };
        if args.count() > count_max {
            return Err(CommandError::subcommand_syntax("xgroup", args.at(1)));
        }
        Ok(options)
    }
}

const NEEDS_KEY: CommandError = CommandError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to \
     create an empty stream automatically.",
);

/// An id or `$`, the stream's last.
fn id_or_last(word: &[u8], last_id: StreamId) -> Result<StreamId, CommandError> {
    match word {
        b"$" => Ok(last_id),
        word => strict_id(word),
    }
}

/// XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD n]. Reply: OK. Errors: WRONGTYPE, BUSYGROUP, the key must exist,
/// invalid ids. O(log groups).
fn create(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name, id) = (args.key()?, args.bytes()?, args.bytes()?);
    let options = GroupOptions::parse(args, true)?;
    let found = ctx.engine.write(ctx.client, key);
    let last_id = match found {
        Some(entry) if entry.kind() != Kind::Stream => return Err(CommandError::WrongType),
        Some(entry) => Stream::of(entry).meta().last_id,
        None if options.make => StreamId::MIN,
        None => return Err(NEEDS_KEY),
    };
    let id = id_or_last(id, last_id)?;
    let (body, new) = ctx.engine.body_or_new(ctx.client, key, PLACEHOLDER)?;
    let mut stream = StreamMut::new(body);
    let added = stream.add_group(name, id, options.entries_read);
    drop(stream);
    if !added {
        return Err(CommandError::text(
            "BUSYGROUP Consumer Group name already exists",
        ));
    }
    let db = ctx.client.db;
    if new {
        ctx.created(db, key.bytes);
        ctx.changed(key.bytes, EventClass::Stream, "xgroup-create");
    } else {
        group_changed(ctx, key.bytes, "xgroup-create");
    }
    ctx.reply().ok();
    Ok(())
}

/// The stream that XGROUP's other subcommands want, with the group if they want it.
fn stream_with_group<'e>(
    ctx: &'e mut Context<'_>,
    key: Key<'_>,
    group: &[u8],
) -> Result<StreamMut<'e>, CommandError> {
    let stream = find_mut(ctx, key)?.ok_or(NEEDS_KEY)?;
    match stream.get().group(group) {
        Some(_) => Ok(stream),
        None => Err(no_such_group(group, key.bytes)),
    }
}

/// XGROUP SETID key group id | $ [ENTRIESREAD n]. Reply: OK. Errors: WRONGTYPE, NOGROUP, the key must exist, invalid ids.
/// O(log groups).
fn set_id(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name, id) = (args.key()?, args.bytes()?, args.bytes()?);
    let options = GroupOptions::parse(args, false)?;
    let mut stream = stream_with_group(ctx, key, name)?;
    let id = match id {
        // The ends of an interval are taken here, as in Redis.
        b"-" => StreamId::MIN,
        b"+" => StreamId::MAX,
        id => id_or_last(id, stream.get().meta().last_id)?,
    };
    stream.group(name, |group, _| {
        group.last_id = id;
        group.entries_read = options.entries_read;
    });
    drop(stream);
    group_changed(ctx, key.bytes, "xgroup-setid");
    ctx.reply().ok();
    Ok(())
}

/// XGROUP DESTROY key group. Reply: 1, or 0 without such a group. Errors: WRONGTYPE, the key must exist. Wakes who waits
/// for the group. O(pending entries).
fn destroy(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name) = (args.key()?, args.bytes()?);
    let mut stream = find_mut(ctx, key)?.ok_or(NEEDS_KEY)?;
    let removed = stream.remove_group(name);
    drop(stream);
    if removed {
        group_changed(ctx, key.bytes, "xgroup-destroy");
        ctx.engine.signal_key(ctx.client.db, key.bytes);
    }
    ctx.reply().int(removed.into());
    Ok(())
}

/// XGROUP CREATECONSUMER key group consumer. Reply: 1, or 0 when it is there. Errors: WRONGTYPE, NOGROUP, the key must
/// exist. O(log consumers).
fn create_consumer(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name, consumer) = (args.key()?, args.bytes()?, args.bytes()?);
    let now = ctx.now();
    let mut stream = stream_with_group(ctx, key, name)?;
    let made = stream.group(name, |group, domain| {
        group.add_consumer(domain, consumer, now, None).is_some()
    });
    drop(stream);
    let made = made == Some(true);
    if made {
        consumer_made(ctx, key.bytes);
    }
    ctx.reply().int(made.into());
    Ok(())
}

/// XGROUP DELCONSUMER key group consumer. Reply: how many entries were pending for it. Errors: WRONGTYPE, NOGROUP, the key
/// must exist. O(its pending entries).
fn delete_consumer(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name, consumer) = (args.key()?, args.bytes()?, args.bytes()?);
    let mut stream = stream_with_group(ctx, key, name)?;
    let removed = stream.group(name, |group, domain| {
        let consumer = group.find_consumer(consumer)?;
        Some(group.remove_consumer(domain, consumer))
    });
    drop(stream);
    let removed = removed.flatten();
    if removed.is_some() {
        group_changed(ctx, key.bytes, "xgroup-delconsumer");
    }
    ctx.reply().int(removed.unwrap_or(0) as i64);
    Ok(())
}

/// XGROUP HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
    ]);
    Ok(())
}

// ---- acknowledging -------------------------------------------------------------------------

/// XACK key group id [id …]. Reply: how many were pending. Errors: WRONGTYPE, invalid ids. O(ids · log pending).
fn xack(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name) = (args.key()?, args.bytes()?);
    let group = find(ctx, key)?.and_then(|stream| stream.group(name));
    if group.is_none() {
        ctx.reply().int(0);
        return Ok(());
    }
    let ids = strict_ids(args)?;
    let acknowledged = find_mut(ctx, key)?.and_then(|mut stream| {
        stream.group(name, |group, domain| {
            let released = ids.iter().filter(|id| group.release(domain, **id));
            released.count() as u64
        })
    });
    let acknowledged = acknowledged.unwrap_or(0);
    ctx.engine.dirty += acknowledged;
    ctx.reply().int(acknowledged as i64);
    Ok(())
}

/// XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id [id …]. Reply: an array with 1 (acknowledged and deleted), -1
/// (not pending) or 2 (acknowledged, but a group refers to it) for each id. Errors: WRONGTYPE, invalid ids, syntax error,
/// numids. Propagates: XACK for each group that referred to some, XDEL. O(ids · (log pending + groups)).
fn xackdel(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name) = (args.key()?, args.bytes()?);
    let (references, ids) = references_and_ids(args)?;
    let mut results = vec![NOT_FOUND; ids.len()];
    let (mut gone, mut released) = (Gone::default(), Vec::new());
    if let Some(mut stream) = find_mut(ctx, key)? {
        for (id, result) in ids.iter().zip(&mut results) {
            if stream.group(name, |group, domain| group.release(domain, *id)) == Some(true) {
                released.push(*id);
                *result = match delete(&mut stream, *id, references, &mut gone) {
                    NOT_FOUND => 1,
                    result => result,
                };
            }
        }
    }
    if !released.is_empty() {
        gone.references.insert(name.to_vec(), released);
    }
    gone_from(ctx, key, &gone);
    push_results(ctx, &results);
    Ok(())
}

// ---- what is pending -----------------------------------------------------------------------

/// The range that XPENDING lists.
struct PendingRange<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: i64,
    consumer: Option<&'a [u8]>,
}

impl<'a> PendingRange<'a> {
    fn parse(args: &mut Args<'a>) -> Result<PendingRange<'a>, CommandError> {
        let mut min_idle_ms = 0;
        if args.take("idle") {
            min_idle_ms = args.int()?;
            if args.left() < 3 {
                return Err(CommandError::Syntax);
            }
        }
        let (start, end, count) = (args.bytes()?, args.bytes()?, args.int()?);
        Ok(PendingRange {
            min_idle_ms,
            start: interval_start(start)?,
            end: interval_last(end)?,
            count,
            consumer: args.bytes().ok(),
        })
    }
}

/// XPENDING key group [[IDLE ms] start end count [consumer]]. Reply: how many entries are pending, the first and last id
/// and consumers with their counts; with a range, an array of entries with consumer, idle time and deliveries. Errors:
/// WRONGTYPE, NOGROUP, invalid ids, syntax error. O(entries looked at).
fn xpending(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name) = (args.key()?, args.bytes()?);
    let range = match args.left() {
        0 => None,
        3..=6 => Some(PendingRange::parse(args)?),
        _ => return Err(CommandError::Syntax),
    };
    let now = ctx.now();
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Stream)?;
    let Some(group) = found.and_then(|entry| Stream::of(entry).group(name)) else {
        return Err(no_key_or_group(key.bytes, name, ""));
    };
    let reply = &mut ctx.client.reply;
    match range {
        None => push_pending_counts(reply, group),
        Some(range) => push_pending_range(reply, group, &range, now),
    }
    Ok(())
}

/// How many entries are pending, their ends, and the consumers that they are of.
fn push_pending_counts(reply: &mut Reply, group: &StreamGroup) {
    reply.array(4);
    reply.int(group.pending_count() as i64);
    let Some((first, last)) = group.pending_ends() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    push_id(reply, first);
    push_id(reply, last);
    let (mark, mut count) = (reply.begin_array(), 0);
    for (_, consumer) in group.consumers() {
        if consumer.pending_count() > 0 {
            count += 1;
            reply.array(2);
            reply.bulk(&consumer.name);
            reply.bulk_int(consumer.pending_count() as i64);
        }
    }
    reply.end_array(mark, count);
}

fn push_pending_range(
    reply: &mut Reply,
    group: &StreamGroup,
    range: &PendingRange<'_>,
    now: UnixMs,
) {
    let (mark, mut count) = (reply.begin_array(), 0);
    let mut push = |pending: &Pending| {
        if pending.id > range.end || count as i64 >= range.count {
            return false;
        }
        let idle = pending.idle_ms(now);
        if range.min_idle_ms != 0 && idle < range.min_idle_ms {
            return true;
        }
        count += 1;
        reply.array(4);
        push_id(reply, pending.id);
        reply.bulk(&group.consumer(group.consumer_of(pending)).name);
        reply.int(idle.max(0));
        reply.int(pending.count as i64);
        true
    };
    match range.consumer.map(|name| group.find_consumer(name)) {
        None => drop(group.pending_from(range.start).all(&mut push)),
        Some(None) => {}
        Some(Some(consumer)) => {
            let ids = group.consumer(consumer).pending_from(range.start);
            ids.filter_map(|id| group.pending(*id)).all(&mut push);
        }
    }
    reply.end_array(mark, count);
}

// ---- claiming ------------------------------------------------------------------------------

/// What XCLAIM's options say.
struct ClaimOptions {
    min_idle_ms: i64,
    ids: Vec<StreamId>,
    /// When the entries count as delivered.
    delivered_ms: UnixMs,
    retry_count: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl ClaimOptions {
    fn parse(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<ClaimOptions, CommandError> {
        let now = ctx.now();
        let min_idle = CommandError::text("ERR Invalid min-idle-time argument for XCLAIM");
        let mut options = ClaimOptions {
            min_idle_ms: args.int_in(i64::MIN, i64::MAX, min_idle)?.max(0),
            ids: Vec::with_capacity(args.left()),
            delivered_ms: now,
            retry_count: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
        };
        while let Some(id) = args.peek().and_then(|word| strict_id(word).ok()) {
            options.ids.push(id);
            args.skip(1);
        }
        let number = |args: &mut Args<'_>, what: &str| {
            let text = format!("ERR Invalid {what} option argument for XCLAIM");
            args.int_in(i64::MIN, i64::MAX, CommandError::owned(text))
        };
        while !args.is_empty() {
            let more = args.left() > 1;
            if args.take("force") {
                options.force = true;
            } else if args.take("justid") {
                options.just_id = true;
            } else if more && args.take("idle") {
                let idle = number(args, "IDLE")?;
                options.delivered_ms = now.wrapping_sub(idle);
            } else if more && args.take("time") {
                options.delivered_ms = number(args, "TIME")?;
            } else if more && args.take("retrycount") {
                options.retry_count = u64::try_from(number(args, "RETRYCOUNT")?).ok();
            } else if more && args.take("lastid") {
                options.last_id = strict_id(args.bytes()?)?;
            } else {
                let word = args.bytes()?;
                return Err(CommandError::echoing(
                    "ERR Unrecognized XCLAIM option '",
                    word,
                    "'",
                ));
            }
        }
        // A master's clock may be ahead.
        let latest = if ctx.client.must_obey() {
            i64::MAX
        } else {
            now
        };
        if !(0..=latest).contains(&options.delivered_ms) {
            options.delivered_ms = now;
        }
        Ok(options)
    }
}

/// A group's consumer, made if it is not there; seen now. And whether it was made.
pub(super) fn seen_consumer(
    group: &mut StreamGroup,
    domain: &mut Domain,
    name: &[u8],
    now: UnixMs,
) -> Option<(ConsumerKey, bool)> {
    if let Some(consumer) = group.find_consumer(name) {
        group.update_consumer(domain, consumer, |consumer| consumer.seen_ms = now);
        return Some((consumer, false));
    }
    let made = group.add_consumer(domain, name, now, None)?;
    Some((made, true))
}

/// XCLAIM key group consumer min-idle-time id [id …] [IDLE ms] [TIME unix-ms] [RETRYCOUNT n] [FORCE] [JUSTID] [LASTID id].
/// Reply: an array of entries, or ids. Errors: WRONGTYPE, NOGROUP, invalid numbers and ids, unrecognized option.
/// Propagates: XCLAIM for each entry, or XGROUP SETID. O(ids · log pending).
fn xclaim(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name, consumer_name) = (args.key()?, args.bytes()?, args.bytes()?);
    let now = ctx.now();
    check_group(ctx, key, name)?;
    let options = ClaimOptions::parse(ctx, args)?;
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Stream)? else {
        return Err(no_key_or_group(key.bytes, name, ""));
    };
    let (mut stream, reply) = (StreamMut::new(body), &mut ctx.client.reply);
    let moved = stream.group(name, |group, _| {
        let moved = options.last_id > group.last_id;
        group.last_id = group.last_id.max(options.last_id);
        moved.then_some((group.last_id, group.entries_read))
    });
    let (mut claimer, made) = Claimer::new(stream, name, consumer_name, now)?;
    let (mark, mut replied) = (reply.begin_array(), 0);
    for &id in &options.ids {
        if claimer.claim(id, &options) {
            claimer.push_entry(reply, id, options.just_id);
            replied += 1;
        }
    }
    reply.end_array(mark, replied);
    let claims = std::mem::take(&mut claimer.claims);
    drop(claimer);
    // Told on its own only where no claim tells it.
    let moved = moved.flatten().filter(|_| claims.is_empty());
    ctx.engine.dirty += claims.len() as u64 + u64::from(moved.is_some());
    if made {
        consumer_made(ctx, key.bytes);
    }
    if !claims.is_empty() {
        let past = options.delivered_ms < now;
        ctx.engine.signal_claimers(ctx.client.db, key.bytes, past);
    }
    replicate_claims(ctx, key.bytes, name, consumer_name, &claims);
    if let Some((last_id, entries_read)) = moved {
        replicate_progress(ctx, key.bytes, name, last_id, entries_read);
    }
    Ok(())
}

fn check_group(ctx: &mut Context<'_>, key: Key<'_>, name: &[u8]) -> Result<(), CommandError> {
    let group = find(ctx, key)?.and_then(|stream| stream.group(name));
    let missing = || no_key_or_group(key.bytes, name, "");
    group.map(|_| ()).ok_or_else(missing)
}

/// Numbers of consumers are not used again.
pub(super) const TOO_MANY_CONSUMERS: CommandError =
    CommandError::text("ERR too many consumers were made in this group");

/// A consumer that takes entries of its group over.
struct Claimer<'a> {
    stream: StreamMut<'a>,
    group: &'a [u8],
    consumer: ConsumerKey,
    now: UnixMs,
    /// What was taken over, or released as its stream has it no more.
    claims: Vec<Claim>,
}

impl<'a> Claimer<'a> {
    /// The consumer of a group that is there, made if need be; and whether it was made.
    fn new(
        mut stream: StreamMut<'a>,
        group: &'a [u8],
        consumer: &[u8],
        now: UnixMs,
    ) -> Result<(Claimer<'a>, bool), CommandError> {
        let seen = stream.group(group, |group, domain| {
            seen_consumer(group, domain, consumer, now)
        });
        let (consumer, made) = seen.flatten().ok_or(TOO_MANY_CONSUMERS)?;
        let claimer = Claimer {
            stream,
            group,
            consumer,
            now,
            claims: Vec::new(),
        };
        Ok((claimer, made))
    }

    /// XCLAIM's step; whether the entry is the consumer's now.
    fn claim(&mut self, id: StreamId, options: &ClaimOptions) -> bool {
        self.change(id, |group, now| {
            let pending = group.pending(id);
            let idle = match pending {
                Some(pending) => pending.idle_ms(now),
                None if options.force => i64::MAX,
                None => return None,
            };
            let count = match (options.retry_count, pending) {
                _ if options.min_idle_ms > 0 && idle < options.min_idle_ms => return None,
                (Some(count), _) => count,
                (None, None) => 1 + u64::from(!options.just_id),
                (None, Some(pending)) if options.just_id => pending.count,
                (None, Some(pending)) => pending.next_count(),
            };
            Some((options.delivered_ms, count))
        })
    }

    /// XAUTOCLAIM's step.
    fn claim_idle(&mut self, pending: Pending, min_idle_ms: i64, just_id: bool) {
        self.change(pending.id, |_, now| {
            let is_idle = min_idle_ms == 0 || pending.idle_ms(now) >= min_idle_ms;
            let count = match just_id {
                true => pending.count,
                false => pending.next_count(),
            };
            is_idle.then_some((now, count))
        });
    }

    /// Takes an entry over as `decide` says: when it counts as delivered, and how often. One that the stream has no more is
    /// released.
    fn change(
        &mut self,
        id: StreamId,
        decide: impl FnOnce(&StreamGroup, UnixMs) -> Option<(UnixMs, u64)>,
    ) -> bool {
        let exists = self.stream.get().get(id).is_some();
        let (consumer, now) = (self.consumer, self.now);
        let claim = self.stream.group(self.group, |group, domain| {
            if !exists {
                return release_gone(group, domain, id);
            }
            let (delivered_ms, count) = decide(group, now)?;
            group.assign(domain, consumer, id, delivered_ms, count);
            group.update_consumer(domain, consumer, |consumer| consumer.active_ms = Some(now));
            Some(Claim {
                id,
                consumer: None,
                delivered_ms,
                count,
                last_id: group.last_id,
            })
        });
        let claim = claim.flatten();
        let is_taken = claim.as_ref().is_some_and(Claim::is_taken);
        self.claims.extend(claim);
        is_taken
    }

    /// An entry that was taken over, or its id.
    fn push_entry(&self, reply: &mut Reply, id: StreamId, just_id: bool) {
        match self.stream.get().get(id) {
            Some(record) if !just_id => push_record(reply, &record),
            _ => push_id(reply, id),
        }
    }
}

/// A pending entry whose stream has it no more is released.
pub(super) fn release_gone(
    group: &mut StreamGroup,
    domain: &mut Domain,
    id: StreamId,
) -> Option<Claim> {
    let pending = *group.pending(id)?;
    let owner = group.consumer(group.consumer_of(&pending)).name.clone();
    group.release(domain, id);
    Some(Claim {
        id,
        consumer: Some(owner),
        delivered_ms: pending.delivered_ms,
        count: pending.count,
        last_id: group.last_id,
    })
}

/// XAUTOCLAIM key group consumer min-idle-time start [COUNT n] [JUSTID]. Reply: where to go on (0-0: at the beginning), an
/// array of entries or ids, and the ids that were no entries any more. Errors: WRONGTYPE, NOGROUP, invalid numbers and
/// ids, syntax error. Propagates: XCLAIM for each entry. O(entries looked at).
fn xautoclaim(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name, consumer_name) = (args.key()?, args.bytes()?, args.bytes()?);
    let error = CommandError::text("ERR Invalid min-idle-time argument for XAUTOCLAIM");
    let min_idle_ms = args.int_in(i64::MIN, i64::MAX, error)?.max(0);
    let start = interval_start(args.bytes()?)?;
    let (mut most, mut just_id) = (100, false);
    while !args.is_empty() {
        if args.left() > 1 && args.take("count") {
            let error = CommandError::text("ERR COUNT must be > 0");
            most = args.int_in(1, AUTOCLAIM_COUNT_MAX, error)? as u64;
        } else if args.take("justid") {
            just_id = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let now = ctx.now();
    check_group(ctx, key, name)?;
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Stream)? else {
        return Err(no_key_or_group(key.bytes, name, ""));
    };
    let (stream, reply) = (StreamMut::new(body), &mut ctx.client.reply);
    let (mut claimer, made) = Claimer::new(stream, name, consumer_name, now)?;
    let upcoming = |claimer: &Claimer<'_>, from: Option<StreamId>| {
        let group = claimer.stream.get().group(name)?;
        group.pending_from(from?).next().copied()
    };
    let mut attempts = most * ATTEMPTS;
    let mut next = upcoming(&claimer, Some(start));
    while let Some(pending) = next
        && attempts > 0
        && (claimer.claims.len() as u64) < most
    {
        attempts -= 1;
        claimer.claim_idle(pending, min_idle_ms, just_id);
        next = upcoming(&claimer, pending.id.next());
    }
    let taken = claimer.claims.iter().filter(|claim| claim.is_taken());
    let gone = claimer.claims.iter().filter(|claim| !claim.is_taken());
    reply.array(3);
    push_id(reply, next.map_or(StreamId::MIN, |pending| pending.id));
    reply.array(taken.clone().count());
    taken.for_each(|claim| claimer.push_entry(reply, claim.id, just_id));
    reply.array(gone.clone().count());
    gone.for_each(|claim| push_id(reply, claim.id));
    let claims = std::mem::take(&mut claimer.claims);
    drop(claimer);
    ctx.engine.dirty += claims.len() as u64;
    if made {
        consumer_made(ctx, key.bytes);
    }
    replicate_claims(ctx, key.bytes, name, consumer_name, &claims);
    Ok(())
}
