//! COMMAND and its subcommands: what this server can do, from the rows.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use std::ops::Range;

use super::docs::{self, Argument, Kind};
use super::*;
use crate::base::glob;
use crate::engine::Renames;
use crate::resp::reply::Reply;

const FLAGS: u32 = LOADING | STALE;

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("command", -1, command)
    .flags(FLAGS)
    .categories(CAT_CONNECTION)
    .doc(
        Group::Server,
        "2.8.13",
        "O(N) where N is the total number of Redis commands",
        "Returns detailed information about all commands.",
    )
    .tips(&["nondeterministic_output_order"])
    .subcommands(&[
        Command::new("count", 2, count)
            .flags(FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Server,
                "2.8.13",
                "O(1)",
                "Returns a count of commands.",
            ),
        Command::new("docs", -2, command_docs)
            .flags(FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Server,
                "7.0.0",
                "O(N) where N is the number of commands to look up",
                "Returns documentary information about one, multiple or all commands.",
            )
            .syntax("[command-name [command-name ...]]")
            .tips(&["nondeterministic_output_order"]),
        Command::new("getkeys", -3, getkeys)
            .flags(FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Server,
                "2.8.13",
                "O(N) where N is the number of arguments to the command",
                "Extracts the key names from an arbitrary command.",
            )
            .syntax("command [arg [arg ...]]"),
        Command::new("getkeysandflags", -3, getkeysandflags)
            .flags(FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Server,
                "7.0.0",
                "O(N) where N is the number of arguments to the command",
                "Extracts the key names and access flags for an arbitrary command.",
            )
            .syntax("command [arg [arg ...]]"),
        Command::new("help", 2, help)
            .flags(FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Server,
                "5.0.0",
                "O(1)",
                "Returns helpful text about the different subcommands.",
            ),
        Command::new("info", -2, info)
            .flags(FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Server,
                "2.8.13",
                "O(N) where N is the number of commands to look up",
                "Returns information about one, multiple or all commands.",
            )
            .syntax("[command-name [command-name ...]]")
            .history(&[(
                "7.0.0",
                "Allowed to be called with no argument to get info on all commands.",
            )])
            .tips(&["nondeterministic_output_order"]),
        Command::new("list", -2, list)
            .flags(FLAGS)
            .categories(CAT_CONNECTION)
            .doc(
                Group::Server,
                "7.0.0",
                "O(N) where N is the total number of Redis commands",
                "Returns a list of command names.",
            )
            .syntax(
                "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>{=filterby}]",
            )
            .tips(&["nondeterministic_output_order"]),
    ])];

