//! From bytes to calls: parse a run of commands, prefetch their keys, execute them in order.
//!
//! Parsed-ahead commands are candidates only. Limits depend on authentication, so a change of it
//! discards them; a protocol error behind them is raised when its turn comes. Only hashes, never
//! pointers into the keyspace, survive an execution.

use super::{Machine, running};
use crate::command::{Args, Registered, table};
use crate::engine::{Client, ClientFlags, Host, LinkId};
use crate::keyspace::Key;
use crate::resp::parser::{Limits, ProtocolError, Range};
use crate::types::{Entry, Large};

/// An incomplete command may hold so much in whole arguments, which client-query-buffer-limit does not count.
const COMMAND_BYTES_MAX: usize = 1 << 30;
/// Commands parsed and prefetched ahead.
const WINDOW: usize = 16;
/// After a window that named no element of a large collection, so many are not searched for any.
const SKIPPED_WINDOWS: u32 = 7;
/// An output buffer is kept up to this capacity when it is empty.
pub(super) const REPLY_KEPT_BYTES: usize = 64 * 1024;
/// While commands run, output is held against its limit from this size on.
pub(super) const OUTPUT_CHECKED_BYTES: usize = 1 << 20;
/// The input of a client that sends an argument from this size on is read straight into its own buffer.
const DIRECT_BYTES: usize = 32 * 1024;
/// A client's own input buffer begins with this capacity: who sends a command in parts will send others so.
pub(super) const QUERY_BYTES: usize = 16 * 1024;
/// It is kept up to this capacity when it is empty; the timer takes it back to [`QUERY_BYTES`], and an idle client's
/// to nothing.
const QUERY_KEPT_BYTES: usize = 1 << 20;

/// From this many bytes on only both ends of wrong input go to the log, half as many each.
const LOGGED_BYTES: usize = 128;

/// Ranges that the buffer for them keeps room for: one command can have a million.
const RANGES_KEPT_MAX: usize = 1 << 10;

/// A client that runs nothing for now, or nothing more.
const STOPPED: ClientFlags = ClientFlags::BLOCKED
    .union(ClientFlags::CLOSE_AFTER_REPLY)
    .union(ClientFlags::CLOSE_ASAP);

/// One parsed command: where its ranges stand, where it ends, what it is.
struct Parsed {
    first_range: usize,
    end_range: usize,
    end: usize,
    entry: Option<&'static Registered>,
    hashed: (usize, u64),
}

/// The window of parsed commands; reused.
#[derive(Default)]
pub(super) struct Batch {
    /// The arguments of all, one command behind the other.
    ranges: Vec<Range>,
    parsed: Vec<Parsed>,
    /// Words of inline commands, unquoted.
    decoded: Vec<u8>,
    /// Whether the client was authenticated when they were parsed.
    admitted: bool,
    hashes: Vec<u64>,
    /// Windows until large collections are looked for again.
    windows_to_skip: u32,
}

/// What stands behind a window.
enum Ahead {
    /// Perhaps another command.
    More,
    /// A part of a command.
    Incomplete,
    /// Input that is wrong, at this place. It is told when nothing stands before it any more.
    Wrong(ProtocolError, usize),
}

impl Batch {
    /// Parses a window of commands of `bytes` from `start`.
    #[inline]
    fn parse(&mut self, client: &mut Client, bytes: &[u8], start: usize, limits: &Limits) -> Ahead {
        self.parsed.clear();
        self.ranges.clear();
        self.admitted = limits.authenticated;
        let mut at = start;
        while self.parsed.len() < WINDOW && at < bytes.len() {
            let first_range = self.ranges.len();
            match client.parser.next(bytes, at, limits, &mut self.ranges) {
                Ok(Some(end)) => {
                    self.parsed.push(Parsed {
                        first_range,
                        end_range: self.ranges.len(),
                        end,
                        entry: None,
                        hashed: (0, 0),
                    });
                    at = end;
                }
                Ok(None) => return Ahead::Incomplete,
                Err(error) => {
                    let wrong_at = start + client.parser.read_bytes();
                    client.parser.reset();
                    return Ahead::Wrong(error, wrong_at);
                }
            }
        }
        Ahead::More
    }
}

/// How a command ended for the input loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Go on with the next.
    Next,
    /// Not executed: its bytes stay and it is tried again when the client is ready.
    Postponed,
}

