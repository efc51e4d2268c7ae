//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. The queue itself is run by `dispatch/transaction.rs`.
//! Source: the documentation of Redis transactions and the replies of redis-server 8.0.

use super::*;
use crate::engine::ClientFlags;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("multi", 1, multi)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY | RUNS_IN_MULTI)
        .categories(CAT_TRANSACTION)
        .doc(
            Group::Transactions,
            "1.2.0",
            "O(1)",
            "Starts a transaction.",
        ),
    Command::new("exec", 1, exec)
        .flags(NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG | RUNS_IN_MULTI)
        .categories(CAT_TRANSACTION)
        .doc(
            Group::Transactions,
            "1.2.0",
            "Depends on commands in the transaction",
            "Executes all commands in a transaction.",
        ),
    Command::new("discard", 1, discard)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY | RUNS_IN_MULTI)
        .categories(CAT_TRANSACTION)
        .doc(
            Group::Transactions,
            "2.0.0",
            "O(N), when N is the number of queued commands",
            "Discards a transaction.",
        ),
    Command::new("watch", -2, watch)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY | RUNS_IN_MULTI)
        .categories(CAT_TRANSACTION)
        .keys(&[KeySpec::range(1, -1, 1, RO)])
        .doc(
            Group::Transactions,
            "2.2.0",
            "O(1) for every key.",
            "Monitors changes to keys to determine the execution of a transaction.",
        )
        .syntax("key [key ...]"),
    Command::new("unwatch", 1, unwatch)
        .flags(NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY)
        .categories(CAT_TRANSACTION)
        .doc(
            Group::Transactions,
            "2.2.0",
            "O(1)",
            "Forgets about watched keys of a transaction.",
        ),
];

/// MULTI. Reply: OK. Errors: nested, which leaves the transaction as it is.
fn multi(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    if ctx.client.is(ClientFlags::MULTI) {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    ctx.client.flags.insert(ClientFlags::MULTI);
    ctx.reply().ok();
    Ok(())
}

/// EXEC outside MULTI; inside, the dispatcher runs the queue.
fn exec(_: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    Err(CommandError::text("ERR EXEC without MULTI"))
}

/// DISCARD. Reply: OK. Errors: without MULTI.
fn discard(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    if !ctx.client.is(ClientFlags::MULTI) {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    ctx.client.leave_multi();
    ctx.engine.watched.unwatch_all(ctx.client.link);
    ctx.reply().ok();
    Ok(())
}

/// WATCH key [key …]. Reply: OK. A key that is due already is watched as absent. Errors: inside MULTI. O(1) a key.
fn watch(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if ctx.client.is(ClientFlags::MULTI) {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    // A transaction that is bound to fail needs no more watches.
    while !args.is_empty() && !ctx.client.is(ClientFlags::DIRTY_CAS) {
        let key = args.key()?;
        let entry = ctx.engine.keyspace.find(ctx.client.db, key);
        let due = entry.is_some_and(|entry| ctx.engine.is_ended(entry));
        ctx.engine
            .watched
            .watch(ctx.client.link, ctx.client.db, key.bytes, due);
        ctx.client.watching = true;
    }
    ctx.reply().ok();
    Ok(())
}

/// UNWATCH. Reply: OK.
fn unwatch(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.engine.watched.unwatch_all(ctx.client.link);
    ctx.client.watching = false;
    ctx.client.flags.remove(ClientFlags::DIRTY_CAS);
    ctx.reply().ok();
    Ok(())
}
