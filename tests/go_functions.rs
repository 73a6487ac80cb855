//! Functions compiled by the real Go compiler, registered as finalizers, queued by a collection,
//! and called by the finalizer goroutine through fing's stubs. Go's runtime is not there; nothing
//! of these functions needs it.

use std::time::Duration;

use fing::stubs::{Abi, Arch, CacheOptions, CodePolicy};
use fing::{CleanupFn, FinalizerFn, Runtime};
use fing_oracles::{Go, go};

/// One finalizer of tests/go/main.go.
struct Case {
    function: &'static str,
    parameter: &'static str,
    results: &'static str,
    /// The variable whose first word is the first word of the interface: Go's own itab or type.
    prototype: Option<&'static str>,
    abi0: bool,
    /// How often it confirms a number.
    calls: u64,
}

const SEED: &str = "(int, float32, [10]uint8)";

const CASES: [Case; 8] = [
    Case {
        function: "main.FinalizePointer",
        parameter: "*main.TintPointer",
        results: SEED,
        prototype: None,
        abi0: false,
        calls: 1,
    },
    Case {
        function: "main.FinalizeTinter",
        parameter: "main.Tinter",
        results: SEED,
        prototype: Some("main.ProtoTinter"),
        abi0: false,
        calls: 1,
    },
    Case {
        function: "main.FinalizeAny",
        parameter: "any",
        results: SEED,
        prototype: Some("main.ProtoAny"),
        abi0: false,
        calls: 1,
    },
    Case {
        function: "main.FinalizeSpill",
        parameter: "any",
        results: "[4]int64",
        prototype: Some("main.ProtoAny"),
        abi0: false,
        calls: 2,
    },
    Case {
        function: "main.FinalizeChain",
        parameter: "*main.TintPointer",
        results: SEED,
        prototype: None,
        abi0: false,
        calls: 1,
    },
    Case {
        function: "main.ABI0Pointer.abi0",
        parameter: "*main.TintPointer",
        results: SEED,
        prototype: None,
        abi0: true,
        calls: 1,
    },
    Case {
        function: "main.ABI0Tinter.abi0",
        parameter: "main.Tinter",
        results: SEED,
        prototype: Some("main.ProtoTinter"),
        abi0: true,
        calls: 1,
    },
    Case {
        function: "main.ABI0Any.abi0",
        parameter: "any",
        results: SEED,
        prototype: Some("main.ProtoAny"),
        abi0: true,
        calls: 1,
    },
];

