//! Collections: a small one is one string (a *blob*, in one of several compact encodings), a large one comes element by
//! element.
//!
//! A blob in the encoding that this server keeps is given whole, once it is checked; one in an older encoding, or too
//! long for an entry, as elements. Whether a large collection stays large is the loader's business.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hasher};

use super::Started;
use super::blob;
use crate::base::num;
use crate::base::time::UnixMs;
use crate::container::{IntSet, Pack, PackBuilder, PackItem, Position};
use crate::rdb::decode::{Batch, Element, Record, Score, Value};
use crate::rdb::error::RdbErrorKind;
use crate::rdb::reader::{Reader, Span, Stop};
use crate::types::Kind;
use crate::types::entry::BLOCK_BYTES_MAX;
use crate::types::times::DEADLINE_MAX;

/// Elements that one step gives at most.
const STEP: usize = 64;

/// Bytes of the chunks that a list's elements are put in when they don't come in chunks.
const CHUNK_BYTES: usize = 8 << 10;

/// What an element is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A string.
    Item,
    /// Two strings.
    Pair,
    /// In a stream a deadline and two strings: the deadline is 0 for none, else 1 and what it is behind the first one.
    TimedFrom { first: UnixMs },
    /// In a stream a deadline and two strings: the deadline is 0 for none.
    Timed,
    /// In a stream two strings and eight bytes of a deadline: -1 for none.
    TimedBehind,
    /// In a blob two strings and a deadline as text: 0 for none.
    TimedText,
    /// A string and eight bytes of a double.
    Scored,
    /// A string and a number as text: in a stream in a form of its own, in a blob as any string.
    ScoredText,
}

/// The rest of a collection.
#[derive(Debug)]
pub(crate) enum State {
    /// So many elements follow in the stream.
    Stream { left: u64, shape: Shape },
    /// So many nodes of a list follow in the stream, of the older form or the newer.
    Nodes { left: u64, old: bool },
    /// The strings of these elements stand in a blob.
    Blob { strings: Strings, shape: Shape },
}

/// Strings from a blob, one by one.
#[derive(Debug)]
pub(crate) struct Strings {
    /// A checked pack.
    pack: Vec<u8>,
    /// Where the next one begins.
    next: Option<Position>,
}

impl Strings {
    fn of(pack: Vec<u8>) -> Strings {
        let next = Pack::of(&pack).first();
        Strings { pack, next }
    }

    /// Puts the next one into the batch.
    fn next(&mut self, batch: &mut Batch) -> Option<Span> {
        let (pack, at) = (Pack::of(&self.pack), self.next?);
        let start = batch.bytes.len();
        pack.get(at).push_to(&mut batch.bytes);
        self.next = pack.next(at);
        Some(Span::since(start, &batch.bytes))
    }
}

