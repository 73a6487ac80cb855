//! The end of a collection: unmarked objects are freed, and so are blocks without objects.

use super::block::{Bit, Block};
use super::marking::cells;
use super::pacing::Kept;
use super::{BLOCK, HeapOptions, Marking};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Swept {
    /// Objects that survived.
    pub(crate) live_objects: usize,
    /// Bytes of their cells.
    pub(crate) live_bytes: usize,
    /// Objects that were freed.
    pub(crate) freed_objects: usize,
    /// Bytes of their cells.
    pub(crate) freed_bytes: usize,
    /// Bytes of memory released to the system.
    pub(crate) released_bytes: usize,
}

impl Marking<'_> {
    /// Frees every unmarked object and ends the collection. All caches are stale from now on.
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

    /// Frees the unmarked objects of a block. Returns whether any object survived.
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

    /// Clears what the next objects in freed cells must not inherit: ids and, if poisoned,
    /// contents.
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

    /// Updates the books, releases memory to the system, and computes when the next collection is
    /// due.
    fn finish(&self, kept: Vec<Arc<Block>>, gone: Vec<Arc<Block>>, swept: &mut Swept) {
        let heap = self.heap;
        let bytes = Kept {
            live: self.live_bytes().unwrap_or(swept.live_bytes),
            all: swept.live_bytes,
        };
        let trigger = heap.pacing.restart(bytes, self.external);
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
        // Free memory is kept for what the mutators may allocate before the next collection is due,
        // and at least as much as this collection freed, as that may be needed again. The rest is
        // released, the highest addresses first.
        let rows = books.dirty_rows();
        let dirty: usize = rows.iter().map(|row| row.1).sum();
        let reserve = trigger.min(heap.options.limit).div_ceil(BLOCK);
        let reserve = reserve.max(in_use - books.in_use);
        let mut excess = dirty.saturating_sub(reserve);
        for (first, count) in rows {
            let part = count.min(excess);
            let from = first + count - part;
            // SAFETY: I14: the blocks are free, and the lock under which blocks are taken is held.
            if part > 0 && unsafe { heap.arena.release(from, part) }.is_ok() {
                books.dirty.set(from, part, false);
                swept.released_bytes += part * BLOCK;
                excess -= part;
            }
        }
        drop(books);
        heap.epoch.fetch_add(1, AcqRel);
        heap.totals.add(swept, bytes.live);
    }
}
