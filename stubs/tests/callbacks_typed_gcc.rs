//! Code of gcc's calls closures of Rust types: each kind of value that is passed to them where the
//! caller has it, and each that goes through blocks.
#![cfg(target_os = "linux")]

#[path = "support/gcc.rs"]
mod gcc;

use std::cell::Cell;
use std::rc::Rc;

use fing_stubs::entry::{Callback, CallbackOptions, Entries, SharedCallback};
use fing_stubs::function::{Complex, signature_of};
use fing_stubs::{Abi, c_struct};

/// Structs that travel in float registers, in registers of both kinds, in one, in memory.
const STRUCTS: &str = "#include <stdint.h>
#include <complex.h>
struct pair { double x; float y; };
struct both { int64_t n; double x; };
struct mixed { int8_t a; uint16_t b; float c; };
struct words { int64_t a; void *b; };
struct large { int64_t words[5]; _Bool last; };
struct floats { float all[3]; };
";

macro_rules! structs {
    ($($name:ident { $($member:ident: $ty:ty = $value:expr),* })*) => {$(
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq)]
        struct $name { $($member: $ty),* }
        c_struct!($name { $($member: $ty),* });

        impl Sample for $name {
            fn sample() -> $name {
                $name { $($member: $value),* }
            }
        }
    )*};
}

/// A value, none of whose bytes are like others.
trait Sample {
    fn sample() -> Self;
}

macro_rules! samples {
    ($($ty:ty: $value:expr,)*) => {$(
        impl Sample for $ty {
            fn sample() -> $ty {
                $value
            }
        }
    )*};
}

samples! {
    (): (),
    bool: true,
    i8: -101,
    u8: 0xf1,
    i16: -30_123,
    u16: 0xfedc,
    i32: -0x7abc_def1,
    u32: 0xfedc_ba98,
    i64: -0x7123_4567_89ab_cdef,
    u64: 0xfedc_ba98_7654_3210,
    usize: 0x1234_5678_9abc,
    *const u8: std::ptr::without_provenance(0x7fed_cba9_8765),
    f32: -1234.5,
    f64: 1e200,
    i128: i128::MIN + 0x1234_5678_9abc_def0,
    Complex<f64>: Complex { re: 1.5, im: -2.5 },
}

structs! {
    Pair { x: f64 = -1e100, y: f32 = 0.625 }
    Both { n: i64 = i64::MIN + 77, x: f64 = 3.75 }
    Mixed { a: i8 = -3, b: u16 = 65_000, c: f32 = 0.25 }
    Words { a: i64 = 0x0102_0304_0506_0708, b: usize = 0x1111_2222_3333_4444 }
    Large { words: [i64; 5] = [1, -2, 3, -4, i64::MIN], last: bool = true }
    Floats { all: [f32; 3] = [1.5, -2.5, 1e30] }
}

/// Calls a function with arguments from a block, and returns its result to a block.
type Caller = extern "C" fn(usize, *const u8, *mut u8);

/// For each row a C function and a test: closures of these types are called once each, of one
/// thread and of all.
macro_rules! rows {
    ($(
        $name:ident($($arg:ident: $ty:ty as $c:literal),*) -> $result:ty as $c_result:literal;
    )*) => {
        fn source() -> String {
            let mut text = STRUCTS.to_owned();
            $(
                let members: &[(&str, &str)] = &[$((stringify!($arg), $c)),*];
                for (_, attribute) in gcc::conventions() {
                    text += &caller(stringify!($name), attribute, members, $c_result);
                }
            )*
            text
        }

        fn run(symbol: &impl Fn(&str) -> usize, abi: Abi, attribute: &str) {
            $({
                #[repr(C)]
                struct Block {
                    $($arg: $ty,)*
                    end: u8,
                }
                let entries = Entries::new(Default::default()).unwrap();
                let signature = signature_of::<fn($($ty),*) -> $result>().unwrap();
                let point = entries.point(&signature, abi).unwrap();
                let name = format!("{} by {abi}", stringify!($name));
                let seen = Rc::new(Cell::new(0));
                let count = seen.clone();
                let owned = move |$($arg: $ty),*| -> $result {
                    $(assert_eq!($arg, <$ty>::sample(), "{}", stringify!($arg));)*
                    count.set(count.get() + 1);
                    <$result>::sample()
                };
                let shared = |$($arg: $ty),*| -> $result {
                    $(assert_eq!($arg, <$ty>::sample(), "{}", stringify!($arg));)*
                    <$result>::sample()
                };
                let owned = Callback::typed(&point, CallbackOptions::default(), owned).unwrap();
                let all = CallbackOptions::default();
                let shared = SharedCallback::typed(&point, all, shared).unwrap();
                let caller = symbol(&format!("{}_{attribute}", stringify!($name)));
                // SAFETY: the C function of this row.
                let caller = unsafe { std::mem::transmute::<usize, Caller>(caller) };
                let given = Block { $($arg: <$ty>::sample(),)* end: 0 };
                for address in [owned.address(), shared.address()] {
                    let mut result = std::mem::MaybeUninit::<$result>::zeroed();
                    let (from, to) = (&raw const given, result.as_mut_ptr());
                    caller(address, from.cast(), to.cast());
                    // SAFETY: zeroed, and written by the caller if it has bytes.
                    let result = unsafe { result.assume_init() };
                    assert_eq!(result, <$result>::sample(), "{name}: the result");
                }
                assert_eq!((seen.get(), given.end), (1, 0), "{name}");
                let jumps = attribute == "sysv_abi" && !BLOCKS.contains(&stringify!($name));
                assert_eq!(entries.stats().jumps, 2 * usize::from(jumps), "{name}: jumps");
            })*
        }
    };
}

