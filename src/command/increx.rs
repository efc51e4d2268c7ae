//! INCREX: an increment within bounds, and a deadline, in one step. Its row is in `string.rs`.
//! Source: Redis 8.8 as its documentation describes it.

use super::expire::{self, Deadline};
use super::string::string_of;
use super::*;
use crate::base::long_double::LongDouble;
use crate::base::num;
use crate::base::time::UnixMs;
use crate::engine::EventClass;
use crate::keyspace::{Key, Ttl};

/// By how much: what follows BYINT or BYFLOAT.
#[derive(Clone, Copy)]
enum Increment {
    Int(i64),
    Float(LongDouble),
}

struct Options<'a> {
    increment: Increment,
    lower: Option<&'a [u8]>,
    upper: Option<&'a [u8]>,
    saturate: bool,
    deadline: Option<Deadline<'a>>,
    persist: bool,
    /// Only a key without a deadline gets one.
    only_new: bool,
}

impl<'a> Options<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Options<'a>, CommandError> {
        let mut increment = None;
        let mut options = Options {
            increment: Increment::Int(1),
            lower: None,
            upper: None,
            saturate: false,
            deadline: None,
            persist: false,
            only_new: false,
        };
        while !args.is_empty() {
            if increment.is_none() && args.take("byint") {
                increment = Some(Increment::Int(int("Increment", args.bytes()?)?));
            } else if increment.is_none() && args.take("byfloat") {
                increment = Some(Increment::Float(float("Increment", args.bytes()?)?));
            } else if options.lower.is_none() && args.take("lbound") {
                options.lower = Some(args.bytes()?);
            } else if options.upper.is_none() && args.take("ubound") {
                options.upper = Some(args.bytes()?);
            } else if !options.saturate && args.take("saturate") {
                options.saturate = true;
            } else if !options.only_new && args.take("enx") {
                options.only_new = true;
            } else if !options.persist && options.deadline.is_none() && args.take("persist") {
                options.persist = true;
            } else if !options.persist {
                Deadline::take(args, &mut options.deadline)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.only_new && options.persist {
            return Err(CommandError::Syntax);
        }
        if options.only_new && options.deadline.is_none() {
            return Err(CommandError::text("ERR ENX flag requires an expiration"));
        }
        options.increment = increment.unwrap_or(options.increment);
        Ok(options)
    }
}

const BOUNDS_CROSS: CommandError = CommandError::text("ERR LBOUND can't be greater than UBOUND");
const NOT_FINITE: CommandError = CommandError::text("ERR increment would produce NaN or Infinity");

/// An integer that `name` says. Errors: it is none.
fn int(name: &str, text: &[u8]) -> Result<i64, CommandError> {
    let error = || format!("ERR {name} is not an integer or out of range");
    num::parse_i64(text).ok_or_else(|| CommandError::Text(error().into()))
}

/// A number that `name` says. Errors: it is none.
fn float(name: &str, text: &[u8]) -> Result<LongDouble, CommandError> {
    let error = || format!("ERR {name} is not a valid float");
    LongDouble::parse(text).ok_or_else(|| CommandError::Text(error().into()))
}

/// What an increment comes to.
struct Outcome<T> {
    value: T,
    /// What was added; 0 when the bounds forbade it.
    added: T,
    /// Whether it is to be stored.
    stored: bool,
}

/// INCREX key [BYFLOAT increment | BYINT increment] [LBOUND lowerbound] [UBOUND upperbound] [SATURATE]
///   [EX s | PX ms | EXAT unix-s | PXAT unix-ms | PERSIST] [ENX]
/// Reply: the new value and what was added; the old one and 0, and nothing changed, when the result would be out of
/// bounds, unless SATURATE puts it on the bound. Of BYFLOAT bulk strings, doubles in RESP3. Errors: syntax error, not an
/// integer, not a valid float, invalid expire, bounds that cross, overflow of what is added, NaN or Infinity, WRONGTYPE.
/// Propagates: SET key value with PXAT or KEEPTTL, or DEL when the deadline is past. O(1).
pub(super) fn increx(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let options = Options::parse(args)?;
    let at = match options.deadline {
        Some(deadline) => Some(deadline.at(ctx)?),
        None => None,
    };
    match options.increment {
        Increment::Int(by) => {
            let outcome = add_int(ctx, key, by, &options)?;
            let ttl = ttl_after(ctx, key, &options, at);
            if outcome.stored && !ends(ctx, key, ttl) {
                let mut digits = itoa::Buffer::new();
                let text = digits.format(outcome.value).as_bytes();
                let db = ctx.client.db;
                let is_new = ctx.engine.keyspace.set_int(db, key, outcome.value, ttl);
                report(ctx, key, text, &options, ttl, is_new);
            }
            let reply = ctx.reply();
            reply.array(2);
            reply.int(outcome.value);
            reply.int(outcome.added);
        }
        Increment::Float(by) => {
            let outcome = add_float(ctx, key, by, &options)?;
            let (mut value, mut added) = (Vec::new(), Vec::new());
            outcome.value.push(&mut value);
            outcome.added.push(&mut added);
            let ttl = ttl_after(ctx, key, &options, at);
            if outcome.stored && !ends(ctx, key, ttl) {
                let db = ctx.client.db;
                let is_new = ctx.engine.keyspace.set_text(db, key, &value, ttl);
                report(ctx, key, &value, &options, ttl, is_new);
            }
            let reply = ctx.reply();
            reply.array(2);
            reply.double_text(&value);
            reply.double_text(&added);
        }
    }
    Ok(())
}

fn add_int(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    by: i64,
    options: &Options<'_>,
) -> Result<Outcome<i64>, CommandError> {
    let bound = |name, text: Option<&[u8]>, default| match text {
        Some(text) => int(name, text),
        None => Ok(default),
    };
    let lower = bound("LBOUND", options.lower, i64::MIN)?;
    let upper = bound("UBOUND", options.upper, i64::MAX)?;
    if lower > upper {
        return Err(BOUNDS_CROSS);
    }
    let old = match ctx.write(key) {
        Some(entry) => string_of(entry)?.as_int().ok_or(CommandError::NotInteger)?,
        None => 0,
    };
    let sum = i128::from(old) + i128::from(by);
    let within = sum.clamp(lower.into(), upper.into());
    if sum != within && !options.saturate {
        return Ok(Outcome {
            value: old,
            added: 0,
            stored: false,
        });
    }
    let added = i64::try_from(within - i128::from(old)).map_err(|_| CommandError::Overflow)?;
    Ok(Outcome {
        value: within as i64,
        added,
        stored: true,
    })
}

fn add_float(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    by: LongDouble,
    options: &Options<'_>,
) -> Result<Outcome<LongDouble>, CommandError> {
    let bound = |name, text: Option<&[u8]>, default| match text {
        Some(text) => float(name, text),
        None => Ok(default),
    };
    let lower = bound("LBOUND", options.lower, -LongDouble::MAX)?;
    let upper = bound("UBOUND", options.upper, LongDouble::MAX)?;
    if upper.is_below(lower) {
        return Err(BOUNDS_CROSS);
    }
    let mut scratch = Vec::new();
    let old = match ctx.write(key) {
        Some(entry) => LongDouble::parse(string_of(entry)?.as_bytes(&mut scratch)),
        None => Some(LongDouble::from_i64(0)),
    };
    let old = old.ok_or(CommandError::NotFloat)?;
    if !old.is_finite() || !by.is_finite() {
        return Err(NOT_FINITE);
    }
    let sum = old + by;
    let bound = match () {
        () if sum.is_below(lower) => lower,
        () if upper.is_below(sum) => upper,
        () => {
            return Ok(Outcome {
                value: sum,
                added: by,
                stored: true,
            });
        }
    };
    if !options.saturate {
        return Ok(Outcome {
            value: old,
            added: LongDouble::from_i64(0),
            stored: false,
        });
    }
    let added = bound + -old;
    if !bound.is_finite() || !added.is_finite() {
        return Err(NOT_FINITE);
    }
    Ok(Outcome {
        value: bound,
        added,
        stored: true,
    })
}

/// The deadline that the key will have.
fn ttl_after(ctx: &Context<'_>, key: Key<'_>, options: &Options<'_>, at: Option<UnixMs>) -> Ttl {
    let entry = ctx.engine.keyspace.find(ctx.client.db, key);
    let has_deadline = entry.is_some_and(|entry| entry.expire_at().is_some());
    match at {
        _ if options.persist => Ttl::None,
        Some(at) if !(options.only_new && has_deadline) => Ttl::At(at),
        Some(_) | None => Ttl::Keep,
    }
}

/// Whether the key ends by a deadline that is past, instead of getting the new value.
fn ends(ctx: &mut Context<'_>, key: Key<'_>, ttl: Ttl) -> bool {
    let ends = matches!(ttl, Ttl::At(at) if ctx.is_past(at));
    if ends && ctx.write(key).is_some() {
        expire::delete_past(ctx, key);
    }
    ends
}

/// After the new value was stored with this deadline.
fn report(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    text: &[u8],
    options: &Options<'_>,
    ttl: Ttl,
    is_new: bool,
) {
    let db = ctx.client.db;
    if is_new {
        ctx.created(db, key.bytes);
    }
    let event = match options.increment {
        Increment::Int(_) => "incrby",
        Increment::Float(_) => "incrbyfloat",
    };
    ctx.changed(key.bytes, EventClass::String, event);
    match ttl {
        Ttl::At(at) => {
            ctx.engine
                .notify(EventClass::Generic, "expire", key.bytes, db);
            let mut digits = itoa::Buffer::new();
            let at = digits.format(at).as_bytes();
            ctx.replicate_as(&[b"SET", key.bytes, text, b"PXAT", at]);
        }
        Ttl::None => {
            ctx.engine
                .notify(EventClass::Generic, "persist", key.bytes, db);
            ctx.replicate_as(&[b"SET", key.bytes, text]);
        }
        Ttl::Keep => {
            ctx.replicate_as(&[b"SET", key.bytes, text, b"KEEPTTL"]);
        }
    }
}
