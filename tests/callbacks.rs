//! Callbacks that objects own: what they keep, when they end, and on which threads they are called.

#[path = "support/linear.rs"]
#[expect(dead_code, reason = "what is counted here has to be prepared")]
mod linear;
#[path = "support/vm.rs"]
#[expect(dead_code, reason = "not all of what other tests use is used here")]
mod vm;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use fing::callbacks::{
    Call, CallbackCloseError, CallbackError, CallbackOptions, Captured, Close, EntryPoint,
    OwnedCallback,
};
use fing::check::{Keeper, PathLink};
use fing::ends::ExitPolicy;
use fing::error::AccessErrorKind;
use fing::stubs::entry::{
    CloseError, Entries, EntryOptions, Failure, Freed, Function, OnFailure, PointFunction, Report,
    SharedCallback,
};
use fing::{Abi, Executor, FinalizerFn, HeapOptions, Mutator, Obj, Order, Runtime, Weak};
use linear::is_linear_after;
use vm::{LONG, Vm, sent};

type Word = extern "C" fn(u64) -> u64;

/// A runtime, callers of a function of one word, and what is reported.
struct Test {
    vm: Vm,
    entries: Entries,
    point: EntryPoint,
    reports: Receiver<Report>,
}

impl Test {
    fn new() -> Test {
        Test::of(Vm::new())
    }

    fn of(vm: Vm) -> Test {
        let (sender, reports) = channel();
        let sender = Mutex::new(sender);
        let tell = move |report: &Report| sender.lock().unwrap().send(report.clone()).unwrap();
        let entries = Entries::new(EntryOptions::default().observer(tell)).unwrap();
        let signature = "func(uint64) uint64".parse().unwrap();
        let point = entries.point(&signature, Abi::host_native().unwrap());
        Test {
            vm,
            entries,
            point: point.unwrap(),
            reports,
        }
    }

