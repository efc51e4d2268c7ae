//! DEBUG.
//! Source: its help and the replies of redis-server 8.0.

use sha1::{Digest as _, Sha1};

use super::*;
use crate::base::{glob, num};
use crate::container::Pack;
use crate::keyspace::Ttl;
use crate::rdb::payload;
use crate::types::access::lru_idle_seconds;
use crate::types::list::{Chunk, ListRef};
use crate::types::{Entry, Kind, Large, StreamId, ValueRef};

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command::new("debug", -2, debug)
    .flags(ADMIN | NOSCRIPT | LOADING | STALE | PROTECTED | SYSCMD)
    .doc(
        Group::Server,
        "1.0.0",
        "Depends on subcommand.",
        "A container for debugging commands.",
    )];

/// A subcommand of DEBUG: name, number of arguments behind it (least, most), body.
type Sub = (&'static str, usize, usize, Handler);

const SUBS: &[Sub] = &[
    ("help", 0, 0, help),
    ("reload", 0, 3, persistence::debug_reload),
    ("config-rewrite-force-all", 0, 0, config::rewrite_all),
    ("sleep", 1, 1, sleep),
    ("object", 1, 2, object),
    ("set-active-expire", 1, 1, set_active_expire),
    (
        "set-skip-checksum-validation",
        1,
        1,
        set_skip_checksum_validation,
    ),
    ("digest", 0, 0, digest),
    ("digest-value", 0, usize::MAX, digest_value),
    ("error", 1, 1, error),
    ("log", 1, 1, log_message),
    ("leak", 1, 1, leak),
    ("populate", 1, 3, populate),
    ("protocol", 1, 1, protocol),
    ("stringmatch-test", 0, 0, stringmatch_test),
    ("listpack", 1, 1, listpack),
    ("sdslen", 1, 1, sdslen),
    ("htstats", 1, 2, htstats),
    ("htstats-key", 1, 2, htstats_key),
    ("jmap", 0, 0, jmap),
    ("pause-cron", 1, 1, pause_cron),
    ("replicate", 1, usize::MAX, replicate),
    ("change-repl-id", 0, 0, change_repl_id),
    ("panic", 0, 0, panic),
    ("assert", 0, 0, assert),
    ("segfault", 0, 0, segfault),
    ("dict-resizing", 1, 1, accept),
    ("replybuffer", 2, 2, accept),
    ("quicklist-packed-threshold", 1, 1, accept),
    ("set-disable-deny-scripts", 1, 1, accept),
];

/// DEBUG subcommand … Errors: unknown subcommand.
fn debug(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let name = args.bytes()?;
    let left = args.left();
    let found = SUBS.iter().find(|(sub, least, most, _)| {
        name.eq_ignore_ascii_case(sub.as_bytes()) && (*least..=*most).contains(&left)
    });
    match found {
        Some((_, _, _, body)) => body(ctx, args),
        None => {
            let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
            text.extend_from_slice(&name[..name.len().min(128)]);
            text.extend_from_slice(b"'. Try DEBUG HELP.");
            Err(CommandError::Bytes(text))
        }
    }
}

/// DEBUG SLEEP seconds. Stops everything. Reply: OK.
fn sleep(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let text = args.bytes()?;
    let seconds = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim().parse::<f64>().ok())
        .unwrap_or(0.0);
    if seconds > 0.0 {
        ctx.host.sleep_us((seconds * 1e6).min(1e15) as u64);
    }
    ctx.reply().ok();
    Ok(())
}

