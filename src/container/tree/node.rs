//! The nodes of a [`super::CowTree`]: leaves of items, inner nodes with counts and weights.
//!
//! A node has no kind field: its height, known from the way down, says what it is (0: leaf). Items are
//! moved bit by bit: a copied leaf and its frozen original hold the same bits, and the copy owns them.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use super::super::domain::Domain;
use super::Item;

/// Items of a leaf, children of an inner node: with eight-byte items a leaf fills 512 bytes.
pub const CAPACITY: usize = 62;
/// A node with fewer takes from or merges with a neighbour when something is removed.
pub const THIN: usize = CAPACITY / 3;

/// A leaf with so many free places takes from a full neighbour.
pub const ROOM: usize = CAPACITY / 8;

#[repr(C)]
pub struct Leaf<T> {
    epoch: u64,
    len: usize,
    items: [MaybeUninit<T>; CAPACITY],
}

#[repr(C)]
pub struct Inner<T> {
    epoch: u64,
    len: usize,
    children: [MaybeUninit<Child<T>>; CAPACITY],
}

/// A child with what its parent knows of it.
#[repr(C)]
pub struct Child<T> {
    pub node: Node<T>,
    pub count: u64,
    pub weight: u64,
    /// The same bits as the subtree's first item, for comparisons only.
    pub first: MaybeUninit<T>,
}

/// An untyped node pointer.
pub struct Node<T>(NonNull<u8>, std::marker::PhantomData<T>);

impl<T> Clone for Node<T> {
    fn clone(&self) -> Node<T> {
        *self
    }
}
impl<T> Copy for Node<T> {}

impl<T> PartialEq for Node<T> {
    fn eq(&self, other: &Node<T>) -> bool {
        self.0 == other.0
    }
}

/// What a leaf and an inner node have in common: a length and slots to shift.
pub trait Slots {
    type Slot;
    fn parts(&mut self) -> (&mut usize, &mut [MaybeUninit<Self::Slot>; CAPACITY]);
}

impl<T> Slots for Leaf<T> {
    type Slot = T;
    fn parts(&mut self) -> (&mut usize, &mut [MaybeUninit<T>; CAPACITY]) {
        (&mut self.len, &mut self.items)
    }
}

impl<T> Slots for Inner<T> {
    type Slot = Child<T>;
    fn parts(&mut self) -> (&mut usize, &mut [MaybeUninit<Child<T>>; CAPACITY]) {
        (&mut self.len, &mut self.children)
    }
}

/// Opens a gap at `index` and fills it; there must be room.
pub fn insert<S: Slots>(node: &mut S, index: usize, slot: S::Slot) {
    let (len, slots) = node.parts();
    assert!(index <= *len && *len < CAPACITY);
    // SAFETY: moves initialised slots up by one, inside the array.
    unsafe {
        let at = slots.as_mut_ptr().add(index);
        std::ptr::copy(at, at.add(1), *len - index);
    }
    slots[index] = MaybeUninit::new(slot);
    *len += 1;
}

/// Takes the slot at `index` out and closes the gap.
pub fn remove<S: Slots>(node: &mut S, index: usize) -> S::Slot {
    let (len, slots) = node.parts();
    assert!(index < *len);
    // SAFETY: the slot is initialised and moved out; those above move down by one.
    unsafe {
        let at = slots.as_mut_ptr().add(index);
        let slot = at.read().assume_init();
        std::ptr::copy(at.add(1), at, *len - index - 1);
        *len -= 1;
        slot
    }
}

/// Moves the slots from `index` on to the end of `target` (which is another node).
pub fn move_tail<S: Slots>(node: &mut S, index: usize, target: &mut S) {
    let (len, slots) = node.parts();
    let (target_len, target_slots) = target.parts();
    let moved = *len - index;
    assert!(*target_len + moved <= CAPACITY);
    // SAFETY: initialised slots move between two arrays, inside both.
    unsafe {
        let from = slots.as_ptr().add(index);
        std::ptr::copy_nonoverlapping(from, target_slots.as_mut_ptr().add(*target_len), moved);
    }
    *target_len += moved;
    *len = index;
}

/// Moves slots between neighbours until their lengths differ by one at most.
pub fn level<S: Slots>(left: &mut S, right: &mut S) {
    let (left_len, left_slots) = left.parts();
    let (right_len, right_slots) = right.parts();
    let total = *left_len + *right_len;
    let target = total / 2;
    // SAFETY: initialised slots move between two arrays, inside both: each ends with half the total.
    unsafe {
        if *left_len < target {
            let moved = target - *left_len;
            let from = right_slots.as_mut_ptr();
            std::ptr::copy_nonoverlapping(from, left_slots.as_mut_ptr().add(*left_len), moved);
            std::ptr::copy(from.add(moved), from, *right_len - moved);
        } else {
            let moved = *left_len - target;
            let to = right_slots.as_mut_ptr();
            std::ptr::copy(to, to.add(moved), *right_len);
            std::ptr::copy_nonoverlapping(left_slots.as_ptr().add(target), to, moved);
        }
    }
    *left_len = target;
    *right_len = total - target;
}

