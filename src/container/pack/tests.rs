//! Against bytes of a real server, and a vector of strings as the twin.

use super::*;
use crate::base::prng::Prng;

/// Small values of a Redis 8.0.6: the pack inside of their DUMP payload, in hexadecimal, and its items.
#[rustfmt::skip]
const GOLDEN: &[(&str, &[&str])] = &[
    // HSET h field value n -1 k 127 128 4095 a -4096
    ("2c0000000a00856669656c64068576616c756506816e02dfff02816b027f01c08002cfff02816102d00002ff",
     &["field", "value", "n", "-1", "k", "127", "128", "4095", "a", "-4096"]),
    // RPUSH l …
    ("9f0000001b00800100017f01c08002dfff02cfff02d00002f1001003f1ffef03f1ff7f03f1008003f200800004\
      f2ff7fff04f2ffff7f04f200008004f30000800005f3ffff7fff05f3ffffff7f05f30000008005f4000000800000\
      000009f4ffffff7fffffffff09f4ffffffffffffff7f09f400000000000000800993393232333337323033363835\
      3437373538303814822d30038330303704822b3103ff",
     &["", "0", "127", "128", "-1", "4095", "-4096", "4096", "-4097", "32767", "-32768", "32768",
       "-32769", "8388607", "-8388608", "8388608", "-8388609", "2147483647", "-2147483648",
       "2147483648", "-2147483649", "9223372036854775807", "-9223372036854775808",
       "9223372036854775808", "-0", "007", "+1"]),
    // SADD set a b 12
    ("0f00000003008161028162020c01ff", &["a", "b", "12"]),
    // ZADD z 1 a 2.5 b -3 7
    ("1900000006000701dffd02816102010181620283322e3504ff", &["7", "-3", "a", "1", "b", "2.5"]),
];

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|byte| (byte as char).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn built<T: AsRef<[u8]>>(items: &[T]) -> Vec<u8> {
    let mut builder = PackBuilder::new();
    for item in items {
        builder.push(item.as_ref());
    }
    builder.finish()
}

fn text(item: PackItem) -> Vec<u8> {
    item.as_bytes(&mut [0; 20]).to_vec()
}

/// The items, walked both ways by iterators and by positions.
fn items(bytes: &[u8]) -> Vec<Vec<u8>> {
    let pack = Pack::check(bytes).unwrap();
    let forward: Vec<_> = pack.iter().map(text).collect();
    let mut backward: Vec<_> = pack.iter().rev().map(text).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    let positions: Vec<_> = pack.positions().collect();
    let mut reversed: Vec<_> = pack.positions().rev().collect();
    reversed.reverse();
    assert_eq!(positions, reversed);
    assert_eq!(pack.len(), forward.len());
    assert_eq!(pack.is_empty(), forward.is_empty());
    assert_eq!(pack.first(), positions.first().copied());
    assert_eq!(pack.last(), positions.last().copied());
    for (index, &at) in positions.iter().enumerate() {
        assert_eq!(text(pack.get(at)), forward[index]);
        assert_eq!(pack.next(at), positions.get(index + 1).copied());
        assert_eq!(
            pack.prev(at),
            index.checked_sub(1).map(|index| positions[index])
        );
    }
    forward
}

/// Text of every encoding, often at a boundary.
fn random_item(prng: &mut Prng) -> Vec<u8> {
    let near = |prng: &mut Prng, value: i64| value.wrapping_add(prng.below(5) as i64 - 2);
    match prng.below(8) {
        0 => prng.below(130).to_string().into_bytes(),
        1..=3 => {
            let bits = [7, 12, 15, 23, 31, 63][prng.below(6) as usize];
            let edge = near(prng, (1i64 << (bits - 1)).wrapping_mul(2));
            let sign = if prng.below(2) == 0 { 1 } else { -1 };
            edge.wrapping_mul(sign).to_string().into_bytes()
        }
        4 => [
            "",
            "-",
            "-0",
            "007",
            "9223372036854775808",
            "+1",
            "1.5",
            "1 ",
        ][prng.below(8) as usize]
            .as_bytes()
            .to_vec(),
        5 => {
            let long = prng.below(20) == 0;
            let len = [63, 125, 251, 4095][prng.below(3 + u64::from(long)) as usize];
            vec![b'a' + prng.below(3) as u8; near(prng, len) as usize]
        }
        _ => (0..prng.below(12))
            .map(|_| b'a' + prng.below(3) as u8)
            .collect(),
    }
}

