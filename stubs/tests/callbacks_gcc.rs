//! Code of gcc's calls callbacks: random signatures, by the host's C convention, on x86-64 by
//! Windows' too (`ms_abi`). `FING_CASES` says how many.
#![cfg(target_os = "linux")]

#[path = "support/gcc.rs"]
mod gcc;

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use fing_stubs::entry::{Call, Callback, CallbackOptions, Entries};
use fing_stubs::fuzzing::Rng;
use fing_stubs::{BlockLayout, Signature};

/// Go's name of a type and C's.
const TYPES: &[(&str, &str)] = &[
    ("bool", "_Bool"),
    ("int8", "signed char"),
    ("int16", "short"),
    ("int32", "int"),
    ("int64", "long long"),
    ("uint8", "unsigned char"),
    ("uint16", "unsigned short"),
    ("uint32", "unsigned"),
    ("uint64", "unsigned long long"),
    ("float32", "float"),
    ("float64", "double"),
    ("unsafe.Pointer", "void *"),
];
/// As an argument only: several results are one struct, and this would be one in it.
const PAIR: (&str, &str) = ("any", "struct pair");

struct Case {
    signature: Signature,
    arguments: Vec<&'static str>,
    results: Vec<&'static str>,
}

fn random(rng: &mut Rng) -> Case {
    let arguments: Vec<_> = (0..rng.below(14))
        .map(|_| match rng.one_in(8) {
            true => PAIR,
            false => *rng.pick(TYPES),
        })
        .collect();
    let results: Vec<_> = (0..rng.below(5)).map(|_| *rng.pick(TYPES)).collect();
    let names = |types: &[(&'static str, &str)]| {
        let names: Vec<&str> = types.iter().map(|ty| ty.0).collect();
        names.join(", ")
    };
    let text = format!("func({}) ({})", names(&arguments), names(&results));
    Case {
        signature: text.parse().unwrap(),
        arguments: arguments.iter().map(|ty| ty.1).collect(),
        results: results.iter().map(|ty| ty.1).collect(),
    }
}

/// A C function that takes arguments from a block, calls an address with them, and puts what it
/// returns into another block.
fn caller(case: &Case, name: &str, attribute: &str) -> String {
    let mut text = String::new();
    let result = match &case.results[..] {
        [] => "void".to_owned(),
        [one] => (*one).to_owned(),
        _ => format!("struct results_{name}"),
    };
    if case.results.len() > 1 {
        let fields = case.results.iter().enumerate();
        let fields: Vec<String> = fields.map(|(n, ty)| format!("{ty} f{n};")).collect();
        writeln!(text, "{result} {{ {} }};", fields.join(" ")).unwrap();
    }
    writeln!(text, "void {name}(void *f, const char *from, char *to) {{").unwrap();
    let offsets = BlockLayout::of(case.signature.arguments());
    for (n, (ty, at)) in case.arguments.iter().zip(offsets.offsets()).enumerate() {
        writeln!(text, "{ty} a{n}; memcpy(&a{n}, from + {at}, sizeof a{n});").unwrap();
    }
    let values: Vec<String> = (0..case.arguments.len()).map(|n| format!("a{n}")).collect();
    let types = match case.arguments.is_empty() {
        true => "void".to_owned(),
        false => case.arguments.join(", "),
    };
    let assign = if case.results.is_empty() { "" } else { "r =" };
    if !case.results.is_empty() {
        writeln!(text, "{result} r;").unwrap();
    }
    writeln!(
        text,
        "{assign} ((__attribute__(({attribute})) {result} (*)({types}))f)({});",
        values.join(", ")
    )
    .unwrap();
    let offsets = BlockLayout::of(case.signature.results());
    for (n, at) in offsets.offsets().iter().enumerate() {
        let field = match case.results.len() {
            1 => "r".to_owned(),
            _ => format!("r.f{n}"),
        };
        writeln!(text, "memcpy(to + {at}, &{field}, sizeof {field});").unwrap();
    }
    text + "}\n"
}

/// Random bytes of a block; a `bool` is 0 or 1.
fn block<'a>(types: impl Iterator<Item = &'a fing_stubs::Type>, rng: &mut Rng) -> Vec<u8> {
    let types: Vec<_> = types.collect();
    let layout = BlockLayout::of(types.iter().copied());
    let mut bytes = vec![0; layout.size() as usize];
    for (ty, &at) in types.iter().zip(layout.offsets()) {
        let size = ty.layout().unwrap().size as usize;
        for byte in &mut bytes[at as usize..at as usize + size] {
            *byte = rng.next_u64() as u8;
        }
        if ty.to_string() == "bool" {
            bytes[at as usize] &= 1;
        }
    }
    bytes
}

#[test]
fn gcc_calls_entries() {
    let count = fing_oracles::cases(250);
    let mut rng = Rng::new(5);
    let cases: Vec<Case> = (0..count).map(|_| random(&mut rng)).collect();
    let mut source = "#include <string.h>\nstruct pair { void *a, *b; };\n".to_owned();
    for (n, case) in cases.iter().enumerate() {
        for (_, attribute) in gcc::conventions() {
            source += &caller(case, &format!("{attribute}_{n}"), attribute);
        }
    }
    let Some(symbol) = gcc::open("callbacks-gcc", &source) else {
        return;
    };
    let entries = Entries::new(Default::default()).unwrap();
    for (n, case) in cases.iter().enumerate() {
        for (abi, attribute) in gcc::conventions() {
            let signature = &case.signature;
            let name = format!("case {n}: {signature} by {attribute}");
            let given = block(signature.arguments(), &mut rng);
            let wanted = block(signature.results().iter(), &mut rng);
            let found = Rc::new(RefCell::new(Vec::new()));
            let (seen, left) = (found.clone(), wanted.clone());
            let point = entries.point(signature, abi).unwrap();
            let closure = move |call: &mut Call<'_>| {
                seen.borrow_mut().push(call.arguments().to_vec());
                call.results().copy_from_slice(&left);
            };
            let callback = Callback::at(&point, CallbackOptions::default(), closure).unwrap();
            type Caller = extern "C" fn(usize, *const u8, *mut u8);
            let mut results = vec![0; wanted.len()];
            let caller = symbol(&format!("{attribute}_{n}"));
            // SAFETY: the function above, with an entry of its signature and two blocks of its.
            let caller = unsafe { std::mem::transmute::<usize, Caller>(caller) };
            caller(callback.address(), given.as_ptr(), results.as_mut_ptr());
            assert_eq!(*found.borrow(), [given], "{name}: arguments");
            assert_eq!(results, wanted, "{name}: results");
        }
    }
}
