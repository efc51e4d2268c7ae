//! Random commands of sorted sets, with odd and wrong arguments, against Redis 8.

use redoxide::base::prng::Prng;

use crate::harness::Server;
use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const SCORES: &[&str] = &[
    "0",
    "1",
    "-1",
    "1.5",
    "2",
    "3",
    "10",
    "0.1",
    "1e20",
    "-1e20",
    "inf",
    "-inf",
    "+inf",
    "nan",
    "abc",
    "",
    " 1",
    "0x10",
    "1e-7",
    "3.0",
    "1e400",
    "0.30000000000000004",
    "9223372036854775807",
];
const MEMBERS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "1",
    "2",
    "10",
    "-3",
    "01",
    "",
    "aa",
    "ab",
    "\r\n\0\u{ff}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
const SCORE_BOUNDS: &[&str] = &[
    "-inf", "+inf", "0", "1", "(1", "(0", "2", "(3", "10", "(inf", "-1", "", "(", "abc", "nan",
    "1e400", " 1", "1.", "0x1", "((1",
];
const LEX_BOUNDS: &[&str] = &[
    "-", "+", "[a", "(a", "[b", "(c", "[e", "(f", "[", "(", "[1", "(aa", "a", "", "-a", "[\u{ff}",
];
const RANKS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "-2",
    "5",
    "-5",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "abc",
    "",
];
const COUNTS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "100",
    "abc",
    "9223372036854775808",
];

fn key(prng: &mut Prng) -> Vec<u8> {
    match prng.below(60) {
        0 => b"text".to_vec(),
        _ => pick(prng, &["z0", "z1", "z2", "z3"]),
    }
}

fn score(prng: &mut Prng) -> Vec<u8> {
    match prng.below(2) {
        0 => pick(prng, SCORES),
        _ => prng.below(6).to_string().into_bytes(),
    }
}

fn member(prng: &mut Prng) -> Vec<u8> {
    match prng.below(3) {
        0 => pick(prng, MEMBERS),
        _ => format!("m{}", prng.below(12)).into_bytes(),
    }
}

fn pair(prng: &mut Prng) -> Words {
    vec![score(prng), member(prng)]
}

fn limit(prng: &mut Prng) -> Words {
    vec![b"LIMIT".to_vec(), pick(prng, COUNTS), pick(prng, COUNTS)]
}

fn words(head: &str, tail: impl IntoIterator<Item = Vec<u8>>) -> Words {
    std::iter::once(head.as_bytes().to_vec())
        .chain(tail)
        .collect()
}

/// Ends of a range, mostly of the kind that the command takes.
fn bounds(prng: &mut Prng, kind: u64) -> Words {
    let of = match prng.below(12) {
        0 => [RANKS, SCORE_BOUNDS, LEX_BOUNDS][prng.below(3) as usize],
        _ => [RANKS, SCORE_BOUNDS, LEX_BOUNDS][kind as usize],
    };
    vec![pick(prng, of), pick(prng, of)]
}

fn zrange(prng: &mut Prng, mut command: Words) -> Words {
    let kind = prng.below(3);
    command.extend(bounds(prng, kind));
    match kind {
        1 => command.push(b"BYSCORE".to_vec()),
        2 => command.push(b"BYLEX".to_vec()),
        _ => {}
    }
    command.extend(some(prng, 2, |prng| match prng.below(6) {
        0 | 1 => vec![b"REV".to_vec()],
        2 | 3 => limit(prng),
        4 => vec![b"WITHSCORES".to_vec()],
        _ => vec![pick(
            prng,
            &["LIMIT", "bylex", "foo", "byscore", "withscores"],
        )],
    }));
    command
}

