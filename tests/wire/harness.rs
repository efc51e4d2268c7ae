//! Starts servers and talks to them.
//!
//! A [`Server`] is one process with a directory of its own; both end with it. A [`Client`] is one blocking
//! connection with a RESP2/RESP3 reader. Every read has a deadline, so a hanging server fails a test instead
//! of stopping the run.
#![allow(dead_code)] // each area uses its part

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redoxide::base::quote::split_args;

/// How long a server may take to start, and a reply to come.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server; killed, and its directory removed, when dropped.
pub struct Server {
    program: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
    port: u16,
    dir: Scratch,
}

impl Server {
    /// Starts the server under test with `args` after the port and directory (`--save ""` unless given).
    pub fn start(args: &[&str]) -> Server {
        Server::start_program(&target(), args)
    }

    /// Starts any server program that takes redis-server's options.
    pub fn start_program(program: &Path, args: &[&str]) -> Server {
        Server::start_in(program, args, |_| {})
    }

    /// As [`Server::start_program`], after `prepare` has put files into the server's directory.
    pub fn start_in(program: &Path, args: &[&str], prepare: impl FnOnce(&Path)) -> Server {
        let dir = Scratch::new();
        prepare(&dir.path);
        let mut server = Server {
            program: program.to_path_buf(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            child: None,
            port: 0,
            dir,
        };
        // Another process may take the free port first: try again with another.
        for attempt in 0.. {
            server.port = free_port();
            match server.spawn() {
                Ok(()) => return server,
                Err(problem) if attempt == 3 => panic!("{problem}"),
                Err(_) => {}
            }
        }
        unreachable!()
    }

    /// Starts it again on the same port and directory, with new `args`; kills it first if it runs.
    pub fn restart(&mut self, args: &[&str]) {
        self.kill();
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        if let Err(problem) = self.spawn() {
            panic!("{problem}");
        }
    }

    fn spawn(&mut self) -> Result<(), String> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut command = Command::new(&self.program);
        command
            .arg("--port")
            .arg(self.port.to_string())
            .args(["--bind", "127.0.0.1"]);
        command.arg("--dir").arg(&self.dir.path);
        if !self.args.iter().any(|arg| arg == "--save") {
            command.args(["--save", ""]);
        }
        command.args(&self.args);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        let started = Instant::now();
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!(
                    "{} ended at start with {status}; its log:\n{}",
                    self.program.display(),
                    self.log()
                ));
            }
            if self.answers() {
                self.child = Some(child);
                return Ok(());
            }
            if started.elapsed() > DEADLINE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "no answer to PING in {DEADLINE:?}; its log:\n{}",
                    self.log()
                ));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether PING gets an answer other than LOADING.
    fn answers(&self) -> bool {
        let Ok(mut client) = Client::connect(self.port) else {
            return false;
        };
        let _ = client.stream.set_read_timeout(Some(Duration::from_secs(1)));
        client.stream.write_all(b"*1\r\n$4\r\nPING\r\n").is_ok()
            && client
                .read_reply()
                .is_ok_and(|reply| !reply.to_string().starts_with("(error) LOADING"))
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.port).expect("cannot connect to the server")
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's working directory.
    pub fn dir(&self) -> &Path {
        &self.dir.path
    }

    /// The process id while it runs.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// What the server printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path.join("server.log")
    }

    /// Ends it at once (SIGKILL), as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal by its name as kill(1) knows it (`TERM`, `HUP`).
    pub fn signal(&self, name: &str) {
        let pid = self.pid();
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(pid.to_string())
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "cannot send SIG{name}"
        );
        if name == "STOP" {
            wait_until("it stands still", || {
                let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                state.is_ok_and(|state| state.contains(") T "))
            });
        }
    }

    /// Waits until the process has ended; its exit code.
    pub fn wait_for_exit(&mut self) -> Option<i32> {
        self.wait_for_end()?.code()
    }

    /// Waits until the process has ended; how.
    pub fn wait_for_end(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let started = Instant::now();
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            if started.elapsed() > DEADLINE {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "the server did not end in {DEADLINE:?}; its log:\n{}",
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines
                .get(lines.len().saturating_sub(30)..)
                .unwrap_or_default();
            eprintln!(
                "--- the end of the log of {}:\n{}",
                self.program.display(),
                tail.join("\n")
            );
        }
    }
}

/// A directory that goes when its owner does.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "redoxide-wire-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("cannot create a scratch directory");
        Scratch { path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A port that was free a moment ago, and that no other call in this process gives.
///
/// It lies below those that the system gives to connections and to listeners that do not name one (from 32768 on): none
/// of these can take it before the server does, or while a server is away that comes back to its port.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_240;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        // Processes side by side begin at places of their own.
        let place = std::process::id().wrapping_mul(7919) % COUNT;
        let port = FIRST + (place + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port as u16)).is_ok() {
            return port as u16;
        }
    }
    panic!("no free port");
}

