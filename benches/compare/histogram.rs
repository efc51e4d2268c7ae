//! A log-linear histogram of durations: 64 buckets a power of two, so a figure is off by at most 1.6%.

use std::time::Duration;

const LINEAR_BITS: u32 = 6;
const LINEAR: u64 = 1 << LINEAR_BITS;
/// Durations up to 2^43 ns (over two hours); longer ones count as that.
const BUCKETS: usize = ((43 - LINEAR_BITS as usize) + 1) << LINEAR_BITS;

/// Counts durations by bucket; keeps the longest exactly.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram {
            counts: vec![0; BUCKETS],
            total: 0,
            max_ns: 0,
        }
    }

    fn index(ns: u64) -> usize {
        if ns < LINEAR {
            return ns as usize;
        }
        let shift = ns.ilog2() - LINEAR_BITS;
        let index = ((shift as u64 + 1) << LINEAR_BITS) + ((ns >> shift) - LINEAR);
        (index as usize).min(BUCKETS - 1)
    }

    /// The middle of a bucket.
    fn value(index: usize) -> u64 {
        let index = index as u64;
        if index < LINEAR {
            return index;
        }
        let shift = (index >> LINEAR_BITS) - 1;
        let low = (LINEAR + (index & (LINEAR - 1))) << shift;
        low + (1 << shift) / 2
    }

    pub fn record(&mut self, duration: Duration) {
        let ns = duration.as_nanos() as u64;
        self.counts[Self::index(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.max_ns = 0;
    }

    /// The duration in µs that a share `quantile` (0 to 1) of the recorded ones do not exceed; 0 when empty.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = (self.total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Self::value(index).min(self.max_ns) as f64 / 1e3;
            }
        }
        self.max_us()
    }

    /// The longest duration in µs.
    pub fn max_us(&self) -> f64 {
        self.max_ns as f64 / 1e3
    }
}
