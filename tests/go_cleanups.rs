//! Go's runtime/mcleanup_test.go, rule by rule; each test has the name of Go's.

#[path = "support/vm.rs"]
mod vm;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fing::error::{AccessError, AccessErrorKind, AddCleanupError, SetFinalizerError};
use fing::function::UncheckedBytes;
use fing::{
    Abi, CallStage, CleanupArgument, CleanupFn, CleanupOptions, Executor, FinalizerFn,
    FinalizerOptions, HeldValue, Mutator, Obj, Runtime,
};
use vm::{LONG, Vm, sent};

/// No calls.
const NOTHING: [[usize; 2]; 0] = [];

const NUMBER: u64 = 97531;

fn numbers(calls: Vec<[usize; 2]>) -> Vec<usize> {
    calls.into_iter().map(|[number, _]| number).collect()
}

#[test]
fn test_cleanup() {
    let vm = Vm::new();
    let (cleanup, calls) = vm.cleanup_sender("func(int)");
    vm.doomed(NUMBER, |m, t| {
        m.add_cleanup(t, &cleanup, NUMBER).unwrap();
    });
    vm.runtime.gc().unwrap();
    assert_eq!(calls.recv_timeout(LONG), Ok([NUMBER as usize, 0]));
    vm.collect();
    assert_eq!(vm.runtime.stats().heap.objects, 0);
}

#[test]
fn test_cleanup_multiple() {
    let vm = Vm::new();
    let (cleanup, calls) = vm.cleanup_sender("func(int)");
    vm.doomed(NUMBER, |m, t| {
        for _ in 0..3 {
            m.add_cleanup(t, &cleanup, NUMBER).unwrap();
        }
    });
    vm.collect();
    assert_eq!(numbers(sent(&calls)), [NUMBER as usize; 3]);
}

#[test]
fn test_cleanup_zero_sized_struct() {
    let vm = Vm::new();
    let z = vm.runtime.types().define("main.Z", "struct {}").unwrap();
    let (cleanup, calls) = vm.cleanup_sender("func(uint64)");
    vm.enter(|m| {
        let nothing = m.alloc(z).unwrap();
        let added = m.add_cleanup(nothing, &cleanup, NUMBER);
        assert!(!added.unwrap().stop().is_cancelled());
    });
    vm.collect();
    assert_eq!(sent(&calls), NOTHING);
}

#[test]
fn test_cleanup_after_finalizer() {
    let vm = Vm::new();
    let (finalizer, finalized) = vm.sender("func(*main.T)");
    let (cleanup, cleaned) = vm.cleanup_sender("func(int)");
    let addr = vm.doomed(NUMBER, |m, t| {
        m.add_cleanup(t, &cleanup, NUMBER).unwrap();
        m.set_finalizer(t, &finalizer).unwrap();
        t.addr()
    });
    vm.collect();
    assert_eq!(
        (sent(&finalized), sent(&cleaned)),
        (vec![[addr, 0]], vec![])
    );
    vm.collect();
    assert_eq!(
        (sent(&finalized), numbers(sent(&cleaned))),
        (vec![], vec![NUMBER as usize])
    );
}

#[test]
fn test_cleanup_interior_pointer() {
    let vm = Vm::new();
    let fields = "struct { p unsafe.Pointer; i int; a int; b int; c int }";
    let t = vm.runtime.types().define("main.Fields", fields).unwrap();
    let (cleanup, calls) = vm.cleanup_sender("func(int)");
    vm.enter(|m| {
        let t = m.alloc(t).unwrap();
        for offset in [16, 24, 32] {
            m.add_cleanup(t.addr() + offset, &cleanup, offset as u64)
                .unwrap();
        }
    });
    vm.collect();
    let mut offsets = numbers(sent(&calls));
    offsets.sort_unstable();
    assert_eq!(offsets, [16, 24, 32]);
}

#[test]
fn test_cleanup_stop() {
    let vm = Vm::new();
    let (cleanup, calls) = vm.cleanup_sender("func(int)");
    vm.doomed(NUMBER, |m, t| {
        let added = m.add_cleanup(t, &cleanup, NUMBER).unwrap();
        assert!(added.stop().is_cancelled());
    });
    drop(cleanup);
    vm.collect();
    assert_eq!(sent(&calls), NOTHING);
    let stats = vm.runtime.stats();
    assert_eq!((stats.cleanups, stats.shapes), (0, 0));
}

