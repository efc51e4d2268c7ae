//! Sorted sets: members with scores, in the order of the scores, equal ones in that of the members' bytes.
//!
//! Small: a [`Pack`] of member, score, member, score, … in order (`listpack`), a score as an integer where it is one, else
//! as the text that replies carry. Large: [`ZsetTable`] (`skiplist`). A sorted set never goes back to the small form.
//!
//! Ranges of scores and of members are turned into ranges of ranks ([`ZsetRef::partition`]); what reads or removes them
//! knows ranks alone.

use std::cmp::Ordering;
use std::ops::Range;

use crate::base::num;
use crate::base::prng::Prng;
use crate::container::{Pack, PackItem, PackMut, Position};

use super::body::BodyMut;
use super::entry::Entry;
use super::large::Large;
use super::limits::Limits;
use super::string::StringRef;
use super::zset_table::{Ranks, ZsetTable};

/// A sorted set for reading.
#[derive(Clone, Copy)]
pub enum ZsetRef<'a> {
    /// Members and scores in turn.
    Pack(Pack<'a>),
    /// A table with a tree.
    Table(&'a ZsetTable),
}

impl<'a> ZsetRef<'a> {
    /// The sorted set of an entry of that kind.
    pub fn of(entry: &'a Entry) -> ZsetRef<'a> {
        match (entry.large(), entry.packed()) {
            (Some(Large::Zset(table)), _) => ZsetRef::Table(table),
            (_, Some((bytes, _))) => ZsetRef::Pack(Pack::of(bytes)),
            _ => unreachable!("a {:?} is no sorted set", entry.kind()),
        }
    }

    /// Members.
    pub fn len(&self) -> usize {
        match self {
            ZsetRef::Pack(pack) => pack.len() / 2,
            ZsetRef::Table(table) => table.len(),
        }
    }

    /// Whether there is no member: only while a sorted set is being made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member. O(members) when small, else O(1).
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match *self {
            ZsetRef::Pack(pack) => find(pack, member).map(|at| score_after(pack, at)),
            ZsetRef::Table(table) => table.score(member),
        }
    }

    /// How many members stand before this one. O(members) when small, else O(log n).
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match *self {
            ZsetRef::Pack(pack) => pack.iter().step_by(2).position(|item| item.equals(member)),
            ZsetRef::Table(table) => table.rank(member),
        }
    }

    /// How many members stand before the first for which `before` does not hold. O(members) when small, else O(log n).
    pub fn partition(&self, mut before: impl FnMut(&[u8], f64) -> bool) -> usize {
        match *self {
            ZsetRef::Pack(pack) => {
                let mut scratch = [0; 20];
                pairs(pack)
                    .take_while(|(_, member, score)| before(member.as_bytes(&mut scratch), *score))
                    .count()
            }
            ZsetRef::Table(table) => table.partition(before),
        }
    }

    /// The members of these ranks with their scores, the last first if `reverse`.
    pub fn range(&self, ranks: Range<usize>, reverse: bool) -> ZsetIter<'a> {
        let left = ranks.len();
        let first = if reverse { ranks.end } else { ranks.start };
        let walk = match *self {
            ZsetRef::Pack(pack) => Walk::Pack(pack, position(pack, first)),
            ZsetRef::Table(table) => Walk::Table(table.iter_from(first)),
        };
        ZsetIter {
            walk,
            left,
            reverse,
        }
    }

    /// All members with their scores, in order.
    pub fn iter(&self) -> ZsetIter<'a> {
        self.range(0..self.len(), false)
    }

    /// A member drawn uniformly, with its score. None when there is none. O(members) when small, else O(1).
    pub fn random(&self, prng: &mut Prng) -> Option<(StringRef<'a>, f64)> {
        match *self {
            ZsetRef::Pack(pack) => {
                let rank = prng.below(pack.len() as u64 / 2) as usize;
                self.range(rank..rank + 1, false).next()
            }
            ZsetRef::Table(table) => {
                let entry = table.members().random(|| prng.next_u64())?;
                Some((StringRef::Bytes(entry.key()), ZsetTable::score_of(entry)))
            }
        }
    }
}

/// Where the member of a rank is, which may be behind the last.
fn position(pack: Pack<'_>, rank: usize) -> Position {
    pack.seek(2 * rank as i64).unwrap_or_else(|| pack.end())
}

/// Where a member is.
fn find(pack: Pack<'_>, member: &[u8]) -> Option<Position> {
    pack.find(pack.first()?, member, 2)
}

/// The score of the member at `at`.
fn score_after(pack: Pack<'_>, at: Position) -> f64 {
    pack.next(at).map_or(0.0, |at| score(pack.get(at)))
}

/// The score that an element is. What is no number, as only a payload of strangers has it, counts as 0.
fn score(item: PackItem<'_>) -> f64 {
    match item {
        PackItem::Int(number) => number as f64,
        PackItem::Bytes(text) => num::parse_f64(text).unwrap_or(0.0),
    }
}

/// Members with where they are and their scores.
fn pairs(pack: Pack<'_>) -> impl Iterator<Item = (Position, PackItem<'_>, f64)> {
    let mut at = pack.first();
    std::iter::from_fn(move || {
        let member = at?;
        let value = pack.next(member)?;
        at = pack.next(value);
        Some((member, pack.get(member), score(pack.get(value))))
    })
}

enum Walk<'a> {
    /// The member that `next` would give.
    Pack(Pack<'a>, Position),
    Table(Ranks<'a>),
}

/// Members with their scores, from [`ZsetRef::range`].
pub struct ZsetIter<'a> {
    walk: Walk<'a>,
    left: usize,
    reverse: bool,
}

