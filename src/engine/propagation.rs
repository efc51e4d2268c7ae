//! What a unit of work (a command, a transaction, an expiry) sends on to replicas, encoded once
//! as it happens and handed to the stream at the unit's end, wrapped in MULTI/EXEC when it is
//! more than one command.

/// A buffer with so much takes no further operation: those of a large unit are given up one by one when they are handed
/// on, and never copied to grow.
const BUFFER_BYTES: usize = 1 << 20;

/// The operations of the running unit.
#[derive(Default)]
pub struct Operations {
    full: Vec<Buffer>,
    last: Buffer,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// (database, end of its bytes).
    operations: Vec<(usize, usize)>,
}

impl Operations {
    /// Adds one command for database `db`.
    pub fn push<'a>(&mut self, db: usize, argv: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.last.bytes.len() >= BUFFER_BYTES {
            self.full.push(std::mem::take(&mut self.last));
        }
        encode_command(&mut self.last.bytes, argv);
        self.last.operations.push((db, self.last.bytes.len()));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.last.operations.is_empty()
    }

    /// Whether there is more than one.
    pub fn are_several(&self) -> bool {
        !self.full.is_empty() || self.last.operations.len() > 1
    }

    /// Hands on the operations in order (database, encoded command) and forgets them, keeping a buffer of moderate size.
    pub fn drain(&mut self, mut take: impl FnMut(usize, &[u8])) {
        for buffer in std::mem::take(&mut self.full) {
            buffer.hand_on(&mut take);
        }
        self.last.hand_on(&mut take);
        self.last.bytes.clear();
        self.last.bytes.shrink_to(BUFFER_BYTES);
        self.last.operations.clear();
        self.last.operations.shrink_to(1 << 12);
    }
}

impl Buffer {
    fn hand_on(&self, mut take: impl FnMut(usize, &[u8])) {
        let mut start = 0;
        for &(db, end) in &self.operations {
            take(db, &self.bytes[start..end]);
            start = end;
        }
    }
}

/// Appends a command as a RESP array of bulk strings.
pub fn encode_command<'a>(out: &mut Vec<u8>, argv: impl ExactSizeIterator<Item = &'a [u8]>) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(argv.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for argument in argv {
        out.push(b'$');
        out.extend_from_slice(digits.format(argument.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}
