//! Judges results against the lists and counts them, in all and by area.

use std::collections::BTreeMap;

use crate::lists::{Expected, Inventory, Reason, SET_UP};
use crate::unit::Results;

/// The rows of the table: what a unit is about. A unit that stands nowhere is in the last row.
const AREAS: &[(&str, &[&str])] = &[
    (
        "connections",
        &[
            "unit/auth",
            "unit/client-eviction",
            "unit/limits",
            "unit/networking",
            "unit/obuf-limits",
            "unit/pause",
            "unit/pendingquerybuf",
            "unit/protocol",
            "unit/querybuf",
            "unit/quit",
            "unit/replybufsize",
            "unit/violations",
        ],
    ),
    (
        "keys",
        &[
            "unit/dump",
            "unit/expire",
            "unit/keyspace",
            "unit/lazyfree",
            "unit/scan",
            "unit/sort",
        ],
    ),
    ("strings", &["unit/type/incr", "unit/type/string"]),
    ("bitmaps", &["unit/bitfield", "unit/bitops"]),
    (
        "lists",
        &["unit/type/list", "unit/type/list-2", "unit/type/list-3"],
    ),
    ("sets", &["unit/type/set"]),
    ("hashes", &["unit/type/hash", "unit/type/hash-field-expire"]),
    ("sorted sets", &["unit/type/zset"]),
    ("streams", &["unit/type/stream", "unit/type/stream-cgroups"]),
    ("geo", &["unit/geo"]),
    ("HyperLogLog", &["unit/hyperloglog"]),
    ("transactions", &["unit/multi"]),
    ("pub/sub", &["unit/pubsub", "unit/pubsubshard"]),
    ("scripts", &["unit/functions", "unit/scripting"]),
    ("ACL", &["unit/acl", "unit/acl-v2"]),
    (
        "introspection",
        &[
            "unit/info",
            "unit/info-command",
            "unit/info-keysizes",
            "unit/introspection",
            "unit/introspection-2",
            "unit/latency-monitor",
            "unit/printver",
            "unit/slowlog",
        ],
    ),
    ("client tracking", &["unit/tracking"]),
    (
        "memory",
        &["unit/maxmemory", "unit/memefficiency", "unit/oom-score-adj"],
    ),
    (
        "server",
        &[
            "integration/dismiss-mem",
            "integration/logging",
            "integration/shutdown",
            "unit/other",
            "unit/shutdown",
        ],
    ),
    (
        "RDB",
        &[
            "integration/convert-ziplist-hash-on-load",
            "integration/convert-ziplist-zset-on-load",
            "integration/convert-zipmap-hash-on-load",
            "integration/corrupt-dump",
            "integration/corrupt-dump-fuzzer",
            "integration/rdb",
        ],
    ),
    (
        "AOF",
        &[
            "integration/aof",
            "integration/aof-multi-part",
            "integration/aof-race",
            "unit/aofrw",
        ],
    ),
    (
        "replication",
        &[
            "integration/block-repl",
            "integration/failover",
            "integration/psync2",
            "integration/psync2-master-restart",
            "integration/psync2-pingoff",
            "integration/psync2-reg",
            "integration/replication",
            "integration/replication-2",
            "integration/replication-3",
            "integration/replication-4",
            "integration/replication-buffer",
            "integration/replication-psync",
            "integration/replication-rdbchannel",
            "unit/wait",
        ],
    ),
    (
        "redis-cli, redis-benchmark",
        &["integration/redis-benchmark", "integration/redis-cli"],
    ),
    ("TLS", &["unit/tls"]),
    ("cluster", &[]),
];

fn area_of(unit: &str) -> usize {
    AREAS
        .iter()
        .position(|(_, units)| units.contains(&unit))
        .unwrap_or(AREAS.len() - 1)
}

/// Tests by what became of them.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub passed: usize,
    /// Not listed, and failed or did not run.
    pub failed: usize,
    /// Listed.
    pub skipped: usize,
    /// Listed for a reason that no server without forks, modules or that allocator could overcome, or because the suite
    /// of 8.0 says otherwise.
    pub inapplicable: usize,
    /// Listed as waiting for an area.
    pub not_yet: usize,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.inapplicable += other.inapplicable;
        self.not_yet += other.not_yet;
    }

    /// The share of what this server could pass today.
    pub fn reachable(&self) -> String {
        let reachable = self.applicable() - self.not_yet;
        let percent = 100.0 * self.passed as f64 / reachable.max(1) as f64;
        format!(
            "Of the tests that need no area still to come, {} of {reachable} pass ({percent:.1}%).",
            self.passed
        )
    }

    fn applicable(&self) -> usize {
        self.passed + self.failed + self.skipped - self.inapplicable
    }
}

