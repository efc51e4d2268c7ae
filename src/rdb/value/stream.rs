//! Streams: blocks, totals, and each group with its pending entries and consumers, in three versions.
//!
//! ```text
//! blocks, each: id (16 bytes as a string) | pack
//! live entries | last id | [2: first id | highest deleted id | entries added]
//! groups, each: name | last id | [2: entries read]
//!     pending, each: id (16 bytes) | time (8 bytes) | deliveries
//!     consumers, each: name | seen (8 bytes) | [3: active (8 bytes)]
//!         pending, each: id (16 bytes)
//! ```
//! Ids otherwise are two lengths. Each part is given as an element ([`Part`]); whether it fits those before it is seen
//! when the stream is made ([`crate::types::StreamMut::load`]), but for the number of a group's pending entries, each of
//! which must be of one consumer.

use super::Started;
use crate::rdb::decode::{Batch, Element, Record, Value};
use crate::rdb::error::RdbErrorKind;
use crate::rdb::reader::{Reader, Span, Stop};
use crate::types::Kind;
use crate::types::StreamId;
use crate::types::stream::{LoadPart, Totals};

/// Parts that one step gives at most.
const STEP: usize = 64;
const DAMAGED: RdbErrorKind =
    RdbErrorKind::Value("a stream is damaged: Stream listpack integrity check failed");
/// Where a number is not known, or a consumer was never active.
const UNKNOWN: u64 = u64::MAX;

/// What a [`Part`]'s bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// id, pack
    Block,
    /// length, last id, first id, deleted id, entries added
    Totals { newer: bool },
    /// last id, entries read, name
    Group { newer: bool },
    /// id, time, count
    Pending,
    /// seen, active, name
    Consumer,
    /// id
    Owned,
}

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    what: What,
    /// Numbers in eight bytes each, then a string.
    bytes: Span,
}

/// Takes a part's bytes apart.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn time(&mut self) -> Option<i64> {
        self.number().map(u64::cast_signed)
    }

    fn id(&mut self) -> Option<StreamId> {
        Some(StreamId::new(self.number()?, self.number()?))
    }
}

impl Part {
    /// What it says; None only for bytes that are not its own.
    pub(in crate::rdb) fn read(self, batch: &Batch) -> Option<LoadPart<'_>> {
        let mut fields = Fields(batch.bytes(self.bytes));
        Some(match self.what {
            What::Block => LoadPart::Block {
                first: fields.id()?,
                bytes: fields.0,
            },
            What::Totals { newer } => {
                let (length, last_id) = (fields.number()?, fields.id()?);
                // What the first entry is, the entries say.
                fields.id()?;
                let more = (fields.id()?, fields.number()?);
                LoadPart::Totals(Totals {
                    length,
                    last_id,
                    newer: newer.then_some(more),
                })
            }
            What::Group { newer } => {
                let (last_id, read) = (fields.id()?, fields.number()?);
                LoadPart::Group {
                    name: fields.0,
                    last_id,
                    entries_read: newer.then_some((read != UNKNOWN).then_some(read)),
                }
            }
            What::Pending => LoadPart::Pending {
                id: fields.id()?,
                delivered_ms: fields.time()?,
                count: fields.number()?,
            },
            What::Consumer => LoadPart::Consumer {
                seen_ms: fields.time()?,
                active_ms: Some(fields.time()?).filter(|&time| time != -1),
                name: fields.0,
            },
            What::Owned => LoadPart::Owned(fields.id()?),
        })
    }
}

/// What comes next, and how many of it.
#[derive(Debug, Clone, Copy)]
enum Next {
    Blocks(u64),
    Totals,
    GroupCount,
    Groups,
    PendingCount,
    Pending(u64),
    ConsumerCount,
    Consumers,
    OwnedCount,
    Owned(u64),
}

/// The rest of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    version: u8,
    next: Next,
    groups: u64,
    consumers: u64,
    /// Pending entries of the group that no consumer has had yet.
    pending: u64,
}

fn start(reader: &mut Reader<'_>, version: u8) -> Result<Started, Stop> {
    let state = State {
        version,
        next: Next::Blocks(reader.length()?),
        groups: 0,
        consumers: 0,
        pending: 0,
    };
    Ok(Started {
        value: Value::Collection(Kind::Stream),
        rest: Some(super::State::Stream(state)),
    })
}

pub(super) fn start_1(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    start(reader, 1)
}

pub(super) fn start_2(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    start(reader, 2)
}

pub(super) fn start_3(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    start(reader, 3)
}

/// A part that is being written into a batch.
struct Writer<'b> {
    batch: &'b mut Batch,
    start: usize,
}