pub fn command(prng: &mut Prng) -> Words {
    match prng.below(32) {
        0..=7 => {
            let mut command = vec![b"ZADD".to_vec(), key(prng)];
            command.extend(some(prng, 2, |prng| {
                vec![pick(
                    prng,
                    &["NX", "XX", "GT", "LT", "CH", "INCR", "ch", "foo"],
                )]
            }));
            command.extend(pair(prng));
            command.extend(some(prng, 3, pair));
            command
        }
        8 => words("ZINCRBY", [key(prng), score(prng), member(prng)]),
        9 => {
            let head = words("ZREM", [key(prng), member(prng)]);
            [head, some(prng, 3, |prng| vec![member(prng)])].concat()
        }
        10 => words("ZSCORE", [key(prng), member(prng)]),
        11 => {
            let head = words("ZMSCORE", [key(prng), member(prng)]);
            [head, some(prng, 3, |prng| vec![member(prng)])].concat()
        }
        12 => words("ZCARD", [key(prng)]),
        13 | 14 => {
            let name = pick(prng, &["ZRANK", "ZREVRANK"]);
            let tail = some(prng, 1, |prng| {
                vec![pick(prng, &["WITHSCORE", "withscore", "foo"])]
            });
            [vec![name, key(prng), member(prng)], tail].concat()
        }
        15 => {
            let tail = bounds(prng, 1);
            [words("ZCOUNT", [key(prng)]), tail].concat()
        }
        16 => {
            let tail = bounds(prng, 2);
            [words("ZLEXCOUNT", [key(prng)]), tail].concat()
        }
        17 => {
            let kind = prng.below(3);
            let name = ["ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZREMRANGEBYLEX"][kind as usize];
            let tail = bounds(prng, kind);
            [words(name, [key(prng)]), tail].concat()
        }
        18 => {
            let name = pick(prng, &["ZPOPMIN", "ZPOPMAX"]);
            let tail = some(prng, 1, |prng| vec![pick(prng, COUNTS)]);
            [vec![name, key(prng)], tail].concat()
        }
        19..=22 => {
            let head = words("ZRANGE", [key(prng)]);
            zrange(prng, head)
        }
        23 => {
            let head = words("ZRANGESTORE", [key(prng), key(prng)]);
            zrange(prng, head)
        }
        24..=26 => {
            let kind = prng.below(3);
            let names = [
                ["ZREVRANGE", "ZREVRANGE"],
                ["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"],
                ["ZRANGEBYLEX", "ZREVRANGEBYLEX"],
            ];
            let name = pick(prng, &names[kind as usize]);
            let tail = bounds(prng, kind);
            let options = some(prng, 2, |prng| match prng.below(3) {
                0 => vec![b"WITHSCORES".to_vec()],
                _ => limit(prng),
            });
            [vec![name, key(prng)], tail, options].concat()
        }
        27 => {
            let head = vec![b"ZMPOP".to_vec(), pick(prng, COUNTS), key(prng)];
            let keys = some(prng, 2, |prng| vec![key(prng)]);
            let end = vec![pick(prng, &["MIN", "MAX", "max", "foo"])];
            let count = some(prng, 1, |prng| vec![b"COUNT".to_vec(), pick(prng, COUNTS)]);
            [head, keys, end, count].concat()
        }
        28 => {
            let name = match prng.below(2) {
                0 => words("OBJECT", [b"ENCODING".to_vec()]),
                _ => words("DEBUG", [b"DIGEST-VALUE".to_vec()]),
            };
            [name, vec![key(prng)]].concat()
        }
        29 => {
            let tail = some(prng, 1, |prng| vec![pick(prng, COUNTS)]);
            [words("ZSCAN", [key(prng), b"0".to_vec()]), tail].concat()
        }
        30 => match prng.below(3) {
            0 => words("DEL", [key(prng)]),
            1 => words("COPY", [key(prng), key(prng)]),
            _ => words("RENAME", [key(prng), key(prng)]),
        },
        _ => words("SET", [b"text".to_vec(), b"x".to_vec()]),
    }
}

/// Replies whose order is the server's own, and ranges by member where the scores differ.
pub fn differs(words: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    let name = words[0].to_ascii_uppercase();
    let has = |option: &str| {
        words
            .iter()
            .any(|word| word.eq_ignore_ascii_case(option.as_bytes()))
    };
    let by_member = name.ends_with(b"BYLEX") || name == b"ZLEXCOUNT" || has("BYLEX");
    if name == b"ZSCAN" || by_member {
        return ours.first() != theirs.first();
    }
    true
}

