//! A forked child: each use of what its parent made works, or says that it is a fork. Nothing
//! crashes, waits for ever, or is accepted and never done.
#![cfg(target_os = "linux")]

#[path = "support/blocking.rs"]
mod blocking;
#[path = "support/reaching.rs"]
mod reaching;
#[path = "support/vm.rs"]
#[expect(dead_code, reason = "not every test crate uses all of it")]
mod vm;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fing::ends::ExitPolicy;
use fing::error::{AddCleanupError, Closed, ExecutorError, SetFinalizerError, WorldError};
use fing::foreign::{ExitError, Finalizers, RegisterError};
use fing::stubs::{CacheOptions, CodePolicy, GBlock, StubCache, StubError};
use fing::{Abi, Arch, CyclePolicy, Executor, FinalizerFn, Runtime};

use blocking::Blocking;
use reaching::{Reaching, collect_foreign, set_foreign};
use vm::{LONG, Vm};

/// Held by each test as long as it runs: a child would wait for ever for what another test's thread
/// has locked in the unwinder or the allocator, which the parent's stubs and panics use too.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body` in a forked child. It fails if the child crashes, panics, or does not end.
fn in_child(body: impl FnOnce()) {
    // SAFETY: the child runs `body` and ends; glibc makes its allocator usable there.
    match unsafe { libc::fork() } {
        0 => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        child => {
            assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
            let begun = std::time::Instant::now();
            let mut status = 0;
            // SAFETY: waits for the child just made.
            while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
                if begun.elapsed() > LONG {
                    // SAFETY: the child made above, which was not waited for yet.
                    unsafe { libc::kill(child, libc::SIGKILL) };
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(status, 0, "the child's status");
        }
    }
}

/// Each executor, with threads at work at the moment of the fork.
#[test]
fn a_runtime_in_a_forked_child() {
    let _alone = alone();
    for (executor, policy) in [
        (Executor::Thread, CodePolicy::Generate),
        (Executor::Inline, CodePolicy::Generate),
        (Executor::Manual, CodePolicy::Generate),
        (Executor::Thread, CodePolicy::Interpret),
    ] {
        let code = CacheOptions::default().policy(policy);
        let vm = Vm::with(Runtime::builder().executor(executor).code(code));
        let blocking = Blocking::new(&vm, 0);
        blocking.doom(&vm, 0..600);
        let clean = vm.cleanup("func(uint64)", |_| ());
        let prepared = vm
            .runtime
            .prepare_finalizer(vm.t, &blocking.function)
            .unwrap();
        let root = vm.rooted();
        let cleanup = vm.enter(|m| m.add_cleanup(m.get(&root).unwrap(), &clean, 1u64).unwrap());
        let collected = vm.runtime.gc().unwrap();
        if executor == Executor::Thread {
            blocking.wait_until_blocked();
        }
        in_child(|| {
            let runtime = &vm.runtime;
            // The heap is the child's own copy, and can be used.
            let m = runtime.attach().unwrap();
            let object = m.alloc(vm.t).unwrap();
            m.store_word(object, 0, 7).unwrap();
            assert_eq!(m.load_word(object, 0), Ok(7));
            // Known ways and new ones.
            let other = vm.function("func(any)", |_| ());
            let sets = [
                m.set_finalizer(object, &blocking.function).map(drop),
                m.set_finalizer(object, &other).map(drop),
                prepared.set(object),
                runtime.prepare_finalizer(vm.t, &other).map(drop),
            ];
            for set in sets {
                let error = set.unwrap_err();
                let forked = matches!(error, SetFinalizerError::Closed(Closed::Forked { .. }));
                assert!(forked, "{error}");
            }
            let error = m.add_cleanup(object, &clean, 1u64).unwrap_err();
            assert!(matches!(
                error,
                AddCleanupError::Closed(Closed::Forked { .. })
            ));
            drop(m);
            let wait = Duration::from_secs(3600);
            let waits = [
                runtime.block_until_finalizer_queue_empty(wait),
                collected.wait(wait),
                runtime.shutdown(true, wait).map(drop),
                runtime.shutdown(false, wait).map(drop),
            ];
            for waited in waits {
                assert!(
                    matches!(waited, Err(ExecutorError::Forked { .. })),
                    "{waited:?}"
                );
            }
            if executor != Executor::Thread {
                let ran = runtime.run_finalizers();
                assert!(matches!(ran, Err(ExecutorError::Forked { .. })), "{ran:?}");
            }
            let _ = cleanup.stop();
            // No other thread was running: a collection works, and drops what is dead.
            runtime.gc().unwrap();
            runtime.verify_heap().unwrap();
            // A runtime of its own works.
            let own = Vm::with(Runtime::builder().executor(executor));
            let (f, ran) = own.sender("func(*main.T)");
            own.doomed(1, |m, object| m.set_finalizer(object, &f).unwrap());
            own.collect();
            assert_eq!(ran.try_iter().count(), 1);
            drop((own, root, prepared, collected));
        });
        if executor == Executor::Thread {
            blocking.go_on.send(()).unwrap();
        }
        // The parent goes on, undisturbed.
        if executor != Executor::Thread {
            blocking.go_on.send(()).unwrap();
        }
        vm.collect();
        assert_eq!(blocking.ran().len(), 600);
    }
}

/// A mailbox and a pool, with each thread in a call at the moment of the fork, so that none holds
/// a lock: the child can drop them and gets errors; in the parent both go on.
#[test]
fn lanes_in_a_forked_child() {
    let _alone = alone();
    use fing::executor::{Budget, Lane, MailboxOptions, Pool};
    use fing::{FinalizerFn, FinalizerOptions};
    for executor in [Executor::Thread, Executor::Inline, Executor::Manual] {
        let pool = Pool::new(1.try_into().unwrap());
        let vm = Vm::with(Runtime::builder().executor(executor).pool(pool));
        let (tell, running) = std::sync::mpsc::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (tell, wait) = (std::sync::Mutex::new(tell), std::sync::Mutex::new(wait));
        let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
        let slow = FinalizerFn::from_rust(signature.clone(), move |m, _| {
            m.native(|| {
                tell.lock().unwrap().send(()).unwrap();
                wait.lock().unwrap().recv().unwrap();
            });
        });
        let quick = FinalizerFn::from_rust(signature, |_, _| ());
        let mailbox = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
        let other = vm.runtime.mailbox(MailboxOptions::new()).unwrap();
        let mut calls = vec![(&slow, Lane::Pool), (&quick, mailbox.lane())];
        if executor == Executor::Thread {
            calls.push((&slow, Lane::Executor));
        }
        let threads = calls.len() - 1;
        for &(function, lane) in &calls {
            vm.doomed(1, |m, object| {
                let options = FinalizerOptions::new().lane(lane);
                m.set_finalizer_with(object, function, options).unwrap();
            });
        }
        let collected = vm.runtime.gc().unwrap();
        for _ in 0..threads {
            running.recv_timeout(LONG).unwrap();
        }
        let mut other = Some(other);
        in_child(|| {
            let drained = mailbox.drain(Budget::unlimited());
            assert!(
                matches!(drained, Err(ExecutorError::Forked { .. })),
                "{drained:?}"
            );
            assert_eq!(mailbox.due(), 0);
            drop(other.take());
            let made = vm.runtime.mailbox(MailboxOptions::new());
            assert!(matches!(made, Err(Closed::Forked { .. })), "{made:?}");
            let waited = collected.wait(Duration::MAX);
            assert!(
                matches!(waited, Err(ExecutorError::Forked { .. })),
                "{waited:?}"
            );
            vm.runtime.gc().unwrap();
            vm.runtime.verify_heap().unwrap();
        });
        for _ in 0..threads {
            go_on.send(()).unwrap();
        }
        assert_eq!(mailbox.drain(Budget::unlimited()).unwrap().calls, 1);
        collected.wait(LONG).unwrap();
        assert_eq!(vm.runtime.stats().executed, calls.len() as u64);
    }
}

/// A thread of the parent runs with a mutator: in the child nobody brings it to a safepoint.
#[test]
fn a_collection_that_would_wait_for_a_thread_of_the_parent() {
    let _alone = alone();
    let vm = Vm::new();
    let (tell, attached) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let vm = &vm;
        scope.spawn(move || {
            let mut m = vm.runtime.attach().unwrap();
            tell.send(()).unwrap();
            m.native(|| ());
            wait.recv().unwrap();
        });
        attached.recv_timeout(LONG).unwrap();
        in_child(|| {
            // Unless the fork came when it was in the native region.
            match vm.runtime.gc() {
                Err(WorldError::Forked { .. }) | Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        });
        go_on.send(()).unwrap();
    });
    vm.runtime.gc().unwrap();
}

