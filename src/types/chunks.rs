//! `Chunks`: a long string in chunks of 32 KiB, so that a write under a snapshot copies one chunk.
//!
//! Three levels: the string has branches of 32 leaves of 32 chunks. Each level is shared by count: a
//! copy of the string costs one increment, and a write copies the path to one chunk if somebody else
//! still refers to it: 80 counts in a string of 512 MiB. Here counts are worth their price (unlike for
//! keys and table segments): they are touched once per 32 KiB, and a copied entry and its frozen twin
//! stay independent.
//!
//! Invariants: every chunk but the last is full; the last is cut to an allocator class; bytes beyond
//! the string's length are zero.

use std::sync::{Arc, OnceLock};

use crate::sys::alloc::class_bytes;

/// What `Arc` puts before a slice.
const COUNTS: usize = 16;
/// Bytes in a full chunk: with the counts 32 KiB, an exact allocator class.
pub const CHUNK_BYTES: usize = 32 * 1024 - COUNTS;
/// Chunks in a leaf, and leaves in a branch.
const FANOUT: usize = 32;

#[derive(Clone, Default)]
struct Leaf {
    chunks: Vec<Arc<[u8]>>,
}

#[derive(Clone, Default)]
struct Branch {
    leaves: Vec<Arc<Leaf>>,
}

#[derive(Clone, Default)]
struct Root {
    branches: Vec<Arc<Branch>>,
    len: usize,
}

impl Root {
    fn chunk(&self, index: usize) -> &[u8] {
        let leaf = &self.branches[index / (FANOUT * FANOUT)].leaves[index / FANOUT % FANOUT];
        &leaf.chunks[index % FANOUT]
    }

    /// The leaf of a chunk, this string's own; made if the chunk is to be the first of a new one.
    fn leaf_mut(&mut self, index: usize) -> &mut Leaf {
        let (branch, leaf) = (index / (FANOUT * FANOUT), index / FANOUT % FANOUT);
        if self.branches.len() == branch {
            self.branches.push(Arc::default());
        }
        let branch = Arc::make_mut(&mut self.branches[branch]);
        if branch.leaves.len() == leaf {
            branch.leaves.push(Arc::default());
        }
        Arc::make_mut(&mut branch.leaves[leaf])
    }
}

/// A long string; see the file's header. Cloning is O(1).
#[derive(Clone, Default)]
pub struct Chunks {
    root: Arc<Root>,
}

fn new_chunk(len: usize) -> Arc<[u8]> {
    std::iter::repeat_n(0, len).collect()
}

/// The full chunk of zeros that all strings share until they write to it.
fn zero_chunk() -> Arc<[u8]> {
    static ZEROS: OnceLock<Arc<[u8]>> = OnceLock::new();
    Arc::clone(ZEROS.get_or_init(|| new_chunk(CHUNK_BYTES)))
}

/// The size of a last chunk that holds `used` bytes.
fn last_chunk_bytes(used: usize) -> usize {
    (class_bytes(used + COUNTS) - COUNTS).min(CHUNK_BYTES)
}

impl Chunks {
    /// A string with these bytes.
    pub fn new(bytes: &[u8]) -> Chunks {
        let mut chunks = Chunks::default();
        chunks.append(bytes);
        chunks
    }

    /// Bytes of the string.
    pub fn len(&self) -> usize {
        self.root.len
    }

    /// True for the empty string.
    pub fn is_empty(&self) -> bool {
        self.root.len == 0
    }

    /// Bytes allocated, shared ones included; the counterpart of `MEMORY USAGE`.
    pub fn memory_bytes(&self) -> usize {
        let full = self.len() / CHUNK_BYTES * (CHUNK_BYTES + COUNTS);
        let last = match self.len() % CHUNK_BYTES {
            0 => 0,
            used => last_chunk_bytes(used) + COUNTS,
        };
        // One fat pointer for each chunk; what the levels above take is below one in 32 of that.
        let pointers = 16 * self.len().div_ceil(CHUNK_BYTES).next_multiple_of(FANOUT);
        full + last + class_bytes(pointers) + class_bytes(COUNTS + size_of::<Root>())
    }

