//! What the tests of this room share: a plain entry type and a hasher that can collide.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::{Entry, Owned};

pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Entries alive, over all tests of the process (so only differences in a lone test mean something).
pub static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// How test keys are hashed: mixed, with some top bits forced equal.
#[derive(Clone, Copy)]
pub struct TestHasher {
    /// Bits from the top that all hashes share; 64 makes all equal.
    pub common_bits: u32,
}

impl TestHasher {
    pub fn hash(&self, key: u64) -> u64 {
        let rest = mix(key.wrapping_add(12345));
        match self.common_bits {
            0 => rest,
            64 => 0x0123_4567_89ab_cdef,
            bits => 0xa5a5_a5a5_a5a5_a5a5 >> (64 - bits) << (64 - bits) | rest >> bits,
        }
    }
}

/// A key and a value, and the access word that may be written while frozen.
#[repr(C)]
pub struct Pair {
    pub access: AtomicU32,
    pub key: u64,
    pub value: u64,
}

impl Pair {
    pub fn make(key: u64, value: u64) -> Owned<Pair> {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        let pair = Box::new(Pair {
            access: AtomicU32::new(0),
            key,
            value,
        });
        // SAFETY: a fresh allocation, freed as a box below.
        unsafe { Owned::from_raw(NonNull::from(Box::leak(pair))) }
    }
}

// SAFETY: a boxed plain struct; only the access word is written through shared references.
unsafe impl Entry for Pair {
    type Hasher = TestHasher;

    fn hash(&self, hasher: &TestHasher) -> u64 {
        hasher.hash(self.key)
    }

    fn copy(&self) -> Owned<Pair> {
        Pair::make(self.key, self.value)
    }

    fn bytes(&self) -> usize {
        size_of::<Pair>()
    }

    unsafe fn free(this: NonNull<Pair>) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: made by `make`, given up by the caller. Poisoned so that a late reader notices.
        unsafe {
            (*this.as_ptr()).value = 0xdead_dead_dead_dead;
            drop(Box::from_raw(this.as_ptr()));
        }
    }
}
