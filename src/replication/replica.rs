//! The replica's side of a link: handshake, choice of synchronisation, payload framing.
//!
//! [`MasterLink`] is told what happened (`connected`, bytes, the time) and says what to do; it
//! holds no socket and never more than one reply line of input. The caller owns the data set:
//! it feeds [`Event::Payload`] to a loader, and from [`Event::Stream`] on parses and executes.
//!
//! ```text
//! Connect → Connecting → Ping → Options → Psync ─+CONTINUE──────────────────────→ Connected
//!    ↑                                      └─+FULLRESYNC→ Header → Payload → Loading ↑
//!    └──────────────── lost(), after a second or at once ─────────────────────────────┘
//! ```
//!
//! What a peer can send is bounded: a reply line by [`LINE_BYTES_MAX`]; payload and stream are
//! passed through as slices of the caller's buffer.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::id::{ID_BYTES, Id};
use super::source::OWN_KIND;
use super::stream::{OFFSET_MAX, push_command};

/// Longest reply line taken from a master.
pub const LINE_BYTES_MAX: usize = 1024;
/// How long after a failed attempt the next one starts.
const RETRY_MS: i64 = 1000;
/// Between acknowledgements, and between the newlines sent during a load.
const ACK_PERIOD_MS: i64 = 1000;
/// After a full sync the acknowledgements begin at this distance, which doubles with each until the stream flows.
///
/// A master that streams its snapshot sends what follows only behind an acknowledgement that comes when it has reaped
/// its child, and it does not say when that is. The one sent when the load ends is often too early, and the next
/// periodic one would leave this replica a second behind.
const FIRST_ACK_PERIOD_MS: i64 = 5;
/// The Valkey release whose dialect of the snapshot we read: without it such a master cannot send what Redis's dialect
/// has no form for (fields with a time to live).
const VALKEY_VERSION: &[u8] = b"9.0.0";

/// Where the link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Must connect.
    Connect,
    /// The socket is being connected.
    Connecting,
    /// PING was sent.
    Ping,
    /// AUTH and REPLCONF were sent; their replies are coming.
    Options,
    /// PSYNC was sent.
    Psync,
    /// SYNC was sent, or a full sync announced: the payload's first line is coming.
    Header,
    /// The snapshot is coming.
    Payload,
    /// The snapshot is here and being loaded.
    Loading,
    /// The write stream is applied.
    Connected,
}

impl State {
    /// ROLE's word.
    pub fn name(self) -> &'static str {
        match self {
            State::Connect => "connect",
            State::Connecting => "connecting",
            State::Ping | State::Options | State::Psync => "handshake",
            State::Header | State::Payload | State::Loading => "sync",
            State::Connected => "connected",
        }
    }
}

/// Settings of the handshake, read when a connection starts.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `masteruser`; empty for the default user.
    pub user: Vec<u8>,
    /// `masterauth`; empty for none.
    pub password: Vec<u8>,
    /// `replica-announce-port`, or the port we listen on.
    pub port: u16,
    /// `replica-announce-ip`; empty for none.
    pub ip: Vec<u8>,
}

/// Which reply of the options comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Auth,
    Port,
    Ip,
    Capabilities,
    Version,
}

/// Where the payload ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Framing {
    /// After so many more bytes.
    Length(u64),
    /// Behind this mark, of which the last `matched` bytes of input were the beginning.
    Mark {
        mark: [u8; ID_BYTES],
        matched: usize,
    },
}

/// What the caller must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing; when no byte was taken either, wait for more.
    Nothing,
    /// Write to the master.
    Send(Vec<u8>),
    /// A full synchronisation is coming; `origin` is absent for a master that only knows SYNC.
    FullSync {
        /// The master's id and offset at its snapshot.
        origin: Option<(Id, i64)>,
    },
    /// The payload begins; its size is known for a master that saved to disk.
    PayloadStart {
        /// Bytes to come.
        bytes: Option<u64>,
    },
    /// A part of the snapshot's file.
    Payload(Cow<'a, [u8]>),
    /// The payload is complete. Load it, then call [`MasterLink::loaded`]; bytes behind it stay
    /// in the caller's buffer until then.
    PayloadEnd,
    /// The link goes on where it was, under `id` when the master has a new one.
    Continue {
        /// The master's id.
        id: Option<Id>,
    },
    /// Bytes of the write stream.
    Stream(&'a [u8]),
    /// Close the socket and call `lost`.
    Fail,
}

/// What the time demands.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Open a connection to the master.
    Connect,
    /// Send REPLCONF ACK with the applied offset.
    Ack,
    /// Send one newline: a load must not look dead.
    Newline,
    /// The master was silent too long: close the socket and call `lost`.
    Fail,
}

