//! Arguments of cleanups that are no value of the parameter's type.

use std::collections::HashMap;

use fing::function::UncheckedBytes;
use fing::{Abi, Arch, CleanupArgument, CleanupFn};

use super::{World, nothing, refused};

/// An argument as a row of a table has it.
enum Given {
    Word(usize),
    Object(usize),
    /// Bytes, as words.
    Words(Vec<usize>),
    /// So many zeroes.
    Zeroes(usize),
    /// As many, unchecked.
    Unchecked(usize),
}

use Given::{Object, Unchecked, Word, Words, Zeroes};

/// A parameter's type, an argument, and the error; none if the argument is good.
type Row = (&'static str, Given, Option<&'static str>);

const VALUE: Option<&str> = Some("Value");
const KIND: Option<&str> = Some("NotAssignable");

fn words(words: &[usize]) -> Given {
    Words(words.to_vec())
}

/// Addresses of objects to refer to.
struct Objects {
    /// A `main.T`.
    t: usize,
    /// A `main.Same`, which has the fields of `main.T`.
    same: usize,
    /// A `[16]uint8`.
    bytes: usize,
    /// A `[8]bool`.
    bools: usize,
    /// A `struct { T main.T; S [2]main.T }`.
    nested: usize,
}

fn one_word(o: &Objects) -> Vec<Row> {
    vec![
        ("*main.T", Word(0), None),
        ("*main.T", Word(o.t), None),
        ("*main.T", Word(o.t + 8), VALUE),
        ("*main.T", Word(o.same), VALUE),
        ("*main.T", Word(o.bytes), VALUE),
        ("*main.T", Word(1), VALUE),
        ("*main.T", Word(usize::MAX), VALUE),
        ("*main.T", Word(&raw const *o as usize), VALUE),
        ("*main.T", Word(o.nested), None),
        ("*main.T", Word(o.nested + 8), VALUE),
        ("*main.T", Word(o.nested + 32), None),
        ("*main.T", Word(o.nested + 40), VALUE),
        ("*main.Big", Word(o.t), VALUE),
        ("*uint64", Word(o.t), VALUE),
        ("*uint64", Word(o.t + 8), None),
        ("*uint64", Word(o.t + 12), VALUE),
        ("*[17]uint8", Word(o.bytes), VALUE),
        // Not known after the first one: the next value may be none.
        ("bool", Word(1), None),
        ("bool", Word(2), VALUE),
        ("bool", Word(0x100), None),
        ("[2]bool", Word(0x0001), None),
        ("[2]bool", Word(0x0201), VALUE),
        ("uint8", Word(300), None),
        ("float64", Word(o.t), None),
        ("complex64", Word(o.t), None),
        ("uintptr", Word(o.t), None),
        ("unsafe.Pointer", Word(1), None),
        ("map[int]int", Word(0), None),
        ("map[int]int", Word(o.t), VALUE),
        ("chan int", Word(o.t), VALUE),
        ("func()", Word(o.t), VALUE),
        ("[1]*main.T", Word(o.t), None),
        ("[1]*main.T", Word(o.same), VALUE),
        ("struct { T *main.T }", Word(o.same), VALUE),
        ("string", Word(0), KIND),
        ("any", Word(0), KIND),
        ("complex128", Word(0), KIND),
        ("struct {}", Word(0), KIND),
    ]
}

fn objects(o: &Objects) -> Vec<Row> {
    vec![
        ("*main.T", Object(o.t), None),
        ("*main.T", Object(o.nested), None),
        ("*main.T", Object(o.same), KIND),
        ("*main.Big", Object(o.t), KIND),
        ("*main.Same", Object(o.t), KIND),
        ("*uint64", Object(o.t), KIND),
        ("**main.T", Object(o.t), None),
        ("unsafe.Pointer", Object(o.same), None),
        ("any", Object(o.same), None),
        ("interface { M() }", Object(o.t), KIND),
        ("uintptr", Object(o.t), KIND),
        ("string", Object(o.bytes), KIND),
        ("[]uint8", Object(o.bytes), KIND),
        ("map[int]int", Object(o.t), KIND),
        ("[1]*main.T", Object(o.t), KIND),
        ("struct {}", Object(o.t), KIND),
    ]
}

