//! `make bench`: this server beside its peers, by the same loads on the same machine.
//!
//! Peers are `redis-server` on PATH and `redis-server-8`, `valkey-server-9` under $PEERS/bin (default ~/.cache/peers).
//! The server has its own core, the load another. Progress goes to standard error, one Markdown table to standard
//! output. Server CPU per request is the figure to trust on a shared machine. `cases.rs` says how to add a case.
#![cfg(target_os = "linux")]

mod cases;
mod families;
mod histogram;
mod load;
mod os;
mod pubsub;
mod report;
mod server;
mod stalls;

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use cases::{Bench, CASES};
use report::Report;
use server::Cores;

/// Compares this server with its peers.
#[derive(Parser)]
struct Options {
    /// Run only these cases; a name's beginning will do ("get,memory")
    #[arg(long, value_delimiter = ',')]
    case: Vec<String>,
    /// Rounds of each case
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load in each round
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Keys of the throughput and deadline cases
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// Keys of the memory and BGSAVE cases
    #[arg(long, default_value_t = 5_000_000)]
    many_keys: usize,
    /// Bytes of a value in the throughput cases
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Commands of the case `families`; a name's beginning will do ("LPUSH,Z")
    #[arg(long, value_delimiter = ',')]
    commands: Vec<String>,
    /// Connections of the load
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Requests a second during BGSAVE
    #[arg(long, default_value_t = 20_000.0)]
    save_rate: f64,
    /// This server's binary
    #[arg(long, default_value = env!("CARGO_BIN_EXE_redoxide-server"))]
    server: PathBuf,
    /// Run only servers whose label begins so ("redoxide,valkey")
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the servers' directories go
    #[arg(long, default_value_os_t = env::temp_dir())]
    directory: PathBuf,
    /// One short round over few keys: does everything run?
    #[arg(long)]
    quick: bool,
    /// List the cases and the servers found
    #[arg(long)]
    list: bool,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> io::Result<()> {
    if options.quick {
        options.rounds = 1;
        options.seconds = options.seconds.min(0.5);
        options.keys = options.keys.min(100_000);
        options.many_keys = options.many_keys.min(200_000);
    }
    let mut binaries = server::discover(&options.server);
    if !options.only.is_empty() {
        binaries.retain(|binary| {
            options
                .only
                .iter()
                .any(|wanted| binary.label.starts_with(wanted))
        });
    }
    if options.list {
        for case in CASES {
            println!("{:10} {}", case.name, case.about);
        }
        for binary in &binaries {
            println!("{:10} {}", binary.label, binary.path.display());
        }
        return Ok(());
    }
    if binaries.is_empty() {
        return Err(io::Error::other("no server found"));
    }
    let wanted = |name: &str| {
        options.case.is_empty() || options.case.iter().any(|case| name.starts_with(case))
    };
    if !CASES.iter().any(|case| wanted(case.name)) {
        return Err(io::Error::other("no such case; --list shows them"));
    }
    let all = os::usable_cores()?;
    let mut bound = all.clone();
    // with a single core server and load must share it
    let load_core = if bound.len() > 1 {
        bound.pop()
    } else {
        bound.first().copied()
    };
    let load_core = load_core.ok_or_else(|| io::Error::other("no usable core"))?;
    os::pin_self(&[load_core])?;
    let labels = binaries.iter().map(|binary| binary.label.clone()).collect();
    let ours = binaries.iter().position(|binary| binary.ours);
    let mut bench = Bench {
        report: Report::new(labels, ours),
        binaries,
        rounds: options.rounds.max(1),
        seconds: options.seconds,
        connections: options.connections.max(1),
        keys: options.keys.max(1),
        many_keys: options.many_keys.max(1),
        value_bytes: options.value_bytes.max(1),
        commands: options.commands,
        save_rate: options.save_rate,
        directory: options.directory,
        cores: Cores { all, bound },
        load_core,
    };
    let mut failed = Vec::new();
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        // a case that fails must not cost the others their figures
        if let Err(error) = (case.run)(&mut bench) {
            eprintln!("{}: {error}", case.name);
            failed.push(case.name);
        }
    }
    print!("{}", bench.report.markdown());
    match failed.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(format!("failed: {}", failed.join(", ")))),
    }
}
