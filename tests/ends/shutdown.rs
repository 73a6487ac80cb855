//! Shutting down: when it returns, and what becomes of objects that die afterwards.

use std::time::Duration;

use fing::error::{AddCleanupError, Closed, ExecutorError, SetFinalizerError};
use fing::foreign::{Finalizers, RegisterError};
use fing::{
    Abi, CleanupFn, CyclePolicy, Executor, FinalizerFn, HeldValue, Order, Pointer, Runtime,
};

use super::vm::{LONG, Vm, sent};
use super::{Blocking, builders, clean_foreign, collect_foreign, set_foreign};

extern "C" fn nothing(_: u64) {}

fn foreign_function() -> FinalizerFn {
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: I8: a C function of one word.
    unsafe { builder.at(nothing as *const ()) }
}

fn foreign_cleanup() -> CleanupFn {
    let builder = CleanupFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: I8: as above.
    unsafe { builder.at(nothing as *const ()) }
}

#[test]
fn every_wait_takes_any_duration() {
    for executor in [Executor::Thread, Executor::Inline] {
        let vm = Vm::with(Runtime::builder().executor(executor));
        let (f, ran) = vm.sender("func(*main.T)");
        vm.doomed(1, |m, object| m.set_finalizer(object, &f).unwrap());
        let collected = vm.runtime.gc().unwrap();
        assert_eq!(collected.wait(Duration::MAX), Ok(()));
        let runtime = &vm.runtime;
        runtime
            .block_until_finalizer_queue_empty(Duration::MAX)
            .unwrap();
        assert_eq!(runtime.shutdown(true, Duration::MAX), Ok(0));
        assert_eq!(runtime.shutdown(false, Duration::MAX), Ok(0));
        assert_eq!(sent(&ran).len(), 1);

        let finalizers = Finalizers::<u64>::builder();
        let finalizers = finalizers.executor(executor).build().unwrap();
        set_foreign(&finalizers, 8, &foreign_function());
        let finished = collect_foreign(&finalizers, &[]);
        assert_eq!(finished.ticket.wait(Duration::MAX), Ok(()));
        finalizers
            .block_until_finalizer_queue_empty(Duration::MAX)
            .unwrap();
        assert_eq!(finalizers.shutdown(true, Duration::MAX), Ok(0));
        assert_eq!(finalizers.shutdown(false, Duration::MAX), Ok(0));
    }
}

/// Of a block of 512, and of a batch that is one loop of generated code.
#[test]
fn a_shutdown_ends_after_the_call_that_is_running() {
    const OBJECTS: u64 = 1200;
    for (builder, calls) in builders().into_iter().zip([5, 1, 300]) {
        let vm = Vm::with(builder);
        let blocking = Blocking::new(&vm, calls - 1);
        blocking.doom(&vm, 0..OBJECTS);
        vm.runtime.gc().unwrap();
        blocking.wait_until_blocked();
        let dropped = std::thread::scope(|scope| {
            let stopping = scope.spawn(|| vm.runtime.shutdown(false, LONG));
            // Blocks that wait are dropped in the step that stops the running one.
            while vm.runtime.stats().discarded == 0 {
                std::thread::yield_now();
            }
            let refused = vm.runtime.shutdown(false, Duration::ZERO);
            assert!(matches!(refused, Err(ExecutorError::Timeout { .. })));
            blocking.go_on.send(()).unwrap();
            stopping.join().unwrap().unwrap()
        });
        assert_eq!(blocking.ran().len(), calls);
        let stats = vm.runtime.stats();
        assert_eq!(stats.executed, calls as u64);
        assert_eq!(
            (dropped, stats.discarded),
            (OBJECTS - stats.executed, dropped)
        );
    }
}

