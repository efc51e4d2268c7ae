//! REPLICAOF, SLAVEOF, ROLE, WAIT, FAILOVER; REPLCONF, PSYNC and SYNC between servers; INFO's section.
//!
//! The state machines are in `replication/`, what must run commands in `dispatch/replication.rs`.
//! Source: the documentation of replication and the replies of redis-server 8.0.

use std::fmt::Write;

use super::*;
use crate::base::num;
use crate::engine::{Blocked, ClientFlags, Engine, Failover, reply_acknowledged};
use crate::replication::replica::State as Link;
use crate::replication::role::Sync;
use crate::replication::source::{Replica, Stage, State};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("replicaof", 3, replicaof)
        .flags(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING)
        .categories(CAT_ADMIN | CAT_DANGEROUS)
        .doc(
            Group::Server,
            "5.0.0",
            "O(1)",
            "Configures a server as replica of another, or promotes it to a master.",
        )
        .syntax("<<host port>{=host-port} | <NO ONE>{=no-one}>{=args}"),
    Command::new("slaveof", 3, replicaof)
        .flags(ADMIN | NOSCRIPT | STALE | NO_ASYNC_LOADING)
        .categories(CAT_ADMIN | CAT_DANGEROUS)
        .doc(
            Group::Server,
            "1.0.0",
            "O(1)",
            "Sets a Redis server as a replica of another, or promotes it to being a master.",
        )
        .syntax("<<host port>{=host-port} | <NO ONE>{=no-one}>{=args}")
        .deprecated("5.0.0", "`REPLICAOF`"),
    Command::new("role", 1, role)
        .flags(NOSCRIPT | LOADING | STALE | FAST)
        .categories(CAT_ADMIN | CAT_DANGEROUS)
        .doc(Group::Server, "2.8.12", "O(1)", "Returns the replication role."),
    Command::new("wait", 3, wait)
        .flags(BLOCKING)
        .categories(CAT_BLOCKING | CAT_CONNECTION)
        .doc(
            Group::Generic,
            "3.0.0",
            "O(1)",
            "Blocks until the asynchronous replication of all preceding write commands sent by the connection is \
             completed.",
        )
        .syntax("numreplicas timeout")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    Command::new("waitaof", 4, waitaof)
        .flags(BLOCKING)
        .categories(CAT_BLOCKING | CAT_CONNECTION)
        .doc(
            Group::Generic,
            "7.2.0",
            "O(1)",
            "Blocks until all of the preceding write commands sent by the connection are written to the append-only \
             file of the master and/or replicas.",
        )
        .syntax("numlocal numreplicas timeout")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    Command::new("failover", -1, failover)
        .flags(ADMIN | NOSCRIPT | STALE)
        .categories(CAT_ADMIN | CAT_DANGEROUS)
        .doc(
            Group::Server,
            "6.2.0",
            "O(1)",
            "Starts a coordinated failover from a server to one of its replicas.",
        )
        .syntax("[TO <host port [FORCE]>{=target}] [ABORT] [TIMEOUT milliseconds]"),
    Command::new("replconf", -1, replconf)
        .flags(ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY | SYSCMD)
        .categories(CAT_ADMIN | CAT_DANGEROUS)
        .doc(
            Group::Server,
            "3.0.0",
            "O(1)",
            "An internal command for configuring the replication stream.",
        ),
    Command::new("psync", -3, psync)
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
        .categories(CAT_ADMIN | CAT_DANGEROUS)
        .doc(Group::Server, "2.8.0", "", "An internal command used in replication.")
        .syntax("replicationid offset"),
    Command::new("sync", 1, sync)
        .flags(ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI)
        .categories(CAT_ADMIN | CAT_DANGEROUS)
        .doc(Group::Server, "1.0.0", "", "An internal command used in replication."),
];

