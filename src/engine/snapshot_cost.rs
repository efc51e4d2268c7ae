//! What a snapshot costs the loop, as INFO shows it: processor time of taking it, and of the dearest write
//! that copies for it.
//!
//! The first writes behind a snapshot copy most (directory, segment and entry; later ones meet copies), so
//! only these are measured: two readings of the thread's clock each, for no more than [`WRITES_PROBED`] of them.

use super::{Engine, Host};
use crate::keyspace::Snapshot;

/// Writes that are measured behind a snapshot.
const WRITES_PROBED: u32 = 16;

/// Processor time of the loop's thread, nanoseconds.
#[derive(Debug, Default)]
pub struct SnapshotCost {
    /// Counts the snapshots.
    snapshot: u64,
    writes_left: u32,
    /// Taking the last snapshot.
    pub taken_ns: u64,
    /// The dearest of the first writes behind it.
    pub first_write_ns: u64,
}

/// A write that is being measured.
pub struct Probe {
    snapshot: u64,
    start_ns: u64,
}

impl SnapshotCost {
    /// A write begins: measured if it is one of the first behind a snapshot.
    #[inline]
    pub fn write_begins(&self, host: &mut dyn Host) -> Option<Probe> {
        (self.writes_left > 0).then(|| Probe {
            snapshot: self.snapshot,
            start_ns: host.thread_cpu_ns(),
        })
    }

    /// The write is done. One that took a snapshot itself (FLUSHALL saves) says nothing of copies.
    pub fn write_ended(&mut self, probe: Probe, host: &mut dyn Host) {
        if probe.snapshot == self.snapshot && self.writes_left > 0 {
            self.writes_left -= 1;
            let cpu_ns = host.thread_cpu_ns().saturating_sub(probe.start_ns);
            self.first_write_ns = self.first_write_ns.max(cpu_ns);
        }
    }
}

impl Engine {
    /// A snapshot of the keyspace, its cost noted.
    pub(super) fn snapshot(&mut self, host: &mut dyn Host) -> Snapshot {
        let start_ns = host.thread_cpu_ns();
        let snapshot = self.keyspace.snapshot();
        self.stats.snapshots += 1;
        self.snapshot_cost = SnapshotCost {
            snapshot: self.snapshot_cost.snapshot + 1,
            writes_left: WRITES_PROBED,
            taken_ns: host.thread_cpu_ns().saturating_sub(start_ns),
            first_write_ns: 0,
        };
        snapshot
    }
}
