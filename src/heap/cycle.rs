//! One collection with the world stopped: marking, asking, and (in `sweep`) freeing.
#![forbid(unsafe_code)]

use super::Heap;
use super::block::{Bit, Block};
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
    /// All blocks in use, oldest first.
    pub(super) blocks: Vec<Arc<Block>>,
    /// Objects that are marked and whose pointers are not yet followed.
    stack: Vec<(usize, &'h TypeDesc)>,
    pub(super) swept: bool,
}

impl Heap {
    /// Starts a collection.
    pub(crate) fn cycle<'h>(&'h self, _proof: &Stopped<'_>) -> Cycle<'h> {
        let blocks = std::mem::take(&mut self.books.lock().all);
        Cycle {
            heap: self,
            blocks,
            stack: Vec::new(),
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
        while let Some((start, desc)) = self.stack.pop() {
            let pointers = desc.pointers();
            pointers.for_each(start, &mut |word| self.mark(heap.word(word)));
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
        cell.block.set_shared(Bit::Finalizable, cell.index, false);
        cell.block.take_id(cell.index)
    }
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
        self.heap.books.lock().all = std::mem::take(&mut self.blocks);
    }
}
