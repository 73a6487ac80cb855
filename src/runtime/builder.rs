//! The options that only a runtime with a heap has, and how it is built.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::calls::builder::{Buildable, Builder, CallsError};
use crate::heap::{HeapError, HeapOptions};
use crate::runtime::Runtime;
use crate::runtime::collect::Space;
use crate::runtime::registry::{CycleReport, FinalizationOrder, Registry};
use crate::runtime::shared::Shared;
use crate::runtime::weak_runtime::WeakRuntime;
use crate::types::Types;

/// Options of a [`Runtime`], which [`build`](Self::build) makes.
pub type RuntimeBuilder = Builder<Runtime>;

/// Why [`RuntimeBuilder::build`] failed: the system lacks something, or a limit is out of range.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The heap could not be made.
    #[error(transparent)]
    Heap(#[from] HeapError),
    /// The part that makes calls could not be made.
    #[error(transparent)]
    Calls(#[from] CallsError),
}

/// The options that [`Builder`] does not have.
#[derive(Default)]
pub struct Options {
    heap: HeapOptions,
    cycles: FinalizationOrder,
    weak: WeakRuntime,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("heap", &self.heap)
            .finish_non_exhaustive()
    }
}

impl Buildable for Runtime {
    type Options = Options;
}

impl Builder<Runtime> {
    /// Sets the limit, the pacing and the debugging aids of the heap.
    pub fn heap(mut self, options: HeapOptions) -> Self {
        self.own.heap = options;
        self
    }

    /// Sets a hook that is called with each cycle that is to be reported
    /// ([`CyclePolicy::Report`](crate::CyclePolicy::Report)), after the collection that found it,
    /// on the thread that collected. The default sends a `tracing` warning.
    pub fn on_cycle(mut self, hook: impl Fn(&CycleReport) + Send + Sync + 'static) -> Self {
        self.own.cycles.on_cycle = Box::new(hook);
        self
    }

    /// Returns a handle of the runtime that will be built, for the observer and the hooks. Until
    /// [`build`](Self::build) has returned it refers to nothing.
    pub fn weak(&self) -> WeakRuntime {
        self.own.weak.clone()
    }

    /// Makes the runtime.
    ///
    /// # Errors
    /// [`RuntimeError`] if there is no address space for the heap or no executable memory, or if a
    /// limit is out of range.
    pub fn build(self) -> Result<Runtime, RuntimeError> {
        let calls = self.calls.build(self.executor, self.order)?;
        let mut own = self.own;
        own.cycles.order = self.order;
        let registry = Arc::new(Registry::new(&calls, own.cycles));
        let space = Space::new(Arc::new(Types::new()), own.heap, registry.clone())?;
        let types = space.clone();
        calls.failures.set_type_of(move |object| {
            let desc = types.heap().type_of_root(object as usize)?;
            Some(desc.ty().clone())
        });
        if self.number_registrations {
            space.heap().number_ids();
        }
        let shared = Shared::new(space, registry, calls, own.weak);
        Ok(Runtime::of(shared, self.executor, self.thread))
    }
}
