//! Streams against vectors, and groups against maps.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::collections::{Twin, run};
use crate::container::PackItem;
use crate::types::stream::{BlockLimit, PLACEHOLDER, References, Trim, TrimTo};
use crate::types::{Kind, Stream, StreamId, StreamMut};

type Entries = Vec<(StreamId, Vec<Vec<u8>>)>;

#[derive(Clone, Default, PartialEq, Debug)]
struct GroupTwin {
    last_id: StreamId,
    /// To whom, when, how often.
    pending: BTreeMap<StreamId, (Vec<u8>, i64, u64)>,
    consumers: BTreeSet<Vec<u8>>,
}

#[derive(Clone, Default, PartialEq, Debug)]
struct StreamTwin {
    entries: Entries,
    last_id: StreamId,
    groups: BTreeMap<Vec<u8>, GroupTwin>,
}

fn text(item: PackItem<'_>) -> Vec<u8> {
    item.as_bytes(&mut [0; 20]).to_vec()
}

fn entries(stream: &Stream, start: StreamId, end: StreamId) -> Entries {
    let entry = |record: crate::types::stream::Record<'_>| {
        let fields = record.fields.clone();
        let words = fields.flat_map(|(field, value)| [text(field), text(value)]);
        (record.id, words.collect())
    };
    let forth: Entries = stream.range(start, end).map(entry).collect();
    let mut back: Entries = stream.range_back(start, end).map(entry).collect();
    back.reverse();
    assert!(forth == back);
    forth
}

fn random_entry(prng: &mut Prng) -> Vec<Vec<u8>> {
    let count = match prng.below(4) {
        0 => 1 + prng.below(5),
        _ => 2,
    };
    let word = |prng: &mut Prng| match prng.below(30) {
        0 => vec![b'l'; prng.below(3000) as usize],
        1..=9 => (prng.next_u64() as i64 >> prng.below(64))
            .to_string()
            .into_bytes(),
        _ => format!("value {}", prng.below(50)).into_bytes(),
    };
    (0..count)
        .flat_map(|field| [format!("f{field}").into_bytes(), word(prng)])
        .collect()
}

fn random_id(twin: &StreamTwin, prng: &mut Prng) -> StreamId {
    match prng.below(5) {
        0 => StreamId::new(prng.below(twin.last_id.ms + 2), prng.below(3)),
        _ if twin.entries.is_empty() => StreamId::MIN,
        _ => twin.entries[prng.below(twin.entries.len() as u64) as usize].0,
    }
}

impl StreamTwin {
    fn append(&mut self, stream: &mut StreamMut<'_>, limit: BlockLimit, prng: &mut Prng) {
        for _ in 0..prng.below(60) {
            let ms = self.last_id.ms + prng.below(3);
            let seq = match ms == self.last_id.ms {
                true => self.last_id.seq + 1 + prng.below(200),
                false => prng.below(3),
            };
            let id = StreamId::new(ms, seq);
            let words = random_entry(prng);
            stream.append(limit, id, words.iter().map(Vec::as_slice), words.len() / 2);
            self.last_id = id;
            self.entries.push((id, words));
        }
    }

