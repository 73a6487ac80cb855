//! Watchers: several finalizers of one object, each of which hears of its end.

#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/vm.rs"]
#[expect(dead_code, reason = "watchers are no cleanups")]
mod vm;

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use fing::ends::ExitPolicy;
use fing::error::{AddWatcherError, SetFinalizerError};
use fing::failure::{CallKind, FailurePolicy};
use fing::foreign::{Finalizers, Scope};
use fing::{
    Abi, CallStage, CyclePolicy, Executor, FinalizerFn, FinalizerOptions, FinalizerState, Handle,
    HeapOptions, HeldValue, Mutator, Obj, Order, Pointer, Runtime, RuntimeBuilder, Watcher,
};
use numbers::NoneReached;
use vm::{LONG, Vm, sent};

thread_local! {
    /// Who has heard, of which object.
    static HEARD: RefCell<Vec<(u64, usize)>> = const { RefCell::new(Vec::new()) };
}

extern "C-unwind" fn hear(object: usize, who: u64) {
    HEARD.with_borrow_mut(|heard| heard.push((who, object)));
    assert!(who != 13, "the thirteenth");
}

/// Who has heard since, sorted.
fn heard() -> Vec<u64> {
    let mut heard: Vec<u64> = HEARD.take().into_iter().map(|(who, _)| who).collect();
    heard.sort_unstable();
    heard
}

fn inline() -> RuntimeBuilder {
    Runtime::builder()
        .executor(Executor::Inline)
        .on_failure(|_| ())
        .heap(HeapOptions::default().poison(true))
}

/// A function that is told who hears by each registration.
fn hearing(vm: &Vm, signature: &str) -> FinalizerFn {
    let signature = vm.runtime.types().parse_signature(signature).unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap()).context_word();
    // SAFETY: I8: a C function of a pointer and a word, which follows neither.
    unsafe { builder.at(hear as *const ()) }
}

fn as_who<'m>(who: u64) -> FinalizerOptions<Obj<'m>> {
    FinalizerOptions::new().context(HeldValue::Word(who))
}

fn watch(m: &Mutator, object: Obj<'_>, hear: &FinalizerFn, who: u64) -> Watcher {
    m.add_watcher(object, hear, as_who(who)).unwrap()
}

fn run(vm: &Vm) -> Vec<u64> {
    vm.runtime.run_finalizers().unwrap();
    heard()
}

#[test]
fn each_hears_once_with_the_object() {
    for order in [Order::Go, Order::Topological] {
        let vm = Vm::with(inline().order(order));
        let hear = hearing(&vm, "func(*main.T)");
        let addr = vm.doomed(1, |m, object| {
            m.set_finalizer_with(object, &hear, as_who(1)).unwrap();
            for who in 2..=4 {
                watch(m, object, &hear, who);
            }
            object.addr()
        });
        // Of an object without a finalizer too.
        let other = vm.doomed(2, |m, object| {
            watch(m, object, &hear, 5);
            object.addr()
        });
        assert_eq!(vm.runtime.stats().finalizers, 5);
        let listed = vm.runtime.list().unwrap();
        assert_eq!(listed.iter().filter(|of| of.object == addr).count(), 4);
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 2);
        assert_eq!(vm.runtime.stats().finalizers, 0);
        vm.runtime.run_finalizers().unwrap();
        let mut heard = HEARD.take();
        heard.sort_unstable();
        let wanted = [(1, addr), (2, addr), (3, addr), (4, addr), (5, other)];
        assert_eq!(heard, wanted);
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
        assert!(run(&vm).is_empty());
        assert_eq!(vm.runtime.stats().finalizer_calls.executed, 5);
    }
}

