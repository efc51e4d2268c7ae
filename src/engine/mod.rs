//! The state that commands see: clients, databases, the replication stream; data and invariants,
//! no dispatch. Nothing here reads a clock or touches a socket: what must, asks [`Host`]; what
//! can wait leaves as an [`Action`].
//!
//! To give commands new state: add a field here, its invariants beside it, and its INFO lines in
//! `command/info.rs`.

mod client;
mod client_line;
mod databases;
mod failover;
mod fields;
mod glance;
mod host;
mod key_waits;
mod migrate;
mod output;
mod own_expires;
mod pause;
mod persistence;
mod propagation;
mod pubsub;
mod renames;
mod replicate;
mod shutdown;
mod snapshot_cost;
mod subscriptions;
mod watch;

pub use client::{
    Blocked, Client, ClientFlags, Clients, CommandId, FIXED_OUTPUT_BYTES, LinkId, QueuedCommand,
    Transaction,
};
pub use failover::Failover;
pub use glance::{GlanceCount, Glances};
pub use host::{Clock, Host, MemoryFacts, OpenFile, ProcessFacts};
pub use key_waits::{KeyWait, KeyWaits, Want};
pub use migrate::{Asker, Migrations, Move, Outcome};
pub use own_expires::OwnExpires;
pub use pause::{Pause, PauseCause, PauseKind};
pub use persistence::{
    Background, LoadResult, Loading, Persistence, SaveError, SaveJob, key_load_delay_ns,
};
pub use propagation::{Operations, encode_command};
pub use pubsub::{Outgoing, PubSub, hears};
pub use renames::Renames;
pub use replicate::SyncJob;
pub use shutdown::Shutdown;
pub use snapshot_cost::SnapshotCost;
pub use subscriptions::Subscriptions;
pub use watch::Watched;

use std::collections::VecDeque;

use crate::base::prng::Prng;
use crate::base::time::UnixMs;
use crate::config::{Config, Id, NotifyEvents};
use crate::keyspace::{Garbage, Key, Keyspace, is_due};
use crate::replication::id::Id as ReplicationId;
use crate::replication::role::Replication;
use crate::replication::source::Stage;
use crate::stats::Stats;
use crate::types::limits::Encodings;
use crate::types::{BodyMut, Entry, Kind, Limits, Value, access};

/// Class of a keyspace event, as notify-keyspace-events names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// `g`: DEL, EXPIRE, RENAME …
    Generic,
    /// `$`: string commands.
    String,
    /// `l`: list commands.
    List,
    /// `s`: set commands.
    Set,
    /// `h`: hash commands.
    Hash,
    /// `z`: sorted set commands.
    SortedSet,
    /// `t`: stream commands.
    Stream,
    /// `x`: a key expired.
    Expired,
    /// `n`: a key was created.
    New,
}

impl EventClass {
    /// Its bit in notify-keyspace-events.
    #[inline]
    pub const fn bit(self) -> u32 {
        match self {
            EventClass::Generic => NotifyEvents::GENERIC,
            EventClass::String => NotifyEvents::STRING,
            EventClass::List => NotifyEvents::LIST,
            EventClass::Set => NotifyEvents::SET,
            EventClass::Hash => NotifyEvents::HASH,
            EventClass::SortedSet => NotifyEvents::ZSET,
            EventClass::Stream => NotifyEvents::STREAM,
            EventClass::Expired => NotifyEvents::EXPIRED,
            EventClass::New => NotifyEvents::NEW,
        }
    }
}

