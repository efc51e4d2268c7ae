//! Processors: how many may be used, on which a thread runs, how urgently.
#![allow(unsafe_code)]

/// Whether another thread can run while this one spins: the machine has several processors, and the
/// control group's quota leaves this process more than one. Being pinned to one processor is no
/// obstacle: the client may have another.
pub fn may_spin() -> bool {
    // SAFETY: sysconf only reads.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    online >= 2 && quota_cpus().is_none_or(|quota| quota >= 2.0)
}

/// Processors that the control group's quota allows, when there is one (version 2, else version 1).
fn quota_cpus() -> Option<f64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    if let Some(text) = read("/sys/fs/cgroup/cpu.max") {
        let (quota, period) = text.trim().split_once(' ')?;
        return Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?);
    }
    let number = |path: &str| read(path)?.trim().parse::<f64>().ok();
    let quota = number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").filter(|quota| *quota > 0.0)?;
    Some(quota / number("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?)
}

/// Processors that this process may use: its affinity, limited by the quota of its control group
/// (version 1 or 2), rounded down.
pub fn usable_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Parses a list such as `0,2-5,8-15:2` (`:2` takes every second).
pub fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    const CPU_MAX: usize = 1024;
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, step.trim().parse::<usize>().ok()?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first.trim().parse().ok()?, last.trim().parse().ok()?),
            None => {
                let cpu: usize = range.trim().parse().ok()?;
                (cpu, cpu)
            }
        };
        if step == 0 || first > last || last >= CPU_MAX {
            return None;
        }
        cpus.extend((first..=last).step_by(step));
    }
    Some(cpus)
}

/// Binds the calling thread to these processors.
pub fn set_affinity(cpus: &[usize]) -> std::io::Result<()> {
    // SAFETY: all-zero bytes are an empty `cpu_set_t`; the list is bounded by its size.
    let code = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as usize) {
            libc::CPU_SET(*cpu, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if code == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Makes the calling helper thread give way to the loop: a lower priority and no claim to wake up
/// soon. Best effort.
pub fn lower_thread_priority() {
    // SAFETY: plain integers and a valid parameter block; 0 names the calling thread.
    unsafe {
        let thread = libc::gettid() as libc::id_t;
        libc::setpriority(libc::PRIO_PROCESS, thread, 10);
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters);
    }
}

/// Names the calling thread for `top -H`; at most 15 bytes count.
pub fn name_thread(name: &std::ffi::CStr) {
    // SAFETY: the string lives through the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0"), Some(vec![0]));
        assert_eq!(parse_cpu_list("0,2-4"), Some(vec![0, 2, 3, 4]));
        assert_eq!(parse_cpu_list("8-15:2"), Some(vec![8, 10, 12, 14]));
        for bad in ["", "a", "3-1", "1-4:0", "5000"] {
            assert_eq!(parse_cpu_list(bad), None, "{bad}");
        }
        assert!(usable_cpus() >= 1);
    }
}
