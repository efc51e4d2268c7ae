//! SORT and SORT_RO.
//!
//! Elements stay where they are while they are ranked: an item is a reference with its weight, and of those only as many
//! are kept as LIMIT asks for ([`Best`]). Equal weights are ordered by the elements' bytes, but equal texts that BY leads
//! to by the places of a list's elements, as in Redis: a STORE makes the same list on every server.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use std::cmp::Ordering;
use std::ops::Range;

use super::list::{EMPTY, limit};
use super::string::bulk_string;
use super::texts::Texts;
use super::*;
use crate::engine::{EventClass, GlanceCount, Glances};
use crate::keyspace::Key;
use crate::types::list::{End, ListMut};
use crate::types::{Entry, StringRef, ValueRef, ZsetRef};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("sort", -2, sort)
        .flags(WRITE | DENYOOM | MOVABLE_KEYS)
        .categories(CAT_SET | CAT_SORTEDSET | CAT_LIST | CAT_DANGEROUS)
        .keys(&[KEY, PATTERN_KEYS, STORE_KEY])
        .doc(
            Group::Generic,
            "1.0.0",
            COMPLEXITY,
            "Sorts a list, a set or a sorted set, for the reply or into a list.",
        )
        .syntax("key [BY pattern{=by-pattern #1}] [LIMIT <offset count>{=limit}] [GET pattern{=get-pattern #1} \
             [GET pattern ...]] [ASC | DESC]{=order} [ALPHA{=sorting}] [STORE destination{#2}]"),
    Command::new("sort_ro", -2, sort_ro)
        .flags(READONLY | MOVABLE_KEYS)
        .categories(CAT_SET | CAT_SORTEDSET | CAT_LIST | CAT_DANGEROUS)
        .keys(&[KEY, PATTERN_KEYS])
        .doc(
            Group::Generic,
            "7.0.0",
            COMPLEXITY,
            "Sorts a list, a set or a sorted set for the reply.",
        )
        .syntax("key [BY pattern{=by-pattern #1}] [LIMIT <offset count>{=limit}] [GET pattern{=get-pattern #1} \
             [GET pattern ...]] [ASC | DESC]{=order} [ALPHA{=sorting}]"),
];

const COMPLEXITY: &str =
    "O(N+M*log(M)) where N is the number of elements and M that of the elements returned";

const KEY: KeySpec = KeySpec::first(RO | ACCESS);
const UNKNOWN: KeySpec = KeySpec {
    begin: Begin::Unknown,
    find: Find::Unknown,
    flags: RO | ACCESS,
    notes: "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort",
};
const PATTERN_KEYS: KeySpec = UNKNOWN;
const STORE_KEY: KeySpec = KeySpec {
    flags: OW | UPDATE,
    notes: "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array",
    ..UNKNOWN
};

/// Elements whose weights are looked up together.
const WINDOW: usize = 16;
/// Items that are collected at least before the best of them are selected.
const ITEMS_MIN: usize = 256;

/// The argument that is the destination of a SORT with these arguments: the last STORE counts.
pub(super) fn destination(argc: usize, argument: impl Fn(usize) -> Vec<u8>) -> Option<usize> {
    let (mut found, mut at) = (None, 2);
    while at < argc {
        let word = argument(at).to_ascii_lowercase();
        at += match word.as_slice() {
            b"limit" => 3,
            b"get" | b"by" => 2,
            b"store" if at + 1 < argc => {
                found = Some(at + 1);
                1
            }
            _ => 1,
        };
    }
    found
}

/// Where a pattern leads from an element.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: to the element.
    Element,
    /// Without a `*`: nowhere.
    Nothing,
    /// To the string under a key, or a field of the hash there.
    Key {
        before: &'a [u8],
        after: &'a [u8],
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    fn new(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|&byte| byte == b'*') else {
            return Pattern::Nothing;
        };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        let arrow = rest.windows(2).position(|pair| pair == b"->");
        match arrow.filter(|arrow| arrow + 2 < rest.len()) {
            Some(arrow) => Pattern::Key {
                before,
                after: &rest[..arrow],
                field: Some(&rest[arrow + 2..]),
            },
            None => Pattern::Key {
                before,
                after: rest,
                field: None,
            },
        }
    }
}

