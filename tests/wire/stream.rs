//! Streams: random commands against Redis 8, with groups, digests and payloads; waiting readers; what replicas get.

use std::time::Instant;

use redoxide::base::prng::Prng;

use crate::blocking::play_to_both;
use crate::harness::{Client, Peer, Server, wait_until};
use crate::hash_expire::{payload, restore};
use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const KEYS: &[&str] = &["x0", "x1", "x2", "s"];
const GROUPS: &[&str] = &["g0", "g1", "g2"];
const CONSUMERS: &[&str] = &["alice", "bob", "carol", "1"];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "7",
    "20",
    "-1",
    "x",
    "9223372036854775807",
];

fn key(prng: &mut Prng) -> Vec<u8> {
    // The string stands in the way now and then.
    match prng.below(60) {
        0 => b"s".to_vec(),
        1 => b"none".to_vec(),
        _ => pick(prng, &KEYS[..3]),
    }
}

fn word(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// An id that is, was or will be there, as a rule.
fn id(prng: &mut Prng) -> Vec<u8> {
    match prng.below(50) {
        0 => pick(
            prng,
            &[
                "-",
                "+",
                "$",
                ">",
                "x",
                "",
                "(5",
                "5-*",
                "0-0",
                "18446744073709551615-18446744073709551615",
            ],
        ),
        1..=9 => prng.below(400).to_string().into_bytes(),
        _ => format!("{}-{}", prng.below(400), prng.below(3)).into_bytes(),
    }
}

fn value(prng: &mut Prng) -> Vec<u8> {
    match prng.below(40) {
        0 => vec![b'v'; prng.below(2500) as usize],
        1..=9 => (prng.next_u64() as i64 >> prng.below(64))
            .to_string()
            .into_bytes(),
        _ => pick(prng, &["a", "bb", "", "007", "value", "127", "128", "-1"]),
    }
}

fn fields(prng: &mut Prng) -> Words {
    let mut words = match prng.below(3) {
        0 => vec![word("f"), value(prng)],
        _ => vec![word("f"), value(prng), word("g"), value(prng)],
    };
    words.extend(some(prng, 2, |prng| {
        vec![pick(prng, &["f", "h", "1"]), value(prng)]
    }));
    words
}

fn trim(prng: &mut Prng) -> Words {
    let mut words = Words::new();
    if prng.below(2) == 0 {
        words.extend([word("MAXLEN"), word("~")]);
    } else {
        words.extend([pick(prng, &["MAXLEN", "MINID", "maxlen", "minid"])]);
        words.extend(some(prng, 1, |prng| vec![pick(prng, &["~", "="])]));
    }
    words.push(match prng.below(3) {
        0 => id(prng),
        _ => prng.below(60).to_string().into_bytes(),
    });
    if prng.below(3) == 0 {
        words.extend([
            word("LIMIT"),
            pick(prng, &["0", "1", "10", "100", "-1", "x"]),
        ]);
    }
    words
}

fn add(prng: &mut Prng, clock: &mut u64) -> Words {
    let mut words = vec![word("XADD"), key(prng)];
    if prng.below(10) == 0 {
        words.push(word("NOMKSTREAM"));
    }
    if prng.below(12) == 0 {
        words.extend(trim(prng));
    }
    // Ids are written out: clocks differ.
    *clock += prng.below(2);
    let clock = *clock % 400;
    words.push(match prng.below(12) {
        0 => id(prng),
        1..=3 => format!("{clock}-*").into_bytes(),
        _ => format!("{clock}-{}", prng.below(4)).into_bytes(),
    });
    match prng.below(60) {
        0 => words.push(value(prng)),
        _ => words.extend(fields(prng)),
    }
    words
}

fn read(prng: &mut Prng) -> Words {
    let grouped = prng.below(3) > 0;
    let mut words = match grouped {
        true => vec![
            word("XREADGROUP"),
            word("GROUP"),
            pick(prng, GROUPS),
            pick(prng, CONSUMERS),
        ],
        false => vec![word("XREAD")],
    };
    if prng.below(2) == 0 {
        words.extend([
            word("COUNT"),
            pick(prng, &["1", "2", "5", "30", "0", "-1", "x"]),
        ]);
    }
    if prng.below(8) == 0 {
        words.push(word("NOACK"));
    }
    words.push(pick(prng, &["STREAMS", "streams"]));
    let count = 1 + usize::from(prng.below(5) == 0);
    words.extend((0..count).map(|_| key(prng)));
    words.extend((0..count).map(|_| match (prng.below(6), grouped) {
        (0..=3, true) => word(">"),
        (0, false) => pick(prng, &["$", "+"]),
        _ => id(prng),
    }));
    if prng.below(60) == 0 {
        words.pop();
    }
    words
}

fn group(prng: &mut Prng) -> Words {
    let (key, group) = (key(prng), pick(prng, GROUPS));
    let mut words = match prng.below(10) {
        0..=4 => vec![
            word("XGROUP"),
            word("CREATE"),
            key,
            group,
            match prng.below(4) {
                0 => word("$"),
                1 => id(prng),
                _ => word("0"),
            },
        ],
        5 => vec![
            word("XGROUP"),
            word("SETID"),
            key,
            group,
            match prng.below(3) {
                0 => word("$"),
                _ => id(prng),
            },
        ],
        6 => vec![word("XGROUP"), word("DESTROY"), key, group],
        7 => vec![
            word("XGROUP"),
            word("CREATECONSUMER"),
            key,
            group,
            pick(prng, CONSUMERS),
        ],
        8 => vec![
            word("XGROUP"),
            word("DELCONSUMER"),
            key,
            group,
            pick(prng, CONSUMERS),
        ],
        _ => vec![
            word("XGROUP"),
            word("CREATE"),
            key,
            group,
            word("0"),
            word("MKSTREAM"),
        ],
    };
    if words.len() == 5 && prng.below(5) == 0 {
        // Behind the largest number Redis goes on below zero, we do not.
        let read = match pick(prng, NUMBERS) {
            large if large.len() > 18 => word("922337203685477580"),
            read => read,
        };
        words.extend([word("ENTRIESREAD"), read]);
    }
    words
}

fn interval(prng: &mut Prng) -> Vec<u8> {
    match prng.below(5) {
        0..=1 => word("-"),
        2 => word("+"),
        3 => [b"(".to_vec(), id(prng)].concat(),
        _ => id(prng),
    }
}

fn ids(prng: &mut Prng) -> Words {
    let mut ids = vec![id(prng)];
    ids.extend(some(prng, 12, |prng| vec![id(prng)]));
    ids
}

fn claim(prng: &mut Prng) -> Words {
    let mut words = vec![
        word("XCLAIM"),
        key(prng),
        pick(prng, GROUPS),
        pick(prng, CONSUMERS),
    ];
    words.push(pick(prng, &["0", "0", "0", "-5", "x", "100000000"]));
    words.extend(ids(prng));
    for _ in 0..prng.below(3) {
        match prng.below(7) {
            0..=1 => words.push(word("FORCE")),
            2 => words.push(word("JUSTID")),
            3 => words.extend([word("RETRYCOUNT"), pick(prng, &["0", "5", "-1", "x"])]),
            4 => words.extend([word("TIME"), pick(prng, &["1000", "0", "x"])]),
            5 => words.extend([word("LASTID"), id(prng)]),
            _ => words.push(word("foo")),
        }
    }
    words
}

pub fn command(prng: &mut Prng, clock: &mut u64) -> Words {
    match prng.below(100) {
        0..=29 => add(prng, clock),
        30..=44 => read(prng),
        45..=51 => group(prng),
        52..=56 => {
            let mut words = vec![word("XACK"), key(prng), pick(prng, GROUPS)];
            words.extend(ids(prng));
            words
        }
        57..=60 => {
            let mut words = vec![word("XDEL"), key(prng)];
            words.extend(ids(prng));
            words
        }
        61..=62 => {
            let mut words = vec![word("XTRIM"), key(prng)];
            words.extend(trim(prng));
            words
        }
        63..=68 => {
            let name = pick(prng, &["XRANGE", "XREVRANGE"]);
            let mut words = vec![name, key(prng), interval(prng), interval(prng)];
            words.extend(some(prng, 1, |prng| {
                vec![word("COUNT"), pick(prng, NUMBERS)]
            }));
            words
        }
        69..=74 => claim(prng),
        75..=77 => {
            let mut words = vec![
                word("XAUTOCLAIM"),
                key(prng),
                pick(prng, GROUPS),
                pick(prng, CONSUMERS),
                pick(prng, &["0", "0", "100000000", "x"]),
                interval(prng),
            ];
            words.extend(some(prng, 1, |prng| {
                vec![word("COUNT"), pick(prng, NUMBERS)]
            }));
            words.extend(some(prng, 1, |_| vec![word("JUSTID")]));
            words
        }
        78..=80 => vec![word("XPENDING"), key(prng), pick(prng, GROUPS)],
        81..=86 => pick_one(prng),
        87..=88 => {
            let mut words = vec![word("XSETID"), key(prng), id(prng)];
            words.extend(some(prng, 1, |prng| {
                vec![
                    word("ENTRIESADDED"),
                    pick(prng, &["5", "100", "1000", "-1", "x"]),
                ]
            }));
            words.extend(some(prng, 1, |prng| vec![word("MAXDELETEDID"), id(prng)]));
            words
        }
        89..=91 => vec![word("XLEN"), key(prng)],
        92..=93 => vec![word("DEBUG"), word("DIGEST")],
        94 => vec![word("COPY"), key(prng), key(prng), word("REPLACE")],
        95 => vec![word("RENAME"), key(prng), key(prng)],
        96 => vec![word("DEL"), key(prng)],
        97 => vec![word("TYPE"), key(prng)],
        98 => vec![word("OBJECT"), word("ENCODING"), key(prng)],
        _ => vec![word("SET"), word("s"), word("x")],
    }
}

fn pick_one(prng: &mut Prng) -> Words {
    match prng.below(3) {
        0 => vec![word("XINFO"), word("STREAM"), key(prng)],
        1 => vec![word("XINFO"), word("GROUPS"), key(prng)],
        _ => vec![word("XLEN"), key(prng)],
    }
}

#[test]
fn random_streams_answer_as_redis() {
    for entries in ["100", "3", "0"] {
        let args = [
            "--stream-node-max-entries",
            entries,
            "--enable-debug-command",
            "yes",
        ];
        let Some(mut pair) = Pair::start(&args) else {
            return;
        };
        let mut clock = 0;
        pair.random(6000, |prng| command(prng, &mut clock), |_, _, _| true);
    }
}

/// What one server dumps the other restores, and both dump the same.
#[test]
fn payloads_are_those_of_redis() {
    let args = ["--enable-debug-command", "yes", "--rdbcompression", "no"];
    let Some(mut pair) = Pair::start(&args) else {
        return;
    };
    for number in 1..250 {
        pair.same(&format!(
            "XADD k {number}-{} f {number} name value",
            number % 3
        ));
        pair.same(&format!("XADD one {number}-1 f {number}"));
    }
    pair.same("XDEL k 5-2 7-1 100-1");
    pair.same("XTRIM one MAXLEN 20");
    pair.same("XGROUP CREATE k g 0");
    pair.same("XGROUP CREATE k never $ ENTRIESREAD 7");
    pair.same("XGROUP CREATE empty g $ MKSTREAM");
    for key in ["k", "one", "empty"] {
        let theirs = pair.theirs_dump(key);
        let restore = [b"RESTORE".to_vec(), b"copy".to_vec(), b"0".to_vec(), theirs];
        let (ours, theirs) = pair.call(&[&restore[..], &[b"REPLACE".to_vec()]].concat());
        assert_eq!(ours, theirs, "{key}");
        pair.same("XINFO STREAM copy FULL COUNT 0");
        pair.same("DEBUG DIGEST-VALUE copy");
        for key in ["copy", key] {
            let (mut ours, mut theirs) = pair.call(&[b"DUMP".to_vec(), key.into()]);
            // The version of the format and the checksum differ.
            ours.truncate(ours.len() - 12);
            theirs.truncate(theirs.len() - 12);
            assert_eq!(
                ours.escape_ascii().to_string(),
                theirs.escape_ascii().to_string()
            );
        }
    }
}

#[test]
fn entries_that_groups_refer_to_are_minded() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (line, reply) in [
        ("XADD k 1-0 f v", "1-0"),
        ("XADD k 2-0 f v", "2-0"),
        ("XADD k 3-0 f v", "3-0"),
        ("XADD k 4-0 f v", "4-0"),
        ("XGROUP CREATE k a 0", "OK"),
        ("XGROUP CREATE k b 0", "OK"),
        (
            "XREADGROUP GROUP a c COUNT 2 STREAMS k >",
            "[[k, [[1-0, [f, v]], [2-0, [f, v]]]]]",
        ),
        (
            "XREADGROUP GROUP b c COUNT 3 STREAMS k >",
            "[[k, [[1-0, [f, v]], [2-0, [f, v]], [3-0, [f, v]]]]]",
        ),
        ("XACKDEL k a ACKED IDS 3 1-0 3-0 9-0", "[2, -1, -1]"),
        ("XACKDEL k b ACKED IDS 1 1-0", "[1]"),
        ("XDELEX k ACKED IDS 2 2-0 1-0", "[2, -1]"),
        ("XDELEX k DELREF IDS 1 2-0", "[1]"),
        ("XPENDING k a", "[0, (nil), (nil), (nil)]"),
        ("XPENDING k b", "[1, 3-0, 3-0, [[c, 1]]]"),
        ("XTRIM k MAXLEN 0 ACKED", "0"),
        ("XTRIM k MAXLEN 1 DELREF", "1"),
        ("XPENDING k b", "[0, (nil), (nil), (nil)]"),
        ("XDELEX k KEEPREF IDS 1 4-0", "[1]"),
        ("XDELEX none IDS 2 1-0 2-0", "[-1, -1]"),
        ("XACKDEL none g IDS 1 1-0", "[-1]"),
        (
            "XDELEX k IDS 0 1-0",
            "(error) ERR Number of IDs must be a positive integer",
        ),
        (
            "XDELEX k IDS 2 1-0",
            "(error) ERR The `numids` parameter must match the number of arguments",
        ),
        (
            "XDELEX k KEEPREF DELREF IDS 1 1-0",
            "(error) ERR syntax error",
        ),
        ("XLEN k", "0"),
    ] {
        assert_eq!(client.text(line), reply, "{line}");
    }
}

