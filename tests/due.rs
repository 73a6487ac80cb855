//! Calls that an embedder takes out of the queue and makes itself.

#[path = "support/vm.rs"]
#[expect(
    dead_code,
    reason = "what finalizers and cleanups send is sent by closures here"
)]
mod vm;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::error::ExecutorError;
use fing::executor::{Budget, Due};
use fing::failure::{CallKind, Cause, FailurePolicy};
use fing::{
    Abi, CallStage, CleanupArgument, CleanupFn, Executor, FinalizerFn, FinalizerState, HeapOptions,
    Runtime, RuntimeBuilder,
};
use vm::Vm;

fn manual() -> RuntimeBuilder {
    Runtime::builder()
        .executor(Executor::Manual)
        .heap(HeapOptions::default().poison(true))
}

/// Makes so many objects, numbered, and collects them.
fn doom(vm: &Vm, count: u64, finalizer: &FinalizerFn) {
    for number in 0..count {
        vm.doomed(number, |m, object| {
            m.set_finalizer(object, finalizer).unwrap();
        });
    }
}

/// The number of a call's object.
fn number(vm: &Vm, due: &Due) -> u64 {
    vm.enter(|m| {
        let object = m.adopt(due.words()[0] as usize).unwrap();
        m.load_word(object, 0).unwrap()
    })
}

fn next(vm: &Vm) -> Due {
    vm.runtime.next_due().unwrap().expect("a call is due")
}

/// Several calls are outstanding at a time, in the order of a drain, and end in any order. Each
/// keeps its object until then, however often is collected; a drain makes the others.
#[test]
fn each_keeps_its_object_until_it_ends() {
    let vm = Vm::with(manual());
    let (ran, code) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(0));
    let log = ran.clone();
    let runtime = vm.runtime.clone();
    let finalizer = vm.function("func(*main.T)", move |[object, _]| {
        let number = runtime.enter(|m| m.load_word(m.adopt(object).unwrap(), 0));
        log.lock().unwrap().push(number.unwrap().unwrap());
    });
    doom(&vm, 10, &finalizer);
    let collected = vm.runtime.gc().unwrap();
    let mut outstanding: Vec<Due> = (0..4).map(|_| next(&vm)).collect();
    for (due, wanted) in outstanding.iter().zip((6..10).rev()) {
        vm.runtime.gc().unwrap();
        assert_eq!(number(&vm, due), wanted);
        assert_eq!(due.kind(), CallKind::Finalizer);
        assert_eq!(due.signature().to_string(), "func(*main.T)");
        let found = due.code().expect("machine code");
        let mut code = code.lock().unwrap();
        assert!(*code == 0 || *code == found);
        *code = found;
        assert!(due.context() != 0 && !due.takes_mutator());
        assert!(format!("{due:?}").contains("func(*main.T)"));
        let object = due.words()[0] as usize;
        vm.enter(|m| {
            let state = m.clear_finalizer(m.adopt(object).unwrap()).unwrap();
            assert_eq!(state, FinalizerState::Cleared(CallStage::Running));
        });
    }
    let left = collected.ticket().outstanding();
    assert_eq!((left.queued, left.running), (6, 4));
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.stuck, stats.taken_over), (0, 0, 0));
    outstanding.swap(0, 2);
    drop(outstanding.drain(..3));
    assert_eq!(vm.runtime.drain(Budget::unlimited()).unwrap().calls, 6);
    assert_eq!(*ran.lock().unwrap(), [5, 4, 3, 2, 1, 0]);
    assert!(vm.runtime.next_due().unwrap().is_none());
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 1);
    let wait = collected.ticket().wait(Duration::ZERO);
    assert!(
        matches!(wait, Err(ExecutorError::Timeout { due: 1, .. })),
        "{wait:?}"
    );
    // On another thread too.
    let last = outstanding.pop().unwrap();
    assert_eq!(number(&vm, &last), 6);
    std::thread::spawn(move || drop(last)).join().unwrap();
    assert!(collected.ticket().outstanding().is_nothing());
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
    assert_eq!(vm.runtime.stats().executed, 10);
}

