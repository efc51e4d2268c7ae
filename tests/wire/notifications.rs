//! Keyspace notifications: which events a command brings, in which order, of which class; against Redis 8.

use std::time::Duration;

use redoxide::base::prng::Prng;

use crate::harness::{Client, Peer, Server, Value, wait_until};
use crate::pair::{Events, Pair, same_story};
use crate::{bitmap, collections, families, hash_expire, hyperloglog, list, stream, zset};

type Words = Vec<Vec<u8>>;

/// Random commands bring the same events; what they answer is for other tests to compare.
fn same_events(mut command: impl FnMut(&mut Prng) -> Words) {
    let Some(mut pair) = Pair::start(&["--enable-debug-command", "yes"]) else {
        return;
    };
    pair.watch_events();
    let draw = |prng: &mut Prng| loop {
        let words = command(prng);
        if !is_matter_of_time(&words) && !is_undefined(&words) {
            return words;
        }
    };
    pair.random(5000, draw, |_, _, _| false);
}

/// Twice the same time within a millisecond is no later deadline; that millisecond is the server's own.
fn is_matter_of_time(words: &[Vec<u8>]) -> bool {
    let name = words[0].to_ascii_uppercase();
    name.windows(6).any(|part| part == b"EXPIRE")
        && words.iter().any(|word| word.eq_ignore_ascii_case(b"GT"))
}

/// Ranges by member where scores differ.
fn is_undefined(words: &[Vec<u8>]) -> bool {
    let by_member = |word: &Vec<u8>| word.eq_ignore_ascii_case(b"BYLEX");
    words[0].eq_ignore_ascii_case(b"ZREMRANGEBYLEX") || words.iter().any(by_member)
}

#[test]
fn events_of_strings_are_those_of_redis() {
    same_events(|prng| match prng.below(8) {
        0 => bitmap::command(prng),
        1 => hyperloglog::command(prng),
        _ => families::command(prng),
    });
}

#[test]
fn events_of_sets_and_hashes_are_those_of_redis() {
    same_events(|prng| match prng.below(3) {
        0 => hash_expire::command(prng),
        _ => collections::command(prng),
    });
}

#[test]
fn events_of_lists_and_streams_are_those_of_redis() {
    let mut clock = 0;
    same_events(|prng| match prng.below(2) {
        0 => list::command(prng),
        _ => stream::command(prng, &mut clock),
    });
}

#[test]
fn events_of_sorted_sets_are_those_of_redis() {
    same_events(|prng| match prng.below(3) {
        0 => zset::algebra(prng),
        _ => zset::command(prng),
    });
    same_events(zset::geo);
}

