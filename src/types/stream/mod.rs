//! Streams: entries by id, and the consumer groups that read them.
//!
//! [`Stream`] keeps its entries in [`Block`]s, which are packs as Redis writes them into RDB files, so loading is a check
//! and a copy and saving a copy. Full blocks stand in a tree by the id of their first entry; the newest, which grows,
//! stands beside it, so that an append finds it at once and a short stream needs no tree. A stream has no small form:
//! a block is as compact as one would be.
//!
//! Where blocks end is Redis's (`stream-node-max-bytes`, `stream-node-max-entries`), as clients see it: XTRIM with `~`
//! removes whole blocks, XINFO counts them.
//!
//! Invariants: ids ascend through all blocks; `meta.length` counts live entries; no block is without records (all of
//! them may be marked as deleted).
//!
//! [`id`]: ids; [`block`]: a run of entries; [`group`]: consumer groups; [`load`]: what an RDB file says of a stream.

pub mod block;
pub mod group;
pub mod id;
mod load;

use super::body::BodyMut;
use super::entry::{Entry, Kind, Value};
use super::large::{Blocks, Collection, Large, blocks};
use crate::container::{CowBox, CowBytes, CowTree, Domain, Item};
use std::collections::BTreeMap;

pub use block::{BlockRef, Fields, Record};

use block::Block;
pub use group::{Consumer, ConsumerKey, Group, Pending};
pub use id::{ParsedId, StreamId};
pub use load::{Damaged, LoadPart, Totals};

use group::GroupItem;

/// Blocks whose size is looked at for an estimate.
const SAMPLE: usize = 32;
/// What stands under a key until its stream is made.
pub const PLACEHOLDER: Value<'_> = Value::Packed(Kind::Stream, b"", false);

/// A full block by the id that its records are relative to.
struct Node {
    first: StreamId,
    bytes: CowBytes,
}

#[allow(unsafe_code)]
// SAFETY: a pointer without drop glue; `release` frees what it owns.
unsafe impl Item for Node {
    unsafe fn release(self) {
        // SAFETY: the caller's promise.
        unsafe { self.bytes.free() }
    }
}

impl Node {
    fn new(domain: &mut Domain, first: StreamId, block: BlockRef<'_>) -> Node {
        let bytes = CowBytes::new(domain, block.bytes());
        Node { first, bytes }
    }

    #[inline]
    fn place(&self) -> Place<'_> {
        Place {
            first: self.first,
            block: BlockRef::of_checked(self.bytes.get()),
        }
    }
}

/// The block that grows.
struct Growing {
    first: StreamId,
    block: CowBox<Block>,
}

impl Growing {
    #[inline]
    fn place(&self) -> Place<'_> {
        Place {
            first: self.first,
            block: self.block.get().view(),
        }
    }
}

/// A block where it stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The id that its records are relative to.
    first: StreamId,
    block: BlockRef<'a>,
}

/// The block that grows, if there is one.
struct Tail(Option<Growing>);

#[allow(unsafe_code)]
impl Blocks for Tail {
    unsafe fn share(&self) -> Tail {
        Tail(self.0.as_ref().map(|node| Growing {
            first: node.first,
            // SAFETY: the caller's promise.
            block: unsafe { node.block.share() },
        }))
    }

    fn forget(self) {}

    fn retire(self, domain: &mut Domain) {
        if let Some(node) = self.0 {
            node.block.retire(domain);
        }
    }

    unsafe fn free(self) {
        if let Some(node) = self.0 {
            // SAFETY: the caller's promise.
            unsafe { node.block.free() }
        }
    }
}

/// What is known of a stream besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Live entries.
    pub length: u64,
    /// The last id that was given out.
    pub last_id: StreamId,
    /// The first entry; 0-0 without one.
    pub first_id: StreamId,
    /// The highest id that XDEL removed.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
}

