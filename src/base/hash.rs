//! The keyed hash of keys and members (foldhash, quality variant: every output bit is good).
//!
//! Keyed by a seed that a client never sees; the outputs themselves are not to be shown.

use std::hash::Hasher;
use std::sync::{Mutex, PoisonError};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// The key of the hash function. Two servers with different seeds place keys differently.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed {
    seed: u64,
    shared: &'static SharedSeed,
}

/// All seeds made: they live as long as the program, and a leak checker is to see that they are meant to.
static SEEDS: Mutex<Vec<&'static SharedSeed>> = Mutex::new(Vec::new());

impl HashSeed {
    /// A key derived from `seed`. Keeps 48 bytes for the program's life: make one per server, not per request.
    pub fn new(seed: u64) -> HashSeed {
        let shared: &'static SharedSeed = Box::leak(Box::new(SharedSeed::from_u64(seed)));
        SEEDS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(shared);
        HashSeed {
            seed: seed.rotate_left(32) ^ 0x6a09_e667_f3bc_c908,
            shared,
        }
    }

    /// The hash of `bytes`: all 64 bits are usable, the high ones included.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, self.shared);
        hasher.write(bytes);
        hasher.finish()
    }

    /// The key that scrambles the cursors of scans: one a server, so that they last when its data is loaded anew.
    pub fn cursor_key(&self) -> u64 {
        self.hash(b"cursors")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_and_spread() {
        let (a, b) = (HashSeed::new(1), HashSeed::new(2));
        assert_eq!(a.hash(b"key"), a.hash(b"key"));
        assert_ne!(a.hash(b"key"), b.hash(b"key"));
        assert_ne!(a.hash(b""), a.hash(b"\0"));
        for shift in [0, 28, 56] {
            let mut buckets = [0u32; 256];
            for number in 0..64_000u32 {
                let hash = a.hash(format!("key:{number}").as_bytes());
                buckets[(hash >> shift) as usize & 255] += 1;
            }
            assert!(
                buckets.iter().all(|&count| (170..340).contains(&count)),
                "shift {shift}"
            );
        }
    }
}