/// What a VM's own `runtime.Cleanup` is made of.
#[test]
fn two_words_stand_for_a_cleanup() {
    let vm = Vm::with(Runtime::builder().executor(Executor::Manual));
    let (cleanup, calls) = vm.cleanup_sender("func(int)");
    let other = Vm::new();
    let mut words = Vec::new();
    let watcher = vm.enter(|m| {
        let t = m.alloc(vm.t).unwrap();
        let (watcher, _) = vm.sender("func(*main.T)");
        let watcher = m.add_watcher(t, &watcher, FinalizerOptions::new()).unwrap();
        let _weak = m.downgrade(t).unwrap();
        for number in 0..10u64 {
            words.push(m.add_cleanup(t, &cleanup, number).unwrap().words());
        }
        let nothing = m.alloc(m.types().id("struct {}").unwrap()).unwrap();
        let never = m.add_cleanup(nothing, &cleanup, NUMBER).unwrap();
        assert_eq!(vm.runtime.stop_cleanup(never.words()), CallStage::Done);
        watcher
    });
    // Words that no cleanup has: those of others on the object, of other objects, any at all.
    let [place, first] = words[0];
    let others = (0..first).map(|number| [place, number]);
    let anywhere = [
        [place ^ 1, first],
        [place + (1 << 16), first],
        [0, 0],
        [u64::MAX; 2],
        [0, u64::MAX],
    ];
    for words in others.chain(anywhere) {
        assert_eq!(vm.runtime.stop_cleanup(words), CallStage::Done, "{words:?}");
    }
    assert_eq!(other.runtime.stop_cleanup(words[0]), CallStage::Done);
    assert_eq!(vm.runtime.stats().cleanups, 10);

    assert_eq!(vm.runtime.stop_cleanup(words[3]), CallStage::Registered);
    assert_eq!(vm.runtime.stop_cleanup(words[3]), CallStage::Done);
    assert_eq!(watcher.stop(), CallStage::Registered);
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.stop_cleanup(words[5]), CallStage::Queued);
    assert_eq!(vm.runtime.stop_cleanup(words[5]), CallStage::Done);
    vm.collect();
    let mut ran = numbers(sent(&calls));
    ran.sort_unstable();
    assert_eq!(ran, [0, 1, 2, 4, 6, 7, 8, 9]);
    for words in words {
        assert_eq!(vm.runtime.stop_cleanup(words), CallStage::Done);
    }
}

#[test]
fn test_cleanup_stop_multiple() {
    let vm = Vm::new();
    let (cleanup, calls) = vm.cleanup_sender("func(int)");
    vm.doomed(NUMBER, |m, t| {
        let added = m.add_cleanup(t, &cleanup, NUMBER).unwrap();
        assert_eq!(
            [
                added.stop().is_cancelled(),
                added.clone().stop().is_cancelled(),
                added.stop().is_cancelled()
            ],
            [true, false, false]
        );
    });
    vm.collect();
    assert_eq!(sent(&calls), NOTHING);
}

#[test]
fn test_cleanup_stop_interleaved_multiple() {
    let vm = Vm::new();
    let (cleanup, calls) = vm.cleanup_sender("func(int)");
    vm.doomed(NUMBER, |m, t| {
        let add = |number| m.add_cleanup(t, &cleanup, number).unwrap();
        add(1);
        assert!(add(2).stop().is_cancelled());
        add(1);
        assert!(add(2).stop().is_cancelled());
        add(1);
    });
    vm.collect();
    assert_eq!(numbers(sent(&calls)), [1, 1, 1]);
}

#[test]
fn test_cleanup_stop_after_cleanup_runs() {
    let vm = Vm::new();
    let (cleanup, calls) = vm.cleanup_sender("func(int)");
    let added = vm.doomed(NUMBER, |m, t| m.add_cleanup(t, &cleanup, NUMBER).unwrap());
    vm.runtime.gc().unwrap();
    assert_eq!(calls.recv_timeout(LONG), Ok([NUMBER as usize, 0]));
    assert!(!added.stop().is_cancelled());
    // The same address with another cleanup: it is not the one to stop.
    let again = vm.doomed(NUMBER, |m, t| m.add_cleanup(t, &cleanup, 2u64).unwrap());
    assert!(!added.stop().is_cancelled());
    assert!(again.stop().is_cancelled());
}

#[test]
fn test_cleanup_pointer_equals_arg() {
    let vm = Vm::new();
    let (cleanup, _) = vm.cleanup_sender("func(*int)");
    let error = vm.doomed(NUMBER, |m, t| m.add_cleanup(t, &cleanup, t).unwrap_err());
    assert_eq!(
        error.go_text().unwrap(),
        "runtime.AddCleanup: ptr is equal to arg, cleanup will never run"
    );
}

#[test]
fn test_cleanup_lost() {
    const EACH: u64 = 10_000;
    let vm = Vm::new();
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    let got = Arc::new(AtomicU64::new(0));
    let counter = got.clone();
    let cleanup = vm.cleanup("func(int)", move |[number, _]| {
        assert_eq!(number as u64, NUMBER);
        counter.fetch_add(1, Ordering::Relaxed);
    });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut m = vm.runtime.attach().unwrap();
                for _ in 0..EACH {
                    let v = m.alloc(vm.t).unwrap();
                    m.add_cleanup(v, &cleanup, NUMBER).unwrap();
                    m.safepoint();
                }
            });
        }
    });
    vm.collect();
    assert_eq!(got.load(Ordering::Relaxed), threads * EACH);
}

