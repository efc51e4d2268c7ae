//! The servers under comparison: where they are, starting and ending them, and a blocking client.
//!
//! Invariant: a started server is killed by its pid, and its directory removed, when its `Server` is dropped.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::ReplyCounter;
use crate::os;

/// A server program.
#[derive(Clone)]
pub struct Binary {
    pub path: PathBuf,
    pub label: String,
    pub ours: bool,
}

/// This server (`ours`, if the file answers `--version`) last, after the peers found on PATH and under $PEERS.
pub fn discover(ours: &Path) -> Vec<Binary> {
    let peers = env::var_os("PEERS").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(Path::new(&home).join(".cache/peers"))
    });
    let mut candidates = Vec::new();
    candidates.extend(on_path("redis-server"));
    if let Some(peers) = peers {
        candidates.push(peers.join("bin/redis-server-8"));
        candidates.push(peers.join("bin/valkey-server-9"));
    }
    let mut binaries: Vec<Binary> = Vec::new();
    for path in candidates {
        match version(&path) {
            // our own link under a Redis name is no peer
            Some(label) if label.contains("redoxide") => {}
            Some(label) if binaries.iter().any(|known| known.label == label) => {}
            Some(label) => binaries.push(Binary {
                path,
                label,
                ours: false,
            }),
            None => {}
        }
    }
    if version(ours).is_some() {
        binaries.push(Binary {
            path: ours.to_path_buf(),
            label: "redoxide".to_string(),
            ours: true,
        });
    }
    binaries
}

/// The first file of that name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// "redis 7.0.15" from "Redis server v=7.0.15 sha=…"; None when the file does not run.
fn version(path: &Path) -> Option<String> {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
    let number = text.split("v=").nth(1)?.split_whitespace().next()?;
    let name = text.split_whitespace().next()?;
    Some(if text.contains("redoxide") {
        "redoxide".to_string()
    } else {
        format!("{name} {number}")
    })
}

/// Where a server runs.
#[derive(Clone)]
pub struct Cores {
    /// What it sees when it starts.
    pub all: Vec<usize>,
    /// What it is held to once it answers.
    pub bound: Vec<usize>,
}

/// A directory of this run, removed when dropped.
pub struct Workspace(PathBuf);

impl Workspace {
    pub fn new(parent: &Path) -> io::Result<Workspace> {
        for attempt in 0..1000 {
            let path = parent.join(format!("redoxide-bench-{}-{attempt}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Workspace(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free directory name"))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server on a loopback port of its own.
pub struct Server {
    child: Child,
    pub port: u16,
    pub directory: Workspace,
}

impl Server {
    /// Starts `binary` with an empty data set, waits until it answers and keeps it on `cores.bound`.
    pub fn start(binary: &Binary, parent: &Path, cores: &Cores) -> io::Result<Server> {
        Server::start_in(binary, Workspace::new(parent)?, cores)
    }

    /// The same in a given directory, whose dump.rdb it loads. It starts with all cores in sight, as it would in
    /// service (this server does not spin where it sees only one), and is bound to `cores.bound` when it answers PING.
    pub fn start_in(binary: &Binary, directory: Workspace, cores: &Cores) -> io::Result<Server> {
        // the wrappers of the newer peers exec their loader, so the pid stays
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(&binary.path);
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(directory.path())
            .arg("--logfile")
            .arg(directory.path().join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        os::confine(&mut command, &cores.all);
        let mut server = Server {
            child: command.spawn()?,
            port,
            directory,
        };
        server.wait_ready(Duration::from_secs(300))?;
        os::pin_process(server.pid(), &cores.bound)?;
        Ok(server)
    }

    fn wait_ready(&mut self, limit: Duration) -> io::Result<()> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "server ended at start: {status}\n{log}"
                )));
            }
            if let Ok(mut client) = Client::connect(self.port)
                && let Ok(Answer::Status) = client.call(&["PING"])
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::other("server does not answer"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.port)
    }

    /// Ends the server and keeps its directory.
    pub fn into_directory(mut self) -> io::Result<Workspace> {
        self.end();
        let empty = Workspace(PathBuf::from("/nonexistent"));
        Ok(std::mem::replace(&mut self.directory, empty))
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// One reply, as far as the comparison reads it; error replies are errors of the call.
#[derive(Debug)]
pub enum Answer {
    Status,
    Int(i64),
    Bulk(Option<Vec<u8>>),
}

impl Answer {
    pub fn int(self) -> io::Result<i64> {
        match self {
            Answer::Int(value) => Ok(value),
            other => Err(io::Error::other(format!(
                "expected an integer, got {other:?}"
            ))),
        }
    }
}

/// A blocking client: one request, one reply.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Client {
            stream: BufReader::new(stream),
        })
    }

    /// One command. An error reply is an error with its text.
    pub fn call(&mut self, args: &[&str]) -> io::Result<Answer> {
        let mut request = Vec::new();
        push_command(&mut request, args);
        self.stream.get_mut().write_all(&request)?;
        self.read()
    }

    /// INFO as name → value.
    pub fn info(&mut self, section: &str) -> io::Result<HashMap<String, String>> {
        let Answer::Bulk(Some(text)) = self.call(&["INFO", section])? else {
            return Err(io::Error::other("INFO did not answer with text"));
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_string(), value.trim().to_string()))
            .collect())
    }

    /// One numeric INFO field.
    pub fn info_number(&mut self, section: &str, field: &str) -> io::Result<f64> {
        let info = self.info(section)?;
        info.get(field)
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| io::Error::other(format!("INFO {section} has no number {field}")))
    }

    /// Sends pre-built requests, keeping one chunk of them ahead. An error reply is an error.
    pub fn send_all(&mut self, chunks: impl Iterator<Item = (Vec<u8>, usize)>) -> io::Result<()> {
        let mut counter = ReplyCounter::default();
        let mut awaited = 0;
        for (chunk, requests) in chunks {
            self.stream.get_mut().write_all(&chunk)?;
            awaited += requests;
            self.receive_until(&mut counter, &mut awaited, requests)?;
        }
        self.receive_until(&mut counter, &mut awaited, 0)
    }

    /// Reads replies until no more than `left` of those awaited are to come.
    fn receive_until(
        &mut self,
        counter: &mut ReplyCounter,
        awaited: &mut usize,
        left: usize,
    ) -> io::Result<()> {
        while *awaited > left || (left == 0 && counter.is_amid()) {
            let got = self.stream.fill_buf()?;
            let length = got.len();
            if length == 0 {
                return Err(io::Error::other("the server closed the connection"));
            }
            *awaited -= counter.feed(got)?;
            self.stream.consume(length);
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Answer> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_string();
        let malformed = || io::Error::other(format!("malformed reply {text:?}"));
        let rest = text.get(1..).ok_or_else(malformed)?;
        let number = || rest.parse::<i64>().map_err(|_| malformed());
        match line.first() {
            Some(b'+') => Ok(Answer::Status),
            Some(b'-') => Err(io::Error::other(rest.to_string())),
            Some(b':') => Ok(Answer::Int(number()?)),
            Some(b'$') => {
                let Ok(length) = usize::try_from(number()?) else {
                    return Ok(Answer::Bulk(None));
                };
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Ok(Answer::Bulk(Some(bytes)))
            }
            Some(_) | None => Err(malformed()),
        }
    }
}

/// Appends one command as RESP.
pub fn push_command(request: &mut Vec<u8>, args: &[&str]) {
    request.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        request.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
}
