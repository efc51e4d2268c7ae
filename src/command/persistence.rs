//! SAVE, BGSAVE, LASTSAVE, SHUTDOWN, and DEBUG RELOAD's body.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::config::ShutdownOptions;
use crate::engine::{Blocked, ClientFlags, PauseCause, key_load_delay_ns};
use crate::keyspace::Keyspace;
use crate::rdb::decode::{Batch, DecodeOptions, Decoded, Decoder};
use crate::rdb::load::{LoadOptions, Loader};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("save", 1, save)
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
        .doc(
            Group::Server,
            "1.0.0",
            "O(N) where N is the total number of keys in all databases",
            "Synchronously saves the database(s) to disk.",
        ),
    Command::new("bgsave", -1, bgsave)
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING)
        .doc(
            Group::Server,
            "1.0.0",
            "O(1)",
            "Asynchronously saves the database(s) to disk.",
        )
        .syntax("[SCHEDULE{@3.2.2}]")
        .history(&[("3.2.2", "Added the `SCHEDULE` option.")]),
    Command::new("lastsave", 1, lastsave)
        .flags(LOADING | STALE | FAST)
        .categories(CAT_ADMIN | CAT_DANGEROUS)
        .doc(
            Group::Server,
            "1.0.0",
            "O(1)",
            "Returns the Unix timestamp of the last successful save to disk.",
        )
        .tips(&["nondeterministic_output"]),
    Command::new("shutdown", -1, shutdown)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY)
        .doc(
            Group::Server,
            "1.0.0",
            "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
            "Synchronously saves the database(s) to disk and shuts down the Redis server.",
        )
        .syntax("[NOSAVE | SAVE]{=save-selector} [NOW{@7.0.0}] [FORCE{@7.0.0}] [ABORT{@7.0.0}]")
        .history(&[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")]),
];

const IN_PROGRESS: CommandError = CommandError::text("ERR Background save already in progress");

/// SAVE. Reply: OK. Errors: a background save runs; `ERR` when the file cannot be written.
/// Blocks the whole server. O(keys).
fn save(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    if ctx.engine.persistence.background.is_some() {
        return Err(IN_PROGRESS);
    }
    // Those that other commands make are not counted, as in Redis.
    ctx.engine.stats.rdb_saves += 1;
    save_now(ctx)?;
    ctx.reply().ok();
    Ok(())
}

fn save_now(ctx: &mut Context<'_>) -> Result<(), CommandError> {
    let job = ctx.engine.save_job(ctx.host);
    let result = ctx.host.save(job);
    ctx.engine.foreground_save_ended(&result);
    result.map(|_| ()).map_err(|_| CommandError::text("ERR"))
}

/// FLUSHALL on a server with save points leaves an empty file behind, as in Redis: the data must not
/// come back with a restart. A background save of the old data is stopped.
pub(super) fn save_emptied(ctx: &mut Context<'_>) {
    ctx.engine.stop_background_save(ctx.host);
    ctx.engine.cancel_full_sync();
    if ctx.engine.config.save.0.is_empty() {
        return;
    }
    if let Err(error) = save_now(ctx) {
        log::warn!("The emptied data set could not be saved: {error}");
    }
}

/// BGSAVE [SCHEDULE]. Reply: a status. Errors: a background save runs. O(1).
/// In a transaction the save starts behind it.
fn bgsave(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.count() > 1 && !(args.count() == 2 && args.take("SCHEDULE")) {
        return Err(CommandError::Syntax);
    }
    if ctx.engine.persistence.background.is_some() {
        return Err(IN_PROGRESS);
    }
    if ctx.client.is(ClientFlags::IN_EXEC) {
        ctx.engine.persistence.scheduled = true;
        ctx.reply().simple("Background saving scheduled");
        return Ok(());
    }
    ctx.engine.start_background_save(ctx.host);
    ctx.reply().simple("Background saving started");
    Ok(())
}

/// LASTSAVE. Reply: Unix seconds of the last good save, or of the start. O(1).
fn lastsave(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let last = ctx.engine.persistence.last_save_s;
    ctx.reply().int(last);
    Ok(())
}

/// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT].
/// Reply: none, the connection ends with the server; OK to ABORT. Errors: `ERR Errors trying to
/// SHUTDOWN. Check logs.`, `ERR No shutdown in progress.`
fn shutdown(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut options = ShutdownOptions::default();
    let mut abort = false;
    let words = args.count();
    while !args.is_empty() {
        if args.take("NOSAVE") {
            options.nosave = true;
        } else if args.take("SAVE") {
            options.save = true;
        } else if args.take("NOW") {
            options.now = true;
        } else if args.take("FORCE") {
            options.force = true;
        } else if args.take("ABORT") {
            abort = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if (abort && words > 2) || (options.save && options.nosave) {
        return Err(CommandError::Syntax);
    }
    if abort {
        let Some(shutdown) = ctx.engine.shutdown.take() else {
            return Err(CommandError::text("ERR No shutdown in progress."));
        };
        log::info!("Shutdown manually aborted.");
        if shutdown.deadline_ms.is_some() {
            ctx.engine.end_pause(PauseCause::Shutdown);
        }
        for link in shutdown.links {
            ctx.engine
                .unblock_with(link, "ERR Errors trying to SHUTDOWN. Check logs.");
        }
        ctx.reply().ok();
        return Ok(());
    }
    // The end comes behind all commands of this round.
    let shutdown = ctx.engine.shutdown.get_or_insert_default();
    shutdown.options = options;
    shutdown.links.push(ctx.client.link);
    ctx.client.flags.insert(ClientFlags::BLOCKED);
    ctx.client.blocked = Some(Blocked::Shutdown);
    Ok(())
}

/// DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE]: saves, then loads the file in place of the data set
/// (NOFLUSH: into it; a key that is in both is an error unless MERGE, which Redis needs for keys to be
/// overwritten). The cursor stands behind RELOAD. Reply: OK. O(keys), blocking.
pub fn debug_reload(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (mut merge, mut flush, mut save) = (false, true, true);
    while !args.is_empty() {
        if args.take("MERGE") {
            merge = true;
        } else if args.take("NOFLUSH") {
            flush = false;
        } else if args.take("NOSAVE") {
            save = false;
        } else {
            return Err(CommandError::text(
                "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
            ));
        }
    }
    if save {
        save_now(ctx)?;
    }
    let now = ctx.now();
    let mut detached = ctx.engine.keyspace.detached(now);
    let mut loader = Loader::new(LoadOptions {
        now,
        drop_due: !ctx.engine.is_replica(),
        new_access: ctx.engine.new_access(),
        encodings: ctx.engine.encodings(),
    })
    .merging(merge);
    let fresh = flush.then_some(&mut detached);
    if let Err(reason) = reload(ctx, &mut loader, fresh) {
        // What stood half made.
        let workshop = ctx.engine.keyspace.workshop();
        ctx.engine.keyspace.flush(Some(workshop));
        log::warn!("Error trying to load the RDB dump: {reason}");
        return Err(CommandError::text(
            "ERR Error trying to load the RDB dump, check server logs.",
        ));
    }
    let loaded = loader.loaded().clone();
    if flush {
        ctx.engine.take_data_set(detached, &loaded);
    } else {
        ctx.engine.loaded(&loaded);
    }
    log::info!("DB reloaded by DEBUG RELOAD");
    ctx.reply().ok();
    Ok(())
}

/// Loads the RDB file into `fresh`, or into the data set itself. Errors: why it cannot be loaded; a part of it may be.
fn reload(
    ctx: &mut Context<'_>,
    loader: &mut Loader,
    mut fresh: Option<&mut Keyspace>,
) -> Result<(), String> {
    let path = ctx.engine.rdb_path();
    let Some((mut file, _)) = ctx.host.open(&path)? else {
        return Err(format!("{} does not exist", path.display()));
    };
    let mut decoder = Decoder::new(DecodeOptions {
        checksum: ctx.engine.config.rdbchecksum && !ctx.engine.skips_checksums,
        aux_logged: Some(ctx.now()),
        ..DecodeOptions::new(ctx.engine.keyspace.seed())
    });
    let mut batch = Batch::default();
    loop {
        batch.clear();
        let decoded = decoder
            .decode(&mut batch)
            .map_err(|error| error.end_of_load())?;
        let keys = loader.loaded().seen();
        let keyspace = match &mut fresh {
            Some(fresh) => &mut **fresh,
            None => &mut ctx.engine.keyspace,
        };
        loader
            .apply(keyspace, &batch, 0, usize::MAX)
            .map_err(|error| error.end_of_load())?;
        let delay_ns = key_load_delay_ns(&ctx.engine.config, loader.loaded().seen() - keys);
        ctx.host.sleep_us(delay_ns / 1000);
        match decoded {
            Decoded::Done => return Ok(()),
            Decoded::BatchFull => {}
            Decoded::NeedInput(_) => match decoder.feed_from(&mut file, 1 << 18) {
                Ok(0) => return Err(decoder.truncated().end_of_load()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            },
        }
    }
}
