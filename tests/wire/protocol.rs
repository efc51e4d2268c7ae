//! Pipelines that outrun their reader, and logging in.

use std::io::{Read, Write};

use crate::harness::{Peer, Server, Value, push_request};
use crate::pair::{Pair, same_story};

/// As in Redis, a client may send a whole pipeline before it reads: unsent output holds back no input.
#[test]
fn half_a_million_gets_sent_before_a_byte_is_read() {
    const COMMANDS: usize = 500_000;
    let server = Server::start(&[]);
    let mut client = server.client();
    let value = vec![b'v'; 1024];
    assert_eq!(
        client.call(&[b"SET".as_slice(), b"key", &value]),
        Value::Simple("OK".to_owned())
    );
    let mut request = Vec::new();
    push_request(&mut request, &["GET", "key"]);
    let pipeline = request.repeat(COMMANDS / 100);
    for _ in 0..100 {
        client
            .stream()
            .write_all(&pipeline)
            .expect("the server stopped reading");
    }
    let reply = [b"$1024\r\n".as_slice(), &value, b"\r\n"].concat();
    let mut bytes = vec![0; reply.len() * 1000];
    for _ in 0..COMMANDS / 1000 {
        client
            .stream()
            .read_exact(&mut bytes)
            .expect("replies are missing");
        assert!(bytes.chunks(reply.len()).all(|chunk| chunk == reply));
    }
    assert_eq!(client.text("PING"), "PONG");
}

/// Large arguments come in any pieces, with commands before and behind them.
/// As `printf 'PING\r\n' | nc -N` does: the end of what a client sends comes with it.
#[test]
fn a_client_that_ends_its_side_is_answered() {
    let server = Server::start(&[]);
    let value = "x".repeat(10_000);
    server.client().call(&["SET", "k", &value]);
    let big = format!("$10000\r\n{value}\r\n");
    for (request, reply) in [
        ("PING\r\n".to_owned(), "+PONG\r\n".to_owned()),
        ("PING\r\nQUIT\r\n".to_owned(), "+PONG\r\n+OK\r\n".to_owned()),
        ("PING\r\n".repeat(30_000), "+PONG\r\n".repeat(30_000)),
        ("GET k\r\n".repeat(20), big.repeat(20)),
    ] {
        for _ in 0..20 {
            let mut client = server.client();
            client.send(request.as_bytes());
            client.finish();
            let (bytes, ended) = client.read_to_end();
            assert_eq!((bytes.len(), ended), (reply.len(), true));
            assert_eq!(bytes, reply.as_bytes());
        }
    }
}

#[test]
fn large_arguments_in_pieces() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let value: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut request = Vec::new();
    push_request(&mut request, &["PING"]);
    push_request(&mut request, &[b"SET".as_slice(), b"key", &value]);
    push_request(
        &mut request,
        &[b"APPEND".as_slice(), b"key", &value[..100_000]],
    );
    push_request(&mut request, &["STRLEN", "key"]);
    for piece in [1, 40_000, 65_536, 700_001, request.len()] {
        for part in request.chunks(piece.max(4000)) {
            client.send(part);
            if piece < 100_000 {
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        }
        let replies: Vec<String> = (0..4).map(|_| client.read().to_string()).collect();
        assert_eq!(replies, ["PONG", "OK", "3100000", "3100000"], "{piece}");
        let Value::Bulk(stored) = client.value("GETRANGE key 0 2999999") else {
            panic!("no value")
        };
        assert!(stored == value, "pieces of {piece}");
    }
}

/// A stranger who never reads is closed, as in Redis 8; one who has logged in is not.
#[test]
fn unread_replies_are_bounded_before_authentication() {
    let mut servers = vec![("ours", Server::start(&["--requirepass", "secret"]))];
    servers.extend(
        Peer::Redis8
            .start(&["--requirepass", "secret"])
            .map(|server| ("theirs", server)),
    );
    for (name, server) in servers {
        let mut stranger = server.client();
        let pipeline = b"GET key\r\n".repeat(100_000);
        let mut sent = 0;
        while sent < 100 && stranger.try_send(&pipeline) {
            sent += 1;
        }
        assert!(sent < 100, "{name}: ten million refusals wait");
        let mut friend = server.client();
        assert_eq!(friend.text("AUTH secret"), "OK", "{name}");
        friend.send(&b"GET key\r\n".repeat(100_000));
        for _ in 0..100_000 {
            assert_eq!(friend.read(), Value::Null, "{name}");
        }
    }
}

