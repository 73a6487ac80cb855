//! Objects, handles and weak pointers of another runtime, and of one that is gone.

use fing::{
    CallStage, CleanupArgument, CleanupOptions, FinalizerOptions, Handle, HeldValue, Mutator, Obj,
    Weak,
};

use super::{World, cleanup, finalizer, refused};

/// Every method of a mutator of `world` that takes an object is given `strange`, where it can go.
fn hand_in(world: &World, m: &Mutator, own: Obj<'_>, strange: Obj<'_>) {
    let at = "NotInHeap";
    refused("root", at, m.root(strange));
    refused("type_of", at, m.type_of(strange));
    refused("load_ref", at, m.load_ref(strange, 0));
    refused("store_ref to", at, m.store_ref(strange, 0, None));
    refused("store_ref of", at, m.store_ref(own, 0, Some(strange)));
    refused("load_addr", at, m.load_addr(strange, 0));
    refused("store_addr", at, m.store_addr(strange, 0, 0));
    refused("load_word", at, m.load_word(strange, 8));
    refused("store_word", at, m.store_word(strange, 8, 1));
    refused("load_bytes", at, m.load_bytes(strange, 0, &mut []));
    refused("store_bytes", at, m.store_bytes(strange, 8, &[]));
    refused("adopt", at, m.adopt(strange.addr()));
    refused("downgrade", at, m.downgrade(strange));
    refused("set_external_bytes", at, m.set_external_bytes(strange, 1));
    assert_eq!(m.load_addr(own, 0), Ok(0));

    let function = world.finalizer("func(*main.T)");
    let options = FinalizerOptions::new().external_bytes(1);
    let prepared = world.prepared(&function);
    // The second time the function is known to the mutator.
    for _ in 0..2 {
        refused("set_finalizer", at, m.set_finalizer(strange, &function));
        let set = m.set_finalizer_with(strange, &function, options);
        refused("set_finalizer_with", at, set);
        m.set_finalizer(own, &function).unwrap();
        m.clear_finalizer(own).unwrap();
    }
    refused("clear_finalizer", at, m.clear_finalizer(strange));
    refused("prepared set", at, prepared.set(strange));
    refused("prepared clear", at, prepared.clear(strange));

    let takes_a_number = world.cleanup("func(uint64)");
    for _ in 0..2 {
        let added = m.add_cleanup(strange, &takes_a_number, 1u64);
        refused("add_cleanup to", at, added);
        let own = m.add_cleanup(own, &takes_a_number, 1u64).unwrap();
        assert!(own.stop().is_cancelled());
    }
    for parameter in ["*main.T", "unsafe.Pointer", "any", "main.I"] {
        let function = world.cleanup(&format!("func({parameter})"));
        let added = m.add_cleanup(own, &function, strange);
        refused(parameter, "NotAssignable", added);
    }
    let word = strange.addr() as u64;
    let as_a_word = m.add_cleanup(own, &world.cleanup("func(*main.T)"), word);
    refused("add_cleanup word", "Value", as_a_word);
    let bytes = word.to_ne_bytes();
    let in_bytes = m.add_cleanup(
        own,
        &world.cleanup("func(struct { P *main.T })"),
        CleanupArgument::Bytes(&bytes),
    );
    refused("add_cleanup bytes", "Value", in_bytes);
    hand_in_as_context(world, m, own, strange);
}

/// The same as the context of registrations.
fn hand_in_as_context(world: &World, m: &Mutator, own: Obj<'_>, strange: Obj<'_>) {
    let of = |object| FinalizerOptions::new().context(HeldValue::Object(object));
    for pointer in ["*main.T", "unsafe.Pointer"] {
        let context = world.ty(pointer);
        let function = finalizer(world.signature("func(*main.T)"), |builder| {
            builder.context_object(context.clone())
        });
        let prepared = world.prepared(&function);
        for _ in 0..2 {
            let set = m.set_finalizer_with(own, &function, of(strange));
            refused("context", "Context", set);
            m.set_finalizer_with(own, &function, of(own)).unwrap();
            m.clear_finalizer(own).unwrap();
        }
        let set = prepared.set_with(own, HeldValue::Object(strange));
        refused("prepared context", "Context", set);
        let function = cleanup(world.signature("func(uint64)"), |builder| {
            builder.context_object(context)
        });
        let options = CleanupOptions::new().context(HeldValue::Object(strange));
        let added = m.add_cleanup_with(own, &function, 1u64, options);
        refused("cleanup context", "Context", added);
    }
}

