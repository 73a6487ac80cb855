//! Finalizers, cleanups and weak pointers for language VMs, with the semantics of Go's runtime.
//!
//! A VM's objects live on a [`Runtime`]'s heap. One is registered with a finalizer, a function of a
//! known signature and ABI ([`FinalizerFn`]). When a collection finds the object unreachable, the
//! object is kept and queued, and the *finalizer goroutine* calls the function with it, through a
//! call stub that Cranelift made for the signature.
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
//! 2. Touch objects through a [`Mutator`]: [`Runtime::attach`] for a thread's life,
//!    [`Runtime::enter`] for a moment. An [`Obj`] is good until the next safepoint, a [`Handle`]
//!    until it is dropped.
//! 3. Say once, in an `unsafe` block, which function is at which address: [`FinalizerFn::builder`]
//!    and [`CleanupFn::builder`].
//! 4. [`Mutator::set_finalizer`], [`Mutator::add_cleanup`]; every check that Go makes is made, and
//!    fails as a typed error with Go's own text in it. One function serves any number of closures:
//!    each registration may have a context of its own ([`Mutator::set_finalizer_with`]).
//!    [`Mutator::downgrade`] makes weak pointers.
//! 5. [`Runtime::gc`], or a [`Mutator`]'s. Finalizers run on a thread of the runtime, or where the
//!    embedder says ([`Executor`]).
//!
//! A VM with a collector of its own uses [`foreign::Finalizers`] in place of a [`Runtime`], and
//! implements [`foreign::Tracer`].
//!
//! See the repository's `examples/embed.rs` for a whole small VM, `examples/bring_your_own_gc.rs`
//! for a collector. In `docs/`, `embedding.md` is for an author of a VM, `migrating.md` for one who
//! has finalizers already, and `walk.md` is the way of one finalizer through the code; the
//! `README.md` there lists the others.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` (default) | the `fing` command; an embedder does without: `default-features = false` |
//! | `all-arch` | stubs for every machine that Cranelift has, to look at |
//! | `conformance` | `fing::conformance`, a suite that collectors run against themselves |
//!
//! # What it does not do
//!
//! It is not a Go runtime: there are no goroutines but the one, no growing stacks, no scheduler. Go
//! functions are called as Go would call them, and must need no more than their arguments. As in
//! Go, nothing is finalized at exit, but for [`Runtime::exit`]; and unless [`Order::Topological`]
//! is asked for, a cycle of objects with finalizers is never finalized, and of a chain one link is
//! finalized a collection.
//!
//! # Platforms
//!
//! The heap and the stubs run on Linux on x86-64, arm64, riscv64 and s390x. Elsewhere building a
//! [`Runtime`] is an error that says what is missing.
#![warn(missing_debug_implementations)]

mod base;
mod calls;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod foreign;
mod heap;
mod order;
mod runtime;
pub mod types;
mod world;

pub use calls::executor::Executor;
pub use calls::function::{CleanupFn, FinalizerFn};
pub use calls::options::{FinalizerOptions, HeldValue};
pub use calls::queue::CallStage;
pub use fing_stubs as stubs;
pub use fing_stubs::{Abi, Arch, Signature};
pub use heap::HeapOptions;
pub use order::{CyclePolicy, Order};
pub use runtime::Runtime;
pub use runtime::builder::RuntimeBuilder;
pub use runtime::collect::Collection;
pub use runtime::keep_alive::{KeepAlive, keep_alive};
pub use runtime::lent::Finalized;
pub use runtime::mutator::Mutator;
pub use runtime::object::Obj;
pub use runtime::registry::{
    Cleanup, CleanupArgument, CleanupOptions, FinalizerState, Pointer, PreparedFinalizer, Watcher,
};
pub use runtime::stats::RuntimeStats;
pub use runtime::weak::Weak;
pub use types::{TypeId, Types};
pub use world::handle::Handle;

/// Making [`FinalizerFn`]s and [`CleanupFn`]s.
pub mod function {
    pub use crate::calls::function::{Following, FunctionBuilder, FunctionError, UncheckedBytes};
}

/// Callbacks that objects own: foreign code calls a closure for as long as an object lives.
///
/// [`Mutator::callback`] makes them. See `docs/callbacks.md`; callbacks without an owner are those
/// of [`stubs::entry`].
pub mod callbacks {
    pub use crate::runtime::callback::{
        CallbackCloseError, CallbackError, Captured, OwnedCallback,
    };
    pub use fing_stubs::entry::{Call, CallbackOptions, Close, EntryPoint, PointFunction};
}

