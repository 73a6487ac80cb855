//! What every other module may use: ranked locks, an append-only table, prefetching, and functions
//! that run user code.
#![deny(unsafe_code)]

pub(crate) mod append_table;
pub(crate) mod deadline;
pub(crate) mod events;
pub(crate) mod identity;
pub(crate) mod lock;
pub(crate) mod os;
pub(crate) mod prefetch;
#[cfg(test)]
pub(crate) mod random;
pub(crate) mod sync;
pub(crate) mod trust;
