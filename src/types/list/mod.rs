//! Lists.
//!
//! Small: a [`Pack`] (`listpack`). Large: [`QuickList`], a counted tree of [`Chunk`]s (`quicklist`), in which a place is
//! found by its index in O(log n) and the ends cost O(1) amortised. A list that shrinks to half of one chunk goes back
//! to the small form ([`ListMut::settle`]).
//!
//! Source: the documentation of `list-max-listpack-size`, and OBJECT ENCODING of redis-server 8.0.

mod chunk;

pub use chunk::Chunk;

use super::body::BodyMut;
use super::entry::{BLOCK_BYTES_MAX, Entry, Kind, Value};
use super::large::{Blocks, Collection, Large, blocks};
use super::string::StringRef;
use crate::container::{CowBox, CowTree, Domain, Pack, PackMut};

/// Chunks whose size is looked at for an estimate.
const SAMPLE: usize = 32;
/// The most bytes that a pack of counted elements takes.
const SAFE_BYTES: usize = 8192;
/// The most bytes that an element adds to its own in a pack.
const OVERHEAD_BYTES_MAX: usize = 10;
/// What an element is reckoned to add to its own bytes in a pack.
const OVERHEAD_BYTES: usize = 8;

/// How large a small list, or a chunk of a large one, may be.
#[derive(Clone, Copy, Debug)]
pub struct ListLimit {
    bytes: usize,
    count: usize,
}

impl ListLimit {
    /// From `list-max-listpack-size`: elements, or -1 to -5 for 4 to 64 KiB.
    pub fn of(directive: i64) -> ListLimit {
        if directive >= 0 {
            return ListLimit {
                bytes: SAFE_BYTES,
                count: usize::try_from(directive).unwrap_or(usize::MAX).max(1),
            };
        }
        ListLimit {
            bytes: 4096 << (-1 - directive.max(-5)),
            count: usize::MAX,
        }
    }

    fn takes(&self, bytes: usize, count: usize) -> bool {
        bytes <= self.bytes && count <= self.count
    }

    /// Whether an element stands alone.
    fn is_long(&self, item: &[u8]) -> bool {
        item.len() > self.bytes
    }

    /// Whether a chunk takes one more element.
    fn has_room(&self, chunk: &Chunk, item: &[u8]) -> bool {
        chunk.pack().is_some_and(|pack| {
            let bytes = pack.bytes_len() + item.len() + OVERHEAD_BYTES;
            !self.is_long(item) && self.takes(bytes, pack.len() + 1)
        })
    }
}

/// The ends of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The head, left.
    Front,
    /// The tail, right.
    Back,
}

/// A large list.
pub struct QuickList {
    /// Invariant: no chunk is empty.
    chunks: CowTree<CowBox<Chunk>>,
}

blocks!(QuickList { chunks });

impl Collection for QuickList {
    const KIND: Kind = Kind::List;
    const ENCODING: &'static str = "quicklist";

    fn count(&self) -> u64 {
        self.chunks.weight()
    }

    fn memory_bytes(&self) -> usize {
        let count = self.chunks.len() as usize;
        let sampled = count.min(SAMPLE);
        let bytes: usize = self
            .chunks
            .iter()
            .take(sampled)
            .map(|chunk| chunk.get().memory_bytes())
            .sum();
        size_of::<Large>() + self.chunks.memory_bytes() as usize + bytes * count / sampled.max(1)
    }

    fn duplicate(&self, domain: &mut Domain) -> QuickList {
        let mut copy = QuickList::new(domain);
        for chunk in self.chunks.iter() {
            copy.push_chunk(domain, chunk.get().clone());
        }
        copy
    }
}