/// A fork on a thread that runs with a mutator, which the child drops.
#[test]
fn a_mutator_in_a_forked_child() {
    let _alone = alone();
    let vm = Vm::new();
    let mut m = vm.runtime.attach().unwrap();
    in_child(|| {
        m.safepoint();
        let object = m.alloc(vm.t).unwrap();
        let root = m.root(object).unwrap();
        assert!(m.gc().is_ok());
        assert_eq!(m.load_word(m.get(&root).unwrap(), 0), Ok(0));
        drop(root);
    });
    m.gc().unwrap();
}

/// A finalizer forks, and the child ends in it, as it must: it can use the heap with the mutator
/// that was lent, and the parent makes the other calls.
#[test]
fn a_finalizer_forks() {
    let _alone = alone();
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let (t, first) = (vm.t, AtomicBool::new(true));
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let finalizer = FinalizerFn::from_rust(signature, move |m, object| {
        let number = m.load_word(object.get(m).unwrap(), 0);
        if first.swap(false, SeqCst) {
            in_child(|| {
                assert_eq!(m.load_word(object.get(m).unwrap(), 0), number);
                let made = m.alloc(t).unwrap();
                let made = m.root(made).unwrap();
                m.gc().unwrap();
                assert_eq!(m.load_word(object.get(m).unwrap(), 0), number);
                drop(made);
            });
        }
    });
    for number in 0..10 {
        vm.doomed(number, |m, object| {
            m.set_finalizer(object, &finalizer).unwrap()
        });
    }
    vm.collect();
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.failed, stats.mutators), (10, 0, 0));
}

