//! The cases. To add one: a row in `CASES` and a function that starts servers, loads them and adds samples.
//!
//! Within a case the servers run in turn, round after round, so that a change of the machine's mood hits all.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::families;
use crate::load::{self, Data, Kind, Outcome, Random, Work};
use crate::os;
use crate::pubsub;
use crate::report::{self, Figure, Report};
use crate::server::{self, Answer, Binary, Client, Cores, Server};
use crate::stalls;

/// One row of the table of cases.
pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    pub run: fn(&mut Bench) -> io::Result<()>,
}

pub const CASES: &[Case] = &[
    Case {
        name: "ping-p1",
        about: "PING, closed loop, pipeline 1: what input and output cost",
        run: |b| saturated(b, Kind::Ping, 1),
    },
    Case {
        name: "ping-p16",
        about: "PING, closed loop, pipeline 16: what input and output cost",
        run: |b| saturated(b, Kind::Ping, 16),
    },
    Case {
        name: "ping-p100",
        about: "PING, closed loop, pipeline 100: what input and output cost",
        run: |b| saturated(b, Kind::Ping, 100),
    },
    Case {
        name: "get-p1",
        about: "GET, closed loop, one request a connection",
        run: |b| saturated(b, Kind::Get, 1),
    },
    Case {
        name: "set-p1",
        about: "SET, likewise",
        run: |b| saturated(b, Kind::Set, 1),
    },
    Case {
        name: "get-p16",
        about: "GET, pipeline 16",
        run: |b| saturated(b, Kind::Get, 16),
    },
    Case {
        name: "set-p16",
        about: "SET, pipeline 16",
        run: |b| saturated(b, Kind::Set, 16),
    },
    Case {
        name: "get-p100",
        about: "GET, pipeline 100",
        run: |b| saturated(b, Kind::Get, 100),
    },
    Case {
        name: "set-p100",
        about: "SET, pipeline 100",
        run: |b| saturated(b, Kind::Set, 100),
    },
    Case {
        name: "tool-p1",
        about: "redis-benchmark, GET and SET, pipeline 1",
        run: |b| tool(b, 1),
    },
    Case {
        name: "tool-p16",
        about: "redis-benchmark, pipeline 16",
        run: |b| tool(b, 16),
    },
    Case {
        name: "tool-p100",
        about: "redis-benchmark, pipeline 100",
        run: |b| tool(b, 100),
    },
    Case {
        name: "suite",
        about: "redis-benchmark's default tests, each by itself",
        run: suite,
    },
    Case {
        name: "families",
        about: "commands of all types on small and large collections, pipeline 16",
        run: families::run,
    },
    Case {
        name: "elements",
        about: "bytes an element: a million 16-byte elements in one collection of each type",
        run: families::memory,
    },
    Case {
        name: "whole",
        about: "SINTER, SORT and DEL of collections of a million",
        run: families::whole,
    },
    Case {
        name: "publish",
        about: "PUBLISH, one publisher, pipeline 16, to 1 and to 50 subscribers",
        run: pubsub::run,
    },
    Case {
        name: "stalls",
        about: "commands that give up much of a collection of a million: how long they hold the loop",
        run: stalls::run,
    },
    Case {
        name: "first-write",
        about: "the first write to a collection of a million under a snapshot",
        run: stalls::first_write,
    },
    Case {
        name: "paced",
        about: "GET at 5, 20 and 50% of the best peer's saturated rate",
        run: paced,
    },
    Case {
        name: "memory",
        about: "bytes a key: 8- and 64-byte values, with and without TTL",
        run: memory,
    },
    Case {
        name: "bgsave",
        about: "requests during BGSAVE, its cost, loading its file",
        run: bgsave,
    },
    Case {
        name: "deadline",
        about: "a million keys with one deadline",
        run: deadline,
    },
];

