//! Strings. LCS is in `lcs.rs`, the options that set a deadline in `expire.rs`.
//! Source: the documentation of Redis and the replies of redis-server 8.0; SET's IFEQ and IFNE as Redis 8.4
//! documents them; MSETEX as Redis 8.4 documents it and Valkey 9.1 answers. DIGEST, DELEX and INCREX are in `digest.rs` and `increx.rs`.

use super::expire::Deadline;
use super::*;
use crate::base::long_double::LongDouble;
use crate::base::time::UnixMs;
use crate::engine::EventClass;
use crate::keyspace::{Key, Ttl};
use crate::resp::reply::Reply;
use crate::types::{Entry, Kind, StringRef};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("append", 3, append)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | INSERT)])
        .doc(
            Group::String,
            "2.0.0",
            "O(1) amortized",
            "Adds bytes at the end of a string, which is created if need be.",
        )
        .syntax("key value"),
    Command::new("decr", 2, decr)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::String,
            "1.0.0",
            "O(1)",
            "Subtracts one from the integer that a string holds; an absent key counts as 0.",
        )
        .syntax("key"),
    Command::new("decrby", 3, decrby)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::String,
            "1.0.0",
            "O(1)",
            "Subtracts a number from the integer that a string holds; an absent key counts as 0.",
        )
        .syntax("key decrement"),
    Command::new("delex", -2, digest::delex)
        .flags(WRITE | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | DELETE)])
        .doc(
            Group::String,
            "8.4.0",
            "O(1) for IFEQ/IFNE, O(N) for IFDEQ/IFDNE where N is the length of the string value.",
            "Deletes a key if its value, or the digest of that, is the one given, or is not.",
        )
        .syntax("key [IFEQ value{=ifeq-value} | IFNE value{=ifne-value} | IFDEQ digest{=ifdeq-digest} | IFDNE \
             digest{=ifdne-digest}]{=condition}"),
    Command::new("digest", 2, digest::digest)
        .flags(READONLY | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::String,
            "8.4.0",
            "O(N) where N is the length of the string value.",
            "Returns the XXH3 hash of a string in hexadecimal digits.",
        )
        .syntax("key"),
    Command::new("get", 2, get)
        .flags(READONLY | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(Group::String, "1.0.0", "O(1)", "Reads a string.")
        .syntax("key"),
    Command::new("getdel", 2, getdel)
        .flags(WRITE | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | DELETE)])
        .doc(
            Group::String,
            "6.2.0",
            "O(1)",
            "Reads a string and deletes its key.",
        )
        .syntax("key"),
    Command::new("getex", -2, getex)
        .flags(WRITE | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)
            .notes("RW and UPDATE because it changes the TTL")])
        .doc(
            Group::String,
            "6.2.0",
            "O(1)",
            "Reads a string and changes the expiration of its key.",
        )
        .syntax("key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds \
                 | PERSIST]{=expiration}"),
    Command::new("getrange", 4, getrange)
        .flags(READONLY)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::String,
            "2.4.0",
            "O(N) where N is the number of bytes returned",
            "Reads a part of a string.",
        )
        .syntax("key start end"),
    Command::new("getset", 3, getset)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::String,
            "1.0.0",
            "O(1)",
            "Writes a string and returns what the key held before.",
        )
        .syntax("key value")
        .deprecated("6.2.0", "`SET` with the `!GET` argument"),
    Command::new("incr", 2, incr)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::String,
            "1.0.0",
            "O(1)",
            "Adds one to the integer that a string holds; an absent key counts as 0.",
        )
        .syntax("key"),
    Command::new("incrby", 3, incrby)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::String,
            "1.0.0",
            "O(1)",
            "Adds a number to the integer that a string holds; an absent key counts as 0.",
        )
        .syntax("key increment"),
    Command::new("incrbyfloat", 3, incrbyfloat)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::String,
            "2.6.0",
            "O(1)",
            "Adds a floating-point number to the number that a string holds; an absent key counts as 0.",
        )
        .syntax("key increment{:double}"),
    Command::new("increx", -2, increx::increx)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)])
        .doc(
            Group::String,
            "8.8.0",
            "O(1)",
            "Adds a number within bounds to the number that a string holds, and sets when its key expires.",
        )
        .syntax("key [BYFLOAT increment{:double} | BYINT increment]{=increment} [SATURATE] [LBOUND lowerbound] \
             [UBOUND upperbound] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT \
             unix-time-milliseconds | PERSIST]{=expiration} [ENX]"),
    Command::new("lcs", -3, lcs::lcs)
        .flags(READONLY)
        .categories(CAT_STRING)
        .keys(&[KeySpec::range(1, 1, 1, RO | ACCESS)])
        .doc(
            Group::String,
            "7.0.0",
            "O(N*M) where N and M are the lengths of the two strings",
            "Finds the longest common subsequence of two strings.",
        )
        .syntax("key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]"),
    Command::new("mget", -2, mget)
        .flags(READONLY | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::range(1, -1, 1, RO | ACCESS)])
        .doc(
            Group::String,
            "1.0.0",
            "O(N) where N is the number of keys",
            "Reads several strings at once.",
        )
        .syntax("key [key ...]")
        .tips(&["request_policy:multi_shard"]),
    Command::new("mset", -3, mset)
        .flags(WRITE | DENYOOM)
        .categories(CAT_STRING)
        .keys(&[KeySpec::range(1, -1, 2, OW | UPDATE)])
        .doc(
            Group::String,
            "1.0.1",
            "O(N) where N is the number of keys",
            "Writes several strings at once.",
        )
        .syntax("<key value>{=data} ...")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    Command::new("msetex", -4, msetex)
        .flags(WRITE | DENYOOM | MOVABLE_KEYS)
        .categories(CAT_STRING)
        .keys(&[KeySpec {
            begin: Begin::Index(1),
            find: Find::KeyNum {
                at: 0,
                first: 1,
                step: 2,
            },
            flags: OW | UPDATE,
            notes: "",
        }])
        .doc(
            Group::String,
            "8.4.0",
            "O(N) where N is the number of keys to set.",
            "Writes several strings at once that expire together.",
        )
        .syntax("numkeys <key value>{=data} ... [NX | XX]{=condition} [EX seconds | PX milliseconds | EXAT \
             unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]{=expiration}")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    Command::new("msetnx", -3, msetnx)
        .flags(WRITE | DENYOOM)
        .categories(CAT_STRING)
        .keys(&[KeySpec::range(1, -1, 2, OW | INSERT)])
        .doc(
            Group::String,
            "1.0.1",
            "O(N) where N is the number of keys",
            "Writes several strings at once if none of the keys exists.",
        )
        .syntax("<key value>{=data} ..."),
    Command::new("psetex", 4, psetex)
        .flags(WRITE | DENYOOM)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(OW | UPDATE)])
        .doc(
            Group::String,
            "2.6.0",
            "O(1)",
            "Writes a string that expires after some milliseconds.",
        )
        .syntax("key milliseconds value")
        .deprecated("2.6.12", "`SET` with the `PX` argument"),
    Command::new("set", -3, set)
        .flags(WRITE | DENYOOM)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE | VARIABLE_FLAGS)
            .notes("RW and ACCESS due to the optional `GET` argument")])
        .doc(
            Group::String,
            "1.0.0",
            "O(1)",
            "Writes a string, whatever the key held before.",
        )
        .syntax("key value [NX | XX | IFEQ value{=ifeq-value @8.4.0} | IFNE value{=ifne-value @8.4.0} | IFDEQ \
             digest{=ifdeq-digest @8.4.0} | IFDNE digest{=ifdne-digest @8.4.0}]{=condition @2.6.12} \
             [GET{@6.2.0}] [EX seconds{@2.6.12} | PX milliseconds{@2.6.12} | EXAT unix-time-seconds{@6.2.0} | \
             PXAT unix-time-milliseconds{@6.2.0} | KEEPTTL{@6.0.0}]{=expiration}")
        .history(&[
            ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
            ("6.0.0", "Added the `KEEPTTL` option."),
            ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
            ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
            ("8.4.0", "Added the `IFEQ`, `IFNE`, `IFDEQ` and `IFDNE` options."),
        ]),
    Command::new("setex", 4, setex)
        .flags(WRITE | DENYOOM)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(OW | UPDATE)])
        .doc(
            Group::String,
            "2.0.0",
            "O(1)",
            "Writes a string that expires after some seconds.",
        )
        .syntax("key seconds value")
        .deprecated("2.6.12", "`SET` with the `EX` argument"),
    Command::new("setnx", 3, setnx)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(OW | INSERT)])
        .doc(
            Group::String,
            "1.0.0",
            "O(1)",
            "Writes a string if the key does not exist.",
        )
        .syntax("key value")
        .deprecated("2.6.12", "`SET` with the `NX` argument"),
    Command::new("setrange", 4, setrange)
        .flags(WRITE | DENYOOM)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::String,
            "2.2.0",
            "O(M) where M is the length of the value",
            "Overwrites a part of a string from an offset on; a gap is filled with zero bytes.",
        )
        .syntax("key offset value"),
    Command::new("strlen", 2, strlen)
        .flags(READONLY | FAST)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RO)])
        .doc(Group::String, "2.2.0", "O(1)", "Returns the length of a string in bytes.")
        .syntax("key"),
    Command::new("substr", 4, getrange)
        .flags(READONLY)
        .categories(CAT_STRING)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::String,
            "1.0.0",
            "O(N) where N is the number of bytes returned",
            "Reads a part of a string.",
        )
        .syntax("key start end")
        .deprecated("2.0.0", "`GETRANGE`"),
];

