//! What changes a table's structure: making blocks its own, inserting, splitting, merging.
//!
//! 1. [`CowTable::own_place`] and friends copy what a snapshot may see, from the top down.
//! 2. [`CowTable::place_new`] inserts. A full segment splits; one that is deeper than
//!    log2(segments) + 8 (hashes that share a long prefix) gets an overflow segment instead, so that
//!    the directory stays within eight bytes a segment.
//! 3. [`CowTable::clear_place`] removes; segments, chunks and the top merge when they are thin enough,
//!    with room in between, so that a table at the border does not flutter.
//!
//! Every step is bounded: a split or merge of one segment (56 entries), of one chunk (1024 slots), or
//! of the top (eight bytes a chunk).
#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::CowTable;
use super::directory::{Array, CHUNK_BITS, ChunkRef, Place, Root, segment_word};
use super::segment::{Bits, DEPTH_MAX, LINK, SLOTS, STORED_BITS, Segment, Slot, stored_of, tag_of};
use crate::container::domain::Domain;
use crate::container::entry::{Entry, Owned};

/// Two sibling segments merge when together they have this many entries at most.
const MERGE_MAX: usize = SLOTS * 4 / 7;
/// A removal looks at the sibling when the count is a multiple of this and at most `MERGE_LOOK`.
const MERGE_STEP: usize = 4;
const MERGE_LOOK: usize = SLOTS * 3 / 7;
/// Sibling chunks merge when neither has more bits than this.
const CHUNK_MERGE_BITS: u32 = CHUNK_BITS - 3;
/// A segment may be this much deeper than log2(segments) before it chains.
const DEPTH_SLACK: u32 = 8;

/// One entry on the move between segments.
#[derive(Clone, Copy)]
struct Item {
    tag: u8,
    slot: Slot,
}

// In this file every block reached from the root is alive, and every `&mut` to a block is made after
// `own_*` made the block the table's own, with the table borrowed uniquely; no two overlap.
impl<E: Entry> CowTable<E> {
    // ---- 1. Ownership ----

    fn own_top(&mut self, domain: &mut Domain) -> NonNull<Array> {
        let top = self.root.top();
        // SAFETY: alive.
        let epoch = unsafe { top.as_ref() }.epoch;
        if !domain.is_frozen(epoch) {
            return top;
        }
        let bits = self.root.bits();
        // SAFETY: alive, 2^t words.
        let copy = unsafe { Array::copy(top, domain.write_epoch(), bits) };
        if self.root.is_empty() {
            self.directory_bytes += Array::bytes(bits);
        } else {
            // SAFETY: replaced by the copy, which the root gets now.
            unsafe { domain.retire(top.cast(), epoch, Array::bytes(bits), free_array(bits)) };
        }
        self.root = Root::new(copy, bits);
        copy
    }

    /// The chunk of a hash, the table's own with the top above it.
    fn own_chunk(&mut self, domain: &mut Domain, hash: u64) -> ChunkRef {
        self.own_top(domain);
        let chunk = self.root.chunk(hash);
        // SAFETY: alive.
        let epoch = unsafe { chunk.array().as_ref() }.epoch;
        if !domain.is_frozen(epoch) {
            return chunk;
        }
        // SAFETY: alive, 2^c words.
        let array = unsafe { Array::copy(chunk.array(), domain.write_epoch(), chunk.bits()) };
        let copy = ChunkRef::new(array, chunk.prefix(), chunk.bits());
        self.set_chunk(hash, copy);
        if epoch == 0 {
            // The shared empty chunk: this table's first.
            self.directory_bytes += Array::bytes(chunk.bits());
            self.full_chunks = 1;
        } else {
            let (bits, bytes) = (chunk.bits(), Array::bytes(chunk.bits()));
            // SAFETY: replaced by the copy.
            unsafe { domain.retire(chunk.array().cast(), epoch, bytes, free_array(bits)) };
        }
        copy
    }

