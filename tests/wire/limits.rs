//! What a client may keep waiting here: its input and its output.

use crate::harness::{Client, Server, Value, push_request, wait_until};

/// Sends `request` and reads `count` replies; false when the server hangs up instead.
fn is_served(server: &Server, request: &[u8], count: usize) -> bool {
    let mut client = server.client();
    client.try_send(request) && (0..count).all(|_| client.read_reply().is_ok())
}

fn set_of(bytes: usize) -> Vec<u8> {
    let mut request = Vec::new();
    push_request(&mut request, &[b"SET".as_slice(), b"k", &vec![b'x'; bytes]]);
    request
}

fn mset_of(count: usize, bytes: usize) -> Vec<u8> {
    let mut words = vec![b"MSET".to_vec()];
    for key in 0..count {
        words.push(format!("k{key}").into_bytes());
        words.push(vec![b'x'; bytes]);
    }
    let mut request = Vec::new();
    push_request(&mut request, &words);
    request
}

/// The borders are Redis 8's.
#[test]
fn the_query_buffer_limit_counts_what_is_not_parsed() {
    const LIMIT: usize = 2 << 20;
    let server = Server::start(&["--client-query-buffer-limit", "2mb"]);
    assert!(is_served(&server, &set_of(LIMIT - 2), 1), "with its CRLF");
    assert!(!is_served(&server, &set_of(LIMIT - 1), 1));
    assert!(!is_served(&server, &set_of(LIMIT * 2), 1));
    assert!(is_served(&server, &mset_of(300, 20_000), 1));
    assert!(is_served(&server, &mset_of(5, 900_000), 1));
    assert!(is_served(&server, &mset_of(5, LIMIT - 2), 1));
    assert!(!is_served(&server, &mset_of(5, LIMIT - 1), 1));
    assert!(is_served(&server, &set_of(500_000).repeat(20), 20));
    // What MULTI has queued counts, in pieces of any size.
    let multi = |bytes: usize, count: usize| {
        let mut request = b"MULTI\r\n".to_vec();
        request.extend(set_of(bytes).repeat(count));
        request.extend(b"EXEC\r\n");
        is_served(&server, &request, count + 2)
    };
    assert!(multi(300_000, 5));
    assert!(!multi(500_000, 20));
    assert!(!multi(5_000, 2_000));
    let refused = server
        .client()
        .info("stats", "client_query_buffer_limit_disconnections");
    assert_eq!(refused, "5");
}

/// The most memory that a server's process has had, kilobytes.
fn peak_kb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let (_, peak) = status.split_once("VmHWM:").unwrap();
    peak.split_whitespace().next().unwrap().parse().unwrap()
}

/// Makes a client that is owed far more than its socket takes, and reads nothing.
fn owed(server: &Server) -> Client {
    let mut client = server.client();
    let id = client.value("CLIENT ID").to_string();
    client.send(&b"GET big\r\n".repeat(4));
    let mut other = server.client();
    wait_until("its output waits", || {
        let shown = other.text(&format!("CLIENT LIST ID {id}"));
        !shown.contains(" obl=0 ")
    });
    client
}

#[test]
fn the_soft_output_limit_is_a_matter_of_time() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 0 300kb 4"]);
    let mut other = server.client();
    let big = vec![b'x'; 20 << 20];
    assert_eq!(
        other.call(&[b"SET".as_slice(), b"big", &big]),
        Value::Simple("OK".to_owned())
    );
    let memory =
        |client: &mut Client| -> u64 { client.info("memory", "used_memory").parse().unwrap() };
    let before = memory(&mut other);
    let mut client = owed(&server);
    assert!(memory(&mut other) > before + (60 << 20));
    // It sends nothing more, and the server has nothing else to do.
    wait_until("it is closed by the clock", || {
        other.info("clients", "connected_clients") == "1"
    });
    wait_until("its memory is given back", || {
        memory(&mut other) < before + (10 << 20)
    });
    assert!(client.is_dropped());
    let closed = other.info("stats", "client_output_buffer_limit_disconnections");
    assert_eq!(closed, "1");
}

/// What EXEC answers is held against the limit while it grows; its commands run all the same.
#[test]
fn a_transaction_does_not_answer_beyond_the_limit() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 3mb 0 0"]);
    let (mut client, mut other) = (server.client(), server.client());
    other.call(&[b"SET".as_slice(), b"big", &vec![b'x'; 2 << 20]]);
    other.text("CONFIG RESETSTAT");
    let queue = [b"GET big\r\n".repeat(500), b"INCR n\r\n".to_vec()].concat();
    client.send(&[b"MULTI\r\n".as_slice(), &queue, b"EXEC\r\n"].concat());
    assert!(client.is_dropped());
    assert_eq!(other.text("GET n"), "1");
    let closed = other.info("stats", "client_output_buffer_limit_disconnections");
    assert_eq!(closed, "1");
    let peak = peak_kb(&server);
    assert!(peak < 200 << 10, "{peak} kB");
}

/// A reply that grows beyond the limit is not made to its end; one that fits is whole, whatever is unread before it.
#[test]
fn long_replies_end_at_the_limit() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 3mb 0 0"]);
    let mut other = server.client();
    for number in 0..40 {
        let number = number.to_string();
        let item = format!("{number}{}", "x".repeat(1 << 20));
        other.call(&["RPUSH", "list", &item]);
        other.call(&["SADD", "set", &item]);
        other.call(&["HSET", "hash", &number, &item]);
        other.call(&["ZADD", "zset", &number, &item]);
    }
    let before = peak_kb(&server);
    let lines = [
        "LRANGE list 0 -1",
        "SMEMBERS set",
        "HGETALL hash",
        "HVALS hash",
        "ZRANGE zset 0 -1",
        "ZREVRANGE zset 0 -1 WITHSCORES",
    ];
    for line in lines {
        let mut client = server.client();
        client.send(format!("{line}\r\n").as_bytes());
        assert!(client.is_dropped(), "{line}");
        // The reply would be 40 MiB.
        let grown = peak_kb(&server) - before;
        assert!(grown < 30 << 10, "{line}: {grown} kB");
    }
    let closed = other.info("stats", "client_output_buffer_limit_disconnections");
    assert_eq!(closed, lines.len().to_string());
    for _ in 0..20 {
        let whole = other.value("LRANGE list 0 1");
        assert!(matches!(whole, Value::Array(items) if items.len() == 2));
    }
}

#[test]
fn a_monitor_that_does_not_read_is_closed() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 0 300kb 1"]);
    let mut monitor = server.client();
    assert_eq!(monitor.text("MONITOR"), "OK");
    let mut other = server.client();
    other.send(&set_of(1 << 20).repeat(40));
    (0..40).for_each(|_| assert_eq!(other.read(), Value::Simple("OK".to_owned())));
    wait_until("it is closed by the clock", || {
        other.info("clients", "connected_clients") == "1"
    });
    assert!(monitor.is_dropped());
}
