//! MIGRATE under way: the connections to targets, the keys on their way, and who waits.
//!
//! One command is one [`Migration`]. It takes a kept connection or has the shell make one, logs in and selects the
//! target's database, awaits the answers to that, and then sends RESTORE commands, a bounded number of bytes ahead of
//! what the socket takes. When all of them are answered, or something has failed, it is over: `dispatch/migrate.rs` deletes
//! what the target has acknowledged and answers the client.
//!
//! Redis stands still meanwhile; here others are served, so a key that is moved is locked: a command that may write it
//! waits until the migration is over ([`Migrations::locks`]), as it does in Redis. What no lock holds back (the stream of a
//! writable replica's primary, DEBUG) marks the key, which is then not deleted. Nothing is ever deleted that was changed
//! since it was sent.
//!
//! Invariants: a key is locked only by one migration, from its start until it is over (with COPY too: a copy that arrived
//! late could replace what another command moved there meanwhile); a link is either that of one migration or kept, and
//! no client has it.
//!
//! Source of the behaviour: the documentation of MIGRATE, and replies of redis-server 8.0.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::{Action, CommandId, Engine, EventClass, LinkId, encode_command};
use crate::rdb::payload;
use crate::types::ValueRef;

/// RESTORE commands are made while less than this waits to be written.
const UNSENT_BYTES: usize = 256 * 1024;
/// A payload from this size on is written from where it was made.
const COPIED_BYTES: usize = 64 * 1024;
/// A target's answer is a line of at most so many bytes.
const LINE_BYTES_MAX: usize = 1024;
/// Connections kept for the next command.
const KEPT_MAX: usize = 64;
/// For how long.
const KEPT_MS: u64 = 10_000;

const CONNECTING: &str = "IOERR error or timeout connecting to the client";
const WRITING: &str = "IOERR error or timeout writing to target instance";
const READING: &str = "IOERR error or timeout reading to target instance";

/// What MIGRATE was asked to do.
#[derive(Clone, Debug)]
pub struct Move {
    /// The target.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database there.
    pub target_db: i64,
    /// The database here.
    pub db: usize,
    /// The longest that the target may be silent.
    pub timeout_ms: u64,
    /// The keys stay here as well.
    pub copy: bool,
    /// Keys of the target may be overwritten.
    pub replace: bool,
    /// AUTH's arguments: a password, or a user and a password; none without.
    pub auth: Vec<Vec<u8>>,
    /// Keys that are there.
    pub keys: Vec<Box<[u8]>>,
}

/// Who waits for a migration.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Its link.
    pub link: LinkId,
    /// Its id: the link may be another's by the time.
    pub id: u64,
    /// MIGRATE, by whatever name.
    pub command: CommandId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is no connection yet.
    Connecting,
    /// So many answers to AUTH and SELECT are awaited.
    Greeting(usize),
    /// RESTORE commands are sent.
    Moving,
    /// All is answered, or it failed.
    Over,
}

/// A connection to a target.
#[derive(Debug)]
struct Connection {
    link: LinkId,
    host: String,
    port: u16,
    /// What it has logged in with: others do not get it.
    auth: Vec<Vec<u8>>,
    /// The database selected there, if that is known.
    db: Option<i64>,
    /// Output not yet written, of the first from `sent` on.
    output: VecDeque<Vec<u8>>,
    sent: usize,
    unsent: usize,
    /// Bytes written in all.
    written: u64,
    /// The beginning of an answer.
    line: Vec<u8>,
    /// The target said more than it was asked: not to be kept.
    talkative: bool,
}

impl Connection {
    fn new(link: LinkId, request: &Move) -> Connection {
        Connection {
            link,
            host: request.host.clone(),
            port: request.port,
            auth: request.auth.clone(),
            db: None,
            output: VecDeque::new(),
            sent: 0,
            unsent: 0,
            written: 0,
            line: Vec::new(),
            talkative: false,
        }
    }

    /// The next bytes to write.
    fn output(&self) -> &[u8] {
        self.output.front().map_or(&[], |part| &part[self.sent..])
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.unsent += bytes.len();
        match self.output.back_mut() {
            Some(last) if last.len() + bytes.len() <= COPIED_BYTES => last.extend(bytes),
            Some(_) | None => self.output.push_back(bytes),
        }
    }

