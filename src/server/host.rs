//! [`Host`] by the operating system.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::engine::{Host, MemoryFacts, ProcessFacts};

/// The operating system as the engine sees it.
pub struct OsHost {
    origin: Instant,
}

impl OsHost {
    /// Starts its monotonic clock.
    pub fn new() -> OsHost {
        OsHost {
            origin: Instant::now(),
        }
    }
}

impl Host for OsHost {
    #[inline]
    fn monotonic_ns(&mut self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn unix_us(&mut self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as i64)
    }

    fn sleep_us(&mut self, us: u64) {
        std::thread::sleep(Duration::from_micros(us));
    }

    fn used_memory(&mut self) -> usize {
        0
    }

    fn memory(&mut self) -> MemoryFacts {
        MemoryFacts::default()
    }

    fn process(&mut self) -> ProcessFacts {
        ProcessFacts {
            pid: std::process::id(),
            ..ProcessFacts::default()
        }
    }

    fn apply_config(
        &mut self,
        _changed: &[&'static str],
        _config: &Config,
    ) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    fn read_file(&mut self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn write_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), String> {
        std::fs::write(path, bytes).map_err(|error| error.to_string())
    }

    fn entropy(&mut self) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish()
    }
}