/// Commands and subcommands that `rename-command` has not removed.
fn callable(ctx: &Context<'_>) -> impl Iterator<Item = &'static Registered> {
    let renames = &ctx.engine.renames;
    let all = table().all().iter();
    all.filter(|entry| table().is_callable(renames, entry))
}

/// COMMAND. Reply: COMMAND INFO of every command.
fn command(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let all: Vec<_> = callable(ctx)
        .filter(|entry| entry.parent.is_none())
        .collect();
    ctx.reply().array(all.len());
    for entry in all {
        reply_info(ctx.reply(), entry);
    }
    Ok(())
}

/// COMMAND COUNT. Reply: integer.
fn count(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let count = callable(ctx).filter(|entry| entry.parent.is_none()).count();
    ctx.reply().int(count as i64);
    Ok(())
}

/// COMMAND INFO [name …]. Reply: an array a command; null for an unknown name.
fn info(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    if args.is_empty() {
        return command(ctx, args);
    }
    ctx.reply().array(args.left());
    while !args.is_empty() {
        match table().find_full(&ctx.engine.renames, args.bytes()?) {
            Some(entry) => reply_info(ctx.reply(), entry),
            None => ctx.reply().null(),
        }
    }
    Ok(())
}

/// All categories of a row: named, by flags and by group.
pub fn categories(entry: &Registered) -> u32 {
    let row = entry.command;
    let mut all = row.categories;
    let implied = [
        (WRITE, CAT_WRITE),
        (ADMIN, CAT_ADMIN | CAT_DANGEROUS),
        (PUBSUB, CAT_PUBSUB),
        (FAST, CAT_FAST),
        (BLOCKING, CAT_BLOCKING),
    ];
    for (flag, category) in implied {
        if row.is(flag) {
            all |= category;
        }
    }
    if row.is(READONLY) && all & CAT_SCRIPTING == 0 {
        all |= CAT_READ;
    }
    if !row.is(FAST) {
        all |= CAT_SLOW;
    }
    all
}

fn legacy_keys(row: &Command) -> (i64, i64, i64) {
    let ranges: Vec<_> = row
        .keys
        .iter()
        .filter_map(|spec| match (spec.begin, spec.find) {
            (Begin::Index(first), Find::Range { last, step, .. }) => {
                let (first, last) = (i64::from(first), i64::from(last));
                Some((
                    first,
                    if last >= 0 { first + last } else { last },
                    i64::from(step),
                ))
            }
            _ => None,
        })
        .collect();
    let Some((&whole, more)) = ranges.split_first() else {
        return (0, 0, 0);
    };
    // Neighbouring single keys (RENAME, COPY) are one range.
    more.iter()
        .fold(whole, |(first, last, step), next| match *next {
            (begin, end, 1) if step == 1 && last >= 0 && begin == last + 1 => (first, end, 1),
            _ => (first, last, step),
        })
}

fn reply_info(reply: &mut Reply, entry: &Registered) {
    let row = entry.command;
    reply.array(10);
    reply.bulk(entry.full_name.as_bytes());
    reply.int(i64::from(row.arity));
    reply_flags(reply, row.flags, FLAG_NAMES, "");
    let (first, last, step) = legacy_keys(row);
    reply.int(first);
    reply.int(last);
    reply.int(step);
    reply_flags(reply, categories(entry), CATEGORY_NAMES, "@");
    reply.set(row.tips.len());
    for tip in row.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(row.keys.len());
    for spec in row.keys {
        reply_spec(reply, spec);
    }
    if entry.subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(entry.subcommands.len());
    }
    for &id in &entry.subcommands {
        reply_info(reply, table().get(id));
    }
}

fn reply_flags(reply: &mut Reply, flags: u32, names: &[(u32, &str)], prefix: &str) {
    let set: Vec<_> = names.iter().filter(|(flag, _)| flags & flag != 0).collect();
    reply.set(set.len());
    for (_, name) in set {
        reply.simple(&format!("{prefix}{name}"));
    }
}

fn reply_spec(reply: &mut Reply, spec: &KeySpec) {
    let word = |reply: &mut Reply, text: &str| reply.bulk(text.as_bytes());
    reply.map(if spec.notes.is_empty() { 3 } else { 4 });
    if !spec.notes.is_empty() {
        word(reply, "notes");
        word(reply, spec.notes);
    }
    word(reply, "flags");
    reply_flags(reply, spec.flags, KEY_FLAG_NAMES, "");
    word(reply, "begin_search");
    reply.map(2);
    word(reply, "type");
    match spec.begin {
        Begin::Index(index) => {
            word(reply, "index");
            word(reply, "spec");
            reply.map(1);
            word(reply, "index");
            reply.int(i64::from(index));
        }
        Begin::Keyword(keyword, from) => {
            word(reply, "keyword");
            word(reply, "spec");
            reply.map(2);
            word(reply, "keyword");
            word(reply, keyword);
            word(reply, "startfrom");
            reply.int(i64::from(from));
        }
        Begin::Unknown => {
            word(reply, "unknown");
            word(reply, "spec");
            reply.map(0);
        }
    }
    word(reply, "find_keys");
    reply.map(2);
    word(reply, "type");
    let numbers: &[(&str, i32)] = match spec.find {
        Find::Range { last, step, limit } => {
            word(reply, "range");
            &[("lastkey", last), ("keystep", step), ("limit", limit)]
        }
        Find::KeyNum { at, first, step } => {
            word(reply, "keynum");
            &[("keynumidx", at), ("firstkey", first), ("keystep", step)]
        }
        Find::Unknown => {
            word(reply, "unknown");
            &[]
        }
    };
    word(reply, "spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        word(reply, name);
        reply.int(i64::from(*number));
    }
}

