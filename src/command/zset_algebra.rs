//! Sorted sets: unions, intersections and differences of several, plain sets among them.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::string::bulk_string;
use super::zset::{Members, push_score, reply_pairs};
use super::*;
use crate::keyspace::Key;
use crate::types::{Entry, Kind, SetRef, StringRef, ZsetRef};

/// A union is merged before its end from so many members on.
const MERGED_MEMBERS: usize = 10_000;

/// What the rows that reply have in common.
const READ: Command = Command::new("", -3, zunion)
    .flags(READONLY | MOVABLE_KEYS)
    .categories(CAT_SORTEDSET)
    .keys(&[KEYS_AT_1]);

/// What the rows that store have in common.
const STORE: Command = Command::new("", -4, zunionstore)
    .flags(WRITE | DENYOOM | MOVABLE_KEYS)
    .categories(CAT_SORTEDSET)
    .keys(&[KeySpec::first(OW | UPDATE), KEYS_AT_2]);

const KEYS_AT_1: KeySpec = KeySpec {
    begin: Begin::Index(1),
    find: Find::KeyNum {
        at: 0,
        first: 1,
        step: 1,
    },
    flags: RO | ACCESS,
    notes: "",
};

const KEYS_AT_2: KeySpec = KeySpec {
    begin: Begin::Index(2),
    ..KEYS_AT_1
};

const OF_ALL: &str = "O(N)+O(M*log(M)) for N members in all and M in the result";
const OF_SMALLEST: &str =
    "O(N*K)+O(M*log(M)) for K sets, N members in the smallest and M in the result";

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    READ.named("zdiff", zdiff)
        .doc(
            Group::SortedSet,
            "6.2.0",
            OF_ALL,
            "Returns the members of the first sorted set that no other has.",
        )
        .syntax("numkeys key [key ...] [WITHSCORES]"),
    STORE
        .named("zdiffstore", zdiffstore)
        .doc(
            Group::SortedSet,
            "6.2.0",
            OF_ALL,
            "Stores the members of the first sorted set that no other has.",
        )
        .syntax("destination numkeys key [key ...]"),
    READ.named("zinter", zinter)
        .doc(
            Group::SortedSet,
            "6.2.0",
            OF_SMALLEST,
            "Returns the members that all sorted sets have.",
        )
        .syntax("numkeys key [key ...] [WEIGHTS weight{:integer} [weight ...]] [AGGREGATE <SUM | MIN | MAX | \
             COUNT{@8.8.0}>{=aggregate}] [WITHSCORES]")
        .history(&[("8.8.0", "Added the `COUNT` aggregate option.")]),
    READ.named("zintercard", zintercard)
        .doc(
            Group::SortedSet,
            "7.0.0",
            "O(N*K) for K sets and N members in the smallest",
            "Counts the members that all sorted sets have.",
        )
        .syntax("numkeys key [key ...] [LIMIT limit{:integer}]"),
    STORE
        .named("zinterstore", zinterstore)
        .doc(
            Group::SortedSet,
            "2.0.0",
            OF_SMALLEST,
            "Stores the members that all sorted sets have.",
        )
        .syntax("destination numkeys key [key ...] [WEIGHTS weight{:integer} [weight ...]] [AGGREGATE <SUM | MIN \
             | MAX | COUNT{@8.8.0}>{=aggregate}]")
        .history(&[("8.8.0", "Added the `COUNT` aggregate option.")]),
    READ.named("zunion", zunion)
        .doc(
            Group::SortedSet,
            "6.2.0",
            OF_ALL,
            "Returns the members that any of the sorted sets has.",
        )
        .syntax("numkeys key [key ...] [WEIGHTS weight{:integer} [weight ...]] [AGGREGATE <SUM | MIN | MAX | \
             COUNT{@8.8.0}>{=aggregate}] [WITHSCORES]")
        .history(&[("8.8.0", "Added the `COUNT` aggregate option.")]),
    STORE
        .named("zunionstore", zunionstore)
        .doc(
            Group::SortedSet,
            "2.0.0",
            OF_ALL,
            "Stores the members that any of the sorted sets has.",
        )
        .syntax("destination numkeys key [key ...] [WEIGHTS weight{:integer} [weight ...]] [AGGREGATE <SUM | MIN \
             | MAX | COUNT{@8.8.0}>{=aggregate}]")
        .history(&[("8.8.0", "Added the `COUNT` aggregate option.")]),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
    /// The sum of the weights of the sets that have the member.
    Count,
}