/// What the random commands seldom or never do, one command a step; `X` is a payload of DUMP.
const STORY: &str = "\
SET k v|SET k w|SET k v EX 100|SET k v PX 100000 GET|SET k v KEEPTTL|SET k v NX|SET k v XX|GETEX k|\
GETEX k EX 100|GETEX k PERSIST|GETEX k PERSIST|GETEX k PXAT 1|GETEX k|GETDEL k|SET k v|GETDEL k|GETSET k v|SETEX k 10 v|\
PSETEX k 1000 v|MSET k 1 l 2 k 3|MSETNX a 1 b 2|MSETNX a 1 c 2|APPEND k \"\"|APPEND n \"\"|APPEND o x|SETRANGE k 1 \"\"|\
SETRANGE p 3 x|INCRBYFLOAT f 1.5|INCR f|INCR i|DECRBY i 3|SETBIT bits 3 1|SETBIT bits 3 1|BITFIELD bits SET u8 0 1|\
BITFIELD new GET u8 0|BITFIELD new SET u8 0 1|BITOP AND to bits k|BITOP AND to none none|BITOP AND to none none|\
LCS k l|SUBSTR k 0 1|STRLEN none|GETRANGE none 0 1|GETBIT none 1|BITCOUNT none|BITPOS none 1|MGET k none l none2|\
EXISTS k none none|TOUCH k none|TYPE none|TTL none|PTTL none|EXPIRETIME none|OBJECT ENCODING none|OBJECT ENCODING k|\
OBJECT IDLETIME none|DUMP none|MEMORY USAGE none|DEBUG OBJECT none|SORT none|SORT_RO none|SCAN 0|KEYS *|RANDOMKEY|\
EXPIRE none 10|EXPIRE k 10|EXPIRE k 10 NX|PERSIST k|PERSIST k|EXPIREAT k 1|EXPIREAT k 1|COPY l l2|COPY l l2|\
COPY l l2 REPLACE|COPY l l3 DB 2|RENAME l l2|RENAME none l2|RENAME l2 l2|RENAMENX l2 a|RENAMENX l2 l4|MOVE l4 2|\
MOVE l4 2|MOVE none 2|DEL none|DEL l4 a b|UNLINK o p none|SWAPDB 0 2|SWAPDB 2 0|FLUSHDB|RPUSH q a b c|LPUSHX none x|\
RPUSHX q d|LPOP q|RPOP q 2|RPOP q 5|LPOP q|LPOP q 3|LMOVE none q LEFT LEFT|RPUSH q a b a b a b|LREM q 1 a|LREM q 9 x|\
LSET q 0 z|LSET q 99 z|LSET none 0 z|LINSERT q BEFORE z y|LINSERT q BEFORE none y|LINSERT none BEFORE z y|LTRIM q 0 3|\
LTRIM q 9 3|LTRIM q 0 1|RPUSH q a b c|LMOVE q q LEFT RIGHT|LMOVE q q2 LEFT RIGHT|RPOPLPUSH q q2|LMPOP 2 none q LEFT COUNT 9|\
BLPOP q2 0.01|BLMOVE q2 q3 LEFT LEFT 0.01|BLPOP q3 1|BLPOP none 0.01|LPOS none a|LINDEX none 0|LLEN none|LRANGE none 0 1|\
SADD s 1 2 3|SADD s 1|SADD s 4|SREM s 9|SREM s 1|SREM s 2 3 4|SADD s a b c|SMOVE s t a|SMOVE s t none|SMOVE s t b|\
SMOVE s t c|SMOVE t t a|SADD s a b|SPOP s 9|SADD s a b|SPOP t 0|SPOP t 99|SPOP none|SUNIONSTORE u s none|\
SINTERSTORE u s none|SINTERSTORE u s none|SDIFFSTORE u none s|SDIFFSTORE s2 s t|SRANDMEMBER none|SISMEMBER none a|\
SMEMBERS none|SINTER s none|SUNION s none|SDIFF none s|SINTERCARD 2 s none|SCARD none|SSCAN none 0|SPOP s2|SPOP s2|\
HSET h a 1|HSET h a 1|HMSET h b 2 c 3|HSETNX h a 1|HSETNX h d 4|HINCRBY h a 1|HINCRBYFLOAT h a 1.5|HDEL h none|HDEL h a|\
HDEL h b c d|HSET h a 1 b 2 c 3|HGETDEL h FIELDS 1 a|HGETDEL h FIELDS 1 none|HGETDEL h FIELDS 2 b c|\
HSETEX h FNX EX 100 FIELDS 2 a 1 b 2|HSETEX h FNX EX 100 FIELDS 2 a 1 b 2|HSETEX h FXX FIELDS 1 a 1|\
HSETEX h KEEPTTL FIELDS 1 a 1|HSETEX h PXAT 1 FIELDS 1 a 1|HGETEX h EX 10 FIELDS 1 b|HGETEX h PERSIST FIELDS 1 b|\
HGETEX h PERSIST FIELDS 1 b|HGETEX h PXAT 1 FIELDS 1 b|HSET h a 1 b 2|HEXPIRE h 100 FIELDS 1 a|HEXPIRE h 100 NX FIELDS 1 a|\
HPERSIST h FIELDS 1 a|HPERSIST h FIELDS 1 a|HEXPIRE h 0 FIELDS 1 a|HEXPIREAT h 1 FIELDS 1 b|HGET none a|HGETALL none|\
HLEN none|HMGET none a|HSTRLEN none a|HEXISTS none a|HKEYS none|HRANDFIELD none|HSCAN none 0|HTTL none FIELDS 1 a|\
ZADD z 1 a 2 b|ZADD z 1 a|ZADD z 3 a|ZADD z INCR 1 a|ZINCRBY z 1 a|ZINCRBY z 1 n|ZADD z XX 1 none|ZREM z none|ZREM z n|\
ZRANGESTORE y z 0 -1|ZRANGESTORE y z 5 9|ZRANGESTORE y z 5 9|ZUNIONSTORE y 2 z none|ZINTERSTORE y 2 z none|\
ZDIFFSTORE y 2 z none|ZDIFFSTORE y 1 none|ZPOPMIN z|ZPOPMAX z|ZPOPMIN z|ZADD z 1 a 2 b 3 c|ZMPOP 2 none z MIN COUNT 2|\
BZMPOP 1 2 none z MIN|BZPOPMIN z 0.01|ZADD z 1 a 2 b 3 c 4 d 5 e|ZREMRANGEBYRANK z 0 0|ZREMRANGEBYSCORE z 2 2|\
ZREMRANGEBYLEX z [c [c|ZREMRANGEBYRANK z 9 9|ZREMRANGEBYRANK z 0 9|ZRANGE none 0 1|ZSCORE none a|ZRANK none a|ZCARD none|\
ZCOUNT none 0 1|ZUNION 1 none|ZSCAN none 0|ZRANDMEMBER none|GEOADD g 1 1 a 2 2 b|GEOADD g 1 1 a|GEOSEARCH none FROMLONLAT 1 1 BYRADIUS 9 km|\
GEOSEARCHSTORE g2 g FROMLONLAT 1 1 BYRADIUS 9 km|GEOSEARCHSTORE g2 g FROMLONLAT 50 50 BYRADIUS 9 km|\
GEORADIUS g 1 1 9 km STORE g2|GEORADIUS g 1 1 9 km STOREDIST g2|GEODIST none a b|GEOPOS none a|XADD x 1-1 a b|\
XADD x MAXLEN 1 2-1 a b|XADD x NOMKSTREAM MAXLEN = 5 3-1 a b|XADD none NOMKSTREAM 1-1 a b|XTRIM x MAXLEN 9|XTRIM x MAXLEN 1|\
XDEL x 9-9|XGROUP CREATE x g 0|XGROUP CREATE x g 0|XGROUP CREATE x2 g 0 MKSTREAM|XGROUP CREATECONSUMER x g c|\
XGROUP CREATECONSUMER x g c|XREADGROUP GROUP g c STREAMS x >|XREADGROUP GROUP g d STREAMS x >|XADD x 4-1 a b|\
XREADGROUP GROUP g e COUNT 1 STREAMS x >|XREADGROUP GROUP g e NOACK STREAMS x >|XACK x g 4-1|XACK x g 4-1|\
XCLAIM x g f 0 3-1|XCLAIM x g f2 0 9-9|XAUTOCLAIM x g h 0 0|XPENDING x g|XGROUP SETID x g 1|XGROUP DELCONSUMER x g c|\
XGROUP DELCONSUMER x g none|XGROUP DESTROY x g|XGROUP DESTROY x g|XSETID x 9-9|XDEL x 3-1 4-1|XLEN none|XRANGE none - +|\
XREAD STREAMS none 0|XINFO STREAM x|XREAD STREAMS x $|PFADD p a b|PFADD p a b|PFADD p|PFADD p9|PFMERGE p2 p|PFMERGE p2 p|PFCOUNT none|\
PFCOUNT p none|SORT q STORE sorted|SORT none STORE sorted|SORT none STORE sorted|SORT s STORE sorted ALPHA|\
RESTORE r 0 X|RESTORE r 0 X|RESTORE r 0 X REPLACE|RESTORE r 1000 X REPLACE|RESTORE r 1 X REPLACE ABSTTL|\
DEBUG POPULATE 2 pop 1|SET pop:0 x|MULTI|SET k v|DEL k|GET k|EXEC|SELECT 3|SET k v|SELECT 0|FLUSHALL|GET k|DBSIZE";

