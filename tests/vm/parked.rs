//! Mutators that are parked as values.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use fing::error::{AllocError, WorldError};
use fing::vm::Parked;
use fing::{Executor, FinalizerFn, HeapOptions, Mutator, Runtime, TypeId};

fn runtime() -> (Runtime, TypeId) {
    let heap = HeapOptions::default().poison(true);
    let runtime = Runtime::builder().heap(heap).build().unwrap();
    let ty = runtime
        .types()
        .define("main.T", "struct { P *main.T; N int }")
        .unwrap();
    (runtime, ty)
}

fn resumed(parked: Parked) -> Mutator {
    parked.resume().map_err(|(_, refusal)| refusal).unwrap()
}

#[test]
fn stacks_of_one_thread_take_turns() {
    let (runtime, ty) = runtime();
    let mut parked = std::collections::VecDeque::new();
    for n in 0..10 {
        let mutator = match n {
            0 => runtime.attach().unwrap(),
            _ => runtime.attach_beside().unwrap(),
        };
        let object = mutator.alloc(ty).unwrap();
        mutator.store_word(object, 8, n).unwrap();
        let object = mutator.root(object).unwrap();
        parked.push_back((n, object, mutator.park()));
    }
    assert_eq!(runtime.stats().mutators, 10);
    for turn in 0..100 {
        let (n, object, mutator) = parked.pop_front().unwrap();
        let mut mutator = resumed(mutator);
        assert_eq!(
            mutator.load_word(mutator.get(&object).unwrap(), 8).unwrap(),
            n
        );
        for _ in 0..100 {
            mutator.alloc(ty).unwrap();
        }
        if turn % 7 == 0 {
            assert_eq!(mutator.gc().unwrap().live_objects, 10);
        }
        parked.push_back((n, object, mutator.park()));
    }
    // In any order.
    parked.remove(3);
    assert_eq!(runtime.gc().unwrap().live_objects, 9);
    parked.clear();
    assert_eq!(runtime.gc().unwrap().live_objects, 0);
    assert_eq!(runtime.stats().mutators, 0);
    runtime.verify_heap().unwrap();
}

#[test]
fn only_one_of_a_thread_runs() {
    let (runtime, ty) = runtime();
    let first = runtime.attach().unwrap();
    assert_eq!(runtime.attach_beside().map(drop), Err(WorldError::Running));
    let first = first.park();
    assert_eq!(runtime.attach().map(drop), Err(WorldError::Attached));
    let second = runtime.attach_beside().unwrap();
    let (first, refusal) = first.resume().unwrap_err();
    assert_eq!(refusal, WorldError::Running);
    drop(second);
    let first = resumed(first);
    // Its windows are as those of any mutator.
    let window = first.window(ty).unwrap();
    first.alloc_in(&window).unwrap();
    let first = first.park();
    let second = runtime.attach_beside().unwrap();
    second.alloc_in(&window).unwrap();
    let second = second.park();
    drop(first);
    let second = resumed(second);
    let error = second.alloc_in(&window).map(drop).unwrap_err();
    assert!(matches!(error, AllocError::ClosedWindow { .. }), "{error}");
}

#[test]
fn one_that_a_finalizer_keeps_is_revoked() {
    let builder = Runtime::builder().executor(Executor::Inline);
    let runtime = builder.on_misuse(|_| ()).build().unwrap();
    let ty = runtime.types().id("uint64").unwrap();
    thread_local!(static KEPT: RefCell<Option<Parked>> = const { RefCell::new(None) });
    let weak = runtime.downgrade();
    let finalizer = FinalizerFn::from_rust_of_any_object(move |mutator, _| {
        let runtime = weak.upgrade().unwrap();
        mutator.native(|| {
            let parked = runtime.attach_beside().unwrap().park();
            KEPT.with(|kept| kept.replace(Some(parked)));
        });
    });
    let set = |m: &mut Mutator| m.set_finalizer(m.alloc(ty).unwrap(), &finalizer).unwrap();
    runtime.enter(set).unwrap();
    runtime.gc().unwrap();
    runtime.run_finalizers().unwrap();
    assert_eq!(runtime.stats().misuses, 1);
    let mutator = resumed(KEPT.take().unwrap());
    let used = catch_unwind(AssertUnwindSafe(|| mutator.alloc(ty).map(drop)));
    assert!(used.is_err());
    drop(mutator);
    assert_eq!(runtime.stats().mutators, 0);
    runtime.gc().unwrap();
}

#[test]
fn collections_of_other_threads_do_not_wait_for_it() {
    let (runtime, ty) = runtime();
    let mutator = runtime.attach().unwrap();
    mutator.alloc(ty).unwrap();
    let parked = mutator.park();
    let (there, (done, wait)) = (runtime.clone(), mpsc::channel());
    let thread = std::thread::spawn(move || done.send(there.gc().unwrap().freed_objects));
    assert_eq!(wait.recv().unwrap(), 1);
    thread.join().unwrap().unwrap();
    let mutator = resumed(parked);
    mutator.alloc(ty).unwrap();
}

/// A collection that has to wait for this thread's other mutator is neither refused nor waited for.
#[test]
fn one_is_dropped_while_another_one_runs() {
    let (runtime, ty) = runtime();
    let first = runtime.attach().unwrap();
    let window = first.window(ty).unwrap();
    first.alloc(ty).unwrap();
    first.alloc_in(&window).unwrap();
    let first = first.park();
    let mut second = runtime.attach_beside().unwrap();
    let kept = second.root(second.alloc(ty).unwrap()).unwrap();
    let there = runtime.clone();
    let collector = std::thread::spawn(move || there.gc().map(|done| done.freed_objects));
    let flag = runtime.safepoint_flag();
    while !flag.is_set() {
        std::thread::yield_now();
    }
    drop(first);
    second.load_word(second.get(&kept).unwrap(), 8).unwrap();
    second.safepoint();
    assert_eq!(collector.join().unwrap(), Ok(2));
    let error = second.alloc_in(&window).map(drop).unwrap_err();
    assert!(matches!(error, AllocError::ClosedWindow { .. }), "{error}");
    for _ in 0..10_000 {
        second.alloc(ty).unwrap();
    }
    assert_eq!(second.gc().unwrap().live_objects, 1);
    drop(second);
    assert_eq!(runtime.stats().mutators, 0);
    runtime.verify_heap().unwrap();
}
