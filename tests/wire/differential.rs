//! Random pipelines, cut at random places, to this server and to a real redis-server: the bytes of the replies must be
//! the same. `SEED=n` replays a run, `ROUNDS=n` makes it longer; a difference is reduced to the commands that matter.
//!
//! To cover another command, add a line to [`TEMPLATES`]. Left out is what must differ (ids, times, orders).

use std::time::Duration;

use redoxide::base::num;
use redoxide::base::prng::Prng;

use crate::harness::{Peer, Server, push_request, seed};
use crate::random::{draw, expand, one_of};

/// Commands and how often: `k` a key, `v` a value, `n` a number, `d` a database, `t` a far time to live, `f` a
/// floating-point number, `p` a pattern; the rest of the notation is [`crate::random`]'s; anything else is sent as it stands.
const TEMPLATES: &[(u64, &str)] = &[
    (20, "SET k v"),
    (20, "SET k v ?[NX|XX] ?GET ?[EX|PX|EXAT|PXAT|KEEPTTL] ?t"),
    (20, "GET k"),
    (6, "GETSET k v"),
    (6, "GETDEL k"),
    (10, "GETEX k ?[EX|PX|EXAT|PXAT|PERSIST] ?t"),
    (6, "SETNX k v"),
    (6, "[SETEX|PSETEX] k t v"),
    (6, "APPEND k v"),
    (4, "STRLEN k"),
    (8, "[GETRANGE|SUBSTR] k n n"),
    (8, "SETRANGE k n v"),
    (10, "[INCR|DECR] k"),
    (10, "[INCRBY|DECRBY] k n"),
    (10, "INCRBYFLOAT k f"),
    (6, "MGET k k*"),
    (6, "[MSET|MSETNX] k v k v"),
    (3, "[MSET|MSETNX] k v k"),
    (5, "LCS k k ?LEN ?IDX ?MINMATCHLEN ?n ?WITHMATCHLEN"),
    (8, "[DEL|UNLINK|EXISTS|TOUCH] k k*"),
    (4, "TYPE k"),
    (6, "[RENAME|RENAMENX] k k"),
    (6, "COPY k k ?DB ?d ?REPLACE"),
    (4, "MOVE k d"),
    (3, "KEYS p"),
    (3, "DBSIZE"),
    // GT of the same time twice depends on whether a millisecond passed between.
    (4, "[EXPIRE|PEXPIRE] k t ?[NX|XX|LT] ?[NX|XX|LT]"),
    (4, "[EXPIREAT|PEXPIREAT] k t ?[NX|XX|GT|LT] ?[NX|XX|GT|LT]"),
    (6, "[TTL|EXPIRETIME|PEXPIRETIME|PERSIST] k"),
    (5, "OBJECT [ENCODING|FREQ|NOSUCH] ?k"),
    (5, "SELECT d"),
    (3, "SWAPDB d d"),
    (2, "[FLUSHALL|FLUSHDB] ?[SYNC|ASYNC|NOW]"),
    (6, "PING ?v"),
    (4, "ECHO v"),
    (12, "MULTI"),
    (9, "EXEC"),
    (2, "DISCARD"),
    (4, "WATCH k k*"),
    (2, "UNWATCH"),
    (2, "RESET"),
    (1, "QUIT"),
    (3, "HELLO ?[2|3|4|x] ?[SETNAME|AUTH|FOO] ?v ?secret"),
    (5, "AUTH ?default ?[secret|wrong|v]"),
    (
        3,
        "CLIENT [SETNAME|GETNAME|SETINFO|NO-EVICT|NO-TOUCH|FOO|KILL] ?[v|LIB-NAME|LIB-VER|ON|OFF] ?v",
    ),
    (2, "CLIENT REPLY [ON|SKIP|OFF|FOO]"),
    (3, "nosuch ?v v* k"),
    (1, "DEBUG SLEEP 0"),
    (
        1,
        "COMMAND [COUNTER|GETKEYS|GETKEYSANDFLAGS] [GET|SET|MSET|PING|NOSUCH] k v",
    ),
    (1, "WAIT 0 n"),
    (2, "RESTORE k t v ?REPLACE ?ABSTTL"),
    (1, "REPLCONF nosuch"),
    (1, "FAILOVER [ABORT|TO|x]"),
    (
        1,
        "CONFIG [GET|SET|FOO|RESETSTAT] ?maxmemory-policy ?noeviction",
    ),
    (1, "LATENCY [RESET|FOO] ?k"),
    (1, "SLOWLOG [RESET|FOO] ?n"),
    (1, "MEMORY [USAGE|FOO] ?nokey ?SAMPLES ?n"),
    (1, "SCAN [x|-1] [MATCH|TYPE|FOO] ?nokey"),
    (1, "SCAN 0 MATCH nokey TYPE [string|list]"),
    (1, "SAVE x"),
];

