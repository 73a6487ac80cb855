//! Functions that are lent the mutator, Rust closures among them, and calls that do not leave
//! mutators as they found them.

#[path = "support/door.rs"]
#[expect(dead_code, reason = "not every test crate uses all of it")]
mod door;
#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/vm.rs"]
#[expect(
    dead_code,
    reason = "what finalizers and cleanups send is sent by closures here"
)]
mod vm;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use door::Door;
use fing::error::{AccessError, AccessErrorKind, WorldError};
use fing::observe::{Call, MisuseKind, MutatorMisuse, Observer};
use fing::vm::Parked;
use fing::{
    Abi, CleanupFn, Executor, Finalized, FinalizerFn, FinalizerOptions, HeapOptions, HeldValue,
    Mutator, Obj, Pointer, Runtime, RuntimeBuilder,
};
use numbers::NoneReached;
use vm::{LONG, Vm, sent};

/// A runtime whose misuses are sent.
fn watched(builder: RuntimeBuilder) -> (Vm, std::sync::mpsc::Receiver<MutatorMisuse>) {
    let (sender, misuses) = channel();
    let sender = Mutex::new(sender);
    let send = move |misuse: &MutatorMisuse| sender.lock().unwrap().send(misuse.clone()).unwrap();
    (Vm::with(builder.on_misuse(send)), misuses)
}

fn kinds(misuses: &std::sync::mpsc::Receiver<MutatorMisuse>) -> Vec<MisuseKind> {
    sent(misuses)
        .into_iter()
        .map(|misuse| misuse.kind)
        .collect()
}

