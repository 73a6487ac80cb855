//! Calls that are stuck, and threads that end in a call: they are noticed, and the others go on.
#![cfg(target_os = "linux")]

#[path = "support/door.rs"]
#[expect(dead_code, reason = "not every test crate uses all of it")]
mod door;
#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/vm.rs"]
#[expect(dead_code, reason = "not every test crate uses all of it")]
mod vm;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use door::{Door, until};
use fing::error::{CallsError, ExecutorError, RuntimeError};
use fing::failure::{Cause, Failure, FailurePolicy, Watchdog};
use fing::foreign::{Finalizers, Scope};
use fing::{Abi, CleanupFn, Executor, FinalizerFn, HeldValue, Runtime};
use numbers::NoneReached;
use vm::{LONG, Vm};

/// Short, so that tests are; nothing depends on it.
const SOON: Duration = Duration::from_millis(5);

/// What a finalizer calls with the context of its registration.
type Body = Box<dyn Fn(u64) + Send + Sync>;

/// A `main.T` as its finalizer sees it.
#[repr(C)]
struct Object {
    number: u64,
    body: *const Body,
}

extern "C-unwind" fn with_number(object: *const Object, context: u64) {
    // SAFETY: I8: the object is whole until this returns, and names a closure that lives longer.
    let (number, body) = unsafe { ((*object).number, &*(*object).body) };
    assert_eq!(number, context);
    body(number);
}

/// What happened to each object, by its number.
struct Ledger {
    runs: Vec<AtomicU8>,
    total: AtomicU64,
    panics: Mutex<BTreeSet<u64>>,
    stuck: Mutex<BTreeSet<u64>>,
}

impl Ledger {
    fn new(objects: u64) -> Arc<Ledger> {
        Arc::new(Ledger {
            runs: (0..objects).map(|_| AtomicU8::new(0)).collect(),
            total: AtomicU64::new(0),
            panics: Mutex::default(),
            stuck: Mutex::default(),
        })
    }

    fn run(&self, number: u64) {
        self.runs[number as usize].fetch_add(1, SeqCst);
        self.total.fetch_add(1, SeqCst);
    }
}

fn panics(number: u64) -> bool {
    number % 100 == 17
}

fn blocks(number: u64) -> bool {
    number % 1000 == 500
}

/// The one that never returns.
const FOR_GOOD: u64 = 123;

/// How many objects: `FING_CASES`, or else 10,000. The million takes about a minute.
fn objects() -> u64 {
    fing_oracles::cases(10_000)
}

