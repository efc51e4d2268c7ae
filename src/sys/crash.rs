//! Fatal signals, stack traces of all threads, and the watchdog's timer.
//!
//! What a report says is up to the [`Hooks`]; this file catches the signal, collects the traces and ends the process.
//! Invariants: up to the hook nothing here allocates or takes a lock, and handlers run on a stack of their own; one
//! thread reports at a time; a second fault within a report, or a report that takes longer than `REPORT_SECONDS_MAX`
//! (the failure may have left a lock taken), ends the process with the first signal.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::io::{self, Write};
use std::mem;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};

use super::{process, symbols};

/// Signals whose default is to end the process for a failure of its own.
const FATAL: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGABRT,
];
/// The signal at which a thread notes its stack.
const TRACE: c_int = libc::SIGUSR2;
/// What a report may take.
const REPORT_SECONDS_MAX: c_uint = 10;
/// How long other threads have to note their stacks.
const TRACE_MS_MAX: u32 = 1000;
/// Threads and frames that are noted.
const THREADS_MAX: usize = 64;
const FRAMES_MAX: usize = 64;
/// The stack that handlers run on: symbols, INFO and the like are written on it.
const STACK_BYTES: usize = 256 << 10;

/// What is to be written, and what functions are called.
pub struct Hooks {
    /// A fatal signal arrived.
    pub crash: fn(&Fault, &Ending, &mut Out),
    /// SIGALRM arrived, by the watchdog's timer or from somebody. May not allocate: the process goes on.
    pub alarm: fn(&Fault, &mut Out),
    /// Another name of the function that starts at an address, in two parts.
    pub alias: fn(usize) -> Option<(&'static str, &'static str)>,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();
/// The thread that reports; 0 while all is well.
static REPORTER: AtomicI32 = AtomicI32::new(0);
/// The signal that is reported.
static SIGNAL: AtomicI32 = AtomicI32::new(libc::SIGABRT);
/// A trace that the process survives is being written.
static ALARMED: AtomicBool = AtomicBool::new(false);
/// The log file; null for standard output.
static LOG: AtomicPtr<libc::c_char> = AtomicPtr::new(ptr::null_mut());

/// Installs the handlers of SIGALRM and of the signal for traces, and maps the symbols. Once, on the main thread.
pub fn install(hooks: Hooks) {
    if HOOKS.set(hooks).is_err() {
        return;
    }
    symbols::load();
    // The unwinder loads what it needs at its first use; that must not be in a handler.
    Trace::of_caller();
    mem::forget(SignalStack::install());
    handle(libc::SIGALRM, on_alarm, libc::SA_RESTART);
    handle(TRACE, on_trace, libc::SA_RESTART);
}

/// Whether fatal signals are reported (`crash-log-enabled`).
pub fn catch(on: bool) {
    for signal in FATAL {
        if on {
            // A second signal of the kind, within the handler, has its default action.
            handle(signal, on_fatal, libc::SA_RESETHAND | libc::SA_NODEFER);
        } else {
            reset(signal);
        }
    }
}

/// Reports go to this file from now on; to standard output with `None`.
pub fn log_to(path: Option<&Path>) {
    LOG.store(process::kept_path(path), Ordering::Release);
}

/// SIGALRM comes in so many milliseconds, unless this is called again before; 0 calls it off.
pub fn watchdog(ms: u64) {
    let timer = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: (ms / 1000) as libc::time_t,
            tv_usec: (ms % 1000 * 1000) as libc::suseconds_t,
        },
    };
    // SAFETY: the value is valid for the call; the old one is not asked for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
}