impl<'a> Iterator for ZsetIter<'a> {
    type Item = (StringRef<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(StringRef<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.walk {
            Walk::Pack(pack, at) => {
                if self.reverse {
                    *at = pack.prev(pack.prev(*at)?)?;
                }
                let member = *at;
                let value = pack.next(member)?;
                if !self.reverse {
                    *at = pack.next(value).unwrap_or_else(|| pack.end());
                }
                Some((pack.get(member).into(), score(pack.get(value))))
            }
            Walk::Table(ranks) => {
                let (member, score) = match self.reverse {
                    true => ranks.back()?,
                    false => ranks.next()?,
                };
                Some((StringRef::Bytes(member), score))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ZsetIter<'_> {}

/// The text of a score in a pack; a text that is an integer becomes one there.
fn score_text(score: f64, text: &mut Vec<u8>) -> &[u8] {
    text.clear();
    // As a pack keeps whole numbers as integers, zero has no sign in it.
    num::push_f64(text, score + 0.0);
    text
}

/// A sorted set for writing.
pub struct ZsetMut<'a> {
    body: BodyMut<'a>,
    limits: Limits,
}

impl<'a> ZsetMut<'a> {
    /// The sorted set that `body` holds; `limits` of the small form count members.
    pub fn new(body: BodyMut<'a>, limits: Limits) -> ZsetMut<'a> {
        ZsetMut { body, limits }
    }

    /// The sorted set for reading.
    pub fn get(&self) -> ZsetRef<'_> {
        ZsetRef::of(self.body.entry())
    }

    /// Gives a member a score, whether it is there or not.
    pub fn set(&mut self, member: &[u8], score: f64) {
        self.update(member, |_| Some(score));
    }

    /// Removes a member: false when it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let mut found = false;
        self.update(member, |old| {
            found = old.is_some();
            None
        });
        found
    }

    /// Gives a member the score that `decide` makes of the one it has (`None`: it is not there); `None` removes it, or
    /// leaves it out. O(members) when small, else O(log n).
    pub fn update(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) {
        let Some((bytes, _)) = self.body.packed() else {
            let (table, domain) = self.table();
            return table.update(domain, member, decide);
        };
        let pack = Pack::of(bytes);
        let found = find(pack, member);
        let old = found.map(|at| score_after(pack, at));
        match (found, decide(old)) {
            (None, None) => {}
            (Some(at), None) => {
                PackMut::of(&mut self.body).remove(at, 2);
            }
            (_, Some(new)) if old == Some(new) => {}
            (Some(at), Some(new)) => {
                PackMut::of(&mut self.body).remove(at, 2);
                self.insert(member, new);
            }
            (None, Some(new))
                if pack.len() / 2 < self.limits.entries && self.limits.takes(member) =>
            {
                self.insert(member, new);
            }
            (None, Some(new)) => {
                self.enlarge();
                self.set(member, new);
            }
        }
    }

    /// Puts a member that is not there into the pack, or, if there is no room, into the table that it becomes.
    fn insert(&mut self, member: &[u8], score: f64) {
        let mut text = Vec::with_capacity(32);
        let text = score_text(score, &mut text);
        if !self
            .body
            .has_room(Pack::encoded_len(member) + Pack::encoded_len(text))
        {
            self.enlarge();
            return self.set(member, score);
        }
        let Some((bytes, _)) = self.body.packed() else {
            unreachable!("the caller has a pack")
        };
        let (pack, mut scratch) = (Pack::of(bytes), [0; 20]);
        let place = pairs(pack).find(|(_, other, other_score)| {
            let order = other_score.partial_cmp(&score).unwrap_or(Ordering::Equal);
            order.then_with(|| other.as_bytes(&mut scratch).cmp(member)) == Ordering::Greater
        });
        let at = place.map_or(pack.end(), |(at, ..)| at);
        PackMut::of(&mut self.body).insert(at, &[member, text]);
    }

    /// Removes the members of these ranks. O(members) when small, else O(members removed · log n).
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        match self.body.packed() {
            Some(_) => {
                let (index, count) = (2 * ranks.start as i64, 2 * ranks.len());
                PackMut::of(&mut self.body).remove_range(index, count);
            }
            None => {
                let (table, domain) = self.table();
                table.remove_range(domain, ranks.start, ranks.end);
            }
        }
    }

    /// Makes room for a first argument list of so many members, the longest of so many bytes: if the small form does
    /// not take them, the set becomes large at once.
    pub fn expect(&mut self, members: usize, longest: usize) {
        if members > self.limits.entries || longest > self.limits.value {
            self.enlarge();
        }
    }

    /// Makes the set large, if it is not.
    pub fn enlarge(&mut self) {
        let Some((bytes, _)) = self.body.packed() else {
            return;
        };
        let owned = bytes.to_vec();
        let (seed, domain) = self.body.seed_and_domain();
        let mut table = ZsetTable::new(seed, domain);
        let mut scratch = [0; 20];
        for (_, member, score) in pairs(Pack::of(&owned)) {
            table.append(domain, member.as_bytes(&mut scratch), score);
        }
        self.body.enlarge(table);
    }

    fn table(&mut self) -> (&mut ZsetTable, &mut crate::container::Domain) {
        match self.body.large() {
            Some((Large::Zset(table), domain)) => (table, domain),
            _ => unreachable!("a sorted set is small or a table"),
        }
    }
}
