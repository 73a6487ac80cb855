//! A call with structs by value and a variadic call, beside libffi with a prepared call interface.
//! Has unsafe code: calls functions by their addresses.
#![expect(unsafe_code, reason = "calls functions by their addresses")]

use std::convert::Infallible;
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::{from_mut, from_ref};

use fing_stubs::function::{
    Arg, CResult, Function, FunctionError, Ret, Typed, UnsafeFunctionType, VariadicFunction,
    signature_of,
};
use fing_stubs::{Abi, CallError, CallStub, GBlock, Signature, StubCache, c_struct};
use libffi::low::{ffi_abi_FFI_DEFAULT_ABI, ffi_cif, prep_cif_var, types};
use libffi::middle::{Cif, Type};
use libffi::raw::ffi_call;

use super::instructions;
use crate::measure::clock::try_time;
use crate::measure::{Fault, Subject, rounds};
use crate::plan::{Row, Scenario, Suite};

/// Calls of a sample.
const COUNT: usize = super::batch::RECORDS;

/// What is called, by all ways.
#[derive(Clone, Copy)]
enum Case {
    Structs,
    Variadic,
}

static STRUCTS: Suite = Suite::of_short_rounds("values-structs", COUNT, |_| timed(Case::Structs));
static VARIADIC: Suite =
    Suite::of_short_rounds("values-variadic", COUNT, |_| timed(Case::Variadic));
static STRUCTS_COUNTED: Suite =
    Suite::of_instructions("values-structs-instructions", COUNT, |_| {
        counted(Case::Structs)
    });
static VARIADIC_COUNTED: Suite =
    Suite::of_instructions("values-variadic-instructions", COUNT, |_| {
        counted(Case::Variadic)
    });

const fn scenario(suite: &'static Suite, case: Case, unit: &'static str) -> Scenario {
    match case {
        Case::Structs => {
            let about = "a call that takes two structs and returns one";
            Scenario::of_suite(suite, "values", about, unit, || rows(Case::Structs))
        }
        Case::Variadic => {
            let about = "a call of a variadic function with two floats and an integer";
            Scenario::of_suite(suite, "values", about, unit, || rows(Case::Variadic))
        }
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(&STRUCTS, Case::Structs, "ns/call"),
    scenario(&STRUCTS_COUNTED, Case::Structs, "instructions/call"),
    scenario(&VARIADIC, Case::Variadic, "ns/call"),
    scenario(&VARIADIC_COUNTED, Case::Variadic, "instructions/call"),
];

impl Case {
    fn name(self) -> &'static str {
        match self {
            Case::Structs => "structs",
            Case::Variadic => "variadic",
        }
    }

    fn ways(self) -> Result<Vec<Way>, Fault> {
        match self {
            Case::Structs => structs(),
            Case::Variadic => variadic(),
        }
    }
}

/// A call from block to block, one whose arguments are checked each time, and one of Rust types.
/// And beside libffi that is told the types of a variadic call each time, one that finds its stub
/// by the types of its arguments.
fn rows(case: Case) -> Vec<Row> {
    let bar = |way, beside| Row::beside(way, beside).at_most(0.25);
    let mut rows = vec![Row::alone(LIBFFI)];
    let fing = ["fing.block", "fing.function", "fing.typed"];
    rows.extend(fing.map(|way| bar(way, LIBFFI)));
    if let Case::Variadic = case {
        rows.extend([Row::alone(LIBFFI_ANEW), bar("fing.variadic", LIBFFI_ANEW)]);
    }
    rows.push(Row::beside(FLOOR, LIBFFI));
    rows
}

const LIBFFI: &str = "libffi.call";
const LIBFFI_ANEW: &str = "libffi.prepare-and-call";
const FLOOR: &str = "floor.call";

/// Nanoseconds of a call.
fn timed(case: Case) -> Result<Box<dyn Subject>, Fault> {
    let ways = case.ways()?;
    Ok(rounds(move || {
        let time = |(figure, calls): &Way| Ok(((*figure).into(), try_time(COUNT, calls)?));
        ways.iter().map(time).collect()
    }))
}