/// What a case works with.
pub struct Bench {
    pub binaries: Vec<Binary>,
    pub report: Report,
    pub rounds: usize,
    pub seconds: f64,
    pub connections: usize,
    /// Keys of the throughput cases.
    pub keys: usize,
    /// Keys of the memory and BGSAVE cases.
    pub many_keys: usize,
    pub value_bytes: usize,
    /// Beginnings of the names of the commands that `families` runs; none for all.
    pub commands: Vec<String>,
    /// Requests a second during BGSAVE.
    pub save_rate: f64,
    pub directory: PathBuf,
    /// All but the load's, unless there is only one.
    pub cores: Cores,
    pub load_core: usize,
}

impl Bench {
    /// One core for the server: throughput must not depend on where the kernel moves it.
    pub fn one_core(&self) -> Cores {
        Cores {
            bound: self.cores.bound[..1].to_vec(),
            ..self.cores.clone()
        }
    }

    /// A server without data, on one core.
    pub fn start_one(&self, index: usize) -> io::Result<Server> {
        Server::start(&self.binaries[index], &self.directory, &self.one_core())
    }

    /// All servers, started one after the other, each with `data`.
    pub fn start_all(&self, data: &Data, cores: &Cores) -> io::Result<Vec<Server>> {
        self.binaries
            .iter()
            .map(|binary| {
                let server = Server::start(binary, &self.directory, cores)?;
                server.client()?.send_all(data.fill(|_| Vec::new()))?;
                Ok(server)
            })
            .collect()
    }

    /// Closed loops on servers that have their data.
    pub fn measure(&mut self, name: &str, servers: &[Server], work: &Work) -> io::Result<()> {
        let measured = Duration::from_secs_f64(self.seconds);
        for round in 0..self.rounds {
            for (index, server) in servers.iter().enumerate() {
                let outcome = load::closed_loop(
                    server.port,
                    server.pid(),
                    work,
                    self.connections,
                    WARM_UP,
                    measured,
                )?;
                let text = format!(
                    "{:.0} requests/s, {:.3} µs CPU each",
                    outcome.rate(),
                    outcome.cpu_us()
                );
                self.progress(name, round, index, &text);
                self.add_outcome(name, index, &outcome);
            }
        }
        Ok(())
    }

    fn add_outcome(&mut self, case: &str, server: usize, outcome: &Outcome) {
        self.report.add(case, server, &report::RATE, outcome.rate());
        self.report
            .add(case, server, &report::CPU, outcome.cpu_us());
        self.report
            .add(case, server, &report::P50, outcome.latency.quantile_us(0.5));
        self.report.add(
            case,
            server,
            &report::P99,
            outcome.latency.quantile_us(0.99),
        );
        self.report.add(
            case,
            server,
            &report::P999,
            outcome.latency.quantile_us(0.999),
        );
    }

    pub fn progress(&self, case: &str, round: usize, server: usize, text: &str) {
        let label = &self.binaries[server].label;
        eprintln!("{case} round {}/{} {label}: {text}", round + 1, self.rounds);
    }
}

const WARM_UP: Duration = Duration::from_millis(300);

fn saturated(bench: &mut Bench, kind: Kind, pipeline: usize) -> io::Result<()> {
    let name = match kind {
        Kind::Ping => format!("PING P{pipeline}"),
        Kind::Get => format!("GET P{pipeline}"),
        Kind::Set => format!("SET P{pipeline}"),
    };
    let data = Data {
        keys: bench.keys,
        value_bytes: bench.value_bytes,
    };
    let work = Work::new(kind, &data, pipeline);
    let stored = Data {
        keys: if kind == Kind::Ping { 0 } else { data.keys },
        ..data
    };
    let servers = bench.start_all(&stored, &bench.one_core())?;
    bench.measure(&name, &servers, &work)
}

/// The rate of the best peer at pipeline 1, measured now if the case `get-p1` has not run.
fn saturated_rate(bench: &mut Bench) -> io::Result<f64> {
    if bench.report.best_peer("GET P1", &report::RATE).is_none() {
        saturated(bench, Kind::Get, 1)?;
    }
    bench
        .report
        .best_peer("GET P1", &report::RATE)
        .ok_or_else(|| io::Error::other("no saturated rate"))
}

