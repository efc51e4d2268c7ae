//! RDB files: saved and loaded here, exchanged with Redis and Valkey, damaged, impossible to write.

use std::path::Path;

use redoxide::rdb::Dialect;
use redoxide::rdb::encode::{EncodeOptions, Encoder, Progress};
use redoxide::rdb::{Access, VERSION_VALKEY};
use redoxide::types::{StringRef, ValueRef};

use crate::harness::{Client, Peer, Server, Value, target, wait_until};

/// Values of every form that a file has for strings.
fn values() -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = [
        "",
        "0",
        "-1",
        "127",
        "-129",
        "40000",
        "-2147483648",
        "2147483648",
        "9223372036854775807",
        "00",
        "1.5",
        "text",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let mut bits = 88_172_645_463_325_252_u64;
    for length in [
        10, 63, 64, 1000, 16_383, 16_384, 65_535, 65_536, 65_537, 300_000,
    ] {
        let noise = std::iter::repeat_with(|| {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            bits as u8
        });
        values.push(noise.take(length).collect());
        values.push(
            b"some text that repeats, "
                .iter()
                .copied()
                .cycle()
                .take(length)
                .collect(),
        );
    }
    values
}

/// Stores the values, with deadlines for some, in two databases.
fn fill(client: &mut Client) {
    for db in [0, 9] {
        client.text(&format!("SELECT {db}"));
        for (number, value) in values().iter().enumerate() {
            let key = format!("key:{db}:{number}").into_bytes();
            let ok = Value::Simple("OK".into());
            assert_eq!(
                client.call(&[b"SET".to_vec(), key.clone(), value.clone()]),
                ok
            );
            if number % 3 == 0 {
                let at = format!("{}", 4_000_000_000_000_u64 + number as u64).into_bytes();
                assert_eq!(
                    client.call(&[b"PEXPIREAT".to_vec(), key, at]),
                    Value::Int(1)
                );
            }
        }
        client.text("SET 12345 number-key");
    }
}

fn check(client: &mut Client) {
    for db in [0, 9] {
        client.text(&format!("SELECT {db}"));
        for (number, value) in values().iter().enumerate() {
            let key = format!("key:{db}:{number}").into_bytes();
            let found = client.call(&[b"GET".to_vec(), key.clone()]);
            assert!(
                found == Value::Bulk(value.clone()),
                "key {number} of {} bytes",
                value.len()
            );
            let at = if number % 3 == 0 {
                4_000_000_000_000 + number as i64
            } else {
                -1
            };
            assert_eq!(client.call(&[b"PEXPIRETIME".to_vec(), key]), Value::Int(at));
        }
        assert_eq!(client.text("GET 12345"), "number-key");
        assert_eq!(client.text("DBSIZE"), (values().len() + 1).to_string());
    }
}

fn start_with(program: &Path, file: &[u8]) -> Server {
    Server::start_in(program, &[], |dir| {
        std::fs::write(dir.join("dump.rdb"), file).unwrap()
    })
}

fn saved(server: &Server) -> Vec<u8> {
    assert_eq!(server.client().text("SAVE"), "OK");
    std::fs::read(server.dir().join("dump.rdb")).unwrap()
}

#[test]
fn files_go_both_ways_between_this_server_and_others() {
    let ours = Server::start(&[]);
    fill(&mut ours.client());
    let our_file = saved(&ours);
    check(&mut start_with(&target(), &our_file).client());
    for peer in [Peer::Redis8, Peer::Redis7, Peer::Valkey] {
        let Some(theirs) = peer.start(&[]) else {
            continue;
        };
        fill(&mut theirs.client());
        check(&mut start_with(&target(), &saved(&theirs)).client());
        // Redis 7.0 reads version 10 at most.
        if peer != Peer::Redis7 {
            let program = peer.find().unwrap();
            check(&mut start_with(&program, &our_file).client());
        }
    }
}

#[test]
fn valkey_loads_what_is_written_in_its_dialect() {
    let Some(program) = Peer::Valkey.find() else {
        return eprintln!("skipped: no Valkey on this machine");
    };
    let (mut file, progress) = (Vec::new(), Progress::default());
    let options = EncodeOptions {
        dialect: Dialect::Valkey(VERSION_VALKEY),
        ..EncodeOptions::default()
    };
    let sink = |chunk: &mut Vec<u8>| {
        file.append(chunk);
        Ok(())
    };
    let mut encoder = Encoder::new(&options, &progress, sink).unwrap();
    encoder.select(3, 1, 0).unwrap();
    let value = ValueRef::String(StringRef::Bytes(b"value"));
    encoder.key(b"key", value, None, Access::Unknown).unwrap();
    encoder.finish().unwrap();
    let server = start_with(&program, &file);
    let mut client = server.client();
    client.text("SELECT 3");
    assert_eq!(client.text("GET key"), "value");
}

