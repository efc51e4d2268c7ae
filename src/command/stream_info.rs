//! XINFO: what a stream, its groups and their consumers are.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::stream::{find, push_id, push_record, push_records};
use super::*;
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::types::stream::{Group as StreamGroup, Stream};
use crate::types::{Kind, StreamId};

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("xinfo", -2, container)
    .doc(
        Group::Stream,
        "5.0.0",
        "Depends on the subcommand",
        "Holds the commands that look into streams.",
    )
    .subcommands(&[
        LOOK.named("consumers", consumers)
            .arity(4)
            .doc(
                Group::Stream,
                "5.0.0",
                "O(N) where N is the number of consumers",
                "Lists the consumers of a group.",
            )
            .syntax("key group")
            .history(&[(
                "7.2.0",
                "Added the `inactive` field, and changed the meaning of `idle`.",
            )])
            .tips(&["nondeterministic_output"]),
        LOOK.named("groups", groups)
            .arity(3)
            .doc(
                Group::Stream,
                "5.0.0",
                "O(N) where N is the number of groups",
                "Lists the groups of a stream.",
            )
            .syntax("key")
            .history(&[("7.0.0", "Added the `entries-read` and `lag` fields")]),
        Command::new("help", 2, help)
            .flags(LOADING | STALE)
            .categories(CAT_STREAM)
            .doc(
                Group::Stream,
                "5.0.0",
                "O(1)",
                "Describes the subcommands.",
            ),
        LOOK.named("stream", stream)
            .doc(
                Group::Stream,
                "5.0.0",
                "O(B) where B is the number of blocks, with FULL and N for what is listed",
                "Describes a stream.",
            )
            .syntax("key [FULL [COUNT count]]{=full-block}")
            .history(&[
                ("6.0.0", "Added the `FULL` modifier."),
                (
                    "7.0.0",
                    "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields",
                ),
                (
                    "7.2.0",
                    "Added the `active-time` field, and changed the meaning of `seen-time`.",
                ),
            ]),
    ])];

/// What the subcommands have in common.
const LOOK: Command = Command::new("stream", -3, stream)
    .flags(READONLY)
    .categories(CAT_STREAM)
    .keys(&[KeySpec::range(2, 0, 1, RO | ACCESS)]);

/// XINFO FULL lists so many entries by default.
const FULL_COUNT: i64 = 10;

fn existing<'e>(ctx: &'e mut Context<'_>, key: Key<'_>) -> Result<&'e Stream, CommandError> {
    find(ctx, key)?.ok_or(CommandError::NoSuchKey)
}

/// A number, or null where it is not known.
fn push_known(reply: &mut Reply, number: Option<i64>) {
    match number {
        Some(number) => reply.int(number),
        None => reply.null(),
    }
}

/// XINFO CONSUMERS key group. Reply: an array of maps. Errors: WRONGTYPE, no such key, NOGROUP.
fn consumers(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, name) = (args.key()?, args.bytes()?);
    let now = ctx.now();
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Stream)?;
    let stream = found.map(Stream::of).ok_or(CommandError::NoSuchKey)?;
    let Some(group) = stream.group(name) else {
        return Err(super::stream_group::no_such_group(name, key.bytes));
    };
    let reply = &mut ctx.client.reply;
    reply.array(group.consumer_count() as usize);
    for (_, consumer) in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(&consumer.name);
        reply.bulk(b"pending");
        reply.int(consumer.pending_count() as i64);
        reply.bulk(b"idle");
        reply.int(now.saturating_sub(consumer.seen_ms).max(0));
        reply.bulk(b"inactive");
        let inactive = consumer
            .active_ms
            .map_or(-1, |active| now.saturating_sub(active).max(0));
        reply.int(inactive);
    }
    Ok(())
}

/// XINFO GROUPS key. Reply: an array of maps. Errors: WRONGTYPE, no such key.
fn groups(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Stream)?;
    let stream = found.map(Stream::of).ok_or(CommandError::NoSuchKey)?;
    let reply = &mut ctx.client.reply;
    let groups = stream.groups();
    reply.array(groups.len());
    for group in groups {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(&group.name);
        reply.bulk(b"consumers");
        reply.int(group.consumer_count() as i64);
        reply.bulk(b"pending");
        reply.int(group.pending_count() as i64);
        push_progress(reply, stream, group);
    }
    Ok(())
}

