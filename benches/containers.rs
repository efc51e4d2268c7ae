//! Micro-benchmarks of the containers against `hashbrown` and `BTreeMap`.
//!
//! `cargo bench --bench containers -- [table|tree|pack] [KEYS] [VALUE-BYTES]` (2,000,000 and 64 by default).
//! Keys have 16 bytes; both tables hold the server's own entries and hash alike, so the difference is
//! the table. Figures are nanoseconds a call over random keys unless a unit
//! is given, of this thread's processor time: other work on the machine counts only for the caches.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use redoxide::base::hash::HashSeed;
use redoxide::base::prng::Prng;
use redoxide::container::{CowTable, CowTree, Domain, Lookup, Owned, Pack, PackBuilder, PackMut};
use redoxide::sys::alloc::used_memory;
use redoxide::sys::clock::thread_cpu;
use redoxide::sys::memory::set_background_thread;
use redoxide::types::{Entry, Value};

const WINDOW: usize = 16;

fn main() {
    // As the server does: the allocator returns pages on a thread of its own.
    set_background_thread(true);
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let what = args.first().map_or("all", String::as_str);
    let keys = args
        .get(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(2_000_000);
    let value_bytes = args.get(2).and_then(|arg| arg.parse().ok()).unwrap_or(64);
    if matches!(what, "all" | "table") {
        println!("{keys} keys of 16 bytes, values of {value_bytes} bytes");
        table(keys, value_bytes);
        hashbrown(keys, value_bytes);
        longest(keys, value_bytes);
    }
    if matches!(what, "all" | "tree") {
        tree(keys.min(1_000_000));
        btree(keys.min(1_000_000));
    }
    if matches!(what, "all" | "pack") {
        pack(10);
        pack(128);
    }
}

/// This thread's processor time.
struct Instant(Duration);

impl Instant {
    fn now() -> Instant {
        Instant(thread_cpu())
    }

    fn elapsed(&self) -> Duration {
        thread_cpu().saturating_sub(self.0)
    }
}

struct Timed<'a> {
    name: &'a str,
    start: Instant,
}

fn timed(name: &str) -> Timed<'_> {
    Timed {
        name,
        start: Instant::now(),
    }
}

impl Timed<'_> {
    fn over(self, calls: usize) {
        let each = self.start.elapsed().as_nanos() as f64 / calls.max(1) as f64;
        println!("  {:<44}{each:>10.1} ns", self.name);
    }
}

fn key(number: usize) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let (mut at, mut rest) = (15, number);
    while rest > 0 {
        key[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        at -= 1;
    }
    key
}

/// A random order of keys, made before the clock starts.
fn order(keys: usize, calls: usize, seed: u64) -> Vec<u32> {
    let mut prng = Prng::new(seed);
    (0..calls).map(|_| prng.below(keys as u64) as u32).collect()
}

fn entry(key: &[u8], value: &[u8]) -> Owned<Entry> {
    Entry::new(key, Value::raw(value, false), None, 0)
}

