//! [`Group`]: a consumer group: how far it read, what it delivered and waits to have acknowledged, and its consumers.
//!
//! Invariants:
//! - A pending entry stands once in the group's tree ([`Pending`]), by id, and its id in the tree of the consumer that it
//!   names; by its time too in the order of deliveries, if that was ever asked for ([`Group::delivered_after`]). [`Group::assign`], [`Group::release`] and [`Group::remove_consumer`] alone change both.
//! - Consumers are owned by the tree by number (ascending, never used again); the tree by name has the numbers in the
//!   order of the names.
//! - What is nested in a [`GroupItem`] (trees, consumers) has one owner: the newest copy of the box. Superseded boxes,
//!   which snapshots read, are freed as shells: none of these types frees a tree on drop.
#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ops::Range;

use crate::base::time::UnixMs;
use crate::container::{Copyable, CowBox, CowTree, Domain, Item, TreeIter};
use crate::types::large::Blocks;

use super::id::StreamId;

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Which.
    pub id: StreamId,
    /// When it was delivered last.
    pub delivered_ms: UnixMs,
    /// How often.
    pub count: u64,
    /// To whom: [`Group::consumer_of`].
    pub(super) consumer: u32,
}

const _: () = assert!(size_of::<Pending>() == 40);

impl Pending {
    /// Milliseconds since it was delivered; below 0 when the clock went back. A file may name any time.
    pub fn idle_ms(&self, now: UnixMs) -> i64 {
        now.saturating_sub(self.delivered_ms)
    }

    /// How often once it is delivered again. What replicas are told of it is a signed number.
    pub fn next_count(&self) -> u64 {
        (self.count + 1).min(i64::MAX as u64)
    }
}

/// Of an entry that a loader has not given to a consumer yet.
pub(super) const NOBODY: u32 = u32::MAX;

// SAFETY: plain bits that own nothing.
unsafe impl Item for Pending {}

/// A consumer's pending entries are removed one by one where they are less than this part of the group's; else run by run
/// where the runs are; else the tree is made anew from the others, which costs as much a kept one as 1/16 of a removal.
const REBUILD_SHARE: u64 = 16;

/// A pending entry in the order of deliveries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Delivered {
    at_ms: UnixMs,
    id: StreamId,
}

// SAFETY: plain bits that own nothing.
unsafe impl Item for Delivered {}

impl Delivered {
    fn of(pending: &Pending) -> Delivered {
        Delivered {
            at_ms: pending.delivered_ms,
            id: pending.id,
        }
    }
}

/// A reader of a group.
pub struct Consumer {
    /// Its name.
    pub name: Box<[u8]>,
    /// When it last tried to read.
    pub seen_ms: UnixMs,
    /// When it last got or claimed an entry.
    pub active_ms: Option<UnixMs>,
    pending: CowTree<StreamId>,
}

impl Consumer {
    /// Entries that wait for its acknowledgement.
    pub fn pending_count(&self) -> u64 {
        self.pending.len()
    }

    /// Their ids from `start` on.
    pub fn pending_from(&self, start: StreamId) -> TreeIter<'_, StreamId> {
        let place = self.pending.find(|id| id.cmp(&start));
        self.pending.iter_from(place.unwrap_or_else(|place| place))
    }
}

impl Copyable for Consumer {
    unsafe fn copy(&self) -> Consumer {
        Consumer {
            name: self.name.clone(),
            seen_ms: self.seen_ms,
            active_ms: self.active_ms,
            // SAFETY: the caller's promise; dropping it leaves the tree alone.
            pending: unsafe { self.pending.share() },
        }
    }
}

/// A consumer by its number.
pub(super) struct ConsumerItem {
    number: u32,
    consumer: CowBox<Consumer>,
}

// SAFETY: a pointer without drop glue; `release` frees what it owns.
unsafe impl Item for ConsumerItem {
    unsafe fn release(self) {
        // SAFETY: the caller's promise; the tree has this owner alone.
        unsafe {
            self.consumer.get().pending.share().free();
            self.consumer.free();
        }
    }
}

