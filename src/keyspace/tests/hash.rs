//! Hashes against maps, with deadlines of fields.

use std::collections::BTreeMap;

use super::super::*;
use super::collections::{Twin, run};
use super::{random_value, text};
use crate::container::Pack;
use crate::types::{HashMut, HashRef, HashView, Kind, Limits};

type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<UnixMs>)>;

impl Twin for Fields {
    const KIND: Kind = Kind::Hash;
    type Limits = Limits;

    fn empty<'a>() -> Value<'a> {
        Value::Packed(Kind::Hash, &Pack::EMPTY, false)
    }

    fn read(entry: &Entry) -> Fields {
        let mut found = Fields::new();
        let hash = HashRef::of(entry);
        hash.for_each(|field, value, deadline| {
            assert!(found.insert(text(field), (text(value), deadline)).is_none());
        });
        let deadlines: Vec<_> = found.values().filter_map(|(_, at)| *at).collect();
        let last = deadlines.iter().max().copied();
        let last = last.filter(|_| deadlines.len() == found.len());
        assert_eq!(hash.span(), (deadlines.iter().min().copied(), last));
        for now in [0, 40, 1000] {
            let due = deadlines.iter().filter(|at| **at < now).count();
            assert_eq!(hash.due(now), due);
        }
        found
    }

    fn is_empty(&self) -> bool {
        Fields::is_empty(self)
    }

    fn change(&mut self, body: BodyMut<'_>, limits: Limits, prng: &mut Prng) {
        let mut hash = HashMut::new(body, limits);
        let field = format!("f{}", prng.below(400)).into_bytes();
        let at = 1 + prng.below(100) as UnixMs;
        match prng.below(10) {
            0..3 => assert_eq!(hash.remove(&field), self.remove(&field).is_some()),
            3 => {
                let deadline = (prng.below(3) > 0).then_some(at);
                let found = self.get_mut(&field);
                assert_eq!(hash.set_deadline(&field, deadline), found.is_some());
                found.into_iter().for_each(|(_, old)| *old = deadline);
            }
            4 => {
                let mut name = Vec::new();
                let first = self.values().filter_map(|(_, at)| *at).min();
                let pops = first.is_some_and(|first| first < 10);
                assert_eq!(hash.pop_due(10, &mut name), pops);
                if pops {
                    assert_eq!(self.remove(&name).unwrap().1, first);
                }
            }
            which => {
                let value = random_value(prng, false);
                let ttl = [Ttl::None, Ttl::Keep, Ttl::At(at)][which as usize % 3];
                let added = hash.set_with(&field, &value, ttl);
                let old = self.get(&field).cloned();
                let new = ttl.resolve(old.as_ref().and_then(|(_, at)| *at));
                self.insert(field.clone(), (value, new));
                assert_eq!(added, old.is_none());
                let (value, deadline) = hash.get().find(&field).unwrap();
                assert!(value.equals(&self[&field].0) && deadline == new);
            }
        }
        assert_eq!(hash.get().len(), self.len());
    }
}

#[test]
fn hashes_agree_with_maps_under_snapshots() {
    for seed in 200..212 {
        // Small packs; packs of all sizes up to the longest that an entry takes.
        let (entries, value) = [(8, 20), (512, 5000)][seed as usize % 2];
        run::<Fields>(seed, 6000, Limits { entries, value });
    }
}

