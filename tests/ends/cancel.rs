//! Cancelling: how far a call had come, and that each is made or cancelled, once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fing::foreign::Finalizers;
use fing::{CallStage, Executor, FinalizerState, Mutator, Pointer, Runtime};

use super::vm::{LONG, Vm, sent};
use super::{Blocking, builders, clean_foreign, collect_foreign, set_foreign};

fn clear(m: &Mutator, addr: usize) -> CallStage {
    match m.clear_finalizer(m.adopt(addr).unwrap()).unwrap() {
        FinalizerState::Cleared(stage) => stage,
        state => panic!("{state:?}"),
    }
}

/// Each stage, in a block that is running and in one that waits. What was cancelled is not called,
/// and is freed.
#[test]
fn it_is_said_how_far_a_finalizer_had_come() {
    const OBJECTS: u64 = 700;
    for builder in builders() {
        let vm = Vm::with(builder);
        let blocking = Blocking::new(&vm, 9);
        let addresses = blocking.doom(&vm, 0..OBJECTS);
        vm.enter(|m| {
            let object = m.alloc(vm.t).unwrap();
            m.set_finalizer(object, &blocking.function).unwrap();
            assert_eq!(clear(m, object.addr()), CallStage::Registered);
            assert_eq!(clear(m, object.addr()), CallStage::Done);
        });
        let collected = vm.runtime.gc().unwrap();
        blocking.wait_until_blocked();
        let ran = blocking.ran();
        let (running, done) = ran.split_last().unwrap();
        // Every third of those that have not begun.
        let mut left: BTreeSet<u64> = (0..OBJECTS).filter(|n| !ran.contains(n)).collect();
        let cancelled: Vec<u64> = left.iter().copied().step_by(3).collect();
        vm.enter(|m| {
            let stage = |number: &u64| clear(m, addresses[*number as usize]);
            assert_eq!(stage(running), CallStage::Running);
            assert!(done.iter().all(|number| stage(number) == CallStage::Done));
            for number in &cancelled {
                assert_eq!(stage(number), CallStage::Queued);
                assert_eq!(stage(number), CallStage::Done);
                left.remove(number);
            }
        });
        let outstanding = collected.outstanding();
        assert_eq!(
            (outstanding.queued, outstanding.running),
            (left.len() as u64, 1)
        );
        // The cancelled are no roots any more, nor are those that are done.
        let live = vm.runtime.gc().unwrap().live_objects;
        assert_eq!(live, left.len() + 1);
        blocking.go_on.send(()).unwrap();
        assert_eq!(collected.wait(LONG), Ok(()));
        let after: BTreeSet<u64> = blocking.ran()[10..].iter().copied().collect();
        assert_eq!(after, left);
        let stats = vm.runtime.stats();
        assert_eq!(stats.cancelled, cancelled.len() as u64);
        assert_eq!(stats.executed + stats.cancelled, OBJECTS);
    }
}

#[test]
fn it_is_said_how_far_a_cleanup_had_come() {
    let vm = Vm::new();
    let blocker = Blocking::new(&vm, 0);
    blocker.doom(&vm, [0]);
    vm.runtime.gc().unwrap();
    blocker.wait_until_blocked();
    let (clean, ran) = vm.cleanup_sender("func(uint64)");
    // All with the same argument: each is known by itself.
    let (kept, cleanups) = vm.enter(|m| {
        let kept = m.alloc(vm.t).unwrap();
        let registered = m.add_cleanup(kept, &clean, 7u64).unwrap();
        assert_eq!(registered.stop(), CallStage::Registered);
        assert_eq!(registered.clone().stop(), CallStage::Done);
        let dead = m.alloc(vm.t).unwrap();
        let cleanups: Vec<_> = (0..1000)
            .map(|_| m.add_cleanup(dead, &clean, 7u64).unwrap())
            .collect();
        (m.root(kept).unwrap(), cleanups)
    });
    let collected = vm.runtime.gc().unwrap();
    assert_eq!(collected.outstanding().queued, 1000);
    // Few and many: those found by looking for them, and by the index.
    for (n, cleanup) in cleanups.iter().enumerate().filter(|(n, _)| n % 4 != 0) {
        assert_eq!(cleanup.stop(), CallStage::Queued, "cleanup {n}");
        assert_eq!(cleanup.stop(), CallStage::Done, "cleanup {n}");
    }
    assert_eq!(collected.outstanding().queued, 250);
    blocker.go_on.send(()).unwrap();
    collected.wait(LONG).unwrap();
    assert_eq!(sent(&ran).len(), 250);
    assert!(
        cleanups
            .iter()
            .all(|cleanup| cleanup.stop() == CallStage::Done)
    );
    let stats = vm.runtime.stats();
    assert_eq!((stats.cancelled, stats.cleanups), (750, 0));
    drop(kept);
}

