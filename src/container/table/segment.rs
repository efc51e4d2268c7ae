//! The segment: 512 bytes, one cache line of header and tags, 56 slots.
//!
//! ```text
//! byte 0      8                                                    64                    512
//!      +------+----------------------------------------------------+----------------------+
//!      | meta | 56 tags: low hash byte, 0 = empty (hash 0 becomes 1)| 56 slots of 8 bytes  |
//!      +------+----------------------------------------------------+----------------------+
//! meta: epoch 44 | depth 6 | count 6 | base 6 | chained 1 (from bit 0 up)
//! slot: pointer 48 (bit 0: private) | 16 hash bits, from bit `base` of the hash counted from the top
//! ```
//!
//! - `depth` hash bits (from the top) are common to all entries. A split looks at the next one, which
//!   the slots store as long as `base <= depth < base + 16`; then the table refills them.
//! - `count` counts the tags; a chained segment's last slot holds the next segment of its chain, which
//!   has the same depth and base, and its tag stays empty.
//! - `private`: the entry was born since this segment was last copied. In a segment that is not frozen,
//!   a private entry is not frozen either; for any other the birth is unknown.
//! - An entry goes to the slot line that its hash prefers if there is room, so that a look-up can
//!   prefetch that line together with the tags.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::super::domain::{EPOCH_BITS, EPOCH_MAX};

/// Slots of a segment.
pub const SLOTS: usize = 56;
/// Hash bits in a slot.
pub const STORED_BITS: u32 = 16;
/// The slot that links a chained segment to the next.
pub const LINK: usize = SLOTS - 1;
/// Deepest segment: a prefix of that many bits is also a scan cursor.
pub const DEPTH_MAX: u32 = 48;

const DEPTH_SHIFT: u32 = EPOCH_BITS;
const COUNT_SHIFT: u32 = DEPTH_SHIFT + 6;
const BASE_SHIFT: u32 = COUNT_SHIFT + 6;
const CHAINED: u64 = 1 << (BASE_SHIFT + 6);
const POINTER_MASK: u64 = (1 << 48) - 1;
const PRIVATE: u64 = 1;
/// All slots as a mask with bit i for slot i.
const ALL: u64 = (1 << SLOTS) - 1;

#[repr(C, align(64))]
pub struct Segment {
    meta: u64,
    tags: [u8; SLOTS],
    slots: [u64; SLOTS],
}

const _: () = assert!(size_of::<Segment>() == 512);
const _: () = assert!(std::mem::offset_of!(Segment, slots) == 64);

/// The segment of every empty table: frozen for ever (epoch 0), never freed.
pub static EMPTY: Segment = Segment {
    meta: 0,
    tags: [0; SLOTS],
    slots: [0; SLOTS],
};

/// One slot: an entry's address, some bits of its hash, and whether it is private.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u64);

impl Slot {
    pub fn new(pointer: NonNull<u8>, stored: u16, private: bool) -> Slot {
        let address = pointer.as_ptr().expose_provenance() as u64;
        debug_assert!(address & !POINTER_MASK == 0 && address & 7 == 0);
        Slot(address | u64::from(stored) << 48 | u64::from(private))
    }

    #[inline]
    pub fn pointer(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut((self.0 & POINTER_MASK & !7) as usize)
    }

    #[inline]
    pub fn stored(self) -> u16 {
        (self.0 >> 48) as u16
    }

    pub fn is_private(self) -> bool {
        self.0 & PRIVATE != 0
    }

    pub fn with_private(self, private: bool) -> Slot {
        Slot(self.0 & !PRIVATE | u64::from(private))
    }
}

/// The tag of a hash: never 0.
#[inline]
pub fn tag_of(hash: u64) -> u8 {
    let low = hash as u8;
    low + u8::from(low == 0)
}

/// The 16 bits of the hash that a slot stores in a segment with this base.
#[inline]
pub fn stored_of(hash: u64, base: u32) -> u16 {
    (hash >> (48 - base)) as u16
}

/// The slot line (0 to 6, eight slots each) that an entry with this hash prefers.
#[inline]
pub fn line_of(hash: u64) -> usize {
    (((hash >> 8 & 0xffff) * 7) >> 16) as usize
}

