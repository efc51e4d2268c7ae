//! Lists against vectors.

use super::super::*;
use super::collections::{Twin, run};
use super::text;
use crate::container::Pack;
use crate::types::Kind;
use crate::types::list::{End, ListLimit, ListMut, ListRef};

type Items = Vec<Vec<u8>>;

const EMPTY: Value<'_> = Value::Packed(Kind::List, &Pack::EMPTY, false);

fn random_item(prng: &mut Prng) -> Vec<u8> {
    match prng.below(200) {
        0 => vec![b'l'; 4000 + prng.below(9000) as usize],
        1..=20 => vec![b'm'; prng.below(400) as usize],
        21..=60 => (prng.next_u64() as i64 >> prng.below(64))
            .to_string()
            .into_bytes(),
        _ => format!("item {}", prng.below(20)).into_bytes(),
    }
}

/// One random change of a list and of its twin.
fn change(prng: &mut Prng, list: &mut ListMut<'_>, twin: &mut Vec<Vec<u8>>) {
    let end = match prng.below(2) {
        0 => End::Front,
        _ => End::Back,
    };
    let item = random_item(prng);
    let at = prng.below(twin.len() as u64 + 1) as usize;
    match prng.below(20) {
        0 => {
            let count = prng.below(60) as usize;
            list.pop(end, count);
            let count = count.min(twin.len());
            match end {
                End::Front => drop(twin.drain(..count)),
                End::Back => twin.truncate(twin.len() - count),
            }
        }
        1 => {
            let count = prng.below(3000) as usize;
            list.remove_range(at, count);
            list.settle(true);
            twin.drain(at..twin.len().min(at + count));
        }
        2 => {
            let most = match prng.below(2) {
                0 => usize::MAX,
                _ => prng.below(5) as usize,
            };
            let mut removed = 0;
            let mut keep = |other: &Vec<u8>| {
                let goes = *other == item && removed < most;
                removed += usize::from(goes);
                !goes
            };
            match end {
                End::Front => twin.retain(&mut keep),
                End::Back => {
                    twin.reverse();
                    twin.retain(&mut keep);
                    twin.reverse();
                }
            }
            assert_eq!(list.remove_equal(&item, end, most), removed);
            list.settle(true);
        }
        3..=5 if at < twin.len() => {
            list.expect(item.len(), 1);
            list.set(at, &item);
            list.settle(true);
            twin[at] = item;
        }
        6..=8 => {
            list.expect(item.len(), 1);
            list.insert(at, &item);
            twin.insert(at, item);
        }
        _ => {
            for _ in 0..prng.below(80) {
                list.push(end, &item);
                match end {
                    End::Front => twin.insert(0, item.clone()),
                    End::Back => twin.push(item.clone()),
                }
            }
        }
    }
}

/// Reads at a random place, and on to both sides.
fn check_walks(list: ListRef<'_>, items: &Items, prng: &mut Prng) {
    let at = prng.below(items.len() as u64 + 1) as usize;
    assert_eq!(list.get(at).map(text), items.get(at).cloned());
    let mut seen = at;
    list.walk(at, |item| {
        assert!(text(item) == items[seen]);
        seen += 1;
        !seen.is_multiple_of(50)
    });
    seen = at + 1;
    list.walk_back(at, |item| {
        seen -= 1;
        assert!(text(item) == items[seen]);
        !seen.is_multiple_of(50)
    });
}

impl Twin for Items {
    const KIND: Kind = Kind::List;
    type Limits = ListLimit;

    fn empty<'a>() -> Value<'a> {
        EMPTY
    }

    fn read(entry: &Entry) -> Items {
        let mut found = Items::new();
        ListRef::of(entry).for_each(|item| found.push(text(item)));
        found
    }

    fn is_empty(&self) -> bool {
        Items::is_empty(self)
    }

    fn change(&mut self, body: BodyMut<'_>, limit: ListLimit, prng: &mut Prng) {
        let mut list = ListMut::new(body, limit);
        change(prng, &mut list, self);
        assert_eq!(list.get().len(), self.len());
        check_walks(list.get(), self, prng);
    }
}

#[test]
fn lists_agree_with_vectors_under_snapshots() {
    for seed in 0..12 {
        let limit = ListLimit::of([-2, -1, 5, 128, 3, -5][seed as usize % 6]);
        run::<Items>(seed, 1200, limit);
    }
}

#[test]
fn a_million_elements_take_what_they_hold() {
    let mut keyspace = Keyspace::new(1, 1);
    for end in [End::Front, End::Back] {
        let key = keyspace.key(b"list");
        let (body, _) = keyspace.body_or_new(0, key, EMPTY);
        let mut list = ListMut::new(body, ListLimit::of(-2));
        for number in 0..1_000_000 {
            list.push(end, format!("{number:016x}.").as_bytes().split_at(16).0);
        }
        drop(list);
        let bytes = keyspace.find(0, keyspace.key(b"list")).unwrap();
        let bytes = bytes.large().unwrap().memory_bytes();
        assert!(bytes < 18_250_000, "{bytes} bytes pushed at {end:?}");
        keyspace.remove(0, keyspace.key(b"list"));
        drop(keyspace.take_garbage());
    }
}
