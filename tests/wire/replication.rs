//! Replication between real servers: with servers of its own kind, and with Redis and Valkey in both roles.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Client, Peer, Server, Value, push_request, target, wait_until};

/// Full syncs start at once.
const QUICK: &[&str] = &[
    "--enable-debug-command",
    "yes",
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
];

fn start() -> Server {
    Server::start(QUICK)
}

/// The programs to pair with: always the target itself, and the peers that are here.
fn programs() -> Vec<PathBuf> {
    let peers = [Peer::Redis8, Peer::Redis7, Peer::Valkey];
    std::iter::once(target())
        .chain(peers.iter().filter_map(|peer| peer.find()))
        .collect()
}

fn follow(replica: &Server, source: &Server) {
    let reply = replica
        .client()
        .text(&format!("REPLICAOF 127.0.0.1 {}", source.port()));
    assert!(reply.starts_with("OK"), "{reply}");
    link_up(replica);
}

fn link_up(replica: &Server) {
    let mut client = replica.client();
    wait_until("the link to the master is up", || {
        client.info("replication", "master_link_status") == "up"
    });
}

fn caught_up(source: &Server, replica: &Server) {
    let (mut a, mut b) = (source.client(), replica.client());
    wait_until("the replica has its source's offset and id", || {
        let field = "master_repl_offset";
        a.info("replication", field) == b.info("replication", field)
            && a.info("replication", "master_replid") == b.info("replication", "master_replid")
    });
}

/// All keys of all databases with type, value and deadline.
fn contents(server: &Server) -> Vec<(usize, String, Value, Value, Value)> {
    let mut client = server.client();
    let mut all = Vec::new();
    for db in 0..16 {
        client.text(&format!("SELECT {db}"));
        let Value::Array(keys) = client.value("KEYS *") else {
            panic!("KEYS gave no array")
        };
        let keys: Vec<String> = keys.iter().map(Value::to_string).collect();
        for keys in keys.chunks(1000) {
            let mut requests = Vec::new();
            for key in keys {
                for command in ["TYPE", "DEBUG DIGEST-VALUE", "PEXPIRETIME"] {
                    let words: Vec<&str> = command.split(' ').chain([key.as_str()]).collect();
                    push_request(&mut requests, &words);
                }
            }
            client.send(&requests);
            for key in keys {
                let [kind, value, deadline] = [(); 3].map(|()| client.read());
                all.push((db, key.clone(), kind, value, deadline));
            }
        }
    }
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all
}

fn assert_same(source: &Server, replica: &Server) {
    caught_up(source, replica);
    assert_eq!(contents(source), contents(replica));
}

/// An offset in INFO replication.
fn offset(client: &mut Client, field: &str) -> u64 {
    let text = client.info("replication", field);
    text.parse()
        .unwrap_or_else(|_| panic!("{field} is {text:?}"))
}

fn count(client: &mut Client, field: &str) -> u64 {
    client.info("stats", field).parse().unwrap_or(0)
}

#[test]
fn a_pair_through_its_life() {
    let mut source = start();
    let replica = start();
    let mut client = source.client();
    for value in 1..=100 {
        assert_eq!(client.text(&format!("SET key:{value} {value}")), "OK");
    }
    client.text("SET brief 1 PX 100000000");
    client.text("SELECT 9");
    client.text("SET there 1");
    client.text("SELECT 0");
    follow(&replica, &source);
    caught_up(&source, &replica);
    let mut reader = replica.client();
    for value in (1..=100).rev() {
        assert_eq!(reader.text(&format!("GET key:{value}")), value.to_string());
    }
    assert_same(&source, &replica);
    assert_eq!(
        reader.text("SET a 1"),
        "(error) READONLY You can't write against a read only replica."
    );

    // Promoted and back: what it holds is still the source's history.
    assert_eq!(reader.text("REPLICAOF NO ONE"), "OK");
    assert_eq!(reader.info("replication", "role"), "master");
    client.text("SET meanwhile 1");
    let partial = count(&mut client, "sync_partial_ok");
    follow(&replica, &source);
    assert_same(&source, &replica);
    assert_eq!(count(&mut client, "sync_partial_ok"), partial + 1);

    // The source dies and comes back with its file.
    assert_eq!(client.text("SAVE"), "OK");
    client.text("SET unsaved 1");
    let args: Vec<&str> = QUICK.to_vec();
    source.restart(&args);
    link_up(&replica);
    assert!(replica.log().contains("* Connection with master lost.\n"));
    let mut client = source.client();
    assert_eq!(client.text("GET key:50"), "50");
    client.text("SET after 1");
    assert_same(&source, &replica);
    assert_eq!(replica.client().text("GET after"), "1");
}

#[test]
fn the_same_through_redis_cli() {
    let Some(server) = Peer::Redis8.find().or_else(|| Peer::Redis7.find()) else {
        return;
    };
    let cli = PathBuf::from(
        server
            .to_string_lossy()
            .replace("redis-server", "redis-cli"),
    );
    let (source, replica) = (start(), start());
    let call = |server: &Server, line: &str| {
        let output = Command::new(&cli)
            .args(["-p", &server.port().to_string()])
            .args(line.split(' '))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    };
    for value in 1..=20 {
        assert_eq!(call(&source, &format!("SET key:{value} {value}")), "OK");
    }
    assert_eq!(
        call(&replica, &format!("REPLICAOF 127.0.0.1 {}", source.port())),
        "OK"
    );
    link_up(&replica);
    assert_eq!(call(&source, "SET last 1"), "OK");
    caught_up(&source, &replica);
    for value in (1..=20).rev() {
        assert_eq!(
            call(&replica, &format!("GET key:{value}")),
            value.to_string()
        );
    }
    assert_eq!(call(&replica, "DBSIZE"), call(&source, "DBSIZE"));
    assert!(call(&replica, "ROLE").starts_with("slave\n127.0.0.1\n"));
}

fn fill(server: &Server, keys: usize) {
    let mut client = server.client();
    let pad = "x".repeat(50);
    for first in (0..keys).step_by(500) {
        let pairs: Vec<String> = (first..(first + 500).min(keys))
            .map(|key| format!("k{key} {key}-{pad}"))
            .collect();
        assert_eq!(client.text(&format!("MSET {}", pairs.join(" "))), "OK");
    }
    client.text("SET number 12345");
    client.text("SET text \"some text that is a little longer than forty-four bytes\" EX 10000");
    for hash in ["small", "large"] {
        let fields = if hash == "small" { 3 } else { 1000 };
        let pairs: Vec<String> = (0..fields)
            .map(|field| format!("f{field} v{field}"))
            .collect();
        client.text(&format!("HSET {hash} {}", pairs.join(" ")));
    }
    client.text("SELECT 3");
    client.text("SET k1 three PX 77777777");
    client.text("SELECT 0");
}

