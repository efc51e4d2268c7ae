//! PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET. CLIENT is in `client.rs`.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::base::num;
use crate::engine::ClientFlags;
use crate::resp::reply::Protocol;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("ping", -1, ping)
        .flags(FAST | WHEN_SUBSCRIBED)
        .categories(CAT_CONNECTION)
        .doc(Group::Connection, "1.0.0", "O(1)", "Returns the server's liveliness response.")
        .syntax("[message]")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Command::new("echo", 2, echo)
        .flags(LOADING | STALE | FAST)
        .categories(CAT_CONNECTION)
        .doc(Group::Connection, "1.0.0", "O(1)", "Returns the given string.")
        .syntax("message"),
    Command::new("auth", -2, auth)
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
        .categories(CAT_CONNECTION)
        .doc(Group::Connection, "1.0.0", "O(N) where N is the number of passwords defined for the user", "Authenticates the connection.")
        .secrets(Secrets::From(1))
        .syntax("[username{@6.0.0}] password")
        .history(&[("6.0.0", "Added ACL style (username and password).")]),
    Command::new("hello", -1, hello)
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY)
        .categories(CAT_CONNECTION)
        .doc(Group::Connection, "6.0.0", "O(1)", "Handshakes with the Redis server.")
        .secrets(Secrets::Behind(2, &[("auth", 2)]))
        .syntax("[protover [AUTH <username password>{=auth}] [SETNAME clientname]]{=arguments}")
        .history(&[("6.2.0", "`protover` made optional; when called without arguments the command reports the current connection's context.")]),
    Command::new("select", 2, select)
        .flags(LOADING | STALE | FAST)
        .categories(CAT_CONNECTION)
        .doc(Group::Connection, "1.0.0", "O(1)", "Changes the selected database.")
        .syntax("index"),
    Command::new("quit", -1, quit)
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY | RUNS_IN_MULTI | WHEN_SUBSCRIBED)
        .categories(CAT_CONNECTION)
        .doc(Group::Connection, "1.0.0", "O(1)", "Closes the connection.")
        .deprecated("7.2.0", "just closing the connection"),
    Command::new("reset", 1, reset)
        .flags(NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY | RUNS_IN_MULTI | WHEN_SUBSCRIBED)
        .categories(CAT_CONNECTION)
        .doc(Group::Connection, "6.2.0", "O(1)", "Resets the connection."),
];

/// PING [message]. Reply: PONG, or the message as a bulk string; in RESP2's subscribed mode an array of `pong` and the
/// message. O(1).
fn ping(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.count() > 2 {
        return Err(ctx.wrong_arity());
    }
    if ctx.client.is_in_subscribed_mode() {
        let reply = ctx.reply();
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(args.peek().unwrap_or_default());
        return Ok(());
    }
    match args.peek() {
        None => ctx.reply().simple("PONG"),
        Some(message) => ctx.reply().bulk(message),
    }
    Ok(())
}

/// ECHO message. Reply: the message. O(1).
fn echo(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let message = args.bytes()?;
    ctx.reply().bulk(message);
    Ok(())
}

const WRONG_PASSWORD: CommandError =
    CommandError::text("WRONGPASS invalid username-password pair or user is disabled.");

/// Compares without telling by its time where the first difference is.
fn same_secret(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = given.len() ^ secret.len();
    for (index, byte) in given.iter().enumerate() {
        let other = secret
            .get(index % secret.len().max(1))
            .copied()
            .unwrap_or(0);
        difference |= usize::from(byte ^ other);
    }
    difference == 0
}

fn log_in(ctx: &mut Context<'_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let ok = user == b"default"
        && ctx
            .engine
            .config
            .requirepass
            .get()
            .is_none_or(|secret| same_secret(password, secret));
    if !ok {
        ctx.engine.stats.acl_access_denied_auth += 1;
        return Err(WRONG_PASSWORD);
    }
    ctx.client.flags.insert(ClientFlags::AUTHENTICATED);
    Ok(())
}

