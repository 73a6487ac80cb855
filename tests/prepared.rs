//! Finalizers prepared for a type, finalizers of all objects of a type, bulk finalizers, grouped
//! drains.

use std::sync::{Arc, Mutex};

use fing::error::SetFinalizerError;
use fing::executor::DrainOrder;
use fing::stubs::faults::{HostFault, plant};
use fing::{
    Abi, Arch, CallStage, Executor, FinalizerFn, FinalizerState, HeapOptions, HeldValue, Mutator,
    Obj, Order, PreparedFinalizer, Runtime, TypeId,
};

/// What finalizers of a test were called with.
#[derive(Default)]
struct Log {
    calls: Mutex<Vec<Vec<usize>>>,
    runtime: Mutex<Option<Runtime>>,
}

impl Log {
    fn take(&self) -> Vec<Vec<usize>> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// All objects, in order.
    fn objects(&self) -> Vec<usize> {
        self.take().concat()
    }
}

extern "C" fn note(object: usize, log: &Log) {
    log.calls.lock().unwrap().push(vec![object]);
}

/// As `note`, of another address.
extern "C" fn note_second(object: usize, log: &Log) {
    log.calls.lock().unwrap().push(vec![object, 0]);
}

/// An interface, by value.
#[repr(C)]
struct Any(usize, usize);

extern "C" fn note_any(Any(_, object): Any, log: &Log) {
    log.calls.lock().unwrap().push(vec![object]);
}

extern "C-unwind" fn note_all(first: *const usize, count: usize, log: &Log) {
    // SAFETY: I6: a bulk finalizer is given an array of that many objects.
    let objects = unsafe { std::slice::from_raw_parts(first, count) };
    log.calls.lock().unwrap().push(objects.to_vec());
    let runtime = log.runtime.lock().unwrap().clone();
    if let Some(runtime) = runtime {
        let freed = runtime.gc().unwrap().freed_objects;
        log.calls.lock().unwrap().push(vec![freed]);
        panic!("all of them");
    }
}

#[path = "support/child.rs"]
mod child;

struct World {
    runtime: Runtime,
    ty: TypeId,
    log: Box<Log>,
}

fn world() -> World {
    world_of(DrainOrder::Lifo)
}

fn world_of(policy: DrainOrder) -> World {
    world_of_order(policy, Order::default())
}

fn world_of_order(policy: DrainOrder, order: Order) -> World {
    let heap = HeapOptions::default().poison(true);
    let runtime = Runtime::builder()
        .executor(Executor::Inline)
        .drain_order(policy)
        .order(order)
        .heap(heap)
        .on_failure(|_| ())
        .build()
        .unwrap();
    let text = "struct { P *main.T; N uint64 }";
    let ty = runtime.types().define("main.T", text).unwrap();
    World {
        runtime,
        ty,
        log: Box::default(),
    }
}

impl World {
    fn function(&self, signature: &str, code: *const ()) -> FinalizerFn {
        let signature = self.runtime.types().parse_signature(signature).unwrap();
        let builder =
            FinalizerFn::builder(signature, Abi::host_native().unwrap()).context(self.context());
        // SAFETY: I8: every function of this file is System V, of the signature it is given here,
        // and `log` lives on.
        unsafe { builder.at(code) }
    }

    fn context(&self) -> usize {
        &raw const *self.log as usize
    }

    fn note(&self) -> FinalizerFn {
        self.function("func(*main.T)", note as *const ())
    }

    fn prepared(&self) -> PreparedFinalizer {
        self.runtime
            .prepare_finalizer(self.ty, &self.note())
            .unwrap()
    }

    fn bulk(&self) -> PreparedFinalizer {
        let types = self.runtime.types();
        let signature = types.parse_signature("func(**main.T, uint) int").unwrap();
        let builder =
            FinalizerFn::builder(signature, Abi::host_native().unwrap()).context(self.context());
        // SAFETY: I8: as above.
        let function = unsafe { builder.bulk().at(note_all as *const ()) };
        self.runtime.prepare_finalizer(self.ty, &function).unwrap()
    }

    fn enter<R>(&self, body: impl FnOnce(&mut Mutator) -> R) -> R {
        self.runtime.enter(body).unwrap()
    }