    fn push_command(&mut self, words: &[&[u8]]) {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, words.iter().copied());
        self.push(bytes);
    }

    fn wrote(&mut self, bytes: usize) {
        self.unsent -= bytes;
        self.written += bytes as u64;
        self.sent += bytes;
        if self
            .output
            .front()
            .is_some_and(|part| part.len() == self.sent)
        {
            self.output.pop_front();
            self.sent = 0;
        }
    }
}

/// One MIGRATE.
#[derive(Debug)]
pub struct Migration {
    /// Who asked.
    pub asker: Asker,
    /// What for.
    pub request: Move,
    stage: Stage,
    connection: Option<Connection>,
    /// Which of the host's addresses is tried.
    attempt: usize,
    /// A connection that broke was replaced once already.
    retried: bool,
    /// The first key that is not sent yet.
    next: usize,
    /// Keys sent and not answered, by index, each with the bytes written once its command is.
    awaited: VecDeque<(usize, u64)>,
    /// Keys that the target has, by index.
    acknowledged: Vec<usize>,
    /// The first error that the target answered.
    refusal: Option<Vec<u8>>,
    /// Why it could not be finished.
    failure: Option<&'static str>,
    deadline_ms: u64,
}

impl Migration {
    fn has_timed_out(&self, now_ms: u64) -> bool {
        self.stage != Stage::Over && self.deadline_ms <= now_ms
    }

    fn progressed(&mut self, now_ms: u64) {
        self.deadline_ms = now_ms.saturating_add(self.request.timeout_ms);
    }

    /// Whether RESTORE commands may be made now.
    fn has_room(&self) -> bool {
        let connection = self.connection.as_ref();
        self.stage == Stage::Moving
            && self.next < self.request.keys.len()
            && connection.is_some_and(|connection| connection.unsent < UNSENT_BYTES)
    }

    /// The connection stands: AUTH and SELECT, where they are needed.
    fn greet(&mut self) {
        let (request, mut awaited) = (&self.request, 0);
        let Some(connection) = &mut self.connection else {
            return;
        };
        if !request.auth.is_empty() {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(request.auth.iter().map(Vec::as_slice));
            connection.push_command(&words);
            awaited += 1;
        }
        if connection.db != Some(request.target_db) {
            let mut digits = itoa::Buffer::new();
            let db = digits.format(request.target_db);
            connection.push_command(&[b"SELECT", db.as_bytes()]);
            awaited += 1;
        }
        self.stage = match awaited {
            0 => Stage::Moving,
            awaited => Stage::Greeting(awaited),
        };
    }

    /// Bytes of the target; false when they cannot be answers.
    fn read(&mut self, mut bytes: &[u8], now_ms: u64) -> bool {
        loop {
            let Some(connection) = &mut self.connection else {
                return true;
            };
            let end = memchr::memchr(b'\n', bytes);
            let part = &bytes[..end.map_or(bytes.len(), |end| end + 1)];
            if connection.line.len() + part.len() > LINE_BYTES_MAX {
                return false;
            }
            connection.line.extend_from_slice(part);
            if end.is_none() {
                return true;
            }
            bytes = &bytes[part.len()..];
            let line = std::mem::take(&mut connection.line);
            if !self.answered(line.trim_ascii_end(), now_ms) {
                return false;
            }
        }
    }

    /// One answer. Only `+` says that all is well: another server than a Redis may say anything.
    fn answered(&mut self, line: &[u8], now_ms: u64) -> bool {
        if self.stage == Stage::Over {
            if let Some(connection) = &mut self.connection {
                connection.talkative = true;
            }
            return true;
        }
        let agrees = match line.split_first() {
            Some((b'+', _)) => true,
            Some((b'-', text)) => {
                self.refusal.get_or_insert_with(|| text.to_vec());
                false
            }
            Some(_) | None => return false,
        };
        match self.stage {
            Stage::Connecting | Stage::Over => return false,
            Stage::Greeting(1) if self.refusal.is_some() => self.stage = Stage::Over,
            Stage::Greeting(1) => {
                if let Some(connection) = &mut self.connection {
                    connection.db = Some(self.request.target_db);
                }
                self.stage = Stage::Moving;
            }
            Stage::Greeting(awaited) => self.stage = Stage::Greeting(awaited - 1),
            Stage::Moving => {
                let Some((index, end)) = self.awaited.pop_front() else {
                    return false;
                };
                let written = self.connection.as_ref().map_or(0, |link| link.written);
                // Who agrees to what has not been sent means something else.
                if agrees && written < end {
                    return false;
                }
                if agrees {
                    self.acknowledged.push(index);
                }
                self.end_if_done();
            }
        }
        self.progressed(now_ms);
        true
    }