/// DEBUG OBJECT key. Reply: a line. Errors: no such key.
fn object(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let now = ctx.now();
    let db = ctx.client.db;
    let entry = ctx
        .engine
        .keyspace
        .find(db, key)
        .ok_or(CommandError::NoSuchKey)?;
    let compress = ctx.engine.config.rdbcompression;
    // Without its type and the footer.
    let serialized = payload::dump(ValueRef::of(entry), compress).len() - payload::FOOTER_BYTES - 1;
    let mut text = format!(
        "Value at:{:p} refcount:{} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        std::ptr::from_ref(entry),
        super::object::references(&ctx.engine.config, entry),
        entry.encoding(),
        serialized,
        entry.access(),
        lru_idle_seconds(entry.access(), now),
    );
    if let ValueRef::List(ListRef::Quick(list)) = ValueRef::of(entry) {
        let config = &ctx.engine.config;
        let (nodes, bytes) = (list.chunks().len(), list.chunks().map(Chunk::payload));
        text.push_str(&format!(
            " ql_nodes:{nodes} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{} ql_uncompressed_size:{}",
            list.len() as f64 / nodes.max(1) as f64,
            config.list_max_listpack_size,
            i32::from(config.list_compress_depth != 0),
            bytes.map(<[u8]>::len).sum::<usize>(),
        ));
    }
    ctx.reply().simple(&text);
    Ok(())
}

/// DEBUG CHANGE-REPL-ID. Nobody can continue our history any more. Reply: OK.
fn change_repl_id(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    log::info!("Changing replication IDs after receiving DEBUG change-repl-id");
    let fresh = ctx.engine.fresh_id();
    ctx.engine.replication.ids.restart(fresh);
    ctx.reply().ok();
    Ok(())
}

/// DEBUG SET-ACTIVE-EXPIRE 0|1. Reply: OK.
fn set_active_expire(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.engine.active_expire = num::parse_i64(args.bytes()?).unwrap_or(0) != 0;
    ctx.reply().ok();
    Ok(())
}

/// DEBUG SET-SKIP-CHECKSUM-VALIDATION 0|1. Reply: OK.
fn set_skip_checksum_validation(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
) -> Result<(), CommandError> {
    ctx.engine.skips_checksums = num::parse_i64(args.bytes()?).unwrap_or(0) != 0;
    ctx.reply().ok();
    Ok(())
}

/// SHA-1 of the data a key stands for, combined as Redis combines it.
#[derive(Clone, Copy, Default)]
struct Digest([u8; 20]);

impl Digest {
    /// Order does not matter: the hash of the bytes is added.
    fn add(&mut self, bytes: &[u8]) {
        let hash: [u8; 20] = Sha1::digest(bytes).into();
        self.0
            .iter_mut()
            .zip(hash)
            .for_each(|(mine, other)| *mine ^= other);
    }

    /// Order matters: added, then hashed over.
    fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn mix_value(&mut self, entry: &Entry) {
        let mut scratch = Vec::new();
        // Numbers of the types as Redis has them; members of what has no order are added up.
        match ValueRef::of(entry) {
            ValueRef::String(value) => {
                self.mix(&0_u32.to_be_bytes());
                self.mix(value.as_bytes(&mut scratch));
            }
            ValueRef::List(list) => {
                self.mix(&1_u32.to_be_bytes());
                list.for_each(|item| self.mix(item.as_bytes(&mut scratch)));
            }
            ValueRef::Set(set) => {
                self.mix(&2_u32.to_be_bytes());
                set.for_each(|member| self.add(member.as_bytes(&mut scratch)));
            }
            ValueRef::Zset(zset) => {
                self.mix(&3_u32.to_be_bytes());
                for (member, score) in zset.iter() {
                    let mut pair = Digest::default();
                    pair.mix(member.as_bytes(&mut scratch));
                    scratch.clear();
                    num::push_f64_by_digits(&mut scratch, score);
                    pair.mix(&scratch);
                    self.add(&pair.0);
                }
            }
            ValueRef::Hash(hash) => {
                self.mix(&4_u32.to_be_bytes());
                hash.for_each(|field, value, deadline| {
                    let mut pair = Digest::default();
                    pair.mix(field.as_bytes(&mut scratch));
                    pair.mix(value.as_bytes(&mut scratch));
                    if deadline.is_some() {
                        pair.add(b"!!hexpire!!");
                    }
                    self.add(&pair.0);
                });
            }
            ValueRef::Stream(stream) => {
                self.mix(&6_u32.to_be_bytes());
                for record in stream.range(StreamId::MIN, StreamId::MAX) {
                    let id = format!("{}.{}", record.id.ms, record.id.seq);
                    self.mix(id.as_bytes());
                    for (field, value) in record.fields {
                        self.mix(field.as_bytes(&mut [0; 20]));
                        self.mix(value.as_bytes(&mut [0; 20]));
                    }
                }
            }
        }
        if entry.expire_at().is_some() {
            self.add(b"!!expire!!");
        }
    }

    fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// DEBUG DIGEST. Reply: 40 hex digits, equal for equal data.
fn digest(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let mut all = Digest::default();
    let keyspace = &ctx.engine.keyspace;
    for db in 0..keyspace.count() {
        if keyspace.len(db) == 0 {
            continue;
        }
        all.mix(&(db as u32).to_be_bytes());
        keyspace.for_each(db, |entry| {
            let mut one = Digest::default();
            one.mix(entry.key());
            one.mix_value(entry);
            all.add(&one.0);
        });
    }
    ctx.reply().simple(&all.hex());
    Ok(())
}

/// DEBUG DIGEST-VALUE [key …]. Reply: a digest a key; zeros for an absent one.
fn digest_value(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply().array(args.left());
    let db = ctx.client.db;
    while !args.is_empty() {
        let key = args.key()?;
        let mut one = Digest::default();
        if let Some(entry) = ctx.engine.keyspace.find(db, key) {
            one.mix_value(entry);
        }
        ctx.reply().simple(&one.hex());
    }
    Ok(())
}

/// DEBUG ERROR text. Reply: that error.
fn error(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    // Written, not returned: it is no failure of the command.
    let text = args.bytes()?;
    ctx.reply().error_bytes(text);
    Ok(())
}

/// DEBUG LOG text. Writes it to the log. Reply: OK.
fn log_message(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    log::warn!("DEBUG LOG: {}", String::from_utf8_lossy(args.bytes()?));
    ctx.reply().ok();
    Ok(())
}

/// DEBUG LEAK text. Leaks a copy of it. Reply: OK.
fn leak(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    args.bytes()?.to_vec().leak();
    ctx.reply().ok();
    Ok(())
}

/// DEBUG POPULATE count [prefix [size]]. Makes `prefix:n` keys that are not there. Reply: OK.
fn populate(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let count = args.int_in(0, i64::MAX, CommandError::NotPositive)?;
    let prefix = if args.is_empty() {
        b"key".as_slice()
    } else {
        args.bytes()?
    };
    let limit = ctx.engine.config.proto_max_bulk_len;
    let size = if args.is_empty() {
        None
    } else {
        Some(args.int_in(0, limit, CommandError::OutOfRange)? as usize)
    };
    let db = ctx.client.db;
    for number in 0..count {
        let name = [prefix, b":", number.to_string().as_bytes()].concat();
        let key = ctx.engine.keyspace.key(&name);
        if ctx.engine.keyspace.find(db, key).is_some() {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if let Some(size) = size {
            value.resize(size, 0);
        }
        ctx.engine.keyspace.set_string(db, key, &value, Ttl::None);
        ctx.created(db, &name);
        ctx.engine.modified(db, &name);
    }
    ctx.reply().ok();
    Ok(())
}

/// DEBUG PROTOCOL type. Reply: a value of that type.
fn protocol(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let kind = args.bytes()?.to_ascii_lowercase();
    let reply = ctx.reply();
    match kind.as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(3141.0 / 1000.0),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.int(n);
                reply.boolean(n == 1);
            }
        }
        b"attrib" => {
            if reply.is_resp3() {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !reply.is_resp3() {
                return Err(CommandError::text(
                    "ERR RESP2 is not supported by this command",
                ));
            }
            // What is pushed while a command runs comes behind its reply.
            reply.bulk(b"Some real reply following the push reply");
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => {
            return Err(CommandError::text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

/// DEBUG STRINGMATCH-TEST. Matches random patterns for a while. Reply: OK.
fn stringmatch_test(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let (mut pattern, mut text) = ([0; 32], [0; 32]);
    for _ in 0..100_000 {
        ctx.engine.prng.fill(&mut pattern);
        ctx.engine.prng.fill(&mut text);
        let (pattern_len, text_len) = (
            ctx.engine.prng.below(32) as usize,
            ctx.engine.prng.below(32) as usize,
        );
        // Mostly the special characters.
        pattern
            .iter_mut()
            .filter(|byte| **byte < 192)
            .for_each(|byte| *byte = b"*?[]\\^-a"[*byte as usize % 8]);
        std::hint::black_box(glob::matches(
            &pattern[..pattern_len],
            &text[..text_len],
            false,
        ));
    }
    ctx.reply()
        .simple("Apparently Redis did not crash: test passed");
    Ok(())
}

/// DEBUG SDSLEN key. Reply: lengths of key and value.
fn sdslen(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let db = ctx.client.db;
    let entry = ctx
        .engine
        .keyspace
        .find(db, key)
        .ok_or(CommandError::NoSuchKey)?;
    if entry.kind() != Kind::String || entry.encoding() == "int" {
        return Err(CommandError::text("ERR Not an sds encoded string."));
    }
    let (len, bytes) = (entry.string().len(), entry.memory_bytes());
    let text = format!(
        "key_sds_len:{}, key_sds_avail:0, key_zmalloc: {bytes}, val_sds_len:{len}, val_sds_avail:0, val_zmalloc: {bytes}",
        key.bytes.len(),
    );
    ctx.reply().simple(&text);
    Ok(())
}

/// DEBUG LISTPACK key. Logs what a pack holds. Reply: a word of that. Errors: no such key, not a pack.
fn listpack(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let found = ctx.engine.keyspace.find(ctx.client.db, key);
    let entry = found.ok_or(CommandError::NoSuchKey)?;
    let bytes = match entry
        .packed()
        .filter(|_| entry.encoding().starts_with("listpack"))
    {
        Some((bytes, _)) => bytes,
        None => return Err(CommandError::text("ERR Not a listpack encoded object.")),
    };
    for (index, item) in Pack::of(bytes).iter().enumerate() {
        log::info!("{index}: {item:?}");
    }
    ctx.reply().simple("Listpack structure printed on stdout");
    Ok(())
}

/// DEBUG HTSTATS db [full]. Reply: the table's figures.
fn htstats(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let index = args.int()?;
    let db = super::connection::database(ctx.engine.keyspace.count(), index)
        .map_err(|_| CommandError::text("ERR Out of range database"))?;
    let keyspace = &ctx.engine.keyspace;
    let text = format!(
        "[Dictionary HT]\nkeys: {}\ntable bytes: {}\n[Expires HT]\nkeys: {}\n",
        keyspace.len(db),
        keyspace.overhead_bytes(db),
        keyspace.expires_len(db)
    );
    ctx.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// DEBUG HTSTATS-KEY key [full]. Reply: figures of the table of a large set, hash or sorted set. Errors: no such key, no
/// table.
fn htstats_key(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let full = args.take("full");
    let found = ctx.engine.keyspace.find(ctx.client.db, key);
    let entry = found.ok_or(CommandError::NoSuchKey)?;
    let Some(table) = entry.large().and_then(Large::elements) else {
        return Err(CommandError::text(
            "ERR The value stored at the specified key is not represented using an hash table",
        ));
    };
    let (mut places, mut used, mut longest) = (0_usize, 0_usize, 0);
    let mut at = 0;
    loop {
        let mut count = 0;
        let next = table.visit_segment(at, |_| count += 1);
        places += 1;
        used += usize::from(count > 0);
        longest = longest.max(count);
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    let count = table.len();
    let mut text = format!(
        "Hash table 0 stats (main hash table):\n table size: {places}\n number of elements: {count}\n"
    );
    if full {
        text.push_str(&format!(
            " different slots: {used}\n max chain length: {longest}\n avg chain length (counted): {:.2}\n",
            count as f64 / used.max(1) as f64
        ));
    }
    ctx.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// DEBUG JMAP. Reply: how the memory is used, table by table.
fn jmap(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    let facts = ctx.host.memory();
    let keyspace = &ctx.engine.keyspace;
    let mut text = format!(
        "used {}\nallocated {}\nresident {}\n",
        facts.used, facts.allocated, facts.resident
    );
    for db in (0..keyspace.count()).filter(|&db| keyspace.len(db) > 0) {
        text.push_str(&format!(
            "db{db} keys {} table {}\n",
            keyspace.len(db),
            keyspace.overhead_bytes(db)
        ));
    }
    ctx.reply().verbatim("txt", text.as_bytes());
    Ok(())
}

/// DEBUG PAUSE-CRON 0|1. Reply: OK.
fn pause_cron(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.engine.cron_paused = num::parse_i64(args.bytes()?).unwrap_or(0) != 0;
    ctx.reply().ok();
    Ok(())
}

/// DEBUG REPLICATE command … Puts a command into the replication stream as it is, unchecked and not run here. Reply: OK.
fn replicate(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let db = ctx.client.db;
    ctx.engine.propagate(db, args.iter().skip(2));
    ctx.reply().ok();
    Ok(())
}

/// DEBUG PANIC. Fails by a panic.
#[allow(clippy::panic)]
fn panic(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    panic!("DEBUG PANIC called at Unix time {}", ctx.now() / 1000);
}

/// DEBUG ASSERT. Fails by an assertion.
fn assert(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    assert!(!args.is_empty());
    segfault(ctx, args)
}

/// DEBUG SEGFAULT. Fails by a forbidden access to memory.
fn segfault(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.host.segfault();
    Ok(())
}

/// Switches of structures that do not exist here. Reply: OK.
fn accept(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply().ok();
    Ok(())
}

/// DEBUG HELP. Reply: lines of help.
fn help(ctx: &mut Context<'_>, _: &mut Args<'_>) -> Result<(), CommandError> {
    ctx.reply_help(&[
        "ASSERT",
        "    Crash by an assertion that fails.",
        "CHANGE-REPL-ID",
        "    Change the replication IDs of the instance; for tests.",
        "DIGEST",
        "    Output a hex signature representing the current DB content.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Output a hex signature of the values of all the specified keys.",
        "ERROR <string>",
        "    Return an error reply with <string> as message.",
        "HTSTATS <dbid> [full]",
        "    Return hash table statistics of the specified database.",
        "HTSTATS-KEY <key> [full]",
        "    Return figures of the hash table of a large value.",
        "JMAP",
        "    Return how the memory is used.",
        "LEAK <string>",
        "    Create a memory leak of the input string.",
        "LISTPACK <key>",
        "    Write the elements of a listpack to the server log.",
        "LOG <message>",
        "    Write <message> to the server log.",
        "OBJECT <key>",
        "    Show low level info about `key` and associated value.",
        "PANIC",
        "    Crash by a panic.",
        "PAUSE-CRON <0|1>",
        "    Stop periodic cron job processing.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Create <count> string keys named <prefix>:<num> (default prefix: key).",
        "PROTOCOL <type>",
        "    Reply with a test value of the specified type. <type> can be: string,",
        "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
        "    true, false.",
        "RELOAD [option ...]",
        "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
        "    * MERGE: conflicting keys will be loaded from RDB.",
        "    * NOFLUSH: keep the data set; a conflicting key is an error.",
        "    * NOSAVE: load from an existing RDB file.",
        "REPLICATE <command> ...",
        "    Send the command to replicas without running it here: their data may differ then.",
        "SDSLEN <key>",
        "    Show the lengths of `key` and its value.",
        "SEGFAULT",
        "    Crash by a forbidden access to memory.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Reclaim expired keys in the background, or only when they are accessed.",
        "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
        "    Take RDB files and payloads of RESTORE whatever their checksum.",
        "SLEEP <seconds>",
        "    Stop the server for <seconds>. Decimals allowed.",
        "STRINGMATCH-TEST",
        "    Match random patterns for a while.",
    ]);
    Ok(())
}
