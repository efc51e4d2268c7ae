//! One numbered database: a table of entries, the indexes of their deadlines, and the histogram of their sizes.
//!
//! Invariant: the indexes hold exactly the entries of `table` that have deadlines. Every change of either goes
//! through [`super::Keyspace`] or a [`crate::types::BodyMut`], which tell them the old and the new [`Times`].

use crate::base::hash::HashSeed;
use crate::base::time::UnixMs;
use crate::container::{CowTable, Domain};
use crate::types::sizes::Sizes;
use crate::types::times::{Times, TimesChanged};
use crate::types::{Entry, Kind};

use super::expiry::{Deadlines, TimeIndex};

/// What happens to a key at a deadline: each has its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// It ends by its own deadline.
    Key,
    /// It ends with the last of its fields, as every field has a deadline.
    LastField,
    /// Some of its fields end.
    Field,
}

impl Due {
    /// All of them.
    pub const ALL: [Due; 3] = [Due::Key, Due::LastField, Due::Field];

    /// When it happens to a key with these deadlines.
    #[inline]
    pub fn at(self, times: &Times) -> Option<UnixMs> {
        match self {
            Due::Key => times.by_key(),
            Due::LastField => times.by_fields(),
            Due::Field => times.inside(),
        }
    }
}

/// The entries of a database.
pub(super) struct Entries {
    pub(super) table: CowTable<Entry>,
}

impl Entries {
    /// What an index asks.
    pub(super) fn by(&self, due: Due) -> By<'_> {
        By {
            table: &self.table,
            due,
        }
    }
}

/// The entries of a database by one of their deadlines.
pub(super) struct By<'a> {
    table: &'a CowTable<Entry>,
    due: Due,
}

impl Deadlines for By<'_> {
    fn prefetch(&self, hashes: &[u64]) {
        self.table.prefetch(hashes);
    }

    fn deadlines(&self, hash: u64, each: &mut dyn FnMut(UnixMs)) {
        let seed = self.table.hasher();
        // Nothing is ever "equal": all entries with this hash are visited.
        let none = self.table.find(hash, |entry| {
            if (entry.expire_at().is_some() || entry.kind() == Kind::Hash)
                && let Some(deadline) = self.due.at(&Times::of(entry))
                && seed.hash(entry.key()) == hash
            {
                each(deadline);
            }
            false
        });
        debug_assert!(none.is_none());
    }
}

/// The indexes of a database's deadlines.
pub(super) struct Indexes {
    /// By [`Due`].
    by: [TimeIndex; Due::ALL.len()],
    /// Keys with a deadline of their own.
    expires: usize,
    /// Hashes with fields that have a deadline.
    hashes: usize,
    /// Sum of the keys' own deadlines, for the average in INFO.
    deadline_sum: i128,
}

impl Indexes {
    fn new(now: UnixMs) -> Indexes {
        Indexes {
            by: Due::ALL.map(|_| TimeIndex::new(now)),
            expires: 0,
            hashes: 0,
            deadline_sum: 0,
        }
    }

    #[inline]
    pub(super) fn of(&mut self, due: Due) -> &mut TimeIndex {
        &mut self.by[due as usize]
    }

    pub(super) fn expires(&self) -> usize {
        self.expires
    }

    pub(super) fn hashes(&self) -> usize {
        self.hashes
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.by.iter().map(TimeIndex::memory_bytes).sum()
    }

    pub(super) fn into_all(self) -> [TimeIndex; Due::ALL.len()] {
        self.by
    }

    /// Milliseconds that keys with a deadline have left on average.
    pub(super) fn average_ttl(&self, now: UnixMs) -> i64 {
        let count = self.expires as i128;
        match count {
            0 => 0,
            _ => {
                (self.deadline_sum / count - i128::from(now)).clamp(0, i128::from(i64::MAX)) as i64
            }
        }
    }

    #[inline]
    fn wants_tidy(&self) -> bool {
        self.by.iter().any(TimeIndex::wants_tidy)
    }
}

impl TimesChanged for Indexes {
    fn times_changed(&mut self, hash: u64, old: Times, new: Times) {
        self.expires =
            self.expires + usize::from(new.key.is_some()) - usize::from(old.key.is_some());
        self.hashes =
            self.hashes + usize::from(new.first.is_some()) - usize::from(old.first.is_some());
        self.deadline_sum += i128::from(new.key.unwrap_or(0)) - i128::from(old.key.unwrap_or(0));
        for due in Due::ALL {
            let (old, new) = (due.at(&old), due.at(&new));
            if old != new {
                self.of(due).set(hash, old, new);
            }
        }
    }
}

/// A database.
pub(super) struct Database {
    pub(super) entries: Entries,
    pub(super) indexes: Indexes,
    pub(super) sizes: Sizes,
}

/// Units of sweeping that each write pays for while there are too many stale references.
const TIDY_UNITS: usize = 16;

impl Database {
    pub(super) fn new(domain: &Domain, seed: HashSeed, now: UnixMs) -> Database {
        Database {
            entries: Entries {
                table: CowTable::new(domain, seed, seed.cursor_key()),
            },
            indexes: Indexes::new(now),
            sizes: Sizes::default(),
        }
    }

    /// Tells the indexes of an entry's old and new deadlines.
    #[inline]
    pub(super) fn times_changed(&mut self, hash: u64, old: Times, new: Times) {
        if old != new {
            self.indexes.times_changed(hash, old, new);
            self.tidy();
        }
    }

    /// Does some of the sweeping, if there are too many stale references.
    #[inline]
    pub(super) fn tidy(&mut self) {
        if !self.indexes.wants_tidy() {
            return;
        }
        for due in Due::ALL {
            let entries = self.entries.by(due);
            let index = self.indexes.of(due);
            if index.wants_tidy() {
                index.tidy(TIDY_UNITS, &entries);
            }
        }
    }
}
