//! The loop: one slab owns every socket; readiness in, one read a link, one write a dirty link.
//!
//! A round: poll; accept and read what is ready (64 KiB a link; a link with more is queued and the
//! next poll does not block); let the machine end its round; write every dirty link once; carry out
//! the machine's actions. Sockets are edge-triggered and registered once for both directions, so:
//! a read shorter than the buffer means drained, *unless* the event said read-closed (then read on
//! to 0, the end, which waits for the round's write); whoever defers a read queues the link by hand (`unread`, or `held` until the machine lets it
//! be read again).
//!
//! What the loop does before it sleeps is [`super::wait`]'s.

use std::io::ErrorKind;
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::helper::Helper;
use super::host::OsHost;
use super::jobs::{Jobs, News};
use super::listen;
use super::logging::SIGNAL_HANDLER;
use super::resolve::Resolver;
use super::startup::{self, Prepared};
use super::sync::{Chunk, Transfer};
use super::wait::{Gather, Spin};
use crate::config::Config;
use crate::dispatch::{LinkFacts, Machine, Written};
use crate::engine::{Action, Host, LoadResult};
use crate::sys::clock;
use crate::sys::process::{Signals, Stop};
use crate::sys::socket::{receive, receive_onto, send};

/// Bytes read from a link in a round.
const READ_BYTES: usize = 64 * 1024;
/// Connections accepted from a listener in a round.
const ACCEPT_MAX: usize = 1000;
/// Chunks of a full synchronisation that are handed on in a round.
const SYNC_CHUNKS_MAX: usize = 8;
/// Events taken from a poll.
const EVENTS_MAX: usize = 1024;
/// The token by which helper threads end the loop's sleep; no slab index.
const WAKE: Token = Token(usize::MAX);

enum Socket {
    Signals(UnixStream),
    TcpListener(TcpListener),
    UnixListener(UnixListener),
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// A connection's, to receive from and send to; the others have none.
    #[inline]
    fn stream(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Socket::Tcp(socket) => Some(socket.as_fd()),
            Socket::Unix(socket) => Some(socket.as_fd()),
            Socket::TcpListener(_) | Socket::UnixListener(_) | Socket::Signals(_) => None,
        }
    }
}

struct Link {
    socket: Socket,
    /// Queued in `unread`.
    queued: bool,
    /// An event said that the peer has closed its side: read on to 0.
    read_closed: bool,
    /// The connection, to the master or to a target of MIGRATE, is being made.
    connecting: bool,
    /// The socket took no more: what is left is written when an event says that it does again.
    full: bool,
    /// For [`Gather::read`].
    seen: u32,
}

/// The loop and all it owns.
pub struct Shell {
    poll: Poll,
    events: Events,
    links: Slab<Link>,
    machine: Machine,
    host: OsHost,
    signals: Signals,
    /// Drops what commands gave up: large values, flushed tables, ended snapshots' blocks.
    freeing: Helper,
    /// Encodes full synchronisations.
    syncing: Helper,
    jobs: Jobs,
    /// A signal has asked for a shutdown.
    stopping: bool,
    /// The first load has not ended: a failure ends the server.
    starting: bool,
    /// For helper threads.
    waker: Arc<Waker>,
    /// The full synchronisation under way.
    transfer: Option<Transfer>,
    /// Attempts to connect to a master.
    connects: usize,
    /// Addresses of MIGRATE's targets.
    resolver: Resolver,
    buffer: Box<[u8]>,
    /// Links that may have more to read than they were allowed.
    unread: Vec<usize>,
    /// Links that must not be read for now ([`Machine::read_limit`]).
    held: Vec<usize>,
    dirty: Vec<usize>,
    /// Links whose peer has ended, with output that was not tried yet.
    ended: Vec<usize>,
    gather: Gather,
    spin: Spin,
}

