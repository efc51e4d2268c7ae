//! Copy-on-write containers: all large data lives in them, and a snapshot of it costs O(1).
//!
//! Reading order: [`domain`] (epochs, snapshots, retired blocks), [`entry`] (what a table owns),
//! [`table`] (`CowTable`, the hash table), [`cow_box`] (one value), [`cow_bytes`] (a run of bytes), [`tree`] (`CowTree`, the counted
//! B+ tree). Small values are one run of bytes: [`pack`] (`Pack`, a sequence), [`int_set`] (`IntSet`, sorted
//! integers), both edited in a [`buffer`].
//!
//! How a snapshot passes through:
//! 1. The loop calls [`Domain::snapshot`], takes a view of each container with the [`Pin`], and sends
//!    the views to a helper.
//! 2. While it lives, a change of a block that it may see copies the block first (`entry_mut`,
//!    `update`, …) and retires the old one; everything else is changed in place.
//! 3. The helper reads its views, then drops them. The last clone of the pin says so to the domain.
//! 4. The loop's next [`Domain::collect`] returns [`Garbage`]; a helper drops it, which frees.
//!
//! Rules for users: one domain for all containers that one snapshot covers; every change takes it; keep
//! hashes and indices, not references, across changes; what a table or tree gives back as owned is
//! safe to free, everything else goes through the domain. `make sanitize` runs this room's tests under
//! the sanitizers; a change here is not done before it is green.

mod buffer;
mod cow_box;
mod cow_bytes;
mod domain;
mod entry;
mod int_set;
mod pack;
mod table;
#[cfg(test)]
mod testing;
mod tree;

pub use buffer::{Buffer, Corrupt};
pub use cow_box::{Copyable, CowBox, Weigh};
pub use cow_bytes::CowBytes;
pub use domain::{Domain, EPOCH_BITS, EPOCH_MAX, Garbage, Pin};
pub use entry::{Entry, Owned};
pub use int_set::{IntSet, IntSetMut};
pub use pack::{
    Pack, PackAppender, PackBuilder, PackItem, PackIter, PackMut, PackPositions, Position,
};
pub use table::{CowTable, EntryMut, Lookup, Removed, TableView, VacantEntry};
pub use tree::{CowTree, Item, Iter as TreeIter, TreeView};
