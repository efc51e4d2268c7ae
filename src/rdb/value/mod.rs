//! The types of value: one row each, and for those that can be loaded one file each.
//!
//! A value may be larger than what is there of the stream. `start` reads its head and gives
//! either the whole value or a state, whose `step` gives records as bytes come in; memory stays
//! bounded by a piece of it.
//!
//! To add a type: a file with its state, an arm in [`State`], `start: Some(…)` in its row.

mod blob;
pub(super) mod collection;
pub(super) mod stream;
pub(super) mod string;

use super::Dialect;
use super::decode::{Batch, Value};
use super::reader::{Reader, Stop};

/// The bytes of the types that are written.
pub const STRING: u8 = 0;
/// A set's members.
pub const SET: u8 = 2;
/// A sorted set's members and scores in binary.
pub const ZSET: u8 = 5;
/// A hash's fields and values.
pub const HASH: u8 = 4;
/// A sorted run of integers.
pub const SET_INTSET: u8 = 11;
/// A pack of fields and values.
pub const HASH_LISTPACK: u8 = 16;
/// A pack of members and scores.
pub const ZSET_LISTPACK: u8 = 17;
/// A list's chunks.
pub const QUICKLIST_2: u8 = 18;
/// A stream's blocks and groups.
pub const STREAM_2: u8 = 19;
/// A pack of members.
pub const SET_LISTPACK: u8 = 20;
/// A stream's blocks and groups, with when consumers were active.
pub const STREAM_3: u8 = 21;
/// A hash's fields and values, with deadlines, as VALKEY has them.
pub const HASH_TIMED_VALKEY: u8 = 22;
/// A hash's fields and values, with deadlines, as REDIS has them.
pub const HASH_TIMED: u8 = 24;
/// A pack of fields, values and deadlines.
pub const HASH_LISTPACK_TIMED: u8 = 25;

/// A type of value in a file.
pub struct Type {
    /// The byte in front of the key.
    pub code: u8,
    /// Which magic it has this meaning under.
    pub under: Under,
    /// Its name, as `redis-check-rdb` prints it.
    pub name: &'static str,
    /// Reads the head of a value; `None`: cannot be loaded yet.
    pub(super) start: Option<Start>,
}

/// Reads the head of a value, strings bounded by `bytes_max`.
pub(super) type Start = fn(&mut Reader<'_>, u64, &mut Batch) -> Result<Started, Stop>;

/// What the head of a value gave.
pub(super) struct Started {
    /// The value, or its first piece.
    pub value: Value,
    /// What reads the rest.
    pub rest: Option<State>,
}

/// A value whose rest is still to be read.
#[derive(Debug)]
pub(super) enum State {
    /// A long string.
    String(string::State),
    /// A collection that comes element by element.
    Collection(collection::State),
    /// A stream.
    Stream(stream::State),
}

impl State {
    /// Reads on, strings bounded by `bytes_max`; true when the value is whole.
    pub fn step(
        &mut self,
        reader: &mut Reader<'_>,
        bytes_max: u64,
        batch: &mut Batch,
    ) -> Result<bool, Stop> {
        match self {
            State::String(state) => state.step(reader, batch),
            State::Collection(state) => state.step(reader, bytes_max, batch),
            State::Stream(state) => state.step(reader, bytes_max, batch),
        }
    }
}

/// Which magic a code belongs to: REDIS and VALKEY went apart after version 11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// Both.
    Both,
    /// REDIS only.
    Redis,
    /// VALKEY only.
    Valkey,
}

const fn row(code: u8, under: Under, name: &'static str, start: Option<Start>) -> Type {
    Type {
        code,
        under,
        name,
        start,
    }
}

/// All types, by their byte.
pub const TYPES: &[Type] = &[
    row(STRING, Under::Both, "string", Some(string::start)),
    row(1, Under::Both, "list-linked", Some(collection::list)),
    row(SET, Under::Both, "set-hashtable", Some(collection::set)),
    row(3, Under::Both, "zset-v1", Some(collection::zset_text)),
    row(HASH, Under::Both, "hash-hashtable", Some(collection::hash)),
    row(ZSET, Under::Both, "zset-v2", Some(collection::zset)),
    row(6, Under::Both, "module-pre-release", None),
    row(7, Under::Both, "module-value", None),
    row(9, Under::Both, "hash-zipmap", Some(collection::hash_zipmap)),
    row(
        10,
        Under::Both,
        "list-ziplist",
        Some(collection::list_ziplist),
    ),
    row(
        SET_INTSET,
        Under::Both,
        "set-intset",
        Some(collection::set_ints),
    ),
    row(
        12,
        Under::Both,
        "zset-ziplist",
        Some(collection::zset_ziplist),
    ),
    row(
        13,
        Under::Both,
        "hash-ziplist",
        Some(collection::hash_ziplist),
    ),
    row(14, Under::Both, "quicklist", Some(collection::quicklist)),
    row(15, Under::Both, "stream", Some(stream::start_1)),
    row(
        HASH_LISTPACK,
        Under::Both,
        "hash-listpack",
        Some(collection::hash_pack),
    ),
    row(
        ZSET_LISTPACK,
        Under::Both,
        "zset-listpack",
        Some(collection::zset_pack),
    ),
    row(
        QUICKLIST_2,
        Under::Both,
        "quicklist-v2",
        Some(collection::quicklist2),
    ),
    row(STREAM_2, Under::Both, "stream-v2", Some(stream::start_2)),
    row(
        SET_LISTPACK,
        Under::Both,
        "set-listpack",
        Some(collection::set_pack),
    ),
    row(STREAM_3, Under::Both, "stream-v3", Some(stream::start_3)),
    row(
        22,
        Under::Redis,
        "hash-hashtable-md-pre-release",
        Some(collection::hash_timed_old),
    ),
    row(
        HASH_TIMED_VALKEY,
        Under::Valkey,
        "hash-v2",
        Some(collection::hash_timed_valkey),
    ),
    row(
        23,
        Under::Redis,
        "hash-listpack-md-pre-release",
        Some(collection::hash_timed_pack_old),
    ),
    row(
        HASH_TIMED,
        Under::Redis,
        "hash-hashtable-md",
        Some(collection::hash_timed),
    ),
    row(
        HASH_LISTPACK_TIMED,
        Under::Redis,
        "hash-listpack-md",
        Some(collection::hash_timed_pack),
    ),
];

/// The row of a byte under a magic.
pub(super) fn find(code: u8, dialect: Dialect) -> Option<&'static Type> {
    TYPES.iter().find(|row| {
        row.code == code
            && match (row.under, dialect) {
                (Under::Both, _) => true,
                (Under::Redis, Dialect::Redis(_)) | (Under::Valkey, Dialect::Valkey(_)) => true,
                (Under::Redis, Dialect::Valkey(_)) | (Under::Valkey, Dialect::Redis(_)) => false,
            }
    })
}