impl Meta {
    /// Whether there may be a removed entry from `start` on.
    pub fn has_gap_from(self, start: StreamId) -> bool {
        self.length > 0
            && !self.max_deleted_id.is_min()
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many of all entries ever added stand up to `id`, where that can be told.
    pub fn distance_to(self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if !id.is_min() && id < self.max_deleted_id {
            return None;
        }
        if id >= self.last_id {
            return (id == self.last_id).then_some(self.entries_added);
        }
        let whole = self.max_deleted_id.is_min() || self.max_deleted_id < self.first_id;
        let before = self.entries_added.saturating_sub(self.length);
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less if whole => Some(before),
            std::cmp::Ordering::Equal if whole => Some(before + 1),
            _ => None,
        }
    }
}

/// How large a block may grow.
#[derive(Clone, Copy, Debug)]
pub struct BlockLimit {
    bytes: usize,
    entries: u64,
}

impl BlockLimit {
    /// From `stream-node-max-bytes` and `stream-node-max-entries`; 0 for no bound.
    pub fn of(bytes: i64, entries: i64) -> BlockLimit {
        let bytes = usize::try_from(bytes).unwrap_or(0);
        BlockLimit {
            bytes: match bytes {
                0 => block::BLOCK_BYTES_MAX,
                bytes => bytes.min(block::BLOCK_BYTES_MAX),
            },
            entries: u64::try_from(entries).unwrap_or(0),
        }
    }

    fn takes(&self, block: BlockRef<'_>, bytes: usize) -> bool {
        if block.bytes().len() + bytes >= self.bytes {
            return false;
        }
        let (live, deleted) = block.counts();
        self.entries == 0 || live + deleted < self.entries
    }
}

/// Where trimming ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimTo {
    /// So many entries stay.
    Length(u64),
    /// Entries from this id on stay.
    Id(StreamId),
}

/// What is removed of the references that consumer groups have to removed entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// Nothing.
    Keep,
    /// All of them.
    Delete,
    /// An entry that any group may still deliver or wait for stays.
    Acknowledged,
}

/// How to trim.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    /// Where to end.
    pub to: TrimTo,
    /// Only whole blocks.
    pub approximate: bool,
    /// Entries removed at most, or looked at where references keep some; 0 for any number.
    pub limit: u64,
    /// What groups have of them.
    pub references: References,
}

/// What went where references were minded, as replicas are told that know of no references.
#[derive(Debug, Default)]
pub struct Gone {
    /// Entries that went as if deleted one by one.
    pub entries: Vec<StreamId>,
    /// For each group's name the entries that it refers to no more.
    pub references: BTreeMap<Vec<u8>, Vec<StreamId>>,
}

/// What trimming did.
#[derive(Debug, Default)]
pub struct Trimmed {
    /// Entries that went.
    pub removed: u64,
    /// Where the block begins at which it ended; None: behind the last.
    pub rest: Option<StreamId>,
    /// With [`References::Delete`] the references that went, with [`References::Acknowledged`] the entries.
    pub gone: Gone,
}

/// What goes of one block.
struct Cut {
    /// Where the block begins.
    first: StreamId,
    /// Its live entries.
    live: u64,
    /// Those that go, in order.
    ids: Vec<StreamId>,
    /// The block is within the range that goes.
    whole: bool,
    /// No other live entry is left.
    empties: bool,
    /// Trimming ends with this.
    is_last: bool,
}

/// A stream.
pub struct Stream {
    /// All blocks but the last.
    blocks: CowTree<Node>,
    tail: Tail,
    groups: CowTree<GroupItem>,
    meta: Meta,
    loading: load::Loading,
}

blocks!(Stream { blocks, tail, groups; meta, loading });

impl Collection for Stream {
    const KIND: Kind = Kind::Stream;
    const ENCODING: &'static str = "stream";

