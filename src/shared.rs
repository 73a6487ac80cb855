//! What a runtime's handles and its finalizer goroutine share.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use fing_stubs::StubCache;

use crate::collect::Space;
use crate::fing::{Fing, PanicHook};
use crate::observer::Observer;
use crate::queue::Queue;
use crate::registry::Registry;
use crate::shapes::Shapes;

/// The rooms of one runtime.
pub(crate) struct Shared {
    pub(crate) space: Arc<Space>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) stubs: Arc<StubCache>,
    pub(crate) on_panic: Box<PanicHook>,
    pub(crate) panics: AtomicU64,
    pub(crate) observer: Option<Box<dyn Observer>>,
}

impl Shared {
    /// What the goroutine works with.
    pub(crate) fn fing(&self) -> Fing<'_> {
        Fing {
            queue: &self.queue,
            shapes: &self.shapes,
            on_panic: &self.on_panic,
            panics: &self.panics,
            observer: self.observer.as_deref(),
        }
    }
}
