//! Runs one unit of a suite against a server binary and says what became of each test.
//!
//! A unit runs in a directory of its own: the suite's tests/ by links, tests/tmp its own, the server's names in src/.
//! `watch.tcl` tells each change of state on a line, and turns an exception into the failure of the test or set-up that
//! it happens in. What remains to end a unit early is a hang, an exception outside of tests, and the loss of its server:
//! after a hang or a lost server the unit runs again without the test it happened in, so that the rest gets its turn.
//!
//! Invariant: the suite is a process group, and what is left of it is killed while its leader is not yet waited for,
//! so the group's id cannot mean anybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::iter;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::lists::SET_UP;
use crate::suite::Suite;
use crate::tools::Tools;

/// For one unit, its repetitions included.
const UNIT_LIMIT: Duration = Duration::from_secs(900);
/// Without any line from the suite; some tests of the real servers are silent for a minute.
const STALL_LIMIT: Duration = Duration::from_secs(150);
/// How often a unit runs again past a test it died in.
const REPETITIONS_MAX: usize = 5;
/// Lines of a failure's message that are kept.
const MESSAGE_LINES_MAX: usize = 30;

/// What became of the tests of one unit.
#[derive(Default)]
pub struct Results {
    /// Name → how often it passed.
    pub passed: BTreeMap<String, usize>,
    /// Name → the first message.
    pub failed: BTreeMap<String, String>,
    /// Failures outside of tests.
    pub set_up: Vec<String>,
    /// What ended the unit early, if anything did.
    pub died: Option<String>,
    pub elapsed: Duration,
}

impl Results {
    /// Names of the tests that ran, once for each time they passed, or once if they only failed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let passed = self.passed.iter();
        let passed = passed.flat_map(|(name, times)| iter::repeat_n(name.as_str(), *times));
        let failed = self.failed.keys().map(String::as_str);
        passed.chain(failed.filter(|name| !self.passed.contains_key(*name)))
    }

    /// What becomes of a second attempt after `first`: a test that passed in one of them has passed.
    pub fn or(mut self, first: Results) -> Results {
        self.failed
            .retain(|name, _| !first.passed.contains_key(name) || first.failed.contains_key(name));
        for (name, times) in first.passed {
            let most = self.passed.entry(name).or_default();
            *most = times.max(*most);
        }
        self
    }

    /// Name and message of everything that went wrong, in tests and outside of them.
    pub fn all_failures(&self) -> impl Iterator<Item = (&str, &str)> {
        let failed = self.failed.iter();
        let failed = failed.map(|(name, message)| (name.as_str(), message.as_str()));
        let outside = self.set_up.iter().chain(&self.died);
        failed.chain(outside.map(|message| (SET_UP, message.as_str())))
    }
}

/// Where a unit runs.
pub struct Place<'a> {
    /// Made by `run`.
    pub directory: &'a Path,
    pub ports: &'a Ports,
    /// Set when the whole run is to end.
    pub stop: &'a AtomicBool,
}

/// What a unit is run without.
#[derive(Clone, Default)]
pub struct Omissions {
    pub tests: BTreeSet<String>,
    /// Checks of OBJECT ENCODING.
    pub encodings: bool,
}

/// Runs `unit` but for `omissions`.
pub fn run(
    suite: &Suite,
    unit: &str,
    omissions: &Omissions,
    tools: &Tools,
    place: &Place,
) -> io::Result<Results> {
    let start = Instant::now();
    let mut omissions = omissions.clone();
    let mut culprits = BTreeMap::new();
    prepare(suite, tools, place.directory)?;
    for repetition in 0.. {
        let mut attempt = Attempt::run(unit, &omissions, place, start + UNIT_LIMIT)?;
        let culprit = attempt.culprit.take();
        let may_repeat = repetition < REPETITIONS_MAX && start.elapsed() < UNIT_LIMIT;
        let mut results = attempt.results;
        if let Some((name, message)) = culprit {
            let is_new = omissions.tests.insert(name.clone());
            culprits.insert(name, message);
            if may_repeat && is_new {
                continue;
            }
        }
        // the last attempt went through all that the earlier ones did, but for the tests they died in
        results.failed.extend(culprits);
        results.elapsed = start.elapsed();
        return Ok(results);
    }
    unreachable!("the last repetition returns");
}

