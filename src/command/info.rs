//! INFO: one function a section, in the order INFO prints them.
//!
//! To add a field: a line in its section's function. Fields that have no meaning here are left out,
//! except those that tools expect to find (forks, AOF, scripts), which are 0.
//! Source: the documentation of INFO and the replies of redis-server 8.0.

use std::fmt::Write;

use super::memory::{Account, excess, ratio};
use super::*;
use crate::config::REDIS_VERSION;
use crate::engine::{ClientFlags, MemoryFacts};
use crate::keyspace::Due;
use crate::types::Kind;

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("info", -1, info)
    .flags(LOADING | STALE)
    .categories(CAT_DANGEROUS)
    .doc(
        Group::Server,
        "1.0.0",
        "O(1)",
        "Returns information and statistics about the server.",
    )
    .syntax("[section [section ...]]")
    .history(&[(
        "7.0.0",
        "Added support for taking multiple section arguments.",
    )])
    .tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ])];

type Section = fn(&mut Context<'_>, &mut String);

/// Name, title, whether it is among the default sections, and its writer.
const SECTIONS: &[(&str, &str, bool, Section)] = &[
    ("server", "Server", true, server),
    ("clients", "Clients", true, clients),
    ("memory", "Memory", true, memory),
    ("persistence", "Persistence", true, persistence),
    ("threads", "Threads", true, threads),
    ("stats", "Stats", true, stats),
    ("replication", "Replication", true, replication),
    ("cpu", "CPU", true, cpu),
    ("modules", "Modules", true, modules),
    ("commandstats", "Commandstats", false, commandstats),
    ("errorstats", "Errorstats", true, errorstats),
    ("latencystats", "Latencystats", false, latencystats),
    ("cluster", "Cluster", true, cluster),
    ("keyspace", "Keyspace", true, keyspace),
    ("keysizes", "Keysizes", true, keysizes),
    ("debug", "Debug", false, debug),
];

/// The sections that neither `all` nor `everything` means.
const HIDDEN: &[&str] = &["debug"];

/// INFO [section …]. Reply: text, `# Section` heads and `name:value` lines.
fn info(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut wanted = [false; SECTIONS.len()];
    if args.is_empty() {
        mark(&mut wanted, |_, default| default);
    }
    while !args.is_empty() {
        let name = args.bytes()?.to_ascii_lowercase();
        match name.as_slice() {
            b"default" => mark(&mut wanted, |_, default| default),
            b"all" | b"everything" => mark(&mut wanted, |name, _| !HIDDEN.contains(&name)),
            other => mark(&mut wanted, |name, _| name.as_bytes() == other),
        }
    }
    let text = sections(ctx, &wanted);
    ctx.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// What INFO everything answers, for a crash report.
pub fn everything(ctx: &mut Context<'_>) -> String {
    let mut wanted = [false; SECTIONS.len()];
    mark(&mut wanted, |name, _| !HIDDEN.contains(&name));
    sections(ctx, &wanted)
}

fn sections(ctx: &mut Context<'_>, wanted: &[bool]) -> String {
    let mut text = String::with_capacity(4096);
    for ((_, title, _, write), _) in SECTIONS.iter().zip(wanted).filter(|(_, wanted)| **wanted) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        line(&mut text, format_args!("# {title}"));
        write(ctx, &mut text);
    }
    text
}

fn mark(wanted: &mut [bool], choose: impl Fn(&str, bool) -> bool) {
    for (mark, (name, _, default, _)) in wanted.iter_mut().zip(SECTIONS) {
        *mark |= choose(name, *default);
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
    out.push_str("\r\n");
}

fn field(out: &mut String, name: &str, value: impl std::fmt::Display) {
    line(out, format_args!("{name}:{value}"));
}

/// Writes one field a line: `"name": value,`.
macro_rules! fields {
    ($out:ident; $($name:literal: $value:expr,)*) => { $( field($out, $name, $value); )* };
}

/// Bytes with a unit, as `used_memory_human` has them.
pub fn human(bytes: usize) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "T"),
        (1 << 30, "G"),
        (1 << 20, "M"),
        (1 << 10, "K"),
    ];
    for (size, unit) in UNITS {
        if bytes as u64 >= size {
            return format!("{:.2}{unit}", bytes as f64 / size as f64);
        }
    }
    format!("{bytes}B")
}