fn paced(bench: &mut Bench) -> io::Result<()> {
    let full = saturated_rate(bench)?;
    let data = Data {
        keys: bench.keys,
        value_bytes: bench.value_bytes,
    };
    let work = Work::new(Kind::Get, &data, 1);
    let servers = bench.start_all(&data, &bench.one_core())?;
    let measured = Duration::from_secs_f64(bench.seconds);
    for percent in [5, 20, 50] {
        let rate = full * f64::from(percent) / 100.0;
        let name = format!("GET at {percent}%");
        for round in 0..bench.rounds {
            for (index, server) in servers.iter().enumerate() {
                let watch = |elapsed| Ok(elapsed >= measured);
                let connections = bench.connections;
                let outcome = load::open_loop(
                    server.port,
                    server.pid(),
                    &work,
                    connections,
                    rate,
                    WARM_UP,
                    watch,
                )?;
                let text = format!(
                    "{:.0} requests/s, {:.3} µs CPU each",
                    outcome.rate(),
                    outcome.cpu_us()
                );
                bench.progress(&name, round, index, &text);
                bench.add_outcome(&name, index, &outcome);
            }
        }
    }
    Ok(())
}

/// The redis-benchmark on PATH, else a peer's.
fn benchmark_tool() -> io::Result<PathBuf> {
    server::on_path("redis-benchmark").ok_or_else(|| io::Error::other("no redis-benchmark on PATH"))
}

/// Runs redis-benchmark and returns its CSV rows: test name, then numbers (rate, and latencies in ms).
fn run_tool(
    bench: &Bench,
    server: &Server,
    args: &[String],
) -> io::Result<Vec<(String, Vec<f64>)>> {
    let mut command = Command::new(benchmark_tool()?);
    command
        .args(["-p", &server.port.to_string(), "--csv"])
        .args(args);
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    os::confine(&mut command, &[bench.load_core]);
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "redis-benchmark ended with {}",
            output.status
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| {
            // a test's name may hold commas: split at the quotes
            let fields: Vec<&str> = line.trim_matches('"').split("\",\"").collect();
            let numbers: Option<Vec<f64>> =
                fields[1..].iter().map(|field| field.parse().ok()).collect();
            Some((fields[0].to_string(), numbers?)).filter(|(_, numbers)| !numbers.is_empty())
        })
        .collect())
}

fn tool(bench: &mut Bench, pipeline: usize) -> io::Result<()> {
    let data = Data {
        keys: bench.keys,
        value_bytes: bench.value_bytes,
    };
    let servers = bench.start_all(&data, &bench.one_core())?;
    // about `seconds` on a machine of 2025
    let rate = [(1, 150_000.0), (16, 1_000_000.0)]
        .iter()
        .find(|row| row.0 == pipeline)
        .map_or(1_500_000.0, |row| row.1);
    let requests = (rate * bench.seconds) as usize;
    for round in 0..bench.rounds {
        for (index, server) in servers.iter().enumerate() {
            for test in ["set", "get"] {
                let args = format!(
                    "-t {test} -c {} -P {pipeline} -n {requests} -d {} -r {}",
                    bench.connections, bench.value_bytes, bench.keys
                );
                let args: Vec<String> = args.split(' ').map(str::to_string).collect();
                let cpu_start = os::process_cpu(server.pid())?;
                let rows = run_tool(bench, server, &args)?;
                let cpu = os::process_cpu(server.pid())? - cpu_start;
                let row = rows.first().filter(|row| row.1.len() >= 6);
                let (_, numbers) =
                    row.ok_or_else(|| io::Error::other("redis-benchmark printed no figures"))?;
                let name = format!("redis-benchmark {} P{pipeline}", test.to_uppercase());
                let cpu_us = cpu.as_secs_f64() * 1e6 / requests as f64;
                bench.progress(
                    &name,
                    round,
                    index,
                    &format!("{:.0} requests/s, {cpu_us:.3} µs CPU each", numbers[0]),
                );
                // columns: rate, then avg, min, p50, p95, p99, max in ms
                for (figure, value) in [
                    (&report::RATE, numbers[0]),
                    (&report::CPU, cpu_us),
                    (&report::P50, numbers[3] * 1e3),
                    (&report::P99, numbers[5] * 1e3),
                ] {
                    bench.report.add(&name, index, figure, value);
                }
            }
        }
    }
    Ok(())
}

