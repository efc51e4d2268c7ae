//! The committed lists: which tests a suite has (`inventory-VERSION.txt`) and which of them are not expected to pass,
//! and why (`expected-VERSION.txt`).
//!
//! Invariants: every expected line names a test of the inventory once, with a reason of the closed set; so a list can
//! only shrink, and a misspelt or vanished name is an error and not a silent hole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::Fault;

/// Stands in a list for what fails in a unit outside of its tests: set-up that throws.
pub const SET_UP: &str = "(set-up)";
/// Stands in a list for all tests of a unit, which is then not run.
pub const WHOLE_UNIT: &str = "*";
/// Stands in a list for all checks of OBJECT ENCODING in a unit, which is then run without them by the suite's own
/// option: set-up between its tests ends the unit when they do not hold.
const ENCODINGS: &str = "(encodings)";

/// The section that decides for 8.0 where the suites contradict each other.
const CONTRADICTED: &str = "Conformance";

/// How names begin that vary from run to run, by chance or by speed; they are not recorded.
const VARYING: &[&str] = &[
    "PSYNC2 #3899 regression: kill ",
    "PSYNC2: --- CYCLE ",
    "PSYNC2: Set #",
    "PSYNC2: [NEW LAYOUT] ",
    "PSYNC2: cluster is consistent after ",
    "PSYNC2: generate load while killing ",
    "PSYNC2: total sum of full synchronizations ",
];

/// What `not yet` may wait for.
const AREAS: &[&str] = &[
    "acl",
    "aof",
    "bitmaps",
    "cluster",
    "eviction",
    "functions",
    "geo",
    "hashes",
    "hyperloglog",
    "lists",
    "modules",
    "notifications",
    "pubsub",
    "scripting",
    "sentinel",
    "sets",
    "sort",
    "sorted sets",
    "streams",
    "tls",
    "tracking",
];

/// Why a test is not expected to pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Needs an area that is not built yet.
    NotYet(String),
    /// Reads or signals a forked child's pid, and there is none; that test of tests/wire shows the same of the helper
    /// thread.
    ChildPid(String),
    /// Measures the fragmentation of Redis's own jemalloc.
    Jemalloc,
    /// Loads a module.
    Module,
    /// A real server fails it on the same machine.
    Reference,
    /// Differs on purpose; README's section says how.
    Decided(String),
}

impl Reason {
    /// None outside of the closed set.
    fn parse(text: &str) -> Option<Reason> {
        if let Some(area) = text.strip_prefix("not yet: ") {
            return AREAS
                .contains(&area)
                .then(|| Reason::NotYet(area.to_string()));
        }
        if let Some(section) = text.strip_prefix("decided: ") {
            return Some(Reason::Decided(section.to_string()));
        }
        if let Some(twin) = text.strip_prefix("child pid: ") {
            return Some(Reason::ChildPid(twin.to_string()));
        }
        match text {
            "jemalloc" => Some(Reason::Jemalloc),
            "module" => Some(Reason::Module),
            "reference fails too" => Some(Reason::Reference),
            _ => None,
        }
    }

    /// Whether this server could ever pass such a test. It cannot where the suite of 8.0 demands something else.
    pub fn is_applicable(&self) -> bool {
        match self {
            Reason::NotYet(_) => true,
            Reason::Decided(section) => section != CONTRADICTED,
            Reason::ChildPid(_) | Reason::Jemalloc | Reason::Module | Reason::Reference => false,
        }
    }
}

/// The tests of a suite: unit → name → how often that name runs in the unit.
#[derive(Default)]
pub struct Inventory(BTreeMap<String, BTreeMap<String, usize>>);

impl Inventory {
    /// Reads `unit<TAB>name` lines, a repeated name once for each time it runs.
    pub fn read(path: &Path) -> Result<Inventory, Fault> {
        let mut inventory = Inventory::default();
        for (number, fields) in rows(path)? {
            let [unit, name] = &fields[..] else {
                return Err(fault(path, number, "want unit<TAB>test name"));
            };
            inventory.add(unit, name);
        }
        Ok(inventory)
    }

    /// Counts one run of a test, unless its name varies.
    pub fn add(&mut self, unit: &str, name: &str) {
        if VARYING.iter().any(|beginning| name.starts_with(beginning)) {
            return;
        }
        let tests = self.0.entry(unit.to_string()).or_default();
        *tests.entry(name.to_string()).or_default() += 1;
    }