/// The string of an entry, or WRONGTYPE.
#[inline]
pub(super) fn string_of(entry: &Entry) -> Result<StringRef<'_>, CommandError> {
    match entry.kind() {
        Kind::String => Ok(entry.string()),
        _ => Err(CommandError::WrongType),
    }
}

/// Before a string is changed in part, or by a command that always makes it `raw`: makes it so.
pub(super) fn make_raw(ctx: &mut Context<'_>, key: Key<'_>) {
    let db = ctx.client.db;
    let Some(entry) = ctx.engine.keyspace.find(db, key) else {
        return;
    };
    let string = entry.string();
    if entry.encoding() != "raw" && !string.is_empty() {
        let first = string.byte(0);
        ctx.engine.keyspace.set_range(db, key, 0, &[first]);
    }
}

/// Appends a string value as a bulk string, without a copy in between.
#[inline]
pub(super) fn bulk_string(reply: &mut Reply, value: StringRef<'_>) {
    match value {
        StringRef::Int(number) => reply.bulk_int(number),
        StringRef::Bytes(bytes) => reply.bulk(bytes),
        StringRef::Chunked(_) => {
            // With room for the ends, or these would double the buffer.
            reply.buf.reserve(value.len() + 32);
            reply.bulk_header(value.len());
            value.push_to(&mut reply.buf);
            reply.crlf();
        }
    }
}

