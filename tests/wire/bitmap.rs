//! Bitmaps: random commands with odd and wrong arguments against Redis 8, and what Redis 8.0 has not.

use redoxide::base::prng::Prng;

use crate::harness::Server;
use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const KEYS: &[&str] = &["k0", "k1", "k2", "long", "none"];
const OFFSETS: &[&str] = &[
    "0",
    "1",
    "7",
    "8",
    "63",
    "64",
    "100",
    "1000",
    "2047",
    "32768",
    "600000",
    "-1",
    "4294967296",
    "abc",
    "",
    "#3",
    "#0",
    "#-1",
    "01",
];
const LIMITS: &[&str] = &[
    "0",
    "1",
    "-1",
    "5",
    "-5",
    "-20",
    "7",
    "40",
    "100",
    "-100",
    "70000",
    "32752",
    "-40000",
    "300000",
    "9223372036854775807",
    "-9223372036854775808",
    "abc",
    "",
];
const TYPES: &[&str] = &[
    "u1", "u8", "i8", "u5", "i5", "i13", "u32", "i33", "u63", "i64", "i63", "u64", "i65", "u0",
    "x8", "u", "U8", "i08",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "3",
    "100",
    "-100",
    "255",
    "256",
    "127",
    "-128",
    "-129",
    "65536",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "abc",
];

fn words(head: &[&str], tail: impl IntoIterator<Item = Vec<u8>>) -> Words {
    let head = head.iter().map(|word| word.as_bytes().to_vec());
    head.chain(tail).collect()
}

fn value(prng: &mut Prng) -> Vec<u8> {
    let len = [0, 1, 3, 9, 44, 45, 300, 5000][prng.below(8) as usize];
    let mut bytes = vec![[0x00, 0xff][prng.below(2) as usize]; len];
    match prng.below(4) {
        0 => return pick(prng, NUMBERS),
        1 => prng.fill(&mut bytes),
        _ if len > 0 => bytes[prng.below(len as u64) as usize] ^= 1 << prng.below(8),
        _ => {}
    }
    bytes
}

fn unit(prng: &mut Prng) -> Words {
    let unit = pick(prng, &["BIT", "BYTE", "bit", "byte", "foo"]);
    some(prng, 1, |_| vec![unit.clone()])
}

fn step(prng: &mut Prng) -> Words {
    let name = pick(
        prng,
        &[
            "GET", "SET", "INCRBY", "OVERFLOW", "get", "incrby", "SET", "foo",
        ],
    );
    let mut step = vec![name];
    match step[0].to_ascii_uppercase().as_slice() {
        b"OVERFLOW" => step.push(pick(
            prng,
            &["WRAP", "SAT", "FAIL", "fail", "sat", "FAIL", "x"],
        )),
        name => {
            let odd = prng.below(8) == 0;
            let types = if odd { TYPES } else { &TYPES[..11] };
            step.push(pick(prng, types));
            step.push(pick(prng, if odd { OFFSETS } else { &OFFSETS[..10] }));
            if name != b"GET" {
                let numbers = if odd { NUMBERS } else { &NUMBERS[..14] };
                step.push(pick(prng, numbers));
            }
        }
    }
    if prng.below(40) == 0 {
        step.pop();
    }
    step
}

pub fn command(prng: &mut Prng) -> Words {
    let key = pick(prng, KEYS);
    match prng.below(20) {
        0 | 1 => words(&["SET"], [key, value(prng)]),
        2 => words(
            &["SETRANGE", "long"],
            [pick(prng, &LIMITS[9..14]), value(prng)],
        ),
        3..=5 => {
            let bit = pick(prng, &["0", "1", "1", "0", "2", "-1", "a", ""]);
            words(&["SETBIT"], [key, pick(prng, OFFSETS), bit])
        }
        6 => words(&["GETBIT"], [key, pick(prng, OFFSETS)]),
        7 => words(&["BITCOUNT"], [key]),
        8 | 9 => {
            let limits = [pick(prng, LIMITS), pick(prng, LIMITS)];
            let unit = unit(prng);
            words(&["BITCOUNT"], [vec![key], limits.to_vec(), unit].concat())
        }
        10..=12 => {
            let bit = pick(prng, &["0", "1", "0", "1", "0", "1", "2", "x"]);
            let limits = some(prng, 2, |prng| vec![pick(prng, LIMITS)]);
            let unit = if limits.len() == 2 {
                unit(prng)
            } else {
                Vec::new()
            };
            words(&["BITPOS"], [vec![key, bit], limits, unit].concat())
        }
        13 | 14 => {
            let name = pick(prng, &["AND", "OR", "XOR", "NOT", "and", "foo"]);
            let sources = some(prng, 4, |prng| vec![pick(prng, KEYS)]);
            words(&["BITOP"], [vec![name, key], sources].concat())
        }
        15..=17 => {
            let name = pick(prng, &["BITFIELD", "BITFIELD", "BITFIELD_RO"]);
            [vec![name, key], some(prng, 4, step)].concat()
        }
        18 => {
            let name = pick(prng, &["STRLEN", "GET", "DEL", "PERSIST", "TTL", "GET"]);
            vec![name, key]
        }
        _ => words(&["OBJECT", "ENCODING"], [key]),
    }
}