impl QuickList {
    fn new(domain: &Domain) -> QuickList {
        QuickList {
            chunks: CowTree::new(domain),
        }
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = &Chunk> {
        self.chunks.iter().map(CowBox::get)
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.chunks.weight() as usize
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    fn get(&self, index: usize) -> Option<StringRef<'_>> {
        let (_, within, chunk) = self.chunks.at_weight(index as u64)?;
        chunk.get().get(within as usize)
    }

    fn push_chunk(&mut self, domain: &mut Domain, chunk: Chunk) {
        let chunk = CowBox::new(domain, chunk);
        self.chunks.push(domain, chunk);
    }

    fn insert_chunk(&mut self, domain: &mut Domain, at: u64, chunk: Chunk) {
        let chunk = CowBox::new(domain, chunk);
        self.chunks.insert_at(domain, at, chunk);
    }

    fn remove_chunk(&mut self, domain: &mut Domain, at: u64) {
        self.chunks.remove_at(domain, at).retire(domain);
    }

    /// Changes a chunk that is a pack.
    fn edit<R>(
        &mut self,
        domain: &mut Domain,
        at: u64,
        change: impl FnOnce(&mut PackMut<'_, Chunk>) -> R,
    ) -> R {
        self.chunks.update(domain, at, |chunk, domain| {
            change(&mut PackMut::of(chunk.get_mut(domain)))
        })
    }

    fn push(&mut self, domain: &mut Domain, limit: ListLimit, end: End, item: &[u8]) {
        let (at, new) = match end {
            End::Front => (0, 0),
            End::Back => (self.chunks.len().saturating_sub(1), self.chunks.len()),
        };
        let pushed = !self.chunks.is_empty()
            && self.chunks.update(domain, at, |chunk, domain| {
                let fits = limit.has_room(chunk.get(), item);
                if fits {
                    let mut pack = PackMut::of(chunk.get_mut(domain));
                    match end {
                        End::Front => pack.push_front(item),
                        End::Back => pack.push_back(item),
                    }
                }
                fits
            });
        if !pushed {
            self.insert_chunk(domain, new, Chunk::of(item, limit.is_long(item)));
        }
    }

    /// Puts an element before the one of `index`.
    fn insert(&mut self, domain: &mut Domain, limit: ListLimit, index: usize, item: &[u8]) {
        let Some((at, within, chunk)) = self.chunks.at_weight(index as u64) else {
            return self.push(domain, limit, End::Back, item);
        };
        if limit.has_room(chunk.get(), item) {
            return self.edit(domain, at, |pack| insert(pack, within as usize, item));
        }
        let mut new = at;
        if within == 0 {
            let before = at.checked_sub(1).and_then(|before| self.chunks.get(before));
            if before.is_some_and(|before| limit.has_room(before.get(), item)) {
                return self.edit(domain, at - 1, |pack| pack.push_back(item));
            }
        } else {
            let rest = self.edit(domain, at, |pack| pack.split_off(within as usize));
            self.insert_chunk(domain, at + 1, Chunk::of_pack(&rest));
            new = at + 1;
        }
        self.insert_chunk(domain, new, Chunk::of(item, limit.is_long(item)));
        // What was cut, and the new chunk of one element, join their neighbours where they fit.
        let first = new.saturating_sub(2);
        for left in (first..new + 2).rev() {
            self.merge(domain, limit, left);
        }
    }

    /// Joins a chunk with the one behind it if one chunk takes both.
    fn merge(&mut self, domain: &mut Domain, limit: ListLimit, at: u64) {
        let packs = |list: &QuickList| {
            let left = list.chunks.get(at)?.get().pack()?;
            let right = list.chunks.get(at + 1)?.get().pack()?;
            let bytes = left.bytes_len() + right.bytes_len();
            limit
                .takes(bytes, left.len() + right.len())
                .then(|| right.bytes().to_vec())
        };
        if let Some(right) = packs(self) {
            self.remove_chunk(domain, at + 1);
            self.edit(domain, at, |pack| pack.append(Pack::of(&right)));
        }
    }

    /// Replaces the element of an index.
    fn set(&mut self, domain: &mut Domain, limit: ListLimit, index: usize, item: &[u8]) {
        let Some((at, within, chunk)) = self.chunks.at_weight(index as u64) else {
            return;
        };
        let fits = chunk.get().pack().is_some_and(|pack| {
            let old = pack.seek(within as i64).map_or(0, |at| pack.get(at).len());
            let bytes = pack.bytes_len() + item.len() - old.min(item.len());
            !limit.is_long(item) && (item.len() <= old || limit.takes(bytes, 1))
        });
        if fits {
            return self.edit(domain, at, |pack| {
                if let Some(at) = pack.pack().seek(within as i64) {
                    pack.replace(at, item);
                }
            });
        }
        self.remove_range(domain, index, 1);
        self.insert(domain, limit, index, item);
    }

    /// Removes up to `count` elements from `start` on.
    fn remove_range(&mut self, domain: &mut Domain, start: usize, count: usize) {
        let end = start.saturating_add(count).min(self.len());
        if start >= end {
            return;
        }
        let mut left = end - start;
        let Some((mut at, within, chunk)) = self.chunks.at_weight(start as u64) else {
            return;
        };
        let (within, len) = (within as usize, chunk.get().len());
        if within > 0 {
            let taken = left.min(len - within);
            self.edit(domain, at, |pack| pack.remove_range(within as i64, taken));
            left -= taken;
            at += 1;
        }
        if left == 0 {
            return;
        }
        let (last, rest) = match self.chunks.at_weight((start + left) as u64) {
            Some((last, rest, _)) => (last, rest as usize),
            None => (self.chunks.len(), 0),
        };
        if last == at + 1 {
            self.remove_chunk(domain, at);
        } else if last > at {
            Blocks::retire(self.chunks.remove_range(domain, at, last), domain);
        }
        if rest > 0 {
            self.edit(domain, at, |pack| pack.remove_range(0, rest));
        }
    }

    /// Removes up to `count` elements that equal `item`, from one end on; how many went.
    fn remove_equal(
        &mut self,
        domain: &mut Domain,
        item: &Sought<'_>,
        end: End,
        count: usize,
    ) -> usize {
        let (mut removed, mut seen) = (0, 0);
        while removed < count && seen < self.chunks.len() {
            let at = match end {
                End::Front => seen,
                End::Back => self.chunks.len() - 1 - seen,
            };
            let Some(chunk) = self.chunks.get(at).map(CowBox::get) else {
                break;
            };
            let (found, len) = match chunk.pack() {
                None => (usize::from(item.is(StringRef::Bytes(chunk.payload()))), 1),
                Some(pack) => {
                    let found = pack.iter().filter(|&other| item.is(other.into())).count();
                    (found.min(count - removed), pack.len())
                }
            };
            removed += found;
            if found == len {
                self.remove_chunk(domain, at);
                continue;
            }
            if found > 0 {
                self.edit(domain, at, |pack| remove_equal(pack, item, end, found));
            }
            seen += 1;
        }
        removed
    }
}

/// Puts an element before the one of `index` in a pack.
fn insert<B: crate::container::Buffer>(pack: &mut PackMut<'_, B>, index: usize, item: &[u8]) {
    let at = pack.pack().seek(index as i64);
    let at = at.unwrap_or_else(|| pack.pack().end());
    pack.insert(at, &[item]);
}

/// Removes up to `count` elements of a pack that equal `item`, from one end on; how many went.
fn remove_equal<B: crate::container::Buffer>(
    pack: &mut PackMut<'_, B>,
    item: &Sought<'_>,
    end: End,
    count: usize,
) -> usize {
    let mut removed = 0;
    let mut at = match end {
        End::Front => pack.pack().first(),
        End::Back => pack.pack().last(),
    };
    while let Some(place) = at
        && removed < count
    {
        let equal = item.is(pack.pack().get(place).into());
        if equal {
            pack.remove(place, 1);
            removed += 1;
        }
        let left = pack.pack();
        at = match end {
            End::Front if !equal => left.next(place),
            End::Front => (place != left.end()).then_some(place),
            End::Back => left.prev(place),
        };
    }
    removed
}

/// An element that others are compared with.
#[derive(Clone, Copy)]
pub struct Sought<'a> {
    bytes: &'a [u8],
    int: Option<i64>,
}

impl<'a> Sought<'a> {
    /// These bytes.
    pub fn new(bytes: &'a [u8]) -> Sought<'a> {
        Sought {
            bytes,
            int: StringRef::Bytes(bytes).as_int(),
        }
    }

    /// Whether an element is equal to it.
    #[inline]
    pub fn is(&self, item: StringRef<'_>) -> bool {
        match item {
            StringRef::Int(number) => self.int == Some(number),
            StringRef::Bytes(bytes) => bytes == self.bytes,
            StringRef::Chunked(_) => item.equals(self.bytes),
        }
    }
}

/// Visits the elements of a pack from an index on until `each` returns false; whether it never did.
fn walk<'a>(pack: Pack<'a>, start: usize, each: &mut impl FnMut(StringRef<'a>) -> bool) -> bool {
    match pack.seek(start as i64) {
        Some(from) => pack.iter_from(from).all(|item| each(item.into())),
        None => true,
    }
}

/// As [`walk`], from an index or the end towards the head.
fn walk_back<'a>(
    pack: Pack<'a>,
    start: Option<usize>,
    each: &mut impl FnMut(StringRef<'a>) -> bool,
) -> bool {
    let mut at = match start {
        Some(start) => pack.seek(start as i64),
        None => pack.last(),
    };
    while let Some(place) = at {
        if !each(pack.get(place).into()) {
            return false;
        }
        at = pack.prev(place);
    }
    true
}

/// A list for reading.
#[derive(Clone, Copy)]
pub enum ListRef<'a> {
    /// Elements in order.
    Pack(Pack<'a>),
    /// A tree of chunks.
    Quick(&'a QuickList),
}

impl<'a> ListRef<'a> {
    /// The list of an entry of that kind.
    pub fn of(entry: &'a Entry) -> ListRef<'a> {
        match (entry.large(), entry.packed()) {
            (Some(Large::List(list)), _) => ListRef::Quick(list),
            (_, Some((bytes, _))) => ListRef::Pack(Pack::of(bytes)),
            _ => unreachable!("a {:?} is no list", entry.kind()),
        }
    }

    /// Elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            ListRef::Pack(pack) => pack.len(),
            ListRef::Quick(list) => list.len(),
        }
    }

    /// Whether there is no element: only while a list is being made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element of an index. O(log n).
    pub fn get(&self, index: usize) -> Option<StringRef<'a>> {
        match *self {
            ListRef::Pack(pack) => pack.seek(index as i64).map(|at| pack.get(at).into()),
            ListRef::Quick(list) => list.get(index),
        }
    }

