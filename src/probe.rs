//! The conformance suite's own finalizers and cleanups: functions that tell of their calls, and look at nothing.
#![expect(
    unsafe_code,
    reason = "makes functions of addresses, and registers them"
)]

use std::cell::RefCell;
use std::rc::Rc;

use fing_stubs::Abi;

use crate::collector::Reference;
use crate::finalizer::FinalizerFn;
use crate::finalizers::{
    CleanupId, FinalizerOptions, Finalizers, ForeignArgument, PreparedFinalizer, RegisterError,
};

/// A call, in words.
#[derive(Clone, Copy)]
pub(crate) enum Raw {
    Finalizer { object: u64, context: Option<u64> },
    Cleanup { number: u64, argument: Option<u64> },
}

type Listener = Rc<dyn Fn(Raw)>;

thread_local! {
    /// Who is told of calls on this thread.
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

fn tell(raw: Raw) {
    let listener = LISTENER.with_borrow(Clone::clone);
    if let Some(listener) = listener {
        listener(raw);
    }
}

/// Tells `listener` of the calls that `body` makes on this thread.
pub(crate) fn listen<T>(listener: Listener, body: impl FnOnce() -> T) -> T {
    LISTENER.set(Some(listener));
    let done = body();
    LISTENER.set(None);
    done
}

extern "C-unwind" fn finalize(object: u64, _: u64) {
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

extern "C-unwind" fn finalize_any(_: u64, object: u64, _: u64) {
    tell(Raw::Finalizer {
        object,
        context: None,
    });
}

extern "C-unwind" fn finalize_any_with(_: u64, object: u64, context: u64) {
    let context = Some(context);
    tell(Raw::Finalizer { object, context });
}

/// One of the functions above, with a context.
fn function(signature: &str, code: *const (), context: usize) -> FinalizerFn {
    let signature = signature.parse();
    let signature = signature.unwrap_or_else(|_| unreachable!("a signature of Go"));
    // SAFETY: I8: a System V function of this signature, which is also given its context, and looks at neither.
    unsafe {
        FinalizerFn::builder(signature, Abi::system_v())
            .context(context)
            .at(code)
    }
}

const POINTER: &str = "func(unsafe.Pointer)";

/// The function of finalizers of any object, with an object as its context or without.
pub(crate) fn finalizer(with: Option<usize>) -> FinalizerFn {
    let code = match with {
        Some(_) => finalize_any_with as *const (),
        None => finalize_any as *const (),
    };
    function("func(interface {})", code, with.unwrap_or(0))
}

/// The function of a cleanup.
pub(crate) fn cleanup(number: u64, with: bool) -> FinalizerFn {
    let code = if with { clean_with } else { clean };
    function(POINTER, code as *const (), number as usize)
}

/// The function of finalizers that are given a pointer, with a context of their own or without.
pub(crate) fn pointer_finalizer(with: bool) -> FinalizerFn {
    let code = if with { finalize_with } else { finalize };
    function(POINTER, code as *const (), 0)
}

/// Sets one of the finalizers above.
pub(crate) fn set_finalizer<R: Reference>(
    finalizers: &Finalizers<R>,
    object: R,
    function: &FinalizerFn,
    options: FinalizerOptions<R>,
) -> Result<(), RegisterError> {
    // SAFETY: I16: the functions of this room do not follow their words, whatever they are.
    unsafe { finalizers.set_finalizer(object, function, options) }
}

/// Attaches one of the finalizers above.
pub(crate) fn attach<R: Reference>(
    finalizer: &PreparedFinalizer<R>,
    object: R,
) -> Result<(), RegisterError> {
    // SAFETY: I16: as above.
    unsafe { finalizer.attach(object) }
}

/// Adds one of the cleanups above.
pub(crate) fn add_cleanup<R: Reference>(
    finalizers: &Finalizers<R>,
    object: R,
    function: &FinalizerFn,
    argument: ForeignArgument<R>,
) -> Result<CleanupId, RegisterError> {
    // SAFETY: I16: as above.
    unsafe { finalizers.add_cleanup(object, function, argument) }
}
