//! The runtime as a whole: threads, executors, shutdown, and errors that leave nothing half done.

#[path = "support/door.rs"]
#[expect(dead_code, reason = "not every test crate uses all of it")]
mod door;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fing::error::{
    AllocError, CallsError, ExecutorError, RuntimeError, SetFinalizerError, WorldError,
};
use fing::stubs::{CacheOptions, CodePolicy};
use fing::{
    Abi, Arch, CleanupFn, Executor, FinalizerFn, FinalizerState, HeapOptions, Pointer, Runtime,
};

use door::Door;

const LONG: Duration = Duration::from_secs(30);

fn function<C>(runtime: &Runtime, signature: &str, code: *const (), context: &C) -> FinalizerFn {
    let signature = runtime.types().parse_signature(signature).unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(&raw const *context as usize);
    // SAFETY: I8: every function of this file is System V, of the signature it is given here, and
    // its context lives on.
    unsafe { builder.at(code) }
}

fn cleanup<C>(runtime: &Runtime, signature: &str, code: *const (), context: &C) -> CleanupFn {
    let signature = runtime.types().parse_signature(signature).unwrap();
    let builder = CleanupFn::builder(signature, Abi::host_native().unwrap())
        .context(&raw const *context as usize);
    // SAFETY: I8: as above; the functions do not follow their argument.
    unsafe { builder.at(code) }
}

/// Registers `function` for a new object that nothing refers to.
fn doom(runtime: &Runtime, function: &FinalizerFn) {
    let ty = runtime
        .types()
        .define("main.T", "struct { P *main.T; N uint64 }")
        .unwrap();
    let set = runtime.enter(|mutator| {
        let object = mutator.alloc(ty).unwrap();
        mutator.set_finalizer(object, function).unwrap()
    });
    set.unwrap();
}

fn define(runtime: &Runtime) {
    runtime
        .types()
        .define("main.T", "struct { P *main.T; N uint64 }")
        .unwrap();
}