/// The arguments behind the key.
struct Query<'a> {
    by: Option<Pattern<'a>>,
    /// A BY without `*`: the order stays.
    unsorted: bool,
    descending: bool,
    alphabetical: bool,
    offset: i64,
    /// Negative: all.
    count: i64,
    get: Vec<Pattern<'a>>,
    store: Option<Key<'a>>,
}

impl<'a> Query<'a> {
    fn parse(args: &mut Args<'a>, may_store: bool) -> Result<Query<'a>, CommandError> {
        let mut query = Query {
            by: None,
            unsorted: false,
            descending: false,
            alphabetical: false,
            offset: 0,
            count: -1,
            get: Vec::new(),
            store: None,
        };
        while !args.is_empty() {
            let left = args.left();
            match () {
                () if args.take("asc") => query.descending = false,
                () if args.take("desc") => query.descending = true,
                () if args.take("alpha") => query.alphabetical = true,
                () if left > 2 && args.take("limit") => {
                    (query.offset, query.count) = (args.int()?, args.int()?);
                }
                () if left > 1 && may_store && args.take("store") => {
                    query.store = Some(args.key()?);
                }
                () if left > 1 && args.take("by") => {
                    let pattern = args.bytes()?;
                    query.unsorted |= !pattern.contains(&b'*');
                    query.by = Some(Pattern::new(pattern));
                }
                () if left > 1 && args.take("get") => query.get.push(Pattern::new(args.bytes()?)),
                () => return Err(CommandError::Syntax),
            }
        }
        Ok(query)
    }

    /// The places of the result that LIMIT leaves of so many elements.
    fn range(&self, len: usize) -> Range<usize> {
        let clamp = |number: i64| usize::try_from(number).unwrap_or(0).min(len);
        let start = clamp(self.offset);
        match self.count {
            ..0 => start..len,
            count => start..(start + clamp(count)).min(len),
        }
    }

    /// The elements of the result in order. Errors: a weight is no number.
    fn select<'e>(
        &self,
        value: ValueRef<'e>,
        lookup: &mut Lookup<'e>,
    ) -> Result<Vec<StringRef<'e>>, CommandError> {
        // A set has no order that a replica would share.
        let is_set = matches!(value, ValueRef::Set(_));
        let decides = self.unsorted && is_set && self.store.is_some();
        let range = self.range(len_of(value));
        if self.unsorted && !decides {
            return Ok(in_order(value, range, self.descending));
        }
        let by = self.by.filter(|_| !decides);
        let mut all_numbers = true;
        let mut number = |weight: Option<StringRef<'_>>| match weight.map(score) {
            None => 0.0,
            Some(Some(score)) => score,
            Some(None) => {
                all_numbers = false;
                0.0
            }
        };
        let (best, down) = (range, self.descending);
        let elements = match (self.alphabetical || decides, by) {
            (true, None) => {
                let mut best = Best::new(best, down);
                for_each(value, |element| best.push(Text::new(element)));
                best.finish()
            }
            (true, Some(pattern)) => {
                let mut best = Best::new(best, down);
                // The others are visited in an order that another server does not share.
                let step = match (matches!(value, ValueRef::List(_)), down) {
                    (false, _) => 0,
                    (true, false) => 1,
                    (true, true) => -1,
                };
                let mut place = 0;
                lookup.for_each(value, pattern, |element, weight| {
                    place += step;
                    best.push(Labelled::new(element, weight, place));
                });
                best.finish()
            }
            (false, None) => {
                let mut best = Best::new(best, down);
                for_each(value, |element| {
                    let score = number(Some(element));
                    best.push(Scored { score, element });
                });
                best.finish()
            }
            (false, Some(pattern)) => {
                let mut best = Best::new(best, down);
                lookup.for_each(value, pattern, |element, weight| {
                    let score = number(weight);
                    best.push(Scored { score, element });
                });
                best.finish()
            }
        };
        match all_numbers {
            true => Ok(elements),
            false => Err(CommandError::text(
                "ERR One or more scores can't be converted into double",
            )),
        }
    }

    /// Gives what GET makes of the elements, until `give` answers false.
    fn for_each_output(
        &self,
        elements: &[StringRef<'_>],
        lookup: &mut Lookup<'_>,
        mut give: impl FnMut(Option<StringRef<'_>>) -> bool,
    ) {
        let mut more = true;
        for &element in elements {
            if !more {
                return;
            }
            if self.get.is_empty() {
                more = give(Some(element));
            }
            for &pattern in &self.get {
                lookup.each(pattern, &[element], |_, value| more &= give(value));
            }
        }
    }
}

/// The number that a weight is; nothing counts as 0, and what stands behind a NUL byte does not.
fn score(weight: StringRef<'_>) -> Option<f64> {
    if let StringRef::Int(int) = weight {
        return Some(int as f64);
    }
    let mut scratch = Vec::new();
    let text = weight.as_bytes(&mut scratch);
    let end = text.iter().position(|&byte| byte == 0);
    let text = &text[..end.unwrap_or(text.len())];
    if text.is_empty() {
        return Some(0.0);
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!number.is_nan()).then_some(number)
}

fn len_of(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::List(list) => list.len(),
        ValueRef::Set(set) => set.len(),
        ValueRef::Zset(zset) => zset.len(),
        ValueRef::String(_) | ValueRef::Hash(_) | ValueRef::Stream(_) => 0,
    }
}

