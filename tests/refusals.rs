//! What Go refuses, fing refuses, in the same order of checks and with the same words; what Go
//! accepts, fing accepts. Each row is one call of real Go's (tests/go_differential/refuse.go, in a
//! process of its own, for most of them end it) and one of fing's.

#[path = "support/go_side.rs"]
mod go_side;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicUsize;

use fing::function::UncheckedBytes;
use fing::{
    Abi, Arch, CleanupArgument, CleanupFn, CleanupOptions, FinalizerFn, Handle, HeldValue, Mutator,
    Pointer, Runtime,
};
use go_side::go_side;

/// Where argument 0 points.
#[derive(Clone, Copy)]
enum At {
    /// It is a nil interface.
    NilInterface,
    /// It is this word.
    Word(usize),
    /// At an offset of a `main.T`.
    T(usize),
    /// At a `main.Plain`.
    Plain,
    /// Memory that is nobody's.
    Foreign,
    /// At an object without size.
    Empty,
    /// At an offset of a global.
    Global(usize),
}

use At::{Empty, Foreign, Global, NilInterface, Plain, T, Word};

/// Argument 0's type, where it points, and the finalizer; none clears.
type Step = (&'static str, At, Option<&'static str>);

/// Offsets in `main.T`.
const BYTE: usize = 8;
const SMALL: usize = 9;
const LARGE: usize = 24;
const WORDS: usize = 40;
const SIZE: usize = 56;

const OK: Option<&str> = Some("func(*main.T)");

/// All calls of a row but the last are accepted.
const FINALIZERS: &[(&str, &[Step])] = &[
    ("nil interface", &[("", NilInterface, OK)]),
    ("number", &[("int", Word(5), OK)]),
    ("unsafe pointer", &[("unsafe.Pointer", T(0), OK)]),
    ("slice", &[("[]int", T(0), Some("func([]int)"))]),
    ("function", &[("func(int, ...string) error", Word(8), OK)]),
    ("nil pointer", &[("*main.T", Word(0), OK)]),
    ("nil pointer cleared", &[("*main.T", Word(0), None)]),
    ("foreign memory", &[("*main.T", Foreign, OK)]),
    (
        "pointer field",
        &[(
            "*struct{ A *main.T; B *main.T }",
            T(WORDS),
            Some("func(any)"),
        )],
    ),
    ("byte field", &[("*uint8", T(BYTE), Some("func(*uint8)"))]),
    (
        "15 byte field",
        &[("*[15]uint8", T(SMALL), Some("func(*[15]uint8)"))],
    ),
    (
        "16 byte field",
        &[("*[16]uint8", T(LARGE), Some("func(*[16]uint8)"))],
    ),
    ("16 byte field cleared", &[("*[16]uint8", T(LARGE), None)]),
    (
        "interior before func",
        &[("*[16]uint8", T(LARGE), Some("func()"))],
    ),
    (
        "variadic",
        &[("*main.T", T(0), Some("func(*main.T, ...int)"))],
    ),
    (
        "variadic only",
        &[("*main.T", T(0), Some("func(...*main.T)"))],
    ),
    ("no parameter", &[("*main.T", T(0), Some("func()"))]),
    (
        "two parameters",
        &[("*main.T", T(0), Some("func(*main.T, int)"))],
    ),
    (
        "results",
        &[(
            "*main.T",
            T(0),
            Some("func(any, func(map[string]chan<- int) error) (int, [2]any)"),
        )],
    ),
    ("other pointer", &[("*main.T", T(0), Some("func(*int)"))]),
    ("not a pointer", &[("*main.T", T(0), Some("func(main.T)"))]),
    (
        "unsafe parameter",
        &[("*main.T", T(0), Some("func(unsafe.Pointer)"))],
    ),
    (
        "missing method",
        &[("*main.T", T(0), Some("func(main.Missing)"))],
    ),
    (
        "missing unnamed",
        &[("*main.T", T(0), Some("func(interface { N() })"))],
    ),
    (
        "named to named",
        &[("main.NamedP", Plain, Some("func(main.OtherP)"))],
    ),
    ("named to methods", &[("main.NamedT", T(0), OK)]),
    (
        "methods to named",
        &[("*main.T", T(0), Some("func(main.NamedT)"))],
    ),
    (
        "named to interface",
        &[("main.NamedT", T(0), Some("func(main.Method)"))],
    ),
    (
        "named to plain",
        &[("main.NamedP", Plain, Some("func(*main.Plain)"))],
    ),
    (
        "plain to named",
        &[("*main.Plain", Plain, Some("func(main.NamedP)"))],
    ),
    ("interface", &[("*main.T", T(0), Some("func(main.Method)"))]),
    (
        "empty interface",
        &[("main.NamedT", T(0), Some("func(any)"))],
    ),
    (
        "set twice",
        &[("*main.T", T(0), OK), ("*main.T", T(0), Some("func(any)"))],
    ),
    (
        "set twice, wrong",
        &[("*main.T", T(0), OK), ("*main.T", T(0), Some("func(*int)"))],
    ),
    (
        "set, cleared, set",
        &[
            ("*main.T", T(0), OK),
            ("*main.T", T(0), None),
            ("*main.T", T(0), None),
            ("*main.T", T(0), OK),
        ],
    ),
    (
        "two fields of one",
        &[
            ("*uint8", T(BYTE), Some("func(*uint8)")),
            ("*[15]uint8", T(SMALL), Some("func(any)")),
            ("*main.T", T(0), OK),
        ],
    ),
    (
        "no size",
        &[("*main.Empty", Empty, Some("func(int, ...main.T)"))],
    ),
    (
        "no size, twice",
        &[("*main.Empty", Empty, Some("func()")); 2],
    ),
    ("global", &[("*main.T", Global(0), Some("func()"))]),
    (
        "global field",
        &[("*[16]uint8", Global(LARGE), Some("func()"))],
    ),
];