const KEYS: &[&[u8]] = &[b"a", b"b", b"c", b"key", b"{t}1", b"", b"k\xff\0"];

/// (An offset just below the limit would make values of 512 MiB.)
fn number(prng: &mut Prng) -> Vec<u8> {
    match prng.below(10) {
        0 => one_of(
            prng,
            &[
                "9223372036854775807",
                "-9223372036854775808",
                "9223372036854775808",
                "",
                "x",
                " 1",
                "1 ",
                "01",
                "-0",
                "+1",
                "1.5",
                "536870912",
                "4294967296",
                "2147483648",
            ],
        )
        .as_bytes()
        .to_vec(),
        1..=3 => (prng.below(200) as i64 - 100).to_string().into_bytes(),
        _ => (prng.below(12) as i64 - 4).to_string().into_bytes(),
    }
}

fn float(prng: &mut Prng) -> Vec<u8> {
    match prng.below(8) {
        0 => one_of(
            prng,
            &[
                "inf", "-inf", "nan", "1e400", "1e4000", "x", "", "0x10", "1e-30", "3.0e3", "-0",
            ],
        )
        .as_bytes()
        .to_vec(),
        1 => number(prng),
        _ => format!("{}.{}", prng.below(200) as i64 - 100, prng.below(1000)).into_bytes(),
    }
}

fn value(prng: &mut Prng) -> Vec<u8> {
    match prng.below(8) {
        0 | 1 => number(prng),
        2 => float(prng),
        3 => {
            let len = [0, 1, 20, 44, 45, 100, 3000][prng.below(7) as usize];
            vec![b'x'; len]
        }
        4 => (0..prng.below(12)).map(|_| prng.next_u64() as u8).collect(),
        _ => (0..prng.below(8))
            .map(|_| b'a' + prng.below(3) as u8)
            .collect(),
    }
}

/// A time to live or an instant that does not fall due while the test runs, or is refused, or is long past.
fn time(prng: &mut Prng) -> Vec<u8> {
    match prng.below(8) {
        1 => one_of(
            prng,
            &[
                "0",
                "-1",
                "9223372036854775807",
                "9223372036854775",
                "99999999999",
                "x",
            ],
        )
        .as_bytes()
        .to_vec(),
        2 => b"4102444800".to_vec(),
        _ => (1_000_000 + prng.below(9) * 100_000)
            .to_string()
            .into_bytes(),
    }
}

/// What a word of a template stands for.
fn word(prng: &mut Prng, word: &str) -> Vec<u8> {
    match word {
        "k" => one_of(prng, KEYS).to_vec(),
        "v" => value(prng),
        "n" => number(prng),
        "d" => one_of(prng, &["0", "1", "1", "2", "15", "16", "-1", "x"])
            .as_bytes()
            .to_vec(),
        "t" => time(prng),
        "f" => float(prng),
        "p" => one_of(
            prng,
            &["a", "[b]", "ke?", "k?*\\0", "nosuch*", "\\c", "x[", ""],
        )
        .as_bytes()
        .to_vec(),
        literal => {
            let mut literal = literal.as_bytes().to_vec();
            if prng.below(6) == 0 {
                literal
                    .iter_mut()
                    .for_each(|byte| *byte = byte.to_ascii_lowercase());
            }
            literal
        }
    }
}

