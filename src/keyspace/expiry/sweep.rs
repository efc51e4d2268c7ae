//! The sweep: drops stale and duplicate references, list by list, when there are too many.
//!
//! One round visits every list. A small list is done in one step; a large one is split by hash like
//! a list that is dissolved (see the parent's header), and what some key still needs goes back. Lists
//! keep working meanwhile: `place` and the counts do not depend on where references lie.

use super::{Chain, Deadlines, OVERFLOW, PART_REFS, Parts, Place, RING, SPAN, TimeIndex};

/// The sweep that drops stale and duplicate references.
#[derive(Default)]
pub(super) struct Sweep {
    pub(super) active: bool,
    /// The next list to look at, in the order of [`TimeIndex::sweep_order`].
    pub(super) position: usize,
    /// The list in work, when it is too large for one step.
    pub(super) target: Option<Place>,
    /// What is still to be split; then `parts` are worked off.
    pub(super) source: Vec<Chain>,
    pub(super) parts: Parts,
}

impl TimeIndex {
    /// The list at a position of the sweep's round; `None` after the last.
    fn sweep_order(position: usize) -> Option<Place> {
        let Some(position) = position.checked_sub(1) else {
            return Some(Place::Past);
        };
        if position < SPAN {
            return Some(Place::Current(position as u16));
        }
        let position = position - SPAN;
        if position < SPAN {
            return Some(Place::Next(position as u16));
        }
        let position = position - SPAN;
        let (level, slot) = (position / RING, position % RING);
        (level < OVERFLOW || (level == OVERFLOW && slot == 0))
            .then_some(Place::Wheel(level as u8, slot as u16))
    }

    pub(super) fn sweep_step<D: Deadlines + ?Sized>(&mut self, table: &D) {
        let Some(target) = self.sweep.target else {
            self.sweep_next_list(table);
            return;
        };
        if let Some(chain) = self.sweep.source.last_mut() {
            for _ in 0..64 {
                let Some(hash) = chain.pop() else {
                    self.sweep.source.pop();
                    break;
                };
                let part = self.sweep.parts.part(hash);
                self.sweep.parts.lists[part].push(hash);
                self.credit -= 1;
            }
            return;
        }
        let parts = &mut self.sweep.parts;
        let Some(part) = parts.lists.get_mut(parts.frontier) else {
            self.sweep.target = None;
            self.sweep.parts = Parts::default();
            return;
        };
        let part = std::mem::take(part);
        parts.frontier += 1;
        self.sweep_refs(part, target, table);
    }

    /// Begins with the next list of the round: at once when it is small.
    fn sweep_next_list<D: Deadlines + ?Sized>(&mut self, table: &D) {
        if !self.sweep.active {
            (self.sweep.active, self.sweep.position) = (true, 0);
        }
        self.credit -= 1;
        let Some(place) = Self::sweep_order(self.sweep.position) else {
            self.sweep.active = false;
            return;
        };
        self.sweep.position += 1;
        let mut chains = match place {
            Place::Early => Vec::new(),
            Place::Past => std::mem::take(&mut self.past),
            Place::Current(offset) => take_list(&mut self.current.lists, offset as usize),
            Place::Next(offset) => take_list(&mut self.next.lists, offset as usize),
            // All phases are `Done` here: nothing of a list is in a level's parts.
            Place::Wheel(level, slot) => {
                take_list(&mut self.levels[level as usize].ring, slot as usize)
            }
        };
        let refs: usize = chains.iter().map(Chain::len).sum();
        if refs > PART_REFS {
            self.sweep.target = Some(place);
            self.sweep.source = chains;
            self.sweep.parts = Parts::for_refs(refs);
            return;
        }
        for chain in chains.drain(..) {
            self.sweep_refs(chain, place, table);
        }
    }

    /// Puts back into `place` those of the references that some key there needs.
    fn sweep_refs<D: Deadlines + ?Sized>(&mut self, mut chain: Chain, place: Place, table: &D) {
        let mut hashes = std::mem::take(&mut self.hashes);
        while let Some(hash) = chain.pop() {
            hashes.push(hash);
        }
        self.refs -= hashes.len() as u64;
        self.credit -= 2 * hashes.len() as i64;
        hashes.sort_unstable();
        hashes.dedup();
        for run in hashes.chunks(16) {
            table.prefetch(run);
            for &hash in run {
                if self.has_key_in(place, hash, table) {
                    self.push(place, hash);
                }
            }
        }
        hashes.clear();
        self.hashes = hashes;
    }

    /// Gives up the list in work: its references go back. The round goes on with the next.
    pub(super) fn stop_sweep(&mut self) {
        let Some(target) = self.sweep.target.take() else {
            return;
        };
        let parts = std::mem::take(&mut self.sweep.parts);
        for chain in std::mem::take(&mut self.sweep.source)
            .into_iter()
            .chain(parts.lists)
        {
            match target {
                Place::Early => {}
                Place::Past => self.append_past(chain),
                Place::Current(offset) => self.current.lists[offset as usize].append(chain),
                Place::Next(offset) => self.next.lists[offset as usize].append(chain),
                Place::Wheel(level, slot) => self.list(level, slot).append(chain),
            }
        }
        self.drained = 0;
    }
}

fn take_list(lists: &mut [Chain], index: usize) -> Vec<Chain> {
    match lists.get_mut(index) {
        Some(list) if !list.is_empty() => vec![list.take_refs()],
        Some(_) | None => Vec::new(),
    }
}
