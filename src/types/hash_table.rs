//! `HashTable`: a large hash: a table of its fields, and a counted tree of those that have a deadline, in its order.
//!
//! The table's entries have the field as their key; a field's deadline is its entry's. The tree's items are 16 bytes: the
//! deadline with some bits of the field's hash, and the address of the table's entry. A hash without deadlines has an empty tree,
//! which costs nothing.
//!
//! Invariants:
//! - The tree has one item for each entry of the table that has a deadline, with both. An item is taken out of the tree
//!   before its entry is changed, replaced or removed, and put back with the address that the entry then has (an entry
//!   that a snapshot sees is copied when it changes; nothing else moves it, growth of the table least of all).
//! - The items of a snapshot's tree are those of its table: both were frozen at once, and what leaves the table while
//!   the snapshot lives goes to the domain, which keeps it as long.
#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ptr::NonNull;

use crate::base::hash::HashSeed;
use crate::base::time::UnixMs;
use crate::container::{self, CowTable, CowTree, Domain, EntryMut, Item, Lookup};

use super::entry::{Entry, Kind, Value};
use super::large::{Collection, blocks};
use super::table;
use super::times::{DEADLINE_MAX, Ttl};

/// A large hash.
pub struct HashTable {
    fields: CowTable<Entry>,
    order: CowTree<Timed>,
}

/// A field where it stands in the order of the deadlines; equal ones by bits of its hash, then by its name, so that the
/// order is the same in every run.
#[derive(Clone, Copy)]
struct Timed {
    /// The deadline, and [`HASH_BITS`] of the hash below it.
    order: u64,
    /// Invariant: an entry of the table that the tree belongs to.
    entry: NonNull<Entry>,
}

const _: () = assert!(size_of::<Timed>() == 16);

/// A million fields with one deadline are told apart by these and a few looks at names.
const HASH_BITS: u32 = 16;
const _: () = assert!(DEADLINE_MAX >> (64 - HASH_BITS) == 0);

// SAFETY: it refers to an entry, which is Send and Sync.
unsafe impl Send for Timed {}
// SAFETY: shared references only read.
unsafe impl Sync for Timed {}
// SAFETY: plain bits; the table owns what they refer to.
unsafe impl Item for Timed {}

impl Timed {
    /// None when the entry, whose name has this hash, has no deadline.
    fn of(entry: &Entry, hash: u64) -> Option<Timed> {
        let deadline = entry.expire_at()?;
        assert!((0..=DEADLINE_MAX).contains(&deadline), "a field's deadline");
        Some(Timed {
            order: (deadline as u64) << HASH_BITS | hash >> (64 - HASH_BITS),
            entry: NonNull::from(entry),
        })
    }

    fn deadline(&self) -> UnixMs {
        (self.order >> HASH_BITS) as UnixMs
    }

    fn compare(&self, other: &Timed) -> Ordering {
        let name = |item: &Timed| {
            // SAFETY: the entry is the table's, and alive as long as the tree has the item.
            unsafe { item.entry.as_ref() }.key()
        };
        let order = self.order.cmp(&other.order);
        order.then_with(|| match self.entry == other.entry {
            true => Ordering::Equal,
            false => name(self).cmp(name(other)),
        })
    }
}

impl HashTable {
    /// An empty one.
    pub(super) fn new(seed: HashSeed, domain: &Domain) -> HashTable {
        HashTable {
            fields: table::empty(seed, domain),
            order: CowTree::new(domain),
        }
    }

