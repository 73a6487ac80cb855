//! The finalizer queue and the protocol of safepoints under a model checker: loom runs small
//! programs over them in every order of their threads' steps that a bounded number of forced
//! switches allows, and finds deadlocks, which is what a lost wake-up is.
//!
//! Their sources are the runtime's own, compiled here a second time over loom's locks and atomics.
//! So are the state of callbacks' slots and the words of windows. Only tests.
#![forbid(unsafe_code)]

#[cfg(test)]
mod base;
#[cfg(test)]
#[expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the runtime uses more of the queue than the models do, and shows some of it"
)]
#[path = "../../src/calls/queue/mod.rs"]
mod queue;
/// The state of slots, the source of fing-stubs itself, over loom's atomics.
#[cfg(test)]
mod slot {
    #[expect(dead_code, reason = "fing-stubs uses more of it than the models do")]
    #[path = "../../../stubs/src/entry/state.rs"]
    pub(crate) mod state;
    mod sync {
        pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    }
    mod tests;
}
/// The words of windows, the source of the heap itself.
#[cfg(test)]
mod window {
    /// As src/heap/class.rs has it.
    const BLOCK: usize = 64 << 10;
    mod tests;
    #[path = "../../../src/heap/words.rs"]
    mod words;
}
#[cfg(test)]
#[expect(dead_code, reason = "the runtime uses more of it than the models do")]
#[path = "../../src/world/safepoint.rs"]
mod safepoint;
#[cfg(test)]
mod safepoint_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod waiting;
