//! A ledger of many calls of which some panic, some are queued again, some block and one for good,
//! while other threads collect and cancel: each is made or cancelled, exactly once.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fing::failure::{Cause, Failure, FailurePolicy, Watchdog};
use fing::foreign::{CollectionError, Finalizers, Scope, Tracer};
use fing::observe::CallStats;
use fing::{Abi, CallStage, Executor, FinalizerFn, Runtime};

use super::door::Door;
use super::vm::{LONG, Vm};

/// When a call counts as stuck.
const SOON: Duration = Duration::from_millis(5);
/// How often a call that has panicked is made again.
const AGAIN: u8 = 2;
/// The call that never returns.
const FOR_GOOD: u32 = 123;

/// How many calls: `FING_CASES`, or else 10,000.
fn calls() -> u32 {
    fing_oracles::cases(10_000).try_into().unwrap()
}

fn panics(number: u32) -> bool {
    number % 100 == 17
}

fn blocks(number: u32) -> bool {
    number % 1000 == 500
}

/// Every fifth, so that some of these panic.
fn is_to_be_cancelled(number: u32) -> bool {
    number % 5 == 2
}

/// What has happened to each call, by its number.
struct Ledger {
    made: Vec<AtomicU8>,
    /// How it was cancelled, if it was.
    cancelled: Mutex<HashMap<u32, CallStage>>,
    panicked: Mutex<BTreeSet<u32>>,
    stuck: Mutex<BTreeSet<u32>>,
    door: Door,
    never: Door,
}

impl Ledger {
    fn new() -> Arc<Ledger> {
        Arc::new(Ledger {
            made: (0..calls()).map(|_| AtomicU8::new(0)).collect(),
            cancelled: Mutex::default(),
            panicked: Mutex::default(),
            stuck: Mutex::default(),
            door: Door::default(),
            never: Door::default(),
        })
    }

    /// The call with this number.
    fn call(&self, number: u32) {
        self.made[number as usize].fetch_add(1, SeqCst);
        if number == FOR_GOOD {
            self.never.pass();
        }
        if blocks(number) {
            self.door.pass();
        }
        if panics(number) {
            std::panic::resume_unwind(Box::new(format!("number {number}")));
        }
    }

    fn report(&self, failure: &Failure) {
        let number = failure.words[0] as u32;
        match &failure.cause {
            Cause::Panic(message) => {
                assert_eq!(*message, format!("number {number}"));
                self.panicked.lock().unwrap().insert(number);
            }
            Cause::Stuck(_) => {
                self.stuck.lock().unwrap().insert(number);
            }
            other => unreachable!("{other:?}"),
        }
    }
}

fn watchdog() -> Watchdog {
    Watchdog::new(SOON).hand_over(calls() as usize / 1000 + 8)
}

/// What the calls are of.
trait Subject: Sync {
    fn register(&self, number: u32);
    fn cancel(&self, number: u32) -> CallStage;
    fn collect(&self);
    fn stats(&self) -> CallStats;
}

