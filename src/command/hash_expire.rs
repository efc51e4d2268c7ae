//! Hashes: fields with deadlines.
//! Source: the documentation of Redis, the replies of redis-server 8.0 and what it tells its replicas.

use super::expire::Only;
use super::hash::{EMPTY, limits, removed, written};
use super::string::bulk_string;
use super::*;
use crate::base::time::UnixMs;
use crate::engine::EventClass;
use crate::keyspace::{Key, Ttl};
use crate::types::times::DEADLINE_MAX;
use crate::types::{HashMut, HashRef, HashView, Kind};

const EXPIRE_SYNTAX: [&str; 4] = [
    "key seconds [NX | XX | GT | LT]{=condition} FIELDS <numfields field [field ...]>{=fields}",
    "key milliseconds [NX | XX | GT | LT]{=condition} FIELDS <numfields field [field ...]>{=fields}",
    "key unix-time-seconds [NX | XX | GT | LT]{=condition} FIELDS <numfields field [field ...]>{=fields}",
    "key unix-time-milliseconds [NX | XX | GT | LT]{=condition} FIELDS <numfields field [field ...]>{=fields}",
];
const UPDATED: &[KeySpec] = &[KeySpec::first(RW | UPDATE)];
const READ: &[KeySpec] = &[KeySpec::first(RO | ACCESS)];
const FIELDS_SYNTAX: &str = "key FIELDS <numfields field [field ...]>{=fields}";
const PER_FIELD: &str = "O(N) where N is the number of fields given";

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    setter("hexpire", hexpire, "Lets fields of a hash expire after so many seconds.", 0),
    setter("hpexpire", hpexpire, "Lets fields of a hash expire after so many milliseconds.", 1),
    setter("hexpireat", hexpireat, "Lets fields of a hash expire at a point in time, in seconds.", 2),
    setter(
        "hpexpireat",
        hpexpireat,
        "Lets fields of a hash expire at a point in time, in milliseconds.",
        3,
    ),
    getter("httl", httl, "Returns how many seconds fields of a hash have left.")
        .tips(&["nondeterministic_output"]),
    getter("hpttl", hpttl, "Returns how many milliseconds fields of a hash have left.")
        .tips(&["nondeterministic_output"]),
    getter("hexpiretime", hexpiretime, "Returns when fields of a hash expire, in seconds."),
    getter("hpexpiretime", hpexpiretime, "Returns when fields of a hash expire, in milliseconds."),
    Command::new("hpersist", -5, hpersist)
        .flags(WRITE | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(Group::Hash, "7.4.0", PER_FIELD, "Takes the expiration off fields of a hash.")
        .syntax(FIELDS_SYNTAX),
    Command::new("hgetdel", -5, hgetdel)
        .flags(WRITE | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | ACCESS | DELETE)])
        .doc(Group::Hash, "8.0.0", PER_FIELD, "Reads fields of a hash and deletes them.")
        .syntax(FIELDS_SYNTAX),
    Command::new("hgetex", -5, hgetex)
        .flags(WRITE | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE).notes("RW and UPDATE because it changes the TTL")])
        .doc(
            Group::Hash,
            "8.0.0",
            PER_FIELD,
            "Reads fields of a hash and sets or takes off their expiration.",
        )
        .syntax("key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds \
                 | PERSIST]{=expiration} FIELDS <numfields field [field ...]>{=fields}"),
    Command::new("hsetex", -6, hsetex)
        .flags(WRITE | DENYOOM | FAST)
        .categories(CAT_HASH)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::Hash,
            "8.0.0",
            PER_FIELD,
            "Sets fields of a hash with an expiration, if all or none of them are there.",
        )
        .syntax("key [FNX | FXX]{=condition} [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL]{=expiration} FIELDS <numfields <field \
                 value>{=data} ...>{=fields}"),
];

