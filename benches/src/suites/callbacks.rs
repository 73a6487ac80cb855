//! A callback beside a closure of libffi's: calling it, making it. Has unsafe code: calls their
//! addresses.
#![expect(unsafe_code, reason = "calls functions by their addresses")]

use std::ffi::c_void;
use std::hint::black_box;
use std::time::Instant;

use fing_stubs::entry::{
    Call, Callback, CallbackOptions, Entries, EntryOptions, EntryPoint, SharedCallback,
};
use fing_stubs::{Abi, StubError};
use libffi::low::ffi_cif;
use libffi::middle::{Cif, Closure, Type};

use super::instructions;
use crate::measure::clock::since;
use crate::measure::{Fault, Subject, rounds};
use crate::plan::{Bar, Row, Scenario, Suite};

/// Calls, or callbacks, of a sample.
const COUNT: usize = super::batch::RECORDS;

/// What is done many times, by all ways.
#[derive(Clone, Copy)]
enum Case {
    Call,
    Make,
}

static CALLS: Suite = Suite::of_short_rounds("callbacks-call", COUNT, |_| timed(Case::Call));
static CALLS_COUNTED: Suite = Suite::of_instructions("callbacks-call-instructions", COUNT, |_| {
    counted(Case::Call)
});
static MAKING: Suite = Suite::of_short_rounds("callbacks-make", COUNT, |_| timed(Case::Make));
static MAKING_COUNTED: Suite = Suite::of_instructions("callbacks-make-instructions", COUNT, |_| {
    counted(Case::Make)
});

const fn scenario(
    suite: &'static Suite,
    case: Case,
    unit: &'static str,
    rows: fn() -> Vec<Row>,
) -> Scenario {
    let about = match case {
        Case::Call => "a call by C code of a closure that adds two numbers",
        Case::Make => "making and freeing a callback whose address was used before",
    };
    Scenario::of_suite(suite, "callbacks", about, unit, rows)
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario(&CALLS, Case::Call, "ns/call", || {
        rows(|way, row| match way {
            "fing.owned.typed" => row.at_most(0.25),
            _ => row,
        })
    }),
    scenario(&CALLS_COUNTED, Case::Call, "instructions/call", || {
        rows(|_, row| row)
    }),
    scenario(&MAKING, Case::Make, "ns/callback", || {
        rows(|way, row| match way.starts_with("fing.owned") {
            true => row.bar(Bar::AtMost(100.0)),
            false => row,
        })
    }),
    scenario(&MAKING_COUNTED, Case::Make, "instructions/callback", || {
        rows(|_, row| row)
    }),
];

/// All ways, with their bars.
fn rows(with_bar: impl Fn(&str, Row) -> Row) -> Vec<Row> {
    let fing = FING.map(|way| with_bar(way, Row::beside(way, LIBFFI)));
    [Row::alone(LIBFFI)].into_iter().chain(fing).collect()
}

const LIBFFI: &str = "libffi.closure";
/// Of one thread and of all; with types that are checked when they are made, and in each call.
const FING: [&str; 4] = [
    "fing.owned.typed",
    "fing.owned.checked",
    "fing.shared.typed",
    "fing.shared.checked",
];

/// What is done [`COUNT`] times.
type Turn = Box<dyn Fn()>;

/// A way to do it: its figure, and what does it.
type Way = (&'static str, Turn);

impl Case {
    fn name(self) -> &'static str {
        match self {
            Case::Call => "call",
            Case::Make => "make",
        }
    }

    fn ways(self) -> Result<Vec<Way>, Fault> {
        let turns = match self {
            Case::Call => call()?,
            Case::Make => make()?,
        };
        Ok([LIBFFI].into_iter().chain(FING).zip(turns).collect())
    }
}

/// Nanoseconds of one.
fn timed(case: Case) -> Result<Box<dyn Subject>, Fault> {
    let ways = case.ways()?;
    Ok(rounds(move || {
        let time = |(figure, turn): &Way| {
            let begun = Instant::now();
            turn();
            Ok(((*figure).into(), since(begun, COUNT)))
        };
        ways.iter().map(time).collect()
    }))
}

/// Instructions of one.
fn counted(case: Case) -> Result<Box<dyn Subject>, Fault> {
    let ways = case.ways()?;
    Ok(rounds(move || {
        let count = |(figure, _): &Way| {
            let each = instructions::of_each(&["callbacks", case.name(), figure])?;
            Ok(((*figure).into(), each))
        };
        ways.iter().map(count).collect()
    }))
}

