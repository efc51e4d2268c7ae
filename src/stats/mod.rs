//! Counters, latency monitor, slow log.
