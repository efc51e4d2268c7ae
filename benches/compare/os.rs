//! What the comparison asks of Linux: affinity, a process's CPU clock, its memory, its children.
//!
//! All of the benchmark's unsafe stands here. Nothing is cached: every call reads the present state.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// The cores that this process may use, ascending.
pub fn usable_cores() -> io::Result<Vec<usize>> {
    // SAFETY: cpu_set_t is a plain bit array, for which all zeroes is a value.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `set` is a live cpu_set_t of the size given.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let limit = libc::CPU_SETSIZE as usize;
    // SAFETY: `core` is below CPU_SETSIZE.
    Ok((0..limit)
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect())
}

fn core_set(cores: &[usize]) -> libc::cpu_set_t {
    // SAFETY: as in `usable_cores`.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    for &core in cores {
        assert!(core < libc::CPU_SETSIZE as usize);
        // SAFETY: the line above.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    set
}

/// Keeps `thread` (0: the calling one) on the cores of `set`.
fn apply(thread: libc::pid_t, set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: `set` is a live cpu_set_t of the size given.
    match unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps the calling thread, and what it starts from now on, on `cores`.
pub fn pin_self(cores: &[usize]) -> io::Result<()> {
    apply(0, &core_set(cores))
}

/// Keeps all present threads of `pid`, and what they start from now on, on `cores`.
pub fn pin_process(pid: u32, cores: &[usize]) -> io::Result<()> {
    let set = core_set(cores);
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = entry?.file_name().to_string_lossy().parse();
        apply(thread.map_err(io::Error::other)?, &set)?;
    }
    Ok(())
}

/// Makes `command` run on `cores` and die with the thread that started it.
pub fn confine(command: &mut Command, cores: &[usize]) {
    let set = core_set(cores);
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            apply(0, &set)
        });
    }
}

/// CPU time of all threads of `pid` since it started, to the nanosecond.
pub fn process_cpu(pid: u32) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a live clockid_t.
    let result = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a live timespec.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// One field of /proc/PID/status that is in kB ("VmRSS", "VmHWM"), in bytes.
pub fn status_bytes(pid: u32, field: &str) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no {field}")))
}

/// Starts VmHWM of `pid` again from its present VmRSS.
pub fn reset_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// Whether the main thread of `pid` has a child process now.
pub fn has_children(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .is_ok_and(|text| !text.trim().is_empty())
}