    /// A field: an entry with the field as its key.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<&Entry> {
        table::find(&self.fields, field)
    }

    /// The fields: entries with the field as key.
    pub fn fields(&self) -> &CowTable<Entry> {
        &self.fields
    }

    /// Fields that have a deadline.
    #[inline]
    pub fn timed(&self) -> usize {
        self.order.len() as usize
    }

    /// Fields whose deadline is before `now`. O(log n).
    pub fn due(&self, now: UnixMs) -> usize {
        if self.first().is_none_or(|first| first >= now) {
            return 0;
        }
        let place = self.order.find(|item| match item.deadline() < now {
            true => Ordering::Less,
            false => Ordering::Greater,
        });
        place.unwrap_or_else(|rank| rank) as usize
    }

    /// The first deadline. O(log n).
    #[inline]
    pub fn first(&self) -> Option<UnixMs> {
        self.order.get(0).map(Timed::deadline)
    }

    /// The last deadline, if every field has one. O(log n).
    #[inline]
    pub fn last(&self) -> Option<UnixMs> {
        if self.order.is_empty() || self.timed() < self.fields.len() {
            return None;
        }
        self.order.get(self.order.len() - 1).map(Timed::deadline)
    }

    /// Sets a field and what becomes of its deadline: true when the field is new.
    pub(super) fn set(
        &mut self,
        domain: &mut Domain,
        field: &[u8],
        value: &[u8],
        ttl: Ttl,
    ) -> bool {
        if self.order.is_empty() && !matches!(ttl, Ttl::At(_)) {
            return table::store(&mut self.fields, domain, field, Value::of(value));
        }
        let hash = self.fields.hasher().hash(field);
        match self
            .fields
            .lookup(domain, hash, |entry| entry.key() == field)
        {
            Lookup::Vacant(vacant) => {
                let entry = Entry::new(field, Value::of(value), ttl.resolve(None), 0);
                let item = Timed::of(vacant.insert(entry).into_ref(), hash);
                put_in(&mut self.order, domain, item);
                true
            }
            Lookup::Occupied(mut slot) => {
                let deadline = ttl.resolve(slot.get().expire_at());
                take_out(&mut self.order, &mut slot, hash);
                let value = Value::of(value);
                let value = match slot.get().fits(&value, deadline) {
                    true => slot.make_mut().try_store(value, deadline).err(),
                    false => Some(value),
                };
                if let Some(value) = value {
                    slot.replace(Entry::new(field, value, deadline, 0));
                }
                let item = Timed::of(slot.into_ref(), hash);
                put_in(&mut self.order, domain, item);
                false
            }
        }
    }

    /// Gives a field a deadline, or takes it off; false when there is no such field.
    pub(super) fn set_deadline(
        &mut self,
        domain: &mut Domain,
        field: &[u8],
        deadline: Option<UnixMs>,
    ) -> bool {
        let hash = self.fields.hasher().hash(field);
        let found = self
            .fields
            .find_mut(domain, hash, |entry| entry.key() == field);
        let Some(mut slot) = found else {
            return false;
        };
        if slot.get().expire_at() == deadline {
            return true;
        }
        take_out(&mut self.order, &mut slot, hash);
        if !slot.make_mut().try_expire(deadline) {
            slot.reallocate(|entry| Entry::with_expire(entry, deadline));
        }
        let item = Timed::of(slot.into_ref(), hash);
        put_in(&mut self.order, domain, item);
        true
    }

    /// Removes a field: false when it is not there.
    pub(super) fn remove(&mut self, domain: &mut Domain, field: &[u8]) -> bool {
        let hash = self.fields.hasher().hash(field);
        let found = self
            .fields
            .find_mut(domain, hash, |entry| entry.key() == field);
        let Some(mut slot) = found else {
            return false;
        };
        take_out(&mut self.order, &mut slot, hash);
        slot.remove();
        true
    }

    /// Removes the field with the first deadline if that is before `now`, and puts its name in `name`.
    pub(super) fn pop_due(&mut self, domain: &mut Domain, now: UnixMs, name: &mut Vec<u8>) -> bool {
        let Some(&first) = self.order.get(0) else {
            return false;
        };
        if first.deadline() >= now {
            return false;
        }
        let entry = first.entry;
        self.order.remove_at(domain, 0);
        name.clear();
        // SAFETY: the entry is the table's until it is removed below.
        name.extend_from_slice(unsafe { entry.as_ref() }.key());
        let hash = self.fields.hasher().hash(name);
        let removed = self
            .fields
            .remove(domain, hash, |other| NonNull::from(other) == entry);
        assert!(removed.is_some(), "a deadline without its field");
        true
    }
}

/// Takes the deadline of the entry in `slot` out of the order, before the entry changes.
fn take_out(order: &mut CowTree<Timed>, slot: &mut EntryMut<'_, Entry>, hash: u64) {
    if let Some(item) = Timed::of(slot.get(), hash) {
        let taken = order.remove_by(slot.domain(), |other| other.compare(&item));
        assert!(taken.is_some(), "a field without its deadline");
    }
}

fn put_in(order: &mut CowTree<Timed>, domain: &mut Domain, item: Option<Timed>) {
    if let Some(item) = item {
        let placed = order.insert_by(domain, item, Timed::compare);
        assert!(placed.is_ok(), "two deadlines of one field");
    }
}

blocks!(HashTable { fields, order });

impl Collection for HashTable {
    const KIND: Kind = Kind::Hash;
    const ENCODING: &'static str = "hashtable";

    fn elements(&self) -> Option<&CowTable<Entry>> {
        Some(&self.fields)
    }

    fn count(&self) -> u64 {
        self.fields.len() as u64
    }

    fn memory_bytes(&self) -> usize {
        table::memory_bytes(&self.fields) + self.order.memory_bytes() as usize
    }

    fn duplicate(&self, domain: &mut Domain) -> HashTable {
        let mut fields = self.fields.new_like(domain);
        let mut items = Vec::with_capacity(self.timed());
        self.fields.for_each(|entry| {
            let hash = self.fields.hasher().hash(entry.key());
            let slot = fields.insert_new(domain, hash, container::Entry::copy(entry));
            items.extend(Timed::of(slot.into_ref(), hash));
        });
        items.sort_unstable_by(Timed::compare);
        let order = CowTree::of_items(domain, items);
        HashTable { fields, order }
    }
}
