//! Functions at addresses: what is called with what, what is refused, by generated stubs and by the
//! interpreter.
#![cfg(target_os = "linux")]

#[path = "support/conventions.rs"]
mod conventions;

use std::cell::Cell;
use std::ffi::c_char;
use std::sync::{Arc, Mutex};

use conventions::{go, go_by_registers, native};
use fing_stubs::c::Declarations;
use fing_stubs::entry::{CallbackOptions, Entries, SharedCallback};
use fing_stubs::function::{
    Arg, CValue, Complex, Function, FunctionError, Ret, Typed, VariadicFunction, signature_of,
};
use fing_stubs::fuzzing::{Rng, c_signature};
use fing_stubs::signature::{CType, Kind, LongDouble, Type};
use fing_stubs::{BlockLayout, CacheOptions, CodePolicy, Signature, StubCache, c_struct};

fn caches() -> [StubCache; 2] {
    [CodePolicy::Generate, CodePolicy::Interpret]
        .map(|policy| StubCache::new(CacheOptions::default().policy(policy)).unwrap())
}

fn signature(text: &str) -> Signature {
    let mut c = Declarations::host().unwrap();
    let prototype = c.prototype(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    prototype.signature().unwrap()
}

/// A function of the signature that its prototype says.
fn function(cache: &StubCache, code: *const (), text: &str) -> Function {
    // SAFETY: I5: each test gives a function of the prototype, which takes any values.
    let made = unsafe { Function::at(cache, code.addr(), &signature(text), native()) };
    made.unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mixed {
    r#type: i64,
    b: f64,
}
c_struct!(Mixed {
    r#type: i64,
    b: f64
});

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Nested {
    small: [i16; 3],
    pair: Inner,
    flag: bool,
}
c_struct!(Nested {
    small: [i16; 3],
    pair: Inner,
    flag: bool
});

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Inner {
    x: f32,
    y: f32,
}
c_struct!(Inner { x: f32, y: f32 });

extern "C" fn mix(a: Mixed, by: f32, inner: Inner, nested: Nested, wide: i128) -> Mixed {
    Mixed {
        r#type: a.r#type + i64::from(nested.small[2]) + i64::from(nested.flag) + wide as i64,
        b: a.b * f64::from(by) + f64::from(inner.x - inner.y) + f64::from(nested.pair.y),
    }
}

const MIX: &str = "struct { int64_t type; double b; } mix(struct { int64_t t; double b; }, float, \
                   struct { float x, y; }, struct { short small[3]; struct { float x, y; } pair; \
                   _Bool flag; }, __int128)";

#[test]
fn values_of_all_kinds() {
    let a = Mixed { r#type: 40, b: 0.5 };
    let inner = Inner { x: 3.0, y: 1.0 };
    let nested = Nested {
        small: [0, 0, -3],
        pair: Inner { x: 0.0, y: 0.25 },
        flag: true,
    };
    let wanted = Mixed {
        r#type: 45,
        b: 4.25,
    };
    for cache in caches() {
        let function = function(&cache, mix as *const (), MIX);
        let mut found = Mixed::default();
        let args = [
            Arg::of(&a),
            Arg::of(&4f32),
            Arg::of(&inner),
            Arg::of(&nested),
            Arg::of(&7i128),
        ];
        // Twice: what fits is remembered.
        for _ in 0..2 {
            // SAFETY: I5: the function takes any values.
            unsafe { function.call(&args, Ret::of(&mut found)) }.unwrap();
            assert_eq!(found, wanted);
            found = Mixed::default();
        }
        let typed = function.typed::<unsafe fn(Mixed, f32, Inner, Nested, i128) -> Mixed>();
        // SAFETY: I5: as above.
        let found = unsafe { typed.unwrap().call(a, 4.0, inner, nested, 7) };
        assert_eq!(found, wanted);
    }
    assert_eq!(
        Nested::c_type().to_string(),
        "struct { small [3]int16; pair struct { x float32; y float32 }; flag bool }"
    );
    let signature = signature_of::<fn(usize, *mut Mixed, Complex<f64>)>().unwrap();
    assert_eq!(
        signature.to_string(),
        "func(uintptr, unsafe.Pointer, complex128)"
    );
}

#[test]
fn complex_numbers_and_pointers() {
    unsafe extern "C" {
        fn conj(z: Complex<f64>) -> Complex<f64>;
        fn strlen(text: *const u8) -> usize;
    }
    for cache in caches() {
        let conj = function(
            &cache,
            conj as *const (),
            "double _Complex conj(double _Complex)",
        );
        // SAFETY: I5: it takes any number.
        let conj = unsafe { conj.into_safe() };
        let conj = conj.typed::<fn(Complex<f64>) -> Complex<f64>>().unwrap();
        assert_eq!(
            conj.call(Complex { re: 1.5, im: 2.0 }),
            Complex { re: 1.5, im: -2.0 }
        );

        let strlen = function(&cache, strlen as *const (), "size_t strlen(const char *)");
        let text = c"four".as_ptr();
        let mut length = 0usize;
        // SAFETY: I5: both are the address of a text.
        unsafe {
            strlen
                .call(&[Arg::of(&text)], Ret::of(&mut length))
                .unwrap();
            assert_eq!(length, 4);
            strlen
                .call(&[Arg::of(&text.addr())], Ret::of(&mut length))
                .unwrap();
        }
        assert_eq!(length, 4);
    }
}

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

extern "C" fn counted(_: i32, _: u8) -> f32 {
    CALLS.set(CALLS.get() + 1);
    0.5
}

#[test]
fn what_does_not_fit_is_refused_and_not_called() {
    for cache in caches() {
        let text = "float counted(int, unsigned char)";
        let function = function(&cache, counted as *const (), text);
        let (mut float, mut double, mut bytes) = (0f32, 0f64, [0u8; 3]);
        let right = [Arg::of(&1i32), Arg::of(&2u8)];
        let call = |args: &[Arg<'_>], result: Ret<'_>| {
            // SAFETY: I5: the function takes any values.
            let error = unsafe { function.call(args, result) }.unwrap_err();
            let text = error.to_string();
            let found = text.strip_prefix("call of func(int32, uint8) (float32): ");
            found.unwrap_or(&text).to_owned()
        };
        let kind = "wanted a value of the same kind, size and sign";
        let (a, b, one) = (right[0], right[1], Arg::of(&1i32));
        for (found, wanted) in [
            (
                call(&[a], Ret::of(&mut float)),
                "found 1 arguments, wanted 2".to_owned(),
            ),
            (
                call(&[a, b, one], Ret::ignored()),
                "found 3 arguments, wanted 2".to_owned(),
            ),
            (
                call(&[Arg::of(&1u32), b], Ret::ignored()),
                format!("argument 0 is int32, found uint32, {kind}"),
            ),
            (
                call(&[Arg::of(&1f32), b], Ret::ignored()),
                format!("argument 0 is int32, found float32, {kind}"),
            ),
            (
                call(&[a, Arg::of(&true)], Ret::ignored()),
                format!("argument 1 is uint8, found bool, {kind}"),
            ),
            (
                call(&[a, Arg::bytes(&[1, 2])], Ret::ignored()),
                format!("argument 1 is uint8, found 2 bytes, {kind}"),
            ),
            (
                call(&right, Ret::of(&mut double)),
                format!("the result is float32, found float64, {kind}"),
            ),
            (
                call(&right, Ret::bytes(&mut bytes)),
                format!("the result is float32, found 3 bytes, {kind}"),
            ),
        ] {
            assert_eq!(found, wanted);
        }
        assert_eq!(CALLS.get(), 0);
        // SAFETY: I5: the function takes any values.
        unsafe {
            function.call(&right, Ret::ignored()).unwrap();
            function
                .call(&[a, Arg::bytes(&[9])], Ret::of(&mut float))
                .unwrap();
        }
        assert_eq!((CALLS.take(), float), (2, 0.5));

        let errors = [
            function.typed::<unsafe fn(i32) -> f32>().unwrap_err(),
            function.typed::<unsafe fn(i32, i8) -> f32>().unwrap_err(),
            function.typed::<unsafe fn(i32, u8) -> f64>().unwrap_err(),
            function.typed::<unsafe fn(i32, u8)>().unwrap_err(),
        ];
        let start = "call of func(int32, uint8) (float32): ";
        assert_eq!(
            errors.map(|e| e.to_string().replace(start, "")),
            [
                "found 1 arguments, wanted 2".to_owned(),
                format!("argument 1 is uint8, found int8, {kind}"),
                format!("the result is float32, found float64, {kind}"),
                format!("the result is float32, found nothing, {kind}"),
            ]
        );
        // SAFETY: I5: it takes any values, by any thread.
        let safe = unsafe { function.into_safe() };
        let error = safe
            .call(&[a, Arg::bytes(&[9])], Ret::ignored())
            .unwrap_err();
        assert!(
            matches!(error, FunctionError::Untyped { index: 1, .. }),
            "{error}"
        );
        safe.call(&right, Ret::ignored()).unwrap();
        assert_eq!(CALLS.take(), 1);
    }
}

#[test]
fn no_result_or_several() {
    extern "C" fn nothing() {}
    for cache in caches() {
        let nothing = function(&cache, nothing as *const (), "void nothing(void)");
        let mut none = 0i32;
        // SAFETY: I5: it takes nothing.
        let error = unsafe { nothing.call(&[], Ret::of(&mut none)) }.unwrap_err();
        assert_eq!(
            error.to_string(),
            "call of func() (): found int32 for 0 results, wanted none, or 0 bytes"
                .replace("() ()", "()")
        );
        // SAFETY: I5: as above.
        unsafe {
            nothing.call(&[], Ret::ignored()).unwrap();
            nothing.typed::<unsafe fn()>().unwrap().call();
        }
    }
}

/// A Go function of two results, behind an entry.
#[test]
fn functions_of_gos_abis() {
    let entries = Entries::new(Default::default()).unwrap();
    let signature: Signature = "func(int32, float64) (float64, int32)".parse().unwrap();
    for abi in go_by_registers() {
        let swap = SharedCallback::new(&entries, &signature, abi, |call| {
            let (a, b): (i32, f64) = (call.argument(0).unwrap(), call.argument(1).unwrap());
            call.set_result(0, b).unwrap();
            call.set_result(1, a).unwrap();
        })
        .unwrap();
        for cache in caches() {
            // SAFETY: I5: the callback is of this signature and ABI, and takes any values.
            let function = unsafe { Function::at(&cache, swap.address(), &signature, abi) };
            let function = function.unwrap();
            let (mut both, mut one) = ([0u8; 16], 0f64);
            // SAFETY: I5: as above.
            let error = unsafe {
                function
                    .call(&[Arg::of(&7i32), Arg::of(&0.5)], Ret::bytes(&mut both))
                    .unwrap();
                function.call(&[Arg::of(&7i32), Arg::of(&0.5)], Ret::of(&mut one))
            };
            assert_eq!(both[..8], 0.5f64.to_ne_bytes());
            assert_eq!(both[8..12], 7i32.to_ne_bytes());
            assert_eq!(
                error.unwrap_err().to_string(),
                "call of func(int32, float64) (float64, int32): found float64 for 2 results, \
                 wanted none, or 16 bytes"
            );
            assert!(function.typed::<unsafe fn(i32, f64) -> f64>().is_err());
        }
    }
}

/// Of a struct that ends with a member without bytes Go makes another one than C.
#[test]
fn a_layout_that_is_not_rusts() {
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
    let cache = StubCache::new(Default::default()).unwrap();
    let abi = go();
    // SAFETY: I5: nothing is called.
    let typed = unsafe { Typed::<unsafe fn(Tail)>::at(&cache, 1, abi) };
    let error = typed.unwrap_err();
    assert!(
        matches!(error, FunctionError::OtherLayout { .. }),
        "{error}"
    );
    // SAFETY: I5: nothing is called.
    let typed = unsafe { Typed::<unsafe fn(Tail)>::at(&cache, 1, native()) };
    assert!(typed.is_ok());
}

#[test]
fn variadic_functions() {
    unsafe extern "C" {
        fn snprintf(buffer: *mut u8, size: usize, format: *const u8, ...) -> i32;
    }
    for cache in caches() {
        let prototype = signature("int snprintf(char *, size_t, const char *, ...)");
        let code = snprintf as *const ();
        // SAFETY: I5: the C library's function has this prototype.
        let print =
            unsafe { VariadicFunction::at(&cache, code.addr(), &prototype, native()).unwrap() };
        let mut buffer = [0u8; 64];
        let (start, size) = (buffer.as_mut_ptr(), buffer.len());
        let text = |format: &std::ffi::CStr, others: &[Arg<'_>]| {
            let format = format.as_ptr();
            let mut args = vec![Arg::of(&start), Arg::of(&size), Arg::of(&format)];
            args.extend(others);
            let mut length = 0i32;
            // SAFETY: I5: a buffer, its size, and what the format asks for.
            unsafe { print.call(&args, Ret::of(&mut length))? };
            // SAFETY: I5: `snprintf` has written so many bytes there.
            let bytes = unsafe { std::slice::from_raw_parts(start, length as usize) };
            Ok::<_, FunctionError>(String::from_utf8(bytes.to_vec()).unwrap())
        };
        for _ in 0..2 {
            assert_eq!(text(c"none", &[]).unwrap(), "none");
            assert_eq!(text(c"%.3f", &[Arg::of(&2.5f64)]).unwrap(), "2.500");
            let both = [Arg::of(&-7i32), Arg::of(&0.25f64)];
            assert_eq!(text(c"%d %.2f", &both).unwrap(), "-7 0.25");
        }
        let promoted = [
            text(c"%d", &[Arg::of(&1i16)]),
            text(c"%d", &[Arg::of(&true)]),
        ];
        assert_eq!(
            promoted.map(|found| found.unwrap_err().to_string()),
            ["int16", "bool"].map(|ty| format!(
                "parameter 3 is {ty}, wanted int32: C promotes what is passed in place of ..."
            ))
        );
        let error = text(c"%d", &[Arg::bytes(&[1, 0, 0, 0])]).unwrap_err();
        assert!(
            matches!(error, FunctionError::Untyped { index: 3, .. }),
            "{error}"
        );
        // SAFETY: I5: nothing is called.
        let error = unsafe { print.call(&[Arg::of(&size)], Ret::ignored()) }.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("call of {prototype}: found 1 arguments, wanted 3")
        );
        // SAFETY: I5: nothing is called.
        let error = unsafe {
            VariadicFunction::at(&cache, code.addr(), &signature("int f(int)"), native())
        };
        assert!(matches!(error, Err(FunctionError::NotVariadic { .. })));
    }
}

#[test]
fn errno_of_the_call() {
    unsafe extern "C" {
        fn close(file: i32) -> i32;
        fn chdir(path: *const u8) -> i32;
    }
    for cache in caches() {
        let close = function(&cache, close as *const (), "int close(int)");
        let mut result = 0i32;
        // SAFETY: I5: no file has this number.
        let errno = unsafe { close.call_errno(&[Arg::of(&-1i32)], Ret::of(&mut result)) };
        assert_eq!((result, errno.unwrap()), (-1, libc::EBADF));

        let chdir = function(&cache, chdir as *const (), "int chdir(const char *)");
        let chdir = chdir.typed::<unsafe fn(*const c_char) -> i32>().unwrap();
        // SAFETY: I5: a text.
        let found = unsafe { chdir.call_errno(c"/no/such/folder".as_ptr()) };
        assert_eq!(found, (-1, libc::ENOENT));
        // SAFETY: I5: it takes any number.
        let close = unsafe { close.into_safe() };
        let close = close.typed::<fn(i32) -> i32>().unwrap();
        assert_eq!(close.call_errno(-1), (-1, libc::EBADF));
    }
}

/// The panic passes, and the place of the result is as it was.
#[test]
fn a_panic_passes_through() {
    extern "C-unwind" fn fails(n: i32) -> i32 {
        std::panic::panic_any(n)
    }
    for cache in caches() {
        let function = function(&cache, fails as *const (), "int fails(int)");
        let mut result = 5i32;
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // SAFETY: I5: it takes any number, and only a panic leaves it.
            unsafe { function.call(&[Arg::of(&3i32)], Ret::of(&mut result)) }
        }));
        assert_eq!(caught.unwrap_err().downcast_ref::<i32>(), Some(&3));
        assert_eq!(result, 5);
    }
}

