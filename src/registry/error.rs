//! Why nothing was registered. Each error has Go's words for it, where Go has any.
#![forbid(unsafe_code)]

use fing_stubs::{Signature, StubError, Type};

use crate::heap::AllocError;
use crate::types::TypesError;

/// Why [`set_finalizer`](crate::Runtime::set_finalizer) changed nothing. Argument 0 is the object, argument 1 the
/// finalizer. The variants stand in the order in which Go checks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetFinalizerError {
    /// The mutator is of another runtime.
    #[error("set_finalizer: the mutator belongs to another runtime, wanted one of this runtime")]
    ForeignMutator,
    /// The environment's: no thread for the finalizer goroutine.
    #[error("set_finalizer: no thread for the finalizer goroutine: {0}")]
    NoThread(std::io::Error),
    /// The object's type is none of this runtime.
    #[error("set_finalizer: argument 0: {0}")]
    ObjectType(TypesError),
    /// No object at all.
    #[error("set_finalizer: argument 0 is nil, wanted a pointer to an object")]
    Nil,
    /// Not a pointer.
    #[error("set_finalizer: argument 0 is {found}, wanted a pointer to an object")]
    NotPointer {
        /// Its type.
        found: Type,
    },
    /// A pointer, but to no object of this heap; it may be nil, foreign memory, or of another runtime.
    #[error("set_finalizer: argument 0 is {object} {addr:#x}, which is in no object of this heap")]
    NotInHeap {
        /// Its type.
        object: Type,
        /// Where it points.
        addr: usize,
    },
    /// A pointer into an object.
    #[error(
        "set_finalizer: argument 0 is {object} {addr:#x}, {} bytes into the object at {base:#x}, wanted its start",
        addr - base
    )]
    Interior {
        /// Its type.
        object: Type,
        /// Where it points.
        addr: usize,
        /// Where the object begins.
        base: usize,
    },
    /// The function's last parameter is `...T`.
    #[error(
        "set_finalizer: argument 1 is {function}, which is variadic, wanted one parameter that takes {object}"
    )]
    Variadic {
        /// The object's type.
        object: Type,
        /// The function's signature.
        function: Signature,
    },
    /// The function has no or several parameters.
    #[error(
        "set_finalizer: argument 1 is {function}, with {found} parameters, wanted one that takes {object}"
    )]
    ParameterCount {
        /// The object's type.
        object: Type,
        /// The function's signature.
        function: Signature,
        /// How many parameters.
        found: usize,
    },
    /// The function's parameter does not take the object.
    #[error(
        "set_finalizer: argument 1 is {function}, wanted a parameter that takes {object}: {reason}"
    )]
    NotAssignable {
        /// The object's type.
        object: Type,
        /// The function's signature.
        function: Signature,
        /// By which rule.
        reason: Box<TypesError>,
    },
    /// The function's context is an object of another runtime.
    #[error(
        "set_finalizer: argument 1 has an object of another runtime as its context, wanted one of this runtime"
    )]
    ForeignContext,
    /// There is no function at address 0. (Go would crash when it is run.)
    #[error("set_finalizer: argument 1 is {function} at address 0, wanted a function")]
    NilFunction {
        /// The function's signature.
        function: Signature,
    },
    /// No stub for the function.
    #[error("set_finalizer: argument 1: {0}")]
    Stub(#[from] StubError),
    /// There is a finalizer.
    #[error(
        "set_finalizer: the {object} at {addr:#x} has a finalizer, wanted none (clear it first)"
    )]
    AlreadySet {
        /// The object's type.
        object: Type,
        /// Its address.
        addr: usize,
    },
}

impl SetFinalizerError {
    /// What Go's runtime says in its place, word for word; `None` where Go has no such check.
    pub fn go_text(&self) -> Option<String> {
        let cannot = |object: &Type, function: &Signature| {
            format!("cannot pass {object:#} to finalizer {function:#}")
        };
        let text = match self {
            Self::Nil => "first argument is nil".to_owned(),
            Self::NotPointer { found } => format!("first argument is {found:#}, not pointer"),
            Self::NotInHeap { .. } => "pointer not in allocated block".to_owned(),
            Self::Interior { .. } => "pointer not at beginning of allocated block".to_owned(),
            Self::Variadic { object, function } => {
                format!("{} because dotdotdot", cannot(object, function))
            }
            Self::ParameterCount {
                object, function, ..
            }
            | Self::NotAssignable {
                object, function, ..
            } => cannot(object, function),
            Self::AlreadySet { .. } => "finalizer already set".to_owned(),
            Self::ForeignMutator
            | Self::ForeignContext
            | Self::NoThread(_)
            | Self::ObjectType(_)
            | Self::NilFunction { .. }
            | Self::Stub(_) => return None,
        };
        Some(format!("runtime.SetFinalizer: {text}"))
    }
}

