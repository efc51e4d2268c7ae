//! Deadlines of values and of what is in them: [`Ttl`], what becomes of one, and [`Times`], those of an entry.

use crate::base::time::UnixMs;

use super::entry::{Entry, Kind};
use super::hash::HashRef;

/// The last deadline that a field may be loaded with, in milliseconds.
pub const DEADLINE_MAX: UnixMs = (1 << 48) - 1;

/// What becomes of the deadline of a key or a field when its value is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    /// It stays (KEEPTTL and all commands that change a part).
    Keep,
    /// It goes.
    None,
    /// It is replaced.
    At(UnixMs),
}

impl Ttl {
    /// The deadline afterwards.
    #[inline]
    pub fn resolve(self, old: Option<UnixMs>) -> Option<UnixMs> {
        match self {
            Ttl::Keep => old,
            Ttl::None => None,
            Ttl::At(deadline) => Some(deadline),
        }
    }
}

/// The deadlines of an entry. A key without fields with deadlines has its own alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// The key's own.
    pub key: Option<UnixMs>,
    /// The first of its fields'.
    pub first: Option<UnixMs>,
    /// The last of its fields', if every field has one: the key ends with it.
    pub last: Option<UnixMs>,
}

impl Times {
    /// Those of an entry. O(log fields).
    #[inline]
    pub fn of(entry: &Entry) -> Times {
        let key = entry.expire_at();
        if entry.kind() != Kind::Hash {
            return Times {
                key,
                first: None,
                last: None,
            };
        }
        let (first, last) = HashRef::of(entry).span();
        Times { key, first, last }
    }

    /// When there is no key any more: by its own deadline or with its last field.
    #[inline]
    pub fn end(&self) -> Option<UnixMs> {
        match (self.key, self.last) {
            (Some(key), Some(last)) => Some(key.min(last)),
            (key, last) => key.or(last),
        }
    }

    /// The key's own deadline, unless it ends before by [`Times::last`].
    #[inline]
    pub fn by_key(&self) -> Option<UnixMs> {
        self.key
            .filter(|key| self.last.is_none_or(|last| *key <= last))
    }

    /// When it ends with its last field, unless before by its own deadline.
    #[inline]
    pub fn by_fields(&self) -> Option<UnixMs> {
        self.last
            .filter(|last| self.key.is_none_or(|key| *last < key))
    }

    /// The first field's deadline, unless the key ends then.
    #[inline]
    pub fn inside(&self) -> Option<UnixMs> {
        self.first
            .filter(|first| self.end().is_none_or(|end| *first < end))
    }
}

/// Who is told when the deadlines in a value have changed.
pub trait TimesChanged {
    /// The entry of a key with this hash had the deadlines `old` and now has `new`.
    fn times_changed(&mut self, hash: u64, old: Times, new: Times);
}
