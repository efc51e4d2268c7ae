//! Sets of strings.
//!
//! Small: an [`IntSet`] while all members are integers (`intset`), or a [`Pack`] (`listpack`). Large: [`SetTable`], a
//! table whose entries have the member as their key and no value (`hashtable`). When the form changes is what
//! redis-server 8.0 does: see [`SetMut::expect`] and [`SetMut::add`]. A set never goes back to a smaller form by itself.

use crate::base::prng::Prng;
use crate::container::{CowTable, Domain, IntSet, IntSetMut, Pack, PackBuilder, PackMut};

use super::body::BodyMut;
use super::entry::{BLOCK_BYTES_MAX, Entry, Kind, Value};
use super::large::{Collection, Large, blocks};
use super::limits::{Encodings, Limits};
use super::string::{StringRef, int_of};
use super::table;

/// Members that are looked up together.
const WINDOW: usize = 16;

/// Bounds of the small forms.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// Integers at most (`set-max-intset-entries`).
    pub ints: usize,
    /// Of a pack (`set-max-listpack-entries`, `set-max-listpack-value`).
    pub pack: Limits,
}

impl SetLimits {
    /// From those of all types.
    pub fn of(encodings: &Encodings) -> SetLimits {
        SetLimits {
            ints: encodings.set_ints,
            pack: encodings.set,
        }
    }
}

/// A large set.
pub struct SetTable {
    members: CowTable<Entry>,
}

impl SetTable {
    /// The members: entries with the member as key.
    pub fn members(&self) -> &CowTable<Entry> {
        &self.members
    }
}

blocks!(SetTable { members });

impl Collection for SetTable {
    const KIND: Kind = Kind::Set;
    const ENCODING: &'static str = "hashtable";

    fn elements(&self) -> Option<&CowTable<Entry>> {
        Some(&self.members)
    }

    fn count(&self) -> u64 {
        self.members.len() as u64
    }

    fn memory_bytes(&self) -> usize {
        table::memory_bytes(&self.members)
    }

    fn duplicate(&self, domain: &mut Domain) -> SetTable {
        SetTable {
            members: table::duplicate(&self.members, domain),
        }
    }
}

