//! COMMAND INFO and COMMAND DOCS of every command, compared with redis-server 8's.

use crate::harness::{Client, Peer, Server, Value};
use crate::pair::Pair;

/// Sets and maps in one order, as their order means nothing; a container's subcommands that Redis has too.
fn settled(value: Value) -> Value {
    let sorted = |items: Vec<Value>| {
        let mut items: Vec<Value> = items.into_iter().map(settled).collect();
        items.sort_by_key(ToString::to_string);
        items
    };
    match value {
        Value::Array(items) if matches!(items.first(), Some(Value::Array(_))) => {
            Value::Array(sorted(items))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(settled).collect()),
        Value::Set(items) => Value::Set(sorted(items)),
        Value::Map(pairs) => Value::Map(
            pairs
                .into_iter()
                .map(|(key, value)| (key, settled(value)))
                .collect(),
        ),
        other => other,
    }
}

#[test]
fn command_info_is_that_of_redis() {
    let Some(theirs) = Peer::Redis8.start(&[]) else {
        return;
    };
    let ours = Server::start(&[]);
    for protocol in ["HELLO 2", "HELLO 3"] {
        let (mut ours, mut theirs) = (ours.client(), theirs.client());
        ours.text(protocol);
        theirs.text(protocol);
        let names = match ours.value("COMMAND LIST") {
            Value::Array(names) | Value::Set(names) => names,
            other => panic!("COMMAND LIST answers {other}"),
        };
        let mut differences = Vec::new();
        for name in names {
            let request = format!("COMMAND INFO {name}");
            let (a, b) = (ours.value(&request), theirs.value(&request));
            // What Redis 8.0 does not know, and containers that lack a subcommand here, are compared elsewhere.
            let subcommands = |value: &Value| match value {
                Value::Array(items) => match items.first() {
                    Some(Value::Array(fields)) => match fields.last() {
                        Some(Value::Array(subcommands)) => subcommands.len(),
                        _ => 0,
                    },
                    _ => 0,
                },
                _ => 0,
            };
            if b.to_string() == "[(nil)]" || subcommands(&a) != subcommands(&b) {
                continue;
            }
            let (a, b) = (settled(a), settled(b));
            if a != b {
                differences.push(format!("{name}\n  ours   {a}\n  theirs {b}"));
            }
        }
        assert!(
            differences.is_empty(),
            "{protocol}\n{}",
            differences.join("\n")
        );
    }
}

/// A field of a map.
fn field<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    let Value::Map(pairs) = map else {
        panic!("{map} is no map")
    };
    let found = pairs.iter().find(|(key, _)| key.to_string() == name);
    found.map(|(_, value)| value)
}

/// What Redis says of arguments and we do not; we may have more arguments, of later versions.
fn differing(ours: Option<&Value>, theirs: &Value, path: &str, differences: &mut Vec<String>) {
    let (Some(Value::Array(ours)), Value::Array(theirs)) = (ours, theirs) else {
        return differences.push(format!("{path}: no arguments"));
    };
    let name = |argument: &Value| field(argument, "name").map(Value::to_string);
    let mut from = 0;
    for argument in theirs {
        let path = format!("{path} {}", name(argument).unwrap_or_default());
        let found = ours[from..]
            .iter()
            .position(|one| name(one) == name(argument));
        let Some(at) = found else {
            differences.push(format!("{path}: not there, or not in this order"));
            continue;
        };
        let one = &ours[from + at];
        from += at + 1;
        let Value::Map(pairs) = argument else {
            panic!("{argument} is no map")
        };
        for (key, value) in pairs {
            let key = key.to_string();
            if key == "arguments" {
                differing(field(one, &key), value, &path, differences);
            } else if field(one, &key).cloned().map(settled) != Some(settled(value.clone())) {
                let ours = field(one, &key).map_or("none".to_owned(), Value::to_string);
                differences.push(format!("{path}: {key} is {ours}, not {value}"));
            }
        }
    }
}