/// Visits the elements in any order.
fn for_each<'e>(value: ValueRef<'e>, mut each: impl FnMut(StringRef<'e>)) {
    match value {
        ValueRef::List(list) => list.for_each(each),
        ValueRef::Set(set) => set.for_each(each),
        ValueRef::Zset(ZsetRef::Table(table)) => table
            .members()
            .for_each(|entry| each(StringRef::Bytes(entry.key()))),
        ValueRef::Zset(zset) => zset.iter().for_each(|(member, _)| each(member)),
        ValueRef::String(_) | ValueRef::Hash(_) | ValueRef::Stream(_) => {}
    }
}

/// The elements of these places as they stand; if `reverse`, those of a list or a sorted set from its end.
fn in_order(value: ValueRef<'_>, range: Range<usize>, reverse: bool) -> Vec<StringRef<'_>> {
    let mut elements = Vec::with_capacity(range.len());
    match value {
        _ if range.is_empty() => {}
        ValueRef::List(list) => {
            let push = |element| {
                elements.push(element);
                elements.len() < range.len()
            };
            match reverse {
                true => list.walk_back(list.len() - 1 - range.start, push),
                false => list.walk(range.start, push),
            }
        }
        ValueRef::Zset(zset) => {
            let len = zset.len();
            let ranks = match reverse {
                true => len - range.end..len - range.start,
                false => range,
            };
            elements.extend(zset.range(ranks, reverse).map(|(member, _)| member));
        }
        ValueRef::Set(set) => {
            let mut before = range.start;
            set.for_each_run(|run| {
                let skipped = before.min(run.len());
                before -= skipped;
                let left = range.len() - elements.len();
                elements.extend(run[skipped..].iter().take(left));
                elements.len() < range.len()
            });
        }
        ValueRef::String(_) | ValueRef::Hash(_) | ValueRef::Stream(_) => {}
    }
    elements
}

/// Follows patterns.
struct Lookup<'e> {
    glances: Glances<'e>,
    /// The text of keys.
    bytes: Vec<u8>,
}

