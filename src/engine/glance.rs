//! [`Glances`]: look-ups beside the value that a command is about, while that one is borrowed (SORT's BY and GET).

use super::{Client, ClientFlags, Engine, touch};
use crate::base::prng::Prng;
use crate::base::time::UnixMs;
use crate::keyspace::Key;
use crate::types::{Entry, HashRef, HashView, StringRef};

/// Reads keys without a change: a due one is hidden and left to be reclaimed. Counts are given to the engine at the end
/// ([`Engine::count_glances`]).
pub struct Glances<'e> {
    engine: &'e Engine,
    db: usize,
    sees_due: bool,
    touches: bool,
    prng: Prng,
    count: GlanceCount,
}

/// What [`Glances`] found.
#[derive(Debug, Default)]
pub struct GlanceCount {
    hits: u64,
    misses: u64,
    /// Keys and their fields that are due, as access to them deletes them: at most [`DUE_MAX`].
    due: Vec<DueField>,
}

/// A key and a field of it.
type DueField = (Box<[u8]>, Box<[u8]>);

/// Due fields that one command notes.
const DUE_MAX: usize = 4096;

impl<'e> Glances<'e> {
    /// For the running client; `seed` draws what LFU needs.
    pub fn new(engine: &'e Engine, client: &Client, seed: u64) -> Glances<'e> {
        Glances {
            engine,
            db: client.db,
            sees_due: client.must_obey(),
            touches: !client.is(ClientFlags::NO_TOUCH),
            prng: Prng::new(seed),
            count: GlanceCount::default(),
        }
    }

    /// Hashes keys and asks the processor for their entries.
    pub fn prefetch<const N: usize>(&self, keys: &[Key<'_>]) {
        let mut hashes = [0; N];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = key.hash;
        }
        let count = keys.len().min(N);
        self.engine.keyspace.prefetch(self.db, &hashes[..count]);
    }

    /// A key with its hash.
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        self.engine.keyspace.key(bytes)
    }

    /// The live entry of a key.
    pub fn find(&mut self, key: Key<'_>) -> Option<&'e Entry> {
        let engine = self.engine;
        let lives = |entry: &&Entry| self.sees_due || !engine.is_ended(entry);
        let found = engine.keyspace.find(self.db, key).filter(lives);
        match found {
            None => self.count.misses += 1,
            Some(entry) => {
                self.count.hits += 1;
                if self.touches {
                    let (clock, word) = (engine.clock, engine.access_word);
                    touch(entry, word, &engine.config, clock, &mut self.prng);
                }
            }
        }
        found
    }

    /// The value of a field of an entry that is a hash.
    pub fn field(&mut self, entry: &'e Entry, field: &[u8]) -> Option<StringRef<'e>> {
        let now = match self.sees_due {
            true => UnixMs::MIN,
            false => self.engine.now(),
        };
        let hash = HashRef::of(entry);
        let (value, deadline) = hash.find(field)?;
        if HashView::new(hash, now).shows(deadline) {
            return Some(value);
        }
        // Where due fields are reclaimed anyway, that is soon enough.
        if !self.engine.counts_exactly() && self.count.due.len() < DUE_MAX {
            self.count.due.push((entry.key().into(), field.into()));
        }
        None
    }

    /// What was found so far.
    pub fn count(&mut self) -> GlanceCount {
        std::mem::take(&mut self.count)
    }
}

impl Engine {
    /// Adds look-ups to the statistics, and deletes the due fields that were met.
    pub fn count_glances(&mut self, client: &Client, count: GlanceCount) {
        self.stats.keyspace_hits += count.hits;
        self.stats.keyspace_misses += count.misses;
        for (key, field) in &count.due {
            let key = self.keyspace.key(key);
            self.drop_due_fields(client, key, false, std::iter::once(&**field));
        }
    }
}