#[test]
fn test_cleanup_unreachable_pointer() {
    let vm = Vm::new();
    let (cleanup, _) = vm.cleanup_sender("func(*int)");
    let fields = "struct { p unsafe.Pointer; i int }";
    let t = vm.runtime.types().define("main.Fields", fields).unwrap();
    let error = vm.enter(|m| {
        let t = m.alloc(t).unwrap();
        let field = CleanupArgument::Word(t.addr() as u64 + 8);
        m.add_cleanup(t, &cleanup, field).unwrap_err()
    });
    assert_eq!(
        error.go_text().unwrap(),
        "runtime.AddCleanup: ptr is within arg, cleanup will never run"
    );
}

const CLOSURE: &str = "struct { code uintptr; captured *int }";

/// A cleanup whose context is a closure on the heap.
fn closing(vm: &Vm, body: extern "C" fn(u64, usize)) -> CleanupFn {
    let types = vm.runtime.types();
    types.define("main.closure", CLOSURE).unwrap();
    let signature = types.parse_signature("func(int)").unwrap();
    let pointer = types.parse("*main.closure").unwrap();
    let builder =
        CleanupFn::builder(signature, Abi::host_native().unwrap()).context_object(pointer);
    // SAFETY: I8: a System V function of any word and its closure, which is checked to be one.
    unsafe { builder.at(body as *const ()) }
}

/// A closure: `{ code, captured }`.
fn closure<'m>(m: &'m Mutator, code: extern "C" fn(u64, usize), captured: usize) -> Obj<'m> {
    let closure = m.types().define("main.closure", CLOSURE).unwrap();
    let object = m.alloc(closure).unwrap();
    m.store_word(object, 0, code as *const () as u64).unwrap();
    m.store_addr(object, 8, captured).unwrap();
    object
}

fn with(context: Obj<'_>) -> CleanupOptions<'_> {
    CleanupOptions::new().context(HeldValue::Object(context))
}

extern "C" fn never(_argument: u64, _closure: usize) {
    panic!("cleanup ran unexpectedly");
}

#[test]
fn test_cleanup_unreachable_closure() {
    let vm = Vm::new();
    let cleanup = closing(&vm, never);
    let object = vm.rooted();
    let text = "runtime.AddCleanup: cleanup function closes over ptr, cleanup will never run";
    for offset in [0, 8, 15] {
        let added = vm.enter(|m| {
            let closure = closure(m, never, object.addr() + offset);
            m.add_cleanup_with(object.addr(), &cleanup, 0u64, with(closure))
        });
        let error = added.unwrap_err();
        assert!(
            matches!(error, AddCleanupError::ClosesOver { .. }),
            "{error}"
        );
        assert_eq!(error.go_text().unwrap(), text);
    }
    // The object as its own cleanup's context.
    let types = vm.runtime.types();
    let signature = types.parse_signature("func(int)").unwrap();
    let pointer = types.parse("unsafe.Pointer").unwrap();
    let builder =
        CleanupFn::builder(signature, Abi::host_native().unwrap()).context_object(pointer);
    // SAFETY: I8: a System V function of a word and a pointer, which looks at neither.
    let any = unsafe { builder.at(never as *const ()) };
    let itself = vm.enter(|m| {
        let itself = m.get(&object).unwrap();
        m.add_cleanup_with(itself, &any, 0u64, with(itself))
    });
    assert_eq!(itself.unwrap_err().go_text().unwrap(), text);
    // The closure of another object's cleanup may.
    let other = vm.rooted();
    vm.enter(|m| {
        let closure = closure(m, never, object.addr());
        m.add_cleanup_with(other.addr(), &cleanup, 0u64, with(closure))
    })
    .unwrap();
    assert_eq!(vm.runtime.stats().cleanups, 1);
}

/// A closure is a root as long as a cleanup is registered or queued with it: what it captured is
/// there when it runs.
#[test]
fn closures_are_roots() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    extern "C" fn look(argument: u64, closure: usize) {
        // SAFETY: I6: the closure and what it refers to are kept until the call has returned.
        let captured = unsafe { **((closure + 8) as *const *const u64) };
        SEEN.fetch_add(1000 * argument + captured, Ordering::Relaxed);
    }
    let vm = Vm::new();
    let cleanup = closing(&vm, look);
    // One function, two closures.
    let kept = [vm.rooted(), vm.rooted()];
    let added = vm.enter(|m| {
        let added = [(77, 5u64), (88, 6)].into_iter().zip(&kept);
        let added = added.map(|((number, argument), object)| {
            let captured = m.alloc(vm.t).unwrap();
            m.store_word(captured, 0, number).unwrap();
            let closure = with(closure(m, look, captured.addr()));
            m.add_cleanup_with(object.addr(), &cleanup, argument, closure)
                .unwrap()
        });
        added.collect::<Vec<_>>()
    });
    let [first, second] = kept;
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 6);
    drop(first);
    let collection = vm.runtime.gc().unwrap();
    assert_eq!(
        collection.live_objects, 5,
        "both closures and what they captured, one of them queued"
    );
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(SEEN.load(Ordering::Relaxed), 5077);
    vm.collect();
    assert_eq!(vm.runtime.stats().heap.objects, 3, "the other one");
    assert!(!added[0].stop().is_cancelled() && added[1].stop().is_cancelled());
    vm.collect();
    assert_eq!(vm.runtime.stats().heap.objects, 1);
    drop((second, cleanup));
    vm.collect();
    let stats = vm.runtime.stats();
    assert_eq!((stats.heap.objects, stats.shapes), (0, 0));
    assert_eq!(SEEN.load(Ordering::Relaxed), 5077, "stopped");
}