/// One request as it goes over the wire.
fn request(prng: &mut Prng) -> Vec<u8> {
    let template = draw(prng, TEMPLATES);
    let mut args = expand(prng, template, &mut word);
    match prng.below(40) {
        0 if args.len() > 1 => {
            args.pop();
        }
        1 => args.push(value(prng)),
        2 => {
            let at = prng.below(args.len() as u64) as usize;
            args[at] = value(prng);
        }
        _ => {}
    }
    let mut bytes = Vec::new();
    let plain = |arg: &Vec<u8>| !arg.is_empty() && arg.iter().all(u8::is_ascii_alphanumeric);
    if prng.below(10) == 0 && args.iter().all(plain) {
        bytes = args.join(&b' ');
        bytes.extend_from_slice(b"\r\n");
    } else {
        push_request(&mut bytes, &args);
    }
    match prng.below(300) {
        0 => {
            bytes = one_of(
                prng,
                &[
                    "*x\r\n",
                    "*1\r\n:1\r\n",
                    "*1\r\n$-1\r\n",
                    "GET 'a\r\n",
                    "*0\r\n",
                    "\r\n",
                    "*-1\r\n",
                ],
            )
            .as_bytes()
            .to_vec()
        }
        1 => {
            let at = prng.below(bytes.len() as u64) as usize;
            bytes[at] = prng.next_u64() as u8;
        }
        2 => {
            bytes = b"*11\r\n$4\r\nMGET\r\n"
                .iter()
                .copied()
                .chain(b"$1\r\na\r\n".repeat(10))
                .collect()
        }
        3 => {
            bytes.clear();
            push_request(
                &mut bytes,
                &[
                    b"SET".to_vec(),
                    b"a".to_vec(),
                    vec![b'v'; 16_384 + prng.below(2) as usize],
                ],
            );
        }
        _ => {}
    }
    bytes
}

/// How a pipeline is cut into writes.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    EveryByte,
    Random(u64),
}

/// What came back.
#[derive(Debug)]
struct Replies {
    bytes: Vec<u8>,
    /// The connection was reset: the server closed it before it had read all, and replies may be lost.
    reset: bool,
}

impl PartialEq for Replies {
    fn eq(&self, other: &Replies) -> bool {
        alike(&self.bytes, &other.bytes)
            || (self.reset && other.bytes.starts_with(&self.bytes))
            || (other.reset && self.bytes.starts_with(&other.bytes))
    }
}

/// Equal but for deadlines, which depend on when each server ran the command that set them.
fn alike(a: &[u8], b: &[u8]) -> bool {
    const APART_MS: u64 = 5000;
    let lines = |bytes| -> Vec<Vec<u8>> {
        let bytes: &[u8] = bytes;
        bytes
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    };
    let deadline = |line: &[u8]| -> Option<i64> {
        let digits = line.strip_prefix(b":")?.strip_suffix(b"\r")?;
        let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (number > 1_000_000_000_000).then_some(number)
    };
    if a == b {
        return true;
    }
    let (a, b) = (lines(a), lines(b));
    let same = |(a, b): (&Vec<u8>, &Vec<u8>)| {
        a == b
            || matches!((deadline(a), deadline(b)), (Some(a), Some(b)) if a.abs_diff(b) < APART_MS)
    };
    a.len() == b.len() && a.iter().zip(&b).all(same)
}