#[test]
fn redis_writes_the_same_bytes() {
    for (hex, expected) in GOLDEN {
        let bytes = bytes_of(&hex.replace(' ', ""));
        let expected: Vec<_> = expected
            .iter()
            .map(|item| item.as_bytes().to_vec())
            .collect();
        assert_eq!(items(&bytes), expected);
        assert_eq!(built(&expected), bytes);
        let mut edited = Pack::EMPTY.to_vec();
        for item in expected.iter().rev() {
            PackMut::of(&mut edited).push_front(item);
        }
        assert_eq!(edited, bytes);
    }
    // Heads and backward lengths of long strings, as DUMP of a Redis 8.0.6 shows them.
    for (len, head, backward) in [
        (63, "bf", "40"),
        (64, "e040", "42"),
        (125, "e07d", "7f"),
        (126, "e07e", "0180"),
        (128, "e080", "0182"),
        (4095, "efff", "2081"),
        (4096, "f000100000", "2085"),
        (16377, "f0f93f0000", "7ffe"),
        (16378, "f0fa3f0000", "00ffff"),
        (16379, "f0fb3f0000", "018080"),
        (2097145, "f0f9ff1f00", "7ffffe"),
        (2097146, "f0faff1f00", "00ffffff"),
        (2097147, "f0fbff1f00", "01808080"),
    ] {
        let item = vec![b'x'; len];
        let bytes = built(&[&item]);
        let (head, backward) = (bytes_of(head), bytes_of(backward));
        let element = &bytes[HEADER_BYTES..bytes.len() - 1];
        assert!(
            element.starts_with(&head) && element.ends_with(&backward),
            "{len}"
        );
        assert_eq!(element.len(), head.len() + len + backward.len());
        assert_eq!(element.len(), Pack::encoded_len(&item));
        assert_eq!(items(&bytes), [item]);
    }
}

#[test]
fn an_item_is_its_text() {
    for value in [0, 9, 10, -1, -10, i64::MAX, i64::MIN] {
        let text = value.to_string();
        let item = PackItem::Int(value);
        assert_eq!(item.len(), text.len());
        assert_eq!(item.as_bytes(&mut [0; 20]), text.as_bytes());
        assert!(item.equals(text.as_bytes()) && !item.equals(b"x") && !item.is_empty());
        assert_eq!(item.as_int(), Some(value));
        let mut out = b"=".to_vec();
        item.push_to(&mut out);
        assert_eq!(out, format!("={text}").as_bytes());
    }
    assert!(PackItem::Bytes(b"").is_empty());
    assert_eq!(PackItem::Bytes(b"ab").len(), 2);
    assert_eq!(PackItem::Bytes(b"07").as_int(), None);
    assert!(!PackItem::Int(7).equals(b"07"));
}

