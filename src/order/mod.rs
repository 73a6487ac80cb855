//! The order in which objects are finalized: what a collector must implement for it ([`Tracer`]),
//! and the plan computed through that. Independent of any particular collector, of functions and of
//! the queue.
//!
//! The embedded heap and every foreign collector follow the same plan.
#![deny(unsafe_code)]

mod declared;
mod faults;
mod graph;
mod path;
mod plan;
mod tracer;
mod waiting;

pub(crate) use declared::Declared;
#[cfg(feature = "conformance")]
pub use faults::Fault;
#[cfg(not(feature = "conformance"))]
pub(crate) use faults::Fault;
pub(crate) use faults::Faults;
pub(crate) use graph::WeakEdges;
pub use path::{KeepPath, Keeper, PathLink};
pub(crate) use path::{Starts, WeakEntry, find_path};
pub(crate) use plan::{Candidate, Plan, plan};
pub use plan::{CyclePolicy, Order};
pub use tracer::{Reference, Scope, Tracer};
pub(crate) use waiting::Waiting;
