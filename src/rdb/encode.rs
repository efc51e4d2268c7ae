//! Writes RDB: a snapshot's keys as a stream of chunks, for a file, a replica, or a check.
//!
//! The writer fills one buffer and hands it to the sink when it has grown to `CHUNK_BYTES`; that
//! and the compressor's scratch is all the memory it takes, however large a value is (a value above
//! `GATHERED_BYTES_MAX` is compressed piece by piece, and twice: its compressed length stands in front).
//! The sink may keep the buffer it is given (a channel) or leave it (a file).

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::{
    Access, Dialect, VERSION, VERSION_ACCESS, VERSION_AUX, VERSION_CHECKSUM, VERSION_SET_PACKS,
    lzf, opcode, string_form,
};
use crate::base::crc64::crc64;
use crate::base::time::UnixMs;
use crate::container::CowTable;
use crate::keyspace::Snapshot;
use crate::types::hash::without_deadlines;
use crate::types::stream::Group;
use crate::types::{
    Chunks, Entry, HashRef, ListRef, SetRef, Stream, StreamId, StringRef, ValueRef, ZsetRef, access,
};

/// The sink gets chunks of about this size.
pub const CHUNK_BYTES: usize = 128 << 10;
/// Strings of at most this length are never compressed.
const PLAIN_BYTES_MAX: usize = 20;
/// Strings up to this are compressed whole, and so held whole.
const GATHERED_BYTES_MAX: usize = 64 << 20;
/// Longer ones are compressed in pieces of this size, if they are not in smaller ones already.
const PIECE_BYTES: usize = 1 << 20;
/// Other servers' decompressors take no longer strings.
const COMPRESSED_BYTES_MAX: usize = i32::MAX as usize;
/// How a list's chunk is marked: one long element, or a pack.
const PLAIN_CHUNK: u64 = 1;
const PACKED_CHUNK: u64 = 2;
/// The flag to stop is looked at once in so many keys.
const CANCEL_EVERY: u64 = 64;

/// How to write.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// The header, REDIS 11 by default; records that a version does not know are left out.
    pub dialect: Dialect,
    /// rdbcompression.
    pub compression: bool,
    /// rdbchecksum; off writes a trailer of zeros.
    pub checksum: bool,
    /// Which access data the eviction policy wants kept.
    pub access: KeepAccess,
    /// Fields in front of the keys, in order; see [`standard_aux`].
    pub aux: Vec<(&'static str, String)>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        EncodeOptions {
            dialect: Dialect::Redis(VERSION),
            compression: true,
            checksum: true,
            access: KeepAccess::None,
            aux: Vec::new(),
        }
    }
}

/// Writes a whole snapshot. `now` is the clock for idle times.
///
/// Holds the snapshot only while it runs; the flag to stop is looked at every few keys.
pub fn encode_snapshot(
    snapshot: &mut Snapshot,
    options: &EncodeOptions,
    now: UnixMs,
    progress: &Progress,
    sink: impl FnMut(&mut Vec<u8>) -> io::Result<()>,
) -> Result<Written, EncodeError> {
    let mut encoder = Encoder::new(options, progress, sink)?;
    for database in &mut snapshot.databases {
        encoder.select(
            database.index,
            database.len() as u64,
            database.expires as u64,
        )?;
        let mut result = Ok(());
        database.rewind();
        while result.is_ok()
            && database.visit_next(|found| {
                if result.is_ok() {
                    result = encoder.entry(found, now);
                }
            })
        {}
        result?;
    }
    encoder.finish()
}

/// Which access data is written: it follows maxmemory-policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAccess {
    /// Neither an LRU nor an LFU policy.
    None,
    /// An LRU policy: IDLE.
    Idle,
    /// An LFU policy: FREQ.
    Frequency {
        /// lfu-decay-time.
        decay_minutes: u32,
    },
}