const fn setter(
    name: &'static str,
    handler: Handler,
    summary: &'static str,
    syntax: usize,
) -> Command {
    Command::new(name, -6, handler)
        .flags(WRITE | FAST)
        .categories(CAT_HASH)
        .keys(UPDATED)
        .doc(Group::Hash, "7.4.0", PER_FIELD, summary)
        .syntax(EXPIRE_SYNTAX[syntax])
}

const fn getter(name: &'static str, handler: Handler, summary: &'static str) -> Command {
    Command::new(name, -5, handler)
        .flags(READONLY | FAST)
        .categories(CAT_HASH)
        .keys(READ)
        .doc(Group::Hash, "7.4.0", PER_FIELD, summary)
        .syntax(FIELDS_SYNTAX)
}

/// What is answered of a field that is not there.
const NO_FIELD: i64 = -2;
/// What is answered of a field that has no deadline.
const NO_DEADLINE: i64 = -1;
/// The last deadline that a command can give.
const EXPIRE_TIME_MAX: UnixMs = (1 << 46) - 1;

const MISPLACED: CommandError =
    CommandError::text("ERR Mandatory argument FIELDS is missing or not at the right position");
const COUNT_POSITIVE: CommandError =
    CommandError::text("ERR Number of fields must be a positive integer");
const COUNT_ABOVE_0: CommandError =
    CommandError::text("ERR Parameter `numFields` should be greater than 0");
const COUNT_WRONG: CommandError =
    CommandError::text("ERR The `numfields` parameter must match the number of arguments");

/// The fields of a command: the rest of its arguments.
#[derive(Clone)]
struct Fields<'a, 'b> {
    args: &'b Args<'a>,
    next: usize,
    step: usize,
}

impl<'a> Iterator for Fields<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let at = self.next;
        (at < self.args.count()).then(|| {
            self.next += self.step;
            self.args.at(at)
        })
    }
}

/// The arguments from where the cursor stands, each `step`-th.
fn fields<'a, 'b>(args: &'b Args<'a>, step: usize) -> Fields<'a, 'b> {
    let next = args.position();
    Fields { args, next, step }
}

/// The arguments from where the cursor stands, as fields with values.
fn pairs<'a, 'b>(
    args: &'b Args<'a>,
) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + use<'a, 'b> {
    let from = args.position();
    (0..args.left() / 2)
        .map(move |index| (args.at(from + 2 * index), args.at(from + 2 * index + 1)))
}

/// FIELDS numfields, behind which all arguments are fields; how many.
fn take_fields(args: &mut Args<'_>, no_count: CommandError) -> Result<usize, CommandError> {
    if !args.take("fields") {
        return Err(MISPLACED);
    }
    let count = args.int_in(1, i64::MAX, no_count)?;
    match args.left() {
        left if left as i64 == count => Ok(left),
        _ => Err(COUNT_WRONG),
    }
}

/// A deadline in units of `scale` milliseconds from `base` on; never 0, which stands for none where fields are packed.
/// From a master any is taken, the furthest as the last that there is: Valkey's may be beyond those of Redis.
/// Errors: not an integer, negative, out of range.
fn deadline(
    ctx: &Context<'_>,
    args: &mut Args<'_>,
    scale: i64,
    base: UnixMs,
) -> Result<UnixMs, CommandError> {
    let number = args.int()?;
    if number < 0 {
        return Err(CommandError::text("ERR invalid expire time, must be >= 0"));
    }
    let at = number
        .checked_mul(scale)
        .and_then(|ms| ms.checked_add(base));
    if ctx.client.must_obey() {
        return Ok(at.unwrap_or(DEADLINE_MAX).clamp(1, DEADLINE_MAX));
    }
    at.filter(|at| *at <= EXPIRE_TIME_MAX)
        .map(|at| at.max(1))
        .ok_or(CommandError::InvalidExpire(&ctx.command.full_name))
}

/// Errs when the key holds another type.
fn check_kind(ctx: &mut Context<'_>, key: Key<'_>) -> Result<(), CommandError> {
    match ctx.write(key) {
        Some(entry) if entry.kind() != Kind::Hash => Err(CommandError::WrongType),
        _ => Ok(()),
    }
}

