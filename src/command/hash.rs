//! Hashes.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::sample::Source;
use super::scan::{Page, ScanOptions, Scanned};
use super::string::bulk_string;
use super::*;
use crate::base::long_double::LongDouble;
use crate::base::prng::Prng;
use crate::container::Pack;
use crate::engine::EventClass;
use crate::keyspace::Key;
use crate::types::{HashMut, HashRef, HashView, Kind, Limits, StringRef, Ttl, Value};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("hdel", -3, hdel)
        .flags(WRITE | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | DELETE)])
        .element(2)
        .doc(
            Group::Hash,
            "2.0.0",
            "O(N) where N is the number of fields to be removed",
            "Deletes fields of a hash, and the hash with its last field.",
        )
        .syntax("key field [field ...]")
        .history(&[("2.4.0", "Accepts multiple `field` arguments.")]),
    Command::new("hexists", 3, hexists)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO)])
        .element(2)
        .doc(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Tells whether a hash has a field.",
        )
        .syntax("key field"),
    Command::new("hget", 3, hget)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .element(2)
        .doc(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Reads the value of a field of a hash.",
        )
        .syntax("key field"),
    Command::new("hgetall", 2, hgetall)
        .flags(READONLY)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Hash,
            "2.0.0",
            "O(N) where N is the size of the hash",
            "Reads all fields of a hash with their values.",
        )
        .syntax("key")
        .tips(&["nondeterministic_output_order"]),
    Command::new("hincrby", 4, hincrby)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .element(2)
        .doc(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Adds to the integer in a field of a hash, 0 when it is absent.",
        )
        .syntax("key field increment"),
    Command::new("hincrbyfloat", 4, hincrbyfloat)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .element(2)
        .doc(
            Group::Hash,
            "2.6.0",
            "O(1)",
            "Adds to the floating-point number in a field of a hash, 0 when it is absent.",
        )
        .syntax("key field increment{:double}"),
    Command::new("hkeys", 2, hkeys)
        .flags(READONLY)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Hash,
            "2.0.0",
            "O(N) where N is the size of the hash",
            "Returns all fields of a hash.",
        )
        .syntax("key")
        .tips(&["nondeterministic_output_order"]),
    Command::new("hlen", 2, hlen)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO)])
        .doc(Group::Hash, "2.0.0", "O(1)", "Counts the fields of a hash.")
        .syntax("key"),
    Command::new("hmget", -3, hmget)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .element(2)
        .doc(
            Group::Hash,
            "2.0.0",
            "O(N) where N is the number of fields asked for",
            "Reads the values of several fields of a hash.",
        )
        .syntax("key field [field ...]"),
    Command::new("hmset", -4, hmset)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .element(2)
        .doc(
            Group::Hash,
            "2.0.0",
            "O(N) where N is the number of fields",
            "Sets several fields of a hash.",
        )
        .syntax("key <field value>{=data} ...")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs"),
    Command::new("hrandfield", -2, hrandfield)
        .flags(READONLY)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Hash,
            "6.2.0",
            "O(N) where N is the number of fields returned",
            "Returns random fields of a hash.",
        )
        .syntax("key [count [WITHVALUES]]{=options}")
        .tips(&["nondeterministic_output"]),
    Command::new("hscan", -3, hscan)
        .flags(READONLY)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Hash,
            "2.8.0",
            "O(1) for every call, O(N) for a whole iteration over N fields",
            "Iterates over the fields of a hash with their values.",
        )
        .syntax("key cursor [MATCH pattern] [COUNT count] [NOVALUES]")
        .tips(&["nondeterministic_output"]),
    Command::new("hset", -4, hset)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .element(2)
        .doc(
            Group::Hash,
            "2.0.0",
            "O(1) for each field",
            "Sets fields of a hash, which is created if need be.",
        )
        .syntax("key <field value>{=data} ...")
        .history(&[("4.0.0", "Accepts multiple `field` and `value` arguments.")]),
    Command::new("hsetnx", 4, hsetnx)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | INSERT)])
        .element(2)
        .doc(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Sets a field of a hash unless it is there.",
        )
        .syntax("key field value"),
    Command::new("hstrlen", 3, hstrlen)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO)])
        .element(2)
        .doc(
            Group::Hash,
            "3.2.0",
            "O(1)",
            "Returns the length of the value of a field of a hash.",
        )
        .syntax("key field"),
    Command::new("hvals", 2, hvals)
        .flags(READONLY)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Hash,
            "2.0.0",
            "O(N) where N is the size of the hash",
            "Returns all values of a hash.",
        )
        .syntax("key")
        .tips(&["nondeterministic_output_order"]),
];

