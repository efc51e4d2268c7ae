//! Bitmaps: strings read and written bit by bit, and in fields of bits.
//! Source: the documentation of Redis and the replies of redis-server 8.0; BITOP's DIFF, DIFF1, ANDOR and ONE as
//! Redis 8.2 documents them.

use std::borrow::Cow;
use std::ops::Range;

use super::string::{make_raw, string_of};
use super::*;
use crate::base::num;
use crate::engine::EventClass;
use crate::keyspace::{Key, Ttl};
use crate::types::bitmap::{self, FieldType, Operation, Overflow};
use crate::types::entry::BLOCK_BYTES_MAX;
use crate::types::{Chunks, Entry, StringRef, Value};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("bitcount", -2, bitcount)
        .flags(READONLY)
        .categories(CAT_BITMAP)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Bitmap,
            "2.6.0",
            "O(N)",
            "Counts the bits that are set in a string.",
        )
        .syntax("key [start end [BYTE | BIT]{=unit @7.0.0}]{=range}")
        .history(SINCE_UNIT),
    Command::new("bitfield", -2, bitfield)
        .flags(WRITE | DENYOOM)
        .categories(CAT_BITMAP)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE | VARIABLE_FLAGS)
            .notes("This command allows both access and modification of the key")])
        .doc(
            Group::Bitmap,
            "3.2.0",
            "O(1) for each subcommand specified",
            "Reads and writes integers of any number of bits within a string.",
        )
        .syntax("key [<GET <encoding offset>{=get-block} | <[OVERFLOW <WRAP | SAT | \
                 FAIL>{=overflow-block}] <SET <encoding offset value{:integer}>{=set-block} | INCRBY \
                 <encoding offset increment>{=incrby-block}>{=write-operation}>{=write}>{=operation} ...]"),
    Command::new("bitfield_ro", -2, bitfield_ro)
        .flags(READONLY | FAST)
        .categories(CAT_BITMAP)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Bitmap,
            "6.0.0",
            "O(1) for each subcommand specified",
            "Reads integers of any number of bits within a string.",
        )
        .syntax("key [GET <encoding offset>{=get-block} [GET <encoding offset> ...]]"),
    Command::new("bitop", -4, bitop)
        .flags(WRITE | DENYOOM)
        .categories(CAT_BITMAP)
        .keys(&[
            KeySpec::range(2, 0, 1, OW | UPDATE),
            KeySpec::range(3, -1, 1, RO | ACCESS),
        ])
        .doc(
            Group::Bitmap,
            "2.6.0",
            "O(N)",
            "Combines the bits of several strings and stores the result.",
        )
        .syntax("<AND | OR | XOR | NOT | DIFF{@8.2.0} | DIFF1{@8.2.0} | ANDOR{@8.2.0} | ONE{@8.2.0}>{=operation} \
             destkey key [key ...]")
        .history(&[(
            "8.2.0",
            "Added the `DIFF`, `DIFF1`, `ANDOR`, and `ONE` operations.",
        )]),
    Command::new("bitpos", -3, bitpos)
        .flags(READONLY)
        .categories(CAT_BITMAP)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Bitmap,
            "2.8.7",
            "O(N)",
            "Finds the first bit that is set, or clear, in a string.",
        )
        .syntax("key bit [start [end [BYTE | BIT]{=unit @7.0.0}]{=end-unit-block}]{=range}")
        .history(SINCE_UNIT),
    Command::new("getbit", 3, getbit)
        .flags(READONLY | FAST)
        .categories(CAT_BITMAP)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(Group::Bitmap, "2.2.0", "O(1)", "Reads one bit of a string.")
        .syntax("key offset"),
    Command::new("setbit", 4, setbit)
        .flags(WRITE | DENYOOM)
        .categories(CAT_BITMAP)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::Bitmap,
            "2.2.0",
            "O(1)",
            "Writes one bit of a string, which is created or made longer if need be.",
        )
        .syntax("key offset value{:integer}"),
];

const SINCE_UNIT: &[(&str, &str)] = &[("7.0.0", "Added the `BYTE|BIT` option.")];

