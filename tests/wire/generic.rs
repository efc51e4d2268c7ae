//! Keys and databases: what a client sees.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::harness::{Client, Server, Value, wait_until};
use crate::pair::Pair;

fn scan(client: &mut Client, options: &str, mut between: impl FnMut(&mut Client)) -> Vec<String> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    loop {
        let Value::Array(reply) = client.value(&format!("SCAN {cursor} {options}")) else {
            panic!("SCAN did not answer an array");
        };
        cursor = reply[0].to_string();
        assert!(cursor.parse::<u64>().expect("a cursor") < 1 << 48);
        let Value::Array(found) = &reply[1] else {
            panic!("SCAN did not answer an array of keys");
        };
        keys.extend(found.iter().map(Value::to_string));
        if cursor == "0" {
            return keys;
        }
        between(client);
    }
}

fn fill(client: &mut Client, prefix: &str, count: usize) {
    for start in (0..count).step_by(1000) {
        let pairs: Vec<String> = (start..count.min(start + 1000))
            .map(|index| format!("{prefix}:{index} v"))
            .collect();
        assert_eq!(client.text(&format!("MSET {}", pairs.join(" "))), "OK");
    }
}

#[test]
fn scan_gives_all_that_stays_while_others_come_and_go() {
    let server = Server::start(&[]);
    for growing in [true, false] {
        let mut client = server.client();
        client.text("FLUSHALL");
        fill(&mut client, "stay", 1000);
        if !growing {
            fill(&mut client, "other", 20_000);
        }
        let mut next = 0;
        let keys = scan(&mut client, "COUNT 20", |client| {
            if next >= 20_000 {
                // Growing faster than it is scanned, the table would never be done.
                return;
            }
            let names = (next..next + 400).map(|index| format!("other:{index}"));
            match growing {
                true => client.text(&format!(
                    "MSET {}",
                    names.map(|name| name + " v").collect::<Vec<_>>().join(" ")
                )),
                false => client.text(&format!("DEL {}", names.collect::<Vec<_>>().join(" "))),
            };
            next += 400;
        });
        let mut seen: HashMap<String, usize> = HashMap::new();
        for key in keys {
            *seen.entry(key).or_default() += 1;
        }
        for index in 0..1000 {
            let count = seen.get(&format!("stay:{index}")).copied().unwrap_or(0);
            // A table that shrinks may show a key again.
            assert!(
                count == 1 || (count > 1 && !growing),
                "growing: {growing}, {count}"
            );
        }
    }
}

#[test]
fn scan_filters() {
    let server = Server::start(&[]);
    let mut client = server.client();
    fill(&mut client, "key", 1000);
    fill(&mut client, "other", 100);
    assert_eq!(scan(&mut client, "", |_| {}).len(), 1100);
    assert_eq!(scan(&mut client, "MATCH key:1??", |_| {}).len(), 100);
    assert_eq!(
        scan(&mut client, "TYPE string COUNT 500", |_| {}).len(),
        1100
    );
    assert_eq!(scan(&mut client, "TYPE hash", |_| {}).len(), 0);
    let Value::Array(reply) = client.value("SCAN 0 COUNT 100000") else {
        panic!("no array");
    };
    assert_eq!(reply[0].to_string(), "0");
}

/// SCAN, KEYS and RANDOMKEY hide due keys; SCAN and RANDOMKEY delete those they meet.
#[test]
fn due_keys_are_neither_listed_nor_kept() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.text("DEBUG SET-ACTIVE-EXPIRE 0");
    client.text("SET stays v");
    for index in 0..50 {
        client.text(&format!("SET due:{index} v PX 1"));
    }
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(client.text("KEYS *"), "[stays]");
    assert_eq!(client.text("DBSIZE"), "51");
    assert_eq!(scan(&mut client, "COUNT 10", |_| {}), ["stays"]);
    assert_eq!(client.text("DBSIZE"), "1");
    assert_eq!(client.text("SET due v PX 1"), "OK");
    std::thread::sleep(Duration::from_millis(10));
    for _ in 0..20 {
        assert_eq!(client.text("RANDOMKEY"), "stays");
    }
    assert_eq!(client.text("DBSIZE"), "1");
    client.text("DEL stays");
    assert_eq!(client.text("RANDOMKEY"), "(nil)");
}

