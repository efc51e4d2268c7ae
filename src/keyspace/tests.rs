//! `Keyspace` against a map of vectors, with random operations, clocks and snapshots.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;
use crate::container::Pack;
use crate::types::{
    HashMut, HashRef, Kind, Limits, SetLimits, SetMut, SetRef, StringRef, ZsetMut, ZsetRef,
};

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
                while let Some(due) = keyspace.next_due(db, now) {
                    assert!(is_due(twin[db].remove(&due).unwrap().1.unwrap(), now));
                    assert!(keyspace.remove(db, keyspace.key(&due)));
                }
                assert_eq!(keyspace.due_count(db, now), 0);
            }
        }
        let due = twin[db]
            .values()
            .filter(|(_, deadline)| deadline.is_some_and(|at| is_due(at, now)))
            .count();
        assert_eq!(
            keyspace.due_count(db, now),
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
        (keyspace.len(0), keyspace.len(1), keyspace.due_count(0, 101)),
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
        cursor = keyspace.scan(0, cursor, |entry| {
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

// ---- collections ----------------------------------------------------------------------------

type Hashes = HashMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn hash_of(entry: &Entry) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    HashRef::of(entry).for_each(|field, value| {
        assert!(found.insert(text(field), text(value)).is_none());
    });
    found
}

fn check_hashes(mut snapshot: Snapshot, twin: &Hashes) {
    let mut keys = 0;
    for database in &mut snapshot.databases {
        database.for_each(|entry| {
            assert!(hash_of(entry) == twin[entry.key()]);
            keys += 1;
        });
    }
    assert_eq!(keys, twin.len());
}

/// Changes hashes of all sizes while helpers read snapshots, in several threads.
fn run_hashes(seed: u64, steps: usize, limits: Limits) {
    let mut prng = Prng::new(seed);
    let mut keyspace = Keyspace::new(1, seed);
    let mut twin = Hashes::new();
    let mut helpers = Vec::new();
    for step in 0..steps {
        let name = format!("k{}", prng.below(6)).into_bytes();
        let other = format!("k{}", prng.below(6)).into_bytes();
        let (key, to) = (keyspace.key(&name), keyspace.key(&other));
        let field = format!("f{}", prng.below(400)).into_bytes();
        match prng.below(200) {
            0 => {
                keyspace.remove(0, key);
                twin.remove(&name);
            }
            1 => {
                assert_eq!(keyspace.copy(0, key, 0, to), twin.contains_key(&name));
                if let Some(fields) = twin.get(&name).cloned() {
                    twin.insert(other, fields);
                }
            }
            2 => {
                assert_eq!(keyspace.rename(0, key, 0, to), twin.contains_key(&name));
                if let Some(fields) = twin.remove(&name) {
                    twin.insert(other, fields);
                }
            }
            3 if helpers.len() < 4 => {
                let (snapshot, then) = (keyspace.snapshot(), twin.clone());
                helpers.push(std::thread::spawn(move || check_hashes(snapshot, &then)));
            }
            4..=5 if !helpers.is_empty() => {
                let at = prng.below(helpers.len() as u64) as usize;
                helpers.swap_remove(at).join().unwrap();
            }
            6 if step % 16 == 0 => {
                keyspace.flush(None);
                twin.clear();
            }
            7..=20 => drop(keyspace.take_garbage()),
            21..=80 => {
                let Some(body) = keyspace.body(0, key) else {
                    continue;
                };
                let mut hash = HashMut::new(body, limits);
                let fields = twin.get_mut(&name).unwrap();
                assert_eq!(hash.remove(&field), fields.remove(&field).is_some());
                let empty = hash.get().is_empty();
                drop(hash);
                if empty {
                    keyspace.remove(0, key);
                    twin.remove(&name);
                }
            }
            _ => {
                let value = random_value(&mut prng, false);
                let empty = Value::Packed(Kind::Hash, &Pack::EMPTY, false);
                let (body, new) = keyspace.body_or_new(0, key, empty);
                assert_eq!(new, !twin.contains_key(&name));
                let fields = twin.entry(name).or_default();
                let mut hash = HashMut::new(body, limits);
                let added = hash.set(&field, &value);
                assert_eq!(added, fields.insert(field.clone(), value).is_none());
                assert!(hash.get().get(&field).unwrap().equals(&fields[&field]));
                assert_eq!(hash.get().len(), fields.len());
            }
        }
        if step % 500 == 0 {
            let counted: u64 = keyspace
                .sizes(0)
                .of(Kind::Hash)
                .map(|(_, count)| count)
                .sum();
            assert_eq!(counted, twin.len() as u64);
            for (name, fields) in &twin {
                let entry = keyspace.find(0, keyspace.key(name)).unwrap();
                assert!(hash_of(entry) == *fields);
            }
        }
    }
    helpers
        .into_iter()
        .for_each(|helper| helper.join().unwrap());
    // What the ended snapshots kept is freed before the keyspace goes.
    drop(keyspace.take_garbage());
}

#[test]
fn hashes_agree_with_maps_under_snapshots() {
    for seed in 200..212 {
        // Small packs; packs of all sizes up to the longest that an entry takes.
        let (entries, value) = [(8, 20), (512, 5000)][seed as usize % 2];
        run_hashes(seed, 6000, Limits { entries, value });
    }
}

type Sets = HashMap<Vec<u8>, BTreeSet<Vec<u8>>>;

const SET_LIMITS: SetLimits = SetLimits {
    ints: 12,
    pack: Limits {
        entries: 8,
        value: 20,
    },
};

fn set_of(entry: &Entry) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    SetRef::of(entry).for_each(|member| assert!(found.insert(text(member))));
    found
}

fn check_sets(mut snapshot: Snapshot, twin: &Sets) {
    let mut keys = 0;
    for database in &mut snapshot.databases {
        database.for_each(|entry| {
            assert!(set_of(entry) == twin[entry.key()]);
            keys += 1;
        });
    }
    assert_eq!(keys, twin.len());
}

/// Changes sets of all sizes and forms while helpers read snapshots, in several threads.
fn run_sets(seed: u64, steps: usize) {
    let mut prng = Prng::new(seed);
    let mut keyspace = Keyspace::new(1, seed);
    let mut twin = Sets::new();
    let mut helpers = Vec::new();
    for step in 0..steps {
        let name = format!("k{}", prng.below(6)).into_bytes();
        let key = keyspace.key(&name);
        let member = match prng.below(20) {
            0 => format!("m{}", prng.below(300)),
            1 => prng.next_u64().to_string(),
            2 => "x".repeat(prng.below(30) as usize),
            _ => prng.below(400).to_string(),
        };
        let member = member.into_bytes();
        match prng.below(200) {
            0..=1 => {
                keyspace.remove(0, key);
                twin.remove(&name);
            }
            2 if helpers.len() < 4 => {
                let (snapshot, then) = (keyspace.snapshot(), twin.clone());
                helpers.push(std::thread::spawn(move || check_sets(snapshot, &then)));
            }
            3..=4 if !helpers.is_empty() => {
                let at = prng.below(helpers.len() as u64) as usize;
                helpers.swap_remove(at).join().unwrap();
            }
            5..=20 => drop(keyspace.take_garbage()),
            21..=60 => {
                let Some(body) = keyspace.body(0, key) else {
                    continue;
                };
                let mut set = SetMut::new(body, SET_LIMITS);
                let members = twin.get_mut(&name).unwrap();
                assert_eq!(set.remove(&member), members.remove(&member));
                let empty = set.get().is_empty();
                drop(set);
                if empty {
                    keyspace.remove(0, key);
                    twin.remove(&name);
                }
            }
            61..=63 => {
                let Some(body) = keyspace.body(0, key) else {
                    continue;
                };
                let mut set = SetMut::new(body, SET_LIMITS);
                let members = twin.get_mut(&name).unwrap();
                let count = prng.below(members.len() as u64) as usize;
                let mut popped = 0;
                set.pop(count, &mut prng, |member| {
                    popped += 1;
                    assert!(members.remove(&text(member)));
                });
                assert_eq!(popped, count);
                assert_eq!(set.get().len(), members.len());
            }
            _ => {
                let empty = SetMut::empty(&member, 1, SET_LIMITS);
                let (body, new) = keyspace.body_or_new(0, key, empty);
                assert_eq!(new, !twin.contains_key(&name));
                let members = twin.entry(name).or_default();
                let mut set = SetMut::new(body, SET_LIMITS);
                if prng.below(10) == 0 {
                    let more: Vec<Vec<u8>> = (0..prng.below(40))
                        .map(|_| prng.below(500).to_string().into_bytes())
                        .collect();
                    set.expect(more.len());
                    let added = set.extend(more.iter().map(Vec::as_slice));
                    let before = members.len();
                    members.extend(more);
                    assert_eq!(added, members.len() - before);
                }
                assert_eq!(set.add(&member), members.insert(member.clone()));
                assert!(set.get().contains(&member));
                assert_eq!(set.get().len(), members.len());
                assert!(members.contains(&text(set.get().random(&mut prng).unwrap())));
            }
        }
        if step % 500 == 0 {
            let counted: u64 = keyspace
                .sizes(0)
                .of(Kind::Set)
                .map(|(_, count)| count)
                .sum();
            assert_eq!(counted, twin.len() as u64);
            for (name, members) in &twin {
                let entry = keyspace.find(0, keyspace.key(name)).unwrap();
                assert!(set_of(entry) == *members);
            }
        }
    }
    helpers
        .into_iter()
        .for_each(|helper| helper.join().unwrap());
    // What the ended snapshots kept is freed before the keyspace goes.
    drop(keyspace.take_garbage());
}

#[test]
fn sets_agree_with_sets_under_snapshots() {
    for seed in 300..308 {
        run_sets(seed, 6000);
    }
}

type Zsets = HashMap<Vec<u8>, BTreeMap<Vec<u8>, f64>>;

/// The members in order, by the naive twin.
fn ranked(members: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
    let mut ranked: Vec<_> = members
        .iter()
        .map(|(member, score)| (member.clone(), *score))
        .collect();
    ranked.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    ranked
}

fn zset_of(entry: &Entry, reverse: bool) -> Vec<(Vec<u8>, f64)> {
    let zset = ZsetRef::of(entry);
    let members = zset.range(0..zset.len(), reverse);
    members
        .map(|(member, score)| (text(member), score))
        .collect()
}

fn check_zsets(mut snapshot: Snapshot, twin: &Zsets) {
    let mut keys = 0;
    for database in &mut snapshot.databases {
        database.for_each(|entry| {
            assert!(zset_of(entry, false) == ranked(&twin[entry.key()]));
            keys += 1;
        });
    }
    assert_eq!(keys, twin.len());
}

/// Changes sorted sets of all sizes while helpers read snapshots, in several threads.
fn run_zsets(seed: u64, steps: usize, limits: Limits) {
    let mut prng = Prng::new(seed);
    let mut keyspace = Keyspace::new(1, seed);
    let mut twin = Zsets::new();
    let mut helpers = Vec::new();
    for step in 0..steps {
        let name = format!("k{}", prng.below(5)).into_bytes();
        let other = format!("k{}", prng.below(5)).into_bytes();
        let (key, to) = (keyspace.key(&name), keyspace.key(&other));
        let member = match prng.below(3) {
            0 => prng.below(400).to_string().into_bytes(),
            _ => format!("member{}", prng.below(400)).into_bytes(),
        };
        match prng.below(200) {
            0 => {
                keyspace.remove(0, key);
                twin.remove(&name);
            }
            1 => {
                assert_eq!(keyspace.copy(0, key, 0, to), twin.contains_key(&name));
                if let Some(members) = twin.get(&name).cloned() {
                    twin.insert(other, members);
                }
            }
            2 => {
                assert_eq!(keyspace.rename(0, key, 0, to), twin.contains_key(&name));
                if let Some(members) = twin.remove(&name) {
                    twin.insert(other, members);
                }
            }
            3 | 4 if helpers.len() < 4 => {
                let (snapshot, then) = (keyspace.snapshot(), twin.clone());
                helpers.push(std::thread::spawn(move || check_zsets(snapshot, &then)));
            }
            5..=6 if !helpers.is_empty() => {
                let at = prng.below(helpers.len() as u64) as usize;
                helpers.swap_remove(at).join().unwrap();
            }
            7 if step % 16 == 0 => {
                keyspace.flush(None);
                twin.clear();
            }
            8..=20 => drop(keyspace.take_garbage()),
            21..=80 => {
                let Some(body) = keyspace.body(0, key) else {
                    continue;
                };
                let mut zset = ZsetMut::new(body, limits);
                let members = twin.get_mut(&name).unwrap();
                if prng.below(20) == 0 {
                    let start = prng.below(members.len() as u64) as usize;
                    let end = (start + prng.below(6) as usize).min(members.len());
                    zset.remove_range(start..end);
                    for (member, _) in &ranked(members)[start..end] {
                        members.remove(member);
                    }
                } else {
                    assert_eq!(zset.remove(&member), members.remove(&member).is_some());
                }
                let empty = zset.get().is_empty();
                assert_eq!(empty, members.is_empty());
                drop(zset);
                if empty {
                    keyspace.remove(0, key);
                    twin.remove(&name);
                }
            }
            _ => {
                let score = match prng.below(4) {
                    0 => 0.0,
                    1 => prng.below(20) as f64 - 10.0,
                    2 => prng.below(1000) as f64 / 7.0,
                    _ => f64::INFINITY,
                };
                let empty = Value::Packed(Kind::Zset, &Pack::EMPTY, false);
                let (body, _) = keyspace.body_or_new(0, key, empty);
                let members = twin.entry(name).or_default();
                let mut zset = ZsetMut::new(body, limits);
                zset.update(&member, |old| {
                    assert_eq!(old, members.get(&member).copied());
                    Some(score)
                });
                members.insert(member.clone(), score);
                let zset = zset.get();
                assert_eq!(zset.score(&member), Some(score));
                let rank = zset.rank(&member).unwrap();
                let (found, _) = zset.range(rank..rank + 1, false).next().unwrap();
                assert_eq!(text(found), member);
            }
        }
        if step % 500 == 0 {
            for (name, members) in &twin {
                let entry = keyspace.find(0, keyspace.key(name)).unwrap();
                let mut ranked = ranked(members);
                assert!(zset_of(entry, false) == ranked);
                let zset = ZsetRef::of(entry);
                let below = zset.partition(|_, score| score < 3.0);
                let expected = ranked.iter().filter(|(_, score)| *score < 3.0);
                assert_eq!(below, expected.count());
                ranked.reverse();
                assert!(zset_of(entry, true) == ranked);
            }
        }
    }
    helpers
        .into_iter()
        .for_each(|helper| helper.join().unwrap());
    // What the ended snapshots kept is freed before the keyspace goes.
    drop(keyspace.take_garbage());
}

#[test]
fn sorted_sets_agree_with_maps_under_snapshots() {
    for seed in 300..312 {
        let entries = if seed % 2 == 0 { 8 } else { 1000 };
        let value = 20;
        run_zsets(seed, 6000, Limits { entries, value });
    }
}
