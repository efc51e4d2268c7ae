//! COMMAND INFO of every command, compared with redis-server 8's.

use crate::harness::{Client, Peer, Server, Value};

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