    /// An object with a callback that adds its argument to the number of a captured object, both
    /// unreachable but for what `body` does; with a weak pointer to the captured object.
    fn adder<R>(
        &self,
        body: impl FnOnce(&Mutator, Obj<'_>, &OwnedCallback) -> R,
    ) -> (OwnedCallback, Weak, R) {
        self.vm.enter(|m| {
            let (owner, sum) = (m.alloc(self.vm.t).unwrap(), m.alloc(self.vm.t).unwrap());
            let callback = m.callback(owner, &self.point, &[sum], options(), add);
            let callback = callback.unwrap();
            let result = body(m, owner, &callback);
            (callback, m.downgrade(sum).unwrap(), result)
        })
    }

    fn is_there(&self, weak: &Weak) -> bool {
        self.vm.enter(|m| m.upgrade(weak).unwrap().is_some())
    }

    /// What was reported since this was called last.
    fn told(&self) -> Vec<String> {
        let reports = sent(&self.reports);
        reports.iter().map(|report| report.to_string()).collect()
    }
}

fn options() -> CallbackOptions {
    CallbackOptions::default().owner("the test")
}

fn add(m: &mut Mutator, captured: &Captured<'_>, call: &mut Call<'_>) {
    let object = captured.get(m, 0).unwrap();
    let sum = m.load_word(object, 0).unwrap() + call.argument::<u64>(0).unwrap();
    m.store_word(object, 0, sum).unwrap();
    call.set_result(0, sum).unwrap();
}

fn word(callback: &OwnedCallback) -> Word {
    // SAFETY: the tests make callbacks of this signature, by the C convention of the host.
    unsafe { std::mem::transmute::<usize, Word>(callback.address()) }
}

#[test]
fn it_lives_as_long_as_its_owner() {
    let test = Test::new();
    let (callback, sum, owner) = test.adder(|m, owner, _| m.root(owner).unwrap());
    let function = word(&callback);
    for n in 1..=3 {
        test.vm.collect();
        assert_eq!((function(2), test.is_there(&sum)), (2 * n, true));
    }
    assert_eq!(thread::spawn(move || function(4)).join().unwrap(), 10);
    assert_eq!(test.vm.runtime.stats().callbacks, 1);
    drop(owner);
    test.vm.collect();
    assert!(!test.is_there(&sum));
    let stats = (
        test.vm.runtime.stats().callbacks,
        test.entries.stats().alive,
    );
    assert_eq!((function(1), stats), (0, (0, 0)));
    let reports = sent(&test.reports);
    assert_eq!(reports.len(), 1);
    let described = reports[0].callback.as_ref().unwrap();
    assert_eq!(described.freed, Some(Freed::Released("with its object")));
    let text = reports[0].to_string();
    let place = format!("of the test, made at {}:", file!());
    for part in [
        &place,
        "called after it was freed;",
        ", freed with its object;",
    ] {
        assert!(text.contains(part), "{text} without {part}");
    }
    assert!(callback.close(Close::Wait).is_ok(), "closing it again");
}

/// Functions of the VM's, under the convention of C and under Go's with each number of argument
/// registers, whose context is a captured object. They live as closures do.
#[test]
fn an_object_owns_a_function() {
    fn more(call: &mut Call<'_>) {
        call.set_result(0, call.argument::<u64>(0).unwrap() + 1)
            .unwrap();
    }
    let test = Test::new();
    let native = Abi::host_native().unwrap();
    let go = Abi::go(native.arch());
    let all = (0..=go.int_regs()).map(|n| go.with_int_arg_regs(n).unwrap());
    for abi in all.chain([native]) {
        // The function, as machine code of this ABI: an entry of its own.
        let code = test.entries.point(test.point.signature(), abi).unwrap();
        let code = SharedCallback::at(&code, options(), more).unwrap();
        let callback = test.vm.enter(|m| {
            let (owner, kept) = (m.alloc(test.vm.t).unwrap(), m.alloc(test.vm.t).unwrap());
            let function = Function {
                abi,
                code: code.address(),
                context: kept.addr(),
            };
            // SAFETY: the entry is of this signature and ABI, and ignores its context.
            let function = unsafe { PointFunction::new(&test.point, function) }.unwrap();
            let callback = m.callback_function(owner, &[kept], options(), function);
            (
                m.root(owner).unwrap(),
                m.downgrade(kept).unwrap(),
                callback.unwrap(),
            )
        });
        let (owner, kept, callback) = callback;
        test.vm.collect();
        assert!(test.is_there(&kept), "{abi}");
        let function = word(&callback);
        assert_eq!(
            thread::spawn(move || function(41)).join().unwrap(),
            42,
            "{abi}"
        );
        assert!(test.told().is_empty());
        drop(owner);
        test.vm.collect();
        assert!(!test.is_there(&kept), "{abi}");
        assert_eq!(function(41), 0, "{abi}: a late call");
        assert_eq!(test.told().len(), 1);
    }
    assert_eq!(test.entries.stats().alive, 0);
}

/// A call is forwarded to functions of its own callers only.
#[test]
fn a_call_is_not_forwarded_to_functions_of_other_callers() {
    let test = Test::new();
    let native = Abi::host_native().unwrap();
    let other = test.entries.point(&"func(int32)".parse().unwrap(), native);
    let function = Function {
        abi: native,
        code: 1,
        context: 0,
    };
    // SAFETY: it is not called.
    let function = unsafe { PointFunction::new(&other.unwrap(), function) }.unwrap();
    let told = Arc::new(Mutex::new(String::new()));
    let tell = told.clone();
    let callback = SharedCallback::at(&test.point, options(), move |call| {
        *tell.lock().unwrap() = call.forward(&function).unwrap_err().to_string();
    });
    let callback = callback.unwrap();
    // SAFETY: a callback of this signature, by the C convention of the host.
    let call = unsafe { std::mem::transmute::<usize, Word>(callback.address()) };
    assert_eq!(call(1), 0);
    let wanted = format!(
        "callback func(uint64) (uint64) by {native}: found a function for another point, \
         func(int32) by {native}, wanted one for its own"
    );
    assert_eq!(*told.lock().unwrap(), wanted);
}

/// `why_alive` knows what no field shows.
#[test]
fn what_a_callback_keeps_is_explained() {
    let test = Test::new();
    let (_callback, sum, owner) = test.adder(|m, owner, _| m.root(owner).unwrap());
    let sum = test.vm.enter(|m| m.upgrade_addr(&sum).unwrap().unwrap());
    let kept = test.vm.runtime.why_alive(sum).unwrap().unwrap();
    assert_eq!((kept.keeper, kept.path.len()), (Keeper::Root, 1));
    let link = &kept.path[0];
    assert_eq!(
        (link.object, link.slot),
        (owner.addr(), PathLink::<usize>::HIDDEN)
    );
    let text = format!("kept by a root: main.T {:#x}[hidden]", owner.addr());
    assert_eq!(kept.to_string(), text);
    drop(owner);
    assert_eq!(test.vm.runtime.why_alive(sum).unwrap(), None);
}

/// What a callback captured may lead back to its owner: both die all the same.
#[test]
fn a_circle_through_a_callback_dies() {
    for order in [Order::Go, Order::Topological] {
        let test = Test::of(Vm::with(Runtime::builder().order(order)));
        let weak = test.vm.enter(|m| {
            let [a, b, c] = [(); 3].map(|()| m.alloc(test.vm.t).unwrap());
            // a -> its callback -> b -> c -> its callback -> a, and c's own.
            m.callback(a, &test.point, &[b], options(), add).unwrap();
            m.store_ref(b, 8, Some(c)).unwrap();
            m.callback(c, &test.point, &[a, c], options(), add).unwrap();
            [a, b, c].map(|object| m.downgrade(object).unwrap())
        });
        let root = test.vm.enter(|m| {
            let b = m.upgrade(&weak[1]).unwrap().unwrap();
            m.root(b).unwrap()
        });
        test.vm.collect();
        assert!(weak.iter().all(|weak| test.is_there(weak)), "{order:?}");
        drop(root);
        test.vm.collect();
        assert!(!weak.iter().any(|weak| test.is_there(weak)), "{order:?}");
        assert_eq!(test.entries.stats().alive, 0);
    }
}

/// A callback is still there when its owner's finalizer runs, which may call it; it goes with the
/// owner.
#[test]
fn it_is_called_by_the_finalizer_of_its_owner() {
    for order in [Order::Go, Order::Topological] {
        for executor in [Executor::Thread, Executor::Inline] {
            let builder = Runtime::builder().order(order).executor(executor);
            let test = Test::of(Vm::with(builder));
            let signature = test.vm.runtime.types().parse_signature("func(*main.T)");
            let signature = signature.unwrap();
            let results = Arc::new(Mutex::new(Vec::new()));
            // One finalizer is called without a mutator, the other has one, and leaves the heap.
            let (seen, address) = (results.clone(), Arc::new(AtomicUsize::new(0)));
            let function = address.clone();
            let call = move || {
                // SAFETY: as `word`.
                let function: Word = unsafe { std::mem::transmute(function.load(SeqCst)) };
                seen.lock().unwrap().push(function(5));
            };
            let (plain, lent) = (call.clone(), call);
            let finalizers = [
                test.vm.function("func(*main.T)", move |_| plain()),
                FinalizerFn::from_rust(signature, move |m, _| m.native(&lent)),
            ];
            for (n, finalizer) in (1..).zip(&finalizers) {
                let (callback, sum, ()) = test.adder(|m, owner, callback| {
                    address.store(callback.address(), SeqCst);
                    m.set_finalizer(owner, finalizer).unwrap();
                });
                test.vm.collect();
                assert_eq!(
                    *results.lock().unwrap(),
                    vec![5; n],
                    "{order:?} {executor:?}"
                );
                assert_eq!((test.told(), test.is_there(&sum)), (vec![], true));
                test.vm.collect();
                assert_eq!((word(&callback)(1), test.told().len()), (0, 1));
                assert!(!test.is_there(&sum));
            }
        }
    }
}

/// What a callback captured counts as a reference of its owner for the order of finalization.
#[test]
fn captured_objects_are_finalized_after_the_owner() {
    for (order, wanted) in [
        (Order::Go, vec![vec![1], vec![2]]),
        (Order::Topological, vec![vec![1, 2]]),
    ] {
        let test = Test::of(Vm::with(Runtime::builder().order(order)));
        let (sender, ran) = channel();
        let signature = test.vm.runtime.types().parse_signature("func(*main.T)");
        let finalizer = FinalizerFn::from_rust(signature.unwrap(), move |m, object| {
            let object = object.get(m).unwrap();
            sender.send(m.load_word(object, 0).unwrap()).unwrap();
        });
        test.vm.enter(|m| {
            // The captured one is registered first, and would run last in Go's order of equals.
            let [captured, owner] = [2, 1].map(|number| {
                let object = m.alloc(test.vm.t).unwrap();
                m.store_word(object, 0, number).unwrap();
                m.set_finalizer(object, &finalizer).unwrap();
                object
            });
            m.callback(owner, &test.point, &[captured], options(), add)
                .unwrap();
        });
        for wanted in wanted {
            test.vm.collect();
            assert_eq!(sent(&ran), wanted, "{order:?}");
            // The owner is freed by the next collection, and the callback with it.
        }
        test.vm.collect();
        assert_eq!(test.entries.stats().alive, 0, "{order:?}");
    }
}

#[test]
fn a_thread_that_runs_with_a_mutator_is_refused() {
    let test = Test::new();
    let (callback, _, _owner) = test.adder(|m, owner, _| m.root(owner).unwrap());
    let function = word(&callback);
    test.vm.enter(|m| {
        assert_eq!(function(1), 0);
        assert_eq!(m.native(|| function(1)), 1);
    });
    let reports = sent(&test.reports);
    let texts: Vec<String> = reports.iter().map(|report| report.to_string()).collect();
    assert!(
        matches!(reports[0].failure, Failure::Refused(_)),
        "{texts:?}"
    );
    let wanted = "refused the call: enter: this thread runs with a mutator of this runtime, wanted";
    assert!(texts[0].contains(wanted), "{texts:?}");
    assert_eq!(texts.len(), 1);
}

/// Two runtimes: one's callback is called by a thread that runs with a mutator of the other, and
/// calls the other's.
#[test]
fn runtimes_call_each_other() {
    let (outer, inner) = (Test::new(), Test::new());
    let (callback, _, _kept) = inner.adder(|m, owner, _| m.root(owner).unwrap());
    let function = word(&callback);
    let (through, _kept_too) = outer.vm.enter(|m| {
        let owner = m.alloc(outer.vm.t).unwrap();
        let body = move |m: &mut Mutator, captured: &Captured<'_>, call: &mut Call<'_>| {
            let n: u64 = call.argument(0).unwrap();
            let sum = function(n) + m.native(|| function(n));
            m.gc().unwrap();
            assert!(m.type_of(captured.owner(m).unwrap()).is_ok());
            call.set_result(0, sum).unwrap();
        };
        let through = m
            .callback(owner, &outer.point, &[], options(), body)
            .unwrap();
        (through, m.root(owner).unwrap())
    });
    assert_eq!(word(&through)(1), 1 + 2);
    // A mutator of the outer runtime is in the way of the outer callback only, one of the inner
    // runtime in that of the inner one only.
    let (refused, inside) = outer
        .vm
        .enter(|m| (word(&through)(1), m.native(|| word(&through)(1))));
    assert_eq!((refused, inside), (0, 3 + 4));
    assert_eq!((outer.told().len(), inner.told().len()), (1, 0));
    assert_eq!(inner.vm.enter(|_| word(&through)(1)), 0);
    assert_eq!((outer.told().len(), inner.told().len()), (0, 2));
}

/// Foreign threads call while objects and their callbacks come and go: a call finds what its
/// callback captured, or is told.
#[test]
fn calls_race_with_collections() {
    const THREADS: usize = 3;
    let test = Test::new();
    let shared = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (address, done) = (&shared.0, &shared.1);
    let right = AtomicU64::new(0);
    let make = |number: u64| {
        test.vm.enter(|m| {
            let (owner, held) = (m.alloc(test.vm.t).unwrap(), m.alloc(test.vm.t).unwrap());
            m.store_word(held, 0, number).unwrap();
            let body = |m: &mut Mutator, captured: &Captured<'_>, call: &mut Call<'_>| {
                let before = m.load_word(captured.get(m, 0).unwrap(), 0).unwrap();
                m.safepoint();
                let held = captured.get(m, 0).unwrap();
                assert_eq!(m.load_word(held, 0).unwrap(), before);
                call.set_result(0, before).unwrap();
            };
            let made = m.callback(owner, &test.point, &[held], options(), body);
            address.store(made.unwrap().address(), SeqCst);
            m.root(owner).unwrap()
        })
    };
    let mut owner = make(1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while done.load(SeqCst) == 0 {
                    // SAFETY: as `word`; freed addresses stay callable.
                    let function: Word = unsafe { std::mem::transmute(address.load(SeqCst)) };
                    right.fetch_add(u64::from(function(0) > 0), SeqCst);
                }
            });
        }
        for number in 2..100 {
            drop(std::mem::replace(&mut owner, make(number)));
            test.vm.runtime.gc().unwrap();
            // The calls go on.
            let before = right.load(SeqCst);
            while right.load(SeqCst) == before {
                thread::yield_now();
            }
        }
        done.store(1, SeqCst);
    });
    for report in sent(&test.reports) {
        let known = matches!(report.failure, Failure::Late | Failure::Refused(_));
        assert!(known, "{report}");
    }
    test.vm.runtime.verify_heap().unwrap();
    // What the last calls have kept goes now.
    test.vm.runtime.gc().unwrap();
    assert_eq!(test.vm.runtime.stats().callbacks, 1);
}