#[test]
fn a_story_of_all_commands_brings_the_events_of_redis() {
    for encoding in ["128", "0"] {
        let args = [
            "--enable-debug-command",
            "yes",
            "--hash-max-listpack-entries",
            encoding,
            "--zset-max-listpack-entries",
            encoding,
            "--set-max-listpack-entries",
            encoding,
        ];
        same_story(&args, |server| {
            let (mut client, mut events) = (server.client(), Events::of(server));
            client.text("SET dumped x");
            let Value::Bulk(payload) = client.value("DUMP dumped") else {
                panic!("no payload");
            };
            events.take();
            let mut told = Vec::new();
            for line in STORY.split('|') {
                let words = redoxide::base::quote::split_args(line.as_bytes()).unwrap();
                let words: Vec<Vec<u8>> = words
                    .into_iter()
                    .map(|word| if word == b"X" { payload.clone() } else { word })
                    .collect();
                client.call(&words);
                told.push(format!("{line}: {}", events.take().join(", ")));
            }
            told
        });
    }
}

/// Which of these classes an event is of: it comes with that one and no other.
#[test]
fn classes_are_those_of_redis() {
    same_story(&[], |server| {
        let (mut client, mut listener) = (server.client(), server.client());
        listener.text("PSUBSCRIBE __key*__:*");
        listener.text("SUBSCRIBE mark");
        let mut told = Vec::new();
        for classes in [
            "K",
            "E",
            "KE",
            "A",
            "KA",
            "EA",
            "Kg",
            "K$",
            "Kl",
            "Ks",
            "Kh",
            "Kz",
            "Kx",
            "Ke",
            "Kt",
            "Km",
            "Kd",
            "Kn",
            "KEgx",
            "Em",
            "",
            "KEA",
            "AKEmn",
            "g$lshzxetdKEmn",
        ] {
            assert_eq!(
                client.call(&["CONFIG", "SET", "notify-keyspace-events", classes]),
                Value::Simple("OK".to_owned())
            );
            told.push(client.text("CONFIG GET notify-keyspace-events"));
            for line in [
                "SET k v EX 100",
                "GET none",
                "RPUSH l a",
                "SADD s a",
                "HSET h a 1",
                "ZADD z 1 a",
                "XADD x 1-1 a b",
                "PFADD p a",
                "GEOADD g 1 1 a",
                "EXPIRE k 10",
            ] {
                client.text(line);
            }
            for (ends, key) in [("PEXPIRE k 1", "k"), ("HPEXPIRE h 1 FIELDS 1 a", "h")] {
                client.text(ends);
                wait_until("it has ended", || {
                    client.text(&format!("EXISTS {key}")) == "0"
                });
            }
            client.text("DEL l s z x p g");
            client.text("PUBLISH mark x");
            loop {
                let message = listener.read().to_string();
                if message == "[message, mark, x]" {
                    break;
                }
                // The loop above misses as well.
                if !message.contains("keymiss") || message.contains("none") {
                    told.push(message);
                }
            }
        }
        told
    });
}

