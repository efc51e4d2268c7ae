//! What changes a tree: insert, update, remove, split, join.
//!
//! Every function that gets a node gets it owned: its caller made it the tree's own and stored it where
//! it hangs. It owns the child that it goes down to, and renews what it knows of it on the way back.
#![allow(unsafe_code)]

use std::cmp::Ordering;

use super::node::{CAPACITY, Child, Node, ROOM, THIN, insert, level, move_tail, remove};
use super::{CowTree, Item};
use crate::container::domain::Domain;

// In this file every node is alive and of the height at hand, and every `_mut` reference is to a node
// that was owned before, with the tree borrowed uniquely.
impl<T: Item> CowTree<T> {
    /// A tree of these items, in this order. O(items), and much less than as many insertions.
    pub fn of_items(domain: &mut Domain, items: impl IntoIterator<Item = T>) -> CowTree<T> {
        let mut tree = CowTree::new(domain);
        let epoch = domain.write_epoch();
        let mut nodes: Vec<Child<T>> = Vec::new();
        let mut open: Option<Node<T>> = None;
        // SAFETY: the nodes are new, and of the height at hand.
        unsafe {
            for item in items {
                let full = open.filter(|leaf| leaf.len(0) == CAPACITY);
                if let Some(full) = full {
                    nodes.push(full.summary(0));
                    open = None;
                }
                let leaf = open.get_or_insert_with(|| Node::new_leaf(epoch)).leaf_mut();
                let end = leaf.items().len();
                insert(leaf, end, item);
            }
            nodes.extend(open.map(|leaf| leaf.summary(0)));
            while nodes.len() > 1 {
                let mut children = nodes.into_iter();
                nodes = Vec::with_capacity(children.len().div_ceil(CAPACITY));
                while children.len() > 0 {
                    let node = Node::new_inner(epoch);
                    for (at, child) in children.by_ref().take(CAPACITY).enumerate() {
                        insert(node.inner_mut(), at, child);
                    }
                    nodes.push(node.summary(tree.height + 1));
                }
                tree.height += 1;
            }
        }
        if let Some(root) = nodes.pop() {
            tree.root = Some(root.node);
            tree.len = root.count;
            tree.weight = root.weight;
        }
        tree
    }

    /// Inserts an item so that it stands at `index`. Panics beyond the end.
    pub fn insert_at(&mut self, domain: &mut Domain, index: u64, item: T) {
        assert!(index <= self.len);
        self.begin(domain);
        let weight = item.weight();
        self.len += 1;
        self.weight += weight;
        let Some(root) = self.root else {
            let leaf = Node::new_leaf(domain.write_epoch());
            // SAFETY: new.
            insert(unsafe { leaf.leaf_mut() }, 0, item);
            self.root = Some(leaf);
            return;
        };
        // SAFETY: owned here, then below.
        let sibling = unsafe {
            let root = root.own(domain, self.height);
            self.root = Some(root);
            insert_below(domain, root, self.height, index, item, weight)
        };
        if let Some(sibling) = sibling {
            self.grow(domain, sibling);
        }
    }

    /// Inserts an item at the end.
    pub fn push(&mut self, domain: &mut Domain, item: T) {
        self.insert_at(domain, self.len, item);
    }

    /// In a sorted tree: inserts an item in its place and returns its index; gives it back with the
    /// index of its equal if there is one.
    pub fn insert_by(
        &mut self,
        domain: &mut Domain,
        item: T,
        mut compare: impl FnMut(&T, &T) -> Ordering,
    ) -> Result<u64, (u64, T)> {
        match self.find(|other| compare(other, &item)) {
            Ok(index) => Err((index, item)),
            Err(index) => {
                self.insert_at(domain, index, item);
                Ok(index)
            }
        }
    }

