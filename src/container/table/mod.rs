//! `CowTable`: a hash table whose snapshots cost O(1), by extendible hashing over 512-byte segments.
//!
//! [`segment`] draws a segment, [`directory`] the two levels above it and the read paths. This file
//! has the public interface; [`grow`] has what changes the structure (insert, split, merge),
//! [`scan`] cursors and random elements, [`view`] the helpers' side.
//!
//! Invariants:
//! - Uniqueness is the caller's: look up (or [`CowTable::lookup`]), then insert.
//! - Every change makes its path its own first, from the top down: top, chunk, segment, each copied
//!   if frozen. A segment that is not frozen hangs under a chunk and a top that are not either.
//! - An entry's pointer is stable until it is copied, replaced or reallocated; keep hashes, never
//!   references, across changes.
//! - All changes go through one [`Domain`], the one given to [`CowTable::new`] (asserted).
#![allow(unsafe_code)]

mod directory;
mod grow;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod view;

use std::ptr::NonNull;
use std::sync::Arc;

use super::domain::{Domain, Garbage, Shared};
use super::entry::{Entry, Owned, free_entry, free_entry_shell};
use directory::{Place, Root};
use segment::Slot;

pub use view::TableView;

/// A hash table of owned entries with copy-on-write snapshots.
pub struct CowTable<E: Entry> {
    root: Root<E>,
    len: usize,
    /// Segments, those in chains included; 0 in an empty table.
    segments: usize,
    /// Chunks whose prefix is as long as the top's index: while there is one, the top cannot halve.
    full_chunks: usize,
    /// Bytes of top and chunks.
    directory_bytes: usize,
    hasher: E::Hasher,
    cursor_key: u64,
    shared: Arc<Shared>,
}

// SAFETY: it owns its entries, which are Send and Sync; blocks are plain memory.
unsafe impl<E: Entry> Send for CowTable<E> {}
// SAFETY: shared references only read.
unsafe impl<E: Entry> Sync for CowTable<E> {}

