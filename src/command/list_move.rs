//! Lists: elements moved from one to another, or to another end.
//! Source: the documentation of Redis, the replies of redis-server 8.0, and for LMOVEM and BLMOVEM those that the
//! documentation of Redis 8.10 and its clients' tests tell of.

use std::ops::Range;

use super::list::{EMPTY, end_of, limit, pop_name, popped, pushed, removed};
use super::texts::Texts;
use super::*;
use crate::engine::{Clock, EventClass};
use crate::keyspace::Key;
use crate::types::Kind;
use crate::types::list::{End, ListMut};

const MOVED: &[KeySpec] = &[
    KeySpec::first(RW | ACCESS | DELETE),
    KeySpec::range(2, 0, 1, RW | INSERT),
];

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("lmove", 5, lmove)
        .flags(WRITE | DENYOOM)
        .categories(CAT_LIST)
        .keys(MOVED)
        .doc(
            Group::List,
            "6.2.0",
            "O(1)",
            "Moves an element from an end of a list to an end of another.",
        )
        .syntax("source destination <LEFT | RIGHT>{=wherefrom} <LEFT | RIGHT>{=whereto}"),
    Command::new("rpoplpush", 3, rpoplpush)
        .flags(WRITE | DENYOOM)
        .categories(CAT_LIST)
        .keys(MOVED)
        .doc(
            Group::List,
            "1.2.0",
            "O(1)",
            "Moves the last element of a list to the head of another.",
        )
        .syntax("source destination")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    Command::new("blmove", 6, blmove)
        .flags(WRITE | DENYOOM | BLOCKING)
        .categories(CAT_LIST | CAT_BLOCKING)
        .keys(MOVED)
        .doc(
            Group::List,
            "6.2.0",
            "O(1)",
            "Moves an element from an end of a list to an end of another; waits for one.",
        )
        .syntax("source destination <LEFT | RIGHT>{=wherefrom} <LEFT | RIGHT>{=whereto} timeout{:double}"),
    Command::new("brpoplpush", 4, brpoplpush)
        .flags(WRITE | DENYOOM | BLOCKING)
        .categories(CAT_LIST | CAT_BLOCKING)
        .keys(MOVED)
        .doc(
            Group::List,
            "2.2.0",
            "O(1)",
            "Moves the last element of a list to the head of another; waits for one.",
        )
        .syntax("source destination timeout{:double}")
        .history(&[(
            "6.0.0",
            "`timeout` is interpreted as a double instead of an integer.",
        )])
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    Command::new("blmovem", -6, blmovem)
        .flags(WRITE | DENYOOM | BLOCKING)
        .categories(CAT_LIST | CAT_BLOCKING)
        .keys(MOVED)
        .doc(
            Group::List,
            "8.10.0",
            "O(N) where N is the number of elements moved",
            "Moves elements from an end of a list to an end of another; waits for them.",
        )
        .syntax(
            "source destination <LEFT | RIGHT>{=wherefrom} <LEFT | RIGHT>{=whereto} timeout{:double} \
             [<COUNT count | EXACTLY exactly{:integer}>{=mode} <OBO | BULK>{=order}]",
        ),
    Command::new("lmovem", -5, lmovem)
        .flags(WRITE | DENYOOM)
        .categories(CAT_LIST)
        .keys(MOVED)
        .doc(
            Group::List,
            "8.10.0",
            "O(N) where N is the number of elements moved",
            "Moves elements from an end of a list to an end of another.",
        )
        .syntax(
            "source destination <LEFT | RIGHT>{=wherefrom} <LEFT | RIGHT>{=whereto} [<COUNT count | EXACTLY exactly{:integer}>{=mode} <OBO | BULK>{=order}]",
        ),
];

/// LMOVE source destination LEFT | RIGHT LEFT | RIGHT. Reply: the element, or null without the source. Errors:
/// WRONGTYPE, syntax error. O(1).
fn lmove(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (source, destination) = (args.key()?, args.key()?);
    let (from, to) = (end_of(args)?, end_of(args)?);
    if !move_element(ctx, source, destination, from, to)? {
        ctx.reply().null();
    }
    Ok(())
}

/// RPOPLPUSH source destination. As LMOVE … RIGHT LEFT.
fn rpoplpush(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (source, destination) = (args.key()?, args.key()?);
    if !move_element(ctx, source, destination, End::Back, End::Front)? {
        ctx.reply().null();
    }
    Ok(())
}

