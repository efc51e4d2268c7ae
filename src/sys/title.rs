//! The title of the process, as `ps` shows it.
//!
//! Linux shows the bytes between two addresses where it once put the arguments. The environment
//! lies behind them; it is copied away first so that a longer title fits.
#![allow(unsafe_code)]

use std::sync::OnceLock;

/// Where the arguments and the environment were: address and bytes.
static AREA: OnceLock<Option<(usize, usize)>> = OnceLock::new();

/// Makes room for titles. Before other threads start: the environment moves.
pub fn reserve() {
    AREA.get_or_init(|| {
        let (start, args_bytes, env_bytes) = area()?;
        let variables: Vec<_> = std::env::vars_os().collect();
        for (name, value) in variables {
            // SAFETY: no other thread exists that could read the environment.
            unsafe { std::env::set_var(name, value) };
        }
        Some((start, args_bytes + env_bytes))
    });
}

/// Shows `title`, cut to the room there is. Nothing without [`reserve`].
pub fn set(title: &[u8]) {
    let Some(Some((start, bytes))) = AREA.get().copied() else {
        return;
    };
    let mut shown = vec![0u8; bytes];
    let length = title.len().min(bytes.saturating_sub(1));
    shown[..length].copy_from_slice(&title[..length]);
    // SAFETY: the system laid out `bytes` writable bytes there at start, for the arguments and the
    // environment. Nothing reads the environment there any more, and the arguments were read.
    unsafe { std::ptr::copy_nonoverlapping(shown.as_ptr(), start as *mut u8, bytes) };
}

/// The start of the arguments, their length, and that of the environment behind them.
fn area() -> Option<(usize, usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; the fields that follow are numbered from 3.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<usize> = fields
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let field = |number: usize| fields.get(number - 3).copied().filter(|value| *value != 0);
    let (args_start, args_end) = (field(48)?, field(49)?);
    let args_bytes = args_end.checked_sub(args_start)?;
    let behind = match (field(50), field(51)) {
        (Some(start), Some(end)) if start == args_end => end.checked_sub(start)?,
        _ => 0,
    };
    Some((args_start, args_bytes, behind))
}