/// The next argument as the offset of a bit: below 8 × proto-max-bulk-len. With `bits`, `#n` means n × bits.
fn bit_offset(
    ctx: &Context<'_>,
    args: &mut Args<'_>,
    bits: Option<u32>,
) -> Result<u64, CommandError> {
    let word = args.bytes()?;
    let max = ctx.engine.config.proto_max_bulk_len as u64;
    let offset = match (word.strip_prefix(b"#"), bits) {
        (Some(number), Some(bits)) => {
            num::parse_i64(number).and_then(|number| number.checked_mul(bits.into()))
        }
        _ => num::parse_i64(word),
    };
    offset
        .and_then(|offset| u64::try_from(offset).ok())
        .filter(|&offset| offset / 8 < max || ctx.client.must_obey())
        .ok_or(CommandError::text(
            "ERR bit offset is not an integer or out of range",
        ))
}

/// SETBIT key offset value. Reply: the bit before. Errors: bit offset, bit is not an integer or out of range;
/// WRONGTYPE. Zeros fill a gap. Propagates nothing when nothing changed. O(1).
fn setbit(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let offset = bit_offset(ctx, args, None)?;
    let bit = match args.bytes()? {
        b"0" => false,
        b"1" => true,
        _ => {
            return Err(CommandError::text(
                "ERR bit is not an integer or out of range",
            ));
        }
    };
    let (at, mask) = ((offset / 8) as usize, 0x80 >> (offset % 8));
    let entry = ctx.write(key);
    let (old, is_raw) = match entry {
        Some(entry) => (byte_at(string_of(entry)?, at), entry.encoding() == "raw"),
        None => (None, false),
    };
    let is_new = entry.is_none();
    let byte = old.unwrap_or(0);
    let new = if bit { byte | mask } else { byte & !mask };
    let changes = old != Some(new);
    if changes || !is_raw {
        let db = ctx.client.db;
        ctx.engine.keyspace.set_range(db, key, at, &[new]);
        if is_new {
            ctx.created(db, key.bytes);
        }
    }
    if changes {
        ctx.changed(key.bytes, EventClass::String, "setbit");
    }
    ctx.reply().int(i64::from(byte & mask != 0));
    Ok(())
}

/// The byte at `index`, if there is one.
fn byte_at(string: StringRef<'_>, index: usize) -> Option<u8> {
    (index < string.len()).then(|| string.byte(index))
}

/// GETBIT key offset. Reply: the bit, 0 beyond the end or without a key. Errors: bit offset, WRONGTYPE. O(1).
fn getbit(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let offset = bit_offset(ctx, args, None)?;
    let byte = match ctx.read(key) {
        Some(entry) => byte_at(string_of(entry)?, (offset / 8) as usize).unwrap_or(0),
        None => 0,
    };
    ctx.reply().int(i64::from(byte >> (7 - offset % 8) & 1));
    Ok(())
}

/// What BITCOUNT and BITPOS look at.
struct Limits {
    start: i64,
    /// `None`: to the end of the string.
    end: Option<i64>,
    /// In bits rather than bytes.
    bits: bool,
}

impl Limits {
    /// The rest of the arguments: [start [end [BYTE | BIT]]]. BITPOS complains of the unit before it does of `end`.
    fn parse(args: &mut Args<'_>, unit_first: bool) -> Result<Limits, CommandError> {
        if args.left() > 3 {
            return Err(CommandError::Syntax);
        }
        let mut limits = Limits {
            start: 0,
            end: None,
            bits: false,
        };
        if !args.is_empty() {
            limits.start = args.int()?;
        }
        let end = match args.is_empty() {
            true => Ok(None),
            false => args.int().map(Some),
        };
        if !unit_first {
            limits.end = end.clone()?;
        }
        if !args.is_empty() {
            limits.bits = args.take("bit");
            if !limits.bits && !args.take("byte") {
                return Err(CommandError::Syntax);
            }
        }
        args.end()?;
        limits.end = end?;
        Ok(limits)
    }

    /// The bits meant of a string of `len` bytes: negative positions count from the end, what is out of range is cut.
    fn of(&self, len: usize) -> Range<u64> {
        let unit = if self.bits { 1 } else { 8 };
        let total = (len * 8 / unit) as i64;
        let from_end = |at: i64| {
            if at < 0 {
                at.saturating_add(total).max(0)
            } else {
                at
            }
        };
        let (start, end) = (from_end(self.start), from_end(self.end.unwrap_or(-1)));
        let end = end.min(total - 1);
        match start <= end {
            true => start as u64 * unit as u64..(end as u64 + 1) * unit as u64,
            false => 0..0,
        }
    }
}

