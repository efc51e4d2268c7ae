//! CONFIG and its subcommands. The directives themselves are in `config/`.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::config::{Config, Id, SetContext, SetError};
use crate::engine::ClientFlags;

const CONFIG_FLAGS: u32 = ADMIN | NOSCRIPT | LOADING | STALE;

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("config", -2, container)
    .doc(
        Group::Server,
        "2.0.0",
        "Depends on subcommand.",
        "A container for server configuration commands.",
    )
    .subcommands(&[
        Command::new("get", -3, get)
            .flags(CONFIG_FLAGS)
            .doc(
                Group::Server,
                "2.0.0",
                "O(N) when N is the number of configuration parameters provided",
                "Returns the effective values of configuration parameters.",
            )
            .syntax("parameter [parameter ...]")
            .history(&[(
                "7.0.0",
                "Added the ability to pass multiple pattern parameters in one call",
            )]),
        Command::new("help", 2, help).flags(LOADING | STALE).doc(
            Group::Server,
            "5.0.0",
            "O(1)",
            "Returns helpful text about the different subcommands.",
        ),
        Command::new("resetstat", 2, resetstat)
            .flags(CONFIG_FLAGS)
            .doc(
                Group::Server,
                "2.0.0",
                "O(1)",
                "Resets the server's statistics.",
            )
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        Command::new("rewrite", 2, rewrite)
            .flags(CONFIG_FLAGS)
            .doc(
                Group::Server,
                "2.8.0",
                "O(1)",
                "Persists the effective configuration to file.",
            )
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        Command::new("set", -4, set)
            .flags(CONFIG_FLAGS)
            .secrets(Secrets::Behind(
                2,
                &[
                    ("masterauth", 1),
                    ("masteruser", 1),
                    ("requirepass", 1),
                    ("tls-client-key-file-pass", 1),
                    ("tls-key-file-pass", 1),
                ],
            ))
            .doc(
                Group::Server,
                "2.0.0",
                "O(N) when N is the number of configuration parameters provided",
                "Sets configuration parameters in-flight.",
            )
            .syntax("<parameter value>{=data} ...")
            .history(&[(
                "7.0.0",
                "Added the ability to set multiple parameters in one call.",
            )])
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ])];

/// CONFIG GET pattern [pattern …]. Reply: a map of name to value.
fn get(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut patterns = Vec::with_capacity(args.left());
    while !args.is_empty() {
        patterns.push(args.bytes()?);
    }
    let found = ctx.engine.config.get(&patterns);
    ctx.reply().map(found.len());
    for (name, value) in found {
        ctx.reply().bulk(&name);
        ctx.reply().bulk(&value);
    }
    Ok(())
}

/// CONFIG SET name value [name value …]. Reply: OK. All or nothing.
fn set(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if !args.left().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let mut pairs = Vec::with_capacity(args.left() / 2);
    while !args.is_empty() {
        pairs.push((args.bytes()?, args.bytes()?));
    }
    let context = SetContext {
        local_client: ctx.client.is(ClientFlags::LOCAL),
        loading: ctx.engine.is_loading(),
    };
    let refused = |error: SetError| CommandError::owned(error.to_string());
    let change = ctx.engine.config.set(&pairs, context).map_err(refused)?;
    if let Err((id, text)) = ctx.host.apply_config(&change.ids, &ctx.engine.config) {
        log::warn!(
            "Failed applying new configuration. Possibly related to new {} setting. Restoring previous settings.",
            id.name()
        );
        let changed = change.ids.clone();
        ctx.engine.config.roll_back(change);
        // Those applied before the one that failed go back as well; what was possible then is so now.
        let _ = ctx.host.apply_config(&changed, &ctx.engine.config);
        return Err(refused(SetError::apply(id, text)));
    }
    if change.ids.contains(&Id::maxmemory) {
        warn_of_maxmemory(ctx);
    }
    ctx.engine.config_changed(&change.ids);
    ctx.reply().ok();
    Ok(())
}

/// Redis's line when a new `maxmemory` is below what is used.
fn warn_of_maxmemory(ctx: &mut Context<'_>) {
    let (limit, used) = (ctx.engine.config.maxmemory, ctx.host.used_memory());
    if limit != 0 && (limit as usize) < used {
        log::warn!(
            "WARNING: the new maxmemory value set via CONFIG SET ({limit}) is smaller than the current memory usage \
             ({used}). This will result in key eviction and/or the inability to accept new write commands depending \
             on the maxmemory-policy."
        );
    }
}

/// CONFIG RESETSTAT. Reply: OK.
fn resetstat(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let used = ctx.host.used_memory();
    ctx.engine.stats.reset(ctx.engine.clock.mono_ms(), used);
    ctx.engine.stats.freed_before_reset = ctx.engine.keyspace.freed_objects();
    ctx.engine.snapshot_cost.taken_ns = 0;
    ctx.reply().ok();
    Ok(())
}

/// CONFIG REWRITE. Reply: OK. Errors: without a file, or when it cannot be written.
fn rewrite(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    rewrite_file(ctx, Config::rewrite)
}

/// DEBUG CONFIG-REWRITE-FORCE-ALL: as CONFIG REWRITE, with every directive.
pub(super) fn rewrite_all(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    rewrite_file(ctx, Config::rewrite_all)
}

fn rewrite_file(
    ctx: &mut Context<'_>,
    rewritten: fn(&Config, Option<&[u8]>) -> Vec<u8>,
) -> Result<(), CommandError> {
    let Some(path) = ctx.engine.config.file.clone() else {
        return Err(CommandError::text(
            "ERR The server is running without a config file",
        ));
    };
    let failed = |text: String| {
        log::warn!("CONFIG REWRITE failed: {text}");
        CommandError::owned(format!("ERR Rewriting config file: {text}"))
    };
    let old = ctx.host.read_file(&path).map_err(failed)?;
    let text = rewritten(&ctx.engine.config, old.as_deref());
    ctx.host.write_file(&path, &text).map_err(failed)?;
    log::info!("CONFIG REWRITE executed with success.");
    ctx.reply().ok();
    Ok(())
}

/// CONFIG HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
    ]);
    Ok(())
}