/// At a shutdown the calls that are still made may call back; afterwards calls are late.
#[test]
fn the_end_of_a_runtime() {
    type End = fn(&Runtime);
    let ends: [(End, u64, &str); 3] = [
        (
            |runtime| assert_eq!(runtime.shutdown(true, LONG).unwrap(), 0),
            1,
            "at the shutdown of its runtime",
        ),
        (
            |runtime| drop(runtime.exit(ExitPolicy::Queued, LONG).unwrap()),
            1,
            "at the shutdown of its runtime",
        ),
        (|_| (), 0, "with its runtime"),
    ];
    for (end, calls, when) in ends {
        let test = Test::of(Vm::with(Runtime::builder().executor(Executor::Inline)));
        let owned = Arc::new(());
        let (callback, _root) = test.vm.enter(|m| {
            let (owner, held) = (m.alloc(test.vm.t).unwrap(), owned.clone());
            let body = move |_: &mut Mutator, _: &Captured<'_>, call: &mut Call<'_>| {
                let _held = &held;
                call.set_result(0, 6u64).unwrap();
            };
            let made = m
                .callback(owner, &test.point, &[], options(), body)
                .unwrap();
            (made, m.root(owner).unwrap())
        });
        let (function, called) = (word(&callback), Arc::new(AtomicU64::new(0)));
        let sum = called.clone();
        let finalizer = test.vm.function("func(*main.T)", move |_| {
            sum.fetch_add(function(1) / 6, SeqCst);
        });
        test.vm.doomed(0, |m, object| {
            m.set_finalizer(object, &finalizer).unwrap();
        });
        test.vm.runtime.gc().unwrap();
        end(&test.vm.runtime);
        let runtime = test.vm.runtime.clone();
        if calls > 0 {
            assert_eq!((function(1), Arc::strong_count(&owned)), (0, 1));
            let refused = runtime.enter(|m| {
                let owner = m.alloc(test.vm.t).unwrap();
                m.callback(owner, &test.point, &[], options(), add)
                    .unwrap_err()
            });
            assert!(matches!(refused.unwrap(), CallbackError::Closed(_)));
            assert_eq!(runtime.stats().callbacks, 0);
            runtime.gc().unwrap();
        }
        let Test { vm, reports, .. } = test;
        drop((vm, runtime));
        assert_eq!((function(1), called.load(SeqCst)), (0, calls));
        assert_eq!(Arc::strong_count(&owned), 1);
        let reports = sent(&reports);
        for report in &reports {
            let freed = report.callback.as_ref().unwrap().freed;
            assert_eq!(freed, Some(Freed::Released(when)), "{report}");
        }
        assert_eq!(reports.len() as u64, 1 + calls);
    }
}

