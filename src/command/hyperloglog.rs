//! HyperLogLog: approximate counts of different elements.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::string::{make_raw, string_of};
use super::*;
use crate::engine::EventClass;
use crate::keyspace::Key;
use crate::types::hyperloglog::{
    self, BYTES_MAX, CACHE_OFFSET, Corrupt, Hit, HyperLogLog, HyperLogLogRef, REGISTERS,
};
use crate::types::{Entry, StringRef};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("pfadd", -2, pfadd)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_HYPERLOGLOG)
        .keys(&[KeySpec::first(RW | INSERT)])
        .doc(
            Group::HyperLogLog,
            "2.8.9",
            "O(1) to add every element.",
            "Adds elements to a HyperLogLog, which is created if need be.",
        )
        .syntax("key [element [element ...]]"),
    Command::new("pfcount", -2, pfcount)
        .flags(READONLY | MAY_REPLICATE)
        .categories(CAT_HYPERLOGLOG)
        .keys(&[KeySpec::range(1, -1, 1, RW | ACCESS)
            .notes("RW because it may change the internal representation of the key, and propagate to replicas")])
        .doc(
            Group::HyperLogLog,
            "2.8.9",
            "O(1) for one key, O(N) for N keys",
            "Estimates how many different elements were added to a HyperLogLog, or to any of several.",
        )
        .syntax("key [key ...]"),
    Command::new("pfdebug", 3, pfdebug)
        .flags(WRITE | DENYOOM | ADMIN | SYSCMD)
        .categories(CAT_HYPERLOGLOG)
        .keys(&[KeySpec::range(2, 0, 1, RW | ACCESS)])
        .doc(
            Group::HyperLogLog,
            "2.8.9",
            "N/A",
            "Shows how a HyperLogLog is kept.",
        )
        .syntax("subcommand key"),
    Command::new("pfmerge", -2, pfmerge)
        .flags(WRITE | DENYOOM)
        .categories(CAT_HYPERLOGLOG)
        .keys(&[
            KeySpec::range(1, 0, 1, RW | ACCESS | INSERT),
            KeySpec::range(2, -1, 1, RO | ACCESS),
        ])
        .doc(
            Group::HyperLogLog,
            "2.8.9",
            "O(N) to merge N HyperLogLogs, but with high constant times.",
            "Merges HyperLogLogs into one.",
        )
        .syntax("destkey [sourcekey [sourcekey ...]]"),
    Command::new("pfselftest", 1, pfselftest)
        .flags(ADMIN | SYSCMD)
        .categories(CAT_HYPERLOGLOG)
        .doc(
            Group::HyperLogLog,
            "2.8.9",
            "N/A",
            "Tests the HyperLogLog of this server.",
        ),
];

