//! Statistics, lists and times of calls, held against a ledger of what the test did.
#![cfg(target_os = "linux")]

use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use fing::check::Registration;
use fing::executor::DrainOrder;
use fing::observe::{CallStats, State};
use fing::{Executor, Runtime};

#[path = "support/vm.rs"]
mod vm;

use vm::{LONG, Vm, sent};

/// What a test expects of the counts of one kind, beside `queued`, which is a sum.
fn counts(stats: &CallStats) -> [u64; 6] {
    let CallStats {
        registered,
        waiting,
        running,
        executed,
        failed,
        discarded,
        ..
    } = *stats;
    assert_eq!(stats.queued, waiting + running + executed + discarded);
    [registered, waiting, running, executed, failed, discarded]
}

#[test]
fn finalizers_and_cleanups_are_counted_apart_in_every_state() {
    for order in [DrainOrder::Lifo, DrainOrder::Grouped] {
        let vm = Vm::with(
            Runtime::builder()
                .executor(Executor::Inline)
                .drain_order(order),
        );
        let finalizer = vm.function("func(*main.T)", |_| ());
        let fails = vm.function("func(*main.T)", |_| panic!("as wanted"));
        let cleanup = vm.cleanup("func(int)", |_| ());
        for n in 0..1000 {
            let finalizer = if n % 100 == 0 { &fails } else { &finalizer };
            vm.doomed(n, |m, object| {
                m.set_finalizer(object, finalizer).unwrap();
                m.add_cleanup(object, &cleanup, 7).unwrap();
            });
            vm.doomed(n, |m, object| {
                m.add_cleanup(object, &cleanup, 8).unwrap();
            });
        }
        let stats = vm.runtime.stats();
        assert_eq!(counts(&stats.finalizer_calls), [1000, 0, 0, 0, 0, 0]);
        assert_eq!(counts(&stats.cleanup_calls), [2000, 0, 0, 0, 0, 0]);
        assert_eq!((stats.backlog.calls, stats.backlog.bytes), (0, 0));
        assert_eq!(stats.backlog.age, Duration::ZERO);
        vm.runtime.gc().unwrap();
        let stats = vm.runtime.stats();
        assert_eq!(counts(&stats.finalizer_calls), [0, 1000, 0, 0, 0, 0]);
        assert_eq!(counts(&stats.cleanup_calls), [1000, 1000, 0, 0, 0, 0]);
        assert_eq!(stats.backlog.calls, 2000);
        assert!(stats.backlog.bytes >= 2000 * 8 && stats.backlog.age > Duration::ZERO);
        vm.runtime.run_finalizers().unwrap();
        let stats = vm.runtime.stats();
        assert_eq!(counts(&stats.finalizer_calls), [0, 0, 0, 1000, 10, 0]);
        assert_eq!(counts(&stats.cleanup_calls), [1000, 0, 0, 1000, 0, 0]);
        assert_eq!(stats.backlog.age, Duration::ZERO);
        vm.runtime.gc().unwrap();
        vm.runtime.shutdown(false, LONG).unwrap();
        let stats = vm.runtime.stats();
        assert_eq!(counts(&stats.cleanup_calls), [0, 0, 0, 1000, 0, 1000]);
    }
}

/// A function that says that it runs, and waits.
fn gate(vm: &Vm) -> (fing::FinalizerFn, Receiver<()>, Sender<()>) {
    let ((began, begins), (go, goes)) = (channel(), channel());
    let goes = std::sync::Mutex::new(goes);
    let function = vm.function("func(*main.T)", move |_| {
        began.send(()).unwrap();
        goes.lock().unwrap().recv().unwrap();
    });
    (function, begins, go)
}

#[test]
fn a_call_under_way_is_running_and_those_behind_it_wait() {
    let vm = Vm::new();
    let (function, begins, go) = gate(&vm);
    for n in 0..3 {
        vm.doomed(n, |m, object| m.set_finalizer(object, &function).unwrap());
    }
    vm.runtime.gc().unwrap();
    let mut last = Duration::ZERO;
    for done in 0..3 {
        begins.recv_timeout(LONG).unwrap();
        let stats = vm.runtime.stats();
        assert_eq!(counts(&stats.finalizer_calls), [0, 2 - done, 1, done, 0, 0]);
        assert!(stats.backlog.age >= last);
        last = stats.backlog.age;
        let states: Vec<State> = vm.runtime.list().unwrap().iter().map(|e| e.state).collect();
        assert_eq!(states[0], State::Running);
        assert_eq!(states[1..], vec![State::Queued; 2 - done as usize]);
        go.send(()).unwrap();
    }
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    let stats = vm.runtime.stats();
    assert_eq!(counts(&stats.finalizer_calls), [0, 0, 0, 3, 0, 0]);
}