fn bytes(o: &Objects) -> Vec<Row> {
    let several = "struct { A bool; T *main.T; S string }";
    let first = |byte: u8| usize::from_ne_bytes([byte, 0, 0, 0, 0, 0, 0, 0]);
    vec![
        // Checked without a look at each of the elements.
        ("[1099511627776]struct {}", words(&[]), None),
        ("string", words(&[0, 0]), None),
        ("string", words(&[o.bytes, 16]), None),
        ("string", words(&[o.bytes + 8, 8]), None),
        ("string", words(&[o.bytes + 8, 9]), VALUE),
        ("string", words(&[o.bytes, 17]), VALUE),
        ("string", words(&[o.bytes, usize::MAX]), VALUE),
        ("string", words(&[0, 1]), VALUE),
        ("[]uint8", words(&[o.bytes, 16, 16]), None),
        ("[]uint8", words(&[o.bytes, 17, 16]), VALUE),
        ("[]uint8", words(&[o.bytes, 1, 17]), VALUE),
        // A negative capacity, as Rust and C would read it.
        ("[]uint8", words(&[o.bytes, 0, usize::MAX]), VALUE),
        ("[]struct {}", words(&[0, 7, isize::MAX as usize]), None),
        ("[]struct {}", words(&[0, 7, usize::MAX]), VALUE),
        ("[]struct {}", words(&[0, usize::MAX, usize::MAX]), VALUE),
        ("[]uint64", words(&[o.bytes, 2, 2]), None),
        ("[]uint64", words(&[o.bytes + 4, 1, 1]), VALUE),
        ("[]uint64", words(&[o.bytes, 1 << 61, 1 << 61]), VALUE),
        ("[]bool", words(&[o.bools, 8, 8]), None),
        ("[]bool", words(&[o.bytes, 8, 8]), VALUE),
        ("[]*main.T", words(&[o.t, 1, 1]), None),
        ("[]*main.T", words(&[o.t + 8, 1, 1]), VALUE),
        ("[]*main.T", words(&[o.t, 2, 2]), VALUE),
        ("[]main.T", words(&[o.nested, 3, 3]), None),
        ("[]main.T", words(&[o.nested, 1, 4]), VALUE),
        ("[]main.T", words(&[o.nested + 16, 2, 2]), None),
        ("[]main.Same", words(&[o.nested, 1, 1]), VALUE),
        ("any", words(&[0, 0]), None),
        ("any", words(&[1, 0]), VALUE),
        ("any", words(&[0, o.t]), VALUE),
        ("interface { M() }", words(&[o.t, o.t]), VALUE),
        (several, words(&[first(1), o.t, o.bytes, 16]), None),
        (several, words(&[first(2), o.t, o.bytes, 16]), VALUE),
        (several, words(&[first(1), o.same, 0, 0]), VALUE),
        (several, words(&[first(1), o.t, o.bytes, 17]), VALUE),
        ("[3]*main.T", words(&[o.t, 0, o.t]), None),
        ("[3]*main.T", words(&[o.t, 0, o.same]), VALUE),
        ("struct { M map[int]int; N int }", words(&[0, o.t]), None),
        ("struct { M map[int]int; N int }", words(&[o.t, 0]), VALUE),
        (
            "struct { F func(); N [3]int }",
            words(&[o.t, 0, 0, 0]),
            VALUE,
        ),
        ("*main.T", words(&[o.t]), None),
        ("*main.T", Zeroes(7), KIND),
        ("*main.T", Zeroes(9), KIND),
        ("*main.T", Unchecked(7), KIND),
        ("*main.T", Unchecked(8), None),
        (several, Zeroes(31), KIND),
        (several, Unchecked(33), KIND),
        (several, Zeroes(32), None),
    ]
}

/// A cleanup of Go's ABI, which passes values of every type.
fn go_cleanup(world: &World, parameter: &str) -> CleanupFn {
    let signature = world.signature(&format!("func({parameter}) [3]int"));
    let builder = CleanupFn::builder(signature, Abi::go(Arch::host().unwrap()));
    // SAFETY: I8: it looks at no argument; Go's callers expect no register to be kept.
    unsafe { builder.at(nothing as *const ()) }
}

/// Red at A5: a cleanup function was given any bytes of the parameter's size.
#[test]
fn an_argument_is_a_value_of_the_parameter() {
    let world = World::new();
    let types = world.runtime.types();
    types
        .define("main.Same", "struct { P *main.T; N uint64 }")
        .unwrap();
    types.define("main.Big", "[500]uint64").unwrap();
    let mut functions: HashMap<&str, CleanupFn> = HashMap::new();
    let (mut good, mut bad) = (0, 0);
    let mutator = world.runtime.attach().unwrap();
    let alloc = |text: &str| mutator.alloc(world.id(text)).unwrap();
    let o = Objects {
        t: alloc("main.T").addr(),
        same: alloc("main.Same").addr(),
        bytes: alloc("[16]uint8").addr(),
        bools: alloc("[8]bool").addr(),
        nested: alloc("struct { T main.T; S [2]main.T }").addr(),
    };
    for (parameter, given, error) in [one_word(&o), objects(&o), bytes(&o)].into_iter().flatten() {
        let function = functions.entry(parameter);
        let function = function.or_insert_with(|| go_cleanup(&world, parameter));
        let bytes = match &given {
            Words(words) => words.iter().flat_map(|word| word.to_ne_bytes()).collect(),
            Zeroes(count) | Unchecked(count) => vec![0; *count],
            _ => Vec::new(),
        };
        let argument = match given {
            Word(word) => CleanupArgument::Word(word as u64),
            Object(addr) => CleanupArgument::Object(mutator.adopt(addr).unwrap()),
            Words(_) | Zeroes(_) => CleanupArgument::Bytes(&bytes),
            // SAFETY: a nil pointer, or not as many bytes as the parameter has, which is refused.
            Unchecked(_) => CleanupArgument::Unchecked(unsafe { UncheckedBytes::new(&bytes) }),
        };
        let what = format!("{argument:?} for {parameter}");
        // By a new object, so that no argument leads to it.
        let added = mutator.add_cleanup(alloc("main.T"), function, argument);
        match error {
            Some(error) => {
                refused(&what, error, added);
                bad += 1;
            }
            None => {
                added.unwrap_or_else(|error| panic!("{what}: {error}"));
                good += 1;
            }
        }
    }
    drop(mutator);
    assert_eq!(world.runtime.stats().cleanups, good);
    world.collect();
    assert_eq!(world.runtime.stats().executed, good);
    assert!(good > 35 && bad > 45, "{good} good and {bad} bad arguments");
}