/// A replica's link to its master.
#[derive(Debug)]
pub struct MasterLink {
    /// As given to REPLICAOF.
    pub host: Vec<u8>,
    /// As given to REPLICAOF.
    pub port: u16,
    state: State,
    settings: Settings,
    /// What to ask for: history and offset; none asks for a full sync.
    request: Option<(Id, i64)>,
    expected: VecDeque<Expected>,
    line: Vec<u8>,
    framing: Framing,
    /// Whether the announced full sync came from a master that knows PSYNC.
    psync: bool,
    last_io_ms: i64,
    last_ack_ms: i64,
    /// Until the next acknowledgement.
    ack_period_ms: i64,
    connect_at_ms: i64,
    /// When the link went down; 0 while it is up.
    down_since_ms: i64,
    /// Bytes of stream received, as an offset.
    read_offset: i64,
    /// The payload's size (0: unknown) and how much of it came.
    transfer: (u64, u64),
    /// Ask the master to step down for us (FAILOVER).
    failover: bool,
    /// It did not.
    refused: bool,
    /// The next attempt waits although the link was up.
    waits: bool,
}

impl MasterLink {
    /// A link that wants to connect at once.
    pub fn new(host: &[u8], port: u16, now: i64) -> MasterLink {
        MasterLink {
            host: host.to_vec(),
            port,
            state: State::Connect,
            settings: Settings::default(),
            request: None,
            expected: VecDeque::new(),
            line: Vec::new(),
            framing: Framing::Length(0),
            psync: false,
            last_io_ms: now,
            last_ack_ms: now,
            ack_period_ms: ACK_PERIOD_MS,
            connect_at_ms: now,
            down_since_ms: now,
            read_offset: 0,
            transfer: (0, 0),
            failover: false,
            refused: false,
            waits: false,
        }
    }