fn rust(
    vm: &Vm,
    signature: &str,
    body: impl Fn(&mut Mutator, Finalized<'_>) + Send + Sync + 'static,
) -> FinalizerFn {
    FinalizerFn::from_rust(vm.runtime.types().parse_signature(signature).unwrap(), body)
}

/// Makes so many objects, numbered, with this finalizer, and drops them.
fn doom(vm: &Vm, count: u64, finalizer: &FinalizerFn) {
    for number in 0..count {
        vm.doomed(number, |m, object| {
            m.set_finalizer(object, finalizer).unwrap();
        });
    }
}

fn both() -> [RuntimeBuilder; 2] {
    [Executor::Thread, Executor::Inline].map(|on| Runtime::builder().executor(on))
}

static SUM: AtomicU64 = AtomicU64::new(0);

extern "C-unwind" fn add(object: usize, mutator: &mut Mutator) {
    let object = mutator.adopt(object).unwrap();
    let number = mutator.load_word(object, 0).unwrap();
    assert!(number != 13, "the thirteenth");
    mutator.store_word(object, 0, 1000 + number).unwrap();
    SUM.fetch_add(mutator.load_word(object, 0).unwrap(), SeqCst);
}

/// An interface, by value.
#[repr(C)]
struct Iface(usize, usize);

extern "C-unwind" fn add_iface(Iface(_, object): Iface, mutator: &mut Mutator) {
    add(object, mutator);
}

#[test]
fn functions_of_vms_get_the_mutator() {
    for builder in both() {
        SUM.store(0, SeqCst);
        let vm = Vm::with(builder.on_failure(|_| ()));
        let cases = [
            ("func(*main.T)", add as *const ()),
            ("func(any)", add_iface as *const ()),
        ];
        for (signature, code) in cases {
            let signature = vm.runtime.types().parse_signature(signature).unwrap();
            let builder =
                FinalizerFn::builder(signature, Abi::host_native().unwrap()).takes_mutator();
            // SAFETY: I8: a System V function of the parameter's words and the mutator.
            let finalizer = unsafe { builder.at(code) };
            doom(&vm, 20, &finalizer);
        }
        vm.collect();
        let each: u64 = (0..20).filter(|n| *n != 13).map(|n| 1000 + n).sum();
        assert_eq!(SUM.load(SeqCst), 2 * each);
        let stats = vm.runtime.stats();
        assert_eq!((stats.executed, stats.failed, stats.misuses), (40, 2, 0));
        assert_eq!(stats.mutators, 0);
    }
}

extern "C-unwind" fn add_all(objects: *const usize, count: usize, mutator: &mut Mutator) {
    // SAFETY: I6: a bulk finalizer is given that many objects.
    for &object in unsafe { std::slice::from_raw_parts(objects, count) } {
        let object = mutator.adopt(object).unwrap();
        BULK.fetch_add(mutator.load_word(object, 0).unwrap(), SeqCst);
    }
    // The objects of the whole batch stay until it returns.
    mutator.gc().unwrap();
    CALLS.fetch_add(1, SeqCst);
}

static BULK: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

#[test]
fn bulk_finalizers_get_it_too() {
    let vm = Vm::with(Runtime::builder().heap(HeapOptions::default().poison(true)));
    let signature = vm
        .runtime
        .types()
        .parse_signature("func(**main.T, int)")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .bulk()
        .takes_mutator();
    // SAFETY: I8: a System V function of an array, its length, and the mutator.
    let finalizer = unsafe { builder.at(add_all as *const ()) };
    let finalizer = vm.runtime.prepare_finalizer(vm.t, &finalizer).unwrap();
    for number in 0..1000 {
        vm.doomed(number, |_, object| finalizer.set(object).unwrap());
    }
    vm.collect();
    assert_eq!(BULK.load(SeqCst), 1000 * 999 / 2);
    assert_eq!(CALLS.load(SeqCst), 2);
}

extern "C-unwind" fn clean(number: u64, mutator: &mut Mutator) {
    let types = mutator.types().id("uint64").unwrap();
    let object = mutator.alloc(types).unwrap();
    mutator.store_word(object, 0, number).unwrap();
    CLEANED.fetch_add(mutator.load_word(object, 0).unwrap(), SeqCst);
}

static CLEANED: AtomicU64 = AtomicU64::new(0);

#[test]
fn cleanups_get_it_too() {
    let vm = Vm::new();
    let signature = vm.runtime.types().parse_signature("func(uint64)").unwrap();
    let builder = CleanupFn::builder(signature, Abi::host_native().unwrap()).takes_mutator();
    // SAFETY: I8: a System V function of a number and the mutator.
    let cleanup = unsafe { builder.at(clean as *const ()) };
    for number in 0..10 {
        vm.doomed(0, |m, object| {
            drop(m.add_cleanup(object, &cleanup, number).unwrap())
        });
    }
    vm.collect();
    assert_eq!(CLEANED.load(SeqCst), 45);
}

#[test]
fn closures_may_do_what_a_thread_may() {
    for builder in both() {
        let vm = Vm::with(builder);
        let (t, again) = (vm.t, Arc::new(AtomicU64::new(0)));
        let ran = again.clone();
        let second = rust(&vm, "func(*main.T)", move |m, object| {
            assert_eq!(m.load_word(object.get(m).unwrap(), 0), Ok(7));
            ran.fetch_add(1, SeqCst);
        });
        let first = rust(&vm, "func(any)", move |m, object| {
            assert!(object.addr() != 0 && format!("{object:?}").contains("0x"));
            // A collection in the middle of the call leaves its object whole.
            m.gc().unwrap();
            m.safepoint();
            let runtime = m.runtime().clone();
            m.native(|| {
                runtime.gc().unwrap();
                assert_eq!(runtime.attach().unwrap_err(), WorldError::Attached);
                runtime.enter(|m| m.alloc(t).map(drop).unwrap()).unwrap();
            });
            assert_eq!(runtime.attach().unwrap_err(), WorldError::Attached);
            let made = m.alloc_collecting(t).unwrap();
            assert_eq!(m.load_word(object.get(m).unwrap(), 0), Ok(7));
            m.store_ref(object.get(m).unwrap(), 8, Some(m.get(&made).unwrap()))
                .unwrap();
            m.set_finalizer(object.get(m).unwrap(), &second).unwrap();
        });
        doom_one(&vm, 7, &first);
        vm.collect();
        vm.collect();
        assert_eq!(again.load(SeqCst), 1);
        assert_eq!(vm.runtime.stats().misuses, 0);
        vm.runtime.verify_heap().unwrap();
    }
}

fn doom_one(vm: &Vm, number: u64, finalizer: &FinalizerFn) {
    vm.doomed(number, |m, object| {
        m.set_finalizer(object, finalizer).unwrap();
    });
}

#[test]
fn an_object_is_of_its_own_runtime() {
    let (vm, other) = (Vm::new(), Vm::new());
    let (sender, results) = channel();
    let sender = Mutex::new(sender);
    let finalizer = rust(&vm, "func(*main.T)", move |m, object| {
        let there = other.enter(|n| object.get(n).map(Obj::addr));
        let here = m.load_word(object.get(m).unwrap(), 0);
        sender.lock().unwrap().send((there, here)).unwrap();
    });
    doom_one(&vm, 1, &finalizer);
    vm.collect();
    assert_eq!(
        sent(&results),
        [(Err(AccessErrorKind::ForeignHandle.into()), Ok(1))]
    );
}

/// A signature that does not fit the object is refused as for any other function, and so is a
/// context, which a function that takes the mutator has not.
#[test]
fn what_does_not_fit_is_refused() {
    use fing::{FinalizerOptions, HeldValue};
    let vm = Vm::new();
    for wrong in [
        "func(*int)",
        "func()",
        "func(*main.T, int)",
        "func(...*main.T)",
    ] {
        let finalizer = rust(&vm, wrong, |_, _| ());
        vm.doomed(0, |m, object| {
            m.set_finalizer(object, &finalizer).unwrap_err()
        });
    }
    let finalizer = rust(&vm, "func(*main.T)", |_, _| ());
    let options = FinalizerOptions::new().context(HeldValue::Word(1));
    let error = vm.doomed(0, |m, object| {
        m.set_finalizer_with(object, &finalizer, options)
            .unwrap_err()
    });
    let text = error.to_string();
    assert!(
        text.ends_with("wanted none, as it takes the mutator"),
        "{text}"
    );
    let foreign = fing::foreign::Finalizers::<usize>::new().unwrap();
    let uintptr = FinalizerFn::from_rust("func(uintptr)".parse().unwrap(), |_, _| ());
    // SAFETY: I16: it is refused before the object is looked at.
    let error = unsafe { foreign.set_finalizer(16, &uintptr) }.unwrap_err();
    assert_eq!(
        error.to_string(),
        "registering func(uintptr): it takes a runtime's mutator, wanted one that takes none"
    );
}

/// Between two calls a collection that another thread wants happens.
#[test]
fn a_collection_gets_its_turn_between_two_calls() {
    const CALLS: u64 = 5000;
    let vm = Vm::new();
    let (asking, ask) = channel();
    let collected = Arc::new(AtomicBool::new(false));
    let (asking, seen, after) = (Mutex::new(asking), collected.clone(), AtomicU64::new(0));
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let finalizer = rust(&vm, "func(*main.T)", move |_, _| {
        if counted.fetch_add(1, SeqCst) == 0 {
            asking.lock().unwrap().send(()).unwrap();
        }
        // Without a safepoint: the collection can begin only when the call has returned.
        match seen.load(SeqCst) {
            false => std::thread::sleep(std::time::Duration::from_millis(2)),
            true => drop(after.fetch_add(1, SeqCst)),
        }
    });
    doom(&vm, CALLS, &finalizer);
    vm.runtime.gc().unwrap();
    ask.recv_timeout(LONG).unwrap();
    vm.runtime.gc().unwrap();
    assert!(
        calls.load(SeqCst) < CALLS,
        "the collection waited for all calls"
    );
    collected.store(true, SeqCst);
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(calls.load(SeqCst), CALLS);
}

static MADE: AtomicU64 = AtomicU64::new(0);
/// Finished collections when the first of these calls ended.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// The first call returns when another thread waits to collect; the second one tells whether that
/// collection is over.
extern "C-unwind" fn wait_for_a_collector(_object: usize, mutator: &mut Mutator) {
    let runtime = mutator.runtime();
    let flag = runtime.safepoint_flag();
    match MADE.fetch_add(1, SeqCst) {
        0 => {
            while !flag.is_set() {
                std::thread::yield_now();
            }
            // Asking takes the lock that the other thread has until it waits.
            BEFORE.store(runtime.stats().heap.collections, SeqCst);
        }
        1 => {
            let collections = runtime.stats().heap.collections;
            assert_eq!(
                collections,
                BEFORE.load(SeqCst) + 1,
                "it waits for all calls"
            );
        }
        _ => (),
    }
}

/// The same for machine code, whose calls a stub makes in a loop: that ends in front of the very
/// next call.
#[test]
fn a_loop_of_calls_ends_for_a_collection() {
    for round in 0..20 {
        MADE.store(0, SeqCst);
        let vm = Vm::with(Runtime::builder().on_failure(|report| panic!("{report}")));
        let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
        let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap()).takes_mutator();
        // SAFETY: I8: a System V function of a pointer and the mutator.
        let finalizer = unsafe { builder.at(wait_for_a_collector as *const ()) };
        doom(&vm, 100, &finalizer);
        vm.runtime.gc().unwrap();
        while MADE.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        vm.runtime.gc().unwrap();
        vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
        let stats = vm.runtime.stats();
        assert_eq!((stats.executed, stats.failed), (100, 0), "round {round}");
    }
}

