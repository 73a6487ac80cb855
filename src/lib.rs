//! fing
pub use fing_stubs as stubs;
