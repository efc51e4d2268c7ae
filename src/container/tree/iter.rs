//! The walk over a tree's items, both ways.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::node::Node;
use super::{CowTree, Item};

/// Walks items by index; `next` forwards, `back` backwards, each from where the walk stands.
pub struct Iter<'a, T: Item> {
    /// The inner nodes from the root down, with the child taken.
    path: Vec<(Node<T>, usize)>,
    leaf: Option<Node<T>>,
    /// The item that `next` would give.
    at: usize,
    /// The index of that item in the tree.
    index: u64,
    len: u64,
    marker: PhantomData<&'a T>,
}

impl<'a, T: Item> Iter<'a, T> {
    pub(super) fn new(tree: &'a CowTree<T>, index: u64) -> Iter<'a, T> {
        let index = index.min(tree.len);
        let mut iter = Iter {
            path: Vec::with_capacity(tree.height as usize),
            leaf: None,
            at: 0,
            index,
            len: tree.len,
            marker: PhantomData,
        };
        let Some(mut node) = tree.root else {
            return iter;
        };
        let mut below = index;
        for _ in 0..tree.height {
            // SAFETY: alive while the tree is borrowed; inner above height 0.
            let inner = unsafe { node.inner() };
            let (at, rest) = inner.by_index(below);
            iter.path.push((node, at));
            node = inner.children()[at].node;
            below = rest;
        }
        iter.leaf = Some(node);
        iter.at = below as usize;
        iter
    }

    /// The index of the item that `next` would give.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The item before the walk's place, which moves there.
    pub fn back(&mut self) -> Option<&'a T> {
        if self.index == 0 {
            return None;
        }
        if self.at == 0 {
            self.step(false);
        }
        self.index -= 1;
        self.at -= 1;
        // SAFETY: alive while the tree is borrowed.
        unsafe { self.leaf?.leaf() }.items().get(self.at)
    }

    /// Moves to the next leaf, or to the end of the one before.
    fn step(&mut self, forward: bool) {
        let mut levels = 0;
        while let Some((node, at)) = self.path.pop() {
            levels += 1;
            // SAFETY: alive while the tree is borrowed; the path holds inner nodes.
            let children = unsafe { node.inner() }.children();
            let next = if forward { at + 1 } else { at.wrapping_sub(1) };
            let Some(child) = children.get(next) else {
                continue;
            };
            self.path.push((node, next));
            let mut node = child.node;
            for _ in 1..levels {
                // SAFETY: as above: it lies above height 0.
                let children = unsafe { node.inner() }.children();
                let at = if forward { 0 } else { children.len() - 1 };
                self.path.push((node, at));
                node = children[at].node;
            }
            self.leaf = Some(node);
            // SAFETY: alive, a leaf.
            self.at = if forward {
                0
            } else {
                unsafe { node.leaf() }.items().len()
            };
            return;
        }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        if self.index >= self.len {
            return None;
        }
        // SAFETY: alive while the tree is borrowed.
        let mut items = unsafe { self.leaf?.leaf() }.items();
        if self.at == items.len() {
            self.step(true);
            // SAFETY: as above.
            items = unsafe { self.leaf?.leaf() }.items();
        }
        self.index += 1;
        self.at += 1;
        items.get(self.at - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.len - self.index) as usize;
        (left, Some(left))
    }
}

impl<T: Item> ExactSizeIterator for Iter<'_, T> {}
