//! MIGRATE: to and from this server, against targets that err, hang or rave, and what others may do meanwhile.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redoxide::base::prng::Prng;

use crate::harness::{Client, Peer, Server, Value, free_port, push_request, wait_until};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];

/// A target that the test plays.
struct Target {
    listener: TcpListener,
}

impl Target {
    fn new() -> Target {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no free port");
        Target { listener }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("no address").port()
    }

    /// The next connection to it.
    fn accept(&self) -> Client {
        Client::accept(&self.listener)
    }
}

/// Sends a command without awaiting its reply.
fn begin(client: &mut Client, line: &str) {
    let words = redoxide::base::quote::split_args(line.as_bytes()).expect("unbalanced quotes");
    let mut request = Vec::new();
    push_request(&mut request, &words);
    client.send(&request);
}

/// The words of the next command that a target was sent, without the payload of RESTORE.
fn asked(target: &mut Client) -> String {
    let Value::Array(mut words) = target.read() else {
        panic!("no command")
    };
    if words[0].to_string() == "RESTORE" {
        words.remove(3);
    }
    let words: Vec<String> = words.iter().map(Value::to_string).collect();
    words.join(" ")
}

fn ok(target: &mut Client) {
    target.send(b"+OK\r\n");
}

/// Servers to pair with: another of this kind, and Redis 8 if it is here.
fn others() -> Vec<Server> {
    let mut others = vec![Server::start(DEBUG)];
    others.extend(Peer::Redis8.start(DEBUG));
    others
}

/// One value of every type, small and large.
fn fill(client: &mut Client) -> Vec<String> {
    let lines = [
        "SET string value",
        "SET int 12345",
        "SET timed value PX 100000",
        "RPUSH list a b 3 4",
        "SADD intset 1 2 3",
        "SADD set a b c",
        "ZADD zset 1.5 a -inf b",
        "HSET hash f v g w",
        "HSET timedhash f v g w",
        "HEXPIRE timedhash 1000 FIELDS 1 f",
        "XADD stream 1-1 f v",
        "XGROUP CREATE stream g 0",
        "XREADGROUP GROUP g c STREAMS stream >",
        "PFADD hll a b c",
        "SETBIT bits 1000000 1",
    ];
    for line in lines {
        let reply = client.value(line);
        assert!(!matches!(reply, Value::Error(_)), "{line}: {reply}");
    }
    for index in 0..3000 {
        client.text(&format!("RPUSH biglist element:{index}"));
        client.text(&format!("ZADD bigzset {index} member:{index}"));
        client.text(&format!("HSET bighash field:{index} value:{index}"));
    }
    let Value::Array(keys) = client.value("KEYS *") else {
        panic!("KEYS gave no array")
    };
    keys.iter().map(Value::to_string).collect()
}

#[test]
fn values_of_every_type_arrive() {
    let ours = Server::start(DEBUG);
    for other in others() {
        for (source, target) in [(&ours, &other), (&other, &ours)] {
            let (mut source, port, mut target) = (source.client(), target.port(), target.client());
            source.text("FLUSHALL");
            target.text("FLUSHALL");
            let keys = fill(&mut source);
            let digests = |client: &mut Client| -> Vec<String> {
                let words = keys.iter().map(|key| format!("DEBUG DIGEST-VALUE {key}"));
                words.map(|line| client.text(&line)).collect()
            };
            let before = digests(&mut source);
            let all = keys.join(" ");
            let line = format!("MIGRATE 127.0.0.1 {port} \"\" 0 20000 COPY KEYS {all}");
            assert_eq!(source.text(&line), "OK");
            assert_eq!(digests(&mut source), before);
            assert_eq!(digests(&mut target), before);
            assert_eq!(
                source.text(&line),
                "(error) ERR Target instance replied with error: BUSYKEY Target key name already exists."
            );
            let line = format!("MIGRATE 127.0.0.1 {port} \"\" 0 20000 REPLACE KEYS {all}");
            assert_eq!(source.text(&line), "OK");
            assert_eq!(source.text("DBSIZE"), "0");
            assert_eq!(digests(&mut target), before);
            let Value::Int(ttl) = target.value("PTTL timed") else {
                panic!("PTTL gave no number")
            };
            assert!((90_000..=100_000).contains(&ttl), "{ttl}");
            assert_eq!(target.text("TTL string"), "-1");
            assert_eq!(target.text("HTTL timedhash FIELDS 1 g"), "[-1]");
        }
    }
}

