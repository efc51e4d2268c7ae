//! Publish/subscribe: confirmations, messages, the subscribed mode of RESP2, what shows subscriptions, what ends them.
//! Against Redis 8 where that can be said in replies.

use std::time::Duration;

use redoxide::base::prng::Prng;

use crate::harness::{Client, Peer, Server, Value, push_request, seed, wait_until};
use crate::pair::same_story;

/// A reply, by its type where that says more than its text.
fn told(value: &Value) -> String {
    match value {
        Value::Push(_) => format!("push {value}"),
        Value::Null => "null".to_owned(),
        Value::Simple(text) => format!("+{text}"),
        other => other.to_string(),
    }
}

/// Sends a line and reads so many replies.
fn say(client: &mut Client, line: &str, replies: usize) -> Vec<String> {
    let words = redoxide::base::quote::split_args(line.as_bytes()).expect("unbalanced quotes");
    let mut request = Vec::new();
    push_request(&mut request, &words);
    client.send(&request);
    (0..replies).map(|_| told(&client.read())).collect()
}

/// Both protocols: lines of one client, with the number of replies that each brings.
fn same_lines(lines: &[(&str, usize)]) {
    same_story(&[], |server| {
        let mut all = Vec::new();
        for protocol in ["HELLO 2", "HELLO 3"] {
            let mut client = server.client();
            client.text(protocol);
            for (line, replies) in lines {
                all.push(format!("{line}: {:?}", say(&mut client, line, *replies)));
            }
        }
        all
    });
}

#[test]
fn subscriptions_are_confirmed_one_by_one() {
    same_lines(&[
        ("UNSUBSCRIBE", 1),
        ("PUNSUBSCRIBE", 1),
        ("SUNSUBSCRIBE", 1),
        ("UNSUBSCRIBE x y", 2),
        ("SUBSCRIBE a b a", 3),
        ("PSUBSCRIBE p* a", 2),
        ("SSUBSCRIBE s t s", 3),
        ("UNSUBSCRIBE none", 1),
        ("SUNSUBSCRIBE none", 1),
        ("PUNSUBSCRIBE none", 1),
        ("UNSUBSCRIBE a", 1),
        ("UNSUBSCRIBE", 1),
        ("UNSUBSCRIBE", 1),
        ("PUNSUBSCRIBE p* p*", 2),
        ("PUNSUBSCRIBE", 1),
        ("PING", 1),
        ("SUNSUBSCRIBE t t", 2),
        ("SUNSUBSCRIBE", 1),
        ("PING", 1),
        ("SUBSCRIBE \"\" \"\\r\\n\"", 2),
        ("UNSUBSCRIBE \"\\r\\n\" \"\"", 2),
        ("SUBSCRIBE", 1),
        ("PSUBSCRIBE", 1),
        ("SSUBSCRIBE", 1),
        ("PUBLISH a", 1),
        ("PUBLISH a b c", 1),
        ("SPUBLISH a", 1),
    ]);
}

#[test]
fn few_commands_are_allowed_to_subscribers_in_resp2() {
    same_lines(&[
        ("PING", 1),
        ("PING x", 1),
        ("SUBSCRIBE a", 1),
        ("PING", 1),
        ("PING x", 1),
        ("PING x y", 1),
        ("GET k", 1),
        ("GeT k", 1),
        ("CLIENT GETNAME", 1),
        ("CONFIG GET", 1),
        ("NOSUCH", 1),
        ("SET", 1),
        ("ECHO x", 1),
        ("MULTI", 1),
        ("EXEC", 1),
        ("DISCARD", 1),
        ("SELECT 3", 1),
        ("PUBLISH b x", 1),
        ("PUBSUB CHANNELS", 1),
        ("RESET", 1),
        ("PUBSUB CHANNELS", 1),
        ("GET k", 1),
        ("SSUBSCRIBE a", 1),
        ("GET k", 1),
        ("SUNSUBSCRIBE a", 1),
        ("GET k", 1),
        ("PSUBSCRIBE a", 1),
        ("GET k", 1),
        ("QUIT", 1),
    ]);
}

