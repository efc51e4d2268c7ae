//! Commands of the collection types, on small and on large collections. To add one: a row in `ROWS`.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cases::{Bench, settle};
use crate::load::{Random, Requests, Work};
use crate::os;
use crate::report;
use crate::server::{Client, Server};

const PIPELINE: usize = 16;
/// Requests built for one row.
const BUILT: usize = 100_000;
/// Elements of a large collection.
const LARGE: usize = 1_000_000;
/// Elements in all collections of a row while these are small.
const SMALL_TOTAL: usize = 200_000;
/// Elements that a range gives.
const RANGE: usize = 100;
const CHUNK_BYTES: usize = 64 * 1024;

/// A collection's type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Type {
    List,
    Set,
    Hash,
    Zset,
    Stream,
}

impl Type {
    const ALL: [(&str, Type); 5] = [
        ("list", Type::List),
        ("set", Type::Set),
        ("hash", Type::Hash),
        ("sorted set", Type::Zset),
        ("stream", Type::Stream),
    ];

    /// Appends commands that put elements under a key: members in a shuffled order, scores by member.
    fn fill(self, key: &str, elements: usize, mut done: impl FnMut(&mut Requests)) {
        let mut requests = Requests::default();
        let mut left = 0..elements;
        while !left.is_empty() {
            let (start, end) = (left.start, left.end.min(left.start + RANGE));
            left.start = end;
            let numbers: Vec<usize> = (start..end).map(|at| shuffled(at, elements)).collect();
            match self {
                Type::List => push(&mut requests, "RPUSH", key, &numbers, |n| vec![member(n)]),
                Type::Set => push(&mut requests, "SADD", key, &numbers, |n| vec![member(n)]),
                Type::Hash => push(&mut requests, "HSET", key, &numbers, |n| {
                    vec![member(n), member(n)]
                }),
                Type::Zset => push(&mut requests, "ZADD", key, &numbers, |n| {
                    vec![n.to_string(), member(n)]
                }),
                Type::Stream => {
                    for at in start..end {
                        let id = format!("{}-1", at + 1);
                        requests.push(&["XADD", key, &id, "field", &member(at)]);
                    }
                }
            }
            done(&mut requests);
        }
    }
}

fn push(
    requests: &mut Requests,
    name: &str,
    key: &str,
    numbers: &[usize],
    element: impl Fn(usize) -> Vec<String>,
) {
    let elements: Vec<String> = numbers.iter().flat_map(|&number| element(number)).collect();
    let mut args = vec![name, key];
    args.extend(elements.iter().map(String::as_str));
    requests.push(&args);
}

/// Sixteen bytes.
fn member(number: usize) -> String {
    format!("member:{number:09}")
}

/// A permutation of the numbers below `count`.
fn shuffled(at: usize, count: usize) -> usize {
    // A prime that divides none of the counts in use.
    (at * 7_368_787) % count
}

/// Where a row's requests go.
struct Place {
    elements: usize,
    collections: usize,
}

impl Place {
    fn of(elements: usize) -> Place {
        Place {
            elements,
            collections: (SMALL_TOTAL / elements).max(1),
        }
    }

    fn key(number: usize) -> String {
        format!("key:{number:012}")
    }

    fn any(&self, random: &mut Random) -> String {
        Place::key(random.below(self.collections))
    }

    fn member(&self, random: &mut Random) -> String {
        member(random.below(self.elements))
    }

    /// The first of `RANGE` elements.
    fn start(&self, random: &mut Random) -> usize {
        random.below(self.elements.saturating_sub(RANGE) + 1)
    }
}

/// A command to measure.
struct Row {
    name: &'static str,
    of: Type,
    /// Elements of its collections.
    sizes: &'static [usize],
    /// Appends some requests.
    push: fn(&mut Random, &Place, &mut Requests),
}

const BOTH: &[usize] = &[10, LARGE];
const RANGES: &[usize] = &[RANGE, LARGE];

