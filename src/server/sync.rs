//! A full synchronisation's helper thread: encodes a snapshot and hands it to the loop in chunks.
//!
//! The channel is bounded: a slow replica slows the encoder down, never the loop. A payload whose
//! length must be told first is written to a temporary file in the working directory, which is
//! deleted while it is still open.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use mio::Waker;

use crate::engine::SyncJob;
use crate::rdb::encode::{Progress, encode_snapshot};
use crate::replication::source::Framing;
use crate::sys::cpu;

/// Chunks that may wait in the channel.
const CHUNKS_MAX: usize = 4;
/// Bytes read from the temporary file at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// A slowed-down job looks at the flag to stop so often.
const DELAY_STEP: Duration = Duration::from_millis(5);

/// What comes from the thread.
pub enum Chunk {
    /// Bytes of the payload.
    Data(Vec<u8>),
    /// There are no more: all was well, or the reason why not.
    End(Option<String>),
}

/// A running job. Dropping it stops the thread.
pub struct Transfer {
    /// The job's number.
    pub id: u64,
    chunks: Receiver<Chunk>,
    progress: Arc<Progress>,
}

impl Transfer {
    /// Starts the thread; `waker` is woken when there is a chunk.
    pub fn start(job: SyncJob, waker: Arc<Waker>) -> Transfer {
        let (sender, chunks) = sync_channel(CHUNKS_MAX);
        let progress = Arc::new(Progress::default());
        let transfer = Transfer {
            id: job.id,
            chunks,
            progress: Arc::clone(&progress),
        };
        let failed = sender.clone();
        let worker = Worker {
            sender,
            waker,
            progress,
        };
        let thread = std::thread::Builder::new()
            .name("sync".to_string())
            .spawn(move || worker.run(job));
        if let Err(error) = thread {
            let _ = failed.try_send(Chunk::End(Some(error.to_string())));
        }
        transfer
    }

    /// The next chunk, if it is there.
    pub fn next(&mut self) -> Option<Chunk> {
        match self.chunks.try_recv() {
            Ok(chunk) => Some(chunk),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Chunk::End(Some("the helper thread ended".to_string())))
            }
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.progress.cancel();
    }
}

struct Worker {
    sender: SyncSender<Chunk>,
    waker: Arc<Waker>,
    progress: Arc<Progress>,
}

impl Worker {
    fn run(self, mut job: SyncJob) {
        cpu::lower_thread_priority();
        if job.functions_only {
            job.snapshot.databases.clear();
        }
        let result = match job.framing {
            Framing::Mark(_) => self.encode(&mut job, |chunk| self.send(std::mem::take(chunk))),
            Framing::Length => self.through_file(&mut job),
        };
        // The snapshot's memory is free before the replicas go on.
        drop(job);
        let _ = self
            .sender
            .send(Chunk::End(result.err().map(|error| error.to_string())));
        let _ = self.waker.wake();
    }

    fn encode(
        &self,
        job: &mut SyncJob,
        mut sink: impl FnMut(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (delay_us, mut delayed_keys) = (job.key_delay_us.max(0).unsigned_abs(), 0);
        let sink = |chunk: &mut Vec<u8>| {
            let keys = self.progress.keys.load(Ordering::Relaxed);
            let mut left = Duration::from_micros((keys - delayed_keys) * delay_us);
            delayed_keys = keys;
            while !left.is_zero() && !self.progress.is_cancelled() {
                let step = left.min(DELAY_STEP);
                std::thread::sleep(step);
                left -= step;
            }
            sink(chunk)
        };
        encode_snapshot(
            &mut job.snapshot,
            &job.options,
            job.now,
            &self.progress,
            sink,
        )
        .map(|_| ())
        .map_err(|error| io::Error::other(error.to_string()))
    }

    fn through_file(&self, job: &mut SyncJob) -> io::Result<()> {
        let path = format!("temp-sync-{}.{}.rdb", std::process::id(), job.id);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        self.encode(job, |chunk| file.write_all(chunk))?;
        let bytes = file.stream_position()?;
        file.rewind()?;
        self.send(format!("${bytes}\r\n").into_bytes())?;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            if (&mut file)
                .take(CHUNK_BYTES as u64)
                .read_to_end(&mut chunk)?
                == 0
            {
                return Ok(());
            }
            self.send(chunk)?;
        }
    }

    fn send(&self, chunk: Vec<u8>) -> io::Result<()> {
        self.sender
            .send(Chunk::Data(chunk))
            .map_err(|_| io::Error::other("nobody wants it any more"))?;
        self.waker.wake()
    }
}
