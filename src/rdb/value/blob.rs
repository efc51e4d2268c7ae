//! Compact encodings that Redis wrote before listpacks: ziplists (before 7.0) and zipmaps (before 2.6).
//!
//! Read once, into strings: nothing here is on a hot path, and every byte may be wrong.

/// Bytes before a ziplist's first entry: its size, the offset of its last entry, its count.
const ZIPLIST_HEADER: usize = 10;
const END: u8 = 0xff;

/// What is left of a blob.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }
}

/// The entries of a ziplist as text; None when it is damaged.
pub(super) fn ziplist(blob: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut bytes = Bytes(blob);
    let size = u32::from_le_bytes(bytes.array()?);
    let tail = u32::from_le_bytes(bytes.array()?) as usize;
    let count = u16::from_le_bytes(bytes.array()?);
    if size as usize != blob.len() {
        return None;
    }
    let mut entries = Vec::new();
    let (mut last, mut last_bytes) = (ZIPLIST_HEADER, 0);
    loop {
        let at = blob.len() - bytes.0.len();
        let before = match bytes.byte()? {
            END => break,
            0xfe => u32::from_le_bytes(bytes.array()?) as usize,
            short => usize::from(short),
        };
        if before != last_bytes {
            return None;
        }
        entries.push(ziplist_entry(&mut bytes)?);
        last = at;
        last_bytes = blob.len() - bytes.0.len() - at;
    }
    let counted = count == u16::MAX || usize::from(count) == entries.len();
    (bytes.0.is_empty() && counted && tail == last).then_some(entries)
}

fn ziplist_entry(bytes: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let first = bytes.byte()?;
    let number = match first {
        0x00..=0x3f => return Some(bytes.take(usize::from(first))?.to_vec()),
        0x40..=0x7f => {
            let length = usize::from(first & 0x3f) << 8 | usize::from(bytes.byte()?);
            return Some(bytes.take(length)?.to_vec());
        }
        0x80 => {
            let length = u32::from_be_bytes(bytes.array()?) as usize;
            return Some(bytes.take(length)?.to_vec());
        }
        0xc0 => i64::from(i16::from_le_bytes(bytes.array()?)),
        0xd0 => i64::from(i32::from_le_bytes(bytes.array()?)),
        0xe0 => i64::from_le_bytes(bytes.array()?),
        0xf0 => {
            let [low, middle, high] = bytes.array()?;
            i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
        }
        0xfe => i64::from(i8::from_le_bytes(bytes.array()?)),
        0xf1..=0xfd => i64::from(first & 0x0f) - 1,
        _ => return None,
    };
    Some(number.to_string().into_bytes())
}

/// The keys and values of a zipmap in turn; None when it is damaged.
pub(super) fn zipmap(blob: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut bytes = Bytes(blob);
    let count = bytes.byte()?;
    let mut strings = Vec::new();
    while let Some(length) = zipmap_length(&mut bytes)? {
        strings.push(bytes.take(length)?.to_vec());
        let length = zipmap_length(&mut bytes)??;
        let free = usize::from(bytes.byte()?);
        strings.push(bytes.take(length)?.to_vec());
        bytes.take(free)?;
    }
    let counted = count >= 0xfe || usize::from(count) * 2 == strings.len();
    (bytes.0.is_empty() && counted).then_some(strings)
}

/// A length, or `Some(None)` at the end.
fn zipmap_length(bytes: &mut Bytes<'_>) -> Option<Option<usize>> {
    Some(match bytes.byte()? {
        END => None,
        0xfe => Some(u32::from_le_bytes(bytes.array()?) as usize),
        short => Some(usize::from(short)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// A ziplist of "ab", 3, 300, -1, 70000, written by hand after the format's description.
    const ZIPLIST: &[u8] = b"\x1f\0\0\0\x18\0\0\0\x05\0\x00\x02ab\x04\xf4\x02\xc0\x2c\x01\x04\xfe\xff\x03\xf0\x70\x11\x01\xff";
    /// A zipmap of foo: bar, hello: world.
    const ZIPMAP: &[u8] = b"\x02\x03foo\x03\x00bar\x05hello\x05\x00world\xff";

    #[test]
    fn older_encodings_are_read() {
        let mut ziplist = ZIPLIST.to_vec();
        let size = ziplist.len() as u32;
        ziplist[..4].copy_from_slice(&size.to_le_bytes());
        ziplist[4..8].copy_from_slice(&(size - 6).to_le_bytes());
        let expected: Vec<&[u8]> = vec![b"ab", b"3", b"300", b"-1", b"70000"];
        assert_eq!(super::ziplist(&ziplist).unwrap(), expected);
        let expected: Vec<&[u8]> = vec![b"foo", b"bar", b"hello", b"world"];
        assert_eq!(zipmap(ZIPMAP).unwrap(), expected);
    }

    #[test]
    fn damage_never_panics() {
        let mut prng = Prng::new(3);
        for blob in [ZIPLIST, ZIPMAP] {
            for _ in 0..20_000 {
                let mut blob = blob.to_vec();
                for _ in 0..1 + prng.below(3) {
                    let at = prng.below(blob.len() as u64) as usize;
                    blob[at] = prng.next_u64() as u8;
                }
                blob.truncate(blob.len() - prng.below(3) as usize);
                let _ = (super::ziplist(&blob), zipmap(&blob));
            }
        }
    }
}
