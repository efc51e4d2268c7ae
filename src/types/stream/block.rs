//! [`Block`] and [`BlockRef`]: a run of a stream's entries in one pack, as Redis writes it into RDB files.
//!
//! ```text
//! entries | deleted | names | name … | 0 | record …
//! record: flags | ms - first ms | seq - first seq | [names] | [name] value … | elements before this one
//! ```
//! The numbers count live records, records marked as deleted, and the names of fields of the first record; a record
//! that has the same names (`SAME`) leaves them out. Ids are relative to that of the first record, which stands beside
//! the block. The last element of a record lets a walk go backwards.
//!
//! Invariants of a block that was made or checked ([`BlockRef::check`]): all numbers are integers, the counts are right, ids
//! ascend. What reads a block never panics for another reason than a broken invariant of the pack itself.

use crate::container::{Pack, PackAppender, PackBuilder, PackItem, PackIter, PackMut, Position};

use super::id::StreamId;

const DELETED: i64 = 1;
const SAME: i64 = 2;

/// Bytes of a block at most, whatever the configuration says.
pub const BLOCK_BYTES_MAX: usize = 1 << 30;

/// A run of entries that may grow.
#[derive(Clone)]
pub(super) struct Block {
    /// A pack.
    bytes: Vec<u8>,
}

/// A run of entries, for reading.
#[derive(Clone, Copy)]
pub struct BlockRef<'a> {
    /// A pack.
    bytes: &'a [u8],
}

/// The beginning of a block.
#[derive(Clone)]
struct Head<'a> {
    live: i64,
    deleted: i64,
    names: PackIter<'a>,
    name_count: usize,
    /// Before the first record.
    records: PackIter<'a>,
}

/// One entry.
#[derive(Clone)]
pub struct Record<'a> {
    /// Its id.
    pub id: StreamId,
    /// Whether it is only marked.
    pub(super) deleted: bool,
    /// Where its flags stand.
    at: Position,
    /// Its fields and values.
    pub fields: Fields<'a>,
}

/// The fields of an entry with their values.
#[derive(Clone)]
pub struct Fields<'a> {
    /// Of the block's first record, when these are the same.
    names: Option<PackIter<'a>>,
    items: PackIter<'a>,
    left: usize,
}