    /// What it takes to free it counts too.
    fn count(&self) -> u64 {
        let pending: u64 = self
            .groups
            .iter()
            .map(|item| 1 + item.get().pending_count())
            .sum();
        self.meta.length + pending
    }

    fn memory_bytes(&self) -> usize {
        let count = self.blocks.len();
        let sampled = count.min(SAMPLE as u64);
        let full = (0..sampled).filter_map(|index| self.blocks.get(index));
        let full: usize = full.map(|node| node.bytes.memory_bytes()).sum();
        let own = size_of::<u64>() + size_of::<Block>();
        let tail = self.tail.0.as_ref();
        let tail = tail.map_or(0, |tail| own + tail.block.get().memory_bytes());
        let groups: usize = self
            .groups
            .iter()
            .map(|item| item.get().memory_bytes())
            .sum();
        let trees = self.blocks.memory_bytes() + self.groups.memory_bytes();
        let blocks = full as u64 * count / sampled.max(1);
        size_of::<Large>() + (trees + blocks) as usize + tail + groups
    }

    fn duplicate(&self, domain: &mut Domain) -> Stream {
        let mut copy = Stream::new(domain);
        copy.meta = self.meta;
        for (first, block) in self.blocks() {
            copy.push_block(domain, first, Block::of_checked(block.bytes()));
        }
        for item in self.groups.iter() {
            let item = item.duplicate(domain);
            copy.groups.push(domain, item);
        }
        copy
    }
}

impl Stream {
    fn new(domain: &Domain) -> Stream {
        Stream {
            blocks: CowTree::new(domain),
            tail: Tail(None),
            groups: CowTree::new(domain),
            meta: Meta::default(),
            loading: load::Loading::default(),
        }
    }

    // ---- reading ---------------------------------------------------------------------------

    /// The stream of an entry of that kind.
    #[inline]
    pub fn of(entry: &Entry) -> &Stream {
        match entry.large() {
            Some(Large::Stream(stream)) => stream,
            _ => unreachable!("a {:?} is no stream", entry.kind()),
        }
    }

    /// What is known besides the entries.
    #[inline]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The blocks in order, each with the id that its records are relative to.
    pub fn blocks(&self) -> impl Iterator<Item = (StreamId, BlockRef<'_>)> {
        let full = self.blocks.iter().map(Node::place);
        let places = full.chain(self.tail.0.as_ref().map(Growing::place));
        places.map(|place| (place.first, place.block))
    }

    /// How many blocks.
    pub fn block_count(&self) -> u64 {
        self.blocks.len() + u64::from(self.tail.0.is_some())
    }

