//! MULTI's queue and EXEC. The rows are in `command/transaction.rs`; what must call commands is here.

use super::Machine;
use super::input::OUTPUT_CHECKED_BYTES;
use crate::command::*;
use crate::engine::{Client, ClientFlags, Host, QueuedCommand};
use crate::resp::parser::Range;

impl Machine {
    /// Keeps a copy of the command for EXEC and answers QUEUED.
    pub(super) fn queue(
        &mut self,
        client: &mut Client,
        entry: &'static Registered,
        args: &Args<'_>,
    ) {
        // A transaction that cannot run any more keeps nothing.
        if !client.is(ClientFlags::DIRTY_EXEC | ClientFlags::DIRTY_CAS) {
            let mut bytes = Vec::with_capacity(args.iter().map(<[u8]>::len).sum());
            let mut ranges = Vec::with_capacity(args.count());
            for argument in args.iter() {
                let start = bytes.len();
                bytes.extend_from_slice(argument);
                ranges.push(Range {
                    start,
                    end: bytes.len(),
                });
            }
            client.transaction.bytes += bytes.len();
            client.transaction.flags |= entry.command.flags;
            client.transaction.missing_flags |= !entry.command.flags;
            client.transaction.commands.push(QueuedCommand {
                command: entry.id,
                bytes,
                ranges,
            });
        }
        client.reply.simple("QUEUED");
    }

    /// Leaves MULTI: forgets queue and watches.
    pub(super) fn discard(&mut self, client: &mut Client) {
        client.leave_multi();
        self.engine.watched.unwatch_all(client.link);
    }

    /// EXEC: runs the queue as one unit, unless something spoilt it. Whether it did: then the replies that the client does
    /// not want are gone already.
    pub(super) fn exec(
        &mut self,
        client: &mut Client,
        args: &mut Args<'_>,
        host: &mut dyn Host,
    ) -> bool {
        if !client.is(ClientFlags::MULTI) {
            // The row's own handler answers the error.
            self.call(client, self.exec, args, host);
            return false;
        }
        let start_ns = self.engine.clock.mono_ns;
        if self.watched_key_expired(client) {
            client.flags.insert(ClientFlags::DIRTY_CAS);
        }
        let spoilt = client.is(ClientFlags::DIRTY_EXEC);
        let runs = !spoilt && !client.is(ClientFlags::DIRTY_CAS);
        if runs {
            self.run_transaction(client, host);
        } else if spoilt {
            client
                .reply
                .error("EXECABORT Transaction discarded because of previous errors.");
            self.engine.stats.errors.count("EXECABORT");
            self.discard(client);
        } else {
            client.reply.null_array();
            self.discard(client);
        }
        if !self.engine.monitors.is_empty() {
            // Behind the commands it ran.
            self.feed_monitors(client, self.exec, args);
        }
        client.commands += 1;
        let end_ns = host.monotonic_ns();
        let taken_ns = end_ns.saturating_sub(start_ns);
        self.engine
            .stats
            .command_done(self.exec.id as usize, taken_ns, spoilt);
        self.engine.stats.eventloop_command_ns += taken_ns;
        self.engine.clock.mono_ns = end_ns;
        runs
    }

    fn run_transaction(&mut self, client: &mut Client, host: &mut dyn Host) {
        self.engine.watched.unwatch_all(client.link);
        let commands = std::mem::take(&mut client.transaction).commands;
        client.leave_multi();
        client.flags.insert(ClientFlags::IN_EXEC);
        self.in_exec = true;
        // CLIENT REPLY inside takes effect from its own reply on.
        let silent = ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP;
        if !client.is(silent) {
            client.reply.array(commands.len());
        }
        let seed = self.engine.keyspace.seed();
        // Each is forgotten when it has run.
        for queued in commands {
            let entry = table().get(queued.command);
            let mut args = Args::queued(&queued, seed);
            if entry.parent.is_some() {
                args.seek(2);
            }
            let reply_start = client.reply.buf.len();
            let ends = client.is(ClientFlags::CLOSE_AFTER_REPLY | ClientFlags::CLOSE_ASAP);
            self.call(client, entry, &mut args, host);
            if client.is(silent) || ends {
                client.reply.buf.truncate(reply_start);
                self.engine.deliver_confirmed(client);
            }
            if client.unsent() > OUTPUT_CHECKED_BYTES {
                self.engine.check_output_limit(client);
            }
        }
        self.in_exec = false;
        client.flags.remove(ClientFlags::IN_EXEC);
    }

    /// Whether a watched key that lived at WATCH is due by now.
    fn watched_key_expired(&self, client: &Client) -> bool {
        if !client.watching {
            return false;
        }
        self.engine
            .watched
            .of_client(client.link)
            .any(|(db, key, was_due)| {
                let key = self.engine.keyspace.key(key);
                let found = self.engine.keyspace.find(db, key);
                let due = found.is_some_and(|entry| self.engine.is_ended(entry));
                due && !was_due
            })
    }
}