/// A finalizer whose closure leads to its object never runs, as in Go.
#[test]
fn a_finalizer_that_closes_over_its_object_leaks() {
    let vm = Vm::new();
    let types = vm.runtime.types();
    types.define("main.closure", CLOSURE).unwrap();
    let signature = types.parse_signature("func(*main.T)").unwrap();
    let pointer = types.parse("*main.closure").unwrap();
    let builder =
        FinalizerFn::builder(signature, Abi::host_native().unwrap()).context_object(pointer);
    // SAFETY: I8: a System V function of a pointer and its closure.
    let finalizer = unsafe { builder.at(never as *const ()) };
    let addr = vm.doomed(0, |m, object| {
        let closure = HeldValue::Object(closure(m, never, object.addr()));
        let options = FinalizerOptions::new().context(closure);
        m.set_finalizer_with(object, &finalizer, options).unwrap();
        object.addr()
    });
    drop(finalizer);
    for _ in 0..3 {
        vm.collect();
    }
    assert_eq!(vm.runtime.stats().heap.objects, 2);
    // It can be taken back, and then both go.
    vm.enter(|m| m.clear_finalizer(m.adopt(addr).unwrap()))
        .unwrap();
    vm.collect();
    assert_eq!(vm.runtime.stats().heap.objects, 0);
}

/// What a cleanup's context may be is declared with its function, and checked for each cleanup.
#[test]
fn contexts_that_do_not_fit() {
    let (vm, other) = (Vm::new(), Vm::new());
    let (plain, _) = vm.cleanup_sender("func(int)");
    let object = closing(&vm, never);
    let signature = vm.runtime.types().parse_signature("func(int)").unwrap();
    let builder = CleanupFn::builder(signature.clone(), Abi::host_native().unwrap()).context_word();
    // SAFETY: I8: a System V function of two words, which looks at neither.
    let word = unsafe { builder.at(never as *const ()) };
    let pointer = other.runtime.types().parse("*main.T").unwrap();
    let builder =
        CleanupFn::builder(signature, Abi::host_native().unwrap()).context_object(pointer);
    // SAFETY: I8: as above.
    let foreign = unsafe { builder.at(never as *const ()) };
    let outside = other.rooted();
    vm.enter(|m| {
        let seven = CleanupOptions::new().context(HeldValue::Word(7));
        let wrong = m.alloc(vm.t).unwrap();
        let add = |function: &CleanupFn, options| {
            let t = m.alloc(vm.t).unwrap();
            m.add_cleanup_with(t, function, 0u64, options)
        };
        let refused = |function: &CleanupFn, options, text: &str| {
            let error = add(function, options).unwrap_err();
            assert!(error.go_text().is_none());
            assert!(error.to_string().contains(text), "{error}");
        };
        let none = CleanupOptions::new();
        refused(&plain, seven, "is the word 0x7, wanted none, as all");
        refused(
            &object,
            none,
            "is none, wanted an object that a *main.closure",
        );
        refused(&object, seven, "is the word 0x7, wanted an object");
        refused(&object, with(wrong), "is a main.T at");
        refused(&word, none, "is none, wanted a word");
        refused(&word, with(wrong), "is a main.T at");
        refused(
            &foreign,
            with(wrong),
            "wanted a pointer type of this runtime",
        );
        other.enter(|o| {
            let text = "is an object of another runtime";
            let closure = o.get(&outside).unwrap();
            let error = m.add_cleanup_with(wrong, &object, 0u64, with(closure));
            let error = error.unwrap_err();
            assert!(error.go_text().is_none());
            assert!(error.to_string().contains(text), "{error}");
        });
        add(&word, seven).unwrap();
        add(&object, with(closure(m, never, 0))).unwrap();
    });
    assert_eq!(vm.runtime.stats().cleanups, 2);
}

