//! What the engine asks of the outside world, synchronously. `server/` implements it with the
//! operating system, the simulator with a simulated disk, network and clock.
//!
//! What need not be answered at once goes out as an [`Action`](super::Action) instead.

use std::path::Path;

use std::io::Read;

use super::{SaveError, SaveJob};
use crate::base::time::UnixMs;
use crate::config::{Config, Id};
use crate::rdb::encode::Written;

/// Facts about the process for INFO.
#[derive(Clone, Debug, Default)]
pub struct ProcessFacts {
    /// Process id.
    pub pid: u32,
    /// Operating system, as `uname` gives it: "Linux 6.1.0 x86_64".
    pub os: String,
    /// The multiplexing call used here.
    pub multiplexing: &'static str,
    /// Path of the executable.
    pub executable: String,
    /// TCP addresses that it listens on.
    pub tcp_listeners: usize,
    /// systemd, upstart, unknown or no.
    pub supervised: &'static str,
    /// The allocator's name and version.
    pub allocator: String,
    /// (system, user) seconds of all threads.
    pub cpu_process: (f64, f64),
    /// (system, user) seconds of ended children.
    pub cpu_children: (f64, f64),
    /// (system, user) seconds of the loop's thread.
    pub cpu_thread: (f64, f64),
}

/// Memory figures in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryFacts {
    /// Usable bytes of live allocations.
    pub used: usize,
    /// Highest `used` seen.
    pub peak: usize,
    /// Resident set.
    pub rss: usize,
    /// The allocator's: handed out to the program.
    pub allocated: usize,
    /// In pages that hold something handed out.
    pub active: usize,
    /// Mapped and backed by memory.
    pub resident: usize,
    /// Kept as address space only.
    pub retained: usize,
    /// Physical memory of the machine.
    pub system: usize,
}

/// A file to read, and how many bytes it has.
pub type OpenFile = (Box<dyn Read>, u64);

/// The outside world, for what must be answered within the command.
pub trait Host {
    /// Nanoseconds of a clock that never goes back.
    fn monotonic_ns(&mut self) -> u64;
    /// Processor time of the calling thread, nanoseconds; a system call.
    fn thread_cpu_ns(&mut self) -> u64;
    /// Microseconds since 1970 by the wall clock.
    fn unix_us(&mut self) -> i64;
    /// Stops everything for so long (DEBUG SLEEP).
    fn sleep_us(&mut self, us: u64);
    /// Fails by a forbidden access to memory (DEBUG SEGFAULT).
    fn segfault(&mut self);
    /// Writes a stack trace to the log unless it is called again within `watchdog-period` milliseconds; 0 for never.
    fn watchdog(&mut self, period_ms: u64);
    /// Bytes in use, cheap enough for every command.
    fn used_memory(&mut self) -> usize;
    /// All memory figures.
    fn memory(&mut self) -> MemoryFacts;
    /// Facts about the process.
    fn process(&mut self) -> ProcessFacts;
    /// Sends systemd a message, if it is what watches over the process.
    fn tell_supervisor(&mut self, message: &str);
    /// Gives unused pages back to the operating system.
    fn purge_memory(&mut self);
    /// Makes changed directives real (listeners, log, limits, working directory). On an error the engine
    /// restores the old values and the text goes to the client.
    fn apply_config(&mut self, changed: &[Id], config: &Config) -> Result<(), (Id, String)>;
    /// Reads a small file whole; `None` when it does not exist.
    fn read_file(&mut self, path: &Path) -> Result<Option<Vec<u8>>, String>;
    /// Writes a file through a temporary name, synced and renamed.
    fn write_file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), String>;
    /// Writes a snapshot to its file, through a temporary name, synced and renamed; blocks.
    fn save(&mut self, job: SaveJob) -> Result<Written, SaveError>;
    /// Opens a file for reading and says how long it is; `None` when it does not exist.
    fn open(&mut self, path: &Path) -> Result<Option<OpenFile>, String>;
    /// Random bytes from the operating system, for ids.
    fn entropy(&mut self) -> u64;
}

/// The clock of the unit that runs: one instant for all it does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// Monotonic nanoseconds.
    pub mono_ns: u64,
    /// Wall clock minus monotonic clock, microseconds; renewed once a round.
    pub offset_us: i64,
}

impl Clock {
    /// Wall-clock milliseconds.
    #[inline]
    pub fn unix_ms(&self) -> UnixMs {
        self.unix_us().div_euclid(1000)
    }
    /// Wall-clock microseconds.
    #[inline]
    pub fn unix_us(&self) -> i64 {
        (self.mono_ns / 1000) as i64 + self.offset_us
    }
    /// Monotonic milliseconds.
    #[inline]
    pub fn mono_ms(&self) -> u64 {
        self.mono_ns / 1_000_000
    }

    /// The monotonic millisecond from which a client's wait counts: the next one, so that no wait is shorter than asked.
    #[inline]
    pub fn wait_begins_ms(&self) -> u64 {
        self.mono_ns.div_ceil(1_000_000)
    }
}