/// Answers the string of a key, or null; whether the key exists.
#[inline]
fn reply_value(ctx: &mut Context<'_>, key: Key<'_>) -> Result<bool, CommandError> {
    match ctx.engine.read(ctx.client, key) {
        None => {
            ctx.client.reply.null();
            Ok(false)
        }
        Some(entry) => {
            bulk_string(&mut ctx.client.reply, string_of(entry)?);
            Ok(true)
        }
    }
}

/// GET key. Reply: bulk string, or null when the key is absent. Errors: WRONGTYPE. O(1).
fn get(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    reply_value(ctx, key).map(|_| ())
}

/// Stores a string over whatever the key holds, and reports the change.
#[inline]
fn store(ctx: &mut Context<'_>, key: Key<'_>, value: &[u8], ttl: Ttl) {
    let db = ctx.client.db;
    if ctx.engine.keyspace.set_string(db, key, value, ttl) {
        ctx.created(db, key.bytes);
    }
    ctx.changed(key.bytes, EventClass::String, "set");
}

/// Stores a string with a deadline.
fn store_at(ctx: &mut Context<'_>, key: Key<'_>, value: &[u8], at: UnixMs) {
    store(ctx, key, value, Ttl::At(at));
    ctx.engine
        .notify(EventClass::Generic, "expire", key.bytes, ctx.client.db);
}

