//! [`CowBytes`]: a run of bytes on the heap with the epoch it was born in, in one allocation.
//!
//! What a [`super::CowBox`] of a vector would be, without the second allocation and the vector's own words. Its length is
//! fixed: it is for bytes that grew elsewhere and now stay.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::domain::{Domain, EPOCH_BITS, EPOCH_MAX};

/// Owns bytes; a pointer wide. It does not free on drop, since that takes the domain: give it up with
/// [`CowBytes::retire`].
pub struct CowBytes {
    head: NonNull<Head>,
}

/// What stands before the bytes.
#[repr(C)]
struct Head {
    /// Birth in the low 44 bits, the domain's number above.
    birth: u64,
    len: usize,
}

// SAFETY: it owns its bytes; what is shared is only read.
unsafe impl Send for CowBytes {}
// SAFETY: as above.
unsafe impl Sync for CowBytes {}

fn layout(len: usize) -> Layout {
    let bytes = size_of::<Head>().checked_add(len);
    let layout = bytes.and_then(|bytes| Layout::from_size_align(bytes, align_of::<Head>()).ok());
    layout.unwrap_or_else(|| unreachable!("a slice is no longer than memory"))
}

impl CowBytes {
    /// A copy of the bytes.
    pub fn new(domain: &mut Domain, bytes: &[u8]) -> CowBytes {
        let birth = domain.write_epoch() | u64::from(domain.id()) << EPOCH_BITS;
        let layout = layout(bytes.len());
        // SAFETY: the layout has a size.
        let Some(head) = NonNull::new(unsafe { alloc(layout) }.cast::<Head>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: fresh memory for a head and so many bytes behind it.
        unsafe {
            let len = bytes.len();
            head.write(Head { birth, len });
            head.add(1)
                .cast::<u8>()
                .copy_from_nonoverlapping(NonNull::from(bytes).cast(), len);
        }
        CowBytes { head }
    }

    /// The bytes.
    #[inline]
    pub fn get(&self) -> &[u8] {
        // SAFETY: alive as long as its owner, or as the snapshot that sees the owner; written by `new`.
        unsafe {
            let len = self.head.as_ref().len;
            std::slice::from_raw_parts(self.head.add(1).cast().as_ptr(), len)
        }
    }

    /// Puts other bytes in the place of these: where they stand if there are as many and no snapshot may see them.
    pub fn set(&mut self, domain: &mut Domain, bytes: &[u8]) {
        domain.write_epoch();
        if domain.is_frozen(self.birth(domain)) || self.get().len() != bytes.len() {
            let fresh = CowBytes::new(domain, bytes);
            return std::mem::replace(self, fresh).retire(domain);
        }
        // SAFETY: no snapshot sees them, their owner is borrowed uniquely, and there are as many.
        unsafe {
            let own = self.head.add(1).cast::<u8>();
            own.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
    }

    /// Gives the bytes up: freed now, or by the domain when no snapshot sees them any more.
    pub fn retire(self, domain: &mut Domain) {
        let birth = self.birth(domain);
        domain.write_epoch();
        let bytes = self.memory_bytes();
        // SAFETY: owned, and given up here.
        unsafe { domain.retire(self.head.cast(), birth, bytes, free) };
    }

    /// A second handle to the same bytes.
    ///
    /// # Safety
    /// Only one of the two goes on as the owner: the other is read, never changed or given up (as the
    /// field of a frozen block is).
    pub unsafe fn share(&self) -> CowBytes {
        CowBytes { head: self.head }
    }

    /// Frees the bytes.
    ///
    /// # Safety
    /// It is the owner, and no snapshot sees them.
    pub unsafe fn free(self) {
        // SAFETY: the caller's promise.
        unsafe { free(self.head.cast()) }
    }

    /// Bytes of the allocation, before the allocator rounds them.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Head>() + self.get().len()
    }

    fn birth(&self, domain: &Domain) -> u64 {
        // SAFETY: as in `get`.
        let birth = unsafe { self.head.as_ref() }.birth;
        assert!(
            birth >> EPOCH_BITS == u64::from(domain.id()),
            "a block of another domain"
        );
        birth & EPOCH_MAX
    }
}

/// # Safety
/// `block` is the head of bytes that were given up for good.
unsafe fn free(block: NonNull<u8>) {
    // SAFETY: the caller's promise; allocated with this layout.
    unsafe {
        let len = block.cast::<Head>().as_ref().len;
        dealloc(block.as_ptr(), layout(len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_was() {
        let mut domain = Domain::new();
        let mut bytes = CowBytes::new(&mut domain, b"before");
        bytes.set(&mut domain, b"behind");
        let pin = domain.snapshot();
        // SAFETY: `seen` is only read, while the pin lives.
        let seen = unsafe { bytes.share() };
        bytes.set(&mut domain, b"beyond");
        bytes.set(&mut domain, b"beneath");
        assert_eq!((seen.get(), bytes.get()), (&b"behind"[..], &b"beneath"[..]));
        bytes.set(&mut domain, b"");
        assert_eq!(bytes.get(), b"");
        drop(pin);
        drop(domain.collect());
        bytes.retire(&mut domain);
    }
}
