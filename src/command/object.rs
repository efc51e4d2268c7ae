//! OBJECT: what is known of a value besides its content.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::config::{Config, MaxmemoryPolicy};
use crate::engine::Engine;
use crate::types::{Entry, StringRef, ValueRef, access};

const LOOK: Command = Command::new("", 3, encoding)
    .flags(READONLY)
    .categories(CAT_KEYSPACE)
    .keys(&[KeySpec::range(2, 0, 1, RO)])
    .syntax("key")
    .tips(&["nondeterministic_output"]);

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("object", -2, container)
    .doc(
        Group::Generic,
        "2.2.3",
        "Depends on the subcommand",
        "Holds the commands that look into values.",
    )
    .subcommands(&[
        LOOK.named("encoding", encoding).doc(
            Group::Generic,
            "2.2.3",
            "O(1)",
            "Returns how a value is represented.",
        ),
        LOOK.named("freq", freq).doc(
            Group::Generic,
            "4.0.0",
            "O(1)",
            "Returns how often a value is used, on a logarithmic scale.",
        ),
        Command::new("help", 2, help)
            .flags(LOADING | STALE)
            .categories(CAT_KEYSPACE)
            .doc(
                Group::Generic,
                "6.2.0",
                "O(1)",
                "Describes the subcommands.",
            ),
        LOOK.named("idletime", idletime).doc(
            Group::Generic,
            "2.2.3",
            "O(1)",
            "Returns the seconds since a value was last used.",
        ),
        LOOK.named("refcount", refcount).doc(
            Group::Generic,
            "2.2.3",
            "O(1)",
            "Returns how many references to a value there are.",
        ),
    ])];

/// What Redis counts for the small integers that all keys share.
const SHARED: i64 = i32::MAX as i64;
/// The integers from 0 that are shared there.
const SHARED_INTEGERS: i64 = 10_000;

/// What `show` says of the value of the key; null when there is none.
fn look(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    show: impl FnOnce(&Engine, &Entry) -> Result<i64, CommandError>,
) -> Result<(), CommandError> {
    let key = args.key()?;
    if ctx.engine.examine(ctx.client, key).is_none() {
        ctx.reply().null();
        return Ok(());
    }
    // Looked up again because of the borrow.
    let shown = match ctx.engine.keyspace.find(ctx.client.db, key) {
        Some(entry) => show(ctx.engine, entry)?,
        None => 0,
    };
    ctx.reply().int(shown);
    Ok(())
}

/// OBJECT ENCODING key. Reply: the encoding's name as a bulk string, or null. O(1).
fn encoding(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    match ctx.engine.examine(ctx.client, key).map(Entry::encoding) {
        Some(name) => ctx.reply().bulk(name.as_bytes()),
        None => ctx.reply().null(),
    }
    Ok(())
}

/// OBJECT FREQ key. Reply: the LFU counter, or null. Errors: not under an LFU policy. O(1).
fn freq(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    look(ctx, args, |engine, entry| {
        if !engine.config.maxmemory_policy.is_lfu() {
            return Err(CommandError::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        let decay = engine.config.lfu_decay_time as u32;
        Ok(i64::from(access::lfu_counter(
            entry.access(),
            engine.now(),
            decay,
        )))
    })
}

/// OBJECT IDLETIME key. Reply: seconds since the last use, or null. Errors: under an LFU policy. O(1).
fn idletime(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    look(ctx, args, |engine, entry| {
        if engine.config.maxmemory_policy.is_lfu() {
            return Err(CommandError::text(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Ok(access::lru_idle_seconds(entry.access(), engine.now()) as i64)
    })
}

/// OBJECT REFCOUNT key. Reply: 1, or what Redis says of the integers that its keys share; or null. O(1).
fn refcount(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    look(ctx, args, |engine, entry| {
        Ok(references(&engine.config, entry))
    })
}

/// What Redis would say how often a value is referred to.
pub(super) fn references(config: &Config, entry: &Entry) -> i64 {
    let small = match ValueRef::of(entry) {
        ValueRef::String(StringRef::Int(number)) => (0..SHARED_INTEGERS).contains(&number),
        _ => false,
    };
    // Under LRU and LFU every value has an access clock of its own.
    let shares = config.maxmemory == 0 || !ranks_by_access(config.maxmemory_policy);
    if small && shares { SHARED } else { 1 }
}

fn ranks_by_access(policy: MaxmemoryPolicy) -> bool {
    use MaxmemoryPolicy::*;
    match policy {
        VolatileLfu | AllkeysLfu | VolatileLru | AllkeysLru => true,
        VolatileRandom | AllkeysRandom | VolatileTtl | NoEviction => false,
    }
}

/// OBJECT HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "ENCODING <key>",
        "    Return how the value of <key> is represented in memory.",
        "FREQ <key>",
        "    Return how often <key> is accessed, on a logarithmic scale (LFU policies only).",
        "IDLETIME <key>",
        "    Return the seconds since the last access to <key>.",
        "REFCOUNT <key>",
        "    Return the number of references to the value of <key>.",
    ]);
    Ok(())
}
