//! How long one command holds the loop: commands that give up much of a large collection at once, and the first write to
//! one under a snapshot. Times are the server's own (INFO). To add a command: a row in `ROWS`.

use std::io;
use std::thread;
use std::time::Duration;

use crate::cases::Bench;
use crate::families::{Type, send};
use crate::load::Requests;
use crate::report;
use crate::server::{Client, Server};

const KEY: &str = "doomed";
/// Entries that one XREADGROUP delivers.
const DELIVERED: usize = 500;
/// Consumers that share a stream's pending entries.
const CONSUMERS: usize = 2;

/// What the collection is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Of(Type),
    /// A stream, all of it pending in a group for some consumers in turn.
    Pending,
}

struct Row {
    made: Made,
    /// `KEY` is the collection, `HALF` half its size, `MOST` all but ten of it.
    command: &'static str,
    /// Its name in INFO commandstats.
    statistics: &'static str,
}

const fn row(made: Made, command: &'static str, statistics: &'static str) -> Row {
    Row {
        made,
        command,
        statistics,
    }
}

const ROWS: &[Row] = &[
    row(Made::Pending, "XGROUP DESTROY KEY group", "xgroup|destroy"),
    row(
        Made::Pending,
        "XGROUP DELCONSUMER KEY group consumer:0",
        "xgroup|delconsumer",
    ),
    row(Made::Pending, "DEL KEY", "del"),
    row(Made::Pending, "XTRIM KEY MAXLEN 10", "xtrim"),
    row(
        Made::Pending,
        "XAUTOCLAIM KEY group consumer:1 0 0 COUNT 100",
        "xautoclaim",
    ),
    row(
        Made::Pending,
        "XREADGROUP GROUP group consumer:1 COUNT 10 CLAIM 1000 STREAMS KEY >",
        "xreadgroup",
    ),
    row(Made::Of(Type::Stream), "XTRIM KEY MAXLEN HALF", "xtrim"),
    row(Made::Of(Type::Stream), "XTRIM KEY MINID HALF-0", "xtrim"),
    row(
        Made::Of(Type::Stream),
        "XADD KEY MAXLEN 10 99999999-1 field value",
        "xadd",
    ),
    row(Made::Of(Type::List), "LTRIM KEY 0 HALF", "ltrim"),
    row(Made::Of(Type::List), "LTRIM KEY -10 -1", "ltrim"),
    row(Made::Of(Type::Set), "SPOP KEY MOST", "spop"),
    row(
        Made::Of(Type::Zset),
        "ZREMRANGEBYRANK KEY 0 -1",
        "zremrangebyrank",
    ),
    row(
        Made::Of(Type::Zset),
        "ZREMRANGEBYRANK KEY 0 MOST",
        "zremrangebyrank",
    ),
    row(
        Made::Of(Type::Zset),
        "ZREMRANGEBYSCORE KEY -inf HALF",
        "zremrangebyscore",
    ),
    row(Made::Of(Type::Hash), "SET KEY value", "set"),
];

fn fill(client: &mut Client, made: Made, elements: usize) -> io::Result<()> {
    client.call(&["DEL", KEY])?;
    let of = match made {
        Made::Of(of) => of,
        Made::Pending => Type::Stream,
    };
    send(client, of, KEY, elements)?;
    if made == Made::Pending {
        client.call(&["XGROUP", "CREATE", KEY, "group", "0"])?;
        let count = DELIVERED.to_string();
        let chunks = (0..elements.div_ceil(DELIVERED)).map(|turn| {
            let consumer = format!("consumer:{}", turn % CONSUMERS);
            Requests::one(&[
                "XREADGROUP",
                "GROUP",
                "group",
                &consumer,
                "COUNT",
                &count,
                "STREAMS",
                KEY,
                ">",
            ])
        });
        client.send_all(chunks)?;
    }
    // What earlier rows gave up is freed, and pending entries are idle for some time.
    thread::sleep(Duration::from_millis(1100));
    Ok(())
}

/// Milliseconds that a command took, as the server counts them.
fn time_ms(client: &mut Client, row: &Row, elements: usize) -> io::Result<f64> {
    let (half, most) = ((elements / 2).to_string(), (elements - 10).to_string());
    let words: Vec<String> = row
        .command
        .split(' ')
        .map(|word| {
            let word = word.replace("KEY", KEY);
            word.replace("HALF", &half).replace("MOST", &most)
        })
        .collect();
    client.call(&["CONFIG", "RESETSTAT"])?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    client.send_all(std::iter::once(Requests::one(&words)))?;
    let info = client.info("commandstats")?;
    let figures = info.get(&format!("cmdstat_{}", row.statistics));
    let taken_us = figures
        .and_then(|text| text.split(',').find_map(|part| part.strip_prefix("usec=")))
        .and_then(|number| number.parse::<f64>().ok());
    let taken_us =
        taken_us.ok_or_else(|| io::Error::other(format!("no statistics of {}", row.command)))?;
    Ok(taken_us / 1000.0)
}

