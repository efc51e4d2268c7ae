//! The master's link and the replicas' jobs: what of replication must run commands or spans rounds.
//!
//! The link to the master is a client with [`ClientFlags::MASTER`] whose replies are dropped. Until it is
//! connected its input goes through the handshake; a snapshot is decoded as it arrives (at most a
//! read buffer a round) into a detached keyspace, swapped in when its checksum held. After that its
//! commands run like others, and their bytes are copied to the stream at transaction boundaries.

use super::{LinkFacts, Machine};
use crate::config::DisklessLoad;
use crate::engine::{
    Action, Background, Blocked, Client, ClientFlags, Host, LinkId, Loading, SaveError,
    reply_acknowledged, wait_done,
};
use crate::keyspace::Keyspace;
use crate::rdb::decode::{Batch, Decoded, Decoder};
use crate::rdb::encode::Written;
use crate::rdb::load::{LoadOptions, Loader};
use crate::replication::id::Id;
use crate::replication::replica::{Due, Event, State};
use crate::replication::role;
use crate::replication::source::Framing;

/// A replica is given the next chunk of a snapshot when it has less than this to send.
const SYNC_UNSENT_BYTES: usize = 256 * 1024;
/// Milliseconds between two runs of the slow part of the cron.
const SECOND_MS: u64 = 1000;

/// Who the master is as a client: it may do everything.
const SUPERUSER: &[u8] = b"(superuser)";
/// What systemd is told when the data set of the master is in.
const SYNCHRONIZED: &str = "STATUS=MASTER <-> REPLICA sync: Finished with success. Ready to accept connections in \
                            read-write mode.\n";
/// And when the master lets us go on where we were.
const CONTINUED: &str = "STATUS=MASTER <-> REPLICA sync: Partial Resynchronization accepted. Ready to accept \
                         connections in read-write mode.\n";

/// What spans rounds.
#[derive(Default)]
pub(super) struct Progress {
    /// The full sync that is being received.
    load: Option<Box<Load>>,
    /// How far it is.
    loading: Loading,
    /// The id and offset that the master gave for it.
    origin: Option<(Id, i64)>,
    /// Bytes of the master's stream in an unfinished transaction: executed, not yet passed on.
    unapplied: Vec<u8>,
    /// When the slow part of the cron ran.
    second_ms: u64,
}

/// A data set that arrives from the master.
struct Load {
    keyspace: Keyspace,
    decoder: Decoder,
    batch: Batch,
    loader: Loader,
    complete: bool,
}

impl Load {
    /// Takes a part of the file.
    fn feed(&mut self, part: &[u8]) -> Result<(), String> {
        self.decoder.feed(part);
        loop {
            let decoded = self
                .decoder
                .decode(&mut self.batch)
                .map_err(|error| error.end_of_load())?;
            let records = self.batch.records().len();
            self.loader
                .apply(&mut self.keyspace, &self.batch, 0, records)
                .map_err(|error| error.end_of_load())?;
            self.batch.clear();
            match decoded {
                Decoded::BatchFull => {}
                Decoded::NeedInput(_) => return Ok(()),
                Decoded::Done => {
                    self.complete = true;
                    return Ok(());
                }
            }
        }
    }
}

impl Machine {
    /// The socket that [`Action::ConnectMaster`] asked for is there, its connection under way.
    pub fn master_opened(&mut self, link: LinkId, facts: LinkFacts) {
        let id = self.engine.clients.next_id();
        let mut client = Box::new(Client::new(id, link, self.engine.now()));
        client.peer = facts.peer;
        client.local = facts.local;
        client.fd = facts.fd;
        client.user = SUPERUSER.to_vec();
        client
            .flags
            .insert(ClientFlags::MASTER | ClientFlags::AUTHENTICATED | ClientFlags::REPLY_OFF);
        self.engine.clients.insert(client);
        self.engine.master_link = Some(link);
    }

    /// There will be no such socket.
    pub fn master_failed(&mut self, text: &str) {
        log::warn!("Unable to connect to MASTER: {text}");
        self.engine.master_lost(0);
    }

