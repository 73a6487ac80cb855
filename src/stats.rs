//! A runtime's figures.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use fing_stubs::CacheStats;

use crate::heap::HeapStats;
use crate::shared::Shared;

/// A runtime in numbers; all counts since it was made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Objects that have a finalizer.
    pub finalizers: u64,
    /// Cleanups that were added and are neither stopped nor queued.
    pub cleanups: u64,
    /// Calls queued.
    pub queued: u64,
    /// Calls done; grows when a block of the queue is done.
    pub executed: u64,
    /// Calls dropped at shutdown.
    pub discarded: u64,
    /// Calls that panicked, of those done.
    pub panicked: u64,
    /// Times the finalizer goroutine took the queue.
    pub drains: u64,
    /// Blocks of the queue, those without records included: as many as the last two drains had at most.
    pub queue_blocks: usize,
    /// Memory of these, in bytes.
    pub queue_bytes: usize,
    /// Functions prepared for a type of object, in use.
    pub shapes: usize,
    /// Handles that exist.
    pub handles: usize,
    /// Mutators that exist.
    pub mutators: usize,
    /// The heap.
    pub heap: HeapStats,
    /// The stub cache.
    pub stubs: CacheStats,
}

impl RuntimeStats {
    pub(crate) fn of(shared: &Shared) -> RuntimeStats {
        let counts = shared.calls.queue.counts();
        let (interior, cleanups) = shared.registry.registered();
        RuntimeStats {
            finalizers: interior + shared.space.heap().count_prepared() as u64,
            cleanups,
            queued: counts.queued,
            executed: counts.executed,
            discarded: counts.discarded,
            panicked: shared.calls.panics.load(Ordering::Relaxed),
            drains: counts.drains,
            queue_blocks: counts.blocks,
            queue_bytes: counts.bytes,
            shapes: shared.calls.shapes.len(),
            handles: shared.space.roots().len(),
            mutators: shared.space.world().members().0,
            heap: shared.space.heap().stats(),
            stubs: shared.calls.stubs.stats(),
        }
    }
}
