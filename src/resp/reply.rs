//! The reply writer: RESP2 and RESP3 forms of every reply, appended to one buffer.
//!
//! A handler names what it replies (a map, a double, a null); the form follows the link's protocol. Source: the
//! RESP3 specification and redis-server 8.0.6 under HELLO 2 and HELLO 3.

use crate::base::num::{push_f64, push_i64};

/// The protocol version that a link has chosen by HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2, in which every link starts.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// A place in a reply where an aggregate with a length not known yet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "every begun array must be ended"]
pub struct Mark(usize);

/// An output buffer and the protocol to write in it.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The bytes written so far.
    pub buf: Vec<u8>,
    protocol: Protocol,
}

impl Reply {
    /// An empty reply.
    pub fn new(protocol: Protocol) -> Reply {
        Reply {
            buf: Vec::new(),
            protocol,
        }
    }

    /// A reply that goes on at the end of `buf`.
    pub fn with_buf(buf: Vec<u8>, protocol: Protocol) -> Reply {
        Reply { buf, protocol }
    }

    /// The protocol being written.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the protocol for what follows.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Whether RESP3 is being written.
    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; it must hold no CR or LF.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.buf.push(b'+');
        self.buf.extend_from_slice(text.as_bytes());
        self.crlf();
    }

    /// A simple string of any bytes but line ends.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.buf.push(b'+');
        self.buf.extend_from_slice(text);
        self.crlf();
    }

    /// An error: its code and text without `-` (`ERR syntax error`). CR and LF become spaces; those at its end are left
    /// out.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// [`Reply::error`] for a text that holds a client's bytes.
    pub fn error_bytes(&mut self, text: &[u8]) {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let last = text.iter().rposition(|byte| !is_line_end(byte));
        let text = text.iter().take(last.map_or(0, |last| last + 1));
        self.buf.push(b'-');
        self.buf
            .extend(text.map(|byte| if is_line_end(byte) { b' ' } else { *byte }));
        self.crlf();
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        match value {
            0 => self.buf.extend_from_slice(b":0\r\n"),
            1 => self.buf.extend_from_slice(b":1\r\n"),
            _ => self.header(b':', value),
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buf.reserve(bytes.len() + 24);
        self.header(b'$', bytes.len() as i64);
        self.buf.extend_from_slice(bytes);
        self.crlf();
    }

    /// A bulk string of an integer's digits.
    pub fn bulk_int(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// The header of a bulk string of `len` bytes; the caller appends to `buf` and ends with [`Reply::crlf`].
    #[inline]
    pub fn bulk_header(&mut self, len: usize) {
        self.header(b'$', len as i64);
    }

    /// The end of a line.
    #[inline]
    pub fn crlf(&mut self) {
        self.buf.extend_from_slice(b"\r\n");
    }

    /// Null: `$-1` in RESP2, `_` in RESP3.
    #[inline]
    pub fn null(&mut self) {
        self.buf.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n".as_slice(),
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Null in place of an array: `*-1` in RESP2, `_` in RESP3.
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n".as_slice(),
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The header of an array; `n` replies follow.
    #[inline]
    pub fn array(&mut self, n: usize) {
        self.header(b'*', n as i64);
    }

    /// The header of a map; `n` pairs of replies follow.
    pub fn map(&mut self, n: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', 2 * n as i64),
            Protocol::Resp3 => self.header(b'%', n as i64),
        }
    }

    /// The header of a set; `n` replies follow.
    pub fn set(&mut self, n: usize) {
        self.header(if self.is_resp3() { b'~' } else { b'*' }, n as i64);
    }

    /// The header of an out-of-band message; `n` replies follow.
    pub fn push(&mut self, n: usize) {
        self.header(if self.is_resp3() { b'>' } else { b'*' }, n as i64);
    }

    /// The header of attributes, `n` pairs of replies; only RESP3 has them, so the caller asks [`Reply::is_resp3`].
    pub fn attribute(&mut self, n: usize) {
        debug_assert!(self.is_resp3());
        self.header(b'|', n as i64);
    }

    /// A double: `,1.5` in RESP3, a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        match self.protocol {
            Protocol::Resp2 => {
                let mut digits = Vec::with_capacity(32);
                push_f64(&mut digits, value);
                self.bulk(&digits);
            }
            Protocol::Resp3 => {
                self.buf.push(b',');
                push_f64(&mut self.buf, value);
                self.crlf();
            }
        }
    }

    /// The text of a number with more digits than a double has, as [`Reply::double`].
    pub fn double_text(&mut self, text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.buf.push(b',');
                self.buf.extend_from_slice(text);
                self.crlf();
            }
        }
    }

    /// A boolean: `#t` in RESP3, an integer in RESP2.
    pub fn boolean(&mut self, value: bool) {
        self.buf.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    /// A big number's digits: `(…` in RESP3, a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => {
                self.buf.push(b'(');
                self.buf.extend_from_slice(digits.as_bytes());
                self.crlf();
            }
        }
    }

    /// A verbatim string with a format of three letters (`txt`): `=…` in RESP3, a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, bytes: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        match self.protocol {
            Protocol::Resp2 => self.bulk(bytes),
            Protocol::Resp3 => {
                self.header(b'=', bytes.len() as i64 + 4);
                self.buf.extend_from_slice(format.as_bytes());
                self.buf.push(b':');
                self.buf.extend_from_slice(bytes);
                self.crlf();
            }
        }
    }

    /// Bytes that are a whole reply already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// An out-of-band message that is encoded already, as an array: RESP3 differs in its first byte.
    #[inline]
    pub fn raw_push(&mut self, array: &[u8]) {
        let start = self.buf.len();
        self.buf.extend_from_slice(array);
        if self.is_resp3()
            && let Some(kind) = self.buf.get_mut(start)
        {
            *kind = b'>';
        }
    }

    /// Begins an aggregate whose length is not known yet. What was written since is moved once when it ends.
    pub fn begin_array(&mut self) -> Mark {
        Mark(self.buf.len())
    }

    /// Ends an array of `n` replies begun at `mark`.
    pub fn end_array(&mut self, mark: Mark, n: usize) {
        self.end_aggregate(mark, b'*', n as i64);
    }

    /// Ends a map of `n` pairs begun at `mark`.
    pub fn end_map(&mut self, mark: Mark, n: usize) {
        match self.protocol {
            Protocol::Resp2 => self.end_aggregate(mark, b'*', 2 * n as i64),
            Protocol::Resp3 => self.end_aggregate(mark, b'%', n as i64),
        }
    }

    /// Ends a set of `n` replies begun at `mark`.
    pub fn end_set(&mut self, mark: Mark, n: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        self.end_aggregate(mark, kind, n as i64);
    }

    fn end_aggregate(&mut self, Mark(at): Mark, kind: u8, n: i64) {
        let mut header = Vec::with_capacity(24);
        header.push(kind);
        push_i64(&mut header, n);
        header.extend_from_slice(b"\r\n");
        self.buf.splice(at..at, header);
    }

    #[inline]
    fn header(&mut self, kind: u8, n: i64) {
        match n {
            0..=9 => self
                .buf
                .extend_from_slice(&[kind, b'0' + n as u8, b'\r', b'\n']),
            10..=99 => {
                let (tens, ones) = (b'0' + (n / 10) as u8, b'0' + (n % 10) as u8);
                self.buf
                    .extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
            }
            _ => {
                self.buf.push(kind);
                push_i64(&mut self.buf, n);
                self.crlf();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let write = |protocol| {
            let mut reply = Reply::new(protocol);
            reply.ok();
            reply.error("ERR a\r\nb\n\r\n");
            reply.int(-7);
            reply.bulk(b"0123456789");
            reply.null();
            reply.null_array();
            reply.map(1);
            reply.set(12);
            reply.push(100);
            reply.raw_push(b"*1\r\n:5\r\n");
            reply.double(1.5);
            reply.boolean(true);
            reply.big_number("123");
            reply.verbatim("txt", b"hi");
            let mark = reply.begin_array();
            reply.bulk_int(42);
            reply.end_array(mark, 1);
            String::from_utf8(reply.buf).unwrap()
        };
        assert_eq!(
            write(Protocol::Resp2),
            "+OK\r\n-ERR a  b\r\n:-7\r\n$10\r\n0123456789\r\n$-1\r\n*-1\r\n*2\r\n*12\r\n*100\r\n*1\r\n:5\r\n$3\r\n1.5\r\n:1\r\n\
             $3\r\n123\r\n$2\r\nhi\r\n*1\r\n$2\r\n42\r\n"
        );
        assert_eq!(
            write(Protocol::Resp3),
            "+OK\r\n-ERR a  b\r\n:-7\r\n$10\r\n0123456789\r\n_\r\n_\r\n%1\r\n~12\r\n>100\r\n>1\r\n:5\r\n,1.5\r\n#t\r\n\
             (123\r\n=6\r\ntxt:hi\r\n*1\r\n$2\r\n42\r\n"
        );
    }
}