fn push_progress(reply: &mut Reply, stream: &Stream, group: &StreamGroup) {
    reply.bulk(b"last-delivered-id");
    push_id(reply, group.last_id);
    reply.bulk(b"entries-read");
    push_known(reply, group.entries_read.map(|read| read as i64));
    reply.bulk(b"lag");
    push_known(reply, stream.lag_of(group));
}

/// XINFO STREAM key [FULL [COUNT n]]. Reply: a map. Errors: WRONGTYPE, no such key, wrong arguments.
fn stream(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    existing(ctx, key)?;
    let syntax = CommandError::subcommand_syntax("xinfo", args.at(1));
    let full = !args.is_empty();
    let mut count = FULL_COUNT;
    if full {
        if !matches!(args.left(), 1 | 3) || !args.take("full") {
            return Err(syntax);
        }
        if !args.is_empty() {
            if !args.take("count") {
                return Err(syntax);
            }
            count = match args.int()? {
                count @ 0.. => count,
                _ => FULL_COUNT,
            };
        }
    }
    let bytes_max = ctx.reply_bytes_max();
    let Some(entry) = ctx.engine.keyspace.find(ctx.client.db, key) else {
        return Err(CommandError::NoSuchKey);
    };
    let (stream, reply) = (Stream::of(entry), &mut ctx.client.reply);
    reply.map(if full { 9 } else { 10 });
    push_facts(reply, stream);
    let all = || stream.range(StreamId::MIN, StreamId::MAX);
    let most = match count {
        0 => usize::MAX,
        count => count as usize,
    };
    if full {
        reply.bulk(b"entries");
        push_records(reply, all().take(most), bytes_max);
        reply.bulk(b"groups");
        let groups = stream.groups();
        reply.array(groups.len());
        groups.for_each(|group| push_full_group(reply, stream, group, most));
        return Ok(());
    }
    reply.bulk(b"groups");
    reply.int(stream.groups().len() as i64);
    let last = stream.range_back(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [("first-entry", all().next()), ("last-entry", last)] {
        reply.bulk(name.as_bytes());
        match entry {
            Some(record) => push_record(reply, &record),
            None => reply.null(),
        }
    }
    Ok(())
}

/// The seven facts that both forms begin with.
fn push_facts(reply: &mut Reply, stream: &Stream) {
    let meta = stream.meta();
    reply.bulk(b"length");
    reply.int(meta.length as i64);
    reply.bulk(b"radix-tree-keys");
    reply.int(stream.block_count() as i64);
    reply.bulk(b"radix-tree-nodes");
    reply.int(stream.radix_nodes() as i64);
    reply.bulk(b"last-generated-id");
    push_id(reply, meta.last_id);
    reply.bulk(b"max-deleted-entry-id");
    push_id(reply, meta.max_deleted_id);
    reply.bulk(b"entries-added");
    reply.int(meta.entries_added as i64);
    reply.bulk(b"recorded-first-entry-id");
    push_id(reply, meta.first_id);
}

fn push_full_group(reply: &mut Reply, stream: &Stream, group: &StreamGroup, most: usize) {
    reply.map(7);
    reply.bulk(b"name");
    reply.bulk(&group.name);
    push_progress(reply, stream, group);
    reply.bulk(b"pel-count");
    reply.int(group.pending_count() as i64);
    reply.bulk(b"pending");
    let pending = group.pending_from(StreamId::MIN).take(most);
    reply.array(pending.len());
    for pending in pending {
        reply.array(4);
        push_id(reply, pending.id);
        reply.bulk(&group.consumer(group.consumer_of(pending)).name);
        reply.int(pending.delivered_ms);
        reply.int(pending.count as i64);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumer_count() as usize);
    for (_, consumer) in group.consumers() {
        reply.map(5);
        reply.bulk(b"name");
        reply.bulk(&consumer.name);
        reply.bulk(b"seen-time");
        reply.int(consumer.seen_ms);
        reply.bulk(b"active-time");
        reply.int(consumer.active_ms.unwrap_or(-1));
        reply.bulk(b"pel-count");
        reply.int(consumer.pending_count() as i64);
        reply.bulk(b"pending");
        let ids = consumer.pending_from(StreamId::MIN).take(most);
        reply.array(ids.len());
        for pending in ids.filter_map(|id| group.pending(*id)) {
            reply.array(3);
            push_id(reply, pending.id);
            reply.int(pending.delivered_ms);
            reply.int(pending.count as i64);
        }
    }
}

/// XINFO HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
    ]);
    Ok(())
}
