//! Commands and options of Redis after 8.0: DIGEST, DELEX, SET IFDEQ and IFDNE, MSETEX, INCREX; LMOVEM and BLMOVEM;
//! SUNIONCARD and SDIFFCARD; AGGREGATE COUNT.

use redoxide::base::prng::Prng;

use crate::harness::{Client, Peer, Server, Value, wait_until};
use crate::pair::{Pair, pick, some};

fn check(server: &Server, dialogue: &[(&str, &str)]) {
    let mut client = server.client();
    for (line, reply) in dialogue {
        assert_eq!(client.text(line), *reply, "{line}");
    }
}

#[test]
fn digests() {
    let server = Server::start(&[]);
    check(
        &server,
        &[
            ("DIGEST k", "(nil)"),
            ("SET k 'Hello world'", "OK"),
            // The example of Redis's documentation.
            ("DIGEST k", "b6acb9d84a38ff74"),
            ("SET k new IFDEQ 0000000000000000", "(nil)"),
            ("SET k new IFDEQ B6ACB9D84A38FF74", "OK"),
            ("SET k newer IFDNE b6acb9d84a38ff74 GET", "new"),
            ("GET k", "newer"),
            ("SET none v IFDEQ b6acb9d84a38ff74", "(nil)"),
            ("SET none v IFDNE b6acb9d84a38ff74", "OK"),
            ("SET none v IFDNE 1 IFEQ 2", "(error) ERR syntax error"),
        ],
    );
}

#[test]
fn delex() {
    let server = Server::start(&[]);
    check(
        &server,
        &[
            ("DELEX k IFEQ", "0"),
            ("SET k 12", "OK"),
            (
                "DELEX k IFEQ",
                "(error) ERR wrong number of arguments for 'delex' command",
            ),
            (
                "DELEX k NX 1",
                "(error) ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
            ),
            ("DELEX k IFEQ 13", "0"),
            ("DELEX k IFNE 12", "0"),
            ("DELEX k IFDEQ 0", "0"),
            ("DELEX k IFEQ 12", "1"),
            ("EXISTS k", "0"),
            ("SET k 12", "OK"),
            ("DELEX k", "1"),
            ("HSET h f v", "1"),
            (
                "DELEX h IFEQ v",
                "(error) ERR Key should be of string type if conditions are specified",
            ),
        ],
    );
}

#[test]
fn increx() {
    let server = Server::start(&[]);
    check(
        &server,
        &[
            ("INCREX k", "[1, 1]"),
            ("INCREX k BYINT -10", "[-9, -10]"),
            ("SET k 99", "OK"),
            ("INCREX k BYINT 5 UBOUND 100 EX 100", "[99, 0]"),
            ("TTL k", "-1"),
            (
                "INCREX k BYINT 5 UBOUND 100 SATURATE EXAT 5000000000",
                "[100, 1]",
            ),
            ("EXPIRETIME k", "5000000000"),
            ("INCREX k EX 1000 ENX", "[101, 1]"),
            ("EXPIRETIME k", "5000000000"),
            ("INCREX k LBOUND 0", "[102, 1]"),
            ("EXPIRETIME k", "5000000000"),
            ("INCREX k PERSIST", "[103, 1]"),
            ("TTL k", "-1"),
            ("SET k 9223372036854775807", "OK"),
            ("INCREX k", "[9223372036854775807, 0]"),
            ("INCREX k SATURATE", "[9223372036854775807, 0]"),
            (
                "INCREX k UBOUND -9223372036854775808 SATURATE",
                "(error) ERR increment or decrement would overflow",
            ),
            (
                "INCREX k LBOUND 2 UBOUND 1",
                "(error) ERR LBOUND can't be greater than UBOUND",
            ),
            ("INCREX none UBOUND 0", "[0, 0]"),
            ("EXISTS none", "0"),
            ("SET f 1.5", "OK"),
            (
                "INCREX f",
                "(error) ERR value is not an integer or out of range",
            ),
            ("INCREX f BYFLOAT 0.25", "[1.75, 0.25]"),
            ("INCREX f BYFLOAT 10 UBOUND 2.5", "[1.75, 0]"),
            ("INCREX f BYFLOAT 10 UBOUND 2.5 SATURATE", "[2.5, 0.75]"),
            (
                "INCREX f BYFLOAT inf",
                "(error) ERR increment would produce NaN or Infinity",
            ),
            ("INCREX f BYFLOAT 1 BYINT 1", "(error) ERR syntax error"),
            (
                "INCREX f ENX",
                "(error) ERR ENX flag requires an expiration",
            ),
            ("INCREX f ENX PERSIST", "(error) ERR syntax error"),
            ("INCREX f ENX ENX EX 1", "(error) ERR syntax error"),
            (
                "INCREX f BYINT 1.5",
                "(error) ERR Increment is not an integer or out of range",
            ),
            (
                "INCREX f BYFLOAT abc",
                "(error) ERR Increment is not a valid float",
            ),
            (
                "INCREX k LBOUND 1.5",
                "(error) ERR LBOUND is not an integer or out of range",
            ),
            (
                "INCREX f BYFLOAT 1 UBOUND abc",
                "(error) ERR UBOUND is not a valid float",
            ),
            ("INCREX f BYFLOAT 1 EXAT 1", "[3.5, 1]"),
            ("EXISTS f", "0"),
            ("INCREX gone EXAT 1", "[1, 1]"),
            ("EXISTS gone", "0"),
        ],
    );
    let mut client = server.client();
    client.text("HELLO 3");
    assert_eq!(client.text("INCREX d BYFLOAT 1.5"), "[1.5, 1.5]");
    client.text("INCREX e EX 100");
    let left: i64 = client.text("PTTL e").parse().unwrap();
    assert!((1..=100_000).contains(&left), "{left}");
}

