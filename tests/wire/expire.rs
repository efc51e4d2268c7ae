//! Deadlines: exact to the millisecond, conditions, what past ones do.

use std::time::Duration;

use crate::harness::Server;
use crate::pair::Pair;

#[test]
fn conditions_of_expire() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for command in ["EXPIRE", "PEXPIRE"] {
        let (low, high) = match command {
            "EXPIRE" => ("1000", "2000"),
            _ => ("1000000", "2000000"),
        };
        for first in ["", "1000"] {
            for condition in [
                "", "NX", "XX", "GT", "LT", "XX GT", "XX LT", "GT XX", "nx", "NX XX", "NX GT",
                "GT LT", "BAD", "GT BAD",
            ] {
                for value in [low, high, "0", "-1"] {
                    pair.same("SET k v");
                    if !first.is_empty() {
                        pair.same(&format!("PEXPIREAT k {}", 9_999_999_999_000_i64));
                    }
                    pair.same(&format!("{command} k {value} {condition}"));
                    pair.same("EXISTS k");
                    pair.same(&format!("{command} none {value} {condition}"));
                }
            }
        }
    }
}

#[test]
fn ranges_of_expire() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    let times = [
        "0",
        "-1",
        "9999",
        "9223372036854775807",
        "9223372036854775",
        "9223372036854774",
        "9223370000000000",
        "-9223372036854775808",
        "-9223372036854775",
        "-9223372036854776",
        "9223372036854775808",
        "1.5",
        "",
        "x",
    ];
    for time in times {
        for command in [
            "EXPIRE k {}",
            "PEXPIRE k {}",
            "EXPIREAT k {}",
            "PEXPIREAT k {}",
            "EXPIRE none {}",
            "SET k v EX {}",
            "SET k v PX {}",
            "SET k v EXAT {}",
            "SET k v PXAT {}",
            "SETEX k {} v",
            "PSETEX k {} v",
            "GETEX k EX {}",
            "GETEX k PX {}",
            "GETEX k EXAT {}",
            "GETEX k PXAT {}",
            "GETEX none EX {}",
        ] {
            pair.same("SET k v");
            pair.same(&command.replace("{}", &format!("\"{time}\"")));
            pair.same("GET k");
        }
    }
}

#[test]
fn no_content_past_its_millisecond() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    for active in ["0", "1"] {
        client.text(&format!("DEBUG SET-ACTIVE-EXPIRE {active}"));
        for (set, look, gone) in [
            ("SET k v PX 20", "GET k", "(nil)"),
            ("SET k v PX 20", "EXISTS k", "0"),
            ("SET k v PX 20", "TTL k", "-2"),
            ("SET k v PX 20", "TYPE k", "none"),
            ("SET k v PX 20", "STRLEN k", "0"),
            ("SET k v PX 20", "KEYS *", "[]"),
            ("SET k v PX 20", "MGET k k", "[(nil), (nil)]"),
            ("SET k v PX 20", "GETRANGE k 0 -1", ""),
            ("SET k v PX 20", "DEL k", "0"),
            ("SET k v PX 20", "PERSIST k", "0"),
            ("SET k v PX 20", "EXPIRE k 10", "0"),
            ("SET k v PX 20", "RENAME k l", "(error) ERR no such key"),
            ("SET k v PX 20", "COPY k l", "0"),
            ("SET k v PX 20", "MOVE k 1", "0"),
            ("SET k v PX 20", "OBJECT ENCODING k", "(nil)"),
            ("SET k v PX 20", "DUMP k", "(nil)"),
            ("SET k v PX 20", "SETNX k w", "1"),
            ("SET k v PX 20", "SET k w XX", "(nil)"),
            ("SET k v PX 20", "SET k w NX", "OK"),
            ("SET k v PX 20", "SET k w GET", "(nil)"),
            ("SET k v PX 20", "GETSET k w", "(nil)"),
            ("SET k v PX 20", "GETEX k PERSIST", "(nil)"),
            ("SET k v PX 20", "GETDEL k", "(nil)"),
            ("SET k v PX 20", "MSETNX k w", "1"),
            ("SET k 5 PX 20", "INCR k", "1"),
            ("SET k 5 PX 20", "INCRBYFLOAT k 1.5", "1.5"),
            ("SET k v PX 20", "APPEND k w", "1"),
            ("SET k v PX 20", "SETRANGE k 1 w", "2"),
            ("SET k v PX 20", "TOUCH k", "0"),
        ] {
            client.text("FLUSHALL");
            client.text(set);
            std::thread::sleep(Duration::from_millis(22));
            assert_eq!(client.text(look), gone, "active {active}: {look}");
            let ttl = client.text("TTL k");
            assert!(
                ttl == "-1" || ttl == "-2",
                "active {active}: {look} left a deadline: {ttl}"
            );
        }
    }
}

