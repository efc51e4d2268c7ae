//! `TimeIndex` against an ordered map, with random operations and clocks.

use super::*;
use crate::base::prng::Prng;

/// The table's twin: deadlines by hash.
#[derive(Default)]
struct Keys(BTreeMap<u64, UnixMs>);

impl Deadlines for Keys {
    fn deadlines(&self, hash: u64, each: &mut dyn FnMut(UnixMs)) {
        if let Some(&deadline) = self.0.get(&hash) {
            each(deadline);
        }
    }
}

impl Keys {
    fn set(&mut self, index: &mut TimeIndex, hash: u64, new: Option<UnixMs>) {
        let old = match new {
            Some(deadline) => self.0.insert(hash, deadline),
            None => self.0.remove(&hash),
        };
        index.set(hash, old, new);
        if index.wants_tidy() {
            index.tidy(16, self);
        }
    }

    fn due(&self, now: UnixMs) -> u64 {
        self.0.values().filter(|&&deadline| deadline < now).count() as u64
    }
}

/// Up to 2^(low+more) milliseconds, each power of two as likely.
fn random_ms(prng: &mut Prng, low: u64, more: u64) -> i64 {
    let bits = low + prng.below(more);
    prng.below(1 << bits) as i64
}

fn mix(key: u64) -> u64 {
    Prng::new(key).next_u64()
}

/// Removes everything due; panics when a due key cannot be had.
fn drain(keys: &mut Keys, index: &mut TimeIndex, now: UnixMs) -> usize {
    let mut removed = 0;
    loop {
        let mut budget = 1000;
        match index.next_due(now, &mut budget, keys) {
            Some(hash) => {
                assert!(keys.0[&hash] < now);
                keys.set(index, hash, None);
                removed += 1;
            }
            None if budget > 0 => return removed,
            None => {}
        }
    }
}

#[test]
fn agrees_with_an_ordered_map_under_random_operations_and_clocks() {
    for seed in 0..60 {
        let mut prng = Prng::new(seed);
        let mut now: i64 = [1_790_000_000_000, 0, -5, 1 << 42][seed as usize % 4];
        let mut index = TimeIndex::new(now);
        let mut keys = Keys::default();
        let names = [50, 500, 5000][seed as usize % 3];
        let reclaim = seed % 5 != 0;
        let wild = seed % 7 == 0;
        for round in 0..400 {
            for _ in 0..prng.below(60) {
                let hash = mix(prng.below(names));
                let ahead = match prng.below(8) {
                    0 => 0,
                    1..=3 => prng.below(50) as i64,
                    4 => prng.below(5000) as i64,
                    5 => prng.below(100_000) as i64,
                    6 => random_ms(&mut prng, 10, 35),
                    _ => -(prng.below(10_000) as i64),
                };
                let deadline = match prng.below(200) {
                    0 => i64::MAX,
                    1 => i64::MIN,
                    2 => prng.next_u64() as i64,
                    _ => now.saturating_add(ahead),
                };
                let new = (prng.below(5) > 0).then_some(deadline);
                keys.set(&mut index, hash, new);
            }
            assert_eq!(index.len(), keys.0.len() as u64);
            now = match prng.below(if wild { 12 } else { 60 }) {
                0 => now.saturating_add(prng.below(10_000_000) as i64),
                1 => now.saturating_sub(prng.below(5000) as i64),
                2 => now.saturating_sub(prng.below(20) as i64),
                3 => now.saturating_sub(prng.below(10_000_000) as i64),
                4 => now.saturating_add(random_ms(&mut prng, 12, 32)),
                5 if wild => {
                    [i64::MAX, i64::MIN, 0, prng.next_u64() as i64][prng.below(4) as usize]
                }
                _ => now.saturating_add(prng.below(400) as i64),
            };
            assert_eq!(
                index.due_count(now, &keys),
                keys.due(now),
                "seed {seed} round {round}"
            );
            if prng.below(3) > 0 {
                index.maintain(now, prng.below(300) as usize, &keys);
                assert_eq!(
                    index.due_count(now, &keys),
                    keys.due(now),
                    "seed {seed} round {round}"
                );
            }
            if reclaim && prng.below(2) == 0 {
                drain(&mut keys, &mut index, now);
                assert_eq!((index.due_count(now, &keys), keys.due(now)), (0, 0));
            }
            if round % 20 == 0 {
                index.check(&keys.0);
            }
            let bound = 2 * index.len() + SLACK;
            assert!(index.references() < bound + bound / 4 + 1000);
        }
        {
            drain(&mut keys, &mut index, now);
            assert_eq!(keys.due(now), 0, "seed {seed}");
        }
        for hash in keys.0.keys().copied().collect::<Vec<_>>() {
            keys.set(&mut index, hash, None);
        }
        assert_eq!(index.due_count(now.wrapping_add(1), &keys), 0);
        assert_eq!((index.len(), index.references()), (0, 0));
    }
}

