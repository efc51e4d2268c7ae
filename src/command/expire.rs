//! Deadlines of keys: EXPIRE and its kin, TTL and its kin, PERSIST, and the options of SET and GETEX.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::base::num;
use crate::base::time::UnixMs;
use crate::engine::EventClass;
use crate::keyspace::Key;

const CHANGE: Command = Command::new("", -3, expire)
    .flags(WRITE | FAST)
    .categories(CAT_KEYSPACE)
    .keys(&[KeySpec::first(RW | UPDATE)]);
const SINCE_OPTIONS: &[(&str, &str)] = &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")];
const SINCE_MISSING: &[(&str, &str)] = &[("2.8.0", "Added the -2 reply.")];
const LOOK: Command = Command::new("", 2, ttl)
    .flags(READONLY | FAST)
    .categories(CAT_KEYSPACE)
    .keys(&[KeySpec::first(RO | ACCESS)]);

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    CHANGE
        .named("expire", expire)
        .doc(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Lets a key expire after some seconds.",
        )
        .syntax("key seconds [NX | XX | GT | LT]{=condition @7.0.0}")
        .history(SINCE_OPTIONS),
    CHANGE
        .named("expireat", expireat)
        .doc(
            Group::Generic,
            "1.2.0",
            "O(1)",
            "Lets a key expire at a Unix time in seconds.",
        )
        .syntax("key unix-time-seconds [NX | XX | GT | LT]{=condition @7.0.0}")
        .history(SINCE_OPTIONS),
    CHANGE
        .named("pexpire", pexpire)
        .doc(
            Group::Generic,
            "2.6.0",
            "O(1)",
            "Lets a key expire after some milliseconds.",
        )
        .syntax("key milliseconds [NX | XX | GT | LT]{=condition @7.0.0}")
        .history(SINCE_OPTIONS),
    CHANGE
        .named("pexpireat", pexpireat)
        .doc(
            Group::Generic,
            "2.6.0",
            "O(1)",
            "Lets a key expire at a Unix time in milliseconds.",
        )
        .syntax("key unix-time-milliseconds [NX | XX | GT | LT]{=condition @7.0.0}")
        .history(SINCE_OPTIONS),
    LOOK.named("expiretime", expiretime)
        .doc(
            Group::Generic,
            "7.0.0",
            "O(1)",
            "Returns when a key expires, as a Unix time in seconds.",
        )
        .syntax("key"),
    LOOK.named("pexpiretime", pexpiretime)
        .doc(
            Group::Generic,
            "7.0.0",
            "O(1)",
            "Returns when a key expires, as a Unix time in milliseconds.",
        )
        .syntax("key"),
    LOOK.named("ttl", ttl)
        .doc(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Returns in how many seconds a key expires.",
        )
        .syntax("key")
        .history(SINCE_MISSING)
        .tips(&["nondeterministic_output"]),
    LOOK.named("pttl", pttl)
        .doc(
            Group::Generic,
            "2.6.0",
            "O(1)",
            "Returns in how many milliseconds a key expires.",
        )
        .syntax("key")
        .history(SINCE_MISSING)
        .tips(&["nondeterministic_output"]),
    Command::new("persist", 2, persist)
        .flags(WRITE | FAST)
        .categories(CAT_KEYSPACE)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::Generic,
            "2.2.0",
            "O(1)",
            "Takes the expiration off a key.",
        )
        .syntax("key"),
];

