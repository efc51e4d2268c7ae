//! Clients that wait for keys: the same scenes played to this server and to Redis 8.

use std::time::{Duration, Instant};

use crate::harness::{Client, Peer, Server, Value, wait_until};
use crate::pair::same_story;

/// Each line is a step: `2> words` sends a command over connection 2, `2<` reads a reply there, `2 words` does both,
/// `=3` waits until three clients are blocked.
const SCENES: &[(&str, &[&str])] = &[
    (
        "one element, in order of arrival",
        &[
            "1> BLPOP k 0",
            "=1",
            "2> BRPOP k 0",
            "=2",
            "3> BLMPOP 0 2 x k RIGHT COUNT 5",
            "=3",
            "0 RPUSH k a",
            "1<",
            "=2",
            "0 RPUSH k b c d e",
            "2<",
            "3<",
            "=0",
            "0 EXISTS k",
            "0 RPUSH k a b c d e f",
            "0 LRANGE k 0 -1",
            "1 BLPOP k 0",
            "1 BRPOP x k 1",
            "1 BLMPOP 1 1 k LEFT COUNT 2",
            "0 LRANGE k 0 -1",
        ],
    ),
    (
        "several keys, the first signalled first",
        &[
            "1> BLPOP b a 0",
            "=1",
            "0 MULTI",
            "0 RPUSH a 1",
            "0 RPUSH b 2",
            "0 EXEC",
            "1<",
            "0 LRANGE a 0 -1",
            "0 LRANGE b 0 -1",
            "0 DEL a b",
            "1> BLPOP a a a 0",
            "=1",
            "0 LPUSH a x y z",
            "1<",
            "0 LRANGE a 0 -1",
        ],
    ),
    (
        "what MULTI leaves",
        &[
            "1> BLPOP k 0",
            "=1",
            "0 MULTI",
            "0 RPUSH k a",
            "0 DEL k",
            "0 EXEC",
            "0 MULTI",
            "0 SET k x",
            "0 DEL k",
            "0 RPUSH k b c",
            "0 LPOP k",
            "0 EXEC",
            "1<",
            "0 EXISTS k",
            "1 MULTI",
            "1 BLPOP k 0",
            "1 BLMOVE k l LEFT LEFT 0",
            "1 BRPOPLPUSH k l 0",
            "1 BLMPOP 0 1 k LEFT",
            "1 RPUSH k z",
            "1 BLPOP k 0",
            "1 EXEC",
        ],
    ),
    (
        "chains",
        &[
            "1> BLMOVE a b LEFT RIGHT 0",
            "=1",
            "2> BLMOVE b c LEFT RIGHT 0",
            "=2",
            "3> BLPOP c 0",
            "=3",
            "0 RPUSH a 1",
            "1<",
            "2<",
            "3<",
            "=0",
            "0 EXISTS a b c",
            "1> BRPOPLPUSH a a 0",
            "=1",
            "0 RPUSH a 1 2 3",
            "1<",
            "0 LRANGE a 0 -1",
        ],
    ),
    (
        "errors",
        &[
            "0 SET s x",
            "1 BLPOP k s 0",
            "1 BLPOP k x",
            "1 BLPOP k -1",
            "1 BLPOP k 1e300",
            "1 BLPOP k 9223372036854775807",
            "1 BLMPOP x 0 k LEFT",
            "1 BLMPOP x 1 k LEFT",
            "1 BLMPOP 0 1 k",
            "1 BLMOVE k s LEFT x 0",
            "1 BLMOVE k s LEFT LEFT x",
            "1 BLPOP k nan",
            "1 BLPOP k inf",
            "1 BLPOP k -inf",
            "1 BRPOPLPUSH s k 0",
            "1> BLMOVE k s LEFT LEFT 0",
            "=1",
            "2> BLPOP k 0",
            "=2",
            "0 RPUSH k a",
            "1<",
            "2<",
            "=0",
            "1> BLMOVE k s LEFT LEFT 0",
            "=1",
            "0 RPUSH k a",
            "1<",
            "0 LRANGE k 0 -1",
        ],
    ),
    (
        "keys that come in other ways",
        &[
            "0 RPUSH l a b",
            "1> BLPOP k 0",
            "=1",
            "0 RENAME l k",
            "1<",
            "1> BLPOP l 0",
            "=1",
            "0 COPY k l",
            "1<",
            "0 DEL l",
            "0 SELECT 1",
            "0 RPUSH l c",
            "1> BLPOP l 0",
            "=1",
            "0 SWAPDB 0 1",
            "1<",
            "0 FLUSHALL",
            "1> BLPOP l 0",
            "=1",
            "0 RPUSH l d",
            "0 MOVE l 0",
            "1<",
            "1> BLPOP t 0",
            "=1",
            "0 SELECT 0",
            "0 SET t x",
            "0 APPEND t y",
            "0 GETSET t z",
            "0 DEL t",
            "0 LPUSH t q",
            "1<",
            "1> BLPOP n 0",
            "=1",
            "0 SELECT 5",
            "0 LPUSH n q",
            "0 SELECT 0",
            "0 FLUSHALL",
            "0 LPUSH n r",
            "1<",
        ],
    ),
    (
        "unblocked and timed out",
        &[
            "1> BLPOP k 0",
            "=1",
            "0 CLIENT UNBLOCK $1",
            "1<",
            "1> BLMOVE k l LEFT LEFT 0",
            "=1",
            "0 CLIENT UNBLOCK $1 ERROR",
            "1<",
            "0 CLIENT UNBLOCK $1",
            "1 BLPOP k 0.01",
            "1 BLMOVE k l LEFT LEFT 0.01",
            "1 BRPOPLPUSH k l 0.01",
            "1 BLMPOP 0.01 1 k LEFT",
            "1 PING",
            "1> HELLO 3",
            "1<",
            "1 BLPOP k 0.01",
            "1 BLMOVE k l LEFT LEFT 0.01",
            "1> BLPOP k 0",
            "=1",
            "0 RPUSH k a",
            "1<",
        ],
    ),
    (
        "sorted sets, in order of arrival",
        &[
            "1> BZPOPMIN z 0",
            "=1",
            "2> BZPOPMAX x z 0",
            "=2",
            "3> BZMPOP 0 2 x z MIN COUNT 5",
            "=3",
            "0 ZADD z 1 a",
            "1<",
            "=2",
            "0 ZADD z 1 b 2 c 3 d 4.5 e",
            "2<",
            "3<",
            "=0",
            "0 EXISTS z",
            "0 ZADD z 1 a 2 b 3 c inf d -inf e",
            "1 BZPOPMIN z 0",
            "1 BZPOPMAX x z 1",
            "1 BZMPOP 1 1 z MAX COUNT 2",
            "1 BZMPOP 1 2 y z MIN",
            "1> HELLO 3",
            "1<",
            "0 ZADD z 1 a 2 b 3 c inf d -inf e",
            "1 BZPOPMIN z 0",
            "1 BZPOPMAX x z 1",
            "1 BZMPOP 1 1 z MAX COUNT 2",
            "1 BZPOPMIN y 0.01",
            "1 BZMPOP 0.01 1 y MIN",
            "1> BZPOPMIN y 0",
            "=1",
            "0 ZADD y 0.1 a",
            "1<",
            "1> BZMPOP 0 1 y MAX",
            "=1",
            "0 ZADD y 0.1 a",
            "1<",
        ],
    ),
    (
        "sorted sets: errors, MULTI, other types and other ways",
        &[
            "0 SET s x",
            "1 BZPOPMIN z s 0",
            "1 BZPOPMIN z x",
            "1 BZPOPMAX z -1",
            "1 BZMPOP x 0 z MIN",
            "1 BZMPOP x 1 z MIN",
            "1 BZMPOP 0 1 z",
            "1 BZMPOP 0 2 z MIN",
            "1 BZMPOP 0 1 z LEFT",
            "1 BZMPOP 0 1 z MIN COUNT",
            "1 BZMPOP 0 1 z MIN COUNT 0",
            "1 BZMPOP 0 1 z MIN COUNT 1 COUNT 1",
            "1 BZMPOP 0.01 1 z MIN",
            "1 BZPOPMIN z 0.01",
            "1 MULTI",
            "1 BZPOPMIN z 0",
            "1 BZMPOP 0 1 z MAX",
            "1 ZADD z 1 a 2 b",
            "1 BZPOPMAX z 0",
            "1 BZMPOP 0 1 z MAX",
            "1 EXEC",
            "1> BZPOPMIN z 0",
            "=1",
            "2> BLPOP z 0",
            "=2",
            "0 SADD z a",
            "0 DEL z",
            "0 RPUSH z l",
            "2<",
            "0 MULTI",
            "0 ZADD z 1 a",
            "0 ZREM z a",
            "0 EXEC",
            "0 MULTI",
            "0 RPUSH z l",
            "0 DEL z",
            "0 ZADD z 1 a",
            "0 EXEC",
            "1<",
            "0 SADD p 1 2 3",
            "1> BZPOPMAX z 0",
            "=1",
            "0 ZUNIONSTORE z 1 p",
            "1<",
            "0 DEL z",
            "0 ZADD from 1 a",
            "1> BZPOPMAX z 0",
            "=1",
            "0 RENAME from z",
            "1<",
            "1> BZPOPMAX z 0",
            "=1",
            "0 GEOADD z 13.5 38.1 place",
            "1<",
            "1> BZPOPMAX z 0",
            "=1",
            "0 CLIENT UNBLOCK $1",
            "1<",
            "1> BLPOP z 0",
            "=1",
            "0 SORT p STORE z",
            "1<",
        ],
    ),
];

