//! Digests of strings, and what is done on the condition of a value or its digest: DIGEST, DELEX. SET has the same
//! conditions. Rows are in `string.rs`.
//! Source: Redis 8.4 as its documentation and its tests describe it.

use super::string::{Condition, string_of};
use super::*;
use crate::engine::EventClass;
use crate::types::StringRef;

/// A digest as DIGEST answers it.
fn hex(string: StringRef<'_>) -> String {
    format!("{:016x}", string.digest())
}

/// Whether a string has this digest, in hexadecimal digits of any case.
pub(super) fn has_digest(string: StringRef<'_>, digest: &[u8]) -> bool {
    hex(string).as_bytes().eq_ignore_ascii_case(digest)
}

/// DIGEST key. Reply: the XXH3 hash of the string, 16 hexadecimal digits, or null. Errors: WRONGTYPE. O(bytes).
pub(super) fn digest(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    match ctx.read(key) {
        Some(entry) => {
            let digest = hex(string_of(entry)?);
            ctx.reply().bulk(digest.as_bytes());
        }
        None => ctx.reply().null(),
    }
    Ok(())
}

/// DELEX key [IFEQ value | IFNE value | IFDEQ digest | IFDNE digest]. Reply: 1 when the key was deleted, 0 when it is
/// absent or the condition does not hold. Without a condition keys of any type. Errors, only where there is a key:
/// wrong number of arguments, not a string, invalid condition. Propagates: DEL. O(1), of a digest O(bytes).
pub(super) fn delex(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let wrong_arity = ctx.wrong_arity();
    let Some(entry) = ctx.write(key) else {
        ctx.reply().int(0);
        return Ok(());
    };
    let holds = match args.left() {
        0 => true,
        2 => {
            string_of(entry).map_err(|_| {
                CommandError::text("ERR Key should be of string type if conditions are specified")
            })?;
            match Condition::take(args)? {
                Some(Condition::Absent | Condition::Present | Condition::Always) | None => {
                    return Err(CommandError::text(
                        "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
                    ));
                }
                Some(condition) => condition.holds(Some(entry))?,
            }
        }
        _ => return Err(wrong_arity),
    };
    if holds {
        ctx.engine.keyspace.remove(ctx.client.db, key);
        ctx.changed(key.bytes, EventClass::Generic, "del");
        ctx.replicate_as(&[b"DEL", key.bytes]);
    }
    ctx.reply().int(holds.into());
    Ok(())
}
