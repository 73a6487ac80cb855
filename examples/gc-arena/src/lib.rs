//! Finalizers of fing for arenas of [gc-arena](https://docs.rs/gc-arena): Rust objects, with
//! pointers that Rust checks.
//!
//! [`FinalizerArena`] is an [`Arena`](gc_arena::Arena) with finalizers, cleanups and weak handles.
//! [`finish_marking`] is what it is made of, for a program that keeps the arena itself.
//!
//! | gc-arena's | with finalizers |
//! |---|---|
//! | `Arena::finish_marking` | [`finish_marking`]: marks, then marks what finalizers keep |
//! | `Arena::collect_debt` | [`FinalizerArena::collect_debt`]: in parts, paid by allocation |
//! | `Arena::finish_cycle` | [`FinalizerArena::finish_cycle`] |
//! | `Arena::mutate`, `mutate_root` | [`FinalizerArena::mutate`], [`FinalizerArena::mutate_root`] |
//!
//! gc-arena's own `GcWeak` is not cleared before an object's finalizer runs. A weak handle of
//! [`Finalizers::downgrade`](fing::foreign::Finalizers::downgrade) is.
//!
//! An arena belongs to a thread, so finalizers run on it, between two calls of `mutate`:
//! [`FinalizerArena::run_finalizers`]. Objects do not move, and an object is alive until its
//! finalizer has returned, also if that collects.
//!
//! gc-arena knows how to trace an object, and does not tell. So the arena's author says it again
//! ([`Objects`]): at once if all objects are of one type, by [`Typed`] if they are of many.
//!
//! `tests/conformance.rs` runs fing's conformance suite on an arena, `tests/arena.rs` has objects
//! of several types, with finalizers that are Rust functions.

mod arena;
mod mark;
mod object;
mod typed;

pub use arena::{ArenaError, FinalizerArena};
pub use mark::finish_marking;
pub use object::{Object, Objects};
pub use typed::Typed;
