//! Reads RDB: chunks of a stream in, batches of records out.
//!
//! The decoder keeps only what is not yet a whole record (a long value comes in pieces), so its
//! memory is bounded by the longest key and one chunk. Bytes from anywhere are safe: every read
//! is checked, and nothing is allocated for what a length merely claims.
//!
//! A batch carries its keys already hashed: the decoder may run on a helper thread while the
//! loop inserts the batch before.

use std::io::{self, Read};

use super::error::{RdbError, RdbErrorKind, UNCHECKED};
use super::reader::{Reader, Span, Stop};
use super::value::{self, State};
use super::{Access, Dialect, VERSION_AUX, VERSION_CHECKSUM, VERSION_MAX, VERSION_VALKEY, opcode};
use crate::base::crc64::crc64;
use crate::base::hash::HashSeed;
use crate::base::num::parse_i64;
use crate::base::time::UnixMs;
use crate::types::Kind;

/// A batch is given out when its bytes or its records reach these.
pub const BATCH_BYTES: usize = 256 << 10;
/// See [`BATCH_BYTES`].
pub const BATCH_RECORDS: usize = 1024;
/// The longest string by default: what Redis can hold.
pub const STRING_BYTES_MAX: u64 = 4 << 30;
/// Memory for input that is kept after a long key.
const BUFFER_BYTES_KEPT: usize = 1 << 20;
/// The magic and its version.
const MAGIC_BYTES: usize = 9;

/// How to read.
#[derive(Debug, Clone, Copy)]
pub struct DecodeOptions {
    /// What keys are hashed with.
    pub seed: HashSeed,
    /// rdbchecksum: compare the trailer with the bytes.
    pub checksum: bool,
    /// The longest string that is taken.
    pub string_bytes_max: u64,
    /// Libraries of functions are passed over; else they are refused.
    pub passes_libraries: bool,
    /// The log is told of the AUX fields as they come, at this time.
    pub aux_logged: Option<UnixMs>,
}

impl DecodeOptions {
    /// Checks the trailer; strings as long as Redis can hold; no libraries.
    pub fn new(seed: HashSeed) -> DecodeOptions {
        DecodeOptions {
            seed,
            checksum: true,
            string_bytes_max: STRING_BYTES_MAX,
            passes_libraries: false,
            aux_logged: None,
        }
    }
}

/// One record of a stream. Spans are of the batch it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The keys that follow are of this database.
    SelectDb(u64),
    /// How many keys the database has, and how many of them a deadline.
    Resize {
        /// Keys.
        keys: u64,
        /// Keys with a deadline.
        expires: u64,
    },
    /// A field about the stream.
    Aux {
        /// Its name.
        name: Span,
        /// Its value; numbers as decimal text.
        value: Span,
    },
    /// A key and its value, or the value's first piece.
    Key(KeyRecord),
    /// More of the last key's string.
    Piece(Span),
    /// An element of the last key's collection.
    Element(Element),
    /// The last key's collection is whole.
    End,
}

/// An element of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// A member, or an element of a list.
    Item(Span),
    /// Elements of a list: a checked pack, not empty.
    Chunk(Span),
    /// A field and its value.
    Pair(Span, Span),
    /// A field, its value and its deadline.
    Timed(Span, Span, Option<UnixMs>),
    /// A member and its score.
    Scored(Span, Score),
    /// A part of a stream: see [`value::stream::Part`].
    Part(value::stream::Part),
}

/// A score, not NaN; by its bits, so that records compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score(u64);

impl Score {
    pub(super) fn of(score: f64) -> Score {
        Score(score.to_bits())
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its bytes.
    pub key: Span,
    /// Their hash under the seed of the options.
    pub hash: u64,
    /// The value.
    pub value: Value,
    /// Its deadline.
    pub expire_at_ms: Option<UnixMs>,
    /// What an eviction policy kept of it.
    pub access: Access,
    /// Where in the stream its type stands.
    pub offset: u64,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A string that is a number.
    Int(i64),
    /// A string of `length` bytes; if `piece` has fewer, [`Record::Piece`]s follow.
    String {
        /// Its bytes, or the first of them.
        piece: Span,
        /// Bytes in all.
        length: u64,
    },
    /// A small collection as an entry keeps it.
    Packed {
        /// Its type.
        kind: Kind,
        /// Whether it is in the type's second encoding.
        other: bool,
        /// Its bytes, checked.
        bytes: Span,
    },
    /// A collection: [`Record::Element`]s follow, then [`Record::End`].
    Collection(Kind),
}

/// Records and the bytes that they point into.
#[derive(Debug)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<Record>,
    records_max: usize,
    /// Bytes of the stream that the decoder had used when it gave the batch out.
    pub stream_bytes: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Batch::with_records_max(BATCH_RECORDS)
    }
}