/// What leaves the engine for the shell to do after the round's commands.
pub enum Action {
    /// Close this link's socket (its client is gone already).
    Close(LinkId),
    /// Drop this on a helper thread.
    Free(Garbage),
    /// Write this snapshot to its file on a helper; the end goes to `Machine::save_ended`.
    Save(Box<SaveJob>),
    /// A load that the shell began has ended.
    Loaded(Box<LoadResult>),
    /// Open a connection to the master; the answer is `Machine::master_opened` or `Machine::master_failed`.
    ConnectMaster(String, u16),
    /// Open a connection to the target of a MIGRATE, to that of its host's addresses that comes after so many others;
    /// the answer is `Machine::target_opened` or `Machine::target_failed`.
    ConnectTarget {
        /// The migration's number.
        number: u64,
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// Addresses tried before.
        attempt: usize,
    },
    /// Encode a snapshot for replicas on a helper; the answers are `Machine::sync_data` and `Machine::sync_ended`.
    Sync(Box<SyncJob>),
    /// End the process with this exit code, after the outputs are flushed.
    Exit(i32),
}

/// Everything commands work on.
pub struct Engine {
    /// Directives.
    pub config: Config,
    /// Databases.
    pub keyspace: Keyspace,
    /// Clients by link.
    pub clients: Clients,
    /// Links whose client has output to write (or is to be closed), each once: `ClientFlags::DIRTY_LINK`.
    pub dirty_links: Vec<LinkId>,
    /// As `dirty_links`, of clients that got output without having run: they are written behind those that did.
    pub dirty_others: Vec<LinkId>,
    /// Links to close at the end of the round, each once: `ClientFlags::CLOSING`.
    pub closing: Vec<LinkId>,
    /// Links whose kept input may run again (unblocked, unpaused).
    pub ready: VecDeque<LinkId>,
    /// `rename-command`.
    pub renames: Renames,
    /// What a command is called, for those who look at clients.
    pub command_name: fn(CommandId) -> &'static str,
    /// Links in MONITOR mode.
    pub monitors: Vec<LinkId>,
    /// Publish/subscribe.
    pub pubsub: PubSub,
    /// Its messages on their way.
    pub outgoing: Outgoing,
    /// Keys watched by WATCH.
    pub watched: Watched,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// Commands postponed so far.
    pub postponed: u64,
    /// Operations of the running unit for replicas.
    pub pending: Operations,
    /// A handler replaced the verbatim propagation of its command.
    pub propagation_replaced: bool,
    /// Changes since start; `dirty - dirty_at_save` are unsaved.
    pub dirty: u64,
    /// Counters.
    pub stats: Stats,
    /// The instant of the running unit.
    pub clock: Clock,
    /// Random numbers of the engine (not for secrets).
    pub prng: Prng,
    /// 40 hex digits, new at each start.
    pub run_id: String,
    /// When it started, wall clock.
    pub started_ms: UnixMs,
    /// Bytes in use when start-up was done.
    pub startup_memory: usize,
    /// DEBUG PAUSE-CRON.
    pub cron_paused: bool,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    /// RDB files and payloads are taken whatever their checksum (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
    pub skips_checksums: bool,
    /// The access word of what is touched now, under LRU.
    pub access_word: u32,
    /// Saving and loading.
    pub persistence: Persistence,
    /// What the last snapshot cost.
    pub snapshot_cost: SnapshotCost,
    /// A shutdown for the end of the round.
    pub shutdown: Option<Shutdown>,
    /// Role, replicas, the stream.
    pub replication: Replication,
    /// Link of the socket to the master, from when it is being connected.
    pub master_link: Option<LinkId>,
    /// Clients that wait for keys.
    pub key_waits: KeyWaits,
    /// Links of the clients in WAIT.
    pub waiting: Vec<LinkId>,
    /// Links of the clients whose FLUSHALL or FLUSHDB waits for the memory.
    pub flushing: Vec<LinkId>,
    /// MIGRATE.
    pub migrations: Migrations,
    /// FAILOVER.
    pub failover: Option<Failover>,
    /// What a writable replica's clients have given a deadline.
    pub own_expires: OwnExpires,
    /// For the shell.
    pub actions: Vec<Action>,
}