#[test]
fn a_write_keeps_or_drops_the_deadline() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for write in [
        "SET k 2",
        "SET k 2 KEEPTTL",
        "SET k 2 XX GET",
        "GETSET k 2",
        "INCR k",
        "INCRBYFLOAT k 2",
        "APPEND k 2",
        "SETRANGE k 0 2",
        "SETRANGE k 60 2",
        "MSET k 2",
        "PERSIST k",
        "GETEX k",
        "GETEX k PERSIST",
        "GETEX k PXAT 9999999999999",
        "SETNX k 2",
        "SETEX k 500000 2",
        "EXPIREAT k 9999999999",
    ] {
        pair.same("SET k 1 PXAT 8888888888888");
        pair.same(write);
        let line = match write.starts_with("SETEX") {
            true => "GET k",
            false => "PEXPIRETIME k",
        };
        pair.same(line);
        pair.same("GET k");
    }
}

/// OBJECT IDLETIME starts anew with any use but a look at facts; CLIENT NO-TOUCH keeps it.
#[test]
fn idle_time_ends_with_a_use() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    pair.same("SET source v");
    let payload = pair.theirs_dump("source");
    for (use_, idle) in [
        ("GET k", false),
        ("SET k w", false),
        ("MSET k w", false),
        ("APPEND k w", false),
        ("EXPIRE k 100", false),
        ("TOUCH k", false),
        ("TTL k", true),
        ("TYPE k", true),
        ("EXISTS k", true),
        ("OBJECT ENCODING k", true),
        ("CLIENT NO-TOUCH ON", true),
        ("GET k", true),
        ("TOUCH k", false),
        ("CLIENT NO-TOUCH OFF", true),
    ] {
        let head = [&b"RESTORE"[..], b"k", b"0"].map(<[u8]>::to_vec);
        let tail = [&b"REPLACE"[..], b"IDLETIME", b"5000"].map(<[u8]>::to_vec);
        let (ours, theirs) =
            pair.call(&[&head[..], std::slice::from_ref(&payload), &tail].concat());
        assert_eq!(ours, theirs);
        pair.same(use_);
        let (ours, theirs) = pair.call(&[&b"OBJECT"[..], b"IDLETIME", b"k"].map(<[u8]>::to_vec));
        for reply in [ours, theirs] {
            let text = String::from_utf8_lossy(&reply).into_owned();
            let seconds = text.trim_start_matches(':').trim_end().parse::<i64>();
            assert_eq!(seconds.expect("a number") >= 5000, idle, "{use_}: {text}");
        }
    }
}

#[test]
fn expiretime_rounds_at_the_limit_too() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    pair.same("SET a x");
    for at in [
        "9223372036854775807",
        "9223372036854775500",
        "9223372036854775499",
        "1999999999500",
        "1999999999499",
    ] {
        pair.same(&format!("PEXPIREAT a {at}"));
        pair.same("EXPIRETIME a");
        pair.same("PEXPIRETIME a");
    }
}

/// A transaction that begins a pause goes on writing: what is due makes place for it.
#[test]
fn writes_behind_a_pause_of_their_own_transaction() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.text("DEBUG SET-ACTIVE-EXPIRE 0");
    for (maker, write, read, expected) in [
        ("SET k x", "HSET k f v", "HGETALL k", "[1, [f, v]]"),
        ("SET k x", "INCR k", "GET k", "[1, 1]"),
        ("RPUSH k a", "SETRANGE k 3 b", "STRLEN k", "[4, 4]"),
        ("SADD k 1", "SETBIT k 1 1", "STRLEN k", "[0, 1]"),
        (
            "HSET k f v",
            "BITFIELD k SET u8 0 1",
            "STRLEN k",
            "[[0], 1]",
        ),
        ("XADD k 1-0 f v", "APPEND k abc", "GET k", "[3, abc]"),
        (
            "HSETEX k PX 1 FIELDS 1 f v",
            "LPUSH k a",
            "LRANGE k 0 -1",
            "[1, [a]]",
        ),
    ] {
        client.text(maker);
        client.text("PEXPIRE k 1");
        std::thread::sleep(Duration::from_millis(5));
        client.text("MULTI");
        for line in ["CLIENT PAUSE 60000 WRITE", write, read] {
            assert_eq!(client.text(line), "QUEUED");
        }
        assert_eq!(
            client.text("EXEC"),
            expected.replacen('[', "[OK, ", 1),
            "{maker}, {write}"
        );
        client.text("CLIENT UNPAUSE");
        assert_eq!(client.text("TTL k"), "-1", "{maker}, {write}");
        client.text("DEL k");
    }
}