impl Shell {
    /// Opens the listeners and an empty machine.
    pub fn new(config: Config) -> Result<Shell, String> {
        let poll = Poll::new()
            .map_err(|error| format!("Failed creating the event loop. Error message: '{error}'"))?;
        let mut host = OsHost::default();
        host.under_systemd = startup::under_systemd(&config);
        let seed = host.entropy();
        let tcp = listen::tcp(&config, &[]).map_err(|text| {
            format!(
                "Failed listening on port {} (tcp), aborting. {text}",
                config.port
            )
        })?;
        let unix = listen::unix(&config)?;
        if tcp.is_empty() && unix.is_none() {
            // Every address was optional.
            return Err(startup::LISTENS_NOWHERE.to_owned());
        }
        let signals = Signals::install().map_err(|error| error.to_string())?;
        let receiver = signals
            .receiver()
            .try_clone()
            .map_err(|error| error.to_string())?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(|error| error.to_string())?;
        let waker = Arc::new(waker);
        let mut shell = Shell {
            waker: Arc::clone(&waker),
            transfer: None,
            connects: 0,
            resolver: Resolver::new(Arc::clone(&waker)),
            signals,
            freeing: Helper::start("free"),
            syncing: Helper::start("sync"),
            jobs: Jobs::new(waker),
            stopping: false,
            starting: false,
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            links: Slab::new(),
            machine: Machine::new(config, seed, &mut host)?,
            host,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            unread: Vec::new(),
            held: Vec::new(),
            dirty: Vec::new(),
            ended: Vec::new(),
            gather: Gather::default(),
            spin: Spin::new(),
        };
        shell
            .add(Socket::Signals(UnixStream::from_std(receiver)))
            .map_err(|error| error.to_string())?;
        shell.host.listening = listen::handles(&tcp);
        for listener in tcp {
            shell
                .add(Socket::TcpListener(listener))
                .map_err(|error| error.to_string())?;
        }
        if let Some(listener) = unix {
            shell
                .add(Socket::UnixListener(listener))
                .map_err(|error| error.to_string())?;
        }
        shell.machine.engine.start_replication();
        shell.machine.engine.startup_memory = shell.host.used_memory();
        Ok(shell)
    }

    /// Starts loading the file of the data set, if there is one.
    pub fn start_load(&mut self) -> Result<(), String> {
        if self.config().dbfilename.path().as_os_str().is_empty() {
            return Ok(());
        }
        let path = self.machine.engine.rdb_path();
        let opened = super::host::open(&path)
            .map_err(|text| format!("Fatal error loading the DB: {text}. Exiting."))?;
        let Some((file, bytes)) = opened else {
            return Ok(());
        };
        self.machine.begin_round(&mut self.host);
        let drop_due = !self.machine.engine.is_replica();
        self.machine.load_begins(bytes, drop_due);
        self.jobs
            .load(Box::new(file), self.machine.decode_options());
        self.starting = true;
        Ok(())
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.machine.engine.config
    }

    /// The machine and its outside world, for a crash report.
    pub fn parts(&mut self) -> (&mut Machine, &mut OsHost) {
        (&mut self.machine, &mut self.host)
    }

    /// Clients are served from now on.
    fn ready(&self, prepared: &Prepared) {
        prepared.ready(&self.machine.engine.config);
    }

    /// Hands helpers' news to the machine; true when there were some.
    fn take_news(&mut self) -> bool {
        let mut any = false;
        while let Some(news) = self.jobs.news(self.machine.wants_batch()) {
            any = true;
            match news {
                News::Saved(id, result) => self.machine.save_ended(id, result),
                News::Batch(batch) => {
                    let spare = self.machine.load_batch(batch);
                    self.jobs.reuse(spare);
                }
                News::LoadEnded(result) => self.machine.load_ends(result),
            }
        }
        any
    }

    /// Rounds until an action ends the process.
    pub fn run(&mut self, prepared: &Prepared) -> ExitCode {
        if !self.starting {
            self.ready(prepared);
        }
        clock::make_naps_exact();
        let mut sleep_ns = 0;
        loop {
            if let Err(error) = self.wait(sleep_ns) {
                log::error!("poll: {error}");
                return ExitCode::FAILURE;
            }
            self.machine.begin_round(&mut self.host);
            self.handle_events();
            self.read_queued();
            self.take_news();
            sleep_ns = self.machine.end_round(&mut self.host);
            if self.stopping && self.machine.engine.shutdown.is_none() {
                // It failed or was called off: the next SIGINT does not insist.
                self.stopping = false;
                self.signals.forgive();
            }
            if self.take_news() {
                sleep_ns = 0;
            }
            self.write_dirty();
            let more_to_sync = self.pump_sync();
            if let Some(code) = self.carry_out(prepared) {
                return code;
            }
            if self.open_targets() || self.machine.targets_have_room() {
                sleep_ns = 0;
            }
            if more_to_sync || !self.unread.is_empty() || self.release_held() {
                sleep_ns = 0;
            }
            self.machine.round_ended(&mut self.host);
        }
    }

