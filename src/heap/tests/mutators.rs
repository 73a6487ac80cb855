//! Attaching, handles, native regions, several heaps.

use super::*;
use crate::world::threads::WorldError;

#[test]
fn one_mutator_a_thread() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    assert_eq!(attach(&space).map(drop).unwrap_err(), WorldError::Attached);
    assert_eq!(
        Runtime::over(&space).enter(|_| ()),
        Err(WorldError::Running)
    );
    assert_eq!(space.collect().map(drop), Err(WorldError::HoldsMutator));
    m.native(|| {
        assert_eq!(attach(&space).map(drop).unwrap_err(), WorldError::Attached);
        space.collect().unwrap();
        Runtime::over(&space)
            .enter(|inner| {
                assert_eq!(
                    Runtime::over(&space).enter(|_| ()),
                    Err(WorldError::Running)
                );
                inner.gc().unwrap();
                inner.native(|| {
                    Runtime::over(&space)
                        .enter(|deepest| deepest.gc().unwrap())
                        .unwrap()
                });
            })
            .unwrap();
    });
    assert_eq!(space.world().members(), (1, 1));
    drop(m);
    assert_eq!(space.world().members(), (0, 0));
    drop(attach(&space).unwrap());
    Runtime::over(&space).enter(|m| m.gc().unwrap()).unwrap();
}

#[test]
fn a_panic_in_a_native_region_comes_back() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        m.native(|| panic!("from outside"))
    }));
    assert!(result.is_err());
    assert_eq!(space.world().members(), (1, 1));
    m.gc().unwrap();
    m.alloc(shape(&space, 1)).unwrap();
}

#[test]
fn a_mutator_sees_what_happened_while_it_was_native() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    let ty = shape(&space, 1);
    let handle = m.alloc(ty).map(|object| m.root(object).unwrap()).unwrap();
    let first = handle.addr();
    m.alloc(ty).unwrap();
    // The inner mutator collects and takes the free cells that the outer one had; the outer one
    // must not use them.
    let theirs = m.native(|| {
        Runtime::over(&space).enter(|inner| {
            inner.gc().unwrap();
            (0..100)
                .map(|_| {
                    inner
                        .alloc(ty)
                        .map(|object| inner.root(object).unwrap())
                        .unwrap()
                })
                .collect::<Vec<_>>()
        })
    });
    let mut all: Vec<usize> = theirs.unwrap().iter().map(crate::Handle::addr).collect();
    all.extend((0..100).map(|_| m.alloc(ty).unwrap().addr()));
    all.push(first);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 201);
}

#[test]
fn a_mutator_gives_back_what_it_did_not_use() {
    let space = space(HeapOptions {
        limit: 1 << 16,
        ..options()
    });
    let ty = shape(&space, 1);
    for n in 0..1000 {
        let m = attach(&space).unwrap();
        m.alloc(ty).unwrap();
        drop(m);
        let stats = space.heap().stats();
        assert_eq!(
            (stats.objects, stats.allocated_bytes),
            (n + 1, 32 * (n + 1))
        );
    }
}

#[test]
fn handles_keep_objects_and_travel() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    let handle = m
        .alloc(shape(&space, 0))
        .map(|object| m.root(object).unwrap())
        .unwrap();
    let clone = handle.clone();
    drop(handle);
    m.store_word(m.get(&clone).unwrap(), 0, 42).unwrap();
    assert_eq!(m.gc().unwrap().live_objects, 1);
    m.native(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = attach(&space).unwrap();
                n.gc().unwrap();
                assert_eq!(n.load_word(n.get(&clone).unwrap(), 0), Ok(42));
            });
        });
    });
    crate::keep_alive(&clone);
    drop(m);
    // A handle may outlive the heap.
    drop(space);
    assert_eq!(format!("{clone:?}"), format!("Handle({:#x})", clone.addr()));
}

#[test]
fn heaps_collect_on_their_own() {
    let spaces: Vec<_> = (0..3).map(|_| space(options())).collect();
    let mut mutators: Vec<_> = spaces.iter().map(|space| attach(space).unwrap()).collect();
    let mut handles = Vec::new();
    for round in 0..50 {
        for (space, m) in spaces.iter().zip(&mut mutators) {
            let object = m.alloc(shape(space, 2)).unwrap();
            m.store_word(object, 0, round).unwrap();
            handles.push(m.root(object).unwrap());
        }
        let which = round as usize % 3;
        assert_eq!(
            mutators[which].gc().unwrap().live_objects,
            round as usize + 1
        );
    }
    for (at, handle) in handles.iter().enumerate() {
        let m = &mutators[at % 3];
        assert_eq!(m.load_word(m.get(handle).unwrap(), 0), Ok(at as u64 / 3));
    }
    assert_eq!(
        spaces.iter().map(|space| space.heap().epoch()).sum::<u64>(),
        50
    );
}
