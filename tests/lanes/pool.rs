//! The pool: several calls at a time, each once, whatever fails, is cancelled or is stuck.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use fing::executor::{Lane, Pool, ThreadOptions};
use fing::failure::{Cause, FailurePolicy, Watchdog};
use fing::{CallStage, Executor, FinalizerOptions, FinalizerState, Runtime};

use super::vm::{LONG, Vm};
use super::{Door, doom, logging, number, rust, sorted, until, with_pool};

/// As many calls run at a time as there are threads, beside a call of the executor; a function that
/// is free-threaded goes there unasked.
#[test]
fn calls_run_at_the_same_time() {
    let names = Arc::new(Mutex::new(HashSet::new()));
    let options = ThreadOptions::new().name("cleaning");
    let pool = Pool::new(4.try_into().unwrap()).thread(options);
    let vm = Vm::with(Runtime::builder().pool(pool));
    let meeting = Arc::new(Barrier::new(5));
    let (at, seen) = (meeting.clone(), names.clone());
    let together = rust(&vm, move |m, _| {
        let thread = std::thread::current();
        seen.lock()
            .unwrap()
            .insert((thread.id(), thread.name().map(str::to_owned)));
        m.native(|| at.wait());
    });
    let alone = vm.function("func(*main.T)", move |_| _ = meeting.wait());
    for _ in 0..4 {
        vm.doomed(0, |m, object| m.set_finalizer(object, &together).unwrap());
    }
    vm.doomed(0, |m, object| m.set_finalizer(object, &alone).unwrap());
    vm.runtime.gc().unwrap().wait(LONG).unwrap();
    let names = names.lock().unwrap();
    assert_eq!(names.len(), 4);
    assert!(
        names
            .iter()
            .all(|(_, name)| name.as_deref() == Some("cleaning"))
    );
    assert_eq!(vm.runtime.stats().executed, 5);
}

/// What became of each of many calls.
struct Ledger {
    runs: Vec<AtomicU8>,
    failed: AtomicU64,
}

/// Calls that allocate, panic and are queued again, with threads that collect and cancel beside the
/// pool, in every executor: each call is made once, or cancelled, and is counted so.
#[test]
fn each_call_once_under_load() {
    let objects = fing_oracles::cases(20_000);
    for executor in [Executor::Thread, Executor::Inline] {
        let ledger = Arc::new(Ledger {
            runs: (0..objects).map(|_| AtomicU8::new(0)).collect(),
            failed: AtomicU64::new(0),
        });
        let (book, failures) = (ledger.clone(), ledger.clone());
        let builder = with_pool(Runtime::builder().executor(executor), 3)
            .failure_policy(FailurePolicy::Requeue(2))
            .on_failure(move |_| _ = failures.failed.fetch_add(1, SeqCst));
        let vm = Vm::with(builder);
        let t = vm.t;
        let finalizer = rust(&vm, move |m, object| {
            let number = number(m, object);
            m.alloc(t).unwrap();
            let before = book.runs[number as usize].fetch_add(1, SeqCst);
            assert!(
                !number.is_multiple_of(100) || before > 0,
                "the first attempt fails"
            );
        });
        let cancelled = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (vm, finalizer, cancelled) = (&vm, &finalizer, &cancelled);
                scope.spawn(move || {
                    for number in (0..objects).filter(|number| number % 2 == thread) {
                        let addr = vm.doomed(number, |m, object| {
                            let options = FinalizerOptions::new().lane(Lane::Pool);
                            m.set_finalizer_with(object, finalizer, options).unwrap();
                            object.addr()
                        });
                        let kept = number % 7 == 3 && !number.is_multiple_of(100);
                        // The other thread may have collected twice since: then the object is gone,
                        // and another one may be in its place.
                        let root = vm.enter(|m| {
                            let object = m.adopt(addr).ok().filter(|_| kept)?;
                            (m.load_word(object, 0) == Ok(number)).then(|| m.root(object).unwrap())
                        });
                        if number % 500 == thread {
                            vm.runtime.gc().unwrap();
                        }
                        if let Some(root) = root {
                            let state = vm.enter(|m| m.clear_finalizer(m.get(&root).unwrap()));
                            if let FinalizerState::Cleared(stage) = state.unwrap()
                                && stage.is_cancelled()
                            {
                                cancelled.fetch_add(1, SeqCst);
                            }
                        }
                    }
                });
            }
        });
        vm.collect();
        // Nothing is due any more but what was queued again.
        let stats = vm.runtime.stats();
        let calls = stats.finalizer_calls;
        assert_eq!((calls.waiting, calls.running, calls.discarded), (0, 0, 0));
        let hundreds = objects.div_ceil(100);
        assert_eq!(ledger.failed.load(SeqCst), hundreds);
        assert_eq!(stats.requeued, hundreds);
        let made: u64 = ledger
            .runs
            .iter()
            .map(|runs| u64::from(runs.load(SeqCst)))
            .sum();
        assert_eq!(made, calls.executed);
        for (number, runs) in (0..).zip(&ledger.runs) {
            let most = if u64::is_multiple_of(number, 100) {
                2
            } else {
                1
            };
            let least = if number % 7 == 3 { 0 } else { most };
            assert!((least..=most).contains(&runs.load(SeqCst)), "{number}");
        }
        assert_eq!(made + cancelled.load(SeqCst), objects + hundreds);
        vm.runtime.verify_heap().unwrap();
    }
}