    /// Polls for at most `sleep_ns`; after a busy round, naps or spins first when that pays.
    fn wait(&mut self, sleep_ns: u64) -> std::io::Result<()> {
        let busy = !self.events.is_empty();
        let config = &self.machine.engine.config;
        let nap_max_ns = config.io_nap_us as u64 * 1000;
        let spin_ns = config.io_spin_us as u64 * 1000;
        if busy && sleep_ns > nap_max_ns.max(spin_ns) {
            let start_ns = clock::monotonic_ns();
            let worked_ns = self.machine.engine.stats.totals.eventloop_ns;
            let found = match self.gather.nap_ns(start_ns, worked_ns, nap_max_ns) {
                Some(nap_ns) => self.nap(nap_ns)?,
                None if self.spin.worth_it(spin_ns) => self.spin(start_ns, spin_ns)?,
                None => false,
            };
            if found {
                return Ok(());
            }
        }
        self.poll_for(Duration::from_nanos(sleep_ns))
    }

    /// Polls before and after a nap; true when there was something.
    fn nap(&mut self, nap_ns: u64) -> std::io::Result<bool> {
        self.poll_for(Duration::ZERO)?;
        if self.events.is_empty() {
            clock::nap(nap_ns);
            self.poll_for(Duration::ZERO)?;
        }
        Ok(!self.events.is_empty())
    }

    /// Polls without blocking until there is something or `spin_ns` have passed; true when there was.
    fn spin(&mut self, start_ns: u64, spin_ns: u64) -> std::io::Result<bool> {
        loop {
            self.poll_for(Duration::ZERO)?;
            let taken_ns = clock::monotonic_ns() - start_ns;
            let found = !self.events.is_empty();
            if found || taken_ns >= spin_ns {
                self.spin.took(taken_ns, spin_ns);
                return Ok(found);
            }
        }
    }

