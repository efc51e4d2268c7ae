//! Replication ids: 40 lower-case hexadecimal digits that name one history of writes.
//!
//! A node holds two: the id of the history it writes or follows now, and the one it left at a
//! failover, valid up to the offset where the histories part.

use std::fmt;

/// Digits in an id.
pub const ID_BYTES: usize = 40;

/// One replication id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; ID_BYTES]);

impl Id {
    /// What Redis shows for "no id": forty zeros.
    pub const NONE: Id = Id([b'0'; ID_BYTES]);

    /// An id from 20 random bytes.
    pub fn from_random(random: [u8; ID_BYTES / 2]) -> Id {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut id = [0; ID_BYTES];
        for (pair, byte) in id.chunks_exact_mut(2).zip(random) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Id(id)
    }

    /// An id from a source of random words.
    pub fn generate(mut next_u64: impl FnMut() -> u64) -> Id {
        let mut random = [0; ID_BYTES / 2];
        for part in random.chunks_mut(8) {
            part.copy_from_slice(&next_u64().to_le_bytes()[..part.len()]);
        }
        Id::from_random(random)
    }

    /// The id in `text`, when it has 40 printable characters (peers compare ids without regard
    /// to case and never look inside).
    pub fn parse(text: &[u8]) -> Option<Id> {
        let id: [u8; ID_BYTES] = text.try_into().ok()?;
        id.iter().all(u8::is_ascii_graphic).then_some(Id(id))
    }

    /// The 40 characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The 40 characters as text.
    pub fn as_str(&self) -> &str {
        // Only graphic ASCII enters an id.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether `text` names this id, in any case.
    pub fn is(&self, text: &[u8]) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The two histories a node can continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The history this node writes or follows.
    pub current: Id,
    /// The history it followed before, or [`Id::NONE`].
    pub previous: Id,
    /// Up to this offset the previous history is ours too; -1 without one.
    pub previous_until: i64,
}

impl Ids {
    /// A node with a history of its own.
    pub fn new(current: Id) -> Ids {
        Ids {
            current,
            previous: Id::NONE,
            previous_until: -1,
        }
    }

    /// Starts an unrelated history: nobody can continue what was before.
    pub fn restart(&mut self, fresh: Id) {
        *self = Ids::new(fresh);
    }

    /// Leaves the current history at `offset` for `fresh`; peers that followed it up to there
    /// may continue with us.
    pub fn shift(&mut self, fresh: Id, offset: i64) {
        self.previous = self.current;
        self.previous_until = offset;
        self.current = fresh;
    }

    /// Forgets the previous history.
    pub fn clear_previous(&mut self) {
        self.previous = Id::NONE;
        self.previous_until = -1;
    }

    /// Whether a peer that followed history `id` up to `offset` has followed ours.
    pub fn shares(&self, id: &[u8], offset: i64) -> bool {
        self.current.is(id) || (self.previous.is(id) && offset <= self.previous_until)
    }

    /// INFO's `second_repl_offset`: the first byte that is no longer of the previous history.
    pub fn second_repl_offset(&self) -> i64 {
        if self.previous_until < 0 {
            -1
        } else {
            self.previous_until + 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hex_and_parse_back() {
        let id = Id::from_random([0xa5; 20]);
        assert_eq!(id.to_string(), "a5".repeat(20));
        assert_eq!(Id::parse(id.as_bytes()), Some(id));
        assert_eq!(Id::parse(b"?"), None);
        assert_eq!(Id::parse(&[b'\n'; 40]), None);
        let mut word = 0;
        let id = Id::generate(|| {
            word += 1;
            word
        });
        assert_eq!(id.to_string(), "0100000000000000020000000000000003000000");
    }

    #[test]
    fn previous_history_ends_where_it_was_left() {
        let (old, new) = (Id::from_random([1; 20]), Id::from_random([2; 20]));
        let mut ids = Ids::new(old);
        assert_eq!(ids.second_repl_offset(), -1);
        assert!(!ids.shares(Id::NONE.as_bytes(), 0));
        ids.shift(new, 100);
        assert_eq!(ids.second_repl_offset(), 101);
        assert!(ids.shares(new.as_bytes(), 500));
        assert!(ids.shares(&old.as_bytes().to_ascii_uppercase(), 100));
        assert!(!ids.shares(old.as_bytes(), 101));
        ids.clear_previous();
        assert!(!ids.shares(old.as_bytes(), 1));
    }
}
