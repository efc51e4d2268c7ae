//! The directory above the segments, in two levels, and what reads it: the table and its views.
//!
//! The *top* is an array of 2^t chunk references, indexed by the hash's first t bits. A *chunk* covers
//! all hashes with a common prefix of p <= t bits and has 2^c segment pointers (c <= 10), indexed by
//! the c bits that follow the prefix. A segment of depth d (p <= d <= p + c) fills 2^(p+c-d) slots of
//! one chunk; a chunk fills 2^(t-p) slots of the top.
//!
//! So growing doubles a chunk of at most 1024 slots, or splits it in two; only when a chunk of full
//! prefix splits, the top doubles: eight bytes per chunk. p and c stand in the reference's spare 16
//! bits, so that a look-up needs no chunk header.
//!
//! Every top, chunk and segment begins with its birth (the segment packs it with other fields).
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::super::entry::Entry;
use super::segment::{Bits, EMPTY, Segment, line_of, prefetch, stored_of, tag_of};

/// A chunk has up to 2^10 slots: 8 KiB to copy on the first write below it under a snapshot, and
/// 16 KiB of top at fifty million keys. Few in tests, so that they reach every level.
pub const CHUNK_BITS: u32 = if cfg!(test) { 4 } else { 10 };

/// An array of words behind a birth: the representation of top and chunk.
#[repr(C)]
pub struct Array {
    pub epoch: u64,
    words: [u64; 0],
}

impl Array {
    fn layout(bits: u32) -> Layout {
        let words = (1usize << bits) + 1;
        // Cannot fail: bits are few. A layout error would be a bug in the table.
        Layout::array::<u64>(words).unwrap_or_else(|_| unreachable!("a directory of {words} words"))
    }

    /// Bytes of an array of 2^`bits` words.
    pub fn bytes(bits: u32) -> usize {
        Array::layout(bits).size()
    }

    /// A zeroed array of 2^`bits` words.
    pub fn alloc(epoch: u64, bits: u32) -> NonNull<Array> {
        let layout = Array::layout(bits);
        // SAFETY: the layout has a size.
        let Some(array) = NonNull::new(unsafe { alloc(layout) }.cast::<Array>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: fresh memory of that many words.
        unsafe {
            (*array.as_ptr()).epoch = epoch;
            std::ptr::write_bytes(Array::words(array), 0, 1 << bits);
        }
        array
    }

    /// A copy of 2^`bits` words, born in `epoch`.
    ///
    /// # Safety
    /// `array` is alive and has 2^`bits` words.
    pub unsafe fn copy(array: NonNull<Array>, epoch: u64, bits: u32) -> NonNull<Array> {
        let layout = Array::layout(bits);
        // SAFETY: the layout has a size.
        let Some(copy) = NonNull::new(unsafe { alloc(layout) }.cast::<Array>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: fresh memory of that many words; the source by the caller's promise.
        unsafe {
            (*copy.as_ptr()).epoch = epoch;
            std::ptr::copy_nonoverlapping(Array::words(array), Array::words(copy), 1 << bits);
        }
        copy
    }

    /// # Safety
    /// `array` was allocated with `bits` and is given up for good.
    pub unsafe fn free(array: NonNull<Array>, bits: u32) {
        // SAFETY: the caller's promise.
        unsafe { dealloc(array.as_ptr().cast(), Array::layout(bits)) }
    }

    #[inline]
    fn words(array: NonNull<Array>) -> *mut u64 {
        // SAFETY: one past the header is still in (or at the end of) the allocation.
        unsafe { array.as_ptr().cast::<u64>().add(1) }
    }

    /// # Safety
    /// `array` is alive and has more than `index` words.
    #[inline]
    pub unsafe fn get(array: NonNull<Array>, index: usize) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { *Array::words(array).add(index) }
    }

    /// # Safety
    /// `array` is alive, has more than `index` words and is not frozen.
    #[inline]
    pub unsafe fn set(array: NonNull<Array>, index: usize, word: u64) {
        // SAFETY: the caller's promise.
        unsafe { *Array::words(array).add(index) = word }
    }
}

/// A chunk's address with its prefix length and its own bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef(pub u64);

impl ChunkRef {
    pub fn new(array: NonNull<Array>, prefix: u32, bits: u32) -> ChunkRef {
        debug_assert!(bits <= CHUNK_BITS && prefix < 64);
        let address = array.as_ptr().expose_provenance() as u64;
        debug_assert!(address >> 48 == 0);
        ChunkRef(address | u64::from(prefix) << 48 | u64::from(bits) << 56)
    }

