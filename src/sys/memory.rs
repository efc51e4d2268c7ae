//! Memory statistics of the process and of the allocator.
#![allow(unsafe_code)]

/// What the allocator says of itself; bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocatorStats {
    /// Handed out to the program.
    pub allocated: u64,
    /// In pages that hold something handed out.
    pub active: u64,
    /// Mapped and backed by memory.
    pub resident: u64,
    /// Unmapped in effect, kept as address space.
    pub retained: u64,
}

/// Asks jemalloc. Some microseconds; for INFO and the cron, not for commands.
#[cfg(not(feature = "system-alloc"))]
pub fn allocator_stats() -> AllocatorStats {
    use tikv_jemalloc_ctl::{epoch, stats};
    let _ = epoch::advance();
    let bytes = |value: tikv_jemalloc_ctl::Result<usize>| value.unwrap_or(0) as u64;
    AllocatorStats {
        allocated: bytes(stats::allocated::read()),
        active: bytes(stats::active::read()),
        resident: bytes(stats::resident::read()),
        retained: bytes(stats::retained::read()),
    }
}

/// With the system's allocator nothing more is known than what was counted.
#[cfg(feature = "system-alloc")]
pub fn allocator_stats() -> AllocatorStats {
    let used = super::alloc::used_memory();
    AllocatorStats {
        allocated: used,
        active: used,
        resident: used,
        retained: 0,
    }
}

/// The allocator's name and version as INFO's `mem_allocator` gives it.
pub fn allocator_name() -> String {
    #[cfg(not(feature = "system-alloc"))]
    if let Ok(version) = tikv_jemalloc_ctl::version::read() {
        let version = version.split('-').next().unwrap_or(version);
        return format!("jemalloc-{version}");
    }
    "libc".to_owned()
}

/// Lets jemalloc return unused pages from a thread of its own, or not. Not before daemonising:
/// the thread would not survive the fork.
pub fn set_background_thread(on: bool) {
    #[cfg(not(feature = "system-alloc"))]
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(on) {
        log::debug!("jemalloc: background_thread: {error}");
    }
    #[cfg(feature = "system-alloc")]
    let _ = on;
}

/// Returns all unused pages to the system now (MEMORY PURGE). May take milliseconds.
pub fn purge() {
    #[cfg(not(feature = "system-alloc"))]
    {
        // 4096 is jemalloc's MALLCTL_ARENAS_ALL.
        // SAFETY: the command takes no argument and returns nothing.
        let code = unsafe {
            tikv_jemalloc_sys::mallctl(
                c"arena.4096.purge".as_ptr(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                0,
            )
        };
        if code != 0 {
            log::debug!("jemalloc: arena purge failed with {code}");
        }
    }
}

/// Resident set size of the process, bytes; 0 when unknown.
pub fn rss() -> u64 {
    let Ok(statm) = std::fs::read_to_string("/proc/self/statm") else {
        return 0;
    };
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * page_size()
}

/// Bytes in a page.
pub fn page_size() -> u64 {
    // SAFETY: `sysconf` reads nothing of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

/// Memory of the machine, bytes; 0 when unknown.
pub fn total_system_memory() -> u64 {
    // SAFETY: `sysconf` reads nothing of ours.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    u64::try_from(pages).unwrap_or(0) * page_size()
}

/// Turns transparent huge pages off for this process (`disable-thp`).
pub fn disable_thp() {
    #[cfg(target_os = "linux")]
    // SAFETY: plain integers are passed.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_process_has_memory() {
        assert!(super::rss() > 1 << 20);
        assert!(super::total_system_memory() > super::rss());
        assert!(super::allocator_stats().allocated > 0);
    }

    #[cfg(not(feature = "system-alloc"))]
    #[test]
    fn the_compiled_in_options_are_in_force() {
        let mut value: usize = 0;
        let mut size = size_of::<usize>();
        // SAFETY: the option is an unsigned int or size_t; room for the larger is given.
        let code = unsafe {
            tikv_jemalloc_sys::mallctl(
                c"opt.tcache_nslots_small_max".as_ptr(),
                (&raw mut value).cast(),
                &raw mut size,
                std::ptr::null_mut(),
                0,
            )
        };
        if code != 0 {
            // An unsigned int wants its own size.
            size = 4;
            // SAFETY: as above.
            let code = unsafe {
                tikv_jemalloc_sys::mallctl(
                    c"opt.tcache_nslots_small_max".as_ptr(),
                    (&raw mut value).cast(),
                    &raw mut size,
                    std::ptr::null_mut(),
                    0,
                )
            };
            assert_eq!(code, 0);
        }
        assert_eq!(value, 20);
    }
}