const ROWS: &[Row] = &[
    Row {
        name: "LPUSH",
        of: Type::List,
        sizes: BOTH,
        push: |random, at, requests| {
            requests.push(&["LPUSH", &at.any(random), &at.member(random)]);
        },
    },
    Row {
        name: "LPOP",
        of: Type::List,
        sizes: BOTH,
        push: |random, at, requests| pops("LPUSH", "LPOP", random, at, requests),
    },
    Row {
        name: "LINDEX",
        of: Type::List,
        sizes: BOTH,
        push: |random, at, requests| {
            let index = random.below(at.elements).to_string();
            requests.push(&["LINDEX", &at.any(random), &index]);
        },
    },
    Row {
        name: "LRANGE 100",
        of: Type::List,
        sizes: RANGES,
        push: |random, at, requests| range("LRANGE", random, at, requests),
    },
    Row {
        name: "SADD",
        of: Type::Set,
        sizes: BOTH,
        push: |random, at, requests| {
            let member = member(random.below(2 * at.elements));
            requests.push(&["SADD", &at.any(random), &member]);
        },
    },
    Row {
        name: "SISMEMBER",
        of: Type::Set,
        sizes: BOTH,
        push: |random, at, requests| {
            requests.push(&["SISMEMBER", &at.any(random), &at.member(random)]);
        },
    },
    Row {
        name: "SPOP",
        of: Type::Set,
        sizes: BOTH,
        push: |random, at, requests| pops("SADD", "SPOP", random, at, requests),
    },
    Row {
        name: "HSET",
        of: Type::Hash,
        sizes: BOTH,
        push: |random, at, requests| {
            let (field, value) = (at.member(random), at.member(random));
            requests.push(&["HSET", &at.any(random), &field, &value]);
        },
    },
    Row {
        name: "HGET",
        of: Type::Hash,
        sizes: BOTH,
        push: |random, at, requests| {
            requests.push(&["HGET", &at.any(random), &at.member(random)]);
        },
    },
    Row {
        name: "HGETALL",
        of: Type::Hash,
        sizes: &[RANGE],
        push: |random, at, requests| requests.push(&["HGETALL", &at.any(random)]),
    },
    Row {
        name: "ZADD",
        of: Type::Zset,
        sizes: BOTH,
        push: |random, at, requests| {
            let score = random.below(at.elements).to_string();
            requests.push(&["ZADD", &at.any(random), &score, &at.member(random)]);
        },
    },
    Row {
        name: "ZSCORE",
        of: Type::Zset,
        sizes: BOTH,
        push: |random, at, requests| {
            requests.push(&["ZSCORE", &at.any(random), &at.member(random)]);
        },
    },
    Row {
        name: "ZRANK",
        of: Type::Zset,
        sizes: BOTH,
        push: |random, at, requests| {
            requests.push(&["ZRANK", &at.any(random), &at.member(random)]);
        },
    },
    Row {
        name: "ZRANGE 100",
        of: Type::Zset,
        sizes: RANGES,
        push: |random, at, requests| range("ZRANGE", random, at, requests),
    },
    Row {
        name: "ZRANGEBYSCORE 100",
        of: Type::Zset,
        sizes: RANGES,
        push: |random, at, requests| range("ZRANGEBYSCORE", random, at, requests),
    },
    Row {
        name: "XADD",
        of: Type::Stream,
        sizes: BOTH,
        push: |random, at, requests| {
            requests.push(&["XADD", &at.any(random), "*", "field", &at.member(random)]);
        },
    },
    Row {
        name: "XREAD 100",
        of: Type::Stream,
        sizes: RANGES,
        push: |random, at, requests| {
            let after = format!("{}-1", at.start(random));
            let count = RANGE.to_string();
            requests.push(&["XREAD", "COUNT", &count, "STREAMS", &at.any(random), &after]);
        },
    },
    Row {
        name: "SETBIT of 1 MiB",
        of: Type::Set,
        sizes: &[],
        push: |random, _, requests| {
            let offset = random.below(8 << 20).to_string();
            let bit = random.below(2).to_string();
            requests.push(&["SETBIT", "bits", &offset, &bit]);
        },
    },
    Row {
        name: "BITCOUNT of 1 MiB",
        of: Type::Set,
        sizes: &[],
        push: |_, _, requests| requests.push(&["BITCOUNT", "bits"]),
    },
    Row {
        name: "PFADD",
        of: Type::Set,
        sizes: &[],
        push: |random, _, requests| {
            requests.push(&["PFADD", "hll", &member(random.below(1000))]);
        },
    },
    Row {
        name: "PFCOUNT",
        of: Type::Set,
        sizes: &[],
        push: |_, _, requests| requests.push(&["PFCOUNT", "hll"]),
    },
];

