//! A handle of a runtime that does not keep it alive.
#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock, Weak};

use crate::calls::executor::Goroutine;
use crate::runtime::Runtime;
use crate::runtime::shared::Shared;

/// A handle of a [`Runtime`] that does not keep it alive: for code that the runtime owns, such as
/// closures of finalizers, hooks and observers. One of these that holds a `Runtime` keeps it, its
/// heap and its thread for ever.
///
/// [`Runtime::downgrade`] returns it, and [`RuntimeBuilder::weak`](crate::RuntimeBuilder::weak)
/// for what is given to the builder.
///
/// ```
/// use fing::Runtime;
///
/// let builder = Runtime::builder();
/// let weak = builder.weak();
/// let runtime = builder
///     .on_failure(move |failure| {
///         // None if the runtime is going away.
///         if let Some(runtime) = weak.upgrade() {
///             eprintln!("{failure} ({} so far)", runtime.stats().failed);
///         }
///     })
///     .build()?;
/// let weak = runtime.downgrade();
/// assert!(weak.upgrade().is_some());
/// drop(runtime);
/// assert!(weak.upgrade().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct WeakRuntime(Arc<OnceLock<Parts>>);

struct Parts {
    shared: Weak<Shared>,
    goroutine: Weak<Goroutine>,
}

impl WeakRuntime {
    /// Returns the runtime, or `None` if its last handle was dropped, or it has not been built yet.
    pub fn upgrade(&self) -> Option<Runtime> {
        let parts = self.0.get()?;
        Some(Runtime {
            goroutine: parts.goroutine.upgrade()?,
            shared: parts.shared.upgrade()?,
        })
    }

    /// Sets the runtime that was built.
    pub(super) fn set(&self, shared: &Arc<Shared>, goroutine: &Arc<Goroutine>) {
        let parts = Parts {
            shared: Arc::downgrade(shared),
            goroutine: Arc::downgrade(goroutine),
        };
        let set = self.0.set(parts);
        debug_assert!(set.is_ok(), "a builder builds one runtime");
    }
}

impl std::fmt::Debug for WeakRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakRuntime")
    }
}