/// COMMAND DOCS [name …]. Reply: a map of name to documentation; unknown names are left out.
fn command_docs(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut found = Vec::new();
    if args.is_empty() {
        found.extend(callable(ctx).filter(|entry| entry.parent.is_none()));
    }
    while !args.is_empty() {
        found.extend(table().find_full(&ctx.engine.renames, args.bytes()?));
    }
    ctx.reply().map(found.len());
    for entry in found {
        reply_docs(ctx.reply(), entry);
    }
    Ok(())
}

fn reply_docs(reply: &mut Reply, entry: &Registered) {
    let row = entry.command;
    let word = |reply: &mut Reply, text: &str| reply.bulk(text.as_bytes());
    word(reply, &entry.full_name);
    let arguments = docs::arguments(row.syntax);
    let optional = [
        row.deprecated.is_some() || row.is(SYSCMD),
        row.deprecated.is_some(),
        row.deprecated.is_some(),
        !row.history.is_empty(),
        !arguments.is_empty(),
        !entry.subcommands.is_empty(),
        !row.complexity.is_empty(),
    ];
    reply.map(3 + optional.iter().filter(|&&there| there).count());
    word(reply, "summary");
    word(reply, row.summary);
    word(reply, "since");
    word(reply, row.since);
    word(reply, "group");
    word(reply, row.group.name());
    if !row.complexity.is_empty() {
        word(reply, "complexity");
        word(reply, row.complexity);
    }
    if row.is(SYSCMD) {
        word(reply, "doc_flags");
        reply.set(1);
        reply.simple("syscmd");
    }
    if let Some((since, replaced_by)) = row.deprecated {
        word(reply, "doc_flags");
        reply.set(1);
        reply.simple("deprecated");
        word(reply, "deprecated_since");
        word(reply, since);
        word(reply, "replaced_by");
        word(reply, replaced_by);
    }
    if !row.history.is_empty() {
        word(reply, "history");
        reply.set(row.history.len());
        for (version, change) in row.history {
            reply.array(2);
            word(reply, version);
            word(reply, change);
        }
    }
    if !arguments.is_empty() {
        word(reply, "arguments");
        let mut key_indexes = 0..row.keys.len() as i64;
        reply_arguments(reply, &arguments, &mut key_indexes);
    }
    if !entry.subcommands.is_empty() {
        word(reply, "subcommands");
        reply.map(entry.subcommands.len());
        for &id in &entry.subcommands {
            reply_docs(reply, table().get(id));
        }
    }
}

