//! Saving, loading and the end, as far as they run between commands.
//!
//! A load: the shell opens the file, announces it ([`Machine::load_begins`]), and hands over batches
//! that a helper decodes while [`Machine::wants_batch`] says so, then how it ended
//! ([`Machine::load_ends`]). Batches go into a detached keyspace in slices at the end of rounds; when
//! all of them are in and the end was good, that keyspace is swapped in.

use std::collections::VecDeque;

use super::Machine;
use crate::engine::{
    Action, Blocked, Host, LoadResult, Loading, PauseCause, PauseKind, SaveError, Shutdown,
    key_load_delay_ns,
};
use crate::keyspace::Keyspace;
use crate::rdb::decode::{Batch, DecodeOptions};
use crate::rdb::encode::Written;
use crate::rdb::load::{LoadOptions, Loader};

/// A slice of a load takes at most so long.
const SLICE_NS: u64 = 1_000_000;
/// Records between two looks at the clock.
const SLICE_RECORDS: usize = 64;
/// A slice waits at most so long for key-load-delay, unless one key alone asks for more.
const SLICE_DELAY_NS: u64 = 10_000_000;
/// Decoded batches that wait at most.
const BATCHES_MAX: usize = 4;

/// A load under way.
pub(super) struct Load {
    keyspace: Keyspace,
    loader: Loader,
    batches: VecDeque<Batch>,
    /// Records of the first batch that are in.
    applied: usize,
    /// How the stream ended, once it has.
    end: Option<Result<(), String>>,
    /// Emptied batches, for the decoder to fill again.
    spare: Vec<Batch>,
    began_ns: u64,
}

