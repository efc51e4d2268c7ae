//! Hashes: fields with values.
//!
//! Small: a [`Pack`] of field, value, field, value, … (`listpack`). Large: [`HashTable`], a table whose entries have the
//! field as their key (`hashtable`). A hash never goes back to the small form.

use crate::base::prng::Prng;
use crate::container::{CowTable, Domain, Pack, PackMut, Position};

use super::body::BodyMut;
use super::entry::{BLOCK_BYTES_MAX, Entry, Kind, Value};
use super::large::{Collection, Large, blocks};
use super::limits::Limits;
use super::string::StringRef;
use super::table;

/// Room that a new hash's bytes begin with.
const PACK_BYTES: usize = 256;

/// A large hash.
pub struct HashTable {
    fields: CowTable<Entry>,
}

impl HashTable {
    /// The value of a field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<StringRef<'_>> {
        table::find(&self.fields, field).map(Entry::string)
    }

    /// The fields: entries with the field as key.
    pub fn fields(&self) -> &CowTable<Entry> {
        &self.fields
    }

    fn set(&mut self, domain: &mut Domain, field: &[u8], value: &[u8]) -> bool {
        table::store(&mut self.fields, domain, field, Value::of(value))
    }
}

blocks!(HashTable { fields });

impl Collection for HashTable {
    const KIND: Kind = Kind::Hash;
    const ENCODING: &'static str = "hashtable";

    fn elements(&self) -> Option<&CowTable<Entry>> {
        Some(&self.fields)
    }

    fn count(&self) -> u64 {
        self.fields.len() as u64
    }

    fn memory_bytes(&self) -> usize {
        table::memory_bytes(&self.fields)
    }

    fn duplicate(&self, domain: &mut Domain) -> HashTable {
        HashTable {
            fields: table::duplicate(&self.fields, domain),
        }
    }
}

/// A hash for reading.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    /// Fields and values in turn.
    Pack(Pack<'a>),
    /// A table.
    Table(&'a HashTable),
}

impl<'a> HashRef<'a> {
    /// The hash of an entry of that kind.
    pub fn of(entry: &'a Entry) -> HashRef<'a> {
        match (entry.large(), entry.packed()) {
            (Some(Large::Hash(table)), _) => HashRef::Table(table),
            (_, Some((bytes, _))) => HashRef::Pack(Pack::of(bytes)),
            _ => unreachable!("a {:?} is no hash", entry.kind()),
        }
    }

    /// Fields.
    pub fn len(&self) -> usize {
        match self {
            HashRef::Pack(pack) => pack.len() / 2,
            HashRef::Table(table) => table.fields.len(),
        }
    }

    /// Whether there is no field: only while a hash is being made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field. O(fields) when small, else O(1).
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<StringRef<'a>> {
        match *self {
            HashRef::Pack(pack) => {
                let (_, value) = find(pack, field)?;
                Some(pack.get(value).into())
            }
            HashRef::Table(table) => table.get(field),
        }
    }

    /// A field drawn uniformly, with its value.
    pub fn random(&self, prng: &mut Prng) -> Option<(StringRef<'a>, StringRef<'a>)> {
        match *self {
            HashRef::Pack(pack) if pack.is_empty() => None,
            HashRef::Pack(pack) => {
                let index = prng.below(pack.len() as u64 / 2) as i64;
                let field = pack.seek(2 * index)?;
                let value = pack.next(field)?;
                Some((pack.get(field).into(), pack.get(value).into()))
            }
            HashRef::Table(table) => {
                let entry = table.fields.random(|| prng.next_u64())?;
                Some((StringRef::Bytes(entry.key()), entry.string()))
            }
        }
    }

    /// Visits all fields with their values.
    pub fn for_each(&self, mut each: impl FnMut(StringRef<'a>, StringRef<'a>)) {
        match *self {
            HashRef::Pack(pack) => {
                let mut items = pack.iter();
                while let (Some(field), Some(value)) = (items.next(), items.next()) {
                    each(field.into(), value.into());
                }
            }
            HashRef::Table(table) => table
                .fields
                .for_each(|entry| each(StringRef::Bytes(entry.key()), entry.string())),
        }
    }
}

/// Positions of a field and its value.
fn find(pack: Pack<'_>, field: &[u8]) -> Option<(Position, Position)> {
    let found = pack.find(pack.first()?, field, 2)?;
    Some((found, pack.next(found)?))
}

/// A hash for writing.
pub struct HashMut<'a> {
    body: BodyMut<'a>,
    limits: Limits,
}

