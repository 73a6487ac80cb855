//! Real finalizers for a language VM, the way Go's runtime has them.
//!
//! A VM's objects live on a [`Runtime`]'s heap. One is registered with a finalizer, a function of a known signature and
//! ABI ([`FinalizerFn`]). When a collection finds the object unreachable, the object is kept and queued, and the
//! *finalizer goroutine* calls the function with it, through a call stub that Cranelift made for the signature.
//!
//! ```text
//! signature -> ABI -> assignment -> stub -> cache        fing-stubs
//!                                            |
//! type, object -> registry -> collection -> queue -> finalizer goroutine -> stub -> finalizer
//! ```
//!
//! # What an embedder does
//!
//! 1. Make a [`Runtime`] and define its [`Types`].
//! 2. Touch objects through a [`Mutator`]: [`Runtime::attach`] for a thread's life, [`Runtime::enter`] for a moment. An
//!    [`Obj`] is good until the next safepoint, a [`Handle`] until it is dropped.
//! 3. Say once, in an `unsafe` block, which function is at which address: [`FinalizerFn::builder`].
//! 4. [`Runtime::set_finalizer`], [`Runtime::add_cleanup`]; every check that Go makes is made, and fails as a typed error
//!    with Go's own text in it.
//!    [`Runtime::downgrade`] makes weak pointers.
//! 5. [`Runtime::gc`], or a [`Mutator`]'s. Finalizers run on a thread of the runtime, or where the embedder says
//!    ([`Executor`]).
//!
//! A VM with a collector of its own uses [`Finalizers`] in place of a [`Runtime`], and answers as a [`Tracer`].
//!
//! See the repository's `examples/embed.rs` for a whole small VM, `examples/bring_your_own_gc.rs` for a collector, and
//! `docs/` for the design: `abi.md`, `stubs.md`, `finalizers.md`, `collectors.md`, `unsafe.md`, `glossary.md`.
//!
//! # What it does not do
//!
//! It is not a Go runtime: there are no goroutines but the one, no growing stacks, no scheduler. Go functions are called
//! as Go would call them, and must need no more than their arguments. As in Go, nothing is finalized at exit; and unless
//! [`Order::Topological`] is asked for, a cycle of objects with finalizers is never finalized, and of a chain one link is
//! finalized a collection.
//!
//! # Platforms
//!
//! The heap and the stubs run on Linux on x86-64. Elsewhere building a [`Runtime`] is an error that says what is missing.

mod collect;
mod collector;
#[cfg(feature = "conformance")]
pub mod conformance;
mod executor;
mod finalizer;
mod finalizers;
mod fing;
mod handle;
mod heap;
mod keep_alive;
mod lent;
mod lock;
mod mutator;
mod observer;
mod prefetch;
#[cfg(feature = "conformance")]
mod probe;
mod queue;
#[cfg(test)]
#[path = "queue/tests.rs"]
mod queue_tests;
mod registry;
mod runtime;
mod safepoint;
mod shapes;
mod shared;
mod stats;
mod sync;
mod table;
mod types;
mod weak;

pub use collect::Collection;
pub use collector::{CyclePolicy, Order, Part, Reference, Scope, Tracer};
pub use executor::{Executor, ExecutorError};
pub use finalizer::{FinalizerFn, FinalizerFnBuilder, FinalizerFnError, Following};
pub use finalizers::{
    CleanupId, FinalizerOptions, Finalizers, FinalizersBuilder, FinalizersError, FinalizersStats,
    Finished, ForeignArgument, PreparedFinalizer, RegisterError, WeakId,
};
pub use fing::FinalizerPanic;
pub use fing_stubs as stubs;
pub use fing_stubs::{Abi, Arch, CacheOptions, CodePolicy, Signature};
pub use handle::Handle;
pub use heap::{AccessError, AllocError, HeapError, HeapFault, HeapOptions, HeapReport, HeapStats};
pub use keep_alive::{KeepAlive, keep_alive};
pub use mutator::{Mutator, Obj};
pub use observer::{Call, Observer, ParkReason};
pub use queue::Policy;
pub use registry::{
    AddCleanupError, AttachError, Cleanup, CleanupArgument, CycleReport, DowngradeError,
    FinalizerState, Link, Reason, Registration, SetFinalizerError, Suspect, TypeFinalizer, Value,
};
pub use runtime::{Runtime, RuntimeBuilder, RuntimeError, VerifyError};
pub use safepoint::WorldError;
pub use stats::RuntimeStats;
pub use types::{Itab, Passing, TypeDesc, TypeId, Types, TypesError};
pub use weak::Weak;

/// The README's program compiles and runs.
#[cfg(all(doctest, target_arch = "x86_64", target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
