//! fing's public interface as the measurements use it. No other module names an item of the crate `fing`, so that a
//! change of its interface is a change here only. (`fing_stubs` is used where stubs are measured.)

pub(crate) mod foreign;
pub(crate) mod functions;
pub(crate) mod world;

pub(crate) use fing::{Cleanup, Handle, Mutator, Obj};
