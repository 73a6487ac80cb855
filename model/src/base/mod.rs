//! Stands in for `src/base`: the same names over the model checker's locks and atomics.
#![forbid(unsafe_code)]

#[path = "../../../src/base/deadline.rs"]
pub(crate) mod deadline;
pub(crate) mod lock;
pub(crate) mod prefetch;
pub(crate) mod sync;
#[expect(dead_code, reason = "the models have no heap")]
#[path = "../../../src/base/trust.rs"]
pub(crate) mod trust;