/// Arguments by type: what is given, and the words the cleanup gets of it.
#[test]
fn arguments_of_any_type() {
    let vm = Vm::new();
    let types = vm.runtime.types();
    types.define("main.I", "interface { M() }").unwrap();
    types.add_method("*main.T", "M", "func()", 0).unwrap();
    let kept = vm.rooted();
    let pointer = types.pointer_to(vm.t).unwrap();
    let itab = types
        .itab(types.id("main.I").unwrap(), pointer)
        .unwrap()
        .address();
    let descriptor = types.desc(pointer).unwrap().address();
    let addr = kept.addr();
    let (word, both) = (
        addr.to_ne_bytes(),
        [7, addr].map(usize::to_ne_bytes).concat(),
    );
    let calls = vm.doomed(0, |m, t| {
        let object = CleanupArgument::Object(m.get(&kept).unwrap());
        let bytes = |bytes| CleanupArgument::Bytes(bytes);
        let unchecked = |bytes| {
            // SAFETY: I16: the cleanups below compare the words, and follow none of them.
            CleanupArgument::Unchecked(unsafe { UncheckedBytes::new(bytes) })
        };
        // Of the words, only what the mask says is the argument.
        let all = [usize::MAX, usize::MAX];
        let one = [usize::MAX, 0];
        let short = 0xbeef_u16.to_ne_bytes();
        let rows = [
            ("func(bool)", bytes(&[1]), [1, 0], [0xff, 0]),
            (
                "func(int8)",
                CleanupArgument::Word(0xffff_ff7f),
                [0x7f, 0],
                [0xff, 0],
            ),
            ("func(uint16)", bytes(&short), [0xbeef, 0], [0xffff, 0]),
            ("func(uint64)", CleanupArgument::Word(u64::MAX), one, one),
            ("func(*main.T)", object, [addr, 0], one),
            ("func(unsafe.Pointer)", object, [addr, 0], one),
            ("func(map[int]int)", unchecked(&word), [addr, 0], one),
            ("func(chan int)", unchecked(&word), [addr, 0], one),
            ("func(func())", unchecked(&word), [addr, 0], one),
            ("func(map[int]int)", bytes(&[0; 8]), [0, 0], one),
            ("func(any)", object, [descriptor, addr], all),
            ("func(main.I)", object, [itab, addr], all),
            ("func(any)", unchecked(&both), [7, addr], all),
            ("func(any)", bytes(&[0; 16]), [0, 0], all),
        ];
        rows.map(|(signature, argument, words, mask)| {
            let (cleanup, calls) = vm.cleanup_sender(signature);
            let added = m.add_cleanup(t, &cleanup, argument);
            added.unwrap_or_else(|e| panic!("{signature}: {e}"));
            (signature, calls, words, mask)
        })
    });
    drop(kept);
    vm.collect();
    for (signature, calls, words, mask) in calls {
        let found: Vec<_> = sent(&calls)
            .iter()
            .map(|call| [call[0] & mask[0], call[1] & mask[1]])
            .collect();
        assert_eq!(found, [words], "{signature}");
    }
    vm.collect();
    assert_eq!(
        vm.runtime.stats().heap.objects,
        0,
        "the arguments are kept no longer"
    );
}

