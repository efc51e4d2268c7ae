//! `TimeIndex`: which keys of a database are due, found by time and never by sampling.
//!
//! # What it holds
//! References are 64-bit key hashes in [`Chain`]s. A reference promises nothing: whoever pops one
//! asks the table (through [`Deadlines`]) what deadlines the keys with this hash have now. What is
//! promised is the converse: *a key with a deadline has a reference in the list where
//! [`TimeIndex::place`] puts (hash, deadline)*, and *every place counts exactly the keys that
//! belong to it*. `place` is a pure function of the index's state, so a deadline can be added or
//! withdrawn in O(1) without searching a list; withdrawn references become stale and are
//! dropped when met, or by the sweep.
//!
//! # Places, from near to far
//! 1. `Past`: deadlines before the current span; all due.
//! 2. `Current`, `Next`: the span of 4096 ms that holds the clock and the one after it, with a
//!    counter and a list per millisecond.
//! 3. `Wheel(level, slot)`: level 0 lists of 4096 ms, level 1 of 2^22 ms (70 minutes), level 2
//!    of 2^32 ms (50 days), each a ring over two windows of 1024 lists; level 3 is one list for
//!    all beyond (139 years and more).
//! 4. `Early`: only while the clock stands before the current span because it was set back.
//!
//! # Moving towards the present
//! Each level has a cursor: the list that holds the clock, already dissolved into the finer
//! places. The list after it (`cursor + 1`) is dissolved in advance, in small steps of
//! [`TimeIndex::maintain`], over the whole time the clock needs to get there:
//! 1. its references are distributed into parts by the hash's top bits;
//! 2. part by part they are sorted, duplicates dropped, looked up, and each key found is
//!    counted and referenced in its finer place.
//!
//! The *frontier* is the number of parts done. `place` answers "finer" for a hash below the
//! frontier and "still here" above it, so counts stay exact while a list is half dissolved.
//!
//! # When the clock jumps
//! Lists wholly passed go to `Past` with their exact counts, without a look-up. Only the list per
//! level that holds the new instant, if it was not dissolved in time, is dissolved at once:
//! one look-up for each reference in at most one list a level. With `maintain` called often
//! enough (see [`TimeIndex::pending`]) that never happens in normal running.
//! A clock set back before the current span moves the due keys into an ordered map until the
//! clock has caught up: exact, and O(due keys) once.
//!
//! # Bounds
//! References ≤ 2 × keys + [`SLACK`] plus a fraction that arrives during a sweep: when there are more, [`TimeIndex::tidy`]
//! (called after each write, in steps of a few references) sweeps list by list.
//! At rest 128 / 15 = 8.5 bytes a reference, and up to 250 KiB of rings and counters.

use std::collections::BTreeMap;

use crate::base::time::UnixMs;

use super::chain::{BLOCK_REFS, Chain};

mod sweep;

use sweep::Sweep;

/// What the index asks of the table whose deadlines it indexes.
pub trait Deadlines {
    /// Starts fetching what `deadlines` will read for these hashes. A hint.
    fn prefetch(&self, _hashes: &[u64]) {}

    /// Calls `each` with the deadline of every key with this hash that has one.
    fn deadlines(&self, hash: u64, each: &mut dyn FnMut(UnixMs));
}

/// Levels of the wheel; the last is the overflow list.
const LEVELS: usize = 4;
const OVERFLOW: usize = LEVELS - 1;
/// log2 of the milliseconds in a list of each level.
const SHIFT: [u32; LEVELS] = [12, 22, 32, 42];
/// Two windows of 1024 lists.
const RING: usize = 2048;
/// Milliseconds in a span.
const SPAN: usize = 1 << SHIFT[0];
/// References that are dissolved or swept in one step; one step is the unit that cannot be split.
const PART_REFS: usize = 128;
/// Stale references that are never worth a sweep.
const SLACK: u64 = 8192;
/// What `tidy` and `maintain` may have in hand; so a pause does not end in a burst.
const CREDIT_MAX: i64 = 4096;

/// Where a key is counted and referenced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Early,
    Past,
    Current(u16),
    Next(u16),
    Wheel(u8, u16),
}