fn table(keys: usize, value_bytes: usize) {
    println!("CowTable");
    let seed = HashSeed::new(7);
    let value = vec![b'v'; value_bytes];
    let mut domain = Domain::new();
    let mut table: CowTable<Entry> = CowTable::new(&domain, seed, 1);
    let before = used_memory();
    let clock = timed("SET new, growing from empty");
    for number in 0..keys {
        let key = key(number);
        let hash = seed.hash(&key);
        if let Lookup::Vacant(vacant) = table.lookup(&mut domain, hash, |entry| entry.key() == key)
        {
            vacant.insert(entry(&key, &value));
        }
    }
    clock.over(keys);
    let bytes = (used_memory() - before) as f64;
    println!("  {:<44}{:>10.1}", "bytes a key", bytes / keys as f64);
    println!(
        "  {:<44}{:>10.1}",
        "of that the table",
        table.memory_bytes() as f64 / keys as f64
    );

    let calls = keys.min(2_000_000);
    let hits = order(keys, calls, 1);
    let clock = timed("GET");
    for &number in &hits {
        let key = key(number as usize);
        black_box(table.find(seed.hash(&key), |entry| entry.key() == key));
    }
    clock.over(calls);
    let clock = timed("GET absent");
    for &number in &hits {
        let key = key(number as usize + keys);
        black_box(table.find(seed.hash(&key), |entry| entry.key() == key));
    }
    clock.over(calls);
    let clock = timed("GET, windows of 16 with prefetch");
    for window in hits.chunks(WINDOW) {
        let keys: Vec<[u8; 16]> = window.iter().map(|&number| key(number as usize)).collect();
        let hashes: Vec<u64> = keys.iter().map(|key| seed.hash(key)).collect();
        table.prefetch(&hashes);
        for (key, &hash) in keys.iter().zip(&hashes) {
            black_box(
                table
                    .find(hash, |entry| entry.key() == key)
                    .map(|entry| entry.string().len()),
            );
        }
    }
    clock.over(calls);

    let clock = timed("SET in place");
    for &number in &hits {
        let key = key(number as usize);
        if let Some(entry) =
            table.entry_mut(&mut domain, seed.hash(&key), |entry| entry.key() == key)
        {
            black_box(entry.try_store(Value::raw(&value, false), None).is_ok());
        }
    }
    clock.over(calls);
    let clock = timed("SET replacing the entry");
    for &number in &hits {
        let key = key(number as usize);
        if let Some(mut old) =
            table.find_mut(&mut domain, seed.hash(&key), |entry| entry.key() == key)
        {
            drop(old.replace(entry(&key, &value)));
        }
    }
    clock.over(calls);

    let clock = timed("SCAN");
    let (mut cursor, mut seen) = (0, 0);
    loop {
        cursor = table.scan(cursor, usize::MAX, |entry| {
            seen += black_box(entry.key()).len() / 16
        });
        if cursor == 0 {
            break;
        }
    }
    clock.over(seen);
    let mut prng = Prng::new(9);
    let clock = timed("random entry");
    for _ in 0..100_000 {
        black_box(table.random(|| prng.next_u64()));
    }
    clock.over(100_000);

    let start = Instant::now();
    let pin = domain.snapshot();
    let mut view = table.view(&domain, &pin);
    let pause = start.elapsed();
    drop(pin);
    micros("snapshot", pause);
    let set = |table: &mut CowTable<Entry>, domain: &mut Domain, number: u32| {
        let key = key(number as usize);
        if let Some(entry) = table.entry_mut(domain, seed.hash(&key), |entry| entry.key() == key) {
            black_box(entry.try_store(Value::raw(&value, false), None).is_ok());
        }
    };
    let start = Instant::now();
    set(&mut table, &mut domain, hits[0]);
    micros("first write after", start.elapsed());
    let writes = &hits[1..hits.len().min(100_001)];
    let clock = timed("SET under a snapshot, first 100,000");
    for &number in writes {
        set(&mut table, &mut domain, number);
    }
    clock.over(writes.len());
    let pin = domain.snapshot();
    let second = table.view(&domain, &pin);
    let mut dearest = Duration::ZERO;
    for &number in writes {
        let start = Instant::now();
        set(&mut table, &mut domain, number);
        dearest = dearest.max(start.elapsed());
    }
    micros("dearest SET under a snapshot", dearest);
    drop((second, pin));
    let clock = timed("walk of the snapshot");
    let mut seen = 0;
    view.for_each(|entry| seen += black_box(entry.string().len() / value_bytes));
    clock.over(seen);
    drop(view);
    let start = Instant::now();
    let garbage = domain.collect();
    micros("end of the snapshot, loop", start.elapsed());
    let start = Instant::now();
    drop(garbage);
    micros("end of the snapshot, helper", start.elapsed());

    let clock = timed("snapshot, first write and end, again");
    for &number in &hits[..1000] {
        let pin = domain.snapshot();
        set(&mut table, &mut domain, number);
        drop(pin);
        drop(domain.collect());
    }
    clock.over(1000);

    let clock = timed("DEL of all");
    for number in 0..keys {
        let key = key(number);
        let hash = seed.hash(&key);
        drop(table.remove(&mut domain, hash, |entry| entry.key() == key));
    }
    clock.over(keys);
    println!(
        "  {:<44}{:>10}",
        "bytes left in the table",
        table.memory_bytes()
    );
}

