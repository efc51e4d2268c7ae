//! DUMP and RESTORE: a value as a portable payload.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::base::num;
use crate::engine::EventClass;
use crate::keyspace::{Key, Ttl};
use crate::rdb::payload::{self, PayloadError, Restored};
use crate::types::{ValueRef, access};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("dump", 2, dump)
        .flags(READONLY)
        .categories(CAT_KEYSPACE)
        .keys(&[KeySpec::first(RO | ACCESS)])
        .doc(
            Group::Generic,
            "2.6.0",
            "O(N) where N is the size of the value",
            "Returns the value of a key as a payload for RESTORE.",
        )
        .syntax("key")
        .tips(&["nondeterministic_output"]),
    RESTORE,
    RESTORE
        .named("restore-asking", restore)
        .flags(WRITE | DENYOOM | ASKING | SYSCMD)
        .doc(
            Group::Server,
            "3.0.0",
            "O(N) where N is the size of the value",
            "As RESTORE, for MIGRATE between servers of a cluster.",
        ),
];

const RESTORE: Command = Command::new("restore", -4, restore)
    .flags(WRITE | DENYOOM)
    .categories(CAT_KEYSPACE | CAT_DANGEROUS)
    .keys(&[KeySpec::first(OW | UPDATE)])
    .doc(
        Group::Generic,
        "2.6.0",
        "O(N) where N is the size of the value",
        "Creates a key from a payload of DUMP.",
    )
    .syntax(
        "key ttl serialized-value [REPLACE{@3.0.0}] [ABSTTL{@5.0.0}] [IDLETIME seconds{@5.0.0}] \
                 [FREQ frequency{@5.0.0}]",
    )
    .history(&[
        ("3.0.0", "Added the `REPLACE` modifier."),
        ("5.0.0", "Added the `ABSTTL` modifier."),
        ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
    ]);

/// DUMP key. Reply: the payload as a bulk string, or null. O(bytes of the value).
fn dump(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let compression = ctx.engine.config.rdbcompression;
    let Some(entry) = ctx.engine.read(ctx.client, key) else {
        ctx.client.reply.null();
        return Ok(());
    };
    let payload = payload::dump(ValueRef::of(entry), compression);
    ctx.client.reply.bulk(&payload);
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<i64>,
    frequency: Option<i64>,
}

impl Options {
    fn parse(args: &mut Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options::default();
        while !args.is_empty() {
            if args.take("replace") {
                options.replace = true;
            } else if args.take("absttl") {
                options.absolute = true;
            } else if args.left() >= 2 && options.frequency.is_none() && args.take("idletime") {
                let seconds = args.int()?;
                if seconds < 0 {
                    return Err(CommandError::text(
                        "ERR Invalid IDLETIME value, must be >= 0",
                    ));
                }
                options.idle_seconds = Some(seconds);
            } else if args.left() >= 2 && options.idle_seconds.is_none() && args.take("freq") {
                let frequency = args.int()?;
                if !(0..=255).contains(&frequency) {
                    return Err(CommandError::text(
                        "ERR Invalid FREQ value, must be >= 0 and <= 255",
                    ));
                }
                options.frequency = Some(frequency);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
/// Reply: OK. Errors: syntax error, BUSYKEY, invalid TTL, wrong version or checksum, bad data format.
/// Propagates: itself with an absolute TTL and ABSTTL; when it replaced a key and the TTL is past DEL, or UNLINK with
/// lazyfree-lazy-server-del.
/// O(bytes of the value).
fn restore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, ttl, serialized) = (args.key()?, args.bytes()?, args.bytes()?);
    let options = Options::parse(args)?;
    let exists = ctx.write(key).is_some();
    if exists && !options.replace {
        return Err(CommandError::text(
            "BUSYKEY Target key name already exists.",
        ));
    }
    let ttl = num::parse_i64(ttl).ok_or(CommandError::NotInteger)?;
    if ttl < 0 {
        return Err(CommandError::text("ERR Invalid TTL value, must be >= 0"));
    }
    let encodings = ctx.engine.encodings();
    let checksum = !ctx.engine.skips_checksums;
    let keyspace = &mut ctx.engine.keyspace;
    let made = payload::restore(serialized, keyspace, key, &encodings, checksum);
    let value = made.map_err(|error| match error {
        PayloadError::Footer => {
            CommandError::text("ERR DUMP payload version or checksum are wrong")
        }
        PayloadError::Value(kind) => {
            log::warn!("RESTORE refused a payload: {kind}");
            CommandError::text("ERR Bad data format")
        }
    })?;
    let at = match ttl {
        0 => None,
        ttl if options.absolute => Some(ttl),
        ttl => Some(ttl.saturating_add(ctx.now())),
    };
    if at.is_some_and(|at| ctx.is_past(at)) {
        let keyspace = &mut ctx.engine.keyspace;
        keyspace.remove(keyspace.workshop(), key);
        if exists {
            expire::delete(ctx, key, ctx.engine.config.lazyfree_lazy_server_del);
        }
        ctx.reply().ok();
        return Ok(());
    }
    let (db, ttl) = (ctx.client.db, at.map_or(Ttl::None, Ttl::At));
    let keyspace = &mut ctx.engine.keyspace;
    match value {
        Restored::Int(number) => drop(keyspace.set_int(db, key, number, ttl)),
        Restored::String(bytes) => drop(keyspace.set_string(db, key, &bytes, ttl)),
        Restored::Made => {
            keyspace.rename(keyspace.workshop(), key, db, key);
            keyspace.set_expire(db, key, at);
        }
    }
    ctx.created(db, key.bytes);
    set_access(ctx, key, &options);
    ctx.changed(key.bytes, EventClass::Generic, "restore");
    if let Some(at) = at.filter(|_| !options.absolute) {
        let mut digits = itoa::Buffer::new();
        let mut argv: Vec<&[u8]> = args.iter().collect();
        argv[2] = digits.format(at).as_bytes();
        argv.push(b"ABSTTL");
        ctx.replicate_as(&argv);
    }
    ctx.reply().ok();
    Ok(())
}

/// Sets the access word from IDLETIME or FREQ, if it is the one that maxmemory-policy uses.
fn set_access(ctx: &Context<'_>, key: Key<'_>, options: &Options) {
    let (engine, now) = (&ctx.engine, ctx.now());
    let word = if engine.config.maxmemory_policy.is_lfu() {
        options
            .frequency
            .map(|frequency| access::lfu_word(frequency as u8, now))
    } else {
        options
            .idle_seconds
            .map(|seconds| access::lru_word_of_idle(seconds as u64, now))
    };
    if let (Some(word), Some(entry)) = (word, engine.keyspace.find(ctx.client.db, key)) {
        entry.set_access(word);
    }
}