impl Fields<'_> {
    /// How many.
    #[inline]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether there is none left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (PackItem<'a>, PackItem<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => names.next()?,
            None => self.items.next()?,
        };
        Some((name, self.items.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

fn int(items: &mut PackIter<'_>) -> Option<i64> {
    match items.next()? {
        PackItem::Int(value) => Some(value),
        PackItem::Bytes(_) => None,
    }
}

fn count(items: &mut PackIter<'_>) -> Option<usize> {
    usize::try_from(int(items)?).ok()
}

impl<'a> Head<'a> {
    fn read(pack: Pack<'a>) -> Option<Head<'a>> {
        let mut items = pack.iter();
        let (live, deleted) = (int(&mut items)?, int(&mut items)?);
        let name_count = count(&mut items)?;
        let names = items.clone();
        for _ in 0..name_count {
            items.next()?;
        }
        items.next()?;
        Some(Head {
            live,
            deleted,
            names,
            name_count,
            records: items,
        })
    }

    /// The record at the place of `items`, which is moved behind it.
    #[inline]
    fn record(&self, first: StreamId, items: &mut PackIter<'a>) -> Option<Record<'a>> {
        let at = items.place();
        let flags = int(items)?;
        let id = StreamId {
            ms: first.ms.wrapping_add(int(items)? as u64),
            seq: first.seq.wrapping_add(int(items)? as u64),
        };
        let same = flags & SAME != 0;
        let left = match same {
            true => self.name_count,
            false => count(items)?,
        };
        let fields = Fields {
            names: same.then(|| self.names.clone()),
            items: items.clone(),
            left,
        };
        let elements = if same { left } else { left.checked_mul(2)? };
        for _ in 0..elements {
            items.next()?;
        }
        int(items)?;
        Some(Record {
            id,
            deleted: flags & DELETED != 0,
            at,
            fields,
        })
    }
}

impl<'a> BlockRef<'a> {
    /// Of a pack that [`BlockRef::check`] accepts.
    #[inline]
    pub(super) fn of_checked(pack: &'a [u8]) -> BlockRef<'a> {
        BlockRef { bytes: pack }
    }

    /// Whether bytes are a block whose ids, relative to `first`, ascend from `above` on; the last id.
    pub fn check(bytes: &[u8], first: StreamId, above: Option<StreamId>) -> Option<StreamId> {
        let pack = Pack::check(bytes).ok()?;
        let head = Head::read(pack)?;
        let mut items = head.records.clone();
        let (mut live, mut deleted) = (0, 0);
        if above.is_some_and(|above| first <= above) {
            return None;
        }
        let mut last = above;
        while items.place() != pack.end() {
            let start = items.place();
            // Flags are changed in place: in the shortest form.
            if i64::from(bytes[start.offset()]) > DELETED | SAME {
                return None;
            }
            let record = head.record(first, &mut items)?;
            // The record's own length leads back to its beginning.
            let mut back = pack.prev(items.place())?;
            let PackItem::Int(elements) = pack.get(back) else {
                return None;
            };
            for _ in 0..elements {
                back = pack.prev(back)?;
            }
            let ascends = last.is_none_or(|last| last < record.id) && !record.id.is_min();
            if back != start || !ascends || record.id < first {
                return None;
            }
            last = Some(record.id);
            match record.deleted {
                true => deleted += 1,
                false => live += 1,
            }
        }
        let counted = (live, deleted) == (head.live, head.deleted) && live + deleted > 0;
        last.filter(|_| counted)
    }

    /// The bytes, a pack.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    fn pack(self) -> Pack<'a> {
        Pack::of(self.bytes)
    }

    fn head(self) -> Head<'a> {
        Head::read(self.pack()).unwrap_or_else(|| unreachable!("a block has a head"))
    }

    /// Live entries, and marked ones.
    #[inline]
    pub(super) fn counts(self) -> (u64, u64) {
        let mut items = self.pack().iter();
        let mut next = || int(&mut items).unwrap_or(0).max(0) as u64;
        (next(), next())
    }

    /// All records in order, the marked ones too.
    #[inline]
    pub(super) fn walk(self, first: StreamId) -> Records<'a> {
        let head = self.head();
        Records {
            items: head.records.clone(),
            head,
            first,
        }
    }

    /// As [`BlockRef::walk`], the last first.
    pub(super) fn walk_back(self, first: StreamId) -> RecordsBack<'a> {
        let head = self.head();
        RecordsBack {
            pack: self.pack(),
            at: self.pack().end(),
            head,
            first,
        }
    }

    /// The id of the last record, marked or not.
    pub(super) fn last_id(self, first: StreamId) -> Option<StreamId> {
        self.walk_back(first).next().map(|record| record.id)
    }
}

impl Block {
    /// A block of one entry. `fields` are names and values in turn.
    pub(super) fn new<'f>(fields: impl Iterator<Item = &'f [u8]> + Clone, count: usize) -> Block {
        let mut pack = PackBuilder::with_capacity(128);
        pack.push_int(1);
        pack.push_int(0);
        pack.push_int(count as i64);
        fields
            .clone()
            .step_by(2)
            .take(count)
            .for_each(|name| pack.push(name));
        pack.push_int(0);
        pack.push_int(SAME);
        pack.push_int(0);
        pack.push_int(0);
        fields.skip(1).step_by(2).for_each(|value| pack.push(value));
        pack.push_int(count as i64 + 3);
        Block {
            bytes: pack.finish(),
        }
    }

    /// Of a pack that [`BlockRef::check`] accepts.
    pub(super) fn of_checked(pack: &[u8]) -> Block {
        Block {
            bytes: pack.to_vec(),
        }
    }

    /// The block for reading.
    #[inline]
    pub(super) fn view(&self) -> BlockRef<'_> {
        BlockRef { bytes: &self.bytes }
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends an entry.
    pub(super) fn push<'f>(
        &mut self,
        id: StreamId,
        first: StreamId,
        fields: impl Iterator<Item = &'f [u8]> + Clone,
        count: usize,
    ) {
        let (live, _) = self.view().counts();
        self.set_count(0, live + 1);
        let same = {
            let mut head = self.view().head();
            head.name_count == count
                && fields
                    .clone()
                    .step_by(2)
                    .all(|name| head.names.next().is_some_and(|other| other.equals(name)))
        };
        let mut pack = PackAppender::of(&mut self.bytes);
        pack.push_int(if same { SAME } else { 0 });
        pack.push_int(id.ms.wrapping_sub(first.ms) as i64);
        pack.push_int(id.seq.wrapping_sub(first.seq) as i64);
        if same {
            fields.skip(1).step_by(2).for_each(|value| pack.push(value));
            pack.push_int(count as i64 + 3);
        } else {
            pack.push_int(count as i64);
            fields.for_each(|item| pack.push(item));
            pack.push_int(2 * count as i64 + 4);
        }
    }

    /// Changes one of the two counts at the beginning.
    fn set_count(&mut self, index: i64, count: u64) {
        let Some(at) = self.view().pack().seek(index) else {
            return;
        };
        let byte = &mut self.bytes[at.offset()];
        if *byte < 0x80 && count < 0x80 {
            *byte = count as u8;
            return;
        }
        let mut digits = itoa::Buffer::new();
        PackMut::of(&mut self.bytes).replace(at, digits.format(count).as_bytes());
    }

    /// Drops the records behind `id`, which are marked as deleted and not all that there are.
    pub(super) fn cut_after(&mut self, first: StreamId, id: StreamId) {
        let mut behind = self.view().walk(first).filter(|record| record.id > id);
        let Some(at) = behind.next().map(|record| record.at) else {
            return;
        };
        let count = 1 + behind.count() as u64;
        PackMut::of(&mut self.bytes).remove(at, usize::MAX);
        let (_, deleted) = self.view().counts();
        self.set_count(1, deleted.saturating_sub(count));
    }

    /// Marks entries as deleted; `ids` ascend and are of live entries.
    pub(super) fn mark(&mut self, first: StreamId, ids: &[StreamId]) {
        let places: Vec<Position> = {
            let mut left = ids.iter().peekable();
            self.view()
                .walk(first)
                .filter(|record| left.next_if_eq(&&record.id).is_some())
                .map(|record| record.at)
                .collect()
        };
        for at in &places {
            // Flags are an integer of one byte.
            self.bytes[at.offset()] |= DELETED as u8;
        }
        let (live, deleted) = self.view().counts();
        let count = places.len() as u64;
        // From the back, as an edit moves what is behind it.
        self.set_count(1, deleted + count);
        self.set_count(0, live.saturating_sub(count));
    }
}

