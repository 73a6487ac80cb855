//! Figures of fing's beside those of the machine, measured together in one process: calls, stubs, the runtime, and
//! finalizers for other collectors.

mod batch;
pub(crate) mod calls;
pub(crate) mod collector;
pub(crate) mod instructions;
pub(crate) mod runtime;
pub(crate) mod stubs;
