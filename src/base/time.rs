//! Time types. Nothing here reads a clock: instants are arguments.

/// Milliseconds since the Unix epoch, as keys' deadlines are stored and sent.
pub type UnixMs = i64;

/// Microseconds since the Unix epoch, as TIME and the statistics count.
pub type UnixUs = i64;
