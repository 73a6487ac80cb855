//! The conformance suite's own finalizers and cleanups: functions that report their calls and do
//! not follow their arguments.
#![expect(
    unsafe_code,
    reason = "makes functions of addresses, and registers them"
)]

use std::cell::RefCell;
use std::rc::Rc;

use fing_stubs::{Abi, Signature, Type};

use crate::calls::function::{CleanupFn, FinalizerFn};
use crate::calls::options::{FinalizerOptions, HeldValue};
use crate::foreign::{
    Cleanup, Ephemeron, Finalizers, PreparedFinalizer, RegisterError, Watcher, Weak,
};
use crate::order::Reference;

/// A call, as the words it was made with.
#[derive(Clone, Copy)]
pub(crate) enum Raw {
    Finalizer { object: u64, context: Option<u64> },
    Cleanup { number: u64, argument: Option<u64> },
    Watcher { number: u64, object: u64 },
}

impl Raw {
    /// The object of a finalizer or a watcher.
    pub(crate) fn object(self) -> Option<u64> {
        match self {
            Raw::Finalizer { object, .. } | Raw::Watcher { object, .. } => Some(object),
            Raw::Cleanup { .. } => None,
        }
    }
}

type Listener = Rc<dyn Fn(Raw)>;

thread_local! {
    /// The function that is told of calls on this thread.
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

fn tell(raw: Raw) {
    let listener = LISTENER.with_borrow(Clone::clone);
    if let Some(listener) = listener {
        listener(raw);
    }
}

/// Runs `body`, and tells `listener` of the calls it makes on this thread.
pub(crate) fn listen<T>(listener: Listener, body: impl FnOnce() -> T) -> T {
    LISTENER.set(Some(listener));
    let done = body();
    LISTENER.set(None);
    done
}

extern "C-unwind" fn finalize(object: u64) {
    tell(Raw::Finalizer {
        object,
        context: None,
    });
}

extern "C-unwind" fn finalize_with(object: u64, context: u64) {
    let context = Some(context);
    tell(Raw::Finalizer { object, context });
}

extern "C-unwind" fn clean(_: u64, number: u64) {
    tell(Raw::Cleanup {
        number,
        argument: None,
    });
}

extern "C-unwind" fn clean_with(argument: u64, number: u64) {
    let argument = Some(argument);
    tell(Raw::Cleanup { number, argument });
}

extern "C-unwind" fn hear(object: u64, number: u64) {
    tell(Raw::Watcher { number, object });
}

/// An interface by value, which C conventions pass as this struct: in two registers, or as the
/// address of a copy.
#[repr(C)]
struct Interface([u64; 2]);

extern "C-unwind" fn finalize_any(Interface([_, object]): Interface) {
    tell(Raw::Finalizer {
        object,
        context: None,
    });
}

extern "C-unwind" fn finalize_any_with(Interface([_, object]): Interface, context: u64) {
    let context = Some(context);
    tell(Raw::Finalizer { object, context });
}

extern "C-unwind" fn hear_any(Interface([_, object]): Interface, number: u64) {
    tell(Raw::Watcher { number, object });
}

fn signature(text: &str) -> Signature {
    let signature = text.parse();
    signature.unwrap_or_else(|_| unreachable!("a signature of Go"))
}

/// The convention of the functions above.
fn native() -> Abi {
    let native = Abi::host_native();
    native.unwrap_or_else(|_| unreachable!("a host whose stubs run has a C convention"))
}

const POINTER: &str = "func(unsafe.Pointer)";
const ANY: &str = "func(interface {})";

/// What the functions above are given beside the object.
enum Beside {
    Nothing,
    Object,
    Number,
}

impl Beside {
    fn context(with: bool) -> Beside {
        match with {
            true => Beside::Object,
            false => Beside::Nothing,
        }
    }
}

fn function(parameter: &str, code: *const (), beside: Beside) -> FinalizerFn {
    let builder = FinalizerFn::builder(signature(parameter), native());
    let builder = match beside {
        Beside::Nothing => builder,
        Beside::Object => builder.context_object(Type::unsafe_pointer()),
        Beside::Number => builder.context_word(),
    };
    // SAFETY: I8: a C function of this signature, and of a context if it takes one; it looks
    // at neither.
    unsafe { builder.at(code) }
}

/// The function of watchers of any object, with a number as the context of each.
pub(crate) fn watcher() -> FinalizerFn {
    function(ANY, hear_any as *const (), Beside::Number)
}

/// The function of watchers that are given a pointer.
pub(crate) fn pointer_watcher() -> FinalizerFn {
    function(POINTER, hear as *const (), Beside::Number)
}

/// The function of finalizers of any object, with an object as the context of each registration or
/// without.
pub(crate) fn finalizer(with: bool) -> FinalizerFn {
    let code = match with {
        true => finalize_any_with as *const (),
        false => finalize_any as *const (),
    };
    function(ANY, code, Beside::context(with))
}

/// The function of a cleanup.
pub(crate) fn cleanup(number: u64, with: bool) -> CleanupFn {
    let code = if with { clean_with } else { clean };
    let builder = CleanupFn::builder(signature(POINTER), native()).context(number as usize);
    // SAFETY: I8: a C function of a pointer, which is also given its context, and looks at
    // neither.
    unsafe { builder.at(code as *const ()) }
}

/// The function of finalizers that are given a pointer, with an object as the context of each
/// registration or without.
pub(crate) fn pointer_finalizer(with: bool) -> FinalizerFn {
    let code = match with {
        true => finalize_with as *const (),
        false => finalize as *const (),
    };
    function(POINTER, code, Beside::context(with))
}

/// Sets one of the finalizers above.
pub(crate) fn set_finalizer<R: Reference>(
    finalizers: &Finalizers<R>,
    object: R,
    function: &FinalizerFn,
    options: FinalizerOptions<R>,
) -> Result<(), RegisterError> {
    // SAFETY: I16: the functions of this module do not follow their words, whatever they are.
    unsafe { finalizers.set_finalizer_with(object, function, options) }
}

/// Sets one of the finalizers above, which was prepared.
pub(crate) fn set<R: Reference>(
    finalizer: &PreparedFinalizer<R>,
    object: R,
    context: Option<R>,
) -> Result<(), RegisterError> {
    // SAFETY: I16: as above.
    unsafe {
        match context {
            None => finalizer.set(object),
            Some(context) => finalizer.set_with(object, HeldValue::Object(context)),
        }
    }
}

/// Adds one of the cleanups above.
pub(crate) fn add_cleanup<R: Reference>(
    finalizers: &Finalizers<R>,
    object: R,
    function: &CleanupFn,
    argument: HeldValue<R>,
) -> Result<Cleanup, RegisterError> {
    // SAFETY: I16: as above.
    unsafe { finalizers.add_cleanup(object, function, argument) }
}

/// Adds one of the watchers above.
pub(crate) fn add_watcher<R: Reference>(
    finalizers: &Finalizers<R>,
    object: R,
    function: &FinalizerFn,
    options: FinalizerOptions<R>,
) -> Result<Watcher, RegisterError> {
    // SAFETY: I16: as above.
    unsafe { finalizers.add_watcher(object, function, options) }
}

/// Makes a weak handle.
pub(crate) fn downgrade<R: Reference>(finalizers: &Finalizers<R>, object: R) -> Weak {
    // SAFETY: I16: the suite names objects that its collector's roots hold.
    unsafe { finalizers.downgrade(object) }
}

/// Declares that an object is finalized after another one.
pub(crate) fn finalize_after<R: Reference>(
    finalizers: &Finalizers<R>,
    object: R,
    parent: R,
) -> Result<(), RegisterError> {
    // SAFETY: I16: the suite names objects that its collector's roots hold.
    unsafe { finalizers.finalize_after(object, parent) }
}

/// Adds an entry to a weak map.
pub(crate) fn ephemeron<R: Reference>(
    finalizers: &Finalizers<R>,
    map: R,
    key: R,
    value: R,
) -> Ephemeron {
    // SAFETY: I16: as above.
    unsafe { finalizers.ephemeron(map, key, value) }
}

/// Replaces the value of an entry.
pub(crate) fn set_ephemeron_value<R: Reference>(
    finalizers: &Finalizers<R>,
    ephemeron: Ephemeron,
    value: R,
) -> bool {
    // SAFETY: I16: as above.
    unsafe { finalizers.set_ephemeron_value(ephemeron, value) }
}
