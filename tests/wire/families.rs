//! Random commands of the families string, generic and expire, with odd and wrong arguments, against Redis 8.

use redoxide::base::prng::Prng;

use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "10",
    "9999",
    "10000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1.5",
    "abc",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    " 5",
    "5 ",
    "05",
    "+5",
    "1e5",
    "inf",
    "-inf",
    "nan",
    "0x10",
    "-0",
    "3.0e3",
    "ohmytext",
    "mynewtext",
    "\r\n\0\u{ff}",
    "99999999999999999999999999.5",
    "3.14159265358979",
    "1e4000",
    "0.1",
    "-0.1",
    "1e-10",
];
const WORDS: &[&str] = &[
    "NX",
    "XX",
    "GET",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "GT",
    "LT",
    "foo",
    "1000000",
    "0",
    "-1",
    "abc",
    "9223372036854775807",
    "9999999999999",
    "REPLACE",
    "DB",
    "3",
    "MATCH",
    "*",
    "COUNT",
    "TYPE",
    "string",
    "hash",
    "LEN",
    "IDX",
    "MINMATCHLEN",
    "WITHMATCHLEN",
    "nx",
    "ex",
    "ABSTTL",
    "IDLETIME",
    "FREQ",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "5",
    "-5",
    "44",
    "100",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999",
    "abc",
    "",
    "1.5",
];
const OFFSETS: &[&str] = &[
    "0",
    "1",
    "-1",
    "5",
    "44",
    "100",
    "70000",
    "536870911",
    "9223372036854775807",
    "abc",
    "",
];
const TIMES: &[&str] = &[
    "1000000",
    "100000000",
    "3000000000",
    "9999999999999",
    "0",
    "-1",
    "abc",
    "9223372036854775807",
    "9223372036854775",
    "-9223372036854775808",
    "-9223372036854776",
];
const DATABASES: &[&str] = &["0", "1", "16", "-1", "abc", "99999999999"];
const PATTERNS: &[&str] = &["*", "k?", "k[1-3]", "[", "k[^2]", "\\k1", "zz*", "k*"];

fn key(prng: &mut Prng) -> Vec<u8> {
    pick(prng, &["k0", "k1", "k2", "k3", "k4", "k5", ""])
}

fn value(prng: &mut Prng) -> Vec<u8> {
    pick(prng, VALUES)
}

fn deadline(prng: &mut Prng) -> Words {
    vec![
        pick(prng, &["EX", "PX", "EXAT", "PXAT", "ex"]),
        pick(prng, TIMES),
    ]
}

fn one(word: Vec<u8>) -> Words {
    vec![word]
}

fn set_option(prng: &mut Prng) -> Words {
    match prng.below(4) {
        0 => deadline(prng),
        1 => one(pick(prng, WORDS)),
        _ => one(pick(prng, &["NX", "XX", "GET", "KEEPTTL", "get", "EX"])),
    }
}

fn with(head: &[&str], tail: impl IntoIterator<Item = Vec<u8>>) -> Words {
    let head = head.iter().map(|word| word.as_bytes().to_vec());
    head.chain(tail).collect()
}