/// A call that is stuck keeps its own thread only: another takes the place, and the calls behind it
/// are made. In a mailbox it is reported, and its owner stays.
#[test]
fn stuck_calls_hold_up_themselves() {
    let stuck = Arc::new(Mutex::new(Vec::new()));
    let told = stuck.clone();
    let watchdog = Watchdog::new(Duration::from_millis(5)).hand_over(8);
    let builder = with_pool(Runtime::builder(), 2).watchdog(watchdog);
    let vm = Vm::with(builder.on_failure(move |failure| {
        assert!(matches!(failure.cause, Cause::Stuck(_)), "{failure}");
        told.lock().unwrap().push(failure.code);
    }));
    let door = Door::default();
    let at = door.clone();
    let log = Arc::new(Mutex::new(Vec::new()));
    let to = log.clone();
    let finalizer = rust(&vm, move |m, object| {
        let number = number(m, object);
        if number % 100 == 50 {
            m.native(|| at.pass());
        }
        to.lock().unwrap().push(number);
    });
    doom(&vm, 0..300, &finalizer, Lane::Pool);
    let ticket = vm.runtime.gc().unwrap().ticket().clone();
    door.wait_for(3);
    until("only the stuck ones are left", || {
        matches!(
            &ticket.outstanding_by_lane()[..],
            [(Lane::Pool, left)] if (left.running, left.queued) == (3, 0)
        )
    });
    until("three are stuck", || vm.runtime.stats().stuck == 3);
    vm.runtime.gc().unwrap();
    door.open();
    ticket.wait(LONG).unwrap();
    assert_eq!(sorted(&log), (0..300).collect::<Vec<_>>());
    // The system may have kept another one from running, so there may be more.
    assert!(stuck.lock().unwrap().len() >= 3);
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.stuck), (300, 0));
    assert!(stats.taken_over >= 3);

    // In a mailbox.
    let mailbox = vm.runtime.mailbox(Default::default()).unwrap();
    let door = Door::default();
    let at = door.clone();
    let slow = rust(&vm, move |m, _| m.native(|| at.pass()));
    doom(&vm, 0..2, &slow, mailbox.lane());
    vm.runtime.gc().unwrap();
    let before = stuck.lock().unwrap().len();
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| super::drained(&mailbox, super::ALL));
        until("it is told", || stuck.lock().unwrap().len() > before);
        assert_eq!(
            vm.runtime.stats().stuck,
            0,
            "nobody takes over from an owner"
        );
        door.open();
        assert_eq!(draining.join().unwrap(), (2, 0));
    });
}

/// A quarantined function is refused by all threads; other functions go on.
#[test]
fn quarantine_holds_for_the_pool() {
    let vm = Vm::with(with_pool(Runtime::builder(), 3));
    let bad = rust(&vm, |_, _| panic!("always"));
    let (good, log) = logging(&vm);
    for number in 0..600 {
        vm.doomed(number, |m, object| {
            let options = FinalizerOptions::new();
            let (function, options) = match number % 2 {
                0 => (&good, options),
                _ => (&bad, options.failure(FailurePolicy::Quarantine(5))),
            };
            m.set_finalizer_with(object, function, options).unwrap();
        });
    }
    vm.collect();
    let calls = vm.runtime.stats().finalizer_calls;
    assert_eq!(log.lock().unwrap().len(), 300);
    assert_eq!(calls.executed + calls.quarantined, 600);
    let failed = calls.executed - 300;
    // Two other threads may be in a call when the fifth fails.
    assert!((5..=7).contains(&failed), "{failed} calls failed");
    assert_eq!(calls.failed, 300);
}

/// A shutdown at any moment: each call was made, or is counted as dropped.
#[test]
fn shutdown_of_a_busy_pool() {
    for round in 0..30 {
        let vm = Vm::with(with_pool(Runtime::builder(), 3));
        let (finalizer, log) = logging(&vm);
        doom(&vm, 0..2000, &finalizer, Lane::Pool);
        let ticket = vm.runtime.gc().unwrap();
        until("some have run", || log.lock().unwrap().len() >= 10 * round);
        let dropped = vm.runtime.shutdown(false, LONG).unwrap();
        let made = log.lock().unwrap().len() as u64;
        assert_eq!(made + dropped, 2000);
        let left = ticket.outstanding();
        assert_eq!((left.queued, left.running, left.discarded), (0, 0, dropped));
        assert_eq!(vm.runtime.stats().executed, made);
    }
    let vm = Vm::with(with_pool(Runtime::builder(), 3));
    let (finalizer, log) = logging(&vm);
    doom(&vm, 0..2000, &finalizer, Lane::Pool);
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.shutdown(true, LONG), Ok(0));
    assert_eq!(sorted(&log), (0..2000).collect::<Vec<_>>());
}

/// A call of the pool that waits for the queue is refused, as it would wait for itself.
#[test]
fn calls_of_the_pool_that_wait() {
    let vm = Vm::with(with_pool(Runtime::builder().executor(Executor::Inline), 2));
    let (sender, told) = std::sync::mpsc::channel();
    let (sender, runtime) = (Mutex::new(sender), vm.runtime.downgrade());
    let finalizer = rust(&vm, move |m, _| {
        let runtime = runtime.upgrade().unwrap();
        let waited = m.native(|| runtime.block_until_finalizer_queue_empty(LONG));
        sender.lock().unwrap().send(waited).unwrap();
    });
    doom(&vm, 0..1, &finalizer, Lane::Pool);
    let ticket = vm.runtime.gc().unwrap();
    assert_eq!(
        told.recv_timeout(LONG).unwrap(),
        Err(fing::error::ExecutorError::OnGoroutine)
    );
    ticket.wait(LONG).unwrap();
    let state = vm.doomed(0, |m, object| m.clear_finalizer(object).unwrap());
    assert_eq!(state, FinalizerState::Cleared(CallStage::Done));
}
