//! Windows through which a crash report sees what the loop was doing.
//!
//! The loop shows where something of its state lies – a store, nothing more – and takes it back when that ends. Only
//! the report looks: on the loop's own thread, in the middle of whatever failed, and the process ends right after it.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::crash::Ending;

/// A place that shows a `T`, or nothing.
#[derive(Debug)]
pub struct Window<T>(AtomicPtr<T>);

impl<T> Window<T> {
    /// Shows nothing.
    pub const fn new() -> Window<T> {
        Window(AtomicPtr::new(ptr::null_mut()))
    }

    /// Shows what lies at `at`, which must stay there until [`Window::clear`].
    #[inline]
    pub fn show(&self, at: *const T) {
        self.0.store(at.cast_mut(), Ordering::Relaxed);
    }

    /// Shows nothing any more.
    #[inline]
    pub fn clear(&self) {
        self.0.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// What is shown, for the report of a failure of the loop's thread.
    ///
    /// The state may be half changed, and the code that changes it is further up on the same stack. That is no sound
    /// access, and cannot be: it is what the report is for. Nothing runs after it, a fault within it ends the process
    /// at once, and so does time when it hangs.
    #[allow(clippy::mut_from_ref)]
    pub fn look<'a>(&self, ending: &'a Ending) -> Option<&'a mut T> {
        let at = self.0.load(Ordering::Relaxed);
        if !ending.is_of_main_thread() {
            return None;
        }
        // SAFETY: null is told apart; what was shown is there until it is taken back (see above for the rest).
        unsafe { at.as_mut() }
    }
}

impl<T> Default for Window<T> {
    fn default() -> Window<T> {
        Window::new()
    }
}
