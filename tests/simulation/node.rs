//! One node: a machine, and the jobs that its helper threads would do.

use std::collections::{BTreeMap, VecDeque};

use redoxide::base::prng::Prng;
use redoxide::base::time::UnixMs;
use redoxide::config::{Config, Permit, ReplicaOf, SavePoints};
use redoxide::dispatch::{LinkFacts, Machine};
use redoxide::engine::{Action, LinkId, SaveJob, SyncJob};
use redoxide::keyspace::Snapshot;
use redoxide::rdb::decode::{Batch, Decoded, Decoder};
use redoxide::rdb::encode::{EncodeOptions, Progress};
use redoxide::types::{Stream, StreamId, StringRef, ValueRef};

use super::host::{self, SimHost};

/// The RDB file of every node, on its own disk.
const FILE: &str = "dump.rdb";

/// A database's keys: key, value, deadline.
pub type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

/// What a node asks of the world.
pub enum Wish {
    /// Connect to the node with this port.
    Connect(u16),
    /// This link's socket is closed.
    Closed(LinkId),
}

/// A node that runs.
pub struct Node {
    pub machine: Machine,
    next_link: LinkId,
    free_links: Vec<LinkId>,
    /// Each with what it encoded to when it was taken.
    saves: VecDeque<(SaveJob, Vec<u8>)>,
    sync: Option<(SyncJob, Vec<u8>)>,
    chunks: Option<(u64, VecDeque<Vec<u8>>)>,
}

/// The configuration of a node. The encodings change early, and not everywhere at the same size.
fn config(port: u16, master: Option<u16>) -> Config {
    let small = if port.is_multiple_of(2) { 5 } else { 9 };
    Config {
        enable_debug_command: Permit::Yes,
        hash_max_listpack_entries: small,
        set_max_intset_entries: small,
        set_max_listpack_entries: small + 2,
        zset_max_listpack_entries: small,
        list_max_listpack_size: small,
        stream_node_max_entries: 7,
        port: i64::from(port),
        dbfilename: FILE.into(),
        save: SavePoints(Vec::new()),
        repl_diskless_sync: !port.is_multiple_of(3),
        repl_diskless_sync_delay: 0,
        repl_timeout: 5,
        repl_ping_replica_period: 1,
        repl_backlog_size: 64 * 1024,
        replicaof: ReplicaOf(master.map(|port| ("127.0.0.1".to_string(), port))),
        ..Config::default()
    }
}

impl Node {
    /// Starts a node, from its last RDB when there is one.
    pub fn start(host: &mut SimHost, port: u16, master: Option<u16>) -> Node {
        use redoxide::engine::Host;
        let seed = host.entropy();
        let mut machine = Machine::new(config(port, master), seed, host).expect("a machine");
        machine.engine.start_replication();
        if let Some(file) = host.disk.get(&machine.engine.rdb_path()).cloned() {
            load(&mut machine, host, &file);
        }
        Node {
            machine,
            next_link: 0,
            free_links: Vec::new(),
            saves: VecDeque::new(),
            sync: None,
            chunks: None,
        }
    }

    /// A link that is free.
    pub fn new_link(&mut self) -> LinkId {
        self.free_links.pop().unwrap_or_else(|| {
            self.next_link += 1;
            self.next_link - 1
        })
    }

    /// A link's socket is gone: its number may be used again.
    pub fn free_link(&mut self, link: LinkId) {
        self.free_links.push(link);
    }

    /// Opens a link as an accepted connection.
    pub fn open(&mut self, name: &str) -> LinkId {
        let link = self.new_link();
        self.machine.open(link, facts(name));
        link
    }

    /// Opens a link as the connection to the master.
    pub fn open_master(&mut self) -> LinkId {
        let link = self.new_link();
        self.machine.master_opened(link, facts("master"));
        link
    }

    /// What the shell does at the end of a round: timers, helpers' work, actions. Output stays.
    pub fn end_round(&mut self, host: &mut SimHost, prng: &mut Prng) -> Vec<Wish> {
        self.machine.end_round(host);
        self.run_save(host, prng);
        self.run_sync(prng);
        self.machine.drop_closing();
        let mut wishes = Vec::new();
        for action in std::mem::take(&mut self.machine.engine.actions) {
            match action {
                Action::Close(link) => wishes.push(Wish::Closed(link)),
                Action::Free(garbage) => drop(garbage),
                Action::Save(mut job) => {
                    let first = taken(&mut job.snapshot, &job.options, job.now);
                    self.saves.push_back((*job, first));
                }
                Action::Loaded(_) => {}
                Action::ConnectMaster(_, port) => wishes.push(Wish::Connect(port)),
                Action::Sync(mut job) => {
                    let first = taken(&mut job.snapshot, &job.options, job.now);
                    self.sync = Some((*job, first));
                }
                Action::ConnectTarget { number, .. } => self.machine.target_failed(number),
                Action::Exit(code) => panic!("the machine wants to end with {code}"),
            }
        }
        wishes
    }

