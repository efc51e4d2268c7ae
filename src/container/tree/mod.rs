//! `CowTree`: a counted B+ tree whose snapshots cost O(1).
//!
//! A sequence of items, found by index (rank), by weight offset (bytes into a chunked string), or by
//! order if the caller keeps it sorted. Insert, remove, find, split and join take O(log n); under a
//! snapshot the first change of a node copies that node and the path to it.
//!
//! [`node`] has the layout and the slot moves, [`edit`] what changes the tree, [`iter`] the walk.
//!
//! Invariants:
//! - Leaves have height 0; all leaves are equally deep. No node is empty. Nodes may be thin after
//!   appending in order or splitting; removal merges thin ones.
//! - A parent knows of each child its count, its weight and the bits of its first item.
//! - A node that is not frozen hangs under nodes that are not either.
//! - Items are owned by the newest copy of their leaf. An item that is itself a block
//!   ([`super::CowBox`]) is changed only through [`CowTree::update`], which owns its leaf first.
//! - The tree does not free on drop, since that takes the domain: [`CowTree::retire`].
#![allow(unsafe_code)]

mod edit;
mod iter;
mod node;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Deref;
use std::ptr::NonNull;

use super::domain::{Domain, Garbage, Pin};
use node::Node;

pub use iter::Iter;

/// What a tree holds: plain bits, or an owning pointer without a drop of its own.
///
/// # Safety
/// The tree moves and copies items bit by bit and drops none: `release` must free what the item owns,
/// on any thread, and the type must have no drop glue that frees it a second time.
pub unsafe trait Item: Sized + Send + Sync + 'static {
    /// The item's share in weight offsets. It may change only in [`CowTree::update`].
    fn weight(&self) -> u64 {
        1
    }

    /// Frees what the item owns.
    ///
    /// # Safety
    /// Called once, when nobody sees the item any more.
    unsafe fn release(self) {}
}

// SAFETY: plain bits that own nothing.
unsafe impl Item for u64 {}

/// A counted, copy-on-write sequence.
pub struct CowTree<T: Item> {
    /// None: empty.
    root: Option<Node<T>>,
    len: u64,
    weight: u64,
    domain: u32,
    height: u8,
}

// SAFETY: it owns its items, which are Send and Sync.
unsafe impl<T: Item> Send for CowTree<T> {}
// SAFETY: shared references only read.
unsafe impl<T: Item> Sync for CowTree<T> {}

impl<T: Item> CowTree<T> {
    /// An empty tree, without allocations.
    pub fn new(domain: &Domain) -> CowTree<T> {
        CowTree {
            root: None,
            len: 0,
            weight: 0,
            domain: domain.id(),
            height: 0,
        }
    }

    /// The number of items.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of all weights.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    // In the read paths every node is alive: the tree is borrowed, and a view's nodes are frozen.

    /// The item at an index.
    pub fn get(&self, index: u64) -> Option<&T> {
        if index >= self.len {
            return None;
        }
        let (mut node, mut index) = (self.root?, index);
        for _ in 0..self.height {
            // SAFETY: alive, an inner node above height 0.
            let inner = unsafe { node.inner() };
            let (at, below) = inner.by_index(index);
            node = inner.children()[at].node;
            index = below;
        }
        // SAFETY: alive, a leaf at height 0.
        unsafe { node.leaf() }.items().get(index as usize)
    }

    /// The item at a weight offset: its index, the offset within it, and the item. None at or beyond
    /// the total weight.
    pub fn at_weight(&self, offset: u64) -> Option<(u64, u64, &T)> {
        if offset >= self.weight {
            return None;
        }
        let (mut node, mut offset, mut index) = (self.root?, offset, 0);
        for _ in 0..self.height {
            // SAFETY: alive, an inner node above height 0.
            let inner = unsafe { node.inner() };
            let (at, below) = inner.by_weight(offset);
            let children = inner.children();
            index += children[..at].iter().map(|child| child.count).sum::<u64>();
            node = children[at].node;
            offset = below;
        }
        // SAFETY: alive, a leaf at height 0.
        for item in unsafe { node.leaf() }.items() {
            if offset < item.weight() {
                return Some((index, offset, item));
            }
            offset -= item.weight();
            index += 1;
        }
        None
    }

    /// The weight of all items before `index`.
    pub fn weight_before(&self, index: u64) -> u64 {
        let Some(mut node) = self.root else { return 0 };
        if index >= self.len {
            return self.weight;
        }
        let (mut index, mut weight) = (index, 0);
        for _ in 0..self.height {
            // SAFETY: alive, an inner node above height 0.
            let inner = unsafe { node.inner() };
            let (at, below) = inner.by_index(index);
            let children = inner.children();
            weight += children[..at].iter().map(|child| child.weight).sum::<u64>();
            node = children[at].node;
            index = below;
        }
        // SAFETY: alive, a leaf at height 0.
        let items = unsafe { node.leaf() }.items();
        weight
            + items[..index as usize]
                .iter()
                .map(Item::weight)
                .sum::<u64>()
    }