/// Messages of a transaction follow its replies; confirmations are among them.
#[test]
fn transactions_subscribe_as_in_redis() {
    same_lines(&[
        ("MULTI", 1),
        ("SUBSCRIBE a b", 1),
        ("PUBLISH a 1", 1),
        ("PSUBSCRIBE a*", 1),
        ("PUBLISH a 2", 1),
        ("GET k", 1),
        ("SSUBSCRIBE s", 1),
        ("SUNSUBSCRIBE s", 1),
        ("UNSUBSCRIBE b", 1),
        ("PING", 1),
        ("PING x", 1),
        // The second confirmation of SUBSCRIBE takes a place more than the array has.
        ("EXEC", 5),
        ("GET k", 1),
        ("UNSUBSCRIBE", 1),
        ("PUNSUBSCRIBE", 1),
        ("MULTI", 1),
        ("UNSUBSCRIBE", 1),
        ("SUNSUBSCRIBE s", 1),
        ("EXEC", 1),
    ]);
}

/// Confirmations and messages come even to who asked for no replies.
#[test]
fn replies_that_are_off_do_not_silence_messages() {
    same_lines(&[
        ("CLIENT REPLY OFF", 0),
        ("SUBSCRIBE a b", 2),
        ("UNSUBSCRIBE a", 1),
        ("SSUBSCRIBE", 0),
        ("SSUBSCRIBE x", 1),
        ("UNSUBSCRIBE", 1),
        ("SUNSUBSCRIBE", 1),
        ("PSUBSCRIBE p", 1),
        ("PUNSUBSCRIBE", 1),
        ("UNSUBSCRIBE", 1),
        ("MULTI", 0),
        ("SUBSCRIBE a", 0),
        ("PUBLISH a x", 0),
        ("UNSUBSCRIBE b", 0),
        ("EXEC", 3),
        ("UNSUBSCRIBE", 1),
        ("CLIENT REPLY ON", 1),
        ("CLIENT REPLY SKIP", 0),
        ("SUBSCRIBE a", 1),
        ("UNSUBSCRIBE a", 1),
        ("PING", 1),
    ]);
}

#[test]
fn messages_reach_all_who_subscribed() {
    same_story(&[], |server| {
        let mut all = Vec::new();
        for protocol in ["HELLO 2", "HELLO 3"] {
            let (mut listener, mut sender) = (server.client(), server.client());
            listener.text(protocol);
            all.extend(say(&mut listener, "SUBSCRIBE a b", 2));
            all.extend(say(&mut listener, "PSUBSCRIBE p* \"\"", 2));
            all.extend(say(&mut listener, "SSUBSCRIBE s a", 2));
            for (line, messages) in [
                ("PUBLISH a hello", 1),
                ("PUBLISH b \"\"", 1),
                ("PUBLISH pa \"\\x00\\r\\n\"", 1),
                ("PUBLISH \"\" x", 1),
                ("PUBLISH p x", 1),
                ("PUBLISH s x", 0),
                ("PUBLISH none x", 0),
                ("SPUBLISH s hello", 1),
                ("SPUBLISH a hello", 1),
                ("SPUBLISH b hello", 0),
                ("SPUBLISH pa hello", 0),
            ] {
                all.extend(say(&mut sender, line, 1));
                (0..messages).for_each(|_| all.push(told(&listener.read())));
            }
            for line in [
                "PUBSUB NUMSUB a b none a",
                "PUBSUB SHARDNUMSUB a b s",
                "PUBSUB NUMPAT",
                "PUBSUB CHANNELS a",
                "PUBSUB CHANNELS c*",
                "PUBSUB SHARDCHANNELS s*",
                "PUBSUB NUMSUB",
                "PUBSUB SHARDNUMSUB",
                "PUBSUB CHANNELS a b",
                "PUBSUB shardCHANNELS a b",
                "PUBSUB NUMPAT x",
                "PUBSUB FOO",
                "PUBSUB",
                "COMMAND GETKEYS SPUBLISH a b",
                "COMMAND GETKEYS SSUBSCRIBE a",
                "COMMAND GETKEYSANDFLAGS SUNSUBSCRIBE",
                "COMMAND GETKEYS PUBLISH a b",
            ] {
                all.push(format!("{line}: {:?}", say(&mut sender, line, 1)));
            }
            drop(listener);
            wait_until("it is gone", || {
                sender.info("clients", "pubsub_clients") == "0"
            });
        }
        all
    });
}

