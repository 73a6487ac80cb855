//! In place of the runtime's room of the same name: what threads share, watched by loom.
#![forbid(unsafe_code)]

use std::cell::Cell;

pub(crate) use loom::sync::Arc;
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

thread_local! {
    /// A fault to be found: neither thread's accesses are ordered.
    pub(crate) static NO_FENCES: Cell<bool> = const { Cell::new(false) };
    /// A system without barriers on other threads.
    pub(crate) static NO_BARRIERS: Cell<bool> = const { Cell::new(false) };
}

/// In a model both halves are whole fences.
pub(crate) fn light_fence() {
    if !NO_FENCES.get() {
        fence(Ordering::SeqCst);
    }
}

pub(crate) fn heavy_fence() -> bool {
    light_fence();
    !NO_BARRIERS.get()
}
