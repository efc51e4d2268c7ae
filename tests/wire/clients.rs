//! What a server tells of its clients and their calls: MONITOR, the figures of WATCH, CLIENT LIST, commandstats.
//! The same steps on this server and on redis-server 8.

use std::os::unix::net::UnixStream;

use crate::harness::{Client, Server, Value, wait_until};
use crate::pair::same_story;

/// A MONITOR line without its time and the client's port.
fn seen(monitor: &mut Client) -> String {
    let line = monitor.read().to_string();
    let (_, line) = line.split_once(' ').expect("a line of MONITOR");
    let (head, command) = line.split_once("] ").expect("a line of MONITOR");
    let (db, _) = head.split_once(' ').expect("a line of MONITOR");
    format!("{db} {command}")
}

#[test]
fn monitors_see_what_those_of_redis_do() {
    same_story(&["--enable-debug-command", "yes"], |server| {
        let (mut monitor, mut client, mut waiting) =
            (server.client(), server.client(), server.client());
        assert_eq!(monitor.text("MONITOR"), "OK");
        let mut told = Vec::new();
        for (line, shown) in [
            ("SELECT 3", true),
            ("SELECT 99", true),
            ("NOSUCH", false),
            ("GET", false),
            ("CONFIG GET maxmemory", false),
            ("AUTH a b", true),
            ("HELLO 2", true),
            ("MULTI", true),
            ("SELECT 4", false),
        ] {
            client.text(line);
            if shown {
                told.push(seen(&mut monitor));
            }
        }
        client.text("EXEC");
        told.extend([seen(&mut monitor), seen(&mut monitor)]);
        waiting.send(b"BLPOP q 0\r\n");
        told.push(seen(&mut monitor));
        client.text("SELECT 0");
        client.text("RPUSH q a");
        told.extend([seen(&mut monitor), seen(&mut monitor)]);
        waiting.read();
        for line in ["GET a", "SET a b", "DBSIZE", "FLUSHALL"] {
            told.push(monitor.text(line));
        }
        for line in ["PING", "ECHO x", "SELECT 2", "RESET", "SET a b"] {
            told.push(monitor.text(line));
            if !matches!(line, "RESET" | "SET a b") {
                told.push(seen(&mut monitor));
            }
        }
        told
    });
}

#[test]
fn monitors_show_unix_clients_by_their_path() {
    let server = Server::start(&["--unixsocket", "s.sock"]);
    let mut monitor = server.client();
    assert_eq!(monitor.text("MONITOR"), "OK");
    let mut unix = UnixStream::connect(server.dir().join("s.sock")).unwrap();
    std::io::Write::write_all(&mut unix, b"PING\r\n").unwrap();
    let line = monitor.read().to_string();
    assert!(line.ends_with(" [0 unix:s.sock] \"PING\""), "{line}");
}

#[test]
fn an_idle_monitor_stays() {
    let server = Server::start(&["--timeout", "1"]);
    let (mut monitor, mut idle) = (server.client(), server.client());
    assert_eq!(monitor.text("MONITOR"), "OK");
    assert_eq!(idle.text("PING"), "PONG");
    seen(&mut monitor);
    // The idle one is closed; the monitor was idle for longer.
    assert!(idle.read_reply().is_err());
    assert_eq!(monitor.text("PING"), "PONG");
}

/// Fields of a named client in CLIENT LIST.
fn fields(client: &mut Client, name: &str, wanted: &[&str]) -> String {
    let list = client.text("CLIENT LIST");
    let line = list
        .lines()
        .find(|line| line.contains(&format!(" name={name} ")));
    let words = line.unwrap_or_default().split(' ');
    let found = words.filter(|word| {
        let name = word.split('=').next().unwrap_or_default();
        wanted.contains(&name)
    });
    found.collect::<Vec<_>>().join(" ")
}

