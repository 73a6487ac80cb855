//! The end of a collection: what is not marked is free, what is wholly free goes back.

use super::block::{Bit, Block};
use super::cycle::cells;
use super::{BLOCK, Cycle, HeapOptions};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Swept {
    /// Objects that live on.
    pub(crate) live_objects: usize,
    /// Bytes of their cells.
    pub(crate) live_bytes: usize,
    /// Objects that are gone.
    pub(crate) freed_objects: usize,
    /// Bytes of their cells.
    pub(crate) freed_bytes: usize,
    /// Bytes given back to the system.
    pub(crate) released_bytes: usize,
}

impl Cycle<'_> {
    /// Frees every object that is not marked. Ends the collection: caches are stale from now on.
    pub(crate) fn sweep(mut self) -> Swept {
        debug_assert!(
            self.is_drained(),
            "sweep of a collection that has not followed every pointer"
        );
        let mut swept = Swept::default();
        let blocks = std::mem::take(&mut self.blocks);
        let mut kept = Vec::with_capacity(blocks.len());
        let mut gone = Vec::new();
        for block in blocks {
            let live = self.sweep_block(&block, &mut swept);
            if live {
                kept.push(block)
            } else {
                gone.push(block)
            };
        }
        self.finish(kept, gone, &mut swept);
        self.swept = true;
        swept
    }

    /// Answers whether something lives in the block.
    fn sweep_block(&self, block: &Block, swept: &mut Swept) -> bool {
        let mut live = 0;
        for word in 0..block.words() {
            let (used, marked) = (block.word(Bit::Used, word), block.word(Bit::Mark, word));
            let freed = used & !marked;
            live += marked.count_ones() as usize;
            swept.freed_objects += freed.count_ones() as usize;
            swept.freed_bytes += freed.count_ones() as usize * block.cell;
            if freed != 0 {
                self.bury(block, word, freed);
            }
            block.set_word(Bit::Used, word, marked);
            block.set_word(Bit::Mark, word, 0);
            for bit in [Bit::Finalizable, Bit::Special] {
                block.set_word(bit, word, block.word(bit, word) & marked);
            }
        }
        block.set_cursor(0);
        block.fresh.store(false, Relaxed);
        swept.live_objects += live;
        swept.live_bytes += live * block.cell;
        live != 0
    }

    /// What a cell must not hand down to its next owner.
    fn bury(&self, block: &Block, word: usize, freed: u64) {
        block
            .ids
            .bury(word, freed, block.word(Bit::Finalizable, word));
        if self.heap.options.poison {
            for index in cells(word, freed) {
                // SAFETY: I14, I15: the world is stopped and the object of this cell is dead.
                unsafe {
                    self.heap
                        .arena
                        .fill(block.header(index), block.cell, HeapOptions::POISON)
                };
            }
        }
    }

    /// Puts the books in order, gives memory back and sets the next collection's due.
    fn finish(&self, kept: Vec<Arc<Block>>, gone: Vec<Arc<Block>>, swept: &mut Swept) {
        let heap = self.heap;
        let trigger = match heap.options.percent {
            Some(percent) => {
                let part = swept.live_bytes as u128 * u128::from(percent) / 100;
                usize::try_from(part)
                    .unwrap_or(usize::MAX)
                    .max(HeapOptions::MIN_TRIGGER)
            }
            None => usize::MAX,
        };
        let mut books = heap.books.lock();
        let in_use = books.in_use;
        for block in gone {
            heap.publish(&block, false);
            books.give(block.index, block.span);
        }
        books.partial.iter_mut().for_each(Vec::clear);
        for block in kept.iter().rev() {
            if let Some(pool) = block.pool
                && block.count(Bit::Used) < block.cells
            {
                books.partial[pool].push(block.clone());
            }
        }
        books.all = kept;
        // What the mutators are about to use stays, and what they have used since the last collection: they may do so
        // again. The rest goes back, the highest addresses first.
        let rows = books.dirty_rows();
        let dirty: usize = rows.iter().map(|row| row.1).sum();
        let reserve = trigger.min(heap.options.limit).div_ceil(BLOCK);
        let reserve = reserve.max(in_use - books.in_use);
        let mut excess = dirty.saturating_sub(reserve);
        for (first, count) in rows {
            let part = count.min(excess);
            let from = first + count - part;
            // SAFETY: I14: free blocks, and the lock that would hand them out is held.
            if part > 0 && unsafe { heap.arena.release(from, part) }.is_ok() {
                books.dirty.set(from, part, false);
                swept.released_bytes += part * BLOCK;
                excess -= part;
            }
        }
        drop(books);
        heap.allocated.store(0, Relaxed);
        heap.trigger.store(trigger, Relaxed);
        heap.epoch.fetch_add(1, AcqRel);
        heap.totals.add(swept);
    }
}
