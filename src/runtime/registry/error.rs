//! Why nothing was registered. Each error has the message of Go's runtime, where Go has one.
#![forbid(unsafe_code)]

use fing_stubs::{Signature, StubError, Type};

use crate::calls::executor::{Closed, StartError};
use crate::calls::lane::LaneError;
use crate::calls::pressure::BacklogExceeded;
use crate::calls::shapes::ShapeError;
use crate::heap::AllocError;
use crate::types::TypesError;

/// Why [`set_finalizer`](crate::Mutator::set_finalizer) changed nothing. Argument 0 is the object,
/// argument 1 the finalizer. The variants stand in the order in which Go checks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetFinalizerError {
    /// The thread of the finalizer goroutine could not be started.
    #[error("set_finalizer: no thread for the finalizer goroutine: {0}")]
    NoThread(std::io::Error),
    /// Nothing is finalized any more.
    #[error("set_finalizer: {0}")]
    Closed(Closed),
    /// The backlog exceeds a bound whose action is to refuse
    /// ([`Builder::bound_backlog`](crate::RuntimeBuilder::bound_backlog)). Nothing is
    /// wrong with the arguments; it may succeed later.
    #[error("set_finalizer: {0}")]
    Backlog(#[from] BacklogExceeded),
    /// The object's type is not one of this runtime.
    #[error("set_finalizer: argument 0: {0}")]
    ObjectType(TypesError),
    /// The pointer is nil.
    #[error("set_finalizer: argument 0 is nil, wanted a pointer to an object")]
    Nil,
    /// The value is not a pointer.
    #[error("set_finalizer: argument 0 is {found}, wanted a pointer to an object")]
    NotPointer {
        /// Its type.
        found: Type,
    },
    /// A pointer, but to no object of this heap; it may be nil, foreign memory, or of another
    /// runtime.
    #[error("set_finalizer: argument 0 is {object} {addr:#x}, which is in no object of this heap")]
    NotInHeap {
        /// Its type.
        object: Type,
        /// Where it points.
        addr: usize,
    },
    /// A pointer into an object.
    #[error(
        "set_finalizer: argument 0 is {object} {addr:#x}, {} bytes into the object at {base:#x}, \
         wanted its start",
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
    /// Where the pointer points, there is no value of its element type.
    #[error(
        "set_finalizer: argument 0 is {object} {addr:#x}, {} bytes into a {found}, where no such \
         value lies",
        addr - base
    )]
    Mismatch {
        /// The pointer's type.
        object: Type,
        /// Where it points.
        addr: usize,
        /// Where the object begins.
        base: usize,
        /// The object's type.
        found: Type,
    },
    /// The finalizer was prepared for objects of another type.
    #[error("set_finalizer: the object at {addr:#x} is a {found}, wanted a {wanted}")]
    OtherType {
        /// The object's address.
        addr: usize,
        /// Its type.
        found: Type,
        /// The type that the finalizer was prepared for.
        wanted: Type,
    },
    /// Finalizers can't be prepared for this type, as its objects share blocks with others
    /// ([`HeapOptions::tiny`](crate::HeapOptions::tiny)).
    #[error(
        "set_finalizer: values of type {ty} share blocks in this heap, wanted \
         Mutator::set_finalizer for each of them"
    )]
    Tiny {
        /// The type.
        ty: Type,
    },
    /// Objects of an array type can't have a finalizer from the beginning.
    #[error(
        "set_finalizer: {ty} has objects of several sizes, wanted Mutator::set_finalizer for each \
         of them"
    )]
    Sizes {
        /// The type.
        ty: Type,
    },
    /// The finalizer can't be set for all objects of the type, as the type has objects already, or
    /// such a finalizer.
    #[error(
        "set_for_all: the type {ty} has objects or a finalizer for all of them, wanted a type \
         without either"
    )]
    HasObjects {
        /// The type.
        ty: Type,
    },
    /// The function's last parameter is `...T`.
    #[error(
        "set_finalizer: argument 1 is {function}, which is variadic, wanted one parameter that \
         takes {object}"
    )]
    Variadic {
        /// The object's type.
        object: Type,
        /// The function's signature.
        function: Signature,
    },
    /// The function has no or several parameters.
    #[error(
        "set_finalizer: argument 1 is {function}, with {found} parameters, wanted one that takes \
         {object}"
    )]
    ParameterCount {
        /// The object's type.
        object: Type,
        /// The function's signature.
        function: Signature,
        /// How many parameters.
        found: usize,
    },
    /// The function is a bulk finalizer, and its parameters do not fit the object, or its ABI can't
    /// pass them.
    #[error(
        "set_finalizer: argument 1 is {function}, for many objects at once, wanted \
         func(*{object}, int), of an ABI that does not follow the register count"
    )]
    NotBulk {
        /// The object's type.
        object: Type,
        /// The function's signature.
        function: Signature,
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
        /// Why it can't be assigned.
        reason: Box<TypesError>,
    },
    /// The registration's context is not what the function was declared to take.
    #[error(
        "set_finalizer: argument 1 is {function}, the context of this registration is {found}, \
         wanted {wanted}"
    )]
    Context {
        /// The function's signature.
        function: Signature,
        /// What the context is.
        found: Box<str>,
        /// What the function takes.
        wanted: Box<str>,
    },
    /// The type of contexts that the function was declared with is not a pointer type of this
    /// runtime.
    #[error(
        "set_finalizer: argument 1 is {function}, declared with contexts of type {found}, wanted \
         a pointer type of this runtime{}",
        reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"))
    )]
    ContextType {
        /// The function's signature.
        function: Signature,
        /// The type it was declared with.
        found: Type,
        /// What is wrong with it, if it is a pointer.
        reason: Option<Box<TypesError>>,
    },
    /// The function is declared to return a status, and its last result is neither an integer nor
    /// an interface.
    #[error(
        "set_finalizer: argument 1 is {function}, which is declared to return a status, wanted an \
         integer or an interface as its last result"
    )]
    Status {
        /// The object's type.
        object: Type,
        /// The function's signature.
        function: Signature,
    },
    /// The function's address is null. (Go would crash when it is called.)
    #[error("set_finalizer: argument 1 is {function} at address 0, wanted a function")]
    NilFunction {
        /// The function's signature.
        function: Signature,
    },
    /// The stub for the function could not be made.
    #[error("set_finalizer: argument 1: {0}")]
    Stub(#[from] StubError),
    /// The call can't be made where the registration says.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// The object has a finalizer already.
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
    /// Returns the message of Go's runtime for this error, word for word; `None` where Go has no
    /// such check.
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
            _ => return None,
        };
        Some(format!("runtime.SetFinalizer: {text}"))
    }
}

