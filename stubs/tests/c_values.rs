//! C's values on this host, through generated stubs and the interpreter: functions of the C library
//! and of Rust's `extern "C"`.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::ffi::CStr;

use fing_stubs::{Abi, CacheOptions, CallStub, CodePolicy, GBlock, StubCache};

fn stubs(text: &str) -> [CallStub; 2] {
    [CodePolicy::Generate, CodePolicy::Interpret].map(|policy| {
        let cache = StubCache::new(CacheOptions::default().policy(policy)).unwrap();
        let stub = cache.call_stub(&text.parse().unwrap(), Abi::system_v());
        stub.unwrap_or_else(|e| panic!("{text}: {e}"))
    })
}

/// Calls a function with a block of arguments.
fn call<A, R: Copy>(stub: &CallStub, code: *const (), arguments: &A, result: R) -> R {
    let mut result = result;
    assert_eq!(
        stub.arguments().size() as usize,
        size_of::<A>(),
        "{}",
        stub.key()
    );
    assert_eq!(
        stub.results().size() as usize,
        size_of::<R>(),
        "{}",
        stub.key()
    );
    // SAFETY: I5: each test calls a function of the signature that its stub was made for, with a
    // block of that layout.
    let called = unsafe {
        let (from, to) = ((&raw const *arguments).cast(), (&raw mut result).cast());
        stub.call(code.addr(), 0, from, to, &GBlock::zeroed())
    };
    called.unwrap();
    result
}

#[test]
fn a_variadic_function_of_the_c_library() {
    #[repr(C)]
    struct Arguments {
        buffer: *mut u8,
        size: usize,
        format: *const i8,
        count: i32,
        number: f64,
        other: f64,
    }
    for stub in stubs("func(*uint8, uint64, *int8, ..., int32, float64, float64) int32") {
        assert_eq!(stub.key().vectors(), Some(2));
        let mut buffer = [0u8; 64];
        let arguments = Arguments {
            buffer: buffer.as_mut_ptr(),
            size: 64,
            format: c"%d %.3f %.1f".as_ptr(),
            count: -7,
            number: 2.5,
            other: -0.5,
        };
        let length = call(&stub, libc::snprintf as *const (), &arguments, 0i32);
        let text = CStr::from_bytes_until_nul(&buffer).unwrap();
        assert_eq!((length, text), (13, c"-7 2.500 -0.5"));
    }
}

#[test]
fn structs_by_value_and_back() {
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Mixed {
        a: i64,
        b: f64,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Small {
        a: f32,
        b: i16,
    }
    extern "C" fn mix(small: Small, by: f64, mixed: Mixed) -> Mixed {
        Mixed {
            a: mixed.a + i64::from(small.b),
            b: mixed.b * by + f64::from(small.a),
        }
    }
    #[repr(C)]
    struct Arguments(Small, f64, Mixed);
    let text = "func(struct { A float32; B int16 }, float64, struct { A int64; B float64 }) \
                struct { A int64; B float64 }";
    for stub in stubs(text) {
        let arguments = Arguments(Small { a: 0.5, b: -3 }, 4.0, Mixed { a: 40, b: 0.25 });
        let none = Mixed { a: 0, b: 0.0 };
        let found = call(&stub, mix as *const (), &arguments, none);
        assert_eq!(found, Mixed { a: 37, b: 1.5 });
    }
}

/// The C library's `div`, whose result's two members share a register.
#[test]
fn members_that_share_a_register() {
    #[repr(C)]
    struct Quotient {
        quot: i32,
        rem: i32,
    }
    unsafe extern "C" {
        fn div(numerator: i32, denominator: i32) -> Quotient;
    }
    for stub in stubs("func(int32, int32) struct { Quot, Rem int32 }") {
        assert_eq!(
            call(&stub, div as *const (), &[-17i32, 5], [0i32; 2]),
            [-3, -2]
        );
    }
}

/// C's layout, not Go's: a last member without bytes adds none.
#[test]
fn a_last_member_without_bytes() {
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Two(i64, i64, [i8; 0]);
    extern "C" fn two(x: i64) -> Two {
        Two(x, x + 1, [])
    }
    for stub in stubs("func(int) struct { A int; B int; E [0]int8 }") {
        let found = call(&stub, two as *const (), &3i64, Two(0, 0, []));
        assert_eq!((found.0, found.1), (3, 4));
    }
}

/// A struct of 3, 5, 6 or 7 bytes that ends with a page: nothing behind it is read.
#[test]
fn no_byte_behind_an_argument_is_read() {
    extern "C" fn sum(word: u64) -> u64 {
        word
    }
    let page = 4096;
    // SAFETY: I5: fresh memory of this test's own, whose second page is then made unreadable.
    let pages = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let pages = libc::mmap(std::ptr::null_mut(), 2 * page, protection, flags, -1, 0);
        assert_ne!(pages, libc::MAP_FAILED);
        assert_eq!(
            libc::mprotect(pages.byte_add(page), page, libc::PROT_NONE),
            0
        );
        pages.cast::<u8>()
    };
    for size in 1..8usize {
        for stub in stubs(&format!("func(struct {{ A [{size}]uint8 }}) uint64")) {
            let mut result = 0u64;
            // SAFETY: I5: the bytes end where the readable page does; `sum` takes the register that
            // such a struct is in.
            unsafe {
                let from = pages.add(page - size);
                for n in 0..size {
                    from.add(n).write(n as u8 + 1);
                }
                let to = (&raw mut result).cast();
                stub.call(sum as *const () as usize, 0, from, to, &GBlock::zeroed())
                    .unwrap();
            }
            let mask = u64::MAX >> (64 - 8 * size);
            assert_eq!(result & mask, 0x0007_0605_0403_0201 & mask, "{size} bytes");
        }
    }
    // SAFETY: I5: nobody uses these pages any more.
    unsafe { libc::munmap(pages.cast(), 2 * page) };
}

#[test]
fn vectors() {
    use std::arch::x86_64::{__m128, _mm_add_ps};
    #[expect(improper_ctypes_definitions, reason = "the psABI has a class for it")]
    extern "C" fn double(x: __m128) -> __m128 {
        // SAFETY: I5: every x86-64 machine has SSE.
        unsafe { _mm_add_ps(x, x) }
    }
    #[repr(C, align(16))]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Four([f32; 4]);
    for stub in stubs("func(C.vector[4]float32) C.vector[4]float32") {
        let found = call(
            &stub,
            double as *const (),
            &Four([1.0, 2.0, 3.0, 4.0]),
            Four([0.0; 4]),
        );
        assert_eq!(found, Four([2.0, 4.0, 6.0, 8.0]));
    }
}