    /// The connection to the master stands, or could not be made (`error`).
    pub(super) fn master_connected(&mut self, link: LinkId, error: Option<String>) {
        if self.engine.master_link != Some(link) {
            return;
        }
        if let Some(text) = error {
            log::warn!("Error condition on socket for SYNC: {text}");
            return self.closed(link);
        }
        let now = self.engine.now();
        let Some(master) = &mut self.engine.replication.master else {
            return;
        };
        let hello = master.connected(now);
        self.send(link, &hello);
    }

    /// Appends to a link's output.
    fn send(&mut self, link: LinkId, bytes: &[u8]) {
        if let Some(client) = self.engine.clients.get_mut(link) {
            client.reply.raw(bytes);
            self.engine.mark_dirty(link);
        }
    }

    /// Bytes came from the master: how many of them were not its stream.
    pub(super) fn master_input(
        &mut self,
        client: &mut Client,
        bytes: &[u8],
        host: &mut dyn Host,
    ) -> usize {
        let now = self.engine.now();
        self.engine.stats.net_repl_input_bytes += bytes.len() as u64;
        let mut used = 0;
        if self.engine.master_link != Some(client.link) {
            return bytes.len();
        }
        while let Some(master) = &mut self.engine.replication.master {
            let (count, event) = master.advance(&bytes[used..], now);
            used += count;
            let result = match event {
                Event::Nothing if count == 0 => break,
                Event::Nothing => Ok(()),
                Event::Send(reply) => {
                    client.reply.raw(&reply);
                    Ok(())
                }
                Event::FullSync { origin } => {
                    self.progress.origin = origin;
                    Ok(())
                }
                Event::PayloadStart { bytes } => {
                    self.begin_load(bytes);
                    Ok(())
                }
                Event::Payload(part) => self.load(&part),
                Event::PayloadEnd => self.end_load(client, host),
                Event::Continue { id } => {
                    client.db = self.engine.replication.master_db;
                    let links = self.engine.replication.continued(id);
                    self.engine.close_links(&links);
                    log::info!(
                        "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization."
                    );
                    self.online(client);
                    host.tell_supervisor(CONTINUED);
                    Ok(())
                }
                Event::Stream(_) => return used - count,
                Event::Fail => {
                    client.flags.insert(ClientFlags::CLOSE_ASAP);
                    return bytes.len();
                }
            };
            if let Err(text) = result {
                log::warn!("MASTER <-> REPLICA sync: {text}");
                client.flags.insert(ClientFlags::CLOSE_ASAP);
                return bytes.len();
            }
        }
        let complete = match &mut self.engine.replication.master {
            Some(master) => master.payload_complete(),
            None => false,
        };
        if complete && let Err(text) = self.end_load(client, host) {
            log::warn!("MASTER <-> REPLICA sync: {text}");
            client.flags.insert(ClientFlags::CLOSE_ASAP);
        }
        bytes.len()
    }

    /// The data set of a full sync begins. Once more than loading-process-events-interval-bytes of it have come,
    /// clients are answered LOADING until it is in, or with repl-diskless-load swapdb from the old one.
    fn begin_load(&mut self, bytes: Option<u64>) {
        let decoder = Decoder::new(self.decode_options());
        let engine = &mut self.engine;
        let now = engine.now();
        let keyspace = engine.keyspace.detached(now);
        let load = LoadOptions {
            now,
            drop_due: false,
            new_access: engine.new_access(),
            encodings: engine.encodings(),
        };
        self.progress.load = Some(Box::new(Load {
            keyspace,
            decoder,
            batch: Batch::default(),
            loader: Loader::new(load),
            complete: false,
        }));
        // Old data of another history would tell clients nothing of their master.
        let swaps = self.engine.config.repl_diskless_load == DisklessLoad::SwapDb;
        let ours = self.engine.replication.ids.current;
        let shared = matches!(self.progress.origin, Some((id, _)) if id == ours);
        self.progress.loading = Loading {
            started_s: now / 1000,
            bytes_total: bytes.unwrap_or(0),
            bytes: 0,
            serves_old: swaps && shared,
            resumes_ns: 0,
        };
        log::info!("MASTER <-> REPLICA sync: Loading DB in memory");
    }

