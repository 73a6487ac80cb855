//! Functions at address 0, and functions for many objects at once that are declared wrongly.

use fing::foreign::Finalizers;
use fing::{Abi, Arch, CleanupFn, CyclePolicy, FinalizerFn, HeldValue};

use super::{World, finalizer, nothing, refused};

/// Finalizers of `signature` that are nil, of every kind.
fn nil_finalizers(world: &World, signature: &str) -> Vec<FinalizerFn> {
    let signature = world.signature(signature);
    let nil = std::ptr::null();
    let mut one_nil = [nothing as *const (); 10];
    one_nil[3] = nil;
    let following = || FinalizerFn::following_int_arg_regs(signature.clone(), Arch::Amd64);
    let native = FinalizerFn::builder(signature.clone(), Abi::host_native().unwrap());
    let go = FinalizerFn::builder(signature.clone(), Abi::go(Arch::host().unwrap()));
    // SAFETY: I8: null, which can't be registered.
    unsafe {
        vec![
            native.at(nil),
            go.at(nil),
            following().at_every(nil),
            following().at_each(&one_nil).unwrap(),
        ]
    }
}

/// The same, for many objects at once.
fn nil_bulk_finalizers(world: &World) -> Vec<FinalizerFn> {
    let signature = world.signature("func(**main.T, int)");
    let of = |abi| FinalizerFn::builder(signature.clone(), abi).bulk();
    // SAFETY: I8: null, which can't be registered.
    let at_nil = |abi| unsafe { of(abi).at(std::ptr::null()) };
    vec![
        at_nil(Abi::host_native().unwrap()),
        at_nil(Abi::go(Arch::host().unwrap())),
    ]
}

/// Red with the mutant that F1 names: a nil function for many objects was accepted.
#[test]
fn nil_functions_are_refused() {
    let world = World::new();
    let mut all = nil_finalizers(&world, "func(*main.T)");
    all.extend(nil_finalizers(&world, "func(any)"));
    all.extend(nil_bulk_finalizers(&world));
    let mutator = world.runtime.attach().unwrap();
    let object = mutator.alloc(world.t).unwrap();
    for function in &all {
        let what = format!("{function:?}");
        let prepared = world.runtime.prepare_finalizer(world.t, function);
        refused(&what, "NilFunction", prepared);
        for _ in 0..2 {
            refused(
                &what,
                "NilFunction",
                mutator.set_finalizer(object, function),
            );
        }
    }
    let signature = world.signature("func(uint64)");
    let native = CleanupFn::builder(signature.clone(), Abi::host_native().unwrap());
    let following = CleanupFn::following_int_arg_regs(signature, Arch::Amd64);
    // SAFETY: I8: null, which can't be registered.
    let cleanups = unsafe {
        [
            native.at(std::ptr::null()),
            following.at_every(std::ptr::null()),
        ]
    };
    for cleanup in &cleanups {
        for _ in 0..2 {
            let added = mutator.add_cleanup(object, cleanup, 1u64);
            refused("cleanup", "NilFunction", added);
        }
    }
    drop(mutator);
    world.is_untouched();
    foreign_nil(&all[0], &cleanups[0]);
}

/// The same for the objects of another collector.
fn foreign_nil(finalizer: &FinalizerFn, cleanup: &CleanupFn) {
    let finalizers = Finalizers::<u64>::new().unwrap();
    let prepared = finalizers.prepare_finalizer(finalizer, CyclePolicy::Leave);
    refused("foreign prepare", "NilFunction", prepared);
    // SAFETY: nothing is registered.
    unsafe {
        let set = finalizers.set_finalizer(16, finalizer);
        refused("foreign set", "NilFunction", set);
        let added = finalizers.add_cleanup(16, cleanup, HeldValue::Word(1));
        refused("foreign cleanup", "NilFunction", added);
    }
    let stats = finalizers.stats();
    assert_eq!((stats.finalizers, stats.cleanups), (0, 0));
}

/// A function for many objects has one context, and is none for single objects elsewhere.
#[test]
fn bulk_functions_are_for_objects_of_one_type() {
    let world = World::new();
    let types = world.runtime.types();
    types.define("main.Big", "[500]uint64").unwrap();
    let bulk = finalizer(world.signature("func(**main.T, int)"), |builder| {
        builder.bulk()
    });
    let with_word = finalizer(world.signature("func(**main.T, int)"), |builder| {
        builder.bulk().context_word()
    });
    let context = world.ty("*main.T");
    let with_object = finalizer(world.signature("func(**main.T, int)"), |builder| {
        builder.bulk().context_object(context)
    });
    let prepare = |function, ty| world.runtime.prepare_finalizer(ty, function);
    refused("word", "NotBulk", prepare(&with_word, world.t));
    refused("object", "NotBulk", prepare(&with_object, world.t));
    refused("type", "NotBulk", prepare(&bulk, world.id("main.Big")));
    let mutator = world.runtime.attach().unwrap();
    let own = mutator.alloc(world.t).unwrap();
    mutator.set_finalizer(own, &bulk).unwrap();
    mutator.clear_finalizer(own).unwrap();
    // Known by now, for objects of its own type.
    let other = mutator.alloc(world.id("[2]uint64")).unwrap();
    refused("known", "NotBulk", mutator.set_finalizer(other, &bulk));
    drop(mutator);
    world.is_untouched();
    let finalizers = Finalizers::<u64>::new().unwrap();
    let prepared = finalizers.prepare_finalizer(&bulk, CyclePolicy::Leave);
    refused("foreign", "ParameterCount", prepared);
}
