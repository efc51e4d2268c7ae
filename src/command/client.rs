//! CLIENT and its subcommands.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::*;
use crate::base::num;
use crate::engine::{Blocked, Client, ClientFlags, LinkId, PauseCause, PauseKind};

const CLIENT_FLAGS: u32 = NOSCRIPT | LOADING | STALE;
const ADMIN_FLAGS: u32 = CLIENT_FLAGS | ADMIN;

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("client", -2, container)
    .doc(Group::Connection, "2.4.0", "Depends on subcommand.", "A container for client connection commands.")
    .subcommands(&[
        Command::new("caching", 3, caching)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "6.0.0", "O(1)", "Tells the server whether to track the keys of the next request.")
            .syntax("<YES | NO>{=mode}"),
        Command::new("getname", 2, getname)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "2.6.9", "O(1)", "Returns the name of the connection."),
        Command::new("getredir", 2, getredir)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "6.0.0", "O(1)", "Returns the client that tracking messages are redirected to."),
        Command::new("help", 2, help)
            .flags(LOADING | STALE)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "5.0.0", "O(1)", "Returns helpful text about the different subcommands."),
        Command::new("id", 2, id)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "5.0.0", "O(1)", "Returns the unique client ID of the connection."),
        Command::new("info", 2, info)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "6.2.0", "O(1)", "Returns information about the connection.")
            .tips(&["nondeterministic_output"]),
        Command::new("kill", -3, kill)
            .flags(ADMIN_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Connection,
                "2.4.0",
                "O(N) where N is the number of client connections",
                "Terminates open connections.",
            )
            .syntax("<ip:port{=old-format -2.8.12} | <[ID client-id{@2.8.12}] | [TYPE <NORMAL | \
                 MASTER{@3.2.0} | SLAVE | REPLICA{@5.0.0} | PUBSUB>{=client-type @2.8.12}] | [USER \
                 username] | [ADDR ip:port{=addr}] | [LADDR ip:port{=laddr @6.2.0}] | [SKIPME <YES | \
                 NO>{=skipme}] | [MAXAGE maxage{@7.4.0}]>{=new-format} ...>{=filter}")
            .history(&[
                ("2.8.12", "Added new filter format."),
                ("2.8.12", "`ID` option."),
                ("3.2.0", "Added `master` type in for `TYPE` option."),
                ("5.0.0", "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility."),
                ("6.2.0", "`LADDR` option."),
                ("7.4.0", "`MAXAGE` option."),
            ]),
        Command::new("list", -2, list)
            .flags(ADMIN_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Connection,
                "2.4.0",
                "O(N) where N is the number of client connections",
                "Lists open connections.",
            )
            .syntax("[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>{=client-type @5.0.0}] [ID client-id{@6.2.0} \
                 [client-id ...]]")
            .history(&[
                ("2.8.12", "Added unique client `id` field."),
                ("5.0.0", "Added optional `TYPE` filter."),
                ("6.0.0", "Added `user` field."),
                ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."),
                ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
                ("7.0.3", "Added `ssub` field."),
                ("7.2.0", "Added `lib-name` and `lib-ver` fields."),
                ("7.4.0", "Added `watch` field."),
                ("8.0.0", "Added `io-thread` field."),
            ])
            .tips(&["nondeterministic_output"]),
        Command::new("no-evict", 3, no_evict)
            .flags(ADMIN_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "7.0.0", "O(1)", "Sets the client eviction mode of the connection.")
            .syntax("<ON | OFF>{=enabled}"),
        Command::new("no-touch", 3, no_touch)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "7.2.0", "O(1)", "Controls whether commands of the client affect LRU/LFU of keys.")
            .syntax("<ON | OFF>{=enabled}"),
        Command::new("pause", -3, pause)
            .flags(ADMIN_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "3.0.0", "O(1)", "Suspends commands processing.")
            .syntax("timeout [WRITE | ALL]{=mode @6.2.0}")
            .history(&[("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option.")]),
        Command::new("reply", 3, reply)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "3.2.0", "O(1)", "Instructs the server whether to reply to commands.")
            .syntax("<ON | OFF | SKIP>{=action}"),
        Command::new("setinfo", 4, setinfo)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "7.2.0", "O(1)", "Sets information specific to the client or connection.")
            .syntax("<LIB-NAME libname | LIB-VER libver>{=attr}")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        Command::new("setname", 3, setname)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(Group::Connection, "2.6.9", "O(1)", "Sets the connection name.")
            .syntax("connection-name")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        Command::new("trackinginfo", 2, trackinginfo)
            .flags(CLIENT_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Connection,
                "6.2.0",
                "O(1)",
                "Returns information about server-assisted client-side caching for the connection.",
            ),
        Command::new("unblock", -3, unblock)
            .flags(ADMIN_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Connection,
                "5.0.0",
                "O(log N) where N is the number of client connections",
                "Unblocks a client blocked by a blocking command from a different connection.",
            )
            .syntax("client-id [TIMEOUT | ERROR]{=unblock-type}"),
        Command::new("unpause", 2, unpause)
            .flags(ADMIN_FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Connection,
                "6.2.0",
                "O(N) Where N is the number of paused clients",
                "Resumes processing commands from paused clients.",
            ),
    ])];