/// With a collection at each safepoint there is one after each call, and every object is whole in
/// its own call.
#[test]
fn every_safepoint_between_calls_may_collect() {
    let options = HeapOptions::default().stress(true).poison(true);
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline).heap(options));
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let seen = numbers.clone();
    let finalizer = rust(&vm, "func(*main.T)", move |m, object| {
        let number = m.load_word(object.get(m).unwrap(), 0).unwrap();
        seen.lock()
            .unwrap()
            .push((number, m.runtime().stats().heap.collections));
    });
    doom(&vm, 5, &finalizer);
    vm.collect();
    let numbers = numbers.lock().unwrap().clone();
    assert_eq!(numbers.len(), 5);
    for (pair, number) in numbers.windows(2).zip([3, 2, 1, 0]) {
        assert_eq!((pair[1].0, pair[1].1), (number, pair[0].1 + 1));
    }
}

/// A panic in a lent call, also within a native region, leaves the heap entered and left in pairs;
/// the calls behind it are made.
#[test]
fn panics_keep_the_mutator_right() {
    for builder in both() {
        let vm = Vm::with(builder.on_failure(|_| ()));
        let ran = Arc::new(AtomicU64::new(0));
        let count = ran.clone();
        let finalizer = rust(&vm, "func(*main.T)", move |m, object| {
            count.fetch_add(1, SeqCst);
            let number = m.load_word(object.get(m).unwrap(), 0).unwrap();
            match number % 4 {
                0 => panic!("running"),
                1 => m.native(|| panic!("native")),
                2 => {
                    let runtime = m.runtime().clone();
                    m.native(|| runtime.enter(|_| panic!("nested")).unwrap());
                }
                _ => m.gc().map(drop).unwrap(),
            }
        });
        doom(&vm, 400, &finalizer);
        vm.collect();
        let stats = vm.runtime.stats();
        assert_eq!((ran.load(SeqCst), stats.failed), (400, 300));
        assert_eq!((stats.misuses, stats.mutators, stats.restarts), (0, 0, 0));
        vm.runtime.gc().unwrap();
    }
}

thread_local! {
    static KEPT: RefCell<Vec<Mutator>> = const { RefCell::new(Vec::new()) };
}

