//! What `base` computes against what a real redis-server answers, on random input.

use redoxide::base::long_double::LongDouble;
use redoxide::base::prng::Prng;
use redoxide::base::{glob, num, quote};
use redoxide::resp::parser::{Limits, Parser};

use crate::harness::{Client, Peer, Value, push_request, seed};

/// Sends commands as one pipeline; their replies.
fn pipeline(client: &mut Client, commands: &[Vec<Vec<u8>>]) -> Vec<Value> {
    let mut request = Vec::new();
    for command in commands {
        push_request(&mut request, command);
    }
    client.send(&request);
    commands.iter().map(|_| client.read()).collect()
}

fn words(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

fn pick<'a>(prng: &mut Prng, choices: &[&'a str]) -> &'a str {
    choices[prng.below(choices.len() as u64) as usize]
}

fn digits(prng: &mut Prng, max: u64) -> String {
    (0..prng.below(max + 1))
        .map(|_| char::from(b'0' + prng.below(10) as u8))
        .collect()
}

/// A text that is a number, mostly.
fn number(prng: &mut Prng) -> Vec<u8> {
    let mut text = String::new();
    match prng.below(16) {
        0 => text.push_str(pick(
            prng,
            &[
                "inf",
                "-inf",
                "nan",
                "Infinity",
                "+INF",
                "",
                " 1",
                "1 ",
                "e5",
                ".",
                "-",
                "+",
                "0x10",
                "0x1.8p1",
                "0x1p-70",
                "0X1P3",
                "-0",
                "+0",
                "1e",
                "1e+",
                "1.e1",
                ".e1",
                "1e4932",
                "1e4931",
                "1e-4950",
                "1e-4951",
                "1.18973149535723176502e+4932",
                "0x",
                "0x.p1",
                "1e5000",
                "1e-5000",
                "infin",
                "nan(1)",
                "1_0",
                "0e99999",
                "1e308",
                "1.7976931348623157e308",
                "1.8e308",
                "4.9e-324",
                "2e-324",
                "1e-400",
                "0x1p1023",
                "00012",
                "1d",
            ],
        )),
        1 => {
            let bits = f64::from_bits(prng.next_u64());
            text = format!("{bits:e}");
        }
        kind => {
            text.push_str(pick(prng, &["", "", "", "-", "+"]));
            text.push_str(&digits(prng, if kind == 2 { 40 } else { 8 }));
            if prng.below(2) == 0 {
                text.push('.');
                text.push_str(&digits(prng, if kind == 3 { 40 } else { 8 }));
            }
            if prng.below(4) == 0 {
                text.push_str(pick(prng, &["e", "E", "e-", "e+"]));
                text.push_str(&digits(prng, if kind == 4 { 4 } else { 2 }));
            }
            if prng.below(40) == 0 {
                text.push_str(pick(prng, &[" ", "x", "\0", "e", "."]));
            }
        }
    }
    text.into_bytes()
}

#[test]
fn long_doubles_add_and_print_as_incrbyfloat() {
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let (_, server) = Peer::redis(&[]);
    let mut client = server.client();
    for _ in 0..20 {
        let pairs: Vec<_> = (0..500)
            .map(|_| (number(&mut prng), number(&mut prng)))
            .collect();
        let mut commands = Vec::new();
        for (value, increment) in &pairs {
            commands.push(words(&[b"SET", b"k", value]));
            commands.push(words(&[b"INCRBYFLOAT", b"k", increment]));
        }
        let replies = pipeline(&mut client, &commands);
        for ((value, increment), reply) in pairs.iter().zip(replies.chunks(2)) {
            let expected = reply[1].to_string();
            let sum = LongDouble::parse(value)
                .zip(LongDouble::parse(increment))
                .map(|(value, increment)| value + increment);
            let ours = match sum {
                None => "(error) ERR value is not a valid float".to_owned(),
                Some(sum) if !sum.is_finite() => {
                    "(error) ERR increment would produce NaN or Infinity".to_owned()
                }
                Some(sum) => {
                    let mut text = Vec::new();
                    sum.push(&mut text);
                    String::from_utf8(text).unwrap()
                }
            };
            assert_eq!(
                ours,
                expected,
                "{:?} + {:?}, seed {seed}",
                String::from_utf8_lossy(value),
                String::from_utf8_lossy(increment)
            );
        }
    }
}