    #[inline]
    fn node(&self, index: u64) -> Option<Place<'_>> {
        match index == self.blocks.len() {
            true => self.tail.0.as_ref().map(Growing::place),
            false => self.blocks.get(index).map(Node::place),
        }
    }

    /// The index of the block that has or would have an entry: the last that begins at or before it, or the first.
    fn place_of(&self, id: StreamId) -> u64 {
        if let Some(tail) = &self.tail.0
            && tail.first <= id
        {
            return self.blocks.len();
        }
        match self.blocks.find(|node| node.first.cmp(&id)) {
            Ok(place) => place,
            Err(place) => place.saturating_sub(1),
        }
    }

    /// The live entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let at = self.place_of(start);
        Range {
            stream: self,
            records: self.records(at),
            at,
            start,
            end,
        }
    }

    /// As [`Stream::range`], the last first.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> RangeBack<'_> {
        let at = self.place_of(end);
        RangeBack {
            stream: self,
            records: self.node(at).map(|node| node.block.walk_back(node.first)),
            at,
            start,
            end,
        }
    }

    #[inline]
    fn records(&self, at: u64) -> Option<block::Records<'_>> {
        self.node(at).map(|node| node.block.walk(node.first))
    }

    /// A live entry.
    pub fn get(&self, id: StreamId) -> Option<Record<'_>> {
        self.range(id, id).next()
    }

    /// The last live entry's id; 0-0 without one.
    pub fn last_live_id(&self) -> StreamId {
        if self.meta.length == 0 {
            return StreamId::MIN;
        }
        let last = self.range_back(StreamId::MIN, StreamId::MAX).next();
        last.map_or(StreamId::MIN, |record| record.id)
    }

    /// How many entries a group has still to read, where that can be told; below 0 when XSETID lowered the count.
    pub fn lag_of(&self, group: &Group) -> Option<i64> {
        let meta = &self.meta;
        if meta.entries_added == 0 || meta.length == 0 {
            return Some(0);
        }
        if group.last_id < meta.first_id && meta.max_deleted_id < meta.first_id {
            return Some(meta.length as i64);
        }
        let read = match group.entries_read {
            Some(read) if !meta.has_gap_from(group.last_id) => Some(read),
            _ => meta.distance_to(group.last_id),
        };
        read.map(|read| meta.entries_added.wrapping_sub(read) as i64)
    }

    /// How many nodes Redis's radix tree of the blocks would have: clients see it.
    pub fn radix_nodes(&self) -> u64 {
        let keys: Vec<[u8; StreamId::BYTES]> =
            self.blocks().map(|(first, _)| first.to_bytes()).collect();
        radix_nodes(&keys, 0)
    }

    /// The groups by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.groups.iter().map(GroupItem::get)
    }

    fn group_place(&self, name: &[u8]) -> Result<u64, u64> {
        self.groups.find(|item| item.compare(name))
    }

    /// A group by its name.
    #[inline]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups
            .get_by(|item| item.compare(name))
            .map(GroupItem::get)
    }

    /// Whether a group may still deliver an entry, or waits for its acknowledgement.
    fn is_referred_to(&self, id: StreamId) -> bool {
        self.groups().any(|group| group.refers_to(id))
    }

    // ---- writing ---------------------------------------------------------------------------

    fn push_block(&mut self, domain: &mut Domain, first: StreamId, block: Block) {
        if let Some(full) = self.tail.0.take() {
            let node = Node::new(domain, full.first, full.block.get().view());
            self.blocks.push(domain, node);
            full.block.retire(domain);
        }
        let block = CowBox::new(domain, block);
        self.tail.0 = Some(Growing { first, block });
    }

    fn edit<R>(
        &mut self,
        domain: &mut Domain,
        index: u64,
        change: impl FnOnce(StreamId, &mut Block) -> R,
    ) -> Option<R> {
        if index < self.blocks.len() {
            return Some(self.blocks.update(domain, index, |node, domain| {
                let mut block = Block::of_checked(node.bytes.get());
                let result = change(node.first, &mut block);
                node.bytes.set(domain, block.view().bytes());
                result
            }));
        }
        let node = self.tail.0.as_mut()?;
        Some(change(node.first, node.block.get_mut(domain)))
    }

    fn remove_block(&mut self, domain: &mut Domain, index: u64) {
        if index < self.blocks.len() {
            self.blocks.remove_at(domain, index).bytes.retire(domain);
            return;
        }
        if let Some(node) = self.tail.0.take() {
            node.block.retire(domain);
        }
        if let Some(last) = self.blocks.len().checked_sub(1) {
            let Node { first, bytes } = self.blocks.remove_at(domain, last);
            let block = Block::of_checked(bytes.get());
            bytes.retire(domain);
            let block = CowBox::new(domain, block);
            self.tail.0 = Some(Growing { first, block });
        }
    }

    fn append<'f>(
        &mut self,
        domain: &mut Domain,
        limit: BlockLimit,
        id: StreamId,
        fields: impl Iterator<Item = &'f [u8]> + Clone,
        count: usize,
    ) {
        let bytes: usize = fields.clone().map(<[u8]>::len).sum();
        match &mut self.tail.0 {
            Some(Growing { first, block }) if limit.takes(block.get().view(), bytes) => {
                block.get_mut(domain).push(id, *first, fields, count);
            }
            _ => self.push_block(domain, id, Block::new(fields, count)),
        }
        let meta = &mut self.meta;
        meta.length += 1;
        // A file may claim any number.
        meta.entries_added = meta.entries_added.saturating_add(1);
        meta.last_id = id;
        if meta.length == 1 {
            meta.first_id = id;
        }
    }

    fn remove(&mut self, domain: &mut Domain, id: StreamId) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        let at = self.place_of(id);
        match self.node(at).map(|node| node.block.counts()) {
            Some((1, _)) => self.remove_block(domain, at),
            _ => drop(self.edit(domain, at, |first, block| block.mark(first, &[id]))),
        }
        self.meta.length -= 1;
        true
    }

    fn find_first(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        self.meta.first_id = first.map_or(StreamId::MIN, |record| record.id);
    }

    /// How many blocks from the first on are removed whole, nobody asking what groups have of them, and how many live
    /// entries that are. O(blocks that go or blocks that stay, whichever are fewer).
    fn whole_blocks(&self, trim: &Trim) -> (u64, u64) {
        let all = self.block_count();
        let (most, over) = match trim.to {
            TrimTo::Length(length) => (all, self.meta.length.saturating_sub(length)),
            TrimTo::Id(id) => (self.blocks_before(id), u64::MAX),
        };
        let more_go = match trim.to {
            TrimTo::Length(_) => over > self.meta.length / 2,
            TrimTo::Id(_) => most > all / 2,
        };
        match more_go && trim.limit == 0 {
            true => self.all_but_kept(trim.to, most),
            false => self.counted_whole(trim.limit, most, over),
        }
    }

    /// Blocks all of whose entries have lower ids.
    fn blocks_before(&self, id: StreamId) -> u64 {
        let begun = match &self.tail.0 {
            Some(tail) if tail.first < id => self.blocks.len() + 1,
            _ => {
                let found = self.blocks.find(|node| node.first.cmp(&id));
                found.unwrap_or_else(|place| place)
            }
        };
        let Some(last) = begun.checked_sub(1).and_then(|last| self.node(last)) else {
            return 0;
        };
        let ended = last.block.last_id(last.first);
        begun - u64::from(ended.is_none_or(|ended| ended >= id))
    }

    /// Counts from the first block on: up to `most` of them, `over` live entries and a limit of those.
    fn counted_whole(&self, limit: u64, most: u64, over: u64) -> (u64, u64) {
        let (mut count, mut removed) = (0, 0);
        for (_, block) in self
            .blocks()
            .take(usize::try_from(most).unwrap_or(usize::MAX))
        {
            let (live, _) = block.counts();
            let too_many = limit > 0 && removed + live > limit;
            if removed == over || live > over - removed || too_many {
                break;
            }
            count += 1;
            removed += live;
        }
        (count, removed)
    }

    /// As [`Stream::counted_whole`] without a limit, by what is kept: counted from the last block back.
    fn all_but_kept(&self, to: TrimTo, most: u64) -> (u64, u64) {
        let (mut at, mut kept) = (self.block_count(), 0);
        while let Some(before) = at.checked_sub(1) {
            let live = self.node(before).map_or(0, |node| node.block.counts().0);
            let stays = match to {
                TrimTo::Id(_) => at > most,
                // With the last entry that is too many the removal ends: blocks without live ones behind it stay.
                TrimTo::Length(length) => kept < length || (kept == length && live == 0),
            };
            if !stays {
                break;
            }
            at = before;
            kept += live;
        }
        (at, self.meta.length - kept)
    }

    /// Gives up so many blocks from the first on.
    fn remove_blocks(&mut self, domain: &mut Domain, count: u64) {
        if count > self.blocks.len()
            && let Some(tail) = self.tail.0.take()
        {
            tail.block.retire(domain);
        }
        let removed = self
            .blocks
            .remove_range(domain, 0, count.min(self.blocks.len()));
        Blocks::retire(removed, domain);
    }

    /// See [`StreamMut::trim`].
    fn trim(&mut self, domain: &mut Domain, trim: &Trim) -> Trimmed {
        // The entries that count for the limit.
        let mut done = 0;
        let (mut removed, mut gone) = (0, Gone::default());
        if trim.references == References::Keep {
            let (count, live) = self.whole_blocks(trim);
            self.remove_blocks(domain, count);
            self.meta.length -= live;
            (removed, done) = (live, live);
        }
        let end = match trim.references {
            References::Acknowledged => self.first_undelivered(),
            References::Keep | References::Delete => None,
        };
        let mut at = 0;
        while let Some(cut) = self.next_cut(trim, at, done) {
            if end.is_some_and(|end| cut.first >= end) {
                break;
            }
            let count = cut.ids.len() as u64;
            removed += count;
            self.cut(domain, at, &cut);
            done += match trim.references {
                References::Keep => count,
                References::Delete => {
                    for id in cut.ids {
                        self.forget_references(domain, id, &mut gone.references);
                    }
                    count
                }
                References::Acknowledged => {
                    gone.entries.extend(cut.ids);
                    cut.live
                }
            };
            if cut.is_last {
                break;
            }
            at += u64::from(!cut.empties);
        }
        if let Some(last) = gone.entries.last() {
            self.meta.max_deleted_id = self.meta.max_deleted_id.max(*last);
        }
        if self.meta.length == 0 || removed > 0 {
            self.find_first();
        }
        Trimmed {
            removed,
            rest: self.node(at).map(|node| node.first),
            gone,
        }
    }

    /// The first id that some group has yet to deliver; None without groups.
    fn first_undelivered(&self) -> Option<StreamId> {
        let delivered = self.groups().map(|group| group.last_id).min()?;
        delivered.next()
    }

    /// What goes of the block at `at`, `done` entries behind the first; None where trimming ends.
    fn next_cut(&self, trim: &Trim, at: u64, done: u64) -> Option<Cut> {
        let Place { first, block } = self.node(at)?;
        let (live, _) = block.counts();
        let over = match trim.to {
            TrimTo::Length(length) => self.meta.length.saturating_sub(length),
            TrimTo::Id(_) => u64::MAX,
        };
        let too_many = trim.limit > 0 && done + live > trim.limit;
        let whole = match trim.to {
            TrimTo::Length(_) => live <= over,
            TrimTo::Id(id) => block.last_id(first).is_some_and(|last| last < id),
        };
        if over == 0 || too_many || (!whole && trim.approximate) {
            return None;
        }
        let goes = |id: &StreamId| match trim.to {
            TrimTo::Length(_) => true,
            TrimTo::Id(end) => *id < end,
        };
        let is_kept = |id| trim.references == References::Acknowledged && self.is_referred_to(id);
        let ids: Vec<StreamId> = block
            .walk(first)
            .filter(|record| !record.deleted)
            .map(|record| record.id)
            .take_while(goes)
            .filter(|id| !is_kept(*id))
            .take(usize::try_from(over).unwrap_or(usize::MAX))
            .collect();
        let count = ids.len() as u64;
        // What is kept of this block for its references has to come from those behind it.
        let is_last = !whole && (matches!(trim.to, TrimTo::Id(_)) || count == over);
        Some(Cut {
            first,
            live,
            ids,
            whole,
            empties: count == live,
            is_last,
        })
    }

    /// Removes entries of a block; with the last of them the block, if it is to go whole: one that is not stays with marked
    /// entries alone, as in Redis.
    fn cut(&mut self, domain: &mut Domain, at: u64, cut: &Cut) {
        if cut.whole && cut.empties {
            self.remove_block(domain, at);
        } else if !cut.ids.is_empty() {
            self.edit(domain, at, |first, block| block.mark(first, &cut.ids));
        }
        self.meta.length -= cut.ids.len() as u64;
    }

    /// Makes `id`, which no live entry is above, the last: records above it that are marked as deleted would stand in
    /// the way of ids to come.
    fn set_last_id(&mut self, domain: &mut Domain, id: StreamId) {
        self.meta.last_id = id;
        while let Some(at) = self.block_count().checked_sub(1)
            && let Some(node) = self.node(at)
            && node.block.last_id(node.first).is_some_and(|last| last > id)
        {
            // A file's block may begin before its first record.
            let first = node.block.walk(node.first).next();
            if first.is_some_and(|record| record.id <= id) {
                self.edit(domain, at, |first, block| block.cut_after(first, id));
                return;
            }
            self.remove_block(domain, at);
        }
    }

    /// No group refers to an entry any more: those that did are noted in `gone`.
    fn forget_references(
        &mut self,
        domain: &mut Domain,
        id: StreamId,
        gone: &mut BTreeMap<Vec<u8>, Vec<StreamId>>,
    ) {
        for place in 0..self.groups.len() {
            let held = self.groups.get(place);
            if let Some(item) = held.filter(|item| item.get().pending(id).is_some()) {
                let name = &*item.get().name;
                match gone.get_mut(name) {
                    Some(ids) => ids.push(id),
                    None => drop(gone.insert(name.to_vec(), vec![id])),
                }
                self.groups.update(domain, place, |item, domain| {
                    item.get_mut(domain).release(domain, id)
                });
            }
        }
    }
}