#[test]
fn random_commands_answer_as_redis() {
    for limit in ["128", "4"] {
        let directives = [
            "--zset-max-listpack-entries",
            limit,
            "--enable-debug-command",
            "yes",
        ];
        let Some(mut pair) = Pair::start(&directives) else {
            return;
        };
        // Ranges by member that change anything would let the servers go apart.
        let stores = |words: &Words| {
            let name = words[0].to_ascii_uppercase();
            let by_member = words.iter().any(|word| word.eq_ignore_ascii_case(b"BYLEX"));
            name == b"ZREMRANGEBYLEX" || (name == b"ZRANGESTORE" && by_member)
        };
        let draw = |prng: &mut Prng| loop {
            let words = command(prng);
            if !stores(&words) {
                return words;
            }
        };
        pair.random(15_000, draw, differs);
    }
}

/// A sorted set or, now and then, a plain one.
fn source(prng: &mut Prng) -> Vec<u8> {
    match prng.below(4) {
        0 => pick(prng, &["p0", "p1"]),
        _ => key(prng),
    }
}

pub fn algebra(prng: &mut Prng) -> Words {
    if prng.below(3) == 0 {
        let head = words("ZADD", [key(prng)]);
        return [head, pair(prng), some(prng, 3, pair)].concat();
    }
    if prng.below(8) == 0 {
        let head = words(["SADD", "SREM"][prng.below(2) as usize], [source(prng)]);
        return [
            head,
            vec![member(prng)],
            some(prng, 6, |prng| vec![member(prng)]),
        ]
        .concat();
    }
    let names = [
        "ZUNION",
        "ZINTER",
        "ZDIFF",
        "ZINTERCARD",
        "ZUNIONSTORE",
        "ZINTERSTORE",
        "ZDIFFSTORE",
    ];
    let name = pick(prng, &names);
    let mut command = vec![name.clone()];
    if name.ends_with(b"STORE") {
        command.push(key(prng));
    }
    let count = 1 + prng.below(3) as usize;
    command.push(match prng.below(10) {
        0 => pick(prng, COUNTS),
        _ => count.to_string().into_bytes(),
    });
    command.extend((0..count).map(|_| source(prng)));
    command.extend(some(prng, 2, |prng| match prng.below(5) {
        0 => {
            // No zero gets a sign: Redis drops it where it makes a listpack on the way.
            let weights = (0..count).map(|_| pick(prng, &["1", "2", "0.5", "1e20", "abc"]));
            words("WEIGHTS", weights.collect::<Words>())
        }
        1 => vec![
            b"AGGREGATE".to_vec(),
            pick(prng, &["SUM", "min", "MAX", "foo"]),
        ],
        2 => vec![b"LIMIT".to_vec(), pick(prng, COUNTS)],
        _ => vec![b"WITHSCORES".to_vec()],
    }));
    command
}

#[test]
fn random_unions_answer_as_redis() {
    for limit in ["128", "4"] {
        let Some(mut pair) = Pair::start(&["--zset-max-listpack-entries", limit]) else {
            return;
        };
        pair.random(6000, algebra, |_, ours, theirs| {
            // Which of two zeros comes out depends on the order of sets of equal size.
            let unsigned = |reply: &[u8]| {
                let text = String::from_utf8_lossy(reply).replace("$2\r\n-0\r\n", "$1\r\n0\r\n");
                text.replace(",-0\r\n", ",0\r\n")
            };
            unsigned(ours) != unsigned(theirs)
        });
    }
}

const UNITS: &[&str] = &["m", "km", "KM", "ft", "mi"];

fn degrees(prng: &mut Prng, max: u64) -> Vec<u8> {
    match prng.below(40) {
        0 => pick(prng, &["abc", "", "200", "-90", "nan"]),
        1 => pick(prng, &["0", "-0"]),
        2 | 3 if max == 180 => pick(prng, &["180", "-180", "179.9999999"]),
        2 | 3 => pick(prng, &["85.05112878", "-85.05112878"]),
        _ => {
            let millis = prng.below(2000 * max) as f64 / 1000.0;
            format!("{}", millis - max as f64).into_bytes()
        }
    }
}