#[test]
fn moves_of_several_elements() {
    let server = Server::start(&[]);
    let nothing = "(nil)";
    check(
        &server,
        &[
            ("LMOVEM l m LEFT RIGHT", nothing),
            ("LMOVEM l m LEFT RIGHT EXACTLY 1 OBO", nothing),
            ("RPUSH l 1 2 3 4 5 6 7 8 9", "9"),
            ("LMOVEM l m LEFT RIGHT", "[1]"),
            ("LMOVEM l m LEFT LEFT COUNT 2 OBO", "[3, 2]"),
            ("LRANGE m 0 -1", "[3, 2, 1]"),
            ("LMOVEM l m LEFT LEFT COUNT 2 BULK", "[4, 5]"),
            ("LRANGE m 0 -1", "[4, 5, 3, 2, 1]"),
            ("LMOVEM l m RIGHT RIGHT EXACTLY 2 OBO", "[9, 8]"),
            ("LMOVEM l m RIGHT RIGHT EXACTLY 3 BULK", nothing),
            ("LMOVEM l m RIGHT LEFT COUNT 3 BULK", "[6, 7]"),
            ("EXISTS l", "0"),
            ("LRANGE m 0 -1", "[6, 7, 4, 5, 3, 2, 1, 9, 8]"),
            ("DEL m", "1"),
            ("RPUSH k a b c", "3"),
            ("LMOVEM k k LEFT LEFT EXACTLY 2 OBO", "[b, a]"),
            ("LRANGE k 0 -1", "[b, a, c]"),
            ("LMOVEM k k LEFT LEFT EXACTLY 3 BULK", "[b, a, c]"),
            ("LMOVEM k k LEFT RIGHT COUNT 2 BULK", "[b, a]"),
            ("LRANGE k 0 -1", "[c, b, a]"),
            ("LMOVEM k k LEFT LEFT COUNT 9 OBO", "[a, b, c]"),
            ("LRANGE k 0 -1", "[a, b, c]"),
            ("LMOVEM k k LEFT RIGHT COUNT 2", "(error) ERR syntax error"),
            (
                "LMOVEM k k LEFT RIGHT COUNT 2 OBO x",
                "(error) ERR syntax error",
            ),
            ("LMOVEM k k LEFT RIGHT x 2 OBO", "(error) ERR syntax error"),
            (
                "LMOVEM k k LEFT RIGHT COUNT 2 x",
                "(error) ERR syntax error",
            ),
            ("LMOVEM k k LEFT x COUNT 2 OBO", "(error) ERR syntax error"),
            (
                "LMOVEM k k LEFT RIGHT EXACTLY 0 OBO",
                "(error) ERR count should be greater than 0",
            ),
            (
                "LMOVEM k k LEFT RIGHT COUNT x BULK",
                "(error) ERR count should be greater than 0",
            ),
            ("SET s x", "OK"),
            (
                "LMOVEM k s LEFT RIGHT COUNT 2 BULK",
                "(error) WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("LLEN k", "3"),
            ("BLMOVEM k t LEFT RIGHT 0 COUNT 2 BULK", "[a, b]"),
            ("BLMOVEM k t LEFT RIGHT 0.01 EXACTLY 2 BULK", nothing),
            ("MULTI", "OK"),
            ("BLMOVEM k t LEFT RIGHT 0 EXACTLY 2 BULK", "QUEUED"),
            ("EXEC", "[(nil)]"),
        ],
    );
}

#[test]
fn a_move_waits_for_enough_elements() {
    let server = Server::start(&[]);
    let (mut waiting, mut client) = (server.client(), server.client());
    waiting.send(b"BLMOVEM l m LEFT RIGHT 0 EXACTLY 3 BULK\r\n");
    wait_until("it waits", || {
        client.info("clients", "blocked_clients") == "1"
    });
    for (line, reply) in [
        ("RPUSH l 1", "1"),
        ("LINSERT l BEFORE 1 0", "2"),
        ("EXISTS m", "0"),
        ("RPUSH x 5", "1"),
        ("LMOVE x l LEFT LEFT", "5"),
    ] {
        assert_eq!(client.text(line), reply, "{line}");
    }
    assert_eq!(waiting.read().to_string(), "[5, 0, 1]");
    assert_eq!(client.text("LRANGE m 0 -1"), "[5, 0, 1]");
    assert_eq!(client.text("EXISTS l"), "0");
}

#[test]
fn cardinalities_of_sets() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for key in ["a", "b"] {
        let from = if key == "a" { 0 } else { 3000 };
        let members: Vec<String> = (from..from + 5000).map(|n| n.to_string()).collect();
        client.text(&format!("SADD {key} {}", members.join(" ")));
    }
    check(
        &server,
        &[
            ("SUNIONCARD 1 none", "0"),
            ("SUNIONCARD 3 a none b", "8000"),
            ("SUNIONCARD 2 a b LIMIT 6000", "6000"),
            ("SUNIONCARD 2 a b LIMIT 0", "8000"),
            ("SUNIONCARD 1 a LIMIT 10", "10"),
            ("SUNIONCARD 2 a b APPROX LIMIT 7", "7"),
            ("SDIFFCARD 2 a b", "3000"),
            ("SDIFFCARD 2 a b LIMIT 5", "5"),
            ("SDIFFCARD 2 none a", "0"),
            ("SDIFFCARD 1 a", "5000"),
            ("SDIFFCARD 2 a b APPROX", "(error) ERR syntax error"),
            (
                "SUNIONCARD 0 a",
                "(error) ERR numkeys should be greater than 0",
            ),
            (
                "SUNIONCARD 2 a",
                "(error) ERR Number of keys can't be greater than number of args",
            ),
            (
                "SUNIONCARD 1 a LIMIT -1",
                "(error) ERR LIMIT can't be negative",
            ),
        ],
    );
    let about: i64 = client.text("SUNIONCARD 2 a b APPROX").parse().unwrap();
    assert!((7700..8300).contains(&about), "{about}");
}

