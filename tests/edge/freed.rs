//! Addresses of objects that a collection has freed, and what is left of their registrations.

use fing::{CallStage, CleanupArgument, FinalizerState, Mutator, Obj, Pointer, Weak};

use super::{World, refused};

/// Everything that takes an address is given one where an object of type `ty` was.
fn hand_in(world: &World, m: &Mutator, own: Obj<'_>, ty: &str, gone: usize) {
    let at = "NotInHeap";
    refused("adopt", at, m.adopt(gone));
    refused("downgrade", at, m.downgrade(gone));
    let any = world.finalizer("func(any)");
    let clean = world.cleanup("func(uint64)");
    let pointer = Pointer::typed(world.id(&format!("*{ty}")), gone);
    // The second time the functions are known.
    for _ in 0..2 {
        refused("set_finalizer", at, m.set_finalizer(pointer, &any));
        refused("clear_finalizer", at, m.clear_finalizer(pointer));
        refused("add_cleanup", at, m.add_cleanup(gone, &clean, 1u64));
        m.set_finalizer(own, &any).unwrap();
        m.clear_finalizer(own).unwrap();
        assert!(
            m.add_cleanup(own, &clean, 1u64)
                .unwrap()
                .stop()
                .is_cancelled()
        );
    }
    let takes_it = world.cleanup(&format!("func(*{ty})"));
    let word = m.add_cleanup(own, &takes_it, gone as u64);
    refused("argument", "Value", word);
    let bytes = [gone, 1, 1].map(usize::to_ne_bytes).concat();
    let takes_slice = world.cleanup(&format!("func([]{ty})"));
    let slice = m.add_cleanup(own, &takes_slice, CleanupArgument::Bytes(&bytes));
    refused("slice", "Value", slice);
    m.store_addr(own, 0, gone).unwrap();
    refused("load_ref", at, m.load_ref(own, 0));
    m.store_addr(own, 0, 0).unwrap();
}

/// Of objects in a block with others that are alive, in a block that is gone, and of large ones.
#[test]
fn addresses_of_freed_objects_are_refused() {
    for ty in ["main.T", "uint8", "[100]*main.T", "[20000]uint64"] {
        for neighbour in [false, true] {
            let world = World::new();
            let (gone, kept, own, weak) = world
                .runtime
                .enter(|m| {
                    let all: Vec<_> = (0..9).map(|_| m.alloc(world.id(ty)).unwrap()).collect();
                    let kept = neighbour.then(|| m.root(all[4]).unwrap());
                    // In another block, if the others are of another size.
                    let own = m.root(m.alloc(world.t).unwrap()).unwrap();
                    let mut gone: Vec<usize> = all.iter().map(|object| object.addr()).collect();
                    gone.remove(4);
                    let weak: Vec<Weak> = gone.iter().map(|&at| m.downgrade(at).unwrap()).collect();
                    (gone, kept, own, weak)
                })
                .unwrap();
            world.runtime.gc().unwrap();
            world
                .runtime
                .enter(|m| {
                    for (&gone, weak) in gone.iter().zip(&weak) {
                        assert_eq!(m.upgrade(weak), Ok(None));
                        assert_eq!(m.upgrade_addr(weak), Ok(None));
                        refused("adopt", "NotInHeap", m.adopt(gone));
                    }
                    let own = m.get(&own).unwrap();
                    hand_in(&world, m, own, ty, gone[7]);
                    hand_in(&world, m, own, ty, gone[0]);
                })
                .unwrap();
            drop(kept);
            world.is_untouched();
        }
    }
}

/// An object lies where another one was: what is left of that has no effect on it.
#[test]
fn what_is_left_of_an_object_does_not_reach_the_next_one() {
    let world = World::new();
    let function = world.note("func(*main.T)");
    let (prepared, clean) = (world.prepared(&function), world.note_word("func(uint64)"));
    let (addr, weak, cleanup) = world
        .runtime
        .enter(|m| {
            let object = m.alloc(world.t).unwrap();
            prepared.set(object).unwrap();
            m.set_external_bytes(object, 1000).unwrap();
            let weak = [0, 8].map(|offset| m.downgrade(object.addr() + offset).unwrap());
            let cleanup = m.add_cleanup(object, &clean, 7u64).unwrap();
            (object.addr(), weak, cleanup)
        })
        .unwrap();
    assert_eq!(world.collect(), [[addr, 0]], "the finalizer");
    assert_eq!(world.collect(), [[7, 0]], "the cleanup");
    world
        .runtime
        .enter(|m| {
            let mut all = (0..10_000).map(|_| m.alloc(world.t).unwrap());
            let object = all.find(|object| object.addr() == addr).unwrap();
            // Nothing of the first one.
            assert_eq!(prepared.clear(object).ok(), Some(CallStage::Done));
            let cleared = m.clear_finalizer(object).unwrap();
            assert_eq!(cleared, FinalizerState::Cleared(CallStage::Done));
            assert_eq!(m.load_word(object, 8), Ok(0));
            // And the same as the first one had.
            prepared.set(object).unwrap();
            let new = m.downgrade(object).unwrap();
            m.add_cleanup(object, &clean, 8u64).unwrap();
            assert!(!cleanup.stop().is_cancelled());
            assert!(weak.iter().all(|weak| m.upgrade(weak) == Ok(None)));
            assert_ne!(weak[0], new);
            assert_eq!(m.upgrade(&new), Ok(Some(object)));
        })
        .unwrap();
    let stats = world.runtime.stats();
    assert_eq!((stats.finalizers, stats.cleanups), (1, 1));
    assert_eq!(stats.heap.external_bytes, 0);
    assert_eq!(world.collect(), [[addr, 0]]);
    assert!(!cleanup.stop().is_cancelled());
    assert_eq!(world.collect(), [[8, 0]]);
}

/// A queued object is alive; its registrations are used up all the same.
#[test]
fn an_object_that_is_queued_has_no_finalizer() {
    let world = World::new();
    let prepared = world.prepared(&world.note("func(*main.T)"));
    let (addr, weak) = world
        .runtime
        .enter(|m| {
            let object = m.alloc(world.t).unwrap();
            prepared.set(object).unwrap();
            (object.addr(), m.downgrade(object).unwrap())
        })
        .unwrap();
    world.runtime.gc().unwrap();
    world
        .runtime
        .enter(|m| {
            assert_eq!(m.upgrade(&weak), Ok(None));
            let object = m.adopt(addr).unwrap();
            let other = world.prepared(&world.note("func(any)"));
            assert_eq!(other.clear(object).ok(), Some(CallStage::Done));
            assert_eq!(prepared.clear(object).ok(), Some(CallStage::Queued));
            let cleared = m.clear_finalizer(object).unwrap();
            assert_eq!(cleared, FinalizerState::Cleared(CallStage::Done));
            // It can be set again, and is due by it.
            prepared.set(object).unwrap();
        })
        .unwrap();
    world.runtime.gc().unwrap();
    assert_eq!(world.collect(), [[addr, 0]]);
    assert_eq!(world.collect(), [[0; 2]; 0]);
}