/// A pattern that begins with a star does not match the empty channel, for PUBSUB CHANNELS neither.
#[test]
fn the_empty_channel_is_matched_by_the_empty_pattern_alone() {
    same_story(&[], |server| {
        let (mut listener, mut sender) = (server.client(), server.client());
        let mut all = say(&mut listener, "PSUBSCRIBE * a*", 2);
        all.extend(say(&mut listener, "SUBSCRIBE \"\"", 1));
        all.extend(say(&mut sender, "PUBLISH \"\" x", 1));
        all.push(told(&listener.read()));
        for line in [
            "PUBSUB CHANNELS *",
            "PUBSUB CHANNELS \"\"",
            "PUBSUB CHANNELS",
        ] {
            all.extend(say(&mut sender, line, 1));
        }
        all
    });
}

/// In RESP3 a subscriber may do all things: what it publishes to itself comes behind the reply.
#[test]
fn own_messages_follow_the_reply() {
    same_story(&[], |server| {
        let mut client = server.client();
        client.text("HELLO 3");
        let mut all = say(&mut client, "SUBSCRIBE a", 1);
        all.extend(say(&mut client, "PSUBSCRIBE ?", 1));
        all.extend(say(&mut client, "PUBLISH a 1", 3));
        all.extend(say(&mut client, "MULTI", 1));
        all.extend(say(&mut client, "PUBLISH a 2", 1));
        all.extend(say(&mut client, "UNSUBSCRIBE a", 1));
        all.extend(say(&mut client, "PUBLISH a 3", 1));
        all.extend(say(&mut client, "EXEC", 4));
        // To RESP2 it may go with its subscriptions, but not back.
        let mut other = server.client();
        all.extend(say(&mut client, "HELLO 2", 1).iter().map(|reply| {
            let version = reply.find("proto").unwrap_or_default();
            reply[version..version + 8].to_owned()
        }));
        all.extend(say(&mut client, "HELLO 3", 1));
        all.extend(say(&mut other, "PUBLISH b x", 1));
        all.push(told(&client.read()));
        all.extend(say(&mut client, "PUNSUBSCRIBE", 1));
        all.extend(say(&mut client, "ECHO x", 1));
        all
    });
}

/// A field of a client in CLIENT LIST.
fn field(watcher: &mut Client, id: &str, name: &str) -> String {
    let line = watcher.text(&format!("CLIENT LIST ID {id}"));
    let mut words = line.split([' ', '\n']);
    let found = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_default().to_owned()
}

#[test]
fn subscriptions_show() {
    same_story(&[], |server| {
        let (mut watcher, mut client) = (server.client(), server.client());
        let id = client.text("CLIENT ID");
        let mut all = Vec::new();
        let look = |watcher: &mut Client, all: &mut Vec<String>| {
            let fields = ["sub", "psub", "ssub", "flags"];
            all.extend(fields.map(|name| field(watcher, &id, name)));
            all.push(watcher.info("clients", "pubsub_clients"));
            for name in ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"] {
                all.push(watcher.info("stats", name));
            }
            for kind in ["PUBSUB", "NORMAL"] {
                let lines = watcher.text(&format!("CLIENT LIST TYPE {kind}"));
                all.push(lines.lines().count().to_string());
            }
        };
        for (line, replies) in [
            ("SUBSCRIBE a b", 2),
            ("PSUBSCRIBE a* b*", 2),
            ("SSUBSCRIBE s", 1),
            ("UNSUBSCRIBE", 2),
            ("PUNSUBSCRIBE a*", 1),
            ("SUNSUBSCRIBE", 1),
            ("PUNSUBSCRIBE none", 1),
            ("PUNSUBSCRIBE", 1),
            ("SUBSCRIBE a", 1),
        ] {
            say(&mut client, line, replies);
            look(&mut watcher, &mut all);
        }
        // Those who leave without a word are forgotten all the same.
        let mut others: Vec<Client> = (0..3).map(|_| server.client()).collect();
        say(&mut others[0], "SUBSCRIBE a", 1);
        say(&mut others[1], "PSUBSCRIBE x", 1);
        say(&mut others[1], "RESET", 1);
        say(&mut others[2], "SSUBSCRIBE x", 1);
        drop(others);
        wait_until("they are gone", || {
            watcher.info("clients", "connected_clients") == "2"
        });
        look(&mut watcher, &mut all);
        all.push(watcher.text("CLIENT KILL TYPE pubsub"));
        wait_until("it is gone", || {
            watcher.info("clients", "connected_clients") == "1"
        });
        look(&mut watcher, &mut all);
        assert!(client.read_reply().is_err());
        all
    });
}

