//! Batches of records into a keyspace, in slices.
//!
//! The caller owns a detached keyspace and swaps it in when the decoder has seen the end and the
//! checksum held: until then nobody sees a key of it. A slice is [`Loader::apply`] with some tens
//! of records; between slices the caller looks at its clock and serves its sockets.

use super::decode::{Batch, KeyRecord, Record, Value};
use super::{Access, RdbError, RdbErrorKind, make};
use crate::base::time::UnixMs;
use crate::keyspace::{Key, Keyspace, Ttl, is_due};
use crate::types::limits::Encodings;
use crate::types::{Chunks, Kind, access, entry};

/// Names of empty keys that go to the log.
const EMPTY_LOGGED: u64 = 10;

/// Keys whose places are fetched ahead.
const PREFETCH_KEYS: usize = 16;

/// Longest list of keys that were left out.
pub const LEFT_OUT_BYTES_MAX: usize = 16 << 20;

/// How to load.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// The clock, for idle times and deadlines.
    pub now: UnixMs,
    /// Leave out keys that are due: on a primary, not for a replica's full sync.
    pub drop_due: bool,
    /// The access word of keys that carry no access data.
    pub new_access: u32,
    /// When collections become large.
    pub encodings: Encodings,
}

/// What was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys stored.
    pub keys: u64,
    /// Keys left out because they were due.
    pub expired: u64,
    /// Collections left out because they had no elements.
    pub empty: u64,
    /// Which (database, key), in a file that says where its history stands: replicas that continue it
    /// must be told. Those beyond [`LEFT_OUT_BYTES_MAX`] are not listed.
    pub left_out: Vec<(usize, Vec<u8>)>,
    /// Bytes of `left_out`, and of what would be in it.
    pub left_out_bytes: usize,
    /// The AUX fields of interest.
    pub aux: LoadedAux,
}

impl Loaded {
    /// Keys that the stream had so far, stored or left out as due.
    pub fn seen(&self) -> u64 {
        self.keys + self.expired
    }
}

/// What the AUX fields said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadedAux {
    /// `repl-stream-db`.
    pub stream_db: Option<i64>,
    /// `repl-id`.
    pub replication_id: Option<String>,
    /// `repl-offset`.
    pub replication_offset: Option<i64>,
}

/// See the module.
pub struct Loader {
    options: LoadOptions,
    db: usize,
    long: Option<Long>,
    open: Option<Open>,
    loaded: Loaded,
    merge: bool,
}

/// A collection that comes element by element.
struct Open {
    key: Vec<u8>,
    record: KeyRecord,
    kind: Kind,
    left_out: bool,
}

/// A long string that comes in pieces.
struct Long {
    key: Vec<u8>,
    record: KeyRecord,
    left: u64,
    /// None: the key is left out.
    chunks: Option<Chunks>,
}

impl Loader {
    /// A loader at the start of a stream.
    pub fn new(options: LoadOptions) -> Loader {
        Loader {
            options,
            db: 0,
            long: None,
            open: None,
            loaded: Loaded::default(),
            merge: false,
        }
    }

    /// Whether a key that is there already is replaced instead of refused.
    pub fn merging(mut self, merge: bool) -> Loader {
        self.merge = merge;
        self
    }

    /// What was loaded so far.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Applies at most `records_max` of the batch's records, from the `from`th on; returns the first
    /// that is left.
    pub fn apply(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &Batch,
        from: usize,
        records_max: usize,
    ) -> Result<usize, RdbError> {
        let records = batch.records().get(from..).unwrap_or_default();
        let records = records.get(..records_max).unwrap_or(records);
        for window in records.chunks(PREFETCH_KEYS) {
            self.prefetch(keyspace, window);
            let mut left = window;
            while let Some(record) = left.first() {
                let used = self.record(keyspace, batch, record, left)?;
                left = left.get(used..).unwrap_or_default();
            }
        }
        Ok(from + records.len())
    }

    fn prefetch(&self, keyspace: &Keyspace, window: &[Record]) {
        let mut hashes = [0; PREFETCH_KEYS];
        let mut count = 0;
        for (slot, record) in hashes.iter_mut().zip(window) {
            let Record::Key(key) = record else { break };
            *slot = key.hash;
            count += 1;
        }
        keyspace.prefetch(self.db, hashes.get(..count).unwrap_or_default());
    }