    /// Units with tests.
    pub fn units(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names of the unit's tests with the times each runs; nothing for an unknown unit.
    pub fn tests(&self, unit: &str) -> impl Iterator<Item = (&str, usize)> {
        let tests = self.0.get(unit).into_iter().flatten();
        tests.map(|(name, times)| (name.as_str(), *times))
    }

    /// How often the test runs; 0 when there is none of that name.
    pub fn times(&self, unit: &str, name: &str) -> usize {
        let tests = self.0.get(unit);
        tests.and_then(|tests| tests.get(name)).map_or(0, |n| *n)
    }

    /// Writes what `read` reads: the units of `self`, and from the file those that `self` lacks.
    pub fn merge_into(&self, path: &Path) -> Result<(), Fault> {
        let mut all = if path.exists() {
            Inventory::read(path)?
        } else {
            Inventory::default()
        };
        all.0.extend(self.0.clone());
        let mut text = String::new();
        for (unit, tests) in &all.0 {
            for (name, times) in tests {
                for _ in 0..*times {
                    text.push_str(&format!("{unit}\t{name}\n"));
                }
            }
        }
        fs::write(path, text).map_err(|error| Fault(format!("{}: {error}", path.display())))
    }
}

/// A line of the list.
pub struct Entry {
    pub reason: Reason,
    /// How many of the name's runs in a unit, which are made all the same: others of that name pass, or other tests
    /// need what this one leaves behind. None: all, and the suite is told to skip them.
    pub times: Option<usize>,
}

/// The tests that are not expected to pass: unit → name → entry.
#[derive(Default)]
pub struct Expected(BTreeMap<String, BTreeMap<String, Entry>>);

impl Expected {
    /// Reads `unit<TAB>name<TAB>reason[<TAB>times]` lines and holds them against the suite's units, the inventory and
    /// README's sections.
    pub fn read(
        path: &Path,
        units: &[String],
        inventory: &Inventory,
        readme: &str,
    ) -> Result<Expected, Fault> {
        let sections: BTreeSet<&str> = readme
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .map(|line| line.trim_start_matches('#').trim())
            .collect();
        let mut expected = Expected::default();
        for (number, fields) in rows(path)? {
            let (unit, name, reason, times) = match &fields[..] {
                [unit, name, reason] => (unit, name, reason, None),
                [unit, name, reason, times] => (unit, name, reason, Some(times)),
                _ => return Err(fault(path, number, "want unit<TAB>test name<TAB>reason")),
            };
            let times = match times.map(|times| times.parse::<usize>()) {
                None => None,
                Some(Ok(times)) if times <= inventory.times(unit, name) => Some(times),
                Some(_) => {
                    let message = "the fourth field is how many of the test's runs fail";
                    return Err(fault(path, number, message));
                }
            };
            let Some(reason) = Reason::parse(reason) else {
                return Err(fault(path, number, &format!("unknown reason `{reason}`")));
            };
            if let Reason::Decided(section) = &reason
                && !sections.contains(section.as_str())
            {
                return Err(fault(
                    path,
                    number,
                    &format!("README has no section `{section}`"),
                ));
            }
            if let Reason::ChildPid(twin) = &reason
                && !has_wire_test(twin)
            {
                return Err(fault(path, number, &format!("no wire test `{twin}`")));
            }
            let is_known = match name.as_str() {
                WHOLE_UNIT | SET_UP | ENCODINGS => units.contains(unit),
                _ => inventory.times(unit, name) > 0,
            };
            if !is_known {
                return Err(fault(
                    path,
                    number,
                    "the inventory has no such test; take the line out",
                ));
            }
            let tests = expected.0.entry(unit.clone()).or_default();
            if tests
                .insert(name.clone(), Entry { reason, times })
                .is_some()
            {
                return Err(fault(path, number, "the test is listed twice"));
            }
        }
        Ok(expected)
    }

    /// The line that covers the test, if one does.
    pub fn entry(&self, unit: &str, name: &str) -> Option<&Entry> {
        let tests = self.0.get(unit)?;
        tests.get(WHOLE_UNIT).or_else(|| tests.get(name))
    }

    /// Why the test is not expected to pass, if so.
    pub fn reason(&self, unit: &str, name: &str) -> Option<&Reason> {
        Some(&self.entry(unit, name)?.reason)
    }

    /// Whether the unit is listed as a whole.
    pub fn is_whole(&self, unit: &str) -> bool {
        self.0
            .get(unit)
            .is_some_and(|tests| tests.contains_key(WHOLE_UNIT))
    }

    /// What the suite is to skip.
    pub fn skips(&self, unit: &str) -> impl Iterator<Item = &str> {
        let tests = self.0.get(unit).into_iter().flatten();
        tests
            .filter(|(name, entry)| {
                entry.times.is_none() && ![WHOLE_UNIT, SET_UP, ENCODINGS].contains(&name.as_str())
            })
            .map(|(name, _)| name.as_str())
    }

    /// Whether the suite is to leave out its checks of encodings in this unit.
    pub fn ignores_encodings(&self, unit: &str) -> bool {
        self.0
            .get(unit)
            .is_some_and(|tests| tests.contains_key(ENCODINGS))
    }

    /// Whether the unit has any line.
    pub fn has(&self, unit: &str) -> bool {
        self.0.contains_key(unit)
    }
}

/// Whether tests/wire has the test `module::name`.
fn has_wire_test(test: &str) -> bool {
    let Some((module, name)) = test.split_once("::") else {
        return false;
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/{module}.rs"));
    let text = fs::read_to_string(path).unwrap_or_default();
    text.contains(&format!("#[test]\nfn {name}() {{"))
}

/// The committed file of a list.
pub fn path(list: &str, version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/conformance")
        .join(format!("{list}-{version}.txt"))
}

/// Numbered lines, split at tabs; empty ones and comments left out.
fn rows(path: &Path) -> Result<Vec<(usize, Vec<String>)>, Fault> {
    let text =
        fs::read_to_string(path).map_err(|error| Fault(format!("{}: {error}", path.display())))?;
    Ok(text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with("# "))
        .map(|(index, line)| (index + 1, line.split('\t').map(str::to_string).collect()))
        .collect())
}

fn fault(path: &Path, line: usize, message: &str) -> Fault {
    Fault(format!("{}:{line}: {message}", path.display()))
}
