//! The wire tests: real server processes on loopback, real bytes, one binary.
//!
//! One module per area. To add one: `mod area;` below and `tests/wire/area.rs`:
//!
//! ```ignore
//! use crate::harness::{Peer, Server};
//!
//! #[test]
//! fn a_replica_follows() {
//!     let primary = Server::start(&["--maxmemory", "100mb"]);      // the target; free port, own directory
//!     let mut client = primary.client();
//!     assert_eq!(client.text("SET k \"a b\""), "OK");               // words are split as in an inline command
//!     assert_eq!(client.call(&[b"GET", b"\xff"]), Value::Null);     // or any bytes
//!     let Some(peer) = Peer::Redis8.start(&[]) else { return };     // prints `skipped: …` when absent
//! }
//! ```
//!
//! `WIRE_TARGET=/path/to/redis-server cargo test --test wire` runs the same tests against another server, which is how
//! to see whether an expectation is Redis's. Peers are looked for in `$PEERS/bin`, `~/.cache/peers/bin` and
//! `PATH`; only some redis-server (7.0 or newer) is required.
#![allow(clippy::unwrap_used)]

mod bitmap;
mod blocking;
mod clients;
mod collections;
mod configuration;
mod crash;
mod differential;
mod exchange;
mod expire;
mod families;
mod generic;
mod harness;
mod hash_expire;
mod hyperloglog;
mod introspection;
mod later;
mod limits;
mod list;
mod logging;
mod migrate;
mod notifications;
mod pair;
mod parser;
mod persistence;
mod propagation;
mod protocol;
mod pubsub;
#[path = "../random/mod.rs"]
mod random;
mod reference;
mod replication;
mod shutdown;
mod sort;
mod startup;
mod stream;
mod string;
mod zset;
