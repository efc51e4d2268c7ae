//! Sorted sets against maps.

use std::collections::BTreeMap;

use super::super::*;
use super::collections::{Twin, run};
use super::text;
use crate::container::Pack;
use crate::types::{Kind, Limits, ZsetMut, ZsetRef};

/// Scores by member.
type Scores = BTreeMap<Vec<u8>, f64>;

/// The members in order.
fn ranked(scores: &Scores) -> Vec<(Vec<u8>, f64)> {
    let mut ranked: Vec<_> = scores
        .iter()
        .map(|(member, score)| (member.clone(), *score))
        .collect();
    ranked.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    ranked
}

fn members(zset: ZsetRef<'_>, reverse: bool) -> Vec<(Vec<u8>, f64)> {
    zset.range(0..zset.len(), reverse)
        .map(|(member, score)| (text(member), score))
        .collect()
}

fn random_score(prng: &mut Prng) -> f64 {
    match prng.below(4) {
        0 => 0.0,
        1 => prng.below(20) as f64 - 10.0,
        2 => prng.below(1000) as f64 / 7.0,
        _ => f64::INFINITY,
    }
}

fn check_order(zset: ZsetRef<'_>, scores: &Scores) {
    let mut ranked = ranked(scores);
    assert!(members(zset, false) == ranked);
    let below = zset.partition(|_, score| score < 3.0);
    let expected = ranked.iter().filter(|(_, score)| *score < 3.0);
    assert_eq!(below, expected.count());
    ranked.reverse();
    assert!(members(zset, true) == ranked);
}

impl Twin for Scores {
    const KIND: Kind = Kind::Zset;
    type Limits = Limits;

    fn empty<'a>() -> Value<'a> {
        Value::Packed(Kind::Zset, &Pack::EMPTY, false)
    }

    fn read(entry: &Entry) -> Scores {
        members(ZsetRef::of(entry), false).into_iter().collect()
    }

    fn is_empty(&self) -> bool {
        Scores::is_empty(self)
    }

    fn change(&mut self, body: BodyMut<'_>, limits: Limits, prng: &mut Prng) {
        let mut zset = ZsetMut::new(body, limits);
        let member = match prng.below(3) {
            0 => prng.below(400).to_string().into_bytes(),
            _ => format!("member{}", prng.below(400)).into_bytes(),
        };
        match prng.below(200) {
            0..=2 if !self.is_empty() => {
                let start = prng.below(self.len() as u64) as usize;
                let end = (start + prng.below(6) as usize).min(self.len());
                zset.remove_range(start..end);
                for (member, _) in &ranked(self)[start..end] {
                    self.remove(member);
                }
            }
            0..=59 => assert_eq!(zset.remove(&member), self.remove(&member).is_some()),
            60 => check_order(zset.get(), self),
            _ => {
                let score = random_score(prng);
                zset.update(&member, |old| {
                    assert_eq!(old, self.get(&member).copied());
                    Some(score)
                });
                self.insert(member.clone(), score);
                let zset = zset.get();
                assert_eq!(zset.score(&member), Some(score));
                let rank = zset.rank(&member).unwrap();
                let (found, _) = zset.range(rank..rank + 1, false).next().unwrap();
                assert_eq!(text(found), member);
            }
        }
        assert_eq!(zset.get().len(), self.len());
    }
}

#[test]
fn sorted_sets_agree_with_maps_under_snapshots() {
    for seed in 300..312 {
        let entries = if seed % 2 == 0 { 8 } else { 1000 };
        run::<Scores>(seed, 6000, Limits { entries, value: 20 });
    }
}
