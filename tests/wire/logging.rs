//! What the log says of clients, of the data set and of loads, in Redis's words.

use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::harness::{Server, target, wait_until};

/// The log's last line with this in it, without process, role and time.
fn line(server: &Server, part: &str) -> String {
    let log = server.log();
    let line = log.lines().rfind(|line| line.contains(part));
    let line = line.unwrap_or_else(|| panic!("no line with {part:?} in:\n{log}"));
    let words: Vec<&str> = line.splitn(7, ' ').collect();
    format!("{} {}", words[5], words[6])
}

#[test]
fn a_talkative_log_follows_connections() {
    let server = Server::start(&["--loglevel", "debug", "--unixsocket", "log.sock"]);
    line(&server, ". 0 clients connected (0 replicas), ");
    let mut client = server.client();
    let address = client.stream().local_addr().unwrap();
    let accepted = format!("- Accepted {address}");
    wait_until("it is accepted", || server.log().contains(&accepted));
    client.text("SET a 1");
    drop(client);
    let closed = format!(" addr={address} ");
    wait_until("it is closed", || server.log().contains(&closed));
    let shown = line(&server, &closed);
    assert!(
        shown.starts_with("- Client closed connection id="),
        "{shown}"
    );
    assert!(shown.contains(" flags=A db=0 ") && shown.contains(" cmd=set user=default "));
    drop(UnixStream::connect(server.dir().join("log.sock")).unwrap());
    wait_until("it is closed", || server.log().contains(" flags=AU "));
    line(&server, "- Accepted connection to log.sock");
    wait_until("five seconds pass", || server.log().contains("DB 0: "));
    assert_eq!(
        line(&server, "DB 0"),
        "- DB 0: 1 keys (0 volatile) in 56 slots HT."
    );
}

#[test]
fn a_quiet_log_does_not() {
    let server = Server::start(&[]);
    server.client().text("SET a 1");
    let mut client = server.client();
    client.send(b"*x\r\n");
    client.read_to_end();
    for part in ["Accepted", "Client closed", "Protocol error", "slots HT"] {
        assert!(!server.log().contains(part), "{part}");
    }
}

#[test]
fn a_protocol_error_is_shown_with_its_bytes() {
    let server = Server::start(&["--loglevel", "verbose"]);
    let long = [b"x".repeat(64), b"\r\n\x01".to_vec(), b"y".repeat(64)].concat();
    let cases: [(&[u8], &str, &str); 6] = [
        (
            b"*1\r\n$abc\r\nxx\xff\r\n",
            "invalid bulk length",
            "'$abc..xx...'",
        ),
        (b"*1x\r\n", "invalid mbulk count", "'*1x..'"),
        (
            b"GET \"a\r\n",
            "unbalanced quotes in request",
            "'GET \"a..'",
        ),
        (
            b"*1\r\n+OK\r\n",
            "expected $ but got something else",
            "'+OK..'",
        ),
        (
            b"PING\r\n*1\r\n+O\r\n\0K",
            "expected $ but got something else",
            "'+O..'",
        ),
        (
            &[b"*1\r\n$x\r\n", &long[..]].concat(),
            "invalid bulk length",
            &format!(
                "'$x..{}' (... more 7 bytes ...) '{}'",
                "x".repeat(60),
                "y".repeat(64)
            ),
        ),
    ];
    for (bytes, reason, shown) in cases {
        let mut client = server.client();
        let address = client.stream().local_addr().unwrap();
        client.send(bytes);
        client.read_to_end();
        let line = line(&server, " from client: id=");
        assert!(
            line.starts_with(&format!("- Protocol error ({reason}) from client: id=")),
            "{line}"
        );
        assert!(line.contains(&format!(" addr={address} ")), "{line}");
        let end = format!(". Query buffer during protocol error: {shown}");
        assert!(line.ends_with(&end), "{line}");
    }
}

#[test]
fn a_load_tells_of_its_file_at_once() {
    let mut server = Server::start(&[]);
    for number in 0..2000 {
        server.client().text(&format!("SET key:{number} value"));
    }
    assert_eq!(server.client().text("SAVE"), "OK");
    server.kill();
    let file = server.dir().join("dump.rdb");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let output = Command::new(target())
        .args(["--port", "0", "--unixsocket", "s", "--dir"])
        .arg(server.dir())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = |part: &str| {
        log.find(part)
            .unwrap_or_else(|| panic!("no {part:?} in {log}"))
    };
    assert!(place("* Loading RDB produced by version ") < place("* RDB age "));
    assert!(place("* RDB age ") < place("* RDB memory usage when created "));
    assert!(place("* RDB memory usage when created ") < place("# Short read or OOM loading DB"));
}