    /// Changes the item at `index`; its weight may change. In a sorted tree it must keep its order.
    /// Panics beyond the end.
    pub fn update<R>(
        &mut self,
        domain: &mut Domain,
        index: u64,
        change: impl FnOnce(&mut T, &mut Domain) -> R,
    ) -> R {
        assert!(index < self.len);
        self.begin(domain);
        let root = self
            .root
            .unwrap_or_else(|| unreachable!("items without a root"));
        // SAFETY: owned here, then below.
        let (result, before, after) = unsafe {
            let root = root.own(domain, self.height);
            self.root = Some(root);
            update_below(domain, root, self.height, index, change)
        };
        self.weight = self.weight - before + after;
        result
    }

    /// Takes the item at `index` out. An item that owns a block is the caller's to give up through
    /// the domain: a snapshot may see it. Panics beyond the end.
    pub fn remove_at(&mut self, domain: &mut Domain, index: u64) -> T {
        assert!(index < self.len);
        self.begin(domain);
        let root = self
            .root
            .unwrap_or_else(|| unreachable!("items without a root"));
        // SAFETY: owned here, then below.
        let item = unsafe {
            let root = root.own(domain, self.height);
            self.root = Some(root);
            remove_below(domain, root, self.height, index)
        };
        self.len -= 1;
        self.weight -= item.weight();
        self.lower_root(domain);
        item
    }

    /// In a sorted tree: takes the item that `compare` calls equal out.
    pub fn remove_by(
        &mut self,
        domain: &mut Domain,
        compare: impl FnMut(&T) -> Ordering,
    ) -> Option<(u64, T)> {
        let index = self.find(compare).ok()?;
        Some((index, self.remove_at(domain, index)))
    }

    /// Cuts the tree: items from `index` on become the result.
    pub fn split_off(&mut self, domain: &mut Domain, index: u64) -> CowTree<T> {
        self.begin(domain);
        let empty = CowTree {
            root: None,
            len: 0,
            weight: 0,
            domain: self.domain,
            height: 0,
        };
        if index >= self.len {
            return empty;
        }
        if index == 0 {
            return std::mem::replace(self, empty);
        }
        let root = self
            .root
            .unwrap_or_else(|| unreachable!("items without a root"));
        // SAFETY: owned here, then below; the root is taken apart.
        let (left, right) = unsafe {
            let root = root.own(domain, self.height);
            self.cut(domain, root, self.height, index)
        };
        *self = left;
        right
    }

    /// Puts all items of `other`, a tree of the same domain, at the end.
    pub fn append(&mut self, domain: &mut Domain, mut other: CowTree<T>) {
        self.begin(domain);
        other.assert_domain(domain);
        let Some(right) = other.root else { return };
        let Some(left) = self.root else {
            *self = other;
            return;
        };
        self.len += other.len;
        self.weight += other.weight;
        // SAFETY: both owned here, then below.
        unsafe {
            let left = left.own(domain, self.height);
            let right = right.own(domain, other.height);
            if self.height >= other.height {
                self.root = Some(left);
                let sibling = graft(domain, left, self.height, right, other.height, End::Back);
                if let Some(sibling) = sibling {
                    self.grow(domain, sibling);
                }
            } else {
                other.root = Some(right);
                let height = other.height;
                let sibling = graft(domain, right, height, left, self.height, End::Front);
                self.height = height;
                self.root = Some(right);
                if let Some(sibling) = sibling {
                    self.grow(domain, sibling);
                }
            }
        }
    }

    /// Takes the items from `start` up to `end` out: O(log n).
    pub fn remove_range(&mut self, domain: &mut Domain, start: u64, end: u64) -> CowTree<T> {
        let rest = self.split_off(domain, end.max(start));
        let middle = self.split_off(domain, start);
        self.append(domain, rest);
        middle
    }

    fn begin(&self, domain: &mut Domain) {
        self.assert_domain(domain);
        domain.write_epoch();
    }

    /// A new root above the present one and its sibling.
    fn grow(&mut self, domain: &mut Domain, sibling: Node<T>) {
        let Some(old) = self.root else { return };
        let root = Node::new_inner(domain.write_epoch());
        // SAFETY: new; the children are of the height below.
        unsafe {
            insert(root.inner_mut(), 0, old.summary(self.height));
            insert(root.inner_mut(), 1, sibling.summary(self.height));
        }
        self.height += 1;
        self.root = Some(root);
    }

