//! A table as a snapshot saw it: what a helper thread reads.
#![allow(unsafe_code)]

use super::CowTable;
use super::directory::Root;
use crate::container::domain::{Domain, Pin};
use crate::container::entry::Entry;

/// A table as it was when the pin was taken. Read-only and `Send`; keeps the snapshot alive.
pub struct TableView<E: Entry> {
    root: Root<E>,
    len: usize,
    /// Where the walk stands; None at the end.
    position: Option<u64>,
    /// Keeps every block that the root reaches frozen and allocated.
    _pin: Pin,
}

// SAFETY: it only reads blocks that nobody writes while its pin is alive; entries are Sync.
unsafe impl<E: Entry> Send for TableView<E> {}
// SAFETY: as above.
unsafe impl<E: Entry> Sync for TableView<E> {}

impl<E: Entry> CowTable<E> {
    /// This table in a snapshot. Panics if anything was written since `pin` was taken.
    pub fn view(&self, domain: &Domain, pin: &Pin) -> TableView<E> {
        self.assert_domain(domain);
        domain.assert_fresh(pin);
        TableView {
            root: self.root,
            len: self.len,
            position: Some(0),
            _pin: pin.clone(),
        }
    }
}

impl<E: Entry> TableView<E> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry with this hash for which `equal` holds.
    pub fn find(&self, hash: u64, equal: impl FnMut(&E) -> bool) -> Option<&E> {
        self.root.find(hash, equal).map(|(_, entry)| entry)
    }

    /// Visits the entries of the next segment, in the order of hash prefixes. Returns false, without a
    /// visit, when there are no more. Between calls the caller may stop, or look whether it should.
    pub fn visit_next(&mut self, mut visitor: impl FnMut(&E)) -> bool {
        let Some(hash) = self.position else {
            return false;
        };
        self.position = self.root.after(hash);
        if let Some(next) = self.position {
            self.root.prefetch_segment(next);
        }
        self.root.visit(hash, &mut visitor);
        true
    }

    /// Starts the walk again.
    pub fn rewind(&mut self) {
        self.position = Some(0);
    }

    /// Visits all entries.
    pub fn for_each(&mut self, mut visitor: impl FnMut(&E)) {
        self.rewind();
        while self.visit_next(&mut visitor) {}
    }
}
