//! Single keys whatever their type: DEL, EXISTS, TYPE, RENAME, COPY, MOVE. Deadlines are in `expire.rs`, whole
//! databases in `database.rs`, OBJECT, DUMP and RESTORE in `object.rs`.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::base::num;
use crate::engine::{ClientFlags, EventClass};
use crate::keyspace::Key;
use crate::types::Entry;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("copy", -3, copy)
        .flags(WRITE | DENYOOM)
        .categories(CAT_KEYSPACE)
        .keys(&[
            KeySpec::range(1, 0, 1, RO | ACCESS),
            KeySpec::range(2, 0, 1, OW | UPDATE),
        ])
        .doc(
            Group::Generic,
            "6.2.0",
            "O(1) for strings; O(N) for collections of N elements",
            "Copies the value of a key to another key.",
        )
        .syntax("source destination [DB destination-db] [REPLACE]"),
    Command::new("del", -2, del)
        .flags(WRITE)
        .categories(CAT_KEYSPACE)
        .keys(&[KeySpec::range(1, -1, 1, RM | DELETE)])
        .doc(
            Group::Generic,
            "1.0.0",
            "O(N) where N is the number of keys",
            "Deletes keys.",
        )
        .syntax("key [key ...]")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    Command::new("exists", -2, exists)
        .flags(READONLY | FAST)
        .categories(CAT_KEYSPACE)
        .keys(&[KeySpec::range(1, -1, 1, RO)])
        .doc(
            Group::Generic,
            "1.0.0",
            "O(N) where N is the number of keys",
            "Counts how many of the keys exist.",
        )
        .syntax("key [key ...]")
        .history(&[("3.0.3", "Accepts multiple `key` arguments.")])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    Command::new("move", 3, move_key)
        .flags(WRITE | FAST)
        .categories(CAT_KEYSPACE)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Moves a key to another database.",
        )
        .syntax("key db"),
    Command::new("rename", 3, rename)
        .flags(WRITE)
        .categories(CAT_KEYSPACE)
        .keys(&[
            KeySpec::range(1, 0, 1, RW | ACCESS | DELETE),
            KeySpec::range(2, 0, 1, OW | UPDATE),
        ])
        .doc(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Gives a key another name; a key of that name is overwritten.",
        )
        .syntax("key newkey"),
    Command::new("renamenx", 3, renamenx)
        .flags(WRITE | FAST)
        .categories(CAT_KEYSPACE)
        .keys(&[
            KeySpec::range(1, 0, 1, RW | ACCESS | DELETE),
            KeySpec::range(2, 0, 1, OW | INSERT),
        ])
        .doc(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Gives a key another name unless a key of that name exists.",
        )
        .syntax("key newkey")
        .history(&[(
            "3.2.0",
            "The command no longer returns an error when source and destination names are the same.",
        )]),
    Command::new("touch", -2, touch)
        .flags(READONLY | FAST)
        .categories(CAT_KEYSPACE)
        .keys(&[KeySpec::range(1, -1, 1, RO)])
        .doc(
            Group::Generic,
            "3.2.1",
            "O(N) where N is the number of keys",
            "Marks keys as just used and counts those that exist.",
        )
        .syntax("key [key ...]")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    Command::new("type", 2, type_of)
        .flags(READONLY | FAST)
        .categories(CAT_KEYSPACE)
        .keys(&[KeySpec::first(RO)])
        .doc(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Returns the type of the value that a key holds.",
        )
        .syntax("key"),
    Command::new("unlink", -2, del)
        .flags(WRITE | FAST)
        .categories(CAT_KEYSPACE)
        .keys(&[KeySpec::range(1, -1, 1, RM | DELETE)])
        .doc(
            Group::Generic,
            "4.0.0",
            "O(1) for each key; the memory is freed in another thread",
            "Deletes keys and frees large values in the background.",
        )
        .syntax("key [key ...]")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
];

/// TYPE's name of the value's type.
pub(super) fn type_name(entry: &Entry) -> &'static str {
    entry.kind().name()
}

/// DEL key [key …] and UNLINK key [key …]. Reply: how many existed. Large values are freed by a helper in
/// either case. O(keys).
fn del(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let db = ctx.client.db;
    let mut deleted = 0;
    while !args.is_empty() {
        let window = ctx.key_window(args, 1);
        for &key in window.keys() {
            ctx.engine.drop_due(ctx.client, key);
            if ctx.engine.keyspace.remove(db, key) {
                ctx.changed(key.bytes, EventClass::Generic, "del");
                deleted += 1;
            }
        }
        args.skip(window.keys().len());
    }
    ctx.reply().int(deleted);
    Ok(())
}