    fn end_if_done(&mut self) {
        if self.awaited.is_empty() && self.next == self.request.keys.len() {
            self.stage = Stage::Over;
        }
    }

    /// Why it fails now, if the target cannot be reached any more.
    fn lost(&self) -> &'static str {
        match &self.connection {
            _ if self.stage == Stage::Connecting => CONNECTING,
            Some(connection) if connection.unsent > 0 => WRITING,
            Some(_) | None => READING,
        }
    }

    /// Whether a broken connection is replaced: once, when it may be an old one's end.
    fn may_retry(&self) -> bool {
        !self.retried
            && self.acknowledged.is_empty()
            && self.refusal.is_none()
            && matches!(self.stage, Stage::Greeting(_) | Stage::Moving)
    }

    fn restart(&mut self, now_ms: u64) {
        self.retried = true;
        self.stage = Stage::Connecting;
        self.attempt = 0;
        self.next = 0;
        self.awaited.clear();
        self.progressed(now_ms);
    }
}

/// How a migration ended.
#[derive(Debug)]
pub struct Outcome {
    /// Who waits for it.
    pub asker: Asker,
    /// The database of its keys.
    pub db: usize,
    /// Keys to delete here.
    pub moved: Vec<Box<[u8]>>,
    /// What to answer instead of OK.
    pub error: Option<Vec<u8>>,
}

/// All MIGRATEs under way, and the connections kept for the next.
#[derive(Debug, Default)]
pub struct Migrations {
    /// In order of arrival.
    running: BTreeMap<u64, Migration>,
    by_link: HashMap<LinkId, u64>,
    /// With the moment since when, the oldest first.
    kept: VecDeque<(Connection, u64)>,
    /// By database and key: whether it was changed since it was sent.
    locked: BTreeMap<usize, HashMap<Box<[u8]>, bool>>,
    next: u64,
}

impl Migrations {
    /// Whether none is under way.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether no key is locked.
    #[inline]
    pub fn locks_nothing(&self) -> bool {
        self.locked.is_empty()
    }

    /// Whether a key is on its way to another server.
    pub fn locks(&self, db: usize, key: &[u8]) -> bool {
        self.locked
            .get(&db)
            .is_some_and(|keys| keys.contains_key(key))
    }

    /// Connections to targets, kept or in use.
    pub fn sockets(&self) -> usize {
        self.kept.len() + self.by_link.len()
    }

    /// Whether the loop is to come back at once to send more.
    pub fn has_room(&self) -> bool {
        self.running.values().any(Migration::has_room)
    }

    /// When the next one is over for its target's silence, monotonic milliseconds.
    pub fn first_deadline(&self) -> Option<u64> {
        let waiting = self.running.values().filter(|one| one.stage != Stage::Over);
        waiting.map(|one| one.deadline_ms).min()
    }

    /// A client changed a key.
    #[cold]
    fn mark_changed(&mut self, db: usize, key: &[u8]) {
        if let Some(changed) = self.locked.get_mut(&db).and_then(|keys| keys.get_mut(key)) {
            *changed = true;
        }
    }

    fn lock(&mut self, request: &Move) {
        let keys = self.locked.entry(request.db).or_default();
        keys.extend(request.keys.iter().map(|key| (key.clone(), false)));
    }

    /// Gives keys free; those of them that were changed since they were sent.
    fn unlock(&mut self, request: &Move) -> Vec<Box<[u8]>> {
        let Some(keys) = self.locked.get_mut(&request.db) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        for key in &request.keys {
            if keys.remove(key) == Some(true) {
                changed.push(key.clone());
            }
        }
        if keys.is_empty() {
            self.locked.remove(&request.db);
        }
        changed
    }

    fn keep(&mut self, mut connection: Connection, now_ms: u64) -> Option<LinkId> {
        connection.output = VecDeque::new();
        connection.line = Vec::new();
        self.kept.push_back((connection, now_ms));
        match self.kept.len() > KEPT_MAX {
            true => self.kept.pop_front().map(|(oldest, _)| oldest.link),
            false => None,
        }
    }