    /// The bytes from `start` to before `end`, in pieces. Panics when out of range.
    pub fn pieces(&self, start: usize, end: usize) -> impl Iterator<Item = &[u8]> + use<'_> {
        assert!(start <= end && end <= self.len());
        let mut at = start;
        std::iter::from_fn(move || {
            if at == end {
                return None;
            }
            let chunk = self.root.chunk(at / CHUNK_BYTES);
            let from = at % CHUNK_BYTES;
            let to = (from + end - at).min(CHUNK_BYTES);
            at += to - from;
            Some(&chunk[from..to])
        })
    }

    /// The byte at `index`. Panics when out of range.
    pub fn byte(&self, index: usize) -> u8 {
        assert!(index < self.len());
        self.root.chunk(index / CHUNK_BYTES)[index % CHUNK_BYTES]
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        let room = self.len().next_multiple_of(CHUNK_BYTES) - self.len();
        let (head, mut rest) = bytes.split_at(room.min(bytes.len()));
        self.write(self.len(), head);
        while rest.len() >= CHUNK_BYTES {
            let (chunk, more) = rest.split_at(CHUNK_BYTES);
            let chunk = match chunk.iter().all(|&byte| byte == 0) {
                true => zero_chunk(),
                false => Arc::from(chunk),
            };
            let root = Arc::make_mut(&mut self.root);
            root.leaf_mut(root.len / CHUNK_BYTES).chunks.push(chunk);
            root.len += CHUNK_BYTES;
            rest = more;
        }
        self.write(self.len(), rest);
    }

    /// Writes bytes at `offset`; the string grows as needed, with zeros in a gap. Nothing happens
    /// without bytes.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.len() {
            self.grow(end, offset);
        }
        let root = Arc::make_mut(&mut self.root);
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let index = at / CHUNK_BYTES;
            let chunk = &mut root.leaf_mut(index).chunks[index % FANOUT];
            let from = at % CHUNK_BYTES;
            let count = rest.len().min(CHUNK_BYTES - from);
            Arc::make_mut(chunk)[from..from + count].copy_from_slice(&rest[..count]);
            at += count;
            rest = &rest[count..];
        }
    }

    /// Makes the string `len` bytes long, with zeros at the end. Full chunks before `gap_end` share one
    /// chunk of zeros until they are written: a far offset costs no memory and little time.
    fn grow(&mut self, len: usize, gap_end: usize) {
        let root = Arc::make_mut(&mut self.root);
        for index in root.len / CHUNK_BYTES..len.div_ceil(CHUNK_BYTES) {
            let wanted = match len - index * CHUNK_BYTES {
                rest if rest >= CHUNK_BYTES => CHUNK_BYTES,
                rest => last_chunk_bytes(rest),
            };
            let leaf = root.leaf_mut(index);
            match leaf.chunks.get_mut(index % FANOUT) {
                None if (index + 1) * CHUNK_BYTES <= gap_end => leaf.chunks.push(zero_chunk()),
                None => leaf.chunks.push(new_chunk(wanted)),
                Some(chunk) if chunk.len() < wanted => {
                    let zeros = wanted - chunk.len();
                    *chunk = chunk
                        .iter()
                        .copied()
                        .chain(std::iter::repeat_n(0, zeros))
                        .collect();
                }
                Some(_) => {}
            }
        }
        root.len = len;
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chunks({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn bytes_of(chunks: &Chunks) -> Vec<u8> {
        chunks.pieces(0, chunks.len()).flatten().copied().collect()
    }

    #[test]
    fn writes_agree_with_a_vector_and_leave_copies_alone() {
        for seed in 0..8 {
            let mut prng = Prng::new(seed);
            let mut twin: Vec<u8> = Vec::new();
            let mut chunks = Chunks::default();
            let mut copies: Vec<(Chunks, Vec<u8>)> = Vec::new();
            for _ in 0..60 {
                let mut bytes = vec![0; prng.below(70_000) as usize];
                prng.fill(&mut bytes);
                let offset = match prng.below(3) {
                    0 => twin.len(),
                    1 => prng.below(twin.len() as u64 + 100_000) as usize,
                    _ => prng.below(twin.len() as u64 + 1) as usize,
                };
                if !bytes.is_empty() && twin.len() < offset + bytes.len() {
                    twin.resize(offset + bytes.len(), 0);
                }
                if !bytes.is_empty() {
                    twin[offset..offset + bytes.len()].copy_from_slice(&bytes);
                    chunks.write(offset, &bytes);
                }
                assert_eq!(chunks.len(), twin.len());
                if prng.below(5) == 0 {
                    copies.push((chunks.clone(), twin.clone()));
                }
                if !twin.is_empty() {
                    let start = prng.below(twin.len() as u64) as usize;
                    let end = start + prng.below((twin.len() - start) as u64 + 1) as usize;
                    let range: Vec<u8> = chunks.pieces(start, end).flatten().copied().collect();
                    assert_eq!(range, &twin[start..end]);
                    assert_eq!(chunks.byte(start), twin[start]);
                }
            }
            assert!(bytes_of(&chunks) == twin);
            for (copy, twin) in copies {
                assert!(bytes_of(&copy) == twin);
            }
        }
    }

    #[test]
    fn a_write_under_a_copy_copies_one_chunk() {
        let mut chunks = Chunks::new(&vec![7; 20 << 20]);
        let copy = chunks.clone();
        chunks.write(10 << 20, b"x");
        let count = 20 * (1 << 20) / CHUNK_BYTES;
        let copied = (0..count)
            .filter(|&index| chunks.root.chunk(index).as_ptr() != copy.root.chunk(index).as_ptr())
            .count();
        assert_eq!(copied, 1);
        assert_eq!((chunks.byte(10 << 20), copy.byte(10 << 20)), (b'x', 7));
    }
}