#[test]
fn a_background_save_holds_the_data_of_its_start() {
    let args = ["--enable-debug-command", "yes"];
    let server = Server::start(&args);
    let mut client = server.client();
    for number in 0..1000 {
        client.text(&format!("SET key:{number} old"));
    }
    client.text("CONFIG SET rdb-key-save-delay 2000");
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    let refused = "(error) ERR Background save already in progress";
    assert_eq!(client.text("BGSAVE"), refused);
    assert_eq!(client.text("SAVE"), refused);
    // In one piece, so that all is done while it lasts.
    let changes: String = (0..1000)
        .map(|number| match number % 3 {
            0 => format!("SET key:{number} new\r\n"),
            1 => format!("DEL key:{number}\r\n"),
            _ => format!("SET other:{number} new\r\n"),
        })
        .collect();
    client.send(changes.as_bytes());
    (0..1000).for_each(|_| drop(client.read()));
    assert_eq!(client.info("persistence", "rdb_bgsave_in_progress"), "1");
    wait_until("the save ends", || {
        client.info("persistence", "rdb_bgsave_in_progress") == "0"
    });
    assert_eq!(
        client.info("persistence", "rdb_changes_since_last_save"),
        "1000"
    );
    assert_eq!(client.text("DEBUG RELOAD NOSAVE"), "OK");
    assert_eq!(client.text("DBSIZE"), "1000");
    for number in 0..1000 {
        assert_eq!(client.text(&format!("GET key:{number}")), "old");
    }
    assert!(
        server
            .log()
            .contains("Background saving terminated with success")
    );
}

#[test]
fn save_points_shutdown_and_a_crash() {
    let mut server = Server::start(&["--save", "1 3"]);
    let mut client = server.client();
    let started = client.text("LASTSAVE");
    // At once: a save may begin as soon as there are three.
    client.text("MSET a 1 b 2 c 3 d 4");
    wait_until("the save point saves", || {
        client.info("persistence", "rdb_saves") == "1"
            && client.info("persistence", "rdb_bgsave_in_progress") == "0"
    });
    assert_ne!(client.text("LASTSAVE"), started);
    assert!(server.log().contains("3 changes in 1 seconds. Saving..."));
    client.text("SET lost 1");
    server.restart(&["--save", "3600 100"]);
    let mut client = server.client();
    assert_eq!(client.text("MGET a b c d lost"), "[1, 2, 3, 4, (nil)]");
    // A server with save points saves when it is told to end.
    client.text("SET kept 1");
    server.signal("TERM");
    assert_eq!(server.wait_for_exit(), Some(0));
    server.restart(&[]);
    let mut client = server.client();
    assert_eq!(client.text("GET kept"), "1");
    client.text("SET gone 1");
    assert_eq!(
        client.text("SHUTDOWN SAVE NOSAVE"),
        "(error) ERR syntax error"
    );
    assert_eq!(
        client.text("SHUTDOWN ABORT NOW"),
        "(error) ERR syntax error"
    );
    assert_eq!(
        client.text("SHUTDOWN ABORT"),
        "(error) ERR No shutdown in progress."
    );
    client.send(b"SHUTDOWN NOSAVE\r\n");
    assert_eq!(server.wait_for_exit(), Some(0));
    server.restart(&[]);
    let mut client = server.client();
    assert_eq!(client.text("MGET kept gone"), "[1, (nil)]");
    client.text("SET late 1");
    client.send(b"SHUTDOWN SAVE\r\n");
    assert_eq!(server.wait_for_exit(), Some(0));
    server.restart(&[]);
    assert_eq!(server.client().text("GET late"), "1");
}