/// EXISTS key [key …]. Reply: how many exist; a key given twice counts twice. O(keys).
fn exists(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut count = 0;
    while !args.is_empty() {
        let window = ctx.key_window(args, 1);
        for &key in window.keys() {
            count += i64::from(ctx.peek(key).is_some());
        }
        args.skip(window.keys().len());
    }
    ctx.reply().int(count);
    Ok(())
}

/// TOUCH key [key …]. Reply: how many exist. Touches under CLIENT NO-TOUCH too. O(keys).
fn touch(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut count = 0;
    let spares = ctx.client.is(ClientFlags::NO_TOUCH);
    ctx.client.flags.remove(ClientFlags::NO_TOUCH);
    while !args.is_empty() {
        let key = args.key()?;
        count += i64::from(ctx.read(key).is_some());
    }
    ctx.client.flags.set(ClientFlags::NO_TOUCH, spares);
    ctx.reply().int(count);
    Ok(())
}

/// TYPE key. Reply: the type's name, `none` when the key is absent. O(1).
fn type_of(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let name = ctx.peek(key).map_or("none", type_name);
    ctx.reply().simple(name);
    Ok(())
}

/// RENAME key newkey. Reply: OK. Errors: no such key. O(1).
fn rename(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (from, to) = (args.key()?, args.key()?);
    if ctx.write(from).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    if from.bytes != to.bytes {
        ctx.engine.drop_due(ctx.client, to);
        give_name(ctx, from, to);
    }
    ctx.reply().ok();
    Ok(())
}

/// RENAMENX key newkey. Reply: 1, or 0 when newkey exists. Errors: no such key. O(1).
fn renamenx(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (from, to) = (args.key()?, args.key()?);
    if ctx.write(from).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    let free = from.bytes != to.bytes && ctx.write(to).is_none();
    if free {
        give_name(ctx, from, to);
    }
    ctx.reply().int(i64::from(free));
    Ok(())
}

fn give_name(ctx: &mut Context<'_>, from: Key<'_>, to: Key<'_>) {
    let db = ctx.client.db;
    ctx.engine.keyspace.rename(db, from, db, to);
    ctx.created(db, to.bytes);
    ctx.changed(from.bytes, EventClass::Generic, "rename_from");
    ctx.changed_too(db, to.bytes, EventClass::Generic, "rename_to");
}

const SAME_OBJECT: CommandError =
    CommandError::text("ERR source and destination objects are the same");

/// A database number as COPY and MOVE read it.
fn database(ctx: &Context<'_>, number: &[u8]) -> Result<usize, CommandError> {
    let index = num::parse_i64(number).ok_or(CommandError::NotInteger)?;
    if i32::try_from(index).is_err() {
        return Err(CommandError::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    connection::database(ctx.engine.keyspace.count(), index)
}

/// COPY source destination [DB destination-db] [REPLACE]
/// Reply: 1, or 0 when source is absent or destination exists. Errors: syntax error, DB index is out of range,
/// source and destination objects are the same. O(1) for strings: large values are shared.
fn copy(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (from, to) = (args.key()?, args.key()?);
    let (db, mut to_db, mut replace) = (ctx.client.db, ctx.client.db, false);
    while !args.is_empty() {
        if args.take("replace") {
            replace = true;
        } else if args.left() >= 2 && args.take("db") {
            to_db = database(ctx, args.bytes()?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if db == to_db && from.bytes == to.bytes {
        return Err(SAME_OBJECT);
    }
    let copied = ctx.read(from).is_some()
        && (ctx.engine.write_in(ctx.client, to_db, to).is_none() || replace);
    if copied {
        ctx.engine.keyspace.copy(db, from, to_db, to);
        ctx.created(to_db, to.bytes);
        ctx.engine
            .changed(to_db, to.bytes, EventClass::Generic, "copy_to");
    }
    ctx.reply().int(i64::from(copied));
    Ok(())
}

/// MOVE key db. Reply: 1, or 0 when the key is absent here or exists there. Errors: not an integer, DB index is
/// out of range, source and destination objects are the same. O(1).
fn move_key(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, to_db) = (args.key()?, args.bytes()?);
    let (db, to_db) = (ctx.client.db, database(ctx, to_db)?);
    if db == to_db {
        return Err(SAME_OBJECT);
    }
    let moved = ctx.write(key).is_some() && ctx.engine.write_in(ctx.client, to_db, key).is_none();
    if moved {
        ctx.engine.keyspace.rename(db, key, to_db, key);
        ctx.created(to_db, key.bytes);
        ctx.changed(key.bytes, EventClass::Generic, "move_from");
        ctx.changed_too(to_db, key.bytes, EventClass::Generic, "move_to");
    }
    ctx.reply().int(i64::from(moved));
    Ok(())
}
