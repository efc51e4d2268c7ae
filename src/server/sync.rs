//! A full synchronisation's helper thread: encodes a snapshot and hands it to the loop in chunks.
//!
//! The channel is bounded: a slow replica slows the encoder down, never the loop. A payload whose
//! length must be told first is written to a file: the one that saves go to, when save points are set and no save
//! runs, else a temporary one in the working directory, which is deleted while it is still open.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use mio::Waker;

use super::helper::Helper;
use super::jobs::write_snapshot;
use crate::engine::{SaveError, SaveJob, SyncJob};
use crate::rdb::encode::{Progress, Written, encode_snapshot};
use crate::replication::source::Framing;

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
    /// The file that stays is complete.
    Saved(Written),
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
    /// Has `helper` do it; `waker` is woken when there is a chunk.
    pub fn start(job: SyncJob, waker: Arc<Waker>, helper: &Helper) -> Transfer {
        let (sender, chunks) = sync_channel(CHUNKS_MAX);
        let progress = Arc::clone(&job.progress);
        let pid = std::process::id();
        match job.framing {
            Framing::Mark(_) => {
                log::info!("Background RDB transfer started by pid {pid} to parent process pipe");
            }
            Framing::Length => log::info!("Background saving started by pid {pid}"),
        }
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
        if !helper.run(move || worker.run(job)) {
            let _ = failed.try_send(Chunk::End(Some("there is no thread for it".to_string())));
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
        if job.functions_only {
            job.snapshot.databases.clear();
        }
        let result = match job.framing {
            Framing::Mark(_) => self.encode(&mut job, |chunk| self.send(std::mem::take(chunk))),
            Framing::Length => self.through_file(job),
        };
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

    fn through_file(&self, job: SyncJob) -> io::Result<()> {
        let mut file = match job.keep.clone() {
            Some(path) => self.saved_file(job, path)?,
            None => self.temporary_file(job)?,
        };
        let bytes = file.seek(io::SeekFrom::End(0))?;
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

    // The snapshot's memory is free when these return, before the replicas go on.

    fn temporary_file(&self, mut job: SyncJob) -> io::Result<File> {
        let path = format!("temp-sync-{}.{}.rdb", std::process::id(), job.id);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        self.encode(&mut job, |chunk| file.write_all(chunk))?;
        Ok(file)
    }

    fn saved_file(&self, job: SyncJob, path: PathBuf) -> io::Result<File> {
        let temporary = format!("temp-sync-{}.{}.rdb", std::process::id(), job.id);
        let job = SaveJob {
            id: job.id,
            snapshot: job.snapshot,
            options: job.options,
            now: job.now,
            path,
            progress: job.progress,
            key_delay_us: job.key_delay_us,
            syncs_often: job.syncs_often,
        };
        let (written, file) = write_snapshot(job, &temporary).map_err(|error| match error {
            SaveError::Cancelled => io::Error::other("the save was cancelled"),
            SaveError::Failed(text) => io::Error::other(text),
        })?;
        self.hand_on(Chunk::Saved(written))?;
        Ok(file)
    }

    fn send(&self, chunk: Vec<u8>) -> io::Result<()> {
        self.hand_on(Chunk::Data(chunk))
    }

    fn hand_on(&self, chunk: Chunk) -> io::Result<()> {
        self.sender
            .send(chunk)
            .map_err(|_| io::Error::other("nobody wants it any more"))?;
        self.waker.wake()
    }
}