#[test]
fn dbsize_is_exact_with_active_expiry() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut request = Vec::new();
    for index in 0..20_000 {
        let key = format!("key:{index}");
        crate::harness::push_request(&mut request, &["SET", &key, "v", "PX", "400"]);
    }
    client.send(&request);
    (0..20_000).for_each(|_| drop(client.read()));
    client.text("SET stays v");
    std::thread::sleep(Duration::from_millis(401));
    assert_eq!(client.text("DBSIZE"), "1");
    wait_until("all due keys are reclaimed", || {
        client
            .info("keyspace", "db0")
            .starts_with("keys=1,expires=0")
    });
}

#[test]
fn randomkey_is_about_uniform() {
    let server = Server::start(&[]);
    let mut client = server.client();
    fill(&mut client, "k", 10);
    let mut counts: HashMap<String, usize> = HashMap::new();
    for _ in 0..2000 {
        *counts.entry(client.text("RANDOMKEY")).or_default() += 1;
    }
    assert_eq!(counts.len(), 10);
    assert!(
        counts.values().all(|&count| (120..300).contains(&count)),
        "{counts:?}"
    );
}

#[test]
fn rename_copy_and_move_keep_the_deadline() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for line in [
        "SET a v PXAT 9999999999999",
        "RENAME a b",
        "PEXPIRETIME b",
        "SET c w",
        "RENAME b c",
        "PEXPIRETIME c",
        "GET c",
        "RENAME c c",
        "RENAMENX c c",
        "RENAME none none",
        "RENAMENX none c",
        "SET d x",
        "RENAMENX c d",
        "COPY c e",
        "PEXPIRETIME e",
        "COPY d e",
        "COPY d e REPLACE",
        "PEXPIRETIME e",
        "COPY c c",
        "COPY c c DB 0",
        "COPY c c DB 5",
        "COPY c c DB 5",
        "COPY c c DB 5 REPLACE",
        "COPY none e REPLACE",
        "EXISTS e",
        "COPY c x DB",
        "COPY c x DB 99",
        "COPY c x DB 99999999999",
        "MOVE c 0",
        "MOVE c 5",
        "MOVE c 6",
        "MOVE c 7",
        "MOVE d nan",
        "MOVE d -1",
        "SELECT 6",
        "PEXPIRETIME c",
        "SELECT 5",
        "PEXPIRETIME c",
        "SWAPDB 5 6",
        "SWAPDB 5 5",
        "SWAPDB a 5",
        "SWAPDB 5 a",
        "SWAPDB 5 16",
        "DBSIZE",
        "FLUSHDB NOW",
        "FLUSHDB ASYNC SYNC",
        "FLUSHDB SYNC",
        "FLUSHALL ASYNC",
        "DBSIZE",
    ] {
        pair.same(line);
    }
}