    fn load(&mut self, part: &[u8]) -> Result<(), String> {
        let loading = &mut self.progress.loading;
        loading.bytes += part.len() as u64;
        let config = &self.engine.config;
        let unseen = config.loading_process_events_interval_bytes;
        if loading.bytes > unseen.unsigned_abs() || config.key_load_delay != 0 {
            let shown = &mut self.engine.persistence.loading;
            loading.resumes_ns = shown.map_or(0, |loading| loading.resumes_ns);
            *shown = Some(*loading);
        }
        let Some(load) = &mut self.progress.load else {
            return Err("payload without a beginning".into());
        };
        let keys = load.loader.loaded().seen();
        load.feed(part)?;
        self.engine.keys_loaded(load.loader.loaded().seen() - keys);
        Ok(())
    }

    /// How many bytes may be read from a link in this round. A data set that arrives, or that may come with what announces
    /// it, is read in parts of `loading-process-events-interval-bytes`, and not at all while key-load-delay holds it.
    #[inline]
    pub fn read_limit(&self, link: LinkId) -> usize {
        if self.engine.master_link != Some(link)
            || self.engine.replication.master_state() == Some(State::Connected)
        {
            return usize::MAX;
        }
        match self.engine.load_held_until_ns() {
            Some(_) => 0,
            None => self.engine.config.loading_process_events_interval_bytes as usize,
        }
    }

    fn take_load(&mut self) -> Option<Box<Load>> {
        let load = self.progress.load.take()?;
        self.engine.persistence.loading = None;
        Some(load)
    }

    /// The payload is complete: the data set it brought takes the place of ours.
    fn end_load(&mut self, client: &mut Client, host: &mut dyn Host) -> Result<(), String> {
        let Some(mut load) = self.take_load() else {
            return Err("payload without a beginning".into());
        };
        if !load.complete {
            return Err(load.decoder.truncated().end_of_load());
        }
        let engine = &mut self.engine;
        log::info!("MASTER <-> REPLICA sync: Flushing old data");
        let links = engine.replication.full_sync_started();
        engine.close_links(&links);
        let loaded = load.loader.loaded().clone();
        let db = loaded.aux.stream_db.and_then(|db| usize::try_from(db).ok());
        client.db = db.filter(|db| *db < engine.keyspace.count()).unwrap_or(0);
        engine.take_data_set(load.keyspace, &loaded);
        let (fresh, now) = (engine.fresh_id(), engine.now());
        engine
            .replication
            .full_sync_loaded(self.progress.origin.take(), fresh, now);
        host.tell_supervisor(SYNCHRONIZED);
        self.online(client);
        Ok(())
    }

    /// The link follows the stream now: the master learns at once where it stands.
    fn online(&mut self, client: &mut Client) {
        self.progress.unapplied.clear();
        client.leave_multi();
        client.parser.reset();
        let now = self.engine.now();
        if let Some(ack) = self.engine.replication.acknowledgement(now) {
            client.reply.raw(&ack);
        }
    }

    /// These bytes of the master's stream were executed: a command, or one in a transaction.
    pub(super) fn applied(&mut self, client: &Client, bytes: &[u8]) {
        if client.is(ClientFlags::CLOSE_ASAP) || self.engine.master_link != Some(client.link) {
            return;
        }
        let unapplied = &mut self.progress.unapplied;
        if client.is(ClientFlags::MULTI) {
            unapplied.extend_from_slice(bytes);
        } else if unapplied.is_empty() {
            self.engine.replication.applied(bytes);
        } else {
            unapplied.extend_from_slice(bytes);
            self.engine.replication.applied(unapplied);
            unapplied.clear();
            unapplied.shrink_to(1 << 20);
        }
    }

    /// A link is gone: what was under way for it ends.
    pub(super) fn replication_closed(&mut self, client: &Client) {
        if self.engine.master_link == Some(client.link) {
            self.take_load();
            self.progress.unapplied = Vec::new();
        }
        self.engine.link_closed(client);
    }