#[test]
fn idle_entries_are_claimed_by_readers() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.text("XADD k 1-0 f v");
    client.text("XADD k 2-0 f v");
    client.text("XADD k 3-0 f v");
    client.text("XGROUP CREATE k g 0");
    client.text("XREADGROUP GROUP g a COUNT 2 STREAMS k >");
    client.text("XCLAIM k g a 0 2-0 IDLE 100000 RETRYCOUNT 4 JUSTID");
    let reply = client.text("XREADGROUP GROUP g b CLAIM 50000 STREAMS k >");
    let rest = reply.strip_prefix("[[k, [[2-0, [f, v], ");
    let idle = rest.and_then(|rest| rest.strip_suffix(", 4], [3-0, [f, v], 0, 0]]]]"));
    let idle: i64 = idle.expect(&reply).parse().expect(&reply);
    assert!((100_000..150_000).contains(&idle), "{reply}");
    assert_eq!(
        client.text("XPENDING k g"),
        "[3, 1-0, 3-0, [[a, 1], [b, 2]]]"
    );
    assert_eq!(
        client.text("XREADGROUP GROUP g b CLAIM 50000 STREAMS k >"),
        "(nil)"
    );
    assert_eq!(
        client.text("XREADGROUP GROUP g b CLAIM -1 STREAMS k >"),
        "(error) ERR min-idle-time must be a positive integer"
    );
    // What the stream has no more is met once.
    client.text("XDEL k 1-0 2-0");
    let reply = client.text("XREADGROUP GROUP g c COUNT 1 CLAIM 0 STREAMS k >");
    assert!(reply.starts_with("[[k, [[3-0, "), "{reply}");
    assert_eq!(client.text("XPENDING k g"), "[1, 3-0, 3-0, [[c, 1]]]");
}