// ---- deadlines -------------------------------------------------------------------------------

/// HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field …]
/// Reply: an array, for each field 1 when it got the deadline, 2 when that was past and the field is deleted, 0 when the
/// condition does not hold, -2 when it is not there. Errors: WRONGTYPE, not an integer, invalid expire time, FIELDS
/// missing, wrong number of fields. Propagates: HPEXPIREAT of the fields that changed, or HDEL for each. O(fields).
fn hexpire(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let now = ctx.now();
    expire_by(ctx, args, 1000, now)
}

/// HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]. As HEXPIRE.
fn hpexpire(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let now = ctx.now();
    expire_by(ctx, args, 1, now)
}

/// HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field …]. As HEXPIRE.
fn hexpireat(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    expire_by(ctx, args, 1000, 0)
}

/// HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]. As HEXPIRE.
fn hpexpireat(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    expire_by(ctx, args, 1, 0)
}

fn expire_by(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    scale: i64,
    base: UnixMs,
) -> Result<(), CommandError> {
    let key = args.key()?;
    check_kind(ctx, key)?;
    let at = deadline(ctx, args, scale, base)?;
    let only = Only::one(args);
    let count = take_fields(args, COUNT_ABOVE_0)?;
    ctx.engine
        .drop_due_fields(ctx.client, key, true, fields(args, 1));
    let (past, limits) = (ctx.is_past(at), limits(ctx));
    let now = ctx.engine.hides_before(ctx.client);
    ctx.client.reply.array(count);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Hash)? else {
        (0..count).for_each(|_| ctx.client.reply.int(NO_FIELD));
        return Ok(());
    };
    let reply = &mut ctx.client.reply;
    let mut hash = HashMut::new(body, limits);
    hash.expect_deadlines();
    let mut changed = Vec::new();
    for field in fields(args, 1) {
        let old = HashView::new(hash.get(), now).deadline(field);
        reply.int(match old {
            None => NO_FIELD,
            Some(old) if !only.allows(old, at) => 0,
            Some(_) => {
                match past {
                    true => hash.remove(field),
                    false => hash.set_deadline(field, Some(at)),
                };
                changed.push(field);
                if past { 2 } else { 1 }
            }
        });
    }
    let empty = hash.get().is_empty();
    drop(hash);
    if changed.is_empty() {
        return Ok(());
    }
    ctx.engine.dirty += changed.len() as u64 - 1;
    if past {
        fields_past(ctx, key, changed.into_iter(), empty);
        return Ok(());
    }
    ctx.changed(key.bytes, EventClass::Hash, "hexpire");
    if ctx.engine.propagates() {
        propagate_deadline(ctx, args, key, at, &changed);
    }
    Ok(())
}

/// Propagates HPEXPIREAT with the command's condition for the fields that changed.
fn propagate_deadline(
    ctx: &mut Context<'_>,
    args: &Args<'_>,
    key: Key<'_>,
    at: UnixMs,
    changed: &[&[u8]],
) {
    let (mut digits, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut argv = vec![b"HPEXPIREAT", key.bytes, digits.format(at).as_bytes()];
    // The condition, if there is one, and FIELDS.
    argv.extend((3..args.position() - 1).map(|index| args.at(index)));
    argv.push(count.format(changed.len()).as_bytes());
    argv.extend_from_slice(changed);
    ctx.replicate_as(&argv);
}

/// After fields went whose new deadline was past: HDEL for each, and the events.
fn fields_past<'f>(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    fields: impl Iterator<Item = &'f [u8]>,
    empty: bool,
) {
    for field in fields {
        ctx.engine.stats.expired_subkeys += 1;
        ctx.replicate_as(&[b"HDEL", key.bytes, field]);
    }
    removed(ctx, key, "hdel", empty);
}