/// Stores a string with a deadline; propagates it as SET key value PXAT ms.
fn store_until(ctx: &mut Context<'_>, key: Key<'_>, value: &[u8], at: UnixMs) {
    store_at(ctx, key, value, at);
    let mut digits = itoa::Buffer::new();
    let at = digits.format(at).as_bytes();
    ctx.replicate_as(&[b"SET", key.bytes, value, b"PXAT", at]);
}

/// On what SET depends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    Always,
    Absent,
    Present,
    Equal(&'a [u8]),
    NotEqual(&'a [u8]),
    Digest(&'a [u8]),
    NotDigest(&'a [u8]),
}

struct SetOptions<'a> {
    condition: Condition<'a>,
    get: bool,
    keep_ttl: bool,
    deadline: Option<Deadline<'a>>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: &mut Args<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions {
            condition: Condition::Always,
            get: false,
            keep_ttl: false,
            deadline: None,
        };
        while !args.is_empty() {
            if let Some(condition) = Condition::take(args)? {
                // The same word twice is no conflict; another condition is.
                let same = std::mem::discriminant(&options.condition)
                    == std::mem::discriminant(&condition);
                if options.condition != Condition::Always && !same {
                    return Err(CommandError::Syntax);
                }
                options.condition = condition;
            } else if args.take("get") {
                options.get = true;
            } else if options.deadline.is_none() && args.take("keepttl") {
                options.keep_ttl = true;
            } else if !options.keep_ttl {
                Deadline::take(args, &mut options.deadline)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

impl SetOptions<'_> {
    /// Whether a SET with a deadline needs no rewriting for replicas.
    fn propagates_as_it_is(&self) -> bool {
        let known = match self.condition {
            Condition::Always | Condition::Absent | Condition::Present => true,
            Condition::Equal(_)
            | Condition::NotEqual(_)
            | Condition::Digest(_)
            | Condition::NotDigest(_) => false,
        };
        known && matches!(self.deadline, Some(Deadline::AtMilliseconds(_)))
    }
}

impl<'a> Condition<'a> {
    /// Takes a condition's word and its value.
    pub(super) fn take(args: &mut Args<'a>) -> Result<Option<Condition<'a>>, CommandError> {
        Ok(Some(if args.take("nx") {
            Condition::Absent
        } else if args.take("xx") {
            Condition::Present
        } else if args.take("ifeq") {
            Condition::Equal(args.bytes()?)
        } else if args.take("ifne") {
            Condition::NotEqual(args.bytes()?)
        } else if args.take("ifdeq") {
            Condition::Digest(args.bytes()?)
        } else if args.take("ifdne") {
            Condition::NotDigest(args.bytes()?)
        } else {
            return Ok(None);
        }))
    }

    /// Whether it holds for what the key holds.
    pub(super) fn holds(self, entry: Option<&Entry>) -> Result<bool, CommandError> {
        Ok(match (self, entry) {
            (Condition::Always, _) => true,
            (Condition::Absent, entry) => entry.is_none(),
            (Condition::Present, entry) => entry.is_some(),
            (Condition::Equal(_) | Condition::Digest(_), None) => false,
            (Condition::NotEqual(_) | Condition::NotDigest(_), None) => true,
            (Condition::Digest(hex), Some(entry)) => digest::has_digest(string_of(entry)?, hex),
            (Condition::NotDigest(hex), Some(entry)) => !digest::has_digest(string_of(entry)?, hex),
            (Condition::Equal(value), Some(entry)) => string_of(entry)?.equals(value),
            (Condition::NotEqual(value), Some(entry)) => !string_of(entry)?.equals(value),
        })
    }
}

/// SET key value [NX | XX | IFEQ value | IFNE value | IFDEQ digest | IFDNE digest] [GET]
///   [EX s | PX ms | EXAT unix-s | PXAT unix-ms | KEEPTTL]
/// Reply: OK, or null when the condition does not hold; with GET the old value or null in any case.
/// Errors: syntax error, not an integer, invalid expire; with GET or an IF…: WRONGTYPE.
/// Propagates: SET key value PXAT ms with a deadline, as it came if that is PXAT; otherwise as it came without GET
/// and IF…. O(1), of a digest O(bytes).
fn set(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, value) = (args.key()?, args.bytes()?);
    if args.is_empty() {
        ctx.engine.overwrite(ctx.client, key);
        store(ctx, key, value, Ttl::None);
        ctx.client.reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(args)?;
    let at = match options.deadline {
        Some(deadline) => Some(deadline.at(ctx)?),
        None => None,
    };
    if options.get {
        reply_value(ctx, key)?;
    }
    let holds = options.condition.holds(ctx.write(key))?;
    if !holds {
        if !options.get {
            ctx.reply().null();
        }
        return Ok(());
    }
    match at {
        // What has a point in milliseconds goes on as it came.
        Some(at) if options.propagates_as_it_is() => store_at(ctx, key, value, at),
        Some(at) => store_until(ctx, key, value, at),
        None => {
            let ttl = match options.keep_ttl {
                true => Ttl::Keep,
                false => Ttl::None,
            };
            store(ctx, key, value, ttl);
            replicate_set(ctx, args, &options);
        }
    }
    if !options.get {
        ctx.reply().ok();
    }
    Ok(())
}

/// SET without a deadline: what a replica need not or may not understand is left out.
fn replicate_set(ctx: &mut Context<'_>, args: &Args<'_>, options: &SetOptions<'_>) {
    match options.condition {
        Condition::Equal(_)
        | Condition::NotEqual(_)
        | Condition::Digest(_)
        | Condition::NotDigest(_) => {
            let (key, value) = (args.at(1), args.at(2));
            match options.keep_ttl {
                true => ctx.replicate_as(&[b"SET", key, value, b"KEEPTTL"]),
                false => ctx.replicate_as(&[b"SET", key, value]),
            }
        }
        Condition::Always | Condition::Absent | Condition::Present if options.get => {
            let kept = args.iter().enumerate();
            let kept =
                kept.filter(|(index, word)| *index < 3 || !word.eq_ignore_ascii_case(b"get"));
            let argv: Vec<&[u8]> = kept.map(|(_, word)| word).collect();
            ctx.replicate_as(&argv);
        }
        Condition::Always | Condition::Absent | Condition::Present => {}
    }
}

/// SETNX key value. Reply: 1 when it was written, 0 when the key exists. O(1).
fn setnx(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, value) = (args.key()?, args.bytes()?);
    let absent = ctx.write(key).is_none();
    if absent {
        store(ctx, key, value, Ttl::None);
    }
    ctx.reply().int(i64::from(absent));
    Ok(())
}

/// SETEX key seconds value. Reply: OK. Errors: not an integer, invalid expire.
/// Propagates: SET key value PXAT ms. O(1).
fn setex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    set_for(ctx, args, Deadline::Seconds)
}

/// PSETEX key milliseconds value. As SETEX.
fn psetex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    set_for(ctx, args, Deadline::Milliseconds)
}

fn set_for<'a>(
    ctx: &mut Context<'_>,
    args: &mut Args<'a>,
    unit: fn(&'a [u8]) -> Deadline<'a>,
) -> Result<(), CommandError> {
    let (key, time, value) = (args.key()?, args.bytes()?, args.bytes()?);
    let at = unit(time).at(ctx)?;
    ctx.engine.overwrite(ctx.client, key);
    store_until(ctx, key, value, at);
    ctx.reply().ok();
    Ok(())
}

/// GETSET key value. Reply: the old value or null. Errors: WRONGTYPE. Propagates: SET key value. O(1).
fn getset(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, value) = (args.key()?, args.bytes()?);
    reply_value(ctx, key)?;
    store(ctx, key, value, Ttl::None);
    ctx.replicate_as(&[b"SET", key.bytes, value]);
    Ok(())
}

