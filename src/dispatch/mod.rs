//! The machine's entry: look-up, guards, call, MULTI, propagation, cron.
//!
//! [`Machine`] is deterministic: bytes of links, ticks and helpers' results in; bytes for links
//! and [`Action`]s out. The shell calls, in one round of its loop:
//! 1. [`Machine::begin_round`],
//! 2. [`Machine::open`], [`Machine::input`], [`Machine::closed`] as events come,
//! 3. [`Machine::end_round`], which runs timers, expiry and unblocked clients,
//! 4. for each link of [`Machine::take_dirty_links`]: writes what [`Machine::output`] gives, reports it by
//!    [`Machine::wrote`]; then carries out `engine.actions`,
//! 5. [`Machine::round_ended`], before it sleeps.

mod blocked;
mod call;
mod cron;
mod guards;
mod input;
mod migrate;
mod persistence;
mod replication;
pub mod running;
mod transaction;

use crate::command::{Registered, rename, table};
use crate::config::Config;
use crate::engine::{Action, Client, ClientFlags, Clock, Engine, Host, LinkId, Renames};
use crate::replication::replica::State;

/// What a link is, as the shell accepted it.
#[derive(Clone, Debug, Default)]
pub struct LinkFacts {
    /// Peer address as CLIENT LIST prints it.
    pub peer: String,
    /// Local address likewise.
    pub local: String,
    /// File descriptor number.
    pub fd: i32,
    /// Through the Unix socket.
    pub unix: bool,
    /// From this machine.
    pub loopback: bool,
}

/// What is left of a link's output after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Perhaps something: see [`Machine::output`].
    Part,
    /// Nothing for now.
    All,
    /// Nothing, and the link is to be closed now.
    End,
}

impl Written {
    /// After `bytes` of what may be more; to have written none of nothing ends it.
    fn part(bytes: usize) -> Written {
        match bytes {
            0 => Written::All,
            _ => Written::Part,
        }
    }
}

/// The whole server without its sockets.
pub struct Machine {
    /// The state commands see.
    pub engine: Engine,
    /// Taken while input is run.
    batch: Option<Box<input::Batch>>,
    round_start_ns: u64,
    /// When an attack was logged last.
    attack_logged_ms: Option<u64>,
    round_start_commands: u64,
    cron: cron::Cron,
    /// Inside EXEC: the clock stands still and propagation gathers.
    in_exec: bool,
    /// The command that is called is that of a client that waited.
    again: bool,
    exec: &'static Registered,
    load: Option<Box<persistence::Load>>,
    progress: replication::Progress,
}

impl Machine {
    /// A machine with an empty data set. Errs on a rename-command that cannot be carried out.
    pub fn new(config: Config, seed: u64, host: &mut dyn Host) -> Result<Machine, String> {
        let mut renames = Renames::default();
        for wanted in &config.renames {
            rename(&mut renames, &wanted.from, &wanted.to).map_err(str::to_string)?;
        }
        let mono_ns = host.monotonic_ns();
        let clock = Clock {
            mono_ns,
            offset_us: host.unix_us() - (mono_ns / 1000) as i64,
        };
        let exec = table()
            .find(b"exec")
            .ok_or("no EXEC in the command table")?;
        let mut engine = Engine::new(config, seed, clock);
        engine.renames = renames;
        engine.command_name = |id| table().get(id).full_name.as_str();
        engine.stats.size_commands(table().all().len());
        Ok(Machine {
            engine,
            batch: None,
            round_start_ns: mono_ns,
            attack_logged_ms: None,
            round_start_commands: 0,
            cron: cron::Cron::default(),
            in_exec: false,
            again: false,
            exec,
            load: None,
            progress: replication::Progress::default(),
        })
    }

    /// Reads the clocks: the wall clock once a round, so that all of a round's instants agree.
    pub fn begin_round(&mut self, host: &mut dyn Host) {
        let mono_ns = host.monotonic_ns();
        self.round_start_ns = mono_ns;
        self.round_start_commands = self.engine.stats.commands_processed;
        self.engine.set_clock(Clock {
            mono_ns,
            offset_us: host.unix_us() - (mono_ns / 1000) as i64,
        });
    }

