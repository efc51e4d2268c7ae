//! The configuration room against a running Redis 8.0: defaults, what CONFIG SET accepts and how it
//! refuses, errors at start, CONFIG REWRITE. Skipped where there is no Redis 8.

#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use redoxide::config::Files;
use redoxide::config::{Config, DIRECTIVES, Effect, IMMUTABLE, PROTECTED, SetContext};
use redoxide::server::config_files::SystemFiles;

use crate::harness::{Client, Peer, Server, Value, free_port, wait_until};

/// What the harness sets, or differs on purpose.
const NOT_COMPARED: &[&str] = &[
    "bind",
    "dir",
    "logfile",
    "port",
    "save",
    "io-nap-us",
    "io-spin-us",
    "propagation-error-behavior",
];

fn get(client: &mut Client, name: &str) -> String {
    match client.call(&["CONFIG", "GET", name]) {
        Value::Array(pair) if pair.len() == 2 => pair[1].to_string(),
        other => panic!("CONFIG GET {name}: {other}"),
    }
}

fn shown(config: &Config, name: &str) -> String {
    let found = config.get(&[name.as_bytes()]);
    let text = String::from_utf8_lossy(&found[0].1).into_owned();
    Value::Bulk(text.into_bytes()).to_string()
}

#[test]
fn defaults_are_those_of_redis_8() {
    let Some(peer) = Peer::Redis8.start(&[]) else {
        return;
    };
    let mut client = peer.client();
    let config = Config::default();
    for row in DIRECTIVES
        .iter()
        .filter(|row| !NOT_COMPARED.contains(&row.name))
    {
        for name in [Some(row.name), row.alias].into_iter().flatten() {
            assert_eq!(shown(&config, name), get(&mut client, name), "{name}");
        }
    }
    // Nothing is missing either.
    let Value::Array(all) = client.call(&["CONFIG", "GET", "*"]) else {
        panic!("not an array")
    };
    for pair in all.chunks(2) {
        let name = pair[0].to_string();
        let name = name.trim_matches('"');
        assert!(redoxide::config::find(name.as_bytes()).is_some(), "{name}");
    }
    let Value::Array(ours_by_pattern) = Value::Array(
        config
            .get(&[b"*"])
            .into_iter()
            .map(|(name, _)| Value::Bulk(name))
            .collect(),
    ) else {
        unreachable!()
    };
    assert_eq!(
        ours_by_pattern.len(),
        all.len() / 2 + 2,
        "only io-nap-us and io-spin-us are ours alone"
    );
}

/// Tries a value on both sides; `Err` tells the difference.
fn try_value(
    client: &mut Client,
    config: &mut Config,
    name: &str,
    value: &str,
) -> Result<(), String> {
    let theirs = client.call(&["CONFIG", "SET", name, value]).to_string();
    let outcome = config.set(
        &[(name.as_bytes(), value.as_bytes())],
        SetContext::default(),
    );
    let ours = match outcome {
        Ok(_) => "OK".to_owned(),
        Err(error) => format!("(error) {error}"),
    };
    if theirs != ours {
        return Err(format!("{name} {value:?}: Redis {theirs:?}, here {ours:?}"));
    }
    let (theirs, ours) = (get(client, name), shown(config, name));
    if theirs != ours {
        return Err(format!(
            "{name} after {value:?}: Redis {theirs}, here {ours}"
        ));
    }
    Ok(())
}

