//! Helper threads for saving and loading: what they do, and how their news reach the loop.
//!
//! A thread gets what it needs when it starts and answers by a channel; a [`Waker`] ends the loop's
//! sleep. Threads run at a lower priority, so that on a busy core the loop comes first. A save writes
//! to `temp-<pid>.rdb` beside the file, syncs it, renames it, and syncs the directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::Duration;

use mio::Waker;

use super::helper::Helper;
use crate::engine::{SaveError, SaveJob};
use crate::rdb::decode::{Batch, DecodeOptions, Decoded, Decoder};
use crate::rdb::encode::{EncodeError, Written, encode_snapshot};
use crate::sys::crash::SignalStack;
use crate::sys::process::error_text;
use crate::sys::{cpu, file};

/// Decoded batches that wait between thread and loop.
const BATCHES_MAX: usize = 4;
/// Bytes read from a file at once.
const READ_BYTES: u64 = 256 << 10;
/// With rdb-save-incremental-fsync a file is synced whenever it has grown by so much.
const SYNC_BYTES: usize = 4 << 20;
/// A slowed-down save looks at the flag to stop so often.
const DELAY_STEP: Duration = Duration::from_millis(5);

/// News for the machine.
pub enum News {
    /// A background save ended.
    Saved(u64, Result<Written, SaveError>),
    /// The next batch of the load.
    Batch(Batch),
    /// The load's stream ended.
    LoadEnded(Result<(), String>),
}

/// The helpers and their channels.
pub struct Jobs {
    waker: Arc<Waker>,
    saving: Helper,
    saves: Sender<News>,
    saved: Receiver<News>,
    /// Saves whose end is not told yet: without any, a round does not look.
    unfinished: usize,
    load: Option<Receiver<News>>,
    spare: Option<Sender<Batch>>,
}

impl Jobs {
    /// Starts the thread that saves.
    pub fn new(waker: Arc<Waker>) -> Jobs {
        let (saves, saved) = channel();
        Jobs {
            waker,
            saving: Helper::start("save"),
            saves,
            saved,
            unfinished: 0,
            load: None,
            spare: None,
        }
    }

    /// Starts a background save.
    pub fn save(&mut self, job: SaveJob) -> Result<(), SaveError> {
        let (news, waker) = (self.saves.clone(), self.waker.clone());
        let run = move || {
            let id = job.id;
            // Another name than a save in the foreground has: this one may be on its way to stop.
            let temporary = format!("temp-{}-background.rdb", std::process::id());
            let saved = catch_unwind(AssertUnwindSafe(|| write_snapshot(job, &temporary)));
            let result = match saved {
                Ok(result) => result.map(|(written, _)| written),
                Err(_) => Err(SaveError::Failed("the helper failed".into())),
            };
            // The loop may be gone already.
            let _ = news.send(News::Saved(id, result));
            let _ = waker.wake();
        };
        if !self.saving.run(run) {
            log::warn!("Can't save in background: there is no thread for it");
            return Err(SaveError::Failed("no thread".into()));
        }
        self.unfinished += 1;
        log::info!("Background saving started by pid {}", std::process::id());
        Ok(())
    }

    /// Starts decoding a stream for the machine.
    pub fn load(&mut self, source: Box<dyn Read + Send>, options: DecodeOptions) {
        let (sender, receiver) = sync_channel(BATCHES_MAX);
        let (spare, spares) = channel();
        let waker = self.waker.clone();
        let on_error = sender.clone();
        let run = move || {
            let result = decode(source, options, &sender, &spares, &waker);
            let _ = sender.send(News::LoadEnded(result));
            let _ = waker.wake();
        };
        if let Err(error) = spawn("load", run) {
            let _ = on_error.send(News::LoadEnded(Err(error_text(&error))));
        }
        self.load = Some(receiver);
        self.spare = Some(spare);
    }

    /// The next news; of a load only when the machine wants a batch.
    pub fn news(&mut self, wants_batch: bool) -> Option<News> {
        if self.unfinished > 0
            && let Ok(news) = self.saved.try_recv()
        {
            self.unfinished -= 1;
            return Some(news);
        }
        let load = self.load.as_ref().filter(|_| wants_batch)?;
        match load.try_recv() {
            Ok(News::LoadEnded(result)) => {
                self.load = None;
                Some(News::LoadEnded(result))
            }
            Ok(news) => Some(news),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.load = None;
                Some(News::LoadEnded(Err("the loading thread ended".into())))
            }
        }
    }

    /// Gives an emptied batch back to the thread that decodes.
    pub fn reuse(&self, batch: Batch) {
        if let Some(spare) = &self.spare {
            let _ = spare.send(batch);
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        cpu::lower_thread_priority();
        let _stack = SignalStack::install();
        run();
    };
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(|_| ())
}