impl Writer<'_> {
    fn number(&mut self, number: u64) {
        self.batch.bytes.extend_from_slice(&number.to_be_bytes());
    }

    /// Two lengths.
    fn id(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        self.number(reader.length()?);
        self.number(reader.length()?);
        Ok(())
    }

    fn raw_id(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        let id = reader.take(StreamId::BYTES as u64)?;
        self.batch.bytes.extend_from_slice(id);
        Ok(())
    }

    fn time(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        self.number(u64::from_le_bytes(reader.array()?));
        Ok(())
    }

    fn finish(self, what: What) {
        let bytes = Span::since(self.start, &self.batch.bytes);
        let part = Part { what, bytes };
        self.batch
            .records
            .push(Record::Element(Element::Part(part)));
    }
}

impl State {
    /// Gives some parts; true when they were the last.
    pub fn step(
        &mut self,
        reader: &mut Reader<'_>,
        bytes_max: u64,
        batch: &mut Batch,
    ) -> Result<bool, Stop> {
        for given in 0..STEP {
            let (before, bytes) = (*reader, batch.bytes.len());
            match self.part(reader, bytes_max, batch) {
                Ok(Some(next)) => self.next = next,
                Ok(None) => {
                    batch.records.push(Record::End);
                    return Ok(true);
                }
                Err(Stop::Missing(_)) if given > 0 => {
                    // What is whole is given; the next step begins here.
                    *reader = before;
                    batch.bytes.truncate(bytes);
                    return Ok(false);
                }
                Err(stop) => return Err(stop),
            }
            // Blocks are long.
            if batch.bytes.len() > STEP << 10 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Reads one thing; what comes behind it. Nothing of `self` but counts that were read whole changes.
    fn part(
        &mut self,
        reader: &mut Reader<'_>,
        bytes_max: u64,
        batch: &mut Batch,
    ) -> Result<Option<Next>, Stop> {
        let start = batch.bytes.len();
        let mut part = Writer { batch, start };
        let newer = self.version > 1;
        Ok(Some(match self.next {
            Next::Blocks(0) => Next::Totals,
            Next::Blocks(left) => {
                let id = reader.string(bytes_max, &mut part.batch.bytes)?;
                if id.len() != StreamId::BYTES {
                    return Err(DAMAGED.into());
                }
                reader.string(bytes_max, &mut part.batch.bytes)?;
                part.finish(What::Block);
                Next::Blocks(left - 1)
            }
            Next::Totals => {
                part.number(reader.length()?);
                part.id(reader)?;
                if newer {
                    part.id(reader)?;
                    part.id(reader)?;
                    part.number(reader.length()?);
                } else {
                    (0..5).for_each(|_| part.number(0));
                }
                part.finish(What::Totals { newer });
                Next::GroupCount
            }
            Next::GroupCount => {
                self.groups = reader.length()?;
                Next::Groups
            }
            Next::Groups => {
                if self.groups == 0 {
                    return Ok(None);
                }
                let mut name = Vec::new();
                reader.string(bytes_max, &mut name)?;
                part.id(reader)?;
                part.number(if newer { reader.length()? } else { UNKNOWN });
                part.batch.bytes.extend_from_slice(&name);
                part.finish(What::Group { newer });
                self.groups -= 1;
                Next::PendingCount
            }
            Next::PendingCount => {
                self.pending = reader.length()?;
                Next::Pending(self.pending)
            }
            Next::Pending(0) => Next::ConsumerCount,
            Next::Pending(left) => {
                part.raw_id(reader)?;
                part.time(reader)?;
                part.number(reader.length()?);
                part.finish(What::Pending);
                Next::Pending(left - 1)
            }
            Next::ConsumerCount => {
                self.consumers = reader.length()?;
                Next::Consumers
            }
            Next::Consumers => {
                if self.consumers == 0 {
                    if self.pending > 0 {
                        return Err(DAMAGED.into());
                    }
                    return Ok(Some(Next::Groups));
                }
                let mut name = Vec::new();
                reader.string(bytes_max, &mut name)?;
                let seen = u64::from_le_bytes(reader.array()?);
                part.number(seen);
                match self.version {
                    3.. => part.time(reader)?,
                    _ => part.number(seen),
                }
                part.batch.bytes.extend_from_slice(&name);
                part.finish(What::Consumer);
                self.consumers -= 1;
                Next::OwnedCount
            }
            Next::OwnedCount => {
                let owned = reader.length()?;
                let left = self.pending.checked_sub(owned);
                self.pending = left.ok_or(DAMAGED)?;
                Next::Owned(owned)
            }
            Next::Owned(0) => Next::Consumers,
            Next::Owned(left) => {
                part.raw_id(reader)?;
                part.finish(What::Owned);
                Next::Owned(left - 1)
            }
        }))
    }
}
