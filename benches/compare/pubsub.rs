//! PUBLISH with subscribers that read all they are sent.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::cases::Bench;
use crate::load::{Data, Requests, Work};
use crate::server::Server;

const PIPELINE: usize = 16;
const SUBSCRIBERS: [usize; 2] = [1, 50];
/// What a subscriber is answered.
const CONFIRMATION: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n";
/// How often listeners look whether they are to end.
const LOOK: Duration = Duration::from_millis(50);

/// One publisher and some subscribers to its channel.
pub fn run(bench: &mut Bench) -> io::Result<()> {
    let connections = std::mem::replace(&mut bench.connections, 1);
    let outcome = SUBSCRIBERS
        .into_iter()
        .try_for_each(|count| publish(bench, count));
    bench.connections = connections;
    outcome
}

fn publish(bench: &mut Bench, subscribers: usize) -> io::Result<()> {
    let message = "x".repeat(bench.value_bytes);
    let push =
        |_: &mut _, requests: &mut Requests| requests.push(&["PUBLISH", "channel", &message]);
    let work = Work::of(push, PIPELINE, PIPELINE);
    let nothing = Data {
        keys: 0,
        value_bytes: bench.value_bytes,
    };
    let servers = bench.start_all(&nothing, &bench.one_core())?;
    let listeners = servers
        .iter()
        .map(|server| Listeners::of(server, subscribers))
        .collect::<io::Result<Vec<_>>>()?;
    let name = format!("PUBLISH P{PIPELINE}, {subscribers} subscribed");
    bench.measure(&name, &servers, &work)?;
    listeners.into_iter().try_for_each(Listeners::end)
}

/// Connections that have subscribed, read by a thread.
struct Listeners {
    ends: Arc<AtomicBool>,
    reader: JoinHandle<io::Result<()>>,
}

impl Listeners {
    fn of(server: &Server, count: usize) -> io::Result<Listeners> {
        let streams = (0..count)
            .map(|_| subscribed(server.port))
            .collect::<io::Result<Vec<_>>>()?;
        let ends = Arc::new(AtomicBool::new(false));
        let reader = {
            let ends = ends.clone();
            thread::spawn(move || read_all(streams, &ends))
        };
        Ok(Listeners { ends, reader })
    }

    /// Stops reading; what went wrong while it read.
    fn end(self) -> io::Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        let died = |_| io::Error::other("the listeners' thread panicked");
        self.reader.join().map_err(died)?
    }
}

fn subscribed(port: u16) -> io::Result<TcpStream> {
    let mut stream = std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    let (request, _) = Requests::one(&["SUBSCRIBE", "channel"]);
    stream.write_all(&request)?;
    stream.read_exact(&mut [0; CONFIRMATION.len()])?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

fn read_all(mut streams: Vec<TcpStream>, ends: &AtomicBool) -> io::Result<()> {
    let mut poll = Poll::new()?;
    for (index, stream) in streams.iter_mut().enumerate() {
        poll.registry()
            .register(stream, Token(index), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(streams.len());
    let mut buffer = vec![0; 64 * 1024];
    while !ends.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(LOOK))?;
        for event in &events {
            drain(&mut streams[event.token().0], &mut buffer)?;
        }
    }
    Ok(())
}

/// Reads what is there.
fn drain(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server closed a subscriber")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
