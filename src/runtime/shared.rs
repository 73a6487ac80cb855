//! What a runtime's handles and its finalizer goroutine share.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::calls::executor::Owner;
use crate::calls::goroutine::Calls;
use crate::runtime::collect::Space;
use crate::runtime::registry::Registry;

/// The parts of one runtime.
pub(crate) struct Shared {
    pub(crate) space: Arc<Space>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) calls: Calls,
}

impl Owner for Shared {
    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn is_running_here(&self) -> bool {
        self.space.world().is_running_here()
    }
}
