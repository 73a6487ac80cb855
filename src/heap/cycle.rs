//! One collection with the world stopped: marking, asking, and (in `sweep`) freeing.
#![forbid(unsafe_code)]

use super::Heap;
use super::block::{Bit, Block};
use super::find::Place;
use crate::prefetch::prefetch;
use crate::safepoint::Stopped;
use crate::types::TypeDesc;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A collection under way. Everything starts unmarked; what is unmarked at the sweep is freed.
///
/// Addresses given to it may be anything: interior pointers stand for their object, and what is in no object of the
/// heap is ignored by `mark` and counts as marked for `is_marked`.
pub(crate) struct Cycle<'h> {
    pub(super) heap: &'h Heap,
    /// All blocks in use, oldest first; the heap's books have them too.
    pub(super) blocks: Vec<Arc<Block>>,
    /// Objects that are marked and whose pointers are not yet followed.
    stack: Vec<(usize, &'h TypeDesc)>,
    /// Which of the blocks have unmarked objects with a prepared id, as [`Cycle::mark_children_of_dying`] found.
    dying: Vec<usize>,
    pub(super) swept: bool,
}

/// How many objects are fetched ahead of the one whose pointers are followed.
const COMING: usize = 8;

/// Neighbours that are revived, to be finalized: up to 64 objects of one block for which one id was prepared.
pub(crate) struct Dying<'c> {
    block: &'c Block,
    word: usize,
    /// Which cells of the word.
    cells: u64,
    /// The id.
    pub(crate) id: NonZeroU32,
}

impl Dying<'_> {
    /// Where they start, ascending.
    #[inline]
    pub(crate) fn starts(&self) -> impl Iterator<Item = usize> {
        cells(self.word, self.cells).map(|index| self.block.object(index))
    }

    /// Where those of them start of which something else must be decided.
    pub(crate) fn specials(&self) -> impl Iterator<Item = usize> {
        let special = match self.block.may_have(Bit::Special) {
            true => self.cells & self.block.word(Bit::Special, self.word),
            false => 0,
        };
        cells(self.word, special).map(|index| self.block.object(index))
    }
}

impl Heap {
    /// Starts a collection.
    pub(crate) fn cycle<'h>(&'h self, _proof: &Stopped<'_>) -> Cycle<'h> {
        let blocks = self.books.lock().all.clone();
        blocks.iter().for_each(|block| block.settle_prepared());
        Cycle {
            heap: self,
            blocks,
            stack: Vec::new(),
            dying: Vec::new(),
            swept: false,
        }
    }
}