impl<'e> Lookup<'e> {
    /// Gives each element what its pattern leads to.
    fn each<'v>(
        &mut self,
        pattern: Pattern<'_>,
        elements: &[StringRef<'v>],
        mut give: impl FnMut(StringRef<'v>, Option<StringRef<'v>>),
    ) where
        'e: 'v,
    {
        let (before, after, field) = match pattern {
            Pattern::Element => return elements.iter().for_each(|&item| give(item, Some(item))),
            Pattern::Nothing => return elements.iter().for_each(|&item| give(item, None)),
            Pattern::Key {
                before,
                after,
                field,
            } => (before, after, field),
        };
        for window in elements.chunks(WINDOW) {
            self.bytes.clear();
            let mut ranges = [(0, 0); WINDOW];
            for (element, range) in window.iter().zip(&mut ranges) {
                range.0 = self.bytes.len();
                self.bytes.extend_from_slice(before);
                element.push_to(&mut self.bytes);
                self.bytes.extend_from_slice(after);
                range.1 = self.bytes.len();
            }
            let keys = ranges.map(|(start, end)| self.glances.key(&self.bytes[start..end]));
            let keys = &keys[..window.len()];
            if keys.len() > 1 {
                self.glances.prefetch::<WINDOW>(keys);
            }
            for (&element, &key) in window.iter().zip(keys) {
                let entry = self.glances.find(key);
                let value = entry.and_then(|entry| value_of(&mut self.glances, entry, field));
                give(element, value);
            }
        }
    }

    /// As [`Lookup::each`], of all elements of a value.
    fn for_each(
        &mut self,
        value: ValueRef<'e>,
        pattern: Pattern<'_>,
        mut give: impl FnMut(StringRef<'e>, Option<StringRef<'e>>),
    ) {
        let (mut window, mut count) = ([StringRef::Int(0); WINDOW], 0);
        for_each(value, |element| {
            window[count] = element;
            count += 1;
            if count == WINDOW {
                self.each(pattern, &window, &mut give);
                count = 0;
            }
        });
        self.each(pattern, &window[..count], &mut give);
    }
}

/// The string that an entry holds, or that a field of it holds.
fn value_of<'e>(
    glances: &mut Glances<'e>,
    entry: &'e Entry,
    field: Option<&[u8]>,
) -> Option<StringRef<'e>> {
    match (ValueRef::of(entry), field) {
        (ValueRef::String(string), None) => Some(string),
        (ValueRef::Hash(_), Some(field)) => glances.field(entry, field),
        _ => None,
    }
}

/// An element with what it is ranked by.
trait Ranked<'e> {
    fn compare(&self, other: &Self) -> Ordering;
    fn element(&self) -> StringRef<'e>;
}

/// By a number.
struct Scored<'e> {
    /// Not NaN.
    score: f64,
    element: StringRef<'e>,
}

impl<'e> Ranked<'e> for Scored<'e> {
    fn compare(&self, other: &Self) -> Ordering {
        let scores = self.score.partial_cmp(&other.score);
        let scores = scores.unwrap_or(Ordering::Equal);
        scores.then_with(|| self.element.compare(other.element))
    }

    fn element(&self) -> StringRef<'e> {
        self.element
    }
}

/// By its own bytes.
struct Text<'e> {
    prefix: u64,
    element: StringRef<'e>,
}

impl<'e> Text<'e> {
    fn new(element: StringRef<'e>) -> Text<'e> {
        let prefix = element.prefix();
        Text { prefix, element }
    }
}

impl<'e> Ranked<'e> for Text<'e> {
    #[inline]
    fn compare(&self, other: &Self) -> Ordering {
        let prefixes = self.prefix.cmp(&other.prefix);
        prefixes.then_with(|| self.element.compare(other.element))
    }

    fn element(&self) -> StringRef<'e> {
        self.element
    }
}

