//! What a VM needs that has generated code, or an interpreter with frames of its own: roots,
//! safepoints, allocation without a call, access to fields.
#![deny(unsafe_code)]

pub(crate) mod field;
pub(crate) mod flag;
pub(crate) mod frames;
pub(crate) mod parked;
mod roots;
pub(crate) mod window;