/// The client whose command with these arguments runs, as Redis's log shows it.
fn describe(ctx: &Context<'_>, args: &Args<'_>) -> String {
    let argument_bytes = args.iter().map(<[u8]>::len).sum();
    ctx.engine.described(ctx.client, Some(argument_bytes))
}

/// REPLICAOF host port | NO ONE
/// Reply: OK. Errors: invalid master port. O(1).
fn replicaof(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (host, port) = (args.bytes()?, args.bytes()?);
    if ctx.engine.failover.is_some() {
        return Err(CommandError::text(
            "ERR REPLICAOF not allowed while failing over.",
        ));
    }
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        if ctx.engine.is_replica() {
            ctx.engine.promote(ctx.host);
            log::info!(
                "MASTER MODE enabled (user request from '{}')",
                describe(ctx, args)
            );
        }
        ctx.reply().ok();
        return Ok(());
    }
    if ctx.client.is(ClientFlags::REPLICA) {
        return Err(CommandError::text(
            "ERR Command is not valid when client is a replica.",
        ));
    }
    let port = num::parse_i64(port)
        .and_then(|port| u16::try_from(port).ok())
        .ok_or(CommandError::text("ERR Invalid master port"))?;
    let host = String::from_utf8_lossy(host).into_owned();
    if ctx.engine.follow(&host, port, ctx.host) {
        log::info!(
            "REPLICAOF {host}:{port} enabled (user request from '{}')",
            describe(ctx, args)
        );
        ctx.reply().ok();
    } else {
        log::info!(
            "REPLICAOF would result into synchronization with the master we are already connected with. No operation \
             performed."
        );
        ctx.reply()
            .simple("OK Already connected to specified master");
    }
    Ok(())
}

/// ROLE. Reply: master, offset and its replicas; or slave, host, port, state of the link and offset. O(1).
fn role(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let replication = &ctx.engine.replication;
    let reply = &mut ctx.client.reply;
    let offset = replication.stream.offset();
    if let Some(master) = &replication.master {
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(&master.host);
        reply.int(i64::from(master.port));
        reply.bulk(master.state().name().as_bytes());
        reply.int(if master.is_up() { offset } else { -1 });
        return Ok(());
    }
    reply.array(3);
    reply.bulk(b"master");
    reply.int(offset);
    let online = || {
        replication
            .source
            .replicas()
            .iter()
            .filter(|one| one.state == State::Online)
    };
    reply.array(online().count());
    for replica in online() {
        reply.array(3);
        reply.bulk(replica.ip().as_bytes());
        reply.bulk(replica.announced.port.to_string().as_bytes());
        reply.bulk(replica.ack_offset.to_string().as_bytes());
    }
    Ok(())
}

/// WAIT numreplicas timeout
/// Reply: how many replicas have acknowledged this client's writes. Errors: on a replica; not an
/// integer; negative timeout. O(1).
fn wait(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if ctx.engine.is_replica() {
        return Err(CommandError::text(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not \
             propagated.",
        ));
    }
    let replicas = args.int()?;
    let timeout = timeout(ctx, args)?;
    wait_for(ctx, Stage::Applied, replicas, timeout)
}