impl Batch {
    /// A batch that is full at so many records.
    pub fn with_records_max(records_max: usize) -> Batch {
        Batch {
            bytes: Vec::new(),
            records: Vec::new(),
            records_max,
            stream_bytes: 0,
        }
    }

    /// The records, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The bytes of a span of one of this batch's records.
    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// Empties it for the next use; its memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(4 * BATCH_BYTES);
        self.records.clear();
        self.stream_bytes = 0;
    }

    /// Whether it is to be given out before anything is added.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.records.len() >= self.records_max
    }
}

/// How far [`Decoder::decode`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// It can go on when at least so many more bytes are fed.
    NeedInput(u64),
    /// The batch is full: take it and call again.
    BatchFull,
    /// The stream ended and its checksum holds; the batch has the last records.
    Done,
}

/// What comes next in the stream.
#[derive(Debug)]
enum Next {
    Magic,
    Record,
    Rest(State),
    Trailer,
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Decoder {
    options: DecodeOptions,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are used. Invariant: `summed <= used <= buffer.len()`.
    used: usize,
    /// Bytes of `buffer` without which nothing more can be decoded.
    needed: usize,
    /// Bytes of `buffer` that are in `checksum`.
    summed: usize,
    /// Where in the stream `buffer` starts.
    buffer_offset: u64,
    checksum: u64,
    stored_checksum: Option<u64>,
    dialect: Dialect,
    next: Next,
    expire_at_ms: Option<UnixMs>,
    access: Access,
    /// The key whose value is in progress, for messages.
    key: Vec<u8>,
    failed: Option<RdbError>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(options: DecodeOptions) -> Decoder {
        Decoder {
            options,
            buffer: Vec::new(),
            used: 0,
            needed: 0,
            summed: 0,
            buffer_offset: 0,
            checksum: 0,
            stored_checksum: None,
            dialect: Dialect::Redis(0),
            next: Next::Magic,
            expire_at_ms: None,
            access: Access::Unknown,
            key: Vec::new(),
            failed: None,
        }
    }

    /// Adds bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.compact();
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds at most `bytes_max` bytes of the stream from `source`; returns how many (0: its end).
    pub fn feed_from(&mut self, mut source: impl io::Read, bytes_max: u64) -> io::Result<usize> {
        self.compact();
        source
            .by_ref()
            .take(bytes_max)
            .read_to_end(&mut self.buffer)
    }

    /// Bytes of the stream used so far.
    pub fn offset(&self) -> u64 {
        self.buffer_offset + self.used as u64
    }

    /// Bytes fed and not used: behind [`Decoded::Done`], what follows the stream.
    pub fn unused(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    /// True when the end mark was read, and the trailer is next or was read too.
    pub(super) fn is_behind_end(&self) -> bool {
        matches!(self.next, Next::Trailer | Next::Nothing)
    }

    /// True in the middle of a value that comes in pieces.
    pub(super) fn is_inside_value(&self) -> bool {
        matches!(self.next, Next::Rest(_))
    }

    /// What the magic said, once it was read.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The trailer, once it was read; 0: written without a checksum.
    pub fn stored_checksum(&self) -> Option<u64> {
        self.stored_checksum
    }

    /// Decodes what was fed into `batch`, behind what it has.
    ///
    /// After an error the batch is to be thrown away, and every further call gives the same error.
    pub fn decode(&mut self, batch: &mut Batch) -> Result<Decoded, RdbError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        // Not tried again with every chunk of a long string.
        let missing = self.needed.saturating_sub(self.buffer.len());
        if missing > 0 {
            batch.stream_bytes = self.offset();
            return Ok(Decoded::NeedInput(missing as u64));
        }
        // Taken out for the time of the run, so that readers can borrow it.
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.run(&buffer, batch);
        self.buffer = buffer;
        batch.stream_bytes = self.offset();
        result.map_err(|kind| self.fail(kind))
    }

    fn run(&mut self, buffer: &[u8], batch: &mut Batch) -> Result<Decoded, RdbErrorKind> {
        loop {
            if batch.is_full() {
                return Ok(Decoded::BatchFull);
            }
            let fresh = buffer.get(self.used..).unwrap_or_default();
            let mut reader = Reader::new(fresh);
            let bytes_before = batch.bytes.len();
            match self.step(&mut reader, batch) {
                Ok(()) => self.used += reader.used(),
                Err(Stop::Missing(count)) => {
                    batch.bytes.truncate(bytes_before);
                    let missing = count.saturating_sub(fresh.len() as u64).max(1);
                    let needed = (buffer.len() as u64).saturating_add(missing);
                    self.needed = usize::try_from(needed).unwrap_or(usize::MAX);
                    return Ok(Decoded::NeedInput(missing));
                }
                Err(Stop::Bad(kind)) => return Err(kind),
            }
            match self.next {
                Next::Magic | Next::Record | Next::Rest(_) => {}
                Next::Trailer => self.sum(buffer),
                Next::Nothing => return Ok(Decoded::Done),
            }
        }
    }

    /// The error for a stream that ends here, before [`Decoded::Done`].
    pub fn truncated(&mut self) -> RdbError {
        if self.failed.is_none() {
            self.used = self.buffer.len();
        }
        self.fail(RdbErrorKind::Truncated)
    }

    fn fail(&mut self, kind: RdbErrorKind) -> RdbError {
        let key = match self.next {
            Next::Record | Next::Rest(_) if !self.key.is_empty() => Some(self.key.clone()),
            _ => None,
        };
        let error = RdbError {
            kind,
            offset: self.offset(),
            key,
        };
        self.failed.get_or_insert(error).clone()
    }

    /// Reads one thing. On an error nothing counts as used, and `next` is as it was.
    #[inline]
    fn step(&mut self, reader: &mut Reader<'_>, batch: &mut Batch) -> Result<(), Stop> {
        match &mut self.next {
            Next::Record => self.record(reader, batch),
            Next::Rest(state) => {
                if state.step(reader, self.options.string_bytes_max, batch)? {
                    self.next = Next::Record;
                    self.key.clear();
                }
                Ok(())
            }
            Next::Magic => {
                self.dialect = parse_magic(reader.take(MAGIC_BYTES as u64)?)?;
                self.next = Next::Record;
                Ok(())
            }
            Next::Trailer => self.trailer(reader),
            Next::Nothing => Ok(()),
        }
    }

    #[inline]
    fn record(&mut self, reader: &mut Reader<'_>, batch: &mut Batch) -> Result<(), Stop> {
        let bytes_max = self.options.string_bytes_max;
        let code = reader.byte()?;
        match code {
            // A damaged version digit must not pass for an old file, which has no checksum.
            opcode::AUX | opcode::RESIZEDB if !self.dialect.is_since(VERSION_AUX) => {
                return Err(RdbErrorKind::UnknownType(code).into());
            }
            opcode::EXPIRETIME_MS => self.expire_at_ms = Some(i64::from_le_bytes(reader.array()?)),
            opcode::EXPIRETIME => {
                let seconds = i64::from(i32::from_le_bytes(reader.array()?));
                let at = seconds.checked_mul(1000).ok_or(RdbErrorKind::Deadline)?;
                self.expire_at_ms = Some(at);
            }
            opcode::IDLE => self.access = Access::Idle(reader.length()?),
            opcode::FREQ => self.access = Access::Frequency(reader.byte()?),
            opcode::SELECTDB => batch.records.push(Record::SelectDb(reader.length()?)),
            opcode::RESIZEDB => {
                let (keys, expires) = (reader.length()?, reader.length()?);
                batch.records.push(Record::Resize { keys, expires });
            }
            opcode::AUX => {
                let name = reader.string(bytes_max, &mut batch.bytes)?;
                let value = reader.string(bytes_max, &mut batch.bytes)?;
                if let Some(now) = self.options.aux_logged {
                    log_aux(batch.bytes(name), batch.bytes(value), now);
                }
                batch.records.push(Record::Aux { name, value });
            }
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    reader.length()?;
                }
            }
            opcode::EOF => {
                self.next = match self.dialect.is_since(VERSION_CHECKSUM) {
                    true => Next::Trailer,
                    false => Next::Nothing,
                };
            }
            opcode::FUNCTION2 if self.options.passes_libraries => {
                reader.string(bytes_max, &mut batch.bytes)?;
            }
            opcode::FUNCTION2 | opcode::FUNCTION_PRE_GA => {
                return Err(RdbErrorKind::UnsupportedRecord("a function library").into());
            }
            opcode::MODULE_AUX => {
                return Err(RdbErrorKind::UnsupportedRecord("data of a module").into());
            }
            opcode::SLOT_IMPORT if matches!(self.dialect, Dialect::Valkey(_)) => {
                return Err(RdbErrorKind::UnsupportedRecord("a slot import in progress").into());
            }
            code => self.key(code, reader, batch)?,
        }
        Ok(())
    }

    #[inline]
    fn key(&mut self, code: u8, reader: &mut Reader<'_>, batch: &mut Batch) -> Result<(), Stop> {
        let Some(row) = value::find(code, self.dialect) else {
            return Err(RdbErrorKind::UnknownType(code).into());
        };
        let bytes_max = self.options.string_bytes_max;
        let key = reader.string(bytes_max, &mut batch.bytes)?;
        let Some(start) = row.start else {
            self.key = batch.bytes(key).to_vec();
            return Err(RdbErrorKind::UnsupportedType {
                code,
                name: row.name,
            }
            .into());
        };
        let started = start(reader, bytes_max, batch).inspect_err(|stop| {
            if let Stop::Bad(_) = stop {
                self.key = batch.bytes(key).to_vec();
            }
        })?;
        if let Some(rest) = started.rest {
            self.key = batch.bytes(key).to_vec();
            self.next = Next::Rest(rest);
        }
        batch.records.push(Record::Key(KeyRecord {
            key,
            hash: self.options.seed.hash(batch.bytes(key)),
            value: started.value,
            expire_at_ms: self.expire_at_ms.take(),
            access: std::mem::take(&mut self.access),
            offset: self.offset(),
        }));
        Ok(())
    }

    fn trailer(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        let stored = u64::from_le_bytes(reader.array()?);
        self.stored_checksum = Some(stored);
        if self.options.checksum && stored == 0 {
            log::info!("{UNCHECKED}");
        }
        if self.options.checksum && stored != 0 && stored != self.checksum {
            return Err(RdbErrorKind::Checksum {
                stored,
                computed: self.checksum,
            }
            .into());
        }
        self.next = Next::Nothing;
        Ok(())
    }

    /// Adds to the checksum what is used.
    fn sum(&mut self, buffer: &[u8]) {
        if self.options.checksum {
            let fresh = buffer.get(self.summed..self.used).unwrap_or_default();
            self.checksum = crc64(self.checksum, fresh);
        }
        self.summed = self.used;
    }

    /// Forgets what is used.
    fn compact(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.sum(&buffer);
        buffer.drain(..self.used);
        self.needed = self.needed.saturating_sub(self.used);
        if buffer.capacity() > BUFFER_BYTES_KEPT && buffer.len() < BUFFER_BYTES_KEPT / 4 {
            buffer.shrink_to(BUFFER_BYTES_KEPT);
        }
        self.buffer = buffer;
        self.buffer_offset += self.used as u64;
        self.used = 0;
        self.summed = 0;
    }
}

