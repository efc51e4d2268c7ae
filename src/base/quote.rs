//! Quoted text: as SLOWLOG, MONITOR and redis.conf print it, and as inline commands and redis.conf read it.

/// Appends `bytes` in double quotes; what is not printable ASCII is escaped (`\n`, `\"`, `\x00`).
pub fn push_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x20..=0x7e => out.push(byte),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
    out.push(b'"');
}

/// The bytes as one quoted word, for messages.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    push_quoted(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

/// Splits a line into words. `"…"` knows the escapes `\n \r \t \a \b \xHH` and `\` before any other byte;
/// `'…'` knows `\'` only. A closing quote must be followed by white space or the end. Reading stops at a NUL
/// byte outside quotes, as at the end.
/// None: quotes are not balanced.
pub fn split_args(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some((word, after)) = next_word(rest)? {
        words.push(word.into_owned());
        rest = after;
    }
    Some(words)
}

/// One word of a line: borrowed where it needs no unescaping, and what follows it.
pub type Word<'a> = (std::borrow::Cow<'a, [u8]>, &'a [u8]);

/// The first word of `line`, by the rules of [`split_args`]; `Some(None)` when only white space is left.
pub fn next_word(line: &[u8]) -> Option<Option<Word<'_>>> {
    use std::borrow::Cow;
    let start = line
        .iter()
        .position(|&byte| !is_space(byte))
        .unwrap_or(line.len());
    let line = &line[start..];
    if line.first().is_none_or(|&byte| byte == 0) {
        return Some(None);
    }
    // The common word has no quotes, or is one quoted run without escapes.
    let plain = line
        .iter()
        .position(|&byte| is_end(byte) || byte == b'"' || byte == b'\'')
        .unwrap_or(line.len());
    match line.get(plain) {
        None => return Some(Some((Cow::Borrowed(line), &[]))),
        Some(&byte) if is_end(byte) => {
            return Some(Some((Cow::Borrowed(&line[..plain]), &line[plain..])));
        }
        Some(_) => {}
    }
    let mut word = line[..plain].to_vec();
    let mut rest = &line[plain..];
    loop {
        match rest {
            [] => return Some(Some((Cow::Owned(word), rest))),
            [byte, ..] if is_end(*byte) => return Some(Some((Cow::Owned(word), rest))),
            [b'"', after @ ..] => {
                rest = double_quoted(after, &mut word)?;
                return closed(word, rest);
            }
            [b'\'', after @ ..] => {
                rest = single_quoted(after, &mut word)?;
                return closed(word, rest);
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn closed(word: Vec<u8>, rest: &[u8]) -> Option<Option<Word<'_>>> {
    match rest.first() {
        Some(&byte) if byte != 0 && !is_space(byte) => None,
        _ => Some(Some((std::borrow::Cow::Owned(word), rest))),
    }
}

/// Reads up to the closing `"`; what follows it.
fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] | [0, ..] => return None,
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            [b'\\', 0, ..] => return None,
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [b'"', after @ ..] => return Some(after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Reads up to the closing `'`; what follows it.
fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] | [0, ..] => return None,
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [b'\'', after @ ..] => return Some(after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// What ends an unquoted word. Vertical tab and form feed separate words but do not end one.
#[inline]
fn is_end(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0)
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quote_and_split() {
        let all: Vec<u8> = (0..=255).collect();
        let mut line = Vec::new();
        push_quoted(&mut line, &all);
        assert_eq!(split_args(&line), Some(vec![all]));
        let words = |line: &str| {
            split_args(line.as_bytes()).map(|words| {
                words
                    .iter()
                    .map(|word| String::from_utf8_lossy(word).into_owned())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(words(""), Some(vec![]));
        assert_eq!(words("  a \t b\r\n"), Some(vec!["a".into(), "b".into()]));
        assert_eq!(words("a\"b c\""), Some(vec!["ab c".into()]));
        assert_eq!(
            words("'a\\'b\\n' \"\\x41\\q\""),
            Some(vec!["a'b\\n".into(), "Aq".into()])
        );
        assert_eq!(words("\"\" ''"), Some(vec!["".into(), "".into()]));
        assert_eq!(words("\"a"), None);
        assert_eq!(words("\"a\"b"), None);
        assert_eq!(words("'a'b"), None);
        assert_eq!(words("\"a\\"), None);
    }
}
