//! What a runtime's handles and its finalizer goroutine share.
#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock, Weak};

use crate::calls::executor::{Goroutine, Owner};
use crate::calls::goroutine::Calls;
use crate::runtime::Runtime;
use crate::runtime::collect::Space;
use crate::runtime::registry::Registry;

/// The parts of one runtime.
pub(crate) struct Shared {
    pub(crate) space: Arc<Space>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) calls: Calls,
    /// What handles of the runtime consist of, for the goroutine to make one.
    handle: OnceLock<(Weak<Shared>, Weak<Goroutine>)>,
}

impl Shared {
    pub(crate) fn new(space: Arc<Space>, registry: Arc<Registry>, calls: Calls) -> Arc<Shared> {
        Arc::new(Shared {
            space,
            registry,
            calls,
            handle: OnceLock::new(),
        })
    }

    /// States which goroutine runs the calls. To be called once.
    pub(crate) fn set_goroutine(self: &Arc<Shared>, goroutine: &Arc<Goroutine>) {
        let handle = (Arc::downgrade(self), Arc::downgrade(goroutine));
        let set = self.handle.set(handle);
        debug_assert!(set.is_ok(), "a runtime has one goroutine");
    }

    /// A handle of the runtime; `None` if the last one was dropped.
    pub(crate) fn runtime(&self) -> Option<Runtime> {
        let (shared, goroutine) = self.handle.get()?;
        Some(Runtime {
            shared: shared.upgrade()?,
            goroutine: goroutine.upgrade()?,
        })
    }
}

impl Owner for Shared {
    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn is_running_here(&self) -> bool {
        self.space.world().is_running_here()
    }
}