impl Machine {
    /// How the shell's decoder is to read a stream for this machine.
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            checksum: self.engine.config.rdbchecksum && !self.engine.skips_checksums,
            aux_logged: Some(self.engine.now()),
            ..DecodeOptions::new(self.engine.keyspace.seed())
        }
    }

    /// A data set of so many bytes (0: not known) is going to be loaded: from now on commands that must
    /// not see half of it are answered LOADING. `drop_due`: keys that are due are left out (not in a
    /// replica's full sync).
    pub fn load_begins(&mut self, bytes_total: u64, drop_due: bool) {
        assert!(self.load.is_none(), "one load at a time");
        self.engine.persistence.loading = Some(Loading {
            started_s: self.engine.now() / 1000,
            bytes_total,
            bytes: 0,
            ..Loading::default()
        });
        self.engine.note_loaded(0, 0);
        let now = self.engine.now();
        let keyspace = self.engine.keyspace.detached(now);
        self.load = Some(Box::new(Load {
            keyspace,
            loader: Loader::new(LoadOptions {
                now: self.engine.now(),
                drop_due,
                new_access: self.engine.new_access(),
                encodings: self.engine.encodings(),
            }),
            batches: VecDeque::new(),
            applied: 0,
            end: None,
            spare: Vec::new(),
            began_ns: self.engine.clock.mono_ns,
        }));
    }

    /// Whether another batch is welcome now.
    pub fn wants_batch(&self) -> bool {
        self.load
            .as_ref()
            .is_some_and(|load| load.end.is_none() && load.batches.len() < BATCHES_MAX)
    }

    /// The next batch of the load. Returns one that can be used again.
    pub fn load_batch(&mut self, batch: Batch) -> Batch {
        let Some(load) = &mut self.load else {
            return batch;
        };
        load.batches.push_back(batch);
        load.spare.pop().unwrap_or_default()
    }

    /// The stream has ended: well, or with this reason.
    pub fn load_ends(&mut self, result: Result<(), String>) {
        if let Some(load) = &mut self.load {
            load.end.get_or_insert(result);
        }
    }

    /// Applies a slice of the load; true when more could be applied at once.
    pub(super) fn run_load(&mut self, host: &mut dyn Host) -> bool {
        let Some(load) = &mut self.load else {
            return false;
        };
        if self.engine.load_held_until_ns().is_some() {
            return false;
        }
        let slice_records = match key_load_delay_ns(&self.engine.config, 1) {
            0 => SLICE_RECORDS,
            delay_ns => (SLICE_DELAY_NS / delay_ns).clamp(1, SLICE_RECORDS as u64) as usize,
        };
        let deadline = host.monotonic_ns() + SLICE_NS;
        while let Some(batch) = load.batches.front() {
            if load.applied == batch.records().len() {
                if let Some(loading) = &mut self.engine.persistence.loading {
                    loading.bytes = batch.stream_bytes;
                }
                load.applied = 0;
                if let Some(mut batch) = load.batches.pop_front() {
                    batch.clear();
                    load.spare.push(batch);
                }
                continue;
            }
            let keys = load.loader.loaded().seen();
            match load
                .loader
                .apply(&mut load.keyspace, batch, load.applied, slice_records)
            {
                Ok(applied) => {
                    load.applied = applied;
                    let loaded = load.loader.loaded();
                    self.engine.note_loaded(loaded.keys, loaded.expired);
                    self.engine.keys_loaded(loaded.seen() - keys);
                    if self.engine.load_held_until_ns().is_some() {
                        return false;
                    }
                }
                Err(error) => {
                    load.batches.clear();
                    load.end = Some(Err(error.end_of_load()));
                    break;
                }
            }
            if host.monotonic_ns() >= deadline {
                return true;
            }
        }
        if load.end.is_some() {
            self.finish_load(host);
        }
        false
    }

    fn finish_load(&mut self, host: &mut dyn Host) {
        let Some(load) = self.load.take() else { return };
        self.engine.persistence.loading = None;
        let result = match load.end {
            Some(Ok(())) => {
                let loaded = load.loader.loaded().clone();
                let taken_ns = host.monotonic_ns() - load.began_ns;
                self.engine.take_data_set(load.keyspace, &loaded);
                log::info!("DB loaded from disk: {:.3} seconds", taken_ns as f64 / 1e9);
                LoadResult::Done(loaded)
            }
            Some(Err(reason)) => LoadResult::Failed(reason),
            None => LoadResult::Failed("the load was given up".into()),
        };
        self.engine.actions.push(Action::Loaded(Box::new(result)));
    }

    /// A background save has ended.
    pub fn save_ended(&mut self, id: u64, result: Result<Written, SaveError>) {
        self.engine.watch_background_save();
        self.engine.background_save_ended(id, result);
    }

    /// Starts a background save that was scheduled; `timers`: or that a save point asks for.
    pub(super) fn run_saves(&mut self, timers: bool, host: &mut dyn Host) {
        if (timers || self.engine.persistence.scheduled) && self.engine.background_save_due() {
            self.engine.start_background_save(host);
        }
    }

    /// Carries out a shutdown that was asked for.
    pub(super) fn run_shutdown(&mut self, host: &mut dyn Host) {
        let Some(shutdown) = &mut self.engine.shutdown else {
            return;
        };
        // Nobody waits: a signal asked for it, and signals are the timer's business.
        if shutdown.links.is_empty() && self.engine.cron_paused {
            return;
        }
        if !std::mem::replace(&mut shutdown.announced, true) {
            log::info!("User requested shutdown...");
            host.tell_supervisor("STOPPING=1\n");
        }
        self.give_up_migrations(host);
        if self.shutdown_waits() {
            return;
        }
        // A helper that is about to rename an older file must not come behind the final one: its end
        // is waited for, which leaves no temporary file behind either.
        if self.engine.persistence.background.is_some() {
            self.engine.cancel_background_save();
            return;
        }
        let Some(shutdown) = self.engine.shutdown.take() else {
            return;
        };
        if shutdown.deadline_ms.is_some() {
            self.engine.end_pause(PauseCause::Shutdown);
        }
        if self.shut_down(&shutdown, host) {
            self.engine.actions.push(Action::Exit(0));
            return;
        }
        log::warn!("Errors trying to shut down the server. Check the logs for more information.");
        for link in shutdown.links {
            let waits = |client: &crate::engine::Client| client.blocked == Some(Blocked::Shutdown);
            if self.engine.clients.get(link).is_some_and(waits) {
                let text = "ERR Errors trying to SHUTDOWN. Check logs.";
                self.engine.unblock_with(link, text);
            }
        }
    }

    /// Whether a shutdown has to wait, for at most `shutdown-timeout`, because replicas lack writes.
    /// New writes are held back meanwhile.
    fn shutdown_waits(&mut self) -> bool {
        let engine = &mut self.engine;
        let now_ms = engine.clock.mono_ms();
        let Some(shutdown) = &mut engine.shutdown else {
            return false;
        };
        let timeout_ms = engine.config.shutdown_timeout.unsigned_abs() * 1000;
        let lagging = engine.replication.lagging_count();
        if lagging == 0 || shutdown.options.now || timeout_ms == 0 {
            return false;
        }
        match shutdown.deadline_ms {
            None => {
                shutdown.deadline_ms = Some(now_ms + timeout_ms);
                engine
                    .pause
                    .start(PauseCause::Shutdown, PauseKind::Write, now_ms + timeout_ms);
                engine.replication.request_acks();
                log::info!("Waiting for replicas before shutting down.");
                true
            }
            Some(deadline_ms) if now_ms < deadline_ms => true,
            Some(_) => false,
        }
    }

    /// Saves as asked; false when an error stands against the end.
    fn shut_down(&mut self, shutdown: &Shutdown, host: &mut dyn Host) -> bool {
        let now = self.engine.now();
        self.engine.replication.log_lagging(now);
        let options = shutdown.options;
        let wanted = options.save || (!options.nosave && !self.engine.config.save.0.is_empty());
        if wanted && !self.engine.is_loading() {
            log::info!("Saving the final RDB snapshot before exiting.");
            host.tell_supervisor("STATUS=Saving the final RDB snapshot\n");
            let job = self.engine.save_job(host);
            let result = host.save(job);
            self.engine.foreground_save_ended(&result);
            if result.is_err() {
                if !options.force {
                    log::warn!("Error trying to save the DB, can't exit.");
                    host.tell_supervisor("STATUS=Error trying to save the DB, can't exit.\n");
                    return false;
                }
                log::warn!("Error trying to save the DB. Exit anyway.");
            }
        }
        true
    }
}