/// A consumer's number, in the order of names.
#[derive(Clone, Copy)]
pub(super) struct Named(u32);

// SAFETY: plain bits that own nothing.
unsafe impl Item for Named {}

/// A consumer group.
pub struct Group {
    /// Its name.
    pub name: Box<[u8]>,
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many of all entries ever added it has read, where that is known.
    pub entries_read: Option<u64>,
    pending: CowTree<Pending>,
    /// All of `pending` by the time of delivery, from the first time that is asked for on: most groups never need it.
    by_time: Option<CowTree<Delivered>>,
    consumers: CowTree<ConsumerItem>,
    names: CowTree<Named>,
    /// The number of the next consumer.
    next_number: u32,
}

impl Copyable for Group {
    unsafe fn copy(&self) -> Group {
        Group {
            name: self.name.clone(),
            last_id: self.last_id,
            entries_read: self.entries_read,
            // SAFETY: as in `Consumer::copy`.
            pending: unsafe { self.pending.share() },
            // SAFETY: as above.
            by_time: self.by_time.as_ref().map(|tree| unsafe { tree.share() }),
            // SAFETY: as above.
            consumers: unsafe { self.consumers.share() },
            // SAFETY: as above.
            names: unsafe { self.names.share() },
            next_number: self.next_number,
        }
    }
}

/// Names a consumer of a group: its number, which is not given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerKey(u32);

impl Group {
    /// A group without consumers.
    pub(super) fn new(
        domain: &Domain,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Group {
        Group {
            name: name.into(),
            last_id,
            entries_read,
            pending: CowTree::new(domain),
            by_time: None,
            consumers: CowTree::new(domain),
            names: CowTree::new(domain),
            next_number: 0,
        }
    }

    /// Entries that wait for acknowledgement.
    pub fn pending_count(&self) -> u64 {
        self.pending.len()
    }

    /// The first of them, and the last.
    pub fn pending_ends(&self) -> Option<(StreamId, StreamId)> {
        let first = self.pending.get(0)?;
        let last = self.pending.get(self.pending.len() - 1)?;
        Some((first.id, last.id))
    }

    /// Them from `start` on.
    pub fn pending_from(&self, start: StreamId) -> TreeIter<'_, Pending> {
        let place = self.pending.find(|pending| pending.id.cmp(&start));
        self.pending.iter_from(place.unwrap_or_else(|place| place))
    }

