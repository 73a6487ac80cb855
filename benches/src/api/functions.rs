//! The functions of `callees` as finalizers and cleanups. Has unsafe code: states which function is
//! at which address.
#![expect(unsafe_code, reason = "says which functions are at which addresses")]

use std::sync::Arc;

use fing::vm::Field;
use fing::{Abi, Arch, CleanupFn, FinalizerFn, Runtime, Types};

use crate::callees::{self, Callee, Kind};
use crate::measure::Fault;

/// The type of the objects, 32 bytes without pointers.
pub(crate) const OBJECT: (&str, &str) = ("bench.T", "[4]uint64");

/// A function for finalizers.
pub(crate) type Finalizer = FinalizerFn;
/// A function for cleanups.
pub(crate) type CleanupFunction = CleanupFn;

fn signature(kind: Kind) -> &'static str {
    match kind {
        Kind::Pointer => "func(*bench.T)",
        Kind::Interface => "func(any)",
        Kind::Results => "func(*bench.T) (int, float32, [10]byte)",
    }
}

/// System V finalizers that count their calls, as many as there are targets.
pub(crate) fn finalizers(types: &Types, kind: Kind) -> Result<Vec<Finalizer>, Fault> {
    let signature = types.parse_signature(signature(kind))?;
    let function = |code: usize| {
        let builder = FinalizerFn::builder(signature.clone(), Abi::system_v());
        // SAFETY: I8: a System V function of the kind's signature, which looks at no object.
        unsafe { builder.at(std::ptr::with_exposed_provenance(code)) }
    };
    Ok(kind.system_v().map(function).into())
}

/// A finalizer that is called with many objects at once.
pub(crate) fn bulk(types: &Types) -> Result<Finalizer, Fault> {
    let signature = types.parse_signature("func(**bench.T, uint)")?;
    let builder = FinalizerFn::builder(signature, Abi::system_v()).bulk();
    let many: extern "C" fn(u64, u64) = callees::many;
    // SAFETY: I8: a System V function of a pointer and an integer, which looks at no object.
    Ok(unsafe { builder.at(many as *const ()) })
}

/// A cleanup with one integer.
pub(crate) fn cleanup(types: &Types) -> Result<CleanupFunction, Fault> {
    let builder = CleanupFn::builder(types.parse_signature("func(int)")?, Abi::system_v());
    let code = std::ptr::with_exposed_provenance(Kind::Pointer.system_v()[0]);
    // SAFETY: I8: a System V function of one word.
    Ok(unsafe { builder.at(code) })
}

/// A Go finalizer that follows the runtime's register count.
pub(crate) fn go_finalizer(types: &Types, kind: Kind) -> Result<Finalizer, Fault> {
    let signature = types.parse_signature(signature(kind))?;
    let codes: Vec<*const ()> = (0..=int_arg_regs())
        .map(|count| callees::go(Callee::Counting, kind, count))
        .map(std::ptr::with_exposed_provenance)
        .collect();
    let builder = FinalizerFn::following_int_arg_regs(signature, Arch::Amd64);
    // SAFETY: I8: it touches no register and no word of its frame: a function of every signature
    // and count.
    Ok(unsafe { builder.at_each(&codes) }?)
}

/// The most integer argument registers that Go's functions have here.
pub(crate) fn int_arg_regs() -> usize {
    fing_stubs::Machine::of(Arch::Amd64).int_regs.len()
}

/// A finalizer for objects of another collector, which does not look at them.
pub(crate) fn of_any_pointer() -> Result<Finalizer, Fault> {
    let builder = FinalizerFn::builder("func(unsafe.Pointer)".parse()?, Abi::system_v());
    let code = std::ptr::with_exposed_provenance(Kind::Pointer.system_v()[0]);
    // SAFETY: I8: a System V function of one pointer, which looks at no object.
    Ok(unsafe { builder.at(code) })
}

/// A finalizer that reads the first word of its object.
pub(crate) fn reading() -> Result<Finalizer, Fault> {
    let builder = FinalizerFn::builder("func(*uint64)".parse()?, Abi::system_v());
    let read: unsafe extern "C" fn(*const u64) = callees::read;
    // SAFETY: I8: a System V function of a pointer to a word.
    Ok(unsafe { builder.at(read as *const ()) })
}

/// A System V finalizer that is lent the mutator, and increments the first word of its object, as
/// machine code of a VM.
pub(crate) fn lent(types: &Types) -> Result<Finalizer, Fault> {
    let signature = types.parse_signature(signature(Kind::Pointer))?;
    let builder = FinalizerFn::builder(signature, Abi::system_v()).takes_mutator();
    let code = std::ptr::with_exposed_provenance(callees::with_mutator());
    // SAFETY: I8: a System V function of a pointer and the mutator.
    Ok(unsafe { builder.at(code) })
}

/// The same as a Rust closure, by a field that is checked once.
pub(crate) fn lent_rust(types: &Types, field: Field<u64>) -> Result<Finalizer, Fault> {
    let signature = types.parse_signature(signature(Kind::Pointer))?;
    Ok(FinalizerFn::from_rust(signature, move |mutator, object| {
        if let Ok(object) = object.get(mutator) {
            callees::increment_field(mutator, object, field);
        }
    }))
}

/// The same by a word whose offset is checked at each access.
pub(crate) fn lent_rust_words(types: &Types) -> Result<Finalizer, Fault> {
    let signature = types.parse_signature(signature(Kind::Pointer))?;
    Ok(FinalizerFn::from_rust(signature, |mutator, object| {
        if let Ok(object) = object.get(mutator) {
            callees::increment_word(mutator, object);
        }
    }))
}

/// A System V finalizer that enters the runtime itself to do the same.
pub(crate) fn entering(runtime: &Arc<Runtime>) -> Result<Finalizer, Fault> {
    let signature = runtime.types().parse_signature(signature(Kind::Pointer))?;
    let context = Arc::as_ptr(runtime).expose_provenance();
    let builder = FinalizerFn::builder(signature, Abi::system_v()).context(context);
    let code: extern "C" fn(usize, &Runtime) = callees::with_runtime;
    // SAFETY: I8: a System V function of a pointer and its context, which the caller keeps.
    Ok(unsafe { builder.at(code as *const ()) })
}

/// A System V finalizer that takes a word as its context, which each registration chooses.
pub(crate) fn closure(types: &Types) -> Result<Finalizer, Fault> {
    let signature = types.parse_signature(signature(Kind::Pointer))?;
    let builder = FinalizerFn::builder(signature, Abi::system_v()).context_word();
    let code: extern "C" fn(u64, u64) = callees::with_context;
    // SAFETY: I8: a System V function of a pointer and a context, which follows neither.
    Ok(unsafe { builder.at(code as *const ()) })
}
