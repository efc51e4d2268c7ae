//! Fields of hashes that have deadlines: who sees a due one, and how it goes.
//!
//! A due field is hidden from ordinary clients. Where this server decides about expiry, a command that names it deletes it
//! (HDEL goes to the replicas), and active expiry reclaims the rest by the time index. A hash all of whose fields are due
//! is then as good as gone: [`Engine::end_of`] says so, and it is treated as a key that is due.

use super::{Client, Engine, EventClass, WrongType};
use crate::base::time::UnixMs;
use crate::keyspace::{Due, Key, is_due};
use crate::types::{Entry, HashMut, HashRef, HashView, Kind, Times};

/// Fields of a hash that ends by its last one that are still told to replicas one by one; of a larger hash the key's
/// deletion.
const TOLD_SINGLY_MAX: usize = 64;

impl Engine {
    /// When an entry is no more to be seen: its own deadline, or its last field's where counts are exact.
    #[inline]
    pub fn end_of(&self, entry: &Entry) -> Option<UnixMs> {
        match entry.kind() == Kind::Hash && self.counts_exactly() {
            true => Times::of(entry).end(),
            false => entry.expire_at(),
        }
    }

    /// Whether an entry is due at this unit's time.
    #[inline]
    pub fn is_ended(&self, entry: &Entry) -> bool {
        self.end_of(entry).is_some_and(|at| is_due(at, self.now()))
    }

    /// Fields whose deadline is before this are hidden from a client: none from the master's link.
    #[inline]
    pub fn hides_before(&self, client: &Client) -> UnixMs {
        match client.must_obey() {
            true => UnixMs::MIN,
            false => self.now(),
        }
    }