/// Its default tests, by the names that -t takes.
const SUITE: &str = "ping_inline ping_mbulk set get incr lpush rpush lpop rpop sadd hset spop zadd \
                     zpopmin lrange_100 lrange_300 lrange_500 lrange_600 mset";

/// One test at a time: redis-benchmark ends at the first error reply, which a command that is not there gives.
fn suite(bench: &mut Bench) -> io::Result<()> {
    let requests = (20_000.0 * bench.seconds) as usize;
    for index in 0..bench.binaries.len() {
        let server = bench.start_one(index)?;
        let mut ran = 0;
        let mut failed = Vec::new();
        for test in SUITE.split_whitespace() {
            let args = ["-t", test, "-n", &requests.to_string()].map(str::to_string);
            match run_tool(bench, &server, &args) {
                Ok(rows) => {
                    // LRANGE's rows begin with the LPUSH that fills the list
                    let row = rows.last().ok_or_else(|| io::Error::other("no figures"))?;
                    let name = format!("suite {test}");
                    bench.report.add(&name, index, &report::RATE, row.1[0]);
                    ran += 1;
                }
                Err(_) => failed.push(test),
            }
        }
        let failed = failed.join(" ");
        bench.progress(
            "suite",
            0,
            index,
            &format!("{ran} tests ran; error replies: {failed}"),
        );
    }
    Ok(())
}

fn memory(bench: &mut Bench) -> io::Result<()> {
    for value_bytes in [8, 64] {
        for ttl in [false, true] {
            let name = format!(
                "memory {value_bytes} B{}",
                if ttl { " with TTL" } else { "" }
            );
            let data = Data {
                keys: bench.many_keys,
                value_bytes,
            };
            for index in 0..bench.binaries.len() {
                let server = bench.start_one(index)?;
                let mut client = server.client()?;
                let used_start = client.info_number("memory", "used_memory")?;
                let rss_start = os::status_bytes(server.pid(), "VmRSS")? as f64;
                let options = |index: usize| match ttl {
                    true => vec!["EX".to_string(), (36_000 + index % 36_000).to_string()],
                    false => Vec::new(),
                };
                client.send_all(data.fill(options))?;
                // an incremental rehash under way counts both tables
                settle(&mut client)?;
                let keys = data.keys as f64;
                let used = (client.info_number("memory", "used_memory")? - used_start) / keys;
                let rss = (os::status_bytes(server.pid(), "VmRSS")? as f64 - rss_start) / keys;
                bench.progress(
                    &name,
                    0,
                    index,
                    &format!("{used:.1} B used, {rss:.1} B resident a key"),
                );
                bench.report.add(&name, index, &report::MEMORY_KEY, used);
                bench.report.add(&name, index, &report::RSS_KEY, rss);
            }
        }
    }
    Ok(())
}

/// Waits until used_memory has stood still for 300 ms, at most 5 s.
pub fn settle(client: &mut Client) -> io::Result<()> {
    let mut last = client.info_number("memory", "used_memory")?;
    for _ in 0..16 {
        thread::sleep(Duration::from_millis(300));
        let used = client.info_number("memory", "used_memory")?;
        if (used - last).abs() < 64.0 * 1024.0 {
            break;
        }
        last = used;
    }
    Ok(())
}

