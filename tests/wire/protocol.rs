//! The protocol's framing: pipelines that outrun their reader.

use std::io::{Read, Write};

use crate::harness::{Server, Value, push_request};

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
