//! Whether the address in an `Obj` is believed.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many bytes from the start of a heap's range the address in an `Obj` is believed for: all of
/// them, or none once such addresses must be looked up as any other is. One number for both, so
/// that an access makes one comparison.
///
/// Trust is lost and asked for on one thread, as an `Obj` stays on its thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust(Arc<AtomicUsize>);

impl Trust {
    /// Trust in a range of this length; lost from the beginning for 0.
    pub(crate) fn new(bytes: usize) -> Trust {
        Trust(Arc::new(AtomicUsize::new(bytes)))
    }

    #[inline(always)]
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }

    #[inline(always)]
    pub(crate) fn is_lost(&self) -> bool {
        self.bytes() == 0
    }

    pub(crate) fn lose(&self) {
        self.0.store(0, Relaxed);
    }
}