    /// Makes objects; their addresses.
    fn make(&self, n: usize, each: impl Fn(usize, &Mutator, Obj<'_>)) -> Vec<usize> {
        self.enter(|m| {
            let make = |i| {
                let object = m.alloc(self.ty).unwrap();
                each(i, m, object);
                object.addr()
            };
            (0..n).map(make).collect()
        })
    }

    /// Collects and runs what is due; how many calls that were.
    fn cycle(&self) -> u64 {
        self.runtime.gc().unwrap();
        self.runtime.run_finalizers().unwrap()
    }

    fn finalizers(&self) -> u64 {
        self.runtime.stats().finalizers
    }
}

fn reversed(mut addrs: Vec<usize>) -> Vec<usize> {
    addrs.reverse();
    addrs
}

#[test]
fn prepared_finalizers_run_once_newest_first() {
    let world = world();
    let close = world.prepared();
    assert_eq!(
        (close.ty(), close.function().signature().to_string()),
        (world.ty, "func(*main.T)".into())
    );
    let addrs = world.make(1000, |_, _, object| close.set(object).unwrap());
    assert_eq!(world.finalizers(), 1000);
    assert_eq!(world.cycle(), 1000);
    assert_eq!(world.log.objects(), reversed(addrs));
    assert_eq!((world.finalizers(), world.cycle()), (0, 0));
    // The cells are used again, and nothing is left in them.
    world.make(1000, |i, _, object| {
        if i % 2 == 0 {
            close.set(object).unwrap();
        }
    });
    assert_eq!(
        (world.finalizers(), world.cycle(), world.cycle()),
        (500, 500, 0)
    );
}

#[test]
fn cleared_finalizers_do_not_run() {
    let world = world();
    let (close, other) = (world.prepared(), world.prepared());
    let addrs = world.make(10, |i, _, object| {
        close.set(object).unwrap();
        // Prepared apart, and another one all the same.
        assert!(!other.clear(object).unwrap().is_cancelled());
        assert!(i % 2 == 0 || close.clear(object).unwrap().is_cancelled());
        assert!(i % 2 == 0 || !close.clear(object).unwrap().is_cancelled());
        if i == 3 {
            close.set(object).unwrap();
        }
    });
    assert_eq!(world.finalizers(), 6);
    assert_eq!(world.cycle(), 6);
    let due = [0, 2, 3, 4, 6, 8].map(|i| addrs[i]);
    assert_eq!(world.log.objects(), reversed(due.to_vec()));
}

#[test]
fn both_ways_of_registering_see_each_other() {
    let world = world();
    let (close, note) = (world.prepared(), world.note());
    world.make(1, |_, m, object| {
        close.set(object).unwrap();
        let second = m.set_finalizer(object, &note);
        assert!(matches!(second, Err(SetFinalizerError::AlreadySet { .. })));
        let cleared = m.clear_finalizer(object).unwrap();
        assert_eq!(cleared, FinalizerState::Cleared(CallStage::Registered));
        assert!(!close.clear(object).unwrap().is_cancelled());
        m.set_finalizer(object, &note).unwrap();
        let error = close.set(object).unwrap_err();
        assert!(
            matches!(error, SetFinalizerError::AlreadySet { .. }),
            "{error}"
        );
        assert_eq!(
            error.go_text().as_deref(),
            Some("runtime.SetFinalizer: finalizer already set")
        );
    });
    assert_eq!((world.cycle(), world.log.take().len()), (1, 1));
    // Both can still be registered.
    assert_eq!(world.runtime.stats().shapes, 2);
    drop((close, note));
    assert_eq!((world.cycle(), world.runtime.stats().shapes), (0, 0));
}

#[test]
fn misuse_is_an_error_and_changes_nothing() {
    let (world, foreign) = (world(), world());
    let close = world.prepared();
    let other = world.runtime.types().id("[5]int").unwrap();
    world.enter(|m| {
        let object = m.alloc(other).unwrap();
        let error = close.set(object).unwrap_err();
        assert!(matches!(error, SetFinalizerError::OtherType { .. }));
        assert_eq!(
            error.to_string(),
            format!(
                "set_finalizer: the object at {:#x} is a [5]int, wanted a main.T",
                object.addr()
            )
        );
        assert!(matches!(
            close.clear(object),
            Err(SetFinalizerError::OtherType { .. })
        ));
    });
    foreign.enter(|m| {
        let object = m.alloc(foreign.ty).unwrap();
        let not_here = |outcome: Result<(), SetFinalizerError>| {
            assert!(
                matches!(outcome, Err(SetFinalizerError::NotInHeap { .. })),
                "{outcome:?}"
            );
        };
        not_here(close.set(object));
        not_here(close.clear(object).map(drop));
        // Also while the thread runs with a mutator of the finalizer's own runtime.
        world.enter(|_| {
            not_here(close.set(object));
            not_here(close.clear(object).map(drop));
        });
    });
    let prepare = |ty, signature, code| {
        let function = world.function(signature, code);
        world.runtime.prepare_finalizer(ty, &function)
    };
    let mismatch = prepare(other, "func(*main.T)", note as *const ());
    assert!(matches!(
        mismatch,
        Err(SetFinalizerError::NotAssignable { .. })
    ));
    let nil = prepare(world.ty, "func(*main.T)", std::ptr::null());
    assert!(matches!(nil, Err(SetFinalizerError::NilFunction { .. })));
    let two = prepare(world.ty, "func(*main.T, int)", note as *const ());
    assert!(matches!(two, Err(SetFinalizerError::ParameterCount { .. })));
    let unknown = world.runtime.prepare_finalizer(foreign.ty, &world.note());
    assert!(matches!(unknown, Err(SetFinalizerError::ObjectType(_))));
    assert_eq!((world.finalizers(), world.cycle()), (0, 0));
}

#[test]
fn objects_without_size_never_die() {
    let world = world();
    let empty = world.runtime.types().id("struct {}").unwrap();
    let function = world.function("func(interface {})", note_any as *const ());
    let close = world.runtime.prepare_finalizer(empty, &function).unwrap();
    close.set_for_all().unwrap();
    world.enter(|m| {
        let object = m.alloc(empty).unwrap();
        close.set(object).unwrap();
        assert!(!close.clear(object).unwrap().is_cancelled());
    });
    assert_eq!((world.finalizers(), world.cycle()), (0, 0));
}

#[test]
fn interfaces_hold_the_object() {
    let world = world();
    let function = world.function("func(interface {})", note_any as *const ());
    let close = world
        .runtime
        .prepare_finalizer(world.ty, &function)
        .unwrap();
    let addrs = world.make(600, |_, _, object| close.set(object).unwrap());
    assert_eq!(world.cycle(), 600);
    assert_eq!(world.log.objects(), reversed(addrs));
}

#[test]
fn a_referrer_is_finalized_before_what_it_refers_to() {
    for imply in [false, true] {
        let world = world();
        let close = world.prepared();
        if imply {
            close.set_for_all().unwrap();
        }
        let addrs = world.enter(|m| {
            let all: Vec<_> = (0..3).map(|_| m.alloc(world.ty).unwrap()).collect();
            for i in 0..3 {
                let to = all.get(i + 1).copied().unwrap_or(all[i]);
                m.store_ref(all[i], 0, Some(to)).unwrap();
                if !imply {
                    close.set(all[i]).unwrap();
                }
            }
            all.iter().map(|object| object.addr()).collect::<Vec<_>>()
        });
        for addr in addrs {
            assert_eq!((world.cycle(), world.log.objects()), (1, vec![addr]));
        }
    }
}

#[test]
fn a_function_is_kept_while_somebody_can_need_it() {
    let world = world();
    let owner = Arc::new(());
    let types = world.runtime.types();
    let signature = types.parse_signature("func(*main.T)").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(world.context())
        .keep_alive(owner.clone());
    // SAFETY: I8: as above.
    let function = unsafe { builder.at(note as *const ()) };
    let close = world
        .runtime
        .prepare_finalizer(world.ty, &function)
        .unwrap();
    drop(function);
    let kept = world.enter(|m| {
        let object = m.alloc(world.ty).unwrap();
        close.set(object).unwrap();
        m.root(object)
    });
    // By the handle, ...
    world.cycle();
    let clone = close.clone();
    drop(close);
    assert_eq!(world.runtime.stats().shapes, 1);
    // ... by the object, ...
    drop(clone);
    world.cycle();
    assert_eq!(Arc::strong_count(&owner), 2);
    // ... by the call that is queued, ...
    drop(kept);
    world.runtime.gc().unwrap();
    assert_eq!(Arc::strong_count(&owner), 2);
    assert_eq!(world.runtime.run_finalizers().unwrap(), 1);
    // ... and then no longer.
    world.cycle();
    assert_eq!(
        (Arc::strong_count(&owner), world.runtime.stats().shapes),
        (1, 0)
    );
}

#[test]
fn all_objects_of_a_type_have_its_finalizer() {
    let world = world();
    let close = world.prepared();
    close.set_for_all().unwrap();
    let twice = close.set_for_all().unwrap_err();
    assert!(
        matches!(twice, SetFinalizerError::HasObjects { .. }),
        "{twice}"
    );
    let other = world.runtime.types().id("[2]int").unwrap();
    for round in 0..3 {
        let addrs = world.make(5000, |i, m, object| {
            // Others of the size have none.
            m.alloc(other).unwrap();
            let taken = matches!(close.set(object), Err(SetFinalizerError::AlreadySet { .. }));
            assert!(taken);
            assert!(i % 5 != 0 || close.clear(object).unwrap().is_cancelled());
        });
        assert_eq!(
            (world.finalizers(), world.cycle()),
            (4000, 4000),
            "round {round}"
        );
        let due = addrs.iter().enumerate().filter(|(i, _)| i % 5 != 0);
        assert_eq!(
            world.log.objects(),
            reversed(due.map(|(_, addr)| *addr).collect())
        );
        assert_eq!((world.finalizers(), world.cycle()), (0, 0));
    }
    // Dropping the handle leaves the type its finalizer.
    drop(close);
    world.cycle();
    world.make(10, |_, _, _| ());
    assert_eq!(world.cycle(), 10);
}

#[test]
fn an_object_that_was_finalized_can_have_another_finalizer() {
    let world = world();
    let close = world.prepared();
    close.set_for_all().unwrap();
    let second = world.function("func(*main.T)", note_second as *const ());
    let addrs = world.make(2, |_, _, _| ());
    world.runtime.gc().unwrap();
    // Both are queued, and alive until they have run.
    world.enter(|m| {
        let object = m.adopt(addrs[0]).unwrap();
        let set = m.set_finalizer(object, &second).unwrap();
        assert_eq!(set, FinalizerState::Set);
    });
    assert_eq!(world.runtime.run_finalizers().unwrap(), 2);
    assert_eq!(world.log.objects(), [addrs[1], addrs[0]]);
    assert_eq!((world.cycle(), world.log.objects()), (1, vec![addrs[0], 0]));
    assert_eq!(world.cycle(), 0);
}

#[test]
fn a_type_that_has_objects_stays_as_it_is() {
    let world = world();
    let close = world.prepared();
    world.make(1, |_, _, _| ());
    let late = close.set_for_all().unwrap_err();
    assert_eq!(
        late.to_string(),
        "set_for_all: the type main.T has objects or a finalizer for all of them, \
         wanted a type without either"
    );
    assert_eq!((late.go_text(), world.cycle()), (None, 0));
}

#[test]
fn large_objects_can_have_an_implied_finalizer() {
    let world = world();
    let large = world.runtime.types().id("[20000]*int").unwrap();
    let function = world.function("func(interface {})", note_any as *const ());
    let close = world.runtime.prepare_finalizer(large, &function).unwrap();
    close.set_for_all().unwrap();
    let addrs = world.enter(|m| [0; 3].map(|_| m.alloc(large).unwrap().addr()));
    assert_eq!((world.finalizers(), world.cycle()), (3, 3));
    assert_eq!(world.log.objects(), reversed(addrs.to_vec()));
    assert_eq!(world.runtime.gc().unwrap().freed_objects, 3);
}

#[test]
fn bulk_finalizers_take_runs_of_their_type() {
    let world = world();
    let (bulk, single) = (world.bulk(), world.prepared());
    let addrs = world.make(2000, |i, _, object| {
        let of = if i == 1000 { &single } else { &bulk };
        of.set(object).unwrap();
    });
    assert_eq!(world.cycle(), 2000);
    let calls = world.log.take();
    assert_eq!(calls.concat(), reversed(addrs));
    assert!(calls.iter().all(|call| call.len() <= 512));
    assert!(
        calls.len() <= 2000_usize.div_ceil(512) + 3,
        "{} calls",
        calls.len()
    );
    assert!(calls.iter().any(|call| call.len() == 1));
}

/// Two words that are passed as an interface would be are seen, planted in a process of its own,
/// where an interface travels by reference.
#[test]
fn bulk_words_passed_as_an_interface_are_seen() {
    if child::is_child("words") {
        plant(HostFault::WordsAsInterface);
        return bulk_finalizers_take_runs_of_their_type();
    }
    let output = child::run("bulk_words_passed_as_an_interface_are_seen", "words");
    let by_reference = Arch::host() == Some(Arch::S390x);
    assert_eq!(output.status.success(), !by_reference, "{output:?}");
}

#[test]
fn a_bulk_finalizer_keeps_all_its_objects_and_panics_once() {
    let world = world();
    let bulk = world.bulk();
    let addrs = world.make(100, |_, _, object| bulk.set(object).unwrap());
    *world.log.runtime.lock().unwrap() = Some(world.runtime.clone());
    assert_eq!(world.cycle(), 100);
    *world.log.runtime.lock().unwrap() = None;
    // It collected before it returned, and nothing was freed.
    assert_eq!(world.log.take(), [reversed(addrs), vec![0]]);
    assert_eq!(world.runtime.stats().failed, 1);
    assert_eq!(
        (world.runtime.gc().unwrap().freed_objects, world.cycle()),
        (100, 0)
    );
}

#[test]
fn bulk_finalizers_are_checked() {
    let world = world();
    let prepare = |signature: &str, abi| {
        let signature = world.runtime.types().parse_signature(signature).unwrap();
        let builder = FinalizerFn::builder(signature, abi);
        // SAFETY: I8: never called.
        let function = unsafe { builder.bulk().at(note_all as *const ()) };
        world.runtime.prepare_finalizer(world.ty, &function)
    };
    for signature in ["func(**main.T, int)", "func(**main.T, uintptr) (int, int)"] {
        prepare(signature, Abi::host_native().unwrap()).unwrap();
        let go = Abi::go(Arch::host().unwrap());
        for count in 0..=go.int_regs() {
            prepare(signature, go.with_int_arg_regs(count).unwrap()).unwrap();
        }
    }
    let bad = [
        ("func(*main.T, int)", Abi::host_native().unwrap()),
        ("func(**main.T)", Abi::host_native().unwrap()),
        ("func(**main.T, int32)", Abi::host_native().unwrap()),
        ("func(*interface {}, int)", Abi::host_native().unwrap()),
        ("func(**int, int)", Abi::host_native().unwrap()),
    ];
    for (signature, abi) in bad {
        let refused = prepare(signature, abi);
        assert!(
            matches!(refused, Err(SetFinalizerError::NotBulk { .. })),
            "{signature}: {refused:?}"
        );
    }
}

#[test]
fn grouped_drains_run_everything_once_function_by_function() {
    let world = world_of(DrainOrder::Grouped);
    let kinds = [note as *const (), note_second as *const ()]
        .map(|code| world.function("func(*main.T)", code))
        .map(|function| {
            world
                .runtime
                .prepare_finalizer(world.ty, &function)
                .unwrap()
        });
    let mut both = [Vec::new(), Vec::new()];
    for _ in 0..2 {
        let addrs = world.make(3000, |i, _, object| {
            kinds[usize::from(i % 3 == 0)].set(object).unwrap();
        });
        for (i, addr) in addrs.into_iter().enumerate() {
            both[usize::from(i % 3 == 0)].push(addr);
        }
        // Two collections, one drain.
        world.runtime.gc().unwrap();
    }
    assert_eq!(world.runtime.run_finalizers().unwrap(), 6000);
    let calls = world.log.take();
    let of = |again: bool| -> Vec<usize> {
        let calls = calls.iter().filter(|call| (call.len() == 2) == again);
        calls.map(|call| call[0]).collect()
    };
    let [plain, again] = both;
    assert_eq!((of(false), of(true)), (reversed(plain), reversed(again)));
    let turns = calls
        .windows(2)
        .filter(|pair| pair[0].len() != pair[1].len());
    assert!(turns.count() <= 6000 / 512 + 2);
}

#[test]
fn the_queue_gives_back_what_a_burst_has_left() {
    let world = world();
    let close = world.prepared();
    let blocks = || world.runtime.stats().queue_blocks;
    let burst = |n: usize| {
        world.make(n, |_, _, object| close.set(object).unwrap());
        assert_eq!(world.cycle(), n as u64);
    };
    // One is what they are unpacked into.
    let full = 20_000_usize.div_ceil(512) + 1;
    burst(20_000);
    assert_eq!(blocks(), full);
    burst(20_000);
    assert_eq!(blocks(), full);
    burst(1);
    burst(1);
    assert!(blocks() <= 3, "{} blocks", blocks());
}

#[test]
fn tiny_values_are_registered_one_by_one() {
    let heap = HeapOptions::default().tiny(true);
    let runtime = Runtime::builder().heap(heap).build().unwrap();
    let types = runtime.types();
    let ty = types.define("main.Tiny", "int32").unwrap();
    let signature = types.parse_signature("func(*main.Tiny)").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap());
    // SAFETY: I8: never called.
    let function = unsafe { builder.at(note as *const ()) };
    let close = runtime.prepare_finalizer(ty, &function).unwrap();
    let all = close.set_for_all();
    assert!(
        matches!(all, Err(SetFinalizerError::Tiny { .. })),
        "{all:?}"
    );
    let one = runtime.enter(|m| close.set(m.alloc(ty).unwrap()));
    assert!(matches!(one, Ok(Err(SetFinalizerError::Tiny { .. }))));
}