    /// A connection was accepted. Over maxclients or against protected mode it gets Redis's error and is closed.
    pub fn open(&mut self, link: LinkId, facts: LinkFacts) {
        let id = self.engine.clients.next_id();
        let mut client = Box::new(Client::new(id, link, self.engine.now()));
        client.peer = facts.peer;
        client.local = facts.local;
        client.fd = facts.fd;
        if facts.unix {
            client.flags.insert(ClientFlags::UNIX_SOCKET);
        }
        if facts.unix || facts.loopback {
            client.flags.insert(ClientFlags::LOCAL);
        }
        if self.engine.config.requirepass.get().is_none() {
            client.flags.insert(ClientFlags::AUTHENTICATED);
        }
        let refusal = guards::refuse_connection(&self.engine, &client);
        match refusal {
            None => self.engine.stats.connections_received += 1,
            Some(text) => {
                client.reply.error(text);
                client.flags.insert(ClientFlags::CLOSE_AFTER_REPLY);
                self.engine.stats.rejected_connections += 1;
            }
        }
        self.engine.clients.insert(client);
        if refusal.is_some() {
            self.engine.mark_dirty(link);
        }
    }

    /// The peer of a link has closed its side.
    pub fn hung_up(&mut self, link: LinkId) {
        self.closed(link);
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        if let Some(client) = self.engine.clients.get(link)
            && (!client.is(ClientFlags::MASTER)
                || self.engine.replication.master_state() == Some(State::Connected))
        {
            let line = self.engine.described(client, None);
            log::debug!("Client closed connection {line}");
        }
    }

    /// The socket of a link is gone (peer closed, error).
    pub fn closed(&mut self, link: LinkId) {
        match self.engine.clients.get(link) {
            Some(client) => {
                if self.engine.master_link == Some(link)
                    && !client.is(ClientFlags::CLOSE_ASAP)
                    && let Some(master) = &self.engine.replication.master
                {
                    master.hung_up();
                }
                self.engine.close_soon(link);
            }
            None => self.engine.target_closed(link),
        }
    }

    /// The connection of a socket that this machine asked for stands, or could not be made (`error`).
    pub fn connected(&mut self, link: LinkId, error: Option<String>) {
        match self.engine.clients.get(link) {
            Some(_) => self.master_connected(link, error),
            None => self.engine.target_connected(link, error.is_some()),
        }
    }

    /// SIGTERM (or SIGINT) asks for an orderly end, which comes with the end of the round.
    pub fn stop(&mut self, interrupt: bool, _host: &mut dyn Host) {
        let config = &self.engine.config;
        let options = match interrupt {
            true => config.shutdown_on_sigint,
            false => config.shutdown_on_sigterm,
        };
        // One that is under way goes on as it was asked for.
        let shutdown = self.engine.shutdown.get_or_insert_default();
        if !shutdown.announced {
            shutdown.options = options;
        }
    }

    /// Ends the round's work before its output is written: timers, unblocked clients, expiry, closings.
    /// Returns the longest the shell may sleep, nanoseconds.
    pub fn end_round(&mut self, host: &mut dyn Host) -> u64 {
        self.end_flushes();
        self.engine.end_key_waits();
        self.retry_key_waits(host);
        self.run_ready(host);
        let cron_start_ns = host.monotonic_ns();
        let mut sleep_ns = self.run_cron(host);
        self.engine.stats.eventloop_cron_ns += host.monotonic_ns() - cron_start_ns;
        if self.run_load(host) {
            sleep_ns = 0;
        }
        self.run_saves(false, host);
        let mut wake_ms = self.run_migrations(host);
        self.run_shutdown(host);
        wake_ms = [wake_ms, self.replication_round(host)]
            .into_iter()
            .flatten()
            .min();
        if let Some(wake_ms) = wake_ms {
            let wake_ns = wake_ms.saturating_mul(1_000_000);
            sleep_ns = sleep_ns.min(wake_ns.saturating_sub(self.engine.clock.mono_ns));
        }
        if let Some((deadline_ms, _)) = self.engine.key_waits.first_deadline() {
            let deadline_ns = deadline_ms.saturating_mul(1_000_000);
            sleep_ns = sleep_ns.min(deadline_ns.saturating_sub(self.engine.clock.mono_ns));
        }
        sleep_ns = sleep_ns.min(self.retry_sleep_ns());
        if !self.engine.ready.is_empty() {
            sleep_ns = 0;
        }
        if let Some(resumes_ns) = self.engine.load_held_until_ns() {
            sleep_ns = sleep_ns.min(resumes_ns.saturating_sub(self.engine.clock.mono_ns));
        }
        self.drop_closing();
        sleep_ns
    }

