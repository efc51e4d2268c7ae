//! When a small encoding ends.

/// Bounds of a small encoding, as `*-max-listpack-entries` and `*-max-listpack-value` give them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Elements at most.
    pub entries: usize,
    /// Bytes of the longest element.
    pub value: usize,
}

/// The bounds of all types' small encodings.
#[derive(Clone, Copy, Debug)]
pub struct Encodings {
    /// Hashes: fields, and the longest field or value.
    pub hash: Limits,
    /// Sets as packs.
    pub set: Limits,
    /// Members of a set of integers.
    pub set_ints: usize,
    /// Sorted sets.
    pub zset: Limits,
    /// `list-max-listpack-size`: elements of a list's chunk, or -1 to -5 for 4 to 64 KiB.
    pub list: i64,
}

impl Limits {
    /// From directives, which are not negative.
    pub fn of(entries: i64, value: i64) -> Limits {
        Limits {
            entries: usize::try_from(entries).unwrap_or(0),
            value: usize::try_from(value).unwrap_or(0),
        }
    }

    /// Whether an element is short enough.
    #[inline]
    pub fn takes(&self, element: &[u8]) -> bool {
        element.len() <= self.value
    }
}
