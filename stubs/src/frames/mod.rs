//! Finding the references in frames of generated code, for a precise collector.
//!
//! Cranelift writes down, for each call in a function, at which offsets from the stack pointer live
//! references lie: a *stack map*. [`StackMaps`] has the maps of a program's functions, and finds
//! the frames that they are for:
//!
//! * Generated code is compiled with Cranelift's flag `preserve_frame_pointers`.
//! * Its tail calls (`return_call`) are of functions that take as many bytes of arguments on the
//!   stack as their caller does, mostly none. Another one moves the place from which the walk
//!   counts the slots of the frame below; the walk can't see that, and finds other words there.
//! * It calls the host through *exit stubs* only. One links an [`ExitRecord`] in its own frame to
//!   the [`Stack`] that it runs on, calls the host, and unlinks the record.
//! * From an exit record the frame pointers lead to the frames of generated code that are waiting
//!   for the host. The walk ends at the first return address in no registered code: there the host,
//!   or a stub of this crate, has called generated code. Where the host is called again from there,
//!   the next exit record goes on.
//!
//! ```text
//! stack   host -> F -> G -> exit stub -> host -> finalizer's stub -> H -> exit stub -> host
//!                           |  record <------------ previous ------------  record <---- Stack
//! walk    2: G, F                                               1: H
//! ```
//!
//! An exit stub for a host function of one argument and one result, in Cranelift's text; `v0` is a
//! pointer to the thread's context, which has the address of the stack's word at offset 0:
//!
//! ```text
//! function %exit(i64, i64) -> i64 system_v {
//!     ss0 = explicit_slot 16
//!     sig0 = (i64, i64) -> i64 system_v
//!     fn0 = %host sig0
//! block0(v0: i64, v1: i64):
//!     v2 = load.i64 v0                ; the word of the stack
//!     v3 = load.i64 v2                ; the record before this one
//!     stack_store v3, ss0             ; ExitRecord::previous
//!     v4 = get_frame_pointer.i64
//!     stack_store v4, ss0+8           ; ExitRecord::frame_pointer
//!     v5 = stack_addr.i64 ss0
//!     store v5, v2
//!     v6 = call fn0(v0, v1)
//!     store v3, v2
//!     return v6
//! }
//! ```
#![deny(unsafe_code)]

mod error;
mod maps;
mod stack;
mod walk;

pub use error::{FrameError, WalkError};
pub use maps::{Callers, RegisteredCode, StackMaps};
pub use stack::{ExitRecord, Stack};
pub use walk::Walked;