/// A finalizer that returns with its mutator attached is told, and blocks nothing: the fault that
/// stopped all collections silently.
#[test]
fn a_kept_mutator_is_revoked_and_told() {
    for builder in both() {
        let (vm, misuses) = watched(builder);
        let runtime = vm.runtime.clone();
        let (sender, code) = channel();
        let sender = Mutex::new(sender);
        let keep = vm.function("func(*main.T)", move |[object, _]| {
            // Of five calls only one keeps it.
            if runtime
                .enter(|m| m.load_word(m.adopt(object).unwrap(), 0))
                .unwrap()
                == Ok(2)
            {
                let mutator = runtime.attach().unwrap();
                KEPT.with_borrow_mut(|kept| kept.push(mutator));
                sender.lock().unwrap().send(object).unwrap();
            }
        });
        let innocent = vm.function("func(*main.T)", |_| ());
        for number in 0..5 {
            let finalizer = if number % 2 == 0 { &keep } else { &innocent };
            doom_one(&vm, number, finalizer);
        }
        vm.collect();
        vm.runtime.gc().unwrap();
        let culprit = code.recv_timeout(LONG).unwrap();
        let told = sent(&misuses);
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].kind, told[0].words[0]),
            (MisuseKind::Kept, culprit as u64)
        );
        let text = told[0].to_string();
        assert!(text.contains("func(*main.T)"), "{text}");
        assert!(text.ends_with("returned with a mutator that it had made, wanted it dropped"));
        let stats = vm.runtime.stats();
        assert_eq!((stats.misuses, stats.mutators, stats.executed), (1, 0, 5));
    }
}

/// Each use of a revoked mutator panics, and dropping it does nothing; the thread can have another.
#[test]
fn a_revoked_mutator_is_of_no_use() {
    let (vm, misuses) = watched(Runtime::builder().executor(Executor::Inline));
    let (runtime, t) = (vm.runtime.clone(), vm.t);
    let keep = vm.function("func(*main.T)", move |_| {
        let mutator = runtime.attach().unwrap();
        mutator.alloc(t).unwrap();
        KEPT.with_borrow_mut(|kept| kept.push(mutator));
    });
    doom_one(&vm, 0, &keep);
    vm.collect();
    assert_eq!(kinds(&misuses), [MisuseKind::Kept]);
    let mut stale = KEPT.with_borrow_mut(|kept| kept.pop().unwrap());
    let handle = vm.rooted();
    let uses: [fn(&mut Mutator, &fing::Handle, fing::TypeId); 7] = [
        |m, _, _| m.safepoint(),
        |m, _, _| drop(m.gc()),
        |m, _, _| m.native(|| ()),
        |m, _, t| drop(m.alloc(t)),
        |m, _, t| drop(m.alloc_collecting(t)),
        |m, handle, _| drop(m.get(handle)),
        |m, handle, _| drop(m.adopt(handle.addr())),
    ];
    for each in uses {
        let used = catch_unwind(AssertUnwindSafe(|| each(&mut stale, &handle, t)));
        let payload = used.unwrap_err();
        let text = payload.downcast_ref::<&str>().unwrap();
        assert!(
            text.starts_with("a mutator was used that a finalizer had kept"),
            "{text}"
        );
    }
    let fresh = vm.runtime.attach().unwrap();
    assert_eq!(fresh.load_word(fresh.get(&handle).unwrap(), 0), Ok(0));
    drop(stale);
    assert_eq!(vm.runtime.stats().mutators, 1);
    drop(fresh);
    vm.runtime.verify_heap().unwrap();
}

