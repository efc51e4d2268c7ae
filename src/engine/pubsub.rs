//! Publish/subscribe: who hears of which channels, how a message gets to them, and the keyspace's own messages.
//!
//! A message is encoded once for all who subscribed to the same name, and its bytes are appended to their outputs. What
//! is for a running client is kept until its command, or its transaction, has been answered.
//!
//! Invariants: a client has [`ClientFlags::PUBSUB`] exactly while it has a subscription of any kind; between units
//! nothing is kept.
//!
//! Source of the behaviour: the documentation of Pub/Sub and keyspace notifications, and replies of redis-server 8.0.

use super::client_line::LineFacts;
use super::output::{give_up, is_over_limit};
use super::propagation::encode_command;
use super::{Client, ClientFlags, Clients, Engine, EventClass, LinkId, Subscriptions};
use crate::base::glob;
use crate::config::{Config, NotifyEvents};
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::stats::Stats;

/// Buffers keep room for so many bytes, or messages, when they are empty.
const KEPT_BYTES: usize = 64 * 1024;
const KEPT_MESSAGES: usize = 1024;

/// Clients that get no messages.
const DEAF: ClientFlags = ClientFlags::CLOSE_ASAP
    .union(ClientFlags::CLOSE_AFTER_REPLY)
    .union(ClientFlags::MASTER);

/// All subscriptions.
#[derive(Default)]
pub struct PubSub {
    /// SUBSCRIBE.
    pub channels: Subscriptions,
    /// PSUBSCRIBE.
    pub patterns: Subscriptions,
    /// SSUBSCRIBE.
    pub shard_channels: Subscriptions,
}

impl PubSub {
    /// Subscriptions of a client to channels and patterns, which are counted together.
    pub fn count_of(&self, link: LinkId) -> usize {
        self.channels.count_of(link) + self.patterns.count_of(link)
    }

    /// Whether a client has a subscription of any kind.
    pub fn has(&self, link: LinkId) -> bool {
        self.count_of(link) + self.shard_channels.count_of(link) > 0
    }

    /// Bytes that a client's subscriptions take.
    pub fn bytes_of(&self, link: LinkId) -> usize {
        self.channels.bytes_of(link)
            + self.patterns.bytes_of(link)
            + self.shard_channels.bytes_of(link)
    }

    /// Ends all subscriptions of a client, which is not told.
    pub fn leave(&mut self, link: LinkId) {
        self.channels.leave(link);
        self.patterns.leave(link);
        self.shard_channels.leave(link);
    }
}

/// What is on its way.
#[derive(Default)]
pub struct Outgoing {
    /// Confirmations for the running client, which asked for no replies: these it gets.
    pub confirmed: Reply,
    /// Messages for running clients, whose outputs are out of reach.
    kept: Kept,
    /// The message that is being sent; reused.
    message: Vec<u8>,
    /// The channel of an event; reused.
    channel: Vec<u8>,
}

/// Messages for clients that run.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// For whom, and the end of the message in `bytes`.
    messages: Vec<(LinkId, usize)>,
}

impl Kept {
    fn push(&mut self, link: LinkId, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.messages.push((link, self.bytes.len()));
    }

    /// Moves what is for a client to its output; another client may be running too.
    fn deliver(&mut self, client: &mut Client) {
        let Kept { bytes, messages } = std::mem::take(self);
        let mut start = 0;
        for &(link, end) in &messages {
            match link == client.link {
                true => client.reply.raw_push(&bytes[start..end]),
                false => self.push(link, &bytes[start..end]),
            }
            start = end;
        }
        if self.messages.is_empty() {
            self.bytes = emptied(bytes, KEPT_BYTES);
            self.messages = emptied(messages, KEPT_MESSAGES);
        }
    }
}

/// A buffer without its content, and with no more memory than is worth keeping.
fn emptied<T>(mut buffer: Vec<T>, kept: usize) -> Vec<T> {
    buffer.clear();
    buffer.shrink_to(kept);
    buffer
}

/// The part of the engine that sending a message needs while the subscriptions are read.
struct Sender<'e> {
    outgoing: &'e mut Outgoing,
    clients: &'e mut Clients,
    dirty_others: &'e mut Vec<LinkId>,
    closing: &'e mut Vec<LinkId>,
    stats: &'e mut Stats,
    config: &'e Config,
    facts: LineFacts<'e>,
}

impl Sender<'_> {
    /// Sends a message of these parts to these links; to how many.
    fn send(&mut self, parts: &[&[u8]], links: impl ExactSizeIterator<Item = LinkId>) -> usize {
        let receivers = links.len();
        if receivers > 0 {
            let mut message = std::mem::take(&mut self.outgoing.message);
            encode_command(&mut message, parts.iter().copied());
            links.for_each(|link| self.append(link, &message));
            self.outgoing.message = emptied(message, KEPT_BYTES);
        }
        receivers
    }

    /// Appends an encoded message to a client's output, and has the client closed where that becomes too much.
    fn append(&mut self, link: LinkId, message: &[u8]) {
        let Some(client) = self.clients.get_mut(link) else {
            return self.outgoing.kept.push(link, message);
        };
        if client.is(DEAF) {
            return;
        }
        client.reply.raw_push(message);
        if is_over_limit(self.config, self.facts.now, client) {
            give_up(self.stats, self.facts, client);
            if !client.is(ClientFlags::CLOSING) {
                client.flags.insert(ClientFlags::CLOSING);
                self.closing.push(link);
            }
        }
        if !client.is(ClientFlags::DIRTY_LINK) {
            client.flags.insert(ClientFlags::DIRTY_LINK);
            self.dirty_others.push(link);
        }
    }
}

