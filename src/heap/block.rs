//! One block's side of the story: which cells it has, and four bits for each of them.
//!
//! The bits of one cell lie in four neighbouring words, so that looking at an object touches one cache line.
//! `Used` and the cursor are written by the mutator that owns the block, or by the sweep; `Mark` by the collector;
//! the other two by anybody.
#![forbid(unsafe_code)]

use super::class::{BLOCK, CLASSES, FIRST, HEADER};
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::*};

/// What the heap knows of a cell besides its contents.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Bit {
    /// An object is in it.
    Used = 0,
    /// The object was reached in this collection.
    Mark = 1,
    /// The object may have a prepared id (it is 0 when the finalizer was cleared since).
    Finalizable = 2,
    /// The object has something else that must be decided when it dies (cleanups, weak handles).
    Special = 3,
}

const KINDS: usize = 4;

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
    /// `None`: one large object.
    pub(super) class: Option<usize>,
    /// `ceil(2^32 / cell)`, 0 for a large object: a multiplication finds the cell of an offset.
    inverse: u64,
    /// The cells never held anything: no need to zero them.
    pub(super) fresh: AtomicBool,
    /// Cells before this one were handed out since the last sweep, as far as they were free.
    cursor: AtomicU32,
    bits: Box<[AtomicU64]>,
    ids: OnceLock<Box<[AtomicU32]>>,
}

impl Block {
    pub(super) fn of_class(start: usize, index: usize, class: usize, fresh: bool) -> Block {
        let cell = usize::from(CLASSES[class]);
        Block::new(
            start,
            index,
            1,
            cell,
            (BLOCK - FIRST) / cell,
            Some(class),
            fresh,
        )
    }

    pub(super) fn large(start: usize, index: usize, span: usize, fresh: bool) -> Block {
        Block::new(start, index, span, span * BLOCK - FIRST, 1, None, fresh)
    }

    fn new(
        start: usize,
        index: usize,
        span: usize,
        cell: usize,
        cells: usize,
        class: Option<usize>,
        fresh: bool,
    ) -> Block {
        Block {
            start,
            index,
            span,
            cell,
            cells,
            class,
            inverse: class.map_or(0, |_| (1u64 << 32).div_ceil(cell as u64)),
            fresh: AtomicBool::new(fresh),
            cursor: AtomicU32::new(0),
            bits: (0..cells.div_ceil(64) * KINDS)
                .map(|_| AtomicU64::new(0))
                .collect(),
            ids: OnceLock::new(),
        }
    }

    /// Words of a bitmap.
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

    /// The cell of an address of this block and the address's offset in its object; `None`: in a header, before the
    /// first or behind the last cell.
    #[inline]
    pub(super) fn cell_of(&self, addr: usize) -> Option<(usize, usize)> {
        let offset = addr.wrapping_sub(self.start).checked_sub(FIRST)?;
        // Exact: the error of the inverse is below `cell`, and an offset is below 2^16 where the inverse is not 0.
        let index = (offset as u64).wrapping_mul(self.inverse) as usize >> 32;
        let inside = (offset - index * self.cell).checked_sub(HEADER)?;
        (index < self.cells).then_some((index, inside))
    }

    #[inline]
    fn word_of(&self, bit: Bit, word: usize) -> &AtomicU64 {
        &self.bits[word * KINDS + bit as usize]
    }

    /// 64 cells' bits, from cell `64 * word`.
    #[inline]
    pub(super) fn word(&self, bit: Bit, word: usize) -> u64 {
        self.word_of(bit, word).load(Acquire)
    }

    /// Only with the world stopped.
    pub(super) fn set_word(&self, bit: Bit, word: usize, value: u64) {
        self.word_of(bit, word).store(value, Relaxed);
    }

    #[inline]
    pub(super) fn get(&self, bit: Bit, index: usize) -> bool {
        self.word(bit, index / 64) >> (index % 64) & 1 != 0
    }