#[test]
fn random_commands_answer_as_redis() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    pair.random(15_000, command, |_, _, _| true);
}

/// What counts as a change, and so is propagated.
#[test]
fn changes_are_counted_as_redis_counts_them() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for line in [
        "SETBIT k 0 0",
        "SETBIT k 0 0",
        "SETBIT k 3 1",
        "SETBIT k 3 1",
        "SETBIT k 90 0",
        "BITFIELD k SET u8 0 1 SET u8 0 1 INCRBY u8 0 3 INCRBY u8 0 0",
        "BITFIELD k OVERFLOW FAIL SET u8 0 256",
        "BITFIELD k GET u8 0",
        "BITOP OR d k k",
        "BITOP OR d none",
        "BITOP OR d none",
    ] {
        pair.same(line);
        let changes = |reply: &[u8]| {
            let text = String::from_utf8_lossy(reply).into_owned();
            let at = text.find("rdb_changes_since_last_save").unwrap_or(0);
            text[at..].lines().next().map(str::to_owned)
        };
        let (ours, theirs) = pair.call(&words(&["INFO", "persistence"], []));
        assert_eq!(changes(&ours), changes(&theirs), "{line}");
    }
}

#[test]
fn later_operations_of_bitop() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (name, bits) in [("x", 0b1111_0000), ("y", 0b1100_1100), ("z", 0b1010_1010)] {
        client.text(&format!("BITFIELD {name} SET u8 0 {bits}"));
    }
    for (operation, bits) in [
        ("DIFF", 0b0001_0000),
        ("DIFF1", 0b0000_1110),
        ("ANDOR", 0b1110_0000),
        ("ONE", 0b0001_0110),
    ] {
        assert_eq!(client.text(&format!("BITOP {operation} d x y z")), "1");
        assert_eq!(client.text("BITFIELD d GET u8 0"), format!("[{bits}]"));
        // An absent source counts as zeros, the first too.
        assert_eq!(client.text(&format!("BITOP {operation} d none y")), "1");
    }
    assert_eq!(
        client.text("BITOP DIFF d x"),
        "(error) ERR BITOP DIFF must be called with at least two source keys."
    );
    assert_eq!(client.text("BITOP ONE d x"), "1");
}

#[test]
fn a_bit_of_a_long_value_is_set_under_a_snapshot() {
    let server = Server::start(&["--save", ""]);
    let mut client = server.client();
    client.text("SETBIT k 4294967295 1");
    assert_eq!(client.text("STRLEN k"), (512 << 20).to_string());
    assert_eq!(client.text("BITCOUNT k"), "1");
    assert_eq!(client.text("BITPOS k 1"), "4294967295");
    assert_eq!(client.text("BITOP NOT d k"), (512 << 20).to_string());
    assert_eq!(client.text("BITCOUNT d"), "4294967295");
    client.text("CONFIG SET rdb-key-save-delay 100000000");
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    for index in 0..100 {
        assert_eq!(
            client.text(&format!(
                "SETBIT d {} 0",
                index * 40_000_000 % 4_000_000_000_u64
            )),
            "1"
        );
    }
    assert_eq!(client.info("persistence", "rdb_bgsave_in_progress"), "1");
    // A hundred copies of one chunk each, not one of all.
    let copied = client.info("persistence", "current_cow_size");
    println!("{copied} bytes copied");
    assert!((1..64 << 20).contains(&copied.parse().unwrap()), "{copied}");
    assert_eq!(
        client.text("BITCOUNT d"),
        (4_294_967_295_u64 - 100).to_string()
    );
}
