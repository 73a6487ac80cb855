//! Callbacks: foreign code calls a Rust closure, or a function of another convention.
//!
//! The assignment that says where a caller puts each value says where the callee finds it. So for
//! every ABI under which this crate calls functions (but Cranelift's `tail`) it can be called: an
//! *entry* is the address of a function of a signature and ABI that are known only at run time.
//! What it leads to is a Rust closure ([`Callback::new`]), or a function of the same signature
//! under another ABI ([`Callback::function`]): a VM's function for C's callers, a C function for
//! Go's callers.
//!
//! ```
//! # if !cfg!(all(target_arch = "x86_64", target_os = "linux")) { return Ok(()) }
//! use fing_stubs::Abi;
//! use fing_stubs::entry::{Callback, Entries};
//!
//! let entries = Entries::new(Default::default())?;
//! let signature = "func(int32, float64) float64".parse()?;
//! let scale = Callback::new(&entries, &signature, Abi::system_v(), |call| {
//!     let (n, x): (i32, f64) = (call.argument(0).unwrap(), call.argument(1).unwrap());
//!     call.set_result(0, f64::from(n) * x).unwrap();
//! })?;
//! // SAFETY: an address of this signature and convention, called while the callback lives.
//! let function: extern "C" fn(i32, f64) -> f64 = unsafe { std::mem::transmute(scale.address()) };
//! assert_eq!(function(3, 0.5), 1.5);
//! # Ok::<(), fing_stubs::StubError>(())
//! ```
//!
//! | type | what it is |
//! |---|---|
//! | [`Entries`] | the home of callbacks: their code and their slots |
//! | [`EntryPoint`] | callers of one signature and convention, with the code that they share |
//! | [`Callback`], [`SharedCallback`] | one address, for one thread or for all |
//! | [`FunctionCallback`] | one address, for all who ask for the same function |
//! | [`Call`] | a call, as a closure sees it |
//! | [`PointFunction`] | a function to which a closure forwards its calls |
//! | [`Report`] | a call that has no result: late, by another thread, or panicked |
//! | [`windows`] | the rules of Go's callbacks on Windows |
//! | [`EntryKey`], [`CompiledEntry`] | the code, for any machine, to look at |
//!
//! `docs/callbacks.md` has the whole contract.
#![deny(unsafe_code)]

mod call;
mod callback;
mod entries;
mod error;
mod forward;
mod function;
mod handler;
mod held;
mod jump;
mod options;
mod pool;
mod report;
mod slot;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod thread;
mod typed;
pub mod windows;

pub use call::{Call, CallValueError, Scalar, WrongValue};
pub use callback::{Callback, Close, Function, SharedCallback};
pub use entries::{Entries, EntryPoint, EntryStats};
pub use error::{CallbackTypeError, CloseError};
pub use forward::PointFunction;
pub use function::FunctionCallback;
pub use options::{CallbackOptions, EntryOptions};
pub use report::{Described, Failure, Freed, Observer, OnFailure, Report};

pub use crate::inward::{CompiledEntry, EntryKey, compile_entry};
