//! What time alone brings about: unpausing, idle clients, expiry, samples.
//!
//! Timers run between rounds; each has a budget so that no round is long.

use super::Machine;
use super::input::QUERY_BYTES;
use crate::engine::{Action, Blocked, ClientFlags, Host, LinkId};

/// The period of the slow timer, nanoseconds, at hz 10.
const PERIOD_NS: u64 = 100_000_000;
/// Reclaiming due keys takes at most so long in a millisecond. The loop then waits for the next one even when it has
/// nothing else to do: one that never sleeps is what the system interrupts first, and requests waited 6 to 10 ms then.
const RECLAIM_BUDGET_NS: u64 = 500_000;
const RECLAIM_PERIOD_NS: u64 = 1_000_000;
/// Due keys reclaimed between two looks at the clock.
const RECLAIM_STEP: usize = 64;
/// The log is told so often what there is, at its more talkative levels.
const GLANCE_PERIOD_NS: u64 = 5_000_000_000;
/// A client that was silent for so long is idle: its buffers shrink.
const IDLE_MS: i64 = 2000;
/// Spare room that a buffer of an idle client keeps.
const SPARE_BYTES: usize = 1024;

/// When the timers run next.
#[derive(Default)]
pub(super) struct Cron {
    next_ns: u64,
    /// When the log is told next what there is.
    next_glance_ns: u64,
    /// The wall-clock millisecond that `maintain` has run for.
    maintained_ms: i64,
    /// `maintain` has more to do in the next one.
    more: bool,
    /// Clients with output, among those that the slow timer looked at; reused.
    unsent: Vec<LinkId>,
}

impl Machine {
    /// Runs what is due; returns how long the shell may sleep, nanoseconds.
    pub(super) fn run_cron(&mut self, host: &mut dyn Host) -> u64 {
        let now_ns = self.engine.clock.mono_ns;
        if self.engine.cron_paused {
            return PERIOD_NS;
        }
        if self.engine.pause.is_set() && self.engine.pause.end_passed(now_ns / 1_000_000) {
            self.engine.resume_postponed();
            self.serve_key_waits(host);
        }
        self.maintain(host);
        if now_ns >= self.cron.next_ns {
            self.cron.next_ns = now_ns + PERIOD_NS;
            self.slow_timer(host);
        }
        if !self.engine.ready.is_empty() {
            return 0;
        }
        let mut until = self.cron.next_ns;
        if self.cron.more {
            until = until.min(now_ns + RECLAIM_PERIOD_NS);
        }
        if let Some(pause_ms) = self.engine.pause.until_ms() {
            until = until.min(pause_ms.saturating_mul(1_000_000));
        }
        until.saturating_sub(self.engine.clock.mono_ns)
    }

    /// Keeps the time indexes and what awaits freeing in motion: once a millisecond, or at once when a client waits
    /// for what it flushed.
    fn maintain(&mut self, host: &mut dyn Host) {
        let now = self.engine.now();
        if self.engine.flushing.is_empty() && now == self.cron.maintained_ms {
            return;
        }
        self.cron.maintained_ms = now;
        self.cron.more = self.reclaim(host);
        self.serve_key_waits(host);
        if let Some(garbage) = self.engine.keyspace.take_garbage() {
            self.engine.actions.push(Action::Free(garbage));
        }
    }

    /// Answers the flushes whose memory is free.
    pub(super) fn end_flushes(&mut self) {
        let engine = &mut self.engine;
        if engine.flushing.is_empty() {
            return;
        }
        let freed_by_now = engine.keyspace.freed_objects();
        for link in std::mem::take(&mut engine.flushing) {
            let Some(client) = engine.clients.get_mut(link) else {
                continue;
            };
            let Some(Blocked::Flush { freed }) = client.blocked else {
                continue;
            };
            if freed > freed_by_now {
                engine.flushing.push(link);
                continue;
            }
            client.end_wait(|client| client.reply.ok());
            engine.ready.push_back(link);
            engine.mark_dirty(link);
        }
    }

    /// Deletes due keys within the budget, database after database; true when some are left.
    fn reclaim(&mut self, host: &mut dyn Host) -> bool {
        let now = self.engine.now();
        let deletes = self.engine.counts_exactly()
            && !self.engine.is_loading()
            && !self.engine.pause.stops_expiry(self.engine.clock.mono_ms());
        if !self.engine.own_expires.is_empty() {
            self.engine.reclaim_own_keys();
        }
        let start_ns = host.monotonic_ns();
        let mut more = false;
        let mut deleted = false;
        for db in 0..self.engine.keyspace.count() {
            let keyspace = &self.engine.keyspace;
            if keyspace.expires_len(db) == 0 && keyspace.timed_hashes_len(db) == 0 {
                continue;
            }
            more |= self.engine.keyspace.maintain(db, now);
            while let Some(due) = self.engine.what_is_due(db).filter(|_| deletes) {
                deleted = true;
                let mut left = RECLAIM_STEP;
                while left > 0 {
                    let reclaimed = self.engine.reclaim_one(db, due, left);
                    if reclaimed == 0 {
                        break;
                    }
                    left = left.saturating_sub(reclaimed);
                    self.engine.flush_pending(false);
                }
                let spent_ns = host.monotonic_ns() - start_ns;
                if spent_ns >= RECLAIM_BUDGET_NS {
                    self.engine.stats.expire_cycle_cpu_ns += spent_ns;
                    self.engine.stats.expired_time_cap_reached_count += 1;
                    return true;
                }
            }
        }
        if deleted {
            self.engine.stats.expire_cycle_cpu_ns += host.monotonic_ns() - start_ns;
        }
        more
    }

