//! What stands before a call, in Redis's order: existence and arity, protected commands,
//! authentication, MULTI, memory, disk errors, min-replicas, read-only replica, subscribed mode, stale data,
//! loading, pause. One function each; the first that objects answers.

use crate::command::*;
use crate::engine::{Client, ClientFlags, Engine, PauseKind};

/// Sum of argument bytes echoed by "unknown command".
const ECHOED_BYTES_MAX: usize = 128;

/// The error text (with code) for a connection that must not stay.
pub(super) fn refuse_connection(engine: &Engine, client: &Client) -> Option<&'static str> {
    if engine.clients.count() >= engine.config.maxclients as usize {
        return Some("ERR max number of clients reached");
    }
    if engine.config.protected_mode
        && engine.config.requirepass.get().is_none()
        && !client.is(ClientFlags::LOCAL)
    {
        return Some(
            "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for \
             the default user. In this mode connections are only accepted from the loopback interface. If you want to \
             connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable \
             protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by \
             connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly \
             accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively \
             you can just disable the protected mode by editing the Redis configuration file, and setting the \
             protected mode option to 'no', and then restarting the server. 3) If you started the server manually just \
             for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password for \
             the default user. NOTE: You only need to do one of the above things in order for the server to start \
             accepting connections from the outside.",
        );
    }
    None
}

/// Whether a line of an HTTP request was sent as a command.
#[cold]
pub(super) fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// "unknown command", with the beginning of its arguments.
#[cold]
pub(super) fn unknown_command(args: &Args<'_>) -> CommandError {
    let mut text = b"ERR unknown command '".to_vec();
    let name = args.at(0);
    text.extend_from_slice(echoed_part(name, ECHOED_BYTES_MAX));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut echoed = 0;
    for argument in args.iter().skip(1) {
        if echoed >= ECHOED_BYTES_MAX {
            break;
        }
        let shown = echoed_part(argument, ECHOED_BYTES_MAX - echoed);
        text.push(b'\'');
        text.extend_from_slice(shown);
        text.extend_from_slice(b"' ");
        echoed += shown.len() + 3;
    }
    CommandError::Bytes(text)
}

/// What an error shows of an argument: at most `max` bytes, up to the first NUL.
fn echoed_part(argument: &[u8], max: usize) -> &[u8] {
    let end = argument
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(argument.len());
    &argument[..end.min(max)]
}

