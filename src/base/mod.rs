//! What any program might need: numbers as text, glob, checksums, random numbers, hashing, time types.
//!
//! Everything here is pure: bytes and numbers in, bytes and numbers out.

pub mod crc64;
pub mod glob;
pub mod grisu;
pub mod hash;
pub mod long_double;
pub mod num;
pub mod prng;
pub mod quote;
pub mod time;
