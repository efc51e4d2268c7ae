//! `Large`: a collection above its small encoding, made of copy-on-write containers.
//!
//! An entry keeps it boxed and owns its blocks. Under a snapshot the first change copies the entry and the box (the
//! *shell*: [`Large::share`]); the copy goes on as the owner, and each block is copied as it is written. So a change to a
//! collection of ten million elements copies some nodes, never the collection.
#![allow(unsafe_code)]

use crate::container::{CowTable, CowTree, Domain, Entry, Item};

use super::entry::Kind;
use super::hash_table::HashTable;
use super::list::QuickList;
use super::set::SetTable;
use super::stream::Stream;
use super::zset_table::ZsetTable;

/// What each type's large form can do.
pub trait Collection: Blocks {
    /// Its type.
    const KIND: Kind;
    /// What OBJECT ENCODING answers.
    const ENCODING: &'static str;

    /// Elements.
    fn count(&self) -> u64;

    /// The table that finds an element by its bytes, if it has one.
    fn elements(&self) -> Option<&CowTable<super::Entry>> {
        None
    }

    /// Bytes allocated, estimated where entries differ in size: O(1), and O(groups · consumers) of a stream.
    fn memory_bytes(&self) -> usize;

    /// A deep copy: O(elements).
    fn duplicate(&self, domain: &mut Domain) -> Self;
}

/// Owns copy-on-write blocks. Methods that consume it differ in what becomes of them. [`blocks`] implements it.
pub trait Blocks: Sized {
    /// A second handle to the same blocks.
    ///
    /// # Safety
    /// Only one of the two goes on as the owner; the other is read, and ends with [`Blocks::forget`].
    unsafe fn share(&self) -> Self;

    /// Drops a handle whose blocks have another owner.
    fn forget(self);

    /// Gives the blocks up: to the snapshots that may see them, or frees them.
    fn retire(self, domain: &mut Domain);

    /// Frees the blocks.
    ///
    /// # Safety
    /// It is the owner, and no snapshot sees any of them.
    unsafe fn free(self);
}

impl<E: Entry> Blocks for CowTable<E> {
    unsafe fn share(&self) -> CowTable<E> {
        // SAFETY: the caller's promise.
        unsafe { CowTable::share(self) }
    }

    fn forget(self) {
        CowTable::forget(self);
    }

    fn retire(self, domain: &mut Domain) {
        let entries = self.len() as u64;
        let garbage = CowTable::retire(self, domain);
        domain.free_later(garbage, entries);
    }

    unsafe fn free(self) {
        // SAFETY: the caller's promise.
        unsafe { CowTable::free(self) }
    }
}

impl<T: Item> Blocks for CowTree<T> {
    unsafe fn share(&self) -> CowTree<T> {
        // SAFETY: the caller's promise.
        unsafe { CowTree::share(self) }
    }

    /// A tree frees nothing on drop.
    fn forget(self) {}

    fn retire(self, domain: &mut Domain) {
        let items = self.len();
        let garbage = CowTree::retire(self, domain);
        domain.free_later(garbage, items);
    }

    unsafe fn free(self) {
        // SAFETY: the caller's promise.
        unsafe { CowTree::free(self) }
    }
}

/// Implements [`Blocks`] for a struct: the fields that own blocks, then those that are cloned and dropped, all named.
macro_rules! blocks {
    ($type:ident { $($owner:ident),* $(; $($plain:ident),*)? }) => {
        #[allow(unsafe_code)]
        impl $crate::types::large::Blocks for $type {
            unsafe fn share(&self) -> $type {
                $type {
                    // SAFETY: the caller's promise.
                    $($owner: unsafe { $crate::types::large::Blocks::share(&self.$owner) },)*
                    $($($plain: self.$plain.clone(),)*)?
                }
            }

            fn forget(self) {
                $($crate::types::large::Blocks::forget(self.$owner);)*
            }

            fn retire(self, domain: &mut $crate::container::Domain) {
                $($crate::types::large::Blocks::retire(self.$owner, domain);)*
            }

            unsafe fn free(self) {
                // SAFETY: the caller's promise.
                $(unsafe { $crate::types::large::Blocks::free(self.$owner) };)*
            }
        }
    };
}
pub(crate) use blocks;

macro_rules! large {
    ($($name:ident($type:ty)),* $(,)?) => {
        /// A large collection of any type.
        pub enum Large {
            $(
                #[allow(missing_docs, reason = "the type says it")]
                $name($type),
            )*
        }

        impl Large {
            /// The table that finds an element by its bytes, if it has one.
            pub fn elements(&self) -> Option<&CowTable<super::Entry>> {
                match self { $(Large::$name(value) => value.elements()),* }
            }

            /// Its type.
            pub fn kind(&self) -> Kind {
                match self { $(Large::$name(_) => <$type>::KIND),* }
            }

            /// What OBJECT ENCODING answers.
            pub fn encoding(&self) -> &'static str {
                match self { $(Large::$name(_) => <$type>::ENCODING),* }
            }

            /// Elements.
            pub fn len(&self) -> u64 {
                match self { $(Large::$name(value) => value.count()),* }
            }

            /// Whether there is no element.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Bytes allocated, estimated where entries differ in size: O(1), and O(groups · consumers) of a stream.
            pub fn memory_bytes(&self) -> usize {
                match self { $(Large::$name(value) => value.memory_bytes()),* }
            }

            /// A deep copy: O(elements).
            pub fn duplicate(&self, domain: &mut Domain) -> Large {
                match self { $(Large::$name(value) => Large::$name(value.duplicate(domain))),* }
            }

            /// See [`Blocks::share`].
            ///
            /// # Safety
            /// As there.
            pub unsafe fn share(&self) -> Large {
                // SAFETY: the caller's promise.
                match self { $(Large::$name(value) => Large::$name(unsafe { value.share() })),* }
            }

            /// See [`Blocks::forget`].
            pub fn forget(self) {
                match self { $(Large::$name(value) => value.forget()),* }
            }

            /// See [`Blocks::retire`].
            pub fn retire(self, domain: &mut Domain) {
                match self { $(Large::$name(value) => value.retire(domain)),* }
            }

            /// See [`Blocks::free`].
            ///
            /// # Safety
            /// As there.
            pub unsafe fn free(self) {
                // SAFETY: the caller's promise.
                match self { $(Large::$name(value) => unsafe { value.free() }),* }
            }
        }

        $(
            impl From<$type> for Large {
                fn from(value: $type) -> Large {
                    Large::$name(value)
                }
            }
        )*
    };
}

large! {
    List(QuickList),
    Set(SetTable),
    Zset(ZsetTable),
    Hash(HashTable),
    Stream(Stream),
}