/// A set for reading.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    /// Integers, ascending.
    Ints(IntSet<'a>),
    /// Members in order of insertion.
    Pack(Pack<'a>),
    /// A table.
    Table(&'a SetTable),
}

impl<'a> SetRef<'a> {
    /// The set of an entry of that kind.
    pub fn of(entry: &'a Entry) -> SetRef<'a> {
        match (entry.large(), entry.packed()) {
            (Some(Large::Set(table)), _) => SetRef::Table(table),
            (_, Some((bytes, true))) => SetRef::Ints(IntSet::of(bytes)),
            (_, Some((bytes, false))) => SetRef::Pack(Pack::of(bytes)),
            _ => unreachable!("a {:?} is no set", entry.kind()),
        }
    }

    /// Members.
    pub fn len(&self) -> usize {
        match self {
            SetRef::Ints(ints) => ints.len(),
            SetRef::Pack(pack) => pack.len(),
            SetRef::Table(table) => table.members.len(),
        }
    }

    /// Whether there is no member: only while a set is being made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has a member. O(members) in a pack, O(log members) among integers, else O(1).
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match *self {
            SetRef::Ints(ints) => int_of(member).is_some_and(|int| ints.contains(int)),
            SetRef::Pack(pack) => pack
                .first()
                .is_some_and(|first| pack.find(first, member, 1).is_some()),
            SetRef::Table(table) => table::find(&table.members, member).is_some(),
        }
    }

    /// A member drawn uniformly.
    pub fn random(&self, prng: &mut Prng) -> Option<StringRef<'a>> {
        match *self {
            SetRef::Ints(ints) if ints.is_empty() => None,
            SetRef::Pack(pack) if pack.is_empty() => None,
            SetRef::Ints(ints) => {
                let rank = prng.below(ints.len() as u64) as usize;
                ints.get(rank).map(StringRef::Int)
            }
            SetRef::Pack(pack) => {
                let index = prng.below(pack.len() as u64) as i64;
                pack.seek(index).map(|at| pack.get(at).into())
            }
            SetRef::Table(table) => table
                .members
                .random(|| prng.next_u64())
                .map(|entry| StringRef::Bytes(entry.key())),
        }
    }

    /// Visits all members.
    pub fn for_each(&self, mut each: impl FnMut(StringRef<'a>)) {
        match *self {
            SetRef::Ints(ints) => ints.iter().for_each(|int| each(StringRef::Int(int))),
            SetRef::Pack(pack) => pack.iter().for_each(|item| each(item.into())),
            SetRef::Table(table) => table
                .members
                .for_each(|entry| each(StringRef::Bytes(entry.key()))),
        }
    }

    /// Visits members in runs until `each` returns false: a run is one segment of a table, or all of a small set.
    pub fn for_each_run(&self, mut each: impl FnMut(&[StringRef<'a>]) -> bool) {
        let mut run = Vec::new();
        let SetRef::Table(table) = *self else {
            self.for_each(|member| run.push(member));
            each(&run);
            return;
        };
        let mut next = Some(0);
        while let Some(at) = next {
            run.clear();
            next = table
                .members
                .visit_segment(at, |entry| run.push(StringRef::Bytes(entry.key())));
            if !each(&run) {
                return;
            }
        }
    }
}

/// Members of one set on the way to being looked up in others: their text, and their hash once it is needed.
pub struct Window<'a> {
    members: [StringRef<'a>; WINDOW],
    hashes: Option<[u64; WINDOW]>,
    count: usize,
    /// Bit i: member i is still there.
    alive: u16,
}

impl<'a> Window<'a> {
    /// Calls `each` with all of `run` in windows until it returns false; false then.
    pub fn each(run: &[StringRef<'a>], mut each: impl FnMut(&mut Window<'a>) -> bool) -> bool {
        run.chunks(WINDOW).all(|chunk| {
            let mut window = Window {
                members: [StringRef::Int(0); WINDOW],
                hashes: None,
                count: chunk.len(),
                alive: u16::MAX >> (WINDOW - chunk.len()),
            };
            window.members[..chunk.len()].copy_from_slice(chunk);
            each(&mut window)
        })
    }

    /// The members that are still there.
    pub fn alive(&self) -> impl Iterator<Item = StringRef<'a>> + '_ {
        let alive = (0..self.count).filter(|index| self.alive >> index & 1 != 0);
        alive.map(|index| self.members[index])
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.alive == 0
    }

    /// Keeps the members that `set` has, or those that it has not.
    pub fn keep(&mut self, set: &SetRef<'_>, having: bool) {
        if let SetRef::Table(table) = set {
            let members = &table.members;
            let hashes = self.hashes(|text| members.hasher().hash(text));
            members.prefetch(&hashes[..self.count]);
        }
        let mut left = self.alive;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let mut digits = itoa::Buffer::new();
            let found = match (set, self.members[index]) {
                (SetRef::Ints(ints), member) => {
                    member.as_int().is_some_and(|int| ints.contains(int))
                }
                (_, member) => {
                    let text = text_of(member, &mut digits);
                    match (set, &self.hashes) {
                        (SetRef::Table(table), Some(hashes)) => table
                            .members
                            .find(hashes[index], |entry| entry.key() == text)
                            .is_some(),
                        _ => set.contains(text),
                    }
                }
            };
            if found != having {
                self.alive &= !(1 << index);
            }
        }
    }

    /// The members' hashes; of those that are gone whatever.
    fn hashes(&mut self, hash: impl Fn(&[u8]) -> u64) -> [u64; WINDOW] {
        if let Some(hashes) = self.hashes {
            return hashes;
        }
        let mut hashes = [0; WINDOW];
        for (member, slot) in self.members[..self.count].iter().zip(&mut hashes) {
            *slot = hash(text_of(*member, &mut itoa::Buffer::new()));
        }
        *self.hashes.insert(hashes)
    }
}

/// The text of a member. Members of sets are in one piece.
#[inline]
pub fn text_of<'s>(member: StringRef<'s>, digits: &'s mut itoa::Buffer) -> &'s [u8] {
    match member {
        StringRef::Int(int) => digits.format(int).as_bytes(),
        StringRef::Bytes(bytes) => bytes,
        StringRef::Chunked(_) => unreachable!("a member is a key of its entry"),
    }
}

/// A set for writing.
pub struct SetMut<'a> {
    body: BodyMut<'a>,
    limits: SetLimits,
}

impl<'a> SetMut<'a> {
    /// The set that `body` holds.
    pub fn new(body: BodyMut<'a>, limits: SetLimits) -> SetMut<'a> {
        SetMut { body, limits }
    }

    /// The value that a set begins with that is to get `count` members: of integers if `first` is one.
    pub fn empty(first: &[u8], count: usize, limits: SetLimits) -> Value<'static> {
        match int_of(first).is_some() && count <= limits.ints {
            true => Value::Packed(Kind::Set, &IntSet::EMPTY, true),
            false => Value::Packed(Kind::Set, &Pack::EMPTY, false),
        }
    }

    /// The set for reading.
    pub fn get(&self) -> SetRef<'_> {
        SetRef::of(self.body.entry())
    }

    /// Before `count` members are given to [`SetMut::add`]: when these alone would pass the limit, the set becomes large
    /// at once, be they new or not.
    pub fn expect(&mut self, count: usize) {
        let most = match self.body.packed() {
            Some((_, true)) => self.limits.ints,
            Some((_, false)) => self.limits.pack.entries,
            None => return,
        };
        if count > most {
            self.enlarge();
        }
    }

    /// Adds a member: true when it is new.
    pub fn add(&mut self, member: &[u8]) -> bool {
        match self.body.packed() {
            Some((bytes, true)) => {
                let set = IntSet::of(bytes);
                let Some(int) = int_of(member) else {
                    return self.add_to_ints(member);
                };
                if set.contains(int) {
                    return false;
                }
                // A wider integer widens all.
                if !self.body.has_room(8 * (set.len() + 1)) {
                    self.enlarge();
                    return self.add_to_table(member);
                }
                IntSetMut::of(&mut self.body).insert(int);
                if self.get().len() > self.limits.ints {
                    self.enlarge();
                }
                true
            }
            Some((bytes, false)) => {
                let pack = Pack::of(bytes);
                let first = pack.first();
                if first.is_some_and(|first| pack.find(first, member, 1).is_some()) {
                    return false;
                }
                let stays = pack.len() < self.limits.pack.entries
                    && self.limits.pack.takes(member)
                    && self.body.has_room(Pack::encoded_len(member));
                if stays {
                    PackMut::of(&mut self.body).push_back(member);
                    return true;
                }
                self.enlarge();
                self.add_to_table(member)
            }
            None => self.add_to_table(member),
        }
    }

    /// Adds members: how many of them are new.
    pub fn extend<'m>(&mut self, mut members: impl Iterator<Item = &'m [u8]>) -> usize {
        let mut added = 0;
        while self.body.packed().is_some() {
            let Some(member) = members.next() else {
                return added;
            };
            added += usize::from(self.add(member));
        }
        let (mut window, mut hashes) = ([&[][..]; WINDOW], [0; WINDOW]);
        loop {
            let mut count = 0;
            for member in members.by_ref().take(WINDOW) {
                (window[count], hashes[count]) = (member, self.body.hash(member));
                count += 1;
            }
            if count == 0 {
                return added;
            }
            let (table, domain) = self.table();
            if count > 1 {
                table.members.prefetch(&hashes[..count]);
            }
            for (member, &hash) in window[..count].iter().zip(&hashes) {
                added += usize::from(table::add(&mut table.members, domain, hash, member));
            }
        }
    }

    /// A member that is no integer, to a set of integers.
    fn add_to_ints(&mut self, member: &[u8]) -> bool {
        let SetRef::Ints(ints) = self.get() else {
            unreachable!("a set of integers")
        };
        let ends = [ints.get(0), ints.get(ints.len().wrapping_sub(1))];
        let longest = ends
            .into_iter()
            .flatten()
            .map(|int| StringRef::Int(int).len());
        let limits = self.limits.pack;
        let mut pack = PackBuilder::new();
        let fits = ints.len() < limits.entries
            && limits.takes(member)
            && longest.max().unwrap_or(0) <= limits.value;
        if fits {
            ints.iter().for_each(|int| pack.push_int(int));
            pack.push(member);
        }
        if fits && pack.bytes_len() <= BLOCK_BYTES_MAX {
            let pack = pack.finish();
            self.body.replace(Value::Packed(Kind::Set, &pack, false));
            return true;
        }
        self.enlarge();
        self.add_to_table(member)
    }

    fn add_to_table(&mut self, member: &[u8]) -> bool {
        let hash = self.body.hash(member);
        let (table, domain) = self.table();
        table::add(&mut table.members, domain, hash, member)
    }

    /// Removes a member: false when it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.body.packed() {
            Some((_, true)) => {
                int_of(member).is_some_and(|int| IntSetMut::of(&mut self.body).remove(int))
            }
            Some((bytes, false)) => {
                let pack = Pack::of(bytes);
                let found = pack.first().and_then(|first| pack.find(first, member, 1));
                if let Some(at) = found {
                    PackMut::of(&mut self.body).remove(at, 1);
                }
                found.is_some()
            }
            None => {
                let (table, domain) = self.table();
                table::remove(&mut table.members, domain, member)
            }
        }
    }

    /// Takes `count` members out, fewer than there are, each choice equally likely, and gives them to `each`. Where few
    /// stay, a large set may become small.
    pub fn pop(&mut self, count: usize, prng: &mut Prng, mut each: impl FnMut(StringRef<'_>)) {
        let len = self.get().len();
        assert!(count < len, "a whole set is removed with its key");
        let mut sample = Sample::new(count, len);
        match self.body.packed() {
            Some((bytes, true)) => {
                let bytes = bytes.to_vec();
                let set = IntSet::of(&bytes);
                IntSetMut::of(&mut self.body).retain(|rank| {
                    let taken = sample.takes(prng);
                    if let Some(int) = set.get(rank).filter(|_| taken) {
                        each(StringRef::Int(int));
                    }
                    !taken
                });
            }
            Some((bytes, false)) => {
                let mut kept = PackBuilder::with_capacity(bytes.len());
                for item in Pack::of(bytes).iter() {
                    match sample.takes(prng) {
                        true => each(item.into()),
                        false => kept.push(item.as_bytes(&mut [0; 20])),
                    }
                }
                let kept = kept.finish();
                self.body.replace(Value::Packed(Kind::Set, &kept, false));
                if Self::few_stay(count, len) {
                    self.refit();
                }
            }
            None if Self::few_stay(count, len) => self.pop_most(sample, prng, each),
            None => {
                let mut member = Vec::new();
                for _ in 0..count {
                    if let Some(found) = self.get().random(prng) {
                        member.clear();
                        found.push_to(&mut member);
                    }
                    self.remove(&member);
                    each(StringRef::Bytes(&member));
                }
            }
        }
    }

    /// Whether taking so many leaves so few that Redis makes a new set of these, in the form that fits them.
    fn few_stay(count: usize, len: usize) -> bool {
        (len - count).saturating_mul(5) <= count
    }

    fn pop_most(
        &mut self,
        mut sample: Sample,
        prng: &mut Prng,
        mut each: impl FnMut(StringRef<'_>),
    ) {
        let mut kept: Vec<Vec<u8>> = Vec::new();
        self.get().for_each(|member| match sample.takes(prng) {
            true => each(member),
            false => kept.push(member.as_bytes(&mut Vec::new()).to_vec()),
        });
        self.body
            .replace(Value::Packed(Kind::Set, &Pack::EMPTY, false));
        self.extend(kept.iter().map(Vec::as_slice));
    }

    /// Makes a pack that passes the limits large.
    fn refit(&mut self) {
        let limits = self.limits.pack;
        if let SetRef::Pack(pack) = self.get() {
            let long = || pack.iter().any(|item| item.len() > limits.value);
            if pack.len() > limits.entries || long() {
                self.enlarge();
            }
        }
    }

    /// Makes a small set large.
    pub fn enlarge(&mut self) {
        let Some((bytes, other)) = self.body.packed() else {
            return;
        };
        let bytes = bytes.to_vec();
        let (seed, domain) = self.body.seed_and_domain();
        let mut members = table::empty(seed, domain);
        let small = match other {
            true => SetRef::Ints(IntSet::of(&bytes)),
            false => SetRef::Pack(Pack::of(&bytes)),
        };
        small.for_each(|member| {
            let mut digits = itoa::Buffer::new();
            let text = text_of(member, &mut digits);
            table::add(&mut members, domain, seed.hash(text), text);
        });
        self.body.enlarge(SetTable { members });
    }

    fn table(&mut self) -> (&mut SetTable, &mut Domain) {
        match self.body.large() {
            Some((Large::Set(table), domain)) => (table, domain),
            _ => unreachable!("a set is small or a table"),
        }
    }
}

/// Chooses so many of so many, asked one after the other, each choice equally likely (selection sampling).
pub struct Sample {
    wanted: usize,
    left: usize,
}

impl Sample {
    /// `wanted` of `of`, at most all.
    pub fn new(wanted: usize, of: usize) -> Sample {
        Sample { wanted, left: of }
    }

    /// Whether the next one is chosen.
    #[inline]
    pub fn takes(&mut self, prng: &mut Prng) -> bool {
        let takes = prng.below(self.left.max(1) as u64) < self.wanted as u64;
        self.left = self.left.saturating_sub(1);
        self.wanted -= usize::from(takes);
        takes
    }
}