/// The nodes of a radix tree with compressed chains that has these keys, which ascend and share `depth` bytes.
fn radix_nodes<const N: usize>(keys: &[[u8; N]], depth: usize) -> u64 {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return 1;
    };
    let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    // This branch or leaf, and the chain above it.
    let own = 1 + u64::from(shared > depth);
    if shared == N {
        return own;
    }
    let below = keys.chunk_by(|a, b| a[shared] == b[shared]);
    own + below.map(|keys| radix_nodes(keys, shared + 1)).sum::<u64>()
}

/// See [`Stream::range`].
pub struct Range<'a> {
    stream: &'a Stream,
    /// Of the block at `at`.
    records: Option<block::Records<'a>>,
    at: u64,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            for record in self.records.as_mut()? {
                if record.id < self.start || record.deleted {
                    continue;
                }
                if record.id > self.end {
                    self.records = None;
                    return None;
                }
                return Some(record);
            }
            self.at += 1;
            self.records = self.stream.records(self.at);
        }
    }
}

/// See [`Stream::range_back`].
pub struct RangeBack<'a> {
    stream: &'a Stream,
    /// Of the block at `at`.
    records: Option<block::RecordsBack<'a>>,
    at: u64,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            for record in self.records.as_mut()? {
                if record.id > self.end || record.deleted {
                    continue;
                }
                if record.id < self.start {
                    self.records = None;
                    return None;
                }
                return Some(record);
            }
            self.at = match self.at.checked_sub(1) {
                Some(at) => at,
                None => {
                    self.records = None;
                    return None;
                }
            };
            let node = self.stream.node(self.at);
            self.records = node.map(|node| node.block.walk_back(node.first));
        }
    }
}

