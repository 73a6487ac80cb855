//! What the queue shares threads with, in one place, so that a model checker can put its own in its place.
#![forbid(unsafe_code)]

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