/// Why [`add_watcher`](crate::Mutator::add_watcher) added nothing: one of the reasons for which
/// [`set_finalizer_with`](crate::Mutator::set_finalizer_with) sets nothing.
#[derive(Debug, thiserror::Error)]
#[error("{}", of_watcher(.reason))]
pub struct AddWatcherError {
    reason: SetFinalizerError,
}

/// The text of an error, as one of `add_watcher`.
fn of_watcher(reason: &SetFinalizerError) -> String {
    let text = reason.to_string();
    match text.strip_prefix("set_finalizer: ") {
        Some(rest) => format!("add_watcher: {rest}"),
        None => text,
    }
}

impl AddWatcherError {
    pub(super) fn new(reason: SetFinalizerError) -> AddWatcherError {
        AddWatcherError { reason }
    }

    /// Returns the error that setting a finalizer would have had.
    pub fn reason(&self) -> &SetFinalizerError {
        &self.reason
    }
}

/// Why [`add_cleanup`](crate::Mutator::add_cleanup) added nothing. Argument 0 is the object,
/// argument 1 the cleanup, argument 2 what it is called with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddCleanupError {
    /// The thread of the finalizer goroutine could not be started.
    #[error("add_cleanup: no thread for the finalizer goroutine: {0}")]
    NoThread(std::io::Error),
    /// Nothing is finalized any more.
    #[error("add_cleanup: {0}")]
    Closed(Closed),
    /// The backlog exceeds a bound whose action is to refuse
    /// ([`Builder::bound_backlog`](crate::RuntimeBuilder::bound_backlog)). Nothing is
    /// wrong with the arguments; it may succeed later.
    #[error("add_cleanup: {0}")]
    Backlog(#[from] BacklogExceeded),
    /// The pointer is nil.
    #[error("add_cleanup: argument 0 is nil, wanted a pointer to an object")]
    Nil,
    /// The argument is the object, and would keep it alive.
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
    /// The argument points into the object, and would keep it alive.
    #[error(
        "add_cleanup: argument 2, {addr:#x}, is inside the object at {base:#x}, so the cleanup \
         would never run"
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
    /// The argument has the parameter's size, but is no value of its type.
    #[error("add_cleanup: argument 2 is no {wanted}, the parameter of {function}: {reason}")]
    Value {
        /// The parameter's type.
        wanted: Type,
        /// The function's signature.
        function: Signature,
        /// What is wrong, and where in it.
        reason: String,
    },
    /// The cleanup's context is not what the function was declared to take.
    #[error(
        "add_cleanup: argument 1 is {function}, the context of this cleanup is {found}, wanted \
         {wanted}"
    )]
    Context {
        /// The function's signature.
        function: Signature,
        /// What the context is.
        found: Box<str>,
        /// What the function takes.
        wanted: Box<str>,
    },
    /// The type of contexts that the function was declared with is not a pointer type of this
    /// runtime.
    #[error(
        "add_cleanup: argument 1 is {function}, declared with contexts of type {found}, wanted a \
         pointer type of this runtime{}",
        reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"))
    )]
    ContextType {
        /// The function's signature.
        function: Signature,
        /// The type it was declared with.
        found: Type,
        /// What is wrong with it, if it is a pointer.
        reason: Option<Box<TypesError>>,
    },
    /// The argument could not be stored in the heap, which is full; or its type is not one of this
    /// runtime.
    #[error("add_cleanup: argument 2: {0}")]
    NoRoom(#[from] AllocError),
    /// The cleanup's context is the object, or refers to it, and would keep it alive.
    #[error(
        "add_cleanup: argument 1 has the object {context:#x} as its context, which points into \
         the object at {base:#x}, so the cleanup would never run"
    )]
    ClosesOver {
        /// Where the context begins.
        context: usize,
        /// Where the object begins.
        base: usize,
    },
    /// The function is declared to return a status, and its last result is neither an integer nor
    /// an interface.
    #[error(
        "add_cleanup: argument 1 is {function}, which is declared to return a status, wanted an \
         integer or an interface as its last result"
    )]
    Status {
        /// The function's signature.
        function: Signature,
    },
    /// The function's address is null. (Go would crash when it is called.)
    #[error("add_cleanup: argument 1 is {function} at address 0, wanted a function")]
    NilFunction {
        /// The function's signature.
        function: Signature,
    },
    /// The stub for the function could not be made.
    #[error("add_cleanup: argument 1: {0}")]
    Stub(#[from] StubError),
    /// The call can't be made where the registration says.
    #[error(transparent)]
    Lane(#[from] LaneError),
}

impl AddCleanupError {
    /// Turns an error about a context into one of `add_cleanup`.
    pub(super) fn of_context(error: SetFinalizerError) -> AddCleanupError {
        match error {
            SetFinalizerError::Context {
                function,
                found,
                wanted,
            } => AddCleanupError::Context {
                function,
                found,
                wanted,
            },
            SetFinalizerError::ContextType {
                function,
                found,
                reason,
            } => AddCleanupError::ContextType {
                function,
                found,
                reason,
            },
            _ => unreachable!("checking a context finds nothing else"),
        }
    }

    /// Returns the message of Go's runtime for this error, word for word; `None` where Go has no
    /// such check.
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

/// Why [`downgrade`](crate::Mutator::downgrade) made no weak pointer. Argument 0 is the pointer it
/// would be made from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DowngradeError {
    /// The object that refers weakly could not be made.
    #[error(transparent)]
    Alloc(Box<AllocError>),
    /// A pointer, but to no object of this heap, and to no global.
    #[error("downgrade: argument 0 is {addr:#x}, which is in no object of this heap")]
    NotInHeap {
        /// Where it points.
        addr: usize,
    },
}

impl From<AllocError> for DowngradeError {
    fn from(error: AllocError) -> DowngradeError {
        DowngradeError::Alloc(Box::new(error))
    }
}

impl DowngradeError {
    /// Returns the message of Go's runtime for this error, word for word; `None` where Go has no
    /// such check.
    pub fn go_text(&self) -> Option<String> {
        match self {
            Self::NotInHeap { .. } => Some("getWeakHandle on invalid pointer".to_owned()),
            Self::Alloc(_) => None,
        }
    }
}

impl From<StartError> for SetFinalizerError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Closed(closed) => Self::Closed(closed),
            StartError::NoThread(error) => Self::NoThread(error),
        }
    }
}

impl From<StartError> for AddCleanupError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Closed(closed) => Self::Closed(closed),
            StartError::NoThread(error) => Self::NoThread(error),
        }
    }
}

impl From<ShapeError> for SetFinalizerError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Stub(error) => Self::Stub(error),
            ShapeError::Lane(error) => Self::Lane(error),
        }
    }
}

impl From<ShapeError> for AddCleanupError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Stub(error) => Self::Stub(error),
            ShapeError::Lane(error) => Self::Lane(error),
        }
    }
}