/// The replies to a pipeline on a fresh connection over an empty data set; None: the server did not end the
/// connection.
fn replies(server: &Server, requests: &[Vec<u8>], cut: Cut, password: bool) -> Option<Replies> {
    let mut control = server.client();
    if password {
        control.text("AUTH secret");
    }
    control.text("FLUSHALL");
    let mut client = server.client();
    client.set_deadline(Duration::from_secs(5));
    let bytes = requests.concat();
    let mut rest = bytes.as_slice();
    let mut prng = Prng::new(match cut {
        Cut::Random(seed) => seed,
        Cut::Whole | Cut::EveryByte => 0,
    });
    let average = 1 + prng.below(bytes.len() as u64 / 2 + 1);
    let mut sent = true;
    while !rest.is_empty() {
        let len = match cut {
            Cut::Whole => rest.len(),
            Cut::EveryByte => 1,
            Cut::Random(_) => (1 + prng.below(average) as usize).min(rest.len()),
        };
        let (piece, after) = rest.split_at(len);
        if !client.try_send(piece) {
            sent = false;
            break;
        }
        if matches!(cut, Cut::Random(_)) && prng.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        rest = after;
    }
    // A half-closed connection would lose the replies of a blocked client: a known last reply ends the reading. It
    // does not come after a protocol error, QUIT or an incomplete request.
    sent &= client.try_send(b"DISCARD\r\nCLIENT REPLY ON\r\nsentinel\r\n");
    let last = b"-ERR unknown command 'sentinel', with args beginning with: \r\n";
    let (mut bytes, mut reset) = client.read_until(last, Duration::from_millis(500));
    reset |= !sent;
    let mut ended = true;
    if !bytes.ends_with(last) && !reset {
        client.finish();
        let (rest, closed) = client.read_to_end();
        bytes.extend(rest);
        ended = closed;
    }
    // Redis 8 runs FLUSHALL in the background with the client blocked, and a protocol error among what waited for it
    // closes the connection without its text.
    if requests.iter().any(|request| holds(request, b"flush")) {
        let last = bytes
            .windows(20)
            .rposition(|part| part == b"-ERR Protocol error:");
        bytes.truncate(last.unwrap_or(bytes.len()));
    }
    ended.then(|| Replies {
        bytes: normalised(bytes),
        reset,
    })
}

/// Whether a request holds a word in any case.
fn holds(request: &[u8], word: &[u8]) -> bool {
    request
        .to_ascii_lowercase()
        .windows(word.len())
        .any(|part| part == word)
}

/// Takes out what must differ: the version, the id and the modules in HELLO's reply, instants of these years, and refused passwords, whose error Redis
/// swallows when replies are pending.
pub fn normalised(mut bytes: Vec<u8>) -> Vec<u8> {
    let find = |bytes: &[u8], from: usize, what: &[u8]| {
        bytes
            .get(from..)?
            .windows(what.len())
            .position(|window| window == what)
            .map(|at| from + at + what.len())
    };
    let mut at = 0;
    while let Some(start) = find(&bytes, at, b"$7\r\nversion\r\n") {
        let Some(proto) = find(&bytes, start, b"$5\r\nproto\r\n") else {
            break;
        };
        let Some(id) = find(&bytes, proto, b"$2\r\nid\r\n") else {
            break;
        };
        let Some(end) = find(&bytes, id, b"\r\n") else {
            break;
        };
        bytes.splice(id..end - 2, *b":0");
        bytes.splice(start..proto - b"$5\r\nproto\r\n".len(), *b"-\r\n");
        at = start;
    }
    for module in [
        b"*1\r\n*8\r\n$4\r\nname\r\n$9\r\nvectorset\r\n$3\r\nver\r\n:1\r\n$4\r\npath\r\n$0\r\n\r\n$4\r\nargs\r\n*0\r\n",
        b"*1\r\n%4\r\n$4\r\nname\r\n$9\r\nvectorset\r\n$3\r\nver\r\n:1\r\n$4\r\npath\r\n$0\r\n\r\n$4\r\nargs\r\n*0\r\n",
    ] {
        while let Some(end) = find(&bytes, 0, module) {
            bytes.splice(end - module.len()..end, *b"*0\r\n");
        }
    }
    at = 0;
    while let Some(start) = find(&bytes, at, b"\r\n:") {
        let Some(end) = find(&bytes, start, b"\r\n") else {
            break;
        };
        let number = num::parse_i64(&bytes[start..end - 2]).unwrap_or(0);
        let seconds = if number > 1_000_000_000_000 {
            number / 1000
        } else {
            number
        };
        if (1_600_000_000..3_000_000_000).contains(&seconds) {
            bytes.splice(start..end - 2, *b"instant");
        }
        at = start;
    }
    let refused = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    while let Some(end) = find(&bytes, 0, refused) {
        bytes.drain(end - refused.len()..end);
    }
    bytes
}