    /// In a sorted tree: the index of the item that `compare` calls equal, or where it would go.
    /// `compare` says how an item stands to what is sought.
    pub fn find(&self, mut compare: impl FnMut(&T) -> Ordering) -> Result<u64, u64> {
        let Some(mut node) = self.root else {
            return Err(0);
        };
        let mut index = 0;
        for _ in 0..self.height {
            // SAFETY: alive, an inner node above height 0.
            let inner = unsafe { node.inner() };
            let at = inner.by_order(&mut compare);
            let children = inner.children();
            index += children[..at].iter().map(|child| child.count).sum::<u64>();
            node = children[at].node;
        }
        // SAFETY: alive, a leaf at height 0.
        match unsafe { node.leaf() }.items().binary_search_by(compare) {
            Ok(at) => Ok(index + at as u64),
            Err(at) => Err(index + at as u64),
        }
    }

    /// In a sorted tree: the item that `compare` calls equal.
    pub fn get_by(&self, mut compare: impl FnMut(&T) -> Ordering) -> Option<&T> {
        let mut node = self.root?;
        for _ in 0..self.height {
            // SAFETY: alive, an inner node above height 0.
            let inner = unsafe { node.inner() };
            node = inner.children()[inner.by_order(&mut compare)].node;
        }
        // SAFETY: alive, a leaf at height 0.
        let items = unsafe { node.leaf() }.items();
        items.binary_search_by(compare).ok().map(|at| &items[at])
    }

    /// Walks the items from `index` on; [`Iter::back`] walks the other way.
    pub fn iter_from(&self, index: u64) -> Iter<'_, T> {
        Iter::new(self, index)
    }

    /// Walks all items.
    pub fn iter(&self) -> Iter<'_, T> {
        self.iter_from(0)
    }

    /// This tree in a snapshot. Panics if anything was written since `pin` was taken.
    pub fn view(&self, domain: &Domain, pin: &Pin) -> TreeView<T> {
        self.assert_domain(domain);
        domain.assert_fresh(pin);
        // SAFETY: the pin keeps every node frozen and allocated; the view only reads.
        TreeView {
            tree: unsafe { self.share() },
            _pin: pin.clone(),
        }
    }

    /// A second handle to the same nodes.
    ///
    /// # Safety
    /// Only one of the two goes on as the owner: the other is read, never changed or given up (as the
    /// field of a frozen block is).
    pub unsafe fn share(&self) -> CowTree<T> {
        CowTree {
            root: self.root,
            len: self.len,
            weight: self.weight,
            domain: self.domain,
            height: self.height,
        }
    }

    /// Gives the tree up with its items: to the snapshots that may see it, or as garbage for a helper.
    pub fn retire(self, domain: &mut Domain) -> Option<Garbage> {
        self.assert_domain(domain);
        domain.write_epoch();
        self.root?;
        let bytes = self.memory_bytes();
        let root = NonNull::from(Box::leak(Box::new(self))).cast();
        // SAFETY: the tree is given up here: only old snapshots reach it.
        unsafe { domain.retire_whole(root, bytes as usize, free_tree::<T>) }
    }

    /// Frees the tree with its items.
    ///
    /// # Safety
    /// It is the owner, and no snapshot sees any of it.
    pub unsafe fn free(self) {
        if let Some(root) = self.root {
            // SAFETY: the caller's promise.
            unsafe { root.free(self.height) }
        }
    }

    /// Bytes of the nodes, estimated from the count (what items own comes on top): O(1).
    pub fn memory_bytes(&self) -> u64 {
        if self.root.is_none() {
            return 0;
        }
        // Random insertion fills B+ tree nodes to ln 2.
        let leaves = 1 + self.len * 100 / (node::CAPACITY as u64 * 69);
        let inners = if self.height == 0 { 0 } else { 1 + leaves / 40 };
        leaves * size_of::<node::Leaf<T>>() as u64 + inners * size_of::<node::Inner<T>>() as u64
    }

    fn assert_domain(&self, domain: &Domain) {
        assert!(self.domain == domain.id(), "a tree of another domain");
    }
}

/// # Safety
/// `block` is a leaked box of a tree that was given up and that nobody sees.
unsafe fn free_tree<T: Item>(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { Box::from_raw(block.cast::<CowTree<T>>().as_ptr()).free() }
}

/// A tree as it was when the pin was taken. Read-only and `Send`; keeps the snapshot alive.
pub struct TreeView<T: Item> {
    tree: CowTree<T>,
    _pin: Pin,
}

impl<T: Item> Deref for TreeView<T> {
    type Target = CowTree<T>;

    fn deref(&self) -> &CowTree<T> {
        &self.tree
    }
}

#[cfg(test)]
impl<T: Item> CowTree<T> {
    /// Asserts every structural invariant: O(n).
    fn check(&self) {
        fn below<T: Item>(node: Node<T>, height: u8) -> (u64, u64) {
            // SAFETY: alive while the tree is borrowed; of that height.
            unsafe {
                assert!(node.len(height) > 0 && node.len(height) <= node::CAPACITY);
                if height == 0 {
                    let items = node.leaf().items();
                    return (items.len() as u64, items.iter().map(Item::weight).sum());
                }
                let (mut count, mut weight) = (0, 0);
                for child in node.inner().children() {
                    assert!((child.count, child.weight) == below(child.node, height - 1));
                    count += child.count;
                    weight += child.weight;
                }
                (count, weight)
            }
        }
        let sums = self.root.map_or((0, 0), |root| below(root, self.height));
        assert_eq!(sums, (self.len, self.weight));
        // SAFETY: alive.
        let len = self.root.map_or(2, |root| unsafe { root.len(self.height) });
        assert!(self.height == 0 || len > 1, "a root with one child");
    }
}