    /// The first segment of a hash's chain, the table's own with all above it.
    #[inline]
    fn own_head(&mut self, domain: &mut Domain, hash: u64) -> NonNull<Segment> {
        let segment = self.root.segment_pointer(hash);
        // SAFETY: alive.
        if domain.is_frozen(unsafe { segment.as_ref() }.epoch()) {
            self.copy_head(domain, hash)
        } else {
            segment
        }
    }

    #[cold]
    fn copy_head(&mut self, domain: &mut Domain, hash: u64) -> NonNull<Segment> {
        let chunk = self.own_chunk(domain, hash);
        let segment = self.root.segment_pointer(hash);
        // SAFETY: alive; the chunk is owned.
        unsafe {
            let copy = segment.as_ref().copy(domain.write_epoch());
            chunk.set_segment(hash, segment.as_ref().depth(), copy);
            if segment.as_ref().epoch() == 0 {
                self.segments = 1;
            } else {
                retire_segment(domain, segment);
            }
            copy
        }
    }

    /// The segment after `previous` (which the table owns) in its chain, the table's own.
    fn own_next(
        &mut self,
        domain: &mut Domain,
        previous: NonNull<Segment>,
    ) -> Option<NonNull<Segment>> {
        // SAFETY: alive; `previous` is owned.
        unsafe {
            let next = previous.as_ref().next()?;
            if !domain.is_frozen(next.as_ref().epoch()) {
                return Some(next);
            }
            let copy = next.as_ref().copy(domain.write_epoch());
            (*previous.as_ptr()).set_next(Some(copy));
            retire_segment(domain, next);
            Some(copy)
        }
    }

    /// Makes the segment of a found place, and those before it in its chain, the table's own.
    #[inline]
    pub(super) fn own_place(&mut self, domain: &mut Domain, hash: u64, place: Place) -> Place {
        // SAFETY: alive. What is not frozen hangs under blocks that are not either.
        if !domain.is_frozen(unsafe { place.segment.as_ref() }.epoch()) {
            return place;
        }
        let mut segment = self.own_head(domain, hash);
        for _ in 0..place.link {
            segment = self
                .own_next(domain, segment)
                .unwrap_or_else(|| unreachable!("a chain lost a link"));
        }
        Place { segment, ..place }
    }

    /// Puts `chunk` into all of its slots of the (owned) top.
    fn set_chunk(&mut self, hash: u64, chunk: ChunkRef) {
        let span = 1usize << (self.root.bits() - chunk.prefix());
        let first = self.root.index(hash) & !(span - 1);
        for index in first..first + span {
            // SAFETY: inside the top; owned by the caller's doing.
            unsafe { Array::set(self.root.top(), index, chunk.0) };
        }
    }

    // ---- 2. Growing ----

    /// Inserts an entry that is not there.
    pub(super) fn place_new(&mut self, domain: &mut Domain, hash: u64, entry: Owned<E>) -> Place {
        domain.write_epoch();
        let tag = tag_of(hash);
        let pointer = entry.into_raw().cast();
        self.len += 1;
        loop {
            let head = self.own_head(domain, hash);
            // SAFETY: owned.
            let segment = unsafe { &mut *head.as_ptr() };
            if let Some(slot) = segment.free_slot(hash) {
                let stored = stored_of(hash, segment.base());
                segment.put(slot, tag, Slot::new(pointer, stored, true));
                return Place {
                    segment: head,
                    slot,
                    link: 0,
                };
            }
            if segment.depth() < self.depth_limit() {
                self.split(domain, hash);
                continue;
            }
            let stored = stored_of(hash, segment.base());
            let item = Item {
                tag,
                slot: Slot::new(pointer, stored, true),
            };
            let (segment, slot) = self.push_overflow(domain, head, item);
            return Place {
                segment,
                slot,
                link: 1,
            };
        }
    }