#[test]
fn random_edits_match_a_vector() {
    for seed in 0..60 {
        let mut prng = Prng::new(seed);
        let mut bytes = Pack::EMPTY.to_vec();
        let mut twin: Vec<Vec<u8>> = Vec::new();
        let len_max = 1 + prng.below(60) as usize;
        for step in 0..300 {
            let item = random_item(&mut prng);
            let index = prng.below(twin.len() as u64 + 1) as usize;
            let at = |bytes: &Vec<u8>, index: usize| {
                let pack = Pack::of(bytes);
                pack.seek(index as i64).unwrap_or(pack.end())
            };
            match prng.below(if twin.len() > len_max { 12 } else { 8 }) {
                0 => {
                    PackMut::of(&mut bytes).push_back(&item);
                    twin.push(item);
                }
                1 => {
                    PackMut::of(&mut bytes).push_front(&item);
                    twin.insert(0, item);
                }
                2..=4 => {
                    let pair = [item, random_item(&mut prng)];
                    let at = at(&bytes, index);
                    PackMut::of(&mut bytes).insert(at, &[&pair[0], &pair[1]]);
                    twin.splice(index..index, pair);
                }
                5..=6 if index < twin.len() => {
                    let at = at(&bytes, index);
                    PackMut::of(&mut bytes).replace(at, &item);
                    twin[index] = item;
                }
                7 => {
                    let mut tail = PackMut::of(&mut bytes).split_off(index);
                    assert_eq!(items(&tail), twin[index..]);
                    assert_eq!(items(&bytes), twin[..index]);
                    if prng.below(2) == 0 {
                        PackMut::of(&mut bytes).append(Pack::of(&tail));
                    } else {
                        PackMut::of(&mut tail).append(Pack::of(&bytes));
                        bytes = tail;
                        twin.rotate_left(index);
                    }
                }
                _ => {
                    let count = prng.below(4) as usize;
                    let stop = (index + count).min(twin.len());
                    let mut pack = PackMut::of(&mut bytes);
                    let removed = if prng.below(2) == 0 {
                        let at = pack.pack().seek(index as i64);
                        at.map_or(0, |at| pack.remove(at, count))
                    } else if index == twin.len() {
                        pack.remove_range(index as i64, count)
                    } else {
                        pack.remove_range(index as i64 - twin.len() as i64, count)
                    };
                    assert_eq!(removed, twin.drain(index..stop).count());
                }
            }
            if step % 10 == 0 {
                assert_eq!(items(&bytes), twin, "seed {seed}");
                assert_eq!(built(&twin), bytes, "seed {seed}");
                look_up(&mut prng, Pack::of(&bytes), &twin);
            }
        }
    }
}

/// `seek`, `find`, `iter_from` against the twin.
fn look_up(prng: &mut Prng, pack: Pack, twin: &[Vec<u8>]) {
    let positions: Vec<_> = pack.positions().collect();
    let len = twin.len() as i64;
    for index in -len - 2..len + 2 {
        let expected = if index < 0 { index + len } else { index };
        let expected = usize::try_from(expected)
            .ok()
            .and_then(|index| positions.get(index));
        assert_eq!(pack.seek(index), expected.copied());
    }
    let size = pack.iter().size_hint();
    assert_eq!(size, (twin.len(), Some(twin.len())));
    let from = prng.below(len as u64 + 1) as usize;
    let at = positions.get(from).copied().unwrap_or(pack.end());
    assert!(
        pack.iter_from(at)
            .map(text)
            .eq(twin[from..].iter().cloned())
    );
    assert!(
        pack.iter_from(at)
            .rev()
            .map(text)
            .eq(twin[from..].iter().rev().cloned())
    );
    for round in 0..20 {
        let item = match twin.get(prng.below(len as u64) as usize) {
            Some(item) if round % 4 != 0 => item.clone(),
            _ => random_item(prng),
        };
        let step = 1 + round % 3;
        let expected = (from..twin.len())
            .step_by(step)
            .find(|&index| twin[index] == item);
        assert_eq!(
            pack.find(at, &item, step),
            expected.map(|index| positions[index])
        );
    }
}

