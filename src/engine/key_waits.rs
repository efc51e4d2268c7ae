//! Clients that wait for keys: BLPOP and its like.
//!
//! A command that finds nothing has its client wait ([`Engine::wait_for_keys`]); what changes a key signals it
//! ([`Engine::signal_key`]), which costs nothing while nobody waits; at the end of the unit the dispatcher serves the
//! signalled keys in order, each one's clients in order of arrival, by running their commands again.
//!
//! One that waits to claim entries of a stream is tried at a time too ([`KeyWait::retry_ms`]).
//!
//! Invariants: a client in [`Blocked::Keys`] stands under each of its keys, and with its deadline if it has one; no other
//! client does. A key is listed only while somebody waits for it.
//!
//! Source of the behaviour: the documentation of the blocking commands, and replies of redis-server 8.0.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Blocked, ClientFlags, Engine, LinkId, QueuedCommand};
use crate::types::Kind;

/// A key of a database.
type Place = (usize, Box<[u8]>);

/// A client's wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWait {
    /// What for.
    pub want: Want,
    /// In this database.
    pub db: usize,
    /// Under one of these keys.
    pub keys: Vec<Box<[u8]>>,
    /// When to give up, monotonic milliseconds; 0 for never.
    pub deadline_ms: u64,
    /// When to be tried though no key changed, monotonic milliseconds; 0 for never.
    pub retry_ms: u64,
    /// What is then run again.
    pub command: QueuedCommand,
    /// Its place in the order of arrival.
    pub number: u64,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// A value of this type.
    pub kind: Kind,
    /// Or that there is none such any more (XREADGROUP, which then fails).
    pub or_none: bool,
    /// Or that a pending entry is idle for long (XREADGROUP with CLAIM).
    pub claims: bool,
    /// It is tried at some time in any case: at [`KeyWait::retry_ms`].
    pub timed: bool,
}

impl Want {
    /// A value of a type, and nothing else.
    pub fn of(kind: Kind) -> Want {
        Want {
            kind,
            or_none: false,
            claims: false,
            timed: false,
        }
    }

    /// Whether it is to be tried when its key has a value of this type, or none.
    fn accepts(self, stored: Option<Kind>) -> bool {
        self.or_none || stored == Some(self.kind)
    }
}

/// The clients under a key that want the same, by order of arrival.
#[derive(Debug)]
struct Group {
    want: Want,
    clients: BTreeMap<u64, LinkId>,
}

/// The clients under a key. What nobody wants costs nothing, however many wait.
#[derive(Debug, Default)]
struct Waiters {
    groups: Vec<Group>,
    /// Whether the key is on the list of signalled ones.
    signalled: bool,
}

impl Waiters {
    fn insert(&mut self, want: Want, number: u64, link: LinkId) {
        match self.groups.iter_mut().find(|group| group.want == want) {
            Some(group) => drop(group.clients.insert(number, link)),
            None => self.groups.push(Group {
                want,
                clients: BTreeMap::from([(number, link)]),
            }),
        }
    }

    fn remove(&mut self, want: Want, number: u64) {
        for group in self.groups.iter_mut().filter(|group| group.want == want) {
            group.clients.remove(&number);
        }
        self.groups.retain(|group| !group.clients.is_empty());
    }

    /// The number of the client that came first.
    fn first(&self) -> Option<u64> {
        let firsts = self
            .groups
            .iter()
            .filter_map(|group| group.clients.first_key_value());
        firsts.map(|(number, _)| *number).min()
    }
}

/// All clients that wait for keys.
#[derive(Debug, Default)]
pub struct KeyWaits {
    /// By database and key.
    databases: Vec<HashMap<Box<[u8]>, Waiters>>,
    /// Keys that changed since they were last served, in that order, each once.
    signalled: Vec<Place>,
    deadlines: BTreeSet<(u64, LinkId)>,
    retries: BTreeSet<(u64, LinkId)>,
    /// Clients that wait.
    count: usize,
    /// The number of the next arrival.
    next: u64,
    /// A client was not served because of a pause or a migration ([`Engine::resume_postponed`]).
    pub held_back: bool,
}