/// What subscriptions take is told, and given back.
#[test]
fn memory_of_subscriptions_is_counted_and_given_back() {
    const COUNT: usize = 100_000;
    let server = Server::start(&[]);
    let (mut watcher, mut client) = (server.client(), server.client());
    let id = client.text("CLIENT ID");
    let used =
        |client: &mut Client| -> usize { client.info("memory", "used_memory").parse().unwrap() };
    let before = used(&mut watcher);
    for kind in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        let names = (0..COUNT).map(|number| format!("name:{number}"));
        let words: Vec<String> = [kind.to_owned()].into_iter().chain(names).collect();
        let mut request = Vec::new();
        push_request(&mut request, &words);
        client.send(&request);
        (0..COUNT).for_each(|_| drop(client.read()));
    }
    let total: usize = field(&mut watcher, &id, "tot-mem").parse().unwrap();
    assert!(total > 3 * COUNT * 32, "{total}");
    assert!(used(&mut watcher) > before + 3 * COUNT * 32);
    // Some subscribers more to one of its channels, who come and go.
    let mut others: Vec<Client> = (0..300).map(|_| server.client()).collect();
    for other in &mut others {
        say(other, "SUBSCRIBE name:7", 1);
    }
    assert_eq!(watcher.text("PUBLISH name:7 x"), "302");
    drop(client);
    wait_until("it is gone", || {
        watcher.info("stats", "pubsub_channels") == "1"
    });
    assert_eq!(watcher.text("PUBLISH name:7 x"), "300");
    for other in &mut others {
        assert_eq!(other.read().to_string(), "[message, name:7, x]");
        assert_eq!(other.read().to_string(), "[message, name:7, x]");
    }
    drop(others);
    wait_until("they are gone", || {
        watcher.info("stats", "pubsub_channels") == "0"
    });
    wait_until("their memory is given back", || {
        used(&mut watcher) < before + (8 << 20)
    });
}

#[test]
fn ten_thousand_channels() {
    const COUNT: usize = 10_000;
    let server = Server::start(&[]);
    let (mut sender, mut listener) = (server.client(), server.client());
    listener.text("HELLO 3");
    let mut request = Vec::new();
    for number in 0..COUNT {
        push_request(&mut request, &["SUBSCRIBE", &format!("channel:{number}")]);
    }
    listener.send(&request);
    for number in 0..COUNT {
        let wanted = format!("[subscribe, channel:{number}, {}]", number + 1);
        assert_eq!(listener.read().to_string(), wanted);
    }
    let mut request = Vec::new();
    for number in 0..COUNT {
        push_request(
            &mut request,
            &["PUBLISH", &format!("channel:{number}"), "x"],
        );
    }
    sender.send(&request);
    for number in 0..COUNT {
        assert_eq!(sender.read(), Value::Int(1));
        let wanted = format!("[message, channel:{number}, x]");
        assert_eq!(listener.read().to_string(), wanted);
    }
    let ends = say(&mut listener, "UNSUBSCRIBE", COUNT);
    assert_eq!(
        ends[0],
        format!("push [unsubscribe, channel:0, {}]", COUNT - 1)
    );
    assert_eq!(
        ends[COUNT - 1],
        format!("push [unsubscribe, channel:{}, 0]", COUNT - 1)
    );
    assert_eq!(sender.text("PUBSUB CHANNELS"), "[]");
}