#[test]
fn scores_that_count() {
    let server = Server::start(&[]);
    check(
        &server,
        &[
            ("ZADD z 10 a 20 b", "2"),
            ("SADD s b c", "2"),
            (
                "ZUNION 2 z s AGGREGATE COUNT WITHSCORES",
                "[a, 1, c, 1, b, 2]",
            ),
            (
                "ZUNION 3 z s z WEIGHTS 1 5 0.5 AGGREGATE COUNT WITHSCORES",
                "[a, 1.5, c, 5, b, 6.5]",
            ),
            ("ZINTER 2 z s AGGREGATE count WITHSCORES", "[b, 2]"),
            ("ZUNIONSTORE d 2 z s AGGREGATE COUNT", "3"),
            ("ZSCORE d b", "2"),
        ],
    );
}

#[test]
fn a_replica_follows() {
    let server = Server::start(&[]);
    let Some(replica) = Peer::Redis8.start(&["--repl-diskless-sync-delay", "0"]) else {
        return;
    };
    let (mut ours, mut theirs) = (server.client(), replica.client());
    ours.text("CONFIG SET repl-diskless-sync-delay 0");
    theirs.text(&format!("REPLICAOF 127.0.0.1 {}", server.port()));
    for line in [
        "MSETEX 2 a 1 b 2",
        "MSETEX 2 b 3 c 4 EX 1000",
        "MSETEX 1 c 5 KEEPTTL",
        "INCREX c BYINT 2",
        "INCREX d BYFLOAT 0.5 PX 1000000",
        "SET x 1",
        "DELEX x IFEQ 1",
        "SET y 1",
        "SET y 2 IFDNE 0",
        "SETBIT bits 70 1",
        "PFADD hll a b c",
        "PFCOUNT hll",
        "BITOP DIFF diff bits hll",
        "BITOP ANDOR andor bits hll a",
        "BITOP ONE one bits hll",
        "BITOP DIFF1 none none none2",
        "SET none 1",
        "BITOP DIFF none none2 none3",
        "ZADD z 1 a 2 b",
        "ZUNIONSTORE zu 2 z z AGGREGATE COUNT",
        "RPUSH l 1 2 3",
        "LMOVEM l l2 LEFT RIGHT COUNT 2 OBO",
        "XADD s 1-0 f v",
        "XADD s 2-0 f v",
        "XADD s 3-0 f v",
        "XADD s 4-0 f v",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s other 0",
        "XREADGROUP GROUP g c COUNT 3 STREAMS s >",
        "XREADGROUP GROUP other c COUNT 2 STREAMS s >",
        "XACK s other 2-0",
        "XDELEX s DELREF IDS 1 1-0",
        "XDELEX s ACKED IDS 1 2-0",
        "XACKDEL s g ACKED IDS 1 2-0",
        "XADD s KEEPREF MAXLEN 5 5-0 f v",
        "XADD s KEEPREF 6-0 f v",
        "XADD s DELREF MAXLEN 2 7-0 f v",
        "XADD t 1-0 f v",
        "XADD t 2-0 f v",
        "XGROUP CREATE t g 0",
        "XREADGROUP GROUP g c STREAMS t >",
        "XACK t g 2-0",
        "XADD t ACKED MAXLEN 1 3-0 f v",
        "XTRIM t MAXLEN 1 ACKED",
        "XADD u 1-0 f v",
        "XADD u 2-0 f v",
        "XTRIM u MAXLEN 1 KEEPREF",
        "SET last 1",
    ] {
        let reply = ours.text(line);
        assert!(!reply.starts_with("(error)"), "{line}: {reply}");
    }
    wait_until("the last command", || theirs.text("EXISTS last") == "1");
    for line in [
        "MGET a b c d x y bits hll diff andor one none",
        "ZRANGE zu 0 -1 WITHSCORES",
        "LRANGE l 0 -1",
        "LRANGE l2 0 -1",
        "XRANGE s - +",
        "XRANGE t - +",
        "XRANGE u - +",
        "XINFO GROUPS s",
        "XINFO GROUPS t",
        "DBSIZE",
        "PEXPIRETIME c",
        "PEXPIRETIME d",
    ] {
        assert_eq!(ours.text(line), theirs.text(line), "{line}");
    }
    for line in [
        "XPENDING s g - + 10",
        "XPENDING s other - + 10",
        "XPENDING t g - + 10",
    ] {
        // All but the time that the entry has been idle, which goes on between the two questions.
        let pending = |client: &mut Client| -> Vec<Value> {
            let Value::Array(entries) = client.value(line) else {
                panic!("{line} gave no array")
            };
            let facts = entries.into_iter().map(|entry| match entry {
                Value::Array(mut facts) => {
                    facts.remove(2);
                    Value::Array(facts)
                }
                other => other,
            });
            facts.collect()
        };
        assert_eq!(pending(&mut ours), pending(&mut theirs), "{line}");
    }
}