    /// Drops roots with one child, and an empty one.
    fn lower_root(&mut self, domain: &mut Domain) {
        while let Some(root) = self.root {
            // SAFETY: alive, of that height.
            unsafe {
                match (root.len(self.height), self.height) {
                    (0, height) => {
                        self.root = None;
                        self.height = 0;
                        root.retire_shell(domain, height);
                    }
                    (1, 1..) => {
                        self.root = Some(root.inner().children()[0].node);
                        root.retire_shell(domain, self.height);
                        self.height -= 1;
                    }
                    _ => return,
                }
            }
        }
    }

    /// Takes an owned node apart before `index`, which lies inside it.
    ///
    /// # Safety
    /// The node is owned, of that height, and linked from nowhere any more.
    unsafe fn cut(
        &self,
        domain: &mut Domain,
        node: Node<T>,
        height: u8,
        index: u64,
    ) -> (CowTree<T>, CowTree<T>) {
        // SAFETY: the caller's promise; fresh nodes are owned.
        unsafe {
            let sibling = Node::new_like(height, domain.write_epoch());
            if height == 0 {
                move_tail(node.leaf_mut(), index as usize, sibling.leaf_mut());
                return (
                    self.subtree(domain, node, 0),
                    self.subtree(domain, sibling, 0),
                );
            }
            let inner = node.inner_mut();
            let (at, below) = inner.by_index(index);
            move_tail(inner, at + 1, sibling.inner_mut());
            let middle = remove(inner, at).node.own(domain, height - 1);
            let (mut left, mut right) = (
                self.subtree(domain, node, height),
                self.subtree(domain, sibling, height),
            );
            let whole = |node: Node<T>| self.subtree_of(node.summary(height - 1), height - 1);
            let (middle_left, middle_right) = if below == 0 {
                (self.empty(), whole(middle))
            } else {
                self.cut(domain, middle, height - 1, below)
            };
            left.append(domain, middle_left);
            let mut end = middle_right;
            std::mem::swap(&mut end, &mut right);
            right.append(domain, end);
            (left, right)
        }
    }

    fn empty(&self) -> CowTree<T> {
        CowTree {
            root: None,
            len: 0,
            weight: 0,
            domain: self.domain,
            height: 0,
        }
    }

    fn subtree_of(&self, summary: Child<T>, height: u8) -> CowTree<T> {
        CowTree {
            root: Some(summary.node),
            len: summary.count,
            weight: summary.weight,
            domain: self.domain,
            height,
        }
    }

    /// A tree of an owned node that may be empty or have one child.
    ///
    /// # Safety
    /// The node is owned, of that height, and linked from nowhere else.
    unsafe fn subtree(&self, domain: &mut Domain, node: Node<T>, height: u8) -> CowTree<T> {
        // SAFETY: the caller's promise.
        let mut tree = unsafe {
            if node.len(height) == 0 {
                CowTree {
                    root: Some(node),
                    height,
                    ..self.empty()
                }
            } else {
                self.subtree_of(node.summary(height), height)
            }
        };
        tree.lower_root(domain);
        tree
    }
}

/// Which end of a tree another is grafted to.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Front,
    Back,
}

/// # Safety
/// The node is owned and of that height.
unsafe fn insert_below<T: Item>(
    domain: &mut Domain,
    node: Node<T>,
    height: u8,
    index: u64,
    item: T,
    weight: u64,
) -> Option<Node<T>> {
    // SAFETY: the caller's promise; the child is owned before it is gone down to.
    unsafe {
        if height == 0 {
            let leaf = node.leaf_mut();
            let index = index as usize;
            if leaf.items().len() < CAPACITY {
                insert(leaf, index, item);
                return None;
            }
            let sibling = Node::new_leaf(domain.write_epoch());
            let right = sibling.leaf_mut();
            let cut = cut_for(index);
            move_tail(leaf, cut, right);
            if index > cut || index == CAPACITY {
                insert(right, index - cut, item);
            } else {
                insert(leaf, index, item);
            }
            return Some(sibling);
        }
        let inner = node.inner_mut();
        let (mut at, mut below) = inner.by_index(index);
        if height == 1 && below < CAPACITY as u64 && share(domain, node, at) {
            (at, below) = node.inner().by_index(index);
        }
        let inner = node.inner_mut();
        let child = &mut inner.children_mut()[at];
        child.node = child.node.own(domain, height - 1);
        let sibling = insert_below(domain, child.node, height - 1, below, item, weight);
        renew(child, height - 1, sibling.is_some(), 1, weight);
        insert_sibling(domain, node, height, at, sibling)
    }
}

