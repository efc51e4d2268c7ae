//! Hostile files: values of every type that can be loaded, whole and damaged, through the decoder in pieces of any size
//! and into a keyspace. Nothing may panic; what is loaded can be walked and written again.

use super::decode::{Batch, DecodeOptions, Decoded, Decoder};
use super::load::{LoadOptions, Loader};
use super::payload::{FOOTER_BYTES, dump};
use super::value::TYPES;
use super::{RdbError, RdbErrorKind};
use crate::base::prng::Prng;
use crate::container::Pack;
use crate::keyspace::Keyspace;
use crate::types::limits::Encodings;
use crate::types::list::{End, ListLimit, ListMut};
use crate::types::{
    HashMut, Kind, Limits, SetLimits, SetMut, StreamId, StreamMut, Ttl, Value, ValueRef, ZsetMut,
    stream,
};

const NOW: i64 = 1_800_000_000_000;
const LIMITS: Limits = Limits {
    entries: 8,
    value: 20,
};
const ENCODINGS: Encodings = Encodings {
    hash: LIMITS,
    set: LIMITS,
    set_ints: 10,
    zset: LIMITS,
    list: 8,
};

fn text(prng: &mut Prng) -> Vec<u8> {
    match prng.below(6) {
        0..3 => (prng.next_u64() as i64 >> prng.below(64))
            .to_string()
            .into_bytes(),
        3 => vec![b'x'; prng.below(60) as usize],
        _ => {
            let len = 1 + prng.below(6) as usize;
            prng.hex(len).into_bytes()
        }
    }
}

fn texts(prng: &mut Prng, count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|_| text(prng)).collect()
}

/// A value of today's forms, as it stands in a file: its type's byte and its body.
fn written(prng: &mut Prng) -> (u8, Vec<u8>) {
    let mut keyspace = Keyspace::new(1, prng.next_u64());
    let key = keyspace.key(b"key");
    let most = [4, 12, 200][prng.below(3) as usize];
    let count = 1 + prng.below(most);
    let items = texts(prng, count);
    let pack = |kind| Value::Packed(kind, &Pack::EMPTY, false);
    match prng.below(6) {
        0 => {
            keyspace.set_string(0, key, &items.concat(), crate::keyspace::Ttl::None);
        }
        1 => {
            let (body, _) = keyspace.body_or_new(0, key, pack(Kind::List));
            let mut list = ListMut::new(body, ListLimit::of(ENCODINGS.list));
            items.iter().for_each(|item| list.push(End::Back, item));
        }
        2 => {
            let limits = SetLimits::of(&ENCODINGS);
            let first = &items[0];
            let (body, _) = keyspace.body_or_new(0, key, SetMut::empty(first, 1, limits));
            let mut set = SetMut::new(body, limits);
            set.extend(items.iter().map(Vec::as_slice));
        }
        3 => {
            let (body, _) = keyspace.body_or_new(0, key, pack(Kind::Zset));
            let mut zset = ZsetMut::new(body, LIMITS);
            for item in &items {
                zset.set(item, prng.below(1000) as f64 / 8.0);
            }
        }
        4 => {
            let (body, _) = keyspace.body_or_new(0, key, stream::PLACEHOLDER);
            let mut stream = StreamMut::new(body);
            for (number, pair) in items.chunks_exact(2).enumerate() {
                let fields = pair.iter().map(Vec::as_slice);
                let id = StreamId::new(number as u64 / 2, 1 + number as u64);
                stream.append(stream::BlockLimit::of(4096, 8), id, fields, 1);
            }
            for name in ["g", "h"] {
                stream.add_group(name.as_bytes(), StreamId::new(1, 0), Some(1));
                stream.group(name.as_bytes(), |group, domain| {
                    let a = group.add_consumer(domain, b"a", NOW, None).unwrap();
                    let b = group.add_consumer(domain, b"b", NOW, Some(NOW)).unwrap();
                    for number in 0..prng.below(20) {
                        let consumer = [a, b][prng.below(2) as usize];
                        group.assign(domain, consumer, StreamId::new(number, 3), NOW, number);
                    }
                });
            }
        }
        _ => {
            let (body, _) = keyspace.body_or_new(0, key, pack(Kind::Hash));
            let mut hash = HashMut::new(body, LIMITS);
            for item in &items {
                let ttl = match prng.below(3) {
                    0 => Ttl::At(1 + prng.below(5_000_000_000_000) as i64),
                    _ => Ttl::None,
                };
                hash.set_with(item, &text(prng), ttl);
            }
        }
    }
    let found = keyspace.find(0, key).unwrap();
    let payload = dump(ValueRef::of(found), prng.below(2) == 0);
    let body = &payload[..payload.len() - FOOTER_BYTES];
    (body[0], body[1..].to_vec())
}

