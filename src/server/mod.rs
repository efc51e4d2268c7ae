//! The shell: the mio loop, the slab of sockets, helper threads, start-up and shutdown.

pub mod config_files;
mod crash;
mod helper;
mod host;
mod jobs;
mod listen;
pub mod logging;
mod poll;
mod resolve;
pub mod startup;
mod sync;
mod wait;

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
    crash::install(&config);
    let started = poll::Shell::new(config).and_then(|mut shell| {
        log::info!("Server initialized");
        shell.start_load()?;
        Ok(shell)
    });
    let code = match started {
        Ok(mut shell) => {
            crash::show(&shell);
            let code = shell.run(&prepared);
            crash::hide();
            code
        }
        Err(text) => {
            log::error!("{text}");
            ExitCode::FAILURE
        }
    };
    prepared.end();
    code
}