#[test]
fn closing_before_the_owner_dies() {
    let test = Test::new();
    let (callback, sum, owner) = test.adder(|m, owner, _| m.root(owner).unwrap());
    test.vm.enter(|m| {
        let refused = callback.close(Close::Wait).unwrap_err();
        assert_eq!(refused, CallbackCloseError::HoldsMutator);
        m.native(|| callback.close(Close::Wait)).unwrap();
    });
    assert_eq!(test.vm.runtime.stats().callbacks, 0);
    test.vm.collect();
    assert!(!test.is_there(&sum), "nothing keeps what it captured");
    assert_eq!((word(&callback)(1), test.told().len()), (0, 1));
    drop(owner);
    test.vm.collect();
}

/// A closure is freed by the last of the calls under way, and what it captured stays until then,
/// whatever is collected; each policy of closing.
#[test]
fn closing_while_a_call_is_under_way() {
    let test = Test::new();
    let (entered, at_work) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let (callback, held, owner) = test.vm.enter(|m| {
        let (owner, held) = (m.alloc(test.vm.t).unwrap(), m.alloc(test.vm.t).unwrap());
        m.store_word(held, 0, 77).unwrap();
        let body = move |m: &mut Mutator, captured: &Captured<'_>, call: &mut Call<'_>| {
            m.native(|| {
                entered.send(()).unwrap();
                may_go_on.lock().unwrap().recv().unwrap();
            });
            let held = captured.get(m, 0).unwrap();
            call.set_result(0, m.load_word(held, 0).unwrap()).unwrap();
        };
        let made = m
            .callback(owner, &test.point, &[held], options(), body)
            .unwrap();
        (made, m.downgrade(held).unwrap(), m.root(owner).unwrap())
    });
    let function = word(&callback);
    let inside = thread::spawn(move || function(0));
    at_work.recv().unwrap();
    let busy = callback.close(Close::IfIdle).unwrap_err();
    let is_busy = matches!(
        &busy,
        CallbackCloseError::Close(CloseError::Busy { calls: 1, .. })
    );
    assert!(is_busy, "{busy}");
    // Its owner is unreachable now, but for the call.
    drop(owner);
    test.vm.collect();
    assert!(test.is_there(&held) && test.told().is_empty());
    let (waiter, closing) = (callback.clone(), channel());
    let waits = thread::spawn(move || {
        closing.0.send(waiter.close(Close::Wait)).unwrap();
    });
    while callback.close(Close::IfIdle).is_err() {
        thread::yield_now();
    }
    assert_eq!(function(0), 0, "a late call");
    test.vm.collect();
    assert!(test.is_there(&held) && closing.1.try_recv().is_err());
    go_on.send(()).unwrap();
    assert_eq!(inside.join().unwrap(), 77);
    waits.join().unwrap();
    assert_eq!(closing.1.recv().unwrap(), Ok(()));
    test.vm.collect();
    assert!(!test.is_there(&held));
    assert_eq!(
        (
            test.entries.stats().alive,
            test.vm.runtime.stats().callbacks
        ),
        (0, 0)
    );
}