/// This server and Redis 8, if it is here, each with two keys and a target that the test plays.
fn sources() -> Vec<(Server, Client, Target)> {
    let mut servers = vec![Server::start(DEBUG)];
    servers.extend(Peer::Redis8.start(DEBUG));
    let sources = servers.into_iter().map(|server| {
        let mut client = server.client();
        client.text("MSET a 1 b 2");
        (server, client, Target::new())
    });
    sources.collect()
}

#[test]
fn what_is_sent_and_answered() {
    for (server, mut client, target) in sources() {
        let port = target.port();
        client.text("PEXPIRE b 1000000");
        begin(
            &mut client,
            &format!("MIGRATE 127.0.0.1 {port} \"\" 3 5000 AUTH2 me secret KEYS a nokey b"),
        );
        let mut link = target.accept();
        assert_eq!(asked(&mut link), "AUTH me secret");
        ok(&mut link);
        assert_eq!(asked(&mut link), "SELECT 3");
        ok(&mut link);
        assert_eq!(asked(&mut link), "RESTORE a 0");
        ok(&mut link);
        let timed = asked(&mut link);
        let ttl: i64 = timed.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(
            timed.starts_with("RESTORE b ") && (900_000..=1_000_000).contains(&ttl),
            "{timed}"
        );
        link.send(b"-BUSYKEY no\r\n");
        assert_eq!(
            client.read().to_string(),
            "(error) ERR Target instance replied with error: BUSYKEY no"
        );
        // What it has is gone here.
        assert_eq!(client.text("KEYS *"), "[b]");
        assert_eq!(client.info("stats", "migrate_cached_sockets"), "1");
        // After an error the database is selected anew, then no more.
        begin(
            &mut client,
            &format!("MIGRATE 127.0.0.1 {port} b 3 5000 AUTH2 me secret COPY REPLACE"),
        );
        assert_eq!(asked(&mut link), "AUTH me secret");
        ok(&mut link);
        assert_eq!(asked(&mut link), "SELECT 3");
        ok(&mut link);
        assert!(asked(&mut link).ends_with(" REPLACE"));
        ok(&mut link);
        assert_eq!(client.read().to_string(), "OK");
        client.text("PERSIST b");
        begin(
            &mut client,
            &format!("MIGRATE 127.0.0.1 {port} b 3 5000 AUTH2 me secret"),
        );
        assert_eq!(asked(&mut link), "AUTH me secret");
        ok(&mut link);
        assert_eq!(asked(&mut link), "RESTORE b 0");
        ok(&mut link);
        assert_eq!(client.read().to_string(), "OK");
        assert_eq!(client.text("DBSIZE"), "0");
        assert_eq!(
            client.text(&format!("MIGRATE 127.0.0.1 {port} b 3 5000")),
            "NOKEY"
        );
        drop(server);
    }
}