    /// One of them.
    #[inline]
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get_by(|pending| pending.id.cmp(&id))
    }

    /// Whether an entry may still be delivered or acknowledged.
    pub fn refers_to(&self, id: StreamId) -> bool {
        id > self.last_id || self.pending(id).is_some()
    }

    /// How many consumers there are.
    pub fn consumer_count(&self) -> u64 {
        self.consumers.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (ConsumerKey, &Consumer)> {
        self.names
            .iter()
            .map(|name| (ConsumerKey(name.0), self.consumer(ConsumerKey(name.0))))
    }

    fn place_of(&self, number: u32) -> Option<u64> {
        self.consumers.find(|item| item.number.cmp(&number)).ok()
    }

    /// A consumer that is there.
    #[inline]
    pub fn consumer(&self, key: ConsumerKey) -> &Consumer {
        let found = self.consumers.get_by(|item| item.number.cmp(&key.0));
        let Some(item) = found else {
            unreachable!("a number has its consumer")
        };
        item.consumer.get()
    }

    /// Whose a pending entry is.
    pub fn consumer_of(&self, pending: &Pending) -> ConsumerKey {
        ConsumerKey(pending.consumer)
    }

    fn name_place(&self, name: &[u8]) -> Result<u64, u64> {
        self.names
            .find(|other| (*self.consumer(ConsumerKey(other.0)).name).cmp(name))
    }

    /// The consumer of a name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerKey> {
        let place = self.name_place(name).ok()?;
        self.names.get(place).map(|name| ConsumerKey(name.0))
    }

    /// Makes a consumer; None when the name is taken, or no number is left.
    pub fn add_consumer(
        &mut self,
        domain: &mut Domain,
        name: &[u8],
        seen_ms: UnixMs,
        active_ms: Option<UnixMs>,
    ) -> Option<ConsumerKey> {
        let place = self.name_place(name).err()?;
        let number = self.next_number;
        if number == NOBODY {
            return None;
        }
        self.next_number += 1;
        let consumer = Consumer {
            name: name.into(),
            seen_ms,
            active_ms,
            pending: CowTree::new(domain),
        };
        let consumer = CowBox::new(domain, consumer);
        self.consumers
            .push(domain, ConsumerItem { number, consumer });
        self.names.insert_at(domain, place, Named(number));
        Some(ConsumerKey(number))
    }

    /// Changes a consumer that is there.
    pub fn update_consumer<R>(
        &mut self,
        domain: &mut Domain,
        key: ConsumerKey,
        change: impl FnOnce(&mut Consumer) -> R,
    ) -> R {
        self.edit(domain, key, |consumer, _| change(consumer))
    }

    fn edit<R>(
        &mut self,
        domain: &mut Domain,
        key: ConsumerKey,
        change: impl FnOnce(&mut Consumer, &mut Domain) -> R,
    ) -> R {
        let Some(place) = self.place_of(key.0) else {
            unreachable!("a number has its consumer")
        };
        self.consumers.update(domain, place, |item, domain| {
            let consumer = item.consumer.get_mut(domain);
            change(consumer, domain)
        })
    }

    /// Removes a consumer with its pending entries; how many these were. O(its entries · log n), or O(n) when these are
    /// many of the n that the group has.
    pub fn remove_consumer(&mut self, domain: &mut Domain, key: ConsumerKey) -> u64 {
        let consumer = self.consumer(key);
        let count = consumer.pending_count();
        let name = self.name_place(&consumer.name);
        if count > 0 {
            self.forget_by_time(domain);
            self.remove_pending_of(domain, key);
        }
        if let (Ok(name), Some(place)) = (name, self.place_of(key.0)) {
            self.names.remove_at(domain, name);
            let item = self.consumers.remove_at(domain, place);
            // SAFETY: the box, whose tree this was, is given up below.
            let tree = unsafe { item.consumer.get().pending.share() };
            item.consumer.retire(domain);
            Blocks::retire(tree, domain);
        }
        count
    }

    /// The group's part of [`Group::remove_consumer`].
    fn remove_pending_of(&mut self, domain: &mut Domain, key: ConsumerKey) {
        let ids = &self.consumer(key).pending;
        let (count, all) = (ids.len(), self.pending.len());
        if count * REBUILD_SHARE < all {
            let ids: Vec<StreamId> = ids.iter().copied().collect();
            for id in ids {
                let removed = self
                    .pending
                    .remove_by(domain, |pending| pending.id.cmp(&id));
                assert!(removed.is_some(), "a consumer's entry is its group's");
            }
            return;
        }
        let runs = self.runs_of(key);
        if runs.len() as u64 * REBUILD_SHARE < all {
            for run in runs.into_iter().rev() {
                let gone = self.pending.remove_range(domain, run.start, run.end);
                Blocks::retire(gone, domain);
            }
        } else {
            let others = self.pending.iter().filter(|one| one.consumer != key.0);
            let others = CowTree::of_items(domain, others.copied());
            Blocks::retire(std::mem::replace(&mut self.pending, others), domain);
        }
        assert!(
            self.pending.len() + count == all,
            "a consumer's entry is its group's"
        );
    }

    /// Where a consumer's entries stand among the group's.
    fn runs_of(&self, key: ConsumerKey) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (at, pending) in (0..).zip(self.pending.iter()) {
            if pending.consumer != key.0 {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end == at => run.end += 1,
                _ => runs.push(at..at + 1),
            }
        }
        runs
    }

    /// Gives an entry to a consumer, whether it is pending already or not.
    pub fn assign(
        &mut self,
        domain: &mut Domain,
        key: ConsumerKey,
        id: StreamId,
        delivered_ms: UnixMs,
        count: u64,
    ) {
        let fresh = Pending {
            id,
            delivered_ms,
            count,
            consumer: key.0,
        };
        // Most are new, and behind all others.
        let last = self.pending.len().checked_sub(1);
        let last = last.and_then(|last| self.pending.get(last));
        let place = match last {
            Some(last) if last.id >= id => self.pending.find(|pending| pending.id.cmp(&id)),
            _ => Err(self.pending.len()),
        };
        let old = match place {
            Ok(place) => Some(self.pending.update(domain, place, |pending, _| {
                std::mem::replace(pending, fresh)
            })),
            Err(place) => {
                self.pending.insert_at(domain, place, fresh);
                None
            }
        };
        self.delivered_again(domain, old.as_ref(), Some(&fresh));
        let before = old.map_or(NOBODY, |old| old.consumer);
        if before == key.0 {
            return;
        }
        if before != NOBODY {
            self.forget(domain, ConsumerKey(before), id);
        }
        self.edit(domain, key, |consumer, domain| {
            let tree = &mut consumer.pending;
            let place = match tree.len().checked_sub(1).and_then(|last| tree.get(last)) {
                Some(last) if *last >= id => tree.find(|other| other.cmp(&id)).err(),
                _ => Some(tree.len()),
            };
            if let Some(place) = place {
                tree.insert_at(domain, place, id);
            }
        });
    }

    fn forget(&mut self, domain: &mut Domain, key: ConsumerKey, id: StreamId) {
        let removed = self.edit(domain, key, |consumer, domain| {
            consumer.pending.remove_by(domain, |other| other.cmp(&id))
        });
        assert!(removed.is_some(), "a pending entry is its consumer's");
    }

    /// An entry is pending no more; false when it was not.
    pub fn release(&mut self, domain: &mut Domain, id: StreamId) -> bool {
        let removed = self
            .pending
            .remove_by(domain, |pending| pending.id.cmp(&id));
        let Some((_, pending)) = removed else {
            return false;
        };
        self.delivered_again(domain, Some(&pending), None);
        self.forget(domain, ConsumerKey(pending.consumer), id);
        true
    }

    /// The pending entries that were delivered behind `after`, in that order, each with its time; all without one. The
    /// first call makes the order: O(n log n).
    pub fn delivered_after(
        &mut self,
        domain: &mut Domain,
        after: Option<(UnixMs, StreamId)>,
    ) -> impl Iterator<Item = (UnixMs, StreamId)> + use<'_> {
        let pending = &self.pending;
        let tree = self.by_time.get_or_insert_with(|| {
            let mut items: Vec<Delivered> = pending.iter().map(Delivered::of).collect();
            items.sort_unstable();
            CowTree::of_items(domain, items)
        });
        let place = after.map_or(0, |(at_ms, id)| {
            let after = Delivered { at_ms, id };
            let found = tree.find(|item| item.cmp(&after));
            found.map_or_else(|place| place, |place| place + 1)
        });
        tree.iter_from(place).map(|item| (item.at_ms, item.id))
    }

    /// Keeps the order of deliveries, if there is one.
    fn delivered_again(
        &mut self,
        domain: &mut Domain,
        old: Option<&Pending>,
        new: Option<&Pending>,
    ) {
        let Some(tree) = &mut self.by_time else {
            return;
        };
        if let Some(old) = old.map(Delivered::of) {
            let removed = tree.remove_by(domain, |item| item.cmp(&old));
            assert!(removed.is_some(), "a pending entry without its time");
        }
        if let Some(new) = new.map(Delivered::of) {
            let placed = tree.insert_by(domain, new, Ord::cmp);
            assert!(placed.is_ok(), "two deliveries of one entry");
        }
    }

    /// The order of deliveries is made anew when it is asked for.
    fn forget_by_time(&mut self, domain: &mut Domain) {
        if let Some(tree) = self.by_time.take() {
            Blocks::retire(tree, domain);
        }
    }

    /// For a loader: an entry that nobody has yet; false when it is there already.
    pub(super) fn load_pending(&mut self, domain: &mut Domain, pending: Pending) -> bool {
        self.forget_by_time(domain);
        let inserted = self
            .pending
            .insert_by(domain, pending, |a, b| a.id.cmp(&b.id));
        inserted.is_ok()
    }

    /// For a loader: gives an entry that nobody has to a consumer; false when there is none such.
    pub(super) fn load_owned(
        &mut self,
        domain: &mut Domain,
        key: ConsumerKey,
        id: StreamId,
    ) -> bool {
        match self.pending(id).copied() {
            Some(pending) if pending.consumer == NOBODY => {
                self.assign(domain, key, id, pending.delivered_ms, pending.count);
                true
            }
            _ => false,
        }
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        let consumers: usize = self
            .consumers()
            .map(|(_, consumer)| {
                size_of::<Consumer>()
                    + 8
                    + consumer.name.len()
                    + consumer.pending.memory_bytes() as usize
            })
            .sum();
        let by_time = self.by_time.as_ref().map_or(0, CowTree::memory_bytes);
        let trees = self.pending.memory_bytes()
            + by_time
            + self.consumers.memory_bytes()
            + self.names.memory_bytes();
        size_of::<Group>() + 8 + self.name.len() + trees as usize + consumers
    }

    /// A deep copy.
    fn duplicate(&self, domain: &mut Domain) -> Group {
        let mut copy = Group::new(domain, &self.name, self.last_id, self.entries_read);
        copy.next_number = self.next_number;
        copy.pending = CowTree::of_items(domain, self.pending.iter().copied());
        for item in self.consumers.iter() {
            let consumer = item.consumer.get();
            let pending = CowTree::of_items(domain, consumer.pending.iter().copied());
            let consumer = Consumer {
                name: consumer.name.clone(),
                seen_ms: consumer.seen_ms,
                active_ms: consumer.active_ms,
                pending,
            };
            let consumer = CowBox::new(domain, consumer);
            let number = item.number;
            copy.consumers
                .push(domain, ConsumerItem { number, consumer });
        }
        for name in self.names.iter() {
            copy.names.push(domain, *name);
        }
        copy
    }
}