/// A new hash.
pub(super) const EMPTY: Value<'_> = Value::Packed(Kind::Hash, &Pack::EMPTY, false);

/// Bounds of a small hash.
pub(super) fn limits(ctx: &Context<'_>) -> Limits {
    ctx.engine.encodings().hash
}

/// After fields went: an empty hash goes too.
pub(super) fn removed(ctx: &mut Context<'_>, key: Key<'_>, event: &'static str, empty: bool) {
    if empty {
        ctx.engine.keyspace.remove(ctx.client.db, key);
    }
    ctx.changed(key.bytes, EventClass::Hash, event);
    if empty {
        let db = ctx.client.db;
        ctx.engine.notify(EventClass::Generic, "del", key.bytes, db);
    }
}

/// HSET key field value [field value …]. Reply: how many fields are new. Errors: WRONGTYPE. O(fields).
fn hset(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let added = set_fields(ctx, args)?;
    ctx.reply().int(added as i64);
    Ok(())
}

/// HMSET key field value [field value …]. Reply: OK. Errors: WRONGTYPE. O(fields).
fn hmset(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    set_fields(ctx, args)?;
    ctx.reply().ok();
    Ok(())
}

/// Sets the fields of the key and pairs that are the arguments; how many are new.
fn set_fields(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<usize, CommandError> {
    let key = args.key()?;
    if !args.left().is_multiple_of(2) {
        return Err(ctx.wrong_arity());
    }
    let (from, fields, limits) = (args.position(), args.left() / 2, limits(ctx));
    let pairs = (0..fields).map(|index| (args.at(from + 2 * index), args.at(from + 2 * index + 1)));
    drop_uncounted(ctx, key, pairs.clone().map(|(field, _)| field));
    let added = match update(ctx, key, pairs.clone(), limits)? {
        Some(added) => added,
        None => create(ctx, key, pairs, limits),
    };
    ctx.changed(key.bytes, EventClass::Hash, "hset");
    ctx.engine.dirty += fields as u64 - 1;
    Ok(added)
}

/// Where counts leave due fields out, deletes those of these fields that are due before a command counts what it changes.
fn drop_uncounted<'f>(ctx: &mut Context<'_>, key: Key<'_>, fields: impl Iterator<Item = &'f [u8]>) {
    if ctx.engine.counts_exactly() {
        ctx.engine.drop_due_fields(ctx.client, key, true, fields);
    }
}

/// Sets fields of a hash that is there.
fn update<'p>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
    limits: Limits,
) -> Result<Option<usize>, CommandError> {
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Hash)? else {
        return Ok(None);
    };
    Ok(Some(fill(HashMut::new(body, limits), pairs)))
}

/// Makes a hash of a key that is not there: a small one in one piece.
fn create<'p>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
    limits: Limits,
) -> usize {
    let (db, keyspace) = (ctx.client.db, &mut ctx.engine.keyspace);
    let added = match HashMut::pack(pairs.clone(), limits) {
        Some((pack, fields)) => {
            keyspace.body_or_new(db, key, Value::Packed(Kind::Hash, &pack, false));
            fields
        }
        None => {
            let (body, _) = keyspace.body_or_new(db, key, EMPTY);
            fill(HashMut::new(body, limits), pairs)
        }
    };
    ctx.created(db, key.bytes);
    added
}

/// Sets fields; how many are new.
fn fill<'p>(
    mut hash: HashMut<'_>,
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
) -> usize {
    hash.expect(pairs.clone());
    pairs
        .filter(|(field, value)| hash.set(field, value))
        .count()
}

