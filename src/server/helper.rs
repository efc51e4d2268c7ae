//! The thread that drops what commands gave up: large values, flushed tables, ended snapshots' blocks.
//!
//! It gets what it drops by a channel and answers nothing; what waits is counted by the keyspace
//! (INFO's lazyfree_pending_objects).

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use mio::Waker;

use crate::keyspace::Garbage;
use crate::sys::cpu;

/// The freeing thread's handle. Dropping it lets the thread end when it is done.
pub struct Helper {
    garbage: Option<Sender<Garbage>>,
}

impl Helper {
    /// Starts the thread. Without one (the system refuses) everything is freed in place.
    /// `waker` ends the loop's sleep when something is freed, as somebody may wait for that.
    pub fn start(waker: Arc<Waker>) -> Helper {
        let (sender, receiver) = channel::<Garbage>();
        let thread = std::thread::Builder::new()
            .name("free".to_string())
            .spawn(move || {
                cpu::lower_thread_priority();
                for garbage in receiver {
                    drop(garbage);
                    let _ = waker.wake();
                }
            });
        if let Err(error) = &thread {
            log::warn!("No thread for freeing memory: {error}");
        }
        Helper {
            garbage: thread.is_ok().then_some(sender),
        }
    }

    /// Drops it on the thread.
    pub fn free(&self, garbage: Garbage) {
        if let Some(sender) = &self.garbage {
            // The receiver lives as long as the sender; a failure hands it back and drops it here.
            let _ = sender.send(garbage);
        }
    }
}