/// Counters and lists of one span of 4096 ms.
#[derive(Default)]
struct Span {
    /// Keys per millisecond; empty until first used.
    counts: Vec<u32>,
    /// References per millisecond; empty until first used.
    lists: Vec<Chain>,
    live: u64,
}

impl Span {
    fn allocate(&mut self) {
        if self.counts.is_empty() {
            self.counts.resize(SPAN, 0);
            self.lists.resize_with(SPAN, Chain::default);
        }
    }

    fn sum(&self, from: usize, to: usize) -> u64 {
        self.counts
            .get(from..to)
            .unwrap_or(&[])
            .iter()
            .map(|&count| u64::from(count))
            .sum()
    }
}

/// References split by the top bits of the hash, worked off part by part.
#[derive(Default)]
struct Parts {
    /// log2 of the number of parts.
    bits: u32,
    lists: Vec<Chain>,
    /// Parts worked off. Invariant: `lists[..frontier]` are empty.
    frontier: usize,
}

impl Parts {
    fn for_refs(refs: usize) -> Parts {
        let bits = refs.div_ceil(PART_REFS).next_power_of_two().ilog2().min(16);
        let mut lists = Vec::new();
        lists.resize_with(1 << bits, Chain::default);
        Parts {
            bits,
            lists,
            frontier: 0,
        }
    }

