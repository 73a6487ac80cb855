//! Exits beside collections and other exits: what a finalizer has as its context is there.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fing::ends::ExitPolicy;
use fing::{
    Executor, FinalizerFn, FinalizerOptions, Handle, HeapOptions, HeldValue, Order, Runtime,
    RuntimeBuilder,
};

use super::door::{Door, until};
use super::vm::{LONG, Vm};

/// What a finalizer has found in its context, or why it found nothing.
type Found = Arc<Mutex<Vec<Result<u64, String>>>>;

const CONTEXT: u64 = 77;

fn builder() -> RuntimeBuilder {
    let heap = HeapOptions::default().poison(true);
    Runtime::builder().heap(heap).order(Order::Topological)
}

/// A finalizer that reads its context, an object that nothing else keeps.
fn reading(vm: &Vm) -> (FinalizerFn, Found) {
    let types = vm.runtime.types();
    types.define("main.C", "struct { N uint64 }").unwrap();
    let pointer = types.parse("*main.C").unwrap();
    let signature = types.parse_signature("func(*main.T)").unwrap();
    let found = Found::default();
    let told = found.clone();
    let function = FinalizerFn::from_rust_with_object(signature, pointer, move |m, _, context| {
        let word = context.get(m).and_then(|context| m.load_word(context, 0));
        let word = word.map_err(|error| error.to_string());
        told.lock().unwrap().push(word);
    });
    (function, found)
}

/// An object with that finalizer.
fn registered(vm: &Vm, function: &FinalizerFn) -> Handle {
    let context = vm.runtime.types().id("main.C").unwrap();
    vm.enter(|m| {
        let object = m.alloc(vm.t).unwrap();
        let context = m.alloc(context).unwrap();
        m.store_word(context, 0, CONTEXT).unwrap();
        let options = FinalizerOptions::new().context(HeldValue::Object(context));
        m.set_finalizer_with(object, function, options).unwrap();
        m.root(object).unwrap()
    })
}

#[test]
fn an_exit_beside_a_collection() {
    let vm = Vm::with(builder());
    let (function, found) = reading(&vm);
    let _kept = registered(&vm, &function);
    drop(registered(&vm, &function));
    let (asked, go_on) = (Door::default(), Door::default());
    asked.open();
    let (tells, waits) = (asked.clone(), go_on.clone());
    let _source = vm.runtime.add_roots(move |_| {
        tells.pass();
        waits.pass();
    });
    let report = std::thread::scope(|scope| {
        let collecting = scope.spawn(|| vm.runtime.gc().unwrap());
        asked.wait_for(1);
        let exit = scope.spawn(|| vm.runtime.exit(ExitPolicy::Topological, LONG));
        // The exit has begun, and waits for the collection, when nothing can be registered.
        let types = vm.runtime.types();
        let any =
            FinalizerFn::from_rust(types.parse_signature("func(*main.T)").unwrap(), |_, _| ());
        until("the exit has begun", || {
            vm.runtime.prepare_finalizer(vm.t, &any).is_err()
        });
        go_on.open();
        collecting.join().unwrap();
        exit.join().unwrap()
    });
    assert_eq!(report.unwrap().executed, 2);
    assert_eq!(*found.lock().unwrap(), [Ok(CONTEXT), Ok(CONTEXT)]);
}

/// A mutator did not stop in time.
#[test]
fn an_exit_after_one_that_failed() {
    let vm = Vm::with(builder());
    let (function, found) = reading(&vm);
    let _kept = registered(&vm, &function);
    let mutator = vm.runtime.attach().unwrap();
    let soon = Duration::from_millis(50);
    let exit = || vm.runtime.exit(ExitPolicy::Topological, soon);
    let first = std::thread::scope(|scope| scope.spawn(exit).join().unwrap());
    assert!(first.is_err(), "{first:?}");
    drop(mutator);
    vm.runtime.gc().unwrap();
    let second = vm.runtime.exit(ExitPolicy::Topological, LONG).unwrap();
    assert_eq!(second.executed, 1);
    assert_eq!(*found.lock().unwrap(), [Ok(CONTEXT)]);
}

/// The first exit leaves a cycle, and waits for a call; a collection keeps no contexts from then
/// on, so a second exit of another policy calls none of what is left.
#[test]
fn an_exit_beside_another_one() {
    let vm = Vm::with(builder().number_registrations(true));
    let (function, found) = reading(&vm);
    let (begun, begins) = channel();
    let door = Door::default();
    let inside = door.clone();
    let signature = vm.runtime.types().parse_signature("func(*main.T)").unwrap();
    let waits = FinalizerFn::from_rust(signature, move |m, _| {
        begun.send(()).unwrap();
        m.native(|| inside.pass());
    });
    let cycle = [0; 2].map(|_| registered(&vm, &function));
    let _first = vm.enter(|m| {
        let [one, other] = [&cycle[0], &cycle[1]].map(|handle| m.get(handle).unwrap());
        m.store_ref(one, 8, Some(other)).unwrap();
        m.store_ref(other, 8, Some(one)).unwrap();
        let first = m.alloc(vm.t).unwrap();
        m.set_finalizer(first, &waits).unwrap();
        m.root(first).unwrap()
    });
    std::thread::scope(|scope| {
        let runtime = &vm.runtime;
        let exit = |policy| scope.spawn(move || runtime.exit(policy, LONG).unwrap());
        let first = exit(ExitPolicy::Topological);
        begins.recv_timeout(LONG).unwrap();
        vm.runtime.gc().unwrap();
        let second = exit(ExitPolicy::LastRegisteredFirst);
        // Time for the second one to look at what is registered; it finds the same later.
        std::thread::sleep(Duration::from_millis(100));
        door.open();
        first.join().unwrap();
        second.join().unwrap();
    });
    assert_eq!(vm.runtime.stats().failed, 0);
    let found = found.lock().unwrap();
    assert!(found.iter().all(|found| *found == Ok(CONTEXT)), "{found:?}");
}

#[test]
fn an_exit_after_another_end() {
    for executor in [Executor::Thread, Executor::Inline] {
        for shut_down in [false, true] {
            let vm = Vm::with(builder().executor(executor));
            let (function, found) = reading(&vm);
            let _kept = registered(&vm, &function);
            match shut_down {
                true => drop(vm.runtime.shutdown(false, LONG).unwrap()),
                false => drop(vm.runtime.exit(ExitPolicy::Nothing, LONG).unwrap()),
            }
            vm.runtime.gc().unwrap();
            let exit = vm.runtime.exit(ExitPolicy::Topological, LONG);
            let found = found.lock().unwrap();
            let right = found.iter().all(|found| *found == Ok(CONTEXT));
            assert!(right, "{found:?} {exit:?}");
        }
    }
}
