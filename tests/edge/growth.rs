//! A function, or a closure, for each object: what is registered costs the same however much there
//! is already, and all of it is given back.

use std::sync::Arc;

use fing::{Abi, FinalizerFn, FinalizerOptions, Handle, HeldValue};

use super::linear::is_linear;
use super::{Log, World};

/// A finalizer with a context of each registration, which has the log and a word.
extern "C" fn note_closure(object: *const [usize; 2], closure: *const [usize; 2]) {
    // SAFETY: I6: both objects are whole until this returns, and the log outlives the runtime.
    let (number, [log, own]) = unsafe { ((*object)[1], *closure) };
    let log = std::ptr::with_exposed_provenance::<Log>(log);
    // SAFETY: as above.
    unsafe { &*log }.0.lock().unwrap().push([number, own]);
}

/// Registers `count` functions of which each has one object, clears a third of them one by one,
/// and collects the rest.
fn function_for_each_object(count: usize) {
    let world = World::new();
    let owner = Arc::new(());
    let signature = world.signature("func(*main.T)");
    let mut mutator = world.runtime.attach().unwrap();
    let handles: Vec<Handle> = (0..count)
        .map(|n| {
            let builder = FinalizerFn::builder(signature.clone(), Abi::host_native().unwrap());
            let builder = builder.context(&raw const *world.log as usize);
            // SAFETY: I8: as `World::note`.
            let function = unsafe {
                builder
                    .keep_alive(owner.clone())
                    .at(super::note as *const ())
            };
            let object = mutator.alloc(world.t).unwrap();
            mutator.set_finalizer(object, &function).unwrap();
            if n % 3 == 0 {
                mutator.clear_finalizer(object).unwrap();
            }
            mutator.root(object).unwrap()
        })
        .collect();
    assert_eq!(Arc::strong_count(&owner), count + 1);
    assert_eq!(world.runtime.stats().shapes, count);
    // Those that were cleared are given back, and their places used again.
    mutator.gc().unwrap();
    let left = count - count.div_ceil(3);
    assert_eq!(Arc::strong_count(&owner), left + 1);
    assert_eq!(world.runtime.stats().shapes, left);
    for handle in handles.iter().skip(1).step_by(3) {
        let object = mutator.get(handle).unwrap();
        mutator.clear_finalizer(object).unwrap();
    }
    drop(handles);
    drop(mutator);
    let ran = world.collect().len();
    assert_eq!(ran, count / 3, "those that were not cleared");
    world.runtime.gc().unwrap();
    assert_eq!(Arc::strong_count(&owner), 1);
    assert_eq!(world.runtime.stats().shapes, 0);
}

/// Red at B1, where eight times as many took 50 times as long.
#[test]
fn a_function_for_each_object_is_linear() {
    let name = "growth::a_function_for_each_object_is_linear";
    is_linear(name, 400, function_for_each_object);
}

/// A closure for each object is one function, whose registrations bring their contexts.
#[test]
fn a_closure_for_each_object_is_one_function() {
    const COUNT: usize = 100_000;
    let world = World::new();
    let types = world.runtime.types();
    let text = "struct { Log uintptr; N uintptr }";
    let closure = types.define("main.Closure", text).unwrap();
    let builder = FinalizerFn::builder(
        world.signature("func(*main.T)"),
        Abi::host_native().unwrap(),
    );
    let builder = builder.context_object(world.ty("*main.Closure"));
    // SAFETY: I8: a System V function of a `main.T` and a `main.Closure`, whose log outlives it.
    let function = unsafe { builder.at(note_closure as *const ()) };
    let log = (&raw const *world.log).expose_provenance();
    let mutator = world.runtime.attach().unwrap();
    for n in 0..COUNT {
        let (object, context) = (
            mutator.alloc(world.t).unwrap(),
            mutator.alloc(closure).unwrap(),
        );
        mutator.store_word(object, 8, n as u64).unwrap();
        mutator.store_word(context, 0, log as u64).unwrap();
        mutator.store_word(context, 8, (3 * n) as u64).unwrap();
        let options = FinalizerOptions::new().context(HeldValue::Object(context));
        mutator
            .set_finalizer_with(object, &function, options)
            .unwrap();
        if n % 5 == 0 {
            mutator.clear_finalizer(object).unwrap();
        }
    }
    assert_eq!(world.runtime.stats().shapes, 1);
    drop(mutator);
    // An object and its closure for each registration that is left.
    let left = COUNT - COUNT / 5;
    assert_eq!(world.runtime.gc().unwrap().live_objects, 2 * left);
    let mut calls = world.collect();
    calls.sort_unstable();
    let wanted = (0..COUNT).filter(|n| n % 5 != 0).map(|n| [n, 3 * n]);
    assert!(calls.into_iter().eq(wanted));
    assert_eq!(world.runtime.gc().unwrap().live_objects, 0);
}