    fn slow_timer(&mut self, host: &mut dyn Host) {
        if self.engine.config.watchdog_period > 0 {
            host.watchdog(self.engine.config.watchdog_period.unsigned_abs());
        }
        self.engine.watch_background_save();
        self.run_saves(true, host);
        let used = host.used_memory();
        let now_ms = self.engine.clock.mono_ms();
        self.engine.stats.sample(now_ms, used);
        self.note_excess(used);
        if self.engine.clock.mono_ns >= self.cron.next_glance_ns {
            self.cron.next_glance_ns = self.engine.clock.mono_ns + GLANCE_PERIOD_NS;
            self.log_glance(used);
        }
        self.replication_cron();
        self.engine.drop_kept_targets();
        self.shrink_buffers();
        self.check_output_limits();
        let timeout = self.engine.config.timeout;
        if timeout > 0 {
            self.close_idle(timeout * 1000);
        }
    }

    /// Notes for how long more memory than `maxmemory` is used.
    fn note_excess(&mut self, used_bytes: usize) {
        let (limit, now_ns) = (self.engine.config.maxmemory, self.engine.clock.mono_ns);
        let totals = &mut self.engine.stats.totals;
        if limit > 0 && used_bytes as u64 > limit {
            totals.eviction_exceeded_since_ns.get_or_insert(now_ns);
        } else if let Some(since_ns) = totals.eviction_exceeded_since_ns.take() {
            totals.eviction_exceeded_ns += now_ns.saturating_sub(since_ns);
        }
    }

    /// Tells the log of the databases that hold keys, and of the clients.
    fn log_glance(&self, used_bytes: usize) {
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        let keyspace = &self.engine.keyspace;
        for db in (0..keyspace.count()).filter(|&db| !keyspace.is_empty(db)) {
            log::debug!(
                "DB {db}: {} keys ({} volatile) in {} slots HT.",
                keyspace.len(db),
                keyspace.expires_len(db),
                keyspace.capacity(db)
            );
        }
        let replicas = self.engine.replication.source.replicas().len();
        log::trace!(
            "{} clients connected ({replicas} replicas), {used_bytes} bytes in use",
            self.engine.clients.count().saturating_sub(replicas)
        );
    }

    /// Notes how large the buffers of clients are, gives back what those of idle ones hold beyond their content, and
    /// what large arguments of others left. Notes who has output, for [`Machine::check_output_limits`].
    fn shrink_buffers(&mut self) {
        let now = self.engine.now();
        let mut shrinks = 0;
        let unsent = &mut self.cron.unsent;
        let stats = &mut self.engine.stats;
        self.engine.clients.visit_some(|client| {
            let input = match client.query.capacity() {
                // What stands by for the next command is not counted.
                ..=QUERY_BYTES => client.query.len(),
                larger => larger,
            };
            stats.recent_input.note(now / 1000, input);
            stats.recent_output.note(now / 1000, client.unsent());
            if client.unsent() > 0 || client.soft_limit_since_ms != 0 {
                unsent.push(client.link);
            }
            if now - client.active_ms <= IDLE_MS {
                if client.query.is_empty() {
                    client.query.shrink_to(QUERY_BYTES);
                }
                return;
            }
            if client.query.capacity() > client.query.len() + SPARE_BYTES {
                client.query.shrink_to_fit();
            }
            let reply = &mut client.reply.buf;
            if reply.is_empty() && reply.capacity() > SPARE_BYTES {
                reply.shrink_to(SPARE_BYTES);
                shrinks += 1;
            }
        });
        stats.reply_buffer_shrinks += shrinks;
    }

    /// Holds the output of clients against its limits, as their commands do: a client that only waits sends none, and
    /// the soft limit is a matter of time.
    fn check_output_limits(&mut self) {
        let mut links = std::mem::take(&mut self.cron.unsent);
        for link in links.drain(..) {
            if let Some(client) = self.engine.clients.take(link) {
                self.put_back(client);
            }
        }
        self.cron.unsent = links;
    }

    fn close_idle(&mut self, timeout_ms: i64) {
        let now = self.engine.now();
        let exempt = ClientFlags::REPLICA
            | ClientFlags::MONITOR
            | ClientFlags::MASTER
            | ClientFlags::BLOCKED
            | ClientFlags::PUBSUB;
        let idle: Vec<usize> = self
            .engine
            .clients
            .iter()
            .filter(|client| !client.is(exempt) && now - client.active_ms > timeout_ms)
            .map(|client| client.link)
            .collect();
        for link in idle {
            log::debug!("Closing idle client");
            self.engine.close_soon(link);
        }
    }
}