/// The records of a block.
pub(super) struct Records<'a> {
    head: Head<'a>,
    items: PackIter<'a>,
    first: StreamId,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        self.head.record(self.first, &mut self.items)
    }
}

/// The records of a block, the last first.
pub(super) struct RecordsBack<'a> {
    head: Head<'a>,
    pack: Pack<'a>,
    /// Behind the next record.
    at: Position,
    first: StreamId,
}

impl<'a> Iterator for RecordsBack<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if self.at <= self.head.records.place() {
            return None;
        }
        let mut at = self.pack.prev(self.at)?;
        let PackItem::Int(elements) = self.pack.get(at) else {
            return None;
        };
        for _ in 0..elements {
            at = self.pack.prev(at)?;
        }
        self.at = at;
        self.head.record(self.first, &mut self.pack.iter_from(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn ids(block: &Block, first: StreamId) -> Vec<(StreamId, bool)> {
        let forth: Vec<_> = block
            .view()
            .walk(first)
            .map(|record| (record.id, record.deleted))
            .collect();
        let mut back: Vec<_> = block
            .view()
            .walk_back(first)
            .map(|record| (record.id, record.deleted))
            .collect();
        back.reverse();
        assert_eq!(forth, back);
        forth
    }

    #[test]
    fn entries_are_kept_and_marked() {
        let first = StreamId::new(5, 9);
        let entry: [&[u8]; 4] = [b"f", b"1", b"g", b"two"];
        let mut block = Block::new(entry.into_iter(), 2);
        let mut all = vec![(first, false)];
        for number in 1..300 {
            let id = StreamId::new(5 + number / 2, number % 2);
            match number % 3 {
                0 => block.push(id, first, entry.into_iter(), 2),
                1 => block.push(id, first, [b"x".as_slice(), b"y"].into_iter(), 1),
                _ => {
                    let other: [&[u8]; 4] = [b"f", b"1", b"h", b"two"];
                    block.push(id, first, other.into_iter(), 2);
                }
            }
            all.push((id, false));
        }
        // 5-1 stands behind 5-9: not for the check, but read alike.
        assert_eq!(ids(&block, first), all);
        let marked: Vec<StreamId> = all.iter().skip(2).step_by(7).map(|(id, _)| *id).collect();
        block.mark(first, &marked);
        for (id, deleted) in &mut all {
            *deleted = marked.contains(id);
        }
        assert_eq!(ids(&block, first), all);
        let count = marked.len() as u64;
        assert_eq!(block.view().counts(), (300 - count, count));
        let fields: Vec<_> = block.view().walk(first).nth(1).unwrap().fields.collect();
        assert_eq!(fields, [(PackItem::Bytes(b"x"), PackItem::Bytes(b"y"))]);
    }

    #[test]
    fn damage_is_refused_or_harmless() {
        let first = StreamId::new(5, 9);
        let entry: [&[u8]; 4] = [b"f", b"1", b"g", b"two"];
        let mut block = Block::new(entry.into_iter(), 2);
        for number in 1..20 {
            let id = StreamId::new(5 + number, 0);
            match number % 3 {
                0 => block.push(id, first, entry.into_iter(), 2),
                _ => block.push(id, first, [b"x".as_slice(), b"y"].into_iter(), 1),
            }
        }
        block.mark(first, &[StreamId::new(8, 0)]);
        let last = StreamId::new(24, 0);
        assert_eq!(
            BlockRef::check(block.view().bytes(), first, None),
            Some(last)
        );
        assert_eq!(
            BlockRef::check(block.view().bytes(), first, Some(first)),
            None
        );
        let mut prng = Prng::new(9);
        let mut accepted = 0;
        for _ in 0..30_000 {
            let mut bytes = block.view().bytes().to_vec();
            for _ in 0..1 + prng.below(3) {
                let at = prng.below(bytes.len() as u64) as usize;
                bytes[at] = match prng.below(2) {
                    0 => prng.next_u64() as u8,
                    _ => bytes[at] ^ 1 << prng.below(8),
                };
            }
            if BlockRef::check(&bytes, first, None).is_none() {
                continue;
            }
            accepted += 1;
            let mut damaged = Block::of_checked(&bytes);
            let all = ids(&damaged, first);
            damaged.view().walk(first).for_each(|record| {
                record.fields.for_each(drop);
            });
            let live: Vec<StreamId> = all
                .iter()
                .filter(|(_, deleted)| !deleted)
                .map(|(id, _)| *id)
                .collect();
            damaged.mark(first, &live);
            damaged.push(StreamId::MAX, first, entry.into_iter(), 2);
            assert_eq!(ids(&damaged, first).len(), all.len() + 1);
        }
        assert!(accepted > 100, "{accepted}");
    }
}
