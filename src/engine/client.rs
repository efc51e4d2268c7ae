//! One client's state as commands see it. The socket belongs to `server/`, under the same link number.
//!
//! While a client's commands run its box is out of [`Clients`], so that a handler can hold the
//! client and the rest of the engine at once; it is back before anything else looks.

use crate::base::time::UnixMs;
use crate::config::Config;
use crate::replication::source::{Announced, Stage};
use crate::resp::parser::{Parser, Range};
use crate::resp::reply::{Protocol, Reply};

/// Index of a link in the server's slab and of its client in [`Clients`].
pub type LinkId = usize;

/// Index of a command in the command table (`command::table`).
pub type CommandId = u16;

bitflags::bitflags! {
    /// What a client is and what is to happen to it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ClientFlags: u32 {
        /// Inside MULTI.
        const MULTI = 1 << 0;
        /// A watched key changed: EXEC answers null.
        const DIRTY_CAS = 1 << 1;
        /// A command failed to queue: EXEC answers EXECABORT.
        const DIRTY_EXEC = 1 << 2;
        /// Close when the output is written; no further command runs.
        const CLOSE_AFTER_REPLY = 1 << 3;
        /// Close at the end of the round; output is dropped.
        const CLOSE_ASAP = 1 << 4;
        /// CLIENT REPLY OFF.
        const REPLY_OFF = 1 << 5;
        /// CLIENT REPLY SKIP was the last command: skip the next one's reply.
        const REPLY_SKIP_NEXT = 1 << 6;
        /// This command's reply is skipped.
        const REPLY_SKIP = 1 << 7;
        /// MONITOR.
        const MONITOR = 1 << 8;
        /// A replica of this server.
        const REPLICA = 1 << 9;
        /// The link to this server's master.
        const MASTER = 1 << 10;
        /// CLIENT NO-EVICT on.
        const NO_EVICT = 1 << 11;
        /// CLIENT NO-TOUCH on.
        const NO_TOUCH = 1 << 12;
        /// Connected through the Unix socket.
        const UNIX_SOCKET = 1 << 13;
        /// On the list of links with output to write.
        const DIRTY_LINK = 1 << 14;
        /// Waits for something: its input is kept, not run.
        const BLOCKED = 1 << 15;
        /// A command runs inside EXEC.
        const IN_EXEC = 1 << 16;
        /// Has logged in, or needed not when it came.
        const AUTHENTICATED = 1 << 17;
        /// Connected from this machine (loopback or Unix socket).
        const LOCAL = 1 << 18;
        /// The socket is gone or the peer has closed; the engine drops it at the end of the round.
        const GONE = 1 << 19;
        /// READONLY in cluster mode.
        const READONLY = 1 << 20;
        /// Has subscriptions.
        const PUBSUB = 1 << 21;
        /// On the list of links to close.
        const CLOSING = 1 << 22;
    }
}

/// Why a client's input waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// CLIENT PAUSE: the postponed command is run again when the pause ends.
    Paused {
        /// Which of the postponed commands it is: they resume in their order.
        turn: u64,
    },
    /// WAIT, WAITAOF: until `replicas` have acknowledged `offset`, or the deadline (0: none).
    Wait {
        /// What they must have done with it.
        stage: Stage,
        /// Replicas asked for.
        replicas: i64,
        /// Replication offset they must acknowledge.
        offset: i64,
        /// When to give up, monotonic milliseconds; 0 for never.
        deadline_ms: u64,
    },
    /// BLPOP and its like.
    Keys(Box<super::KeyWait>),
    /// SHUTDOWN waits for replicas.
    Shutdown,
    /// MIGRATE waits for its target ([`super::Migrations`] knows who waits for what).
    Migrate,
    /// FLUSHALL or FLUSHDB SYNC: until helpers have freed so many objects since the start.
    Flush {
        /// See [`crate::keyspace::Keyspace::freed_objects`].
        freed: u64,
    },
}

/// A command queued by MULTI: its own copy of the argument bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedCommand {
    /// The row it was looked up to be.
    pub command: CommandId,
    /// Argument bytes.
    pub bytes: Vec<u8>,
    /// Arguments as ranges of `bytes`.
    pub ranges: Vec<Range>,
}

/// What MULTI has queued.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Commands in order.
    pub commands: Vec<QueuedCommand>,
    /// Flags of all queued commands, or-ed.
    pub flags: u32,
    /// Flags that some queued command lacks, or-ed.
    pub missing_flags: u32,
    /// Bytes held by the queue.
    pub bytes: usize,
}

