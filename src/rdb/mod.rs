//! The RDB format, byte by byte: encode, decode, check, and the payload of DUMP and RESTORE.
//!
//! Source: Redis's and Valkey's public documentation of the format, and files that redis-server
//! 7.0 and 8.0 and valkey-server 9.1 wrote. Nothing here opens a file or reads a clock.
//!
//! # A file
//!
//! ```text
//! file    = magic record* 0xFF trailer
//! magic   = "REDIS" 4 digits         versions 1..=12; here 11 is written, 12 if fields have deadlines
//!         | "VALKEY" 3 digits        version 80
//! trailer = 8 bytes                  CRC64 (Jones) of all bytes before it, little endian;
//!                                    zeros: not computed (rdbchecksum no); absent before version 5
//! record  = 0xFE length              SELECTDB: the database of the keys that follow
//!         | 0xFB length length       RESIZEDB: its keys, and how many of them have a deadline
//!         | 0xFA string string       AUX: name and value; unknown names are ignored
//!         | 0xF4 length ×3           SLOT_INFO: slot, keys, deadlines; a hint, ignored
//!         | 0xF5 string              FUNCTION2: a library's source; refused until functions exist, passed over by a check
//!         | 0xF6 …                   FUNCTION of a release candidate: refused, as in Redis
//!         | 0xF3 …                   SLOT_IMPORT of Valkey: refused, it is of a cluster
//!         | 0xF7 …                   MODULE_AUX: refused
//!         | attribute* type string value        a key
//! attribute = 0xFC 8 bytes           EXPIRETIME_MS: deadline, Unix milliseconds, little endian
//!         | 0xFD 4 bytes             EXPIRETIME: the same in seconds (old files)
//!         | 0xF8 length              IDLE: seconds since the last access (LRU policies)
//!         | 0xF9 1 byte              FREQ: the access counter (LFU policies)
//! type    = 1 byte, see `value::TYPES`; 0 is a string
//!
//! length  = 00LLLLLL                 6 bits
//!         | 01LLLLLL LLLLLLLL        14 bits, big endian
//!         | 0x80 4 bytes             32 bits, big endian
//!         | 0x81 8 bytes             64 bits, big endian
//! string  = length bytes
//!         | 0xC0 1 byte              a decimal number, from 8 bits
//!         | 0xC1 2 bytes             from 16 bits, little endian
//!         | 0xC2 4 bytes             from 32 bits, little endian
//!         | 0xC3 length length …     LZF: compressed bytes, bytes they stand for, then the stream
//! ```
//!
//! # A DUMP payload
//!
//! ```text
//! type value, version (2 bytes, little endian), CRC64 of all before (8 bytes, little endian)
//! ```
//!
//! # Reading order
//!
//! `lzf` compression; `encode` a snapshot into chunks; `value` one row and one file per type of
//! value; `decode` chunks into batches of records; `load` batches into a keyspace in slices, `make` collections there;
//! `payload` DUMP and RESTORE; `check` what `redis-check-rdb` prints.
//! A new type of value: its file under `value/`, its row in `value::TYPES`, its arm in
//! `encode::Encoder::value` (which does not compile without it).

// This room reads hostile bytes.
#![deny(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

pub mod check;
pub mod decode;
pub mod encode;
pub mod error;
#[cfg(test)]
mod fuzz;
pub mod load;
pub mod lzf;
mod make;
pub mod payload;
mod reader;
pub mod value;

pub use error::{RdbError, RdbErrorKind};
pub use reader::Span;

/// The version of the files we write by default.
pub const VERSION: u16 = 11;
/// The version that we write to a replica that may be Redis 7.0, which reads no newer one.
pub const VERSION_OLD: u16 = 10;
/// The version of the files we write if a hash has fields with deadlines.
pub const VERSION_TIMED: u16 = 12;
/// The newest REDIS version we read.
pub const VERSION_MAX: u16 = 12;
/// The version of the VALKEY files we read, and write to a peer that is Valkey 9 or newer.
pub const VERSION_VALKEY: u16 = 80;
/// The first version with a checksum behind the end.
const VERSION_CHECKSUM: u16 = 5;
/// The first version with AUX and RESIZEDB records.
const VERSION_AUX: u16 = 7;
/// The first version with packs of members and with when consumers were active.
const VERSION_SET_PACKS: u16 = 11;
/// The first version with IDLE and FREQ attributes.
const VERSION_ACCESS: u16 = 9;

/// The byte that a record starts with, where it is not the type of a key.
mod opcode {
    pub const SLOT_IMPORT: u8 = 0xf3;
    pub const SLOT_INFO: u8 = 0xf4;
    pub const FUNCTION2: u8 = 0xf5;
    pub const FUNCTION_PRE_GA: u8 = 0xf6;
    pub const MODULE_AUX: u8 = 0xf7;
    pub const IDLE: u8 = 0xf8;
    pub const FREQ: u8 = 0xf9;
    pub const AUX: u8 = 0xfa;
    pub const RESIZEDB: u8 = 0xfb;
    pub const EXPIRETIME_MS: u8 = 0xfc;
    pub const EXPIRETIME: u8 = 0xfd;
    pub const SELECTDB: u8 = 0xfe;
    pub const EOF: u8 = 0xff;
}

/// The forms of a string that are not a length and bytes.
mod string_form {
    pub const INT8: u8 = 0xc0;
    pub const INT16: u8 = 0xc1;
    pub const INT32: u8 = 0xc2;
    pub const LZF: u8 = 0xc3;
}

/// Which program's files, and which version of them: types above 21 mean different things in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `REDIS` and the version.
    Redis(u16),
    /// `VALKEY` and the version.
    Valkey(u16),
}

impl Dialect {
    /// The nine bytes that a file starts with.
    fn magic(self) -> String {
        match self {
            Dialect::Redis(version) => format!("REDIS{version:04}"),
            Dialect::Valkey(version) => format!("VALKEY{version:03}"),
        }
    }

    /// True from that REDIS version on, and for VALKEY.
    fn is_since(self, since: u16) -> bool {
        match self {
            Dialect::Redis(version) => version >= since,
            Dialect::Valkey(_) => true,
        }
    }

    /// The version alone, as a DUMP payload's footer has it.
    pub fn version(self) -> u16 {
        match self {
            Dialect::Redis(version) | Dialect::Valkey(version) => version,
        }
    }
}

/// What an eviction policy wants kept of a key's accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Nothing.
    #[default]
    Unknown,
    /// Seconds since the last access.
    Idle(u64),
    /// The logarithmic counter.
    Frequency(u8),
}
