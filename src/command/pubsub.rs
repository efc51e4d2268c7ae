//! Publish/subscribe: (P|S)SUBSCRIBE, (P|S)UNSUBSCRIBE, (S)PUBLISH, PUBSUB. The subscriptions and the way of a message are
//! the engine's (`engine/pubsub.rs`).
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use std::sync::Arc;

use super::*;
use crate::engine::{ClientFlags, LinkId, PubSub, Subscriptions, hears};
use crate::resp::reply::Reply;

const SUBSCRIBING: u32 = PUBSUB | NOSCRIPT | LOADING | STALE | WHEN_SUBSCRIBED;
const PUBLISHING: u32 = PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE;
const LOOKING: u32 = PUBSUB | LOADING | STALE;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("subscribe", -2, subscribe)
        .flags(SUBSCRIBING)
        .doc(
            Group::Pubsub,
            "2.0.0",
            "O(N) where N is the number of channels.",
            "Subscribes to channels.",
        )
        .syntax("channel [channel ...]"),
    Command::new("unsubscribe", -1, unsubscribe)
        .flags(SUBSCRIBING)
        .doc(
            Group::Pubsub,
            "2.0.0",
            "O(N) where N is the number of channels.",
            "Ends subscriptions to channels.",
        )
        .syntax("[channel [channel ...]]"),
    Command::new("psubscribe", -2, psubscribe)
        .flags(SUBSCRIBING)
        .doc(
            Group::Pubsub,
            "2.0.0",
            "O(N) where N is the number of patterns.",
            "Subscribes to all channels that match patterns.",
        )
        .syntax("pattern [pattern ...]"),
    Command::new("punsubscribe", -1, punsubscribe)
        .flags(SUBSCRIBING)
        .doc(
            Group::Pubsub,
            "2.0.0",
            "O(N) where N is the number of patterns.",
            "Ends subscriptions to patterns of channels.",
        )
        .syntax("[pattern [pattern ...]]"),
    Command::new("ssubscribe", -2, ssubscribe)
        .flags(SUBSCRIBING)
        .keys(&[KeySpec::range(1, -1, 1, NOT_KEY)])
        .doc(
            Group::Pubsub,
            "7.0.0",
            "O(N) where N is the number of shard channels.",
            "Subscribes to shard channels.",
        )
        .syntax("shardchannel [shardchannel ...]"),
    Command::new("sunsubscribe", -1, sunsubscribe)
        .flags(SUBSCRIBING)
        .keys(&[KeySpec::range(1, -1, 1, NOT_KEY)])
        .doc(
            Group::Pubsub,
            "7.0.0",
            "O(N) where N is the number of shard channels.",
            "Ends subscriptions to shard channels.",
        )
        .syntax("[shardchannel [shardchannel ...]]"),
    Command::new("publish", 3, publish)
        .flags(PUBLISHING)
        .doc(
            Group::Pubsub,
            "2.0.0",
            "O(N+M) where N is the number of the channel's subscribers and M that of all patterns subscribed to.",
            "Sends a message to a channel.",
        )
        .syntax("channel message"),
    Command::new("spublish", 3, spublish)
        .flags(PUBLISHING)
        .keys(&[KeySpec::first(NOT_KEY)])
        .doc(
            Group::Pubsub,
            "7.0.0",
            "O(N) where N is the number of the shard channel's subscribers.",
            "Sends a message to a shard channel.",
        )
        .syntax("shardchannel message"),
    Command::new("pubsub", -2, container)
        .doc(
            Group::Pubsub,
            "2.8.0",
            "Depends on subcommand.",
            "A container for commands that look at publish/subscribe.",
        )
        .subcommands(&[
            Command::new("channels", -2, channels)
                .flags(LOOKING)
                .doc(
                    Group::Pubsub,
                    "2.8.0",
                    "O(N) where N is the number of channels subscribed to.",
                    "Returns the channels that have subscribers.",
                )
                .syntax("[pattern]"),
            Command::new("numsub", -2, numsub)
                .flags(LOOKING)
                .doc(
                    Group::Pubsub,
                    "2.8.0",
                    "O(N) where N is the number of channels asked for.",
                    "Returns the numbers of subscribers to channels.",
                )
                .syntax("[channel [channel ...]]"),
            Command::new("numpat", 2, numpat).flags(LOOKING).doc(
                Group::Pubsub,
                "2.8.0",
                "O(1)",
                "Returns the number of patterns that have subscribers.",
            ),
            Command::new("shardchannels", -2, shardchannels)
                .flags(LOOKING)
                .doc(
                    Group::Pubsub,
                    "7.0.0",
                    "O(N) where N is the number of shard channels subscribed to.",
                    "Returns the shard channels that have subscribers.",
                )
                .syntax("[pattern]"),
            Command::new("shardnumsub", -2, shardnumsub)
                .flags(LOOKING)
                .doc(
                    Group::Pubsub,
                    "7.0.0",
                    "O(N) where N is the number of shard channels asked for.",
                    "Returns the numbers of subscribers to shard channels.",
                )
                .syntax("[shardchannel [shardchannel ...]]"),
            Command::new("help", 2, help).flags(LOADING | STALE).doc(
                Group::Pubsub,
                "6.2.0",
                "O(1)",
                "Returns help about the subcommands.",
            ),
        ]),
];