    /// Where the link stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the write stream is being applied.
    pub fn is_up(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether a full synchronisation is under way.
    pub fn is_syncing(&self) -> bool {
        matches!(self.state, State::Header | State::Payload | State::Loading)
    }

    /// When the master was last heard, ms.
    pub fn last_io_ms(&self) -> i64 {
        self.last_io_ms
    }

    /// Counts as heard now.
    pub fn heard(&mut self, now: i64) {
        self.last_io_ms = now;
    }

    /// When the link went down; `None` while it is up.
    pub fn down_since_ms(&self) -> Option<i64> {
        (!self.is_up()).then_some(self.down_since_ms)
    }

    /// Offset of what was received, applied or not.
    pub fn read_offset(&self) -> i64 {
        self.read_offset
    }

    /// Size of the payload (`None`: unknown) and bytes received of it.
    pub fn transfer(&self) -> (Option<u64>, u64) {
        (
            (self.transfer.0 > 0).then_some(self.transfer.0),
            self.transfer.1,
        )
    }

    /// Whether acknowledgements make sense: a master that only knows SYNC refuses them.
    pub fn acknowledges(&self) -> bool {
        self.is_up() && self.psync
    }

    /// `host:port`, for the log.
    pub fn address(&self) -> String {
        format!("{}:{}", String::from_utf8_lossy(&self.host), self.port)
    }

    /// The next PSYNC asks the master to hand over to us.
    pub fn request_failover(&mut self) {
        self.failover = true;
    }

    /// Whether the master has refused to.
    pub fn refused_failover(&self) -> bool {
        self.refused
    }

    /// The connection is being opened, to ask for `request` (history and applied offset).
    pub fn connecting(&mut self, request: Option<(Id, i64)>, settings: Settings, now: i64) {
        self.state = State::Connecting;
        self.request = request;
        self.settings = settings;
        self.last_io_ms = now;
        self.line.clear();
        self.expected.clear();
        log::info!("MASTER <-> REPLICA sync started");
    }

    /// The socket is connected: what to send first.
    pub fn connected(&mut self, now: i64) -> Vec<u8> {
        log::info!("Non blocking connect for SYNC fired the event.");
        self.state = State::Ping;
        self.last_io_ms = now;
        let mut out = Vec::new();
        push_command(&mut out, &[b"PING"]);
        out
    }

    /// The stream cannot be applied: it would break off again at once.
    pub fn retry_later(&mut self) {
        self.waits = true;
    }

    /// The peer closed the socket, or it broke: what that means at this point goes to the log.
    pub fn hung_up(&self) {
        const NO_REPLY: &str = "Failed to read response from the server: Success";
        match self.state {
            State::Ping | State::Options => {
                log::warn!("{NO_REPLY}");
                log::warn!("Master did not respond to command during SYNC handshake");
            }
            State::Psync => {
                log::warn!("{NO_REPLY}");
                log::warn!("Master did not reply to PSYNC, will try later");
            }
            State::Header => log::warn!("I/O error reading bulk count from MASTER: Success"),
            State::Payload => {
                log::warn!("I/O error trying to sync with MASTER: connection lost");
            }
            State::Connect | State::Connecting | State::Loading | State::Connected => {}
        }
    }

    /// The socket was closed, by either side. A link that was up tries again at once, one that
    /// was being set up after a second.
    pub fn lost(&mut self, now: i64) {
        if self.is_up() {
            log::info!("Connection with master lost.");
            self.down_since_ms = now;
            let wait_ms = if self.waits { RETRY_MS } else { 0 };
            self.connect_at_ms = now + wait_ms;
        } else {
            self.connect_at_ms = now + RETRY_MS;
        }
        self.state = State::Connect;
        self.waits = false;
        self.line = Vec::new();
        self.transfer = (0, 0);
        self.failover = false;
    }

    /// The snapshot is loaded: the stream follows from `offset`.
    pub fn loaded(&mut self, offset: i64, now: i64) {
        assert_eq!(self.state, State::Loading, "loaded() answers PayloadEnd");
        self.online(offset, now);
        self.ack_period_ms = FIRST_ACK_PERIOD_MS;
        log::info!("MASTER <-> REPLICA sync: Finished with success");
    }

    fn online(&mut self, offset: i64, now: i64) {
        self.state = State::Connected;
        self.read_offset = offset;
        self.last_io_ms = now;
        self.last_ack_ms = now;
        self.ack_period_ms = ACK_PERIOD_MS;
        self.transfer = (0, 0);
        self.failover = false;
    }

    /// Whether a lost link is to be connected again at this instant.
    pub fn reconnects_at(&self, now: i64) -> bool {
        self.state == State::Connect && self.connect_at_ms <= now
    }

    /// Records that an acknowledgement was sent.
    pub fn acknowledged(&mut self, now: i64) {
        self.last_ack_ms = now;
        self.ack_period_ms = (self.ack_period_ms * 2).min(ACK_PERIOD_MS);
    }

    /// In how many milliseconds the next acknowledgement is due while they come faster than [`MasterLink::timer`] is
    /// asked: after a full sync, until the stream flows.
    pub fn early_ack_in(&self, now: i64) -> Option<i64> {
        let early = self.acknowledges() && self.ack_period_ms < ACK_PERIOD_MS;
        // A clock that was set back must not put it off.
        let passed = now.saturating_sub(self.last_ack_ms).max(0);
        early.then(|| (self.ack_period_ms - passed).max(0))
    }

    /// What the time demands; `timeout_ms` is `repl-timeout`.
    pub fn timer(&mut self, now: i64, timeout_ms: i64) -> Due {
        let silent = now.saturating_sub(self.last_io_ms) > timeout_ms;
        let ack_due = now.saturating_sub(self.last_ack_ms) >= ACK_PERIOD_MS;
        match self.state {
            State::Connect if now >= self.connect_at_ms => {
                self.connect_at_ms = now + RETRY_MS;
                Due::Connect
            }
            State::Connecting | State::Ping | State::Options | State::Psync | State::Header
                if silent =>
            {
                log::warn!("Timeout connecting to the MASTER...");
                Due::Fail
            }
            State::Payload if silent => {
                log::warn!(
                    "Timeout receiving bulk data from MASTER... If the problem persists try to set \
                     the 'repl-timeout' parameter in redis.conf to a larger value."
                );
                Due::Fail
            }
            State::Connected if silent => {
                log::warn!("MASTER timeout: no data nor PING received...");
                Due::Fail
            }
            State::Connected if ack_due && self.psync => {
                self.last_ack_ms = now;
                Due::Ack
            }
            State::Loading | State::Payload if ack_due => {
                self.last_ack_ms = now;
                Due::Newline
            }
            State::Connect
            | State::Connecting
            | State::Ping
            | State::Options
            | State::Psync
            | State::Header
            | State::Payload
            | State::Loading
            | State::Connected => Due::Nothing,
        }
    }

    /// Takes some bytes off the front of `input`: how many, and what they mean. To be called
    /// again with the rest until it takes none and says [`Event::Nothing`].
    pub fn advance<'a>(&mut self, input: &'a [u8], now: i64) -> (usize, Event<'a>) {
        if input.is_empty() {
            return (0, Event::Nothing);
        }
        self.last_io_ms = now;
        match self.state {
            State::Connect | State::Connecting | State::Loading => (0, Event::Nothing),
            State::Ping | State::Options | State::Psync | State::Header => {
                let Some(end) = memchr::memchr(b'\n', input) else {
                    if self.line.len() + input.len() > LINE_BYTES_MAX {
                        log::warn!("I/O error reading a reply of the master: line too long");
                        return (input.len(), Event::Fail);
                    }
                    self.line.extend_from_slice(input);
                    return (input.len(), Event::Nothing);
                };
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&input[..end]);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                if line.len() > LINE_BYTES_MAX {
                    log::warn!("I/O error reading a reply of the master: line too long");
                    return (end + 1, Event::Fail);
                }
                (end + 1, self.reply(&line))
            }
            State::Payload => self.payload(input),
            State::Connected => {
                self.read_offset += input.len() as i64;
                self.ack_period_ms = ACK_PERIOD_MS;
                (input.len(), Event::Stream(input))
            }
        }
    }

    fn reply(&mut self, line: &[u8]) -> Event<'static> {
        // An empty line says that the peer is alive and busy.
        if line.is_empty() {
            return Event::Nothing;
        }
        match self.state {
            State::Ping => self.ping_reply(line),
            State::Options => self.options_reply(line),
            State::Psync => self.psync_reply(line),
            State::Header => self.header(line),
            State::Connect
            | State::Connecting
            | State::Payload
            | State::Loading
            | State::Connected => Event::Nothing,
        }
    }

    fn ping_reply(&mut self, line: &[u8]) -> Event<'static> {
        // Whoever wants a password first is told it next.
        let usable = line.starts_with(b"+")
            || line.starts_with(b"-NOAUTH")
            || line.starts_with(b"-NOPERM")
            || line.starts_with(b"-ERR operation not permitted");
        if !usable {
            log::warn!("Error reply to PING from master: '{}'", text(line));
            return Event::Fail;
        }
        log::info!("Master replied to PING, replication can continue...");
        let settings = &self.settings;
        let mut out = Vec::new();
        if !settings.password.is_empty() {
            if settings.user.is_empty() {
                push_command(&mut out, &[b"AUTH", &settings.password]);
            } else {
                push_command(&mut out, &[b"AUTH", &settings.user, &settings.password]);
            }
            self.expected.push_back(Expected::Auth);
        }
        let port = settings.port.to_string();
        push_command(&mut out, &[b"REPLCONF", b"listening-port", port.as_bytes()]);
        self.expected.push_back(Expected::Port);
        if !settings.ip.is_empty() {
            push_command(&mut out, &[b"REPLCONF", b"ip-address", &settings.ip]);
            self.expected.push_back(Expected::Ip);
        }
        push_command(
            &mut out,
            &[
                b"REPLCONF",
                b"capa",
                b"eof",
                b"capa",
                b"psync2",
                b"capa",
                OWN_KIND,
            ],
        );
        self.expected.push_back(Expected::Capabilities);
        push_command(&mut out, &[b"REPLCONF", b"version", VALKEY_VERSION]);
        self.expected.push_back(Expected::Version);
        self.state = State::Options;
        Event::Send(out)
    }

    fn options_reply(&mut self, line: &[u8]) -> Event<'static> {
        let refused = line.starts_with(b"-");
        let option = match self.expected.pop_front() {
            Some(Expected::Auth) if refused => {
                log::warn!("Unable to AUTH to MASTER: {}", text(line));
                return Event::Fail;
            }
            Some(Expected::Auth) => "AUTH",
            Some(Expected::Port) => "listening-port",
            Some(Expected::Ip) => "ip-address",
            Some(Expected::Capabilities) | None => "capa",
            Some(Expected::Version) => "version",
        };
        // Only a Valkey knows what the version is for.
        if refused && option != "version" {
            log::info!(
                "(Non critical) Master does not understand REPLCONF {option}: {}",
                text(line)
            );
        }
        if !self.expected.is_empty() {
            return Event::Nothing;
        }
        self.state = State::Psync;
        let mut out = Vec::new();
        match self.request {
            Some((id, offset)) => {
                let next = (offset + 1).to_string();
                log::info!("Trying a partial resynchronization (request {id}:{next}).");
                let mut argv = vec![b"PSYNC".as_slice(), id.as_bytes(), next.as_bytes()];
                if self.failover {
                    argv.push(b"FAILOVER");
                }
                push_command(&mut out, &argv);
            }
            None => {
                log::info!("Partial resynchronization not possible (no cached master)");
                push_command(&mut out, &[b"PSYNC", b"?", b"-1"]);
            }
        }
        Event::Send(out)
    }

    fn psync_reply(&mut self, line: &[u8]) -> Event<'static> {
        if let Some(rest) = line.strip_prefix(b"+FULLRESYNC") {
            self.state = State::Header;
            let mut words = rest
                .split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty());
            let id = words.next().and_then(Id::parse);
            let offset = words.next().and_then(offset);
            let (Some(id), Some(offset)) = (id, offset) else {
                log::warn!("Master replied with wrong +FULLRESYNC syntax.");
                return Event::Fail;
            };
            log::info!("Full resync from master: {id}:{offset}");
            self.psync = true;
            return Event::FullSync {
                origin: Some((id, offset)),
            };
        }
        if let Some(rest) = line.strip_prefix(b"+CONTINUE") {
            let Some((_, offset)) = self.request else {
                log::warn!("Unexpected reply to PSYNC from master: {}", text(line));
                return Event::Fail;
            };
            log::info!("Successful partial resynchronization with master.");
            let word = rest.trim_ascii();
            let id = Id::parse(word);
            if id.is_none() && !word.is_empty() {
                log::warn!("Master replied with wrong +CONTINUE syntax.");
                return Event::Fail;
            }
            self.psync = true;
            let now = self.last_io_ms;
            self.online(offset, now);
            return Event::Continue { id };
        }
        if self.failover {
            log::warn!("Master refuses to hand over: {}", text(line));
            self.refused = true;
            return Event::Fail;
        }
        if line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING") {
            log::info!(
                "Master is currently unable to PSYNC but should be in the future: {}",
                text(line)
            );
            return Event::Fail;
        }
        if line.starts_with(b"-ERR") {
            log::info!(
                "Master does not support PSYNC or is in error state (reply: {})",
                text(line)
            );
        } else {
            log::warn!("Unexpected reply to PSYNC from master: {}", text(line));
        }
        log::info!("Retrying with SYNC...");
        self.psync = false;
        self.state = State::Header;
        Event::Send(b"SYNC\r\n".to_vec())
    }

    fn header(&mut self, line: &[u8]) -> Event<'static> {
        if line.starts_with(b"-") {
            log::warn!(
                "MASTER aborted replication with an error: {}",
                text(&line[1..])
            );
            return Event::Fail;
        }
        let Some(size) = line.strip_prefix(b"$") else {
            log::warn!(
                "Bad protocol from MASTER, the first byte is not '$' (we received '{}'), are you \
                 sure the host and port are right?",
                text(line)
            );
            return Event::Fail;
        };
        let bytes = if let Some(mark) = size.strip_prefix(b"EOF:") {
            let Ok(mark) = <[u8; ID_BYTES]>::try_from(mark) else {
                log::warn!("Bad protocol from MASTER: wrong end mark '{}'", text(line));
                return Event::Fail;
            };
            self.framing = Framing::Mark { mark, matched: 0 };
            log::info!(
                "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to parser"
            );
            None
        } else {
            let Some(bytes) = offset(size) else {
                log::warn!(
                    "Bad protocol from MASTER: wrong payload size '{}'",
                    text(line)
                );
                return Event::Fail;
            };
            let bytes = bytes.unsigned_abs();
            self.framing = Framing::Length(bytes);
            log::info!("MASTER <-> REPLICA sync: receiving {bytes} bytes from master to parser");
            Some(bytes)
        };
        self.transfer = (bytes.unwrap_or(0), 0);
        self.state = State::Payload;
        Event::PayloadStart { bytes }
    }

    fn payload<'a>(&mut self, input: &'a [u8]) -> (usize, Event<'a>) {
        let (used, event) = match &mut self.framing {
            Framing::Length(0) => (0, Event::PayloadEnd),
            Framing::Length(left) => {
                let count = input
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                (count, Event::Payload(Cow::Borrowed(&input[..count])))
            }
            Framing::Mark { mark, matched } => until_mark(mark, matched, input),
        };
        match &event {
            Event::PayloadEnd => self.state = State::Loading,
            Event::Payload(part) => self.transfer.1 += part.len() as u64,
            Event::Nothing
            | Event::Send(_)
            | Event::FullSync { .. }
            | Event::PayloadStart { .. }
            | Event::Continue { .. }
            | Event::Stream(_)
            | Event::Fail => {}
        }
        (used, event)
    }

    /// A payload of known size that is complete ends without another byte: to be asked after
    /// the last [`MasterLink::advance`].
    pub fn payload_complete(&mut self) -> bool {
        let complete = self.state == State::Payload && self.framing == Framing::Length(0);
        if complete {
            self.state = State::Loading;
        }
        complete
    }
}