#[test]
fn due_keys_are_left_out_at_start() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.text("DEBUG SET-ACTIVE-EXPIRE 0");
    client.text("SET short x PX 150");
    client.text("SET long x PX 1000000");
    let file = saved(&server);
    std::thread::sleep(std::time::Duration::from_millis(160));
    let server = start_with(&target(), &file);
    let mut client = server.client();
    assert_eq!(client.text("DBSIZE"), "1");
    assert_eq!(
        client.info("persistence", "rdb_last_load_keys_expired"),
        "1"
    );
    assert_eq!(client.info("persistence", "rdb_last_load_keys_loaded"), "1");
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let server = Server::start(&[]);
    fill(&mut server.client());
    let file = saved(&server);
    let dir = server.dir().join("damaged");
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("dump.rdb");
    let mut flipped = file.clone();
    flipped[file.len() / 2] ^= 1;
    let truncated = file[..file.len() - 5].to_vec();
    let module = b"REDIS0011\xfe\x00\x07\x06module\x00\xff\0\0\0\0\0\0\0\0".to_vec();
    let mut wrong_sum = file.clone();
    *wrong_sum.last_mut().unwrap() ^= 1;
    const CUT: &str = "# Short read or OOM loading DB. Unrecoverable error, aborting now.\n";
    // Redis's line, where tools look for one, and ours.
    for (damaged, known, reason) in [
        (flipped, "", "at offset"),
        (truncated, CUT, "unexpected end of the stream at offset"),
        (
            module,
            "",
            "module-value (7) can't be loaded by this version at offset 11, key \"module\"",
        ),
        (b"hello".to_vec(), CUT, "unexpected end"),
        (
            wrong_sum,
            "# Wrong RDB checksum expected: (",
            "RDB CRC error",
        ),
        (
            b"REDES0011\xff\0\0\0\0\0\0\0\0".to_vec(),
            "# Wrong signature trying to load DB from file\n",
            "wrong signature",
        ),
        (
            b"REDIS0099\xff\0\0\0\0\0\0\0\0".to_vec(),
            "# Can't handle RDB format version 99\n",
            "REDIS0099 at offset 0",
        ),
    ] {
        std::fs::write(&path, &damaged).unwrap();
        let output = std::process::Command::new(target())
            .args(["--port", "0", "--unixsocket", "s", "--save", "", "--dir"])
            .arg(&dir)
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{log}");
        for line in ["Fatal error loading the DB", known, reason] {
            assert!(log.contains(line), "{line} in {log}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), damaged);
    }
    let mut unchecked = file;
    let trailer = unchecked.len() - 8;
    unchecked[trailer..].fill(0);
    let server = start_with(&target(), &unchecked);
    assert!(
        server
            .log()
            .contains("* RDB file was saved with checksum disabled: no check performed.\n")
    );
}

#[test]
fn writes_are_refused_while_saving_fails() {
    let args = ["--save", "3600 100000", "--enable-protected-configs", "yes"];
    let server = Server::start(&args);
    let mut client = server.client();
    let dir = server.dir().join("away");
    std::fs::create_dir(&dir).unwrap();
    assert_eq!(
        client.text(&format!("CONFIG SET dir {}", dir.display())),
        "OK"
    );
    for nowhere in ["", "/nonexistent"] {
        let reply = client.call(&["CONFIG", "SET", "dir", nowhere]).to_string();
        assert!(reply.ends_with("No such file or directory"), "{reply}");
    }
    client.text("SET k 1");
    std::fs::remove_dir(&dir).unwrap();
    assert!(client.text("SAVE").starts_with("(error) ERR"));
    assert_eq!(
        client.text("SHUTDOWN"),
        "(error) ERR Errors trying to SHUTDOWN. Check logs."
    );
    for line in [
        "# Failed opening the temp RDB file temp-",
        "# Error trying to save the DB, can't exit.\n",
        "# Errors trying to shut down the server. Check the logs for more information.\n",
    ] {
        assert!(server.log().contains(line), "{line}");
    }
    client.text("BGSAVE");
    wait_until("the save fails", || {
        client.info("persistence", "rdb_last_bgsave_status") == "err"
    });
    assert!(
        client
            .text("SET k 2")
            .starts_with("(error) MISCONF Redis is configured to save RDB")
    );
    assert!(client.text("PING").starts_with("(error) MISCONF"));
    assert_eq!(client.text("GET k"), "1");
    assert_eq!(
        client.text("CONFIG SET stop-writes-on-bgsave-error no"),
        "OK"
    );
    assert_eq!(client.text("SET k 3"), "OK");
    assert_eq!(
        client.text("CONFIG SET stop-writes-on-bgsave-error yes"),
        "OK"
    );
    std::fs::create_dir(&dir).unwrap();
    client.text("BGSAVE");
    wait_until("the save succeeds", || {
        client.info("persistence", "rdb_last_bgsave_status") == "ok"
    });
    assert_eq!(client.text("SET k 4"), "OK");
    assert!(server.log().contains("Background saving error"));
    let left: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["dump.rdb"]);
}

