//! `Chain`: an unordered bag of key hashes in small fixed blocks, the lists of
//! [`super::expiry::TimeIndex`].
//!
//! A chain never reallocates: it grows and shrinks by one 128-byte block for every 15
//! references, so no push or pop moves other references and memory goes back as the chain
//! empties. Only the head block is partly filled, so the length alone says where the next
//! reference goes. `live` is a counter its owner keeps beside the references; the chain itself
//! never reads it.

/// References per block: with the link a block is 128 bytes, an exact allocator class.
pub(super) const BLOCK_REFS: usize = 15;

struct Block {
    next: Option<Box<Block>>,
    refs: [u64; BLOCK_REFS],
}

const _: () = assert!(size_of::<Block>() == 128);
const _: () = assert!(size_of::<Chain>() == 16);

/// A bag of hashes; see the file's header.
#[derive(Default)]
pub(super) struct Chain {
    head: Option<Box<Block>>,
    /// References held, stale and duplicate ones included.
    len: u32,
    /// Keys that the owner counts here (exact, unlike `len`).
    pub(super) live: u32,
}

impl Chain {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// References in the head block: 1 to 15, or 0 when empty.
    fn head_len(&self) -> usize {
        match self.len as usize {
            0 => 0,
            len => (len - 1) % BLOCK_REFS + 1,
        }
    }

    /// Adds a reference. Panics beyond 2^32-1 references (34 GiB of them in one list).
    pub(super) fn push(&mut self, hash: u64) {
        assert!(self.len < u32::MAX, "expiry list full");
        let used = self.head_len();
        if used == 0 || used == BLOCK_REFS {
            let next = self.head.take();
            self.head = Some(Box::new(Block {
                next,
                refs: [0; BLOCK_REFS],
            }));
        }
        let slot = used % BLOCK_REFS;
        if let Some(head) = &mut self.head {
            head.refs[slot] = hash;
        }
        self.len += 1;
    }

    pub(super) fn pop(&mut self) -> Option<u64> {
        let used = self.head_len();
        let head = self.head.as_mut()?;
        let hash = head.refs[used - 1];
        if used == 1 {
            self.head = head.next.take();
        }
        self.len -= 1;
        Some(hash)
    }

    /// The reference that `pop` would return.
    pub(super) fn last(&self) -> Option<u64> {
        self.head
            .as_ref()
            .map(|head| head.refs[self.head_len() - 1])
    }

    /// The references of the head block, for prefetching.
    pub(super) fn head_refs(&self) -> &[u64] {
        match &self.head {
            Some(head) => &head.refs[..self.head_len()],
            None => &[],
        }
    }

    /// Drops the head block and everything in it; returns the references dropped.
    pub(super) fn drop_head(&mut self) -> usize {
        let used = self.head_len();
        if let Some(mut head) = self.head.take() {
            self.head = head.next.take();
        }
        self.len -= used as u32;
        used
    }

    /// Takes the references and leaves `live` with `self`.
    pub(super) fn take_refs(&mut self) -> Chain {
        Chain {
            head: self.head.take(),
            len: std::mem::take(&mut self.len),
            live: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<u64> {
        let mut refs = Vec::new();
        let (mut block, mut used) = (&self.head, self.head_len());
        while let Some(current) = block {
            refs.extend_from_slice(&current.refs[..used]);
            (block, used) = (&current.next, BLOCK_REFS);
        }
        refs
    }

    /// Moves all references of `other` into `self` (not `live`); O(blocks of `other`).
    pub(super) fn append(&mut self, mut other: Chain) {
        if self.is_empty() {
            self.head = other.head.take();
            self.len = std::mem::take(&mut other.len);
            return;
        }
        while !other.is_empty() && (other.head_len() < BLOCK_REFS || other.len() == BLOCK_REFS) {
            if let Some(hash) = other.pop() {
                self.push(hash);
            }
        }
        // What is left of `other` are full blocks: hang them in below the (partial) head.
        let Some(first) = other.head.take() else {
            return;
        };
        let moved = std::mem::take(&mut other.len);
        assert!(self.len.checked_add(moved).is_some(), "expiry list full");
        self.len += moved;
        let Some(head) = &mut self.head else { return };
        let rest = head.next.replace(first);
        let mut tail = &mut head.next;
        while let Some(block) = tail {
            tail = &mut block.next;
        }
        *tail = rest;
    }
}

impl Drop for Chain {
    /// Block by block: the derived drop would recurse once per block.
    fn drop(&mut self) {
        let mut next = self.head.take();
        while let Some(mut block) = next {
            next = block.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(chain: &mut Chain) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(hash) = chain.pop() {
            all.push(hash);
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn push_pop_and_append_keep_every_reference() {
        for a in 0..50u64 {
            for b in 0..50u64 {
                let (mut left, mut right) = (Chain::default(), Chain::default());
                (0..a).for_each(|i| left.push(i));
                (0..b).for_each(|i| right.push(1000 + i));
                left.append(right);
                assert_eq!(left.len() as u64, a + b);
                left.push(9999);
                assert_eq!(left.last(), Some(9999));
                let want: Vec<u64> = (0..a)
                    .chain((0..b).map(|i| 1000 + i))
                    .chain([9999])
                    .collect();
                assert_eq!(sorted(&mut left), want);
            }
        }
    }

    #[test]
    fn dropping_a_long_chain_does_not_recurse() {
        let mut chain = Chain::default();
        (0..3_000_000).for_each(|i| chain.push(i));
        assert_eq!(chain.drop_head(), BLOCK_REFS);
        drop(chain);
    }
}
