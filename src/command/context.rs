//! What a handler works with.

use super::{Args, CommandError, Registered, table};
use crate::base::time::UnixMs;
use crate::engine::{
    Client, ClientFlags, Engine, EventClass, Host, KeyWait, LinkId, QueuedCommand, Want,
};
use crate::keyspace::Key;
use crate::resp::parser::Range;
use crate::resp::reply::Reply;
use crate::types::{Entry, Kind};

/// The engine, the client whose command runs, and the outside world.
pub struct Context<'a> {
    /// Everything but the running client (which is out of `engine.clients` meanwhile).
    pub engine: &'a mut Engine,
    /// The running client.
    pub client: &'a mut Client,
    /// The outside world.
    pub host: &'a mut dyn Host,
    /// The row that runs.
    pub command: &'static Registered,
}

/// Keys of one command that are prefetched together.
const KEYS_AHEAD: usize = 16;

/// Some keys of a command, hashed and on their way into the cache.
pub struct KeyWindow<'a> {
    keys: [Key<'a>; KEYS_AHEAD],
    count: usize,
}

impl<'a> KeyWindow<'a> {
    /// The keys.
    #[inline]
    pub fn keys(&self) -> &[Key<'a>] {
        &self.keys[..self.count]
    }
}

impl Context<'_> {
    /// Where the reply goes.
    #[inline]
    pub fn reply(&mut self) -> &mut Reply {
        &mut self.client.reply
    }

    /// [`Engine::reply_bytes_max`] of this client.
    pub fn reply_bytes_max(&self) -> usize {
        self.engine.reply_bytes_max(self.client)
    }

    /// Wall-clock milliseconds of this unit.
    #[inline]
    pub fn now(&self) -> UnixMs {
        self.engine.now()
    }

    /// The live entry of a key, for reading (see [`Engine::read`]).
    #[inline]
    pub fn read(&mut self, key: Key<'_>) -> Option<&Entry> {
        self.engine.read(self.client, key)
    }

    /// The live entry of a key, for writing (see [`Engine::write`]).
    #[inline]
    pub fn write(&mut self, key: Key<'_>) -> Option<&Entry> {
        self.engine.write(self.client, key)
    }

    /// Once a key that the handler changed (see [`Engine::changed`]).
    #[inline]
    pub fn changed(&mut self, key: &[u8], class: EventClass, event: &'static str) {
        self.changed_quietly(key);
        self.engine.notify(class, event, key, self.client.db);
    }

    /// As [`Context::changed`], without an event.
    #[inline]
    pub fn changed_quietly(&mut self, key: &[u8]) {
        let db = self.client.db;
        self.engine.dirty += 1;
        self.engine.modified(db, key);
        if self.engine.is_replica() && !self.client.must_obey() {
            self.engine.own_key_changed(db, key);
        }
    }

    /// The live entry of a key, for reading facts about it (see [`Engine::peek`]).
    #[inline]
    pub fn peek(&mut self, key: Key<'_>) -> Option<&Entry> {
        self.engine.peek(self.client, key)
    }

    /// A key was created: the event `new`, before the one of the command.
    #[inline]
    pub fn created(&mut self, db: usize, key: &[u8]) {
        self.engine.notify(EventClass::New, "new", key, db);
    }

    /// After [`Context::changed`]: another key that the same change touched. Wakes watchers and
    /// notifies; the change is counted already.
    pub fn changed_too(&mut self, db: usize, key: &[u8], class: EventClass, event: &'static str) {
        self.engine.modified(db, key);
        self.engine.notify(class, event, key, db);
        if self.engine.is_replica() && !self.client.must_obey() {
            self.engine.own_key_changed(db, key);
        }
    }

    /// Whether a deadline set by this client is past and so means deletion. From the master's link, and
    /// on any replica, it is stored and the master's deletion awaited.
    #[inline]
    pub fn is_past(&self, at: UnixMs) -> bool {
        let decides = !self.client.must_obey() && !self.engine.is_replica();
        at <= self.now() && decides && !self.engine.is_loading()
    }

    /// The next arguments, every `step`-th of them a key: hashes up to 16 keys, asks the processor for their
    /// entries, and gives them. The cursor stays.
    pub fn key_window<'k>(&self, args: &Args<'k>, step: usize) -> KeyWindow<'k> {
        let mut window = KeyWindow {
            keys: [Key {
                bytes: b"",
                hash: 0,
            }; KEYS_AHEAD],
            count: args.left().div_ceil(step).min(KEYS_AHEAD),
        };
        let mut hashes = [0; KEYS_AHEAD];
        for (index, hash) in hashes.iter_mut().enumerate().take(window.count) {
            window.keys[index] = args.key_at(args.position() + index * step);
            *hash = window.keys[index].hash;
        }
        if window.count > 1 {
            let db = self.client.db;
            self.engine.keyspace.prefetch(db, &hashes[..window.count]);
        }
        window
    }

    /// Propagates these arguments instead of the command as it came. May be called several times.
    pub fn replicate_as(&mut self, argv: &[&[u8]]) {
        self.engine.propagation_replaced = true;
        self.engine.propagate(self.client.db, argv.iter().copied());
    }

    /// Has the client wait until one of these arguments is a key with a value of `kind`, when the command is run again, or
    /// until the deadline (monotonic milliseconds, 0 for never). Inside EXEC nobody waits: false, and the handler answers
    /// as if the time were over.
    pub fn wait_for_keys(
        &mut self,
        args: &Args<'_>,
        keys: std::ops::Range<usize>,
        kind: Kind,
        deadline_ms: u64,
    ) -> bool {
        let words: Vec<&[u8]> = args.iter().collect();
        self.wait(&words, keys, Want::of(kind), deadline_ms, 0)
    }

    /// As [`Context::wait_for_keys`]: `words` are run again, at `retry_ms` (0: never) too.
    pub fn wait(
        &mut self,
        words: &[&[u8]],
        keys: std::ops::Range<usize>,
        want: Want,
        deadline_ms: u64,
        retry_ms: u64,
    ) -> bool {
        if self.client.is(ClientFlags::IN_EXEC) {
            return false;
        }
        let mut end = 0;
        let ranges = words.iter().map(|word| {
            let start = end;
            end += word.len();
            Range { start, end }
        });
        let wait = KeyWait {
            want,
            db: self.client.db,
            keys: words[keys].iter().map(|&key| key.into()).collect(),
            deadline_ms,
            retry_ms,
            command: QueuedCommand {
                command: self.command.id,
                ranges: ranges.collect(),
                bytes: words.concat(),
            },
            number: 0,
        };
        self.client.blocked = Some(self.engine.wait_for_keys(self.client.link, wait));
        self.client.flags.insert(ClientFlags::BLOCKED);
        true
    }

    /// Propagates nothing for this command though it changed something.
    pub fn replicate_nothing(&mut self) {
        self.engine.propagation_replaced = true;
    }

    /// Runs `f` on the client of `link`, the running one included.
    pub fn with_client<R>(&mut self, link: LinkId, f: impl FnOnce(&mut Client) -> R) -> Option<R> {
        if self.client.link == link {
            Some(f(self.client))
        } else {
            self.engine.clients.get_mut(link).map(f)
        }
    }

    /// All clients, the running one included, ordered by id.
    pub fn all_clients(&self) -> Vec<&Client> {
        let mut all: Vec<&Client> = self.engine.clients.iter().collect();
        all.push(self.client);
        all.sort_by_key(|client| client.id);
        all
    }

    /// Ends a client: the running one after its reply, another at the end of the round.
    pub fn close_client(&mut self, link: LinkId) {
        if self.client.link == link {
            self.client.flags.insert(ClientFlags::CLOSE_AFTER_REPLY);
        } else {
            self.engine.close_soon(link);
        }
    }

    /// The reply of a container's HELP: a head line, these lines, and HELP itself.
    pub fn reply_help(&mut self, lines: &[&str]) {
        let parent = self.command.parent.unwrap_or(self.command.id);
        let name = table().shown_name(&self.engine.renames, table().get(parent));
        let reply = self.reply();
        reply.array(lines.len() + 3);
        reply.simple(&format!(
            "{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
        ));
        for line in lines {
            reply.simple(line);
        }
        reply.simple("HELP");
        reply.simple("    Print this help.");
    }

    /// The error of a wrong number of arguments to the running command.
    pub fn wrong_arity(&self) -> CommandError {
        CommandError::WrongArity(self.command.full_name.as_str().into())
    }
}
