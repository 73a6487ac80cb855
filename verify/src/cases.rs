//! Signatures to try, and arguments for them.
#![forbid(unsafe_code)]

use fing_stubs::fuzzing::{Rng, c_signature};
use fing_stubs::{Abi, Kind, Signature, Type};

use crate::emulated::Form;
use crate::random::Random;

/// The results of Go's own test of finalizers: an integer, a float and an array that is never in
/// registers.
pub const RESULTS: &str = "(int, float32, [10]uint8)";

/// What a native convention passes as one argument.
const SCALARS: &[&str] = &[
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "int",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "uintptr",
    "float32",
    "float64",
    "*int",
    "unsafe.Pointer",
    "map[int]int",
    "chan int",
    "func()",
    "interface{}",
    "error",
];

/// What a part of a Go argument may be, beside arrays and structs.
const LEAVES: &[&str] = &["string", "complex64", "complex128", "[]uint8", "struct{}"];

/// The two signatures of Go's finalizers: a pointer and an interface with a method.
pub fn finalizers() -> [Signature; 2] {
    ["*int", "interface{ M() int }"]
        .map(|parameter| signature(&format!("func({parameter}) {RESULTS}")))
}

/// Go's own cases of callbacks (runtime/syscall_windows_test.go): sums of words, small integers,
/// mixes, pairs of bytes, and a struct for which too few registers are left.
pub fn callbacks() -> Vec<Signature> {
    const PAIR: &str = "struct { X, Y uint8 }";
    let many = |count: usize, ty: &str| vec![ty; count].join(", ");
    let sums = (2..=10).map(|count| many(count, "uintptr"));
    let others = [
        many(9, "uint8"),
        "int8, int16, int32, uintptr, uintptr".into(),
        many(5, PAIR),
        many(9, "uint32"),
        format!("{}, {PAIR}, uintptr", many(8, "uintptr")),
    ];
    let texts = sums
        .chain(others)
        .map(|list| format!("func({list}) uintptr"));
    texts.map(|text| signature(&text)).collect()
}

fn signature(text: &str) -> Signature {
    text.parse()
        .unwrap_or_else(|e| panic!("made-up signature {text}: {e}"))
}

/// A random type text; `depth` more levels of arrays and structs.
fn ty(random: &mut Random, depth: u32) -> String {
    match random.below(if depth == 0 { 8 } else { 14 }) {
        0..6 => (*random.choose(SCALARS)).to_owned(),
        6..8 => (*random.choose(LEAVES)).to_owned(),
        8 | 9 => {
            let length = *random.choose(&[0, 1, 1, 1, 2, 3, 10]);
            format!("[{length}]{}", ty(random, depth - 1))
        }
        _ => {
            let fields: Vec<String> = (0..random.below(5))
                .map(|n| format!("{} {}", field_name(random, n), ty(random, depth - 1)))
                .collect();
            format!("struct {{ {} }}", fields.join("; "))
        }
    }
}

fn field_name(random: &mut Random, number: u64) -> String {
    if random.below(8) == 0 {
        "_".to_owned()
    } else {
        format!("F{number}")
    }
}

/// A Go signature with one parameter of at most 16 bytes and up to five results.
pub fn one_argument(random: &mut Random) -> Signature {
    loop {
        let results: Vec<String> = (0..random.below(6)).map(|_| ty(random, 2)).collect();
        let text = format!("func({}) ({})", ty(random, 2), results.join(", "));
        let made = signature(&text);
        if made.params()[0]
            .layout()
            .is_some_and(|layout| layout.size <= 16)
        {
            return made;
        }
    }
}

/// A Go signature with up to twelve parameters and up to five results.
pub fn many_arguments(random: &mut Random) -> Signature {
    let mut list = |most| {
        let types: Vec<String> = (0..random.below(most)).map(|_| ty(random, 2)).collect();
        types.join(", ")
    };
    let params = list(13);
    signature(&format!("func({params}) ({})", list(6)))
}

/// A signature a native convention can call: scalars and interfaces in, scalars and arrays of them
/// out.
pub fn native(random: &mut Random, most_arguments: u64) -> Signature {
    let params: Vec<&str> = (0..1 + random.below(most_arguments))
        .map(|_| *random.choose(SCALARS))
        .collect();
    let results: Vec<String> = (0..random.below(5))
        .map(|_| {
            let scalar = *random.choose(SCALARS);
            match random.below(6) {
                0 => format!("[{}]{scalar}", 1 + random.below(10)),
                _ => scalar.to_owned(),
            }
        })
        .collect();
    signature(&format!(
        "func({}) ({})",
        params.join(", "),
        results.join(", ")
    ))
}

/// A signature of C's types of all classes; in a record, with one argument of at most 16 bytes.
pub fn c(random: &mut Random, abi: Abi, form: Form) -> Signature {
    let mut rng = Rng::new(random.word());
    loop {
        let made = c_signature(&mut rng, abi);
        let fits = match made.params() {
            [one] => abi.layout_of(one).is_some_and(|layout| layout.size <= 16),
            _ => false,
        };
        if form == Form::Block || fits {
            return made;
        }
    }
}

/// Random memory of a value of `ty`, of a machine of either byte order: padding is random too, a
/// `bool` is 0 or 1.
pub fn image(ty: &Type, random: &mut Random) -> Vec<u8> {
    let size = ty.layout().map_or(0, |layout| layout.size);
    let mut bytes = random.bytes(size as usize);
    fix_bools(ty, &mut bytes);
    bytes
}

fn fix_bools(ty: &Type, bytes: &mut [u8]) {
    match ty.underlying() {
        Kind::Bool => bytes[0] &= 1,
        Kind::Array(_, elem) => {
            let size = elem.layout().map_or(0, |layout| layout.size) as usize;
            if size > 0 {
                bytes
                    .chunks_exact_mut(size)
                    .for_each(|part| fix_bools(elem, part));
            }
        }
        Kind::Struct(fields) => {
            for field in fields {
                fix_bools(&field.ty, &mut bytes[field.offset as usize..]);
            }
        }
        _ => {}
    }
}

/// The signatures that Go's compiler printed assignments for, in the checkout's
/// `stubs/tests/vectors/public.jsonl`.
///
/// # Panics
///
/// If the file is not there or not as expected.
pub fn vectors() -> Vec<Signature> {
    let text = include_str!("../../stubs/tests/vectors/public.jsonl");
    let lines = text.lines().map(|line| {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("vectors: {e}: {line}"));
        signature(line["sig"].as_str().unwrap_or_default())
    });
    lines.collect()
}