    fn take_kept(&mut self, request: &Move) -> Option<Connection> {
        let fits = |(connection, _): &(Connection, u64)| {
            connection.port == request.port
                && connection.host == request.host
                && connection.auth == request.auth
        };
        let at = self.kept.iter().position(fits)?;
        self.kept.remove(at).map(|(connection, _)| connection)
    }
}

impl Engine {
    /// Begins to move keys; their client is to wait.
    pub fn migrate(&mut self, asker: Asker, request: Move) {
        let now_ms = self.clock.mono_ms();
        let migrations = &mut self.migrations;
        migrations.lock(&request);
        let number = migrations.next;
        migrations.next += 1;
        let connection = migrations.take_kept(&request);
        let link = connection.as_ref().map(|connection| connection.link);
        let mut migration = Migration {
            asker,
            request,
            stage: Stage::Connecting,
            connection,
            attempt: 0,
            retried: false,
            next: 0,
            awaited: VecDeque::new(),
            acknowledged: Vec::new(),
            refusal: None,
            failure: None,
            deadline_ms: 0,
        };
        migration.progressed(now_ms);
        if let Some(link) = link {
            migration.greet();
            migrations.by_link.insert(link, number);
            self.dirty_links.push(link);
        } else {
            self.actions.push(connect_to(number, &migration));
        }
        self.migrations.running.insert(number, migration);
    }

    /// The shell has a socket to the target of a migration, its connection under way.
    pub fn target_opened(&mut self, number: u64, link: LinkId) {
        let migrations = &mut self.migrations;
        match migrations.running.get_mut(&number) {
            Some(migration) if migration.stage == Stage::Connecting => {
                migration.connection = Some(Connection::new(link, &migration.request));
                migrations.by_link.insert(link, number);
            }
            // It is over meanwhile.
            Some(_) | None => self.actions.push(Action::Close(link)),
        }
    }

    /// An address of the target's host cannot be connected to: the next one is tried.
    pub fn target_refused(&mut self, number: u64) {
        if let Some(migration) = self.migrations.running.get_mut(&number)
            && migration.stage == Stage::Connecting
        {
            migration.attempt += 1;
            self.actions.push(connect_to(number, migration));
        }
    }

    /// There is no socket to the target: the host has no such address.
    pub fn target_failed(&mut self, number: u64) {
        if let Some(migration) = self.migrations.running.get_mut(&number)
            && migration.stage == Stage::Connecting
        {
            // As Redis, which finds out when it writes.
            migration.failure = Some(match migration.attempt {
                0 => CONNECTING,
                _ => WRITING,
            });
            migration.stage = Stage::Over;
        }
    }

    /// The connection to a target stands, or could not be made: then another of the host's addresses is tried.
    pub fn target_connected(&mut self, link: LinkId, failed: bool) {
        let migrations = &mut self.migrations;
        let Some(&number) = migrations.by_link.get(&link) else {
            return;
        };
        let Some(migration) = migrations.running.get_mut(&number) else {
            return;
        };
        if migration.stage != Stage::Connecting {
            return;
        }
        if failed {
            migration.connection = None;
            migrations.by_link.remove(&link);
            self.actions.push(Action::Close(link));
            return self.target_refused(number);
        }
        let now_ms = self.clock.mono_ms();
        migration.greet();
        migration.progressed(now_ms);
        self.dirty_links.push(link);
    }

    /// Bytes came on a link that no client has.
    pub fn target_input(&mut self, link: LinkId, bytes: &[u8]) {
        let now_ms = self.clock.mono_ms();
        let Some(&number) = self.migrations.by_link.get(&link) else {
            // Nothing was asked on a kept connection.
            return self.target_closed(link);
        };
        if let Some(migration) = self.migrations.running.get_mut(&number)
            && !migration.read(bytes, now_ms)
        {
            self.fail_migration(number, READING);
        }
    }

    /// A link that no client has is gone.
    pub fn target_closed(&mut self, link: LinkId) {
        let now_ms = self.clock.mono_ms();
        let migrations = &mut self.migrations;
        if let Some(at) = migrations
            .kept
            .iter()
            .position(|(kept, _)| kept.link == link)
        {
            migrations.kept.remove(at);
            self.actions.push(Action::Close(link));
            return;
        }
        let Some(&number) = migrations.by_link.get(&link) else {
            return;
        };
        let Some(migration) = migrations.running.get_mut(&number) else {
            return;
        };
        if migration.stage == Stage::Connecting {
            return self.target_connected(link, true);
        }
        if !migration.may_retry() {
            let text = migration.lost();
            return self.fail_migration(number, text);
        }
        migration.connection = None;
        migration.restart(now_ms);
        self.actions.push(connect_to(number, migration));
        migrations.by_link.remove(&link);
        self.actions.push(Action::Close(link));
    }