/// Whether those who subscribed to a pattern hear of a channel. (For KEYS `*` matches an empty name.)
pub fn hears(pattern: &[u8], channel: &[u8]) -> bool {
    match channel.is_empty() {
        true => pattern.is_empty(),
        false => glob::matches(pattern, channel, false),
    }
}

impl Engine {
    /// Sends a message to the subscribers of a channel, and of patterns that match it; to how many. O(subscribers) and
    /// O(patterns).
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let (pubsub, mut sender) = self.sender();
        let links = pubsub.channels.listeners(channel);
        let mut receivers = sender.send(&[b"message", channel, message], links);
        for (pattern, links) in pubsub.patterns.iter() {
            if hears(pattern, channel) {
                receivers += sender.send(&[b"pmessage", pattern, channel, message], links);
            }
        }
        receivers
    }

    /// Sends a message to the subscribers of a shard channel; to how many. O(subscribers).
    pub fn publish_to_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let (pubsub, mut sender) = self.sender();
        let links = pubsub.shard_channels.listeners(channel);
        sender.send(&[b"smessage", channel, message], links)
    }

    fn sender(&mut self) -> (&PubSub, Sender<'_>) {
        let sender = Sender {
            outgoing: &mut self.outgoing,
            clients: &mut self.clients,
            dirty_others: &mut self.dirty_others,
            closing: &mut self.closing,
            stats: &mut self.stats,
            config: &self.config,
            facts: LineFacts {
                pubsub: &self.pubsub,
                watched: &self.watched,
                command_name: self.command_name,
                now: self.clock.unix_ms(),
            },
        };
        (&self.pubsub, sender)
    }

    /// A client's unit is over: what it was sent meanwhile follows its replies.
    #[inline]
    pub fn deliver_kept(&mut self, client: &mut Client) {
        let outgoing = &self.outgoing;
        if !outgoing.confirmed.buf.is_empty() || !outgoing.kept.messages.is_empty() {
            self.deliver_to(client);
        }
    }

    #[cold]
    fn deliver_to(&mut self, client: &mut Client) {
        self.deliver_confirmed(client);
        self.outgoing.kept.deliver(client);
    }

    /// The replies of a client's command were taken back, as it asked for none: what confirms subscriptions comes.
    pub fn deliver_confirmed(&mut self, client: &mut Client) {
        client.reply.raw(&self.outgoing.confirmed.buf);
        self.outgoing.confirmed.buf.clear();
    }

    /// Keyspace notification: where `notify-keyspace-events` has the class, published to the channel of the key and to
    /// that of the event.
    #[inline]
    pub fn notify(&mut self, class: EventClass, event: &'static str, key: &[u8], db: usize) {
        let wanted = self.config.notify_keyspace_events;
        if wanted.wants(class.bit()) {
            self.publish_event(event, key, db);
        }
    }

    /// Before a key is read: notifies when it is not there.
    #[inline]
    pub(super) fn notify_miss(&mut self, client: &Client, key: Key<'_>) {
        let wanted = self.config.notify_keyspace_events;
        if wanted.wants(NotifyEvents::KEY_MISS) {
            self.look_for_miss(client, key);
        }
    }

    #[cold]
    fn look_for_miss(&mut self, client: &Client, key: Key<'_>) {
        if self.hides(client, key) || self.keyspace.find(client.db, key).is_none() {
            self.publish_event("keymiss", key.bytes, client.db);
        }
    }

    #[cold]
    fn publish_event(&mut self, event: &'static str, key: &[u8], db: usize) {
        if self.pubsub.channels.is_empty() && self.pubsub.patterns.is_empty() {
            return;
        }
        let wanted = self.config.notify_keyspace_events;
        if wanted.wants(NotifyEvents::KEYSPACE) {
            self.publish_for(b"__keyspace@", db, key, event.as_bytes());
        }
        if wanted.wants(NotifyEvents::KEYEVENT) {
            self.publish_for(b"__keyevent@", db, event.as_bytes(), key);
        }
    }

    /// Publishes to the channel of this kind that belongs to a database and a name in it.
    fn publish_for(&mut self, kind: &[u8], db: usize, name: &[u8], message: &[u8]) {
        let mut channel = std::mem::take(&mut self.outgoing.channel);
        let mut digits = itoa::Buffer::new();
        for part in [kind, digits.format(db).as_bytes(), b"__:", name] {
            channel.extend_from_slice(part);
        }
        self.publish(&channel, message);
        self.outgoing.channel = emptied(channel, KEPT_BYTES);
    }
}