/// Red at A1 and F1: an object was rooted, and taken as a context, by any runtime.
#[test]
fn objects_of_another_runtime_are_refused() {
    let (a, b) = (World::new(), World::new());
    a.runtime.types().define("main.I", "interface {}").unwrap();
    let (ma, mb) = (a.runtime.attach().unwrap(), b.runtime.attach().unwrap());
    let own = ma.alloc(a.t).unwrap();
    let large = b.id("[10000]*main.T");
    let strange = [b.t, b.id("uint64"), b.id("struct {}"), large];
    for ty in strange {
        hand_in(&a, &ma, own, mb.alloc(ty).unwrap());
    }
    drop((ma, mb));
    a.is_untouched();
    b.is_untouched();
    assert_eq!(a.runtime.stats().heap.external_bytes, 0);
    assert_eq!(
        (a.runtime.stats().handles, b.runtime.stats().handles),
        (0, 0)
    );
}

/// A handle, a weak pointer and an object's address of a runtime that lives or is gone.
fn left_behind(gone: bool) -> (Handle, Weak, usize, Option<World>) {
    let world = World::new();
    let (handle, weak) = world
        .runtime
        .enter(|m| {
            let object = m.alloc(world.t).unwrap();
            (
                m.root(object).unwrap(),
                m.downgrade(object.addr() + 8).unwrap(),
            )
        })
        .unwrap();
    let addr = handle.addr();
    (handle, weak, addr, (!gone).then_some(world))
}

#[test]
fn handles_and_weak_pointers_of_another_runtime_are_refused() {
    for gone in [false, true] {
        let (handle, weak, addr, other) = left_behind(gone);
        // It may get the addresses of a heap that is gone, but has no object there.
        let world = World::new();
        world
            .runtime
            .enter(|m| {
                refused("get", "ForeignHandle", m.get(&handle));
                refused("get a clone", "ForeignHandle", m.get(&handle.clone()));
                refused("upgrade", "ForeignHandle", m.upgrade(&weak));
                refused("upgrade_addr", "ForeignHandle", m.upgrade_addr(&weak));
                refused("adopt", "NotInHeap", m.adopt(addr));
                refused("downgrade", "NotInHeap", m.downgrade(addr));
                let clean = world.cleanup("func(uint64)");
                refused(
                    "add_cleanup",
                    "NotInHeap",
                    m.add_cleanup(addr, &clean, 1u64),
                );
                // Nil is of every runtime.
                assert_eq!(m.upgrade(&Weak::default()), Ok(None));
                assert_eq!(m.upgrade_addr(&Weak::default()), Ok(None));
            })
            .unwrap();
        assert_eq!(handle.clone().addr(), addr);
        assert_eq!((weak.offset(), weak.clone() == weak), (8, true));
        assert_ne!(weak, Weak::default());
        if let Some(other) = &other {
            assert_eq!(other.runtime.stats().handles, 1);
            let found = other.runtime.enter(|m| m.upgrade_addr(&weak)).unwrap();
            assert_eq!(found, Ok(Some(addr + 8)));
        }
        drop((handle, weak));
        world.is_untouched();
    }
}

/// What a program may still hold when its runtime is gone does nothing.
#[test]
fn registrations_of_a_runtime_that_is_gone_do_nothing() {
    let world = World::new();
    let function = world.finalizer("func(*main.T)");
    let (prepared, clean) = (world.prepared(&function), world.cleanup("func(uint64)"));
    let other = world.id("[3]uint64");
    let cleanups = world
        .runtime
        .enter(|m| {
            let object = m.alloc(world.t).unwrap();
            prepared.set(object).unwrap();
            [0, 1u64].map(|n| m.add_cleanup(object, &clean, n).unwrap())
        })
        .unwrap();
    let for_all = world
        .runtime
        .prepare_finalizer(other, &world.finalizer("func(any)"));
    drop(world);
    let later = World::new();
    later
        .runtime
        .enter(|m| {
            let object = m.alloc(later.t).unwrap();
            refused("set", "Closed", prepared.set(object));
            refused("clear", "NotInHeap", prepared.clear(object));
            // A function whose names are of the other runtime is another runtime's.
            refused(
                "function",
                "NotAssignable",
                m.set_finalizer(object, &function),
            );
        })
        .unwrap();
    refused("set", "Closed", for_all.unwrap().set_for_all());
    assert_eq!(cleanups[0].stop(), CallStage::Registered);
    assert_eq!(cleanups[0].stop(), CallStage::Done, "once at most");
    later.is_untouched();
}