    /// Ends a migration that cannot be finished, and its connection.
    fn fail_migration(&mut self, number: u64, text: &'static str) {
        let Some(migration) = self.migrations.running.get_mut(&number) else {
            return;
        };
        if migration.stage != Stage::Over {
            migration.stage = Stage::Over;
            migration.failure = Some(text);
        }
        if let Some(connection) = migration.connection.take() {
            self.migrations.by_link.remove(&connection.link);
            self.actions.push(Action::Close(connection.link));
        }
    }

    /// Ends all migrations with this error. What targets have acknowledged is deleted only if this server still may do so.
    pub fn give_up_migrations(&mut self, text: &'static str, deletes: bool) {
        let numbers: Vec<u64> = self.migrations.running.keys().copied().collect();
        for number in numbers {
            self.fail_migration(number, text);
            if let Some(migration) = self.migrations.running.get_mut(&number)
                && !deletes
            {
                migration.acknowledged.clear();
                migration.failure = Some(text);
            }
        }
    }

    /// Ends the migrations whose target was silent for too long.
    pub fn end_silent_migrations(&mut self) {
        let now_ms = self.clock.mono_ms();
        let silent =
            |(&number, one): (&u64, &Migration)| one.has_timed_out(now_ms).then_some(number);
        let numbers: Vec<u64> = self.migrations.running.iter().filter_map(silent).collect();
        for number in numbers {
            if let Some(migration) = self.migrations.running.get(&number) {
                let text = migration.lost();
                self.fail_migration(number, text);
            }
        }
    }

    /// Closes connections that were kept long enough.
    pub fn drop_kept_targets(&mut self) {
        let now_ms = self.clock.mono_ms();
        while let Some((connection, since_ms)) = self.migrations.kept.front()
            && now_ms >= since_ms + KEPT_MS
        {
            self.actions.push(Action::Close(connection.link));
            self.migrations.kept.pop_front();
        }
    }

    /// What is to be written to a target.
    pub fn target_output(&self, link: LinkId) -> &[u8] {
        let number = self.migrations.by_link.get(&link);
        let migration = number.and_then(|number| self.migrations.running.get(number));
        match migration {
            // Nothing may be written before the socket is connected.
            Some(migration) if migration.stage != Stage::Connecting => {
                let connection = migration.connection.as_ref();
                connection.map_or(&[], Connection::output)
            }
            Some(_) | None => &[],
        }
    }

    /// So much of it was written.
    pub fn target_wrote(&mut self, link: LinkId, bytes: usize) {
        let now_ms = self.clock.mono_ms();
        let number = self.migrations.by_link.get(&link);
        let migration = number.and_then(|number| self.migrations.running.get_mut(number));
        if let Some(migration) = migration.filter(|_| bytes > 0) {
            migration.progressed(now_ms);
            if let Some(connection) = &mut migration.connection {
                connection.wrote(bytes);
            }
        }
    }

    /// Makes RESTORE commands for the targets that have room.
    pub fn feed_targets(&mut self) {
        let with_room = |(&number, one): (&u64, &Migration)| one.has_room().then_some(number);
        let running = self.migrations.running.iter();
        for number in running.filter_map(with_room).collect::<Vec<_>>() {
            while let Some(migration) = self.migrations.running.get(&number)
                && migration.has_room()
            {
                let command = self.restore_command(migration);
                self.feed_target(number, command);
            }
        }
    }

