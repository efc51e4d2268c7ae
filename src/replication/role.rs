//! [`Replication`]: what a node is in a replication topology, and how that changes.
//!
//! Rules that keep partial synchronisation possible:
//!
//! - A replica's stream is its master's, byte for byte, so its offset is what it applied and its
//!   own replicas may follow either of them. [`Replication::applied`] is called at transaction
//!   boundaries only: a link lost in between makes the master send the whole transaction again.
//! - A master that becomes a replica, and a replica that lost its link, ask for `ids.current`
//!   from their own offset on (`can_continue`).
//! - A promoted replica starts a new history and keeps the old one as `previous` up to its offset.
//! - A full sync drops our own replicas: their data is not ours any more.

use super::id::{Id, Ids};
use super::replica::{self, MasterLink};
use super::source::{Announced, LinkId, Settings, Source};
use super::stream::Stream;

/// What the caller must do to a link.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes.
    Write(LinkId, Vec<u8>),
    /// Close it.
    Close(LinkId),
}

/// The answer to PSYNC or SYNC.
#[derive(Debug, PartialEq, Eq)]
pub enum Sync {
    /// Send this reply; the stream follows from the replica's offset.
    Continue(Vec<u8>),
    /// A job will serve it: see [`Source::start_job`].
    Full,
}

/// PSYNC and SYNC are refused with this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncError {
    /// We have no data to give: our own master is away.
    NoMasterLink,
}

impl std::fmt::Display for SyncError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SyncError::NoMasterLink => {
                f.write_str("NOMASTERLINK Can't SYNC while not connected with my master")
            }
        }
    }
}

/// Replication ids and offset as an RDB file's auxiliary fields carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// `repl-id`.
    pub id: Id,
    /// `repl-offset`.
    pub offset: i64,
    /// `repl-stream-db`.
    pub db: usize,
}

/// The replication state of a node.
pub struct Replication {
    /// The histories it can continue.
    pub ids: Ids,
    /// The log.
    pub stream: Stream,
    /// Its replicas.
    pub source: Source,
    /// The link to its master; none: it is a master.
    pub master: Option<MasterLink>,
    /// Database in which the master's stream goes on after a partial sync.
    pub master_db: usize,
    /// Whether the data is that of `ids.current` at the stream's offset.
    can_continue: bool,
    no_replicas_since_ms: i64,
    seconds: i64,
    getack: bool,
    /// Somebody may know `ids.current`.
    shared: bool,
    /// The master asked for an acknowledgement.
    ack_asked: bool,
}

impl Replication {
    /// A master without replicas.
    pub fn new(id: Id, backlog_size: i64, now: i64) -> Replication {
        Replication {
            ids: Ids::new(id),
            stream: Stream::new(backlog_size),
            source: Source::default(),
            master: None,
            master_db: 0,
            can_continue: false,
            no_replicas_since_ms: now,
            seconds: 0,
            getack: false,
            shared: true,
            ack_asked: false,
        }
    }

    /// Whether this node follows another.
    pub fn is_replica(&self) -> bool {
        self.master.is_some()
    }

    /// What an RDB file must carry so that its loader can continue our history; none when
    /// nobody could.
    pub fn saved(&self, master_db: usize) -> Option<Saved> {
        let db = match &self.master {
            None if !self.stream.is_active() => return None,
            None => self.stream.selected().unwrap_or(0),
            Some(master) if master.is_up() => master_db,
            Some(_) if self.can_continue => self.master_db,
            Some(_) => return None,
        };
        Some(Saved {
            id: self.ids.current,
            offset: self.stream.offset(),
            db,
        })
    }

    /// Takes over what the RDB file loaded at start carried. To be called once the role is
    /// known: a replica goes on, a master starts a new history that shares the old one.
    pub fn restore(&mut self, saved: Saved, fresh: Id, now: i64) {
        self.stream.reset(saved.offset);
        self.no_replicas_since_ms = now;
        self.stream.activate();
        if self.is_replica() {
            self.ids.restart(saved.id);
            self.master_db = saved.db;
            self.can_continue = true;
        } else {
            self.ids.restart(saved.id);
            self.ids.shift(fresh, saved.offset);
            self.shared = false;
        }
    }

    /// Whether this is the master that is followed.
    pub fn follows(&self, host: &[u8], port: u16) -> bool {
        let same = |master: &MasterLink| master.host == host && master.port == port;
        self.master.as_ref().is_some_and(same)
    }

