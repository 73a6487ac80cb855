//! What can be wrong with a type, from the caller's side.
#![forbid(unsafe_code)]

use fing_stubs::signature::{ParseError, TypeError};

/// A type, a method or an assignment that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypesError {
    /// The text is no type.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The type cannot be built.
    #[error(transparent)]
    Build(#[from] TypeError),
    /// The name has another definition already.
    #[error("define {name}: defined as {found}, wanted {there} as before")]
    Redefined {
        /// The name.
        name: String,
        /// The definition given now.
        found: String,
        /// The definition it has.
        there: String,
    },
    /// A name without definition stands where the type's size is needed, or was never declared.
    #[error("type {ty}: {name} is not defined in this runtime")]
    Undefined {
        /// The type that mentions it.
        ty: String,
        /// The name.
        name: String,
    },
    /// The type comes from somewhere else, where the name means something else.
    #[error("type {ty}: {name} is {found}, but {there} in this runtime")]
    Mismatch {
        /// The type that mentions it.
        ty: String,
        /// The name.
        name: String,
        /// What it means in the type.
        found: String,
        /// What it means in this runtime.
        there: String,
    },
    /// The type id was made by another runtime.
    #[error("type id {index} belongs to another runtime, wanted one of this runtime")]
    Foreign {
        /// Number of the type there.
        index: u32,
    },
    /// The universe is full.
    #[error("type {ty}: this runtime has all the types it can have")]
    Full {
        /// The type that found no room.
        ty: String,
    },
    /// Go has no methods on such a type.
    #[error(
        "method {method}: receiver {receiver}, wanted a defined type that is no pointer and no interface, or a pointer to one"
    )]
    Receiver {
        /// The receiver given.
        receiver: String,
        /// The method's name.
        method: String,
    },
    /// The signature of a method is a function type.
    #[error("method {method} of {receiver}: signature {found}, wanted a function type")]
    MethodSignature {
        /// The receiver given.
        receiver: String,
        /// The method's name.
        method: String,
        /// What was given as signature.
        found: String,
    },
    /// The base type has a field or a method of that name.
    #[error("method {method} of {receiver}: {receiver} has a {there} of that name already")]
    NameTaken {
        /// The base type.
        receiver: String,
        /// The method's name.
        method: String,
        /// "field" or "method".
        there: &'static str,
    },
    /// Not an interface with methods.
    #[error("itab of {found}, wanted an interface with methods")]
    NotInterface {
        /// The type given.
        found: String,
    },
    /// The type lacks a method of the interface.
    #[error("{ty} does not implement {interface}: method {method} is missing")]
    MethodMissing {
        /// The concrete type.
        ty: String,
        /// The interface.
        interface: String,
        /// The method.
        method: String,
    },
    /// The type has the method with another signature.
    #[error("{ty} does not implement {interface}: method {method} is {found}, wanted {wanted}")]
    MethodDiffers {
        /// The concrete type.
        ty: String,
        /// The interface.
        interface: String,
        /// The method.
        method: String,
        /// Its signature in the concrete type.
        found: String,
        /// Its signature in the interface.
        wanted: String,
    },
    /// Go's runtime does not pass such an object as such a parameter.
    #[error("cannot pass {ty} as {param}: {reason}")]
    NotAssignable {
        /// Type of the pointer to the object.
        ty: String,
        /// Type of the parameter.
        param: String,
        /// What is in the way.
        reason: String,
    },
}