/// HTTL key FIELDS numfields field [field …]
/// Reply: an array of seconds left, rounded up; -1 for a field without a deadline, -2 for one that is not there. Errors:
/// WRONGTYPE, FIELDS missing, wrong number of fields. O(fields).
fn httl(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let now = ctx.now();
    look(ctx, args, |at| (at.saturating_sub(now).max(0) + 999) / 1000)
}

/// HPTTL key FIELDS numfields field [field …]. Reply: milliseconds left. As HTTL.
fn hpttl(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let now = ctx.now();
    look(ctx, args, |at| at.saturating_sub(now).max(0))
}

/// HEXPIRETIME key FIELDS numfields field [field …]. Reply: deadlines in Unix seconds, rounded up. As HTTL.
fn hexpiretime(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    look(ctx, args, |at| at.saturating_add(999) / 1000)
}

/// HPEXPIRETIME key FIELDS numfields field [field …]. Reply: deadlines in Unix milliseconds. As HTTL.
fn hpexpiretime(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    look(ctx, args, |at| at)
}

fn look(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    show: impl Fn(UnixMs) -> i64,
) -> Result<(), CommandError> {
    let key = args.key()?;
    let hash = ctx.engine.read_hash(ctx.client, key)?;
    let count = take_fields(args, COUNT_POSITIVE)?;
    let reply = &mut ctx.client.reply;
    reply.array(count);
    for field in fields(args, 1) {
        reply.int(match hash.and_then(|hash| hash.deadline(field)) {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(at)) => show(at),
        });
    }
    Ok(())
}

/// HPERSIST key FIELDS numfields field [field …]
/// Reply: an array, for each field 1 when its deadline was taken off, -1 when it had none, -2 when it is not there.
/// Errors: WRONGTYPE, FIELDS missing, wrong number of fields. O(fields).
fn hpersist(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    check_kind(ctx, key)?;
    let count = take_fields(args, COUNT_POSITIVE)?;
    // The replicas hide nothing from this command: what is due must be gone there before it.
    ctx.engine
        .drop_due_fields(ctx.client, key, true, fields(args, 1));
    let (limits, now) = (limits(ctx), ctx.engine.hides_before(ctx.client));
    let body = ctx.engine.body(ctx.client, key, Kind::Hash)?;
    let reply = &mut ctx.client.reply;
    reply.array(count);
    let mut hash = body.map(|body| HashMut::new(body, limits));
    let mut changed = 0;
    for field in fields(args, 1) {
        let old = hash.as_ref().map(|hash| HashView::new(hash.get(), now));
        reply.int(match (old.and_then(|old| old.deadline(field)), &mut hash) {
            (Some(Some(_)), Some(hash)) => {
                hash.set_deadline(field, None);
                changed += 1;
                1
            }
            (Some(None), _) => NO_DEADLINE,
            _ => NO_FIELD,
        });
    }
    drop(hash);
    if changed > 0 {
        ctx.changed(key.bytes, EventClass::Hash, "hpersist");
        ctx.engine.dirty += changed - 1;
    }
    Ok(())
}

// ---- values ----------------------------------------------------------------------------------