/// HSETNX key field value. Reply: 1, or 0 when the field is there. Errors: WRONGTYPE. O(1).
fn hsetnx(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, field, value) = (args.key()?, args.bytes()?, args.bytes()?);
    drop_due(ctx, key, field);
    let limits = limits(ctx);
    let (body, new) = ctx.engine.body_or_new(ctx.client, key, EMPTY)?;
    let mut hash = HashMut::new(body, limits);
    let sets = hash.get().get(field).is_none();
    if sets {
        hash.set(field, value);
    }
    drop(hash);
    if sets {
        written(ctx, key, "hset", new);
    }
    ctx.reply().int(i64::from(sets));
    Ok(())
}

/// After a field was set.
pub(super) fn written(ctx: &mut Context<'_>, key: Key<'_>, event: &'static str, new: bool) {
    if new {
        ctx.created(ctx.client.db, key.bytes);
    }
    ctx.changed(key.bytes, EventClass::Hash, event);
}

/// HINCRBY key field increment. Reply: the new value. Errors: WRONGTYPE, not an integer, hash value is not an integer,
/// overflow. O(1).
fn hincrby(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, field, by) = (args.key()?, args.bytes()?, args.int()?);
    drop_due(ctx, key, field);
    let limits = limits(ctx);
    let (body, new) = ctx.engine.body_or_new(ctx.client, key, EMPTY)?;
    let mut hash = HashMut::new(body, limits);
    let old = match hash.get().get(field) {
        Some(value) => value
            .as_int()
            .ok_or(CommandError::text("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = old.checked_add(by).ok_or(CommandError::Overflow)?;
    hash.set_with(field, itoa::Buffer::new().format(sum).as_bytes(), Ttl::Keep);
    drop(hash);
    written(ctx, key, "hincrby", new);
    ctx.reply().int(sum);
    Ok(())
}

/// HINCRBYFLOAT key field increment. Reply: the new value as a bulk string. Errors: WRONGTYPE, not a valid float, hash
/// value is not a float, NaN or Infinity. Propagates: HSETEX KEEPTTL. O(1).
fn hincrbyfloat(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, field, by) = (args.key()?, args.bytes()?, args.bytes()?);
    let by = LongDouble::parse(by).ok_or(CommandError::NotFloat)?;
    if !by.is_finite() {
        return Err(CommandError::text("ERR value is NaN or Infinity"));
    }
    drop_due(ctx, key, field);
    let limits = limits(ctx);
    let (body, new) = ctx.engine.body_or_new(ctx.client, key, EMPTY)?;
    let mut hash = HashMut::new(body, limits);
    let old = match hash.get().get(field) {
        Some(value) => LongDouble::parse(value.as_bytes(&mut Vec::new()))
            .ok_or(CommandError::text("ERR hash value is not a float"))?,
        None => LongDouble::from_i64(0),
    };
    let sum = old + by;
    if !sum.is_finite() {
        return Err(CommandError::text(
            "ERR increment would produce NaN or Infinity",
        ));
    }
    let mut text = Vec::with_capacity(32);
    sum.push(&mut text);
    hash.set_with(field, &text, Ttl::Keep);
    drop(hash);
    written(ctx, key, "hincrbyfloat", new);
    let argv = [
        b"HSETEX", key.bytes, b"KEEPTTL", b"FIELDS", b"1", field, &text,
    ];
    ctx.replicate_as(&argv);
    ctx.reply().bulk(&text);
    Ok(())
}

/// HDEL key field [field …]. Reply: how many fields were there. Errors: WRONGTYPE. O(fields).
fn hdel(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let fields = (args.position()..args.count()).map(|index| args.at(index));
    drop_uncounted(ctx, key, fields);
    let limits = limits(ctx);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Hash)? else {
        ctx.reply().int(0);
        return Ok(());
    };
    let (mut hash, mut count) = (HashMut::new(body, limits), 0);
    while !args.is_empty() && !hash.get().is_empty() {
        count += i64::from(hash.remove(args.bytes()?));
    }
    let empty = hash.get().is_empty();
    drop(hash);
    if count > 0 {
        removed(ctx, key, "hdel", empty);
        ctx.engine.dirty += count as u64 - 1;
    }
    ctx.reply().int(count);
    Ok(())
}

