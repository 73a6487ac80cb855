//! Calls that fail: each is reported with what is known of it, and the policy of its registration
//! or its runtime is done.
#![cfg(target_os = "linux")]

#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/runner.rs"]
mod runner;
#[path = "support/vm.rs"]
#[expect(dead_code, reason = "not every test crate uses all of it")]
mod vm;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use fing::error::{AddCleanupError, SetFinalizerError};
use fing::failure::{CallKind, Cause, Decision, Failure, FailurePolicy, Handling};
use fing::foreign::{Finalizers, Scope};
use fing::{
    Abi, Arch, CleanupFn, CleanupOptions, CyclePolicy, FinalizerFn, FinalizerOptions, HeldValue,
    Runtime, RuntimeBuilder,
};
use numbers::NoneReached;
use vm::{LONG, Vm};

/// What a hook was told.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<Failure>>>);

impl Reports {
    fn hook(&self) -> impl Fn(&Failure) + Send + Sync + 'static {
        let reports = self.0.clone();
        move |failure| reports.lock().unwrap().push(failure.clone())
    }

    fn take(&self) -> Vec<Failure> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn causes(&self) -> Vec<String> {
        self.take()
            .iter()
            .map(|failure| failure.cause.to_string())
            .collect()
    }
}

fn reporting(builder: RuntimeBuilder) -> (Vm, Reports) {
    let reports = Reports::default();
    (Vm::with(builder.on_failure(reports.hook())), reports)
}

/// A panic that writes nothing to standard error.
fn fail(message: impl Into<String>) {
    std::panic::resume_unwind(Box::new(message.into()));
}

/// Dooms objects of these numbers, whose finalizer panics for those of which `fails` says so.
fn doom_failing(
    vm: &Vm,
    numbers: impl IntoIterator<Item = u64>,
    options: FinalizerOptions<fing::Obj<'_>>,
    fails: impl Fn(u64) -> bool + Send + Sync + 'static,
) -> Arc<Mutex<Vec<u64>>> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (log, runtime) = (calls.clone(), vm.runtime.clone());
    let function = vm.function("func(*main.T)", move |[object, _]| {
        let read = runtime.enter(|m| m.load_word(m.adopt(object).unwrap(), 0).unwrap());
        let number = read.unwrap();
        log.lock().unwrap().push(number);
        if fails(number) {
            fail(format!("number {number}"));
        }
    });
    for number in numbers {
        vm.doomed(number, |m, t| {
            m.set_finalizer_with(t, &function, options).unwrap()
        });
    }
    calls
}

#[test]
fn a_report_names_type_object_function_and_site() {
    let (vm, reports) = reporting(Runtime::builder());
    let finalizer = vm.function("func(any)", |_| fail("boom"));
    let (object, line) = vm.doomed(1, |m, t| {
        let options = FinalizerOptions::new().record_site();
        m.set_finalizer_with(t, &finalizer, options).unwrap();
        (t.addr() as u64, line!() - 2)
    });
    vm.collect();
    let report = reports.take().pop().unwrap();
    assert_eq!(report.cause, Cause::Panic("boom".to_owned()));
    assert_eq!(report.kind, CallKind::Finalizer);
    assert_eq!(report.object(), Some(object));
    assert_eq!(report.object_type.as_ref().unwrap().to_string(), "main.T");
    assert_eq!(report.signature.to_string(), "func(interface{})");
    assert_eq!((report.calls, report.requeued, report.failures), (1, 0, 1));
    let site = report.site.unwrap();
    assert_eq!((site.file(), site.line()), (file!(), line));
    let text = report.to_string();
    let wanted = format!(
        "finalizer func(interface{{}}) at {:#x} of the main.T at {object:#x}, registered at \
         {}:{line}:",
        report.code,
        file!(),
    );
    assert!(text.starts_with(&wanted), "{text}, wanted {wanted}");
    assert!(text.ends_with(": panic: boom"), "{text}");

    let cleanup = vm.cleanup("func(uint64)", |_| fail("gone"));
    let options = CleanupOptions::new().record_site();
    vm.doomed(1, |m, t| {
        m.add_cleanup_with(t, &cleanup, 77, options).unwrap()
    });
    vm.collect();
    let report = reports.take().pop().unwrap();
    assert_eq!((report.kind, report.words[0]), (CallKind::Cleanup, 77));
    assert!(report.object().is_none() && report.object_type.is_none());
    assert!(
        report
            .to_string()
            .contains("with (0x4d, 0x0), registered at")
    );
}

