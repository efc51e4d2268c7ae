//! MIGRATE to a target that answers, refuses, raves, breaks off and hangs, at random, from one seed: a key goes only
//! when the target has agreed to the value that it had last, and in the end nobody waits.

use std::collections::BTreeMap;

use redoxide::base::prng::Prng;
use redoxide::config::{Config, SavePoints};
use redoxide::dispatch::{LinkFacts, Machine};
use redoxide::engine::{Action, LinkId};

use super::commands::request;
use super::host::SimHost;

const SEEDS: u64 = 300;
const STEPS: usize = 300;
const KEYS: u64 = 6;
const CLIENTS: usize = 5;

/// A connection of a client, and the lines of the reply that it awaits.
struct Client {
    link: LinkId,
    lines: usize,
    deletes: bool,
    reply: Vec<u8>,
}

/// A connection to the target.
#[derive(Default)]
struct Target {
    connected: bool,
    hangs: bool,
    asked: Vec<u8>,
    answers: Vec<u8>,
}

struct World {
    prng: Prng,
    host: SimHost,
    machine: Machine,
    clients: Vec<Client>,
    targets: BTreeMap<LinkId, Target>,
    free: Vec<LinkId>,
    next_link: LinkId,
    /// The value that the target agreed to last, by key.
    agreed: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What is stored at the end of a round.
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A client deleted something in this round.
    deletes: bool,
    faults: bool,
    next_value: u64,
    /// Keys that were moved.
    moved: u64,
}

/// Takes a whole command off the front.
fn take_command(bytes: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut at = 0;
    let line = |at: &mut usize| -> Option<usize> {
        let length = bytes.get(*at..)?.iter().position(|&byte| byte == b'\n')?;
        let text = std::str::from_utf8(&bytes[*at + 1..*at + length - 1]).expect("a number");
        *at += length + 1;
        Some(text.parse().expect("a number"))
    };
    let count = line(&mut at)?;
    let mut command = Vec::new();
    for _ in 0..count {
        let length = line(&mut at)?;
        command.push(bytes.get(at..at + length)?.to_vec());
        at += length + 2;
    }
    if at > bytes.len() {
        return None;
    }
    bytes.drain(..at);
    Some(command)
}

impl World {
    fn new(seed: u64) -> World {
        let mut host = SimHost {
            now_ns: 0,
            skew_us: 0,
            disk: BTreeMap::new(),
            entropy: seed,
        };
        let config = Config {
            save: SavePoints(Vec::new()),
            ..Config::default()
        };
        let machine = Machine::new(config, seed, &mut host).expect("a machine");
        let mut world = World {
            prng: Prng::new(seed),
            host,
            machine,
            clients: Vec::new(),
            targets: BTreeMap::new(),
            free: Vec::new(),
            next_link: 0,
            agreed: BTreeMap::new(),
            stored: BTreeMap::new(),
            deletes: false,
            faults: true,
            next_value: 0,
            moved: 0,
        };
        for _ in 0..CLIENTS {
            let client = world.open();
            world.clients.push(client);
        }
        world
    }

    fn new_link(&mut self) -> LinkId {
        self.free.pop().unwrap_or_else(|| {
            self.next_link += 1;
            self.next_link - 1
        })
    }

    fn open(&mut self) -> Client {
        let link = self.new_link();
        let facts = LinkFacts {
            loopback: true,
            ..LinkFacts::default()
        };
        self.machine.open(link, facts);
        Client {
            link,
            lines: 0,
            deletes: false,
            reply: Vec::new(),
        }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.prng.below(one_in) == 0
    }

    /// A client that awaits nothing asks for something.
    fn ask(&mut self, index: usize) {
        if self.clients[index].lines > 0 {
            return;
        }
        let key = format!("k{}", self.prng.below(KEYS));
        self.next_value += 1;
        let value = format!("value:{}", self.next_value);
        let kind = self.prng.below(20);
        let (request, lines) = match kind {
            0..=6 => (request(&["SET", &key, &value]), 1),
            7 => (request(&["DEL", &key]), 1),
            8 => (request(&["FLUSHALL", "ASYNC"]), 1),
            9 | 10 => {
                // OK, QUEUED, and an array of one.
                let queue = [
                    request(&["MULTI"]),
                    request(&["SET", &key, &value]),
                    request(&["EXEC"]),
                ];
                (queue.concat(), 4)
            }
            _ => (self.migrate(&key), 1),
        };
        let client = &mut self.clients[index];
        client.lines = lines;
        client.deletes = matches!(kind, 7 | 8);
        self.machine.input(client.link, &request, &mut self.host);
    }

    fn migrate(&mut self, key: &str) -> Vec<u8> {
        let port = format!("{}", 7000 + self.prng.below(2));
        let db = format!("{}", self.prng.below(2));
        let several = self.chance(2);
        let only = if several { "" } else { key };
        let mut line = vec!["MIGRATE", "127.0.0.1", &port, only, &db, "50"];
        for (option, one_in) in [("COPY", 6), ("REPLACE", 2)] {
            if self.chance(one_in) {
                line.push(option);
            }
        }
        if self.chance(6) {
            line.extend(["AUTH", "password"]);
        }
        let names: Vec<String> = (0..1 + self.prng.below(KEYS))
            .map(|key| format!("k{key}"))
            .collect();
        if several {
            line.push("KEYS");
            line.extend(names.iter().map(String::as_str));
        }
        request(&line)
    }

