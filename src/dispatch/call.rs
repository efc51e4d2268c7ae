//! One command: guards, queueing, the handler, statistics, propagation.

use super::input::Flow;
use super::{Machine, guards, running};
use crate::command::*;
use crate::config::PropagationError;
use crate::engine::{Blocked, Client, ClientFlags, Host};

/// An attack is logged at most once in so long.
const ATTACK_LOG_MS: u64 = 60_000;

impl Machine {
    /// A command's turn has come: answers it, queues it, or postpones it.
    #[inline]
    pub(super) fn process(
        &mut self,
        client: &mut Client,
        found: Option<&'static Registered>,
        args: &mut Args<'_>,
        host: &mut dyn Host,
    ) -> Flow {
        let reply_start = client.reply.buf.len();
        let was_replica = client.is(ClientFlags::REPLICA);
        let meant = self.meant(found, args);
        let named = meant.as_ref().ok().copied();
        client.last_command = named.map(|entry| entry.id);
        if client.is(ClientFlags::REPLY_SKIP_NEXT) {
            client.flags.remove(ClientFlags::REPLY_SKIP_NEXT);
            client.flags.insert(ClientFlags::REPLY_SKIP);
        }
        let silent = ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP;
        // A transaction sees to its own replies: CLIENT REPLY can be in its queue.
        let mut keeps_reply = false;
        let admitted =
            meant.and_then(|entry| self.admit(client, entry, args, host).map(|()| entry));
        let flow = match admitted {
            Ok(entry) => {
                if guards::paused(&self.engine, client, entry)
                    || guards::awaits_move(&self.engine, client, entry, args)
                {
                    client.flags.insert(ClientFlags::BLOCKED);
                    let turn = self.engine.postponed;
                    client.blocked = Some(Blocked::Paused { turn });
                    self.engine.postponed += 1;
                    return Flow::Postponed;
                }
                if client.is(ClientFlags::MULTI) && !entry.command.is(RUNS_IN_MULTI) {
                    self.queue(client, entry, args);
                } else if entry.id == self.exec.id {
                    keeps_reply = self.exec(client, args, host);
                } else {
                    self.call(client, entry, args, host);
                }
                self.finish_unit(client);
                self.serve_key_waits(host);
                if self.engine.watched.take_spoiled(client.link) {
                    client.spoil();
                }
                Flow::Next
            }
            Err(_) if found.is_none() && guards::is_http(args.at(0)) => {
                self.end_attack(client);
                Flow::Next
            }
            Err(error) => {
                if was_replica {
                    Machine::log_error_to_replica(named, &error);
                }
                self.reject(client, named, error);
                Flow::Next
            }
        };
        if client.is(silent) {
            if !keeps_reply {
                client.reply.buf.truncate(reply_start);
            }
            // A client that waits is not answered later either.
            if !client.is(ClientFlags::BLOCKED) {
                client.flags.remove(ClientFlags::REPLY_SKIP);
            }
        }
        if was_replica && client.reply.buf.len() > reply_start {
            self.silence_replica(client, named, reply_start);
        }
        self.engine.deliver_kept(client);
        flow
    }

