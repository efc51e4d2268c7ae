//! Prng operations against a vector, with snapshots that end in any order.

use std::sync::mpsc;

use super::super::CowBox;
use super::super::domain::EPOCH_MAX;
use super::*;
use crate::base::prng::Prng;

/// A number whose weight is its last digit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Digit(u64);

// SAFETY: plain bits that own nothing.
unsafe impl Item for Digit {
    fn weight(&self) -> u64 {
        self.0 % 10
    }
}

fn same(tree: &CowTree<Digit>, model: &[Digit]) {
    assert_eq!(tree.len(), model.len() as u64);
    assert_eq!(tree.weight(), model.iter().map(Item::weight).sum::<u64>());
    assert!(tree.iter().eq(model.iter()));
    tree.check();
}

fn probe(tree: &CowTree<Digit>, model: &[Digit], random: &mut Prng) {
    let len = model.len() as u64;
    for _ in 0..20 {
        let index = random.below(len + 2);
        assert_eq!(tree.get(index), model.get(index as usize));
        let before: u64 = model[..len.min(index) as usize]
            .iter()
            .map(Item::weight)
            .sum();
        assert_eq!(tree.weight_before(index), before);
        let offset = random.below(tree.weight() + 2);
        let mut rest = offset;
        let found = model.iter().position(|digit| {
            let hit = rest < digit.weight();
            rest -= if hit { 0 } else { rest.min(digit.weight()) };
            hit
        });
        let expected = found.map(|at| (at as u64, rest, &model[at]));
        assert_eq!(tree.at_weight(offset), expected);
        let from = random.below(len + 1);
        let mut iter = tree.iter_from(from);
        assert!(
            iter.by_ref()
                .take(100)
                .eq(model[from as usize..].iter().take(100))
        );
        let mut iter = tree.iter_from(from);
        let back = std::iter::from_fn(|| iter.back()).take(100);
        assert!(back.eq(model[..from as usize].iter().rev().take(100)));
    }
}

#[test]
fn agrees_with_a_vector() {
    for seed in 0..6 {
        let mut random = Prng::new(seed);
        let mut domain = Domain::starting_at(EPOCH_MAX - 100_000);
        let mut tree = CowTree::new(&domain);
        let mut model: Vec<Digit> = Vec::new();
        let mut live: Vec<(TreeView<Digit>, Vec<Digit>)> = Vec::new();
        for round in 0..80u64 {
            let growing = round / 5 % 2 == 0;
            for _ in 0..random.below(600) {
                let len = model.len() as u64;
                let digit = Digit(random.next_u64());
                match random.below(10) {
                    0 if len > 0 => {
                        let index = random.below(len);
                        tree.update(&mut domain, index, |old, _| *old = digit);
                        model[index as usize] = digit;
                    }
                    1 if growing => {
                        tree.push(&mut domain, digit);
                        model.push(digit);
                    }
                    2.. if growing => {
                        let index = random.below(len + 1);
                        tree.insert_at(&mut domain, index, digit);
                        model.insert(index as usize, digit);
                    }
                    _ if len > 0 => {
                        let index = random.below(len);
                        assert_eq!(
                            tree.remove_at(&mut domain, index),
                            model.remove(index as usize)
                        );
                    }
                    _ => {}
                }
            }
            // Cut a stretch out and put it somewhere else.
            let len = model.len() as u64;
            let (one, two) = (random.below(len + 1), random.below(len + 1));
            let (start, end) = (one.min(two), one.max(two));
            let middle = tree.remove_range(&mut domain, start, end);
            let cut: Vec<Digit> = model.drain(start as usize..end as usize).collect();
            same(&middle, &cut);
            let to = random.below(model.len() as u64 + 1);
            let rest = tree.split_off(&mut domain, to);
            tree.append(&mut domain, middle);
            tree.append(&mut domain, rest);
            model.splice(to as usize..to as usize, cut);
            same(&tree, &model);
            probe(&tree, &model, &mut random);

            if random.below(2) == 0 && live.len() < 4 {
                let pin = domain.snapshot();
                live.push((tree.view(&domain, &pin), model.clone()));
            }
            for (view, model) in &live {
                same(view, model);
            }
            if random.below(2) == 0 && !live.is_empty() {
                drop(live.swap_remove(random.below(live.len() as u64) as usize));
                drop(domain.collect());
            }
        }
        assert!(tree.retire(&mut domain).is_some() == live.is_empty());
        for (view, model) in &live {
            same(view, model);
        }
        live.clear();
        while let Some(garbage) = domain.collect() {
            drop(garbage);
        }
        assert_eq!(domain.retired_bytes() + domain.pending_bytes(), 0);
    }
}

