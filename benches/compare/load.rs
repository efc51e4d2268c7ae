//! The load: a saturating closed-loop client and an open-loop client at a given rate, on mio.
//!
//! Requests are built before the clock starts. Replies are compared where all are the same, else counted; one that
//! differs, or an error, ends the run with its text. A closed loop measures the time of a whole
//! pipeline on one connection; the open loop measures from the moment a request was due, sent or not.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::histogram::Histogram;
use crate::os;
use crate::server::push_command;

const READ_BYTES: usize = 256 * 1024;
/// Requests built for one `Work`: enough distinct keys to leave the server's caches.
const BUILT_REQUESTS: usize = 400_000;
/// A server silent for so long is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What a request on the data set does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Get,
    Set,
}

/// Commands as RESP, with their number.
#[derive(Default)]
pub struct Requests {
    bytes: Vec<u8>,
    count: usize,
}

impl Requests {
    pub fn push(&mut self, args: &[&str]) {
        push_command(&mut self.bytes, args);
        self.count += 1;
    }

    /// Takes over what `other` has.
    pub fn append(&mut self, other: &mut Requests) {
        let (bytes, count) = other.take();
        self.bytes.extend_from_slice(&bytes);
        self.count += count;
    }

    /// A chunk of one request.
    pub fn one(args: &[&str]) -> (Vec<u8>, usize) {
        let mut requests = Requests::default();
        requests.push(args);
        requests.take()
    }

    /// A chunk for `Client::send_all`; empties it.
    pub fn take(&mut self) -> (Vec<u8>, usize) {
        (
            std::mem::take(&mut self.bytes),
            std::mem::take(&mut self.count),
        )
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The data set: 16-byte keys, values of one length and content.
#[derive(Clone, Copy)]
pub struct Data {
    pub keys: usize,
    pub value_bytes: usize,
}

impl Data {
    pub fn key(index: usize) -> String {
        format!("key:{index:012}")
    }

    /// Text that LZF finds nothing in.
    pub fn value(&self) -> String {
        let mut random = Random(self.value_bytes as u64);
        (0..self.value_bytes)
            .map(|_| char::from(b'0' + random.below(75) as u8))
            .collect()
    }

    /// Chunks of SETs for all keys, for `Client::send_all`; `options` appends further arguments by key index.
    pub fn fill(
        &self,
        options: impl Fn(usize) -> Vec<String>,
    ) -> impl Iterator<Item = (Vec<u8>, usize)> {
        let value = self.value();
        let keys = self.keys;
        (0..keys).step_by(500).map(move |start| {
            let end = (start + 500).min(keys);
            let mut chunk = Vec::with_capacity(500 * (60 + value.len()));
            for index in start..end {
                let key = Data::key(index);
                let extra = options(index);
                let mut args = vec!["SET", &key, &value];
                args.extend(extra.iter().map(String::as_str));
                push_command(&mut chunk, &args);
            }
            (chunk, end - start)
        })
    }
}

/// Pre-built batches of requests.
pub struct Work {
    bytes: Vec<u8>,
    batches: Vec<Range<usize>>,
    pipeline: usize,
    replies: Replies,
}

/// What the requests are answered.
enum Replies {
    /// All the same.
    Same(Vec<u8>),
    /// Anything but errors.
    Any,
}

impl Work {
    /// Requests of one kind over random keys of a data set.
    pub fn new(kind: Kind, data: &Data, pipeline: usize) -> Work {
        let value = data.value();
        let reply = match kind {
            Kind::Ping => "+PONG\r\n".to_string(),
            Kind::Get => format!("${}\r\n{value}\r\n", value.len()),
            Kind::Set => "+OK\r\n".to_string(),
        };
        let push = |random: &mut Random, requests: &mut Requests| {
            let key = Data::key(random.below(data.keys));
            match kind {
                Kind::Ping => requests.push(&["PING"]),
                Kind::Get => requests.push(&["GET", &key]),
                Kind::Set => requests.push(&["SET", &key, &value]),
            }
        };
        let replies = Replies::Same(reply.into_bytes());
        Work {
            replies,
            ..Work::of(push, pipeline, BUILT_REQUESTS)
        }
    }

    /// Batches of `pipeline` requests each, `built` in all; `push` appends some requests, of which `pipeline` is a
    /// multiple.
    pub fn of(push: impl Fn(&mut Random, &mut Requests), pipeline: usize, built: usize) -> Work {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut requests = Requests::default();
        let mut batches = Vec::new();
        while batches.len() < built / pipeline {
            let start = requests.bytes.len();
            while requests.count < (batches.len() + 1) * pipeline {
                push(&mut random, &mut requests);
            }
            batches.push(start..requests.bytes.len());
        }
        Work {
            pipeline,
            bytes: requests.bytes,
            batches,
            replies: Replies::Any,
        }
    }

    /// How many replies end in `got`, the next bytes that a link received.
    fn check(&self, link: &mut Received, got: &[u8]) -> io::Result<usize> {
        match &self.replies {
            Replies::Any => link.counter.feed(got),
            Replies::Same(reply) => {
                let before = link.bytes / reply.len();
                let mut rest = got;
                while !rest.is_empty() {
                    let at = link.bytes % reply.len();
                    let length = rest.len().min(reply.len() - at);
                    if rest[..length] != reply[at..at + length] {
                        let shown = String::from_utf8_lossy(&rest[..length.min(200)]);
                        return Err(io::Error::other(format!("unexpected reply near {shown:?}")));
                    }
                    rest = &rest[length..];
                    link.bytes += length;
                }
                Ok(link.bytes / reply.len() - before)
            }
        }
    }
}

/// Where a link stands in its stream of replies.
#[derive(Default)]
struct Received {
    bytes: usize,
    counter: ReplyCounter,
}

/// Counts replies in a stream of RESP2 that comes in pieces.
#[derive(Default)]
pub struct ReplyCounter {
    /// The line that has begun.
    line: Vec<u8>,
    /// Bytes left of a bulk string.
    skip: usize,
    /// Values left of the reply that has begun.
    open: usize,
}

impl ReplyCounter {
    /// Whether bytes of a reply that counts already are still to come.
    pub fn is_amid(&self) -> bool {
        self.skip > 0 || self.open > 0 || !self.line.is_empty()
    }

    /// How many replies end in these bytes; one counts when the length of its last string is known. Errors: an error
    /// reply.
    pub fn feed(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            let (rest_of_line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            let values = if self.line.is_empty() {
                self.value(rest_of_line)?
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(rest_of_line);
                self.value(&line)?
            };
            // A line outside any reply begins one.
            self.open = self.open.max(1) - 1 + values;
            ended += usize::from(self.open == 0);
        }
        Ok(ended)
    }

    /// Takes a line; returns how many values it opens.
    fn value(&mut self, line: &[u8]) -> io::Result<usize> {
        let malformed = || io::Error::other(format!("reply {:?}", String::from_utf8_lossy(line)));
        let number = || {
            let text = std::str::from_utf8(&line[1..]).map_err(|_| malformed())?;
            text.trim_end().parse::<i64>().map_err(|_| malformed())
        };
        match line[0] {
            b'+' | b':' => Ok(0),
            b'$' => {
                if let Ok(length) = usize::try_from(number()?) {
                    self.skip = length + 2;
                }
                Ok(0)
            }
            b'*' => Ok(usize::try_from(number()?).unwrap_or(0)),
            _ => Err(malformed()),
        }
    }
}

/// SplitMix64: the load is the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((mixed as u128 * limit as u128) >> 64) as usize
    }
}

