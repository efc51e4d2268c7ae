//! The system's log.
#![allow(unsafe_code)]

use std::ffi::CString;

/// Which log the lines belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// Programs of users.
    User,
    /// `local0` to `local7`.
    Local(u8),
}

/// How urgent a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Priority {
    Warning,
    Notice,
    Info,
    Debug,
}

/// Opens the log; every line will carry `ident` and the process id. Once.
pub fn open(ident: &[u8], facility: Facility) {
    let facility = match facility {
        Facility::User => libc::LOG_USER,
        Facility::Local(number) => (16 + i32::from(number.min(7))) << 3,
    };
    // The system keeps the pointer: the text must live as long as the process.
    let ident = CString::new(ident).unwrap_or_default().into_raw();
    let options = libc::LOG_PID | libc::LOG_NDELAY | libc::LOG_NOWAIT;
    // SAFETY: the string is never freed.
    unsafe { libc::openlog(ident, options, facility) };
}

/// Writes a line.
pub fn write(priority: Priority, text: &str) {
    let priority = match priority {
        Priority::Warning => libc::LOG_WARNING,
        Priority::Notice => libc::LOG_NOTICE,
        Priority::Info => libc::LOG_INFO,
        Priority::Debug => libc::LOG_DEBUG,
    };
    let Ok(text) = CString::new(text) else { return };
    // SAFETY: the format takes one string, which lives through the call.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), text.as_ptr()) };
}