pub fn command(prng: &mut Prng) -> Words {
    let on_key = |prng: &mut Prng, name: &str, rest: Words| {
        let mut words = vec![name.as_bytes().to_vec(), key(prng)];
        words.extend(rest);
        words
    };
    match prng.below(31) {
        0 | 1 => {
            let rest = with(&[], [value(prng)]);
            on_key(prng, "SET", rest)
        }
        2 | 3 => {
            let mut rest = vec![value(prng)];
            rest.extend(some(prng, 3, set_option));
            on_key(prng, "SET", rest)
        }
        4 | 5 => {
            let names = [
                "GET",
                "STRLEN",
                "INCR",
                "DECR",
                "GETDEL",
                "TYPE",
                "EXPIRETIME",
                "PEXPIRETIME",
                "PERSIST",
                "TTL",
            ];
            vec![pick(prng, &names), key(prng)]
        }
        6 => {
            let name = pick(prng, &["SETNX", "GETSET", "APPEND", "INCRBYFLOAT"]);
            vec![name, key(prng), value(prng)]
        }
        7 => {
            let name = pick(prng, &["SETEX", "PSETEX"]);
            vec![name, key(prng), pick(prng, TIMES), value(prng)]
        }
        8 => {
            let rest = some(prng, 2, |prng| match prng.below(3) {
                0 => one(pick(prng, &["PERSIST", "EX", "foo"])),
                _ => deadline(prng),
            });
            on_key(prng, "GETEX", rest)
        }
        9 => {
            let name = pick(prng, &["GETRANGE", "SUBSTR"]);
            vec![name, key(prng), pick(prng, NUMBERS), pick(prng, NUMBERS)]
        }
        10 => {
            let rest = vec![pick(prng, OFFSETS), value(prng)];
            // A value as long as may be would only make the test slow.
            match rest[0] == b"536870911" && rest[1].len() < 2 {
                true => with(&["PING"], []),
                false => on_key(prng, "SETRANGE", rest),
            }
        }
        11 | 12 => {
            let name = pick(prng, &["INCRBY", "DECRBY"]);
            let by = match prng.below(2) {
                0 => pick(prng, NUMBERS),
                _ => value(prng),
            };
            vec![name, key(prng), by]
        }
        13 => with(&["MGET"], some(prng, 20, |prng| one(key(prng)))),
        14 => {
            let name = pick(prng, &["MSET", "MSETNX"]);
            let rest = some(prng, 4, |prng| match prng.below(10) {
                0 => one(key(prng)),
                _ => vec![key(prng), value(prng)],
            });
            [vec![name], rest].concat()
        }
        15 => {
            let rest = some(prng, 3, |prng| match prng.below(3) {
                0 => vec![b"MINMATCHLEN".to_vec(), pick(prng, NUMBERS)],
                1 => one(pick(prng, WORDS)),
                _ => one(pick(prng, &["LEN", "IDX", "WITHMATCHLEN"])),
            });
            let other = one(key(prng));
            on_key(prng, "LCS", [other, rest].concat())
        }
        16 | 17 => {
            let name = pick(prng, &["DEL", "UNLINK", "EXISTS", "TOUCH"]);
            [vec![name], some(prng, 4, |prng| one(key(prng)))].concat()
        }
        18 => vec![pick(prng, &["RENAME", "RENAMENX"]), key(prng), key(prng)],
        19 => {
            let rest = some(prng, 2, |prng| match prng.below(3) {
                0 => one(b"REPLACE".to_vec()),
                1 => vec![b"DB".to_vec(), pick(prng, DATABASES)],
                _ => one(pick(prng, WORDS)),
            });
            let to = one(key(prng));
            on_key(prng, "COPY", [to, rest].concat())
        }
        20 => vec![b"MOVE".to_vec(), key(prng), pick(prng, DATABASES)],
        21..=23 => {
            let name = pick(prng, &["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]);
            let options = some(prng, 2, |prng| {
                one(pick(prng, &["NX", "XX", "GT", "LT", "gt", "foo"]))
            });
            [vec![name, key(prng), pick(prng, TIMES)], options].concat()
        }
        24 => {
            // REFCOUNT would tell which of Redis's integers came by COPY or APPEND and are not shared.
            let sub = pick(prng, &["ENCODING", "FREQ", "foo", "encoding"]);
            vec![b"OBJECT".to_vec(), sub, key(prng)]
        }
        25 => vec![b"SELECT".to_vec(), pick(prng, &["0", "1"])],
        26 => vec![
            b"SWAPDB".to_vec(),
            pick(prng, NUMBERS),
            pick(prng, DATABASES),
        ],
        27 => {
            let mode = some(prng, 2, |prng| one(pick(prng, &["SYNC", "async", "x"])));
            let name = pick(prng, &["FLUSHDB", "FLUSHALL", "DBSIZE", "DBSIZE", "DBSIZE"]);
            [vec![name], mode].concat()
        }
        28 => {
            let cursors = [
                "0",
                "0",
                "0",
                "abc",
                "-1",
                " 7",
                "7 ",
                "+7",
                "",
                "-",
                "18446744073709551615",
                "18446744073709551616",
                "-18446744073709551615",
            ];
            let rest = some(prng, 2, |prng| match prng.below(5) {
                0 => one(pick(prng, WORDS)),
                1 => vec![b"COUNT".to_vec(), pick(prng, NUMBERS)],
                2 => vec![
                    b"TYPE".to_vec(),
                    pick(prng, &["string", "STRING", "hash", "foo"]),
                ],
                _ => vec![b"MATCH".to_vec(), pick(prng, PATTERNS)],
            });
            [vec![b"SCAN".to_vec(), pick(prng, &cursors)], rest].concat()
        }
        29 => vec![b"KEYS".to_vec(), pick(prng, PATTERNS)],
        _ => {
            let names = [
                "GET",
                "SET",
                "INCR",
                "EXPIRE",
                "TTL",
                "MGET",
                "COPY",
                "RENAME",
                "GETRANGE",
                "SCAN",
                "KEYS",
                "LCS",
                "GETEX",
                "APPEND",
                "OBJECT",
                "RESTORE",
                "DUMP",
                "RANDOMKEY",
                "DBSIZE",
                "SWAPDB",
                "PERSIST",
            ];
            let name = pick(prng, &names);
            let rest = some(prng, 4, |prng| one(pick(prng, WORDS)));
            if name == b"DUMP" || name == b"RANDOMKEY" {
                return with(&["PING"], []);
            }
            [vec![name], rest].concat()
        }
    }
}

/// Replies whose order or moment is the server's own.
pub fn differs(words: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    let lines = |reply: &[u8]| {
        let mut lines: Vec<Vec<u8>> = reply
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        lines.sort();
        lines
    };
    match words[0].to_ascii_uppercase().as_slice() {
        b"KEYS" => lines(ours) != lines(theirs),
        // How much of the table a call covers is the server's own; that both accept it is not.
        b"SCAN" => ours.first() != theirs.first(),
        // Redis counts due keys until it has found them.
        b"DBSIZE" => ours.first() != theirs.first(),
        // Twice the same time within a millisecond is no later deadline; that millisecond is the server's own.
        b"EXPIRE" | b"PEXPIRE" if words.iter().any(|word| word.eq_ignore_ascii_case(b"GT")) => {
            ours.first() != theirs.first()
        }
        b"EXPIRETIME" | b"PEXPIRETIME" | b"TTL" => {
            let number = |reply: &[u8]| {
                let text = String::from_utf8_lossy(reply);
                text.trim_start_matches(':').trim_end().parse::<i64>().ok()
            };
            match (number(ours), number(theirs)) {
                (Some(ours), Some(theirs)) => (ours - theirs).abs() > 20_000,
                _ => true,
            }
        }
        _ => true,
    }
}

#[test]
fn random_commands_answer_as_redis() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    pair.random(15_000, command, differs);
}