#[test]
fn all_that_is_registered_and_queued_is_listed() {
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let by_pointer = vm.function("func(*main.T)", |_| ());
    let by_interface = vm.function("func(any)", |_| ());
    let cleanup = vm.cleanup("func(int)", |_| ());
    let held = vm.rooted();
    vm.enter(|m| {
        let object = m.get(&held).unwrap();
        m.set_finalizer(object, &by_pointer).unwrap();
        m.add_cleanup(object, &cleanup, 1).unwrap();
    });
    let lost = vm.doomed(1, |m, object| {
        m.set_finalizer(object, &by_interface).unwrap();
        object.addr()
    });
    vm.doomed(2, |m, object| {
        m.add_cleanup(object, &cleanup, 2).unwrap();
    });
    let list = vm.runtime.list().unwrap();
    assert_eq!(list.len(), 4);
    assert!(
        list.iter()
            .all(|e| e.state == State::Registered && e.bytes == 16)
    );
    assert!(list.iter().all(|e| &*e.ty == "main.T"), "{list:?}");
    vm.runtime.gc().unwrap();
    let list = vm.runtime.list().unwrap();
    let mut found: Vec<_> = list
        .iter()
        .map(|e| (e.state, e.registration, &*e.function, e.bytes))
        .collect();
    found.sort_by_key(|entry| format!("{entry:?}"));
    assert_eq!(
        found,
        [
            (State::Queued, Registration::Cleanup, "func(int)", 0),
            (
                State::Queued,
                Registration::Finalizer,
                "func(interface{})",
                16
            ),
            (State::Registered, Registration::Cleanup, "func(int)", 16),
            (
                State::Registered,
                Registration::Finalizer,
                "func(*main.T)",
                16
            ),
        ]
    );
    let finalizer = |e: &&fing::observe::Listed| {
        (e.state, e.registration) == (State::Queued, Registration::Finalizer)
    };
    assert_eq!(list.iter().find(finalizer).unwrap().object, lost);
    vm.collect();
    assert_eq!(vm.runtime.list().unwrap().len(), 2);
}

/// Whatever is sampled, each call is made once, in order; and as many are timed as were asked for.
#[test]
fn sampled_calls_are_timed_and_made_once() {
    for every in [1, 3, 64, 1 << 20] {
        let builder = Runtime::builder().executor(Executor::Inline);
        let vm = Vm::with(builder.sample_calls(NonZeroU32::new(every).unwrap()));
        let (finalizer, calls) = vm.sender("func(*main.T)");
        let (cleanup, cleanups) = vm.cleanup_sender("func(int)");
        let slow = vm.function("func(*main.T)", |_| {
            std::thread::sleep(Duration::from_millis(20))
        });
        for n in 0..600 {
            vm.doomed(n, |m, object| m.set_finalizer(object, &finalizer).unwrap());
            vm.doomed(n, |m, object| m.add_cleanup(object, &cleanup, n).unwrap());
        }
        vm.doomed(0, |m, object| m.set_finalizer(object, &slow).unwrap());
        vm.runtime.gc().unwrap();
        assert_eq!(vm.runtime.run_finalizers().unwrap(), 1201);
        assert_eq!((sent(&calls).len(), sent(&cleanups).len()), (600, 600));
        let times = vm.runtime.call_times().unwrap();
        let timed = |of: &[u64]| of.iter().sum::<u64>();
        let all = timed(&times.finalizers) + timed(&times.cleanups);
        assert_eq!(all, 1201_u64.div_ceil(every.into()));
        assert_eq!(times.functions.iter().map(|f| f.calls).sum::<u64>(), all);
        assert_eq!(times.slowest.len() as u64, all.min(16));
        assert!(times.slowest.is_sorted_by(|a, b| a.time >= b.time));
        if every == 1 {
            assert_eq!(
                (timed(&times.finalizers), timed(&times.cleanups)),
                (601, 600)
            );
            // At least 2^24 nanoseconds, so in element 25 or a later one. On a busy machine others
            // may take as long.
            assert!(timed(&times.finalizers[25..]) >= 1);
            let mut slowest = times.slowest.iter();
            let slow = slowest.find(|call| call.signature == "func(*main.T)");
            assert!(slow.unwrap().time >= Duration::from_millis(20));
        }
    }
    assert_eq!(Vm::new().runtime.call_times(), None);
}
