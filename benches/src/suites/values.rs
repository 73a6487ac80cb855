//! A call with structs by value and a variadic call, beside libffi with a prepared call interface.
//! Has unsafe code: calls functions by their addresses.
#![expect(unsafe_code, reason = "calls functions by their addresses")]

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::{from_mut, from_ref};
use std::time::Instant;

use fing_stubs::function::{Arg, CResult, Function, FunctionError, Ret, Typed};
use fing_stubs::function::{UnsafeFunctionType, signature_of};
use fing_stubs::{Abi, CallStub, GBlock, Signature, StubCache, c_struct};
use libffi::middle::{Cif, Type};
use libffi::raw::ffi_call;

use crate::measure::clock::since;
use crate::measure::{Fault, Round, Subject, rounds};
use crate::plan::{Row, Scenario, Sizes, Source, Suite};

/// Calls of a sample.
const COUNT: usize = super::batch::RECORDS;

const fn suite(name: &'static str, start: fn(usize) -> Result<Box<dyn Subject>, Fault>) -> Suite {
    Suite {
        name,
        sizes: Sizes::Fixed(COUNT),
        rounds: 300,
        warm_rounds: 1,
        alone: false,
        program: None,
        start,
    }
}

static STRUCTS: Suite = suite("values-structs", structs);
static VARIADIC: Suite = suite("values-variadic", variadic);