fn coordinates(prng: &mut Prng) -> Words {
    vec![degrees(prng, 180), degrees(prng, 85)]
}

fn radius(prng: &mut Prng) -> Vec<u8> {
    match prng.below(20) {
        0 => pick(prng, &["0", "-1", "abc", "1e9"]),
        _ => prng.below(900).to_string().into_bytes(),
    }
}

fn unit(prng: &mut Prng) -> Vec<u8> {
    match prng.below(20) {
        0 => b"xx".to_vec(),
        1..=8 => pick(prng, UNITS),
        _ => b"km".to_vec(),
    }
}

pub fn geo(prng: &mut Prng) -> Words {
    let options = |prng: &mut Prng, store: bool| {
        some(prng, 4, |prng| {
            match prng.below(if store { 10 } else { 8 }) {
                0 => vec![b"WITHDIST".to_vec()],
                1 => vec![b"WITHHASH".to_vec()],
                2 => vec![b"WITHCOORD".to_vec()],
                3 => vec![b"ASC".to_vec()],
                4 => vec![b"desc".to_vec()],
                // Which of several equally near places are counted is not the same.
                5 => vec![b"COUNT".to_vec(), pick(prng, &["0", "-1", "abc", "1000"])],
                6 => vec![b"COUNT".to_vec(), b"1000".to_vec(), b"ANY".to_vec()],
                7 => vec![pick(prng, &["ANY", "foo", "STOREDIST", "FROMMEMBER"])],
                8 => vec![b"STORE".to_vec(), key(prng)],
                _ => vec![b"STOREDIST".to_vec(), key(prng)],
            }
        })
    };
    match prng.below(12) {
        0..=3 => {
            let head = words("GEOADD", [key(prng)]);
            let flags = some(prng, 1, |prng| vec![pick(prng, &["NX", "XX", "CH", "foo"])]);
            let place = |prng: &mut Prng| [coordinates(prng), vec![member(prng)]].concat();
            [head, flags, place(prng), some(prng, 3, place)].concat()
        }
        4 => {
            let name = pick(prng, &["GEOPOS", "GEOHASH"]);
            [
                vec![name, key(prng)],
                some(prng, 3, |prng| vec![member(prng)]),
            ]
            .concat()
        }
        5 => {
            let head = words("GEODIST", [key(prng), member(prng), member(prng)]);
            [head, some(prng, 1, |prng| vec![unit(prng)])].concat()
        }
        6 | 7 => {
            let name = pick(prng, &["GEORADIUS", "GEORADIUS", "GEORADIUS_RO"]);
            let tail = vec![radius(prng), unit(prng)];
            let options = options(prng, true);
            [vec![name, key(prng)], coordinates(prng), tail, options].concat()
        }
        8 => {
            let name = pick(prng, &["GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"]);
            let tail = vec![key(prng), member(prng), radius(prng), unit(prng)];
            [vec![name], tail, options(prng, true)].concat()
        }
        9 | 10 => {
            let mut command = match prng.below(3) {
                0 => words("GEOSEARCHSTORE", [key(prng), key(prng)]),
                _ => words("GEOSEARCH", [key(prng)]),
            };
            match prng.below(2) {
                0 => command.extend(words("FROMMEMBER", [member(prng)])),
                _ => command.extend(words("FROMLONLAT", coordinates(prng))),
            }
            match prng.below(2) {
                0 => command.extend(words("BYRADIUS", [radius(prng), unit(prng)])),
                _ => command.extend(words("BYBOX", [radius(prng), radius(prng), unit(prng)])),
            }
            [command, options(prng, false)].concat()
        }
        _ => words(
            "ZRANGE",
            [
                key(prng),
                b"0".to_vec(),
                b"-1".to_vec(),
                b"WITHSCORES".to_vec(),
            ],
        ),
    }
}

#[test]
fn random_places_answer_as_redis() {
    for limit in ["128", "4"] {
        let Some(mut pair) = Pair::start(&["--zset-max-listpack-entries", limit]) else {
            return;
        };
        pair.random(8000, geo, |_, _, _| true);
    }
}

