//! Random collections of every encoding go from here to Redis 8 and back, by DUMP and RESTORE and as files.

use std::collections::BTreeMap;
use std::path::Path;

use redoxide::base::prng::Prng;

use crate::harness::{Client, Peer, Server, Value, seed, target};

const ARGS: &[&str] = &["--enable-debug-command", "yes"];

fn text(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// An element; `kind` is one for a whole collection, so that there are some of integers alone and some of short ones.
fn element(prng: &mut Prng, kind: u64) -> Vec<u8> {
    let bits = prng.below(64);
    match (kind, prng.below(40)) {
        (0, _) => (prng.next_u64() as i64 >> bits).to_string().into_bytes(),
        (1, _) => {
            let len = 1 + prng.below(12) as usize;
            prng.hex(len).into_bytes()
        }
        (_, 0) => vec![b'x'; 20_000],
        (_, 1) => {
            let mut noise = vec![0; prng.below(3000) as usize];
            prng.fill(&mut noise);
            noise
        }
        (_, 2..6) => vec![b'm'; prng.below(70) as usize],
        (_, 6..9) => format!("0{}", prng.below(1000)).into_bytes(),
        (_, 9..20) => prng.below(100_000).to_string().into_bytes(),
        _ => {
            let len = prng.below(20) as usize;
            prng.hex(len).into_bytes()
        }
    }
}

fn score(prng: &mut Prng) -> Vec<u8> {
    match prng.below(8) {
        0 => text(
            [
                "inf",
                "-inf",
                "0",
                "1e300",
                "-1.5e-300",
                "3.0000000000000004",
            ][prng.below(6) as usize],
        ),
        1 => format!("{}", prng.next_u64() as f64 / 1e10).into_bytes(),
        _ => prng.below(500).to_string().into_bytes(),
    }
}

/// Makes the same collections on both servers.
fn fill(prng: &mut Prng, clients: &mut [Client; 2]) -> Vec<String> {
    let mut keys = Vec::new();
    for number in 0..60 {
        let (name, takes) = [("RPUSH", 1), ("SADD", 1), ("ZADD", 2), ("HSET", 2)][number % 4];
        let size = [1, 6, 100, 128, 129, 513, 2500][prng.below(7) as usize];
        let kind = prng.below(3);
        let key = format!("{name}:{number}");
        let mut command = vec![text(name), text(&key)];
        for _ in 0..size {
            match name {
                "ZADD" => command.extend([score(prng), element(prng, kind)]),
                "HSET" => {
                    let other = prng.below(3);
                    command.extend([element(prng, kind), element(prng, other)]);
                }
                _ => command.push(element(prng, kind)),
            }
        }
        let mut commands = vec![command];
        if prng.below(3) == 0 {
            // Some shrink again, to a large form with few elements.
            let some: Vec<Vec<u8>> = commands[0][2..]
                .iter()
                .skip(takes - 1)
                .step_by(takes)
                .skip(3)
                .cloned()
                .collect();
            let remove = match name {
                "RPUSH" => vec![text("LTRIM"), text(&key), text("0"), text("4")],
                "SADD" => [vec![text("SREM"), text(&key), text("none")], some].concat(),
                "ZADD" => [vec![text("ZREM"), text(&key), text("none")], some].concat(),
                _ => {
                    let fields = commands[0][2..]
                        .iter()
                        .step_by(2)
                        .skip(3)
                        .cloned()
                        .collect();
                    [vec![text("HDEL"), text(&key), text("none")], fields].concat()
                }
            };
            commands.push(remove);
        }
        for command in commands {
            let replies = [0, 1].map(|server: usize| clients[server].call(&command));
            assert_eq!(replies[0], replies[1], "{key}");
        }
        keys.push(key);
    }
    // What repeats may be gone with what was taken out.
    keys.retain(|key| clients[0].text(&format!("EXISTS {key}")) == "1");
    assert!(keys.len() > 30);
    keys
}

/// The digest and the encoding of each key.
fn facts(client: &mut Client, keys: &[String]) -> BTreeMap<String, (String, String)> {
    let fact = |key: &String| {
        let digest = client.text(&format!("DEBUG DIGEST-VALUE {key}"));
        let encoding = client.text(&format!("OBJECT ENCODING {key}"));
        (key.clone(), (digest, encoding))
    };
    keys.iter().map(fact).collect()
}

#[test]
fn payloads_go_both_ways() {
    let Some(theirs) = Peer::Redis8.start(ARGS) else {
        return;
    };
    let ours = Server::start(ARGS);
    let seed = seed();
    println!("SEED={seed}");
    let mut prng = Prng::new(seed);
    for _ in 0..2 {
        let mut clients = [ours.client(), theirs.client()];
        clients.iter_mut().for_each(|client| {
            client.text("FLUSHALL");
        });
        let keys = fill(&mut prng, &mut clients);
        let made = facts(&mut clients[0], &keys);
        assert_eq!(made, facts(&mut clients[1], &keys), "seed {seed}");
        for from in [0, 1] {
            for key in &keys {
                let Value::Bulk(payload) = clients[from].call(&[text("DUMP"), text(key)]) else {
                    panic!("no payload of {key}");
                };
                let restore = [
                    text("RESTORE"),
                    text("copy"),
                    text("0"),
                    payload,
                    text("REPLACE"),
                ];
                let restored = [0, 1].map(|to: usize| {
                    let reply = clients[to].call(&restore).to_string();
                    assert_eq!(reply, "OK", "seed {seed}: {key} from {from} to {to}");
                    facts(&mut clients[to], &["copy".to_owned()])["copy"].clone()
                });
                assert_eq!(restored[0], restored[1], "seed {seed}: {key} from {from}");
                assert_eq!(restored[0].0, made[key].0, "seed {seed}: {key} from {from}");
            }
        }
    }
}

#[test]
fn files_go_both_ways() {
    let Some(program) = Peer::Redis8.find() else {
        return;
    };
    let servers = [Server::start(ARGS), Server::start_program(&program, ARGS)];
    let seed = seed();
    println!("SEED={seed}");
    let mut clients = [servers[0].client(), servers[1].client()];
    let keys = fill(&mut Prng::new(seed), &mut clients);
    let digest = clients[0].text("DEBUG DIGEST");
    assert_eq!(digest, clients[1].text("DEBUG DIGEST"), "seed {seed}");
    for (server, client) in servers.iter().zip(&mut clients) {
        assert_eq!(client.text("SAVE"), "OK");
        let file = server.dir().join("dump.rdb");
        let copy = |dir: &Path| {
            std::fs::copy(&file, dir.join("dump.rdb")).expect("the file is there");
        };
        let loaded = [target(), program.clone()].map(|program| {
            let server = Server::start_in(&program, ARGS, copy);
            let mut client = server.client();
            assert_eq!(client.text("DEBUG DIGEST"), digest, "seed {seed}");
            facts(&mut client, &keys)
        });
        assert_eq!(loaded[0], loaded[1], "seed {seed}");
    }
}

/// Strings that are too long to be compressed in one go.
#[test]
fn long_strings_are_compressed_in_files() {
    let Some(program) = Peer::Redis8.find() else {
        return;
    };
    const BYTES: usize = 70 << 20;
    let ours = Server::start(ARGS);
    let mut client = ours.client();
    client.text(&format!("SETBIT sparse {} 1", BYTES * 8 - 1));
    client.text("SETRANGE sparse 1000000 \"some text in the middle\"");
    // A member is not kept in chunks.
    client.call(&[text("HSET"), text("hash"), text("field"), vec![b'v'; BYTES]]);
    let digest = client.text("DEBUG DIGEST");
    assert_eq!(client.text("SAVE"), "OK");
    let file = ours.dir().join("dump.rdb");
    let length = std::fs::metadata(&file).unwrap().len() as usize;
    assert!(length < BYTES / 25, "{length}");
    let theirs = Server::start_in(&program, ARGS, |dir| {
        std::fs::copy(&file, dir.join("dump.rdb")).unwrap();
    });
    assert_eq!(theirs.client().text("DEBUG DIGEST"), digest);
    let again = Server::start_in(&target(), ARGS, |dir| {
        std::fs::copy(&file, dir.join("dump.rdb")).unwrap();
    });
    assert_eq!(again.client().text("DEBUG DIGEST"), digest);
}

/// Redis 7.0 reads neither packs of members nor when consumers were active, and a type it does not know ends it.
#[test]
fn replicas_are_sent_what_they_read() {
    let replicas = [
        Peer::Redis7.start(ARGS),
        Peer::Redis8.start(ARGS),
        Peer::Valkey.start(ARGS),
        Some(Server::start(ARGS)),
    ];
    let ours = Server::start(&[ARGS, &["--repl-diskless-sync-delay", "0"]].concat());
    let mut client = ours.client();
    let seed = seed();
    println!("SEED={seed}");
    let mut keys = Vec::new();
    let mut prng = Prng::new(seed);
    for size in [1, 5, 128] {
        let key = format!("set:{size}");
        let members = (0..size).map(|_| element(&mut prng, size % 3));
        let head = [text("SADD"), text(&key)];
        client.call(&head.into_iter().chain(members).collect::<Vec<_>>());
        keys.push(key);
    }
    for line in [
        "SADD mixed a 1 4294967296 -7",
        "XADD stream 1-1 a 1 b 2",
        "XADD stream 2-1 a 3",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group reader COUNT 1 STREAMS stream >",
        "XGROUP CREATECONSUMER stream group idler",
    ] {
        client.text(line);
    }
    keys.push("mixed".to_owned());
    for (number, replica) in replicas.iter().enumerate() {
        let Some(replica) = replica else {
            continue;
        };
        let mut replica = replica.client();
        replica.text(&format!("REPLICAOF 127.0.0.1 {}", ours.port()));
        crate::harness::wait_until("the link is up", || {
            replica.info("replication", "master_link_status") == "up"
        });
        for key in &keys {
            let line = format!("DEBUG DIGEST-VALUE {key}");
            assert_eq!(
                client.text(&line),
                replica.text(&line),
                "seed {seed}: {key}"
            );
        }
        for line in [
            "XRANGE stream - +",
            "XPENDING stream group",
            "XINFO GROUPS stream",
        ] {
            assert_eq!(client.text(line), replica.text(line), "{line}");
        }
        // Who never got anything is known as such by all but the first.
        let consumers = replica.text("XINFO CONSUMERS stream group");
        assert_eq!(
            consumers.contains("inactive, -1"),
            number > 0,
            "{consumers}"
        );
    }
}
