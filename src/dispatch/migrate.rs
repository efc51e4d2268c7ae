//! MIGRATE's part in the rounds: what targets have acknowledged is deleted, and the clients are answered.
//!
//! The state is [`Migrations`](crate::engine::Migrations). The shell makes the connections
//! ([`Action::ConnectTarget`](crate::engine::Action)), and hands on what targets say by [`Machine::input`] like that of
//! clients.

use super::Machine;
use crate::engine::{Blocked, Host, LinkId, Outcome};

impl Machine {
    /// The socket for a migration is there, its connection under way.
    pub fn target_opened(&mut self, number: u64, link: LinkId) {
        self.engine.target_opened(number, link);
    }

    /// No socket could be opened to this address of the host.
    pub fn target_refused(&mut self, number: u64) {
        self.engine.target_refused(number);
    }

    /// The host has no such address.
    pub fn target_failed(&mut self, number: u64) {
        self.engine.target_failed(number);
    }

    /// Whether more could be sent to a target at once.
    pub fn targets_have_room(&self) -> bool {
        self.engine.migrations.has_room()
    }

    /// Makes what is to be sent next and ends what is over. Returns when the next target has been silent for too long,
    /// monotonic milliseconds.
    #[inline]
    pub(super) fn run_migrations(&mut self, host: &mut dyn Host) -> Option<u64> {
        if self.engine.migrations.is_idle() {
            return None;
        }
        self.drive_migrations(host)
    }

    #[cold]
    fn drive_migrations(&mut self, host: &mut dyn Host) -> Option<u64> {
        self.engine.feed_targets();
        self.engine.end_silent_migrations();
        // A pause promises that the data set does not change.
        let now_ms = self.engine.clock.mono_ms();
        if self.engine.pause.kind(now_ms).is_none() {
            self.end_migrations(host);
        }
        self.engine.migrations.first_deadline()
    }

    fn end_migrations(&mut self, host: &mut dyn Host) {
        while let Some(outcome) = self.engine.take_migrated() {
            self.end_migration(outcome);
            self.engine.resume_postponed();
            self.serve_key_waits(host);
        }
    }

    /// Ends all of them before the server does. What was acknowledged so far is deleted.
    pub(super) fn give_up_migrations(&mut self, host: &mut dyn Host) {
        if !self.engine.migrations.is_idle() {
            let text = "ERR The server shuts down: not all keys were migrated";
            self.engine.give_up_migrations(text, true);
            self.end_migrations(host);
        }
    }

    /// Deletes what was moved, as one unit, and answers.
    fn end_migration(&mut self, outcome: Outcome) {
        let engine = &mut self.engine;
        let mut gone: Vec<&[u8]> = vec![b"DEL"];
        for name in &outcome.moved {
            let key = engine.keyspace.key(name);
            if engine.keyspace.remove(outcome.db, key) {
                engine.deleted_by_migration(outcome.db, name);
                gone.push(name);
            }
        }
        if gone.len() > 1 {
            engine.propagate(outcome.db, gone.into_iter());
            engine.flush_pending(true);
        }
        let asker = outcome.asker;
        let failed = outcome.error.is_some();
        engine.stats.command_done(asker.command as usize, 0, failed);
        if let Some(error) = &outcome.error {
            let code = error.split(|&byte| byte == b' ').next().unwrap_or(b"ERR");
            engine.stats.errors.count(&String::from_utf8_lossy(code));
        }
        let offset = engine.replication.stream.offset();
        let Some(client) = engine.clients.get_mut(asker.link) else {
            return;
        };
        // The link may be another's by now.
        if client.id != asker.id || client.blocked != Some(Blocked::Migrate) {
            return;
        }
        client.write_offset = offset;
        client.end_wait(|client| match &outcome.error {
            Some(error) => client.reply.error_bytes(error),
            None => client.reply.ok(),
        });
        engine.ready.push_back(asker.link);
        engine.mark_dirty(asker.link);
    }
}