#[test]
fn errors_are_those_of_redis() {
    for (_server, mut client, target) in sources() {
        let port = target.port();
        let closed = free_port();
        for (line, reply) in [
            (
                "MIGRATE h 1 a 0",
                "(error) ERR wrong number of arguments for 'migrate' command",
            ),
            (
                "MIGRATE h 1 a 0 x",
                "(error) ERR value is not an integer or out of range",
            ),
            (
                "MIGRATE h 1 a x 1",
                "(error) ERR value is not an integer or out of range",
            ),
            ("MIGRATE h 1 a 0 1 NOSUCH", "(error) ERR syntax error"),
            ("MIGRATE h 1 a 0 1 AUTH", "(error) ERR syntax error"),
            ("MIGRATE h 1 a 0 1 AUTH2 x", "(error) ERR syntax error"),
            (
                "MIGRATE h 1 a 0 1 KEYS a",
                "(error) ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
            ),
            ("MIGRATE h 1 \"\" 0 1 KEYS", "NOKEY"),
            ("MIGRATE h 1 nokey 0 1 COPY REPLACE", "NOKEY"),
            (
                &format!("MIGRATE 127.0.0.1 {closed} a 0 10000"),
                "(error) IOERR error or timeout writing to target instance",
            ),
            (
                "MIGRATE nosuchhost.invalid 1 a 0 5000",
                "(error) IOERR error or timeout connecting to the client",
            ),
        ] {
            assert_eq!(client.text(line), reply, "{line}");
        }
        // A target that says nothing, and one that hangs up twice.
        let line = format!("MIGRATE 127.0.0.1 {port} a 0 100");
        let begun = Instant::now();
        assert_eq!(
            client.text(&line),
            "(error) IOERR error or timeout reading to target instance"
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
        drop(target.accept());
        begin(&mut client, &line.replace(" 100", " 5000"));
        drop(target.accept());
        drop(target.accept());
        let reply = client.read().to_string();
        assert!(
            reply.starts_with("(error) IOERR error or timeout "),
            "{reply}"
        );
        for (steps, reply) in [
            (["-ERR bad password", "+OK", "+OK"], "ERR bad password"),
            (
                ["+OK", "-ERR DB index is out of range", "+OK"],
                "ERR DB index is out of range",
            ),
            (["+OK", "+OK", "-WHAT ever"], "WHAT ever"),
        ] {
            begin(
                &mut client,
                &format!("MIGRATE 127.0.0.1 {port} a 99 5000 AUTH secret"),
            );
            let mut link = target.accept();
            let mut erred = false;
            for step in steps {
                // An answer that comes before its question is not believed; after an error of AUTH or SELECT no RESTORE
                // comes from this server.
                if erred {
                    link.set_deadline(Duration::from_millis(200));
                    let _ = link.read_reply();
                } else {
                    asked(&mut link);
                }
                erred |= step.starts_with('-');
                link.try_send(format!("{step}\r\n").as_bytes());
            }
            assert_eq!(
                client.read().to_string(),
                format!("(error) ERR Target instance replied with error: {reply}")
            );
            drop(link);
        }
        assert_eq!(client.text("MGET a b"), "[1, 2]");
    }
}

#[test]
fn a_target_that_raves_loses_nothing() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.text("SET a 1");
    let raving: [&[u8]; 5] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$2\r\nOK\r\n",
        b"\0\0\r\n",
        b"+OK\r\n:1\r\n",
        &[b'+'; 5000],
    ];
    for bytes in raving {
        let target = Target::new();
        begin(
            &mut client,
            &format!("MIGRATE 127.0.0.1 {} a 0 10000", target.port()),
        );
        let mut link = target.accept();
        link.try_send(bytes);
        assert_eq!(
            client.read().to_string(),
            "(error) IOERR error or timeout reading to target instance",
            "{}",
            bytes.escape_ascii()
        );
        assert_eq!(client.text("GET a"), "1");
        assert_eq!(client.info("stats", "migrate_cached_sockets"), "0");
    }
    // Answers beyond those that were asked for: the key is there, the connection is not kept.
    let target = Target::new();
    begin(
        &mut client,
        &format!("MIGRATE 127.0.0.1 {} a 0 10000", target.port()),
    );
    let mut link = target.accept();
    asked(&mut link);
    ok(&mut link);
    asked(&mut link);
    link.send(b"+OK\r\n+OK\r\n");
    assert_eq!(client.read().to_string(), "OK");
    wait_until("the connection is closed", || {
        client.info("stats", "migrate_cached_sockets") == "0"
    });
}

/// A target may not agree to what it has not been sent.
#[test]
fn an_answer_that_comes_too_early_is_not_believed() {
    let server = Server::start(&["--rdbcompression", "no"]);
    let mut client = server.client();
    client.text("SETRANGE k 30000000 x");
    let target = Target::new();
    let mut asking = server.client();
    begin(
        &mut asking,
        &format!("MIGRATE 127.0.0.1 {} k 0 10000", target.port()),
    );
    let mut link = target.accept();
    asked(&mut link);
    ok(&mut link);
    let mut beginning = [0; 100];
    link.stream().read_exact(&mut beginning).expect("RESTORE");
    ok(&mut link);
    assert_eq!(
        asking.read().to_string(),
        "(error) IOERR error or timeout reading to target instance"
    );
    assert_eq!(client.text("EXISTS k"), "1");
}