#[test]
fn a_finalizer_cannot_shut_down_and_wait_for_itself() {
    for executor in [Executor::Thread, Executor::Inline] {
        let vm = Vm::with(Runtime::builder().executor(executor));
        let runtime = vm.runtime.downgrade();
        let (tell, told) = std::sync::mpsc::channel();
        let f = vm.function("func(*main.T)", move |_| {
            let runtime = runtime.upgrade().unwrap();
            tell.send([true, false].map(|drain| runtime.shutdown(drain, LONG)))
                .unwrap();
        });
        vm.doomed(1, |m, object| m.set_finalizer(object, &f).unwrap());
        vm.collect();
        let refused = told.recv_timeout(LONG).unwrap();
        assert_eq!(refused, [const { Err(ExecutorError::OnGoroutine) }; 2]);
        // Nothing was shut down.
        vm.doomed(2, |m, object| m.set_finalizer(object, &f).unwrap());
    }
}

/// What is registered, in each way, and where it comes from: known or not.
#[test]
fn after_a_shutdown_nothing_is_registered() {
    let vm = Vm::new();
    let f = vm.function("func(*main.T)", |_| ());
    let new = vm.function("func(any)", |_| ());
    let c = vm.cleanup("func(uint64)", |_| ());
    let prepared = vm.runtime.prepare_finalizer(vm.t, &f).unwrap();
    let other = vm.runtime.types().define("main.U", "struct { A, B int }");
    let for_all = vm.runtime.prepare_finalizer(other.unwrap(), &new).unwrap();
    let mut m = vm.runtime.attach().unwrap();
    // Known to the mutator and to the registry.
    m.set_finalizer(m.alloc(vm.t).unwrap(), &f).unwrap();
    m.add_cleanup(m.alloc(vm.t).unwrap(), &c, 1u64).unwrap();
    prepared.set(m.alloc(vm.t).unwrap()).unwrap();
    m.native(|| vm.runtime.shutdown(true, LONG)).unwrap();

    let object = m.alloc(vm.t).unwrap();
    let word = HeldValue::Word(3);
    let sets = [
        m.set_finalizer(object, &f).map(drop),
        m.set_finalizer(object, &new).map(drop),
        prepared.set(object),
        prepared.set_with(object, word),
        for_all.set_for_all(),
        vm.runtime.prepare_finalizer(vm.t, &f).map(drop),
    ];
    for set in sets {
        let error = set.unwrap_err();
        assert!(
            matches!(error, SetFinalizerError::Closed(Closed::ShutDown)),
            "{error}"
        );
        let text = "set_finalizer: registering: finalization was shut down, wanted a registration \
            before that";
        assert_eq!(error.to_string(), text);
    }
    for function in [&c, &vm.cleanup("func(uint64)", |_| ())] {
        let error = m.add_cleanup(object, function, 1u64).unwrap_err();
        assert!(matches!(error, AddCleanupError::Closed(Closed::ShutDown)));
    }
    // What there was is still registered, and can be cleared.
    assert_eq!(
        (vm.runtime.stats().finalizers, vm.runtime.stats().cleanups),
        (2, 1)
    );
}

/// A chain, cleanups, closures, finalizers of interior pointers, weak pointers: all are gone with
/// the first collection, and counted.
#[test]
fn after_a_shutdown_the_dead_are_freed_and_counted() {
    for order in [Order::Go, Order::Topological] {
        let vm = Vm::with(Runtime::builder().order(order));
        let f = vm.function("func(*main.T)", |_| panic!("it was shut down"));
        let inner = vm.function("func(*int)", |_| panic!("it was shut down"));
        let c = vm.cleanup("func(*main.T)", |_| panic!("it was shut down"));
        let types = vm.runtime.types();
        let pair = types.define("main.Pair", "struct { A, B int }").unwrap();
        let int = types.intern(&"int".parse().unwrap()).unwrap();
        let to_int = types.pointer_to(int).unwrap();
        let weak = vm.enter(|m| {
            let mut next = None;
            for _ in 0..100 {
                let object = m.alloc(vm.t).unwrap();
                m.store_ref(object, 8, next).unwrap();
                m.set_finalizer(object, &f).unwrap();
                let argument = m.alloc(vm.t).unwrap();
                m.add_cleanup(object, &c, argument).unwrap();
                next = Some(object);
            }
            let object = m.alloc(pair).unwrap();
            m.set_finalizer(Pointer::typed(to_int, object.addr() + 8), &inner)
                .unwrap();
            m.downgrade(next.unwrap()).unwrap()
        });
        let kept = vm.rooted();
        vm.enter(|m| m.set_finalizer(m.get(&kept).unwrap(), &f).unwrap());
        assert_eq!(vm.runtime.shutdown(true, LONG), Ok(0));

        let collected = vm.runtime.gc().unwrap();
        assert_eq!(collected.live_objects, 1);
        assert!(collected.outstanding().is_nothing());
        vm.enter(|m| assert_eq!(m.upgrade(&weak), Ok(None)));
        let stats = vm.runtime.stats();
        assert_eq!((stats.discarded, stats.queued, stats.executed), (201, 0, 0));
        assert_eq!((stats.finalizers, stats.cleanups), (1, 0));
        drop(kept);
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
        assert_eq!(vm.runtime.stats().discarded, 202);
        vm.runtime.verify_heap().unwrap();
    }
}

