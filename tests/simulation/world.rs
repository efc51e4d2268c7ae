//! The world of one seed: nodes, the connections between them, clients, faults, and the final check.

use std::collections::VecDeque;

use redoxide::base::prng::Prng;
use redoxide::dispatch::Written;
use redoxide::engine::{ClientFlags, LinkId, encode_command};
use redoxide::replication::replica::State;

use super::commands::{self, request};
use super::host::SimHost;
use super::node::{Contents, Counts, Node, Wish};

/// The port of node 0; the others follow.
const PORT: u16 = 7000;
/// Rounds with faults and writes.
const ROUNDS: usize = 500;
/// Rounds that replicas have to catch up: 100 ms each, far beyond repl-timeout.
const QUIET_ROUNDS: usize = 400;
/// Clients of the source: while some wait, others write.
const CLIENTS: u64 = 4;

/// One direction of a connection: bytes on their way.
#[derive(Default)]
struct Pipe {
    /// (arrival, bytes)
    parts: VecDeque<(u64, Vec<u8>)>,
    last_arrival_ns: u64,
}

/// A connection from a replica to its master.
struct Connection {
    ends: [(usize, LinkId); 2],
    pipes: [Pipe; 2],
    /// Which ends have been told that it is closed.
    closed: [bool; 2],
}

/// A client of one node.
struct SimClient {
    node: usize,
    link: LinkId,
}

/// What happened in a run: a run in which nothing happens shows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// A hash of all that went over the network.
    pub trace: u64,
    /// Full synchronisations served.
    pub full_syncs: u64,
    /// Partial synchronisations served.
    pub partial_syncs: u64,
    /// Keys that expired.
    pub expired: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Restarts from an RDB.
    pub loads: u64,
    /// Keys compared at the end.
    pub keys: u64,
    /// Of each type.
    pub kinds: [u64; 6],
    /// Fields with deadlines compared at the end.
    pub timed_fields: u64,
    /// Pending entries compared at the end.
    pub pending: u64,
    /// Fields that expired.
    pub expired_fields: u64,
    /// Snapshots that were saved in the background.
    pub snapshots: u64,
    /// Requests that found their client waiting for a key.
    pub blocked: u64,
}

impl Summary {
    /// Adds another run's figures.
    pub fn add(&mut self, other: Summary) {
        self.trace ^= other.trace;
        self.full_syncs += other.full_syncs;
        self.partial_syncs += other.partial_syncs;
        self.expired += other.expired;
        self.crashes += other.crashes;
        self.loads += other.loads;
        self.keys += other.keys;
        self.timed_fields += other.timed_fields;
        self.pending += other.pending;
        self.expired_fields += other.expired_fields;
        self.snapshots += other.snapshots;
        self.blocked += other.blocked;
        for (mine, other) in self.kinds.iter_mut().zip(other.kinds) {
            *mine += other;
        }
    }
}

/// Everything of one run.
pub struct World {
    prng: Prng,
    hosts: Vec<SimHost>,
    nodes: Vec<Option<Node>>,
    /// Whom each node replicates.
    masters: Vec<Option<usize>>,
    /// Nodes that have not been told so yet.
    untold: Vec<bool>,
    connections: Vec<Connection>,
    clients: Vec<SimClient>,
    now_ns: u64,
    /// Ids that streams were given.
    ids: u64,
    summary: Summary,
}