/// The server under test: `$WIRE_TARGET`, or the binary that was just built.
pub fn target() -> PathBuf {
    std::env::var_os("WIRE_TARGET").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_redoxide-server")),
        PathBuf::from,
    )
}

/// Polls `condition` until it holds; panics with `what` after [`DEADLINE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < DEADLINE,
            "waited {DEADLINE:?} in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The seed of a random test: `$SEED`; without it always the same, so that what fails is what a change broke.
/// `SEED=$RANDOM` looks further. Print it, so that a failure can be replayed.
pub fn seed() -> u64 {
    std::env::var("SEED").map_or(1, |text| text.parse().expect("SEED is a number"))
}

/// Servers of other makes to compare and interoperate with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Redis 8.x.
    Redis8,
    /// Redis 7.x.
    Redis7,
    /// Valkey.
    Valkey,
}

impl Peer {
    /// The server program, if this machine has it.
    pub fn find(self) -> Option<PathBuf> {
        let (names, version): (&[&str], &str) = match self {
            Peer::Redis8 => (&["redis-server-8", "redis-server"], "v=8."),
            Peer::Redis7 => (&["redis-server-7.0", "redis-server"], "v=7."),
            Peer::Valkey => (&["valkey-server-9", "valkey-server"], "v="),
        };
        let mut dirs: Vec<PathBuf> = Vec::new();
        dirs.extend(std::env::var_os("PEERS").map(|dir| PathBuf::from(dir).join("bin")));
        dirs.extend(
            std::env::var_os("HOME").map(|dir| PathBuf::from(dir).join(".cache/peers/bin")),
        );
        dirs.extend(
            std::env::var_os("PATH")
                .iter()
                .flat_map(std::env::split_paths),
        );
        let candidates = names
            .iter()
            .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
        candidates.into_iter().find(|program| {
            program.is_file()
                && Command::new(program)
                    .arg("--version")
                    .output()
                    .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(version))
        })
    }

    /// Starts it; None, with a line on stderr, when this machine does not have it.
    pub fn start(self, args: &[&str]) -> Option<Server> {
        let program = self.find();
        if program.is_none() {
            eprintln!("skipped: no {self:?} on this machine");
        }
        program.map(|program| Server::start_program(&program, args))
    }

    /// Redis 8 where there is one, else Redis 7; one of them is required.
    pub fn redis(args: &[&str]) -> (Peer, Server) {
        for peer in [Peer::Redis8, Peer::Redis7] {
            if let Some(program) = peer.find() {
                return (peer, Server::start_program(&program, args));
            }
        }
        panic!("the wire tests need a redis-server (7.0 or newer) on PATH");
    }
}

/// A reply as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`
    Simple(String),
    /// `-`
    Error(String),
    /// `:`
    Int(i64),
    /// `$`, and `=` with its format
    Bulk(Vec<u8>),
    /// `$-1`, `*-1`, `_`
    Null,
    /// `*`
    Array(Vec<Value>),
    /// `%` and `|`
    Map(Vec<(Value, Value)>),
    /// `~`
    Set(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// `,`, as text
    Double(String),
    /// `#`
    Bool(bool),
    /// `(`
    BigNumber(String),
}

/// Short text: `OK`, `12`, `value`, `(nil)`, `(error) ERR …`, `[a, b]`, `{k: v}`.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |out: &mut fmt::Formatter<'_>, items: &[Value]| {
            out.write_str("[")?;
            for (index, item) in items.iter().enumerate() {
                write!(out, "{}{item}", if index > 0 { ", " } else { "" })?;
            }
            out.write_str("]")
        };
        match self {
            Value::Simple(text) | Value::Double(text) | Value::BigNumber(text) => {
                out.write_str(text)
            }
            Value::Error(text) => write!(out, "(error) {text}"),
            Value::Int(value) => write!(out, "{value}"),
            Value::Bulk(bytes) => out.write_str(&String::from_utf8_lossy(bytes)),
            Value::Null => out.write_str("(nil)"),
            Value::Bool(value) => write!(out, "{value}"),
            Value::Array(items) | Value::Set(items) | Value::Push(items) => list(out, items),
            Value::Map(pairs) => {
                out.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(out, "{}{key}: {value}", if index > 0 { ", " } else { "" })?;
                }
                out.write_str("}")
            }
        }
    }
}