impl KeyWaits {
    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keys whose absence somebody is told of.
    pub fn keys_or_none(&self) -> usize {
        let all = self.databases.iter().flat_map(HashMap::values);
        all.filter(|waiters| waiters.groups.iter().any(|group| group.want.or_none))
            .count()
    }

    /// Keys that somebody waits for.
    pub fn keys(&self) -> usize {
        self.databases.iter().map(HashMap::len).sum()
    }

    /// The number that the next arrival gets.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// The keys that were signalled since this was last asked.
    pub fn take_signalled(&mut self) -> Vec<Place> {
        let places = std::mem::take(&mut self.signalled);
        for (db, key) in &places {
            if let Some(waiters) = self.waiters_mut(*db, key) {
                waiters.signalled = false;
            }
        }
        places
    }

    /// The first client under a key that arrived as `from` or later, and before `end`, and is to be tried when the key has
    /// a value of the type `stored`, or none; with its number.
    pub fn first(
        &self,
        db: usize,
        key: &[u8],
        stored: Option<Kind>,
        from: u64,
        end: u64,
    ) -> Option<(u64, LinkId)> {
        let waiters = self.databases.get(db)?.get(key)?;
        let groups = waiters
            .groups
            .iter()
            .filter(|group| group.want.accepts(stored));
        let firsts = groups.filter_map(|group| group.clients.range(from..end).next());
        firsts
            .map(|(number, link)| (*number, *link))
            .min_by_key(|(number, _)| *number)
    }

    /// The client whose deadline comes first.
    pub fn first_deadline(&self) -> Option<(u64, LinkId)> {
        self.deadlines.first().copied()
    }

    /// When a client is tried though no key changed.
    pub fn first_retry_ms(&self) -> Option<u64> {
        self.retries.first().map(|(at_ms, _)| *at_ms)
    }

    /// A client that is to be tried by now, each once.
    pub fn take_retry(&mut self, now_ms: u64) -> Option<LinkId> {
        let (_, link) = *self.retries.first().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        self.retries.pop_first();
        Some(link)
    }

    fn waiters_mut(&mut self, db: usize, key: &[u8]) -> Option<&mut Waiters> {
        self.databases.get_mut(db)?.get_mut(key)
    }

    fn insert(&mut self, link: LinkId, wait: &mut KeyWait) {
        wait.number = self.next;
        self.next += 1;
        self.count += 1;
        if self.databases.len() <= wait.db {
            self.databases.resize_with(wait.db + 1, HashMap::new);
        }
        for key in &wait.keys {
            let waiters = self.databases[wait.db].entry(key.clone()).or_default();
            waiters.insert(wait.want, wait.number, link);
        }
        if wait.deadline_ms > 0 {
            self.deadlines.insert((wait.deadline_ms, link));
        }
        if wait.retry_ms > 0 {
            self.retries.insert((wait.retry_ms, link));
        }
    }

    fn remove(&mut self, link: LinkId, wait: &KeyWait) {
        self.count -= 1;
        for key in &wait.keys {
            if let Some(waiters) = self.waiters_mut(wait.db, key) {
                waiters.remove(wait.want, wait.number);
                if waiters.groups.is_empty() {
                    self.databases[wait.db].remove(key);
                }
            }
        }
        self.deadlines.remove(&(wait.deadline_ms, link));
        self.retries.remove(&(wait.retry_ms, link));
    }
}

impl Engine {
    /// Has the client of `link` wait; what it gives is to be that client's [`Blocked::Keys`].
    pub fn wait_for_keys(&mut self, link: LinkId, mut wait: KeyWait) -> Blocked {
        wait.keys.sort_unstable();
        wait.keys.dedup();
        self.key_waits.insert(link, &mut wait);
        Blocked::Keys(Box::new(wait))
    }

    /// A key changed: whoever waits for a value of its type is tried at the end of the unit.
    #[inline]
    pub fn signal_key(&mut self, db: usize, key: &[u8]) {
        if !self.key_waits.is_empty() {
            self.signal_waited(db, key);
        }
    }

    #[cold]
    fn signal_waited(&mut self, db: usize, key: &[u8]) {
        let Some(waiters) = self.key_waits.waiters_mut(db, key) else {
            return;
        };
        let found = self.keyspace.find(db, self.keyspace.key(key));
        let kind = found.map(|entry| entry.kind());
        if !waiters.signalled && waiters.groups.iter().any(|group| group.want.accepts(kind)) {
            waiters.signalled = true;
            self.key_waits.signalled.push((db, key.into()));
        }
    }