extern "C" fn count(_object: usize, counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn wait_at_gate(_object: usize, gate: &Door) {
    gate.pass();
}

#[test]
fn the_goroutine_sleeps_runs_and_sleeps_again() {
    let runtime = Runtime::new().unwrap();
    define(&runtime);
    assert!(!runtime.finalizer_goroutine_asleep(), "there is none yet");
    let counter = AtomicU64::new(0);
    let count = function(&runtime, "func(*main.T)", count as *const (), &counter);
    for round in 1..=200 {
        doom(&runtime, &count);
        runtime.gc().unwrap();
        runtime.block_until_finalizer_queue_empty(LONG).unwrap();
        assert!(runtime.finalizer_goroutine_asleep());
        assert_eq!(counter.load(Ordering::Relaxed), round);
    }
    let stats = runtime.stats();
    assert_eq!(
        (stats.queued, stats.executed, stats.finalizers),
        (200, 200, 0)
    );
    assert_eq!(runtime.shutdown(true, LONG).unwrap(), 0);
}

#[test]
fn a_blocked_finalizer_blocks_no_collection() {
    let runtime = Runtime::new().unwrap();
    define(&runtime);
    let gate = Door::default();
    let blocked = function(&runtime, "func(*main.T)", wait_at_gate as *const (), &gate);
    doom(&runtime, &blocked);
    runtime.gc().unwrap();
    gate.wait_for(1);
    assert!(!runtime.finalizer_goroutine_asleep());
    for _ in 0..3 {
        assert_eq!(
            runtime.gc().unwrap().live_objects,
            1,
            "the object of the finalizer that runs"
        );
    }
    let timeout = Duration::from_millis(20);
    let error = runtime
        .block_until_finalizer_queue_empty(timeout)
        .unwrap_err();
    assert_eq!(error, ExecutorError::Timeout { due: 1, timeout });
    gate.open();
    runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn the_last_handle_dropped_inside_a_finalizer() {
    struct Last {
        runtime: Mutex<Option<Runtime>>,
        done: Door,
    }
    extern "C" fn drop_it(_object: usize, last: &Last) {
        drop(last.runtime.lock().unwrap().take());
        last.done.pass();
    }
    for executor in [Executor::Thread, Executor::Inline, Executor::Manual] {
        let last = Box::leak(Box::new(Last {
            runtime: Mutex::new(None),
            done: Door::default(),
        }));
        last.done.open();
        let runtime = Runtime::builder().executor(executor).build().unwrap();
        define(&runtime);
        let function = function(&runtime, "func(*main.T)", drop_it as *const (), last);
        doom(&runtime, &function);
        let clone = runtime.clone();
        *last.runtime.lock().unwrap() = Some(runtime);
        clone.gc().unwrap();
        match executor {
            Executor::Thread => drop(clone),
            _ => assert_eq!(clone.run_finalizers().unwrap(), 1),
        }
        last.done.wait_for(1);
    }
}

/// Dropping the last handle ends the goroutine without waiting for the finalizer that runs.
#[test]
fn dropping_the_runtime_does_not_wait() {
    let gate = Box::leak(Box::new(Door::default()));
    let runtime = Runtime::new().unwrap();
    define(&runtime);
    let blocked = function(&runtime, "func(*main.T)", wait_at_gate as *const (), gate);
    doom(&runtime, &blocked);
    runtime.gc().unwrap();
    gate.wait_for(1);
    let (done, dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        done.send(()).unwrap();
    });
    assert_eq!(dropped.recv_timeout(LONG), Ok(()), "it waits");
    gate.open();
}

#[test]
fn shutdown_drains_or_discards() {
    for drain in [true, false] {
        let runtime = Runtime::new().unwrap();
        define(&runtime);
        let (gate, counter) = (Door::default(), AtomicU64::new(0));
        let blocked = function(&runtime, "func(*main.T)", wait_at_gate as *const (), &gate);
        let counting = function(&runtime, "func(*main.T)", count as *const (), &counter);
        let shape = "struct { P *main.T; N uint64 }";
        let ty = runtime.types().define("main.T", shape).unwrap();
        let last = runtime.enter(|mutator| {
            let object = mutator.alloc(ty).unwrap();
            mutator.set_finalizer(object, &counting).unwrap();
            mutator.root(object).unwrap()
        });
        let last = last.unwrap();
        doom(&runtime, &blocked);
        runtime.gc().unwrap();
        gate.wait_for(1);
        for _ in 0..5 {
            doom(&runtime, &counting);
        }
        runtime.gc().unwrap();
        let timeout = Duration::from_millis(10);
        let error = runtime.shutdown(drain, timeout).unwrap_err();
        // Without draining what waits is dropped at once, and only the call that runs is left.
        let left = if drain { 6 } else { 1 };
        assert!(
            matches!(error, ExecutorError::Timeout { due, .. } if due == left),
            "{error}"
        );
        gate.open();
        let discarded = runtime.shutdown(drain, LONG).unwrap();
        assert_eq!(
            (discarded, counter.load(Ordering::Relaxed)),
            if drain { (0, 5) } else { (5, 0) }
        );
        // The heap is still good for everything else; what dies is counted.
        drop(last);
        runtime.gc().unwrap();
        assert_eq!(
            runtime.shutdown(true, LONG).unwrap_or(u64::MAX),
            u64::from(!drain) * 5 + 1
        );
    }
}

#[test]
fn inline_runs_on_its_own_thread_only() {
    let runtime = Runtime::builder()
        .executor(Executor::Inline)
        .build()
        .unwrap();
    define(&runtime);
    struct Reenter {
        runtime: Runtime,
        seen: OnceLock<[Result<(), ExecutorError>; 2]>,
    }
    extern "C" fn reenter(_object: usize, context: &Reenter) {
        let nested = context.runtime.run_finalizers().map(drop);
        let waiting = context.runtime.block_until_finalizer_queue_empty(LONG);
        context.seen.set([nested, waiting]).unwrap();
    }
    let context = Reenter {
        runtime: runtime.clone(),
        seen: OnceLock::new(),
    };
    let function = function(&runtime, "func(*main.T)", reenter as *const (), &context);
    doom(&runtime, &function);
    runtime.gc().unwrap();
    let elsewhere =
        std::thread::scope(|scope| scope.spawn(|| runtime.run_finalizers()).join().unwrap());
    assert!(matches!(elsewhere, Err(ExecutorError::WrongThread { .. })));
    let mut mutator = runtime.attach().unwrap();
    assert_eq!(
        runtime.run_finalizers(),
        Err(ExecutorError::HoldsMutator {
            operation: "run_finalizers"
        })
    );
    let waiting = runtime.block_until_finalizer_queue_empty(LONG).unwrap_err();
    assert!(
        waiting
            .to_string()
            .starts_with("waiting for finalizers: this thread runs with a mutator"),
        "{waiting}"
    );
    assert_eq!(mutator.native(|| runtime.run_finalizers()), Ok(1));
    assert_eq!(
        *context.seen.get().unwrap(),
        [
            Err(ExecutorError::Reentered),
            Err(ExecutorError::OnGoroutine)
        ]
    );
    drop(mutator);
    assert_eq!(
        Runtime::new().unwrap().run_finalizers(),
        Err(ExecutorError::NotInline)
    );
}

#[test]
fn waiting_on_the_goroutine_for_itself_is_refused() {
    struct Waiting {
        runtime: Runtime,
        seen: OnceLock<(Result<(), ExecutorError>, Result<u64, ExecutorError>)>,
    }
    extern "C" fn wait(_object: usize, context: &Waiting) {
        let waited = context.runtime.block_until_finalizer_queue_empty(LONG);
        context
            .seen
            .set((waited, context.runtime.shutdown(false, LONG)))
            .unwrap();
    }
    let runtime = Runtime::new().unwrap();
    define(&runtime);
    let context = Waiting {
        runtime: runtime.clone(),
        seen: OnceLock::new(),
    };
    doom(
        &runtime,
        &function(&runtime, "func(*main.T)", wait as *const (), &context),
    );
    runtime.gc().unwrap();
    runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(
        *context.seen.get().unwrap(),
        (
            Err(ExecutorError::OnGoroutine),
            Err(ExecutorError::OnGoroutine)
        )
    );
}

/// Threads register, allocate and drop while others collect; every finalizer runs once.
#[test]
fn many_threads() {
    let runtime = Runtime::new().unwrap();
    define(&runtime);
    let counter = AtomicU64::new(0);
    let count = function(&runtime, "func(*main.T)", count as *const (), &counter);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ty = runtime.types().id("main.T").unwrap();
                let mut mutator = runtime.attach().unwrap();
                for n in 0..500 {
                    let object = mutator.alloc(ty).unwrap();
                    mutator.set_finalizer(object, &count).unwrap();
                    mutator.safepoint();
                    if n % 100 == 99 {
                        mutator.gc().unwrap();
                    }
                }
            });
        }
    });
    runtime.gc().unwrap();
    runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(counter.load(Ordering::Relaxed), 2000);
    runtime.gc().unwrap();
    assert_eq!(runtime.stats().heap.objects, 0);
}

