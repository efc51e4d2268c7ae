//! `Snapshot`: all databases as they were at one instant, for a helper thread.
//!
//! Taking one is O(databases). It costs memory only for what is changed while it lives, and ends when
//! it is dropped.

use crate::container::TableView;
use crate::types::Entry;

/// All databases that had keys, in order. Immutable and `Send`.
pub struct Snapshot {
    /// The databases, for walking one after the other.
    pub databases: Vec<SnapshotDb>,
}

/// One database of a snapshot.
pub struct SnapshotDb {
    /// Its number.
    pub index: usize,
    /// Keys that have a deadline (RDB's resize-db).
    pub expires: usize,
    pub(super) view: TableView<Entry>,
}

impl Snapshot {
    /// Keys in all databases.
    pub fn keys(&self) -> usize {
        self.databases.iter().map(SnapshotDb::len).sum()
    }
}

impl SnapshotDb {
    /// Keys, due ones included.
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether there are none. Never for a database of a fresh snapshot.
    pub fn is_empty(&self) -> bool {
        self.view.is_empty()
    }

    /// Visits some dozen entries; false, without a visit, at the end. Between calls the caller may
    /// stop, or look whether it should.
    pub fn visit_next(&mut self, visitor: impl FnMut(&Entry)) -> bool {
        self.view.visit_next(visitor)
    }

    /// Starts the walk of [`SnapshotDb::visit_next`] again.
    pub fn rewind(&mut self) {
        self.view.rewind();
    }

    /// Visits all entries, from the start.
    pub fn for_each(&mut self, visitor: impl FnMut(&Entry)) {
        self.view.for_each(visitor);
    }

    /// The entry of a key.
    pub fn find(&self, key: super::Key<'_>) -> Option<&Entry> {
        self.view.find(key.hash, |entry| entry.key() == key.bytes)
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Snapshot>();
};