/// What [`CowTable::lookup`] found.
pub enum Lookup<'t, E: Entry> {
    /// The entry is there.
    Occupied(EntryMut<'t, E>),
    /// It is not: insert it without another search.
    Vacant(VacantEntry<'t, E>),
}

/// What became of an entry that a change took out of the table.
pub enum Removed<E: Entry> {
    /// No snapshot sees it: the caller owns it (drop it, or let a helper do so if it is large).
    Owned(Owned<E>),
    /// A snapshot sees it or its blocks; the domain keeps it.
    Retired,
}

impl<E: Entry> CowTable<E> {
    /// An empty table (without allocations). `hasher` computes entries' hashes when the table must
    /// know more bits; `cursor_key` scrambles scan cursors.
    pub fn new(domain: &Domain, hasher: E::Hasher, cursor_key: u64) -> CowTable<E> {
        CowTable {
            root: Root::empty(),
            len: 0,
            segments: 0,
            full_chunks: 0,
            directory_bytes: 0,
            hasher,
            cursor_key,
            shared: Arc::clone(domain.shared()),
        }
    }

    /// An empty table with this one's hasher and cursor key.
    pub fn new_like(&self, domain: &Domain) -> CowTable<E> {
        CowTable::new(domain, self.hasher.clone(), self.cursor_key)
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hasher given to [`CowTable::new`].
    pub fn hasher(&self) -> &E::Hasher {
        &self.hasher
    }

    /// Bytes of segments and directory; entries come on top.
    pub fn memory_bytes(&self) -> usize {
        self.segments * size_of::<segment::Segment>() + self.directory_bytes
    }

    /// How many entries the segments have places for.
    pub fn capacity(&self) -> usize {
        self.segments * segment::SLOTS
    }

    /// The entry with this hash for which `equal` holds.
    #[inline]
    pub fn find(&self, hash: u64, equal: impl FnMut(&E) -> bool) -> Option<&E> {
        self.root.find(hash, equal).map(|(_, entry)| entry)
    }

    /// Looks an entry up to change it.
    #[inline]
    pub fn find_mut<'t>(
        &'t mut self,
        domain: &'t mut Domain,
        hash: u64,
        equal: impl FnMut(&E) -> bool,
    ) -> Option<EntryMut<'t, E>> {
        let place = self.root.find(hash, equal)?.0;
        self.assert_domain(domain);
        Some(EntryMut {
            table: self,
            domain,
            hash,
            place,
        })
    }

    /// Looks an entry up to change or insert it.
    #[inline]
    pub fn lookup<'t>(
        &'t mut self,
        domain: &'t mut Domain,
        hash: u64,
        equal: impl FnMut(&E) -> bool,
    ) -> Lookup<'t, E> {
        self.assert_domain(domain);
        match self.root.find(hash, equal).map(|(place, _)| place) {
            Some(place) => Lookup::Occupied(EntryMut {
                table: self,
                domain,
                hash,
                place,
            }),
            None => Lookup::Vacant(VacantEntry {
                table: self,
                domain,
                hash,
            }),
        }
    }

    /// The entry for writing: copied first if a snapshot may see it.
    #[inline]
    pub fn entry_mut<'t>(
        &'t mut self,
        domain: &'t mut Domain,
        hash: u64,
        equal: impl FnMut(&E) -> bool,
    ) -> Option<&'t mut E> {
        self.find_mut(domain, hash, equal).map(EntryMut::into_mut)
    }

    /// Inserts an entry that is not in the table (the caller has looked).
    pub fn insert_new<'t>(
        &'t mut self,
        domain: &'t mut Domain,
        hash: u64,
        entry: Owned<E>,
    ) -> EntryMut<'t, E> {
        self.assert_domain(domain);
        let place = self.place_new(domain, hash, entry);
        EntryMut {
            table: self,
            domain,
            hash,
            place,
        }
    }

    /// Inserts an entry, or puts it in the place of the one for which `equal` holds.
    pub fn insert(
        &mut self,
        domain: &mut Domain,
        hash: u64,
        entry: Owned<E>,
        equal: impl FnMut(&E) -> bool,
    ) -> Option<Removed<E>> {
        match self.lookup(domain, hash, equal) {
            Lookup::Occupied(mut old) => Some(old.replace(entry)),
            Lookup::Vacant(vacant) => {
                vacant.insert(entry);
                None
            }
        }
    }

    /// Removes the entry for which `equal` holds.
    pub fn remove(
        &mut self,
        domain: &mut Domain,
        hash: u64,
        equal: impl FnMut(&E) -> bool,
    ) -> Option<Removed<E>> {
        self.find_mut(domain, hash, equal).map(EntryMut::remove)
    }

    /// Stage 1 of a look-up to come: asks for the directory chunk's line.
    #[inline]
    pub fn prefetch_directory(&self, hash: u64) {
        self.root.prefetch_directory(hash);
    }

    /// Stage 2: asks for the segment's tags and its likely slot line.
    #[inline]
    pub fn prefetch_segment(&self, hash: u64) {
        self.root.prefetch_segment(hash);
    }

    /// Stage 3: asks for the entry.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.root.prefetch_entry(hash);
    }

    /// All three stages for a window of hashes (16 is a good size), each over the whole window.
    #[inline]
    pub fn prefetch(&self, hashes: &[u64]) {
        hashes
            .iter()
            .for_each(|&hash| self.root.prefetch_directory(hash));
        hashes
            .iter()
            .for_each(|&hash| self.root.prefetch_segment(hash));
        hashes
            .iter()
            .for_each(|&hash| self.root.prefetch_entry(hash));
    }

    /// Visits all entries in the order of their hash prefixes.
    pub fn for_each<'t>(&'t self, mut visitor: impl FnMut(&'t E)) {
        let mut next = Some(0);
        while let Some(hash) = next {
            self.root.visit(hash, &mut visitor);
            next = self.root.after(hash);
        }
    }

    /// Visits the entries of one segment, that of the hash prefix `at` (start with 0), and returns where to go on: a walk
    /// that may stop. The segment that comes next is on its way into the cache meanwhile.
    #[inline]
    pub fn visit_segment<'t>(&'t self, at: u64, mut visitor: impl FnMut(&'t E)) -> Option<u64> {
        let next = self.root.after(at);
        if let Some(next) = next {
            self.root.prefetch_segment(next);
        }
        self.root.visit(at, &mut visitor);
        next
    }

    /// Gives the whole table up: to the snapshots that may see it, or as garbage for a helper.
    pub fn retire(mut self, domain: &mut Domain) -> Option<Garbage> {
        self.assert_domain(domain);
        domain.write_epoch();
        let bytes = self.memory_bytes();
        let root = std::mem::replace(&mut self.root, Root::empty());
        if root.is_empty() {
            return None;
        }
        let boxed = NonNull::from(Box::leak(Box::new(root))).cast();
        // SAFETY: the root was taken out of the table: nothing but old snapshots reaches it.
        unsafe { domain.retire_whole(boxed, bytes, free_root::<E>) }
    }

    /// A second handle to the same blocks.
    ///
    /// # Safety
    /// Only one of the two goes on as the owner: the other is read, and ends with [`CowTable::forget`] (as the field of
    /// a frozen block does).
    pub unsafe fn share(&self) -> CowTable<E> {
        CowTable {
            root: self.root,
            len: self.len,
            segments: self.segments,
            full_chunks: self.full_chunks,
            directory_bytes: self.directory_bytes,
            hasher: self.hasher.clone(),
            cursor_key: self.cursor_key,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Drops a handle whose blocks have another owner.
    pub fn forget(mut self) {
        self.root = Root::empty();
    }

    /// Frees the table with its entries.
    ///
    /// # Safety
    /// It is the owner, and no snapshot sees any of it.
    pub unsafe fn free(mut self) {
        let root = std::mem::replace(&mut self.root, Root::empty());
        // SAFETY: the caller's promise.
        unsafe { root.free() }
    }

    #[inline]
    fn assert_domain(&self, domain: &Domain) {
        assert!(
            Arc::ptr_eq(&self.shared, domain.shared()),
            "a table of another domain"
        );
    }
}

impl<E: Entry> Drop for CowTable<E> {
    /// Without a domain at hand: frees at once when no snapshot is alive anywhere, else leaves the
    /// table to the domain's next [`Domain::collect`]. Prefer [`CowTable::retire`].
    fn drop(&mut self) {
        if self.root.is_empty() {
            return;
        }
        // SAFETY: the table is the only owner; snapshots are alive or not, as asked.
        unsafe {
            if self.shared.is_quiet() {
                self.root.free();
            } else {
                let boxed = NonNull::from(Box::leak(Box::new(self.root))).cast();
                self.shared
                    .adopt(boxed, self.memory_bytes(), free_root::<E>);
            }
        }
    }
}

/// # Safety
/// `block` is a leaked box of a root that was given up and that nobody sees.
unsafe fn free_root<E: Entry>(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { Box::from_raw(block.cast::<Root<E>>().as_ptr()).free() }
}

/// The place of an entry that is not there.
pub struct VacantEntry<'t, E: Entry> {
    table: &'t mut CowTable<E>,
    domain: &'t mut Domain,
    hash: u64,
}