/// BITCOUNT key [start end [BYTE | BIT]]. Reply: the number of bits set, 0 when the key is absent. Errors: not an
/// integer, syntax error, WRONGTYPE. O(n), some 15 bytes a nanosecond.
fn bitcount(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    if args.left() == 1 {
        return Err(CommandError::Syntax);
    }
    let limits = Limits::parse(args, false)?;
    // Redis's rule for GETRANGE and BITCOUNT alone.
    let crossed = |end: i64| limits.start < 0 && end < 0 && limits.start > end;
    let ones = match ctx.read(key) {
        None => 0,
        Some(entry) => {
            let string = string_of(entry)?;
            match limits.end.is_some_and(crossed) {
                true => 0,
                false => bitmap::count_ones(string, limits.of(string.len())),
            }
        }
    };
    ctx.reply().int(ones as i64);
    Ok(())
}

/// BITPOS key bit [start [end [BYTE | BIT]]]. Reply: the position of the first bit with this value, or -1; a clear bit
/// is found behind the end when no end is given. Without a key, -1 for 1 and 0 for 0. Errors: not an integer, bit
/// argument, syntax error, WRONGTYPE. O(n).
fn bitpos(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let bit = match args.int()? {
        0 => false,
        1 => true,
        _ => {
            return Err(CommandError::text("ERR The bit argument must be 1 or 0."));
        }
    };
    let limits = Limits::parse(args, true)?;
    let position = match ctx.read(key) {
        None => -i64::from(bit),
        Some(entry) => {
            let string = string_of(entry)?;
            let range = limits.of(string.len());
            match bitmap::find(string, bit, range.clone()) {
                Some(position) => position as i64,
                None if !bit && limits.end.is_none() && !range.is_empty() => range.end as i64,
                None => -1,
            }
        }
    };
    ctx.reply().int(position);
    Ok(())
}

/// BITOP AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE destkey key [key …]. Reply: bytes of the result, which is as
/// long as the longest source; an empty one deletes `destkey`. Errors: syntax error, number of sources, WRONGTYPE.
/// Propagates: itself, or what a server before Redis 8.2 understands. O(bytes of all sources).
fn bitop(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let operation = take_operation(args)?;
    let target = args.key()?;
    check_sources(operation, args.left())?;
    // A key that must not be seen counts as absent.
    let mut sources = Vec::with_capacity(args.left());
    while !args.is_empty() {
        let key = args.key()?;
        sources.push(match ctx.read(key) {
            Some(entry) => string_of(entry).map(|_| Some(key))?,
            None => None,
        });
    }
    let db = ctx.client.db;
    let (value, len) = combined(ctx, operation, &sources);
    // Told as a command that servers before Redis 8.2 know.
    let told = match operation {
        Operation::And | Operation::Or | Operation::Xor | Operation::Not => false,
        Operation::Diff | Operation::Diff1 | Operation::AndOr | Operation::One => {
            ctx.engine.propagates()
        }
    };
    if len > 0 {
        ctx.engine.overwrite(ctx.client, target);
        if ctx
            .engine
            .keyspace
            .store(db, target, value.as_value(), Ttl::None)
        {
            ctx.created(db, target.bytes);
        }
        ctx.changed(target.bytes, EventClass::String, "set");
        if told {
            ctx.replicate_as(&[b"SET", target.bytes, &value.bytes()]);
        }
    } else if ctx.write(target).is_some() {
        ctx.engine.keyspace.remove(db, target);
        ctx.changed(target.bytes, EventClass::Generic, "del");
        if told {
            ctx.replicate_as(&[b"DEL", target.bytes]);
        }
    }
    ctx.reply().int(len as i64);
    Ok(())
}

fn take_operation(args: &mut Args<'_>) -> Result<Operation, CommandError> {
    const NAMES: &[(&str, Operation)] = &[
        ("and", Operation::And),
        ("or", Operation::Or),
        ("xor", Operation::Xor),
        ("not", Operation::Not),
        ("diff", Operation::Diff),
        ("diff1", Operation::Diff1),
        ("andor", Operation::AndOr),
        ("one", Operation::One),
    ];
    let found = NAMES.iter().find(|(name, _)| args.take(name));
    found
        .map(|&(_, operation)| operation)
        .ok_or(CommandError::Syntax)
}

