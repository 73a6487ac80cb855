//! Go's runtime/mfinal_test.go, rule by rule; each test has the name of Go's.

#[path = "support/vm.rs"]
#[expect(dead_code, reason = "no cleanups")]
mod vm;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fing::failure::Cause;
use fing::{FinalizerFn, FinalizerState, KeepAlive, Pointer, Runtime};
use vm::{LONG, Vm, sent};

/// No calls.
const NOTHING: [[usize; 2]; 0] = [];

const NUMBER: u64 = 97531;

/// Type of the object's pointer, and the finalizer that takes it.
const FINALIZER_TYPES: [(&str, &str); 6] = [
    ("*int", "func(*int)"),
    ("main.Tintptr", "func(main.Tintptr)"),
    ("main.Tintptr", "func(*int)"),
    ("*main.Tint", "func(*main.Tint)"),
    ("*main.Tint", "func(main.Tinter)"),
    // The argument's spill slot must be part of the frame: golang/go#51457.
    ("*int", "func(any) [4]int64"),
];

#[test]
fn test_finalizer_type() {
    let vm = Vm::new();
    let types = vm.runtime.types();
    types.define("main.Tintptr", "*int").unwrap();
    types.define("main.Tint", "int").unwrap();
    types.define("main.Tinter", "interface { m() }").unwrap();
    types.add_method("*main.Tint", "m", "func()", 0).unwrap();
    for (object, finalizer) in FINALIZER_TYPES {
        let (function, calls) = vm.sender(finalizer);
        let ty = types.id(object).unwrap();
        let element = types.element(ty).unwrap().unwrap();
        let element = types.desc(element).unwrap().ty().clone();
        // The number at the start of a block with a pointer, which Go's tiny allocator does not
        // take.
        let block = format!("struct {{ V {element}; P unsafe.Pointer }}");
        let block = types.id(&block).unwrap();
        let addr = vm.enter(|m| {
            let t = m.alloc(block).unwrap();
            m.store_word(t, 0, NUMBER).unwrap();
            let state = m.set_finalizer(Pointer::typed(ty, t.addr()), &function);
            assert_eq!(state.unwrap(), FinalizerState::Set, "{object} {finalizer}");
            t.addr()
        });
        vm.runtime.gc().unwrap();
        let words = calls.recv_timeout(LONG).unwrap();
        let parameter = function.signature().arguments().next().unwrap().clone();
        let expected = match finalizer {
            "func(main.Tinter)" => {
                let itab = types.itab(types.intern(&parameter).unwrap(), ty).unwrap();
                [itab.address(), addr]
            }
            "func(any) [4]int64" => [types.desc(ty).unwrap().address(), addr],
            _ => [addr, 0],
        };
        assert_eq!(words, expected, "{object} {finalizer}");
        vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
        let number = vm.enter(|m| m.load_word(m.adopt(addr).unwrap(), 0).unwrap());
        assert_eq!(number, NUMBER, "revived as it was");
    }
}

#[test]
fn test_finalizer_interface_big() {
    const TEXT: &[u8] = b"It matters not how strait the gate";
    let vm = Vm::new();
    let types = vm.runtime.types();
    let big = types
        .define(
            "main.bigValue",
            "struct { fill uint64; it bool; up string }",
        )
        .unwrap();
    let bytes = types.id(&format!("[{}]uint8", TEXT.len())).unwrap();
    let pointer = types
        .desc(types.pointer_to(big).unwrap())
        .unwrap()
        .address();
    let (runtime, seen) = (vm.runtime.clone(), Arc::new(Mutex::new(None)));
    let told = seen.clone();
    let finalizer = vm.function("func(any)", move |[ty, object]| {
        let value = runtime.enter(|m| {
            let object = m.adopt(object).unwrap();
            let mut up = vec![0; m.load_word(object, 24).unwrap() as usize];
            m.load_bytes(m.load_ref(object, 16).unwrap().unwrap(), 0, &mut up)
                .unwrap();
            let mut it = [0];
            m.load_bytes(object, 8, &mut it).unwrap();
            (ty, m.load_word(object, 0).unwrap(), it[0], up)
        });
        *told.lock().unwrap() = Some(value.unwrap());
    });
    vm.enter(|m| {
        let (object, up) = (m.alloc(big).unwrap(), m.alloc(bytes).unwrap());
        m.store_bytes(up, 0, TEXT).unwrap();
        m.store_word(object, 0, 0xdead_beef_dead_beef).unwrap();
        m.store_bytes(object, 8, &[1]).unwrap();
        m.store_ref(object, 16, Some(up)).unwrap();
        m.store_word(object, 24, TEXT.len() as u64).unwrap();
        m.set_finalizer(object, &finalizer).unwrap();
    });
    vm.collect();
    let value = seen.lock().unwrap().take();
    assert_eq!(
        value,
        Some((pointer, 0xdead_beef_dead_beef, 1, TEXT.to_vec()))
    );
}