/// Arguments that are not what the cleanup takes, and nothing is added.
#[test]
fn arguments_that_do_not_fit() {
    let vm = Vm::new();
    vm.runtime
        .types()
        .define("main.I", "interface { M() }")
        .unwrap();
    let other = vm.rooted();
    let at = |addr: usize| addr.to_ne_bytes();
    let inside = at(other.addr() + 8);
    let long = [at(other.addr()), at(17)].concat();
    vm.doomed(0, |m, t| {
        let object = CleanupArgument::Object(m.get(&other).unwrap());
        // SAFETY: I16: nothing is called.
        let unchecked = unsafe { UncheckedBytes::new(&[0; 4]) };
        let rows = [
            (
                "func(uint16)",
                CleanupArgument::Bytes(&[1]),
                "1 bytes, wanted uint16",
            ),
            (
                "func(any)",
                CleanupArgument::Bytes(&[0; 8]),
                "8 bytes, wanted",
            ),
            ("func(any)", CleanupArgument::Word(1), "one word, wanted"),
            (
                "func(any)",
                CleanupArgument::Unchecked(unchecked),
                "4 bytes",
            ),
            ("func(uint64)", object, "type main.T, wanted uint64"),
            ("func(main.I)", object, "type main.T, wanted main.I"),
            ("func(*int8)", object, "type main.T, wanted *int8"),
            ("func(map[int]int)", object, "type main.T, wanted map"),
            ("func(bool)", CleanupArgument::Word(2), "wanted a bool"),
            (
                "func(*main.T)",
                (&inside[..]).into(),
                "8 bytes into a main.T",
            ),
            ("func(*main.T)", 1.into(), "to no object of this heap"),
            ("func(map[int]int)", 1.into(), "the map[int]int at byte 0"),
            ("func(chan int)", 1.into(), "the chan int at byte 0"),
            ("func(func())", 1.into(), "the func() at byte 0"),
            ("func(any)", (&long[..]).into(), "at byte 0 is not nil"),
            ("func(string)", (&long[..]).into(), "the 17 elements"),
            (
                "func([3]uint64)",
                CleanupArgument::Bytes(&[0; 23]),
                "23 bytes, wanted [3]uint64",
            ),
        ];
        for (signature, argument, text) in rows {
            let signature = vm.runtime.types().parse_signature(signature).unwrap();
            let builder = CleanupFn::builder(signature, Abi::go(fing::Arch::host().unwrap()));
            // SAFETY: I8: never called, for it is not registered.
            let cleanup = unsafe { builder.at(never as *const ()) };
            let error = m.add_cleanup(t, &cleanup, argument).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    });
    let stats = vm.runtime.stats();
    assert_eq!((stats.cleanups, stats.shapes), (0, 0));
}

/// What was found out about a function when its first cleanup was added spares the next ones no
/// check of the object or of the argument.
#[test]
fn every_cleanup_of_a_function_is_checked() {
    let vm = Vm::new();
    let (number, numbered) = vm.cleanup_sender("func(int16)");
    let (pointer, pointed) = vm.cleanup_sender("func(*main.T)");
    let (untyped, _) = vm.cleanup_sender("func(unsafe.Pointer)");
    let argument = vm.rooted();
    let bytes = 0x1234u16.to_ne_bytes();
    let argument = vm.enter(|m| {
        let add = |pointer: usize, function, argument| {
            let added = m.add_cleanup(pointer, function, argument);
            added
                .map(drop)
                .map_err(|e| e.go_text().unwrap_or_else(|| e.to_string()))
        };
        let object = m.alloc(vm.t).unwrap();
        let (addr, other) = (object.addr(), m.get(&argument).unwrap());
        for _ in 0..2 {
            let word = CleanupArgument::Word;
            assert_eq!(add(addr, &number, word(0xfffe_0001)), Ok(()));
            assert_eq!(add(addr, &number, CleanupArgument::Bytes(&bytes)), Ok(()));
            assert_eq!(add(addr + 15, &number, word(addr as u64)), Ok(()));
            assert!(add(addr, &number, CleanupArgument::Bytes(&[0; 4])).is_err());
            assert!(add(addr, &number, other.into()).is_err());
            let nil = add(0, &number, word(1)).unwrap_err();
            assert_eq!(nil, "runtime.AddCleanup: ptr is nil");
            let outside = add(addr + 16, &number, word(1)).unwrap_err();
            assert_eq!(outside, "runtime.AddCleanup: ptr not in allocated block");
            assert_eq!(add(addr, &pointer, other.into()), Ok(()));
            let itself = add(addr, &pointer, object.into()).unwrap_err();
            assert!(itself.contains("ptr is equal to arg"), "{itself}");
            let within = add(addr, &untyped, word(addr as u64 + 8)).unwrap_err();
            assert!(within.contains("ptr is within arg"), "{within}");
            let other_type = add(addr, &pointer, word(addr as u64 + 8)).unwrap_err();
            assert!(other_type.contains("8 bytes into a main.T"), "{other_type}");
        }
        (addr, argument.addr())
    });
    let stats = vm.runtime.stats();
    assert_eq!((stats.cleanups, stats.shapes), (8, 2));
    vm.collect();
    let (addr, argument) = argument;
    let mut found: Vec<usize> = numbers(sent(&numbered))
        .into_iter()
        .map(|word| word & 0xffff)
        .collect();
    found.reverse();
    assert_eq!(found, [1, 0x1234, addr & 0xffff, 1, 0x1234, addr & 0xffff]);
    assert_eq!(numbers(sent(&pointed)), [argument; 2]);
    drop((number, pointer, untyped));
    vm.collect();
    assert_eq!(vm.runtime.stats().shapes, 0);
}

/// Closures on the heap may close over any object, so each cleanup of one is looked at.
#[test]
fn every_cleanup_of_a_closure_is_checked() {
    let vm = Vm::new();
    let (closed_over, other) = (vm.rooted(), vm.rooted());
    let cleanup = closing(&vm, never);
    for _ in 0..3 {
        let add = |to: &fing::Handle| {
            vm.enter(|m| {
                let closure = closure(m, never, closed_over.addr());
                m.add_cleanup_with(to.addr(), &cleanup, 0u64, with(closure))
            })
        };
        let added = add(&other).unwrap();
        assert!(matches!(
            add(&closed_over),
            Err(AddCleanupError::ClosesOver { .. })
        ));
        assert!(added.stop().is_cancelled());
    }
}

/// Random programs of four functions against a model: which cleanups run, which are stopped, what
/// is kept, and in what order the cleanups of one object run.
#[test]
fn random_cleanups_are_those_of_a_model() {
    use fing::stubs::fuzzing::Rng;
    use std::collections::{BTreeMap, BTreeSet};

    struct Added {
        object: usize,
        number: u64,
        /// An object that is its argument.
        refers: Option<usize>,
        cleanup: fing::Cleanup,
    }

    for seed in 0..40 {
        let vm = Vm::new();
        let mut random = Rng::new(seed);
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let logged = |signature| {
            let log = order.clone();
            vm.cleanup(signature, move |[word, _]| {
                log.lock().unwrap().push(word as u64)
            })
        };
        let functions = ["func(int)", "func(uint32)", "func(uintptr)"].map(logged);
        let keeper = logged("func(*main.T)");
        // Objects by number, as long as they are there, and the roots among them.
        let mut objects: BTreeMap<usize, usize> = BTreeMap::new();
        let mut roots: BTreeMap<usize, fing::Handle> = BTreeMap::new();
        let (mut live, mut done): (Vec<Added>, Vec<Added>) = (Vec::new(), Vec::new());
        let mut next = 0;
        for _ in 0..400 {
            let rooted: Vec<usize> = roots.keys().copied().collect();
            match random.below(12) {
                0..3 => {
                    next += 1;
                    let handle = vm.rooted();
                    objects.insert(next, handle.addr());
                    roots.insert(next, handle);
                }
                3..8 if !rooted.is_empty() => {
                    let object = *random.pick(&rooted);
                    next += 1;
                    let refers = *random.pick(&rooted);
                    let refers = (random.below(4) == 0 && refers != object).then_some(refers);
                    let addr = objects[&object] + random.below(16);
                    let added = vm.enter(|m| match refers {
                        Some(to) => {
                            let to = m.get(&roots[&to]).unwrap();
                            m.add_cleanup(addr, &keeper, to)
                        }
                        None => {
                            let function = random.pick(&functions);
                            m.add_cleanup(addr, function, next as u64)
                        }
                    });
                    let number = refers.map_or(next, |to| objects[&to]) as u64;
                    live.push(Added {
                        object,
                        number,
                        refers,
                        cleanup: added.unwrap(),
                    });
                }
                8 if !live.is_empty() => {
                    let stopped = live.swap_remove(random.below(live.len()));
                    assert!(stopped.cleanup.stop().is_cancelled());
                    done.push(stopped);
                }
                9 if !done.is_empty() => assert!(!random.pick(&done).cleanup.stop().is_cancelled()),
                10 if !rooted.is_empty() => drop(roots.remove(random.pick(&rooted))),
                11 if random.below(4) == 0 => {
                    vm.collect();
                    let kept = live.iter().filter_map(|added| added.refers);
                    let kept: BTreeSet<usize> = kept.chain(roots.keys().copied()).collect();
                    let (left, due): (Vec<_>, Vec<_>) = live
                        .into_iter()
                        .partition(|added| kept.contains(&added.object));
                    live = left;
                    let mut ran = std::mem::take(&mut *order.lock().unwrap());
                    assert!(due.iter().all(|added| !added.cleanup.stop().is_cancelled()));
                    // Of each object the last added first, among those of its numbers, which are
                    // different.
                    let mut of: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
                    for added in due.iter().filter(|added| added.refers.is_none()) {
                        of.entry(added.object).or_default().push(added.number);
                    }
                    for mut numbers in of.into_values() {
                        numbers.sort_unstable_by(|a, b| b.cmp(a));
                        let found = ran.iter().filter(|number| numbers.contains(number));
                        assert!(found.eq(&numbers), "seed {seed}: {numbers:?} of {ran:?}");
                    }
                    let mut wanted: Vec<u64> = due.iter().map(|added| added.number).collect();
                    ran.sort_unstable();
                    wanted.sort_unstable();
                    assert_eq!(ran, wanted, "seed {seed}");
                    objects.retain(|object, _| kept.contains(object));
                    done.extend(due);
                }
                _ => {}
            }
            assert_eq!(vm.runtime.stats().cleanups, live.len() as u64);
        }
        live.into_iter()
            .for_each(|added| assert!(added.cleanup.stop().is_cancelled()));
        drop((roots, functions, keeper));
        vm.collect();
        vm.collect();
        let stats = vm.runtime.stats();
        assert_eq!(
            (stats.cleanups, stats.shapes, stats.heap.objects),
            (0, 0, 0)
        );
        vm.runtime.verify_heap().unwrap();
    }
}

/// Threads add cleanups and stop some of them while others collect: each runs or is stopped, never
/// both.
#[test]
fn stopping_is_all_or_nothing() {
    const EACH: u64 = 5_000;
    const THREADS: u64 = 3;
    let vm = Vm::new();
    let (ran, stopped) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let sum = ran.clone();
    let cleanup = vm.cleanup("func(int)", move |[number, _]| {
        sum.fetch_add(number as u64, Ordering::Relaxed);
    });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (vm, cleanup, stopped) = (&vm, &cleanup, &stopped);
            scope.spawn(move || {
                let mut m = vm.runtime.attach().unwrap();
                let mut waiting = std::collections::VecDeque::new();
                for n in 0..EACH {
                    let v = m.alloc(vm.t).unwrap();
                    let number = 1 + thread * EACH + n;
                    let added = m.add_cleanup(v, cleanup, number).unwrap();
                    waiting.push_back((number, added));
                    if n % 400 == 399 {
                        m.gc().unwrap();
                    }
                    m.safepoint();
                    // Without a mutator of its own, as any thread may.
                    if waiting.len() > 100
                        && let Some((number, added)) = waiting.pop_front()
                        && m.native(|| added.stop().is_cancelled())
                    {
                        stopped.fetch_add(number, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    vm.collect();
    let all = THREADS * EACH;
    let (ran, stopped) = (ran.load(Ordering::Relaxed), stopped.into_inner());
    assert_eq!(ran + stopped, all * (all + 1) / 2);
    assert!(ran > 0 && stopped > 0);
    drop(cleanup);
    vm.collect();
    let stats = vm.runtime.stats();
    assert_eq!((stats.cleanups, stats.shapes), (0, 0));
}

/// What a cleanup is called with lies in an object of the heap if it is long. It was checked when
/// the cleanup was added, so nobody writes to it later.
#[test]
fn an_argument_that_was_checked_stays_as_it_is() {
    let vm = Vm::new();
    let types = vm.runtime.types();
    let three = types
        .define("main.Three", "struct { A, B, C *uint64 }")
        .unwrap();
    let signature = types.parse_signature("func(main.Three)").unwrap();
    let builder = CleanupFn::builder(signature, Abi::host_native().unwrap());
    // SAFETY: I8: a C function of a struct of three pointers, of which it reads those that are not
    // nil.
    let cleanup = unsafe { builder.at(first_of_three as *const ()) };
    let (object, number) = vm.enter(|m| {
        let (object, number) = (m.alloc(vm.t).unwrap(), m.alloc(types.id("uint64").unwrap()));
        let number = number.unwrap();
        m.store_word(number, 0, NUMBER).unwrap();
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&number.addr().to_ne_bytes());
        m.add_cleanup(object, &cleanup, &bytes[..]).unwrap();
        (m.root(object).unwrap(), number.addr())
    });
    let at = vm.runtime.why_alive(number).unwrap().unwrap().path[0].object;
    vm.enter(|m| {
        let argument = m.adopt(at).unwrap();
        let sealed = |what: &str, found: Result<(), AccessError>| {
            let kind = found.as_ref().map_err(AccessError::kind);
            assert!(
                matches!(kind, Err(AccessErrorKind::Sealed { .. })),
                "{what}: {found:?}"
            );
        };
        sealed("store_addr", m.store_addr(argument, 0, 0x4141_4140));
        sealed("store_word", m.store_word(argument, 8, 1));
        sealed("store_bytes", m.store_bytes(argument, 0, &[1]));
        sealed("store_ref", m.store_ref(argument, 0, None));
        sealed("load_word", m.load_word(argument, 8).map(drop));
        let ty = m.type_of(argument).unwrap();
        sealed("field", vm.runtime.field::<u64>(ty.id(), 0).map(drop));
        sealed("ref_field", vm.runtime.ref_field(ty.id(), 0).map(drop));
        // Nor does a function get it that may write to what it is called with.
        let any = FinalizerFn::from_rust_of_any_object(|_, _| ());
        let set = m.set_finalizer(argument, &any);
        assert!(
            matches!(set, Err(SetFinalizerError::NotInHeap { .. })),
            "{set:?}"
        );
        let pointer = m
            .types()
            .desc(m.types().pointer_to(ty.id()).unwrap())
            .unwrap();
        for parameter in [
            "unsafe.Pointer".to_owned(),
            pointer.ty().to_string(),
            "any".to_owned(),
        ] {
            let (takes, _calls) = vm.cleanup_sender(&format!("func({parameter})"));
            let added = m.add_cleanup(m.get(&object).unwrap(), &takes, argument);
            assert!(added.is_err(), "{parameter}: {added:?}");
        }
        let mut slice = [0; 24];
        slice[..8].copy_from_slice(&at.to_ne_bytes());
        slice[8..16].copy_from_slice(&3u64.to_ne_bytes());
        slice[16..].copy_from_slice(&3u64.to_ne_bytes());
        for parameter in ["[]uint64", "[]*uint64"] {
            let (takes, _calls) = vm.cleanup_sender(&format!("func({parameter})"));
            let added = m.add_cleanup(m.get(&object).unwrap(), &takes, &slice[..]);
            assert!(added.is_err(), "{parameter}: {added:?}");
        }
    });
    // A struct of the program's that looks the same is another type.
    let same = types
        .id("struct { Argument main.Three; Results [0]uint64 }")
        .unwrap();
    vm.enter(|m| m.store_addr(m.alloc(same).unwrap(), 0, number).unwrap());
    assert_eq!(types.desc(three).unwrap().size(), 24);
    drop(object);
    vm.collect();
    assert_eq!(SEEN.load(Ordering::SeqCst), NUMBER);
}

static SEEN: AtomicU64 = AtomicU64::new(0);

#[repr(C)]
struct Three([*const u64; 3]);

extern "C" fn first_of_three(argument: Three) {
    for pointer in argument.0.into_iter().filter(|pointer| !pointer.is_null()) {
        // SAFETY: I18: a pointer that was checked to lead to a number.
        SEEN.fetch_add(unsafe { *pointer }, Ordering::SeqCst);
    }
}