#[test]
fn watches_end_when_one_is_hit() {
    same_story(&[], |server| {
        let (mut client, mut watcher) = (server.client(), server.client());
        watcher.text("CLIENT SETNAME watcher");
        let mut told = Vec::new();
        let mut look = |client: &mut Client| {
            told.push(fields(client, "watcher", &["watch", "flags"]));
            told.push(client.info("clients", "watching_clients"));
            told.push(client.info("clients", "total_watched_keys"));
        };
        watcher.text("WATCH a b");
        look(&mut client);
        client.text("SET a x");
        look(&mut client);
        watcher.text("WATCH c");
        look(&mut client);
        watcher.text("MULTI");
        assert_eq!(watcher.text("EXEC"), "(nil)");
        look(&mut client);
        watcher.text("WATCH a");
        watcher.text("SET a y");
        look(&mut client);
        watcher.text("UNWATCH");
        watcher.text("WATCH a b");
        client.text("FLUSHALL");
        look(&mut client);
        watcher.text("UNWATCH");
        // What another client's command does to the key, set free by the watcher's own, counts.
        let mut waiting = server.client();
        waiting.text("CLIENT SETNAME waiting");
        waiting.send(b"BLMOVE from to LEFT LEFT 0\r\n");
        wait_until("it waits", || {
            client.info("clients", "blocked_clients") == "1"
        });
        watcher.text("WATCH to");
        watcher.text("RPUSH from x");
        waiting.read();
        look(&mut client);
        told.push(fields(&mut client, "waiting", &["watch", "flags"]));
        told
    });
}

/// Calls, refusals and failures of the commands that were used since the last CONFIG RESETSTAT, and the errors.
fn figures(client: &mut Client) -> Vec<String> {
    let text = client.text("INFO commandstats");
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| {
            line.starts_with("cmdstat_")
                && !line.contains("config|resetstat")
                && !line.contains("cmdstat_info")
        })
        .map(|line| {
            let (name, figures) = line.split_once(':').unwrap();
            let figures = figures.split(',').filter(|word| !word.starts_with("usec"));
            format!("{name} {}", figures.collect::<Vec<_>>().join(","))
        })
        .collect();
    lines.sort();
    lines.push(client.text("INFO errorstats"));
    lines.push(client.info("stats", "total_error_replies"));
    lines
}

#[test]
fn calls_that_are_refused_count_as_in_redis() {
    same_story(&["--enable-debug-command", "yes"], |server| {
        let mut client = server.client();
        let mut told = Vec::new();
        for story in [
            "XGROUP CREATE s g",
            "OBJECT ENCODING",
            "CONFIG GET",
            "XGROUP FOO s",
            "CLIENT FOO",
            "CONFIG NOSUB",
            "XGROUP",
            "GET",
            "NOSUCH",
            "MULTI;OBJECT ENCODING;OBJECT FOO x;EXEC",
            "MULTI;EXEC x;DISCARD",
            "CLIENT UNBLOCK x",
            "DEBUG FOO",
        ] {
            client.text("CONFIG RESETSTAT");
            story
                .split(';')
                .for_each(|line| told.push(client.text(line)));
            told.extend(figures(&mut client));
        }
        told
    });
}

#[test]
fn waits_that_client_unblock_ends_count_as_in_redis() {
    same_story(&[], |server| {
        let mut client = server.client();
        let mut told = Vec::new();
        for line in [
            "WAIT 5 0",
            "BLPOP q 0",
            "XREAD BLOCK 0 STREAMS q $",
            "BLMOVE a b LEFT LEFT 0",
        ] {
            for how in ["ERROR", "TIMEOUT"] {
                let mut waiting = server.client();
                let id = waiting.text("CLIENT ID");
                client.text("CONFIG RESETSTAT");
                waiting.send(format!("{line}\r\n").as_bytes());
                wait_until("it waits", || {
                    client.text(&format!("CLIENT UNBLOCK {id} {how}")) == "1"
                });
                told.push(waiting.read().to_string());
                // How often it was tried in vain is no matter.
                let figures = figures(&mut client).into_iter();
                told.extend(figures.map(|line| {
                    match line.strip_prefix("cmdstat_client|unblock ") {
                        Some(figures) => figures
                            .split_once(',')
                            .map_or_else(String::new, |(_, rest)| rest.to_owned()),
                        None => line,
                    }
                }));
            }
        }
        told
    });
}

#[test]
fn client_list_tells_the_command_that_was_asked_for() {
    same_story(&[], |server| {
        let (mut client, mut other) = (server.client(), server.client());
        other.text("CLIENT SETNAME other");
        let mut told = Vec::new();
        for line in [
            "MULTI",
            "SET a b",
            "GETX",
            "GET",
            "CLIENT NOSUB",
            "OBJECT ENCODING",
            "OBJECT ENCODING a",
            "EXEC",
            "CONFIG",
            "CONFIG NOSUB",
            "CONFIG GET",
            "PING",
        ] {
            other.text(line);
            told.push(fields(&mut client, "other", &["cmd", "argv-mem", "flags"]));
        }
        other.send(b"BLPOP a-key another-key 0\r\n");
        wait_until("it waits", || {
            client.info("clients", "blocked_clients") == "1"
        });
        told.push(fields(&mut client, "other", &["cmd", "argv-mem", "flags"]));
        client.text("CLIENT SETNAME me");
        told.push(fields(&mut client, "me", &["cmd", "argv-mem"]));
        for ids in ["0", "-1", "0 -1", "x", "-9223372036854775808", "999999"] {
            told.push(client.text(&format!("CLIENT LIST ID {ids}")));
        }
        told
    });
}

