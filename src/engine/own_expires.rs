//! Deadlines that a writable replica's own clients have set. The primary knows nothing of these keys and will
//! never delete them, so the replica does, without telling anyone.
//!
//! Invariant: both maps hold the same (database, key, deadline) triples. A key is forgotten when its deadline
//! comes, or when a client takes the deadline or the key away; whether the key is due is asked of the keyspace, as the
//! primary may have changed it meanwhile.

use std::collections::{BTreeSet, HashMap};

use super::Engine;
use crate::base::time::UnixMs;
use crate::keyspace::is_due;

/// Keys that one call deletes at most.
const STEP: usize = 1000;

/// Keys with deadlines of their own.
#[derive(Debug, Default)]
pub struct OwnExpires {
    by_key: HashMap<(usize, Box<[u8]>), UnixMs>,
    by_time: BTreeSet<(UnixMs, usize, Box<[u8]>)>,
}

impl OwnExpires {
    /// Keys tracked.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The key has this deadline now, or none.
    fn set(&mut self, db: usize, key: &[u8], at: Option<UnixMs>) {
        let place = (db, Box::from(key));
        if let Some(old) = self.by_key.remove(&place) {
            self.by_time.remove(&(old, db, place.1.clone()));
        }
        if let Some(at) = at {
            self.by_time.insert((at, db, place.1.clone()));
            self.by_key.insert(place, at);
        }
    }

    /// A database was emptied, or all.
    pub(super) fn flush(&mut self, db: Option<usize>) {
        self.by_key
            .retain(|(other, _), _| db.is_some_and(|db| db != *other));
        self.by_time
            .retain(|(_, other, _)| db.is_some_and(|db| db != *other));
    }

    /// Two databases were exchanged.
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        if self.is_empty() {
            return;
        }
        self.by_time.clear();
        for ((db, key), at) in std::mem::take(&mut self.by_key) {
            let db = match db {
                db if db == a => b,
                db if db == b => a,
                db => db,
            };
            self.by_time.insert((at, db, key.clone()));
            self.by_key.insert((db, key), at);
        }
    }

    fn next_due(&mut self, now: UnixMs) -> Option<(usize, Box<[u8]>)> {
        if !is_due(self.by_time.first()?.0, now) {
            return None;
        }
        let (_, db, key) = self.by_time.pop_first()?;
        let place = (db, key);
        self.by_key.remove(&place);
        Some(place)
    }
}

impl Engine {
    /// A client of a writable replica changed a key: its deadline is ours to keep.
    #[cold]
    pub(crate) fn own_key_changed(&mut self, db: usize, key: &[u8]) {
        let found = self.keyspace.find(db, self.keyspace.key(key));
        let at = found.and_then(|entry| entry.expire_at());
        self.own_expires.set(db, key, at);
    }

    /// Deletes own keys that are due.
    pub(crate) fn reclaim_own_keys(&mut self) {
        let now = self.now();
        for _ in 0..STEP {
            let Some((db, key)) = self.own_expires.next_due(now) else {
                return;
            };
            let key = self.keyspace.key(&key);
            let deadline = self
                .keyspace
                .find(db, key)
                .and_then(|entry| entry.expire_at());
            if deadline.is_some_and(|at| is_due(at, now)) {
                self.expire(db, key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_held_once_and_goes_with_its_deadline() {
        let mut own = OwnExpires::default();
        for at in 0..1000 {
            own.set(0, b"key", Some(at));
        }
        own.set(1, b"other", Some(5));
        assert_eq!((own.len(), own.by_time.len()), (2, 2));
        own.swap(1, 2);
        assert_eq!(own.next_due(6), Some((2, Box::from(&b"other"[..]))));
        assert_eq!(own.next_due(6), None);
        own.set(0, b"key", None);
        assert!(own.is_empty() && own.by_time.is_empty());
        own.set(0, b"key", Some(1));
        own.flush(Some(1));
        assert_eq!(own.len(), 1);
        own.flush(None);
        assert!(own.is_empty() && own.by_time.is_empty());
    }
}
