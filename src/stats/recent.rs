//! Peaks for INFO: the largest of what was noted in the last seconds.

const SECONDS: usize = 8;

/// The largest value of the last eight seconds.
#[derive(Clone, Debug, Default)]
pub struct RecentPeak {
    /// Per second, at its number modulo [`SECONDS`]: the second and the largest value noted in it.
    slots: [(i64, usize); SECONDS],
}

impl RecentPeak {
    /// Notes a value in this second.
    pub fn note(&mut self, second: i64, value: usize) {
        let slot = &mut self.slots[second.rem_euclid(SECONDS as i64) as usize];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 = slot.1.max(value);
    }

    /// The largest value of this second and the seven before it.
    pub fn largest(&self, second: i64) -> usize {
        let recent = |slot: &&(i64, usize)| second - slot.0 < SECONDS as i64;
        let values = self.slots.iter().filter(recent).map(|slot| slot.1);
        values.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_told_for_eight_seconds() {
        let mut peak = RecentPeak::default();
        peak.note(100, 7);
        peak.note(100, 3);
        peak.note(105, 5);
        assert_eq!(
            [100, 107, 108, 112, 113].map(|second| peak.largest(second)),
            [7, 7, 5, 5, 0]
        );
        peak.note(108, 1);
        assert_eq!(peak.largest(108), 5);
    }
}