    /// A background save ends some rounds after it began: what was written meanwhile is not in it.
    fn run_save(&mut self, host: &mut SimHost, prng: &mut Prng) {
        if self.saves.is_empty() || prng.below(4) != 0 {
            return;
        }
        let Some((mut job, first)) = self.saves.pop_front() else {
            return;
        };
        let (id, path) = (job.id, job.path.clone());
        let encoded = host::encode(&mut job.snapshot, &job.options, job.now, &job.progress);
        let result = encoded.map(|(file, written)| {
            assert!(file == first, "a snapshot changed behind a save");
            host.disk.insert(path, file);
            written
        });
        self.machine.save_ended(id, result);
    }

    /// A full sync is encoded some rounds after its snapshot, and handed on in parts.
    fn run_sync(&mut self, prng: &mut Prng) {
        if prng.below(3) == 0
            && let Some((mut job, first)) = self.sync.take()
        {
            let file = taken(&mut job.snapshot, &job.options, job.now);
            assert!(file == first, "a snapshot changed behind a full sync");
            let size = 1 + prng.below(5000) as usize;
            let mut chunks: VecDeque<Vec<u8>> = file.chunks(size).map(<[u8]>::to_vec).collect();
            if matches!(job.framing, redoxide::replication::source::Framing::Length) {
                chunks.push_front(format!("${}\r\n", file.len()).into_bytes());
            }
            self.chunks = Some((job.id, chunks));
        }
        let Some((id, chunks)) = &mut self.chunks else {
            return;
        };
        let id = *id;
        if !self.machine.sync_is_wanted(id) {
            self.machine.sync_ended(id, Some("last replica dropped"));
            self.chunks = None;
            return;
        }
        while self.machine.sync_wants_data() {
            match chunks.pop_front() {
                Some(chunk) => self.machine.sync_data(id, &chunk),
                None => {
                    self.machine.sync_ended(id, None);
                    self.chunks = None;
                    return;
                }
            }
        }
    }

    /// All that is stored, due keys included.
    pub fn contents(&self) -> Contents {
        let keyspace = &self.machine.engine.keyspace;
        let mut contents = Contents::new();
        for db in 0..keyspace.count() {
            keyspace.for_each(db, |entry| {
                let mut value = Vec::new();
                push_value(ValueRef::of(entry), &mut value);
                contents.insert((db, entry.key().to_vec()), (value, entry.expire_at()));
            });
        }
        contents
    }

    /// What a client is answered.
    pub fn ask(&mut self, host: &mut SimHost, request: &[u8]) -> Vec<u8> {
        let link = self.open("asker");
        self.machine.begin_round(host);
        self.machine.input(link, request, host);
        let mut reply = Vec::new();
        loop {
            let part = self.machine.output(link).to_vec();
            if part.is_empty() {
                break;
            }
            self.machine.wrote(link, part.len());
            reply.extend(part);
        }
        self.machine.closed(link);
        reply
    }

    /// A node that has just loaded the file of this disk, as a replica would.
    pub fn loaded_contents(host: &mut SimHost, port: u16) -> Contents {
        Node::start(host, port, Some(port + 1)).contents()
    }

    /// Counts what there is.
    pub fn count(&self, counts: &mut Counts) {
        let keyspace = &self.machine.engine.keyspace;
        for db in 0..keyspace.count() {
            keyspace.for_each(db, |entry| {
                counts.kinds[entry.kind() as usize] += 1;
                match ValueRef::of(entry) {
                    ValueRef::Hash(hash) => hash.for_each(|_, _, deadline| {
                        counts.timed_fields += u64::from(deadline.is_some());
                    }),
                    ValueRef::Stream(stream) => {
                        let pending = stream.groups().map(|group| group.pending_count());
                        counts.pending += pending.sum::<u64>();
                    }
                    ValueRef::String(_)
                    | ValueRef::List(_)
                    | ValueRef::Set(_)
                    | ValueRef::Zset(_) => {}
                }
            });
        }
    }
}

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Keys of each type.
    pub kinds: [u64; 6],
    /// Fields with a deadline.
    pub timed_fields: u64,
    /// Entries that groups wait for.
    pub pending: u64,
}