#[test]
fn the_file_of_a_save_that_shutdown_stops_is_removed() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    for number in 0..20 {
        client.text(&format!("SET {number} {number}"));
    }
    client.text("CONFIG SET rdb-key-save-delay 10000000");
    client.text("BGSAVE");
    let name = format!("temp-{}-background.rdb", server.pid());
    let file = server.dir().join(name);
    wait_until("the file is there", || file.exists());
    client.send(b"SHUTDOWN NOSAVE\r\n");
    assert_eq!(server.wait_for_exit(), Some(0));
    assert!(!file.exists());
}

#[test]
fn tables_grow_during_a_save_and_little_is_copied() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    let cow = |client: &mut Client| -> usize {
        let bytes = client.info("persistence", "current_cow_size");
        bytes.parse().unwrap()
    };
    client.text("DEBUG POPULATE 4095 a 1000");
    client.text("CONFIG SET rdb-key-save-delay 1000000");
    client.text("BGSAVE");
    client.text("DEBUG POPULATE 4096 b 1000");
    assert_eq!(client.text("DBSIZE"), "8191");
    assert_eq!(client.info("persistence", "rdb_bgsave_in_progress"), "1");
    // Of four megabytes the table's segments alone, some tens of kilobytes.
    let copied = cow(&mut client);
    assert!(copied < 256 << 10, "{copied}");
    client.text("CONFIG SET rdb-key-save-delay 0");
    client.text("FLUSHALL");
    wait_until("the save is stopped", || {
        client.info("persistence", "rdb_bgsave_in_progress") == "0"
    });
    assert_eq!(client.info("persistence", "rdb_last_bgsave_status"), "ok");
    assert!(server.log().contains("Background saving cancelled"));
}

#[test]
fn a_running_save_is_stopped_by_shutdown_and_by_flushall() {
    let mut server = Server::start(&["--save", "3600 1"]);
    let mut client = server.client();
    for number in 0..1000 {
        client.text(&format!("SET key:{number} old"));
    }
    client.text("CONFIG SET rdb-key-save-delay 100000");
    client.text("BGSAVE");
    // A save keeps the delay that it began with; the next has none.
    client.text("CONFIG SET rdb-key-save-delay 0");
    client.text("SET key:1 new");
    client.send(b"SHUTDOWN\r\n");
    assert_eq!(server.wait_for_exit(), Some(0));
    assert!(server.log().contains("Background saving cancelled"));
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(server.dir()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["dump.rdb", "server.log"]);
    server.restart(&["--save", "3600 1"]);
    let mut client = server.client();
    assert_eq!(client.text("GET key:1"), "new");
    assert_eq!(client.text("FLUSHALL"), "OK");
    server.kill();
    server.restart(&["--save", "3600 1"]);
    assert_eq!(server.client().text("DBSIZE"), "0");
}

#[test]
fn figures_of_saves_and_loads() {
    let args = [
        "--enable-debug-command",
        "yes",
        "--enable-protected-configs",
        "yes",
    ];
    let server = Server::start(&args);
    let mut client = server.client();
    client.text("DEBUG POPULATE 1000");
    assert_eq!(
        client.info("persistence", "rdb_changes_since_last_save"),
        "0"
    );
    // Saves count when they begin, and until CONFIG RESETSTAT.
    client.text("SAVE");
    std::fs::create_dir(server.dir().join("x.rdb")).unwrap();
    client.text("CONFIG SET dbfilename x.rdb");
    assert!(client.text("SAVE").starts_with("(error)"));
    assert_eq!(client.info("persistence", "rdb_saves"), "2");
    client.text("BGSAVE");
    assert_eq!(client.info("persistence", "rdb_saves"), "3");
    client.text("CONFIG RESETSTAT");
    assert_eq!(client.info("persistence", "rdb_saves"), "0");
    wait_until("it has failed", || {
        client.info("persistence", "rdb_last_bgsave_status") == "err"
    });
    client.text("CONFIG SET dbfilename y.rdb");
    assert_eq!(client.text("DEBUG RELOAD"), "OK");
    assert_eq!(
        client.info("persistence", "rdb_last_load_keys_loaded"),
        "1000"
    );
    for line in [
        "# Error moving temp DB file temp-",
        " on the final destination x.rdb (in server root dir ",
        "* DB reloaded by DEBUG RELOAD\n",
    ] {
        assert!(server.log().contains(line), "{line}");
    }
}