impl State {
    /// Gives some elements; true when they were the last.
    pub fn step(
        &mut self,
        reader: &mut Reader<'_>,
        bytes_max: u64,
        batch: &mut Batch,
    ) -> Result<bool, Stop> {
        match self {
            State::Stream { left, shape } => {
                for given in 0..STEP {
                    if *left == 0 {
                        batch.records.push(Record::End);
                        return Ok(true);
                    }
                    let (before, bytes) = (*reader, batch.bytes.len());
                    match element(reader, *shape, bytes_max, batch) {
                        Ok(element) => batch.records.push(Record::Element(element)),
                        Err(Stop::Missing(_)) if given > 0 => {
                            // What is whole is given; the next step begins here.
                            *reader = before;
                            batch.bytes.truncate(bytes);
                            return Ok(false);
                        }
                        Err(stop) => return Err(stop),
                    }
                    *left -= 1;
                    if batch.is_full() {
                        return Ok(false);
                    }
                }
                Ok(false)
            }
            State::Nodes { left: 0, .. } => {
                batch.records.push(Record::End);
                Ok(true)
            }
            State::Nodes { left, old } => {
                node(reader, *old, bytes_max, batch)?;
                *left -= 1;
                Ok(false)
            }
            State::Blob { strings, shape } => {
                for _ in 0..STEP {
                    let Some(first) = strings.next(batch) else {
                        batch.records.push(Record::End);
                        return Ok(true);
                    };
                    let element = match shape {
                        Shape::Item => Element::Item(first),
                        Shape::Pair => Element::Pair(first, strings.next(batch).ok_or(DAMAGED)?),
                        Shape::TimedFrom { .. }
                        | Shape::Timed
                        | Shape::TimedBehind
                        | Shape::TimedText => {
                            let value = strings.next(batch).ok_or(DAMAGED)?;
                            let deadline = strings.next(batch).ok_or(DAMAGED)?;
                            let deadline = num::parse_i64(batch.bytes(deadline)).ok_or(DAMAGED)?;
                            Element::Timed(first, value, deadline_of(deadline, 0)?)
                        }
                        Shape::Scored | Shape::ScoredText => {
                            let score = strings.next(batch).ok_or(DAMAGED)?;
                            Element::Scored(first, Score::of(score_of(batch.bytes(score))?))
                        }
                    };
                    batch.records.push(Record::Element(element));
                    if batch.is_full() {
                        return Ok(false);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// What stands for no deadline in VALKEY's form.
const NO_DEADLINE: i64 = -1;

/// A field's deadline in milliseconds; `none` is not one.
fn deadline_of(deadline: i64, none: i64) -> Result<Option<UnixMs>, Stop> {
    match deadline {
        deadline if deadline == none => Ok(None),
        1..=DEADLINE_MAX => Ok(Some(deadline)),
        _ => Err(RdbErrorKind::Value("a field's deadline is out of range").into()),
    }
}

const DAMAGED: RdbErrorKind =
    RdbErrorKind::Value("a compact value is damaged: integrity check failed");

fn push(batch: &mut Batch, bytes: &[u8]) -> Span {
    let start = batch.bytes.len();
    batch.bytes.extend_from_slice(bytes);
    Span::since(start, &batch.bytes)
}

fn element(
    reader: &mut Reader<'_>,
    shape: Shape,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Element, Stop> {
    let deadline = match shape {
        Shape::TimedFrom { first } => {
            let behind = i64::try_from(reader.length()?).map_err(|_| DAMAGED)?;
            match behind {
                0 => None,
                behind => deadline_of(first.checked_add(behind - 1).ok_or(DAMAGED)?, 0)?,
            }
        }
        Shape::Timed => deadline_of(i64::try_from(reader.length()?).map_err(|_| DAMAGED)?, 0)?,
        _ => None,
    };
    let first = reader.string(bytes_max, &mut batch.bytes)?;
    Ok(match shape {
        Shape::TimedFrom { .. } | Shape::Timed => {
            let value = reader.string(bytes_max, &mut batch.bytes)?;
            Element::Timed(first, value, deadline)
        }
        Shape::TimedBehind | Shape::TimedText => {
            let value = reader.string(bytes_max, &mut batch.bytes)?;
            // Valkey takes any: the furthest are taken as the last that there is.
            let deadline = i64::from_le_bytes(reader.array()?).min(DEADLINE_MAX);
            Element::Timed(first, value, deadline_of(deadline, NO_DEADLINE)?)
        }
        Shape::Item => Element::Item(first),
        Shape::Pair => Element::Pair(first, reader.string(bytes_max, &mut batch.bytes)?),
        Shape::Scored => {
            let score = f64::from_le_bytes(reader.array()?);
            if score.is_nan() {
                return Err(DAMAGED.into());
            }
            Element::Scored(first, Score::of(score))
        }
        Shape::ScoredText => {
            let score = match reader.byte()? {
                253 => return Err(DAMAGED.into()),
                254 => f64::INFINITY,
                255 => f64::NEG_INFINITY,
                length => score_of(reader.take(u64::from(length))?)?,
            };
            Element::Scored(first, Score::of(score))
        }
    })
}

/// A node of a list: a chunk, or one long element. A pack that no entry would hold is cut into several chunks.
fn node(reader: &mut Reader<'_>, old: bool, bytes_max: u64, batch: &mut Batch) -> Result<(), Stop> {
    const PLAIN: u64 = 1;
    const PACKED: u64 = 2;
    let form = if old { PACKED } else { reader.length()? };
    let blob = reader.string(bytes_max, &mut batch.bytes)?;
    match form {
        PLAIN if blob.len() > 0 => batch.records.push(Record::Element(Element::Item(blob))),
        PACKED if old => {
            let found = blob::ziplist(batch.bytes(blob)).ok_or(DAMAGED)?;
            chunks(batch, Pack::of(&found));
        }
        PACKED => {
            let found = Pack::check(batch.bytes(blob)).map_err(|_| DAMAGED)?;
            if found.bytes_len() > BLOCK_BYTES_MAX {
                let bytes = found.bytes().to_vec();
                chunks(batch, Pack::of(&bytes));
            } else if !found.is_empty() {
                batch.records.push(Record::Element(Element::Chunk(blob)));
            }
        }
        _ => return Err(DAMAGED.into()),
    }
    Ok(())
}

/// Gives a list's elements in chunks of a middling size.
fn chunks(batch: &mut Batch, items: Pack<'_>) {
    let mut chunk = PackBuilder::new();
    let mut give = |chunk: PackBuilder| {
        if !chunk.is_empty() {
            let span = push(batch, &chunk.finish());
            batch.records.push(Record::Element(Element::Chunk(span)));
        }
    };
    for item in items.iter() {
        if chunk.bytes_len() + item.len() > CHUNK_BYTES {
            give(std::mem::take(&mut chunk));
        }
        match item {
            PackItem::Int(value) => chunk.push_int(value),
            PackItem::Bytes(text) => chunk.push(text),
        }
    }
    give(chunk);
}

fn rest(kind: Kind, state: State) -> Started {
    Started {
        value: Value::Collection(kind),
        rest: Some(super::State::Collection(state)),
    }
}

/// A number of elements, then these.
fn stream(reader: &mut Reader<'_>, kind: Kind, shape: Shape) -> Result<Started, Stop> {
    let left = reader.length()?;
    Ok(rest(kind, State::Stream { left, shape }))
}

/// A blob whose strings become elements.
fn strings(kind: Kind, shape: Shape, pack: Vec<u8>) -> Started {
    let strings = Strings::of(pack);
    rest(kind, State::Blob { strings, shape })
}

fn packed(kind: Kind, other: bool, bytes: Span) -> Started {
    let value = Value::Packed { kind, other, bytes };
    Started { value, rest: None }
}

/// A pack of elements that must differ in their first string.
fn pack(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
    kind: Kind,
    shape: Shape,
) -> Result<Started, Stop> {
    let blob = reader.string(bytes_max, &mut batch.bytes)?;
    let found = Pack::check(batch.bytes(blob)).map_err(|_| DAMAGED)?;
    let step = match shape {
        Shape::Item => 1,
        Shape::Pair | Shape::Scored | Shape::ScoredText => 2,
        Shape::TimedFrom { .. } | Shape::Timed | Shape::TimedBehind | Shape::TimedText => 3,
    };
    if !found.len().is_multiple_of(step) || !are_distinct(found, step) {
        return Err(DAMAGED.into());
    }
    if found.bytes_len() <= BLOCK_BYTES_MAX && !found.is_empty() {
        return Ok(packed(kind, false, blob));
    }
    Ok(strings(kind, shape, found.bytes().to_vec()))
}

/// Whether every `step`-th element differs from all others.
fn are_distinct(pack: Pack<'_>, step: usize) -> bool {
    let mut hashes: Vec<u64> = pack
        .iter()
        .step_by(step)
        .map(|item| {
            let mut hasher = DefaultHasher::new();
            hasher.write(item.as_bytes(&mut [0; 20]));
            hasher.finish()
        })
        .collect();
    hashes.sort_unstable();
    if hashes.is_sorted_by(|a, b| a < b) {
        return true;
    }
    let mut items: Vec<PackItem<'_>> = pack.iter().step_by(step).collect();
    items.sort_unstable_by(by_text);
    items.is_sorted_by(|a, b| by_text(a, b).is_lt())
}

fn by_text(one: &PackItem<'_>, other: &PackItem<'_>) -> Ordering {
    one.as_bytes(&mut [0; 20]).cmp(other.as_bytes(&mut [0; 20]))
}

// ---- one for each type's row ----------------------------------------------------------------

pub(super) fn hash(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    stream(reader, Kind::Hash, Shape::Pair)
}

pub(super) fn hash_pack(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    pack(reader, bytes_max, batch, Kind::Hash, Shape::Pair)
}

/// A hash whose deadlines count from the first one, which stands before them.
pub(super) fn hash_timed(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    let first = i64::from_le_bytes(reader.array()?);
    stream(reader, Kind::Hash, Shape::TimedFrom { first })
}

pub(super) fn hash_timed_old(
    reader: &mut Reader<'_>,
    _: u64,
    _: &mut Batch,
) -> Result<Started, Stop> {
    stream(reader, Kind::Hash, Shape::Timed)
}

pub(super) fn hash_timed_valkey(
    reader: &mut Reader<'_>,
    _: u64,
    _: &mut Batch,
) -> Result<Started, Stop> {
    stream(reader, Kind::Hash, Shape::TimedBehind)
}

/// A pack of fields, values and deadlines behind the first deadline, which the pack has too.
pub(super) fn hash_timed_pack(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    reader.take(8)?;
    hash_timed_pack_old(reader, bytes_max, batch)
}

pub(super) fn hash_timed_pack_old(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    let mut started = pack(reader, bytes_max, batch, Kind::Hash, Shape::TimedText)?;
    if let Value::Packed { other, bytes, .. } = &mut started.value {
        let found = Pack::of(batch.bytes(*bytes));
        if !is_by_deadline(found)? {
            let found = found.bytes().to_vec();
            return Ok(strings(Kind::Hash, Shape::TimedText, found));
        }
        *other = true;
    }
    Ok(started)
}

/// Whether fields, values and deadlines in turn stand in the order of the deadlines, integers all; an error for what is
/// no deadline.
fn is_by_deadline(pack: Pack<'_>) -> Result<bool, Stop> {
    let mut before = 0;
    for item in pack.iter().skip(2).step_by(3) {
        let text = num::parse_i64(item.as_bytes(&mut [0; 20])).ok_or(DAMAGED)?;
        let deadline = deadline_of(text, 0)?.unwrap_or(UnixMs::MAX);
        if deadline < before || !matches!(item, PackItem::Int(_)) {
            return Ok(false);
        }
        before = deadline;
    }
    Ok(true)
}

pub(super) fn hash_ziplist(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    let found = older(
        reader,
        bytes_max,
        batch,
        blob::ziplist,
        "Hash ziplist integrity check failed",
    )?;
    Ok(strings(Kind::Hash, Shape::Pair, found))
}

pub(super) fn hash_zipmap(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    let found = older(
        reader,
        bytes_max,
        batch,
        blob::zipmap,
        "Zipmap integrity check failed",
    )?;
    Ok(strings(Kind::Hash, Shape::Pair, found))
}

pub(super) fn set(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    stream(reader, Kind::Set, Shape::Item)
}

pub(super) fn set_pack(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    pack(reader, bytes_max, batch, Kind::Set, Shape::Item)
}

pub(super) fn set_ints(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    let blob = reader.string(bytes_max, &mut batch.bytes)?;
    let found = IntSet::check(batch.bytes(blob)).map_err(|_| DAMAGED)?;
    if batch.bytes(blob).len() <= BLOCK_BYTES_MAX && !found.is_empty() {
        return Ok(packed(Kind::Set, true, blob));
    }
    let mut pack = PackBuilder::new();
    found.iter().for_each(|number| pack.push_int(number));
    Ok(strings(Kind::Set, Shape::Item, pack.finish()))
}

pub(super) fn zset(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    stream(reader, Kind::Zset, Shape::Scored)
}

/// Scores as text, before RDB 8.
pub(super) fn zset_text(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    stream(reader, Kind::Zset, Shape::ScoredText)
}

pub(super) fn zset_pack(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    let started = pack(reader, bytes_max, batch, Kind::Zset, Shape::ScoredText)?;
    if let Value::Packed { bytes, .. } = started.value {
        let found = Pack::of(batch.bytes(bytes));
        if !is_ranked(found)? {
            let found = found.bytes().to_vec();
            return Ok(strings(Kind::Zset, Shape::ScoredText, found));
        }
    }
    Ok(started)
}

pub(super) fn zset_ziplist(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    let found = older(
        reader,
        bytes_max,
        batch,
        blob::ziplist,
        "Zset ziplist integrity check failed",
    )?;
    Ok(strings(Kind::Zset, Shape::ScoredText, found))
}

/// Whether members and scores in turn stand in the order of a sorted set; an error for what is no score.
fn is_ranked(pack: Pack<'_>) -> Result<bool, Stop> {
    let mut before: Option<(f64, PackItem<'_>)> = None;
    let mut items = pack.iter();
    while let (Some(member), Some(score)) = (items.next(), items.next()) {
        let score = score_of(score.as_bytes(&mut [0; 20]))?;
        let ascends = before.is_none_or(|(lower, other)| {
            lower < score || (lower == score && by_text(&other, &member).is_lt())
        });
        if !ascends {
            return Ok(false);
        }
        before = Some((score, member));
    }
    Ok(true)
}

fn score_of(text: &[u8]) -> Result<f64, Stop> {
    Ok(num::parse_f64(text).ok_or(DAMAGED)?)
}

pub(super) fn list(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    stream(reader, Kind::List, Shape::Item)
}

pub(super) fn list_ziplist(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    let found = older(
        reader,
        bytes_max,
        batch,
        blob::ziplist,
        "List ziplist integrity check failed",
    )?;
    Ok(strings(Kind::List, Shape::Item, found))
}

/// A list of nodes, each a ziplist.
pub(super) fn quicklist(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    let left = reader.length()?;
    Ok(rest(Kind::List, State::Nodes { left, old: true }))
}

/// A list of nodes, each a pack or one plain element.
pub(super) fn quicklist2(reader: &mut Reader<'_>, _: u64, _: &mut Batch) -> Result<Started, Stop> {
    let left = reader.length()?;
    Ok(rest(Kind::List, State::Nodes { left, old: false }))
}

/// A pack of the strings of a blob in an encoding that Redis writes no more.
fn older(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
    parse: fn(&[u8]) -> Option<Vec<u8>>,
    damaged: &'static str,
) -> Result<Vec<u8>, Stop> {
    let start = batch.bytes.len();
    let blob = reader.string(bytes_max, &mut batch.bytes)?;
    let found = parse(batch.bytes(blob)).ok_or(RdbErrorKind::Value(damaged))?;
    batch.bytes.truncate(start);
    Ok(found)
}