    /// Sets a bit that only the calling thread may write now (`Used` by the owner, `Mark` by the collector).
    /// Answers whether it was clear.
    #[inline]
    pub(super) fn set_owned(&self, bit: Bit, index: usize) -> bool {
        let (word, mask) = (self.word_of(bit, index / 64), 1 << (index % 64));
        let old = word.load(Relaxed);
        // Release: who sees the bit `Used` sees the header and the zeroed payload.
        word.store(old | mask, Release);
        old & mask == 0
    }

    /// Sets or clears a bit that any thread may write.
    pub(super) fn set_shared(&self, bit: Bit, index: usize, value: bool) {
        let (word, mask) = (self.word_of(bit, index / 64), 1 << (index % 64));
        if value {
            word.fetch_or(mask, AcqRel)
        } else {
            word.fetch_and(!mask, AcqRel)
        };
    }

    /// Objects in the block.
    pub(super) fn count(&self, bit: Bit) -> usize {
        (0..self.words())
            .map(|word| self.word(bit, word).count_ones() as usize)
            .sum()
    }

    /// Hands out the next run of free cells, first and count. Only for the block's owner.
    pub(super) fn next_run(&self) -> Option<(usize, usize)> {
        let from = self.skip(self.cursor.load(Relaxed) as usize, true);
        if from >= self.cells {
            return None;
        }
        let to = self.skip(from, false).min(self.cells);
        self.cursor.store(to as u32, Relaxed);
        Some((from, to - from))
    }

    /// Where the next run is looked for.
    pub(super) fn set_cursor(&self, cell: usize) {
        self.cursor.store(cell as u32, Relaxed);
    }

    /// The first cell at or after `from` whose bit `Used` is not `used`; may be behind the last cell.
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

    /// The id prepared for a cell's object.
    pub(super) fn id(&self, index: usize) -> Option<NonZeroU32> {
        NonZeroU32::new(self.ids.get()?[index].load(Acquire))
    }

    /// Prepares an id; `Err`: the one that is there already.
    pub(super) fn set_id(&self, index: usize, id: NonZeroU32) -> Result<(), NonZeroU32> {
        let ids = self
            .ids
            .get_or_init(|| (0..self.cells).map(|_| AtomicU32::new(0)).collect());
        // The bit first: it is never cleared while mutators run, so an id is never without its bit.
        self.set_shared(Bit::Finalizable, index, true);
        match ids[index].compare_exchange(0, id.get(), AcqRel, Acquire) {
            Ok(_) => Ok(()),
            Err(there) => Err(NonZeroU32::new(there).unwrap_or(id)),
        }
    }

    /// Takes the id away. The bit stays until the next collection has looked at it.
    pub(super) fn take_id(&self, index: usize) -> Option<NonZeroU32> {
        NonZeroU32::new(self.ids.get()?[index].swap(0, AcqRel))
    }

    /// Bytes of memory the block's own tables take.
    pub(super) fn table_bytes(&self) -> usize {
        size_of::<Block>()
            + size_of_val(&*self.bits)
            + self.ids.get().map_or(0, |ids| size_of_val(&**ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_divides_exactly() {
        for class in 0..CLASSES.len() {
            let block = Block::of_class(0x10000, 0, class, true);
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
    fn runs_go_round_used_cells() {
        let block = Block::of_class(0, 0, 0, true);
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

    #[test]
    fn an_id_is_prepared_once() {
        let block = Block::of_class(0, 0, 3, true);
        let (one, two) = (NonZeroU32::new(1).unwrap(), NonZeroU32::new(2).unwrap());
        assert_eq!((block.id(7), block.take_id(7)), (None, None));
        assert_eq!(block.set_id(7, one), Ok(()));
        assert_eq!(block.set_id(7, two), Err(one));
        assert_eq!(block.id(7), Some(one));
        assert_eq!(block.id(8), None);
        assert_eq!(block.take_id(7), Some(one));
        assert_eq!(block.set_id(7, two), Ok(()));
        assert!(block.get(Bit::Finalizable, 7));
    }
}
