//! The master's side: the attached replicas, the full-sync job they share, acknowledgements.
//!
//! A replica goes through
//!
//! ```text
//! WaitStart ──(job starts: +FULLRESYNC)──→ WaitEnd ──(first chunk)──→ SendBulk ──→ Online
//! ```
//!
//! or is attached `Online` at once by a partial sync. From `WaitEnd` on it reads the stream from
//! the offset at which the snapshot was taken; it is sent stream bytes only when `streaming`:
//! after the payload, and after a payload without a known length only once it acknowledged, as
//! older peers look for the end mark in the last bytes they received.
//!
//! There is at most one job; who comes while it runs waits for the next, or shares it while its file is being
//! written ([`Source::join_job`]).

use super::id::ID_BYTES;
use super::stream::Stream;

/// Index of a connection in the slab of sockets.
pub type LinkId = usize;

/// What to write to each replica of a new job.
pub type Greetings = Vec<(LinkId, Vec<u8>)>;

/// The capability by which a redoxide tells another one that it is no Valkey, whatever version it announces: others
/// ignore capabilities that they do not know.
pub const OWN_KIND: &[u8] = b"redoxide";

/// Longest address a replica may announce.
const IP_BYTES_MAX: usize = 45;

/// Where a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a snapshot.
    WaitStart,
    /// The snapshot is taken.
    WaitEnd,
    /// The payload is being sent.
    SendBulk,
    /// Follows the stream.
    Online,
}

impl State {
    /// INFO's word.
    pub fn name(self) -> &'static str {
        match self {
            State::WaitStart | State::WaitEnd => "wait_bgsave",
            State::SendBulk => "send_bulk",
            State::Online => "online",
        }
    }
}

/// What a peer said about itself with REPLCONF before it asked to synchronise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// The port it listens on; 0: not said.
    pub port: u16,
    /// The address it wants to be known by; empty: its socket's.
    pub ip: Vec<u8>,
    /// It finds the end of a payload by a mark.
    pub eof: bool,
    /// It understands `+CONTINUE <id>`.
    pub psync2: bool,
    /// Wants the snapshot only.
    pub rdb_only: bool,
    /// Wants only the functions of the snapshot.
    pub functions_only: bool,
    /// A Valkey release that announced itself, as 0xMMmmpp.
    pub valkey_version: u32,
    /// It is a redoxide: it is sent Redis's dialect.
    pub redoxide: bool,
    /// It could take the snapshot on a connection of its own, as Redis can from 8.0 on: that is how those are known.
    pub rdb_channel: bool,
}

/// The files that a replica reads, which is the form that its snapshot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// REDIS up to version 10, as Redis 7.0: it has not said that it reads more.
    Old,
    /// REDIS as we write it.
    Redis,
    /// VALKEY.
    Valkey,
}

/// Why an option was refused; `Display` is the reply without its `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// Not a number, or outside its range.
    NotAnInteger,
    /// A number other than 0 and 1.
    NoFlag,
    /// `ip-address` of so many bytes.
    IpTooLong(usize),
    /// `rdb-filter-only` with an unknown part.
    Filter(Vec<u8>),
    /// `version` that is not three numbers.
    Version(Vec<u8>),
    /// An unknown option.
    Unknown(Vec<u8>),
}

impl std::fmt::Display for OptionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OptionError::NotAnInteger => f.write_str("ERR value is not an integer or out of range"),
            OptionError::NoFlag => {
                f.write_str("ERR value is out of range, value must between 0 and 1")
            }
            OptionError::IpTooLong(bytes) => write!(
                f,
                "ERR REPLCONF ip-address provided by replica instance is too long: {bytes} bytes"
            ),
            OptionError::Filter(part) => write!(
                f,
                "ERR Unsupported rdb-filter-only option: {}",
                String::from_utf8_lossy(part)
            ),
            OptionError::Version(version) => {
                write!(
                    f,
                    "ERR Unrecognized version format: {}",
                    String::from_utf8_lossy(version)
                )
            }
            OptionError::Unknown(option) => write!(
                f,
                "ERR Unrecognized REPLCONF option: {}",
                String::from_utf8_lossy(option)
            ),
        }
    }
}

