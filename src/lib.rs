//! fing
#![expect(dead_code, reason = "the runtime that uses it is in another branch")]

mod collect;
mod handle;
mod heap;
mod lock;
mod mutator;
mod safepoint;
mod table;
mod types;

pub use collect::Collection;
pub use handle::Handle;
pub use heap::{AccessError, AllocError, HeapError, HeapOptions, HeapStats};
pub use mutator::{Mutator, Obj, keep_alive};
pub use safepoint::WorldError;
pub use types::{Itab, Passing, TypeDesc, TypeId, Types, TypesError};