/// By a string found elsewhere; without one it comes first.
struct Labelled<'e> {
    label: Option<Text<'e>>,
    /// Orders those of equal labels.
    place: i64,
    element: StringRef<'e>,
}

impl<'e> Labelled<'e> {
    fn new(element: StringRef<'e>, label: Option<StringRef<'e>>, place: i64) -> Labelled<'e> {
        Labelled {
            label: label.map(Text::new),
            place,
            element,
        }
    }
}

impl<'e> Ranked<'e> for Labelled<'e> {
    fn compare(&self, other: &Self) -> Ordering {
        let labels = match (&self.label, &other.label) {
            (Some(label), Some(other)) => label.compare(other),
            (label, other) => label.is_some().cmp(&other.is_some()),
        };
        let places = labels.then(self.place.cmp(&other.place));
        places.then_with(|| self.element.compare(other.element))
    }

    fn element(&self) -> StringRef<'e> {
        self.element
    }
}

/// The items of some places in the order of all that are pushed; holds at most about twice as many as it needs.
struct Best<R> {
    items: Vec<R>,
    range: Range<usize>,
    descending: bool,
    /// Whether the first `range.end` items are the best so far, with the worst of them at the end.
    selected: bool,
}

impl<'e, R: Ranked<'e>> Best<R> {
    fn new(range: Range<usize>, descending: bool) -> Best<R> {
        Best {
            items: Vec::new(),
            range,
            descending,
            selected: false,
        }
    }

    fn order(descending: bool, a: &R, b: &R) -> Ordering {
        match descending {
            true => b.compare(a),
            false => a.compare(b),
        }
    }

    #[inline]
    fn push(&mut self, item: R) {
        let end = self.range.end;
        if self.range.is_empty() {
            return;
        }
        if self.selected && Self::order(self.descending, &item, &self.items[end - 1]).is_ge() {
            return;
        }
        self.items.push(item);
        if self.items.len() >= end.saturating_mul(2).max(ITEMS_MIN) {
            self.select();
        }
    }

    #[cold]
    fn select(&mut self) {
        let (end, descending) = (self.range.end, self.descending);
        if self.items.len() > end {
            self.items
                .select_nth_unstable_by(end - 1, |a, b| Self::order(descending, a, b));
            self.items.truncate(end);
            self.selected = true;
        }
    }

    /// The elements in order.
    fn finish(mut self) -> Vec<StringRef<'e>> {
        if self.range.is_empty() {
            return Vec::new();
        }
        self.select();
        let (start, descending) = (self.range.start, self.descending);
        let order = |a: &R, b: &R| Self::order(descending, a, b);
        if start > 0 && start < self.items.len() {
            self.items.select_nth_unstable_by(start, order);
        }
        let items = self.items.get_mut(start..).unwrap_or_default();
        items.sort_unstable_by(order);
        items.iter().map(R::element).collect()
    }
}

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC | DESC] [ALPHA] [STORE destination]
/// Reply: an array, for each element itself or what each GET leads to (null where there is nothing); with STORE the
/// length of the list that is made, which holds empty strings for nulls. Errors: syntax error, not an integer, WRONGTYPE,
/// a weight is no number. Propagates: itself with STORE. O(n + m · log m).
fn sort(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    run(ctx, args, true)
}

/// SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC | DESC] [ALPHA]. As SORT without STORE.
fn sort_ro(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    run(ctx, args, false)
}

