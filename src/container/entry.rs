//! [`Entry`]: what a `CowTable` stores, and [`Owned`], the pointer that owns one.
//!
//! An entry is one heap allocation that begins with the implementing type (its header) and usually
//! goes on with bytes of its own: key, value. It carries no epoch: the table's slot knows whether it
//! may be written in place. References that the table hands out are `&E`; what follows the header is
//! read through a pointer derived from it.
//!
//! An entry may own *blocks* out of line (a tree of chunks, another table). When the table copies a
//! frozen entry, both copies refer to the same blocks and the new one owns them; the old one is freed
//! with [`Entry::free_shell`], which leaves the blocks alone.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The header of an allocation that a `CowTable` can own.
///
/// # Safety
/// - `free` and `free_shell` may be called on any thread, once, with what `copy` or the maker of an
///   [`Owned`] returned.
/// - The address has 48 bits at most and is a multiple of 8.
/// - A shared reference never writes, except an atomic access word inside the header, stored Relaxed;
///   `copy` may run while other threads read (and store that word).
/// - `hash` depends on the key alone and never changes while the entry is in a table.
pub unsafe trait Entry: Sized + Send + Sync + 'static {
    /// What turns a key into its 64-bit hash: a seed. All bits of the hash are used.
    type Hasher: Clone + Send + Sync;

    /// The hash of this entry's key; asked for once in sixteen doublings and on some merges.
    fn hash(&self, hasher: &Self::Hasher) -> u64;

    /// A copy in an allocation of its own, which takes over the blocks out of line, if any.
    fn copy(&self) -> Owned<Self>;

    /// Bytes of the allocation (without blocks out of line).
    fn bytes(&self) -> usize;

    /// Whether it owns blocks out of line, which a snapshot may see even if this allocation is new.
    fn owns_blocks(&self) -> bool {
        false
    }

    /// Frees the allocation and everything it owns.
    ///
    /// # Safety
    /// Called once, when nobody refers to the entry or its blocks any more.
    unsafe fn free(this: NonNull<Self>);

    /// Frees the allocation alone: a copy has taken over its blocks.
    ///
    /// # Safety
    /// Called once, when nobody refers to the entry any more.
    unsafe fn free_shell(this: NonNull<Self>) {
        // SAFETY: the caller's promise; an entry that owns blocks overrides this.
        unsafe { Self::free(this) }
    }
}

/// Owns an entry that is in no table: made by its type, or given back by a table when no snapshot
/// can see it or its blocks. Dropping it frees everything.
pub struct Owned<E: Entry> {
    pointer: NonNull<E>,
    marker: PhantomData<E>,
}

// SAFETY: it owns the entry, which is Send.
unsafe impl<E: Entry> Send for Owned<E> {}

impl<E: Entry> Owned<E> {
    /// Takes ownership of an allocation.
    ///
    /// # Safety
    /// `pointer` is an entry as [`Entry`] describes it, and nobody else owns it.
    pub unsafe fn from_raw(pointer: NonNull<E>) -> Owned<E> {
        Owned {
            pointer,
            marker: PhantomData,
        }
    }

    /// Gives the ownership away.
    pub fn into_raw(self) -> NonNull<E> {
        let pointer = self.pointer;
        std::mem::forget(self);
        pointer
    }

    /// The address, still owned here.
    pub fn as_ptr(&self) -> NonNull<E> {
        self.pointer
    }
}

impl<E: Entry> Deref for Owned<E> {
    type Target = E;

    #[inline]
    fn deref(&self) -> &E {
        // SAFETY: owned and alive; no unique reference exists while self is shared.
        unsafe { self.pointer.as_ref() }
    }
}

impl<E: Entry> DerefMut for Owned<E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut E {
        // SAFETY: owned, alive and borrowed uniquely.
        unsafe { self.pointer.as_mut() }
    }
}

impl<E: Entry> Drop for Owned<E> {
    fn drop(&mut self) {
        // SAFETY: owned; nobody else refers to it.
        unsafe { E::free(self.pointer) }
    }
}

/// Frees an entry behind a retired list's untyped pointer.
///
/// # Safety
/// `block` is an `E` given up for good.
pub(super) unsafe fn free_entry<E: Entry>(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { E::free(block.cast()) }
}

/// As [`free_entry`], for one that a copy has superseded.
///
/// # Safety
/// `block` is an `E` given up for good.
pub(super) unsafe fn free_entry_shell<E: Entry>(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { E::free_shell(block.cast()) }
}
