//! The shell: the mio loop, the slab of sockets, helper threads, start-up and shutdown.

pub mod config_files;
mod helper;
mod host;
mod listen;
pub mod logging;
mod poll;
pub mod startup;

use std::process::ExitCode;

use crate::config::Config;

/// Runs a server with this configuration until it is told to end.
pub fn run(mut config: Config) -> ExitCode {
    let prepared = match startup::prepare(&mut config) {
        Ok(prepared) => prepared,
        Err(text) => {
            log::error!("{text}");
            return ExitCode::FAILURE;
        }
    };
    let (tcp, unix) = (config.port != 0, config.unixsocket.get().is_some());
    let code = match poll::Shell::new(config) {
        Ok(mut shell) => {
            prepared.ready(tcp, unix);
            shell.run()
        }
        Err(text) => {
            log::error!("{text}");
            ExitCode::FAILURE
        }
    };
    prepared.end();
    code
}