    /// The next key's RESTORE: what stands before its payload, the payload, and what behind; none when it is gone.
    fn restore_command(&self, migration: &Migration) -> Option<[Vec<u8>; 3]> {
        let request = &migration.request;
        let name = &request.keys[migration.next];
        let key = self.keyspace.key(name);
        let entry = self.keyspace.find(request.db, key)?;
        if self.is_ended(entry) {
            return None;
        }
        let ttl = entry.expire_at().map_or(0, |at| (at - self.now()).max(1));
        let payload = payload::dump(ValueRef::of(entry), self.config.rdbcompression);
        let mut digits = itoa::Buffer::new();
        let words: [&[u8]; 3] = [b"RESTORE", name, digits.format(ttl).as_bytes()];
        // As `encode_command`, with the payload's bytes left out.
        let count = if request.replace { 5 } else { 4 };
        let mut head = format!("*{count}\r\n").into_bytes();
        for word in words {
            head.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            head.extend_from_slice(word);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(format!("${}\r\n", payload.len()).as_bytes());
        let tail: &[u8] = match request.replace {
            true => b"\r\n$7\r\nREPLACE\r\n",
            false => b"\r\n",
        };
        Some([head, payload, tail.to_vec()])
    }

    fn feed_target(&mut self, number: u64, command: Option<[Vec<u8>; 3]>) {
        let migrations = &mut self.migrations;
        let Some(migration) = migrations.running.get_mut(&number) else {
            return;
        };
        if let (Some(parts), Some(connection)) = (command, &mut migration.connection) {
            parts.into_iter().for_each(|part| connection.push(part));
            let end = connection.written + connection.unsent as u64;
            migration.awaited.push_back((migration.next, end));
            self.dirty_links.push(connection.link);
            let locked = migrations.locked.get_mut(&migration.request.db);
            let name = &migration.request.keys[migration.next];
            if let Some(changed) = locked.and_then(|keys| keys.get_mut(name)) {
                *changed = false;
            }
        }
        migration.next += 1;
        migration.end_if_done();
    }

    /// Takes a migration that is over; its keys are free again.
    pub fn take_migrated(&mut self) -> Option<Outcome> {
        let now_ms = self.clock.mono_ms();
        let migrations = &mut self.migrations;
        let over =
            |(&number, one): (&u64, &Migration)| (one.stage == Stage::Over).then_some(number);
        let number = migrations.running.iter().find_map(over)?;
        let mut migration = migrations.running.remove(&number)?;
        let changed = migrations.unlock(&migration.request);
        if let Some(mut connection) = migration.connection.take() {
            migrations.by_link.remove(&connection.link);
            if migration.refusal.is_some() {
                connection.db = None;
            }
            let whole = connection.unsent == 0 && connection.line.is_empty();
            let closed = match whole && !connection.talkative {
                true => migrations.keep(connection, now_ms),
                false => Some(connection.link),
            };
            self.actions.extend(closed.map(Action::Close));
        }
        let request = migration.request;
        let mut moved: Vec<Box<[u8]>> = Vec::new();
        if !request.copy {
            let acknowledged = migration.acknowledged.iter();
            let keys = acknowledged.map(|&index| &request.keys[index]);
            let stay: HashSet<&[u8]> = changed.iter().map(|key| &**key).collect();
            moved.extend(keys.filter(|key| !stay.contains(&***key)).cloned());
        }
        let error = match (migration.failure, migration.refusal, changed.first()) {
            (Some(text), _, _) => Some(text.as_bytes().to_vec()),
            (None, Some(text), _) => Some(
                [
                    b"ERR Target instance replied with error: ".as_slice(),
                    &text,
                ]
                .concat(),
            ),
            (None, None, Some(_)) if !request.copy => {
                Some(b"ERR Key changed while it was migrated: it was not deleted here".to_vec())
            }
            (None, None, _) => None,
        };
        Some(Outcome {
            asker: migration.asker,
            db: request.db,
            moved,
            error,
        })
    }

    /// A moved key was deleted here.
    pub fn deleted_by_migration(&mut self, db: usize, key: &[u8]) {
        self.changed(db, key, EventClass::Generic, "del");
        if self.is_replica() {
            self.own_key_changed(db, key);
        }
    }

    /// A client changed a key: one that is on its way is not deleted.
    #[inline]
    pub fn note_change(&mut self, db: usize, key: &[u8]) {
        if !self.migrations.locks_nothing() {
            self.migrations.mark_changed(db, key);
        }
    }

    /// The content of databases is another: no key that is on its way is deleted.
    pub fn note_changes(&mut self) {
        for keys in self.migrations.locked.values_mut() {
            keys.values_mut().for_each(|changed| *changed = true);
        }
    }
}

fn connect_to(number: u64, migration: &Migration) -> Action {
    Action::ConnectTarget {
        number,
        host: migration.request.host.clone(),
        port: migration.request.port,
        attempt: migration.attempt,
    }
}