fn server(ctx: &mut Context<'_>, out: &mut String) {
    let process = ctx.host.process();
    let engine = &*ctx.engine;
    let uptime_s = (ctx.now() - engine.started_ms).max(0) / 1000;
    let file = engine.config.file.as_ref();
    let file = file.map(|path| path.display().to_string());
    fields! { out;
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0",
        "redis_mode": "standalone",
        "server_name": "redoxide",
        "redoxide_version": env!("CARGO_PKG_VERSION"),
        "os": process.os,
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": process.multiplexing,
        // Atomics are the language's; the version is what Redis tells that no GCC compiled.
        "atomicvar_api": "rust-core",
        "gcc_version": "0.0.0",
        "process_id": process.pid,
        "process_supervised": process.supervised,
        "run_id": &engine.run_id,
        "tcp_port": engine.config.port,
        "server_time_usec": engine.clock.unix_us(),
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s / 86400,
        "hz": engine.config.hz,
        "configured_hz": engine.config.hz,
        "lru_clock": (ctx.now() / 1000) & 0xff_ffff,
        "executable": process.executable,
        "config_file": file.unwrap_or_default(),
        "io_threads_active": 0,
    }
    if let Some(deadline_ms) = engine.shutdown.as_ref().and_then(|end| end.deadline_ms) {
        let left = deadline_ms.saturating_sub(engine.clock.mono_ms());
        field(out, "shutdown_in_milliseconds", left);
    }
    if engine.config.port != 0 {
        let binds: String = engine
            .config
            .bind
            .0
            .iter()
            // As Redis shows them: the first, though it may be others that could not be bound.
            .take(process.tcp_listeners)
            .map(|bind| format!("bind={bind},"))
            .collect();
        field(
            out,
            "listener0",
            format_args!("name=tcp,{binds}port={}", engine.config.port),
        );
    }
    if engine.config.unixsocket.get().is_some() {
        let path = engine.config.unixsocket.lossy();
        field(out, "listener1", format_args!("name=unix,bind={path}"));
    }
}

fn clients(ctx: &mut Context<'_>, out: &mut String) {
    let all = ctx.all_clients();
    let replicas = all.iter().filter(|c| c.is(ClientFlags::REPLICA)).count();
    let masters = all.iter().filter(|c| c.is(ClientFlags::MASTER)).count();
    let (stats, now_s) = (&ctx.engine.stats, ctx.engine.now() / 1000);
    let largest_input = stats.recent_input.largest(now_s);
    let largest_output = stats.recent_output.largest(now_s);
    let subscribed = all.iter().filter(|c| c.is(ClientFlags::PUBSUB)).count();
    let blocked = all.iter().filter(|c| c.is(ClientFlags::BLOCKED)).count();
    let connected = all.len() - replicas - masters;
    fields! { out;
        "connected_clients": connected,
        "cluster_connections": 0,
        "maxclients": ctx.engine.config.maxclients,
        "client_recent_max_input_buffer": largest_input,
        "client_recent_max_output_buffer": largest_output,
        "blocked_clients": blocked,
        "tracking_clients": 0,
        "pubsub_clients": subscribed,
        "watching_clients": ctx.engine.watched.clients(),
        "clients_in_timeout_table": 0,
        "total_watched_keys": ctx.engine.watched.keys(),
        "total_blocking_keys": ctx.engine.key_waits.keys(),
        "total_blocking_keys_on_nokey": ctx.engine.key_waits.keys_or_none(),
    }
}