impl Segment {
    /// An empty segment on the heap.
    pub fn alloc(epoch: u64, depth: u32, base: u32) -> NonNull<Segment> {
        debug_assert!(epoch <= EPOCH_MAX && depth <= DEPTH_MAX && base <= 48);
        let layout = Layout::new::<Segment>();
        // SAFETY: the layout has a size.
        let Some(segment) = NonNull::new(unsafe { alloc(layout) }.cast::<Segment>()) else {
            handle_alloc_error(layout)
        };
        let meta = epoch | u64::from(depth) << DEPTH_SHIFT | u64::from(base) << BASE_SHIFT;
        // SAFETY: fresh memory of the right layout.
        unsafe {
            segment.write(Segment {
                meta,
                tags: [0; SLOTS],
                slots: [0; SLOTS],
            })
        };
        segment
    }

    /// A copy born in `epoch`, without private entries.
    pub fn copy(&self, epoch: u64) -> NonNull<Segment> {
        let layout = Layout::new::<Segment>();
        // SAFETY: the layout has a size.
        let Some(segment) = NonNull::new(unsafe { alloc(layout) }.cast::<Segment>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: fresh memory of the right layout; then ours alone.
        unsafe {
            segment.copy_from_nonoverlapping(NonNull::from(self), 1);
            let copy = &mut *segment.as_ptr();
            copy.meta = copy.meta & !EPOCH_MAX | epoch;
            copy.slots.iter_mut().for_each(|slot| *slot &= !PRIVATE);
        }
        segment
    }

    /// # Safety
    /// `segment` came from `alloc` or `copy` and is given up for good. Its entries are not touched.
    pub unsafe fn free(segment: NonNull<Segment>) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(segment.as_ptr().cast(), Layout::new::<Segment>()) }
    }

    #[inline]
    pub fn epoch(&self) -> u64 {
        self.meta & EPOCH_MAX
    }

    #[inline]
    pub fn depth(&self) -> u32 {
        (self.meta >> DEPTH_SHIFT) as u32 & 63
    }

    pub fn set_depth(&mut self, depth: u32) {
        debug_assert!(depth <= DEPTH_MAX);
        self.meta = self.meta & !(63 << DEPTH_SHIFT) | u64::from(depth) << DEPTH_SHIFT;
    }

    /// Entries in this segment (not counting the rest of its chain).
    #[inline]
    pub fn count(&self) -> usize {
        (self.meta >> COUNT_SHIFT) as usize & 63
    }

    #[inline]
    pub fn base(&self) -> u32 {
        (self.meta >> BASE_SHIFT) as u32 & 63
    }

    pub fn set_base(&mut self, base: u32) {
        debug_assert!(base <= 48);
        self.meta = self.meta & !(63 << BASE_SHIFT) | u64::from(base) << BASE_SHIFT;
    }

    /// The next segment of the chain.
    #[inline]
    pub fn next(&self) -> Option<NonNull<Segment>> {
        if self.meta & CHAINED == 0 {
            return None;
        }
        NonNull::new(Slot(self.slots[LINK]).pointer().cast())
    }

    /// Links the next segment of the chain; the last slot must be empty or a link.
    pub fn set_next(&mut self, next: Option<NonNull<Segment>>) {
        assert!(self.tags[LINK] == 0);
        match next {
            Some(next) => {
                self.meta |= CHAINED;
                self.slots[LINK] = Slot::new(next.cast(), 0, false).0;
            }
            None => {
                self.meta &= !CHAINED;
                self.slots[LINK] = 0;
            }
        }
    }

    #[inline]
    pub fn slot(&self, index: usize) -> Slot {
        Slot(self.slots[index])
    }

    #[inline]
    pub fn set_slot(&mut self, index: usize, slot: Slot) {
        self.slots[index] = slot.0;
    }

    #[inline]
    pub fn tag(&self, index: usize) -> u8 {
        self.tags[index]
    }

    /// A free slot for an entry with this hash, in its preferred line if it can be.
    pub fn free_slot(&self, hash: u64) -> Option<usize> {
        let link = u64::from(self.meta & CHAINED != 0) << LINK;
        let free = self.matches(0) & !link;
        let preferred = free & 0xff << (8 * line_of(hash));
        let from = if preferred != 0 { preferred } else { free };
        (from != 0).then(|| from.trailing_zeros() as usize)
    }

    /// Fills a free slot.
    #[inline]
    pub fn put(&mut self, index: usize, tag: u8, slot: Slot) {
        debug_assert!(tag != 0 && self.tags[index] == 0);
        self.tags[index] = tag;
        self.slots[index] = slot.0;
        self.meta += 1 << COUNT_SHIFT;
    }

    /// Empties a slot.
    #[inline]
    pub fn clear(&mut self, index: usize) -> Slot {
        debug_assert!(self.tags[index] != 0);
        self.tags[index] = 0;
        self.meta -= 1 << COUNT_SHIFT;
        Slot(std::mem::take(&mut self.slots[index]))
    }

    /// The slots whose tag is `tag`, bit i for slot i; 0 finds the empty ones.
    #[inline]
    pub fn matches(&self, tag: u8) -> u64 {
        #[cfg(target_arch = "x86_64")]
        {
            self.matches_sse2(tag)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self.matches_portable(tag)
        }
    }

    /// The occupied slots.
    #[inline]
    pub fn occupied(&self) -> u64 {
        !self.matches(0) & ALL
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn matches_sse2(&self, tag: u8) -> u64 {
        use std::arch::x86_64::{
            __m128i, _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8,
        };
        // The header's eight bytes are compared too and shifted out.
        let line = std::ptr::from_ref(self).cast::<__m128i>();
        let mut mask = 0;
        // SAFETY: SSE2 is part of x86_64; the four loads cover the segment's first, aligned 64 bytes.
        unsafe {
            let wanted = _mm_set1_epi8(tag.cast_signed());
            for quarter in 0..4 {
                let equal = _mm_cmpeq_epi8(_mm_load_si128(line.add(quarter)), wanted);
                mask |= u64::from(_mm_movemask_epi8(equal).cast_unsigned()) << (16 * quarter);
            }
        }
        mask >> 8
    }

    /// The twin without SIMD.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    #[inline]
    fn matches_portable(&self, tag: u8) -> u64 {
        let bit = |(index, &own): (usize, &u8)| u64::from(own == tag) << index;
        self.tags
            .iter()
            .enumerate()
            .map(bit)
            .fold(0, |mask, bit| mask | bit)
    }
}