/// Who waits with CLAIM is served when an entry has been idle for long enough, whoever has it.
#[test]
fn waiting_readers_claim_what_becomes_idle() {
    let server = Server::start(&[]);
    let (mut client, mut waiter, mut other) = (server.client(), server.client(), server.client());
    // Served, not at the end of the block.
    let wait = "XREADGROUP GROUP g b BLOCK 40000 CLAIM 300 STREAMS k >";
    let takes = |waiter: &mut Client, entry: &str, least: i64| {
        let reply = waiter.read().to_string();
        let rest = reply.strip_prefix(&format!("[[k, [[{entry}, [f, v], "));
        let idle = rest.and_then(|rest| rest.split(',').next());
        let idle: i64 = idle.expect(&reply).parse().expect(&reply);
        assert!((least..least + 20_000).contains(&idle), "{reply}");
    };
    let waits = |client: &mut Client, count: &str| {
        wait_until("it waits", || {
            client.info("clients", "blocked_clients") == count
        });
    };
    client.text("XADD k 1-0 f v");
    client.text("XGROUP CREATE k g 0");
    let start = Instant::now();
    client.text("XREADGROUP GROUP g a STREAMS k >");
    waiter.send(format!("{wait}\r\n").as_bytes());
    takes(&mut waiter, "1-0", 300);
    let taken = start.elapsed().as_millis();
    assert!((290..20_000).contains(&taken), "{taken} ms");

    // It is delivered to another while they wait.
    other.send(b"XREADGROUP GROUP g c BLOCK 40000 STREAMS k >\r\n");
    waits(&mut client, "1");
    client.text("XACK k g 1-0");
    waiter.send(format!("{wait}\r\n").as_bytes());
    waits(&mut client, "2");
    client.text("XADD k 2-0 f v");
    assert_eq!(other.read().to_string(), "[[k, [[2-0, [f, v]]]]]");
    takes(&mut waiter, "2-0", 300);

    // It is made idle by another.
    client.text("XACK k g 2-0");
    client.text("XADD k 3-0 f v");
    client.text("XREADGROUP GROUP g a STREAMS k >");
    waiter.send(b"XREADGROUP GROUP g b BLOCK 40000 CLAIM 3000000 STREAMS k >\r\n");
    waits(&mut client, "1");
    client.text("XCLAIM k g a 0 3-0 IDLE 3000000 JUSTID");
    takes(&mut waiter, "3-0", 3_000_000);

    // Nothing that is deleted, and in time.
    waiter.send(b"XREADGROUP GROUP g b BLOCK 1900 CLAIM 1500 STREAMS k >\r\n");
    waits(&mut client, "1");
    client.text("XDEL k 3-0");
    assert_eq!(waiter.read().to_string(), "(nil)");
}

