//! The hook is told once when a bound is passed, and again only after it was kept meanwhile.

use std::sync::mpsc::channel;
use std::time::Duration;

use fing::executor::{BacklogAction, BacklogBound};
use fing::failure::Watchdog;
use fing::{Executor, Runtime};

use super::{ALL, bounds, make, manual, queue, take, telling};
use crate::vm::{LONG, Vm};

#[test]
fn a_bound_is_told_when_it_is_passed() {
    for bound in bounds(10) {
        let (vm, told) = telling(manual().bound_backlog(bound, BacklogAction::Tell));
        let nothing = vm.function("func(*main.T)", |_| ());
        let passed = || take(&told).len();
        queue(&vm, &nothing, 10);
        assert_eq!(passed(), 0);
        queue(&vm, &nothing, 1);
        let first = take(&told);
        assert_eq!(first[0].bound, bound);
        let (found, most) = match bound {
            BacklogBound::Calls(_) => ("11 calls", "10 calls"),
            _ => ("110 external bytes", "100 external bytes"),
        };
        assert_eq!(
            first[0].to_string(),
            format!("the backlog of finalization has {found}, wanted at most {most}")
        );
        // It stays passed.
        queue(&vm, &nothing, 100);
        vm.runtime.gc().unwrap();
        make(&vm, 100);
        assert_eq!(passed(), 0);
        queue(&vm, &nothing, 1);
        assert_eq!(passed(), 0);
        // It is kept again, and passed again.
        make(&vm, 2);
        queue(&vm, &nothing, 1);
        assert_eq!(passed(), 1);
    }
}

/// Cancelling and shutting down make the backlog smaller as well.
#[test]
fn cancelled_and_dropped_calls_count_no_more() {
    let (vm, told) = telling(manual().bound_backlog(BacklogBound::Calls(1), BacklogAction::Tell));
    let nothing = vm.function("func(*main.T)", |_| ());
    for round in 1..=3 {
        queue(&vm, &nothing, 2);
        assert_eq!(take(&told).len(), 1, "round {round}");
        for entry in vm.runtime.list().unwrap() {
            vm.enter(|m| m.clear_finalizer(m.adopt(entry.object).unwrap()))
                .unwrap();
        }
    }
    queue(&vm, &nothing, 2);
    vm.runtime.shutdown(false, LONG).unwrap();
    vm.runtime.gc().unwrap();
    assert_eq!(take(&told).len(), 1);
}

/// The age passes its bound by itself; collections, calls, registrations and the watchdog notice.
#[test]
fn age_is_noticed() {
    let age = BacklogBound::Age(Duration::ZERO);
    let (vm, told) = telling(manual().bound_backlog(age, BacklogAction::Tell));
    let nothing = vm.function("func(*main.T)", |_| ());
    queue(&vm, &nothing, 1);
    assert!(matches!(take(&told)[0].found, BacklogBound::Age(_)));
    vm.runtime.gc().unwrap();
    assert_eq!(take(&told), []);
    make(&vm, 1);
    queue(&vm, &nothing, 1);
    assert_eq!(take(&told).len(), 1);

    // A call that is stuck; nothing else happens.
    let ((tell, told), (go, goes)) = (channel(), channel::<()>());
    let (tell, goes) = (std::sync::Mutex::new(tell), std::sync::Mutex::new(goes));
    let bound = Duration::from_millis(20);
    let builder = Runtime::builder()
        .watchdog(Watchdog::new(Duration::MAX))
        .bound_backlog(BacklogBound::Age(bound), BacklogAction::Tell)
        .on_pressure(move |exceeded| tell.lock().unwrap().send(*exceeded).unwrap());
    let vm = Vm::with(builder);
    let stuck = vm.function("func(*main.T)", move |_| {
        let _ = goes.lock().unwrap().recv();
    });
    queue(&vm, &stuck, 1);
    let exceeded = told.recv_timeout(LONG).unwrap();
    assert!(matches!(exceeded.found, BacklogBound::Age(age) if age >= bound));
    drop(go);
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(told.try_iter().count(), 0, "told once");
}

/// A hook may call the runtime, and may panic.
#[test]
fn hooks_may_do_anything() {
    let builder = Runtime::builder().executor(Executor::Inline);
    let runtime = builder.weak();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = count.clone();
    let builder = builder
        .bound_backlog(BacklogBound::Calls(0), BacklogAction::Tell)
        .on_pressure(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let runtime = runtime.upgrade().unwrap();
            // Collecting and draining inside of the hook tells it again, but never for ever.
            let _ = runtime.run_finalizers();
            runtime.gc().unwrap();
            panic!("as wanted");
        });
    let vm = Vm::with(builder);
    let nothing = vm.function("func(*main.T)", |_| ());
    queue(&vm, &nothing, 3);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(vm.runtime.stats().executed, 3);
    assert_eq!(vm.runtime.drain(ALL).unwrap().left, 0);
}
