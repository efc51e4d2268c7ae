//! Compact encodings that Redis wrote before listpacks: ziplists (before 7.0) and zipmaps (before 2.6).
//!
//! Made packs of at once, which take no more memory: nothing here is on a hot path, and every byte may be wrong.

use crate::container::{PackBuilder, PackItem};

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

/// The entries of a ziplist as a pack; None when it is damaged.
pub(super) fn ziplist(blob: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Bytes(blob);
    let size = u32::from_le_bytes(bytes.array()?);
    let tail = u32::from_le_bytes(bytes.array()?) as usize;
    let count = u16::from_le_bytes(bytes.array()?);
    if size as usize != blob.len() {
        return None;
    }
    let mut entries = PackBuilder::new();
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
        match ziplist_entry(&mut bytes)? {
            PackItem::Int(number) => entries.push_int(number),
            PackItem::Bytes(text) => entries.push(text),
        }
        last = at;
        last_bytes = blob.len() - bytes.0.len() - at;
    }
    let counted = count == u16::MAX || usize::from(count) == entries.len();
    (bytes.0.is_empty() && counted && tail == last).then(|| entries.finish())
}

fn ziplist_entry<'a>(bytes: &mut Bytes<'a>) -> Option<PackItem<'a>> {
    let first = bytes.byte()?;
    let number = match first {
        0x00..=0x3f => return bytes.take(usize::from(first)).map(PackItem::Bytes),
        0x40..=0x7f => {
            let length = usize::from(first & 0x3f) << 8 | usize::from(bytes.byte()?);
            return bytes.take(length).map(PackItem::Bytes);
        }
        0x80 => {
            let length = u32::from_be_bytes(bytes.array()?) as usize;
            return bytes.take(length).map(PackItem::Bytes);
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
    Some(PackItem::Int(number))
}

/// The keys and values of a zipmap in turn, as a pack; None when it is damaged.
pub(super) fn zipmap(blob: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Bytes(blob);
    let count = bytes.byte()?;
    let mut strings = PackBuilder::new();
    while let Some(length) = zipmap_length(&mut bytes)? {
        strings.push(bytes.take(length)?);
        let length = zipmap_length(&mut bytes)??;
        let free = usize::from(bytes.byte()?);
        strings.push(bytes.take(length)?);
        bytes.take(free)?;
    }
    let counted = count >= 0xfe || usize::from(count) * 2 == strings.len();
    (bytes.0.is_empty() && counted).then(|| strings.finish())
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
    use crate::container::Pack;

    fn texts(pack: Option<Vec<u8>>) -> Vec<Vec<u8>> {
        let pack = pack.unwrap();
        let items = Pack::check(&pack).unwrap().iter();
        items
            .map(|item| item.as_bytes(&mut [0; 20]).to_vec())
            .collect()
    }

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
        assert_eq!(texts(super::ziplist(&ziplist)), expected);
        let expected: Vec<&[u8]> = vec![b"foo", b"bar", b"hello", b"world"];
        assert_eq!(texts(zipmap(ZIPMAP)), expected);
    }

    /// What a payload expands to takes no more memory than it stands for.
    #[test]
    fn many_short_entries_stay_short() {
        let count = 10_000_usize;
        let entries = [&[0, 0xf1][..], &[2, 0xf1].repeat(count - 1)].concat();
        let bytes = ZIPLIST_HEADER + entries.len() + 1;
        let head = [bytes as u32, bytes as u32 - 3]
            .map(u32::to_le_bytes)
            .concat();
        let blob = [&head, &(count as u16).to_le_bytes()[..], &entries, &[END]].concat();
        let pack = super::ziplist(&blob).unwrap();
        assert_eq!(Pack::of(&pack).len(), count);
        assert!(pack.capacity() <= 2 * blob.len(), "{}", pack.capacity());
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
