//! Whole databases: DBSIZE, KEYS, SCAN, RANDOMKEY, FLUSHDB, FLUSHALL, SWAPDB.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::scan::{ScanOptions, Scanned};
use super::*;
use crate::base::glob;
use crate::engine::{Blocked, ClientFlags};
use crate::types::Entry;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("dbsize", 1, dbsize)
        .flags(READONLY | FAST)
        .categories(CAT_KEYSPACE)
        .doc(
            Group::Server,
            "1.0.0",
            "O(1)",
            "Counts the keys of the selected database.",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Command::new("flushall", -1, flushall)
        .flags(WRITE)
        .categories(CAT_KEYSPACE | CAT_DANGEROUS)
        .doc(
            Group::Server,
            "1.0.0",
            "O(1); the memory is freed in another thread",
            "Deletes all keys of all databases.",
        )
        .syntax("[ASYNC{@4.0.0} | SYNC{@6.2.0}]{=flush-type}")
        .history(&[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Command::new("flushdb", -1, flushdb)
        .flags(WRITE)
        .categories(CAT_KEYSPACE | CAT_DANGEROUS)
        .doc(
            Group::Server,
            "1.0.0",
            "O(1); the memory is freed in another thread",
            "Deletes all keys of the selected database.",
        )
        .syntax("[ASYNC{@4.0.0} | SYNC{@6.2.0}]{=flush-type}")
        .history(&[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Command::new("keys", 2, keys)
        .flags(READONLY)
        .categories(CAT_KEYSPACE | CAT_DANGEROUS)
        .doc(
            Group::Generic,
            "1.0.0",
            "O(N) where N is the number of keys in the database",
            "Returns the keys that match a pattern.",
        )
        .syntax("pattern")
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    Command::new("randomkey", 1, randomkey)
        .flags(READONLY | TOUCHES_ARBITRARY_KEYS)
        .categories(CAT_KEYSPACE)
        .doc(Group::Generic, "1.0.0", "O(1)", "Returns a random key.")
        .tips(&[
            "request_policy:all_shards",
            "response_policy:special",
            "nondeterministic_output",
        ]),
    Command::new("scan", -2, scan)
        .flags(READONLY | TOUCHES_ARBITRARY_KEYS)
        .categories(CAT_KEYSPACE)
        .doc(
            Group::Generic,
            "2.8.0",
            "O(1) for every call, O(N) for a whole iteration over N keys",
            "Iterates over the keys of the selected database.",
        )
        .syntax("cursor [MATCH pattern] [COUNT count] [TYPE type{@6.0.0}]")
        .history(&[("6.0.0", "Added the `TYPE` subcommand.")])
        .tips(&[
            "nondeterministic_output",
            "request_policy:special",
            "response_policy:special",
        ]),
    Command::new("swapdb", 3, swapdb)
        .flags(WRITE | FAST)
        .categories(CAT_KEYSPACE | CAT_DANGEROUS)
        .doc(
            Group::Server,
            "4.0.0",
            "O(N) where N is the number of watched keys",
            "Exchanges two databases.",
        )
        .syntax("index1 index2"),
];

/// Keys RANDOMKEY draws where due keys cannot be deleted, before it takes a due one.
const RANDOM_TRIES: usize = 100;

/// DBSIZE. Reply: the number of keys. O(1).
fn dbsize(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let db = ctx.client.db;
    let size = ctx.engine.database_size(db);
    ctx.reply().int(size as i64);
    Ok(())
}

/// FLUSHDB [ASYNC | SYNC]. Reply: OK. Propagates: as it came, even if the database was empty. O(watched keys).
fn flushdb(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let sync = flush_is_sync(ctx, args)?;
    let removed = ctx.engine.flush(Some(ctx.client.db));
    ctx.engine.dirty += removed;
    replicate_verbatim(ctx, args);
    reply_flushed(ctx, sync);
    Ok(())
}

/// FLUSHALL [ASYNC | SYNC]. As FLUSHDB, for all databases.
fn flushall(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let sync = flush_is_sync(ctx, args)?;
    let removed = ctx.engine.flush(None);
    ctx.engine.dirty += removed;
    replicate_verbatim(ctx, args);
    persistence::save_emptied(ctx);
    reply_flushed(ctx, sync);
    Ok(())
}

/// Whether the memory is to be free when the reply comes; lazyfree-lazy-user-flush says so without an option.
fn flush_is_sync(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<bool, CommandError> {
    let sync = match args.is_empty() {
        true => !ctx.engine.config.lazyfree_lazy_user_flush,
        false if args.take("async") => false,
        false if args.take("sync") => true,
        false => return Err(CommandError::Syntax),
    };
    args.end()?;
    Ok(sync)
}

/// In both modes the tables are gone at once and a helper frees them; with SYNC the reply waits for that, outside
/// transactions.
fn reply_flushed(ctx: &mut Context<'_>, sync: bool) {
    let keyspace = &ctx.engine.keyspace;
    let freed = keyspace.given_up_objects();
    let waits = sync && freed > keyspace.freed_objects();
    if !waits || ctx.client.is(ClientFlags::IN_EXEC) || ctx.client.must_obey() {
        return ctx.reply().ok();
    }
    ctx.client.blocked = Some(Blocked::Flush { freed });
    ctx.client.flags.insert(ClientFlags::BLOCKED);
    ctx.engine.flushing.push(ctx.client.link);
}

fn replicate_verbatim(ctx: &mut Context<'_>, args: &Args<'_>) {
    let argv: Vec<&[u8]> = args.iter().collect();
    ctx.replicate_as(&argv);
}

/// SWAPDB index1 index2. Reply: OK. Errors: invalid first or second DB index, DB index is out of range.
/// O(watched keys).
fn swapdb(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut index = |error| {
        let low = i64::from(i32::MIN);
        args.int_in(low, i64::from(i32::MAX), CommandError::text(error))
    };
    let first = index("ERR invalid first DB index")?;
    let second = index("ERR invalid second DB index")?;
    let count = ctx.engine.keyspace.count();
    let first = connection::database(count, first)?;
    let second = connection::database(count, second)?;
    if first != second {
        ctx.engine.swap_databases(first, second);
    }
    ctx.engine.dirty += 1;
    ctx.reply().ok();
    Ok(())
}

/// Whether a key is due and its reader must not see it.
fn is_hidden(ctx: &Context<'_>, entry: &Entry) -> bool {
    ctx.engine.is_ended(entry) && !ctx.client.must_obey()
}

/// KEYS pattern. Reply: an array of keys. O(keys of the database).
fn keys(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let pattern = args.bytes()?;
    let (everything, db) = (pattern == b"*", ctx.client.db);
    let mark = ctx.client.reply.begin_array();
    let mut found = Vec::new();
    let (mut cursor, mut count) = (0, 0);
    loop {
        found.clear();
        let mut ends: Vec<usize> = Vec::new();
        cursor = ctx.engine.keyspace.scan(db, cursor, usize::MAX, |entry| {
            let key = entry.key();
            if (everything || glob::matches(pattern, key, false)) && !is_hidden(ctx, entry) {
                found.extend_from_slice(key);
                ends.push(found.len());
            }
        });
        let mut start = 0;
        for &end in &ends {
            ctx.client.reply.bulk(&found[start..end]);
            start = end;
        }
        count += ends.len();
        if cursor == 0 {
            break;
        }
    }
    ctx.client.reply.end_array(mark, count);
    Ok(())
}

/// RANDOMKEY. Reply: a key, each with the same chance, or null when there is none. Due keys that are met are
/// deleted. O(1).
fn randomkey(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let db = ctx.client.db;
    let mut tries = 0;
    let chosen = loop {
        let engine = &mut *ctx.engine;
        let Some(entry) = engine.keyspace.random(db, &mut engine.prng) else {
            break None;
        };
        let due = engine.is_ended(entry);
        let name = entry.key().to_vec();
        if !due {
            break Some(name);
        }
        tries += 1;
        let key = ctx.engine.keyspace.key(&name);
        let hidden = ctx.engine.hides(ctx.client, key);
        if !hidden {
            break Some(name);
        }
        let keyspace = &ctx.engine.keyspace;
        let may_end = keyspace.expires_len(db) < keyspace.len(db);
        if tries >= RANDOM_TRIES && !may_end && keyspace.find(db, key).is_some() {
            // A replica whose keys are due, maybe all: as Redis, rather one of them than no end.
            break Some(name);
        }
    };
    match chosen {
        Some(name) => ctx.reply().bulk(&name),
        None => ctx.reply().null(),
    }
    Ok(())
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
/// Reply: the next cursor (0 at the end) and an array of keys. A key that is there from the first call to the last is
/// returned, and none twice. Errors: invalid cursor, syntax error, not an integer. Due keys that are met are deleted.
/// O(count), and of what shares a segment with the last.
fn scan(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut cursor = scan::cursor(args)?;
    let options = ScanOptions::parse(args, Scanned::Keys)?;
    let db = ctx.client.db;
    let (mut visited, mut keys, mut due) = (0, Keys::default(), Keys::default());
    // As many as asked for, but bounded work when few places are filled.
    let mut steps = options.count.saturating_mul(10);
    loop {
        let left = options.count - visited;
        cursor = ctx.engine.keyspace.scan(db, cursor, left, |entry| {
            visited += 1;
            if is_hidden(ctx, entry) {
                due.push(entry.key());
            } else if options.takes(entry.key())
                && options.type_name.is_none_or(|name| {
                    name.eq_ignore_ascii_case(generic::type_name(entry).as_bytes())
                })
            {
                keys.push(entry.key());
            }
        });
        steps -= 1;
        if cursor == 0 || visited >= options.count || steps == 0 {
            break;
        }
    }
    for name in due.iter() {
        let key = ctx.engine.keyspace.key(name);
        ctx.engine.hides(ctx.client, key);
    }
    let reply = &mut ctx.client.reply;
    reply.array(2);
    let mut digits = itoa::Buffer::new();
    reply.bulk(digits.format(cursor).as_bytes());
    reply.array(keys.ends.len());
    for name in keys.iter() {
        reply.bulk(name);
    }
    Ok(())
}

/// Copied keys in one buffer.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let key = &self.bytes[start..end];
            start = end;
            key
        })
    }
}
