//! Makes collections from a decoder's records, in the keyspace's workshop; the caller moves them to their place.

use super::RdbErrorKind;
use super::decode::{Batch, Element, Record};
use crate::container::Pack;
use crate::keyspace::{Key, Keyspace, Ttl};
use crate::types::limits::Encodings;
use crate::types::list::End;
use crate::types::stream::PLACEHOLDER;
use crate::types::{
    BodyMut, HashMut, Kind, ListLimit, ListMut, SetLimits, SetMut, StreamMut, Value, ZsetMut,
};

const DUPLICATE: RdbErrorKind =
    RdbErrorKind::Value("an element stands twice in a value: integrity check failed");
const STREAM: RdbErrorKind = RdbErrorKind::Value("a stream contradicts itself");
const SHAPE: RdbErrorKind = RdbErrorKind::Value("an element of another type of value");

/// Stores a small collection, whose bytes are checked; one beyond today's limits becomes large.
pub(super) fn packed(
    keyspace: &mut Keyspace,
    key: Key<'_>,
    value: Value<'_>,
    encodings: &Encodings,
) {
    let (workshop, kind) = (keyspace.workshop(), value.kind());
    keyspace.store(workshop, key, value, Ttl::None);
    let Some(body) = keyspace.body(workshop, key) else {
        return;
    };
    match kind {
        Kind::List => ListMut::new(body, ListLimit::of(encodings.list)).expect(0, 0),
        Kind::Hash => HashMut::new(body, encodings.hash).fit(),
        Kind::Set => {
            let mut set = SetMut::new(body, SetLimits::of(encodings));
            set.expect(set.get().len());
        }
        Kind::Zset => {
            let mut zset = ZsetMut::new(body, encodings.zset);
            zset.expect(zset.get().len(), 0);
        }
        Kind::String | Kind::Stream => {}
    }
}

/// Adds the elements that `records` begin with; how many these are.
pub(super) fn elements(
    keyspace: &mut Keyspace,
    key: Key<'_>,
    kind: Kind,
    batch: &Batch,
    records: &[Record],
    encodings: &Encodings,
) -> Result<usize, RdbErrorKind> {
    let elements = records.iter().map_while(|record| match record {
        Record::Element(element) => Some(*element),
        _ => None,
    });
    let empty = match (kind, records.first()) {
        (Kind::Set, Some(Record::Element(Element::Item(first)))) => {
            SetMut::empty(batch.bytes(*first), 1, SetLimits::of(encodings))
        }
        (Kind::Stream, Some(Record::Element(_))) => PLACEHOLDER,
        (_, Some(Record::Element(_))) => Value::Packed(kind, &Pack::EMPTY, false),
        _ => return Ok(0),
    };
    let (body, _) = keyspace.body_or_new(keyspace.workshop(), key, empty);
    let count = elements.clone().count();
    match kind {
        Kind::List => list(body, encodings, batch, elements),
        Kind::Hash => hash(body, encodings, batch, elements),
        Kind::Set => set(body, encodings, batch, elements),
        Kind::Zset => zset(body, encodings, batch, elements),
        Kind::Stream => stream(body, batch, elements),
        Kind::String => Err(SHAPE),
    }?;
    Ok(count)
}

fn list(
    body: BodyMut<'_>,
    encodings: &Encodings,
    batch: &Batch,
    elements: impl Iterator<Item = Element>,
) -> Result<(), RdbErrorKind> {
    let mut list = ListMut::new(body, ListLimit::of(encodings.list));
    for element in elements {
        match element {
            Element::Item(item) => list.push(End::Back, batch.bytes(item)),
            Element::Chunk(pack) => list.push_chunk(batch.bytes(pack), false),
            _ => return Err(SHAPE),
        }
    }
    list.settle(false);
    Ok(())
}

fn hash(
    body: BodyMut<'_>,
    encodings: &Encodings,
    batch: &Batch,
    elements: impl Iterator<Item = Element>,
) -> Result<(), RdbErrorKind> {
    let mut hash = HashMut::new(body, encodings.hash);
    for element in elements {
        let (field, value, ttl) = match element {
            Element::Pair(field, value) | Element::Timed(field, value, None) => {
                (field, value, Ttl::None)
            }
            Element::Timed(field, value, Some(at)) => (field, value, Ttl::At(at)),
            _ => return Err(SHAPE),
        };
        if !hash.set_with(batch.bytes(field), batch.bytes(value), ttl) {
            return Err(DUPLICATE);
        }
    }
    Ok(())
}

fn set(
    body: BodyMut<'_>,
    encodings: &Encodings,
    batch: &Batch,
    elements: impl Iterator<Item = Element>,
) -> Result<(), RdbErrorKind> {
    let mut set = SetMut::new(body, SetLimits::of(encodings));
    for element in elements {
        let Element::Item(member) = element else {
            return Err(SHAPE);
        };
        if !set.add(batch.bytes(member)) {
            return Err(DUPLICATE);
        }
    }
    Ok(())
}

fn zset(
    body: BodyMut<'_>,
    encodings: &Encodings,
    batch: &Batch,
    elements: impl Iterator<Item = Element>,
) -> Result<(), RdbErrorKind> {
    let mut zset = ZsetMut::new(body, encodings.zset);
    for element in elements {
        let Element::Scored(member, score) = element else {
            return Err(SHAPE);
        };
        let mut new = false;
        zset.update(batch.bytes(member), |old| {
            new = old.is_none();
            new.then(|| score.get())
        });
        if !new {
            return Err(DUPLICATE);
        }
    }
    Ok(())
}

fn stream(
    body: BodyMut<'_>,
    batch: &Batch,
    elements: impl Iterator<Item = Element>,
) -> Result<(), RdbErrorKind> {
    let mut stream = StreamMut::new(body);
    for element in elements {
        let Element::Part(part) = element else {
            return Err(SHAPE);
        };
        let loaded = part.read(batch).map(|part| stream.load(part));
        if loaded != Some(Ok(())) {
            return Err(STREAM);
        }
    }
    Ok(())
}
