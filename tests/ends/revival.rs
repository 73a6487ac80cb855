//! In topological order, what a finalizer revives waits, once a collection has seen it.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use fing::ends::Outstanding;
use fing::executor::Budget;
use fing::failure::FailurePolicy;
use fing::{
    CallStage, Executor, FinalizerFn, FinalizerOptions, FinalizerState, Handle, HeldValue, Mutator,
    Order, Pointer, Runtime, RuntimeBuilder,
};

use super::vm::{LONG, Vm};

fn topological() -> RuntimeBuilder {
    Runtime::builder().order(Order::Topological)
}

/// A chain of objects with these numbers, each of which refers to the next one.
fn chain(vm: &Vm, f: &FinalizerFn, length: u64) {
    vm.enter(|m| {
        let mut next = None;
        for number in (0..length).rev() {
            let object = m.alloc(vm.t).unwrap();
            m.store_word(object, 0, number).unwrap();
            m.store_ref(object, 8, next).unwrap();
            m.set_finalizer(object, f).unwrap();
            next = Some(object);
        }
    });
}

type Kept = Arc<Mutex<Option<Handle>>>;

/// A finalizer that notes the number of its object, and that, for number 1, keeps what it refers to
/// and has the heap collected.
fn reviving(vm: &Vm, kept: &Kept, ran: &Arc<Mutex<Vec<u64>>>) -> FinalizerFn {
    let (notes, keep, runtime) = (ran.clone(), kept.clone(), vm.runtime.downgrade());
    vm.function("func(*main.T)", move |[object, _]| {
        let runtime = runtime.upgrade().unwrap();
        let note = |m: &mut Mutator| {
            let object = m.adopt(object).unwrap();
            let number = m.load_word(object, 0).unwrap();
            if number == 1 {
                let next = m.load_ref(object, 8).unwrap().unwrap();
                *keep.lock().unwrap() = Some(m.root(next).unwrap());
            }
            number
        };
        let number = runtime.enter(note).unwrap();
        notes.lock().unwrap().push(number);
        if number == 1 {
            let _ = runtime.gc().unwrap();
        }
    })
}

/// It waits with all that it leads to, as long as it is reachable, and then goes on in one
/// collection: of records that wait in many blocks, and of the block that is running.
#[test]
fn what_a_finalizer_revives_waits() {
    for (executor, length) in [
        (Executor::Inline, 3),
        (Executor::Thread, 40),
        (Executor::Thread, 1500),
    ] {
        let vm = Vm::with(topological().executor(executor));
        let (kept, ran) = (Kept::default(), Arc::<Mutex<Vec<u64>>>::default());
        let f = reviving(&vm, &kept, &ran);
        chain(&vm, &f, length);
        let collected = vm.runtime.gc().unwrap();
        assert_eq!(collected.wait(LONG), Ok(()));
        assert_eq!(collected.outstanding(), Outstanding::default());
        assert_eq!(std::mem::take(&mut *ran.lock().unwrap()), [0, 1]);
        assert_eq!(vm.runtime.stats().finalizers, length - 2);
        vm.collect();
        assert_eq!(ran.lock().unwrap().len(), 0);
        *kept.lock().unwrap() = None;
        vm.collect();
        let rest: Vec<u64> = (2..length).collect();
        assert_eq!(*ran.lock().unwrap(), rest);
        let stats = vm.runtime.stats();
        assert_eq!((stats.executed, stats.cancelled), (length, length - 2));
        assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
    }
}

/// Nobody sees it if there is no collection: then the call is made.
#[test]
fn what_no_collection_has_seen_is_finalized() {
    let vm = Vm::with(topological().executor(Executor::Inline));
    let (kept, ran) = (Kept::default(), Arc::<Mutex<Vec<u64>>>::default());
    let (keep, notes, runtime) = (kept.clone(), ran.clone(), vm.runtime.downgrade());
    let f = vm.function("func(*main.T)", move |[object, _]| {
        let runtime = runtime.upgrade().unwrap();
        let number = runtime.enter(|m| {
            let object = m.adopt(object).unwrap();
            keep.lock()
                .unwrap()
                .get_or_insert_with(|| m.root(object).unwrap());
            m.load_word(object, 0).unwrap()
        });
        notes.lock().unwrap().push(number.unwrap());
    });
    chain(&vm, &f, 3);
    vm.collect();
    assert_eq!(*ran.lock().unwrap(), [0, 1, 2]);
}