fn run(ctx: &mut Context<'_>, args: &mut Args<'_>, may_store: bool) -> Result<(), CommandError> {
    let key = args.key()?;
    let query = Query::parse(args, may_store)?;
    let (found, seed) = (ctx.read(key).is_some(), ctx.engine.prng.next_u64());
    let engine = &*ctx.engine;
    let entry = engine.keyspace.find(ctx.client.db, key).filter(|_| found);
    let mut lookup = Lookup {
        glances: Glances::new(engine, ctx.client, seed, query.store.is_some()),
        bytes: Vec::new(),
    };
    let elements = match entry.map(ValueRef::of) {
        Some(ValueRef::String(_) | ValueRef::Hash(_) | ValueRef::Stream(_)) => {
            return Err(CommandError::WrongType);
        }
        Some(value) => query.select(value, &mut lookup)?,
        None => Vec::new(),
    };
    if let Some(to) = query.store {
        let mut list = Texts::default();
        query.for_each_output(&elements, &mut lookup, |value| {
            list.push(value.unwrap_or(StringRef::Bytes(b"")));
            true
        });
        let count = lookup.glances.count();
        store(ctx, to, &list, count);
        return Ok(());
    }
    let most = ctx.reply_bytes_max();
    let reply = &mut ctx.client.reply;
    reply.array(elements.len() * query.get.len().max(1));
    query.for_each_output(&elements, &mut lookup, |value| {
        match value {
            Some(value) => bulk_string(reply, value),
            None => reply.null(),
        }
        reply.buf.len() <= most
    });
    let count = lookup.glances.count();
    ctx.engine.count_glances(ctx.client, count);
    Ok(())
}

/// Makes a list of it under a key, whatever is there; an empty one removes that.
fn store(ctx: &mut Context<'_>, to: Key<'_>, list: &Texts, count: GlanceCount) {
    ctx.engine.count_glances(ctx.client, count);
    let (db, limit) = (ctx.client.db, limit(ctx));
    ctx.engine.drop_due(ctx.client, to);
    let existed = ctx.engine.keyspace.remove(db, to);
    ctx.reply().int(list.len() as i64);
    if list.is_empty() {
        if existed {
            ctx.changed(to.bytes, EventClass::Generic, "del");
        }
        return;
    }
    let (body, _) = ctx.engine.keyspace.body_or_new(db, to, EMPTY);
    let mut stored = ListMut::new(body, limit);
    stored.expect(list.bytes_len(), list.len());
    list.iter()
        .for_each(|element| stored.push_expected(End::Back, element));
    drop(stored);
    if !existed {
        ctx.created(db, to.bytes);
    }
    ctx.changed(to.bytes, EventClass::List, "sortstore");
    ctx.engine.dirty += list.len() as u64 - 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn the_best_are_those_of_a_full_sort() {
        let mut prng = Prng::new(7);
        for _ in 0..300 {
            let texts: Vec<String> = (0..prng.below(2000))
                .map(|_| prng.below(700).to_string())
                .collect();
            let len = texts.len() as u64;
            let start = prng.below(len + 1) as usize;
            let end = start + prng.below(len + 1 - start as u64) as usize;
            let descending = prng.below(2) == 0;
            let mut best = Best::new(start..end, descending);
            for text in &texts {
                best.push(Text::new(StringRef::Bytes(text.as_bytes())));
            }
            let mut sorted: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
            sorted.sort_unstable();
            if descending {
                sorted.reverse();
            }
            let found = best.finish();
            assert_eq!(found.len(), end - start);
            for (found, expected) in found.iter().zip(&sorted[start..end]) {
                assert!(found.equals(expected));
            }
        }
    }

    #[test]
    fn patterns_are_taken_apart() {
        let parts = |text: &'static str| match Pattern::new(text.as_bytes()) {
            Pattern::Element => ("#", "", None),
            Pattern::Nothing => ("", "", None),
            Pattern::Key {
                before,
                after,
                field,
            } => {
                let text = |bytes| std::str::from_utf8(bytes).unwrap();
                (text(before), text(after), field.map(text))
            }
        };
        assert_eq!(parts("#"), ("#", "", None));
        assert_eq!(parts("nosort"), ("", "", None));
        assert_eq!(parts("a*b"), ("a", "b", None));
        assert_eq!(parts("a*b*->c->d"), ("a", "b*", Some("c->d")));
        assert_eq!(parts("x->a*->"), ("x->a", "->", None));
    }
}