/// As many pops as one request pushed, on one key: its size stays.
fn pops(pushing: &str, popping: &str, random: &mut Random, at: &Place, requests: &mut Requests) {
    let key = at.any(random);
    let numbers: Vec<usize> = (1..PIPELINE)
        .map(|_| at.elements + random.below(1 << 20))
        .collect();
    push(requests, pushing, &key, &numbers, |number| {
        vec![member(number)]
    });
    for _ in 1..PIPELINE {
        requests.push(&[popping, &key]);
    }
}

/// A range of elements by index or score.
fn range(name: &str, random: &mut Random, at: &Place, requests: &mut Requests) {
    let start = at.start(random);
    let (start, end) = (start.to_string(), (start + RANGE - 1).to_string());
    requests.push(&[name, &at.any(random), &start, &end]);
}

/// Puts a row's collections into a server that has none.
fn fill(server: &Server, row: &Row, at: &Place) -> io::Result<()> {
    let mut client = server.client()?;
    client.call(&["FLUSHALL"])?;
    let mut chunks = Vec::new();
    let collections = if row.sizes.is_empty() {
        0
    } else {
        at.collections
    };
    let mut pending = Requests::default();
    for number in 0..collections {
        row.of.fill(&Place::key(number), at.elements, |requests| {
            pending.append(requests);
            if pending.bytes() > CHUNK_BYTES {
                chunks.push(pending.take());
            }
        });
    }
    if row.sizes.is_empty() {
        pending.push(&["SET", "bits", &"\0".repeat(1 << 20)]);
        push(
            &mut pending,
            "PFADD",
            "hll",
            &Vec::from_iter(0..1000),
            |n| vec![member(n)],
        );
    }
    chunks.push(pending.take());
    client.send_all(chunks.into_iter())
}