/// A key holds a value of another type than the command is for.
#[derive(Clone, Copy, Debug)]
pub struct WrongType;

/// Notes that a client used an entry, which borrows the keyspace: so it takes the engine's fields one by one.
macro_rules! touch {
    ($engine:ident, $client:ident, $entry:expr) => {
        if !$client.is(ClientFlags::NO_TOUCH) {
            let (clock, word) = ($engine.clock, $engine.access_word);
            touch($entry, word, &$engine.config, clock, &mut $engine.prng);
        }
    };
}

impl Engine {
    /// An empty engine. `seed` feeds the hash key and the random numbers.
    pub fn new(config: Config, seed: u64, clock: Clock) -> Engine {
        let mut prng = Prng::new(seed);
        let mut keyspace = Keyspace::new(config.databases as usize, prng.next_u64());
        keyspace.set_clock(clock.unix_ms());
        let run_id = prng.hex(40);
        let id = ReplicationId::generate(|| prng.next_u64());
        let replication = Replication::new(id, config.repl_backlog_size, clock.unix_ms());
        Engine {
            keyspace,
            clients: Clients::default(),
            dirty_links: Vec::new(),
            dirty_others: Vec::new(),
            closing: Vec::new(),
            ready: VecDeque::new(),
            renames: Renames::default(),
            command_name: |_| "NULL",
            monitors: Vec::new(),
            pubsub: PubSub::default(),
            outgoing: Outgoing::default(),
            watched: Watched::default(),
            pause: Pause::default(),
            postponed: 0,
            pending: Operations::default(),
            propagation_replaced: false,
            dirty: 0,
            stats: Stats::new(),
            clock,
            prng,
            run_id,
            started_ms: clock.unix_ms(),
            startup_memory: 0,
            cron_paused: false,
            active_expire: true,
            skips_checksums: false,
            access_word: access::lru_word(clock.unix_ms()),
            persistence: Persistence::new(clock.unix_ms()),
            snapshot_cost: SnapshotCost::default(),
            shutdown: None,
            replication,
            master_link: None,
            key_waits: KeyWaits::default(),
            waiting: Vec::new(),
            flushing: Vec::new(),
            migrations: Migrations::default(),
            failover: None,
            own_expires: OwnExpires::default(),
            actions: Vec::new(),
            config,
        }
    }

