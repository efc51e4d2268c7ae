//! Databases: look-up, expiry, watched keys, snapshots.