/// A stream for writing.
pub struct StreamMut<'a> {
    body: BodyMut<'a>,
}

impl<'a> StreamMut<'a> {
    /// The stream that `body` holds; a new one in the place of [`PLACEHOLDER`].
    #[inline]
    pub fn new(mut body: BodyMut<'a>) -> StreamMut<'a> {
        if body.entry().large().is_none() {
            let domain = body.domain();
            let stream = Stream::new(domain);
            body.enlarge(stream);
        }
        StreamMut { body }
    }

    /// The stream for reading.
    #[inline]
    pub fn get(&self) -> &Stream {
        Stream::of(self.body.entry())
    }

    #[inline]
    fn parts(&mut self) -> (&mut Stream, &mut Domain) {
        match self.body.large() {
            Some((Large::Stream(stream), domain)) => (stream, domain),
            _ => unreachable!("a stream is always large"),
        }
    }

    /// Appends an entry behind all others: `id` is above the last. `fields` are `count` names, each with its value.
    #[inline]
    pub fn append<'f>(
        &mut self,
        limit: BlockLimit,
        id: StreamId,
        fields: impl Iterator<Item = &'f [u8]> + Clone,
        count: usize,
    ) {
        let (stream, domain) = self.parts();
        assert!(id > stream.meta.last_id, "ids ascend");
        stream.append(domain, limit, id, fields, count);
    }

