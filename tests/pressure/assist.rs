//! Threads that allocate make calls, or wait for those that do, and never inside of one.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::executor::{BacklogAction, BacklogBound, Budget};
use fing::{Executor, Runtime};

use super::{ALL, bounds, make, manual, queue};
use crate::vm::{LONG, Vm};

fn left(vm: &Vm) -> u64 {
    vm.runtime.stats().backlog.calls
}

/// Each place where a thread assists makes as many calls as the budget allows.
#[test]
fn allocating_threads_make_calls() {
    for bound in bounds(10)
        .into_iter()
        .chain([BacklogBound::Age(Duration::ZERO)])
    {
        let action = BacklogAction::Assist(ALL.calls(4));
        let vm = Vm::with(manual().bound_backlog(bound, action));
        let nothing = vm.function("func(*main.T)", |_| ());
        queue(&vm, &nothing, 22);
        let mut m = vm.runtime.attach().unwrap();
        let object = m.alloc_collecting(vm.t).unwrap();
        assert_eq!(left(&vm), 18);
        // These do not: they may be anywhere.
        let _ = m.alloc(vm.t).unwrap();
        m.safepoint();
        assert_eq!(left(&vm), 18);
        m.collect_if_due();
        assert_eq!(left(&vm), 14);
        // A registration is made, and its thread assists once it has no object at hand.
        m.set_finalizer(m.get(&object).unwrap(), &nothing).unwrap();
        assert_eq!(left(&vm), 14);
        m.safepoint();
        assert_eq!(left(&vm), 10);
        m.safepoint();
        assert_eq!((left(&vm), vm.runtime.stats().assisted), (10, 12));
        if !matches!(bound, BacklogBound::Age(_)) {
            assert_eq!(m.assist(), 0);
            m.alloc_collecting(vm.t).unwrap();
        }
        m.native(|| make(&vm, 10));
        assert_eq!(m.assist(), 0);
        let stats = vm.runtime.stats();
        assert_eq!((stats.executed, stats.refused), (22, 0));
    }
}

/// A budget of nothing makes no call, one without bounds makes all.
#[test]
fn budgets() {
    for (budget, calls) in [
        (ALL.calls(0), 0),
        (ALL.time(Duration::ZERO), 1),
        (ALL.time(Duration::MAX), 30),
        (ALL.calls(u64::MAX), 30),
    ] {
        let vm = Vm::with(
            manual().bound_backlog(BacklogBound::Calls(10), BacklogAction::Assist(budget)),
        );
        let nothing = vm.function("func(*main.T)", |_| ());
        queue(&vm, &nothing, 30);
        assert_eq!(vm.enter(fing::Mutator::assist), calls);
        assert_eq!(left(&vm), 30 - calls);
    }
}