/// What a cleanup gets, and its closure holds.
#[derive(Clone, Copy)]
enum Extra {
    Word(u64),
    /// A pointer into the first argument's object.
    Same(usize),
    /// The same pointer inside an interface.
    Interface,
    /// The number 1; the closure points into the object.
    Closure(usize),
    /// The number 1; the closure points to another object.
    OtherClosure,
}

const CLEANUPS: &[(&str, At, &str, Extra)] = &[
    ("cleanup: nil", Word(0), "*main.T", Extra::Word(0)),
    ("cleanup: equal", T(0), "*main.T", Extra::Same(0)),
    (
        "cleanup: equal, untyped",
        T(0),
        "unsafe.Pointer",
        Extra::Same(0),
    ),
    (
        "cleanup: equal, foreign",
        Foreign,
        "*main.T",
        Extra::Same(0),
    ),
    ("cleanup: within", T(0), "*uint8", Extra::Same(BYTE)),
    ("cleanup: within, inner", T(BYTE), "*main.T", Extra::Same(0)),
    ("cleanup: foreign", Foreign, "int", Extra::Word(1)),
    ("cleanup: global", Global(0), "int", Extra::Word(1)),
    (
        "cleanup: global within",
        Global(0),
        "*uint8",
        Extra::Same(BYTE),
    ),
    ("cleanup: no size", Empty, "int", Extra::Word(1)),
    ("cleanup: in interface", T(0), "any", Extra::Interface),
    (
        "cleanup: in struct",
        T(0),
        "struct{ T *main.T }",
        Extra::Same(0),
    ),
    ("cleanup: number", T(0), "uintptr", Extra::Same(0)),
    ("cleanup: closes over", T(0), "int", Extra::Closure(0)),
    (
        "cleanup: closes over a field",
        T(0),
        "int",
        Extra::Closure(BYTE),
    ),
    (
        "cleanup: closes over another",
        T(0),
        "int",
        Extra::OtherClosure,
    ),
];

extern "C" fn never() {}

static MEMORY: [AtomicUsize; 16] = [const { AtomicUsize::new(0) }; 16];

/// What one row works with.
struct Case {
    runtime: Runtime,
    t: Handle,
    plain: Handle,
}

impl Case {
    fn new() -> Case {
        let runtime = Runtime::new().unwrap();
        let types = runtime.types();
        let fields = "struct { Next *main.T; Byte uint8; Small [15]uint8; Large [16]uint8; \
                      Words [2]uint64 }";
        let definitions = [
            ("main.T", fields),
            ("main.Plain", "struct { P *int }"),
            ("main.NamedT", "*main.T"),
            ("main.NamedP", "*main.Plain"),
            ("main.OtherP", "*main.Plain"),
            ("main.Method", "interface { M() }"),
            ("main.Missing", "interface { N() }"),
            ("main.Empty", "struct {}"),
            ("main.closure", "struct { code uintptr; captured *int }"),
        ];
        for (name, text) in definitions {
            types.define(name, text).unwrap();
        }
        types.add_method("*main.T", "M", "func()", 0).unwrap();
        assert_eq!(
            types.desc(types.id("main.T").unwrap()).unwrap().size(),
            SIZE
        );
        // The first half of the memory is a global.
        let start = MEMORY.as_ptr().addr();
        runtime.add_global(start..start + SIZE);
        let alloc = |name: &str| {
            let ty = types.id(name).unwrap();
            let handle = runtime.enter(|m| m.root(m.alloc(ty).unwrap()));
            handle.unwrap().unwrap()
        };
        Case {
            t: alloc("main.T"),
            plain: alloc("main.Plain"),
            runtime,
        }
    }

