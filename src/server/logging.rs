//! Log lines in Redis's form, through `log` and env_logger.
//!
//! `pid:role dd Mon yyyy hh:mm:ss.mmm level text`, where the role is `M` (master), `S` (replica),
//! `C` (before the server is up, and helpers) or `X` (sentinel), and the level `.` debug, `-`
//! verbose, `*` notice, `#` warning. In code: `log::warn!` is warning, `log::info!` notice,
//! `log::debug!` verbose, `log::trace!` debug.
//!
//! What a signal's handler says in Redis has another head: `pid:signal-handler (unix-seconds) text`.
//!
//! A log file is opened for every line, so that it can be moved away or removed at any time.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::config::{Config, LogLevel, REDIS_VERSION, SyslogFacility};
use crate::sys::{clock, crash, process, syslog};

/// Who writes the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Before the server is up.
    Child,
    /// A master.
    Master,
    /// A replica.
    Replica,
}

static ROLE: AtomicU8 = AtomicU8::new(b'C');
/// `None`: standard output.
static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);
static SYSLOG: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// The target of lines that have the head of a signal's handler. They do not go to syslog.
pub const SIGNAL_HANDLER: &str = "redoxide::signal-handler";

/// Installs the logger, or changes the level and file of the one installed.
pub fn configure(level: LogLevel, file: &Path) {
    INSTALLED.get_or_init(|| {
        env_logger::Builder::new()
            .filter_level(log::LevelFilter::Trace)
            .write_style(env_logger::WriteStyle::Never)
            .target(env_logger::Target::Pipe(Box::new(Output)))
            .format(|line, record| {
                let target = record.target();
                // What crates of others say about themselves is not the server's log.
                if !target.starts_with("redoxide") && record.level() > log::Level::Warn {
                    return Ok(());
                }
                if target == SIGNAL_HANDLER {
                    let (pid, seconds) = (std::process::id(), clock::unix_ms() / 1000);
                    return writeln!(line, "{pid}:signal-handler ({seconds}) {}", record.args());
                }
                if SYSLOG.load(Ordering::Relaxed) {
                    syslog::write(priority(record.level()), &record.args().to_string());
                }
                write_line(line, record.level(), record.args())
            })
            .init();
    });
    log::set_max_level(match level {
        LogLevel::Debug => log::LevelFilter::Trace,
        LogLevel::Verbose => log::LevelFilter::Debug,
        LogLevel::Notice => log::LevelFilter::Info,
        LogLevel::Warning => log::LevelFilter::Warn,
        LogLevel::Nothing => log::LevelFilter::Off,
    });
    let file = (!file.as_os_str().is_empty()).then(|| file.to_owned());
    crash::log_to(file.as_deref());
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = file;
}

/// From now on every line goes to syslog too (`syslog-enabled`, `-ident`, `-facility`).
pub fn enable_syslog(config: &Config) {
    let facility = match config.syslog_facility {
        SyslogFacility::User => syslog::Facility::User,
        SyslogFacility::Local0 => syslog::Facility::Local(0),
        SyslogFacility::Local1 => syslog::Facility::Local(1),
        SyslogFacility::Local2 => syslog::Facility::Local(2),
        SyslogFacility::Local3 => syslog::Facility::Local(3),
        SyslogFacility::Local4 => syslog::Facility::Local(4),
        SyslogFacility::Local5 => syslog::Facility::Local(5),
        SyslogFacility::Local6 => syslog::Facility::Local(6),
        SyslogFacility::Local7 => syslog::Facility::Local(7),
    };
    syslog::open(&config.syslog_ident, facility);
    SYSLOG.store(true, Ordering::Relaxed);
}

fn priority(level: log::Level) -> syslog::Priority {
    match level {
        log::Level::Error | log::Level::Warn => syslog::Priority::Warning,
        log::Level::Info => syslog::Priority::Notice,
        log::Level::Debug => syslog::Priority::Info,
        log::Level::Trace => syslog::Priority::Debug,
    }
}

/// Sets the role that lines carry from now on.
pub fn set_role(role: Role) {
    let letter = match role {
        Role::Child => b'C',
        Role::Master => b'M',
        Role::Replica => b'S',
    };
    ROLE.store(letter, Ordering::Relaxed);
}

