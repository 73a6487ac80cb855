//! One block: its cells, and four bits for each of them.
//!
//! The bits of one cell are in four neighbouring words, so that looking at an object touches one
//! cache line. `Used` and the cursor are written by the mutator that owns the block, or by the
//! sweep; `Mark` and `Finalizable` by the collector; `Special` by one thread at a time, and by the
//! sweep.
//!
//! `Finalizable` is computed from the block's [`Ids`] when a collection starts.
#![forbid(unsafe_code)]

use super::class::{BLOCK, CLASSES, FIRST, HEADER};
use super::ids::{CellId, Ids};
use super::place::Place;
use super::window::Window;
use crate::types::TypeDesc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::*};

/// The bits that the heap keeps for each cell.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Bit {
    /// The cell holds an object.
    Used = 0,
    /// The object was reached in this collection.
    Mark = 1,
    /// The object has an id, or had one that was removed since the bit was computed. Up to date
    /// only during a collection.
    Finalizable = 2,
    /// Something besides an id is registered for the object (such as cleanups or weak pointers),
    /// which must be decided when it dies.
    Special = 3,
}

const KINDS: usize = 4;

/// In `Block::only`: no object was made in the block yet.
const NO_TYPE: u64 = 0;
/// In `Block::only`: objects of several types were made.
const TYPES: u64 = 1;

/// Cells of one size. A large object is one cell over several blocks.
#[derive(Debug)]
pub(super) struct Block {
    /// Address of the (first) block.
    pub(super) start: usize,
    /// Index of the (first) block in the arena.
    pub(super) index: usize,
    /// Blocks it covers.
    pub(super) span: usize,
    /// Bytes of a cell, header included.
    pub(super) cell: usize,
    pub(super) cells: usize,
    /// The list of `Books::partial` that holds this block while it has free cells and no owner;
    /// `None`: the block is one large object.
    pub(super) pool: Option<usize>,
    /// `ceil(2^32 / cell)`, 0 for a large object: a multiplication finds the cell of an offset.
    inverse: u64,
    /// The header that all objects have, [`NO_TYPE`] before the first, [`TYPES`] when they differ.
    /// With it an object's type is known without touching the object. Written by the block's owner,
    /// before the `Used` bit of the object concerned.
    only: AtomicU64,
    /// No cell ever held anything, so all of them are zero.
    pub(super) fresh: AtomicBool,
    /// Free cells before this one were handed out since the last sweep.
    cursor: AtomicU32,
    bits: Box<[AtomicU64]>,
    pub(super) ids: Ids,
    /// Whether any cell is or was `Special`.
    special: AtomicBool,
    /// The window that has objects in this block which no one has taken; null if there are none.
    window: AtomicPtr<Window>,
}

impl Block {
    /// A block of cells of this class. `implied`: the id that all its objects have from the
    /// beginning.
    pub(super) fn of_class(
        (start, index): (usize, usize),
        class: usize,
        pool: usize,
        fresh: bool,
        implied: Option<CellId>,
    ) -> Block {
        let cell = usize::from(CLASSES[class]);
        let inverse = (1u64 << 32).div_ceil(cell as u64);
        let cells = (BLOCK - FIRST) / cell;
        Block {
            inverse,
            pool: Some(pool),
            ..Block::new((start, index), 1, (cell, cells), fresh, implied)
        }
    }

    /// One large object's block, which covers `span` blocks of the arena.
    pub(super) fn large(
        at: (usize, usize),
        span: usize,
        fresh: bool,
        implied: Option<CellId>,
    ) -> Block {
        Block::new(at, span, (span * BLOCK - FIRST, 1), fresh, implied)
    }