/// Where, when and in which order finalizers run: options of a runtime and of its threads,
/// mailboxes, budgets of drains, bounds of what is queued.
pub mod executor {
    pub use crate::calls::budget::{Budget, Drained};
    pub use crate::calls::builder::{Buildable, Builder};
    pub use crate::calls::due::Due;
    pub use crate::calls::lane::{Lane, LaneError, MailboxId, Pool};
    pub use crate::calls::mailbox::{Mailbox, MailboxOptions};
    pub use crate::calls::pressure::{BacklogAction, BacklogExceeded};
    pub use crate::calls::queue::{BacklogBound, DrainOrder};
    pub use crate::calls::thread::ThreadOptions;
}

/// For a VM that has generated code, or an interpreter with frames of its own.
///
/// See `docs/embedding.md`.
pub mod vm {
    pub use crate::runtime::embed::field::{Field, FieldValue, RefField};
    pub use crate::runtime::embed::flag::SafepointFlag;
    pub use crate::runtime::embed::frames::Frames;
    pub use crate::runtime::embed::parked::Parked;
    pub use crate::runtime::embed::window::Window;
    pub use crate::world::sources::RootSource;
    pub use fing_stubs::frames::{Callers, FrameError, RegisteredCode, Stack};
}

/// Waiting for calls, and ending finalization.
pub mod ends {
    pub use crate::calls::exit::{ExitPolicy, ExitReport, NotRun};
    pub use crate::calls::queue::Outstanding;
    pub use crate::calls::ticket::Ticket;
    pub use crate::runtime::collected::Collected;
    pub use crate::runtime::weak_runtime::WeakRuntime;
}

/// Watching finalization: what the goroutine does, as it happens; what is registered and queued;
/// how long calls take.
pub mod observe {
    pub use crate::calls::misuse::{MisuseKind, MutatorMisuse};
    pub use crate::calls::observer::{Call, Observer, ParkReason};
    pub use crate::calls::queue::{Backlog, CallStats};
    pub use crate::calls::samples::{CallTimes, FunctionTimes, SlowCall};
    pub use crate::calls::sites::SiteStats;
    pub use crate::heap::HeapStats;
    pub use crate::runtime::registry::{Listed, State};
}

/// When calls fail: what is reported, and what is done about it.
///
/// See `docs/failures.md`.
pub mod failure {
    pub use crate::calls::failure::{Cause, Decision, Failure, FailurePolicy};
    pub use crate::calls::options::Handling;
    pub use crate::calls::queue::CallKind;
    pub use crate::calls::watchdog::Watchdog;
}

/// Looking for faults: registrations that can't become due, cycles, heaps that are not sound.
pub mod check {
    pub use crate::heap::{HeapFault, HeapReport};
    pub use crate::order::{KeepPath, Keeper, PathLink};
    pub use crate::runtime::VerifyError;
    pub use crate::runtime::registry::{
        CycleReport, Link, Reason, Registration, Suspect, WhyError,
    };
}

/// What can go wrong. Each error names the operation, the argument, what was found and what was
/// wanted.
///
/// A mistake of the caller's, a lack of the environment (no memory, no thread, no executable
/// mapping), and a bug of this crate are told apart: the first two are variants of these types, the
/// third is a panic.
pub mod error {
    pub use crate::calls::builder::CallsError;
    pub use crate::calls::executor::{Closed, ExecutorError};
    pub use crate::heap::{AccessError, AccessErrorKind, AllocError, HeapError};
    pub use crate::runtime::builder::RuntimeError;
    pub use crate::runtime::exit::ExitError;
    pub use crate::runtime::registry::{
        AddCleanupError, AddWatcherError, AfterError, DowngradeError, SetFinalizerError,
    };
    pub use crate::world::threads::WorldError;
}

/// The README's program compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So do those of the guide for VMs.
#[cfg(all(
    doctest,
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "s390x"
    )
))]
#[doc = include_str!("../docs/embedding.md")]
struct Embedding;

/// So do those of the page for users of libffi.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../docs/from-libffi.md")]
struct FromLibffi;

/// So do those of the page on finalizers that were made by hand.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../docs/migrating.md")]
struct Migrating;

/// So does the program of the guide for collectors.
#[cfg(doctest)]
#[doc = include_str!("../docs/collectors.md")]
struct Collectors;