    /// The round is over: its time goes to INFO's figures of the loop.
    pub fn round_ended(&mut self, host: &mut dyn Host) {
        let taken_ns = host.monotonic_ns().saturating_sub(self.round_start_ns);
        let totals = &mut self.engine.stats.totals;
        let commands =
            totals.commands_processed - self.round_start_commands.min(totals.commands_processed);
        totals.eventloop_cycles += 1;
        totals.eventloop_ns += taken_ns;
        totals.eventloop_ns_max = totals.eventloop_ns_max.max(taken_ns);
        totals.eventloop_commands_max = totals.eventloop_commands_max.max(commands);
    }

    /// The next bytes to write to a link; empty when all is written.
    pub fn output(&self, link: LinkId) -> &[u8] {
        match self.engine.clients.get(link) {
            Some(client) if client.unsent() == 0 && client.is(ClientFlags::REPLICA) => {
                self.engine.stream_output(link)
            }
            Some(client) => &client.reply.buf[client.sent..],
            None => self.engine.target_output(link),
        }
    }

    /// `bytes` of [`Machine::output`] are written.
    pub fn wrote(&mut self, link: LinkId, bytes: usize) -> Written {
        let Some(client) = self.engine.clients.get_mut(link) else {
            self.engine.target_wrote(link, bytes);
            return Written::part(bytes);
        };
        client.bytes_out += bytes as u64;
        self.engine.stats.writes_processed += u64::from(bytes > 0);
        if client.is(ClientFlags::REPLICA) {
            self.engine.stats.net_repl_output_bytes += bytes as u64;
            let now = self.engine.clock.unix_ms();
            if client.unsent() == 0 {
                if bytes > 0 {
                    self.engine.replication.source.sent(link, bytes);
                }
                if client.is(ClientFlags::CLOSE_AFTER_REPLY) {
                    return Written::End;
                }
                return Written::part(bytes);
            }
            if bytes > 0 {
                self.engine.replication.source.payload_moves(link, now);
            }
        } else {
            self.engine.stats.net_output_bytes += bytes as u64;
        }
        client.sent += bytes;
        if client.sent == client.reply.buf.len() {
            client.sent = 0;
            client.reply.buf.clear();
            if client.reply.buf.capacity() > input::REPLY_KEPT_BYTES {
                client.reply.buf.shrink_to(input::REPLY_KEPT_BYTES);
            }
            return if client.is(ClientFlags::CLOSE_AFTER_REPLY) {
                Written::End
            } else if client.is(ClientFlags::REPLICA) {
                // The stream comes behind its replies.
                Written::part(bytes)
            } else {
                Written::All
            };
        }
        // A reader that never quite catches up must not hold what it has read; what is left to move is then little.
        if client.sent > input::REPLY_KEPT_BYTES && client.sent > client.reply.buf.len() / 4 * 3 {
            client.reply.buf.drain(..client.sent);
            client.sent = 0;
        }
        Written::part(bytes)
    }

    /// Takes the list of links with output; each link's mark is cleared.
    pub fn take_dirty_links(&mut self, into: &mut Vec<LinkId>) {
        into.clear();
        std::mem::swap(into, &mut self.engine.dirty_links);
        into.append(&mut self.engine.dirty_others);
        for &link in into.iter() {
            if let Some(client) = self.engine.clients.get_mut(link) {
                client.flags.remove(ClientFlags::DIRTY_LINK);
            }
        }
    }

    /// Drops the clients that are to be closed and tells the shell.
    pub fn drop_closing(&mut self) {
        while let Some(link) = self.engine.closing.pop() {
            if let Some(client) = self.engine.clients.remove(link) {
                self.engine.watched.unwatch_all(link);
                self.engine.pubsub.leave(link);
                if client.is(ClientFlags::MONITOR) {
                    self.engine.monitors.retain(|&other| other != link);
                }
                self.replication_closed(&client);
                self.engine.actions.push(Action::Close(link));
            }
        }
    }
}