/// A prepared finalizer cancels its own calls only. An object whose call was cancelled is as one
/// without a finalizer: it can have one again, which is due by itself.
#[test]
fn a_cancelled_finalizer_can_be_set_again() {
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let (f, ran) = vm.sender("func(*main.T)");
    let prepared = vm.runtime.prepare_finalizer(vm.t, &f).unwrap();
    let other = vm.function("func(any)", |_| panic!("never set"));
    let other = vm.runtime.prepare_finalizer(vm.t, &other).unwrap();
    let addr = vm.doomed(1, |_, object| {
        prepared.set(object).unwrap();
        object.addr()
    });
    for round in 0..40 {
        vm.runtime.gc().unwrap();
        vm.enter(|m| {
            let object = m.adopt(addr).unwrap();
            assert_eq!(other.clear(object).unwrap(), CallStage::Done);
            assert_eq!(
                prepared.clear(object).unwrap(),
                CallStage::Queued,
                "round {round}"
            );
            assert_eq!(prepared.clear(object).unwrap(), CallStage::Done);
            prepared.set(object).unwrap();
        });
    }
    assert_eq!(sent(&ran).len(), 0);
    vm.collect();
    assert_eq!(sent(&ran).len(), 1);
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.stats().heap.objects, 0);
}

#[test]
fn a_finalizer_of_an_interior_pointer_is_cancelled() {
    let vm = Vm::with(Runtime::builder().executor(Executor::Inline));
    let (f, ran) = vm.sender("func(*int)");
    let types = vm.runtime.types();
    let pair = types.define("main.Pair", "struct { A, B int }").unwrap();
    let int = types.intern(&"int".parse().unwrap()).unwrap();
    let to_int = types.pointer_to(int).unwrap();
    let addr = vm.enter(|m| {
        let addr = m.alloc(pair).unwrap().addr();
        for addr in [addr, addr + 8] {
            m.set_finalizer(Pointer::typed(to_int, addr), &f).unwrap();
        }
        addr
    });
    vm.runtime.gc().unwrap();
    vm.enter(|m| {
        let clear = || m.clear_finalizer(Pointer::typed(to_int, addr + 8)).unwrap();
        assert_eq!(clear(), FinalizerState::Cleared(CallStage::Queued));
        assert_eq!(clear(), FinalizerState::Cleared(CallStage::Done));
    });
    vm.collect();
    assert_eq!(sent(&ran), [[addr, 0]]);
}

