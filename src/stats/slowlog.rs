//! SLOWLOG: the last commands that took longer than the limit.

use std::collections::VecDeque;

/// Arguments kept of a command.
const ARGS_MAX: usize = 32;
/// Bytes kept of an argument.
const ARG_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowEntry {
    /// Counts up from 0 over the life of the server.
    pub id: u64,
    /// When it ran, seconds since 1970.
    pub unix_seconds: i64,
    /// How long it took.
    pub us: i64,
    /// Its arguments, shortened.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub peer: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// The log, newest first.
#[derive(Clone, Debug, Default)]
pub struct SlowLog {
    entries: VecDeque<SlowEntry>,
    next_id: u64,
}

impl SlowLog {
    /// Adds a command; no more than `entries_max` are kept. With 0 it is not even numbered.
    pub fn push<'a>(
        &mut self,
        args: impl Iterator<Item = &'a [u8]>,
        us: i64,
        unix_seconds: i64,
        peer: &str,
        name: &[u8],
        entries_max: usize,
    ) {
        if entries_max == 0 {
            return;
        }
        self.entries.push_front(SlowEntry {
            id: self.next_id,
            unix_seconds,
            us,
            args: shorten(args),
            peer: peer.to_owned(),
            name: name.to_vec(),
        });
        self.next_id += 1;
        self.entries.truncate(entries_max);
    }

    /// Keeps no more than the newest `entries_max`.
    pub fn shorten(&mut self, entries_max: usize) {
        self.entries.truncate(entries_max);
    }

    /// Newest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SlowEntry> {
        self.entries.iter()
    }

    /// Entries kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// SLOWLOG RESET: forgets the entries, not the numbering.
    pub fn reset(&mut self) {
        self.entries.clear();
    }
}

fn shorten<'a>(mut args: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut kept: Vec<Vec<u8>> = args.by_ref().take(ARGS_MAX).map(shorten_one).collect();
    let left = args.count();
    if left > 0
        && let Some(last) = kept.last_mut()
    {
        *last = format!("... ({} more arguments)", left + 1).into_bytes();
    }
    kept
}

fn shorten_one(arg: &[u8]) -> Vec<u8> {
    match arg.get(..ARG_BYTES_MAX) {
        Some(start) if arg.len() > ARG_BYTES_MAX => {
            let more = format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX);
            [start, more.as_bytes()].concat()
        }
        _ => arg.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_shortened_as_in_redis() {
        let words: Vec<Vec<u8>> = (0..33).map(|n: u32| n.to_string().into_bytes()).collect();
        let kept = shorten(words.iter().map(Vec::as_slice));
        assert_eq!(kept.len(), 32);
        assert_eq!(kept[30], b"30");
        assert_eq!(kept[31], b"... (2 more arguments)");
        assert_eq!(shorten(words[..32].iter().map(Vec::as_slice))[31], b"31");
        assert_eq!(shorten_one(&[b'x'; 128]), vec![b'x'; 128]);
        assert!(shorten_one(&[b'x'; 129]).ends_with(b"x... (1 more bytes)"));
    }

    #[test]
    fn the_oldest_go_and_numbers_go_on() {
        let mut log = SlowLog::default();
        for us in 0..5 {
            log.push([&b"get"[..]].into_iter(), us, 0, "", b"", 3);
        }
        assert_eq!(
            log.iter().map(|entry| entry.id).collect::<Vec<_>>(),
            [4, 3, 2]
        );
        log.reset();
        log.push([&b"get"[..]].into_iter(), 1, 0, "", b"", 3);
        assert_eq!(log.iter().next().map(|entry| entry.id), Some(5));
        log.push([&b"get"[..]].into_iter(), 1, 0, "", b"", 0);
        assert_eq!(log.len(), 1);
    }
}
