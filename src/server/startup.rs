//! What a server does to its process before it listens, when it is ready, and at its end.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::logging;
use crate::command::rename;
use crate::config::{Config, LoadError, OomScoreAdj, Supervised, Text};
use crate::engine::Renames;
use crate::sys::{cpu, memory, process, title};

/// Where a daemon's pid file goes unless `pidfile` says so.
const DAEMON_PID_FILE: &str = "/var/run/redis.pid";
/// Redis's line when it would have no socket to be reached by.
pub const LISTENS_NOWHERE: &str = "Configured to not listen anywhere, exiting.";

/// What must be undone at the end.
#[derive(Debug)]
pub struct Prepared {
    pid_file: Option<PathBuf>,
    under_systemd: bool,
}

/// Tells the supervisor, if there is to be one, that we are starting. Whether there is one.
pub fn greet_supervisor(config: &Config) -> bool {
    if under_systemd(config) {
        let heard = tell_systemd("STATUS=Redis is loading...\n");
        if heard {
            log::info!(
                "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and \
                 TimeoutStopSec in your service unit."
            );
        }
        return heard;
    }
    match (config.supervised, process::supervisor()) {
        (Supervised::Upstart | Supervised::Auto, Some("upstart")) => {
            log::info!("supervised by upstart, will stop to signal readiness.");
            process::stop_for_upstart();
            true
        }
        (Supervised::Upstart, _) => {
            log::warn!("upstart supervision requested, but UPSTART_JOB not found!");
            false
        }
        _ => false,
    }
}

/// Whether systemd is to be told how we are, if only in vain.
pub fn under_systemd(config: &Config) -> bool {
    match config.supervised {
        Supervised::Systemd => true,
        Supervised::Auto => process::supervisor() == Some("systemd"),
        Supervised::No | Supervised::Upstart => false,
    }
}

/// Sends systemd a message; false, with a line in the log, when it cannot be.
pub fn tell_systemd(message: &str) -> bool {
    let told = process::notify_systemd(message);
    if let Err(reason) = &told {
        log::warn!("systemd supervision error: {reason}");
    }
    told.is_ok()
}

/// Adjusts the process to the configuration, and `maxclients` to the limit of open files. The
/// error says why the server cannot start.
pub fn prepare(config: &mut Config) -> Result<Prepared, String> {
    config.maxclients = logging::raise_file_limit(config.maxclients)?;
    show_role(config);
    if config.disable_thp {
        memory::disable_thp();
    }
    if let Some(list) = config.server_cpulist.get() {
        let cpus = cpu::parse_cpu_list(&String::from_utf8_lossy(list));
        let cpus = cpus.ok_or("server-cpulist is not a list of processors, exiting.")?;
        if let Err(error) = cpu::set_affinity(&cpus) {
            log::warn!("Can't keep to the processors of server-cpulist: {error}");
        }
    }
    title::reserve();
    if config.set_proc_title {
        show_title(config);
    }
    memory::set_background_thread(config.jemalloc_bg_thread);
    if let Err(text) = adjust_oom_score(config) {
        log::warn!("{text}");
    }
    if config.daemonize && config.pidfile.get().is_none() {
        config.pidfile = Text::from(DAEMON_PID_FILE);
    }
    warn_of_backlog(config);
    log::info!("monotonic clock: POSIX clock_gettime");
    logging::running(config, "standalone");
    let no_tcp = config.port == 0 || config.bind.0.is_empty();
    if no_tcp && config.unixsocket.get().is_none() {
        return Err(LISTENS_NOWHERE.to_owned());
    }
    let pid_file = config
        .pidfile
        .get()
        .map(|_| config.pidfile.path().to_owned());
    if let Some(path) = &pid_file
        && let Err(error) = process::write_pid_file(path)
    {
        log::warn!("Failed to write PID file: {}", process::error_text(&error));
    }
    Ok(Prepared {
        pid_file,
        under_systemd: under_systemd(config),
    })
}

/// Has the log's lines carry the role.
pub fn show_role(config: &Config) {
    logging::set_role(match config.replicaof.0 {
        Some(_) => logging::Role::Replica,
        None => logging::Role::Master,
    });
}