/// Instructions of a call.
fn counted(case: Case) -> Result<Box<dyn Subject>, Fault> {
    let ways = case.ways()?;
    Ok(rounds(move || {
        let count = |(figure, _): &Way| {
            let each = instructions::of_each(&["values", case.name(), figure])?;
            Ok(((*figure).into(), each))
        };
        ways.iter().map(count).collect()
    }))
}

/// Makes so many batches of calls by one way, for valgrind to count.
///
/// # Errors
/// There is no such case or way, or it can't be made.
pub(crate) fn call_batches(case: &str, way: &str, batches: usize) -> Result<(), Fault> {
    let cases = [Case::Structs, Case::Variadic];
    let found = cases.into_iter().find(|one| one.name() == case);
    let ways = found.ok_or_else(|| format!("no case {case:?}"))?.ways()?;
    let found = ways.iter().find(|(figure, _)| *figure == way);
    let (_, calls) = found.ok_or_else(|| format!("no way {way:?}"))?;
    (0..batches).try_for_each(|_| calls())
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

/// What makes [`COUNT`] calls.
type Calls = Box<dyn Fn() -> Result<(), Fault>>;

/// A way to call a function: its figure, and the calls.
type Way = (&'static str, Calls);

/// Calls, of which `one` makes the nth.
fn each<R, E>(one: impl Fn(i64) -> Result<R, E> + 'static) -> Calls
where
    Fault: From<E>,
{
    Box::new(move || {
        for n in 0..COUNT as i64 {
            black_box(one(n)?);
        }
        Ok(())
    })
}

/// Calls that can't fail.
fn each_sure<R>(one: impl Fn(i64) -> R + 'static) -> Calls {
    each::<R, Infallible>(move |n| Ok(one(n)))
}

/// One function, by every way to call it.
struct Ways<F> {
    cache: StubCache,
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
            cache,
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
    unsafe fn by_block<Args, R: CResult + Default>(&self, args: &Args) -> Result<R, CallError> {
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

/// Has libffi prepare a variadic call of [`sum`], and make it.
///
/// # Safety
/// The addresses are of arguments of `sum`.
unsafe fn by_libffi_anew(code: usize, args: [*const c_void; 4]) -> Result<f64, Fault> {
    let mut args = args.map(<*const c_void>::cast_mut);
    let [int, long, float] = [
        &raw mut types::sint32,
        &raw mut types::sint64,
        &raw mut types::double,
    ];
    let (mut cif, mut result) = (ffi_cif::default(), 0f64);
    let mut params = [int, float, float, long];
    // SAFETY: the caller's promise; libffi's own types, and places for what it is told.
    unsafe {
        let abi = ffi_abi_FFI_DEFAULT_ABI;
        prep_cif_var(&raw mut cif, abi, 1, 4, float, params.as_mut_ptr())
            .map_err(|error| format!("ffi_prep_cif_var: {error:?}"))?;
        let code = std::mem::transmute::<usize, unsafe extern "C" fn()>(code);
        let to = from_mut(&mut result).cast();
        ffi_call(&raw mut cif, Some(code), to, args.as_mut_ptr());
    }
    Ok(result)
}

fn place<T>(value: &T) -> *const c_void {
    from_ref(value).cast()
}

type Walk = unsafe fn(Point, Step) -> Point;

fn structs() -> Result<Vec<Way>, Fault> {
    let point = Type::structure([Type::f64(), Type::f64()]);
    let step = Type::structure([Type::i64(), Type::f64()]);
    let cif = Cif::new([point.clone(), step], point);
    let signature = signature_of::<Walk>()?;
    // SAFETY: `walk` is of these types.
    let ways: Ways<Walk> = unsafe { Ways::new(walk as *const () as usize, &signature, cif)? };
    let ways: &Ways<Walk> = Box::leak(Box::new(ways));
    let from = Point { x: 1.0, y: 2.0 };
    let step = |count| Step { count, by: 0.5 };
    let by_hand = black_box(walk as extern "C" fn(Point, Step) -> Point);
    #[repr(C)]
    struct Args(Point, Step);
    let function = move |n| -> Result<Point, FunctionError> {
        let (step, mut to) = (step(n), Point::default());
        let args = [Arg::of(&from), Arg::of(&step)];
        // SAFETY: `walk` takes any numbers.
        unsafe { ways.function.call(&args, Ret::of(&mut to))? };
        Ok(to)
    };
    // SAFETY: `walk` is called with a point and a step.
    let block = move |n| unsafe { ways.by_block::<_, Point>(&Args(from, step(n))) };
    // SAFETY: as above.
    let typed = move |n| unsafe { ways.typed.call(from, step(n)) };
    // SAFETY: as above.
    let libffi = move |n| unsafe { ways.by_libffi::<Point, 2>([place(&from), place(&step(n))]) };
    Ok(vec![
        (LIBFFI, each_sure(libffi)),
        ("fing.block", each(block)),
        ("fing.function", each(function)),
        ("fing.typed", each_sure(typed)),
        (FLOOR, each_sure(move |n| by_hand(from, step(n)))),
    ])
}

type Sum = unsafe fn(i32, f64, f64, i64) -> f64;

fn variadic() -> Result<Vec<Way>, Fault> {
    let cif = Cif::new_variadic(
        [Type::i32(), Type::f64(), Type::f64(), Type::i64()],
        1,
        Type::f64(),
    );
    let signature = signature_of::<Sum>()?.c_variadic(1)?;
    // SAFETY: `sum` may be called as a variadic function of these types.
    let ways: Ways<Sum> = unsafe { Ways::new(sum as *const () as usize, &signature, cif)? };
    let ways: &Ways<Sum> = Box::leak(Box::new(ways));
    // SAFETY: as above.
    let any = unsafe { VariadicFunction::at(&ways.cache, ways.code, &signature, Abi::system_v())? };
    let by_hand = black_box(sum as extern "C" fn(i32, f64, f64, i64) -> f64);
    let (a, b) = (0.5f64, 3.0f64);
    #[repr(C)]
    struct Args(i32, f64, f64, i64);
    let function = move |n: i64| -> Result<f64, FunctionError> {
        let mut to = 0.0;
        let args = [Arg::of(&7i32), Arg::of(&a), Arg::of(&b), Arg::of(&n)];
        // SAFETY: `sum` takes any numbers.
        unsafe { ways.function.call(&args, Ret::of(&mut to))? };
        Ok(to)
    };
    let variadic = move |n: i64| -> Result<f64, FunctionError> {
        let mut to = 0.0;
        let args = [Arg::of(&7i32), Arg::of(&a), Arg::of(&b), Arg::of(&n)];
        // SAFETY: as above.
        unsafe { any.call(&args, Ret::of(&mut to))? };
        Ok(to)
    };
    // SAFETY: `sum` is called with its types.
    let block = move |n| unsafe { ways.by_block::<_, f64>(&Args(7, a, b, n)) };
    // SAFETY: as above.
    let typed = move |n| unsafe { ways.typed.call(7, a, b, n) };
    // SAFETY: as above.
    let libffi = move |n: i64| unsafe {
        ways.by_libffi::<f64, 4>([place(&7i32), place(&a), place(&b), place(&n)])
    };
    // SAFETY: as above.
    let anew = move |n: i64| unsafe {
        by_libffi_anew(ways.code, [place(&7i32), place(&a), place(&b), place(&n)])
    };
    Ok(vec![
        (LIBFFI, each_sure(libffi)),
        ("fing.block", each(block)),
        ("fing.function", each(function)),
        (LIBFFI_ANEW, each(anew)),
        ("fing.variadic", each(variadic)),
        ("fing.typed", each_sure(typed)),
        (FLOOR, each_sure(move |n| by_hand(7, a, b, n))),
    ])
}
