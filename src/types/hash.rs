//! Hashes: fields with values, and perhaps deadlines.
//!
//! Small: a [`Pack`] of field, value, field, value, … (`listpack`), or, once a field has had a deadline, of field, value,
//! deadline, … in the order of the deadlines, those without one (0) last (`listpackex`). Large: [`HashTable`]
//! (`hashtable`). A hash never goes back to a simpler form.
//!
//! A field whose deadline has passed is stored until somebody removes it. [`HashRef`] knows all that is stored;
//! [`HashView`] is what a client may see at an instant.

use crate::base::prng::Prng;
use crate::base::time::UnixMs;
use crate::container::{Domain, Pack, PackBuilder, PackItem, PackMut, Position};

use super::body::BodyMut;
use super::entry::{BLOCK_BYTES_MAX, Entry, Kind, Value};
pub use super::hash_table::HashTable;
use super::large::Large;
use super::limits::Limits;
use super::string::StringRef;
use super::times::Ttl;

/// Room that a new hash's bytes begin with.
const PACK_BYTES: usize = 256;
/// The most bytes of an encoded deadline.
const DEADLINE_BYTES: usize = 10;
/// Draws of a random field before all are listed: most of them may be due.
const DRAWS: usize = 64;

/// What a client may see of a hash: the fields whose deadline is not before an instant.
#[derive(Clone, Copy)]
pub struct HashView<'a> {
    hash: HashRef<'a>,
    now: UnixMs,
}

impl<'a> HashView<'a> {
    /// The hash as it is to be seen at `now`; at `UnixMs::MIN` all that is stored.
    pub fn new(hash: HashRef<'a>, now: UnixMs) -> HashView<'a> {
        HashView { hash, now }
    }

    /// All that is stored.
    pub fn stored(&self) -> HashRef<'a> {
        self.hash
    }

