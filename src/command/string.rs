//! Strings.
use super::*;
use crate::engine::EventClass;
use crate::keyspace::Ttl;
use crate::types::StringRef;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("get", 2, get)
        .flags(READONLY | FAST)
        .keys(&[KeySpec::first(RO | ACCESS)]),
    Command::new("set", -3, set)
        .flags(WRITE | DENYOOM)
        .keys(&[KeySpec::first(RW | ACCESS | UPDATE)]),
];

fn get(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    match ctx.engine.read(ctx.client, key) {
        None => ctx.client.reply.null(),
        Some(entry) => match entry.string() {
            StringRef::Int(number) => ctx.client.reply.bulk_int(number),
            StringRef::Bytes(bytes) => ctx.client.reply.bulk(bytes),
            value @ StringRef::Chunked(_) => ctx.client.reply.bulk(value.as_bytes(&mut Vec::new())),
        },
    }
    Ok(())
}

fn set(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, value) = (args.key()?, args.bytes()?);
    ctx.engine
        .keyspace
        .set_string(ctx.client.db, key, value, Ttl::None);
    ctx.changed(key.bytes, EventClass::String, "set");
    ctx.reply().ok();
    Ok(())
}
