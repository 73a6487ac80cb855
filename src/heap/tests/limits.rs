//! Layout, limits, what is given back.

use super::*;
use crate::heap::class::{BLOCK, CLASSES, MAX_SMALL};

#[test]
fn objects_are_aligned_zeroed_and_apart() {
    let space = space(options());
    let m = attach(&space).unwrap();
    let mut ranges = Vec::new();
    for round in 0..3 {
        for size in (1..200).chain([
            500,
            1000,
            5000,
            MAX_SMALL - 8,
            MAX_SMALL - 7,
            BLOCK - 16,
            BLOCK - 15,
            3 * BLOCK,
        ]) {
            let object = m
                .alloc(space.types().id(&format!("[{size}]byte")).unwrap())
                .unwrap();
            assert_eq!(object.addr() % 16, 0, "size {size}");
            let mut bytes = vec![1; size];
            m.load_bytes(object, 0, &mut bytes).unwrap();
            assert!(
                bytes.iter().all(|&byte| byte == 0),
                "round {round}, size {size}"
            );
            m.store_bytes(object, 0, &vec![0xff; size]).unwrap();
            ranges.push((object.addr(), object.addr() + size));
        }
    }
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
}

#[test]
fn reused_cells_are_zero() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    for size in [8, 24, 100, 4000, 100_000] {
        let ty = space.types().id(&format!("[{size}]byte")).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..4 {
            for _ in 0..100 {
                let object = m.alloc(ty).unwrap();
                let mut bytes = vec![1; size];
                m.load_bytes(object, 0, &mut bytes).unwrap();
                assert!(bytes.iter().all(|&byte| byte == 0));
                m.store_bytes(object, 0, &bytes.iter().map(|_| 0xaa).collect::<Vec<_>>())
                    .unwrap();
                assert!(round > 0 || seen.insert(object.addr()));
                assert!(
                    round == 0 || seen.contains(&object.addr()),
                    "cells of dead objects come first"
                );
            }
            assert_eq!(m.gc().unwrap().freed_objects, 100);
        }
    }
}

#[test]
fn things_without_size_have_one_address() {
    let (space, other) = (space(options()), space(options()));
    let (mut m, n) = (attach(&space).unwrap(), attach(&other).unwrap());
    let id = |text: &str| space.types().id(text).unwrap();
    let zero = m.alloc(id("struct {}")).unwrap().addr();
    assert_eq!(m.alloc(id("[0]*int")).unwrap().addr(), zero);
    assert_ne!(
        n.alloc(other.types().id("struct {}").unwrap())
            .unwrap()
            .addr(),
        zero
    );
    assert_eq!(zero, space.heap().zero());
    assert!(space.heap().find(zero).is_none());
    assert!(matches!(
        space.heap().locate(zero),
        crate::heap::Location::Zero
    ));
    let handle = m.root(m.adopt(zero).unwrap()).unwrap();
    assert_eq!(m.gc().unwrap().live_objects, 0);
    let object = m.get(&handle).unwrap();
    assert_eq!(m.type_of(object).unwrap().ty().to_string(), "struct{}");
    assert!(matches!(
        m.load_word(object, 0).unwrap_err().kind(),
        AccessErrorKind::OutOfBounds { size: 0, .. }
    ));
    m.load_bytes(object, 0, &mut []).unwrap();
    assert_eq!(
        set_id(&space, zero, std::num::NonZeroU32::MIN),
        SetId::NotThere
    );
    assert_eq!(space.heap().place(zero), None);
}

#[test]
fn the_limit_is_kept_and_said() {
    let space = space(HeapOptions {
        limit: 10 * BLOCK - 5,
        ..options()
    });
    let mut m = attach(&space).unwrap();
    let small = space.types().id("[100]int").unwrap();
    let cells = 10 * ((BLOCK - 8) / 896);
    let handles: Vec<_> = (0..cells)
        .map(|_| {
            m.alloc(small)
                .map(|object| m.root(object).unwrap())
                .unwrap()
        })
        .collect();
    let limit = 10 * BLOCK;
    let full = AllocError::HeapLimit {
        ty: "[100]int".into(),
        requested: 800,
        in_use: limit,
        limit,
    };
    assert_eq!(m.alloc(small), Err(full.clone()));
    assert_eq!(
        full.to_string(),
        "alloc [100]int: 800 bytes requested, 655360 in use, limit 655360"
    );
    assert_eq!(m.alloc_collecting(small).map(drop), Err(full));
    drop(handles);
    // It collects by itself when that helps.
    drop(m.alloc_collecting(small).unwrap());
    let large = space.types().id("[600000]byte").unwrap();
    drop(m.alloc_collecting(large).unwrap());
    drop(m.alloc_collecting(large).unwrap());
    assert!(
        m.alloc_collecting(space.types().id("[1099511627776]*int").unwrap())
            .is_err()
    );
    assert!(
        m.alloc(space.types().id("[140737488355328]byte").unwrap())
            .is_err()
    );
}

#[test]
fn a_heap_that_cannot_be() {
    let make = |limit| {
        Space::new(
            Arc::new(Types::new()),
            HeapOptions { limit, ..options() },
            Arc::new(()),
        )
    };
    let error = make(HeapOptions::MAX_LIMIT + 1).unwrap_err();
    assert!(
        matches!(
            error,
            HeapError::Limit {
                max: HeapOptions::MAX_LIMIT,
                ..
            }
        ),
        "{error}"
    );
    let least = make(0).unwrap();
    assert_eq!(least.heap().options.limit, BLOCK);
    attach(&least)
        .unwrap()
        .alloc(least.types().id("int").unwrap())
        .unwrap();
}

