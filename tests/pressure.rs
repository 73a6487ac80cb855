//! Bounds of the backlog: when they are passed, who is told, who is refused, who assists.
#![cfg(target_os = "linux")]

#[path = "pressure/assist.rs"]
mod assist;
#[path = "pressure/foreign.rs"]
mod foreign;
#[path = "pressure/lanes.rs"]
mod lanes;
#[path = "support/numbers.rs"]
mod numbers;
#[path = "pressure/refuse.rs"]
mod refuse;
#[path = "pressure/tell.rs"]
mod tell;
#[path = "support/vm.rs"]
#[expect(
    dead_code,
    reason = "what finalizers and cleanups send is sent by closures here"
)]
mod vm;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::executor::{BacklogAction, BacklogBound, BacklogExceeded, Budget};
use fing::{Executor, FinalizerFn, FinalizerOptions, Runtime, RuntimeBuilder};

use vm::{LONG, Vm};

const ALL: Budget = Budget::unlimited();

/// One bound of each kind that so many calls of objects with 10 external bytes each exceed when
/// there is one more.
fn bounds(calls: u64) -> [BacklogBound; 2] {
    [
        BacklogBound::Calls(calls),
        BacklogBound::ExternalBytes(10 * calls as usize),
    ]
}

fn manual() -> RuntimeBuilder {
    Runtime::builder().executor(Executor::Manual)
}

/// What a hook was told.
type Told = Arc<Mutex<Vec<BacklogExceeded>>>;

/// A runtime that notes what its hook is told.
fn telling(builder: RuntimeBuilder) -> (Vm, Told) {
    let told = Told::default();
    let note = told.clone();
    let hook = move |exceeded: &BacklogExceeded| note.lock().unwrap().push(*exceeded);
    (Vm::with(builder.on_pressure(hook)), told)
}

fn take(told: &Told) -> Vec<BacklogExceeded> {
    std::mem::take(&mut *told.lock().unwrap())
}

/// Queues so many calls, of objects with 10 external bytes each. Nothing may be in the way of
/// registering them.
fn queue(vm: &Vm, finalizer: &FinalizerFn, calls: u64) {
    for number in 0..calls {
        let options = FinalizerOptions::new().external_bytes(10);
        vm.doomed(number, |m, object| {
            m.set_finalizer_with(object, finalizer, options).unwrap();
        });
    }
    vm.runtime.gc().unwrap();
}

/// Makes so many calls.
fn make(vm: &Vm, calls: u64) {
    let drained = vm.runtime.drain(ALL.calls(calls)).unwrap();
    assert_eq!(drained.calls, calls);
}

/// The backlog's external bytes are those of objects whose calls have not ended, whatever becomes
/// of the calls: made in any number of drains, cancelled, queued again, dropped.
#[test]
fn external_bytes_follow_their_calls() {
    let vm = Vm::with(manual());
    let bytes = || vm.runtime.stats().backlog.external_bytes;
    let nothing = vm.function("func(*main.T)", |_| ());
    let cleanup = vm.cleanup("func(int)", |_| ());
    queue(&vm, &nothing, 700);
    assert_eq!(bytes(), 7000);
    for left in [699, 690, 187, 186] {
        make(&vm, vm.runtime.stats().backlog.calls - left);
        assert_eq!(bytes(), 10 * left as usize);
        vm.runtime.gc().unwrap();
        assert_eq!(bytes(), 10 * left as usize);
    }
    // Cancelled one by one, by looking and, later on, by an index.
    let mut left = 186;
    for entry in vm.runtime.list().unwrap() {
        let cleared = vm.enter(|m| m.clear_finalizer(m.adopt(entry.object).unwrap()));
        cleared.unwrap();
        left -= 1;
        assert_eq!(bytes(), 10 * left);
    }
    assert_eq!(left, 0);
    // The object of several cleanups counts once, until the first of them is done.
    vm.doomed(0, |m, object| {
        for n in 0..3 {
            m.add_cleanup(object, &cleanup, n).unwrap();
        }
        m.set_external_bytes(object, 500).unwrap();
    });
    // One without external bytes follows one with some in a block that was used before.
    vm.doomed(0, |m, object| {
        m.set_finalizer(object, &nothing).map(drop).unwrap()
    });
    vm.runtime.gc().unwrap();
    assert_eq!(bytes(), 500);
    make(&vm, 4);
    assert_eq!(bytes(), 0);
    queue(&vm, &nothing, 20);
    vm.doomed(0, |m, object| {
        m.set_finalizer(object, &nothing).unwrap();
        m.set_external_bytes(object, usize::MAX).unwrap();
    });
    vm.runtime.gc().unwrap();
    assert_eq!(bytes(), usize::MAX, "and no overflow");
    vm.runtime.shutdown(false, LONG).unwrap();
    assert_eq!(bytes(), 0);
}

/// A call that is queued again keeps its bytes, and one that runs still counts.
#[test]
fn external_bytes_of_calls_that_run_or_fail() {
    let vm = Vm::with(manual().failure_policy(fing::failure::FailurePolicy::Requeue(1)));
    let runtime = vm.runtime.downgrade();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = seen.clone();
    let fails = vm.function("func(*main.T)", move |_| {
        let stats = runtime.upgrade().unwrap().stats();
        let backlog = stats.backlog;
        see.lock()
            .unwrap()
            .push((backlog.calls, backlog.external_bytes));
        panic!("as wanted");
    });
    queue(&vm, &fails, 2);
    let drained = vm.runtime.drain(ALL).unwrap();
    assert_eq!(drained.calls, 4);
    // Each of the first two is queued again once it has failed.
    assert_eq!(*seen.lock().unwrap(), [(1, 20), (1, 20), (1, 20), (0, 10)]);
}

/// Nothing is exceeded by what is exactly the bound; the largest bounds never are.
#[test]
fn bounds_are_exact() {
    for action in [
        BacklogAction::Tell,
        BacklogAction::Refuse,
        BacklogAction::Assist(ALL),
    ] {
        let mut builder = manual();
        let never = [
            BacklogBound::Calls(u64::MAX),
            BacklogBound::ExternalBytes(usize::MAX),
            BacklogBound::Age(Duration::MAX),
            BacklogBound::Age(Duration::from_secs(1 << 40)),
        ];
        for bound in bounds(5).into_iter().chain(never) {
            builder = builder.bound_backlog(bound, action);
        }
        let (vm, told) = telling(builder);
        let nothing = vm.function("func(*main.T)", |_| ());
        queue(&vm, &nothing, 5);
        assert_eq!(take(&told), []);
        vm.doomed(0, |m, object| {
            m.set_finalizer(object, &nothing).unwrap();
            m.set_external_bytes(object, 1).unwrap();
        });
        let stats = vm.runtime.stats();
        assert_eq!((stats.refused, stats.assisted), (0, 0));
        vm.runtime.gc().unwrap();
        let found: Vec<_> = take(&told).iter().map(|e| (e.found, e.action)).collect();
        let wanted = [BacklogBound::Calls(6), BacklogBound::ExternalBytes(51)];
        assert_eq!(found, wanted.map(|found| (found, action)));
    }
}