    /// REPLICAOF host port. The old link's socket must be closed by the caller. Whether
    /// anything changed: naming the present master again does not.
    pub fn follow(&mut self, host: &[u8], port: u16, db: usize, now: i64) -> bool {
        if self.follows(host, port) {
            return false;
        }
        match &self.master {
            Some(master) => {
                if master.is_up() {
                    log::info!("Connection with master lost.");
                    log::info!("Caching the disconnected master state.");
                    self.master_db = db;
                    self.can_continue = true;
                }
            }
            None => {
                log::info!(
                    "Before turning into a replica, using my own master parameters to synthesize a cached master: I may \
                     be able to synchronize with the new master with just a partial transfer."
                );
                // Our new master may have been our replica: its stream begins with a SELECT.
                self.stream.activate();
                self.can_continue = true;
                self.master_db = 0;
            }
        }
        self.master = Some(MasterLink::new(host, port, now));
        true
    }

    /// Follows a master from the start: whatever we hold is not of its history.
    pub fn start(&mut self, host: &[u8], port: u16, now: i64) {
        self.master = Some(MasterLink::new(host, port, now));
    }

    /// REPLICAOF NO ONE. The caller closes the master's socket and the links returned: their
    /// replicas must learn the new id, and will be able to continue. Changes nothing on a master.
    pub fn promote(&mut self, fresh: Id, now: i64) -> Vec<LinkId> {
        let Some(master) = self.master.take() else {
            return Vec::new();
        };
        if master.is_up() {
            log::info!("Connection with master lost.");
            log::info!("Caching the disconnected master state.");
        }
        if self.can_continue || master.is_up() {
            log::info!("Discarding previously cached master state.");
        }
        self.ids.shift(fresh, self.stream.offset());
        log::info!(
            "Setting secondary replication ID to {}, valid up to offset: {}. New replication ID is {}",
            self.ids.previous,
            self.ids.second_repl_offset(),
            self.ids.current
        );
        self.shared = false;
        self.can_continue = false;
        self.stream.force_select();
        self.no_replicas_since_ms = now;
        self.source.drop_all()
    }

    /// What to ask the master for. A history of our own that has no byte yet, and that nobody was
    /// told of, is still the previous one: back to the old master after a promotion without a write.
    pub fn request(&self) -> Option<(Id, i64)> {
        let offset = self.stream.offset();
        let unwritten = !self.shared && self.ids.previous_until == offset;
        let id = if unwritten {
            self.ids.previous
        } else {
            self.ids.current
        };
        self.can_continue.then_some((id, offset))
    }

    /// The link to the master is gone; its stream was in database `db`.
    pub fn master_lost(&mut self, db: usize, now: i64) {
        let Some(master) = &mut self.master else {
            return;
        };
        let acknowledges = master.acknowledges();
        master.lost(now);
        if acknowledges {
            log::info!("Caching the disconnected master state.");
            self.master_db = db;
            self.can_continue = true;
        }
    }

