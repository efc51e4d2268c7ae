//! The engine's part in replication: settings, role changes, what a closed link means.
//!
//! The state is [`Replication`](crate::replication::role::Replication); here it meets clients,
//! directives and the shell's actions. What must run commands is in `dispatch/replication.rs`.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Action, Blocked, Client, ClientFlags, Engine, Host, LinkId, OwnExpires, wait_done};
use crate::base::time::UnixMs;
use crate::config::Id as ConfigId;
use crate::keyspace::Snapshot;
use crate::rdb::encode::{EncodeOptions, Progress, ReplicationPoint};
use crate::rdb::load::{LEFT_OUT_BYTES_MAX, Loaded, LoadedAux};
use crate::rdb::{Dialect, VERSION, VERSION_OLD, VERSION_TIMED, VERSION_VALKEY};
use crate::replication::id::Id;
use crate::replication::role::Saved;
use crate::replication::source::{Framing, Job, Reads};
use crate::replication::stream::OFFSET_MAX;
use crate::replication::{replica, source};

/// What clients are answered that waited when this server became a replica.
const INSTANCE_STATE_CHANGED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// A full synchronisation for a helper thread.
pub struct SyncJob {
    /// The job's number.
    pub id: u64,
    /// How the payload is framed.
    pub framing: Framing,
    /// The data set.
    pub snapshot: Snapshot,
    /// The wall clock when it was taken.
    pub now: UnixMs,
    /// How to encode it.
    pub options: EncodeOptions,
    /// rdb-key-save-delay: microseconds to wait for each key, for tests.
    pub key_delay_us: i64,
    /// Leave the keys out.
    pub functions_only: bool,
    /// Where the file stays, of a payload that goes through one: it is a background save as well.
    pub keep: Option<PathBuf>,
    /// rdb-save-incremental-fsync, for a file that stays.
    pub syncs_often: bool,
    /// Shared with the engine: its flag stops the job.
    pub progress: Arc<Progress>,
}

impl std::fmt::Debug for SyncJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncJob")
            .field("id", &self.id)
            .field("framing", &self.framing)
            .finish()
    }
}

impl Engine {
    /// A new replication id.
    pub fn fresh_id(&mut self) -> Id {
        Id::generate(|| self.prng.next_u64())
    }

    /// The master's side of the directives.
    pub fn source_settings(&self) -> source::Settings {
        let config = &self.config;
        let limit = config.client_output_buffer_limit.replica;
        let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        source::Settings {
            ping_period_s: config.repl_ping_replica_period,
            timeout_s: config.repl_timeout,
            backlog_ttl_s: config.repl_backlog_ttl,
            diskless: config.repl_diskless_sync,
            diskless_delay_s: config.repl_diskless_sync_delay,
            diskless_max_replicas: config.repl_diskless_sync_max_replicas as usize,
            min_replicas_max_lag_s: config.min_replicas_max_lag,
            output_limit: (
                bytes(limit.hard_bytes),
                bytes(limit.soft_bytes),
                limit.soft_seconds,
            ),
        }
    }

    /// The replica's side of the directives.
    pub fn handshake_settings(&self) -> replica::Settings {
        let config = &self.config;
        let port = match config.replica_announce_port {
            0 => config.port,
            port => port,
        };
        replica::Settings {
            user: config.masteruser.get().unwrap_or_default().to_vec(),
            password: config.masterauth.get().unwrap_or_default().to_vec(),
            port: u16::try_from(port).unwrap_or(0),
            ip: config
                .replica_announce_ip
                .get()
                .unwrap_or_default()
                .to_vec(),
        }
    }