#[test]
fn arguments_are_documented_as_by_redis() {
    let Some(theirs) = Peer::Redis8.start(&[]) else {
        return;
    };
    let ours = Server::start(&[]);
    let (mut ours, mut theirs) = (ours.client(), theirs.client());
    ours.text("HELLO 3");
    theirs.text("HELLO 3");
    let (Value::Map(all), mut differences) = (ours.value("COMMAND DOCS"), Vec::new()) else {
        panic!("COMMAND DOCS gave no map")
    };
    let mut compare = |name: &str, ours: &Value| {
        let Value::Map(found) = theirs.value(&format!("COMMAND DOCS {name}")) else {
            panic!("COMMAND DOCS gave no map")
        };
        // One of a later version.
        let Some((_, theirs)) = found.first() else {
            return;
        };
        for fact in [
            "since",
            "group",
            "doc_flags",
            "deprecated_since",
            "replaced_by",
        ] {
            if field(ours, fact) != field(theirs, fact) {
                differences.push(format!("{name}: {fact}"));
            }
        }
        match field(theirs, "arguments") {
            Some(arguments) => {
                differing(field(ours, "arguments"), arguments, name, &mut differences);
            }
            None if field(ours, "arguments").is_some() => {
                differences.push(format!("{name}: arguments of its own"));
            }
            None => {}
        }
    };
    for (name, docs) in &all {
        compare(&name.to_string(), docs);
        if let Some(Value::Map(subcommands)) = field(docs, "subcommands") {
            for (name, docs) in subcommands {
                compare(&name.to_string(), docs);
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn keys_of_calls_are_those_of_redis() {
    let Some(mut pair) = crate::pair::Pair::start(&[]) else {
        return;
    };
    for call in [
        "MIGRATE h 1 a 0 1",
        "MIGRATE h 1 a 0 1 COPY",
        "MIGRATE h 1 a 0 1 KEYS x y",
        "MIGRATE h 1 \"\" 0 1 COPY AUTH keys KEYS x y",
        "MIGRATE h 1 \"\" 0 1 AUTH2 keys keys KEYS x",
        "MIGRATE h 1 \"\" 0 1 REPLACE",
        "BITFIELD k",
        "BITFIELD k GET u8 0",
        "BITFIELD k OVERFLOW FAIL GET u8 0",
        "BITFIELD k GET u8 0 SET u8 0 1",
        "BITFIELD k INCRBY u8 0 1",
    ] {
        pair.same(&format!("COMMAND GETKEYS {call}"));
        pair.same(&format!("COMMAND GETKEYSANDFLAGS {call}"));
    }
}

#[test]
fn keysizes_are_those_of_redis() {
    let Some(peer) = Peer::Redis8.start(&[]) else {
        return;
    };
    let target = Server::start(&[]);
    let big = format!("SET big {}", "x".repeat(70_000));
    let commands = [
        "SET e \"\"",
        "SET i -12345",
        "INCRBY i 12345",
        "SET r abcd",
        "SETRANGE r 1020 abcd",
        "APPEND r x",
        big.as_str(),
        "APPEND big x",
        "COPY big other DB 3",
        "RENAME big i",
        "MOVE r 3",
        "SWAPDB 0 3",
        "DEL i",
        "GETDEL other",
        "FLUSHALL",
    ];
    let (mut ours, mut theirs) = (target.client(), peer.client());
    for command in commands {
        assert_eq!(ours.text(command), theirs.text(command), "{command}");
        let info = |client: &mut Client| client.text("INFO keysizes");
        assert_eq!(info(&mut ours), info(&mut theirs), "after {command}");
    }
}

#[test]
fn renamed_commands_are_told_by_their_new_names() {
    let rename = [
        "--rename-command",
        "GET",
        "G2",
        "--rename-command",
        "DEL",
        "",
        "--rename-command",
        "CONFIG",
        "Cfg",
    ];
    let Some(mut pair) = Pair::start(&rename) else {
        return;
    };
    for line in [
        "COMMAND INFO GET",
        "COMMAND INFO G2",
        "COMMAND INFO DEL",
        "COMMAND INFO cfg|get",
        "COMMAND INFO config|get",
        "COMMAND GETKEYS GET a",
        "COMMAND GETKEYS G2 a",
        "COMMAND GETKEYS DEL a",
        "COMMAND GETKEYSANDFLAGS G2 a",
        "COMMAND GETKEYS CFG GET a",
        "COMMAND LIST FILTERBY PATTERN del",
        "COMMAND LIST FILTERBY PATTERN get",
        "COMMAND LIST FILTERBY PATTERN G2",
        "COMMAND DOCS get",
        "COMMAND DOCS del",
        "COMMAND DOCS config|get",
        "CFG FOO",
        "client foo",
        "GET a",
        "G2 a",
        "LATENCY HISTOGRAM get",
    ] {
        pair.same(line);
    }
    let server = Server::start(&rename);
    let (plain, mut client) = (Server::start(&[]), server.client());
    let count = |client: &mut Client| client.text("COMMAND COUNT").parse::<usize>().unwrap();
    assert_eq!(count(&mut client) + 1, count(&mut plain.client()));
    for (line, has) in [
        ("COMMAND", "get"),
        ("COMMAND LIST", "get"),
        ("COMMAND DOCS", "get"),
    ] {
        let text = client.text(line);
        let names: Vec<&str> = text.split(['[', ',', ' ', ']', '{']).collect();
        assert!(names.contains(&has), "{line}");
        assert!(!text.contains("del, -2"), "{line}");
    }
    let listed = client.text("COMMAND LIST");
    assert!(!listed.split(['[', ',', ' ', ']']).any(|name| name == "del"));
    assert!(client.text("CFG HELP").starts_with("[CFG <subcommand>"));
}

/// What INFO shows after commands that have something to say about it.
#[test]
fn info_tells_what_redis_tells() {
    let Some(theirs) = Peer::Redis8.start(&[]) else {
        return;
    };
    let ours = Server::start(&[]);
    let told = |server: &Server| {
        let mut client = server.client();
        let mut told = Vec::new();
        for line in [
            "FLUSHALL",
            "SET a 1",
            "FLUSHALL",
            "FLUSHDB",
            "SET a 1",
            "FLUSHDB",
            "SWAPDB 0 1",
        ] {
            let reply = client.text(line);
            let changes = client.info("persistence", "rdb_changes_since_last_save");
            told.push(format!("{line}: {reply}, {changes} changes"));
        }
        client.text("GET");
        client.text("CONFIG RESETSTAT");
        let stats = client.info("commandstats", "cmdstat_config|resetstat");
        told.push(
            stats
                .split_once("rejected")
                .map_or(stats.clone(), |parts| parts.1.to_owned()),
        );
        client.text("CONFIG SET latency-tracking no");
        told.push(client.text("INFO latencystats"));
        for which in ["", "default", "all", "everything"] {
            let text = client.text(&format!("INFO {which}"));
            let heads = text.lines().filter(|line| line.starts_with('#'));
            told.push(heads.collect::<Vec<_>>().join(" "));
        }
        told
    };
    assert_eq!(told(&ours), told(&theirs));
}

/// Clients ask whether there is a cluster; subcommands and their arity are known all the same.
#[test]
fn cluster_commands_say_that_it_is_disabled() {
    let Some(mut pair) = crate::pair::Pair::start(&[]) else {
        return;
    };
    for line in [
        "CLUSTER",
        "CLUSTER INFO",
        "CLUSTER HELP",
        "CLUSTER SLOTS",
        "CLUSTER NODES now",
        "CLUSTER MEET 127.0.0.1",
        "CLUSTER KEYSLOT a",
        "CLUSTER SETSLOT 1 STABLE",
        "CLUSTER WHAT",
        "ASKING",
        "READONLY",
        "READONLY now",
        "READWRITE",
        "MULTI",
        "CLUSTER MYID",
        "READONLY",
        "EXEC",
    ] {
        pair.same(line);
    }
}

#[test]
fn there_are_no_modules() {
    let closed = Server::start(&[]);
    let mut client = closed.client();
    assert_eq!(client.text("MODULE LIST"), "[]");
    let refused = "(error) ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you \
                   can run it from a local connection, otherwise you need to set this option in the configuration \
                   file, and then restart the server.";
    for line in [
        "MODULE LOAD /m.so",
        "MODULE LOADEX /m.so",
        "MODULE UNLOAD m",
    ] {
        assert_eq!(client.text(line), refused);
    }
    client.text("MULTI");
    assert_eq!(client.text("MODULE UNLOAD m"), refused);
    assert!(client.text("EXEC").starts_with("(error) EXECABORT"));
    let open = Server::start(&["--enable-module-command", "local"]);
    let mut client = open.client();
    assert_eq!(
        client.text("MODULE LOAD /m.so"),
        "(error) ERR Error loading the extension. Please check the server logs."
    );
    assert_eq!(
        client.text("MODULE UNLOAD m"),
        "(error) ERR Error unloading module: no such module with that name"
    );
    assert!(open.log().contains("Module /m.so failed to load"));
}