/// A panic returns zeroes if asked; the thread has left the heap, so collections go on.
#[test]
fn a_panic_leaves_the_heap() {
    let test = Test::new();
    let (callback, _owner) = test.vm.enter(|m| {
        let owner = m.alloc(test.vm.t).unwrap();
        let options = options().on_panic(OnFailure::ReturnZeroes);
        let body = |m: &mut Mutator, captured: &Captured<'_>, _: &mut Call<'_>| {
            drop(captured.get(m, captured.len()));
        };
        let made = m
            .callback(owner, &test.point, &[owner], options, body)
            .unwrap();
        (made, m.root(owner).unwrap())
    });
    let function = word(&callback);
    assert_eq!(thread::spawn(move || function(1)).join().unwrap(), 0);
    assert_eq!(function(1), 0);
    test.vm.collect();
    let told = test.told();
    assert!(
        told[0].contains("panicked: index out of bounds"),
        "{told:?}"
    );
    assert_eq!((told.len(), test.vm.runtime.stats().mutators), (2, 0));
}

/// A destructor of a closure that panics when the owner dies ends nothing.
#[test]
fn a_destructor_that_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let test = Test::new();
    test.vm.enter(|m| {
        let owner = m.alloc(test.vm.t).unwrap();
        let bomb = Bomb;
        let body = move |_: &mut Mutator, _: &Captured<'_>, _: &mut Call<'_>| {
            let _ = &bomb;
        };
        m.callback(owner, &test.point, &[], options(), body)
            .unwrap();
    });
    test.vm.collect();
    test.vm.collect();
    assert_eq!(
        (
            test.entries.stats().alive,
            test.vm.runtime.stats().callbacks
        ),
        (0, 0)
    );
}

