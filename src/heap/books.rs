//! The heap's books: which blocks are in use, which may hold data, and which have free cells.
//! Protected by one lock.
#![forbid(unsafe_code)]

use super::block::Block;
use super::class::CLASSES;
use std::sync::Arc;

/// One bit for every block of the arena.
#[derive(Debug)]
pub(super) struct BlockSet(Vec<u64>);

impl BlockSet {
    fn new(blocks: usize) -> BlockSet {
        BlockSet(vec![0; blocks.div_ceil(64)])
    }

    pub(super) fn get(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 != 0
    }

    pub(super) fn set(&mut self, first: usize, count: usize, value: bool) {
        for index in first..first + count {
            let mask = 1 << (index % 64);
            if value {
                self.0[index / 64] |= mask
            } else {
                self.0[index / 64] &= !mask
            };
        }
    }
}

#[derive(Debug)]
pub(super) struct Books {
    blocks: usize,
    /// In use, or never to be used.
    pub(super) taken: BlockSet,
    /// May hold data other than zeroes.
    pub(super) dirty: BlockSet,
    /// Blocks in use.
    pub(super) in_use: usize,
    /// No free block is before this one.
    low: usize,
    /// No block from this one on was ever taken.
    high: usize,
    /// Every block in use, oldest first.
    pub(super) all: Vec<Arc<Block>>,
    /// Pools of blocks with free cells and without owner, in each the oldest last, because it is
    /// taken first. The first pools are those of the size classes, the others of types whose
    /// objects are finalizable from the beginning.
    pub(super) partial: Vec<Vec<Arc<Block>>>,
}

impl Books {
    pub(super) fn new(blocks: usize) -> Books {
        let (taken, dirty) = (BlockSet::new(blocks), BlockSet::new(blocks));
        Books {
            blocks,
            taken,
            dirty,
            in_use: 0,
            low: 0,
            high: 0,
            all: Vec::new(),
            partial: vec![Vec::new(); CLASSES.len()],
        }
    }

    /// Takes `count` contiguous blocks at the lowest possible address. Returns the first one's
    /// index, and whether all of them are zero.
    pub(super) fn take(&mut self, count: usize) -> Option<(usize, bool)> {
        let first = self.find(count)?;
        let fresh = !(first..first + count).any(|index| self.dirty.get(index));
        self.taken.set(first, count, true);
        self.dirty.set(first, count, true);
        self.in_use += count;
        self.high = self.high.max(first + count);
        if first == self.low {
            self.low = first + count;
        }
        Some((first, fresh))
    }

    fn find(&self, count: usize) -> Option<usize> {
        let (mut first, mut at) = (self.low, self.low);
        while at < self.blocks {
            if at.is_multiple_of(64) && self.taken.0[at / 64] == u64::MAX {
                at += 64;
                first = at;
                continue;
            }
            if self.taken.get(at) {
                first = at + 1;
            } else if at + 1 - first == count {
                return Some(first);
            }
            at += 1;
        }
        None
    }

    /// Frees blocks that were taken.
    pub(super) fn give(&mut self, first: usize, count: usize) {
        self.taken.set(first, count, false);
        self.in_use -= count;
        self.low = self.low.min(first);
    }

    /// Rows of contiguous free blocks that may hold data, from the highest address down: the index
    /// of the first and their number.
    pub(super) fn dirty_rows(&self) -> Vec<(usize, usize)> {
        let mut rows: Vec<(usize, usize)> = Vec::new();
        for index in (0..self.high).rev() {
            if self.taken.get(index) || !self.dirty.get(index) {
                continue;
            }
            match rows.last_mut() {
                Some((first, count)) if *first == index + 1 => {
                    (*first, *count) = (index, *count + 1)
                }
                _ => rows.push((index, 1)),
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_first_fit_and_remember_dirt() {
        let mut books = Books::new(200);
        assert_eq!(books.take(1), Some((0, true)));
        assert_eq!(books.take(70), Some((1, true)));
        assert_eq!(books.take(129), Some((71, true)));
        assert_eq!(books.take(1), None);
        books.give(1, 70);
        assert_eq!(books.take(71), None);
        assert_eq!(books.dirty_rows(), [(1, 70)]);
        books.dirty.set(2, 69, false);
        assert_eq!(books.take(1), Some((1, false)));
        assert_eq!(books.take(69), Some((2, true)));
        books.give(199 - 128, 129);
        books.give(0, 1);
        assert_eq!(books.dirty_rows(), [(71, 129), (0, 1)]);
        assert_eq!((books.in_use, books.take(2)), (70, Some((71, false))));
    }
}