/// Valkey 9.1 has MSETEX.
#[test]
fn msetex_answers_as_valkey() {
    let Some(mut pair) = Pair::start_with(Peer::Valkey, &[]) else {
        return;
    };
    let key = |prng: &mut Prng| pick(prng, &["a", "b", "c", "d"]);
    let option = |prng: &mut Prng| {
        let mut option = vec![pick(
            prng,
            &["NX", "XX", "KEEPTTL", "EX", "PX", "EXAT", "nx", "x"],
        )];
        if prng.below(3) > 0 && matches!(option[0].as_slice(), b"EX" | b"PX" | b"EXAT") {
            option.push(pick(
                prng,
                &["1000000", "1000000", "0", "-1", "x", "5000000000"],
            ));
        }
        option
    };
    let command = |prng: &mut Prng| match prng.below(8) {
        0 => vec![b"GET".to_vec(), key(prng)],
        1 => vec![b"PERSIST".to_vec(), key(prng)],
        2 => vec![b"DEL".to_vec(), key(prng)],
        3 => vec![b"EXISTS".to_vec(), key(prng)],
        _ => {
            let count = pick(prng, &["1", "2", "2", "3", "0", "-1", "x", "4294967296"]);
            let pairs = match count.as_slice() {
                b"1" | b"2" | b"3" => u64::from(count[0] - b'0') + prng.below(30) / 29,
                _ => 1,
            };
            let pairs = (0..pairs).flat_map(|_| [key(prng), pick(prng, &["1", "text", ""])]);
            let pairs: Vec<Vec<u8>> = pairs.collect();
            [
                vec![b"MSETEX".to_vec(), count],
                pairs,
                some(prng, 2, option),
            ]
            .concat()
        }
    };
    pair.random(3000, command, |_, _, _| true);
}
