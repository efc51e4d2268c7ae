//! MEMORY, and what INFO tells of it.
//! Source: the help of MEMORY and the replies of redis-server 8.0.

use super::*;
use crate::engine::{ClientFlags, MemoryFacts};

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("memory", -2, container)
    .doc(
        Group::Server,
        "4.0.0",
        "Depends on subcommand.",
        "A container for memory diagnostics commands.",
    )
    .subcommands(&[
        Command::new("doctor", 2, memory_doctor)
            .doc(
                Group::Server,
                "4.0.0",
                "O(1)",
                "Outputs a memory problems report.",
            )
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ]),
        Command::new("help", 2, memory_help)
            .flags(LOADING | STALE)
            .doc(
                Group::Server,
                "4.0.0",
                "O(1)",
                "Returns helpful text about the different subcommands.",
            ),
        Command::new("malloc-stats", 2, memory_malloc_stats)
            .doc(
                Group::Server,
                "4.0.0",
                "Depends on how much memory is allocated",
                "Returns the allocator statistics.",
            )
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ]),
        Command::new("purge", 2, memory_purge)
            .doc(
                Group::Server,
                "4.0.0",
                "Depends on how much memory is allocated, could be slow",
                "Asks the allocator to release memory.",
            )
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
        Command::new("stats", 2, memory_stats)
            .doc(
                Group::Server,
                "4.0.0",
                "O(1)",
                "Returns details about memory usage.",
            )
            .tips(&[
                "nondeterministic_output",
                "request_policy:all_shards",
                "response_policy:special",
            ]),
        Command::new("usage", -3, memory_usage)
            .flags(READONLY)
            .keys(&[KeySpec::range(2, 0, 1, RO)])
            .doc(
                Group::Server,
                "4.0.0",
                "O(N) where N is the number of samples.",
                "Estimates the memory usage of a key.",
            )
            .syntax("key [SAMPLES count]"),
    ])];

/// What the memory went to.
pub struct Account {
    pub facts: MemoryFacts,
    /// Bytes in use when the server had started.
    pub startup: usize,
    /// Bytes of clients that are no replicas.
    pub clients: usize,
    /// Bytes of connected replicas.
    pub replicas: usize,
    /// Bytes of the replication backlog.
    pub backlog: usize,
    /// The bytes that the tables of each database with keys take beside these.
    pub tables: Vec<(usize, usize)>,
}

impl Account {
    pub fn of(ctx: &mut Context<'_>) -> Account {
        let facts = ctx.host.memory();
        let (mut clients, mut replicas) = (0, 0);
        for client in ctx.all_clients() {
            *match client.is(ClientFlags::REPLICA) {
                true => &mut replicas,
                false => &mut clients,
            } += ctx.engine.client_bytes(client);
        }
        let keyspace = &ctx.engine.keyspace;
        Account {
            facts,
            startup: ctx.engine.startup_memory,
            clients,
            replicas,
            backlog: ctx.engine.replication.stream.memory_bytes(),
            tables: (0..keyspace.count())
                .filter(|&db| keyspace.len(db) > 0)
                .map(|db| (db, keyspace.overhead_bytes(db)))
                .collect(),
        }
    }

    /// The most that was ever in use.
    pub fn peak(&self) -> usize {
        self.facts.peak.max(self.facts.used)
    }

    /// What was in use at the peak, in percent of it.
    pub fn peak_percent(&self) -> f64 {
        ratio(self.facts.used, self.peak()) * 100.0
    }

    /// Bytes of all tables.
    pub fn tables_bytes(&self) -> usize {
        self.tables.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes that are not data.
    pub fn overhead(&self) -> usize {
        self.startup + self.clients + self.replicas + self.backlog + self.tables_bytes()
    }

    /// Bytes of keys and values.
    pub fn dataset(&self) -> usize {
        self.facts.used.saturating_sub(self.overhead())
    }

    /// Bytes that came to use since the start.
    pub fn since_startup(&self) -> usize {
        self.facts.used.saturating_sub(self.startup)
    }

    /// The data's part of what came to use since the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        ratio(self.dataset(), self.since_startup()) * 100.0
    }
}

/// `a` by `b`; 0 where that is 0.
pub fn ratio(a: usize, b: usize) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// `a` less `b`.
pub fn excess(a: usize, b: usize) -> i64 {
    a as i64 - b as i64
}