    /// Fields. O(log n), or O(fields) when small.
    pub fn len(&self) -> usize {
        self.hash.len() - self.hash.due(self.now)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a field with this deadline is to be seen.
    #[inline]
    pub fn shows(&self, deadline: Option<UnixMs>) -> bool {
        deadline.is_none_or(|deadline| deadline >= self.now)
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<StringRef<'a>> {
        let (value, deadline) = self.hash.find(field)?;
        self.shows(deadline).then_some(value)
    }

    /// A field's deadline, if it has one.
    pub fn deadline(&self, field: &[u8]) -> Option<Option<UnixMs>> {
        let (_, deadline) = self.hash.find(field)?;
        self.shows(deadline).then_some(deadline)
    }

    /// A field drawn uniformly, with its value. O(1) if large, unless most fields are due.
    pub fn random(&self, prng: &mut Prng) -> Option<(StringRef<'a>, StringRef<'a>)> {
        for _ in 0..DRAWS {
            let (field, value, deadline) = self.hash.random(prng)?;
            if self.shows(deadline) {
                return Some((field, value));
            }
        }
        let left = self.len() as u64;
        let mut skip = if left == 0 { 0 } else { prng.below(left) };
        let mut drawn = None;
        self.for_each(|field, value| match skip {
            0 if drawn.is_none() => drawn = Some((field, value)),
            _ => skip = skip.saturating_sub(1),
        });
        drawn
    }

    /// Visits the fields with their values.
    pub fn for_each(&self, mut each: impl FnMut(StringRef<'a>, StringRef<'a>)) {
        self.hash.for_each(|field, value, deadline| {
            if self.shows(deadline) {
                each(field, value);
            }
        });
    }
}

/// A hash for reading, with all that is stored.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    /// Fields and values in turn.
    Pack(Pack<'a>),
    /// Fields, values and deadlines in turn, 0 for none.
    Timed(Pack<'a>),
    /// A table.
    Table(&'a HashTable),
}

impl<'a> HashRef<'a> {
    /// The hash of an entry of that kind.
    #[inline]
    pub fn of(entry: &'a Entry) -> HashRef<'a> {
        match (entry.large(), entry.packed()) {
            (Some(Large::Hash(table)), _) => HashRef::Table(table),
            (_, Some((bytes, false))) => HashRef::Pack(Pack::of(bytes)),
            (_, Some((bytes, true))) => HashRef::Timed(Pack::of(bytes)),
            _ => unreachable!("a {:?} is no hash", entry.kind()),
        }
    }

    /// Fields.
    pub fn len(&self) -> usize {
        match self {
            HashRef::Pack(pack) => pack.len() / 2,
            HashRef::Timed(pack) => pack.len() / 3,
            HashRef::Table(table) => table.fields().len(),
        }
    }

    /// Whether there is no field: only while a hash is being made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field with its deadline. O(fields) when small, else O(1).
    #[inline]
    pub fn find(&self, field: &[u8]) -> Option<(StringRef<'a>, Option<UnixMs>)> {
        match *self {
            HashRef::Pack(pack) => {
                let (_, value) = find(pack, 2, field)?;
                Some((pack.get(value).into(), None))
            }
            HashRef::Timed(pack) => {
                let (_, value) = find(pack, 3, field)?;
                Some((pack.get(value).into(), deadline_after(pack, value)))
            }
            HashRef::Table(table) => {
                let entry = table.get(field)?;
                Some((entry.string(), entry.expire_at()))
            }
        }
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<StringRef<'a>> {
        self.find(field).map(|(value, _)| value)
    }

    /// The first deadline of a field, and the last if every field has one. O(log fields).
    pub fn span(&self) -> (Option<UnixMs>, Option<UnixMs>) {
        match *self {
            HashRef::Pack(_) => (None, None),
            HashRef::Timed(pack) => {
                let first = pack.first().and_then(|field| pack.next(field));
                let first = first.and_then(|value| deadline_after(pack, value));
                let last = pack.last().and_then(|last| deadline(pack.get(last)));
                (first, last)
            }
            HashRef::Table(table) => (table.first(), table.last()),
        }
    }

    /// Fields whose deadline is before `now`. O(fields) when small, else O(log fields).
    pub fn due(&self, now: UnixMs) -> usize {
        match *self {
            HashRef::Pack(_) => 0,
            HashRef::Timed(pack) => pack
                .iter()
                .skip(2)
                .step_by(3)
                .take_while(|item| deadline(*item).is_some_and(|deadline| deadline < now))
                .count(),
            HashRef::Table(table) => table.due(now),
        }
    }

    /// A field drawn uniformly, with its value and deadline.
    fn random(&self, prng: &mut Prng) -> Option<(StringRef<'a>, StringRef<'a>, Option<UnixMs>)> {
        let (pack, step) = match *self {
            HashRef::Pack(pack) => (pack, 2),
            HashRef::Timed(pack) => (pack, 3),
            HashRef::Table(table) => {
                let entry = table.fields().random(|| prng.next_u64())?;
                let field = StringRef::Bytes(entry.key());
                return Some((field, entry.string(), entry.expire_at()));
            }
        };
        if pack.is_empty() {
            return None;
        }
        let index = prng.below(pack.len() as u64 / step) as i64;
        let field = pack.seek(step as i64 * index)?;
        let value = pack.next(field)?;
        let deadline = match step {
            3 => deadline_after(pack, value),
            _ => None,
        };
        Some((pack.get(field).into(), pack.get(value).into(), deadline))
    }

    /// Visits all fields with their values and deadlines.
    pub fn for_each(&self, mut each: impl FnMut(StringRef<'a>, StringRef<'a>, Option<UnixMs>)) {
        match *self {
            HashRef::Pack(pack) => {
                let mut items = pack.iter();
                while let (Some(field), Some(value)) = (items.next(), items.next()) {
                    each(field.into(), value.into(), None);
                }
            }
            HashRef::Timed(pack) => {
                triples(pack).for_each(|(_, field, value, at)| each(field.into(), value.into(), at))
            }
            HashRef::Table(table) => table.fields().for_each(|entry| {
                let field = StringRef::Bytes(entry.key());
                each(field, entry.string(), entry.expire_at());
            }),
        }
    }
}

/// Positions of a field and its value; fields stand `step` elements apart.
fn find(pack: Pack<'_>, step: usize, field: &[u8]) -> Option<(Position, Position)> {
    let found = pack.find(pack.first()?, field, step)?;
    Some((found, pack.next(found)?))
}

/// The deadline that an element is; 0 stands for none.
fn deadline(item: PackItem<'_>) -> Option<UnixMs> {
    item.as_int().filter(|at| *at > 0)
}

/// The deadline behind a value.
fn deadline_after(pack: Pack<'_>, value: Position) -> Option<UnixMs> {
    deadline(pack.get(pack.next(value)?))
}

/// Where the fields begin, the fields, their values and deadlines.
fn triples<'a>(
    pack: Pack<'a>,
) -> impl Iterator<Item = (Position, PackItem<'a>, PackItem<'a>, Option<UnixMs>)> {
    let mut at = pack.first();
    std::iter::from_fn(move || {
        let field = at?;
        let value = pack.next(field)?;
        let last = pack.next(value)?;
        at = pack.next(last);
        let deadline = deadline(pack.get(last));
        Some((field, pack.get(field), pack.get(value), deadline))
    })
}

/// Where a field with this deadline goes: before the first that is due as late or later.
fn place(pack: Pack<'_>, deadline: Option<UnixMs>) -> Position {
    let Some(deadline) = deadline else {
        return pack.end();
    };
    let later = triples(pack).find(|(.., other)| other.is_none_or(|other| other >= deadline));
    later.map_or(pack.end(), |(at, ..)| at)
}

/// The bytes of a pack of pairs as one with deadlines, of which there are none yet.
fn with_deadlines(pack: Pack<'_>) -> Vec<u8> {
    let mut builder = PackBuilder::with_capacity(pack.bytes_len() + pack.len() + 1);
    let mut scratch = [0; 20];
    for (index, item) in pack.iter().enumerate() {
        builder.push(item.as_bytes(&mut scratch));
        if index % 2 == 1 {
            builder.push_int(0);
        }
    }
    builder.finish()
}

/// The bytes of a pack with deadlines without them.
pub fn without_deadlines(pack: Pack<'_>) -> Vec<u8> {
    let mut builder = PackBuilder::with_capacity(pack.bytes_len());
    let mut scratch = [0; 20];
    for (_, field, value, _) in triples(pack) {
        builder.push(field.as_bytes(&mut scratch));
        builder.push(value.as_bytes(&mut scratch));
    }
    builder.finish()
}

/// A hash for writing.
pub struct HashMut<'a> {
    body: BodyMut<'a>,
    limits: Limits,
}

impl<'a> HashMut<'a> {
    /// The hash that `body` holds; `limits` of the small forms count fields.
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
            match find(made, 2, field) {
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

    /// Sets a field, which has no deadline then: true when it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.set_with(field, value, Ttl::None)
    }

    /// Sets a field and what becomes of its deadline: true when it is new.
    pub fn set_with(&mut self, field: &[u8], value: &[u8], ttl: Ttl) -> bool {
        if matches!(ttl, Ttl::At(_)) {
            self.expect_deadlines();
        }
        if let Some((bytes, timed)) = self.body.packed() {
            let pack = Pack::of(bytes);
            let step = if timed { 3 } else { 2 };
            let found = find(pack, step, field);
            let entries = pack.len() / step + usize::from(found.is_none());
            let grows = Pack::encoded_len(field) + Pack::encoded_len(value) + DEADLINE_BYTES;
            let stays = entries <= self.limits.entries
                && self.limits.takes(field)
                && self.limits.takes(value)
                && self.body.has_room(grows);
            if stays {
                match timed {
                    true => self.set_timed(field, value, ttl, found),
                    false => self.set_pair(field, value, found),
                }
                return found.is_none();
            }
            self.enlarge();
        }
        let (table, domain) = self.table();
        table.set(domain, field, value, ttl)
    }

    /// Sets a field in a pack of pairs; `found` is where it is.
    fn set_pair(&mut self, field: &[u8], value: &[u8], found: Option<(Position, Position)>) {
        let end = Pack::of(self.bytes()).end();
        let mut pack = PackMut::of(&mut self.body);
        match found {
            Some((_, value_at)) => pack.replace(value_at, value),
            None => pack.insert(end, &[field, value]),
        }
    }

    /// Sets a field in a pack with deadlines; `found` is where it is.
    fn set_timed(
        &mut self,
        field: &[u8],
        value: &[u8],
        ttl: Ttl,
        found: Option<(Position, Position)>,
    ) {
        let pack = Pack::of(self.bytes());
        let old = found.and_then(|(_, value_at)| deadline_after(pack, value_at));
        let new = ttl.resolve(old);
        if let Some((at, value_at)) = found {
            if new == old && !matches!(ttl, Ttl::At(_)) {
                PackMut::of(&mut self.body).replace(value_at, value);
                return;
            }
            PackMut::of(&mut self.body).remove(at, 3);
        }
        self.insert_timed(field, value, new);
    }

    /// Puts a field that is not there into a pack with deadlines.
    fn insert_timed(&mut self, field: &[u8], value: &[u8], deadline: Option<UnixMs>) {
        let at = place(Pack::of(self.bytes()), deadline);
        let mut digits = itoa::Buffer::new();
        let deadline = digits.format(deadline.unwrap_or(0)).as_bytes();
        PackMut::of(&mut self.body).insert(at, &[field, value, deadline]);
    }

    /// Gives a field a deadline, or takes it off; false when there is no such field.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<UnixMs>) -> bool {
        let Some((_, old)) = self.get().find(field) else {
            return false;
        };
        if deadline.is_some() {
            self.expect_deadlines();
            if !self.body.has_room(DEADLINE_BYTES) {
                self.enlarge();
            }
        }
        let Some((bytes, _)) = self.body.packed() else {
            let (table, domain) = self.table();
            return table.set_deadline(domain, field, deadline);
        };
        if old.is_none() && deadline.is_none() {
            return true;
        }
        let pack = Pack::of(bytes);
        let Some((at, value_at)) = find(pack, 3, field) else {
            unreachable!("found above")
        };
        let mut value = Vec::new();
        pack.get(value_at).push_to(&mut value);
        PackMut::of(&mut self.body).remove(at, 3);
        self.insert_timed(field, &value, deadline);
        true
    }

    /// Gives a small hash room for deadlines, whether one comes or not.
    pub fn expect_deadlines(&mut self) {
        let Some((bytes, false)) = self.body.packed() else {
            return;
        };
        let pack = Pack::of(bytes);
        if bytes.len() + pack.len() > BLOCK_BYTES_MAX {
            self.enlarge();
            return;
        }
        let timed = with_deadlines(pack);
        self.body.replace(Value::Packed(Kind::Hash, &timed, true));
    }

    /// Removes a field: false when it is not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self.body.packed() {
            Some((bytes, timed)) => {
                let step = if timed { 3 } else { 2 };
                let Some((at, _)) = find(Pack::of(bytes), step, field) else {
                    return false;
                };
                PackMut::of(&mut self.body).remove(at, step);
                true
            }
            None => {
                let (table, domain) = self.table();
                table.remove(domain, field)
            }
        }
    }

    /// Removes the field with the first deadline if that is before `now`, and puts its name in `name`.
    pub fn pop_due(&mut self, now: UnixMs, name: &mut Vec<u8>) -> bool {
        let Some((bytes, timed)) = self.body.packed() else {
            let (table, domain) = self.table();
            return table.pop_due(domain, now, name);
        };
        let first = match timed {
            true => triples(Pack::of(bytes)).next(),
            false => None,
        };
        let Some((at, field, _, Some(deadline))) = first else {
            return false;
        };
        if deadline >= now {
            return false;
        }
        name.clear();
        field.push_to(name);
        PackMut::of(&mut self.body).remove(at, 3);
        true
    }

    /// Makes the hash large ahead of values that the small forms would not take.
    pub fn enlarge(&mut self) {
        let Some((bytes, timed)) = self.body.packed() else {
            return;
        };
        let owned = bytes.to_vec();
        let (seed, domain) = self.body.seed_and_domain();
        let mut table = HashTable::new(seed, domain);
        let hash = match timed {
            true => HashRef::Timed(Pack::of(&owned)),
            false => HashRef::Pack(Pack::of(&owned)),
        };
        let (mut field_text, mut value_text) = (Vec::new(), Vec::new());
        hash.for_each(|field, value, deadline| {
            let ttl = deadline.map_or(Ttl::None, Ttl::At);
            let (field, value) = (
                field.as_bytes(&mut field_text),
                value.as_bytes(&mut value_text),
            );
            table.set(domain, field, value, ttl);
        });
        self.body.enlarge(table);
    }

    /// Makes a small hash large that has more fields than the limits allow.
    pub fn fit(&mut self) {
        if self.body.packed().is_some() && self.get().len() > self.limits.entries {
            self.enlarge();
        }
    }

    fn bytes(&self) -> &[u8] {
        self.body.packed().map_or(&Pack::EMPTY, |(bytes, _)| bytes)
    }

    fn table(&mut self) -> (&mut HashTable, &mut Domain) {
        match self.body.large() {
            Some((Large::Hash(table), domain)) => (table, domain),
            _ => unreachable!("a hash is small or a table"),
        }
    }
}
