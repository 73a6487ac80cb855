//! fing
mod collect;
mod executor;
mod finalizer;
mod fing;
mod handle;
mod heap;
mod lock;
mod mutator;
mod queue;
mod registry;
mod runtime;
mod safepoint;
mod shapes;
mod shared;
mod stats;
mod sync;
mod table;
mod types;

pub use collect::Collection;
pub use executor::{Executor, ExecutorError};
pub use finalizer::{FinalizerFn, FinalizerFnBuilder, FinalizerFnError, Following};
pub use fing::FinalizerPanic;
pub use fing_stubs as stubs;
pub use fing_stubs::{Abi, Arch, CacheOptions, CodePolicy, Signature};
pub use handle::Handle;
pub use heap::{AccessError, AllocError, HeapError, HeapOptions, HeapStats};
pub use mutator::{Mutator, Obj, keep_alive};
pub use registry::{
    AddCleanupError, Cleanup, CleanupArgument, FinalizerState, SetFinalizerError, Value,
};
pub use runtime::{Runtime, RuntimeBuilder, RuntimeError};
pub use safepoint::WorldError;
pub use stats::RuntimeStats;
pub use types::{Itab, Passing, TypeDesc, TypeId, Types, TypesError};