const LINES: &str = "\
XADD k 1-1 f v|XADD k 1-* f v|XADD k * f v|DEL k|XADD k 1-0 f v|XADD k NOMKSTREAM 2-0 f v|XADD none NOMKSTREAM 2-0 f v|\
XADD k 3-0 f v|XADD k MAXLEN ~ 2 4-0 f v|XADD k MAXLEN ~ 2 LIMIT 5 5-0 f v|XADD k MAXLEN = 4 6-0 f v|XADD k MINID ~ 3 7-0 f v|\
XADD k MINID 4 8-* f v|XADD k maxlen 4 9-0 f v|XTRIM k MAXLEN 100|XTRIM k MAXLEN ~ 1|XTRIM k MAXLEN 3|XTRIM k MINID ~ 8|\
XTRIM k MINID = 8|XADD k 10-0 f v|XADD k 11-0 f v|XADD k 12-0 f v|XADD k 13-0 f v|XDEL k 10-0 10-0|XDEL k 10-0|\
XSETID k 20-0 ENTRIESADDED 100 MAXDELETEDID 10-0|XGROUP CREATE k g 0|XGROUP CREATE k g 0|XGROUP CREATE k h $|\
XGROUP CREATE m g $ MKSTREAM|XGROUP SETID k h 0|XGROUP SETID k h $ ENTRIESREAD 5|XGROUP CREATECONSUMER k g c|\
XGROUP CREATECONSUMER k g c|XREADGROUP GROUP g c COUNT 1 STREAMS k >|XREADGROUP GROUP g d STREAMS k >|\
XREADGROUP GROUP g e STREAMS k >|XREADGROUP GROUP g e2 NOACK STREAMS k >|XREADGROUP GROUP g d STREAMS k 0|\
XREADGROUP GROUP g d2 STREAMS k 0|XREADGROUP GROUP h c NOACK COUNT 1 STREAMS k >|XGROUP SETID k h 0|\
XREADGROUP GROUP h c NOACK COUNT 1 STREAMS k >|XREADGROUP GROUP h c COUNT 2 STREAMS k >|XREADGROUP GROUP h z STREAMS k m > >|\
XREADGROUP GROUP g z BLOCK 1 STREAMS m >|XACK k g 8-0|XACK k g 8-0|XCLAIM k g x 0 11-0|XCLAIM k g x 0 11-0 JUSTID|\
XCLAIM k g x 1000000 11-0|XCLAIM k g y 1000000 11-0|XCLAIM k g x 0 8-0|XCLAIM k g x 0 8-0 FORCE|XCLAIM k g x 0 9-0 TIME 5 RETRYCOUNT 7|\
XCLAIM k g x 0 9-0 LASTID 30-0|XCLAIM k g x 0 99-0 LASTID 31-0|XDEL k 12-0|XCLAIM k g x 0 12-0|XDEL k 13-0|\
XAUTOCLAIM k g x 0 0|XAUTOCLAIM k g w 0 0 COUNT 1|XAUTOCLAIM k g w 0 0 JUSTID|XAUTOCLAIM k g v 1000000 0|XPENDING k g|\
XGROUP DELCONSUMER k g x|XGROUP DELCONSUMER k g x|XGROUP DESTROY k h|XGROUP DESTROY k h|XREADGROUP GROUP h c STREAMS k >|\
XTRIM k MAXLEN 0|XTRIM k MAXLEN 0|XADD k MINID ~ 99 50-0 f v";

