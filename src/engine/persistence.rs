//! Saving and loading: what is known of them, and what is asked of the shell.
//!
//! A background save is a snapshot in a helper thread. The engine starts it
//! ([`Engine::start_background_save`]: an [`Action::Save`]) and is told its end
//! ([`Engine::background_save_ended`]). There is at most one. A cancelled save leaves no error
//! behind. Texts and fields: Redis's documentation of INFO, replies of redis-server 8.0.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Action, Engine, Host, OwnExpires};
use crate::base::time::UnixMs;
use crate::config::{Config, MaxmemoryPolicy, REDIS_VERSION};
use crate::keyspace::{Keyspace, Snapshot};
use crate::rdb::Dialect;
use crate::rdb::encode::{
    EncodeOptions, KeepAccess, Progress, ReplicationPoint, Written, standard_aux,
};
use crate::rdb::load::Loaded;
use crate::types::access;

/// After a failed background save the next one waits so long.
const RETRY_SECONDS: i64 = 5;

/// A snapshot to be written to a file, through a temporary name, synced and renamed.
pub struct SaveJob {
    /// Distinguishes this save from an earlier one whose end comes late.
    pub id: u64,
    /// What to write.
    pub snapshot: Snapshot,
    /// How.
    pub options: EncodeOptions,
    /// The clock, for idle times.
    pub now: UnixMs,
    /// The file.
    pub path: PathBuf,
    /// Shared with the engine: its flag stops the job.
    pub progress: Arc<Progress>,
    /// rdb-key-save-delay: microseconds to wait for each key, to slow a save down in tests.
    pub key_delay_us: i64,
    /// rdb-save-incremental-fsync: sync as the file grows, so that the last sync is short.
    pub syncs_often: bool,
}

impl std::fmt::Debug for SaveJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SaveJob {{ id: {}, path: {:?} }}", self.id, self.path)
    }
}

/// Why a save did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveError {
    /// The flag was raised.
    Cancelled,
    /// The system's text.
    Failed(String),
}

/// How a load ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadResult {
    /// The data set was swapped in.
    Done(Loaded),
    /// The data set is as it was; why.
    Failed(String),
}

/// The background save that runs.
#[derive(Debug)]
pub struct Background {
    id: u64,
    /// When it started, Unix seconds.
    pub started_s: i64,
    /// Keys in the snapshot.
    pub keys_total: u64,
    /// Shared with the helper.
    pub progress: Arc<Progress>,
    /// The most bytes that were kept for the snapshot alone, as far as was looked.
    pub copied_bytes_peak: u64,
    /// The full synchronisation whose file it is, if it is one's.
    pub sync: Option<u64>,
    dirty: u64,
}

/// A data set that is being loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loading {
    /// When it started, Unix seconds.
    pub started_s: i64,
    /// Bytes in all; 0: not known.
    pub bytes_total: u64,
    /// Bytes loaded.
    pub bytes: u64,
    /// Clients are served from the old data set meanwhile (repl-diskless-load swapdb).
    pub serves_old: bool,
    /// key-load-delay holds the load up to this instant, monotonic nanoseconds.
    pub resumes_ns: u64,
}

/// Facts about saving and loading.
#[derive(Debug, Default)]
pub struct Persistence {
    /// The background save that runs.
    pub background: Option<Background>,
    /// BGSAVE SCHEDULE, or a BGSAVE of a transaction: at the end of the round.
    pub scheduled: bool,
    /// The data set that is being loaded.
    pub loading: Option<Loading>,
    /// LASTSAVE, Unix seconds.
    pub last_save_s: i64,
    /// The last background save failed: writes may be refused.
    pub last_failed: bool,
    /// Seconds that the last background save took; none yet: -1.
    pub last_seconds: i64,
    /// The most bytes that the last background save's snapshot kept.
    pub last_copied_bytes: u64,
    /// Keys that the last load, or the one that runs, dropped as due.
    pub last_load_expired: u64,
    /// Keys that it stored.
    pub last_load_keys: u64,
    last_attempt_s: i64,
    /// `Engine::dirty` at the last save.
    dirty_at_save: u64,
    jobs: u64,
}

impl Persistence {
    pub(super) fn new(now: UnixMs) -> Persistence {
        Persistence {
            last_save_s: now / 1000,
            last_seconds: -1,
            ..Persistence::default()
        }
    }
}

/// The time that key-load-delay asks for so many keys, nanoseconds: microseconds a key, or when negative one
/// microsecond for so many keys.
pub fn key_load_delay_ns(config: &Config, keys: u64) -> u64 {
    let us = config.key_load_delay.unsigned_abs();
    match config.key_load_delay {
        0 => 0,
        1.. => keys.saturating_mul(us).saturating_mul(1000),
        ..0 => keys.saturating_mul(1000) / us,
    }
}