    /// Entries of a stream were delivered: who waits to claim them is tried, but who is tried at some time in any case
    /// only if they count as delivered in the `past`.
    #[inline]
    pub fn signal_claimers(&mut self, db: usize, key: &[u8], past: bool) {
        if self.key_waits.is_empty() {
            return;
        }
        let waiters = self.key_waits.waiters_mut(db, key);
        let tried = |group: &Group| group.want.claims && (past || !group.want.timed);
        if waiters.is_some_and(|waiters| waiters.groups.iter().any(tried)) {
            self.signal_waited(db, key);
        }
    }

    /// The content of a database is another: all keys that are waited for there are signalled.
    pub fn signal_database(&mut self, db: usize) {
        let Some(keys) = self.key_waits.databases.get(db) else {
            return;
        };
        let mut keys: Vec<(u64, Box<[u8]>)> = keys
            .iter()
            .filter_map(|(key, waiters)| Some((waiters.first()?, key.clone())))
            .collect();
        keys.sort_unstable();
        for (_, key) in keys {
            self.signal_key(db, &key);
        }
    }

    /// Ends a client's wait for keys without a reply, if it is in one. For any client but the running one.
    pub fn end_key_wait(&mut self, link: LinkId) -> Option<KeyWait> {
        let client = self.clients.get_mut(link)?;
        match client.blocked.take() {
            Some(Blocked::Keys(wait)) => {
                client.flags.remove(ClientFlags::BLOCKED);
                self.key_waits.remove(link, &wait);
                Some(*wait)
            }
            other => {
                client.blocked = other;
                None
            }
        }
    }

    /// A client that is out of the table is gone: so is its wait.
    pub fn forget_key_wait(&mut self, link: LinkId, blocked: &Option<Blocked>) {
        if let Some(Blocked::Keys(wait)) = blocked {
            self.key_waits.remove(link, wait);
        }
    }

    /// A client that was tried waits on: until when it did before.
    pub fn keep_deadline(&mut self, link: LinkId, wait: &mut KeyWait, deadline_ms: u64) {
        self.key_waits.deadlines.remove(&(wait.deadline_ms, link));
        wait.deadline_ms = deadline_ms;
        if deadline_ms > 0 {
            self.key_waits.deadlines.insert((deadline_ms, link));
        }
    }

    /// Answers a client's wait for keys: null, as when its time is over, or an error. False when it does not wait so.
    pub fn answer_key_wait(&mut self, link: LinkId, error: Option<&str>) -> bool {
        let Some(wait) = self.end_key_wait(link) else {
            return false;
        };
        if let Some(client) = self.clients.get_mut(link) {
            client.end_wait(|client| match error {
                None => client.reply.null_array(),
                Some(error) => client.reply.error(error),
            });
        }
        if error.is_some() {
            self.stats.errors.count("UNBLOCKED");
        }
        let id = wait.command.command as usize;
        self.stats.command_done(id, 0, error.is_some());
        self.ready.push_back(link);
        self.mark_dirty(link);
        true
    }

    /// Answers the waits for keys whose time is over.
    pub fn end_key_waits(&mut self) {
        let now_ms = self.clock.mono_ms();
        while let Some((deadline_ms, link)) = self.key_waits.first_deadline()
            && deadline_ms <= now_ms
        {
            let answered = self.answer_key_wait(link, None);
            assert!(answered, "who has a deadline waits");
        }
    }

    /// The role changed: nobody waits on for keys.
    pub fn end_all_key_waits(&mut self, error: &str) {
        if self.key_waits.is_empty() {
            return;
        }
        let waits = |client: &&super::Client| matches!(client.blocked, Some(Blocked::Keys(_)));
        let links: Vec<LinkId> = self.clients.iter().filter(waits).map(|c| c.link).collect();
        for link in links {
            self.answer_key_wait(link, Some(error));
            if let Some(client) = self.clients.get_mut(link) {
                client.flags.insert(ClientFlags::CLOSE_AFTER_REPLY);
            }
        }
    }
}
