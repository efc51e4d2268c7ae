//! Databases: look-up, expiry, watched keys, snapshots.
use crate::base::{hash::HashSeed, time::UnixMs};
use crate::types::Entry;
use std::collections::HashMap;
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}
pub enum Ttl {
    Keep,
    None,
    At(UnixMs),
}
pub struct Keyspace {
    dbs: Vec<HashMap<Vec<u8>, Entry>>,
    seed: HashSeed,
}
impl Keyspace {
    pub fn new(n: usize, seed: u64) -> Self {
        Self {
            dbs: (0..n).map(|_| HashMap::new()).collect(),
            seed: HashSeed::new(seed),
        }
    }
    pub fn seed(&self) -> HashSeed {
        self.seed
    }
    pub fn count(&self) -> usize {
        self.dbs.len()
    }
    pub fn key<'a>(&self, b: &'a [u8]) -> Key<'a> {
        Key {
            bytes: b,
            hash: self.seed.hash(b),
        }
    }
    pub fn find(&self, db: usize, k: Key<'_>) -> Option<&Entry> {
        self.dbs[db].get(k.bytes)
    }
    pub fn prefetch(&self, _db: usize, _h: &[u64]) {}
    pub fn set_string(&mut self, db: usize, k: Key<'_>, v: &[u8], _t: Ttl) {
        self.dbs[db].insert(
            k.bytes.to_vec(),
            Entry {
                key: k.bytes.to_vec(),
                value: v.to_vec(),
                at: None,
            },
        );
    }
    pub fn remove(&mut self, db: usize, k: Key<'_>) -> bool {
        self.dbs[db].remove(k.bytes).is_some()
    }
    pub fn maintain(&mut self, _db: usize, _now: UnixMs) {}
    pub fn due_count(&self, _db: usize, _now: UnixMs) -> usize {
        0
    }
    pub fn next_due(&mut self, _db: usize, _now: UnixMs) -> Option<Vec<u8>> {
        None
    }
    pub fn len(&self, db: usize) -> usize {
        self.dbs[db].len()
    }
    pub fn expires_len(&self, _db: usize) -> usize {
        0
    }
}
