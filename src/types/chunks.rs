//! `Chunks`: a long string in chunks of 32 KiB, so that a write under a snapshot copies one chunk.
//!
//! Two levels: the string has nodes, a node has 128 chunks. Each level is shared by count: a copy of
//! the string costs one increment, and a write copies the path to one chunk if somebody else
//! still refers to it. Here counts are worth their price (unlike for keys and table
//! segments): they are touched once per 32 KiB, and a copied entry and its frozen twin stay independent.
//!
//! Invariants: every chunk but the last is full; the last is cut to an allocator class; bytes beyond
//! the string's length are zero.

use std::sync::Arc;

use super::entry::class_bytes;

/// What `Arc` puts before a slice.
const COUNTS: usize = 16;
/// Bytes in a full chunk: with the counts 32 KiB, an exact allocator class.
pub const CHUNK_BYTES: usize = 32 * 1024 - COUNTS;
const NODE_CHUNKS: usize = 128;
const NODE_BYTES: usize = NODE_CHUNKS * CHUNK_BYTES;

#[derive(Clone, Default)]
struct Node {
    chunks: Vec<Arc<[u8]>>,
}

#[derive(Clone, Default)]
struct Root {
    nodes: Vec<Arc<Node>>,
    len: usize,
}

/// A long string; see the file's header. Cloning is O(1).
#[derive(Clone, Default)]
pub struct Chunks {
    root: Arc<Root>,
}

fn new_chunk(len: usize) -> Arc<[u8]> {
    std::iter::repeat_n(0, len).collect()
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
        let nodes: usize = self
            .root
            .nodes
            .iter()
            .map(|node| {
                class_bytes(node.chunks.capacity() * 16) + class_bytes(COUNTS + size_of::<Node>())
            })
            .sum();
        full + last
            + nodes
            + class_bytes(self.root.nodes.capacity() * 8)
            + class_bytes(COUNTS + size_of::<Root>())
    }

    /// The bytes from `start` to before `end`, in pieces. Panics when out of range.
    pub fn pieces(&self, start: usize, end: usize) -> impl Iterator<Item = &[u8]> {
        assert!(start <= end && end <= self.len());
        let mut at = start;
        std::iter::from_fn(move || {
            if at == end {
                return None;
            }
            let chunk = &self.root.nodes[at / NODE_BYTES].chunks[at % NODE_BYTES / CHUNK_BYTES];
            let from = at % CHUNK_BYTES;
            let to = (from + end - at).min(CHUNK_BYTES);
            at += to - from;
            Some(&chunk[from..to])
        })
    }

    /// The byte at `index`. Panics when out of range.
    pub fn byte(&self, index: usize) -> u8 {
        assert!(index < self.len());
        self.root.nodes[index / NODE_BYTES].chunks[index % NODE_BYTES / CHUNK_BYTES]
            [index % CHUNK_BYTES]
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        self.write(self.len(), bytes);
    }

    /// Writes bytes at `offset`; the string grows as needed, with zeros in a gap.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.len() {
            self.grow(end);
        }
        let root = Arc::make_mut(&mut self.root);
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let node = Arc::make_mut(&mut root.nodes[at / NODE_BYTES]);
            let chunk = &mut node.chunks[at % NODE_BYTES / CHUNK_BYTES];
            let from = at % CHUNK_BYTES;
            let count = rest.len().min(CHUNK_BYTES - from);
            Arc::make_mut(chunk)[from..from + count].copy_from_slice(&rest[..count]);
            at += count;
            rest = &rest[count..];
        }
    }

    /// Makes the string `len` bytes long, with zeros at the end.
    fn grow(&mut self, len: usize) {
        let root = Arc::make_mut(&mut self.root);
        let mut at = root.len / CHUNK_BYTES * CHUNK_BYTES;
        while at < len {
            let wanted = match len - at {
                rest if rest >= CHUNK_BYTES => CHUNK_BYTES,
                rest => last_chunk_bytes(rest),
            };
            if root.nodes.len() == at / NODE_BYTES {
                root.nodes.push(Arc::default());
            }
            let node = Arc::make_mut(&mut root.nodes[at / NODE_BYTES]);
            let index = at % NODE_BYTES / CHUNK_BYTES;
            match node.chunks.get_mut(index) {
                None => node.chunks.push(new_chunk(wanted)),
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
            at += CHUNK_BYTES;
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
        let shared = chunks
            .root
            .nodes
            .iter()
            .zip(&copy.root.nodes)
            .flat_map(|(a, b)| a.chunks.iter().zip(&b.chunks))
            .filter(|(a, b)| !Arc::ptr_eq(a, b))
            .count();
        assert_eq!(shared, 1);
        assert_eq!((chunks.byte(10 << 20), copy.byte(10 << 20)), (b'x', 7));
    }
}
