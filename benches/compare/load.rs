//! The load: a saturating closed-loop client and an open-loop client at a given rate, on mio.
//!
//! Requests are built before the clock starts. Every request of a `Work` has the same reply, so replies are counted
//! by comparing bytes; a reply that differs ends the run with its text. A closed loop measures the time of a whole
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

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Get,
    Set,
    SetBit,
    BitCount,
    PfAdd,
    PfCount,
}

/// Elements of the HyperLogLog that PFADD meets.
const ELEMENTS: usize = 1000;
/// Bytes of the bitmap.
const BITMAP_BYTES: usize = 1 << 20;

/// Commands that make the keys a kind needs beside the data set, and the reply to each.
pub fn own_data(kind: Kind) -> (Vec<(Vec<u8>, usize)>, &'static str) {
    let one = |args: &[&str]| {
        let mut bytes = Vec::new();
        push_command(&mut bytes, args);
        vec![(bytes, 1)]
    };
    match kind {
        Kind::Ping | Kind::Get | Kind::Set => (Vec::new(), ""),
        Kind::SetBit | Kind::BitCount => {
            (one(&["SET", "bits", &"\0".repeat(BITMAP_BYTES)]), "+OK\r\n")
        }
        Kind::PfAdd => {
            let elements: Vec<String> = (0..ELEMENTS).map(Data::key).collect();
            let mut args = vec!["PFADD", "hll"];
            args.extend(elements.iter().map(String::as_str));
            (one(&args), ":1\r\n")
        }
        Kind::PfCount => (one(&["PFADD", "hll", "element"]), ":1\r\n"),
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

/// Pre-built batches of requests over random keys of a data set.
pub struct Work {
    bytes: Vec<u8>,
    batches: Vec<Range<usize>>,
    pipeline: usize,
    reply_bytes: usize,
    /// The replies to one batch.
    replies: Vec<u8>,
}

impl Work {
    pub fn new(kind: Kind, data: &Data, pipeline: usize) -> Work {
        let value = data.value();
        let reply = match kind {
            Kind::Ping => "+PONG\r\n".to_string(),
            Kind::Get => format!("${}\r\n{value}\r\n", value.len()),
            Kind::Set => "+OK\r\n".to_string(),
            Kind::SetBit => ":0\r\n:1\r\n".to_string(),
            Kind::BitCount | Kind::PfAdd => ":0\r\n".to_string(),
            Kind::PfCount => ":1\r\n".to_string(),
        };
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut bytes = Vec::new();
        let mut batches = Vec::new();
        for _ in 0..BUILT_REQUESTS / pipeline {
            let start = bytes.len();
            // Of the one kind whose replies differ: each bit is set, then cleared.
            let mut bit = String::new();
            for request in 0..pipeline {
                let key = Data::key(random.below(data.keys));
                match kind {
                    Kind::Ping => push_command(&mut bytes, &["PING"]),
                    Kind::Get => push_command(&mut bytes, &["GET", &key]),
                    Kind::Set => push_command(&mut bytes, &["SET", &key, &value]),
                    Kind::SetBit if request % 2 == 0 => {
                        bit = random.below(8 * BITMAP_BYTES).to_string();
                        push_command(&mut bytes, &["SETBIT", "bits", &bit, "1"]);
                    }
                    Kind::SetBit => push_command(&mut bytes, &["SETBIT", "bits", &bit, "0"]),
                    Kind::BitCount => push_command(&mut bytes, &["BITCOUNT", "bits"]),
                    Kind::PfAdd => {
                        let element = Data::key(random.below(ELEMENTS));
                        push_command(&mut bytes, &["PFADD", "hll", &element]);
                    }
                    Kind::PfCount => push_command(&mut bytes, &["PFCOUNT", "hll"]),
                }
            }
            batches.push(start..bytes.len());
        }
        let replies = match kind {
            Kind::SetBit => reply.as_bytes().repeat(pipeline / 2),
            _ => reply.as_bytes().repeat(pipeline),
        };
        Work {
            bytes,
            batches,
            pipeline,
            reply_bytes: replies.len() / pipeline,
            replies,
        }
    }

    /// Checks that `got`, the bytes after the first `received` of a stream of replies, is what must come.
    fn check(&self, received: usize, got: &[u8]) -> io::Result<()> {
        let mut at = received % self.replies.len();
        let mut rest = got;
        while !rest.is_empty() {
            let length = rest.len().min(self.replies.len() - at);
            if rest[..length] != self.replies[at..at + length] {
                let shown = String::from_utf8_lossy(&rest[..length.min(200)]).into_owned();
                return Err(io::Error::other(format!("unexpected reply near {shown:?}")));
            }
            rest = &rest[length..];
            at = 0;
        }
        Ok(())
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
    received: usize,
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
                received: 0,
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
                work.check(link.received, &buffer[..count])?;
                link.received += count;
                if link.received == work.replies.len() {
                    now = Instant::now();
                    latency.record(now - sent_at[index]);
                    requests += work.pipeline as u64;
                    link.received = 0;
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
                work.check(link.received, &buffer[..count])?;
                let before = link.received / work.reply_bytes;
                link.received += count;
                let now = Instant::now();
                for _ in before..link.received / work.reply_bytes {
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