/// Keys and fields that end by themselves, and that are found ended.
#[test]
fn ends_are_reported_as_by_redis() {
    same_story(&["--enable-debug-command", "yes"], |server| {
        let (mut client, mut events) = (server.client(), Events::of(server));
        let mut told = Vec::new();
        for active in ["1", "0"] {
            client.text(&format!("DEBUG SET-ACTIVE-EXPIRE {active}"));
            for lines in [
                "SET k v PX 20|GET k|TTL k",
                "SET k v PX 20|SET k w",
                "SET k v PX 20|SETNX k w",
                "SET k v PX 20|DEL k",
                "SET k v PX 20|INCR k",
                "SET k v PX 20|APPEND k x",
                "SET k v PX 20|RENAME k l",
                "SET k v PX 20|COPY k l",
                "SET k v PX 20|EXISTS k k",
                "HSETEX h PX 20 FIELDS 1 a 1|HGET h a",
                "HSETEX h PX 20 FIELDS 2 a 1 b 2|HGET h a|HGET h b",
                "HSETEX h PX 20 FIELDS 1 a 1|HSET h b 2|HGET h a|HGETALL h",
                "HSETEX h PX 20 FIELDS 2 a 1 b 2|HSETEX h FNX FIELDS 2 a 1 b 2|HGETALL h",
                "HSETEX h PX 20 FIELDS 2 a 1 b 2|HSETEX h FNX PXAT 1 FIELDS 2 a 1 b 2",
                "HSETEX h PX 20 FIELDS 1 a 1|HSETEX h FXX FIELDS 1 a 1|HSET h a 1",
                "HSETEX h PX 20 FIELDS 1 a 1|HSETNX h a 1",
                "HSETEX h PX 20 FIELDS 1 a 1|HINCRBY h a 1",
                "HSETEX h PX 20 FIELDS 2 a 1 b 2|HGETDEL h FIELDS 2 a b",
                "HSETEX h PX 20 FIELDS 1 a 1|HGETEX h EX 10 FIELDS 1 a",
            ] {
                let mut lines = lines.split('|');
                client.text("FLUSHALL");
                client.text(lines.next().unwrap());
                let mut all = events.take();
                if active == "1" {
                    // Redis finds them by and by.
                    wait_until("they have ended", || {
                        all.extend(events.take());
                        all.iter().any(|event| event.contains("expired"))
                    });
                    told.push(all.join(", "));
                    continue;
                }
                told.push(all.join(", "));
                std::thread::sleep(Duration::from_millis(40));
                for line in lines {
                    client.text(line);
                    let mut all = events.take();
                    // A hash all of whose fields are due is missed here, as README says.
                    let missed = ["__keyspace@0__:h keymiss", "__keyevent@0__:keymiss h"];
                    all.retain(|event| !missed.contains(&event.as_str()));
                    told.push(format!("{line}: {}", all.join(", ")));
                }
            }
        }
        told
    });
}

