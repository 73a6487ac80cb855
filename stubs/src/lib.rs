//! Call a function whose signature is known only at run time, under Go's or a native ABI.
//!
//! A signature and an ABI lead to an *assignment*: where each byte of each value travels. From it a
//! *call stub* is compiled by Cranelift, one for all signatures whose values travel alike, and run
//! over batches of calls.
//!
//! | module or type | what it says |
//! |---|---|
//! | [`signature`] | which types are passed, and how many bytes they take |
//! | [`c`] | types and prototypes in C's spelling |
//! | [`abi`] | which registers carry arguments and results on each machine |
//! | [`mod@assign`] | where each byte of each value travels |
//! | [`mod@check`] | whether an assignment is what the ABI's text says |
//! | [`StubKey`] | what the code of such a call depends on |
//! | [`StubCache`], [`Stub`], [`CallStub`] | where that code is, and how it is run |
//! | [`frames`] | which references lie in frames of generated code, by Cranelift's stack maps |
//! | [`function`] | functions at addresses, called with values that are checked |
//! | [`entry`] | callbacks: foreign code calls a closure, or a function of another ABI |
//! | [`Compiler`] | the code of stubs for any machine, to look at or to store |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `all-arch` | no | code for every machine that Cranelift has ([`Compiler::for_target`]) |
//! | `clif` | no | `clif`: functions of the embedder's JIT; Cranelift's types in the API |
//! | `explain` | no | `Assignment::to_json`; `go_frame`, the frames that Go reserves |
//! | `testing` | no | no part of the API: random signatures, callees in assembly |
//! | `faults` | no | for tests, no part of the API: mistakes planted on purpose |
//!
//! # Hosts
//!
//! Assignments, keys and the compiler work everywhere. Stubs run on Linux, on x86-64, arm64,
//! riscv64 and s390x; the interpreter of assignments ([`CodePolicy::Interpret`]) on those machines
//! under any Unix. Elsewhere the crate builds, and a [`StubCache`] answers
//! [`StubError::UnsupportedHost`].
//!
//! # Example
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
//!   offset       +-----------------------------+  <- argument base = sp+8 at the call
//!      0..32     | result 0: [4]int64          |  stack results
//!                +-----------------------------+
//!     32..48     | for argument 0: interface{} |  spill slots
//!             48 +-----------------------------+
//! ```
#![deny(missing_debug_implementations)]

pub mod abi;
pub mod assign;
mod barrier;
mod block;
pub mod c;
mod cache;
mod call;
pub mod check;
#[cfg(feature = "clif")]
pub mod clif;
mod code;
mod compile;
pub mod entry;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
pub mod frames;
pub mod function;
#[cfg(feature = "testing")]
pub mod fuzzing;
mod gate;
#[cfg(feature = "explain")]
pub mod go_frame;
mod host;
mod interp;
mod inward;
mod key;
mod lock;
mod lower;
#[cfg(feature = "faults")]
mod planted;
mod print;
mod publish;
pub mod quote;
mod record;
#[cfg(feature = "testing")]
pub mod seed;
pub mod signature;
mod stub;
mod tools;
mod unwind;
mod veneer;

pub use abi::{Abi, AbiError, Arch, Convention, Family, Machine, NativeConvention, RegClass};
pub use assign::{AssignError, Assignment, Piece, Place, Value, assign};
pub use barrier::barrier_on_all_threads;
pub use block::BlockLayout;
pub use cache::{CacheOptions, CacheStats, CodePolicy, FoundCode, StubCache};
pub use call::{CallError, CallStub};
pub use code::{DEFAULT_ARENA_CAPACITY, WriteAccess};
pub use compile::{Compiled, Compiler};
pub use error::StubError;
pub use gate::{Gate, GateState};
pub use key::{
    DEFAULT_FRAME_LIMIT, KeyOptions, Move, ResultMove, ResultSource, Source, StubKey, Target,
};
pub use publish::CodePart;
pub use record::{GBlock, RECORD_ARGUMENT, Record};
pub use signature::{Kind, ParseError, Signature, Type, TypeError};
pub use stub::Stub;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
