//! One numbered database: a table of entries, the index of their deadlines, and the histogram of their sizes.
//!
//! Invariant: `index` holds exactly the entries of `table` that have a deadline. Every change of either goes
//! through [`super::Keyspace`], which tells the index the old and the new deadline.

use crate::base::hash::HashSeed;
use crate::base::time::UnixMs;
use crate::container::{CowTable, Domain};
use crate::types::Entry;

use super::expiry::{Deadlines, TimeIndex};
use crate::types::sizes::Sizes;

/// The entries of a database.
pub(super) struct Entries {
    pub(super) table: CowTable<Entry>,
}

impl Deadlines for Entries {
    fn prefetch(&self, hashes: &[u64]) {
        self.table.prefetch(hashes);
    }

    fn deadlines(&self, hash: u64, each: &mut dyn FnMut(UnixMs)) {
        let seed = self.table.hasher();
        // Nothing is ever "equal": all entries with this hash are visited.
        let none = self.table.find(hash, |entry| {
            if let Some(deadline) = entry.expire_at()
                && seed.hash(entry.key()) == hash
            {
                each(deadline);
            }
            false
        });
        debug_assert!(none.is_none());
    }
}

/// A database.
pub(super) struct Database {
    pub(super) entries: Entries,
    pub(super) index: TimeIndex,
    pub(super) sizes: Sizes,
    /// Sum of all deadlines, for the average in INFO.
    deadline_sum: i128,
}

/// Units of sweeping that each write pays for while there are too many stale references.
const TIDY_UNITS: usize = 16;

impl Database {
    pub(super) fn new(domain: &Domain, seed: HashSeed, cursor_key: u64, now: UnixMs) -> Database {
        Database {
            entries: Entries {
                table: CowTable::new(domain, seed, cursor_key),
            },
            index: TimeIndex::new(now),
            sizes: Sizes::default(),
            deadline_sum: 0,
        }
    }

    /// Tells the index of a key's old and new deadline.
    #[inline]
    pub(super) fn deadline_changed(&mut self, hash: u64, old: Option<UnixMs>, new: Option<UnixMs>) {
        if old != new {
            self.deadline_sum += i128::from(new.unwrap_or(0)) - i128::from(old.unwrap_or(0));
            self.index.set(hash, old, new);
            if self.index.wants_tidy() {
                self.index.tidy(TIDY_UNITS, &self.entries);
            }
        }
    }

    /// Milliseconds that keys with a deadline have left on average.
    pub(super) fn average_ttl(&self, now: UnixMs) -> i64 {
        let count = i128::from(self.index.len());
        match count {
            0 => 0,
            _ => {
                (self.deadline_sum / count - i128::from(now)).clamp(0, i128::from(i64::MAX)) as i64
            }
        }
    }
}