/// Cleanups, and a block that a drain has begun, are handed out in their turn; what was cancelled
/// is not.
#[test]
fn what_a_drain_has_left_is_handed_out() {
    let vm = Vm::with(manual());
    let sum = Arc::new(AtomicU64::new(0));
    let add = sum.clone();
    let cleanup = vm.cleanup("func(uint64)", move |[number, _]| {
        add.fetch_add(number as u64, SeqCst);
    });
    let cleanups: Vec<_> = (1..=20_u64)
        .map(|n| vm.doomed(0, |m, object| m.add_cleanup(object, &cleanup, n).unwrap()))
        .collect();
    vm.runtime.gc().unwrap();
    assert_eq!(
        vm.runtime.drain(Budget::unlimited().calls(5)).unwrap().left,
        15
    );
    let made = sum.swap(0, SeqCst);
    for cleanup in &cleanups[..5] {
        cleanup.stop();
    }
    let mut taken = 0;
    while let Some(due) = vm.runtime.next_due().unwrap() {
        assert_eq!(due.kind(), CallKind::Cleanup);
        taken += due.words()[0];
    }
    let stopped = vm.runtime.stats().cancelled;
    let all: u64 = (1..=20).sum();
    assert!(stopped <= 5 && taken <= all - made);
    assert_eq!(vm.runtime.stats().executed + stopped, 20);
    assert_eq!(sum.load(SeqCst), 0, "nobody else makes what was handed out");
}

/// The argument of a cleanup that is larger than two words.
#[repr(C)]
struct Four([u64; 4]);

static FOUR: AtomicU64 = AtomicU64::new(0);

extern "C" fn add_four(Four(words): Four) {
    FOUR.fetch_add(words.iter().sum(), SeqCst);
}

/// What an argument of more than two words holds can be read from the address that is given in
/// their place, also after collections, and while others are outstanding.
#[test]
fn large_arguments_are_in_memory() {
    let vm = Vm::with(manual());
    let text = "func(struct { A, B, C, D uint64 })";
    let signature = vm.runtime.types().parse_signature(text).unwrap();
    let builder = CleanupFn::builder(signature, Abi::host_native().unwrap());
    // SAFETY: I8: a function of the platform's C convention that takes such a struct.
    let cleanup = unsafe { builder.at(add_four as *const ()) };
    for n in 0..100_u64 {
        let bytes: Vec<u8> = (1..=4).flat_map(|k| (n * k).to_ne_bytes()).collect();
        vm.doomed(0, |m, object| {
            let argument = CleanupArgument::Bytes(&bytes);
            m.add_cleanup(object, &cleanup, argument).unwrap();
        });
    }
    vm.runtime.gc().unwrap();
    let outstanding: Vec<Due> = (0..100).map(|_| next(&vm)).collect();
    vm.runtime.gc().unwrap();
    for (due, n) in outstanding.into_iter().zip((0..100).rev()) {
        let [at, second] = due.words();
        // SAFETY: the call is outstanding, and its argument has four words.
        let words = unsafe { *std::ptr::with_exposed_provenance::<[u64; 4]>(at as usize) };
        assert_eq!((words, second), ([n, 2 * n, 3 * n, 4 * n], 0));
        if n % 2 == 0 {
            due.call().unwrap();
        }
    }
    let even: u64 = (0..100).step_by(2).sum();
    assert_eq!(FOUR.load(SeqCst), 10 * even);
    assert_eq!(vm.runtime.stats().executed, 100);
}