    fn depth_limit(&self) -> u32 {
        (self.segments.max(1).ilog2() + DEPTH_SLACK).min(DEPTH_MAX)
    }

    /// Puts an item into the segment after a full head, or into a new one there.
    fn push_overflow(
        &mut self,
        domain: &mut Domain,
        head: NonNull<Segment>,
        item: Item,
    ) -> (NonNull<Segment>, usize) {
        if let Some(next) = self.own_next(domain, head) {
            // SAFETY: owned.
            let segment = unsafe { &mut *next.as_ptr() };
            if let Some(slot) = segment.free_slot(0) {
                segment.put(slot, item.tag, item.slot);
                return (next, slot);
            }
        }
        // SAFETY: owned by the caller's doing; `fresh` is new.
        unsafe {
            let segment = &mut *head.as_ptr();
            let fresh = Segment::alloc(domain.write_epoch(), segment.depth(), segment.base());
            self.segments += 1;
            let link = &mut *fresh.as_ptr();
            match segment.next() {
                Some(next) => link.set_next(Some(next)),
                None if segment.tag(LINK) != 0 => {
                    // The head's last slot becomes the link: its entry moves on.
                    let tag = segment.tag(LINK);
                    link.put(0, tag, segment.clear(LINK));
                }
                None => {}
            }
            segment.set_next(Some(fresh));
            let slot = 1;
            link.put(slot, item.tag, item.slot);
            (fresh, slot)
        }
    }

    /// Splits the segment (or chain) of a hash by the next hash bit.
    fn split(&mut self, domain: &mut Domain, hash: u64) {
        let mut chunk = self.own_chunk(domain, hash);
        let head = self.own_head(domain, hash);
        // SAFETY: alive.
        let (depth, chained) = unsafe { (head.as_ref().depth(), head.as_ref().next().is_some()) };
        while depth == chunk.prefix() + chunk.bits() {
            if chunk.bits() < CHUNK_BITS {
                self.double_chunk(domain, hash);
            } else {
                self.split_chunk(domain, hash);
            }
            chunk = self.root.chunk(hash);
        }
        let mut items = Vec::new();
        if chained {
            self.drain_chain(domain, head, &mut items);
        }
        // SAFETY: owned.
        let low = unsafe { &mut *head.as_ptr() };
        let base = if (low.base()..low.base() + STORED_BITS).contains(&depth) {
            low.base()
        } else {
            let base = depth.min(64 - STORED_BITS);
            self.refill(low, base);
            for item in &mut items {
                item.slot = self.refilled(item.slot, base);
            }
            base
        };
        let sibling = Segment::alloc(domain.write_epoch(), depth + 1, base);
        self.segments += 1;
        // SAFETY: new.
        let high = unsafe { &mut *sibling.as_ptr() };
        let bit = 1u16 << (STORED_BITS - 1 - (depth - base));
        for slot in Bits(low.occupied()) {
            if low.slot(slot).stored() & bit != 0 {
                let tag = low.tag(slot);
                high.put(slot, tag, low.clear(slot));
            }
        }
        low.set_depth(depth + 1);
        // SAFETY: the chunk is owned; the sibling takes the upper half of the segment's slots.
        unsafe { chunk.set_segment(hash | 1 << (63 - depth), depth + 1, sibling) };
        for item in items {
            let target = if item.slot.stored() & bit != 0 {
                sibling
            } else {
                head
            };
            // SAFETY: both owned; `low` and `high` are not used any more.
            let segment = unsafe { &mut *target.as_ptr() };
            match segment.free_slot(0) {
                Some(slot) => segment.put(slot, item.tag, item.slot),
                None => {
                    self.push_overflow(domain, target, item);
                }
            }
        }
    }

