//! Epochs, live snapshots and retired blocks: what makes copy-on-write sound without reference counts.
//!
//! The loop owns a [`Domain`] and every block. A block remembers the epoch it was born in. Taking a
//! snapshot labels it with the current epoch and, if anything was written since the last one, starts
//! the next epoch: O(1). A block is *frozen* while a live snapshot's label is at or above its birth;
//! a frozen block is copied before a write and the old one *retired*, any other is written in place.
//!
//! Invariants:
//! - Every write to a block, in place or not, goes through [`Domain::write_epoch`] or
//!   [`Domain::is_frozen`], which note that the current epoch has a write. A snapshot that follows no
//!   write shares its predecessor's label.
//! - A retired block sits in the list of the snapshot that was newest when it was retired: one list
//!   per interval ("gap") between live snapshots. When a snapshot ends, blocks of its list that were
//!   born after its older neighbour are free; the others move to the neighbour's list.
//! - A birth of 0 means "unknown": the block is kept until every snapshot that was live when it was
//!   retired has ended.
//! - No atomics and no locks on the data path. A [`Pin`] that ends says so through a channel;
//!   [`Domain::collect`] (called once a tick) turns what ended into [`Garbage`], an O(1) hand-over of
//!   whole lists. Dropping the `Garbage`, on any thread, splits and frees; what an older snapshot still
//!   sees comes back through the channel.
//! - Until `collect` has seen the end of a snapshot its blocks stay frozen: late is safe.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Bits of an epoch. At a thousand snapshots a second they last 500 years.
pub const EPOCH_BITS: u32 = 44;
/// The last epoch; a snapshot that would start one beyond it panics.
pub const EPOCH_MAX: u64 = (1 << EPOCH_BITS) - 1;
/// The first epoch of a domain; 0 is "unknown birth", 1 is the label of a snapshot before any write.
const EPOCH_FIRST: u64 = 2;
/// Retired blocks per list block: 16 bytes each, 1 KiB together.
const RETIRED_PER_BLOCK: usize = 64;
/// Of the first list block of a kind: the first write under a snapshot opens one for each kind of block, and memory that
/// was not touched before costs more than all else that it does.
const RETIRED_FIRST: usize = 4;

/// Blocks that are freed by whoever gives them up: some 20 µs.
const FREED_AT_ONCE_MAX: u64 = 200;

/// Frees one retired block.
pub(super) type Free = unsafe fn(NonNull<u8>);

/// The loop's side: the epoch counter, the live snapshots and what they keep.
pub struct Domain {
    /// Tells domains apart where a pointer has no room; 20 bits, and only a check.
    id: u32,
    /// Invariant: above the label of every live snapshot.
    now: u64,
    /// Whether any block was written or born in epoch `now`.
    written: bool,
    /// Label of the newest live snapshot, 0 when there is none. Invariant: equals `live.last()`.
    newest: u64,
    /// Live snapshots by ascending label, each with what was retired while it was the newest.
    live: Vec<Live>,
    messages: Receiver<Message>,
    sender: Sender<Message>,
    shared: Arc<Shared>,
    /// Given up in the middle of a change: for the next [`Domain::collect`].
    later: Option<Garbage>,
}

/// What a domain, its tables and its pins know of each other.
pub(super) struct Shared {
    /// Pins alive on any thread.
    pins: AtomicUsize,
    /// Bytes handed over in `Garbage` and not freed yet.
    pending_bytes: AtomicU64,
    /// Roots whose owner was dropped without the domain at hand while a snapshot was live.
    orphans: Mutex<Vec<Retired>>,
}

struct Live {
    epoch: u64,
    /// Snapshots that share this label.
    pins: usize,
    retired: RetiredList,
}

enum Message {
    /// The last clone of a pin with this label was dropped.
    Ended(u64),
    /// What a `Garbage` could not free because the snapshot with this label may see it.
    Kept(RetiredList, u64),
}

impl Domain {
    /// A domain without snapshots.
    pub fn new() -> Domain {
        Domain::starting_at(EPOCH_FIRST)
    }

