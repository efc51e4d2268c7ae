//! Databases: look-up, deadlines, snapshots. No command, no client, no clock.
//!
//! [`Keyspace`] owns every key. It stores and finds what is stored: whether a due key is
//! hidden or deleted is the caller's decision (it depends on who asks), helped by [`is_due`],
//! [`Keyspace::due_count`] and [`Keyspace::next_due`].
//!
//! - [`database`]: one table with one index of deadlines; a swap or a flush moves both.
//! - [`expiry`]: the index.
//! - [`snapshot`]: what helpers read. [`garbage`]: what helpers free.
//!
//! Invariants: all tables share one copy-on-write domain; every change of a deadline reaches the index of
//! its database; no reference to an entry outlives a change.

mod chain;
mod database;
pub mod expiry;
mod garbage;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::base::hash::HashSeed;
use crate::base::prng::Prng;
use crate::base::time::UnixMs;
use crate::container::{Domain, Lookup, Owned, Removed};
use crate::types::body::{BodyMut, Counts};
use crate::types::entry::BLOCK_BYTES_MAX;
use crate::types::sizes::{Bin, Sizes};
pub use crate::types::times::Ttl;
use crate::types::{Chunks, Entry, Times, Value};

use database::Database;
pub use database::Due;
pub use garbage::Garbage;
use garbage::LazyFree;
pub use snapshot::{Snapshot, SnapshotDb};

/// References that one call of `next_due` may look at.
const NEXT_DUE_BUDGET: usize = 4096;
/// Units of spread work that one call of `maintain` does when nothing presses: some 50 µs.
const MAINTAIN_UNITS: usize = 2000;

/// A key with its hash by [`Keyspace::seed`].
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key.
    pub bytes: &'a [u8],
    /// Its hash.
    pub hash: u64,
}

/// Whether a key with this deadline is due: once the clock is past it.
#[inline]
pub fn is_due(deadline: UnixMs, now: UnixMs) -> bool {
    deadline < now
}

/// All databases.
pub struct Keyspace {
    /// The numbered ones, and behind them the workshop.
    databases: Vec<Database>,
    domain: Domain,
    seed: HashSeed,
    /// The clock as `set_clock` or `maintain` last had it, for new indexes.
    now: UnixMs,
    /// The access word that new entries get.
    access: u32,
    /// Whether an overwritten entry gets that word too (LRU) or keeps its own (LFU).
    overwrites_access: bool,
    garbage: Option<Garbage>,
    pending: Arc<LazyFree>,
    /// Domains of keyspaces that [`Keyspace::replace`] put away and that snapshots still see.
    former: Vec<Domain>,
}

impl Keyspace {
    /// `databases` empty databases; `seed` keys the hash. The clock stands at 0: call
    /// [`Keyspace::set_clock`] before the first deadline is stored.
    pub fn new(databases: usize, seed: u64) -> Keyspace {
        let seed = HashSeed::new(Prng::new(seed).next_u64());
        Keyspace::empty(databases, seed, 0)
    }

    /// An empty keyspace with the same number of databases and seed, its clock at `now`: to load into,
    /// then given to [`Keyspace::replace`].
    pub fn detached(&mut self, now: UnixMs) -> Keyspace {
        let mut keyspace = Keyspace::empty(self.count(), self.seed, now);
        keyspace.access = self.access;
        keyspace.overwrites_access = self.overwrites_access;
        keyspace.pending = Arc::clone(&self.pending);
        keyspace
    }

    /// Puts a keyspace that [`Keyspace::detached`] made in this one's place. What this one held goes to
    /// [`Keyspace::take_garbage`]; snapshots of it live on.
    pub fn replace(&mut self, fresh: Keyspace) {
        assert!(
            Arc::ptr_eq(&self.pending, &fresh.pending),
            "not made by detached()"
        );
        self.flush(None);
        let old = std::mem::replace(self, fresh);
        if let Some(garbage) = old.garbage {
            garbage_mut(&mut self.garbage, &self.pending).append(garbage);
        }
        self.former.extend(old.former);
        self.former.push(old.domain);
    }

    fn empty(databases: usize, seed: HashSeed, now: UnixMs) -> Keyspace {
        let domain = Domain::new();
        let databases = (0..=databases)
            .map(|_| Database::new(&domain, seed, now))
            .collect();
        Keyspace {
            databases,
            domain,
            seed,
            now,
            access: 0,
            overwrites_access: false,
            garbage: None,
            pending: Arc::default(),
            former: Vec::new(),
        }
    }

