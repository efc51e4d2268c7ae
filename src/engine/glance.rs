//! [`Glances`]: look-ups beside the value that a command is about, while that one is borrowed (SORT's BY and GET).

use super::{Client, ClientFlags, Engine, touch};
use crate::base::prng::Prng;
use crate::base::time::UnixMs;
use crate::keyspace::Key;
use crate::types::{Entry, HashRef, HashView};

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
#[derive(Clone, Copy, Debug, Default)]
pub struct GlanceCount {
    hits: u64,
    misses: u64,
}

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

    /// What is to be seen of an entry that is a hash.
    pub fn hash(&self, entry: &'e Entry) -> HashView<'e> {
        let now = match self.sees_due {
            true => UnixMs::MIN,
            false => self.engine.now(),
        };
        HashView::new(HashRef::of(entry), now)
    }

    /// What was found so far.
    pub fn count(&self) -> GlanceCount {
        self.count
    }
}

impl Engine {
    /// Adds look-ups to the statistics.
    pub fn count_glances(&mut self, count: GlanceCount) {
        self.stats.keyspace_hits += count.hits;
        self.stats.keyspace_misses += count.misses;
    }
}