impl Aggregate {
    /// Infinities of both signs add up to 0.
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum | Aggregate::Count => number(a + b),
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// What is no number counts as 0.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// The members of a set that is combined.
#[derive(Clone, Copy)]
enum Content<'a> {
    /// With their scores.
    Zset(ZsetRef<'a>),
    /// Each has the score 1.
    Set(SetRef<'a>),
}

/// One of the sets that are combined.
#[derive(Clone, Copy)]
struct Source<'a> {
    content: Content<'a>,
    weight: f64,
    /// All scores count as 1.
    counts: bool,
}

impl<'a> Source<'a> {
    fn of(entry: &'a Entry, weight: f64, aggregate: Aggregate) -> Source<'a> {
        let content = match entry.kind() {
            Kind::Set => Content::Set(SetRef::of(entry)),
            Kind::String | Kind::List | Kind::Zset | Kind::Hash | Kind::Stream => {
                Content::Zset(ZsetRef::of(entry))
            }
        };
        let counts = aggregate == Aggregate::Count;
        Source {
            content,
            weight,
            counts,
        }
    }

    fn len(&self) -> usize {
        match self.content {
            Content::Zset(zset) => zset.len(),
            Content::Set(set) => set.len(),
        }
    }

    /// Visits the members with their weighted scores until `each` returns false.
    fn walk(&self, mut each: impl FnMut(StringRef<'a>, f64) -> bool) {
        match self.content {
            Content::Zset(zset) => {
                let _ = zset
                    .iter()
                    .all(|(member, score)| each(member, self.weighted(score)));
            }
            Content::Set(set) => {
                set.for_each_run(|run| run.iter().all(|&member| each(member, self.weighted(1.0))));
            }
        }
    }

    /// The weighted score of a member.
    fn score(&self, member: &[u8]) -> Option<f64> {
        let score = match self.content {
            Content::Zset(zset) => zset.score(member)?,
            Content::Set(set) => set.contains(member).then_some(1.0)?,
        };
        Some(self.weighted(score))
    }

    fn weighted(&self, score: f64) -> f64 {
        match self.counts {
            true => self.weight,
            false => score * self.weight,
        }
    }
}

/// The arguments from numkeys on.
struct Query<'a> {
    /// The keys with the weights of their sets; absent ones are `None`.
    sources: Vec<(Option<Key<'a>>, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0: none.
    limit: usize,
}

/// Who reads the arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

impl<'a> Query<'a> {
    /// As Redis does, looks at the keys' types before it reads the options.
    fn parse(
        ctx: &mut Context<'_>,
        args: &mut Args<'a>,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Query<'a>, CommandError> {
        let numkeys = args.int()?;
        if numkeys < 1 {
            let text = format!(
                "ERR at least 1 input key is needed for '{}' command",
                ctx.command.full_name
            );
            return Err(CommandError::owned(text));
        }
        if numkeys > args.left() as i64 {
            return Err(CommandError::Syntax);
        }
        let mut query = Query {
            sources: Vec::with_capacity(numkeys as usize),
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        for _ in 0..numkeys {
            let key = args.key()?;
            let found = ctx.engine.read(ctx.client, key);
            if found.is_some_and(|entry| !is_source(entry)) {
                return Err(CommandError::WrongType);
            }
            let key = found.is_some().then_some(key);
            query.sources.push((key, 1.0));
        }
        let weighs = operation != Operation::Difference && purpose != Purpose::Count;
        while !args.is_empty() {
            if weighs && args.left() > numkeys as usize && args.take("weights") {
                for (_, weight) in &mut query.sources {
                    *weight = args
                        .float()
                        .map_err(|_| CommandError::text("ERR weight value is not a float"))?;
                }
            } else if weighs && args.left() >= 2 && args.take("aggregate") {
                query.aggregate = match () {
                    () if args.take("sum") => Aggregate::Sum,
                    () if args.take("min") => Aggregate::Min,
                    () if args.take("max") => Aggregate::Max,
                    () if args.take("count") => Aggregate::Count,
                    () => return Err(CommandError::Syntax),
                };
            } else if purpose == Purpose::Reply && args.take("withscores") {
                query.with_scores = true;
            } else if purpose == Purpose::Count && args.left() >= 2 && args.take("limit") {
                let error = CommandError::text("ERR LIMIT can't be negative");
                query.limit = args.int_in(0, i64::MAX, error)? as usize;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(query)
    }

    /// The sets that are there, in the order of the keys; `None` for the absent.
    fn sources<'e>(&self, ctx: &'e Context<'_>) -> Vec<Option<Source<'e>>> {
        let (keyspace, db) = (&ctx.engine.keyspace, ctx.client.db);
        let source = |&(key, weight): &(Option<Key<'_>>, f64)| {
            let entry = keyspace.find(db, key?)?;
            Some(Source::of(entry, weight, self.aggregate))
        };
        self.sources.iter().map(source).collect()
    }

    /// The result in order.
    fn run(&self, ctx: &Context<'_>, operation: Operation) -> Members {
        let sources = self.sources(ctx);
        let mut members = Members::default();
        match operation {
            Operation::Union => self.unite(sources, &mut members),
            Operation::Intersection => intersect(sources, |member, scores| {
                let score = scores.reduce(|a, b| self.aggregate.of(a, b));
                members.push(member, number(score.unwrap_or(0.0)));
                true
            }),
            Operation::Difference => subtract(&sources, &mut members),
        }
        members.sort();
        members
    }

    /// The smallest set comes first, so that the scores are added in Redis's order.
    fn unite(&self, sources: Vec<Option<Source<'_>>>, members: &mut Members) {
        let mut sources: Vec<Source<'_>> = sources.into_iter().flatten().collect();
        sources.sort_by_key(Source::len);
        let mut distinct = 0;
        for source in &sources {
            source.walk(|member, score| {
                members.push(member, number(score));
                true
            });
            // Memory follows the result, not the sources.
            if members.len() > MERGED_MEMBERS.max(2 * distinct) {
                members.merge(|a, b| self.aggregate.of(a, b));
                distinct = members.len();
            }
        }
        members.merge(|a, b| self.aggregate.of(a, b));
    }
}

/// Whether the sets of these commands may be of this type.
fn is_source(entry: &Entry) -> bool {
    matches!(entry.kind(), Kind::Zset | Kind::Set)
}

/// Gives `each` the members that all sets have, with their weighted scores from the smallest set to the largest, until
/// it says that it is enough.
fn intersect(
    sources: Vec<Option<Source<'_>>>,
    mut each: impl FnMut(StringRef<'_>, &mut dyn Iterator<Item = f64>) -> bool,
) {
    let Some(mut sources) = sources.into_iter().collect::<Option<Vec<Source<'_>>>>() else {
        return;
    };
    sources.sort_by_key(Source::len);
    let Some((smallest, others)) = sources.split_first() else {
        return;
    };
    let (mut scratch, mut scores) = (Vec::new(), Vec::with_capacity(sources.len()));
    smallest.walk(|member, score| {
        scores.clear();
        scores.push(number(score));
        let bytes = member.as_bytes(&mut scratch);
        for other in others {
            let Some(score) = other.score(bytes) else {
                return true;
            };
            scores.push(score);
        }
        each(member, &mut scores.iter().copied())
    });
}

/// The members of the first set that no other has.
fn subtract(sources: &[Option<Source<'_>>], members: &mut Members) {
    let Some((Some(first), others)) = sources.split_first() else {
        return;
    };
    let mut scratch = Vec::new();
    first.walk(|member, score| {
        let bytes = member.as_bytes(&mut scratch);
        let elsewhere = others
            .iter()
            .flatten()
            .any(|other| other.score(bytes).is_some());
        if !elsewhere {
            members.push(member, score);
        }
        true
    });
}

fn reply(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    operation: Operation,
) -> Result<(), CommandError> {
    let query = Query::parse(ctx, args, operation, Purpose::Reply)?;
    let members = query.run(ctx, operation);
    let (count, most) = (members.len(), ctx.reply_bytes_max());
    let all = members
        .iter()
        .map(|(member, score)| (StringRef::Bytes(member), score));
    let reply = ctx.reply();
    if query.with_scores {
        reply_pairs(reply, count, all, most);
    } else {
        reply.array(count);
        for (member, _) in all {
            if reply.buf.len() > most {
                break;
            }
            bulk_string(reply, member);
        }
    }
    Ok(())
}

fn store(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    operation: Operation,
    event: &'static str,
) -> Result<(), CommandError> {
    let to = args.key()?;
    let query = Query::parse(ctx, args, operation, Purpose::Store)?;
    let members = query.run(ctx, operation);
    let dirty = ctx.engine.dirty;
    members.store(ctx, to, event);
    if query.aggregate == Aggregate::Count && ctx.engine.dirty != dirty {
        propagate_result(ctx, to, &members);
    }
    Ok(())
}

/// Members of one ZADD that is propagated.
const MEMBERS_PROPAGATED: usize = 1024;

/// As commands that every replica knows.
fn propagate_result(ctx: &mut Context<'_>, to: Key<'_>, members: &Members) {
    ctx.replicate_as(&[b"DEL", to.bytes]);
    if !ctx.engine.propagates() {
        return;
    }
    let mut scores: Vec<(Vec<u8>, &[u8])> = Vec::with_capacity(MEMBERS_PROPAGATED);
    let mut all = members.iter().peekable();
    while all.peek().is_some() {
        scores.clear();
        scores.extend(
            all.by_ref()
                .take(MEMBERS_PROPAGATED)
                .map(|(member, score)| {
                    let mut text = Vec::new();
                    push_score(&mut text, score);
                    (text, member)
                }),
        );
        let pairs = scores
            .iter()
            .flat_map(|(score, member)| [score.as_slice(), member]);
        let mut argv: Vec<&[u8]> = vec![b"ZADD", to.bytes];
        argv.extend(pairs);
        ctx.replicate_as(&argv);
    }
}

/// ZUNION numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX | COUNT] [WITHSCORES]
/// Reply: an array of members in order, with scores of pairs in RESP3. Errors: WRONGTYPE, syntax error, no key, not a
/// float. O(n + m log m).
fn zunion(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    reply(ctx, args, Operation::Union)
}

/// ZINTER, as ZUNION. O(members of the smallest · keys + m log m).
fn zinter(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    reply(ctx, args, Operation::Intersection)
}

/// ZDIFF numkeys key [key …] [WITHSCORES]. As ZUNION. O(members of the first · keys + m log m).
fn zdiff(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    reply(ctx, args, Operation::Difference)
}

/// ZUNIONSTORE destination numkeys key [key …] [WEIGHTS weight …] [AGGREGATE SUM | MIN | MAX | COUNT]
/// Reply: how many members destination has now; without any it is deleted. Errors: as ZUNION. Propagates: itself, with
/// AGGREGATE COUNT DEL and ZADD.
fn zunionstore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    store(ctx, args, Operation::Union, "zunionstore")
}

/// ZINTERSTORE, as ZUNIONSTORE.
fn zinterstore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    store(ctx, args, Operation::Intersection, "zinterstore")
}

/// ZDIFFSTORE destination numkeys key [key …]. As ZUNIONSTORE.
fn zdiffstore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    store(ctx, args, Operation::Difference, "zdiffstore")
}

/// ZINTERCARD numkeys key [key …] [LIMIT limit]
/// Reply: how many members all sets have, counted up to the limit. Errors: WRONGTYPE, syntax error, no key, LIMIT
/// negative. O(members of the smallest · keys).
fn zintercard(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let query = Query::parse(ctx, args, Operation::Intersection, Purpose::Count)?;
    let mut count = 0;
    intersect(query.sources(ctx), |_, _| {
        count += 1;
        count != query.limit
    });
    ctx.reply().int(count as i64);
    Ok(())
}