/// A leaked mutator lends objects for ever. When it has been revoked these may be freed, and what
/// they name is checked: nothing is reached that is not an object.
#[test]
fn objects_of_a_leaked_mutator_are_looked_up() {
    thread_local!(static LEAKED: Cell<Option<[Obj<'static>; 2]>> = const { Cell::new(None) });
    let (vm, misuses) = watched(Runtime::builder().executor(Executor::Inline));
    let (runtime, t) = (vm.runtime.clone(), vm.t);
    let large = vm
        .runtime
        .types()
        .define("main.Large", "struct { P *main.T; B [100000]uint8 }");
    let large = large.unwrap();
    let keep = vm.function("func(*main.T)", move |_| {
        let mutator: &'static Mutator = Box::leak(Box::new(runtime.attach().unwrap()));
        LEAKED.set(Some([t, large].map(|ty| mutator.alloc(ty).unwrap())));
    });
    let prepared = vm.function("func(*main.T)", |_| ());
    let closing = vm.runtime.prepare_finalizer(vm.t, &prepared).unwrap();
    doom_one(&vm, 0, &keep);
    vm.collect();
    vm.runtime.gc().unwrap();
    assert_eq!(kinds(&misuses), [MisuseKind::Kept]);
    let objects = LEAKED.get().unwrap();
    // Without a mutator, no object may be touched.
    for object in objects {
        assert!(closing.set(object).is_err() && closing.clear(object).is_err());
    }
    vm.enter(|m| {
        for object in objects {
            let gone = AccessError::from(AccessErrorKind::NotInHeap {
                addr: object.addr(),
            });
            assert_eq!(m.load_word(object, 0), Err(gone.clone()));
            assert_eq!(m.store_word(object, 0, 1), Err(gone.clone()));
            assert_eq!(m.load_ref(object, 8).unwrap_err(), gone);
            assert_eq!(m.type_of(object).map(|_| ()), Err(gone.clone()));
            assert_eq!(m.root(object).map(drop), Err(gone));
            assert!(closing.set(object).is_err() && closing.clear(object).is_err());
            assert!(m.set_finalizer(object, &prepared).is_err());
            assert!(m.clear_finalizer(object).is_err());
        }
    });
    assert_eq!(vm.runtime.stats().finalizers, 0);
    vm.runtime.verify_heap().unwrap();
    // Objects that are alive are accepted as ever.
    vm.doomed(3, |m, object| {
        closing.set(object).unwrap();
        assert_eq!(m.load_word(object, 0), Ok(3));
        m.root(object).unwrap();
    });
}

thread_local! {
    static OTHER: RefCell<Option<Parked>> = const { RefCell::new(None) };
}

/// Whether [`exchange`] was called by itself, and not behind a call that left it a wrong mutator.
static EXCHANGED: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicBool = AtomicBool::new(false);

/// Exchanges the lent mutator for one of another runtime that was parked on this thread before.
extern "C-unwind" fn exchange(object: usize, mutator: &mut Mutator) {
    mutator.adopt(object).expect("the right mutator was lent");
    EXCHANGED.fetch_add(1, SeqCst);
    if let Some(other) = OTHER.take() {
        let other = other.resume().map_err(|(_, refusal)| refusal).unwrap();
        let lent = std::mem::replace(mutator, other);
        KEPT.with_borrow_mut(|kept| kept.push(lent));
        assert!(!PANICS.load(SeqCst), "with another mutator in its place");
    }
}

/// What comes into the place of the lent mutator need not have been made by the call. No other call
/// gets it, neither one of a closure nor one that a stub makes in a loop, also if the call panics.
#[test]
fn a_resumed_mutator_is_lent_to_no_call() {
    for (in_a_loop, panics) in [(false, false), (false, true), (true, false), (true, true)] {
        EXCHANGED.store(0, SeqCst);
        PANICS.store(panics, SeqCst);
        let (vm, misuses) = watched(Runtime::builder().executor(Executor::Inline));
        let other = Vm::new();
        OTHER.set(Some(other.runtime.attach().unwrap().park()));
        let finalizer = match in_a_loop {
            false => rust(&vm, "func(*main.T)", |m, object| exchange(object.addr(), m)),
            true => {
                let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
                let builder =
                    FinalizerFn::builder(signature, Abi::host_native().unwrap()).takes_mutator();
                // SAFETY: I8: a System V function of a pointer and the mutator.
                unsafe { builder.at(exchange as *const ()) }
            }
        };
        doom(&vm, 10, &finalizer);
        vm.collect();
        assert_eq!(kinds(&misuses), [MisuseKind::Replaced]);
        let stats = vm.runtime.stats();
        assert_eq!((stats.executed, stats.failed), (10, u64::from(panics)));
        assert_eq!(EXCHANGED.load(SeqCst), 10);
        KEPT.with_borrow_mut(Vec::clear);
        vm.runtime.gc().unwrap();
        other.runtime.gc().unwrap();
    }
}

/// The lent mutator is exchanged for one of another runtime, and kept.
#[test]
fn a_replaced_mutator_is_told_and_mended() {
    let (vm, misuses) = watched(Runtime::builder().executor(Executor::Inline));
    let other = Vm::new();
    let (runtime, first) = (other.runtime.clone(), AtomicBool::new(true));
    let ran = Arc::new(AtomicU64::new(0));
    let count = ran.clone();
    let finalizer = rust(&vm, "func(*main.T)", move |m, object| {
        // The next call is lent the right one.
        assert!(object.get(m).is_ok());
        count.fetch_add(1, SeqCst);
        if first.swap(false, SeqCst) {
            let lent = std::mem::replace(m, runtime.attach().unwrap());
            KEPT.with_borrow_mut(|kept| kept.push(lent));
        }
    });
    doom(&vm, 3, &finalizer);
    vm.collect();
    assert_eq!(kinds(&misuses), [MisuseKind::Replaced]);
    assert_eq!(ran.load(SeqCst), 3);
    assert_eq!(vm.runtime.stats().mutators, 0);
    assert_eq!(other.runtime.stats().mutators, 0);
    vm.runtime.gc().unwrap();
    other.runtime.gc().unwrap();
    // Dropping the lent one in its place is told as well.
    let runtime = other.runtime.clone();
    let finalizer = rust(&vm, "func(*main.T)", move |m, _| {
        *m = runtime.attach().unwrap()
    });
    doom(&vm, 2, &finalizer);
    vm.collect();
    assert_eq!(
        kinds(&misuses),
        [MisuseKind::Replaced, MisuseKind::Replaced]
    );
    assert_eq!(other.runtime.stats().mutators, 0);
    KEPT.with_borrow_mut(Vec::clear);
}

/// A finalizer of one runtime, or of a foreign collector, keeps a mutator of another runtime.
#[test]
fn mutators_of_other_runtimes_are_watched() {
    let (vm, misuses) = watched(Runtime::builder());
    let other = Vm::new();
    let runtime = other.runtime.clone();
    let keep = vm.function("func(*main.T)", move |_| {
        std::mem::forget(runtime.attach().unwrap())
    });
    doom(&vm, 1, &keep);
    vm.collect();
    other.runtime.gc().unwrap();
    assert_eq!(kinds(&misuses), [MisuseKind::Kept]);

    let (sender, told) = channel();
    let sender = Mutex::new(sender);
    let finalizers = fing::foreign::Finalizers::<usize>::builder()
        .on_misuse(move |misuse| sender.lock().unwrap().send(misuse.kind).unwrap())
        .build()
        .unwrap();
    extern "C" fn forget(_: usize, runtime: &Runtime) {
        std::mem::forget(runtime.attach().unwrap());
    }
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    let builder = builder.context(std::ptr::from_ref(&other.runtime).expose_provenance());
    // SAFETY: I8: a System V function of one word, whose context lives until the test is over.
    let forget = unsafe { builder.at(forget as *const ()) };
    // SAFETY: I16: the object is not followed.
    unsafe { finalizers.set_finalizer(16, &forget) }.unwrap();
    let mut tracer = NoneReached { external_bytes: 0 };
    // SAFETY: I16: as above.
    unsafe { finalizers.collect(fing::foreign::Scope::Full, &mut tracer, |_| ()) }.unwrap();
    finalizers.finish();
    assert_eq!(finalizers.run_finalizers().unwrap(), 1);
    assert_eq!(sent(&told), [MisuseKind::Kept]);
    other.runtime.gc().unwrap();
}

/// What a thread has before it runs finalizers is its own: a mutator in a native region stays.
#[test]
fn the_mutators_of_an_embedder_stay() {
    let (vm, misuses) = watched(Runtime::builder().executor(Executor::Inline));
    let finalizer = rust(&vm, "func(*main.T)", |m, object| {
        assert!(object.get(m).is_ok());
    });
    doom(&vm, 3, &finalizer);
    vm.runtime.gc().unwrap();
    let other = Vm::new();
    let kept = other.runtime.attach().unwrap();
    let mut mutator = vm.runtime.attach().unwrap();
    let runtime = vm.runtime.clone();
    assert_eq!(mutator.native(|| runtime.run_finalizers()), Ok(3));
    mutator.gc().unwrap();
    kept.alloc(other.t).unwrap();
    assert_eq!(kinds(&misuses), []);
}

/// Observers and hooks run outside the heap also between lent calls, and may attach; what an
/// observer keeps is told too.
#[test]
fn hooks_run_outside_the_heap() {
    struct Attaches(Arc<Mutex<Option<Runtime>>>);
    impl Observer for Attaches {
        fn call_began(&self, _: &Call<'_>) {
            self.0.lock().unwrap().as_ref().unwrap().gc().unwrap();
        }
        fn call_ended(&self, _: &Call<'_>, panicked: bool) {
            let runtime = self.0.lock().unwrap().as_ref().unwrap().clone();
            let mutator = runtime.attach().unwrap();
            if panicked {
                std::mem::forget(mutator);
            }
        }
    }
    let runtime = Arc::new(Mutex::new(None));
    let hook = runtime.clone();
    let builder = Runtime::builder()
        .observer(Attaches(runtime.clone()))
        .on_failure(move |_| drop(hook.lock().unwrap().as_ref().unwrap().attach().unwrap()));
    let (vm, misuses) = watched(builder);
    *runtime.lock().unwrap() = Some(vm.runtime.clone());
    let finalizer = rust(&vm, "func(*main.T)", |m, object| {
        let number = m.load_word(object.get(m).unwrap(), 0).unwrap();
        assert!(number != 1, "the second");
    });
    doom(&vm, 3, &finalizer);
    vm.collect();
    assert_eq!(kinds(&misuses), [MisuseKind::Kept]);
    assert_eq!(vm.runtime.stats().failed, 1);
    vm.runtime.gc().unwrap();
    runtime.lock().unwrap().take();
}

/// Many calls in one loop of generated code, of which one in ten keeps a mutator: none of the
/// others sees it, in the loop or behind it, and each is named.
#[test]
fn calls_behind_one_that_keeps_a_mutator_do_not_see_it() {
    let (vm, misuses) = watched(Runtime::builder());
    let runtime = vm.runtime.clone();
    let seen = Arc::new(AtomicU64::new(0));
    let count = seen.clone();
    let finalizer = vm.function("func(*main.T)", move |[object, _]| {
        let number = count.fetch_add(1, SeqCst);
        // So many calls have no mutator that all of a block would be made in one loop.
        if number < 1000 {
            return;
        }
        let mutator = runtime.attach().unwrap();
        mutator.adopt(object).unwrap();
        if number.is_multiple_of(10) {
            std::mem::forget(mutator);
        }
    });
    doom(&vm, 2000, &finalizer);
    vm.collect();
    let stats = vm.runtime.stats();
    assert_eq!(
        (stats.executed, stats.failed, stats.misuses),
        (2000, 0, 100)
    );
    let told = sent(&misuses);
    let mut culprits: Vec<u64> = told.iter().map(|misuse| misuse.words[0]).collect();
    culprits.sort_unstable();
    culprits.dedup();
    assert_eq!((told.len(), culprits.len()), (100, 100));
}

/// A hook for misuses that panics, or calls back, ends nothing; without a hook an event is sent.
#[test]
fn hooks_for_misuses_end_nothing() {
    for builder in [
        Runtime::builder().on_misuse(|_| panic!("a hook")),
        Runtime::builder(),
    ] {
        let vm = Vm::with(builder);
        let runtime = vm.runtime.clone();
        let keep = vm.function("func(*main.T)", move |_| {
            std::mem::forget(runtime.attach().unwrap())
        });
        doom(&vm, 3, &keep);
        vm.collect();
        let stats = vm.runtime.stats();
        assert_eq!((stats.misuses, stats.executed, stats.restarts), (3, 3, 0));
        assert_eq!((stats.failed, stats.mutators), (0, 0));
    }
}

/// The last handle of the runtime goes while lent calls are queued: the goroutine ends, and nothing
/// hangs or runs outside the heap.
#[test]
fn the_last_handle_goes_under_lent_calls() {
    for _ in 0..20 {
        let vm = Vm::new();
        let (sender, ran) = channel();
        let sender = Mutex::new(sender);
        let finalizer = rust(&vm, "func(*main.T)", move |m, object| {
            object.get(m).unwrap();
            sender.lock().unwrap().send(()).unwrap();
        });
        doom(&vm, 2000, &finalizer);
        vm.runtime.gc().unwrap();
        drop(finalizer);
        drop(vm);
        // The closure is dropped with the runtime, which is when the last call has returned.
        while ran.recv_timeout(LONG).is_ok() {}
        assert_eq!(
            ran.try_recv(),
            Err(std::sync::mpsc::TryRecvError::Disconnected)
        );
    }
}

/// Each registration of one Rust closure has a word or an object of its own.
#[test]
fn rust_closures_are_given_contexts() {
    const COUNT: u64 = 1500;
    for builder in both() {
        let vm = Vm::with(builder.on_failure(|_| ()));
        let signature = || vm.runtime.types().parse_signature("func(*main.T)").unwrap();
        let sums: Arc<[AtomicU64; 2]> = Arc::default();
        let (words, objects) = (sums.clone(), sums.clone());
        let with_word = FinalizerFn::from_rust_with_word(signature(), move |m, object, word| {
            let object = object.get(m).unwrap();
            assert_eq!(m.load_word(object, 0), Ok(word));
            words[0].fetch_add(word, SeqCst);
            assert!(word % 700 != 13, "some fail, and shift no other's context");
        });
        let pointer = fing::stubs::signature::Type::unsafe_pointer();
        let with_object =
            FinalizerFn::from_rust_with_object(signature(), pointer, move |m, object, context| {
                m.gc().unwrap();
                let [object, context] = [object, context].map(|of| of.get(m).unwrap());
                let [number, twice] = [object, context].map(|of| m.load_word(of, 0).unwrap());
                assert_eq!(2 * number, twice);
                objects[1].fetch_add(number, SeqCst);
            });
        for number in 0..COUNT {
            vm.doomed(number, |m, object| {
                let options = FinalizerOptions::new().context(HeldValue::Word(number));
                m.set_finalizer_with(object, &with_word, options).unwrap();
            });
        }
        let prepared = vm.runtime.prepare_finalizer(vm.t, &with_object).unwrap();
        let few = COUNT / 50;
        for number in 0..few {
            vm.doomed(number, |m, object| {
                let context = m.alloc(vm.t).unwrap();
                m.store_word(context, 0, 2 * number).unwrap();
                prepared
                    .set_with(object, HeldValue::Object(context))
                    .unwrap();
            });
        }
        vm.doomed(0, |m, object| {
            let none = m.set_finalizer(object, &with_word).unwrap_err();
            assert!(
                none.to_string().ends_with("is none, wanted a word"),
                "{none}"
            );
            let word = prepared.set_with(object, HeldValue::Word(1)).unwrap_err();
            let text = "an object that a unsafe.Pointer points to";
            assert!(word.to_string().ends_with(text), "{word}");
        });
        vm.collect();
        let sum = |count: u64| count * (count - 1) / 2;
        assert_eq!(sums[0].load(SeqCst), sum(COUNT));
        assert_eq!(sums[1].load(SeqCst), sum(few));
        let stats = vm.runtime.stats();
        assert_eq!((stats.executed, stats.failed), (COUNT + few, 3));
        assert_eq!(
            (stats.misuses, vm.runtime.gc().unwrap().live_objects),
            (0, 0)
        );
    }
}

/// A finalizer that was set for a pointer into its object, as Go allows for small values, gets the
/// object from its start.
#[test]
fn a_pointer_into_an_object_gives_the_object() {
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let types = vm.runtime.types();
    let ty = types
        .define("main.Three", "struct { A, B, C uint64 }")
        .unwrap();
    let big = types.define("main.Big", "[1000]uint64").unwrap();
    let header = types.desc(big).unwrap().address() as u64;
    let field = vm.runtime.field::<u64>(ty, 16).unwrap();
    let far = vm.runtime.field::<u64>(big, 7992).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    let finalizer = rust(&vm, "func(*uint64)", move |m, object| {
        let whole = object.get(m).unwrap();
        // The word in front of the address looks like the header of another type.
        assert!(m.load_field(whole, far).is_err());
        assert_eq!(m.load_word(whole, 8), Ok(8));
        let inside = object.addr() - whole.addr();
        let last = m.load_field(whole, field).unwrap();
        note.lock().unwrap().push((inside, last));
        let handle = m.root(whole).unwrap();
        assert_eq!(m.get(&handle).unwrap().addr(), whole.addr());
    });
    let pointer = types.id("*uint64").unwrap();
    vm.enter(|m| {
        for offset in [0, 8, 16] {
            let object = m.alloc(ty).unwrap();
            for (at, word) in [(0, header), (8, 8), (16, 16)] {
                m.store_word(object, at, word).unwrap();
            }
            let inside = Pointer::typed(pointer, object.addr() + offset);
            m.set_finalizer(inside, &finalizer).unwrap();
            let watching = FinalizerOptions::new();
            m.add_watcher(inside, &finalizer, watching).unwrap();
        }
    });
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.run_finalizers(), Ok(6));
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [(0, 16), (0, 16), (8, 16), (8, 16), (16, 16), (16, 16)]
    );
}