    /// The live hash of a key for a command that reads (see [`Engine::read`]).
    #[inline]
    pub fn read_hash(
        &mut self,
        client: &Client,
        key: Key<'_>,
    ) -> Result<Option<HashView<'_>>, WrongType> {
        let now = self.hides_before(client);
        let found = self.read_kind(client, key, Kind::Hash)?;
        Ok(found.map(|entry| HashView::new(HashRef::of(entry), now)))
    }

    /// Deletes those of these fields that are due, if this server decides about that; a client that `writes` does so on
    /// a replica too. Nothing else about the key is looked at. O(1) in a database without such hashes.
    #[inline]
    pub fn drop_due_fields<'f>(
        &mut self,
        client: &Client,
        key: Key<'_>,
        writes: bool,
        fields: impl Iterator<Item = &'f [u8]>,
    ) {
        if self.keyspace.timed_hashes_len(client.db) > 0
            && self.may_drop_fields(client, key, writes)
        {
            self.drop_fields(client.db, key, fields);
        }
    }

    /// Deletes all due fields of a hash, if this server decides about that. O(log n) for each.
    pub fn drop_all_due_fields(&mut self, client: &Client, key: Key<'_>) {
        if self.keyspace.timed_hashes_len(client.db) > 0 && self.may_drop_fields(client, key, false)
        {
            self.expire_fields(client.db, key, usize::MAX);
        }
    }

    /// Whether a hash has a due field that a client's access deletes.
    #[cold]
    fn may_drop_fields(&self, client: &Client, key: Key<'_>, writes: bool) -> bool {
        let stays = self.is_replica() || self.pause.stops_expiry(self.clock.mono_ms());
        if client.must_obey() || (stays && !writes) {
            return false;
        }
        let found = self.keyspace.find(client.db, key);
        let first = found.and_then(|entry| Times::of(entry).first);
        first.is_some_and(|first| is_due(first, self.now()))
    }

    #[cold]
    fn drop_fields<'f>(&mut self, db: usize, key: Key<'_>, fields: impl Iterator<Item = &'f [u8]>) {
        let (mut dropped, mut empty) = (0, false);
        for field in fields {
            if self.drop_field(db, key, field) {
                dropped += 1;
                empty = self.is_empty_hash(db, key);
            }
            if empty {
                break;
            }
        }
        self.fields_expired(db, key, dropped, empty);
    }

    /// Deletes a field that is due, and tells replicas; false when it is not. What it means for the key is the caller's to
    /// say, by [`Engine::fields_expired`].
    fn drop_field(&mut self, db: usize, key: Key<'_>, field: &[u8]) -> bool {
        let (now, limits) = (self.now(), self.encodings().hash);
        let Some(body) = self.keyspace.body(db, key) else {
            return false;
        };
        let mut hash = HashMut::new(body, limits);
        let found = hash.get().find(field);
        let due = found.is_some_and(|(_, at)| at.is_some_and(|at| is_due(at, now)));
        if due {
            hash.remove(field);
            drop(hash);
            self.propagate(db, [b"HDEL", key.bytes, field].into_iter());
        }
        due
    }

    /// As [`Engine::drop_due_fields`] of one field, for a client that writes; whether it went. The hash may be empty
    /// then: once the caller has filled it or not, it calls [`Engine::fields_expired`].
    pub fn drop_due_field(&mut self, client: &Client, key: Key<'_>, field: &[u8]) -> bool {
        self.keyspace.timed_hashes_len(client.db) > 0
            && self.may_drop_fields(client, key, true)
            && self.drop_field(client.db, key, field)
    }

    /// Whether a key has a hash that lost its last field.
    pub fn is_empty_hash(&self, db: usize, key: Key<'_>) -> bool {
        let found = self.keyspace.find(db, key);
        found.is_some_and(|entry| entry.kind() == Kind::Hash && HashRef::of(entry).is_empty())
    }

    /// Deletes due fields of a hash, at most so many, and the hash with its last one; how many.
    pub fn expire_fields(&mut self, db: usize, key: Key<'_>, most: usize) -> usize {
        let (now, limits) = (self.now(), self.encodings().hash);
        let (mut dropped, mut empty, mut field) = (0, false, Vec::new());
        while dropped < most && !empty {
            let Some(body) = self.keyspace.body(db, key) else {
                break;
            };
            let mut hash = HashMut::new(body, limits);
            if !hash.pop_due(now, &mut field) {
                break;
            }
            empty = hash.get().is_empty();
            drop(hash);
            self.propagate(db, [b"HDEL", key.bytes, &field].into_iter());
            dropped += 1;
        }
        self.fields_expired(db, key, dropped, empty);
        dropped
    }

    /// Deletes a hash all of whose fields are due. How much work that was, in fields: a hash above [`TOLD_SINGLY_MAX`]
    /// counts as one, as a helper frees it.
    pub(super) fn expire_hash(&mut self, db: usize, key: Key<'_>) -> usize {
        let fields = match self.keyspace.find(db, key) {
            Some(entry) if entry.kind() == Kind::Hash => HashRef::of(entry).len(),
            Some(_) | None => return 0,
        };
        if fields <= TOLD_SINGLY_MAX {
            return self.expire_fields(db, key, TOLD_SINGLY_MAX);
        }
        let name: &[u8] = match self.config.lazyfree_lazy_expire {
            true => b"UNLINK",
            false => b"DEL",
        };
        self.propagate(db, [name, key.bytes].into_iter());
        self.fields_expired(db, key, fields, true);
        1
    }

    /// After due fields went: counts, notifies, and removes a hash that is empty or to go with what is left.
    pub fn fields_expired(&mut self, db: usize, key: Key<'_>, fields: usize, ended: bool) {
        if fields == 0 {
            return;
        }
        self.stats.expired_subkeys += fields as u64;
        if ended {
            self.keyspace.remove(db, key);
        }
        self.notify(EventClass::Hash, "hexpired", key.bytes, db);
        if ended {
            self.notify(EventClass::Generic, "del", key.bytes, db);
        }
        self.touch_watched(db, key.bytes);
    }

    /// What is due in a database, if anything is.
    pub fn what_is_due(&mut self, db: usize) -> Option<Due> {
        let now = self.now();
        Due::ALL
            .into_iter()
            .find(|&due| self.keyspace.due_count(db, due, now) > 0)
    }

    /// Reclaims one key, or fields of it, to which that is due: how many of either; 0 when there is none to be had now.
    pub fn reclaim_one(&mut self, db: usize, due: Due, fields_max: usize) -> usize {
        let now = self.now();
        let Some(name) = self.keyspace.next_due(db, due, now) else {
            return 0;
        };
        let key = self.keyspace.key(&name);
        match due {
            Due::Key => self.expire(db, key),
            Due::LastField => return self.expire_hash(db, key),
            Due::Field => return self.expire_fields(db, key, fields_max),
        }
        1
    }
}
