//! Where finalizers run: options of the runtime's thread, drains with a budget on threads of the
//! embedder, and how these are told that calls are due.

#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/vm.rs"]
#[expect(
    dead_code,
    reason = "what finalizers and cleanups send is sent by closures here"
)]
mod vm;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use fing::error::{ExecutorError, SetFinalizerError};
use fing::executor::DrainOrder;
use fing::executor::{Budget, Drained, ThreadOptions};
use fing::{
    Abi, CallStage, CleanupArgument, Executor, FinalizerFn, HeldValue, Order, Runtime,
    RuntimeBuilder,
};
use vm::{LONG, Vm};

const ALL: Budget = Budget::unlimited();

/// The numbers of the objects that were finalized, in order.
type Log = Arc<Mutex<Vec<u64>>>;

/// A runtime whose objects are logged when they are finalized, by functions of two kinds.
fn logged(builder: RuntimeBuilder) -> (Vm, Log, [FinalizerFn; 2]) {
    let (vm, log) = (Vm::with(builder), Log::default());
    let (first, second) = (log.clone(), log.clone());
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let lent = FinalizerFn::from_rust(signature, move |m, object| {
        let number = m.load_word(object.get(m).unwrap(), 0).unwrap();
        first.lock().unwrap().push(number);
    });
    let runtime = vm.runtime.clone();
    let entering = vm.function("func(*main.T)", move |[object, _]| {
        let number = runtime.enter(|m| m.load_word(m.adopt(object).unwrap(), 0));
        second.lock().unwrap().push(number.unwrap().unwrap());
    });
    (vm, log, [lent, entering])
}

/// Drops so many objects, numbered; every third has the second finalizer.
fn doom(vm: &Vm, count: u64, finalizers: &[FinalizerFn; 2]) {
    for number in 0..count {
        let finalizer = &finalizers[usize::from(number % 3 == 2)];
        vm.doomed(number, |m, object| {
            m.set_finalizer(object, finalizer).unwrap();
        });
    }
    vm.runtime.gc().unwrap();
}

fn manual() -> RuntimeBuilder {
    Runtime::builder().executor(Executor::Manual)
}

fn drained(runtime: &Runtime, budget: Budget) -> (u64, u64) {
    let Drained { calls, left, .. } = runtime.drain(budget).unwrap();
    (calls, left)
}

/// However the queue is cut up by budgets, calls are made in the order of one drain, each once.
#[test]
fn budgets_of_calls_change_no_order() {
    for order in [Order::Go, Order::Topological] {
        for drain_order in [DrainOrder::Lifo, DrainOrder::Grouped] {
            let build = || manual().order(order).drain_order(drain_order);
            let (vm, whole, finalizers) = logged(build());
            doom(&vm, 1500, &finalizers);
            assert_eq!(drained(&vm.runtime, ALL), (1500, 0));
            let (vm, parts, finalizers) = logged(build());
            doom(&vm, 1500, &finalizers);
            let mut left = 1500;
            for calls in [0, 1, 2, 3, 509, 1, 510, 0, 300] {
                left -= calls;
                assert_eq!(drained(&vm.runtime, ALL.calls(calls)), (calls, left));
                vm.runtime.gc().unwrap();
            }
            assert_eq!(drained(&vm.runtime, ALL.calls(u64::MAX)), (left, 0));
            assert_eq!(*whole.lock().unwrap(), *parts.lock().unwrap());
            let stats = vm.runtime.stats();
            assert_eq!((stats.executed, stats.discarded), (1500, 0));
        }
    }
}