    /// Sets the clock of the units to come; what the keyspace derives from it follows.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        let now = clock.unix_ms();
        self.access_word = access::lru_word(now);
        let lfu = self.config.maxmemory_policy.is_lfu();
        self.keyspace.set_new_access(if lfu {
            access::lfu_word(access::LFU_INITIAL, now)
        } else {
            self.access_word
        });
        self.keyspace.set_overwrites_access(!lfu);
    }

    /// Wall-clock milliseconds of the running unit.
    #[inline]
    pub fn now(&self) -> UnixMs {
        self.clock.unix_ms()
    }

    /// Whether this server replicates another.
    #[inline]
    pub fn is_replica(&self) -> bool {
        self.replication.is_replica()
    }

    /// Whether counts leave out due keys that are not yet reclaimed: on a primary with active expiry.
    #[inline]
    pub fn counts_exactly(&self) -> bool {
        self.active_expire && !self.is_replica()
    }

    /// Whether a data set is being loaded and clients have to wait for it.
    #[inline]
    pub fn is_loading(&self) -> bool {
        matches!(&self.persistence.loading, Some(loading) if !loading.serves_old)
    }

    /// Whether a data set is being loaded while clients are served from the old one.
    #[inline]
    pub fn is_loading_aside(&self) -> bool {
        matches!(&self.persistence.loading, Some(loading) if loading.serves_old)
    }

    /// Memory that a client takes, its buffers and subscriptions included.
    pub fn client_bytes(&self, client: &Client) -> usize {
        self.line_facts().bytes(client)
    }

    /// Directives have new values: what the engine derives from them follows.
    pub fn config_changed(&mut self, ids: &[Id]) {
        self.stats.latency_tracking = self.config.latency_tracking;
        if ids.contains(&Id::slowlog_max_len) {
            self.stats
                .slowlog
                .shorten(self.config.slowlog_max_len as usize);
        }
        if ids.contains(&Id::key_load_delay)
            && let Some(loading) = &mut self.persistence.loading
        {
            loading.resumes_ns = 0;
        }
        if ids.contains(&Id::repl_backlog_size) {
            self.replication
                .stream
                .resize(self.config.repl_backlog_size);
        }
    }

    /// Whether anybody takes what is propagated.
    #[inline]
    pub fn propagates(&self) -> bool {
        self.replication.stream.is_active() && !self.replication.is_replica()
    }

    /// Adds a command to what the running unit propagates.
    pub fn propagate<'a>(&mut self, db: usize, argv: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.propagates() {
            self.pending.push(db, argv);
        }
    }

    /// The live entry of a key for a command that reads. A due key is hidden, and deleted where this
    /// server decides about expiry. Counts a hit or a miss and touches the access word.
    #[inline]
    pub fn read(&mut self, client: &Client, key: Key<'_>) -> Option<&Entry> {
        self.notify_miss(client, key);
        if self.hides(client, key) {
            self.stats.keyspace_misses += 1;
            return None;
        }
        // Looked up again because of the borrow; the line is in the cache.
        match self.keyspace.find(client.db, key) {
            Some(entry) => {
                self.stats.keyspace_hits += 1;
                touch!(self, client, entry);
                Some(entry)
            }
            None => {
                self.stats.keyspace_misses += 1;
                None
            }
        }
    }

    /// The live entry of a key for a command that writes: like [`Engine::read`] without the counts.
    #[inline]
    pub fn write(&mut self, client: &Client, key: Key<'_>) -> Option<&Entry> {
        self.write_in(client, client.db, key)
    }

    /// As [`Engine::write`], in another database than the client's.
    #[inline]
    pub fn write_in(&mut self, client: &Client, db: usize, key: Key<'_>) -> Option<&Entry> {
        if self.gives_way(client, db, key) {
            return None;
        }
        let entry = self.keyspace.find(db, key)?;
        touch!(self, client, entry);
        Some(entry)
    }

    /// When collections become large.
    pub fn encodings(&self) -> Encodings {
        let config = &self.config;
        Encodings {
            hash: Limits::of(
                config.hash_max_listpack_entries,
                config.hash_max_listpack_value,
            ),
            set: Limits::of(
                config.set_max_listpack_entries,
                config.set_max_listpack_value,
            ),
            set_ints: usize::try_from(config.set_max_intset_entries).unwrap_or(0),
            zset: Limits::of(
                config.zset_max_listpack_entries,
                config.zset_max_listpack_value,
            ),
            list: config.list_max_listpack_size,
        }
    }

    /// As [`Engine::read`], of a value that must be of a type.
    #[inline]
    pub fn read_kind(
        &mut self,
        client: &Client,
        key: Key<'_>,
        kind: Kind,
    ) -> Result<Option<&Entry>, WrongType> {
        match self.read(client, key) {
            Some(entry) if entry.kind() != kind => Err(WrongType),
            found => Ok(found),
        }
    }

    /// The live collection of a key for changing it, if there is one.
    #[inline]
    pub fn body(
        &mut self,
        client: &Client,
        key: Key<'_>,
        kind: Kind,
    ) -> Result<Option<BodyMut<'_>>, WrongType> {
        if self.gives_way(client, client.db, key) {
            return Ok(None);
        }
        let Some(body) = self.keyspace.body(client.db, key) else {
            return Ok(None);
        };
        touch!(self, client, body.entry());
        match body.entry().kind() == kind {
            true => Ok(Some(body)),
            false => Err(WrongType),
        }
    }

    /// The live collection of a key for adding to it, made with the value `empty` when there is none; and whether it is
    /// new. It must not stay empty.
    #[inline]
    pub fn body_or_new(
        &mut self,
        client: &Client,
        key: Key<'_>,
        empty: Value<'_>,
    ) -> Result<(BodyMut<'_>, bool), WrongType> {
        let kind = empty.kind();
        self.gives_way(client, client.db, key);
        let (body, new) = self.keyspace.body_or_new(client.db, key, empty);
        if !new {
            touch!(self, client, body.entry());
        }
        match body.entry().kind() == kind {
            true => Ok((body, new)),
            false => Err(WrongType),
        }
    }

    /// As [`Engine::read`] without touching the access word (TTL, TYPE, EXISTS, OBJECT).
    #[inline]
    pub fn peek(&mut self, client: &Client, key: Key<'_>) -> Option<&Entry> {
        self.notify_miss(client, key);
        self.examine(client, key)
    }

    /// As [`Engine::peek`] without the event of a key that is missed (OBJECT).
    #[inline]
    pub fn examine(&mut self, client: &Client, key: Key<'_>) -> Option<&Entry> {
        if self.hides(client, key) {
            self.stats.keyspace_misses += 1;
            return None;
        }
        match self.keyspace.find(client.db, key) {
            Some(entry) => {
                self.stats.keyspace_hits += 1;
                Some(entry)
            }
            None => {
                self.stats.keyspace_misses += 1;
                None
            }
        }
    }

    /// Before a key is removed or overwritten whatever it holds: deletes it when it is due, as [`Engine::write`]
    /// would. Costs no look-up in a database without expiries.
    #[inline]
    pub fn drop_due(&mut self, client: &Client, key: Key<'_>) {
        self.gives_way(client, client.db, key);
    }

    /// As [`Engine::drop_due`] before a key is overwritten: under LFU that counts as an access.
    #[inline]
    pub fn overwrite(&mut self, client: &Client, key: Key<'_>) {
        match self.config.maxmemory_policy.is_lfu() {
            true => drop(self.write(client, key)),
            false => self.drop_due(client, key),
        }
    }

    /// Whether the key is stored but due and must not be seen by this client, which reads; deletes it where due
    /// keys are this server's to delete.
    #[inline]
    pub fn hides(&mut self, client: &Client, key: Key<'_>) -> bool {
        self.is_due_in(client.db, key) && self.expire_due(client, client.db, key, false)
    }

    /// As [`Engine::hides`] for a client that writes: on a writable replica too the due key makes place.
    #[inline]
    fn gives_way(&mut self, client: &Client, db: usize, key: Key<'_>) -> bool {
        self.is_due_in(db, key) && self.expire_due(client, db, key, true)
    }

    #[inline]
    fn is_due_in(&self, db: usize, key: Key<'_>) -> bool {
        if self.keyspace.expires_len(db) == 0 && self.keyspace.timed_hashes_len(db) == 0 {
            return false;
        }
        let found = self.keyspace.find(db, key);
        found.is_some_and(|entry| self.is_ended(entry))
    }

    #[cold]
    fn expire_due(&mut self, client: &Client, db: usize, key: Key<'_>, writes: bool) -> bool {
        if client.must_obey() {
            return false;
        }
        let stays = self.is_replica() || self.pause.stops_expiry(self.clock.mono_ms());
        // A write that runs under a pause is of the transaction that began it: it needs the place.
        if writes || !stays {
            self.expire(db, key);
        }
        true
    }

    /// Deletes a due key: propagates DEL (UNLINK with lazyfree-lazy-expire), notifies, wakes watchers. A hash that ends
    /// with its fields goes as they do.
    pub fn expire(&mut self, db: usize, key: Key<'_>) {
        let found = self.keyspace.find(db, key);
        let own = found.and_then(Entry::expire_at);
        if found.is_some() && !own.is_some_and(|at| is_due(at, self.now())) {
            self.expire_hash(db, key);
            return;
        }
        self.keyspace.remove(db, key);
        self.stats.expired_keys += 1;
        let name: &[u8] = if self.config.lazyfree_lazy_expire {
            b"UNLINK"
        } else {
            b"DEL"
        };
        self.propagate(db, [name, key.bytes].into_iter());
        self.notify(EventClass::Expired, "expired", key.bytes, db);
        self.touch_watched(db, key.bytes);
        self.signal_key(db, key.bytes);
    }

    /// The one thing a handler calls, once a key it changed: counts the change, wakes watchers, notifies.
    #[inline]
    pub fn changed(&mut self, db: usize, key: &[u8], class: EventClass, event: &'static str) {
        self.dirty += 1;
        self.modified(db, key);
        self.notify(class, event, key, db);
    }

    /// What [`Engine::changed`] does beside counting and notifying.
    #[inline]
    pub fn modified(&mut self, db: usize, key: &[u8]) {
        self.note_change(db, key);
        self.touch_watched(db, key);
        self.signal_key(db, key);
    }

    /// Marks the clients that watch this key; whatever else they watch does not matter any more.
    #[inline]
    pub fn touch_watched(&mut self, db: usize, key: &[u8]) {
        if !self.watched.is_empty() {
            self.spoil_watchers(db, key, true);
        }
    }

    /// As [`Engine::touch_watched`]; without `ends` their watches stay, as they do in Redis when the whole database
    /// became another.
    #[cold]
    pub(super) fn spoil_watchers(&mut self, db: usize, key: &[u8], ends: bool) {
        let stored = self.keyspace.find(db, self.keyspace.key(key)).is_some();
        for link in self.watched.clients_of(db, key) {
            if !stored && self.watched.take_due(link, db, key) {
                // It was due when the watch began: that it is gone now changes nothing for the client.
                continue;
            }
            if ends {
                self.watched.unwatch_all(link);
            }
            self.spoil(link);
        }
    }

    /// Marks the clients that watch a key that is there: the whole data set is about to be another, or has become one.
    pub fn touch_all_watched(&mut self) {
        let places: Vec<(usize, Box<[u8]>)> = self
            .watched
            .places()
            .map(|(db, key, _)| (db, key.into()))
            .collect();
        for (db, key) in places {
            if self.keyspace.find(db, self.keyspace.key(&key)).is_some() {
                self.spoil_watchers(db, &key, false);
            }
        }
    }

    /// Makes the next EXEC of a client fail. A running client's own flags are set by the dispatcher from
    /// [`Watched::take_spoiled`].
    pub fn spoil(&mut self, link: LinkId) {
        match self.clients.get_mut(link) {
            Some(client) => client.spoil(),
            None => self.watched.spoil_running(link),
        }
    }

    /// Ends the pause of a cause; what it postponed is tried again at the end of the round.
    pub fn end_pause(&mut self, cause: PauseCause) {
        self.pause.end(cause);
        self.resume_postponed();
    }

    /// Tries postponed commands again, and clients that wait for keys and were held back: another pause may hold them
    /// still.
    pub fn resume_postponed(&mut self) {
        if std::mem::take(&mut self.key_waits.held_back) {
            (0..self.keyspace.count()).for_each(|db| self.signal_database(db));
        }
        let mut postponed = Vec::new();
        for client in self.clients.iter_mut() {
            if let Some(Blocked::Paused { turn }) = client.blocked {
                client.blocked = None;
                client.flags.remove(ClientFlags::BLOCKED);
                postponed.push((turn, client.link));
            }
        }
        postponed.sort_unstable();
        self.ready.extend(postponed.iter().map(|(_, link)| link));
    }

    /// Ends a client's wait for CLIENT UNBLOCK: as if it had timed out, or with an UNBLOCKED error.
    pub fn unblock(&mut self, link: LinkId, with_error: bool) {
        let error = with_error.then_some("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        if self.answer_key_wait(link, error) {
            return;
        }
        let Some(client) = self.clients.get_mut(link) else {
            return;
        };
        let source = &self.replication.source;
        if matches!(client.blocked, Some(Blocked::Wait { .. })) {
            wait_done(&mut self.stats, client);
        }
        client.end_wait(|client| {
            if with_error {
                client
                    .reply
                    .error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
            } else if let Some(Blocked::Wait { stage, offset, .. }) = client.blocked {
                let count = source.acknowledged_count(stage, offset);
                reply_acknowledged(client, stage, count);
            }
        });
        if with_error {
            self.stats.errors.count("UNBLOCKED");
            // As if it had been called once more.
            if let Some(id) = client.last_command {
                self.stats.command_done(id as usize, 0, true);
            }
        }
        self.waiting.retain(|&other| other != link);
        self.ready.push_back(link);
        self.mark_dirty(link);
    }

    /// Ends a client's wait with an error reply.
    pub fn unblock_with(&mut self, link: LinkId, error: &str) {
        let Some(client) = self.clients.get_mut(link) else {
            return;
        };
        client.end_wait(|client| client.reply.error(error));
        self.stats.errors.count("ERR");
        self.ready.push_back(link);
        self.mark_dirty(link);
    }

    /// A socket can be written again: puts its link on the list if it has output.
    pub fn mark_dirty_if_unsent(&mut self, link: LinkId) {
        if !self.target_output(link).is_empty() {
            return self.dirty_links.push(link);
        }
        if self.clients.get(link).is_some_and(|client| {
            client.unsent() > 0
                || (client.is(ClientFlags::REPLICA) && !self.stream_output(link).is_empty())
        }) {
            self.mark_dirty(link);
        }
    }

    /// Puts a link on the list of those with output, once. For any client but the running one.
    pub fn mark_dirty(&mut self, link: LinkId) {
        if let Some(client) = self.clients.get_mut(link)
            && !client.is(ClientFlags::DIRTY_LINK)
        {
            client.flags.insert(ClientFlags::DIRTY_LINK);
            self.dirty_others.push(link);
        }
    }

    /// Asks for a client's end at the end of the round, output dropped. For any client but the running one.
    pub fn close_soon(&mut self, link: LinkId) {
        if let Some(client) = self.clients.get_mut(link) {
            client.flags.insert(ClientFlags::CLOSE_ASAP);
            if !client.is(ClientFlags::CLOSING) {
                client.flags.insert(ClientFlags::CLOSING);
                self.closing.push(link);
            }
        }
    }
}

/// A WAIT or WAITAOF that had to wait is over: only now it counts as called.
pub(crate) fn wait_done(stats: &mut Stats, client: &Client) {
    if let Some(id) = client.last_command {
        stats.command_done(id as usize, 0, false);
    }
}

/// The reply of WAIT, or of WAITAOF: there is no append-only file here, so never a local acknowledgement.
pub(crate) fn reply_acknowledged(client: &mut Client, stage: Stage, replicas: usize) {
    if stage == Stage::Synced {
        client.reply.array(2);
        client.reply.int(0);
    }
    client.reply.int(replicas as i64);
}

/// Notes an access in an entry's access word: when under LRU, how often under LFU.
#[inline]
fn touch(entry: &Entry, lru_word: u32, config: &Config, clock: Clock, prng: &mut Prng) {
    let word = if config.maxmemory_policy.is_lfu() {
        let (factor, decay) = (config.lfu_log_factor as u32, config.lfu_decay_time as u32);
        access::lfu_touch(entry.access(), clock.unix_ms(), factor, decay, prng)
    } else {
        lru_word
    };
    // The line stays clean when nothing changes.
    if entry.access() != word {
        entry.set_access(word);
    }
}