/// Output up to so much is not held against limits: Redis has it in a fixed buffer.
pub const FIXED_OUTPUT_BYTES: usize = 16 * 1024;
/// What is beyond counts in blocks, as Redis has it: so much of it in each,
const OUTPUT_BLOCK_BYTES: usize = 20_464;
/// which takes a little more.
const OUTPUT_BLOCK_TAKES: usize = OUTPUT_BLOCK_BYTES + 40;

/// A client.
pub struct Client {
    /// CLIENT ID; never reused.
    pub id: u64,
    /// Where its socket is.
    pub link: LinkId,
    /// Flags.
    pub flags: ClientFlags,
    /// Selected database.
    pub db: usize,
    /// Parser state of the incomplete command at the start of `query`.
    pub parser: Parser,
    /// Input not yet run: an incomplete command, or what waits while the client is blocked.
    pub query: Vec<u8>,
    /// Bytes of the input that is being run, for CLIENT LIST; 0 between runs.
    pub running_bytes: usize,
    /// Output not yet written, from `sent` on.
    pub reply: Reply,
    /// Bytes at the start of `reply.buf` that are written already.
    pub sent: usize,
    /// MULTI's queue.
    pub transaction: Transaction,
    /// Whether WATCH holds keys for it.
    pub watching: bool,
    /// Why it waits, with [`ClientFlags::BLOCKED`].
    pub blocked: Option<Blocked>,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO lib-name.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO lib-ver.
    pub lib_ver: Vec<u8>,
    /// The ACL user's name.
    pub user: Vec<u8>,
    /// Peer address as CLIENT LIST prints it.
    pub peer: String,
    /// Local address as CLIENT LIST prints it.
    pub local: String,
    /// File descriptor number, for CLIENT LIST.
    pub fd: i32,
    /// When it connected.
    pub created_ms: UnixMs,
    /// When it last sent something.
    pub active_ms: UnixMs,
    /// The last command run, for CLIENT LIST.
    pub last_command: Option<CommandId>,
    /// Bytes read from it.
    pub bytes_in: u64,
    /// Bytes written to it.
    pub bytes_out: u64,
    /// Commands run.
    pub commands: u64,
    /// Replication offset after its last write, for WAIT.
    pub write_offset: i64,
    /// What it said of itself with REPLCONF.
    pub announced: Option<Box<Announced>>,
    /// When its output buffer first went over the soft limit; 0 for not over.
    pub soft_limit_since_ms: UnixMs,
}

impl Client {
    /// A fresh client on `link`.
    pub fn new(id: u64, link: LinkId, now: UnixMs) -> Client {
        Client {
            id,
            link,
            flags: ClientFlags::empty(),
            db: 0,
            parser: Parser::new(),
            query: Vec::new(),
            running_bytes: 0,
            reply: Reply::new(Protocol::Resp2),
            sent: 0,
            transaction: Transaction::default(),
            watching: false,
            blocked: None,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            user: b"default".to_vec(),
            peer: String::new(),
            local: String::new(),
            fd: -1,
            created_ms: now,
            active_ms: now,
            last_command: None,
            bytes_in: 0,
            bytes_out: 0,
            commands: 0,
            write_offset: 0,
            announced: None,
            soft_limit_since_ms: 0,
        }
    }

    /// Whether a flag (any of them) is set.
    #[inline]
    pub fn is(&self, flags: ClientFlags) -> bool {
        self.flags.intersects(flags)
    }

    /// Whether commands of its may run: it has logged in, or nobody needs to (any more).
    #[inline]
    pub fn is_admitted(&self, config: &Config) -> bool {
        self.is(ClientFlags::AUTHENTICATED) || config.requirepass.get().is_none()
    }

    /// Whether it has subscriptions and speaks RESP2, which cannot tell a reply from a message.
    #[inline]
    pub fn is_in_subscribed_mode(&self) -> bool {
        self.is(ClientFlags::PUBSUB) && !self.reply.is_resp3()
    }

    /// Bytes of output that wait to be written.
    #[inline]
    pub fn unsent(&self) -> usize {
        self.reply.buf.len() - self.sent
    }

