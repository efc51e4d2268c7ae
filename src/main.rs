//! The `redoxide-server` binary: what the program's name and first argument ask for, then the
//! configuration, then the server.
//!
//! It also answers to the names `redis-server`, `redis-check-rdb`, `redis-check-aof` and
//! `redis-sentinel`.

use std::ffi::OsString;
use std::process::ExitCode;

use redoxide::config::{Config, LoadError, LogLevel, REDIS_VERSION};
use redoxide::rdb;
use redoxide::server::config_files::SystemFiles;
use redoxide::server::{logging, startup};
use redoxide::sys::{clock, memory, process};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let name = std::path::Path::new(&program)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    if name.contains("redis-check-rdb") {
        return check_rdb(&args);
    }
    if name.contains("redis-check-aof") {
        return refuse(
            "redis-check-aof is not part of redoxide yet: it writes no append-only file",
        );
    }
    if name.contains("redis-sentinel") || args.iter().any(|arg| arg == "--sentinel") {
        return refuse("Sentinel mode is not part of redoxide yet: run a Redis Sentinel beside it");
    }
    match args.first().and_then(|first| first.to_str()) {
        Some("-v" | "--version") => return version("Redis server"),
        Some("-h" | "--help") => return help(),
        Some("--test-memory") => {
            return refuse(
                "redoxide has no memory test: use a tool made for it, such as memtester",
            );
        }
        Some("--check-system") => return check_system(),
        _ => {}
    }
    serve(&args)
}

fn serve(args: &[OsString]) -> ExitCode {
    let loaded = Config::load(args, &mut SystemFiles);
    let config = match loaded.and_then(|config| startup::check_renames(&config).map(|()| config)) {
        Ok(config) => config,
        Err(error @ LoadError::Invalid { .. }) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
        Err(error @ LoadError::Open { .. }) => {
            logging::configure(LogLevel::Notice, std::path::Path::new(""));
            log::warn!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if config.syslog_enabled {
        logging::enable_syslog(&config);
    }
    logging::configure(config.loglevel, config.logfile.path());
    let supervised = startup::greet_supervisor(&config);
    if config.daemonize
        && !supervised
        && let Err(error) = process::daemonize()
    {
        eprintln!("Can't go to the background: {error}");
        return ExitCode::FAILURE;
    }
    logging::starting(&config);
    redoxide::server::run(config)
}

/// `redis-check-rdb file`: a report on standard output, code 1 when something is wrong.
fn check_rdb(args: &[OsString]) -> ExitCode {
    let [path] = args else {
        eprintln!("Usage: redis-check-rdb <rdb-file-name>");
        return ExitCode::FAILURE;
    };
    if path == "-v" || path == "--version" {
        return version("redis-check-rdb");
    }
    let name = path.to_string_lossy();
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) => {
            // Redis's says no more than this line.
            println!("[offset 0] Checking RDB file {name}");
            eprintln!("Cannot open file {name}: {}", process::error_text(&error));
            return ExitCode::FAILURE;
        }
    };
    match rdb::check::check(
        &name,
        &mut file,
        clock::unix_ms(),
        &mut std::io::stdout().lock(),
    ) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}.");
    ExitCode::FAILURE
}

/// One line; scripts look for `v=`.
fn version(program: &str) -> ExitCode {
    println!(
        "{program} v={REDIS_VERSION} sha=00000000:0 malloc={} bits={} build=0 redoxide={}",
        memory::allocator_name(),
        usize::BITS,
        env!("CARGO_PKG_VERSION"),
    );
    ExitCode::SUCCESS
}

fn help() -> ExitCode {
    let text = |text: &'static str| clap::builder::StyledStr::from(text);
    let mut command = clap::Command::new("redoxide-server")
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .disable_help_flag(true)
        .override_usage(text(
            "redoxide-server [/path/to/redis.conf] [--directive value...]... [-]",
        ))
        .args([
            clap::Arg::new("file").help("Configuration file, in the syntax of redis.conf"),
            clap::Arg::new("stdin").value_name("-").help("Read more configuration from standard input"),
            clap::Arg::new("directive")
                .long("directive")
                .value_name("value...")
                .num_args(1..)
                .help("Any directive of the configuration file; the last one counts"),
            flag("version", Some('v'), "Print the version"),
            flag("help", Some('h'), "Print this"),
            flag("check-system", None, "Look for settings of this machine that hurt"),
        ])
        .after_help(text(
            "Examples:\n  redoxide-server\n  redoxide-server --port 7777 --replicaof 127.0.0.1 6379\n  \
             redoxide-server /etc/redis/redis.conf --loglevel verbose\n  \
             echo 'maxmemory 128mb' | redoxide-server -",
        ));
    if command.print_help().is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn flag(name: &'static str, short: Option<char>, help: &'static str) -> clap::Arg {
    let flag = clap::Arg::new(name)
        .long(name)
        .action(clap::ArgAction::SetTrue)
        .help(help);
    match short {
        Some(short) => flag.short(short),
        None => flag,
    }
}

/// Says what of the machine's settings matters here. Overcommit and huge pages, which Redis looks
/// at, do not: there is no fork.
fn check_system() -> ExitCode {
    let limit = process::raise_file_limit(Config::default().maxclients as u64);
    let files_fit = !matches!(limit, process::FileLimit::Short { .. });
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    let somaxconn: i64 = somaxconn.trim().parse().unwrap_or(i64::MAX);
    let checks = [
        (
            "open-files",
            files_fit,
            "the limit of open files is too low for 10000 clients",
        ),
        (
            "tcp-backlog",
            somaxconn >= Config::default().tcp_backlog,
            "net.core.somaxconn is below the backlog of 511",
        ),
    ];
    let mut code = ExitCode::SUCCESS;
    for (name, fine, problem) in checks {
        if fine {
            println!("[{name}]...OK");
        } else {
            println!("[{name}]...WARNING:\n{problem}");
            code = ExitCode::FAILURE;
        }
    }
    code
}