/// Waits until something is so of the calls. Only a hang ends it early.
fn until(subject: &impl Subject, what: &str, holds: impl Fn(&CallStats) -> bool) {
    let from = Instant::now();
    loop {
        let stats = subject.stats();
        if holds(&stats) {
            return;
        }
        assert!(
            from.elapsed() < 20 * LONG,
            "waited in vain until {what}: {stats:?}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Registers all, and collects on two threads while a third cancels some.
fn settle(ledger: &Ledger, subject: &impl Subject) {
    let calls = calls();
    let all =
        |which: &dyn Fn(u32) -> bool| (0..calls).filter(|n| which(*n)).collect::<BTreeSet<_>>();
    let blocked = all(&|number| blocks(number) || number == FOR_GOOD);
    let registered = AtomicU32::new(0);
    let is_settled = |stats: &CallStats| {
        (stats.registered, stats.waiting) == (0, 0) && stats.running == blocked.len() as u64
    };
    let collect = || {
        while registered.load(SeqCst) < calls || !is_settled(&subject.stats()) {
            subject.collect();
            std::thread::sleep(SOON);
        }
    };
    let cancel = || {
        for number in (0..calls).filter(|number| is_to_be_cancelled(*number)) {
            // Some at once, some when they may be queued, running or done.
            let behind = number.wrapping_mul(7919) % 600;
            while registered.load(SeqCst) < calls.min(number + 1 + behind) {
                std::thread::yield_now();
            }
            let stage = subject.cancel(number);
            if stage.is_cancelled() {
                ledger.cancelled.lock().unwrap().insert(number, stage);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(collect);
        scope.spawn(collect);
        scope.spawn(cancel);
        for number in 0..calls {
            subject.register(number);
            registered.store(number + 1, SeqCst);
        }
    });
    ledger.door.open();
    until(subject, "all have returned but one", |stats| {
        stats.running == 1
    });
    let cancelled = ledger.cancelled.lock().unwrap();
    let (mut made, mut failed) = (0, BTreeSet::new());
    for (number, count) in (0..).zip(&ledger.made) {
        let count = count.load(SeqCst);
        made += u64::from(count);
        let wanted = match (panics(number), cancelled.contains_key(&number)) {
            (false, false) => 1..=1,
            (false, true) => 0..=0,
            (true, false) => 1 + AGAIN..=1 + AGAIN,
            // Before it was made, or while it was queued again.
            (true, true) => 0..=AGAIN,
        };
        assert!(
            wanted.contains(&count),
            "call {number}: made {count}, {wanted:?} wanted"
        );
        if panics(number) && count > 0 {
            failed.insert(number);
        }
    }
    assert_eq!(*ledger.panicked.lock().unwrap(), failed);
    // Any other one may have been kept from running by the system for that long.
    assert!(ledger.stuck.lock().unwrap().is_superset(&blocked));
    let stats = subject.stats();
    let while_queued = cancelled
        .values()
        .filter(|stage| **stage == CallStage::Queued);
    let while_queued = while_queued.count() as u64;
    assert_eq!((stats.executed, stats.cancelled), (made - 1, while_queued));
    assert_eq!(stats.queued, made + while_queued);
    println!(
        "{calls} calls: {made} made, {} cancelled, {while_queued} of them queued, {} panicked, {} \
         stuck",
        cancelled.len(),
        failed.len(),
        blocked.len()
    );
    drop(cancelled);
    ledger.never.open();
    until(subject, "the last has returned", |stats| stats.running == 0);
}

/// Cleanups of a runtime.
struct Embedded {
    vm: Vm,
    cleanup: fing::CleanupFn,
    added: Mutex<HashMap<u32, fing::Cleanup>>,
}

impl Subject for Embedded {
    fn register(&self, number: u32) {
        let add = |m: &fing::Mutator, t: fing::Obj<'_>| {
            m.add_cleanup(t, &self.cleanup, u64::from(number)).unwrap()
        };
        let added = self.vm.doomed(number.into(), add);
        if is_to_be_cancelled(number) {
            self.added.lock().unwrap().insert(number, added);
        }
    }

    fn cancel(&self, number: u32) -> CallStage {
        let cleanup = self.added.lock().unwrap().remove(&number);
        cleanup.unwrap().stop()
    }

    fn collect(&self) {
        self.vm.runtime.gc().unwrap();
    }

    fn stats(&self) -> CallStats {
        self.vm.runtime.stats().cleanup_calls
    }
}

#[test]
fn each_cleanup_is_made_or_cancelled_once() {
    let ledger = Ledger::new();
    let reported = ledger.clone();
    let builder = Runtime::builder()
        .watchdog(watchdog())
        .failure_policy(FailurePolicy::Requeue(AGAIN))
        .on_failure(move |failure| reported.report(failure));
    let vm = Vm::with(builder);
    let called = ledger.clone();
    let cleanup = vm.cleanup("func(uint64)", move |[number, _]| {
        called.call(number as u32)
    });
    let subject = Embedded {
        vm,
        cleanup,
        added: Mutex::default(),
    };
    settle(&ledger, &subject);
    let runtime = &subject.vm.runtime;
    assert_eq!(runtime.gc().unwrap().live_objects, 0);
    runtime.shutdown(true, LONG).unwrap();
}

/// Finalizers of a foreign collector's objects, which are numbers, and none of which is reachable.
struct Foreign {
    finalizers: Finalizers<u32>,
    function: FinalizerFn,
}

/// What a collection has reached: only what fing has it trace.
struct Nothing(Vec<bool>);

// SAFETY: I16: objects are numbers, which nobody follows.
unsafe impl Tracer for Nothing {
    type Ref = u32;

    fn is_reached(&mut self, object: u32) -> bool {
        self.0[object as usize]
    }

    fn trace(&mut self, object: u32) -> u32 {
        self.0[object as usize] = true;
        object
    }

    fn children(&mut self, _: u32, _: &mut dyn FnMut(&mut Self, u32)) {}

    fn moves(&self) -> bool {
        false
    }
}

impl Subject for Foreign {
    fn register(&self, number: u32) {
        // SAFETY: I16: the function follows no object.
        unsafe { self.finalizers.set_finalizer(number, &self.function) }.unwrap();
    }

    fn cancel(&self, number: u32) -> CallStage {
        self.finalizers.clear_finalizer(number)
    }

    /// Both threads may try at the same time; only one collects then.
    fn collect(&self) {
        let mut tracer = Nothing(vec![false; calls() as usize]);
        // SAFETY: I16: this is the collector of these numbers.
        let collected = unsafe { self.finalizers.collect(Scope::Full, &mut tracer, |_| ()) };
        assert!(matches!(collected, Ok(()) | Err(CollectionError::UnderWay)));
        self.finalizers.finish();
    }

    fn stats(&self) -> CallStats {
        self.finalizers.stats().finalizer_calls
    }
}

#[test]
fn each_foreign_finalizer_is_made_or_cancelled_once() {
    extern "C-unwind" fn call(number: usize, ledger: &Ledger) {
        ledger.call(number as u32);
    }
    let ledger = Ledger::new();
    let reported = ledger.clone();
    let finalizers = Finalizers::builder()
        .executor(Executor::Thread)
        .watchdog(watchdog())
        .failure_policy(FailurePolicy::Requeue(AGAIN))
        .on_failure(move |failure| reported.report(failure))
        .build()
        .unwrap();
    let builder = FinalizerFn::builder(
        "func(uintptr)".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    let builder = builder
        .context(std::ptr::from_ref::<Ledger>(&ledger).addr())
        .keep_alive(ledger.clone());
    // SAFETY: I8: a C function of a word and the ledger, which the function keeps.
    let function = unsafe { builder.at(call as *const ()) };
    let subject = Foreign {
        finalizers,
        function,
    };
    settle(&ledger, &subject);
    subject.finalizers.shutdown(true, LONG).unwrap();
}
