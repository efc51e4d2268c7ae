//! Values and their encodings; no protocol, no I/O.
//!
//! [`entry`] is the one allocation that holds a key and its value; [`string`] what can be read of a
//! string; [`bitmap`] and [`hyperloglog`] what is done with its bits and bytes; [`chunks`] strings above 64 KiB;
//! [`access`] the word that LRU and LFU keep.
//!
//! A collection is small (bytes of a [`crate::container::Pack`] or [`crate::container::IntSet`] in the entry) or
//! [`large`] (copy-on-write containers, boxed); [`body`] is what its type's file ([`hash`], [`set`], …) changes it
//! through. Each of these has a `…Ref` for reading and a `…Mut` for writing, which know all encodings; elements are
//! read as [`StringRef`]. A [`stream`] is always large.
//! A new type is a new [`Kind`], and every `match` on it stops compiling until it is handled.

pub mod access;
pub mod bitmap;
pub mod body;
pub mod chunks;
pub mod entry;
pub mod geo;
pub mod hash;
mod hash_table;
pub mod hyperloglog;
pub mod large;
pub mod limits;
pub mod list;
pub mod set;
pub mod sizes;
pub mod stream;
pub mod string;
mod table;
pub mod times;
pub mod zset;
mod zset_table;

pub use body::BodyMut;
pub use chunks::Chunks;
pub use entry::{Entry, Kind, Value};
pub use hash::{HashMut, HashRef, HashView};
pub use large::Large;
pub use limits::Limits;
pub use list::{ListLimit, ListMut, ListRef};
pub use set::{SetLimits, SetMut, SetRef};
pub use stream::{Stream, StreamId, StreamMut};
pub use string::StringRef;
pub use times::{Times, Ttl};
pub use zset::{ZsetIter, ZsetMut, ZsetRef};
pub use zset_table::ZsetTable;

/// A value for reading, by its type.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// A string.
    String(StringRef<'a>),
    /// A list.
    List(ListRef<'a>),
    /// A set.
    Set(SetRef<'a>),
    /// A sorted set.
    Zset(ZsetRef<'a>),
    /// A hash.
    Hash(HashRef<'a>),
    /// A stream.
    Stream(&'a Stream),
}

impl<'a> ValueRef<'a> {
    /// The value of an entry.
    pub fn of(entry: &'a Entry) -> ValueRef<'a> {
        match entry.kind() {
            Kind::String => ValueRef::String(entry.string()),
            Kind::List => ValueRef::List(ListRef::of(entry)),
            Kind::Set => ValueRef::Set(SetRef::of(entry)),
            Kind::Zset => ValueRef::Zset(ZsetRef::of(entry)),
            Kind::Hash => ValueRef::Hash(HashRef::of(entry)),
            Kind::Stream => ValueRef::Stream(Stream::of(entry)),
        }
    }
}