    /// Blocks that Redis would have for them beyond its fixed buffer.
    #[inline]
    pub fn output_blocks(&self) -> usize {
        self.unsent()
            .saturating_sub(FIXED_OUTPUT_BYTES)
            .div_ceil(OUTPUT_BLOCK_BYTES)
    }

    /// What counts for the limits of output.
    #[inline]
    pub fn limited_bytes(&self) -> usize {
        self.output_blocks() * OUTPUT_BLOCK_TAKES
    }

    /// Memory it takes, buffers included (see [`super::Engine::client_bytes`]).
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Client>()
            + self.query.capacity()
            + self.reply.buf.capacity()
            + self.transaction.bytes
    }

    /// Forgets MULTI's queue and what would have spoilt it. The watches are the engine's to drop.
    pub fn leave_multi(&mut self) {
        self.transaction = Transaction::default();
        self.watching = false;
        self.flags
            .remove(ClientFlags::MULTI | ClientFlags::DIRTY_CAS | ClientFlags::DIRTY_EXEC);
    }

    /// A key that it watched has changed: EXEC will answer null.
    pub fn spoil(&mut self) {
        self.flags.insert(ClientFlags::DIRTY_CAS);
    }

    /// Ends its wait, with what `answer` replies unless it asked for no replies.
    pub fn end_wait(&mut self, answer: impl FnOnce(&mut Client)) {
        let start = self.reply.buf.len();
        answer(self);
        if self.is(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP) {
            self.reply.buf.truncate(start);
            self.flags.remove(ClientFlags::REPLY_SKIP);
        }
        self.blocked = None;
        self.flags.remove(ClientFlags::BLOCKED);
    }

    /// Whether its commands must be obeyed as a master's (no read-only check, no expiry).
    #[inline]
    pub fn must_obey(&self) -> bool {
        self.is(ClientFlags::MASTER)
    }
}

/// All clients by link.
#[derive(Default)]
pub struct Clients {
    slots: Vec<Option<Box<Client>>>,
    count: usize,
    next_id: u64,
    /// The slot that [`Clients::visit_some`] looked at last.
    visited: usize,
}

impl Clients {
    /// Number of clients, of every kind.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The next client id.
    pub fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Puts a new client in. Panics when the link is taken.
    pub fn insert(&mut self, client: Box<Client>) {
        let link = client.link;
        if link >= self.slots.len() {
            self.slots.resize_with(link + 1, || None);
        }
        assert!(
            self.slots[link].is_none(),
            "link {link} has a client already"
        );
        self.slots[link] = Some(client);
        self.count += 1;
    }

    /// Removes a client for good.
    pub fn remove(&mut self, link: LinkId) -> Option<Box<Client>> {
        let client = self.slots.get_mut(link)?.take()?;
        self.count -= 1;
        Some(client)
    }

    /// Takes a client out while its commands run; [`Clients::put_back`] ends that.
    #[inline]
    pub fn take(&mut self, link: LinkId) -> Option<Box<Client>> {
        self.slots.get_mut(link)?.take()
    }

    /// Puts a client back that [`Clients::take`] gave.
    #[inline]
    pub fn put_back(&mut self, client: Box<Client>) {
        let link = client.link;
        self.slots[link] = Some(client);
    }

    /// The client on a link; `None` while it runs.
    #[inline]
    pub fn get(&self, link: LinkId) -> Option<&Client> {
        self.slots.get(link)?.as_deref()
    }

    /// The client on a link, to change; `None` while it runs.
    #[inline]
    pub fn get_mut(&mut self, link: LinkId) -> Option<&mut Client> {
        self.slots.get_mut(link)?.as_deref_mut()
    }

    /// All clients but the one that runs.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().filter_map(|slot| slot.as_deref())
    }

    /// All clients but the one that runs, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().filter_map(|slot| slot.as_deref_mut())
    }

    /// Visits a tenth of the slots and some, going round: called ten times a second it sees each client about once
    /// a second.
    pub fn visit_some(&mut self, mut visit: impl FnMut(&mut Client)) {
        for _ in 0..(self.slots.len() / 10 + 8).min(self.slots.len()) {
            self.visited = (self.visited + 1) % self.slots.len();
            if let Some(client) = &mut self.slots[self.visited] {
                visit(client);
            }
        }
    }

    /// Link of the client with this id; not of the one that runs.
    pub fn link_of(&self, id: u64) -> Option<LinkId> {
        self.iter()
            .find(|client| client.id == id)
            .map(|client| client.link)
    }
}
