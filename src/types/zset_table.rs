//! `ZsetTable`: a large sorted set: a table that finds a member's score and owns the member, and a counted tree that
//! has the members in order.
//!
//! The table's entries have the member as their key and the bits of the score as an integer value. The tree's items are
//! 16 bytes: the score as a number that orders alike, and the address of the table's entry; they stand by score, equal
//! scores by the member's bytes.
//!
//! Invariants:
//! - The tree has one item for each entry of the table, with the entry's address and the order of its score.
//!   [`ZsetTable::update`] and [`ZsetTable::remove_range`] alone change both: an item is taken out of the tree before its
//!   entry is changed, replaced or removed, and put back with the address that the entry then has (an entry that a
//!   snapshot sees is copied when it changes; nothing else moves it, growth of the table least of all).
//! - The items of a snapshot's tree are those of its table: both were frozen at once, and what leaves the table while
//!   the snapshot lives goes to the domain, which keeps it as long.
#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ptr::NonNull;

use crate::base::hash::HashSeed;
use crate::container::{self, CowTable, CowTree, Domain, Item, Owned, TreeIter};

use super::entry::{Entry, Kind, Value};
use super::large::{Blocks, Collection, blocks};
use super::string::StringRef;
use super::table;

/// Members that are removed in one go: what the table has of them is fetched together.
const WINDOW: usize = 16;

/// A large sorted set.
pub struct ZsetTable {
    members: CowTable<Entry>,
    order: CowTree<Ranked>,
}

/// A member where it stands in the order.
struct Ranked {
    /// See [`order_of`].
    order: u64,
    /// Invariant: an entry of the table that the tree belongs to.
    entry: NonNull<Entry>,
}

const _: () = assert!(size_of::<Ranked>() == 16);

// SAFETY: it refers to an entry, which is Send and Sync.
unsafe impl Send for Ranked {}
// SAFETY: shared references only read.
unsafe impl Sync for Ranked {}
// SAFETY: plain bits; the table owns what they refer to.
unsafe impl Item for Ranked {}

impl Ranked {
    fn new(entry: &Entry) -> Ranked {
        Ranked {
            order: order_of(score_of(entry)),
            entry: NonNull::from(entry),
        }
    }

    #[inline]
    fn entry(&self) -> &Entry {
        // SAFETY: the item is borrowed from the tree, so the set is and its table does not change; the table (or, in a
        // snapshot, the domain) keeps the entry.
        unsafe { self.entry.as_ref() }
    }

    #[inline]
    fn compare(&self, order: u64, member: &[u8]) -> Ordering {
        let scores = self.order.cmp(&order);
        scores.then_with(|| self.entry().key().cmp(member))
    }
}

/// A number that orders as the score does; both zeros are one.
#[inline]
fn order_of(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    let sign = (bits as i64 >> 63) as u64;
    bits ^ (sign | 1 << 63)
}

/// The score of a table's entry.
#[inline]
fn score_of(entry: &Entry) -> f64 {
    match entry.string() {
        StringRef::Int(bits) => f64::from_bits(bits as u64),
        StringRef::Bytes(_) | StringRef::Chunked(_) => unreachable!("a score is bits"),
    }
}

fn value_of(score: f64) -> Value<'static> {
    Value::Int(score.to_bits() as i64)
}

impl ZsetTable {
    /// An empty one.
    pub(super) fn new(seed: HashSeed, domain: &Domain) -> ZsetTable {
        ZsetTable {
            members: table::empty(seed, domain),
            order: CowTree::new(domain),
        }
    }

    /// Members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members: entries with the member as key; see [`ZsetTable::score_of`].
    pub fn members(&self) -> &CowTable<Entry> {
        &self.members
    }

    /// The score of one of the [`ZsetTable::members`].
    pub fn score_of(entry: &Entry) -> f64 {
        score_of(entry)
    }