#[test]
fn register_counts_out_of_range() {
    let runtime = Runtime::new().unwrap();
    let arch = Arch::host().unwrap();
    let max = Abi::go(arch).int_regs();
    let error = runtime.set_int_arg_regs(max + 1).unwrap_err();
    let found = max + 1;
    assert_eq!(
        error.to_string(),
        format!("ABI: {found} integer argument registers, wanted at most {max} on {arch}")
    );
    assert_eq!(runtime.int_arg_regs(), max);
    let error = Runtime::builder().int_arg_regs(1000).build().unwrap_err();
    assert!(
        matches!(error, RuntimeError::Calls(CallsError::IntArgRegs(_))),
        "{error}"
    );
}

#[test]
fn without_executable_memory() {
    let code = |policy| {
        CacheOptions::default()
            .policy(policy)
            .arena_capacity(usize::MAX / 2)
    };
    let error = Runtime::builder()
        .code(code(CodePolicy::Generate))
        .build()
        .unwrap_err();
    assert!(
        error.to_string().contains("CodePolicy::Interpret"),
        "{error}"
    );
    let runtime = Runtime::builder()
        .code(code(CodePolicy::GenerateOrInterpret))
        .build()
        .unwrap();
    define(&runtime);
    let counter = AtomicU64::new(0);
    doom(
        &runtime,
        &function(&runtime, "func(*main.T)", count as *const (), &counter),
    );
    runtime.gc().unwrap();
    runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(
        (
            counter.load(Ordering::Relaxed),
            runtime.stats().stubs.fallbacks
        ),
        (1, 1)
    );
}

