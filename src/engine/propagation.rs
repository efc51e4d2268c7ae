//! What a unit of work (a command, a transaction, an expiry) sends on to replicas, encoded once
//! as it happens and handed to the stream at the unit's end, wrapped in MULTI/EXEC when it is
//! more than one command.

/// The operations of the running unit.
#[derive(Default)]
pub struct Operations {
    buf: Vec<u8>,
    /// (database, end of its bytes in `buf`).
    operations: Vec<(usize, usize)>,
}

impl Operations {
    /// Adds one command for database `db`.
    pub fn push<'a>(&mut self, db: usize, argv: impl ExactSizeIterator<Item = &'a [u8]>) {
        encode_command(&mut self.buf, argv);
        self.operations.push((db, self.buf.len()));
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The operations in order: (database, encoded command).
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut start = 0;
        self.operations.iter().map(move |&(db, end)| {
            let bytes = &self.buf[start..end];
            start = end;
            (db, bytes)
        })
    }

    /// Forgets all, keeping a buffer of moderate size.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.buf.shrink_to(1 << 20);
        self.operations.clear();
        self.operations.shrink_to(1 << 12);
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
