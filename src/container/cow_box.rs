//! [`CowBox`]: one value on the heap with the epoch it was born in.
//!
//! The smallest copy-on-write block: `get` reads, `get_mut` copies first if a snapshot may see the
//! value. It is what trees hold when an item is large (a string's chunk, a packed list node).
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::domain::{Domain, EPOCH_BITS, EPOCH_MAX};
use super::tree::Item;

/// A value that can be copied when a snapshot may see it.
pub trait Copyable: Send + Sync + 'static {
    /// A second value of the same content.
    ///
    /// # Safety
    /// Only one of the two goes on as the owner of what the value owns beyond itself; the other is read, and dropped.
    unsafe fn copy(&self) -> Self;
}

impl<T: Clone + Send + Sync + 'static> Copyable for T {
    unsafe fn copy(&self) -> T {
        self.clone()
    }
}

/// Owns a value; a pointer wide. It does not free on drop, since that takes the domain: give it up
/// with [`CowBox::retire`].
pub struct CowBox<T> {
    block: NonNull<Block<T>>,
    marker: PhantomData<T>,
}

struct Block<T> {
    /// Birth in the low 44 bits, the domain's number above.
    birth: u64,
    value: T,
}

// SAFETY: it owns a T; what is shared is only read.
unsafe impl<T: Send + Sync> Send for CowBox<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for CowBox<T> {}

impl<T: Copyable> CowBox<T> {
    /// Puts a value on the heap.
    pub fn new(domain: &mut Domain, value: T) -> CowBox<T> {
        let birth = domain.write_epoch() | u64::from(domain.id()) << EPOCH_BITS;
        let block = NonNull::from(Box::leak(Box::new(Block { birth, value })));
        CowBox {
            block,
            marker: PhantomData,
        }
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> &T {
        // SAFETY: alive as long as its owner, or as the snapshot that sees the owner.
        unsafe { &self.block.as_ref().value }
    }

    /// The value for writing: copied first if a snapshot may see it.
    #[inline]
    pub fn get_mut(&mut self, domain: &mut Domain) -> &mut T {
        let birth = self.birth(domain);
        domain.write_epoch();
        if domain.is_frozen(birth) {
            // SAFETY: the old value is given up here: what it owns is the copy's.
            let copy = CowBox::new(domain, unsafe { self.get().copy() });
            std::mem::replace(self, copy).retire(domain);
        }
        // SAFETY: no snapshot sees it, and its owner is borrowed uniquely.
        unsafe { &mut self.block.as_mut().value }
    }

    /// Gives the value up: freed now, or by the domain when no snapshot sees it any more.
    pub fn retire(self, domain: &mut Domain) {
        let birth = self.birth(domain);
        domain.write_epoch();
        // SAFETY: owned, and given up here.
        unsafe { domain.retire(self.block.cast(), birth, size_of::<Block<T>>(), free::<T>) };
    }

    /// A second handle to the same block.
    ///
    /// # Safety
    /// Only one of the two goes on as the owner: the other is read, never changed or given up (as the
    /// field of a frozen block is).
    pub unsafe fn share(&self) -> CowBox<T> {
        CowBox {
            block: self.block,
            marker: PhantomData,
        }
    }

    /// Frees the value.
    ///
    /// # Safety
    /// It is the owner, and no snapshot sees the block.
    pub unsafe fn free(self) {
        // SAFETY: the caller's promise.
        unsafe { free::<T>(self.block.cast()) }
    }

    fn birth(&self, domain: &Domain) -> u64 {
        // SAFETY: as in `get`.
        let birth = unsafe { self.block.as_ref() }.birth;
        assert!(
            birth >> EPOCH_BITS == u64::from(domain.id()),
            "a block of another domain"
        );
        birth & EPOCH_MAX
    }
}

/// # Safety
/// `block` is a `Block<T>` given up for good.
unsafe fn free<T>(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { drop(Box::from_raw(block.cast::<Block<T>>().as_ptr())) }
}

/// What a value counts for when a tree holds it in a [`CowBox`].
pub trait Weigh {
    /// The value's share in the tree's weight offsets.
    fn weight(&self) -> u64;
}

impl Weigh for Vec<u8> {
    /// The length in bytes: a tree of chunks finds a byte offset.
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

// SAFETY: a plain pointer; `release` frees what it owns.
unsafe impl<T: Weigh + Copyable> Item for CowBox<T> {
    #[inline]
    fn weight(&self) -> u64 {
        self.get().weight()
    }

    unsafe fn release(self) {
        // SAFETY: the caller's promise.
        unsafe { self.free() }
    }
}
