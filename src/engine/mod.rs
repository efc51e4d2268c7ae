//! The state that commands see: clients, databases, the replication stream; data and invariants, no dispatch.