#[test]
fn replicas_get_what_redis_sends() {
    crate::propagation::compare(LINES);
}

const SCENES: &[(&str, &[&str])] = &[
    (
        "all readers get an entry",
        &[
            "1> XREAD BLOCK 0 STREAMS k $",
            "=1",
            "2> XREAD COUNT 2 BLOCK 0 STREAMS a k 0 0",
            "=2",
            "0 XADD k 1-0 f v",
            "1<",
            "2<",
            "=0",
            "1> XREAD BLOCK 0 STREAMS k 1-0",
            "=1",
            "0 MULTI",
            "0 XADD k 2-0 f v",
            "0 XADD k 3-0 f v",
            "0 XDEL k 2-0",
            "0 EXEC",
            "1<",
            "1> XREAD BLOCK 0 STREAMS k $",
            "=1",
            "0 MULTI",
            "0 XADD k 4-0 f v",
            "0 XDEL k 4-0",
            "0 EXEC",
            "0 DEL k",
            "0 SET k x",
            "0 DEL k",
            "0 XADD k 1-0 f v",
            "0 XADD k 5-0 f v",
            "1<",
            "1> XREAD BLOCK 0 STREAMS none +",
            "=1",
            "0 XADD none 1-0 f v",
            "1<",
            "1 XREAD BLOCK 10 STREAMS none $",
            "1 XREAD BLOCK 10 STREAMS k none + +",
            "1 MULTI",
            "1 XREAD BLOCK 0 STREAMS none $",
            "1 XREADGROUP GROUP g c BLOCK 0 STREAMS none >",
            "1 EXEC",
        ],
    ),
    (
        "a group's readers get one each",
        &[
            "0 XGROUP CREATE k g $ MKSTREAM",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "2> XREADGROUP GROUP g b COUNT 1 BLOCK 0 NOACK STREAMS k >",
            "=2",
            "0 XADD k 1-0 f v",
            "1<",
            "=1",
            "0 MULTI",
            "0 XADD k 2-0 f v",
            "0 XADD k 3-0 f v",
            "0 EXEC",
            "2<",
            "0 XPENDING k g",
            "1 XREADGROUP GROUP g a BLOCK 0 STREAMS k 0",
            "1 XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "0 XGROUP SETID k g 1-0",
            "0 XADD k 4-0 f v",
            "1<",
            "1> XREADGROUP GROUP g c BLOCK 0 STREAMS k >",
            "=1",
            "0 XGROUP DELCONSUMER k g c",
            "0 XADD k 5-0 f v",
            "1<",
        ],
    ),
    (
        "groups and keys that go",
        &[
            "0 XGROUP CREATE k g $ MKSTREAM",
            "0 XGROUP CREATE k h $ MKSTREAM",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "2> XREADGROUP GROUP h a BLOCK 0 STREAMS k >",
            "=2",
            "0 XGROUP DESTROY k g",
            "1<",
            "=1",
            "0 SET k x",
            "2<",
            "0 DEL k",
            "0 XGROUP CREATE k g $ MKSTREAM",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "0 DEL k",
            "1<",
            "0 XGROUP CREATE k g $ MKSTREAM",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "0 RENAME k l",
            "1<",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS l >",
            "=1",
            "0 PEXPIRE l 1",
            "1<",
            "0 XGROUP CREATE k g $ MKSTREAM",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "0 FLUSHALL",
            "1<",
            "0 XGROUP CREATE k g $ MKSTREAM",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "0 SWAPDB 0 1",
            "1<",
            "0 FLUSHALL",
            "0 XGROUP CREATE k g $ MKSTREAM",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "0 CLIENT UNBLOCK $1",
            "1<",
            "1> XREADGROUP GROUP g a BLOCK 0 STREAMS k >",
            "=1",
            "0 CLIENT UNBLOCK $1 ERROR",
            "1<",
            "1 XREADGROUP GROUP g a BLOCK 5 STREAMS k >",
            "1> HELLO 3",
            "1<",
            "1 XREADGROUP GROUP g a BLOCK 5 STREAMS k >",
            "1 XREADGROUP GROUP g a STREAMS k 0",
            "1> XREAD BLOCK 0 STREAMS k $",
            "=1",
            "0 DEL k",
            "0 LPUSH k x",
            "0 DEL k",
            "0 XADD k 1-0 f v",
            "1<",
        ],
    ),
];

