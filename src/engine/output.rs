//! Output of clients: what commands of others append to it, and its limits.
//!
//! Source: the documentation of `client-output-buffer-limit` and replies of redis-server 8.0.

use super::client::FIXED_OUTPUT_BYTES;
use super::client_line::LineFacts;
use super::{Client, ClientFlags, Engine};
use crate::base::time::UnixMs;
use crate::config::{Config, OutputLimit};
use crate::stats::Stats;

/// Unread output of a client that has not logged in.
const UNAUTHENTICATED_REPLY_BYTES_MAX: usize = 17 * 1024;

impl Engine {
    /// Marks a client for closing when its output is over the limit of its class.
    #[inline]
    pub fn check_output_limit(&mut self, client: &mut Client) {
        let now = self.now();
        if is_over_limit(&self.config, now, client) {
            let facts = LineFacts {
                pubsub: &self.pubsub,
                watched: &self.watched,
                command_name: self.command_name,
                now,
            };
            give_up(&mut self.stats, facts, client);
        }
    }

    /// How long a client's output buffer may get: when it is longer the client is over its hard limit and closed after the
    /// command, so that the rest of a long reply would be made in vain.
    pub fn reply_bytes_max(&self, client: &Client) -> usize {
        match limit_of(&self.config, client).hard_bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes)
                .unwrap_or(usize::MAX)
                .saturating_add(FIXED_OUTPUT_BYTES + client.sent),
        }
    }
}

/// The limit of a client's class.
#[inline]
fn limit_of<'c>(config: &'c Config, client: &Client) -> &'c OutputLimit {
    let limits = &config.client_output_buffer_limit;
    if client.is(ClientFlags::REPLICA) && !client.is(ClientFlags::MONITOR) {
        &limits.replica
    } else if client.is(ClientFlags::PUBSUB) {
        &limits.pubsub
    } else {
        &limits.normal
    }
}

/// Whether a client is to be closed for output over the limit of its class: the hard one, or the soft one for too long.
#[inline]
pub(super) fn is_over_limit(config: &Config, now: UnixMs, client: &mut Client) -> bool {
    if client.unsent() <= FIXED_OUTPUT_BYTES {
        client.soft_limit_since_ms = 0;
        return false;
    }
    let limit = limit_of(config, client);
    let bytes = client.limited_bytes() as u64;
    let over_hard = limit.hard_bytes > 0 && bytes > limit.hard_bytes;
    let over_soft = limit.soft_bytes > 0 && bytes > limit.soft_bytes;
    if !over_soft {
        client.soft_limit_since_ms = 0;
    } else if client.soft_limit_since_ms == 0 {
        client.soft_limit_since_ms = now;
    }
    let soft_too_long =
        over_soft && now - client.soft_limit_since_ms > limit.soft_seconds.saturating_mul(1000);
    // A client that has not logged in and does not read must not grow: Redis allows its first 16 KiB and 1 KiB more.
    let silent_stranger =
        client.unsent() > UNAUTHENTICATED_REPLY_BYTES_MAX && !client.is_admitted(config);
    (over_hard || soft_too_long || silent_stranger)
        && !client.is(ClientFlags::CLOSE_ASAP | ClientFlags::MASTER)
}

/// Marks a client for closing, with a line in the log.
#[cold]
pub(super) fn give_up(stats: &mut Stats, facts: LineFacts<'_>, client: &mut Client) {
    log::warn!(
        "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
        facts.text(client, None)
    );
    stats.client_output_buffer_limit_disconnections += 1;
    client.flags.insert(ClientFlags::CLOSE_ASAP);
}
