//! A client as CLIENT LIST and the log show it.
//!
//! Source: the documentation of CLIENT LIST and replies of redis-server 8.0.

use std::fmt::Write;

use super::{Blocked, Client, ClientFlags, CommandId, Engine, FIXED_OUTPUT_BYTES, PubSub, Watched};
use crate::base::time::UnixMs;

/// What a client's line tells that the client itself does not know.
#[derive(Clone, Copy)]
pub(super) struct LineFacts<'e> {
    pub pubsub: &'e PubSub,
    pub watched: &'e Watched,
    pub command_name: fn(CommandId) -> &'static str,
    pub now: UnixMs,
}

impl LineFacts<'_> {
    /// Memory that the client takes, its buffers and subscriptions included.
    pub fn bytes(&self, client: &Client) -> usize {
        client.memory_bytes() + self.pubsub.bytes_of(client.link)
    }

    /// The client's line as text.
    pub fn text(&self, client: &Client, running: Option<usize>) -> String {
        let mut line = Vec::new();
        self.describe(client, running, &mut line);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Appends a client's line, without its end. `running`: the bytes of the arguments of the command that it runs, whose
    /// reply the line is part of.
    pub fn describe(&self, client: &Client, running: Option<usize>, out: &mut Vec<u8>) {
        let mut flags = String::new();
        let letters = [
            (ClientFlags::MONITOR, 'O'),
            (ClientFlags::REPLICA, 'S'),
            (ClientFlags::MASTER, 'M'),
            (ClientFlags::PUBSUB, 'P'),
            (ClientFlags::MULTI, 'x'),
            (ClientFlags::BLOCKED, 'b'),
            (ClientFlags::DIRTY_CAS, 'd'),
            (ClientFlags::CLOSE_AFTER_REPLY, 'c'),
            (ClientFlags::CLOSE_ASAP, 'A'),
            (ClientFlags::UNIX_SOCKET, 'U'),
            (ClientFlags::READONLY, 'r'),
            (ClientFlags::NO_EVICT, 'e'),
            (ClientFlags::NO_TOUCH, 'T'),
        ];
        flags.extend(
            letters
                .iter()
                .filter(|(flag, _)| client.is(*flag))
                .map(|(_, letter)| letter),
        );
        if flags.is_empty() {
            flags.push('N');
        }
        let now = self.now;
        let multi = if client.is(ClientFlags::MULTI) {
            client.transaction.commands.len() as i64
        } else {
            -1
        };
        let output = client.reply.buf.capacity();
        let (unsent, blocks) = (client.unsent(), client.output_blocks());
        let memory = self.bytes(client);
        let PubSub {
            channels,
            patterns,
            shard_channels,
        } = self.pubsub;
        let command = match client.last_command {
            Some(id) => (self.command_name)(id),
            None => "NULL",
        };
        // The arguments of a command that waits are kept; those of one that is not complete are part of its input.
        let kept = match &client.blocked {
            Some(Blocked::Keys(wait)) => wait.command.bytes.len(),
            _ => 0,
        };
        let mut head = String::with_capacity(400);
        // Writing to a String cannot fail.
        let _ = write!(
            head,
            "id={} addr={} laddr={} fd={} name=",
            client.id, client.peer, client.local, client.fd
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&client.name);
        head.clear();
        let _ = write!(
            head,
            " age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi={multi} watch={} qbuf={} qbuf-free={} \
             argv-mem={} multi-mem={} rbs={output} rbp={output} obl={} oll={} omem={} tot-mem={memory} \
             events={} cmd={command} user=",
            (now - client.created_ms).max(0) / 1000,
            (now - client.active_ms).max(0) / 1000,
            client.db,
            channels.count_of(client.link),
            patterns.count_of(client.link),
            shard_channels.count_of(client.link),
            self.watched.count_of(client.link),
            client.query.len() + client.running_bytes,
            client.query.capacity() - client.query.len(),
            running.unwrap_or(kept),
            client.transaction.bytes,
            unsent.min(FIXED_OUTPUT_BYTES),
            blocks,
            client.limited_bytes(),
            if unsent > 0 && running.is_none() {
                "rw"
            } else {
                "r"
            },
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&client.user);
        out.extend_from_slice(if client.reply.is_resp3() {
            b" redir=-1 resp=3 lib-name="
        } else {
            b" redir=-1 resp=2 lib-name="
        });
        out.extend_from_slice(&client.lib_name);
        out.extend_from_slice(b" lib-ver=");
        out.extend_from_slice(&client.lib_ver);
        out.extend_from_slice(b" io-thread=0");
    }
}

impl Engine {
    pub(super) fn line_facts(&self) -> LineFacts<'_> {
        LineFacts {
            pubsub: &self.pubsub,
            watched: &self.watched,
            command_name: self.command_name,
            now: self.now(),
        }
    }

    /// Appends a client's line, without its end. `running`: the bytes of the arguments of the command that it runs, whose
    /// reply the line is part of.
    pub fn describe(&self, client: &Client, running: Option<usize>, out: &mut Vec<u8>) {
        self.line_facts().describe(client, running, out);
    }

    /// A client's line as text, for the log.
    pub fn described(&self, client: &Client, running: Option<usize>) -> String {
        self.line_facts().text(client, running)
    }
}