impl Engine {
    /// Changes that no save has.
    pub fn unsaved_changes(&self) -> u64 {
        self.dirty.saturating_sub(self.persistence.dirty_at_save)
    }

    /// The data set is what the file has (after a load).
    pub fn nothing_unsaved(&mut self) {
        self.persistence.dirty_at_save = self.dirty;
    }

    /// Whether a failed save forbids writes (stop-writes-on-bgsave-error).
    pub fn saving_failed(&self) -> bool {
        self.persistence.last_failed
            && self.config.stop_writes_on_bgsave_error
            && !self.config.save.0.is_empty()
    }

    /// A save of the data set as it is now, to the configured file.
    pub fn save_job(&mut self, host: &mut dyn Host) -> SaveJob {
        let now = self.now();
        let used_memory = host.used_memory();
        let dialect = self.dialect(Dialect::Redis(crate::rdb::VERSION));
        self.persistence.jobs += 1;
        SaveJob {
            id: self.persistence.jobs,
            options: self.encode_options(dialect, used_memory, self.replication_point().as_ref()),
            now,
            path: self.rdb_path(),
            progress: Arc::default(),
            key_delay_us: self.config.rdb_key_save_delay,
            syncs_often: self.config.rdb_save_incremental_fsync,
            snapshot: self.snapshot(host),
        }
    }

    /// This dialect of files, or the older one that knows no deadlines of fields raised to one that does, if there are
    /// such.
    pub fn dialect(&self, wanted: Dialect) -> Dialect {
        let timed = |db| self.keyspace.timed_hashes_len(db) > 0;
        match wanted {
            Dialect::Redis(_) if (0..self.keyspace.count()).any(timed) => {
                Dialect::Redis(crate::rdb::VERSION_TIMED)
            }
            wanted => wanted,
        }
    }

    /// How a data set is written, for a file or a replica.
    pub fn encode_options(
        &self,
        dialect: Dialect,
        used_memory: usize,
        replication: Option<&ReplicationPoint>,
    ) -> EncodeOptions {
        let version = match dialect {
            Dialect::Redis(_) => REDIS_VERSION,
            // What a Valkey peer takes for the release of another Valkey.
            Dialect::Valkey(_) => "9.0.0",
        };
        EncodeOptions {
            dialect,
            compression: self.config.rdbcompression,
            checksum: self.config.rdbchecksum,
            access: self.kept_access(),
            aux: standard_aux(
                dialect,
                version,
                self.now(),
                used_memory as u64,
                replication,
                false,
            ),
        }
    }

    fn kept_access(&self) -> KeepAccess {
        match self.config.maxmemory_policy {
            MaxmemoryPolicy::VolatileLru | MaxmemoryPolicy::AllkeysLru => KeepAccess::Idle,
            MaxmemoryPolicy::VolatileLfu | MaxmemoryPolicy::AllkeysLfu => KeepAccess::Frequency {
                decay_minutes: self.config.lfu_decay_time as u32,
            },
            MaxmemoryPolicy::VolatileRandom
            | MaxmemoryPolicy::VolatileTtl
            | MaxmemoryPolicy::AllkeysRandom
            | MaxmemoryPolicy::NoEviction => KeepAccess::None,
        }
    }

    /// `dir` and `dbfilename` together.
    pub fn rdb_path(&self) -> PathBuf {
        self.config.dir.path().join(self.config.dbfilename.path())
    }

    /// Takes the snapshot and asks for its saving. There must be none running.
    pub fn start_background_save(&mut self, host: &mut dyn Host) {
        assert!(self.persistence.background.is_none());
        let mut job = self.save_job(host);
        self.persistence.scheduled = false;
        let keys = job.snapshot.keys() as u64;
        job.id = self.background_save_begins(keys, job.progress.clone(), None);
        self.actions.push(Action::Save(Box::new(job)));
    }

    /// A snapshot of now is going to be saved in background. Returns the save's number.
    pub(super) fn background_save_begins(
        &mut self,
        keys_total: u64,
        progress: Arc<Progress>,
        sync: Option<u64>,
    ) -> u64 {
        let started_s = self.now() / 1000;
        self.persistence.jobs += 1;
        self.persistence.last_attempt_s = started_s;
        self.stats.rdb_saves += 1;
        self.persistence.background = Some(Background {
            id: self.persistence.jobs,
            started_s,
            keys_total,
            progress,
            copied_bytes_peak: 0,
            sync,
            dirty: self.dirty,
        });
        self.persistence.jobs
    }