/// Whatever the primary of a writable replica does to a key on its way, the key stays.
#[test]
fn what_the_primary_changes_meanwhile_is_not_deleted() {
    let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let mut writer = primary.client();
    writer.text("XADD a 1-1 f v");
    writer.text("XGROUP CREATE a g 0");
    let replica = Server::start(&["--replica-read-only", "no"]);
    let mut client = replica.client();
    client.text(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    wait_until("the sync", || {
        client.info("replication", "master_link_status") == "up"
    });
    for change in [
        "XREADGROUP GROUP g c STREAMS a >",
        "XACK a g 1-1",
        "XSETID a 9-9",
        "XGROUP CREATECONSUMER a g d",
        "XGROUP DESTROY a g",
        "XADD a 10-1 f v",
    ] {
        let target = Target::new();
        let mut asking = replica.client();
        begin(
            &mut asking,
            &format!("MIGRATE 127.0.0.1 {} a 0 10000", target.port()),
        );
        let mut link = target.accept();
        asked(&mut link);
        ok(&mut link);
        asked(&mut link);
        writer.text(change);
        writer.text("WAIT 1 5000");
        ok(&mut link);
        assert_eq!(
            asking.read().to_string(),
            "(error) ERR Key changed while it was migrated: it was not deleted here",
            "{change}"
        );
        assert_eq!(client.text("EXISTS a"), "1", "{change}");
    }
}

#[test]
fn a_target_that_does_not_read_holds_little_memory() {
    let server = Server::start(&["--rdbcompression", "no"]);
    let mut client = server.client();
    let mut names = String::new();
    for index in 0..60 {
        client.text(&format!("SETRANGE k{index} 1000000 x"));
        names.push_str(&format!(" k{index}"));
    }
    let used = |client: &mut Client| client.info("memory", "used_memory").parse::<i64>().unwrap();
    let before = used(&mut client);
    let target = Target::new();
    let mut asking = server.client();
    begin(
        &mut asking,
        &format!(
            "MIGRATE 127.0.0.1 {} \"\" 0 2000 KEYS{names}",
            target.port()
        ),
    );
    let mut link = target.accept();
    asked(&mut link);
    ok(&mut link);
    let mut most = 0;
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(10));
        most = most.max(used(&mut client) - before);
    }
    assert!(most < 8 << 20, "{most}");
    assert_eq!(
        asking.read().to_string(),
        "(error) IOERR error or timeout writing to target instance"
    );
    assert_eq!(client.text("DBSIZE"), "60");
}

/// A migration of `a` (in database 0) under way: the target has been sent it and has not answered.
fn under_way(server: &Server) -> (Client, Target, Client) {
    let (mut asking, target) = (server.client(), Target::new());
    asking.text("SET a 1");
    begin(
        &mut asking,
        &format!("MIGRATE 127.0.0.1 {} a 0 15000", target.port()),
    );
    let mut link = target.accept();
    assert_eq!(asked(&mut link), "SELECT 0");
    ok(&mut link);
    assert_eq!(asked(&mut link), "RESTORE a 0");
    (asking, target, link)
}

/// Whether nothing comes for a while.
fn waits(client: &mut Client) -> bool {
    client.set_deadline(Duration::from_millis(100));
    let waits = client.read_reply().is_err();
    client.set_deadline(Duration::from_secs(20));
    waits
}

