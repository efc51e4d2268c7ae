//! Replication state machines: events in, actions out; no socket, clock or file.
//!
//! - [`id`]: replication ids and the pair a node keeps across a failover.
//! - [`stream`]: the log of bytes that replicas read: backlog and output buffer in one.
//! - [`source`]: the master's side: one record per replica, full-sync jobs, acknowledgements.
//! - [`replica`]: the replica's side: handshake, payload framing, the applied offset.
//! - [`role`]: [`Replication`](role::Replication), which ties them together: REPLICAOF, promotion,
//!   the decision between partial and full synchronisation, the once-a-second cron.
//!
//! Offsets count bytes: offset `n` stands *after* byte number `n` and before byte `n + 1`, so
//! `master_repl_offset` is the offset of the stream's end and `PSYNC id m` asks for the bytes
//! from offset `m - 1` on. Everything here says "offset" in that sense; only the texts that
//! leave the process (PSYNC's argument, `second_repl_offset`,
//! `repl_backlog_first_byte_offset`) name the next byte, and are converted at the border.
//!
//! Behaviour follows the replies of running Redis 8.0 and Valkey 9.1 servers and
//! <https://redis.io/docs/latest/operate/oss_and_stack/management/replication/>.

pub mod id;
pub mod replica;
pub mod role;
pub mod source;
pub mod stream;