impl Announced {
    /// Takes one `REPLCONF option value` pair. ACK and GETACK are not options: see
    /// [`Source::acknowledge`].
    pub fn set(&mut self, option: &[u8], value: &[u8]) -> Result<(), OptionError> {
        let number = || {
            let text = std::str::from_utf8(value).ok()?;
            text.parse::<i64>().ok()
        };
        match option.to_ascii_lowercase().as_slice() {
            b"listening-port" => {
                let port = number().ok_or(OptionError::NotAnInteger)?;
                self.port = u16::try_from(port).map_err(|_| OptionError::NotAnInteger)?;
            }
            b"ip-address" => {
                if value.len() > IP_BYTES_MAX {
                    return Err(OptionError::IpTooLong(value.len()));
                }
                self.ip = value.to_vec();
            }
            b"capa" => {
                // Capabilities that we do not know are none of ours.
                self.eof |= value.eq_ignore_ascii_case(b"eof");
                self.psync2 |= value.eq_ignore_ascii_case(b"psync2");
                self.redoxide |= value == OWN_KIND;
                self.rdb_channel |= value.eq_ignore_ascii_case(b"rdb-channel-repl");
            }
            b"rdb-only" => match number() {
                Some(flag @ (0 | 1)) => self.rdb_only = flag == 1,
                Some(_) => return Err(OptionError::NoFlag),
                None => return Err(OptionError::NotAnInteger),
            },
            b"rdb-filter-only" => {
                for part in value
                    .split(|byte| *byte == b' ')
                    .filter(|part| !part.is_empty())
                {
                    if !part.eq_ignore_ascii_case(b"functions") {
                        return Err(OptionError::Filter(part.to_vec()));
                    }
                    self.functions_only = true;
                }
            }
            b"version" => {
                self.valkey_version =
                    version(value).ok_or_else(|| OptionError::Version(value.to_vec()))?;
            }
            _ => return Err(OptionError::Unknown(option.to_vec())),
        }
        Ok(())
    }

    /// The files that it reads.
    pub fn reads(&self) -> Reads {
        if self.valkey_version >= VALKEY_WITH_DIALECT && !self.redoxide {
            Reads::Valkey
        } else if self.redoxide || self.rdb_channel || self.valkey_version > 0 {
            Reads::Redis
        } else {
            Reads::Old
        }
    }

    /// Whether a full synchronisation of this kind is for it.
    fn is_served_with(&self, functions_only: bool, reads: Reads) -> bool {
        self.functions_only == functions_only && self.reads() == reads
    }
}

/// The first Valkey release that reads VALKEY files: 9.0.
const VALKEY_WITH_DIALECT: u32 = 0x09_00_00;

fn version(text: &[u8]) -> Option<u32> {
    let mut number = 0;
    let mut parts = 0;
    for part in std::str::from_utf8(text).ok()?.split('.') {
        number = (number << 8) | u32::from(part.parse::<u8>().ok()?);
        parts += 1;
    }
    (parts == 3).then_some(number)
}

/// How a payload's end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `$EOF:<mark>`, the bytes, the mark.
    Mark([u8; ID_BYTES]),
    /// `$<length>`, the bytes: they are written to a file first.
    Length,
}

/// A full synchronisation: one snapshot for some replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Distinguishes this job from earlier ones whose news come late.
    pub id: u64,
    /// Who gets it.
    pub links: Vec<LinkId>,
    /// How it is framed.
    pub framing: Framing,
    /// What they read; others get a job of their own.
    pub reads: Reads,
    /// Only functions, no keys.
    pub functions_only: bool,
    /// Where the stream stood at the snapshot.
    pub offset: i64,
    /// What a replica is told that asked with PSYNC.
    greeting: Vec<u8>,
}

/// How far a write has come at a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Executed.
    Applied,
    /// Synced to its append-only file.
    Synced,
}