    /// Takes all entries out of a chain but its (owned) head, and gives its segments up.
    fn drain_chain(&mut self, domain: &mut Domain, head: NonNull<Segment>, items: &mut Vec<Item>) {
        // SAFETY: alive; the head is owned.
        unsafe {
            let mut next = head.as_ref().next();
            (*head.as_ptr()).set_next(None);
            while let Some(pointer) = next {
                let segment = pointer.as_ref();
                let frozen = domain.is_frozen(segment.epoch());
                items.extend(Bits(segment.occupied()).map(|slot| {
                    let moved = segment.slot(slot);
                    let private = moved.is_private() && !frozen;
                    Item {
                        tag: segment.tag(slot),
                        slot: moved.with_private(private),
                    }
                }));
                next = segment.next();
                retire_segment(domain, pointer);
                self.segments -= 1;
            }
        }
    }

    /// Stores other hash bits in all slots of a segment without a chain.
    fn refill(&self, segment: &mut Segment, base: u32) {
        for slot in Bits(segment.occupied()) {
            let refilled = self.refilled(segment.slot(slot), base);
            segment.set_slot(slot, refilled);
        }
        segment.set_base(base);
    }

    fn refilled(&self, slot: Slot, base: u32) -> Slot {
        // SAFETY: a tagged slot holds a live entry.
        let hash = unsafe { &*slot.pointer().cast::<E>() }.hash(&self.hasher);
        // SAFETY: not null.
        let pointer = unsafe { NonNull::new_unchecked(slot.pointer()) };
        Slot::new(pointer, stored_of(hash, base), slot.is_private())
    }

    /// Doubles the (owned) chunk of a hash.
    fn double_chunk(&mut self, domain: &mut Domain, hash: u64) {
        let old = self.root.chunk(hash);
        let bits = old.bits() + 1;
        let array = Array::alloc(domain.write_epoch(), bits);
        for index in 0..1usize << bits {
            // SAFETY: inside both.
            unsafe { Array::set(array, index, Array::get(old.array(), index >> 1)) };
        }
        self.set_chunk(hash, ChunkRef::new(array, old.prefix(), bits));
        self.directory_bytes += Array::bytes(bits);
        self.free_own_array(old.array(), old.bits());
    }

    /// Splits the (owned, full) chunk of a hash in two, each as small as its segments allow.
    fn split_chunk(&mut self, domain: &mut Domain, hash: u64) {
        let old = self.root.chunk(hash);
        let prefix = old.prefix() + 1;
        if old.prefix() == self.root.bits() {
            self.double_top(domain);
        }
        let half = 1usize << (old.bits() - 1);
        for side in 0..2 {
            // SAFETY: inside the chunk; alive.
            let word = |index: usize| unsafe { Array::get(old.array(), side * half + index) };
            // The last bit goes while no segment needs it: all pairs of slots are equal.
            let mut bits = old.bits() - 1;
            while bits > 0 {
                let step = half >> bits;
                let needed = |pair: usize| word(2 * pair * step) != word((2 * pair + 1) * step);
                if (0..1usize << (bits - 1)).any(needed) {
                    break;
                }
                bits -= 1;
            }
            let array = Array::alloc(domain.write_epoch(), bits);
            for index in 0..1usize << bits {
                // SAFETY: inside the new chunk.
                unsafe { Array::set(array, index, word(index << (old.bits() - 1 - bits))) };
            }
            self.directory_bytes += Array::bytes(bits);
            let bit = 1u64 << (64 - prefix);
            let side_hash = if side == 0 { hash & !bit } else { hash | bit };
            self.set_chunk(side_hash, ChunkRef::new(array, prefix, bits));
        }
        if prefix == self.root.bits() {
            self.full_chunks += 2;
        }
        self.free_own_array(old.array(), old.bits());
    }