/// Each row of bad input: fing's error, Go's text for it, and nothing registered.
#[test]
fn refused_finalizers() {
    let runtime = Runtime::new().unwrap();
    let other = Runtime::new().unwrap();
    let types = runtime.types();
    define(&runtime);
    types.define("main.P", "*main.T").unwrap();
    types.define("main.Q", "*main.T").unwrap();
    types.define("main.I", "interface{ M() }").unwrap();
    let foreign = other
        .types()
        .define("main.T", "struct { P *main.T; N uint64 }")
        .unwrap();
    let counter = AtomicU64::new(0);
    let mutator = runtime.attach().unwrap();
    let object = mutator.alloc(types.id("main.T").unwrap()).unwrap();
    let of = |ty: &str, addr: usize| Pointer::typed(types.id(ty).unwrap(), addr);
    let ok = "func(*main.T)";
    let rows: [(Pointer<'_>, &str, &str, &str); 11] = [
        (
            Pointer::NIL,
            ok,
            "argument 0 is nil",
            "first argument is nil",
        ),
        (
            of("int", 5),
            ok,
            "argument 0 is int, wanted a pointer",
            "first argument is int, not pointer",
        ),
        (
            of("*main.T", 0),
            ok,
            "in no object of this heap",
            "pointer not in allocated block",
        ),
        (
            of("*main.T", &raw const counter as usize),
            ok,
            "in no object",
            "pointer not in allocated block",
        ),
        (
            of("*main.T", object.addr() + 8),
            ok,
            "8 bytes into the object",
            "pointer not at beginning of allocated block",
        ),
        (
            object.into(),
            "func(*main.T, ...int)",
            "variadic",
            "cannot pass *main.T to finalizer func(*main.T, ...int) because dotdotdot",
        ),
        (
            object.into(),
            "func()",
            "with 0 parameters",
            "cannot pass *main.T to finalizer func()",
        ),
        (
            object.into(),
            "func(*main.T, int)",
            "with 2 parameters",
            "cannot pass *main.T to finalizer func(*main.T, int)",
        ),
        (
            object.into(),
            "func(*int)",
            "different elements",
            "cannot pass *main.T to finalizer func(*int)",
        ),
        (
            object.into(),
            "func(main.I)",
            "wanted a parameter that takes",
            "cannot pass *main.T to finalizer func(main.I)",
        ),
        (
            of("main.P", object.addr()),
            "func(main.Q)",
            "have a name",
            "cannot pass main.P to finalizer func(main.Q)",
        ),
    ];
    for (value, signature, ours, go) in rows {
        let function = function(&runtime, signature, count as *const (), &counter);
        let error = mutator.set_finalizer(value, &function).expect_err(go);
        assert!(
            error.to_string().starts_with("set_finalizer: ") && error.to_string().contains(ours),
            "{error}"
        );
        assert_eq!(
            error.go_text().unwrap(),
            format!("runtime.SetFinalizer: {go}")
        );
    }
    let good = function(&runtime, ok, count as *const (), &counter);
    let refused = |value: Pointer<'_>, function: &FinalizerFn| {
        mutator.set_finalizer(value, function).unwrap_err()
    };
    let nil = FinalizerFn::builder(
        types.parse_signature(ok).unwrap(),
        Abi::host_native().unwrap(),
    );
    // SAFETY: I8: null, which can't be registered.
    let nil = unsafe { nil.at(std::ptr::null()) };
    assert_eq!(
        refused(object.into(), &nil).to_string(),
        "set_finalizer: argument 1 is func(*main.T) at address 0, wanted a function"
    );
    let large = function(
        &runtime,
        "func(*main.T) [100000]int",
        count as *const (),
        &counter,
    );
    assert!(
        refused(object.into(), &large)
            .to_string()
            .contains("800000 bytes, wanted at most 131072")
    );
    let other_machine = match Arch::host().unwrap() {
        Arch::Arm64 => Arch::S390x,
        _ => Arch::Arm64,
    };
    let abi = Abi::go(other_machine);
    // SAFETY: I8: never called, for it can't be registered here.
    let strange_code = unsafe {
        FinalizerFn::builder(types.parse_signature(ok).unwrap(), abi).at(count as *const ())
    };
    let text = refused(object.into(), &strange_code).to_string();
    let (found, host) = (abi.arch(), std::env::consts::ARCH);
    assert!(
        text.contains(&format!("it is code for {found}, and this host is {host}")),
        "{text}"
    );
    assert!(
        refused(Pointer::typed(foreign, object.addr()), &good)
            .to_string()
            .contains("another runtime")
    );
    let strange = other.attach().unwrap();
    let error = strange.set_finalizer(object, &good).unwrap_err();
    assert!(
        matches!(error, SetFinalizerError::NotInHeap { .. }),
        "{error}"
    );
    let not_here = strange.alloc(foreign).unwrap();
    assert!(
        refused(not_here.into(), &good)
            .to_string()
            .contains("in no object of this heap")
    );
    let stats = runtime.stats();
    assert_eq!((stats.finalizers, stats.shapes, stats.queued), (0, 0, 0));
}

