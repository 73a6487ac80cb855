//! Why a callback could not be closed, or made of a closure of Rust types.
#![forbid(unsafe_code)]

use crate::function::{Mismatch, Side};
use crate::quote::short;
use crate::{Abi, Signature, StubError, Type};

/// Why a callback was not closed. It goes on as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Calls are under way, and `Close::IfIdle` does not wait for them.
    #[error(
        "close callback {}: {calls} calls are under way, wanted none (Close::Wait waits for them)",
        short(.signature)
    )]
    Busy {
        /// Its signature.
        signature: Signature,
        /// Calls under way.
        calls: u32,
    },
    /// This is one of the calls under way, and can't be waited for here.
    #[error(
        "close callback {}: found this thread inside a call of it, wanted it outside \
         (dropping the handle frees it after the call)",
        short(.signature)
    )]
    Inside {
        /// Its signature.
        signature: Signature,
    },
    /// This process is a fork of the one that made the callback, and has no callback to close.
    #[error(
        "close callback {}: made by process {owner}, found its fork {found}, which can't call it",
        short(.signature)
    )]
    Forked {
        /// Its signature.
        signature: Signature,
        /// The process that made it.
        owner: u32,
        /// This process.
        found: u32,
    },
}

/// Why there is no callback of a closure of Rust types. Always the caller's mistake, but for
/// [`CallbackTypeError::Stub`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackTypeError {
    /// The closure takes another number of arguments.
    #[error("typed callback {}: found {found} arguments, wanted {wanted}", short(.signature))]
    Count {
        /// The signature of the callers.
        signature: Box<Signature>,
        /// How many the closure takes.
        found: usize,
        /// How many there are.
        wanted: usize,
    },
    /// A value is of another type.
    #[error(
        "typed callback {}: {side} is {}, found {found}, wanted a type of the same kind, size and \
         sign",
        short(.signature),
        short(.ty)
    )]
    OtherType {
        /// The signature of the callers.
        signature: Box<Signature>,
        /// Which value.
        side: Side,
        /// Its type in the signature.
        ty: Type,
        /// The closure's type for it.
        found: String,
    },
    /// One result, or none, for a signature with several or none.
    #[error("typed callback {}: found {found} for {wanted} results", short(.signature))]
    Results {
        /// The signature of the callers.
        signature: Box<Signature>,
        /// What the closure returns.
        found: String,
        /// How many results there are.
        wanted: usize,
    },
    /// The ABI lays out the values otherwise than Rust, or aligns one to more than 16 bytes.
    #[error(
        "typed callback {} by {abi}: Rust lays out the values otherwise, wanted an ABI with C's \
         layout, and no alignment above 16",
        short(.signature)
    )]
    OtherLayout {
        /// The signature of the callers.
        signature: Box<Signature>,
        /// Their ABI.
        abi: Abi,
    },
    /// The environment's: no memory for more addresses, a forked child.
    #[error(transparent)]
    Stub(#[from] StubError),
}

impl CallbackTypeError {
    pub(super) fn of(mismatch: Mismatch, signature: &Signature, abi: Abi) -> CallbackTypeError {
        let signature = Box::new(signature.clone());
        match mismatch {
            Mismatch::Count { found, wanted } => CallbackTypeError::Count {
                signature,
                found,
                wanted,
            },
            Mismatch::Value { side, ty, found } => CallbackTypeError::OtherType {
                signature,
                side,
                ty,
                found,
            },
            Mismatch::Results { found, wanted } => CallbackTypeError::Results {
                signature,
                found,
                wanted,
            },
            Mismatch::Layout => CallbackTypeError::OtherLayout { signature, abi },
        }
    }
}