    /// Removes entries, as XDEL does; how many were there.
    pub fn remove(&mut self, ids: &[StreamId]) -> u64 {
        let (stream, domain) = self.parts();
        let (mut removed, mut first) = (0, false);
        for &id in ids {
            if stream.remove(domain, id) {
                removed += 1;
                first |= id == stream.meta.first_id;
                stream.meta.max_deleted_id = stream.meta.max_deleted_id.max(id);
            }
        }
        if first {
            stream.find_first();
        }
        removed
    }

    /// Whether [`References::Acknowledged`] keeps an entry.
    pub fn is_referred_to(&self, id: StreamId) -> bool {
        self.get().is_referred_to(id)
    }

    /// No group refers to an entry any more: those that did are noted in `gone`.
    pub fn forget_references(&mut self, id: StreamId, gone: &mut Gone) {
        let (stream, domain) = self.parts();
        stream.forget_references(domain, id, &mut gone.references);
    }

    /// Removes entries from the first on.
    pub fn trim(&mut self, trim: &Trim) -> Trimmed {
        let (stream, domain) = self.parts();
        stream.trim(domain, trim)
    }

    /// Makes `id`, which no live entry is above, the last that was given out.
    pub fn set_last_id(&mut self, id: StreamId) {
        let (stream, domain) = self.parts();
        stream.set_last_id(domain, id);
    }