    fn part(&self, hash: u64) -> usize {
        if self.bits == 0 {
            0
        } else {
            (hash >> (64 - self.bits)) as usize
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The list `cursor + 1` is untouched.
    Fresh,
    /// Its references are being split into parts.
    Distribute,
    /// Parts are being worked off.
    Dissolve,
    /// It is dissolved (or was empty): its keys belong to finer places.
    Done,
}

/// One level of the wheel.
struct Level {
    /// The list that holds the clock, by number: `deadline >> SHIFT`.
    cursor: i64,
    /// Rings of [`RING`] lists, one for the overflow; empty until first used.
    ring: Vec<Chain>,
    phase: Phase,
    parts: Parts,
}

impl Level {
    fn reached(&self, hash: u64) -> bool {
        match self.phase {
            Phase::Fresh | Phase::Distribute => false,
            Phase::Dissolve => self.parts.part(hash) < self.parts.frontier,
            Phase::Done => true,
        }
    }
}

/// The index; see the file's header. It never sees a key, only hashes and deadlines.
pub struct TimeIndex {
    /// The instant that `passed` and `early_due` refer to.
    clock: UnixMs,
    /// Keys with a deadline.
    live: u64,
    /// References held, in all lists.
    refs: u64,
    past: Vec<Chain>,
    past_live: u64,
    early: BTreeMap<(UnixMs, u64), u32>,
    early_due: u64,
    current: Span,
    next: Span,
    /// Keys of the current span whose deadline is before the clock.
    passed: u64,
    /// Lists of the current span below this one hold no due key.
    drained: usize,
    levels: [Level; LEVELS],
    sweep: Sweep,
    credit: i64,
    /// When `maintain` ran last.
    maintained: UnixMs,
    hashes: Vec<u64>,
    found: Vec<(u64, UnixMs)>,
}

impl Default for TimeIndex {
    fn default() -> TimeIndex {
        TimeIndex::new(0)
    }
}

fn slot_of(level: usize, list: i64) -> u16 {
    if level == OVERFLOW {
        0
    } else {
        (list & (RING as i64 - 1)) as u16
    }
}

impl TimeIndex {
    /// An empty index whose clock stands at `now`. An empty index costs no allocation.
    pub fn new(now: UnixMs) -> TimeIndex {
        let level = |shift: u32| Level {
            cursor: now >> shift,
            ring: Vec::new(),
            phase: Phase::Done,
            parts: Parts::default(),
        };
        TimeIndex {
            clock: now,
            live: 0,
            refs: 0,
            past: Vec::new(),
            past_live: 0,
            early: BTreeMap::new(),
            early_due: 0,
            current: Span::default(),
            next: Span::default(),
            passed: 0,
            drained: 0,
            levels: SHIFT.map(level),
            sweep: Sweep::default(),
            credit: 0,
            maintained: now,
            hashes: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Keys that have a deadline.
    pub fn len(&self) -> u64 {
        self.live
    }

    /// True when no key has a deadline.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// References held, stale ones included; for statistics and tests.
    pub fn references(&self) -> u64 {
        self.refs
    }

    /// Bytes held, within some per cent.
    pub fn memory_bytes(&self) -> usize {
        let rings: usize = self.levels.iter().map(|level| level.ring.capacity()).sum();
        let spans = self.current.lists.len() + self.next.lists.len();
        let counts = self.current.counts.len() + self.next.counts.len();
        self.refs as usize * 128 / BLOCK_REFS
            + (rings + spans) * size_of::<Chain>()
            + counts * 4
            + self.early.len() * 32
            + size_of::<TimeIndex>()
    }

    // ---- keys come, change and go ----------------------------------------------------------

    /// A key with this hash had the deadline `old` and now has `new` (`None`: no deadline, or no
    /// key). O(1). The clock is where the last call that took a time left it.
    pub fn set(&mut self, hash: u64, old: Option<UnixMs>, new: Option<UnixMs>) {
        let from = old.map(|deadline| {
            let place = self.place(hash, deadline);
            self.uncount(place, hash, deadline);
            self.live -= 1;
            place
        });
        let Some(deadline) = new else { return };
        let to = self.place(hash, deadline);
        self.count(to, hash, deadline);
        self.live += 1;
        if from != Some(to) {
            self.push(to, hash);
        }
    }

    // ---- what is due -----------------------------------------------------------------------

    /// Keys whose deadline is before `now`, exactly. O(1) while the clock moves as expected; see
    /// the header for jumps.
    pub fn due_count<D: Deadlines + ?Sized>(&mut self, now: UnixMs, table: &D) -> u64 {
        self.advance(now, table);
        self.past_live + self.passed + self.early_due
    }

    /// The hash of a key that is due at `now`, or `None` when there is none to be had within
    /// `budget` references. Every reference looked at takes one from `budget`.
    ///
    /// The caller removes the due keys with this hash (and tells `set`), or it gets the
    /// same hash again.
    pub fn next_due<D: Deadlines + ?Sized>(
        &mut self,
        now: UnixMs,
        budget: &mut usize,
        table: &D,
    ) -> Option<u64> {
        let found = self.find_due(now, budget, table);
        if found.is_none()
            && *budget > 0
            && self.past_live + self.passed > 0
            && matches!(self.sweep.target, Some(Place::Past | Place::Current(_)))
        {
            // What is due is in the hands of the sweep.
            self.stop_sweep();
            return self.find_due(now, budget, table);
        }
        found
    }

    fn find_due<D: Deadlines + ?Sized>(
        &mut self,
        now: UnixMs,
        budget: &mut usize,
        table: &D,
    ) -> Option<u64> {
        self.advance(now, table);
        if self.early_due > 0 {
            return self.early.first_key_value().map(|((_, hash), _)| *hash);
        }
        while *budget > 0 && self.past_live > 0 {
            *budget -= 1;
            let chain = self.past.last()?;
            let Some(hash) = chain.last() else {
                self.past.pop();
                continue;
            };
            if chain.head_refs().len() == BLOCK_REFS {
                table.prefetch(chain.head_refs());
            }
            if self.has_key_in(Place::Past, hash, table) {
                return Some(hash);
            }
            self.past.last_mut()?.pop();
            self.refs -= 1;
        }
        while *budget > 0 && self.past_live == 0 && !self.past.is_empty() {
            *budget -= 1;
            self.drop_stale_past();
        }
        if self.clock >> SHIFT[0] != self.levels[0].cursor {
            return None;
        }
        let whole = self.clock as usize & (SPAN - 1);
        while *budget > 0 && self.drained < whole && !self.current.lists.is_empty() {
            let offset = self.drained;
            let Some(hash) = self.current.lists[offset].last() else {
                self.drained += 1;
                continue;
            };
            *budget -= 1;
            let refs = self.current.lists[offset].head_refs();
            if refs.len() == BLOCK_REFS {
                table.prefetch(refs);
            }
            if self.has_key_in(Place::Current(offset as u16), hash, table) {
                return Some(hash);
            }
            self.current.lists[offset].pop();
            self.refs -= 1;
        }
        None
    }

    /// Work in references and look-ups until the lists of the next span are ready; spread it
    /// over the calls to `maintain` before the clock gets there.
    pub fn pending(&self) -> usize {
        let level = &self.levels[0];
        let list = level
            .ring
            .get(slot_of(0, level.cursor + 1) as usize)
            .map_or(0, Chain::len);
        let parts: usize = level.parts.lists.iter().map(Chain::len).sum();
        match level.phase {
            Phase::Fresh | Phase::Distribute => 3 * list + 2 * parts,
            Phase::Dissolve => 2 * parts,
            Phase::Done => 0,
        }
    }

    /// Sets the clock and does about `budget` units of the work that is to be spread, or what is
    /// due by now for the next span to be ready in time, if that is more (a unit is
    /// a reference moved or half a look-up; one step may overdraw by some hundreds, which the next call
    /// makes up for). True when there is more to do.
    pub fn maintain<D: Deadlines + ?Sized>(
        &mut self,
        now: UnixMs,
        budget: usize,
        table: &D,
    ) -> bool {
        let elapsed = now.saturating_sub(self.maintained).clamp(0, SPAN as i64);
        self.maintained = now;
        self.advance(now, table);
        let left = (SPAN as i64 - (now & (SPAN as i64 - 1))).max(1);
        let paced = self.pending() as i64 * elapsed / left * 3 / 2;
        let budget = paced.max(budget as i64);
        self.credit = (self.credit + budget).min(budget);
        let mut more = true;
        while self.credit > 0 && more {
            more = self.step(table);
        }
        if more { self.has_work() } else { false }
    }

    /// True when `tidy` has something to do: ask after each write.
    #[inline]
    pub fn wants_tidy(&self) -> bool {
        self.sweep.active || self.refs > 2 * self.live + SLACK
    }

    /// Does about `budget` units of sweeping stale references, so that a caller that rewrites
    /// deadlines faster than `maintain` runs still pays for them.
    pub fn tidy<D: Deadlines + ?Sized>(&mut self, budget: usize, table: &D) {
        self.credit = (self.credit + budget as i64).min(CREDIT_MAX);
        while self.credit > 0 && self.wants_tidy() {
            if !self.step(table) {
                break;
            }
        }
    }

    // ---- places ----------------------------------------------------------------------------

    fn place(&self, hash: u64, deadline: UnixMs) -> Place {
        for index in (0..LEVELS).rev() {
            let level = &self.levels[index];
            let list = deadline >> SHIFT[index];
            let ahead = list - level.cursor;
            if ahead > 1 || (ahead == 1 && !level.reached(hash)) {
                return Place::Wheel(index as u8, slot_of(index, list));
            }
        }
        let offset = (deadline as usize & (SPAN - 1)) as u16;
        match (deadline >> SHIFT[0]) - self.levels[0].cursor {
            1 => Place::Next(offset),
            0 => Place::Current(offset),
            _ if self.is_set_back() => Place::Early,
            _ => Place::Past,
        }
    }

    /// The clock stands before the current span.
    fn is_set_back(&self) -> bool {
        self.clock >> SHIFT[0] < self.levels[0].cursor
    }

    fn count(&mut self, place: Place, hash: u64, deadline: UnixMs) {
        let offset = deadline as usize & (SPAN - 1);
        match place {
            Place::Early => {
                *self.early.entry((deadline, hash)).or_insert(0) += 1;
                self.early_due += u64::from(deadline < self.clock);
            }
            Place::Past => self.past_live += 1,
            Place::Current(_) => {
                self.current.allocate();
                self.current.counts[offset] += 1;
                self.current.live += 1;
                self.passed += u64::from(deadline < self.clock);
                self.drained = self.drained.min(offset);
            }
            Place::Next(_) => {
                self.next.allocate();
                self.next.counts[offset] += 1;
                self.next.live += 1;
            }
            Place::Wheel(level, slot) => self.list(level, slot).live += 1,
        }
    }

    fn uncount(&mut self, place: Place, hash: u64, deadline: UnixMs) {
        let offset = deadline as usize & (SPAN - 1);
        match place {
            Place::Early => {
                if let Some(count) = self.early.get_mut(&(deadline, hash)) {
                    *count -= 1;
                    if *count == 0 {
                        self.early.remove(&(deadline, hash));
                    }
                }
                self.early_due -= u64::from(deadline < self.clock);
            }
            Place::Past => self.past_live -= 1,
            Place::Current(_) => {
                self.current.counts[offset] -= 1;
                self.current.live -= 1;
                self.passed -= u64::from(deadline < self.clock);
            }
            Place::Next(_) => {
                self.next.counts[offset] -= 1;
                self.next.live -= 1;
            }
            Place::Wheel(level, slot) => self.list(level, slot).live -= 1,
        }
    }

    /// The list of a wheel's slot, allocating the ring on first use.
    fn list(&mut self, level: u8, slot: u16) -> &mut Chain {
        let ring = &mut self.levels[level as usize].ring;
        if ring.is_empty() {
            let lists = if level as usize == OVERFLOW { 1 } else { RING };
            ring.resize_with(lists, Chain::default);
        }
        &mut ring[slot as usize]
    }

    fn push(&mut self, place: Place, hash: u64) {
        match place {
            Place::Early => return,
            Place::Past => {
                if self.past.is_empty() {
                    self.past.push(Chain::default());
                }
                let last = self.past.len() - 1;
                self.past[last].push(hash);
            }
            Place::Current(offset) => {
                self.current.allocate();
                self.current.lists[offset as usize].push(hash);
                self.drained = self.drained.min(offset as usize);
            }
            Place::Next(offset) => {
                self.next.allocate();
                self.next.lists[offset as usize].push(hash);
            }
            Place::Wheel(index, slot) => {
                let level = &mut self.levels[index as usize];
                let target = slot_of(index as usize, level.cursor + 1) == slot;
                let part = level.parts.part(hash);
                if target
                    && matches!(level.phase, Phase::Distribute | Phase::Dissolve)
                    && part >= level.parts.frontier
                {
                    level.parts.lists[part].push(hash);
                } else {
                    self.list(index, slot).push(hash);
                }
            }
        }
        self.refs += 1;
    }

    /// True when some key with this hash belongs to `place`.
    fn has_key_in<D: Deadlines + ?Sized>(&self, place: Place, hash: u64, table: &D) -> bool {
        let mut found = false;
        table.deadlines(hash, &mut |deadline| {
            found |= self.place(hash, deadline) == place
        });
        found
    }

    fn drop_stale_past(&mut self) {
        let Some(chain) = self.past.last_mut() else {
            return;
        };
        self.refs -= chain.drop_head() as u64;
        if chain.is_empty() {
            self.past.pop();
        }
    }

    /// Adds a whole list to `Past`; small ones are merged so that a trickle of deadlines does not keep
    /// a block each.
    fn append_past(&mut self, mut chain: Chain) {
        if chain.len() > BLOCK_REFS {
            self.past.push(chain);
            return;
        }
        self.refs -= chain.len() as u64;
        while let Some(hash) = chain.pop() {
            self.push(Place::Past, hash);
        }
    }

    // ---- the clock -------------------------------------------------------------------------

    fn advance<D: Deadlines + ?Sized>(&mut self, now: UnixMs, table: &D) {
        if now == self.clock {
            return;
        }
        if self.live == 0 {
            if self.refs > 0 || now >> SHIFT[0] != self.levels[0].cursor {
                self.reset(now);
            }
            self.clock = now;
            return;
        }
        let span = now >> SHIFT[0];
        let cursor = self.levels[0].cursor;
        if span < cursor {
            self.advance_set_back(now, table);
            return;
        }
        if self.is_set_back() {
            self.leave_set_back();
        }
        if span > cursor {
            self.cross(now, table);
            return;
        }
        let (from, to) = (self.clock, now);
        self.clock = now;
        if from >> SHIFT[0] != cursor {
            self.passed = self.current.sum(0, to as usize & (SPAN - 1));
        } else if from < to {
            self.passed += self
                .current
                .sum(from as usize & (SPAN - 1), to as usize & (SPAN - 1));
        } else {
            self.passed -= self
                .current
                .sum(to as usize & (SPAN - 1), from as usize & (SPAN - 1));
        }
    }

    /// Nothing is indexed: drop stale references and put the cursors at `now`.
    fn reset(&mut self, now: UnixMs) {
        let clear = |chains: &mut Vec<Chain>| {
            for chain in chains.iter_mut().filter(|chain| !chain.is_empty()) {
                *chain = Chain::default();
            }
        };
        if self.refs > 0 {
            self.past.clear();
            clear(&mut self.current.lists);
            clear(&mut self.next.lists);
            self.levels
                .iter_mut()
                .for_each(|level| clear(&mut level.ring));
        }
        for (level, shift) in self.levels.iter_mut().zip(SHIFT) {
            level.cursor = now >> shift;
            level.phase = Phase::Done;
            level.parts = Parts::default();
        }
        self.sweep = Sweep::default();
        (self.refs, self.drained, self.credit) = (0, 0, 0);
        debug_assert_eq!((self.past_live, self.passed, self.early_due), (0, 0, 0));
    }

    /// The clock goes to `now`, before the current span. The due keys of earlier spans go to the ordered map on
    /// the way in; within, only the map's boundary moves.
    fn advance_set_back<D: Deadlines + ?Sized>(&mut self, now: UnixMs, table: &D) {
        if !self.is_set_back() {
            self.stop_sweep();
            let mut hashes = Vec::new();
            for mut chain in std::mem::take(&mut self.past) {
                while let Some(hash) = chain.pop() {
                    hashes.push(hash);
                }
            }
            self.refs -= hashes.len() as u64;
            let found = self.look_up(hashes, Place::Past, table);
            (self.past_live, self.passed) = (0, 0);
            self.clock = now;
            for (hash, deadline) in found {
                self.count(Place::Early, hash, deadline);
            }
            return;
        }
        let (from, to) = (self.clock.min(now), self.clock.max(now));
        let between: u64 = self
            .early
            .range((from, 0)..(to, 0))
            .map(|(_, &count)| u64::from(count))
            .sum();
        if now > self.clock {
            self.early_due += between;
        } else {
            self.early_due -= between;
        }
        self.clock = now;
    }

    /// The clock is back in or after the current span. Leaves `clock` to the caller.
    fn leave_set_back(&mut self) {
        for ((_, hash), count) in std::mem::take(&mut self.early) {
            self.past_live += u64::from(count);
            self.push(Place::Past, hash);
        }
        self.early_due = 0;
    }

    /// The clock enters a later span. In the normal case the next span is ready and becomes
    /// current; see the header for jumps.
    fn cross<D: Deadlines + ?Sized>(&mut self, now: UnixMs, table: &D) {
        // 1. Under the old cursors: what lists hold the new instant and are not dissolved yet?
        let mut moves = Vec::new();
        for (index, shift) in SHIFT.into_iter().enumerate() {
            let (cursor, target) = (self.levels[index].cursor, now >> shift);
            if target == cursor {
                continue;
            }
            let in_ring = index == OVERFLOW || target >> 10 <= (cursor >> 10) + 1;
            if in_ring {
                let slot = slot_of(index, target);
                let place = Place::Wheel(index as u8, slot);
                let mut hashes = Vec::new();
                let mut chains = self.take_all_refs(index, slot, target == cursor + 1);
                for chain in &mut chains {
                    while let Some(hash) = chain.pop() {
                        hashes.push(hash);
                    }
                }
                self.refs -= hashes.len() as u64;
                let found = self.look_up(hashes, place, table);
                if let Some(list) = self.levels[index].ring.get_mut(slot as usize) {
                    debug_assert_eq!(u64::from(list.live), found.len() as u64);
                    list.live = 0;
                }
                moves.extend(found);
            }
            // 2. Lists wholly passed go to `Past` as they are.
            if index == OVERFLOW || self.levels[index].ring.is_empty() {
                continue;
            }
            for passed in (cursor + 1..target).take(RING) {
                let slot = slot_of(index, passed);
                for chain in self.take_all_refs(index, slot, passed == cursor + 1) {
                    self.append_past(chain);
                }
                let list = &mut self.levels[index].ring[slot as usize];
                self.past_live += u64::from(std::mem::take(&mut list.live));
            }
        }
        // 3. The current span is past; the next one takes its place, or is past as well.
        if matches!(self.sweep.target, Some(Place::Current(_) | Place::Next(_))) {
            self.stop_sweep();
        }
        self.span_to_past();
        std::mem::swap(&mut self.current, &mut self.next);
        if now >> SHIFT[0] > self.levels[0].cursor + 1 {
            self.span_to_past();
        }
        // 4. The new cursors, and what was found in step 1 to its new place.
        for (index, level) in self.levels.iter_mut().enumerate() {
            let cursor = now >> SHIFT[index];
            if cursor == level.cursor {
                continue;
            }
            level.cursor = cursor;
            level.parts = Parts::default();
            let slot = slot_of(index, cursor + 1) as usize;
            let empty = level
                .ring
                .get(slot)
                .is_none_or(|list| list.is_empty() && list.live == 0);
            level.phase = if empty { Phase::Done } else { Phase::Fresh };
        }
        self.clock = now;
        self.drained = 0;
        self.passed = self.current.sum(0, now as usize & (SPAN - 1));
        self.settle(&moves);
    }

    /// Empties the current span into `Past`.
    fn span_to_past(&mut self) {
        let mut span = std::mem::take(&mut self.current);
        for chain in span.lists.iter_mut().filter(|chain| !chain.is_empty()) {
            self.append_past(chain.take_refs());
        }
        if span.live > 0 {
            self.past_live += span.live;
            span.live = 0;
            span.counts.fill(0);
        }
        self.current = span;
    }

    /// All references that belong to a wheel's list: its own, those in parts when it is being dissolved,
    /// and those in the hands of the sweep.
    fn take_all_refs(&mut self, index: usize, slot: u16, dissolving: bool) -> Vec<Chain> {
        if self.sweep.target == Some(Place::Wheel(index as u8, slot)) {
            self.stop_sweep();
        }
        let level = &mut self.levels[index];
        let mut chains = Vec::new();
        if let Some(list) = level.ring.get_mut(slot as usize) {
            chains.push(list.take_refs());
        }
        if dissolving || index == OVERFLOW {
            chains.append(&mut level.parts.lists);
        }
        chains
    }

    /// The keys with these hashes that belong to `place`, each once, in the hashes' order.
    fn look_up<D: Deadlines + ?Sized>(
        &self,
        mut hashes: Vec<u64>,
        place: Place,
        table: &D,
    ) -> Vec<(u64, UnixMs)> {
        let mut found = Vec::new();
        self.look_up_into(&mut hashes, place, table, &mut found);
        found
    }

    fn look_up_into<D: Deadlines + ?Sized>(
        &self,
        hashes: &mut Vec<u64>,
        place: Place,
        table: &D,
        found: &mut Vec<(u64, UnixMs)>,
    ) {
        hashes.sort_unstable();
        hashes.dedup();
        for run in hashes.chunks(16) {
            table.prefetch(run);
            for &hash in run {
                table.deadlines(hash, &mut |deadline| {
                    if self.place(hash, deadline) == place {
                        found.push((hash, deadline));
                    }
                });
            }
        }
    }

    /// Counts and references keys at the places they belong to now. They must have been
    /// uncounted, and come sorted by hash.
    fn settle(&mut self, keys: &[(u64, UnixMs)]) {
        let mut last = None;
        for &(hash, deadline) in keys {
            let place = self.place(hash, deadline);
            self.count(place, hash, deadline);
            if last != Some((hash, place)) {
                self.push(place, hash);
            }
            last = Some((hash, place));
        }
    }

    // ---- work that is spread -----------------------------------------------------------------

    fn has_work(&self) -> bool {
        self.wants_tidy() || self.levels.iter().any(|level| level.phase != Phase::Done)
    }

    /// One step of what is most urgent; false when there is nothing to do.
    fn step<D: Deadlines + ?Sized>(&mut self, table: &D) -> bool {
        if let Some(index) = (0..LEVELS).find(|&index| self.levels[index].phase != Phase::Done) {
            self.dissolve_step(index, table);
            return true;
        }
        if self.wants_tidy() {
            self.sweep_step(table);
            return true;
        }
        false
    }

    fn dissolve_step<D: Deadlines + ?Sized>(&mut self, index: usize, table: &D) {
        let slot = slot_of(index, self.levels[index].cursor + 1);
        let place = Place::Wheel(index as u8, slot);
        match self.levels[index].phase {
            Phase::Done => {}
            Phase::Fresh => {
                if self.sweep.target == Some(place) {
                    self.stop_sweep();
                }
                self.credit -= 1;
                let refs = self.list(index as u8, slot).len();
                let level = &mut self.levels[index];
                level.parts = Parts::for_refs(refs);
                level.phase = Phase::Distribute;
            }
            Phase::Distribute => {
                let level = &mut self.levels[index];
                let list = &mut level.ring[slot as usize];
                for _ in 0..64 {
                    let Some(hash) = list.pop() else {
                        level.phase = Phase::Dissolve;
                        break;
                    };
                    let part = level.parts.part(hash);
                    level.parts.lists[part].push(hash);
                    self.credit -= 1;
                }
            }
            Phase::Dissolve => {
                let mut hashes = std::mem::take(&mut self.hashes);
                let mut found = std::mem::take(&mut self.found);
                let parts = &mut self.levels[index].parts;
                let mut part = std::mem::take(&mut parts.lists[parts.frontier]);
                while let Some(hash) = part.pop() {
                    hashes.push(hash);
                }
                self.refs -= hashes.len() as u64;
                self.credit -= 2 * hashes.len() as i64 + 1;
                self.look_up_into(&mut hashes, place, table, &mut found);
                self.list(index as u8, slot).live -= found.len() as u32;
                let level = &mut self.levels[index];
                level.parts.frontier += 1;
                if level.parts.frontier == level.parts.lists.len() {
                    level.parts = Parts::default();
                    level.phase = Phase::Done;
                }
                self.settle(&found);
                hashes.clear();
                found.clear();
                (self.hashes, self.found) = (hashes, found);
            }
        }
    }

    /// Everything the header promises, checked against the keys themselves. O(n); for tests.
    #[cfg(test)]
    fn check(&self, keys: &BTreeMap<u64, UnixMs>) {
        use std::collections::{HashMap, HashSet};
        assert_eq!(self.live, keys.len() as u64);
        let mut lists: Vec<(Place, &Chain)> = Vec::new();
        self.past
            .iter()
            .for_each(|chain| lists.push((Place::Past, chain)));
        for (offset, chain) in self.current.lists.iter().enumerate() {
            lists.push((Place::Current(offset as u16), chain));
        }
        for (offset, chain) in self.next.lists.iter().enumerate() {
            lists.push((Place::Next(offset as u16), chain));
        }
        for (index, level) in self.levels.iter().enumerate() {
            for (slot, chain) in level.ring.iter().enumerate() {
                lists.push((Place::Wheel(index as u8, slot as u16), chain));
            }
            let target = Place::Wheel(index as u8, slot_of(index, level.cursor + 1));
            level
                .parts
                .lists
                .iter()
                .for_each(|chain| lists.push((target, chain)));
        }
        if let Some(target) = self.sweep.target {
            let chains = self.sweep.source.iter().chain(&self.sweep.parts.lists);
            chains.for_each(|chain| lists.push((target, chain)));
        }
        let mut held: HashSet<(u64, String)> = HashSet::new();
        let mut refs = 0;
        for (place, chain) in lists {
            for hash in chain.all() {
                refs += 1;
                held.insert((hash, format!("{place:?}")));
            }
        }
        assert_eq!(refs, self.refs);
        let mut counts: HashMap<String, u64> = HashMap::new();
        for (&hash, &deadline) in keys {
            let place = self.place(hash, deadline);
            if place == Place::Early {
                assert!(self.early.contains_key(&(deadline, hash)));
            } else {
                assert!(held.contains(&(hash, format!("{place:?}"))), "{place:?}");
            }
            *counts.entry(format!("{place:?}")).or_default() += 1;
        }
        assert_eq!(self.past_live, counts.get("Past").copied().unwrap_or(0));
        for (index, level) in self.levels.iter().enumerate() {
            for (slot, list) in level.ring.iter().enumerate() {
                let place = format!("{:?}", Place::Wheel(index as u8, slot as u16));
                assert_eq!(
                    u64::from(list.live),
                    counts.get(&place).copied().unwrap_or(0),
                    "{place}"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