    /// Applies the record that is the first of `left`; how many it took with it.
    #[inline]
    fn record(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &Batch,
        record: &Record,
        left: &[Record],
    ) -> Result<usize, RdbError> {
        let applied = match record {
            Record::Key(record) => self.key(keyspace, batch, record),
            Record::Piece(piece) => self.piece(keyspace, batch.bytes(*piece)),
            Record::Element(_) => return self.elements(keyspace, batch, left),
            Record::End => self.end(keyspace),
            Record::SelectDb(number) => {
                let databases = keyspace.count();
                match usize::try_from(*number) {
                    Ok(db) if db < databases => self.db = db,
                    _ => {
                        let kind = RdbErrorKind::Database(*number, databases);
                        return Err(RdbError {
                            kind,
                            offset: batch.stream_bytes,
                            key: None,
                        });
                    }
                }
                Ok(())
            }
            // The tables grow in small steps: there is nothing to prepare.
            Record::Resize { .. } => Ok(()),
            Record::Aux { name, value } => {
                self.aux(batch.bytes(*name), batch.bytes(*value));
                Ok(())
            }
        };
        applied.map(|()| 1)
    }

    #[inline]
    fn key(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &Batch,
        record: &KeyRecord,
    ) -> Result<(), RdbError> {
        let due = record
            .expire_at_ms
            .is_some_and(|at| is_due(at, self.options.now));
        let left_out = due && self.options.drop_due;
        let bytes = batch.bytes(record.key);
        let value = match record.value {
            Value::Int(number) => entry::Value::Int(number),
            Value::String { piece, length } if length == piece.len() as u64 => {
                entry::Value::of(batch.bytes(piece))
            }
            Value::String { piece, length } => {
                self.long = Some(Long {
                    key: bytes.to_vec(),
                    record: *record,
                    left: length - piece.len() as u64,
                    chunks: (!left_out).then(|| Chunks::new(batch.bytes(piece))),
                });
                return Ok(());
            }
            Value::Packed {
                kind,
                other,
                bytes: body,
            } => {
                if left_out {
                    self.leave_out(bytes);
                    return Ok(());
                }
                let value = entry::Value::Packed(kind, batch.bytes(body), other);
                self.set_access(keyspace, record);
                make::packed(
                    keyspace,
                    key_of(bytes, record),
                    value,
                    &self.options.encodings,
                );
                return self.place(keyspace, bytes, record);
            }
            Value::Collection(kind) => {
                self.open = Some(Open {
                    key: bytes.to_vec(),
                    record: *record,
                    kind,
                    left_out,
                });
                return Ok(());
            }
        };
        if left_out {
            self.leave_out(bytes);
            return Ok(());
        }
        self.store(keyspace, bytes, record, value)
    }

    #[inline]
    fn store(
        &mut self,
        keyspace: &mut Keyspace,
        bytes: &[u8],
        record: &KeyRecord,
        value: entry::Value<'_>,
    ) -> Result<(), RdbError> {
        let ttl = record.expire_at_ms.map_or(Ttl::None, Ttl::At);
        self.set_access(keyspace, record);
        if !keyspace.store(self.db, key_of(bytes, record), value, ttl) && !self.merge {
            return Err(refusal(RdbErrorKind::DuplicateKey, bytes, record));
        }
        self.loaded.keys += 1;
        Ok(())
    }

    fn set_access(&self, keyspace: &mut Keyspace, record: &KeyRecord) {
        let now = self.options.now;
        keyspace.set_new_access(match record.access {
            Access::Unknown => self.options.new_access,
            Access::Idle(seconds) => access::lru_word_of_idle(seconds, now),
            Access::Frequency(counter) => access::lfu_word(counter, now),
        });
    }

    /// Elements of the open collection; how many.
    fn elements(
        &mut self,
        keyspace: &mut Keyspace,
        batch: &Batch,
        records: &[Record],
    ) -> Result<usize, RdbError> {
        let Some(open) = &self.open else {
            unreachable!("a decoder gives elements only behind their key");
        };
        if open.left_out {
            let others = records
                .iter()
                .position(|record| !matches!(record, Record::Element(_)));
            return Ok(others.unwrap_or(records.len()));
        }
        self.set_access(keyspace, &open.record);
        let (key, encodings) = (key_of(&open.key, &open.record), &self.options.encodings);
        make::elements(keyspace, key, open.kind, batch, records, encodings)
            .map_err(|kind| refusal(kind, &open.key, &open.record))
    }

