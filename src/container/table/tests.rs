//! Prng operations against a plain model, with snapshots that end in any order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use super::super::domain::{EPOCH_MAX, planted};
use super::super::testing::{Pair, TestHasher};
use super::*;
use crate::base::prng::Prng;

type Model = HashMap<u64, u64>;

struct Both {
    domain: Domain,
    table: CowTable<Pair>,
    hasher: TestHasher,
    model: Model,
    random: Prng,
}

impl Both {
    fn new(seed: u64, common_bits: u32) -> Both {
        let domain = Domain::starting_at(EPOCH_MAX - 100_000);
        let hasher = TestHasher { common_bits };
        let table = CowTable::new(&domain, hasher, seed);
        Both {
            domain,
            table,
            hasher,
            model: Model::new(),
            random: Prng::new(seed),
        }
    }

    fn put(&mut self, key: u64, value: u64) {
        let hash = self.hasher.hash(key);
        let old = self.model.insert(key, value);
        let way = self.random.below(5);
        match self
            .table
            .lookup(&mut self.domain, hash, |pair| pair.key == key)
        {
            Lookup::Vacant(vacant) => {
                assert_eq!(old, None);
                let mut new = vacant.insert(Pair::make(key, value));
                assert_eq!(new.get().value, value);
                if way == 0 {
                    new.make_mut().value = value;
                }
            }
            Lookup::Occupied(mut entry) => {
                assert_eq!(old, Some(entry.get().value));
                entry.get().access.store(7, Ordering::Relaxed);
                match way {
                    0 => drop(entry.replace(Pair::make(key, value))),
                    1 => entry.supersede(Pair::make(key, value)),
                    2 => assert_eq!(entry.reallocate(|_| Pair::make(key, value)).value, value),
                    _ => entry.into_mut().value = value,
                }
            }
        }
    }

    fn remove(&mut self, key: u64) {
        let hash = self.hasher.hash(key);
        let removed = self
            .table
            .remove(&mut self.domain, hash, |pair| pair.key == key);
        let old = self.model.remove(&key);
        assert_eq!(old.is_some(), removed.is_some());
        if let Some(Removed::Owned(pair)) = removed {
            assert_eq!(old, Some(pair.value));
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len());
        for (&key, &value) in &self.model {
            let found = self
                .table
                .find(self.hasher.hash(key), |pair| pair.key == key);
            assert_eq!(found.map(|pair| pair.value), Some(value));
        }
        let mut seen = 0;
        self.table.for_each(|pair| {
            seen += 1;
            assert_eq!(self.model.get(&pair.key), Some(&pair.value));
        });
        assert_eq!(seen, self.model.len());
        self.table.check();
    }

    fn snapshot(&mut self) -> (TableView<Pair>, Model) {
        let pin = self.domain.snapshot();
        (self.table.view(&self.domain, &pin), self.model.clone())
    }
}

fn check_view(view: &mut TableView<Pair>, model: &Model, hasher: TestHasher) {
    let mut seen = 0;
    view.for_each(|pair| {
        seen += 1;
        assert_eq!(model.get(&pair.key), Some(&pair.value));
        pair.access.store(9, Ordering::Relaxed);
    });
    assert_eq!((seen, view.len()), (model.len(), model.len()));
    for (&key, &value) in model.iter().take(50) {
        assert_eq!(
            view.find(hasher.hash(key), |pair| pair.key == key)
                .map(|pair| pair.value),
            Some(value)
        );
    }
}