/// Writes where it may not: SIGSEGV.
pub fn segfault() {
    // SAFETY: a fresh page of nobody's; that the write to it fails is what is asked for.
    unsafe {
        let page = libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        page.cast::<u8>().write_volatile(b'x');
    }
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn handle(signal: c_int, handler: Handler, flags: c_int) {
    // SAFETY: all-zero bytes are a valid `sigaction` with an empty mask; the handlers keep to what handlers may do as
    // far as this file's invariants say.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags | libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

fn reset(signal: c_int) {
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

fn thread_id() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
}

/// Whether the main thread, which runs the loop, calls.
pub fn is_main_thread() -> bool {
    thread_id() as u32 == std::process::id()
}

/// The right to write a report: the process ends with it.
#[derive(Debug)]
pub struct Ending(());

impl Ending {
    /// Begins a report. A failure within one ends the process; a second thread that fails waits for that.
    pub fn begin(signal: c_int) -> Ending {
        let me = thread_id();
        match REPORTER.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {}
            Err(other) if other == me => end_by(SIGNAL.load(Ordering::Relaxed)),
            Err(_) => loop {
                // SAFETY: no arguments.
                unsafe { libc::pause() };
            },
        }
        SIGNAL.store(signal, Ordering::Relaxed);
        // SAFETY: plain numbers.
        unsafe { libc::alarm(REPORT_SECONDS_MAX) };
        Ending(())
    }

    /// Whether the main thread, which runs the loop, is the one that failed.
    pub fn is_of_main_thread(&self) -> bool {
        is_main_thread()
    }

    /// Ends the process as the signal would have, or with code 1.
    pub fn end(self, with_code: bool) -> ! {
        if with_code {
            // SAFETY: ends the process without running destructors.
            unsafe { libc::_exit(1) };
        }
        end_by(SIGNAL.load(Ordering::Relaxed))
    }
}

/// Ends the process by the default action of a signal.
fn end_by(signal: c_int) -> ! {
    reset(signal);
    // SAFETY: the set is initialised before it is used; the last line is for a signal that did not end us.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        libc::raise(signal);
        libc::_exit(128 + signal);
    }
}

/// A signal as a handler got it.
pub struct Fault {
    /// Its number.
    pub signal: i32,
    /// Why it came, as the system numbers it.
    pub code: i32,
    info: *const libc::siginfo_t,
    context: *const libc::ucontext_t,
}

impl Fault {
    fn new(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) -> Fault {
        Fault {
            signal,
            // SAFETY: the system gives handlers with SA_SIGINFO a valid one.
            code: unsafe { (*info).si_code },
            info,
            context: context.cast(),
        }
    }

    /// Process and user that sent it; none when the system did.
    pub fn sender(&self) -> Option<(i32, u32)> {
        let is_sent = matches!(self.code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
        // SAFETY: as in `new`; these fields are set for signals that were sent.
        is_sent.then(|| unsafe { ((*self.info).si_pid(), (*self.info).si_uid()) })
    }

    /// The address whose access failed.
    pub fn address(&self) -> usize {
        // SAFETY: as in `new`.
        unsafe { (*self.info).si_addr() as usize }
    }

    /// The instruction that ran.
    pub fn instruction(&self) -> Option<usize> {
        instruction(self.context)
    }

    /// Names and contents of the processor's registers; nothing where they are not known.
    pub fn registers(&self) -> impl Iterator<Item = (&'static str, usize)> {
        #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
        const NAMES: &[(&str, c_int)] = &[
            ("RAX", libc::REG_RAX),
            ("RBX", libc::REG_RBX),
            ("RCX", libc::REG_RCX),
            ("RDX", libc::REG_RDX),
            ("RDI", libc::REG_RDI),
            ("RSI", libc::REG_RSI),
            ("RBP", libc::REG_RBP),
            ("RSP", libc::REG_RSP),
            ("R8 ", libc::REG_R8),
            ("R9 ", libc::REG_R9),
            ("R10", libc::REG_R10),
            ("R11", libc::REG_R11),
            ("R12", libc::REG_R12),
            ("R13", libc::REG_R13),
            ("R14", libc::REG_R14),
            ("R15", libc::REG_R15),
            ("RIP", libc::REG_RIP),
            ("EFL", libc::REG_EFL),
        ];
        #[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
        const NAMES: &[(&str, c_int)] = &[];
        let context = self.context;
        NAMES
            .iter()
            .map(move |&(name, index)| (name, register(context, index)))
    }

    /// The first words of the stack, from its top on: address and content.
    pub fn stack(&self) -> impl Iterator<Item = (usize, usize)> {
        #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
        let top = register(self.context, libc::REG_RSP);
        #[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
        let top = 0;
        let mut words = [0_usize; 16];
        let ours = libc::iovec {
            iov_base: words.as_mut_ptr().cast(),
            iov_len: mem::size_of_val(&words),
        };
        let theirs = libc::iovec {
            iov_base: top as *mut c_void,
            iov_len: mem::size_of_val(&words),
        };
        // SAFETY: `words` is as long as said; the system checks the other address, which may be anything.
        let bytes = unsafe {
            libc::process_vm_readv(libc::getpid(), &raw const ours, 1, &raw const theirs, 1, 0)
        };
        let count = usize::try_from(bytes).unwrap_or(0) / size_of::<usize>();
        words
            .into_iter()
            .take(count)
            .enumerate()
            .map(move |(index, word)| (top + index * size_of::<usize>(), word))
    }
}

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn register(context: *const libc::ucontext_t, index: c_int) -> usize {
    // SAFETY: the system gives handlers a valid context; the indexes are the system's.
    unsafe { (*context).uc_mcontext.gregs[index as usize] as usize }
}

#[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
fn register(_: *const libc::ucontext_t, _: c_int) -> usize {
    0
}

/// The instruction at which a signal interrupted a thread.
fn instruction(context: *const libc::ucontext_t) -> Option<usize> {
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    return Some(register(context, libc::REG_RIP));
    #[cfg(all(target_arch = "aarch64", target_env = "gnu"))]
    // SAFETY: the system gives handlers a valid context.
    return Some(unsafe { (*context).uc_mcontext.pc as usize });
    #[cfg(not(all(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        target_env = "gnu"
    )))]
    {
        let _ = context;
        None
    }
}