/// Writes a line in Redis's form to `out`.
pub fn write_line(
    out: &mut dyn Write,
    level: log::Level,
    text: &std::fmt::Arguments<'_>,
) -> io::Result<()> {
    let now = clock::unix_ms();
    let time = clock::local_time(now.div_euclid(1000));
    let mark = match level {
        log::Level::Error | log::Level::Warn => '#',
        log::Level::Info => '*',
        log::Level::Debug => '-',
        log::Level::Trace => '.',
    };
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = MONTHS
        .get(time.month.wrapping_sub(1) as usize)
        .unwrap_or(&"???");
    writeln!(
        out,
        "{}:{} {:02} {month} {} {:02}:{:02}:{:02}.{:03} {mark} {text}",
        std::process::id(),
        char::from(ROLE.load(Ordering::Relaxed)),
        time.day,
        time.year,
        time.hour,
        time.minute,
        time.second,
        now.rem_euclid(1000),
    )
}

/// Where lines go: the file of the moment, or standard output.
struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        match &*file {
            Some(path) => {
                let mut file = std::fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)?;
                file.write_all(bytes)?;
            }
            None => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that open every log.
pub fn starting(config: &Config) {
    log::info!("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
    log::info!(
        "Redis version={REDIS_VERSION}, bits={}, commit=00000000, modified=0, pid={}, just started",
        usize::BITS,
        std::process::id(),
    );
    if config.file.is_some() || std::env::args_os().len() > 1 {
        log::info!("Configuration loaded");
    } else {
        log::warn!(
            "Warning: no config file specified, using the default config. In order to specify a \
             config file use {} /path/to/redis.conf",
            std::env::args()
                .next()
                .unwrap_or_else(|| "redoxide-server".to_owned()),
        );
    }
}

/// The line, or on a terminal the picture, that says how the server runs; once it is set up.
/// `mode` is `standalone` or `cluster`.
pub fn running(config: &Config, mode: &str) {
    let port = if config.port != 0 {
        config.port
    } else {
        config.tls_port
    };
    let on_terminal = config.logfile.is_empty() && process::stdout_is_terminal();
    if !config.always_show_logo && !on_terminal {
        log::info!("Running mode={mode}, port={port}.");
        return;
    }
    if log::max_level() < log::LevelFilter::Info {
        return;
    }
    let facts = [
        format!("redoxide {}", env!("CARGO_PKG_VERSION")),
        format!("speaks Redis {REDIS_VERSION} ({} bit)", usize::BITS),
        format!("Running in {mode} mode"),
        format!("Port: {port}"),
        format!("PID: {}", std::process::id()),
    ];
    const PICTURE: [&str; 5] = [
        r"      .--------.     ",
        r"     /  o    o  \    ",
        r"  ~~(   Fe2 O3   )~~ ",
        r"     \  o    o  /    ",
        r"      '--------'     ",
    ];
    let mut text = String::from("\n");
    for (picture, fact) in PICTURE.iter().zip(&facts) {
        text.push_str(&format!("{picture}   {fact}\n"));
    }
    text.push('\n');
    let _ = Output.write_all(text.as_bytes());
}

/// Raises the limit of open files for `maxclients`, with Redis's lines. The number of clients
/// that fit, or the reason why the server cannot start.
pub fn raise_file_limit(maxclients: i64) -> Result<i64, String> {
    let wanted_clients = u64::try_from(maxclients).unwrap_or(0);
    match process::raise_file_limit(wanted_clients) {
        process::FileLimit::Enough => Ok(maxclients),
        process::FileLimit::Raised { from, to } => {
            log::info!(
                "Increased maximum number of open files to {to} (it was originally set to {from})."
            );
            Ok(maxclients)
        }
        process::FileLimit::Unknown { reason } => {
            log::warn!(
                "Unable to obtain the current NOFILE limit ({reason}), assuming 1024 and setting \
                 the max clients configuration accordingly."
            );
            Ok(1024 - process::RESERVED_FDS as i64)
        }
        process::FileLimit::Short {
            wanted,
            limit,
            reason,
        } => {
            if limit <= process::RESERVED_FDS {
                return Err(format!(
                    "Your current 'ulimit -n' of {limit} is not enough for the server to start. \
                     Please increase your open file limit to at least {wanted}. Exiting."
                ));
            }
            let fit = (limit - process::RESERVED_FDS) as i64;
            log::warn!(
                "You requested maxclients of {maxclients} requiring at least {wanted} max file \
                 descriptors."
            );
            log::warn!(
                "Server can't set maximum open files to {wanted} because of OS error: {reason}."
            );
            log::warn!(
                "Current maximum open files is {limit}. maxclients has been reduced to {fit} to \
                 compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'."
            );
            Ok(fit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rediss_form() {
        let mut line = Vec::new();
        write_line(
            &mut line,
            log::Level::Info,
            &format_args!("Server initialized"),
        )
        .unwrap();
        let line = String::from_utf8(line).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], format!("{}:C", std::process::id()));
        assert_eq!(words[3].len(), 4);
        assert_eq!(words[4].len(), "03:24:01.263".len());
        assert!(line.ends_with(" * Server initialized\n"));
    }
}