/// The suite's root as it expects it, with the server in place of its own.
fn prepare(suite: &Suite, tools: &Tools, directory: &Path) -> io::Result<()> {
    let tests = directory.join("tests");
    let source = directory.join("src");
    fs::create_dir_all(tests.join("tmp"))?;
    fs::create_dir_all(&source)?;
    for entry in fs::read_dir(suite.root.join("tests"))? {
        let entry = entry?;
        if entry.file_name() != "tmp" {
            symlink(entry.path(), tests.join(entry.file_name()))?;
        }
    }
    for name in [
        "redis-server",
        "redis-check-rdb",
        "redis-check-aof",
        "redis-sentinel",
    ] {
        symlink(&tools.server, source.join(name))?;
    }
    symlink(&tools.cli, source.join("redis-cli"))?;
    symlink(&tools.benchmark, source.join("redis-benchmark"))?;
    fs::write(directory.join("watch.tcl"), include_str!("watch.tcl"))
}

/// A range of ports that no other run of this program uses; servers take theirs plus 10000 for the cluster's bus.
pub struct Ports {
    base: u16,
    _claim: TcpListener,
}

impl Ports {
    const COUNT: u16 = 900;
    /// The suite listens on one of the 32 below its base.
    const RESERVED: u16 = 40;

    pub fn claim() -> io::Result<Ports> {
        // below the ephemeral ports of Linux, bus ports aside
        for start in (12_000..22_000).step_by(1000) {
            if let Ok(claim) = TcpListener::bind(("127.0.0.1", start)) {
                return Ok(Ports {
                    base: start + Ports::RESERVED,
                    _claim: claim,
                });
            }
        }
        Err(io::Error::other(
            "no free range of ports between 12000 and 22000",
        ))
    }
}

/// One run of the suite's program.
#[derive(Default)]
struct Attempt {
    results: Results,
    /// Tests that failed or passed, in order, and whether they failed for want of a server.
    order: Vec<(String, bool)>,
    /// The test that runs now, and the failure of a server nested in it.
    current: Option<String>,
    nested: Option<String>,
    /// The unit reached its end.
    is_done: bool,
    /// The test that the rest of the unit is to be run without, and why.
    culprit: Option<(String, String)>,
}

impl Attempt {
    fn run(
        unit: &str,
        omissions: &Omissions,
        place: &Place,
        deadline: Instant,
    ) -> io::Result<Attempt> {
        let Place {
            directory,
            ports,
            stop,
        } = place;
        let names: Vec<&str> = omissions.tests.iter().map(String::as_str).collect();
        fs::write(directory.join("skips"), names.join("\n"))?;
        let mut log = fs::File::options()
            .create(true)
            .append(true)
            .open(directory.join("output"))?;
        let mut child = Command::new("tclsh")
            .args(["watch.tcl", "--single", unit, "--clients", "1"])
            .args(["--dont-clean", "--timeout", "3600"])
            .args(["--baseport", &ports.base.to_string()])
            .args(["--portcount", &Ports::COUNT.to_string()])
            .args(["--skipfile", "skips"])
            .args(omissions.encodings.then_some("--ignore-encoding"))
            .current_dir(directory)
            .env("TERM", "dumb") // no colours
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .process_group(0)
            .spawn()?;
        let lines = read_lines(&mut child);
        let mut attempt = Attempt::default();
        let broken_off = attempt.follow(&lines, &child, stop, deadline, &mut log);
        kill_group(&child)?;
        child.wait()?;
        attempt.conclude(broken_off);
        Ok(attempt)
    }

    /// Takes lines until the suite has ended (None) or has to be ended (why).
    fn follow(
        &mut self,
        lines: &Receiver<String>,
        child: &Child,
        stop: &AtomicBool,
        deadline: Instant,
        log: &mut fs::File,
    ) -> Option<String> {
        let mut last_line = Instant::now();
        loop {
            match lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => {
                    last_line = Instant::now();
                    let _ = writeln!(log, "{line}");
                    self.take(&line);
                }
                // a helper of the suite may outlive it and keep the pipe open
                Err(RecvTimeoutError::Timeout) if has_ended(child) => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            if stop.load(Ordering::Relaxed) {
                return Some("interrupted".to_string());
            }
            if last_line.elapsed() > STALL_LIMIT {
                return Some(format!("hung: silent for {} s", STALL_LIMIT.as_secs()));
            }
            if Instant::now() > deadline {
                return Some(format!("the unit took over {} s", UNIT_LIMIT.as_secs()));
            }
        }
    }

