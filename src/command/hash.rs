//! Hashes.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::string::bulk_string;
use super::*;
use crate::config::Config;
use crate::container::Pack;
use crate::engine::EventClass;
use crate::keyspace::Key;
use crate::types::{HashMut, HashRef, Kind, Limits, Value};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("hdel", -3, hdel)
        .flags(WRITE | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::Hash,
            "2.0.0",
            "O(N) where N is the number of fields to be removed",
            "Deletes fields of a hash, and the hash with its last field.",
        )
        .syntax("key field [field ...]")
        .history(&[("2.4.0", "Accepts multiple `field` arguments.")]),
    Command::new("hexists", 3, hexists)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO)])
        .doc(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Tells whether a hash has a field.",
        )
        .syntax("key field"),
    Command::new("hget", 3, hget)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Reads the value of a field of a hash.",
        )
        .syntax("key field"),
    Command::new("hgetall", 2, hgetall)
        .flags(READONLY)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Hash,
            "2.0.0",
            "O(N) where N is the size of the hash",
            "Reads all fields of a hash with their values.",
        )
        .syntax("key")
        .tips(&["nondeterministic_output_order"]),
    Command::new("hlen", 2, hlen)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO)])
        .doc(Group::Hash, "2.0.0", "O(1)", "Counts the fields of a hash.")
        .syntax("key"),
    Command::new("hset", -4, hset)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::Hash,
            "2.0.0",
            "O(1) for each field",
            "Sets fields of a hash, which is created if need be.",
        )
        .syntax("key field value [field value ...]")
        .history(&[("4.0.0", "Accepts multiple `field` and `value` arguments.")]),
];

/// A new hash.
const EMPTY: Value<'_> = Value::Packed(Kind::Hash, &Pack::EMPTY, false);

/// Bounds of a small hash.
fn limits(config: &Config) -> Limits {
    Limits::of(
        config.hash_max_listpack_entries,
        config.hash_max_listpack_value,
    )
}

/// After fields went: an empty hash goes too.
fn removed(ctx: &mut Context<'_>, key: Key<'_>, event: &'static str, empty: bool) {
    if empty {
        ctx.engine.keyspace.remove(ctx.client.db, key);
    }
    ctx.changed(key.bytes, EventClass::Hash, event);
    if empty {
        let db = ctx.client.db;
        ctx.engine.notify(EventClass::Generic, "del", key.bytes, db);
    }
}

/// HSET key field value [field value …]. Reply: how many fields are new. Errors: WRONGTYPE. O(fields).
fn hset(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    if !args.left().is_multiple_of(2) {
        return Err(ctx.wrong_arity());
    }
    let limits = limits(&ctx.engine.config);
    let (body, new) = ctx.engine.body_or_new(ctx.client, key, EMPTY)?;
    let mut hash = HashMut::new(body, limits);
    let (mut added, fields) = (0, args.left() / 2);
    while !args.is_empty() {
        added += i64::from(hash.set(args.bytes()?, args.bytes()?));
    }
    drop(hash);
    if new {
        ctx.created(ctx.client.db, key.bytes);
    }
    ctx.changed(key.bytes, EventClass::Hash, "hset");
    ctx.engine.dirty += fields as u64 - 1;
    ctx.reply().int(added);
    Ok(())
}

/// HDEL key field [field …]. Reply: how many fields were there. Errors: WRONGTYPE. O(fields).
fn hdel(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let limits = limits(&ctx.engine.config);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Hash)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let (mut hash, mut count) = (HashMut::new(body, limits), 0);
    while !args.is_empty() && !hash.get().is_empty() {
        count += i64::from(hash.remove(args.bytes()?));
    }
    let empty = hash.get().is_empty();
    drop(hash);
    if count > 0 {
        removed(ctx, key, "hdel", empty);
        ctx.engine.dirty += count as u64 - 1;
    }
    ctx.reply().int(count);
    Ok(())
}

/// HGET key field. Reply: the value or null. Errors: WRONGTYPE. O(1).
fn hget(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, field) = (args.key()?, args.bytes()?);
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Hash)?;
    let reply = &mut ctx.client.reply;
    match found.and_then(|entry| HashRef::of(entry).get(field)) {
        Some(value) => bulk_string(reply, value),
        None => reply.null(),
    }
    Ok(())
}

/// HEXISTS key field. Reply: 1 or 0. Errors: WRONGTYPE. O(1).
fn hexists(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, field) = (args.key()?, args.bytes()?);
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Hash)?;
    let exists = found.is_some_and(|entry| HashRef::of(entry).get(field).is_some());
    ctx.reply().int(i64::from(exists));
    Ok(())
}

/// HLEN key. Reply: the number of fields. Errors: WRONGTYPE. O(1).
fn hlen(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Hash)?;
    let len = found.map_or(0, |entry| HashRef::of(entry).len());
    ctx.reply().int(len as i64);
    Ok(())
}

/// HGETALL key. Reply: a map of fields and values. Errors: WRONGTYPE. O(fields).
fn hgetall(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let found = ctx.engine.read_kind(ctx.client, key, Kind::Hash)?;
    let reply = &mut ctx.client.reply;
    let Some(entry) = found else {
        reply.map(0);
        return Ok(());
    };
    let hash = HashRef::of(entry);
    reply.map(hash.len());
    hash.for_each(|field, value| {
        bulk_string(reply, field);
        bulk_string(reply, value);
    });
    Ok(())
}