/// A string with its length in front.
fn string(bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len() as u32;
    [&[0x80][..], &len.to_be_bytes(), bytes].concat()
}

fn ziplist(items: &[Vec<u8>]) -> Vec<u8> {
    let (mut entries, mut before, mut last) = (Vec::new(), 0, 10);
    for item in items {
        last = 10 + entries.len();
        let item = &item[..item.len().min(60)];
        entries.extend([before, item.len() as u8]);
        entries.extend_from_slice(item);
        before = 2 + item.len() as u8;
    }
    let len = 11 + entries.len() as u32;
    let count = (items.len() as u16).to_le_bytes();
    [
        &len.to_le_bytes()[..],
        &(last as u32).to_le_bytes(),
        &count,
        &entries,
        &[0xff],
    ]
    .concat()
}

/// A value of the forms that only older servers write.
fn old(prng: &mut Prng) -> (u8, Vec<u8>) {
    let pairs = 1 + prng.below(6);
    let mut items = texts(prng, 2 * pairs);
    let all = |items: &[Vec<u8>]| {
        items
            .iter()
            .flat_map(|item| string(item))
            .collect::<Vec<u8>>()
    };
    let code = [1, 3, 9, 10, 12, 13, 14][prng.below(7) as usize];
    if matches!(code, 3 | 12) {
        for score in items.iter_mut().skip(1).step_by(2) {
            *score = (prng.below(9)).to_string().into_bytes();
        }
    }
    let body = match code {
        1 => [&[2 * pairs as u8][..], &all(&items)].concat(),
        3 => {
            let members = items.chunks(2).map(|pair| {
                let score = [&[pair[1].len() as u8][..], &pair[1]].concat();
                [string(&pair[0]), score].concat()
            });
            [&[pairs as u8][..], &members.collect::<Vec<_>>().concat()].concat()
        }
        9 => {
            let fields = items.chunks(2).map(|pair| {
                let (field, value) = (&pair[0], &pair[1]);
                [
                    &[field.len() as u8][..],
                    field,
                    &[value.len() as u8, 0],
                    value,
                ]
                .concat()
            });
            let map = [
                &[pairs as u8][..],
                &fields.collect::<Vec<_>>().concat(),
                &[0xff],
            ]
            .concat();
            string(&map)
        }
        14 => {
            let (left, right) = items.split_at(pairs as usize);
            [vec![2], string(&ziplist(left)), string(&ziplist(right))].concat()
        }
        _ => string(&ziplist(&items)),
    };
    (code, body)
}

/// Bytes after any type's code.
fn garbage(prng: &mut Prng) -> (u8, Vec<u8>) {
    let loadable: Vec<u8> = TYPES
        .iter()
        .filter(|row| row.start.is_some())
        .map(|row| row.code)
        .collect();
    let code = loadable[prng.below(loadable.len() as u64) as usize];
    let mut body = vec![0; prng.below(80) as usize];
    prng.fill(&mut body);
    if let Some(count) = body.first_mut() {
        *count &= 0x0f;
    }
    (code, body)
}