/// AUTH [username] password. Reply: OK. Errors: WRONGPASS, no password set.
fn auth(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.count() > 3 {
        return Err(CommandError::Syntax);
    }
    if args.count() == 2 {
        if ctx.engine.config.requirepass.get().is_none() {
            return Err(CommandError::text(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        let password = args.bytes()?;
        log_in(ctx, b"default", password)?;
    } else {
        let (user, password) = (args.bytes()?, args.bytes()?);
        log_in(ctx, user, password)?;
    }
    ctx.reply().ok();
    Ok(())
}

/// HELLO [protover [AUTH username password] [SETNAME clientname]]
/// Reply: a map of the server's properties. Errors: NOPROTO, NOAUTH, WRONGPASS, syntax error.
fn hello(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut protocol = None;
    if let Some(version) = args.peek() {
        args.bytes()?;
        let version = num::parse_i64(version).ok_or(CommandError::text(
            "ERR Protocol version is not an integer or out of range",
        ))?;
        protocol = Some(match version {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(CommandError::text("NOPROTO unsupported protocol version")),
        });
    }
    let (mut login, mut name) = (None, None);
    while let Some(option) = args.peek() {
        let left = args.left();
        if left >= 3 && args.take("auth") {
            login = Some((args.bytes()?, args.bytes()?));
        } else if left >= 2 && args.take("setname") {
            let given = args.bytes()?;
            super::client::check_name(given)?;
            name = Some(given);
        } else {
            return Err(CommandError::echoing(
                "ERR Syntax error in HELLO option '",
                option,
                "'",
            ));
        }
    }
    if let Some((user, password)) = login {
        log_in(ctx, user, password)?;
    }
    if !ctx.client.is(ClientFlags::AUTHENTICATED) {
        return Err(CommandError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
             the same time",
        ));
    }
    if let Some(name) = name {
        ctx.client.name = name.to_vec();
    }
    if let Some(protocol) = protocol {
        ctx.reply().set_protocol(protocol);
    }
    let role = if ctx.engine.is_replica() {
        "replica"
    } else {
        "master"
    };
    let (id, version) = (
        ctx.client.id as i64,
        if ctx.reply().is_resp3() { 3 } else { 2 },
    );
    let reply = ctx.reply();
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(crate::config::REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(version);
    reply.bulk(b"id");
    reply.int(id);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// SELECT index. Reply: OK. Errors: invalid DB index, DB index is out of range.
fn select(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let index = args.int32()?;
    ctx.client.db = database(ctx.engine.keyspace.count(), index)?;
    ctx.reply().ok();
    Ok(())
}

/// A database number as an index below `count`.
pub fn database(count: usize, index: i64) -> Result<usize, CommandError> {
    usize::try_from(index)
        .ok()
        .filter(|&index| index < count)
        .ok_or(CommandError::DbIndex)
}

/// QUIT. Reply: OK, then the connection is closed.
fn quit(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply().ok();
    ctx.client.flags.insert(ClientFlags::CLOSE_AFTER_REPLY);
    Ok(())
}

/// RESET. Reply: RESET. The connection is as if it were new.
fn reset(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    if ctx.client.is(ClientFlags::REPLICA | ClientFlags::MASTER) {
        return Err(CommandError::text(
            "ERR can only reset normal client connections",
        ));
    }
    ctx.client.leave_multi();
    ctx.engine.watched.unwatch_all(ctx.client.link);
    let link = ctx.client.link;
    ctx.engine.monitors.retain(|&other| other != link);
    ctx.engine.pubsub.leave(link);
    let client = &mut *ctx.client;
    client.flags.remove(
        ClientFlags::MONITOR
            | ClientFlags::REPLY_OFF
            | ClientFlags::REPLY_SKIP_NEXT
            | ClientFlags::NO_EVICT
            | ClientFlags::NO_TOUCH
            | ClientFlags::PUBSUB,
    );
    client.db = 0;
    client.name.clear();
    client.reply.set_protocol(Protocol::Resp2);
    client.flags.set(
        ClientFlags::AUTHENTICATED,
        ctx.engine.config.requirepass.get().is_none(),
    );
    ctx.reply().simple("RESET");
    Ok(())
}
