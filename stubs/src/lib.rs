//! Call a function whose signature is known only at run time, under Go's or a native ABI.

pub mod abi;
pub mod assign;
mod cache;
mod code;
mod compile;
mod error;
pub mod go_frame;
mod host;
mod interp;
mod key;
mod lower;
mod print;
mod publish;
mod record;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod seed;
pub mod signature;
mod stub;
mod unwind;
mod veneer;

pub use abi::{Abi, AbiError, Arch, Family, Machine, RegClass};
pub use assign::{AssignError, Assignment, Piece, Place, Value, assign};
pub use cache::{CacheOptions, CacheStats, CodePolicy, StubCache};
pub use code::DEFAULT_ARENA_CAPACITY;
pub use compile::{Compiled, Compiler};
pub use error::StubError;
pub use key::{DEFAULT_FRAME_LIMIT, KeyOptions, Move, StubKey, Target};
pub use record::{GBlock, RECORD_ARGUMENT, Record};
pub use signature::{Kind, ParseError, Signature, Type, TypeError};
pub use stub::Stub;
