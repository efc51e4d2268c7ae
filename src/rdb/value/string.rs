//! Strings: whole when short, in pieces of at most `PIECE_BYTES` when long.

use super::Started;
use crate::rdb::decode::{Batch, Record, Value};
use crate::rdb::error::RdbErrorKind;
use crate::rdb::lzf::{Corrupt, Streaming, TOKEN_MAX, decompress};
use crate::rdb::reader::{Reader, Span, Stop, StringHead};

/// A longer string is given in pieces of at most about this.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// The rest of a long string.
#[derive(Debug)]
pub(crate) enum State {
    /// So many bytes follow.
    Plain { left: u64 },
    /// A compressed stream follows.
    Lzf(Streaming),
}

/// The value if it is short, else an empty first piece and the state of the rest.
#[inline]
pub(crate) fn start(
    reader: &mut Reader<'_>,
    bytes_max: u64,
    batch: &mut Batch,
) -> Result<Started, Stop> {
    let head = reader.string_head(bytes_max)?;
    let start = batch.bytes.len();
    let length = match head {
        StringHead::Int(value) => {
            return Ok(Started {
                value: Value::Int(value),
                rest: None,
            });
        }
        StringHead::Plain(length) if length <= PIECE_BYTES as u64 => {
            batch.bytes.extend_from_slice(reader.take(length)?);
            length
        }
        StringHead::Lzf { packed, length } if packed.max(length) <= PIECE_BYTES as u64 => {
            let stream = reader.take(packed)?;
            decompress(stream, &mut batch.bytes, length as usize).map_err(corrupt)?;
            length
        }
        StringHead::Plain(length) => {
            return Ok(in_pieces(length, State::Plain { left: length }));
        }
        StringHead::Lzf { packed, length } => {
            let stream = Streaming::new(packed, length).map_err(corrupt)?;
            return Ok(in_pieces(length, State::Lzf(stream)));
        }
    };
    let value = Value::String {
        piece: Span::since(start, &batch.bytes),
        length,
    };
    Ok(Started { value, rest: None })
}

fn in_pieces(length: u64, state: State) -> Started {
    Started {
        value: Value::String {
            piece: Span::default(),
            length,
        },
        rest: Some(super::State::String(state)),
    }
}

fn corrupt(_: Corrupt) -> Stop {
    RdbErrorKind::Lzf.into()
}

impl State {
    /// Gives one piece; true when it was the last.
    pub fn step(&mut self, reader: &mut Reader<'_>, batch: &mut Batch) -> Result<bool, Stop> {
        match self {
            State::Plain { left } => {
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(PIECE_BYTES);
                let piece = reader.take_some(count);
                if piece.is_empty() {
                    return Err(Stop::Missing(count as u64));
                }
                *left -= piece.len() as u64;
                push_piece(batch, piece);
                Ok(*left == 0)
            }
            State::Lzf(stream) => {
                let input = reader.rest();
                let used = stream.feed(input, PIECE_BYTES).map_err(corrupt)?;
                reader.take_some(used);
                if stream.waiting() > 0 {
                    stream.take_piece(|piece| push_piece(batch, piece));
                } else if !stream.is_done() {
                    let wanted = stream.input_left().min(TOKEN_MAX as u64);
                    return Err(Stop::Missing(wanted.max(input.len() as u64 + 1)));
                }
                Ok(stream.is_done())
            }
        }
    }
}

fn push_piece(batch: &mut Batch, piece: &[u8]) {
    let start = batch.bytes.len();
    batch.bytes.extend_from_slice(piece);
    batch
        .records
        .push(Record::Piece(Span::since(start, &batch.bytes)));
}
