//! Why a callback could not be closed.
#![forbid(unsafe_code)]

use crate::Signature;
use crate::quote::short;

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