#[test]
fn doubles_read_and_print_as_scores() {
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let Some(server) = Peer::Redis8.start(&[]) else {
        return;
    };
    let mut client = server.client();
    client.text("HELLO 3");
    for _ in 0..20 {
        let texts: Vec<_> = (0..500).map(|_| number(&mut prng)).collect();
        let mut commands = Vec::new();
        for text in &texts {
            commands.push(words(&[b"DEL", b"k"]));
            commands.push(words(&[b"ZADD", b"k", text, b"m"]));
            commands.push(words(&[b"ZSCORE", b"k", b"m"]));
        }
        let replies = pipeline(&mut client, &commands);
        for (text, reply) in texts.iter().zip(replies.chunks(3)) {
            let expected = reply[2].to_string();
            let ours = match num::parse_f64(text) {
                None => "(nil)".to_owned(),
                Some(value) => {
                    let mut text = Vec::new();
                    num::push_f64(&mut text, value);
                    String::from_utf8(text).unwrap()
                }
            };
            assert_eq!(
                ours,
                expected,
                "{:?}, seed {seed}",
                String::from_utf8_lossy(text)
            );
        }
    }
}

fn glob_text(prng: &mut Prng, alphabet: &[u8], max: u64) -> Vec<u8> {
    (0..prng.below(max + 1))
        .map(|_| alphabet[prng.below(alphabet.len() as u64) as usize])
        .collect()
}

#[test]
fn patterns_match_as_keys() {
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let (_, server) = Peer::redis(&[]);
    let mut client = server.client();
    for _ in 0..10 {
        client.text("FLUSHALL");
        let keys: Vec<_> = (0..60)
            .map(|_| glob_text(&mut prng, b"aabbAcz-]^\\[*?\x80\xff\0", 6))
            .collect();
        pipeline(
            &mut client,
            &keys
                .iter()
                .map(|key| words(&[b"SET", key, b""]))
                .collect::<Vec<_>>(),
        );
        let patterns: Vec<_> = (0..400)
            .map(|_| glob_text(&mut prng, b"aabbcAz**??[[]]^^--\\\\\x80\xff", 9))
            .collect();
        let replies = pipeline(
            &mut client,
            &patterns
                .iter()
                .map(|pattern| words(&[b"KEYS", pattern]))
                .collect::<Vec<_>>(),
        );
        for (pattern, reply) in patterns.iter().zip(replies) {
            let Value::Array(found) = reply else {
                panic!("{reply}")
            };
            for key in &keys {
                let expected = found.contains(&Value::Bulk(key.clone()));
                let ours = glob::matches(pattern, key, false);
                let (pattern, key) = (pattern.escape_ascii(), key.escape_ascii());
                assert_eq!(ours, expected, "{pattern} on {key}, seed {seed}");
            }
        }
    }
}

#[test]
fn patterns_match_without_case_as_config_get() {
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let (_, server) = Peer::redis(&[]);
    let mut client = server.client();
    let names = |reply: Value| -> Vec<Vec<u8>> {
        let Value::Array(items) = reply else {
            panic!("{reply}")
        };
        items
            .into_iter()
            .step_by(2)
            .map(|item| item.to_string().into_bytes())
            .collect()
    };
    let all = names(client.value("CONFIG GET *"));
    let mut patterns = Vec::new();
    for _ in 0..300 {
        let mut pattern = all[prng.below(all.len() as u64) as usize].clone();
        for _ in 0..1 + prng.below(4) {
            let at = prng.below(pattern.len() as u64) as usize;
            let insert: &[u8] = match prng.below(8) {
                0 => b"*",
                1 => b"?",
                2 => b"[A-Z]",
                3 => b"[^x]",
                4 => b"[z-A-]",
                5 => b"\\",
                6 => b"[\\Aaeiou]",
                _ => &[pattern[at].to_ascii_uppercase()],
            };
            let end = (at + prng.below(4) as usize).min(pattern.len());
            pattern.splice(at..end, insert.iter().copied());
        }
        pattern.push(b'*');
        patterns.push(pattern);
    }
    let commands: Vec<_> = patterns
        .iter()
        .map(|pattern| words(&[b"CONFIG", b"GET", pattern]))
        .collect();
    for (pattern, reply) in patterns.iter().zip(pipeline(&mut client, &commands)) {
        let found = names(reply);
        for name in &all {
            assert_eq!(
                glob::matches(pattern, name, true),
                found.contains(name),
                "{} on {}, seed {seed}",
                pattern.escape_ascii(),
                name.escape_ascii()
            );
        }
    }
}