#[test]
fn rewriting_one_deadline_ten_million_times_does_not_grow() {
    let mut prng = Prng::new(1);
    let mut now = 1_790_000_000_000;
    let mut index = TimeIndex::new(now);
    let mut keys = Keys::default();
    for other in 0..1000 {
        keys.set(
            &mut index,
            mix(other),
            Some(now + 50_000 + prng.below(1 << 40) as i64),
        );
    }
    let mut most = 0;
    for round in 0..10_000_000u64 {
        if round % 2_000_000 == 0 {
            now += 10_000;
        }
        let ahead = 20_000 + prng.below(1 << (13 + round % 30)) as i64;
        keys.set(&mut index, mix(7), Some(now + ahead));
        most = most.max(index.references());
    }
    assert!(most < 2 * 1000 + SLACK * 2, "{most}");
    assert_eq!(index.due_count(now, &keys), 0);
    index.check(&keys.0);
}

#[test]
fn two_keys_with_one_hash_are_counted_apart() {
    struct Twins([Option<UnixMs>; 2]);
    impl Deadlines for Twins {
        fn deadlines(&self, _: u64, each: &mut dyn FnMut(UnixMs)) {
            self.0.iter().flatten().for_each(|&deadline| each(deadline));
        }
    }
    for gap in [0, 1, 100, 5000, 100_000] {
        let mut twins = Twins([Some(20_000), Some(20_000 + gap)]);
        let mut index = TimeIndex::new(0);
        index.set(5, None, twins.0[0]);
        index.set(5, None, twins.0[1]);
        for now in (0..20_000).step_by(7) {
            index.maintain(now, 3, &twins);
            assert_eq!(index.due_count(now, &twins), 0);
        }
        assert_eq!(
            index.due_count(20_001, &twins),
            if gap == 0 { 2 } else { 1 }
        );
        assert_eq!(index.due_count(20_001 + gap, &twins), 2);
        assert_eq!(index.next_due(20_001 + gap, &mut 100, &twins), Some(5));
        index.set(5, twins.0[0].take(), None);
        assert_eq!(index.next_due(20_001 + gap, &mut 100, &twins), Some(5));
        index.set(5, twins.0[1].take(), None);
        assert_eq!(index.next_due(20_001 + gap, &mut 100, &twins), None);
    }
}

#[test]
fn many_keys_with_one_deadline_are_prepared_in_small_steps() {
    let start = 1_790_000_000_000;
    let mut index = TimeIndex::new(start);
    let mut keys = Keys::default();
    let deadline = start + 10_000;
    for key in 0..100_000 {
        keys.set(&mut index, mix(key), Some(deadline));
    }
    assert!(
        index.memory_bytes() < 9 * 100_000 + 400_000,
        "{}",
        index.memory_bytes()
    );
    for now in start..=deadline {
        index.maintain(now, 200, &keys);
        assert_eq!(index.due_count(now, &keys), 0);
    }
    assert_eq!(index.pending(), 0);
    assert_eq!(index.due_count(deadline + 1, &keys), 100_000);
    assert_eq!(drain(&mut keys, &mut index, deadline + 1), 100_000);
    assert_eq!((index.len(), index.references()), (0, 0));
}

/// `cargo test --release -- --ignored expiry_cost --nocapture`
#[test]
#[ignore]
fn expiry_cost() {
    use std::collections::HashMap;
    use std::time::Instant;
    struct Fast(HashMap<u64, UnixMs>);
    impl Deadlines for Fast {
        fn deadlines(&self, hash: u64, each: &mut dyn FnMut(UnixMs)) {
            if let Some(&deadline) = self.0.get(&hash) {
                each(deadline);
            }
        }
    }
    let count = 1_000_000u64;
    let mut keys = Fast((0..count).map(|key| (mix(key), 10_000)).collect());
    let mut index = TimeIndex::new(0);
    let hashes: Vec<u64> = keys.0.keys().copied().collect();
    let begin = Instant::now();
    hashes
        .iter()
        .for_each(|&hash| index.set(hash, None, Some(10_000)));
    println!(
        "set {:?} each, {} bytes",
        begin.elapsed() / count as u32,
        index.memory_bytes()
    );
    let (mut longest, mut total) = (0, 0);
    for now in 0..=10_001 {
        let begin = Instant::now();
        index.maintain(now, 1000, &keys);
        longest = longest.max(begin.elapsed().as_micros());
        total += begin.elapsed().as_micros();
    }
    println!("prepare: {total} us in all, longest call {longest} us");
    let begin = Instant::now();
    let mut removed = 0;
    while let Some(hash) = index.next_due(10_100, &mut 100_000, &keys) {
        let old = keys.0.remove(&hash);
        index.set(hash, old, None);
        removed += 1;
    }
    println!("reclaim {removed}: {:?} each", begin.elapsed() / removed);
}
