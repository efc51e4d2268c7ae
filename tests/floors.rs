//! Holds the map of rooms that src/lib.rs draws, and what a reader may rely on in every file.
//!
//! The floors are read from the table in src/lib.rs. The rule: a room names only rooms on lower floors. To allow a
//! new room, give it a row there. Failures name file and line.
#![allow(clippy::unwrap_used)] // also outside of the test functions

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 1500;
/// Where unsafe may stand (see src/lib.rs), as the beginning of a path under src/.
const UNSAFE_PLACES: &[&str] = &[
    "sys/",
    "container/",
    "types/entry.rs",
    "types/large.rs",
    "types/hash_table.rs",
    "types/stream/",
    "types/zset_table.rs",
];

struct Source {
    /// Under src/.
    path: String,
    text: String,
}

impl Source {
    /// `base` for base/num.rs; none for lib.rs and main.rs.
    fn room(&self) -> Option<&str> {
        self.path.split_once('/').map(|(room, _)| room)
    }

    /// Numbered lines of code: comments cut off.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| {
            let code = line.find("//").map_or(line, |start| &line[..start]);
            (index + 1, code)
        })
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Room → floor, from the rows ``//! | 3 | [`keyspace`] | …``.
fn floors(map: &str) -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for line in map.lines() {
        let Some(row) = line.strip_prefix("//! | ") else {
            continue;
        };
        let mut cells = row.split(" | ");
        let Some(Ok(floor)) = cells.next().map(str::parse::<u32>) else {
            continue;
        };
        for room in cells.next().unwrap_or_default().split(", ") {
            let room = room.trim_start_matches("[`").trim_end_matches("`]");
            floors.insert(room.to_string(), floor);
        }
    }
    floors
}

/// The rooms that code names: what follows `crate::`, braces opened; with line numbers.
fn named_rooms(source: &Source) -> Vec<(usize, String)> {
    let mut code = String::new();
    let mut starts = Vec::new();
    for (line, text) in source.code() {
        starts.push((code.len(), line));
        code.push_str(text);
        code.push('\n');
    }
    let line_at = |offset: usize| {
        let after = starts.partition_point(|(start, _)| *start <= offset);
        starts[after - 1].1
    };
    let mut named = Vec::new();
    for (offset, prefix) in code.match_indices("crate::") {
        let rest = &code[offset + prefix.len()..];
        match rest.strip_prefix('{') {
            None => named.push((line_at(offset), identifier(rest).to_string())),
            Some(group) => {
                let mut depth = 0;
                let mut expects_name = true;
                for (index, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => expects_name = true,
                        _ if expects_name && !character.is_whitespace() => {
                            let line = line_at(offset + prefix.len() + 1 + index);
                            named.push((line, identifier(&group[index..]).to_string()));
                            expects_name = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    &text[..end.unwrap_or(text.len())]
}

fn has_word(line: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(in_word) && !line[start + word.len()..].starts_with(in_word)
    })
}

fn fail_on(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn rooms_name_only_lower_floors() {
    let sources = sources();
    let map = sources
        .iter()
        .find(|source| source.path == "lib.rs")
        .unwrap();
    let floors = floors(&map.text);
    assert!(
        floors.len() >= 10,
        "the table in src/lib.rs was not understood: {floors:?}"
    );
    let mut problems = Vec::new();
    for source in &sources {
        let Some(room) = source.room() else { continue };
        let Some(floor) = floors.get(room) else {
            problems.push(format!(
                "src/{}:1: room {room} has no row in src/lib.rs",
                source.path
            ));
            continue;
        };
        for (line, named) in named_rooms(source) {
            // what stands in lib.rs itself is on no floor
            if named == room {
                continue;
            }
            if let Some(other) = floors.get(&named)
                && other >= floor
            {
                problems.push(format!(
                    "src/{}:{line}: {room} (floor {floor}) names {named} (floor {other})",
                    source.path
                ));
            }
        }
    }
    fail_on(problems);
}

#[test]
fn every_room_is_on_the_map() {
    let sources = sources();
    let map = sources
        .iter()
        .find(|source| source.path == "lib.rs")
        .unwrap();
    let floors = floors(&map.text);
    let mut problems = Vec::new();
    for (line, code) in map.code() {
        if let Some(room) = code
            .trim()
            .strip_prefix("pub mod ")
            .and_then(|rest| rest.strip_suffix(';'))
            && !floors.contains_key(room)
        {
            problems.push(format!(
                "src/lib.rs:{line}: room {room} has no row in the table"
            ));
        }
    }
    for room in floors.keys() {
        if !sources.iter().any(|source| source.room() == Some(room)) {
            problems.push(format!(
                "src/lib.rs:1: the table's room {room} does not exist"
            ));
        }
    }
    fail_on(problems);
}

#[test]
fn every_file_opens_with_its_purpose() {
    let problems = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("src/{}:1: no `//!` header", source.path))
        .collect();
    fail_on(problems);
}

#[test]
fn no_file_outgrows_a_head() {
    let problems = sources()
        .iter()
        .filter(|source| source.text.lines().count() > FILE_LINES_MAX)
        .map(|source| format!("src/{}:{FILE_LINES_MAX}: longer than this", source.path))
        .collect();
    fail_on(problems);
}

#[test]
fn unsafe_stands_only_in_its_places() {
    let mut problems = Vec::new();
    for source in &sources() {
        if UNSAFE_PLACES
            .iter()
            .any(|place| source.path.starts_with(place))
        {
            continue;
        }
        for (line, code) in source.code() {
            if has_word(code, "unsafe") || code.contains("allow(unsafe_code)") {
                problems.push(format!("src/{}:{line}: unsafe", source.path));
            }
        }
    }
    fail_on(problems);
}

/// The checks above must be able to fail.
#[test]
fn the_reader_of_paths_sees_every_form() {
    let text = "use crate::engine::Host;\nuse crate::{\n    base::num, // crate::server\n    rdb::{Reader, decode},\n    \
                keyspace,\n};\nfn f() { crate::dispatch::g() } // crate::config\n";
    let source = Source {
        path: "base/x.rs".to_string(),
        text: text.to_string(),
    };
    let expected = [
        (1, "engine"),
        (3, "base"),
        (4, "rdb"),
        (5, "keyspace"),
        (7, "dispatch"),
    ];
    let named = named_rooms(&source);
    let named: Vec<(usize, &str)> = named
        .iter()
        .map(|(line, room)| (*line, room.as_str()))
        .collect();
    assert_eq!(named, expected);
    assert!(has_word("    unsafe { x }", "unsafe"));
    assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
    assert_eq!(floors("//! | 3 | [`a`], [`b`] | words |")["b"], 3);
}
