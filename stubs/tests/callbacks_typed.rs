//! Callbacks of closures of Rust types: what arrives, what is refused when they are made, and that
//! they live and die as all callbacks do.
#![cfg(target_os = "linux")]

#[path = "support/conventions.rs"]
#[expect(dead_code, reason = "not every test crate uses all of it")]
mod conventions;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;

use conventions::{go, native};
use fing_stubs::entry::{
    Callback, CallbackOptions, CallbackTypeError, Entries, EntryOptions, EntryPoint, Failure,
    OnFailure, Report, SharedCallback,
};
use fing_stubs::function::{Typed, signature_of};
use fing_stubs::{Abi, Convention, StubCache, c_struct};

/// Two floats in registers; eight bytes of three kinds; too large for registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pair {
    x: f64,
    y: f32,
}
c_struct!(Pair { x: f64, y: f32 });

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mixed {
    a: i8,
    b: u16,
    c: f32,
}
c_struct!(Mixed {
    a: i8,
    b: u16,
    c: f32
});

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Large {
    words: [i64; 5],
    last: bool,
}
c_struct!(Large {
    words: [i64; 5],
    last: bool
});

const PAIR: Pair = Pair { x: 1.5, y: -2.5 };
const MIXED: Mixed = Mixed {
    a: -3,
    b: 65_000,
    c: 0.25,
};
const LARGE: Large = Large {
    words: [1, -2, 3, -4, i64::MIN],
    last: true,
};

/// Every convention that C code of this machine calls by, and two of Go's.
fn every_convention() -> Vec<Abi> {
    let mut all = vec![native(), go(), go().with_int_arg_regs(0).unwrap()];
    if cfg!(target_arch = "x86_64") {
        all.push(Abi::native(Convention::Fastcall));
    }
    all
}

/// An address of this signature under `abi`, which a stub calls.
macro_rules! call {
    ($cache:expr, $address:expr, $abi:expr, $function:ty, $($value:expr),*) => {{
        // SAFETY: the callback is of this signature and convention, and alive.
        let typed = unsafe { Typed::<$function>::at($cache, $address, $abi) }.unwrap();
        typed.call($($value),*)
    }};
}

#[test]
fn values_of_all_kinds_arrive_under_every_convention() {
    let (cache, entries) = (StubCache::new(Default::default()).unwrap(), entries());
    for abi in every_convention() {
        type Values = fn(Pair, i8, Mixed, Large, u64, f32, bool) -> Large;
        let at = point(&entries, signature_of::<Values>().unwrap(), abi);
        let seen = Rc::new(Cell::new(0));
        let count = seen.clone();
        let callback = Callback::typed(
            &at,
            CallbackOptions::default(),
            move |pair: Pair,
                  small: i8,
                  mixed: Mixed,
                  large: Large,
                  word: u64,
                  f: f32,
                  yes: bool| {
                assert_eq!((pair, small, mixed), (PAIR, -7, MIXED), "{abi}");
                assert_eq!((large, word, f, yes), (LARGE, u64::MAX, 9.5, true), "{abi}");
                count.set(count.get() + 1);
                Large {
                    last: false,
                    ..large
                }
            },
        )
        .unwrap();
        let address = callback.address();
        let found = call!(
            &cache,
            address,
            abi,
            Values,
            PAIR,
            -7,
            MIXED,
            LARGE,
            u64::MAX,
            9.5,
            true
        );
        assert_eq!(
            found,
            Large {
                last: false,
                ..LARGE
            },
            "{abi}"
        );
        assert_eq!(seen.get(), 1);
    }
}