/// What a snapshot encodes to.
fn taken(snapshot: &mut Snapshot, options: &EncodeOptions, now: UnixMs) -> Vec<u8> {
    match host::encode(snapshot, options, now, &Progress::default()) {
        Ok((file, _)) => file,
        Err(error) => panic!("a snapshot cannot be encoded: {error:?}"),
    }
}

fn facts(name: &str) -> LinkFacts {
    LinkFacts {
        peer: format!("{name}:1"),
        local: "127.0.0.1:1".into(),
        fd: 0,
        unix: false,
        loopback: true,
    }
}

/// Loads a file as the shell's loading thread and the machine together do.
fn load(machine: &mut Machine, host: &mut SimHost, file: &[u8]) {
    machine.begin_round(host);
    let drop_due = !machine.engine.is_replica();
    machine.load_begins(file.len() as u64, drop_due);
    let mut decoder = Decoder::new(machine.decode_options());
    decoder.feed(file);
    let mut batch = Batch::default();
    loop {
        let decoded = decoder.decode(&mut batch).expect("a sound file");
        let full = std::mem::take(&mut batch);
        machine.load_batch(full);
        match decoded {
            Decoded::Done => break,
            Decoded::BatchFull => {}
            Decoded::NeedInput(_) => panic!("the file is cut short"),
        }
        while !machine.wants_batch() {
            machine.begin_round(host);
            machine.end_round(host);
        }
    }
    machine.load_ends(Ok(()));
    for _ in 0..10_000 {
        machine.begin_round(host);
        machine.end_round(host);
        if !machine.engine.is_loading() {
            break;
        }
    }
    assert!(!machine.engine.is_loading(), "the load does not end");
    for action in std::mem::take(&mut machine.engine.actions) {
        if let Action::Loaded(result) = action {
            match *result {
                redoxide::engine::LoadResult::Done(loaded) => {
                    machine.engine.restore_replication(&loaded)
                }
                redoxide::engine::LoadResult::Failed(text) => panic!("load: {text}"),
            }
        }
    }
}

/// A value's content, the same for equal values whatever order their node keeps them in.
fn push_value(value: ValueRef<'_>, out: &mut Vec<u8>) {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let text = |string: StringRef<'_>| {
        let mut text = string.len().to_le_bytes().to_vec();
        string.push_to(&mut text);
        text
    };
    match value {
        ValueRef::String(string) => return string.push_to(out),
        ValueRef::List(list) => return list.for_each(|item| out.extend(text(item))),
        ValueRef::Set(set) => set.for_each(|member| parts.push(text(member))),
        ValueRef::Zset(zset) => {
            for (member, score) in zset.iter() {
                let score = score.to_bits().to_le_bytes().to_vec();
                parts.push([text(member), score].concat());
            }
        }
        ValueRef::Hash(hash) => {
            hash.for_each(|field, value, at| {
                parts.push([text(field), text(value), format!("{at:?}").into_bytes()].concat());
            });
        }
        ValueRef::Stream(stream) => push_stream(stream, out),
    }
    parts.sort_unstable();
    out.extend(parts.concat());
}

/// The same for streams that are equal but for what a replica is not told: consumers without pending entries, and when
/// consumers were seen.
fn push_stream(stream: &Stream, out: &mut Vec<u8>) {
    for (first, block) in stream.blocks() {
        out.extend([&first.to_bytes(), block.bytes()].concat());
    }
    out.extend(format!(" {:?}", stream.meta()).into_bytes());
    for group in stream.groups() {
        let name = String::from_utf8_lossy(&group.name);
        let read = group.entries_read;
        out.extend(format!(" {name} {:?} {read:?}", group.last_id).into_bytes());
        for pending in group.pending_from(StreamId::MIN) {
            let consumer = group.consumer(group.consumer_of(pending));
            let name = String::from_utf8_lossy(&consumer.name);
            let (at, count) = (pending.delivered_ms, pending.count);
            out.extend(format!(" {:?} {name} {at} {count}", pending.id).into_bytes());
        }
        for (_, consumer) in group.consumers() {
            let ids: Vec<StreamId> = consumer.pending_from(StreamId::MIN).copied().collect();
            if !ids.is_empty() {
                out.extend(format!(" {:?}: {ids:?}", consumer.name).into_bytes());
            }
        }
    }
}