/// Writes that are rewritten on their way, in several databases and a transaction.
fn change(server: &Server) {
    let mut client = server.client();
    for line in [
        "INCR counter",
        "INCRBYFLOAT float 10.25",
        "APPEND text more",
        "SET brief 1 PX 60000",
        "EXPIRE k1 1000",
        "GETEX k2 EX 1000",
        "SETEX k3 1000 v",
        "GETDEL k4",
        "DEL k5 k6",
        "SELECT 4",
        "SET here 1",
        "MULTI",
        "INCR here",
        "SELECT 5",
        "INCR there",
        "EXEC",
        "SELECT 0",
        "RENAME k7 k8",
        "COPY k9 k10 REPLACE",
        "SETRANGE k11 5 yyy",
        "MSETNX n1 1 n2 2",
        "HSET small f1 other f9 new",
        "HDEL large f1 f2 f3",
        "HSET brief:hash a 1",
        "HDEL brief:hash a",
        "RENAME large moved",
        "COPY moved large",
        "EXPIRE small 1000",
    ] {
        let reply = client.text(line);
        assert!(!reply.starts_with("(error)"), "{line}: {reply}");
    }
}

#[test]
fn replica_of_every_server() {
    for program in programs() {
        for diskless in ["yes", "no"] {
            eprintln!("source {} diskless {diskless}", program.display());
            let mut args = QUICK.to_vec();
            args.extend(["--repl-diskless-sync", diskless]);
            let source = Server::start_program(&program, &args);
            fill(&source, 5000);
            let replica = start();
            follow(&replica, &source);
            change(&source);
            assert_same(&source, &replica);
            // The link is cut: it goes on where it was.
            let mut client = source.client();
            assert_eq!(client.text("CLIENT KILL TYPE replica"), "1");
            change_again(&mut client);
            link_up(&replica);
            assert_same(&source, &replica);
            assert_eq!(count(&mut client, "sync_full"), 1);
            assert_eq!(count(&mut client, "sync_partial_ok"), 1);
        }
    }
}

fn change_again(client: &mut Client) {
    for line in ["SET again 1", "INCR counter", "DEL k20"] {
        assert!(!client.text(line).starts_with("(error)"), "{line}");
    }
}

#[test]
fn source_of_every_server() {
    for program in programs() {
        for diskless in ["yes", "no"] {
            eprintln!("replica {} diskless {diskless}", program.display());
            let mut args = QUICK.to_vec();
            args.extend(["--repl-diskless-sync", diskless]);
            let source = Server::start(&args);
            fill(&source, 5000);
            let replica = Server::start_program(&program, QUICK);
            follow(&replica, &source);
            change(&source);
            assert_same(&source, &replica);
            let mut client = source.client();
            assert_eq!(client.text("CLIENT KILL TYPE replica"), "1");
            change_again(&mut client);
            link_up(&replica);
            assert_same(&source, &replica);
            assert_eq!(count(&mut client, "sync_full"), 1);
            assert_eq!(count(&mut client, "sync_partial_ok"), 1);
            let slave = client.info("replication", "slave0");
            assert!(slave.starts_with("ip=127.0.0.1,port="), "{slave}");
            assert!(
                slave.contains(&format!("port={},state=online,offset=", replica.port())),
                "{slave}"
            );
        }
    }
}

#[test]
fn a_chain_outlives_its_head() {
    for middle in programs() {
        eprintln!("middle {}", middle.display());
        let head = start();
        let middle = Server::start_program(&middle, QUICK);
        let tail = start();
        fill(&head, 100);
        follow(&middle, &head);
        follow(&tail, &middle);
        change(&head);
        assert_same(&head, &middle);
        assert_same(&head, &tail);
        // The middle is promoted: the tail continues, and the old head comes back as a replica.
        assert_eq!(middle.client().text("REPLICAOF NO ONE"), "OK");
        let mut client = middle.client();
        client.text("SET promoted 1");
        caught_up(&middle, &tail);
        follow(&head, &middle);
        client.text("SET promoted 2");
        assert_same(&middle, &tail);
        assert_same(&middle, &head);
        assert_eq!(count(&mut client, "sync_full"), 1);
        assert_eq!(head.client().text("GET promoted"), "2");
    }
}

#[test]
fn writes_go_on_during_a_full_sync() {
    let source = start();
    fill(&source, 50_000);
    let mut client = source.client();
    let replicas = [start(), start(), start()];
    for replica in &replicas {
        replica
            .client()
            .text(&format!("REPLICAOF 127.0.0.1 {}", source.port()));
    }
    for round in 0..3000 {
        client.text(&format!("SET k{} r{round}", round * 7 % 50_000));
    }
    for replica in &replicas {
        link_up(replica);
        assert_same(&source, replica);
    }
}

#[test]
fn wait_and_min_replicas() {
    let (source, replica) = (start(), start());
    let mut client = source.client();
    client.text("SET a 1");
    assert_eq!(client.text("WAIT 0 0"), "0");
    assert_eq!(client.text("WAIT 1 50"), "0");
    follow(&replica, &source);
    client.text("SET a 2");
    assert_eq!(client.text("WAIT 1 5000"), "1");
    assert_eq!(client.text("WAIT 2 50"), "1");
    assert_eq!(client.text("WAIT -1 0"), "1");
    assert_eq!(client.text("WAIT 1 -1"), "(error) ERR timeout is negative");
    assert!(
        replica
            .client()
            .text("WAIT 0 0")
            .starts_with("(error) ERR WAIT cannot be used")
    );
    assert_eq!(client.text("CONFIG SET min-replicas-to-write 2"), "OK");
    assert_eq!(
        client.text("SET a 3"),
        "(error) NOREPLICAS Not enough good replicas to write."
    );
    assert_eq!(client.text("CONFIG SET min-replicas-to-write 1"), "OK");
    assert_eq!(client.text("SET a 3"), "OK");
    let Value::Array(role) = client.value("ROLE") else {
        panic!("ROLE")
    };
    assert_eq!(role[0].to_string(), "master");
    let Value::Array(slaves) = &role[2] else {
        panic!("ROLE: {role:?}")
    };
    assert!(
        slaves[0]
            .to_string()
            .starts_with(&format!("[127.0.0.1, {}, ", replica.port()))
    );
}

