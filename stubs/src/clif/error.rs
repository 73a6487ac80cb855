//! Why a signature of Cranelift's is not converted: always the caller's affair.
#![forbid(unsafe_code)]

use cranelift_codegen::isa::CallConv;

use crate::abi::Abi;
use crate::assign::AssignError;
use crate::quote::short;
use crate::signature::{Role, Type, TypeError};

/// Why a signature of Cranelift's is none of this crate's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClifError {
    /// No convention of this crate's is this one on this machine.
    #[error("CLIF signature: call convention {found} on {target}, wanted {wanted}")]
    Convention {
        /// Cranelift's convention.
        found: CallConv,
        /// The machine.
        target: String,
        /// The conventions there are on it.
        wanted: String,
    },
    /// A value of a type that is not converted.
    #[error(
        "CLIF signature: {role} is {found}, wanted i8 to i128, f32, f64 or a vector of them of 8 \
         or 16 bytes"
    )]
    Type {
        /// Where in the signature.
        role: Role,
        /// The value as CLIF.
        found: String,
    },
    /// A value with a special purpose.
    #[error(
        "CLIF signature: {role} is {found}, wanted a normal value, or a vmctx among the parameters"
    )]
    Purpose {
        /// Where in the signature.
        role: Role,
        /// The value as CLIF.
        found: String,
    },
    /// A type was given for a value that the signature does not have.
    #[error(
        "CLIF signature: {} was given for {role}, found {count} of them in the signature",
        short(.ty)
    )]
    NoSuchValue {
        /// Which value.
        role: Role,
        /// The type given.
        ty: Type,
        /// How many parameters or results there are.
        count: usize,
    },
    /// A type was given that is extended by the other sign.
    #[error(
        "CLIF signature: {role} is {found}, and was given as {}, wanted a type of the same sign",
        short(.ty)
    )]
    Extension {
        /// Which value.
        role: Role,
        /// The value as CLIF.
        found: String,
        /// The type given.
        ty: Type,
    },
    /// Cranelift passes a value in other places than the convention.
    #[error(
        "CLIF signature: {role} is {clif}, which Cranelift passes as {found}, wanted {wanted}, \
         where {abi} passes {}",
        short(.ty)
    )]
    Place {
        /// Where in the signature.
        role: Role,
        /// The value as CLIF.
        clif: String,
        /// Its type here.
        ty: Type,
        /// The convention.
        abi: Abi,
        /// Where Cranelift has it.
        found: String,
        /// Where the convention has it.
        wanted: String,
    },
    /// The convention does not pass such values.
    #[error("CLIF signature {}: {error}", short(.clif))]
    Assign {
        /// The signature as CLIF.
        clif: String,
        /// Which value, and why.
        #[source]
        error: AssignError,
    },
    /// More values than a signature may have, or a type given that has no size.
    #[error("CLIF signature: {0}")]
    Signature(#[from] TypeError),
}