/// What a unit's results mean.
pub struct Verdict {
    pub counts: Counts,
    /// Test and message, for each that counts as failed.
    pub failures: Vec<(String, String)>,
}

/// Holds a unit's results (none when it was not run) against the lists.
pub fn judge(
    unit: &str,
    results: Option<&Results>,
    inventory: &Inventory,
    expected: &Expected,
) -> Verdict {
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for (name, times) in inventory.tests(unit) {
        let passed = results.map_or(0, |results| {
            results.passed.get(name).copied().unwrap_or(0).min(times)
        });
        let listed = match expected.entry(unit, name) {
            None => 0,
            Some(entry) => entry.times.unwrap_or(times),
        };
        let skipped = listed.min(times - passed);
        counts.skipped += skipped;
        match expected.reason(unit, name) {
            Some(Reason::NotYet(_)) => counts.not_yet += skipped,
            Some(reason) if !reason.is_applicable() => counts.inapplicable += skipped,
            _ => {}
        }
        counts.passed += passed;
        let failed = times - passed - skipped;
        counts.failed += failed;
        if failed > 0 {
            let message = match results.and_then(|results| results.failed.get(name)) {
                Some(message) => message.clone(),
                None => format!("missing: passed {passed} of {times} times"),
            };
            failures.push((name.to_string(), message));
        }
    }
    let Some(results) = results else {
        return Verdict { counts, failures };
    };
    // names that vary from run to run are in no inventory, but may not fail either
    for (name, message) in &results.failed {
        let passed = results.passed.get(name).copied().unwrap_or(0);
        if passed >= inventory.times(unit, name) && expected.reason(unit, name).is_none() {
            counts.failed += 1;
            failures.push((name.clone(), message.clone()));
        }
    }
    if expected.reason(unit, SET_UP).is_none() {
        for message in results.set_up.iter().chain(&results.died) {
            counts.failed += 1;
            failures.push((SET_UP.to_string(), message.clone()));
        }
    }
    Verdict { counts, failures }
}

/// Listed tests of a unit that passed every time, and how many are listed.
pub fn probe(
    unit: &str,
    results: &Results,
    inventory: &Inventory,
    expected: &Expected,
) -> (Vec<String>, usize) {
    let listed: Vec<(&str, usize)> = inventory
        .tests(unit)
        .filter(|(name, _)| expected.reason(unit, name).is_some())
        .collect();
    let passing = listed
        .iter()
        .filter(|(name, times)| {
            results.passed.get(*name).is_some_and(|n| n >= times)
                && !results.failed.contains_key(*name)
        })
        .map(|(name, _)| name.to_string())
        .collect();
    (passing, listed.len())
}

/// The counts of a run: per suite, per area.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, BTreeMap<usize, Counts>>);

impl Tally {
    pub fn add(&mut self, version: &'static str, unit: &str, counts: &Counts) {
        let areas = self.0.entry(version).or_default();
        areas.entry(area_of(unit)).or_default().add(counts);
    }

    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.0.values().flat_map(BTreeMap::values) {
            total.add(counts);
        }
        total
    }

    /// The table for README: passed of applicable.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| area |");
        for version in self.0.keys() {
            text.push_str(&format!(" suite of {version} |"));
        }
        text.push_str("\n|---|");
        text.push_str(&"---:|".repeat(self.0.len()));
        text.push('\n');
        for (index, (area, _)) in AREAS.iter().enumerate() {
            let has_tests = |areas: &BTreeMap<usize, Counts>| {
                areas
                    .get(&index)
                    .is_some_and(|counts| counts.applicable() > 0)
            };
            if !self.0.values().any(has_tests) {
                continue;
            }
            text.push_str(&format!("| {area} |"));
            for areas in self.0.values() {
                text.push_str(&cell(areas.get(&index)));
            }
            text.push('\n');
        }
        text.push_str("| all |");
        for areas in self.0.values() {
            let mut sum = Counts::default();
            areas.values().for_each(|counts| sum.add(counts));
            text.push_str(&cell(Some(&sum)));
        }
        text.push('\n');
        text
    }
}

fn cell(counts: Option<&Counts>) -> String {
    match counts {
        Some(counts) => format!(" {} of {} |", counts.passed, counts.applicable()),
        None => " |".to_string(),
    }
}