/// Who waits is served after the event of what he waited for, and before those of what comes next.
#[test]
fn events_of_clients_that_waited_come_in_the_order_of_redis() {
    same_story(&[], |server| {
        let (mut client, mut events) = (server.client(), Events::of(server));
        let mut told = Vec::new();
        for (waits, serves) in [
            (vec!["BLPOP q 0"], "RPUSH q a"),
            (vec!["BLPOP q 0", "BRPOP q 0"], "RPUSH q a b c"),
            (vec!["BLMOVE q r LEFT RIGHT 0", "BLPOP r 0"], "RPUSH q a"),
            (vec!["BLMPOP 0 1 q LEFT COUNT 2"], "RPUSH q a b c"),
            (vec!["BZPOPMIN z 0"], "ZADD z 1 a"),
            (vec!["BZMPOP 0 1 z MAX"], "ZADD z 1 a 2 b"),
            (vec!["XREAD BLOCK 0 STREAMS x $"], "XADD x 1-1 a b"),
            (vec!["BLPOP q 0"], "MULTI|RPUSH q a|SET k v|EXEC"),
            (vec!["BLPOP q 0"], "RPUSH l a|RENAME l q"),
            (vec!["BRPOPLPUSH q q 0"], "RPUSH q a"),
        ] {
            client.text("FLUSHALL");
            let mut waiting: Vec<Client> = Vec::new();
            for (index, line) in waits.iter().enumerate() {
                let mut one = server.client();
                one.send(format!("{line}\r\n").as_bytes());
                wait_until("it waits", || {
                    client.info("clients", "blocked_clients") == (index + 1).to_string()
                });
                waiting.push(one);
            }
            events.take();
            for line in serves.split('|') {
                client.text(line);
                told.push(format!("{line}: {}", events.take().join(", ")));
            }
            for one in &mut waiting {
                told.push(one.read().to_string());
            }
        }
        told
    });
}

/// A consumer group's readers too.
#[test]
fn events_of_a_group_s_readers_that_waited_are_those_of_redis() {
    same_story(&[], |server| {
        let (mut client, mut events) = (server.client(), Events::of(server));
        client.text("XGROUP CREATE x g $ MKSTREAM");
        let mut waiting = server.client();
        waiting.send(b"XREADGROUP GROUP g c BLOCK 0 STREAMS x >\r\n");
        wait_until("it waits", || {
            client.info("clients", "blocked_clients") == "1"
        });
        let mut told = events.take();
        client.text("XADD x 1-1 a b");
        told.extend(events.take());
        told.push(waiting.read().to_string());
        told
    });
}