#[test]
fn writes_to_a_key_under_way_wait_and_others_do_not() {
    let writes = [
        "SET a 2",
        "APPEND a x",
        "DEL a",
        "RENAME other a",
        "EXPIRE a 100",
        "FLUSHALL",
        "SWAPDB 0 1",
        "SORT list STORE a",
        "BITOP NOT a other",
        "MIGRATE 127.0.0.1 1 a 0 1",
        "MIGRATE 127.0.0.1 1 \"\" 0 1 KEYS x a",
    ];
    let server = Server::start(&[]);
    let mut reader = server.client();
    for write in writes {
        reader.text("FLUSHALL");
        reader.text("SET other 2");
        reader.text("RPUSH list 1");
        let (mut asking, _target, mut link) = under_way(&server);
        let mut writer = server.client();
        begin(&mut writer, write);
        assert!(waits(&mut writer), "{write}");
        assert_eq!(reader.text("GET a"), "1");
        assert_eq!(reader.text("SET b 1"), "OK");
        assert_eq!(reader.text("APPEND other x"), "2");
        reader.text("SET other 2");
        ok(&mut link);
        assert_eq!(asking.read().to_string(), "OK");
        let reply = writer.read().to_string();
        let (expected, a) = match write {
            "SET a 2" => ("OK", "2"),
            "APPEND a x" => ("1", "x"),
            "DEL a" | "EXPIRE a 100" => ("0", "(nil)"),
            "RENAME other a" => ("OK", "2"),
            "SORT list STORE a" => ("1", ""),
            "BITOP NOT a other" => ("1", ""),
            _ if write.starts_with("MIGRATE") => ("NOKEY", "(nil)"),
            _ => ("OK", "(nil)"),
        };
        assert_eq!(reply, expected, "{write}");
        if !a.is_empty() {
            assert_eq!(reader.text("GET a"), a, "{write}");
        }
    }
}

#[test]
fn transactions_and_waiting_clients_wait_too() {
    let server = Server::start(&[]);
    let (mut asking, _target, mut link) = under_way(&server);
    // Queueing does not, EXEC does; a transaction that writes other keys goes on.
    let mut writer = server.client();
    for (line, reply) in [("MULTI", "OK"), ("SET c 1", "QUEUED"), ("INCR a", "QUEUED")] {
        assert_eq!(writer.text(line), reply);
    }
    begin(&mut writer, "EXEC");
    assert!(waits(&mut writer));
    let mut other = server.client();
    for (line, reply) in [
        ("MULTI", "OK"),
        ("SET d 1", "QUEUED"),
        ("EXEC", "[OK]"),
        ("EXISTS c", "0"),
    ] {
        assert_eq!(other.text(line), reply);
    }
    // It would be served by a push, and write the key under way.
    let mut mover = server.client();
    begin(&mut mover, "BLMOVE src a LEFT LEFT 0");
    assert!(waits(&mut mover));
    ok(&mut link);
    assert_eq!(asking.read().to_string(), "OK");
    assert_eq!(writer.read().to_string(), "[OK, 1]");
    other.text("DEL a");
    other.text("RPUSH src x");
    assert_eq!(mover.read().to_string(), "x");

    // One that waited already.
    let mut mover = server.client();
    other.text("DEL a");
    begin(&mut mover, "BLMOVE src a LEFT LEFT 0");
    wait_until("it waits", || {
        other.info("clients", "blocked_clients") == "1"
    });
    let (mut asking, _target, mut link) = under_way(&server);
    other.text("RPUSH src y");
    assert!(waits(&mut mover));
    ok(&mut link);
    assert_eq!(asking.read().to_string(), "OK");
    assert_eq!(mover.read().to_string(), "y");
    assert_eq!(other.text("LRANGE a 0 -1"), "[y]");
}