/// Errs unless a client name is printable without spaces.
pub fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if is_plain(name) {
        return Ok(());
    }
    Err(CommandError::text(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// CLIENT CACHING YES|NO. Errors: always, since tracking cannot be enabled yet.
fn caching(_: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let _ = args;
    Err(CommandError::text(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

/// CLIENT GETNAME. Reply: the name, or null.
fn getname(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let client = &mut *ctx.client;
    if client.name.is_empty() {
        client.reply.null()
    } else {
        client.reply.bulk(&client.name)
    }
    Ok(())
}

/// CLIENT GETREDIR. Reply: -1, for tracking is off.
fn getredir(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply().int(-1);
    Ok(())
}

/// CLIENT ID. Reply: integer.
fn id(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let id = ctx.client.id as i64;
    ctx.reply().int(id);
    Ok(())
}

/// CLIENT INFO. Reply: the connection's line of CLIENT LIST.
fn info(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut line = Vec::new();
    let argument_bytes = Some(args.iter().map(<[u8]>::len).sum());
    ctx.engine.describe(ctx.client, argument_bytes, &mut line);
    line.push(b'\n');
    ctx.reply().verbatim("txt", &line);
    Ok(())
}

/// What CLIENT LIST and CLIENT KILL call a client's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Normal,
    Replica,
    Pubsub,
    Master,
}

impl Type {
    fn parse(word: &[u8]) -> Result<Type, CommandError> {
        Ok(match word.to_ascii_lowercase().as_slice() {
            b"normal" => Type::Normal,
            b"slave" | b"replica" => Type::Replica,
            b"pubsub" => Type::Pubsub,
            b"master" => Type::Master,
            _ => {
                let mut text = b"ERR Unknown client type '".to_vec();
                text.extend_from_slice(word);
                text.push(b'\'');
                return Err(CommandError::Bytes(text));
            }
        })
    }

    fn of(client: &Client) -> Type {
        if client.is(ClientFlags::MASTER) {
            Type::Master
        } else if client.is(ClientFlags::REPLICA) && !client.is(ClientFlags::MONITOR) {
            Type::Replica
        } else if client.is(ClientFlags::PUBSUB) {
            Type::Pubsub
        } else {
            Type::Normal
        }
    }
}

/// CLIENT LIST [TYPE type] [ID id [id …]]. Reply: a line a client, by id.
fn list(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut wanted_type = None;
    let mut wanted_ids = None;
    if !args.is_empty() {
        if args.left() == 2 && args.take("type") {
            wanted_type = Some(Type::parse(args.bytes()?)?);
        } else if args.left() > 1 && args.take("id") {
            let mut ids = Vec::with_capacity(args.left());
            while !args.is_empty() {
                let id = num::parse_i64(args.bytes()?);
                // No client has a number below 1.
                let id = id.ok_or(CommandError::text("ERR Invalid client ID"))?;
                ids.extend(u64::try_from(id));
            }
            wanted_ids = Some(ids);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let argument_bytes = args.iter().map(<[u8]>::len).sum();
    let mut lines = Vec::new();
    for client in ctx.all_clients() {
        let wanted = wanted_type.is_none_or(|wanted| Type::of(client) == wanted)
            && wanted_ids
                .as_ref()
                .is_none_or(|ids| ids.contains(&client.id));
        if wanted {
            let runs = client.id == ctx.client.id;
            let running = runs.then_some(argument_bytes);
            ctx.engine.describe(client, running, &mut lines);
            lines.push(b'\n');
        }
    }
    ctx.reply().verbatim("txt", &lines);
    Ok(())
}

/// What CLIENT KILL asks of a client.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<Type>,
    address: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    max_age_s: Option<i64>,
    keep_me: bool,
}

impl Filter {
    fn matches(&self, client: &Client, now: i64) -> bool {
        self.id.is_none_or(|id| client.id == id)
            && self.kind.is_none_or(|kind| Type::of(client) == kind)
            && self
                .address
                .as_ref()
                .is_none_or(|address| client.peer.as_bytes() == address)
            && self
                .local
                .as_ref()
                .is_none_or(|address| client.local.as_bytes() == address)
            && self.user.as_ref().is_none_or(|user| client.user == *user)
            && self
                .max_age_s
                .is_none_or(|age| (now - client.created_ms) / 1000 >= age)
    }

    fn parse(args: &mut Args<'_>) -> Result<Filter, CommandError> {
        let mut filter = Filter {
            keep_me: true,
            ..Filter::default()
        };
        while !args.is_empty() {
            if args.left() < 2 {
                return Err(CommandError::Syntax);
            }
            if args.take("id") {
                let id = num::parse_i64(args.bytes()?).filter(|&id| id > 0);
                filter.id = Some(
                    id.ok_or(CommandError::text("ERR client-id should be greater than 0"))? as u64,
                );
            } else if args.take("maxage") {
                let age = num::parse_i64(args.bytes()?).ok_or(CommandError::text(
                    "ERR maxage is not an integer or out of range",
                ))?;
                if age <= 0 {
                    return Err(CommandError::text("ERR maxage should be greater than 0"));
                }
                filter.max_age_s = Some(age);
            } else if args.take("type") {
                filter.kind = Some(Type::parse(args.bytes()?)?);
            } else if args.take("addr") {
                filter.address = Some(args.bytes()?.to_vec());
            } else if args.take("laddr") {
                filter.local = Some(args.bytes()?.to_vec());
            } else if args.take("user") {
                let user = args.bytes()?;
                if user != b"default" {
                    let mut text = b"ERR No such user '".to_vec();
                    text.extend_from_slice(user);
                    text.push(b'\'');
                    return Err(CommandError::Bytes(text));
                }
                filter.user = Some(user.to_vec());
            } else if args.take("skipme") {
                if args.take("yes") {
                    filter.keep_me = true;
                } else if args.take("no") {
                    filter.keep_me = false;
                } else {
                    return Err(CommandError::Syntax);
                }
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(filter)
    }
}

/// CLIENT KILL ip:port | CLIENT KILL <option value> …
/// Reply: OK for the old form (error when there is none), the number killed for the new.
fn kill(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let old_form = args.left() == 1;
    let filter = if old_form {
        Filter {
            address: Some(args.bytes()?.to_vec()),
            ..Filter::default()
        }
    } else {
        Filter::parse(args)?
    };
    let now = ctx.now();
    let me = ctx.client.link;
    let killed: Vec<LinkId> = ctx
        .all_clients()
        .into_iter()
        .filter(|client| filter.matches(client, now) && !(filter.keep_me && client.link == me))
        .map(|client| client.link)
        .collect();
    if old_form && killed.is_empty() {
        return Err(CommandError::text("ERR No such client"));
    }
    if old_form {
        ctx.reply().ok()
    } else {
        ctx.reply().int(killed.len() as i64)
    }
    for link in killed {
        ctx.close_client(link);
    }
    Ok(())
}

fn on_or_off(args: &mut Args<'_>) -> Result<bool, CommandError> {
    if args.take("on") {
        Ok(true)
    } else if args.take("off") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

/// CLIENT NO-EVICT ON|OFF. Reply: OK.
fn no_evict(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let on = on_or_off(args)?;
    ctx.client.flags.set(ClientFlags::NO_EVICT, on);
    ctx.reply().ok();
    Ok(())
}

/// CLIENT NO-TOUCH ON|OFF. Reply: OK.
fn no_touch(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let on = on_or_off(args)?;
    ctx.client.flags.set(ClientFlags::NO_TOUCH, on);
    ctx.reply().ok();
    Ok(())
}

/// CLIENT PAUSE timeout-ms [WRITE|ALL]. Reply: OK.
fn pause(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let timeout = args.bytes()?;
    if args.left() > 1 {
        return Err(CommandError::subcommand_syntax("client", args.at(1)));
    }
    let kind = if args.is_empty() || args.take("all") {
        PauseKind::All
    } else if args.take("write") {
        PauseKind::Write
    } else {
        return Err(CommandError::text(
            "ERR CLIENT PAUSE mode must be WRITE or ALL",
        ));
    };
    let timeout = num::parse_i64(timeout).ok_or(CommandError::text(
        "ERR timeout is not an integer or out of range",
    ))?;
    if timeout < 0 {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    if ctx.now().checked_add(timeout).is_none() {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    let until = ctx.engine.clock.mono_ms().saturating_add(timeout as u64);
    // Nanoseconds go no further than 292 years.
    let until = until.min(i64::MAX as u64 / 1_000_000);
    ctx.engine.pause.start(PauseCause::Client, kind, until);
    ctx.reply().ok();
    Ok(())
}

/// CLIENT UNPAUSE. Reply: OK.
fn unpause(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.engine.end_pause(PauseCause::Client);
    ctx.reply().ok();
    Ok(())
}

/// CLIENT REPLY ON|OFF|SKIP. Reply: OK for ON, nothing for the others.
fn reply(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let client = &mut *ctx.client;
    if args.take("on") {
        client
            .flags
            .remove(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP);
        client.reply.ok();
    } else if args.take("off") {
        client.flags.insert(ClientFlags::REPLY_OFF);
    } else if args.take("skip") {
        if !client.is(ClientFlags::REPLY_OFF) {
            client.flags.insert(ClientFlags::REPLY_SKIP_NEXT);
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

/// CLIENT SETINFO LIB-NAME|LIB-VER value. Reply: OK.
fn setinfo(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let option = args.bytes()?;
    let value = args.bytes()?;
    let field = if option.eq_ignore_ascii_case(b"lib-name") {
        &mut ctx.client.lib_name
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        &mut ctx.client.lib_ver
    } else {
        return Err(CommandError::echoing(
            "ERR Unrecognized option '",
            option,
            "'",
        ));
    };
    if !is_plain(value) {
        return Err(CommandError::echoing(
            "ERR ",
            option,
            " cannot contain spaces, newlines or special characters.",
        ));
    }
    *field = value.to_vec();
    ctx.reply().ok();
    Ok(())
}

/// CLIENT SETNAME name. Reply: OK.
fn setname(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let name = args.bytes()?;
    check_name(name)?;
    ctx.client.name = name.to_vec();
    ctx.reply().ok();
    Ok(())
}

/// CLIENT TRACKINGINFO. Reply: a map; tracking is off.
fn trackinginfo(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let reply = ctx.reply();
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.int(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(())
}

/// CLIENT UNBLOCK id [TIMEOUT|ERROR]. Reply: 1 when it was blocked by a command, else 0.
fn unblock(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.left() > 2 {
        return Err(CommandError::text(
            "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
        ));
    }
    let id = args.bytes()?;
    let with_error = if args.is_empty() || args.take("timeout") {
        false
    } else if args.take("error") {
        true
    } else {
        return Err(CommandError::text(
            "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        ));
    };
    let id = num::parse_i64(id).ok_or(CommandError::NotInteger)?;
    let link = u64::try_from(id)
        .ok()
        .and_then(|id| ctx.engine.clients.link_of(id));
    let waits = link.is_some_and(|link| {
        let client = ctx.engine.clients.get(link);
        matches!(
            client.and_then(|client| client.blocked.as_ref()),
            Some(Blocked::Wait { .. } | Blocked::Keys(_))
        )
    });
    if let Some(link) = link.filter(|_| waits) {
        ctx.engine.unblock(link, with_error);
    }
    ctx.reply().int(i64::from(waits));
    Ok(())
}

/// CLIENT HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "CACHING (YES|NO)",
        "    Track the keys of the next command in OPTIN/OPTOUT modes, or not.",
        "GETREDIR",
        "    Return the client ID that tracking messages go to.",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill the connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      Made from the specified address",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      Made to the specified local address",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Of this type.",
        "    * USER <username>",
        "      Authenticated by <username>.",
        "    * SKIPME (YES|NO)",
        "      Spare the current connection (default: yes).",
        "    * ID <client-id>",
        "      With this client id.",
        "    * MAXAGE <maxage>",
        "      Older than so many seconds.",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Only clients of this type.",
        "    * ID <client-id> [<client-id> ...]",
        "      Only these clients.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "SETINFO <option> <value>",
        "    Set an attribute of the client. Options are:",
        "    * LIB-NAME: the client library's name.",
        "    * LIB-VER: the client library's version.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "TRACKINGINFO",
        "    Report tracking status for the current connection.",
        "NO-EVICT (ON|OFF)",
        "    Protect the current connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Leave LRU/LFU statistics alone when this mode is on.",
    ]);
    Ok(())
}