extern "C" fn on_fatal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let ending = Ending::begin(signal);
    if let Some(hooks) = HOOKS.get() {
        (hooks.crash)(
            &Fault::new(signal, info, context),
            &ending,
            &mut Out::open(),
        );
    }
    ending.end(false)
}

extern "C" fn on_alarm(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if REPORTER.load(Ordering::Acquire) != 0 {
        // The report hangs.
        end_by(SIGNAL.load(Ordering::Relaxed));
    }
    let error = errno();
    if let Some(hooks) = HOOKS.get()
        && !ALARMED.swap(true, Ordering::AcqRel)
    {
        (hooks.alarm)(&Fault::new(signal, info, context), &mut Out::open());
        ALARMED.store(false, Ordering::Release);
    }
    set_errno(error);
}

extern "C" fn on_trace(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let error = errno();
    let me = thread_id();
    if let Some(slot) = SLOTS
        .iter()
        .find(|slot| slot.thread.load(Ordering::Acquire) == me)
    {
        let trace = Trace::of_caller();
        let frames = trace.from(instruction(context.cast()));
        for (place, frame) in slot.frames.iter().zip(frames) {
            place.store(frame.0, Ordering::Relaxed);
        }
        slot.count.store(frames.len(), Ordering::Relaxed);
        slot.is_noted.store(true, Ordering::Release);
    }
    set_errno(error);
}

fn errno() -> c_int {
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() }
}

fn set_errno(error: c_int) {
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() = error };
}

/// A return address; the highest bit says that it is that of an instruction which was interrupted.
#[derive(Clone, Copy, Default)]
struct Frame(usize);

impl Frame {
    const INTERRUPTED: usize = 1 << (usize::BITS - 1);

    fn address(self) -> usize {
        self.0 & !Frame::INTERRUPTED
    }

    /// An address within the call.
    fn call(self) -> usize {
        match self.0 & Frame::INTERRUPTED {
            0 => self.0.saturating_sub(1),
            _ => self.address(),
        }
    }
}

/// A thread's stack, innermost call first.
struct Trace {
    frames: [Frame; FRAMES_MAX],
    count: usize,
}

