//! Tickets: what is left of the calls that one collection has queued.

use std::time::Duration;

use fing::error::ExecutorError;
use fing::foreign::Finalizers;
use fing::{Executor, Runtime};

use super::vm::{LONG, Vm, sent};
use super::{Blocking, builders, collect_foreign, set_foreign};

/// The goroutine runs the newest call first. The older ones are not waited for, though they are in
/// the same block, and block.
#[test]
fn a_ticket_is_for_one_collection() {
    for builder in builders() {
        let vm = Vm::with(builder);
        let blocker = Blocking::new(&vm, 0);
        blocker.doom(&vm, [0]);
        let first = vm.runtime.gc().unwrap();
        blocker.wait_until_blocked();
        assert_eq!(
            (first.outstanding().queued, first.outstanding().running),
            (0, 1)
        );

        let blocking = Blocking::new(&vm, 3);
        blocking.doom(&vm, [1, 2]);
        let second = vm.runtime.gc().unwrap();
        blocking.doom(&vm, [3, 4, 5]);
        let third = vm.runtime.gc().unwrap();
        assert_eq!(
            (second.outstanding().queued, third.outstanding().queued),
            (2, 3)
        );
        let early = third.wait(Duration::ZERO);
        assert!(
            matches!(early, Err(ExecutorError::Timeout { due: 3, .. })),
            "{early:?}"
        );
        assert!(!third.outstanding().is_nothing());

        // Waiting for the third collection is over while a call of the second one blocks.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| third.wait(LONG));
            blocker.go_on.send(()).unwrap();
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
        assert_eq!(first.wait(LONG), Ok(()));
        blocking.wait_until_blocked();
        assert_eq!(
            (second.outstanding().queued, second.outstanding().running),
            (1, 1)
        );
        assert!(third.outstanding().is_nothing());
        blocking.go_on.send(()).unwrap();
        assert_eq!(second.wait(LONG), Ok(()));
        assert_eq!(blocking.ran().len(), 5);
    }
}

#[test]
fn a_ticket_of_nothing_is_over_at_once() {
    let vm = Vm::new();
    let collected = vm.runtime.gc().unwrap();
    assert_eq!(collected.wait(Duration::ZERO), Ok(()));
    assert_eq!(collected.number, 1, "the statistics are there as well");
    drop(vm);
    assert_eq!(collected.ticket().wait(Duration::ZERO), Ok(()));
}

/// A call that queues more brings about calls of another collection.
#[test]
fn calls_of_later_collections_are_not_waited_for() {
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let runtime = vm.runtime.downgrade();
    let (later, ran) = vm.sender("func(*main.T)");
    let t = vm.t;
    let f = vm.function("func(*main.T)", move |_| {
        let runtime = runtime.upgrade().unwrap();
        let set = |m: &mut fing::Mutator| m.set_finalizer(m.alloc(t).unwrap(), &later).map(drop);
        runtime.enter(set).unwrap().unwrap();
        assert_eq!(runtime.gc().unwrap().outstanding().queued, 1);
    });
    vm.doomed(1, |m, object| m.set_finalizer(object, &f).unwrap());
    let collected = vm.runtime.gc().unwrap();
    assert_eq!(collected.wait(LONG), Ok(()));
    // On the thread that runs finalizers, waiting runs them all.
    assert_eq!(sent(&ran).len(), 1);
}

#[test]
fn who_waits_where_it_cannot_end_is_told() {
    let vm = Vm::new();
    let runtime = vm.runtime.downgrade();
    let (tell, told) = std::sync::mpsc::channel();
    let f = vm.function("func(*main.T)", move |_| {
        let collected = runtime.upgrade().unwrap().gc().unwrap();
        tell.send(collected.wait(LONG)).unwrap();
    });
    let mut m = vm.runtime.attach().unwrap();
    m.set_finalizer(m.alloc(vm.t).unwrap(), &f).unwrap();
    let collected = m.gc().unwrap();
    let refused = collected.wait(LONG);
    assert!(matches!(refused, Err(ExecutorError::HoldsMutator { .. })));
    drop(m);
    assert_eq!(
        told.recv_timeout(LONG).unwrap(),
        Err(ExecutorError::OnGoroutine)
    );
    assert_eq!(collected.wait(LONG), Ok(()));
}

#[test]
fn a_foreign_collection_has_a_ticket() {
    let vm = Vm::new();
    let f = vm.function("func(uintptr)", |_| ());
    let finalizers = Finalizers::<u64>::new().unwrap();
    (1..=600).for_each(|object| set_foreign(&finalizers, object, &f));
    let kept: Vec<u64> = (301..=600).collect();
    let first = collect_foreign(&finalizers, &kept).ticket;
    let second = collect_foreign(&finalizers, &[]).ticket;
    assert_eq!(
        (first.outstanding().queued, second.outstanding().queued),
        (300, 300)
    );
    std::thread::scope(|scope| {
        // On another thread than the one that runs finalizers, it waits.
        let waiting = scope.spawn(|| (second.wait(LONG), first.wait(LONG)));
        assert_eq!(finalizers.run_finalizers(), Ok(600));
        assert_eq!(waiting.join().unwrap(), (Ok(()), Ok(())));
    });
    let third = collect_foreign(&finalizers, &[]).ticket;
    assert_eq!(third.wait(LONG), Ok(()));
}
