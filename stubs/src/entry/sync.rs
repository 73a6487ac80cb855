//! The synchronization types of slots, in one module, so that a model checker can replace them.
#![forbid(unsafe_code)]

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
