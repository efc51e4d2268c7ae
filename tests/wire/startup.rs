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
        assert!(!output.stderr.is_empty(), "{name}");
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

#[test]
fn a_supervisor_is_told_when_it_is_ready() {
    let scratch = Scratch::new("notify");
    let path = scratch.0.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut child = Command::new(target())
        .args([
            "--supervised",
            "auto",
            "--save",
            "",
            "--port",
            &free_port().to_string(),
        ])
        .current_dir(&scratch.0)
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = String::new();
    let mut message = [0; 256];
    while !heard.contains("READY=1") {
        let count = socket.recv(&mut message).unwrap();
        heard.push_str(&text(&message[..count]));
    }
    child.kill().unwrap();
    let log = text(&child.wait_with_output().unwrap().stdout);
    assert!(log.contains(
        "* Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and TimeoutStopSec \
         in your service unit.\n"
    ));
}

#[test]
fn the_logo_names_the_process() {
    let server = Server::start(&["--always-show-logo", "yes"]);
    assert!(server.log().contains(&format!("PID: {}", server.pid())));
    assert!(server.log().contains(&format!("Port: {}", server.port())));
}
