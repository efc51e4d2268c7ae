//! The same commands to this server and to a real redis-server, replies compared byte for byte.

use std::io::Write;

use redoxide::base::prng::Prng;

use crate::harness::{Client, Peer, Server, Value, push_request, seed};

/// Two servers in the same state, one connection to each.
pub struct Pair {
    ours: Raw,
    theirs: Raw,
    /// What is compared after each random command as well.
    events: Option<[Events; 2]>,
    servers: (Server, Server),
}

/// Tells a story to this server and to Redis 8, where there is one; what they answer must be equal.
pub fn same_story(args: &[&str], story: impl Fn(&Server) -> Vec<String>) {
    let Some(theirs) = Peer::Redis8.start(args) else {
        return;
    };
    let ours = Server::start(args);
    let (ours, theirs) = (story(&ours), story(&theirs));
    for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "ours, theirs, at {place}");
    }
    assert_eq!(ours.len(), theirs.len(), "ours, theirs");
}

/// Hears what happens to keys, by keyspace notifications of all classes.
pub struct Events {
    listener: Client,
    sender: Client,
    marks: u64,
}

impl Events {
    /// Of all databases of a server, from now on.
    pub fn of(server: &Server) -> Events {
        let (mut listener, mut sender) = (server.client(), server.client());
        assert_eq!(sender.text("CONFIG SET notify-keyspace-events AKEmn"), "OK");
        listener.text("PSUBSCRIBE __key*__:*");
        listener.text("SUBSCRIBE mark");
        Events {
            listener,
            sender,
            marks: 0,
        }
    }

    /// As [`Events::take`] without what is a matter of time: the end of what is due; nor, for a command that `failed`, of
    /// what it looked for before it did.
    fn take_certain(&mut self, failed: bool) -> Vec<String> {
        let mut events = Vec::new();
        let mut ended = None;
        for event in self.take() {
            let (channel, message) = event.split_once(' ').unwrap_or_default();
            let (_, name) = channel.split_once("__:").unwrap_or_default();
            // (key, event)
            let (key, what) = match channel.starts_with("__keyspace@") {
                true => (name, message),
                false => (message, name),
            };
            let by_its_fields = what == "del" && ended.as_deref() == Some(key);
            match what {
                "expired" | "hexpired" => ended = Some(key.to_owned()),
                "keymiss" if failed => {}
                _ if by_its_fields => {}
                _ => events.push(event),
            }
        }
        events
    }

    /// Channels and messages since this was last called, in order.
    pub fn take(&mut self) -> Vec<String> {
        self.marks += 1;
        let mark = self.marks.to_string();
        assert_eq!(self.sender.text(&format!("PUBLISH mark {mark}")), "1");
        let mut events = Vec::new();
        loop {
            let Value::Array(words) = self.listener.read() else {
                panic!("no message");
            };
            let [.., channel, message] = &words[..] else {
                panic!("no message: {words:?}");
            };
            if channel.to_string() == "mark" {
                assert_eq!(message.to_string(), mark);
                return events;
            }
            events.push(format!("{channel} {message}"));
        }
    }
}

/// A connection that reads replies as bytes.
struct Raw {
    client: Client,
    buffer: Vec<u8>,
}

impl Pair {
    /// Starts this server and Redis 8; `None` where there is no Redis 8.
    pub fn start(args: &[&str]) -> Option<Pair> {
        Pair::start_with(Peer::Redis8, args)
    }

    /// As [`Pair::start`] with another peer.
    pub fn start_with(peer: Peer, args: &[&str]) -> Option<Pair> {
        let theirs = peer.start(args)?;
        let ours = Server::start(args);
        Some(Pair {
            ours: Raw::new(&ours),
            theirs: Raw::new(&theirs),
            events: None,
            servers: (ours, theirs),
        })
    }

    /// From now on [`Pair::random`] compares the events of keys too.
    ///
    /// Not when what is due ends, as each server finds it in its own time, nor what a command looked for that failed.
    pub fn watch_events(&mut self) {
        let (ours, theirs) = &self.servers;
        self.events = Some([Events::of(ours), Events::of(theirs)]);
    }

    /// Sends a command to both; (our reply, their reply).
    pub fn call(&mut self, words: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
        let mut request = Vec::new();
        push_request(&mut request, words);
        self.ours.send(&request);
        self.theirs.send(&request);
        (self.ours.read(), self.theirs.read())
    }

    /// Sends a line to both and expects the same bytes; returns them as text.
    pub fn same(&mut self, line: &str) -> String {
        let words = redoxide::base::quote::split_args(line.as_bytes()).expect("unbalanced quotes");
        let (ours, theirs) = self.call(&words);
        assert_eq!(
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(&theirs),
            "ours, theirs: {line}"
        );
        String::from_utf8_lossy(&ours).into_owned()
    }