impl<T> Leaf<T> {
    pub fn items(&self) -> &[T] {
        // SAFETY: the first `len` items are initialised.
        unsafe { std::slice::from_raw_parts(self.items.as_ptr().cast(), self.len) }
    }

    pub fn items_mut(&mut self) -> &mut [T] {
        // SAFETY: the first `len` items are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.items.as_mut_ptr().cast(), self.len) }
    }
}

impl<T> Inner<T> {
    pub fn children(&self) -> &[Child<T>] {
        // SAFETY: the first `len` children are initialised.
        unsafe { std::slice::from_raw_parts(self.children.as_ptr().cast(), self.len) }
    }

    pub fn children_mut(&mut self) -> &mut [Child<T>] {
        // SAFETY: the first `len` children are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.children.as_mut_ptr().cast(), self.len) }
    }

    /// The child with the item at `index` (the last one for an index at the end), and the index in it.
    #[inline]
    pub fn by_index(&self, mut index: u64) -> (usize, u64) {
        let children = self.children();
        for (at, child) in children[..children.len() - 1].iter().enumerate() {
            if index < child.count {
                return (at, index);
            }
            index -= child.count;
        }
        (children.len() - 1, index)
    }

    /// The child with the item at weight offset `offset` (the last one at the end), and the offset in it.
    #[inline]
    pub fn by_weight(&self, mut offset: u64) -> (usize, u64) {
        let children = self.children();
        for (at, child) in children[..children.len() - 1].iter().enumerate() {
            if offset < child.weight {
                return (at, offset);
            }
            offset -= child.weight;
        }
        (children.len() - 1, offset)
    }

    /// The child to look in for what `compare` seeks: the last whose first item is not beyond it.
    #[inline]
    pub fn by_order(&self, compare: &mut impl FnMut(&T) -> std::cmp::Ordering) -> usize {
        // SAFETY: `first` holds the bits of a live item: it is renewed with every change below.
        let not_beyond =
            |child: &Child<T>| unsafe { compare(child.first.assume_init_ref()) }.is_le();
        self.children()[1..].partition_point(not_beyond)
    }
}

impl<T: Item> Node<T> {
    pub fn new_leaf(epoch: u64) -> Node<T> {
        let mut leaf = Box::<Leaf<T>>::new_uninit();
        // SAFETY: epoch and length are all that is read of an empty leaf.
        unsafe {
            (*leaf.as_mut_ptr()).epoch = epoch;
            (*leaf.as_mut_ptr()).len = 0;
            Node::from_box(leaf)
        }
    }

    pub fn new_inner(epoch: u64) -> Node<T> {
        let mut inner = Box::<Inner<T>>::new_uninit();
        // SAFETY: epoch and length are all that is read of an empty node.
        unsafe {
            (*inner.as_mut_ptr()).epoch = epoch;
            (*inner.as_mut_ptr()).len = 0;
            Node::from_box(inner)
        }
    }

    pub fn new_like(height: u8, epoch: u64) -> Node<T> {
        if height == 0 {
            Node::new_leaf(epoch)
        } else {
            Node::new_inner(epoch)
        }
    }

    fn from_box<N>(node: Box<MaybeUninit<N>>) -> Node<T> {
        Node(
            NonNull::from(Box::leak(node)).cast(),
            std::marker::PhantomData,
        )
    }

    // The references below are to nodes that are alive as long as the tree or view that they hang
    // under is borrowed; `_mut` only after `own` made the node the tree's own.

    /// # Safety
    /// The node is alive for 'a and a leaf.
    #[inline]
    pub unsafe fn leaf<'a>(self) -> &'a Leaf<T> {
        // SAFETY: the caller's promise.
        unsafe { self.0.cast().as_ref() }
    }

    /// # Safety
    /// The node is alive for 'a and an inner node.
    #[inline]
    pub unsafe fn inner<'a>(self) -> &'a Inner<T> {
        // SAFETY: the caller's promise.
        unsafe { self.0.cast().as_ref() }
    }

    /// # Safety
    /// As [`Node::leaf`]; owned by the tree, and no other reference to it.
    #[inline]
    pub unsafe fn leaf_mut<'a>(self) -> &'a mut Leaf<T> {
        // SAFETY: the caller's promise.
        unsafe { self.0.cast().as_mut() }
    }

    /// # Safety
    /// As [`Node::inner`]; owned by the tree, and no other reference to it.
    #[inline]
    pub unsafe fn inner_mut<'a>(self) -> &'a mut Inner<T> {
        // SAFETY: the caller's promise.
        unsafe { self.0.cast().as_mut() }
    }