    /// The score of a member. O(1).
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        table::find(&self.members, member).map(score_of)
    }

    /// How many members stand before this one. O(log n).
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let order = order_of(self.score(member)?);
        let found = self.order.find(|item| item.compare(order, member));
        found.ok().map(|rank| rank as usize)
    }

    /// How many members stand before the first for which `before` does not hold; it must hold for those before any for
    /// which it does. O(log n).
    pub fn partition(&self, mut before: impl FnMut(&[u8], f64) -> bool) -> usize {
        let place = self.order.find(|item| {
            let entry = item.entry();
            match before(entry.key(), score_of(entry)) {
                true => Ordering::Less,
                false => Ordering::Greater,
            }
        });
        place.unwrap_or_else(|rank| rank) as usize
    }

    /// Walks the members in order from a rank on; [`Ranks::back`] walks the other way.
    pub fn iter_from(&self, rank: usize) -> Ranks<'_> {
        Ranks(self.order.iter_from(rank as u64))
    }

    /// Gives a member the score that `decide` makes of the one it has (`None`: it is not there); `None` removes it, or
    /// leaves it out.
    pub(super) fn update(
        &mut self,
        domain: &mut Domain,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) {
        let hash = self.members.hasher().hash(member);
        let is_it = |entry: &Entry| entry.key() == member;
        let Some(entry) = self.members.find(hash, is_it) else {
            if let Some(score) = decide(None) {
                let entry = Entry::new(member, value_of(score), None, 0);
                let slot = self.members.insert_new(domain, hash, entry);
                let item = Ranked::new(slot.into_ref());
                self.insert(domain, item);
            }
            return;
        };
        let old = score_of(entry);
        let new = decide(Some(old));
        if new.map(f64::to_bits) == Some(old.to_bits()) {
            return;
        }
        let order = order_of(old);
        let taken = self
            .order
            .remove_by(domain, |item| item.compare(order, member));
        assert!(taken.is_some(), "a member without its place");
        let Some(mut slot) = self.members.find_mut(domain, hash, is_it) else {
            unreachable!("found above")
        };
        let Some(score) = new else {
            slot.remove();
            return;
        };
        if slot.get().fits(&value_of(score), None) {
            let stored = slot.make_mut().try_store(value_of(score), None);
            assert!(stored.is_ok(), "it fits");
        } else {
            slot.replace(Entry::new(member, value_of(score), None, 0));
        }
        let item = Ranked::new(slot.into_ref());
        self.insert(domain, item);
    }

    /// Removes the members from rank `start` to before `end`. O(members that go · log n), or O(members that stay) when
    /// these are far fewer: they are copied, and what was is freed by a helper.
    pub(super) fn remove_range(&mut self, domain: &mut Domain, start: usize, end: usize) {
        let (gone, kept) = (end - start, self.members.len() - (end - start));
        if kept < gone / 2 {
            let (front, back) = (self.order.iter(), self.order.iter_from(end as u64));
            let fresh = self.of_copies(domain, front.take(start).chain(back));
            Blocks::retire(std::mem::replace(self, fresh), domain);
            return;
        }
        let gone = self.order.remove_range(domain, start as u64, end as u64);
        let mut items = gone.iter().peekable();
        let mut window: [(u64, Option<NonNull<Entry>>); WINDOW] = [(0, None); WINDOW];
        while items.peek().is_some() {
            let mut count = 0;
            for (slot, item) in window.iter_mut().zip(items.by_ref()) {
                let hash = self.members.hasher().hash(item.entry().key());
                *slot = (hash, Some(item.entry));
                count += 1;
            }
            let hashes = window.map(|(hash, _)| hash);
            self.members.prefetch(&hashes[..count]);
            for (hash, member) in &window[..count] {
                let is_it = |entry: &Entry| Some(NonNull::from(entry)) == *member;
                let removed = self.members.remove(domain, *hash, is_it);
                assert!(removed.is_some(), "a place without its member");
            }
        }
        Blocks::retire(gone, domain);
    }

    /// Adds a member that is not there, behind all others or, if it belongs elsewhere, where it belongs.
    pub(super) fn append(&mut self, domain: &mut Domain, member: &[u8], score: f64) {
        self.append_entry(domain, Entry::new(member, value_of(score), None, 0));
    }

    /// A set of these members' copies, in the order that they come in, which is theirs.
    fn of_copies<'e>(
        &self,
        domain: &mut Domain,
        items: impl Iterator<Item = &'e Ranked>,
    ) -> ZsetTable {
        let mut copy = ZsetTable {
            members: self.members.new_like(domain),
            order: CowTree::new(domain),
        };
        for item in items {
            copy.append_entry(domain, container::Entry::copy(item.entry()));
        }
        copy
    }

    fn append_entry(&mut self, domain: &mut Domain, entry: Owned<Entry>) {
        let hash = self.members.hasher().hash(entry.key());
        let slot = self.members.insert_new(domain, hash, entry);
        let item = Ranked::new(slot.into_ref());
        let last = self.order.len().checked_sub(1);
        let last = last.and_then(|last| self.order.get(last));
        match last {
            Some(last) if last.compare(item.order, item.entry().key()) == Ordering::Greater => {
                self.insert(domain, item);
            }
            _ => self.order.push(domain, item),
        }
    }

    fn insert(&mut self, domain: &mut Domain, item: Ranked) {
        let place = self.order.insert_by(domain, item, |other, item| {
            other.compare(item.order, item.entry().key())
        });
        assert!(place.is_ok(), "a member has one place");
    }
}

blocks!(ZsetTable { members, order });

impl Collection for ZsetTable {
    const KIND: Kind = Kind::Zset;
    const ENCODING: &'static str = "skiplist";

    fn elements(&self) -> Option<&CowTable<Entry>> {
        Some(&self.members)
    }

    fn count(&self) -> u64 {
        self.members.len() as u64
    }

    fn memory_bytes(&self) -> usize {
        table::memory_bytes(&self.members) + self.order.memory_bytes() as usize
    }

    fn duplicate(&self, domain: &mut Domain) -> ZsetTable {
        self.of_copies(domain, self.order.iter())
    }
}

/// Members with their scores, in order; `next` forwards, `back` backwards, each from where the walk stands.
pub struct Ranks<'a>(TreeIter<'a, Ranked>);

impl<'a> Ranks<'a> {
    /// The member before the walk's place, which moves there.
    pub fn back(&mut self) -> Option<(&'a [u8], f64)> {
        self.0.back().map(pair)
    }
}

impl<'a> Iterator for Ranks<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], f64)> {
        self.0.next().map(pair)
    }
}

#[inline]
fn pair(item: &Ranked) -> (&[u8], f64) {
    let entry = item.entry();
    (entry.key(), score_of(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_those_of_the_scores() {
        let scores = [
            f64::NEG_INFINITY,
            -1e300,
            -1.5,
            -1.0,
            -5e-324,
            0.0,
            5e-324,
            1.0,
            1.5,
            1e300,
            f64::INFINITY,
        ];
        assert!(
            scores
                .windows(2)
                .all(|pair| order_of(pair[0]) < order_of(pair[1]))
        );
        assert_eq!(order_of(0.0), order_of(-0.0));
    }
}