#[test]
fn test_finalizer_zero_sized_struct() {
    let vm = Vm::new();
    let z = vm.runtime.types().define("main.Z", "struct {}").unwrap();
    let (finalizer, calls) = vm.sender("func(*main.Z)");
    let pointer = vm.runtime.types().pointer_to(z).unwrap();
    vm.enter(|m| {
        let nothing = Pointer::typed(pointer, m.alloc(z).unwrap().addr());
        let state = m.set_finalizer(nothing, &finalizer);
        assert_eq!(state.unwrap(), FinalizerState::Ignored);
    });
    vm.collect();
    assert_eq!(sent(&calls), NOTHING);
}

/// Sizes of neighbours: one that fills its cell, one that does not, and one with blocks of its own.
const NEIGHBOURS: [usize; 4] = [312, 320, 8, 65_520];

/// Two objects of one size, side by side. `holder` is given the address just behind the first,
/// which keeps neither it nor the second; a byte before, it keeps the first.
fn neighbours(holder: &str) {
    for size in NEIGHBOURS {
        let vm = Vm::new();
        let types = vm.runtime.types();
        let bytes = types.id(&format!("[{size}]uint8")).unwrap();
        let holder = types.define("main.Holder", holder).unwrap();
        let (finalizer, calls) = vm.sender(&format!("func(*[{size}]uint8)"));
        let (held, [x, y]) = vm.enter(|m| {
            let objects = [m.alloc(bytes).unwrap(), m.alloc(bytes).unwrap()];
            for object in objects {
                m.set_finalizer(object, &finalizer).unwrap();
            }
            let held = m.alloc(holder).unwrap();
            let [x, y] = objects.map(|object| object.addr());
            m.store_addr(held, 0, x.min(y) + size - 1).unwrap();
            (m.root(held).unwrap(), [x.min(y), x.max(y)])
        });
        vm.collect();
        assert_eq!(
            sent(&calls),
            [[y, 0]],
            "{size} bytes: the last byte is in the object"
        );
        vm.enter(|m| m.store_addr(m.get(&held).unwrap(), 0, x + size).unwrap());
        vm.collect();
        assert_eq!(
            sent(&calls),
            [[x, 0]],
            "{size} bytes: behind the last byte is not"
        );
    }
}

#[test]
fn test_empty_slice() {
    neighbours("struct { S []uint8 }");
}

#[test]
fn test_empty_string() {
    neighbours("struct { S string }");
}