/// Kinds of registrations: of a place inside of an object, with a context, for all objects of a
/// type. Each is registered again as it was, and can be cleared.
#[test]
fn each_registration_is_taken_back_as_it_was() {
    let vm = Vm::with(topological().executor(Executor::Inline));
    let types = vm.runtime.types();
    let int = types.intern(&"int".parse().unwrap()).unwrap();
    let to_int = types.pointer_to(int).unwrap();
    let all = types
        .define("main.All", "struct { V int; P unsafe.Pointer }")
        .unwrap();
    let (inner, inner_ran) = vm.sender("func(*int)");
    let (for_all, all_ran) = vm.sender("func(*main.All)");
    let prepared = vm.runtime.prepare_finalizer(all, &for_all).unwrap();
    prepared.set_for_all().unwrap();
    extern "C" fn note(_: usize, context: usize) {
        CONTEXTS.with_borrow_mut(|all| all.push(context));
    }
    thread_local! {
        static CONTEXTS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }
    let signature = types.parse_signature("func(*main.T)").unwrap();
    let builder = FinalizerFn::builder(signature, fing::Abi::host_native().unwrap())
        .context_object(fing::stubs::Type::unsafe_pointer());
    // SAFETY: I8: a C function of a pointer and a context, which follows neither.
    let with_context = unsafe { builder.at(note as *const ()) };
    let kept = Kept::default();
    let (keep, runtime) = (kept.clone(), vm.runtime.downgrade());
    let revive = vm.function("func(*main.T)", move |[object, _]| {
        let runtime = runtime.upgrade().unwrap();
        runtime
            .enter(|m| {
                let object = m.adopt(object).unwrap();
                *keep.lock().unwrap() = Some(m.root(object).unwrap());
            })
            .unwrap();
    });
    let (addresses, context) = vm.enter(|m| {
        // revive -> a (inner, twice) -> b (for all) -> c (with a context)
        let [first, a, c, held] = [(); 4].map(|()| m.alloc(vm.t).unwrap());
        let b = m.alloc(all).unwrap();
        m.store_ref(first, 8, Some(a)).unwrap();
        m.store_ref(a, 8, Some(b)).unwrap();
        m.store_ref(b, 8, Some(c)).unwrap();
        m.set_finalizer(first, &revive).unwrap();
        m.set_finalizer(Pointer::typed(to_int, a.addr()), &inner)
            .unwrap();
        let options = FinalizerOptions::new().context(HeldValue::Object(held));
        m.set_finalizer_with(c, &with_context, options).unwrap();
        ([a, b, c].map(|object| object.addr()), held.addr())
    });
    let queued = vm.runtime.gc().unwrap();
    assert_eq!(queued.outstanding().queued, 4);
    let drained = vm.runtime.drain(Budget::unlimited().calls(1)).unwrap();
    assert_eq!(drained.calls, 1);
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.stats().finalizers, 3);
    assert_eq!(vm.runtime.run_finalizers(), Ok(0));
    // Registered: it is cleared, and set again.
    vm.enter(|m| {
        let c = m.adopt(addresses[2]).unwrap();
        assert_eq!(
            m.clear_finalizer(c).unwrap(),
            FinalizerState::Cleared(CallStage::Registered)
        );
        let held = m.adopt(context).unwrap();
        let options = FinalizerOptions::new().context(HeldValue::Object(held));
        m.set_finalizer_with(c, &with_context, options).unwrap();
    });
    *kept.lock().unwrap() = None;
    vm.collect();
    assert_eq!(inner_ran.try_iter().next(), Some([addresses[0], 0]));
    assert_eq!(all_ran.try_iter().next(), Some([addresses[1], 0]));
    assert_eq!(CONTEXTS.with_borrow_mut(std::mem::take), [context]);
    assert_eq!(vm.runtime.gc().unwrap().live_objects, 0);
    vm.runtime.verify_heap().unwrap();
}

/// A call that has failed and is queued again has begun: that its object is reachable, as it has
/// revived it itself, does not keep it from being made again.
#[test]
fn a_call_that_is_queued_again_is_not_taken_back() {
    let builder = topological()
        .executor(Executor::Inline)
        .on_failure(|_| {})
        .failure_policy(FailurePolicy::Requeue(1));
    let vm = Vm::with(builder);
    let (kept, ran) = (Kept::default(), Arc::<Mutex<Vec<u64>>>::default());
    let (keep, notes, runtime) = (kept.clone(), ran.clone(), vm.runtime.downgrade());
    let f = vm.function("func(*main.T)", move |[object, _]| {
        let runtime = runtime.upgrade().unwrap();
        let number = runtime.enter(|m| {
            let object = m.adopt(object).unwrap();
            *keep.lock().unwrap() = Some(m.root(object).unwrap());
            m.load_word(object, 0).unwrap()
        });
        let number = number.unwrap();
        notes.lock().unwrap().push(number);
        let first = notes.lock().unwrap().len() == 1;
        if first {
            std::panic::resume_unwind(Box::new("once"));
        }
    });
    chain(&vm, &f, 2);
    vm.runtime.gc().unwrap();
    let drained = vm.runtime.drain(Budget::unlimited().calls(1)).unwrap();
    assert_eq!((drained.calls, vm.runtime.stats().requeued), (1, 1));
    vm.runtime.gc().unwrap();
    assert_eq!(vm.runtime.stats().finalizers, 1, "that of number 1");
    vm.collect();
    assert_eq!(*ran.lock().unwrap(), [0, 0]);
    *kept.lock().unwrap() = None;
    vm.collect();
    assert_eq!(*ran.lock().unwrap(), [0, 0, 1]);
}

/// An object that is given another finalizer while the first is queued has both called.
#[test]
fn a_second_finalizer_leaves_the_queued_one() {
    let vm = Vm::with(topological().executor(Executor::Inline));
    let (f, ran) = vm.sender("func(*main.T)");
    let (second, second_ran) = vm.sender("func(*main.T)");
    chain(&vm, &f, 2);
    vm.runtime.gc().unwrap();
    vm.runtime.drain(Budget::unlimited().calls(1)).unwrap();
    let first = ran.try_iter().next().unwrap()[0];
    let kept = vm.enter(|m| {
        let next = m.load_ref(m.adopt(first).unwrap(), 8).unwrap().unwrap();
        m.set_finalizer(next, &second).unwrap();
        m.root(next).unwrap()
    });
    vm.collect();
    assert_eq!(
        (ran.try_iter().count(), second_ran.try_iter().count()),
        (1, 0)
    );
    drop(kept);
    vm.collect();
    assert_eq!(
        (ran.try_iter().count(), second_ran.try_iter().count()),
        (0, 1)
    );
}