type Guard = fn(&Engine, &Client, &'static Registered) -> Result<(), CommandError>;

/// The guards that a look at engine, client and row decides, in order.
const GUARDS: &[Guard] = &[
    protected_command,
    authenticated,
    allowed_in_multi,
    saving_works,
    replication,
    subscribed_mode,
    not_stale,
    not_loading,
];

/// Runs the guards.
#[inline]
pub(super) fn check(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    if client.is(ClientFlags::MASTER) {
        return Ok(());
    }
    for guard in GUARDS {
        guard(engine, client, entry)?;
    }
    Ok(())
}

#[inline]
fn protected_command(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    match entry.command.is(PROTECTED) {
        true => permitted(engine, client, entry),
        false => Ok(()),
    }
}

/// DEBUG needs `enable-debug-command`, what changes modules `enable-module-command`.
#[cold]
fn permitted(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    let config = &engine.config;
    let (permit, what) = match entry.full_name.starts_with("module|") {
        true => (config.enable_module_command, "MODULE"),
        false => (config.enable_debug_command, "DEBUG"),
    };
    if permit.allows(client.is(ClientFlags::LOCAL)) {
        return Ok(());
    }
    let option = format!("enable-{}-command", what.to_ascii_lowercase());
    Err(CommandError::Text(
        format!(
            "ERR {what} command not allowed. If the {option} option is set to \"local\", you can run it from a local \
             connection, otherwise you need to set this option in the configuration file, and then restart the server."
        )
        .into(),
    ))
}

#[inline]
fn authenticated(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    if client.is_admitted(&engine.config) || entry.command.is(NO_AUTH) {
        return Ok(());
    }
    Err(CommandError::text("NOAUTH Authentication required."))
}

#[inline]
fn allowed_in_multi(
    _: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    if client.is(ClientFlags::MULTI) && entry.command.is(NO_MULTI | ALONE) {
        return Err(CommandError::text(
            "ERR Command not allowed inside a transaction",
        ));
    }
    Ok(())
}

/// Writes (and PING, so that a monitor notices) are refused after a failed save.
#[inline]
fn saving_works(
    engine: &Engine,
    _: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    if !engine.persistence.last_failed
        || !(entry.command.is(WRITE) || entry.command.name == "ping")
        || engine.is_replica()
        || !engine.saving_failed()
    {
        return Ok(());
    }
    Err(CommandError::text(
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands \
         that may modify the data set are disabled, because this instance is configured to report errors during \
         writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for \
         details about the RDB error.",
    ))
}

/// While a data set is loaded only what does not look at it is answered; while one is loaded aside, all but what
/// would meddle with it.
#[inline]
fn not_loading(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    let Some(loading) = &engine.persistence.loading else {
        return Ok(());
    };
    let denied = match loading.serves_old {
        false => denied_without(client, entry, LOADING),
        true => {
            entry.command.is(NO_ASYNC_LOADING)
                || (is_exec(client, entry) && client.transaction.flags & NO_ASYNC_LOADING != 0)
        }
    };
    if !denied {
        return Ok(());
    }
    Err(CommandError::text(
        "LOADING Redis is loading the dataset in memory",
    ))
}

/// Whether it is an EXEC that has a queue.
#[inline]
fn is_exec(client: &Client, entry: &'static Registered) -> bool {
    client.is(ClientFlags::MULTI) && entry.command.is(RUNS_IN_MULTI) && entry.command.name == "exec"
}

/// Whether the command writes, or is an EXEC whose queue does.
#[inline]
fn writes(client: &Client, entry: &'static Registered) -> bool {
    entry.command.is(WRITE) || (is_exec(client, entry) && client.transaction.flags & WRITE != 0)
}

/// Whether the command lacks a flag, or is an EXEC of which some queued command does.
#[inline]
fn denied_without(client: &Client, entry: &'static Registered, flag: u32) -> bool {
    !entry.command.is(flag)
        || (is_exec(client, entry) && client.transaction.missing_flags & flag != 0)
}

/// Whether memory over the limit forbids the command: one that may need more, or an EXEC with such a one.
#[inline]
pub(super) fn denied_out_of_memory(client: &Client, entry: &'static Registered) -> bool {
    entry.command.is(DENYOOM) || (is_exec(client, entry) && client.transaction.flags & DENYOOM != 0)
}

/// What only concerns masters that want replicas, replicas, and the links of replicas and of monitors.
#[inline]
fn replication(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    if engine.config.min_replicas_to_write == 0
        && !engine.is_replica()
        && !client.is(ClientFlags::REPLICA | ClientFlags::MONITOR)
    {
        return Ok(());
    }
    replication_allows(engine, client, entry)
}

#[cold]
fn replication_allows(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    let config = &engine.config;
    let command = entry.command;
    if config.min_replicas_to_write > 0
        && config.min_replicas_max_lag > 0
        && !engine.is_replica()
        && writes(client, entry)
    {
        let settings = engine.source_settings();
        let good = engine
            .replication
            .source
            .good_count(&settings, engine.now());
        if (good as i64) < config.min_replicas_to_write {
            return Err(CommandError::text(
                "NOREPLICAS Not enough good replicas to write.",
            ));
        }
    }
    if engine.is_replica() && config.replica_read_only && writes(client, entry) {
        return Err(CommandError::text(
            "READONLY You can't write against a read only replica.",
        ));
    }
    if client.is(ClientFlags::REPLICA | ClientFlags::MONITOR)
        && command.is(WRITE | READONLY | MAY_REPLICATE)
    {
        return Err(CommandError::text(
            "ERR Replica can't interact with the keyspace",
        ));
    }
    Ok(())
}

/// A client of RESP2 that has subscriptions could not tell a reply from a message.
#[inline]
fn subscribed_mode(
    _: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    if !client.is_in_subscribed_mode() || entry.command.is(WHEN_SUBSCRIBED) {
        return Ok(());
    }
    Err(CommandError::owned(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context",
        entry.full_name
    )))
}

