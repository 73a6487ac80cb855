//! Objects with any number of elements.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use fing::error::{AccessErrorKind, AllocError};
use fing::types::TypesError;
use fing::{Executor, FinalizerFn, HeapOptions, Runtime, TypeId};

fn runtime() -> Runtime {
    let heap = HeapOptions::default().poison(true).limit(64 << 20);
    let builder = Runtime::builder().executor(Executor::Inline).heap(heap);
    builder.build().unwrap()
}

/// Elements of a word of data and a reference, behind a reference and a length.
fn pairs(runtime: &Runtime) -> TypeId {
    let types = runtime.types();
    let pair = types
        .define("main.Pair", "struct { N int; P unsafe.Pointer }")
        .unwrap();
    let fixed = "struct { Owner unsafe.Pointer; Length int }";
    types.define_array("main.Pairs", fixed, pair).unwrap()
}

const LENGTHS: [usize; 12] = [0, 1, 2, 3, 10, 100, 509, 510, 511, 4094, 10_000, 100_000];

#[test]
fn what_elements_refer_to_is_kept() {
    let runtime = runtime();
    let (ty, word) = (pairs(&runtime), runtime.types().id("uint64").unwrap());
    for length in LENGTHS {
        let mut mutator = runtime.attach().unwrap();
        let array = mutator.alloc_array(ty, length).unwrap();
        let capacity = mutator.capacity(array).unwrap();
        assert!(capacity >= length);
        // Every word can be written, and each reference keeps its object.
        let step = (capacity / 100).max(1);
        let mut objects = 1;
        for index in (0..capacity).step_by(step).chain(capacity.checked_sub(1)) {
            let at = 16 + 16 * index;
            mutator.store_word(array, at, 7).unwrap();
            if mutator.load_ref(array, at + 8).unwrap().is_none() {
                let object = mutator.alloc(word).unwrap();
                mutator.store_ref(array, at + 8, Some(object)).unwrap();
                objects += 1;
            }
        }
        let end = 16 + 16 * capacity;
        let error = mutator.store_word(array, end, 1).unwrap_err();
        assert!(
            matches!(error.kind(), AccessErrorKind::OutOfBounds { size, .. } if *size == end),
            "{error}"
        );
        let array = mutator.root(array).unwrap();
        assert_eq!(
            mutator.gc().unwrap().live_objects,
            objects,
            "{length} elements"
        );
        // So does an address inside of the last element.
        let inside = array.addr() + end - 1;
        drop(array);
        let source = runtime.add_roots(move |visit| visit(inside));
        let kept = if capacity == 0 { 1 } else { objects };
        assert_eq!(mutator.gc().unwrap().live_objects, kept);
        drop(source);
        assert_eq!(mutator.gc().unwrap().live_objects, 0);
        mutator.native(|| runtime.verify_heap()).unwrap();
    }
}

#[test]
fn arrays_are_zeroes_also_in_cells_of_dead_ones() {
    let runtime = runtime();
    let byte = runtime.types().id("uint8").unwrap();
    let bytes = runtime
        .types()
        .define_array("main.Bytes", "struct{}", byte)
        .unwrap();
    let mut mutator = runtime.attach().unwrap();
    for round in 0..3 {
        for length in [1, 7, 8, 9, 4000, 8184, 8185, 65_520, 65_521, 200_000] {
            let array = mutator.alloc_array(bytes, length).unwrap();
            let capacity = mutator.capacity(array).unwrap();
            let mut all = vec![1; capacity];
            mutator.load_bytes(array, 0, &mut all).unwrap();
            assert!(
                all.iter().all(|byte| *byte == 0),
                "{length} bytes, round {round}"
            );
            mutator
                .store_bytes(array, 0, &vec![0xff; capacity])
                .unwrap();
        }
        mutator.gc().unwrap();
    }
}

#[test]
fn kinds_of_words_in_elements_are_known() {
    let runtime = runtime();
    let ty = pairs(&runtime);
    let mutator = runtime.attach().unwrap();
    let array = mutator.alloc_array(ty, 100).unwrap();
    for index in [0, 1, 57, 99] {
        let at = 16 + 16 * index;
        let error = mutator.store_word(array, at + 8, 1).unwrap_err();
        assert!(
            matches!(error.kind(), AccessErrorKind::IsPointer { .. }),
            "{error}"
        );
        let error = mutator.store_addr(array, at, 1).unwrap_err();
        assert!(
            matches!(error.kind(), AccessErrorKind::NotPointer { .. }),
            "{error}"
        );
        let error = mutator.store_bytes(array, at, &[0; 9]).unwrap_err();
        assert!(
            matches!(error.kind(), AccessErrorKind::IsPointer { .. }),
            "{error}"
        );
        mutator.store_bytes(array, at, &[1; 8]).unwrap();
    }
    // The value before the elements has fields as ever.
    let length = runtime.field::<i64>(ty, 8).unwrap();
    mutator.store_field(array, length, 100).unwrap();
    assert_eq!(mutator.load_field(array, length).unwrap(), 100);
}