/// Objects of which some panic, some block until all others are done, and one blocks for good. Each
/// runs exactly as often as it should, and the reports name the culprits.
fn ledger(policy: FailurePolicy, collectors: usize) {
    let objects = objects();
    let blocked = (0..objects).filter(|&number| blocks(number)).count() as u64 + 1;
    let ledger = Ledger::new(objects);
    let reported = ledger.clone();
    let hook = move |failure: &Failure| {
        // An object is told apart by its context, so that a report need not touch the heap.
        let number = failure.context as u64;
        assert_eq!(failure.object_type.as_ref().unwrap().to_string(), "main.T");
        assert_eq!(failure.signature.to_string(), "func(*main.T)");
        match &failure.cause {
            Cause::Panic(message) => {
                assert_eq!(*message, format!("number {number}"));
                reported.panics.lock().unwrap().insert(number);
            }
            Cause::Stuck(time) => {
                assert!(*time >= SOON);
                reported.stuck.lock().unwrap().insert(number);
            }
            other => unreachable!("{other:?}"),
        }
    };
    let runtime = Runtime::builder()
        .watchdog(Watchdog::new(SOON).hand_over(blocked as usize + 8))
        .failure_policy(policy)
        .on_failure(hook);
    let vm = Vm::with(runtime);
    let (door, never) = (Door::default(), Door::default());
    let body: Body = {
        let (ledger, door, never) = (ledger.clone(), door.clone(), never.clone());
        Box::new(move |number| {
            ledger.run(number);
            if number == FOR_GOOD {
                never.pass();
            }
            if blocks(number) {
                door.pass();
            }
            if panics(number) {
                std::panic::resume_unwind(Box::new(format!("number {number}")));
            }
        })
    };
    let function = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let builder = FinalizerFn::builder(function, Abi::host_native().unwrap()).context_word();
    // SAFETY: I8: a System V function of a pointer and a context; `body` outlives the runtime.
    let function = unsafe { builder.at(with_number as *const ()) };
    let prepared = vm.runtime.prepare_finalizer(vm.t, &function).unwrap();
    let done = AtomicBool::new(false);
    let per_call = match policy {
        FailurePolicy::Requeue(again) => 1 + u64::from(again),
        _ => 1,
    };
    let panicking = (0..objects).filter(|&number| panics(number)).count() as u64;
    let runs = objects + panicking * (per_call - 1);
    std::thread::scope(|scope| {
        for _ in 0..collectors {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    vm.runtime.gc().unwrap();
                    std::thread::sleep(SOON);
                }
            });
        }
        for number in 0..objects {
            vm.doomed(number, |m, t| {
                m.store_addr(t, 8, (&raw const body).addr()).unwrap();
                prepared.set_with(t, HeldValue::Word(number)).unwrap();
            });
        }
        vm.runtime.gc().unwrap();
        until("every call has begun", || ledger.total.load(SeqCst) == runs);
        until("all that block are known", || {
            vm.runtime.stats().stuck == blocked
        });
        done.store(true, SeqCst);
    });
    door.open();
    until("all have returned but one", || {
        let stats = vm.runtime.stats();
        (stats.executed, stats.stuck) == (runs - 1, 1)
    });
    for (number, count) in (0..).zip(&ledger.runs) {
        let wanted = if panics(number) { per_call } else { 1 };
        assert_eq!(u64::from(count.load(SeqCst)), wanted, "{number}");
    }
    let numbers = |which: fn(u64) -> bool| (0..objects).filter(|&number| which(number)).collect();
    assert_eq!(*ledger.panics.lock().unwrap(), numbers(panics));
    let stuck: BTreeSet<u64> = numbers(|number| blocks(number) || number == FOR_GOOD);
    let seen = ledger.stuck.lock().unwrap();
    // Any other one may have been kept from running by the system for that long.
    assert!(seen.is_superset(&stuck));
    let stats = vm.runtime.stats();
    assert_eq!((stats.queued, stats.requeued), (runs, runs - objects));
    // The stuck object is a root, and the only one left.
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 1);
    drop(seen);
    never.open();
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
    vm.runtime.shutdown(true, LONG).unwrap();
}

#[test]
fn one_stuck_finalizer_holds_up_itself_only() {
    ledger(FailurePolicy::Report, 0);
}

#[test]
fn so_it_is_with_calls_queued_again_and_two_threads_that_collect() {
    ledger(FailurePolicy::Requeue(2), 2);
}

/// Without taking over, a stuck call is told, and the others wait for it.
#[test]
fn a_watchdog_that_does_not_hand_over_tells() {
    for executor in [Executor::Thread, Executor::Inline] {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (told, door) = (reports.clone(), Door::default());
        let opened = door.clone();
        let runtime = Runtime::builder()
            .executor(executor)
            .watchdog(Watchdog::new(SOON))
            .on_failure(move |failure| {
                told.lock().unwrap().push(failure.clone());
                // The inline thread is in the call: it goes on when it was told.
                opened.open();
            });
        let vm = Vm::with(runtime);
        let calls = Arc::new(AtomicU64::new(0));
        let (counted, behind) = (calls.clone(), door.clone());
        let function = vm.function("func(*main.T)", move |_| {
            // The first call waits until it is reported.
            if counted.fetch_add(1, SeqCst) == 0 {
                behind.pass();
            }
        });
        for number in 0..100 {
            vm.doomed(number, |m, t| m.set_finalizer(t, &function).unwrap());
        }
        vm.collect();
        assert_eq!(calls.load(SeqCst), 100);
        until("each report was told", || {
            vm.runtime.stats().failed == reports.lock().unwrap().len() as u64
        });
        let reports = reports.lock().unwrap();
        // The system may have kept another one from running, so there may be more.
        assert!(matches!(reports[0].cause, Cause::Stuck(time) if time >= SOON));
        let stats = vm.runtime.stats();
        assert_eq!((stats.executed, stats.stuck, stats.taken_over), (100, 0, 0));
        drop(reports);
        vm.runtime.shutdown(true, LONG).unwrap();
    }
}

