//! A histogram of durations with two significant digits, from 1 ns to about 1 s.
//!
//! Buckets are 256 wide steps at first, then 128 to each doubling; a duration beyond the range is
//! counted in the last. `LATENCY HISTOGRAM` prints it by powers of two of 1.024 µs, INFO
//! latencystats as percentiles; both as Redis does (observed).

/// log2 of the steps in the first doubling range.
const STEP_BITS: u32 = 8;
const HALF: usize = 1 << (STEP_BITS - 1);
/// Longer durations are counted as this.
const NS_MAX: u64 = 1_000_000_000;
const LEN: usize = index(NS_MAX) + 1;

/// Counts of durations.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64; LEN]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: Box::new([0; LEN]),
            total: 0,
        }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Histogram of {}", self.total)
    }
}

/// The bucket of a duration.
#[inline]
const fn index(ns: u64) -> usize {
    // How far the value is shifted to have at most STEP_BITS bits.
    let shift = (u64::BITS - (ns | (2 * HALF as u64 - 1)).leading_zeros()) - STEP_BITS;
    shift as usize * HALF + (ns >> shift) as usize
}

/// The longest duration in a bucket.
const fn highest(index: usize) -> u64 {
    if index < 2 * HALF {
        return index as u64;
    }
    let shift = index / HALF - 1;
    let step = (index - shift * HALF) as u64;
    ((step + 1) << shift) - 1
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.counts[index(ns.min(NS_MAX))] += 1;
        self.total += 1;
    }

    /// Durations counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What the given share of durations (0 to 100) does not exceed, nanoseconds.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = (percent / 100.0 * self.total as f64 + 0.5) as u64;
        let wanted = wanted.clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                // The shortest is given by its lower bound.
                let low = percent == 0.0 && index > 0;
                return if low {
                    highest(index - 1) + 1
                } else {
                    highest(index)
                };
            }
        }
        0
    }

    /// `(upper bound in microseconds, durations up to it)` for each power of two that adds some.
    pub fn cumulative(&self) -> Vec<(u64, u64)> {
        let mut lines = Vec::new();
        let mut level = 1024;
        let (mut seen, mut from) = (0, 0);
        while seen < self.total {
            let last = index(level).min(LEN - 1);
            let added: u64 = self.counts[from..=last].iter().sum();
            if added != 0 {
                seen += added;
                lines.push((highest(index(level)) / 1000, seen));
            }
            from = last + 1;
            level *= 2;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_the_range_without_gaps() {
        for at in 0..LEN {
            assert_eq!(index(highest(at)), at);
            assert_eq!(index(highest(at) + 1), at + 1);
        }
    }

    /// Values observed on Redis 8.0.
    #[test]
    fn bounds_are_rediss() {
        let mut histogram = Histogram::default();
        for _ in 0..14 {
            histogram.record(4_000);
        }
        for _ in 0..6 {
            histogram.record(5_000);
        }
        assert_eq!(histogram.cumulative(), [(4, 14), (8, 20)]);
        assert_eq!(histogram.percentile(50.0), 4_015);
        assert_eq!(histogram.percentile(99.0), 5_023);
        let mut slow = Histogram::default();
        slow.record(10_115_000);
        assert_eq!(slow.cumulative(), [(16_908, 1)]);
        assert_eq!(slow.percentile(50.0), 10_158_079);
        slow.record(u64::MAX);
        assert_eq!(slow.total(), 2);
        assert_eq!(slow.cumulative().len(), 2);
    }
}
