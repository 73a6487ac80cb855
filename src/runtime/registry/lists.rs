//! What belongs to objects and is kept outside the heap: a list of values for each object, oldest
//! first, found by the object's place in the heap.
//!
//! Nodes are 16 bytes and their value. They lie in one table, and free ones are reused. Lists are
//! circular and doubly linked, so that a node is unlinked without a search. When the first object
//! of a heap block gets a list, the block gets an array with the first node of each cell's list. So
//! walking the lists of dead objects in the order of cells reads two arrays from beginning to end.
#![forbid(unsafe_code)]

use crate::heap::Place;

/// No node. Node 0 is never used.
const NONE: u32 = 0;
/// A table of up to twice as many nodes is never trimmed.
const FEW: usize = 1 << 12;

/// Identifies one value, also when it is gone: no other value gets the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    node: u32,
    /// Different for all values; 0 for none.
    id: u64,
}

impl Name {
    /// The name of no value.
    pub(super) const NOTHING: Name = Name { node: NONE, id: 0 };

    /// The id of the value, if it is the name of one.
    pub(super) fn id(self) -> Option<u64> {
        (self.node != NONE).then_some(self.id)
    }
}

#[derive(Debug)]
pub(super) struct Lists<T> {
    /// The lists of each heap block, by the block's number.
    blocks: Vec<Heads>,
    nodes: Vec<Node<T>>,
    /// The first of the free nodes that were used, linked by `next`.
    free: u32,
    /// This node and those after it are free as well, and not linked.
    unused: u32,
    live: usize,
    last: u64,
    /// A bit for each node: whether its value refers to objects.
    referring: Vec<u64>,
    /// How many of these bits are set.
    referring_count: usize,
    /// Most nodes in use at a time since the last [`Lists::settle`].
    most: usize,
    /// The same for the time before, where older peaks count less and less.
    wanted: usize,
}

/// The first node of each cell's list.
#[derive(Debug, Default)]
struct Heads {
    first: Box<[u32]>,
    /// How many lists are not empty.
    count: usize,
}

#[derive(Debug)]
pub(super) struct Node<T> {
    value: Option<T>,
    /// 0: free.
    id: u64,
    next: u32,
    previous: u32,
}

impl<T> Node<T> {
    const FREE: Node<T> = Node {
        value: None,
        id: 0,
        next: NONE,
        previous: NONE,
    };
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Lists {
            blocks: Vec::new(),
            nodes: vec![Node::FREE],
            free: NONE,
            unused: 1,
            live: 0,
            last: 0,
            referring: Vec::new(),
            referring_count: 0,
            most: 0,
            wanted: 0,
        }
    }
}

impl<T> Lists<T> {
    /// Adds a value to the end of an object's list. `refers`: whether [`Lists::for_each_referring`]
    /// visits it.
    #[inline]
    pub(super) fn push(&mut self, of: Place, value: T, refers: bool) -> Name {
        self.last += 1;
        self.put(of, self.last, value, refers)
    }

    /// Adds a value again that was taken, and had this id.
    pub(super) fn put_back(&mut self, of: Place, id: u64, value: T, refers: bool) {
        debug_assert!(id <= self.last);
        self.put(of, id, value, refers);
    }

    #[inline]
    fn put(&mut self, of: Place, id: u64, value: T, refers: bool) -> Name {
        let node = self.take_node();
        let heads = self.heads(of);
        let first = heads.first[usize::from(of.cell)];
        let (next, previous) = if first == NONE {
            heads.first[usize::from(of.cell)] = node;
            heads.count += 1;
            (node, node)
        } else {
            let last = std::mem::replace(&mut self.nodes[first as usize].previous, node);
            self.nodes[last as usize].next = node;
            (first, last)
        };
        let place = &mut self.nodes[node as usize];
        // A free node has no value. Forgetting the old one saves a check of whether it has to be
        // dropped.
        std::mem::forget(place.value.replace(value));
        (place.id, place.next, place.previous) = (id, next, previous);
        self.live += 1;
        self.most = self.most.max(self.live);
        if refers {
            self.set_referring(node);
        }
        Name { node, id }
    }