    /// Doubles the (owned) top.
    fn double_top(&mut self, domain: &mut Domain) {
        let (old, bits) = (self.root.top(), self.root.bits() + 1);
        let top = Array::alloc(domain.write_epoch(), bits);
        for index in 0..1usize << bits {
            // SAFETY: inside both.
            unsafe { Array::set(top, index, Array::get(old, index >> 1)) };
        }
        self.root = Root::new(top, bits);
        self.full_chunks = 0;
        self.directory_bytes += Array::bytes(bits);
        self.free_own_array(old, bits - 1);
    }

    /// Frees a directory array that the table owned and has replaced.
    fn free_own_array(&mut self, array: NonNull<Array>, bits: u32) {
        self.directory_bytes -= Array::bytes(bits);
        // SAFETY: not frozen (owned), and nothing refers to it any more.
        unsafe { Array::free(array, bits) };
    }

    // ---- 3. Shrinking ----

    /// Empties an (owned) place and merges what has become thin.
    pub(super) fn clear_place(&mut self, domain: &mut Domain, hash: u64, place: Place) {
        // SAFETY: owned.
        let segment = unsafe { &mut *place.segment.as_ptr() };
        segment.clear(place.slot);
        self.len -= 1;
        let count = segment.count();
        if place.link > 0 {
            if count == 0 {
                self.unlink(domain, hash, place);
                self.shrink(domain, hash);
            }
        } else if count <= MERGE_LOOK && count % MERGE_STEP == 0 {
            self.shrink(domain, hash);
        }
    }

    /// Takes an empty segment out of its chain.
    fn unlink(&mut self, domain: &mut Domain, hash: u64, place: Place) {
        let mut previous = self.own_head(domain, hash);
        for _ in 1..place.link {
            previous = self
                .own_next(domain, previous)
                .unwrap_or_else(|| unreachable!("a chain lost a link"));
        }
        // SAFETY: both owned; the empty one is linked from nowhere else.
        unsafe {
            (*previous.as_ptr()).set_next(place.segment.as_ref().next());
            Segment::free(place.segment);
        }
        self.segments -= 1;
    }

    /// Merges the segment of a hash with its sibling while both are thin, and the directory with it.
    fn shrink(&mut self, domain: &mut Domain, hash: u64) {
        loop {
            let chunk = self.root.chunk(hash);
            let own = self.root.segment(hash);
            let depth = own.depth();
            if own.next().is_some() || depth == 0 {
                return;
            }
            if depth == chunk.prefix() {
                if self.merge_chunks(domain, hash) {
                    continue;
                }
                return;
            }
            let bit = 1u64 << (64 - depth);
            let sibling = self.root.segment(hash ^ bit);
            if sibling.depth() != depth
                || sibling.next().is_some()
                || own.count() + sibling.count() > MERGE_MAX
            {
                return;
            }
            self.merge_segments(domain, hash, depth);
            self.halve_chunk(domain, hash);
        }
    }

    /// Merges the segments of a hash and of its sibling, of equal depth and under one chunk.
    fn merge_segments(&mut self, domain: &mut Domain, hash: u64, depth: u32) {
        let chunk = self.own_chunk(domain, hash);
        let target = self.own_head(domain, hash);
        let source = self.root.segment_pointer(hash ^ 1 << (64 - depth));
        // SAFETY: the target is owned, the source alive and another segment.
        let (low, high) = unsafe { (&mut *target.as_ptr(), source.as_ref()) };
        let frozen = domain.is_frozen(high.epoch());
        for from in Bits(high.occupied()) {
            let mut slot = high.slot(from);
            slot = slot.with_private(slot.is_private() && !frozen);
            if high.base() != low.base() {
                slot = self.refilled(slot, low.base());
            }
            let to = if low.tag(from) == 0 {
                Some(from)
            } else {
                low.free_slot(0)
            };
            let to = to.unwrap_or_else(|| unreachable!("merging more than fits"));
            low.put(to, high.tag(from), slot);
        }
        low.set_depth(depth - 1);
        // SAFETY: the chunk is owned; nothing refers to the source after this.
        unsafe {
            chunk.set_segment(hash, depth - 1, target);
            retire_segment(domain, source);
        }
        self.segments -= 1;
    }