/// HGETDEL key FIELDS numfields field [field …]
/// Reply: an array of values, null for a field that is not there. Errors: WRONGTYPE, FIELDS missing, wrong number of
/// fields. Propagates: HDEL. O(fields).
fn hgetdel(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    check_kind(ctx, key)?;
    let count = take_fields(args, COUNT_POSITIVE)?;
    ctx.engine
        .drop_due_fields(ctx.client, key, true, fields(args, 1));
    let (limits, now) = (limits(ctx), ctx.engine.hides_before(ctx.client));
    ctx.client.reply.array(count);
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Hash)? else {
        (0..count).for_each(|_| ctx.client.reply.null());
        return Ok(());
    };
    let reply = &mut ctx.client.reply;
    let (mut hash, mut deleted) = (HashMut::new(body, limits), 0);
    for field in fields(args, 1) {
        match HashView::new(hash.get(), now).get(field) {
            Some(value) => bulk_string(reply, value),
            None => {
                reply.null();
                continue;
            }
        }
        hash.remove(field);
        deleted += 1;
    }
    let empty = hash.get().is_empty();
    drop(hash);
    if deleted > 0 {
        removed(ctx, key, "hdel", empty);
        ctx.engine.dirty += deleted - 1;
        if ctx.engine.propagates() {
            let argv = [b"HDEL", key.bytes].into_iter().chain(fields(args, 1));
            ctx.replicate_as(&argv.collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// What HGETEX and HSETEX do to deadlines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// HGETEX: nothing. HSETEX: they go.
    None,
    /// PERSIST
    Persist,
    /// KEEPTTL
    Keep,
    /// EX, PX, EXAT, PXAT
    At(UnixMs),
}

impl Change {
    /// EX, PX, EXAT or PXAT with its number; None when the next argument is something else.
    fn take(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<Option<Change>, CommandError> {
        let (scale, base) = if args.take("ex") {
            (1000, ctx.now())
        } else if args.take("px") {
            (1, ctx.now())
        } else if args.take("exat") {
            (1000, 0)
        } else if args.take("pxat") {
            (1, 0)
        } else {
            return Ok(None);
        };
        if args.is_empty() {
            return Err(ctx.wrong_arity());
        }
        deadline(ctx, args, scale, base).map(|at| Some(Change::At(at)))
    }
}

/// HGETEX key [EX s | PX ms | EXAT unix-s | PXAT unix-ms | PERSIST] FIELDS numfields field [field …]
/// Reply: an array of values, null for a field that is not there. Errors: WRONGTYPE, not an integer, invalid expire time,
/// FIELDS missing, wrong number of fields. Propagates: HPEXPIREAT, HPERSIST, or HDEL for each field when the deadline is
/// past. O(fields).
fn hgetex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    check_kind(ctx, key)?;
    let change = match Change::take(ctx, args)? {
        Some(change) => change,
        None if args.take("persist") => Change::Persist,
        None => Change::None,
    };
    if args.left() < 2 {
        return Err(ctx.wrong_arity());
    }
    let count = take_fields(args, COUNT_POSITIVE)?;
    ctx.engine
        .drop_due_fields(ctx.client, key, true, fields(args, 1));
    if change == Change::None {
        get_all(ctx, args, key, count);
        return Ok(());
    }
    let past = matches!(change, Change::At(at) if ctx.is_past(at));
    let (changed, empty) = get_and_change(ctx, args, key, count, change, past)?;
    if changed.is_empty() {
        return Ok(());
    }
    ctx.engine.dirty += changed.len() as u64 - 1;
    let Change::At(at) = change else {
        ctx.changed(key.bytes, EventClass::Hash, "hpersist");
        propagate_for_all(ctx, args, &[b"HPERSIST", key.bytes]);
        return Ok(());
    };
    if past {
        fields_past(ctx, key, changed.into_iter(), empty);
        return Ok(());
    }
    ctx.changed(key.bytes, EventClass::Hash, "hexpire");
    let mut digits = itoa::Buffer::new();
    let head = [b"HPEXPIREAT", key.bytes, digits.format(at).as_bytes()];
    propagate_for_all(ctx, args, &head);
    Ok(())
}

/// Answers the values of all fields and changes their deadlines; which it changed, and whether none is left.
fn get_and_change<'a>(
    ctx: &mut Context<'_>,
    args: &Args<'a>,
    key: Key<'_>,
    count: usize,
    change: Change,
    past: bool,
) -> Result<(Vec<&'a [u8]>, bool), CommandError> {
    let (limits, now) = (limits(ctx), ctx.engine.hides_before(ctx.client));
    ctx.client.reply.array(count);
    let mut changed = Vec::new();
    let Some(body) = ctx.engine.body(ctx.client, key, Kind::Hash)? else {
        (0..count).for_each(|_| ctx.client.reply.null());
        return Ok((changed, false));
    };
    let (reply, mut hash) = (&mut ctx.client.reply, HashMut::new(body, limits));
    hash.expect_deadlines();
    for field in fields(args, 1) {
        let view = HashView::new(hash.get(), now);
        let (Some(value), Some(old)) = (view.get(field), view.deadline(field)) else {
            reply.null();
            continue;
        };
        bulk_string(reply, value);
        match change {
            Change::At(_) if past => hash.remove(field),
            Change::At(at) => hash.set_deadline(field, Some(at)),
            Change::Persist if old.is_some() => hash.set_deadline(field, None),
            Change::Persist | Change::Keep | Change::None => continue,
        };
        changed.push(field);
    }
    Ok((changed, hash.get().is_empty()))
}

/// Answers the values of all fields of a hash, if there is one. The look is one for writing: it does not count.
fn get_all(ctx: &mut Context<'_>, args: &Args<'_>, key: Key<'_>, count: usize) {
    let now = ctx.engine.hides_before(ctx.client);
    let found = ctx.engine.write(ctx.client, key);
    let hash = found.map(|entry| HashView::new(HashRef::of(entry), now));
    let reply = &mut ctx.client.reply;
    reply.array(count);
    for field in fields(args, 1) {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => bulk_string(reply, value),
            None => reply.null(),
        }
    }
}

