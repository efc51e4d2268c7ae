//! The programs that a suite calls by the names of its own build.

use std::env;
use std::path::{Path, PathBuf};

use crate::Fault;

pub struct Tools {
    /// The server under test, which is also redis-check-rdb, redis-check-aof and redis-sentinel.
    pub server: PathBuf,
    pub cli: PathBuf,
    pub benchmark: PathBuf,
}

impl Tools {
    pub fn find(server: &Path) -> Result<Tools, Fault> {
        let server = server
            .canonicalize()
            .map_err(|error| Fault(format!("{}: {error}; make build", server.display())))?;
        Ok(Tools {
            server,
            cli: on_path("redis-cli")?,
            benchmark: on_path("redis-benchmark")?,
        })
    }
}

fn on_path(name: &str) -> Result<PathBuf, Fault> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Fault(format!("no {name} on PATH; install Debian's redis-tools")))
}