#[test]
fn only_a_thread_of_our_own_can_be_relieved() {
    let watchdog = Watchdog::new(SOON).hand_over(1);
    let builder = Runtime::builder()
        .executor(Executor::Inline)
        .watchdog(watchdog);
    let refused = builder.build().unwrap_err();
    assert!(matches!(
        refused,
        RuntimeError::Calls(CallsError::Watchdog {
            found: Executor::Inline
        })
    ));
    let builder = Finalizers::<usize>::builder().watchdog(watchdog);
    let refused = builder.build().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "watchdog: to hand over, wanted Executor::Thread, found Inline"
    );
    // No clock reaches this deadline.
    let forever = Watchdog::new(Duration::MAX).hand_over(usize::MAX);
    let vm = Vm::with(Runtime::builder().watchdog(forever));
    let (finalizer, calls) = vm.sender("func(*main.T)");
    vm.doomed(1, |m, t| m.set_finalizer(t, &finalizer).unwrap());
    vm.collect();
    assert_eq!(calls.try_iter().count(), 1);
    vm.runtime.shutdown(true, LONG).unwrap();
}

/// A call that comes back after another thread has taken over ends as any other call.
#[test]
fn a_late_call_fails_and_is_queued_again() {
    let door = Door::default();
    let runtime = Runtime::builder()
        .watchdog(Watchdog::new(SOON).hand_over(1))
        .failure_policy(FailurePolicy::Requeue(1))
        .on_failure(|_| ());
    let vm = Vm::with(runtime);
    let calls = Arc::new(AtomicU64::new(0));
    let (counted, behind, runtime) = (calls.clone(), door.clone(), vm.runtime.clone());
    let waits = Arc::new(Mutex::new(Vec::new()));
    let waited = waits.clone();
    let function = vm.function("func(*main.T)", move |_| {
        let call = counted.fetch_add(1, SeqCst);
        // Each of the threads that run calls would wait for itself.
        let wait = runtime.block_until_finalizer_queue_empty(LONG);
        waited.lock().unwrap().push(wait);
        if call == 0 {
            behind.pass();
            let wait = runtime.block_until_finalizer_queue_empty(LONG);
            waited.lock().unwrap().push(wait);
            std::panic::resume_unwind(Box::new("late"));
        }
    });
    for number in 0..3 {
        vm.doomed(number, |m, t| m.set_finalizer(t, &function).unwrap());
    }
    vm.runtime.gc().unwrap();
    until("the others have run", || vm.runtime.stats().executed == 2);
    let wait = vm.runtime.block_until_finalizer_queue_empty(SOON);
    assert!(
        matches!(wait, Err(ExecutorError::Timeout { due: 1, .. })),
        "{wait:?}"
    );
    let end = vm.runtime.shutdown(true, SOON);
    assert!(
        matches!(end, Err(ExecutorError::Timeout { due: 1, .. })),
        "{end:?}"
    );
    door.open();
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    let stats = vm.runtime.stats();
    assert_eq!(
        (calls.load(SeqCst), stats.executed, stats.requeued),
        (4, 4, 1)
    );
    let waits = waits.lock().unwrap();
    assert_eq!(waits.len(), 5);
    assert!(
        waits
            .iter()
            .all(|wait| *wait == Err(ExecutorError::OnGoroutine))
    );
    vm.runtime.shutdown(true, LONG).unwrap();
}