    /// The open collection is whole. One without elements is left out, as Redis does.
    fn end(&mut self, keyspace: &mut Keyspace) -> Result<(), RdbError> {
        match self.open.take() {
            Some(open) if open.left_out => {
                self.leave_out(&open.key);
                Ok(())
            }
            Some(open) => self.place(keyspace, &open.key, &open.record),
            None => Ok(()),
        }
    }

    /// Moves what was made in the workshop to its place.
    fn place(
        &mut self,
        keyspace: &mut Keyspace,
        bytes: &[u8],
        record: &KeyRecord,
    ) -> Result<(), RdbError> {
        let key = key_of(bytes, record);
        if keyspace.find(self.db, key).is_some() && !self.merge {
            return Err(refusal(RdbErrorKind::DuplicateKey, bytes, record));
        }
        if keyspace.rename(keyspace.workshop(), key, self.db, key) {
            keyspace.set_expire(self.db, key, record.expire_at_ms);
            self.loaded.keys += 1;
        } else {
            if self.loaded.empty < EMPTY_LOGGED {
                log::info!(
                    "rdbLoadObject skipping empty key: {}",
                    String::from_utf8_lossy(bytes)
                );
            }
            self.loaded.empty += 1;
        }
        Ok(())
    }

    fn piece(&mut self, keyspace: &mut Keyspace, piece: &[u8]) -> Result<(), RdbError> {
        let Some(long) = &mut self.long else {
            unreachable!("a decoder gives pieces only behind their key");
        };
        if let Some(chunks) = &mut long.chunks {
            chunks.append(piece);
        }
        long.left -= piece.len() as u64;
        if long.left > 0 {
            return Ok(());
        }
        let Some(long) = self.long.take() else {
            return Ok(());
        };
        match long.chunks {
            Some(chunks) => {
                // Only hostile streams give short strings in pieces.
                if chunks.len() <= entry::BLOCK_BYTES_MAX {
                    let bytes: Vec<u8> =
                        chunks.pieces(0, chunks.len()).flatten().copied().collect();
                    return self.store(keyspace, &long.key, &long.record, entry::Value::of(&bytes));
                }
                let value = entry::Value::Chunks(chunks);
                self.store(keyspace, &long.key, &long.record, value)
            }
            None => {
                self.leave_out(&long.key);
                Ok(())
            }
        }
    }

    fn leave_out(&mut self, key: &[u8]) {
        let loaded = &mut self.loaded;
        loaded.expired += 1;
        if loaded.aux.replication_id.is_none() {
            return;
        }
        loaded.left_out_bytes += key.len() + std::mem::size_of::<(usize, Vec<u8>)>();
        if loaded.left_out_bytes <= LEFT_OUT_BYTES_MAX {
            loaded.left_out.push((self.db, key.to_vec()));
        }
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        let text = || Some(String::from_utf8_lossy(value).into_owned());
        let number = || crate::base::num::parse_i64(value);
        let aux = &mut self.loaded.aux;
        match name {
            b"repl-stream-db" => aux.stream_db = number(),
            b"repl-id" => aux.replication_id = text(),
            b"repl-offset" => aux.replication_offset = number(),
            _ => {}
        }
    }
}

fn key_of<'k>(bytes: &'k [u8], record: &KeyRecord) -> Key<'k> {
    Key {
        bytes,
        hash: record.hash,
    }
}

