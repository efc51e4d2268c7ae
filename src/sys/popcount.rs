//! Counting bits with what the processor has: AVX2 and POPCNT where they are, the portable code elsewhere.
#![allow(unsafe_code)]

/// Bits set in `bytes`.
pub fn count_ones(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has both features.
        return unsafe { avx2::count_ones(bytes) };
    }
    sum(bytes)
}

#[inline(always)]
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let words = words
        .iter()
        .map(|word| u64::from_ne_bytes(*word).count_ones());
    let rest = rest.iter().map(|byte| byte.count_ones());
    words.chain(rest).map(u64::from).sum()
}

/// Harley's and Seal's way: the bits of each place are added up in columns of ones, twos, fours and eights, so that only
/// every sixteenth register is counted.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    const LANE_BYTES: usize = 32;
    const BLOCK_BYTES: usize = 16 * LANE_BYTES;
    /// Fetched so far ahead: pieces of a long string begin where the processor does not expect it.
    const AHEAD_BYTES: usize = 1024;

    #[target_feature(enable = "avx2,popcnt")]
    pub fn count_ones(bytes: &[u8]) -> u64 {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        let zero = _mm256_setzero_si256();
        let (mut ones, mut twos, mut fours, mut eights) = (zero, zero, zero, zero);
        let mut sixteens = 0;
        for block in blocks {
            for line in (0..BLOCK_BYTES).step_by(64) {
                let ahead = block.as_ptr().wrapping_add(AHEAD_BYTES + line);
                _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
            }
            let carry = |sum: &mut __m256i, a, b| {
                let half = _mm256_xor_si256(*sum, a);
                let both = _mm256_and_si256(*sum, a);
                *sum = _mm256_xor_si256(half, b);
                _mm256_or_si256(both, _mm256_and_si256(half, b))
            };
            let mut two = |at: usize| {
                let pair = &block[at * LANE_BYTES..(at + 2) * LANE_BYTES];
                // SAFETY: the pair has two lanes; unaligned loads.
                let (a, b) = unsafe {
                    let pair = pair.as_ptr().cast::<__m256i>();
                    (_mm256_loadu_si256(pair), _mm256_loadu_si256(pair.add(1)))
                };
                carry(&mut ones, a, b)
            };
            let (a, b, c, d) = (two(0), two(2), two(4), two(6));
            let (e, f, g, h) = (two(8), two(10), two(12), two(14));
            let (a, b) = (carry(&mut twos, a, b), carry(&mut twos, c, d));
            let (c, d) = (carry(&mut twos, e, f), carry(&mut twos, g, h));
            let (a, b) = (carry(&mut fours, a, b), carry(&mut fours, c, d));
            sixteens += ones_of(carry(&mut eights, a, b));
        }
        let columns = 16 * sixteens + 8 * ones_of(eights) + 4 * ones_of(fours);
        columns + 2 * ones_of(twos) + ones_of(ones) + super::sum(rest)
    }

    #[target_feature(enable = "avx2,popcnt")]
    fn ones_of(lane: __m256i) -> u64 {
        let words = [
            _mm256_extract_epi64::<0>(lane),
            _mm256_extract_epi64::<1>(lane),
            _mm256_extract_epi64::<2>(lane),
            _mm256_extract_epi64::<3>(lane),
        ];
        words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn agrees_with_the_portable_code() {
        let bytes: Vec<u8> = (0..5000_u32)
            .map(|index| (index.wrapping_mul(0x9e37_79b9) >> 24) as u8)
            .collect();
        for start in 0..40 {
            for end in [start, start + 1, start + 31, start + 600, 4999, 5000] {
                let part = &bytes[start..end];
                let ones: u32 = part.iter().map(|byte| byte.count_ones()).sum();
                assert_eq!((count_ones(part), sum(part)), (ones.into(), ones.into()));
            }
        }
    }
}
