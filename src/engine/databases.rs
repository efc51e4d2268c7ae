//! What changes whole databases: FLUSHDB, FLUSHALL, SWAPDB, and their sizes.

use super::Engine;
use crate::keyspace::Due;

impl Engine {
    /// Keys of a database that a client may see: exact where this server reclaims due keys itself, else
    /// what is stored (a replica, or DEBUG SET-ACTIVE-EXPIRE 0), as in Redis.
    pub fn database_size(&mut self, db: usize) -> usize {
        let stored = self.keyspace.len(db);
        if !self.counts_exactly() {
            return stored;
        }
        let now = self.now();
        let mut due = |due| self.keyspace.due_count(db, due, now);
        stored.saturating_sub(due(Due::Key) + due(Due::LastField))
    }

    /// Empties one database or all; returns the number of keys that were stored. Watchers of keys that
    /// lived are spoilt. The tables go to the garbage that a helper frees.
    pub fn flush(&mut self, db: Option<usize>) -> u64 {
        let emptied = match db {
            Some(db) => db..db + 1,
            None => 0..self.keyspace.count(),
        };
        let watched = self.watched_places(|db| emptied.contains(&db));
        let held: Vec<bool> = watched
            .iter()
            .map(|(db, key)| self.is_stored(*db, key))
            .collect();
        let count = self.keyspace.flush(db);
        self.note_changes();
        self.own_expires.flush(db);
        emptied.for_each(|db| self.signal_database(db));
        for ((db, key), held) in watched.iter().zip(held) {
            if held {
                self.spoil_watchers(*db, key, false);
            }
        }
        count
    }

    /// Exchanges two databases. Watchers of a key that either of them holds are spoilt, unless the key was
    /// absent or due for them and is so now.
    pub fn swap_databases(&mut self, a: usize, b: usize) {
        let watched = self.watched_places(|db| db == a || db == b);
        let held: Vec<bool> = watched
            .iter()
            .map(|(db, key)| self.is_stored(*db, key))
            .collect();
        self.keyspace.swap(a, b);
        self.note_changes();
        self.own_expires.swap(a, b);
        self.signal_database(a);
        self.signal_database(b);
        for ((db, key), held) in watched.iter().zip(held) {
            let (holds, due) = (self.is_stored(*db, key), self.is_due(*db, key));
            if !held && !holds {
                continue;
            }
            for link in self.watched.clients_of(*db, key) {
                let excused = match (held, holds) {
                    (_, false) => self.watched.take_due(link, *db, key),
                    (true, true) => due && self.watched.was_due(link, *db, key),
                    // As absent as before, until somebody looks.
                    (false, true) => due && self.watched.set_due(link, *db, key),
                };
                if !excused {
                    self.spoil(link);
                }
            }
        }
    }

    /// The watched keys of some databases, copied.
    fn watched_places(&self, of: impl Fn(usize) -> bool) -> Vec<(usize, Box<[u8]>)> {
        let places = self.watched.places().filter(|(db, _, _)| of(*db));
        places.map(|(db, key, _)| (db, key.into())).collect()
    }

    fn is_stored(&self, db: usize, key: &[u8]) -> bool {
        self.keyspace.find(db, self.keyspace.key(key)).is_some()
    }

    fn is_due(&self, db: usize, key: &[u8]) -> bool {
        let entry = self.keyspace.find(db, self.keyspace.key(key));
        entry.is_some_and(|entry| self.is_ended(entry))
    }
}