/// A call can be made as a drain would: Rust closures, mutators, panics.
#[test]
fn it_is_made_as_by_a_drain() {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let told = reports.clone();
    let vm = Vm::with(manual().on_failure(move |report| {
        told.lock().unwrap().push(report.cause.clone());
    }));
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let sum = Arc::new(AtomicU64::new(0));
    let add = sum.clone();
    let finalizer = FinalizerFn::from_rust(signature, move |m, object| {
        let number = m.load_word(object.get(m).unwrap(), 0).unwrap();
        assert!(number != 2, "the second");
        m.gc().unwrap();
        add.fetch_add(number, SeqCst);
    });
    doom(&vm, 5, &finalizer);
    vm.runtime.gc().unwrap();
    while let Some(due) = vm.runtime.next_due().unwrap() {
        assert!(due.takes_mutator() && due.code().is_none());
        // Not on a thread that runs with a mutator, which it could wait for.
        let (due, refusal) = vm.enter(|_| due.call()).unwrap_err();
        let text =
            "Due::call: this thread runs with a mutator, wanted a native region or no mutator";
        assert_eq!(refusal.to_string(), text);
        due.call().unwrap();
    }
    assert_eq!(sum.load(SeqCst), 1 + 3 + 4);
    let reports = reports.lock().unwrap();
    assert!(
        matches!(&reports[..], [Cause::Panic(text)] if text == "the second"),
        "{reports:?}"
    );
    let stats = vm.runtime.stats();
    assert_eq!(
        (stats.executed, stats.failed, stats.misuses, stats.mutators),
        (5, 1, 0, 0)
    );
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

/// One that has failed is reported, and the policy says what becomes of it.
#[test]
fn one_that_failed_is_reported() {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let told = reports.clone();
    let hook = move |report: &fing::failure::Failure| {
        told.lock().unwrap().push(report.to_string());
    };
    let vm = Vm::with(
        manual()
            .failure_policy(FailurePolicy::Requeue(1))
            .on_failure(hook.clone()),
    );
    let finalizer = vm.function("func(*main.T)", |_| ());
    doom(&vm, 1, &finalizer);
    vm.runtime.gc().unwrap();
    next(&vm).fail("no stack");
    next(&vm).fail("no stack again");
    assert!(vm.runtime.next_due().unwrap().is_none());
    let found = std::mem::take(&mut *reports.lock().unwrap());
    assert_eq!(found.len(), 2);
    assert!(found[0].contains("failed: no stack"), "{}", found[0]);
    assert!(found[1].contains("failed: no stack again"), "{}", found[1]);
    let stats = vm.runtime.stats();
    assert_eq!((stats.failed, stats.requeued, stats.executed), (2, 1, 2));

    let vm = Vm::with(
        manual()
            .failure_policy(FailurePolicy::Quarantine(1))
            .on_failure(hook),
    );
    let finalizer = vm.function("func(*main.T)", |_| ());
    doom(&vm, 3, &finalizer);
    vm.runtime.gc().unwrap();
    next(&vm).fail("once");
    assert!(vm.runtime.next_due().unwrap().is_none());
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.quarantined), (1, 2));
    assert_eq!(reports.lock().unwrap().len(), 3);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

/// Who may take calls, and what a shutdown and the end of a runtime mean to one that is
/// outstanding.
#[test]
fn refusals_and_ends() {
    let vm = Vm::new();
    let refused = vm.runtime.next_due().map(drop);
    assert_eq!(refused, Err(ExecutorError::NotInline));

    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let there = vm.runtime.clone();
    let refused = std::thread::spawn(move || there.next_due().map(drop)).join();
    assert!(matches!(
        refused.unwrap(),
        Err(ExecutorError::WrongThread { .. })
    ));

    let vm = Vm::with(manual());
    let runtime = vm.runtime.clone();
    let finalizer = vm.function("func(*main.T)", move |_| {
        let refused = runtime.next_due().map(drop);
        assert_eq!(refused, Err(ExecutorError::Reentered));
    });
    doom(&vm, 1, &finalizer);
    vm.collect();
    assert_eq!(vm.runtime.stats().failed, 0);

    let finalizer = vm.function("func(*main.T)", |_| ());
    doom(&vm, 3, &finalizer);
    vm.runtime.gc().unwrap();
    let (first, second) = (next(&vm), next(&vm));
    // It waits for those that are outstanding.
    let timeout = Duration::from_millis(1);
    let refused = vm.runtime.shutdown(false, timeout);
    assert_eq!(refused, Err(ExecutorError::Timeout { due: 2, timeout }));
    assert!(vm.runtime.next_due().unwrap().is_none());
    assert_eq!(vm.runtime.stats().discarded, 1);
    // It is still there.
    assert_eq!(number(&vm, &first), 2);
    drop(first);
    drop(vm);
    second.call().unwrap();
}

/// A call that needs the mutator of a runtime which is gone is not made, and stays.
#[test]
fn a_call_without_its_runtime_is_returned() {
    let vm = Vm::with(manual());
    let ran = Arc::new(AtomicU64::new(0));
    let count = ran.clone();
    let lent = FinalizerFn::from_rust_of_any_object(move |_, _| _ = count.fetch_add(1, SeqCst));
    let count = ran.clone();
    let plain = vm.function("func(*main.T)", move |_| _ = count.fetch_add(10, SeqCst));
    for finalizer in [&lent, &plain] {
        doom(&vm, 1, finalizer);
    }
    vm.runtime.gc().unwrap();
    let calls = [(); 2].map(|()| vm.runtime.next_due().unwrap().unwrap());
    drop(vm);
    for due in calls {
        match (due.takes_mutator(), due.call()) {
            (true, Err((due, error))) => {
                assert_eq!(error, ExecutorError::Gone);
                assert!(due.takes_mutator());
            }
            (false, Ok(())) => {}
            (takes, called) => panic!("{takes} {called:?}"),
        }
    }
    assert_eq!(ran.load(SeqCst), 10);
}