/// GETDEL key. Reply: the value or null. Errors: WRONGTYPE. Propagates: DEL. O(1).
fn getdel(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    if reply_value(ctx, key)? {
        ctx.engine.keyspace.remove(ctx.client.db, key);
        ctx.changed(key.bytes, EventClass::Generic, "del");
        ctx.replicate_as(&[b"DEL", key.bytes]);
    }
    Ok(())
}

/// GETEX key [EX s | PX ms | EXAT unix-s | PXAT unix-ms | PERSIST]
/// Reply: bulk string, or null when the key is absent. Errors: WRONGTYPE, syntax error, invalid expire.
/// Propagates: PEXPIREAT, PERSIST or DEL; nothing without an option. O(1).
fn getex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let (mut deadline, mut persist) = (None, false);
    while !args.is_empty() {
        if deadline.is_none() && args.take("persist") {
            persist = true;
        } else if persist {
            return Err(CommandError::Syntax);
        } else {
            Deadline::take(args, &mut deadline)?;
        }
    }
    let Some(entry) = ctx.engine.read(ctx.client, key) else {
        ctx.client.reply.null();
        return Ok(());
    };
    let had_ttl = entry.expire_at().is_some();
    // The deadline's error comes before the value, but after WRONGTYPE.
    let start = ctx.client.reply.buf.len();
    bulk_string(&mut ctx.client.reply, string_of(entry)?);
    if let Some(deadline) = deadline {
        let at = deadline.at(ctx);
        if at.is_err() {
            ctx.client.reply.buf.truncate(start);
        }
        let at = at?;
        match deadline.is_absolute() && ctx.is_past(at) {
            true => expire::delete_past(ctx, key),
            false => expire::set_deadline(ctx, key, at, &[]),
        }
    } else if persist && had_ttl {
        ctx.engine.keyspace.set_expire(ctx.client.db, key, None);
        ctx.changed(key.bytes, EventClass::Generic, "persist");
        ctx.replicate_as(&[b"PERSIST", key.bytes]);
    }
    Ok(())
}

