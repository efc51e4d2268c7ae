//! How many values have which size: INFO keysizes.
//!
//! Invariant: each stored entry is counted once, in the bin of its kind and size; whatever changes a value tells
//! [`Sizes::changed`]. A size that stays in its bin costs no write.

use super::{Entry, Kind, StringRef, ValueRef};

/// Bin 0 is for size 0, bin `i + 1` for sizes from 2^i on.
const BINS: usize = 1 + usize::BITS as usize;

/// A histogram of each kind of value.
#[derive(Debug)]
pub struct Sizes {
    counts: [[u64; BINS]; Kind::ALL.len()],
}

/// Where an entry's value is counted: by its kind, and by bytes for strings and elements for others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bin {
    kind: Kind,
    bin: usize,
}

impl Bin {
    /// That of an entry.
    #[inline]
    pub fn of(entry: &Entry) -> Bin {
        let kind = entry.kind();
        if kind == Kind::Stream {
            // Redis reports no sizes of streams.
            return Bin { kind, bin: 0 };
        }
        let bin = match ValueRef::of(entry) {
            ValueRef::String(StringRef::Int(number)) => bin_of_decimal(number),
            ValueRef::String(string) => bin_of(string.len()),
            ValueRef::List(list) => bin_of(list.len()),
            ValueRef::Set(set) => bin_of(set.len()),
            ValueRef::Zset(zset) => bin_of(zset.len()),
            ValueRef::Hash(hash) => bin_of(hash.len()),
            ValueRef::Stream(_) => 0,
        };
        Bin { kind, bin }
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

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            counts: [[0; BINS]; Kind::ALL.len()],
        }
    }
}

impl Sizes {
    /// An entry came, went, or has another value.
    #[inline]
    pub fn changed(&mut self, old: Option<Bin>, new: Option<Bin>) {
        if old == new {
            return;
        }
        if let Some(Bin { kind, bin }) = old {
            self.counts[kind as usize][bin] -= 1;
        }
        if let Some(Bin { kind, bin }) = new {
            self.counts[kind as usize][bin] += 1;
        }
    }

    /// The smallest size of each bin of a kind that is not empty, and how many are in it.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = (u64, u64)> {
        let bins = self.counts[kind as usize].iter().enumerate();
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
