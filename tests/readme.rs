//! Holds what README.md and the lists of tests/conformance name to what is there: dependencies, directives without
//! effect, and the tests that stand for those which signal a forked child.
#![allow(clippy::unwrap_used)] // also outside of the test functions

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use redoxide::config::{DIRECTIVES, Effect};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn every_dependency_has_its_line() {
    let readme = file("README.md");
    let section = readme
        .split("\n## ")
        .find(|part| part.starts_with("Dependencies"))
        .unwrap();
    let listed: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .filter(|name| *name != "crate")
        .collect();
    let manifest = file("Cargo.toml");
    let mut inside = false;
    let mut wanted = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && let Some((name, _)) = line.split_once('=') {
            wanted.insert(name.trim());
        }
    }
    assert_eq!(
        listed, wanted,
        "README.md, \"Dependencies\" (left) and Cargo.toml (right)"
    );
}

/// Compares the list behind a comment that begins with `mark` with the directives that `wanted` takes.
fn directives(mark: &str, wanted: impl Fn(&Effect) -> bool) {
    let readme = file("README.md");
    let list = readme.split(&format!("<!-- {mark}")).nth(1).unwrap();
    let list = list.split_once("-->").unwrap().1;
    let list = list.split("<!-- end -->").next().unwrap();
    let listed: BTreeSet<&str> = list
        .split_whitespace()
        .map(|word| word.trim_matches('`'))
        .collect();
    let rows = DIRECTIVES.iter().filter(|row| wanted(&row.effect));
    let wanted: BTreeSet<&str> = rows.map(|row| row.name).collect();
    let missing: Vec<_> = wanted.difference(&listed).collect();
    let extra: Vec<_> = listed.difference(&wanted).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "README.md, \"{mark}\": missing {missing:?}, not so any more {extra:?}"
    );
}

#[test]
fn every_directive_without_effect_is_named() {
    directives("directives without effect", |effect| {
        *effect == Effect::StoredOnly
    });
}

#[test]
fn every_refused_directive_is_named() {
    directives("refused directives", |effect| {
        matches!(effect, Effect::Refused(_))
    });
}

/// A directive that is said to work has a reader outside of the room that keeps it.
#[test]
fn every_directive_said_to_work_is_read() {
    /// Read within `config`; read where the field's name does not show.
    const ELSEWHERE: &[&str] = &["enable-protected-configs", "shutdown-timeout"];
    let mut text = String::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("src/config") {
                    directories.push(path);
                }
            } else {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let words: BTreeSet<&str> = text
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .collect();
    let unread: Vec<&str> = DIRECTIVES
        .iter()
        .filter(|row| row.effect == Effect::Works && !ELSEWHERE.contains(&row.name))
        .filter(|row| !words.contains(format!("{:?}", row.id).as_str()))
        .map(|row| row.name)
        .collect();
    assert!(
        unread.is_empty(),
        "make these StoredOnly in src/config/table.rs and list them in README.md: {unread:?}"
    );
}

#[test]
fn every_test_that_signals_a_child_has_its_twin() {
    for version in ["7.0", "8.0"] {
        let list = file(&format!("tests/conformance/expected-{version}.txt"));
        let mut reasons = list.lines().filter_map(|line| line.split('\t').nth(2));
        assert!(reasons.any(|reason| reason.starts_with("child pid")));
        for reason in reasons.filter(|reason| reason.starts_with("child pid")) {
            let twin = reason.strip_prefix("child pid: ").unwrap();
            let (module, name) = twin.split_once("::").unwrap();
            let tests = file(&format!("tests/wire/{module}.rs"));
            let head = format!("#[test]\nfn {name}() {{");
            assert!(tests.contains(&head), "{version}: {twin}");
        }
    }
}