/// Shares the items of a full leaf with a neighbour that has room, before it would be split: leaves are four fifths full
/// after random insertions instead of two thirds. False when nothing changed.
///
/// # Safety
/// The node is owned, and its children are leaves.
unsafe fn share<T: Item>(domain: &mut Domain, node: Node<T>, at: usize) -> bool {
    // SAFETY: the caller's promise; both children are owned before they change.
    unsafe {
        let inner = node.inner_mut();
        let has_room = |at: usize| {
            let child = inner.children().get(at);
            child.is_some_and(|child| child.node.len(0) <= CAPACITY - ROOM)
        };
        if inner.children()[at].node.len(0) < CAPACITY {
            return false;
        }
        let left = match at.checked_sub(1) {
            _ if has_room(at + 1) => at,
            Some(before) if has_room(before) => before,
            _ => return false,
        };
        let pair = &mut inner.children_mut()[left..left + 2];
        for child in pair.iter_mut() {
            child.node = child.node.own(domain, 0);
        }
        level(pair[0].node.leaf_mut(), pair[1].node.leaf_mut());
        for child in pair {
            *child = child.node.summary(0);
        }
        true
    }
}

/// Where to cut a full node: in the middle, or at the end when it grows in order.
fn cut_for(index: usize) -> usize {
    if index == CAPACITY {
        CAPACITY
    } else {
        CAPACITY / 2
    }
}

/// Renews what a parent knows of a child that one item was put below.
///
/// # Safety
/// The child's node is alive and of that height.
unsafe fn renew<T: Item>(child: &mut Child<T>, height: u8, split: bool, count: u64, weight: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        if split {
            *child = child.node.summary(height);
        } else {
            child.count += count;
            child.weight += weight;
            child.first = child.node.first(height);
        }
    }
}

/// Puts a child's new sibling after it; returns the node's own sibling if that splits it.
///
/// # Safety
/// The node is owned and of that height, above 0.
unsafe fn insert_sibling<T: Item>(
    domain: &mut Domain,
    node: Node<T>,
    height: u8,
    at: usize,
    sibling: Option<Node<T>>,
) -> Option<Node<T>> {
    // SAFETY: the caller's promise.
    unsafe {
        let child = sibling?.summary(height - 1);
        let inner = node.inner_mut();
        let index = at + 1;
        if inner.children().len() < CAPACITY {
            insert(inner, index, child);
            return None;
        }
        let sibling = Node::new_inner(domain.write_epoch());
        let right = sibling.inner_mut();
        let cut = cut_for(index);
        move_tail(inner, cut, right);
        if index > cut || index == CAPACITY {
            insert(right, index - cut, child);
        } else {
            insert(inner, index, child);
        }
        Some(sibling)
    }
}

/// # Safety
/// The node is owned and of that height.
unsafe fn update_below<T: Item, R>(
    domain: &mut Domain,
    node: Node<T>,
    height: u8,
    index: u64,
    change: impl FnOnce(&mut T, &mut Domain) -> R,
) -> (R, u64, u64) {
    // SAFETY: the caller's promise; the child is owned before it is gone down to.
    unsafe {
        if height == 0 {
            let item = &mut node.leaf_mut().items_mut()[index as usize];
            let before = item.weight();
            let result = change(item, domain);
            return (result, before, item.weight());
        }
        let inner = node.inner_mut();
        let (at, below) = inner.by_index(index);
        let child = &mut inner.children_mut()[at];
        child.node = child.node.own(domain, height - 1);
        let (result, before, after) = update_below(domain, child.node, height - 1, below, change);
        child.weight = child.weight - before + after;
        child.first = child.node.first(height - 1);
        (result, before, after)
    }
}

