//! SLOWLOG, LATENCY, MONITOR, TIME, LOLWUT: what looks at the server from outside.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::base::num;
use crate::engine::ClientFlags;

const ADMIN_FLAGS: u32 = ADMIN | LOADING | STALE;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("slowlog", -2, container)
        .doc(Group::Server, "2.2.12", "Depends on subcommand.", "A container for slow log commands.")
        .subcommands(&[
            Command::new("get", -2, slowlog_get)
                .flags(ADMIN_FLAGS)
                .doc(
                    Group::Server,
                    "2.2.12",
                    "O(N) where N is the number of entries returned",
                    "Returns the slow log's entries.",
                )
                .syntax("[count]")
                .history(&[("4.0.0", "Added client IP address, port and name to the reply.")])
                .tips(&["request_policy:all_nodes", "nondeterministic_output"]),
            Command::new("help", 2, slowlog_help).flags(LOADING | STALE).doc(
                Group::Server,
                "6.2.0",
                "O(1)",
                "Show helpful text about the different subcommands",
            ),
            Command::new("len", 2, slowlog_len)
                .flags(ADMIN_FLAGS)
                .doc(Group::Server, "2.2.12", "O(1)", "Returns the number of entries in the slow log.")
                .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
            Command::new("reset", 2, slowlog_reset)
                .flags(ADMIN_FLAGS)
                .doc(
                    Group::Server,
                    "2.2.12",
                    "O(N) where N is the number of entries in the slowlog",
                    "Clears all entries from the slow log.",
                )
                .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        ]),
    Command::new("latency", -2, container)
        .doc(Group::Server, "2.8.13", "Depends on subcommand.", "A container for latency diagnostics commands.")
        .subcommands(&[
            Command::new("doctor", 2, latency_doctor)
                .flags(ADMIN_FLAGS | NOSCRIPT)
                .doc(Group::Server, "2.8.13", "O(1)", "Returns a human-readable latency analysis report.")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Command::new("graph", 3, latency_graph)
                .flags(ADMIN_FLAGS | NOSCRIPT)
                .doc(Group::Server, "2.8.13", "O(1)", "Returns a latency graph for an event.")
                .syntax("event")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Command::new("help", 2, latency_help).flags(LOADING | STALE).doc(
                Group::Server,
                "2.8.13",
                "O(1)",
                "Returns helpful text about the different subcommands.",
            ),
            Command::new("histogram", -2, latency_histogram)
                .flags(ADMIN_FLAGS | NOSCRIPT)
                .doc(
                    Group::Server,
                    "7.0.0",
                    "O(N) where N is the number of commands with latency information being retrieved.",
                    "Returns the cumulative distribution of latencies of a subset or all commands.",
                )
                .syntax("[command [command ...]]")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Command::new("history", 3, latency_history)
                .flags(ADMIN_FLAGS | NOSCRIPT)
                .doc(Group::Server, "2.8.13", "O(1)", "Returns timestamp-latency samples for an event.")
                .syntax("event")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Command::new("latest", 2, latency_latest)
                .flags(ADMIN_FLAGS | NOSCRIPT)
                .doc(Group::Server, "2.8.13", "O(1)", "Returns the latest latency samples for all events.")
                .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
            Command::new("reset", -2, latency_reset)
                .flags(ADMIN_FLAGS | NOSCRIPT)
                .doc(Group::Server, "2.8.13", "O(1)", "Resets the latency data for one or more events.")
                .syntax("[event [event ...]]")
                .tips(&["request_policy:all_nodes", "response_policy:agg_sum"]),
        ]),
    Command::new("monitor", 1, monitor).flags(ADMIN_FLAGS | NOSCRIPT).doc(
        Group::Server,
        "1.0.0",
        "",
        "Listens for all requests received by the server in real-time.",
    ),
    Command::new("time", 1, time)
        .flags(LOADING | STALE | FAST)
        .doc(Group::Server, "2.6.0", "O(1)", "Returns the server time.")
        .tips(&["nondeterministic_output"]),
    Command::new("lolwut", -1, lolwut)
        .flags(READONLY | FAST)
        .doc(Group::Server, "5.0.0", "", "Displays computer art and the version")
        .syntax("[VERSION version]"),
];

/// SLOWLOG GET [count]. Reply: the newest entries; all with -1, ten without a count.
fn slowlog_get(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.left() > 1 {
        return Err(CommandError::subcommand_syntax("slowlog", args.at(1)));
    }
    let count = if args.is_empty() {
        10
    } else {
        let error = CommandError::text("ERR count should be greater than or equal to -1");
        args.int_in(-1, i64::MAX, error)?
    };
    let log = &ctx.engine.stats.slowlog;
    let count = usize::try_from(count).map_or(log.len(), |count| count.min(log.len()));
    let reply = &mut ctx.client.reply;
    reply.array(count);
    for entry in log.iter().take(count) {
        reply.array(6);
        reply.int(entry.id as i64);
        reply.int(entry.unix_seconds);
        reply.int(entry.us);
        reply.array(entry.args.len());
        for argument in &entry.args {
            reply.bulk(argument);
        }
        reply.bulk(entry.peer.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(())
}

/// SLOWLOG LEN. Reply: integer.
fn slowlog_len(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let len = ctx.engine.stats.slowlog.len() as i64;
    ctx.reply().int(len);
    Ok(())
}

/// SLOWLOG RESET. Reply: OK.
fn slowlog_reset(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.engine.stats.slowlog.reset();
    ctx.reply().ok();
    Ok(())
}

/// SLOWLOG HELP. Reply: lines of help.
fn slowlog_help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
    ]);
    Ok(())
}