#[test]
fn set_answers_as_redis_8() {
    let Some(peer) = Peer::Redis8.start(&["--maxclients", "1000"]) else {
        return;
    };
    let mut client = peer.client();
    let mut config = Config {
        maxclients: 1000,
        ..Config::default()
    };
    /// What changes the connection, or what only one of the two can apply.
    const LEFT_OUT: &[&str] = &[
        "bind",
        "port",
        "requirepass",
        "maxclients",
        "masterauth",
        "io-nap-us",
        "io-spin-us",
        "propagation-error-behavior",
    ];
    let mut values: Vec<&str> = vec![
        "",
        "abc",
        "yes",
        "no",
        "YES",
        "0",
        "1",
        "-1",
        "2",
        "10",
        "99",
        "100",
        "101",
        "1000",
        "2001",
        "65535",
        "65536",
        "2147483647",
        "2147483648",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-2147483649",
        "1k",
        "1kb",
        "1KB",
        "3Gb",
        "1.5gb",
        "gb",
        "1 gb",
        " 1",
        "1 ",
        "01",
        "+1",
        "-0",
        "50%",
        "0%",
        "101%",
        "a b",
        "a/b",
        "1 2 3",
        "0 200 800",
        "-2000 0 2000",
        "2001 0 0",
        "900 1",
        "900 1 300 10",
        "900  1",
        "0 1",
        "1 -1",
        "normal 1 2 3",
        "replica 1mb 2kb 3",
        "slave 1 1 1 pubsub 2 2 2",
        "master 1 2 3",
        "normal 1 2",
        "normal -1 2 3",
        "KEA",
        "AKE",
        "Kg$lshzxetd",
        "mn",
        "Amn",
        "gg",
        "?",
        "{title} {port}",
        "{foo}",
        "{title",
        "C",
        "xx_YY",
        "50 99",
        "50.0 1e1",
        "33.3333333333",
        "0 100",
        "nan",
        "inf",
        "100.1",
        "now force",
        "save now",
        "save nosave",
        "default now",
        "\u{e9}",
        "a\tb",
        "a_b",
        "a.b-c",
    ];
    // Every word of every enumeration.
    values.extend([
        "allchannels",
        "resetchannels",
        "everysec",
        "always",
        "hostname",
        "unknown-endpoint",
        "ip",
        "local",
        "debug",
        "verbose",
        "notice",
        "WARNING",
        "nothing",
        "volatile-lru",
        "allkeys-lfu",
        "noeviction",
        "relative",
        "absolute",
        "panic-on-replicas",
        "panic",
        "ignore",
        "disabled",
        "on-empty-db",
        "swapdb",
        "clients",
        "optional",
    ]);
    let mut differences = Vec::new();
    for row in DIRECTIVES
        .iter()
        .filter(|row| !LEFT_OUT.contains(&row.name))
    {
        let refused = matches!(row.effect, Effect::Refused(_));
        if refused {
            continue;
        }
        let before = get(&mut client, row.name);
        let mut tries: Vec<&str> = values.clone();
        if row.flags & (IMMUTABLE | PROTECTED) != 0 {
            tries.truncate(2);
        }
        for value in tries {
            if let Err(difference) = try_value(&mut client, &mut config, row.name, value) {
                // The text of `dir` differs by place.
                if row.name != "dir" && row.name != "logfile" && row.name != "save"
                    || !difference.contains("after")
                {
                    differences.push(difference);
                }
            }
        }
        let _ = client.call(&["CONFIG", "SET", row.name, before.trim_matches('"')]);
        config = Config {
            maxclients: 1000,
            ..Config::default()
        };
    }
    for difference in &differences {
        eprintln!("{difference}");
    }
    assert!(differences.is_empty(), "{} differences", differences.len());
}

#[test]
fn set_of_several_answers_as_redis_8() {
    let Some(peer) = Peer::Redis8.start(&[]) else {
        return;
    };
    let mut client = peer.client();
    let cases: &[&[&str]] = &[
        &["hz", "20", "hz", "30"],
        &["hz", "20", "HZ", "30"],
        &["min-slaves-to-write", "1", "min-replicas-to-write", "2"],
        &["hz", "20", "nosuch", "1", "databases", "3"],
        &["databases", "3", "nosuch", "1"],
        &["hz", "20", "timeout", "x"],
        &["HZ", "x"],
        &["DATABASES", "3"],
        &["SLAVE-priority", "x"],
        &["min-SLAVES-to-write", "1", "MIN-slaves-to-write", "2"],
        &["dir", "/", "databases", "2"],
        &["timeout", "7", "hz", "12"],
        &[
            "slowlog-max-len",
            "1",
            "slowlog-max-len",
            "2",
            "nosuch",
            "2",
        ],
    ];
    for case in cases {
        let mut command = vec!["CONFIG", "SET"];
        command.extend_from_slice(case);
        let theirs = client.call(&command).to_string();
        let pairs: Vec<(&[u8], &[u8])> = case
            .chunks(2)
            .map(|pair| (pair[0].as_bytes(), pair[1].as_bytes()))
            .collect();
        let ours = match Config::default().set(&pairs, SetContext::default()) {
            Ok(_) => "OK".to_owned(),
            Err(error) => format!("(error) {error}"),
        };
        assert_eq!(ours, theirs, "{case:?}");
    }
}

