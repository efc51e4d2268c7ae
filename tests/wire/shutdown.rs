//! How the server ends: what it says, what it leaves behind, and who insists.

use crate::harness::{Server, wait_until};

/// A server with a replica that stands still and lacks a write, so that a shutdown has to wait.
fn with_lagging_replica() -> (Server, Server) {
    let args = ["--repl-diskless-sync-delay", "0", "--shutdown-timeout"];
    let server = Server::start(&[&args[..], &["3600"]].concat());
    let replica = Server::start(&[]);
    replica
        .client()
        .text(&format!("REPLICAOF 127.0.0.1 {}", server.port()));
    let mut client = server.client();
    wait_until("the replica is online", || {
        client
            .info("replication", "slave0")
            .contains("state=online")
    });
    replica.signal("STOP");
    assert_eq!(client.text("SET k v"), "OK");
    (server, replica)
}

fn wait_for_line(server: &Server, text: &str) {
    wait_until(text, || server.log().contains(text));
}

fn count(server: &Server, text: &str) -> usize {
    server.log().matches(text).count()
}

const WAITS: &str = "Waiting for replicas before shutting down.";
const INSISTS: &str = "You insist... exiting now.\n";

#[test]
fn an_interrupt_insists_on_a_shutdown_that_a_signal_asked_for() {
    for first in ["TERM", "INT"] {
        let (mut server, _replica) = with_lagging_replica();
        server.signal(first);
        wait_for_line(&server, WAITS);
        // SIGTERM never does.
        let before = count(&server, "Received SIGTERM");
        server.signal("TERM");
        wait_until("the second signal", || {
            count(&server, "Received SIGTERM") > before
        });
        assert_eq!(server.client().text("PING"), "PONG");
        server.signal("INT");
        assert_eq!(server.wait_for_exit(), Some(1));
        let log = server.log();
        assert!(log.ends_with(INSISTS), "{log}");
        // SIGTERM or SIGINT, SIGTERM, and the insisting.
        let handlers = log
            .lines()
            .filter(|line| line.contains(":signal-handler ("));
        assert_eq!(handlers.count(), 3, "{log}");
    }
}

#[test]
fn after_a_shutdown_was_called_off_an_interrupt_asks_anew() {
    let (mut server, _replica) = with_lagging_replica();
    server.signal("TERM");
    wait_for_line(&server, WAITS);
    assert_eq!(server.client().text("SHUTDOWN ABORT"), "OK");
    assert_eq!(server.client().text("SET k w"), "OK");
    server.signal("INT");
    wait_until("it waits again", || count(&server, WAITS) == 2);
    assert_eq!(server.client().text("PING"), "PONG");
    server.signal("INT");
    assert_eq!(server.wait_for_exit(), Some(1));
}

#[test]
fn pid_file_and_unix_socket_go_with_the_server() {
    let dir = std::env::temp_dir().join(format!("redoxide-end-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (socket, pid_file) = (path("server.sock"), path("server.pid"));
    let files = ["--unixsocket", &socket, "--pidfile", &pid_file];
    let mut server = Server::start(&[&files[..], &["--save", "1000 1000"]].concat());
    assert!(std::fs::exists(&socket).unwrap() && std::fs::exists(&pid_file).unwrap());
    server.signal("TERM");
    assert_eq!(server.wait_for_exit(), Some(0));
    assert!(!std::fs::exists(&socket).unwrap() && !std::fs::exists(&pid_file).unwrap());
    let log = server.log();
    let lines = log.lines().rev().take(6).map(|line| {
        let text = line.splitn(6, ' ').nth(5);
        text.unwrap_or_default().to_owned()
    });
    let mut lines: Vec<String> = lines.collect();
    lines.reverse();
    assert_eq!(
        lines,
        [
            "* User requested shutdown...",
            "* Saving the final RDB snapshot before exiting.",
            "* DB saved on disk",
            "* Removing the pid file.",
            "* Removing the unix socket file.",
            "# Redis is now ready to exit, bye bye...",
        ]
    );
    let _ = std::fs::remove_dir_all(&dir);
}
