//! What the heap counts.
#![forbid(unsafe_code)]

use super::block::Bit;
use super::{BLOCK, Heap, Swept};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A heap in numbers. Those of blocks are exact at one moment; the others may be of a moment later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HeapStats {
    /// Most bytes in blocks.
    pub limit_bytes: usize,
    /// Bytes of the blocks in use.
    pub in_use_bytes: usize,
    /// Free bytes that are kept for reuse; other free bytes are the system's.
    pub reserve_bytes: usize,
    /// Objects allocated and not yet freed, dead ones too.
    pub objects: usize,
    /// Bytes of their cells.
    pub object_bytes: usize,
    /// Bytes of cells that lived on after the last collection.
    pub live_bytes: usize,
    /// Bytes of cells given to mutators since.
    pub allocated_bytes: usize,
    /// A collection is due when `allocated_bytes` passes this.
    pub trigger_bytes: usize,
    /// Bytes of tables beside the blocks.
    pub table_bytes: usize,
    /// Collections finished.
    pub collections: u64,
    /// Objects freed by all of them.
    pub freed_objects: u64,
    /// Bytes of their cells.
    pub freed_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Totals {
    live_bytes: AtomicUsize,
    freed_objects: AtomicU64,
    freed_bytes: AtomicU64,
}

impl Totals {
    pub(super) fn add(&self, swept: &Swept) {
        self.live_bytes.store(swept.live_bytes, Relaxed);
        self.freed_objects
            .fetch_add(swept.freed_objects as u64, Relaxed);
        self.freed_bytes
            .fetch_add(swept.freed_bytes as u64, Relaxed);
    }
}

impl Heap {
    /// Objects with a prepared id, in the time that a look at every cell of their blocks takes.
    pub(crate) fn count_prepared(&self) -> usize {
        let books = self.books.lock();
        books.all.iter().map(|block| block.count_prepared()).sum()
    }

    /// Counts. Takes time in proportion to the blocks in use.
    pub(crate) fn stats(&self) -> HeapStats {
        let books = self.books.lock();
        let mut stats = HeapStats {
            limit_bytes: self.options.limit,
            in_use_bytes: books.in_use * BLOCK,
            reserve_bytes: books.dirty_rows().iter().map(|row| row.1 * BLOCK).sum(),
            table_bytes: size_of_val(&*self.table),
            live_bytes: self.totals.live_bytes.load(Relaxed),
            allocated_bytes: self.allocated.load(Relaxed),
            trigger_bytes: self.trigger.load(Relaxed),
            collections: self.epoch(),
            freed_objects: self.totals.freed_objects.load(Relaxed),
            freed_bytes: self.totals.freed_bytes.load(Relaxed),
            ..HeapStats::default()
        };
        for block in &books.all {
            let count = block.count(Bit::Used);
            stats.objects += count;
            stats.object_bytes += count * block.cell;
            stats.table_bytes += block.table_bytes();
        }
        stats
    }
}