#[test]
fn foreign_finalizers_in_a_forked_child() {
    let _alone = alone();
    let vm = Vm::new();
    for executor in [Executor::Thread, Executor::Inline] {
        let finalizers = Finalizers::<u64>::builder()
            .executor(executor)
            .build()
            .unwrap();
        let (f, ran) = vm.sender("func(uintptr)");
        set_foreign(&finalizers, 8, &f);
        let prepared = finalizers
            .prepare_finalizer(&f, CyclePolicy::default())
            .unwrap();
        in_child(|| {
            // SAFETY: I16: the collector of these tests has no objects.
            let sets = unsafe {
                [
                    finalizers.set_finalizer(16, &f),
                    prepared.set(16),
                    finalizers.finalize_after(16, 8),
                ]
            };
            for error in sets.map(Result::unwrap_err) {
                let forked = matches!(error, RegisterError::Closed(Closed::Forked { .. }));
                assert!(forked, "{error}");
            }
            // SAFETY: I16: as above.
            let exit = unsafe {
                finalizers.begin_exit(ExitPolicy::Topological, &mut Reaching(Vec::new()))
            };
            let exit = exit.map(drop).unwrap_err();
            let forked = matches!(exit, ExitError::Executor(ExecutorError::Forked { .. }));
            assert!(forked, "{exit}");
            assert_eq!(collect_foreign(&finalizers, &[]).queued, 0);
            let waited = finalizers.block_until_finalizer_queue_empty(LONG);
            assert!(
                matches!(waited, Err(ExecutorError::Forked { .. })),
                "{waited:?}"
            );
            let stopped = finalizers.shutdown(false, LONG);
            assert!(matches!(stopped, Err(ExecutorError::Forked { .. })));
            drop((finalizers.clone(), prepared.clone()));
        });
        assert_eq!(collect_foreign(&finalizers, &[]).queued, 1);
        finalizers.block_until_finalizer_queue_empty(LONG).unwrap();
        assert_eq!(ran.try_iter().count(), 1);
    }
}