const fn scenario(suite: &'static Suite, about: &'static str) -> Scenario {
    Scenario {
        name: suite.name,
        group: "values",
        about,
        unit: "ns/call",
        source: Source::Suite(suite, rows),
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(&STRUCTS, "a call that takes two structs and returns one"),
    scenario(
        &VARIADIC,
        "a call of a variadic function with two floats and an integer",
    ),
];

/// A call from block to block, one whose arguments are checked each time, and one of Rust types.
fn rows() -> Vec<Row> {
    vec![
        Row::alone("libffi.call"),
        Row::beside("fing.block", "libffi.call").at_most(0.25),
        Row::beside("fing.function", "libffi.call").at_most(0.25),
        Row::beside("fing.typed", "libffi.call").at_most(0.25),
        Row::beside("by-hand.call", "libffi.call"),
    ]
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Point {
    x: f64,
    y: f64,
}
c_struct!(Point { x: f64, y: f64 });

#[repr(C)]
#[derive(Clone, Copy)]
struct Step {
    count: i64,
    by: f64,
}
c_struct!(Step {
    count: i64,
    by: f64
});

extern "C" fn walk(from: Point, step: Step) -> Point {
    let far = step.count as f64 * step.by;
    Point {
        x: from.x + far,
        y: from.y - far,
    }
}

/// System V passes to a function of these types what it does to `double f(int, ...)`, which does
/// not look at the number of vector registers.
extern "C" fn sum(n: i32, a: f64, b: f64, c: i64) -> f64 {
    f64::from(n) + a * b + c as f64
}

/// Nanoseconds of a call, of which `one` makes the nth.
fn each<R>(mut one: impl FnMut(i64) -> R) -> f64 {
    let begun = Instant::now();
    for n in 0..COUNT as i64 {
        black_box(one(n));
    }
    since(begun, COUNT)
}

/// One function, by every way to call it.
struct Ways<F> {
    block: CallStub,
    function: Function,
    typed: Typed<F>,
    cif: Cif,
    code: usize,
    g: GBlock,
}

impl<F: UnsafeFunctionType> Ways<F> {
    /// # Safety
    /// At `code` is a System V function of this signature, which `F` and `cif` say too.
    unsafe fn new(code: usize, signature: &Signature, cif: Cif) -> Result<Ways<F>, Fault> {
        let cache = StubCache::new(Default::default())?;
        let abi = Abi::system_v();
        // SAFETY: the caller's promise.
        let function = unsafe { Function::at(&cache, code, signature, abi)? };
        Ok(Ways {
            block: cache.call_stub(signature, abi)?,
            typed: function.typed()?,
            function,
            cif,
            code,
            g: GBlock::zeroed(),
        })
    }

    /// From block to block.
    ///
    /// # Safety
    /// `Args` is the block of the arguments, `R` the result, and the function may be called so.
    #[inline(always)]
    unsafe fn by_block<Args, R: CResult + Default>(&self, args: &Args) -> Result<R, Fault> {
        let mut result = R::default();
        let (from, to) = (from_ref(args).cast(), from_mut(&mut result).cast());
        // SAFETY: the caller's promise.
        unsafe { self.block.call(self.code, 0, from, to, &self.g)? };
        Ok(result)
    }

    /// # Safety
    /// The addresses are of arguments of the types that `cif` was told, the function may be called
    /// with them, and returns an `R`.
    #[inline(always)]
    unsafe fn by_libffi<R: Default, const N: usize>(&self, args: [*const c_void; N]) -> R {
        let mut args = args.map(<*const c_void>::cast_mut);
        let mut result = R::default();
        // SAFETY: the caller's promise.
        unsafe {
            let code = std::mem::transmute::<usize, unsafe extern "C" fn()>(self.code);
            let to = from_mut(&mut result).cast();
            ffi_call(self.cif.as_raw_ptr(), Some(code), to, args.as_mut_ptr());
        }
        result
    }
}

fn place<T>(value: &T) -> *const c_void {
    from_ref(value).cast()
}

type Walk = unsafe fn(Point, Step) -> Point;

fn structs(_: usize) -> Result<Box<dyn Subject>, Fault> {
    let point = Type::structure([Type::f64(), Type::f64()]);
    let step = Type::structure([Type::i64(), Type::f64()]);
    let cif = Cif::new([point.clone(), step], point);
    let signature = signature_of::<Walk>()?;
    // SAFETY: `walk` is of these types.
    let ways: Ways<Walk> = unsafe { Ways::new(walk as *const () as usize, &signature, cif)? };
    let from = Point { x: 1.0, y: 2.0 };
    let step = |count| Step { count, by: 0.5 };
    let by_hand = black_box(walk as extern "C" fn(Point, Step) -> Point);
    #[repr(C)]
    struct Args(Point, Step);
    Ok(rounds(move || {
        let function = |n| -> Result<Point, FunctionError> {
            let (step, mut to) = (step(n), Point::default());
            let args = [Arg::of(&from), Arg::of(&step)];
            // SAFETY: `walk` takes any numbers.
            unsafe { ways.function.call(&args, Ret::of(&mut to))? };
            Ok(to)
        };
        // SAFETY: `walk` is called with a point and a step.
        let block = |n| unsafe { ways.by_block::<_, Point>(&Args(from, step(n))) };
        // SAFETY: as above.
        let typed = |n| unsafe { ways.typed.call(from, step(n)) };
        // SAFETY: as above.
        let libffi = |n| unsafe { ways.by_libffi::<Point, 2>([place(&from), place(&step(n))]) };
        Ok(Round::from_iter([
            ("libffi.call".into(), each(libffi)),
            ("fing.block".into(), each(block)),
            ("fing.function".into(), each(function)),
            ("fing.typed".into(), each(typed)),
            ("by-hand.call".into(), each(|n| by_hand(from, step(n)))),
        ]))
    }))
}

type Sum = unsafe fn(i32, f64, f64, i64) -> f64;

fn variadic(_: usize) -> Result<Box<dyn Subject>, Fault> {
    let cif = Cif::new_variadic(
        [Type::i32(), Type::f64(), Type::f64(), Type::i64()],
        1,
        Type::f64(),
    );
    let signature = signature_of::<Sum>()?.c_variadic(1)?;
    // SAFETY: `sum` may be called as a variadic function of these types.
    let ways: Ways<Sum> = unsafe { Ways::new(sum as *const () as usize, &signature, cif)? };
    let by_hand = black_box(sum as extern "C" fn(i32, f64, f64, i64) -> f64);
    let (a, b) = (0.5f64, 3.0f64);
    #[repr(C)]
    struct Args(i32, f64, f64, i64);
    Ok(rounds(move || {
        let function = |n: i64| -> Result<f64, FunctionError> {
            let mut to = 0.0;
            let args = [Arg::of(&7i32), Arg::of(&a), Arg::of(&b), Arg::of(&n)];
            // SAFETY: `sum` takes any numbers.
            unsafe { ways.function.call(&args, Ret::of(&mut to))? };
            Ok(to)
        };
        // SAFETY: `sum` is called with its types.
        let block = |n| unsafe { ways.by_block::<_, f64>(&Args(7, a, b, n)) };
        // SAFETY: as above.
        let typed = |n| unsafe { ways.typed.call(7, a, b, n) };
        // SAFETY: as above.
        let libffi = |n: i64| unsafe {
            ways.by_libffi::<f64, 4>([place(&7i32), place(&a), place(&b), place(&n)])
        };
        Ok(Round::from_iter([
            ("libffi.call".into(), each(libffi)),
            ("fing.block".into(), each(block)),
            ("fing.function".into(), each(function)),
            ("fing.typed".into(), each(typed)),
            ("by-hand.call".into(), each(|n| by_hand(7, a, b, n))),
        ]))
    }))
}