    /// As [`Pair::same`] for seconds, which go on between the two: they may be a little apart.
    pub fn near(&mut self, line: &str) {
        let words = redoxide::base::quote::split_args(line.as_bytes()).expect("unbalanced quotes");
        let (ours, theirs) = self.call(&words);
        let seconds = |reply: &[u8]| -> Option<i64> {
            let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
            let seconds: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
            (seconds >= 0).then_some(seconds)
        };
        let near = match (seconds(&ours), seconds(&theirs)) {
            (Some(ours), Some(theirs)) => ours.abs_diff(theirs) < 20,
            _ => ours == theirs,
        };
        assert!(
            near,
            "{line}: {} {}",
            ours.escape_ascii(),
            theirs.escape_ascii()
        );
    }

    /// Their payload of DUMP.
    pub fn theirs_dump(&mut self, key: &str) -> Vec<u8> {
        let mut request = Vec::new();
        push_request(&mut request, &["DUMP", key]);
        self.theirs.send(&request);
        let reply = self.theirs.read();
        let start = reply
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        reply[start..reply.len() - 2].to_vec()
    }

    /// Runs `count` random commands in each protocol; `differs` judges replies that are not equal.
    pub fn random(
        &mut self,
        count: usize,
        command: impl FnMut(&mut Prng) -> Vec<Vec<u8>>,
        differs: impl Fn(&[Vec<u8>], &[u8], &[u8]) -> bool,
    ) {
        self.random_from(seed(), count, command, differs);
    }

    /// As [`Pair::random`], the same commands in every run.
    pub fn random_from(
        &mut self,
        seed: u64,
        count: usize,
        mut command: impl FnMut(&mut Prng) -> Vec<Vec<u8>>,
        differs: impl Fn(&[Vec<u8>], &[u8], &[u8]) -> bool,
    ) {
        println!("SEED={seed}");
        let mut prng = Prng::new(seed);
        for protocol in ["2", "3"] {
            self.same("FLUSHALL");
            self.call(&[b"HELLO".to_vec(), protocol.into()]);
            for step in 0..count {
                let words = command(&mut prng);
                let (ours, theirs) = self.call(&words);
                let reply = ours.clone();
                if ours != theirs && differs(&words, &ours, &theirs) {
                    panic!(
                        "SEED={seed} RESP{protocol} step {step}: {}\nours:   {}\ntheirs: {}",
                        shown(&words),
                        redoxide::base::quote::quoted(&ours),
                        redoxide::base::quote::quoted(&theirs)
                    );
                }
                if let Some([ours, theirs]) = &mut self.events {
                    let failed = reply.starts_with(b"-");
                    let (ours, theirs) = (ours.take_certain(failed), theirs.take_certain(failed));
                    assert_eq!(ours, theirs, "SEED={seed} step {step}: {}", shown(&words));
                }
            }
        }
    }
}

/// A command in one line.
fn shown(words: &[Vec<u8>]) -> String {
    let words = words.iter().map(|word| redoxide::base::quote::quoted(word));
    words.collect::<Vec<String>>().join(" ")
}

impl Raw {
    fn new(server: &Server) -> Raw {
        Raw {
            client: server.client(),
            buffer: Vec::new(),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.client.stream().write_all(bytes).expect("cannot send");
    }

    /// The bytes of one reply.
    fn read(&mut self) -> Vec<u8> {
        let mut end = 0;
        self.skip(&mut end);
        self.buffer.drain(..end).collect()
    }

    fn skip(&mut self, at: &mut usize) {
        let start = *at;
        let line_end = loop {
            let tail = &self.buffer[start..];
            if let Some(index) = tail.windows(2).position(|pair| pair == b"\r\n") {
                break start + index;
            }
            self.fill();
        };
        *at = line_end + 2;
        let kind = self.buffer[start];
        let number = String::from_utf8_lossy(&self.buffer[start + 1..line_end]).parse::<i64>();
        let count = number.unwrap_or(0).max(0) as usize;
        match kind {
            b'$' | b'=' if self.buffer[start + 1] != b'-' => {
                *at += count + 2;
                while self.buffer.len() < *at {
                    self.fill();
                }
            }
            b'*' | b'~' | b'>' => (0..count).for_each(|_| self.skip(at)),
            b'%' => (0..2 * count).for_each(|_| self.skip(at)),
            _ => {}
        }
    }

    fn fill(&mut self) {
        let mut chunk = [0; 1 << 14];
        match self.client.receive(&mut chunk) {
            Ok(count) if count > 0 => self.buffer.extend_from_slice(&chunk[..count]),
            other => panic!("no reply: {other:?}"),
        }
    }
}

/// One of the words.
pub fn pick(prng: &mut Prng, words: &[&str]) -> Vec<u8> {
    words[prng.below(words.len() as u64) as usize].into()
}

/// Up to `max` draws of `draw`, one after the other.
pub fn some(
    prng: &mut Prng,
    max: u64,
    mut draw: impl FnMut(&mut Prng) -> Vec<Vec<u8>>,
) -> Vec<Vec<u8>> {
    let count = prng.below(max + 1);
    (0..count).flat_map(|_| draw(prng)).collect()
}
