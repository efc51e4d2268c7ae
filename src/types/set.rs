//! Sets of strings.
//!
//! Small: an [`IntSet`](crate::container::IntSet) while all members are integers (`intset`), or a
//! [`Pack`](crate::container::Pack) (`listpack`). Large: [`SetTable`], a table whose entries have the member as their key
//! and no value (`hashtable`).

use crate::container::{CowTable, Domain, Pack};

use super::entry::{Entry, Kind};
use super::large::{Collection, Large, blocks};
use super::string::StringRef;
use super::table;

/// A large set.
pub struct SetTable {
    members: CowTable<Entry>,
}

impl SetTable {
    /// The members: entries with the member as key.
    pub fn members(&self) -> &CowTable<Entry> {
        &self.members
    }
}

/// A set for reading.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    /// Members in order of insertion.
    Pack(Pack<'a>),
    /// A table.
    Table(&'a SetTable),
}

impl<'a> SetRef<'a> {
    /// The set of an entry of that kind.
    pub fn of(entry: &'a Entry) -> SetRef<'a> {
        match (entry.large(), entry.packed()) {
            (Some(Large::Set(table)), _) => SetRef::Table(table),
            (_, Some((bytes, false))) => SetRef::Pack(Pack::of(bytes)),
            _ => unreachable!("a {:?} is no set", entry.kind()),
        }
    }

    /// Members.
    pub fn len(&self) -> usize {
        match self {
            SetRef::Pack(pack) => pack.len(),
            SetRef::Table(table) => table.members.len(),
        }
    }

    /// Whether there is no member: only while a set is being made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits all members.
    pub fn for_each(&self, mut each: impl FnMut(StringRef<'a>)) {
        match *self {
            SetRef::Pack(pack) => pack.iter().for_each(|item| each(item.into())),
            SetRef::Table(table) => table
                .members
                .for_each(|entry| each(StringRef::Bytes(entry.key()))),
        }
    }
}

blocks!(SetTable { members });

impl Collection for SetTable {
    const KIND: Kind = Kind::Set;
    const ENCODING: &'static str = "hashtable";

    fn count(&self) -> u64 {
        self.members.len() as u64
    }

    fn memory_bytes(&self) -> usize {
        table::memory_bytes(&self.members)
    }

    fn duplicate(&self, domain: &mut Domain) -> SetTable {
        SetTable {
            members: table::duplicate(&self.members, domain),
        }
    }
}
