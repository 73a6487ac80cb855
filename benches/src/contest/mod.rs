//! fing beside others: the same work, done by fing through its public interface, by hand, by
//! libffi, and by other runtimes in processes of their own.
#![forbid(unsafe_code)]

mod by_hand;
mod fing;
mod owners;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod scenarios;
mod steady;
pub(crate) mod subjects;
mod trees;
pub(crate) mod work;
