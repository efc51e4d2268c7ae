//! What time alone brings about: unpausing, idle clients, expiry, samples.
//!
//! Timers run between rounds; each has a budget so that no round is long.

use super::Machine;
use crate::engine::{ClientFlags, Host};

/// The period of the slow timer, nanoseconds, at hz 10.
const PERIOD_NS: u64 = 100_000_000;
/// Reclaiming due keys takes at most so long in a round.
const RECLAIM_BUDGET_NS: u64 = 500_000;
/// Due keys reclaimed between two looks at the clock.
const RECLAIM_STEP: usize = 64;

/// When the timers run next.
#[derive(Default)]
pub(super) struct Cron {
    next_ns: u64,
}

impl Machine {
    /// Runs what is due; returns how long the shell may sleep, nanoseconds.
    pub(super) fn run_cron(&mut self, host: &mut dyn Host) -> u64 {
        let now_ns = self.engine.clock.mono_ns;
        if self.engine.pause.is_set() {
            self.check_pause();
        }
        let more_due = self.reclaim(host);
        if now_ns >= self.cron.next_ns {
            self.cron.next_ns = now_ns + PERIOD_NS;
            self.slow_timer(host);
        }
        if more_due || !self.engine.ready.is_empty() {
            return 0;
        }
        let mut until = self.cron.next_ns;
        if let Some(pause_ms) = self.engine.pause.until_ms() {
            until = until.min(pause_ms.saturating_mul(1_000_000));
        }
        until.saturating_sub(self.engine.clock.mono_ns)
    }

    fn check_pause(&mut self) {
        if self
            .engine
            .pause
            .kind(self.engine.clock.mono_ms())
            .is_none()
        {
            self.engine.end_pause();
        }
    }

    /// Deletes due keys within the budget, round-robin over the databases; true when some are left.
    fn reclaim(&mut self, host: &mut dyn Host) -> bool {
        if !self.engine.active_expire
            || self.engine.is_replica()
            || self.engine.pause.stops_expiry(self.engine.clock.mono_ms())
        {
            return false;
        }
        let deadline = self.engine.clock.mono_ns + RECLAIM_BUDGET_NS;
        let now = self.engine.now();
        for db in 0..self.engine.keyspace.count() {
            self.engine.keyspace.maintain(db, now);
            while self.engine.keyspace.due_count(db, now) > 0 {
                for _ in 0..RECLAIM_STEP {
                    let Some(key) = self.engine.keyspace.next_due(db, now) else {
                        break;
                    };
                    let key = self.engine.keyspace.key(&key);
                    self.engine.expire(db, key);
                }
                if host.monotonic_ns() >= deadline {
                    return true;
                }
            }
        }
        false
    }

    fn slow_timer(&mut self, host: &mut dyn Host) {
        let used = host.used_memory();
        let now_ms = self.engine.clock.mono_ms();
        self.engine.stats.sample(now_ms, used);
        let timeout = self.engine.config.timeout;
        if timeout > 0 {
            self.close_idle(timeout * 1000);
        }
    }

    fn close_idle(&mut self, timeout_ms: i64) {
        let now = self.engine.now();
        let exempt =
            ClientFlags::REPLICA | ClientFlags::MASTER | ClientFlags::BLOCKED | ClientFlags::PUBSUB;
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