#[test]
fn waiting_readers_are_served_as_by_redis() {
    play_to_both(SCENES);
}

/// A full sync, then commands: the replica of the other make has the same data.
#[test]
fn replicas_of_redis_agree() {
    let args = [
        "--enable-debug-command",
        "yes",
        "--repl-diskless-sync-delay",
        "0",
    ];
    let Some(theirs) = Peer::Redis8.start(&args) else {
        return;
    };
    let ours = Server::start(&args);
    for (master, replica) in [(&ours, &theirs), (&theirs, &ours)] {
        let (mut client, mut other) = (master.client(), replica.client());
        client.text("REPLICAOF NO ONE");
        client.text("FLUSHALL");
        let seed = crate::harness::seed();
        println!("SEED={seed}");
        let mut prng = Prng::new(seed);
        let mut clock = 0;
        for step in 0..3000 {
            if step == 1000 {
                other.text(&format!("REPLICAOF 127.0.0.1 {}", master.port()));
                crate::harness::wait_until("the link is up", || {
                    other.info("replication", "master_link_status") == "up"
                });
            }
            let words = command(&mut prng, &mut clock);
            client.call(&words);
        }
        crate::harness::wait_until("the replica has all", || {
            other.info("replication", "slave_repl_offset")
                == client.info("replication", "master_repl_offset")
        });
        assert_eq!(client.text("DEBUG DIGEST"), other.text("DEBUG DIGEST"));
        for key in KEYS {
            for line in [format!("XINFO STREAM {key}"), format!("XINFO GROUPS {key}")] {
                // Consumers that got nothing are the master's alone.
                let facts = |text: String| -> Vec<String> {
                    let parts = text.split(", ").map(str::to_owned);
                    let mut skip = false;
                    parts
                        .filter(|part| !std::mem::replace(&mut skip, part == "consumers"))
                        .collect()
                };
                assert_eq!(
                    facts(client.text(&line)),
                    facts(other.text(&line)),
                    "{line}"
                );
            }
            for group in GROUPS {
                let line = format!("XPENDING {key} {group} - + 10000");
                // Deliveries from history are not sent on.
                let owners = |text: String| {
                    let ids = text.split("], [").map(|entry| {
                        let mut parts = entry.split(", ");
                        format!("{:?} {:?}", parts.next(), parts.next())
                    });
                    ids.collect::<Vec<_>>().join("; ")
                };
                assert_eq!(
                    owners(client.text(&line)),
                    owners(other.text(&line)),
                    "{line}"
                );
            }
        }
        other.text("REPLICAOF NO ONE");
    }
}