impl From<Corrupt> for CommandError {
    fn from(_: Corrupt) -> CommandError {
        CommandError::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

const NOT_ONE: CommandError =
    CommandError::text("WRONGTYPE Key is not a valid HyperLogLog string value.");

/// The HyperLogLog of an entry. One that is not in one piece is too long to be one.
#[inline]
fn value_of(entry: &Entry) -> Result<HyperLogLogRef<'_>, CommandError> {
    match string_of(entry)? {
        StringRef::Bytes(bytes) => HyperLogLogRef::new(bytes).ok_or(NOT_ONE),
        StringRef::Int(_) => Err(NOT_ONE),
        string @ StringRef::Chunked(_) => {
            const { assert!(BYTES_MAX < crate::types::entry::BLOCK_BYTES_MAX) };
            let mut header = [0; 16];
            string.copy_from(0, &mut header);
            match HyperLogLogRef::new(&header) {
                Some(_) => Err(Corrupt.into()),
                None => Err(NOT_ONE),
            }
        }
    }
}

fn sparse_bytes_max(ctx: &Context<'_>) -> usize {
    usize::try_from(ctx.engine.config.hll_sparse_max_bytes).unwrap_or(0)
}

/// PFADD key [element …]. Reply: 1 when a register was raised or the key created, else 0. Errors: WRONGTYPE,
/// INVALIDOBJ. Propagates nothing when nothing changed. O(1) an element once dense.
fn pfadd(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let raised = match ctx.write(key) {
        None => add_to(ctx, key, args, HyperLogLog::default(), 1)?,
        Some(entry) => {
            let is_raw = entry.encoding() == "raw";
            let value = value_of(entry)?;
            // Most elements are there: nothing is copied for them.
            let mut raises = false;
            while let Some(element) = args.peek()
                && !raises
            {
                raises = value.lacks(Hit::of(element))?;
                args.skip(usize::from(!raises));
            }
            match (raises, value.is_dense()) {
                (true, true) => add_to_dense(ctx, key, args),
                (true, false) => {
                    let value = HyperLogLog::of(value);
                    add_to(ctx, key, args, value, 0)?
                }
                (false, _) => {
                    if !is_raw {
                        make_raw(ctx, key);
                    }
                    0
                }
            }
        }
    };
    if raised > 0 {
        ctx.changed(key.bytes, EventClass::String, "pfadd");
        ctx.engine.dirty += raised - 1;
    }
    ctx.reply().int(i64::from(raised > 0));
    Ok(())
}

/// Adds the elements left to a copy of the value and stores it if that changed it; `changes` and the registers raised.
fn add_to(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    args: &mut Args<'_>,
    mut value: HyperLogLog,
    mut changes: u64,
) -> Result<u64, CommandError> {
    let max = sparse_bytes_max(ctx);
    while !args.is_empty() {
        changes += u64::from(value.raise(Hit::of(args.bytes()?), max)?);
    }
    if changes > 0 {
        value.invalidate();
        store(ctx, key, &value);
    }
    Ok(changes)
}

/// Adds the elements left to a dense value in its place; the registers raised.
fn add_to_dense(ctx: &mut Context<'_>, key: Key<'_>, args: &Args<'_>) -> u64 {
    let change = |bytes: &mut [u8]| {
        hyperloglog::invalidate(bytes);
        let hits = args.iter().skip(args.position()).map(Hit::of);
        hits.filter(|&hit| hyperloglog::raise_dense(bytes, hit))
            .count() as u64
    };
    let db = ctx.client.db;
    let raised = ctx.engine.keyspace.change_bytes(db, key, change);
    raised.unwrap_or(0)
}

fn store(ctx: &mut Context<'_>, key: Key<'_>, value: &HyperLogLog) {
    let db = ctx.client.db;
    if ctx.engine.keyspace.set_changed(db, key, value.bytes()) {
        ctx.created(db, key.bytes);
    }
}

/// PFCOUNT key [key …]. Reply: the estimated number of different elements added to any of the keys; absent ones count
/// nothing. Errors: WRONGTYPE, INVALIDOBJ. Of one key, the cardinality is kept in the value until it changes, and the
/// command propagated when it was computed. O(1) for one key with a kept cardinality, else O(registers) a key.
fn pfcount(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.left() > 1 {
        let mut registers = [0; REGISTERS];
        while !args.is_empty() {
            let key = args.key()?;
            if let Some(entry) = ctx.read(key) {
                value_of(entry)?.merge_into(&mut registers)?;
            }
        }
        let count = hyperloglog::count(&registers);
        ctx.reply().int(count as i64);
        return Ok(());
    }
    let key = args.key()?;
    let Some(entry) = ctx.read(key) else {
        ctx.reply().int(0);
        return Ok(());
    };
    let value = value_of(entry)?;
    let count = match value.cached() {
        Some(count) => {
            if entry.encoding() != "raw" {
                make_raw(ctx, key);
            }
            count
        }
        None => {
            let count = value.count()?;
            let db = ctx.client.db;
            let cache = hyperloglog::cache_bytes(count);
            ctx.engine.keyspace.set_range(db, key, CACHE_OFFSET, &cache);
            // A change without an event.
            ctx.engine.dirty += 1;
            ctx.engine.touch_watched(db, key.bytes);
            count
        }
    };
    ctx.reply().int(count as i64);
    Ok(())
}

/// PFMERGE destkey [sourcekey …]. Reply: OK. The result is dense when one of the keys is. Errors: WRONGTYPE, INVALIDOBJ.
/// O(registers) a key.
fn pfmerge(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let target = args.key_at(args.position());
    let mut registers = [0; REGISTERS];
    let mut dense = false;
    while !args.is_empty() {
        let key = args.key()?;
        if let Some(entry) = ctx.read(key) {
            let value = value_of(entry)?;
            dense |= value.is_dense();
            value.merge_into(&mut registers)?;
        }
    }
    let mut merged = match ctx.write(target) {
        Some(entry) => HyperLogLog::of(value_of(entry)?),
        None => HyperLogLog::default(),
    };
    merged.absorb(&registers, dense, sparse_bytes_max(ctx))?;
    merged.invalidate();
    store(ctx, target, &merged);
    ctx.changed(target.bytes, EventClass::String, "pfadd");
    ctx.reply().ok();
    Ok(())
}

/// PFDEBUG GETREG | DECODE | ENCODING | TODENSE key, PFDEBUG SIMD ON | OFF. Reply: the registers; the runs of a sparse
/// value; `sparse` or `dense`; 1 when it became dense, else 0. GETREG makes it dense too. SIMD does nothing here: there is
/// one way to merge. Errors: no such key, unknown subcommand, not sparse, WRONGTYPE, INVALIDOBJ.
fn pfdebug(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.take("simd") {
        let state = match () {
            () if args.take("on") => "enabled",
            () if args.take("off") => "disabled",
            () => return Err(CommandError::text("ERR Argument must be ON or OFF")),
        };
        ctx.reply().simple(state);
        return Ok(());
    }
    let subcommand = args.bytes()?;
    let key = args.key()?;
    let entry = ctx
        .write(key)
        .ok_or(CommandError::text("ERR The specified key does not exist"))?;
    value_of(entry)?;
    make_raw(ctx, key);
    let entry = ctx.write(key).ok_or(CommandError::NoSuchKey)?;
    let value = value_of(entry)?;
    match subcommand.to_ascii_lowercase().as_slice() {
        b"getreg" => {
            let mut registers = Box::new([0; REGISTERS]);
            value.merge_into(&mut registers)?;
            make_dense(ctx, key)?;
            let reply = ctx.reply();
            reply.array(registers.len());
            registers
                .iter()
                .for_each(|&register| reply.int(register.into()));
        }
        b"decode" => match value.decode() {
            Some(text) => ctx.reply().bulk(text.as_bytes()),
            None => return Err(CommandError::text("ERR HLL encoding is not sparse")),
        },
        b"encoding" => {
            let name = if value.is_dense() { "dense" } else { "sparse" };
            ctx.reply().simple(name);
        }
        b"todense" => {
            let changed = make_dense(ctx, key)?;
            ctx.reply().int(changed.into());
        }
        _ => {
            return Err(CommandError::echoing(
                "ERR Unknown PFDEBUG subcommand '",
                subcommand,
                "'",
            ));
        }
    }
    Ok(())
}

/// Makes a value dense, a change without an event; false when it was so.
fn make_dense(ctx: &mut Context<'_>, key: Key<'_>) -> Result<bool, CommandError> {
    let entry = ctx.write(key).ok_or(CommandError::NoSuchKey)?;
    let mut value = HyperLogLog::of(value_of(entry)?);
    let changed = value.make_dense()?;
    if changed {
        store(ctx, key, &value);
        ctx.engine.dirty += 1;
    }
    Ok(changed)
}

/// PFSELFTEST. Reply: OK. Errors: TESTFAILED. Some 50 ms.
fn pfselftest(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let prng = &mut ctx.engine.prng;
    hyperloglog::self_test(|| prng.next_u64())
        .map_err(|text| CommandError::owned(format!("TESTFAILED {text}")))?;
    ctx.reply().ok();
    Ok(())
}