    /// The background save that full synchronisation `id` is, if it is one that runs.
    pub fn save_of_sync(&self, id: u64) -> Option<&Background> {
        let background = self.persistence.background.as_ref()?;
        (background.sync == Some(id)).then_some(background)
    }

    /// The file of full synchronisation `id` is there, or will not be.
    pub fn save_of_sync_ended(&mut self, id: u64, result: Result<Written, SaveError>) {
        if let Some(save) = self.save_of_sync(id).map(|background| background.id) {
            self.watch_background_save();
            self.background_save_ended(save, result);
        }
    }

    /// Notes how much memory the running background save's snapshot keeps; called by a timer.
    pub fn watch_background_save(&mut self) {
        if let Some(background) = &mut self.persistence.background {
            let copied = self.keyspace.snapshot_bytes();
            background.copied_bytes_peak = background.copied_bytes_peak.max(copied);
        }
    }

    /// A background save has ended.
    pub fn background_save_ended(&mut self, id: u64, result: Result<Written, SaveError>) {
        let now_s = self.now() / 1000;
        let persistence = &mut self.persistence;
        let Some(background) = persistence.background.take_if(|running| running.id == id) else {
            return;
        };
        persistence.last_seconds = now_s - background.started_s;
        persistence.last_copied_bytes = background.copied_bytes_peak;
        match result {
            Ok(_) => {
                log::info!("Background saving terminated with success");
                persistence.dirty_at_save = persistence.dirty_at_save.max(background.dirty);
                persistence.last_save_s = now_s;
                persistence.last_failed = false;
            }
            Err(SaveError::Cancelled) => log::warn!("Background saving cancelled"),
            Err(SaveError::Failed(_)) => {
                log::warn!("Background saving error");
                persistence.last_failed = true;
            }
        }
    }

    /// Asks the background save that runs to stop; its end comes as of any other.
    pub fn cancel_background_save(&mut self) {
        if let Some(background) = &self.persistence.background {
            background.progress.cancel();
        }
    }

    /// As [`Engine::cancel_background_save`]; when this returns the save does not touch its file any more, be it that
    /// it was stopped in time or that the file has its name.
    pub fn stop_background_save(&mut self, host: &mut dyn Host) {
        if let Some(background) = &self.persistence.background {
            while !background.progress.cancel() && background.progress.commits() {
                host.sleep_us(100);
            }
        }
    }

    /// A save in the foreground has ended.
    pub fn foreground_save_ended(&mut self, result: &Result<Written, SaveError>) {
        if result.is_ok() {
            self.persistence.dirty_at_save = self.dirty;
            self.persistence.last_save_s = self.now() / 1000;
            self.persistence.last_failed = false;
        }
    }

    /// Whether a background save is to start now: it was scheduled, or a save point is reached (then
    /// the log says which).
    pub fn background_save_due(&self) -> bool {
        let persistence = &self.persistence;
        if persistence.background.is_some() || self.is_loading() {
            return false;
        }
        if persistence.scheduled {
            return true;
        }
        let changes = self.unsaved_changes();
        let now_s = self.now() / 1000;
        if persistence.last_failed && now_s - persistence.last_attempt_s <= RETRY_SECONDS {
            return false;
        }
        let since = now_s - persistence.last_save_s;
        let reached = |point: &&crate::config::SavePoint| {
            changes > 0 && changes >= point.changes as u64 && since > point.seconds
        };
        match self.config.save.0.iter().find(reached) {
            Some(point) => {
                log::info!(
                    "{} changes in {} seconds. Saving...",
                    point.changes,
                    point.seconds
                );
                true
            }
            None => false,
        }
    }

    /// A data set was loaded: it replaces the one there is. Watched keys count as changed.
    pub fn take_data_set(&mut self, keyspace: Keyspace, loaded: &Loaded) {
        self.touch_all_watched();
        self.keyspace.replace(keyspace);
        self.own_expires = OwnExpires::default();
        (0..self.keyspace.count()).for_each(|db| self.signal_database(db));
        self.loaded(loaded);
    }

