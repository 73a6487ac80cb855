//! One block's side of the story: which cells it has, and four bits for each of them.
//!
//! The bits of one cell lie in four neighbouring words, so that looking at an object touches one cache line.
//! `Used` and the cursor are written by the mutator that owns the block, or by the sweep; `Mark` and `Finalizable` by
//! the collector; `Special` by anybody.
//!
//! A mutator that prepares an id writes the id and one byte of the block, neither by an atomic exchange; the collector
//! works out the bits `Finalizable` of the blocks whose byte is set.
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
    /// The object may have a prepared id (it is 0 when the finalizer was cleared since). Up to date from the start of a
    /// collection to its end.
    Finalizable = 2,
    /// The object has something else that must be decided when it dies (cleanups, weak handles).
    Special = 3,
}

const KINDS: usize = 4;

/// An id as it lies beside a cell: with a bit that says whether the object has no pointers, so that deciding over such
/// an object need not touch it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Prepared(NonZeroU32);

impl Prepared {
    /// The largest id there can be.
    pub(crate) const MAX_ID: u32 = u32::MAX >> 1;

    /// `id` is at most [`Prepared::MAX_ID`].
    pub(super) fn new(id: NonZeroU32, leaf: bool) -> Prepared {
        debug_assert!(id.get() <= Prepared::MAX_ID);
        Prepared(NonZeroU32::MIN.saturating_add((id.get() << 1 | u32::from(leaf)) - 1))
    }

    fn read(word: u32) -> Option<Prepared> {
        NonZeroU32::new(word).map(Prepared)
    }

    pub(super) fn id(self) -> NonZeroU32 {
        NonZeroU32::new(self.0.get() >> 1).unwrap_or(NonZeroU32::MIN)
    }

    pub(super) fn is_leaf(self) -> bool {
        self.0.get() & 1 != 0
    }
}

