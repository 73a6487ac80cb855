//! Whether the address in an `Obj` is believed.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Whether there ever was a heap in this process whose trust was lost.
static DOUBT: AtomicBool = AtomicBool::new(false);

/// How many bytes from the start of a heap's range the address in an `Obj` is believed for: all of
/// them, or none once such addresses must be looked up as any other is. One number for both, so
/// that an access makes one comparison.
///
/// As long as no heap has lost it, each `Obj` of whichever heap is an object behind a header: an
/// access need not even ask for the range.
///
/// Trust is lost and asked for on one thread, as an `Obj` stays on its thread. A heap that has none
/// from the beginning says so before another thread can have a handle of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust(Arc<AtomicUsize>);

impl Trust {
    /// Trust in a range of this length; lost from the beginning for 0.
    pub(crate) fn new(bytes: usize) -> Trust {
        if bytes == 0 {
            DOUBT.store(true, Relaxed);
        }
        Trust(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Whether no heap has lost it, so far.
    #[inline(always)]
    pub(crate) fn is_everywhere() -> bool {
        !DOUBT.load(Relaxed)
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
        DOUBT.store(true, Relaxed);
    }
}