/// A group in its stream.
pub(super) struct GroupItem {
    group: CowBox<Group>,
}

// SAFETY: a pointer without drop glue; `release` frees what it owns.
unsafe impl Item for GroupItem {
    unsafe fn release(self) {
        // SAFETY: the caller's promise; the trees have this owner alone.
        unsafe {
            let group = self.group.get();
            group.pending.share().free();
            if let Some(by_time) = &group.by_time {
                by_time.share().free();
            }
            group.consumers.share().free();
            group.names.share().free();
            self.group.free();
        }
    }
}

impl GroupItem {
    pub fn new(domain: &mut Domain, group: Group) -> GroupItem {
        let group = CowBox::new(domain, group);
        GroupItem { group }
    }

    #[inline]
    pub fn get(&self) -> &Group {
        self.group.get()
    }

    #[inline]
    pub fn get_mut(&mut self, domain: &mut Domain) -> &mut Group {
        self.group.get_mut(domain)
    }

    pub fn compare(&self, name: &[u8]) -> Ordering {
        (*self.get().name).cmp(name)
    }

    pub fn duplicate(&self, domain: &mut Domain) -> GroupItem {
        let copy = self.get().duplicate(domain);
        GroupItem::new(domain, copy)
    }

    /// Gives the group up with all it has.
    pub fn retire(self, domain: &mut Domain) {
        let group = self.group.get();
        // SAFETY: the box, whose trees these were, is given up below.
        let (pending, by_time, consumers, names) = unsafe {
            (
                group.pending.share(),
                group.by_time.as_ref().map(|tree| tree.share()),
                group.consumers.share(),
                group.names.share(),
            )
        };
        // The consumers own trees with as many entries.
        let entries = pending.len();
        self.group.retire(domain);
        Blocks::retire(pending, domain);
        if let Some(by_time) = by_time {
            Blocks::retire(by_time, domain);
        }
        let garbage = consumers.retire(domain);
        domain.free_later(garbage, entries.max(names.len()));
        Blocks::retire(names, domain);
    }
}