/// The object is whole until the last of them has returned, whatever the others do.
#[test]
fn one_revives_it_for_all() {
    let vm = Vm::with(inline());
    let kept: Arc<Mutex<Vec<Handle>>> = Arc::default();
    let (keep, runtime) = (kept.clone(), vm.runtime.downgrade());
    let revive = vm.function("func(*main.T)", move |[object, _]| {
        let runtime = runtime.upgrade().unwrap();
        let rooted = runtime.enter(|m| {
            let object = m.adopt(object).unwrap();
            assert_eq!(m.load_word(object, 0), Ok(7));
            m.root(object).unwrap()
        });
        keep.lock().unwrap().push(rooted.unwrap());
        let _ = runtime.gc().unwrap();
    });
    let hear = hearing(&vm, "func(*main.T)");
    let weak = vm.doomed(7, |m, object| {
        for who in 1..=2 {
            m.add_watcher(object, &revive, FinalizerOptions::new())
                .unwrap();
            watch(m, object, &hear, who);
        }
        m.downgrade(object).unwrap()
    });
    let _ = vm.runtime.gc().unwrap();
    vm.enter(|m| assert!(m.upgrade(&weak).unwrap().is_none(), "nil before any call"));
    assert_eq!(run(&vm), [1, 2]);
    assert_eq!(kept.lock().unwrap().len(), 2);
    // It can be watched again.
    vm.enter(|m| {
        let object = m.get(&kept.lock().unwrap()[0]).unwrap();
        watch(m, object, &hear, 3);
    });
    kept.lock().unwrap().clear();
    let _ = vm.runtime.gc().unwrap();
    assert_eq!(run(&vm), [3]);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn one_is_stopped_and_the_others_stay() {
    let vm = Vm::with(inline());
    let hear = hearing(&vm, "func(*main.T)");
    let watchers: Vec<Watcher> = vm.doomed(1, |m, object| {
        let watchers = (1..=4).map(|who| watch(m, object, &hear, who));
        let watchers = watchers.collect();
        m.set_finalizer_with(object, &hear, as_who(10)).unwrap();
        let set = m.set_finalizer_with(object, &hear, as_who(11));
        assert!(matches!(set, Err(SetFinalizerError::AlreadySet { .. })));
        let state = m.clear_finalizer(object).unwrap();
        assert_eq!(state, FinalizerState::Cleared(CallStage::Registered));
        let state = m.clear_finalizer(object).unwrap();
        assert_eq!(state, FinalizerState::Cleared(CallStage::Done));
        m.set_finalizer_with(object, &hear, as_who(12)).unwrap();
        watchers
    });
    assert_eq!(watchers[1].stop(), CallStage::Registered);
    assert_eq!(watchers[1].clone().stop(), CallStage::Done);
    let collected = vm.runtime.gc().unwrap();
    assert_eq!(watchers[2].stop(), CallStage::Queued);
    assert_eq!(watchers[2].stop(), CallStage::Done);
    assert_eq!(run(&vm), [1, 4, 12]);
    assert_eq!(watchers[0].stop(), CallStage::Done);
    assert_eq!(collected.wait(LONG), Ok(()));
    let stats = vm.runtime.stats();
    assert_eq!((stats.finalizers, stats.cancelled), (0, 1));
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

/// More than are looked for one by one, in one block and in several, and so many that a search for
/// each would not end.
#[test]
fn all_of_many_are_cancelled() {
    for count in [40, 2000, 100_000] {
        let vm = Vm::with(inline());
        let hear = hearing(&vm, "func(*main.T)");
        let watchers: Vec<Watcher> = vm.doomed(1, |m, object| {
            let all = (0..count).map(|_| watch(m, object, &hear, 1));
            all.collect()
        });
        for watcher in watchers.iter().step_by(5) {
            assert_eq!(watcher.stop(), CallStage::Registered);
        }
        let _ = vm.runtime.gc().unwrap();
        for watcher in watchers.iter().skip(1).step_by(5) {
            assert_eq!(watcher.stop(), CallStage::Queued);
        }
        assert_eq!(run(&vm).len(), count / 5 * 3);
        let ended = |watcher: &Watcher| watcher.stop() == CallStage::Done;
        assert!(watchers.iter().all(ended));
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
    }
}

/// A call that is under way can't be stopped, one behind it in the same batch can.
#[test]
fn a_call_stops_the_others() {
    let vm = Vm::with(inline());
    let watchers: Arc<Mutex<Vec<Watcher>>> = Arc::default();
    let (all, stages) = (watchers.clone(), Arc::new(Mutex::new(Vec::new())));
    let told = stages.clone();
    let stop = vm.function("func(*main.T)", move |_| {
        let stages = all
            .lock()
            .unwrap()
            .iter()
            .map(Watcher::stop)
            .collect::<Vec<_>>();
        told.lock().unwrap().extend(stages);
    });
    vm.doomed(1, |m, object| {
        let add = || {
            m.add_watcher(object, &stop, FinalizerOptions::new())
                .unwrap()
        };
        watchers.lock().unwrap().extend([add(), add(), add()]);
    });
    let _ = vm.runtime.gc().unwrap();
    vm.runtime.run_finalizers().unwrap();
    let mut stages = stages.lock().unwrap().clone();
    stages.sort_by_key(|stage| *stage == CallStage::Queued);
    assert_eq!(
        stages,
        [CallStage::Running, CallStage::Queued, CallStage::Queued]
    );
    assert_eq!(vm.runtime.stats().executed, 1);
}

/// An object with a watcher is finalized when one with a finalizer would be.
#[test]
fn orders_are_those_of_finalizers() {
    for (order, rounds) in [
        (Order::Go, [vec![1, 2], vec![3], vec![]]),
        (Order::Topological, [vec![1, 2, 3], vec![], vec![]]),
    ] {
        let vm = Vm::with(inline().order(order));
        let hear = hearing(&vm, "func(*main.T)");
        vm.doomed(2, |m, last| {
            watch(m, last, &hear, 3);
            let first = m.alloc(vm.t).unwrap();
            m.store_ref(first, 8, Some(last)).unwrap();
            watch(m, first, &hear, 1);
            watch(m, first, &hear, 2);
        });
        for round in rounds {
            let _ = vm.runtime.gc().unwrap();
            assert_eq!(run(&vm), round, "{order:?}");
        }
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
    }
}

/// Of the policies of an object's registrations the most cautious counts.
#[test]
fn cycles_are_left_if_one_of_them_says_so() {
    use CyclePolicy::{Leave, Unordered};
    for (policies, wanted) in [
        ([Unordered, Unordered, Unordered], vec![0, 1, 2, 3]),
        ([Unordered, Unordered, Leave], vec![]),
        ([Leave, Unordered, Unordered], vec![]),
    ] {
        let vm = Vm::with(inline().order(Order::Topological));
        let hear = hearing(&vm, "func(*main.T)");
        let last = vm.doomed(1, |m, a| {
            let b = m.alloc(vm.t).unwrap();
            m.store_ref(a, 8, Some(b)).unwrap();
            m.store_ref(b, 8, Some(a)).unwrap();
            let options = as_who(0).cycle(policies[0]);
            m.set_finalizer_with(a, &hear, options).unwrap();
            m.add_watcher(a, &hear, as_who(1).cycle(policies[1]))
                .unwrap();
            m.add_watcher(b, &hear, as_who(3).cycle(Unordered)).unwrap();
            m.add_watcher(a, &hear, as_who(2).cycle(policies[2]))
                .unwrap()
        });
        let _ = vm.runtime.gc().unwrap();
        assert_eq!(run(&vm), wanted, "{policies:?}");
        // Without the one that says so, the cycle is finalized.
        if policies[2] == Leave {
            assert_eq!(last.stop(), CallStage::Registered);
            let _ = vm.runtime.gc().unwrap();
            assert_eq!(run(&vm), [0, 1, 3]);
        }
    }
}

/// In topological order the call of one that waits again is the same one.
#[test]
fn one_that_was_taken_back_can_be_stopped() {
    let vm = Vm::with(inline().order(Order::Topological));
    let hear = hearing(&vm, "func(*main.T)");
    let kept: Arc<Mutex<Option<Handle>>> = Arc::default();
    let (keep, runtime) = (kept.clone(), vm.runtime.downgrade());
    let revive = vm.function("func(*main.T)", move |[object, _]| {
        let runtime = runtime.upgrade().unwrap();
        let next = runtime.enter(|m| {
            let object = m.adopt(object).unwrap();
            m.root(m.load_ref(object, 8).unwrap().unwrap()).unwrap()
        });
        *keep.lock().unwrap() = Some(next.unwrap());
        let _ = runtime.gc().unwrap();
    });
    let watchers: Vec<Watcher> = vm.doomed(2, |m, last| {
        let first = m.alloc(vm.t).unwrap();
        m.store_ref(first, 8, Some(last)).unwrap();
        m.set_finalizer(first, &revive).unwrap();
        m.set_finalizer_with(last, &hear, as_who(9)).unwrap();
        (1..=3).map(|who| watch(m, last, &hear, who)).collect()
    });
    let _ = vm.runtime.gc().unwrap();
    assert!(run(&vm).is_empty(), "all wait again");
    assert_eq!(vm.runtime.stats().finalizers, 4);
    assert_eq!(watchers[0].stop(), CallStage::Registered);
    assert_eq!(watchers[0].stop(), CallStage::Done);
    *kept.lock().unwrap() = None;
    let _ = vm.runtime.gc().unwrap();
    assert_eq!(watchers[1].stop(), CallStage::Queued);
    assert_eq!(run(&vm), [3, 9]);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn contexts_are_kept_as_long_as_they_watch() {
    let vm = Vm::with(inline());
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context_object(fing::stubs::signature::Type::unsafe_pointer());
    // SAFETY: I8: a C function of two pointers, which follows neither.
    let hear = unsafe { builder.at(hear as *const ()) };
    let (watcher, root) = vm.doomed(1, |m, object| {
        let root = m.root(object).unwrap();
        let context = m.alloc(vm.t).unwrap();
        let options = FinalizerOptions::new().context(HeldValue::Object(context));
        (m.add_watcher(object, &hear, options).unwrap(), root)
    });
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 2);
    assert_eq!(watcher.stop(), CallStage::Registered);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 1);
    let context = vm.enter(|m| {
        let context = m.alloc(vm.t).unwrap();
        let options = FinalizerOptions::new().context(HeldValue::Object(context));
        m.add_watcher(m.get(&root).unwrap(), &hear, options)
            .unwrap();
        context.addr()
    });
    drop(root);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 2);
    assert_eq!(run(&vm), [context as u64]);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

#[test]
fn one_call_has_the_external_bytes() {
    for order in [Order::Go, Order::Topological] {
        for own in [false, true] {
            let vm = Vm::with(inline().order(order));
            let hear = hearing(&vm, "func(*main.T)");
            vm.doomed(1, |m, object| {
                if own {
                    m.set_finalizer_with(object, &hear, as_who(1)).unwrap();
                }
                for who in 2..=4 {
                    let options = as_who(who).external_bytes(100);
                    m.add_watcher(object, &hear, options).unwrap();
                }
            });
            let bytes = || vm.runtime.stats().backlog.external_bytes;
            let _ = vm.runtime.gc().unwrap();
            assert_eq!(bytes(), 100, "{order:?}, own finalizer: {own}");
            run(&vm);
            assert_eq!(bytes(), 0);
        }
    }
}

/// Values that lie inside of objects, or share blocks, are watched by themselves.
#[test]
fn pointers_into_objects_are_watched() {
    for tiny in [false, true] {
        let heap = HeapOptions::default().poison(true).tiny(tiny);
        let vm = Vm::with(inline().heap(heap));
        let types = vm.runtime.types();
        let pair = types.define("main.Pair", "struct { A, B int32 }").unwrap();
        let pointer = types.id("*int32").unwrap();
        let hear = hearing(&vm, "func(*int32)");
        let addr = vm.enter(|m| {
            let addr = m.alloc(pair).unwrap().addr();
            let inside = Pointer::typed(pointer, addr + 4);
            m.set_finalizer_with(inside, &hear, as_who(1)).unwrap();
            m.add_watcher(inside, &hear, as_who(2)).unwrap();
            m.add_watcher(inside, &hear, as_who(3)).unwrap();
            let state = m.clear_finalizer(inside).unwrap();
            assert_eq!(state, FinalizerState::Cleared(CallStage::Registered));
            addr
        });
        let _ = vm.runtime.gc().unwrap();
        vm.runtime.run_finalizers().unwrap();
        let mut heard = HEARD.take();
        heard.sort_unstable();
        assert_eq!(heard, [(2, addr + 4), (3, addr + 4)]);
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
    }
}

#[test]
fn refusals_name_the_operation() {
    let (vm, other) = (Vm::with(inline()), Vm::with(inline()));
    let hear = hearing(&vm, "func(*main.T)");
    let strange = hearing(&vm, "func(*int)");
    let refused = |result: Result<Watcher, AddWatcherError>| result.unwrap_err();
    let none = FinalizerOptions::new;
    vm.doomed(1, |m, object| {
        let error = refused(m.add_watcher(Pointer::NIL, &hear, none()));
        let text = "add_watcher: argument 0 is nil, wanted a pointer to an object";
        assert_eq!(error.to_string(), text);
        let go = "runtime.SetFinalizer: first argument is nil";
        assert_eq!(error.reason().go_text().unwrap(), go);
        for (error, wanted) in [
            (
                refused(m.add_watcher(object, &hear, none())),
                "the context of this",
            ),
            (
                refused(m.add_watcher(object, &strange, as_who(1))),
                "argument 1",
            ),
        ] {
            let text = error.to_string();
            assert!(
                text.starts_with("add_watcher: ") && text.contains(wanted),
                "{text}"
            );
        }
    });
    let foreign = other.rooted();
    let addr = other.enter(|m| m.get(&foreign).unwrap().addr());
    let pointer = vm.runtime.types().id("*main.T").unwrap();
    vm.enter(|m| {
        let error = refused(m.add_watcher(Pointer::typed(pointer, addr), &hear, as_who(1)));
        assert!(matches!(
            error.reason(),
            SetFinalizerError::NotInHeap { .. }
        ));
    });
    // What never dies is never heard of.
    let empty = vm.runtime.types().define("main.E", "struct {}").unwrap();
    let any = hearing(&vm, "func(*main.E)");
    vm.enter(|m| {
        let watcher = m
            .add_watcher(m.alloc(empty).unwrap(), &any, as_who(1))
            .unwrap();
        assert_eq!(watcher.stop(), CallStage::Done);
    });
    assert_eq!(vm.runtime.stats().finalizers, 0);
    vm.runtime.shutdown(true, LONG).unwrap();
    vm.doomed(1, |m, object| {
        let error = refused(m.add_watcher(object, &hear, as_who(1)));
        assert!(
            matches!(error.reason(), SetFinalizerError::Closed(_)),
            "{error}"
        );
    });
}

/// One that fails keeps no other from hearing, and is retried by itself.
#[test]
fn failures_are_each_ones_own() {
    let vm = Vm::with(inline());
    let hear = hearing(&vm, "func(*main.T)");
    vm.doomed(1, |m, object| {
        watch(m, object, &hear, 1);
        let again = as_who(13).failure(FailurePolicy::Requeue(2));
        m.add_watcher(object, &hear, again).unwrap();
        watch(m, object, &hear, 2);
    });
    let _ = vm.runtime.gc().unwrap();
    let mut all = run(&vm);
    all.extend(run(&vm));
    all.sort_unstable();
    assert_eq!(all, [1, 2, 13, 13, 13]);
    let calls = vm.runtime.stats().finalizer_calls;
    assert_eq!((calls.failed, calls.waiting), (3, 0));
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

/// At an exit they are registrations like others.
#[test]
fn an_exit_runs_them_in_order() {
    for policy in [ExitPolicy::LastRegisteredFirst, ExitPolicy::Topological] {
        let vm = Vm::with(inline().number_registrations(true));
        let hear = hearing(&vm, "func(*main.T)");
        let root = vm.doomed(1, |m, object| {
            watch(m, object, &hear, 1);
            m.set_finalizer_with(object, &hear, as_who(2)).unwrap();
            watch(m, object, &hear, 3);
            m.root(object).unwrap()
        });
        let report = vm.runtime.exit(policy, LONG).unwrap();
        assert_eq!((report.executed, report.not_run.len()), (3, 0));
        let order: Vec<u64> = HEARD.take().into_iter().map(|(who, _)| who).collect();
        assert_eq!(order, [3, 2, 1], "{policy:?}");
        drop(root);
    }
    // What is dropped is told of each.
    let vm = Vm::with(inline());
    let hear = hearing(&vm, "func(*main.T)");
    let root = vm.doomed(1, |m, object| {
        watch(m, object, &hear, 1);
        watch(m, object, &hear, 2);
        m.root(object).unwrap()
    });
    let report = vm.runtime.exit(ExitPolicy::Nothing, LONG).unwrap();
    assert_eq!((report.executed, report.not_run.len()), (0, 2));
    assert!(
        report
            .not_run
            .iter()
            .all(|of| of.kind == CallKind::Finalizer)
    );
    // They are dropped when the object dies.
    drop(root);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
    assert_eq!(vm.runtime.stats().finalizers, 0);
}

/// A function that takes many objects is called with the object once for each watcher.
#[test]
fn bulk_functions_hear_each_time() {
    extern "C" fn count(_: *const usize, count: usize, _: usize) {
        HEARD.with_borrow_mut(|heard| heard.extend((0..count).map(|_| (1, 0))));
    }
    let vm = Vm::with(inline());
    let signature = vm
        .runtime
        .types()
        .parse_signature("func(**main.T, int)")
        .unwrap();
    let builder = FinalizerFn::builder(signature, Abi::host_native().unwrap())
        .context(0)
        .bulk();
    // SAFETY: I8: a C function of an array, its length and a word.
    let count = unsafe { builder.at(count as *const ()) };
    let watchers: Vec<Watcher> = vm.doomed(1, |m, object| {
        m.set_finalizer(object, &count).unwrap();
        let add = |_| {
            m.add_watcher(object, &count, FinalizerOptions::new())
                .unwrap()
        };
        (0..700).map(add).collect()
    });
    let _ = vm.runtime.gc().unwrap();
    let stopped = watchers
        .iter()
        .step_by(7)
        .filter(|of| of.stop().is_cancelled());
    let stopped = stopped.count();
    assert_eq!(run(&vm).len(), 701 - stopped);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
}

/// On a thread of the runtime, from many threads.
#[test]
fn threads_watch_and_stop() {
    const EACH: usize = 200;
    let vm = Vm::new();
    let (f, told) = vm.sender("func(*main.T)");
    let root = vm.rooted();
    let watchers: Vec<Watcher> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let add = |_| {
                        vm.enter(|m| {
                            let object = m.get(&root).unwrap();
                            m.add_watcher(object, &f, FinalizerOptions::new()).unwrap()
                        })
                    };
                    (0..EACH).map(add).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(vm.runtime.stats().finalizers as usize, 4 * EACH);
    drop(root);
    let collected = vm.runtime.gc().unwrap();
    let stopped: usize = std::thread::scope(|scope| {
        let stop = |some: &[Watcher]| some.iter().filter(|of| of.stop().is_cancelled()).count();
        let threads: Vec<_> = watchers
            .chunks(EACH)
            .map(|some| scope.spawn(move || stop(some)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(collected.wait(LONG), Ok(()));
    assert_eq!(sent(&told).len() + stopped, 4 * EACH);
}

/// Objects of a foreign collector, all dead.
#[test]
fn foreign_objects_are_watched() {
    let build = |order| Finalizers::<usize>::builder().order(order).build().unwrap();
    for order in [Order::Go, Order::Topological] {
        let (finalizers, others) = (build(order), build(order));
        let builder = "func(uintptr)".parse().unwrap();
        let builder = FinalizerFn::builder(builder, Abi::host_native().unwrap()).context_word();
        // SAFETY: I8: a C function of two words.
        let hear = unsafe { builder.at(hear as *const ()) };
        let as_who = |who| FinalizerOptions::new().context(HeldValue::Word(who));
        // SAFETY: I16: there are no objects, only numbers.
        let watch = |who| unsafe { finalizers.add_watcher(7, &hear, as_who(who)) }.unwrap();
        let watchers: Vec<_> = (1..=5).map(watch).collect();
        // SAFETY: I16: as above.
        unsafe { finalizers.set_finalizer_with(7, &hear, as_who(9)) }.unwrap();
        assert_eq!(finalizers.stats().finalizers, 6);
        assert_eq!(others.stop_watcher(watchers[0]), CallStage::Done);
        assert_eq!(finalizers.stop_watcher(watchers[0]), CallStage::Registered);
        assert_eq!(finalizers.stop_watcher(watchers[0]), CallStage::Done);
        let mut tracer = NoneReached { external_bytes: 0 };
        // SAFETY: I16: as above.
        unsafe { finalizers.collect(Scope::Full, &mut tracer, |_| ()) }.unwrap();
        assert_eq!(finalizers.stats().finalizers, 0);
        assert_eq!(
            finalizers.stop_watcher(watchers[1]),
            CallStage::Queued,
            "due"
        );
        assert_eq!(finalizers.finish().queued, 4);
        assert_eq!(finalizers.stop_watcher(watchers[2]), CallStage::Queued);
        assert_eq!(finalizers.stop_watcher(watchers[2]), CallStage::Done);
        finalizers.run_finalizers().unwrap();
        assert_eq!(heard(), [4, 5, 9]);
        // An old one names none of the next ones, whose entries are the same.
        let next: Vec<_> = (1..=5).map(watch).collect();
        for old in watchers {
            assert_eq!(finalizers.stop_watcher(old), CallStage::Done);
        }
        assert_eq!(finalizers.clear_finalizer(7), CallStage::Done);
        assert_eq!(finalizers.stop_watcher(next[0]), CallStage::Registered);
        // SAFETY: I16: as above.
        let exit = unsafe { finalizers.begin_exit(ExitPolicy::Topological, &mut tracer) }.unwrap();
        let report = exit.run(LONG);
        assert_eq!((report.executed, report.not_run.len()), (4, 0));
        assert_eq!(heard(), [2, 3, 4, 5]);
    }
}