unsafe extern "C" {
    /// The unwinder that panics use: calls `visit` for each frame until it returns other than 0.
    fn _Unwind_Backtrace(
        visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    /// A frame's address, and whether it is before the instruction.
    fn _Unwind_GetIPInfo(frame: *mut c_void, is_before: *mut c_int) -> usize;
}

impl Trace {
    /// The stack of the caller.
    #[inline(never)]
    fn of_caller() -> Trace {
        extern "C" fn note(frame: *mut c_void, trace: *mut c_void) -> c_int {
            // SAFETY: the unwinder hands on its own frame and the trace that `of_caller` gave it.
            let (address, is_before, trace) = unsafe {
                let mut is_before = 0;
                let address = _Unwind_GetIPInfo(frame, &raw mut is_before);
                (address, is_before, &mut *trace.cast::<Trace>())
            };
            let Some(place) = trace.frames.get_mut(trace.count).filter(|_| address != 0) else {
                return 5; // _URC_END_OF_STACK
            };
            let mark = if is_before != 0 {
                Frame::INTERRUPTED
            } else {
                0
            };
            *place = Frame(address | mark);
            trace.count += 1;
            0
        }
        let mut trace = Trace {
            frames: [Frame::default(); FRAMES_MAX],
            count: 0,
        };
        // SAFETY: `note` keeps to the frame and the trace, which lives through the call.
        unsafe { _Unwind_Backtrace(note, (&raw mut trace).cast()) };
        trace
    }

    /// The frames from the one that was interrupted at `instruction` on; all, if it is not among them.
    fn from(&self, instruction: Option<usize>) -> &[Frame] {
        let frames = &self.frames[..self.count];
        let start = frames
            .iter()
            .position(|frame| Some(frame.address()) == instruction);
        &frames[start.unwrap_or(0)..]
    }
}

/// Where a thread notes its stack for another.
struct Slot {
    thread: AtomicI32,
    is_noted: AtomicBool,
    count: AtomicUsize,
    frames: [AtomicUsize; FRAMES_MAX],
}

static SLOTS: [Slot; THREADS_MAX] = [const {
    Slot {
        thread: AtomicI32::new(0),
        is_noted: AtomicBool::new(false),
        count: AtomicUsize::new(0),
        frames: [const { AtomicUsize::new(0) }; FRAMES_MAX],
    }
}; THREADS_MAX];

/// Writes the stacks of all threads, in Redis's form; for a signal, from the instruction that it interrupted.
pub fn write_traces(out: &mut Out, fault: Option<&Fault>) {
    let instruction = fault.and_then(Fault::instruction);
    let _ = writeln!(out, "\n------ STACK TRACE ------");
    if let Some(address) = instruction {
        let _ = writeln!(out, "EIP:");
        write_frame(out, Frame(address | Frame::INTERRUPTED));
    }
    let own = Trace::of_caller();
    let me = thread_id();
    let mut wanted = 0;
    for_each_thread(|thread| {
        if thread == me || wanted >= THREADS_MAX || !takes_signal(thread, TRACE) {
            return;
        }
        let slot = &SLOTS[wanted];
        wanted += 1;
        slot.is_noted.store(false, Ordering::Relaxed);
        slot.thread.store(thread, Ordering::Release);
        // SAFETY: plain numbers; a thread that is gone is an error and no more.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, TRACE) };
    });
    let slots = &SLOTS[..wanted];
    for _ in 0..TRACE_MS_MAX {
        if slots
            .iter()
            .all(|slot| slot.is_noted.load(Ordering::Acquire))
        {
            break;
        }
        let millisecond = libc::timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        // SAFETY: the time is valid for the call.
        unsafe { libc::nanosleep(&raw const millisecond, ptr::null_mut()) };
    }
    let mut noted = 1;
    write_trace(out, me, " *", own.from(instruction).iter().copied());
    for slot in slots {
        if slot.is_noted.load(Ordering::Acquire) {
            noted += 1;
            let frames = slot.frames.iter().take(slot.count.load(Ordering::Relaxed));
            let frames = frames.map(|frame| Frame(frame.load(Ordering::Relaxed)));
            write_trace(out, slot.thread.load(Ordering::Relaxed), "", frames);
        }
        slot.thread.store(0, Ordering::Release);
    }
    let _ = writeln!(
        out,
        "\n{noted}/{} expected stacktraces.\n\n------ STACK TRACE DONE ------",
        wanted + 1
    );
    let _ = out.flush();
}

fn write_trace(out: &mut Out, thread: i32, mark: &str, frames: impl Iterator<Item = Frame>) {
    let _ = write!(out, "\n{thread} ");
    with_thread_file(thread, "comm", |name| {
        let _ = out.write_all(name.trim_ascii_end());
    });
    let _ = writeln!(out, "{mark}");
    frames.for_each(|frame| write_frame(out, frame));
}

/// One line: the function and how far in it, or the library's file, and the address.
fn write_frame(out: &mut Out, frame: Frame) {
    let address = frame.address();
    if let Some(function) = symbols::function_at(frame.call()) {
        let _ = write!(
            out,
            "redoxide-server({function}+{:#x}) [{address:#x}]",
            address.wrapping_sub(function.start)
        );
        let alias = HOOKS.get().and_then(|hooks| (hooks.alias)(function.start));
        if let Some((first, second)) = alias {
            let _ = write!(out, " {first}{second}");
        }
        let _ = writeln!(out);
        return;
    }
    // SAFETY: all-zero bytes are a valid `Dl_info`, which is a valid place for the answer; its strings last as long as
    // the library, and libraries are not unloaded here.
    let (file, base) = unsafe {
        let mut found: libc::Dl_info = mem::zeroed();
        if libc::dladdr(frame.call() as *const c_void, &raw mut found) == 0
            || found.dli_fname.is_null()
        {
            (c"", address)
        } else {
            (CStr::from_ptr(found.dli_fname), found.dli_fbase as usize)
        }
    };
    let _ = out.write_all(file.to_bytes());
    let _ = writeln!(out, "(+{:#x}) [{address:#x}]", address.wrapping_sub(base));
}

/// Calls `visit` with the number of each thread of this process.
fn for_each_thread(mut visit: impl FnMut(i32)) {
    // SAFETY: the path is a constant and the buffer as long as said; records are read as the system lays them out:
    // inode u64, offset u64, length of the record u16, kind u8, name up to a zero byte.
    unsafe {
        let directory = libc::open(
            c"/proc/self/task".as_ptr(),
            libc::O_RDONLY | libc::O_DIRECTORY,
        );
        if directory < 0 {
            return;
        }
        let mut records = [0_u8; 4096];
        loop {
            let bytes = libc::syscall(
                libc::SYS_getdents64,
                directory,
                records.as_mut_ptr(),
                records.len(),
            );
            let mut left = match usize::try_from(bytes) {
                Ok(bytes) if bytes > 0 => records.get(..bytes).unwrap_or(&[]),
                _ => break,
            };
            while let (Some(length), Some(name)) = (left.get(16..18), left.get(19..)) {
                let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
                let digits = name.split(|byte| *byte == 0).next().unwrap_or(&[]);
                if let Some(thread) = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|name| name.parse().ok())
                {
                    visit(thread);
                }
                left = left.get(length.max(1)..).unwrap_or(&[]);
            }
        }
        libc::close(directory);
    }
}