/// The real files, with a working directory of its own.
#[derive(Default)]
struct TestFiles(Option<PathBuf>);

impl Files for TestFiles {
    fn read(&mut self, path: &Path) -> std::io::Result<Vec<u8>> {
        SystemFiles.read(path)
    }
    fn read_stdin(&mut self) -> std::io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn expand(&mut self, pattern: &Path) -> Vec<PathBuf> {
        SystemFiles.expand(pattern)
    }
    fn change_dir(&mut self, path: &Path) -> std::io::Result<()> {
        std::fs::read_dir(path)?;
        self.0 = Some(path.to_owned());
        Ok(())
    }
    fn current_dir(&mut self) -> PathBuf {
        self.0.clone().unwrap_or_else(|| SystemFiles.current_dir())
    }
    fn try_append(&mut self, path: &Path) -> std::io::Result<()> {
        SystemFiles.try_append(path)
    }
}

/// A directory of its own under the target's temporary place.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("redoxide-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Standard error of a Redis that is given these arguments, when it gives up over them.
fn start_error(program: &Path, args: &[OsString]) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        // A configuration without any listener ends the server.
        .args(["--port", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    if let Some(stderr) = &mut child.stderr {
        std::io::Read::read_to_string(stderr, &mut text).unwrap();
    }
    let _ = child.wait();
    text.contains("FATAL CONFIG").then_some(text)
}

#[test]
fn errors_at_start_are_those_of_redis_8() {
    let Some(program) = Peer::Redis8.find() else {
        eprintln!("skipped: no Redis 8 on this machine");
        return;
    };
    let scratch = Scratch::new("start-errors");
    let included = scratch.file("included.conf", "hz 20\n\nhz nope\n");
    let files = [
        "# comment\n\n  port 0  \ntimeout \"12\n".to_owned(),
        "port 0\ntimeout 1 2\n".to_owned(),
        "port 0\ntimeout\n".to_owned(),
        "port 0\n\ttimeout x\r\nhz 10".to_owned(),
        "nosuch\n".to_owned(),
        "save 900\n".to_owned(),
        "save 900 x\n".to_owned(),
        "save \"900 1\"\nsave \"300 10 5\"\n".to_owned(),
        "appendfsync never\n".to_owned(),
        "unixsocketperm 9\n".to_owned(),
        "replicaof a\n".to_owned(),
        "replicaof a 70000\n".to_owned(),
        "replicaof no one\nhz -1\n".to_owned(),
        "client-output-buffer-limit normal 1 2\n".to_owned(),
        "oom-score-adj-values 1 2\n".to_owned(),
        "bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n".to_owned(),
        "dbfilename a/b\n".to_owned(),
        "dir /nonexistent/place\n".to_owned(),
        "timeout '12'\nhz 'a\\'b'\n".to_owned(),
        "timeout \"\\x31\"\nhz \"\\x41\"\n".to_owned(),
        "port 0 # not a comment\n".to_owned(),
        "sentinel monitor a b 1 2\n".to_owned(),
        "logfile /nonexistent/x.log\n".to_owned(),
        "list-max-ziplist-entries 5\nlua-replicate-commands yes\nio-threads-do-reads yes\nhz y\n"
            .to_owned(),
        "shutdown-on-sigterm save nosave\n".to_owned(),
        "shutdown-on-sigterm\n".to_owned(),
        "notify-keyspace-events KEx?\n".to_owned(),
        "maxmemory-clients 200%\n".to_owned(),
        "proc-title-template {x}\n".to_owned(),
        "latency-tracking-info-percentiles 200\n".to_owned(),
        format!("include {}\n", included.display()),
        format!("include {}/in*.conf\n", scratch.0.display()),
        "enable-debug-command maybe\n".to_owned(),
        "activedefrag yes\n".to_owned(),
        "maxclients 0\n".to_owned(),
    ];
    let mut cases: Vec<Vec<OsString>> = Vec::new();
    for (index, text) in files.iter().enumerate() {
        cases.push(vec![scratch.file(&format!("{index}.conf"), text).into()]);
    }
    let file = scratch
        .file("good.conf", "hz 20\nmaxmemory 1gb\n")
        .into_os_string();
    let lines: &[&[&str]] = &[
        &["--port"],
        &["--port", "x"],
        &["--port", "0", "1"],
        &[
            "--save", "900", "1", "300", "10", "--save", "60", "--hz", "x",
        ],
        &["--save", "--hz", "x"],
        &["--save", "", "--hz", "x"],
        &["--hz", "--timeout"],
        &["--hz", "--timeout", "5"],
        &["--hz 20", "--timeout x"],
        &["--replicaof", "localhost 6379", "--hz", "x"],
        &["--replicaof", "localhost"],
        &["--requirepass", "--secret", "--hz", "x"],
        &["--bind", "127.0.0.1", "::1", "--hz", "x"],
        &["--shutdown-on-sigterm", "now", "wrong"],
        &["--maxmemory", "1tb"],
        &["--masterauth", "a\"b\\c\n", "--hz", "\u{1}"],
    ];
    for line in lines {
        cases.push(line.iter().map(OsString::from).collect());
        let mut with_file = vec![file.clone()];
        with_file.extend(line.iter().map(OsString::from));
        cases.push(with_file);
    }
    for case in cases {
        let theirs = start_error(&program, &case);
        let mut args = case.clone();
        args.extend(["--port", "0"].map(OsString::from));
        let ours = Config::load(&args, &mut TestFiles::default())
            .err()
            .map(|error| format!("{error}\n"));
        assert_eq!(ours, theirs, "{case:?}");
    }
}

#[test]
fn rewrite_gives_the_file_of_redis_8() {
    let Some(program) = Peer::Redis8.find() else {
        eprintln!("skipped: no Redis 8 on this machine");
        return;
    };
    let scratch = Scratch::new("rewrite");
    let changes: &[(&str, &str)] = &[
        ("maxmemory", "3gb"),
        ("hz", "33"),
        ("save", "100 1 200 2 300 3"),
        ("masterauth", "a \"quoted\" \\ word"),
        ("client-output-buffer-limit", "pubsub 1mb 1000 7"),
        ("notify-keyspace-events", "KEA"),
        ("maxmemory-policy", "allkeys-lru"),
        ("timeout", "0"),
        ("latency-tracking-info-percentiles", "1 2.5"),
        ("shutdown-on-sigterm", "now force"),
        ("oom-score-adj-values", "1 2 3"),
        ("maxmemory-clients", "5%"),
        ("repl-backlog-size", "1500000"),
        ("slowlog-log-slower-than", "-1"),
        ("appendfsync", "always"),
        ("replica-announce-ip", "1.2.3.4"),
        ("watchdog-period", "0"),
        ("masteruser", ""),
    ];
    let files = [
        "",
        "# Comment one\n\n\n\n# Comment two\nhz 10\n\nhz 20\n   # indented\nsave 1 1\nsave 2 2\ntimeout 5\n",
        "save 1 1\nsave 2 2\nsave 3 3\nsave 4 4\nslave-read-only yes\nmaxmemory 100mb\nMAXMEMORY 5mb\n\
         client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit replica 1 2 3 pubsub 1 2 3\n",
        "save \"\"\nmasteruser me\nmasterauth \"\"\n# Generated by CONFIG REWRITE\nhz 12\n",
        "# tail\nrename-command FLUSHALL \"\"\nrename-command KEYS \"a b\"\nloglevel verbose",
        "list-max-ziplist-size -2\nuser default on #2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae ~* +@all &*\nhash-max-ziplist-entries 512\nreplicaof no one\nrequirepass \"foo\"\n\
         lua-replicate-commands yes\nmin-slaves-to-write 0\nunixsocketperm 700\nbind 127.0.0.1 -::1\n",
    ];
    for (index, text) in files.iter().enumerate() {
        for changes in [&[][..], changes] {
            let port = free_port();
            let dir = scratch.0.display();
            let text = format!("{text}\nport {port}\ndir {dir}\n");
            let path = scratch.file(&format!("{index}.conf"), &text);
            let mut child = Command::new(&program)
                .arg(&path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let connect = || Client::connect(port);
            wait_until("the peer", || connect().is_ok());
            let mut client = connect().unwrap();
            let has_password = text.contains("requirepass");
            if has_password {
                client.text("AUTH foo");
            }
            let mut config =
                Config::load(&[path.clone().into()], &mut TestFiles::default()).unwrap();
            for (name, value) in changes {
                assert_eq!(
                    client.call(&["CONFIG", "SET", name, value]).to_string(),
                    "OK"
                );
                let pairs = [(name.as_bytes(), value.as_bytes())];
                let _ = config.set(&pairs, SetContext::default()).unwrap();
            }
            assert_eq!(client.text("CONFIG REWRITE"), "OK");
            let theirs = std::fs::read_to_string(&path).unwrap();
            child.kill().unwrap();
            let _ = child.wait();
            let ours = String::from_utf8(config.rewrite(Some(text.as_bytes()))).unwrap();
            assert_eq!(sorted_tail(&ours), sorted_tail(&theirs), "file {index}");
            // A rewritten file gives the same configuration.
            let again = scratch.file("again.conf", &ours);
            let again = Config::load(&[again.into()], &mut TestFiles::default()).unwrap();
            for row in DIRECTIVES {
                assert_eq!(again.show(row.id), config.show(row.id), "{}", row.name);
            }
        }
    }
}

/// The text with the appended options in a fixed order; Redis's follows a hash table.
fn sorted_tail(text: &str) -> String {
    let mark = "# Generated by CONFIG REWRITE\n";
    let (head, tail) = match text.split_once(mark) {
        Some((head, tail)) => (head.to_owned() + mark, tail),
        None => (text.to_owned(), ""),
    };
    let mut tail: Vec<&str> = tail.lines().collect();
    tail.sort_unstable();
    head + &tail.join("\n")
}

#[test]
fn the_oom_score_follows_the_role_and_is_left_alone_when_off() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let path = format!("/proc/{}/oom_score_adj", server.pid());
    let score = || -> i64 {
        let text = std::fs::read_to_string(&path).unwrap();
        text.trim().parse().unwrap()
    };
    let base = score();
    let mut set = |line: &str, expected: i64| {
        assert!(client.text(line).starts_with("OK"), "{line}");
        assert_eq!(score(), expected, "{line}");
    };
    set("CONFIG SET oom-score-adj-values \"10 20 30\"", base);
    set("CONFIG SET oom-score-adj yes", base + 10);
    set("REPLICAOF 127.0.0.1 1", base + 20);
    set("REPLICAOF NO ONE", base + 10);
    // A save is a thread: the third value, of children, has nobody to apply to.
    set("SET k v", base + 10);
    set("CONFIG SET rdb-key-save-delay 1000000", base + 10);
    let mut saving = server.client();
    assert!(saving.text("BGSAVE").starts_with("Background"));
    set("CONFIG SET rdb-key-save-delay 0", base + 10);
    set("CONFIG SET oom-score-adj no", base);
    // Somebody else's value stays, and is the new base.
    std::fs::write(&path, (base + 5).to_string()).unwrap();
    set("CONFIG SET oom-score-adj-values \"7 7 7\"", base + 5);
    set("CONFIG SET oom-score-adj relative", base + 12);
    set("CONFIG SET oom-score-adj no", base + 5);
}

#[test]
fn a_bad_address_to_bind_changes_nothing() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let before = client.text("CONFIG GET bind");
    for bind in ["999.999.999.999", "127.0.0.1 127.0.0.1"] {
        let reply = client.call(&["CONFIG", "SET", "bind", bind]).to_string();
        assert!(
            reply.ends_with("Failed to bind to specified addresses."),
            "{bind}: {reply}"
        );
    }
    assert_eq!(client.text("CONFIG GET bind"), before);
    let restored = "# Failed applying new configuration. Possibly related to new bind setting. Restoring previous settings.\n";
    assert_eq!(server.log().matches(restored).count(), 2);
    assert_eq!(server.client().text("PING"), "PONG");
}

#[test]
fn addresses_in_use_can_be_bound_again() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for bind in [
        "127.0.0.1 -::1",
        "127.0.0.1",
        "127.0.0.1 127.0.0.2",
        "127.0.0.1",
    ] {
        let reply = client.call(&["CONFIG", "SET", "bind", bind]);
        assert_eq!(reply.to_string(), "OK", "{bind}");
        assert_eq!(server.client().text("PING"), "PONG", "{bind}");
    }
}