/// Does something by one way in so many batches, for valgrind to count.
///
/// # Errors
/// There is no such case or way, or it can't be made.
pub(crate) fn batches(case: &str, way: &str, batches: usize) -> Result<(), Fault> {
    let cases = [Case::Call, Case::Make];
    let found = cases.into_iter().find(|one| one.name() == case);
    let ways = found.ok_or_else(|| format!("no case {case:?}"))?.ways()?;
    let found = ways.iter().find(|(figure, _)| *figure == way);
    let (_, turn) = found.ok_or_else(|| format!("no way {way:?}"))?;
    (0..batches).for_each(|_| turn());
    Ok(())
}

type Add = extern "C" fn(i64, i64) -> i64;

/// Calls this address, which adds its two arguments. `_alive` is what has the address.
fn calls<T: 'static>(address: usize, _alive: T) -> Turn {
    // SAFETY: an address of this signature and convention, of something that is alive.
    let add = unsafe { std::mem::transmute::<usize, Add>(address) };
    Box::new(move || {
        let _alive = &_alive;
        let mut sum = 0;
        for n in 0..COUNT as i64 {
            sum = add(sum, n);
        }
        black_box(sum);
    })
}

/// A closure whose accesses are checked in each call.
fn checked(call: &mut Call<'_>) {
    let (Ok(a), Ok(b)) = (call.argument::<i64>(0), call.argument::<i64>(1)) else {
        unreachable!("the signature has these arguments");
    };
    if call.set_result(0, a.wrapping_add(b)).is_err() {
        unreachable!("the signature has this result");
    }
}

/// What libffi calls.
unsafe extern "C" fn by_libffi(
    _cif: &ffi_cif,
    result: &mut i64,
    arguments: *const *const c_void,
    _context: &(),
) {
    // SAFETY: two arguments of the call interface below.
    let [a, b] = unsafe {
        [
            *(*arguments).cast::<i64>(),
            *(*arguments.add(1)).cast::<i64>(),
        ]
    };
    *result = a.wrapping_add(b);
}

fn libffi() -> Closure<'static> {
    let cif = Cif::new([Type::i64(), Type::i64()], Type::i64());
    Closure::new(cif, by_libffi, &())
}

fn point() -> Result<EntryPoint, StubError> {
    let entries = Entries::new(EntryOptions::default())?;
    entries.point(&"func(int64, int64) int64".parse()?, Abi::system_v())
}

fn options() -> CallbackOptions {
    CallbackOptions::default()
}

/// In the order of [`LIBFFI`] and [`FING`].
fn call() -> Result<[Turn; 5], Fault> {
    let (point, libffi) = (point()?, libffi());
    // Whose types are checked when the callback is made.
    let typed = |a: i64, b: i64| a.wrapping_add(b);
    let owned = |callback: Callback| calls(callback.address(), callback);
    let shared = |callback: SharedCallback| calls(callback.address(), callback);
    Ok([
        calls(*libffi.code_ptr() as usize, libffi),
        owned(Callback::typed(&point, options(), typed)?),
        owned(Callback::at(&point, options(), checked)?),
        shared(SharedCallback::typed(&point, options(), typed)?),
        shared(SharedCallback::at(&point, options(), checked)?),
    ])
}

/// Makes and drops.
fn each<T: 'static>(one: impl Fn() -> T + 'static) -> Turn {
    Box::new(move || {
        for _ in 0..COUNT {
            black_box(one());
        }
    })
}

/// As [`call`].
fn make() -> Result<[Turn; 5], Fault> {
    let point = point()?;
    let points = [0; 4].map(|_| point.clone());
    let [a, b, c, d] = points;
    // Closures that own something, as most do.
    let n = black_box(7i64);
    let typed = move |a: i64, _: i64| a.wrapping_add(n);
    let checked = move |call: &mut Call<'_>| {
        if call.set_result(0, n).is_err() {
            unreachable!("the signature has this result");
        }
    };
    Ok([
        each(libffi),
        each(move || Callback::typed(&a, options(), typed)),
        each(move || Callback::at(&b, options(), checked)),
        each(move || SharedCallback::typed(&c, options(), typed)),
        each(move || SharedCallback::at(&d, options(), checked)),
    ])
}