impl World {
    /// A fresh world of this seed.
    pub fn new(seed: u64) -> World {
        let mut prng = Prng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED);
        let count = 2 + prng.below(3) as usize;
        let mut masters = vec![None];
        for index in 1..count {
            // Sometimes a chain instead of a star.
            let master = if prng.below(3) == 0 { index - 1 } else { 0 };
            masters.push(Some(master));
        }
        let now_ns = 1_000_000_000;
        let mut hosts: Vec<SimHost> = (0..count)
            .map(|_| SimHost {
                now_ns,
                skew_us: prng.below(2_000_000) as i64 - 1_000_000,
                disk: Default::default(),
                entropy: prng.next_u64(),
            })
            .collect();
        let nodes = (0..count)
            .map(|index| {
                Some(Node::start(
                    &mut hosts[index],
                    port(index),
                    masters[index].map(port),
                ))
            })
            .collect();
        World {
            prng,
            hosts,
            nodes,
            masters,
            untold: vec![false; count],
            connections: Vec::new(),
            clients: Vec::new(),
            now_ns,
            ids: 0,
            summary: Summary::default(),
        }
    }

    /// Runs it, and checks.
    pub fn run(mut self) -> Summary {
        for _ in 0..ROUNDS {
            let step_ns = match self.prng.below(10) {
                0 => 400_000_000,
                1..4 => 30_000_000,
                _ => 1_000_000,
            };
            self.now_ns += self.prng.below(step_ns);
            for _ in 0..self.prng.below(4) {
                self.write();
            }
            if self.prng.below(25) == 0 {
                self.fault();
            }
            self.round();
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index].is_none() {
                self.restart(index);
            }
        }
        for round in 0..QUIET_ROUNDS {
            self.now_ns += 100_000_000;
            self.round();
            if round > 50 && self.settled() {
                break;
            }
        }
        self.check();
        self.check_digests();
        self.check_file();
        for index in 0..self.nodes.len() {
            self.count(index);
        }
        self.summary
    }

    // ---- clients -------------------------------------------------------------------------------

    fn source(&self) -> usize {
        self.masters
            .iter()
            .position(Option::is_none)
            .expect("one node has no master")
    }

    fn write(&mut self) {
        let node = self.source();
        if self.nodes[node].is_none() {
            return;
        }
        let chosen = self.prng.below(CLIENTS) as usize;
        let mut of_source = (0..self.clients.len()).filter(|at| self.clients[*at].node == node);
        let client = match of_source.nth(chosen) {
            Some(client) => client,
            None => {
                let Some(running) = &mut self.nodes[node] else {
                    return;
                };
                let link = running.open("client");
                self.clients.push(SimClient { node, link });
                self.clients.len() - 1
            }
        };
        if let Some(running) = &self.nodes[node] {
            let client = running
                .machine
                .engine
                .clients
                .get(self.clients[client].link);
            let waits = client.is_some_and(|client| client.is(ClientFlags::BLOCKED));
            self.summary.blocked += u64::from(waits);
        }
        let mut bytes = Vec::new();
        let transaction = self.prng.below(6) == 0;
        if transaction {
            bytes.extend(request(&["MULTI"]));
        }
        for _ in 0..1 + self.prng.below(4) {
            let words = commands::command(&mut self.prng, &mut self.ids);
            encode_command(&mut bytes, words.iter().map(Vec::as_slice));
        }
        if transaction {
            bytes.extend(request(&["EXEC"]));
        }
        let (node, link) = (self.clients[client].node, self.clients[client].link);
        let cut = self.prng.below(bytes.len() as u64 + 1) as usize;
        for part in [&bytes[..cut], &bytes[cut..]] {
            if let Some(running) = &mut self.nodes[node] {
                self.hosts[node].now_ns = self.hosts[node].now_ns.max(self.now_ns);
                running.machine.begin_round(&mut self.hosts[node]);
                running.machine.input(link, part, &mut self.hosts[node]);
            }
        }
    }

    // ---- faults --------------------------------------------------------------------------------

    fn fault(&mut self) {
        let any = self.prng.below(self.nodes.len() as u64) as usize;
        match self.prng.below(14) {
            12 | 13 => self.stall(),
            0..7 => {
                if !self.connections.is_empty() {
                    let index = self.prng.below(self.connections.len() as u64) as usize;
                    self.cut(index);
                }
            }
            7 | 8 => self.crash(any),
            9 | 10 => {
                for index in 0..self.nodes.len() {
                    if self.nodes[index].is_none() {
                        self.restart(index);
                    }
                }
            }
            _ => self.promote(any),
        }
    }

    /// Cuts a connection: what is on its way is lost, both ends are told.
    fn cut(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.pipes = Default::default();
        for side in 0..2 {
            let (node, link) = connection.ends[side];
            if !std::mem::replace(&mut connection.closed[side], true)
                && let Some(node) = &mut self.nodes[node]
            {
                node.machine.closed(link);
            }
        }
    }

    /// Nothing arrives over a connection for up to four seconds: that replica lags.
    fn stall(&mut self) {
        let until = self.now_ns + self.prng.below(4_000_000_000);
        if !self.connections.is_empty() {
            let index = self.prng.below(self.connections.len() as u64) as usize;
            for pipe in &mut self.connections[index].pipes {
                pipe.last_arrival_ns = pipe.last_arrival_ns.max(until);
            }
        }
    }

    /// Adds a node's counters to the summary, once: at its end.
    fn count(&mut self, index: usize) {
        let Some(node) = &self.nodes[index] else {
            return;
        };
        let stats = &node.machine.engine.stats;
        self.summary.full_syncs += stats.sync_full;
        self.summary.partial_syncs += stats.sync_partial_ok;
        self.summary.expired += stats.expired_keys;
        self.summary.expired_fields += stats.expired_subkeys;
        self.summary.snapshots += stats.snapshots;
        self.summary.keys += node.contents().len() as u64;
        let mut counts = Counts::default();
        node.count(&mut counts);
        self.summary.timed_fields += counts.timed_fields;
        self.summary.pending += counts.pending;
        for (sum, count) in self.summary.kinds.iter_mut().zip(counts.kinds) {
            *sum += count;
        }
    }

    fn crash(&mut self, index: usize) {
        if self.nodes[index].is_some() {
            self.count(index);
            self.summary.crashes += 1;
        }
        if self.nodes[index].take().is_none() {
            return;
        }
        for connection in 0..self.connections.len() {
            let at = self.connections[connection]
                .ends
                .iter()
                .position(|end| end.0 == index);
            if let Some(side) = at {
                self.connections[connection].closed[side] = true;
                self.cut(connection);
            }
        }
        self.clients.retain(|client| client.node != index);
    }

    fn restart(&mut self, index: usize) {
        if self.nodes[index].is_none() {
            let host = &mut self.hosts[index];
            host.now_ns = host.now_ns.max(self.now_ns);
            self.summary.loads += u64::from(!host.disk.is_empty());
            self.nodes[index] = Some(Node::start(
                host,
                port(index),
                self.masters[index].map(port),
            ));
        }
    }

    /// Makes another node the source, and everybody its replica.
    fn promote(&mut self, index: usize) {
        if self.nodes.iter().any(Option::is_none) || self.masters[index].is_none() {
            return;
        }
        for node in 0..self.nodes.len() {
            self.masters[node] = (node != index).then_some(index);
            self.untold[node] = true;
        }
        self.clients.clear();
    }

    /// Tells a node whom it replicates from now on, once it can hear it: while it loads, REPLICAOF is refused.
    fn tell_master(&mut self, node: usize) {
        let Some(running) = &mut self.nodes[node] else {
            // It starts with the new master.
            self.untold[node] = false;
            return;
        };
        if !self.untold[node] || running.machine.engine.is_loading() {
            return;
        }
        self.untold[node] = false;
        let order = match self.masters[node] {
            None => request(&["REPLICAOF", "NO", "ONE"]),
            Some(master) => request(&["REPLICAOF", "127.0.0.1", &port(master).to_string()]),
        };
        let link = running.open("admin");
        running.machine.input(link, &order, &mut self.hosts[node]);
        running.machine.closed(link);
    }

    // ---- the network ---------------------------------------------------------------------------

    fn round(&mut self) {
        for index in 0..self.nodes.len() {
            let host = &mut self.hosts[index];
            host.now_ns = host.now_ns.max(self.now_ns);
            if let Some(node) = &mut self.nodes[index] {
                node.machine.begin_round(host);
            }
            self.tell_master(index);
            self.deliver(index);
            self.finish(index);
        }
        self.connections
            .retain(|connection| connection.closed != [true, true]);
    }

    /// Hands a node what has arrived for it, cut anywhere.
    fn deliver(&mut self, index: usize) {
        for connection in &mut self.connections {
            for side in 0..2 {
                let (node, link) = connection.ends[side];
                if node != index || connection.closed[side] {
                    continue;
                }
                let Some(running) = &mut self.nodes[node] else {
                    continue;
                };
                let pipe = &mut connection.pipes[side];
                while pipe
                    .parts
                    .front()
                    .is_some_and(|(arrival, _)| *arrival <= self.now_ns)
                {
                    let Some((_, bytes)) = pipe.parts.pop_front() else {
                        break;
                    };
                    let cut = self.prng.below(bytes.len() as u64 + 1) as usize;
                    for part in [&bytes[..cut], &bytes[cut..]] {
                        if !part.is_empty() {
                            running.machine.input(link, part, &mut self.hosts[node]);
                        }
                    }
                }
            }
        }
    }

    /// Ends a node's round: its output goes on its way, its wishes are granted.
    fn finish(&mut self, index: usize) {
        let Some(node) = &mut self.nodes[index] else {
            return;
        };
        let wishes = node.end_round(&mut self.hosts[index], &mut self.prng);
        let mut dirty = Vec::new();
        node.machine.take_dirty_links(&mut dirty);
        for link in dirty {
            self.send(index, link);
        }
        let Some(node) = &mut self.nodes[index] else {
            return;
        };
        node.machine.drop_closing();
        // Not before all wishes are granted: the shell's slab does not reuse a number either while it is taken.
        let mut freed = Vec::new();
        for wish in wishes {
            match wish {
                Wish::Closed(link) => {
                    self.closed(index, link);
                    freed.push(link);
                }
                Wish::Connect(to) => self.connect(index, usize::from(to - PORT)),
            }
        }
        if let Some(node) = &mut self.nodes[index] {
            freed.into_iter().for_each(|link| node.free_link(link));
        }
    }

    fn send(&mut self, index: usize, link: LinkId) {
        let Some(node) = &mut self.nodes[index] else {
            return;
        };
        let connection = self.connections.iter_mut().find_map(|connection| {
            let side = connection
                .ends
                .iter()
                .position(|end| *end == (index, link))?;
            (!connection.closed[side]).then_some((connection, side))
        });
        let mut sent = Vec::new();
        loop {
            let bytes = node.machine.output(link);
            if bytes.is_empty() {
                break;
            }
            let count = bytes.len().min(1 + self.prng.below(20_000) as usize);
            sent.extend_from_slice(&bytes[..count]);
            if node.machine.wrote(link, count) == Written::End {
                node.machine.closed(link);
                break;
            }
        }
        for byte in &sent {
            let trace = &mut self.summary.trace;
            *trace = (*trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
        if let Some((connection, side)) = connection
            && !sent.is_empty()
        {
            let pipe = &mut connection.pipes[1 - side];
            let arrival = (self.now_ns + self.prng.below(30_000_000)).max(pipe.last_arrival_ns);
            pipe.last_arrival_ns = arrival;
            pipe.parts.push_back((arrival, sent));
        }
    }

    /// A node closed its end: the other one hears of it.
    fn closed(&mut self, index: usize, link: LinkId) {
        self.clients
            .retain(|client| (client.node, client.link) != (index, link));
        let found = self.connections.iter().position(|connection| {
            (0..2).any(|side| connection.ends[side] == (index, link) && !connection.closed[side])
        });
        if let Some(found) = found {
            let side = usize::from(self.connections[found].ends[1] == (index, link));
            self.connections[found].closed[side] = true;
            self.cut(found);
        }
    }

    fn connect(&mut self, from: usize, to: usize) {
        let reachable = from != to && self.nodes[to].is_some();
        let Some(replica) = &mut self.nodes[from] else {
            return;
        };
        if !reachable {
            replica.machine.master_failed("Connection refused");
            return;
        }
        let near = replica.open_master();
        replica.machine.connected(near, None);
        let Some(master) = &mut self.nodes[to] else {
            return;
        };
        let far = master.open("replica");
        self.connections.push(Connection {
            ends: [(from, near), (to, far)],
            pipes: Default::default(),
            closed: [false, false],
        });
        self.send(from, near);
    }

    // ---- the check -----------------------------------------------------------------------------

    fn offset(&self, index: usize) -> i64 {
        self.nodes[index]
            .as_ref()
            .map_or(-1, |node| node.machine.engine.replication.stream.offset())
    }

    /// Whether every replica follows the stream and stands where its source stands.
    fn settled(&self) -> bool {
        let source = self.offset(self.source());
        (0..self.nodes.len()).all(|index| {
            let state = self.nodes[index]
                .as_ref()
                .and_then(|node| node.machine.engine.replication.master_state());
            let follows = self.masters[index].is_none() || state == Some(State::Connected);
            follows && self.offset(index) == source
        })
    }

    fn check(&self) {
        let states: Vec<_> = (self.nodes.iter().flatten())
            .map(|node| {
                (
                    node.machine.engine.replication.master_state(),
                    node.machine.engine.replication.stream.offset(),
                )
            })
            .collect();
        assert!(
            self.settled(),
            "replicas do not catch up: {states:?}, masters {:?}",
            self.masters
        );
        let source = self.source();
        let expected = self.nodes[source]
            .as_ref()
            .expect("the source runs")
            .contents();
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            assert_eq!(
                self.offset(index),
                self.offset(source),
                "node {index} is not where its source {source} is"
            );
            let (one, other) = (format!("node {index}"), format!("its source {source}"));
            differs(&one, &node.contents(), &other, &expected);
        }
    }

    /// DEBUG DIGEST is the same everywhere.
    fn check_digests(&mut self) {
        let request = request(&["DEBUG", "DIGEST"]);
        let hosts = self.hosts.iter_mut();
        let nodes = self.nodes.iter_mut().flatten();
        let digests: Vec<Vec<u8>> = nodes
            .zip(hosts)
            .map(|(node, host)| node.ask(host, &request))
            .collect();
        assert!(
            digests[0].len() == 43 && digests.iter().all(|digest| *digest == digests[0]),
            "digests differ: {digests:?}"
        );
    }

    /// What the source saves is what a node then loads.
    fn check_file(&mut self) {
        let source = self.source();
        let host = &mut self.hosts[source];
        let Some(node) = &mut self.nodes[source] else {
            return;
        };
        let reply = node.ask(host, &request(&["SAVE"]));
        if reply != b"+OK\r\n" {
            // One in the background is under way.
            return;
        }
        let saved = node.contents();
        let loaded = Node::loaded_contents(host, port(source));
        differs("what was loaded", &loaded, "what was saved", &saved);
    }
}

/// Panics where contents differ.
fn differs(one: &str, contents: &Contents, other: &str, expected: &Contents) {
    if contents == expected {
        return;
    }
    for key in expected.keys().chain(contents.keys()) {
        if expected.get(key) != contents.get(key) {
            let (mine, theirs) = (contents.get(key), expected.get(key));
            let value = |found: Option<&(Vec<u8>, Option<i64>)>| {
                found.map_or(Vec::new(), |(value, _)| value.clone())
            };
            let same = std::iter::zip(value(mine), value(theirs));
            let same = same.take_while(|(one, other)| one == other).count();
            let show = |found: Option<&(Vec<u8>, Option<i64>)>| {
                found.map(|(value, at)| {
                    let from = &value[same.saturating_sub(200)..value.len().min(same + 400)];
                    (from.escape_ascii().to_string(), *at)
                })
            };
            panic!(
                "{one} ({} keys) differs from {other} ({} keys) at {} {}, byte {same}: {:?} instead of {:?}",
                contents.len(),
                expected.len(),
                key.0,
                key.1.escape_ascii(),
                show(mine),
                show(theirs)
            );
        }
    }
}

fn port(index: usize) -> u16 {
    PORT + index as u16
}