/// A budget of no time makes one call, one of all time makes all of them; a call that takes longer
/// than the budget is the last one.
#[test]
fn budgets_of_time() {
    let (vm, log, finalizers) = logged(manual());
    doom(&vm, 1000, &finalizers);
    assert_eq!(drained(&vm.runtime, ALL.time(Duration::ZERO)), (1, 999));
    assert_eq!(
        drained(&vm.runtime, ALL.time(Duration::ZERO).calls(0)),
        (0, 999)
    );
    let both = ALL.time(Duration::MAX).calls(99);
    assert_eq!(drained(&vm.runtime, both), (99, 900));
    assert_eq!(
        drained(&vm.runtime, ALL.time(Duration::from_secs(1 << 40))),
        (900, 0)
    );
    assert_eq!(log.lock().unwrap().len(), 1000);

    let slow = vm.function("func(*main.T)", |_| {
        std::thread::sleep(Duration::from_millis(5))
    });
    doom(&vm, 3, &[slow.clone(), slow]);
    let short = ALL.time(Duration::from_millis(1));
    assert_eq!(drained(&vm.runtime, short), (1, 2));
    assert_eq!(drained(&vm.runtime, ALL.time(Duration::MAX)), (2, 0));
}

/// A budget that is used up by the last call leaves nothing that another thread waits for, and
/// neither does a call that was taken and made.
#[test]
fn who_waits_does_not_wait_for_an_empty_drain() {
    for taken in [false, true] {
        let (vm, log, finalizers) = logged(Runtime::builder().executor(Executor::Inline));
        doom(&vm, 2, &finalizers);
        std::thread::scope(|scope| {
            let runtime = &vm.runtime;
            let waiting = scope.spawn(|| runtime.block_until_finalizer_queue_empty(LONG));
            for left in [1, 0] {
                if taken {
                    let due = runtime.next_due().unwrap().expect("a call");
                    due.call().unwrap();
                } else {
                    assert_eq!(drained(runtime, ALL.calls(1)), (1, left));
                }
            }
            assert_eq!(waiting.join().unwrap(), Ok(()), "taken: {taken}");
        });
        assert_eq!(log.lock().unwrap().len(), 2);
    }
}

/// Neither do calls that were cancelled and are left behind those that the budget allows.
#[test]
fn who_waits_does_not_wait_for_cancelled_calls() {
    let order = Log::default();
    for cancels in [false, true] {
        let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
        let log = order.clone();
        let cleanup = vm.cleanup("func(uint64)", move |[number, _]| {
            log.lock().unwrap().push(number as u64);
        });
        // More than a block has.
        let cleanups = (0..600).map(|number| {
            vm.doomed(number, |m, object| {
                m.add_cleanup(object, &cleanup, CleanupArgument::Word(number))
                    .unwrap()
            })
        });
        let cleanups: Vec<_> = cleanups.collect();
        vm.runtime.gc().unwrap();
        if !cancels {
            assert_eq!(drained(&vm.runtime, ALL), (600, 0));
            continue;
        }
        let first = std::mem::take(&mut *order.lock().unwrap())[0];
        std::thread::scope(|scope| {
            let runtime = &vm.runtime;
            let waiting = scope.spawn(|| runtime.block_until_finalizer_queue_empty(LONG));
            for (number, cleanup) in (0..).zip(cleanups) {
                let stage = (number != first).then(|| cleanup.stop());
                assert!(stage.is_none_or(|stage| stage == CallStage::Queued));
            }
            assert_eq!(drained(runtime, ALL.calls(1)), (1, 0));
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
        assert_eq!(*order.lock().unwrap(), [first]);
    }
}

/// Bulk finalizers take no more objects than the budget allows.
#[test]
fn budgets_cut_bulk_calls() {
    static SIZES: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    extern "C" fn bulk(_: usize, count: usize) {
        SIZES.lock().unwrap().push(count);
    }
    let vm = Vm::with(manual());
    let signature = vm
        .runtime
        .types()
        .parse_signature("func(**main.T, int)")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap()).bulk();
    // SAFETY: I8: a System V function of a pointer and an integer, which follows nothing.
    let bulk = unsafe { builder.at(bulk as *const ()) };
    doom(&vm, 700, &[bulk.clone(), bulk]);
    assert_eq!(drained(&vm.runtime, ALL.calls(100)), (100, 600));
    assert_eq!(drained(&vm.runtime, ALL), (600, 0));
    let sizes = SIZES.lock().unwrap().clone();
    assert_eq!((sizes[0], sizes.iter().sum::<usize>()), (100, 700));
}

/// Any thread may drain a manual runtime, one at a time; each error says what is wrong.
#[test]
fn one_thread_at_a_time() {
    let vm = Vm::with(manual());
    let runtime = vm.runtime.clone();
    let (inside, outside) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (enter, leave) = (inside.clone(), outside.clone());
    let finalizer = vm.function("func(*main.T)", move |_| {
        assert_eq!(runtime.drain(ALL), Err(ExecutorError::Reentered));
        assert_eq!(runtime.run_finalizers(), Err(ExecutorError::Reentered));
        let waited = runtime.block_until_finalizer_queue_empty(LONG);
        assert_eq!(waited, Err(ExecutorError::OnGoroutine));
        enter.wait();
        leave.wait();
    });
    doom(&vm, 1, &[finalizer.clone(), finalizer]);
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| drained(&vm.runtime, ALL));
        inside.wait();
        assert_eq!(vm.runtime.drain(ALL), Err(ExecutorError::Busy));
        assert_eq!(vm.runtime.run_finalizers(), Err(ExecutorError::Busy));
        let zero = vm.runtime.block_until_finalizer_queue_empty(Duration::ZERO);
        assert!(
            matches!(zero, Err(ExecutorError::Timeout { due: 1, .. })),
            "{zero:?}"
        );
        outside.wait();
        vm.runtime.block_until_finalizer_queue_empty(LONG).unwrap();
        assert_eq!(draining.join().unwrap(), (1, 0));
    });
    let mut mutator = vm.runtime.attach().unwrap();
    assert!(matches!(
        vm.runtime.drain(ALL),
        Err(ExecutorError::HoldsMutator { .. })
    ));
    assert_eq!(mutator.native(|| drained(&vm.runtime, ALL)), (0, 0));
    drop(mutator);
    let threaded = Runtime::new().unwrap();
    assert_eq!(threaded.drain(ALL), Err(ExecutorError::NotInline));
    let inline = Runtime::builder()
        .executor(Executor::Inline)
        .build()
        .unwrap();
    let elsewhere = std::thread::scope(|scope| scope.spawn(|| inline.drain(ALL)).join().unwrap());
    assert!(matches!(elsewhere, Err(ExecutorError::WrongThread { .. })));
    assert_eq!(drained(&inline, ALL), (0, 0));
}

