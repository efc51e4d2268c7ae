//! Rates for INFO: the mean of the last 16 samples.

const SAMPLES: usize = 16;

/// The growth of a counter.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    last_base: u64,
    last_value: u64,
    samples: [u64; SAMPLES],
    next: usize,
}

impl Rate {
    /// Takes a sample: what `value` grew by since the last one, for each `factor` that `base` grew.
    pub fn sample(&mut self, value: u64, base: u64, factor: u64) {
        if self.last_base > 0 {
            let grown = value.saturating_sub(self.last_value);
            let passed = base.saturating_sub(self.last_base);
            let rate = (u128::from(grown) * u128::from(factor)).checked_div(u128::from(passed));
            self.samples[self.next] = rate.unwrap_or(0) as u64;
            self.next = (self.next + 1) % SAMPLES;
        }
        self.last_base = base;
        self.last_value = value;
    }

    /// The mean.
    pub fn mean(&self) -> u64 {
        self.samples.iter().sum::<u64>() / SAMPLES as u64
    }

    /// Starts over.
    pub fn reset(&mut self) {
        *self = Rate::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_counter_has_its_rate() {
        let mut rate = Rate::default();
        for tick in 1..=17 {
            rate.sample(tick * 500, tick * 100, 1000);
        }
        assert_eq!(rate.mean(), 5000);
    }
}
