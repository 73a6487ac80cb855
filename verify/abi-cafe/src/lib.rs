//! fing as a toolchain of [abi-cafe], which judges whether two C compilers agree on how values
//! travel.
//!
//! abi-cafe writes two C files for each of its sets, callers and callees, has each compiled by one
//! of two compilers, links and runs them, and compares the bytes that both sides have seen. It runs
//! whatever `clang` is first on `PATH`: here this package's program, which rewrites the file and
//! gives it to gcc.
//!
//! * In callers, each call of a callee becomes a call of a function that hands the arguments'
//!   addresses to [`library`], which calls the callee through a call stub.
//! * In callees, each function becomes the handler of an entry: its name is a jump to the entry,
//!   and the handler calls the function with what it finds.
//!
//! So fing is judged by gcc's code, with abi-cafe's types, values and comparison. [`judge`] runs
//! all sets and compares the outcome with the list of those that are known not to pass.
//!
//! [abi-cafe]: https://crates.io/crates/abi-cafe
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

pub mod compiler;
pub mod declarations;
pub mod judge;
pub mod library;
pub mod rewrite;
