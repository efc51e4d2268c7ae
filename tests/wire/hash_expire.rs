//! Fields of hashes with deadlines: random commands against Redis 8, payloads of both and of Valkey 9, and what time does.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redoxide::base::crc64::crc64;
use redoxide::base::prng::Prng;

use crate::harness::{Client, Peer, Server, Value, seed, wait_until};
use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const FIELDS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "1",
    "-7",
    "",
    "fields",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
const VALUES: &[&str] = &[
    "",
    "1",
    "10",
    "-3",
    "1.5",
    "abc",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
const TIMES: &[&str] = &[
    "0",
    "-1",
    "abc",
    "",
    "1",
    "9223372036854775807",
    "70368744177663",
    "70368744177664",
    "70368744178",
    "281474976710656",
];

fn word(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn field(prng: &mut Prng) -> Vec<u8> {
    pick(prng, FIELDS)
}

fn key(prng: &mut Prng) -> Vec<u8> {
    pick(
        prng,
        &["h0", "h1", "h2", "h0", "h1", "h2", "h0", "h1", "text"],
    )
}

/// FIELDS, a number, mostly the right one, and so many fields, or fields and values.
fn fields(prng: &mut Prng, values: bool) -> Words {
    let mut list = Words::new();
    let count = 1 + prng.below(4);
    for _ in 0..count {
        list.push(field(prng));
        if values {
            list.push(pick(prng, VALUES));
        }
    }
    if prng.below(40) == 0 {
        list.pop();
    }
    let count = match prng.below(25) {
        0 => pick(
            prng,
            &["0", "-1", "abc", "5", "99999999999999999999", "4294967297"],
        ),
        _ => count.to_string().into_bytes(),
    };
    let head = match prng.below(25) {
        0 => pick(prng, &["FIELD", "1", "EX"]),
        _ => pick(prng, &["FIELDS", "fields"]),
    };
    [vec![head, count], list].concat()
}

/// A deadline far away, of which some are equal, in milliseconds or seconds; or a past or odd one.
fn time(prng: &mut Prng, seconds: bool) -> Vec<u8> {
    match prng.below(12) {
        0 => pick(prng, TIMES),
        1 => word("1"),
        _ => {
            let at = 5_000_000_000 + prng.below(6);
            let ms = if seconds {
                at
            } else {
                at * 1000 + prng.below(3)
            };
            ms.to_string().into_bytes()
        }
    }
}

fn expiration(prng: &mut Prng, other: &str) -> Words {
    match prng.below(12) {
        0..5 => vec![pick(prng, &["PXAT", "pxat"]), time(prng, false)],
        5..7 => vec![word("EXAT"), time(prng, true)],
        7 => vec![
            pick(prng, &["EX", "PX"]),
            pick(prng, &["0", "-1", "abc", "9223372036854775807"]),
        ],
        8 => vec![pick(prng, &["EX", "PX", "NX", "foo", "KEEPTTL", "PERSIST"])],
        _ => vec![word(other)],
    }
}

pub fn command(prng: &mut Prng) -> Words {
    match prng.below(24) {
        0..3 => {
            let pairs = some(prng, 4, |prng| vec![field(prng), pick(prng, VALUES)]);
            let first = vec![word("HSET"), key(prng), field(prng), pick(prng, VALUES)];
            [first, pairs].concat()
        }
        3..8 => {
            let (name, at) = match prng.below(3) {
                0 => ("HEXPIREAT", time(prng, true)),
                _ => ("HPEXPIREAT", time(prng, false)),
            };
            let only = some(prng, 1, |prng| {
                vec![pick(prng, &["NX", "XX", "GT", "LT", "nx", "foo"])]
            });
            [vec![word(name), key(prng), at], only, fields(prng, false)].concat()
        }
        8 => {
            // One that lasts would end at another time in each server.
            let by = pick(prng, &["0", "0", "-1", "abc", "", "9223372036854775807"]);
            let name = pick(prng, &["HEXPIRE", "HPEXPIRE"]);
            [vec![name, key(prng), by], fields(prng, false)].concat()
        }
        9..12 => {
            let name = pick(prng, &["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME"]);
            [vec![name, key(prng)], fields(prng, false)].concat()
        }
        12 => [
            vec![pick(prng, &["HPERSIST", "HGETDEL"]), key(prng)],
            fields(prng, false),
        ]
        .concat(),
        13 | 14 => {
            let options = some(prng, 1, |prng| expiration(prng, "PERSIST"));
            [
                vec![word("HGETEX"), key(prng)],
                options,
                fields(prng, false),
            ]
            .concat()
        }
        15..18 => {
            let options = some(prng, 2, |prng| match prng.below(2) {
                0 => vec![pick(prng, &["FNX", "FXX", "fxx"])],
                _ => expiration(prng, "KEEPTTL"),
            });
            [vec![word("HSETEX"), key(prng)], options, fields(prng, true)].concat()
        }
        18 => match prng.below(2) {
            0 => vec![word("HDEL"), key(prng), field(prng), field(prng)],
            _ => vec![
                pick(prng, &["HINCRBY", "HINCRBYFLOAT", "HSETNX"]),
                key(prng),
                field(prng),
                word("2"),
            ],
        },
        19 => vec![
            pick(prng, &["HGETALL", "HKEYS", "HLEN", "HVALS", "DEL"]),
            key(prng),
        ],
        20 => vec![pick(prng, &["COPY", "RENAME"]), key(prng), key(prng)],
        21 => vec![word("OBJECT"), word("ENCODING"), key(prng)],
        22 => vec![word("DEBUG"), word("DIGEST")],
        _ => match prng.below(6) {
            0 => vec![word("SET"), word("text"), word("v")],
            1 => {
                let entries = pick(prng, &["0", "3", "8", "128"]);
                vec![
                    word("CONFIG"),
                    word("SET"),
                    word("hash-max-listpack-entries"),
                    entries,
                ]
            }
            _ => vec![word("HMGET"), key(prng), field(prng), field(prng)],
        },
    }
}

/// Replies whose order is the server's own, and times left.
pub fn differs(words: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    let lines = |reply: &[u8]| {
        let mut lines: Vec<Vec<u8>> = reply
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        lines.sort();
        lines
    };
    match words[0].as_slice() {
        b"HGETALL" | b"HKEYS" | b"HVALS" => lines(ours) != lines(theirs),
        b"HTTL" | b"HPTTL" => {
            let numbers = |reply: &[u8]| -> Vec<i64> {
                let text = String::from_utf8_lossy(reply).into_owned();
                text.lines()
                    .filter_map(|line| line.get(1..)?.parse().ok())
                    .collect()
            };
            let (ours, theirs) = (numbers(ours), numbers(theirs));
            let near = |(a, b): (&i64, &i64)| a == b || (*a > 0 && (a - b).abs() < 5000);
            ours.len() != theirs.len() || !ours.iter().zip(&theirs).all(near)
        }
        _ => true,
    }
}

#[test]
fn random_commands_on_fields_with_deadlines_answer_as_redis() {
    let Some(mut pair) = Pair::start(&["--enable-debug-command", "yes"]) else {
        return;
    };
    pair.random(15_000, command, differs);
}

/// A payload with its footer.
pub fn payload(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = body.to_vec();
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(0, &payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

pub fn restore(client: &mut Client, key: &str, payload: &[u8]) -> Value {
    client.call(&[b"RESTORE", key.as_bytes(), b"0", payload, b"REPLACE"])
}

const FACTS: [&str; 2] = ["HPEXPIRETIME h FIELDS 4 a b c d", "HMGET h a b c d"];

/// What is in the hash `h` of four fields.
fn facts(client: &mut Client) -> Vec<String> {
    FACTS.iter().map(|line| client.text(line)).collect()
}

/// The forms that servers write and have written: each server's own payload, and those of Redis 7.4's first candidates.
#[test]
fn payloads_of_all_servers_are_read() {
    let redis = Peer::Redis8.start(&[]);
    let valkey = Peer::Valkey.start(&[]);
    let server = Server::start(&[]);
    let mut ours = server.client();
    for entries in ["0", "128"] {
        let mut dumps = Vec::new();
        for one in redis.iter().chain(&valkey).chain([&server]) {
            let mut client = one.client();
            client.text("DEL h");
            client.text(&format!("CONFIG SET hash-max-listpack-entries {entries}"));
            client.text("HSET h a 1 b xyz c 3 d 4");
            client.text("HPEXPIREAT h 5000000000123 FIELDS 2 a c");
            client.text("HPEXPIREAT h 4900000000000 FIELDS 1 d");
            dumps.push((facts(&mut client), client.call(&["DUMP", "h"])));
        }
        for (facts_there, dump) in dumps {
            let Value::Bulk(dump) = dump else {
                panic!("no payload")
            };
            for limit in ["0", "128"] {
                ours.text(&format!("CONFIG SET hash-max-listpack-entries {limit}"));
                assert_eq!(restore(&mut ours, "h", &dump).to_string(), "OK");
                assert_eq!(facts(&mut ours), facts_there);
            }
            // Redis 8 takes what it or we wrote.
            if let Some(redis) = &redis
                && dump[dump.len() - 10] != 80
            {
                let mut theirs = redis.client();
                assert_eq!(restore(&mut theirs, "h", &dump).to_string(), "OK");
                assert_eq!(facts(&mut theirs), facts_there);
            }
        }
    }
    let table = b"\x16\x02\x00\x01a\x011\x81\x00\x00\x04\x8c\x27\x39\x50\x7b\x01b\x01\x32";
    let pack = b"\x17\x1d\x1d\x00\x00\x00\x06\x00\x81b\x02\x02\x01\xf4\x7b\x50\x39\x27\x8c\x04\x00\x00\x09\x81a\x02\x01\x01\x00\x01\xff";
    for body in [table.as_slice(), pack.as_slice()] {
        let payload = payload(body, 12);
        let mut answers = Vec::new();
        for one in redis.iter().chain([&server]) {
            let mut client = one.client();
            let reply = restore(&mut client, "h", &payload).to_string();
            answers.push((reply, facts(&mut client)));
        }
        assert_eq!(answers[0], answers[answers.len() - 1]);
        assert_eq!(answers[0].0, "OK");
    }
}

/// Payloads with random damage and a right checksum are refused or make a hash that can be used.
#[test]
fn damaged_payloads_do_no_harm() {
    let seed = seed();
    println!("SEED={seed}");
    let mut prng = Prng::new(seed);
    let server = Server::start(&["--save", ""]);
    let mut client = server.client();
    let mut bodies = vec![
        b"\x16\x02\x00\x01a\x011\x81\x00\x00\x04\x8c\x27\x39\x50\x7b\x01b\x01\x32".to_vec(),
        b"\x17\x1d\x1d\x00\x00\x00\x06\x00\x81b\x02\x02\x01\xf4\x7b\x50\x39\x27\x8c\x04\x00\x00\x09\x81a\x02\x01\x01\x00\x01\xff".to_vec(),
    ];
    for entries in ["0", "128"] {
        client.text(&format!(
            "CONFIG SET hash-max-listpack-entries {entries} rdbcompression no"
        ));
        client.text("HSETEX h PXAT 5000000000123 FIELDS 4 a 1 b xyz c 3 d 4");
        client.text("HPEXPIREAT h 4900000000000 FIELDS 1 d");
        client.text("HPERSIST h FIELDS 1 b");
        let Value::Bulk(dump) = client.call(&["DUMP", "h"]) else {
            panic!("no payload")
        };
        bodies.push(dump[..dump.len() - 10].to_vec());
        client.text("DEL h");
    }
    for _ in 0..8000 {
        let mut body = bodies[prng.below(bodies.len() as u64) as usize].clone();
        for _ in 0..1 + prng.below(3) {
            let at = prng.below(body.len() as u64) as usize;
            match prng.below(4) {
                0 => body.truncate(at + 1),
                1 => body.insert(at, prng.next_u64() as u8),
                2 => body[at] = [0, 0xff, 0x80, 0xf4][prng.below(4) as usize],
                _ => body[at] ^= 1 << prng.below(8),
            }
        }
        // Most forms are known to one dialect only: in the other the look-up of the type would be all that is tried.
        let version = match body[0] {
            22 => [12, 80][prng.below(2) as usize],
            _ => 12,
        };
        let reply = restore(&mut client, "h", &payload(&body, version)).to_string();
        if reply == "OK" && client.text("TYPE h") == "hash" {
            client.text("HGETALL h");
            client.text("HSETEX h PXAT 5000000000000 FIELDS 1 a 2");
            client.text("HPERSIST h FIELDS 2 a b");
            client.text("HDEL h a b c d");
        }
    }
    assert_eq!(client.text("PING"), "PONG");
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
}

/// A client sees no field past its millisecond, and counts say so at once.
#[test]
fn no_field_outlives_its_millisecond() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (entries, fields) in [("128", 20), ("0", 20), ("0", 3000)] {
        client.text("FLUSHALL");
        client.text(&format!("CONFIG SET hash-max-listpack-entries {entries}"));
        let names: Vec<String> = (0..fields).map(|index| format!("f{index} v")).collect();
        let at = now_ms() + 1000;
        client.text("HSET some stays 1");
        for key in ["some", "all"] {
            client.text(&format!(
                "HSETEX {key} PXAT {at} FIELDS {fields} {}",
                names.join(" ")
            ));
        }
        assert_eq!(client.text("HLEN some"), (fields + 1).to_string());
        while now_ms() <= at + 1 {
            std::thread::yield_now();
        }
        // One round, so that no timer comes between.
        let mut replies = Vec::new();
        client.send(b"HLEN some\r\nHLEN all\r\nEXISTS all\r\nDBSIZE\r\nHGETALL some\r\nHGET some f1\r\nHRANDFIELD some 5\r\nKEYS *\r\nTYPE all\r\n");
        for _ in 0..9 {
            replies.push(client.read().to_string());
        }
        assert_eq!(
            replies,
            [
                "1",
                "0",
                "0",
                "1",
                "[stays, 1]",
                "(nil)",
                "[stays]",
                "[some]",
                "none"
            ]
        );
        wait_until("the fields are gone", || {
            client.info("stats", "expired_subkeys") == (2 * fields).to_string()
        });
        client.text("CONFIG RESETSTAT");
        assert!(client.info("keyspace", "db0").ends_with("subexpiry=0"));
    }
}

/// What the threads of a process have run for, to a hundredth of a second.
fn processor_time(pid: u32) -> Duration {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may hold anything, the user's and the system's time are the 12th and 13th.
    let (_, fields) = line.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// Many fields with one deadline go without a stall, in a hash that stays and in one that goes.
#[test]
fn many_fields_with_one_deadline_stall_nobody() {
    const FIELDS: usize = 200_000;
    let server = Server::start(&["--save", ""]);
    let mut client = server.client();
    let fill = |client: &mut Client, key: &str, at: u128| {
        for from in (0..FIELDS).step_by(2000) {
            let names: Vec<String> = (from..from + 2000)
                .map(|index| format!("field:{index} v"))
                .collect();
            client.text(&format!(
                "HSETEX {key} PXAT {at} FIELDS 2000 {}",
                names.join(" ")
            ));
        }
    };
    // How long it takes here, so that all are there before they are due.
    let start = Instant::now();
    fill(&mut client, "trial", 5_000_000_000_000);
    client.text("DEL trial");
    let at = now_ms() + 3000 + 5 * start.elapsed().as_millis();
    fill(&mut client, "stays", at);
    fill(&mut client, "goes", at);
    client.text("HSET stays one 1");
    assert!(now_ms() < at, "slower than before");
    while now_ms() <= at {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.text("HLEN stays"), "1");
    assert_eq!(client.text("DBSIZE"), "1");
    // A reply may also be late because the machine has other work: what the server itself did meanwhile counts.
    let mut longest = Duration::ZERO;
    wait_until("the fields are gone", || {
        for _ in 0..50 {
            let (start, used) = (Instant::now(), processor_time(server.pid()));
            assert_eq!(client.text("HLEN stays"), "1");
            let used = processor_time(server.pid()).saturating_sub(used);
            longest = longest.max(start.elapsed().min(used));
        }
        client.info("stats", "expired_subkeys") == (2 * FIELDS).to_string()
    });
    println!("longest reply: {longest:?}");
    assert!(longest < Duration::from_millis(250), "{longest:?}");
}

/// A replica hides due fields, counts what it stores, and loses them when the primary says so.
#[test]
fn a_replica_waits_for_the_primary() {
    let primary = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = primary.client();
    client.text("DEBUG SET-ACTIVE-EXPIRE 0");
    client.text("HSETEX h PX 100 FIELDS 3 a 1 b 2 c 3");
    client.text("HSET h d 4");
    let replica = Server::start(&[]);
    let mut reader = replica.client();
    reader.text(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the sync", || {
        reader.info("replication", "master_link_status") == "up"
    });
    client.text("HSETEX g PX 50 FIELDS 1 a 1");
    client.text("WAIT 1 5000");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(reader.text("HGETALL h"), "[d, 4]");
    assert_eq!(reader.text("HGET h a"), "(nil)");
    assert_eq!(reader.text("HLEN h"), "4");
    assert_eq!(reader.text("EXISTS g"), "1");
    assert_eq!(reader.text("HLEN g"), "1");
    assert_eq!(reader.info("stats", "expired_subkeys"), "0");
    client.text("HGET h a");
    client.text("WAIT 1 5000");
    assert_eq!(reader.text("HLEN h"), "3");
    client.text("DEBUG SET-ACTIVE-EXPIRE 1");
    wait_until("the fields are gone", || {
        reader.text("HLEN h") == "1" && reader.text("EXISTS g") == "0"
    });
    client.text("HINCRBYFLOAT h d 0.5");
    client.text("HPEXPIREAT h 5000000000000 FIELDS 1 d");
    client.text("HINCRBYFLOAT h d 0.5");
    client.text("WAIT 1 5000");
    for one in [&mut client, &mut reader] {
        assert_eq!(one.text("HGETALL h"), "[d, 5]");
        assert_eq!(one.text("HPEXPIRETIME h FIELDS 1 d"), "[5000000000000]");
    }
}

/// A file with deadlines of fields, and one without, comes back; only the first is of version 12.
#[test]
fn files_keep_deadlines_of_fields() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    client.text("CONFIG SET hash-max-listpack-entries 2");
    client.text("HSET small a 1 b 2");
    client.text("HSET large a 1 b 2 c 3");
    client.text("SAVE");
    let file = server.dir().join("dump.rdb");
    assert!(std::fs::read(&file).unwrap().starts_with(b"REDIS0011"));
    client.text("HPEXPIREAT small 5000000000000 FIELDS 1 a");
    client.text("HPEXPIREAT large 5000000000000 FIELDS 1 a");
    client.text("HPEXPIREAT large 5000000000999 FIELDS 1 b");
    client.text("SAVE");
    assert!(std::fs::read(&file).unwrap().starts_with(b"REDIS0012"));
    server.kill();
    server.restart(&[]);
    let mut client = server.client();
    assert_eq!(
        client.text("HPEXPIRETIME small FIELDS 2 a b"),
        "[5000000000000, -1]"
    );
    assert_eq!(
        client.text("HPEXPIRETIME large FIELDS 3 a b c"),
        "[5000000000000, 5000000000999, -1]"
    );
    assert!(client.info("keyspace", "db0").ends_with("subexpiry=2"));
    client.text("HPERSIST small FIELDS 1 a");
    client.text("DEL large");
    client.text("SAVE");
    assert!(std::fs::read(&file).unwrap().starts_with(b"REDIS0011"));
}

/// On a writable replica, which deletes nothing that is due, a deadline of 0 is one all the same.
#[test]
fn a_deadline_of_0_is_a_deadline() {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--replica-read-only", "no"]);
    let mut client = replica.client();
    client.text(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the sync", || {
        client.info("replication", "master_link_status") == "up"
    });
    client.text("HSET h a 1 b 2 c 3");
    client.text("HPEXPIREAT h 5000000000000 FIELDS 1 a");
    client.text("HPEXPIREAT h 0 FIELDS 1 b");
    assert_eq!(client.text("HGETALL h"), "[a, 1, c, 3]");
    assert_eq!(client.text("HKEYS h"), "[a, c]");
}

/// Of a hash all of whose fields are due, and not yet deleted by the primary, a replica draws none; a deadline that is
/// taken off the others does not bring them back.
#[test]
fn due_fields_of_a_replica_stay_hidden() {
    let primary = Server::start(&[
        "--enable-debug-command",
        "yes",
        "--repl-diskless-sync-delay",
        "0",
    ]);
    let mut client = primary.client();
    client.text("DEBUG SET-ACTIVE-EXPIRE 0");
    let replica = Server::start(&[]);
    let mut reader = replica.client();
    reader.text(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the sync", || {
        reader.info("replication", "master_link_status") == "up"
    });
    for fields in [2, 300] {
        let pairs: Vec<_> = (0..fields).map(|field| format!("f{field} v")).collect();
        client.text(&format!(
            "HSETEX all{fields} PX 1 FIELDS {fields} {}",
            pairs.join(" ")
        ));
        client.text(&format!(
            "HSETEX most{fields} PX 1 FIELDS {fields} {}",
            pairs.join(" ")
        ));
        client.text(&format!("HSETEX most{fields} PX 1000000 FIELDS 1 stays v"));
        client.text("WAIT 1 5000");
        std::thread::sleep(Duration::from_millis(5));
        for count in ["-3", "3", "-3 WITHVALUES", "3 WITHVALUES"] {
            assert_eq!(
                reader.text(&format!("HRANDFIELD all{fields} {count}")),
                "[]"
            );
        }
        assert_eq!(reader.text(&format!("HRANDFIELD all{fields}")), "(nil)");
        assert_eq!(
            reader.text(&format!("HRANDFIELD most{fields} -2")),
            "[stays, stays]"
        );
        let taken = client.text(&format!("HPERSIST most{fields} FIELDS 3 f0 stays f1"));
        assert_eq!(taken, "[-2, 1, -2]");
        client.text("WAIT 1 5000");
        reader.text("REPLICAOF NO ONE");
        for one in [&mut client, &mut reader] {
            assert_eq!(
                one.text(&format!("HGETALL most{fields}")),
                "[stays, v]",
                "{fields}"
            );
        }
        assert_eq!(
            reader.text(&format!("HMGET most{fields} f0 f1")),
            "[(nil), (nil)]"
        );
        reader.text(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        wait_until("the sync", || {
            reader.info("replication", "master_link_status") == "up"
        });
    }
}

/// Valkey takes deadlines beyond those of Redis: they come as the last that there is.
#[test]
fn far_deadlines_of_a_primary_are_taken() {
    let Some(primary) = Peer::Valkey.start(&["--repl-diskless-sync-delay", "0"]) else {
        return;
    };
    let (mut client, replica) = (primary.client(), Server::start(&[]));
    client.text("HSET h a 1 b 2 c 3");
    client.text(&format!("HPEXPIREAT h {} FIELDS 1 a", i64::MAX));
    let mut reader = replica.client();
    reader.text(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the sync", || {
        reader.info("replication", "master_link_status") == "up"
    });
    client.text(&format!("HPEXPIREAT h {} FIELDS 1 b", 1_i64 << 50));
    client.text("WAIT 1 5000");
    let last = (1_i64 << 48) - 1;
    wait_until("the deadline", || {
        reader.text("HPEXPIRETIME h FIELDS 3 a b c") == format!("[{last}, {last}, -1]")
    });
    assert_eq!(reader.text("HMGET h a b c"), "[1, 2, 3]");
}