/// A replica.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its connection.
    pub link: LinkId,
    /// What it said.
    pub announced: Announced,
    /// Its socket's address.
    pub peer_ip: String,
    /// Where it stands.
    pub state: State,
    /// The stream has been handed to its socket up to here.
    pub sent: i64,
    /// Whether the stream may be sent now.
    pub streaming: bool,
    /// The offset it acknowledged.
    pub ack_offset: i64,
    /// The offset up to which its append-only file is synced; 0 when it has none.
    pub synced_offset: i64,
    /// When it last acknowledged, ms.
    pub ack_ms: i64,
    /// When its socket last took something of the payload, or had nothing to take, ms.
    payload_ms: i64,
    /// Asked with SYNC: never acknowledges and reads no `+FULLRESYNC`.
    pub old: bool,
    /// Since when it waits for a snapshot.
    waits_since_ms: i64,
    /// Since when it is over the soft limit of its output.
    over_soft_since_ms: Option<i64>,
}

impl Replica {
    /// The address to show: announced, or the socket's.
    pub fn ip(&self) -> std::borrow::Cow<'_, str> {
        if self.announced.ip.is_empty() {
            self.peer_ip.as_str().into()
        } else {
            String::from_utf8_lossy(&self.announced.ip)
        }
    }

    /// `ip:port`, for the log.
    pub fn name(&self) -> String {
        let ip = self.ip();
        match self.announced.port {
            0 => format!("{ip}:<unknown-replica-port>"),
            port if ip.contains(':') => format!("[{ip}]:{port}"),
            port => format!("{ip}:{port}"),
        }
    }

    /// Seconds since it was heard, as INFO shows them: 0 until it is online, and for a peer
    /// that never acknowledges.
    pub fn lag_s(&self, now: i64) -> i64 {
        let counts = self.state == State::Online && !self.old;
        if counts {
            now.saturating_sub(self.ack_ms).max(0) / 1000
        } else {
            0
        }
    }
}

/// Settings of this side.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `repl-ping-replica-period`, seconds.
    pub ping_period_s: i64,
    /// `repl-timeout`, seconds.
    pub timeout_s: i64,
    /// `repl-backlog-ttl`, seconds; 0: for ever.
    pub backlog_ttl_s: i64,
    /// `repl-diskless-sync`.
    pub diskless: bool,
    /// `repl-diskless-sync-delay`, seconds.
    pub diskless_delay_s: i64,
    /// `repl-diskless-sync-max-replicas`; 0: none.
    pub diskless_max_replicas: usize,
    /// `min-replicas-max-lag`, seconds.
    pub min_replicas_max_lag_s: i64,
    /// `client-output-buffer-limit replica`: hard bytes, soft bytes, soft seconds; 0: none.
    pub output_limit: (i64, i64, i64),
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ping_period_s: 10,
            timeout_s: 60,
            backlog_ttl_s: 3600,
            diskless: true,
            diskless_delay_s: 5,
            diskless_max_replicas: 0,
            min_replicas_max_lag_s: 10,
            output_limit: (256 << 20, 64 << 20, 60),
        }
    }
}

/// The replicas of this node.
#[derive(Debug, Default)]
pub struct Source {
    replicas: Vec<Replica>,
    job: Option<Job>,
    jobs: u64,
}