#[test]
fn arrays_have_finalizers_of_their_type() {
    let runtime = runtime();
    let ty = pairs(&runtime);
    let signature = runtime
        .types()
        .parse_signature("func(*main.Pairs)")
        .unwrap();
    let elements = Arc::new(AtomicUsize::new(0));
    let sum = elements.clone();
    let finalizer = FinalizerFn::from_rust(signature, move |mutator, object| {
        let array = object.get(mutator).unwrap();
        // What its last element refers to is whole.
        let last = mutator.capacity(array).unwrap() - 1;
        let number = mutator
            .load_ref(array, 16 + 16 * last + 8)
            .unwrap()
            .unwrap();
        let number = mutator.load_word(number, 0).unwrap();
        sum.fetch_add(number as usize, SeqCst);
    });
    let word = runtime.types().id("uint64").unwrap();
    let mut mutator = runtime.attach().unwrap();
    for length in LENGTHS {
        let array = mutator.alloc_array(ty, length + 1).unwrap();
        let last = mutator.capacity(array).unwrap() - 1;
        let number = mutator.alloc(word).unwrap();
        mutator.store_word(number, 0, length as u64).unwrap();
        mutator
            .store_ref(array, 16 + 16 * last + 8, Some(number))
            .unwrap();
        mutator.set_finalizer(array, &finalizer).unwrap();
    }
    let listed = mutator.native(|| runtime.list()).unwrap();
    let bytes: Vec<usize> = listed.iter().map(|entry| entry.bytes).collect();
    assert!(bytes.iter().all(|bytes| *bytes >= 32) && bytes.iter().max() >= Some(&1_600_032));
    mutator.gc().unwrap();
    mutator.native(|| runtime.run_finalizers()).unwrap();
    assert_eq!(elements.load(SeqCst), LENGTHS.iter().sum::<usize>());
    assert_eq!(mutator.gc().unwrap().live_objects, 0);
    // Not for all, as they are in blocks of many classes.
    let prepared = runtime.prepare_finalizer(ty, &finalizer).unwrap();
    let error = prepared.set_for_all().unwrap_err().to_string();
    assert!(error.contains("objects of several sizes"), "{error}");
    let error = mutator.window(ty).map(drop).unwrap_err();
    assert!(matches!(error, AllocError::NoWindow { .. }), "{error}");
}

#[test]
fn small_elements_do_not_share_blocks() {
    let tiny = Runtime::builder().heap(HeapOptions::default().tiny(true));
    let runtime = tiny.build().unwrap();
    let byte = runtime.types().id("uint8").unwrap();
    let bytes = runtime
        .types()
        .define_array("main.Bytes", "struct{}", byte)
        .unwrap();
    let mutator = runtime.attach().unwrap();
    let (a, b) = (
        mutator.alloc_array(bytes, 1).unwrap(),
        mutator.alloc_array(bytes, 3).unwrap(),
    );
    assert!(a.addr().abs_diff(b.addr()) >= 16);
    assert_eq!(mutator.type_of(a).unwrap().ty().to_string(), "main.Bytes");
}

#[test]
fn types_and_lengths_that_cannot_be_are_refused() {
    let runtime = runtime();
    let types = runtime.types();
    let ty = pairs(&runtime);
    let mutator = runtime.attach().unwrap();
    let word = types.id("uint64").unwrap();
    let error = mutator.alloc_array(word, 1).unwrap_err().to_string();
    let wanted = "alloc array of uint64: it has no elements, wanted a type of Types::define_array";
    assert_eq!(error, wanted);
    for elements in [usize::MAX, usize::MAX / 16, usize::MAX / 16 - 1] {
        let error = mutator.alloc_array(ty, elements).unwrap_err();
        let too_long = matches!(
            error,
            AllocError::TooLong { .. } | AllocError::HeapLimit { .. }
        );
        assert!(too_long, "{error}");
    }
    let error = mutator.alloc_array(ty, 64 << 20).unwrap_err();
    assert!(matches!(error, AllocError::HeapLimit { .. }), "{error}");
    assert_eq!(pairs(&runtime), ty, "the same definition");
    let nothing = types.id("struct{}").unwrap();
    let error = types
        .define_array("main.None", "struct{}", nothing)
        .unwrap_err();
    assert!(matches!(error, TypesError::NoElement { .. }), "{error}");
    let fixed = "struct { Owner unsafe.Pointer; Length int }";
    let error = types
        .define_array("main.Pairs", fixed, word)
        .unwrap_err()
        .to_string();
    let wanted = "define main.Pairs: defined as elements of uint64, wanted elements of main.Pair \
                  as before";
    assert_eq!(error, wanted);
    types.define("main.Plain", "struct { N int }").unwrap();
    let error = types
        .define_array("main.Plain", "struct { N int }", word)
        .unwrap_err();
    assert!(
        error.to_string().ends_with("wanted no elements as before"),
        "{error}"
    );
    let other = Runtime::new().unwrap();
    let error = other
        .types()
        .define_array("main.T", "struct{}", word)
        .unwrap_err();
    assert!(matches!(error, TypesError::Foreign { .. }), "{error}");
    assert!(other.attach().unwrap().alloc_array(ty, 1).is_err());
}

/// The bytes that the elements need, and not those of the value alone.
#[test]
fn a_full_heap_says_how_much_was_asked_for() {
    let heap = HeapOptions::default().limit(64 << 10);
    let runtime = Runtime::builder().heap(heap).build().unwrap();
    let byte = runtime.types().id("uint8").unwrap();
    let text = runtime.types();
    let text = text.define_array("main.Text", "struct { N int }", byte);
    let (text, mutator) = (text.unwrap(), runtime.attach().unwrap());
    for length in [5000, 500, 50, 100_000] {
        let full =
            std::iter::repeat_with(|| mutator.alloc_array(text, length)).find_map(Result::err);
        let wanted = format!(
            "alloc main.Text: {} bytes requested, 65536 in use, limit 65536",
            8 + length
        );
        assert_eq!(full.map(|error| error.to_string()), Some(wanted));
    }
}
