//! What the clients of the simulation write: every type, from one table.
//!
//! To have another command simulated, add a line to [`TEMPLATES`]. Left out is what a replica is not told of, as in Redis:
//! deliveries from a consumer's history, and consumers that were asked for in vain.

use redoxide::base::prng::Prng;
use redoxide::engine::encode_command;

use crate::random::{draw, expand, one_of};

/// Commands and how often. Keys, by the type that they have as a rule: `k` any, `s` string, `l` list, `t` set, `h` hash,
/// `z` sorted set, `x` stream, `y` HyperLogLog, `b` bitmap. `e` an element, `n` a small count, `i` an index, `f` a score,
/// `m` milliseconds, `w` seconds to wait and `q` milliseconds, `d` a database, `g` a group, `c` a consumer, `j` an id that may be there, `J` one
/// behind all others. The rest of the notation is [`crate::random`]'s.
const TEMPLATES: &[(u64, &str)] = &[
    // Strings and bitmaps.
    (8, "SET s n"),
    (4, "SET s e PX m"),
    (2, "SET s e KEEPTTL"),
    (2, "INCRBY s n"),
    (1, "INCRBYFLOAT s 0.5"),
    (2, "APPEND s e"),
    (1, "SETRANGE s 7 n"),
    (1, "GETEX s [PX|PXAT] m"),
    (1, "GETDEL s"),
    (2, "MSET s n s e"),
    (2, "MSETEX 2 s e s n PX m"),
    (2, "SETBIT b n 1"),
    (1, "SETBIT b m 0"),
    (2, "BITFIELD b SET u8 n n INCRBY i5 #3 n"),
    (1, "BITOP [OR|AND|XOR] b b b"),
    // Keys.
    (4, "[DEL|UNLINK] k k*"),
    (4, "PEXPIRE k m"),
    (1, "PEXPIRE k m [NX|GT|LT|XX]"),
    (2, "PERSIST k"),
    (1, "EXPIREAT k 1"),
    (2, "[RENAME|RENAMENX] k k"),
    (3, "COPY k k REPLACE"),
    (1, "COPY k k DB d REPLACE"),
    (2, "MOVE k d"),
    (3, "SELECT d"),
    (1, "SORT [l|t|z] ALPHA LIMIT 0 n STORE l"),
    (1, "SORT l BY nosort STORE l"),
    (3, "[TTL|TYPE|EXISTS|DUMP] k"),
    (2, "[PUBLISH|SPUBLISH] channel e"),
    // Lists.
    (6, "[RPUSH|LPUSH] l e e* e* e*"),
    (1, "[RPUSHX|LPUSHX] l e e*"),
    (3, "[LPOP|RPOP] l ?n"),
    (2, "LINSERT l [BEFORE|AFTER] e e"),
    (2, "LSET l i e"),
    (2, "LREM l i e"),
    (2, "LTRIM l i i"),
    (2, "LMOVE l l [LEFT|RIGHT] [LEFT|RIGHT]"),
    (1, "LMPOP 2 l l [LEFT|RIGHT] COUNT n"),
    (2, "[BLPOP|BRPOP] l l w"),
    (2, "BLMOVE l l [LEFT|RIGHT] [LEFT|RIGHT] w"),
    (1, "BLMPOP w 2 l l LEFT COUNT n"),
    // Sets.
    (6, "SADD t e e* e* e*"),
    (3, "SREM t e e*"),
    (2, "SPOP t ?n"),
    (2, "SMOVE t t e"),
    (2, "[SUNIONSTORE|SINTERSTORE|SDIFFSTORE] t t t"),
    // Hashes.
    (6, "HSET h e e e e e e"),
    (2, "HDEL h e e*"),
    (1, "HSETNX h e e"),
    (2, "HINCRBY h e n"),
    (1, "HINCRBYFLOAT h e 0.25"),
    (4, "HPEXPIRE h m FIELDS 3 e e e"),
    (1, "HPEXPIRE h m [NX|XX|GT|LT] FIELDS 2 e e"),
    (1, "HPEXPIREAT h 1 FIELDS 1 e"),
    (2, "HPERSIST h FIELDS 2 e e"),
    (2, "HGETEX h [PX|PXAT] m FIELDS 2 e e"),
    (1, "HGETEX h PERSIST FIELDS 1 e"),
    (3, "HSETEX h PX m FIELDS 2 e e e e"),
    (1, "HSETEX h [FNX|FXX] KEEPTTL FIELDS 1 e e"),
    (1, "HGETDEL h FIELDS 2 e e"),
    (2, "[HGETALL|HLEN] h"),
    // Sorted sets.
    (6, "ZADD z f e f e f e"),
    (1, "ZADD z [GT|LT|NX|XX] f e"),
    (2, "ZINCRBY z f e"),
    (2, "ZREM z e e*"),
    (2, "[ZPOPMIN|ZPOPMAX] z ?n"),
    (1, "[ZUNIONSTORE|ZINTERSTORE|ZDIFFSTORE] z 2 [z|t] z"),
    (1, "ZRANGESTORE z z i i"),
    (1, "ZREMRANGEBYRANK z i i"),
    (1, "ZREMRANGEBYSCORE z f f"),
    (1, "ZMPOP 2 z z [MIN|MAX] COUNT n"),
    (1, "[BZPOPMIN|BZPOPMAX] z z w"),
    (1, "BZMPOP w 1 z MAX COUNT n"),
    (1, "GEOADD z 13.361389 38.115556 e"),
    (1, "GEOSEARCHSTORE z z FROMLONLAT 13 38 BYRADIUS 200 km"),
    // Streams.
    (10, "XADD x J e e e e"),
    (3, "XADD x J e e"),
    (2, "XADD x MAXLEN n J e e"),
    (2, "XADD x MAXLEN ~ n J e e"),
    (1, "XADD x MINID ~ j J e e"),
    (2, "XADD clocked MAXLEN ~ 20 * e e"),
    (2, "XDEL x j j*"),
    (1, "XTRIM x MAXLEN ?~ n"),
    (1, "XTRIM x MINID j [DELREF|ACKED|KEEPREF]"),
    (1, "XSETID x J"),
    (3, "XGROUP CREATE x g 0 MKSTREAM"),
    (1, "XGROUP CREATE x g $"),
    (1, "XGROUP SETID x g [j|$|0]"),
    (1, "XGROUP DESTROY x g"),
    (1, "XGROUP CREATECONSUMER x g c"),
    (1, "XGROUP DELCONSUMER x g c"),
    (5, "XREADGROUP GROUP g c COUNT n STREAMS x >"),
    (1, "XREADGROUP GROUP g c COUNT n NOACK STREAMS x >"),
    (2, "XREADGROUP GROUP g c COUNT n CLAIM m STREAMS x >"),
    (2, "XREADGROUP GROUP g c COUNT n BLOCK q STREAMS x x > >"),
    (
        1,
        "XREADGROUP GROUP g c COUNT n BLOCK q CLAIM q STREAMS x >",
    ),
    (3, "XACK x g j j*"),
    (2, "XCLAIM x g c 0 j j j*"),
    (1, "XCLAIM x g c 0 j j FORCE"),
    (1, "XCLAIM x g c 0 j j JUSTID"),
    (2, "XAUTOCLAIM x g c [0|m] 0 COUNT n"),
    (1, "XACKDEL x g [DELREF|ACKED] IDS 2 j j"),
    (1, "XDELEX x [DELREF|ACKED] IDS 2 j j"),
    (1, "XREAD COUNT n BLOCK q STREAMS x $"),
    // HyperLogLogs.
    (4, "PFADD y e e* e*"),
    (1, "PFMERGE y y y"),
    (1, "PFCOUNT y"),
    // Everything at once.
    (2, "BGSAVE"),
    (1, "FLUSHDB ?[ASYNC|SYNC]"),
];

