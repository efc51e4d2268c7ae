//! Hashes against maps.

use std::collections::BTreeMap;

use super::super::*;
use super::collections::{Twin, run};
use super::{random_value, text};
use crate::container::Pack;
use crate::types::{HashMut, HashRef, Kind, Limits};

type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

impl Twin for Fields {
    const KIND: Kind = Kind::Hash;
    type Limits = Limits;

    fn empty<'a>() -> Value<'a> {
        Value::Packed(Kind::Hash, &Pack::EMPTY, false)
    }

    fn read(entry: &Entry) -> Fields {
        let mut found = Fields::new();
        HashRef::of(entry).for_each(|field, value| {
            assert!(found.insert(text(field), text(value)).is_none());
        });
        found
    }

    fn is_empty(&self) -> bool {
        Fields::is_empty(self)
    }

    fn change(&mut self, body: BodyMut<'_>, limits: Limits, prng: &mut Prng) {
        let mut hash = HashMut::new(body, limits);
        let field = format!("f{}", prng.below(400)).into_bytes();
        if prng.below(3) == 0 {
            assert_eq!(hash.remove(&field), self.remove(&field).is_some());
        } else {
            let value = random_value(prng, false);
            let added = hash.set(&field, &value);
            assert_eq!(added, self.insert(field.clone(), value).is_none());
            assert!(hash.get().get(&field).unwrap().equals(&self[&field]));
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
