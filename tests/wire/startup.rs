//! The program itself: its names, what it says of itself, how it goes to the background, what it
//! tells a supervisor, and its log.
#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::{Client, Peer, Server, free_port, target, wait_until};

fn run(args: &[&str]) -> Output {
    Command::new(target()).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("redoxide-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_version_line_is_what_scripts_look_for() {
    for flag in ["-v", "--version"] {
        let output = run(&[flag]);
        assert!(output.status.success());
        assert!(
            text(&output.stdout).starts_with("Redis server v="),
            "{output:?}"
        );
    }
}

#[test]
fn what_cannot_be_done_is_refused_clearly() {
    for args in [
        &["--sentinel"][..],
        &["--test-memory", "10"],
        &["--loadmodule", "x.so"],
        &["--aclfile", "x"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    let output = run(&["--port", "0", "--rename-command", "nosuch", "x"]);
    assert!(text(&output.stderr).ends_with(
        "at line 3\n>>> 'rename-command \"nosuch\" \"x\"'\nNo such command in rename-command\n"
    ));
    for args in [["--port", "0"], ["--bind", ""]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(1));
        let log = text(&output.stdout);
        assert!(log.contains("* Running mode=standalone, port="), "{log}");
        assert!(log.ends_with("# Configured to not listen anywhere, exiting.\n"));
    }
    for (args, line) in [
        (&["-"][..], "* Reading config from stdin\n"),
        (
            &["--supervised", "systemd"],
            "# systemd supervision error: NOTIFY_SOCKET not found!\n",
        ),
        (
            &["--supervised", "upstart"],
            "# upstart supervision requested, but UPSTART_JOB not found!\n",
        ),
    ] {
        let output = Command::new(target())
            .args(args)
            .args(["--port", "0"])
            .env_remove("NOTIFY_SOCKET")
            .env_remove("UPSTART_JOB")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let log = text(&output.stdout);
        let place = log.find(line).expect(line);
        let starting = log.find("Redis is starting").unwrap();
        assert!(place < starting, "{log}");
    }
}

#[test]
fn other_names_do_other_things() {
    let scratch = Scratch::new("names");
    for name in ["redis-check-rdb", "redis-check-aof", "redis-sentinel"] {
        let link = scratch.0.join(name);
        std::os::unix::fs::symlink(target(), &link).unwrap();
        let output = Command::new(&link).arg("/nonexistent").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(!output.stderr.is_empty(), "{name} says why");
        // The check says what it was to check, as Redis's does.
        let checks = name == "redis-check-rdb";
        let said = if checks {
            "[offset 0] Checking RDB file /nonexistent\n"
        } else {
            ""
        };
        assert_eq!(text(&output.stdout), said);
    }
    for flag in ["-v", "--version"] {
        let output = Command::new(scratch.0.join("redis-check-rdb"))
            .arg(flag)
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(text(&output.stdout).starts_with("redis-check-rdb v=8.0.6 sha=00000000:0 malloc="));
    }
}

/// Of files with every type, written here and by Redis: what redis-check-rdb 8.0 says of these.
#[test]
fn files_with_every_type_are_checked() {
    let scratch = Scratch::new("check");
    let link = scratch.0.join("redis-check-rdb");
    std::os::unix::fs::symlink(target(), &link).unwrap();
    let args = ["--hash-max-listpack-entries", "2"];
    let servers = [Some(Server::start(&args)), Peer::Redis8.start(&args)];
    for server in servers.iter().flatten() {
        let mut client = server.client();
        for line in [
            "SET s 1 EX 1000",
            "SET late 1 PX 1",
            "RPUSH l a b c",
            "SADD t a b",
            "SADD ti 1 2",
            "ZADD z 1 a",
            "HSET h a 1 b 2",
            "HSET large a 1 b 2 c 3",
            "HSET small a 1",
            "HPEXPIRE large 1000000 FIELDS 2 a b",
            "HPEXPIRE small 1000000 FIELDS 1 a",
            "XADD x 1-1 f v",
            "XGROUP CREATE x g 0",
            "XREADGROUP GROUP g c STREAMS x >",
            "PFADD p a b",
        ] {
            client.text(line);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
        client.text("GET late");
        assert_eq!(client.text("SAVE"), "OK");
        let file = server.dir().join("dump.rdb");
        let output = Command::new(&link).arg(file).output().unwrap();
        let report = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{report}");
        let end = "\\o/ RDB looks OK! \\o/\n[info] 10 keys read\n[info] 1 expires\n[info] 0 already expired\n\
            [info] 2 subexpires\n";
        assert!(
            report.contains("] Checksum OK\n") && report.ends_with(end),
            "{report}"
        );
    }
}

#[test]
fn a_daemon_leaves_a_pid_file_and_a_log() {
    let scratch = Scratch::new("daemon");
    let dir = scratch.0.to_str().unwrap();
    let pid_file = scratch.0.join("server.pid");
    let port = free_port();
    let output = run(&[
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--daemonize",
        "yes",
        "--dir",
        dir,
        "--pidfile",
        pid_file.to_str().unwrap(),
        "--logfile",
        "server.log",
        "--save",
        "",
    ]);
    assert!(output.status.success());
    wait_until("the daemon", || Client::connect(port).is_ok());
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let mut client = Client::connect(port).unwrap();
    assert_eq!(client.info("server", "process_id"), pid.trim());
    let title = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap();
    assert!(
        text(&title).contains(&format!(" 127.0.0.1:{port}")),
        "{}",
        text(&title)
    );
    assert!(
        Command::new("kill")
            .arg(pid.trim())
            .status()
            .unwrap()
            .success()
    );
    wait_until("the end of the daemon", || !pid_file.exists());
    let log = std::fs::read_to_string(scratch.0.join("server.log")).unwrap();
    for line in [
        "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo",
        "* Configuration loaded",
        &format!("* Running mode=standalone, port={port}."),
        "* Server initialized",
        "* Ready to accept connections tcp",
    ] {
        assert!(log.contains(line), "no {line:?} in\n{log}");
    }
}

/// Starts a server under a supervisor that hears until `last`, which SIGTERM may bring; what was heard, and the log.
fn supervised(name: &str, args: &[&str], stops: bool, last: &str) -> (String, String) {
    let scratch = Scratch::new(name);
    let path = scratch.0.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut child = Command::new(target())
        .args(["--supervised", "auto", "--port", &free_port().to_string()])
        .args(args)
        .current_dir(&scratch.0)
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = String::new();
    let mut message = [0; 256];
    let mut asked = !stops;
    while !heard.ends_with(last) {
        let count = socket.recv(&mut message).unwrap();
        heard.push_str(&text(&message[..count]));
        if heard.ends_with("READY=1\n") && !std::mem::replace(&mut asked, true) {
            let status = Command::new("kill").arg(child.id().to_string()).status();
            assert!(status.unwrap().success());
        }
    }
    if !stops {
        child.kill().unwrap();
    }
    (heard, text(&child.wait_with_output().unwrap().stdout))
}

#[test]
fn a_supervisor_is_told_how_it_is() {
    let saves = ["--save", "100 1"];
    let last = "STATUS=Saving the final RDB snapshot\n";
    let (heard, log) = supervised("notify", &saves, true, last);
    assert_eq!(
        heard,
        format!(
            "STATUS=Redis is loading...\nSTATUS=Ready to accept connections\nREADY=1\nSTOPPING=1\n{last}"
        )
    );
    assert!(log.contains(
        "* Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and TimeoutStopSec \
         in your service unit.\n"
    ));
}

#[test]
fn a_supervisor_is_told_of_a_synchronization() {
    let master = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let follows = ["--replicaof", "127.0.0.1", &master.port().to_string()];
    let last = "STATUS=MASTER <-> REPLICA sync: Finished with success. Ready to accept connections in read-write mode.\n";
    let (heard, _) = supervised("notify-replica", &follows, false, last);
    assert_eq!(
        heard,
        format!(
            "STATUS=Redis is loading...\nSTATUS=Ready to accept connections in read-only mode. Waiting for MASTER \
             <-> REPLICA sync\nREADY=1\n{last}"
        )
    );
}

#[test]
fn listeners_are_those_there_are() {
    let nowhere = run(&["--bind", "-192.0.2.1", "--port", &free_port().to_string()]);
    assert_eq!(nowhere.status.code(), Some(1));
    let log = text(&nowhere.stdout);
    assert!(
        log.ends_with(" # Configured to not listen anywhere, exiting.\n"),
        "{log}"
    );
    let server = Server::start(&[
        "--bind",
        "127.0.0.1",
        "-192.0.2.1",
        "--unixsocket",
        "l.sock",
    ]);
    let mut client = server.client();
    let tcp = format!("name=tcp,bind=127.0.0.1,port={}", server.port());
    assert_eq!(client.info("server", "listener0"), tcp);
    assert_eq!(client.info("server", "listener1"), "name=unix,bind=l.sock");
}

#[test]
fn the_title_follows_the_configuration() {
    let server = Server::start(&["--bind", "127.0.0.1", "-192.0.2.1"]);
    let title = || {
        let bytes = std::fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap();
        text(&bytes).trim_end_matches('\0').to_owned()
    };
    let (port, mut client) = (server.port(), server.client());
    let name = target().display().to_string();
    assert_eq!(title(), format!("{name} 127.0.0.1:{port}"));
    assert_eq!(client.text("CONFIG SET bind \"* -::*\""), "OK");
    assert_eq!(title(), format!("{name} *:{port}"));
    assert_eq!(
        client.text("CONFIG SET proc-title-template \"{title} at {port}\""),
        "OK"
    );
    assert_eq!(title(), format!("{name} at {port}"));
}

#[test]
fn the_logo_names_the_process() {
    let server = Server::start(&["--always-show-logo", "yes"]);
    assert!(server.log().contains(&format!("PID: {}", server.pid())));
    assert!(server.log().contains(&format!("Port: {}", server.port())));
}