fn refused(m: &Mutator, point: &EntryPoint, owner: Obj<'_>, captured: &[Obj<'_>]) -> CallbackError {
    m.callback(owner, point, captured, options(), add)
        .unwrap_err()
}

#[test]
fn what_is_not_ones_own_is_refused() {
    let (test, other) = (Test::new(), Test::new());
    let nothing = test
        .vm
        .runtime
        .types()
        .define("main.Nothing", "struct {}")
        .unwrap();
    let tiny = test
        .vm
        .runtime
        .types()
        .define("main.Tiny", "struct { N uint8 }")
        .unwrap();
    let tiny_vm = Test::of(Vm::with(
        Runtime::builder().heap(HeapOptions::default().tiny(true)),
    ));
    let tiny_there = tiny_vm
        .vm
        .runtime
        .types()
        .define("main.Tiny", "uint8")
        .unwrap();
    let foreign = other.vm.rooted();
    test.vm.enter(|m| {
        let own = m.alloc(test.vm.t).unwrap();
        other.vm.enter(|there| {
            let foreign = there.get(&foreign).unwrap();
            let error = refused(m, &test.point, foreign, &[]);
            assert!(
                matches!(error, CallbackError::OwnerNotInHeap { .. }),
                "{error}"
            );
            let error = refused(m, &test.point, own, &[own, foreign]);
            let is_it = matches!(error, CallbackError::CapturedNotInHeap { index: 1, .. });
            assert!(is_it, "{error}");
            assert!(
                error
                    .to_string()
                    .starts_with("callback: captured object 1 is 0x"),
                "{error}"
            );
        });
        let error = refused(m, &test.point, m.alloc(nothing).unwrap(), &[]);
        assert!(
            matches!(error, CallbackError::OwnerShared { .. }),
            "{error}"
        );
        let made = m.callback(m.alloc(tiny).unwrap(), &test.point, &[own], options(), add);
        assert!(
            made.is_ok(),
            "small objects have cells of their own unless told otherwise"
        );
    });
    tiny_vm.vm.enter(|m| {
        let error = refused(m, &tiny_vm.point, m.alloc(tiny_there).unwrap(), &[]);
        assert!(
            matches!(error, CallbackError::OwnerShared { .. }),
            "{error}"
        );
    });
    assert_eq!(test.entries.stats().alive, 1);
    // A call that is lent a mutator asks with another one.
    let (sender, asked) = channel();
    let there = other.vm.runtime.clone();
    let (callback, _owner) = test.vm.enter(|m| {
        let owner = m.alloc(test.vm.t).unwrap();
        let body = move |_: &mut Mutator, captured: &Captured<'_>, _: &mut Call<'_>| {
            let asked = there.enter(|m| (captured.get(m, 0).err(), captured.owner(m).err()));
            sender.send(asked.unwrap()).unwrap();
        };
        let made = m
            .callback(owner, &test.point, &[owner], options(), body)
            .unwrap();
        (made, m.root(owner).unwrap())
    });
    word(&callback)(0);
    let foreign = Some(AccessErrorKind::ForeignHandle.into());
    assert_eq!(sent(&asked), [(foreign.clone(), foreign)]);
}