fn check_sources(operation: Operation, count: usize) -> Result<(), CommandError> {
    let text = match operation {
        Operation::Not if count != 1 => "ERR BITOP NOT must be called with a single source key.",
        Operation::Diff if count < 2 => {
            "ERR BITOP DIFF must be called with at least two source keys."
        }
        Operation::Diff1 if count < 2 => {
            "ERR BITOP DIFF1 must be called with at least two source keys."
        }
        Operation::AndOr if count < 2 => {
            "ERR BITOP ANDOR must be called with at least two source keys."
        }
        _ => return Ok(()),
    };
    Err(CommandError::text(text))
}

/// The result of a BITOP, of at most one block, or longer.
enum Combined {
    Block(Vec<u8>),
    Chunks(Chunks),
}

impl Combined {
    fn as_value(&self) -> Value<'_> {
        match self {
            Combined::Block(bytes) => Value::raw(bytes, true),
            Combined::Chunks(chunks) => Value::Chunks(chunks.clone()),
        }
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Combined::Block(bytes) => Cow::Borrowed(bytes),
            Combined::Chunks(chunks) => {
                let pieces: Vec<_> = chunks.pieces(0, chunks.len()).collect();
                Cow::Owned(pieces.concat())
            }
        }
    }
}

fn combined(
    ctx: &Context<'_>,
    operation: Operation,
    sources: &[Option<Key<'_>>],
) -> (Combined, usize) {
    let db = ctx.client.db;
    let find = |key: &Option<Key<'_>>| {
        let entry = key.and_then(|key| ctx.engine.keyspace.find(db, key));
        entry.map_or(StringRef::Bytes(b""), Entry::string)
    };
    let strings: Vec<StringRef<'_>> = sources.iter().map(find).collect();
    let len = strings.iter().map(StringRef::len).max().unwrap_or(0);
    let mut result = match len > BLOCK_BYTES_MAX {
        true => Combined::Chunks(Chunks::default()),
        false => Combined::Block(Vec::with_capacity(len)),
    };
    bitmap::combine(operation, &strings, |block| match &mut result {
        Combined::Block(bytes) => bytes.extend_from_slice(block),
        Combined::Chunks(chunks) => chunks.append(block),
    });
    (result, len)
}

