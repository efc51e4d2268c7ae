//! MODULE, of a server that loads none: clients and tools ask for the list.
//! Source: the replies of redis-server 8.0.

use super::*;

const CHANGES: u32 = ADMIN | NOSCRIPT | NO_ASYNC_LOADING | PROTECTED;

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("module", -2, container)
    .doc(
        Group::Server,
        "4.0.0",
        "Depends on subcommand.",
        "A container for module commands.",
    )
    .subcommands(&[
        Command::new("help", 2, help).flags(LOADING | STALE).doc(
            Group::Server,
            "5.0.0",
            "O(1)",
            "Describes the subcommands.",
        ),
        Command::new("list", 2, list)
            .flags(ADMIN | NOSCRIPT)
            .doc(
                Group::Server,
                "4.0.0",
                "O(N) where N is the number of loaded modules.",
                "Returns the modules that are loaded.",
            )
            .tips(&["nondeterministic_output_order"]),
        Command::new("load", -3, load)
            .flags(CHANGES)
            .doc(Group::Server, "4.0.0", "O(1)", "Loads a module.")
            .syntax("path [arg [arg ...]]"),
        Command::new("loadex", -3, load)
            .flags(CHANGES)
            .doc(
                Group::Server,
                "7.0.0",
                "O(1)",
                "Loads a module with its configuration.",
            )
            .syntax("path [CONFIG <name value>{=configs} [CONFIG <name value> ...]] [ARGS args [args ...]]"),
        Command::new("unload", 3, unload)
            .flags(CHANGES)
            .doc(Group::Server, "4.0.0", "O(1)", "Unloads a module.")
            .syntax("name"),
    ])];

/// MODULE LIST. Reply: an empty array.
fn list(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply().array(0);
    Ok(())
}

/// MODULE LOAD path [arg …], MODULE LOADEX path …. Error: it cannot be loaded, and the log says why.
fn load(_: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let path = String::from_utf8_lossy(args.bytes()?);
    log::warn!("Module {path} failed to load: this server has no modules");
    Err(CommandError::text(
        "ERR Error loading the extension. Please check the server logs.",
    ))
}

/// MODULE UNLOAD name. Error: there is none with that name.
fn unload(_: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let name = String::from_utf8_lossy(args.bytes()?);
    log::warn!("Error unloading module {name}: no such module with that name");
    Err(CommandError::text(
        "ERR Error unloading module: no such module with that name",
    ))
}

/// MODULE HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "LIST",
        "    Return the modules that are loaded: none.",
        "LOAD <path> [<arg> ...]",
        "    Load a module, which this version refuses.",
        "LOADEX <path> [CONFIG <name> <value> ...] [ARGS <arg> ...]",
        "    The same with settings of the module.",
        "UNLOAD <name>",
        "    Unload a module.",
    ]);
    Ok(())
}