/// Splits payload from its end mark, wherever the input is cut. `matched` bytes of the mark were
/// held back from the previous input.
fn until_mark<'a>(
    mark: &[u8; ID_BYTES],
    matched: &mut usize,
    input: &'a [u8],
) -> (usize, Event<'a>) {
    if *matched > 0 {
        let wanted = &mark[*matched..];
        let count = wanted.len().min(input.len());
        if wanted[..count] == input[..count] {
            *matched += count;
            let event = if *matched == ID_BYTES {
                Event::PayloadEnd
            } else {
                Event::Nothing
            };
            return (count, event);
        }
        // Give back the shortest part such that what stays held may still begin the mark.
        let keep = (0..*matched)
            .rev()
            .find(|keep| mark[..*keep] == mark[*matched - keep..*matched])
            .unwrap_or(0);
        let given = mark[..*matched - keep].to_vec();
        *matched = keep;
        return (0, Event::Payload(Cow::Owned(given)));
    }
    if input.starts_with(mark) {
        return (ID_BYTES, Event::PayloadEnd);
    }
    if let Some(at) = memchr::memmem::find(input, mark) {
        return (at, Event::Payload(Cow::Borrowed(&input[..at])));
    }
    let held = (1..ID_BYTES.min(input.len() + 1))
        .rev()
        .find(|held| input.ends_with(&mark[..*held]))
        .unwrap_or(0);
    *matched = held;
    let part = &input[..input.len() - held];
    let event = if part.is_empty() {
        Event::Nothing
    } else {
        Event::Payload(Cow::Borrowed(part))
    };
    (input.len(), event)
}

