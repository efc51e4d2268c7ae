//! [`Texts`]: strings copied out of values, one behind the other in one buffer.

use crate::types::StringRef;

/// Copied strings in order.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Where each begins and ends.
    ranges: Vec<(usize, usize)>,
}

impl Texts {
    /// Appends one.
    pub fn push(&mut self, text: StringRef<'_>) {
        let start = self.bytes.len();
        text.push_to(&mut self.bytes);
        self.ranges.push((start, self.bytes.len()));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Bytes of all.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the last first.
    pub fn reverse(&mut self) {
        self.ranges.reverse();
    }

    /// In order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.ranges
            .iter()
            .map(|&(start, end)| &self.bytes[start..end])
    }
}