    /// A domain whose first epoch is `epoch`, for tests near the limit.
    pub fn starting_at(epoch: u64) -> Domain {
        assert!((EPOCH_FIRST..EPOCH_MAX).contains(&epoch));
        let (sender, messages) = channel();
        static NEXT_ID: AtomicU32 = AtomicU32::new(0);
        Domain {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed) & ((1 << (64 - EPOCH_BITS)) - 1),
            now: epoch,
            written: false,
            newest: 0,
            live: Vec::new(),
            messages,
            sender,
            shared: Arc::new(Shared {
                pins: AtomicUsize::new(0),
                pending_bytes: AtomicU64::new(0),
                orphans: Mutex::new(Vec::new()),
            }),
            later: None,
        }
    }

    /// Keeps what a change gave up until [`Domain::collect`] hands it out, so that a helper frees it; frees it at once
    /// where it is no more than a few blocks.
    pub fn free_later(&mut self, garbage: Option<Garbage>, blocks: u64) {
        let Some(garbage) = garbage.filter(|_| blocks > FREED_AT_ONCE_MAX) else {
            return;
        };
        match &mut self.later {
            Some(later) => later.merge(garbage),
            None => self.later = Some(garbage),
        }
    }

    /// Starts a snapshot of everything in this domain: O(1). Views of the containers must be taken
    /// from them before the next write (they assert it).
    ///
    /// Panics when the epochs are used up (see [`EPOCH_BITS`]).
    pub fn snapshot(&mut self) -> Pin {
        if self.written {
            assert!(self.now < EPOCH_MAX, "epochs used up");
            self.now += 1;
            self.written = false;
        }
        let epoch = self.now - 1;
        match self.live.last_mut() {
            Some(live) if live.epoch == epoch => live.pins += 1,
            _ => self.live.push(Live {
                epoch,
                pins: 1,
                retired: RetiredList::new(),
            }),
        }
        self.newest = epoch;
        self.shared.pins.fetch_add(1, Ordering::Relaxed);
        Pin(Arc::new(PinInner {
            epoch,
            sender: self.sender.clone(),
            shared: Arc::clone(&self.shared),
        }))
    }

    /// Whether a live snapshot may see a block born in `birth`, so that it must not be written.
    #[inline]
    pub fn is_frozen(&self, birth: u64) -> bool {
        #[cfg(test)]
        if planted::is(planted::WRITE) {
            return false;
        }
        birth <= self.newest
    }

    /// Whether any snapshot is live (as far as [`Domain::collect`] has been told).
    #[inline]
    pub fn has_snapshots(&self) -> bool {
        self.newest != 0
    }

    /// The number of live snapshots, counting those that share a label once.
    pub fn snapshots(&self) -> usize {
        self.live.len()
    }

    /// The birth of a block made now. Notes that this epoch has a write: every mutation calls it.
    #[inline]
    pub fn write_epoch(&mut self) -> u64 {
        self.written = true;
        self.now
    }

    /// Takes note of snapshots that ended. What nobody can see any more comes back as [`Garbage`], to
    /// be dropped by a helper. O(snapshots ended); call it once a tick.
    pub fn collect(&mut self) -> Option<Garbage> {
        let mut garbage = self.later.take();
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Ended(epoch) => {
                    let Some(at) = self.live.iter().position(|live| live.epoch == epoch) else {
                        debug_assert!(false, "unknown snapshot ended");
                        continue;
                    };
                    self.live[at].pins -= 1;
                    if self.live[at].pins == 0 {
                        let ended = self.live.remove(at);
                        self.newest = self.live.last().map_or(0, |live| live.epoch);
                        self.dispose(ended.retired, epoch, &mut garbage);
                    }
                }
                Message::Kept(list, epoch) => {
                    self.shared
                        .pending_bytes
                        .fetch_sub(list.bytes, Ordering::Relaxed);
                    match self.live.iter_mut().find(|live| live.epoch == epoch) {
                        Some(live) => live.retired.append(list),
                        None => self.dispose(list, epoch, &mut garbage),
                    }
                }
            }
        }
        self.adopt_orphans(&mut garbage);
        garbage
    }

    /// Retires a block that a snapshot may see, or frees it at once when none can.
    ///
    /// # Safety
    /// `block` is not reachable from any container any more and is given up only once; `free` may be
    /// called with it on any thread; it was born in `birth` or later (0: unknown).
    #[inline]
    pub(super) unsafe fn retire(
        &mut self,
        block: NonNull<u8>,
        birth: u64,
        bytes: usize,
        free: Free,
    ) {
        #[cfg(test)]
        if planted::is(planted::FREE) {
            // SAFETY: none; the planted fault that the sanitizers must catch.
            unsafe { free(block) };
            return;
        }
        match self.live.last_mut() {
            Some(live) if birth <= live.epoch => {
                live.retired.push(Retired::new(block, birth, bytes), free)
            }
            // SAFETY: the caller gave it up and no live snapshot is as old as its birth.
            _ => unsafe { free(block) },
        }
    }

    /// Gives up something whole (a table, a tree): to the newest gap's list when a snapshot is live,
    /// else as garbage for a helper.
    ///
    /// # Safety
    /// As for [`Domain::retire`].
    pub(super) unsafe fn retire_whole(
        &mut self,
        root: NonNull<u8>,
        bytes: usize,
        free: Free,
    ) -> Option<Garbage> {
        if self.has_snapshots() {
            // SAFETY: the caller's promise.
            unsafe { self.retire(root, 0, bytes, free) };
            return None;
        }
        let mut list = RetiredList::new();
        list.push(Retired::new(root, 0, bytes), free);
        let mut garbage = None;
        self.give(list, None, &mut garbage);
        garbage
    }

    /// Bytes of blocks that are kept for snapshots alone.
    pub fn retired_bytes(&self) -> u64 {
        self.live.iter().map(|live| live.retired.bytes).sum()
    }

    /// Bytes in [`Garbage`] that no helper has freed yet.
    pub fn pending_bytes(&self) -> u64 {
        self.shared.pending_bytes.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Panics unless `pin` is of this domain and nothing was written since it was taken.
    pub(super) fn assert_fresh(&self, pin: &Pin) {
        assert!(
            Arc::ptr_eq(&self.shared, &pin.0.shared),
            "a pin of another domain"
        );
        assert!(
            pin.0.epoch + 1 == self.now && !self.written,
            "written since the snapshot"
        );
    }

    /// Finds a home for a list whose snapshot `ended` is gone: its older neighbour's share goes there.
    fn dispose(&mut self, list: RetiredList, ended: u64, garbage: &mut Option<Garbage>) {
        let older = self
            .live
            .iter()
            .rev()
            .map(|live| live.epoch)
            .find(|&epoch| epoch < ended);
        if !list.is_empty() {
            self.give(list, older, garbage);
        }
    }

    fn give(&self, list: RetiredList, older: Option<u64>, garbage: &mut Option<Garbage>) {
        self.shared
            .pending_bytes
            .fetch_add(list.bytes, Ordering::Relaxed);
        garbage
            .get_or_insert_with(|| Garbage {
                parts: Vec::new(),
                sender: self.sender.clone(),
                shared: Arc::clone(&self.shared),
            })
            .parts
            .push(Part { list, older });
    }

    fn adopt_orphans(&mut self, garbage: &mut Option<Garbage>) {
        // A poisoned lock means a panic between two pushes: the vector is still whole.
        let orphans = std::mem::take(
            &mut *self
                .shared
                .orphans
                .lock()
                .unwrap_or_else(|e| e.into_inner()),
        );
        for orphan in orphans {
            // SAFETY: an orphan is a boxed `Orphan`, given up by its owner's drop.
            if let Some(more) =
                unsafe { self.retire_whole(orphan.block, orphan.bytes(), free_orphan) }
            {
                match garbage {
                    Some(all) => all.merge(more),
                    None => *garbage = Some(more),
                }
            }
        }
    }
}