/// EXEC fails when a watched key goes with its database, unless it was due when the watch began.
#[test]
fn flush_and_swap_spoil_watches() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let (mut watcher, mut other) = (server.client(), server.client());
    let exec = |watcher: &mut Client| {
        watcher.text("MULTI");
        watcher.text("PING");
        watcher.text("EXEC")
    };
    for (before, change, spoilt) in [
        ("SET k v", "FLUSHALL", true),
        ("SET k v", "FLUSHDB", true),
        ("SET k v", "SWAPDB 0 1", true),
        ("SET other v", "FLUSHALL", false),
        ("SET other v", "SWAPDB 0 1", false),
        ("SET other v", "SWAPDB 2 3", false),
        ("SET k v", "SWAPDB 0 0", false),
        ("SET k v", "DEL k", true),
        ("SET other v", "DEL k", false),
        ("SET k v", "EXPIRE k 100", true),
        ("SET k v", "PERSIST k", false),
        ("SET k v", "RENAME k l", true),
        ("SET l v", "RENAME l k", true),
        ("SET l v", "COPY l k", true),
        ("SET k v", "MOVE k 9", true),
        ("SET k v", "GETEX k", false),
        ("SET k v", "GETEX k EX 10", true),
        ("SET k v", "GETDEL k", true),
        ("SET k v", "APPEND k \"\"", true),
        ("SET k v", "SETRANGE k 0 \"\"", false),
        ("SET k v", "SETNX k w", false),
        ("SET k v", "SET k w NX", false),
    ] {
        other.text("FLUSHALL");
        other.text(before);
        watcher.text("WATCH k");
        other.text(change);
        let expected = if spoilt { "(nil)" } else { "[PONG]" };
        assert_eq!(exec(&mut watcher), expected, "{before}; {change}");
    }
    other.text("DEBUG SET-ACTIVE-EXPIRE 0");
    for change in ["FLUSHALL", "DEL k", "GET k", "SWAPDB 0 1"] {
        other.text("FLUSHALL");
        other.text("SET k v PX 1");
        std::thread::sleep(Duration::from_millis(5));
        watcher.text("WATCH k");
        other.text(change);
        assert_eq!(exec(&mut watcher), "[PONG]", "due; {change}");
    }
    // An absent key that a due one takes the place of is still absent.
    other.text("FLUSHALL");
    watcher.text("WATCH k");
    other.text("SELECT 1");
    other.text("SET k v PX 1");
    std::thread::sleep(Duration::from_millis(5));
    other.text("SWAPDB 0 1");
    assert_eq!(exec(&mut watcher), "[PONG]");
    other.text("SELECT 0");
    other.text("FLUSHALL");
    // In one piece: it is watched before it is due.
    watcher.send(b"SET k v PX 50\r\nWATCH k\r\n");
    watcher.read();
    watcher.read();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(exec(&mut watcher), "(nil)");
}

#[test]
fn dump_and_restore_work_both_ways() {
    let Some(peer) = crate::harness::Peer::Redis8.start(&[]) else {
        return;
    };
    let server = Server::start(&[]);
    let (mut ours, mut theirs) = (server.client(), peer.client());
    let values: [&[u8]; 6] = [
        b"",
        b"123",
        b"-99999",
        b"text",
        &[b'a'; 5000],
        &[7; 200_000],
    ];
    for value in values {
        for reversed in [false, true] {
            let (from, to) = match reversed {
                false => (&mut ours, &mut theirs),
                true => (&mut theirs, &mut ours),
            };
            from.call(&[b"SET", b"k".as_slice(), value]);
            let Value::Bulk(mut payload) = from.call(&["DUMP", "k"]) else {
                panic!("no payload");
            };
            to.text("FLUSHALL");
            if reversed {
                // Redis 8 writes a version that is read here; what is written here is older.
                assert_eq!(payload[payload.len() - 10..][..2], [12, 0]);
            }
            let restore = |to: &mut Client, payload: &[u8], rest: &[&[u8]]| {
                let head: [&[u8]; 3] = [b"RESTORE", b"k", b"0"];
                to.call(&[&head, [payload].as_slice(), rest].concat())
                    .to_string()
            };
            assert_eq!(restore(to, &payload, &[]), "OK");
            assert_eq!(to.call(&["GET", "k"]), Value::Bulk(value.to_vec()));
            assert_eq!(
                restore(to, &payload, &[]),
                "(error) BUSYKEY Target key name already exists."
            );
            assert_eq!(restore(to, &payload, &[b"REPLACE", b"FREQ", b"5"]), "OK");
            let last = payload.len() - 1;
            payload[last] ^= 1;
            assert_eq!(
                restore(to, &payload, &[b"REPLACE"]),
                "(error) ERR DUMP payload version or checksum are wrong"
            );
        }
    }
}