    /// Halves the (owned) chunk of a hash while no segment needs its last bit; merges it with its
    /// sibling when both are small.
    fn halve_chunk(&mut self, domain: &mut Domain, hash: u64) {
        loop {
            let old = self.root.chunk(hash);
            // SAFETY: inside the chunk.
            let word = |index: usize| unsafe { Array::get(old.array(), index) };
            if old.bits() == 0
                || (0..1usize << (old.bits() - 1)).any(|pair| word(2 * pair) != word(2 * pair + 1))
            {
                break;
            }
            let bits = old.bits() - 1;
            let array = Array::alloc(domain.write_epoch(), bits);
            for index in 0..1usize << bits {
                // SAFETY: inside the new chunk.
                unsafe { Array::set(array, index, word(2 * index)) };
            }
            self.set_chunk(hash, ChunkRef::new(array, old.prefix(), bits));
            self.directory_bytes += Array::bytes(bits);
            self.free_own_array(old.array(), old.bits());
        }
        if self.root.chunk(hash).bits() < CHUNK_MERGE_BITS {
            self.merge_chunks(domain, hash);
        }
    }

    /// Merges the chunk of a hash with its sibling if both are small; halves the top if it can.
    fn merge_chunks(&mut self, domain: &mut Domain, hash: u64) -> bool {
        let prefix = self.root.chunk(hash).prefix();
        if prefix == 0 {
            return false;
        }
        let bit = 1u64 << (64 - prefix);
        let sibling = self.root.chunk(hash ^ bit);
        let bits = self.root.chunk(hash).bits().max(sibling.bits());
        if sibling.prefix() != prefix || bits > CHUNK_MERGE_BITS {
            return false;
        }
        let low = self.own_chunk(domain, hash & !bit);
        let high = self.own_chunk(domain, hash | bit);
        let array = Array::alloc(domain.write_epoch(), bits + 1);
        for (side, old) in [low, high].into_iter().enumerate() {
            for index in 0..1usize << bits {
                // SAFETY: inside both.
                unsafe {
                    let word = Array::get(old.array(), index >> (bits - old.bits()));
                    debug_assert!(word != segment_word(NonNull::from(&super::segment::EMPTY)));
                    Array::set(array, (side << bits) + index, word);
                }
            }
        }
        if prefix == self.root.bits() {
            self.full_chunks -= 2;
        }
        self.set_chunk(hash, ChunkRef::new(array, prefix - 1, bits + 1));
        self.directory_bytes += Array::bytes(bits + 1);
        self.free_own_array(low.array(), low.bits());
        self.free_own_array(high.array(), high.bits());
        while self.full_chunks == 0 && self.root.bits() > 0 {
            self.halve_top(domain);
        }
        true
    }

    /// Halves the (owned) top, which no chunk needs in full.
    fn halve_top(&mut self, domain: &mut Domain) {
        let (old, bits) = (self.root.top(), self.root.bits() - 1);
        let top = Array::alloc(domain.write_epoch(), bits);
        self.full_chunks = 0;
        for index in 0..1usize << bits {
            // SAFETY: inside both.
            unsafe {
                let word = Array::get(old, 2 * index);
                debug_assert!(word == Array::get(old, 2 * index + 1));
                self.full_chunks += usize::from(ChunkRef(word).prefix() == bits);
                Array::set(top, index, word);
            }
        }
        self.root = Root::new(top, bits);
        self.directory_bytes += Array::bytes(bits);
        self.free_own_array(old, bits + 1);
    }
}

/// # Safety
/// The segment is linked from no live block of the table any more; its entries are not touched.
unsafe fn retire_segment(domain: &mut Domain, segment: NonNull<Segment>) {
    // SAFETY: the caller's promise.
    unsafe {
        let epoch = segment.as_ref().epoch();
        domain.retire(segment.cast(), epoch, size_of::<Segment>(), free_segment);
    }
}