/// One blocking connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl Client {
    /// Connects to a port of 127.0.0.1.
    pub fn connect(port: u16) -> io::Result<Client> {
        Client::over(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)
    }

    /// Poses as a server to whom connects next: what it asks is read like a reply.
    pub fn accept(listener: &TcpListener) -> Client {
        listener.set_nonblocking(true).expect("no listener");
        let started = Instant::now();
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("no socket");
                    return Client::over(stream).expect("no socket");
                }
                Err(_) => assert!(started.elapsed() < DEADLINE, "nobody connects"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn over(stream: TcpStream) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Client {
            stream,
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// Sends one command and reads its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        let mut request = Vec::new();
        push_request(&mut request, args);
        self.send(&request);
        self.read()
    }

    /// Sends the words of `line` (quotes as in an inline command) as one command; the reply's short text.
    pub fn text(&mut self, line: &str) -> String {
        self.value(line).to_string()
    }

    /// As [`Client::text`], the reply itself.
    pub fn value(&mut self, line: &str) -> Value {
        let words = split_args(line.as_bytes()).expect("unbalanced quotes in a test's command");
        self.call(&words)
    }

    /// A field of an INFO section (`name:value`), or an empty string.
    pub fn info(&mut self, section: &str, field: &str) -> String {
        let text = self.text(&format!("INFO {section}"));
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_default().to_owned()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the server closed the connection");
    }

    /// Sends bytes; false when the connection is closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads one reply.
    pub fn read(&mut self) -> Value {
        self.read_reply().expect("no reply")
    }

    /// Reads one reply; Err at the end of the connection or after [`DEADLINE`].
    pub fn read_reply(&mut self) -> io::Result<Value> {
        let line = self.read_line()?;
        let (kind, rest) = line.split_first().ok_or_else(|| bad("empty line"))?;
        let text = String::from_utf8_lossy(rest).into_owned();
        let count = || text.parse::<i64>().map_err(|_| bad("bad length"));
        Ok(match kind {
            b'+' => Value::Simple(text),
            b'-' => Value::Error(text),
            b':' => Value::Int(count()?),
            b',' => Value::Double(text),
            b'(' => Value::BigNumber(text),
            b'#' => Value::Bool(text == "t"),
            b'_' => Value::Null,
            b'$' | b'=' => match count()? {
                -1 => Value::Null,
                len => {
                    let bytes = self.take(len as usize + 2)?;
                    Value::Bulk(bytes[..len as usize].to_vec())
                }
            },
            b'*' if count()? < 0 => Value::Null,
            b'*' => Value::Array(self.read_many(count()?)?),
            b'~' => Value::Set(self.read_many(count()?)?),
            b'>' => Value::Push(self.read_many(count()?)?),
            b'%' | b'|' => {
                let mut items = self.read_many(2 * count()?)?.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            _ => return Err(bad("unknown type of reply")),
        })
    }

    fn read_many(&mut self, count: i64) -> io::Result<Vec<Value>> {
        (0..count).map(|_| self.read_reply()).collect()
    }

    /// Reads to the end of the connection; what came, and whether the end was seen (false: [`DEADLINE`] passed).
    pub fn read_to_end(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = self.buffer.split_off(self.start);
        self.start = 0;
        self.buffer.clear();
        let ended = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => true,
            Err(error) => !is_timeout(&error),
        };
        (bytes, ended)
    }

    /// Reads until the bytes end with `suffix`, the connection ends, or nothing comes for `idle`; what came, and
    /// whether the connection was reset (which may lose what was sent before).
    pub fn read_until(&mut self, suffix: &[u8], idle: Duration) -> (Vec<u8>, bool) {
        let mut bytes = self.buffer.split_off(self.start);
        self.start = 0;
        self.buffer.clear();
        self.set_deadline(idle);
        let mut chunk = [0; 1 << 14];
        let mut reset = false;
        while !bytes.ends_with(suffix) {
            match self.receive(&mut chunk) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
                Err(error) => {
                    reset = !is_timeout(&error);
                    break;
                }
            }
        }
        self.set_deadline(DEADLINE);
        (bytes, reset)
    }

    /// Tells the server that nothing more will be sent.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Changes how long a read may take.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.stream
            .set_read_timeout(Some(deadline))
            .expect("cannot set the deadline");
    }

    /// Whether the server hangs up, which is read on for: within a minute, as a machine may be busy.
    pub fn is_dropped(&mut self) -> bool {
        self.set_deadline(Duration::from_secs(60));
        let mut bytes = vec![0; 1 << 20];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// The socket, for what this type does not offer.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut scanned = self.start;
        loop {
            if let Some(index) = self.buffer[scanned..]
                .windows(2)
                .position(|pair| pair == b"\r\n")
            {
                let line = self.buffer[self.start..scanned + index].to_vec();
                self.start = scanned + index + 2;
                return Ok(line);
            }
            scanned = self.buffer.len().saturating_sub(1).max(self.start);
            let before = self.start;
            self.fill()?;
            scanned -= before - self.start;
        }
    }

    fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() - self.start < len {
            self.fill()?;
        }
        let bytes = self.buffer[self.start..self.start + len].to_vec();
        self.start += len;
        Ok(bytes)
    }

    /// Reads what has come. (A read with a deadline is interrupted when the process was stopped and goes on.)
    pub fn receive(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start > 1 << 16 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let mut chunk = [0; 1 << 14];
        match self.receive(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Appends a multibulk request.
pub fn push_request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}
