//! A small seeded random-number generator (xoshiro256++ seeded through SplitMix64).
//!
//! Not for secrets. The same seed gives the same numbers on every machine, which the
//! simulator and the fuzz drivers rely on.

/// A seeded generator; cheap to copy into tests and to keep in the engine.
#[derive(Clone, Debug)]
pub struct Prng {
    /// Invariant: never all zero.
    state: [u64; 4],
}

impl Prng {
    /// A generator that is wholly determined by `seed`.
    pub fn new(seed: u64) -> Prng {
        let mut mix = seed;
        let mut next = || {
            mix = mix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mix;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        // Four successive outputs of SplitMix64 are never all zero.
        let state = [next(), next(), next(), next()];
        Prng { state }
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A uniform number below `n`. `below(0)` is 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        // Widening multiplication; draws again for the few low values that would be favoured.
        let threshold = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if wide as u64 >= threshold {
                return (wide >> 64) as u64;
            }
        }
    }

    /// `len` random lower-case hexadecimal digits, as in run ids and replication ids.
    pub fn hex(&mut self, len: usize) -> String {
        let mut text = String::with_capacity(len);
        let mut bits = 0;
        for index in 0..len {
            if index % 16 == 0 {
                bits = self.next_u64();
            }
            text.push(char::from_digit((bits & 15) as u32, 16).unwrap_or('0'));
            bits >>= 4;
        }
        text
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers_and_below_is_in_range() {
        let (mut a, mut b) = (Prng::new(7), Prng::new(7));
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            assert_eq!(a.next_u64(), b.next_u64());
            seen[a.below(10) as usize] += 1;
            b.below(10);
        }
        assert!(
            seen.iter().all(|&count| (800..1200).contains(&count)),
            "{seen:?}"
        );
        assert_eq!(a.below(0), 0);
        assert_eq!(a.below(1), 0);
        assert_eq!(a.hex(40).len(), 40);
    }
}