#[test]
fn test_finalizer_on_global() {
    static FOO: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
    let vm = Vm::new();
    let types = vm.runtime.types();
    types
        .define("main.Object1", "struct { Something []uint8 }")
        .unwrap();
    types
        .define("main.Object2", "struct { Something uint8 }")
        .unwrap();
    let start = FOO.as_ptr().addr();
    let rows = [("*main.Object1", start), ("*main.Object2", start + 24)];
    let (finalizer, calls) = vm.sender("func(*main.T, ...int)");
    let set = |ty: &str, addr: usize, finalizer: Option<&FinalizerFn>| {
        let value = Pointer::typed(types.id(ty).unwrap(), addr);
        vm.enter(|m| match finalizer {
            Some(finalizer) => m.set_finalizer(value, finalizer),
            None => m.clear_finalizer(value),
        })
    };
    for (ty, addr) in rows {
        let error = set(ty, addr, Some(&finalizer)).unwrap_err();
        assert_eq!(
            error.go_text().unwrap(),
            "runtime.SetFinalizer: pointer not in allocated block",
            "nobody said that it is a global"
        );
    }
    vm.runtime.add_global(start..start + size_of_val(&FOO));
    for (ty, addr) in rows {
        // The finalizer is never looked at, so one that does not fit is accepted, and accepted
        // twice.
        for finalizer in [Some(&finalizer), Some(&finalizer), None] {
            assert_eq!(set(ty, addr, finalizer).unwrap(), FinalizerState::Ignored);
        }
        assert!(set("int", addr, None).is_err(), "not a pointer");
    }
    assert!(
        set("*main.Object1", start + size_of_val(&FOO), None).is_err(),
        "behind it"
    );
    vm.collect();
    assert_eq!(sent(&calls), NOTHING);
    assert_eq!(vm.runtime.stats().finalizers, 0);
}

#[test]
fn test_defer_keep_alive() {
    let vm = Vm::new();
    let (finalizer, calls) = vm.sender("func(*main.T)");
    {
        let x = KeepAlive::new(vm.rooted());
        vm.enter(|m| {
            let x = m.get(&x).unwrap();
            m.set_finalizer(x, &finalizer).unwrap();
        });
        for _ in 0..3 {
            vm.collect();
        }
        assert_eq!(sent(&calls), NOTHING, "finalizer ran prematurely");
    }
    vm.collect();
    assert_eq!(sent(&calls).len(), 1);
}

/// What a finalizer may do to the thread that runs it, and the finalizers after it run all the
/// same. In Go `Goexit` ends the finalizer goroutine for good, and a panic the program.
#[test]
fn finalization_survives_every_way_out_of_a_finalizer() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the payload of a panic panics");
        }
    }
    let ways: [fn(); 5] = [
        || std::panic::resume_unwind(Box::new("a text")),
        || std::panic::resume_unwind(Box::new(String::from("a string"))),
        || std::panic::resume_unwind(Box::new(7)),
        || std::panic::resume_unwind(Box::new(Bomb)),
        || (),
    ];
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let vm = Vm::with(Runtime::builder().on_failure(|failure| {
        if failure.cause == Cause::Panic("a text".to_owned()) {
            std::panic::resume_unwind(Box::new(Bomb));
        }
    }));
    let (counter, runtime) = (Arc::new(AtomicU64::new(0)), vm.runtime.clone());
    let counted = counter.clone();
    let leave = vm.function("func(*main.T)", move |[object, _]| {
        let way = runtime.enter(|m| m.load_word(m.adopt(object).unwrap(), 0).unwrap());
        counted.fetch_add(1, Ordering::Relaxed);
        ways[way.unwrap() as usize]();
    });
    for round in 1..=3 {
        for number in (0..5).chain(0..5) {
            vm.doomed(number, |m, t| {
                m.set_finalizer(t, &leave).unwrap();
            });
        }
        vm.collect();
        assert_eq!(counter.load(Ordering::Relaxed), 10 * round);
    }
    // What a function keeps alive is dropped by the goroutine as well.
    let kept = KeepAlive::new(Bomb);
    let last = vm.function("func(*main.T)", move |_| fing::keep_alive(&kept));
    vm.doomed(0, |m, t| m.set_finalizer(t, &last).unwrap());
    drop(last);
    vm.collect();
    vm.doomed(4, |m, t| m.set_finalizer(t, &leave).unwrap());
    vm.collect();
    std::panic::set_hook(quiet);
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.failed), (32, 24));
}