/// Whether a thread lets a signal through; the allocator's threads do not.
fn takes_signal(thread: i32, signal: c_int) -> bool {
    let mut takes = false;
    with_thread_file(thread, "status", |status| {
        let mut lines = status.split(|byte| *byte == b'\n');
        let blocked = lines.find_map(|line| line.strip_prefix(b"SigBlk:\t"));
        let blocked = blocked.and_then(|digits| std::str::from_utf8(digits).ok());
        let blocked = blocked.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        takes = blocked.is_some_and(|blocked| blocked >> (signal - 1) & 1 == 0);
    });
    takes
}

/// Reads the beginning of /proc/self/task/`thread`/`name`.
fn with_thread_file(thread: i32, name: &str, use_it: impl FnOnce(&[u8])) {
    let mut path = [0_u8; 64];
    let mut rest = &mut path[..];
    if write!(rest, "/proc/self/task/{thread}/{name}\0").is_err() {
        return;
    }
    let mut bytes = [0_u8; 2048];
    // SAFETY: the path ends with a zero byte, the buffer is as long as said.
    let count = unsafe {
        let file = libc::open(path.as_ptr().cast(), libc::O_RDONLY);
        if file < 0 {
            return;
        }
        let count = libc::read(file, bytes.as_mut_ptr().cast(), bytes.len());
        libc::close(file);
        count
    };
    use_it(
        bytes
            .get(..usize::try_from(count).unwrap_or(0))
            .unwrap_or(&[]),
    );
}

