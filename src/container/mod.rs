//! Copy-on-write containers: the epoch domain, `CowTable`, `CowTree`.

mod cow_box;
mod domain;
mod entry;
mod table;
#[cfg(test)]
mod testing;
mod tree;

pub use cow_box::CowBox;
pub use domain::{Domain, EPOCH_BITS, EPOCH_MAX, Garbage, Pin};
pub use entry::{Entry, Owned};
pub use table::{CowTable, EntryMut, Lookup, Removed, TableView, VacantEntry};
pub use tree::{CowTree, Item, Iter as TreeIter, TreeView};
