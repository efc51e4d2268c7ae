//! The shell: the mio loop, the slab of sockets, helper threads, start-up and shutdown.

mod host;
mod listen;
mod poll;

use std::process::ExitCode;

use crate::config::Config;

/// Runs a server with this configuration until it is told to end.
pub fn run(config: Config) -> ExitCode {
    match poll::Shell::new(config) {
        Ok(mut shell) => shell.run(),
        Err(text) => {
            log::error!("{text}");
            ExitCode::FAILURE
        }
    }
}