impl Default for Domain {
    fn default() -> Domain {
        Domain::new()
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // What is freed can send more.
        while let Some(garbage) = self.collect() {
            drop(garbage);
        }
        // What a snapshot that outlives its domain may see is leaked: the process is ending.
    }
}

impl Shared {
    /// Whether no snapshot is alive on any thread. Acquires what the ended ones have read.
    pub(super) fn is_quiet(&self) -> bool {
        self.pins.load(Ordering::Acquire) == 0
    }

    /// Keeps a root whose owner was dropped without its domain until the domain collects it.
    ///
    /// # Safety
    /// As for [`Domain::retire`].
    pub(super) unsafe fn adopt(&self, root: NonNull<u8>, bytes: usize, free: Free) {
        let orphan = NonNull::from(Box::leak(Box::new(Orphan { root, free }))).cast();
        let mut orphans = self.orphans.lock().unwrap_or_else(|e| e.into_inner());
        orphans.push(Retired::new(orphan, 0, bytes));
    }
}

struct Orphan {
    root: NonNull<u8>,
    free: Free,
}

/// # Safety
/// `block` is a leaked `Box<Orphan>` whose root nobody sees any more.
unsafe fn free_orphan(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe {
        let orphan = Box::from_raw(block.cast::<Orphan>().as_ptr());
        (orphan.free)(orphan.root);
    }
}

/// Keeps a snapshot alive. Clones share it; it ends when the last is dropped, on any thread.
#[derive(Clone)]
pub struct Pin(Arc<PinInner>);