impl Machine {
    /// Bytes arrived on a link: runs all complete commands, keeps the rest.
    pub fn input(&mut self, link: LinkId, bytes: &[u8], host: &mut dyn Host) {
        let Some(mut client) = self.engine.clients.take(link) else {
            return self.engine.target_input(link, bytes);
        };
        client.bytes_in += bytes.len() as u64;
        self.engine.stats.reads_processed += 1;
        client.active_ms = self.engine.now();
        let bytes = if client.is(ClientFlags::MASTER) {
            &bytes[self.master_input(&mut client, bytes, host)..]
        } else {
            self.engine.stats.net_input_bytes += bytes.len() as u64;
            bytes
        };
        if client.is(ClientFlags::CLOSE_AFTER_REPLY | ClientFlags::CLOSE_ASAP) {
            // Nothing more is run for it.
        } else if client.query.is_empty() && !client.is(ClientFlags::BLOCKED) {
            if client.transaction.bytes > 0 && !self.query_fits(&mut client, bytes.len()) {
                return self.put_back(client);
            }
            let done = self.run(&mut client, bytes, host);
            if let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
                let bytes = rest.len() + client.parser.wanted();
                client.query.reserve(bytes.max(QUERY_BYTES));
                client.query.extend_from_slice(rest);
            }
        } else {
            client.query.extend_from_slice(bytes);
            self.query_grew(&mut client, host);
        }
        self.put_back(client);
    }

    /// Takes the kept input of a client in the middle of a large argument, and says how many bytes that lacks, so that
    /// they are read right behind it instead of being copied there; [`Machine::input_behind`] gives it back.
    pub fn take_query(&mut self, link: LinkId) -> Option<(Vec<u8>, usize)> {
        let client = self.engine.clients.get_mut(link)?;
        let wanted = client.parser.wanted();
        let direct = wanted > 0
            && client.query.len() + wanted >= DIRECT_BYTES
            && !client.is(ClientFlags::MASTER | ClientFlags::BLOCKED);
        direct.then(|| (std::mem::take(&mut client.query), wanted))
    }

    /// Gives back what [`Machine::take_query`] gave, with `count` bytes more, and runs what is complete.
    pub fn input_behind(
        &mut self,
        link: LinkId,
        query: Vec<u8>,
        count: usize,
        host: &mut dyn Host,
    ) {
        let Some(mut client) = self.engine.clients.take(link) else {
            return;
        };
        client.query = query;
        if count > 0 {
            client.bytes_in += count as u64;
            self.engine.stats.reads_processed += 1;
            self.engine.stats.net_input_bytes += count as u64;
            client.active_ms = self.engine.now();
            if !client.is(ClientFlags::CLOSE_AFTER_REPLY | ClientFlags::CLOSE_ASAP) {
                self.query_grew(&mut client, host);
            }
        }
        self.put_back(client);
    }

    /// Runs what is complete of the kept input, if it is within client-query-buffer-limit and the client does not wait.
    fn query_grew(&mut self, client: &mut Client, host: &mut dyn Host) {
        if self.query_fits(client, 0) && !client.is(ClientFlags::BLOCKED) {
            self.run_query(client, host);
        }
    }

    /// Runs the kept input of clients that have become ready, in the order in which they have.
    pub(super) fn run_ready(&mut self, host: &mut dyn Host) {
        while let Some(link) = self.engine.ready.pop_front() {
            let Some(mut client) = self.engine.clients.take(link) else {
                continue;
            };
            if !client.is(STOPPED) {
                self.run_query(&mut client, host);
            }
            self.put_back(client);
        }
    }

    fn run_query(&mut self, client: &mut Client, host: &mut dyn Host) {
        let mut query = std::mem::take(&mut client.query);
        let done = self.run(client, &query, host);
        query.drain(..done);
        if query.is_empty() {
            query.shrink_to(QUERY_KEPT_BYTES);
        } else {
            query.reserve(client.parser.wanted());
        }
        client.query = query;
    }

    pub(super) fn put_back(&mut self, mut client: Box<Client>) {
        let link = client.link;
        self.engine.check_output_limit(&mut client);
        let has_output = client.unsent() > 0 || client.is(ClientFlags::CLOSE_AFTER_REPLY);
        if has_output && !client.is(ClientFlags::DIRTY_LINK) {
            client.flags.insert(ClientFlags::DIRTY_LINK);
            self.engine.dirty_links.push(link);
        }
        if client.is(ClientFlags::CLOSE_ASAP) && !client.is(ClientFlags::CLOSING) {
            client.flags.insert(ClientFlags::CLOSING);
            self.engine.closing.push(link);
        }
        self.engine.clients.put_back(client);
    }

    /// Whether the kept input and `more` bytes are within client-query-buffer-limit; otherwise the client is to be
    /// closed. As in Redis arguments that are whole do not count, but those that MULTI has queued do.
    fn query_fits(&mut self, client: &mut Client, more: usize) -> bool {
        let limit = self.engine.config.client_query_buffer_limit as usize;
        let held = client.query.len() + more;
        let unread = held.saturating_sub(client.parser.read_bytes());
        let fits = (unread + client.transaction.bytes <= limit
            && held <= limit.max(COMMAND_BYTES_MAX))
            || client.is(ClientFlags::MASTER);
        if !fits {
            client.flags.insert(ClientFlags::CLOSE_ASAP);
            log::warn!(
                "Closing client that reached max query buffer length: {} (qbuf initial bytes: {})",
                self.engine.described(client, None),
                crate::base::quote::quoted(client.query.get(..64).unwrap_or(&client.query)),
            );
            self.engine.stats.client_query_buffer_limit_disconnections += 1;
        }
        fits
    }

    fn limits(&self, client: &Client) -> Limits {
        Limits {
            authenticated: client.is_admitted(&self.engine.config),
            bulk_bytes_max: self.engine.config.proto_max_bulk_len,
            ..Limits::default()
        }
    }

    /// Runs complete commands from the start of `bytes`; returns how many bytes they took.
    fn run(&mut self, client: &mut Client, bytes: &[u8], host: &mut dyn Host) -> usize {
        let mut done = 0;
        client.running_bytes = bytes.len();
        running::CLIENT.show(client);
        let mut batch = self.batch.take().unwrap_or_default();
        while done < bytes.len() {
            let limits = self.limits(client);
            let ahead = batch.parse(client, bytes, done, &limits);
            if batch.parsed.is_empty() {
                if let Ahead::Wrong(error, at) = ahead {
                    self.protocol_error(client, error, bytes.get(at..).unwrap_or_default());
                    done = bytes.len();
                }
                break;
            }
            batch.decoded = client.parser.take_decoded();
            self.look_up(client, bytes, &mut batch);
            let executed = self.execute(client, bytes, done, &batch, host);
            if let Some(last) = executed.checked_sub(1) {
                done = batch.parsed[last].end;
            }
            if client.is(ClientFlags::CLOSE_AFTER_REPLY | ClientFlags::CLOSE_ASAP) {
                client.parser.reset();
                done = bytes.len();
                break;
            }
            let incomplete = matches!(ahead, Ahead::Incomplete);
            if executed < batch.parsed.len()
                || client.is(ClientFlags::BLOCKED)
                || (incomplete && batch.admitted != client.is_admitted(&self.engine.config))
            {
                client.parser.reset();
                if client.is(ClientFlags::BLOCKED) {
                    break;
                }
            } else if incomplete {
                break;
            }
        }
        if batch.ranges.capacity() > RANGES_KEPT_MAX {
            batch.ranges.clear();
            batch.ranges.shrink_to(RANGES_KEPT_MAX);
        }
        batch.decoded = Vec::new();
        self.batch = Some(batch);
        client.running_bytes = 0;
        running::CLIENT.clear();
        done
    }

    /// Executes the window that begins at `start`. Returns how many commands were: not all when the client waits, is to be
    /// closed, or may other things than when they were parsed.
    fn execute(
        &mut self,
        client: &mut Client,
        bytes: &[u8],
        start: usize,
        batch: &Batch,
        host: &mut dyn Host,
    ) -> usize {
        // Commands pay neither for other links nor for being read.
        self.engine.clock.mono_ns = host.monotonic_ns();
        let mut executed = 0;
        let mut begin = start;
        for parsed in &batch.parsed {
            let words = &batch.ranges[parsed.first_range..parsed.end_range];
            let seed = self.engine.keyspace.seed();
            let mut args = Args::new(bytes, &batch.decoded, words, seed, parsed.hashed);
            if args.count() == 0 {
                // A replica that loads sends newlines to show that it lives.
                if client.is(ClientFlags::REPLICA) {
                    let now = self.engine.now();
                    self.engine.replication.source.alive(client.link, now);
                }
            } else if self.process(client, parsed.entry, &mut args, host) == Flow::Postponed {
                break;
            }
            executed += 1;
            if client.is(ClientFlags::MASTER) {
                self.applied(client, &bytes[begin..parsed.end]);
            }
            begin = parsed.end;
            if client.unsent() > OUTPUT_CHECKED_BYTES {
                self.engine.check_output_limit(client);
            }
            if client.is(STOPPED) || batch.admitted != client.is_admitted(&self.engine.config) {
                break;
            }
        }
        executed
    }

    /// Finds the rows of the window and prefetches their first keys.
    fn look_up(&self, client: &Client, bytes: &[u8], batch: &mut Batch) {
        let Batch {
            ranges,
            parsed,
            decoded,
            hashes,
            windows_to_skip,
            ..
        } = batch;
        hashes.clear();
        let seed = self.engine.keyspace.seed();
        let prefetch = parsed.len() > 1;
        for parsed in &mut *parsed {
            let args = Args::new(
                bytes,
                decoded,
                &ranges[parsed.first_range..parsed.end_range],
                seed,
                (0, 0),
            );
            if args.count() == 0 {
                continue;
            }
            parsed.entry = self.find(args.at(0));
            if let Some(index) = parsed.entry.and_then(|entry| entry.command.first_key())
                && index < args.count()
            {
                let hash = seed.hash(args.at(index));
                parsed.hashed = (index, hash);
                if prefetch {
                    hashes.push(hash);
                }
            }
        }
        if prefetch {
            self.engine.keyspace.prefetch(client.db, hashes);
            if *windows_to_skip > 0 {
                *windows_to_skip -= 1;
            } else if !self.look_into(client, bytes, decoded, ranges, parsed) {
                *windows_to_skip = SKIPPED_WINDOWS;
            }
        }
    }

    /// Prefetches the first elements that the window names in large collections; false when it names none.
    fn look_into(
        &self,
        client: &Client,
        bytes: &[u8],
        decoded: &[u8],
        ranges: &[Range],
        parsed: &[Parsed],
    ) -> bool {
        let seed = self.engine.keyspace.seed();
        let mut elements = [const { None }; WINDOW];
        let mut count = 0;
        for parsed in parsed {
            let element = parsed.entry.map_or(0, |entry| entry.command.element);
            let words = &ranges[parsed.first_range..parsed.end_range];
            if element == 0 || element >= words.len() {
                continue;
            }
            let (index, hash) = parsed.hashed;
            let args = Args::new(bytes, decoded, words, seed, parsed.hashed);
            let key = Key {
                bytes: args.at(index),
                hash,
            };
            let entry = self.engine.keyspace.find(client.db, key);
            if let Some(table) = entry.and_then(Entry::large).and_then(Large::elements) {
                let hash = table.hasher().hash(args.at(element));
                table.prefetch_directory(hash);
                elements[count] = Some((table, hash));
                count += 1;
            }
        }
        let elements = elements[..count].iter().flatten();
        elements
            .clone()
            .for_each(|(table, hash)| table.prefetch_segment(*hash));
        elements.for_each(|(table, hash)| table.prefetch_entry(*hash));
        count > 0
    }

    /// The row a name means on this server.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<&'static Registered> {
        table().find_as(&self.engine.renames, name)
    }

    /// `bytes`: the input from where it is wrong.
    fn protocol_error(&mut self, client: &mut Client, error: ProtocolError, bytes: &[u8]) {
        let level = match client.is(ClientFlags::MASTER) {
            true => log::Level::Warn,
            false => log::Level::Debug,
        };
        log::log!(
            level,
            "Protocol error ({}) from client: {}. Query buffer during protocol error: {}",
            error.logged(),
            self.engine.described(client, None),
            shortened(bytes),
        );
        if !client.is(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP_NEXT) {
            client.reply.error_bytes(&error.reply());
        }
        self.engine.stats.errors.count("ERR");
        client.flags.insert(ClientFlags::CLOSE_AFTER_REPLY);
    }
}

/// Input in quotes as Redis's log shows it: up to a NUL, a point for what cannot be printed, and of much input both ends.
fn shortened(bytes: &[u8]) -> String {
    let shown = |part: &[u8]| -> String {
        let text = part.iter().take_while(|&&byte| byte != 0);
        text.map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        })
        .collect()
    };
    let end = LOGGED_BYTES / 2;
    match bytes.len().checked_sub(LOGGED_BYTES) {
        None => format!("'{}'", shown(bytes)),
        Some(between) => format!(
            "'{}' (... more {between} bytes ...) '{}'",
            shown(&bytes[..end]),
            shown(&bytes[end + between..])
        ),
    }
}