/// Decodes a whole stream; ends early when nobody listens any more.
fn decode(
    mut source: Box<dyn Read + Send>,
    options: DecodeOptions,
    batches: &SyncSender<News>,
    spares: &Receiver<Batch>,
    waker: &Waker,
) -> Result<(), String> {
    let mut decoder = Decoder::new(options);
    let mut batch = Batch::default();
    loop {
        let decoded = decoder
            .decode(&mut batch)
            .map_err(|error| error.end_of_load())?;
        if decoded != Decoded::BatchFull && decoded != Decoded::Done {
            match decoder.feed_from(&mut source, READ_BYTES) {
                Ok(0) => return Err(decoder.truncated().end_of_load()),
                Ok(_) => continue,
                Err(error) => return Err(error_text(&error)),
            }
        }
        let next = spares.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut batch, next);
        if batches.send(News::Batch(full)).is_err() {
            return Err("given up".into());
        }
        let _ = waker.wake();
        if decoded == Decoded::Done {
            return Ok(());
        }
    }
}

/// Writes a snapshot to its file by way of `temporary`, a name in the same directory. The file is still open for reading.
pub fn write_snapshot(job: SaveJob, temporary: &str) -> Result<(Written, File), SaveError> {
    let temporary = job.path.with_file_name(temporary);
    let result = write_temporary(job, &temporary);
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

fn write_temporary(mut job: SaveJob, temporary: &Path) -> Result<(Written, File), SaveError> {
    let root = job
        .path
        .parent()
        .unwrap_or(Path::new("."))
        .display()
        .to_string();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(temporary)
        .map_err(|error| {
            let text = error_text(&error);
            log::warn!(
                "Failed opening the temp RDB file {} (in server root dir {root}) for saving: {text}",
                file_name(temporary),
            );
            SaveError::Failed(text)
        })?;
    let written = encode(&mut job, &mut file).map_err(|error| match error {
        EncodeError::Cancelled => SaveError::Cancelled,
        EncodeError::Sink(error) => write_failed("rdbSaveRio", &error),
    })?;
    let path = job.path;
    // The snapshot is not needed for the rest.
    drop(job.snapshot);
    file.sync_all()
        .map_err(|error| write_failed("fsync", &error))?;
    // The last moment at which nothing is lost by stopping.
    let moved = match job.progress.commit() {
        true => file::rename_durably(temporary, &path),
        false => Err(io::ErrorKind::Interrupted.into()),
    };
    job.progress.committed();
    if job.progress.is_cancelled() {
        return Err(SaveError::Cancelled);
    }
    moved.map_err(|error| {
        let text = error_text(&error);
        log::warn!(
            "Error moving temp DB file {} on the final destination {} (in server root dir {root}): {text}",
            file_name(temporary),
            file_name(&path),
        );
        SaveError::Failed(text)
    })?;
    file::forget_pages(&file);
    log::info!("DB saved on disk");
    Ok((written, file))
}

fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// The failure of a step that Redis's log calls by this name.
fn write_failed(step: &str, error: &io::Error) -> SaveError {
    let text = error_text(error);
    log::warn!("Write error while saving DB to the disk({step}): {text}");
    SaveError::Failed(text)
}

fn encode(job: &mut SaveJob, file: &mut File) -> Result<Written, EncodeError> {
    let (progress, delay) = (job.progress.clone(), job.key_delay_us);
    let syncs_often = job.syncs_often;
    let (mut delayed_keys, mut unsynced_bytes) = (0, 0);
    encode_snapshot(
        &mut job.snapshot,
        &job.options,
        job.now,
        &job.progress,
        |chunk| {
            file.write_all(chunk)?;
            unsynced_bytes += chunk.len();
            if syncs_often && unsynced_bytes >= SYNC_BYTES {
                unsynced_bytes = 0;
                file.sync_data()?;
            }
            if delay > 0 {
                let keys = progress.keys.load(Ordering::Relaxed);
                let mut left = Duration::from_micros((keys - delayed_keys) * delay as u64);
                delayed_keys = keys;
                while !left.is_zero() && !progress.is_cancelled() {
                    let step = left.min(DELAY_STEP);
                    std::thread::sleep(step);
                    left -= step;
                }
            }
            Ok(())
        },
    )
}
