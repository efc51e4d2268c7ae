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
    /// What is found decides what is stored: a replica that does the same has to find the same.
    decides: bool,
    prng: Prng,
    count: GlanceCount,
}

/// What [`Glances`] found.
#[derive(Debug, Default)]
pub struct GlanceCount {
    hits: u64,
    misses: u64,
    /// What is due and was met, as access to it deletes it.
    due: Vec<Due>,
}

/// A key that is due, or a field of one.
#[derive(Debug)]
struct Due {
    key: Box<[u8]>,
    field: Option<Box<[u8]>>,
}

/// Due fields that a command notes which only reads.
const DUE_MAX: usize = 4096;

impl<'e> Glances<'e> {
    /// For the running client; `seed` draws what LFU needs. What is due and met is deleted by
    /// [`Engine::count_glances`]: all of it if what is found `decides` what a replica stores, which is told so before.
    pub fn new(engine: &'e Engine, client: &Client, seed: u64, decides: bool) -> Glances<'e> {
        Glances {
            engine,
            db: client.db,
            sees_due: client.must_obey(),
            touches: !client.is(ClientFlags::NO_TOUCH),
            decides,
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
        let mut found = engine.keyspace.find(self.db, key);
        if let Some(entry) = found
            && !self.sees_due
            && engine.is_ended(entry)
        {
            if self.decides {
                self.note_due(entry, None);
            }
            found = None;
        }
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
        // Where due fields are reclaimed anyway, that is soon enough for who only reads.
        if self.decides || (!self.engine.counts_exactly() && self.count.due.len() < DUE_MAX) {
            self.note_due(entry, Some(field));
        }
        None
    }

    #[cold]
    fn note_due(&mut self, entry: &Entry, field: Option<&[u8]>) {
        self.count.due.push(Due {
            key: entry.key().into(),
            field: field.map(Box::from),
        });
    }

    /// What was found so far.
    pub fn count(&mut self) -> GlanceCount {
        std::mem::take(&mut self.count)
    }
}

impl Engine {
    /// Adds look-ups to the statistics, and deletes what was noted as due.
    pub fn count_glances(&mut self, client: &Client, count: GlanceCount) {
        self.stats.keyspace_hits += count.hits;
        self.stats.keyspace_misses += count.misses;
        for Due { key, field } in &count.due {
            let key = self.keyspace.key(key);
            match field {
                Some(field) => self.drop_due_fields(client, key, false, std::iter::once(&**field)),
                None => {
                    self.drop_due(client, key);
                    self.drop_all_due_fields(client, key);
                }
            }
        }
    }
}
