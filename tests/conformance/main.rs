//! `make conformance`: Redis's own Tcl suites, run against this server.
//!
//! Needs Debian's tcl, redis-tools and dpkg-dev; the suites are fetched by `fetch` and kept in a cache. In reading
//! order: `suite` finds a suite, `unit` runs one unit of it, `lists` holds the tests that exist and those that are not
//! expected to pass, `report` judges and counts.
//!
//! The run fails when a test that is not listed fails or does not run, twice: on a busy machine some of upstream's
//! tests time out, so a unit with failures gets a second attempt at the end, with nothing beside it
//! (not if a server crashed). To take a test off the list, delete its line:
//! `make conformance-probe` names those that pass now. When a suite changes, record its tests anew with a real server:
//! `cargo test --release --test conformance -- --reference /usr/bin/redis-server --suite 7.0 --record`
//! (a program, no wrapper script: the suite looks into it).
#![cfg(target_os = "linux")]

mod lists;
mod report;
mod suite;
mod tools;
mod unit;

use std::collections::VecDeque;
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};

use lists::{Expected, Inventory, Reason};
use report::{Tally, Verdict};
use suite::{Suite, VERSIONS};
use tools::Tools;
use unit::{Omissions, Place, Ports, Results};

/// Lines of a failure's message that are shown; the kept output has the rest.
const SHOWN_LINES_MAX: usize = 6;
/// Units that get a second attempt.
const SECOND_ATTEMPTS_MAX: usize = 20;

/// Runs the upstream Tcl suites against this server.
#[derive(Parser)]
struct Options {
    /// Only this suite: 7.0 or 8.0
    #[arg(long)]
    suite: Vec<String>,
    /// Only this unit, as `unit/type/string`
    #[arg(long)]
    unit: Vec<String>,
    /// Run the units with listed tests without skipping those, and name those that pass
    #[arg(long)]
    probe: bool,
    /// Run a real redis-server of the suite's version instead, without skips, and compare with the lists
    #[arg(long, value_name = "PATH")]
    reference: Option<PathBuf>,
    /// With --reference: write the names of the tests that ran to the inventory
    #[arg(long, requires = "reference")]
    record: bool,
    /// Units at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Keep the output and the servers' logs of every unit, not only of those that failed
    #[arg(long)]
    keep: bool,
}

/// What keeps the run from starting or going on, and what to do about it.
#[derive(Debug)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault(error.to_string())
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("conformance: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// A suite with its lists.
struct Course {
    suite: Suite,
    inventory: Inventory,
    expected: Expected,
}

impl Course {
    fn open(version: &'static str, options: &Options) -> Result<Course, Fault> {
        let suite = Suite::open(version)?;
        if options.record {
            return Ok(Course {
                suite,
                inventory: Inventory::default(),
                expected: Expected::default(),
            });
        }
        let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))?;
        let inventory = Inventory::read(&lists::path("inventory", version))?;
        let expected = lists::path("expected", version);
        let expected = Expected::read(&expected, &suite.units, &inventory, &readme)?;
        if let Some(unit) = inventory
            .units()
            .find(|unit| !suite.units.iter().any(|known| known == unit))
        {
            return Err(Fault(format!(
                "the suite of Redis {version} has no {unit} any more; record its inventory anew"
            )));
        }
        Ok(Course {
            suite,
            inventory,
            expected,
        })
    }

    /// What the suite is told to leave out.
    fn omissions(&self, unit: &str, options: &Options) -> Omissions {
        let mut omissions = Omissions::default();
        if options.reference.is_none() {
            omissions.encodings = self.expected.ignores_encodings(unit);
            if !options.probe {
                omissions.tests = self.expected.skips(unit).map(str::to_string).collect();
            }
        }
        omissions
    }

    fn is_run(&self, unit: &str, options: &Options) -> bool {
        if options.probe {
            self.expected.has(unit)
        } else {
            options.reference.is_some() || !self.expected.is_whole(unit)
        }
    }
}

