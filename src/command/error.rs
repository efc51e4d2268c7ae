//! What a command can answer instead of a reply. The text that goes over the wire lives here.
//! Source: the replies of redis-server 8.0.

use std::borrow::Cow;
use std::fmt;

use crate::engine::WrongType;
use crate::resp::reply::Reply;

/// An error reply. `Display` gives the whole text with its code, without `-` and line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// ERR syntax error
    Syntax,
    /// ERR value is not an integer or out of range
    NotInteger,
    /// ERR value is not a valid float
    NotFloat,
    /// ERR value is out of range
    OutOfRange,
    /// ERR value is out of range, must be positive
    NotPositive,
    /// ERR index out of range
    IndexOutOfRange,
    /// WRONGTYPE …
    WrongType,
    /// ERR no such key
    NoSuchKey,
    /// ERR wrong number of arguments for 'x' command
    WrongArity(Cow<'static, str>),
    /// ERR invalid expire time in 'x' command
    InvalidExpire(&'static str),
    /// ERR increment or decrement would overflow
    Overflow,
    /// ERR DB index is out of range
    DbIndex,
    /// ERR string exceeds maximum allowed size (proto-max-bulk-len)
    StringTooLong,
    /// ERR offset is out of range
    OffsetOutOfRange,
    /// Any other text, with its code.
    Text(Cow<'static, str>),
    /// A text that echoes a client's bytes, with its code.
    Bytes(Vec<u8>),
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> CommandError {
        CommandError::WrongType
    }
}

impl CommandError {
    /// An error of fixed text, with its code ("ERR …").
    pub const fn text(text: &'static str) -> CommandError {
        CommandError::Text(Cow::Borrowed(text))
    }
    /// An error of formatted text, with its code.
    pub fn owned(text: String) -> CommandError {
        CommandError::Text(Cow::Owned(text))
    }
    /// The code, for errorstat: the first word.
    pub fn code(&self) -> String {
        let text = self.to_string();
        text.split(' ').next().unwrap_or("ERR").to_string()
    }

    /// Appends it as an error reply.
    #[cold]
    pub fn write(&self, reply: &mut Reply) {
        match self {
            CommandError::Bytes(text) => reply.error_bytes(text),
            other => reply.error(&other.to_string()),
        }
    }

    /// Unknown subcommand `sub` of container `name` (upper case in the hint).
    pub fn unknown_subcommand(name: &str, sub: &[u8]) -> CommandError {
        let shown = &sub[..sub.len().min(128)];
        let after = format!("'. Try {} HELP.", name.to_uppercase());
        CommandError::echoing("ERR unknown subcommand '", shown, &after)
    }

    /// A subcommand's arguments are wrong; `sub` as the client wrote it.
    pub fn subcommand_syntax(name: &str, sub: &[u8]) -> CommandError {
        let before = "ERR unknown subcommand or wrong number of arguments for '";
        let after = format!("'. Try {} HELP.", name.to_uppercase());
        CommandError::echoing(before, &sub[..sub.len().min(128)], &after)
    }

    /// A text that shows a client's word, as Redis does up to its first NUL byte.
    pub fn echoing(before: &str, word: &[u8], after: &str) -> CommandError {
        let end = word
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(word.len());
        CommandError::Bytes([before.as_bytes(), &word[..end], after.as_bytes()].concat())
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Syntax => f.write_str("ERR syntax error"),
            CommandError::NotInteger => f.write_str("ERR value is not an integer or out of range"),
            CommandError::NotFloat => f.write_str("ERR value is not a valid float"),
            CommandError::OutOfRange => f.write_str("ERR value is out of range"),
            CommandError::NotPositive => f.write_str("ERR value is out of range, must be positive"),
            CommandError::IndexOutOfRange => f.write_str("ERR index out of range"),
            CommandError::WrongType => {
                f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            CommandError::NoSuchKey => f.write_str("ERR no such key"),
            CommandError::WrongArity(name) => {
                write!(f, "ERR wrong number of arguments for '{name}' command")
            }
            CommandError::InvalidExpire(name) => {
                write!(f, "ERR invalid expire time in '{name}' command")
            }
            CommandError::Overflow => f.write_str("ERR increment or decrement would overflow"),
            CommandError::DbIndex => f.write_str("ERR DB index is out of range"),
            CommandError::StringTooLong => {
                f.write_str("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            }
            CommandError::OffsetOutOfRange => f.write_str("ERR offset is out of range"),
            CommandError::Text(text) => f.write_str(text),
            CommandError::Bytes(text) => f.write_str(&String::from_utf8_lossy(text)),
        }
    }
}