    /// The key of the hash function.
    #[inline]
    pub fn seed(&self) -> HashSeed {
        self.seed
    }

    /// The number of databases.
    pub fn count(&self) -> usize {
        self.databases.len() - 1
    }

    /// The number of a database that no client sees: a value is made there piece by piece and then moved to its place
    /// ([`Keyspace::rename`]). Between commands it holds at most what a load is reading.
    pub fn workshop(&self) -> usize {
        self.count()
    }

    /// Hashes a key.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key {
            bytes,
            hash: self.seed.hash(bytes),
        }
    }

    /// The access word that entries created from now on start with (see [`crate::types::access`]).
    pub fn set_new_access(&mut self, access: u32) {
        self.access = access;
    }

    /// Whether entries that are overwritten get the access word of new ones (LRU), or keep theirs (LFU).
    pub fn set_overwrites_access(&mut self, overwrites: bool) {
        self.overwrites_access = overwrites;
    }

    // ---- look-up ---------------------------------------------------------------------------

    /// The entry of a key, due or not. O(1).
    #[inline]
    pub fn find(&self, db: usize, key: Key<'_>) -> Option<&Entry> {
        self.databases[db]
            .entries
            .table
            .find(key.hash, |entry| entry.key() == key.bytes)
    }

    /// Asks the processor for what `find` will read; in windows of 16 hashes.
    #[inline]
    pub fn prefetch(&self, db: usize, hashes: &[u64]) {
        for window in hashes.chunks(16) {
            self.databases[db].entries.table.prefetch(window);
        }
    }

    /// Keys stored, due ones included.
    #[inline]
    pub fn len(&self, db: usize) -> usize {
        self.databases[db].entries.table.len()
    }

    /// How many keys the database's table has places for.
    pub fn capacity(&self, db: usize) -> usize {
        self.databases[db].entries.table.capacity()
    }

    /// Whether the database stores no key.
    #[inline]
    pub fn is_empty(&self, db: usize) -> bool {
        self.len(db) == 0
    }

    /// Visits up to `count` entries from `cursor` on (start with 0), more only if they share a position, and returns
    /// where to go on; 0 is the end. What is there from start to end is visited, and nothing twice. Cursors are below 2^48.
    pub fn scan(&self, db: usize, cursor: u64, count: usize, visitor: impl FnMut(&Entry)) -> u64 {
        self.databases[db]
            .entries
            .table
            .scan(cursor, count, visitor)
    }

    /// Visits all entries.
    pub fn for_each(&self, db: usize, visitor: impl FnMut(&Entry)) {
        self.databases[db].entries.table.for_each(visitor);
    }

    /// An entry drawn uniformly, due or not.
    pub fn random(&self, db: usize, prng: &mut Prng) -> Option<&Entry> {
        self.databases[db].entries.table.random(|| prng.next_u64())
    }

    // ---- values ----------------------------------------------------------------------------

    /// Stores a string as SET does: an integer's decimal form is kept as an integer. True when the key is
    /// new.
    #[inline]
    pub fn set_string(&mut self, db: usize, key: Key<'_>, bytes: &[u8], ttl: Ttl) -> bool {
        self.store(db, key, Value::of(bytes), ttl)
    }

    /// Stores a string that is never kept as an integer (INCRBYFLOAT's result).
    pub fn set_text(&mut self, db: usize, key: Key<'_>, bytes: &[u8], ttl: Ttl) -> bool {
        self.store(db, key, Value::raw(bytes, false), ttl)
    }

    /// Stores an integer.
    #[inline]
    pub fn set_int(&mut self, db: usize, key: Key<'_>, number: i64, ttl: Ttl) -> bool {
        self.store(db, key, Value::Int(number), ttl)
    }

    /// Stores a value. In place, without an allocation, when it takes one of the same class and no snapshot
    /// sees the old one. True when the key is new.
    pub fn store(&mut self, db: usize, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> bool {
        let database = &mut self.databases[db];
        let table = &mut database.entries.table;
        match table.lookup(&mut self.domain, key.hash, |entry| entry.key() == key.bytes) {
            Lookup::Vacant(vacant) => {
                let deadline = ttl.resolve(None);
                let entry = Entry::new(key.bytes, value, deadline, self.access);
                database.sizes.changed(None, Some(Bin::of(&entry)));
                let times = Times::of(&entry);
                vacant.insert(entry);
                database.times_changed(key.hash, Times::default(), times);
                true
            }
            Lookup::Occupied(mut slot) => {
                let old = Times::of(slot.get());
                let bin = Bin::of(slot.get());
                let deadline = ttl.resolve(old.key);
                let access = match self.overwrites_access {
                    true => self.access,
                    false => slot.get().access(),
                };
                let value = if slot.get().fits(&value, deadline) {
                    slot.make_mut().try_store(value, deadline).err()
                } else {
                    Some(value)
                };
                if let Some(value) = value {
                    let removed = slot.replace(Entry::new(key.bytes, value, deadline, access));
                    give_up(removed, &mut self.garbage, &self.pending);
                } else if slot.get().access() != access {
                    slot.get().set_access(access);
                }
                let (now, new) = (Bin::of(slot.get()), Times::of(slot.get()));
                database.sizes.changed(Some(bin), Some(now));
                database.times_changed(key.hash, old, new);
                false
            }
        }
    }

    /// APPEND: the length after. The deadline stays.
    pub fn append(&mut self, db: usize, key: Key<'_>, bytes: &[u8]) -> usize {
        let database = &mut self.databases[db];
        let table = &mut database.entries.table;
        let Some(mut slot) =
            table.find_mut(&mut self.domain, key.hash, |entry| entry.key() == key.bytes)
        else {
            self.set_string(db, key, bytes, Ttl::None);
            return bytes.len();
        };
        let bin = Bin::of(slot.get());
        if slot.make_mut().try_append(bytes) {
            let now = Bin::of(slot.get());
            database.sizes.changed(Some(bin), Some(now));
            return slot.get().string().len();
        }
        let old = slot.get().string();
        let len = old.len() + bytes.len();
        let value = if len > BLOCK_BYTES_MAX {
            let mut chunks = Chunks::default();
            old.for_each_piece(|piece| chunks.append(piece));
            chunks.append(bytes);
            Value::Chunks(chunks)
        } else {
            let mut whole = Vec::with_capacity(len);
            old.push_to(&mut whole);
            whole.extend_from_slice(bytes);
            return self.replace_raw(db, key, &whole);
        };
        self.store(db, key, value, Ttl::Keep);
        len
    }

    /// SETRANGE: the length after; zeros fill a gap. The deadline stays. Without bytes nothing
    /// happens, and no key is created.
    pub fn set_range(&mut self, db: usize, key: Key<'_>, offset: usize, bytes: &[u8]) -> usize {
        let database = &mut self.databases[db];
        let table = &mut database.entries.table;
        let found = table.find_mut(&mut self.domain, key.hash, |entry| entry.key() == key.bytes);
        if bytes.is_empty() {
            return found.map_or(0, |slot| slot.get().string().len());
        }
        let end = offset + bytes.len();
        let mut whole = Vec::new();
        if let Some(mut slot) = found {
            let bin = Bin::of(slot.get());
            if slot.make_mut().try_write(offset, bytes) {
                let now = Bin::of(slot.get());
                database.sizes.changed(Some(bin), Some(now));
                return slot.get().string().len();
            }
            slot.get().string().push_to(&mut whole);
        }
        let len = end.max(whole.len());
        if len > BLOCK_BYTES_MAX {
            let mut chunks = Chunks::new(&whole);
            chunks.write(offset, bytes);
            self.store(db, key, Value::Chunks(chunks), Ttl::Keep);
            return len;
        }
        whole.resize(len, 0);
        whole[offset..end].copy_from_slice(bytes);
        self.replace_raw(db, key, &whole)
    }

    /// Changes the bytes of a string in place, if it is in one piece; `None` when it is not, or there is no such key.
    pub fn change_bytes<R>(
        &mut self,
        db: usize,
        key: Key<'_>,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        let table = &mut self.databases[db].entries.table;
        let mut slot =
            table.find_mut(&mut self.domain, key.hash, |entry| entry.key() == key.bytes)?;
        slot.make_mut().bytes_mut().map(change)
    }

    /// Stores the bytes of a string that was changed in part: never `embstr`. The deadline stays. True when the key is
    /// new.
    pub fn set_changed(&mut self, db: usize, key: Key<'_>, bytes: &[u8]) -> bool {
        self.store(db, key, Value::raw(bytes, true), Ttl::Keep)
    }

    fn replace_raw(&mut self, db: usize, key: Key<'_>, bytes: &[u8]) -> usize {
        self.store(db, key, Value::raw(bytes, true), Ttl::Keep);
        bytes.len()
    }

    /// Removes a key; false when there is none. A large value goes to [`Keyspace::take_garbage`].
    pub fn remove(&mut self, db: usize, key: Key<'_>) -> bool {
        let database = &mut self.databases[db];
        let table = &mut database.entries.table;
        let Some(slot) =
            table.find_mut(&mut self.domain, key.hash, |entry| entry.key() == key.bytes)
        else {
            return false;
        };
        let old = Times::of(slot.get());
        let bin = Bin::of(slot.get());
        database.sizes.changed(Some(bin), None);
        give_up(slot.remove(), &mut self.garbage, &self.pending);
        database.times_changed(key.hash, old, Times::default());
        true
    }

    /// Moves the value, deadline included, to another key or database, whatever is there: a new key to LRU and LFU.
    /// False when there is no such key. O(1) for large values.
    pub fn rename(&mut self, db: usize, from: Key<'_>, to_db: usize, to: Key<'_>) -> bool {
        if db == to_db && from.bytes == to.bytes {
            return self.find(db, from).is_some();
        }
        let database = &mut self.databases[db];
        let table = &mut database.entries.table;
        let Some(slot) = table.find_mut(&mut self.domain, from.hash, |entry| {
            entry.key() == from.bytes
        }) else {
            return false;
        };
        let entry = slot.take();
        database.sizes.changed(Some(Bin::of(&entry)), None);
        database.times_changed(from.hash, Times::of(&entry), Times::default());
        let entry = Entry::with_key(entry, to.bytes);
        entry.set_access(self.access);
        self.put(to_db, to, entry);
        true
    }

    /// Copies the value, deadline included, to another key, whatever is there: a new key to LRU and LFU. False when there
    /// is no such key. A long string is shared until one of both is written; a collection is copied.
    pub fn copy(&mut self, db: usize, from: Key<'_>, to_db: usize, to: Key<'_>) -> bool {
        let table = &self.databases[db].entries.table;
        let Some(entry) = table.find(from.hash, |entry| entry.key() == from.bytes) else {
            return false;
        };
        let deadline = entry.expire_at();
        let value = entry.value(&mut self.domain);
        let fresh = Entry::new(to.bytes, value, deadline, self.access);
        self.put(to_db, to, fresh);
        true
    }

    // ---- collections -----------------------------------------------------------------------

    /// The value of a key that is there, due or not, for changing it.
    #[inline]
    pub fn body(&mut self, db: usize, key: Key<'_>) -> Option<BodyMut<'_>> {
        let database = &mut self.databases[db];
        database.tidy();
        let slot = database
            .entries
            .table
            .find_mut(&mut self.domain, key.hash, |entry| entry.key() == key.bytes)?;
        let counts = Counts {
            hash: key.hash,
            sizes: &mut database.sizes,
            deadlines: &mut database.indexes,
        };
        Some(BodyMut::new(slot, self.seed, counts, false))
    }

    /// As [`Keyspace::body`], of a key that gets the value `empty` when it is not there; and whether it is new. A key
    /// whose collection stays empty is to be removed.
    #[inline]
    pub fn body_or_new(
        &mut self,
        db: usize,
        key: Key<'_>,
        empty: Value<'_>,
    ) -> (BodyMut<'_>, bool) {
        let database = &mut self.databases[db];
        database.tidy();
        let found = database
            .entries
            .table
            .lookup(&mut self.domain, key.hash, |entry| entry.key() == key.bytes);
        let (slot, new) = match found {
            Lookup::Vacant(vacant) => {
                let entry = Entry::new(key.bytes, empty, None, self.access);
                (vacant.insert(entry), true)
            }
            Lookup::Occupied(slot) => (slot, false),
        };
        let counts = Counts {
            hash: key.hash,
            sizes: &mut database.sizes,
            deadlines: &mut database.indexes,
        };
        (BodyMut::new(slot, self.seed, counts, new), new)
    }

    /// Puts an entry in its key's place.
    fn put(&mut self, db: usize, key: Key<'_>, entry: Owned<Entry>) {
        let database = &mut self.databases[db];
        let table = &mut database.entries.table;
        let (mut old, new) = (Times::default(), Times::of(&entry));
        let bin = Bin::of(&entry);
        match table.lookup(&mut self.domain, key.hash, |entry| entry.key() == key.bytes) {
            Lookup::Vacant(vacant) => {
                database.sizes.changed(None, Some(bin));
                vacant.insert(entry);
            }
            Lookup::Occupied(mut slot) => {
                old = Times::of(slot.get());
                let before = Bin::of(slot.get());
                database.sizes.changed(Some(before), Some(bin));
                give_up(slot.replace(entry), &mut self.garbage, &self.pending);
            }
        }
        database.times_changed(key.hash, old, new);
    }

    // ---- deadlines -------------------------------------------------------------------------

    /// Sets or removes a key's deadline, past ones too. False when there is no such key.
    pub fn set_expire(&mut self, db: usize, key: Key<'_>, deadline: Option<UnixMs>) -> bool {
        let database = &mut self.databases[db];
        let table = &mut database.entries.table;
        let Some(mut slot) =
            table.find_mut(&mut self.domain, key.hash, |entry| entry.key() == key.bytes)
        else {
            return false;
        };
        let old = Times::of(slot.get());
        if old.key != deadline {
            if !slot.make_mut().try_expire(deadline) {
                slot.reallocate(|entry| Entry::with_expire(entry, deadline));
            }
            let new = Times {
                key: deadline,
                ..old
            };
            database.times_changed(key.hash, old, new);
        }
        true
    }

    /// Tells all databases the time, without reclaiming anything. Before a load, so that deadlines are
    /// indexed near where the clock is.
    pub fn set_clock(&mut self, now: UnixMs) {
        self.now = now;
        for database in &mut self.databases {
            for due in Due::ALL {
                let entries = database.entries.by(due);
                database.indexes.of(due).due_count(now, &entries);
            }
        }
    }

    /// Keys to which it is due to happen at `now`, exactly. O(1); see [`expiry`] for clocks that jump.
    #[inline]
    pub fn due_count(&mut self, db: usize, due: Due, now: UnixMs) -> usize {
        let database = &mut self.databases[db];
        let entries = database.entries.by(due);
        database.indexes.of(due).due_count(now, &entries) as usize
    }

    /// Keys that have a deadline of their own, due ones included.
    #[inline]
    pub fn expires_len(&self, db: usize) -> usize {
        self.databases[db].indexes.expires()
    }

    /// Hashes that have a field with a deadline.
    #[inline]
    pub fn timed_hashes_len(&self, db: usize) -> usize {
        self.databases[db].indexes.hashes()
    }

    /// How many values have which size, due ones included.
    pub fn sizes(&self, db: usize) -> &Sizes {
        &self.databases[db].sizes
    }

    /// Milliseconds that keys with a deadline have left on average (INFO's avg_ttl), exactly.
    pub fn average_ttl(&self, db: usize, now: UnixMs) -> i64 {
        self.databases[db].indexes.average_ttl(now)
    }

    /// A key to which it is due to happen at `now`, for reclaiming: the caller removes it, or its due fields, before it
    /// asks again. `None` when there is none, or none was found within some thousand stale references (then
    /// `due_count` is not 0).
    pub fn next_due(&mut self, db: usize, due: Due, now: UnixMs) -> Option<Vec<u8>> {
        let database = &mut self.databases[db];
        let mut budget = NEXT_DUE_BUDGET;
        let entries = database.entries.by(due);
        let index = database.indexes.of(due);
        let hash = index.next_due(now, &mut budget, &entries)?;
        let due = |entry: &Entry| {
            let deadline = due.at(&Times::of(entry));
            deadline.is_some_and(|deadline| is_due(deadline, now))
        };
        let seed = self.seed;
        let table = &database.entries.table;
        let entry = table.find(hash, |entry| due(entry) && seed.hash(entry.key()) == hash);
        debug_assert!(entry.is_some());
        entry.map(|entry| entry.key().to_vec())
    }

    /// Work of the index that is spread over time; call it every round or tick. True when there is more that
    /// a next call should do soon (without waiting for an event). Some 50 µs a call unless the
    /// calls are so rare that more is needed.
    pub fn maintain(&mut self, db: usize, now: UnixMs) -> bool {
        self.now = now;
        let database = &mut self.databases[db];
        let mut more = false;
        for due in Due::ALL {
            let entries = database.entries.by(due);
            more |= database
                .indexes
                .of(due)
                .maintain(now, MAINTAIN_UNITS, &entries);
        }
        more
    }

    // ---- whole databases -------------------------------------------------------------------

    /// SWAPDB. O(1).
    pub fn swap(&mut self, a: usize, b: usize) {
        self.databases.swap(a, b);
    }

    /// Empties one database or all; the number of keys removed. O(1) a database: what they held goes to
    /// [`Keyspace::take_garbage`].
    pub fn flush(&mut self, db: Option<usize>) -> u64 {
        let range = match db {
            Some(db) => db..db + 1,
            None => 0..self.count(),
        };
        let mut removed = 0;
        for db in range {
            let keys = self.len(db) as u64;
            if keys == 0 {
                continue;
            }
            removed += keys;
            let fresh = Database::new(&self.domain, self.seed, self.now);
            let old = std::mem::replace(&mut self.databases[db], fresh);
            let blocks = old.entries.table.retire(&mut self.domain);
            let garbage = garbage_mut(&mut self.garbage, &self.pending);
            garbage.count(keys);
            garbage.push_blocks(blocks);
            for index in old.indexes.into_all() {
                garbage.push_index(index);
            }
        }
        removed
    }

    // ---- helpers' side ---------------------------------------------------------------------

    /// All databases as they are now. O(databases).
    pub fn snapshot(&mut self) -> Snapshot {
        let pin = self.domain.snapshot();
        let databases = self
            .databases
            .iter()
            .take(self.count())
            .enumerate()
            .filter(|(_, database)| !database.entries.table.is_empty())
            .map(|(index, database)| SnapshotDb {
                index,
                expires: database.indexes.expires(),
                view: database.entries.table.view(&self.domain, &pin),
            })
            .collect();
        Snapshot { databases }
    }

    /// What is to be freed by a helper (or dropped at once, where a command is to be synchronous), and what
    /// snapshots that ended no longer keep. Call it every tick and after commands that remove.
    pub fn take_garbage(&mut self) -> Option<Garbage> {
        for domain in std::iter::once(&mut self.domain).chain(&mut self.former) {
            let ended = domain.collect();
            if ended.is_some() {
                garbage_mut(&mut self.garbage, &self.pending).push_blocks(ended);
            }
        }
        self.former
            .retain(|domain| domain.has_snapshots() || domain.pending_bytes() > 0);
        self.garbage.take()
    }

    /// Keys and values given up and not freed yet (INFO's lazyfree_pending_objects).
    pub fn pending_objects(&self) -> u64 {
        self.pending.objects()
    }

    /// Keys and values given up since the start.
    pub fn given_up_objects(&self) -> u64 {
        self.pending.given_up()
    }

    /// Those of them that are freed (INFO's lazyfreed_objects).
    pub fn freed_objects(&self) -> u64 {
        self.pending.freed()
    }

    /// Bytes given up and not freed yet; not to be evicted for. Tables count without their entries.
    pub fn pending_bytes(&self) -> u64 {
        let former: u64 = self.former.iter().map(Domain::pending_bytes).sum();
        self.pending.bytes() + self.domain.pending_bytes() + former
    }

    /// Bytes that only live snapshots keep (copy-on-write).
    pub fn snapshot_bytes(&self) -> u64 {
        let former: u64 = self.former.iter().map(Domain::retired_bytes).sum();
        self.domain.retired_bytes() + former
    }

    /// Whether a snapshot is alive.
    pub fn has_snapshots(&self) -> bool {
        self.domain.has_snapshots() || self.former.iter().any(Domain::has_snapshots)
    }

    /// Bytes of a database's table and index, entries excluded (MEMORY STATS' overhead).
    pub fn overhead_bytes(&self, db: usize) -> usize {
        let database = &self.databases[db];
        database.entries.table.memory_bytes() + database.indexes.memory_bytes()
    }

    /// What MEMORY USAGE answers for an entry: its allocations and its share of the table.
    pub fn memory_usage(&self, db: usize, entry: &Entry) -> usize {
        let table = &self.databases[db].entries.table;
        entry.memory_bytes() + table.memory_bytes() / table.len().max(1)
    }
}

fn garbage_mut<'a>(garbage: &'a mut Option<Garbage>, pending: &Arc<LazyFree>) -> &'a mut Garbage {
    garbage.get_or_insert_with(|| Garbage::new(Arc::clone(pending)))
}

/// Drops what a change took out of a table, or keeps it for a helper when that is work.
#[inline]
fn give_up(removed: Removed<Entry>, garbage: &mut Option<Garbage>, pending: &Arc<LazyFree>) {
    match removed {
        Removed::Owned(entry) if entry.is_large() => {
            garbage_mut(garbage, pending).push_entry(entry)
        }
        Removed::Owned(_) | Removed::Retired => {}
    }
}