/// Objects with callbacks come and go: the memory of callbacks is bounded by those that live at a
/// time. `FING_CASES=100000` has a million come and go, and a hundred thousand live.
#[test]
fn very_many_come_and_go() {
    let many = fing_oracles::cases(5_000);
    const BATCH: u64 = 1000;
    let test = Test::new();
    let made = |count: u64| {
        test.vm.enter(|m| {
            let of = |n| {
                let (owner, held) = (m.alloc(test.vm.t).unwrap(), m.alloc(test.vm.t).unwrap());
                m.store_word(held, 0, n).unwrap();
                let made = m
                    .callback(owner, &test.point, &[held], options(), add)
                    .unwrap();
                (made, m.root(owner).unwrap())
            };
            (0..count).map(of).collect::<Vec<_>>()
        })
    };
    let mut most = 0;
    for batch in 0..10 * many / BATCH {
        let all = made(BATCH);
        assert_eq!(word(&all[0].0)(batch), batch);
        drop(all);
        test.vm.runtime.gc().unwrap();
        let stats = test.entries.stats();
        assert_eq!((stats.alive, test.vm.runtime.stats().callbacks), (0, 0));
        most = most.max(stats.slots);
    }
    assert!(
        most <= 2 * BATCH as usize,
        "{most} slots for {BATCH} callbacks at a time"
    );
    let alive = made(many);
    test.vm.runtime.gc().unwrap();
    assert_eq!(test.vm.runtime.stats().callbacks, many);
    for (n, (callback, _)) in (0..many).zip(&alive).step_by(997) {
        assert_eq!(word(callback)(1), n + 1);
    }
    drop(alive);
    test.vm.runtime.gc().unwrap();
    assert_eq!((test.entries.stats().alive, test.told()), (0, vec![]));
}

/// Each is found among the others of its object at once.
#[test]
fn many_callbacks_of_one_object_are_closed() {
    let make = |count| {
        let test = Test::new();
        let callbacks: Vec<OwnedCallback> = test.vm.enter(|m| {
            let owner = m.alloc(test.vm.t).unwrap();
            let one = |_| m.callback(owner, &test.point, &[owner], options(), add);
            (0..count).map(|n| one(n).unwrap()).collect()
        });
        (test, callbacks)
    };
    let name = "many_callbacks_of_one_object_are_closed";
    is_linear_after(name, 500, make, |(test, callbacks)| {
        // The first one, the last one, and so on from both ends.
        let half = callbacks.len() / 2;
        let (first, last) = callbacks.split_at(half);
        for (first, last) in first.iter().zip(last.iter().rev()) {
            first.close(Close::Wait).unwrap();
            last.close(Close::Wait).unwrap();
        }
        assert_eq!(test.vm.runtime.stats().cleanups, 0);
    });
}