/// Where a replica that loads the file stands in its master's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationPoint {
    /// The database that the stream has selected.
    pub stream_db: i64,
    /// 40 hexadecimal digits.
    pub id: String,
    /// Bytes of the stream that the snapshot contains.
    pub offset: i64,
}

/// The fields that Redis writes, in its order. `version` is the Redis (or Valkey) release reported,
/// `aof_base` tells that the file is the base of an append-only file.
pub fn standard_aux(
    dialect: Dialect,
    version: &str,
    now: UnixMs,
    used_memory_bytes: u64,
    replication: Option<&ReplicationPoint>,
    aof_base: bool,
) -> Vec<(&'static str, String)> {
    let name = match dialect {
        Dialect::Redis(_) => "redis-ver",
        Dialect::Valkey(_) => "valkey-ver",
    };
    let mut aux = vec![
        (name, version.to_string()),
        ("redis-bits", usize::BITS.to_string()),
        ("ctime", (now / 1000).to_string()),
        ("used-mem", used_memory_bytes.to_string()),
    ];
    if let Some(point) = replication {
        aux.push(("repl-stream-db", point.stream_db.to_string()));
        aux.push(("repl-id", point.id.clone()));
        aux.push(("repl-offset", point.offset.to_string()));
    }
    aux.push(("aof-base", u8::from(aof_base).to_string()));
    aux
}

/// Why a stream was not finished.
#[derive(Debug)]
pub enum EncodeError {
    /// The flag was raised.
    Cancelled,
    /// The sink's error.
    Sink(io::Error),
}

impl std::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EncodeError::Cancelled => f.write_str("cancelled"),
            EncodeError::Sink(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EncodeError {}

impl From<io::Error> for EncodeError {
    fn from(error: io::Error) -> Self {
        EncodeError::Sink(error)
    }
}

/// What the encoding thread and the loop share while a stream is written.
#[derive(Debug, Default)]
pub struct Progress {
    /// One of [`RUNS`], [`CANCELLED`], [`COMMITS`], [`COMMITTED`].
    stage: AtomicU8,
    /// Keys written so far (INFO's current_save_keys_processed).
    pub keys: AtomicU64,
}

const RUNS: u8 = 0;
const CANCELLED: u8 = 1;
const COMMITS: u8 = 2;
const COMMITTED: u8 = 3;

impl Progress {
    /// Loop's side: asks the encoder to stop. False when it is too late: the file is getting its name, or has it.
    pub fn cancel(&self) -> bool {
        self.leave(RUNS, CANCELLED) || self.is_cancelled()
    }

    /// Whether the encoder is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == CANCELLED
    }

    /// Helper's side: from now on it cannot be stopped. False when it was.
    pub fn commit(&self) -> bool {
        self.leave(RUNS, COMMITS)
    }

    /// Helper's side: the file has its name, or an error kept it from that.
    pub fn committed(&self) {
        self.leave(COMMITS, COMMITTED);
    }

    /// Loop's side: the file is just getting its name.
    pub fn commits(&self) -> bool {
        self.stage.load(Ordering::Acquire) == COMMITS
    }

    fn leave(&self, from: u8, to: u8) -> bool {
        self.stage
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Keys of all databases.
    pub keys: u64,
    /// Bytes, header and trailer included.
    pub bytes: u64,
}

/// Writes the parts of a stream, in order: [`Encoder::new`], then per database
/// [`Encoder::select`] and its keys, then [`Encoder::finish`].
pub struct Encoder<'a, S> {
    sink: S,
    chunk: Vec<u8>,
    checksum: Option<u64>,
    dialect: Dialect,
    compressor: Option<lzf::Compressor>,
    scratch: Vec<u8>,
    access: KeepAccess,
    progress: &'a Progress,
    written: Written,
}