/// What the keyspace says is due of hashes with deadlines, against what a walk over all finds.
#[test]
fn indexes_know_what_fields_are_due() {
    for seed in 0..6 {
        let mut prng = Prng::new(seed);
        let mut keyspace = Keyspace::new(2, seed);
        let mut now: UnixMs = 1_800_000_000_000;
        keyspace.set_clock(now);
        let limits = Limits {
            entries: [3, 100][seed as usize % 2],
            value: 64,
        };
        for _ in 0..20_000 {
            let name = format!("h{}", prng.below(30));
            let (key, db) = (keyspace.key(name.as_bytes()), prng.below(2) as usize);
            let at = now + prng.below(200) as UnixMs - 20;
            match prng.below(40) {
                0 => drop(keyspace.remove(db, key)),
                1 => {
                    let deadline = (prng.below(3) > 0).then_some(at);
                    keyspace.set_expire(db, key, deadline);
                }
                2 | 3 => {
                    let other = format!("h{}", prng.below(30));
                    let (other, to) = (keyspace.key(other.as_bytes()), prng.below(2) as usize);
                    match prng.below(2) {
                        0 => keyspace.rename(db, key, to, other),
                        _ => keyspace.copy(db, key, to, other),
                    };
                }
                4 => drop(keyspace.store(db, key, Value::Int(7), Ttl::Keep)),
                5 => now += prng.below(30) as UnixMs,
                6 => keyspace.swap(0, 1),
                7 if prng.below(20) == 0 => drop(keyspace.flush(Some(db))),
                _ => {
                    if keyspace
                        .find(db, key)
                        .is_some_and(|e| e.kind() != Kind::Hash)
                    {
                        keyspace.remove(db, key);
                    }
                    let empty = Value::Packed(Kind::Hash, &Pack::EMPTY, false);
                    let (body, _) = keyspace.body_or_new(db, key, empty);
                    let mut hash = HashMut::new(body, limits);
                    let field = [b'a' + prng.below(8) as u8];
                    match prng.below(6) {
                        0 => drop(hash.remove(&field)),
                        1 => drop(hash.set_deadline(&field, None)),
                        2 => drop(hash.set_with(&field, b"v", Ttl::None)),
                        _ => drop(hash.set_with(&field, b"v", Ttl::At(at))),
                    }
                    let empty = hash.get().is_empty();
                    drop(hash);
                    if empty {
                        keyspace.remove(db, key);
                    }
                }
            }
            if prng.below(50) == 0 {
                reclaim(&mut keyspace, now, limits);
            }
            check(&mut keyspace, now);
        }
    }
}

/// Removes what is due as the engine does.
fn reclaim(keyspace: &mut Keyspace, now: UnixMs, limits: Limits) {
    for (db, due) in [0, 1]
        .into_iter()
        .flat_map(|db| Due::ALL.map(|due| (db, due)))
    {
        keyspace.maintain(db, now);
        while let Some(name) = keyspace.next_due(db, due, now) {
            let key = keyspace.key(&name);
            if due != Due::Field {
                keyspace.remove(db, key);
                continue;
            }
            let mut hash = HashMut::new(keyspace.body(db, key).unwrap(), limits);
            let mut field = Vec::new();
            while hash.pop_due(now, &mut field) {}
            assert!(!hash.get().is_empty());
        }
        assert_eq!(keyspace.due_count(db, due, now), 0);
    }
}

fn check(keyspace: &mut Keyspace, now: UnixMs) {
    for db in 0..2 {
        let (mut ended, mut inside, mut timed) = (0, 0, 0);
        keyspace.for_each(db, |entry| {
            let by_key = entry.expire_at().is_some_and(|at| is_due(at, now));
            let (mut empty, mut due) = (false, 0);
            if entry.kind() == Kind::Hash {
                let hash = HashRef::of(entry);
                let mut deadlines = 0;
                hash.for_each(|_, _, at| deadlines += usize::from(at.is_some()));
                timed += usize::from(deadlines > 0);
                due = hash.due(now);
                empty = HashView::new(hash, now).is_empty();
            }
            ended += usize::from(by_key || empty);
            inside += usize::from(!by_key && !empty && due > 0);
        });
        let key = keyspace.due_count(db, Due::Key, now);
        assert_eq!(key + keyspace.due_count(db, Due::LastField, now), ended);
        // A hash whose own deadline stands before its fields' is not looked into.
        assert!(keyspace.due_count(db, Due::Field, now) >= inside);
        assert_eq!(keyspace.timed_hashes_len(db), timed);
    }
}