    /// `+CONTINUE [id]`. Returns our replicas when they must be closed to learn a new id.
    pub fn continued(&mut self, id: Option<Id>) -> Vec<LinkId> {
        self.stream.activate();
        self.shared = true;
        match id {
            Some(id) if id != self.ids.current => {
                self.ids.shift(id, self.stream.offset());
                log::info!("Master replication ID changed to {id}");
                self.source.drop_all()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// A full sync begins to replace the data set: nothing can be continued until it is over.
    /// Returns our replicas, to be closed.
    pub fn full_sync_started(&mut self) -> Vec<LinkId> {
        self.can_continue = false;
        self.stream.deactivate();
        self.source.drop_all()
    }

    /// The full sync is loaded: we hold `origin`'s history. A master that only knows SYNC has
    /// none to share (`fresh` names ours).
    pub fn full_sync_loaded(&mut self, origin: Option<(Id, i64)>, fresh: Id, now: i64) {
        let (id, offset) = origin.unwrap_or((fresh, 0));
        self.ids.restart(id);
        self.shared = true;
        self.stream.reset(offset);
        self.stream.activate();
        if let Some(master) = &mut self.master {
            master.loaded(offset, now);
        }
    }

    /// These bytes of the master's stream are executed. Only at the end of a command outside of
    /// a transaction, or of a whole transaction.
    pub fn applied(&mut self, bytes: &[u8]) {
        self.stream.append_raw(bytes);
        if let Some(master) = &self.master {
            debug_assert!(self.stream.offset() <= master.read_offset());
        }
    }

    /// `REPLCONF ACK <applied offset>` for the master.
    pub fn acknowledgement(&mut self, now: i64) -> Option<Vec<u8>> {
        let offset = self.stream.offset().to_string();
        let master = self
            .master
            .as_mut()
            .filter(|master| master.acknowledges())?;
        master.acknowledged(now);
        let mut out = Vec::new();
        super::stream::push_command(&mut out, &[b"REPLCONF", b"ACK", offset.as_bytes()]);
        Some(out)
    }

    /// REPLCONF GETACK came.
    pub fn acknowledge_soon(&mut self) {
        self.ack_asked = true;
    }

    /// The acknowledgement that GETACK asked for, once, or one of those behind a full sync.
    pub fn acknowledgement_asked(&mut self, now: i64) -> Option<Vec<u8>> {
        let asked = std::mem::take(&mut self.ack_asked);
        let due = || self.early_ack_in(now) == Some(0);
        (asked || due()).then(|| self.acknowledgement(now))?
    }

    /// See [`MasterLink::early_ack_in`].
    pub fn early_ack_in(&self, now: i64) -> Option<i64> {
        self.master.as_ref()?.early_ack_in(now)
    }

    /// PSYNC (`request`: id and next byte wanted) or SYNC (none) by `link`. `fresh` names the
    /// history when the first replica starts one.
    pub fn sync(
        &mut self,
        link: LinkId,
        announced: Announced,
        peer_ip: String,
        request: Option<(&[u8], i64)>,
        fresh: Id,
        now: i64,
    ) -> Result<Sync, SyncError> {
        if self.master.as_ref().is_some_and(|master| !master.is_up()) {
            return Err(SyncError::NoMasterLink);
        }
        self.shared = true;
        self.source
            .attach(link, announced, peer_ip, request.is_none(), None, now);
        let name = self
            .source
            .get(link)
            .map(|replica| replica.name())
            .unwrap_or_default();
        log::info!("Replica {name} asks for synchronization");
        if let Some(offset) = request.and_then(|(id, next)| self.continues(&name, id, next)) {
            let unsent = self.stream.offset() - offset;
            log::info!(
                "Partial resynchronization request from {name} accepted. Sending {unsent} bytes \
                 of backlog starting from offset {}.",
                offset + 1
            );
            let reply = self.source.go_on(link, offset, &self.ids.current);
            return Ok(Sync::Continue(reply));
        }
        if !self.stream.is_active() {
            // Nothing was logged so far: nobody can have followed it.
            if self.master.is_none() {
                self.ids.restart(fresh);
            }
            self.stream.activate();
            log::info!(
                "Replication backlog created, my new replication IDs are '{}' and '{}'",
                self.ids.current,
                self.ids.previous
            );
        }
        Ok(Sync::Full)
    }

    fn continues(&self, name: &str, id: &[u8], next: i64) -> Option<i64> {
        let offset = next.checked_sub(1)?;
        if !self.ids.shares(id, offset) {
            if id == b"?" {
                // The space is for a remark that Redis makes of some.
                log::info!("Full resync requested by replica {name} ");
            } else if self.ids.previous.is(id) {
                log::info!(
                    "Partial resynchronization not accepted: Requested offset for second ID was \
                     {next}, but I can reply up to {}",
                    self.ids.second_repl_offset()
                );
            } else {
                log::info!(
                    "Partial resynchronization not accepted: Replication ID mismatch (Replica \
                     asked for '{}', my replication IDs are '{}' and '{}')",
                    String::from_utf8_lossy(&id[..id.len().min(64)]),
                    self.ids.current,
                    self.ids.previous
                );
            }
            return None;
        }
        if !self.stream.covers(offset) {
            log::info!(
                "Unable to partial resync with replica {name} for lack of backlog (Replica \
                 request was: {next})."
            );
            return None;
        }
        Some(offset)
    }

    /// A link is closed. Whether it was a replica's.
    pub fn detach(&mut self, link: LinkId, now: i64) -> bool {
        let was = self.source.detach(link);
        if was && self.source.is_empty() {
            self.no_replicas_since_ms = now;
        }
        was
    }

    /// Replicas that have not acknowledged all of a master's stream.
    pub fn lagging_count(&self) -> usize {
        let end = self.stream.offset();
        let lags = |one: &&super::source::Replica| {
            one.state == super::source::State::Online && !one.old && one.ack_offset != end
        };
        match self.master {
            None => self.source.replicas().iter().filter(lags).count(),
            Some(_) => 0,
        }
    }

    /// Says for the log, at the end, which replicas lack something.
    pub fn log_lagging(&self, now: i64) {
        let (end, replicas) = (self.stream.offset(), self.source.replicas());
        for replica in replicas.iter().filter(|one| one.ack_offset != end) {
            log::info!(
                "Lagging replica {} reported offset {} behind master, lag={}, state={}.",
                replica.name(),
                end - replica.ack_offset,
                replica.lag_s(now),
                replica.state.name()
            );
        }
        if !replicas.is_empty() {
            let synced = replicas.iter().filter(|one| one.ack_offset == end).count();
            log::info!(
                "{synced} of {} replicas are in sync when shutting down.",
                replicas.len()
            );
        }
    }

    /// WAIT needs acknowledgements: to be sent with [`Replication::before_sleep`].
    pub fn request_acks(&mut self) {
        self.getack = true;
    }

    /// At the end of a round: GETACK where it was asked for, and the stream trimmed. Returns
    /// the replicas that do not keep up, to be closed.
    pub fn before_sleep(&mut self, settings: &Settings, now: i64) -> Vec<LinkId> {
        if !self.stream.is_active() {
            return Vec::new();
        }
        if std::mem::take(&mut self.getack) && self.master.is_none() {
            self.stream
                .feed_anywhere([b"REPLCONF".as_slice(), b"GETACK", b"*"].into_iter());
        }
        let over = self.source.over_limit(&self.stream, settings, now);
        self.stream.trim(self.source.needed_from());
        over
    }

    /// Once a second: pings, newlines, timeouts, the backlog's end. The caller then asks
    /// [`Source::start_job`], and [`MasterLink::timer`] for the other direction.
    ///
    /// `unsent`: whether a link has something to send that its socket has not taken.
    pub fn cron(
        &mut self,
        settings: &Settings,
        unsent: impl Fn(LinkId) -> bool,
        fresh: Id,
        now: i64,
    ) -> Vec<Action> {
        self.seconds += 1;
        let mut actions = Vec::new();
        let is_master = self.master.is_none();
        if is_master && !self.source.is_empty() && self.seconds % settings.ping_period_s.max(1) == 0
        {
            self.stream.feed_anywhere([b"PING".as_slice()].into_iter());
        }
        actions.extend(
            self.source
                .waiting()
                .map(|link| Action::Write(link, b"\n".to_vec())),
        );
        actions.extend(
            self.source
                .timed_out(settings, unsent, now)
                .into_iter()
                .map(Action::Close),
        );
        let idle = now.saturating_sub(self.no_replicas_since_ms);
        if is_master
            && self.source.is_empty()
            && self.stream.is_active()
            && settings.backlog_ttl_s > 0
            && idle > settings.backlog_ttl_s * 1000
        {
            // Writes are no longer counted: the history after this point is another one.
            self.ids.restart(fresh);
            self.stream.deactivate();
            log::info!(
                "Replication backlog freed after {} seconds without connected replicas.",
                settings.backlog_ttl_s
            );
        }
        actions
    }

    /// State of the link to the master for INFO and ROLE.
    pub fn master_state(&self) -> Option<replica::State> {
        self.master.as_ref().map(MasterLink::state)
    }
}

impl Source {
    /// Puts an attached replica online at `offset`; the reply to its PSYNC.
    fn go_on(&mut self, link: LinkId, offset: i64, id: &Id) -> Vec<u8> {
        self.online_from(link, offset);
        match self.get(link) {
            Some(replica) if replica.announced.psync2 => format!("+CONTINUE {id}\r\n").into_bytes(),
            Some(_) | None => b"+CONTINUE\r\n".to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::replica::{Event, State};
    use super::*;

    fn id(byte: u8) -> Id {
        Id::from_random([byte; 20])
    }

    fn peer() -> Announced {
        Announced {
            port: 7,
            eof: true,
            psync2: true,
            ..Announced::default()
        }
    }

    fn set(node: &mut Replication, value: &str) {
        node.stream
            .feed(0, [b"SET".as_slice(), b"k", value.as_bytes()].into_iter());
    }

    fn psync(node: &mut Replication, link: LinkId, request: (Id, i64)) -> Sync {
        let (asked, offset) = request;
        node.sync(
            link,
            peer(),
            String::new(),
            Some((asked.as_bytes(), offset + 1)),
            id(99),
            0,
        )
        .unwrap()
    }

    /// Runs the handshake of `replica` against `reply` to PSYNC.
    fn handshake(replica: &mut Replication, reply: &[u8]) {
        let request = replica.request();
        let master = replica.master.as_mut().unwrap();
        master.connecting(request, replica::Settings::default(), 0);
        master.connected(0);
        let input = [b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n", reply].concat();
        let mut from = 0;
        loop {
            let master = replica.master.as_mut().unwrap();
            let (used, event) = master.advance(&input[from..], 0);
            from += used;
            match event {
                Event::Continue { id } => {
                    replica.continued(id);
                    return;
                }
                Event::FullSync { origin } => {
                    replica.full_sync_started();
                    let master = replica.master.as_mut().unwrap();
                    master.advance(b"$0\r\n", 0);
                    assert!(master.payload_complete());
                    replica.full_sync_loaded(origin, id(77), 0);
                    return;
                }
                Event::Fail => panic!("handshake failed"),
                _ => assert!(used > 0, "no decision"),
            }
        }
    }

    fn deliver(master: &Replication, replica: &mut Replication) {
        let bytes: Vec<u8> = master
            .stream
            .chunks_from(replica.stream.offset())
            .collect::<Vec<_>>()
            .concat();
        let link = replica.master.as_mut().unwrap();
        assert_eq!(link.advance(&bytes, 0).0, bytes.len());
        replica.applied(&bytes);
    }

    fn pair() -> (Replication, Replication) {
        let mut a = Replication::new(id(1), 1 << 20, 0);
        let mut b = Replication::new(id(2), 1 << 20, 0);
        assert!(b.follow(b"a", 1, 0, 0));
        assert!(!b.follow(b"a", 1, 0, 0));
        assert_eq!(b.request(), Some((id(2), 0)));
        assert_eq!(psync(&mut a, 10, (id(2), 0)), Sync::Full);
        assert_eq!(a.ids.current, id(99));
        let settings = Settings {
            diskless_delay_s: 0,
            ..Settings::default()
        };
        let name = a.ids.current;
        let (job, hello) = a
            .source
            .start_job(&mut a.stream, name.as_bytes(), &settings, [b'm'; 40], 0)
            .unwrap();
        handshake(&mut b, &hello[0].1);
        a.source.payload_ended(job.id, true, 0);
        a.source.acknowledge(10, 0, 0);
        set(&mut a, "1");
        deliver(&a, &mut b);
        assert_eq!((b.ids, b.stream.offset()), (a.ids, a.stream.offset()));
        (a, b)
    }

    #[test]
    fn lost_link_continues() {
        let (mut a, mut b) = pair();
        b.master_lost(3, 0);
        assert_eq!((b.master_state(), b.master_db), (Some(State::Connect), 3));
        a.detach(10, 0);
        set(&mut a, "2");
        let Sync::Continue(reply) = psync(&mut a, 11, b.request().unwrap()) else {
            panic!("full sync")
        };
        handshake(&mut b, &reply);
        deliver(&a, &mut b);
        assert_eq!(b.stream.offset(), a.stream.offset());
        assert_eq!(a.source.reads_from(11), Some(b.stream.first_offset() + 50));
    }

    #[test]
    fn promotion_and_return() {
        let (mut a, mut b) = pair();
        assert!(b.promote(id(3), 0).is_empty());
        assert_eq!(b.ids.previous, a.ids.current);
        set(&mut b, "3");
        a.detach(10, 0);
        a.follow(b"b", 2, 0, 0);
        let Sync::Continue(reply) = psync(&mut b, 20, a.request().unwrap()) else {
            panic!("full sync")
        };
        assert_eq!(reply, format!("+CONTINUE {}\r\n", id(3)).into_bytes());
        handshake(&mut a, &reply);
        deliver(&b, &mut a);
        assert_eq!((a.ids, a.stream.offset()), (b.ids, b.stream.offset()));
        // And back again: promoted a, demoted b.
        a.promote(id(4), 0);
        b.detach(20, 0);
        b.follow(b"a", 1, 0, 0);
        let Sync::Continue(reply) = psync(&mut a, 21, b.request().unwrap()) else {
            panic!("full sync")
        };
        handshake(&mut b, &reply);
        assert_eq!(b.ids, a.ids);
    }

    #[test]
    fn back_to_the_old_master_without_a_write() {
        let (mut a, mut b) = pair();
        b.promote(id(3), 0);
        a.detach(10, 0);
        set(&mut a, "2");
        b.follow(b"a", 1, 0, 0);
        let Sync::Continue(reply) = psync(&mut a, 11, b.request().unwrap()) else {
            panic!("full sync")
        };
        handshake(&mut b, &reply);
        deliver(&a, &mut b);
        assert_eq!(
            (b.ids.current, b.stream.offset()),
            (a.ids.current, a.stream.offset())
        );
        // With a write, or once somebody was told the new id, it is another history.
        b.promote(id(4), 0);
        set(&mut b, "own");
        b.follow(b"a", 1, 0, 0);
        assert_eq!(b.request().unwrap().0, id(4));
    }

    #[test]
    fn diverged_histories_need_a_full_sync() {
        let (mut a, mut b) = pair();
        b.promote(id(3), 0);
        a.detach(10, 0);
        set(&mut a, "lost write");
        a.follow(b"b", 2, 0, 0);
        assert_eq!(psync(&mut b, 20, a.request().unwrap()), Sync::Full);
    }

    #[test]
    fn chained_replica_adopts_the_new_id() {
        let (mut a, mut b) = pair();
        let mut c = Replication::new(id(5), 1 << 20, 0);
        c.follow(b"b", 2, 0, 0);
        let ids = b.ids.current;
        c.ids.restart(ids);
        c.stream.reset(b.stream.offset());
        let Sync::Continue(reply) = psync(&mut b, 30, c.request().unwrap()) else {
            panic!("full sync")
        };
        handshake(&mut c, &reply);
        set(&mut a, "2");
        deliver(&a, &mut b);
        deliver(&b, &mut c);
        assert_eq!(c.stream.offset(), a.stream.offset());
        // b is promoted: c is dropped and continues under the new id.
        assert_eq!(b.promote(id(6), 0), [30]);
        c.master_lost(0, 0);
        let Sync::Continue(reply) = psync(&mut b, 31, c.request().unwrap()) else {
            panic!("full sync")
        };
        handshake(&mut c, &reply);
        assert_eq!(c.ids, b.ids);
        // While b has no link of its own it serves nobody.
        b.follow(b"x", 1, 0, 0);
        let refused = b.sync(32, peer(), String::new(), Some((b"?", -1)), id(9), 0);
        assert_eq!(refused, Err(SyncError::NoMasterLink));
    }

    #[test]
    fn restart_from_a_file() {
        let (mut a, mut b) = pair();
        let saved = a.saved(0).unwrap();
        let mut again = Replication::new(id(8), 1 << 20, 0);
        again.restore(saved, id(9), 0);
        b.master_lost(0, 0);
        assert!(matches!(
            psync(&mut again, 1, b.request().unwrap()),
            Sync::Continue(_)
        ));
        // A replica that was ahead of the file needs everything.
        set(&mut a, "2");
        b.master.as_mut().unwrap().lost(0);
        let ahead = (b.ids.current, b.stream.offset() + 1);
        assert_eq!(psync(&mut again, 2, ahead), Sync::Full);
        // A replica that restarts asks where it was.
        let mut replica = Replication::new(id(8), 1 << 20, 0);
        replica.follow(b"a", 1, 0, 0);
        replica.restore(b.saved(0).unwrap(), id(9), 0);
        assert_eq!(replica.request(), b.request());
        assert_eq!(Replication::new(id(1), 1, 0).saved(0), None);
    }

    #[test]
    fn cron_pings_and_frees() {
        let (mut a, _) = pair();
        let settings = Settings {
            ping_period_s: 1,
            timeout_s: 5,
            ..Settings::default()
        };
        let before = a.stream.offset();
        assert!(a.cron(&settings, |_| false, id(50), 1000).is_empty());
        assert_eq!(a.stream.offset(), before + 14);
        a.request_acks();
        a.before_sleep(&settings, 1000);
        assert_eq!(a.stream.offset(), before + 14 + 37);
        assert_eq!(
            a.cron(&settings, |_| false, id(50), 6000),
            [Action::Close(10)]
        );
        a.detach(10, 6000);
        a.sync(40, peer(), String::new(), None, id(50), 6000)
            .unwrap();
        assert_eq!(
            a.cron(&settings, |_| false, id(50), 7000),
            [Action::Write(40, b"\n".to_vec())]
        );
        a.detach(40, 7000);
        a.cron(&settings, |_| false, id(51), 7000 + 3_600_000);
        assert!(a.stream.is_active());
        a.cron(&settings, |_| false, id(51), 7001 + 3_600_000);
        assert!(!a.stream.is_active());
        assert_eq!(a.ids, Ids::new(id(51)));
    }
}