/// Threads cancel while the goroutine runs, and collections go on: each call is made or cancelled,
/// once, and who cancelled it was told.
#[test]
fn each_call_is_made_or_cancelled() {
    let objects = fing_oracles::cases(30_000);
    const THREADS: usize = 2;
    for builder in builders() {
        let vm = Vm::with(builder);
        let ledger: Arc<Vec<AtomicU32>> = Arc::new((0..2 * objects).map(|_| 0.into()).collect());
        let count = ledger.clone();
        let f = vm.function("func(*main.T)", move |[object, _]| {
            // SAFETY: I6: a finalizer's object is whole until it returns.
            let number = unsafe { *std::ptr::with_exposed_provenance::<u64>(object) };
            count[number as usize].fetch_add(1, Ordering::Relaxed);
        });
        let count = ledger.clone();
        let c = vm.cleanup("func(uint64)", move |[number, _]| {
            count[number].fetch_add(1, Ordering::Relaxed);
        });
        let (addresses, cleanups): (Vec<_>, Vec<_>) = vm.enter(|m| {
            let all = (0..objects).map(|number| {
                let object = m.alloc(vm.t).unwrap();
                m.store_word(object, 0, number).unwrap();
                m.set_finalizer(object, &f).unwrap();
                let other = m.alloc(vm.t).unwrap();
                let cleanup = m.add_cleanup(other, &c, objects + number).unwrap();
                (object.addr(), cleanup)
            });
            all.collect()
        });
        let collected = vm.runtime.gc().unwrap();
        let cancelled: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let cancelling = |which: usize| {
                let (vm, addresses, cleanups) = (&vm, &addresses, &cleanups);
                move || {
                    let mut cancelled = Vec::new();
                    // From both ends: of what is about to run, and of what runs last.
                    let order = |n: usize| match n % 2 {
                        0 => n / 2,
                        _ => cleanups.len() - 1 - n / 2,
                    };
                    for n in (0..cleanups.len()).map(order).skip(which).step_by(3) {
                        if cleanups[n].stop() == CallStage::Queued {
                            cancelled.push(objects + n as u64);
                        }
                        let stage = vm.enter(|m| match m.adopt(addresses[n]) {
                            Ok(object) => m.clear_finalizer(object).unwrap(),
                            // It was finalized, and a collection has freed it.
                            Err(_) => FinalizerState::Cleared(CallStage::Done),
                        });
                        if stage == FinalizerState::Cleared(CallStage::Queued) {
                            cancelled.push(n as u64);
                        }
                        if n % 4096 == 0 {
                            vm.runtime.gc().unwrap();
                        }
                    }
                    cancelled
                }
            };
            let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(cancelling(n))).collect();
            let cancelled = threads.into_iter().map(|thread| thread.join().unwrap());
            cancelled.collect()
        });
        assert_eq!(collected.wait(LONG), Ok(()));
        let mut told = 0;
        for number in cancelled.into_iter().flatten() {
            ledger[number as usize].fetch_add(1, Ordering::Relaxed);
            told += 1;
        }
        for (number, count) in ledger.iter().enumerate() {
            assert_eq!(count.load(Ordering::Relaxed), 1, "call {number}");
        }
        let stats = vm.runtime.stats();
        assert_eq!(stats.cancelled, told);
        assert_eq!(stats.executed + stats.cancelled, 2 * objects);
    }
}

#[test]
fn foreign_calls_are_cancelled() {
    let vm = Vm::new();
    let (f, ran) = vm.sender("func(uintptr)");
    let (c, cleaned) = vm.cleanup_sender("func(uintptr)");
    for handed_over in [false, true] {
        let finalizers = Finalizers::<u64>::new().unwrap();
        let cleanups: Vec<_> = (1..=100)
            .map(|object| {
                set_foreign(&finalizers, object, &f);
                clean_foreign(&finalizers, 1000 + object, &c)
            })
            .collect();
        assert_eq!(finalizers.clear_finalizer(1), CallStage::Registered);
        assert_eq!(finalizers.stop_cleanup(cleanups[0]), CallStage::Registered);
        let cancel = || {
            for (object, cleanup) in (1..).zip(&cleanups).step_by(2).skip(1) {
                assert_eq!(finalizers.clear_finalizer(object), CallStage::Queued);
                assert_eq!(finalizers.clear_finalizer(object), CallStage::Done);
                assert_eq!(finalizers.stop_cleanup(*cleanup), CallStage::Queued);
                assert_eq!(finalizers.stop_cleanup(*cleanup), CallStage::Done);
            }
        };
        if !handed_over {
            // SAFETY: I16: the collector of these tests has no objects.
            unsafe {
                let mut tracer = super::Reaching(Vec::new());
                finalizers.collect(fing::foreign::Scope::Full, &mut tracer, |_| ())
            }
            .unwrap();
            cancel();
            assert_eq!(finalizers.finish().queued, 2 * (99 - 49));
        } else {
            assert_eq!(collect_foreign(&finalizers, &[]).queued, 2 * 99);
            cancel();
        }
        assert_eq!(finalizers.run_finalizers(), Ok(2 * (99 - 49)));
        let even = |words: Vec<[usize; 2]>| words.iter().filter(|[n, _]| n % 2 == 0).count();
        assert_eq!((even(sent(&ran)), even(sent(&cleaned))), (50, 50));
        assert_eq!(finalizers.stats().cancelled, 2 * 49);
        assert_eq!(finalizers.clear_finalizer(2), CallStage::Done);
        assert_eq!(finalizers.stop_cleanup(cleanups[1]), CallStage::Done);
    }
}