/// One step of a BITFIELD.
#[derive(Clone, Copy)]
struct Step {
    action: Action,
    field: FieldType,
    /// The field's first bit.
    offset: u64,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

impl Step {
    /// All steps, in order.
    fn parse(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<Vec<Step>, CommandError> {
        let mut steps = Vec::with_capacity(args.left() / 3);
        let mut overflow = Overflow::Wrap;
        while !args.is_empty() {
            let left = args.left();
            if left >= 3 && args.take("get") {
                let field = field_type(args)?;
                let offset = bit_offset(ctx, args, Some(field.bits()))?;
                steps.push(Step {
                    action: Action::Get,
                    field,
                    offset,
                });
                continue;
            }
            if left >= 2 && args.take("overflow") {
                overflow = take_overflow(args)?;
                continue;
            }
            let adds = match left >= 4 {
                true if args.take("set") => false,
                true if args.take("incrby") => true,
                _ => return Err(CommandError::Syntax),
            };
            let field = field_type(args)?;
            let offset = bit_offset(ctx, args, Some(field.bits()))?;
            let number = args.int()?;
            let action = match adds {
                true => Action::Add(number, overflow),
                false => Action::Set(number, overflow),
            };
            steps.push(Step {
                action,
                field,
                offset,
            });
        }
        Ok(steps)
    }

    fn writes(&self) -> bool {
        match self.action {
            Action::Get => false,
            Action::Set(..) | Action::Add(..) => true,
        }
    }
}

fn take_overflow(args: &mut Args<'_>) -> Result<Overflow, CommandError> {
    if args.take("wrap") {
        Ok(Overflow::Wrap)
    } else if args.take("sat") {
        Ok(Overflow::Saturate)
    } else if args.take("fail") {
        Ok(Overflow::Fail)
    } else {
        Err(CommandError::text("ERR Invalid OVERFLOW type specified"))
    }
}

/// The next argument as a type: `i` or `u` and the number of bits.
fn field_type(args: &mut Args<'_>) -> Result<FieldType, CommandError> {
    let parsed = match args.bytes()? {
        [b'i', bits @ ..] => Some((true, bits)),
        [b'u', bits @ ..] => Some((false, bits)),
        _ => None,
    };
    parsed
        .and_then(|(signed, bits)| {
            let bits = num::parse_i64(bits).and_then(|bits| u32::try_from(bits).ok())?;
            FieldType::new(signed, bits)
        })
        .ok_or(CommandError::text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ))
}

/// BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | INCRBY type offset increment …]
/// Reply: an array with the value of each step (of SET the old one), null for one that failed. Errors: bitfield type,
/// bit offset, OVERFLOW type, not an integer, syntax error, WRONGTYPE. Propagates as it came when a bit changed or the
/// string grew. O(1) a step.
fn bitfield(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let steps = Step::parse(ctx, args)?;
    let writing = steps.iter().filter(|step| step.writes());
    let Some(len) = writing.map(|step| step.field.end_byte(step.offset)).max() else {
        return read_fields(ctx, key, &steps);
    };
    let grows = make_writable(ctx, key, len)?;
    let db = ctx.client.db;
    ctx.reply().array(steps.len());
    let (mut changes, mut done) = (0, false);
    for Step {
        action,
        field,
        offset,
    } in steps
    {
        let string = string_at(ctx.engine.keyspace.find(db, key));
        let old = field.read(string, offset);
        let writes = !matches!(action, Action::Get);
        let (new, shown) = match action {
            Action::Get => (Some(old), old),
            Action::Set(value, overflow) => (field.set(value, overflow), old),
            Action::Add(increment, overflow) => {
                let new = field.add(old, increment, overflow);
                (new, new.unwrap_or(0))
            }
        };
        if let Some(new) = new.filter(|&new| new != old) {
            let mut buffer = [0; 16];
            let bytes = field.write(string, offset, new, |bytes| {
                buffer[..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            });
            let start = (offset / 8) as usize;
            ctx.engine
                .keyspace
                .set_range(db, key, start, &buffer[..bytes]);
            changes += 1;
        }
        done |= writes && new.is_some();
        match new {
            Some(_) => ctx.reply().int(shown),
            None => ctx.reply().null(),
        }
    }
    if changes > 0 || (grows && done) {
        ctx.changed(key.bytes, EventClass::String, "setbit");
        ctx.engine.dirty += u64::max(changes, 1) - 1;
    } else if grows {
        // Redis tells nobody, and its replicas then differ: here it is a change, without an event as there.
        ctx.changed_quietly(key.bytes);
    }
    Ok(())
}

/// Makes the string of a key at least `len` bytes long, and `raw` as all that is changed in part; whether it grew.
fn make_writable(ctx: &mut Context<'_>, key: Key<'_>, len: usize) -> Result<bool, CommandError> {
    let entry = ctx.write(key);
    let is_new = entry.is_none();
    let old_len = match entry {
        Some(entry) => string_of(entry)?.len(),
        None => 0,
    };
    if old_len >= len {
        make_raw(ctx, key);
        return Ok(false);
    }
    let db = ctx.client.db;
    ctx.engine.keyspace.set_range(db, key, len - 1, &[0]);
    if is_new {
        ctx.created(db, key.bytes);
    }
    Ok(true)
}

fn string_at(entry: Option<&Entry>) -> StringRef<'_> {
    entry.map_or(StringRef::Bytes(b""), Entry::string)
}

/// Answers a BITFIELD that only reads.
fn read_fields(ctx: &mut Context<'_>, key: Key<'_>, steps: &[Step]) -> Result<(), CommandError> {
    let string = match ctx.engine.read(ctx.client, key) {
        Some(entry) => string_of(entry)?,
        None => StringRef::Bytes(b""),
    };
    let reply = &mut ctx.client.reply;
    reply.array(steps.len());
    for step in steps {
        reply.int(step.field.read(string, step.offset));
    }
    Ok(())
}

/// BITFIELD_RO key [GET type offset …]. As BITFIELD, without the steps that write.
fn bitfield_ro(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let steps = Step::parse(ctx, args)?;
    if steps.iter().any(Step::writes) {
        return Err(CommandError::text(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    read_fields(ctx, key, &steps)
}
