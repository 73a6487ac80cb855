//! Pointer words that hold other things, and finalizers that take objects of any type as one word.

use std::sync::{Arc, Mutex};

use fing::error::SetFinalizerError;
use fing::{Abi, Executor, FinalizerFn, HeapOptions, HeldValue, Runtime};
use fing::{FinalizerOptions, Obj, TypeId};

fn runtime() -> Runtime {
    let heap = HeapOptions::default().poison(true);
    let builder = Runtime::builder().executor(Executor::Inline).heap(heap);
    builder.build().unwrap()
}

#[test]
fn words_that_are_no_addresses_of_objects_are_ignored() {
    let runtime = runtime();
    let ty = runtime.types().id("[8]unsafe.Pointer").unwrap();
    let mut mutator = runtime.attach().unwrap();
    let object = mutator.alloc(ty).unwrap();
    let at = object.addr();
    let words = [
        1,
        3,
        7 << 48,
        0x7ff8_0000_0000_0000,
        0xfff8_0000_0000_0001,
        usize::MAX,
        // A tag in high bits makes an address no address.
        at | 1 << 63,
        at | 0x7ff8 << 48,
    ];
    for (index, word) in words.into_iter().enumerate() {
        mutator.store_addr(object, 8 * index, word).unwrap();
    }
    let object = mutator.root(object).unwrap();
    assert_eq!(mutator.gc().unwrap().live_objects, 1);
    let object = mutator.get(&object).unwrap();
    for (index, word) in words.into_iter().enumerate() {
        assert_eq!(mutator.load_addr(object, 8 * index).unwrap(), word);
    }
    mutator.native(|| runtime.verify_heap()).unwrap();
}

#[test]
fn a_tag_in_low_bits_keeps_the_object() {
    let runtime = runtime();
    let pointer = runtime.types().id("unsafe.Pointer").unwrap();
    for size in [1, 8, 16, 4000, 100_000] {
        let ty = runtime.types().id(&format!("[{size}]uint8")).unwrap();
        for tag in [0, 1, 7, 15, 16] {
            let mut mutator = runtime.attach().unwrap();
            let (holder, object) = (mutator.alloc(pointer).unwrap(), mutator.alloc(ty).unwrap());
            mutator.store_addr(holder, 0, object.addr() + tag).unwrap();
            let _holder = mutator.root(holder).unwrap();
            // A tag must be less than the object's size.
            let kept = 1 + usize::from(tag < size);
            assert_eq!(mutator.gc().unwrap().live_objects, kept, "{tag} of {size}");
        }
    }
}

type Seen = Mutex<Vec<(usize, u64)>>;

extern "C" fn see(object: usize, seen: &Seen) {
    // SAFETY: I13: a finalizer's object, whose first word is a number in these tests.
    let value = unsafe { *std::ptr::with_exposed_provenance::<u64>(object) };
    seen.lock().unwrap().push((object, value));
}

/// Types without anything in common.
fn types(runtime: &Runtime) -> [TypeId; 4] {
    let types = runtime.types();
    types
        .define("main.T", "struct { N uint64; P *main.T }")
        .unwrap();
    [
        "main.T",
        "uint64",
        "[500]int",
        "struct { N int; F func(); M map[string]int }",
    ]
    .map(|ty| types.id(ty).unwrap())
}

#[test]
fn one_function_takes_objects_of_every_type() {
    let runtime = runtime();
    let seen = Seen::default();
    let context = (&raw const seen).expose_provenance() as u64;
    // SAFETY: I13: a C function of an object whose first word is a number, and a context.
    let finalizer = unsafe {
        FinalizerFn::of_any_object(Abi::host_native().unwrap())
            .context_word()
            .at(see as *const ())
    };
    assert_eq!(finalizer.signature().to_string(), "func(unsafe.Pointer)");
    let mutator = runtime.attach().unwrap();
    let mut wanted = Vec::new();
    for (value, ty) in (1..).zip(types(&runtime)) {
        let object = mutator.alloc(ty).unwrap();
        mutator.store_word(object, 0, value).unwrap();
        let options = FinalizerOptions::new().context(HeldValue::<Obj<'_>>::Word(context));
        mutator
            .set_finalizer_with(object, &finalizer, options)
            .unwrap();
        wanted.push((object.addr(), value));
    }
    drop(mutator);
    runtime.gc().unwrap();
    assert_eq!(runtime.run_finalizers().unwrap(), 4);
    let mut found = seen.lock().unwrap().clone();
    found.sort_unstable_by_key(|(_, value)| *value);
    assert_eq!(found, wanted);
    assert_eq!(runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn a_closure_takes_objects_of_every_type() {
    let runtime = runtime();
    let seen = Arc::new(Seen::default());
    let found = seen.clone();
    let finalizer = FinalizerFn::from_rust_of_any_object(move |mutator, object| {
        let object = object.get(mutator).unwrap();
        let value = mutator.load_word(object, 0).unwrap();
        found.lock().unwrap().push((0, value));
    });
    let mutator = runtime.attach().unwrap();
    for (value, ty) in (1..).zip(types(&runtime)) {
        // A prepared one, which is checked once for each type.
        let prepared = runtime.prepare_finalizer(ty, &finalizer).unwrap();
        let object = mutator.alloc(ty).unwrap();
        mutator.store_word(object, 0, value).unwrap();
        prepared.set(object).unwrap();
    }
    drop(mutator);
    runtime.gc().unwrap();
    assert_eq!(runtime.run_finalizers().unwrap(), 4);
    let sum: u64 = seen.lock().unwrap().iter().map(|(_, value)| value).sum();
    assert_eq!(sum, 10);
}

#[test]
fn go_still_refuses_a_word_and_nil_is_refused() {
    let runtime = runtime();
    let ty = types(&runtime)[0];
    let mutator = runtime.attach().unwrap();
    let object = mutator.alloc(ty).unwrap();
    let signature = runtime
        .types()
        .parse_signature("func(unsafe.Pointer)")
        .unwrap();
    let finalizer = FinalizerFn::from_rust(signature, |_, _| ());
    let error = mutator.set_finalizer(object, &finalizer).unwrap_err();
    assert!(
        matches!(error, SetFinalizerError::NotAssignable { .. }),
        "{error}"
    );
    // SAFETY: I13: it is never called.
    let nil =
        unsafe { FinalizerFn::of_any_object(Abi::host_native().unwrap()).at(std::ptr::null()) };
    let error = mutator.set_finalizer(object, &nil).unwrap_err();
    assert!(
        matches!(error, SetFinalizerError::NilFunction { .. }),
        "{error}"
    );
}