/// The length of a field's value.
fn value_len(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    field: &[u8],
) -> Result<Option<usize>, CommandError> {
    let fields = std::iter::once(field);
    ctx.engine.drop_due_fields(ctx.client, key, false, fields);
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let value = hash.and_then(|hash| hash.get(field));
    Ok(value.map(|value| value.len()))
}

/// Deletes a field that is due before a command changes it.
fn drop_due(ctx: &mut Context<'_>, key: Key<'_>, field: &[u8]) {
    let fields = std::iter::once(field);
    ctx.engine.drop_due_fields(ctx.client, key, true, fields);
}

/// HGET key field. Reply: the value or null. Errors: WRONGTYPE. O(1).
fn hget(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, field) = (args.key()?, args.bytes()?);
    let fields = std::iter::once(field);
    ctx.engine.drop_due_fields(ctx.client, key, false, fields);
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let reply = &mut ctx.client.reply;
    match hash.and_then(|hash| hash.get(field)) {
        Some(value) => bulk_string(reply, value),
        None => reply.null(),
    }
    Ok(())
}

/// HMGET key field [field …]. Reply: an array of values, null for a field that is absent. Errors: WRONGTYPE. O(fields).
fn hmget(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let fields = (args.position()..args.count()).map(|index| args.at(index));
    ctx.engine.drop_due_fields(ctx.client, key, false, fields);
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let reply = &mut ctx.client.reply;
    reply.array(args.left());
    while !args.is_empty() {
        let field = args.bytes()?;
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => bulk_string(reply, value),
            None => reply.null(),
        }
    }
    Ok(())
}

/// HSTRLEN key field. Reply: the length of the value, 0 when the field is absent. Errors: WRONGTYPE. O(1).
fn hstrlen(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, field) = (args.key()?, args.bytes()?);
    let len = value_len(ctx, key, field)?.unwrap_or(0);
    ctx.reply().int(len as i64);
    Ok(())
}

/// HEXISTS key field. Reply: 1 or 0. Errors: WRONGTYPE. O(1).
fn hexists(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, field) = (args.key()?, args.bytes()?);
    let exists = value_len(ctx, key, field)?.is_some();
    ctx.reply().int(i64::from(exists));
    Ok(())
}

/// HLEN key. Reply: the number of fields. Errors: WRONGTYPE. O(1).
fn hlen(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let exact = ctx.engine.counts_exactly();
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let len = hash.map_or(0, |hash| match exact {
        true => hash.len(),
        false => hash.stored().len(),
    });
    ctx.reply().int(len as i64);
    Ok(())
}

/// HGETALL key. Reply: a map of fields and values. Errors: WRONGTYPE. O(fields).
fn hgetall(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, most) = (args.key()?, ctx.reply_bytes_max());
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let reply = &mut ctx.client.reply;
    let Some(hash) = hash else {
        reply.map(0);
        return Ok(());
    };
    reply.map(hash.len());
    hash.for_each(|field, value| {
        if reply.buf.len() <= most {
            bulk_string(reply, field);
            bulk_string(reply, value);
        }
    });
    Ok(())
}

/// HKEYS key. Reply: an array of fields. Errors: WRONGTYPE. O(fields).
fn hkeys(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    halves(ctx, args, |field, _| field)
}

/// HVALS key. Reply: an array of values. Errors: WRONGTYPE. O(fields).
fn hvals(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    halves(ctx, args, |_, value| value)
}

/// Answers one half of each pair.
fn halves(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    half: for<'a> fn(StringRef<'a>, StringRef<'a>) -> StringRef<'a>,
) -> Result<(), CommandError> {
    let (key, most) = (args.key()?, ctx.reply_bytes_max());
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let reply = &mut ctx.client.reply;
    let Some(hash) = hash else {
        reply.array(0);
        return Ok(());
    };
    reply.array(hash.len());
    hash.for_each(|field, value| {
        if reply.buf.len() <= most {
            bulk_string(reply, half(field, value));
        }
    });
    Ok(())
}