/// Moves an element and answers it; false when there is no source.
fn move_element(
    ctx: &mut Context<'_>,
    source: Key<'_>,
    destination: Key<'_>,
    from: End,
    to: End,
) -> Result<bool, CommandError> {
    let limit = limit(ctx);
    let Some(body) = ctx.engine.body(ctx.client, source, Kind::List)? else {
        return Ok(false);
    };
    let mut list = ListMut::new(body, limit);
    let mut item = Vec::new();
    if let Some(element) = list.get().end(from) {
        element.push_to(&mut item);
    }
    if source.bytes == destination.bytes {
        list.remove_range(
            match from {
                End::Front => 0,
                End::Back => list.get().len() - 1,
            },
            1,
        );
        list.push(to, &item);
        list.settle(true);
        drop(list);
        ctx.changed(source.bytes, EventClass::List, pushed(to));
        let db = ctx.client.db;
        ctx.changed_too(db, source.bytes, EventClass::List, popped(from));
        ctx.reply().bulk(&item);
        return Ok(true);
    }
    drop(list);
    let (body, new) = ctx.engine.body_or_new(ctx.client, destination, EMPTY)?;
    let mut list = ListMut::new(body, limit);
    list.push(to, &item);
    drop(list);
    if new {
        ctx.created(ctx.client.db, destination.bytes);
    }
    let db = ctx.client.db;
    ctx.changed_too(db, destination.bytes, EventClass::List, pushed(to));
    ctx.reply().bulk(&item);
    let Some(body) = ctx.engine.keyspace.body(ctx.client.db, source) else {
        return Ok(true);
    };
    let mut list = ListMut::new(body, limit);
    let empty = list.get().len() == 1;
    if !empty {
        list.pop(from, 1);
    }
    drop(list);
    removed(ctx, source, popped(from), 1, empty);
    Ok(true)
}

/// BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout. As LMOVE; null when the time is over. Propagates: LMOVE.
fn blmove(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (source, destination) = (args.key()?, args.key()?);
    let (from, to) = (end_of(args)?, end_of(args)?);
    let deadline_ms = args.deadline(ctx.engine.clock)?;
    if move_element(ctx, source, destination, from, to)? {
        let ends = (args.at(3), args.at(4));
        ctx.replicate_as(&[b"LMOVE", source.bytes, destination.bytes, ends.0, ends.1]);
    } else if !ctx.wait_for_keys(args, 1..2, Kind::List, deadline_ms) {
        ctx.reply().null();
    }
    Ok(())
}

/// BRPOPLPUSH source destination timeout. As BLMOVE … RIGHT LEFT. Propagates: RPOPLPUSH.
fn brpoplpush(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (source, destination) = (args.key()?, args.key()?);
    let deadline_ms = args.deadline(ctx.engine.clock)?;
    if move_element(ctx, source, destination, End::Back, End::Front)? {
        ctx.replicate_as(&[b"RPOPLPUSH", source.bytes, destination.bytes]);
    } else if !ctx.wait_for_keys(args, 1..2, Kind::List, deadline_ms) {
        ctx.reply().null();
    }
    Ok(())
}

// ---- several elements ------------------------------------------------------------------------

/// Elements of one push that is propagated.
const ELEMENTS_PROPAGATED: usize = 1024;

/// What LMOVEM moves.
struct Several<'a> {
    source: Key<'a>,
    destination: Key<'a>,
    from: End,
    to: End,
    count: usize,
    /// EXACTLY: so many or none.
    exactly: bool,
    /// OBO: each is pushed on the one before; else they stay in order.
    one_by_one: bool,
}

impl<'a> Several<'a> {
    /// source destination LEFT | RIGHT LEFT | RIGHT [timeout] [COUNT n | EXACTLY n OBO | BULK], with the deadline if one is
    /// given.
    fn parse(
        args: &mut Args<'a>,
        clock: Option<Clock>,
    ) -> Result<(Several<'a>, u64), CommandError> {
        let (source, destination) = (args.key()?, args.key()?);
        let (from, to) = (end_of(args)?, end_of(args)?);
        let mut timeout = args.clone();
        args.skip(usize::from(clock.is_some()));
        let mut several = Several {
            source,
            destination,
            from,
            to,
            count: 1,
            exactly: false,
            one_by_one: false,
        };
        if !args.is_empty() {
            several.parse_count(args)?;
        }
        let deadline_ms = clock.map_or(Ok(0), |clock| timeout.deadline(clock))?;
        Ok((several, deadline_ms))
    }

    fn parse_count(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        self.exactly = args.take("exactly");
        if args.left() != 2 + usize::from(!self.exactly) || !(self.exactly || args.take("count")) {
            return Err(CommandError::Syntax);
        }
        let not_positive = CommandError::text("ERR count should be greater than 0");
        self.count = args.int_in(1, i64::MAX, not_positive)? as usize;
        self.one_by_one = args.take("obo");
        match self.one_by_one || args.take("bulk") {
            true => Ok(()),
            false => Err(CommandError::Syntax),
        }
    }

