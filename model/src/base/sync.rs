//! In place of the runtime's room of the same name: what the queue shares threads with, watched by
//! loom.
#![forbid(unsafe_code)]

pub(crate) use loom::sync::Arc;
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