    /// Replicates `host:port` from now on; false when it does already.
    pub fn follow(&mut self, name: &str, port: u16, host: &mut dyn Host) -> bool {
        if self.replication.follows(name.as_bytes(), port) {
            return false;
        }
        self.take_role(Some((name.to_string(), port)), host);
        let (db, now) = (self.master_db(), self.now());
        self.replication.follow(name.as_bytes(), port, db, now);
        self.drop_master_link();
        self.end_all_key_waits(INSTANCE_STATE_CHANGED);
        self.give_up_migrations(INSTANCE_STATE_CHANGED, false);
        // A wait for replicas of ours has lost its meaning.
        for link in std::mem::take(&mut self.waiting) {
            if let Some(client) = self.clients.get_mut(link) {
                client.reply.error(INSTANCE_STATE_CHANGED);
                wait_done(&mut self.stats, client);
                client.blocked = None;
                client.flags.remove(ClientFlags::BLOCKED);
                self.ready.push_back(link);
                self.mark_dirty(link);
            }
        }
        log::info!("Connecting to MASTER {name}:{port}");
        self.connect_master();
        true
    }

    /// Takes up the role that the configuration gives, before the file of the data set is loaded.
    pub fn start_replication(&mut self) {
        let now = self.now();
        if let Some((host, port)) = &self.config.replicaof.0 {
            self.replication.start(host.as_bytes(), *port, now);
        }
    }

    /// Takes over what the file loaded at start said of replication.
    pub fn restore_replication(&mut self, loaded: &Loaded) {
        if loaded.left_out_bytes > LEFT_OUT_BYTES_MAX {
            log::info!("Too many keys expired: replicas cannot continue the history of the file.");
            return;
        }
        let (fresh, now) = (self.fresh_id(), self.now());
        if let Some(saved) = saved(&loaded.aux) {
            self.replication.restore(saved, fresh, now);
            // Who continues has these keys still.
            let stream = &mut self.replication.stream;
            for (db, key) in &loaded.left_out {
                stream.feed(*db, [b"DEL".as_slice(), key].into_iter());
            }
            stream.trim(None);
        }
    }

    /// Replicates nobody from now on.
    pub fn promote(&mut self, host: &mut dyn Host) {
        if !self.is_replica() {
            return;
        }
        self.take_role(None, host);
        let fresh = self.fresh_id();
        let links = self.replication.promote(fresh, self.now());
        self.close_links(&links);
        self.own_expires = OwnExpires::default();
        self.drop_master_link();
    }

    /// What outside depends on the role is in force before the log tells of it and a client reads its reply.
    fn take_role(&mut self, master: Option<(String, u16)>, host: &mut dyn Host) {
        self.config.replicaof.0 = master;
        let changed = [ConfigId::replicaof, ConfigId::oom_score_adj];
        if let Err((_, text)) = host.apply_config(&changed, &self.config) {
            log::warn!("{text}");
        }
    }

    /// Asks the shell for a connection to the master, when it is time for one.
    pub fn connect_master(&mut self) {
        let (request, settings) = (self.replication.request(), self.handshake_settings());
        let (now, hands_over) = (self.now(), self.is_handing_over());
        let Some(master) = &mut self.replication.master else {
            return;
        };
        master.connecting(request, settings, now);
        if hands_over {
            master.request_failover();
        }
        let host = String::from_utf8_lossy(&master.host).into_owned();
        let port = master.port;
        self.actions.push(Action::ConnectMaster(host, port));
    }

    /// The database in which the master's commands run.
    pub fn master_db(&self) -> usize {
        let client = self.master_link.and_then(|link| self.clients.get(link));
        client.map_or(self.replication.master_db, |client| client.db)
    }

    /// Closes the socket to the master without a word; it is not the present master any more.
    fn drop_master_link(&mut self) {
        if let Some(link) = self.master_link.take() {
            self.close_soon(link);
        }
    }

    /// Closes these links at the end of the round.
    pub fn close_links(&mut self, links: &[LinkId]) {
        for &link in links {
            self.close_soon(link);
        }
    }

    /// A link was closed: replication takes note.
    pub(crate) fn link_closed(&mut self, client: &Client) {
        let now = self.now();
        if client.is(ClientFlags::REPLICA) {
            self.replication.detach(client.link, now);
        }
        self.forget_key_wait(client.link, &client.blocked);
        if matches!(client.blocked, Some(Blocked::Wait { .. })) {
            wait_done(&mut self.stats, client);
            self.waiting.retain(|&other| other != client.link);
        }
        if self.master_link == Some(client.link) {
            self.master_link = None;
            self.master_lost(client.db);
        }
    }

