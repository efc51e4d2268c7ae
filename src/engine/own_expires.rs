//! Deadlines that a writable replica's own clients have set. The primary knows nothing of these keys and will
//! never delete them, so the replica does, without telling anyone.
//!
//! Invariant: both maps hold the same (database, key, deadline) triples. A key is forgotten when its deadline
//! comes; whether the key is due then is asked of the keyspace.

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

    fn set(&mut self, db: usize, key: &[u8], at: UnixMs) {
        let old = self.by_key.insert((db, key.into()), at);
        if let Some(old) = old {
            self.by_time.remove(&(old, db, key.into()));
        }
        self.by_time.insert((at, db, key.into()));
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
        if let Some(at) = found.and_then(|entry| entry.expire_at()) {
            self.own_expires.set(db, key, at);
        }
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
