//! Threads that work for the loop: each does the jobs it is given one after the other, at a lower priority.
//!
//! A thread waits for its jobs, as starting one costs the loop more than taking a snapshot. There are four: `free`
//! drops what commands gave up, `save` writes snapshots to files, `sync` makes the payloads of full synchronisations,
//! `resolve` looks names up. (That of a load ends with it.)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::sys::cpu;
use crate::sys::crash::SignalStack;
use crate::sys::process::error_text;

/// What a thread is to do. How it answers is its own business.
type Job = Box<dyn FnOnce() + Send>;

/// A thread's handle. Dropping it lets the thread end when it is done.
pub struct Helper {
    jobs: Option<Sender<Job>>,
}

impl Helper {
    /// Starts the thread. If the system refuses, so does [`Helper::run`].
    pub fn start(name: &str) -> Helper {
        let (sender, jobs) = channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || process_jobs(jobs));
        if let Err(error) = &thread {
            log::warn!("No helper thread `{name}`: {}", error_text(error));
        }
        Helper {
            jobs: thread.is_ok().then_some(sender),
        }
    }

    /// Has the thread do it; false when there is none, and then the job is dropped.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let jobs = self.jobs.as_ref();
        jobs.is_some_and(|jobs| jobs.send(Box::new(job)).is_ok())
    }
}

/// What such a thread runs. A job that panics ends alone.
#[inline(never)]
pub fn process_jobs(jobs: Receiver<Job>) {
    cpu::lower_thread_priority();
    let _stack = SignalStack::install();
    for job in jobs {
        // The panic's hook has said why; whoever waits finds the job's channel closed.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic)]
    fn a_job_that_panics_ends_alone() {
        let helper = Helper::start("test");
        let (sender, results) = channel();
        assert!(helper.run(|| panic!("of a job, and meant")));
        assert!(helper.run(move || sender.send(7).unwrap()));
        assert_eq!(results.recv(), Ok(7));
    }
}