impl<'h> Cycle<'h> {
    /// What is collected.
    pub(crate) fn heap(&self) -> &'h Heap {
        self.heap
    }

    /// Marks the object an address is in. Its pointers are followed by the next [`Cycle::drain`].
    #[inline]
    pub(crate) fn mark(&mut self, addr: usize) {
        if let Some((start, desc)) = self.heap.mark(addr)
            && !desc.pointers().is_empty()
        {
            self.stack.push((start, desc));
        }
    }

    /// Marks everything that can be reached from what is marked.
    pub(crate) fn drain(&mut self) {
        let heap = self.heap;
        // Objects on their way from memory: each waits here for as many others as there are places.
        let mut coming = [None; COMING];
        let mut at = 0;
        let mut empty = 0;
        while empty < COMING || !self.stack.is_empty() {
            let next = self.stack.pop();
            empty = if next.is_some() { 0 } else { empty + 1 };
            if let Some((start, _)) = next {
                prefetch(start);
            }
            let object: Option<(usize, &TypeDesc)> = std::mem::replace(&mut coming[at], next);
            at = (at + 1) % COMING;
            if let Some((start, desc)) = object {
                let pointers = desc.pointers();
                pointers.for_each(start, &mut |word| self.mark(heap.word(word)));
            }
        }
    }

    /// Whether the object an address is in was reached so far (after a drain: is reachable).
    #[inline]
    pub(crate) fn is_marked(&self, addr: usize) -> bool {
        self.heap
            .cell_at(addr)
            .is_none_or(|cell| cell.block.get(Bit::Mark, cell.index))
    }

    /// Nothing is left to follow.
    pub(super) fn is_drained(&self) -> bool {
        self.stack.is_empty()
    }

    /// Calls `visit` with the start of every object that the object at `start` points to, in the order of its
    /// words, once per pointer. A pointer to itself is left out: it never keeps an object from being finalized.
    /// The object need not be marked and is not marked by this.
    pub(crate) fn children(&mut self, start: usize, mut visit: impl FnMut(&mut Cycle<'h>, usize)) {
        let heap = self.heap;
        let Some(object) = heap.object_at(start) else {
            return;
        };
        object.desc.pointers().for_each(start, &mut |word| {
            if let Some(cell) = heap.cell_at(heap.word(word))
                && cell.start() != start
            {
                visit(self, cell.start());
            }
        });
    }

    /// Marks what the object at `start` points to, itself excepted.
    pub(crate) fn mark_children(&mut self, start: usize) {
        self.children(start, |cycle, child| cycle.mark(child));
    }

    /// Calls `visit` with the start of every object that has the bit and is not marked when its turn comes, oldest
    /// block first, then in the order of cells. For objects of one size made by one mutator since the last
    /// collection that is the order of allocation.
    pub(crate) fn for_each_unmarked(
        &mut self,
        bit: Bit,
        mut visit: impl FnMut(&mut Cycle<'h>, usize),
    ) {
        for at in 0..self.blocks.len() {
            if !self.blocks[at].may_have(bit) {
                continue;
            }
            let block = Arc::clone(&self.blocks[at]);
            for word in 0..block.words() {
                let mut rest = block.word(bit, word);
                while rest != 0 {
                    let index = word * 64 + rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    if !block.get(Bit::Mark, index) {
                        visit(self, block.object(index));
                    }
                }
            }
        }
    }

    /// Calls `visit` with the place of every object that has the bit and is not marked; order as above.
    pub(crate) fn for_each_dead(&self, bit: Bit, mut visit: impl FnMut(Place)) {
        for block in self.blocks.iter().filter(|block| block.may_have(bit)) {
            for word in 0..block.words() {
                let dead = block.word(bit, word) & !block.word(Bit::Mark, word);
                cells(word, dead).for_each(|index| visit(block.place(index)));
            }
        }
    }

    /// Calls `visit` with every unmarked object that has a prepared id, and the id; order as above.
    pub(crate) fn for_each_dying(
        &mut self,
        mut visit: impl FnMut(&mut Cycle<'h>, usize, NonZeroU32),
    ) {
        self.for_each_unmarked(Bit::Finalizable, |cycle, start| {
            if let Some(id) = cycle.heap.prepared(start) {
                visit(cycle, start, id);
            }
        });
    }

    /// Whether the object at `start` has a prepared id.
    pub(crate) fn prepared(&self, start: usize) -> bool {
        self.heap.prepared(start).is_some()
    }

    /// The type of the object at `start`, in words.
    pub(crate) fn type_name(&self, start: usize) -> String {
        let found = self.heap.object_at(start);
        found.map_or_else(String::new, |object| object.desc.ty().to_string())
    }

    /// Takes the prepared id of the object at `start`: it is finalizable no longer.
    pub(crate) fn take_prepared(&mut self, start: usize) -> Option<NonZeroU32> {
        let cell = self.heap.object_at(start)?;
        cell.block.clear(Bit::Finalizable, cell.index);
        cell.block.ids.take(cell.index)
    }

    /// Marks what every unmarked object with a prepared id points to, itself excepted.
    pub(crate) fn mark_children_of_dying(&mut self) {
        let (heap, blocks) = (self.heap, std::mem::take(&mut self.blocks));
        for (at, block) in blocks.iter().enumerate() {
            if !block.has_dying() {
                continue;
            }
            self.dying.push(at);
            if block.ids.are_leaves() || heap.are_leaves(block) {
                continue;
            }
            for word in 0..block.words() {
                let dying = block.word(Bit::Finalizable, word) & !block.word(Bit::Mark, word);
                for index in cells(word, dying) {
                    let id = block.ids.get(index);
                    if id.is_some_and(|id| !id.is_leaf()) {
                        let start = block.object(index);
                        let pointers = heap.desc_of(block, index).pointers();
                        pointers.for_each(start, &mut |word| {
                            let to = heap.word(word);
                            if heap.find(to).is_some_and(|(found, _)| found != start) {
                                self.mark(to);
                            }
                        });
                    }
                }
            }
        }
        self.blocks = blocks;
    }

    /// Takes the id of every unmarked object that has one, and marks the object; order as in
    /// [`Cycle::for_each_unmarked`]. What such an object points to is marked already
    /// ([`Cycle::mark_children_of_dying`], which must have been called), so nothing of it is left to follow.
    pub(crate) fn revive_dying(&mut self, mut visit: impl FnMut(&Dying<'_>)) {
        for block in self.dying.iter().map(|&at| &self.blocks[at]) {
            for word in 0..block.words() {
                let finalizable = block.word(Bit::Finalizable, word);
                let marked = block.word(Bit::Mark, word);
                let dying = finalizable & !marked;
                let (mut rest, mut revived) = (dying, 0);
                while rest != 0 {
                    let (id, looked_at) = block.ids.take_alike(word, rest);
                    rest &= !looked_at;
                    if let Some(id) = id {
                        revived |= looked_at;
                        visit(&Dying {
                            block,
                            word,
                            cells: looked_at,
                            id,
                        });
                    }
                }
                block.set_word(Bit::Finalizable, word, finalizable & !dying);
                block.set_word(Bit::Mark, word, marked | revived);
            }
        }
    }

    /// Calls `visit` with every prepared id, several times if several objects have it.
    pub(crate) fn for_each_id(&self, mut visit: impl FnMut(NonZeroU32)) {
        self.blocks
            .iter()
            .for_each(|block| block.ids.for_each(&mut visit));
    }
}

/// The cells of a word of bits.
#[inline]
pub(super) fn cells(word: usize, mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(word * 64 + bit)
    })
}

impl Drop for Cycle<'_> {
    /// A collection that was given up frees nothing.
    fn drop(&mut self) {
        if self.swept {
            return;
        }
        for block in &self.blocks {
            (0..block.words()).for_each(|word| block.set_word(Bit::Mark, word, 0));
        }
    }
}
