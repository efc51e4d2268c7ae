//! `redis-check-rdb`: reads a file as the loader would and says what it finds.
//!
//! The lines are the ones that redis-check-rdb prints (observed with 7.0 and 8.0), as tools read them. Libraries of functions
//! are read, not compiled.

use std::io::{self, Read, Write};

use super::decode::{Batch, DecodeOptions, Decoded, Decoder, Element, KeyRecord, Record, Value};
use super::error::UNCHECKED;
use super::load::{LoadOptions, Loader};
use super::{RdbError, RdbErrorKind, opcode};
use crate::base::hash::HashSeed;
use crate::base::time::UnixMs;
use crate::keyspace::Keyspace;
use crate::types::limits::Encodings;
use crate::types::{Kind, Limits};

/// Bytes read at once.
const READ_BYTES: u64 = 256 << 10;

/// Small collections that are dropped together.
const TRIAL_KEYS: usize = 1024;

/// What is counted of a file.
#[derive(Debug, Default)]
struct Counts {
    keys: u64,
    expires: u64,
    expired: u64,
    /// Hashes that have fields with deadlines.
    subexpires: u64,
}

impl Counts {
    fn key(&mut self, key: &KeyRecord, now: UnixMs) {
        self.keys += 1;
        self.expires += u64::from(key.expire_at_ms.is_some());
        self.expired += u64::from(key.expire_at_ms.is_some_and(|at| at < now));
        let timed = match key.value {
            // The small form with deadlines is there for these alone.
            Value::Packed { kind, other, .. } => kind == Kind::Hash && other,
            Value::Int(_) | Value::String { .. } | Value::Collection(_) => false,
        };
        self.subexpires += u64::from(timed);
    }
}

/// Makes each collection and drops it: some faults only show then, such as an element that stands twice.
struct Trial {
    loader: Loader,
    keyspace: Keyspace,
}

impl Trial {
    fn new(now: UnixMs) -> Trial {
        let limits = Limits {
            entries: 128,
            value: 64,
        };
        let options = LoadOptions {
            now,
            drop_due: false,
            new_access: 0,
            encodings: Encodings {
                hash: limits,
                set: limits,
                set_ints: 512,
                zset: limits,
                list: -2,
            },
        };
        Trial {
            // A key that stands twice is no fault to redis-check-rdb.
            loader: Loader::new(options).merging(true),
            keyspace: Keyspace::new(1, 0),
        }
    }

    /// Applies one record of the batch.
    fn apply(&mut self, batch: &Batch, index: usize, record: &Record) -> Result<(), RdbError> {
        match record {
            Record::Element(_) | Record::End => {}
            Record::Key(key)
                if matches!(key.value, Value::Packed { .. } | Value::Collection(_)) => {}
            _ => return Ok(()),
        }
        self.loader.apply(&mut self.keyspace, batch, index, 1)?;
        if self.keyspace.len(0) >= TRIAL_KEYS || matches!(record, Record::End) {
            self.keyspace.flush(None);
            drop(self.keyspace.take_garbage());
        }
        Ok(())
    }
}

/// Reads `source`, which was opened as `name`, and prints a report to `out`.
/// True: the file is in order. The error is `out`'s; an error of `source` is part of the report.
pub fn check(
    name: &str,
    source: &mut dyn Read,
    now: UnixMs,
    out: &mut dyn Write,
) -> io::Result<bool> {
    writeln!(out, "[offset 0] Checking RDB file {name}")?;
    let mut decoder = Decoder::new(DecodeOptions {
        passes_libraries: true,
        ..DecodeOptions::new(HashSeed::new(0))
    });
    let mut counts = Counts::default();
    match read(&mut decoder, source, now, &mut counts, out)? {
        Ok(()) => {
            let sum = match decoder.stored_checksum() {
                Some(0) => UNCHECKED,
                Some(_) => "Checksum OK",
                None => "RDB version without a checksum: no check performed.",
            };
            writeln!(out, "[offset {}] {sum}", decoder.offset())?;
            writeln!(out, "[offset {}] \\o/ RDB looks OK! \\o/", decoder.offset())?;
            print_counts(&counts, out)?;
            Ok(true)
        }
        Err((doing, error)) => {
            writeln!(out, "--- RDB ERROR DETECTED ---")?;
            writeln!(out, "[offset {}] {}", error.offset, text(&error.kind))?;
            writeln!(out, "[additional info] While doing: {doing}")?;
            if let Some(key) = &error.key {
                writeln!(
                    out,
                    "[additional info] Reading key '{}'",
                    String::from_utf8_lossy(key)
                )?;
            }
            print_counts(&counts, out)?;
            Ok(false)
        }
    }
}

fn print_counts(counts: &Counts, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "[info] {} keys read", counts.keys)?;
    writeln!(out, "[info] {} expires", counts.expires)?;
    writeln!(out, "[info] {} already expired", counts.expired)?;
    writeln!(out, "[info] {} subexpires", counts.subexpires)
}