    fn poll_for(&mut self, timeout: Duration) -> std::io::Result<()> {
        // Below a millisecond mio would round up; epoll sleeps in whole milliseconds.
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            other => other,
        }
    }

    fn handle_events(&mut self) {
        // Taken out so that links can be read and closed meanwhile.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let token = event.token().0;
            let Some(link) = self.links.get_mut(token) else {
                continue;
            };
            match link.socket {
                Socket::Signals(_) => self.signal(),
                Socket::TcpListener(_) | Socket::UnixListener(_) => self.accept(token),
                Socket::Tcp(_) if link.connecting => {
                    // The event may tell of what the peer said or of its hanging up as well.
                    link.read_closed |= event.is_read_closed() || event.is_error();
                    self.finish_connecting(token);
                    self.read(token);
                }
                Socket::Tcp(_) | Socket::Unix(_) => {
                    if event.is_read_closed() || event.is_error() {
                        link.read_closed = true;
                    }
                    if link.full && event.is_writable() {
                        link.full = false;
                        self.machine.engine.mark_dirty_if_unsent(token);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        self.read(token);
                    }
                }
            }
        }
        self.events = events;
    }

    /// SIGTERM or SIGINT arrived.
    fn signal(&mut self) {
        if let Some(stop) = self.signals.take() {
            let name = match stop {
                Stop::Terminate => "SIGTERM",
                Stop::Interrupt => "SIGINT",
            };
            match self.machine.engine.is_loading() {
                true => log::warn!("Received shutdown signal during loading, scheduling shutdown."),
                false => {
                    log::warn!(target: SIGNAL_HANDLER, "Received {name} scheduling shutdown...")
                }
            }
            self.machine.stop(stop == Stop::Interrupt, &mut self.host);
            self.stopping = true;
        }
    }

    /// Swaps the listeners for those that a change of `port` or `bind` has opened.
    fn take_listeners(&mut self) {
        let Some(listeners) = self.host.listeners.take() else {
            return;
        };
        self.links
            .retain(|_, link| !matches!(link.socket, Socket::TcpListener(_)));
        for listener in listeners {
            if let Err(error) = self.add(Socket::TcpListener(listener)) {
                log::warn!("Listening socket lost: {error}");
            }
        }
    }

    /// Queues held links that may be read again; true when there are some.
    fn release_held(&mut self) -> bool {
        let (machine, unread) = (&self.machine, &mut self.unread);
        let before = self.held.len();
        self.held.retain(|&token| {
            let held = machine.read_limit(token) == 0;
            if !held {
                unread.push(token);
            }
            held
        });
        self.held.len() < before
    }

    fn read_queued(&mut self) {
        self.release_held();
        for token in std::mem::take(&mut self.unread) {
            if let Some(link) = self.links.get_mut(token)
                && link.queued
            {
                link.queued = false;
                self.read(token);
            }
        }
    }

    /// Reads a link once and runs what came.
    fn read(&mut self, token: usize) {
        let Some(link) = self.links.get_mut(token) else {
            return;
        };
        if link.queued {
            // Its turn comes with the queue.
            return;
        }
        if let Some((query, wanted)) = self.machine.take_query(token) {
            return self.read_behind(token, query, wanted.min(READ_BYTES));
        }
        let limit = self.machine.read_limit(token).min(self.buffer.len());
        if limit == 0 {
            link.queued = true;
            self.held.push(token);
            return;
        }
        let buffer = &mut self.buffer[..limit];
        let Some(socket) = link.socket.stream() else {
            return;
        };
        match receive(socket, buffer) {
            Ok(0) => self.end(token),
            Ok(count) => {
                self.gather.read(&mut link.seen);
                if count == limit || link.read_closed {
                    link.queued = true;
                    self.unread.push(token);
                }
                self.machine
                    .input(token, &self.buffer[..count], &mut self.host);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                log::debug!("Reading from client: {}", listen::strerror(&error));
                self.machine.closed(token);
            }
        }
    }

    /// As [`Shell::read`] into a client's own buffer, at most `limit` bytes.
    fn read_behind(&mut self, token: usize, mut query: Vec<u8>, limit: usize) {
        let link = &mut self.links[token];
        let result = match link.socket.stream() {
            Some(socket) => receive_onto(socket, &mut query, limit),
            None => Ok(0),
        };
        let count = *result.as_ref().unwrap_or(&0);
        self.gather.read(&mut link.seen);
        if count > 0 && (count == limit || link.read_closed) {
            link.queued = true;
            self.unread.push(token);
        }
        self.machine
            .input_behind(token, query, count, &mut self.host);
        match result {
            Ok(0) => self.end(token),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                log::debug!("Reading from client: {}", listen::strerror(&error));
                self.machine.closed(token);
            }
        }
    }

    /// A peer has ended its side. One that did so right behind its request is answered first.
    fn end(&mut self, token: usize) {
        if self.machine.output(token).is_empty() {
            self.machine.hung_up(token);
        } else {
            self.ended.push(token);
        }
    }

    fn accept(&mut self, token: usize) {
        for turn in 0..=ACCEPT_MAX {
            let Some(link) = self.links.get(token) else {
                return;
            };
            let accepted = match &link.socket {
                Socket::TcpListener(listener) => listener.accept().map(|(socket, peer)| {
                    let local = socket
                        .local_addr()
                        .map(|a| a.to_string())
                        .unwrap_or_default();
                    log::debug!("Accepted {}:{}", peer.ip(), peer.port());
                    let loopback = peer.ip().to_canonical().is_loopback();
                    let _ = socket.set_nodelay(true);
                    self.keep_alive(&socket);
                    if loopback {
                        listen::take_simple_congestion_control(&socket);
                    }
                    let facts = LinkFacts {
                        peer: peer.to_string(),
                        local,
                        fd: socket.as_raw_fd(),
                        unix: false,
                        loopback,
                    };
                    (Socket::Tcp(socket), facts)
                }),
                Socket::UnixListener(listener) => listener.accept().map(|(socket, _)| {
                    let path = self.machine.engine.config.unixsocket.lossy();
                    log::debug!("Accepted connection to {path}");
                    let path = format!("{path}:0");
                    let fd = socket.as_raw_fd();
                    let facts = LinkFacts {
                        peer: path.clone(),
                        local: path,
                        fd,
                        unix: true,
                        loopback: true,
                    };
                    (Socket::Unix(socket), facts)
                }),
                Socket::Tcp(_) | Socket::Unix(_) | Socket::Signals(_) => return,
            };
            match accepted {
                Ok((socket, facts)) => match self.add(socket) {
                    Ok(client) => self.machine.open(client, facts),
                    Err(error) => log::warn!(
                        "Error registering fd event for the new client connection: {error}"
                    ),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::warn!("Accepting client connection: {}", listen::strerror(&error));
                    // No new edge comes for what still waits: try again next round.
                    return self.queue_accept(token);
                }
            }
            if turn == ACCEPT_MAX {
                return self.queue_accept(token);
            }
        }
    }

    /// Registers a listener anew, which raises its edge again.
    fn queue_accept(&mut self, token: usize) {
        let registry = self.poll.registry();
        let Some(link) = self.links.get_mut(token) else {
            return;
        };
        let result = match &mut link.socket {
            Socket::TcpListener(listener) => {
                registry.reregister(listener, Token(token), Interest::READABLE)
            }
            Socket::UnixListener(listener) => {
                registry.reregister(listener, Token(token), Interest::READABLE)
            }
            Socket::Tcp(_) | Socket::Unix(_) | Socket::Signals(_) => return,
        };
        if let Err(error) = result {
            log::warn!("Listening socket lost: {error}");
        }
    }

    fn keep_alive(&self, socket: &TcpStream) {
        let seconds = self.machine.engine.config.tcp_keepalive;
        if seconds <= 0 {
            return;
        }
        let period = Duration::from_secs(seconds as u64);
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(period)
            .with_interval((period / 3).max(Duration::from_secs(1)))
            .with_retries(3);
        let _ = socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive);
    }

    /// Opens the socket to the master. A name is looked up here and now, as Redis does.
    fn connect_master(&mut self, host: &str, port: u16) {
        // A name may have addresses that nobody listens on: each attempt takes the next one.
        let attempt = self.connects;
        self.connects = attempt.wrapping_add(1);
        let opened = (host, port)
            .to_socket_addrs()
            .and_then(|found| {
                let found: Vec<_> = found.collect();
                let next = found.get(attempt % found.len().max(1)).copied();
                next.ok_or_else(|| ErrorKind::AddrNotAvailable.into())
            })
            .and_then(|address| {
                let source = &self.machine.engine.config.bind_source_addr;
                Ok((address, listen::connect(address, source.get())?))
            })
            .and_then(|(address, socket)| {
                let facts = LinkFacts {
                    peer: address.to_string(),
                    local: socket
                        .local_addr()
                        .map(|a| a.to_string())
                        .unwrap_or_default(),
                    fd: socket.as_raw_fd(),
                    unix: false,
                    loopback: address.ip().to_canonical().is_loopback(),
                };
                Ok((self.add_connecting(socket)?, facts))
            });
        match opened {
            Ok((token, facts)) => {
                self.machine.master_opened(token, facts);
            }
            Err(error) => self.machine.master_failed(&listen::strerror(&error)),
        }
    }

    /// Opens the sockets to targets of MIGRATE whose addresses are known; true when there are some.
    fn open_targets(&mut self) -> bool {
        let mut any = false;
        while let Some((number, address)) = self.resolver.next() {
            any = true;
            let opened = address
                .ok_or_else(|| ErrorKind::AddrNotAvailable.into())
                .and_then(|address| listen::connect(address, None))
                .and_then(|socket| self.add_connecting(socket));
            match (opened, address) {
                (Ok(token), _) => self.machine.target_opened(number, token),
                (Err(_), Some(_)) => self.machine.target_refused(number),
                (Err(_), None) => self.machine.target_failed(number),
            }
        }
        any
    }

    /// Adds a socket whose connection is under way.
    fn add_connecting(&mut self, socket: TcpStream) -> std::io::Result<usize> {
        let _ = socket.set_nodelay(true);
        self.keep_alive(&socket);
        let token = self.add(Socket::Tcp(socket))?;
        self.links[token].connecting = true;
        Ok(token)
    }

    /// An event on a socket that this server opened, before it was connected.
    fn finish_connecting(&mut self, token: usize) {
        let Some(Link {
            socket: Socket::Tcp(socket),
            connecting,
            ..
        }) = self.links.get_mut(token)
        else {
            return;
        };
        let error = match (socket.take_error(), socket.peer_addr()) {
            (Ok(Some(error)), _) | (Err(error), _) => Some(listen::strerror(&error)),
            (Ok(None), Err(error)) if error.kind() == ErrorKind::NotConnected => return,
            (Ok(None), Err(error)) => Some(listen::strerror(&error)),
            (Ok(None), Ok(_)) => None,
        };
        *connecting = false;
        self.machine.connected(token, error);
    }

    /// Hands what the full synchronisation's thread has made to the replicas' links, as far as they have
    /// room. True when there may be more at once.
    fn pump_sync(&mut self) -> bool {
        for _ in 0..SYNC_CHUNKS_MAX {
            let Some(transfer) = &mut self.transfer else {
                return false;
            };
            let id = transfer.id;
            if !self.machine.sync_is_wanted(id) {
                // Dropped, it stops its thread.
                self.transfer = None;
                self.machine.sync_ended(id, Some("last replica dropped"));
                return false;
            }
            if !self.machine.sync_wants_data() {
                return false;
            }
            match transfer.next() {
                None => return false,
                Some(Chunk::Data(bytes)) => self.machine.sync_data(id, &bytes),
                Some(Chunk::Saved(written)) => self.machine.sync_saved(id, written),
                Some(Chunk::End(error)) => {
                    self.machine.sync_ended(id, error.as_deref());
                    self.transfer = None;
                }
            }
            self.write_dirty();
        }
        true
    }

    fn add(&mut self, mut socket: Socket) -> std::io::Result<usize> {
        let entry = self.links.vacant_entry();
        let token = Token(entry.key());
        let registry = self.poll.registry();
        let both = Interest::READABLE | Interest::WRITABLE;
        match &mut socket {
            Socket::Signals(source) => source.register(registry, token, Interest::READABLE)?,
            Socket::TcpListener(source) => source.register(registry, token, Interest::READABLE)?,
            Socket::UnixListener(source) => source.register(registry, token, Interest::READABLE)?,
            Socket::Tcp(source) => source.register(registry, token, both)?,
            Socket::Unix(source) => source.register(registry, token, both)?,
        }
        entry.insert(Link {
            socket,
            queued: false,
            read_closed: false,
            connecting: false,
            full: false,
            seen: 0,
        });
        Ok(token.0)
    }

    /// Writes each dirty link until it is empty or the socket is full; then those go whose peers have ended.
    fn write_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.machine.take_dirty_links(&mut dirty);
        for &token in &dirty {
            self.write(token);
        }
        self.dirty = dirty;
        for token in self.ended.drain(..) {
            self.machine.hung_up(token);
        }
        self.machine.drop_closing();
    }

    fn write(&mut self, token: usize) {
        let Some(link) = self.links.get_mut(token) else {
            return;
        };
        let Some(socket) = link.socket.stream() else {
            return;
        };
        loop {
            let bytes = self.machine.output(token);
            let result = match bytes.is_empty() {
                true => Ok(0),
                false => send(socket, bytes),
            };
            match result {
                Ok(count) => match self.machine.wrote(token, count) {
                    Written::Part => {}
                    Written::All => return,
                    Written::End => return self.machine.closed(token),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    link.full = true;
                    return;
                }
                Err(error) => {
                    log::debug!("Error writing to client: {}", listen::strerror(&error));
                    self.machine.closed(token);
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, prepared: &Prepared) -> Option<ExitCode> {
        self.take_listeners();
        for action in std::mem::take(&mut self.machine.engine.actions) {
            match action {
                Action::Close(token) => {
                    // Dropping the socket deregisters and closes it.
                    self.links.try_remove(token);
                }
                Action::Free(garbage) => {
                    // Somebody may wait for the memory. Without a thread it is freed here.
                    let waker = Arc::clone(&self.waker);
                    self.freeing.run(move || {
                        drop(garbage);
                        let _ = waker.wake();
                    });
                }
                Action::Save(job) => {
                    let id = job.id;
                    if let Err(error) = self.jobs.save(*job) {
                        self.machine.save_ended(id, Err(error));
                    }
                }
                Action::Loaded(result) => match *result {
                    LoadResult::Failed(reason) if self.starting => {
                        log::error!("Fatal error loading the DB: {reason}. Exiting.");
                        log::error!("Terminating server after rdb file reading failure.");
                        return Some(ExitCode::FAILURE);
                    }
                    LoadResult::Failed(reason) => log::warn!("Loading failed: {reason}"),
                    LoadResult::Done(loaded) if self.starting => {
                        self.starting = false;
                        self.machine.engine.restore_replication(&loaded);
                        self.ready(prepared);
                    }
                    LoadResult::Done(_) => {}
                },
                Action::ConnectMaster(host, port) => self.connect_master(&host, port),
                Action::ConnectTarget {
                    number,
                    host,
                    port,
                    attempt,
                } => self.resolver.ask(number, host, port, attempt),
                Action::Sync(job) => {
                    let waker = Arc::clone(&self.waker);
                    self.transfer = Some(Transfer::start(*job, waker, &self.syncing));
                }
                Action::Exit(code) => {
                    let config = &self.machine.engine.config;
                    let socket = config.unixsocket.get().map(|_| config.unixsocket.path());
                    prepared.remove_files(socket);
                    log::warn!("Redis is now ready to exit, bye bye...");
                    return Some(ExitCode::from(code as u8));
                }
            }
        }
        None
    }
}