    /// What the target does on one connection.
    fn play(&mut self, link: LinkId) {
        let Some(mut target) = self.targets.remove(&link) else {
            return;
        };
        if !target.connected {
            if self.faults && self.chance(8) {
                self.machine.connected(link, Some("refused".into()));
            } else if self.chance(2) {
                target.connected = true;
                self.machine.connected(link, None);
            }
            self.targets.insert(link, target);
            return;
        }
        let output = self.machine.output(link).len();
        let taken = (self.prng.below(120) as usize).min(output);
        let taken = if self.faults { taken } else { output };
        if taken > 0 {
            target
                .asked
                .extend_from_slice(&self.machine.output(link)[..taken]);
            self.machine.wrote(link, taken);
        }
        target.hangs |= self.faults && self.chance(200);
        while !target.hangs
            && let Some(command) = take_command(&mut target.asked)
        {
            let answer: &[u8] = match self.prng.below(if self.faults { 40 } else { 20 }) {
                20..=23 => b"-BUSYKEY Target key name already exists.\r\n",
                24 => b"-\r\n",
                25 => b"$5\r\nhello\r\n",
                26 => b"HTTP/1.1 400 Bad Request\r\n\r\n",
                27 => &[b'+'; 3000],
                _ => b"+OK\r\n",
            };
            if answer == b"+OK\r\n" && command[0] == b"RESTORE" {
                let payload = &command[3];
                let length = usize::from(payload[1]);
                self.agreed
                    .insert(command[1].clone(), payload[2..2 + length].to_vec());
            }
            target.answers.extend_from_slice(answer);
        }
        let part = (self.prng.below(30) as usize).min(target.answers.len());
        let part: Vec<u8> = target.answers.drain(..part).collect();
        if !part.is_empty() {
            self.machine.input(link, &part, &mut self.host);
        }
        if self.faults && self.chance(60) {
            self.machine.closed(link);
        }
        self.targets.insert(link, target);
    }

    fn round(&mut self) {
        self.host.now_ns += self.prng.below(8_000_000);
        self.machine.begin_round(&mut self.host);
        let links: Vec<LinkId> = self.targets.keys().copied().collect();
        for link in links {
            self.play(link);
        }
        if self.faults {
            let index = self.prng.below(CLIENTS as u64) as usize;
            if self.chance(60) {
                self.machine.closed(self.clients[index].link);
            } else {
                self.ask(index);
            }
        }
        self.machine.end_round(&mut self.host);
        self.read_replies();
        self.machine.drop_closing();
        self.carry_out();
        self.compare();
    }

    fn read_replies(&mut self) {
        for client in &mut self.clients {
            let bytes = self.machine.output(client.link).to_vec();
            if bytes.is_empty() {
                continue;
            }
            self.machine.wrote(client.link, bytes.len());
            client.reply.extend_from_slice(&bytes);
            let lines = client.reply.iter().filter(|&&byte| byte == b'\n').count();
            assert!(lines <= client.lines, "{}", client.reply.escape_ascii());
            self.deletes |= client.deletes;
            if lines == client.lines {
                client.lines = 0;
                client.reply.clear();
            }
        }
    }

    fn carry_out(&mut self) {
        for action in std::mem::take(&mut self.machine.engine.actions) {
            match action {
                Action::Close(link) => {
                    self.free.push(link);
                    if self.targets.remove(&link).is_none() {
                        let index = self.clients.iter().position(|client| client.link == link);
                        let client = self.open();
                        self.clients[index.expect("a client's link")] = client;
                    }
                }
                Action::ConnectTarget {
                    number, attempt, ..
                } => {
                    if attempt > 1 {
                        self.machine.target_failed(number);
                    } else if self.faults && self.chance(10) {
                        self.machine.target_refused(number);
                    } else {
                        let link = self.new_link();
                        self.targets.insert(link, Target::default());
                        self.machine.target_opened(number, link);
                    }
                }
                Action::Free(garbage) => drop(garbage),
                _ => panic!("nothing else was asked for"),
            }
        }
    }

    /// A key that is gone is at the target, with the value that it had.
    fn compare(&mut self) {
        let mut stored = BTreeMap::new();
        self.machine.engine.keyspace.for_each(0, |entry| {
            let mut value = Vec::new();
            entry.string().push_to(&mut value);
            stored.insert(entry.key().to_vec(), value);
        });
        for (key, value) in &self.stored {
            if stored.contains_key(key) || self.deletes {
                continue;
            }
            let (agreed, name) = (self.agreed.get(key), key.escape_ascii());
            assert_eq!(
                agreed,
                Some(value),
                "{name} is gone, and not at the target as it was"
            );
            self.moved += 1;
        }
        self.stored = stored;
        self.deletes = false;
    }

    fn run(mut self) -> u64 {
        for _ in 0..STEPS {
            self.round();
        }
        self.faults = false;
        for target in self.targets.values_mut() {
            target.hangs = false;
        }
        for _ in 0..4000 {
            self.round();
        }
        let waiting = self.clients.iter().filter(|client| client.lines > 0);
        assert_eq!(waiting.count(), 0, "clients that wait");
        let migrations = &self.machine.engine.migrations;
        assert!(migrations.is_idle() && migrations.locks_nothing());
        // Kept connections are closed by now.
        assert_eq!((migrations.sockets(), self.targets.len()), (0, 0));
        self.moved
    }
}

#[test]
fn keys_move_whole_or_stay() {
    let mut moved = 0;
    for seed in 0..super::number("SIMULATION_SEEDS").unwrap_or(SEEDS) {
        let run = std::panic::catch_unwind(|| World::new(seed).run());
        match run {
            Ok(count) => moved += count,
            Err(_) => panic!("seed {seed} fails"),
        }
    }
    assert!(moved > 0, "nothing was moved");
}