/// A finalizer that collects sees its own object alive, and what it has set meanwhile is due the
/// next time.
#[test]
fn a_finalizer_may_set_finalizers_and_collect() {
    let vm = Vm::new();
    let (inner, inner_calls) = vm.sender("func(*main.T)");
    let runtime = vm.runtime.clone();
    let t = vm.t;
    let (outer, outer_calls) = vm.sender("func(*main.T)");
    let setting = vm.function("func(*main.T)", move |[object, _]| {
        runtime
            .enter(|m| {
                let own = m.adopt(object).unwrap();
                let other = m.alloc(t).unwrap();
                // Its own object again, and a new one.
                m.set_finalizer(own, &outer).unwrap();
                m.set_finalizer(other, &inner).unwrap();
            })
            .unwrap();
        runtime.gc().unwrap();
        let number = runtime.enter(|m| m.load_word(m.adopt(object).unwrap(), 0).unwrap());
        assert_eq!(
            number.unwrap(),
            NUMBER,
            "rooted until its finalizer returns"
        );
    });
    let addr = vm.doomed(NUMBER, |m, t| {
        m.set_finalizer(t, &setting).unwrap();
        t.addr()
    });
    vm.collect();
    assert_eq!(
        sent(&inner_calls).len(),
        1,
        "garbage of the finalizer, found by its own collection"
    );
    assert_eq!(sent(&outer_calls), NOTHING);
    vm.collect();
    assert_eq!(sent(&outer_calls), [[addr, 0]]);
    vm.collect();
    assert_eq!(
        (vm.runtime.stats().executed, vm.runtime.stats().failed),
        (3, 0)
    );
}

/// Threads set and clear finalizers while others collect without a pause. A finalizer that was set
/// and not cleared runs once, one that was cleared never.
#[test]
fn finalizers_are_set_and_cleared_during_collections() {
    const EACH: u64 = 400;
    let vm = Vm::new();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (told, runtime) = (calls.clone(), vm.runtime.clone());
    let note = vm.function("func(*main.T)", move |[object, _]| {
        let number = runtime.enter(|m| m.load_word(m.adopt(object).unwrap(), 0).unwrap());
        told.lock().unwrap().push(number.unwrap());
    });
    let collecting = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let registrars: Vec<_> = (0..3)
            .map(|thread| {
                let (vm, note, collecting) = (&vm, &note, &collecting);
                scope.spawn(move || {
                    let before = collecting.load(Ordering::Relaxed);
                    for n in 0..EACH {
                        let number = thread * EACH + n;
                        vm.doomed(number, |m, t| {
                            m.set_finalizer(t, note).unwrap();
                            if number.is_multiple_of(4) {
                                m.clear_finalizer(t).unwrap();
                            }
                        });
                    }
                    while collecting.load(Ordering::Relaxed) < before + 2 {
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        while registrars.iter().any(|thread| !thread.is_finished()) {
            vm.runtime.gc().unwrap();
            collecting.fetch_add(1, Ordering::Relaxed);
        }
    });
    vm.collect();
    let mut numbers = std::mem::take(&mut *calls.lock().unwrap());
    numbers.sort_unstable();
    let wanted: Vec<u64> = (0..3 * EACH).filter(|number| number % 4 != 0).collect();
    assert_eq!(numbers, wanted);
}

/// A reference to itself never keeps an object, however large that is. (Go looks at 128 KiB at a
/// time, and takes a pointer from one such stretch to another for one from somewhere else.)
#[test]
fn self_references_of_large_objects_do_not_count() {
    const WORDS: usize = 40_000;
    let vm = Vm::new();
    let text = format!("struct {{ P unsafe.Pointer; Data [{WORDS}]uint64; Q unsafe.Pointer }}");
    let large = vm.runtime.types().define("main.Large", &text).unwrap();
    let last = 8 + 8 * WORDS;
    let (finalizer, calls) = vm.sender("func(*main.Large)");
    for (from, to) in [(0, 0), (last, 0), (0, last), (last, last)] {
        vm.enter(|m| {
            let object = m.alloc(large).unwrap();
            m.store_addr(object, from, object.addr() + to).unwrap();
            m.set_finalizer(object, &finalizer).unwrap();
        });
        vm.collect();
        assert_eq!(sent(&calls).len(), 1, "from {from} to {to}");
    }
}