impl<'t, E: Entry> VacantEntry<'t, E> {
    /// Inserts it.
    pub fn insert(self, entry: Owned<E>) -> EntryMut<'t, E> {
        let place = self.table.place_new(self.domain, self.hash, entry);
        EntryMut {
            table: self.table,
            domain: self.domain,
            hash: self.hash,
            place,
        }
    }

    /// The domain, for building the entry.
    pub fn domain(&mut self) -> &mut Domain {
        self.domain
    }
}

/// An entry that was found and may be changed, replaced or removed.
pub struct EntryMut<'t, E: Entry> {
    table: &'t mut CowTable<E>,
    domain: &'t mut Domain,
    hash: u64,
    place: Place,
}

impl<'t, E: Entry> EntryMut<'t, E> {
    /// The entry for reading.
    #[inline]
    pub fn get(&self) -> &E {
        // SAFETY: a found slot holds a live entry; the table is borrowed.
        unsafe { self.pointer().as_ref() }
    }

    /// The domain, for changing blocks that the entry owns.
    pub fn domain(&mut self) -> &mut Domain {
        self.domain
    }

    /// The entry for writing: copied first if a snapshot may see it.
    #[inline]
    pub fn make_mut(&mut self) -> &mut E {
        self.own_entry();
        // SAFETY: no snapshot sees the entry now; it is borrowed with the table, uniquely.
        unsafe { self.pointer().as_mut() }
    }