    /// Takes one line of the suite's output.
    fn take(&mut self, line: &str) {
        if let Some(exception) = line.strip_prefix("[exception]: ") {
            self.results.died = Some(exception.to_string());
        }
        let Some((state, data)) = line
            .strip_prefix("@ (")
            .and_then(|rest| rest.split_once(") "))
        else {
            // said once no unit is left
            self.is_done |= line.starts_with("@ SLEEPING");
            // an exception's trace goes on over several lines
            if let Some(died) = &mut self.results.died
                && died.lines().count() < MESSAGE_LINES_MAX
                && !line.starts_with("@ ")
            {
                died.push('\n');
                died.push_str(line);
            }
            return;
        };
        let data = unescape(data);
        match state {
            "IN PROGRESS" => {
                self.current = Some(data);
                self.nested = None;
            }
            "OK" => {
                self.current = None;
                match self.nested.take() {
                    Some(message) => self.fail(data, message),
                    None => {
                        *self.results.passed.entry(data.clone()).or_default() += 1;
                        self.order.push((data, false));
                    }
                }
            }
            "ERR" => {
                let of_test = self
                    .current
                    .as_ref()
                    .and_then(|name| data.strip_prefix(name.as_str())?.strip_prefix(" in "))
                    .map(|message| message.split_once('\n').map_or("", |(_, text)| text));
                match (of_test, &self.current) {
                    (Some(message), Some(name)) => {
                        let (name, message) = (name.clone(), message.to_string());
                        self.current = None;
                        self.fail(name, message);
                    }
                    (None, Some(_)) => self.nested = Some(data),
                    (_, None) => self.results.set_up.push(head(&data)),
                }
            }
            _ => {}
        }
    }

    fn fail(&mut self, name: String, message: String) {
        let has_lost_server = LOST_SERVER.iter().any(|sign| message.contains(sign));
        self.order.push((name.clone(), has_lost_server));
        let failed = &mut self.results.failed;
        failed.entry(name).or_insert_with(|| head(&message));
    }

    /// Finds out what the attempt died of, if it did.
    fn conclude(&mut self, broken_off: Option<String>) {
        if let Some(why) = broken_off {
            match self.current.take() {
                Some(name) => self.culprit = Some((name, why)),
                None => self.results.died = Some(why),
            }
        } else if let Some(pair) = self.order.windows(2).find(|pair| pair[0].1 && pair[1].1) {
            let name = pair[0].0.clone();
            let message = self.results.failed.remove(&name).unwrap_or_default();
            self.culprit = Some((name, message));
        } else if !self.is_done && self.results.died.is_none() {
            self.results.died = Some("the suite ended in mid-unit; see its output".to_string());
        }
    }
}

/// What the suite's client says when the server has gone away.
const LOST_SERVER: &[&str] = &[
    "I/O error reading reply",
    "connection refused",
    "connection reset by peer",
    "broken pipe",
];

/// The child's lines by channel, which closes when nobody can write any more.
fn read_lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

/// Whether the process has ended; it is not waited for.
fn has_ended(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    // "17 (tclsh) Z …"; the name may hold anything
    status
        .rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Kills what is left of the process group that `child`, not yet waited for, leads.
fn kill_group(child: &Child) -> io::Result<()> {
    Command::new("sh")
        .args(["-c", &format!("kill -KILL -{}", child.id())])
        .stderr(Stdio::null())
        .status()?;
    Ok(())
}

/// The inverse of what watch.tcl does to newlines and backslashes.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                other => other.unwrap_or('\\'),
            },
            other => other,
        });
    }
    plain
}

/// The first lines of a message. Of an exception's text the suite gives the end first, and then all of it.
fn head(message: &str) -> String {
    let mut lines: Vec<&str> = message.lines().take(MESSAGE_LINES_MAX).collect();
    if let [end, all, ..] = lines[..]
        && all.ends_with(end)
    {
        lines.remove(0);
    }
    lines.join("\n")
}