/// Threads that drain by turns, with collections beside them: each call is made once.
#[test]
fn the_thread_may_change() {
    let (vm, log, finalizers) = logged(manual());
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 1..=threads {
            let (vm, log) = (&vm, &log);
            scope.spawn(move || {
                while log.lock().unwrap().len() < 2000 {
                    match vm.runtime.drain(ALL.calls(thread)) {
                        Ok(drained) => assert!(drained.calls <= thread),
                        Err(error) => assert_eq!(error, ExecutorError::Busy),
                    }
                    std::thread::yield_now();
                }
            });
        }
        doom(&vm, 1000, &finalizers);
        doom(&vm, 1000, &finalizers);
    });
    let mut numbers = log.lock().unwrap().clone();
    numbers.sort_unstable();
    let twice: Vec<u64> = (0..1000).flat_map(|number| [number; 2]).collect();
    assert_eq!(numbers, twice);
}

/// A shutdown in the middle of what a budget has left.
#[test]
fn shutdown_with_calls_left() {
    let (vm, log, finalizers) = logged(manual());
    doom(&vm, 600, &finalizers);
    assert_eq!(drained(&vm.runtime, ALL.calls(100)), (100, 500));
    assert_eq!(vm.runtime.shutdown(false, LONG), Ok(500));
    assert_eq!(drained(&vm.runtime, ALL), (0, 0));
    assert_eq!(log.lock().unwrap().len(), 100);
}

fn readable(fd: &impl AsRawFd) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: I30: one whole pollfd.
    let ready = unsafe { libc::poll(&mut poll, 1, 0) };
    assert!(ready >= 0, "poll: {}", std::io::Error::last_os_error());
    ready == 1
}