/// # Safety
/// The node is owned and of that height.
unsafe fn remove_below<T: Item>(domain: &mut Domain, node: Node<T>, height: u8, index: u64) -> T {
    // SAFETY: the caller's promise; the child is owned before it is gone down to.
    unsafe {
        if height == 0 {
            return remove(node.leaf_mut(), index as usize);
        }
        let inner = node.inner_mut();
        let (at, below) = inner.by_index(index);
        let child = &mut inner.children_mut()[at];
        child.node = child.node.own(domain, height - 1);
        let item = remove_below(domain, child.node, height - 1, below);
        let left = child.node.len(height - 1);
        if left == 0 {
            remove(inner, at).node.retire_shell(domain, height - 1);
        } else {
            child.count -= 1;
            child.weight -= item.weight();
            child.first = child.node.first(height - 1);
            if left < THIN {
                feed(domain, node, height, at);
            }
        }
        item
    }
}

/// Merges the thin child at `at` with a neighbour, or takes from it.
///
/// # Safety
/// The node is owned and of that height, above 0.
unsafe fn feed<T: Item>(domain: &mut Domain, node: Node<T>, height: u8, at: usize) {
    // SAFETY: the caller's promise; both children are owned before they change.
    unsafe {
        let inner = node.inner_mut();
        if inner.children().len() < 2 {
            return;
        }
        let left = at.saturating_sub(1);
        for child in &mut inner.children_mut()[left..left + 2] {
            child.node = child.node.own(domain, height - 1);
        }
        let (one, two) = (inner.children()[left].node, inner.children()[left + 1].node);
        if balance(domain, one, two, height - 1) {
            inner.children_mut()[left + 1] = two.summary(height - 1);
        } else {
            let _ = remove(inner, left + 1);
        }
        inner.children_mut()[left] = one.summary(height - 1);
    }
}

/// Merges two owned neighbours if they fit into one (false: the right one is gone), else evens them
/// out if one is thin.
///
/// # Safety
/// Both nodes are owned and of that height.
unsafe fn balance<T: Item>(domain: &mut Domain, left: Node<T>, right: Node<T>, height: u8) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let (left_len, right_len) = (left.len(height), right.len(height));
        if left_len + right_len <= CAPACITY {
            if height == 0 {
                move_tail(right.leaf_mut(), 0, left.leaf_mut());
            } else {
                move_tail(right.inner_mut(), 0, left.inner_mut());
            }
            right.retire_shell(domain, height);
            return false;
        }
        if left_len.min(right_len) < THIN {
            if height == 0 {
                level(left.leaf_mut(), right.leaf_mut());
            } else {
                level(left.inner_mut(), right.inner_mut());
            }
        }
        true
    }
}

/// Hangs an owned tree `other` (no higher) to one end of an owned node; returns a sibling to the right
/// of the node if it split.
///
/// # Safety
/// Both nodes are owned and of their heights.
unsafe fn graft<T: Item>(
    domain: &mut Domain,
    node: Node<T>,
    height: u8,
    other: Node<T>,
    other_height: u8,
    end: End,
) -> Option<Node<T>> {
    // SAFETY: the caller's promise; the child is owned before it is gone down to.
    unsafe {
        if height == other_height {
            // `node` stays the left one: for the front, contents change places.
            if end == End::Back {
                return balance(domain, node, other, height).then_some(other);
            }
            if height == 0 {
                std::mem::swap(node.leaf_mut(), other.leaf_mut());
            } else {
                std::mem::swap(node.inner_mut(), other.inner_mut());
            }
            return balance(domain, node, other, height).then_some(other);
        }
        let inner = node.inner_mut();
        let at = if end == End::Back {
            inner.children().len() - 1
        } else {
            0
        };
        let child = &mut inner.children_mut()[at];
        child.node = child.node.own(domain, height - 1);
        let sibling = graft(domain, child.node, height - 1, other, other_height, end);
        *child = child.node.summary(height - 1);
        insert_sibling(domain, node, height, at, sibling)
    }
}