    fn trim(&mut self, stream: &mut StreamMut<'_>, prng: &mut Prng) {
        let left = prng.below(self.entries.len() as u64 + 1);
        let at = self.entries.len() - left as usize;
        let to = match prng.below(2) {
            0 => TrimTo::Length(left),
            _ => TrimTo::Id(self.entries.get(at).map_or(StreamId::MAX, |(id, _)| *id)),
        };
        let references = match prng.below(3) {
            0 => References::Delete,
            1 => References::Acknowledged,
            _ => References::Keep,
        };
        let trim = Trim {
            to,
            approximate: prng.below(2) == 0,
            limit: 0,
            references,
        };
        let trimmed = stream.trim(&trim);
        let removed = trimmed.removed as usize;
        let all = self.entries.clone();
        match (trim.approximate, references) {
            (_, References::Acknowledged) => {
                // Which is the block's business: what went was referred to by nobody.
                let kept = entries(stream.get(), StreamId::MIN, StreamId::MAX);
                self.entries.retain(|entry| kept.contains(entry));
                assert!(self.entries == kept);
                let went = all.iter().filter(|entry| !kept.contains(entry));
                let went: Vec<StreamId> = went.map(|(id, _)| *id).collect();
                for id in &went {
                    let refers =
                        |group: &GroupTwin| group.last_id < *id || group.pending.contains_key(id);
                    assert!(!self.groups.values().any(refers));
                }
                assert_eq!(trimmed.gone.entries, went);
                assert_eq!(all.len() - kept.len(), removed);
                return;
            }
            (false, _) => assert_eq!(removed, at),
            (true, _) => assert!(removed <= at),
        }
        self.entries.drain(..removed);
        if references == References::Delete {
            for (id, _) in &all[..removed] {
                self.groups.values_mut().for_each(|group| {
                    group.pending.remove(id);
                });
            }
        }
    }

    fn change_group(&mut self, stream: &mut StreamMut<'_>, prng: &mut Prng) {
        let name = format!("g{}", prng.below(3)).into_bytes();
        let consumer = format!("c{}", prng.below(6)).into_bytes();
        let ids: Vec<StreamId> = (0..1 + prng.below(30))
            .map(|_| random_id(self, prng))
            .collect();
        let last_id = random_id(self, prng);
        let Some(twin) = self.groups.get_mut(&name) else {
            assert!(stream.add_group(&name, last_id, None));
            let group = GroupTwin {
                last_id,
                ..GroupTwin::default()
            };
            self.groups.insert(name, group);
            return;
        };
        assert!(!stream.add_group(&name, last_id, None));
        let what = prng.below(40);
        if what == 0 {
            assert!(stream.remove_group(&name));
            self.groups.remove(&name);
            return;
        }
        let (time, count) = (prng.below(1000) as i64, prng.below(5));
        stream.group(&name, |group, domain| {
            let found = group.find_consumer(&consumer);
            assert_eq!(found.is_some(), twin.consumers.contains(&consumer));
            match (what, found) {
                (1..=3, Some(key)) => {
                    let before = twin.pending.len();
                    twin.pending.retain(|_, (owner, ..)| *owner != consumer);
                    let removed = group.remove_consumer(domain, key);
                    assert_eq!(removed as usize, before - twin.pending.len());
                    twin.consumers.remove(&consumer);
                }
                (4..=15, _) => {
                    for id in ids {
                        let released = group.release(domain, id);
                        assert_eq!(released, twin.pending.remove(&id).is_some());
                    }
                }
                (16..=19, _) => {
                    group.last_id = last_id;
                    twin.last_id = last_id;
                }
                (20..=22, _) => {
                    let after = (time, last_id);
                    let times = twin.pending.iter().map(|(id, (_, at, _))| (*at, *id));
                    let later = |one: &(i64, StreamId)| what == 20 || *one > after;
                    let expected: BTreeSet<(i64, StreamId)> = times.filter(later).collect();
                    let after = (what != 20).then_some(after);
                    let delivered = group.delivered_after(domain, after);
                    assert!(delivered.eq(expected));
                }
                (_, found) => {
                    let key = found.unwrap_or_else(|| {
                        twin.consumers.insert(consumer.clone());
                        group.add_consumer(domain, &consumer, 5, None).unwrap()
                    });
                    for id in ids {
                        group.assign(domain, key, id, time, count);
                        twin.pending.insert(id, (consumer.clone(), time, count));
                    }
                }
            }
        });
    }
}

impl Twin for StreamTwin {
    const KIND: Kind = Kind::Stream;
    type Limits = BlockLimit;

    fn empty<'a>() -> Value<'a> {
        PLACEHOLDER
    }