#[test]
fn restore_checks_its_arguments() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    pair.same("SET k v");
    let payload = pair.theirs_dump("k");
    for rest in [
        "0",
        "-1",
        "abc",
        "100000",
        "0 REPLACE",
        "-1 REPLACE",
        "abc REPLACE",
        "1 REPLACE ABSTTL",
        "100000 REPLACE",
        "9999999999999 ABSTTL REPLACE",
        "0 REPLACE IDLETIME",
        "0 REPLACE IDLETIME -1",
        "0 REPLACE IDLETIME 100",
        "0 REPLACE FREQ 256",
        "0 REPLACE FREQ 100",
        "0 REPLACE FREQ 1 IDLETIME 1",
        "0 BOGUS",
    ] {
        let mut words = rest.split(' ').map(|word| word.as_bytes().to_vec());
        let ttl = words.next().unwrap_or_default();
        let mut command = vec![b"RESTORE".to_vec(), b"k".to_vec(), ttl, payload.clone()];
        command.extend(words);
        let (ours, theirs) = pair.call(&command);
        assert_eq!(ours, theirs, "{rest}");
        pair.near("TTL k");
        pair.near("OBJECT IDLETIME k");
        pair.same("EXISTS k");
    }
}

/// COMMAND INFO and COMMAND DOCS say what Redis says, our own wording and later options aside.
#[test]
fn rows_say_what_redis_says() {
    let Some(peer) = crate::harness::Peer::Redis8.start(&[]) else {
        return;
    };
    let server = Server::start(&[]);
    let (mut ours, mut theirs) = (server.client(), peer.client());
    let names = "append bitcount bitfield bitfield_ro bitop bitpos copy dbsize decr decrby del dump exists expire expireat expiretime flushall flushdb get getbit getdel \
                 getex getrange getset hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat hkeys hlen hmget \
                 hmset hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset hsetex hsetnx hstrlen httl hvals incr incrby \
                 incrbyfloat keys lcs mget move mset msetnx object persist pexpire pfadd pfcount pfdebug pfmerge pfselftest \
                 pexpireat pexpiretime psetex pttl randomkey rename renamenx restore scan set setbit setex setnx setrange \
                 strlen substr swapdb touch ttl type unlink";
    let mut wrong = Vec::new();
    let (mut our_docs, mut their_docs) = (server.client(), peer.client());
    our_docs.text("HELLO 3");
    their_docs.text("HELLO 3");
    for name in names.split_whitespace() {
        let (mine, other) = (
            ours.value(&format!("COMMAND INFO {name}")),
            theirs.value(&format!("COMMAND INFO {name}")),
        );
        if !matches!(name, "set" | "bitop") {
            // These have options that Redis 8.0 has not.
            let line = format!("COMMAND DOCS {name}");
            let (mine, other) = (
                facts(&our_docs.value(&line), 0),
                facts(&their_docs.value(&line), 0),
            );
            if mine != other {
                wrong.push(format!("{name}\nours:   {mine}\ntheirs: {other}"));
            }
        }
        if sorted(&mine) != sorted(&other) {
            wrong.push(format!(
                "{name}\nours:   {}\ntheirs: {}",
                sorted(&mine),
                sorted(&other)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a reply of COMMAND DOCS says, without its prose and without the age of single arguments.
fn facts(value: &Value, depth: usize) -> String {
    match value {
        Value::Map(pairs) => {
            let mut lines: Vec<String> = pairs
                .iter()
                .map(|(name, value)| (name.to_string(), value))
                .filter(|(name, _)| name != "summary" && name != "complexity")
                .filter(|(name, _)| depth < 2 || name != "since")
                .map(|(name, value)| format!("{name}: {}", facts(value, depth + 1)))
                .collect();
            lines.sort();
            format!("{{{}}}", lines.join(", "))
        }
        Value::Array(items) | Value::Set(items) => {
            let items: Vec<String> = items.iter().map(|item| facts(item, depth + 1)).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// The text of a reply with every array sorted: flags and the like have no order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Array(items) | Value::Set(items) => {
            let mut items: Vec<String> = items.iter().map(sorted).collect();
            items.sort();
            let unique: HashSet<&String> = items.iter().collect();
            format!("{}[{}]", unique.len(), items.join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn rarities_answer_as_redis() {
    let Some(mut pair) = Pair::start(&["--enable-debug-command", "yes"]) else {
        return;
    };
    for line in [
        // Over the limit only commands that may need memory are refused, also while they queue.
        "CONFIG SET maxmemory 1",
        "MULTI",
        "GET a",
        "PING",
        "EXEC",
        "MULTI",
        "SET a 1",
        "EXEC",
        "CONFIG SET maxmemory 0",
        "MULTI",
        "MONITOR",
        "EXEC",
        "CLIENT UNBLOCK 1 ERROR x",
        "CLIENT UNBLOCK 1 2 3",
        "SET s abc",
        "BITPOS s 1 x 1 BIT 1",
        "BITCOUNT s 6 18446744073709551616 byte x",
        // A watched key that is in neither data set does not change.
        "WATCH absent",
        "DEBUG RELOAD",
        "MULTI",
        "EXEC",
        "WATCH s",
        "DEBUG RELOAD",
        "MULTI",
        "EXEC",
        // The borders of a list's chunks are kept.
        "CONFIG SET list-max-listpack-size 2",
        "RPUSH l 1 2 3",
        "CONFIG SET list-max-listpack-size -2",
        "DEBUG RELOAD",
        "OBJECT ENCODING l",
        "LRANGE l 0 -1",
        "ZADD z 3 a 1 b 2 c",
        "ZRANDMEMBER z 10 WITHSCORES",
    ] {
        pair.same(line);
    }
}

#[test]
fn what_a_failed_reload_began_is_gone() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.text("SADD other x y");
    // A set with the same member twice.
    let mut file = b"REDIS0011\x02\x01k\x03\x01a\x01b\x01a\xff".to_vec();
    file.extend_from_slice(&[0; 8]);
    std::fs::write(server.dir().join("dump.rdb"), file).unwrap();
    assert!(
        client
            .text("DEBUG RELOAD NOSAVE NOFLUSH")
            .starts_with("(error)")
    );
    assert_eq!(client.text("SUNIONSTORE k other"), "2");
    assert_eq!(client.text("SCARD k"), "2");
}

#[test]
fn a_key_that_is_copied_or_renamed_is_a_new_one_to_lfu() {
    let Some(mut pair) = Pair::start(&["--maxmemory-policy", "allkeys-lfu"]) else {
        return;
    };
    for story in [
        "SET a x;GET a;COPY a b",
        "SET a x;GET a;GET a;RENAME a b",
        "RPUSH a x;LRANGE a 0 -1;RENAMENX a b",
        "SET b x;GET b;GET b;SET a x;COPY a b REPLACE",
        "SELECT 1;SET b x;GET b;GET b;MOVE b 0;SELECT 0",
    ] {
        pair.same("FLUSHALL");
        story.split(';').for_each(|line| {
            pair.same(line);
        });
        assert_eq!(pair.same("OBJECT FREQ b"), ":5\r\n", "{story}");
    }
}

/// A server's cursors last when its data is loaded anew.
#[test]
fn a_scan_goes_on_after_a_reload() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(client.text("DEBUG POPULATE 3000"), "OK");
    let members: Vec<String> = (0..3000).map(|member| format!("m{member}")).collect();
    client.text(&format!("SADD set {}", members.join(" ")));
    for scan in ["SCAN", "SSCAN set"] {
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        for call in 0.. {
            let Value::Array(reply) = client.value(&format!("{scan} {cursor} COUNT 50")) else {
                panic!("{scan} did not answer an array");
            };
            let Value::Array(page) = &reply[1] else {
                panic!("{scan} did not answer a page");
            };
            cursor = reply[0].to_string();
            found.extend(page.iter().map(Value::to_string));
            if cursor == "0" {
                break;
            }
            if call == 20 {
                assert_eq!(client.text("DEBUG RELOAD"), "OK");
            }
        }
        let count = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), count, "{scan}: none twice");
        assert_eq!(count, if scan == "SCAN" { 3001 } else { 3000 }, "{scan}");
    }
}