/// A kind of subscription, as its commands go about it.
struct Kind {
    /// What confirms a subscription.
    begun: &'static [u8],
    /// What confirms its end.
    ended: &'static [u8],
    of: fn(&mut PubSub) -> &mut Subscriptions,
    /// The count that confirmations tell.
    count: fn(&PubSub, LinkId) -> usize,
}

const CHANNELS: Kind = Kind {
    begun: b"subscribe",
    ended: b"unsubscribe",
    of: |pubsub| &mut pubsub.channels,
    count: PubSub::count_of,
};

const PATTERNS: Kind = Kind {
    begun: b"psubscribe",
    ended: b"punsubscribe",
    of: |pubsub| &mut pubsub.patterns,
    count: PubSub::count_of,
};

const SHARD_CHANNELS: Kind = Kind {
    begun: b"ssubscribe",
    ended: b"sunsubscribe",
    of: |pubsub| &mut pubsub.shard_channels,
    count: |pubsub, link| pubsub.shard_channels.count_of(link),
};

/// SUBSCRIBE channel [channel …]. Reply: a push for each: `subscribe`, the channel, the number of channels and patterns
/// that the client has subscribed to. O(1) a channel.
fn subscribe(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    begin(ctx, args, &CHANNELS)
}

/// UNSUBSCRIBE [channel …]. Reply: a push for each: `unsubscribe`, the channel, the number of channels and patterns left.
/// Without arguments of all channels; of null when there is none. O(1) a channel.
fn unsubscribe(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    end(ctx, args, &CHANNELS)
}

/// PSUBSCRIBE pattern [pattern …]. As SUBSCRIBE, to the channels that match.
fn psubscribe(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    begin(ctx, args, &PATTERNS)
}

/// PUNSUBSCRIBE [pattern …]. As UNSUBSCRIBE.
fn punsubscribe(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    end(ctx, args, &PATTERNS)
}

