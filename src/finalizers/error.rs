//! Why a foreign collector's object was not registered.
#![forbid(unsafe_code)]

use fing_stubs::{Kind, Signature, StubError};

use crate::finalizer::FinalizerFn;
use crate::shapes::Argument;

/// Why [`Finalizers`](crate::Finalizers) registered nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// An object has one finalizer.
    #[error("set_finalizer: object {word:#x} has a finalizer, wanted one without")]
    AlreadySet {
        /// The object's word.
        word: u64,
    },
    /// The argument keeps the object alive.
    #[error("add_cleanup: the argument is the object {word:#x}, so the cleanup would never run")]
    ArgumentIsObject {
        /// The object's word.
        word: u64,
    },
    /// A variadic function, or none or several parameters.
    #[error("registering {function}: found {found} parameters, wanted exactly one, not variadic")]
    ParameterCount {
        /// The function's signature.
        function: Signature,
        /// How many it has.
        found: usize,
    },
    /// The parameter is no pointer, integer or interface.
    #[error(
        "registering {function}: wanted a parameter that is a pointer, an integer or an interface"
    )]
    NotOneWord {
        /// The function's signature.
        function: Signature,
    },
    /// Nobody said what an interface's first word is.
    #[error(
        "registering {function}: the parameter is an interface, wanted a function with an interface_word"
    )]
    NoInterfaceWord {
        /// The function's signature.
        function: Signature,
    },
    /// A registration with a context for a function that takes none.
    #[error(
        "registering {function} with a context: found a function that takes none, wanted one made with a context"
    )]
    NoContext {
        /// The function's signature.
        function: Signature,
    },
    /// There is no function at address 0.
    #[error("registering {function}: found address 0, wanted a function")]
    NilFunction {
        /// The function's signature.
        function: Signature,
    },
    /// The system has no thread for the finalizer goroutine.
    #[error("registering: no thread for the finalizer goroutine: {0}")]
    NoThread(std::io::Error),
    /// No stub for the function.
    #[error("registering: {0}")]
    Stub(#[from] StubError),
}

/// What the function is called with.
pub(super) fn check(function: &FinalizerFn) -> Result<Argument, RegisterError> {
    let signature = function.signature();
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
    if function.is_nil() {
        return Err(RegisterError::NilFunction {
            function: signature.clone(),
        });
    }
    Ok(argument)
}
