//! MIGRATE: moves keys to another server. What happens after the command is in `engine/migrate.rs`.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::base::num;
use crate::engine::{Asker, Blocked, ClientFlags, Move};

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("migrate", -6, migrate)
    .flags(WRITE | MOVABLE_KEYS | ALONE)
    .categories(CAT_KEYSPACE | CAT_DANGEROUS)
    .secrets(Secrets::Behind(6, &[("auth", 1), ("auth2", 2)]))
    .keys(&[
        KeySpec::range(3, 0, 1, RW | ACCESS | DELETE),
        KeySpec {
            begin: Begin::Keyword("KEYS", -2),
            find: Find::Range {
                last: -1,
                step: 1,
                limit: 0,
            },
            flags: RW | ACCESS | DELETE | INCOMPLETE,
            notes: "",
        },
    ])
    .doc(
        Group::Generic,
        "2.6.0",
        "O(N) where N is the size of the values: as DUMP and DEL here, and RESTORE there",
        "Moves keys to another server.",
    )
    .syntax(
        "host port <key | \"\"{=empty-string}>{=key-selector} destination-db timeout \
                 [COPY{@3.0.0}] [REPLACE{@3.0.0}] [AUTH password{=auth @4.0.7} | AUTH2 <username \
                 password>{=auth2 @6.0.0}]{=authentication} [KEYS key{=keys @3.0.6} [key ...]]",
    )
    .history(&[
        ("3.0.0", "Added the `COPY` and `REPLACE` options."),
        ("3.0.6", "Added the `KEYS` option."),
        ("4.0.7", "Added the `AUTH` option."),
        ("6.0.0", "Added the `AUTH2` option."),
    ])
    .tips(&["nondeterministic_output"])];

/// Without a timeout, or with one that is not positive.
const TIMEOUT_MS: u64 = 1000;

#[derive(Default)]
struct Options<'a> {
    copy: bool,
    replace: bool,
    auth: Vec<&'a [u8]>,
    /// Where the keys stand, instead of the one.
    keys: Option<usize>,
}

impl<'a> Options<'a> {
    fn parse(args: &mut Args<'a>, key: &[u8]) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        while !args.is_empty() {
            if args.take("copy") {
                options.copy = true;
            } else if args.take("replace") {
                options.replace = true;
            } else if args.take("auth") {
                options.auth = vec![args.bytes()?];
            } else if args.take("auth2") {
                options.auth = vec![args.bytes()?, args.bytes()?];
            } else if args.take("keys") {
                if !key.is_empty() {
                    return Err(CommandError::text(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                options.keys = Some(args.position());
                break;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// Where the keys of a call stand; none if that cannot be told.
pub fn keys(argc: usize, argument: impl Fn(usize) -> Vec<u8>) -> Option<std::ops::Range<usize>> {
    let mut at = 6;
    while at < argc {
        let word = argument(at).to_ascii_lowercase();
        match word.as_slice() {
            b"auth" => at += 1,
            b"auth2" => at += 2,
            b"keys" => return argument(3).is_empty().then_some(at + 1..argc),
            _ => {}
        }
        at += 1;
    }
    Some(3..4)
}

/// MIGRATE host port key|"" destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password]
/// [KEYS key [key ...]]
/// Reply: OK, or NOKEY when none of the keys is there. Errors: syntax error, not an integer, IOERR when the target
/// cannot be reached or is silent for longer than the timeout, what the target answered.
/// Propagates: DEL of the keys that the target has acknowledged; nothing with COPY. O(bytes of the values).
fn migrate(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (host, port) = (args.bytes()?, args.bytes()?);
    let only = args.key_at(args.position());
    args.skip(1);
    let (target_db, timeout) = (args.bytes()?, args.bytes()?);
    let options = Options::parse(args, only.bytes)?;
    let timeout_ms = num::parse_i64(timeout).ok_or(CommandError::NotInteger)?;
    let target_db = num::parse_i64(target_db).ok_or(CommandError::NotInteger)?;
    let named = match options.keys {
        Some(first) => first..args.count(),
        None => 3..4,
    };
    let mut keys: Vec<Box<[u8]>> = Vec::new();
    for at in named {
        let key = args.key_at(at);
        if ctx.read(key).is_some() {
            keys.push(key.bytes.into());
        }
    }
    if keys.is_empty() {
        ctx.reply().simple("NOKEY");
        return Ok(());
    }
    if ctx.client.is(ClientFlags::IN_EXEC) || ctx.client.must_obey() {
        return Err(CommandError::text(
            "ERR MIGRATE has to wait for its target, which is not allowed here",
        ));
    }
    let request = Move {
        host: String::from_utf8_lossy(host).into_owned(),
        port: num::parse_i64(port)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(0),
        target_db,
        db: ctx.client.db,
        timeout_ms: u64::try_from(timeout_ms)
            .ok()
            .filter(|&timeout_ms| timeout_ms > 0)
            .unwrap_or(TIMEOUT_MS),
        copy: options.copy,
        replace: options.replace,
        auth: options.auth.into_iter().map(<[u8]>::to_vec).collect(),
        keys,
    };
    let asker = Asker {
        link: ctx.client.link,
        id: ctx.client.id,
        command: ctx.command.id,
    };
    ctx.engine.migrate(asker, request);
    ctx.client.blocked = Some(Blocked::Migrate);
    ctx.client.flags.insert(ClientFlags::BLOCKED);
    Ok(())
}
