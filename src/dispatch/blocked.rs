//! Serves the clients that wait for keys: their commands are run again, in Redis's order.

use super::{Machine, guards};
use crate::command::*;
use crate::engine::{Blocked, Client, ClientFlags, Host, LinkId, QueuedCommand};
use crate::keyspace::is_due;
use crate::types::Entry;

impl Machine {
    /// After a unit: tries the clients whose keys it signalled, and those whose keys these signal in turn.
    #[inline]
    pub(super) fn serve_key_waits(&mut self, host: &mut dyn Host) {
        if !self.engine.key_waits.is_empty() {
            self.serve_signalled(host);
        }
    }

    #[cold]
    fn serve_signalled(&mut self, host: &mut dyn Host) {
        loop {
            let places = self.engine.key_waits.take_signalled();
            if places.is_empty() {
                return;
            }
            for (db, key) in places {
                self.serve_key(db, &key, host);
            }
        }
    }

    /// Tries the clients whose time to be tried has come. Not while writes are paused.
    pub(super) fn retry_key_waits(&mut self, host: &mut dyn Host) {
        let now_ms = self.engine.clock.mono_ms();
        if self.engine.pause.kind(now_ms).is_some() {
            return;
        }
        while let Some(link) = self.engine.key_waits.take_retry(now_ms) {
            self.serve(link, host);
            self.serve_key_waits(host);
        }
    }

    /// Nanoseconds until [`Machine::retry_key_waits`] has something to do.
    pub(super) fn retry_sleep_ns(&self) -> u64 {
        let clock = &self.engine.clock;
        match self.engine.key_waits.first_retry_ms() {
            Some(at_ms) if self.engine.pause.kind(clock.mono_ms()).is_none() => at_ms
                .saturating_mul(1_000_000)
                .saturating_sub(clock.mono_ns),
            _ => u64::MAX,
        }
    }

    /// Tries the clients of a key while it holds what they wait for, each once.
    fn serve_key(&mut self, db: usize, key: &[u8], host: &mut dyn Host) {
        let end = self.engine.key_waits.next_number();
        let mut from = 0;
        loop {
            let keyspace = &self.engine.keyspace;
            let entry = keyspace.find(db, keyspace.key(key));
            // A due key is as good as gone, and whoever looks next deletes it.
            let now = self.engine.now();
            let lives = |entry: &&Entry| entry.expire_at().is_none_or(|at| !is_due(at, now));
            let stored = entry.filter(lives).map(Entry::kind);
            let waits = &self.engine.key_waits;
            let Some((number, link)) = waits.first(db, key, stored, from, end) else {
                return;
            };
            from = number + 1;
            self.serve(link, host);
        }
    }

    /// Runs a waiting client's command again; it may wait on.
    fn serve(&mut self, link: LinkId, host: &mut dyn Host) {
        let closing = ClientFlags::CLOSE_ASAP | ClientFlags::CLOSE_AFTER_REPLY;
        if self
            .engine
            .clients
            .get(link)
            .is_none_or(|client| client.is(closing))
        {
            return;
        }
        if self.holds_back(link) {
            self.engine.key_waits.held_back = true;
            return;
        }
        let Some(wait) = self.engine.end_key_wait(link) else {
            return;
        };
        let Some(mut client) = self.engine.clients.take(link) else {
            return;
        };
        self.run_again(&mut client, wait.command, host);
        match &mut client.blocked {
            Some(Blocked::Keys(again)) => {
                self.engine.keep_deadline(link, again, wait.deadline_ms);
            }
            _ => self.engine.ready.push_back(link),
        }
        self.put_back(client);
    }

    /// Whether a pause holds the waiting command, or it would write a key that is on its way to another server.
    #[inline]
    fn holds_back(&self, link: LinkId) -> bool {
        let engine = &self.engine;
        if engine.migrations.locks_nothing() && !engine.pause.is_set() {
            return false;
        }
        let Some(client) = engine.clients.get(link) else {
            return false;
        };
        let Some(Blocked::Keys(wait)) = &client.blocked else {
            return false;
        };
        let entry = table().get(wait.command.command);
        if guards::paused(engine, client, entry) {
            return true;
        }
        let args = Args::queued(&wait.command, engine.keyspace.seed());
        guards::may_write_moving(engine, wait.db, entry, &args)
    }

    fn run_again(&mut self, client: &mut Client, command: QueuedCommand, host: &mut dyn Host) {
        let reply_start = client.reply.buf.len();
        let entry = table().get(command.command);
        let mut args = Args::queued(&command, self.engine.keyspace.seed());
        self.again = true;
        match self.admit(client, entry, &args, host) {
            Ok(()) => self.call(client, entry, &mut args, host),
            Err(error) => self.reject(client, Some(entry), error),
        }
        self.again = false;
        self.finish_unit(client);
        if client.is(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP) {
            client.reply.buf.truncate(reply_start);
            if !client.is(ClientFlags::BLOCKED) {
                client.flags.remove(ClientFlags::REPLY_SKIP);
            }
        }
        self.engine.deliver_kept(client);
    }
}