#[test]
fn several_threads_call_one_function() {
    extern "C" fn sum(a: i64, b: i64) -> i64 {
        a + b
    }
    let cache = StubCache::new(Default::default()).unwrap();
    let function = function(&cache, sum as *const (), "int64_t sum(int64_t, int64_t)");
    // SAFETY: I5: it takes any numbers, by any thread.
    let function = unsafe { function.into_safe() };
    std::thread::scope(|scope| {
        for thread in 0..4i64 {
            let function = &function;
            scope.spawn(move || {
                for n in 0..1000i64 {
                    let mut result = 0i64;
                    // Each thread has its own type first: which one is remembered is left open.
                    let called = match thread % 2 {
                        0 => function.call(&[Arg::of(&n), Arg::of(&thread)], Ret::of(&mut result)),
                        _ => {
                            let (n, thread) = (n as isize, thread as isize);
                            function.call(&[Arg::of(&n), Arg::of(&thread)], Ret::of(&mut result))
                        }
                    };
                    called.unwrap();
                    assert_eq!(result, n + thread);
                }
            });
        }
    });
}

/// Sets the bits of `mask` that a value of this type at byte `at` has a meaning for.
fn mark(ty: &Type, at: usize, mask: &mut [u8]) {
    let model = native().native_table().unwrap().data;
    let size = model.layout(ty).unwrap().size as usize;
    match ty.underlying() {
        Kind::Array(len, elem) => {
            let each = size.checked_div(*len as usize).unwrap_or(0);
            (0..*len as usize).for_each(|n| mark(elem, at + n * each, mask));
        }
        Kind::Struct(_) | Kind::C(CType::Record(_)) => {
            for member in model.members(ty) {
                match member.bits {
                    None => mark(member.ty, at + member.offset as usize, mask),
                    Some((first, count)) => {
                        for bit in first as usize..(first + count) as usize {
                            mask[at + bit / 8] |= 1 << (bit % 8);
                        }
                    }
                }
            }
        }
        Kind::C(CType::LongDouble) if model.long_double == LongDouble::X87 => {
            mask[at..at + 10].fill(0xff);
        }
        Kind::C(CType::ComplexLongDouble) if model.long_double == LongDouble::X87 => {
            mask[at..at + 10].fill(0xff);
            mask[at + 16..at + 26].fill(0xff);
        }
        _ => mask[at..at + size].fill(0xff),
    }
}

