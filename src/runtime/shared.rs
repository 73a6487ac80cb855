//! What a runtime's handles and its finalizer goroutine share.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::calls::executor::Owner;
use crate::calls::goroutine::Calls;
use crate::runtime::Runtime;
use crate::runtime::collect::Space;
use crate::runtime::registry::Registry;
use crate::runtime::weak_runtime::WeakRuntime;

/// The parts of one runtime.
pub(crate) struct Shared {
    pub(crate) space: Arc<Space>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) calls: Calls,
    /// For the goroutine and for those who want one.
    pub(crate) handle: WeakRuntime,
}

impl Shared {
    pub(crate) fn new(
        space: Arc<Space>,
        registry: Arc<Registry>,
        calls: Calls,
        handle: WeakRuntime,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            space,
            registry,
            calls,
            handle,
        })
    }

    /// A handle of the runtime; `None` if the last one was dropped.
    pub(crate) fn runtime(&self) -> Option<Runtime> {
        self.handle.upgrade()
    }
}

impl Owner for Shared {
    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn is_running_here(&self) -> bool {
        self.space.world().is_running_here()
    }

    fn has_mutators(&self) -> bool {
        self.runtime().is_some()
    }

    fn is_collecting_here(&self) -> bool {
        self.space.world().is_stopped_here()
    }
}
