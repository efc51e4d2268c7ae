//! COMMAND INFO of every command, compared with redis-server 8's.

use crate::harness::{Peer, Server, Value};

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
