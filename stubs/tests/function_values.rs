//! The values of calls by their addresses: how many, how large, how aligned, of which Rust types.
//! By generated stubs and by the interpreter.
#![cfg(target_os = "linux")]

use std::ffi::CStr;

use fing_stubs::function::{Arg, Function, FunctionError, Ret, Typed, VariadicFunction};
use fing_stubs::{Abi, CacheOptions, CodePolicy, Signature, StubCache, c_struct};

fn caches() -> [StubCache; 2] {
    [CodePolicy::Generate, CodePolicy::Interpret]
        .map(|policy| StubCache::new(CacheOptions::default().policy(policy)).unwrap())
}

fn function(cache: &StubCache, code: *const (), text: &str) -> Function {
    let signature: Signature = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    // SAFETY: I5: each test gives a function of the signature, which takes any values.
    let made = unsafe { Function::at(cache, code.addr(), &signature, Abi::host_native().unwrap()) };
    made.unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Calls a function that takes any values.
fn call(function: &Function, args: &[Arg<'_>], result: Ret<'_>) -> Result<(), FunctionError> {
    // SAFETY: I5: as [`function`].
    unsafe { function.call(args, result) }
}

/// The text behind the signature.
fn refusal(found: Result<(), FunctionError>) -> String {
    let text = found.unwrap_err().to_string();
    let behind = text.split_once(": ").map(|(_, behind)| behind.to_owned());
    behind.unwrap_or(text)
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Padded {
    a: i8,
    b: i64,
}
c_struct!(Padded { a: i8, b: i64 });

/// Of a result the bytes between its values are what they were, or what the callee left in its
/// registers; and never memory that nobody has written.
#[test]
fn results_of_bytes_wherever_they_lie() {
    extern "C" fn padded(a: i8, b: i64) -> Padded {
        Padded { a, b }
    }
    for cache in caches() {
        let text = "func(int8, int64) struct { A int8; B int64 }";
        let function = function(&cache, padded as *const (), text);
        for at in 0..9 {
            let mut bytes = [0xaa_u8; 32];
            let args = [Arg::of(&-3i8), Arg::of(&-5i64)];
            call(&function, &args, Ret::bytes(&mut bytes[at..at + 16])).unwrap();
            assert_eq!(bytes[at], -3i8 as u8, "{at}");
            assert_eq!(bytes[at + 8..at + 16], (-5i64).to_ne_bytes(), "{at}");
            let outside = bytes[..at].iter().chain(&bytes[at + 16..]);
            assert!(outside.clone().all(|&byte| byte == 0xaa), "{at}: {bytes:?}");
        }
    }
}

#[test]
fn an_argument_with_padding() {
    extern "C" fn sum(padded: Padded) -> i64 {
        i64::from(padded.a) + padded.b
    }
    for cache in caches() {
        let function = function(
            &cache,
            sum as *const (),
            "func(struct { A int8; B int64 }) int64",
        );
        let (value, mut found) = (Padded { a: -1, b: 43 }, 0i64);
        call(&function, &[Arg::of(&value)], Ret::of(&mut found)).unwrap();
        assert_eq!(found, 42);
    }
}

/// More arguments than the written-out steps of a call's loop, given as a list that the call sees,
/// and as one that it does not.
#[test]
fn many_arguments() {
    extern "C" fn sum(
        a: i64,
        b: i64,
        c: i64,
        d: i64,
        e: i64,
        f: i64,
        g: i64,
        h: i64,
        i: i64,
        j: i64,
    ) -> i64 {
        [a, b, c, d, e, f, g, h, i, j]
            .iter()
            .fold(0, |sum, n| 3 * sum + n)
    }
    let numbers: Vec<i64> = (1..11).collect();
    let wanted = numbers.iter().fold(0, |sum, n| 3 * sum + n);
    for cache in caches() {
        let parameters = ["int64"; 10].join(", ");
        let function = function(
            &cache,
            sum as *const (),
            &format!("func({parameters}) int64"),
        );
        let mut found = 0i64;
        let args: Vec<Arg<'_>> = numbers.iter().map(Arg::of).collect();
        call(&function, &args, Ret::of(&mut found)).unwrap();
        assert_eq!(found, wanted);
        let n = &numbers;
        let listed = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|at| Arg::of(&n[at]));
        // SAFETY: I5: it takes any numbers.
        unsafe { function.call(&listed, Ret::of(&mut found)) }.unwrap();
        assert_eq!(found, wanted);
        for wrong in [0, 7, 8, 9] {
            let mut args = args.clone();
            args[wrong] = Arg::of(&0.5f64);
            let error = refusal(call(&function, &args, Ret::ignored()));
            let wanted = format!("argument {wrong} is int64, found float64");
            assert!(error.starts_with(&wanted), "{error}");
        }
        for count in [0, 7, 8, 9] {
            let error = refusal(call(&function, &args[..count], Ret::ignored()));
            assert_eq!(error, format!("found {count} arguments, wanted 10"));
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Large {
    words: [i64; 64],
}
c_struct!(Large { words: [i64; 64] });

/// Blocks that do not fit into the caller's frame.
#[test]
fn large_values() {
    extern "C" fn turned(large: Large, by: i64) -> Large {
        Large {
            words: large.words.map(|word| word * by),
        }
    }
    let large = Large {
        words: std::array::from_fn(|n| n as i64),
    };
    let wanted = Large {
        words: large.words.map(|word| -2 * word),
    };
    for cache in caches() {
        let ty = "struct { Words [64]int64 }";
        let function = function(
            &cache,
            turned as *const (),
            &format!("func({ty}, int64) {ty}"),
        );
        let args = [Arg::of(&large), Arg::of(&-2i64)];
        let mut found = Large { words: [7; 64] };
        call(&function, &args, Ret::of(&mut found)).unwrap();
        assert_eq!(found, wanted);
        call(&function, &args, Ret::ignored()).unwrap();
        let mut bytes = [0u8; 513];
        call(&function, &args, Ret::bytes(&mut bytes[1..])).unwrap();
        let words = bytes[1..]
            .chunks_exact(8)
            .map(|word| i64::from_ne_bytes(word.try_into().unwrap()));
        assert!(words.eq(wanted.words));
        for length in [0, 511] {
            let error = refusal(call(&function, &args, Ret::bytes(&mut bytes[..length])));
            assert!(error.contains(&format!("found {length} bytes")), "{error}");
        }
    }
}

/// Wider than any register: where such a value may be passed its block is aligned as it is.
#[test]
fn over_aligned_values() {
    #[repr(C, align(16))]
    struct Sixteen([i64; 2]);
    extern "C" fn sixteen(before: i8, value: Sixteen) -> i64 {
        i64::from(before) + value.0[0] - value.0[1]
    }
    let number = |n: i64| n.to_ne_bytes();
    for cache in caches() {
        let text = "func(int8, C.struct align 16 { A int64; B int64 }) int64";
        if cfg!(target_arch = "s390x") {
            // In memory there, where the stack is aligned to 8.
            let (signature, native) = (text.parse().unwrap(), Abi::host_native().unwrap());
            let code = (sixteen as *const ()).addr();
            // SAFETY: I5: a function of the signature.
            let made = unsafe { Function::at(&cache, code, &signature, native) };
            let refused = made.unwrap_err().to_string();
            assert!(
                refused.contains("aligned to more bytes than the stack is"),
                "{refused}"
            );
            continue;
        }
        let function = function(&cache, sixteen as *const (), text);
        let (bytes, mut found) = ([number(40), number(-3)].concat(), 0i64);
        let args = [Arg::of(&-1i8), Arg::bytes(&bytes)];
        call(&function, &args, Ret::of(&mut found)).unwrap();
        assert_eq!(found, 42);
    }
}

/// Several Rust types are one C type: more than a parameter remembers, and each every time.
#[test]
fn many_rust_types_of_one_parameter() {
    extern "C" fn address(pointer: *const u8) -> usize {
        pointer.addr()
    }
    for cache in caches() {
        let function = function(&cache, address as *const (), "func(*int8) uintptr");
        let value = 7u64;
        let start = &raw const value;
        let (a, b, c) = (
            start.cast::<i8>(),
            start.cast::<i16>(),
            start.cast::<Padded>(),
        );
        let (d, e, f) = (
            start.cast_mut(),
            start.cast_mut().cast::<f32>(),
            start.addr(),
        );
        let args = [
            Arg::of(&start),
            Arg::of(&a),
            Arg::of(&b),
            Arg::of(&c),
            Arg::of(&d),
            Arg::of(&e),
            Arg::of(&f),
        ];
        for _ in 0..3 {
            for arg in args {
                let mut found = 0usize;
                call(&function, &[arg], Ret::of(&mut found)).unwrap();
                assert_eq!(found, start.addr());
            }
            for wrong in [
                Arg::of(&1u64),
                Arg::of(&1i64),
                Arg::of(&0.5f64),
                Arg::bytes(&[0; 7]),
            ] {
                let error = refusal(call(&function, &[wrong], Ret::ignored()));
                assert!(error.starts_with("argument 0 is *int8, found "), "{error}");
            }
        }
    }
}

/// A value without bytes: no register, no place, but an argument all the same. (On s390x gcc passes
/// it as a pointer.)
#[cfg(not(target_arch = "s390x"))]
#[test]
fn values_without_bytes() {
    extern "C" fn negated(n: i32) -> i32 {
        -n
    }
    for cache in caches() {
        let function = function(&cache, negated as *const (), "func(struct {}, int32) int32");
        let (mut found, args) = (0i32, [Arg::bytes(&[]), Arg::of(&5i32)]);
        call(&function, &args, Ret::of(&mut found)).unwrap();
        assert_eq!(found, -5);
        let error = refusal(call(&function, &args[1..], Ret::ignored()));
        assert_eq!(error, "found 1 arguments, wanted 2");
    }
}

/// Narrow values beside others, as arguments and as results: their bytes, whatever the byte order.
#[test]
fn narrow_values() {
    macro_rules! negated {
        ($($ty:ident $go:literal $value:expr;)*) => {$(
            {
                extern "C" fn same(before: i8, value: $ty, behind: i16) -> $ty {
                    assert_eq!((before, behind), (-1, -2));
                    value
                }
                for cache in caches() {
                    let text = format!("func(int8, {}, int16) {0}", $go);
                    let function = function(&cache, same as *const (), &text);
                    let args = [Arg::of(&-1i8), Arg::of(&$value), Arg::of(&-2i16)];
                    let mut found = <$ty>::default();
                    call(&function, &args, Ret::of(&mut found)).unwrap();
                    assert_eq!(found, $value, "{text}");
                    let mut bytes = [0u8; size_of::<$ty>()];
                    let (own, other) = ($value.to_ne_bytes(), -1i8);
                    let args = [Arg::of(&other), Arg::bytes(&own), args[2]];
                    call(&function, &args, Ret::bytes(&mut bytes)).unwrap();
                    assert_eq!(bytes, own, "{text}");
                }
            }
        )*};
    }
    negated! {
        i8 "int8" -100i8;
        u8 "uint8" 200u8;
        i16 "int16" -30_000i16;
        u16 "uint16" 60_000u16;
        i32 "int32" -2_000_000_000i32;
        u32 "uint32" 4_000_000_000u32;
        f32 "float32" 0.5f32;
    }
}

/// More lists of types than are found without a lock, by several threads, twice each.
#[test]
fn many_lists_of_a_variadic_function() {
    unsafe extern "C" {
        fn snprintf(buffer: *mut u8, size: usize, format: *const u8, ...) -> i32;
    }
    let cache = StubCache::new(Default::default()).unwrap();
    let signature: Signature = "func(*int8, uint64, *int8) int32".parse().unwrap();
    let signature = signature.c_variadic(3).unwrap();
    // SAFETY: I5: the C library's function has this prototype.
    let print = unsafe {
        let abi = Abi::host_native().unwrap();
        VariadicFunction::at(&cache, snprintf as *const () as usize, &signature, abi).unwrap()
    };
    let printed = |count: usize| {
        let mut buffer = [0u8; 64];
        let start = buffer.as_mut_ptr();
        let (size, mut length) = (buffer.len() as u64, 0i32);
        let format = format!("{}\0", ["%d"; 12][..count].join(" "));
        let numbers: Vec<i32> = (0..count as i32).collect();
        let format = format.as_ptr();
        let mut args = vec![Arg::of(&start), Arg::of(&size), Arg::of(&format)];
        args.extend(numbers.iter().map(Arg::of));
        // SAFETY: I5: a buffer, its size, and what the format asks for.
        unsafe { print.call(&args, Ret::of(&mut length)) }.unwrap();
        let found = CStr::from_bytes_until_nul(&buffer)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(found.len(), length as usize);
        let wanted: Vec<String> = numbers.iter().map(i32::to_string).collect();
        assert_eq!(found, wanted.join(" "));
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..24).for_each(|n| printed(n % 12)));
        }
    });
    // What stands before `...` is checked for lists that are known, too.
    let (address, number) = (std::ptr::null::<u8>(), 7i32);
    let args = [
        Arg::of(&address),
        Arg::of(&0.5f64),
        Arg::of(&address),
        Arg::of(&number),
    ];
    // SAFETY: I5: nothing is called.
    let error = refusal(unsafe { print.call(&args, Ret::ignored()) });
    assert!(
        error.starts_with("argument 1 is uint64, found float64"),
        "{error}"
    );
}

/// Functions of Rust types, whose blocks are Rust's own values.
#[test]
fn typed_functions_of_large_and_padded_values() {
    extern "C" fn padded(large: Large, by: i8) -> Padded {
        Padded {
            a: by,
            b: large.words.iter().sum(),
        }
    }
    for cache in caches() {
        // SAFETY: I5: it takes any values.
        let typed: Typed<fn(Large, i8) -> Padded> = unsafe {
            let abi = Abi::host_native().unwrap();
            Typed::at(&cache, padded as *const () as usize, abi).unwrap()
        };
        assert_eq!(
            typed.call(Large { words: [2; 64] }, -4),
            Padded { a: -4, b: 128 }
        );
    }
}
