//! Scan cursors and uniform random entries.
//!
//! A scan walks the hash prefixes upwards: its position is a prefix of 48 bits, so what was there from
//! start to end is visited, and nothing twice, whatever splits or merges meanwhile. The cursor that
//! clients see is a keyed permutation of the position: positions are prefixes of stored keys' hashes,
//! and a client that could read them could aim for one segment.
#![allow(unsafe_code)]

use super::CowTable;
use super::directory::{Array, CHUNK_BITS, ChunkRef};
use super::segment::{DEPTH_MAX, SLOTS};
use crate::container::entry::Entry;

/// Cursors are below 2^48: clients keep them in doubles.
pub const CURSOR_BITS: u32 = 48;
const BITS_BELOW: u32 = 64 - CURSOR_BITS;
const CURSOR_MASK: u64 = (1 << CURSOR_BITS) - 1;
const HALF_BITS: u32 = CURSOR_BITS / 2;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const ROUNDS: u64 = 4;
/// Tries for a random entry before the exact walk over all segments.
const RANDOM_TRIES: usize = 4096;

const _: () = assert!(DEPTH_MAX <= CURSOR_BITS);

impl<E: Entry> CowTable<E> {
    /// Visits up to `count` entries of one segment, more only if they share a position; returns the cursor to go on
    /// with, 0 at the end. Start with 0. Any number is a valid cursor. O(entries of a segment).
    pub fn scan(&self, cursor: u64, count: usize, mut visitor: impl FnMut(&E)) -> u64 {
        let position = if cursor == 0 {
            0
        } else {
            self.position_of(cursor & CURSOR_MASK)
        };
        let hash = position << BITS_BELOW;
        let segment = self.root.segment(hash);
        let begins_here = hash << segment.depth() == 0;
        if begins_here && segment.next().is_none() && segment.count() <= count {
            self.root.visit(hash, &mut visitor);
        } else {
            let mut entries = Vec::with_capacity(SLOTS);
            self.root.visit(hash, &mut |entry: &E| {
                let at = entry.hash(&self.hasher) >> BITS_BELOW;
                if at >= position {
                    entries.push((at, entry));
                }
            });
            entries.sort_unstable_by_key(|(at, _)| *at);
            let last = entries.get(count.max(1) - 1).map(|(at, _)| *at);
            for (at, entry) in entries {
                match last.filter(|last| at > *last) {
                    Some(last) => return self.cursor_of(last + 1),
                    None => visitor(entry),
                }
            }
        }
        match self.root.after(hash) {
            Some(next) => self.cursor_of(next >> BITS_BELOW),
            None => 0,
        }
    }

    /// A cursor for a position other than 0: a permutation, with 0 taken out of its range.
    fn cursor_of(&self, position: u64) -> u64 {
        match self.permute(position) {
            0 => self.permute(0),
            cursor => cursor,
        }
    }

    fn position_of(&self, cursor: u64) -> u64 {
        if cursor == self.permute(0) {
            self.restore(0)
        } else {
            self.restore(cursor)
        }
    }

    /// A Feistel network over two halves of 24 bits.
    fn permute(&self, position: u64) -> u64 {
        let (mut high, mut low) = (position >> HALF_BITS, position & HALF_MASK);
        for round in 0..ROUNDS {
            (high, low) = (low, high ^ self.round(round, low));
        }
        high << HALF_BITS | low
    }

    fn restore(&self, cursor: u64) -> u64 {
        let (mut high, mut low) = (cursor >> HALF_BITS, cursor & HALF_MASK);
        for round in (0..ROUNDS).rev() {
            (high, low) = (low ^ self.round(round, high), high);
        }
        high << HALF_BITS | low
    }

    fn round(&self, round: u64, half: u64) -> u64 {
        let mixed = (half ^ self.cursor_key.rotate_left(13 * round as u32 + 1))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ round << 17)
            .wrapping_add(self.cursor_key);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
    }

    /// An entry chosen uniformly. `random` returns 64 random bits.
    ///
    /// Picks a directory index of full depth and accepts it if it is its segment's first, then picks a
    /// slot and accepts it if it is occupied. Tables with overflow chains pick by rank: O(segments).
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<&E> {
        if self.len == 0 {
            return None;
        }
        if self.len > SLOTS {
            for _ in 0..RANDOM_TRIES {
                let bits = random();
                // SAFETY: alive while the table is borrowed; the index has t bits.
                let chunk = ChunkRef(unsafe { Array::get(self.root.top(), self.root.index(bits)) });
                let full = if self.root.bits() == 0 {
                    chunk.bits()
                } else {
                    self.root.bits() + CHUNK_BITS
                };
                let segment = self.root.segment(bits);
                if segment.next().is_some() {
                    break;
                }
                // The index's bits below the segment's depth must be 0: one index in 2^(full-depth).
                let below = bits << segment.depth() >> 1 >> (63 - (full - segment.depth()));
                if below != 0 {
                    continue;
                }
                let slot = (((random() >> 32) * SLOTS as u64) >> 32) as usize;
                if segment.tag(slot) != 0 {
                    // SAFETY: a tagged slot holds a live entry.
                    return Some(unsafe { &*segment.slot(slot).pointer().cast::<E>() });
                }
            }
        }
        let rank = ((u128::from(random()) * self.len as u128) >> 64) as usize;
        self.by_rank(rank)
    }

    /// The entry at a rank in hash-prefix order: O(segments).
    fn by_rank(&self, rank: usize) -> Option<&E> {
        let (mut passed, mut next) = (0, Some(0));
        while let Some(hash) = next {
            let mut segment = Some(self.root.segment(hash));
            while let Some(own) = segment {
                if rank < passed + own.count() {
                    let slot = super::segment::Bits(own.occupied()).nth(rank - passed)?;
                    // SAFETY: a tagged slot holds a live entry.
                    return Some(unsafe { &*own.slot(slot).pointer().cast::<E>() });
                }
                passed += own.count();
                // SAFETY: a chain's segments are alive while the table is borrowed.
                segment = own.next().map(|next| unsafe { &*next.as_ptr() });
            }
            next = self.root.after(hash);
        }
        None
    }
}