/// A deadline as an option of SET or GETEX gives it: its unit and its unread number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline<'a> {
    /// EX
    Seconds(&'a [u8]),
    /// PX
    Milliseconds(&'a [u8]),
    /// EXAT
    AtSeconds(&'a [u8]),
    /// PXAT
    AtMilliseconds(&'a [u8]),
}

impl<'a> Deadline<'a> {
    /// Takes one of the options into `deadline`. The same option may come again and wins; another errs.
    pub(super) fn take(
        args: &mut Args<'a>,
        deadline: &mut Option<Deadline<'a>>,
    ) -> Result<(), CommandError> {
        let unit: fn(&'a [u8]) -> Deadline<'a> = if args.take("ex") {
            Deadline::Seconds
        } else if args.take("px") {
            Deadline::Milliseconds
        } else if args.take("exat") {
            Deadline::AtSeconds
        } else if args.take("pxat") {
            Deadline::AtMilliseconds
        } else {
            return Err(CommandError::Syntax);
        };
        let given = unit(args.bytes()?);
        let other =
            |old: Deadline<'_>| std::mem::discriminant(&old) != std::mem::discriminant(&given);
        if deadline.is_some_and(other) {
            return Err(CommandError::Syntax);
        }
        *deadline = Some(given);
        Ok(())
    }

    /// Whether it names a point in time.
    pub(super) fn is_absolute(self) -> bool {
        match self {
            Deadline::AtSeconds(_) | Deadline::AtMilliseconds(_) => true,
            Deadline::Seconds(_) | Deadline::Milliseconds(_) => false,
        }
    }

    /// The point in time. Errors: not an integer, invalid expire (not positive, or beyond 64 bits).
    pub(super) fn at(self, ctx: &Context<'_>) -> Result<UnixMs, CommandError> {
        let (number, scale, base) = match self {
            Deadline::Seconds(number) => (number, 1000, ctx.now()),
            Deadline::Milliseconds(number) => (number, 1, ctx.now()),
            Deadline::AtSeconds(number) => (number, 1000, 0),
            Deadline::AtMilliseconds(number) => (number, 1, 0),
        };
        let number = num::parse_i64(number).ok_or(CommandError::NotInteger)?;
        Some(number)
            .filter(|&number| number > 0)
            .and_then(|number| number.checked_mul(scale))
            .and_then(|ms| ms.checked_add(base))
            .ok_or(CommandError::InvalidExpire(&ctx.command.full_name))
    }
}

/// Sets a key's deadline, reports the change, propagates PEXPIREAT with these options.
pub(super) fn set_deadline(ctx: &mut Context<'_>, key: Key<'_>, at: UnixMs, options: &[&[u8]]) {
    let db = ctx.client.db;
    ctx.engine.keyspace.set_expire(db, key, Some(at));
    ctx.changed(key.bytes, EventClass::Generic, "expire");
    let mut digits = itoa::Buffer::new();
    let head = [b"PEXPIREAT", key.bytes, digits.format(at).as_bytes()];
    match options {
        [] => ctx.replicate_as(&head),
        options => ctx.replicate_as(&[&head, options].concat()),
    }
}

/// Deletes a key whose new deadline is past: propagates DEL, or UNLINK with lazyfree-lazy-expire.
pub(super) fn delete_past(ctx: &mut Context<'_>, key: Key<'_>) {
    delete(ctx, key, ctx.engine.config.lazyfree_lazy_expire);
}

/// Deletes a key: propagates DEL or UNLINK.
pub(super) fn delete(ctx: &mut Context<'_>, key: Key<'_>, unlinks: bool) {
    ctx.engine.keyspace.remove(ctx.client.db, key);
    ctx.changed(key.bytes, EventClass::Generic, "del");
    let name: &[u8] = if unlinks { b"UNLINK" } else { b"DEL" };
    ctx.replicate_as(&[name, key.bytes]);
}

/// EXPIRE key seconds [NX | XX | GT | LT]
/// Reply: 1 when the deadline was set (or was past and the key deleted), 0 when the key is absent or the
/// condition does not hold. Errors: not an integer, invalid expire, unsupported option, options not compatible.
/// Propagates: PEXPIREAT, or DEL when the deadline is past. O(1).
fn expire(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let now = ctx.now();
    expire_by(ctx, args, 1000, now)
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT]. As EXPIRE.
fn pexpire(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let now = ctx.now();
    expire_by(ctx, args, 1, now)
}

/// EXPIREAT key unix-time-seconds [NX | XX | GT | LT]. As EXPIRE.
fn expireat(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    expire_by(ctx, args, 1000, 0)
}

/// PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]. As EXPIRE.
fn pexpireat(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    expire_by(ctx, args, 1, 0)
}

/// The conditions of EXPIRE and its like.
#[derive(Clone, Copy, Default)]
pub(super) struct Only {
    without: bool,
    with: bool,
    later: bool,
    earlier: bool,
}

impl Only {
    fn parse(args: &mut Args<'_>) -> Result<Only, CommandError> {
        let mut only = Only::default();
        while let Some(word) = args.peek() {
            if args.take("nx") {
                only.without = true;
            } else if args.take("xx") {
                only.with = true;
            } else if args.take("gt") {
                only.later = true;
            } else if args.take("lt") {
                only.earlier = true;
            } else {
                return Err(CommandError::echoing("ERR Unsupported option ", word, ""));
            }
        }
        if only.without && (only.with || only.later || only.earlier) {
            return Err(CommandError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if only.later && only.earlier {
            return Err(CommandError::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(only)
    }

    /// At most one of the conditions.
    pub(super) fn one(args: &mut Args<'_>) -> Only {
        let mut only = Only::default();
        only.without = args.take("nx");
        only.with = !only.without && args.take("xx");
        only.later = !only.without && !only.with && args.take("gt");
        only.earlier = !only.without && !only.with && !only.later && args.take("lt");
        only
    }

    /// Whether a key with this deadline may get that one. No deadline counts as an infinite one.
    pub(super) fn allows(self, old: Option<UnixMs>, new: UnixMs) -> bool {
        let refused = (self.without && old.is_some())
            || (self.with && old.is_none())
            || (self.later && old.is_none_or(|old| new <= old))
            || (self.earlier && old.is_some_and(|old| new >= old));
        !refused
    }
}

fn expire_by(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    scale: i64,
    base: UnixMs,
) -> Result<(), CommandError> {
    let (key, number) = (args.key()?, args.bytes()?);
    let only = Only::parse(args)?;
    let number = num::parse_i64(number).ok_or(CommandError::NotInteger)?;
    let at = number
        .checked_mul(scale)
        .and_then(|ms| ms.checked_add(base))
        .ok_or(CommandError::InvalidExpire(&ctx.command.full_name))?;
    let Some(entry) = ctx.write(key) else {
        ctx.reply().int(0);
        return Ok(());
    };
    if !only.allows(entry.expire_at(), at) {
        ctx.reply().int(0);
        return Ok(());
    }
    if ctx.is_past(at) {
        delete_past(ctx, key);
    } else if args.count() == 3 {
        set_deadline(ctx, key, at, &[]);
    } else {
        let options: Vec<&[u8]> = args.iter().skip(3).collect();
        set_deadline(ctx, key, at, &options);
    }
    ctx.reply().int(1);
    Ok(())
}

/// TTL key. Reply: seconds left, rounded; -1 without a deadline, -2 without a key. O(1).
fn ttl(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let now = ctx.now();
    look(ctx, args, |at| (at.saturating_sub(now).max(0) + 500) / 1000)
}

/// PTTL key. Reply: milliseconds left. As TTL.
fn pttl(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let now = ctx.now();
    look(ctx, args, |at| at.saturating_sub(now).max(0))
}

/// EXPIRETIME key. Reply: the deadline in Unix seconds, rounded. As TTL.
fn expiretime(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    look(ctx, args, |at| at / 1000 + i64::from(at % 1000 >= 500))
}

/// PEXPIRETIME key. Reply: the deadline in Unix milliseconds. As TTL.
fn pexpiretime(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    look(ctx, args, |at| at)
}

fn look(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    show: impl Fn(UnixMs) -> i64,
) -> Result<(), CommandError> {
    let key = args.key()?;
    let shown = match ctx.peek(key).map(|entry| entry.expire_at()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => show(at),
    };
    ctx.reply().int(shown);
    Ok(())
}

/// PERSIST key. Reply: 1 when a deadline was taken off, else 0. O(1).
fn persist(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let has_deadline = ctx
        .write(key)
        .is_some_and(|entry| entry.expire_at().is_some());
    if has_deadline {
        ctx.engine.keyspace.set_expire(ctx.client.db, key, None);
        ctx.changed(key.bytes, EventClass::Generic, "persist");
    }
    ctx.reply().int(i64::from(has_deadline));
    Ok(())
}