impl<'a, S> Encoder<'a, S>
where
    S: FnMut(&mut Vec<u8>) -> io::Result<()>,
{
    /// Starts a stream with the header and the AUX fields.
    pub fn new(
        options: &EncodeOptions,
        progress: &'a Progress,
        sink: S,
    ) -> Result<Self, EncodeError> {
        let mut encoder = Encoder::bare(options, progress, sink);
        encoder
            .chunk
            .extend_from_slice(options.dialect.magic().as_bytes());
        let has_aux = options.dialect.is_since(VERSION_AUX);
        for (name, value) in options.aux.iter().filter(|_| has_aux) {
            encoder.chunk.push(opcode::AUX);
            encoder.string(name.as_bytes())?;
            encoder.string(value.as_bytes())?;
        }
        Ok(encoder)
    }

    /// An encoder that has written nothing.
    pub(super) fn bare(options: &EncodeOptions, progress: &'a Progress, sink: S) -> Self {
        let access = match options.dialect.is_since(VERSION_ACCESS) {
            true => options.access,
            false => KeepAccess::None,
        };
        Encoder {
            sink,
            chunk: Vec::new(),
            checksum: options.checksum.then_some(0),
            dialect: options.dialect,
            compressor: options.compression.then(lzf::Compressor::new),
            scratch: Vec::new(),
            access,
            progress,
            written: Written::default(),
        }
    }

    /// A value alone, with its type's byte, flushed.
    pub(super) fn bare_value(mut self, value: ValueRef<'_>) -> Result<(), EncodeError> {
        self.chunk.push(type_code(&value, self.dialect));
        self.value(value)?;
        self.flush()
    }

    /// The keys that follow are of database `db`, which has `keys` of them, `expires` with a
    /// deadline.
    pub fn select(&mut self, db: usize, keys: u64, expires: u64) -> Result<(), EncodeError> {
        self.chunk.push(opcode::SELECTDB);
        push_length(&mut self.chunk, db as u64);
        if self.dialect.is_since(VERSION_AUX) {
            self.chunk.push(opcode::RESIZEDB);
            push_length(&mut self.chunk, keys);
            push_length(&mut self.chunk, expires);
        }
        self.flush_full()
    }

    /// A key of a snapshot.
    #[inline]
    fn entry(&mut self, entry: &Entry, now: UnixMs) -> Result<(), EncodeError> {
        let access = match self.access {
            KeepAccess::None => Access::Unknown,
            KeepAccess::Idle => Access::Idle(access::lru_idle_seconds(entry.access(), now)),
            KeepAccess::Frequency { decay_minutes } => {
                Access::Frequency(access::lfu_counter(entry.access(), now, decay_minutes))
            }
        };
        self.key(entry.key(), ValueRef::of(entry), entry.expire_at(), access)
    }

    /// A key with its value.
    pub fn key(
        &mut self,
        key: &[u8],
        value: ValueRef<'_>,
        expire_at_ms: Option<UnixMs>,
        access: Access,
    ) -> Result<(), EncodeError> {
        if self.written.keys.is_multiple_of(CANCEL_EVERY) {
            self.poll_cancel()?;
        }
        self.written.keys += 1;
        self.attributes(expire_at_ms, access);
        self.chunk.push(type_code(&value, self.dialect));
        self.string(key)?;
        self.value(value)?;
        self.flush_full()
    }

    /// A value without its type's byte.
    fn value(&mut self, value: ValueRef<'_>) -> Result<(), EncodeError> {
        match value {
            ValueRef::String(value) => self.string_value(value),
            ValueRef::Set(SetRef::Ints(ints)) => self.string(ints.bytes()),
            ValueRef::Set(SetRef::Pack(pack)) if !self.dialect.is_since(VERSION_SET_PACKS) => {
                push_length(&mut self.chunk, pack.len() as u64);
                pack.iter()
                    .try_for_each(|item| self.string_value(item.into()))
            }
            ValueRef::Set(SetRef::Pack(pack)) | ValueRef::Zset(ZsetRef::Pack(pack)) => {
                self.string(pack.bytes())
            }
            ValueRef::List(ListRef::Pack(pack)) => {
                push_length(&mut self.chunk, 1);
                push_length(&mut self.chunk, PACKED_CHUNK);
                self.string(pack.bytes())
            }
            ValueRef::List(ListRef::Quick(list)) => {
                let chunks = list.chunks();
                push_length(&mut self.chunk, chunks.len() as u64);
                for chunk in chunks {
                    let form = match chunk.pack() {
                        Some(_) => PACKED_CHUNK,
                        None => PLAIN_CHUNK,
                    };
                    push_length(&mut self.chunk, form);
                    self.string(chunk.payload())?;
                    self.flush_full()?;
                }
                Ok(())
            }
            ValueRef::Set(SetRef::Table(set)) => {
                push_length(&mut self.chunk, set.members().len() as u64);
                self.each(set.members(), |encoder, entry| encoder.string(entry.key()))
            }
            ValueRef::Zset(ZsetRef::Table(zset)) => {
                push_length(&mut self.chunk, zset.len() as u64);
                // The last first, so that who loads it inserts at the front.
                let mut ranks = zset.iter_from(zset.len());
                while let Some((member, score)) = ranks.back() {
                    self.string(member)?;
                    self.chunk.extend_from_slice(&score.to_le_bytes());
                    self.flush_full()?;
                }
                Ok(())
            }
            ValueRef::Hash(hash) => self.hash(hash),
            ValueRef::Stream(stream) => self.stream(stream),
        }
    }

    fn hash(&mut self, hash: HashRef<'_>) -> Result<(), EncodeError> {
        let code = hash_code(hash, self.dialect);
        match (hash, hash.span().0) {
            (_, Some(_)) if code == super::value::HASH_TIMED_VALKEY => self.timed_for_valkey(hash),
            (HashRef::Pack(pack), _) => self.string(pack.bytes()),
            (HashRef::Timed(pack), None) => self.string(&without_deadlines(pack)),
            (HashRef::Timed(pack), Some(first)) => {
                self.chunk.extend_from_slice(&first.to_le_bytes());
                self.string(pack.bytes())
            }
            (HashRef::Table(table), first) => {
                if let Some(first) = first {
                    self.chunk.extend_from_slice(&first.to_le_bytes());
                }
                push_length(&mut self.chunk, table.fields().len() as u64);
                self.each(table.fields(), |encoder, entry| {
                    if let Some(first) = first {
                        let behind = entry.expire_at().map_or(0, |at| at - first + 1);
                        push_length(&mut encoder.chunk, behind as u64);
                    }
                    encoder.string(entry.key())?;
                    encoder.string_value(entry.string())
                })
            }
        }
    }

    /// Fields, values and deadlines as Valkey writes them.
    fn timed_for_valkey(&mut self, hash: HashRef<'_>) -> Result<(), EncodeError> {
        push_length(&mut self.chunk, hash.len() as u64);
        let mut result = Ok(());
        hash.for_each(|field, value, deadline| {
            if result.is_ok() {
                result = self.string_value(field);
            }
            if result.is_ok() {
                result = self.string_value(value);
                let deadline = deadline.unwrap_or(-1);
                self.chunk.extend_from_slice(&deadline.to_le_bytes());
            }
            if result.is_ok() {
                result = self.flush_full();
            }
        });
        result
    }

    /// Blocks, totals, then each group with its pending entries and its consumers.
    fn stream(&mut self, stream: &Stream) -> Result<(), EncodeError> {
        push_length(&mut self.chunk, stream.block_count());
        for (first, block) in stream.blocks() {
            push_length(&mut self.chunk, StreamId::BYTES as u64);
            self.chunk.extend_from_slice(&first.to_bytes());
            self.string(block.bytes())?;
            self.flush_full()?;
        }
        let meta = stream.meta();
        push_length(&mut self.chunk, meta.length);
        for id in [meta.last_id, meta.first_id, meta.max_deleted_id] {
            push_id(&mut self.chunk, id);
        }
        push_length(&mut self.chunk, meta.entries_added);
        let groups = stream.groups();
        push_length(&mut self.chunk, groups.len() as u64);
        for group in groups {
            self.group(group)?;
        }
        Ok(())
    }

    fn group(&mut self, group: &Group) -> Result<(), EncodeError> {
        self.string(&group.name)?;
        push_id(&mut self.chunk, group.last_id);
        push_length(&mut self.chunk, group.entries_read.unwrap_or(u64::MAX));
        push_length(&mut self.chunk, group.pending_count());
        for pending in group.pending_from(StreamId::MIN) {
            self.chunk.extend_from_slice(&pending.id.to_bytes());
            self.chunk
                .extend_from_slice(&pending.delivered_ms.to_le_bytes());
            push_length(&mut self.chunk, pending.count);
            self.flush_full()?;
        }
        push_length(&mut self.chunk, group.consumer_count());
        for (_, consumer) in group.consumers() {
            self.string(&consumer.name)?;
            self.chunk
                .extend_from_slice(&consumer.seen_ms.to_le_bytes());
            if self.dialect.is_since(VERSION_SET_PACKS) {
                let active_ms = consumer.active_ms.unwrap_or(-1);
                self.chunk.extend_from_slice(&active_ms.to_le_bytes());
            }
            push_length(&mut self.chunk, consumer.pending_count());
            for id in consumer.pending_from(StreamId::MIN) {
                self.chunk.extend_from_slice(&id.to_bytes());
                self.flush_full()?;
            }
            self.flush_full()?;
        }
        Ok(())
    }

    /// Writes all entries of a table; stops at the first error.
    fn each(
        &mut self,
        table: &CowTable<Entry>,
        mut write: impl FnMut(&mut Self, &Entry) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut result = Ok(());
        table.for_each(|entry| {
            if result.is_ok() {
                result = write(self, entry).and_then(|()| self.flush_full());
            }
        });
        result
    }

    /// Ends the stream: end mark, checksum, last chunk.
    pub fn finish(mut self) -> Result<Written, EncodeError> {
        self.chunk.push(opcode::EOF);
        self.flush()?;
        if self.dialect.is_since(VERSION_CHECKSUM) {
            self.chunk
                .extend_from_slice(&self.checksum.unwrap_or(0).to_le_bytes());
            self.checksum = None;
            self.flush()?;
        }
        self.progress
            .keys
            .store(self.written.keys, Ordering::Relaxed);
        Ok(self.written)
    }

    fn attributes(&mut self, expire_at_ms: Option<UnixMs>, access: Access) {
        if let Some(at) = expire_at_ms {
            self.chunk.push(opcode::EXPIRETIME_MS);
            self.chunk.extend_from_slice(&at.to_le_bytes());
        }
        match (self.access, access) {
            (KeepAccess::Idle, Access::Idle(seconds)) => {
                self.chunk.push(opcode::IDLE);
                push_length(&mut self.chunk, seconds);
            }
            (KeepAccess::Frequency { .. }, Access::Frequency(counter)) => {
                self.chunk.extend_from_slice(&[opcode::FREQ, counter]);
            }
            (KeepAccess::None | KeepAccess::Idle | KeepAccess::Frequency { .. }, _) => {}
        }
    }

    /// A string in its shortest form.
    fn string(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if let Some(value) = short_int(bytes) {
            push_int32(&mut self.chunk, value);
            return Ok(());
        }
        let length = bytes.len();
        let done = if length <= PLAIN_BYTES_MAX {
            false
        } else if length <= GATHERED_BYTES_MAX {
            self.compressed(bytes)?
        } else {
            self.compressed_pieces(length, || bytes.chunks(PIECE_BYTES))?
        };
        if done {
            return Ok(());
        }
        push_length(&mut self.chunk, length as u64);
        self.raw(bytes)
    }

    /// Writes `bytes` as LZF if that saves space.
    fn compressed(&mut self, bytes: &[u8]) -> Result<bool, EncodeError> {
        let Some(compressor) = &mut self.compressor else {
            return Ok(false);
        };
        self.scratch.clear();
        let Some(count) = compressor.compress(bytes, &mut self.scratch, bytes.len() - 4) else {
            return Ok(false);
        };
        self.chunk.push(string_form::LZF);
        push_length(&mut self.chunk, count as u64);
        push_length(&mut self.chunk, bytes.len() as u64);
        let scratch = std::mem::take(&mut self.scratch);
        self.raw(&scratch)?;
        self.scratch = scratch;
        // One huge value must not cost its size for the rest of the save.
        self.scratch.shrink_to(1 << 20);
        Ok(true)
    }

    /// As [`Encoder::compressed`] for a string of `length` bytes that is too long to be gathered. Streams of pieces, one
    /// behind the other, are the stream of the whole.
    fn compressed_pieces<'p, P: Iterator<Item = &'p [u8]>>(
        &mut self,
        length: usize,
        pieces: impl Fn() -> P,
    ) -> Result<bool, EncodeError> {
        let Some(mut compressor) = self.compressor.take() else {
            return Ok(false);
        };
        let mut total = 0;
        for piece in pieces() {
            if let Err(error) = self.poll_cancel() {
                self.compressor = Some(compressor);
                return Err(error);
            }
            self.scratch.clear();
            total += compressor.stream(piece, &mut self.scratch);
        }
        let saves = length <= COMPRESSED_BYTES_MAX && total <= length - 4;
        let mut result = Ok(saves);
        if saves {
            self.chunk.push(string_form::LZF);
            push_length(&mut self.chunk, total as u64);
            push_length(&mut self.chunk, length as u64);
            for piece in pieces() {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.clear();
                compressor.stream(piece, &mut scratch);
                let written = self.raw(&scratch);
                self.scratch = scratch;
                if let Err(error) = written {
                    result = Err(error);
                    break;
                }
            }
        }
        self.compressor = Some(compressor);
        result
    }

    #[inline]
    fn string_value(&mut self, value: StringRef<'_>) -> Result<(), EncodeError> {
        match value {
            StringRef::Int(value) => self.int(value),
            StringRef::Bytes(bytes) => self.string(bytes),
            StringRef::Chunked(chunks) => self.pieces(chunks),
        }
    }

    fn int(&mut self, value: i64) -> Result<(), EncodeError> {
        if let Ok(value) = i32::try_from(value) {
            push_int32(&mut self.chunk, value);
            return Ok(());
        }
        let mut text = Vec::with_capacity(20);
        crate::base::num::push_i64(&mut text, value);
        push_length(&mut self.chunk, text.len() as u64);
        self.raw(&text)
    }

    /// A string that stands in pieces: gathered for the compressor if it is not too long.
    fn pieces(&mut self, chunks: &Chunks) -> Result<(), EncodeError> {
        let length = chunks.len();
        if self.compressor.is_some() && length <= GATHERED_BYTES_MAX {
            let mut whole = Vec::with_capacity(length);
            StringRef::Chunked(chunks).push_to(&mut whole);
            return self.string(&whole);
        }
        if self.compressed_pieces(length, || chunks.pieces(0, length))? {
            return Ok(());
        }
        push_length(&mut self.chunk, length as u64);
        for piece in chunks.pieces(0, length) {
            self.poll_cancel()?;
            self.raw(piece)?;
        }
        Ok(())
    }

    /// Bytes as they are, in pieces that keep the chunk near its size.
    fn raw(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if bytes.len() <= CHUNK_BYTES {
            self.chunk.extend_from_slice(bytes);
            return self.flush_full();
        }
        for piece in bytes.chunks(CHUNK_BYTES) {
            self.poll_cancel()?;
            self.chunk.extend_from_slice(piece);
            self.flush_full()?;
        }
        Ok(())
    }

    #[inline]
    fn flush_full(&mut self) -> Result<(), EncodeError> {
        if self.chunk.len() < CHUNK_BYTES {
            Ok(())
        } else {
            self.flush()
        }
    }

    fn flush(&mut self) -> Result<(), EncodeError> {
        self.poll_cancel()?;
        if let Some(checksum) = &mut self.checksum {
            *checksum = crc64(*checksum, &self.chunk);
        }
        self.written.bytes += self.chunk.len() as u64;
        (self.sink)(&mut self.chunk)?;
        self.chunk.clear();
        self.chunk.reserve(CHUNK_BYTES + (4 << 10));
        Ok(())
    }

    #[inline]
    fn poll_cancel(&self) -> Result<(), EncodeError> {
        self.progress
            .keys
            .store(self.written.keys, Ordering::Relaxed);
        match self.progress.is_cancelled() {
            true => Err(EncodeError::Cancelled),
            false => Ok(()),
        }
    }
}