/// No object was made in the block.
const NO_TYPE: u64 = 0;
/// Objects of several types were.
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
    /// `None`: one large object.
    pub(super) class: Option<usize>,
    /// `ceil(2^32 / cell)`, 0 for a large object: a multiplication finds the cell of an offset.
    inverse: u64,
    /// What the headers of all objects say, [`NO_TYPE`] before the first, [`TYPES`] when they differ: who knows it need
    /// not touch an object for its type. Written by the block's owner, before the `Used` of the object concerned.
    only: AtomicU64,
    /// The cells never held anything: no need to zero them.
    pub(super) fresh: AtomicBool,
    /// Cells before this one were handed out since the last sweep, as far as they were free.
    cursor: AtomicU32,
    bits: Box<[AtomicU64]>,
    ids: OnceLock<Box<[AtomicU32]>>,
    /// Ids were prepared since `Finalizable` was worked out.
    prepared: AtomicBool,
    /// A cell is or was `Special`.
    special: AtomicBool,
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
            only: AtomicU64::new(NO_TYPE),
            fresh: AtomicBool::new(fresh),
            cursor: AtomicU32::new(0),
            bits: (0..cells.div_ceil(64) * KINDS)
                .map(|_| AtomicU64::new(0))
                .collect(),
            ids: OnceLock::new(),
            prepared: AtomicBool::new(false),
            special: AtomicBool::new(false),
        }
    }

    /// Says that an object with this header is going to be made. Only for the block's owner.
    #[inline]
    pub(super) fn announce(&self, header: u64) {
        let only = self.only.load(Relaxed);
        if only != header && only != TYPES {
            let differs = only != NO_TYPE;
            self.only
                .store(if differs { TYPES } else { header }, Relaxed);
        }
    }

    /// The header of every object in the block, if they have one in common.
    #[inline]
    pub(super) fn common_header(&self) -> Option<u64> {
        Some(self.only.load(Relaxed)).filter(|only| *only > TYPES)
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

    /// Whether a cell may have the bit.
    #[inline]
    pub(super) fn may_have(&self, bit: Bit) -> bool {
        match bit {
            Bit::Used | Bit::Mark => true,
            Bit::Finalizable => self.ids.get().is_some(),
            Bit::Special => self.special.load(Relaxed),
        }
    }

    /// Sets or clears a bit that any thread may write.
    pub(super) fn set_shared(&self, bit: Bit, index: usize, value: bool) {
        if bit == Bit::Special {
            self.special.store(true, Relaxed);
        }
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
    pub(super) fn id(&self, index: usize) -> Option<Prepared> {
        Prepared::read(self.ids.get()?[index].load(Relaxed))
    }

    fn ids(&self) -> &[AtomicU32] {
        self.ids
            .get_or_init(|| (0..self.cells).map(|_| AtomicU32::new(0)).collect())
    }

    /// `Relaxed` will do, here and for the ids: the collector reads both when every mutator has stopped.
    #[inline]
    fn remember_prepared(&self) {
        if !self.prepared.load(Relaxed) {
            self.prepared.store(true, Relaxed);
        }
    }

    /// Prepares an id; `Err`: the one that is there already.
    pub(super) fn set_id(&self, index: usize, id: Prepared) -> Result<(), NonZeroU32> {
        match self.ids()[index].compare_exchange(0, id.0.get(), Relaxed, Relaxed) {
            Ok(_) => {
                self.remember_prepared();
                Ok(())
            }
            Err(there) => Err(Prepared::read(there).unwrap_or(id).id()),
        }
    }

    /// As [`Block::set_id`], without an atomic exchange: of threads that prepare one cell's ids at the same time, one
    /// wins, and the others may not be told. `false`: there is one already.
    #[inline]
    pub(super) fn set_id_fast(&self, index: usize, id: Prepared) -> bool {
        let cell = match self.ids.get() {
            Some(ids) => &ids[index],
            None => &self.ids()[index],
        };
        if cell.load(Relaxed) != 0 {
            return false;
        }
        cell.store(id.0.get(), Relaxed);
        self.remember_prepared();
        true
    }

    /// Takes the id away. The bit stays until the next collection has looked at it.
    pub(super) fn take_id(&self, index: usize) -> Option<NonZeroU32> {
        Prepared::read(self.ids.get()?[index].swap(0, Relaxed)).map(Prepared::id)
    }

    /// Takes the id away, with the world stopped.
    #[inline]
    pub(super) fn take_id_stopped(&self, index: usize) -> Option<NonZeroU32> {
        let cell = &self.ids.get()?[index];
        let there = Prepared::read(cell.load(Relaxed))?;
        cell.store(0, Relaxed);
        Some(there.id())
    }

    /// Takes the id away if it is this one, without an atomic exchange: of threads that take one cell's id at the same
    /// time, several may be told that it was they.
    #[inline]
    pub(super) fn take_id_fast(&self, index: usize, id: Prepared) -> bool {
        let Some(cell) = self.ids.get().map(|ids| &ids[index]) else {
            return false;
        };
        let there = cell.load(Relaxed) == id.0.get();
        if there {
            cell.store(0, Relaxed);
        }
        there
    }

    /// Works out which cells are `Finalizable`. Only with the world stopped.
    pub(super) fn settle_prepared(&self) {
        let Some(ids) = self.ids.get() else { return };
        if !self.prepared.load(Relaxed) {
            return;
        }
        self.prepared.store(false, Relaxed);
        for (word, ids) in ids.chunks(64).enumerate() {
            let bits = ids.iter().enumerate().fold(0, |bits, (bit, id)| {
                bits | u64::from(id.load(Relaxed) != 0) << bit
            });
            self.set_word(Bit::Finalizable, word, bits);
        }
    }

    /// Objects with a prepared id.
    pub(super) fn count_ids(&self) -> usize {
        let ids = self.ids.get().map_or(&[][..], |ids| ids);
        ids.iter().filter(|id| id.load(Relaxed) != 0).count()
    }

    /// Calls `visit` with every prepared id.
    pub(super) fn for_each_id(&self, mut visit: impl FnMut(NonZeroU32)) {
        let ids = self.ids.get().map_or(&[][..], |ids| ids);
        ids.iter()
            .filter_map(|id| Prepared::read(id.load(Relaxed)))
            .for_each(|id| visit(id.id()));
    }

    /// Whether an unmarked object of the block is finalizable.
    #[inline]
    pub(super) fn has_dying(&self) -> bool {
        self.ids.get().is_some()
            && self.bits.chunks_exact(KINDS).any(|bits| {
                let [finalizable, marked] =
                    [Bit::Finalizable, Bit::Mark].map(|bit| bits[bit as usize].load(Relaxed));
                finalizable & !marked != 0
            })
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
        let ids = [1, 2].map(|id| NonZeroU32::new(id).unwrap());
        let [one, two] = ids.map(|id| Prepared::new(id, id.get() == 2));
        assert_eq!((one.is_leaf(), two.is_leaf()), (false, true));
        assert_eq!((block.id(7), block.take_id(7)), (None, None));
        assert_eq!(block.set_id(7, one), Ok(()));
        assert_eq!(block.set_id(7, two), Err(ids[0]));
        assert_eq!(block.id(7), Some(one));
        assert_eq!(block.id(8), None);
        assert_eq!(block.take_id(7), Some(ids[0]));
        assert!(block.set_id_fast(7, two) && !block.set_id_fast(7, one));
        assert!(!block.get(Bit::Finalizable, 7));
        block.settle_prepared();
        assert!(block.get(Bit::Finalizable, 7) && block.count(Bit::Finalizable) == 1);
        assert_eq!((block.count_ids(), block.take_id_fast(7, one)), (1, false));
        assert!(block.take_id_fast(7, two) && block.count_ids() == 0);
    }
}
