//! From a function that may be called to the call: functions, their shapes, the queue of
//! ready-to-call records, and the finalizer goroutine that runs them. Knows records and stubs;
//! knows no heap and no collector.
#![deny(unsafe_code)]

pub(crate) mod executor;
pub(crate) mod function;
pub(crate) mod goroutine;
pub(crate) mod lookup;
pub(crate) mod observer;
pub(crate) mod options;
pub(crate) mod queue;
#[cfg(test)]
#[path = "queue/tests.rs"]
mod queue_tests;
pub(crate) mod samples;
pub(crate) mod shape;
pub(crate) mod shapes;
pub(crate) mod ticket;
