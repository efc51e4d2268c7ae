//! How many values have which size: INFO keysizes.
//!
//! Invariant: each stored entry is counted once, in the bin of its kind and size; whatever changes a value tells
//! [`Sizes::changed`]. A size that stays in its bin costs no write.

use crate::types::{Entry, Kind, StringRef};

/// Bin 0 is for size 0, bin `i + 1` for sizes from 2^i on.
const BINS: usize = 1 + usize::BITS as usize;

/// A histogram of each kind of value.
#[derive(Debug)]
pub struct Sizes {
    strings: [u64; BINS],
}

/// The place of an entry's value: its kind and its bin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    kind: Kind,
    bin: usize,
}

impl Place {
    #[inline]
    pub(super) fn of(entry: &Entry) -> Place {
        let kind = entry.kind();
        let bin = match kind {
            Kind::String => match entry.string() {
                StringRef::Int(number) => bin_of_decimal(number),
                string => bin_of(string.len()),
            },
        };
        Place { kind, bin }
    }
}

#[inline]
fn bin_of(size: usize) -> usize {
    (usize::BITS - size.leading_zeros()) as usize
}

/// The bin of a number's decimal form: up to 1, 3, 7, 15 and 20 characters.
#[inline]
fn bin_of_decimal(number: i64) -> usize {
    match number {
        0..=9 => 1,
        -99..=999 => 2,
        -999_999..=9_999_999 => 3,
        -99_999_999_999_999..=999_999_999_999_999 => 4,
        _ => 5,
    }
}

impl Sizes {
    pub(super) fn new() -> Sizes {
        Sizes { strings: [0; BINS] }
    }

    /// An entry came, went, or has another value.
    #[inline]
    pub(super) fn changed(&mut self, old: Option<Place>, new: Option<Place>) {
        if old == new {
            return;
        }
        if let Some(place) = old {
            *self.bin(place) -= 1;
        }
        if let Some(place) = new {
            *self.bin(place) += 1;
        }
    }

    fn bin(&mut self, place: Place) -> &mut u64 {
        match place.kind {
            Kind::String => &mut self.strings[place.bin],
        }
    }

    /// The smallest size of each bin of strings that is not empty, and how many are in it.
    pub fn strings(&self) -> impl Iterator<Item = (u64, u64)> {
        let bins = self.strings.iter().enumerate();
        bins.filter(|(_, count)| **count > 0)
            .map(|(bin, count)| (1_u64.checked_shl(bin as u32).unwrap_or(0) >> 1, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_where_their_text_does() {
        for digits in 0..=18 {
            let power = 10_i64.pow(digits);
            for number in [power - 1, power, 1 - power, -power] {
                let bin = bin_of(number.to_string().len());
                assert_eq!(bin_of_decimal(number), bin, "{number}");
            }
        }
        assert_eq!(bin_of_decimal(i64::MIN), bin_of(20));
    }
}