fn bgsave(bench: &mut Bench) -> io::Result<()> {
    let data = Data {
        keys: bench.many_keys,
        value_bytes: 100,
    };
    let work = Work::new(Kind::Set, &data, 1);
    let cores = bench.cores.clone();
    eprintln!("bgsave: {} keys into each server", data.keys);
    let mut servers = bench.start_all(&data, &cores)?;
    for round in 0..bench.rounds {
        for (index, server) in servers.iter().enumerate() {
            save_once(bench, round, index, server, &work)?;
        }
    }
    for round in 0..bench.rounds {
        for index in 0..bench.binaries.len() {
            let placeholder = servers.remove(0);
            let directory = placeholder.into_directory()?;
            let start = Instant::now();
            let server = Server::start_in(&bench.binaries[index], directory, &cores)?;
            let elapsed = start.elapsed().as_secs_f64();
            let cpu = os::process_cpu(server.pid())?.as_secs_f64();
            let keys = server.client()?.call(&["DBSIZE"])?.int()?;
            if keys != data.keys as i64 {
                return Err(io::Error::other(format!(
                    "{keys} keys of {} loaded",
                    data.keys
                )));
            }
            bench.progress(
                "load",
                round,
                index,
                &format!("{elapsed:.3} s, {cpu:.3} s CPU"),
            );
            bench.report.add("load", index, &report::DURATION, elapsed);
            bench.report.add("load", index, &report::CPU_SECONDS, cpu);
            servers.push(server);
        }
    }
    Ok(())
}

/// One BGSAVE under load. Its duration is the time until dump.rdb stands under its name.
fn save_once(
    bench: &mut Bench,
    round: usize,
    index: usize,
    server: &Server,
    work: &Work,
) -> io::Result<()> {
    const NAME: &str = "BGSAVE";
    let mut control = server.client()?;
    let dump = server.directory.path().join("dump.rdb");
    if dump.exists() {
        fs::remove_file(&dump)?;
    }
    let pid = server.pid();
    os::reset_peak(pid)?;
    let resident = os::status_bytes(pid, "VmRSS")? as f64;
    let mut asked: Option<Instant> = None;
    let mut duration = None;
    let mut forked = false;
    let mut saver: Option<thread::JoinHandle<io::Result<()>>> = None;
    let port = server.port;
    let watch =
        |_elapsed: Duration| {
            let Some(start) = asked else {
                asked = Some(Instant::now());
                // its reply waits for the fork; the load must not
                saver = Some(thread::spawn(move || {
                    Client::connect(port)?.call(&["BGSAVE"])?;
                    Ok(())
                }));
                return Ok(false);
            };
            if saver.as_ref().is_some_and(thread::JoinHandle::is_finished)
                && let Some(handle) = saver.take()
            {
                handle
                    .join()
                    .map_err(|_| io::Error::other("the saving thread panicked"))??;
            }
            forked = forked || os::has_children(pid);
            if duration.is_none() && dump.exists() {
                duration = Some(start.elapsed());
            }
            if start.elapsed() > Duration::from_secs(300) {
                return Err(io::Error::other("BGSAVE does not end"));
            }
            // what follows the save belongs to it: reaping the child, dropping the snapshot
            Ok(duration
                .is_some_and(|duration| start.elapsed() > duration + Duration::from_millis(300)))
        };
    let outcome = load::open_loop(
        port,
        pid,
        work,
        bench.connections,
        bench.save_rate,
        WARM_UP,
        watch,
    )?;
    let duration = duration.unwrap_or_default().as_secs_f64();
    let peak = os::status_bytes(pid, "VmHWM")? as f64;
    while control.info_number("persistence", "rdb_bgsave_in_progress")? != 0.0 {
        thread::sleep(Duration::from_millis(10));
    }
    let info = control.info("persistence")?;
    if info.get("rdb_last_bgsave_status").map(String::as_str) != Some("ok") {
        return Err(io::Error::other("BGSAVE failed"));
    }
    let field = |name: &str| info.get(name).and_then(|value| value.parse::<f64>().ok());
    // pages a fork had to copy stay with the child, so the parent's own size does not show them
    let copied = if forked {
        field("rdb_last_cow_size").unwrap_or(0.0)
    } else {
        0.0
    };
    let extra = (peak - resident + copied) / resident * 100.0;
    let longest = outcome.latency.max_us() / 1e3;
    bench.progress(
        NAME,
        round,
        index,
        &format!("{duration:.2} s, longest request {longest:.2} ms, {extra:.0}% extra memory"),
    );
    let megabytes = fs::metadata(&dump)?.len() as f64 / 1e6;
    let samples: [(&'static Figure, Option<f64>); 8] = [
        (&report::LONGEST, Some(longest)),
        (&report::P999, Some(outcome.latency.quantile_us(0.999))),
        (&report::P99, Some(outcome.latency.quantile_us(0.99))),
        (&report::DURATION, Some(duration)),
        (&report::EXTRA_MEMORY, Some(extra)),
        (&report::FILE, Some(megabytes)),
        (&report::PAUSE, field("rdb_last_snapshot_usec")),
        (&report::FIRST_WRITE, field("rdb_last_cow_first_write_usec")),
    ];
    for (figure, value) in samples {
        if let Some(value) = value {
            bench.report.add(NAME, index, figure, value);
        }
    }
    Ok(())
}

fn unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as i64)
}

