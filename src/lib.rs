//! redoxide: a drop-in `redis-server`.
//!
//! This is the map of the rooms. A room imports only rooms on lower floors; rooms on one
//! floor do not import each other. `tests/floors.rs` reads the `use crate::` lines and holds this.
//!
//! | floor | rooms | invariant |
//! |---|---|---|
//! | 0 | [`base`], [`sys`] | `base` is pure; only `sys` talks to the operating system |
//! | 1 | [`container`], [`resp`] | `container` holds the copy-on-write blocks and all unsafe that owns them; `resp` reads hostile bytes and never panics |
//! | 2 | [`types`], [`config`], [`stats`] | values, directives and counters; no protocol, no I/O |
//! | 3 | [`keyspace`] | databases and snapshots; no command, no client |
//! | 4 | [`rdb`] | the file format, byte by byte |
//! | 5 | [`replication`] | state machines: events in, actions out; no socket |
//! | 6 | [`engine`] | the state that commands see; data and invariants, no dispatch |
//! | 7 | [`command`] | one file per family: its rows, then its handlers |
//! | 8 | [`dispatch`] | the machine's entry: look-up, guards, call, transactions, propagation, cron |
//! | 9 | [`server`] | the mio loop, sockets, helper threads, start-up and shutdown |
//!
//! Nothing below `server` reads a clock, opens a file or touches a socket: what must, asks
//! [`engine::Host`]. One thread runs everything that a client can see; helper threads only
//! ever hold immutable snapshots or values to drop.

pub mod base;
pub mod command;
pub mod config;
pub mod container;
pub mod dispatch;
pub mod engine;
pub mod keyspace;
pub mod rdb;
pub mod replication;
pub mod resp;
pub mod server;
pub mod stats;
pub mod sys;
pub mod types;
