//! Counters, the latency monitor, the slow log: what INFO, LATENCY and SLOWLOG tell.
//!
//! No I/O and no clock: durations and times are arguments. What is done for every request,
//! [`Stats::command_done`], touches two cache lines. To add a counter add a field to [`Totals`]
//! (CONFIG RESETSTAT clears it) and print it where INFO is made.

mod errors;
mod histogram;
mod latency;
mod rate;
mod recent;
mod slowlog;

pub use errors::Errors;
pub use histogram::Histogram;
pub use latency::{Event, Latency, Sample};
pub use rate::Rate;
pub use recent::RecentPeak;
pub use slowlog::{SlowEntry, SlowLog};

/// What is known of one command.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    /// Times it ran, failed ones included.
    pub calls: u64,
    /// Time it took in all.
    pub ns: u64,
    /// Times it was refused before it ran.
    pub rejected_calls: u64,
    /// Times it ran and answered an error.
    pub failed_calls: u64,
    /// Its durations, since it first ran with `latency-tracking` on.
    pub histogram: Option<Histogram>,
}

impl CommandStats {
    /// Whether INFO commandstats lists it.
    pub fn is_used(&self) -> bool {
        self.calls != 0 || self.rejected_calls != 0 || self.failed_calls != 0
    }

    /// Time it took in all, microseconds.
    pub fn us(&self) -> u64 {
        self.ns / 1000
    }

    /// Microseconds a call.
    pub fn us_per_call(&self) -> f64 {
        if self.calls == 0 {
            0.0
        } else {
            self.us() as f64 / self.calls as f64
        }
    }
}

/// Counters that CONFIG RESETSTAT sets to 0, named as in INFO.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Totals {
    pub commands_processed: u64,
    pub connections_received: u64,
    pub rejected_connections: u64,
    pub net_input_bytes: u64,
    pub net_output_bytes: u64,
    pub net_repl_input_bytes: u64,
    pub net_repl_output_bytes: u64,
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub expired_keys: u64,
    pub expired_subkeys: u64,
    pub evicted_keys: u64,
    pub evicted_clients: u64,
    pub evicted_scripts: u64,
    pub expired_time_cap_reached_count: u64,
    pub expire_cycle_cpu_ns: u64,
    /// Time over maxmemory, as far as it is past.
    pub eviction_exceeded_ns: u64,
    /// Since when it is over, if it is.
    pub eviction_exceeded_since_ns: Option<u64>,
    pub sync_full: u64,
    pub sync_partial_ok: u64,
    pub sync_partial_err: u64,
    pub snapshots: u64,
    pub rdb_saves: u64,
    pub reads_processed: u64,
    pub writes_processed: u64,
    pub unexpected_error_replies: u64,
    pub dump_payload_sanitizations: u64,
    pub client_query_buffer_limit_disconnections: u64,
    pub client_output_buffer_limit_disconnections: u64,
    pub reply_buffer_shrinks: u64,
    pub reply_buffer_expands: u64,
    pub eventloop_cycles: u64,
    pub eventloop_ns: u64,
    pub eventloop_command_ns: u64,
    pub eventloop_cron_ns: u64,
    pub eventloop_ns_max: u64,
    pub eventloop_commands_max: u64,
    pub acl_access_denied_auth: u64,
    pub acl_access_denied_cmd: u64,
    pub acl_access_denied_key: u64,
    pub acl_access_denied_channel: u64,
}

/// Growth a second of some of the totals.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Commands.
    pub commands: Rate,
    /// Bytes from clients.
    pub input: Rate,
    /// Bytes to clients.
    pub output: Rate,
    /// Bytes from the master.
    pub repl_input: Rate,
    /// Bytes to replicas.
    pub repl_output: Rate,
    /// Rounds of the loop.
    pub cycles: Rate,
    /// Nanoseconds a round.
    pub cycle_ns: Rate,
}

/// All statistics of a server. The totals can be reached as fields of this.
#[derive(Clone, Debug)]
pub struct Stats {
    /// What RESETSTAT clears.
    pub totals: Totals,
    /// Objects that helpers had freed at the last RESETSTAT.
    pub freed_before_reset: u64,
    /// Rates of the last 1.6 seconds.
    pub rates: Rates,
    /// The largest input buffer of a client, bytes.
    pub recent_input: RecentPeak,
    /// The most output that waited for a client, bytes.
    pub recent_output: RecentPeak,
    /// Error replies by code.
    pub errors: Errors,
    /// SLOWLOG.
    pub slowlog: SlowLog,
    /// LATENCY.
    pub latency: Latency,
    /// `latency-tracking`: keep histograms of commands.
    pub latency_tracking: bool,
    /// The highest used memory a sample saw, and when: milliseconds since 1970 or of the server's
    /// clock, as the caller has it.
    pub peak_memory: (usize, u64),
    commands: Vec<CommandStats>,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            totals: Totals::default(),
            freed_before_reset: 0,
            rates: Rates::default(),
            recent_input: RecentPeak::default(),
            recent_output: RecentPeak::default(),
            errors: Errors::default(),
            slowlog: SlowLog::default(),
            latency: Latency::default(),
            latency_tracking: true,
            peak_memory: (0, 0),
            commands: Vec::new(),
        }
    }
}