/// Counters go away and come back while clients count on: nothing that was counted is lost or counted twice.
#[test]
fn no_write_is_lost_on_the_way() {
    const KEYS: u64 = 16;
    let (here, there) = (Server::start(&[]), Server::start(&[]));
    let ends = AtomicBool::new(false);
    let count = |mut client: Client, seed| {
        let (mut prng, mut counted) = (Prng::new(seed), 0);
        while !ends.load(Ordering::Relaxed) {
            let mut requests = Vec::new();
            for _ in 0..8 {
                let key = format!("k{}", prng.below(KEYS));
                let in_transaction = prng.below(3) == 0;
                if in_transaction {
                    push_request(&mut requests, &["MULTI"]);
                }
                push_request(&mut requests, &["INCR", &key]);
                if in_transaction {
                    push_request(&mut requests, &["EXEC"]);
                }
            }
            push_request(&mut requests, &["ECHO", "end"]);
            client.send(&requests);
            loop {
                match client.read() {
                    Value::Bulk(_) => break,
                    Value::Int(_) | Value::Array(_) => counted += 1,
                    Value::Simple(_) => {}
                    other => panic!("{other}"),
                }
            }
        }
        counted
    };
    let names = (0..KEYS).map(|key| format!(" k{key}")).collect::<String>();
    let value = |client: &mut Client, command: &str, key| {
        let text = client.text(&format!("{command} k{key}"));
        text.parse::<u64>().unwrap_or(0)
    };
    let (mut moving, mut target) = (here.client(), there.client());
    let (mut moved, mut counted) = (0, 0);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|seed| {
                let (client, count) = (here.client(), &count);
                scope.spawn(move || count(client, seed))
            })
            .collect();
        let begun = Instant::now();
        let mut rounds = 0;
        // So many that what is moved is counted several times.
        while begun.elapsed() < Duration::from_millis(1500) || rounds < 20 {
            rounds += 1;
            let port = there.port();
            let reply = moving.text(&format!(
                "MIGRATE 127.0.0.1 {port} \"\" 0 20000 KEYS{names}"
            ));
            assert!(reply == "OK" || reply == "NOKEY", "{reply}");
            for key in 0..KEYS {
                let value = value(&mut target, "GETDEL", key);
                moved += value;
                moving.text(&format!("INCRBY k{key} {value}"));
            }
        }
        ends.store(true, Ordering::Relaxed);
        for writer in writers {
            counted += writer.join().expect("a writer fails");
        }
    });
    let stored: u64 = (0..KEYS).map(|key| value(&mut moving, "GET", key)).sum();
    assert_eq!(stored, counted);
    assert!(moved > counted, "{moved} of {counted} moved");
}

#[test]
fn in_a_transaction_it_is_refused() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.text("SET a 1");
    client.text("MULTI");
    assert_eq!(
        client.text("MIGRATE 127.0.0.1 1 a 0 1000"),
        "(error) ERR Command not allowed inside a transaction"
    );
    assert_eq!(
        client.text("EXEC"),
        "(error) EXECABORT Transaction discarded because of previous errors."
    );
}

#[test]
fn it_goes_on_without_the_client_that_asked() {
    let server = Server::start(&[]);
    let mut other = server.client();
    for kills in [true, false] {
        let (mut asking, _target, mut link) = under_way(&server);
        if kills {
            let peer = asking.stream().local_addr().unwrap();
            assert_eq!(other.text(&format!("CLIENT KILL {peer}")), "OK");
            assert!(asking.read_to_end().1);
        } else {
            drop(asking);
        }
        // Another may get its place.
        let mut next = server.client();
        assert_eq!(next.text("PING"), "PONG");
        assert_eq!(next.text("EXISTS a"), "1");
        ok(&mut link);
        wait_until("the key is gone", || next.text("EXISTS a") == "0");
        assert_eq!(next.text("PING"), "PONG");
    }
}

#[test]
fn client_unblock_does_not_end_it() {
    let server = Server::start(&[]);
    let mut other = server.client();
    let (mut asking, _target, mut link) = under_way(&server);
    let id = other
        .text("CLIENT LIST")
        .lines()
        .find(|line| line.contains("cmd=migrate"))
        .map(|line| line.split([' ', '=']).nth(1).unwrap().to_owned());
    assert_eq!(other.text(&format!("CLIENT UNBLOCK {}", id.unwrap())), "0");
    ok(&mut link);
    assert_eq!(asking.read().to_string(), "OK");
}

#[test]
fn a_pause_holds_the_deletion_back() {
    let server = Server::start(&[]);
    let mut other = server.client();
    let (mut asking, _target, mut link) = under_way(&server);
    assert_eq!(other.text("CLIENT PAUSE 100000 WRITE"), "OK");
    ok(&mut link);
    assert!(waits(&mut asking));
    assert_eq!(other.text("EXISTS a"), "1");
    assert_eq!(other.text("CLIENT UNPAUSE"), "OK");
    assert_eq!(asking.read().to_string(), "OK");
    assert_eq!(other.text("EXISTS a"), "0");
}