    fn read(entry: &Entry) -> StreamTwin {
        let stream = Stream::of(entry);
        let mut twin = StreamTwin {
            entries: entries(stream, StreamId::MIN, StreamId::MAX),
            last_id: stream.meta().last_id,
            ..StreamTwin::default()
        };
        assert_eq!(stream.meta().length, twin.entries.len() as u64);
        let first = twin.entries.first().map_or(StreamId::MIN, |(id, _)| *id);
        assert_eq!(stream.meta().first_id, first);
        for group in stream.groups() {
            let mut found = GroupTwin {
                last_id: group.last_id,
                ..GroupTwin::default()
            };
            for pending in group.pending_from(StreamId::MIN) {
                let consumer = group.consumer(group.consumer_of(pending));
                let what = (consumer.name.to_vec(), pending.delivered_ms, pending.count);
                found.pending.insert(pending.id, what);
            }
            let mut owned = 0;
            for (_, consumer) in group.consumers() {
                assert!(found.consumers.insert(consumer.name.to_vec()));
                for id in consumer.pending_from(StreamId::MIN) {
                    assert_eq!(found.pending[id].0, *consumer.name);
                    owned += 1;
                }
            }
            assert_eq!(owned, found.pending.len());
            twin.groups.insert(group.name.to_vec(), found);
        }
        twin
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn change(&mut self, body: BodyMut<'_>, limit: BlockLimit, prng: &mut Prng) {
        let mut stream = StreamMut::new(body);
        match prng.below(100) {
            0..=29 => self.append(&mut stream, limit, prng),
            30..=44 => {
                let ids: Vec<StreamId> =
                    (0..prng.below(20)).map(|_| random_id(self, prng)).collect();
                let before = self.entries.len();
                self.entries.retain(|(id, _)| !ids.contains(id));
                let removed = stream.remove(&ids) as usize;
                assert_eq!(removed, before - self.entries.len());
            }
            45..=48 => self.trim(&mut stream, prng),
            49..=58 => {
                let (one, other) = (random_id(self, prng), random_id(self, prng));
                let (start, end) = (one.min(other), one.max(other));
                let found = entries(stream.get(), start, end);
                let expected = self
                    .entries
                    .iter()
                    .filter(|(id, _)| (start..=end).contains(id));
                assert!(found.iter().eq(expected));
                let id = random_id(self, prng);
                let there = self.entries.iter().any(|(other, _)| *other == id);
                assert_eq!(stream.get().get(id).is_some(), there);
                let last = self.entries.last().map_or(StreamId::MIN, |(id, _)| *id);
                assert_eq!(stream.get().last_live_id(), last);
            }
            _ => self.change_group(&mut stream, prng),
        }
        assert_eq!(stream.get().meta().length, self.entries.len() as u64);
    }
}

#[test]
fn streams_agree_with_vectors_under_snapshots() {
    for seed in 500..510 {
        let limit = match seed % 3 {
            0 => BlockLimit::of(4096, 100),
            1 => BlockLimit::of(300, 5),
            _ => BlockLimit::of(0, 300),
        };
        run::<StreamTwin>(seed, 2500, limit);
    }
}

#[test]
fn a_million_entries_take_what_they_hold() {
    let mut keyspace = Keyspace::new(1, 1);
    let key = keyspace.key(b"stream");
    let (body, _) = keyspace.body_or_new(0, key, PLACEHOLDER);
    let mut stream = StreamMut::new(body);
    let limit = BlockLimit::of(4096, 100);
    for number in 0..1_000_000_u64 {
        let id = StreamId::new(1_700_000_000_000 + number / 200, number % 200);
        let value = format!("{number:015x}.");
        let entry: [&[u8]; 2] = [b"f", value.as_bytes()];
        stream.append(limit, id, entry.into_iter(), 1);
    }
    drop(stream);
    let bytes = keyspace.find(0, keyspace.key(b"stream")).unwrap();
    let bytes = bytes.memory_bytes();
    assert!(bytes < 31_000_000, "{bytes} bytes");
}