/// Bytes of an AUX field's name or value that are logged.
const AUX_LOGGED_BYTES: usize = 256;

/// Tells the log of an AUX field in Redis's words; a file may say anything, so not more than a line of it.
fn log_aux(name: &[u8], value: &[u8], now: UnixMs) {
    let shown = |bytes: &[u8]| {
        let bytes = bytes.get(..AUX_LOGGED_BYTES).unwrap_or(bytes);
        String::from_utf8_lossy(bytes).replace(char::is_control, "?")
    };
    let (name, text) = (shown(name), shown(value));
    let number = parse_i64(value).unwrap_or(0);
    match &*name.to_ascii_lowercase() {
        "redis-ver" | "valkey-ver" => log::info!("Loading RDB produced by version {text}"),
        "ctime" => {
            let age = (now / 1000).saturating_sub(number).max(0);
            log::info!("RDB age {age} seconds");
        }
        "used-mem" => {
            let megabytes = number as f64 / (1024.0 * 1024.0);
            log::info!("RDB memory usage when created {megabytes:.2} Mb");
        }
        "aof-preamble" if number != 0 => log::info!("RDB has an AOF tail"),
        "aof-base" if number != 0 => log::info!("RDB is base AOF"),
        "repl-stream-db" | "repl-id" | "repl-offset" | "lua" | "redis-bits" | "aof-preamble"
        | "aof-base" => {}
        other if other.starts_with('%') => log::info!("RDB '{name}': {text}"),
        _ => log::trace!("Unrecognized RDB AUX field: '{name}'"),
    }
}