#[test]
fn stale_replicas_and_passwords() {
    let mut source = Server::start(&[QUICK, &["--requirepass", "secret"]].concat());
    let replica = Server::start(&[QUICK, &["--masterauth", "secret"]].concat());
    follow(&replica, &source);
    let mut reader = replica.client();
    assert_eq!(reader.text("GET a"), "(nil)");
    let mut queues = [replica.client(), replica.client()];
    for (client, command) in queues.iter_mut().zip(["GET a", "ECHO here"]) {
        client.text("MULTI");
        assert_eq!(client.text(command), "QUEUED");
    }
    source.kill();
    wait_until("the link is down", || {
        reader.info("replication", "master_link_status") == "down"
    });
    assert_eq!(reader.text("GET a"), "(nil)");
    assert_eq!(reader.text("CONFIG SET replica-serve-stale-data no"), "OK");
    assert_eq!(
        reader.text("GET a"),
        "(error) MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    );
    assert_eq!(
        queues[0].text("EXEC"),
        "(error) EXECABORT Transaction discarded because of: MASTERDOWN Link with MASTER is down and \
         replica-serve-stale-data is set to 'no'."
    );
    assert_eq!(queues[1].text("EXEC"), "[here]");
    assert!(reader.text("ROLE").starts_with("[slave, 127.0.0.1, "));
}

#[test]
fn expiry_is_propagated_as_deletes() {
    let (source, replica) = (start(), start());
    follow(&replica, &source);
    let mut client = source.client();
    let mut reader = replica.client();
    client.text("SET brief 1 PX 1000000");
    client.text("SET b2 1 PX 150");
    assert_eq!(client.text("WAIT 1 20000"), "1");
    assert_eq!(reader.text("GET brief"), "1");
    assert_eq!(client.text("PEXPIRE brief 150"), "1");
    wait_until("the keys are gone", || reader.text("DBSIZE") == "0");
    assert_eq!(client.text("DBSIZE"), "0");
    assert_same(&source, &replica);
}

#[test]
fn a_replica_keeps_its_place_over_a_restart() {
    let (source, mut replica) = (start(), start());
    fill(&source, 100);
    follow(&replica, &source);
    caught_up(&source, &replica);
    let mut client = source.client();
    assert_eq!(replica.client().text("SAVE"), "OK");
    let port = source.port().to_string();
    let mut args = QUICK.to_vec();
    args.extend(["--replicaof", "127.0.0.1", &port]);
    client.text("SET between 1");
    replica.restart(&args);
    link_up(&replica);
    assert_same(&source, &replica);
    assert_eq!(count(&mut client, "sync_full"), 1);
    assert_eq!(count(&mut client, "sync_partial_ok"), 1);
}

#[test]
fn failover_loses_nothing() {
    for program in programs() {
        eprintln!("replica {}", program.display());
        let source = start();
        let replica = Server::start_program(&program, QUICK);
        follow(&replica, &source);
        let mut client = source.client();
        for key in 0..500 {
            client.text(&format!("SET k{key} {key}"));
        }
        let target = format!("127.0.0.1 {}", replica.port());
        assert_eq!(
            client.text(&format!("FAILOVER TO {target} TIMEOUT 10000")),
            "OK"
        );
        link_up(&source);
        assert_eq!(replica.client().info("replication", "role"), "master");
        assert_eq!(
            client.info("replication", "master_failover_state"),
            "no-failover"
        );
        replica.client().text("SET after 1");
        assert_same(&replica, &source);
        assert_eq!(count(&mut replica.client(), "sync_full"), 0);
        // And back, by the other's command.
        let mut other = replica.client();
        assert_eq!(other.text("FAILOVER"), "OK");
        link_up(&replica);
        assert_eq!(client.info("replication", "role"), "master");
        assert_eq!(client.text("SET back 1"), "OK");
        assert_same(&source, &replica);
    }
}

#[test]
fn a_failover_that_times_out_changes_nothing() {
    let (source, replica) = (start(), start());
    follow(&replica, &source);
    replica.signal("STOP");
    let mut client = source.client();
    client.text("SET a 1");
    // In one piece, so that they are run before any time is over.
    client.send(b"FAILOVER TIMEOUT 300\r\nINFO replication\r\nFAILOVER\r\nSET a 2\r\n");
    assert_eq!(client.read().to_string(), "OK");
    let info = client.read().to_string();
    assert!(
        info.contains("\nmaster_failover_state:waiting-for-sync\r"),
        "{info}"
    );
    assert_eq!(
        client.read().to_string(),
        "(error) ERR FAILOVER already in progress."
    );
    assert_eq!(client.read().to_string(), "OK");
    assert_eq!(
        client.info("replication", "master_failover_state"),
        "no-failover"
    );
    assert_eq!(client.info("replication", "role"), "master");
    replica.signal("CONT");
    assert_same(&source, &replica);
}

#[test]
fn a_name_with_several_addresses() {
    let (source, replica) = (start(), start());
    let reply = replica
        .client()
        .text(&format!("REPLICAOF localhost {}", source.port()));
    assert_eq!(reply, "OK");
    link_up(&replica);
    assert_same(&source, &replica);
}

#[test]
fn a_replica_that_dies_during_a_full_sync_harms_nobody() {
    let (source, mut first, second) = (start(), start(), start());
    fill(&source, 50_000);
    let line = format!("REPLICAOF 127.0.0.1 {}", source.port());
    first.client().text(&line);
    second.client().text(&line);
    first.kill();
    link_up(&second);
    assert_same(&source, &second);
    first.restart(QUICK);
    follow(&first, &source);
    assert_same(&source, &first);
}

#[test]
fn a_full_sync_answers_loading() {
    for mode in ["disabled", "swapdb"] {
        // What the replica holds is of another history than its master's: nobody is served from it.
        let field = "loading";
        let source = start();
        let options = [
            "--repl-diskless-load",
            mode,
            "--loading-process-events-interval-bytes",
            "1024",
        ];
        let replica = Server::start(&[QUICK, &options].concat());
        fill(&source, 30_000);
        source.client().text("CONFIG SET rdb-key-save-delay 100");
        let mut reader = replica.client();
        reader.text("SET old 1");
        reader.text(&format!("REPLICAOF 127.0.0.1 {}", source.port()));
        wait_until("the full sync arrives", || {
            reader.info("persistence", field) == "1"
        });
        assert_ne!(reader.info("persistence", "loading_start_time"), "");
        let (old, role) = (reader.text("GET old"), reader.text("ROLE"));
        if reader.info("persistence", field) == "1" {
            assert_eq!(
                old,
                "(error) LOADING Redis is loading the dataset in memory"
            );
            assert!(role.starts_with("[slave, "), "{role}");
        }
        source.client().text("CONFIG SET rdb-key-save-delay 0");
        link_up(&replica);
        assert_eq!(reader.info("persistence", field), "0");
        caught_up(&source, &replica);
        let digest = reader.text("DEBUG DIGEST");
        assert_eq!(digest, source.client().text("DEBUG DIGEST"));
    }
}

/// Makes the replicas' next synchronisation a full one, of a history that they know.
fn break_off(source: &Server) {
    let mut client = source.client();
    client.text("MULTI");
    client.text("CLIENT KILL TYPE replica");
    client.text("CONFIG SET repl-backlog-size 16384");
    client.call(&["SET", "big", &"x".repeat(200_000)]);
    client.text("EXEC");
}

#[test]
fn a_full_sync_of_the_same_history_serves_the_old_data() {
    let source = start();
    let options = [
        "--repl-diskless-load",
        "swapdb",
        "--loading-process-events-interval-bytes",
        "1024",
    ];
    let replica = Server::start(&[QUICK, &options].concat());
    fill(&source, 2000);
    source.client().text("SET old 1");
    follow(&replica, &source);
    assert_same(&source, &replica);
    let mut reader = replica.client();
    reader.text("CONFIG SET key-load-delay 1000000");
    break_off(&source);
    wait_until("the full sync arrives", || {
        reader.info("persistence", "async_loading") == "1"
    });
    assert_eq!(reader.text("GET old"), "1");
    assert_eq!(reader.info("persistence", "loading"), "0");
    reader.text("CONFIG SET key-load-delay 0");
    link_up(&replica);
    assert_same(&source, &replica);
}

#[test]
fn a_load_can_be_slowed_down() {
    let (source, mut replica) = (start(), start());
    fill(&source, 2000);
    let mut client = replica.client();
    // Far beyond the test's time, were it slept through.
    client.text("CONFIG SET key-load-delay 1000000 loading-process-events-interval-bytes 1024");
    client.text(&format!("REPLICAOF 127.0.0.1 {}", source.port()));
    wait_until("the load began", || {
        client.info("persistence", "loading") == "1"
    });
    for _ in 0..20 {
        assert!(client.text("GET a").starts_with("(error) LOADING"));
    }
    client.text("CONFIG SET key-load-delay -100");
    link_up(&replica);
    assert_same(&source, &replica);
    assert_eq!(client.text("SAVE"), "OK");
    replica.kill();
    let began = Instant::now();
    replica.restart(&[QUICK, &["--key-load-delay", "500"]].concat());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let mut client = replica.client();
    assert_ne!(client.text("DBSIZE"), "0");
}

#[test]
fn a_paused_replica_reads_but_does_not_apply() {
    let (source, replica) = (start(), start());
    follow(&replica, &source);
    caught_up(&source, &replica);
    let (mut writer, mut reader) = (source.client(), replica.client());
    reader.text("CLIENT PAUSE 100000 WRITE");
    let before = offset(&mut reader, "slave_repl_offset");
    writer.text("SET a 1");
    let end = offset(&mut writer, "master_repl_offset");
    wait_until("the write is read", || {
        offset(&mut reader, "slave_read_repl_offset") >= end
    });
    let applied = offset(&mut reader, "slave_repl_offset");
    assert!(applied < end, "{before} {applied} {end}");
    assert_eq!(reader.text("GET a"), "(nil)");
    reader.text("CLIENT UNPAUSE");
    assert_same(&source, &replica);
    assert_eq!(reader.text("GET a"), "1");
}

#[test]
fn a_replica_connects_from_bind_source_addr() {
    let source = start();
    let replica = Server::start(&[QUICK, &["--bind-source-addr", "127.0.0.2"]].concat());
    follow(&replica, &source);
    let line = source.client().info("replication", "slave0");
    assert!(line.starts_with("ip=127.0.0.2,"), "{line}");
}

#[test]
fn a_replicated_command_that_is_not_known_stops_the_link() {
    let (source, replica) = (start(), start());
    follow(&replica, &source);
    caught_up(&source, &replica);
    source.client().text("DEBUG REPLICATE fake-command 1");
    source.client().text("SET a 1");
    wait_until("the replica says so", || {
        let log = replica.log();
        log.contains("== CRITICAL ==") && log.contains("fake-command")
    });
    let mut client = replica.client();
    wait_until("the link is down", || {
        client.info("replication", "master_link_status") == "down"
    });
    assert_eq!(client.text("GET a"), "(nil)");
}

#[test]
fn what_a_replicated_command_that_is_not_known_does_is_configured() {
    let source = start();
    let skips = Server::start(&[QUICK, &["--propagation-error-behavior", "ignore"]].concat());
    let mut ends = Server::start(&[QUICK, &["--propagation-error-behavior", "panic"]].concat());
    for replica in [&skips, &ends] {
        follow(replica, &source);
        caught_up(&source, replica);
    }
    source.client().text("DEBUG REPLICATE fake-command 1");
    source.client().text("SET a 1");
    assert_eq!(ends.wait_for_end().unwrap().signal(), Some(6));
    assert!(ends.log().contains("=== REDIS BUG REPORT START"));
    caught_up(&source, &skips);
    assert_eq!(skips.client().text("GET a"), "1");
    let log = skips.log();
    assert_eq!(log.matches("== CRITICAL ==").count(), 1, "{log}");
    assert_eq!(log.matches("fake-command").count(), 1, "{log}");
}

#[test]
fn a_flush_ends_the_full_sync_of_what_it_flushed() {
    let (source, replica) = (start(), start());
    fill(&source, 2000);
    let mut client = source.client();
    client.text("CONFIG SET rdb-key-save-delay 100000");
    replica
        .client()
        .text(&format!("REPLICAOF 127.0.0.1 {}", source.port()));
    wait_until("the full sync is under way", || {
        client.info("persistence", "rdb_bgsave_in_progress") == "1"
    });
    client.text("FLUSHALL");
    client.text("SET a 1");
    link_up(&replica);
    assert_same(&source, &replica);
    assert!(source.log().contains("last replica dropped"));
}

#[test]
fn a_full_sync_that_ends_under_a_replica_that_hangs_is_noticed() {
    let (source, replica) = (start(), start());
    let mut client = source.client();
    client.text("CONFIG SET rdbcompression no");
    client.text("DEBUG POPULATE 20000 test 10000");
    replica.client().text("CONFIG SET key-load-delay 1000000");
    replica
        .client()
        .text(&format!("REPLICAOF 127.0.0.1 {}", source.port()));
    wait_until("the replica loads", || {
        replica.log().contains("Loading DB in memory")
    });
    // More than sockets hold: the helper waits for room that does not come.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.info("persistence", "rdb_bgsave_in_progress"), "1");
    assert_eq!(client.text("FLUSHALL"), "OK");
    wait_until("the sync's end is noticed", || {
        source.log().contains("last replica dropped")
    });
    replica.client().text("CONFIG SET key-load-delay 0");
    client.text("SET a 1");
    link_up(&replica);
    assert_same(&source, &replica);
}

#[test]
fn a_source_that_dies_takes_its_full_sync_with_it() {
    for diskless in ["no", "yes"] {
        let args = [QUICK, &["--repl-diskless-sync", diskless]].concat();
        let (mut source, replica) = (Server::start(&args), start());
        source.client().text("DEBUG POPULATE 10000");
        source.client().text("CONFIG SET rdb-key-save-delay 1000");
        replica.client().text("SET old 1");
        replica
            .client()
            .text(&format!("REPLICAOF 127.0.0.1 {}", source.port()));
        wait_until("the sync is under way", || {
            source
                .client()
                .info("persistence", "rdb_bgsave_in_progress")
                == "1"
        });
        let process = format!("/proc/{}", source.pid());
        // It has its name for a moment only.
        wait_until("the file has no name any more", || {
            let files = std::fs::read_dir(format!("{process}/fd")).unwrap();
            let mut names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
            diskless == "yes"
                || names.any(|name| name.to_string_lossy().ends_with(".rdb (deleted)"))
        });
        source.kill();
        assert!(!std::path::Path::new(&process).exists());
        let mut left = std::fs::read_dir(source.dir()).unwrap();
        assert!(left.all(|entry| entry.unwrap().file_name() == "server.log"));
        wait_until("the replica notices", || {
            replica.client().info("replication", "master_link_status") == "down"
                && replica.client().info("persistence", "loading") == "0"
        });
        assert_eq!(replica.client().text("GET old"), "1", "{diskless}");
    }
}

#[test]
fn a_sync_through_a_file_is_a_save_where_there_are_save_points() {
    let args = [QUICK, &["--repl-diskless-sync", "no"]].concat();
    let (source, replica) = (Server::start(&args), start());
    let mut client = source.client();
    client.text("SET a 1");
    client.text("CONFIG SET rdb-key-save-delay 2000000");
    let line = format!("REPLICAOF 127.0.0.1 {}", source.port());
    for (points, goes_on) in [("", false), ("900 1", true)] {
        client.call(&["CONFIG", "SET", "save", points]);
        replica.client().text(&line);
        wait_until("the file is being written", || {
            client.info("persistence", "rdb_bgsave_in_progress") == "1"
        });
        if goes_on {
            assert!(client.text("BGSAVE").starts_with("(error)"));
        }
        replica.client().text("REPLICAOF NO ONE");
        wait_until("the replica is gone", || {
            client.info("replication", "connected_slaves") == "0"
        });
        if !goes_on {
            wait_until("the save is over", || {
                client.info("persistence", "rdb_bgsave_in_progress") == "0"
            });
        }
    }
    wait_until("the save is over", || {
        client.info("persistence", "rdb_bgsave_in_progress") == "0"
    });
    assert_eq!(client.info("persistence", "rdb_saves"), "1");
    assert_eq!(
        client.info("persistence", "rdb_changes_since_last_save"),
        "0"
    );
    assert!(source.dir().join("dump.rdb").is_file());
    client.text("CONFIG SET rdb-key-save-delay 0");
    follow(&replica, &source);
    assert_same(&source, &replica);
    assert_eq!(client.info("persistence", "rdb_saves"), "2");
}

#[test]
fn a_replica_that_comes_late_shares_the_file() {
    let args = [QUICK, &["--repl-diskless-sync", "no", "--save", ""]].concat();
    let (source, first, second) = (Server::start(&args), start(), start());
    let mut client = source.client();
    client.text("SET a 1");
    client.text("CONFIG SET rdb-key-save-delay 5000000");
    let line = format!("REPLICAOF 127.0.0.1 {}", source.port());
    first.client().text(&line);
    wait_until("the file is being written", || {
        client.info("persistence", "rdb_bgsave_in_progress") == "1"
    });
    client.text("SELECT 3");
    client.text("SET b 1");
    second.client().text(&line);
    link_up(&first);
    link_up(&second);
    assert_same(&source, &first);
    assert_same(&source, &second);
    assert_eq!(count(&mut client, "sync_full"), 2);
    let starts = source.log().matches("Starting BGSAVE for SYNC").count();
    assert_eq!(starts, 1);
}

#[test]
fn a_write_to_a_due_key_of_a_writable_replica_begins_anew() {
    let (source, replica) = (start(), start());
    source.client().text("DEBUG SET-ACTIVE-EXPIRE 0");
    source.client().text("SET a 5 PX 10");
    follow(&replica, &source);
    let mut client = replica.client();
    client.text("CONFIG SET replica-read-only no");
    wait_until("the key is due", || client.text("EXISTS a") == "0");
    assert_eq!(client.text("DBSIZE"), "1");
    assert_eq!(client.text("INCR a"), "1");
    assert_eq!(client.text("TTL a"), "-1");
}

#[test]
fn a_writable_replica_reclaims_what_its_clients_made() {
    let (source, replica) = (start(), start());
    follow(&replica, &source);
    let mut client = replica.client();
    client.text("CONFIG SET replica-read-only no");
    assert_eq!(client.text("SET own 1 EX 1000"), "OK");
    assert_eq!(client.text("SET kept 1 EX 1000"), "OK");
    assert_eq!(client.info("stats", "slave_expires_tracked_keys"), "2");
    assert_eq!(client.text("PERSIST kept"), "1");
    assert_eq!(client.info("stats", "slave_expires_tracked_keys"), "1");
    assert_eq!(client.text("PEXPIRE own 1"), "1");
    wait_until("the key is gone", || client.text("DBSIZE") == "1");
    assert_eq!(client.text("GET kept"), "1");
    let mut primary = source.client();
    primary.text("DEBUG SET-ACTIVE-EXPIRE 0");
    primary.text("SET due 5 PX 1");
    wait_until("the write has come", || client.text("DBSIZE") == "2");
    wait_until("the key is due", || {
        client.text("GET due") == "(nil)" && client.text("EXISTS due") == "0"
    });
    assert_eq!(client.text("INCR due"), "1");
    assert_eq!(client.text("TTL due"), "-1");
    wait_until("nothing is tracked", || {
        client.info("stats", "slave_expires_tracked_keys") == "0"
    });
}

#[test]
fn waitaof_without_a_file() {
    let (source, replica) = (start(), start());
    follow(&replica, &source);
    let mut client = source.client();
    client.text("SET a 1");
    assert_eq!(client.text("WAITAOF 0 0 0"), "[0, 0]");
    assert_eq!(client.text("WAITAOF 0 1 30"), "[0, 0]");
    for (line, error) in [
        (
            "WAITAOF 1 0 0",
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ),
        (
            "WAITAOF 2 0 0",
            "ERR value is out of range, value must between 0 and 1",
        ),
        (
            "WAITAOF 0 -1 0",
            "ERR value is out of range, must be positive",
        ),
        ("WAITAOF 0 0 -1", "ERR timeout is negative"),
    ] {
        assert_eq!(client.text(line), format!("(error) {error}"));
    }
    assert_eq!(
        replica.client().text("WAITAOF 0 0 0"),
        "(error) ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just \
         local and are not propagated."
    );
}

#[test]
fn shutdown_waits_for_replicas() {
    let (mut source, replica) = (start(), start());
    follow(&replica, &source);
    let mut client = source.client();
    for key in 0..2000 {
        client.send(format!("SET k{key} {key}\r\n").as_bytes());
    }
    client.send(b"SHUTDOWN NOSAVE\r\n");
    source.wait_for_exit();
    assert_eq!(replica.client().text("DBSIZE"), "2000");
}

/// Fields with a time to live have no form in the dialect that a Valkey sends to who does not name its version.
#[test]
fn fields_with_deadlines_come_in_a_full_sync() {
    for program in programs() {
        let source = Server::start_program(&program, QUICK);
        let mut client = source.client();
        client.text("HSET h f v g w");
        if client.text("HEXPIRE h 1000 FIELDS 1 f") != "[1]" {
            continue; // before Redis 7.4
        }
        let replica = start();
        follow(&replica, &source);
        let mut reader = replica.client();
        let time = "HPEXPIRETIME h FIELDS 2 f g";
        assert_eq!(reader.text(time), client.text(time), "{program:?}");
        assert_eq!(client.text("SET first write"), "OK");
        wait_until("the first write", || reader.text("GET first") == "write");
    }
}

/// A master that has not reaped the child of its snapshot yet is told again soon that the snapshot is here.
#[test]
fn a_synced_replica_acknowledges_until_the_stream_flows() {
    use std::io::Write;
    let source = start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let replica = start();
    replica
        .client()
        .text(&format!("REPLICAOF 127.0.0.1 {port}"));
    let mut link = Client::accept(&listener);
    let words = |link: &mut Client| link.read().to_string();
    assert_eq!(words(&mut link), "[PING]");
    link.send(b"+PONG\r\n");
    assert!(words(&mut link).starts_with("[REPLCONF, listening-port, "));
    let capabilities = "[REPLCONF, capa, eof, capa, psync2, capa, redoxide]";
    assert_eq!(words(&mut link), capabilities);
    assert_eq!(words(&mut link), "[REPLCONF, version, 9.0.0]");
    link.send(b"+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: version\r\n");
    assert!(words(&mut link).starts_with("[PSYNC, "));
    // The snapshot is another server's.
    source.client().text("SET k v");
    source.client().text("SAVE");
    let file = std::fs::read(source.dir().join("dump.rdb")).unwrap();
    let id = "0123456789abcdef0123456789abcdef01234567";
    let head = format!("+FULLRESYNC {id} 7\r\n$EOF:{id}\r\n");
    let payload = [head.as_bytes(), &file, id.as_bytes()].concat();
    link.stream().write_all(&payload).unwrap();
    let begun = Instant::now();
    for _ in 0..7 {
        assert_eq!(words(&mut link), "[REPLCONF, ACK, 7]");
    }
    // One a second would take six.
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(replica.client().text("GET k"), "v");
}

/// A "master" that says what it likes: the replica keeps its data and goes on trying.
#[test]
fn hostile_masters() {
    use std::io::{Read, Write};
    let id = "0123456789abcdef0123456789abcdef01234567";
    let full = format!("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+FULLRESYNC {id} 100\r\n");
    let replica = start();
    replica.client().text("SET mine 1");
    for answer in [
        "-ERR no\r\n".to_string(),
        "x".repeat(5000),
        format!("{full}$5\r\nREDIS"),
        format!("{full}$20\r\nREDIS0011\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{9}\u{b}\u{c}"),
        format!("{full}$EOF:{id}\r\nREDIS0011\u{7f}{id}"),
        format!("{full}$EOF:{id}\r\nnonsense{id}"),
        format!("{full}$EOF:short\r\n"),
        format!("{full}$99999999999999999999\r\n"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        replica
            .client()
            .text(&format!("REPLICAOF 127.0.0.1 {port}"));
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(answer.as_bytes()).unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        let mut heard = Vec::new();
        if let Err(error) = socket.read_to_end(&mut heard) {
            let kind = error.kind();
            assert_eq!(
                kind,
                std::io::ErrorKind::ConnectionReset,
                "the replica hangs up"
            );
        }
        // It may have heard enough before it said anything.
        assert!(heard.is_empty() || heard.starts_with(b"*1\r\n$4\r\nPING\r\n"));
        assert_eq!(replica.client().text("GET mine"), "1");
    }
    // And one that hangs up after so many requests.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    replica
        .client()
        .text(&format!("REPLICAOF 127.0.0.1 {port}"));
    for (answers, line) in [
        (
            "",
            "# Master did not respond to command during SYNC handshake",
        ),
        (
            "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n",
            "# Master did not reply to PSYNC, will try later",
        ),
        (&full, "# I/O error reading bulk count from MASTER: Success"),
    ] {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(answers.as_bytes()).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        wait_until(line, || replica.log().contains(line));
    }
    let log = replica.log();
    let unread = log.matches("# Failed to read response from the server: Success\n");
    assert!(unread.count() >= 2, "{log}");
    assert_eq!(replica.client().text("REPLICAOF NO ONE"), "OK");
    assert_eq!(replica.client().text("SET mine 2"), "OK");
}

#[test]
fn refusals() {
    let server = start();
    let mut client = server.client();
    assert_eq!(
        client.text("REPLICAOF a b"),
        "(error) ERR Invalid master port"
    );
    assert_eq!(client.text("REPLCONF a"), "(error) ERR syntax error");
    assert_eq!(
        client.text("REPLCONF listening-port x"),
        "(error) ERR value is not an integer or out of range"
    );
    assert_eq!(
        client.text("REPLCONF foo 1"),
        "(error) ERR Unrecognized REPLCONF option: foo"
    );
    assert_eq!(
        client.text("PSYNC ? x"),
        "(error) ERR value is not an integer or out of range"
    );
    assert_eq!(client.text("REPLICAOF 127.0.0.1 1"), "OK");
    let log = server.log();
    for line in [
        "* Before turning into a replica, using my own master parameters to synthesize a cached master: I may be able \
         to synchronize with the new master with just a partial transfer.\n",
        "* REPLICAOF 127.0.0.1:1 enabled (user request from 'id=",
        " argv-mem=19 multi-mem=0 ",
        " events=r cmd=replicaof user=default redir=-1 resp=2 lib-name= lib-ver= io-thread=0')\n",
    ] {
        assert!(log.contains(line), "{line} in {log}");
    }
    assert_eq!(
        client.text("PSYNC ? -1"),
        "(error) NOMASTERLINK Can't SYNC while not connected with my master"
    );
    assert_eq!(client.text("REPLICAOF NO ONE"), "OK");
    assert_eq!(
        client.text("FAILOVER"),
        "(error) ERR FAILOVER requires connected replicas."
    );
    assert_eq!(
        client.text("FAILOVER ABORT"),
        "(error) ERR No failover in progress."
    );
}

#[test]
fn keys_that_expire_while_the_source_is_away_go_from_its_replicas_too() {
    // A ping after the save would be more than the file knows of.
    let quiet = [QUICK, &["--repl-ping-replica-period", "100000"]].concat();
    let (mut source, replica) = (Server::start(&quiet), start());
    let mut client = source.client();
    client.text("DEBUG SET-ACTIVE-EXPIRE 0");
    follow(&replica, &source);
    client.text("SET stays 1");
    for key in 0..100 {
        client.text(&format!("SET k{key} v PX 300"));
    }
    caught_up(&source, &replica);
    assert_eq!(client.text("SAVE"), "OK");
    std::thread::sleep(std::time::Duration::from_millis(400));
    source.restart(&quiet);
    link_up(&replica);
    assert_same(&source, &replica);
    let mut client = source.client();
    assert_eq!(count(&mut client, "sync_full"), 0);
    assert_eq!(client.text("DBSIZE"), "1");
    assert_eq!(replica.client().text("DBSIZE"), "1");
}

#[test]
fn a_replica_link_gets_no_replies() {
    let server = start();
    let mut link = server.client();
    link.send(b"PSYNC ? -1\r\n");
    link.send(b"REPLCONF ACK 0\r\n");
    let mut client = server.client();
    wait_until("it is a replica", || {
        client.info("replication", "connected_slaves") == "1"
    });
    link.send(b"PING\r\n");
    let (bytes, ended) = link.read_to_end();
    assert!(ended);
    assert!(!bytes.ends_with(b"+PONG\r\n"));
    assert!(
        server
            .log()
            .contains("Replica generated a reply to command 'ping'")
    );
    assert_eq!(client.text("PING"), "PONG");
}

/// Redis and Valkey have forms of their own for deadlines of fields; each gets the one that it reads.
#[test]
fn deadlines_of_fields_reach_replicas_of_every_make() {
    let source = start();
    let mut client = source.client();
    for number in 0..300 {
        client.text(&format!("HSET large f{number} v{number} g{number} w"));
    }
    client.text("HSET small a 1 b 2 c 3");
    client.text("RPUSH list a b c");
    client.text("HPEXPIREAT large 9000000000000 FIELDS 3 f1 f200 g299");
    client.text("HPEXPIREAT small 9000000000001 FIELDS 1 b");
    let peers = [Peer::Redis8, Peer::Valkey].map(|peer| peer.start(QUICK));
    let replicas: Vec<Server> = peers.into_iter().flatten().chain([start()]).collect();
    // All at once, so that one job could serve them.
    for replica in &replicas {
        let reply = replica
            .client()
            .text(&format!("REPLICAOF 127.0.0.1 {}", source.port()));
        assert!(reply.starts_with("OK"), "{reply}");
    }
    replicas.iter().for_each(link_up);
    client.text("HPEXPIREAT small 9000000000002 FIELDS 1 c");
    client.text("HPERSIST large FIELDS 1 f1");
    client.text("HSETEX small PXAT 9000000000003 FIELDS 1 d 4");
    client.text("HPEXPIRE small 1 FIELDS 1 a");
    std::thread::sleep(std::time::Duration::from_millis(20));
    client.text("HGETALL small");
    for replica in &replicas {
        caught_up(&source, replica);
        let mut reader = replica.client();
        for line in [
            "HPEXPIRETIME large FIELDS 4 f1 f200 g299 f5",
            "HPEXPIRETIME small FIELDS 4 a b c d",
            "HLEN large",
            "HMGET large f1 f200 f299 g299",
            "HMGET small a b c d",
            "LRANGE list 0 -1",
        ] {
            assert_eq!(reader.text(line), client.text(line), "{line}");
        }
    }
}

/// What depends on what a replica cannot know is told so that it ends with the same.
#[test]
fn replicas_store_what_their_primary_does() {
    let args = [
        "--enable-debug-command",
        "yes",
        "--repl-diskless-sync-delay",
        "0",
    ];
    let (source, replica) = (Server::start(&args), Server::start(&args));
    follow(&replica, &source);
    link_up(&replica);
    let mut client = source.client();
    client.text("CONFIG SET stream-node-max-entries 10");
    client.text("DEBUG SET-ACTIVE-EXPIRE 0");
    client.text("RPUSH l a b c");
    client.text("MSET w_a 1 w_b 2");
    for (made, stored) in [
        ("SET w_c 99 PX 1", "SORT l BY w_* GET # GET w_* STORE d"),
        (
            "HSETEX h_c PX 1 FIELDS 1 f 9",
            "SORT l BY h_*->f GET h_*->f STORE e",
        ),
    ] {
        client.text(made);
        std::thread::sleep(Duration::from_millis(5));
        client.text(stored);
    }
    assert_eq!(client.text("LRANGE d 0 -1"), "[c, , a, 1, b, 2]");
    for (stream, trim) in [
        ("s", "MINID ~ 35"),
        ("t", "MAXLEN ~ 11"),
        ("u", "MAXLEN 25"),
        ("v", "MINID 25"),
        ("w", "MAXLEN = 11"),
    ] {
        for id in 1..=40 {
            client.text(&format!("XADD {stream} {id}-0 f v"));
        }
        client.text(&format!("XGROUP CREATE {stream} g 0"));
        client.text(&format!("XREADGROUP GROUP g c STREAMS {stream} >"));
        let acknowledged: Vec<String> = (1..=40)
            .filter(|id| *id != 3 && *id != 25)
            .map(|id| id.to_string())
            .collect();
        client.text(&format!("XACK {stream} g {}", acknowledged.join(" ")));
        let removed = client.text(&format!("XTRIM {stream} {trim} ACKED"));
        assert!(removed.parse::<u64>().unwrap() > 0, "{stream}: {removed}");
    }
    assert_eq!(client.text("XLEN u"), "25");
    client.text("XCLAIM s g c 0 25 FORCE RETRYCOUNT 9223372036854775807");
    client.text("XCLAIM s g d 0 25");
    caught_up(&source, &replica);
    assert_same(&source, &replica);
    let mut other = replica.client();
    for line in ["XPENDING s g", "XLEN t"] {
        assert_eq!(client.text(line), other.text(line));
    }
    // With how long it is idle, which differs.
    for client in [&mut client, &mut other] {
        let pending = client.text("XPENDING s g - + 10 d");
        assert!(pending.contains("9223372036854775807"), "{pending}");
    }
}

/// Clients of a replica that wait for keys find them in the data set that a full sync brings.
#[test]
fn waiting_clients_are_served_by_a_full_sync() {
    let source = Server::start(&[
        "--repl-diskless-sync-delay",
        "0",
        "--enable-debug-command",
        "yes",
    ]);
    let replica = Server::start(&[]);
    follow(&replica, &source);
    let (mut client, mut other) = (source.client(), replica.client());
    let mut waiting = replica.client();
    waiting.send(b"XREAD BLOCK 0 STREAMS s 0\r\n");
    wait_until("it waits", || {
        other.info("clients", "blocked_clients") == "1"
    });
    client.send(b"DEBUG CHANGE-REPL-ID\r\nCLIENT KILL TYPE replica\r\nXADD s 5-0 f v\r\n");
    for _ in 0..3 {
        client.read();
    }
    let reply = waiting.read();
    assert!(matches!(reply, Value::Array(_)), "{reply:?}");
}

/// What reads of a key `K` a replica answers.
const READS: &str = "GET K|STRLEN K|GETRANGE K 0 -1|MGET K K|LCS K string|LCS string K|GETBIT K 1|BITCOUNT K|BITPOS K 1|\
    BITFIELD_RO K GET u8 0|DIGEST K|TYPE K|TTL K|PTTL K|EXPIRETIME K|PEXPIRETIME K|EXISTS K|TOUCH K|DUMP K|\
    OBJECT ENCODING K|OBJECT IDLETIME K|OBJECT REFCOUNT K|MEMORY USAGE K|LLEN K|LRANGE K 0 -1|LINDEX K 0|LPOS K a|\
    SCARD K|SMEMBERS K|SISMEMBER K a|SMISMEMBER K a b|SRANDMEMBER K|SRANDMEMBER K 3|SRANDMEMBER K -3|SINTER K set|\
    SINTER set K|SUNION K K|SDIFF K set|SINTERCARD 2 K set|SUNIONCARD 1 K|SDIFFCARD 1 K|SSCAN K 0|HGET K f|HMGET K f g|\
    HGETALL K|HKEYS K|HVALS K|HLEN K|HEXISTS K f|HSTRLEN K f|HRANDFIELD K|HRANDFIELD K 3 WITHVALUES|HRANDFIELD K -3|\
    HSCAN K 0|HTTL K FIELDS 1 f|HPEXPIRETIME K FIELDS 1 f|ZCARD K|ZRANGE K 0 -1|ZSCORE K a|ZMSCORE K a|ZRANK K a|\
    ZREVRANK K a|ZCOUNT K -inf +inf|ZLEXCOUNT K - +|ZRANGEBYSCORE K -inf +inf|ZRANGEBYLEX K - +|ZRANDMEMBER K|\
    ZRANDMEMBER K 3|ZRANDMEMBER K -3|ZSCAN K 0|ZINTER 2 K zset|ZUNION 1 K|ZDIFF 1 K|ZINTERCARD 2 K zset|GEOPOS K a|\
    GEODIST K a b|GEOHASH K a|GEOSEARCH K FROMLONLAT 1 1 BYRADIUS 1 km|GEORADIUS_RO K 1 1 1 km|SORT_RO K|SORT_RO K ALPHA|\
    SORT_RO list BY K|SORT_RO list GET K ALPHA|SORT_RO list BY K->f GET K->f ALPHA|XLEN K|XRANGE K - +|XREVRANGE K + -|\
    XREAD STREAMS K 0|XREAD STREAMS K $|XREAD STREAMS K +|XREAD BLOCK 1 STREAMS K 0|XREAD BLOCK 1 STREAMS K $|\
    XREAD BLOCK 1 STREAMS K +|XREAD BLOCK 1 STREAMS stream K $ $|XPENDING K g|XPENDING K g - + 5|XINFO STREAM K|\
    XINFO STREAM K FULL|XINFO GROUPS K|XINFO CONSUMERS K g|PFCOUNT K|PFCOUNT K hll";

/// A key that is due but not yet deleted by the primary is none to who reads, whatever its type and the command.
#[test]
fn due_keys_that_the_primary_has_not_deleted_are_none() {
    let (source, replica) = (start(), start());
    let mut primary = source.client();
    primary.text("DEBUG SET-ACTIVE-EXPIRE 0");
    let fields: Vec<_> = (0..300).map(|field| format!("f{field} v")).collect();
    let members: Vec<_> = (0..300).map(|member| member.to_string()).collect();
    let makers = [
        "SET K abc".to_owned(),
        "SET K 5".to_owned(),
        "RPUSH K 1 2".to_owned(),
        "SADD K a b".to_owned(),
        format!("SADD K {}", members.join(" ")),
        "HSET K f v".to_owned(),
        format!("HSET K {}", fields.join(" ")),
        "ZADD K 1 a 2 b".to_owned(),
        "XADD K 1-0 f v".to_owned(),
        "PFADD K a".to_owned(),
    ];
    for line in [
        "SET string abc",
        "RPUSH list a",
        "SADD set a b",
        "ZADD zset 1 a",
        "XADD stream 1-0 f v",
        "PFADD hll a",
    ] {
        primary.text(line);
    }
    for (at, maker) in makers.iter().enumerate() {
        primary.text(&maker.replace('K', &format!("due:{at}")));
        primary.text(&format!("PEXPIRE due:{at} 1"));
    }
    follow(&replica, &source);
    let mut client = replica.client();
    assert_eq!(client.text("DBSIZE"), (6 + makers.len()).to_string());
    for (at, maker) in makers.iter().enumerate() {
        let key = format!("due:{at}");
        wait_until("the key is due", || {
            client.text(&format!("EXISTS {key}")) == "0"
        });
        for read in READS.split('|') {
            let of = |key: &str| {
                let words = read.split_whitespace().map(|word| match word {
                    "K" => key.to_owned(),
                    word => word.replace("K->", &format!("{key}->")),
                });
                words.collect::<Vec<_>>().join(" ")
            };
            let there = client.text(&of(&key)).replace(&key, "none");
            assert_eq!(there, client.text(&of("none")), "{read} of {maker}");
        }
    }
}

#[test]
fn memory_stats_are_those_of_info() {
    let (source, replica) = (start(), start());
    follow(&replica, &source);
    let mut client = source.client();
    client.text("SET a 1");
    client.text("MULTI");
    client.text("INFO memory");
    client.text("MEMORY STATS");
    let Value::Array(replies) = client.value("EXEC") else {
        panic!("EXEC gave no array")
    };
    let info = replies[0].to_string();
    let told = |field: &str| -> i64 {
        let value = info
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap().trim().parse().unwrap()
    };
    let Value::Array(stats) = &replies[1] else {
        panic!("MEMORY STATS gave no array")
    };
    let names: Vec<String> = stats.iter().step_by(2).map(Value::to_string).collect();
    let figure = |name: &str| {
        let at = names.iter().position(|known| known == name).unwrap();
        match stats[2 * at + 1] {
            Value::Int(figure) => figure,
            ref other => panic!("{name} is {other:?}"),
        }
    };
    let pairs = [
        ("clients.slaves", "mem_clients_slaves"),
        ("replication.backlog", "mem_replication_backlog"),
        ("startup.allocated", "used_memory_startup"),
    ];
    for (name, field) in pairs {
        assert_eq!(figure(name), told(field), "{name}");
        assert!(figure(name) > 0, "{name}");
    }
    let parts = [
        "startup.allocated",
        "replication.backlog",
        "clients.slaves",
        "clients.normal",
        "overhead.db.hashtable.lut",
    ];
    let parts: i64 = parts.iter().map(|name| figure(name)).sum();
    assert_eq!(parts, figure("overhead.total"));
    if let Some(program) = Peer::Redis8.find() {
        let peer = Server::start_program(&program, &[]);
        peer.client().text("SET a 1");
        let Value::Array(theirs) = peer.client().value("MEMORY STATS") else {
            panic!("MEMORY STATS gave no array")
        };
        let theirs: Vec<String> = theirs.iter().step_by(2).map(Value::to_string).collect();
        assert_eq!(names, theirs);
    }
}