/// A replica whose link to its master is down answers from old data only where it may.
#[inline]
fn not_stale(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
) -> Result<(), CommandError> {
    if engine.config.replica_serve_stale_data
        || !denied_without(client, entry, STALE)
        || !crate::command::replication::is_stale(engine)
    {
        return Ok(());
    }
    Err(CommandError::text(
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ))
}

/// Whether this command waits because a key that it may write is on its way to another server.
#[inline]
pub(super) fn awaits_move(
    engine: &Engine,
    client: &Client,
    entry: &'static Registered,
    args: &Args<'_>,
) -> bool {
    if engine.migrations.locks_nothing() || client.is(ClientFlags::REPLICA | ClientFlags::MASTER) {
        return false;
    }
    if !client.is(ClientFlags::MULTI) {
        return may_write_moving(engine, client.db, entry, args);
    }
    // Only EXEC runs them.
    if !is_exec(client, entry) {
        return false;
    }
    let mut db = client.db;
    client.transaction.commands.iter().any(|queued| {
        let args = Args::queued(queued, engine.keyspace.seed());
        let entry = table().get(queued.command);
        if entry.command.name == "select" {
            let index = args.iter().nth(1).and_then(crate::base::num::parse_i64);
            db = index
                .and_then(|index| usize::try_from(index).ok())
                .unwrap_or(db);
        }
        may_write_moving(engine, db, entry, &args)
    })
}

/// Whether a call may write a key that is on its way: a command that writes and has no keys among its arguments may
/// write any. One whose keys cannot be told is left to its error.
#[cold]
pub(super) fn may_write_moving(
    engine: &Engine,
    db: usize,
    entry: &'static Registered,
    args: &Args<'_>,
) -> bool {
    let keys = written_keys(entry, args);
    match keys.is_empty() {
        true => entry.command.is(WRITE) && entry.command.keys.is_empty(),
        false => keys.iter().any(|name| engine.migrations.locks(db, name)),
    }
}

/// A call that no lock holds back is about to be made: the keys that it may write are not deleted by a migration.
#[cold]
pub(super) fn note_moving(
    engine: &mut Engine,
    db: usize,
    entry: &'static Registered,
    args: &Args<'_>,
) {
    for name in written_keys(entry, args) {
        engine.note_change(db, name);
    }
}

/// The keys among the arguments of a call that may write.
fn written_keys<'a>(entry: &'static Registered, args: &Args<'a>) -> Vec<&'a [u8]> {
    let row = entry.command;
    if !row.is(WRITE | MAY_REPLICATE) {
        return Vec::new();
    }
    let keys = introspection::keys_of(row, args.count(), |at| {
        args.iter().nth(at).unwrap_or_default().to_vec()
    });
    let places = keys.into_iter().flatten();
    places.map(|(at, _)| args.at(at)).collect()
}

/// Whether a pause makes this command wait.
#[inline]
pub(super) fn paused(engine: &Engine, client: &Client, entry: &'static Registered) -> bool {
    if !engine.pause.is_set() || client.is(ClientFlags::REPLICA | ClientFlags::MONITOR) {
        return false;
    }
    match engine.pause.kind(engine.clock.mono_ms()) {
        None => false,
        Some(PauseKind::All) => true,
        Some(PauseKind::Write) => {
            let exec_writes =
                is_exec(client, entry) && client.transaction.flags & (WRITE | MAY_REPLICATE) != 0;
            entry.command.is(WRITE | MAY_REPLICATE) || exec_writes
        }
    }
}