#[test]
fn who_becomes_a_replica_deletes_nothing() {
    let server = Server::start(&[]);
    let mut other = server.client();
    let (mut asking, _target, mut link) = under_way(&server);
    let nobody = free_port();
    assert_eq!(other.text(&format!("REPLICAOF 127.0.0.1 {nobody}")), "OK");
    link.try_send(b"+OK\r\n");
    assert_eq!(
        asking.read().to_string(),
        "(error) UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
    );
    assert_eq!(other.text("GET a"), "1");
}

#[test]
fn a_new_data_set_is_not_deleted_from() {
    let server = Server::start(DEBUG);
    let mut other = server.client();
    let (mut asking, _target, mut link) = under_way(&server);
    assert_eq!(other.text("DEBUG RELOAD"), "OK");
    ok(&mut link);
    assert_eq!(
        asking.read().to_string(),
        "(error) ERR Key changed while it was migrated: it was not deleted here"
    );
    assert_eq!(other.text("GET a"), "1");
}

#[test]
fn a_shutdown_does_not_wait_for_the_target() {
    let mut server = Server::start(&[]);
    let (_asking, _target, _link) = under_way(&server);
    begin(&mut server.client(), "SHUTDOWN NOSAVE");
    assert_eq!(server.wait_for_exit(), Some(0));
}

#[test]
fn a_key_that_ends_on_its_way_is_gone() {
    let server = Server::start(&[]);
    let mut other = server.client();
    let (mut asking, target) = (server.client(), Target::new());
    asking.text("SET a 1 PX 2000");
    asking.text("HSET h f v g w");
    asking.text("HPEXPIRE h 2000 FIELDS 1 f");
    begin(
        &mut asking,
        &format!("MIGRATE 127.0.0.1 {} \"\" 0 15000 KEYS a h", target.port()),
    );
    let mut link = target.accept();
    asked(&mut link);
    ok(&mut link);
    assert!(asked(&mut link).starts_with("RESTORE a "));
    assert_eq!(asked(&mut link), "RESTORE h 0");
    wait_until("both deadlines are past", || {
        other.text("EXISTS a") == "0" && other.text("HLEN h") == "1"
    });
    link.send(b"+OK\r\n+OK\r\n");
    assert_eq!(asking.read().to_string(), "OK");
    assert_eq!(other.text("DBSIZE"), "0");
}

#[test]
fn a_server_can_move_keys_to_its_own_databases() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.text("SET a 1");
    let port = server.port();
    assert_eq!(
        client.text(&format!("MIGRATE localhost {port} a 5 5000")),
        "OK"
    );
    assert_eq!(client.text("EXISTS a"), "0");
    client.text("SELECT 5");
    assert_eq!(client.text("GET a"), "1");
}

#[test]
fn monitor_and_slow_log_do_not_show_passwords() {
    let server = Server::start(&["--slowlog-log-slower-than", "0"]);
    let (mut monitor, mut client) = (server.client(), server.client());
    monitor.text("MONITOR");
    for (line, shown) in [
        (
            "MIGRATE h 1 nokey 9 5000 AUTH pw KEYS2",
            "\"AUTH\" \"(redacted)\" \"KEYS2\"",
        ),
        (
            "MIGRATE h 1 nokey 9 5000 copy AUTH2 me pw",
            "\"copy\" \"AUTH2\" \"(redacted)\" \"(redacted)\"",
        ),
        ("AUTH pw", "\"AUTH\" \"(redacted)\""),
        ("AUTH default pw", "\"AUTH\" \"(redacted)\" \"(redacted)\""),
        (
            "HELLO 2 SETNAME n AUTH default pw",
            "\"SETNAME\" \"n\" \"AUTH\" \"(redacted)\" \"(redacted)\"",
        ),
    ] {
        client.text(line);
        let seen = monitor.read().to_string();
        assert!(seen.ends_with(shown), "{seen}");
    }
    client.text("CONFIG SET maxclients 100 masterauth pw");
    let log = client.text("SLOWLOG GET 100");
    assert!(!log.contains("pw"), "{log}");
    assert!(
        log.contains("CONFIG, SET, maxclients, 100, masterauth, (redacted)"),
        "{log}"
    );
}