/// GETRANGE key start end (also SUBSTR). Reply: the bytes, empty when there are none. Errors: not an integer,
/// WRONGTYPE. O(bytes returned).
fn getrange(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, start, end) = (args.key()?, args.int()?, args.int()?);
    let Some(entry) = ctx.engine.read(ctx.client, key) else {
        ctx.client.reply.bulk(b"");
        return Ok(());
    };
    let value = string_of(entry)?;
    let reply = &mut ctx.client.reply;
    match StringRef::clamp_range(value.len(), start, end) {
        None => reply.bulk(b""),
        Some((start, end)) => {
            reply.bulk_header(end - start);
            value.push_range(start, end, &mut reply.buf);
            reply.crlf();
        }
    }
    Ok(())
}

/// STRLEN key. Reply: bytes of the string, 0 when the key is absent. Errors: WRONGTYPE. O(1).
fn strlen(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let len = match ctx.read(key) {
        Some(entry) => string_of(entry)?.len(),
        None => 0,
    };
    ctx.reply().int(len as i64);
    Ok(())
}

/// Errs when a string of `len` and `added` bytes is longer than proto-max-bulk-len allows.
fn check_length(ctx: &Context<'_>, len: usize, added: usize) -> Result<(), CommandError> {
    let max = ctx.engine.config.proto_max_bulk_len as u64;
    match (len as u64).checked_add(added as u64) {
        Some(sum) if sum <= max || ctx.client.must_obey() => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

/// The length of a string, 0 when the key is absent.
fn length_for_write(ctx: &mut Context<'_>, key: Key<'_>) -> Result<Option<usize>, CommandError> {
    Ok(match ctx.write(key) {
        Some(entry) => Some(string_of(entry)?.len()),
        None => None,
    })
}

/// APPEND key value. Reply: the new length. Errors: WRONGTYPE, string exceeds maximum allowed size. O(1) amortized.
fn append(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, value) = (args.key()?, args.bytes()?);
    let db = ctx.client.db;
    let len = match length_for_write(ctx, key)? {
        None => {
            ctx.engine.keyspace.set_string(db, key, value, Ttl::None);
            ctx.created(db, key.bytes);
            value.len()
        }
        Some(len) => {
            check_length(ctx, len, value.len())?;
            ctx.engine.keyspace.append(db, key, value)
        }
    };
    ctx.changed(key.bytes, EventClass::String, "append");
    ctx.reply().int(len as i64);
    Ok(())
}

/// SETRANGE key offset value. Reply: the new length. Errors: not an integer, offset is out of range, WRONGTYPE,
/// string exceeds maximum allowed size. An empty value changes nothing. O(bytes of the value).
fn setrange(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, offset, value) = (args.key()?, args.int()?, args.bytes()?);
    let offset = usize::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    let old = length_for_write(ctx, key)?;
    let len = if value.is_empty() {
        old.unwrap_or(0)
    } else {
        check_length(ctx, offset, value.len())?;
        let db = ctx.client.db;
        let len = ctx.engine.keyspace.set_range(db, key, offset, value);
        if old.is_none() {
            ctx.created(db, key.bytes);
        }
        ctx.changed(key.bytes, EventClass::String, "setrange");
        len
    };
    ctx.reply().int(len as i64);
    Ok(())
}