/// A subscriber that does not read is closed by the limits of its class, in the middle of a publisher's pipeline; others
/// hear all.
#[test]
fn a_subscriber_that_does_not_read_is_closed() {
    const BYTES: usize = 100_000;
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 8mb 0 0"]);
    let (mut sender, mut slow, mut other) = (server.client(), server.client(), server.client());
    say(&mut slow, "SUBSCRIBE a", 1);
    say(&mut other, "SUBSCRIBE b", 1);
    let mut request = Vec::new();
    push_request(&mut request, &[b"PUBLISH".as_slice(), b"a", &[b'x'; BYTES]]);
    let mut closed = false;
    for _ in 0..50 {
        sender.send(&request.repeat(20));
        let receivers: Vec<Value> = (0..20).map(|_| sender.read()).collect();
        closed |= receivers.contains(&Value::Int(0));
    }
    assert!(closed);
    assert_eq!(sender.text("PUBLISH b x"), "1");
    assert_eq!(other.read().to_string(), "[message, b, x]");
    assert_eq!(
        sender.info("stats", "client_output_buffer_limit_disconnections"),
        "1"
    );
    assert!(
        server
            .log()
            .contains("lib-name= lib-ver= io-thread=0 scheduled to be closed ASAP for overcoming of output buffer limits.")
    );
    assert!(slow.is_dropped());
    assert_eq!(sender.info("stats", "pubsub_channels"), "1");
}

/// The soft limit closes it by the clock alone.
#[test]
fn the_soft_limit_of_subscribers_is_a_matter_of_time() {
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 0 300kb 1"]);
    let (mut sender, mut slow) = (server.client(), server.client());
    let id = slow.text("CLIENT ID");
    say(&mut slow, "SUBSCRIBE a", 1);
    let message = vec![b'x'; 100_000];
    // None that can be parsed: it is gone already.
    while field(&mut sender, &id, "omem")
        .parse()
        .is_ok_and(|omem: usize| omem <= 400_000)
    {
        sender.call(&[b"PUBLISH".as_slice(), b"a", &message]);
    }
    wait_until("it is closed by the clock", || {
        sender.info("clients", "connected_clients") == "1"
    });
    assert!(slow.is_dropped());
}

/// Idle subscribers are no idle clients.
#[test]
fn an_idle_subscriber_stays() {
    let server = Server::start(&["--timeout", "1"]);
    let (mut listener, mut idle) = (server.client(), server.client());
    say(&mut listener, "SSUBSCRIBE a", 1);
    assert_eq!(idle.text("PING"), "PONG");
    assert!(idle.read_reply().is_err());
    let mut sender = server.client();
    assert_eq!(sender.text("SPUBLISH a x"), "1");
    assert_eq!(listener.read().to_string(), "[smessage, a, x]");
}

/// PUBLISH may write to replicas: a pause of writes holds it back, in a transaction too.
#[test]
fn a_pause_of_writes_holds_publish_back() {
    let server = Server::start(&[]);
    let (mut sender, mut listener, mut other) = (server.client(), server.client(), server.client());
    say(&mut listener, "SUBSCRIBE a", 1);
    for line in ["PUBLISH a x", "SPUBLISH a x"] {
        assert_eq!(other.text("CLIENT PAUSE 60000 WRITE"), "OK");
        sender.send(format!("{line}\r\n").as_bytes());
        wait_until("it waits", || {
            other.info("clients", "blocked_clients") == "1"
        });
        assert_eq!(other.text("CLIENT UNPAUSE"), "OK");
        sender.read();
    }
    assert_eq!(listener.read().to_string(), "[message, a, x]");
}