#[test]
fn a_signal_during_a_load_is_told_as_such() {
    let mut server = Server::start(&[]);
    server.client().text("MSET a 1 b 2 c 3");
    assert_eq!(server.client().text("SAVE"), "OK");
    server.kill();
    let log = std::fs::File::create(server.dir().join("second.log")).unwrap();
    let mut child = Command::new(target())
        .args([
            "--port",
            "0",
            "--unixsocket",
            "s",
            "--key-load-delay",
            "1000000",
            "--dir",
        ])
        .arg(server.dir())
        .stdout(log)
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(server.dir().join("second.log")).unwrap();
    wait_until("it loads", || {
        said().contains("RDB memory usage when created")
    });
    Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    wait_until("it ends", || child.try_wait().unwrap().is_some());
    let line = "# Received shutdown signal during loading, scheduling shutdown.\n";
    assert!(said().contains(line), "{}", said());
}

#[test]
fn a_small_maxmemory_is_warned_of() {
    let server = Server::start(&[]);
    let mut client = server.client();
    assert_eq!(client.text("CONFIG SET maxmemory 1000gb"), "OK");
    assert!(!server.log().contains("maxmemory value"));
    assert_eq!(client.text("CONFIG SET maxmemory 1kb"), "OK");
    let warning = line(&server, "maxmemory value");
    let start = "# WARNING: the new maxmemory value set via CONFIG SET (1024) is smaller than the current memory usage (";
    let end = "). This will result in key eviction and/or the inability to accept new write commands depending on the \
               maxmemory-policy.";
    assert!(
        warning.starts_with(start) && warning.ends_with(end),
        "{warning}"
    );
}

#[test]
fn a_synchronization_is_told_in_redis_words_and_with_the_new_role() {
    let master = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&[]);
    let port = master.port().to_string();
    replica
        .client()
        .text(&format!("REPLICAOF 127.0.0.1 {port}"));
    wait_until("they are in sync", || {
        replica.log().contains("Finished with success")
    });
    let name = format!("127.0.0.1:{}", replica.port());
    for wanted in [
        format!(
            "* Background RDB transfer started by pid {} to parent process pipe",
            master.pid()
        ),
        "* Background RDB transfer terminated with success".to_owned(),
        format!(
            "* Streamed RDB transfer with replica {name} succeeded (socket). Waiting for REPLCONF ACK from replica \
             to enable streaming"
        ),
        format!("* Synchronization with replica {name} succeeded"),
    ] {
        assert_eq!(line(&master, &wanted), wanted);
    }
    replica.client().text("REPLICAOF NO ONE");
    for (role, part) in [
        ('S', "Before turning into a replica"),
        ('S', "Connecting to MASTER"),
        ('S', "enabled (user request"),
        ('M', "MASTER MODE enabled"),
    ] {
        let log = replica.log();
        let line = log.lines().find(|line| line.contains(part)).unwrap();
        assert!(
            line.starts_with(&format!("{}:{role} ", replica.pid())),
            "{line}"
        );
    }
}

#[test]
fn a_failover_is_told_with_the_new_roles() {
    let master = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&[]);
    replica
        .client()
        .text(&format!("REPLICAOF 127.0.0.1 {}", master.port()));
    let mut client = master.client();
    wait_until("they are in sync", || {
        client
            .info("replication", "slave0")
            .contains("state=online")
    });
    assert_eq!(client.text("FAILOVER"), "OK");
    let accepted = "Master accepted a Partial Resynchronization.";
    wait_until("the master follows", || master.log().contains(accepted));
    let with = format!("127.0.0.1:{}", replica.port());
    for (server, role, part) in [
        (
            &master,
            'M',
            "FAILOVER requested to any replica.".to_owned(),
        ),
        (
            &master,
            'M',
            format!("Failover target {with} is synced, failing over."),
        ),
        (&master, 'S', format!("Connecting to MASTER {with}")),
        (
            &replica,
            'S',
            "Failover request received for replid ".to_owned(),
        ),
        (
            &replica,
            'M',
            "Discarding previously cached master state.".to_owned(),
        ),
        (
            &replica,
            'M',
            "MASTER MODE enabled (failover request from 'id=".to_owned(),
        ),
    ] {
        let log = server.log();
        let start = format!("{}:{role} ", server.pid());
        let told = |line: &str| line.starts_with(&start) && line.contains(&part);
        assert!(log.lines().any(told), "{part}");
    }
}