#[test]
fn after_a_shutdown_foreign_registrations_are_refused_and_dropped() {
    let finalizers = Finalizers::<u64>::new().unwrap();
    let (f, c) = (foreign_function(), foreign_cleanup());
    let prepared = finalizers
        .prepare_finalizer(&f, CyclePolicy::default())
        .unwrap();
    set_foreign(&finalizers, 8, &f);
    set_foreign(&finalizers, 16, &f);
    let cleanup = clean_foreign(&finalizers, 16, &c);
    // SAFETY: I16: the collector of these tests has no objects.
    let weak = unsafe { finalizers.downgrade(16) };
    set_foreign(&finalizers, 24, &f);
    collect_foreign(&finalizers, &[8, 16]);
    assert_eq!(finalizers.shutdown(false, LONG), Ok(1));

    // SAFETY: I16: as above.
    let refused = unsafe {
        [
            finalizers.set_finalizer(32, &f),
            prepared.set(32),
            prepared.set_all(&[32]),
            finalizers.add_cleanup(32, &c, HeldValue::Word(1)).map(drop),
            finalizers
                .prepare_finalizer(&f, CyclePolicy::default())
                .map(drop),
        ]
    };
    for error in refused.map(Result::unwrap_err) {
        assert!(
            matches!(error, RegisterError::Closed(Closed::ShutDown)),
            "{error}"
        );
    }
    // Nothing is revived, all are dropped, and weak handles go on to tell who is alive.
    let finished = collect_foreign(&finalizers, &[16]);
    assert_eq!((finished.queued, finalizers.upgrade(weak)), (0, Some(16)));
    let stats = finalizers.stats();
    assert_eq!(
        (stats.finalizers, stats.cleanups, stats.discarded),
        (0, 0, 1 + 3)
    );
    assert!(!finalizers.stop_cleanup(cleanup).is_cancelled());
    collect_foreign(&finalizers, &[]);
    assert_eq!(finalizers.upgrade(weak), None);
}

/// The goroutine lives as long as a mutator does.
#[test]
fn a_mutator_keeps_finalization_alive() {
    let vm = Vm::new();
    let (f, ran) = vm.sender("func(*main.T)");
    let mut m = vm.runtime.attach().unwrap();
    m.set_finalizer(m.alloc(vm.t).unwrap(), &f).unwrap();
    drop(vm);
    m.gc().unwrap();
    m.native(|| ran.recv_timeout(LONG)).unwrap();
}

/// What is queued when the last handle goes is dropped, and who waits is told.
#[test]
fn the_last_handle_drops_what_is_queued() {
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let (f, ran) = vm.sender("func(*main.T)");
    vm.doomed(1, |m, object| m.set_finalizer(object, &f).unwrap());
    let ticket = vm.runtime.gc().unwrap().ticket().clone();
    assert_eq!(ticket.outstanding().queued, 1);
    drop(vm);
    assert_eq!(
        ticket.wait(LONG),
        Err(ExecutorError::Discarded { calls: 1 })
    );
    assert_eq!(sent(&ran).len(), 0);
}