struct PinInner {
    epoch: u64,
    sender: Sender<Message>,
    shared: Arc<Shared>,
}

impl Drop for PinInner {
    fn drop(&mut self) {
        // The domain may be gone: then nobody is left to free, and the process is ending.
        let _ = self.sender.send(Message::Ended(self.epoch));
        self.shared.pins.fetch_sub(1, Ordering::Release);
    }
}

/// Blocks that the loop has given up for good. Dropping it frees them: let a helper do it.
pub struct Garbage {
    parts: Vec<Part>,
    sender: Sender<Message>,
    shared: Arc<Shared>,
}

struct Part {
    list: RetiredList,
    /// The neighbour whose snapshot may still see what was born at or before this label.
    older: Option<u64>,
}

impl Garbage {
    /// Bytes that dropping this frees, at most.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.list.bytes).sum()
    }

    /// Puts two hand-overs of one domain together.
    pub fn merge(&mut self, mut other: Garbage) {
        self.parts.append(&mut other.parts);
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        for part in std::mem::take(&mut self.parts) {
            let bytes = part.list.bytes;
            let kept = part.list.free_younger(part.older);
            // `pending_bytes` keeps counting what goes back until the loop has it again.
            self.shared
                .pending_bytes
                .fetch_sub(bytes - kept.bytes, Ordering::Relaxed);
            if let (Some(older), false) = (part.older, kept.is_empty()) {
                // Without a domain the process is ending: the list leaks.
                let _ = self.sender.send(Message::Kept(kept, older));
            }
        }
    }
}

/// One retired block: its address, birth and size.
#[derive(Clone, Copy)]
struct Retired {
    block: NonNull<u8>,
    /// Birth in the high 44 bits; size in the low 20, in units of 16 bytes, saturating.
    birth_and_size: u64,
}

// SAFETY: an owning pointer on its way to be freed; every `Free` may run on any thread.
unsafe impl Send for Retired {}

impl Retired {
    fn new(block: NonNull<u8>, birth: u64, bytes: usize) -> Retired {
        debug_assert!(birth <= EPOCH_MAX);
        let size = (bytes as u64).div_ceil(16).min((1 << 20) - 1);
        Retired {
            block,
            birth_and_size: birth << 20 | size,
        }
    }

    fn birth(&self) -> u64 {
        self.birth_and_size >> 20
    }

    fn bytes(&self) -> usize {
        ((self.birth_and_size & ((1 << 20) - 1)) * 16) as usize
    }
}

/// Retired blocks in fixed list blocks, one kind (one `Free`) to a list block.
#[expect(
    clippy::vec_box,
    reason = "list blocks move between lists and into chains"
)]
struct RetiredList {
    /// Per kind, the list block that is being filled.
    open: Vec<Box<ListBlock>>,
    /// Chains of list blocks that are no longer filled.
    closed: Vec<Box<ListBlock>>,
    bytes: u64,
}

struct ListBlock {
    free: Free,
    next: Option<Box<ListBlock>>,
    /// Never more than there was room for at first.
    items: Vec<Retired>,
}

const _: () = assert!(size_of::<Retired>() == 16);

impl RetiredList {
    fn new() -> RetiredList {
        RetiredList {
            open: Vec::new(),
            closed: Vec::new(),
            bytes: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty()
    }

    fn push(&mut self, item: Retired, free: Free) {
        self.bytes += item.bytes() as u64;
        let block = match self
            .open
            .iter_mut()
            .position(|block| std::ptr::fn_addr_eq(block.free, free))
        {
            Some(at) => &mut self.open[at],
            None => {
                self.open.push(ListBlock::new(free, RETIRED_FIRST));
                let last = self.open.len() - 1;
                &mut self.open[last]
            }
        };
        if block.items.len() == block.items.capacity() {
            let full = std::mem::replace(block, ListBlock::new(free, RETIRED_PER_BLOCK));
            block.next = Some(full);
        }
        block.items.push(item);
    }

    /// O(kinds), whatever the lengths.
    fn append(&mut self, mut other: RetiredList) {
        self.closed.append(&mut other.closed);
        self.closed.append(&mut other.open);
        self.bytes += other.bytes;
    }

    /// Frees what was born after `older` (everything when `None`) and returns the rest.
    fn free_younger(mut self, older: Option<u64>) -> RetiredList {
        let mut kept = RetiredList::new();
        let chains = self.open.drain(..).chain(self.closed.drain(..));
        for mut block in chains {
            loop {
                for item in &block.items {
                    match older {
                        Some(epoch) if item.birth() <= epoch => kept.push(*item, block.free),
                        // SAFETY: given up once by `retire`; no live snapshot lies between its birth
                        // and its retirement.
                        _ => unsafe { (block.free)(item.block) },
                    }
                }
                // Link by link: dropping a long chain at once would recurse.
                match block.next.take() {
                    Some(next) => block = next,
                    None => break,
                }
            }
        }
        kept
    }
}

impl ListBlock {
    fn new(free: Free, room: usize) -> Box<ListBlock> {
        Box::new(ListBlock {
            free,
            next: None,
            items: Vec::with_capacity(room),
        })
    }
}

/// Faults that the tests plant to prove that the sanitizers would see them.
#[cfg(test)]
pub(super) mod planted {
    use std::sync::atomic::{AtomicU8, Ordering};

