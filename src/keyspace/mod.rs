//! Databases: look-up, expiry, watched keys, snapshots.

mod chain;
pub mod expiry;
