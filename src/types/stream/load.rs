//! A stream from what an RDB file says of it, part by part.
//!
//! Parts come from anywhere: each is checked, and one that contradicts those before it is refused.

use super::group::NOBODY;
use super::{Block, BlockRef, ConsumerKey, Group, GroupItem, Pending, Stream, StreamId, StreamMut};
use crate::base::time::UnixMs;
use crate::container::Domain;

/// A part contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Where a loader is.
#[derive(Clone, Copy, Default)]
pub(super) struct Loading {
    /// The group that parts are of, by its place.
    group: u64,
    consumer: Option<ConsumerKey>,
}

/// What a file says of a stream as a whole; older files leave some of it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Live entries.
    pub length: u64,
    /// The last id given out.
    pub last_id: StreamId,
    /// The highest id that was deleted, and how many entries were ever added.
    pub newer: Option<(StreamId, u64)>,
}

/// A part of a stream, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadPart<'a> {
    /// A block.
    Block {
        /// What its ids are relative to.
        first: StreamId,
        /// A pack.
        bytes: &'a [u8],
    },
    /// Behind the blocks.
    Totals(Totals),
    /// A group.
    Group {
        /// Its name.
        name: &'a [u8],
        /// The last entry delivered.
        last_id: StreamId,
        /// See [`Group::entries_read`]; outer None: the file is too old to say.
        entries_read: Option<Option<u64>>,
    },
    /// A pending entry of the last group.
    Pending {
        /// Which.
        id: StreamId,
        /// When it was delivered.
        delivered_ms: UnixMs,
        /// How often.
        count: u64,
    },
    /// A consumer of the last group.
    Consumer {
        /// Its name.
        name: &'a [u8],
        /// See [`super::Consumer::seen_ms`].
        seen_ms: UnixMs,
        /// See [`super::Consumer::active_ms`].
        active_ms: Option<UnixMs>,
    },
    /// A pending entry of the last consumer.
    Owned(StreamId),
}

impl StreamMut<'_> {
    /// Adds the next part.
    pub fn load(&mut self, part: LoadPart<'_>) -> Result<(), Damaged> {
        let (stream, domain) = self.parts();
        stream.load(domain, part).ok_or(Damaged)
    }
}

impl Stream {
    fn load(&mut self, domain: &mut Domain, part: LoadPart<'_>) -> Option<()> {
        match part {
            LoadPart::Block { first, bytes } => {
                let above = (self.block_count() > 0).then_some(self.meta.last_id);
                let last = BlockRef::check(bytes, first, above)?;
                let block = Block::of_checked(bytes);
                self.meta.length += block.view().counts().0;
                self.meta.last_id = last;
                self.push_block(domain, first, block);
            }
            LoadPart::Totals(totals) => self.load_totals(domain, totals)?,
            LoadPart::Group {
                name,
                last_id,
                entries_read,
            } => {
                let place = self.group_place(name).err()?;
                let read = entries_read.unwrap_or_else(|| self.meta.distance_to(last_id));
                let group = Group::new(domain, name, last_id, read);
                let item = GroupItem::new(domain, group);
                self.groups.insert_at(domain, place, item);
                self.loading = Loading {
                    group: place,
                    consumer: None,
                };
            }
            LoadPart::Pending {
                id,
                delivered_ms,
                count,
            } => {
                let pending = Pending {
                    id,
                    delivered_ms,
                    count: count.min(i64::MAX as u64),
                    consumer: NOBODY,
                };
                let fresh =
                    self.load_into(domain, |group, domain| group.load_pending(domain, pending))?;
                return fresh.then_some(());
            }
            LoadPart::Consumer {
                name,
                seen_ms,
                active_ms,
            } => {
                let key = self.load_into(domain, |group, domain| {
                    group.add_consumer(domain, name, seen_ms, active_ms)
                })?;
                self.loading.consumer = Some(key?);
            }
            LoadPart::Owned(id) => {
                let key = self.loading.consumer?;
                let found =
                    self.load_into(domain, |group, domain| group.load_owned(domain, key, id))?;
                return found.then_some(());
            }
        }
        Some(())
    }

    fn load_into<R>(
        &mut self,
        domain: &mut Domain,
        change: impl FnOnce(&mut Group, &mut Domain) -> R,
    ) -> Option<R> {
        let place = self.loading.group;
        (place < self.groups.len()).then(|| {
            self.groups.update(domain, place, |item, domain| {
                change(item.get_mut(domain), domain)
            })
        })
    }

    fn load_totals(&mut self, domain: &mut Domain, totals: Totals) -> Option<()> {
        if totals.length != self.meta.length || totals.last_id < self.last_live_id() {
            return None;
        }
        self.set_last_id(domain, totals.last_id);
        self.find_first();
        match totals.newer {
            Some((max_deleted_id, entries_added)) => {
                self.meta.max_deleted_id = max_deleted_id;
                self.meta.entries_added = entries_added;
            }
            None => self.meta.entries_added = totals.length,
        }
        Some(())
    }
}