/// The smallest part of a differing pipeline that still differs.
fn reduced(ours: &Server, theirs: &Server, requests: &[Vec<u8>], password: bool) -> Vec<Vec<u8>> {
    let differs = |requests: &[Vec<u8>]| {
        (0..2).all(|_| {
            replies(ours, requests, Cut::Whole, password)
                != replies(theirs, requests, Cut::Whole, password)
        })
    };
    let mut requests = requests.to_vec();
    if !differs(&requests) {
        return requests;
    }
    let mut step = requests.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at < requests.len() {
            let mut fewer = requests.clone();
            fewer.drain(at..(at + step).min(requests.len()));
            if differs(&fewer) {
                requests = fewer;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    requests
}

fn run(password: bool, rounds: u64) {
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let args: &[&str] = if password {
        &["--requirepass", "secret"]
    } else {
        &[]
    };
    let (peer, theirs) = Peer::redis(args);
    let ours = Server::start(args);
    let rounds =
        std::env::var("ROUNDS").map_or(rounds, |text| text.parse().expect("ROUNDS is a number"));
    let mut problems: Vec<String> = Vec::new();
    for round in 0..rounds {
        let count = 1 + prng.below(40);
        let mut requests: Vec<Vec<u8>> = (0..count).map(|_| request(&mut prng)).collect();
        if password {
            // Redis 8 closes a client that RESET has logged out while more than 1 KiB of replies is pending, which
            // depends on when they are written.
            requests.retain(|request| !holds(request, b"reset"));
        }
        // Redis checks a client's name up to the first NUL only, so that the rest may forge a line; refused here.
        requests.retain(|request| {
            !((holds(request, b"setname") || holds(request, b"setinfo")) && request.contains(&0))
        });
        if peer == Peer::Redis7 {
            // What Redis 8 has more, or answers otherwise.
            const CHANGED: [&[u8]; 5] = [b"no-touch", b"setinfo", b"hello", b"scan", b"wait"];
            requests.retain(|request| !CHANGED.iter().any(|word| holds(request, word)));
        }
        if requests.iter().any(|request| holds(request, b"xat")) {
            // A key that is stored past its time is counted by Redis, and not here.
            requests.retain(|request| !holds(request, b"dbsize"));
        }
        if password && prng.below(3) > 0 {
            let mut auth = Vec::new();
            push_request(&mut auth, &["AUTH", "secret"]);
            requests.insert(0, auth);
        }
        let cut = match prng.below(8) {
            0 => Cut::EveryByte,
            1..=3 => Cut::Random(prng.next_u64()),
            _ => Cut::Whole,
        };
        // A short time to live or a connection that is reset may make a difference once: it counts when it stays.
        let differs = || {
            replies(&ours, &requests, cut, password)
                != replies(&theirs, &requests, Cut::Whole, password)
        };
        if !(0..4).all(|_| differs()) {
            continue;
        }
        let requests = reduced(&ours, &theirs, &requests, password);
        let show = |bytes: &Option<Replies>, at: usize| match bytes {
            None => "(no end of the connection)".to_owned(),
            Some(Replies { bytes, .. }) => bytes
                .get(at..(at + 300).min(bytes.len()))
                .unwrap_or_default()
                .escape_ascii()
                .to_string(),
        };
        let (a, b) = (
            replies(&ours, &requests, cut, password),
            replies(&theirs, &requests, Cut::Whole, password),
        );
        let same = match (&a, &b) {
            (Some(a), Some(b)) => a
                .bytes
                .iter()
                .zip(&b.bytes)
                .take_while(|(a, b)| a == b)
                .count(),
            _ => 0,
        };
        let at = same.saturating_sub(60);
        let lines: Vec<String> = requests
            .iter()
            .map(|request| {
                format!(
                    "    {}",
                    request.escape_ascii().to_string().replace("\\r\\n", " ")
                )
            })
            .collect();
        problems.push(format!(
            "round {round}, {cut:?}\n{}\n  ours   {}\n  theirs {}",
            lines.join("\n"),
            show(&a, at),
            show(&b, at)
        ));
        if problems.len() >= 10 {
            break;
        }
    }
    assert!(problems.is_empty(), "seed {seed}:\n{}", problems.join("\n"));
}

#[test]
fn random_pipelines() {
    run(false, 250);
}

#[test]
fn random_pipelines_with_a_password() {
    run(true, 250);
}

/// Two clients take turns on small data, one command at a time: what WATCH sees of the other's writes.
/// (No DBSIZE: Redis counts keys past their time.)
#[test]
fn two_clients_take_turns() {
    const STEPS: &[&str] = &[
        "WATCH k k",
        "WATCH k",
        "WATCH k",
        "UNWATCH",
        "MULTI",
        "MULTI",
        "EXEC",
        "EXEC",
        "EXEC",
        "DISCARD",
        "GET k",
        "SET k v",
        "SET k v",
        "SET k v XX",
        "SET k v PX 1",
        "SET k v PXAT 1",
        "SETEX k 1000 v",
        "GETEX k PERSIST",
        "GETEX k EX 1000",
        "GETDEL k",
        "DEL k k",
        "UNLINK k",
        "APPEND k v",
        "SETRANGE k 0 v",
        "SETRANGE k 1 ?v",
        "INCRBY k 1",
        "EXPIRE k 1000",
        "EXPIRE k -1",
        "EXPIRE k 1000 NX",
        "PERSIST k",
        "RENAME k k",
        "RENAMENX k k",
        "COPY k k REPLACE",
        "COPY k k DB 1",
        "MOVE k 1",
        "SWAPDB 0 1",
        "FLUSHDB",
        "FLUSHALL",
        "SELECT 0",
        "SELECT 1",
        "EXISTS k k",
        "TTL k",
        "MSET k v k v",
        "MSETNX k v k v",
        "RESET",
        "nosuch",
        "TOUCH k",
        "TYPE k",
        "KEYS *x",
    ];
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let (_, theirs) = Peer::redis(&[]);
    let ours = Server::start(&[]);
    for round in 0..120 {
        let mut clients = [
            [ours.client(), theirs.client()],
            [ours.client(), theirs.client()],
        ];
        for client in &mut clients[0] {
            client.text("FLUSHALL");
        }
        let mut history = Vec::new();
        for _ in 0..40 {
            let turn = prng.below(2) as usize;
            let step = one_of(&mut prng, STEPS);
            let args = expand(&mut prng, step, &mut |prng, part| match part {
                "k" => one_of(prng, &[b"a", b"b", b"c"]).to_vec(),
                part => word(prng, part),
            });
            let mut request = Vec::new();
            push_request(&mut request, &args);
            history.push(format!("{turn}: {}", args.join(&b' ').escape_ascii()));
            // A key that is due in a millisecond, or was made so by what EXEC runs, is due for both after two.
            let runs_queue = args[0].eq_ignore_ascii_case(b"exec");
            let due_soon = runs_queue || args.last().is_some_and(|arg| arg == b"1");
            let [a, b] = clients[turn].each_mut().map(|client| {
                client.send(&request);
                client.read().to_string()
            });
            if due_soon {
                std::thread::sleep(Duration::from_millis(3));
            }
            let seconds = |reply: &str| -> Option<u64> { reply.parse().ok() };
            let near = match (seconds(&a), seconds(&b)) {
                // Seconds that go on between the two.
                (Some(a), Some(b)) if args[0].eq_ignore_ascii_case(b"ttl") => a.abs_diff(b) < 20,
                _ => a == b,
            };
            assert!(
                near,
                "{a} {b}, seed {seed}, round {round}:\n{}",
                history.join("\n")
            );
        }
    }
}