/// Plays a scene (see [`SCENES`]); the replies.
fn play(server: &Server, steps: &[&str]) -> Vec<String> {
    let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    let id = clients[1].text("CLIENT ID");
    clients[0].text("FLUSHALL");
    let mut replies = Vec::new();
    for step in steps {
        if let Some(count) = step.strip_prefix('=') {
            wait_until(step, || {
                clients[0].info("clients", "blocked_clients") == count
            });
            continue;
        }
        let (number, rest) = step.split_at(1);
        let client = &mut clients[number.parse::<usize>().unwrap()];
        if rest == "<" {
            replies.push(format!("{step} {:?}", client.read()));
            continue;
        }
        let waits = rest.starts_with('>');
        let words = rest.trim_start_matches('>').trim().replace("$1", &id);
        if waits {
            client.send(format!("{words}\r\n").as_bytes());
        } else {
            replies.push(format!("{step}: {:?}", client.value(&words)));
        }
    }
    // Greetings are each server's own.
    replies.retain(|reply| !reply.contains("Map"));
    replies
}

/// Plays scenes to this server and to Redis 8: both answer alike. Each is its name and its steps.
pub fn play_to_both(scenes: &[(&str, &[&str])]) {
    let Some(theirs) = Peer::Redis8.start(&[]) else {
        return;
    };
    let ours = Server::start(&[]);
    for (scene, steps) in scenes {
        let (ours, theirs) = (play(&ours, steps), play(&theirs, steps));
        assert_eq!(ours, theirs, "ours, theirs: {scene}");
    }
}