fn deadline(bench: &mut Bench) -> io::Result<()> {
    let data = Data {
        keys: bench.keys,
        value_bytes: 8,
    };
    for round in 0..bench.rounds {
        for index in 0..bench.binaries.len() {
            deadline_once(bench, round, index, &data)?;
        }
    }
    Ok(())
}

fn deadline_once(bench: &mut Bench, round: usize, index: usize, data: &Data) -> io::Result<()> {
    const NAME: &str = "one deadline";
    let server = bench.start_one(index)?;
    let mut client = server.client()?;
    let mut pinger = server.client()?;
    let used_start = client.info_number("memory", "used_memory")?;
    // the deadline must come after the last SET: a first estimate, then the real thing
    let deadline = unix_ms() + 2_000 + data.keys as i64 / 150;
    client.send_all(data.fill(|_| vec!["PXAT".to_string(), deadline.to_string()]))?;
    if unix_ms() >= deadline {
        return Err(io::Error::other(
            "filling took longer than the deadline allows",
        ));
    }
    let used_full = client.info_number("memory", "used_memory")?;
    let left = deadline - unix_ms() - 200;
    thread::sleep(Duration::from_millis(left.max(0) as u64));

    // PINGs from before the deadline until all is reclaimed; the probes between them
    let mut longest = Duration::ZERO;
    let mut ping = |pinger: &mut Client| -> io::Result<()> {
        let start = Instant::now();
        pinger.call(&["PING"])?;
        longest = longest.max(start.elapsed());
        Ok(())
    };
    while unix_ms() <= deadline {
        ping(&mut pinger)?;
    }
    let visible = client.call(&["DBSIZE"])?.int()? as f64;
    let mut hits = 0;
    let mut random = Random(round as u64 + 1);
    for probe in 0..1000 {
        let key = Data::key(random.below(data.keys));
        let hit = match client.call(&[if probe % 2 == 0 { "EXISTS" } else { "GET" }, &key])? {
            Answer::Int(count) => count != 0,
            Answer::Bulk(value) => value.is_some(),
            Answer::Status => true,
        };
        hits += usize::from(hit);
        ping(&mut pinger)?;
    }
    let mut reclaimed = None;
    while reclaimed.is_none() && unix_ms() < deadline + 60_000 {
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_millis(20) {
            ping(&mut pinger)?;
        }
        let expired = client.info_number("stats", "expired_keys")?;
        if expired >= data.keys as f64 && client.call(&["DBSIZE"])?.int()? == 0 {
            reclaimed = Some((unix_ms() - deadline) as f64 / 1e3);
        }
    }
    let reclaimed = reclaimed.unwrap_or(60.0);
    thread::sleep(Duration::from_millis(500));
    let used_end = client.info_number("memory", "used_memory")?;
    let kept = (used_end - used_start) / (used_full - used_start) * 100.0;
    let longest_ms = longest.as_secs_f64() * 1e3;
    let text = format!(
        "{visible:.0} visible, reclaimed in {reclaimed:.2} s, longest PING {longest_ms:.2} ms"
    );
    bench.progress(NAME, round, index, &text);
    for (figure, value) in [
        (&report::VISIBLE_DBSIZE, visible),
        (&report::VISIBLE_EXISTS, hits as f64),
        (&report::RECLAIMED, reclaimed),
        (&report::LONGEST, longest_ms),
        (&report::KEPT, kept),
    ] {
        bench.report.add(NAME, index, figure, value);
    }
    Ok(())
}