#[test]
fn requeued_calls_run_until_they_succeed_or_have_had_their_chances() {
    let policy = FailurePolicy::Requeue(3);
    let (vm, reports) = reporting(Runtime::builder().failure_policy(policy));
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    // Number 7 fails twice, number 9 always.
    let fails = move |number| match number {
        7 => counted.fetch_add(1, Relaxed) < 2,
        number => number == 9,
    };
    let calls = doom_failing(&vm, 0..20, FinalizerOptions::new(), fails);
    vm.collect();
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    let count = |number| calls.iter().filter(|&&n| n == number).count();
    for number in 0..20 {
        let wanted = match number {
            7 => 3,
            9 => 4,
            _ => 1,
        };
        assert_eq!(count(number), wanted, "{number}");
    }
    // Behind everything that was queued.
    assert_eq!(calls[20..], [7, 9, 9, 7, 9]);
    let reports = reports.take();
    let of_nine: Vec<_> = reports
        .iter()
        .filter(|report| report.cause == Cause::Panic("number 9".to_owned()))
        .map(|report| (report.requeued, report.decision))
        .collect();
    let again = Decision::Requeue;
    let wanted = [(0, again), (1, again), (2, again), (3, Decision::GoOn)];
    assert_eq!(of_nine, wanted);
    let stats = vm.runtime.stats();
    assert_eq!((stats.queued, stats.executed, stats.failed), (25, 25, 6));
    assert_eq!((stats.requeued, stats.quarantined), (5, 0));
    // The objects are roots no longer: this collection frees them.
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn a_registration_overrides_the_policy_of_its_runtime() {
    let runtime = Runtime::builder().failure_policy(FailurePolicy::Abort);
    let (vm, reports) = reporting(runtime);
    let options = FinalizerOptions::new().failure(FailurePolicy::Requeue(1));
    let calls = doom_failing(&vm, [1], options, |_| true);
    vm.collect();
    assert_eq!(*calls.lock().unwrap(), [1, 1]);
    let report = CleanupOptions::new().failure(FailurePolicy::Report);
    let cleanup = vm.cleanup("func(uint64)", |_| fail("cleanup"));
    // Twice: the second registration finds the function in a cache.
    for _ in 0..2 {
        vm.doomed(0, |m, t| {
            m.add_cleanup_with(t, &cleanup, 1, report).unwrap()
        });
    }
    vm.collect();
    let handling = Handling::new()
        .failure(FailurePolicy::Report)
        .cycle(CyclePolicy::Leave);
    let prepared = vm.function("func(*main.T)", |_| fail("prepared"));
    let prepared = vm
        .runtime
        .prepare_finalizer_with(vm.t, &prepared, handling)
        .unwrap();
    vm.doomed(0, |_, t| prepared.set(t).unwrap());
    vm.collect();
    let wanted = ["number 1", "number 1", "cleanup", "cleanup", "prepared"];
    assert_eq!(
        reports.causes(),
        wanted.map(|message| format!("panic: {message}"))
    );
}

#[test]
fn a_function_in_quarantine_is_not_called_and_told() {
    let policy = FailurePolicy::Quarantine(2);
    let (vm, reports) = reporting(Runtime::builder().failure_policy(policy));
    let good = doom_failing(&vm, 100..110, FinalizerOptions::new(), |_| false);
    let bad = doom_failing(&vm, 0..10, FinalizerOptions::new(), |number| number < 8);
    let other = doom_failing(&vm, 200..210, FinalizerOptions::new(), |_| false);
    vm.collect();
    // Last queued, first run, in order of addresses; those of one shape stand together.
    assert_eq!(*bad.lock().unwrap(), [9, 8, 7, 6]);
    assert_eq!(
        (good.lock().unwrap().len(), other.lock().unwrap().len()),
        (10, 10)
    );
    let told = reports.take();
    let decisions: Vec<_> = told.iter().map(|report| report.decision).collect();
    assert_eq!(decisions[..2], [Decision::GoOn, Decision::Quarantine]);
    assert_eq!(told.len(), 8);
    assert!(
        told[2..]
            .iter()
            .all(|report| report.cause == Cause::Quarantined)
    );
    assert!(told[2..].iter().all(|report| report.failures == 2));
    let mut skipped: Vec<_> = told[2..].iter().map(Failure::object).collect();
    skipped.sort_unstable();
    skipped.dedup();
    assert_eq!(skipped.len(), 6, "each object is named");
    let stats = vm.runtime.stats();
    assert_eq!(
        (stats.executed, stats.quarantined, stats.failed),
        (24, 6, 8)
    );
    assert_eq!(stats.queued, stats.executed + stats.quarantined);
    // What was not finalized is garbage nevertheless.
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn a_hook_decides() {
    let decide = |failure: &Failure| match failure.requeued {
        0 => Decision::Requeue,
        1 => fail_with_a_decision(),
        _ => Decision::Quarantine,
    };
    fn fail_with_a_decision() -> Decision {
        std::panic::resume_unwind(Box::new("a hook"))
    }
    let (vm, reports) = reporting(Runtime::builder().decide_failures(decide));
    let calls = doom_failing(&vm, [3], FinalizerOptions::new(), |_| true);
    vm.collect();
    assert_eq!(*calls.lock().unwrap(), [3, 3]);
    let decisions: Vec<_> = reports
        .take()
        .iter()
        .map(|report| report.decision)
        .collect();
    assert_eq!(decisions, [Decision::Requeue, Decision::GoOn]);
}

extern "C" fn status_of(object: *const u64) -> i32 {
    // SAFETY: I8: a finalizer's object is whole until it returns.
    let number = unsafe { *object };
    if number % 2 == 0 { 0 } else { -(number as i32) }
}

/// A Go-like function `func(any) (int, error)` under System V: the results are in memory.
#[repr(C)]
struct IntAndError {
    number: i64,
    error: [usize; 2],
}

/// An interface by value, which C conventions pass as this struct.
#[repr(C)]
struct Interface {
    _ty: usize,
    object: *const u64,
}

extern "C" fn error_of(argument: Interface) -> IntAndError {
    // SAFETY: I8: as above.
    let number = unsafe { *argument.object } as usize;
    IntAndError {
        number: -1,
        error: if number.is_multiple_of(2) {
            [0; 2]
        } else {
            [0x10, number]
        },
    }
}

extern "C-unwind" fn panics_with_status(_object: *const u64) -> i32 {
    std::panic::resume_unwind(Box::new("no status"))
}

fn with_status(vm: &Vm, signature: &str, code: *const ()) -> FinalizerFn {
    let signature = vm.runtime.types().parse_signature(signature).unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap()).status();
    // SAFETY: I8: each function here is of the signature it is given with.
    unsafe { builder.at(code) }
}

#[test]
fn a_status_that_is_not_zero_or_an_error_that_is_not_nil_is_a_failure() {
    let (vm, reports) = reporting(Runtime::builder());
    let status = with_status(&vm, "func(*main.T) int32", status_of as *const ());
    let error = with_status(&vm, "func(any) (int, error)", error_of as *const ());
    let panics = with_status(&vm, "func(*main.T) int32", panics_with_status as *const ());
    for function in [&status, &error] {
        for number in 0..4 {
            vm.doomed(number, |m, t| m.set_finalizer(t, function).unwrap());
        }
        vm.collect();
    }
    vm.doomed(0, |m, t| m.set_finalizer(t, &panics).unwrap());
    vm.collect();
    let causes: Vec<_> = reports
        .take()
        .into_iter()
        .map(|report| report.cause)
        .collect();
    let wanted = [
        Cause::Status(-3),
        Cause::Status(-1),
        Cause::Error([0x10, 3]),
        Cause::Error([0x10, 1]),
        Cause::Panic("no status".to_owned()),
    ];
    assert_eq!(causes, wanted);
    assert_eq!(
        (vm.runtime.stats().executed, vm.runtime.stats().failed),
        (9, 5)
    );
}

extern "C" fn cleanup_status(number: u64) -> u8 {
    number as u8
}

#[cfg(target_arch = "x86_64")]
macro_rules! last_of_three {
    () => {
        "mov rax, [rsp + 24]; mov [rsp + 32], rax; ret"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! last_of_three {
    () => {
        "ldr x0, [sp, 24]; str x0, [sp, 32]; ret"
    };
}
#[cfg(target_arch = "riscv64")]
macro_rules! last_of_three {
    () => {
        "ld t0, 24(sp); sd t0, 32(sp); ret"
    };
}
#[cfg(target_arch = "s390x")]
macro_rules! last_of_three {
    () => {
        "lg %r2, 24(%r15); stg %r2, 32(%r15); br %r14"
    };
}

// A Go function `func([3]uint64) uint64` of the ABI without registers: the argument is 8 bytes
// above the stack pointer, and the result above that. It returns the last word.
core::arch::global_asm!(
    ".globl fing_test_last_of_three",
    "fing_test_last_of_three:",
    last_of_three!(),
);

unsafe extern "C" {
    fn fing_test_last_of_three();
}

#[test]
fn cleanups_return_statuses_too() {
    let (vm, reports) = reporting(Runtime::builder());
    let cleanup = |signature: &str, abi: Abi, code| {
        let signature = vm.runtime.types().parse_signature(signature).unwrap();
        let builder = CleanupFn::builder(signature, abi).status();
        // SAFETY: I8: each function here is of the signature it is given with, for any bytes.
        unsafe { builder.at(code) }
    };
    let byte = cleanup(
        "func(uint64) uint8",
        Abi::host_native().unwrap(),
        cleanup_status as *const (),
    );
    let go = Abi::go(Arch::host().unwrap()).with_int_arg_regs(0).unwrap();
    let last = fing_test_last_of_three as *const ();
    let three = cleanup("func([3]uint64) uint64", go, last);
    for number in [0x100, 0x1ff] {
        vm.doomed(0, |m, t| m.add_cleanup(t, &byte, number).unwrap());
    }
    let bytes: Vec<u8> = [1_u64, 2, 33]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    vm.doomed(0, |m, t| m.add_cleanup(t, &three, &bytes[..]).unwrap());
    vm.collect();
    let mut causes = reports.causes();
    causes.sort();
    assert_eq!(
        causes,
        [
            "returned status 255, wanted 0",
            "returned status 33, wanted 0"
        ]
    );
}

extern "C" fn bulk_status(_first: *const usize, count: usize) -> usize {
    count
}

#[test]
fn a_bulk_finalizer_fails_as_one() {
    let policy = FailurePolicy::Requeue(1);
    let (vm, reports) = reporting(Runtime::builder().failure_policy(policy));
    let signature = vm
        .runtime
        .types()
        .parse_signature("func(**main.T, uint) uint")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .bulk()
        .status();
    // SAFETY: I8: a System V function of an address and a number that returns one.
    let bulk = unsafe { builder.at(bulk_status as *const ()) };
    let bulk = vm.runtime.prepare_finalizer(vm.t, &bulk).unwrap();
    for number in 0..10 {
        vm.doomed(number, |_, t| bulk.set(t).unwrap());
    }
    vm.collect();
    let told = reports.take();
    let seen: Vec<_> = told
        .iter()
        .map(|told| (told.calls, told.cause.clone()))
        .collect();
    assert_eq!(seen, [(10, Cause::Status(10)), (10, Cause::Status(10))]);
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.failed, stats.requeued), (20, 2, 10));
}

#[test]
fn a_status_that_cannot_be_read_is_refused() {
    let vm = Vm::new();
    let none = with_status(&vm, "func(*main.T) bool", status_of as *const ());
    vm.doomed(0, |m, t| {
        let refused = m.set_finalizer(t, &none).unwrap_err();
        assert!(
            matches!(refused, SetFinalizerError::Status { .. }),
            "{refused}"
        );
        let signature = m.types().parse_signature("func(uint64)").unwrap();
        let builder = CleanupFn::builder(signature, Abi::host_native().unwrap()).status();
        // SAFETY: I8: a System V function of a number.
        let cleanup = unsafe { builder.at(cleanup_status as *const ()) };
        let refused = m.add_cleanup(t, &cleanup, 1).unwrap_err();
        assert!(
            matches!(refused, AddCleanupError::Status { .. }),
            "{refused}"
        );
    });
}

extern "C" fn word_status(word: usize) -> i32 {
    (word % 3) as i32
}

#[test]
fn foreign_objects_have_the_same_policies() {
    let reports = Reports::default();
    let finalizers: Finalizers<usize> = Finalizers::builder()
        .failure_policy(FailurePolicy::Quarantine(1))
        .on_failure(reports.hook())
        .build()
        .unwrap();
    let builder = FinalizerFn::builder(
        "func(uintptr) int32".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: I8: a System V function of a word, which it does not follow.
    let function = unsafe { builder.status().at(word_status as *const ()) };
    let again = Handling::new()
        .failure(FailurePolicy::Requeue(2))
        .record_site();
    let prepared = finalizers.prepare_finalizer(&function, again).unwrap();
    let cleanup = CleanupFn::builder(
        "func(uintptr) int32".parse().unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: I8: as above.
    let cleanup = unsafe { cleanup.status().at(word_status as *const ()) };
    // SAFETY: I16: nothing follows these words.
    unsafe {
        prepared.set(0x1000).unwrap();
        prepared.set(0x1002).unwrap();
        let held = HeldValue::Word(2);
        let handling = Handling::new().failure(FailurePolicy::Report);
        finalizers
            .add_cleanup_with(0x2000, &cleanup, held, handling)
            .unwrap();
        for object in [0x3000, 0x4000, 0x5000] {
            finalizers.set_finalizer(object, &function).unwrap();
        }
        finalizers
            .collect(Scope::Full, &mut NoneReached { external_bytes: 0 }, |_| ())
            .unwrap();
    }
    finalizers.finish();
    finalizers.block_until_finalizer_queue_empty(LONG).unwrap();
    let mut told: Vec<_> = reports.take();
    assert!(told.iter().all(|failure| failure.object_type.is_none()));
    let count = |cause: &Cause| told.iter().filter(|told| told.cause == *cause).count();
    // 0x3000, 0x4000 and 0x5000 leave 0, 1 and 2: the first that fails is the last that is made.
    assert!(count(&Cause::Quarantined) >= 1, "{told:?}");
    told.retain(|told| told.site.is_some());
    assert!(!told.is_empty());
    let stats = finalizers.stats();
    assert_eq!(stats.queued, stats.executed + stats.quarantined);
}

/// Runs a test of this file in a process of its own, and returns its exit status and what it wrote
/// to standard error.
fn in_a_process(name: &str) -> (std::process::ExitStatus, String) {
    let output = runner::command(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(IN_A_PROCESS, name)
        .output()
        .unwrap();
    (
        output.status,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Set to a test's name in a process that was made for it alone.
const IN_A_PROCESS: &str = "FING_FAILURES_CHILD";

fn is_in_a_process(name: &str) -> bool {
    std::env::var_os(IN_A_PROCESS).is_some_and(|value| value == name)
}

#[test]
fn abort_ends_the_process_as_go_does() {
    let name = "abort_ends_the_process_as_go_does";
    if is_in_a_process(name) {
        let vm = Vm::with(Runtime::builder().failure_policy(FailurePolicy::Abort));
        doom_failing(&vm, [5], FinalizerOptions::new(), |_| true);
        vm.collect();
        unreachable!("the process has ended");
    }
    let (status, written) = in_a_process(name);
    assert_eq!(status.code(), Some(2), "{written}");
    let text = written.split_once("panic: number 5\n\ngoroutine 1 [running]:\n");
    let (_, rest) = text.unwrap_or_else(|| panic!("{written}"));
    assert!(
        rest.starts_with("finalizer func(*main.T) at 0x"),
        "{written}"
    );
}

extern "C-unwind" fn leaves_by_pthread_exit(_object: usize) {
    unsafe extern "C-unwind" {
        fn pthread_exit(value: *mut u8) -> !;
    }
    // SAFETY: I8: what it does is the test.
    unsafe { pthread_exit(std::ptr::null_mut()) }
}

/// The unwinding of `pthread_exit` cannot be caught, nor can it pass: Rust and the C library end
/// the process, which says so.
#[test]
fn pthread_exit_in_a_finalizer_ends_the_process() {
    let name = "pthread_exit_in_a_finalizer_ends_the_process";
    if is_in_a_process(name) {
        let vm = Vm::new();
        let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
        let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap());
        // SAFETY: I8: a System V function of one word.
        let function = unsafe { builder.at(leaves_by_pthread_exit as *const ()) };
        vm.doomed(0, |m, t| m.set_finalizer(t, &function).unwrap());
        vm.collect();
        unreachable!("the process has ended");
    }
    let (status, written) = in_a_process(name);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(status.signal(), Some(6), "{status:?}: {written}");
    assert!(written.contains("exception"), "{written}");
}

/// A failed call is queued again, by a function that nobody else holds, while collections remove
/// the functions that they have not seen in the queue.
#[test]
fn a_function_that_a_failed_call_was_queued_again_with_stays() {
    static CONFUSED: AtomicU64 = AtomicU64::new(0);
    extern "C" fn fail(object: *const u64, context: usize) -> usize {
        // SAFETY: I6: the object is whole until this returns.
        if unsafe { *object } != context as u64 {
            CONFUSED.fetch_add(1, Relaxed);
        }
        1
    }
    let builder = Runtime::builder().failure_policy(FailurePolicy::Requeue(250));
    let vm = Vm::with(builder.on_failure(|_| ()));
    let signature = "func(*main.T) int";
    let signature = vm.runtime.types().parse_signature(signature).unwrap();
    for round in 0..20 {
        for number in 200 * round..200 * (round + 1) {
            let function = FinalizerFn::builder(signature.clone(), Abi::host_native().unwrap())
                .status()
                .context(number as usize);
            // SAFETY: I8: a C function of an object and a word, whose result is a status.
            let function = unsafe { function.at(fail as *const ()) };
            vm.doomed(number, |m, t| m.set_finalizer(t, &function).unwrap());
        }
        for _ in 0..20 {
            vm.runtime.gc().unwrap();
        }
        let stats = vm.runtime.stats();
        assert_eq!((stats.restarts, CONFUSED.load(Relaxed)), (0, 0), "{round}");
    }
    vm.runtime.shutdown(false, LONG).unwrap();
}