/// Runs everything that the options ask for; whether all is as expected.
fn run(options: &Options) -> Result<bool, Fault> {
    let server = match &options.reference {
        Some(path) => path.as_path(),
        None => Path::new(env!("CARGO_BIN_EXE_redoxide-server")),
    };
    let tools = Tools::find(server)?;
    let mut courses = Vec::new();
    for version in VERSIONS {
        if options.suite.is_empty() || options.suite.iter().any(|wanted| wanted == version) {
            courses.push(Course::open(version, options)?);
        }
    }
    if courses.is_empty() {
        return Err(Fault(format!("the suites are {}", VERSIONS.join(", "))));
    }
    let mut account = Account::new(options);
    let mut jobs = Vec::new();
    for course in &courses {
        for unit in &course.suite.units {
            if !options.unit.is_empty() && !options.unit.contains(unit) {
                continue;
            }
            if course.is_run(unit, options) {
                jobs.push(Job { course, unit });
            } else if !options.probe {
                account.add_listed(course, unit);
            }
        }
    }
    if jobs.is_empty() {
        println!("no unit to run: there is none of that name, or it is listed as a whole;");
        println!("make conformance-probe UNIT=… runs those");
    }
    // the longest units are among these: not last, so that no core waits for them
    jobs.sort_by_key(|job| !job.unit.starts_with("integration/"));
    account.units = jobs.len();

    let work = Work::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let queue = Mutex::new(jobs.iter().enumerate().collect::<VecDeque<_>>());
    let next = || queue.lock().ok()?.pop_front();
    let (sender, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            let sender = sender.clone();
            scope.spawn(|| {
                let sender = sender;
                while !stop.load(Ordering::Relaxed)
                    && let Some((number, job)) = next()
                {
                    let directory = work.0.join(number.to_string());
                    let results = job.run(&tools, &directory, &stop, options);
                    if sender.send((job, directory, results)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (job, directory, results) in &finished {
            account
                .add(job, &directory, results)
                .inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        Ok::<(), Fault>(())
    })?;
    for (number, (job, first)) in std::mem::take(&mut account.again).into_iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let directory = work.0.join(format!("again-{number}"));
        let second = job.run(&tools, &directory, &stop, options)?;
        account.add_again(job, &directory, first, second)?;
    }
    if stop.load(Ordering::Relaxed) {
        return Err(Fault("interrupted".to_string()));
    }
    account.close()
}

/// One unit to run.
#[derive(Clone, Copy)]
struct Job<'a> {
    course: &'a Course,
    unit: &'a str,
}

impl Job<'_> {
    fn run(
        &self,
        tools: &Tools,
        directory: &Path,
        stop: &AtomicBool,
        options: &Options,
    ) -> io::Result<Results> {
        let omissions = self.course.omissions(self.unit, options);
        let ports = Ports::claim()?;
        let place = Place {
            directory,
            ports: &ports,
            stop,
        };
        unit::run(&self.course.suite, self.unit, &omissions, tools, &place)
    }
}

/// Prints what becomes of the units and keeps count.
struct Account<'a> {
    options: &'a Options,
    start: Instant,
    tally: Tally,
    /// Listed tests that passed in a probe.
    passing: usize,
    units: usize,
    units_done: usize,
    /// Units with failures, to be run once more, and how they went.
    again: Vec<(Job<'a>, Results)>,
}

impl<'a> Account<'a> {
    fn new(options: &'a Options) -> Account<'a> {
        Account {
            again: Vec::new(),
            options,
            start: Instant::now(),
            tally: Tally::default(),
            passing: 0,
            units: 0,
            units_done: 0,
        }
    }

    /// Counts a unit that is listed as a whole.
    fn add_listed(&mut self, course: &Course, unit: &str) {
        let verdict = report::judge(unit, None, &course.inventory, &course.expected);
        self.tally.add(course.suite.version, unit, &verdict.counts);
    }

    /// Counts a unit that ran, says how it went, and clears its directory away.
    fn add(
        &mut self,
        job: &Job<'a>,
        directory: &Path,
        results: io::Result<Results>,
    ) -> Result<(), Fault> {
        let Job { course, unit } = *job;
        let version = course.suite.version;
        let results = results.map_err(|error| Fault(format!("{unit}: {error}")))?;
        self.units_done += 1;
        let head = format!(
            "[{:4} s, {}/{}] {version} {unit} ({} s):",
            self.start.elapsed().as_secs(),
            self.units_done,
            self.units,
            results.elapsed.as_secs()
        );
        let is_bad = if self.options.record {
            record(course, unit, &head, &results)?
        } else if self.options.reference.is_some() {
            compare(course, unit, &head, &results)
        } else if self.options.probe {
            self.probe(course, unit, &head, &results)
        } else {
            let verdict = judge(job, &head, &results);
            let is_bad = !verdict.failures.is_empty();
            let may_try_again = self.again.len() < SECOND_ATTEMPTS_MAX;
            if is_bad && has_crashed(directory)? {
                println!("    a server crashed: no second attempt");
                self.tally.add(version, unit, &verdict.counts);
            } else if is_bad && may_try_again {
                println!("    gets a second attempt at the end");
                self.again.push((*job, results));
            } else {
                self.tally.add(version, unit, &verdict.counts);
            }
            is_bad
        };
        self.clear(job, directory, is_bad)
    }

    /// Counts a unit that ran twice: what passed once has passed.
    fn add_again(
        &mut self,
        job: Job<'a>,
        directory: &Path,
        first: Results,
        second: Results,
    ) -> Result<(), Fault> {
        let Job { course, unit } = job;
        let version = course.suite.version;
        let head = format!(
            "[{:4} s, second attempt] {version} {unit} ({} s):",
            self.start.elapsed().as_secs(),
            second.elapsed.as_secs()
        );
        let before = report::judge(unit, Some(&first), &course.inventory, &course.expected);
        let verdict = judge(&job, &head, &second.or(first));
        for (name, _) in &before.failures {
            if !verdict.failures.iter().any(|(failed, _)| failed == name) {
                println!("    passed at the second attempt: {unit}: {name}");
            }
        }
        self.tally.add(version, unit, &verdict.counts);
        self.clear(&job, directory, !verdict.failures.is_empty())
    }

    /// Clears a unit's directory away; keeps its logs if it went badly.
    fn clear(&self, job: &Job, directory: &Path, is_bad: bool) -> Result<(), Fault> {
        if is_bad || self.options.keep {
            let kept = keep(job.course.suite.version, job.unit, directory)?;
            println!("    output and logs: {}", kept.display());
        }
        fs::remove_dir_all(directory)?;
        Ok(())
    }

    /// Names the listed tests that passed, or counts them where the whole unit is listed.
    fn probe(&mut self, course: &Course, unit: &str, head: &str, results: &Results) -> bool {
        let (passing, listed) = report::probe(unit, results, &course.inventory, &course.expected);
        println!("{head} {} of {listed} listed tests pass", passing.len());
        self.passing += passing.len();
        if !course.expected.is_whole(unit) {
            for name in passing {
                println!("    passes now: {name}");
            }
        }
        results.died.is_some()
    }

    /// The figures of the run; whether it is as expected.
    fn close(&self) -> Result<bool, Fault> {
        if self.options.probe {
            println!("{} listed tests pass now", self.passing);
        }
        if self.options.probe || self.options.reference.is_some() {
            return Ok(true);
        }
        if self.options.unit.is_empty() {
            println!("\n{}", self.tally.markdown());
        }
        let total = self.tally.total();
        println!("{}", total.reachable());
        println!(
            "{} passed, {} failed, {} skipped",
            total.passed, total.failed, total.skipped
        );
        Ok(total.failed == 0)
    }
}

/// Holds a unit's results against the lists and says how it went.
fn judge(job: &Job, head: &str, results: &Results) -> Verdict {
    let Job { course, unit } = job;
    let verdict = report::judge(unit, Some(results), &course.inventory, &course.expected);
    let counts = &verdict.counts;
    println!(
        "{head} {} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    );
    for (name, message) in &verdict.failures {
        show("failed", name, message);
    }
    verdict
}

/// Writes what a real server ran to the inventory.
fn record(course: &Course, unit: &str, head: &str, results: &Results) -> Result<bool, Fault> {
    println!("{head} {} tests", results.names().count());
    let mut inventory = Inventory::default();
    for name in results.names() {
        inventory.add(unit, name);
    }
    inventory.merge_into(&lists::path("inventory", course.suite.version))?;
    for (name, message) in results.all_failures() {
        show("failed", name, message);
    }
    Ok(results.died.is_some())
}

/// Names what a real server fails, unless the list says so.
fn compare(course: &Course, unit: &str, head: &str, results: &Results) -> bool {
    let failures: Vec<_> = results
        .all_failures()
        .filter(|(name, _)| course.expected.reason(unit, name) != Some(&Reason::Reference))
        .collect();
    println!(
        "{head} {} passed, {} failed",
        results.passed.len(),
        results.all_failures().count()
    );
    for (name, message) in &failures {
        show("the reference fails", name, message);
    }
    !failures.is_empty()
}

/// Prints a failure, the beginning of its message indented under the test's name.
fn show(what: &str, name: &str, message: &str) {
    println!("    {what}: {name}");
    for line in message.lines().take(SHOWN_LINES_MAX) {
        println!("        {line}");
    }
}

/// Whether a server of the unit has written a crash report: a machine that is busy is no reason for that.
fn has_crashed(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory.join("tests/tmp"))? {
        let log = fs::read(entry?.path().join("stdout")).unwrap_or_default();
        if String::from_utf8_lossy(&log).contains("=== REDIS BUG REPORT START") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Copies a unit's output, its servers' logs and their configurations to where they stay; that directory.
fn keep(version: &str, unit: &str, directory: &Path) -> io::Result<PathBuf> {
    let binary = Path::new(env!("CARGO_BIN_EXE_redoxide-server"));
    let target = binary.ancestors().nth(2).unwrap_or(binary);
    let kept = target
        .join("conformance")
        .join(version)
        .join(unit.replace('/', "-"));
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    fs::create_dir_all(&kept)?;
    fs::copy(directory.join("output"), kept.join("output"))?;
    for entry in fs::read_dir(directory.join("tests/tmp"))? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), kept.join(name))?;
            continue;
        }
        for log in ["stdout", "stderr"] {
            let log_path = entry.path().join(log);
            if log_path.is_file() {
                fs::create_dir_all(kept.join(&name))?;
                fs::copy(log_path, kept.join(&name).join(log))?;
            }
        }
    }
    Ok(kept)
}

/// The directory of this run, removed when dropped. Short, for the sockets within.
struct Work(PathBuf);

impl Work {
    fn new() -> io::Result<Work> {
        let path = env::temp_dir().join(format!("conformance-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Work(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