impl<'a> Source for HashView<'a> {
    type Item = (StringRef<'a>, StringRef<'a>);

    fn len(&self) -> usize {
        HashView::len(self)
    }

    fn is_large(&self) -> bool {
        // Where most fields are due it is better to list the others.
        let stored = self.stored();
        matches!(stored, HashRef::Table(_)) && 4 * HashView::len(self) > stored.len()
    }

    fn draw(&self, prng: &mut Prng) -> Option<Self::Item> {
        self.random(prng)
    }

    fn address((field, _): Self::Item) -> usize {
        match field {
            StringRef::Bytes(bytes) => bytes.as_ptr().addr(),
            StringRef::Int(_) | StringRef::Chunked(_) => 0,
        }
    }

    fn for_each(&self, mut each: impl FnMut(Self::Item)) {
        HashView::for_each(self, |field, value| each((field, value)));
    }
}

/// HRANDFIELD key [count [WITHVALUES]]
/// Reply: a random field or null; with a count an array of fields that differ, or with a negative one of so many that may
/// repeat; with their values in turn, in RESP3 as pairs. Errors: WRONGTYPE, not an integer, out of range, syntax error.
/// O(count).
fn hrandfield(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let count = match args.is_empty() {
        true => None,
        false => Some(sample::count(args)?),
    };
    let with_values = !args.is_empty();
    if with_values && !(args.take("withvalues") && args.is_empty()) {
        return Err(CommandError::Syntax);
    }
    if with_values && count.is_some_and(|count| count.unsigned_abs() > (i64::MAX / 2) as u64) {
        return Err(CommandError::text("ERR value is out of range"));
    }
    let mut prng = Prng::new(ctx.engine.prng.next_u64());
    let most = ctx.reply_bytes_max();
    if !ctx.engine.counts_exactly() {
        ctx.engine.drop_all_due_fields(ctx.client, key);
    }
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let reply = &mut ctx.client.reply;
    match (hash, count) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(hash), None) => match hash.random(&mut prng) {
            Some((field, _)) => bulk_string(reply, field),
            None => reply.null(),
        },
        (Some(hash), Some(count)) => {
            let (len, pairs) = (
                sample::len_of(&hash, count),
                with_values && reply.is_resp3(),
            );
            reply.array(if with_values && !pairs { 2 * len } else { len });
            sample::each(&hash, count, &mut prng, |(field, value)| {
                if pairs {
                    reply.array(2);
                }
                bulk_string(reply, field);
                if with_values {
                    bulk_string(reply, value);
                }
                reply.buf.len() <= most
            });
        }
    }
    Ok(())
}

/// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]
/// Reply: the next cursor (0 at the end) and an array of fields and values in turn. Errors: WRONGTYPE, invalid cursor,
/// syntax error, not an integer. O(count); O(fields) when small.
fn hscan(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let cursor = scan::cursor(args)?;
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let reply = &mut ctx.client.reply;
    let Some(hash) = hash else {
        Page::absent(reply);
        return Ok(());
    };
    let options = ScanOptions::parse(args, Scanned::Hash)?;
    let mut due = Vec::new();
    let push = |page: &mut Page<'_>, field: StringRef<'_>, value: StringRef<'_>| {
        if page.push(field) && !options.no_values {
            page.push_value(value);
        }
    };
    let mut page = Page::new(&options, reply);
    let next = match hash.stored() {
        HashRef::Table(table) => page.fill(table.fields(), cursor, |page, entry| {
            match hash.shows(entry.expire_at()) {
                true => push(page, StringRef::Bytes(entry.key()), entry.string()),
                false => due.push(entry.key().to_vec()),
            }
        }),
        small => {
            small.for_each(|field, value, deadline| match hash.shows(deadline) {
                true => push(&mut page, field, value),
                false => due.push(field.as_bytes(&mut Vec::new()).to_vec()),
            });
            0
        }
    };
    page.finish(reply, next);
    let due = due.iter().map(Vec::as_slice);
    ctx.engine.drop_due_fields(ctx.client, key, false, due);
    Ok(())
}