/// A decimal number from 0 to [`OFFSET_MAX`].
fn offset(word: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(word).ok()?;
    (!digits.starts_with('+'))
        .then(|| digits.parse::<i64>().ok())?
        .filter(|value| (0..=OFFSET_MAX).contains(value))
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(256)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "ffff456789abcdef0123456789abcdef0123ffff";

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        sent: String,
        full: Option<Option<(Id, i64)>>,
        size: Option<Option<u64>>,
        payload: Vec<u8>,
        ended: bool,
        continued: Option<Option<Id>>,
        stream: Vec<u8>,
        failed: bool,
    }

    /// Feeds `input` in pieces of `step` bytes.
    fn run(link: &mut MasterLink, input: &[u8], step: usize) -> Seen {
        let mut seen = Seen {
            sent: String::from_utf8(link.connected(0)).unwrap(),
            ..Seen::default()
        };
        let mut pending = Vec::new();
        for piece in input.chunks(step) {
            pending.extend_from_slice(piece);
            let mut from = 0;
            loop {
                let (used, event) = link.advance(&pending[from..], 5);
                let idle = used == 0 && event == Event::Nothing;
                match event {
                    Event::Nothing => {}
                    Event::Send(bytes) => seen.sent += &String::from_utf8(bytes).unwrap(),
                    Event::FullSync { origin } => seen.full = Some(origin),
                    Event::PayloadStart { bytes } => seen.size = Some(bytes),
                    Event::Payload(part) => seen.payload.extend_from_slice(&part),
                    Event::PayloadEnd => {
                        seen.ended = true;
                        link.loaded(100, 6);
                    }
                    Event::Continue { id } => seen.continued = Some(id),
                    Event::Stream(bytes) => seen.stream.extend_from_slice(bytes),
                    Event::Fail => {
                        seen.failed = true;
                        return seen;
                    }
                }
                from += used;
                if idle {
                    break;
                }
            }
            pending.drain(..from);
        }
        if link.payload_complete() {
            seen.ended = true;
            link.loaded(100, 6);
        }
        seen
    }

    fn link(request: Option<(Id, i64)>) -> MasterLink {
        let mut link = MasterLink::new(b"host", 1, 0);
        assert_eq!(link.timer(0, 60_000), Due::Connect);
        link.connecting(
            request,
            Settings {
                port: 7,
                ..Settings::default()
            },
            0,
        );
        link
    }

    fn every_cut(request: Option<(Id, i64)>, input: &[u8]) -> Seen {
        let whole = run(&mut link(request), input, input.len());
        for step in 1..input.len().min(120) {
            assert_eq!(run(&mut link(request), input, step), whole, "step {step}");
        }
        whole
    }

    #[test]
    fn full_sync_with_mark() {
        let id = Id::parse(ID.as_bytes()).unwrap();
        let mark = "aab".repeat(13) + "c";
        // Almost-marks inside the payload, and one right before the real one.
        let payload = format!("REDIS{}aaab{}", &mark[..39], &mark[..20]);
        let input = format!(
            "+PONG\r\n+OK\r\n-ERR what?\r\n-ERR version?\r\n\n\n+FULLRESYNC {ID} 100\r\n\n$EOF:{mark}\r\n{payload}{mark}*1\r\n$4\r\nPING\r\n"
        );
        let seen = every_cut(None, input.as_bytes());
        assert_eq!(seen.full, Some(Some((id, 100))));
        assert_eq!(seen.size, Some(None));
        assert_eq!(String::from_utf8(seen.payload).unwrap(), payload);
        assert!(seen.ended && !seen.failed);
        assert_eq!(seen.stream, b"*1\r\n$4\r\nPING\r\n");
        assert!(
            seen.sent
                .ends_with("*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n")
        );
        assert!(seen.sent.contains("listening-port\r\n$1\r\n7\r\n"));
    }

    #[test]
    fn full_sync_with_length() {
        let input = format!("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+FULLRESYNC {ID} 100\r\n$5\r\nREDISabc");
        let seen = every_cut(None, input.as_bytes());
        assert_eq!(seen.size, Some(Some(5)));
        assert_eq!(seen.payload, b"REDIS");
        assert_eq!(seen.stream, b"abc");
        let input = format!("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+FULLRESYNC {ID} 100\r\n$5\r\nREDIS");
        assert!(every_cut(None, input.as_bytes()).ended);
        let input = format!("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+FULLRESYNC {ID} 100\r\n$0\r\n");
        assert!(every_cut(None, input.as_bytes()).ended);
    }

    #[test]
    fn partial_sync() {
        let (id, other) = (
            Id::parse(ID.as_bytes()).unwrap(),
            Id::parse(OTHER.as_bytes()).unwrap(),
        );
        let input = format!("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+CONTINUE {OTHER}\r\nxyz");
        let seen = every_cut(Some((id, 41)), input.as_bytes());
        assert!(
            seen.sent
                .ends_with(&format!("PSYNC\r\n$40\r\n{ID}\r\n$2\r\n42\r\n"))
        );
        assert_eq!(seen.continued, Some(Some(other)));
        assert_eq!(seen.stream, b"xyz");
        let mut link = link(Some((id, 41)));
        run(
            &mut link,
            b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+CONTINUE\r\nxyz",
            3,
        );
        assert_eq!((link.read_offset(), link.is_up()), (44, true));
        link.lost(10);
        assert_eq!(
            (link.timer(10, 60_000), link.state()),
            (Due::Connect, State::Connect)
        );
    }

    #[test]
    fn old_master_gets_sync() {
        let input = b"+PONG\r\n-ERR a\r\n-ERR b\r\n-ERR c\r\n-ERR unknown command\r\n$3\r\nabcdef";
        let seen = every_cut(None, input);
        assert!(seen.sent.ends_with("SYNC\r\n"));
        assert_eq!(seen.full, None);
        assert_eq!(
            (seen.payload.as_slice(), seen.stream.as_slice()),
            (&b"abc"[..], &b"def"[..])
        );
    }

    #[test]
    fn authentication() {
        let settings = Settings {
            user: b"u".to_vec(),
            password: b"p w".to_vec(),
            port: 1,
            ip: b"1.2.3.4".to_vec(),
        };
        for (reply, failed) in [("+OK", false), ("-WRONGPASS no", true)] {
            let mut link = MasterLink::new(b"h", 1, 0);
            link.connecting(None, settings.clone(), 0);
            let seen = run(
                &mut link,
                format!("-NOAUTH x\r\n{reply}\r\n+OK\r\n").as_bytes(),
                1,
            );
            assert!(
                seen.sent
                    .contains("*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\np w\r\n")
            );
            assert!(seen.sent.contains("ip-address\r\n$7\r\n1.2.3.4\r\n"));
            assert_eq!(seen.failed, failed);
        }
    }

    #[test]
    fn refusals_end_the_link() {
        let ready = "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n";
        for input in [
            "-ERR bad".to_string() + "\r\n",
            "x".repeat(LINE_BYTES_MAX + 1),
            "x".repeat(LINE_BYTES_MAX + 1) + "\n",
            format!("{ready}-LOADING x\r\n"),
            format!("{ready}-NOMASTERLINK x\r\n"),
            format!("{ready}+CONTINUE {ID}\r\n"),
            format!("{ready}+FULLRESYNC zz 1\r\n"),
            format!("{ready}+FULLRESYNC {ID} -1\r\n"),
            format!("{ready}+FULLRESYNC {ID} {}\r\n", i64::MAX - 500),
            format!("{ready}+FULLRESYNC {ID} 5\r\nHTTP/1.1\r\n"),
            format!("{ready}+FULLRESYNC {ID} 5\r\n-ERR x\r\n"),
            format!("{ready}+FULLRESYNC {ID} 5\r\n$EOF:short\r\n"),
            format!("{ready}+FULLRESYNC {ID} 5\r\n$-1\r\n"),
            format!("{ready}+FULLRESYNC {ID} 5\r\n$99999999999999999999\r\n"),
        ] {
            let mut link = link(None);
            assert!(run(&mut link, input.as_bytes(), 7).failed, "{input}");
            link.lost(1000);
            assert_eq!(link.timer(1500, 60_000), Due::Nothing);
            assert_eq!(link.timer(2000, 60_000), Due::Connect);
        }
    }

    #[test]
    fn timers() {
        let id = Id::parse(ID.as_bytes()).unwrap();
        let mut link = link(Some((id, 41)));
        assert_eq!(link.timer(60_001, 60_000), Due::Fail);
        run(
            &mut link,
            b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+CONTINUE\r\n",
            100,
        );
        assert_eq!(link.timer(1005, 60_000), Due::Ack);
        assert_eq!(link.timer(1500, 60_000), Due::Nothing);
        assert_eq!(link.timer(60_006, 60_000), Due::Fail);
        assert_eq!(link.early_ack_in(1500), None, "it was no full sync");
        assert_eq!(link.down_since_ms(), None);
        link.lost(60_006);
        assert_eq!(link.down_since_ms(), Some(60_006));
    }

    #[test]
    fn a_loaded_replica_acknowledges_until_the_stream_flows() {
        let mut link = link(None);
        let input = format!("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+FULLRESYNC {ID} 100\r\n$0\r\n");
        assert!(run(&mut link, input.as_bytes(), 1000).ended);
        // Loaded at 6, as `run` says; the first acknowledgement is the caller's, at once.
        let (mut now, mut sent_at) = (6, Vec::new());
        link.acknowledged(now);
        while let Some(wait) = link.early_ack_in(now) {
            now += wait;
            sent_at.push(now - 6);
            link.acknowledged(now);
        }
        assert_eq!(sent_at, [10, 30, 70, 150, 310, 630, 1270]);
        assert_eq!(link.timer(now + 999, 60_000), Due::Nothing);
        assert_eq!(link.timer(now + 1000, 60_000), Due::Ack);
        link.ack_period_ms = FIRST_ACK_PERIOD_MS;
        assert_eq!(link.early_ack_in(now - 5000), Some(5), "the clock was set");
        link.advance(b"*1\r\n", now);
        assert_eq!(link.early_ack_in(now), None, "the stream flows");
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let mut link = link(None);
            let mut input = Vec::new();
            for _ in 0..40 {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let parts: [&[u8]; 8] = [
                    b"+PONG\r\n",
                    b"+OK\r\n",
                    b"+FULLRESYNC 0123456789abcdef0123456789abcdef01234567 1\r\n",
                    b"$EOF:0123456789abcdef0123456789abcdef01234567\r\n",
                    b"0123456789abcdef0123456789abcdef01234567",
                    b"$3\r\n",
                    b"\n",
                    b"-",
                ];
                input.extend_from_slice(parts[(state >> 40) as usize % 8]);
            }
            run(&mut link, &input, 1 + (state >> 50) as usize % 50);
        }
    }
}
