//! The synchronization types of the queue, of safepoints and of windows, in one module, so that a
//! model checker can replace them.
#![forbid(unsafe_code)]

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// The cheap half of a pair of fences: of a thread that stores one cell and then loads another one,
/// and must not be slowed down. Only the compiler is kept from changing the order; the other
/// thread's [`heavy_fence`] keeps the processor from it.
#[inline(always)]
pub(crate) fn light_fence() {
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// The other half: between a store of the cell that the other thread loads, and a load of the one
/// that it stores. At least one of the two threads sees the other's store. Takes microseconds.
/// Returns false where the system has no such thing, and then orders nothing.
pub(crate) fn heavy_fence() -> bool {
    fing_stubs::barrier_on_all_threads()
}