/// The rows that are wanted, each at its sizes.
pub fn run(bench: &mut Bench) -> io::Result<()> {
    let servers = (0..bench.binaries.len())
        .map(|index| bench.start_one(index))
        .collect::<io::Result<Vec<_>>>()?;
    let mut failed = Vec::new();
    for row in ROWS {
        let wanted = &bench.commands;
        if !wanted.is_empty()
            && !wanted
                .iter()
                .any(|name| row.name.starts_with(name.as_str()))
        {
            continue;
        }
        let sizes = if row.sizes.is_empty() {
            &[1]
        } else {
            row.sizes
        };
        for &elements in sizes {
            let at = Place::of(elements);
            let name = match row.sizes {
                [] => row.name.to_string(),
                _ => format!("{} of {elements}", row.name),
            };
            let push = |random: &mut Random, requests: &mut Requests| {
                (row.push)(random, &at, requests);
            };
            let work = Work::of(push, PIPELINE, BUILT);
            let ran = servers
                .iter()
                .try_for_each(|server| fill(server, row, &at))
                .and_then(|()| bench.measure(&name, &servers, &work));
            // What one server lacks must not cost the other commands their figures.
            if let Err(error) = ran {
                eprintln!("{name}: {error}");
                failed.push(name);
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(failed.join(", "))),
    }
}

/// Bytes an element in a large collection of each type.
pub fn memory(bench: &mut Bench) -> io::Result<()> {
    for (name, of) in Type::ALL {
        let name = format!("{name} of {LARGE}");
        for index in 0..bench.binaries.len() {
            let server = bench.start_one(index)?;
            let mut client = server.client()?;
            let used_start = client.info_number("memory", "used_memory")?;
            let rss_start = os::status_bytes(server.pid(), "VmRSS")? as f64;
            send(&mut client, of, "key", LARGE)?;
            settle(&mut client)?;
            let used = client.info_number("memory", "used_memory")? - used_start;
            let rss = os::status_bytes(server.pid(), "VmRSS")? as f64 - rss_start;
            let (used, rss) = (used / LARGE as f64, rss / LARGE as f64);
            let text = format!("{used:.1} B used, {rss:.1} B resident an element");
            bench.progress(&name, 0, index, &text);
            bench
                .report
                .add(&name, index, &report::MEMORY_ELEMENT, used);
            bench.report.add(&name, index, &report::RSS_ELEMENT, rss);
        }
    }
    Ok(())
}

/// Makes a collection of so many elements.
pub fn send(client: &mut Client, of: Type, key: &str, elements: usize) -> io::Result<()> {
    let mut chunks = Vec::new();
    of.fill(key, elements, |requests| chunks.push(requests.take()));
    client.send_all(chunks.into_iter())
}

/// Commands that take a whole collection: their time, and the longest PING beside DEL.
pub fn whole(bench: &mut Bench) -> io::Result<()> {
    const OPERATIONS: [(&str, &[&str]); 3] = [
        ("SINTER of two sets", &["SINTER", "set", "other"]),
        (
            "SINTERCARD of two sets",
            &["SINTERCARD", "2", "set", "other"],
        ),
        (
            "SORT ALPHA LIMIT 0 10",
            &["SORT", "list", "ALPHA", "LIMIT", "0", "10"],
        ),
    ];
    for index in 0..bench.binaries.len() {
        let server = bench.start_one(index)?;
        let mut client = server.client()?;
        send(&mut client, Type::Set, "set", LARGE)?;
        send(&mut client, Type::List, "list", LARGE)?;
        // Half of it is in the other set too.
        let mut chunks = Vec::new();
        for start in (LARGE / 2..LARGE * 3 / 2).step_by(RANGE) {
            let mut requests = Requests::default();
            let numbers = Vec::from_iter(start..start + RANGE);
            push(&mut requests, "SADD", "other", &numbers, |n| {
                vec![member(n)]
            });
            chunks.push(requests.take());
        }
        client.send_all(chunks.into_iter())?;
        for (name, args) in OPERATIONS {
            for round in 0..bench.rounds {
                let request = Requests::one(args);
                let cpu = os::process_cpu(server.pid())?;
                client.send_all(std::iter::once(request))?;
                let cpu = (os::process_cpu(server.pid())? - cpu).as_secs_f64();
                bench.progress(name, round, index, &format!("{cpu:.3} s CPU"));
                bench.report.add(name, index, &report::CPU_SECONDS, cpu);
            }
        }
        for (name, of) in Type::ALL {
            for round in 0..bench.rounds {
                send(&mut client, of, "doomed", LARGE)?;
                let longest = longest_ping(&server, &["DEL", "doomed"])?.as_secs_f64() * 1e3;
                let name = format!("DEL of a {name}");
                bench.progress(
                    &name,
                    round,
                    index,
                    &format!("longest PING {longest:.3} ms"),
                );
                bench.report.add(&name, index, &report::LONGEST, longest);
            }
        }
    }
    Ok(())
}

/// The longest PING while another client's command runs, and for 200 ms after it.
fn longest_ping(server: &Server, args: &[&str]) -> io::Result<Duration> {
    let mut client = server.client()?;
    let mut pinger = server.client()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let pinging = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                pinger.call(&["PING"])?;
                longest = longest.max(start.elapsed());
            }
            Ok(longest)
        });
        thread::sleep(Duration::from_millis(50));
        let called = client.call(args);
        thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
        called?;
        pinging
            .join()
            .map_err(|_| io::Error::other("the pinging thread panicked"))?
    })
}
