//! Sets against sets.

use std::collections::BTreeSet;

use super::super::*;
use super::collections::{Twin, run};
use super::text;
use crate::types::{Kind, Limits, SetLimits, SetMut, SetRef};

type Members = BTreeSet<Vec<u8>>;

const LIMITS: SetLimits = SetLimits {
    ints: 12,
    pack: Limits {
        entries: 8,
        value: 20,
    },
};

fn random_member(prng: &mut Prng) -> Vec<u8> {
    let member = match prng.below(20) {
        0 => format!("m{}", prng.below(300)),
        1 => prng.next_u64().to_string(),
        2 => "x".repeat(prng.below(30) as usize),
        _ => prng.below(400).to_string(),
    };
    member.into_bytes()
}

impl Twin for Members {
    const KIND: Kind = Kind::Set;
    type Limits = SetLimits;

    fn empty<'a>() -> Value<'a> {
        SetMut::empty(b"1", 1, LIMITS)
    }

    fn read(entry: &Entry) -> Members {
        let mut found = Members::new();
        SetRef::of(entry).for_each(|member| assert!(found.insert(text(member))));
        found
    }

    fn is_empty(&self) -> bool {
        Members::is_empty(self)
    }

    fn change(&mut self, body: BodyMut<'_>, limits: SetLimits, prng: &mut Prng) {
        let mut set = SetMut::new(body, limits);
        let member = random_member(prng);
        match prng.below(200) {
            0..=59 => assert_eq!(set.remove(&member), self.remove(&member)),
            60..=62 if !self.is_empty() => {
                let count = prng.below(self.len() as u64) as usize;
                let mut popped = 0;
                set.pop(count, prng, |member| {
                    popped += 1;
                    assert!(self.remove(&text(member)));
                });
                assert_eq!(popped, count);
            }
            63..=78 => {
                let more: Vec<Vec<u8>> = (0..prng.below(40))
                    .map(|_| prng.below(500).to_string().into_bytes())
                    .collect();
                set.expect(more.len());
                let added = set.extend(more.iter().map(Vec::as_slice));
                let before = self.len();
                self.extend(more);
                assert_eq!(added, self.len() - before);
            }
            _ => {
                assert_eq!(set.add(&member), self.insert(member.clone()));
                assert!(set.get().contains(&member));
                assert!(self.contains(&text(set.get().random(prng).unwrap())));
            }
        }
        assert_eq!(set.get().len(), self.len());
    }
}

#[test]
fn sets_agree_with_sets_under_snapshots() {
    for seed in 300..308 {
        run::<Members>(seed, 6000, LIMITS);
    }
}