/// What a load saw between its warm-up and its end.
pub struct Outcome {
    pub requests: u64,
    pub elapsed: Duration,
    /// CPU time of the server's process.
    pub cpu: Duration,
    pub latency: Histogram,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Server CPU in µs a request.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests as f64
    }
}

struct Link {
    stream: TcpStream,
    /// Index of the next batch to send.
    next: usize,
    /// What is left to send of batches already due, as a range of `Work::bytes`.
    unsent: Range<usize>,
    received: Received,
    /// Replies of the batch that came.
    answered: usize,
}

impl Link {
    /// Sends as much as the socket takes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&bytes[self.unsent.clone()]) {
                Ok(count) => self.unsent.start += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there; the bytes are in `buffer` up to the returned count (0: nothing yet).
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server closed a connection")),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn connect(port: u16, connections: usize, poll: &Poll, work: &Work) -> io::Result<Vec<Link>> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    (0..connections)
        .map(|index| {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(
                &mut stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            let next = index * work.batches.len() / connections;
            Ok(Link {
                stream,
                next,
                unsent: 0..0,
                received: Received::default(),
                answered: 0,
            })
        })
        .collect()
}

/// Keeps one pipeline outstanding on each connection for `warm_up` and then `measured`.
pub fn closed_loop(
    port: u16,
    pid: u32,
    work: &Work,
    connections: usize,
    warm_up: Duration,
    measured: Duration,
) -> io::Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(connections.max(16));
    let mut buffer = vec![0; READ_BYTES];
    let mut links = connect(port, connections, &poll, work)?;
    let mut sent_at = vec![Instant::now(); connections];
    let mut latency = Histogram::new();
    let mut requests = 0;
    for (link, sent_at) in links.iter_mut().zip(&mut sent_at) {
        link.unsent = work.batches[link.next].clone();
        *sent_at = Instant::now();
        link.send(&work.bytes)?;
    }
    let mut start = Instant::now();
    let mut cpu_start = Duration::ZERO;
    let mut warming = true;
    loop {
        poll.poll(&mut events, Some(SILENCE_MAX))?;
        if events.is_empty() {
            return Err(io::Error::other("the server has fallen silent"));
        }
        let mut now = Instant::now();
        for event in &events {
            let index = event.token().0;
            let link = &mut links[index];
            link.send(&work.bytes)?;
            loop {
                let count = link.receive(&mut buffer)?;
                link.answered += work.check(&mut link.received, &buffer[..count])?;
                if link.answered == work.pipeline {
                    now = Instant::now();
                    latency.record(now - sent_at[index]);
                    requests += work.pipeline as u64;
                    link.answered = 0;
                    link.next = (link.next + 1) % work.batches.len();
                    link.unsent = work.batches[link.next].clone();
                    sent_at[index] = now;
                    link.send(&work.bytes)?;
                    break;
                }
                if count < buffer.len() {
                    break;
                }
            }
        }
        if warming && now - start >= warm_up {
            warming = false;
            requests = 0;
            latency.clear();
            cpu_start = os::process_cpu(pid)?;
            start = Instant::now();
        } else if !warming && now - start >= measured {
            let cpu = os::process_cpu(pid)? - cpu_start;
            return Ok(Outcome {
                requests,
                elapsed: start.elapsed(),
                cpu,
                latency,
            });
        }
    }
}