/// A request of HTTP ends the connection before its body is taken for commands.
#[test]
fn http_is_not_served() {
    let (_, theirs) = Peer::redis(&[]);
    let ours = Server::start(&[]);
    for request in [
        "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\r\n",
        "hOst: x\r\nSET k v\r\n",
        "*1\r\n$5\r\nhost:\r\nSET k v\r\n",
        "MULTI\r\npost\r\nSET k v\r\nEXEC\r\n",
        "host x\r\nQUIT\r\n",
    ] {
        let answers = [&theirs, &ours].map(|server| {
            let mut client = server.client();
            client.send(request.as_bytes());
            let (answer, closed) = client.read_to_end();
            (String::from_utf8_lossy(&answer).into_owned(), closed)
        });
        assert_eq!(answers[0], answers[1], "{request:?}");
        assert!(answers[1].1, "{request:?} leaves the connection open");
        assert_eq!(ours.client().text("EXISTS k"), "0", "{request:?}");
    }
    assert_eq!(ours.log().matches("Possible SECURITY ATTACK").count(), 1);
}

/// The texts of AUTH and HELLO, each alone on its connection (with replies pending Redis swallows a refusal).
#[test]
fn logging_in() {
    let (_, theirs) = Peer::redis(&["--requirepass", "secret"]);
    let ours = Server::start(&["--requirepass", "secret"]);
    for line in [
        "AUTH wrong",
        "AUTH default wrong",
        "AUTH nobody secret",
        "AUTH a b c",
        "AUTH",
        "AUTH secret",
        "AUTH default secret",
        "HELLO",
        "HELLO 3",
        "HELLO 4",
        "HELLO x",
        "HELLO 3 AUTH default wrong",
        "HELLO 3 AUTH default",
        "HELLO 2 SETNAME a AUTH default wrong",
        "HELLO 2 AUTH default secret SETNAME \"a b\"",
        "GET k",
        "PING",
        "QUIT",
        "RESET",
        "COMMAND COUNT",
        "SHUTDOWN x",
        "MULTI",
        "EXEC",
        "nosuch",
        "CLIENT",
        "CLIENT nosuch",
        "CONFIG GET x",
        "AUTH \"\"",
    ] {
        // Redis 7.0 leaves a word of HELLO's error out.
        let theirs = theirs.client().text(line);
        let theirs = theirs.replace("the HELLO AUTH", "the HELLO <proto> AUTH");
        assert_eq!(ours.client().text(line), theirs, "{line}");
    }
}

/// Who came before a password was set need not give it; who came while there was one need not when there is none any
/// more.
#[test]
fn a_password_is_asked_for_while_there_is_one() {
    same_story(&[], |server| {
        let (mut early, mut told) = (server.client(), Vec::new());
        told.push(early.text("CONFIG SET requirepass secret"));
        let mut late = server.client();
        for password in ["secret", "", "other"] {
            told.push(early.text(&format!("CONFIG SET requirepass \"{password}\"")));
            for line in ["PING", "HELLO 2", "SET k v"] {
                told.push(late.text(line).chars().take(7).collect());
            }
        }
        told
    });
}

#[test]
fn values_of_every_type_are_those_of_redis() {
    let Some(mut pair) = Pair::start(&["--enable-debug-command", "yes"]) else {
        return;
    };
    for protocol in ["HELLO 2", "HELLO 3"] {
        let (ours, theirs) = pair.call(&[b"HELLO".to_vec(), protocol[6..].into()]);
        assert_eq!(ours[0], theirs[0]);
        for kind in [
            "string", "integer", "double", "bignum", "null", "array", "set", "map", "verbatim",
            "true", "false", "nosuch",
        ] {
            pair.same(&format!("DEBUG PROTOCOL {kind}"));
        }
        pair.same("COMMAND LIST FILTERBY PATTERN lpushx");
        pair.same("COMMAND LIST FILTERBY MODULE nosuch");
    }
    // The reply to the command itself, and the push.
    pair.same("DEBUG PROTOCOL push");
    let push = pair.same("PING");
    assert!(push.starts_with('>'), "{push}");
}