    /// The element at an end.
    pub fn end(&self, end: End) -> Option<StringRef<'a>> {
        match end {
            End::Front => self.get(0),
            End::Back => self.get(self.len().checked_sub(1)?),
        }
    }

    /// Visits the elements from that of `start` on towards the tail, until `each` returns false.
    pub fn walk(&self, start: usize, mut each: impl FnMut(StringRef<'a>) -> bool) {
        let list = match *self {
            ListRef::Pack(pack) => {
                walk(pack, start, &mut each);
                return;
            }
            ListRef::Quick(list) => list,
        };
        let Some((at, within, _)) = list.chunks.at_weight(start as u64) else {
            return;
        };
        let mut within = within as usize;
        for chunk in list.chunks.iter_from(at) {
            let chunk = chunk.get();
            let goes_on = match chunk.pack() {
                Some(pack) => walk(pack, within, &mut each),
                None => each(StringRef::Bytes(chunk.payload())),
            };
            if !goes_on {
                return;
            }
            within = 0;
        }
    }

    /// As [`ListRef::walk`], towards the head.
    pub fn walk_back(&self, start: usize, mut each: impl FnMut(StringRef<'a>) -> bool) {
        let list = match *self {
            ListRef::Pack(pack) => {
                walk_back(pack, Some(start), &mut each);
                return;
            }
            ListRef::Quick(list) => list,
        };
        let Some((at, within, _)) = list.chunks.at_weight(start as u64) else {
            return;
        };
        let mut within = Some(within as usize);
        let mut chunks = list.chunks.iter_from(at + 1);
        while let Some(chunk) = chunks.back() {
            let chunk = chunk.get();
            let goes_on = match chunk.pack() {
                Some(pack) => walk_back(pack, within, &mut each),
                None => each(StringRef::Bytes(chunk.payload())),
            };
            if !goes_on {
                return;
            }
            within = None;
        }
    }

    /// Visits all elements in order.
    pub fn for_each(&self, mut each: impl FnMut(StringRef<'a>)) {
        self.walk(0, |item| {
            each(item);
            true
        });
    }
}

/// A list for writing.
pub struct ListMut<'a> {
    body: BodyMut<'a>,
    limit: ListLimit,
}

impl<'a> ListMut<'a> {
    /// The list that `body` holds.
    pub fn new(body: BodyMut<'a>, limit: ListLimit) -> ListMut<'a> {
        ListMut { body, limit }
    }

    /// The list for reading.
    pub fn get(&self) -> ListRef<'_> {
        ListRef::of(self.body.entry())
    }

    /// Makes the list large if the small form does not take `count` more elements of so many bytes in all. Before
    /// elements are put in; [`ListMut::push`] asks for itself.
    pub fn expect(&mut self, bytes: usize, count: usize) {
        let Some((packed, _)) = self.body.packed() else {
            return;
        };
        let pack = Pack::of(packed);
        let surely = pack.bytes_len() + bytes + count * OVERHEAD_BYTES_MAX;
        if !self
            .limit
            .takes(pack.bytes_len() + bytes, pack.len() + count)
            || surely > BLOCK_BYTES_MAX
        {
            self.enlarge();
        }
    }

    #[cold]
    fn enlarge(&mut self) {
        let Some((packed, _)) = self.body.packed() else {
            return;
        };
        let chunk = (packed.len() > Pack::EMPTY.len()).then(|| Chunk::of_pack(packed));
        let domain = self.body.domain();
        let mut list = QuickList::new(domain);
        if let Some(chunk) = chunk {
            list.push_chunk(domain, chunk);
        }
        self.body.enlarge(list);
    }

    /// Makes the list large with these chunks behind what it holds. A chunk is a checked pack that is not empty, or one
    /// element alone (`plain`). For a loader, which then calls [`ListMut::settle`].
    pub fn push_chunk(&mut self, payload: &[u8], plain: bool) {
        self.enlarge();
        let chunk = match plain {
            true => Chunk::of(payload, true),
            false => Chunk::of_pack(payload),
        };
        let (list, domain) = self.quick();
        list.push_chunk(domain, chunk);
    }

    /// Makes a list small that consists of one pack: within the limit, or within half of it after removals
    /// (`shrinking`).
    pub fn settle(&mut self, shrinking: bool) {
        let Some(Large::List(list)) = self.body.entry().large() else {
            return;
        };
        if list.chunks.len() != 1 {
            return;
        }
        let Some(pack) = list.chunks.get(0).and_then(|chunk| chunk.get().pack()) else {
            return;
        };
        let part = 1 + usize::from(shrinking);
        let bytes = pack.bytes_len() * part;
        if self.limit.takes(bytes, pack.len() * part) && pack.bytes_len() <= BLOCK_BYTES_MAX {
            let bytes = pack.bytes().to_vec();
            self.body.replace(Value::Packed(Kind::List, &bytes, false));
        }
    }

    /// Puts an element at an end.
    #[inline]
    pub fn push(&mut self, end: End, item: &[u8]) {
        self.expect(item.len(), 1);
        self.push_expected(end, item);
    }

    /// As [`ListMut::push`], after [`ListMut::expect`].
    pub fn push_expected(&mut self, end: End, item: &[u8]) {
        let limit = self.limit;
        if self.body.packed().is_some() {
            let mut pack = PackMut::of(&mut self.body);
            match end {
                End::Front => pack.push_front(item),
                End::Back => pack.push_back(item),
            }
            return;
        }
        let (list, domain) = self.quick();
        list.push(domain, limit, end, item);
    }

    /// Puts an element before that of `index`, or at the end. After [`ListMut::expect`].
    pub fn insert(&mut self, index: usize, item: &[u8]) {
        let limit = self.limit;
        if self.body.packed().is_some() {
            return insert(&mut PackMut::of(&mut self.body), index, item);
        }
        let (list, domain) = self.quick();
        list.insert(domain, limit, index, item);
    }

    /// Replaces the element of an index below the length. After [`ListMut::expect`].
    pub fn set(&mut self, index: usize, item: &[u8]) {
        let limit = self.limit;
        if self.body.packed().is_some() {
            let mut pack = PackMut::of(&mut self.body);
            if let Some(at) = pack.pack().seek(index as i64) {
                pack.replace(at, item);
            }
            return;
        }
        let (list, domain) = self.quick();
        list.set(domain, limit, index, item);
    }

    /// Removes up to `count` elements from `start` on.
    pub fn remove_range(&mut self, start: usize, count: usize) {
        if self.body.packed().is_some() {
            PackMut::of(&mut self.body).remove_range(start as i64, count);
            return;
        }
        let (list, domain) = self.quick();
        list.remove_range(domain, start, count);
    }

    /// Removes up to `count` elements at an end; the list goes back to its small form when it is short.
    pub fn pop(&mut self, end: End, count: usize) {
        let start = match end {
            End::Front => 0,
            End::Back => self.get().len().saturating_sub(count),
        };
        self.remove_range(start, count);
        self.settle(true);
    }

    /// Removes up to `count` elements that equal `item`, from one end on; how many went.
    pub fn remove_equal(&mut self, item: &[u8], end: End, count: usize) -> usize {
        let item = Sought::new(item);
        if self.body.packed().is_some() {
            return remove_equal(&mut PackMut::of(&mut self.body), &item, end, count);
        }
        let (list, domain) = self.quick();
        list.remove_equal(domain, &item, end, count)
    }

    fn quick(&mut self) -> (&mut QuickList, &mut Domain) {
        match self.body.large() {
            Some((Large::List(list), domain)) => (list, domain),
            _ => unreachable!("a list is small or a tree"),
        }
    }
}