#[test]
fn refused_cleanups() {
    let runtime = Runtime::new().unwrap();
    define(&runtime);
    let counter = AtomicU64::new(0);
    let mutator = runtime.attach().unwrap();
    let object = mutator
        .alloc(runtime.types().id("main.T").unwrap())
        .unwrap();
    let pointer = object.addr();
    let foreign = &raw const counter as usize;
    let rows = [
        (
            0,
            "func(uint64)",
            1,
            "argument 0 is nil",
            Some("ptr is nil"),
        ),
        (
            pointer,
            "func(*main.T)",
            pointer,
            "argument 2 is argument 0",
            Some("ptr is equal to arg, cleanup will never run"),
        ),
        (
            foreign,
            "func(uint64)",
            1,
            "in no object",
            Some("ptr not in allocated block"),
        ),
        (
            pointer,
            "func(*main.T)",
            pointer + 8,
            "8 bytes into a main.T, wanted nil or a main.T",
            None,
        ),
        (
            pointer,
            "func(*uint64)",
            pointer + 8,
            "inside the object",
            Some("ptr is within arg, cleanup will never run"),
        ),
        (pointer, "func()", 1, "wanted exactly one parameter", None),
        (
            pointer,
            "func(int, int)",
            1,
            "wanted exactly one parameter",
            None,
        ),
        (
            pointer,
            "func(string)",
            1,
            "argument 2 is one word, wanted string",
            None,
        ),
        (pointer, "func(struct{})", 1, "wanted struct{}", None),
    ];
    for (pointer, signature, argument, ours, go) in rows {
        let cleanup = cleanup(&runtime, signature, count as *const (), &counter);
        let error = mutator
            .add_cleanup(pointer, &cleanup, argument as u64)
            .unwrap_err();
        assert!(
            error.to_string().starts_with("add_cleanup: ") && error.to_string().contains(ours),
            "{error}"
        );
        assert_eq!(
            error.go_text(),
            go.map(|text| format!("runtime.AddCleanup: {text}"))
        );
    }
    let takes_a_number = cleanup(&runtime, "func(uint64)", count as *const (), &counter);
    let error = mutator
        .add_cleanup(pointer, &takes_a_number, object)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("argument 2 is an object of type main.T, wanted uint64"),
        "{error}"
    );
    assert_eq!((runtime.stats().cleanups, runtime.stats().shapes), (0, 0));
}

#[test]
fn objects_without_size_are_ignored() {
    let runtime = Runtime::new().unwrap();
    let counter = AtomicU64::new(0);
    let ty = runtime.types().id("struct{}").unwrap();
    let mutator = runtime.attach().unwrap();
    let nothing = mutator.alloc(ty).unwrap();
    let function = function(&runtime, "func(*struct{})", count as *const (), &counter);
    for _ in 0..2 {
        let state = mutator.set_finalizer(nothing, &function).unwrap();
        assert_eq!(state, FinalizerState::Ignored);
    }
    let cleanup = cleanup(&runtime, "func(uint64)", count as *const (), &counter);
    let added = mutator.add_cleanup(nothing, &cleanup, 1u64).unwrap();
    assert!(!added.stop().is_cancelled());
}

#[test]
fn a_heap_at_its_limit() {
    let heap = HeapOptions::default().limit(1 << 20);
    let runtime = Runtime::builder().heap(heap).build().unwrap();
    define(&runtime);
    let counter = AtomicU64::new(0);
    let counting = function(&runtime, "func(*main.T)", count as *const (), &counter);
    let ty = runtime.types().id("main.T").unwrap();
    let mutator = runtime.attach().unwrap();
    let mut registered = 0;
    let error = loop {
        match mutator.alloc(ty) {
            Ok(object) => {
                mutator.set_finalizer(object, &counting).unwrap();
                registered += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            AllocError::HeapLimit {
                requested: 16,
                limit: 1_048_576,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(matches!(runtime.gc(), Err(WorldError::HoldsMutator)));
    drop(mutator);
    runtime.gc().unwrap();
    runtime.block_until_finalizer_queue_empty(LONG).unwrap();
    assert_eq!(counter.load(Ordering::Relaxed), registered);
    assert!(registered > 10_000);
    // Finalized once, so now the memory comes back.
    runtime.gc().unwrap();
    assert!(runtime.attach().unwrap().alloc(ty).is_ok());
}

#[test]
fn a_runtime_is_shared_between_threads() {
    fn shared<T: Clone + Send + Sync>() {}
    shared::<Runtime>();
    shared::<FinalizerFn>();
    shared::<CleanupFn>();
    let counted = Arc::new(Runtime::new().unwrap());
    assert_eq!(
        format!("{counted:?}").split_whitespace().next(),
        Some("Runtime")
    );
}