fn memory(ctx: &mut Context<'_>, out: &mut String) {
    let account = Account::of(ctx);
    let engine = &*ctx.engine;
    let facts = &account.facts;
    let MemoryFacts { used, rss, .. } = *facts;
    let maxmemory = engine.config.maxmemory as usize;
    fields! { out;
        "used_memory": used,
        "used_memory_human": human(used),
        "used_memory_rss": rss,
        "used_memory_rss_human": human(rss),
        "used_memory_peak": account.peak(),
        "used_memory_peak_human": human(account.peak()),
        "used_memory_peak_perc": format_args!("{:.2}%", account.peak_percent()),
        "used_memory_overhead": account.overhead(),
        "used_memory_startup": account.startup,
        "used_memory_dataset": account.dataset(),
        "used_memory_dataset_perc": format_args!("{:.2}%", account.dataset_percent()),
        "allocator_allocated": facts.allocated,
        "allocator_active": facts.active,
        "allocator_resident": facts.resident,
        "allocator_muzzy": 0,
        "total_system_memory": facts.system,
        "total_system_memory_human": human(facts.system),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": "0B",
        "used_memory_scripts_eval": 0,
        "number_of_cached_scripts": 0,
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": 0,
        "used_memory_vm_total_human": "0B",
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": "0B",
        "maxmemory": maxmemory,
        "maxmemory_human": human(maxmemory),
        "maxmemory_policy": engine.config.maxmemory_policy.word(),
        "allocator_frag_ratio": format_args!("{:.2}", ratio(facts.active, facts.allocated)),
        "allocator_frag_bytes": facts.active.saturating_sub(facts.allocated),
        "allocator_rss_ratio": format_args!("{:.2}", ratio(facts.resident, facts.active)),
        "allocator_rss_bytes": excess(facts.resident, facts.active),
        "rss_overhead_ratio": format_args!("{:.2}", ratio(rss, facts.resident)),
        "rss_overhead_bytes": excess(rss, facts.resident),
        "mem_fragmentation_ratio": format_args!("{:.2}", ratio(rss, used)),
        "mem_fragmentation_bytes": excess(rss, used),
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": account.backlog,
        "mem_total_replication_buffers": account.backlog,
        "mem_replica_full_sync_buffer": 0,
        "mem_clients_slaves": account.replicas,
        "mem_clients_normal": account.clients,
        "mem_cluster_links": 0,
        "mem_aof_buffer": 0,
        "mem_allocator": ctx.host.process().allocator,
        "mem_overhead_db_hashtable_rehashing": 0,
        "active_defrag_running": 0,
        "lazyfree_pending_objects": engine.keyspace.pending_objects(),
        "lazyfreed_objects": engine.keyspace.freed_objects() - engine.stats.freed_before_reset,
    }
}

fn persistence(ctx: &mut Context<'_>, out: &mut String) {
    fields! { out;
        "loading": u8::from(ctx.engine.is_loading()),
        "async_loading": u8::from(ctx.engine.is_loading_aside()),
    }
    for (name, value) in ctx.engine.rdb_info() {
        field(out, name, value);
    }
    fields! { out;
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_rewrites": 0,
        "aof_rewrites_consecutive_failures": 0,
        "aof_last_write_status": "ok",
        "aof_last_cow_size": 0,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
    }
    let used_memory = ctx.host.used_memory();
    for (name, value) in ctx.engine.loading_info(used_memory) {
        field(out, name, value);
    }
}

fn threads(ctx: &mut Context<'_>, out: &mut String) {
    let count = ctx.all_clients().len();
    let stats = &ctx.engine.stats;
    line(
        out,
        format_args!(
            "io_thread_0:clients={count},reads={},writes={}",
            stats.reads_processed, stats.writes_processed
        ),
    );
}