#[test]
fn waiting_clients_are_served_as_by_redis() {
    play_to_both(SCENES);
}

#[test]
fn a_wait_is_over_to_the_millisecond_and_with_its_connection() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (server.client(), server.client());
    other.text("XGROUP CREATE s g 0 MKSTREAM");
    for (line, asked_ms) in [
        ("BLPOP k 0.001", 1),
        ("BLPOP k 0.02", 20),
        ("XREAD BLOCK 3 STREAMS s 0", 3),
        ("XREADGROUP GROUP g c BLOCK 3 STREAMS s >", 3),
        ("WAIT 1 3", 3),
    ] {
        for _ in 0..10 {
            let start = Instant::now();
            client.value(line);
            let taken = start.elapsed();
            assert!(
                taken >= Duration::from_millis(asked_ms),
                "{line}: {taken:?}"
            );
        }
    }
    client.send(b"BLPOP k 0\r\nPING\r\n");
    wait_until("it waits", || {
        other.info("clients", "blocked_clients") == "1"
    });
    assert!(other.text("CLIENT LIST").contains("flags=b"));
    drop(client);
    wait_until("it is gone", || {
        other.info("clients", "blocked_clients") == "0"
    });
    assert_eq!(other.text("RPUSH k a"), "1");
    assert_eq!(other.text("LLEN k"), "1");
}

#[test]
fn many_waiting_clients_are_served_in_order() {
    let server = Server::start(&[]);
    let mut other = server.client();
    let mut clients: Vec<Client> = (0..500).map(|_| server.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(b"BLPOP k 0\r\nPING\r\n");
        let count = (number + 1).to_string();
        wait_until("it waits", || {
            other.info("clients", "blocked_clients") == count
        });
    }
    let items: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    other.text(&format!("RPUSH k {}", items.join(" ")));
    for (number, client) in clients.iter_mut().enumerate() {
        let item = number.to_string().into_bytes();
        let expected = [Value::Bulk(b"k".to_vec()), Value::Bulk(item)];
        assert_eq!(client.read(), Value::Array(expected.to_vec()));
        assert!(format!("{:?}", client.read()).contains("PONG"));
    }
}