/// Prng operations with up to four live snapshots, which end in any order, checked here.
fn differential(seed: u64, common_bits: u32, keys: u64, rounds: u64) {
    let mut both = Both::new(seed, common_bits);
    let mut live: Vec<(TableView<Pair>, Model)> = Vec::new();
    for round in 0..rounds {
        // Waves of growth and shrinking.
        let growing = round / 4 % 2 == 0;
        for _ in 0..both.random.below(keys) {
            let key = both.random.below(keys);
            if (both.random.below(10) < 7) == growing {
                let value = both.random.next_u64();
                both.put(key, value);
            } else {
                both.remove(key);
            }
        }
        if both.random.below(2) == 0 && live.len() < 4 {
            let snapshot = both.snapshot();
            live.push(snapshot);
        }
        for (view, model) in &mut live {
            check_view(view, model, both.hasher);
        }
        if both.random.below(2) == 0 && !live.is_empty() {
            let at = both.random.below(live.len() as u64) as usize;
            drop(live.swap_remove(at));
            if both.random.below(2) == 0 {
                drop(both.domain.collect());
            }
        }
        if both.random.below(30) == 0 {
            // As FLUSHALL does.
            let new = CowTable::new(&both.domain, both.hasher, seed);
            let old = std::mem::replace(&mut both.table, new);
            drop(old.retire(&mut both.domain));
            both.model.clear();
        }
        both.check();
    }
    for key in 0..keys {
        both.remove(key);
    }
    both.check();
    for (view, model) in &mut live {
        check_view(view, model, both.hasher);
    }
    live.clear();
    while let Some(garbage) = both.domain.collect() {
        drop(garbage);
    }
    assert_eq!(both.domain.retired_bytes() + both.domain.pending_bytes(), 0);
    assert!(
        both.table.memory_bytes() <= 600,
        "{} bytes left",
        both.table.memory_bytes()
    );
}

#[test]
fn agrees_with_the_model() {
    for seed in 0..4 {
        differential(seed, 0, 3000, 40);
    }
    differential(5, 0, 100, 200);
    differential(6, 0, 40_000, 12);
}

#[test]
fn agrees_with_common_prefixes() {
    differential(10, 14, 3000, 30);
    differential(11, 20, 3000, 30);
    differential(12, 40, 2000, 30);
    differential(13, 63, 500, 40);
}

#[test]
fn agrees_with_equal_hashes() {
    differential(20, 64, 400, 60);
}

/// A helper reads snapshots while the loop writes, splits, merges, deletes and takes more of them.
pub fn concurrent(rounds: u64, keys: u64) {
    let mut both = Both::new(99, 0);
    let (jobs, inbox) = mpsc::sync_channel::<(TableView<Pair>, Model)>(2);
    let (trash, bin) = mpsc::channel::<Garbage>();
    let hasher = both.hasher;
    let reader = std::thread::spawn(move || {
        while let Ok((mut view, model)) = inbox.recv() {
            check_view(&mut view, &model, hasher);
        }
    });
    let freer = std::thread::spawn(move || bin.into_iter().for_each(drop));
    for round in 0..rounds {
        let growing = round % 6 < 3;
        for _ in 0..keys / 2 {
            let key = both.random.below(keys);
            if (both.random.below(10) < 8) == growing {
                let value = both.random.next_u64();
                both.put(key, value);
            } else {
                both.remove(key);
            }
        }
        let snapshot = both.snapshot();
        if let Err(mpsc::TrySendError::Disconnected(_)) = jobs.try_send(snapshot) {
            panic!("the reader failed");
        }
        if let Some(garbage) = both.domain.collect() {
            trash.send(garbage).unwrap();
        }
    }
    drop(jobs);
    drop(trash);
    reader.join().unwrap();
    freer.join().unwrap();
    both.check();
}

#[test]
fn a_helper_reads_while_the_loop_writes() {
    concurrent(60, 4000);
}

/// Run by `make sanitize` alone, which expects the sanitizer to stop it.
#[test]
#[ignore = "plants a fault"]
fn planted_write_to_a_frozen_block() {
    planted_fault(planted::WRITE);
}

/// Run by `make sanitize` alone, which expects the sanitizer to stop it.
#[test]
#[ignore = "plants a fault"]
fn planted_early_free() {
    planted_fault(planted::FREE);
}