/// Whether both are the same value.
fn same(ty: &Type, a: &[u8], b: &[u8]) -> bool {
    let mut mask = vec![0; a.len()];
    mark(ty, 0, &mut mask);
    let mut bytes = a.iter().zip(b).zip(&mask);
    bytes.all(|((a, b), mask)| (a ^ b) & mask == 0)
}

/// Random signatures of all classes, larger than the block in the caller's frame too: bytes arrive
/// as they are given, and come back. `FING_CASES` says how many.
#[test]
fn random_signatures() {
    // So many have large blocks among them, which are to be tried on every host.
    let cases = fing_oracles::cases(150).max(150) as usize;
    let abi = native();
    let entries = Entries::new(Default::default()).unwrap();
    let caches = caches();
    let (mut rng, mut large) = (Rng::new(8), 0);
    for n in 0..cases {
        let made = c_signature(&mut rng, abi);
        let fixed = Signature::new(None, made.params().to_vec(), made.results().to_vec(), false);
        let signature = fixed.unwrap();
        let arguments = BlockLayout::under(abi, signature.arguments());
        let results = BlockLayout::under(abi, signature.results());
        large += u32::from(arguments.size() > 256);
        let byte = |rng: &mut Rng| rng.below(256) as u8;
        let wanted: Vec<u8> = (0..results.size()).map(|_| byte(&mut rng)).collect();
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (returned, sees) = (wanted.clone(), seen.clone());
        let point = entries.point(&signature, abi);
        let point = point.unwrap_or_else(|e| panic!("{n}: {signature}: {e}"));
        let callback = SharedCallback::at(&point, CallbackOptions::default(), move |call| {
            *sees.lock().unwrap() = call.arguments().to_vec();
            call.results().copy_from_slice(&returned);
        });
        let callback = callback.unwrap();
        // SAFETY: I5: the callback is of this signature and ABI, and takes any bytes.
        let function = unsafe { Function::at(&caches[n % 2], callback.address(), &signature, abi) };
        let function = function.unwrap_or_else(|e| panic!("{n}: {signature}: {e}"));
        let sizes = signature
            .arguments()
            .map(|ty| abi.layout_of(ty).unwrap().size);
        let values: Vec<Vec<u8>> = sizes
            .map(|size| (0..size).map(|_| byte(&mut rng) & 1).collect())
            .collect();
        let args: Vec<Arg<'_>> = values.iter().map(|value| Arg::bytes(value)).collect();
        let mut result = vec![0u8; wanted.len()];
        // SAFETY: I5: as above.
        let called = unsafe { function.call(&args, Ret::bytes(&mut result)) };
        called.unwrap_or_else(|e| panic!("{n}: {signature}: {e}"));
        let seen = seen.lock().unwrap();
        let arguments = signature.arguments().zip(arguments.offsets()).zip(&values);
        for ((ty, &at), value) in arguments {
            let found = &seen[at as usize..][..value.len()];
            assert!(
                same(ty, found, value),
                "{n}: {signature}: {found:x?}, not {value:x?}"
            );
        }
        for ty in signature.results() {
            assert!(
                same(ty, &result, &wanted),
                "{n}: {signature}: {result:x?}, not {wanted:x?}"
            );
        }
    }
    assert!(large > 0, "no large block among {cases}");
}