    #[inline]
    fn take_node(&mut self) -> u32 {
        if self.free != NONE {
            let next = self.nodes[self.free as usize].next;
            return std::mem::replace(&mut self.free, next);
        }
        let node = self.unused;
        if self.nodes.len() == node as usize {
            self.make_node();
        }
        // 2^32 nodes are 160 GiB of table.
        self.unused = match node.checked_add(1) {
            Some(next) => next,
            None => unreachable!("more than 2^32 cleanups and weak pointers"),
        };
        node
    }

    #[inline(never)]
    fn make_node(&mut self) {
        self.nodes.push(Node::FREE);
    }

    #[inline]
    fn heads(&mut self, of: Place) -> &mut Heads {
        let (block, cells) = (of.block as usize, usize::from(of.cells));
        let there = self.blocks.get(block);
        if there.is_none_or(|heads| heads.first.len() != cells) {
            self.make_heads(block, cells);
        }
        &mut self.blocks[block]
    }

    #[cold]
    fn make_heads(&mut self, block: usize, cells: usize) {
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, Heads::default);
        }
        debug_assert_eq!(self.blocks[block].count, 0);
        self.blocks[block].first = vec![NONE; cells].into_boxed_slice();
    }

    /// The first node of an object's list.
    #[inline]
    fn first(&self, of: Place) -> u32 {
        let heads = self.blocks.get(of.block as usize);
        let heads = heads.filter(|heads| heads.first.len() == usize::from(of.cells));
        let first = heads.and_then(|heads| heads.first.get(usize::from(of.cell)));
        first.copied().unwrap_or(NONE)
    }

    /// The values of an object, oldest first.
    pub(super) fn of(&self, of: Place) -> impl Iterator<Item = &T> {
        self.of_with_ids(of).map(|(_, value)| value)
    }

    /// The values of an object with their ids, oldest first.
    pub(super) fn of_with_ids(&self, of: Place) -> impl Iterator<Item = (u64, &T)> {
        let first = self.first(of);
        let mut next = first;
        std::iter::from_fn(move || {
            if next == NONE {
                return None;
            }
            let node = &self.nodes[next as usize];
            next = if node.next == first { NONE } else { node.next };
            node.value.as_ref().map(|value| (node.id, value))
        })
    }

    /// Has the next value get this id, which is greater than those before.
    pub(super) fn count_from(&mut self, id: u64) {
        debug_assert!(id > self.last);
        self.last = id - 1;
    }

    /// Removes and returns the value of an object that has this id.
    pub(super) fn remove_id(&mut self, of: Place, id: u64) -> Option<T> {
        let first = self.first(of);
        let mut node = first;
        while node != NONE && self.nodes[node as usize].id != id {
            node = self.nodes[node as usize].next;
            if node == first {
                return None;
            }
        }
        self.remove(of, Name { node, id })
    }

    /// Removes and returns one value of an object, if it is still in its list.
    #[inline]
    pub(super) fn remove(&mut self, of: Place, name: Name) -> Option<T> {
        let node = self.nodes.get(name.node as usize)?;
        if name.node == NONE || node.id != name.id {
            return None;
        }
        self.unlink(of, name.node);
        self.release(name.node)
    }

    /// Removes those values of an object for which `wanted` returns true, and passes them to
    /// `taken` with their ids, oldest first.
    pub(super) fn take_if(
        &mut self,
        of: Place,
        wanted: impl Fn(&T) -> bool,
        mut taken: impl FnMut(u64, T),
    ) {
        let mut node = self.first(of);
        let last = self.nodes[node as usize].previous;
        while node != NONE {
            let Node {
                value, next, id, ..
            } = &self.nodes[node as usize];
            let (next, id) = (if node == last { NONE } else { *next }, *id);
            if value.as_ref().is_some_and(&wanted) {
                self.unlink(of, node);
                if let Some(value) = self.release(node) {
                    taken(id, value);
                }
            }
            node = next;
        }
    }

    /// Removes all values of an object, and passes them to `taken` with their ids, oldest first.
    #[inline]
    pub(super) fn take_all(&mut self, of: Place, mut taken: impl FnMut(u64, T)) {
        let Some(heads) = self.blocks.get_mut(of.block as usize) else {
            return;
        };
        let Some(first) = heads.first.get_mut(usize::from(of.cell)) else {
            return;
        };
        let first = std::mem::replace(first, NONE);
        if first == NONE {
            return;
        }
        heads.count -= 1;
        let mut node = first;
        loop {
            let Node { next, id, .. } = self.nodes[node as usize];
            if let Some(value) = self.release(node) {
                taken(id, value);
            }
            node = next;
            if node == first {
                return;
            }
        }
    }

    /// Calls `visit` with every value.
    pub(super) fn for_each(&self, visit: impl FnMut(&T)) {
        let values = self.nodes.iter().filter_map(|node| node.value.as_ref());
        values.for_each(visit);
    }

    /// Calls `visit` with every value that refers to objects.
    pub(super) fn for_each_referring(&self, mut visit: impl FnMut(&T)) {
        if self.referring_count == 0 {
            return;
        }
        for (word, &bits) in self.referring.iter().enumerate() {
            let mut rest = bits;
            while rest != 0 {
                let node = word * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                self.nodes[node].value.iter().for_each(&mut visit);
            }
        }
    }

    #[cold]
    fn set_referring(&mut self, node: u32) {
        let (word, bit) = (node as usize / 64, node % 64);
        if self.referring.len() <= word {
            self.referring.resize(word + 1, 0);
        }
        self.referring[word] |= 1 << bit;
        self.referring_count += 1;
    }

    #[cold]
    fn forget_referring(&mut self, node: u32) {
        let (word, mask) = (node as usize / 64, 1 << (node % 64));
        if let Some(word) = self.referring.get_mut(word)
            && *word & mask != 0
        {
            *word &= !mask;
            self.referring_count -= 1;
        }
    }

    #[inline]
    fn unlink(&mut self, of: Place, node: u32) {
        let Node { next, previous, .. } = self.nodes[node as usize];
        let heads = &mut self.blocks[of.block as usize];
        let first = &mut heads.first[usize::from(of.cell)];
        if next == node {
            *first = NONE;
            heads.count -= 1;
            return;
        }
        if *first == node {
            *first = next;
        }
        self.nodes[next as usize].previous = previous;
        self.nodes[previous as usize].next = next;
    }

    /// Frees a node that is in no list.
    #[inline]
    fn release(&mut self, at: u32) -> Option<T> {
        let node = &mut self.nodes[at as usize];
        let value = node.value.take();
        (node.id, node.next) = (0, self.free);
        self.free = at;
        self.live -= 1;
        if self.live == 0 {
            // All nodes are free: they are handed out in the order of their addresses again.
            (self.free, self.unused) = (NONE, 1);
        }
        if self.referring_count > 0 {
            self.forget_referring(at);
        }
        value
    }

    /// Frees memory that is no longer needed. Called once in a collection.
    pub(super) fn settle(&mut self) {
        for heads in &mut self.blocks {
            if heads.count == 0 && !heads.first.is_empty() {
                *heads = Heads::default();
            }
        }
        let last = self.blocks.iter().rposition(|heads| heads.count > 0);
        self.blocks.truncate(last.map_or(0, |last| last + 1));
        self.wanted = (self.wanted - self.wanted.div_ceil(8)).max(self.most);
        self.most = self.live;
        if self.nodes.len() / 2 > self.wanted.max(FEW) {
            self.trim();
        }
    }

    /// Removes the free nodes at the end of the table, if they are at least half of it.
    fn trim(&mut self) {
        let used = |node: &Node<T>| node.id != 0;
        let end = self.nodes.iter().rposition(used).map_or(1, |last| last + 1);
        if end > self.nodes.len() / 2 {
            return;
        }
        self.nodes.truncate(end.max(self.wanted));
        self.nodes.shrink_to_fit();
        self.referring.truncate(self.nodes.len().div_ceil(64));
        self.referring.shrink_to_fit();
        (self.free, self.unused) = (NONE, end as u32);
        for at in (1..end).rev() {
            let node = &mut self.nodes[at];
            if node.id == 0 {
                node.next = self.free;
                self.free = at as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests;
