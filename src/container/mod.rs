//! Copy-on-write containers: the epoch domain, `CowTable`, `CowTree`.

mod domain;
mod entry;
mod table;
#[cfg(test)]
mod testing;

pub use domain::{Domain, EPOCH_BITS, EPOCH_MAX, Garbage, Pin};
pub use entry::{Entry, Owned};
pub use table::{CowTable, EntryMut, Lookup, Removed, TableView, VacantEntry};
