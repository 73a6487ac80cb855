//! Errors about types.
#![forbid(unsafe_code)]

use fing_stubs::signature::{ParseError, TypeError};

/// Why a type, a method or an assignment was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypesError {
    /// The text is no type.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The type cannot be built.
    #[error(transparent)]
    Build(#[from] TypeError),
    /// The name is that of a type of the runtime's own.
    #[error("define {name}: fing has a type of its own with this name, wanted another name")]
    Reserved {
        /// The name.
        name: String,
    },
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
    /// The name is shown to people in another way already.
    #[error("declare {name}: shown as {found:?}, wanted {there:?} as before")]
    Display {
        /// The name.
        name: String,
        /// The display given now.
        found: String,
        /// The display it has.
        there: String,
    },
    /// A name was never declared, or has no definition where the type's size is needed.
    #[error("type {ty}: {name} is not defined in this runtime")]
    Undefined {
        /// The type in which the name is.
        ty: String,
        /// The name.
        name: String,
    },
    /// The type comes from elsewhere, and the name has another definition there.
    #[error("type {ty}: {name} is {found}, but {there} in this runtime")]
    Mismatch {
        /// The type in which the name is.
        ty: String,
        /// The name.
        name: String,
        /// Its definition in the type.
        found: String,
        /// Its definition in this runtime.
        there: String,
    },
    /// A name in the type was not defined by this runtime, or was
    /// [given back](super::Types::release) and means another type now.
    #[error(
        "type {ty}: {name} is not of this runtime, or was given back, wanted a type that its \
         Types::parse or parse_signature has read"
    )]
    OtherRuntime {
        /// The type in which the name is.
        ty: String,
        /// The name.
        name: String,
    },
    /// Elements of an array type take no room.
    #[error("array of {ty}: its values have no size, wanted elements of at least a byte")]
    NoElement {
        /// The type of the elements.
        ty: String,
    },
    /// The type id was made by another runtime.
    #[error("type id {index} belongs to another runtime, wanted one of this runtime")]
    Foreign {
        /// Index of the type in that runtime.
        index: u32,
    },
    /// The type was [released](super::Types::release), and given back since nothing named it.
    #[error("type id {index} is of a type that was given back, wanted one that is still there")]
    GivenBack {
        /// The index that the type had.
        index: u32,
    },
    /// A type that only C has: Go's rules of layout and of pointers in it do not say what it is.
    #[error("type {ty}: it is one that only C has, wanted a type of Go's for values of the heap")]
    OnlyC {
        /// The type given.
        ty: String,
    },
    /// This runtime cannot have more types.
    #[error("type {ty}: this runtime has the most types it can have")]
    Full {
        /// The type that was to be added.
        ty: String,
    },
    /// Go has no methods on such a type.
    #[error(
        "method {method}: receiver {receiver}, wanted a defined type that is no pointer and no \
         interface, or a pointer to one"
    )]
    Receiver {
        /// The receiver given.
        receiver: String,
        /// The method's name.
        method: String,
    },
    /// The signature of the method is not a function type.
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
        /// Why not.
        reason: String,
    },
}