fn planted_fault(fault: u8) {
    let mut both = Both::new(7, 0);
    for key in 0..2000 {
        both.put(key, key);
    }
    let (view, _) = both.snapshot();
    planted::plant(fault);
    // Relaxed flags order nothing: the sanitizers must see the reads and writes as concurrent.
    let flags = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
    let shared = Arc::clone(&flags);
    let reader = std::thread::spawn(move || {
        let mut view = view;
        let mut sum = 0u64;
        let mut last = false;
        while !last {
            last = shared.1.load(Ordering::Relaxed);
            view.for_each(|pair| sum = sum.wrapping_add(pair.value));
            shared.0.store(true, Ordering::Relaxed);
            // Rare passes: ThreadSanitizer drops a report when its history no longer has the read.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        std::hint::black_box(sum);
    });
    while !flags.0.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    for key in 0..2000 {
        let hash = both.hasher.hash(key);
        if let Some(pair) = both
            .table
            .entry_mut(&mut both.domain, hash, |pair| pair.key == key)
        {
            pair.value = 1;
        }
    }
    flags.1.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    planted::plant(0);
}

#[test]
fn scan_keeps_its_guarantee() {
    for common_bits in [0, 20, 64] {
        let mut both = Both::new(3, common_bits);
        let (stay, extra) = if common_bits == 64 {
            (100, 300)
        } else {
            (2000, 8000)
        };
        for growing in [true, false] {
            for key in 0..stay {
                both.put(key, 1);
            }
            for key in stay..stay + if growing { 0 } else { extra } {
                both.put(key, 1);
            }
            let mut seen: HashMap<u64, usize> = HashMap::new();
            let (mut cursor, mut step) = (0, 0);
            loop {
                let count = [1, 7, 30, usize::MAX][both.random.below(4) as usize];
                let mut visited = 0;
                cursor = both.table.scan(cursor, count, |pair| {
                    visited += 1;
                    *seen.entry(pair.key).or_default() += 1;
                });
                assert!(cursor < 1 << 48);
                // Equal hashes have one position.
                assert!(visited <= count || common_bits == 64);
                for _ in 0..40 {
                    if step < extra {
                        let key = stay + step;
                        if growing {
                            both.put(key, 1)
                        } else {
                            both.remove(key)
                        }
                        step += 1;
                    }
                }
                if cursor == 0 {
                    break;
                }
            }
            assert!((0..stay).all(|key| seen.contains_key(&key)));
            assert!(seen.values().all(|&times| times == 1), "none twice");
            for key in 0..stay + extra {
                both.remove(key);
            }
        }
    }
}

#[test]
fn any_cursor_is_valid_and_comes_back() {
    let both = Both::new(3, 0);
    let mut random = Prng::new(8);
    for cursor in (0..100).chain((0..100).map(|_| random.next_u64())) {
        assert_eq!(both.table.scan(cursor, 1, |_| ()), 0);
    }
}

#[test]
fn random_entries_are_uniform() {
    for (common_bits, keys) in [(0, 40), (0, 500), (20, 500), (64, 200)] {
        let mut both = Both::new(4, common_bits);
        assert!(both.table.random(|| 0).is_none());
        for key in 0..keys {
            both.put(key, 0);
        }
        let mut counts = vec![0u32; keys as usize];
        let mut random = Prng::new(5);
        for _ in 0..keys * 100 {
            counts[both.table.random(|| random.next_u64()).unwrap().key as usize] += 1;
        }
        // A hundred each, standard deviation ten.
        assert!(
            counts.iter().all(|&count| (45..175).contains(&count)),
            "{counts:?}"
        );
    }
}

#[test]
fn a_dropped_table_outlives_its_snapshots() {
    let mut both = Both::new(1, 0);
    for key in 0..5000 {
        both.put(key, key);
    }
    let (mut view, model) = both.snapshot();
    let Both {
        mut domain,
        table,
        hasher,
        ..
    } = both;
    drop(table);
    assert!(domain.collect().is_none());
    check_view(&mut view, &model, hasher);
    drop(view);
    let garbage = domain.collect();
    assert!(garbage.is_some());
    std::thread::spawn(move || drop(garbage)).join().unwrap();
    assert_eq!(domain.pending_bytes(), 0);
}

#[test]
#[should_panic(expected = "written since the snapshot")]
fn a_late_view_is_refused() {
    let mut both = Both::new(1, 0);
    let pin = both.domain.snapshot();
    both.put(1, 1);
    both.table.view(&both.domain, &pin);
}
