//! The `redoxide-server` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut config = redoxide::config::Config::default();
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--port")
        && let Some(port) = args.get(at + 1).and_then(|port| port.parse().ok())
    {
        config.port = port;
    }
    redoxide::server::run(config)
}
