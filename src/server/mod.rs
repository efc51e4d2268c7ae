//! The shell: the mio loop, the slab of sockets, helper threads, start-up and shutdown.

pub mod config_files;
mod helper;
mod host;
mod listen;
pub mod logging;
mod poll;

use std::process::ExitCode;

use crate::config::Config;
use crate::sys::process;

/// Runs a server with this configuration until it is told to end.
pub fn run(mut config: Config) -> ExitCode {
    match logging::raise_file_limit(config.maxclients) {
        Ok(maxclients) => config.maxclients = maxclients,
        Err(text) => {
            log::error!("{text}");
            return ExitCode::FAILURE;
        }
    }
    logging::set_role(if config.replicaof.0.is_some() {
        logging::Role::Replica
    } else {
        logging::Role::Master
    });
    log::info!("monotonic clock: POSIX clock_gettime");
    logging::running(&config, "standalone");
    let pid_file = logging::pid_file(&config);
    if let Some(path) = &pid_file
        && let Err(error) = process::write_pid_file(path)
    {
        log::debug!("Can't write the pid file: {error}");
    }
    let listens = [
        (config.port != 0, "tcp"),
        (config.unixsocket.get().is_some(), "unix"),
    ];
    let code = match poll::Shell::new(config) {
        Ok(mut shell) => {
            log::info!("Server initialized");
            for (_, kind) in listens.iter().filter(|(on, _)| *on) {
                log::info!("Ready to accept connections {kind}");
            }
            shell.run()
        }
        Err(text) => {
            log::error!("{text}");
            ExitCode::FAILURE
        }
    };
    if let Some(path) = &pid_file {
        process::remove_pid_file(path);
    }
    code
}