    fn addr(&self, at: At, m: &Mutator) -> usize {
        let memory = MEMORY.as_ptr().addr();
        match at {
            NilInterface => 0,
            Word(word) => word,
            T(offset) => self.t.addr() + offset,
            Plain => self.plain.addr(),
            Foreign => memory + 64,
            Empty => m
                .alloc(self.runtime.types().id("main.Empty").unwrap())
                .unwrap()
                .addr(),
            Global(offset) => memory + offset,
        }
    }

    fn function(&self, signature: &str) -> FinalizerFn {
        let signature = self.runtime.types().parse_signature(signature).unwrap();
        let builder = FinalizerFn::builder(signature, Abi::go(Arch::host().unwrap()));
        // SAFETY: I8: never called: the runtime is gone before its next collection.
        unsafe { builder.at(never as *const ()) }
    }

    /// A cleanup function; `closure` says whether each cleanup brings a closure.
    fn cleanup_function(&self, parameter: &str, closure: bool) -> CleanupFn {
        let types = self.runtime.types();
        let signature = types.parse_signature(&format!("func({parameter})"));
        let mut builder = CleanupFn::builder(signature.unwrap(), Abi::go(Arch::host().unwrap()));
        if closure {
            builder = builder.context_object(types.parse("*main.closure").unwrap());
        }
        // SAFETY: I8: as above.
        unsafe { builder.at(never as *const ()) }
    }

    fn finalizer(&self, m: &Mutator, (ty, at, finalizer): Step) -> String {
        let pointer = match at {
            NilInterface => Pointer::NIL,
            at => Pointer::typed(self.runtime.types().id(ty).unwrap(), self.addr(at, m)),
        };
        let outcome = match finalizer {
            Some(signature) => m.set_finalizer(pointer, &self.function(signature)),
            None => m.clear_finalizer(pointer),
        };
        match outcome {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.go_text().unwrap_or_else(|| error.to_string()),
        }
    }

    fn cleanup(&self, m: &Mutator, at: At, parameter: &str, extra: Extra) -> String {
        let pointer = self.addr(at, m);
        let base = match at {
            T(offset) => pointer - offset,
            _ => pointer,
        };
        let captured = match extra {
            Extra::Closure(offset) => Some(base + offset),
            Extra::OtherClosure => Some(self.plain.addr()),
            _ => None,
        };
        let mut options = CleanupOptions::new();
        if let Some(captured) = captured {
            let ty = self.runtime.types().id("main.closure").unwrap();
            let closure = m.alloc(ty).unwrap();
            m.store_addr(closure, 8, captured).unwrap();
            options = options.context(HeldValue::Object(closure));
        }
        let word = match extra {
            Extra::Word(word) => word,
            Extra::Same(offset) => (base + offset) as u64,
            Extra::Interface | Extra::Closure(_) | Extra::OtherClosure => 1,
        };
        let bytes = word.to_ne_bytes();
        let argument = match (extra, at) {
            (Extra::Interface, _) => CleanupArgument::Object(m.adopt(base).unwrap()),
            // What lies outside of the heap has no type that could be checked.
            (Extra::Same(_), Foreign | Global(_)) => {
                // SAFETY: the cleanup is never called.
                CleanupArgument::Unchecked(unsafe { UncheckedBytes::new(&bytes) })
            }
            _ => CleanupArgument::Word(word),
        };
        let function = self.cleanup_function(parameter, captured.is_some());
        match m.add_cleanup_with(pointer, &function, argument, options) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.go_text().unwrap_or_else(|| error.to_string()),
        }
    }
}

/// What Go says to the call of this name.
fn go(executable: &Path, name: &str) -> String {
    let output = Command::new(executable).arg(name).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("fatal error: ")
        .unwrap_or(line)
        .to_owned()
}

#[test]
fn go_and_fing_refuse_the_same() {
    let Some(executable) = go_side() else {
        return;
    };
    let mut accepted = 0;
    let mut compare = |name: &str, ours: String| {
        assert_eq!(ours, go(&executable, name), "{name}");
        accepted += usize::from(ours == "accepted");
    };
    for (name, steps) in FINALIZERS {
        let case = Case::new();
        let (last, first) = steps.split_last().unwrap();
        let ours = case.runtime.enter(|m| {
            for step in first {
                assert_eq!(case.finalizer(m, *step), "accepted", "{name}");
            }
            case.finalizer(m, *last)
        });
        compare(name, ours.unwrap());
    }
    for &(name, at, parameter, extra) in CLEANUPS {
        let case = Case::new();
        let ours = case
            .runtime
            .enter(|m| case.cleanup(m, at, parameter, extra));
        compare(name, ours.unwrap());
    }
    assert_eq!(FINALIZERS.len() + CLEANUPS.len() - accepted, 37);
}