/// A count of read entries that cannot grow is the same on the replica; Redis's goes below zero, which its own refuses.
#[test]
fn entries_read_ends_at_the_largest_number() {
    let master = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&[]);
    let (mut client, mut other) = (master.client(), replica.client());
    other.text(&format!("REPLICAOF 127.0.0.1 {}", master.port()));
    crate::harness::wait_until("the link is up", || {
        other.info("replication", "master_link_status") == "up"
    });
    client.text("XADD s 1-1 a b");
    client.text("XADD s 2-1 a b");
    client.text("XADD s 3-1 a b");
    client.text("XGROUP CREATE s g 1-1 ENTRIESREAD 9223372036854775806");
    client.text("XREADGROUP GROUP g c STREAMS s >");
    let ours = client.text("XINFO GROUPS s");
    assert!(ours.contains("9223372036854775807"), "{ours}");
    crate::harness::wait_until("the replica has it", || {
        other.text("XINFO GROUPS s") == ours
    });
}

/// XSETID may leave entries that are marked as deleted behind the last id: what is saved is loaded all the same.
#[test]
fn ids_that_are_taken_back_leave_nothing_behind() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    for last in ["1-1", "3-0"] {
        client.text("DEL s");
        client.text("XADD s 1-1 a b");
        client.text("XADD s 3-0 a b");
        client.text("XADD s 4-0 a b");
        client.text("XDEL s 3-0 4-0");
        assert_eq!(client.text("XSETID s 5-0 MAXDELETEDID 1-0"), "OK");
        assert_eq!(client.text(&format!("XSETID s {last}")), "OK");
        assert_eq!(client.text("DEBUG RELOAD"), "OK");
        assert_eq!(client.text("XADD s 3-5 c d"), "3-5");
        assert_eq!(client.text("DEBUG RELOAD"), "OK");
        assert_eq!(
            client.text("XRANGE s - +"),
            "[[1-1, [a, b]], [3-5, [c, d]]]"
        );
        assert_eq!(client.text("XDEL s 3-5"), "1");
    }
}