/// What the primary's stream does to a replica's keys is told there too, but not that a key is due: the primary says DEL.
#[test]
fn a_replica_tells_what_its_primary_does() {
    let replicate = |primary: &Server, replica: &Server| -> Vec<String> {
        let (mut client, mut reader) = (primary.client(), replica.client());
        client.text("SET before x");
        reader.text(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        wait_until("the sync", || {
            reader.info("replication", "master_link_status") == "up"
        });
        client.text("CONFIG SET notify-keyspace-events \"\"");
        let mut events = Events::of(replica);
        let mut told = Vec::new();
        for line in [
            "SET k v EX 100",
            "GET k",
            "SET k v PX 1",
            "RPUSH l a b",
            "LPOP l 2",
            "HSETEX h EX 100 FIELDS 1 a 1",
            "INCRBYFLOAT f 1.5",
            "SADD s a",
            "SPOP s",
            "SELECT 1",
            "SET k v",
            "SELECT 0",
            "MSET a 1 b 2",
            "DEL a b",
        ] {
            client.text(line);
            if line.contains("PX 1") {
                std::thread::sleep(Duration::from_millis(20));
                client.text("GET k");
            }
            client.text("WAIT 1 5000");
            told.push(format!("{line}: {}", events.take().join(", ")));
        }
        reader.text("GET none");
        told.extend(events.take());
        told
    };
    let Some(theirs) = Peer::Redis8.start(&["--repl-diskless-sync-delay", "0"]) else {
        return;
    };
    let ours = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let (Some(their_replica), our_replica) = (Peer::Redis8.start(&[]), Server::start(&[])) else {
        return;
    };
    assert_eq!(
        replicate(&ours, &our_replica),
        replicate(&theirs, &their_replica)
    );
}

/// Without a subscriber nothing is published, and without a class nothing is asked.
#[test]
fn events_nobody_hears_cost_nothing_that_is_seen() {
    let server = Server::start(&["--notify-keyspace-events", "KEA"]);
    let mut client = server.client();
    assert_eq!(
        client.text("CONFIG GET notify-keyspace-events"),
        "[notify-keyspace-events, AKE]"
    );
    for number in 0..1000 {
        client.text(&format!("SET key:{number} v"));
    }
    let mut listener = server.client();
    listener.text("SUBSCRIBE __keyspace@0__:key:1 __keyevent@0__:del");
    client.text("DEL key:1 key:2");
    listener.read();
    assert_eq!(
        listener.read().to_string(),
        "[message, __keyspace@0__:key:1, del]"
    );
    for key in ["key:1", "key:2"] {
        let message = format!("[message, __keyevent@0__:del, {key}]");
        assert_eq!(listener.read().to_string(), message);
    }
}

/// One who hears of his own commands gets the events behind their replies.
#[test]
fn own_events_follow_the_reply() {
    same_story(&["--notify-keyspace-events", "KEA"], |server| {
        let mut client = server.client();
        client.text("HELLO 3");
        let mut told = vec![client.text("PSUBSCRIBE __key*__:*")];
        let mut say = |client: &mut Client, line: &str, replies: usize| {
            client.send(format!("{line}\r\n").as_bytes());
            (0..replies).for_each(|_| told.push(client.read().to_string()));
        };
        say(&mut client, "SET k v EX 100", 5);
        say(&mut client, "MULTI", 1);
        say(&mut client, "SET k v", 1);
        say(&mut client, "DEL k", 1);
        say(&mut client, "EXEC", 5);
        say(&mut client, "CLIENT REPLY OFF", 0);
        say(&mut client, "SET k v", 2);
        say(&mut client, "CLIENT REPLY ON", 1);
        let mut waiting = server.client();
        waiting.send(b"BLPOP q 0\r\n");
        let mut other = server.client();
        wait_until("it waits", || {
            other.info("clients", "blocked_clients") == "1"
        });
        say(&mut client, "RPUSH q a", 7);
        told
    });
}
