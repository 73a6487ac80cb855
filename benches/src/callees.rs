//! Functions that are called while something is measured. They do next to nothing, so that what is
//! measured is everything around them. Has unsafe code: assembly, and a function that reads its
//! object.
#![expect(unsafe_code, reason = "assembly, and a read of an object")]

use std::arch::naked_asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fing::vm::Field;
use fing::{Mutator, Obj, Runtime};

/// Functions that do the same thing at addresses of their own.
pub(crate) const TARGETS: usize = 8;

/// What a function takes and returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `func(*T)`: one word.
    Pointer,
    /// `func(any)`: two words, of which no function here looks at the first.
    Interface,
    /// `func(*T) (int, float32, [10]byte)`
    Results,
}

impl Kind {
    /// Those that return nothing.
    pub(crate) const PLAIN: [Kind; 2] = [Kind::Pointer, Kind::Interface];

    /// As part of a subject's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Pointer => "pointer",
            Kind::Interface => "interface",
            Kind::Results => "results",
        }
    }

    /// Addresses of System V functions that count their calls.
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

/// What a function does with its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    /// Returns at once.
    Empty,
    /// Counts its calls, without looking at its argument.
    Counting,
    /// Increments the first word of its object.
    Touching,
}

/// Address of a System V function of this kind.
pub(crate) fn system_v(callee: Callee, kind: Kind) -> usize {
    let entry: unsafe extern "C" fn() = match (callee, kind) {
        (Callee::Counting, _) => return kind.system_v()[0],
        (Callee::Empty, _) => empty,
        (Callee::Touching, Kind::Interface) => touch_rsi,
        (Callee::Touching, Kind::Pointer | Kind::Results) => touch_rdi,
    };
    entry as usize
}

/// Address of a function under Go's ABI with this many integer argument registers, 0 to 9.
pub(crate) fn go(callee: Callee, kind: Kind, int_arg_regs: usize) -> usize {
    let entry: unsafe extern "C" fn() = match (callee, kind, int_arg_regs) {
        (Callee::Empty, ..) => empty,
        (Callee::Counting, ..) => count_calls,
        (Callee::Touching, Kind::Interface, 0 | 1) => touch_frame_word_1,
        (Callee::Touching, Kind::Interface, _) => touch_rbx,
        (Callee::Touching, _, 0) => touch_frame_word_0,
        (Callee::Touching, ..) => touch_rax,
    };
    entry as usize
}

/// Three results, as a C structure.
#[repr(C)]
pub(crate) struct Results(i64, f32, [u8; 10]);

/// [`Kind::Pointer`], System V.
pub(crate) type OfPointer = extern "C" fn(u64);
/// [`Kind::Interface`], System V.
pub(crate) type OfInterface = extern "C" fn(u64, u64);
/// [`Kind::Results`], System V.
pub(crate) type WithResults = extern "C" fn(u64) -> Results;

/// Calls of each target.
static COUNTS: [AtomicU64; TARGETS] = [const { AtomicU64::new(0) }; TARGETS];
/// The sum of the contexts that [`with_context`] was given.
static CONTEXTS: AtomicU64 = AtomicU64::new(0);

/// Calls of all counting functions so far.
pub(crate) fn calls() -> u64 {
    COUNTS.iter().map(|count| count.load(Relaxed)).sum()
}

/// The sum of all contexts so far.
pub(crate) fn contexts() -> u64 {
    CONTEXTS.load(Relaxed)
}

/// One thread at a time runs finalizers, so this need not be one atomic instruction.
fn add(counter: &AtomicU64, number: u64) -> u64 {
    let sum = counter.load(Relaxed).wrapping_add(number);
    counter.store(sum, Relaxed);
    sum
}

extern "C" fn pointer<const N: usize>(_object: u64) {
    add(&COUNTS[N], 1);
}

extern "C" fn interface<const N: usize>(_itab: u64, _object: u64) {
    add(&COUNTS[N], 1);
}

extern "C" fn results<const N: usize>(_object: u64) -> Results {
    Results(add(&COUNTS[N], 1) as i64, 1.5, [1; 10])
}

/// Takes an array of pointers and their number; counts as many calls.
pub(crate) extern "C" fn many(_objects: u64, count: u64) {
    add(&COUNTS[0], count);
}

/// Takes an object and a context; counts the call, and adds the context to a sum.
pub(crate) extern "C" fn with_context(_object: u64, context: u64) {
    add(&COUNTS[0], 1);
    add(&CONTEXTS, context);
}

/// Address of a System V function that takes an object and the mutator, as machine code of a VM
/// does: counts, and increments the object's first word, which takes no call.
pub(crate) fn with_mutator() -> usize {
    let entry: unsafe extern "C" fn() = count_and_touch_rdi;
    entry as usize
}

/// Counts, and increments a field of an object.
#[inline]
pub(crate) fn increment_field(mutator: &Mutator, object: Obj<'_>, field: Field<u64>) {
    if let Ok(value) = mutator.load_field(object, field)
        && mutator.store_field(object, field, value + 1).is_ok()
    {
        add(&COUNTS[0], 1);
    }
}

/// Counts, and increments an object's first word, whose offset is checked each time.
#[inline]
pub(crate) fn increment_word(mutator: &Mutator, object: Obj<'_>) {
    if let Ok(word) = mutator.load_word(object, 0)
        && mutator.store_word(object, 0, word + 1).is_ok()
    {
        add(&COUNTS[0], 1);
    }
}

/// Takes an object and a runtime as its context: enters the runtime to increment the object's first
/// word.
pub(crate) extern "C" fn with_runtime(object: usize, runtime: &Runtime) {
    let entered = runtime.enter(|mutator| {
        // SAFETY: a finalizer is called with its object.
        increment_word(mutator, unsafe { mutator.adopt_unchecked(object) });
    });
    debug_assert!(entered.is_ok(), "a finalizer's thread has no mutator");
}

/// Reads its object, which must be 1, and counts by it.
///
/// # Safety
/// A readable word is at the address.
pub(crate) unsafe extern "C" fn read(object: *const u64) {
    // SAFETY: the caller's promise.
    add(&COUNTS[0], black_box(unsafe { object.read() }));
}

macro_rules! assembly {
    ($($name:ident: [$($line:literal),*] $($sym:ident = $path:path)?;)*) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!($($line,)* "ret", $($sym = sym $path,)?)
        }
    )*};
}

// System V has the arguments in RDI and RSI; Go in RAX and RBX, or above the return address. RAX is
// free in both.
assembly! {
    empty: [];
    count_calls: ["inc qword ptr [rip + {counts}]"] counts = COUNTS;
    touch_rdi: ["inc qword ptr [rdi]"];
    count_and_touch_rdi: ["inc qword ptr [rdi]", "inc qword ptr [rip + {counts}]"] counts = COUNTS;
    touch_rsi: ["inc qword ptr [rsi]"];
    touch_rax: ["inc qword ptr [rax]"];
    touch_rbx: ["inc qword ptr [rbx]"];
    touch_frame_word_0: ["mov rax, [rsp + 8]", "inc qword ptr [rax]"];
    touch_frame_word_1: ["mov rax, [rsp + 16]", "inc qword ptr [rax]"];
}
