//! One collection, with the world stopped: marking, queries about marks, and (in `sweep`) freeing.
#![forbid(unsafe_code)]

use super::Heap;
use super::block::{Bit, Block};
use super::pacing::Kept;
use super::place::Place;
use crate::base::prefetch::prefetch;
use crate::types::TypeDesc;
use crate::world::safepoint::Stopped;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A collection under way. Everything starts unmarked; what is unmarked at the sweep is freed.
///
/// Any address may be passed to it: an interior pointer stands for its object, and an address in no
/// object of the heap is ignored by `mark` and counts as marked for `is_marked`.
pub(crate) struct Marking<'h> {
    pub(super) heap: &'h Heap,
    /// All blocks in use, oldest first; the heap's books have them too.
    pub(super) blocks: Vec<Arc<Block>>,
    /// Objects that are marked and whose pointers are not yet followed.
    stack: Vec<(usize, &'h TypeDesc)>,
    /// Whether marked objects that are [`Bit::Special`] are told by [`Marking::next_special`].
    watching: bool,
    specials: Vec<usize>,
    /// Indices of the blocks with unmarked objects that have an id, as
    /// [`Marking::mark_children_of_dying`] found them.
    dying: Vec<usize>,
    pub(super) swept: bool,
    /// Bytes of cells reached from roots, once that is known.
    live_bytes: Option<usize>,
    /// External bytes of the live objects, and of all objects that are kept.
    pub(super) external: Kept,
}

/// How many objects are prefetched ahead of the one whose pointers are followed.
const COMING: usize = 8;

/// Objects that are revived to be finalized: up to 64 of one block that have the same id.
pub(crate) struct Dying<'c> {
    block: &'c Block,
    word: usize,
    /// Their cells, as bits of word number `word` of the block's bitmaps.
    cells: u64,
    /// The id that all of them have.
    pub(crate) id: NonZeroU32,
}

impl Dying<'_> {
    /// The start of each object, ascending.
    #[inline]
    pub(crate) fn starts(&self) -> impl Iterator<Item = usize> {
        cells(self.word, self.cells).map(|index| self.block.object(index))
    }

    /// The start of each object, ascending, and the word stored with its id.
    #[inline]
    pub(crate) fn starts_with_words(&self) -> impl Iterator<Item = (usize, u64)> {
        cells(self.word, self.cells)
            .map(|index| (self.block.object(index), self.block.ids.word(index)))
    }

    /// The starts of those objects that are [`Bit::Special`].
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
    pub(crate) fn marking<'h>(&'h self, stopped: &Stopped<'_>) -> Marking<'h> {
        self.close_windows(stopped);
        let blocks = self.books.lock().all.clone();
        blocks.iter().for_each(|block| block.settle_ids());
        Marking {
            heap: self,
            blocks,
            stack: Vec::new(),
            watching: self.specials_watched.load(Relaxed),
            specials: Vec::new(),
            dying: Vec::new(),
            swept: false,
            live_bytes: None,
            external: Kept::default(),
        }
    }
}