/// Reads to the end, or to what is wrong and what was being done then.
fn read(
    decoder: &mut Decoder,
    source: &mut dyn Read,
    now: UnixMs,
    counts: &mut Counts,
    out: &mut dyn Write,
) -> io::Result<Result<(), (&'static str, RdbError)>> {
    // One record a batch, so that each is told with its offset.
    let mut batch = Batch::with_records_max(1);
    // Whether the collection that is being read has been seen to have deadlines of fields.
    let mut timed = false;
    let mut trial = Trial::new(now);
    loop {
        batch.clear();
        let decoded = decoder.decode(&mut batch);
        let offset = decoder.offset();
        for (index, record) in batch.records().iter().enumerate() {
            if let Err(error) = trial.apply(&batch, index, record) {
                return Ok(Err(("read-object-value", error)));
            }
            match *record {
                Record::SelectDb(db) => writeln!(out, "[offset {offset}] Selecting DB ID {db}")?,
                Record::Element(Element::Timed(_, _, Some(_))) => timed = true,
                Record::End => counts.subexpires += u64::from(std::mem::take(&mut timed)),
                Record::Resize { .. } | Record::Piece(_) | Record::Element(_) => {}
                Record::Aux { name, value } => {
                    let name = String::from_utf8_lossy(batch.bytes(name));
                    let value = String::from_utf8_lossy(batch.bytes(value));
                    writeln!(out, "[offset {offset}] AUX FIELD {name} = '{value}'")?;
                }
                Record::Key(key) => counts.key(&key, now),
            }
        }
        let doing = doing(decoder);
        match decoded {
            Ok(Decoded::Done) => return Ok(Ok(())),
            Ok(Decoded::BatchFull) => {}
            Ok(Decoded::NeedInput(_)) => match decoder.feed_from(&mut *source, READ_BYTES) {
                Ok(0) => return Ok(Err((doing, decoder.truncated()))),
                Ok(_) => {}
                Err(error) => {
                    writeln!(out, "[offset {offset}] {error}")?;
                    return Ok(Err((doing, decoder.truncated())));
                }
            },
            Err(error) => return Ok(Err((doing, error))),
        }
    }
}

/// What the decoder is in the middle of, in redis-check-rdb's words.
fn doing(decoder: &Decoder) -> &'static str {
    if decoder.offset() == 0 {
        return "start";
    }
    if decoder.is_behind_end() {
        return "check-sum";
    }
    if decoder.is_inside_value() {
        return "read-object-value";
    }
    match decoder.unused().first() {
        None => "read-type",
        Some(&opcode::AUX) => "read-aux",
        Some(&opcode::EXPIRETIME | &opcode::EXPIRETIME_MS) => "read-expire",
        Some(&(opcode::SLOT_IMPORT..)) => "read-len",
        Some(code) if super::value::find(*code, decoder.dialect()).is_some() => "read-object-value",
        Some(_) => "read-type",
    }
}

/// What is wrong, in redis-check-rdb's words where it has some.
fn text(kind: &RdbErrorKind) -> String {
    match kind {
        RdbErrorKind::Truncated => "Unexpected EOF reading RDB file".into(),
        RdbErrorKind::UnknownType(code) => format!("Invalid object type: {code}"),
        RdbErrorKind::Checksum { .. } => "RDB CRC error".into(),
        kind => kind.redis_text().unwrap_or_else(|| kind.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(file: &[u8]) -> (bool, String) {
        let mut out = Vec::new();
        let good = check("x.rdb", &mut { file }, 1000, &mut out).unwrap();
        (good, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_good_file() {
        let file = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfe\x00\xfb\x02\x01\xfc\x01\0\0\0\0\0\0\0\x00\x01a\x01b\x00\x01c\xc0\x01\xff\0\0\0\0\0\0\0\0";
        let expected = "[offset 0] Checking RDB file x.rdb\n\
            [offset 27] AUX FIELD redis-ver = '7.0.15'\n\
            [offset 29] Selecting DB ID 0\n\
            [offset 60] RDB file was saved with checksum disabled: no check performed.\n\
            [offset 60] \\o/ RDB looks OK! \\o/\n\
            [info] 2 keys read\n[info] 1 expires\n[info] 1 already expired\n[info] 0 subexpires\n";
        assert_eq!(report(file), (true, expected.to_string()));
    }

    /// What no single record shows: only the whole value is wrong.
    #[test]
    fn values_that_contradict_themselves() {
        let set = b"REDIS0010\xfe\x00\x02\x01s\x02\x01a\x01a\xff\0\0\0\0\0\0\0\0";
        let (good, report) = report(set);
        assert!(!good, "{report}");
        assert!(report.contains("stands twice"), "{report}");
        assert!(report.contains("Reading key 's'"), "{report}");
    }

    #[test]
    fn bad_files() {
        let (good, text) = report(b"REDIS0010\xfe\x00\x33\x01a");
        assert!(!good);
        assert!(
            text.contains("Invalid object type: 51\n[additional info] While doing: read-type\n"),
            "{text}"
        );
        let (_, text) = report(b"REDIS0010\xfe\x00\x00\x01a\xc3\x02\x30aa");
        assert!(text.contains("LZF compressed string\n[additional info] While doing: read-object-value\n[additional info] Reading key 'a'\n"), "{text}");
        let (_, text) = report(b"REDIS");
        assert!(
            text.contains(
                "[offset 5] Unexpected EOF reading RDB file\n[additional info] While doing: start\n"
            ),
            "{text}"
        );
        let (_, text) = report(b"REDIS0099\xff");
        assert!(
            text.contains(
                "Can't handle RDB format version 99\n[additional info] While doing: start\n"
            ),
            "{text}"
        );
        let (_, text) = report(b"REDIS0010\xff\x00\x00");
        assert!(
            text.contains(
                "Unexpected EOF reading RDB file\n[additional info] While doing: check-sum\n"
            ),
            "{text}"
        );
    }
}