fn stats(ctx: &mut Context<'_>, out: &mut String) {
    let engine = &*ctx.engine;
    let stats = &engine.stats;
    let rates = &stats.rates;
    let since_ns = stats.eviction_exceeded_since_ns;
    let exceeded_ns = since_ns.map_or(0, |since| engine.clock.mono_ns.saturating_sub(since));
    let kb = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    fields! { out;
        "total_connections_received": stats.connections_received,
        "total_commands_processed": stats.commands_processed,
        "instantaneous_ops_per_sec": rates.commands.mean(),
        "total_net_input_bytes": stats.net_input_bytes + stats.net_repl_input_bytes,
        "total_net_output_bytes": stats.net_output_bytes + stats.net_repl_output_bytes,
        "total_net_repl_input_bytes": stats.net_repl_input_bytes,
        "total_net_repl_output_bytes": stats.net_repl_output_bytes,
        "instantaneous_input_kbps": kb(rates.input.mean()),
        "instantaneous_output_kbps": kb(rates.output.mean()),
        "instantaneous_input_repl_kbps": kb(rates.repl_input.mean()),
        "instantaneous_output_repl_kbps": kb(rates.repl_output.mean()),
        "rejected_connections": stats.rejected_connections,
        "sync_full": stats.sync_full,
        "sync_partial_ok": stats.sync_partial_ok,
        "sync_partial_err": stats.sync_partial_err,
        "expired_subkeys": stats.expired_subkeys,
        "expired_keys": stats.expired_keys,
        "expired_stale_perc": "0.00",
        "expired_time_cap_reached_count": stats.expired_time_cap_reached_count,
        "expire_cycle_cpu_milliseconds": stats.expire_cycle_cpu_ns / 1_000_000,
        "evicted_keys": stats.evicted_keys,
        "evicted_clients": stats.evicted_clients,
        "evicted_scripts": stats.evicted_scripts,
        "total_eviction_exceeded_time": (stats.eviction_exceeded_ns + exceeded_ns) / 1_000_000,
        "current_eviction_exceeded_time": exceeded_ns / 1_000_000,
        "keyspace_hits": stats.keyspace_hits,
        "keyspace_misses": stats.keyspace_misses,
        "pubsub_channels": engine.pubsub.channels.len(),
        "pubsub_patterns": engine.pubsub.patterns.len(),
        "pubsubshard_channels": engine.pubsub.shard_channels.len(),
        "latest_fork_usec": engine.snapshot_cost.taken_ns / 1000,
        "total_forks": stats.snapshots,
        "migrate_cached_sockets": engine.migrations.sockets(),
        "slave_expires_tracked_keys": engine.own_expires.len(),
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": stats.unexpected_error_replies,
        "total_error_replies": stats.errors.total(),
        "dump_payload_sanitizations": stats.dump_payload_sanitizations,
        "total_reads_processed": stats.reads_processed,
        "total_writes_processed": stats.writes_processed,
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "client_query_buffer_limit_disconnections": stats.client_query_buffer_limit_disconnections,
        "client_output_buffer_limit_disconnections": stats.client_output_buffer_limit_disconnections,
        "reply_buffer_shrinks": stats.reply_buffer_shrinks,
        "reply_buffer_expands": stats.reply_buffer_expands,
        "eventloop_cycles": stats.eventloop_cycles,
        "eventloop_duration_sum": stats.eventloop_ns / 1000,
        "eventloop_duration_cmd_sum": stats.eventloop_command_ns / 1000,
        "instantaneous_eventloop_cycles_per_sec": rates.cycles.mean(),
        "instantaneous_eventloop_duration_usec": rates.cycle_ns.mean() / 1000,
        "acl_access_denied_auth": stats.acl_access_denied_auth,
        "acl_access_denied_cmd": stats.acl_access_denied_cmd,
        "acl_access_denied_key": stats.acl_access_denied_key,
        "acl_access_denied_channel": stats.acl_access_denied_channel,
    }
}

/// Values by size; sizes from 1024 on with a unit.
fn keysizes(ctx: &mut Context<'_>, out: &mut String) {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let keyspace = &ctx.engine.keyspace;
    for db in 0..keyspace.count() {
        for kind in Kind::ALL {
            let bins: Vec<String> = keyspace
                .sizes(db)
                .of(kind)
                .map(|(size, count)| {
                    let unit = size.checked_ilog2().unwrap_or(0) / 10;
                    format!("{}{}={count}", size >> (10 * unit), UNITS[unit as usize])
                })
                .collect();
            let what = match kind {
                Kind::String => "strings_sizes",
                Kind::List => "lists_items",
                Kind::Set => "sets_items",
                Kind::Zset => "zsets_items",
                Kind::Hash => "hashes_items",
                Kind::Stream => continue,
            };
            if !bins.is_empty() {
                field(out, &format!("db{db}_distrib_{what}"), bins.join(","));
            }
        }
    }
}

