//! Tables of entries as collections use them: a member or field is an entry's key.

use crate::base::hash::HashSeed;
use crate::container::{self, CowTable, Domain, Lookup};

use super::entry::{Entry, Value};

/// Entries whose size is looked at for an estimate.
const SAMPLE: usize = 64;

/// Puts `value` under `key`, in place when it fits there; what was there is freed, or kept for the snapshots that see it.
/// A deadline that was there goes. True when the key is new.
pub(super) fn store(
    table: &mut CowTable<Entry>,
    domain: &mut Domain,
    key: &[u8],
    value: Value<'_>,
) -> bool {
    let hash = table.hasher().hash(key);
    match table.lookup(domain, hash, |entry| entry.key() == key) {
        Lookup::Vacant(vacant) => {
            vacant.insert(Entry::new(key, value, None, 0));
            true
        }
        Lookup::Occupied(mut slot) => {
            let value = if slot.get().fits(&value, None) {
                slot.make_mut().try_store(value, None).err()
            } else {
                Some(value)
            };
            if let Some(value) = value {
                slot.replace(Entry::new(key, value, None, 0));
            }
            false
        }
    }
}

/// Adds an entry without a value; false when its key, which has this hash, is there already.
#[inline]
pub(super) fn add(table: &mut CowTable<Entry>, domain: &mut Domain, hash: u64, key: &[u8]) -> bool {
    match table.lookup(domain, hash, |entry| entry.key() == key) {
        Lookup::Vacant(vacant) => {
            vacant.insert(Entry::new(key, Value::Bytes(b"", false), None, 0));
            true
        }
        Lookup::Occupied(_) => false,
    }
}

/// The entry of a key.
#[inline]
pub(super) fn find<'a>(table: &'a CowTable<Entry>, key: &[u8]) -> Option<&'a Entry> {
    table.find(table.hasher().hash(key), |entry| entry.key() == key)
}

/// Removes a key; false when it is not there.
pub(super) fn remove(table: &mut CowTable<Entry>, domain: &mut Domain, key: &[u8]) -> bool {
    let hash = table.hasher().hash(key);
    table
        .remove(domain, hash, |entry| entry.key() == key)
        .is_some()
}

/// An empty table of a keyspace with this seed.
pub(super) fn empty(seed: HashSeed, domain: &Domain) -> CowTable<Entry> {
    CowTable::new(domain, seed, seed.cursor_key())
}

/// A table with copies of all entries, deadlines too.
pub(super) fn duplicate(table: &CowTable<Entry>, domain: &mut Domain) -> CowTable<Entry> {
    let mut copy = table.new_like(domain);
    table.for_each(|entry| {
        let hash = table.hasher().hash(entry.key());
        copy.insert_new(domain, hash, container::Entry::copy(entry));
    });
    copy
}

/// Bytes of a table with its entries, from a sample of them: O(1).
pub(super) fn memory_bytes(table: &CowTable<Entry>) -> usize {
    let (mut bytes, mut count) = (0, 0);
    let mut cursor = 0;
    while count < SAMPLE {
        cursor = table.scan(cursor, usize::MAX, |entry| {
            bytes += entry.memory_bytes();
            count += 1;
        });
        if cursor == 0 {
            break;
        }
    }
    table.memory_bytes() + bytes * table.len() / count.max(1)
}