/// What clients have sent behind a command that waited, and what a pause held, runs in the order in which they waited.
#[test]
fn who_waited_first_goes_on_first() {
    same_story(&[], |server| {
        let mut other = server.client();
        let mut clients: Vec<Client> = (0..5).map(|_| server.client()).collect();
        // Not the order in which they came.
        clients.rotate_left(2);
        let mut waits = |clients: &mut [Client], lines: &str| {
            for (number, client) in (1..).zip(clients) {
                client.send(lines.replace('#', &number.to_string()).as_bytes());
                wait_until("it waits", || {
                    other.text("CLIENT LIST").matches(" flags=b ").count() == number
                });
            }
        };
        let mut told = Vec::new();
        waits(&mut clients, "BLPOP l 0\r\nRPUSH order #\r\n");
        let mut pusher = server.client();
        pusher.text("RPUSH l 1 2 3 4 5");
        for client in &mut clients {
            told.push(client.read().to_string());
            client.read();
        }
        told.push(pusher.text("LRANGE order 0 -1"));
        pusher.text("CLIENT PAUSE 100000 WRITE");
        waits(&mut clients, "RPUSH held #\r\n");
        pusher.text("CLIENT UNPAUSE");
        for client in &mut clients {
            client.read();
        }
        told.push(pusher.text("LRANGE held 0 -1"));
        told
    });
}

#[test]
fn timeouts_end_where_those_of_redis_do() {
    let Some(mut pair) = crate::pair::Pair::start(&[]) else {
        return;
    };
    for timeout in [
        "1e400",
        "-1e400",
        "1e5000",
        "inf",
        "-inf",
        "nan",
        "1e-4000",
        "1e17",
        "1e20",
        "0x",
        "1_",
        "-1",
        "9223372036854774",
        "9223372036854774.5",
        "9223372036854775.807",
        "9223372036854776",
    ] {
        pair.same(&format!("BLPOP k {timeout}"));
        pair.same(&format!("BZPOPMIN k {timeout}"));
        pair.same(&format!("BLMPOP {timeout} 1 k LEFT"));
    }
}

/// A client that waits to claim and is closed while its time comes is forgotten.
#[test]
fn a_closed_client_is_not_tried() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let (mut client, mut waiting) = (server.client(), server.client());
    client.text("XADD s 1-1 f v");
    client.text("XGROUP CREATE s g 0");
    client.text("XREADGROUP GROUP g x STREAMS s >");
    let id = waiting.text("CLIENT ID");
    waiting.send(b"XREADGROUP GROUP g y BLOCK 0 CLAIM 1500 STREAMS s >\r\n");
    wait_until("it waits", || {
        client.info("clients", "blocked_clients") == "1"
    });
    client.send(format!("DEBUG SLEEP 1.7\r\nCLIENT KILL ID {id}\r\nPING\r\n").as_bytes());
    for _ in 0..3 {
        client.read();
    }
    assert_eq!(client.text("PING"), "PONG");
    assert_eq!(client.info("clients", "blocked_clients"), "0");
}

/// Who waits to write is not served before a pause of writes ends.
#[test]
fn a_pause_holds_who_waits_to_write() {
    let server = Server::start(&[]);
    let (mut client, mut waiting, mut reading) =
        (server.client(), server.client(), server.client());
    client.text("ZADD y 1 a");
    client.text("XADD x 1-1 f v");
    waiting.send(b"BZPOPMIN z 0\r\n");
    reading.send(b"XREAD BLOCK 0 STREAMS w 0\r\n");
    wait_until("they wait", || {
        client.info("clients", "blocked_clients") == "2"
    });
    let start = Instant::now();
    // In one piece, so that it is asked before the pause is over.
    client.send(
        b"MULTI\r\nCLIENT PAUSE 300 WRITE\r\nRENAME y z\r\nRENAME x w\r\nEXEC\r\nZCARD z\r\n",
    );
    for _ in 0..5 {
        client.read();
    }
    assert_eq!(client.read(), Value::Int(1));
    reading.read();
    waiting.read();
    assert!(start.elapsed() >= Duration::from_millis(290));
    assert_eq!(client.text("ZCARD z"), "0");
}