/// LATENCY DOCTOR. Reply: a report.
fn latency_doctor(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let config = &ctx.engine.config;
    let text = ctx.engine.stats.latency.doctor(
        config.latency_monitor_threshold,
        config.slowlog_log_slower_than,
    );
    ctx.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// LATENCY GRAPH event. Reply: a plot in letters. Errors: no samples.
fn latency_graph(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let event = args.bytes()?;
    let seconds = ctx.now() / 1000;
    match ctx.engine.stats.latency.graph(event, seconds) {
        Some(text) => {
            ctx.reply().verbatim("txt", text.as_bytes());
            Ok(())
        }
        None => {
            let mut text = b"ERR No samples available for event '".to_vec();
            text.extend_from_slice(event);
            text.push(b'\'');
            Err(CommandError::Bytes(text))
        }
    }
}

/// LATENCY HISTORY event. Reply: (seconds, milliseconds) pairs, oldest first.
fn latency_history(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let event = ctx.engine.stats.latency.event(args.bytes()?);
    let reply = &mut ctx.client.reply;
    let Some(event) = event else {
        reply.array(0);
        return Ok(());
    };
    reply.array(event.samples().len());
    for sample in event.samples() {
        reply.array(2);
        reply.int(sample.unix_seconds);
        reply.int(i64::from(sample.ms));
    }
    Ok(())
}

/// LATENCY LATEST. Reply: (event, seconds, last, highest) of each class.
fn latency_latest(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let events = ctx.engine.stats.latency.events();
    let reply = &mut ctx.client.reply;
    reply.array(events.len());
    for (name, event) in events {
        let Some(latest) = event.latest() else {
            continue;
        };
        reply.array(4);
        reply.bulk(name.as_bytes());
        reply.int(latest.unix_seconds);
        reply.int(i64::from(latest.ms));
        reply.int(i64::from(event.max_ms()));
    }
    Ok(())
}

/// LATENCY RESET [event …]. Reply: how many classes were reset.
fn latency_reset(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let latency = &mut ctx.engine.stats.latency;
    let mut reset = 0;
    if args.is_empty() {
        reset = latency.reset(None);
    }
    while !args.is_empty() {
        reset += latency.reset(Some(args.bytes()?));
    }
    ctx.reply().int(reset as i64);
    Ok(())
}

/// LATENCY HISTOGRAM [command …]. Reply: a map of command to its calls and cumulative histogram.
fn latency_histogram(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut wanted = Vec::new();
    if args.is_empty() {
        wanted.extend(table().all());
    }
    while !args.is_empty() {
        let Some(entry) = table().find_full(&ctx.engine.renames, args.bytes()?) else {
            continue;
        };
        if entry.subcommands.is_empty() {
            wanted.push(entry);
        } else {
            wanted.extend(entry.subcommands.iter().map(|&id| table().get(id)));
        }
    }
    let stats = &ctx.engine.stats;
    wanted.retain(|entry| stats.command(entry.id as usize).histogram.is_some());
    let reply = &mut ctx.client.reply;
    reply.map(wanted.len());
    for entry in wanted {
        let Some(histogram) = &stats.command(entry.id as usize).histogram else {
            continue;
        };
        reply.bulk(entry.full_name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.int(histogram.total() as i64);
        reply.bulk(b"histogram_usec");
        let counts = histogram.cumulative();
        reply.map(counts.len());
        for (us, count) in counts {
            reply.int(us as i64);
            reply.int(count as i64);
        }
    }
    Ok(())
}

/// LATENCY HELP. Reply: lines of help.
fn latency_help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        "    Return a cumulative distribution of latencies of the named commands,",
        "    or of all commands that have run.",
    ]);
    Ok(())
}

/// MONITOR. Reply: OK, then a line a command of any client; none when it is one already.
fn monitor(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    if ctx.client.is(ClientFlags::IN_EXEC) {
        return Err(CommandError::text(
            "ERR MONITOR isn't allowed for DENY BLOCKING client",
        ));
    }
    if ctx.client.is(ClientFlags::REPLICA | ClientFlags::MONITOR) {
        return Ok(());
    }
    ctx.client.flags.insert(ClientFlags::MONITOR);
    ctx.engine.monitors.push(ctx.client.link);
    ctx.reply().ok();
    Ok(())
}

/// TIME. Reply: seconds and microseconds as bulk strings.
fn time(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let us = ctx.engine.clock.unix_us();
    let reply = ctx.reply();
    reply.array(2);
    reply.bulk_int(us / 1_000_000);
    reply.bulk_int(us % 1_000_000);
    Ok(())
}

/// LOLWUT [VERSION n …]. Reply: a landscape in letters, and the version.
fn lolwut(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    // Without a number the word is not looked at.
    if args.left() > 1 && args.take("version") {
        num::parse_i64(args.bytes()?).ok_or(CommandError::NotInteger)?;
    }
    const COLUMNS: usize = 60;
    const ROWS: usize = 8;
    let mut heights = [0_usize; COLUMNS];
    let mut height = ROWS as i64 / 2;
    for column in &mut heights {
        height = (height + ctx.engine.prng.below(3) as i64 - 1).clamp(0, ROWS as i64 - 1);
        *column = height as usize;
    }
    let mut text = String::new();
    for row in (0..ROWS).rev() {
        for &column in &heights {
            text.push(match column.cmp(&row) {
                std::cmp::Ordering::Less => ' ',
                std::cmp::Ordering::Equal => '^',
                std::cmp::Ordering::Greater => ':',
            });
        }
        text.push('\n');
    }
    text.push_str(&format!(
        "\nRust is what iron turns into when it is left alone with oxygen.\nRedis ver. {} (redoxide {})\n",
        crate::config::REDIS_VERSION,
        env!("CARGO_PKG_VERSION")
    ));
    ctx.reply().verbatim("txt", text.as_bytes());
    Ok(())
}