    fn new(
        (start, index): (usize, usize),
        span: usize,
        (cell, cells): (usize, usize),
        fresh: bool,
        implied: Option<CellId>,
    ) -> Block {
        Block {
            start,
            index,
            span,
            cell,
            cells,
            pool: None,
            inverse: 0,
            only: AtomicU64::new(NO_TYPE),
            fresh: AtomicBool::new(fresh),
            cursor: AtomicU32::new(0),
            bits: (0..cells.div_ceil(64) * KINDS)
                .map(|_| AtomicU64::new(0))
                .collect(),
            ids: Ids::new(cells, implied),
            special: AtomicBool::new(false),
            window: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// The window that may have objects in this block which no one has taken, or null. What it
    /// says holds also for a thread that sees a bit which was set, or cleared, after it.
    #[inline]
    pub(super) fn window(&self) -> *const Window {
        self.window.load(Acquire)
    }

    /// Only for the block's owner, and with the world stopped.
    pub(super) fn set_window(&self, window: *const Window) {
        self.window.store(window.cast_mut(), Release);
    }

    /// Records the header of an object before it is made. Only for the block's owner.
    #[inline]
    pub(super) fn announce(&self, header: u64) {
        let only = self.only.load(Relaxed);
        if only != header && only != TYPES {
            let differs = only != NO_TYPE;
            self.only
                .store(if differs { TYPES } else { header }, Relaxed);
        }
    }

    /// The header that all objects in the block have; `None` if they differ, or there are none.
    #[inline]
    pub(super) fn common_header(&self) -> Option<u64> {
        Some(self.only.load(Relaxed)).filter(|only| *only > TYPES)
    }

    /// Bytes that a cell has for its object.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.cell - HEADER
    }

    /// Bytes of an object of this type in a cell of this block.
    #[inline]
    pub(super) fn extent(&self, desc: &TypeDesc) -> usize {
        match desc.tail() {
            None => desc.size(),
            // The value, if there is no room for an element.
            Some(tail) => {
                let bytes = tail.bytes(tail.capacity(self.room()));
                bytes.map_or(0, |bytes| bytes.min(self.room()).max(desc.size()))
            }
        }
    }

    /// Words of each bitmap.
    pub(super) fn words(&self) -> usize {
        self.bits.len() / KINDS
    }

    /// Address of the object in cell `index`.
    #[inline]
    pub(super) fn object(&self, index: usize) -> usize {
        self.start + FIRST + HEADER + index * self.cell
    }

    /// Address of the header of cell `index`.
    #[inline]
    pub(super) fn header(&self, index: usize) -> usize {
        self.start + FIRST + index * self.cell
    }

    /// The cell of an address of this block and the address's offset in its object; `None`: the
    /// address is in a header, before the first or behind the last cell.
    #[inline]
    pub(super) fn cell_of(&self, addr: usize) -> Option<(usize, usize)> {
        let offset = addr.wrapping_sub(self.start).checked_sub(FIRST)?;
        // Exact: the error of the inverse is below `cell`, and an offset is below 2^16 where the
        // inverse is not 0.
        let index = (offset as u64).wrapping_mul(self.inverse) as usize >> 32;
        let inside = (offset - index * self.cell).checked_sub(HEADER)?;
        (index < self.cells).then_some((index, inside))
    }

    /// The place of cell `index`.
    #[inline]
    pub(super) fn place(&self, index: usize) -> Place {
        // A heap has at most 2^24 blocks, and a block 4095 cells.
        Place {
            block: self.index as u32,
            cell: index as u16,
            cells: self.cells as u16,
        }
    }

    #[inline]
    fn word_of(&self, bit: Bit, word: usize) -> &AtomicU64 {
        &self.bits[word * KINDS + bit as usize]
    }

    /// The bits of 64 cells, from cell `64 * word`.
    #[inline]
    pub(super) fn word(&self, bit: Bit, word: usize) -> u64 {
        self.word_of(bit, word).load(Acquire)
    }

    /// Replaces the bits of 64 cells. Only with the world stopped.
    pub(super) fn set_word(&self, bit: Bit, word: usize, value: u64) {
        self.word_of(bit, word).store(value, Relaxed);
    }

    #[inline]
    pub(super) fn get(&self, bit: Bit, index: usize) -> bool {
        self.word(bit, index / 64) >> (index % 64) & 1 != 0
    }

    /// Sets a bit that only the calling thread may write now (`Used` as the owner, `Mark` as the
    /// collector, `Special` by mutual exclusion). Returns whether it was clear.
    #[inline]
    pub(super) fn set_owned(&self, bit: Bit, index: usize) -> bool {
        let (word, mask) = (self.word_of(bit, index / 64), 1 << (index % 64));
        let old = word.load(Relaxed);
        // Release: a thread that sees the bit `Used` sees the header and the zeroed payload.
        word.store(old | mask, Release);
        old & mask == 0
    }

    /// As [`Block::set_owned`], for `count` cells from `first`.
    pub(super) fn set_owned_run(&self, bit: Bit, first: usize, count: usize) {
        for (word, mask) in masks(first, count) {
            let word = self.word_of(bit, word);
            word.store(word.load(Relaxed) | mask, Release);
        }
    }

    /// Clears a bit of `count` cells from `first`. Only for a thread that may set it.
    pub(super) fn clear_run(&self, bit: Bit, first: usize, count: usize) {
        for (word, mask) in masks(first, count) {
            let word = self.word_of(bit, word);
            word.store(word.load(Relaxed) & !mask, Release);
        }
    }

    /// Whether any cell may have the bit.
    #[inline]
    pub(super) fn may_have(&self, bit: Bit) -> bool {
        match bit {
            Bit::Used | Bit::Mark => true,
            Bit::Finalizable => self.ids.are_there(),
            Bit::Special => self.special.load(Relaxed),
        }
    }

    /// Sets the bit `Special`. Only by one thread at a time.
    #[inline]
    pub(super) fn set_special(&self, index: usize) {
        if self.set_owned(Bit::Special, index) {
            self.special.store(true, Relaxed);
        }
    }

    /// Clears a bit. Only with the world stopped.
    pub(super) fn clear(&self, bit: Bit, index: usize) {
        let bits = self.word(bit, index / 64);
        self.set_word(bit, index / 64, bits & !(1 << (index % 64)));
    }

    /// Number of cells that have the bit.
    pub(super) fn count(&self, bit: Bit) -> usize {
        (0..self.words())
            .map(|word| self.word(bit, word).count_ones() as usize)
            .sum()
    }

    /// Takes the next run of free cells: its first cell and their number. `None`: no free cell is
    /// left. Only for the block's owner.
    pub(super) fn next_run(&self) -> Option<(usize, usize)> {
        let from = self.skip(self.cursor.load(Relaxed) as usize, true);
        if from >= self.cells {
            return None;
        }
        let to = self.skip(from, false).min(self.cells);
        self.cursor.store(to as u32, Relaxed);
        Some((from, to - from))
    }

    /// Sets the cell from which the next run is searched.
    pub(super) fn set_cursor(&self, cell: usize) {
        self.cursor.store(cell as u32, Relaxed);
    }

    /// The first cell at or after `from` whose bit `Used` is not `used`; may be behind the last
    /// cell.
    fn skip(&self, mut from: usize, used: bool) -> usize {
        while from < self.cells {
            let bits = self.word(Bit::Used, from / 64);
            let wanted = if used { !bits } else { bits } >> (from % 64);
            if wanted != 0 {
                return from + wanted.trailing_zeros() as usize;
            }
            from = (from / 64 + 1) * 64;
        }
        from
    }

    /// Computes which cells are `Finalizable`. Only with the world stopped.
    pub(super) fn settle_ids(&self) {
        self.ids.settle(
            self.words(),
            |word| self.word(Bit::Used, word),
            |word, bits| self.set_word(Bit::Finalizable, word, bits),
        );
    }

    /// Number of objects that have an id.
    pub(super) fn count_ids(&self) -> usize {
        self.ids
            .count(self.words(), |word| self.word(Bit::Used, word))
    }

    /// Whether an unmarked object of the block is finalizable.
    #[inline]
    pub(super) fn has_dying(&self) -> bool {
        self.ids.are_there()
            && self.bits.chunks_exact(KINDS).any(|bits| {
                let [finalizable, marked] =
                    [Bit::Finalizable, Bit::Mark].map(|bit| bits[bit as usize].load(Relaxed));
                finalizable & !marked != 0
            })
    }

    /// Bytes of memory that the block's own tables take.
    pub(super) fn table_bytes(&self) -> usize {
        size_of::<Block>() + size_of_val(&*self.bits) + self.ids.bytes()
    }
}

/// The words of a bitmap that have the bits of `count` cells from `first`, and those bits.
fn masks(first: usize, count: usize) -> impl Iterator<Item = (usize, u64)> {
    let (mut from, to) = (first, first + count);
    std::iter::from_fn(move || {
        let many = (64 - from % 64).min(to - from);
        let mask = (many > 0).then(|| (u64::MAX >> (64 - many)) << (from % 64))?;
        let word = from / 64;
        from += many;
        Some((word, mask))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_divides_exactly() {
        for class in 0..CLASSES.len() {
            let block = Block::of_class((0x10000, 0), class, class, true, None);
            for offset in 0..BLOCK {
                let want = offset.checked_sub(FIRST).and_then(|at| {
                    let (index, inside) = (at / block.cell, at % block.cell);
                    (index < block.cells && inside >= HEADER).then(|| (index, inside - HEADER))
                });
                assert_eq!(
                    block.cell_of(0x10000 + offset),
                    want,
                    "class {class}, offset {offset}"
                );
            }
        }
    }

    #[test]
    fn bits_of_a_run_are_set_and_cleared_and_no_others() {
        for (first, count) in [
            (0, 1),
            (0, 64),
            (3, 61),
            (63, 2),
            (5, 200),
            (64, 128),
            (7, 0),
        ] {
            let block = Block::of_class((0, 0), 0, 0, true, None);
            block.set_owned(Bit::Used, 300);
            block.set_owned_run(Bit::Used, first, count);
            let is_set = |cell| (first..first + count).contains(&cell) || cell == 300;
            assert!((0..4095).all(|cell| block.get(Bit::Used, cell) == is_set(cell)));
            block.set_owned_run(Bit::Used, 0, 300);
            block.clear_run(Bit::Used, first, count);
            let is_set = |cell| cell <= 300 && !(first..first + count).contains(&cell);
            assert!((0..4095).all(|cell| block.get(Bit::Used, cell) == is_set(cell)));
        }
    }

    #[test]
    fn runs_go_round_used_cells() {
        let block = Block::of_class((0, 0), 0, 0, true, None);
        let used = [0, 1, 63, 64, 65, 200, 4094];
        for &cell in &used {
            assert!(block.set_owned(Bit::Used, cell));
        }
        let runs: Vec<_> = std::iter::from_fn(|| block.next_run()).collect();
        assert_eq!(runs, [(2, 61), (66, 134), (201, 3893)]);
        assert_eq!(
            block.cells - block.count(Bit::Used),
            runs.iter().map(|run| run.1).sum::<usize>()
        );
    }
}