/// The descriptor is readable exactly while calls are due that no drain has begun with, or that one
/// has left.
#[test]
fn a_descriptor_tells_that_calls_are_due() {
    let (vm, _, finalizers) = logged(manual());
    let due = vm.runtime.due_descriptor().unwrap();
    assert!(!readable(&due));
    vm.runtime.gc().unwrap();
    assert!(!readable(&due), "a collection that queues nothing");
    // Many collections fill no buffer that could block.
    for _ in 0..3 {
        doom(&vm, 10, &finalizers);
    }
    assert!(readable(&due));
    assert_eq!(drained(&vm.runtime, ALL.calls(20)), (20, 10));
    assert!(readable(&due));
    assert_eq!(drained(&vm.runtime, ALL), (10, 0));
    assert!(!readable(&due));
    // It is one descriptor, and one that is made late knows what is due.
    assert_eq!(
        due.as_raw_fd(),
        vm.runtime.due_descriptor().unwrap().as_raw_fd()
    );
    let (late, _, finalizers) = logged(manual());
    doom(&late, 1, &finalizers);
    assert!(readable(&late.runtime.due_descriptor().unwrap()));
}

/// The hook is called once for each collection that queues calls, with no lock held, and its panics
/// end nothing: an owner's thread that is woken by it empties the mailbox.
#[test]
fn a_hook_wakes_the_owner() {
    let (waking, woken) = channel();
    let waking = Mutex::new(waking);
    let (vm, log, finalizers) =
        logged(manual().on_due(move || waking.lock().unwrap().send(()).unwrap()));
    let runtime = vm.runtime.clone();
    let owner = std::thread::spawn(move || {
        let mut calls = 0;
        while calls < 30 {
            woken.recv_timeout(LONG).unwrap();
            calls += runtime.drain(ALL).unwrap().calls;
        }
    });
    for _ in 0..3 {
        doom(&vm, 10, &finalizers);
    }
    owner.join().unwrap();
    assert_eq!(log.lock().unwrap().len(), 30);

    // The hook may itself drain: the thread that collects has no mutator here.
    let shared: Arc<Mutex<Option<Runtime>>> = Arc::default();
    let hook = shared.clone();
    let (vm, log, finalizers) = logged(manual().on_due(move || {
        let runtime = hook.lock().unwrap().clone().unwrap();
        runtime.drain(ALL).unwrap();
        panic!("after the drain");
    }));
    *shared.lock().unwrap() = Some(vm.runtime.clone());
    doom(&vm, 10, &finalizers);
    assert_eq!(log.lock().unwrap().len(), 10);
    shared.lock().unwrap().take();
}