fn refusal(kind: RdbErrorKind, key: &[u8], record: &KeyRecord) -> RdbError {
    RdbError {
        kind,
        offset: record.offset,
        key: Some(key.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::HashSeed;
    use crate::rdb::decode::{DecodeOptions, Decoded, Decoder};
    use crate::rdb::encode::{EncodeOptions, Progress, encode_snapshot, standard_aux};
    use crate::rdb::{Dialect, VERSION};

    const NOW: UnixMs = 1_800_000_000_000;

    fn options(drop_due: bool) -> LoadOptions {
        let limits = crate::types::Limits {
            entries: 4,
            value: 64,
        };
        LoadOptions {
            now: NOW,
            drop_due,
            new_access: 77,
            encodings: Encodings {
                hash: limits,
                set: limits,
                set_ints: 8,
                zset: limits,
                list: -2,
            },
        }
    }

    fn load(
        stream: &[u8],
        keyspace: &mut Keyspace,
        options: LoadOptions,
        slice: usize,
    ) -> Result<Loaded, RdbError> {
        let mut decoder = Decoder::new(DecodeOptions::new(keyspace.seed()));
        let mut loader = Loader::new(options);
        let mut batch = Batch::default();
        decoder.feed(stream);
        loop {
            batch.clear();
            let decoded = decoder.decode(&mut batch)?;
            let mut at = 0;
            while at < batch.records().len() {
                at = loader.apply(keyspace, &batch, at, slice)?;
            }
            match decoded {
                Decoded::Done => return Ok(loader.loaded().clone()),
                Decoded::BatchFull => {}
                Decoded::NeedInput(_) => return Err(decoder.truncated()),
            }
        }
    }

    fn encode(keyspace: &mut Keyspace) -> Vec<u8> {
        let (mut stream, progress) = (Vec::new(), Progress::default());
        let dialect = Dialect::Redis(VERSION);
        let options = EncodeOptions {
            aux: standard_aux(dialect, "8.0.0", NOW, 5, None, false),
            ..EncodeOptions::default()
        };
        let sink = |chunk: &mut Vec<u8>| {
            stream.append(chunk);
            Ok(())
        };
        encode_snapshot(&mut keyspace.snapshot(), &options, NOW, &progress, sink).unwrap();
        stream
    }

    #[test]
    fn a_keyspace_comes_back_in_slices_of_any_size() {
        let mut keyspace = Keyspace::new(4, 1);
        keyspace.set_clock(NOW);
        let mut scratch = Vec::new();
        for number in 0..5000_i64 {
            let name = format!("key:{number}").into_bytes();
            let key = keyspace.key(&name);
            let value = match number % 1000 {
                7 => vec![b'v'; 200_000],
                8 => (0..150_000_u32)
                    .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
                    .collect(),
                rest if rest % 3 == 0 => number.to_string().into_bytes(),
                _ => format!("value {number}").into_bytes(),
            };
            let ttl = match number % 5 {
                0 => Ttl::At(NOW + number),
                1 if number % 2 == 0 => Ttl::At(NOW - 1 - number),
                _ => Ttl::None,
            };
            keyspace.store((number % 2) as usize, key, entry::Value::of(&value), ttl);
        }
        let stream = encode(&mut keyspace);
        for (slice, drop_due) in [(1, false), (64, true), (usize::MAX, false)] {
            let mut fresh = keyspace.detached(NOW);
            let loaded = load(&stream, &mut fresh, options(drop_due), slice).unwrap();
            let expired = if drop_due { 500 } else { 0 };
            assert_eq!((loaded.keys, loaded.expired), (5000 - expired, expired));
            for db in 0..2 {
                keyspace.for_each(db, |entry| {
                    let due = entry.expire_at().is_some_and(|at| is_due(at, NOW));
                    let found = fresh.find(db, fresh.key(entry.key()));
                    assert_eq!(found.is_none(), due && drop_due);
                    let Some(found) = found else { return };
                    assert_eq!(found.expire_at(), entry.expire_at());
                    assert_eq!(found.access(), 77);
                    assert!(found.string().equals(entry.string().as_bytes(&mut scratch)));
                    assert_eq!(found.encoding(), entry.encoding());
                });
            }
        }
    }

    #[test]
    fn a_second_key_or_a_database_too_many_stops_the_load() {
        let mut keyspace = Keyspace::new(2, 1);
        let twice = b"REDIS0011\xfe\x00\x00\x01k\x01v\x00\x01k\x01w\xff\0\0\0\0\0\0\0\0";
        let error = load(twice, &mut keyspace, options(true), 64).unwrap_err();
        assert_eq!(error.kind, RdbErrorKind::DuplicateKey);
        assert_eq!(error.offset, 16);
        let third = b"REDIS0011\xfe\x02\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
        let error = load(third, &mut keyspace, options(true), 64).unwrap_err();
        assert_eq!(error.kind, RdbErrorKind::Database(2, 2));
    }

    #[test]
    fn hashes_are_those_of_the_keyspace() {
        let mut keyspace = Keyspace::new(1, 1);
        let stream = b"REDIS0011\xfe\x00\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
        load(stream, &mut keyspace, options(true), 64).unwrap();
        assert!(keyspace.find(0, keyspace.key(b"k")).is_some());
        assert_ne!(HashSeed::new(2).hash(b"k"), keyspace.key(b"k").hash);
    }
}