    /// The indices that go, of a list of so many elements; none when there are too few.
    fn range(&self, len: usize) -> Option<Range<usize>> {
        if self.exactly && self.count > len {
            return None;
        }
        let count = self.count.min(len);
        Some(match self.from {
            End::Front => 0..count,
            End::Back => len - count..len,
        })
    }

    /// Moves the elements and answers with them as they stand then; false when there are too few.
    fn run(&self, ctx: &mut Context<'_>) -> Result<bool, CommandError> {
        let limit = limit(ctx);
        let same = self.source.bytes == self.destination.bytes;
        let Some(body) = ctx.engine.body(ctx.client, self.source, Kind::List)? else {
            return Ok(false);
        };
        let mut list = ListMut::new(body, limit);
        let len = list.get().len();
        let Some(range) = self.range(len) else {
            return Ok(false);
        };
        let mut moved = Texts::default();
        list.get().walk(range.start, |element| {
            moved.push(element);
            moved.len() < range.len()
        });
        if self.one_by_one && self.from == self.to {
            moved.reverse();
        }
        let db = ctx.client.db;
        if same {
            list.remove_range(range.start, range.len());
            push(&mut list, self.to, &moved);
            list.settle(true);
            drop(list);
            ctx.changed(self.source.bytes, EventClass::List, pushed(self.to));
            ctx.engine.dirty += range.len() as u64 - 1;
            ctx.changed_too(db, self.source.bytes, EventClass::List, popped(self.from));
        } else {
            drop(list);
            let (body, new) = ctx
                .engine
                .body_or_new(ctx.client, self.destination, EMPTY)?;
            push(&mut ListMut::new(body, limit), self.to, &moved);
            if new {
                ctx.created(db, self.destination.bytes);
            }
            ctx.changed_too(
                db,
                self.destination.bytes,
                EventClass::List,
                pushed(self.to),
            );
            if let Some(body) = ctx.engine.keyspace.body(db, self.source)
                && range.len() < len
            {
                ListMut::new(body, limit).pop(self.from, range.len());
            }
            let (event, all) = (popped(self.from), range.len() == len);
            removed(ctx, self.source, event, range.len(), all);
        }
        let reply = ctx.reply();
        reply.array(moved.len());
        moved.iter().for_each(|element| reply.bulk(element));
        self.propagate(ctx, &moved, same && range.len() == len);
        Ok(true)
    }

    /// As commands that every replica knows. The source must not become empty in between if it is the destination too.
    fn propagate(&self, ctx: &mut Context<'_>, moved: &Texts, turns: bool) {
        ctx.replicate_nothing();
        if !ctx.engine.propagates() {
            return;
        }
        let (mut digits, to) = (itoa::Buffer::new(), if turns { End::Back } else { self.to });
        let count = digits.format(moved.len()).as_bytes();
        if !turns {
            ctx.replicate_as(&[pop_name(self.from), self.source.bytes, count]);
        }
        let mut elements: Vec<&[u8]> = moved.iter().collect();
        let name: &[u8] = match to {
            End::Front => b"LPUSH",
            End::Back => b"RPUSH",
        };
        if to == End::Front {
            elements.reverse();
        }
        for batch in elements.chunks(ELEMENTS_PROPAGATED) {
            ctx.replicate_as(&[&[name, self.destination.bytes], batch].concat());
        }
        if turns {
            ctx.replicate_as(&[b"LTRIM", self.source.bytes, count, b"-1"]);
        }
    }
}

/// Puts elements at an end of a list, in order.
fn push(list: &mut ListMut<'_>, to: End, elements: &Texts) {
    match to {
        End::Front => elements
            .iter()
            .rev()
            .for_each(|element| list.push(to, element)),
        End::Back => elements.iter().for_each(|element| list.push(to, element)),
    }
}

/// LMOVEM source destination LEFT | RIGHT LEFT | RIGHT [COUNT n | EXACTLY n OBO | BULK]. Reply: an array of the elements
/// as they stand in the destination, or a null array when there are too few. Errors: WRONGTYPE, syntax error, count
/// should be greater than 0. Propagates: LPOP or RPOP and LPUSH or RPUSH. O(elements).
fn lmovem(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (several, _) = Several::parse(args, None)?;
    if !several.run(ctx)? {
        ctx.reply().null_array();
    }
    Ok(())
}

/// BLMOVEM source destination LEFT | RIGHT LEFT | RIGHT timeout [COUNT n | EXACTLY n OBO | BULK]. As LMOVEM; a null array
/// when the time is over.
fn blmovem(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (several, deadline_ms) = Several::parse(args, Some(ctx.engine.clock))?;
    if !several.run(ctx)? && !ctx.wait_for_keys(args, 1..2, Kind::List, deadline_ms) {
        ctx.reply().null_array();
    }
    Ok(())
}