    /// At the end of a round, before its output is written. Returns when the next WAIT ends,
    /// monotonic milliseconds.
    pub(super) fn replication_round(&mut self, host: &mut dyn Host) -> Option<u64> {
        let wake_ms = [self.end_waits(), self.engine.run_failover(host)]
            .into_iter()
            .flatten()
            .min();
        let engine = &mut self.engine;
        if let Some(ack) = engine
            .replication
            .acknowledgement_asked(engine.clock.unix_ms())
            && let Some(link) = engine.master_link
        {
            self.send(link, &ack);
        }
        let engine = &mut self.engine;
        let early_ack_in = engine.replication.early_ack_in(engine.now());
        let early_ack_ms = early_ack_in.map(|ms| engine.clock.mono_ms() + ms.unsigned_abs());
        let wake_ms = [wake_ms, early_ack_ms].into_iter().flatten().min();
        if !engine.replication.stream.is_active() {
            return wake_ms;
        }
        let settings = engine.source_settings();
        let now = engine.now();
        let over = engine.replication.before_sleep(&settings, now);
        engine.stats.client_output_buffer_limit_disconnections += over.len() as u64;
        engine.close_links(&over);
        self.start_sync(host);
        let engine = &mut self.engine;
        for index in 0..engine.replication.source.replicas().len() {
            let link = engine.replication.source.replicas()[index].link;
            if !engine.stream_output(link).is_empty() {
                engine.mark_dirty(link);
            }
        }
        wake_ms
    }

    /// Starts a full synchronisation for those who wait for one.
    fn start_sync(&mut self, host: &mut dyn Host) {
        let engine = &mut self.engine;
        let now = engine.now();
        let source = &mut engine.replication.source;
        if source.is_empty() {
            return;
        }
        if source.job().is_some() {
            let greetings = source.join_job(now);
            engine.stats.sync_full += greetings.len() as u64;
            for (link, greeting) in greetings {
                log::info!("Waiting for end of BGSAVE for SYNC");
                self.send(link, &greeting);
            }
            return;
        }
        // The file of a job that nobody waits for any more.
        if matches!(&engine.persistence.background, Some(save) if save.sync.is_some()) {
            return;
        }
        let settings = engine.source_settings();
        let mark = engine.fresh_id();
        let mark = mark.as_bytes().try_into().unwrap_or([b'0'; 40]);
        let replication = &mut engine.replication;
        let id = replication.ids.current;
        let started = replication.source.start_job(
            &mut replication.stream,
            id.as_bytes(),
            &settings,
            mark,
            now,
        );
        let Some((job, greetings)) = started else {
            return;
        };
        let sync = engine.sync_job(&job, host);
        engine.actions.push(Action::Sync(Box::new(sync)));
        let head = match job.framing {
            Framing::Mark(mark) => [b"$EOF:".as_slice(), &mark, b"\r\n"].concat(),
            Framing::Length => Vec::new(),
        };
        for (link, greeting) in greetings {
            self.send(link, &greeting);
            self.send(link, &head);
        }
    }

    /// Whether the replicas of the running job can take another chunk; nobody holds up a job that has none.
    pub fn sync_wants_data(&self) -> bool {
        let unsent = |link: &LinkId| self.engine.clients.get(*link).map_or(0, Client::unsent);
        let job = self.engine.replication.source.job();
        job.is_none_or(|job| {
            job.links
                .iter()
                .all(|link| unsent(link) < SYNC_UNSENT_BYTES)
        })
    }

    /// Whether job `id` is still wanted: by a replica, or for the file that it saves.
    pub fn sync_is_wanted(&self, id: u64) -> bool {
        let job = self.engine.replication.source.job();
        let saves = !self.engine.config.save.0.is_empty() && self.engine.save_of_sync(id).is_some();
        saves || job.is_some_and(|job| job.id == id && !job.links.is_empty())
    }

    /// The file of job `id` is where saves go: that is a save.
    pub fn sync_saved(&mut self, id: u64, written: Written) {
        self.engine.save_of_sync_ended(id, Ok(written));
    }

    /// The next bytes of job `id`'s payload, for all its replicas.
    pub fn sync_data(&mut self, id: u64, bytes: &[u8]) {
        let Some(job) = self
            .engine
            .replication
            .source
            .job()
            .filter(|job| job.id == id)
        else {
            return;
        };
        let links = job.links.clone();
        let now = self.engine.now();
        self.engine.replication.source.payload_started(id);
        for link in links {
            let client = self.engine.clients.get(link);
            if client.is_none_or(|client| client.unsent() == 0) {
                self.engine.replication.source.payload_moves(link, now);
            }
            self.send(link, bytes);
        }
    }