/// The dearest single calls while a table grows from nothing and shrinks to nothing.
fn longest(keys: usize, value_bytes: usize) {
    let seed = HashSeed::new(7);
    let value = vec![b'v'; value_bytes];
    let mut domain = Domain::new();
    let mut table: CowTable<Entry> = CowTable::new(&domain, seed, 1);
    let dearest = |name: &str, call: &mut dyn FnMut(&[u8], u64)| {
        let mut longest = Duration::ZERO;
        for number in 0..keys {
            let key = key(number);
            let hash = seed.hash(&key);
            let start = Instant::now();
            call(&key, hash);
            longest = longest.max(start.elapsed());
        }
        micros(name, longest);
    };
    dearest("longest SET new", &mut |key, hash| {
        table.insert_new(&mut domain, hash, entry(key, &value));
    });
    dearest("longest DEL", &mut |key, hash| {
        drop(table.remove(&mut domain, hash, |entry| entry.key() == key));
    });
    let mut table: hashbrown::HashTable<Owned<Entry>> = hashbrown::HashTable::new();
    dearest("longest SET new, hashbrown", &mut |key, hash| {
        table.insert_unique(hash, entry(key, &value), |entry| seed.hash(entry.key()));
    });
}

fn micros(name: &str, time: Duration) {
    println!("  {name:<44}{:>10.2} us", time.as_nanos() as f64 / 1e3);
}

fn hashbrown(keys: usize, value_bytes: usize) {
    println!("hashbrown");
    let seed = HashSeed::new(7);
    let value = vec![b'v'; value_bytes];
    let mut table: hashbrown::HashTable<Owned<Entry>> = hashbrown::HashTable::new();
    let hasher = |entry: &Owned<Entry>| seed.hash(entry.key());
    let before = used_memory();
    let clock = timed("SET new, growing from empty");
    for number in 0..keys {
        let key = key(number);
        let hash = seed.hash(&key);
        if table.find(hash, |entry| entry.key() == key).is_none() {
            table.insert_unique(hash, entry(&key, &value), hasher);
        }
    }
    clock.over(keys);
    println!(
        "  {:<44}{:>10.1}",
        "bytes a key",
        (used_memory() - before) as f64 / keys as f64
    );
    let calls = keys.min(2_000_000);
    let hits = order(keys, calls, 1);
    let clock = timed("GET");
    for &number in &hits {
        let key = key(number as usize);
        black_box(table.find(seed.hash(&key), |entry| entry.key() == key));
    }
    clock.over(calls);
    let clock = timed("GET absent");
    for &number in &hits {
        let key = key(number as usize + keys);
        black_box(table.find(seed.hash(&key), |entry| entry.key() == key));
    }
    clock.over(calls);
    let clock = timed("SET in place");
    for &number in &hits {
        let key = key(number as usize);
        if let Some(entry) = table.find_mut(seed.hash(&key), |entry| entry.key() == key) {
            black_box(entry.try_store(Value::raw(&value, false), None).is_ok());
        }
    }
    clock.over(calls);
    let clock = timed("SET replacing the entry");
    for &number in &hits {
        let key = key(number as usize);
        if let Some(old) = table.find_mut(seed.hash(&key), |entry| entry.key() == key) {
            *old = entry(&key, &value);
        }
    }
    clock.over(calls);
    let clock = timed("walk");
    let seen = table
        .iter()
        .map(|entry| black_box(entry.key()).len() / 16)
        .sum();
    clock.over(seen);
    let clock = timed("DEL of all");
    for number in 0..keys {
        let key = key(number);
        if let Ok(found) = table.find_entry(seed.hash(&key), |entry| entry.key() == key) {
            drop(found.remove());
        }
    }
    clock.over(keys);
}

fn tree(keys: usize) {
    println!("CowTree, {keys} numbers");
    let mut prng = Prng::new(3);
    let numbers: Vec<u64> = (0..keys).map(|_| prng.next_u64()).collect();
    let mut domain = Domain::new();
    let mut tree = CowTree::new(&domain);
    let before = used_memory();
    let clock = timed("insert in order of value");
    for &number in &numbers {
        black_box(tree.insert_by(&mut domain, number, u64::cmp).is_ok());
    }
    clock.over(keys);
    println!(
        "  {:<44}{:>10.1}",
        "bytes an item",
        (used_memory() - before) as f64 / keys as f64
    );
    let hits = order(keys, keys, 4);
    let clock = timed("get by value");
    for &at in &hits {
        black_box(tree.get_by(|other| other.cmp(&numbers[at as usize])));
    }
    clock.over(keys);
    let clock = timed("rank");
    for &at in &hits {
        black_box(tree.find(|other| other.cmp(&numbers[at as usize])).is_ok());
    }
    clock.over(keys);
    let clock = timed("by rank");
    for &at in &hits {
        black_box(tree.get(u64::from(at)));
    }
    clock.over(keys);
    let clock = timed("walk");
    black_box(tree.iter().sum::<u64>());
    clock.over(keys);
    let cuts = 1000;
    let clock = timed("split and join");
    for &at in &hits[..cuts] {
        let right = tree.split_off(&mut domain, u64::from(at));
        tree.append(&mut domain, right);
    }
    clock.over(cuts);
    let start = Instant::now();
    let pin = domain.snapshot();
    let view = tree.view(&domain, &pin);
    micros("snapshot", start.elapsed());
    let start = Instant::now();
    tree.update(&mut domain, u64::from(hits[0]), |number, _| *number ^= 1);
    micros("first write after", start.elapsed());
    tree.update(&mut domain, u64::from(hits[0]), |number, _| *number ^= 1);
    drop((view, pin));
    drop(domain.collect());
    let clock = timed("delete by value");
    for &number in &numbers {
        black_box(tree.remove_by(&mut domain, |other| other.cmp(&number)));
    }
    clock.over(keys);
}

