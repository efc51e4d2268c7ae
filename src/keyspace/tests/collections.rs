//! Collections of all sizes against naive twins, with random operations and snapshots that helpers read meanwhile.

use std::collections::HashMap;
use std::fmt::Debug;

use super::super::*;
use crate::types::Kind;

const KEYS: u64 = 5;

/// A type's naive twin.
pub trait Twin: Clone + Default + PartialEq + Send + 'static {
    /// Its type.
    const KIND: Kind;
    /// When its small form ends.
    type Limits: Copy + Debug;

    /// A new key's value.
    fn empty<'a>() -> Value<'a>;

    /// The whole value of an entry.
    fn read(entry: &Entry) -> Self;

    /// Whether nothing is left.
    fn is_empty(&self) -> bool;

    /// One random change of both, with checks of what it answers and of what is there after it.
    fn change(&mut self, body: BodyMut<'_>, limits: Self::Limits, prng: &mut Prng);
}

fn check_snapshot<T: Twin>(mut snapshot: Snapshot, twins: &HashMap<Vec<u8>, T>) {
    let mut keys = 0;
    for database in &mut snapshot.databases {
        database.for_each(|entry| {
            assert!(T::read(entry) == twins[entry.key()]);
            keys += 1;
        });
    }
    assert_eq!(keys, twins.len());
}

fn check<T: Twin>(keyspace: &Keyspace, twins: &HashMap<Vec<u8>, T>) {
    let counts = keyspace.sizes(0).of(T::KIND).map(|(_, count)| count);
    assert_eq!(counts.sum::<u64>(), twins.len() as u64);
    for (name, twin) in twins {
        let entry = keyspace.find(0, keyspace.key(name)).unwrap();
        assert!(T::read(entry) == *twin);
    }
}

/// Changes collections of all sizes while helpers read snapshots, in several threads.
pub fn run<T: Twin>(seed: u64, steps: usize, limits: T::Limits) {
    let mut prng = Prng::new(seed);
    let mut keyspace = Keyspace::new(1, seed);
    let mut twins: HashMap<Vec<u8>, T> = HashMap::new();
    let mut helpers = Vec::new();
    for step in 0..steps {
        let name = format!("k{}", prng.below(KEYS)).into_bytes();
        let other = format!("k{}", prng.below(KEYS)).into_bytes();
        let (key, to) = (keyspace.key(&name), keyspace.key(&other));
        match prng.below(200) {
            0 => {
                keyspace.remove(0, key);
                twins.remove(&name);
            }
            1 => {
                assert_eq!(keyspace.copy(0, key, 0, to), twins.contains_key(&name));
                if let Some(twin) = twins.get(&name).cloned() {
                    twins.insert(other, twin);
                }
            }
            2 => {
                assert_eq!(keyspace.rename(0, key, 0, to), twins.contains_key(&name));
                if let Some(twin) = twins.remove(&name) {
                    twins.insert(other, twin);
                }
            }
            3..=5 if helpers.len() < 4 => {
                let (snapshot, then) = (keyspace.snapshot(), twins.clone());
                helpers.push(std::thread::spawn(move || check_snapshot(snapshot, &then)));
            }
            6..=8 if !helpers.is_empty() => {
                let at = prng.below(helpers.len() as u64) as usize;
                helpers.swap_remove(at).join().unwrap();
            }
            9 if step % 16 == 0 => {
                keyspace.flush(None);
                twins.clear();
            }
            10..=20 => drop(keyspace.take_garbage()),
            _ => {
                let (body, new) = keyspace.body_or_new(0, key, T::empty());
                assert_eq!(new, !twins.contains_key(&name));
                let twin = twins.entry(name.clone()).or_default();
                twin.change(body, limits, &mut prng);
                if twin.is_empty() {
                    keyspace.remove(0, key);
                    twins.remove(&name);
                }
            }
        }
        if step % 200 == 0 {
            check(&keyspace, &twins);
        }
    }
    check(&keyspace, &twins);
    for helper in helpers {
        helper.join().unwrap();
    }
}
