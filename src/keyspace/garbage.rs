//! What the loop has given up and a helper is to free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::container::{self, Owned};
use crate::types::Entry;

use super::expiry::TimeIndex;

/// Values, tables and indexes that nobody can see any more. Dropping it, on any thread, frees them.
pub struct Garbage {
    entries: Vec<Owned<Entry>>,
    entry_bytes: u64,
    /// One hand-over for each copy-on-write domain and time.
    blocks: Vec<container::Garbage>,
    indexes: Vec<TimeIndex>,
    objects: u64,
    pending: Arc<LazyFree>,
}

/// Counts of what was handed out and is not freed yet.
#[derive(Default)]
pub(super) struct LazyFree {
    /// Objects given up since the start.
    given_up: AtomicU64,
    /// Those of them that are freed.
    freed: AtomicU64,
    bytes: AtomicU64,
}

impl LazyFree {
    pub(super) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    pub(super) fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }

    pub(super) fn objects(&self) -> u64 {
        self.given_up().saturating_sub(self.freed())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Garbage {
    pub(super) fn new(pending: Arc<LazyFree>) -> Garbage {
        Garbage {
            entries: Vec::new(),
            entry_bytes: 0,
            blocks: Vec::new(),
            indexes: Vec::new(),
            objects: 0,
            pending,
        }
    }

    pub(super) fn push_entry(&mut self, entry: Owned<Entry>) {
        let bytes = entry.memory_bytes() as u64;
        self.entry_bytes += bytes;
        self.pending.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.count(1);
        self.entries.push(entry);
    }

    pub(super) fn push_blocks(&mut self, blocks: Option<container::Garbage>) {
        self.blocks.extend(blocks);
    }

    pub(super) fn push_index(&mut self, index: TimeIndex) {
        if index.references() > 0 {
            self.indexes.push(index);
        }
    }

    /// Notes that the blocks free `objects` keys.
    pub(super) fn count(&mut self, objects: u64) {
        self.objects += objects;
        self.pending.given_up.fetch_add(objects, Ordering::Relaxed);
    }

    /// Takes over what another keyspace with the same counts gave up.
    pub(super) fn append(&mut self, mut other: Garbage) {
        self.entries.append(&mut other.entries);
        self.blocks.append(&mut other.blocks);
        self.indexes.append(&mut other.indexes);
        self.entry_bytes += std::mem::take(&mut other.entry_bytes);
        self.objects += std::mem::take(&mut other.objects);
    }

    /// Whether there is nothing to free.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.blocks.is_empty() && self.indexes.is_empty()
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        self.entries.clear();
        self.blocks.clear();
        self.indexes.clear();
        self.pending
            .freed
            .fetch_add(self.objects, Ordering::Relaxed);
        self.pending
            .bytes
            .fetch_sub(self.entry_bytes, Ordering::Relaxed);
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Garbage>();
};