#[test]
fn a_sorted_tree_agrees_with_btreeset() {
    let mut random = Prng::new(77);
    let mut domain = Domain::new();
    let mut tree = CowTree::new(&domain);
    let mut model = std::collections::BTreeSet::new();
    for round in 0..30_000 {
        let number = random.below(4000);
        let growing = round / 5000 % 2 == 0;
        if (random.below(10) < 7) == growing {
            let inserted = tree.insert_by(&mut domain, number, u64::cmp);
            assert_eq!(inserted.is_ok(), model.insert(number));
        } else {
            let removed = tree.remove_by(&mut domain, |other| other.cmp(&number));
            assert_eq!(removed.is_some(), model.remove(&number));
        }
        if round % 500 == 0 {
            let number = random.below(4000);
            let rank = model.range(..number).count() as u64;
            let expected = if model.contains(&number) {
                Ok(rank)
            } else {
                Err(rank)
            };
            assert_eq!(tree.find(|other| other.cmp(&number)), expected);
            assert_eq!(tree.get_by(|other| other.cmp(&number)), model.get(&number));
            assert!(tree.iter().eq(model.iter()));
            tree.check();
        }
    }
    while !tree.is_empty() {
        tree.remove_at(&mut domain, tree.len() / 2);
        tree.check();
    }
    assert_eq!(tree.memory_bytes(), 0);
}

#[test]
fn appending_in_order_fills_the_leaves() {
    let mut domain = Domain::new();
    let mut tree = CowTree::new(&domain);
    for number in 0..node::CAPACITY as u64 * 200 {
        tree.push(&mut domain, number);
    }
    tree.check();
    // SAFETY: alive; below the root of height 2 stand inner nodes, below them leaves.
    let full = unsafe {
        assert_eq!(tree.height, 2);
        let first = tree.root.unwrap().inner().children()[0].node;
        first.len(1) == node::CAPACITY && first.inner().children()[0].node.len(0) == node::CAPACITY
    };
    assert!(full);
    drop(tree.retire(&mut domain));
}

/// A chunked string: a helper reads a snapshot while the loop writes, inserts and cuts chunks.
#[test]
fn chunks_are_copied_one_by_one() {
    let mut domain = Domain::new();
    let mut random = Prng::new(6);
    let mut tree: CowTree<CowBox<Vec<u8>>> = CowTree::new(&domain);
    let mut model = Vec::new();
    for _ in 0..500 {
        let chunk: Vec<u8> = (0..random.below(200))
            .map(|_| random.next_u64() as u8)
            .collect();
        model.extend_from_slice(&chunk);
        let chunk = CowBox::new(&mut domain, chunk);
        tree.push(&mut domain, chunk);
    }
    let (jobs, inbox) = mpsc::sync_channel::<(TreeView<CowBox<Vec<u8>>>, Vec<u8>)>(2);
    let reader = std::thread::spawn(move || {
        while let Ok((view, model)) = inbox.recv() {
            assert!(view.iter().flat_map(|chunk| chunk.get()).eq(&model));
        }
    });
    for _ in 0..200 {
        let pin = domain.snapshot();
        jobs.send((tree.view(&domain, &pin), model.clone()))
            .unwrap();
        drop(pin);
        for _ in 0..20 {
            let offset = random.below(tree.weight());
            let (index, within, _) = tree.at_weight(offset).unwrap();
            let byte = random.next_u64() as u8;
            model[offset as usize] = byte;
            tree.update(&mut domain, index, |chunk, domain| {
                chunk.get_mut(domain)[within as usize] = byte
            });
        }
        let at = random.below(tree.len());
        let before = tree.weight_before(at) as usize;
        if tree.len() > 300 && random.below(2) == 0 {
            let chunk = tree.remove_at(&mut domain, at);
            model.drain(before..before + chunk.get().len());
            chunk.retire(&mut domain);
        } else {
            let chunk = vec![random.next_u64() as u8; 100];
            model.splice(before..before, chunk.iter().copied());
            let chunk = CowBox::new(&mut domain, chunk);
            tree.insert_at(&mut domain, at, chunk);
        }
        drop(domain.collect());
    }
    drop(jobs);
    reader.join().unwrap();
    assert!(tree.iter().flat_map(|chunk| chunk.get()).eq(&model));
    tree.check();
    drop(domain.collect());
    drop(tree.retire(&mut domain));
    assert_eq!(domain.retired_bytes() + domain.pending_bytes(), 0);
}

#[test]
fn trees_are_made_of_items() {
    let mut domain = Domain::new();
    for count in [0, 1, 61, 62, 63, 124, 62 * 62, 62 * 62 + 1, 10_000, 300_000] {
        let mut tree = CowTree::of_items(&mut domain, 0..count);
        tree.check();
        assert!(tree.len() == count && tree.iter().copied().eq(0..count));
        let pin = domain.snapshot();
        let view = tree.view(&domain, &pin);
        for number in (0..count).step_by(97) {
            assert_eq!(tree.get_by(|item| item.cmp(&number)), Some(&number));
            tree.update(&mut domain, number, |item, _| *item += 1);
        }
        tree.push(&mut domain, count);
        while tree.len() > count / 2 {
            tree.remove_at(&mut domain, 0);
        }
        tree.check();
        assert!(view.iter().copied().eq(0..count));
        drop((view, pin));
        drop(domain.collect());
        drop(tree.retire(&mut domain));
    }
}
