//! The global allocator: jemalloc, with the bytes in use counted by usable size.
//!
//! Every thread owns a counter on a cache line of its own, so counting is a load, an add and a
//! store without contention; reading adds the counters up. Threads beyond [`OWNED`] share one
//! counter with an atomic add. The size class of a request is computed here, not asked for, so
//! freeing reads no allocator metadata.
//!
//! The feature `system-alloc` (for sanitizers) takes the system's allocator and counts requests.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

#[cfg(feature = "system-alloc")]
use std::alloc::System as Inner;
#[cfg(not(feature = "system-alloc"))]
use tikv_jemallocator::Jemalloc as Inner;

/// Threads that own a counter; later ones share the last.
const OWNED: usize = 63;

/// Cache lines are fetched in pairs on x86.
#[repr(align(128))]
struct Counter(AtomicI64);

static COUNTERS: [Counter; OWNED + 1] = [const { Counter(AtomicI64::new(0)) }; OWNED + 1];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The index of the thread's counter, 0 until it has one (then one more than the index).
    static MINE: Cell<usize> = const { Cell::new(0) };
}

/// Small thread caches: filling the default ones for 512-byte blocks costs 45 µs at a time.
/// `background_thread` is switched on at run time, after daemonising.
#[cfg(not(feature = "system-alloc"))]
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 51] = b"tcache_nslots_small_max:20,lg_tcache_nslots_mul:-1\0";

#[global_allocator]
static GLOBAL: Counting = Counting;

struct Counting;

#[inline]
fn count(bytes: i64) {
    let mine = MINE.get();
    if mine == 0 || mine > OWNED {
        return count_slowly(bytes);
    }
    // The counter has one writer: this thread.
    let counter = &COUNTERS[mine - 1].0;
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(bytes),
        Ordering::Relaxed,
    );
}

#[cold]
#[inline(never)]
fn count_slowly(bytes: i64) {
    if MINE.get() == 0 {
        MINE.set(THREADS.fetch_add(1, Ordering::Relaxed).min(OWNED) + 1);
        if MINE.get() <= OWNED {
            return count(bytes);
        }
    }
    COUNTERS[OWNED].0.fetch_add(bytes, Ordering::Relaxed);
}

/// Bytes allocated and not freed, by usable size, over all threads. About 30 ns.
pub fn used_memory() -> u64 {
    let threads = THREADS.load(Ordering::Relaxed).min(OWNED + 1);
    let sum: i64 = COUNTERS[..threads]
        .iter()
        .map(|counter| counter.0.load(Ordering::Relaxed))
        .sum();
    sum.max(0) as u64
}

/// The bytes jemalloc hands out for a request: its size class.
///
/// Classes are multiples of 8 up to 64 (`.cargo/config.toml` asks for that), then four to each doubling, and from
/// 32 KiB on whole pages. Another allocator only wastes a little where this is used to choose sizes.
#[inline]
pub const fn class_bytes(bytes: usize) -> usize {
    if bytes <= 64 {
        return if bytes == 0 { 8 } else { (bytes + 7) & !7 };
    }
    let spacing = match (bytes - 1).ilog2() - 2 {
        bits if bits < 12 => 1 << bits,
        _ => 4096,
    };
    (bytes + (spacing - 1)) & !(spacing - 1)
}

/// What is asked of jemalloc for this layout. Its classes below 64 bytes are multiples of 8, not all of 16: a block
/// that needs 16-byte alignment gets a size that has such a class.
#[inline]
fn asked(layout: Layout) -> Layout {
    match layout.align() {
        16 => layout.pad_to_align(),
        _ => layout,
    }
}

/// The bytes that jemalloc hands out for what is [`asked`].
#[inline]
fn usable(layout: Layout) -> usize {
    if cfg!(feature = "system-alloc") {
        layout.size()
    } else if layout.align() <= 16 {
        class_bytes(layout.size())
    } else {
        aligned_usable(layout)
    }
}

/// An aligned request may take a larger class: jemalloc says which.
#[cfg(not(feature = "system-alloc"))]
#[cold]
fn aligned_usable(layout: Layout) -> usize {
    let flags = layout.align().trailing_zeros() as i32;
    // SAFETY: `nallocx` only computes; the size is not zero.
    unsafe { tikv_jemalloc_sys::nallocx(layout.size().max(1), flags) }
}

#[cfg(feature = "system-alloc")]
fn aligned_usable(layout: Layout) -> usize {
    layout.size()
}

// SAFETY: every call is passed on unchanged to an allocator that fulfils the contract; counting
// touches only atomics and a thread-local without destructor, so it cannot allocate or unwind.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let layout = asked(layout);
        // SAFETY: the caller's promise.
        let memory = unsafe { Inner.alloc(layout) };
        if !memory.is_null() {
            count(usable(layout) as i64);
        }
        memory
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let layout = asked(layout);
        // SAFETY: the caller's promise.
        let memory = unsafe { Inner.alloc_zeroed(layout) };
        if !memory.is_null() {
            count(usable(layout) as i64);
        }
        memory
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let layout = asked(layout);
        count(-(usable(layout) as i64));
        // SAFETY: the caller's promise.
        unsafe { Inner.dealloc(memory, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let layout = asked(layout);
        // SAFETY: the caller promises that the new size is valid for this alignment.
        let new = asked(unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) });
        // SAFETY: the caller's promise; padding keeps a size valid for its alignment.
        let moved = unsafe { Inner.realloc(memory, layout, new.size()) };
        if !moved.is_null() {
            count(usable(new) as i64 - usable(layout) as i64);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "system-alloc"))]
    #[test]
    fn size_classes_are_jemallocs() {
        let sizes = (1..70_000).chain((70_000..200_000_000).step_by(99_991));
        for size in sizes {
            // SAFETY: `nallocx` only computes.
            let class = unsafe { tikv_jemalloc_sys::nallocx(size, 0) };
            assert_eq!(class_bytes(size), class, "{size}");
        }
    }

    #[test]
    fn blocks_are_aligned() {
        for (size, align) in [
            (24, 16),
            (40, 16),
            (52, 16),
            (56, 16),
            (72, 16),
            (24, 8),
            (1, 16),
        ] {
            let layout = Layout::from_size_align(size, align).unwrap();
            let blocks: Vec<*mut u8> = (0..50)
                // SAFETY: the size is not zero.
                .map(|_| unsafe { std::alloc::alloc(layout) })
                .collect();
            for block in blocks {
                assert_eq!(block as usize % align, 0, "{size} bytes");
                // SAFETY: allocated above with this layout.
                unsafe {
                    let block = std::alloc::realloc(block, layout, size + 9);
                    assert_eq!(block as usize % align, 0, "{size} bytes, grown");
                    let grown = Layout::from_size_align(size + 9, align).unwrap();
                    std::alloc::dealloc(block, grown);
                }
            }
        }
    }

    #[test]
    fn blocks_are_counted_from_any_thread() {
        const BYTES: usize = 64 << 20;
        let before = used_memory();
        let block = std::thread::spawn(|| vec![0u8; BYTES]).join().unwrap();
        assert!(used_memory() >= before + (BYTES as u64) / 2);
        drop(block);
        assert!(used_memory() < before + (BYTES as u64) / 2);
    }
}