    /// Job `id` is complete, or failed for this reason.
    pub fn sync_ended(&mut self, id: u64, error: Option<&str>) {
        let job = self
            .engine
            .replication
            .source
            .job()
            .filter(|job| job.id == id)
            .cloned();
        if let (Some(job), None) = (&job, error)
            && let Framing::Mark(mark) = job.framing
        {
            for &link in &job.links {
                self.send(link, &mark);
            }
        }
        if let Some(text) = error {
            let cancelled = |save: &Background| save.progress.is_cancelled();
            let reason = match self.engine.save_of_sync(id).is_some_and(cancelled) {
                true => SaveError::Cancelled,
                false => SaveError::Failed(text.to_string()),
            };
            self.engine.save_of_sync_ended(id, Err(reason));
            if let Some(job) = &job {
                let is_diskless = job.framing != Framing::Length;
                if job.links.is_empty() && is_diskless {
                    log::warn!("Diskless rdb transfer, last replica dropped, killing fork child.");
                }
                if !job.links.is_empty() || is_diskless {
                    log::warn!("Background transfer error: {text}");
                }
            }
        }
        let now = self.engine.now();
        let links = self
            .engine
            .replication
            .source
            .payload_ended(id, error.is_none(), now);
        self.engine.close_links(&links);
    }

    /// What time alone brings about; runs with the slow timer.
    pub(super) fn replication_cron(&mut self) {
        if self.load.is_some() {
            return;
        }
        let now = self.engine.now();
        let timeout_ms = self.engine.config.repl_timeout.saturating_mul(1000);
        let held = self.engine.load_held_until_ns().is_some();
        let due = match &mut self.engine.replication.master {
            Some(master) => {
                if held {
                    // Its silence is our own doing.
                    master.heard(now);
                }
                master.timer(now, timeout_ms)
            }
            None => Due::Nothing,
        };
        let link = self.engine.master_link;
        match (due, link) {
            (Due::Connect, None) => {
                if let Some(master) = &self.engine.replication.master {
                    log::info!("Connecting to MASTER {}", master.address());
                }
                self.engine.connect_master();
            }
            (Due::Ack, Some(link)) => {
                if let Some(ack) = self.engine.replication.acknowledgement(now) {
                    self.send(link, &ack);
                }
            }
            (Due::Newline, Some(link)) => self.send(link, b"\n"),
            (Due::Fail, Some(link)) => self.engine.close_soon(link),
            (Due::Fail, None) => self.engine.master_lost(0),
            (Due::Nothing | Due::Connect | Due::Ack | Due::Newline, _) => {}
        }
        let mono_ms = self.engine.clock.mono_ms();
        if mono_ms < self.progress.second_ms + SECOND_MS {
            return;
        }
        self.progress.second_ms = mono_ms;
        let (settings, fresh) = (self.engine.source_settings(), self.engine.fresh_id());
        let clients = &self.engine.clients;
        let unsent = |link| clients.get(link).is_some_and(|client| client.unsent() > 0);
        let actions = self.engine.replication.cron(&settings, unsent, fresh, now);
        for action in actions {
            match action {
                role::Action::Write(link, bytes) => self.send(link, &bytes),
                role::Action::Close(link) => self.engine.close_soon(link),
            }
        }
    }

    /// Answers the WAITs that are satisfied or over. Returns when the next one is over.
    fn end_waits(&mut self) -> Option<u64> {
        if self.engine.waiting.is_empty() {
            return None;
        }
        let engine = &mut self.engine;
        let now_ms = engine.clock.mono_ms();
        let mut next = None;
        for link in std::mem::take(&mut engine.waiting) {
            let Some(client) = engine.clients.get_mut(link) else {
                continue;
            };
            let Some(Blocked::Wait {
                stage,
                replicas,
                offset,
                deadline_ms,
            }) = client.blocked
            else {
                continue;
            };
            let count = engine.replication.source.acknowledged_count(stage, offset);
            let over = deadline_ms != 0 && now_ms >= deadline_ms;
            if (count as i64) < replicas && !over {
                engine.waiting.push(link);
                if deadline_ms != 0 {
                    next = Some(next.map_or(deadline_ms, |other: u64| other.min(deadline_ms)));
                }
                continue;
            }
            wait_done(&mut engine.stats, client);
            client.end_wait(|client| reply_acknowledged(client, stage, count));
            engine.ready.push_back(link);
            engine.mark_dirty(link);
        }
        next
    }
}
