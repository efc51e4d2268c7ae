//! The upstream suites: where their sources are, and which units they have.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fault;

/// Versions whose suites run; the later one wins where they contradict each other.
pub const VERSIONS: &[&str] = &["7.0", "8.0"];

/// An unpacked Redis source tree, of which only tests/ is used.
pub struct Suite {
    pub version: &'static str,
    pub root: PathBuf,
    /// In the suite's own order: `unit/type/string`.
    pub units: Vec<String>,
}

impl Suite {
    /// Finds the suite in the cache; what is absent is fetched from Debian first.
    pub fn open(version: &'static str) -> Result<Suite, Fault> {
        let cache = cache()?;
        let root = cache.join(format!("redis-{version}"));
        if !root.join("tests/test_helper.tcl").is_file() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/fetch");
            let status = Command::new(&script).arg(&cache).arg(version).status();
            if !status.is_ok_and(|status| status.success()) {
                return Err(Fault(format!(
                    "no suite of Redis {version}: {} did not fetch it",
                    script.display()
                )));
            }
        }
        let header = root.join("src/version.h");
        let found = fs::read_to_string(&header).unwrap_or_default();
        if !found.contains(&format!("\"{version}.")) {
            return Err(Fault(format!(
                "{} is not of Redis {version}; remove {}",
                header.display(),
                root.display()
            )));
        }
        let output = Command::new("tclsh")
            .args(["tests/test_helper.tcl", "--list-tests"])
            .current_dir(&root)
            .output()
            .map_err(|error| Fault(format!("cannot run tclsh (Debian's tcl): {error}")))?;
        let units: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_string)
            .collect();
        if units.is_empty() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(Fault(format!("the suite lists no units: {message}")));
        }
        Ok(Suite {
            version,
            root,
            units,
        })
    }
}

/// $REDOXIDE_CACHE, else ~/.cache/redoxide/conformance.
fn cache() -> Result<PathBuf, Fault> {
    if let Some(directory) = env::var_os("REDOXIDE_CACHE") {
        return Ok(PathBuf::from(directory));
    }
    env::var_os("HOME")
        .map(|home| Path::new(&home).join(".cache/redoxide/conformance"))
        .ok_or_else(|| Fault("set REDOXIDE_CACHE to a directory for the suites".to_string()))
}