/// A primary's messages reach subscribers of its replicas, of either make, in and out of transactions.
#[test]
fn messages_reach_the_subscribers_of_replicas() {
    let ours = || Server::start(&["--repl-diskless-sync-delay", "0"]);
    let theirs = || Peer::Redis8.start(&["--repl-diskless-sync-delay", "0"]);
    let mut pairs = vec![(ours(), ours())];
    if let (Some(primary), Some(replica)) = (theirs(), theirs()) {
        pairs.extend([(ours(), replica), (primary, ours())]);
    }
    for (primary, replica) in pairs {
        let (mut sender, mut listener, mut reader) =
            (primary.client(), replica.client(), replica.client());
        let mut at_primary = primary.client();
        reader.text(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        wait_until("the sync", || {
            reader.info("replication", "master_link_status") == "up"
        });
        say(&mut listener, "SUBSCRIBE a", 1);
        say(&mut listener, "SSUBSCRIBE a", 1);
        say(&mut at_primary, "PSUBSCRIBE ?", 1);
        // The primary counts its own; who subscribed elsewhere does not count.
        assert_eq!(sender.text("PUBLISH a 1"), "1");
        assert_eq!(sender.text("SPUBLISH a 2"), "0");
        for line in ["MULTI", "PUBLISH a 3", "SET k v", "SPUBLISH a 4", "EXEC"] {
            sender.text(line);
        }
        for wanted in [
            "[message, a, 1]",
            "[smessage, a, 2]",
            "[message, a, 3]",
            "[smessage, a, 4]",
        ] {
            assert_eq!(listener.read().to_string(), wanted);
        }
        // A replica publishes for its own subscribers alone.
        assert_eq!(reader.text("PUBLISH a 5"), "1");
        assert_eq!(listener.read().to_string(), "[message, a, 5]");
        assert_eq!(sender.text("PUBLISH a 6"), "1");
        for wanted in ["1", "3", "6"] {
            let wanted = format!("[pmessage, ?, a, {wanted}]");
            assert_eq!(at_primary.read().to_string(), wanted);
        }
        assert_eq!(listener.read().to_string(), "[message, a, 6]");
    }
}

/// Some clients, each with a protocol of its own, that subscribe, leave and publish at random.
#[test]
fn random_subscribers_hear_what_those_of_redis_hear() {
    let seed = seed();
    println!("SEED={seed}");
    same_story(&[], |server| {
        let mut prng = Prng::new(seed);
        let mut clients: Vec<Client> = (0..5).map(|_| server.client()).collect();
        for client in clients.iter_mut().skip(2) {
            client.text("HELLO 3");
        }
        let mut all = Vec::new();
        for step in 0..3000 {
            let index = prng.below(5) as usize;
            let line = random_line(&mut prng);
            let words: Vec<&str> = line.split(' ').collect();
            let mut request = Vec::new();
            push_request(&mut request, &words);
            clients[index].send(&request);
            all.push(format!("step {step}: {index} {line}"));
            // Each hears the mark behind what the line brought it.
            for number in (index..5).chain(0..index) {
                all.push(heard(&mut clients[number], step));
            }
        }
        all
    });
}

fn random_line(prng: &mut Prng) -> String {
    const NAMES: &[&str] = &["a", "b", "ab", "abc", "?", "a*", "*"];
    let name = |prng: &mut Prng| NAMES[prng.below(NAMES.len() as u64) as usize];
    let names = |prng: &mut Prng, least: u64| -> String {
        let count = least + prng.below(3);
        (0..count).map(|_| format!(" {}", name(prng))).collect()
    };
    match prng.below(12) {
        0..=2 => format!("PUBLISH {} x", name(prng)),
        3 => format!("SPUBLISH {} x", name(prng)),
        4 => format!("SUBSCRIBE{}", names(prng, 1)),
        5 => format!("PSUBSCRIBE{}", names(prng, 1)),
        6 => format!("SSUBSCRIBE{}", names(prng, 1)),
        7 => format!("UNSUBSCRIBE{}", names(prng, 0)),
        8 => format!("PUNSUBSCRIBE{}", names(prng, 0)),
        9 => format!("SUNSUBSCRIBE{}", names(prng, 0)),
        10 => "RESET".to_owned(),
        _ => format!("PUBSUB NUMSUB{}", names(prng, 0)),
    }
}

/// What a client has been sent, in no order: that of patterns, and of names that one command leaves, is Redis's own.
fn heard(client: &mut Client, step: usize) -> String {
    let mark = format!("mark{step}");
    client.send(format!("PING {mark}\r\n").as_bytes());
    let mut all = Vec::new();
    loop {
        let reply = told(&client.read());
        if reply == mark || reply == format!("[pong, {mark}]") {
            break;
        }
        // Of the names that go together each may be the first.
        let left = ["unsubscribe, ", "punsubscribe, ", "sunsubscribe, "];
        match left.iter().any(|kind| reply.contains(kind)) {
            true => all.extend(reply.trim_end_matches(']').split(", ").map(str::to_owned)),
            false => all.push(reply),
        }
    }
    all.sort();
    all.join(" ")
}

/// Pipelines of one client: transactions, silence, both protocols, resets and its own messages and events, byte for byte.
#[test]
fn random_pipelines_of_a_subscriber_answer_as_redis() {
    // One name of each kind: in which order Redis leaves several is its own.
    const LINES: &[&str] = &[
        "SUBSCRIBE a",
        "SUBSCRIBE a a",
        "PSUBSCRIBE [ab]",
        "PSUBSCRIBE __key*__:*",
        "SSUBSCRIBE a",
        "UNSUBSCRIBE",
        "UNSUBSCRIBE a b",
        "PUNSUBSCRIBE [ab]",
        "PUNSUBSCRIBE __key*__:*",
        "SUNSUBSCRIBE",
        "PUBLISH a x",
        "PUBLISH a x",
        "SPUBLISH a x",
        "PUBSUB NUMSUB a",
        "PING",
        "PING x",
        "GET k",
        "SET k v",
        "DEL k",
        "WATCH k",
        "NOSUCH",
        "MULTI",
        "MULTI",
        "EXEC",
        "EXEC",
        "EXEC",
        "DISCARD",
        "RESET",
        "CLIENT REPLY ON",
        "CLIENT REPLY OFF",
        "CLIENT REPLY SKIP",
        "HELLO 2",
        "HELLO 3",
        "HELLO 3",
    ];
    const END: &[u8] = b"-ERR unknown command 'sentinel', with args beginning with: \r\n";
    let seed = seed();
    println!("SEED={seed}");
    same_story(&["--notify-keyspace-events", "KEA"], |server| {
        let mut prng = Prng::new(seed);
        let mut control = server.client();
        let mut all = Vec::new();
        for _ in 0..400 {
            control.text("FLUSHALL");
            let mut lines = Vec::new();
            let mut queues = false;
            for _ in 0..1 + prng.below(30) {
                let line = LINES[prng.below(LINES.len() as u64) as usize];
                queues = match line {
                    "MULTI" => true,
                    "EXEC" | "DISCARD" | "RESET" => false,
                    // What came before it in a transaction is in the old protocol there, in the new one here.
                    _ if queues && line.starts_with("HELLO") => continue,
                    _ => queues,
                };
                lines.push(line);
            }
            let mut client = server.client();
            client.send(format!("{}\r\nRESET\r\nsentinel\r\n", lines.join("\r\n")).as_bytes());
            let (bytes, _) = client.read_until(END, Duration::from_secs(20));
            assert!(bytes.ends_with(END), "{lines:?}");
            let bytes = crate::differential::normalised(bytes);
            all.push(format!(
                "{lines:?}: {}",
                redoxide::base::quote::quoted(&bytes)
            ));
            drop(client);
            wait_until("it is gone", || {
                control.info("clients", "connected_clients") == "1"
            });
        }
        all
    });
}

/// A client of RESP3 that is closed for its output while it publishes to itself harms nobody.
#[test]
fn an_own_flood_ends_the_flooder_alone() {
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let (mut flooder, mut other) = (server.client(), server.client());
    flooder.text("HELLO 3");
    say(&mut flooder, "SUBSCRIBE a", 1);
    let mut request = Vec::new();
    push_request(
        &mut request,
        &[b"PUBLISH".as_slice(), b"a", &[b'x'; 1 << 20]],
    );
    flooder.try_send(&request.repeat(30));
    flooder.set_deadline(Duration::from_secs(60));
    assert!(flooder.is_dropped());
    assert_eq!(other.text("PUBSUB NUMSUB a"), "[a, 0]");
}
