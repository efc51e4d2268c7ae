//! The directive table, the redis.conf syntax, CONFIG GET/SET/REWRITE.
//!
//! [`Config`] has a typed field for every directive, made from the rows of `table.rs`; reading a
//! setting is reading a field. [`Config::load`] reads the file and the command line,
//! [`Config::get`], [`Config::set`] and [`Config::rewrite`] are the commands' work. Nothing here
//! opens a file or applies a change: the shell does, and rolls back when it cannot.

mod access;
mod check;
mod load;
mod rewrite;
mod special;
mod table;
mod value;

pub use access::{Change, SetContext, SetError};
pub use load::{Files, Line, LoadError, Rename};
pub use special::{
    Bind, MemoryOrPercent, NotifyEvents, OctalMode, OomScores, OutputLimit, OutputLimits,
    Percentiles, ReplicaOf, SavePoint, SavePoints, ShutdownOptions, percent_text,
};
pub use table::{
    Config, DENY_LOADING, DIRECTIVES, Directive, Effect, HIDDEN, IMMUTABLE, Id, MULTI_ARG,
    PROTECTED, SENSITIVE, find,
};
pub use value::{
    AclPubsubDefault, AppendFsync, DisklessLoad, EndpointType, LogLevel, MaxmemoryPolicy,
    OomScoreAdj, Permit, PropagationError, SanitizeDump, Supervised, SyslogFacility, Text,
    TlsAuthClients,
};

/// The Redis release whose behaviour this server follows.
pub const REDIS_VERSION: &str = "8.0.6";