/// Objects of a mutator that was leaked and revoked may lie where a window has objects that nobody
/// has taken: there is nothing to set a finalizer for.
#[test]
fn no_finalizer_is_set_where_an_object_was() {
    thread_local! {
        static KEPT: RefCell<Vec<Obj<'static>>> = const { RefCell::new(Vec::new()) };
    }
    let builder = Runtime::builder().executor(Executor::Inline);
    let runtime = builder.build().unwrap();
    let types = runtime.types();
    let text = "struct { A, B uint64; P *uint64 }";
    let ty = types.define("main.Kept", text).unwrap();
    let other = types
        .define("main.Other", "struct { X, Y, Z uint64 }")
        .unwrap();
    let weak = runtime.downgrade();
    let leak = FinalizerFn::from_rust_of_any_object(move |m, _| {
        let runtime = weak.upgrade().unwrap();
        m.native(|| {
            let leaked: &'static Mutator = Box::leak(Box::new(runtime.attach_beside().unwrap()));
            let objects = (0..200).map(|_| leaked.alloc(ty).unwrap());
            KEPT.with_borrow_mut(|kept| kept.extend(objects));
        });
    });
    let called = Arc::new(Mutex::new(Vec::new()));
    let log = called.clone();
    let signature = types.parse_signature("func(*main.Kept)").unwrap();
    let close = FinalizerFn::from_rust_with_word(signature, move |m, object, _| {
        let object = object.get(m).unwrap();
        log.lock().unwrap().push(m.type_of(object).unwrap().id());
    });
    let close = runtime.prepare_finalizer(ty, &close).unwrap();
    runtime
        .enter(|m| m.set_finalizer(m.alloc(ty).unwrap(), &leak).map(drop))
        .unwrap()
        .unwrap();
    runtime.gc().unwrap();
    assert_eq!(runtime.run_finalizers(), Ok(1));
    (0..3).for_each(|_| drop(runtime.gc().unwrap()));
    runtime
        .enter(|m| {
            let window = m.window(ty).unwrap();
            m.alloc_in(&window).unwrap();
            for object in KEPT.take() {
                let there = m.adopt(object.addr()).is_ok();
                let set = close.set_with(object, HeldValue::Word(0)).is_ok();
                let set_at = close.set_at(m, object.addr(), HeldValue::Word(0)).is_ok();
                assert!(there || !set && !set_at, "{:#x}", object.addr());
            }
        })
        .unwrap();
    // The window has ended; its cells are used again.
    runtime
        .enter(|m| (0..3000).for_each(|_| assert_ne!(m.alloc(other).unwrap().addr(), 0)))
        .unwrap();
    runtime.gc().unwrap();
    runtime.run_finalizers().unwrap();
    assert!(called.lock().unwrap().iter().all(|found| *found == ty));
}