fn debug(ctx: &mut Context<'_>, out: &mut String) {
    let stats = &ctx.engine.stats;
    fields! { out;
        "eventloop_duration_aof_sum": 0,
        "eventloop_duration_cron_sum": stats.eventloop_cron_ns / 1000,
        "eventloop_duration_max": stats.eventloop_ns_max / 1000,
        "eventloop_cmd_per_cycle_max": stats.eventloop_commands_max,
    }
}

fn replication(ctx: &mut Context<'_>, out: &mut String) {
    super::replication::info(ctx.engine, out);
}

fn cpu(ctx: &mut Context<'_>, out: &mut String) {
    let process = ctx.host.process();
    let rows = [
        ("used_cpu_sys", process.cpu_process.0),
        ("used_cpu_user", process.cpu_process.1),
        ("used_cpu_sys_children", process.cpu_children.0),
        ("used_cpu_user_children", process.cpu_children.1),
        ("used_cpu_sys_main_thread", process.cpu_thread.0),
        ("used_cpu_user_main_thread", process.cpu_thread.1),
    ];
    for (name, seconds) in rows {
        field(out, name, format_args!("{seconds:.6}"));
    }
}

/// There are no modules.
fn modules(_: &mut Context<'_>, _: &mut String) {}

fn commandstats(ctx: &mut Context<'_>, out: &mut String) {
    for entry in table().all() {
        let stats = ctx.engine.stats.command(entry.id as usize);
        if stats.is_used() {
            line(
                out,
                format_args!(
                    "cmdstat_{}:calls={},usec={},usec_per_call={:.2},rejected_calls={},failed_calls={}",
                    entry.full_name,
                    stats.calls,
                    stats.us(),
                    stats.us_per_call(),
                    stats.rejected_calls,
                    stats.failed_calls
                ),
            );
        }
    }
}

fn errorstats(ctx: &mut Context<'_>, out: &mut String) {
    for (code, count) in ctx.engine.stats.errors.iter() {
        line(out, format_args!("errorstat_{code}:count={count}"));
    }
}

fn latencystats(ctx: &mut Context<'_>, out: &mut String) {
    if !ctx.engine.config.latency_tracking {
        return;
    }
    let percentiles = &ctx.engine.config.latency_tracking_info_percentiles.0;
    for entry in table().all() {
        let Some(histogram) = &ctx.engine.stats.command(entry.id as usize).histogram else {
            continue;
        };
        let values: Vec<String> = percentiles
            .iter()
            .map(|&percent| {
                format!(
                    "p{percent}={:.3}",
                    histogram.percentile(percent) as f64 / 1000.0
                )
            })
            .collect();
        line(
            out,
            format_args!(
                "latency_percentiles_usec_{}:{}",
                entry.full_name,
                values.join(",")
            ),
        );
    }
}

fn cluster(_: &mut Context<'_>, out: &mut String) {
    field(out, "cluster_enabled", 0);
}

fn keyspace(ctx: &mut Context<'_>, out: &mut String) {
    let now = ctx.now();
    for db in 0..ctx.engine.keyspace.count() {
        let stored = ctx.engine.keyspace.len(db);
        let exact = ctx.engine.counts_exactly();
        let keyspace = &mut ctx.engine.keyspace;
        let (by_key, by_fields) = match exact {
            true => (
                keyspace.due_count(db, Due::Key, now),
                keyspace.due_count(db, Due::LastField, now),
            ),
            false => (0, 0),
        };
        if stored == by_key + by_fields {
            continue;
        }
        let keys = stored - by_key - by_fields;
        let expires = keyspace.expires_len(db) - by_key;
        let hashes = keyspace.timed_hashes_len(db) - by_fields;
        let average = keyspace.average_ttl(db, now);
        line(
            out,
            format_args!(
                "db{db}:keys={keys},expires={expires},avg_ttl={average},subexpiry={hashes}"
            ),
        );
    }
}
