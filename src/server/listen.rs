//! Listening sockets: TCP on every `bind` address, and the Unix socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;

use mio::net::{TcpListener, TcpStream, UnixListener};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::Config;

/// Opens the TCP listeners. An address that is not there is skipped when `bind` has it with `-`, and so
/// is a protocol the machine does not have; any other failure is an error. No listeners with port 0.
///
/// `replacing` are listeners that the new ones take over from, on the same addresses perhaps: both may
/// listen until the caller drops the old ones.
pub fn tcp(config: &Config, replacing: &[Socket]) -> Result<Vec<TcpListener>, String> {
    let share = |sockets: &[Socket], on: bool| {
        for socket in sockets {
            let _ = socket.set_reuse_port(on);
        }
    };
    share(replacing, true);
    let opened = open_all(config, !replacing.is_empty());
    share(replacing, false);
    opened
}

/// Handles on the same sockets, for `replacing`.
pub fn handles(listeners: &[TcpListener]) -> Vec<Socket> {
    listeners
        .iter()
        .filter_map(|listener| SockRef::from(listener).try_clone().ok())
        .collect()
}

fn open_all(config: &Config, share: bool) -> Result<Vec<TcpListener>, String> {
    let (mut listeners, mut ips) = (Vec::new(), Vec::new());
    let Ok(port) = u16::try_from(config.port) else {
        return Ok(listeners);
    };
    if port == 0 {
        return Ok(listeners);
    }
    for bind in &config.bind.0 {
        let (optional, host) = match bind.strip_prefix('-') {
            Some(host) => (true, host),
            None => (false, bind.as_str()),
        };
        let ip = resolve(host).map_err(|error| format!("bind {host}: {}", strerror(&error)))?;
        // To share is meant with the listeners before these alone.
        let opened = match ips.contains(&ip) {
            true => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
            false => open_tcp(SocketAddr::new(ip, port), config.tcp_backlog, share),
        };
        ips.push(ip);
        match opened {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let reason = strerror(&error);
                log::warn!(
                    "Warning: Could not create server TCP listening socket {ip}:{port}: bind: {reason}"
                );
                if !(optional && is_absent(&error)) {
                    return Err(format!("bind {ip}: {reason}"));
                }
            }
        }
    }
    Ok(listeners)
}

/// Begins a connection, from the address `source` if there is one (of the same protocol).
pub fn connect(to: SocketAddr, source: Option<&[u8]>) -> io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect(to);
    };
    let from = resolve(&String::from_utf8_lossy(source))?;
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// A connection within this machine has no network that could be congested: Reno, which every Linux has, does the least
/// for each segment. Where the system's choice is BBR, a request takes 2% less processor time (redis-benchmark GET, 50
/// connections, 150 rounds in turn: 0.978, 90% of resamples within 0.966 and 0.994).
pub fn take_simple_congestion_control(socket: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(socket).set_tcp_congestion(b"reno");
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// Whether the machine does not have the address or its protocol.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EADDRNOTAVAIL
                | libc::EAFNOSUPPORT
                | libc::ENOPROTOOPT
                | libc::EPROTONOSUPPORT
                | libc::ESOCKTNOSUPPORT
                | libc::EPFNOSUPPORT
        )
    )
}

/// The system's text for an error, without Rust's "(os error n)".
pub fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

fn resolve(host: &str) -> io::Result<IpAddr> {
    match host {
        "*" => Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "::*" => Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => match host.parse() {
            Ok(ip) => Ok(ip),
            Err(_) => {
                use std::net::ToSocketAddrs;
                let mut found = (host, 0).to_socket_addrs()?;
                found
                    .next()
                    .map(|a| a.ip())
                    .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
            }
        },
    }
}

fn open_tcp(address: SocketAddr, backlog: i64, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    // Checks once more that nobody else has the port.
    socket.listen(backlog.clamp(1, i32::MAX as i64) as i32)?;
    if share {
        // Only for the moment of the take-over: two servers never share a port.
        socket.set_reuse_port(false)?;
    }
    Ok(TcpListener::from_std(socket.into()))
}

/// Opens the Unix socket, when one is configured, with its permissions. A socket file left behind is removed.
pub fn unix(config: &Config) -> Result<Option<UnixListener>, String> {
    if config.unixsocket.get().is_none() {
        return Ok(None);
    }
    let path = config.unixsocket.path();
    let _ = std::fs::remove_file(path);
    let opening =
        |error: io::Error| format!("Failed opening Unix socket: bind: {}", strerror(&error));
    let listener = UnixListener::bind(path).map_err(opening)?;
    if config.unixsocketperm.0 != 0 {
        let permissions = std::fs::Permissions::from_mode(config.unixsocketperm.0);
        std::fs::set_permissions(path, permissions).map_err(opening)?;
    }
    Ok(Some(listener))
}
