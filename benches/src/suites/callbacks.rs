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

use crate::measure::clock::since;
use crate::measure::{Fault, Round, Subject, rounds};
use crate::plan::{Bar, Row, Scenario, Suite};

/// Calls, or callbacks, of a sample.
const COUNT: usize = super::batch::RECORDS;

static CALLS: Suite = Suite::of_short_rounds("callbacks-call", COUNT, call);
static MAKING: Suite = Suite::of_short_rounds("callbacks-make", COUNT, make);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::of_suite(
        &CALLS,
        "callbacks",
        "a call by C code of a closure that adds two numbers",
        "ns/call",
        || {
            vec![
                Row::alone("libffi.closure"),
                Row::beside("fing.owned.typed", "libffi.closure").at_most(0.25),
                Row::beside("fing.owned.checked", "libffi.closure"),
                Row::beside("fing.shared.typed", "libffi.closure"),
                Row::beside("fing.shared.checked", "libffi.closure"),
            ]
        },
    ),
    Scenario::of_suite(
        &MAKING,
        "callbacks",
        "making and freeing a callback whose address was used before",
        "ns/callback",
        || {
            vec![
                Row::alone("libffi.closure"),
                Row::alone("fing.owned.typed").bar(Bar::AtMost(100.0)),
                Row::alone("fing.owned.checked").bar(Bar::AtMost(100.0)),
                Row::alone("fing.shared.typed"),
                Row::alone("fing.shared.checked"),
            ]
        },
    ),
];

type Add = extern "C" fn(i64, i64) -> i64;

/// Nanoseconds of a call of this address, which adds to its second argument what it was made with.
fn calls(address: usize) -> f64 {
    // SAFETY: an address of this signature and convention, of something that is alive.
    let add = unsafe { std::mem::transmute::<usize, Add>(address) };
    let begun = Instant::now();
    let mut sum = 0;
    for n in 0..COUNT as i64 {
        sum = add(sum, n);
    }
    black_box(sum);
    since(begun, COUNT)
}

/// A closure whose accesses are checked in each call.
fn checked() -> impl Fn(&mut Call<'_>) + Send + Sync {
    |call| {
        let (Ok(a), Ok(b)) = (call.argument::<i64>(0), call.argument::<i64>(1)) else {
            unreachable!("the signature has these arguments");
        };
        if call.set_result(0, a.wrapping_add(b)).is_err() {
            unreachable!("the signature has this result");
        }
    }
}

/// A closure whose types are checked when the callback is made.
fn typed() -> impl Fn(i64, i64) -> i64 + Send + Sync {
    |a, b| a.wrapping_add(b)
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

fn call(_: usize) -> Result<Box<dyn Subject>, Fault> {
    let point = point()?;
    let owned = [
        Callback::typed(&point, options(), typed())?,
        Callback::at(&point, options(), checked())?,
    ];
    let shared = [
        SharedCallback::typed(&point, options(), typed())?,
        SharedCallback::at(&point, options(), checked())?,
    ];
    let libffi = libffi();
    Ok(rounds(move || {
        Ok(Round::from_iter([
            ("libffi.closure".into(), calls(*libffi.code_ptr() as usize)),
            ("fing.owned.typed".into(), calls(owned[0].address())),
            ("fing.owned.checked".into(), calls(owned[1].address())),
            ("fing.shared.typed".into(), calls(shared[0].address())),
            ("fing.shared.checked".into(), calls(shared[1].address())),
        ]))
    }))
}

/// Nanoseconds of `one`.
fn each<T>(mut one: impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    for _ in 0..COUNT {
        black_box(one());
    }
    since(begun, COUNT)
}

fn make(_: usize) -> Result<Box<dyn Subject>, Fault> {
    let point = point()?;
    Ok(rounds(move || {
        // A closure that owns something, as most do.
        let n = black_box(7i64);
        let typed = move |a: i64, _: i64| a.wrapping_add(n);
        let checked = move |call: &mut Call<'_>| {
            if call.set_result(0, n).is_err() {
                unreachable!("the signature has this result");
            }
        };
        Ok(Round::from_iter([
            ("libffi.closure".into(), each(libffi)),
            (
                "fing.owned.typed".into(),
                each(|| Callback::typed(&point, options(), typed)),
            ),
            (
                "fing.owned.checked".into(),
                each(|| Callback::at(&point, options(), checked)),
            ),
            (
                "fing.shared.typed".into(),
                each(|| SharedCallback::typed(&point, options(), typed)),
            ),
            (
                "fing.shared.checked".into(),
                each(|| SharedCallback::at(&point, options(), checked)),
            ),
        ]))
    }))
}