/// The runtime's thread has the name and stack that it was given, and runs the hook first; a panic
/// of the hook ends nothing.
#[test]
fn options_of_the_thread() {
    let (sender, started) = channel();
    let sender = Mutex::new(sender);
    let options = ThreadOptions::new()
        .name("closing")
        .stack_size(64 << 20)
        .on_start(move || {
            sender
                .lock()
                .unwrap()
                .send(std::thread::current().id())
                .unwrap();
            panic!("a hook");
        });
    let vm = Vm::with(Runtime::builder().thread(options.clone()));
    let (seen, finalized) = channel();
    let seen = Mutex::new(seen);
    let finalizer = vm.function("func(*main.T)", move |_| {
        // More than the standard library's 2 MiB.
        let deep = std::hint::black_box([1_u8; 8 << 20]);
        let thread = std::thread::current();
        let name = thread.name().unwrap().to_owned();
        seen.lock()
            .unwrap()
            .send((thread.id(), name, deep[1]))
            .unwrap();
    });
    doom(&vm, 1, &[finalizer.clone(), finalizer]);
    let (id, name, byte) = finalized.recv_timeout(LONG).unwrap();
    assert_eq!((name.as_str(), byte), ("closing", 1));
    assert_eq!(started.recv_timeout(LONG).unwrap(), id);
    assert!(started.try_recv().is_err());
    assert!(format!("{options:?}").contains("closing"));

    let vm = Vm::with(Runtime::builder().thread(ThreadOptions::new().name("a\0b")));
    let finalizer = vm.function("func(*main.T)", |_| ());
    let error = vm.doomed(0, |m, object| {
        m.set_finalizer(object, &finalizer).unwrap_err()
    });
    assert!(matches!(error, SetFinalizerError::NoThread(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains(r#"thread name "a\0b", wanted one without a byte 0"#)
    );
}

/// All of it with a collector of the embedder's.
#[test]
fn foreign_finalizers_have_the_same() {
    use fing::foreign::{Finalizers, Scope};
    use numbers::NoneReached;
    extern "C" fn add(number: u64, sum: &AtomicU64) {
        sum.fetch_add(number, SeqCst);
    }
    static SUM: AtomicU64 = AtomicU64::new(0);
    let told = Arc::new(AtomicU64::new(0));
    let count = told.clone();
    let finalizers = Finalizers::<usize>::builder()
        .executor(Executor::Manual)
        .on_due(move || {
            count.fetch_add(1, SeqCst);
        })
        .build()
        .unwrap();
    let builder =
        fing::CleanupFn::builder("func(uint64)".parse().unwrap(), Abi::host_native().unwrap());
    let builder = builder.context(std::ptr::from_ref(&SUM).expose_provenance());
    // SAFETY: I8: a System V function of a number and a context that lives for ever.
    let cleanup = unsafe { builder.at(add as *const ()) };
    for number in 1..=100 {
        // SAFETY: I16: the object is not followed.
        unsafe { finalizers.add_cleanup(16 * number, &cleanup, HeldValue::Word(number as u64)) }
            .unwrap();
    }
    let due = finalizers.due_descriptor().unwrap();
    // SAFETY: I16: as above.
    unsafe { finalizers.collect(Scope::Full, &mut NoneReached { external_bytes: 0 }, |_| ()) }
        .unwrap();
    assert_eq!(told.load(SeqCst), 0);
    finalizers.finish();
    assert_eq!(told.load(SeqCst), 1);
    assert!(readable(&due));
    let part = finalizers.drain(ALL.calls(40)).unwrap();
    assert_eq!((part.calls, part.left), (40, 60));
    let there = finalizers.clone();
    let rest = std::thread::spawn(move || there.drain(ALL).unwrap())
        .join()
        .unwrap();
    assert_eq!((rest.calls, rest.left), (60, 0));
    assert!(!readable(&due));
    assert_eq!(SUM.load(SeqCst), 5050);

    let (sender, started) = channel();
    let sender = Mutex::new(sender);
    let name = move || {
        let thread = std::thread::current();
        sender
            .lock()
            .unwrap()
            .send(thread.name().map(str::to_owned))
            .unwrap();
    };
    let threaded = Finalizers::<usize>::builder()
        .executor(Executor::Thread)
        .thread(ThreadOptions::new().name("theirs").on_start(name))
        .build()
        .unwrap();
    // SAFETY: I16: as above.
    unsafe { threaded.add_cleanup(16, &cleanup, HeldValue::Word(0)) }.unwrap();
    assert_eq!(
        started.recv_timeout(LONG).unwrap().as_deref(),
        Some("theirs")
    );
    assert_eq!(threaded.drain(ALL), Err(ExecutorError::NotInline));
}

/// The hook is told of each collection that has queued calls, and of no other, so it may collect.
#[test]
fn what_is_due_is_told_once() {
    let told = Arc::new(AtomicU64::new(0));
    let (count, builder) = (told.clone(), manual());
    let weak = builder.weak();
    let vm = Vm::with(builder.on_due(move || {
        count.fetch_add(1, SeqCst);
        weak.upgrade().unwrap().gc().unwrap();
    }));
    let finalizer = vm.function("func(*main.T)", |_| ());
    for round in 1..=3 {
        vm.doomed(0, |m, object| m.set_finalizer(object, &finalizer).unwrap());
        for _ in 0..3 {
            vm.runtime.gc().unwrap();
            assert_eq!(told.load(SeqCst), round);
        }
    }
    assert_eq!(vm.runtime.run_finalizers(), Ok(3));
    vm.runtime.gc().unwrap();
    assert_eq!(told.load(SeqCst), 3);
}