/// A stream of one entry that is marked as deleted, or not; ids and numbers as a file may claim them.
fn claimed_stream(deleted: bool, last_ms: u8, added: u64, time_ms: i64) -> Vec<u8> {
    let id = |ms: u64| [ms.to_be_bytes(), [0; 8]].concat();
    // Live and deleted entries, one name, its end; flags, 2 ms behind 5-0, sequence, value, elements.
    let counts = if deleted { [0, 1, 1, 1] } else { [1, 1, 0, 1] };
    let name = [1, 1, 0x81, b'f', 2, 0, 1];
    let entry = [2 | u8::from(deleted), 1, 2, 1, 0, 1, 0x81, b'v', 2, 4, 1];
    let elements = [&counts[..], &name, &entry].concat();
    let mut pack = vec![elements.len() as u8 + 7, 0, 0, 0, 10, 0];
    pack.extend(elements);
    pack.push(0xff);
    let number = |value: u64| [&[0x81][..], &value.to_be_bytes()].concat();
    let (time, count) = (time_ms.to_le_bytes(), number(u64::MAX));
    let mut body = [&[21, 1, 16][..], &id(5), &[pack.len() as u8], &pack].concat();
    body.extend([u8::from(!deleted), last_ms, 0, 0, 0, 0, 0]);
    body.extend(number(added));
    // A group with one pending entry, of one consumer.
    body.extend([&[1, 1, b'g', 7, 0][..], &number(u64::MAX - 1)].concat());
    body.extend([&[1][..], &id(7), &time, &count].concat());
    body.extend([&[1, 1, b'c'][..], &time, &time, &[1], &id(7)].concat());
    payload(&body, 11)
}

/// A block may begin before its first entry. Where that is behind the last id the whole block goes: one without entries
/// could be saved, but not loaded.
#[test]
fn a_block_without_entries_is_not_kept() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    let restored = restore(&mut client, "s", &claimed_stream(true, 6, 1, 0));
    assert_eq!(restored.to_string(), "OK");
    assert_eq!(client.text("XLEN s"), "0");
    assert_eq!(client.text("DEBUG RELOAD"), "OK");
    assert_eq!(client.text("XADD s 6-1 a b"), "6-1");
    assert_eq!(client.text("XRANGE s - +"), "[[6-1, [a, b]]]");
}

/// Times and counts that no clock gave are taken as they are; nothing is added to them beyond their type's ends.
#[test]
fn times_and_counts_of_a_payload_may_be_any() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for time_ms in [i64::MIN, -1, i64::MAX] {
        let stream = claimed_stream(false, 7, u64::MAX, time_ms);
        assert_eq!(restore(&mut client, "s", &stream).to_string(), "OK");
        for line in [
            "XINFO STREAM s FULL",
            "XINFO GROUPS s",
            "XINFO CONSUMERS s g",
            "XPENDING s g - + 10",
            "XPENDING s g IDLE 5 - + 10",
            "XCLAIM s g d 9000000000000 7-0 JUSTID",
            "XAUTOCLAIM s g d 9000000000000 0 JUSTID",
            "XADD s 8-0 f v",
            "XADD s 9-0 f v",
            "XREADGROUP GROUP g d COUNT 5 CLAIM 1 STREAMS s >",
            "XINFO STREAM s FULL",
            "XINFO GROUPS s",
        ] {
            let reply = client.text(line);
            assert!(!reply.contains("ERR"), "{line}: {reply}");
        }
        assert_eq!(client.text("XLEN s"), "3");
    }
}