#[test]
fn heads_longer_than_needed_are_read() {
    // "7" as a string of 6 bits, 12 bits and 32 bits; 7 as integers of 13, 16, 24, 32, 64 bits; "" of 12 bits.
    for element in [
        "813702",
        "e0013703",
        "f0010000003706",
        "c00702",
        "f1070003",
        "f207000004",
        "f30700000005",
        "f4070000000000000009",
    ] {
        let mut bytes = Pack::EMPTY.to_vec();
        Buffer::splice(&mut bytes, HEADER_BYTES, 0, &bytes_of(element));
        let header = header_of(bytes.len(), 1);
        bytes.write(0, &header);
        let pack = Pack::check(&bytes).unwrap();
        let first = pack.first().unwrap();
        assert_eq!(pack.find(first, b"7", 1), Some(first), "{element}");
        assert_eq!(pack.find(first, b"8", 1), None);
        assert_eq!(pack.get(first).as_int(), Some(7));
        assert!(pack.get(first).equals(b"7"));
        PackMut::of(&mut bytes).replace(first, b"7");
        assert_eq!(bytes, built(&["7"]));
    }
}

#[test]
fn the_count_saturates() {
    let mut bytes = Pack::EMPTY.to_vec();
    let numbers: Vec<String> = (0..65_533)
        .map(|number| (number % 200).to_string())
        .collect();
    let other = built(&numbers);
    PackMut::of(&mut bytes).append(Pack::of(&other));
    for count in 65_534..65_540 {
        PackMut::of(&mut bytes).push_back(b"x");
        assert_eq!(header(&bytes).1, count.min(65_535));
        assert_eq!(Pack::check(&bytes).unwrap().len(), count);
    }
    let pack = Pack::of(&bytes);
    assert_eq!(pack.iter().size_hint().0, 0);
    assert_eq!(pack.seek(-65_539), pack.first());
    assert_eq!(pack.seek(-65_540), None);
    assert_eq!(pack.seek(65_538), pack.last());
    assert_eq!(pack.seek(65_539), None);
    let last = pack.last().unwrap();
    let mut pack = PackMut::of(&mut bytes);
    pack.replace(last, b"longer");
    assert_eq!(pack.remove_range(0, 3), 3);
    assert_eq!(pack.pack().len_known(), None);
    assert_eq!(pack.split_off(65_530).len(), 7 + 5 * 3 + 8);
    assert_eq!(pack.pack().len_known(), Some(65_530));
    assert_eq!(pack.remove_range(100, usize::MAX), 65_430);
    assert_eq!(items(&bytes).len(), 100);
    // A header may hold back a small count.
    bytes.write(4, &[0xff, 0xff]);
    assert_eq!(items(&bytes).len(), 100);
    assert_eq!(built(&numbers), other);
}

#[test]
fn mutated_bytes_never_panic() {
    let mut prng = Prng::new(11);
    let mut accepted = 0;
    for round in 0..20_000 {
        let twin: Vec<_> = (0..prng.below(8)).map(|_| random_item(&mut prng)).collect();
        let mut bytes = built(&twin);
        for _ in 0..=prng.below(3) {
            let at = prng.below(bytes.len() as u64) as usize;
            match prng.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, prng.below(256) as u8),
                2 => bytes[at] = [0, 0x7f, 0x80, 0xe0, 0xf0, 0xff][prng.below(6) as usize],
                3 => Buffer::splice(&mut bytes, at, 1, &[0xf0, 0xff, 0xff, 0xff, 0xff]),
                _ => bytes[at] ^= 1 << prng.below(8),
            }
            if bytes.is_empty() {
                break;
            }
        }
        if round % 2 == 0 && bytes.len() > 4 {
            let total = (bytes.len() as u32).to_le_bytes();
            bytes.write(0, &total);
        }
        match Pack::check(&bytes) {
            Ok(pack) => {
                accepted += 1;
                let walked = items(&bytes);
                if let Some(first) = pack.first() {
                    assert!(pack.find(first, &walked[0], 1) == Some(first));
                }
            }
            Err(corrupt) => assert!(corrupt.offset <= bytes.len()),
        }
    }
    assert!(accepted > 500, "{accepted}");
}
