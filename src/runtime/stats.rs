//! Statistics of a runtime.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use fing_stubs::CacheStats;

use crate::calls::queue::{Backlog, CallStats};
use crate::heap::HeapStats;
use crate::runtime::shared::Shared;

/// Statistics of a runtime. Events are counted since it was made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RuntimeStats {
    /// Calls of finalizers, by what became of them.
    pub finalizer_calls: CallStats,
    /// Calls of cleanups, by what became of them.
    pub cleanup_calls: CallStats,
    /// Calls that are queued and have not begun.
    pub backlog: Backlog,
    /// Finalizers that are set, and watchers.
    pub finalizers: u64,
    /// Cleanups that were added and are neither stopped nor queued.
    pub cleanups: u64,
    /// Callbacks that objects own.
    pub callbacks: u64,
    /// Calls queued.
    pub queued: u64,
    /// Calls done. It grows whenever a block of the queue is done.
    pub executed: u64,
    /// Calls that were cancelled after they had been queued, or, in topological order, registered
    /// again as their objects were revived.
    pub cancelled: u64,
    /// Calls dropped because of a shutdown: those that were queued then, and those of objects that
    /// died after it. And those that were to be lent a mutator when the runtime had gone.
    pub discarded: u64,
    /// Calls that failed, of those done or not made: see [`Failure`](crate::failure::Failure).
    pub failed: u64,
    /// Calls that were queued again after they had failed.
    pub requeued: u64,
    /// Calls that were not made, as their function is in quarantine. They are not among those done.
    pub quarantined: u64,
    /// Calls that another thread has taken over from, and that have not returned.
    pub stuck: u64,
    /// Times that another thread took over from one that was stuck or had ended.
    pub taken_over: u64,
    /// Registrations that were refused as the backlog exceeded a bound.
    pub refused: u64,
    /// Calls that threads have made, or waited for, as the backlog exceeded a bound: see
    /// [`Mutator::assist`](crate::Mutator::assist).
    pub assisted: u64,
    /// Mutators that a call has kept or replaced; see
    /// [`RuntimeBuilder::on_misuse`](crate::RuntimeBuilder::on_misuse).
    pub misuses: u64,
    /// Times the finalizer goroutine was restarted after a panic in this crate's own code, which is
    /// a bug.
    pub restarts: u64,
    /// Times the finalizer goroutine took the queue.
    pub drains: u64,
    /// Blocks of the queue, empty ones included: at most as many as the larger of the last two
    /// drains had.
    pub queue_blocks: usize,
    /// Memory of these blocks, in bytes.
    pub queue_bytes: usize,
    /// Shapes in use: functions, prepared for a kind of argument.
    pub shapes: usize,
    /// Handles that exist.
    pub handles: usize,
    /// Mutators that exist.
    pub mutators: usize,
    /// Statistics of the heap.
    pub heap: HeapStats,
    /// Statistics of the stub cache.
    pub stubs: CacheStats,
}

impl RuntimeStats {
    pub(crate) fn of(shared: &Shared) -> RuntimeStats {
        let counts = shared.calls.queue.counts();
        let (listed, cleanups) = shared.registry.registered();
        let finalizers = listed + shared.space.heap().count_ids() as u64;
        let [finalizer_calls, cleanup_calls] = shared.calls.stats(&counts, [finalizers, cleanups]);
        RuntimeStats {
            finalizer_calls,
            cleanup_calls,
            backlog: counts.backlog,
            finalizers,
            cleanups,
            callbacks: shared.registry.attachments(),
            queued: counts.queued,
            executed: counts.executed,
            cancelled: counts.cancelled,
            discarded: counts.discarded,
            failed: shared.calls.failures.failed(),
            requeued: shared.calls.failures.requeued(),
            quarantined: counts.quarantined,
            stuck: counts.stuck,
            taken_over: counts.taken_over,
            refused: shared.calls.pressure.refused(),
            assisted: shared.calls.pressure.assisted(),
            misuses: shared.calls.misuses.load(Ordering::Relaxed),
            restarts: shared.calls.restarts.load(Ordering::Relaxed),
            drains: counts.drains,
            queue_blocks: counts.blocks,
            queue_bytes: counts.bytes,
            shapes: shared.calls.shapes.len(),
            handles: shared.space.roots().len(),
            mutators: shared.space.world().members().0,
            heap: HeapStats {
                external_bytes: shared.registry.external_bytes(),
                ..shared.space.heap().stats()
            },
            stubs: shared.calls.stubs.stats(),
        }
    }
}