/// SSUBSCRIBE shardchannel [shardchannel …]. As SUBSCRIBE; the number is that of shard channels. Errors: in a
/// transaction.
fn ssubscribe(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if ctx.client.is(ClientFlags::IN_EXEC) {
        return Err(CommandError::text(
            "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        ));
    }
    begin(ctx, args, &SHARD_CHANNELS)
}

/// SUNSUBSCRIBE [shardchannel …]. As UNSUBSCRIBE; the number is that of shard channels.
fn sunsubscribe(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    end(ctx, args, &SHARD_CHANNELS)
}

fn begin(ctx: &mut Context<'_>, args: &mut Args<'_>, kind: &Kind) -> Result<(), CommandError> {
    let link = ctx.client.link;
    while !args.is_empty() {
        let name = args.bytes()?;
        (kind.of)(&mut ctx.engine.pubsub).subscribe(link, name);
        let count = (kind.count)(&ctx.engine.pubsub, link);
        confirm(ctx, kind.begun, Some(name), count);
    }
    settle(ctx);
    Ok(())
}

fn end(ctx: &mut Context<'_>, args: &mut Args<'_>, kind: &Kind) -> Result<(), CommandError> {
    if args.is_empty() {
        end_all(ctx, kind);
    }
    let link = ctx.client.link;
    while !args.is_empty() {
        let name = args.bytes()?;
        (kind.of)(&mut ctx.engine.pubsub).unsubscribe(link, name);
        let count = (kind.count)(&ctx.engine.pubsub, link);
        confirm(ctx, kind.ended, Some(name), count);
    }
    settle(ctx);
    Ok(())
}

fn end_all(ctx: &mut Context<'_>, kind: &Kind) {
    let link = ctx.client.link;
    let subscriptions = (kind.of)(&mut ctx.engine.pubsub);
    let names: Vec<Arc<[u8]>> = subscriptions.names_of(link).cloned().collect();
    subscriptions.leave(link);
    let others = (kind.count)(&ctx.engine.pubsub, link);
    if names.is_empty() {
        confirm(ctx, kind.ended, None, others);
    }
    for (index, name) in names.iter().enumerate() {
        let left = names.len() - 1 - index;
        confirm(ctx, kind.ended, Some(name), others + left);
    }
}

/// Tells the client of one subscription, even if it asked for no replies.
fn confirm(ctx: &mut Context<'_>, what: &[u8], name: Option<&[u8]>, count: usize) {
    if ctx.client.is(ClientFlags::MASTER) {
        return;
    }
    let protocol = ctx.client.reply.protocol();
    let silenced = ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP;
    let reply = match ctx.client.is(silenced) {
        true => &mut ctx.engine.outgoing.confirmed,
        false => &mut ctx.client.reply,
    };
    reply.set_protocol(protocol);
    reply.push(3);
    reply.bulk(what);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(count as i64);
}

/// Has the client be in or out of the subscribed state, as its subscriptions say.
fn settle(ctx: &mut Context<'_>) {
    let subscribed = ctx.engine.pubsub.has(ctx.client.link);
    ctx.client.flags.set(ClientFlags::PUBSUB, subscribed);
}

/// PUBLISH channel message. Reply: how many clients it was sent to, one for each subscription that it fits.
/// Propagates: itself, to replicas. O(subscribers + patterns).
fn publish(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (channel, message) = (args.bytes()?, args.bytes()?);
    let receivers = ctx.engine.publish(channel, message);
    ctx.engine.propagate(ctx.client.db, args.iter());
    ctx.reply().int(receivers as i64);
    Ok(())
}

/// SPUBLISH shardchannel message. As PUBLISH.
fn spublish(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (channel, message) = (args.bytes()?, args.bytes()?);
    let receivers = ctx.engine.publish_to_shard(channel, message);
    ctx.engine.propagate(ctx.client.db, args.iter());
    ctx.reply().int(receivers as i64);
    Ok(())
}

/// PUBSUB CHANNELS [pattern]. Reply: the channels that have subscribers, in order of the first subscription. Errors:
/// more than one pattern. O(channels).
fn channels(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let pattern = only_pattern(args)?;
    reply_names(&mut ctx.client.reply, &ctx.engine.pubsub.channels, pattern);
    Ok(())
}

/// PUBSUB SHARDCHANNELS [pattern]. As PUBSUB CHANNELS.
fn shardchannels(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let pattern = only_pattern(args)?;
    let subscriptions = &ctx.engine.pubsub.shard_channels;
    reply_names(&mut ctx.client.reply, subscriptions, pattern);
    Ok(())
}

fn only_pattern<'a>(args: &Args<'a>) -> Result<Option<&'a [u8]>, CommandError> {
    match args.left() {
        0 | 1 => Ok(args.peek()),
        _ => Err(CommandError::subcommand_syntax("pubsub", args.at(1))),
    }
}

fn reply_names(reply: &mut Reply, subscriptions: &Subscriptions, pattern: Option<&[u8]>) {
    let begun = reply.begin_array();
    let mut count = 0;
    for (name, _) in subscriptions.iter() {
        if pattern.is_none_or(|pattern| hears(pattern, name)) {
            reply.bulk(name);
            count += 1;
        }
    }
    reply.end_array(begun, count);
}

/// PUBSUB NUMSUB [channel …]. Reply: each channel and the number of its subscribers, those to patterns aside.
fn numsub(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    reply_counts(&mut ctx.client.reply, &ctx.engine.pubsub.channels, args)
}

/// PUBSUB SHARDNUMSUB [shardchannel …]. As PUBSUB NUMSUB.
fn shardnumsub(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let subscriptions = &ctx.engine.pubsub.shard_channels;
    reply_counts(&mut ctx.client.reply, subscriptions, args)
}

fn reply_counts(
    reply: &mut Reply,
    subscriptions: &Subscriptions,
    args: &mut Args<'_>,
) -> Result<(), CommandError> {
    reply.array(2 * args.left());
    while !args.is_empty() {
        let name = args.bytes()?;
        reply.bulk(name);
        reply.int(subscriptions.listeners(name).len() as i64);
    }
    Ok(())
}

/// PUBSUB NUMPAT. Reply: the number of patterns that have subscribers.
fn numpat(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let count = ctx.engine.pubsub.patterns.len() as i64;
    ctx.reply().int(count);
    Ok(())
}

/// PUBSUB HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "CHANNELS [<pattern>]",
        "    List the channels that have subscribers, and match <pattern>.",
        "NUMPAT",
        "    Count the patterns that have subscribers.",
        "NUMSUB [<channel> ...]",
        "    Count the subscribers of channels, those to patterns aside.",
        "SHARDCHANNELS [<pattern>]",
        "    List the shard channels that have subscribers, and match <pattern>.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Count the subscribers of shard channels.",
    ]);
    Ok(())
}
