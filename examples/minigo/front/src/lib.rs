//! The front end of minigo: text to a checked program.
//!
//! It scans, parses and checks a subset of Go, and knows how Go lays out values. What is made of a
//! program is not its business. [`load`] does all of it. The [`Program`](program::Program) that it
//! returns is the syntax tree, with tables of what the checker has found of each expression.
#![forbid(unsafe_code)]

pub mod ast;
mod check;
mod constant;
mod load;
mod parse;
pub mod program;
mod scan;
mod sizes;
mod source;
pub mod types;

pub use constant::Const;
pub use load::{Library, load};
pub use sizes::Compared;
pub use source::{CompileError, Pos};