#[test]
fn quotes_are_read_as_inline_commands_and_written_as_monitor() {
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let (_, server) = Peer::redis(&[]);
    let mut client = server.client();
    for _ in 0..3000 {
        let mut line = b"RPUSH k ".to_vec();
        line.extend(glob_text(
            &mut prng,
            b"ab  \t\r\x0b\x0c\"\"''\\\\xn4f\x80",
            14,
        ));
        let expected = quote::split_args(&line);
        line.push(b'\n');
        client.send(&line);
        match (expected, client.read()) {
            (None, Value::Error(text)) => {
                assert_eq!(
                    text,
                    "ERR Protocol error: unbalanced quotes in request",
                    "{}",
                    line.escape_ascii()
                );
                client = server.client();
            }
            (Some(words), Value::Error(_)) => {
                assert!(words.len() < 3, "{}, seed {seed}", line.escape_ascii())
            }
            (Some(expected), Value::Int(count)) => {
                let reply = client.call(&[
                    b"LPOP".to_vec(),
                    b"k".to_vec(),
                    count.to_string().into_bytes(),
                ]);
                let expected = expected.into_iter().skip(2).map(Value::Bulk).collect();
                assert_eq!(
                    reply,
                    Value::Array(expected),
                    "{}, seed {seed}",
                    line.escape_ascii()
                );
            }
            (ours, reply) => panic!("{ours:?} but {reply}: {}, seed {seed}", line.escape_ascii()),
        }
    }
    let mut monitor = server.client();
    assert_eq!(monitor.text("MONITOR"), "OK");
    let all: Vec<u8> = (0..=255).collect();
    client.call(&[b"ECHO".as_slice(), &all]);
    let line = monitor.read().to_string();
    let mut quoted = Vec::new();
    quote::push_quoted(&mut quoted, &all);
    assert!(
        line.ends_with(std::str::from_utf8(&quoted).unwrap()),
        "{line}"
    );
}

