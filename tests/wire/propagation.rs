//! What a command sends to replicas, against what Redis 8 sends for it.

use std::io::Read;
use std::time::Duration;

use redoxide::base::quote::split_args;

use crate::harness::{Client, Peer, Server, Value, wait_until};

/// Poses as a replica and hands out the stream command by command.
struct Stream {
    client: Client,
    marks: usize,
}

impl Stream {
    fn start(server: &Server) -> Stream {
        let mut client = server.client();
        assert_eq!(client.text("REPLCONF listening-port 1"), "OK");
        assert_eq!(client.text("REPLCONF capa eof capa psync2"), "OK");
        client.send(b"PSYNC ? -1\r\n");
        let stream = client.stream();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("no deadline");
        let answer = line(stream);
        assert!(answer.starts_with("+FULLRESYNC"), "{answer}");
        let head = line(stream);
        if let Some(mark) = head.strip_prefix("$EOF:") {
            let mut bytes = Vec::new();
            while !bytes.ends_with(mark.as_bytes()) {
                bytes.push(byte(stream));
            }
        } else {
            let length = head.trim_start_matches('$').parse::<usize>();
            let mut bytes = vec![0; length.expect("a length")];
            stream.read_exact(&mut bytes).expect("the stream ended");
        }
        let acknowledge = b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n";
        client.send(acknowledge);
        let mut watcher = server.client();
        wait_until("the replica is online", || {
            watcher
                .info("replication", "slave0")
                .contains("state=online")
        });
        // Redis starts the stream with an acknowledgement that comes after its own end of the sync.
        client.send(acknowledge);
        Stream { client, marks: 0 }
    }

    /// The commands up to a mark that `sender` sets now.
    fn commands(&mut self, sender: &mut Client) -> Vec<String> {
        self.marks += 1;
        let mark = format!("SET mark {}", self.marks);
        sender.text(&mark);
        let mut commands = Vec::new();
        loop {
            let Value::Array(words) = self.client.read() else {
                continue;
            };
            let words: Vec<String> = words.iter().map(Value::to_string).collect();
            if words.join(" ") == mark {
                return commands;
            }
            if words[0] != "PING" && words[0] != "REPLCONF" && words[0] != "SELECT" {
                commands.push(
                    words
                        .iter()
                        .map(|word| timeless(word))
                        .collect::<Vec<_>>()
                        .join(" "),
                );
            }
        }
    }
}

/// A point in time near now differs from server to server.
fn timeless(word: &str) -> String {
    let near = |time: &i64| (1_600_000_000_000..4_000_000_000_000).contains(time);
    match word.parse::<i64>().ok().filter(near) {
        Some(_) => "<time>".to_owned(),
        None => word.to_owned(),
    }
}

fn byte(stream: &mut impl Read) -> u8 {
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("the stream ended");
    byte[0]
}

/// The next line that is not empty (a master may send newlines while it saves).
fn line(stream: &mut impl Read) -> String {
    let mut line = String::new();
    loop {
        match byte(stream) {
            b'\n' if line.is_empty() => {}
            b'\n' => return line,
            b'\r' => {}
            byte => line.push(char::from(byte)),
        }
    }
}

const LINES: &str = "\
FLUSHALL|FLUSHDB|FLUSHDB ASYNC|SET k v|SET k v EX 100|SET k v PX 100000 GET|SET k v EXAT 9999999999|SET k v NX|\
SET k v XX|SET k v XX GET|SET k v GET KEEPTTL|SET k v pxat 9999999999999|SET k v XX PXAT 9999999999999 GET|SET k v xx get|SET k2 v NX GET|SET k v KEEPTTL|SETEX k 10 v|PSETEX k 10000 v|SETNX k v|\
SETNX nx v|GETSET k w|GETSET fresh w|GETDEL k|GETDEL k|SET k v|GETEX k|GETEX k EX 100|GETEX k PX 100000|GETEX k PERSIST|\
GETEX k PERSIST|GETEX k PXAT 9999999999999|GETEX k PXAT 1|SET k v|EXPIRE k 100|EXPIRE k 100 NX|EXPIRE k 200 XX|\
PEXPIRE k 300000 GT|EXPIREAT k 9999999999|PEXPIREAT k 9999999999999|PEXPIREAT k 9999999999998 XX|EXPIREAT k 1|\
EXPIRE k 1|SET k v|EXPIRE k -1|SET k v|PEXPIREAT k 1|INCRBYFLOAT f 1.5|INCRBYFLOAT f 1e3|INCR i|DECR i|INCRBY i 5|\
DECRBY i 5|INCR f|APPEND a \"\"|APPEND a x|SETRANGE a 5 y|SETRANGE a 5 \"\"|SETRANGE zz 5 \"\"|MSET a 1 b 2|\
MSETNX a 1 b 2|MSETNX c 1 d 2|COPY a a2|COPY a a2|COPY a a2 REPLACE DB 3|RENAME a a3|RENAME a3 a3|RENAMENX a3 a|\
RENAMENX a b|MOVE a 4|DEL a b none c|UNLINK d none|DEL none|PERSIST f|EXPIRE f 10|PERSIST f|TOUCH f|SWAPDB 0 1|\
SWAPDB 1 1|SWAPDB 1 0|GET f|MGET f i|LCS f i|RANDOMKEY|CONFIG SET lazyfree-lazy-user-del yes lazyfree-lazy-expire yes|\
SET k v|DEL k|SET k v|GETDEL k|SET k v|EXPIRE k -1|SET k v|GETEX k EXAT 1";

#[test]
fn replicas_get_what_redis_sends() {
    let args = ["--repl-diskless-sync-delay", "0"];
    let Some(peer) = Peer::Redis8.start(&args) else {
        return;
    };
    let server = Server::start(&args);
    let (mut ours, mut theirs) = (server.client(), peer.client());
    let (mut our_stream, mut their_stream) = (Stream::start(&server), Stream::start(&peer));
    for line in LINES.split('|') {
        let words = split_args(line.as_bytes()).expect("unbalanced quotes");
        let (mine, other) = (ours.call(&words), theirs.call(&words));
        if !line.starts_with("RANDOMKEY") {
            assert_eq!(mine, other, "{line}");
        }
        let (mine, other) = (
            our_stream.commands(&mut ours),
            their_stream.commands(&mut theirs),
        );
        assert_eq!(mine, other, "{line}");
    }
}

/// Options that older replicas do not know are resolved before they are sent.
#[test]
fn conditions_on_the_value_are_resolved() {
    let server = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let (mut client, mut stream) = (server.client(), Stream::start(&server));
    for (line, sent) in [
        ("SET k 1 IFEQ 1", vec![]),
        ("SET k 1 IFNE 2", vec!["SET k 1"]),
        ("SET k 2 IFEQ 1 GET", vec!["SET k 2"]),
        ("SET k 2 IFEQ 2 EX 100", vec!["SET k 2 PXAT <time>"]),
        ("SET k 3 IFEQ 2 KEEPTTL", vec!["SET k 3 KEEPTTL"]),
    ] {
        client.text(line);
        assert_eq!(stream.commands(&mut client), sent, "{line}");
    }
}
