//! The outside world of one simulated node: a clock of its own, and a disk that survives crashes.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use redoxide::base::time::UnixMs;
use redoxide::config::{Config, Id};
use redoxide::engine::{Host, MemoryFacts, OpenFile, ProcessFacts, SaveError, SaveJob};
use redoxide::keyspace::Snapshot;
use redoxide::rdb::encode::{EncodeError, EncodeOptions, Progress, Written, encode_snapshot};

/// Wall-clock microseconds at the beginning of every run.
const EPOCH_US: i64 = 1_800_000_000_000_000;

/// A node's clock, disk and source of random numbers.
pub struct SimHost {
    /// Nanoseconds since the run began; the same on all nodes.
    pub now_ns: u64,
    /// How far this node's wall clock is off.
    pub skew_us: i64,
    /// Synced files.
    pub disk: BTreeMap<PathBuf, Vec<u8>>,
    /// The next id of this node.
    pub entropy: u64,
}

/// Encodes a snapshot as the helper's thread would. More than once, if need be.
pub fn encode(
    snapshot: &mut Snapshot,
    options: &EncodeOptions,
    now: UnixMs,
    progress: &Progress,
) -> Result<(Vec<u8>, Written), SaveError> {
    let mut file = Vec::new();
    let written = encode_snapshot(snapshot, options, now, progress, |chunk| {
        file.append(chunk);
        Ok(())
    });
    match written {
        Ok(written) => Ok((file, written)),
        Err(EncodeError::Cancelled) => Err(SaveError::Cancelled),
        Err(EncodeError::Sink(error)) => Err(SaveError::Failed(error.to_string())),
    }
}

impl Host for SimHost {
    fn monotonic_ns(&mut self) -> u64 {
        // Time passes while commands run, always by the same steps.
        self.now_ns += 100;
        self.now_ns
    }

    fn thread_cpu_ns(&mut self) -> u64 {
        self.now_ns
    }

    fn unix_us(&mut self) -> i64 {
        EPOCH_US + (self.now_ns / 1000) as i64 + self.skew_us
    }

    fn sleep_us(&mut self, us: u64) {
        self.now_ns += us * 1000;
    }

    fn segfault(&mut self) {}

    fn watchdog(&mut self, _: u64) {}

    fn used_memory(&mut self) -> usize {
        1 << 20
    }

    fn memory(&mut self) -> MemoryFacts {
        MemoryFacts::default()
    }

    fn process(&mut self) -> ProcessFacts {
        ProcessFacts::default()
    }

    fn tell_supervisor(&mut self, _: &str) {}

    fn purge_memory(&mut self) {}

    fn apply_config(&mut self, _: &[Id], _: &Config) -> Result<(), (Id, String)> {
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<Option<Vec<u8>>, String> {
        Ok(self.disk.get(path).cloned())
    }

    fn write_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        self.disk.insert(path.to_path_buf(), bytes.to_vec());
        Ok(())
    }

    fn save(&mut self, mut job: SaveJob) -> Result<Written, SaveError> {
        let path = job.path.clone();
        let (file, written) = encode(&mut job.snapshot, &job.options, job.now, &job.progress)?;
        self.disk.insert(path, file);
        Ok(written)
    }

    fn open(&mut self, path: &Path) -> Result<Option<OpenFile>, String> {
        Ok(self.disk.get(path).map(|bytes| {
            let len = bytes.len() as u64;
            (
                Box::new(Cursor::new(bytes.clone())) as Box<dyn std::io::Read>,
                len,
            )
        }))
    }

    fn entropy(&mut self) -> u64 {
        self.entropy = self
            .entropy
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.entropy
    }
}