impl std::ops::Deref for Stats {
    type Target = Totals;

    #[inline]
    fn deref(&self) -> &Totals {
        &self.totals
    }
}

impl std::ops::DerefMut for Stats {
    #[inline]
    fn deref_mut(&mut self) -> &mut Totals {
        &mut self.totals
    }
}

impl Stats {
    /// Everything at 0.
    pub fn new() -> Stats {
        Stats::default()
    }

    /// Makes room for commands with the ids 0 to `count` - 1.
    pub fn size_commands(&mut self, count: usize) {
        self.commands.resize_with(count, CommandStats::default);
    }

    /// What is known of a command. Panics when `id` was not made room for.
    pub fn command(&self, id: usize) -> &CommandStats {
        &self.commands[id]
    }

    /// A command ran.
    #[inline]
    pub fn command_done(&mut self, id: usize, ns: u64, failed: bool) {
        self.totals.commands_processed += 1;
        let tracking = self.latency_tracking;
        let Some(command) = self.commands.get_mut(id) else {
            return;
        };
        command.calls += 1;
        command.ns += ns;
        command.failed_calls += u64::from(failed);
        if tracking {
            match &mut command.histogram {
                Some(histogram) => histogram.record(ns),
                None => first_record(&mut command.histogram, ns),
            }
        }
    }

    /// A command was refused before it ran.
    pub fn command_rejected(&mut self, id: usize) {
        if let Some(command) = self.commands.get_mut(id) {
            command.rejected_calls += 1;
        }
    }

    /// Samples the rates and the peak of memory; every 100 ms.
    pub fn sample(&mut self, now_ms: u64, used_memory: usize) {
        let (totals, rates) = (&self.totals, &mut self.rates);
        rates
            .commands
            .sample(totals.commands_processed, now_ms, 1000);
        rates.input.sample(totals.net_input_bytes, now_ms, 1000);
        rates.output.sample(totals.net_output_bytes, now_ms, 1000);
        rates
            .repl_input
            .sample(totals.net_repl_input_bytes, now_ms, 1000);
        rates
            .repl_output
            .sample(totals.net_repl_output_bytes, now_ms, 1000);
        rates.cycles.sample(totals.eventloop_cycles, now_ms, 1000);
        rates
            .cycle_ns
            .sample(totals.eventloop_ns, totals.eventloop_cycles, 1);
        self.note_memory(now_ms, used_memory);
    }

    /// Raises the peak of memory.
    pub fn note_memory(&mut self, now_ms: u64, used_memory: usize) {
        if used_memory > self.peak_memory.0 {
            self.peak_memory = (used_memory, now_ms);
        }
    }

    /// CONFIG RESETSTAT: totals, rates, errors and commands start over; the slow log, the
    /// latency events and what was denied stay. The peak of memory becomes what is used now.
    pub fn reset(&mut self, now_ms: u64, used_memory: usize) {
        self.totals = Totals {
            acl_access_denied_auth: self.totals.acl_access_denied_auth,
            acl_access_denied_cmd: self.totals.acl_access_denied_cmd,
            acl_access_denied_key: self.totals.acl_access_denied_key,
            acl_access_denied_channel: self.totals.acl_access_denied_channel,
            ..Totals::default()
        };
        self.rates = Rates::default();
        self.errors = Errors::default();
        self.peak_memory = (used_memory, now_ms);
        self.commands.fill(CommandStats::default());
    }
}

#[cold]
fn first_record(histogram: &mut Option<Histogram>, ns: u64) {
    histogram.get_or_insert_with(Histogram::default).record(ns);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_counted() {
        let mut stats = Stats::new();
        stats.size_commands(3);
        stats.command_done(1, 5_000, false);
        stats.command_done(1, 7_000, true);
        stats.command_rejected(2);
        let command = stats.command(1);
        assert_eq!(
            (command.calls, command.us(), command.failed_calls),
            (2, 12, 1)
        );
        assert_eq!(command.us_per_call(), 6.0);
        assert!(!stats.command(0).is_used() && stats.command(2).is_used());
        assert_eq!(stats.commands_processed, 2);
        stats.reset(0, 0);
        assert!(!stats.command(1).is_used() && stats.command(1).histogram.is_none());
    }
}
