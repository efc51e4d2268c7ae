//! Crash reports: what the log says of a failure, and how the process ends.

use std::os::unix::process::ExitStatusExt;

use crate::harness::{Server, wait_until};

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

/// A server that a DEBUG subcommand has ended, the signal or code it ended with, and its log.
fn crashed(args: &[&str], command: &str) -> (Result<i32, i32>, String) {
    let mut server = Server::start(&[&DEBUG, args].concat());
    let mut client = server.client();
    // On a busy machine helpers may not have come to wait for work when the server answers: nobody runs when they have.
    wait_until("the helpers wait", || {
        let threads = threads(server.pid());
        let is_there = |name: &&str| threads.iter().any(|(found, _)| found == name);
        ["free", "sync", "save"].iter().all(is_there)
            && threads.iter().all(|(_, state)| *state == 'S')
    });
    client.send(format!("{command}\r\n").as_bytes());
    let status = server.wait_for_end().unwrap();
    let end = status.signal().ok_or(status.code().unwrap_or(-1));
    (end, server.log())
}

/// The names of a server's threads and their states, `S` when they sleep.
fn threads(pid: u32) -> Vec<(String, char)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lines =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let parts = |line: String| {
        let (_, rest) = line.split_once('(')?;
        let (name, rest) = rest.rsplit_once(") ")?;
        Some((name.to_owned(), rest.chars().next()?))
    };
    lines.filter_map(parts).collect()
}

/// The parts must stand in the log in this order.
fn in_order(log: &str, parts: &[&str]) {
    let mut rest = log;
    for part in parts {
        let Some(at) = rest.find(part) else {
            panic!("no {part:?} in its place:\n{log}");
        };
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn a_forbidden_access_is_reported() {
    let (end, log) = crashed(&[], "DEBUG SEGFAULT");
    assert_eq!(end, Ok(11));
    in_order(
        &log,
        &[
            "=== REDIS BUG REPORT START: Cut & paste starting from here ===",
            "crashed by signal: 11, si_code: 2",
            "Accessing address: 0x",
            "Crashed running the instruction at: 0x",
            "------ STACK TRACE ------\nEIP:\n",
            "4/4 expected stacktraces.",
            "------ STACK TRACE DONE ------",
            "------ REGISTERS ------",
            "------ INFO OUTPUT ------",
            "# Server\nredis_version:",
            "# Keyspace",
            "------ CLIENT LIST OUTPUT ------\nid=",
            "------ CURRENT CLIENT INFO ------\nid=",
            "argc: '2'\nargv[0]: '\"DEBUG\"'\nargv[1]: '\"SEGFAULT\"'\n",
            "=== REDIS BUG REPORT END.",
        ],
    );
    // The loop's thread and the three helpers, by the names that Redis gives them.
    assert!(log.contains(" debugCommand\n"), "{log}");
    assert_eq!(
        log.matches(" bioProcessBackgroundJobs\n").count(),
        3,
        "{log}"
    );
    for helper in ["free", "save", "sync"] {
        assert!(log.contains(&format!(" {helper}\n")), "{helper}: {log}");
    }
}

#[test]
fn user_data_is_hidden_from_reports() {
    let hide = ["--hide-user-data-from-log", "yes"];
    let (end, log) = crashed(&hide, "DEBUG SEGFAULT");
    assert_eq!(end, Ok(11));
    in_order(
        &log,
        &[
            "hide-user-data-from-log is on, skip logging stack content to avoid spilling PII.",
            "argv[0]: '\"DEBUG\"'\nargv[1]: '*redacted*'\n",
        ],
    );
    let (_, log) = crashed(&hide, "DEBUG ASSERT");
    in_order(
        &log,
        &[
            "client->argv[0] = \"DEBUG\"\n",
            "client->argv[1] = *redacted*\n",
        ],
    );
}

#[test]
fn a_failed_assertion_is_reported() {
    let (end, log) = crashed(&[], "DEBUG ASSERT");
    assert_eq!(end, Ok(6));
    in_order(
        &log,
        &[
            "=== REDIS BUG REPORT START",
            "=== ASSERTION FAILED CLIENT CONTEXT ===",
            "client->argv[1] = \"ASSERT\"\n",
            "=== ASSERTION FAILED ===",
            "==> src/command/debug.rs:",
            " debugCommand\n",
            "------ STACK TRACE DONE ------",
            "=== REDIS BUG REPORT END",
        ],
    );
    let (end, _) = crashed(&["--use-exit-on-panic", "yes"], "DEBUG ASSERT");
    assert_eq!(end, Err(1));
}

#[test]
fn a_panic_is_reported() {
    let (end, log) = crashed(&[], "DEBUG PANIC");
    assert_eq!(end, Ok(6));
    in_order(
        &log,
        &[
            "!!! Software Failure.",
            "Guru Meditation: DEBUG PANIC called at Unix time ",
            "------ STACK TRACE ------",
            "------ CURRENT CLIENT INFO ------",
            "argv[1]: '\"PANIC\"'",
            "=== REDIS BUG REPORT END",
        ],
    );
    assert_eq!(log.matches("BUG REPORT START").count(), 1);
}

#[test]
fn without_crash_log_the_system_has_the_word() {
    let (end, log) = crashed(&["--crash-log-enabled", "no"], "DEBUG SEGFAULT");
    assert_eq!(end, Ok(11));
    assert!(!log.contains("BUG REPORT"), "{log}");
}

#[test]
fn a_signal_from_outside_names_its_sender_and_the_report_goes_to_the_log_file() {
    let mut server = Server::start(&["--logfile", "crash.log"]);
    let path = server.dir().join("crash.log");
    let log = || std::fs::read_to_string(&path).unwrap();
    server.signal("ALRM");
    wait_until("the stack trace", || log().contains("STACK TRACE DONE"));
    assert!(log().contains("\nReceived SIGALRM\n"), "{}", log());
    assert_eq!(server.client().text("PING"), "PONG");
    server.signal("ABRT");
    assert_eq!(server.wait_for_end().unwrap().signal(), Some(6));
    in_order(
        &log(),
        &[
            "crashed by signal: 6, si_code: 0",
            "Killed by PID: ",
            "=== REDIS BUG REPORT END",
        ],
    );
}

#[test]
fn the_watchdog_says_where_a_slow_command_is() {
    let server = Server::start(&DEBUG);
    let mut client = server.client();
    assert_eq!(client.text("CONFIG SET watchdog-period 1500"), "OK");
    assert_eq!(client.text("DEBUG SLEEP 0.1"), "OK");
    assert!(!server.log().contains("WATCHDOG"));
    assert_eq!(client.text("DEBUG SLEEP 1.8"), "OK");
    in_order(
        &server.log(),
        &[
            ":signal-handler (",
            "--- WATCHDOG TIMER EXPIRED ---",
            " debugCommand\n",
            "------ STACK TRACE DONE ------",
        ],
    );
    assert_eq!(client.text("CONFIG SET watchdog-period 0"), "OK");
    assert_eq!(client.text("DEBUG SLEEP 0.6"), "OK");
    assert_eq!(server.log().matches("WATCHDOG").count(), 1);
}
