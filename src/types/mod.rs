//! Values and their encodings; no protocol, no I/O.
//!
//! [`entry`] is the one allocation that holds a key and its value; [`string`] what can be read of a
//! string; [`chunks`] strings above 64 KiB; [`access`] the word that LRU and LFU keep.
//! A new type is a new [`Kind`], and every `match` on it stops compiling until it is handled.

pub mod access;
pub mod chunks;
pub mod entry;
pub mod string;

pub use chunks::Chunks;
pub use entry::{Entry, Kind, Value};
pub use string::StringRef;
