//! `Context`, `Args`, and one file per command family: its `COMMANDS` rows, then its handlers.
//!
//! To add a command: a row and a function in its family's file. To add a family: a file, and its
//! `COMMANDS` in [`FAMILIES`].

mod args;
mod context;
mod error;
mod row;
mod table;
mod texts;

mod bitmap;
pub mod client;
mod cluster;
pub mod config;
pub mod connection;
pub mod database;
pub mod debug;
mod digest;
pub mod docs;
mod dump;
mod expire;
pub mod generic;
mod geo;
mod hash;
mod hash_expire;
mod hyperloglog;
mod increx;
pub mod info;
pub mod introspection;
mod lcs;
mod list;
mod list_move;
mod memory;
mod migrate;
mod module;
pub mod monitoring;
mod object;
pub mod persistence;
mod pubsub;
pub mod replication;
mod sample;
mod scan;
mod set;
mod sort;
mod stream;
mod stream_group;
mod stream_info;
mod stream_read;
pub mod string;
pub mod transaction;
mod zset;
mod zset_algebra;
mod zset_pop;
mod zset_range;

pub use args::Args;
pub use context::Context;
pub use error::CommandError;
pub use row::*;
pub use table::{CommandTable, Registered, rename, table};

/// The rows of all families, in no particular order.
pub const FAMILIES: &[&[Command]] = &[
    bitmap::COMMANDS,
    client::COMMANDS,
    cluster::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
    hyperloglog::COMMANDS,
    info::COMMANDS,
    introspection::COMMANDS,
    memory::COMMANDS,
    replication::COMMANDS,
    monitoring::COMMANDS,
    connection::COMMANDS,
    database::COMMANDS,
    dump::COMMANDS,
    expire::COMMANDS,
    generic::COMMANDS,
    geo::COMMANDS,
    hash::COMMANDS,
    hash_expire::COMMANDS,
    list::COMMANDS,
    list_move::COMMANDS,
    migrate::COMMANDS,
    module::COMMANDS,
    object::COMMANDS,
    persistence::COMMANDS,
    pubsub::COMMANDS,
    set::COMMANDS,
    sort::COMMANDS,
    stream::COMMANDS,
    stream_group::COMMANDS,
    stream_info::COMMANDS,
    stream_read::COMMANDS,
    string::COMMANDS,
    transaction::COMMANDS,
    zset::COMMANDS,
    zset_algebra::COMMANDS,
    zset_pop::COMMANDS,
    zset_range::COMMANDS,
];

/// The handler of a command that is only a container, which is never reached: a container needs a subcommand, and an
/// unknown one is answered by the look-up.
fn container(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    Err(ctx.wrong_arity())
}
