use super::*;
use std::sync::atomic::Ordering::Relaxed;

/// Collects, and returns how many objects had an id of their type, and how many were freed.
fn dying(space: &Space) -> (usize, usize) {
    let mut seen = 0;
    space
        .inspect(|marking| marking.for_each_with_id(|_, _, _, _| seen += 1))
        .unwrap();
    (seen, space.collect().unwrap().freed_objects)
}

/// What a runtime sees of objects of which generated code has taken three.
fn taken(keep: bool) -> (usize, usize) {
    let space = space(options());
    let heap = space.heap();
    heap.keep_windows.store(keep, Relaxed);
    let ty = shape(&space, 1);
    let desc = space.types().desc(ty).unwrap();
    assert!(heap.imply(&desc, NonZeroU32::new(7).unwrap()));
    let mutator = attach(&space).unwrap();
    let window = mutator.window(ty).unwrap();
    for _ in 0..3 {
        mutator.alloc_in(&window).unwrap();
    }
    // Its thread is stopped where it has the rest of the window.
    let mut mutator = mutator;
    mutator.native(|| dying(&space))
}

#[test]
fn what_no_one_has_taken_is_not_there() {
    assert_eq!(taken(false), (3, 3));
}

#[test]
fn a_window_that_is_not_trimmed_is_seen() {
    assert_eq!(taken(true), (2047, 2047));
}

#[test]
fn cells_that_were_not_taken_are_used_again() {
    let space = space(options());
    let ty = shape(&space, 0);
    let mut mutator = attach(&space).unwrap();
    let window = mutator.window(ty).unwrap();
    let first = mutator.alloc_in(&window).unwrap().addr();
    // Nothing is freed, so the next object is the next cell.
    for n in 1..10 {
        let verified = mutator.native(|| space.verify()).unwrap().unwrap();
        assert_eq!(verified.objects, n);
        let object = mutator.alloc_in(&window).unwrap();
        assert_eq!(object.addr(), first + n * window.stride());
        assert_eq!(mutator.load_word(object, 0).unwrap(), 0);
        mutator.store_word(object, 0, u64::MAX).unwrap();
    }
    let stats = space.heap().stats();
    assert_eq!((stats.objects, stats.object_bytes), (10, 160));
    assert_eq!(
        mutator.native(|| space.collect()).unwrap().freed_objects,
        10
    );
    // The same cells, which were poisoned, are zeroes again.
    let object = mutator.alloc_in(&window).unwrap();
    assert_eq!(mutator.load_word(object, 0).unwrap(), 0);
    // What a mutator leaves goes to the next one.
    let next = object.addr() + window.stride();
    drop(mutator);
    let mutator = attach(&space).unwrap();
    assert_eq!(mutator.alloc(ty).unwrap().addr(), next);
    let error = mutator.alloc_in(&window).unwrap_err();
    let ty = "struct { ID int }".to_owned();
    assert_eq!(error, AllocError::ClosedWindow { ty });
}

#[test]
fn a_window_ends_where_the_heap_does() {
    let space = space(HeapOptions {
        limit: 1 << 16,
        ..options()
    });
    let ty = shape(&space, 0);
    let mutator = attach(&space).unwrap();
    let window = mutator.window(ty).unwrap();
    for _ in 0..4095 {
        mutator.alloc_in(&window).unwrap();
    }
    for _ in 0..2 {
        let error = mutator.alloc_in(&window).unwrap_err();
        assert!(matches!(error, AllocError::HeapLimit { .. }), "{error}");
    }
    let (allocated, trigger) = (space.heap().stats().allocated_bytes, usize::MAX);
    assert_eq!(
        (allocated, space.heap().stats().trigger_bytes),
        (4095 * 16, trigger)
    );
}