/// Rare ones: one in so many commands is from [`RARE`].
const RARE_EVERY: u64 = 300;
const RARE: &[(u64, &str)] = &[(2, "FLUSHALL"), (3, "SWAPDB 0 1"), (3, "APPEND s long")];

/// A command as a client sends it.
pub fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_command(&mut bytes, words.iter().map(|word| word.as_bytes()));
    bytes
}

/// The keys of each type.
const KEYS: u64 = 4;
/// Types that have keys.
const TYPES: &[&str] = &["s", "l", "t", "h", "z", "x", "y", "b"];

/// A random command; `ids` counts the ids that were given to streams.
pub fn command(prng: &mut Prng, ids: &mut u64) -> Vec<Vec<u8>> {
    let table = match prng.below(RARE_EVERY) {
        0 => RARE,
        _ => TEMPLATES,
    };
    let template = draw(prng, table);
    expand(prng, template, &mut |prng, word| fill(prng, ids, word))
}

fn fill(prng: &mut Prng, ids: &mut u64, word: &str) -> Vec<u8> {
    let text = match word {
        "k" => key(prng, None),
        "s" | "l" | "t" | "h" | "z" | "x" | "y" | "b" => key(prng, Some(word)),
        "e" => element(prng),
        "n" => prng.below(30).to_string(),
        "i" => (prng.below(24) as i64 - 4).to_string(),
        "f" => [
            prng.below(20).to_string(),
            format!("{}.5", prng.below(100) as i64 - 50),
            "1e300".into(),
        ][prng.below(3) as usize]
            .clone(),
        "m" => (1 + prng.below(3000)).to_string(),
        "w" => format!("0.{:02}", 1 + prng.below(30)),
        "q" => (1 + prng.below(300)).to_string(),
        "d" => prng.below(3).to_string(),
        "g" => format!("g{}", prng.below(2)),
        "c" => format!("c{}", prng.below(3)),
        "j" => format!("{}-0", ids.saturating_sub(prng.below(60))),
        "J" => {
            *ids += 1;
            format!("{ids}-{}", one_of(prng, &["0", "0", "0", "*"]))
        }
        "long" => "y".repeat(70_000),
        literal => literal.into(),
    };
    text.into_bytes()
}

fn key(prng: &mut Prng, kind: Option<&str>) -> String {
    let kind = match prng.below(60) {
        0 => None,
        _ => kind,
    };
    let kind = kind.unwrap_or_else(|| one_of(prng, TYPES));
    format!("{kind}{}", prng.below(KEYS))
}

/// Few enough to meet, and now and then one that needs another encoding.
fn element(prng: &mut Prng) -> String {
    match prng.below(100) {
        0 => "v".repeat(prng.below(300) as usize),
        1 if prng.below(10) == 0 => "w".repeat(9000),
        2..20 => prng.below(60).to_string(),
        _ => format!("m{}", prng.below(40)),
    }
}
