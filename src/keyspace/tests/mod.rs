//! `Keyspace` against a map of vectors, with random operations, clocks and snapshots.

mod collections;
mod hash;
mod list;
mod set;
mod stream;
mod zset;

use std::collections::HashMap;

use super::*;
use crate::types::{Kind, StringRef};

type Twin = Vec<HashMap<Vec<u8>, (Vec<u8>, Option<UnixMs>)>>;

const DATABASES: usize = 3;

fn text(value: StringRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    value.push_to(&mut out);
    out
}

fn check_entry(entry: &Entry, twin: &HashMap<Vec<u8>, (Vec<u8>, Option<UnixMs>)>) {
    let (value, deadline) = &twin[entry.key()];
    assert!(text(entry.string()) == *value);
    assert_eq!(entry.expire_at(), *deadline);
}

fn check(keyspace: &Keyspace, twin: &Twin) {
    for (db, keys) in twin.iter().enumerate() {
        assert_eq!(keyspace.len(db), keys.len());
        assert_eq!(
            keyspace.expires_len(db),
            keys.values()
                .filter(|(_, deadline)| deadline.is_some())
                .count()
        );
        let mut sizes = std::collections::BTreeMap::new();
        for (value, _) in keys.values() {
            let power = value.len().checked_ilog2().map_or(0, |log| 1 << log);
            *sizes.entry(power).or_insert(0_u64) += 1;
        }
        assert!(keyspace.sizes(db).of(Kind::String).eq(sizes));
        for bytes in keys.keys() {
            check_entry(keyspace.find(db, keyspace.key(bytes)).unwrap(), keys);
        }
    }
}

fn random_value(prng: &mut Prng, large: bool) -> Vec<u8> {
    if prng.below(3) == 0 {
        return (prng.next_u64() as i64 >> prng.below(64))
            .to_string()
            .into_bytes();
    }
    let len = match prng.below(20) {
        0 if large => prng.below(600_000),
        1 if large => prng.below(80_000),
        2 => prng.below(5_000),
        3..=6 => prng.below(300),
        _ => prng.below(40),
    };
    let mut bytes = vec![0; len as usize];
    prng.fill(&mut bytes);
    bytes
}

fn random_ttl(prng: &mut Prng, now: UnixMs) -> Ttl {
    match prng.below(3) {
        0 => Ttl::Keep,
        1 => Ttl::None,
        _ => Ttl::At(now + prng.below(20_000) as i64 - 2000),
    }
}