    /// A browser was made to talk to this server: what follows may be commands in the body of its request.
    #[cold]
    fn end_attack(&mut self, client: &mut Client) {
        client.flags.insert(ClientFlags::CLOSE_ASAP);
        let now_ms = self.engine.clock.mono_ms();
        if self
            .attack_logged_ms
            .is_none_or(|ms| now_ms - ms >= ATTACK_LOG_MS)
        {
            self.attack_logged_ms = Some(now_ms);
            log::warn!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. \
                 This is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your Redis \
                 instance. Connection from {} aborted.",
                client.peer
            );
        }
    }

    /// A replica was about to be sent an error.
    #[cold]
    fn log_error_to_replica(command: Option<&Registered>, error: &CommandError) {
        log::warn!(
            "== CRITICAL == This master is sending an error to its replica: '{error}' after processing the command \
             '{}'",
            command.map_or("<unknown>", |entry| entry.full_name.as_str())
        );
    }

    /// A reply in the middle of the stream would end the replica's trust in it: the link is closed instead.
    #[cold]
    fn silence_replica(
        &self,
        client: &mut Client,
        found: Option<&'static Registered>,
        reply_start: usize,
    ) {
        client.reply.buf.truncate(reply_start);
        client.flags.insert(ClientFlags::CLOSE_ASAP);
        log::warn!(
            "Replica generated a reply to command '{}', disconnecting it: {}",
            found.map_or("<unknown>", |entry| entry.full_name.as_str()),
            self.engine.described(client, None)
        );
    }

    /// The command or subcommand that is asked for. Moves the cursor behind a subcommand's name.
    #[inline]
    fn meant(
        &self,
        found: Option<&'static Registered>,
        args: &mut Args<'_>,
    ) -> Result<&'static Registered, CommandError> {
        let entry = found.ok_or_else(|| guards::unknown_command(args))?;
        if entry.subcommands.is_empty() || args.count() < 2 {
            return Ok(entry);
        }
        let name = args.at(1);
        args.seek(2);
        table().find_sub(entry, name).ok_or_else(|| {
            let shown = table().shown_name(&self.engine.renames, entry);
            CommandError::unknown_subcommand(&shown, name)
        })
    }

    /// Arity and guards.
    #[inline]
    pub(super) fn admit(
        &mut self,
        client: &Client,
        entry: &'static Registered,
        args: &Args<'_>,
        host: &mut dyn Host,
    ) -> Result<(), CommandError> {
        if !entry.command.arity_fits(args.count()) {
            return Err(CommandError::WrongArity(entry.full_name.as_str().into()));
        }
        guards::check(&self.engine, client, entry)?;
        let maxmemory = self.engine.config.maxmemory;
        if maxmemory > 0
            && guards::denied_out_of_memory(client, entry)
            && host.used_memory() as u64 > maxmemory
        {
            return Err(CommandError::text(
                "OOM command not allowed when used memory > 'maxmemory'.",
            ));
        }
        Ok(())
    }

    /// Answers a command that is not run; inside MULTI it spoils the transaction.
    #[cold]
    pub(super) fn reject(
        &mut self,
        client: &mut Client,
        found: Option<&'static Registered>,
        error: CommandError,
    ) {
        if client.is(ClientFlags::MASTER) {
            self.stop_at(client, found, &error);
        }
        if client.is(ClientFlags::MULTI) {
            client.flags.insert(ClientFlags::DIRTY_EXEC);
        }
        match found {
            Some(entry) if entry.id == self.exec.id => {
                let text = error.to_string();
                let text = text.strip_prefix("ERR ").unwrap_or(&text);
                self.discard(client);
                client.reply.error(&format!(
                    "EXECABORT Transaction discarded because of: {text}"
                ));
                self.engine.stats.errors.count("EXECABORT");
            }
            _ => {
                error.write(&mut client.reply);
                self.engine.stats.errors.count(&error.code());
            }
        }
        if let Some(entry) = found {
            self.engine.stats.command_rejected(entry.id as usize);
        }
    }

    /// A command of the master cannot be run here. To go on leaves us with other data than the master's, so that is
    /// up to `propagation-error-behavior`.
    #[cold]
    fn stop_at(&mut self, client: &mut Client, command: Option<&Registered>, error: &CommandError) {
        if self.engine.config.propagation_error_behavior != PropagationError::Stop {
            return self.disagree_with_master(command, error);
        }
        log::warn!(
            "== CRITICAL == This replica cannot process a command of its master: '{error}'. The link is closed."
        );
        client.flags.insert(ClientFlags::CLOSE_ASAP);
        if let Some(master) = &mut self.engine.replication.master {
            master.retry_later();
        }
    }

    /// A command of the master failed here. Panics where `propagation-error-behavior` says so.
    #[cold]
    fn disagree_with_master(&self, command: Option<&Registered>, error: &CommandError) {
        log::warn!(
            "== CRITICAL == This replica is sending an error to its master: '{error}' after processing the command \
             '{}'",
            command.map_or("<unknown>", |entry| entry.full_name.as_str())
        );
        let panics = match self.engine.config.propagation_error_behavior {
            PropagationError::Panic | PropagationError::PanicOnReplicas => true,
            PropagationError::Stop | PropagationError::Ignore => false,
        };
        assert!(!panics, "a command of the master failed on this replica");
    }

    /// Runs a handler: the reply, its time, its statistics, what it propagates.
    #[inline]
    pub(super) fn call(
        &mut self,
        client: &mut Client,
        entry: &'static Registered,
        args: &mut Args<'_>,
        host: &mut dyn Host,
    ) {
        let start_ns = if self.in_exec {
            host.monotonic_ns()
        } else {
            self.engine.clock.mono_ns
        };
        let dirty = self.engine.dirty;
        let errors = self.engine.stats.errors.total();
        let db = client.db;
        if client.is(ClientFlags::MASTER) && !self.engine.migrations.locks_nothing() {
            guards::note_moving(&mut self.engine, db, entry, args);
        }
        self.engine.propagation_replaced = false;
        client.commands += 1;
        let probe = match entry.command.is(WRITE) {
            true => self.engine.snapshot_cost.write_begins(host),
            false => None,
        };
        let mut context = Context {
            engine: &mut self.engine,
            client,
            host,
            command: entry,
        };
        running::ARGS.show((&raw const *args).cast());
        let result = (entry.command.handler)(&mut context, args);
        running::ARGS.clear();
        if let Some(probe) = probe {
            self.engine.snapshot_cost.write_ended(probe, host);
        }
        if let Err(error) = result {
            if client.is(ClientFlags::MASTER) {
                self.engine.stats.unexpected_error_replies += 1;
                self.disagree_with_master(Some(entry), &error);
            }
            if client.is(ClientFlags::REPLICA) {
                Machine::log_error_to_replica(Some(entry), &error);
            }
            error.write(&mut client.reply);
            self.engine.stats.errors.count(&error.code());
        }
        // Errors that it made others be told count too, as CLIENT UNBLOCK's ERROR does. RESETSTAT takes some back.
        let failed = self.engine.stats.errors.total() > errors;
        if !self.engine.monitors.is_empty()
            && !self.again
            && !entry.command.is(SKIP_MONITOR | ADMIN)
        {
            self.feed_monitors(client, entry, args);
        }
        let end_ns = host.monotonic_ns();
        let taken_ns = end_ns.saturating_sub(start_ns);
        // One that waits now is counted when it is done.
        let waits = matches!(client.blocked, Some(Blocked::Keys(_) | Blocked::Migrate));
        let counts_later = waits || matches!(client.blocked, Some(Blocked::Wait { .. }));
        if !counts_later {
            self.engine
                .stats
                .command_done(entry.id as usize, taken_ns, failed);
        }
        if !self.in_exec {
            self.engine.clock.mono_ns = end_ns;
            self.engine.stats.eventloop_command_ns += taken_ns;
        }
        if !entry.command.is(SKIP_SLOWLOG) && !waits {
            self.note_slow(client, entry, args, taken_ns);
        }
        if self.engine.dirty != dirty
            && !self.engine.propagation_replaced
            && self.engine.propagates()
        {
            self.engine.propagate(db, args.iter());
        }
        if self.engine.watched.take_spoiled(client.link) {
            client.spoil();
        }
    }

    #[inline]
    fn note_slow(&mut self, client: &Client, entry: &Registered, args: &Args<'_>, taken_ns: u64) {
        let taken_us = (taken_ns / 1000) as i64;
        let limit = self.engine.config.slowlog_log_slower_than;
        if limit >= 0 && taken_us >= limit {
            let seconds = self.engine.now() / 1000;
            let max = self.engine.config.slowlog_max_len as usize;
            self.engine.stats.slowlog.push(
                shown(entry, args),
                taken_us,
                seconds,
                &client.peer,
                &client.name,
                max,
            );
        }
        let threshold = self.engine.config.latency_monitor_threshold;
        if threshold > 0 && taken_us / 1000 >= threshold {
            let seconds = self.engine.now() / 1000;
            self.engine
                .stats
                .latency
                .add("command", seconds, (taken_us / 1000) as u32);
        }
    }

    /// Hands what the unit propagates to the stream, as a transaction when it is more than one command.
    #[inline]
    pub(super) fn finish_unit(&mut self, client: &mut Client) {
        if !self.engine.pending.is_empty() {
            self.flush_pending(client);
        }
    }

    #[cold]
    fn flush_pending(&mut self, client: &mut Client) {
        let scattered = client
            .last_command
            .is_some_and(|id| table().get(id).command.is(TOUCHES_ARBITRARY_KEYS));
        self.engine.flush_pending(!scattered);
        client.write_offset = self.engine.replication.stream.offset();
    }

    /// Shows a command that has run to the monitors, in the database that it left selected. One that a monitor itself
    /// has sent comes behind its reply.
    #[cold]
    pub(super) fn feed_monitors(
        &mut self,
        client: &mut Client,
        entry: &Registered,
        args: &Args<'_>,
    ) {
        let us = self.engine.clock.unix_us();
        let mut line =
            format!("{}.{:06} [{} ", us / 1_000_000, us % 1_000_000, client.db).into_bytes();
        match client.is(ClientFlags::UNIX_SOCKET) {
            true => {
                line.extend_from_slice(b"unix:");
                let path = client.peer.strip_suffix(":0").unwrap_or(&client.peer);
                line.extend_from_slice(path.as_bytes());
            }
            false => line.extend_from_slice(client.peer.as_bytes()),
        }
        line.push(b']');
        for argument in shown(entry, args) {
            line.push(b' ');
            crate::base::quote::push_quoted(&mut line, argument);
        }
        let deaf =
            ClientFlags::CLOSE_AFTER_REPLY | ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP;
        if client.is(ClientFlags::MONITOR) && !client.is(deaf) {
            client.reply.simple_bytes(&line);
        }
        let monitors = std::mem::take(&mut self.engine.monitors);
        for &link in &monitors {
            if let Some(monitor) = self.engine.clients.get_mut(link) {
                monitor.reply.simple_bytes(&line);
                self.engine.mark_dirty(link);
            }
        }
        self.engine.monitors = monitors;
    }
}

/// The arguments as others may see them: without secrets.
fn shown<'a>(entry: &Registered, args: &'a Args<'_>) -> impl ExactSizeIterator<Item = &'a [u8]> {
    let secrets = entry.command.secrets;
    let hidden = move |index| secrets.hide(args, index);
    args.iter()
        .enumerate()
        .map(move |(index, argument)| match hidden(index) {
            true => b"(redacted)",
            false => argument,
        })
}