fn btree(keys: usize) {
    println!("BTreeMap, {keys} numbers");
    let mut prng = Prng::new(3);
    let numbers: Vec<u64> = (0..keys).map(|_| prng.next_u64()).collect();
    let mut tree = BTreeMap::new();
    let before = used_memory();
    let clock = timed("insert in order of value");
    for &number in &numbers {
        black_box(tree.insert(number, ()));
    }
    clock.over(keys);
    println!(
        "  {:<44}{:>10.1}",
        "bytes an item",
        (used_memory() - before) as f64 / keys as f64
    );
    let hits = order(keys, keys, 4);
    let clock = timed("get by value");
    for &at in &hits {
        black_box(tree.get(&numbers[at as usize]));
    }
    clock.over(keys);
    let clock = timed("walk");
    black_box(tree.keys().sum::<u64>());
    clock.over(keys);
    let clock = timed("delete by value");
    for number in &numbers {
        black_box(tree.remove(number));
    }
    clock.over(keys);
}

/// Packs of `elements` keys, and of as many field-value pairs; one of integers.
fn pack(elements: usize) {
    println!("Pack of {elements}, bytes as text");
    let calls = 20_000_000 / elements;
    let names: Vec<_> = (0..elements).map(key).collect();
    let numbers: Vec<_> = (0..elements)
        .map(|number| (number * 97).to_string())
        .collect();
    let (mut hash, mut list, mut ints) =
        (PackBuilder::new(), PackBuilder::new(), PackBuilder::new());
    for (name, number) in names.iter().zip(&numbers) {
        hash.push(name);
        hash.push(b"a value");
        list.push(name);
        ints.push(number.as_bytes());
    }
    let (hash, mut list, ints) = (hash.finish(), list.finish(), ints.finish());
    let hits = order(elements, calls, 6);
    let find = |name: &str, bytes: &[u8], step: usize, item: &dyn Fn(usize) -> Vec<u8>| {
        let pack = Pack::of(bytes);
        let items: Vec<_> = (0..elements).map(item).collect();
        let clock = timed(name);
        for &hit in &hits {
            let from = pack.first().expect("elements");
            black_box(pack.find(from, &items[hit as usize], step));
        }
        clock.over(calls);
    };
    find("find a field of the pairs", &hash, 2, &|hit| {
        key(hit).to_vec()
    });
    find("find an absent field", &hash, 2, &|hit| {
        key(hit + 1000).to_vec()
    });
    find("find an integer", &ints, 1, &|hit| {
        numbers[hit].clone().into_bytes()
    });
    let clock = timed("iterate, an element");
    for _ in 0..calls / elements {
        for item in black_box(Pack::of(&hash)).iter() {
            black_box(item);
        }
    }
    clock.over(calls * 2);
    let clock = timed("check, an element");
    for _ in 0..calls / elements {
        black_box(Pack::check(black_box(&hash)).is_ok());
    }
    clock.over(calls * 2);
    let clock = timed("push_back and remove the first");
    for &hit in &hits {
        let mut pack = PackMut::of(&mut list);
        pack.push_back(&names[hit as usize]);
        pack.remove_range(0, 1);
    }
    clock.over(calls);
    let clock = timed("push_front and remove the last");
    for &hit in &hits {
        let mut pack = PackMut::of(&mut list);
        pack.push_front(&names[hit as usize]);
        pack.remove_range(-1, 1);
    }
    clock.over(calls);
    let clock = timed("push_back of an integer and remove the last");
    for &hit in &hits {
        let mut pack = PackMut::of(&mut list);
        pack.push_back(numbers[hit as usize].as_bytes());
        pack.remove_range(-1, 1);
    }
    clock.over(calls);
}