/// Propagates another command with the FIELDS of this one, as they came.
fn propagate_for_all(ctx: &mut Context<'_>, args: &Args<'_>, head: &[&[u8]]) {
    if ctx.engine.propagates() {
        let from = args.position() - 2;
        let rest = (from..args.count()).map(|index| args.at(index));
        ctx.replicate_as(&head.iter().copied().chain(rest).collect::<Vec<_>>());
    }
}

/// The options of HSETEX.
struct SetOptions {
    /// FNX (true: none of the fields may be there) or FXX (false: all must be).
    absent: Option<bool>,
    change: Change,
    /// Where EX, PX, EXAT or PXAT stands.
    option_at: usize,
}

impl SetOptions {
    /// The arguments up to FIELDS. Errors: unknown argument, more than one of a kind, not an integer, invalid expire
    /// time, wrong number of arguments.
    fn parse(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<SetOptions, CommandError> {
        let mut options = SetOptions {
            absent: None,
            change: Change::None,
            option_at: 0,
        };
        let times = ["ex", "px", "exat", "pxat", "keepttl"];
        while let Some(word) = args.peek() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if is("fields") {
                return Ok(options);
            } else if is("fnx") || is("fxx") {
                if options.absent.is_some() {
                    return Err(CommandError::text(
                        "ERR Only one of FXX or FNX arguments can be specified",
                    ));
                }
                options.absent = Some(is("fnx"));
                args.skip(1);
            } else if times.into_iter().any(is) {
                if options.change != Change::None {
                    return Err(CommandError::text(
                        "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                    ));
                }
                options.option_at = args.position();
                options.change = match Change::take(ctx, args)? {
                    Some(change) => change,
                    None => {
                        args.skip(1);
                        Change::Keep
                    }
                };
            } else {
                return Err(CommandError::echoing("ERR unknown argument: ", word, ""));
            }
        }
        Err(ctx.wrong_arity())
    }
}

/// HSETEX key [FNX | FXX] [EX s | PX ms | EXAT unix-s | PXAT unix-ms | KEEPTTL] FIELDS numfields field value [field value …]
/// Reply: 1 when all fields were set, 0 when the condition does not hold. Errors: WRONGTYPE, as
/// [`SetOptions::parse`], invalid number of fields. Propagates: itself with PXAT, or HDEL for each field when the deadline is
/// past. O(fields).
fn hsetex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let options = SetOptions::parse(ctx, args)?;
    args.skip(1);
    if args.left() < 3 {
        return Err(ctx.wrong_arity());
    }
    let bad_count = CommandError::text("ERR invalid number of fields");
    let count = args.int_in(1, i64::from(i32::MAX), bad_count)?;
    if 2 * count != args.left() as i64 {
        return Err(ctx.wrong_arity());
    }
    check_kind(ctx, key)?;
    if !may_set(ctx, args, key, options.absent) {
        ctx.reply().int(0);
        return Ok(());
    }
    match options.change {
        Change::At(at) if ctx.is_past(at) => set_past(ctx, args, key)?,
        change => set_fields(ctx, args, key, change, options.option_at)?,
    }
    ctx.reply().int(1);
    Ok(())
}

/// Whether none of the fields is there (FNX), or all are (FXX); due ones go until that is decided.
fn may_set(ctx: &mut Context<'_>, args: &Args<'_>, key: Key<'_>, absent: Option<bool>) -> bool {
    let Some(absent) = absent else {
        return true;
    };
    let (mut may, mut dropped) = (true, 0);
    for field in fields(args, 2) {
        dropped += usize::from(ctx.engine.drop_due_field(ctx.client, key, field));
        let now = ctx.engine.hides_before(ctx.client);
        let hash = ctx.write(key).map(HashRef::of);
        let found = hash.is_some_and(|hash| HashView::new(hash, now).get(field).is_some());
        if found == absent {
            may = false;
            break;
        }
    }
    // One that lost its last field is filled again at once, or goes.
    let db = ctx.client.db;
    let empty = !may && ctx.engine.is_empty_hash(db, key);
    ctx.engine.fields_expired(db, key, dropped, empty);
    may
}

/// Sets fields whose deadline is past: they go, and with them a hash that was made for them.
fn set_past(ctx: &mut Context<'_>, args: &Args<'_>, key: Key<'_>) -> Result<(), CommandError> {
    let limits = limits(ctx);
    let body = ctx.engine.body(ctx.client, key, Kind::Hash)?;
    let new = body.is_none();
    let empty = body.is_none_or(|body| {
        let mut hash = HashMut::new(body, limits);
        hash.expect_deadlines();
        // Each comes and goes, which the hash's form shows.
        hash.expect(pairs(args));
        for (field, value) in pairs(args) {
            hash.set(field, value);
            hash.remove(field);
        }
        hash.get().is_empty()
    });
    let db = ctx.client.db;
    if new {
        ctx.created(db, key.bytes);
    }
    ctx.engine.notify(EventClass::Hash, "hset", key.bytes, db);
    fields_past(ctx, key, fields(args, 2), empty);
    Ok(())
}

/// Sets fields with what becomes of their deadlines.
fn set_fields(
    ctx: &mut Context<'_>,
    args: &Args<'_>,
    key: Key<'_>,
    change: Change,
    option_at: usize,
) -> Result<(), CommandError> {
    let ttl = match change {
        Change::None | Change::Persist => Ttl::None,
        Change::Keep => Ttl::Keep,
        Change::At(at) => Ttl::At(at),
    };
    if ttl == Ttl::Keep {
        ctx.engine
            .drop_due_fields(ctx.client, key, true, fields(args, 2));
    }
    let limits = limits(ctx);
    let (body, new) = ctx.engine.body_or_new(ctx.client, key, EMPTY)?;
    let mut hash = HashMut::new(body, limits);
    hash.expect(pairs(args));
    for (field, value) in pairs(args) {
        hash.set_with(field, value, ttl);
    }
    drop(hash);
    written(ctx, key, "hset", new);
    ctx.engine.dirty += args.left() as u64 / 2 - 1;
    let Change::At(at) = change else {
        return Ok(());
    };
    let db = ctx.client.db;
    ctx.engine
        .notify(EventClass::Hash, "hexpire", key.bytes, db);
    if ctx.engine.propagates() {
        let mut digits = itoa::Buffer::new();
        let mut argv: Vec<&[u8]> = args.iter().collect();
        // One that is such already goes as it came.
        if !argv[option_at].eq_ignore_ascii_case(b"PXAT") {
            argv[option_at] = b"PXAT";
            argv[option_at + 1] = digits.format(at).as_bytes();
        }
        ctx.replicate_as(&argv);
    }
    Ok(())
}
