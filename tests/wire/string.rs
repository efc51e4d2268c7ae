//! Strings: what a client sees, step by step; each line also against Redis 8 where there is one.

use crate::harness::{Server, Value};
use crate::pair::Pair;

fn expect(client: &mut crate::harness::Client, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        assert_eq!(client.text(line), *expected, "{line}");
    }
}

#[test]
fn set_depends_on_what_is_there() {
    let server = Server::start(&[]);
    expect(
        &mut server.client(),
        &[
            ("SET k 1 XX", "(nil)"),
            ("SET k 1 NX", "OK"),
            ("SET k 2 NX", "(nil)"),
            ("SET k 2 NX GET", "1"),
            ("SET k 2 XX GET", "1"),
            ("SET k 3 IFEQ 1", "(nil)"),
            ("SET k 3 IFEQ 2", "OK"),
            ("SET k 4 IFNE 3", "(nil)"),
            ("SET k 4 IFNE 3 GET", "3"),
            ("SET k 4 IFNE 9 GET", "3"),
            ("SET none 1 IFEQ 1", "(nil)"),
            ("SET none 1 IFEQ 1 GET", "(nil)"),
            ("EXISTS none", "0"),
            ("SET none 1 IFNE 1", "OK"),
            ("SET k 1 NX IFEQ 1", "(error) ERR syntax error"),
            ("SET k 1 IFEQ", "(error) ERR syntax error"),
            ("SET k 1 EX 100 KEEPTTL", "(error) ERR syntax error"),
            ("SET k 5 EXAT 5000000000", "OK"),
            ("SET k 6 IFEQ 5 KEEPTTL", "OK"),
            ("EXPIRETIME k", "5000000000"),
            ("SET k 7", "OK"),
            ("TTL k", "-1"),
        ],
    );
}

/// IFEQ compares bytes, whatever the encoding.
#[test]
fn conditions_compare_long_and_odd_values() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let long = vec![b'x'; 200_000];
    let ok = Value::Simple("OK".to_owned());
    let set = |client: &mut crate::harness::Client, words: &[&[u8]]| client.call(words);
    assert_eq!(set(&mut client, &[b"SET", b"k", &long]), ok);
    assert_eq!(
        set(&mut client, &[b"SET", b"k", b"1", b"IFEQ", &long[1..]]),
        Value::Null
    );
    assert_eq!(set(&mut client, &[b"SET", b"k", b"1", b"IFEQ", &long]), ok);
    assert_eq!(
        set(&mut client, &[b"SET", b"k", b"2", b"IFEQ", b"01"]),
        Value::Null
    );
    assert_eq!(set(&mut client, &[b"SET", b"k", b"2", b"IFEQ", b"1"]), ok);
}

/// Values beyond 64 KiB are kept in chunks; the commands must not show it.
#[test]
fn long_values_are_as_short_ones() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    let long: String = ('a'..='z').cycle().take(150_000).collect();
    pair.same(&format!("SET k {long}"));
    pair.same("OBJECT ENCODING k");
    pair.same("STRLEN k");
    for (start, end) in [
        (0, -1),
        (65_530, 65_540),
        (-5, -1),
        (32_000, 99_000),
        (149_999, 200_000),
    ] {
        pair.same(&format!("GETRANGE k {start} {end}"));
    }
    pair.same("APPEND k tail");
    pair.same("SETRANGE k 70000 middle");
    pair.same("SETRANGE k 300000 far");
    pair.same("STRLEN k");
    pair.same("GET k");
    pair.same("INCR k");
    pair.same("INCRBYFLOAT k 1");
    pair.same("COPY k l");
    pair.same("SETRANGE k 5 other");
    pair.same("GETRANGE l 0 20");
    pair.same("MGET k l none");
    pair.same("RENAME l m");
    pair.same("GETSET m short");
    pair.same("GETDEL k");
    pair.same("SETRANGE grown 100000 x");
    pair.same("STRLEN grown");
    pair.same("APPEND grown y");
    pair.same("GETRANGE grown 99990 -1");
}

#[test]
fn lengths_are_bounded() {
    let Some(mut pair) = Pair::start(&["--proto-max-bulk-len", "1mb"]) else {
        return;
    };
    pair.same("SET k 0123456789");
    pair.same("SETRANGE k 1048575 ab");
    pair.same("SETRANGE k 1048575 a");
    pair.same("STRLEN k");
    pair.same("APPEND k ab");
    pair.same("APPEND k \"\"");
    pair.same("SETRANGE k 9223372036854775807 a");
    pair.same("SETRANGE none 1048576 a");
    pair.same("SETRANGE none 4611686018427387904 \"\"");
    pair.same("SETRANGE none -1 \"\"");
    pair.same("LCS k k");
    pair.same("LCS k none LEN");
}