/// A finalizer that allocates, in its own runtime or another one, makes no calls; nor does a thread
/// that runs with a mutator of another runtime.
#[test]
fn no_call_is_made_inside_of_another() {
    let builder = || manual().bound_backlog(BacklogBound::Calls(0), BacklogAction::Assist(ALL));
    let other = Arc::new(Vm::with(builder()));
    let nothing = other.function("func(*main.T)", |_| ());
    queue(&other, &nothing, 5);
    let vm = Vm::with(builder());
    let (depth, calls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counted = calls.clone();
    let (runtime, foreign) = (vm.runtime.downgrade(), other.clone());
    let t = vm.t;
    let allocates = vm.function("func(*main.T)", move |_| {
        assert_eq!(depth.fetch_add(1, SeqCst), 0);
        let runtime = runtime.upgrade().unwrap();
        let made = runtime.enter(|m| {
            m.alloc_collecting(t).unwrap();
            m.collect_if_due();
            m.assist()
        });
        let elsewhere = foreign.enter(fing::Mutator::assist);
        assert_eq!((made, elsewhere), (Ok(0), 0));
        counted.fetch_add(1, SeqCst);
        depth.fetch_sub(1, SeqCst);
    });
    let lent = {
        let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
        let counted = calls.clone();
        fing::FinalizerFn::from_rust(signature, move |m, _| {
            m.alloc_collecting(t).unwrap();
            assert_eq!(m.assist(), 0);
            counted.fetch_add(1, SeqCst);
        })
    };
    queue(&vm, &allocates, 3);
    vm.doomed(0, |m, object| {
        m.set_finalizer(object, &lent).map(drop).unwrap()
    });
    vm.runtime.gc().unwrap();
    let mutator = other.runtime.attach().unwrap();
    assert_eq!(vm.enter(fing::Mutator::assist), 0);
    drop(mutator);
    assert_eq!(vm.enter(fing::Mutator::assist), 4);
    assert_eq!((calls.load(SeqCst), vm.runtime.stats().failed), (4, 0));
    assert_eq!(left(&other), 5);
}

/// With an inline executor only the thread that may make calls does.
#[test]
fn only_threads_that_may_make_calls_do() {
    let builder = Runtime::builder().executor(Executor::Inline);
    let vm = Vm::with(builder.bound_backlog(BacklogBound::Calls(0), BacklogAction::Assist(ALL)));
    let nothing = vm.function("func(*main.T)", |_| ());
    queue(&vm, &nothing, 3);
    std::thread::scope(|scope| {
        let there = scope.spawn(|| vm.enter(fing::Mutator::assist));
        assert_eq!(there.join().unwrap(), 0);
    });
    assert_eq!(vm.enter(fing::Mutator::assist), 3);
}

/// With a thread of the runtime's own, threads that allocate wait for it.
#[test]
fn threads_wait_for_the_goroutine() {
    let (began, begins) = channel();
    let (go, goes) = channel::<()>();
    let goes = Mutex::new(goes);
    let budget = Budget::unlimited().time(LONG);
    let vm = Vm::with(
        Runtime::builder().bound_backlog(BacklogBound::Calls(2), BacklogAction::Assist(budget)),
    );
    let waits = vm.function("func(*main.T)", move |_| {
        began.send(()).unwrap();
        let _ = goes.lock().unwrap().recv();
    });
    queue(&vm, &waits, 6);
    begins.recv_timeout(LONG).unwrap();
    std::thread::scope(|scope| {
        let (enters, entered) = channel();
        let vm = &vm;
        let assisting = scope.spawn(move || {
            let made = vm.enter(|m| {
                enters.send(()).unwrap();
                m.assist()
            });
            (made, left(vm))
        });
        entered.recv_timeout(LONG).unwrap();
        // Not before the thread waits, in a native region. Five calls wait behind the first.
        vm.runtime.gc().unwrap();
        for _ in 0..3 {
            go.send(()).unwrap();
        }
        let (made, left) = assisting.join().unwrap();
        assert_eq!(left, 2, "until two wait");
        // Some may have been made before the thread looked.
        assert!(made <= 3);
        assert_eq!(vm.runtime.stats().assisted, made);
        drop(go);
    });
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
}

/// Waiting ends with the budget's time, its calls, and with a shutdown.
#[test]
fn waiting_ends() {
    for budget in [
        ALL.time(Duration::ZERO),
        ALL.time(Duration::from_millis(5)),
        ALL.calls(0),
        ALL,
    ] {
        let (began, begins) = channel();
        let (go, goes) = channel::<()>();
        let goes = Mutex::new(goes);
        let builder = Runtime::builder();
        let vm =
            Vm::with(builder.bound_backlog(BacklogBound::Calls(0), BacklogAction::Assist(budget)));
        let waits = vm.function("func(*main.T)", move |_| {
            began.send(()).unwrap();
            let _ = goes.lock().unwrap().recv();
        });
        queue(&vm, &waits, 3);
        begins.recv_timeout(LONG).unwrap();
        std::thread::scope(|scope| {
            let assisting = scope.spawn(|| vm.enter(fing::Mutator::assist));
            if budget == ALL {
                // Only its end can end the wait.
                let _ = vm.runtime.shutdown(false, Duration::ZERO);
            }
            let made = assisting.join().unwrap();
            assert!(made == 0 || budget == ALL);
        });
        drop(go);
        vm.runtime.shutdown(false, LONG).unwrap();
        assert_eq!(vm.enter(fing::Mutator::assist), 0);
    }
}

/// Many threads allocate, register, assist, and are refused above a higher bound; each call that
/// was registered is made once.
#[test]
fn a_ledger_of_many_threads() {
    const THREADS: u64 = 4;
    const OBJECTS: u64 = 2000;
    for executor in [Executor::Manual, Executor::Thread] {
        let some = BacklogAction::Assist(ALL.calls(40).time(LONG));
        let builder = Runtime::builder()
            .executor(executor)
            .bound_backlog(BacklogBound::Calls(100), some)
            .bound_backlog(BacklogBound::Calls(400), BacklogAction::Refuse)
            .bound_backlog(
                BacklogBound::Age(Duration::from_secs(3600)),
                BacklogAction::Refuse,
            );
        let vm = Vm::with(builder);
        let made: Arc<Vec<AtomicU64>> =
            Arc::new((0..THREADS * OBJECTS).map(|_| AtomicU64::new(0)).collect());
        let (ledger, runtime) = (made.clone(), vm.runtime.downgrade());
        let finalizer = vm.function("func(*main.T)", move |[object, _]| {
            let number = runtime
                .upgrade()
                .unwrap()
                .enter(|m| m.load_word(m.adopt(object).unwrap(), 0))
                .unwrap();
            ledger[number.unwrap() as usize].fetch_add(1, SeqCst);
        });
        let registered: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (vm, finalizer, made) = (&vm, &finalizer, &made);
                    scope.spawn(move || {
                        let mut m = vm.runtime.attach().unwrap();
                        let mut registered = 0;
                        for n in 0..OBJECTS {
                            let number = thread * OBJECTS + n;
                            let handle = m.alloc_collecting(vm.t).unwrap();
                            let object = m.get(&handle).unwrap();
                            m.store_word(object, 0, number).unwrap();
                            match m.set_finalizer(object, finalizer) {
                                Ok(_) => registered += 1,
                                // Must not be called.
                                Err(_) => _ = made[number as usize].fetch_add(1, SeqCst),
                            }
                            drop(handle);
                            if n % 150 == thread * 7 {
                                m.gc().unwrap();
                            }
                        }
                        registered
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        vm.runtime.gc().unwrap();
        vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
        let stats = vm.runtime.stats();
        assert_eq!(registered + stats.refused, THREADS * OBJECTS);
        assert_eq!((stats.executed, stats.failed), (registered, 0));
        assert!(executor == Executor::Thread || stats.assisted > 0);
        assert!(made.iter().all(|calls| calls.load(SeqCst) == 1));
        assert_eq!(stats.backlog.external_bytes, 0);
    }
}
