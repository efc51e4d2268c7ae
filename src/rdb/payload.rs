//! The payload of DUMP and RESTORE: one value, the version, a checksum.

use super::decode::{Batch, Record, STRING_BYTES_MAX, Value};
use super::encode::{EncodeOptions, Encoder, Progress};
use super::reader::Reader;
use super::{
    Dialect, RdbErrorKind, VERSION, VERSION_MAX, VERSION_TIMED, VERSION_VALKEY, make, value,
};
use crate::base::crc64::crc64;
use crate::keyspace::{Key, Keyspace};
use crate::types::limits::Encodings;
use crate::types::{ValueRef, entry};

/// Version and checksum.
pub const FOOTER_BYTES: usize = 10;

/// A value that RESTORE is to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// A string that is a number.
    Int(i64),
    /// A string.
    String(Vec<u8>),
    /// A collection: it stands in the workshop, under the key.
    Made,
}

/// Why a payload was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadError {
    /// Too short, of a version not read here, or with a wrong checksum
    /// (`DUMP payload version or checksum are wrong`).
    Footer,
    /// The value itself is wrong, or of a type not loaded yet (`Bad data format`).
    Value(RdbErrorKind),
}

/// DUMP's payload for a value.
pub fn dump(value: ValueRef<'_>, compression: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    let version = match value {
        ValueRef::Hash(hash) if hash.span().0.is_some() => VERSION_TIMED,
        _ => VERSION,
    };
    let options = EncodeOptions {
        dialect: Dialect::Redis(version),
        compression,
        checksum: false,
        ..EncodeOptions::default()
    };
    let progress = Progress::default();
    let result = Encoder::bare(&options, &progress, |chunk| {
        payload.append(chunk);
        Ok(())
    })
    .bare_value(value);
    assert!(
        result.is_ok(),
        "nothing cancels it and the sink cannot fail"
    );
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(0, &payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// Takes the footer off: the value's bytes, and how to read them.
///
/// A checksum of 0 is not accepted in place of the right one, and any is without `checksum`.
fn verify(payload: &[u8], checksum: bool) -> Result<(Dialect, &[u8]), PayloadError> {
    let end = payload
        .len()
        .checked_sub(FOOTER_BYTES)
        .ok_or(PayloadError::Footer)?;
    let (body, footer) = payload.split_at_checked(end).ok_or(PayloadError::Footer)?;
    let mut reader = Reader::new(footer);
    let version = reader
        .array()
        .map(u16::from_le_bytes)
        .map_err(|_| PayloadError::Footer)?;
    let stored = reader
        .array()
        .map(u64::from_le_bytes)
        .map_err(|_| PayloadError::Footer)?;
    let dialect = match version {
        1..=VERSION_MAX => Dialect::Redis(version),
        VERSION_VALKEY => Dialect::Valkey(version),
        _ => return Err(PayloadError::Footer),
    };
    let summed = payload.get(..end + 2).ok_or(PayloadError::Footer)?;
    match !checksum || crc64(0, summed) == stored {
        true => Ok((dialect, body)),
        false => Err(PayloadError::Footer),
    }
}

/// The value of a payload; a collection is made in the keyspace's workshop under `key`. Memory is bounded by what the
/// payload stands for.
pub fn restore(
    payload: &[u8],
    keyspace: &mut Keyspace,
    key: Key<'_>,
    encodings: &Encodings,
    checksum: bool,
) -> Result<Restored, PayloadError> {
    let (dialect, body) = verify(payload, checksum)?;
    read(dialect, body, keyspace, key, encodings).map_err(|stop| {
        keyspace.remove(keyspace.workshop(), key);
        match stop {
            super::reader::Stop::Bad(kind) => PayloadError::Value(kind),
            super::reader::Stop::Missing(_) => PayloadError::Value(RdbErrorKind::Truncated),
        }
    })
}

fn read(
    dialect: Dialect,
    body: &[u8],
    keyspace: &mut Keyspace,
    key: Key<'_>,
    encodings: &Encodings,
) -> Result<Restored, super::reader::Stop> {
    let mut reader = Reader::new(body);
    let code = reader.byte()?;
    let row = value::find(code, dialect).ok_or(RdbErrorKind::UnknownType(code))?;
    let name = row.name;
    let start = row
        .start
        .ok_or(RdbErrorKind::UnsupportedType { code, name })?;
    let mut batch = Batch::default();
    let started = start(&mut reader, STRING_BYTES_MAX, &mut batch)?;
    let (mut string, mut collection) = (Vec::new(), None);
    match started.value {
        Value::Int(value) => return whole(reader, Restored::Int(value)),
        Value::String { piece, .. } => string.extend_from_slice(batch.bytes(piece)),
        Value::Packed { kind, other, bytes } => {
            let value = entry::Value::Packed(kind, batch.bytes(bytes), other);
            make::packed(keyspace, key, value, encodings);
            return whole(reader, Restored::Made);
        }
        Value::Collection(kind) => collection = Some(kind),
    }
    let mut rest = started.rest;
    while let Some(state) = &mut rest {
        batch.clear();
        // A step reads from where the reader is, and counts what it misses from there.
        let mut here = Reader::new(reader.rest());
        let done = state.step(&mut here, STRING_BYTES_MAX, &mut batch)?;
        reader.take_some(here.used());
        if let Some(kind) = collection {
            make::elements(keyspace, key, kind, &batch, batch.records(), encodings)?;
        }
        for record in batch.records() {
            if let Record::Piece(piece) = record {
                string.extend_from_slice(batch.bytes(*piece));
            }
        }
        if done {
            rest = None;
        }
    }
    match collection {
        None => whole(reader, Restored::String(string)),
        Some(_) if keyspace.find(keyspace.workshop(), key).is_none() => {
            Err(RdbErrorKind::Value("an empty collection").into())
        }
        Some(_) => whole(reader, Restored::Made),
    }
}

/// Nothing may follow the value.
fn whole(reader: Reader<'_>, restored: Restored) -> Result<Restored, super::reader::Stop> {
    match reader.rest() {
        [] => Ok(restored),
        [byte, ..] => Err(RdbErrorKind::UnknownType(*byte).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::types::{
        HashRef, Kind, Limits, Stream, StreamId, StreamMut, StringRef, Value, stream,
    };

    const ENCODINGS: Encodings = Encodings {
        hash: Limits {
            entries: 4,
            value: 64,
        },
        set: Limits {
            entries: 4,
            value: 64,
        },
        set_ints: 8,
        zset: Limits {
            entries: 4,
            value: 64,
        },
        list: -2,
    };

    /// What RESTORE makes of a payload of a string.
    fn restore(payload: &[u8]) -> Result<Restored, PayloadError> {
        let mut keyspace = Keyspace::new(1, 3);
        let key = keyspace.key(b"key");
        super::restore(payload, &mut keyspace, key, &ENCODINGS, true)
    }

    #[test]
    fn hashes_come_back() {
        let mut keyspace = Keyspace::new(1, 3);
        let (key, copy) = (keyspace.key(b"key"), keyspace.key(b"copy"));
        for fields in [1, 4, 5, 3000] {
            let empty = Value::Packed(Kind::Hash, &crate::container::Pack::EMPTY, false);
            let (body, _) = keyspace.body_or_new(0, key, empty);
            let mut hash = crate::types::HashMut::new(body, ENCODINGS.hash);
            for field in 0..fields {
                hash.set(format!("field:{field}").as_bytes(), b"7");
            }
            drop(hash);
            let payload = dump(ValueRef::of(keyspace.find(0, key).unwrap()), true);
            let restored = super::restore(&payload, &mut keyspace, copy, &ENCODINGS, true);
            assert_eq!(restored, Ok(Restored::Made));
            let workshop = keyspace.workshop();
            assert!(keyspace.rename(workshop, copy, 0, copy));
            let (from, to) = (
                keyspace.find(0, key).unwrap(),
                keyspace.find(0, copy).unwrap(),
            );
            assert_eq!(from.encoding(), to.encoding());
            assert_eq!(HashRef::of(to).len(), fields);
            HashRef::of(from).for_each(|field, value, _| {
                let found = HashRef::of(to).get(field.as_bytes(&mut Vec::new()));
                assert!(found.unwrap().equals(value.as_bytes(&mut Vec::new())));
            });
            for end in 0..(payload.len() - FOOTER_BYTES).min(300) {
                let body = &payload[..end];
                let mut cut = body.to_vec();
                cut.extend_from_slice(&11u16.to_le_bytes());
                cut.extend_from_slice(&crc64(0, &cut).to_le_bytes());
                assert!(super::restore(&cut, &mut keyspace, copy, &ENCODINGS, true).is_err());
                assert!(keyspace.is_empty(workshop));
            }
        }
    }

    /// A node beyond what one entry or chunk should hold is cut, and gives its elements in order.
    #[test]
    fn a_huge_node_of_a_list_comes_in_chunks() {
        let mut keyspace = Keyspace::new(1, 3);
        let mut node = crate::container::PackBuilder::new();
        for number in 0..100_000 {
            node.push_int(number);
        }
        let node = node.finish();
        let mut payload = vec![crate::rdb::value::QUICKLIST_2, 1, 2, 0x80];
        payload.extend_from_slice(&(node.len() as u32).to_be_bytes());
        payload.extend_from_slice(&node);
        payload.extend_from_slice(&11u16.to_le_bytes());
        payload.extend_from_slice(&crc64(0, &payload).to_le_bytes());
        let key = keyspace.key(b"key");
        let restored = super::restore(&payload, &mut keyspace, key, &ENCODINGS, true);
        assert_eq!(restored, Ok(Restored::Made));
        let entry = keyspace.find(keyspace.workshop(), key).unwrap();
        let (list, mut expected) = (crate::types::ListRef::of(entry), 0);
        list.for_each(|item| {
            assert!(item.equals(expected.to_string().as_bytes()));
            expected += 1;
        });
        assert_eq!((expected, list.len()), (100_000, 100_000));
        keyspace.remove(keyspace.workshop(), key);
    }

    /// A stream with groups; some of its entries are deleted.
    fn make_stream(keyspace: &mut Keyspace, key: Key<'_>, entries: u64) {
        let (body, _) = keyspace.body_or_new(0, key, stream::PLACEHOLDER);
        let mut made = StreamMut::new(body);
        for number in 1..=entries {
            let fields: [&[u8]; 4] = [b"f", b"12", b"name", b"value"];
            let count = 1 + usize::from(number % 7 > 0);
            let id = StreamId::new(number, 0);
            let fields = fields.into_iter().take(2 * count);
            made.append(stream::BlockLimit::of(4096, 100), id, fields, count);
        }
        made.remove(&[StreamId::new(2, 0), StreamId::new(5, 0)]);
        for name in ["g1", "g2"] {
            made.add_group(name.as_bytes(), StreamId::new(3, 0), Some(3));
            made.group(name.as_bytes(), |group, domain| {
                for consumer in ["a", "b", "c"] {
                    group.add_consumer(domain, consumer.as_bytes(), 7, None);
                }
                let consumer = group.find_consumer(b"b").unwrap();
                for number in 1..entries / 2 {
                    let id = StreamId::new(number, 0);
                    group.assign(domain, consumer, id, 99, number);
                }
            });
        }
    }

    fn payload_of(body: &[u8]) -> Vec<u8> {
        let mut payload = body.to_vec();
        payload.extend_from_slice(&11u16.to_le_bytes());
        payload.extend_from_slice(&crc64(0, &payload).to_le_bytes());
        payload
    }

    #[test]
    fn streams_come_back() {
        let mut keyspace = Keyspace::new(1, 3);
        let (key, copy) = (keyspace.key(b"key"), keyspace.key(b"copy"));
        for entries in [0, 1, 8, 500] {
            keyspace.remove(0, key);
            make_stream(&mut keyspace, key, entries);
            let payload = dump(ValueRef::of(keyspace.find(0, key).unwrap()), true);
            let restored = super::restore(&payload, &mut keyspace, copy, &ENCODINGS, true);
            assert_eq!(restored, Ok(Restored::Made));
            let workshop = keyspace.workshop();
            assert!(keyspace.rename(workshop, copy, 0, copy));
            let again = dump(ValueRef::of(keyspace.find(0, copy).unwrap()), true);
            assert!(payload == again);
            let body = &payload[..payload.len() - FOOTER_BYTES];
            for end in 0..body.len().min(600) {
                let cut = payload_of(&body[..end]);
                assert!(super::restore(&cut, &mut keyspace, copy, &ENCODINGS, true).is_err());
                assert!(keyspace.is_empty(workshop));
            }
        }
    }

    /// Damage under a right checksum: refused, or a stream that can be read and changed.
    #[test]
    fn fuzz_streams() {
        let mut prng = Prng::new(11);
        let mut keyspace = Keyspace::new(1, 3);
        let (key, copy) = (keyspace.key(b"key"), keyspace.key(b"copy"));
        let mut made = 0;
        for round in 0..6000 {
            if round % 50 == 0 {
                keyspace.remove(0, key);
                make_stream(&mut keyspace, key, [0, 3, 8, 30][round / 50 % 4]);
            }
            let payload = dump(ValueRef::of(keyspace.find(0, key).unwrap()), false);
            let mut body = payload[..payload.len() - FOOTER_BYTES].to_vec();
            for _ in 0..1 + prng.below(3) {
                let at = 1 + prng.below(body.len() as u64 - 1) as usize;
                body[at] = match prng.below(2) {
                    0 => prng.next_u64() as u8,
                    _ => body[at] ^ 1 << prng.below(8),
                };
            }
            body[0] = [15, 19, 21, 21, 21][prng.below(5) as usize];
            let payload = payload_of(&body);
            let restored = super::restore(&payload, &mut keyspace, copy, &ENCODINGS, true);
            if restored.is_err() {
                continue;
            }
            made += 1;
            let workshop = keyspace.workshop();
            let found = Stream::of(keyspace.find(workshop, copy).unwrap());
            let ids: Vec<StreamId> = found
                .range(StreamId::MIN, StreamId::MAX)
                .map(|record| record.id)
                .collect();
            assert_eq!(found.meta().length, ids.len() as u64);
            dump(ValueRef::of(keyspace.find(workshop, copy).unwrap()), true);
            let mut changed = StreamMut::new(keyspace.body(workshop, copy).unwrap());
            assert_eq!(changed.remove(&ids), ids.len() as u64);
            for name in ["g1", "g2"] {
                changed.group(name.as_bytes(), |group, domain| {
                    let consumers: Vec<_> = group.consumers().map(|(key, _)| key).collect();
                    for consumer in consumers {
                        group.remove_consumer(domain, consumer);
                    }
                    assert_eq!(group.pending_count(), 0);
                });
            }
            drop(changed);
            keyspace.remove(workshop, copy);
        }
        assert!(made > 50, "{made}");
    }

    /// What redis-server 7.0 answers to DUMP of "hello", and valkey-server 9.1.
    const HELLO_7: &[u8] = b"\x00\x05hello\n\x00";
    const HELLO_VALKEY_9: &[u8] = b"\x00\x05helloP\x00\xac\x58\x16\xe7\xfb\x66\x47\xfe";

    #[test]
    fn payloads_of_servers_are_read() {
        let hello = Ok(Restored::String(b"hello".to_vec()));
        assert_eq!(restore(HELLO_VALKEY_9), hello);
        let mut payload = HELLO_7.to_vec();
        payload.extend_from_slice(&crc64(0, HELLO_7).to_le_bytes());
        assert_eq!(restore(&payload), hello);
    }

    #[test]
    fn dumped_strings_come_back_and_damage_is_refused() {
        let long = b"0123456789abcdef".repeat(20_000);
        for compression in [true, false] {
            let dumped = |value| super::dump(ValueRef::String(value), compression);
            let dump = |bytes| dumped(StringRef::Bytes(bytes));
            assert_eq!(restore(&dump(b"")), Ok(Restored::String(Vec::new())));
            assert_eq!(restore(&dump(b"12")), Ok(Restored::Int(12)));
            assert_eq!(restore(&dump(&long)), Ok(Restored::String(long.clone())));
            assert_eq!(dump(&long).len() < 20_000, compression);
            assert_eq!(
                restore(&dumped(StringRef::Int(1 << 40))),
                Ok(Restored::String(b"1099511627776".to_vec()))
            );
            let payload = dump(b"some value");
            for at in 0..payload.len() * 8 {
                let mut payload = payload.clone();
                payload[at / 8] ^= 1 << (at % 8);
                assert_eq!(restore(&payload), Err(PayloadError::Footer));
            }
            for end in 0..payload.len() {
                assert!(restore(&payload[..end]).is_err());
            }
        }
    }

    #[test]
    fn wrong_values_under_a_right_checksum_are_refused() {
        for body in [
            &b"\x00\x05hell"[..],
            b"\x00\x05hello!",
            b"\x12\x01",
            b"\x63",
            b"",
            b"\x00\xc3\x02\x05\x00a",
        ] {
            let mut payload = body.to_vec();
            payload.extend_from_slice(&11u16.to_le_bytes());
            payload.extend_from_slice(&crc64(0, &payload).to_le_bytes());
            assert!(
                matches!(restore(&payload), Err(PayloadError::Value(_))),
                "{body:?}"
            );
        }
    }
}