/// Why [`add_cleanup`](crate::Runtime::add_cleanup) added nothing. Argument 0 is the object, argument 1 the cleanup,
/// argument 2 what it is called with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddCleanupError {
    /// The mutator is of another runtime.
    #[error("add_cleanup: the mutator belongs to another runtime, wanted one of this runtime")]
    ForeignMutator,
    /// The environment's: no thread for the finalizer goroutine.
    #[error("add_cleanup: no thread for the finalizer goroutine: {0}")]
    NoThread(std::io::Error),
    /// No object at all.
    #[error("add_cleanup: argument 0 is nil, wanted a pointer to an object")]
    Nil,
    /// The argument keeps the object alive.
    #[error("add_cleanup: argument 2 is argument 0, {addr:#x}, so the cleanup would never run")]
    ArgumentIsObject {
        /// The object's address.
        addr: usize,
    },
    /// A pointer, but to no object of this heap.
    #[error("add_cleanup: argument 0 is {addr:#x}, which is in no object of this heap")]
    NotInHeap {
        /// Where it points.
        addr: usize,
    },
    /// The argument points into the object and keeps it alive.
    #[error(
        "add_cleanup: argument 2, {addr:#x}, is inside the object at {base:#x}, so the cleanup would never run"
    )]
    ArgumentWithinObject {
        /// The argument.
        addr: usize,
        /// Where the object begins.
        base: usize,
    },
    /// The function has no or several parameters, or a variadic one.
    #[error("add_cleanup: argument 1 is {function}, wanted exactly one parameter")]
    ParameterCount {
        /// The function's signature.
        function: Signature,
    },
    /// The function's parameter does not take the argument.
    #[error("add_cleanup: argument 2 is {found}, wanted {wanted}, the parameter of {function}")]
    NotAssignable {
        /// What the argument is.
        found: String,
        /// The parameter's type.
        wanted: Type,
        /// The function's signature.
        function: Signature,
    },
    /// There is no room for the argument on the heap, or it has a type that is none of this runtime.
    #[error("add_cleanup: argument 2: {0}")]
    NoRoom(#[from] AllocError),
    /// The function's context is an object that points into the object and keeps it alive.
    #[error(
        "add_cleanup: argument 1 has the object {context:#x} as its context, which points into the object at {base:#x}, so the cleanup would never run"
    )]
    ClosesOver {
        /// Where the context begins.
        context: usize,
        /// Where the object begins.
        base: usize,
    },
    /// The function's context is an object of another runtime.
    #[error(
        "add_cleanup: argument 1 has an object of another runtime as its context, wanted one of this runtime"
    )]
    ForeignContext,
    /// There is no function at address 0. (Go would crash when it is run.)
    #[error("add_cleanup: argument 1 is {function} at address 0, wanted a function")]
    NilFunction {
        /// The function's signature.
        function: Signature,
    },
    /// No stub for the function.
    #[error("add_cleanup: argument 1: {0}")]
    Stub(#[from] StubError),
}

impl AddCleanupError {
    /// What Go's runtime says in its place, word for word; `None` where Go has no such check.
    pub fn go_text(&self) -> Option<String> {
        let text = match self {
            Self::Nil => "ptr is nil",
            Self::ArgumentIsObject { .. } => "ptr is equal to arg, cleanup will never run",
            Self::NotInHeap { .. } => "ptr not in allocated block",
            Self::ArgumentWithinObject { .. } => "ptr is within arg, cleanup will never run",
            Self::ClosesOver { .. } => "cleanup function closes over ptr, cleanup will never run",
            _ => return None,
        };
        Some(format!("runtime.AddCleanup: {text}"))
    }
}

/// Why there is no weak pointer. Argument 0 is the pointer it would be made from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DowngradeError {
    /// The mutator is of another runtime.
    #[error("downgrade: the mutator belongs to another runtime, wanted one of this runtime")]
    ForeignMutator,
    /// A pointer, but to no object of this heap, and to no global.
    #[error("downgrade: argument 0 is {addr:#x}, which is in no object of this heap")]
    NotInHeap {
        /// Where it points.
        addr: usize,
    },
}

impl DowngradeError {
    /// What Go's runtime says in its place, word for word; `None` where Go has no such check.
    pub fn go_text(&self) -> Option<String> {
        match self {
            Self::NotInHeap { .. } => Some("getWeakHandle on invalid pointer".to_owned()),
            Self::ForeignMutator => None,
        }
    }
}
