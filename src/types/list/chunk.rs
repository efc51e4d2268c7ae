//! [`Chunk`]: one run of a large list: a pack of elements, or one long element alone.
//!
//! A pack has room to grow in front of it or behind it, wherever it grew last: pushing and popping at either end moves
//! nothing but the pack's header. The buffer grows by halves up to whole multiples of [`ROOM_BYTES`].

use crate::container::{Buffer, Pack, PackMut, Weigh};
use crate::sys::alloc::class_bytes;
use crate::types::StringRef;

/// A chunk's buffer that has grown up takes a multiple of this.
const ROOM_BYTES: usize = 8192;
/// The first buffer of a pack.
const ROOM_BYTES_MIN: usize = 64;

/// Elements of a list.
#[derive(Clone)]
pub struct Chunk {
    bytes: Box<[u8]>,
    /// Where the pack begins in `bytes`.
    start: u32,
    /// Where it ends; 0 when `bytes` are one element.
    end: u32,
}

const _: () = assert!(size_of::<Chunk>() == 24);

impl Weigh for Chunk {
    #[inline]
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl Chunk {
    /// One element alone, in a pack or as it is.
    pub fn of(item: &[u8], plain: bool) -> Chunk {
        if plain {
            return Chunk {
                bytes: item.into(),
                start: 0,
                end: 0,
            };
        }
        let mut chunk = Chunk::of_pack(&Pack::EMPTY);
        PackMut::of(&mut chunk).push_back(item);
        chunk
    }

    /// A pack made here or checked.
    pub fn of_pack(pack: &[u8]) -> Chunk {
        let mut bytes = vec![0; class_bytes(pack.len())].into_boxed_slice();
        bytes[..pack.len()].copy_from_slice(pack);
        Chunk {
            bytes,
            start: 0,
            end: pack.len() as u32,
        }
    }

    /// The pack, unless this is one long element.
    #[inline]
    pub fn pack(&self) -> Option<Pack<'_>> {
        (self.end > 0).then(|| Pack::of(&self.bytes[self.start as usize..self.end as usize]))
    }

    /// The pack's bytes, or the long element's.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.pack().map_or(&self.bytes, Pack::bytes)
    }

    /// Elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.pack().map_or(1, Pack::len)
    }

    /// Whether there is no element: only on the way to its removal.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element of an index below the length.
    pub fn get(&self, index: usize) -> Option<StringRef<'_>> {
        match self.pack() {
            Some(pack) => pack.seek(index as i64).map(|at| pack.get(at).into()),
            None => Some(StringRef::Bytes(&self.bytes)),
        }
    }

    /// Bytes allocated.
    pub fn memory_bytes(&self) -> usize {
        size_of::<u64>() + size_of::<Chunk>() + class_bytes(self.bytes.len())
    }

    /// Moves the pack into a larger buffer, with the room where the next bytes are wanted.
    #[cold]
    fn grow(&mut self, len: usize, in_front: bool) {
        let used = (self.end - self.start) as usize;
        let grown = class_bytes((len + len / 2).max(ROOM_BYTES_MIN));
        let room = grown.min(len.next_multiple_of(ROOM_BYTES));
        let mut bytes = vec![0; room].into_boxed_slice();
        let start = if in_front { room - used } else { 0 };
        bytes[start..start + used].copy_from_slice(self.payload());
        self.bytes = bytes;
        self.start = start as u32;
        self.end = (start + used) as u32;
    }

    /// Sees to `bytes` of room in front of the pack or behind it, in this buffer or a larger one.
    #[inline]
    fn make_room(&mut self, bytes: usize, in_front: bool) {
        let (start, end) = (self.start as usize, self.end as usize);
        let free = if in_front {
            start
        } else {
            self.bytes.len() - end
        };
        if free >= bytes {
            return;
        }
        let used = end - start;
        if used + bytes > self.bytes.len() {
            return self.grow(used + bytes, in_front);
        }
        let to = if in_front { self.bytes.len() - used } else { 0 };
        self.bytes.copy_within(start..end, to);
        self.start = to as u32;
        self.end = (to + used) as u32;
    }
}

/// Only of packs.
impl Buffer for Chunk {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.payload()
    }

    /// Moves the shorter of what is in front of the change and behind it.
    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) {
        let len = (self.end - self.start) as usize;
        assert!(at + removed <= len, "the removed bytes exist");
        let tail = len - at - removed;
        let in_front = at < tail;
        let grows = inserted.len().saturating_sub(removed);
        if grows > 0 {
            self.make_room(grows, in_front);
        }
        let (start, end) = (self.start as usize, self.end as usize);
        let place = if in_front {
            let new = start + removed - inserted.len();
            self.bytes.copy_within(start..start + at, new);
            self.start = new as u32;
            new + at
        } else {
            let new = end + inserted.len() - removed;
            self.bytes.copy_within(end - tail..end, new - tail);
            self.end = new as u32;
            start + at
        };
        self.bytes[place..place + inserted.len()].copy_from_slice(inserted);
    }

    #[inline]
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let at = self.start as usize + at;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
