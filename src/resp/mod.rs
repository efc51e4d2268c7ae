//! Incremental RESP2/RESP3 request parser and reply writer.
//!
//! The room reads hostile bytes: no unsafe, no indexing that can panic.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod parser;
pub mod reply;
