//! The threads of one runtime, and what they hold: which threads may touch the heap, which one has
//! stopped the others, and which objects are rooted by handles.
#![forbid(unsafe_code)]

pub(crate) mod handle;
pub(crate) mod safepoint;
pub(crate) mod sources;
pub(crate) mod threads;
mod waiting;
