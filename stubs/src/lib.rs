//! Call a function whose signature is known only at run time, under Go's or a native ABI.

pub mod abi;
pub mod assign;
pub mod check;
#[doc(hidden)]
pub mod fuzzing;
pub mod go_frame;
mod print;
pub mod signature;