/// Rows whose calls go through blocks, by System V's convention too.
const BLOCKS: &[&str] = &[
    "five_integers",
    "hidden_and_four",
    "memory_and_five",
    "narrow_arguments",
    "flag",
    "wide_integer",
    "complex_number",
];

rows! {
    nothing() -> () as "void";
    one_word(a: i64 as "int64_t") -> i64 as "int64_t";
    two_pointers(a: *const u8 as "void *", b: usize as "uintptr_t") -> i32 as "int";
    halves(a: i32 as "int32_t", b: u32 as "uint32_t") -> u32 as "uint32_t";
    floats(a: f64 as "double", b: f32 as "float") -> f32 as "float";
    ten_floats(
        a: f64 as "double", b: f64 as "double", c: f64 as "double", d: f32 as "float",
        e: f64 as "double", f: f64 as "double", g: f64 as "double", h: f32 as "float",
        i: f64 as "double", j: f32 as "float"
    ) -> f64 as "double";
    four_integers(
        a: u64 as "uint64_t", b: f64 as "double", c: i32 as "int", d: i64 as "int64_t",
        e: usize as "uintptr_t"
    ) -> u64 as "uint64_t";
    five_integers(
        a: u64 as "uint64_t", b: i32 as "int", c: i64 as "int64_t", d: usize as "uintptr_t",
        e: u32 as "uint32_t"
    ) -> i64 as "int64_t";
    narrow_results(a: i64 as "int64_t") -> i8 as "int8_t";
    narrow_results_too(a: i64 as "int64_t") -> u16 as "uint16_t";
    flag_result(a: f32 as "float") -> bool as "_Bool";
    narrow_arguments(a: i16 as "int16_t", b: u8 as "uint8_t") -> i16 as "int16_t";
    flag(a: bool as "_Bool") -> i64 as "int64_t";
    float_pair(a: Pair as "struct pair", b: i64 as "int64_t") -> Pair as "struct pair";
    both_kinds(a: Both as "struct both", b: Both as "struct both") -> Both as "struct both";
    one_register(
        a: Mixed as "struct mixed", b: Floats as "struct floats"
    ) -> Mixed as "struct mixed";
    two_words(a: Words as "struct words", b: Words as "struct words") -> Words as "struct words";
    in_memory(
        a: Large as "struct large", b: i64 as "int64_t", c: Large as "struct large",
        d: f64 as "double"
    ) -> Floats as "struct floats";
    hidden(a: i64 as "int64_t", b: Words as "struct words") -> Large as "struct large";
    hidden_and_four(
        a: i64 as "int64_t", b: Words as "struct words", c: i32 as "int"
    ) -> Large as "struct large";
    // A struct that no longer fits leaves a register to what follows.
    memory_and_five(
        a: Words as "struct words", b: Words as "struct words", c: i64 as "int64_t",
        d: Words as "struct words"
    ) -> Large as "struct large";
    wide_integer(a: i128 as "__int128", b: i64 as "int64_t") -> i128 as "__int128";
    complex_number(a: Complex<f64> as "double complex") -> Complex<f64> as "double complex";
}

fn caller(name: &str, attribute: &str, members: &[(&str, &str)], result: &str) -> String {
    let fields: Vec<String> = members
        .iter()
        .map(|(name, ty)| format!("{ty} {name};"))
        .collect();
    let types: Vec<&str> = members.iter().map(|(_, ty)| *ty).collect();
    let types = match &*types {
        [] => "void".to_owned(),
        types => types.join(", "),
    };
    let values: Vec<String> = members
        .iter()
        .map(|(name, _)| format!("b->{name}"))
        .collect();
    let values = values.join(", ");
    let assign = match result {
        "void" => String::new(),
        result => format!("*({result} *)to = "),
    };
    format!(
        "struct block_{name}_{attribute} {{ {} char end; }};
        void {name}_{attribute}(void *f, const struct block_{name}_{attribute} *b, char *to) {{
            {assign}((__attribute__(({attribute})) {result} (*)({types}))f)({values});
        }}\n",
        fields.join(" ")
    )
}

#[test]
fn gcc_calls_closures_of_rust_types() {
    if let Some(symbol) = gcc::open("callbacks-typed", &source()) {
        for (abi, attribute) in gcc::conventions() {
            run(&symbol, abi, attribute);
        }
    }
}