/// INCR key. Reply: the new value. Errors: not an integer, WRONGTYPE, overflow. O(1).
fn incr(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    add(ctx, args.key()?, 1)
}

/// DECR key. As INCR.
fn decr(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    add(ctx, args.key()?, -1)
}

/// INCRBY key increment. As INCR.
fn incrby(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, by) = (args.key()?, args.int()?);
    add(ctx, key, by)
}

/// DECRBY key decrement. As INCR; the least integer cannot be subtracted.
fn decrby(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, by) = (args.key()?, args.int()?);
    let by = by
        .checked_neg()
        .ok_or(CommandError::text("ERR decrement would overflow"))?;
    add(ctx, key, by)
}

#[inline]
fn add(ctx: &mut Context<'_>, key: Key<'_>, by: i64) -> Result<(), CommandError> {
    let old = match ctx.write(key) {
        Some(entry) => string_of(entry)?.as_int().ok_or(CommandError::NotInteger)?,
        None => 0,
    };
    let sum = old.checked_add(by).ok_or(CommandError::Overflow)?;
    let db = ctx.client.db;
    if ctx.engine.keyspace.set_int(db, key, sum, Ttl::Keep) {
        ctx.created(db, key.bytes);
    }
    ctx.changed(key.bytes, EventClass::String, "incrby");
    ctx.client.reply.int(sum);
    Ok(())
}

/// INCRBYFLOAT key increment. Reply: the new value as a bulk string. Errors: WRONGTYPE, not a valid float,
/// NaN or Infinity. Propagates: SET key value KEEPTTL. O(1).
fn incrbyfloat(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, by) = (args.key()?, args.bytes()?);
    let mut scratch = Vec::new();
    let old = match ctx.write(key) {
        Some(entry) => LongDouble::parse(string_of(entry)?.as_bytes(&mut scratch)),
        None => Some(LongDouble::from_i64(0)),
    };
    let old = old.ok_or(CommandError::NotFloat)?;
    let by = LongDouble::parse(by).ok_or(CommandError::NotFloat)?;
    let sum = old + by;
    if !sum.is_finite() {
        return Err(CommandError::text(
            "ERR increment would produce NaN or Infinity",
        ));
    }
    let mut text = Vec::with_capacity(32);
    sum.push(&mut text);
    let db = ctx.client.db;
    if ctx.engine.keyspace.set_text(db, key, &text, Ttl::Keep) {
        ctx.created(db, key.bytes);
    }
    ctx.changed(key.bytes, EventClass::String, "incrbyfloat");
    ctx.replicate_as(&[b"SET", key.bytes, &text, b"KEEPTTL"]);
    ctx.reply().bulk(&text);
    Ok(())
}

/// MGET key [key …]. Reply: an array of bulk strings; null for a key that is absent or holds no string. O(keys).
fn mget(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let most = ctx.reply_bytes_max();
    ctx.reply().array(args.left());
    while !args.is_empty() && ctx.client.reply.buf.len() <= most {
        let window = ctx.key_window(args, 1);
        for &key in window.keys() {
            match ctx.engine.read(ctx.client, key).map(string_of) {
                Some(Ok(value)) => bulk_string(&mut ctx.client.reply, value),
                Some(Err(_)) | None => ctx.client.reply.null(),
            }
        }
        args.skip(window.keys().len());
    }
    Ok(())
}