/// MEMORY USAGE key [SAMPLES n]. Reply: bytes, or null.
fn memory_usage(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    while !args.is_empty() {
        if !args.take("samples") {
            return Err(CommandError::Syntax);
        }
        if args.int()? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    let db = ctx.client.db;
    if ctx.engine.hides(ctx.client, key) {
        ctx.reply().null();
        return Ok(());
    }
    let keyspace = &ctx.engine.keyspace;
    match keyspace
        .find(db, key)
        .map(|entry| keyspace.memory_usage(db, entry))
    {
        Some(bytes) => ctx.reply().int(bytes as i64),
        None => ctx.reply().null(),
    }
    Ok(())
}

/// MEMORY DOCTOR. Reply: a report.
fn memory_doctor(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let facts = ctx.host.memory();
    let mut findings = Vec::new();
    if facts.used < 5 << 20 {
        findings.push("Hi, this instance is empty or is using very little memory: there is nothing to diagnose yet.");
    } else {
        if facts.peak > facts.used / 2 * 3 {
            findings.push(
                "Peak memory: in the past this instance used more than 150% of what it uses now. The allocator may \
                 keep the difference; MEMORY PURGE gives it back.",
            );
        }
        if facts.rss > facts.used / 5 * 7 && facts.rss - facts.used > 10 << 20 {
            findings.push(
                "High fragmentation: the resident set is more than 140% of the memory in use. MEMORY PURGE may help; \
                 a restart from a snapshot will.",
            );
        }
        if findings.is_empty() {
            findings.push("Hi, I can't find any memory issue in your instance.");
        }
    }
    let text = findings.join("\n");
    ctx.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// MEMORY MALLOC-STATS. Reply: the allocator's figures.
fn memory_malloc_stats(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let (facts, allocator) = (ctx.host.memory(), ctx.host.process().allocator);
    let text = format!(
        "{allocator}\nallocated: {}\nactive: {}\nresident: {}\nretained: {}\n",
        facts.allocated, facts.active, facts.resident, facts.retained
    );
    ctx.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// MEMORY PURGE. Reply: OK.
fn memory_purge(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.host.purge_memory();
    ctx.reply().ok();
    Ok(())
}

/// MEMORY STATS. Reply: a map of figures.
fn memory_stats(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let account = Account::of(ctx);
    let facts = &account.facts;
    let keyspace = &ctx.engine.keyspace;
    let keys: usize = (0..keyspace.count()).map(|db| keyspace.len(db)).sum();
    let bytes_per_key = account.since_startup().checked_div(keys).unwrap_or(0);
    let parts = [
        ("peak.allocated", account.peak()),
        ("total.allocated", facts.used),
        ("startup.allocated", account.startup),
        ("replication.backlog", account.backlog),
        ("replica.fullsync.buffer", 0),
        ("clients.slaves", account.replicas),
        ("clients.normal", account.clients),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("script.VMs", 0),
    ];
    let sums = [
        ("overhead.db.hashtable.lut", account.tables_bytes()),
        ("overhead.db.hashtable.rehashing", 0),
        ("overhead.total", account.overhead()),
        ("db.dict.rehashing.count", 0),
        ("keys.count", keys),
        ("keys.bytes-per-key", bytes_per_key),
        ("dataset.bytes", account.dataset()),
    ];
    let percentages = [
        ("dataset.percentage", account.dataset_percent()),
        ("peak.percentage", account.peak_percent()),
    ];
    let allocator = [
        ("allocator.allocated", facts.allocated),
        ("allocator.active", facts.active),
        ("allocator.resident", facts.resident),
        ("allocator.muzzy", 0),
    ];
    // Each as a ratio and as a difference.
    let fragmentation = [
        (
            "allocator-fragmentation.ratio",
            "allocator-fragmentation.bytes",
            facts.active,
            facts.allocated,
        ),
        (
            "allocator-rss.ratio",
            "allocator-rss.bytes",
            facts.resident,
            facts.active,
        ),
        (
            "rss-overhead.ratio",
            "rss-overhead.bytes",
            facts.rss,
            facts.resident,
        ),
        (
            "fragmentation",
            "fragmentation.bytes",
            facts.rss,
            facts.used,
        ),
    ];
    let count = parts.len()
        + account.tables.len()
        + sums.len()
        + percentages.len()
        + allocator.len()
        + 2 * fragmentation.len();
    let reply = ctx.reply();
    reply.map(count);
    for (name, figure) in parts {
        reply.bulk(name.as_bytes());
        reply.int(figure as i64);
    }
    for (db, bytes) in &account.tables {
        reply.bulk(format!("db.{db}").as_bytes());
        reply.map(2);
        reply.bulk(b"overhead.hashtable.main");
        reply.int(*bytes as i64);
        reply.bulk(b"overhead.hashtable.expires");
        reply.int(0);
    }
    for (name, figure) in sums {
        reply.bulk(name.as_bytes());
        reply.int(figure as i64);
    }
    for (name, percent) in percentages {
        reply.bulk(name.as_bytes());
        reply.double(percent);
    }
    for (name, figure) in allocator {
        reply.bulk(name.as_bytes());
        reply.int(figure as i64);
    }
    for (name, name_bytes, a, b) in fragmentation {
        reply.bulk(name.as_bytes());
        reply.double(ratio(a, b));
        reply.bulk(name_bytes.as_bytes());
        reply.int(excess(a, b));
    }
    Ok(())
}

/// MEMORY HELP. Reply: lines of help.
fn memory_help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
    ]);
    Ok(())
}
