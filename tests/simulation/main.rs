//! The simulation: several whole machines, a network, disks and clocks, from one seed.
//!
//! Each seed builds a small topology (a source, replicas, perhaps a replica of a replica) and lets
//! it run: clients write, keys expire, links are cut at any byte, nodes crash and lose what they had
//! not saved, restart from their last RDB, change their master, with wall clocks up to a second
//! apart. Then the faults stop, the writes stop, and every replica must equal its source, byte for
//! byte, at an equal offset; and what a WAIT was told to be on a replica must have been there.
//!
//! A failing seed is printed. `SIMULATION_SEED=n cargo test --test simulation` runs that one alone,
//! `SIMULATION_SEEDS=n` that many. To add a fault: a line in `World::fault`.

mod host;
mod node;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::Summary;

/// Seeds of a run.
const SEEDS: u64 = 1000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn replicas_equal_their_source() {
    if let Some(seed) = number("SIMULATION_SEED") {
        world::World::new(seed).run();
        return;
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
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
                    if seed >= seeds || failed.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| world::World::new(seed).run())) {
                        Ok(summary) => total.lock().expect("no panic holds it").add(summary),
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
