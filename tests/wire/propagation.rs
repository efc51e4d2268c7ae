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
    let time = word.strip_suffix("-0").unwrap_or(word);
    match time.parse::<i64>().ok().filter(near) {
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
EXPIRE k 1000|SET k v|EXPIRE k -1|SET k v|PEXPIREAT k 1|INCRBYFLOAT f 1.5|INCRBYFLOAT f 1e3|INCR i|DECR i|INCRBY i 5|\
DECRBY i 5|INCR f|APPEND a \"\"|APPEND a x|SETRANGE a 5 y|SETRANGE a 5 \"\"|SETRANGE zz 5 \"\"|MSET a 1 b 2|\
MSETNX a 1 b 2|MSETNX c 1 d 2|COPY a a2|COPY a a2|COPY a a2 REPLACE DB 3|RENAME a a3|RENAME a3 a3|RENAMENX a3 a|\
RENAMENX a b|\
HSET h a 1 b 2 c 3 d 4 e 5|HEXPIRE h 100 FIELDS 2 a zz|HEXPIRE h 200 NX FIELDS 3 a b zz|HEXPIRE h 300 XX FIELDS 3 a c zz|\
HEXPIRE h 1000 GT fields 4 a b c zz|HPEXPIREAT h 9999999999999 lt FIELDS 4 a b c zz|HPEXPIREAT h 9999999999999 FIELDS 2 a a|\
HEXPIRE h 0 FIELDS 3 a a zz|HEXPIRE h 0 FIELDS 1 zz|HPERSIST h FIELDS 3 b c zz|HPERSIST h FIELDS 3 b c zz|HINCRBY h b 1|\
HINCRBYFLOAT h b 1.5|HGETEX h FIELDS 1 b|HGETEX h EX 100 FIELDS 2 b zz|HGETEX h PXAT 9999999999999 FIELDS 1 b|HGETEX h PERSIST FIELDS 2 b zz|\
HGETEX h PERSIST FIELDS 1 b|HGETEX h EX 0 FIELDS 3 b b zz|HGETEX h EX 0 FIELDS 1 zz|HGETEX h EX 100 FIELDS 1 zz|HGETDEL h FIELDS 2 c zz|\
HGETDEL h FIELDS 1 zz|HSETEX h FIELDS 1 a 1|HSETEX h EX 100 FIELDS 2 a 1 b 2|HSETEX h FXX EXAT 9999999999 FIELDS 1 a 1|\
HSETEX h pxat 9999999999999 fnx FIELDS 1 x 1|HSETEX h FXX FIELDS 1 zz 1|HSETEX h FNX FIELDS 1 a 1|HSETEX h KEEPTTL FIELDS 1 a 1|\
HSETEX h EX 0 FIELDS 2 a 1 q 1|HSETEX new PX 0 FIELDS 2 a 1 q 1|HSETEX new PX 0 FXX FIELDS 1 a 1|DEL h|MOVE a 4|DEL a b none c|UNLINK d none|DEL none|PERSIST f|EXPIRE f 10|PERSIST f|TOUCH f|SWAPDB 0 1|\
SWAPDB 1 1|SWAPDB 1 0|GET f|MGET f i|LCS f i|RANDOMKEY|CONFIG SET lazyfree-lazy-user-del yes lazyfree-lazy-expire yes|\
SET k v|DEL k|SET k v|GETDEL k|SET k v|EXPIRE k -1|SET k v|GETEX k EXAT 1";

const COLLECTIONS: &str = "\
RPUSH l a b c|LPOP l|LPOP l 5|RPOP l 1|RPUSH l 3 1 2|LMOVE l m LEFT RIGHT|RPOPLPUSH l m|BLMOVE l m LEFT RIGHT 0|BRPOPLPUSH m l 0|\
BLPOP x l m 0|BRPOP x l m 0|BLPOP x 0.01|RPUSH l 3 1 2|LMPOP 2 x l LEFT COUNT 2|LMPOP 1 x LEFT|BLMPOP 0 2 x l RIGHT COUNT 9|\
LREM m 0 a|LSET m 0 z|LTRIM m 1 0|LINSERT m BEFORE a b|RPUSH l 3 1 2|SORT l|SORT l STORE k|SORT none STORE k|SORT none STORE k|SORT_RO l|\
SORT l BY w_* GET # GET v_* STORE k|ZADD z 1 a 2 b 3 c 4 d 5 e 6 f|ZPOPMIN z|ZPOPMAX z 1|ZMPOP 2 x z MIN COUNT 1|ZMPOP 1 x MAX|\
BZPOPMIN x z 0|BZPOPMAX x z 0|BZMPOP 0 2 x z MAX COUNT 7|BZPOPMIN z 0.01|BZMPOP 0.01 1 z MAX|ZADD z 1 a|ZADD z 1 a|ZADD z XX CH 2 a|ZADD z INCR 2 a|\
ZINCRBY z 1.5 a|ZREM z x|SADD s 1 2 3|SADD s 1|ZUNIONSTORE u 2 z s|ZINTERSTORE u 2 z s|ZINTERSTORE u 2 z s|ZDIFFSTORE u 2 s z|\
ZRANGESTORE v u 0 1|ZRANGESTORE v u 9 10|ZREMRANGEBYRANK u 0 0|ZREMRANGEBYSCORE u 5 6|SMOVE s t 1|SMOVE s t 9|SREM s 9|SPOP t|SPOP t 3|\
SPOP s 9|SADD s 1 2 3|SUNIONSTORE t s|SINTERSTORE t s x|SDIFFSTORE t s x|GEOADD g 13 38 a|GEOADD g 13 38 a|\
GEOSEARCHSTORE h g FROMMEMBER a BYRADIUS 1 km|GEORADIUS g 13 38 1 km STORE h|MULTI;BLPOP q 0;RPUSH q 1 2;BLPOP q 0;BLMOVE q r LEFT LEFT 0;EXEC";

#[test]
fn replicas_get_what_redis_sends() {
    compare(&format!("{LINES}|{COLLECTIONS}"));
}

/// Sends commands, parted by `|`, to both servers and compares what they send on.
pub fn compare(lines: &str) {
    // What poses as a replica acknowledges nothing.
    let args = ["--repl-diskless-sync-delay", "0", "--repl-timeout", "10000"];
    let Some(peer) = Peer::Redis8.start(&args) else {
        return;
    };
    let server = Server::start(&args);
    let (mut ours, mut theirs) = (server.client(), peer.client());
    let (mut our_stream, mut their_stream) = (Stream::start(&server), Stream::start(&peer));
    for line in lines.split('|') {
        for part in line.split(';') {
            let words = split_args(part.as_bytes()).expect("unbalanced quotes");
            let (mine, other) = (ours.call(&words), theirs.call(&words));
            // What is drawn is each server's own, and so is the clock.
            if !part.starts_with("RANDOMKEY") && !part.starts_with("SPOP") && !part.contains('*') {
                assert_eq!(mine, other, "{part}");
            }
        }
        let (mine, other) = (
            our_stream.commands(&mut ours),
            their_stream.commands(&mut theirs),
        );
        assert_eq!(mine, other, "{line}");
    }
}

/// What waits is served with what woke it.
#[test]
fn replicas_get_what_clients_waited_for() {
    let args = ["--repl-diskless-sync-delay", "0"];
    let Some(peer) = Peer::Redis8.start(&args) else {
        return;
    };
    let server = Server::start(&args);
    let mut sent = [&server, &peer].map(|server| {
        let (mut client, mut stream) = (server.client(), Stream::start(server));
        let mut all = Vec::new();
        for (waits, wakes) in [
            ("BLPOP l m 0", "RPUSH l 1 2"),
            ("BLMOVE a b LEFT RIGHT 0", "RPUSH a 1"),
            ("BRPOPLPUSH a b 0", "RPUSH a 1"),
            ("BLMPOP 0 2 x y LEFT COUNT 3", "RPUSH y 1 2 3 4"),
            ("BZPOPMIN z 0", "ZADD z 1 a 2 b"),
            ("BZPOPMAX v w 0", "ZADD w 1 a 2 b"),
            ("BZMPOP 0 2 p q MIN COUNT 2", "ZADD q 1 a 2 b 3 c"),
        ] {
            let mut waiting = server.client();
            waiting.send(format!("{waits}\r\n").as_bytes());
            wait_until("it waits", || {
                client.info("clients", "blocked_clients") == "1"
            });
            client.text(wakes);
            waiting.read();
            all.push(stream.commands(&mut client));
        }
        all
    });
    let [ours, theirs] = &mut sent;
    assert_eq!(ours, theirs);
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
        ("RPUSH l 1 2 3 4 5 6", vec!["RPUSH l 1 2 3 4 5 6"]),
        ("LMOVEM l m LEFT LEFT EXACTLY 9 BULK", vec![]),
        (
            "LMOVEM l m LEFT LEFT COUNT 2 BULK",
            vec!["MULTI", "LPOP l 2", "LPUSH m 2 1", "EXEC"],
        ),
        (
            "BLMOVEM l m RIGHT RIGHT 0 COUNT 2 OBO",
            vec!["MULTI", "RPOP l 2", "RPUSH m 6 5", "EXEC"],
        ),
        (
            "LMOVEM l l LEFT LEFT COUNT 9 OBO",
            vec!["MULTI", "RPUSH l 4 3", "LTRIM l 2 -1", "EXEC"],
        ),
        ("SADD s a b", vec!["SADD s a b"]),
        (
            "ZUNIONSTORE z 2 s s WEIGHTS 1 0.5 AGGREGATE COUNT",
            vec!["MULTI", "DEL z", "ZADD z 1.5 a 1.5 b", "EXEC"],
        ),
        ("ZINTERSTORE z 2 s x AGGREGATE COUNT", vec!["DEL z"]),
    ] {
        client.text(line);
        assert_eq!(stream.commands(&mut client), sent, "{line}");
    }
}