impl Source {
    /// All replicas, in the order they came.
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// One replica.
    pub fn get(&self, link: LinkId) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.link == link)
    }

    fn get_mut(&mut self, link: LinkId) -> Option<&mut Replica> {
        self.replicas
            .iter_mut()
            .find(|replica| replica.link == link)
    }

    /// The job under way.
    pub fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    /// Attaches a replica that needs a full sync (`offset` none) or goes on from an offset.
    pub(super) fn attach(
        &mut self,
        link: LinkId,
        announced: Announced,
        peer_ip: String,
        old: bool,
        offset: Option<i64>,
        now: i64,
    ) {
        assert!(self.get(link).is_none(), "a replica is attached once");
        self.replicas.push(Replica {
            link,
            announced,
            peer_ip,
            state: if offset.is_some() {
                State::Online
            } else {
                State::WaitStart
            },
            sent: offset.unwrap_or(0),
            streaming: offset.is_some(),
            ack_offset: 0,
            synced_offset: 0,
            ack_ms: now,
            payload_ms: now,
            old,
            waits_since_ms: now,
            over_soft_since_ms: None,
        });
    }

    /// Puts an attached replica online: the stream goes on from `offset`.
    pub(super) fn online_from(&mut self, link: LinkId, offset: i64) {
        if let Some(replica) = self.get_mut(link) {
            replica.state = State::Online;
            replica.sent = offset;
            replica.streaming = true;
        }
    }

    /// Forgets a replica whose connection is gone. Whether it was one.
    pub fn detach(&mut self, link: LinkId) -> bool {
        let Some(at) = self
            .replicas
            .iter()
            .position(|replica| replica.link == link)
        else {
            return false;
        };
        let replica = self.replicas.remove(at);
        log::info!("Connection with replica {} lost.", replica.name());
        if let Some(job) = &mut self.job {
            job.links.retain(|other| *other != link);
        }
        true
    }

    /// Starts the next job when somebody waits, none runs, and the delay in which others may
    /// join is over. The caller takes the snapshot now, at `stream`'s offset. Returns the job
    /// and the greeting for each of its replicas.
    pub fn start_job(
        &mut self,
        stream: &mut Stream,
        id: &[u8],
        settings: &Settings,
        mark: [u8; ID_BYTES],
        now: i64,
    ) -> Option<(Job, Greetings)> {
        if self.job.is_some() {
            return None;
        }
        let waiting = || {
            self.replicas
                .iter()
                .filter(|replica| replica.state == State::WaitStart)
        };
        // Who wants only a part of the data set, or reads another dialect, gets a job of its own kind.
        let first = &waiting().next()?.announced;
        let (functions_only, reads) = (first.functions_only, first.reads());
        let alike = |replica: &&Replica| replica.announced.is_served_with(functions_only, reads);
        let diskless = settings.diskless && waiting().filter(alike).all(|one| one.announced.eof);
        if diskless {
            let oldest = waiting().map(|replica| replica.waits_since_ms).min()?;
            let joined = settings.diskless_max_replicas > 0
                && waiting().count() >= settings.diskless_max_replicas;
            if !joined && now.saturating_sub(oldest) < settings.diskless_delay_s * 1000 {
                return None;
            }
        }
        let target = if diskless { "replicas sockets" } else { "disk" };
        log::info!("Starting BGSAVE for SYNC with target: {target}");
        // The new ones do not know which database the stream is in.
        stream.force_select();
        self.jobs += 1;
        let (id, offset) = (String::from_utf8_lossy(id), stream.offset());
        let mut job = Job {
            id: self.jobs,
            links: Vec::new(),
            framing: if diskless {
                Framing::Mark(mark)
            } else {
                Framing::Length
            },
            reads,
            functions_only,
            offset,
            greeting: format!("+FULLRESYNC {id} {offset}\r\n").into_bytes(),
        };
        let greetings = self.take_waiting(&mut job, now);
        self.job = Some(job.clone());
        Some((job, greetings))
    }

    /// Replicas that came while the file of a job is being written share it: its stream from the snapshot on is kept
    /// for those that wait already. Returns what to write to each.
    pub fn join_job(&mut self, now: i64) -> Greetings {
        let Some(mut job) = self.job.take() else {
            return Vec::new();
        };
        let is_kept = |one: &Replica| one.state == State::WaitEnd && job.links.contains(&one.link);
        let greetings = match job.framing {
            Framing::Length if self.replicas.iter().any(is_kept) => {
                self.take_waiting(&mut job, now)
            }
            Framing::Length | Framing::Mark(_) => Vec::new(),
        };
        self.job = Some(job);
        greetings
    }

    /// Gives `job` to all that wait for such a one.
    fn take_waiting(&mut self, job: &mut Job, now: i64) -> Greetings {
        let mut greetings = Vec::new();
        for replica in &mut self.replicas {
            let joins = replica.state == State::WaitStart
                && replica
                    .announced
                    .is_served_with(job.functions_only, job.reads);
            if !joins {
                continue;
            }
            replica.state = State::WaitEnd;
            replica.sent = job.offset;
            replica.ack_ms = now;
            replica.payload_ms = now;
            let greeting = match replica.old {
                true => Vec::new(),
                false => job.greeting.clone(),
            };
            job.links.push(replica.link);
            greetings.push((replica.link, greeting));
        }
        greetings
    }

    /// The payload of job `id` is flowing.
    pub fn payload_started(&mut self, id: u64) {
        let Some(job) = self.job.as_ref().filter(|job| job.id == id) else {
            return;
        };
        if job.framing == Framing::Length {
            let links = job.links.clone();
            for link in links {
                if let Some(replica) = self.get_mut(link) {
                    replica.state = State::SendBulk;
                }
            }
        }
    }

    /// The replicas of the job whose payload is not complete yet.
    pub fn awaiting_payload(&self) -> Vec<LinkId> {
        let waits = |one: &&Replica| one.state == State::WaitEnd;
        self.replicas
            .iter()
            .filter(waits)
            .map(|one| one.link)
            .collect()
    }

    /// The payload of job `id` was handed to the sockets of all its replicas, or broke off.
    /// Returns the links to close: all of them after a failure, and those that wanted the
    /// snapshot only are the peer's to close.
    pub fn payload_ended(&mut self, id: u64, complete: bool, now: i64) -> Vec<LinkId> {
        if self.job.as_ref().is_none_or(|job| job.id != id) {
            return Vec::new();
        }
        let Some(job) = self.job.take() else {
            return Vec::new();
        };
        if !complete && job.links.is_empty() {
            return job.links;
        }
        if !complete {
            for _ in &job.links {
                log::warn!("SYNC failed. BGSAVE child returned an error");
            }
            return job.links;
        }
        if job.framing != Framing::Length {
            log::info!(
                "Diskless rdb transfer, done reading from pipe, {} replicas still up.",
                job.links.len()
            );
            log::info!("Background RDB transfer terminated with success");
        }
        for link in job.links {
            let Some(replica) = self.get_mut(link) else {
                continue;
            };
            let name = replica.name();
            replica.state = State::Online;
            replica.ack_ms = now;
            if job.framing != Framing::Length {
                log::info!(
                    "Streamed RDB transfer with replica {name} succeeded (socket). Waiting for \
                     REPLCONF ACK from replica to enable streaming"
                );
            }
            if replica.announced.rdb_only {
                log::info!(
                    "RDB transfer completed, rdb only replica ({name}) should be disconnected asap"
                );
                continue;
            }
            replica.streaming = job.framing == Framing::Length || replica.old;
            log::info!("Synchronization with replica {name} succeeded");
        }
        Vec::new()
    }

    /// REPLCONF ACK. Whether a WAIT may be satisfied now.
    pub fn acknowledge(&mut self, link: LinkId, offset: i64, now: i64) -> bool {
        let Some(replica) = self.get_mut(link) else {
            return false;
        };
        replica.ack_ms = now;
        let news = offset > replica.ack_offset;
        replica.ack_offset = replica.ack_offset.max(offset);
        if replica.state == State::Online && !replica.streaming && !replica.announced.rdb_only {
            replica.streaming = true;
        }
        news
    }

    /// The socket of `link` took bytes of the payload, or had taken all when it is given the next.
    pub fn payload_moves(&mut self, link: LinkId, now: i64) {
        if let Some(replica) = self.get_mut(link) {
            replica.payload_ms = now;
        }
    }

    /// A newline from a replica that loads its snapshot.
    pub fn alive(&mut self, link: LinkId, now: i64) {
        if let Some(replica) = self.get_mut(link) {
            replica.ack_ms = now;
        }
    }

    /// Where the socket of `link` must go on reading the stream; none while it must not.
    pub fn reads_from(&self, link: LinkId) -> Option<i64> {
        self.get(link)
            .filter(|replica| replica.streaming)
            .map(|replica| replica.sent)
    }

    /// Another `bytes` of the stream were handed to the socket.
    pub fn sent(&mut self, link: LinkId, bytes: usize) {
        if let Some(replica) = self.get_mut(link) {
            assert!(
                replica.streaming,
                "only a streaming replica is sent the stream"
            );
            replica.sent += bytes as i64;
        }
    }

    /// The oldest offset that a replica still has to read.
    pub fn needed_from(&self) -> Option<i64> {
        let holds =
            |replica: &&Replica| replica.state != State::WaitStart && !replica.announced.rdb_only;
        self.replicas
            .iter()
            .filter(holds)
            .map(|replica| replica.sent)
            .min()
    }

    /// REPLCONF ACK … FACK: the replica's append-only file is synced up to `offset`.
    pub fn acknowledge_synced(&mut self, link: LinkId, offset: i64) {
        if let Some(replica) = self.get_mut(link) {
            replica.synced_offset = replica.synced_offset.max(offset);
        }
    }

    /// Replicas at which the write at `offset` has come so far.
    pub fn acknowledged_count(&self, stage: Stage, offset: i64) -> usize {
        let has = |replica: &&Replica| {
            let reached = match stage {
                Stage::Applied => replica.ack_offset,
                Stage::Synced => replica.synced_offset,
            };
            replica.state == State::Online && reached >= offset
        };
        self.replicas.iter().filter(has).count()
    }

    /// Replicas that are online and not late (`min-replicas-max-lag`).
    pub fn good_count(&self, settings: &Settings, now: i64) -> usize {
        let good = |replica: &&Replica| {
            replica.state == State::Online
                && now.saturating_sub(replica.ack_ms) / 1000 <= settings.min_replicas_max_lag_s
        };
        self.replicas.iter().filter(good).count()
    }

    /// Replicas whose unsent stream is over `client-output-buffer-limit replica`. A limit below
    /// the backlog's size is raised to it: such a replica may read from the backlog anyway.
    pub fn over_limit(&mut self, stream: &Stream, settings: &Settings, now: i64) -> Vec<LinkId> {
        let (hard, soft, soft_s) = settings.output_limit;
        let backlog = stream.backlog_size();
        let mut over = Vec::new();
        for replica in &mut self.replicas {
            if replica.state == State::WaitStart || replica.announced.rdb_only {
                continue;
            }
            let unsent = stream.offset() - replica.sent;
            let mut close = hard > 0 && unsent > hard.max(backlog);
            if soft > 0 && unsent > soft.max(backlog) {
                let since = *replica.over_soft_since_ms.get_or_insert(now);
                close |= now.saturating_sub(since) > soft_s * 1000;
            } else {
                replica.over_soft_since_ms = None;
            }
            if close {
                log::warn!(
                    "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
                    replica.name()
                );
                over.push(replica.link);
            }
        }
        over
    }

    /// Replicas that were silent for longer than `repl-timeout`, and those whose socket has not taken anything of a
    /// streamed payload for so long while `unsent` says that there is something: they hold up the others.
    pub(super) fn timed_out(
        &self,
        settings: &Settings,
        unsent: impl Fn(LinkId) -> bool,
        now: i64,
    ) -> Vec<LinkId> {
        let timeout_ms = settings.timeout_s * 1000;
        let streams = self
            .job
            .as_ref()
            .is_some_and(|job| job.framing != Framing::Length);
        let mut late = Vec::new();
        for replica in &self.replicas {
            let kind = match replica.state {
                State::Online
                    if !replica.old && now.saturating_sub(replica.ack_ms) > timeout_ms =>
                {
                    "streaming sync"
                }
                State::WaitEnd
                    if streams
                        && unsent(replica.link)
                        && now.saturating_sub(replica.payload_ms) > timeout_ms =>
                {
                    "full sync"
                }
                // Who receives a file says nothing until it is there, and holds nobody up.
                State::WaitStart | State::WaitEnd | State::SendBulk | State::Online => continue,
            };
            log::warn!(
                "Disconnecting timedout replica ({kind}): {}",
                replica.name()
            );
            late.push(replica.link);
        }
        late
    }

    /// Replicas that must be sent a newline so that they do not take us for dead.
    pub(super) fn waiting(&self) -> impl Iterator<Item = LinkId> {
        let file_is_written = self
            .job
            .as_ref()
            .is_some_and(|job| job.framing == Framing::Length);
        self.replicas
            .iter()
            .filter(move |replica| {
                replica.state == State::WaitStart
                    || (replica.state == State::WaitEnd && file_is_written)
            })
            .map(|replica| replica.link)
    }

    /// Takes all replicas off: their links must be closed.
    pub(super) fn drop_all(&mut self) -> Vec<LinkId> {
        self.job = None;
        let dropped = |replica: Replica| {
            log::info!("Connection with replica {} lost.", replica.name());
            replica.link
        };
        self.replicas.drain(..).map(dropped).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8] = b"0123456789abcdef0123456789abcdef01234567";

    fn announced() -> Announced {
        Announced {
            port: 7,
            eof: true,
            psync2: true,
            ..Announced::default()
        }
    }

    fn source(peers: &[Announced]) -> Source {
        let mut source = Source::default();
        for (index, peer) in peers.iter().enumerate() {
            source.attach(index, peer.clone(), "1.1.1.1".into(), false, None, 0);
        }
        source
    }

    #[test]
    fn options() {
        let mut peer = Announced::default();
        peer.set(b"listening-port", b"6380").unwrap();
        peer.set(b"IP-address", b"10.0.0.1").unwrap();
        peer.set(b"capa", b"eof").unwrap();
        peer.set(b"capa", b"psync2").unwrap();
        peer.set(b"capa", b"dual-channel").unwrap();
        peer.set(b"rdb-only", b"1").unwrap();
        peer.set(b"rdb-filter-only", b"functions").unwrap();
        peer.set(b"version", b"9.1.2").unwrap();
        assert_eq!(
            peer,
            Announced {
                port: 6380,
                ip: b"10.0.0.1".to_vec(),
                eof: true,
                psync2: true,
                rdb_only: true,
                functions_only: true,
                valkey_version: 0x090102,
                redoxide: false,
                rdb_channel: false,
            }
        );
        assert_eq!(peer.reads(), Reads::Valkey);
        peer.set(b"capa", OWN_KIND).unwrap();
        assert_eq!(
            peer.reads(),
            Reads::Redis,
            "it only says what it could read"
        );
        let mut redis = Announced::default();
        redis.set(b"capa", b"psync2").unwrap();
        assert_eq!(redis.reads(), Reads::Old);
        redis.set(b"capa", b"rdb-channel-repl").unwrap();
        assert_eq!(redis.reads(), Reads::Redis);
        let refusals: [(&[u8], &[u8], &str); 6] = [
            (
                b"listening-port",
                b"x",
                "ERR value is not an integer or out of range",
            ),
            (
                b"listening-port",
                b"70000",
                "ERR value is not an integer or out of range",
            ),
            (
                b"rdb-only",
                b"2",
                "ERR value is out of range, value must between 0 and 1",
            ),
            (
                b"rdb-filter-only",
                b"keys",
                "ERR Unsupported rdb-filter-only option: keys",
            ),
            (b"version", b"9.1", "ERR Unrecognized version format: 9.1"),
            (b"foo", b"1", "ERR Unrecognized REPLCONF option: foo"),
        ];
        for (option, value, text) in refusals {
            assert_eq!(peer.set(option, value).unwrap_err().to_string(), text);
        }
        let error = peer.set(b"ip-address", &[b'1'; 46]).unwrap_err();
        assert!(error.to_string().ends_with("too long: 46 bytes"));
    }

    #[test]
    fn replicas_share_a_snapshot_after_the_delay() {
        let settings = Settings::default();
        let mut stream = Stream::new(1 << 20);
        stream.activate();
        stream.append_raw(b"12345");
        let mut source = source(&[announced(), announced()]);
        assert_eq!(
            source.start_job(&mut stream, ID, &settings, [b'm'; 40], 4999),
            None
        );
        let (job, greetings) = source
            .start_job(&mut stream, ID, &settings, [b'm'; 40], 5000)
            .unwrap();
        assert_eq!(
            (job.links.as_slice(), job.framing),
            (&[0, 1][..], Framing::Mark([b'm'; 40]))
        );
        let greeting = [b"+FULLRESYNC ", ID, b" 5\r\n"].concat();
        assert_eq!(greetings, [(0, greeting.clone()), (1, greeting)]);
        // A third comes too late for this one.
        source.attach(2, announced(), String::new(), false, None, 5000);
        assert_eq!(
            source.start_job(&mut stream, ID, &settings, [b'n'; 40], 99_000),
            None
        );
        stream.append_raw(b"678");
        assert_eq!(source.needed_from(), Some(5));
        source.payload_started(job.id);
        assert_eq!(source.get(0).unwrap().state, State::WaitEnd);
        // One whose socket takes nothing holds up the other.
        source.payload_moves(0, 60_000);
        assert!(source.timed_out(&settings, |_| false, 90_000).is_empty());
        assert_eq!(source.timed_out(&settings, |_| true, 90_000), [1]);
        assert!(source.detach(1));
        assert!(source.payload_ended(job.id, true, 6000).is_empty());
        assert_eq!(source.reads_from(0), None);
        assert_eq!(source.acknowledged_count(Stage::Applied, 0), 1);
        assert!(source.acknowledge(0, 5, 7000));
        assert_eq!(source.reads_from(0), Some(5));
        source.sent(0, 3);
        assert_eq!(
            (
                source.reads_from(0),
                source.acknowledged_count(Stage::Applied, 6)
            ),
            (Some(8), 0)
        );
        assert!(source.acknowledge(0, 8, 7500));
        assert!(!source.acknowledge(0, 8, 7500));
        assert_eq!(source.acknowledged_count(Stage::Applied, 8), 1);
        assert_eq!(
            (
                source.get(0).unwrap().lag_s(9600),
                source.get(2).unwrap().lag_s(9600)
            ),
            (2, 0)
        );
        let (job, _) = source
            .start_job(&mut stream, ID, &settings, [b'n'; 40], 99_000)
            .unwrap();
        assert_eq!(job.links, [2]);
        assert_eq!(source.payload_ended(job.id, false, 99_000), [2]);
        assert!(source.payload_ended(job.id, false, 99_000).is_empty());
    }

    #[test]
    fn a_peer_without_marks_gets_a_length() {
        let settings = Settings::default();
        let mut stream = Stream::new(1 << 20);
        stream.activate();
        let mut source = source(&[Announced {
            eof: false,
            ..announced()
        }]);
        let (job, _) = source
            .start_job(&mut stream, ID, &settings, [b'm'; 40], 0)
            .unwrap();
        assert_eq!(job.framing, Framing::Length);
        assert_eq!(source.waiting().collect::<Vec<_>>(), [0]);
        // A second shares the file as long as it is being written, a third comes too late.
        stream.append_raw(b"12345");
        source.attach(1, announced(), String::new(), false, None, 10);
        let greeting = [b"+FULLRESYNC ", ID, b" 0\r\n"].concat();
        assert_eq!(source.join_job(10), [(1, greeting)]);
        assert_eq!(source.job().unwrap().links, [0, 1]);
        source.payload_started(job.id);
        source.attach(2, announced(), String::new(), false, None, 20);
        assert!(source.join_job(20).is_empty());
        assert!(source.detach(2));
        assert_eq!(source.needed_from(), Some(0));
        assert_eq!(source.get(0).unwrap().state.name(), "send_bulk");
        assert_eq!(source.waiting().count(), 0);
        source.payload_ended(job.id, true, 0);
        assert_eq!(source.reads_from(0), Some(0));
    }

    #[test]
    fn limits() {
        let settings = Settings {
            output_limit: (3000, 2000, 1),
            ..Settings::default()
        };
        let mut stream = Stream::new(1000);
        stream.activate();
        let mut source = Source::default();
        source.attach(1, announced(), String::new(), false, Some(0), 0);
        stream.append_raw(&[0; 2500]);
        assert!(source.over_limit(&stream, &settings, 0).is_empty());
        assert!(source.over_limit(&stream, &settings, 1000).is_empty());
        assert_eq!(source.over_limit(&stream, &settings, 1001), [1]);
        stream.append_raw(&[0; 501]);
        assert_eq!(source.over_limit(&stream, &settings, 0), [1]);
        source.sent(1, 3001);
        assert!(source.over_limit(&stream, &settings, 5000).is_empty());
        assert_eq!(source.good_count(&settings, 10_999), 1);
        assert_eq!(source.good_count(&settings, 11_000), 0);
        assert!(source.timed_out(&settings, |_| false, 60_000).is_empty());
        assert_eq!(source.timed_out(&settings, |_| false, 60_001), [1]);
        source.alive(1, 60_001);
        assert!(source.timed_out(&settings, |_| false, 60_001).is_empty());
    }
}
