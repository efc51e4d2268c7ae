//! The replication stream: every byte a replica must see, written once into fixed blocks.
//!
//! Backlog and output buffer of all replicas are the same blocks; a reader is an offset. The
//! last `backlog_size` bytes are kept while the backlog is on, and more as long as an attached
//! reader has not sent them ([`Stream::trim`]; a reader that stays behind too far is cut off by
//! [`source`](super::source), which bounds the memory).
//!
//! Invariants: the blocks hold the bytes from `first` to `end` without a gap, all blocks but the
//! last are full, and an inactive stream (no backlog: no replica has ever attached, or the last
//! one left longer than `repl-backlog-ttl` ago) holds none.

use std::collections::VecDeque;

/// Bytes in one block.
pub const BLOCK_BYTES: usize = 16 * 1024;
/// No history is taken over beyond this offset: counting on from it does not overflow.
pub const OFFSET_MAX: i64 = i64::MAX / 2;

/// The log. See the module's text.
pub struct Stream {
    blocks: VecDeque<Box<[u8]>>,
    /// Offset of the first byte of the first block.
    first: i64,
    /// Offset after the last byte: Redis's `master_repl_offset`.
    end: i64,
    /// Whether writes are kept at all.
    active: bool,
    /// Bytes to keep for replicas that come back.
    backlog_size: i64,
    /// The database that the last SELECT in the stream named; `None` forces one.
    selected: Option<usize>,
    /// One emptied block for reuse.
    spare: Option<Box<[u8]>>,
}

impl Stream {
    /// An inactive stream at offset 0.
    pub fn new(backlog_size: i64) -> Stream {
        Stream {
            blocks: VecDeque::new(),
            first: 0,
            end: 0,
            active: false,
            backlog_size: backlog_size.max(1),
            selected: None,
            spare: None,
        }
    }

    /// Redis's `master_repl_offset`.
    pub fn offset(&self) -> i64 {
        self.end
    }

    /// Whether there is a backlog.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Offset of the oldest byte kept.
    pub fn first_offset(&self) -> i64 {
        self.first
    }

    /// Bytes kept (INFO's `repl_backlog_histlen`).
    pub fn histlen(&self) -> i64 {
        self.end - self.first
    }

    /// The size that was asked for.
    pub fn backlog_size(&self) -> i64 {
        self.backlog_size
    }

    /// The database selected in the stream.
    pub fn selected(&self) -> Option<usize> {
        self.selected
    }

    /// Bytes of memory the blocks take.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Changes `repl-backlog-size`; takes effect with the next [`Stream::trim`].
    pub fn resize(&mut self, backlog_size: i64) {
        self.backlog_size = backlog_size.max(1);
    }

    /// Makes the next command be preceded by SELECT (a snapshot was taken, or the role changed).
    pub fn force_select(&mut self) {
        self.selected = None;
    }

    /// Records which database the stream is in when its bytes were written by somebody else.
    pub fn set_selected(&mut self, db: Option<usize>) {
        self.selected = db;
    }

    /// Turns the backlog on, empty, at the current offset.
    pub fn activate(&mut self) {
        if !self.active {
            self.active = true;
            self.first = self.end;
        }
    }

    /// Frees the backlog; the offset stays.
    pub fn deactivate(&mut self) {
        self.active = false;
        self.clear();
    }

    /// Drops what is kept and goes on at `offset` (a full sync replaced the data set).
    pub fn reset(&mut self, offset: i64) {
        assert!(offset >= 0, "a replication offset is never negative");
        self.end = offset;
        self.clear();
    }

    fn clear(&mut self) {
        self.blocks.clear();
        self.spare = None;
        self.first = self.end;
    }