#[test]
fn lcs_finds_what_redis_finds() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for protocol in ["2", "3"] {
        pair.call(&[b"HELLO".to_vec(), protocol.into()]);
        pair.same("MSET a ohmytext b mynewtext c aaaabaaaa d aabaa e \"\"");
        for keys in ["a b", "b a", "c d", "d c", "a a", "a e", "e e", "a none"] {
            for options in [
                "",
                "LEN",
                "IDX",
                "IDX WITHMATCHLEN",
                "IDX MINMATCHLEN 2",
                "IDX MINMATCHLEN 4 WITHMATCHLEN",
                "IDX LEN",
                "LEN MINMATCHLEN -1",
                "MINMATCHLEN",
                "MINMATCHLEN x",
            ] {
                pair.same(&format!("LCS {keys} {options}"));
            }
        }
    }
}

#[test]
fn floats_print_as_in_redis() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    for (start, by) in [
        ("3", "1.1"),
        ("10.50", "0.1"),
        ("5.0e3", "2.0e2"),
        ("0", "3.0e3"),
        ("-0", "0"),
        ("1", "-1"),
        ("9007199254740993", "0.5"),
        ("1e17", "1"),
        ("1e4000", "1"),
        ("1e4932", "1e4932"),
        ("0.1", "0.2"),
        ("1", "1e-20"),
        ("123456789012345678", "0.000000001"),
        ("inf", "1"),
        ("1", "inf"),
        ("nan", "1"),
        (" 1", "1"),
        ("1", " 1"),
        ("0x1p4", "1"),
        ("", "1"),
    ] {
        pair.same(&format!("SET f \"{start}\""));
        pair.same(&format!("INCRBYFLOAT f \"{by}\""));
        pair.same("GET f");
        pair.same("OBJECT ENCODING f");
    }
}

#[test]
fn encodings_are_named_as_in_redis() {
    let Some(mut pair) = Pair::start(&[]) else {
        return;
    };
    pair.same("SET k 12345");
    pair.same("OBJECT ENCODING k");
    pair.same("APPEND k 6");
    pair.same("OBJECT ENCODING k");
    pair.same("INCR k");
    pair.same("OBJECT ENCODING k");
    pair.same("SET k abc");
    pair.same("OBJECT ENCODING k");
    pair.same("SETRANGE k 0 x");
    pair.same("OBJECT ENCODING k");
    pair.same("COPY k l");
    pair.same("OBJECT ENCODING l");
    pair.same("APPEND new 12");
    pair.same("OBJECT ENCODING new");
    pair.same("SETRANGE ranged 0 12");
    pair.same("OBJECT ENCODING ranged");
    pair.same("OBJECT REFCOUNT ranged");
    pair.same("GETSET l 9999");
    pair.same("OBJECT REFCOUNT l");
    pair.same("INCR l");
    pair.same("OBJECT REFCOUNT l");
    for length in [1, 20, 44, 45, 100] {
        pair.same(&format!("SET k {}", "9".repeat(length)));
        pair.same("OBJECT ENCODING k");
        pair.same("OBJECT REFCOUNT k");
    }
    pair.same("OBJECT ENCODING none");
    pair.same("OBJECT FREQ none");
    pair.same("OBJECT FREQ k");
    pair.same("OBJECT IDLETIME none");
    pair.same("CONFIG SET maxmemory-policy allkeys-lfu");
    pair.same("OBJECT IDLETIME k");
    pair.same("SET fresh v");
    pair.same("OBJECT FREQ fresh");
}

#[test]
fn lcs_reads_no_strings_that_are_too_long_for_it() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.text("SETBIT b 3999999999 1");
    let before: u64 = client.info("memory", "used_memory").parse().unwrap();
    client.text("CONFIG RESETSTAT");
    for line in ["LCS b b", "LCS b nokey LEN", "LCS nokey b IDX"] {
        assert_eq!(
            client.text(line),
            "(error) ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
        );
    }
    let peak: u64 = client.info("memory", "used_memory_peak").parse().unwrap();
    assert!(peak < before + 50_000_000, "{before} {peak}");
    assert_eq!(client.info("stats", "keyspace_hits"), "4");
}
