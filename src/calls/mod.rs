//! From a function that may be called to the call: functions, their shapes, the queue of
//! ready-to-call records, and the finalizer goroutine that runs them. Knows records and stubs;
//! knows no heap and no collector, only which
//! mutators a thread has.
#![deny(unsafe_code)]

pub(crate) mod assist;
pub(crate) mod budget;
pub(crate) mod builder;
pub(crate) mod due;
pub(crate) mod executor;
pub(crate) mod exit;
pub(crate) mod failing;
pub(crate) mod failure;
pub(crate) mod function;
pub(crate) mod goroutine;
pub(crate) mod lane;
pub(crate) mod lent;
pub(crate) mod lookup;
pub(crate) mod mailbox;
pub(crate) mod misuse;
pub(crate) mod observer;
pub(crate) mod options;
pub(crate) mod post;
pub(crate) mod pressure;
pub(crate) mod queue;
#[cfg(test)]
#[path = "queue/tests.rs"]
mod queue_tests;
pub(crate) mod samples;
pub(crate) mod shape;
pub(crate) mod shapes;
pub(crate) mod signal;
pub(crate) mod sites;
pub(crate) mod status;
pub(crate) mod thread;
pub(crate) mod ticket;
pub(crate) mod watchdog;