/// `key_indexes` are the key specifications left; the last one holds for all further keys.
fn reply_arguments(reply: &mut Reply, arguments: &[Argument], key_indexes: &mut Range<i64>) {
    let word = |reply: &mut Reply, text: &str| reply.bulk(text.as_bytes());
    reply.array(arguments.len());
    for argument in arguments {
        let composed = matches!(argument.kind, Kind::OneOf | Kind::Block);
        let flags: Vec<&str> = [
            (argument.optional, "optional"),
            (argument.multiple, "multiple"),
            (argument.multiple_token, "multiple_token"),
        ]
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect();
        let is_key = argument.kind == Kind::Key;
        let in_order = is_key.then(|| {
            let index = key_indexes.start;
            key_indexes.start = (index + 1).min(key_indexes.end - 1).max(index);
            index
        });
        let key_spec = argument.key_spec.or(in_order);
        let optional = [
            !composed,
            key_spec.is_some(),
            argument.token.is_some(),
            argument.since.is_some(),
            argument.deprecated_since.is_some(),
            !flags.is_empty(),
            composed,
        ];
        reply.map(2 + optional.iter().filter(|&&there| there).count());
        word(reply, "name");
        word(reply, &argument.name);
        word(reply, "type");
        word(reply, argument.kind.name());
        if !composed {
            word(reply, "display_text");
            word(reply, &argument.display);
        }
        if let Some(index) = key_spec {
            word(reply, "key_spec_index");
            reply.int(index);
        }
        if let Some(token) = &argument.token {
            word(reply, "token");
            word(reply, token);
        }
        let versions = [
            ("since", &argument.since),
            ("deprecated_since", &argument.deprecated_since),
        ];
        for (name, version) in versions {
            if let Some(version) = version {
                word(reply, name);
                word(reply, version);
            }
        }
        if !flags.is_empty() {
            word(reply, "flags");
            reply.set(flags.len());
            for flag in flags {
                reply.simple(flag);
            }
        }
        if composed {
            word(reply, "arguments");
            reply_arguments(reply, &argument.arguments, key_indexes);
        }
    }
}

/// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]. Reply: names.
fn list(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let mut names: Vec<&str> = Vec::new();
    if args.is_empty() {
        names.extend(callable(ctx).map(|entry| entry.full_name.as_str()));
    } else {
        if args.left() != 3 || !args.take("filterby") {
            return Err(CommandError::Syntax);
        }
        let all = callable(ctx);
        if args.take("module") {
            // There are no modules, so none of their commands.
        } else if args.take("aclcat") {
            let wanted = args.bytes()?.to_ascii_lowercase();
            let bit = CATEGORY_NAMES
                .iter()
                .find(|(_, name)| name.as_bytes() == wanted)
                .map_or(0, |(bit, _)| *bit);
            let fits = all.filter(|entry| categories(entry) & bit != 0);
            names.extend(fits.map(|entry| entry.full_name.as_str()));
        } else if args.take("pattern") {
            let pattern = args.bytes()?;
            let fits = |entry: &&'static Registered| {
                glob::matches(pattern, entry.full_name.as_bytes(), true)
            };
            names.extend(all.filter(fits).map(|entry| entry.full_name.as_str()));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    ctx.reply().array(names.len());
    for name in names {
        ctx.reply().bulk(name.as_bytes());
    }
    Ok(())
}

/// A row's keys among the arguments of a call: (argument index, spec flags).
pub fn keys_of(
    row: &Command,
    argc: usize,
    argument: impl Fn(usize) -> Vec<u8>,
) -> Option<Vec<(usize, u32)>> {
    if row.name == "migrate" {
        let flags = row.keys.first().map_or(0, |spec| spec.flags);
        let keys = super::migrate::keys(argc, argument)?;
        return Some(keys.map(|at| (at, flags)).collect());
    }
    let mut keys = Vec::new();
    for spec in row.key_specs() {
        let first = match spec.begin {
            Begin::Index(index) => usize::try_from(index).ok()?,
            Begin::Keyword(keyword, from) => {
                let from = usize::try_from(from).unwrap_or(1);
                match (from..argc).find(|&at| argument(at).eq_ignore_ascii_case(keyword.as_bytes()))
                {
                    Some(at) => at + 1,
                    None => continue,
                }
            }
            Begin::Unknown => continue,
        };
        let (first, last, step) = match spec.find {
            Find::Range { last, step, limit } => {
                let last = match usize::try_from(last) {
                    Ok(relative) => first + relative,
                    Err(_) if limit > 1 && last == -1 => {
                        first + (argc - first) / limit as usize - 1
                    }
                    Err(_) => argc.checked_sub(last.unsigned_abs() as usize)?,
                };
                (first, last, step)
            }
            Find::KeyNum {
                at,
                first: relative,
                step,
            } => {
                let number = argument(first + usize::try_from(at).ok()?);
                let number = usize::try_from(crate::base::num::parse_i64(&number)?)
                    .ok()
                    .filter(|&n| n > 0)?;
                let first = first + usize::try_from(relative).ok()?;
                (
                    first,
                    first + (number - 1).checked_mul(step as usize)?,
                    step,
                )
            }
            Find::Unknown => continue,
        };
        if first >= argc || last >= argc {
            return None;
        }
        let mut flags = spec.flags;
        if flags & VARIABLE_FLAGS != 0 && row.name == "set" {
            let reads = (3..argc).any(|at| argument(at).eq_ignore_ascii_case(b"get"));
            flags = if reads {
                RW | ACCESS | UPDATE
            } else {
                OW | UPDATE
            };
        }
        if flags & VARIABLE_FLAGS != 0 && row.name == "bitfield" {
            let writes = |word: Vec<u8>| {
                word.eq_ignore_ascii_case(b"set") || word.eq_ignore_ascii_case(b"incrby")
            };
            flags = match (2..argc).any(|at| writes(argument(at))) {
                true => RW | ACCESS | UPDATE,
                false => RO | ACCESS,
            };
        }
        keys.extend(
            (first..=last)
                .step_by(step.max(1) as usize)
                .map(|at| (at, flags)),
        );
    }
    if row.name == "sort" {
        let destination = super::sort::destination(argc, argument);
        keys.extend(destination.map(|at| (at, OW | UPDATE)));
    }
    Some(keys)
}

fn call_keys(renames: &Renames, args: &mut Args<'_>) -> Result<Vec<(usize, u32)>, CommandError> {
    const UNKNOWN: CommandError = CommandError::text("ERR Invalid command specified");
    let base = args.position();
    let argc = args.left();
    let mut entry = table().find_as(renames, args.at(base)).ok_or(UNKNOWN)?;
    if !entry.subcommands.is_empty() && argc > 1 {
        entry = table().find_sub(entry, args.at(base + 1)).ok_or(UNKNOWN)?;
    }
    if entry.command.key_specs().next().is_none() {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !entry.command.arity_fits(argc) {
        return Err(CommandError::text(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let keys = keys_of(entry.command, argc, |at| {
        if base + at < args.count() {
            args.at(base + at).to_vec()
        } else {
            Vec::new()
        }
    });
    let keys = keys.ok_or(CommandError::text(
        "ERR Invalid arguments specified for command",
    ))?;
    Ok(keys
        .into_iter()
        .map(|(at, flags)| (base + at, flags))
        .collect())
}

/// COMMAND GETKEYS command [arg …]. Reply: the keys among the arguments.
fn getkeys(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let keys = call_keys(&ctx.engine.renames, args)?;
    ctx.reply().array(keys.len());
    for (at, _) in keys {
        ctx.reply().bulk(args.at(at));
    }
    Ok(())
}

/// COMMAND GETKEYSANDFLAGS command [arg …]. Reply: (key, flags) pairs.
fn getkeysandflags(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let keys = call_keys(&ctx.engine.renames, args)?;
    ctx.reply().array(keys.len());
    for (at, flags) in keys {
        ctx.reply().array(2);
        ctx.reply().bulk(args.at(at));
        reply_flags(ctx.reply(), flags, KEY_FLAG_NAMES, "");
    }
    Ok(())
}

/// COMMAND HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "(no subcommand)",
        "    Return details about all commands.",
        "COUNT",
        "    Return the number of commands of this server.",
        "LIST",
        "    Return the names of all commands.",
        "INFO [<command-name> ...]",
        "    Return details about the named commands, or all.",
        "DOCS [<command-name> ...]",
        "    Return documentation of the named commands, or all.",
        "GETKEYS <full-command>",
        "    Return the keys of a whole command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys of a whole command and how it uses them.",
    ]);
    Ok(())
}