/// The exact value lies above a half, the scaled double on it.
#[test]
fn distances_are_rounded_as_redis_rounds_them() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.text(
        "GEOADD g 77.9833486684019 69.71205830792917 a -132.21359054920765 8.240567750471996 b",
    );
    assert_eq!(client.text("GEODIST g a b ft"), "36247793.1972");
    assert_eq!(client.text("GEODIST g a a"), "0.0000");
}

/// Places at 180 degrees are stored in cells of their own behind the last; -180 is not searched from there.
#[test]
fn places_on_the_edge_of_the_map_are_found() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.text("GEOADD g 180 -0.53 e -180 -0.2 w 179.9999999 0 n");
    let search = "GEOSEARCH g FROMLONLAT 180 0 BYRADIUS 100 km ASC";
    assert_eq!(client.text(search), "[n, e]");
    assert_eq!(client.text("GEORADIUS g 180 0 100 km ASC"), "[n, e]");
}

#[test]
fn bounds_of_scores_end_at_a_nul() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.text("ZADD z -1 a 0 b 1 c");
    for (low, count) in [(&b"\0\xff"[..], "2"), (b"1\0", "1"), (b"(\0", "1")] {
        let reply = client.call(&[b"ZCOUNT".as_slice(), b"z", low, b"1"]);
        assert_eq!(reply.to_string(), count, "{}", low.escape_ascii());
    }
}

/// Where all scores are equal, ranges by member are exact.
#[test]
fn ranges_by_member_answer_as_redis() {
    for limit in ["128", "4"] {
        let Some(mut pair) = Pair::start(&["--zset-max-listpack-entries", limit]) else {
            return;
        };
        let draw = |prng: &mut Prng| match prng.below(6) {
            0 | 1 => words("ZADD", [key(prng), b"0".to_vec(), member(prng)]),
            2 => {
                let tail = bounds(prng, 2);
                let head = vec![pick(prng, &["ZLEXCOUNT", "ZREMRANGEBYLEX"]), key(prng)];
                [head, tail].concat()
            }
            3 => {
                let name = pick(prng, &["ZRANGEBYLEX", "ZREVRANGEBYLEX"]);
                let tail = bounds(prng, 2);
                [vec![name, key(prng)], tail, some(prng, 1, limit_words)].concat()
            }
            4 => {
                let tail = bounds(prng, 2);
                let options = some(prng, 2, |prng| match prng.below(2) {
                    0 => vec![b"REV".to_vec()],
                    _ => limit_words(prng),
                });
                let head = words("ZRANGE", [key(prng)]);
                [head, tail, vec![b"BYLEX".to_vec()], options].concat()
            }
            _ => {
                let tail = bounds(prng, 2);
                let head = words("ZRANGESTORE", [key(prng), key(prng)]);
                [head, tail, vec![b"BYLEX".to_vec()]].concat()
            }
        };
        pair.random(6000, draw, |_, _, _| true);
    }
}

fn limit_words(prng: &mut Prng) -> Words {
    limit(prng)
}

#[test]
fn digests_and_scans_of_scores_are_redis_s() {
    let Some(mut pair) = Pair::start(&["--enable-debug-command", "yes"]) else {
        return;
    };
    for score in [
        "1700000000",
        "1e8",
        "1e9",
        "1e12",
        "1e15",
        "1e16",
        "60174605592790272",
        "4611686018427387904",
        "1e17",
        "0.1",
        "1.1",
        "-1e-7",
        "5e-324",
        "123456789012345680",
        "inf",
        "-3",
    ] {
        pair.same("DEL z");
        pair.same(&format!("ZADD z {score} member"));
        pair.same("DEBUG DIGEST-VALUE z");
        pair.same("ZSCAN z 0");
        pair.same(&format!("ZADD z {score} {}", "m".repeat(100)));
        pair.same("ZREM z member");
        pair.same("OBJECT ENCODING z");
        pair.same("DEBUG DIGEST-VALUE z");
        pair.same("ZSCAN z 0");
    }
}
