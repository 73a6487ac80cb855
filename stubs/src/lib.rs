//! Call a function whose signature is known only at run time, under Go's or a native ABI.
//!
//! The road of a call begins here:
//!
//! | module | question |
//! |---|---|
//! | [`signature`] | What types are passed, and how many bytes do they take? |
//! | [`abi`] | Which registers carry arguments on this machine? |
//! | [`mod@assign`] | Where does each byte of each value travel? |
//! | [`mod@check`] | Is that what the ABI's text says? |
//! | [`go_frame`] | How large a frame does Go itself give a finalizer? |
//! | [`StubKey`] | What does the code of such a call depend on? |
//! | [`StubCache`], [`Stub`] | Where is that code, and how is it run? |
//!
//! ```
//! use fing_stubs::abi::{Abi, Arch};
//! use fing_stubs::assign::assign;
//! use fing_stubs::check::check;
//! use fing_stubs::signature::Signature;
//!
//! let sig: Signature = "func(any) [4]int64".parse()?;
//! let a = assign(&sig, Abi::go(Arch::Arm64))?;
//! check(&sig, &a)?;
//! println!("{}", a.frame_picture());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The example prints
//!
//! ```text
//! go/arm64:16,16: frame of 48 bytes
//!
//!   registers
//!     x0     <- argument 0, bytes 0..8: interface{}
//!     x1     <- argument 0, bytes 8..16: interface{}
//!
//!   offset       +-----------------------------+  <- argument base = sp+8 at the call; below it the callee may save x30
//!      0..32     | result 0: [4]int64          |  stack results
//!                +-----------------------------+
//!     32..48     | for argument 0: interface{} |  spill slots
//!             48 +-----------------------------+
//! ```

pub mod abi;
pub mod assign;
mod block;
mod cache;
mod call;
pub mod check;
mod code;
mod compile;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
#[doc(hidden)]
pub mod fuzzing;
pub mod go_frame;
mod host;
mod interp;
mod key;
mod lock;
mod lower;
mod print;
mod publish;
pub mod quote;
mod record;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod seed;
pub mod signature;
mod stub;
mod unwind;
mod veneer;

pub use abi::{Abi, AbiError, Arch, Convention, Family, Machine, NativeConvention, RegClass};
pub use assign::{AssignError, Assignment, Piece, Place, Value, assign};
pub use block::BlockLayout;
pub use cache::{CacheOptions, CacheStats, CodePolicy, StubCache};
pub use call::{CallError, CallStub};
pub use code::DEFAULT_ARENA_CAPACITY;
pub use compile::{Compiled, Compiler};
pub use error::StubError;
pub use key::{
    DEFAULT_FRAME_LIMIT, KeyOptions, Move, ResultMove, ResultSource, Source, StubKey, Target,
};
pub use record::{GBlock, RECORD_ARGUMENT, Record};
pub use signature::{Kind, ParseError, Signature, Type, TypeError};
pub use stub::Stub;
