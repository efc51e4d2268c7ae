//! [`BodyMut`]: the value of a key, for changing it in whatever form it has.

use crate::base::hash::HashSeed;
use crate::container::{Buffer, Domain, EntryMut};

use super::entry::{BLOCK_BYTES_MAX, Entry, Value};
use super::large::Large;
use super::sizes::{Bin, Sizes};
use super::times::{Times, TimesChanged};

/// The value of a collection's key in its table. As a [`Buffer`] it is the bytes of the small encoding: an edit is in
/// place where the allocator's class allows, and copies the entry first where a snapshot sees it.
pub struct BodyMut<'a> {
    slot: EntryMut<'a, Entry>,
    seed: HashSeed,
    counts: Counts<'a>,
    /// Where the counts have it.
    bin: Option<Bin>,
    /// What the counts know of its deadlines.
    times: Times,
}

/// What is to be told of a changed value.
pub struct Counts<'a> {
    /// The hash of its key.
    pub hash: u64,
    /// The histogram of sizes.
    pub sizes: &'a mut Sizes,
    /// The indexes of deadlines.
    pub deadlines: &'a mut dyn TimesChanged,
}

impl<'a> BodyMut<'a> {
    /// The value in `slot`; the counts have it already, or not if it is new.
    pub fn new(
        slot: EntryMut<'a, Entry>,
        seed: HashSeed,
        counts: Counts<'a>,
        new: bool,
    ) -> BodyMut<'a> {
        let (bin, times) = match new {
            true => (None, Times::default()),
            false => (Some(Bin::of(slot.get())), Times::of(slot.get())),
        };
        BodyMut {
            slot,
            seed,
            counts,
            bin,
            times,
        }
    }

    /// The entry, for reading.
    #[inline]
    pub fn entry(&self) -> &Entry {
        self.slot.get()
    }

    /// The hash of a member or field in this keyspace's tables.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.seed.hash(bytes)
    }

    /// The bytes of a small encoding and whether it is the second; None when the value is large.
    #[inline]
    pub fn packed(&self) -> Option<(&[u8], bool)> {
        self.slot.get().packed()
    }

    /// The large collection with the domain that its blocks change through.
    #[inline]
    pub fn large(&mut self) -> Option<(&mut Large, &mut Domain)> {
        let (entry, domain) = self.slot.make_mut_with_domain();
        entry.large_mut().map(|large| (large, domain))
    }

    /// What a new table of this keyspace needs: its seed, and the domain.
    pub fn seed_and_domain(&mut self) -> (HashSeed, &mut Domain) {
        (self.seed, self.slot.domain())
    }

    /// The domain that changes go through.
    pub fn domain(&mut self) -> &mut Domain {
        self.slot.domain()
    }

    /// Puts another value in this one's place; the deadline stays. A large one is given up.
    pub fn replace(&mut self, value: Value<'_>) {
        let (entry, domain) = self.slot.make_mut_with_domain();
        entry.retire_large(domain);
        self.slot.reallocate(|old| Entry::with_value(old, value));
    }

    /// Puts a large collection in the place of the small one.
    pub fn enlarge(&mut self, large: impl Into<Large>) {
        self.replace(Value::Large(Box::new(large.into())));
    }

    /// Whether the bytes may grow by so many.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes().len() + bytes <= BLOCK_BYTES_MAX
    }
}

impl Drop for BodyMut<'_> {
    fn drop(&mut self) {
        let now = Bin::of(self.slot.get());
        self.counts.sizes.changed(self.bin, Some(now));
        let times = Times::of(self.slot.get());
        if times != self.times {
            let Counts {
                hash, deadlines, ..
            } = &mut self.counts;
            deadlines.times_changed(*hash, self.times, times);
        }
    }
}

impl Buffer for BodyMut<'_> {
    fn bytes(&self) -> &[u8] {
        self.packed().map_or(&[], |(bytes, _)| bytes)
    }

    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) {
        if !self.slot.make_mut().try_splice(at, removed, inserted) {
            self.slot
                .reallocate(|old| Entry::with_splice(old, at, removed, inserted));
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.slot.make_mut().write_packed(at, bytes);
    }
}