    pub const WRITE: u8 = 1;
    pub const FREE: u8 = 2;
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    pub fn plant(fault: u8) {
        PLANTED.store(fault, Ordering::Relaxed);
    }

    pub fn is(fault: u8) -> bool {
        PLANTED.load(Ordering::Relaxed) == fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    static FREED: AtomicU64 = AtomicU64::new(0);

    unsafe fn free_number(block: NonNull<u8>) {
        // SAFETY: the tests below retire leaked boxes of u64.
        let number = unsafe { Box::from_raw(block.cast::<u64>().as_ptr()) };
        FREED.fetch_add(*number, Ordering::Relaxed);
    }

    fn retire(domain: &mut Domain, number: u64, birth: u64) {
        domain.write_epoch();
        let block = NonNull::from(Box::leak(Box::new(number))).cast();
        // SAFETY: a fresh box, given up here.
        unsafe { domain.retire(block, birth, 8, free_number) };
    }

    fn freed() -> u64 {
        FREED.swap(0, Ordering::Relaxed)
    }

    /// One test, since the counter is shared.
    #[test]
    fn lists_follow_the_snapshots() {
        let mut domain = Domain::starting_at(EPOCH_MAX - 5);
        let old = domain.write_epoch();
        retire(&mut domain, 1, old);
        assert_eq!(freed(), 1, "without snapshots at once");

        let first = domain.snapshot();
        let same = domain.snapshot();
        assert_eq!(domain.snapshots(), 1, "no write between: one label");
        let middle = domain.write_epoch();
        assert_eq!(middle, old + 1);
        retire(&mut domain, 10, middle);
        assert_eq!(freed(), 10, "born after the snapshot");
        let second = domain.snapshot();
        retire(&mut domain, 100, middle);
        retire(&mut domain, 1000, old);
        retire(&mut domain, 10_000, 0);
        assert_eq!(freed(), 0);
        assert!(domain.retired_bytes() > 0);
        let third = domain.snapshot();
        retire(&mut domain, 100_000, middle);

        drop(second);
        let garbage = domain.collect();
        assert!(garbage.is_some());
        std::thread::spawn(move || drop(garbage)).join().unwrap();
        assert_eq!(freed(), 100, "only what the second alone saw");
        assert!(
            domain.collect().is_none(),
            "the rest went to the first's list"
        );
        drop(same);
        assert!(domain.collect().is_none());
        drop(third);
        drop(domain.collect());
        assert_eq!(freed(), 100_000, "born after the first snapshot");
        drop(first);
        drop(domain.collect());
        assert_eq!(freed(), 11_000);
        assert_eq!(domain.retired_bytes() + domain.pending_bytes(), 0);
        assert!(!domain.has_snapshots());

        // Many kinds of list block, and a list that comes back after its neighbour ended.
        let first = domain.snapshot();
        for number in 0..1000 {
            retire(&mut domain, number, old);
        }
        let second = domain.snapshot();
        retire(&mut domain, 1_000_000, old);
        drop(second);
        let slow = domain.collect();
        drop(first);
        drop(domain.collect());
        assert_eq!(freed(), 499_500);
        drop(slow);
        assert_eq!(freed(), 0, "the helper sent it back");
        drop(domain.collect());
        assert_eq!(freed(), 1_000_000);
        assert_eq!(domain.pending_bytes(), 0);
    }

    #[test]
    #[should_panic(expected = "epochs used up")]
    fn the_limit_is_checked() {
        let mut domain = Domain::starting_at(EPOCH_MAX - 1);
        for _ in 0..3 {
            domain.write_epoch();
            domain.snapshot();
        }
    }
}