    /// Slots in use.
    ///
    /// # Safety
    /// The node is alive and of that height.
    pub unsafe fn len(self, height: u8) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            if height == 0 {
                self.leaf().len
            } else {
                self.inner().len
            }
        }
    }

    /// Itself if no snapshot sees it, else a copy in its place: the caller stores the result where it
    /// found the node.
    ///
    /// # Safety
    /// The node is alive, of that height, and reachable from one place, which the caller owns.
    #[inline]
    pub unsafe fn own(self, domain: &mut Domain, height: u8) -> Node<T> {
        // SAFETY: both kinds begin with their epoch.
        let epoch = unsafe { *self.0.cast::<u64>().as_ref() };
        if domain.is_frozen(epoch) {
            // SAFETY: the caller's promise.
            unsafe { self.copy(domain, epoch, height) }
        } else {
            self
        }
    }

    #[cold]
    unsafe fn copy(self, domain: &mut Domain, epoch: u64, height: u8) -> Node<T> {
        let copy = Node::new_like(height, domain.write_epoch());
        // SAFETY: the caller's promise; only the initialised slots are copied.
        unsafe {
            if height == 0 {
                let (from, to) = (self.leaf(), copy.leaf_mut());
                std::ptr::copy_nonoverlapping(from.items.as_ptr(), to.items.as_mut_ptr(), from.len);
                to.len = from.len;
                domain.retire(self.0, epoch, size_of::<Leaf<T>>(), free_leaf_shell::<T>);
            } else {
                let (from, to) = (self.inner(), copy.inner_mut());
                std::ptr::copy_nonoverlapping(
                    from.children.as_ptr(),
                    to.children.as_mut_ptr(),
                    from.len,
                );
                to.len = from.len;
                domain.retire(self.0, epoch, size_of::<Inner<T>>(), free_inner_shell::<T>);
            }
        }
        copy
    }

    /// Frees the node alone, at once or when no snapshot sees it: its slots have moved elsewhere.
    ///
    /// # Safety
    /// The node is alive, of that height and reachable from the tree no more.
    pub unsafe fn retire_shell(self, domain: &mut Domain, height: u8) {
        // SAFETY: the caller's promise; both kinds begin with their epoch.
        unsafe {
            let epoch = *self.0.cast::<u64>().as_ref();
            if height == 0 {
                domain.retire(self.0, epoch, size_of::<Leaf<T>>(), free_leaf_shell::<T>);
            } else {
                domain.retire(self.0, epoch, size_of::<Inner<T>>(), free_inner_shell::<T>);
            }
        }
    }

    /// Frees the subtree with its items.
    ///
    /// # Safety
    /// Given up for good; nobody sees any of it.
    pub unsafe fn free(self, height: u8) {
        // SAFETY: the caller's promise.
        unsafe {
            if height == 0 {
                let mut leaf = Box::from_raw(self.0.cast::<Leaf<T>>().as_ptr());
                for at in 0..leaf.len {
                    leaf.items[at].assume_init_read().release();
                }
                leaf.len = 0;
            } else {
                let inner = Box::from_raw(self.0.cast::<Inner<T>>().as_ptr());
                for child in inner.children() {
                    child.node.free(height - 1);
                }
            }
        }
    }

    /// The subtree as its parent keeps it: O(slots).
    ///
    /// # Safety
    /// The node is alive, of that height and not empty.
    pub unsafe fn summary(self, height: u8) -> Child<T> {
        // SAFETY: the caller's promise.
        unsafe {
            if height == 0 {
                let items = self.leaf().items();
                let weight = items.iter().map(Item::weight).sum();
                Child {
                    node: self,
                    count: items.len() as u64,
                    weight,
                    first: self.first(0),
                }
            } else {
                let children = self.inner().children();
                let count = children.iter().map(|child| child.count).sum();
                let weight = children.iter().map(|child| child.weight).sum();
                Child {
                    node: self,
                    count,
                    weight,
                    first: self.first(height),
                }
            }
        }
    }

    /// The bits of the subtree's first item.
    ///
    /// # Safety
    /// The node is alive, of that height and not empty.
    pub unsafe fn first(self, height: u8) -> MaybeUninit<T> {
        // SAFETY: the caller's promise; a bitwise copy for comparisons.
        unsafe {
            if height == 0 {
                std::ptr::from_ref(&self.leaf().items[0]).read()
            } else {
                std::ptr::from_ref(&(*self.inner().children[0].as_ptr()).first).read()
            }
        }
    }
}

/// # Safety
/// `block` is a leaf given up for good, whose items have moved elsewhere.
unsafe fn free_leaf_shell<T>(block: NonNull<u8>) {
    // SAFETY: the caller's promise. MaybeUninit items are not dropped.
    unsafe { drop(Box::from_raw(block.cast::<Leaf<T>>().as_ptr())) }
}

/// # Safety
/// `block` is an inner node given up for good.
unsafe fn free_inner_shell<T>(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { drop(Box::from_raw(block.cast::<Inner<T>>().as_ptr())) }
}
