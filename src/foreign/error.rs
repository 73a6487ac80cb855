//! Why a foreign collector's object was not registered.
#![forbid(unsafe_code)]

use fing_stubs::{Kind, Signature, StubError};

use crate::calls::executor::{Closed, StartError};
use crate::calls::function::{ContextKind, Function};
use crate::calls::lane::LaneError;
use crate::calls::options::HeldValue;
use crate::calls::pressure::BacklogExceeded;
use crate::calls::shape::Argument;
use crate::calls::shapes::ShapeError;

/// Why [`Finalizers`](crate::foreign::Finalizers) registered nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The object has a finalizer already.
    #[error("set_finalizer: object {word:#x} has a finalizer, wanted one without")]
    AlreadySet {
        /// The object's word.
        word: u64,
    },
    /// The cleanup's argument is its object, and would keep it alive.
    #[error("add_cleanup: the argument is the object {word:#x}, so the cleanup would never run")]
    ArgumentIsObject {
        /// The object's word.
        word: u64,
    },
    /// The function does not have exactly one parameter, or is variadic.
    #[error("registering {function}: found {found} parameters, wanted exactly one, not variadic")]
    ParameterCount {
        /// The function's signature.
        function: Signature,
        /// How many it has.
        found: usize,
    },
    /// The parameter is not a pointer, an unsigned integer of 4 or 8 bytes, or an interface; a
    /// cleanup's can't be an interface.
    #[error(
        "registering {function}: wanted a parameter that is a pointer, an integer or an interface"
    )]
    NotOneWord {
        /// The function's signature.
        function: Signature,
    },
    /// The parameter is an interface, and the function has no
    /// [`interface_word`](crate::function::FunctionBuilder::interface_word).
    #[error(
        "registering {function}: the parameter is an interface, wanted a function with an \
         interface_word"
    )]
    NoInterfaceWord {
        /// The function's signature.
        function: Signature,
    },
    /// The registration's context is not what the function was declared to take.
    #[error("registering {function}: the context of this registration is {found}, wanted {wanted}")]
    Context {
        /// The function's signature.
        function: Signature,
        /// What the context is.
        found: &'static str,
        /// What the function takes.
        wanted: &'static str,
    },
    /// The function takes the mutator of a [`Runtime`](crate::Runtime).
    #[error("registering {function}: it takes a runtime's mutator, wanted one that takes none")]
    TakesMutator {
        /// The function's signature.
        function: Signature,
    },
    /// The function's address is null.
    #[error("registering {function}: found address 0, wanted a function")]
    NilFunction {
        /// The function's signature.
        function: Signature,
    },
    /// The function is declared to return a status, and its last result is neither an integer nor
    /// an interface.
    #[error("registering {function}: wanted an integer or an interface as its last result")]
    Status {
        /// The function's signature.
        function: Signature,
    },
    /// The declarations would go round in a circle: each object is finalized after the one before
    /// it, and the first after the last.
    #[error("finalize_after: found a cycle of declared orders: {}", print(.path))]
    DeclaredCycle {
        /// The objects' words.
        path: Vec<u64>,
    },
    /// The thread of the finalizer goroutine could not be started.
    #[error("registering: no thread for the finalizer goroutine: {0}")]
    NoThread(std::io::Error),
    /// Nothing is finalized any more.
    #[error(transparent)]
    Closed(Closed),
    /// The backlog exceeds a bound whose action is to refuse
    /// ([`Builder::bound_backlog`](crate::executor::Builder::bound_backlog)).
    /// Nothing is wrong with the arguments; it may succeed later.
    #[error("registering: {0}")]
    Backlog(#[from] BacklogExceeded),
    /// The stub for the function could not be made.
    #[error("registering: {0}")]
    Stub(#[from] StubError),
    /// The call can't be made where the registration says.
    #[error(transparent)]
    Lane(#[from] LaneError),
}

fn print(path: &[u64]) -> String {
    let all = path.iter().chain(path.first());
    let all: Vec<String> = all.map(|word| format!("{word:#x}")).collect();
    all.join(" before ")
}

/// Checks and returns the context of a registration.
pub(super) fn check_context<R>(
    function: &Function,
    context: Option<HeldValue<R>>,
) -> Result<Option<HeldValue<R>>, RegisterError> {
    let wanted = match (function.context(), &context) {
        (ContextKind::None | ContextKind::Fixed(_), None)
        | (ContextKind::Word, Some(HeldValue::Word(_)))
        | (ContextKind::Object(_), Some(HeldValue::Object(_))) => return Ok(context),
        (ContextKind::None | ContextKind::Mutator, _) => "none",
        (ContextKind::Fixed(_), _) => "none, as all registrations have one in common",
        (ContextKind::Word, _) => "a word",
        (ContextKind::Object(_), _) => "an object",
    };
    Err(RegisterError::Context {
        function: function.signature().clone(),
        found: match context {
            None => "none",
            Some(HeldValue::Word(_)) => "a word",
            Some(HeldValue::Object(_)) => "an object",
        },
        wanted,
    })
}

/// Checks a function, and returns how it is passed its argument.
pub(super) fn check(function: &Function) -> Result<Argument, RegisterError> {
    let signature = function.signature();
    if function.takes_mutator() {
        return Err(RegisterError::TakesMutator {
            function: signature.clone(),
        });
    }
    let Some(parameter) = function.only_parameter() else {
        return Err(RegisterError::ParameterCount {
            function: signature.clone(),
            found: signature.arguments().count(),
        });
    };
    let argument = match parameter.underlying() {
        Kind::Pointer(_)
        | Kind::UnsafePointer
        | Kind::Map(..)
        | Kind::Chan(..)
        | Kind::Func(_)
        | Kind::Uintptr
        | Kind::Uint
        | Kind::Uint64
        | Kind::Uint32 => Argument::Pointer,
        Kind::Interface(_) => {
            let word = function.interface_word();
            Argument::Interface(word.ok_or_else(|| RegisterError::NoInterfaceWord {
                function: signature.clone(),
            })?)
        }
        _ => {
            return Err(RegisterError::NotOneWord {
                function: signature.clone(),
            });
        }
    };
    if !function.has_readable_status() {
        return Err(RegisterError::Status {
            function: signature.clone(),
        });
    }
    if function.is_nil() {
        return Err(RegisterError::NilFunction {
            function: signature.clone(),
        });
    }
    Ok(argument)
}

impl From<StartError> for RegisterError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Closed(closed) => Self::Closed(closed),
            StartError::NoThread(error) => Self::NoThread(error),
        }
    }
}

impl From<ShapeError> for RegisterError {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Stub(error) => Self::Stub(error),
            ShapeError::Lane(error) => Self::Lane(error),
        }
    }
}
