//! The process: signals, daemonising, the pid file, the supervisor, limits, who and where we are.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::crash::Out;

/// Signals that ask the server to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
}

/// The file that the SIGINT that ends the process at once removes first; null for none.
static TEMPORARY: AtomicPtr<libc::c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Names the file that must not stay behind when the second SIGINT ends the process, or with `None` that there is
/// none any more.
pub fn remove_when_interrupted(path: Option<&Path>) {
    TEMPORARY.store(kept_path(path), Ordering::Release);
}

/// The path for a handler of signals, null for `None`; it is never freed. Keeps a few bytes for ever for each path
/// that is new.
pub(super) fn kept_path(path: Option<&Path>) -> *mut libc::c_char {
    static KNOWN: Mutex<Vec<&CStr>> = Mutex::new(Vec::new());
    let Some(name) = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()) else {
        return std::ptr::null_mut();
    };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = match known.iter().find(|old| **old == name.as_c_str()) {
        Some(old) => *old,
        None => {
            let new: &'static CStr = Box::leak(name.into_boxed_c_str());
            known.push(new);
            new
        }
    };
    kept.as_ptr().cast_mut()
}

/// Ends the process from a signal's handler, with code 1.
fn exit_now() -> ! {
    let path = TEMPORARY.load(Ordering::Acquire);
    // SAFETY: handlers may call time and unlink; a path is never freed once it was published.
    let seconds = unsafe {
        if !path.is_null() {
            libc::unlink(path);
        }
        libc::time(std::ptr::null_mut())
    };
    let mut out = Out::open();
    let pid = std::process::id();
    let _ = writeln!(
        out,
        "{pid}:signal-handler ({seconds}) You insist... exiting now."
    );
    drop(out);
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(1) }
}

/// The signals of the process: SIGTERM and SIGINT wake a pipe; SIGHUP, SIGPIPE and SIGXFSZ are ignored, so that a socket
/// that is gone and a file at its limit are errors of the write.
///
/// A SIGINT while a shutdown is under way that a signal has asked for ends the process at once with code 1.
#[derive(Debug)]
pub struct Signals {
    receiver: UnixStream,
    terminate: Arc<AtomicBool>,
    interrupt: Arc<AtomicBool>,
    /// A signal has asked for a shutdown that was not called off.
    asked: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers. Once, before other threads start.
    pub fn install() -> io::Result<Signals> {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        let terminate = Arc::new(AtomicBool::new(false));
        let interrupt = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicBool::new(false));
        let (asks, flag) = (Arc::clone(&asked), Arc::clone(&interrupt));
        let on_interrupt = move || {
            if asks.swap(true, Ordering::Relaxed) {
                exit_now();
            }
            flag.store(true, Ordering::Relaxed);
        };
        let (asks, flag) = (Arc::clone(&asked), Arc::clone(&terminate));
        let on_terminate = move || {
            asks.store(true, Ordering::Relaxed);
            flag.store(true, Ordering::Relaxed);
        };
        // Actions of one signal run in the order of registration: the pipe wakes who finds the flag.
        // SAFETY: they touch atomics and call what handlers may call.
        unsafe {
            signal_hook::low_level::register(libc::SIGINT, on_interrupt)?;
            signal_hook::low_level::register(libc::SIGTERM, on_terminate)?;
        }
        signal_hook::low_level::pipe::register(libc::SIGINT, sender.try_clone()?)?;
        signal_hook::low_level::pipe::register(libc::SIGTERM, sender)?;
        Ok(Signals {
            receiver,
            terminate,
            interrupt,
            asked,
        })
    }

    /// The end that becomes readable when a signal arrives: give a clone of it to the poll.
    pub fn receiver(&self) -> &UnixStream {
        &self.receiver
    }

    /// Empties the pipe and gives the signal that arrived. The next SIGINT ends the process, unless
    /// [`Signals::forgive`] is called.
    pub fn take(&self) -> Option<Stop> {
        let mut waste = [0; 64];
        while matches!(io::Read::read(&mut &self.receiver, &mut waste), Ok(count) if count > 0) {}
        let interrupted = self.interrupt.swap(false, Ordering::Relaxed);
        if self.terminate.swap(false, Ordering::Relaxed) {
            return Some(Stop::Terminate);
        }
        interrupted.then_some(Stop::Interrupt)
    }

    /// The shutdown was called off: the next SIGINT is a first one again.
    pub fn forgive(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }
}

/// Goes to the background: forks twice, leaves the terminal, standard streams to /dev/null.
/// Only before any thread was started. Returns in the daemon; the callers of old end with code 0.
pub fn daemonize() -> io::Result<()> {
    let fork = || -> io::Result<()> {
        // SAFETY: no other thread exists, so the child is in a sound state.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(()),
            // SAFETY: ends the parent without running its destructors.
            _ => unsafe { libc::_exit(0) },
        }
    };
    fork()?;
    // SAFETY: no arguments.
    unsafe { libc::setsid() };
    fork()?;
    // SAFETY: the path is a constant; the descriptors are the standard ones and the new one.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        if null >= 0 {
            for stream in 0..=2 {
                libc::dup2(null, stream);
            }
            if null > 2 {
                libc::close(null);
            }
        }
    }
    Ok(())
}