/// The byte in front of a key that says how its value is written.
fn type_code(value: &ValueRef<'_>, dialect: Dialect) -> u8 {
    match value {
        ValueRef::String(_) => super::value::STRING,
        ValueRef::List(_) => super::value::QUICKLIST_2,
        ValueRef::Set(SetRef::Ints(_)) => super::value::SET_INTSET,
        ValueRef::Set(SetRef::Pack(_)) if dialect.is_since(VERSION_SET_PACKS) => {
            super::value::SET_LISTPACK
        }
        ValueRef::Set(SetRef::Pack(_) | SetRef::Table(_)) => super::value::SET,
        ValueRef::Zset(ZsetRef::Pack(_)) => super::value::ZSET_LISTPACK,
        ValueRef::Zset(ZsetRef::Table(_)) => super::value::ZSET,
        ValueRef::Hash(hash) => hash_code(*hash, dialect),
        ValueRef::Stream(_) if dialect.is_since(VERSION_SET_PACKS) => super::value::STREAM_3,
        ValueRef::Stream(_) => super::value::STREAM_2,
    }
}

/// The form of a hash: one with deadlines only where a field has one.
fn hash_code(hash: HashRef<'_>, dialect: Dialect) -> u8 {
    match (hash, hash.span().0, dialect) {
        (_, Some(_), Dialect::Valkey(_)) => super::value::HASH_TIMED_VALKEY,
        (HashRef::Timed(_), Some(_), Dialect::Redis(_)) => super::value::HASH_LISTPACK_TIMED,
        (HashRef::Table(_), Some(_), Dialect::Redis(_)) => super::value::HASH_TIMED,
        (HashRef::Table(_), None, _) => super::value::HASH,
        (HashRef::Pack(_) | HashRef::Timed(_), _, _) => super::value::HASH_LISTPACK,
    }
}

/// Appends a length in its shortest form.
pub(super) fn push_length(out: &mut Vec<u8>, length: u64) {
    if length < 1 << 6 {
        out.push(length as u8);
    } else if length < 1 << 14 {
        out.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]);
    } else if let Ok(length) = u32::try_from(length) {
        out.push(0x80);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(0x81);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

fn push_id(out: &mut Vec<u8>, id: StreamId) {
    push_length(out, id.ms);
    push_length(out, id.seq);
}

/// Appends a number in the shortest of the three integer forms.
fn push_int32(out: &mut Vec<u8>, value: i32) {
    if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[string_form::INT8, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(string_form::INT16);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(string_form::INT32);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// The number that a text is the canonical decimal form of, if it fits 32 bits.
#[inline]
fn short_int(text: &[u8]) -> Option<i32> {
    if text.len() > 11 {
        return None;
    }
    crate::base::num::parse_i64(text).and_then(|value| i32::try_from(value).ok())
}