    #[inline]
    pub fn array(self) -> NonNull<Array> {
        let address = (self.0 & ((1 << 48) - 1)) as usize;
        // SAFETY: made from a NonNull.
        unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(address)) }
    }

    /// p: the hash bits that lead here.
    #[inline]
    pub fn prefix(self) -> u32 {
        (self.0 >> 48) as u32 & 0xff
    }

    /// c: it has 2^c slots.
    #[inline]
    pub fn bits(self) -> u32 {
        (self.0 >> 56) as u32
    }

    /// The slot of a hash.
    #[inline]
    pub fn index(self, hash: u64) -> usize {
        ((hash << self.prefix() >> 1) >> (63 - self.bits())) as usize
    }

    /// The segment in a slot.
    ///
    /// # Safety
    /// The chunk is alive and has more than `index` slots.
    #[inline]
    pub unsafe fn segment(self, index: usize) -> NonNull<Segment> {
        // SAFETY: the caller's promise; slots are never null.
        unsafe {
            let address = Array::get(self.array(), index) as usize;
            NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(address))
        }
    }

    /// Puts a segment of depth `depth` into all of its slots.
    ///
    /// # Safety
    /// The chunk is alive and not frozen; `depth` lies between p and p + c.
    pub unsafe fn set_segment(self, hash: u64, depth: u32, segment: NonNull<Segment>) {
        let span = 1usize << (self.prefix() + self.bits() - depth);
        let first = self.index(hash) & !(span - 1);
        for index in first..first + span {
            // SAFETY: inside the chunk by the caller's promise.
            unsafe { Array::set(self.array(), index, segment_word(segment)) };
        }
    }
}

/// A segment pointer as a chunk's word.
#[inline]
pub fn segment_word(segment: NonNull<Segment>) -> u64 {
    segment.as_ptr().expose_provenance() as u64
}

/// The line of slots that an entry with this hash prefers.
#[inline]
fn slot_line(segment: NonNull<Segment>, hash: u64) -> *const [u8; 64] {
    segment
        .as_ptr()
        .cast::<[u8; 64]>()
        .wrapping_add(1 + line_of(hash))
}

/// An array of one word, which is an address: an [`Array`] that the linker fills.
#[repr(C)]
struct OneWord<T: 'static> {
    epoch: u64,
    word: &'static T,
}

/// The directory of every empty table: frozen for ever (epoch 0), never freed.
static EMPTY_CHUNK: OneWord<Segment> = OneWord {
    epoch: 0,
    word: &EMPTY,
};
/// Its chunk reference is the bare address: a prefix and bits of 0.
static EMPTY_TOP: OneWord<OneWord<Segment>> = OneWord {
    epoch: 0,
    word: &EMPTY_CHUNK,
};

fn empty_top() -> NonNull<Array> {
    // Found again by their addresses alone.
    (&raw const EMPTY).expose_provenance();
    (&raw const EMPTY_CHUNK).expose_provenance();
    NonNull::from(&EMPTY_TOP).cast()
}

/// A directory's root: all that a look-up starts from.
pub struct Root<E: Entry> {
    top: NonNull<Array>,
    /// 63 - t.
    shift: u32,
    marker: PhantomData<E>,
}

impl<E: Entry> Clone for Root<E> {
    fn clone(&self) -> Root<E> {
        *self
    }
}

impl<E: Entry> Copy for Root<E> {}

/// Where a look-up found its entry.
#[derive(Clone, Copy)]
pub struct Place {
    pub segment: NonNull<Segment>,
    pub slot: usize,
    /// Position of the segment in its chain.
    pub link: usize,
}

impl<E: Entry> Root<E> {
    pub fn empty() -> Root<E> {
        Root {
            top: empty_top(),
            shift: 63,
            marker: PhantomData,
        }
    }

    pub fn new(top: NonNull<Array>, bits: u32) -> Root<E> {
        Root {
            top,
            shift: 63 - bits,
            marker: PhantomData,
        }
    }

    pub fn top(&self) -> NonNull<Array> {
        self.top
    }

    /// t: the top has 2^t slots.
    pub fn bits(&self) -> u32 {
        63 - self.shift
    }

    pub fn is_empty(&self) -> bool {
        self.top == empty_top()
    }

    /// The top's slot of a hash.
    #[inline]
    pub fn index(&self, hash: u64) -> usize {
        (hash >> 1 >> self.shift) as usize
    }

    // The following read blocks that are alive as long as the root is: a table owns them, a view's pin
    // keeps them. Nobody writes them meanwhile: the table is borrowed, the view's are frozen.

    #[inline]
    pub fn chunk(&self, hash: u64) -> ChunkRef {
        // SAFETY: alive (above); the index has t bits.
        ChunkRef(unsafe { Array::get(self.top, self.index(hash)) })
    }

    #[inline]
    pub fn segment_pointer(&self, hash: u64) -> NonNull<Segment> {
        let chunk = self.chunk(hash);
        // SAFETY: alive (above); the index has c bits.
        unsafe { chunk.segment(chunk.index(hash)) }
    }

