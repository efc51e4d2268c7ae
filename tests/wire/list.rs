//! Lists: random commands against Redis 8, encodings and digests included.

use redoxide::base::prng::Prng;

use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const KEYS: &[&str] = &["l0", "l1", "l2", "l3", "s"];
const ENDS: &[&str] = &["LEFT", "RIGHT", "left", "right", "x"];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "3",
    "-4",
    "7",
    "20",
    "-20",
    "100",
    "-9223372036854775808",
    "9223372036854775807",
    "-9223372036854775807",
    "x",
    "",
];

fn key(prng: &mut Prng) -> Vec<u8> {
    // The string stands in the way now and then.
    match prng.below(40) {
        0 => b"s".to_vec(),
        _ => pick(prng, &KEYS[..4]),
    }
}

fn item(prng: &mut Prng) -> Vec<u8> {
    match prng.below(60) {
        0 => vec![b'L'; 3000 + prng.below(8000) as usize],
        1..=10 => vec![b'm'; prng.below(700) as usize],
        _ => pick(
            prng,
            &["a", "b", "c", "1", "-5", "65000", "", "70000000000", "007"],
        ),
    }
}

fn keys(prng: &mut Prng) -> Words {
    let mut keys = vec![key(prng)];
    keys.extend(some(prng, 2, |prng| vec![key(prng)]));
    keys
}

fn numbered(prng: &mut Prng) -> Words {
    let keys = keys(prng);
    let count = match prng.below(10) {
        0 => pick(prng, NUMBERS),
        _ => keys.len().to_string().into_bytes(),
    };
    let mut words = vec![count];
    words.extend(keys);
    words.push(pick(prng, ENDS));
    if prng.below(2) == 0 {
        words.push(pick(prng, &["COUNT", "count", "x"]));
        words.extend(some(prng, 2, |prng| vec![pick(prng, NUMBERS)]));
    }
    words
}

pub fn command(prng: &mut Prng) -> Words {
    let (name, rest): (&str, Words) = match prng.below(26) {
        0..=5 => {
            let name = ["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"][prng.below(4) as usize];
            let mut rest = vec![key(prng), item(prng)];
            rest.extend(some(prng, 12, |prng| vec![item(prng)]));
            (name, rest)
        }
        6..=7 => {
            let name = ["LPOP", "RPOP"][prng.below(2) as usize];
            let mut rest = vec![key(prng)];
            rest.extend(some(prng, 1, |prng| vec![pick(prng, NUMBERS)]));
            (name, rest)
        }
        8 => ("LLEN", vec![key(prng)]),
        9..=10 => (
            "LRANGE",
            vec![key(prng), pick(prng, NUMBERS), pick(prng, NUMBERS)],
        ),
        11 => ("LINDEX", vec![key(prng), pick(prng, NUMBERS)]),
        12..=13 => ("LSET", vec![key(prng), pick(prng, NUMBERS), item(prng)]),
        14..=15 => {
            let side = pick(prng, &["BEFORE", "after", "x"]);
            ("LINSERT", vec![key(prng), side, item(prng), item(prng)])
        }
        16 => ("LREM", vec![key(prng), pick(prng, NUMBERS), item(prng)]),
        17 => (
            "LTRIM",
            vec![
                key(prng),
                pick(prng, &["0", "1", "2", "-30", "-5", "x"]),
                pick(prng, &["-1", "-2", "40", "5", "x"]),
            ],
        ),
        18..=19 => {
            let mut rest = vec![key(prng), item(prng)];
            rest.extend(some(prng, 3, |prng| {
                let option = pick(prng, &["RANK", "COUNT", "MAXLEN", "rank", "x"]);
                let mut words = vec![option];
                words.extend(some(prng, 4, |prng| vec![pick(prng, NUMBERS)]).pop());
                words
            }));
            ("LPOS", rest)
        }
        20..=21 => (
            "LMOVE",
            vec![key(prng), key(prng), pick(prng, ENDS), pick(prng, ENDS)],
        ),
        22 => ("RPOPLPUSH", vec![key(prng), key(prng)]),
        23 => ("LMPOP", numbered(prng)),
        24 => ("OBJECT", vec![b"ENCODING".to_vec(), key(prng)]),
        _ => match prng.below(6) {
            0 => ("SET", vec![b"s".to_vec(), b"x".to_vec()]),
            1 => ("DEL", vec![key(prng)]),
            2 => ("COPY", vec![key(prng), key(prng), b"REPLACE".to_vec()]),
            3 => ("RENAME", vec![key(prng), key(prng)]),
            4 => ("TYPE", vec![key(prng)]),
            _ => ("DEBUG", vec![b"DIGEST".to_vec()]),
        },
    };
    let mut words = vec![name.as_bytes().to_vec()];
    words.extend(rest);
    words
}

#[test]
fn random_lists_answer_as_redis() {
    for size in ["-2", "-1", "4", "128"] {
        let args = [
            "--list-max-listpack-size",
            size,
            "--enable-debug-command",
            "yes",
        ];
        let Some(mut pair) = Pair::start(&args) else {
            return;
        };
        // Where a large list is cut after insertions in its middle is the server's own, and with it when one chunk is left.
        pair.random(6000, command, |words, _, _| words[0] != b"OBJECT");
    }
}