/// Writes the process id. The file is removed by [`remove_pid_file`].
pub fn write_pid_file(path: &Path) -> io::Result<()> {
    std::fs::write(path, format!("{}\n", std::process::id()))
}

/// Removes the pid file, if it is there.
pub fn remove_pid_file(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Tells systemd something, such as `READY=1`. Errors: why nobody hears it, as Redis's log says it.
pub fn notify_systemd(message: &str) -> Result<(), String> {
    let address = std::env::var_os("NOTIFY_SOCKET").ok_or("NOTIFY_SOCKET not found!")?;
    notify_at(&address, message).map_err(|error| {
        format!(
            "sd_notify: -{}",
            error.raw_os_error().unwrap_or(libc::EINVAL)
        )
    })
}

fn notify_at(address: &OsStr, message: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// Whether systemd or upstart started us, by the environment.
pub fn supervisor() -> Option<&'static str> {
    if std::env::var_os("UPSTART_JOB").is_some() {
        Some("upstart")
    } else if std::env::var_os("NOTIFY_SOCKET").is_some() {
        Some("systemd")
    } else {
        None
    }
}

/// Stops ourselves, which upstart takes for being ready; it lets us go on.
pub fn stop_for_upstart() {
    // SAFETY: a signal to ourselves.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Descriptors that the server needs besides those of clients.
pub const RESERVED_FDS: u64 = 32;

/// The outcome of [`raise_file_limit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileLimit {
    /// The limit was enough.
    Enough,
    /// Raised: the old and the new limit.
    Raised {
        /// Before.
        from: u64,
        /// Now.
        to: u64,
    },
    /// Less than asked for: `maxclients` must come down.
    Short {
        /// The limit that was needed.
        wanted: u64,
        /// The limit in force.
        limit: u64,
        /// Why it cannot be more.
        reason: String,
    },
    /// The limit cannot be read; 1024 is assumed.
    Unknown {
        /// What the system said.
        reason: String,
    },
}

/// Raises the limit of open files so that `maxclients` fit.
pub fn raise_file_limit(maxclients: u64) -> FileLimit {
    let wanted = maxclients.saturating_add(RESERVED_FDS);
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return FileLimit::Unknown {
            reason: error_text(&io::Error::last_os_error()),
        };
    }
    let from = limit.rlim_cur;
    if from >= wanted {
        return FileLimit::Enough;
    }
    let set = |value: u64| -> io::Result<()> {
        let limit = libc::rlimit {
            rlim_cur: value,
            rlim_max: value.max(limit.rlim_max),
        };
        // SAFETY: `limit` is valid for the call.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    match set(wanted) {
        Ok(()) => FileLimit::Raised { from, to: wanted },
        Err(error) => {
            // Without privileges the hard limit is the most to be had.
            let best = limit.rlim_max.min(wanted);
            let limit = if set(best).is_ok() {
                best.max(from)
            } else {
                from
            };
            FileLimit::Short {
                wanted,
                limit,
                reason: error_text(&error),
            }
        }
    }
}

/// The system's text of an error, without Rust's `(os error n)`.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// What the machine runs, as INFO's `os`: system, release, machine.
pub fn os_text() -> String {
    // SAFETY: all-zero bytes are a valid `utsname`, which is a valid place for the answer; the
    // system ends every field with a zero byte.
    unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut name);
        let text = |field: &[libc::c_char]| {
            CStr::from_ptr(field.as_ptr())
                .to_string_lossy()
                .into_owned()
        };
        format!(
            "{} {} {}",
            text(&name.sysname),
            text(&name.release),
            text(&name.machine)
        )
    }
}

/// The host's name.
pub fn hostname() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the buffer is as long as said; one byte is kept back so that it ends with zero.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let name = CStr::from_bytes_until_nul(&name).unwrap_or(c"");
    name.to_string_lossy().into_owned()
}

/// Whether standard output is a terminal.
pub fn stdout_is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stdout())
}

/// Writes `/proc/self/oom_score_adj`.
pub fn set_oom_score_adj(score: i64) -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", score.to_string())
}

/// Reads `/proc/self/oom_score_adj`.
pub fn oom_score_adj() -> i64 {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Random bytes of the system, for run ids and hash seeds.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // SAFETY: the rest of the buffer is as long as said.
        let count = unsafe { libc::getrandom(bytes[filled..].as_mut_ptr().cast(), N - filled, 0) };
        match usize::try_from(count) {
            Ok(count) => filled += count,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // Without the system call only weak sources are left.
            Err(_) => {
                let mut seed = super::clock::monotonic_ns() ^ u64::from(std::process::id()) << 32;
                for byte in &mut bytes[filled..] {
                    seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    *byte = (seed >> 56) as u8;
                }
                return bytes;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_us() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("redoxide-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        notify_at(OsStr::new(&format!("@{name}")), "READY=1\n").unwrap();
        let mut heard = [0; 32];
        let count = socket.recv(&mut heard).unwrap();
        assert_eq!(&heard[..count], b"READY=1\n");
    }

    #[test]
    fn the_machine_has_a_name() {
        assert!(os_text().starts_with("Linux "));
        assert_ne!(random_bytes::<16>(), random_bytes::<16>());
    }
}