/// As a thread ends that calls `exit` without the C library: nothing is unwound.
fn end_this_thread() -> ! {
    // SAFETY: I25: it takes no address. What the thread has is leaked.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}

/// Nothing else runs or waits meanwhile.
#[test]
fn a_thread_that_was_relieved_may_end_in_its_call() {
    let vm = Vm::with(Runtime::builder().watchdog(Watchdog::new(SOON).hand_over(4)));
    let door = Door::default();
    let inside = door.clone();
    let ends = vm.function("func(*main.T)", move |_| {
        inside.pass();
        end_this_thread();
    });
    vm.doomed(1, |m, t| m.set_finalizer(t, &ends).unwrap());
    vm.runtime.gc().unwrap();
    until("it is stuck", || vm.runtime.stats().stuck == 1);
    until("the new thread parks", || {
        vm.runtime.finalizer_goroutine_asleep()
    });
    std::thread::sleep(4 * SOON);
    door.open();
    vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(vm.runtime.stats().stuck, 0);
}

#[test]
fn a_thread_that_ends_in_a_finalizer_is_replaced() {
    for (most, policy) in [
        (0, FailurePolicy::Report),
        (2, FailurePolicy::Report),
        (0, FailurePolicy::Requeue(2)),
    ] {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let told = ends.clone();
        let runtime = Runtime::builder()
            .watchdog(Watchdog::new(LONG).hand_over(most))
            .failure_policy(policy)
            .on_failure(move |failure| told.lock().unwrap().push(failure.clone()));
        let vm = Vm::with(runtime);
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        let function = vm.function("func(*main.T)", move |[object, _]| {
            counted.fetch_add(1, SeqCst);
            // SAFETY: I8: the object is whole until this returns.
            let number = unsafe { *(object as *const u64) };
            if number % 40 == 7 {
                end_this_thread();
            }
        });
        for number in 0..100 {
            vm.doomed(number, |m, t| m.set_finalizer(t, &function).unwrap());
        }
        vm.runtime.gc().unwrap();
        vm.runtime
            .block_until_finalizer_queue_empty(LONG * 4)
            .unwrap();
        // 7, 47 and 87, once or three times each.
        let again = u64::from(policy != FailurePolicy::Report) * 2;
        assert_eq!(calls.load(SeqCst), 100 + 3 * again);
        let ends = ends.lock().unwrap();
        assert_eq!(ends.len() as u64, 3 + 3 * again);
        assert!(ends.iter().all(|end| end.cause == Cause::ThreadEnded));
        assert!(ends.iter().all(|end| end.object_type.is_some()));
        let stats = vm.runtime.stats();
        assert_eq!(
            (stats.executed, stats.queued),
            (100 + 3 * again, 100 + 3 * again)
        );
        assert_eq!((stats.taken_over, stats.stuck), (3 + 3 * again, 0));
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
        vm.runtime.shutdown(true, LONG).unwrap();
    }
}

/// A relieved thread may end in its call as well: then nothing of it is waited for.
#[test]
fn a_stuck_thread_that_ends_is_forgotten() {
    let door = Door::default();
    let watchdog = Watchdog::new(SOON).hand_over(1);
    let vm = Vm::with(Runtime::builder().watchdog(watchdog).on_failure(|_| ()));
    let behind = door.clone();
    let function = vm.function("func(*main.T)", move |_| {
        behind.pass();
        end_this_thread();
    });
    vm.doomed(0, |m, t| m.set_finalizer(t, &function).unwrap());
    vm.runtime.gc().unwrap();
    until("it is stuck", || vm.runtime.stats().stuck == 1);
    door.open();
    // The watchdog looks while something runs.
    let (other, _calls) = vm.sender("func(*main.T)");
    until("it is forgotten", || {
        vm.doomed(1, |m, t| m.set_finalizer(t, &other).unwrap());
        vm.runtime.gc().unwrap();
        vm.runtime.stats().stuck == 0
    });
    vm.runtime.shutdown(true, LONG).unwrap();
}

extern "C" fn waits(door: *const Door) {
    // SAFETY: I8: each registration's argument is a door that outlives the call, or null.
    if let Some(door) = unsafe { door.as_ref() } {
        door.pass();
    }
}

#[test]
fn finalizers_of_a_foreign_collector_are_watched_too() {
    let stuck = Arc::new(AtomicU64::new(0));
    let told = stuck.clone();
    let finalizers: Finalizers<usize> = Finalizers::builder()
        .executor(Executor::Thread)
        .watchdog(Watchdog::new(SOON).hand_over(8))
        .on_failure(move |failure| {
            assert!(matches!(failure.cause, Cause::Stuck(_)));
            told.fetch_add(1, SeqCst);
        })
        .build()
        .unwrap();
    let door = Door::default();
    let builder = CleanupFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: I8: a System V function of a word, which is 0 or the address of a door.
    let cleanup = unsafe { builder.at(waits as *const ()) };
    for object in (0x1000..).step_by(16).take(1000) {
        let waits = object % 0x1000 == 0;
        let word = if waits {
            (&raw const door).addr() as u64
        } else {
            0
        };
        // SAFETY: I16: nothing follows the objects.
        unsafe {
            finalizers
                .add_cleanup(object, &cleanup, HeldValue::Word(word))
                .unwrap()
        };
    }
    // SAFETY: I16: as above.
    unsafe {
        finalizers
            .collect(Scope::Full, &mut NoneReached { external_bytes: 0 }, |_| ())
            .unwrap()
    };
    finalizers.finish();
    // 0x1000, 0x2000, 0x3000, 0x4000.
    until("all others are done", || {
        let stats = finalizers.stats();
        (stats.executed, stats.stuck) == (996, 4)
    });
    assert!(stuck.load(SeqCst) >= 4);
    door.open();
    finalizers.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(finalizers.stats().executed, 1000);
    finalizers.shutdown(true, LONG).unwrap();
}
