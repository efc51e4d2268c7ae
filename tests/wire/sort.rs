//! SORT: random commands against Redis 8.

use redoxide::base::prng::Prng;

use crate::harness::{Peer, Server};
use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const ELEMENTS: &[&str] = &[
    "1",
    "2",
    "3",
    "10",
    "20",
    "-5",
    "7",
    "007",
    "1.5",
    "1e3",
    "+4",
    ".5",
    "inf",
    "-inf",
    "a",
    "b",
    "abcdefghi",
    "abcdefghij",
    "",
    "9223372036854775807",
    "nan",
    "0x10",
    " 1",
];
const NUMBERS: &[&str] = &["1", "2", "3", "10", "20", "-5", "7", "1.5", "1000", "-0.25"];
const PATTERNS: &[&str] = &[
    "w_*", "w_*", "h_*->f", "h_*->f", "h_*->g", "nosort", "*", "w_*->", "#", "w_**", "h_*->f*",
    "const", "->*",
];

fn word(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn element(prng: &mut Prng) -> Vec<u8> {
    match prng.below(12) {
        0 => pick(prng, ELEMENTS),
        _ => pick(prng, NUMBERS),
    }
}

fn key(prng: &mut Prng) -> Vec<u8> {
    match prng.below(30) {
        0 => word("text"),
        1 => word("none"),
        _ => pick(prng, &["l0", "l1", "s0", "s1", "z0", "d"]),
    }
}

fn limit(prng: &mut Prng) -> Vec<u8> {
    pick(
        prng,
        &[
            "0",
            "1",
            "2",
            "3",
            "5",
            "100",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "x",
        ],
    )
}

fn option(prng: &mut Prng) -> Words {
    match prng.below(16) {
        0 | 1 => vec![word("ASC")],
        2..=4 => vec![word("desc")],
        5..=7 => vec![word("ALPHA")],
        8..=9 => vec![word("LIMIT"), limit(prng), limit(prng)],
        10 => vec![word("by"), pick(prng, PATTERNS)],
        11..=13 => vec![word("GET"), pick(prng, PATTERNS)],
        14 => vec![word("STORE"), word("d")],
        _ => vec![pick(prng, &["LIMIT", "GET", "BY", "STORE", "x"])],
    }
}

fn command(prng: &mut Prng) -> Words {
    let add = |prng: &mut Prng, name: &str, key: Vec<u8>| {
        let more = some(prng, 6, |prng| vec![element(prng)]);
        [vec![word(name), key, element(prng)], more].concat()
    };
    match prng.below(24) {
        0 => {
            let key = pick(prng, &["l0", "l1"]);
            add(prng, "RPUSH", key)
        }
        1 => {
            let key = pick(prng, &["s0", "s1"]);
            add(prng, "SADD", key)
        }
        2 => vec![
            word("ZADD"),
            word("z0"),
            prng.below(5).to_string().into_bytes(),
            element(prng),
        ],
        3 => {
            let key = [word("w_"), element(prng)].concat();
            vec![word("SET"), key, element(prng)]
        }
        4 => {
            let key = [word("h_"), element(prng)].concat();
            vec![word("HSET"), key, pick(prng, &["f", "g"]), element(prng)]
        }
        5 => match prng.below(4) {
            0 => vec![word("DEL"), key(prng)],
            1 => vec![word("SET"), word("text"), word("x")],
            2 => vec![
                word("SREM"),
                pick(prng, &["s0", "s1"]),
                pick(prng, ELEMENTS),
            ],
            _ => vec![
                word("LREM"),
                pick(prng, &["l0", "l1"]),
                word("0"),
                pick(prng, ELEMENTS),
            ],
        },
        6 => vec![word("LRANGE"), word("d"), word("0"), word("-1")],
        7 => match prng.below(2) {
            0 => vec![word("OBJECT"), word("ENCODING"), word("d")],
            _ => vec![word("PEXPIRETIME"), word("d")],
        },
        8 => vec![word("PEXPIREAT"), word("d"), word("9999999999999")],
        9 => {
            let options = some(prng, 4, option);
            [
                vec![
                    word("COMMAND"),
                    word("GETKEYSANDFLAGS"),
                    word("SORT"),
                    key(prng),
                ],
                options,
            ]
            .concat()
        }
        10 => {
            let options = some(prng, 4, option);
            [vec![word("SORT_RO"), key(prng)], options].concat()
        }
        _ => {
            let options = some(prng, 4, option);
            [vec![word("SORT"), key(prng)], options].concat()
        }
    }
}

/// Whether the order is each server's own: labels that are equal, and sets as they lie.
fn is_defined(words: &[Vec<u8>]) -> bool {
    let at = |option: &str| {
        words
            .iter()
            .position(|word| word.eq_ignore_ascii_case(option.as_bytes()))
    };
    let stored_set = at("STORE").is_some();
    match at("BY") {
        None => true,
        Some(by) => {
            let pattern = words.get(by + 1).map_or(&b""[..], Vec::as_slice);
            let sorted = pattern.contains(&b'*');
            (sorted && at("ALPHA").is_none())
                || (!sorted && (stored_set || !words[1].starts_with(b"s")))
        }
    }
}

#[test]
fn random_sorts_answer_as_redis() {
    let Some(mut pair) = Pair::start(&["--list-max-listpack-size", "8"]) else {
        return;
    };
    let draw = |prng: &mut Prng| loop {
        let words = command(prng);
        // Options may repeat: of several BYs the last counts for the one, and any for the other.
        let count = words
            .iter()
            .filter(|word| word.eq_ignore_ascii_case(b"BY"))
            .count();
        if words[0].starts_with(b"SORT") && (!is_defined(&words) || count > 1) {
            continue;
        }
        return words;
    };
    pair.random(30_000, draw, |_, _, _| true);
}

#[test]
fn what_is_read_beside_counts_as_read() {
    let Some(theirs) = Peer::Redis8.start(&[]) else {
        return;
    };
    let ours = Server::start(&[]);
    let counts = [&ours, &theirs].map(|server| {
        let mut client = server.client();
        for line in [
            "RPUSH l 3 1 2",
            "MSET w_1 3 w_2 2 v_3 x",
            "HSET h_1 f 1",
            "CONFIG RESETSTAT",
            "SORT l BY w_* GET v_* GET h_*->f",
            "SORT none",
        ] {
            client.text(line);
        }
        ["keyspace_hits", "keyspace_misses"].map(|field| client.info("stats", field))
    });
    assert_eq!(counts[0], counts[1]);
}