extern "C" fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// A stub that the child has inherited is called, though its code is the parent's; and dropping
/// the parent's cache takes no memory of the child's away.
#[test]
fn stubs_in_a_forked_child() {
    let _alone = alone();
    let native = Abi::host_native().unwrap();
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let signature = "func(int, int) int".parse().unwrap();
    let stub = cache.call_stub(&signature, native).unwrap();
    let entry = stub.stub().entry().unwrap();
    let call = |stub: &fing::stubs::CallStub| {
        let (arguments, mut result) = ([40_i64, 2], 0_i64);
        // SAFETY: `add` is a C function of this signature; the blocks have its layouts.
        unsafe {
            let (from, to) = (arguments.as_ptr().cast(), (&raw mut result).cast());
            let code = add as *const () as usize;
            stub.call(code, 0, from, to, &GBlock::zeroed()).unwrap();
        }
        result
    };
    assert_eq!(call(&stub), 42);
    in_child(|| {
        for abi in [native, Abi::go(Arch::host().unwrap())] {
            let error = cache.call_stub(&signature, abi).unwrap_err();
            assert!(error.to_string().contains("used by its fork"), "{error}");
        }
        let other = cache.for_signature(&"func(int8)".parse().unwrap(), native);
        assert!(matches!(other, Err(StubError::Forked { .. })));
        assert_eq!(call(&stub), 42);
        // Memory of the child's own, much more than the arena: some of it may lie where the arena's
        // writable alias was.
        let mut own: Vec<Vec<u8>> = (0..64).map(|n| vec![n; 4 << 20]).collect();
        let covers = |own: &Vec<u8>| own.as_ptr_range().contains(&(entry as *const u8));
        assert!(
            !own.iter().any(covers),
            "the stub's addresses are still taken"
        );
        drop((stub, cache));
        for (n, memory) in own.iter_mut().enumerate() {
            assert!(memory.iter().all(|byte| usize::from(*byte) == n));
            memory.fill(7);
        }
        // A cache of its own makes code as before.
        let cache = StubCache::new(CacheOptions::default()).unwrap();
        let stub = cache.call_stub(&signature, native).unwrap();
        assert!(stub.stub().is_generated());
        assert_eq!(call(&stub), 42);
    });
}

/// A child's child is a fork of both.
#[test]
fn a_fork_of_a_fork() {
    let _alone = alone();
    let native = Abi::host_native().unwrap();
    let cache = StubCache::new(CacheOptions::default()).unwrap();
    let signature = "func(int)".parse().unwrap();
    in_child(|| {
        let own = StubCache::new(CacheOptions::default()).unwrap();
        own.for_signature(&signature, native).unwrap();
        in_child(|| {
            for cache in [&cache, &own] {
                let stub = cache.for_signature(&signature, native);
                assert!(matches!(stub, Err(StubError::Forked { .. })));
            }
        });
        own.for_signature(&signature, native).unwrap();
    });
}

/// Calls that the parent was handed out are the parent's.
#[test]
fn calls_that_were_handed_out_in_a_forked_child() {
    let _alone = alone();
    let vm = Vm::with(Runtime::builder().executor(Executor::Manual));
    let finalizer = vm.function("func(*main.T)", |_| ());
    for number in 0..3 {
        vm.doomed(number, |m, object| {
            m.set_finalizer(object, &finalizer).unwrap();
        });
    }
    vm.runtime.gc().unwrap();
    let mut due = [(); 2].map(|()| vm.runtime.next_due().unwrap());
    in_child(|| {
        let [first, second] = due.each_mut().map(|due| due.take().unwrap());
        assert!(first.words()[0] != 0 && first.code().is_some());
        let forked = |refusal: ExecutorError| matches!(refusal, ExecutorError::Forked { .. });
        let (first, refusal) = first.call().unwrap_err();
        assert!(forked(refusal));
        first.fail("in the child");
        drop(second);
        assert!(forked(vm.runtime.next_due().map(drop).unwrap_err()));
    });
    let stats = vm.runtime.stats();
    assert_eq!((stats.executed, stats.failed), (0, 0));
    for due in due.iter_mut().filter_map(Option::take) {
        due.call().unwrap();
    }
    assert_eq!(vm.runtime.run_finalizers(), Ok(1));
    assert_eq!(vm.runtime.stats().executed, 3);
}