/// # Safety
/// `block` is a segment given up for good.
unsafe fn free_segment(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { Segment::free(block.cast()) }
}

/// What frees a directory array of 2^`bits` words: the size is not in the block.
fn free_array(bits: u32) -> unsafe fn(NonNull<u8>) {
    /// # Safety
    /// `block` is an array of 2^BITS words given up for good.
    unsafe fn free<const BITS: u32>(block: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { Array::free(block.cast(), BITS) }
    }
    macro_rules! table {
        ($($bits:literal)*) => { [$(free::<$bits> as unsafe fn(NonNull<u8>)),*] };
    }
    const FREE: [unsafe fn(NonNull<u8>); 41] = table!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40
    );
    FREE[bits as usize]
}

#[cfg(test)]
impl<E: Entry> CowTable<E> {
    /// Asserts every structural invariant: O(n), reads entries.
    pub(super) fn check(&self) {
        let (mut len, mut segments, mut full) = (0, 0, 0);
        let mut bytes = if self.root.is_empty() {
            0
        } else {
            Array::bytes(self.root.bits())
        };
        let mut top_index = 0usize;
        let mut expected = 0u64;
        while top_index < 1 << self.root.bits() {
            // SAFETY: alive.
            let chunk = ChunkRef(unsafe { Array::get(self.root.top(), top_index) });
            assert!(chunk.prefix() <= self.root.bits());
            full += usize::from(chunk.prefix() == self.root.bits());
            bytes += if self.root.is_empty() {
                0
            } else {
                Array::bytes(chunk.bits())
            };
            let span = 1usize << (self.root.bits() - chunk.prefix());
            assert_eq!(top_index % span, 0);
            for index in top_index..top_index + span {
                // SAFETY: alive.
                assert!(unsafe { Array::get(self.root.top(), index) } == chunk.0);
            }
            top_index += span;
            let mut index = 0;
            while index < 1 << chunk.bits() {
                // SAFETY: alive.
                let head = unsafe { chunk.segment(index).as_ref() };
                let depth = head.depth();
                assert!(depth >= chunk.prefix() && depth <= chunk.prefix() + chunk.bits());
                let span = 1usize << (chunk.prefix() + chunk.bits() - depth);
                assert_eq!(index % span, 0);
                for index in index..index + span {
                    // SAFETY: alive.
                    assert!(std::ptr::eq(unsafe { chunk.segment(index).as_ptr() }, head));
                }
                index += span;
                let mut link = Some(head);
                while let Some(segment) = link {
                    assert_eq!(segment.depth(), depth);
                    assert_eq!(segment.base(), head.base());
                    segments += 1;
                    assert_eq!(segment.count(), segment.occupied().count_ones() as usize);
                    len += segment.count();
                    for slot in Bits(segment.occupied()) {
                        // SAFETY: alive.
                        let entry = unsafe { &*segment.slot(slot).pointer().cast::<E>() };
                        let hash = entry.hash(&self.hasher);
                        assert_eq!(segment.tag(slot), tag_of(hash));
                        assert_eq!(segment.slot(slot).stored(), stored_of(hash, segment.base()));
                        assert_eq!(
                            hash ^ expected,
                            (hash ^ expected) << depth >> depth,
                            "wrong segment"
                        );
                    }
                    // SAFETY: alive.
                    link = segment.next().map(|next| unsafe { &*next.as_ptr() });
                }
                expected = if depth == 0 {
                    0
                } else {
                    expected.wrapping_add(1 << (64 - depth))
                };
            }
        }
        assert_eq!(len, self.len);
        assert_eq!(bytes, self.directory_bytes);
        if !self.root.is_empty() {
            assert_eq!((segments, full), (self.segments, self.full_chunks));
        }
    }
}