/// The thread waits to enter the heap for a call whose result is a status, and finalization is shut
/// down meanwhile: the call counts as dropped unless it was made.
#[test]
fn a_call_that_was_not_made_does_not_count_as_made() {
    static MADE: AtomicU64 = AtomicU64::new(0);
    extern "C-unwind" fn count(_: usize, _: &mut Mutator) -> i32 {
        MADE.fetch_add(1, SeqCst);
        0
    }
    let vm = Vm::new();
    let (first, stopped, go_on) = (Door::default(), Door::default(), Door::default());
    let inside = first.clone();
    let blocks = vm.function("func(*main.T)", move |_| inside.pass());
    let types = vm.runtime.types();
    let signature = types.parse_signature("func(*main.T) int32").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap());
    // SAFETY: I8: a C function of an object and a mutator.
    let lent = unsafe { builder.takes_mutator().status().at(count as *const ()) };
    vm.doomed(1, |m, t| m.set_finalizer(t, &blocks).unwrap());
    vm.runtime.gc().unwrap();
    first.wait_for(1);
    doom(&vm, 1, &lent);
    vm.runtime.gc().unwrap();
    stopped.open();
    let (tells, waits) = (stopped.clone(), go_on.clone());
    let _source = vm.runtime.add_roots(move |_| {
        tells.pass();
        waits.pass();
    });
    std::thread::scope(|scope| {
        scope.spawn(|| vm.runtime.gc().unwrap());
        stopped.wait_for(1);
        first.open();
        // Time for the thread to come to the second call, which has to wait for the collection; if
        // it does not, the call is dropped before.
        std::thread::sleep(std::time::Duration::from_millis(100));
        scope.spawn(|| vm.runtime.shutdown(false, LONG).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(100));
        go_on.open();
    });
    let (stats, made) = (vm.runtime.stats(), MADE.load(SeqCst));
    assert_eq!((stats.executed, stats.discarded), (1 + made, 1 - made));
}