fn parse_magic(magic: &[u8]) -> Result<Dialect, RdbErrorKind> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u16>().ok();
    let dialect = if let Some(digits) = magic.strip_prefix(b"REDIS") {
        number(digits).map(Dialect::Redis)
    } else if let Some(digits) = magic.strip_prefix(b"VALKEY") {
        number(digits).map(Dialect::Valkey)
    } else {
        None
    };
    match dialect.ok_or(RdbErrorKind::Magic)? {
        dialect @ Dialect::Redis(1..=VERSION_MAX) => Ok(dialect),
        dialect @ Dialect::Valkey(VERSION_VALKEY) => Ok(dialect),
        Dialect::Redis(_) | Dialect::Valkey(_) => Err(RdbErrorKind::Version(
            String::from_utf8_lossy(magic).into_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::rdb::VERSION;
    use crate::rdb::encode::{EncodeOptions, Encoder, KeepAccess, Progress, push_length};
    use crate::types::{Chunks, StringRef, ValueRef};

    /// A key as a stream gives it, pieces joined.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Key {
        db: u64,
        key: Vec<u8>,
        value: Vec<u8>,
        expire_at_ms: Option<i64>,
        access: Access,
    }

    /// Decodes `stream`, fed in pieces of 1..=`piece_max` bytes.
    fn decode(stream: &[u8], piece_max: u64, prng: &mut Prng) -> Result<Vec<Key>, RdbError> {
        let seed = HashSeed::new(7);
        let mut decoder = Decoder::new(DecodeOptions::new(seed));
        let (mut keys, mut batch, mut at, mut db) = (Vec::<Key>::new(), Batch::default(), 0, 0);
        loop {
            batch.clear();
            let decoded = decoder.decode(&mut batch)?;
            for record in batch.records() {
                match *record {
                    Record::SelectDb(number) => db = number,
                    Record::Resize { .. } | Record::Aux { .. } => {}
                    Record::Element(_) | Record::End => {}
                    Record::Key(record) => {
                        let value = match record.value {
                            Value::Int(value) => value.to_string().into_bytes(),
                            Value::String { piece, .. } => batch.bytes(piece).to_vec(),
                            Value::Packed { bytes, .. } => batch.bytes(bytes).to_vec(),
                            Value::Collection(_) => Vec::new(),
                        };
                        assert_eq!(record.hash, seed.hash(batch.bytes(record.key)));
                        let key = batch.bytes(record.key).to_vec();
                        let (expire_at_ms, access) = (record.expire_at_ms, record.access);
                        keys.push(Key {
                            db,
                            key,
                            value,
                            expire_at_ms,
                            access,
                        });
                    }
                    Record::Piece(piece) => {
                        keys.last_mut()
                            .unwrap()
                            .value
                            .extend_from_slice(batch.bytes(piece));
                    }
                }
            }
            match decoded {
                Decoded::Done => return Ok(keys),
                Decoded::BatchFull => {}
                Decoded::NeedInput(_) if at == stream.len() => return Err(decoder.truncated()),
                Decoded::NeedInput(_) => {
                    let end = stream.len().min(at + 1 + prng.below(piece_max) as usize);
                    decoder.feed(&stream[at..end]);
                    at = end;
                }
            }
        }
    }

    fn encode(options: &EncodeOptions, keys: &[Key]) -> Vec<u8> {
        let (mut stream, progress) = (Vec::new(), Progress::default());
        let sink = |chunk: &mut Vec<u8>| {
            stream.append(chunk);
            Ok(())
        };
        let mut encoder = Encoder::new(options, &progress, sink).unwrap();
        for group in keys.chunk_by(|a, b| a.db == b.db) {
            let expires = group
                .iter()
                .filter(|key| key.expire_at_ms.is_some())
                .count();
            encoder
                .select(group[0].db as usize, group.len() as u64, expires as u64)
                .unwrap();
            for key in group {
                let chunks = Chunks::new(&key.value);
                let value = ValueRef::String(match crate::base::num::parse_i64(&key.value) {
                    Some(value) => StringRef::Int(value),
                    None if key.value.len() > 100_000 => StringRef::Chunked(&chunks),
                    None => StringRef::Bytes(&key.value),
                });
                encoder
                    .key(&key.key, value, key.expire_at_ms, key.access)
                    .unwrap();
            }
        }
        let written = encoder.finish().unwrap();
        assert_eq!(written.bytes, stream.len() as u64);
        assert_eq!(written.keys, keys.len() as u64);
        stream
    }

    fn key(db: u64, key: &[u8], value: &[u8]) -> Key {
        Key {
            db,
            key: key.to_vec(),
            value: value.to_vec(),
            expire_at_ms: None,
            access: Access::Unknown,
        }
    }

    fn random_keys(prng: &mut Prng, count: u64) -> Vec<Key> {
        (0..count)
            .map(|number| {
                let mut value;
                match prng.below(8) {
                    0 => {
                        value = (prng.next_u64() as i64 >> prng.below(64))
                            .to_string()
                            .into_bytes()
                    }
                    1 => value = vec![b'x'; prng.below(70_000) as usize],
                    2 => {
                        let count = prng.below(3000) as usize;
                        value = prng.hex(count).into_bytes();
                    }
                    3 if number % 16 == 3 => {
                        value = vec![0; 150_000 + prng.below(100_000) as usize];
                        prng.fill(&mut value);
                    }
                    4 if number % 16 == 4 => {
                        value = prng
                            .hex(50)
                            .into_bytes()
                            .repeat(4000 + prng.below(1000) as usize);
                    }
                    _ => {
                        value = vec![0; prng.below(200) as usize];
                        prng.fill(&mut value);
                    }
                }
                Key {
                    db: number / 100,
                    key: number.to_string().into_bytes(),
                    value,
                    expire_at_ms: (prng.below(3) == 0).then(|| prng.next_u64() as i64),
                    access: Access::Unknown,
                }
            })
            .collect()
    }

    #[test]
    fn golden_bytes() {
        let options = EncodeOptions {
            access: KeepAccess::Idle,
            aux: vec![("redis-ver", "8.0.0".into()), ("redis-bits", "64".into())],
            ..EncodeOptions::default()
        };
        let keys = [
            Key {
                expire_at_ms: Some(0x0102_0304_0506),
                ..key(0, b"k", b"value")
            },
            Key {
                access: Access::Idle(100),
                ..key(0, b"12", b"-300")
            },
            key(3, b"big", b"70000"),
            key(3, b"a", b"aaaaaaaaaaaaaaaaaaaaaaaaa"),
        ];
        let mut expected =
            b"REDIS0011\xfa\x09redis-ver\x058.0.0\xfa\x0aredis-bits\xc0\x40".to_vec();
        expected.extend_from_slice(
            b"\xfe\x00\xfb\x02\x01\xfc\x06\x05\x04\x03\x02\x01\x00\x00\x00\x01k\x05value",
        );
        expected.extend_from_slice(b"\xf8\x40\x64\x00\xc0\x0c\xc1\xd4\xfe");
        expected.extend_from_slice(b"\xfe\x03\xfb\x02\x00\x00\x03big\xc2\x70\x11\x01\x00");
        expected.extend_from_slice(b"\x00\x01a\xc3\x05\x19\x00a\xe0\x0f\x00\xff");
        let checksum = crc64(0, &expected);
        expected.extend_from_slice(&checksum.to_le_bytes());
        let stream = encode(&options, &keys);
        assert_eq!(
            stream.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        let decoded = decode(&stream, 3, &mut Prng::new(1)).unwrap();
        assert_eq!(decoded, keys);
    }

    #[test]
    fn lengths_have_every_form() {
        for length in [
            0,
            63,
            64,
            16383,
            16384,
            u32::MAX as u64,
            u32::MAX as u64 + 1,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            push_length(&mut out, length);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.length(), Ok(length));
            assert_eq!(reader.used(), out.len());
        }
    }

    #[test]
    fn what_is_encoded_comes_back_however_it_is_cut() {
        let seed = 0x0dd_ba11;
        let mut prng = Prng::new(seed);
        for (dialect, compression, checksum) in [
            (Dialect::Redis(VERSION), true, true),
            (Dialect::Redis(9), false, true),
            (Dialect::Redis(4), true, true),
            (Dialect::Valkey(80), true, false),
        ] {
            let options = EncodeOptions {
                dialect,
                compression,
                checksum,
                ..EncodeOptions::default()
            };
            let keys = random_keys(&mut prng, 300);
            let stream = encode(&options, &keys);
            for piece_max in [10, 3000, 200_000, 10_000_000] {
                let decoded = decode(&stream, piece_max, &mut prng).unwrap();
                assert!(decoded == keys, "seed {seed}, {dialect:?}");
            }
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_refused_at_every_byte() {
        let mut prng = Prng::new(3);
        let keys = random_keys(&mut prng, 20);
        let stream = encode(&EncodeOptions::default(), &keys);
        for end in (0..stream.len()).step_by(1 + stream.len() / 2000) {
            let error = decode(&stream[..end], 100_000, &mut prng).unwrap_err();
            assert_eq!(error.kind, RdbErrorKind::Truncated);
            assert_eq!(error.offset, end as u64);
        }
    }

    #[test]
    fn what_cannot_be_loaded_stops_the_stream_and_is_named() {
        let mut prng = Prng::new(4);
        let mut refused = |stream: &[u8]| decode(stream, 100, &mut prng).unwrap_err();
        let stream = refused(b"REDIS0011\xfe\x00\x07\x02ab\x01");
        let kind = RdbErrorKind::UnsupportedType {
            code: 7,
            name: "module-value",
        };
        assert_eq!(
            stream,
            RdbError {
                kind,
                offset: 11,
                key: Some(b"ab".to_vec())
            }
        );
        assert_eq!(
            stream.to_string(),
            "objects of type module-value (7) can't be loaded by this version at offset 11, key \"ab\""
        );
        assert_eq!(
            refused(b"VALKEY080\x18\x02ab").kind,
            RdbErrorKind::UnknownType(0x18)
        );
        assert!(matches!(
            refused(b"VALKEY080\xf3\x02ab").kind,
            RdbErrorKind::UnsupportedRecord(_)
        ));
        assert!(matches!(
            refused(b"REDIS0011\xf5\x02ab").kind,
            RdbErrorKind::UnsupportedRecord(_)
        ));
        assert!(matches!(
            refused(b"REDIS0011\xf7\x02ab").kind,
            RdbErrorKind::UnsupportedRecord(_)
        ));
        assert_eq!(
            refused(b"REDIS0013\xff").kind,
            RdbErrorKind::Version("REDIS0013".into())
        );
        assert_eq!(
            refused(b"VALKEY081\xff").kind,
            RdbErrorKind::Version("VALKEY081".into())
        );
        assert_eq!(refused(b"redis0011\xff").kind, RdbErrorKind::Magic);
        assert_eq!(refused(b"REDIS00 1\xff").kind, RdbErrorKind::Magic);
        assert_eq!(
            refused(b"REDIS0011\x00\x82").kind,
            RdbErrorKind::LengthForm(0x82)
        );
        assert_eq!(
            refused(b"REDIS0011\xfe\xc0\x01").kind,
            RdbErrorKind::LengthForm(0xc0)
        );
        assert_eq!(
            refused(b"REDIS0011\x00\xc4").kind,
            RdbErrorKind::StringForm(0xc4)
        );
        let endless = refused(b"REDIS0011\x00\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(endless.kind, RdbErrorKind::StringTooLong(u64::MAX));
        assert_eq!(endless.key, Some(b"k".to_vec()));
        assert_eq!(
            refused(b"REDIS0011\x00\x01k\xc3\x02\x05\x00a").kind,
            RdbErrorKind::Lzf
        );
        let sum = refused(b"REDIS0011\xff\x01\x00\x00\x00\x00\x00\x00\x00").kind;
        assert!(matches!(sum, RdbErrorKind::Checksum { stored: 1, .. }));
    }

    #[test]
    fn old_and_foreign_records_are_understood() {
        let mut prng = Prng::new(5);
        let stream = b"REDIS0003\xfe\x01\xfd\x10\x00\x00\x00\x00\x01k\x01v\xff";
        let expected = Key {
            expire_at_ms: Some(16_000),
            ..key(1, b"k", b"v")
        };
        assert_eq!(decode(stream, 5, &mut prng).unwrap(), [expected]);
        let stream = b"VALKEY080\xfa\x01a\xc0\x01\xfe\x00\xfb\x01\x00\xf4\x40\x64\x01\x00\xf9\x09\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
        let expected = Key {
            access: Access::Frequency(9),
            ..key(0, b"k", b"v")
        };
        assert_eq!(decode(stream, 5, &mut prng).unwrap(), [expected]);
    }

    #[test]
    fn fuzz_decode() {
        let seed = std::env::var("RDB_FUZZ_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_nanos() as u64
        });
        println!("RDB_FUZZ_SEED={seed}");
        let started = std::time::Instant::now();
        let mut prng = Prng::new(seed);
        let mut rounds = 0;
        while started.elapsed() < std::time::Duration::from_millis(1500) {
            let count = 1 + prng.below(30);
            let keys = random_keys(&mut prng, count);
            let whole = encode(&EncodeOptions::default(), &keys);
            for _ in 0..20 {
                let mut stream = whole.clone();
                match prng.below(4) {
                    0 => stream.truncate(prng.below(stream.len() as u64) as usize),
                    1 => {
                        let start = 9.min(prng.below(20)) as usize;
                        prng.fill(&mut stream[start..]);
                    }
                    // Damage near the start meets heads more often than values.
                    kind => {
                        let span = if kind == 2 {
                            200.min(stream.len())
                        } else {
                            stream.len()
                        };
                        for _ in 0..1 + prng.below(4) {
                            let at = prng.below(span as u64) as usize;
                            stream[at] ^= 1 << prng.below(8);
                        }
                    }
                }
                let result = decode(&stream, 100_000, &mut prng);
                assert!(
                    stream == whole || result.is_err(),
                    "damage went unseen, seed {seed}"
                );
                rounds += 1;
            }
        }
        assert!(rounds > 100);
    }

    #[test]
    fn members_that_expand_fill_no_batch_together() {
        const MEMBER_BYTES: usize = 1 << 20;
        let mut stream = b"REDIS0011".to_vec();
        // A set of 40 members.
        stream.extend_from_slice(&[value::SET, 1, b'k', 40]);
        let mut compressor = crate::rdb::lzf::Compressor::new();
        for number in 0..40 {
            let mut member = vec![b'x'; MEMBER_BYTES];
            member[0] = number;
            let mut packed = Vec::new();
            let count = compressor.stream(&member, &mut packed);
            stream.push(crate::rdb::string_form::LZF);
            push_length(&mut stream, count as u64);
            push_length(&mut stream, MEMBER_BYTES as u64);
            stream.extend_from_slice(&packed);
        }
        let options = DecodeOptions {
            checksum: false,
            ..DecodeOptions::new(HashSeed::new(7))
        };
        let mut decoder = Decoder::new(options);
        decoder.feed(&stream);
        let (mut batch, mut members) = (Batch::default(), 0);
        while members < 40 {
            batch.clear();
            decoder.decode(&mut batch).unwrap();
            assert!(batch.bytes.len() <= BATCH_BYTES + MEMBER_BYTES);
            for record in batch.records() {
                if let Record::Element(Element::Item(span)) = record {
                    assert_eq!(batch.bytes(*span)[0], members);
                    assert_eq!(span.len(), MEMBER_BYTES);
                    members += 1;
                }
            }
        }
    }
}
