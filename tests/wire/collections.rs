//! Random commands of the families set and hash, with odd and wrong arguments, against Redis 8.

use redoxide::base::prng::Prng;

use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const MEMBERS: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "-1",
    "100000",
    "-70000",
    "5000000000",
    "01",
    "+1",
    " 1",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1.5",
    "abc",
    "xxxxx",
    "xxxxxxxxxxx",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\r\n\0",
];
const COUNTS: &[&str] = &["0", "1", "-3", "5", "100", "abc", "", "9223372036854775808"];
const CURSORS: &[&str] = &["0", "0", "0", "0", "abc", " 7", "-1", ""];

fn word(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn member(prng: &mut Prng) -> Vec<u8> {
    pick(prng, MEMBERS)
}

fn members(prng: &mut Prng) -> Words {
    let mut members = vec![member(prng)];
    members.extend(some(prng, 8, |prng| vec![member(prng)]));
    members
}

fn set(prng: &mut Prng) -> Vec<u8> {
    pick(
        prng,
        &[
            "s0", "s1", "s2", "s3", "s4", "s0", "s1", "s2", "s3", "h0", "str",
        ],
    )
}

fn hash(prng: &mut Prng) -> Vec<u8> {
    pick(prng, &["h0", "h1", "h2", "h0", "h1", "h2", "s0", "str"])
}

fn sets(prng: &mut Prng) -> Words {
    let mut keys = vec![set(prng)];
    keys.extend(some(prng, 4, |prng| vec![set(prng)]));
    keys
}

fn scan_options(prng: &mut Prng) -> Words {
    some(prng, 2, |prng| match prng.below(5) {
        0 => vec![word("COUNT"), pick(prng, COUNTS)],
        1 | 2 => vec![word("MATCH"), pick(prng, &["*", "*1*", "[a-c]", "x*"])],
        3 => vec![word("NOVALUES")],
        _ => vec![pick(prng, &["TYPE", "MATCH", "foo"])],
    })
}

fn set_command(prng: &mut Prng) -> Words {
    match prng.below(15) {
        0..=3 => [vec![word("SADD"), set(prng)], members(prng)].concat(),
        4 => [vec![word("SREM"), set(prng)], members(prng)].concat(),
        5 => vec![word("SMOVE"), set(prng), set(prng), member(prng)],
        6 => vec![word("SISMEMBER"), set(prng), member(prng)],
        7 => [vec![word("SMISMEMBER"), set(prng)], members(prng)].concat(),
        8 => vec![pick(prng, &["SCARD", "SMEMBERS", "TYPE", "DEL"]), set(prng)],
        9 => [vec![pick(prng, &["SUNION", "SINTER", "SDIFF"])], sets(prng)].concat(),
        10 => {
            let name = pick(prng, &["SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE"]);
            [vec![name, set(prng)], sets(prng)].concat()
        }
        11 => {
            let keys = sets(prng);
            let count = match prng.below(4) {
                0 => pick(prng, COUNTS),
                _ => keys.len().to_string().into_bytes(),
            };
            let limit = match prng.below(3) {
                0 => vec![word("LIMIT"), pick(prng, COUNTS)],
                1 => vec![pick(prng, &["LIMIT", "foo"])],
                _ => Vec::new(),
            };
            [vec![word("SINTERCARD"), count], keys, limit].concat()
        }
        // What is popped must be the same in both: all, or nothing.
        12 => vec![
            word("SPOP"),
            set(prng),
            pick(prng, &["0", "100", "-1", "abc"]),
        ],
        13 => {
            let count = some(prng, 1, |prng| vec![pick(prng, COUNTS)]);
            [vec![word("SRANDMEMBER"), set(prng)], count].concat()
        }
        _ => [
            vec![word("SSCAN"), set(prng), pick(prng, CURSORS)],
            scan_options(prng),
        ]
        .concat(),
    }
}

fn hash_command(prng: &mut Prng) -> Words {
    match prng.below(15) {
        0..=2 => {
            let name = pick(prng, &["HSET", "HSET", "HMSET"]);
            let mut pairs = vec![member(prng), member(prng)];
            pairs.extend(some(prng, 8, |prng| match prng.below(20) {
                0 => vec![member(prng)],
                _ => vec![member(prng), member(prng)],
            }));
            [vec![name, hash(prng)], pairs].concat()
        }
        3 => vec![word("HSETNX"), hash(prng), member(prng), member(prng)],
        4 => [vec![word("HDEL"), hash(prng)], members(prng)].concat(),
        5 => vec![
            pick(prng, &["HGET", "HEXISTS", "HSTRLEN"]),
            hash(prng),
            member(prng),
        ],
        6 => [vec![word("HMGET"), hash(prng)], members(prng)].concat(),
        7 => vec![
            pick(prng, &["HLEN", "HGETALL", "HKEYS", "HVALS", "DEL"]),
            hash(prng),
        ],
        8 | 9 => vec![word("HINCRBY"), hash(prng), member(prng), member(prng)],
        10 | 11 => vec![word("HINCRBYFLOAT"), hash(prng), member(prng), member(prng)],
        12 => {
            let rest = some(prng, 2, |prng| match prng.below(2) {
                0 => vec![pick(prng, COUNTS)],
                _ => vec![pick(prng, &["WITHVALUES", "foo"])],
            });
            [vec![word("HRANDFIELD"), hash(prng)], rest].concat()
        }
        _ => [
            vec![word("HSCAN"), hash(prng), pick(prng, CURSORS)],
            scan_options(prng),
        ]
        .concat(),
    }
}

pub fn command(prng: &mut Prng) -> Words {
    match prng.below(24) {
        0..=9 => set_command(prng),
        10..=19 => hash_command(prng),
        20 => vec![word("DEBUG"), word("DIGEST")],
        21 => vec![pick(prng, &["COPY", "RENAME"]), set(prng), hash(prng)],
        22 => vec![word("SET"), word("str"), word("v")],
        _ => {
            let mut words = vec![word("CONFIG"), word("SET")];
            for name in [
                "set-max-intset-entries",
                "set-max-listpack-entries",
                "set-max-listpack-value",
                "hash-max-listpack-entries",
                "hash-max-listpack-value",
            ] {
                words.extend([word(name), pick(prng, &["0", "4", "8", "64"])]);
            }
            words
        }
    }
}

/// Replies whose order is the server's own.
pub fn differs(words: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    let lines = |reply: &[u8]| {
        let mut lines: Vec<Vec<u8>> = reply
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        lines.sort();
        lines
    };
    let head = |reply: &[u8]| {
        reply
            .split(|&byte| byte == b'\n')
            .next()
            .map(<[u8]>::to_vec)
    };
    match words[0].as_slice() {
        b"SMEMBERS" | b"SUNION" | b"SINTER" | b"SDIFF" | b"SPOP" | b"HGETALL" | b"HKEYS"
        | b"HVALS" => lines(ours) != lines(theirs),
        b"SRANDMEMBER" | b"HRANDFIELD" => {
            let one = ours.starts_with(b"$") && theirs.starts_with(b"$");
            !one && head(ours) != head(theirs)
        }
        // How much of a table a call covers is the server's own.
        b"SSCAN" | b"HSCAN" => {
            let complete = |reply: &[u8]| reply.starts_with(b"*2\r\n$1\r\n0\r\n");
            match words[2] == b"0" && complete(ours) && complete(theirs) {
                true => lines(ours) != lines(theirs),
                false => head(ours) != head(theirs),
            }
        }
        _ => true,
    }
}

#[test]
fn random_commands_on_sets_and_hashes_answer_as_redis() {
    let Some(mut pair) = Pair::start(&["--enable-debug-command", "yes"]) else {
        return;
    };
    pair.random(15_000, command, differs);
}

/// When a set changes its encoding, also by what sets are stored from.
#[test]
fn sets_are_encoded_as_in_redis() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for limits in ["5 3 10", "3 5 10", "0 3 10", "4 0 10", "3 10 10", "10 10 3"] {
        let limits: Vec<&str> = limits.split(' ').collect();
        pair.same(&format!(
            "CONFIG SET set-max-intset-entries {} set-max-listpack-entries {} set-max-listpack-value {}",
            limits[0], limits[1], limits[2]
        ));
        for members in [
            "1 2 3",
            "1 2 3 4 5",
            "1 2 3 4 5 6",
            "a",
            "1 a",
            "a 1",
            "1 1 1 1 1 1",
            "a a a a",
            "12345 a",
            "aaaaaaaaaaa",
            "1 2 3 4 x y z w v u t s",
        ] {
            for then in [
                "1",
                "a",
                "7",
                "-12345",
                "1 1 1 1 1 1",
                "aaaaaaaaaaa",
                "1 2 3 4 5 6 x",
            ] {
                pair.same("FLUSHALL");
                for line in [
                    format!("SADD s {members}"),
                    "OBJECT ENCODING s".into(),
                    format!("SADD t {then}"),
                    "SINTERSTORE i s t".into(),
                    "OBJECT ENCODING i".into(),
                    "SMOVE s m 1".into(),
                    "OBJECT ENCODING m".into(),
                    format!("SADD s {then}"),
                    "OBJECT ENCODING s".into(),
                    "SREM s 1 2 3".into(),
                    "OBJECT ENCODING s".into(),
                ] {
                    pair.same(&line);
                }
            }
        }
    }
}