    /// Appends the command `argv`, run in database `db`, with a SELECT before it where the
    /// stream is in another one. Without a backlog this is one branch.
    #[inline]
    pub fn feed<'a>(&mut self, db: usize, argv: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.active {
            self.select(db);
            self.command(argv);
        }
    }

    /// Appends a command that belongs to no database (PING, REPLCONF GETACK, PUBLISH).
    #[inline]
    pub fn feed_anywhere<'a>(&mut self, argv: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.active {
            self.command(argv);
        }
    }

    /// As [`Stream::feed`], of a command that is encoded already.
    pub fn feed_encoded(&mut self, db: usize, command: &[u8]) {
        if self.active {
            self.select(db);
            self.push(command);
        }
    }

    fn select(&mut self, db: usize) {
        if self.selected != Some(db) {
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(db);
            self.command([b"SELECT".as_slice(), digits.as_bytes()].into_iter());
            self.selected = Some(db);
        }
    }

    fn command<'a>(&mut self, argv: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.header(b'*', argv.len());
        for argument in argv {
            self.header(b'$', argument.len());
            self.push(argument);
            self.push(b"\r\n");
        }
    }

    fn header(&mut self, kind: u8, count: usize) {
        let mut line = [0; 24];
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(count).as_bytes();
        let end = digits.len() + 1;
        line[0] = kind;
        line[1..end].copy_from_slice(digits);
        line[end..end + 2].copy_from_slice(b"\r\n");
        self.push(&line[..end + 2]);
    }

    /// Appends bytes as they are: a replica copying its master's stream.
    pub fn append_raw(&mut self, bytes: &[u8]) {
        if self.active {
            self.push(bytes);
        } else {
            // A replica without a backlog still counts what it applied.
            self.end += bytes.len() as i64;
            self.first = self.end;
        }
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = (self.end - self.first) as usize % BLOCK_BYTES;
            if used == 0 && self.histlen() as usize == self.blocks.len() * BLOCK_BYTES {
                let block = self.spare.take();
                self.blocks
                    .push_back(block.unwrap_or_else(|| vec![0; BLOCK_BYTES].into()));
            }
            let Some(block) = self.blocks.back_mut() else {
                return;
            };
            let count = bytes.len().min(BLOCK_BYTES - used);
            block[used..used + count].copy_from_slice(&bytes[..count]);
            self.end += count as i64;
            bytes = &bytes[count..];
        }
        debug_assert!(self.check());
    }

    /// Whether a reader at `offset` can go on without a gap.
    pub fn covers(&self, offset: i64) -> bool {
        self.active && offset >= self.first && offset <= self.end
    }

    /// The bytes from `offset` to the end of its block: empty at the end of the stream, and
    /// outside of what is kept.
    pub fn chunk_at(&self, offset: i64) -> &[u8] {
        if offset < self.first || offset >= self.end {
            return &[];
        }
        let position = (offset - self.first) as usize;
        let (index, start) = (position / BLOCK_BYTES, position % BLOCK_BYTES);
        let filled = (self.histlen() as usize - index * BLOCK_BYTES).min(BLOCK_BYTES);
        self.blocks
            .get(index)
            .map_or(&[], |block| &block[start..filled])
    }

    /// All chunks from `offset` to the end, for a vectored write.
    pub fn chunks_from(&self, offset: i64) -> impl Iterator<Item = &[u8]> {
        let mut offset = offset;
        std::iter::from_fn(move || {
            let chunk = self.chunk_at(offset);
            offset += chunk.len() as i64;
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    /// Drops the blocks that neither the backlog nor the reader that is furthest behind
    /// (`needed_from`) wants.
    pub fn trim(&mut self, needed_from: Option<i64>) {
        let backlog_from = self.end - self.backlog_size;
        let keep_from = needed_from.map_or(backlog_from, |offset| offset.min(backlog_from));
        while self.first + BLOCK_BYTES as i64 <= keep_from {
            let Some(block) = self.blocks.pop_front() else {
                break;
            };
            self.spare = Some(block);
            self.first += BLOCK_BYTES as i64;
        }
        debug_assert!(self.check());
    }

    fn check(&self) -> bool {
        self.first >= 0
            && self.first <= self.end
            && self.blocks.len() == (self.histlen() as usize).div_ceil(BLOCK_BYTES)
            && (self.active || self.blocks.is_empty())
    }
}

/// Appends `argv` to `out` as a command.
pub fn push_command(out: &mut Vec<u8>, argv: &[&[u8]]) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(argv.len()).as_bytes());
    for argument in argv {
        out.extend_from_slice(b"\r\n$");
        out.extend_from_slice(digits.format(argument.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(argument);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stream: &Stream, offset: i64) -> Vec<u8> {
        stream.chunks_from(offset).collect::<Vec<_>>().concat()
    }

    fn argv<'a>(words: &'a [&'a str]) -> impl ExactSizeIterator<Item = &'a [u8]> {
        words.iter().map(|word| word.as_bytes())
    }

    #[test]
    fn an_inactive_stream_keeps_nothing() {
        let mut stream = Stream::new(100);
        stream.feed(0, argv(&["SET", "a", "1"]));
        assert_eq!(
            (stream.offset(), stream.histlen(), stream.memory_bytes()),
            (0, 0, 0)
        );
        assert!(!stream.covers(0));
    }

    #[test]
    fn select_is_written_when_the_database_changes() {
        let mut stream = Stream::new(100);
        stream.activate();
        stream.feed(0, argv(&["DEL", "a"]));
        stream.feed(0, argv(&["DEL", "b"]));
        stream.feed_anywhere(argv(&["PING"]));
        stream.feed(11, argv(&["DEL", ""]));
        let expected = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n\
                        *2\r\n$3\r\nDEL\r\n$1\r\nb\r\n*1\r\n$4\r\nPING\r\n\
                        *2\r\n$6\r\nSELECT\r\n$2\r\n11\r\n*2\r\n$3\r\nDEL\r\n$0\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&all(&stream, 0)), expected);
        assert_eq!(stream.offset(), expected.len() as i64);
        stream.force_select();
        let offset = stream.offset();
        stream.feed(11, argv(&["DEL", "x"]));
        assert!(all(&stream, offset).starts_with(b"*2\r\n$6\r\nSELECT"));
    }

    #[test]
    fn blocks_are_kept_for_the_backlog_and_for_readers() {
        let mut stream = Stream::new(BLOCK_BYTES as i64);
        stream.activate();
        let mut model = Vec::new();
        let mut state = 7u64;
        for round in 0..400 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            let size = (state >> 33) as usize % 1500 * usize::from(round % 7 != 0);
            let bytes: Vec<u8> = (0..size).map(|i| (i as u8) ^ (round as u8)).collect();
            stream.append_raw(&bytes);
            model.extend_from_slice(&bytes);
            let reader = model.len() as i64 / 2;
            stream.trim(Some(reader));
            assert!(stream.covers(reader));
            let first = stream.first_offset();
            assert_eq!(all(&stream, first), &model[first as usize..]);
            assert_eq!(all(&stream, reader), &model[reader as usize..]);
        }
        stream.trim(None);
        assert!(stream.histlen() >= BLOCK_BYTES as i64);
        assert!(stream.histlen() < 2 * BLOCK_BYTES as i64);
        assert!(!stream.covers(stream.first_offset() - 1));
        assert!(stream.covers(stream.offset()));
        assert!(!stream.covers(stream.offset() + 1));
        assert_eq!(stream.chunk_at(-5), b"");
    }

    #[test]
    fn resize_reset_and_free() {
        let mut stream = Stream::new(1 << 20);
        stream.activate();
        stream.append_raw(&vec![1; 10 * BLOCK_BYTES]);
        stream.trim(None);
        assert_eq!(stream.histlen(), 10 * BLOCK_BYTES as i64);
        stream.resize(100);
        stream.trim(None);
        assert_eq!(stream.histlen(), BLOCK_BYTES as i64);
        stream.append_raw(b"x");
        stream.trim(None);
        assert_eq!(stream.histlen(), BLOCK_BYTES as i64 + 1);
        stream.reset(77);
        assert_eq!(
            (stream.offset(), stream.first_offset(), stream.histlen()),
            (77, 77, 0)
        );
        stream.append_raw(b"abc");
        assert_eq!(all(&stream, 78), b"bc");
        stream.deactivate();
        assert_eq!((stream.offset(), stream.histlen()), (80, 0));
        stream.append_raw(b"abc");
        assert_eq!((stream.offset(), stream.histlen()), (83, 0));
    }

    #[test]
    fn push_command_writes_resp() {
        let mut out = Vec::new();
        push_command(&mut out, &[b"REPLCONF", b"ACK", b"12"]);
        assert_eq!(out, b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$2\r\n12\r\n");
    }
}