/// Sends `rate` single requests a second, evenly spaced, over the connections in turn. After `warm_up` the outcome
/// counts; `watch` is called about every half millisecond and says when to stop. A stall of the server delays
/// replies, never requests, and each delayed request counts.
pub fn open_loop(
    port: u16,
    pid: u32,
    work: &Work,
    connections: usize,
    rate: f64,
    warm_up: Duration,
    mut watch: impl FnMut(Duration) -> io::Result<bool>,
) -> io::Result<Outcome> {
    assert_eq!(work.pipeline, 1);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(connections.max(16));
    let mut buffer = vec![0; READ_BYTES];
    let mut links = connect(port, connections, &poll, work)?;
    let mut backlog: Vec<VecDeque<Range<usize>>> = vec![VecDeque::new(); connections];
    let mut due: Vec<VecDeque<Instant>> = vec![VecDeque::new(); connections];
    let mut latency = Histogram::new();
    let mut requests = 0;
    let interval = Duration::from_secs_f64(1.0 / rate);
    let begin = Instant::now();
    let mut sent: u32 = 0;
    let mut start = begin;
    let mut cpu_start = Duration::ZERO;
    let mut warming = true;
    let mut watched = begin;
    loop {
        let now = Instant::now();
        while begin + interval * sent <= now {
            let index = sent as usize % connections;
            let link = &mut links[index];
            due[index].push_back(begin + interval * sent);
            sent += 1;
            backlog[index].push_back(work.batches[link.next].clone());
            link.next = (link.next + 1) % work.batches.len();
            send_backlog(link, &mut backlog[index], &work.bytes)?;
        }
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            let index = event.token().0;
            let link = &mut links[index];
            send_backlog(link, &mut backlog[index], &work.bytes)?;
            loop {
                let count = link.receive(&mut buffer)?;
                let answered = work.check(&mut link.received, &buffer[..count])?;
                let now = Instant::now();
                for _ in 0..answered {
                    let due = due[index]
                        .pop_front()
                        .ok_or_else(|| io::Error::other("a reply too many"))?;
                    latency.record(now - due);
                    requests += 1;
                }
                if count < buffer.len() {
                    break;
                }
            }
        }
        if now - watched < Duration::from_micros(500) {
            continue;
        }
        watched = now;
        if warming && now - begin >= warm_up {
            warming = false;
            requests = 0;
            latency.clear();
            cpu_start = os::process_cpu(pid)?;
            start = Instant::now();
        } else if !warming && watch(start.elapsed())? {
            let cpu = os::process_cpu(pid)? - cpu_start;
            return Ok(Outcome {
                requests,
                elapsed: start.elapsed(),
                cpu,
                latency,
            });
        }
        if due
            .iter()
            .any(|queue| queue.front().is_some_and(|due| now - *due > SILENCE_MAX))
        {
            return Err(io::Error::other("the server has fallen silent"));
        }
    }
}

fn send_backlog(
    link: &mut Link,
    backlog: &mut VecDeque<Range<usize>>,
    bytes: &[u8],
) -> io::Result<()> {
    link.send(bytes)?;
    while link.unsent.is_empty() {
        let Some(batch) = backlog.pop_front() else {
            break;
        };
        link.unsent = batch;
        link.send(bytes)?;
    }
    Ok(())
}
