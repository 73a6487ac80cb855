//! Ending finalization for good, before the process ends: what is still run, until when, and what
//! was not.
#![forbid(unsafe_code)]

use crate::calls::queue::{CallKind, CallStage};

/// What [`Runtime::exit`](crate::Runtime::exit) still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitPolicy {
    /// Nothing.
    Nothing,
    /// What collections have queued.
    Queued,
    /// What is queued, and all finalizers and cleanups that are registered, whether their objects
    /// are reachable or not: finalizers, those registered last first, and then cleanups, likewise.
    /// Finalizers that [`set_for_all`](crate::PreparedFinalizer::set_for_all) has set count as
    /// registered first. The runtime must have been built with
    /// [`number_registrations`](crate::executor::Builder::number_registrations).
    LastRegisteredFirst,
    /// What is queued, and everything that is registered, whether its object is reachable or not:
    /// finalizers in the order of [`Order::Topological`](crate::Order::Topological), referrers
    /// first, with the policies of cycles; then cleanups.
    Topological,
}

/// In which order what is registered is run at an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitOrder {
    LastRegisteredFirst,
    Topological,
}

impl ExitPolicy {
    /// The order of what is registered, if it is run.
    pub(crate) fn order(self) -> Option<ExitOrder> {
        match self {
            ExitPolicy::Nothing | ExitPolicy::Queued => None,
            ExitPolicy::LastRegisteredFirst => Some(ExitOrder::LastRegisteredFirst),
            ExitPolicy::Topological => Some(ExitOrder::Topological),
        }
    }
}

/// What was run at an exit, and what was not. `O` names objects: by address in a
/// [`Runtime`](crate::Runtime).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExitReport<O = usize> {
    /// Calls that were made.
    pub executed: u64,
    /// Calls that were not made, or had not returned when the time was over, and registrations that
    /// the policy leaves.
    pub not_run: Vec<NotRun<O>>,
}

/// A finalizer or cleanup that did not run at an exit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotRun<O = usize> {
    /// Whether it is a finalizer or a cleanup.
    pub kind: CallKind,
    /// [`CallStage::Registered`]: the policy leaves it, or it is on a cycle that is left.
    /// [`CallStage::Queued`]: the time was over before. [`CallStage::Running`]: its call had not
    /// returned then.
    pub stage: CallStage,
    /// What the finalizer is called with; `None` for a cleanup that is queued.
    pub object: Option<O>,
    /// The function's signature.
    pub function: String,
}