/// No arguments, no result, and results in registers of every kind.
#[test]
fn few_values() {
    let (cache, entries) = (StubCache::new(Default::default()).unwrap(), entries());
    for abi in every_convention() {
        macro_rules! returns {
            ($($ty:ty: $value:expr,)*) => {$(
                let at = point(&entries, signature_of::<fn() -> $ty>().unwrap(), abi);
                let closure = || -> $ty { $value };
                let callback =
                    SharedCallback::typed(&at, CallbackOptions::default(), closure).unwrap();
                let found = call!(&cache, callback.address(), abi, fn() -> $ty,);
                assert_eq!(found, $value, "{abi}");
            )*};
        }
        returns! {
            (): (),
            i8: -1,
            u16: 65_535,
            i64: i64::MIN,
            f32: 0.5,
            f64: -0.25,
            bool: true,
            Pair: PAIR,
            Mixed: MIXED,
            Large: LARGE,
        }
        let at = point(&entries, signature_of::<fn(i32)>().unwrap(), abi);
        let seen = Rc::new(Cell::new(0));
        let kept = seen.clone();
        let keep = move |n: i32| kept.set(n);
        let callback = Callback::typed(&at, CallbackOptions::default(), keep).unwrap();
        call!(&cache, callback.address(), abi, fn(i32), -5);
        assert_eq!(seen.get(), -5, "{abi}");
        drop(callback);
        assert_eq!(Rc::strong_count(&seen), 1, "the closure is dropped");
    }
}

#[test]
fn other_types_are_refused_when_it_is_made() {
    let entries = entries();
    let of = |text: &str, abi| point(&entries, text.parse().unwrap(), abi);
    let at = of("func(int32, float64) int64", native());
    let options = CallbackOptions::default;
    let found = [
        Callback::typed(&at, options(), |_: i32| 0i64).map(drop),
        Callback::typed(&at, options(), |_: u32, _: f64| 0i64).map(drop),
        Callback::typed(&at, options(), |_: i32, _: f32| 0i64).map(drop),
        SharedCallback::typed(&at, options(), |_: i32, _: f64| 0i32).map(drop),
        SharedCallback::typed(&at, options(), |_: i32, _: f64| ()).map(drop),
    ];
    let name = "typed callback func(int32, float64) (int64): ";
    let wanted = [
        "found 1 arguments, wanted 2",
        "argument 0 is int32, found uint32, wanted a type of the same kind, size and sign",
        "argument 1 is float64, found float32, wanted a type of the same kind, size and sign",
        "the result is int64, found int32, wanted a type of the same kind, size and sign",
        "the result is int64, found nothing, wanted a type of the same kind, size and sign",
    ];
    for (found, wanted) in found.into_iter().zip(wanted) {
        assert_eq!(found.unwrap_err().to_string(), format!("{name}{wanted}"));
    }
    let two = of("func() (int, int)", go());
    let error = Callback::typed(&two, options(), || 0i64).unwrap_err();
    assert_eq!(
        error.to_string(),
        "typed callback func() (int, int): found int64 for 2 results"
    );
    assert_eq!(entries.stats().alive, 0);
}

/// Go lays out a struct that ends with a member without bytes otherwise than C.
#[test]
fn layouts_that_are_not_rusts_are_refused() {
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Tail {
        a: i64,
        end: [i8; 0],
    }
    c_struct!(Tail {
        a: i64,
        end: [i8; 0]
    });
    let entries = entries();
    let signature = signature_of::<fn(Tail) -> i64>().unwrap();
    for (abi, fits) in [(native(), true), (go(), false)] {
        let at = point(&entries, signature.clone(), abi);
        let made = Callback::typed(&at, CallbackOptions::default(), |tail: Tail| tail.a);
        match made {
            Ok(_) => assert!(fits, "{abi}"),
            Err(CallbackTypeError::OtherLayout { abi: found, .. }) => {
                assert_eq!((found, fits), (abi, false));
            }
            Err(error) => panic!("{abi}: {error}"),
        }
    }
}

