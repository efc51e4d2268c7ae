//! What a key costs, counted by the allocator. Alone in its process: the count is of all threads.
//!
//! The bounds are those that the peers' measurements set (used_memory a key, 16-byte keys).

use redoxide::base::prng::Prng;
use redoxide::keyspace::{Keyspace, Ttl};
use redoxide::sys::alloc::used_memory;

const KEYS: u64 = 600_000;
const NOW: i64 = 1_790_000_000_000;

fn bytes_a_key(value: usize, with_ttl: bool) -> f64 {
    let mut prng = Prng::new(1);
    let value = vec![b'v'; value];
    let before = used_memory();
    let mut keyspace = Keyspace::new(16, 7);
    keyspace.set_clock(NOW);
    for number in 0..KEYS {
        let name = format!("key:{number:012}");
        let ttl = match with_ttl {
            true => Ttl::At(NOW + 3_600_000 + prng.below(3_600_000) as i64),
            false => Ttl::None,
        };
        keyspace.set_string(0, keyspace.key(name.as_bytes()), &value, ttl);
    }
    (used_memory() - before) as f64 / KEYS as f64
}

#[test]
fn keys_cost_less_than_the_best_peer() {
    for (value, with_ttl, bound) in [
        (8, false, 52.0),
        (8, true, 78.0),
        (64, false, 114.0),
        (64, true, 148.0),
    ] {
        let bytes = bytes_a_key(value, with_ttl);
        println!("{value}-byte values, deadline {with_ttl}: {bytes:.1} bytes a key");
        assert!(
            bytes <= bound,
            "{value}-byte values, deadline {with_ttl}: {bytes:.1} > {bound}"
        );
    }
}