    /// What is known besides the entries, for changing it.
    pub fn meta_mut(&mut self) -> &mut Meta {
        &mut self.parts().0.meta
    }

    /// Makes a group; false when the name is taken.
    pub fn add_group(&mut self, name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> bool {
        let (stream, domain) = self.parts();
        let Err(place) = stream.group_place(name) else {
            return false;
        };
        let group = Group::new(domain, name, last_id, entries_read);
        let item = GroupItem::new(domain, group);
        stream.groups.insert_at(domain, place, item);
        true
    }

    /// Removes a group; false when there is none such.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let (stream, domain) = self.parts();
        let Ok(place) = stream.group_place(name) else {
            return false;
        };
        stream.groups.remove_at(domain, place).retire(domain);
        true
    }

    /// Changes a group, if it is there.
    #[inline]
    pub fn group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group, &mut Domain) -> R,
    ) -> Option<R> {
        let (stream, domain) = self.parts();
        let place = stream.group_place(name).ok()?;
        Some(stream.groups.update(domain, place, |item, domain| {
            let group = item.get_mut(domain);
            change(group, domain)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radix_trees_have_as_many_nodes_as_redis_says() {
        assert_eq!(radix_nodes::<2>(&[], 0), 1);
        assert_eq!(radix_nodes(&[[1, 2, 3]], 0), 2);
        // A branch at once, and two chains of two with a leaf each.
        assert_eq!(radix_nodes(&[[1, 2, 3], [2, 2, 3]], 0), 5);
        // A chain of two, a branch, two leaves.
        assert_eq!(radix_nodes(&[[1, 2, 3], [1, 2, 4]], 0), 4);
    }
}
