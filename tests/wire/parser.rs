//! The request parser on mutated pipelines: however the bytes are cut and moved, the result is that of the whole
//! buffer, and nothing panics. Prints its seed; `SEED=n` replays it.

use std::time::{Duration, Instant};

use redoxide::base::prng::Prng;
use redoxide::resp::parser::{Limits, Parser, ProtocolError, Range};

use crate::harness::{push_request, seed};

/// The commands read, and how it ended.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn collect(args: &[Range], buf: &[u8], parser: &Parser) -> Vec<Vec<u8>> {
    args.iter()
        .map(|arg| arg.of(buf, parser.decoded()).to_vec())
        .collect()
}

/// Parses a buffer that holds all bytes, all commands into one list of arguments.
fn whole(bytes: &[u8], limits: &Limits) -> Outcome {
    let (mut parser, mut start) = (Parser::new(), 0);
    let mut args = Vec::new();
    let mut ends = Vec::new();
    let error = loop {
        match parser.next(bytes, start, limits, &mut args) {
            Ok(None) => break None,
            Err(error) => break Some(error),
            Ok(Some(end)) => {
                assert!(end > start && end <= bytes.len());
                start = end;
                ends.push(args.len());
            }
        }
    };
    let mut from = 0;
    let commands = ends
        .into_iter()
        .map(|end| {
            let command = collect(&args[from..end], bytes, &parser);
            from = end;
            command
        })
        .collect();
    (commands, error)
}

/// Parses bytes that arrive in pieces, moving the unread tail to a place of its own after each piece.
fn cut(
    bytes: &[u8],
    limits: &Limits,
    prng: &mut Prng,
    mut piece: impl FnMut(&mut Prng) -> usize,
) -> Outcome {
    let mut parser = Parser::new();
    let mut commands = Vec::new();
    let (mut buf, mut start, mut arrived) = (Vec::new(), 0, 0);
    while arrived < bytes.len() {
        let wanted = parser.wanted();
        let end = (arrived + piece(prng).max(1)).min(bytes.len());
        buf.extend_from_slice(&bytes[arrived..end]);
        let fewer = end - arrived < wanted;
        arrived = end;
        loop {
            let mut args = Vec::new();
            match parser.next(&buf, start, limits, &mut args) {
                Err(error) => return (commands, Some(error)),
                Ok(None) => {
                    assert!(args.is_empty(), "arguments of an incomplete command");
                    break;
                }
                Ok(Some(end)) => {
                    assert!(!fewer, "whole although bytes were wanted");
                    commands.push(collect(&args, &buf, &parser));
                    start = end;
                }
            }
        }
        assert!(parser.is_partial() || start == buf.len() || buf[start] == 0);
        // The tail moves, as between a shared buffer and a link's own.
        let shift = prng.below(9) as usize;
        let tail = buf.split_off(start);
        buf = vec![b'#'; shift];
        buf.extend_from_slice(&tail);
        start = shift;
    }
    (commands, None)
}

fn random_bytes(prng: &mut Prng, alphabet: &[u8], max: u64) -> Vec<u8> {
    (0..prng.below(max + 1))
        .map(|_| alphabet[prng.below(alphabet.len() as u64) as usize])
        .collect()
}

fn input(prng: &mut Prng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + prng.below(8) {
        match prng.below(8) {
            0 => {
                bytes.extend(random_bytes(prng, b"get set  \t'\"\\x41\\n", 30));
                bytes.extend_from_slice(if prng.below(2) == 0 { b"\r\n" } else { b"\n" });
            }
            1 => bytes.extend_from_slice(
                [b"*0\r\n".as_slice(), b"*-1\r\n", b"\r\n", b"\n"][prng.below(4) as usize],
            ),
            _ => {
                let args: Vec<_> = (0..1 + prng.below(12))
                    .map(|_| {
                        let max =
                            [3, 12, 120, 1200, 12_000][prng.below(20).saturating_sub(15) as usize];
                        random_bytes(prng, b"abc\r\n$*0\0", max)
                    })
                    .collect();
                push_request(&mut bytes, &args);
            }
        }
    }
    for _ in 0..prng.below(4) {
        let at = prng.below(bytes.len() as u64) as usize;
        let insert = random_bytes(prng, b"\0\r\n$*-+0123456789 '\"x\xff", 3);
        let end = (at + prng.below(3) as usize).min(bytes.len());
        bytes.splice(at..end, insert);
    }
    if prng.below(50) == 0 {
        let at = prng.below(bytes.len() as u64 + 1) as usize;
        let long = vec![b'1'; 60_000 + prng.below(10_000) as usize];
        bytes.splice(at..at, long);
    }
    bytes
}

#[test]
fn cuts_do_not_change_what_is_read() {
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let started = Instant::now();
    let mut inputs = 0;
    while started.elapsed() < Duration::from_secs(3) {
        let bytes = input(&mut prng);
        let limits = Limits {
            authenticated: prng.below(4) != 0,
            bulk_bytes_max: if prng.below(4) == 0 {
                1000
            } else {
                Limits::BULK_BYTES_MAX
            },
            ..Limits::default()
        };
        let expected = whole(&bytes, &limits);
        let shown = || {
            bytes
                .get(..4000)
                .unwrap_or(&bytes)
                .escape_ascii()
                .to_string()
        };
        // At every byte; in random pieces; once at one place.
        if bytes.len() < 5000 {
            assert_eq!(
                cut(&bytes, &limits, &mut prng, |_| 1),
                expected,
                "seed {seed}: {}",
                shown()
            );
        }
        let max = 1 + prng.below(200);
        let outcome = cut(&bytes, &limits, &mut prng, |prng| prng.below(max) as usize);
        assert_eq!(outcome, expected, "seed {seed}: {}", shown());
        let first = prng.below(bytes.len() as u64 + 1) as usize;
        let mut pieces = vec![bytes.len(), first].into_iter();
        let outcome = cut(&bytes, &limits, &mut prng, |_| {
            pieces.next_back().unwrap_or(1)
        });
        assert_eq!(outcome, expected, "seed {seed}: {}", shown());
        inputs += 1;
    }
    println!("{inputs} inputs");
}

/// Nanoseconds a command; for `cargo test --release --test wire -- --ignored --nocapture parser`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    for (name, args) in [
        ("GET", vec![b"GET".to_vec(), b"key:000000012345".to_vec()]),
        (
            "SET 64",
            vec![
                b"SET".to_vec(),
                b"key:000000012345".to_vec(),
                vec![b'v'; 64],
            ],
        ),
        ("MSET of 5", vec![b"0123456789".to_vec(); 11]),
    ] {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            push_request(&mut bytes, &args);
        }
        let (mut parser, limits, mut list) = (Parser::new(), Limits::default(), Vec::new());
        let started = Instant::now();
        let mut commands = 0;
        for _ in 0..20_000 {
            let mut start = 0;
            while let Ok(Some(end)) =
                parser.next(std::hint::black_box(&bytes), start, &limits, &mut list)
            {
                start = end;
                commands += 1;
                if commands % 16 == 0 {
                    list.clear();
                }
            }
        }
        println!(
            "{name}: {:.1} ns",
            started.elapsed().as_nanos() as f64 / f64::from(commands)
        );
    }
}
