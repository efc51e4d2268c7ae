//! The simulation: several whole machines, a network, disks and clocks, from one seed.
//!
//! Each seed builds a small topology (a source, replicas, perhaps a replica of a replica) and lets
//! it run: clients write values of every type and wait for some, keys and fields expire, snapshots are taken in the middle
//! of all that and encoded later, links are cut at any byte or stand still, nodes crash and lose what they had
//! not saved, restart from their last RDB, change their master, with wall clocks up to a second
//! apart. Then the faults stop, the writes stop, and every replica must equal its source, byte for
//! byte, at an equal offset, by DEBUG DIGEST and by a comparison that knows deadlines, groups and pending entries; so must
//! what a node loads from a file that the source saves then. Every snapshot must encode to the same bytes however much was
//! written since it was taken. `migrate` has one machine that moves keys to a target of all vices.
//!
//! A failing seed is printed. `SIMULATION_SEED=n cargo test --test simulation` runs that one alone,
//! `SIMULATION_SEEDS=n` that many, `SIMULATION_SECONDS=n` as many as end in that time; `SIMULATION_FIRST=n` begins with
//! seed n. To add a fault: a line in `World::fault`; a command: one in `commands.rs`.

mod commands;
mod host;
mod migrate;
mod node;
#[path = "../random/mod.rs"]
mod random;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use world::Summary;

/// Seeds of a run.
const SEEDS: u64 = 250;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn replicas_equal_their_source() {
    if let Some(seed) = number("SIMULATION_SEED") {
        world::World::new(seed).run();
        return;
    }
    let seconds = number("SIMULATION_SECONDS");
    let first = number("SIMULATION_FIRST").unwrap_or(0);
    let seeds = number("SIMULATION_SEEDS").unwrap_or(match seconds {
        Some(_) => u64::MAX - first,
        None => SEEDS,
    });
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let next = AtomicU64::new(first);
    let done = AtomicU64::new(0);
    let failed = AtomicU64::new(u64::MAX);
    let total = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(4)
        {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let over = end.is_some_and(|end| Instant::now() >= end);
                    if over || seed >= first + seeds || failed.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| world::World::new(seed).run())) {
                        Ok(summary) => {
                            total.lock().expect("no panic holds it").add(summary);
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_) => _ = failed.fetch_min(seed, Ordering::Relaxed),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert!(
        failed == u64::MAX,
        "seed {failed} fails: SIMULATION_SEED={failed} replays it"
    );
    let total = total.into_inner().expect("no panic held it");
    let seeds = done.into_inner();
    println!("{seeds} seeds: {total:?}");
    // A simulation in which nothing happens proves nothing.
    if seeds >= 100 {
        let least = seeds;
        assert!(
            total.full_syncs > least && total.partial_syncs > least && total.expired > least,
            "{total:?}"
        );
        assert!(
            total.crashes > least && total.loads > least / 10 && total.keys > least,
            "{total:?}"
        );
        assert!(
            total.kinds.iter().all(|&kind| kind > least) && total.snapshots > least,
            "{total:?}"
        );
        assert!(
            total.pending > least && total.timed_fields > least && total.expired_fields > least,
            "{total:?}"
        );
        assert!(total.blocked > least, "{total:?}");
    }
}

/// The same seed gives the same run, to the byte.
#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 11] {
        assert_eq!(
            world::World::new(seed).run(),
            world::World::new(seed).run(),
            "seed {seed}"
        );
    }
}