/// Redis's line when the system caps the backlog of a listener.
fn warn_of_backlog(config: &Config) {
    let path = "/proc/sys/net/core/somaxconn";
    let somaxconn = std::fs::read_to_string(path).unwrap_or_default();
    if let Ok(somaxconn) = somaxconn.trim().parse::<i64>()
        && somaxconn < config.tcp_backlog
    {
        log::warn!(
            "WARNING: The TCP backlog setting of {} cannot be enforced because {path} is set to \
             the lower value of {somaxconn}.",
            config.tcp_backlog
        );
    }
}

/// Shows in `ps` how the server runs, by `proc-title-template`.
pub fn show_title(config: &Config) {
    /// The name we were started by; the title overwrites it.
    static NAME: OnceLock<String> = OnceLock::new();
    let name = NAME.get_or_init(|| {
        let name = std::env::args_os().next().unwrap_or_default();
        name.to_string_lossy().into_owned()
    });
    let port = if config.port != 0 {
        config.port
    } else {
        config.tls_port
    };
    let address = config.bind.0.first().map_or("*", String::as_str);
    let listens_at = match config.unixsocket.get() {
        Some(path) if port == 0 => String::from_utf8_lossy(path).into_owned(),
        _ => format!("{address}:{port}"),
    };
    let file = config
        .file
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let text = config
        .proc_title_template
        .lossy()
        .replace("{title}", name)
        .replace("{listen-addr}", &listens_at)
        .replace("{server-mode}", "")
        .replace("{port}", &config.port.to_string())
        .replace("{tls-port}", &config.tls_port.to_string())
        .replace("{unixsocket}", &config.unixsocket.lossy())
        .replace("{config-file}", &file);
    title::set(text.trim_end().as_bytes());
}

/// Whether every `rename-command` can be carried out.
pub fn check_renames(config: &Config) -> Result<(), LoadError> {
    let mut renames = Renames::default();
    for wanted in &config.renames {
        rename(&mut renames, &wanted.from, &wanted.to)
            .map_err(|text| LoadError::at(wanted.line.clone(), text))?;
    }
    Ok(())
}

/// Sets the score by which the system chooses what to kill when memory runs out, for the role at hand. With
/// `oom-score-adj no` the file is left alone; if it was ours until now it gets back what it had before.
pub fn adjust_oom_score(config: &Config) -> Result<(), String> {
    /// What the file held when `oom-score-adj` was switched on; none while it is off.
    static BEFORE: Mutex<Option<i64>> = Mutex::new(None);
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let [master, replica, _] = config.oom_score_adj_values.0;
    let own = match config.replicaof.0 {
        Some(_) => replica,
        None => master,
    };
    let score = match config.oom_score_adj {
        OomScoreAdj::No => match before.take() {
            Some(score) => score,
            None => return Ok(()),
        },
        OomScoreAdj::Relative => *before.get_or_insert_with(process::oom_score_adj) + own,
        OomScoreAdj::Absolute => {
            before.get_or_insert_with(process::oom_score_adj);
            own
        }
    };
    process::set_oom_score_adj(score.clamp(-1000, 1000)).map_err(|error| {
        log::warn!(
            "Unable to write oom_score_adj: {}",
            process::error_text(&error)
        );
        "Failed to set current oom_score_adj. Check server logs.".to_owned()
    })
}

impl Prepared {
    /// The server answers: says so in the log and to the supervisor.
    pub fn ready(&self, config: &Config) {
        let (tcp, unix) = (config.port != 0, config.unixsocket.get().is_some());
        for (on, kind) in [(tcp, "tcp"), (unix, "unix")] {
            if on {
                log::info!("Ready to accept connections {kind}");
            }
        }
        if self.under_systemd {
            tell_systemd(match config.replicaof.0 {
                None => "STATUS=Ready to accept connections\n",
                Some(_) => {
                    "STATUS=Ready to accept connections in read-only mode. Waiting for MASTER <-> REPLICA sync\n"
                }
            });
            tell_systemd("READY=1\n");
        }
    }

    /// The server was told to end: removes the files by which others find it.
    pub fn remove_files(&self, unix_socket: Option<&Path>) {
        if let Some(path) = &self.pid_file {
            log::info!("Removing the pid file.");
            process::remove_pid_file(path);
        }
        let Some(path) = unix_socket else {
            return;
        };
        log::info!("Removing the unix socket file.");
        if let Err(error) = std::fs::remove_file(path) {
            log::warn!(
                "Error removing the unix socket file: {}",
                process::error_text(&error)
            );
        }
    }

    /// The server ends, for whatever reason.
    pub fn end(&self) {
        if let Some(path) = &self.pid_file {
            process::remove_pid_file(path);
        }
    }
}
