//! Clocks and processor time. The only place that reads them; everything below `server` gets the
//! time as an argument.
#![allow(unsafe_code)]

use std::time::Duration;

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32)
}

/// Milliseconds since 1970.
pub fn unix_ms() -> i64 {
    read(libc::CLOCK_REALTIME).as_millis() as i64
}

/// Microseconds since 1970.
pub fn unix_us() -> i64 {
    read(libc::CLOCK_REALTIME).as_micros() as i64
}

/// Microseconds on a clock that never goes back; its zero means nothing.
#[inline]
pub fn monotonic_us() -> u64 {
    read(libc::CLOCK_MONOTONIC).as_micros() as u64
}

/// Nanoseconds on the same clock.
#[inline]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC).as_nanos() as u64
}

/// Lets the calling thread's naps end on time: by default the kernel takes 50 µs more.
pub fn make_naps_exact() {
    // SAFETY: a plain integer, nanoseconds.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1000) };
}

/// Suspends the calling thread; a signal ends it early.
pub fn nap(ns: u64) {
    let time = libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `time` is valid for the call; what would be left is not asked for.
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

/// Processor time of the calling thread.
pub fn thread_cpu() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time spent in the system and in the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// In the kernel.
    pub system: Duration,
    /// In the program.
    pub user: Duration,
}

/// Whose processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuOf {
    /// All threads of this process.
    Process,
    /// Its children that ended.
    Children,
    /// The calling thread.
    Thread,
}

/// Processor time for INFO's cpu section.
pub fn cpu_usage(of: CpuOf) -> CpuUsage {
    let who = match of {
        CpuOf::Process => libc::RUSAGE_SELF,
        CpuOf::Children => libc::RUSAGE_CHILDREN,
        CpuOf::Thread => libc::RUSAGE_THREAD,
    };
    // SAFETY: all-zero bytes are a valid `rusage`, and it is a valid place for the answer.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| {
        Duration::new(time.tv_sec.max(0) as u64, time.tv_usec.max(0) as u32 * 1000)
    };
    CpuUsage {
        system: time(usage.ru_stime),
        user: time(usage.ru_utime),
    }
}

/// The broken-down local time of a moment, for log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Four digits.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
}

/// The local time of `unix_seconds`.
pub fn local_time(unix_seconds: i64) -> LocalTime {
    // SAFETY: all-zero bytes are a valid `tm`; both pointers are valid for the call.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const unix_seconds, &raw mut tm);
        tm
    };
    LocalTime {
        year: tm.tm_year + 1900,
        month: tm.tm_mon as u32 + 1,
        day: tm.tm_mday as u32,
        hour: tm.tm_hour as u32,
        minute: tm.tm_min as u32,
        second: tm.tm_sec as u32,
    }
}