impl<'a> HashMut<'a> {
    /// The hash that `body` holds; `limits` of the small form count fields.
    pub fn new(body: BodyMut<'a>, limits: Limits) -> HashMut<'a> {
        HashMut { body, limits }
    }

    /// The hash for reading.
    pub fn get(&self) -> HashRef<'_> {
        HashRef::of(self.body.entry())
    }

    /// The bytes of a new hash, and its fields: None when the small form does not take them. Of a field given twice the
    /// last value counts.
    pub fn pack<'p>(
        pairs: impl Iterator<Item = (&'p [u8], &'p [u8])>,
        limits: Limits,
    ) -> Option<(Vec<u8>, usize)> {
        let (mut pack, mut fields) = (Vec::with_capacity(PACK_BYTES), 0);
        pack.extend_from_slice(&Pack::EMPTY);
        for (given, (field, value)) in pairs.enumerate() {
            if given >= limits.entries || !limits.takes(field) || !limits.takes(value) {
                return None;
            }
            let made = Pack::of(&pack);
            match find(made, field) {
                Some((_, at)) => PackMut::of(&mut pack).replace(at, value),
                None => {
                    let end = made.end();
                    PackMut::of(&mut pack).insert(end, &[field, value]);
                    fields += 1;
                }
            }
        }
        (pack.len() <= BLOCK_BYTES_MAX).then_some((pack, fields))
    }

    /// Before fields are set: when these alone would pass the limits, the hash becomes large at once, be they new or not.
    pub fn expect<'p>(&mut self, mut pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>) {
        let passes = pairs.len() > self.limits.entries
            || pairs.any(|(field, value)| !self.limits.takes(field) || !self.limits.takes(value));
        if passes && self.body.packed().is_some() {
            self.enlarge();
        }
    }

    /// Sets a field: true when it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let Some((bytes, _)) = self.body.packed() {
            let pack = Pack::of(bytes);
            let found = find(pack, field);
            let entries = pack.len() / 2 + usize::from(found.is_none());
            let grows = Pack::encoded_len(field) + Pack::encoded_len(value);
            let stays = entries <= self.limits.entries
                && self.limits.takes(field)
                && self.limits.takes(value)
                && self.body.has_room(grows);
            match found {
                Some((_, value_at)) if stays => {
                    PackMut::of(&mut self.body).replace(value_at, value);
                    return false;
                }
                None if stays => {
                    let end = pack.end();
                    PackMut::of(&mut self.body).insert(end, &[field, value]);
                    return true;
                }
                _ => self.enlarge(),
            }
        }
        let (table, domain) = self.table();
        table.set(domain, field, value)
    }

    /// Removes a field: false when it is not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self.body.packed() {
            Some((bytes, _)) => {
                let Some((at, _)) = find(Pack::of(bytes), field) else {
                    return false;
                };
                PackMut::of(&mut self.body).remove(at, 2);
                true
            }
            None => {
                let (table, domain) = self.table();
                table::remove(&mut table.fields, domain, field)
            }
        }
    }

    /// Makes the hash large ahead of values that the small form would not take.
    pub fn enlarge(&mut self) {
        let (seeds, domain) = self.body.seeds();
        let mut fields = seeds.table(domain);
        let mut owned = Vec::new();
        HashRef::of(self.body.entry()).for_each(|field, value| {
            let mut pair = (Vec::new(), Vec::new());
            field.push_to(&mut pair.0);
            value.push_to(&mut pair.1);
            owned.push(pair);
        });
        let (_, domain) = self.body.seeds();
        for (field, value) in &owned {
            table::store(&mut fields, domain, field, Value::of(value));
        }
        self.body.enlarge(HashTable { fields });
    }

    /// Makes a small hash large that has more fields than the limits allow.
    pub fn fit(&mut self) {
        if matches!(self.get(), HashRef::Pack(_)) && self.get().len() > self.limits.entries {
            self.enlarge();
        }
    }

    fn table(&mut self) -> (&mut HashTable, &mut Domain) {
        match self.body.large() {
            Some((Large::Hash(table), domain)) => (table, domain),
            _ => unreachable!("a hash is small or a table"),
        }
    }
}