/// The indices of a mask's bits.
pub struct Bits(pub u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let index = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(index)
    }
}

/// Asks for the cache line at `address`.
#[inline]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is harmless.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast())
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn simd_and_portable_agree() {
        let mut random = Prng::new(1);
        for _ in 0..2000 {
            let mut segment = Segment {
                meta: random.next_u64(),
                tags: [0; SLOTS],
                slots: [0; SLOTS],
            };
            segment
                .tags
                .iter_mut()
                .for_each(|tag| *tag = random.below(4) as u8 * 85);
            for tag in [0, 85, 170, 255, 7] {
                assert_eq!(segment.matches(tag), segment.matches_portable(tag));
            }
        }
    }

    #[test]
    fn header_fields_do_not_overlap() {
        let segment = Segment::alloc(EPOCH_MAX, 48, 48);
        // SAFETY: fresh and ours alone.
        let own = unsafe { &mut *segment.as_ptr() };
        own.set_next(Some(segment));
        let slot = Slot::new(
            NonNull::new(0xffff_ffff_fff8 as *mut u8).unwrap(),
            0xabcd,
            true,
        );
        for at in 0..LINK {
            own.put(at, 9, slot);
        }
        assert_eq!(
            (own.epoch(), own.depth(), own.base(), own.count()),
            (EPOCH_MAX, 48, 48, 55)
        );
        assert!(own.next() == Some(segment) && own.free_slot(0).is_none());
        assert!(own.slot(3).is_private() && own.slot(3).stored() == 0xabcd);
        assert_eq!(own.slot(3).pointer() as usize, 0xffff_ffff_fff8);
        own.clear(7);
        own.set_next(None);
        own.set_depth(3);
        own.set_base(1);
        assert_eq!(
            (own.epoch(), own.depth(), own.base(), own.count()),
            (EPOCH_MAX, 3, 1, 54)
        );
        assert_eq!(own.free_slot(0), Some(7));
        assert_eq!(own.occupied().count_ones(), 54);
        // SAFETY: allocated above.
        unsafe { Segment::free(segment) };
    }
}
