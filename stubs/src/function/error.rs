//! Why a function is not called.
#![forbid(unsafe_code)]

use std::fmt;

use crate::quote::short;
use crate::{Abi, Signature, StubError, Type};

/// Why a function was not called, or is none of the wanted type. Nothing has been called then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// The caller's: another number of arguments.
    #[error("call of {}: found {found} arguments, wanted {wanted}", short(.signature))]
    Count {
        /// The function's signature.
        signature: Box<Signature>,
        /// How many there are.
        found: usize,
        /// How many it takes.
        wanted: usize,
    },
    /// The caller's: a value of another type or size.
    #[error(
        "call of {}: {side} is {}, found {found}, wanted a value of the same kind, size and sign",
        short(.signature),
        short(.ty)
    )]
    OtherType {
        /// The function's signature.
        signature: Box<Signature>,
        /// Which value.
        side: Side,
        /// Its type in the signature.
        ty: Type,
        /// What was given, shortened.
        found: String,
    },
    /// The caller's: one value for no result or several.
    #[error(
        "call of {}: found {found} for {wanted} results, wanted none, or {bytes} bytes",
        short(.signature)
    )]
    Results {
        /// The function's signature.
        signature: Box<Signature>,
        /// What was given, shortened.
        found: String,
        /// How many results there are.
        wanted: usize,
        /// Bytes of all of them.
        bytes: u64,
    },
    /// The caller's: Rust lays out the arguments, or the result, otherwise than this ABI's block.
    #[error(
        "call of {} by {abi}: Rust lays out its values otherwise, wanted an ABI with C's layout",
        short(.signature)
    )]
    OtherLayout {
        /// The function's signature.
        signature: Box<Signature>,
        /// Its ABI.
        abi: Abi,
    },
    /// The caller's: bytes where the type of the value has to be known.
    #[error("call of {}: argument {index} is bytes, wanted a typed value", short(.signature))]
    Untyped {
        /// The function's signature.
        signature: Box<Signature>,
        /// Which argument.
        index: usize,
    },
    /// The caller's: the signature is of no variadic function.
    #[error("call of {}: found no ... in it, wanted a variadic function", short(.signature))]
    NotVariadic {
        /// The signature as given.
        signature: Box<Signature>,
    },
    /// There is no stub for such calls.
    #[error(transparent)]
    Stub(#[from] StubError),
}

/// Which value of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// An argument, from 0.
    Argument(usize),
    /// The result.
    Result,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Side::Argument(n) => write!(f, "argument {n}"),
            Side::Result => f.write_str("the result"),
        }
    }
}
