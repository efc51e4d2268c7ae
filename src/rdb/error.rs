//! Why a stream was refused: one closed enum, and where it happened.

use std::fmt;

/// A refusal: what, where, and of which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdbError {
    /// What is wrong.
    pub kind: RdbErrorKind,
    /// Bytes from the start of the stream to the record (or piece of a value) that is wrong.
    pub offset: u64,
    /// The key whose value was being read.
    pub key: Option<Vec<u8>>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RdbErrorKind {
    /// The stream does not start with REDIS or VALKEY and a version.
    Magic,
    /// A version that is not read here: the nine bytes.
    Version(String),
    /// The stream ended inside a record, or before the end mark.
    Truncated,
    /// A length has a form that does not exist.
    LengthForm(u8),
    /// A length where a number is needed was a string form, or the reverse.
    StringForm(u8),
    /// A string claims more bytes than a string may have.
    StringTooLong(u64),
    /// A compressed string is not LZF or does not have its length.
    Lzf,
    /// A first byte that is neither a record nor a type of value.
    UnknownType(u8),
    /// A type of value that exists but cannot be loaded yet.
    UnsupportedType {
        /// The byte.
        code: u8,
        /// Its name.
        name: &'static str,
    },
    /// A record that exists but cannot be loaded.
    UnsupportedRecord(&'static str),
    /// A deadline in seconds that does not fit milliseconds.
    Deadline,
    /// The checksum behind the end is not the one of the bytes.
    Checksum {
        /// What the trailer says.
        stored: u64,
        /// What the bytes have.
        computed: u64,
    },
    /// A database number that is not configured: the number, and how many there are.
    Database(u64, usize),
    /// A key stands twice in one database.
    DuplicateKey,
    /// The keyspace refused the value.
    Value(&'static str),
}

/// What Redis says of a file whose trailer is 0.
pub(super) const UNCHECKED: &str = "RDB file was saved with checksum disabled: no check performed.";

impl RdbErrorKind {
    /// Redis's line for it, which tools look for; none where Redis names a place in its source.
    pub fn redis_text(&self) -> Option<String> {
        Some(match self {
            RdbErrorKind::Magic => "Wrong signature trying to load DB from file".into(),
            RdbErrorKind::Version(magic) => {
                let digits = magic.trim_start_matches(|c: char| !c.is_ascii_digit());
                let version = digits.parse::<u32>().unwrap_or(0);
                format!("Can't handle RDB format version {version}")
            }
            RdbErrorKind::Truncated => {
                "Short read or OOM loading DB. Unrecoverable error, aborting now.".into()
            }
            RdbErrorKind::Checksum { stored, computed } => format!(
                "Wrong RDB checksum expected: ({computed:x}) but got ({stored:x}). Aborting now."
            ),
            _ => return None,
        })
    }
}

impl RdbError {
    /// A load ends with it: Redis's line goes to the log, if it has one. Returns what is wrong, and where.
    pub fn end_of_load(&self) -> String {
        if let Some(text) = self.kind.redis_text() {
            log::warn!("{text}");
        }
        self.to_string()
    }
}

impl fmt::Display for RdbErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RdbErrorKind::*;
        match self {
            Magic => f.write_str("wrong signature, this is not an RDB stream"),
            Version(magic) => write!(f, "can't handle RDB format version {magic}"),
            Truncated => f.write_str("unexpected end of the stream"),
            LengthForm(byte) => write!(f, "unknown length encoding 0x{byte:02x}"),
            StringForm(byte) => write!(f, "unknown string encoding 0x{byte:02x}"),
            StringTooLong(bytes) => write!(f, "a string claims {bytes} bytes"),
            Lzf => f.write_str("invalid LZF compressed string"),
            UnknownType(byte) => write!(f, "invalid object type {byte}"),
            UnsupportedType { code, name } => {
                write!(
                    f,
                    "objects of type {name} ({code}) can't be loaded by this version"
                )
            }
            UnsupportedRecord(name) => write!(f, "{name} can't be loaded by this version"),
            Deadline => f.write_str("an expire time is out of range"),
            Checksum { stored, computed } => {
                write!(
                    f,
                    "RDB CRC error: expected {stored:x}, computed {computed:x}"
                )
            }
            Database(number, databases) => {
                write!(
                    f,
                    "database {number} is not configured (there are {databases})"
                )
            }
            DuplicateKey => f.write_str("duplicated key found in RDB stream"),
            Value(reason) => f.write_str(reason),
        }
    }
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.kind, self.offset)?;
        if let Some(key) = &self.key {
            let mut quoted = Vec::new();
            crate::base::quote::push_quoted(
                &mut quoted,
                key.get(..key.len().min(256)).unwrap_or_default(),
            );
            write!(f, ", key {}", String::from_utf8_lossy(&quoted))?;
        }
        Ok(())
    }
}

impl std::error::Error for RdbError {}
