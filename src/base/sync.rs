//! The synchronization types of the queue, in one module, so that a model checker can replace them.
#![forbid(unsafe_code)]

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