    /// The connection to the master ended or could not be made. A link that was up is tried again at once, unless its
    /// stream could not be applied.
    pub(crate) fn master_lost(&mut self, db: usize) {
        let now = self.now();
        self.replication.master_lost(db, now);
        let Some(master) = &self.replication.master else {
            return;
        };
        if master.reconnects_at(now) {
            log::info!("Reconnecting to MASTER {}", master.address());
            self.connect_master();
        }
    }

    /// The data set is another: replicas that still wait for the old one begin anew, which keeps no snapshot of it.
    pub fn cancel_full_sync(&mut self) {
        let links = self.replication.source.awaiting_payload();
        if !links.is_empty() {
            log::info!("The full synchronization under way is of old data: it begins anew.");
            self.close_links(&links);
        }
    }

    /// What of the stream a replica's socket must send next; empty at its end, or before its time.
    pub fn stream_output(&self, link: LinkId) -> &[u8] {
        match self.replication.source.reads_from(link) {
            Some(offset) => self.replication.stream.chunk_at(offset),
            None => &[],
        }
    }

    /// Takes the snapshot for a job that starts now.
    pub fn sync_job(&mut self, job: &Job, host: &mut dyn Host) -> SyncJob {
        // Valkey has a form of its own for deadlines of fields; else it reads Redis's.
        let wanted = match job.reads {
            Reads::Old => VERSION_OLD,
            Reads::Redis | Reads::Valkey => VERSION,
        };
        let dialect = match (self.dialect(Dialect::Redis(wanted)), job.reads) {
            (Dialect::Redis(VERSION_TIMED), Reads::Valkey) => Dialect::Valkey(VERSION_VALKEY),
            (dialect, _) => dialect,
        };
        let point = self.replication_point();
        let options = self.encode_options(dialect, host.used_memory(), point.as_ref());
        self.stats.sync_full += job.links.len() as u64;
        let snapshot = self.snapshot(host);
        let progress = Arc::<Progress>::default();
        let keeps = job.framing == Framing::Length
            && !job.functions_only
            && matches!(dialect, Dialect::Redis(_))
            && !self.config.save.0.is_empty()
            && self.persistence.background.is_none();
        if keeps {
            let keys = snapshot.keys() as u64;
            self.background_save_begins(keys, progress.clone(), Some(job.id));
        }
        SyncJob {
            id: job.id,
            framing: job.framing,
            snapshot,
            now: self.now(),
            options,
            key_delay_us: self.config.rdb_key_save_delay,
            functions_only: job.functions_only,
            keep: keeps.then(|| self.rdb_path()),
            syncs_often: self.config.rdb_save_incremental_fsync,
            progress,
        }
    }

    /// Hands what the unit propagates to the stream; as a transaction when it is more than one
    /// command, unless its parts have nothing to do with each other.
    pub(crate) fn flush_pending(&mut self, whole: bool) {
        let stream = &mut self.replication.stream;
        let transaction = whole && self.pending.are_several();
        if transaction {
            stream.feed_anywhere([b"MULTI".as_slice()].into_iter());
        }
        self.pending
            .drain(|db, command| stream.feed_encoded(db, command));
        if transaction {
            stream.feed_anywhere([b"EXEC".as_slice()].into_iter());
        }
    }

    /// What an RDB file taken now says of replication.
    pub fn replication_point(&self) -> Option<ReplicationPoint> {
        let saved = self.replication.saved(self.master_db())?;
        Some(ReplicationPoint {
            stream_db: saved.db as i64,
            id: saved.id.to_string(),
            offset: saved.offset,
        })
    }
}

/// What a file says of replication, when it says it all.
fn saved(aux: &LoadedAux) -> Option<Saved> {
    Some(Saved {
        id: Id::parse(aux.replication_id.as_ref()?.as_bytes())?,
        offset: aux
            .replication_offset
            .filter(|offset| (0..=OFFSET_MAX).contains(offset))?,
        db: aux
            .stream_db
            .and_then(|db| usize::try_from(db).ok())
            .unwrap_or(0),
    })
}
