//! Replication state machines: events in, actions out.