impl<'h> Marking<'h> {
    /// The heap that is collected.
    pub(crate) fn heap(&self) -> &'h Heap {
        self.heap
    }

    /// Marks the object that contains the address. Its pointers are followed by the next
    /// [`Marking::drain`].
    #[inline]
    pub(crate) fn mark(&mut self, addr: usize) {
        if let Some((start, desc)) = self.heap.mark(addr) {
            if desc.has_pointers() {
                self.stack.push((start, desc));
            }
            if self.watching {
                self.note_special(start);
            }
        }
    }

    #[cold]
    fn note_special(&mut self, start: usize) {
        let cell = self.heap.object_at(start);
        if cell.is_some_and(|cell| cell.block.get(Bit::Special, cell.index)) {
            self.specials.push(start);
        }
    }

    /// The start of an object that was marked and is [`Bit::Special`], each once, if
    /// [`Heap::watch_specials`] was called before the collection.
    pub(crate) fn next_special(&mut self) -> Option<usize> {
        self.specials.pop()
    }

    /// Marks everything that is reachable from marked objects.
    pub(crate) fn drain(&mut self) {
        let heap = self.heap;
        // A ring of prefetched objects: each is looked at only after `COMING` others, when it has
        // arrived from memory.
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
                heap.for_each_pointer(start, desc, &mut |word| self.mark(heap.word(word)));
            }
        }
    }

    /// Whether the object that contains the address was reached so far (after a drain: is
    /// reachable). True for an address in no object of the heap.
    #[inline]
    pub(crate) fn is_marked(&self, addr: usize) -> bool {
        self.heap
            .cell_at(addr)
            .is_none_or(|cell| cell.block.get(Bit::Mark, cell.index))
    }

    /// Whether no pointers are left to follow.
    pub(super) fn is_drained(&self) -> bool {
        self.stack.is_empty()
    }

    /// Calls `visit` with the start of every object that the object at `start` points to, in the
    /// order of its words, once per pointer. Pointers of the object to itself are left out: they
    /// never keep it from being finalized. The object need not be marked and is not marked by this.
    pub(crate) fn children(
        &mut self,
        start: usize,
        mut visit: impl FnMut(&mut Marking<'h>, usize),
    ) {
        let heap = self.heap;
        let Some(object) = heap.object_at(start) else {
            return;
        };
        heap.for_each_pointer(start, object.desc, &mut |word| {
            if let Some(cell) = heap.cell_at(heap.word(word))
                && cell.start() != start
            {
                visit(self, cell.start());
            }
        });
    }

    /// Marks the objects that the object at `start` points to, except itself.
    pub(crate) fn mark_children(&mut self, start: usize) {
        self.children(start, |marking, child| marking.mark(child));
    }

    /// Calls `visit` with the start of every object that has the bit and is not marked when the
    /// iteration gets to it, oldest block first, then in the order of cells. For objects of one
    /// size made by one mutator since the last collection that is the order of allocation.
    pub(crate) fn for_each_unmarked(
        &mut self,
        bit: Bit,
        mut visit: impl FnMut(&mut Marking<'h>, usize),
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

    /// Calls `visit` with the place of every unmarked object that has the bit, in the order of
    /// [`Marking::for_each_unmarked`].
    pub(crate) fn for_each_dead(&self, bit: Bit, mut visit: impl FnMut(Place)) {
        for block in self.blocks.iter().filter(|block| block.may_have(bit)) {
            for word in 0..block.words() {
                let dead = block.word(bit, word) & !block.word(Bit::Mark, word);
                cells(word, dead).for_each(|index| visit(block.place(index)));
            }
        }
    }

    /// Records that all live objects are marked: those marked from now on are kept only for
    /// finalizers.
    pub(crate) fn note_live(&mut self) {
        let bytes = |block: &Arc<Block>| block.count(Bit::Mark) * block.cell;
        self.live_bytes = Some(self.blocks.iter().map(bytes).sum());
    }

    /// Records the external bytes of the live objects, and of all objects that will be kept.
    pub(crate) fn note_external(&mut self, kept: Kept) {
        self.external = kept;
    }

    pub(super) fn live_bytes(&self) -> Option<usize> {
        self.live_bytes
    }

    /// Calls `visit` with the place of every marked object that has the bit, in the order of
    /// [`Marking::for_each_unmarked`].
    pub(crate) fn for_each_live(&self, bit: Bit, mut visit: impl FnMut(Place)) {
        for block in self.blocks.iter().filter(|block| block.may_have(bit)) {
            for word in 0..block.words() {
                let live = block.word(bit, word) & block.word(Bit::Mark, word);
                cells(word, live).for_each(|index| visit(block.place(index)));
            }
        }
    }

    /// Calls `visit` with the start of every unmarked object that has an id, the id, and the word
    /// stored with it, in the order of [`Marking::for_each_unmarked`].
    pub(crate) fn for_each_with_id(
        &mut self,
        mut visit: impl FnMut(&mut Marking<'h>, usize, NonZeroU32, u64),
    ) {
        self.for_each_unmarked(Bit::Finalizable, |marking, start| {
            if let Some((id, word)) = marking.heap.id(start) {
                visit(marking, start, id, word);
            }
        });
    }

    /// Whether the object at `start` has an id.
    pub(crate) fn has_id(&self, start: usize) -> bool {
        self.heap.id(start).is_some()
    }

    /// The type of the object at `start` in Go's syntax; empty if no object starts there.
    pub(crate) fn type_name(&self, start: usize) -> String {
        let found = self.heap.object_at(start);
        found.map_or_else(String::new, |object| object.desc.ty().to_string())
    }

    /// Removes and returns the id of the object at `start`, which is no longer finalizable.
    pub(crate) fn take_id(&mut self, start: usize) -> Option<NonZeroU32> {
        let cell = self.heap.object_at(start)?;
        cell.block.clear(Bit::Finalizable, cell.index);
        cell.block.ids.take(cell.index)
    }

    /// Marks every object whose address is stored with an id as a traced word.
    pub(crate) fn mark_words_of_ids(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        for block in &blocks {
            block
                .ids
                .for_each_reference(|word| self.mark(word as usize));
        }
        self.blocks = blocks;
    }

    /// Marks what every unmarked object with an id points to, except the object itself.
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
                        let desc = heap.desc_of(block, index);
                        heap.for_each_pointer(start, desc, &mut |word| {
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

    /// Removes the id of every unmarked object that has one, marks the object, and calls `visit`
    /// with groups of them, in the order of [`Marking::for_each_unmarked`].
    /// [`Marking::mark_children_of_dying`] must have been called: what such objects point to is
    /// marked already, so their pointers need not be followed.
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

    /// Calls `visit` with every id in the heap; with some several times if several objects have
    /// them.
    pub(crate) fn for_each_id(&self, mut visit: impl FnMut(NonZeroU32)) {
        self.blocks
            .iter()
            .for_each(|block| block.ids.for_each(&mut visit));
    }
}

/// The cells whose bits are set in word number `word` of a bitmap.
#[inline]
pub(super) fn cells(word: usize, mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(word * 64 + bit)
    })
}

impl Drop for Marking<'_> {
    /// A collection that is dropped before its sweep frees nothing; its marks are cleared.
    fn drop(&mut self) {
        if self.swept {
            return;
        }
        for block in &self.blocks {
            (0..block.words()).for_each(|word| block.set_word(Bit::Mark, word, 0));
        }
    }
}