#[test]
fn topological_order_is_kept_whatever_the_policy() {
    for policy in [DrainOrder::Lifo, DrainOrder::Grouped] {
        let world = world_of_order(policy, Order::Topological);
        let kinds = [note as *const (), note_second as *const ()]
            .map(|code| world.function("func(*main.T)", code))
            .map(|function| {
                let prepared = world.runtime.prepare_finalizer(world.ty, &function);
                prepared.unwrap()
            });
        let addrs = world.enter(|m| {
            let all: Vec<_> = (0..100).map(|_| m.alloc(world.ty).unwrap()).collect();
            for (i, &object) in all.iter().enumerate() {
                m.store_ref(object, 0, all.get(i + 1).copied()).unwrap();
                kinds[i % 2].set(object).unwrap();
            }
            all.iter().map(|object| object.addr()).collect::<Vec<_>>()
        });
        assert_eq!((world.cycle(), world.finalizers()), (100, 0));
        let calls = world.log.take();
        assert_eq!(calls.iter().map(|call| call[0]).collect::<Vec<_>>(), addrs);
        assert_eq!(world.cycle(), 0);
    }
}

/// Any address may be given, and only an object of the type that starts there is set.
#[test]
fn a_finalizer_is_set_by_an_address() {
    let runtime = Runtime::builder()
        .executor(Executor::Inline)
        .build()
        .unwrap();
    let types = runtime.types();
    let file = types
        .define("main.File", "struct { FD uint64; Next *main.File }")
        .unwrap();
    let other = types
        .define("main.Other", "struct { FD uint64; Next *main.File }")
        .unwrap();
    let closed = Arc::new(Mutex::new(Vec::new()));
    let log = closed.clone();
    let close = FinalizerFn::from_rust_with_word(
        types.parse_signature("func(*main.File)").unwrap(),
        move |_, _, number| log.lock().unwrap().push(number),
    );
    let close = runtime.prepare_finalizer(file, &close).unwrap();
    let stranger = Runtime::new().unwrap();
    let word = |number| HeldValue::Word(number);
    runtime
        .enter(|m| {
            let at = m.alloc(file).unwrap().addr();
            let another = m.alloc(other).unwrap().addr();
            let window = m.window(file).unwrap();
            let taken = m.alloc_in(&window).unwrap().addr();
            close.set_at(m, at, word(1)).unwrap();
            close.set_at(m, taken, word(2)).unwrap();
            let outside = [
                0,
                8,
                at + 8,
                at - 8,
                taken + window.stride(),
                usize::MAX,
                1 << 50,
            ];
            for addr in outside {
                let set = close.set_at(m, addr, word(3));
                let refused = matches!(set, Err(SetFinalizerError::NotInHeap { .. }));
                assert!(refused, "{addr:#x}: {set:?}");
            }
            let set = close.set_at(m, another, word(4));
            assert!(
                matches!(set, Err(SetFinalizerError::OtherType { .. })),
                "{set:?}"
            );
            let set = close.set_at(m, at, word(5));
            assert!(
                matches!(set, Err(SetFinalizerError::AlreadySet { .. })),
                "{set:?}"
            );
            let object = m.alloc(file).unwrap();
            let set = close.set_at(m, object.addr(), HeldValue::Object(object));
            assert!(
                matches!(set, Err(SetFinalizerError::Context { .. })),
                "{set:?}"
            );
            // A mutator of another runtime, which has no such object.
            let set = stranger
                .enter(|other| close.set_at(other, at, word(6)))
                .unwrap();
            assert!(
                matches!(set, Err(SetFinalizerError::NotInHeap { .. })),
                "{set:?}"
            );
        })
        .unwrap();
    runtime.gc().unwrap();
    assert_eq!(runtime.run_finalizers(), Ok(2));
    closed.lock().unwrap().sort_unstable();
    assert_eq!(*closed.lock().unwrap(), [1, 2]);
}