fn damage(prng: &mut Prng, body: &mut Vec<u8>) {
    const ODD: [u8; 12] = [
        0, 1, 2, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf0, 0xfe, 0xff, 0xe0,
    ];
    for _ in 0..1 + prng.below(4) {
        if body.is_empty() {
            return;
        }
        let at = prng.below(body.len() as u64) as usize;
        // Heads are near the start.
        let at = if prng.below(2) == 0 {
            at.min(at % 16)
        } else {
            at
        };
        match prng.below(6) {
            0 => body.truncate(at),
            1 => body[at] ^= 1 << prng.below(8),
            2 => body[at] = ODD[prng.below(12) as usize],
            3 => body.insert(at, ODD[prng.below(12) as usize]),
            4 => {
                body.remove(at);
            }
            _ => {
                let piece: Vec<u8> = body[at..].iter().copied().take(9).collect();
                let to = prng.below(body.len() as u64) as usize;
                body.splice(to..to, piece);
            }
        }
    }
}

/// Loads a stream that comes in pieces, and visits what came of it.
fn load(stream: &[u8], prng: &mut Prng) -> Result<u64, RdbError> {
    let mut keyspace = Keyspace::new(2, prng.next_u64());
    keyspace.set_clock(NOW);
    let options = LoadOptions {
        now: NOW,
        drop_due: prng.below(2) == 0,
        new_access: 0,
        encodings: ENCODINGS,
    };
    let piece_max = [1, 7, 100, 100_000][prng.below(4) as usize];
    let mut decoder = Decoder::new(DecodeOptions::new(keyspace.seed()));
    let (mut loader, mut batch, mut fed) = (Loader::new(options), Batch::default(), 0);
    let result = loop {
        batch.clear();
        let decoded = match decoder.decode(&mut batch) {
            Ok(decoded) => decoded,
            Err(error) => break Err(error),
        };
        let mut at = 0;
        let applied = loop {
            if at >= batch.records().len() {
                break Ok(());
            }
            match loader.apply(&mut keyspace, &batch, at, 1 + prng.below(50) as usize) {
                Ok(next) => at = next,
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = applied {
            break Err(error);
        }
        match decoded {
            Decoded::Done => break Ok(loader.loaded().keys),
            Decoded::BatchFull => {}
            Decoded::NeedInput(_) if fed == stream.len() => break Err(decoder.truncated()),
            Decoded::NeedInput(_) => {
                let end = stream.len().min(fed + 1 + prng.below(piece_max) as usize);
                decoder.feed(&stream[fed..end]);
                fed = end;
            }
        }
    };
    for db in 0..=keyspace.count() {
        keyspace.for_each(db, |entry| {
            assert!(!dump(ValueRef::of(entry), false).is_empty());
        });
    }
    result
}

#[test]
fn no_value_breaks_the_load() {
    let seed = std::env::var("RDB_FUZZ_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
    println!("RDB_FUZZ_SEED={seed}");
    let (mut prng, started) = (Prng::new(seed), std::time::Instant::now());
    let (mut refused, mut rounds) = (0, 0);
    while started.elapsed() < std::time::Duration::from_millis(1500) {
        let kind = prng.below(8);
        let (code, body) = match kind {
            0..4 => written(&mut prng),
            4..7 => old(&mut prng),
            _ => garbage(&mut prng),
        };
        for damaged in [false, true, true, true, true, true] {
            let (mut code, mut body) = (code, body.clone());
            if damaged {
                damage(&mut prng, &mut body);
                if prng.below(10) == 0 {
                    code = garbage(&mut prng).0;
                }
            }
            let head = [b"REDIS0011\xfe\x00", &[code][..], b"\x03key", &body].concat();
            let stream = [&head[..], b"\xff\0\0\0\0\0\0\0\0"].concat();
            let result = load(&stream, &mut prng);
            if kind < 7 && !damaged {
                // Fields and members that come twice are damage too.
                let whole = matches!(result, Ok(1))
                    || matches!(&result, Err(error) if matches!(error.kind, RdbErrorKind::Value(_)));
                assert!(whole, "seed {seed}: type {code}: {result:?}");
            }
            refused += u64::from(result.is_err());
            rounds += 1;
        }
    }
    assert!(
        rounds > 100 && refused > rounds / 10,
        "{refused} of {rounds}"
    );
}