#[test]
fn a_collection_becomes_due() {
    let space = space(HeapOptions {
        percent: Some(50),
        ..options()
    });
    let mut m = attach(&space).unwrap();
    let ty = space.types().id("[1000]int").unwrap();
    let mut kept = Vec::new();
    let mut allocate = |m: &mut crate::Mutator, keep: bool| {
        let mut objects = 0;
        while !space.heap().should_collect() {
            let handle = m.alloc(ty).map(|object| m.root(object).unwrap()).unwrap();
            objects += 1;
            if keep {
                kept.push(handle);
            }
        }
        objects * 8192
    };
    let near = |bytes: usize, wanted: usize| bytes.abs_diff(wanted) <= 2 * BLOCK + wanted / 8;
    for _ in 0..3 {
        assert!(near(allocate(&mut m, true), HeapOptions::MIN_TRIGGER));
        m.gc().unwrap();
    }
    let live = space.heap().stats().live_bytes;
    assert_eq!(space.heap().stats().trigger_bytes, live / 2);
    assert!(near(allocate(&mut m, false), live / 2));
    // The allocating safepoint does it.
    let before = space.heap().epoch();
    drop(m.alloc_collecting(ty).unwrap());
    assert_eq!(space.heap().epoch(), before + 1);
    drop(m.alloc_collecting(ty).unwrap());
    assert_eq!(space.heap().epoch(), before + 1);
}

#[test]
fn counts_add_up() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    let (small, large) = (
        space.types().id("[3]int").unwrap(),
        space.types().id("[10000]int").unwrap(),
    );
    let kept: Vec<_> = (0..10)
        .map(|_| {
            m.alloc(small)
                .map(|object| m.root(object).unwrap())
                .unwrap()
        })
        .collect();
    for _ in 0..90 {
        m.alloc(small).unwrap();
    }
    let one = m
        .alloc(large)
        .map(|object| m.root(object).unwrap())
        .unwrap();
    let stats = space.heap().stats();
    assert_eq!((stats.objects, stats.in_use_bytes), (101, 3 * BLOCK));
    assert_eq!(stats.object_bytes, 100 * 32 + 2 * BLOCK - 8);
    let done = m.gc().unwrap();
    assert_eq!(
        (done.number, done.live_objects, done.freed_objects),
        (1, 11, 90)
    );
    assert_eq!(
        (done.live_bytes, done.freed_bytes),
        (10 * 32 + 2 * BLOCK - 8, 90 * 32)
    );
    drop((kept, one));
    m.gc().unwrap();
    let stats = space.heap().stats();
    assert_eq!(
        (stats.objects, stats.in_use_bytes, stats.live_bytes),
        (0, 0, 0)
    );
    assert_eq!(
        (stats.collections, stats.freed_objects, stats.reserve_bytes),
        (2, 101, 3 * BLOCK)
    );
}

#[test]
fn registering_costs_few_bytes() {
    let space = space(options());
    let m = attach(&space).unwrap();
    let ty = space.types().id("[3]int").unwrap();
    let before = 20_000 / 2047 * 4200 + space.heap().stats().table_bytes;
    for i in 1..=20_000 {
        let object = m.alloc(ty).unwrap();
        let id = std::num::NonZeroU32::new(i).unwrap();
        assert_eq!(set_id(&space, object.addr(), id), SetId::Set);
    }
    let bytes = space.heap().stats().table_bytes - before;
    assert!(
        bytes <= 16 * 20_000,
        "{bytes} bytes for 20000 registrations"
    );
}

#[test]
fn free_blocks_serve_every_class() {
    let space = space(HeapOptions {
        limit: 64 * BLOCK,
        ..options()
    });
    let mut m = attach(&space).unwrap();
    for (round, cell) in CLASSES.iter().enumerate().chain([(99, &60_000)]) {
        let ty = space.types().id(&format!("[{}]byte", cell - 8)).unwrap();
        let mut objects = 0;
        while m.alloc(ty).is_ok() {
            objects += 1;
        }
        let per_block = if *cell == 60_000 {
            1
        } else {
            (BLOCK - 8) / usize::from(*cell)
        };
        assert_eq!(objects, 64 * per_block, "round {round}");
        assert_eq!(m.gc().unwrap().freed_objects, objects);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn memory_goes_back_to_the_system() {
    let space = space(HeapOptions {
        limit: 256 << 20,
        percent: Some(100),
        poison: false,
        tiny: false,
        stress: false,
    });
    let mut m = attach(&space).unwrap();
    let resident = || space.heap().arena.resident().unwrap();
    for (text, many) in [("[31]int", 250_000), ("[1000000]byte", 64)] {
        let ty = space.types().id(text).unwrap();
        let fill = |m: &crate::Mutator| {
            for _ in 0..many {
                let object = m.alloc(ty).unwrap();
                m.store_bytes(object, 0, &[1; 100]).unwrap();
                if text.ends_with("byte") {
                    (0..1_000_000)
                        .step_by(4096)
                        .for_each(|at| m.store_bytes(object, at, &[1]).unwrap());
                }
            }
        };
        fill(&m);
        assert!(
            resident() > 56 << 20,
            "{text}: {} resident after use",
            resident()
        );
        // Kept for one collection, in case that it is needed again.
        assert!(m.gc().unwrap().released_bytes < 8 << 20);
        let done = m.gc().unwrap();
        assert!(done.released_bytes > 50 << 20);
        assert!(
            resident() < 8 << 20,
            "{text}: {} resident after collection",
            resident()
        );
        assert!(space.heap().stats().reserve_bytes <= HeapOptions::MIN_TRIGGER);
        // And it comes back as good as new.
        fill(&m);
        m.gc().unwrap();
        m.gc().unwrap();
    }
}