    /// The entry for writing together with the domain, for entries that own blocks.
    #[inline]
    pub fn make_mut_with_domain(&mut self) -> (&mut E, &mut Domain) {
        self.own_entry();
        // SAFETY: as in `make_mut`; the domain is another object.
        (unsafe { self.pointer().as_mut() }, self.domain)
    }

    /// As [`EntryMut::make_mut`], for as long as the table is borrowed.
    #[inline]
    pub fn into_mut(mut self) -> &'t mut E {
        self.own_entry();
        // SAFETY: as in `make_mut`; `self` gives its unique borrow of the table away.
        unsafe { self.pointer().as_mut() }
    }

    /// As [`EntryMut::get`], for as long as the table is borrowed.
    #[inline]
    pub fn into_ref(self) -> &'t E {
        // SAFETY: as in `get`; `self` gives its borrow of the table away.
        unsafe { self.pointer().as_ref() }
    }

    /// Puts another entry with the same key in this one's place.
    pub fn replace(&mut self, entry: Owned<E>) -> Removed<E> {
        let (old, birth) = self.exchange(entry);
        self.domain.give_up(old, birth)
    }

    /// Puts an entry with the same key in this one's place that has taken over its blocks: only the
    /// old allocation goes.
    pub fn supersede(&mut self, entry: Owned<E>) {
        let (old, birth) = self.exchange(entry);
        // SAFETY: `exchange` took it out of the table, born in `birth` or later.
        unsafe {
            let bytes = old.as_ref().bytes();
            self.domain
                .retire(old.cast(), birth, bytes, free_entry_shell::<E>);
        }
    }

    /// Lets `change` move the entry, as a reallocation does: it gets an entry that no snapshot sees
    /// (a copy if need be) and returns it, or another in its place with the same key. A panic in
    /// `change` ends the process: the slot would dangle.
    pub fn reallocate(&mut self, change: impl FnOnce(Owned<E>) -> Owned<E>) -> &mut E {
        struct Abort;
        impl Drop for Abort {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        self.own_entry();
        let guard = Abort;
        // SAFETY: the entry is the table's alone; the slot gets the result before anyone looks.
        let entry = change(unsafe { Owned::from_raw(self.pointer()) });
        std::mem::forget(guard);
        let pointer = entry.into_raw();
        let slot = self.slot();
        // SAFETY: `own_entry` made the segment the table's own.
        unsafe {
            let segment = &mut *self.place.segment.as_ptr();
            segment.set_slot(
                self.place.slot,
                Slot::new(pointer.cast(), slot.stored(), slot.is_private()),
            );
            &mut *pointer.as_ptr()
        }
    }

    /// Takes the entry out to put it elsewhere, with the blocks that it owns: copied first if a snapshot may see it. It
    /// must go into a table of the same domain, since what is dropped is freed at once.
    pub fn take(mut self) -> Owned<E> {
        self.own_entry();
        let pointer = self.pointer();
        self.table.clear_place(self.domain, self.hash, self.place);
        // SAFETY: no snapshot sees it, and the table holds it no more.
        unsafe { Owned::from_raw(pointer) }
    }

    /// Removes the entry.
    pub fn remove(mut self) -> Removed<E> {
        let (birth, old) = self.own_segment();
        self.table.clear_place(self.domain, self.hash, self.place);
        self.domain.give_up(old, birth)
    }

    #[inline]
    fn slot(&self) -> Slot {
        // SAFETY: the segment is alive while the table is borrowed.
        unsafe { self.place.segment.as_ref() }.slot(self.place.slot)
    }

    #[inline]
    fn pointer(&self) -> NonNull<E> {
        // SAFETY: a tagged slot is never null.
        unsafe { NonNull::new_unchecked(self.slot().pointer().cast()) }
    }

    /// Makes the segment the table's own. Returns the entry's earliest possible birth (0: unknown).
    #[inline]
    fn own_segment(&mut self) -> (u64, NonNull<E>) {
        let (slot, pointer) = (self.slot(), self.pointer());
        // SAFETY: as in `slot`.
        let epoch = unsafe { self.place.segment.as_ref() }.epoch();
        let birth = if slot.is_private() { epoch } else { 0 };
        self.domain.write_epoch();
        self.place = self.table.own_place(self.domain, self.hash, self.place);
        (birth, pointer)
    }

    /// Makes segment and entry the table's own.
    #[inline]
    fn own_entry(&mut self) {
        let (birth, pointer) = self.own_segment();
        let slot = self.slot();
        if slot.is_private() {
            return;
        }
        let slot = if self.domain.has_snapshots() && self.domain.is_frozen(birth) {
            self.copy_entry(pointer, birth, slot)
        } else {
            slot.with_private(true)
        };
        // SAFETY: `own_segment` made it the table's own.
        unsafe { &mut *self.place.segment.as_ptr() }.set_slot(self.place.slot, slot);
    }

    #[cold]
    fn copy_entry(&mut self, pointer: NonNull<E>, birth: u64, slot: Slot) -> Slot {
        // SAFETY: the frozen entry lives until it is retired, after the copy.
        unsafe {
            let copy = pointer.as_ref().copy().into_raw();
            let bytes = pointer.as_ref().bytes();
            self.domain
                .retire(pointer.cast(), birth, bytes, free_entry_shell::<E>);
            Slot::new(copy.cast(), slot.stored(), true)
        }
    }

    /// Puts `entry` into the slot; returns the old one and its earliest possible birth.
    fn exchange(&mut self, entry: Owned<E>) -> (NonNull<E>, u64) {
        let (birth, old) = self.own_segment();
        let slot = Slot::new(entry.into_raw().cast(), self.slot().stored(), true);
        // SAFETY: `own_segment` made it the table's own.
        unsafe { &mut *self.place.segment.as_ptr() }.set_slot(self.place.slot, slot);
        (old, birth)
    }
}

impl Domain {
    /// Takes leave of an entry that was taken out of a table.
    fn give_up<E: Entry>(&mut self, entry: NonNull<E>, birth: u64) -> Removed<E> {
        // SAFETY: the caller took it out of its table; it was born in `birth` or later.
        unsafe {
            let owns_blocks = entry.as_ref().owns_blocks();
            if !self.has_snapshots() || (!owns_blocks && !self.is_frozen(birth)) {
                return Removed::Owned(Owned::from_raw(entry));
            }
            let birth = if owns_blocks { 0 } else { birth };
            self.retire(entry.cast(), birth, entry.as_ref().bytes(), free_entry::<E>);
            Removed::Retired
        }
    }
}