/// The replies of a server that knows no command, to a whole input.
fn replies_to_unknown_commands(bytes: &[u8], limits: &Limits) -> Vec<u8> {
    let (mut parser, mut start, mut out) = (Parser::new(), 0, Vec::new());
    let mut args = Vec::new();
    loop {
        args.clear();
        match parser.next(bytes, start, limits, &mut args) {
            Ok(None) => return out,
            Err(error) => {
                out.push(b'-');
                out.extend(error.reply());
                out.extend_from_slice(b"\r\n");
                return out;
            }
            Ok(Some(end)) => {
                start = end;
                let mut args = args.iter().map(|arg| arg.of(bytes, parser.decoded()));
                let Some(name) = args.next() else { continue };
                // Texts end at a NUL, as Redis formats them with C strings.
                let shown = |arg: &[u8], max: usize| -> Vec<u8> {
                    let end = arg
                        .iter()
                        .position(|&byte| byte == 0)
                        .unwrap_or(arg.len())
                        .min(max);
                    arg[..end]
                        .iter()
                        .map(|&byte| {
                            if matches!(byte, b'\r' | b'\n') {
                                b' '
                            } else {
                                byte
                            }
                        })
                        .collect()
                };
                out.extend_from_slice(b"-ERR unknown command '");
                out.extend(shown(name, 128));
                out.extend_from_slice(b"', with args beginning with: ");
                let mut list = Vec::new();
                for arg in args {
                    if list.len() >= 128 {
                        break;
                    }
                    let room = 128 - list.len();
                    list.push(b'\'');
                    list.extend(shown(arg, room));
                    list.extend_from_slice(b"' ");
                }
                out.extend(list);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// A pipeline of commands that no server knows, with mistakes.
fn pipeline_with_mistakes(prng: &mut Prng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + prng.below(5) {
        let count = if prng.below(10) == 0 {
            13
        } else {
            1 + prng.below(4)
        };
        let arguments: Vec<Vec<u8>> = (0..count)
            .map(|index| {
                let max = if prng.below(12) == 0 { 1200 } else { 12 };
                let mut arg = if index == 0 {
                    b"zz".to_vec()
                } else {
                    Vec::new()
                };
                arg.extend(glob_text(prng, b"abc\r\n\0 $*'\"", max));
                arg
            })
            .collect();
        match prng.below(4) {
            0 => {
                bytes.extend_from_slice(b"zz ");
                bytes.extend(glob_text(prng, b"ab  \"\"''\\x41\r", 16));
                bytes.extend_from_slice(if prng.below(2) == 0 { b"\r\n" } else { b"\n" });
            }
            _ => push_request(&mut bytes, &arguments),
        }
    }
    for _ in 0..prng.below(3) {
        let at = prng.below(bytes.len() as u64) as usize;
        let insert = glob_text(prng, b"\0\r\n$*-+0123456789 '\"x", 3);
        let end = (at + prng.below(3) as usize).min(bytes.len());
        bytes.splice(at..end, insert);
    }
    bytes
}

#[test]
fn requests_are_read_as_redis_reads_them() {
    let seed = seed();
    println!("seed {seed}");
    let mut prng = Prng::new(seed);
    let (_, open) = Peer::redis(&[]);
    let (_, closed) = Peer::redis(&["--requirepass", "secret"]);
    let limits = Limits::default();
    let unauthenticated = Limits {
        authenticated: false,
        ..limits
    };
    let long = |prefix: &str, count: usize, suffix: &str| {
        [prefix.as_bytes(), &vec![b'1'; count], suffix.as_bytes()].concat()
    };
    let mut inputs: Vec<Vec<u8>> = [
        "*\r\n",
        "*x\r\n",
        "* 1\r\n",
        "*+1\r\n",
        "*01\r\n",
        "*-0\r\n",
        "*-1\r\nzz\r\n",
        "*-5\r\nzz\r\n",
        "*0\r\nzz\n",
        "*2147483647\r\n",
        "*2147483648\r\n",
        "*1048577\r\n",
        "*9223372036854775808\r\n",
        "*11\r\n",
        "*10\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$\r\n",
        "*1\r\n\r\n",
        "*1\r\n\n\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n\0\r\n",
        "*1\r\n\x7f\r\n",
        "*1\r\n$16384\r\n",
        "*1\r\n$16385\r\n",
        "*1\r\n$536870912\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n$0\r\n\r\n",
        "*1\rX$2\rYzzXXzz\r\n",
        "\0zz\r\n",
        "zz \0\r\nzz\r\n",
        "\r\n\r\nzz\n",
        "zz \"\r\n",
        " zz \r\n",
        "zz 'a'b\r\n",
        "zz \x0b\x0c a\r\n",
        "*1\r\n$2\r\nzzzz*1\r\n$2\r\nzz\r\n",
        "*2\r\n$2\r\nzz\r\nx",
        "$1\r\nzz\r\n",
        "*1\0\r\n$2\r\nzz\r\n",
        "*1\r\n$2\0\r\nzz\r\n",
        "*1\r\r\r\n",
        "*1\r\n$2\r\r",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    inputs.push(b"*1\r\n\xe9\r\n".to_vec());
    // a buffer of Redis's that holds no more than 64 KiB of a line grows to 160 KiB by one read: whether it sees the
    // end of a line shorter than that depends on how the bytes arrived
    for (prefix, suffix) in [
        ("", ""),
        ("*", ""),
        ("*1\r\n$", ""),
        ("zz ", "\n"),
        ("\0", "\n"),
        ("*", "\0\r\n"),
        ("*", "\r\n"),
    ] {
        inputs.push(long(prefix, 65_536 - prefix.len(), ""));
        inputs.push(long(prefix, 300_000, suffix));
        inputs.push(long(prefix, 30_000, suffix));
    }
    inputs.extend((0..600).map(|_| pipeline_with_mistakes(&mut prng)));
    for input in &inputs {
        for (server, limits) in [(&open, &limits), (&closed, &unauthenticated)] {
            let mut client = server.client();
            client.try_send(input);
            client.finish();
            let (reply, ended) = client.read_to_end();
            assert!(ended);
            let ours = replies_to_unknown_commands(input, limits);
            let shown = input.get(..3000).unwrap_or(input);
            assert_eq!(
                ours.escape_ascii().to_string(),
                reply.escape_ascii().to_string(),
                "{} ({} bytes), seed {seed}",
                shown.escape_ascii(),
                input.len()
            );
        }
    }
}
