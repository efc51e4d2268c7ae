//! Pipelines that outrun their reader, and logging in.

use std::io::{Read, Write};

use crate::harness::{Peer, Server, Value, push_request};

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
        assert_eq!(
            ours.client().text(line),
            theirs.client().text(line),
            "{line}"
        );
    }
}
