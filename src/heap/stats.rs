//! Counters of the heap.
#![forbid(unsafe_code)]

use super::block::Bit;
use super::{BLOCK, Heap, Swept};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counters of the embedded heap. The numbers of blocks in use and in reserve are of one moment;
/// the other figures may be of a slightly later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HeapStats {
    /// Most bytes in blocks ([`HeapOptions::limit`](crate::HeapOptions::limit), rounded up).
    pub limit_bytes: usize,
    /// Bytes of the blocks in use.
    pub in_use_bytes: usize,
    /// Bytes of free blocks whose memory is kept for reuse. Other free blocks take no memory.
    pub reserve_bytes: usize,
    /// Objects allocated and not yet freed, including dead ones.
    pub objects: usize,
    /// Bytes of their cells.
    pub object_bytes: usize,
    /// Bytes of cells that the last collection reached from roots, without those of objects that it
    /// revived to be finalized.
    pub live_bytes: usize,
    /// Bytes of cells given to mutators since the last collection.
    pub allocated_bytes: usize,
    /// A collection is due when `allocated_bytes` exceeds this; `usize::MAX` if none is ever due.
    pub trigger_bytes: usize,
    /// Bytes outside the heap that objects own, as [stated](crate::Mutator::set_external_bytes) by
    /// the embedder.
    pub external_bytes: usize,
    /// A collection is due when more external bytes than this were stated since the last one, for
    /// at least 32 objects; `usize::MAX` if none is ever due.
    pub external_trigger_bytes: usize,
    /// Bytes of the heap's tables beside the blocks.
    pub table_bytes: usize,
    /// Collections finished.
    pub collections: u64,
    /// Objects freed by all collections.
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
    pub(super) fn add(&self, swept: &Swept, live_bytes: usize) {
        self.live_bytes.store(live_bytes, Relaxed);
        self.freed_objects
            .fetch_add(swept.freed_objects as u64, Relaxed);
        self.freed_bytes
            .fetch_add(swept.freed_bytes as u64, Relaxed);
    }
}

impl Heap {
    /// Number of objects that have an id. Looks at every cell of blocks with ids.
    pub(crate) fn count_ids(&self) -> usize {
        let left = self.left_in_windows().with_ids;
        let books = self.books.lock();
        let all: usize = books.all.iter().map(|block| block.count_ids()).sum();
        all.saturating_sub(left)
    }

    /// Collects the counters. Takes time in proportion to the blocks in use.
    pub(crate) fn stats(&self) -> HeapStats {
        let left = self.left_in_windows();
        let books = self.books.lock();
        let mut stats = HeapStats {
            limit_bytes: self.options.limit,
            in_use_bytes: books.in_use * BLOCK,
            reserve_bytes: books.dirty_rows().iter().map(|row| row.1 * BLOCK).sum(),
            table_bytes: size_of_val(&*self.table),
            live_bytes: self.totals.live_bytes.load(Relaxed),
            allocated_bytes: self.pacing.allocated(),
            trigger_bytes: self.pacing.trigger(),
            external_trigger_bytes: self.pacing.external_trigger(),
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
        stats.objects = stats.objects.saturating_sub(left.objects);
        stats.object_bytes = stats.object_bytes.saturating_sub(left.bytes);
        stats
    }
}