/// MSET key value [key value …]. Reply: OK. Errors: wrong number of arguments. O(keys).
fn mset(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if !args.left().is_multiple_of(2) {
        return Err(ctx.wrong_arity());
    }
    while !args.is_empty() {
        let window = ctx.key_window(args, 2);
        for &key in window.keys() {
            args.skip(1);
            let value = args.bytes()?;
            ctx.engine.overwrite(ctx.client, key);
            store(ctx, key, value, Ttl::None);
        }
    }
    ctx.reply().ok();
    Ok(())
}

/// MSETEX numkeys key value [key value …] [NX | XX] [EX s | PX ms | EXAT unix-s | PXAT unix-ms | KEEPTTL]
/// Reply: 1 when all were written; 0 when a condition does not hold: with NX none of the keys may exist, with XX all must.
/// Errors: numkeys, syntax error, not an integer, invalid expire. Propagates what older servers know: MSET, or SET with
/// PXAT or KEEPTTL for each key; DEL when the deadline is past. O(keys).
fn msetex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let count = args.int_in(
        1,
        i32::MAX.into(),
        CommandError::text("ERR invalid numkeys value or out of range"),
    )? as usize;
    let pairs = args.clone();
    if args.left() / 2 < count {
        return Err(CommandError::Syntax);
    }
    args.skip(2 * count);
    let options = SetOptions::parse(args)?;
    let wanted = match options.condition {
        Condition::Always => None,
        Condition::Absent => Some(false),
        Condition::Present => Some(true),
        Condition::Equal(_)
        | Condition::NotEqual(_)
        | Condition::Digest(_)
        | Condition::NotDigest(_) => return Err(CommandError::Syntax),
    };
    if options.get {
        return Err(CommandError::Syntax);
    }
    let at = match options.deadline {
        Some(deadline) => Some(deadline.at(ctx)?),
        None => None,
    };
    let end = pairs.position() + 2 * count;
    let mut keys = (pairs.position()..end).step_by(2);
    let holds = wanted
        .is_none_or(|wanted| keys.all(|index| ctx.write(pairs.key_at(index)).is_some() == wanted));
    if holds {
        let ttl = match at {
            Some(at) => Ttl::At(at),
            None if options.keep_ttl => Ttl::Keep,
            None => Ttl::None,
        };
        for index in (pairs.position()..end).step_by(2) {
            set_one_of(ctx, pairs.key_at(index), pairs.at(index + 1), ttl);
        }
        if ttl == Ttl::None {
            let words = pairs.iter().take(end).skip(pairs.position());
            let argv: Vec<&[u8]> = std::iter::once(b"MSET".as_slice()).chain(words).collect();
            ctx.replicate_as(&argv);
        }
    }
    ctx.reply().int(holds.into());
    Ok(())
}

/// One key of MSETEX; without a deadline it is propagated with the others.
fn set_one_of(ctx: &mut Context<'_>, key: Key<'_>, value: &[u8], ttl: Ttl) {
    ctx.engine.overwrite(ctx.client, key);
    match ttl {
        Ttl::At(at) if ctx.is_past(at) => {
            store(ctx, key, value, ttl);
            expire::delete_past(ctx, key);
        }
        Ttl::At(at) => store_until(ctx, key, value, at),
        Ttl::Keep => {
            store(ctx, key, value, ttl);
            ctx.replicate_as(&[b"SET", key.bytes, value, b"KEEPTTL"]);
        }
        Ttl::None => store(ctx, key, value, ttl),
    }
}

/// MSETNX key value [key value …]. Reply: 1 when all were written, 0 when one of the keys exists.
/// Errors: wrong number of arguments. O(keys).
fn msetnx(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if !args.left().is_multiple_of(2) {
        return Err(ctx.wrong_arity());
    }
    for index in (1..args.count()).step_by(2) {
        if ctx.write(args.key_at(index)).is_some() {
            ctx.reply().int(0);
            return Ok(());
        }
    }
    while !args.is_empty() {
        let (key, value) = (args.key()?, args.bytes()?);
        store(ctx, key, value, Ttl::None);
    }
    ctx.reply().int(1);
    Ok(())
}