    /// A data set was loaded into the keyspace.
    pub fn loaded(&mut self, loaded: &Loaded) {
        self.note_changes();
        let empty = match loaded.empty {
            0 => String::new(),
            empty => format!(", empty keys skipped: {empty}"),
        };
        let (keys, expired) = (loaded.keys, loaded.expired);
        log::info!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}{empty}.");
        self.note_loaded(loaded.keys, loaded.expired);
        self.nothing_unsaved();
        self.touch_all_watched();
    }

    /// How many keys the load that runs has stored, and left out as due, so far.
    pub fn note_loaded(&mut self, keys: u64, expired: u64) {
        self.persistence.last_load_keys = keys;
        self.persistence.last_load_expired = expired;
    }

    /// So many keys were loaded: with key-load-delay the load waits before it takes the next ones, while the loop
    /// goes on.
    pub fn keys_loaded(&mut self, keys: u64) {
        let delay_ns = key_load_delay_ns(&self.config, keys);
        if delay_ns > 0
            && let Some(loading) = &mut self.persistence.loading
        {
            let from_ns = loading.resumes_ns.max(self.clock.mono_ns);
            loading.resumes_ns = from_ns.saturating_add(delay_ns);
        }
    }

    /// When the load may go on, if key-load-delay holds it now; monotonic nanoseconds.
    pub fn load_held_until_ns(&self) -> Option<u64> {
        let resumes_ns = self.persistence.loading?.resumes_ns;
        (self.config.key_load_delay != 0 && resumes_ns > self.clock.mono_ns).then_some(resumes_ns)
    }

    /// The access word of a key that is created now.
    pub fn new_access(&self) -> u32 {
        let now = self.now();
        match self.kept_access() {
            KeepAccess::Frequency { .. } => access::lfu_word(access::LFU_INITIAL, now),
            KeepAccess::None | KeepAccess::Idle => access::lru_word(now),
        }
    }

    /// The fields of INFO persistence that are about RDB files, behind `async_loading`.
    pub fn rdb_info(&self) -> Vec<(&'static str, String)> {
        let persistence = &self.persistence;
        let now_s = self.now() / 1000;
        let background = persistence.background.as_ref();
        let copied = if background.is_some() {
            self.keyspace.snapshot_bytes()
        } else {
            0
        };
        let peak = background.map_or(0, |running| running.copied_bytes_peak.max(copied));
        let processed =
            background.map_or(0, |running| running.progress.keys.load(Ordering::Relaxed));
        let total = background.map_or(0, |running| running.keys_total);
        let elapsed = background.map_or(-1, |running| now_s - running.started_s);
        let percent = 100.0 * processed as f64 / total.max(1) as f64;
        vec![
            ("current_cow_peak", peak.to_string()),
            ("current_cow_size", copied.to_string()),
            ("current_cow_size_age", "0".into()),
            ("current_fork_perc", format!("{percent:.2}")),
            ("current_save_keys_processed", processed.to_string()),
            ("current_save_keys_total", total.to_string()),
            (
                "rdb_changes_since_last_save",
                self.unsaved_changes().to_string(),
            ),
            (
                "rdb_bgsave_in_progress",
                // A full synchronisation counts, as the child that Redis makes for it does.
                u8::from(background.is_some() || self.replication.source.job().is_some())
                    .to_string(),
            ),
            ("rdb_last_save_time", persistence.last_save_s.to_string()),
            (
                "rdb_last_bgsave_status",
                if persistence.last_failed { "err" } else { "ok" }.into(),
            ),
            (
                "rdb_last_bgsave_time_sec",
                persistence.last_seconds.to_string(),
            ),
            ("rdb_current_bgsave_time_sec", elapsed.to_string()),
            ("rdb_saves", self.stats.rdb_saves.to_string()),
            (
                "rdb_last_cow_size",
                persistence.last_copied_bytes.to_string(),
            ),
            (
                "rdb_last_snapshot_usec",
                (self.snapshot_cost.taken_ns / 1000).to_string(),
            ),
            (
                "rdb_last_cow_first_write_usec",
                (self.snapshot_cost.first_write_ns / 1000).to_string(),
            ),
            (
                "rdb_last_load_keys_expired",
                persistence.last_load_expired.to_string(),
            ),
            (
                "rdb_last_load_keys_loaded",
                persistence.last_load_keys.to_string(),
            ),
        ]
    }

    /// The fields at the end of INFO persistence while a data set is loaded.
    pub fn loading_info(&self, used_memory: usize) -> Vec<(&'static str, String)> {
        let Some(loading) = self.persistence.loading else {
            return Vec::new();
        };
        let elapsed = self.now() / 1000 - loading.started_s;
        let percent = 100.0 * loading.bytes as f64 / loading.bytes_total.max(1) as f64;
        let eta = match loading.bytes {
            0 => 1,
            bytes => {
                let left = loading.bytes_total.saturating_sub(bytes);
                (elapsed as f64 * left as f64 / bytes as f64) as i64
            }
        };
        vec![
            ("loading_start_time", loading.started_s.to_string()),
            ("loading_total_bytes", loading.bytes_total.to_string()),
            ("loading_rdb_used_mem", used_memory.to_string()),
            ("loading_loaded_bytes", loading.bytes.to_string()),
            ("loading_loaded_perc", format!("{percent:.2}")),
            ("loading_eta_seconds", eta.to_string()),
        ]
    }
}