/// WAITAOF numlocal numreplicas timeout-ms
/// Reply: array of 0 (there is no append-only file here yet, so `numlocal` must be 0) and how many replicas have this
/// client's writes in a synced file. Errors: on a replica; numlocal; not an integer; negative timeout. O(1).
fn waitaof(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let local = args.int()?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::text(
            "ERR value is out of range, value must between 0 and 1",
        ));
    }
    let positive = CommandError::text("ERR value is out of range, must be positive");
    let replicas = args.int_in(0, i64::MAX, positive)?;
    let timeout = timeout(ctx, args)?;
    if ctx.engine.is_replica() {
        return Err(CommandError::text(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just \
             local and are not propagated.",
        ));
    }
    if local > 0 {
        return Err(CommandError::text(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    wait_for(ctx, Stage::Synced, replicas, timeout)
}

/// A timeout in milliseconds that a clock can hold; 0 for none.
fn timeout(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<i64, CommandError> {
    let timeout = num::parse_i64(args.bytes()?).ok_or(CommandError::text(
        "ERR timeout is not an integer or out of range",
    ))?;
    if timeout < 0 {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    if timeout.checked_add(ctx.now()).is_none() {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    Ok(timeout)
}

/// Answers at once, or blocks the client until its writes have come so far at so many replicas.
fn wait_for(
    ctx: &mut Context<'_>,
    stage: Stage,
    replicas: i64,
    timeout: i64,
) -> Result<(), CommandError> {
    let offset = ctx.client.write_offset;
    let count = ctx
        .engine
        .replication
        .source
        .acknowledged_count(stage, offset);
    if count as i64 >= replicas || ctx.client.is(ClientFlags::IN_EXEC) {
        reply_acknowledged(ctx.client, stage, count);
        return Ok(());
    }
    let deadline_ms = match timeout {
        0 => 0,
        timeout => ctx
            .engine
            .clock
            .wait_begins_ms()
            .saturating_add(timeout as u64),
    };
    ctx.client.blocked = Some(Blocked::Wait {
        stage,
        replicas,
        offset,
        deadline_ms,
    });
    ctx.client.flags.insert(ClientFlags::BLOCKED);
    ctx.engine.waiting.push(ctx.client.link);
    ctx.engine.replication.request_acks();
    Ok(())
}

/// FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]
/// Reply: OK, at once. Errors: none to abort, one under way, no such replica, options that do not fit.
fn failover(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let error = |text: &'static str| Err(CommandError::text(text));
    if args.count() == 2 && args.take("abort") {
        if ctx.engine.failover.is_none() {
            return error("ERR No failover in progress.");
        }
        ctx.engine
            .abort_failover("Failover manually aborted", ctx.host);
        ctx.reply().ok();
        return Ok(());
    }
    let (mut target, mut force, mut timeout_ms) = (None, false, 0);
    while !args.is_empty() {
        let left = args.left();
        if left >= 2 && timeout_ms == 0 && args.take("timeout") {
            timeout_ms = args.int()?;
            if timeout_ms <= 0 {
                return error("ERR FAILOVER timeout must be greater than 0");
            }
        } else if left >= 3 && target.is_none() && args.take("to") {
            let host = String::from_utf8_lossy(args.bytes()?).into_owned();
            let port = args.int()?;
            target = Some((
                host,
                u16::try_from(port).map_err(|_| CommandError::NotInteger)?,
            ));
        } else if !force && args.take("force") {
            force = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if ctx.engine.failover.is_some() {
        return error("ERR FAILOVER already in progress.");
    }
    if ctx.engine.is_replica() {
        return error("ERR FAILOVER is not valid when server is a replica.");
    }
    let replicas = ctx.engine.replication.source.replicas();
    if replicas.is_empty() {
        return error("ERR FAILOVER requires connected replicas.");
    }
    if force && (timeout_ms == 0 || target.is_none()) {
        return error(
            "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        );
    }
    if let Some((host, port)) = &target {
        let named = |one: &&Replica| one.ip() == *host && one.announced.port == *port;
        match replicas.iter().find(named) {
            None => return error("ERR FAILOVER target HOST and PORT is not a replica."),
            Some(replica) if replica.state != State::Online => {
                return error("ERR FAILOVER target replica is not online.");
            }
            Some(_) => {}
        }
    }
    let now_ms = ctx.engine.clock.mono_ms();
    let deadline_ms = (timeout_ms > 0).then(|| now_ms.saturating_add(timeout_ms.unsigned_abs()));
    ctx.engine
        .start_failover(Failover::new(target, force, deadline_ms));
    ctx.reply().ok();
    Ok(())
}

/// REPLCONF option value [option value …], by a replica before it asks to synchronise; or ACK offset,
/// GETACK *. Reply: OK, none for ACK and GETACK. Errors: syntax error, unknown option, option's own.
fn replconf(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.count().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    while !args.is_empty() {
        let (option, value) = (args.bytes()?, args.bytes()?);
        if option.eq_ignore_ascii_case(b"ack") {
            acknowledge(ctx, value);
            if args.take("fack") && ctx.client.is(ClientFlags::REPLICA) {
                let synced = args.int()?;
                let link = ctx.client.link;
                ctx.engine
                    .replication
                    .source
                    .acknowledge_synced(link, synced);
            }
            return Ok(());
        }
        if option.eq_ignore_ascii_case(b"getack") {
            ctx.engine.replication.acknowledge_soon();
            return Ok(());
        }
        let announced = ctx.client.announced.get_or_insert_default();
        announced
            .set(option, value)
            .map_err(|error| CommandError::owned(error.to_string()))?;
    }
    ctx.reply().ok();
    Ok(())
}

fn acknowledge(ctx: &mut Context<'_>, value: &[u8]) {
    if let (true, Some(offset)) = (ctx.client.is(ClientFlags::REPLICA), num::parse_i64(value)) {
        let now = ctx.now();
        ctx.engine
            .replication
            .source
            .acknowledge(ctx.client.link, offset, now);
    }
}

/// PSYNC id offset. Reply: `+CONTINUE` and the stream, or `+FULLRESYNC`, a snapshot and the stream.
fn psync(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let id = args.bytes()?;
    let offset = args.int().inspect_err(|_| {
        log::warn!(
            "Replica {} asks for synchronization but with a wrong offset",
            ctx.client.peer
        );
    })?;
    if args.take("failover") {
        take_over(ctx, args, id)?;
    }
    synchronise(ctx, Some((id, offset)))
}

/// Our master asks us to take its place: it will be the replica that this link serves.
fn take_over(ctx: &mut Context<'_>, args: &Args<'_>, id: &[u8]) -> Result<(), CommandError> {
    log::info!(
        "Failover request received for replid {}.",
        String::from_utf8_lossy(&id[..id.len().min(64)])
    );
    if !ctx.engine.is_replica() {
        return Err(CommandError::text(
            "ERR PSYNC FAILOVER can't be sent to a master.",
        ));
    }
    if !ctx.engine.replication.ids.current.is(id) {
        return Err(CommandError::text(
            "ERR PSYNC FAILOVER replid must match my replid.",
        ));
    }
    ctx.engine.promote(ctx.host);
    log::info!(
        "MASTER MODE enabled (failover request from '{}')",
        describe(ctx, args)
    );
    Ok(())
}

/// SYNC. Reply: a snapshot and the stream.
fn sync(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    synchronise(ctx, None)
}

fn synchronise(ctx: &mut Context<'_>, request: Option<(&[u8], i64)>) -> Result<(), CommandError> {
    if ctx.client.is(ClientFlags::REPLICA) {
        return Ok(());
    }
    if ctx.client.unsent() > 0 {
        return Err(CommandError::text(
            "ERR SYNC and PSYNC are invalid with pending output",
        ));
    }
    let announced = ctx
        .client
        .announced
        .take()
        .map(|announced| *announced)
        .unwrap_or_default();
    let peer_ip = peer_ip(&ctx.client.peer);
    let (link, now) = (ctx.client.link, ctx.now());
    let fresh = ctx.engine.fresh_id();
    let answer = ctx
        .engine
        .replication
        .sync(link, announced, peer_ip, request, fresh, now)
        .map_err(|error| CommandError::owned(error.to_string()))?;
    ctx.client.flags.insert(ClientFlags::REPLICA);
    match answer {
        Sync::Continue(reply) => {
            ctx.engine.stats.sync_partial_ok += 1;
            ctx.reply().raw(&reply);
        }
        Sync::Full => {
            if request.is_some_and(|(id, _)| id != b"?") {
                ctx.engine.stats.sync_partial_err += 1;
            }
        }
    }
    Ok(())
}

/// The address of `1.2.3.4:5` or `[::1]:5`.
fn peer_ip(peer: &str) -> String {
    let ip = peer.rsplit_once(':').map_or(peer, |(ip, _)| ip);
    ip.trim_start_matches('[').trim_end_matches(']').to_string()
}

/// INFO's section.
pub(super) fn info(engine: &Engine, out: &mut String) {
    let replication = &engine.replication;
    let now = engine.now();
    let mut field = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(out, "{name}:{value}\r\n");
    };
    let offset = replication.stream.offset();
    match &replication.master {
        None => field("role", &"master"),
        Some(master) => {
            field("role", &"slave");
            field("master_host", &String::from_utf8_lossy(&master.host));
            field("master_port", &master.port);
            field(
                "master_link_status",
                &if master.is_up() { "up" } else { "down" },
            );
            let silent_s = if master.is_up() {
                (now - master.last_io_ms()) / 1000
            } else {
                -1
            };
            field("master_last_io_seconds_ago", &silent_s);
            field("master_sync_in_progress", &u8::from(master.is_syncing()));
            let read = if master.is_up() {
                master.read_offset()
            } else {
                offset
            };
            field("slave_read_repl_offset", &read);
            field("slave_repl_offset", &offset);
            // The stream behind a full synchronisation stays with the master until it can be applied.
            field("replica_full_sync_buffer_size", &0);
            field("replica_full_sync_buffer_peak", &0);
            if master.is_syncing() {
                let (total, read) = master.transfer();
                let total = total.unwrap_or(0);
                let percent = if total > 0 {
                    read as f64 / total as f64 * 100.0
                } else {
                    0.0
                };
                field("master_sync_total_bytes", &total);
                field("master_sync_read_bytes", &read);
                field("master_sync_left_bytes", &(total as i64 - read as i64));
                field("master_sync_perc", &format_args!("{percent:.2}"));
                field(
                    "master_sync_last_io_seconds_ago",
                    &((now - master.last_io_ms()) / 1000),
                );
            }
            if let Some(since) = master.down_since_ms() {
                field("master_link_down_since_seconds", &((now - since) / 1000));
            }
            field("slave_priority", &engine.config.replica_priority);
            field(
                "slave_read_only",
                &u8::from(engine.config.replica_read_only),
            );
            field(
                "replica_announced",
                &u8::from(engine.config.replica_announced),
            );
        }
    }
    let replicas = replication.source.replicas();
    field("connected_slaves", &replicas.len());
    if engine.config.min_replicas_to_write > 0 && engine.config.min_replicas_max_lag > 0 {
        let good = replication
            .source
            .good_count(&engine.source_settings(), now);
        field("min_slaves_good_slaves", &good);
    }
    for (index, replica) in replicas.iter().enumerate() {
        let line = format!(
            "ip={},port={},state={},offset={},lag={}",
            replica.ip(),
            replica.announced.port,
            replica.state.name(),
            replica.ack_offset,
            replica.lag_s(now)
        );
        field(&format!("slave{index}"), &line);
    }
    let stream = &replication.stream;
    let active = stream.is_active();
    field("master_failover_state", &engine.failover_state());
    field("master_replid", &replication.ids.current);
    field("master_replid2", &replication.ids.previous);
    field("master_repl_offset", &offset);
    field("second_repl_offset", &replication.ids.second_repl_offset());
    field("repl_backlog_active", &u8::from(active));
    field("repl_backlog_size", &stream.backlog_size());
    let first = if active { stream.first_offset() + 1 } else { 0 };
    field("repl_backlog_first_byte_offset", &first);
    field("repl_backlog_histlen", &stream.histlen());
}

/// Whether the link to the master is down, as `replica-serve-stale-data no` sees it.
pub fn is_stale(engine: &Engine) -> bool {
    engine
        .replication
        .master_state()
        .is_some_and(|state| state != Link::Connected)
}