/// The rows.
pub fn run(bench: &mut Bench) -> io::Result<()> {
    let elements = bench.keys;
    for index in 0..bench.binaries.len() {
        let server = bench.start_one(index)?;
        let mut client = server.client()?;
        for row in ROWS {
            let name = match row.made {
                Made::Pending => format!("{}, pending", row.command),
                Made::Of(_) => row.command.to_string(),
            };
            for round in 0..bench.rounds {
                fill(&mut client, row.made, elements)?;
                match time_ms(&mut client, row, elements) {
                    Ok(ms) => {
                        bench.progress(&name, round, index, &format!("{ms:.3} ms"));
                        bench.report.add(&name, index, &report::LONGEST, ms);
                    }
                    // Not every peer has every option.
                    Err(error) => bench.progress(&name, round, index, &error.to_string()),
                }
            }
        }
    }
    Ok(())
}

/// Where a server tells the processor time of the dearest first write under its last snapshot.
const FIRST_WRITE_FIELD: &str = "rdb_last_cow_first_write_usec";

/// The first write to a collection of each type under a snapshot, and the first to a hash all of whose fields have a
/// deadline, in processor time of the loop. Only servers that tell it.
pub fn first_write(bench: &mut Bench) -> io::Result<()> {
    const WRITES: [(&str, Type, &[&str]); 7] = [
        ("LSET", Type::List, &["LSET", KEY, "5000", "value"]),
        ("SADD", Type::Set, &["SADD", KEY, "another"]),
        ("HSET", Type::Hash, &["HSET", KEY, "another", "value"]),
        ("ZADD", Type::Zset, &["ZADD", KEY, "5000", "another"]),
        (
            "ZADD XX",
            Type::Zset,
            &["ZADD", KEY, "XX", "5001", "member:000005000"],
        ),
        ("XADD", Type::Stream, &["XADD", KEY, "*", "field", "value"]),
        ("XDEL", Type::Stream, &["XDEL", KEY, "5000-1"]),
    ];
    let elements = bench.keys;
    for index in 0..bench.binaries.len() {
        let server = bench.start_one(index)?;
        let mut client = server.client()?;
        if !client.info("persistence")?.contains_key(FIRST_WRITE_FIELD) {
            continue;
        }
        for (name, of, write) in WRITES {
            fill(&mut client, Made::Of(of), elements)?;
            measure_first(bench, &server, index, name, write)?;
        }
        fill(&mut client, Made::Of(Type::Hash), elements)?;
        give_deadlines(&mut client, elements)?;
        const FIELD: &str = "member:000005000";
        for (name, write) in [
            ("HSET, fields with deadlines", vec!["HSET", KEY, FIELD, "v"]),
            (
                "HPEXPIRE, fields with deadlines",
                vec!["HPEXPIRE", KEY, "90000000", "FIELDS", "1", FIELD],
            ),
        ] {
            measure_first(bench, &server, index, name, &write)?;
        }
    }
    Ok(())
}

fn give_deadlines(client: &mut Client, elements: usize) -> io::Result<()> {
    let chunks = (0..elements / 100).map(|part| {
        let fields: Vec<String> = (part * 100..(part + 1) * 100)
            .map(|number| format!("member:{number:09}"))
            .collect();
        let deadline = (80_000_000 + part).to_string();
        let mut words = vec!["HPEXPIRE", KEY, &deadline, "FIELDS", "100"];
        words.extend(fields.iter().map(String::as_str));
        Requests::one(&words)
    });
    client.send_all(chunks)
}

fn measure_first(
    bench: &mut Bench,
    server: &Server,
    index: usize,
    name: &str,
    write: &[&str],
) -> io::Result<()> {
    let mut client = server.client()?;
    for round in 0..bench.rounds {
        client.call(&["BGSAVE"])?;
        client.send_all(std::iter::once(Requests::one(write)))?;
        let info = client.info("persistence")?;
        while client.info_number("persistence", "rdb_bgsave_in_progress")? != 0.0 {
            thread::sleep(Duration::from_millis(20));
        }
        let taken = info.get(FIRST_WRITE_FIELD);
        if let Some(taken_us) = taken.and_then(|text| text.parse::<f64>().ok()) {
            bench.progress(name, round, index, &format!("{taken_us} us"));
            bench
                .report
                .add(name, index, &report::FIRST_WRITE, taken_us);
        }
    }
    Ok(())
}