    #[inline]
    pub fn segment(&self, hash: u64) -> &Segment {
        // SAFETY: alive (above).
        unsafe { self.segment_pointer(hash).as_ref() }
    }

    /// The entry with this hash for which `equal` holds.
    #[inline]
    pub fn find(&self, hash: u64, mut equal: impl FnMut(&E) -> bool) -> Option<(Place, &E)> {
        let tag = tag_of(hash);
        let mut pointer = self.segment_pointer(hash);
        // The entry's slot is most likely here: fetched while the tags are.
        prefetch(slot_line(pointer, hash));
        let mut link = 0;
        loop {
            // SAFETY: alive (above).
            let segment = unsafe { pointer.as_ref() };
            let stored = stored_of(hash, segment.base());
            for slot in Bits(segment.matches(tag)) {
                let candidate = segment.slot(slot);
                if candidate.stored() == stored {
                    // SAFETY: a tagged slot holds an entry, alive as long as its segment.
                    let entry = unsafe { &*candidate.pointer().cast::<E>() };
                    if equal(entry) {
                        return Some((
                            Place {
                                segment: pointer,
                                slot,
                                link,
                            },
                            entry,
                        ));
                    }
                }
            }
            pointer = segment.next()?;
            link += 1;
        }
    }

    /// Stage 1: the chunk's line.
    #[inline]
    pub fn prefetch_directory(&self, hash: u64) {
        let chunk = self.chunk(hash);
        prefetch(
            chunk
                .array()
                .as_ptr()
                .cast::<u64>()
                .wrapping_add(1 + chunk.index(hash)),
        );
    }

    /// Stage 2: the segment's tags and the slot line that the hash prefers.
    #[inline]
    pub fn prefetch_segment(&self, hash: u64) {
        let segment = self.segment_pointer(hash);
        prefetch(segment.as_ptr());
        prefetch(slot_line(segment, hash));
    }

    /// Stage 3: the entries whose tags match.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        let segment = self.segment(hash);
        let stored = stored_of(hash, segment.base());
        for slot in Bits(segment.matches(tag_of(hash))) {
            let candidate = segment.slot(slot);
            if candidate.stored() == stored {
                prefetch(candidate.pointer());
                prefetch(candidate.pointer().wrapping_add(64));
                return;
            }
        }
    }

    /// Visits the entries of one segment with its chain.
    pub fn visit<'r>(&'r self, hash: u64, visitor: &mut impl FnMut(&'r E)) {
        let mut next = Some(self.segment_pointer(hash));
        while let Some(pointer) = next {
            // SAFETY: alive (above).
            let segment = unsafe { pointer.as_ref() };
            let occupied = segment.occupied();
            for slot in Bits(occupied) {
                prefetch(segment.slot(slot).pointer());
            }
            for slot in Bits(occupied) {
                // SAFETY: a tagged slot holds an entry, alive as long as its segment.
                visitor(unsafe { &*segment.slot(slot).pointer().cast::<E>() });
            }
            next = segment.next();
        }
    }

    /// The first hash after the segment of `hash`; None after the last segment.
    #[inline]
    pub fn after(&self, hash: u64) -> Option<u64> {
        let depth = self.segment(hash).depth();
        if depth == 0 {
            return None;
        }
        let span = 1u64 << (64 - depth);
        (hash & !(span - 1)).checked_add(span)
    }

    /// Frees everything: entries, segments, chunks, top.
    ///
    /// # Safety
    /// The root is given up for good and nobody sees any of it.
    pub unsafe fn free(self) {
        if self.is_empty() {
            return;
        }
        let mut top_index = 0;
        while top_index < 1usize << self.bits() {
            // SAFETY: every block is visited once: spans are skipped.
            unsafe {
                let chunk = ChunkRef(Array::get(self.top, top_index));
                let mut index = 0;
                while index < 1usize << chunk.bits() {
                    let head = chunk.segment(index);
                    index += 1 << (chunk.prefix() + chunk.bits() - head.as_ref().depth());
                    let mut next = (head != NonNull::from(&EMPTY)).then_some(head);
                    while let Some(pointer) = next {
                        let segment = pointer.as_ref();
                        let occupied = segment.occupied();
                        for slot in Bits(occupied) {
                            prefetch(segment.slot(slot).pointer());
                        }
                        for slot in Bits(occupied) {
                            E::free(NonNull::new_unchecked(segment.slot(slot).pointer()).cast());
                        }
                        next = segment.next();
                        Segment::free(pointer);
                    }
                }
                top_index += 1 << (self.bits() - chunk.prefix());
                Array::free(chunk.array(), chunk.bits());
            }
        }
        // SAFETY: the last block.
        unsafe { Array::free(self.top, self.bits()) };
    }
}