/// The log, written without locks: the file that [`log_to`] named, opened for this, or standard output.
pub struct Out {
    descriptor: c_int,
    buffer: [u8; 512],
    used: usize,
}

impl Out {
    /// Opens it.
    pub fn open() -> Out {
        let path = LOG.load(Ordering::Acquire);
        let descriptor = if path.is_null() {
            libc::STDOUT_FILENO
        } else {
            // SAFETY: a path that was published is never freed.
            unsafe {
                libc::open(
                    path,
                    libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC,
                    0o644,
                )
            }
        };
        Out {
            descriptor,
            buffer: [0; 512],
            used: 0,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.used == self.buffer.len() {
            self.flush()?;
        }
        let room = &mut self.buffer[self.used..];
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.used += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut left = &self.buffer[..self.used];
        while !left.is_empty() {
            // SAFETY: the bytes are valid for the call.
            let count = unsafe { libc::write(self.descriptor, left.as_ptr().cast(), left.len()) };
            match usize::try_from(count) {
                Ok(count) => left = left.get(count..).unwrap_or(&[]),
                Err(_) if errno() == libc::EINTR => {}
                Err(_) => break,
            }
        }
        self.used = 0;
        Ok(())
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let _ = self.flush();
        if self.descriptor != libc::STDOUT_FILENO {
            // SAFETY: opened by `open`, closed once.
            unsafe { libc::close(self.descriptor) };
        }
    }
}

/// The stack that the calling thread's handlers run on, until this is dropped.
#[derive(Debug)]
pub struct SignalStack(*mut c_void);

impl SignalStack {
    /// Maps it; without one, handlers run on the thread's own stack.
    pub fn install() -> SignalStack {
        // SAFETY: a fresh mapping, which lasts as long as the system knows of it.
        unsafe {
            let at = libc::mmap(
                ptr::null_mut(),
                STACK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if at == libc::MAP_FAILED {
                return SignalStack(ptr::null_mut());
            }
            let stack = libc::stack_t {
                ss_sp: at,
                ss_flags: 0,
                ss_size: STACK_BYTES,
            };
            libc::sigaltstack(&raw const stack, ptr::null_mut());
            SignalStack(at)
        }
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        if self.0.is_null() {
            return;
        }
        let none = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: the system forgets the stack before it is unmapped; no handler runs on it while its thread is here.
        unsafe {
            libc::sigaltstack(&raw const none, ptr::null_mut());
            libc::munmap(self.0, STACK_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_is_listed_and_takes_signals() {
        let mut threads = Vec::new();
        for_each_thread(|thread| threads.push(thread));
        assert!(threads.contains(&thread_id()));
        assert!(takes_signal(thread_id(), TRACE));
        assert!(!takes_signal(i32::MAX, TRACE));
    }

    #[test]
    fn a_trace_begins_with_its_caller() {
        symbols::load();
        let trace = Trace::of_caller();
        let names: Vec<String> = trace
            .from(None)
            .iter()
            .filter_map(|frame| symbols::function_at(frame.call()))
            .map(|function| function.to_string())
            .collect();
        let caller = names
            .iter()
            .position(|name| name.contains("a_trace_begins_with_its_caller"));
        assert!(caller.is_some_and(|index| index <= 1), "{names:?}");
    }
}
