//! Finalizers that count their calls and do nothing else, so that what is measured is everything around them. Room with
//! unsafe code: says which function is at which address.
#![expect(unsafe_code, reason = "says which functions are at which addresses")]

use std::arch::naked_asm;
use std::sync::atomic::{AtomicU64, Ordering};

use fing::{Abi, Arch, FinalizerFn, FinalizerFnError, Types, TypesError};

/// Functions that do the same thing at addresses of their own.
pub(crate) const TARGETS: usize = 8;

/// The type of the objects, 32 bytes without pointers.
pub(crate) const OBJECT: (&str, &str) = ("bench.T", "[4]uint64");

/// Calls of each target.
static COUNTS: [AtomicU64; TARGETS] = [const { AtomicU64::new(0) }; TARGETS];

/// What a finalizer takes and returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `func(*T)`
    Pointer,
    /// `func(any)`
    Interface,
    /// `func(*T) (int, float32, [10]byte)`
    Results,
}

impl Kind {
    /// In Go's syntax.
    fn signature(self) -> &'static str {
        match self {
            Kind::Pointer => "func(*bench.T)",
            Kind::Interface => "func(any)",
            Kind::Results => "func(*bench.T) (int, float32, [10]byte)",
        }
    }

    /// Addresses of System V functions.
    pub(crate) fn system_v(self) -> [usize; TARGETS] {
        macro_rules! each {
            ($function:ident: $ty:ty) => {
                [
                    $function::<0> as $ty as usize,
                    $function::<1> as $ty as usize,
                    $function::<2> as $ty as usize,
                    $function::<3> as $ty as usize,
                    $function::<4> as $ty as usize,
                    $function::<5> as $ty as usize,
                    $function::<6> as $ty as usize,
                    $function::<7> as $ty as usize,
                ]
            };
        }
        match self {
            Kind::Pointer => each!(pointer: OfPointer),
            Kind::Interface => each!(interface: OfInterface),
            Kind::Results => each!(results: WithResults),
        }
    }
}

/// Three results, as a C structure.
#[repr(C)]
pub(crate) struct Results(i64, f32, [u8; 10]);

/// [`Kind::Pointer`], System V.
pub(crate) type OfPointer = extern "C" fn(u64);
/// Of an array of pointers and their number, System V.
type OfMany = extern "C" fn(u64, u64);
/// [`Kind::Interface`], System V.
pub(crate) type OfInterface = extern "C" fn(u64, u64);
/// [`Kind::Results`], System V.
pub(crate) type WithResults = extern "C" fn(u64) -> Results;

fn count<const N: usize>() -> u64 {
    // One thread at a time runs finalizers, so this need not be one atomic instruction.
    let calls = COUNTS[N].load(Ordering::Relaxed) + 1;
    COUNTS[N].store(calls, Ordering::Relaxed);
    calls
}

extern "C" fn pointer<const N: usize>(_object: u64) {
    count::<N>();
}

extern "C" fn interface<const N: usize>(_itab: u64, _object: u64) {
    count::<N>();
}

extern "C" fn results<const N: usize>(_object: u64) -> Results {
    Results(count::<N>() as i64, 1.5, [1; 10])
}

extern "C" fn many(_objects: u64, count: u64) {
    COUNTS[0].store(COUNTS[0].load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

/// Under Go's ABI, whatever the number of argument registers: the argument is not looked at.
#[unsafe(naked)]
unsafe extern "C" fn go() {
    naked_asm!("inc qword ptr [rip + {counts}]", "ret", counts = sym COUNTS)
}

/// Calls of all targets so far.
pub(crate) fn calls() -> u64 {
    COUNTS
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .sum()
}

/// System V finalizers, as many as there are targets.
///
/// # Errors
/// The signature's.
pub(crate) fn finalizers(types: &Types, kind: Kind) -> Result<Vec<FinalizerFn>, TypesError> {
    let signature = types.parse_signature(kind.signature())?;
    let function = |code: usize| {
        let builder = FinalizerFn::builder(signature.clone(), Abi::system_v());
        // SAFETY: I8: a System V function of the kind's signature, which looks at no object.
        unsafe { builder.at(std::ptr::with_exposed_provenance(code)) }
    };
    Ok(kind.system_v().map(function).into())
}

/// A finalizer that is called with many objects at once.
///
/// # Errors
/// The signature's.
pub(crate) fn bulk(types: &Types) -> Result<FinalizerFn, TypesError> {
    let signature = types.parse_signature("func(**bench.T, uint)")?;
    let builder = FinalizerFn::builder(signature, Abi::system_v()).bulk();
    // SAFETY: I8: a System V function of a pointer and an integer, which looks at no object.
    Ok(unsafe { builder.at(many as OfMany as *const ()) })
}

/// A cleanup with one integer.
///
/// # Errors
/// The signature's.
pub(crate) fn cleanup(types: &Types) -> Result<FinalizerFn, TypesError> {
    let builder = FinalizerFn::builder(types.parse_signature("func(int)")?, Abi::system_v());
    // SAFETY: I8: a System V function of one word.
    Ok(unsafe { builder.at(pointer::<0> as OfPointer as *const ()) })
}

/// A Go finalizer that follows the runtime's register count.
///
/// # Errors
/// The signature's.
pub(crate) fn go_finalizer(types: &Types, kind: Kind) -> Result<FinalizerFn, GoFinalizerError> {
    let signature = types.parse_signature(kind.signature())?;
    let codes: Vec<*const ()> = (0..=fing::stubs::Machine::of(Arch::Amd64).int_regs.len())
        .map(|_| go as *const ())
        .collect();
    let builder = FinalizerFn::following_int_arg_regs(signature, Arch::Amd64);
    // SAFETY: I8: `go` touches no register and no word of its frame, so it is a function of every signature and count.
    Ok(unsafe { builder.at_each(&codes) }?)
}

/// Why there is no Go finalizer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GoFinalizerError {
    /// Its signature.
    #[error(transparent)]
    Types(#[from] TypesError),
    /// Its addresses.
    #[error(transparent)]
    Function(#[from] FinalizerFnError),
}