#[test]
fn large_buffers_are_told_for_a_while() {
    let server = Server::start(&[]);
    let (mut client, mut slow) = (server.client(), server.client());
    let startup: u64 = client
        .info("memory", "used_memory_startup")
        .parse()
        .unwrap();
    let used: u64 = client.info("memory", "used_memory").parse().unwrap();
    assert!(0 < startup && startup <= used, "{startup} {used}");
    let value = vec![b'x'; 3_000_000];
    slow.call(&[b"SET".as_slice(), b"a", &value]);
    let figure = |client: &mut Client, name: &str| -> usize {
        client.info("clients", name).parse().unwrap()
    };
    let mut largest = |name: &str, least: usize| {
        wait_until("it is seen", || figure(&mut client, name) >= least);
        figure(&mut client, name)
    };
    // What is left of the buffer when the command has run.
    let input = largest("client_recent_max_input_buffer", 1);
    assert!(input < 4_000_000, "{input}");
    // Nobody reads; the sockets hold some.
    (0..20).for_each(|_| slow.send(b"GET a\r\n"));
    let output = largest("client_recent_max_output_buffer", 1_000_000);
    assert!(output < 70_000_000, "{output}");
}

#[test]
fn a_wait_is_counted_when_it_is_over() {
    let server = Server::start(&[]);
    let (mut client, mut waiting) = (server.client(), server.client());
    let calls = |client: &mut Client| client.info("commandstats", "cmdstat_wait");
    waiting.send(b"WAIT 1 0\r\n");
    wait_until("it waits", || {
        client.info("clients", "blocked_clients") == "1"
    });
    assert_eq!(calls(&mut client), "");
    let id = client.text("CLIENT LIST");
    let id = id
        .split("\nid=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(client.text(&format!("CLIENT UNBLOCK {id}")), "1");
    assert_eq!(waiting.read(), Value::Int(0));
    assert!(calls(&mut client).starts_with("calls=1,"));
}

#[test]
fn what_resetstat_resets() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.text("AUTH nobody wrong");
    for (line, saves) in [("SAVE", "1"), ("DEBUG RELOAD", "1"), ("BGSAVE", "2")] {
        client.text(line);
        assert_eq!(client.info("persistence", "rdb_saves"), saves, "{line}");
    }
    assert_eq!(client.text("CONFIG RESETSTAT"), "OK");
    assert_eq!(client.info("persistence", "rdb_saves"), "0");
    assert_eq!(client.info("stats", "latest_fork_usec"), "0");
    assert_eq!(client.info("stats", "acl_access_denied_auth"), "1");
}

#[test]
fn time_over_maxmemory_is_told() {
    let server = Server::start(&["--maxmemory", "1kb"]);
    let mut client = server.client();
    let mut time = |field: &str| client.info("stats", field).parse::<u64>().unwrap();
    wait_until("it is over", || {
        time("current_eviction_exceeded_time") > 200
    });
    assert!(time("total_eviction_exceeded_time") > 200);
    assert_eq!(server.client().text("CONFIG SET maxmemory 0"), "OK");
    wait_until("it is not", || time("current_eviction_exceeded_time") == 0);
    assert!(time("total_eviction_exceeded_time") > 200);
}

#[test]
fn odd_calls_are_answered_as_by_redis() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    for (line, reply) in [
        (
            "REPLCONF rdb-only 2",
            "(error) ERR value is out of range, value must between 0 and 1",
        ),
        (
            "SLOWLOG GET -1 x",
            "(error) ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.",
        ),
        ("DEBUG ERROR \"E1 boom\"", "(error) E1 boom"),
    ] {
        assert_eq!(client.text(line), reply);
    }
    assert_eq!(client.info("errorstats", "errorstat_E1"), "");
    assert!(!client.text("LOLWUT VERSION").starts_with("(error)"));
    let mut monitor = server.client();
    assert_eq!(monitor.text("MONITOR"), "OK");
    monitor.send(b"MONITOR\r\nPING\r\n");
    assert_eq!(monitor.read(), Value::Simple("PONG".to_owned()));
}