fn run(seed: u64, rounds: usize, names: u64, large: bool) {
    let mut prng = Prng::new(seed);
    let mut now: UnixMs = 1_790_000_000_000;
    let mut keyspace = Keyspace::new(DATABASES, seed);
    keyspace.set_clock(now);
    let mut twin: Twin = vec![HashMap::new(); DATABASES];
    let mut snapshots: Vec<(Snapshot, Twin)> = Vec::new();
    for round in 0..rounds {
        let db = prng.below(DATABASES as u64) as usize;
        let name = format!("key:{}", prng.below(names)).into_bytes();
        let other = format!("key:{}", prng.below(names)).into_bytes();
        let (key, other_key) = (keyspace.key(&name), keyspace.key(&other));
        match prng.below(100) {
            0..=29 => {
                let value = random_value(&mut prng, large);
                let ttl = random_ttl(&mut prng, now);
                let old = twin[db].get(&name).and_then(|(_, deadline)| *deadline);
                let created = keyspace.set_string(db, key, &value, ttl);
                let fresh = twin[db]
                    .insert(name.clone(), (value, ttl.resolve(old)))
                    .is_none();
                assert_eq!(created, fresh);
            }
            30..=37 => {
                let bytes = random_value(&mut prng, large);
                let slot = twin[db].entry(name.clone()).or_default();
                slot.0.extend_from_slice(&bytes);
                assert_eq!(keyspace.append(db, key, &bytes), slot.0.len());
            }
            38..=45 => {
                let bytes = random_value(&mut prng, false);
                let offset = prng.below(if large { 200_000 } else { 100 }) as usize;
                let len = keyspace.set_range(db, key, offset, &bytes);
                if bytes.is_empty() {
                    assert_eq!(len, twin[db].get(&name).map_or(0, |(value, _)| value.len()));
                } else {
                    let (value, _) = twin[db].entry(name.clone()).or_default();
                    value.resize(value.len().max(offset + bytes.len()), 0);
                    value[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    assert_eq!(len, value.len());
                }
            }
            46..=51 => {
                let number = prng.next_u64() as i64 >> prng.below(64);
                keyspace.set_int(db, key, number, Ttl::Keep);
                twin[db].entry(name.clone()).or_default().0 = number.to_string().into_bytes();
            }
            52..=66 => {
                assert_eq!(keyspace.remove(db, key), twin[db].remove(&name).is_some());
            }
            67..=78 => {
                let deadline = (prng.below(4) > 0).then(|| now + prng.below(9000) as i64 - 1000);
                let found = keyspace.set_expire(db, key, deadline);
                assert_eq!(found, twin[db].contains_key(&name));
                if let Some(slot) = twin[db].get_mut(&name) {
                    slot.1 = deadline;
                }
            }
            79..=81 => {
                assert_eq!(
                    keyspace.rename(db, key, db, other_key),
                    twin[db].contains_key(&name)
                );
                if let Some(slot) = twin[db].remove(&name) {
                    twin[db].insert(other, slot);
                }
            }
            82..=84 => {
                let to_db = prng.below(DATABASES as u64) as usize;
                assert_eq!(
                    keyspace.copy(db, key, to_db, other_key),
                    twin[db].contains_key(&name)
                );
                if let Some(slot) = twin[db].get(&name).cloned() {
                    twin[to_db].insert(other, slot);
                }
            }
            85 => {
                let to_db = prng.below(DATABASES as u64) as usize;
                assert_eq!(
                    keyspace.rename(db, key, to_db, key),
                    twin[db].contains_key(&name)
                );
                if let Some(slot) = twin[db].remove(&name) {
                    twin[to_db].insert(name, slot);
                }
            }
            86 => {
                let to_db = prng.below(DATABASES as u64) as usize;
                keyspace.swap(db, to_db);
                twin.swap(db, to_db);
            }
            87 if prng.below(20) == 0 => {
                let all = prng.below(2) == 0;
                let removed = keyspace.flush((!all).then_some(db));
                let dbs = if all { 0..DATABASES } else { db..db + 1 };
                let want: usize = twin[dbs.clone()]
                    .iter_mut()
                    .map(|keys| std::mem::take(keys).len())
                    .sum();
                assert_eq!(removed, want as u64);
            }
            88 if snapshots.len() < 4 => {
                snapshots.push((keyspace.snapshot(), twin.clone()));
            }
            89 | 90 if !snapshots.is_empty() => {
                let at = prng.below(snapshots.len() as u64) as usize;
                let (snapshot, twin) = snapshots.swap_remove(at);
                std::thread::spawn(move || check_snapshot(snapshot, twin))
                    .join()
                    .unwrap();
            }
            91..=93 => now += prng.below(3000) as i64,
            94 => {
                if let Some(entry) = keyspace.random(db, &mut prng) {
                    check_entry(entry, &twin[db]);
                }
            }
            95 => {
                let garbage = keyspace.take_garbage();
                std::thread::spawn(move || drop(garbage)).join().unwrap();
            }
            _ => {
                keyspace.maintain(db, now);
                while let Some(due) = keyspace.next_due(db, Due::Key, now) {
                    assert!(is_due(twin[db].remove(&due).unwrap().1.unwrap(), now));
                    assert!(keyspace.remove(db, keyspace.key(&due)));
                }
                assert_eq!(keyspace.due_count(db, Due::Key, now), 0);
            }
        }
        let due = twin[db]
            .values()
            .filter(|(_, deadline)| deadline.is_some_and(|at| is_due(at, now)))
            .count();
        assert_eq!(
            keyspace.due_count(db, Due::Key, now),
            due,
            "seed {seed} round {round}"
        );
        if round % 256 == 0 {
            check(&keyspace, &twin);
        }
    }
    check(&keyspace, &twin);
    for (snapshot, twin) in snapshots {
        check_snapshot(snapshot, twin);
    }
    keyspace.flush(None);
    drop(keyspace.take_garbage());
    drop(keyspace.take_garbage());
    assert_eq!(
        (
            keyspace.pending_objects(),
            keyspace.pending_bytes(),
            keyspace.snapshot_bytes()
        ),
        (0, 0, 0)
    );
}

fn check_snapshot(mut snapshot: Snapshot, twin: Twin) {
    assert_eq!(
        snapshot.keys(),
        twin.iter().map(HashMap::len).sum::<usize>()
    );
    for database in &mut snapshot.databases {
        let keys = &twin[database.index];
        assert_eq!(
            database.expires,
            keys.values()
                .filter(|(_, deadline)| deadline.is_some())
                .count()
        );
        let mut seen = 0;
        database.for_each(|entry| {
            check_entry(entry, keys);
            seen += 1;
        });
        assert_eq!((seen, database.len()), (keys.len(), keys.len()));
    }
}

#[test]
fn agrees_with_a_map_under_random_operations_and_snapshots() {
    for seed in 0..30 {
        run(seed, 4000, [20, 200, 2000][seed as usize % 3], false);
    }
}

#[test]
fn agrees_with_a_map_with_large_values() {
    for seed in 100..106 {
        run(seed, 1500, 15, true);
    }
}

#[test]
fn a_snapshot_keeps_what_a_partial_write_changes() {
    let mut keyspace = Keyspace::new(1, 5);
    let big = vec![b'a'; 3 << 20];
    keyspace.set_string(0, keyspace.key(b"big"), &big, Ttl::None);
    keyspace.set_string(0, keyspace.key(b"small"), b"hello", Ttl::None);
    let mut snapshot = keyspace.snapshot();
    keyspace.set_range(0, keyspace.key(b"big"), 1 << 20, b"xyz");
    keyspace.append(0, keyspace.key(b"big"), b"end");
    keyspace.set_range(0, keyspace.key(b"small"), 0, b"J");
    let helper = std::thread::spawn(move || {
        let mut found = HashMap::new();
        snapshot.databases[0].for_each(|entry| {
            found.insert(entry.key().to_vec(), text(entry.string()));
        });
        found
    });
    let found = helper.join().unwrap();
    assert!(found[b"big".as_slice()] == big);
    assert_eq!(found[b"small".as_slice()], b"hello");
    let entry = keyspace.find(0, keyspace.key(b"small")).unwrap();
    assert_eq!(
        (text(entry.string()).as_slice(), entry.encoding()),
        (b"Jello".as_slice(), "raw")
    );
    assert_eq!(
        keyspace
            .find(0, keyspace.key(b"big"))
            .unwrap()
            .string()
            .len(),
        (3 << 20) + 3
    );
}

#[test]
fn large_values_are_given_to_helpers() {
    let mut keyspace = Keyspace::new(1, 5);
    keyspace.set_string(0, keyspace.key(b"big"), &vec![b'a'; 3 << 20], Ttl::None);
    keyspace.set_string(0, keyspace.key(b"big"), b"small", Ttl::None);
    assert_eq!(keyspace.pending_objects(), 1);
    assert!(keyspace.pending_bytes() > 3 << 20);
    let garbage = keyspace.take_garbage();
    std::thread::spawn(move || drop(garbage)).join().unwrap();
    assert_eq!(
        (keyspace.pending_objects(), keyspace.pending_bytes()),
        (0, 0)
    );
    assert!(keyspace.remove(0, keyspace.key(b"big")));
    assert!(keyspace.take_garbage().is_none());
}

#[test]
fn a_loaded_keyspace_replaces_one_that_snapshots_see() {
    let mut keyspace = Keyspace::new(2, 5);
    for number in 0..500 {
        let name = format!("old:{number}").into_bytes();
        keyspace.set_string(1, keyspace.key(&name), b"x", Ttl::None);
    }
    let mut snapshot = keyspace.snapshot();
    let mut fresh = keyspace.detached(77);
    fresh.set_string(0, fresh.key(b"new"), b"y", Ttl::At(100));
    keyspace.replace(fresh);
    assert_eq!(
        (
            keyspace.len(0),
            keyspace.len(1),
            keyspace.due_count(0, Due::Key, 101)
        ),
        (1, 0, 1)
    );
    assert!(keyspace.has_snapshots() && keyspace.snapshot_bytes() > 0);
    let mut seen = 0;
    snapshot.databases[0].for_each(|_| seen += 1);
    assert_eq!(seen, 500);
    drop(snapshot);
    for _ in 0..2 {
        drop(keyspace.take_garbage());
    }
    assert_eq!(
        (
            keyspace.pending_objects(),
            keyspace.pending_bytes(),
            keyspace.snapshot_bytes()
        ),
        (0, 0, 0)
    );
    assert!(!keyspace.has_snapshots() && keyspace.former.is_empty());
}

#[test]
fn scans_find_what_stays() {
    let mut keyspace = Keyspace::new(1, 9);
    let name = |number: u64| format!("stay:{number}").into_bytes();
    for number in 0..1000 {
        keyspace.set_string(0, keyspace.key(&name(number)), b"x", Ttl::None);
    }
    let mut prng = Prng::new(1);
    let (mut cursor, mut seen) = (0, std::collections::HashSet::new());
    loop {
        cursor = keyspace.scan(0, cursor, usize::MAX, |entry| {
            seen.insert(entry.key().to_vec());
        });
        assert!(cursor < 1 << 48);
        for _ in 0..20 {
            let other = format!("other:{}", prng.below(5000)).into_bytes();
            let key = keyspace.key(&other);
            if prng.below(3) == 0 {
                keyspace.remove(0, key);
            } else {
                keyspace.set_string(0, key, b"y", Ttl::None);
            }
        }
        if cursor == 0 {
            break;
        }
    }
    assert!((0..1000).all(|number| seen.contains(&name(number))));
}