/// To Rust's compiler the argument is the scalar, which it wants extended; C's callers leave above
/// a struct's bytes what was there.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_struct_of_one_small_scalar_is_not_jumped_to() {
    #[repr(transparent)]
    #[derive(Clone, Copy)]
    struct Small {
        n: i8,
    }
    c_struct!(Small { n: i8 });
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Nested {
        small: [Small; 1],
        nothing: [u8; 0],
    }
    c_struct!(Nested {
        small: [Small; 1],
        nothing: [u8; 0]
    });
    let entries = entries();
    let at = point(
        &entries,
        signature_of::<fn(Small) -> i32>().unwrap(),
        native(),
    );
    let small = Callback::typed(&at, CallbackOptions::default(), |small: Small| {
        i32::from(small.n)
    });
    let at = point(
        &entries,
        signature_of::<fn(Nested) -> i32>().unwrap(),
        native(),
    );
    let nested = Callback::typed(&at, CallbackOptions::default(), |nested: Nested| {
        i32::from(nested.small[0].n)
    });
    assert_eq!(entries.stats().jumps, 0);
    for callback in [small.unwrap(), nested.unwrap()] {
        // SAFETY: C's callers pass such a struct in the lowest byte of a register.
        let function: extern "C" fn(u64) -> i32 =
            unsafe { std::mem::transmute(callback.address()) };
        assert_eq!(function(0x1234_56fe), -2);
    }
}

/// Late, by another thread, and panicking: as for closures that see their call.
#[test]
fn they_live_as_all_callbacks() {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let kept = reports.clone();
    let observer = move |report: &Report| kept.lock().unwrap().push(report.failure.clone());
    let entries = Entries::new(EntryOptions::default().observer(observer)).unwrap();
    let at = point(
        &entries,
        signature_of::<fn(u64) -> u64>().unwrap(),
        native(),
    );
    let options = CallbackOptions::default().on_panic(OnFailure::ReturnZeroes);
    let twice = |n: u64| {
        assert!(n < 100, "too large");
        2 * n
    };
    let owned = Callback::typed(&at, options.clone(), twice).unwrap();
    let shared = SharedCallback::typed(&at, options, twice).unwrap();
    // SAFETY: addresses of this signature, of entries that stay.
    let [one, all] = [owned.address(), shared.address()]
        .map(|address| unsafe { std::mem::transmute::<usize, extern "C" fn(u64) -> u64>(address) });
    assert_eq!((one(4), all(5)), (8, 10));
    let elsewhere = thread::spawn(move || (one(4), all(5))).join().unwrap();
    assert_eq!(elsewhere, (0, 10));
    assert_eq!((one(100), all(101)), (0, 0));
    drop((owned, shared));
    assert_eq!((one(4), all(5)), (0, 0));
    let panicked = Failure::Panicked("too large".into());
    assert_eq!(
        *reports.lock().unwrap(),
        [
            Failure::OtherThread,
            panicked.clone(),
            panicked,
            Failure::Late,
            Failure::Late
        ]
    );
}

/// The address of a hidden result area comes back, as code of Rust's compiler sees it; not if that
/// is planted as a mistake.
#[cfg(all(feature = "faults", target_arch = "x86_64"))]
#[test]
fn the_area_of_a_large_result_is_returned() {
    use fing_stubs::faults::Fault;
    let right = entries();
    let wrong = Entries::with_fault(EntryOptions::default(), Fault::AreaNotReturned).unwrap();
    for (entries, returned) in [(right, true), (wrong, false)] {
        let at = point(
            &entries,
            signature_of::<fn(i64) -> Large>().unwrap(),
            native(),
        );
        let callback = Callback::typed(&at, CallbackOptions::default(), |n: i64| Large {
            words: [n; 5],
            last: true,
        });
        let callback = callback.unwrap();
        let mut area = LARGE;
        // SAFETY: a function of this convention with a hidden result area, which is there.
        let function = unsafe {
            std::mem::transmute::<usize, extern "C" fn(*mut Large, i64) -> *mut Large>(
                callback.address(),
            )
        };
        let found = function(&raw mut area, 7);
        assert_eq!(found == &raw mut area, returned);
        assert_eq!(area.words, [7; 5]);
    }
}

fn entries() -> Entries {
    Entries::new(EntryOptions::default()).unwrap()
}

fn point(entries: &Entries, signature: fing_stubs::Signature, abi: Abi) -> EntryPoint {
    entries.point(&signature, abi).unwrap()
}