/// A word that begins with these bytes and has zeroes in the rest of its memory.
fn beginning(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Registers `function` for an object whose number is `value`, drops the object, and waits until it
/// has run.
fn finalize(runtime: &Runtime, function: &FinalizerFn, value: i64) {
    let types = runtime.types();
    let (tint, pointer) = (
        types.id("main.Tint").unwrap(),
        types.id("main.TintPointer").unwrap(),
    );
    runtime
        .enter(|mutator| {
            let number = mutator.alloc(tint).unwrap();
            mutator.store_word(number, 0, value as u64).unwrap();
            let object = mutator.alloc(pointer).unwrap();
            mutator.store_ref(object, 0, Some(number)).unwrap();
            mutator.set_finalizer(object, function).unwrap();
        })
        .unwrap();
    runtime.gc().unwrap();
    runtime
        .block_until_finalizer_queue_empty(Duration::from_secs(60))
        .unwrap();
}

fn runtime(policy: CodePolicy) -> Runtime {
    let runtime = Runtime::builder()
        .code(CacheOptions::default().policy(policy))
        .build()
        .unwrap();
    let types = runtime.types();
    types.define("main.Tint", "int").unwrap();
    types
        .define("main.TintPointer", "struct { P *main.Tint }")
        .unwrap();
    types
        .define("main.Tinter", "interface{ Read() int }")
        .unwrap();
    types
        .add_method("*main.TintPointer", "Read", "func() int", 0)
        .unwrap();
    runtime
}

fn function(runtime: &Runtime, go: &Go, case: &Case, closure: &[usize]) -> FinalizerFn {
    let text = format!("func({}) {}", case.parameter, case.results);
    let signature = runtime.types().parse_signature(&text).unwrap();
    let abi = Abi::go(Arch::host().unwrap());
    let abi = match case.abi0 {
        true => abi.with_int_arg_regs(0).unwrap(),
        false => abi,
    };
    let mut builder =
        FinalizerFn::builder(signature, abi).context(closure.as_ptr().expose_provenance());
    if let Some(prototype) = case.prototype {
        builder = builder.interface_word(go.word(prototype, 0) as usize);
    }
    // SAFETY: I8: a function of this signature and ABI, compiled by Go; its code is mapped while
    // `go` lives.
    unsafe { builder.at(go.address(case.function) as *const ()) }
}

#[test]
fn go_finalizers_are_queued_and_run() {
    let Some(go) = go() else { return };
    for policy in [CodePolicy::Generate, CodePolicy::Interpret] {
        let runtime = runtime(policy);
        for (case, value) in CASES.iter().zip(-1i64..) {
            go.zero("main.Confirmed");
            go.zero("main.Calls");
            let closure = [go.address(case.function)];
            let function = function(&runtime, &go, case, &closure);
            let value = value - 2 * CASES.len() as i64;
            finalize(&runtime, &function, value);
            assert_eq!(
                (
                    go.word("main.Confirmed", 0) as i64,
                    go.word("main.Calls", 0)
                ),
                (value, case.calls),
                "{}",
                case.function
            );
        }
        assert_eq!(runtime.stats().executed, CASES.len() as u64);
    }
}

/// The interface carries Go's own itab, so a method called through it is Go's.
#[test]
fn methods_are_called_through_gos_own_itab() {
    let Some(go) = go() else { return };
    let runtime = runtime(CodePolicy::Generate);
    let case = &CASES[1];
    let closure = [go.address(case.function)];
    finalize(&runtime, &function(&runtime, &go, case, &closure), -2);
    assert_eq!(
        (
            go.word("main.Confirmed", 0) as i64,
            go.word("main.Methods", 0)
        ),
        (-2, 1)
    );
}

/// Cleanups that Go compiled, with larger arguments and with results: those are kept in objects of
/// the heap.
#[test]
fn go_cleanups_with_large_arguments() {
    let Some(go) = go() else { return };
    for policy in [CodePolicy::Generate, CodePolicy::Interpret] {
        let runtime = runtime(policy);
        let types = runtime.types();
        let many = "struct { A int64; B int64; C int64; Name string; \
                    Object *main.TintPointer; X float32; Y float64 }";
        types.define("main.Many", many).unwrap();
        let numbers = "struct { N [4]int64; Object *main.TintPointer; Name string }";
        types.define("main.Numbers", numbers).unwrap();
        let mutator = runtime.attach().unwrap();
        let alloc = |ty: &str| mutator.alloc(types.id(ty).unwrap()).unwrap();
        let (number, object) = (alloc("main.Tint"), alloc("main.TintPointer"));
        mutator.store_word(number, 0, 77).unwrap();
        mutator.store_ref(object, 0, Some(number)).unwrap();
        let text = alloc("[5]uint8");
        mutator.store_bytes(text, 0, b"hello").unwrap();
        let (object, text) = (object.addr() as u64, text.addr() as u64);
        let float = beginning(&1.5f32.to_ne_bytes());
        let rows = [
            (
                "main.CleanUpMany",
                format!("func(main.Many) {SEED}"),
                vec![1, 2, 3, text, 5, object, float, 2.25f64.to_bits()],
                5_000_077,
            ),
            (
                "main.CleanUpNumbers",
                "func(main.Numbers) [6]int64".to_owned(),
                vec![44, 0, 0, -3i64 as u64, object, text, 5],
                77 + u64::from(b'h'),
            ),
        ];
        for (name, signature, words, _) in &rows {
            let closure: &'static [usize] = Box::leak(Box::new([go.address(name)]));
            let signature = types.parse_signature(signature).unwrap();
            let builder = CleanupFn::builder(signature, Abi::go(Arch::host().unwrap()))
                .context(closure.as_ptr().expose_provenance());
            // SAFETY: I8: a function of this signature and ABI, compiled by Go; its code stays
            // mapped.
            let cleanup = unsafe { builder.at(closure[0] as *const ()) };
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let doomed = alloc("main.TintPointer");
            mutator
                .add_cleanup(doomed, &cleanup, bytes.as_slice())
                .unwrap();
        }
        drop(mutator);
        go.zero("main.Calls");
        // Collections before and after the objects' end: what the boxes refer to stays.
        for _ in 0..3 {
            runtime.gc().unwrap();
        }
        runtime
            .block_until_finalizer_queue_empty(Duration::from_secs(60))
            .unwrap();
        let log: Vec<u64> = (0..2).map(|call| go.word("main.Log", call)).rev().collect();
        assert_eq!(log, rows.map(|(.., confirmed)| confirmed));
        let sums = [0, 1, 2].map(|n| f64::from_bits(go.word("main.Sum", n)));
        assert_eq!(sums, [1.5, 2.25, 321.0]);
        let captured = go.word("main.Captured", 0) as i64;
        assert_eq!((go.word("main.LastWord0", 0), captured), (44, -3));
        assert_eq!(runtime.gc().unwrap().live_objects, 0, "boxes and all");
    }
}

/// Cleanups that Go compiled, with arguments of 16 bytes of every kind, captured by value.
#[test]
fn go_cleanups_get_the_bytes_they_were_added_with() {
    let Some(go) = go() else { return };
    for policy in [CodePolicy::Generate, CodePolicy::Interpret] {
        let runtime = runtime(policy);
        let types = runtime.types();
        let argument = "struct { Number uint32; Short int16; Object *main.TintPointer }";
        types.define("main.Argument", argument).unwrap();
        let mutator = runtime.attach().unwrap();
        let number = mutator.alloc(types.id("main.Tint").unwrap()).unwrap();
        mutator.store_word(number, 0, 4711).unwrap();
        let object = mutator
            .alloc(types.id("main.TintPointer").unwrap())
            .unwrap();
        mutator.store_ref(object, 0, Some(number)).unwrap();
        let text = mutator.alloc(types.id("[5]uint8").unwrap()).unwrap();
        mutator.store_bytes(text, 0, b"hello").unwrap();
        let words = |first: u64, second: u64| [first.to_ne_bytes(), second.to_ne_bytes()].concat();
        let number = [&77_u32.to_ne_bytes()[..], &(-2_i16).to_ne_bytes()].concat();
        let float = [&1.5f32.to_ne_bytes()[..], &[200]].concat();
        // Function, parameter, argument, the number it confirms.
        let rows = [
            (
                "main.CleanUpStruct",
                "main.Argument",
                words(beginning(&number), object.addr() as u64),
                4711,
            ),
            (
                "main.CleanUpFloats",
                "struct { X float32; N uint8; Y float64 }",
                words(beginning(&float), 2.25f64.to_bits()),
                200,
            ),
            (
                "main.CleanUpString",
                "string",
                words(text.addr() as u64, 5),
                5 + 1000 * 111,
            ),
            ("main.CleanUpArray", "[2]uint64", words(3, 4), 4003),
        ];
        for (name, parameter, bytes, _) in &rows {
            let signature = types
                .parse_signature(&format!("func({parameter})"))
                .unwrap();
            let closure: &'static [usize] = Box::leak(Box::new([go.address(name)]));
            let builder = CleanupFn::builder(signature, Abi::go(Arch::host().unwrap()))
                .context(closure.as_ptr().expose_provenance());
            // SAFETY: I8: a function of this signature and ABI, compiled by Go; its code stays
            // mapped.
            let cleanup = unsafe { builder.at(closure[0] as *const ()) };
            let doomed = mutator
                .alloc(types.id("main.TintPointer").unwrap())
                .unwrap();
            mutator
                .add_cleanup(doomed, &cleanup, bytes.as_slice())
                .unwrap();
        }
        drop(mutator);
        go.zero("main.Calls");
        let collection = runtime.gc().unwrap();
        runtime
            .block_until_finalizer_queue_empty(Duration::from_secs(60))
            .unwrap();
        assert_eq!(collection.live_objects, 3, "what the arguments refer to");
        // The last one added runs first.
        let log: Vec<u64> = (0..4).map(|call| go.word("main.Log", call)).rev().collect();
        assert_eq!(log, rows.map(|(.., confirmed)| confirmed));
        assert_eq!(
            (
                go.word("main.LastWord0", 0),
                go.word("main.Captured", 0) as i64
            ),
            (77, -2)
        );
        let sums = [0, 1].map(|n| f64::from_bits(go.word("main.Sum", n)));
        assert_eq!(sums, [1.5, 2.25]);
        assert_eq!(runtime.gc().unwrap().live_objects, 0);
    }
}
